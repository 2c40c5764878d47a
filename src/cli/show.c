/* show.c - gka show: what a golden holds, and where its tolerances come from. */
#include "cli/show.h"
#include "cli/json.h"
#include "gka/golden.h"
#include "gka/judge.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static double number_of(const json_t *one, const char *key) {
    const json_t *const value = json_object_get(one, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static const char *text_of(const json_t *one, const char *key) {
    const char *const text = json_string_value(json_object_get(one, key));
    return text == NULL ? "-" : text;
}

static void cell_shape(cli_table *table, const gka_tensor *tensor) {
    char text[128] = "-";
    for (int i = 0, n = 0; tensor != NULL && i < tensor->rank && n < (int)sizeof text; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s%" PRId64, i == 0 ? "" : ",",
                      tensor->shape[i]);
    cli_cell(table, "%s", text);
}

static size_t count_of(const char *const *names) {
    size_t n = 0;
    while (names[n] != NULL)
        n++;
    return n;
}

/* Of the layer's outputs and a server's, those that the golden has a tolerance of. */
static const json_t *next(const json_t *tolerances, size_t *i, const char **name) {
    const json_t *one = NULL;
    for (size_t outputs = count_of(gka_verify_names);
         one == NULL && *i < outputs + count_of(gka_serving_names); ++*i) {
        *name = *i < outputs ? gka_verify_names[*i] : gka_serving_names[*i - outputs];
        one = json_object_get(tolerances, *name);
    }
    return one;
}

static int print_tolerances(cli *c, const gka_file *file, const json_t *tolerances) {
    static const char *const headings[] = {"<tensor", "<shape", "<judged",   "tolerance", "floor",
                                           "panel",   "row",    "row floor", "row panel"};
    cli_table table;
    cli_table_start(&table, headings, sizeof headings / sizeof *headings);
    const char *name;
    const json_t *one;
    for (size_t i = 0; (one = next(tolerances, &i, &name)) != NULL;) {
        char steps[64];
        (void)snprintf(steps, sizeof steps, "%s.steps", name);
        cli_cell(&table, "%s", name);
        cell_shape(&table, gka_file_find(file, steps));
        cli_cell(&table, "%s", text_of(one, "judged"));
        static const char *const keys[] = {"value", "floor",     "panel",
                                           "row",   "floor_row", "panel_row"};
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
            cli_cell_real_or_dash(&table, number_of(one, keys[k]));
    }
    return cli_table_print(&table, c->out) == GKA_OK ? CLI_GOOD : cli_out_of_memory(c);
}

/* "panel of x o: KERNELS", once for each panel */
static void print_profiles(FILE *out, const json_t *tolerances) {
    const char *name, *other;
    const json_t *one, *same;
    for (size_t i = 0; (one = next(tolerances, &i, &name)) != NULL;) {
        const char *const profile = text_of(one, "panel_kernels");
        bool first = true;
        for (size_t k = 0; (same = next(tolerances, &k, &other)) != NULL && other != name;)
            first = first && strcmp(text_of(same, "panel_kernels"), profile) != 0;
        if (!first)
            continue;
        fputs("panel of", out);
        for (size_t k = 0; (same = next(tolerances, &k, &other)) != NULL;)
            if (strcmp(text_of(same, "panel_kernels"), profile) == 0)
                fprintf(out, " %s", other);
        cli_say(out, ": %s\n", profile);
    }
}

static const char *said(const gka_file *file, const char *key) {
    const char *const text = gka_file_metadata(file, key);
    return text == NULL ? "-" : text;
}

static int show(cli *c, const gka_file *file) {
    const char *const text = gka_file_metadata(file, "tolerances");
    json_t *const tolerances = text == NULL ? NULL : json_loads(text, 0, NULL);
    gka_error error = {0};
    int code = cli_outcome(c, gka_golden_check(file, &error), &error);
    if (code == CLI_GOOD && !json_is_object(tolerances))
        code = cli_fail(c,
                        "%s: metadata 'tolerances' is missing; a file made by gka golden was "
                        "expected",
                        gka_file_path(file));
    if (code == CLI_GOOD) {
        cli_say(c->out, "%s: format %s, stage %s, inputs %.12s...\n", gka_file_path(file),
                said(file, "golden"), said(file, "stage"), said(file, "inputs_sha256"));
        cli_say(c->out, "ridge_ratio %s, num_iter %s, chunk_size %s, scale %s\n",
                said(file, "ridge_ratio"), said(file, "num_iter"), said(file, "chunk_size"),
                said(file, "scale"));
        if (gka_file_metadata(file, "lambda") != NULL)
            cli_say(c->out, "lambda %s\n", said(file, "lambda"));
        cli_say(c->out, "spec %s\n", said(file, "spec"));
        cli_say(c->out, "oracle %s\n", said(file, "oracle"));
        fputc('\n', c->out);
        code = print_tolerances(c, file, tolerances);
    }
    if (code == CLI_GOOD) {
        const json_t *const some = json_object_iter_value(json_object_iter(tolerances));
        fputc('\n', c->out);
        cli_say(c->out, "tolerance: %s\n", text_of(some, "rule"));
        print_profiles(c->out, tolerances);
    }
    json_decref(tolerances);
    return code;
}

/* A suite's folder: which goldens there are to be shown. */
static int show_folder(cli *c, const char *path) {
    gka_suite suite;
    gka_error error = {0};
    int code = cli_outcome(c, gka_suite_read(path, &suite, &error), &error);
    if (code == CLI_GOOD)
        code = cli_fail(c, "%s: a folder of %zu goldens; one of them was expected, such as %s/%s",
                        path, suite.count, path,
                        suite.count > 0 ? suite.entries[0].file : "NAME.safetensors");
    gka_suite_free(&suite);
    return code;
}

int cli_show_golden(cli *c, const char *path) {
    gka_file *file = NULL;
    if (cli_is_folder(path))
        return show_folder(c, path);
    int code = cli_open(c, path, &file);
    if (code == CLI_GOOD)
        code = show(c, file);
    gka_file_close(file);
    return code;
}

static const char notes[] =
    "Prints the parameters of GOLDEN and, for each output, its tolerance and what that is made\n"
    "of: 2^ceil(log2(max(2 floor, 2 stage, u))), where\n"
    "\n"
    "  floor  is the error of NAME.steps rounded once to the stored types\n"
    "  stage  is the largest error of the kernels that are named below the table, which are right\n"
    "  u      is the unit roundoff of the stored type\n";

int cli_show(cli *c) {
    static const cli_help help = {.operands = "GOLDEN", .notes = notes, .least = 1, .most = 1};
    static const cli_option options[] = {{.kind = CLI_END}};
    int code;
    if (!cli_parse(c, &help, options, &code))
        return code;
    return cli_show_golden(c, c->operands[0]);
}
