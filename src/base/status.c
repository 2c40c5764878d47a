/* status.c - the codes' texts, and a failure as one line. */
#include "gka/base.h"

#include <stdarg.h>
#include <stdio.h>

const char *gka_status_text(gka_status status) {
    switch (status) {
#define GKA_STATUS_CASE(code, text)                                                                \
    case code: return text;
        GKA_STATUS_LIST(GKA_STATUS_CASE)
#undef GKA_STATUS_CASE
    }
    return "unknown status";
}

gka_status gka_fail(gka_error *error, gka_status status, const char *format, ...) {
    if (error != NULL) {
        va_list arguments;
        va_start(arguments, format);
        error->status = status;
        (void)vsnprintf(error->text, sizeof error->text, format, arguments);
        va_end(arguments);
        /* One line, whatever a file name or a tensor name held. */
        for (char *c = error->text; *c != '\0'; c++)
            if ((unsigned char)*c < 0x20 || *c == 0x7f)
                *c = '?';
    }
    return status;
}

const char *gka_version(void) {
    return GKA_VERSION;
}
