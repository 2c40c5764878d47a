# cpack, in the build folder: a package of Debian, and an archive of the sources. The system's libraries are asked for
# by the names that dpkg-shlibdeps finds; the static library needs the -dev packages, which are suggested.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME gka)
set(CPACK_PACKAGE_CONTACT "The gka maintainers <gka@example.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_PACKAGE_DESCRIPTION
    "Exact values and gradients of the layer with proven rounding, its solvers in
emulated low precision, and the chunk algorithm bit for bit as GPUs compute
it: the command gka, the C library and its headers.")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS
    "libopenblas-dev, liblapacke-dev, libmpfr-dev, libjansson-dev, libmd-dev, pkg-config")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/package/debian.cmake)
# The licence's text goes everywhere but into Debian's package, where `copyright` names the system's copy of it.
install(FILES ${CMAKE_CURRENT_LIST_DIR}/package/copyright ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${PROJECT_SOURCE_DIR}/CHANGELOG.md RENAME changelog DESTINATION ${CMAKE_INSTALL_DOCDIR})
set(CPACK_SOURCE_GENERATOR TXZ)
set(CPACK_SOURCE_IGNORE_FILES "/\\\\.git/;/build/;/out/;__pycache__")
include(CPack)
