/* heads.c - tables with a row per head, and gka verify's predictions. */
#include "cli/heads.h"
#include "cli/units.h"
#include "gka/judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- tables of heads ----------------------------------------------------------------------- */

static const char *name_of(const cli_heads *h, int i) {
    return h->names != NULL ? h->names[i] : h->headings[i];
}

bool cli_heads_shown(const cli_heads *h) {
    return !cli_json_takes_stdout(&h->json) && !(h->csv != NULL && cli_is_stdout(h->csv_path));
}

int cli_heads_start(cli_heads *h, const char *csv, const char *json) {
    gka_error error = {0};
    h->good = true;
    h->shown = h->shown > 0 ? h->shown : h->figures;
    h->csv_path = csv;
    int code = cli_json_open(h->c, json, &h->json);
    if (code == CLI_GOOD && json != NULL)
        h->list = json_array();
    if (code == CLI_GOOD && csv != NULL)
        code =
            gka_output_open(csv, &h->csv, &error) == GKA_OK ? CLI_GOOD : cli_report(h->c, &error);
    if (code == CLI_GOOD && csv != NULL) {
        fprintf(gka_output_stream(h->csv), "file,row,head");
        for (int i = 0; i < h->figures; i++)
            fprintf(gka_output_stream(h->csv), ",%s", name_of(h, i));
        fputc('\n', gka_output_stream(h->csv));
    }
    return code;
}

/* A name as one field of CSV. */
static void write_field(FILE *out, const char *text) {
    if (strpbrk(text, ",\"\n") == NULL) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text != '\0'; text++)
        fprintf(out, *text == '"' ? "\"\"" : "%c", *text);
    fputc('"', out);
}

static void write_row(cli_heads *h, const char *label, int64_t n, int64_t head, const double *row) {
    if (h->csv != NULL) {
        FILE *const out = gka_output_stream(h->csv);
        write_field(out, label);
        fprintf(out, ",%lld,%lld", (long long)n, (long long)head);
        for (int i = 0; i < h->figures; i++)
            if (isnan(row[i]))
                fputc(',', out);
            else
                fprintf(out, ",%.6e", row[i]);
        fputc('\n', out);
    }
    if (h->list != NULL) {
        cli_builder o = {json_object(), h->good};
        cli_put(&o, "file", cli_json_text(label));
        cli_put(&o, "row", json_integer(n));
        cli_put(&o, "head", json_integer(head));
        for (int i = 0; i < h->figures; i++)
            cli_put(&o, name_of(h, i), cli_json_real_or_null(row[i]));
        h->good = o.good;
        h->good &= json_array_append_new(h->list, o.value) == 0;
    }
}

static bool keep_row(cli_heads *h, const double *row) {
    if (h->count == h->room) {
        const size_t room = h->room == 0 ? 64 : 2 * h->room;
        double *const all = gka_alloc(room * (size_t)h->figures, sizeof *all);
        if (all == NULL)
            return false;
        if (h->count > 0)
            memcpy(all, h->all, h->count * (size_t)h->figures * sizeof *all);
        gka_free(h->all);
        h->all = all;
        h->room = room;
    }
    memcpy(h->all + h->count++ * (size_t)h->figures, row, (size_t)h->figures * sizeof *row);
    return true;
}

/* A table whose first columns are these keys, and then the figures that are shown. */
static const char **start_table(const cli_heads *h, cli_table *table, int keys,
                                const char *const *key) {
    const bool remarked = keys == 2 && h->remark != NULL;
    const int columns = keys + h->shown + (remarked ? 1 : 0);
    const char **const headings = gka_alloc((size_t)columns, sizeof *headings);
    for (int i = 0; headings != NULL && i < columns; i++)
        headings[i] = i < keys ? key[i] : i < keys + h->shown ? h->headings[i - keys] : h->remark;
    cli_table_start(table, headings, columns);
    table->keys = keys;
    return headings;
}

