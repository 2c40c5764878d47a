/* config.h - what the configure scripts of jansson, libmd and popt would say of Emscripten. */
#ifndef GKA_BROWSER_CONFIG_H
#define GKA_BROWSER_CONFIG_H

#define HAVE_STDINT_H    1
#define HAVE_UNISTD_H    1
#define HAVE_SYS_TYPES_H 1
#define HAVE_SYS_TIME_H  1
#define HAVE_STPCPY      1
#define HAVE_STRERROR    1
#define HAVE_VASPRINTF   1
#define HAVE_ENDIAN_H    1
#define PACKAGE          "popt"
#define POPT_SYSCONFDIR  "/etc"

#endif
