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

file(GLOB licence ${prefix}/share/doc/*/LICENSE)
if(licence STREQUAL "")
    message(FATAL_ERROR "LICENSE is not installed")
endif()

# The command and its manual.
run(${prefix}/bin/gka --version)
expect("gka ${VERSION}\n")
file(GLOB manual ${prefix}/share/man/man1/gka.1)
file(READ "${manual}" text)
if(NOT text MATCHES "gka ${VERSION}")
    message(FATAL_ERROR "the manual does not name the version")
endif()

# What both programs say, in a folder where they may write.
file(MAKE_DIRECTORY ${WORK}/there)
function(run_programs folder)
    foreach(program user golden)
        run(${CMAKE_COMMAND} -E env LD_LIBRARY_PATH=${prefix}/lib ${CMAKE_COMMAND} -E chdir ${WORK}/there
            ${folder}/${program})
        if(program STREQUAL user)
            expect("gka ${VERSION}: x = 0.5, bf16\n")
        else()
            expect("14 judged, 0 failed\n14 judged, 1 failed: solve.dk, 100% off\n")
        endif()
    endforeach()
endfunction()

# find_package
run(${CMAKE_COMMAND} -S ${HERE} -B ${WORK}/build -G Ninja -DCMAKE_C_COMPILER=${CC}
    -DCMAKE_PREFIX_PATH=${prefix} -DVERSION=${VERSION})
run(${CMAKE_COMMAND} --build ${WORK}/build)
run_programs(${WORK}/build)

# pkg-config; the folder of gka.pc depends on the system
file(GLOB_RECURSE pc ${prefix}/gka.pc)
get_filename_component(pc ${pc} DIRECTORY)
set(ENV{PKG_CONFIG_PATH} ${pc})
run(pkg-config --modversion gka)
expect("${VERSION}\n")
run(pkg-config --cflags --libs gka)
separate_arguments(flags UNIX_COMMAND "${out}")
foreach(program user golden)
    run(${CC} -o ${WORK}/${program} ${HERE}/${program}.c ${flags})
endforeach()
run_programs(${WORK})

# The program in src/docs/reference/c.md, as it stands there.
file(READ ${HERE}/../../../src/docs/reference/c.md readme)
string(REGEX MATCH "```c\n[^`]*```" program "${readme}")
if(program STREQUAL "")
    message(FATAL_ERROR "c.md has no C program")
endif()
string(REGEX REPLACE "^```c\n|```$" "" program "${program}")
file(WRITE ${WORK}/exact.c "${program}")
run(${CC} -std=c11 -Wall -Wextra -Werror -o ${WORK}/exact ${WORK}/exact.c ${flags})
run(${CMAKE_COMMAND} -E env LD_LIBRARY_PATH=${prefix}/lib ${WORK}/exact
    ${HERE}/../../data/h100/iid_gated.safetensors)
if(NOT out MATCHES "^x 2.55e-03\nfro 9.61e-04\n.*\nlayer.dg 1.79e-01\n$")
    message(FATAL_ERROR "the program in c.md says '${out}'")
endif()
