/* table.c - aligned columns. */
#include "cli/cli.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

/* The bytes of the character at c: 1 to 4; 0 where it is none, or one that is not printed. */
static int letter(const unsigned char *c) {
    if (c[0] < 0x80)
        return c[0] >= 0x20 && c[0] != 0x7f;
    const int more = c[0] >= 0xf0 && c[0] < 0xf5 ? 3 : c[0] >= 0xe0 ? 2 : c[0] >= 0xc2 ? 1 : 0;
    if (more == 0 || c[0] >= 0xf5 || (c[0] == 0xc2 && c[1] < 0xa0))
        return 0;
    for (int i = 1; i <= more; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    /* the marks that turn the direction of writing, and the separators of lines */
    if (c[0] == 0xe2 && c[1] == 0x80 && c[2] >= 0xa8 && c[2] <= 0xae)
        return 0;
    return more + 1;
}

void cli_plain(char *plain, size_t room, const char *text) {
    const unsigned char *c = (const unsigned char *)text;
    for (size_t n = 0;;) {
        const int bytes = letter(c);
        const size_t takes = bytes == 0 && *c != '\0' ? 4 : (size_t)bytes;
        if (*c == '\0' || n + takes >= room) {
            plain[n] = '\0';
            return;
        }
        if (bytes == 0)
            (void)snprintf(plain + n, 5, "\\x%02x", *c);
        else
            memcpy(plain + n, c, takes);
        n += takes;
        c += bytes == 0 ? 1 : bytes;
    }
}

void cli_put_plain(FILE *out, const char *text) {
    char plain[5];
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0';) {
        const int bytes = letter(c);
        memcpy(plain, c, (size_t)bytes);
        plain[bytes] = '\0';
        if (bytes == 0)
            (void)snprintf(plain, sizeof plain, "\\x%02x", *c);
        fputs(plain, out);
        c += bytes == 0 ? 1 : bytes;
    }
}

void cli_say(FILE *out, const char *format, ...) {
    char text[16384]; /* two paths and more */
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    /* the ends of lines that the format itself ends with */
    size_t lines = 0, length = strlen(text);
    for (size_t n = strlen(format); n > 0 && format[n - 1] == '\n'; n--)
        lines++;
    lines = lines < length ? lines : length;
    text[length - lines] = '\0';
    cli_put_plain(out, text);
    for (; lines > 0; lines--)
        fputc('\n', out);
}

void cli_table_start(cli_table *table, const char *const *headings, int columns) {
    *table = (cli_table){.columns = columns, .headings = headings, .keys = 1};
}

static bool make_room(cli_table *table) {
    if (table->count < table->room)
        return true;
    const size_t room = table->room == 0 ? 64 : 2 * table->room;
    char **const cells = gka_alloc(room, sizeof *cells);
    if (cells == NULL)
        return false;
    if (table->count > 0)
        memcpy(cells, table->cells, table->count * sizeof *cells);
    gka_free(table->cells);
    table->cells = cells;
    table->room = room;
    return true;
}

void cli_cell(cli_table *table, const char *format, ...) {
    char text[256], plain[4 * sizeof text];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    cli_plain(plain, sizeof plain, text);
    char *const copy = table->failed || !make_room(table) ? NULL : gka_strdup(plain);
    if (copy == NULL)
        table->failed = true;
    else
        table->cells[table->count++] = copy;
}

void cli_cell_real(cli_table *table, double x) {
    if (isnan(x))
        cli_cell(table, "NaN");
    else if (isinf(x))
        cli_cell(table, x > 0 ? "Inf" : "-Inf");
    else if (x > 0 || x < 0)
        cli_cell(table, "%.2e", x);
    else
        cli_cell(table, "0");
}

/* The format is a constant of one of the callers. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
void cli_cell_number(cli_table *table, const char *format, double x) {
    if (isnan(x))
        cli_cell(table, "-");
    else if (isinf(x))
        cli_cell(table, x > 0 ? "Inf" : "-Inf");
    else
        cli_cell(table, format, x);
}
#pragma GCC diagnostic pop

void cli_cell_real_or_dash(cli_table *table, double x) {
    if (isnan(x))
        cli_cell(table, "-");
    else
        cli_cell_real(table, x);
}

static bool flush_left(const cli_table *table, int column) {
    return table->headings[column][0] == '<';
}

static const char *heading(const cli_table *table, int column) {
    return table->headings[column] + flush_left(table, column);
}

static int width(const cli_table *table, int column) {
    size_t most = strlen(heading(table, column));
    for (size_t i = (size_t)column; i < table->count; i += (size_t)table->columns)
        if (strlen(table->cells[i]) > most)
            most = strlen(table->cells[i]);
    return (int)most;
}

static void print_cell(const cli_table *table, int column, int columns_width, bool first, bool last,
                       const char *text, FILE *out) {
    const bool left = flush_left(table, column);
    const int pad = columns_width - (int)strlen(text);
    const bool nothing = last && text[0] == '\0'; /* no blanks at the end of a line */
    fprintf(out, "%s%*s%s%*s%s", first || nothing ? "" : "  ", left || nothing ? 0 : pad, "", text,
            left && !last ? pad : 0, "", last ? "\n" : "");
}

/* The columns that name a row, and columns begin .. end - 1 of the row whose cells these are (NULL:
 * of the headings). */
static void print_row(const cli_table *table, const int *widths, int begin, int end,
                      char *const *cells, FILE *out) {
    for (int j = 0; j < table->keys && begin > 0; j++)
        print_cell(table, j, widths[j], j == 0, false, cells == NULL ? heading(table, j) : cells[j],
                   out);
    for (int j = begin; j < end; j++)
        print_cell(table, j, widths[j], j == 0, j == end - 1,
                   cells == NULL ? heading(table, j) : cells[j], out);
}

/* As many columns from `begin` on as have room beside those that name a row; at least one. */
static int columns_to(const cli_table *table, const int *widths, int begin) {
    int most = 0, j = begin;
    for (int i = 0; i < table->keys && begin > 0; i++)
        most += widths[i] + 2;
    for (; j < table->columns; j++) {
        most += widths[j];
        if (most > CLI_WIDTH && j > begin && j > table->keys)
            break;
        most += 2;
    }
    return j;
}

static void print(const cli_table *table, const int *widths, FILE *out) {
    for (int begin = 0, end; begin < table->columns; begin = end) {
        end = columns_to(table, widths, begin);
        if (begin > 0)
            fputc('\n', out);
        print_row(table, widths, begin, end, NULL, out);
        for (size_t i = 0; i < table->count; i += (size_t)table->columns)
            print_row(table, widths, begin, end, table->cells + i, out);
    }
}

void cli_table_drop(cli_table *table) {
    for (size_t i = 0; i < table->count; i++)
        gka_free(table->cells[i]);
    gka_free(table->cells);
    *table = (cli_table){.columns = table->columns, .headings = table->headings};
}

gka_status cli_table_print(cli_table *table, FILE *out) {
    int *const widths = table->failed ? NULL : gka_alloc((size_t)table->columns, sizeof *widths);
    if (widths != NULL) {
        for (int j = 0; j < table->columns; j++)
            widths[j] = width(table, j);
        print(table, widths, out);
    }
    cli_table_drop(table);
    gka_free(widths);
    return widths != NULL ? GKA_OK : GKA_OUT_OF_MEMORY;
}
