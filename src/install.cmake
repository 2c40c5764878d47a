# cmake --install: headers, library, find_package(gka), pkg-config gka, the command, its man page.
include(CMakePackageConfigHelpers)

install(TARGETS gka EXPORT gka ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
file(RELATIVE_PATH up /${CMAKE_INSTALL_BINDIR} /${CMAKE_INSTALL_LIBDIR})
set_target_properties(gka_command PROPERTIES INSTALL_RPATH "$ORIGIN/${up}")
install(TARGETS gka_command RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/gka DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h")

# The manual carries the version.
configure_file(cli/gka.1 gka.1 @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gka.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)

# Completion, made by the command itself; not where this machine cannot run it.
if(NOT CMAKE_CROSSCOMPILING)
    foreach(shell bash zsh)
        add_custom_command(OUTPUT gka.${shell} VERBATIM DEPENDS gka_command
                           COMMAND gka_command completion ${shell} > gka.${shell})
    endforeach()
    add_custom_target(gka_completion ALL DEPENDS gka.bash gka.zsh)
    install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gka.bash RENAME gka
            DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
    install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gka.zsh RENAME _gka
            DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
endif()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/gka)
install(EXPORT gka NAMESPACE gka:: FILE gka-targets.cmake DESTINATION ${package_dir})
configure_package_config_file(gka-config.cmake.in gka-config.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(gka-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gka-config.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/gka-config-version.cmake DESTINATION ${package_dir})

# What the library needs, a user of the static library needs too; a user of the shared one does not.
set(needs "${OpenMP_C_FLAGS} ${GKA_LAPACKE} ${GKA_LAPACK} ${GKA_BLAS} -lm")
if(BUILD_SHARED_LIBS)
    set(GKA_PC_LIBS "")
    set(GKA_PC_REQUIRES "")
    set(GKA_PC_LIBS_PRIVATE "${needs}")
    set(GKA_PC_REQUIRES_PRIVATE "mpfr jansson libmd")
else()
    set(GKA_PC_LIBS " ${needs}")
    set(GKA_PC_REQUIRES "mpfr jansson libmd")
    set(GKA_PC_LIBS_PRIVATE "")
    set(GKA_PC_REQUIRES_PRIVATE "")
endif()
# Wherever the tree is moved, its own place is known to the file.
file(RELATIVE_PATH GKA_PC_UP /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(gka.pc.in gka.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gka.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