static bool print_heads(const cli_heads *h, int64_t N, int64_t H, const double *values,
                        char (*remarks)[CLI_REMARK]) {
    static const char *const key[] = {"row", "head"};
    cli_table table;
    const char **const headings = start_table(h, &table, 2, key);
    if (headings == NULL)
        return false;
    for (int64_t i = 0; i < N * H; i++) {
        cli_cell(&table, "%lld", (long long)(i / H));
        cli_cell(&table, "%lld", (long long)(i % H));
        for (int k = 0; k < h->shown; k++)
            cli_cell_real_or_dash(&table, values[i * h->figures + k]);
        if (h->remark != NULL)
            cli_cell(&table, "%s", remarks[i]);
    }
    fputc('\n', h->c->out);
    const gka_status status = cli_table_print(&table, h->c->out);
    gka_free(headings);
    return status == GKA_OK;
}

/* What cli_heads_add is told, as a record of the unit at hand. */
static int note(cli_heads *h, const char *label, const char *text, int64_t N, int64_t H,
                const double *values, char (*remarks)[CLI_REMARK]) {
    cli_builder o = {json_object(), true}, numbers = {json_array(), true},
                words = {json_array(), true};
    for (int64_t i = 0; i < N * H * h->figures; i++)
        cli_append(&numbers, cli_json_real(values[i]));
    for (int64_t i = 0; i < N * H && remarks != NULL; i++)
        cli_append(&words, json_string(remarks[i]));
    cli_put(&o, "label", cli_json_text(label));
    cli_put(&o, "text", text == NULL ? json_null() : cli_json_text(text));
    cli_put(&o, "rows", json_integer(N));
    cli_put(&o, "heads", json_integer(H));
    cli_put(&o, "values", numbers.value);
    cli_put(&o, "remarks", words.value);
    const bool good = json_array_append_new(h->record, o.value) == 0;
    return good && o.good && numbers.good && words.good ? CLI_GOOD : cli_out_of_memory(h->c);
}

int cli_heads_add(cli_heads *h, const char *label, const char *text, int64_t N, int64_t H,
                  const double *values, char (*remarks)[CLI_REMARK]) {
    if (h->record != NULL)
        return note(h, label, text, N, H, values, remarks);
    bool good = true;
    for (int64_t i = 0; i < N * H && good; i++) {
        write_row(h, label, i / H, i % H, values + i * h->figures);
        good = keep_row(h, values + i * h->figures);
    }
    const bool shown = good && cli_heads_shown(h);
    if (shown && h->files++ > 0 && h->per_head)
        fputc('\n', h->c->out);
    if (shown)
        cli_say(h->c->out, "%s%s%s\n", label, text == NULL ? "" : ": ", text == NULL ? "" : text);
    if (shown && h->per_head)
        good = print_heads(h, N, H, values, remarks);
    return good ? CLI_GOOD : cli_out_of_memory(h->c);
}

/* Whether that is what `note` makes. */
static bool is_note(const cli_heads *h, json_t *noted) {
    const char *label;
    json_t *text, *values, *remarks;
    json_int_t rows, heads, all, numbers;
    if (json_unpack_ex(noted, NULL, JSON_STRICT, "{s:s,s:o,s:I,s:I,s:o,s:o}", "label", &label,
                       "text", &text, "rows", &rows, "heads", &heads, "values", &values, "remarks",
                       &remarks) != 0 ||
        !(json_is_string(text) || json_is_null(text)) || rows < 0 || heads < 0 ||
        __builtin_mul_overflow(rows, heads, &all) ||
        __builtin_mul_overflow(all, (json_int_t)h->figures, &numbers) ||
        !cli_json_numbers(values) || (json_int_t)json_array_size(values) != numbers ||
        !json_is_array(remarks) ||
        (json_int_t)json_array_size(remarks) != (h->remark != NULL ? all : 0))
        return false;
    for (size_t i = 0; i < json_array_size(remarks); i++)
        if (!json_is_string(json_array_get(remarks, i)))
            return false;
    return true;
}

