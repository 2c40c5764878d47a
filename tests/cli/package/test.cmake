# test.cmake - installs into an empty folder and uses what is there: by find_package, by pkg-config,
# as a command, as a manual. Variables: BUILD (the build tree), HERE (this folder), WORK, CC, VERSION.
set(prefix ${WORK}/prefix)
file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK})

function(run)
    execute_process(COMMAND ${ARGN} RESULT_VARIABLE code OUTPUT_VARIABLE out ERROR_VARIABLE out)
    if(NOT code EQUAL 0)
        list(JOIN ARGN " " command)
        message(FATAL_ERROR "${command}\n${out}")
    endif()
    set(out "${out}" PARENT_SCOPE)
endfunction()

function(expect text)
    if(NOT out STREQUAL text)
        message(FATAL_ERROR "'${out}', expected '${text}'")
    endif()
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix})
file(GLOB headers RELATIVE ${HERE}/../../../include ${HERE}/../../../include/gka/*.h)
foreach(header ${headers})
    if(NOT EXISTS ${prefix}/include/${header})
        message(FATAL_ERROR "${header} is not installed")
    endif()
endforeach()

# The command and its manual.
run(${prefix}/bin/gka --version)
expect("gka ${VERSION}\n")
file(GLOB manual ${prefix}/share/man/man1/gka.1)
file(READ "${manual}" text)
if(NOT text MATCHES "gka ${VERSION}")
    message(FATAL_ERROR "the manual does not name the version")
endif()

# find_package
set(hello "gka ${VERSION}: x = 0.5, bf16\n")
run(${CMAKE_COMMAND} -S ${HERE} -B ${WORK}/build -G Ninja -DCMAKE_C_COMPILER=${CC}
    -DCMAKE_PREFIX_PATH=${prefix})
run(${CMAKE_COMMAND} --build ${WORK}/build)
run(${CMAKE_COMMAND} -E env LD_LIBRARY_PATH=${prefix}/lib ${WORK}/build/user)
expect("${hello}")

# pkg-config; the folder of gka.pc depends on the system
file(GLOB_RECURSE pc ${prefix}/gka.pc)
get_filename_component(pc ${pc} DIRECTORY)
set(ENV{PKG_CONFIG_PATH} ${pc})
run(pkg-config --modversion gka)
expect("${VERSION}\n")
run(pkg-config --cflags --libs gka)
separate_arguments(flags UNIX_COMMAND "${out}")
run(${CC} -o ${WORK}/user ${HERE}/user.c ${flags})
run(${CMAKE_COMMAND} -E env LD_LIBRARY_PATH=${prefix}/lib ${WORK}/user)
expect("${hello}")
