# What Debian wants of a package and an installation elsewhere has not: the manual and the changelogs compressed without
# a time stamp, completion for zsh where Debian's zsh looks, no second copy of the licence. cpack runs this in the tree that it is about to pack.
if(NOT CPACK_GENERATOR STREQUAL "DEB")
    return()
endif()
set(tree ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr)
if(NOT EXISTS ${tree})
    set(tree ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/${CPACK_PACKAGING_INSTALL_PREFIX})
endif()
file(MAKE_DIRECTORY ${tree}/share/zsh/vendor-completions)
file(RENAME ${tree}/share/zsh/site-functions/_gka ${tree}/share/zsh/vendor-completions/_gka)
file(REMOVE_RECURSE ${tree}/share/zsh/site-functions)
file(REMOVE ${tree}/share/doc/gka/LICENSE) # /usr/share/common-licenses has it, as `copyright` says
# What Debian calls its own changelog: the first packaging of this version, at the time of the sources.
execute_process(COMMAND sh -c "date -u -R -d @\${SOURCE_DATE_EPOCH:-0}" OUTPUT_VARIABLE when OUTPUT_STRIP_TRAILING_WHITESPACE)
file(WRITE ${tree}/share/doc/gka/changelog.Debian "gka (${CPACK_PACKAGE_VERSION}-1) unstable; urgency=medium

  * Upstream's version ${CPACK_PACKAGE_VERSION}: see changelog.gz.

 -- ${CPACK_PACKAGE_CONTACT}  ${when}
")
# The times of what is packed are those of the sources: the same sources give the same bytes.
execute_process(COMMAND gzip -9n ${tree}/share/man/man1/gka.1 ${tree}/share/doc/gka/changelog
                ${tree}/share/doc/gka/changelog.Debian COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND sh -c "find '${CPACK_TEMPORARY_INSTALL_DIRECTORY}' -exec touch -h -d @\${SOURCE_DATE_EPOCH:-0} {} +"
                COMMAND_ERROR_IS_FATAL ANY)