/* One noted call of cli_heads_add. */
static int replay(cli_heads *h, const json_t *noted) {
    const json_t *const numbers = json_object_get(noted, "values");
    const json_t *const words = json_object_get(noted, "remarks");
    const size_t count = json_array_size(numbers), remarked = json_array_size(words);
    double *const values = gka_alloc(count, sizeof *values);
    char(*const remarks)[CLI_REMARK] = gka_alloc(remarked, sizeof *remarks);
    int code = values == NULL || remarks == NULL ? cli_out_of_memory(h->c) : CLI_GOOD;
    for (size_t i = 0; i < count && code == CLI_GOOD; i++)
        values[i] = cli_json_number(json_array_get(numbers, i));
    for (size_t i = 0; i < remarked && code == CLI_GOOD; i++)
        (void)snprintf(remarks[i], sizeof *remarks, "%s",
                       json_string_value(json_array_get(words, i)));
    if (code == CLI_GOOD)
        code = cli_heads_add(h, json_string_value(json_object_get(noted, "label")),
                             json_string_value(json_object_get(noted, "text")),
                             json_integer_value(json_object_get(noted, "rows")),
                             json_integer_value(json_object_get(noted, "heads")), values,
                             remarked > 0 ? remarks : NULL);
    gka_free(values);
    gka_free(remarks);
    return code;
}

typedef struct visits {
    cli_heads *heads;
    cli_problem *problem;
    cli_problem_visit *visit;
    void *context;
} visits;

static const char *operand(const cli *c, int64_t i) {
    return c->operand_count > 0 ? c->operands[i] : NULL;
}

/* FILE, or FILE of FILE:WHICH.. */
static const char *path_of(void *context, int64_t i, int k) {
    cli *const c = ((const visits *)context)->heads->c;
    char *const path =
        k > 0 || operand(c, i) == NULL ? NULL : cli_keep(c, gka_strdup(operand(c, i)));
    if (path != NULL)
        (void)cli_cut_to_file(path);
    return path;
}

static int visit_unit(cli *c, void *context, int64_t i) {
    const visits *const v = context;
    return cli_problem_each(c, v->problem, operand(c, i), v->visit, v->context);
}

static int make_unit(cli *c, void *context, int64_t i, json_t **record) {
    const visits *const v = context;
    json_t *const noted = *record = v->heads->record = json_array();
    const int code = noted == NULL ? cli_out_of_memory(c) : visit_unit(c, context, i);
    v->heads->record = NULL;
    return code;
}

static int use_unit(cli *c, void *context, int64_t i, json_t *record) {
    const visits *const v = context;
    int code = json_is_array(record) && json_array_size(record) > 0 ? CLI_GOOD : CLI_UNUSABLE;
    (void)c, (void)i;
    for (size_t k = 0; k < json_array_size(record) && code == CLI_GOOD; k++)
        code = is_note(v->heads, json_array_get(record, k)) ? CLI_GOOD : CLI_UNUSABLE;
    for (size_t k = 0; k < json_array_size(record) && code == CLI_GOOD; k++)
        code = replay(v->heads, json_array_get(record, k));
    return code;
}

