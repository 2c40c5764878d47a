/* table.c - aligned columns. */
#include "cli/cli.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

void cli_table_start(cli_table *table, const char *const *headings, int columns) {
    *table = (cli_table){.columns = columns, .headings = headings};
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
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    char *const copy = table->failed || !make_room(table) ? NULL : gka_strdup(text);
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

static void print_cell(const cli_table *table, int column, int columns_width, const char *text,
                       FILE *out) {
    const bool last = column == table->columns - 1, left = flush_left(table, column);
    const int pad = columns_width - (int)strlen(text);
    const bool nothing = last && text[0] == '\0'; /* no blanks at the end of a line */
    fprintf(out, "%s%*s%s%*s%s", column == 0 || nothing ? "" : "  ", left || nothing ? 0 : pad, "",
            text, left && !last ? pad : 0, "", last ? "\n" : "");
}

static void print(const cli_table *table, const int *widths, FILE *out) {
    for (int j = 0; j < table->columns; j++)
        print_cell(table, j, widths[j], heading(table, j), out);
    for (size_t i = 0; i < table->count; i++) {
        const int j = (int)(i % (size_t)table->columns);
        print_cell(table, j, widths[j], table->cells[i], out);
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
