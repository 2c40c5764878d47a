# cross.cmake - Debian's cross compiler, a folder of foreign packages, qemu-user (scripts/same_bytes).
#   cmake -DCMAKE_TOOLCHAIN_FILE=scripts/cross.cmake -DGKA_TRIPLET=s390x-linux-gnu -DGKA_SYSROOT=FOLDER
# ctest then runs programs under qemu.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES GKA_TRIPLET GKA_SYSROOT)
set(CMAKE_SYSTEM_NAME Linux)
string(REGEX MATCH "^[^-]+" CMAKE_SYSTEM_PROCESSOR ${GKA_TRIPLET})
set(CMAKE_C_COMPILER ${GKA_TRIPLET}-gcc)
set(CMAKE_SYSROOT ${GKA_SYSROOT})
set(CMAKE_LIBRARY_ARCHITECTURE ${GKA_TRIPLET})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
foreach(what LIBRARY INCLUDE PACKAGE)
    set(CMAKE_FIND_ROOT_PATH_MODE_${what} ONLY)
endforeach()
# Reference BLAS and LAPACK: unpacked, not configured, so without the links of update-alternatives.
set(lib ${GKA_SYSROOT}/usr/lib/${GKA_TRIPLET})
set(GKA_BLAS ${lib}/blas/libblas.so CACHE FILEPATH "")
set(GKA_LAPACK ${lib}/lapack/liblapack.so CACHE FILEPATH "")
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${GKA_SYSROOT})
set(ENV{PKG_CONFIG_LIBDIR} ${lib}/pkgconfig:${GKA_SYSROOT}/usr/share/pkgconfig)
set(CMAKE_EXE_LINKER_FLAGS_INIT -Wl,-rpath-link,${lib}:${lib}/blas:${lib}/lapack)
set(CMAKE_CROSSCOMPILING_EMULATOR
    qemu-${CMAKE_SYSTEM_PROCESSOR}-static;-L;${GKA_SYSROOT};-E;LD_LIBRARY_PATH=${lib}:${lib}/blas:${lib}/lapack)