int cli_heads_each(cli_heads *h, cli_problem *problem, cli_problem_visit *visit, void *context) {
    cli *const c = h->c;
    visits v = {h, problem, visit, context};
    cli_units units = {.folder = h->units,
                       .count = c->operand_count > 0 ? c->operand_count : 1,
                       .path = path_of,
                       .alone = visit_unit,
                       .make = make_unit,
                       .use = use_unit,
                       .context = &v};
    const int code = cli_units_run(c, &units);
    h->silent = units.silent;
    return code;
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Figure i of all heads that have it, sorted; returns how many. */
static size_t sorted(const cli_heads *h, int i, double *column) {
    size_t n = 0;
    for (size_t row = 0; row < h->count; row++) {
        const double x = h->all[row * (size_t)h->figures + (size_t)i];
        if (!isnan(x))
            column[n++] = x;
    }
    qsort(column, n, sizeof *column, compare);
    return n;
}

static double of_sorted(int word, size_t n, const double *column) {
    if (n == 0)
        return NAN;
    return word == 1    ? column[0]
           : word == 2  ? column[n - 1]
           : n % 2 == 0 ? (column[n / 2 - 1] + column[n / 2]) / 2
                        : column[n / 2];
}

bool cli_heads_median(const cli_heads *h, int figure, double *median) {
    double *const column = gka_alloc(h->count, sizeof *column);
    if (column != NULL)
        *median = of_sorted(0, sorted(h, figure, column), column);
    gka_free(column);
    return column != NULL;
}

/* The median and the range over all heads. */
static int print_summary(const cli_heads *h) {
    static const char *const words[] = {"median", "least", "largest"};
    double *const column = gka_alloc(h->count, sizeof *column);
    char name[32];
    const char *const key[] = {name};
    (void)snprintf(name, sizeof name, "<of %zu heads", h->count);
    cli_table table;
    const char **const headings = column != NULL ? start_table(h, &table, 1, key) : NULL;
    if (headings == NULL) {
        gka_free(column);
        return cli_out_of_memory(h->c);
    }
    for (int w = 0; w < 3; w++) {
        cli_cell(&table, "%s", words[w]);
        for (int i = 0; i < h->shown; i++)
            cli_cell_real_or_dash(&table, of_sorted(w, sorted(h, i, column), column));
    }
    gka_free(column);
    fputc('\n', h->c->out);
    const gka_status status = cli_table_print(&table, h->c->out);
    gka_free(headings);
    return status == GKA_OK ? CLI_GOOD : cli_out_of_memory(h->c);
}

int cli_heads_end(cli_heads *h, int code) {
    gka_error error = {0};
    if (code == CLI_GOOD && h->count > 0 && cli_heads_shown(h))
        code = print_summary(h);
    if (code == CLI_GOOD && h->csv != NULL && !h->silent) {
        code = gka_output_close(h->csv, &error) == GKA_OK ? CLI_GOOD : cli_report(h->c, &error);
        h->csv = NULL;
    }
    if (code == CLI_GOOD && h->json.path != NULL && !h->silent) {
        code = cli_json_close(h->c, &h->json, h->list, h->good);
        h->list = NULL;
    }
    if (h->csv != NULL)
        gka_output_abandon(h->csv);
    cli_json_abandon(&h->json);
    json_decref(h->list);
    gka_free(h->all);
    return code;
}

/* ---- kernels ------------------------------------------------------------------------------- */

int cli_kernels_read(cli *c, const char *text, int form, const cli_texts *settings,
                     cli_kernels *kernels) {
    char *const names = cli_keep(c, gka_strdup(text)); /* they live as long as the call */
    if (names == NULL)
        return cli_out_of_memory(c);
    int code = CLI_GOOD;
    for (char *name = names, *comma; name != NULL && code == CLI_GOOD;
         name = comma == NULL ? NULL : comma + 1) {
        comma = strchr(name, ',');
        if (comma != NULL)
            *comma = '\0';
        if (kernels->count == CLI_KERNELS)
            return cli_fail(c, "--emulate: at most %d kernels were expected", CLI_KERNELS);
        kernels->name[kernels->count] = name;
        code = cli_kernel(c, name, form, settings, &kernels->kernel[kernels->count++]);
    }
    if (code == CLI_GOOD && kernels->count > 0)
        code = cli_kernels_checked(c, kernels->kernel, kernels->count);
    return code;
}

/* ---- predictions --------------------------------------------------------------------------- */

static const char *const outputs[] = {"x", "o", "solve.dk", "layer.dalpha"};
enum { OUTPUTS = sizeof outputs / sizeof *outputs, FIGURES = 16 };

typedef struct prediction {
    cli_heads heads;
    cli_kernels kernels;
    const cli_predicting *asked;
    char title[FIGURES][24], name[FIGURES][64];
    const char *titles[FIGURES], *names[FIGURES];
} prediction;

/* Columns: output by output, kernel beside kernel. */
static void name_columns(prediction *p) {
    for (size_t i = 0; i < OUTPUTS; i++)
        for (size_t k = 0; k < p->kernels.count; k++) {
            const size_t at = i * p->kernels.count + k;
            if (p->kernels.count == 1)
                (void)snprintf(p->title[at], sizeof p->title[at], "%s", outputs[i]);
            else
                (void)snprintf(p->title[at], sizeof p->title[at], "%s %zu",
                               i == 3   ? "dalpha"
                               : i == 2 ? "dk"
                                        : outputs[i],
                               k + 1);
            (void)snprintf(p->name[at], sizeof p->name[at], "%s:%.40s", outputs[i],
                           p->kernels.name[k]);
            p->titles[at] = p->title[at];
            p->names[at] = p->name[at];
        }
    p->heads.headings = p->titles;
    p->heads.names = p->names;
    p->heads.figures = (int)(OUTPUTS * p->kernels.count);
}

static int predict_one(cli *c, cli_problem *problem, void *context) {
    prediction *const p = context;
    const gka_problem *const q = &problem->problem;
    const size_t kernels = p->kernels.count, heads = (size_t)(q->N * q->H);
    double *const distance = gka_alloc(heads * kernels * OUTPUTS, sizeof *distance);
    double *const size = gka_alloc(heads * OUTPUTS, sizeof *size);
    double *const values = gka_alloc(heads * kernels * OUTPUTS, sizeof *values);
    gka_error error = {0};
    int code = distance == NULL || size == NULL || values == NULL ? cli_out_of_memory(c) : CLI_GOOD;
    if (code == CLI_GOOD) {
        cli_progress bar;
        const gka_prediction asked = {.oracle = p->asked->oracle,
                                      .precision = p->asked->precision,
                                      .kernels = p->kernels.kernel,
                                      .kernel_count = kernels,
                                      .names = outputs,
                                      .name_count = OUTPUTS,
                                      .progress = cli_progress_start(&bar, c, problem->label)};
        const gka_status status = gka_predict(q, &asked, distance, size, &error);
        cli_progress_end(&bar);
        if (status != GKA_OK) {
            gka_error line = {0};
            (void)gka_fail(&line, status, "%s: %s", problem->label, error.text);
            code = cli_outcome(c, status, &line);
        }
    }
    for (size_t n = 0; n < heads && code == CLI_GOOD; n++)
        for (size_t i = 0; i < OUTPUTS; i++)
            for (size_t k = 0; k < kernels; k++)
                values[(n * OUTPUTS + i) * kernels + k] =
                    distance[(n * kernels + k) * OUTPUTS + i] / size[n * OUTPUTS + i];
    char text[1024], ridge[80];
    int at = snprintf(text, sizeof text, "B %lld, T %lld, H %lld, D %lld; %s;", (long long)q->B,
                      (long long)q->T, (long long)q->H, (long long)q->D, cli_ridge(q, ridge));
    for (size_t k = 0; k < kernels && at > 0 && at < (int)sizeof text; k++) {
        const char *const others = gka_kernel_borrows(&p->kernels.kernel[k])
                                       ? " (exp, division and root as another device's)"
                                       : "";
        at += kernels == 1 ? snprintf(text + at, sizeof text - (size_t)at, " emulated: %.60s%s",
                                      p->kernels.name[k], others)
                           : snprintf(text + at, sizeof text - (size_t)at, "%s %zu = %.60s%s",
                                      k == 0 ? "" : ",", k + 1, p->kernels.name[k], others);
    }
    if (code == CLI_GOOD)
        code = cli_heads_add(&p->heads, problem->label, text, q->N, q->H, values, NULL);
    gka_free(distance);
    gka_free(size);
    gka_free(values);
    return code;
}

int cli_predict(cli *c, cli_problem *problem, const cli_predicting *predicting) {
    prediction p = {.heads = {.c = c, .per_head = predicting->per_head, .units = predicting->units},
                    .asked = predicting};
    int code = cli_kernels_read(c, predicting->emulate, predicting->form, predicting->settings,
                                &p.kernels);
    if (code == CLI_GOOD && p.kernels.count * OUTPUTS > FIGURES)
        code = cli_fail(c, "--emulate: at most %d kernels side by side were expected",
                        FIGURES / OUTPUTS);
    if (code != CLI_GOOD)
        return code;
    name_columns(&p);
    code = cli_heads_start(&p.heads, predicting->csv, predicting->json);
    if (code == CLI_GOOD)
        code = cli_heads_each(&p.heads, problem, predict_one, &p);
    return cli_heads_end(&p.heads, code);
}
