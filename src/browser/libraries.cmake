# libraries.cmake - jansson, libmd and popt for a browser, built from their sources: Emscripten brings none of them.
# scripts/browser unpacks them into GKA_SOURCES: jansson, libmd, popt and Random123 (headers), one folder each.
set(GKA_SOURCES "" CACHE PATH "the folder with the sources of jansson, libmd and popt")
set(GKA_BARE ON)
set(GKA_TESTS OFF)
set(GKA_BENCH OFF)
set(GKA_EXPERIMENTS OFF)
set(GKA_RANDOM123_INCLUDE ${GKA_SOURCES}/random123 CACHE PATH "")

add_compile_options(-msimd128 "SHELL:-include ${PROJECT_SOURCE_DIR}/src/browser/fma.h")

function(gka_foreign name folder include)
    list(TRANSFORM ARGN PREPEND ${GKA_SOURCES}/${folder}/)
    add_library(${name} STATIC ${ARGN})
    target_include_directories(${name} SYSTEM PUBLIC ${GKA_SOURCES}/${folder}/${include})
    # config.h and jansson_config.h are what each library's configure would say of Emscripten
    target_include_directories(${name} SYSTEM PUBLIC ${PROJECT_SOURCE_DIR}/src/browser/config)
    target_compile_definitions(${name} PRIVATE HAVE_CONFIG_H _GNU_SOURCE)
    target_compile_options(${name} PRIVATE -w)
    set_target_properties(${name} PROPERTIES C_EXTENSIONS ON)
endfunction()
gka_foreign(jansson jansson src src/dump.c src/error.c src/hashtable.c src/hashtable_seed.c src/load.c src/memory.c
            src/pack_unpack.c src/strbuffer.c src/strconv.c src/utf.c src/value.c src/version.c)
gka_foreign(md libmd include src/sha2.c)
gka_foreign(popt popt src src/popt.c src/poptconfig.c src/popthelp.c src/poptint.c src/poptparse.c)
add_library(PkgConfig::JANSSON ALIAS jansson)
add_library(PkgConfig::MD ALIAS md)
add_library(PkgConfig::POPT ALIAS popt)
