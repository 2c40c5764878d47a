/* status.c - the codes' texts, and a failure as one line. */
#include "gka/base.h"

#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *gka_status_text(gka_status status) {
    switch (status) {
#define GKA_STATUS_CASE(code, text)                                                                \
    case code: return text;
        GKA_STATUS_LIST(GKA_STATUS_CASE)
#undef GKA_STATUS_CASE
    }
    return "unknown status";
}

/* The thread's own locale, for a moment. "C" is there without any memory. */
static locale_t plain_locale(void) {
    const locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return plain == (locale_t)0 ? plain : uselocale(plain);
}

static void own_locale(locale_t before) {
    if (before == (locale_t)0)
        return;
    const locale_t plain = uselocale(before);
    if (plain != LC_GLOBAL_LOCALE)
        freelocale(plain);
}

static int format_list(char *text, size_t room, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));
static int format_list(char *text, size_t room, const char *format, va_list arguments) {
    const locale_t before = plain_locale();
    const int length = vsnprintf(text, room, format, arguments);
    own_locale(before);
    return length;
}

int gka_format_text(char *text, size_t room, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int length = format_list(text, room, format, arguments);
    va_end(arguments);
    return length;
}

double gka_parse_real(const char *text, char **end) {
    const locale_t before = plain_locale();
    const double x = strtod(text, end);
    own_locale(before);
    return x;
}

/* One line, whatever a file name or a tensor name held: ASCII's control characters, and those that
 * begin with C2 in UTF-8, on which some terminals act. */
static void keep_plain(char *text) {
    for (unsigned char *c = (unsigned char *)text; *c != '\0'; c++) {
        if (*c < 0x20 || *c == 0x7f)
            *c = '?';
        if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
            c[0] = c[1] = '?';
    }
}

/* Both ends of a line that does not fit: what it is about, and what is wrong with it. */
static void keep_ends(char *text, size_t room, const char *line, size_t length) {
    enum { HEAD = 96 };
    const size_t tail = room - 1 - HEAD - 3;
    memcpy(text, line, HEAD);
    memcpy(text + HEAD, "...", 3);
    memcpy(text + HEAD + 3, line + length - tail, tail);
    text[room - 1] = '\0';
}

gka_status gka_fail_list(gka_error *error, gka_status status, const char *format,
                         va_list arguments) {
    if (error == NULL)
        return status;
    va_list again;
    va_copy(again, arguments);
    error->status = status;
    const int length = format_list(error->text, sizeof error->text, format, arguments);
    if (length >= (int)sizeof error->text) {
        char *const line = gka_alloc((size_t)length + 1, 1);
        if (line != NULL) {
            (void)format_list(line, (size_t)length + 1, format, again);
            keep_ends(error->text, sizeof error->text, line, (size_t)length);
            gka_free(line);
        }
    }
    va_end(again);
    keep_plain(error->text);
    return status;
}

gka_status gka_fail(gka_error *error, gka_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)gka_fail_list(error, status, format, arguments);
    va_end(arguments);
    return status;
}

const char *gka_version(void) {
    return GKA_VERSION;
}
