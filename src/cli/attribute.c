/* attribute.c - gka attribute: what each rounding of the released kernels, or of repaired ones,
 * costs. */
#include "cli/heads.h"
#include "cli/verdict.h"
#include "gka/judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char notes[] =
    "Each named rounding of the released kernels is switched on alone in exact arithmetic (only),\n"
    "and off alone in the released arithmetic (without); the errors are ||out - steps||/||steps||\n"
    "over the tensor, steps the same r Chebyshev steps in binary64. Sorted by the error of x with\n"
    "that rounding only. --gradients adds dk of the solve (needs dx) and dalpha of the layer\n"
    "(needs do). NaN as a result is shown as such. The last line names, for each output, the\n"
    "rounding whose error alone is largest, and its share of the error of all.\n"
    "\n"
    "With --per-head, --csv or several files each head is run by itself: its errors as released "
    "and\n"
    "who is to blame for them, the median and the range, and the medians of the table above. CSV "
    "and\n"
    "JSON then have, for each head, NAME, NAME:only:POINT and NAME:without:POINT.\n"
    "\n"
    "--set changes the arithmetic that is called released: POINT=exact, or a repair: form=,\n"
    "operand=bf16|split|tf32|fp16|e4m3|pPeE, store=1|2, handoff=1|2, margin=M, num_iter=N,\n"
    "KERNEL.num_warps=W\n"
    "(gka verify --help).\n"
    "\n"
    "JSON: {file, form, reference, points: [{point, text, only: {fro, x, o, ...}, without: "
    "{...}}],\n"
    "released: {...}}; NaN and Inf are strings.\n";

enum { FRO, X, O, DK, DALPHA, COLUMNS };
static const char *const column_names[COLUMNS] = {"fro", "x", "o", "solve.dk", "layer.dalpha"};

typedef struct request {
    gka_profile profile; /* the kernels with their repairs */
    bool gradients, explained, per_head;
    const char *csv, *json;
} request;

static int outputs_of(const request *r) {
    return r->gradients ? COLUMNS : DK;
}

/* The errors of one run as JSON: of point i alone or left out, or (i < 0) all as released. */
static json_t *errors_json(const gka_attribution *a, int i, bool only, bool *good) {
    json_t *const object = json_object();
    for (int o = 0; o < COLUMNS; o++) {
        const double error = i < 0 ? a[o].released : only ? a[o].only[i] : a[o].without[i];
        if (a[o].defined)
            *good &= json_object_set_new(object, column_names[o], cli_json_real(error)) == 0;
    }
    return object;
}

static const char *const short_names[COLUMNS] = {"f", "x", "o", "dk", "dalpha"};

/* What is printed: attributions by the names of their outputs, and the points in their order. */
typedef struct shown {
    const char *const *names;
    const gka_attribution *a;
    int count;
    int order[GKA_POINT_COUNT];
} shown;

/* "f x o dk dalpha" of "fro x o solve.dk layer.dalpha"; in full where two would be called alike. */
static const char *short_name(const shown *s, int o) {
    const char *const name = s->names[o], *const dot = strchr(name, '.');
    for (int i = 0; i < s->count && dot != NULL; i++) {
        const char *const other = strchr(s->names[i], '.');
        if (i != o && other != NULL && strcmp(other, dot) == 0)
            return name;
    }
    return strcmp(name, "fro") == 0 ? "f" : dot != NULL ? dot + 1 : name;
}

/* Points by the error that they make alone in x (where that is not asked for: in the first output
 * that there is), largest first; NaN first of all. */
static void sort(shown *s) {
    const gka_attribution *by = NULL;
    for (int o = 0; o < s->count; o++)
        if (s->a[o].defined && (by == NULL || strcmp(s->names[o], "x") == 0))
            by = &s->a[o];
    for (int i = 0; i < GKA_POINT_COUNT; i++) {
        int j = i;
        for (; j > 0 && by != NULL; j--) {
            const double before = by->only[s->order[j - 1]], now = by->only[i];
            if (isnan(before) || (!isnan(now) && !(now > before)))
                break;
            s->order[j] = s->order[j - 1];
        }
        s->order[j] = i;
    }
}

/* Errors of each point alone, of all but that point, or both side by side. */
static gka_status print(FILE *out, const shown *s, bool alone, bool without) {
    char texts[2 * GKA_OUTPUTS][40];
    const char *headings[2 * GKA_OUTPUTS + 1] = {"<rounding"};
    int columns = 1;
    for (int half = alone ? 0 : 1; half < (without ? 2 : 1); half++)
        for (int o = 0; o < s->count; o++)
            if (s->a[o].defined) {
                char *const text = texts[columns - 1];
                (void)snprintf(text, sizeof *texts, "%s %s", short_name(s, o),
                               half == 0 ? "only" : "without");
                headings[columns++] = text;
            }
    cli_table table;
    cli_table_start(&table, headings, columns);
    for (int i = 0; i < GKA_POINT_COUNT; i++) {
        cli_cell(&table, "%s", gka_point_name((gka_point)s->order[i]));
        for (int o = 0; alone && o < s->count; o++)
            if (s->a[o].defined)
                cli_cell_real(&table, s->a[o].only[s->order[i]]);
        for (int o = 0; without && o < s->count; o++)
            if (s->a[o].defined)
                cli_cell_real(&table, s->a[o].without[s->order[i]]);
    }
    cli_cell(&table, "(all as released)");
    for (int o = 0; alone && o < s->count; o++)
        if (s->a[o].defined && without)
            cli_cell(&table, "-");
        else if (s->a[o].defined)
            cli_cell_real(&table, s->a[o].released);
    for (int o = 0; without && o < s->count; o++)
        if (s->a[o].defined)
            cli_cell_real(&table, s->a[o].released);
    return cli_table_print(&table, out);
}

/* Both halves fit into 100 columns for three outputs. */
static gka_status print_all(FILE *out, const shown *s) {
    int outputs = 0;
    for (int o = 0; o < s->count; o++)
        outputs += s->a[o].defined;
    if (outputs <= 3)
        return print(out, s, true, true);
    gka_status status = print(out, s, true, false);
    fputc('\n', out);
    return status == GKA_OK ? print(out, s, false, true) : status;
}

/* The point whose error alone is largest. */
static int worst_of(const gka_attribution *a) {
    int worst = 0;
    for (int i = 1; i < GKA_POINT_COUNT; i++)
        if (a->only[i] > a->only[worst])
            worst = i;
    return worst;
}

/* "norm_reduce alone makes 99 % of f; operand_x alone makes 87 % of x, 97 % of o": who is to blame
 * for each output, and for what share of the error of all. */
static void blame(FILE *out, const shown *s) {
    bool some = false;
    for (int i = 0; i < GKA_POINT_COUNT; i++) {
        bool named = false;
        for (int o = 0; o < s->count; o++) {
            const gka_attribution *const a = &s->a[o];
            const double share = a->defined ? a->only[i] / a->released : 0;
            if (!(share > 0) || worst_of(a) != i)
                continue;
            if (!named)
                fprintf(out, "%s%s alone makes", some ? "; " : "\n", gka_point_name((gka_point)i));
            fprintf(out, "%s %.0f %% of %s", named ? "," : "", 100 * share, short_name(s, o));
            named = some = true;
        }
    }
    if (some)
        fputc('\n', out);
}

/* Each point with its sentence. */
static void explain(FILE *out, const shown *s) {
    fputc('\n', out);
    for (int i = 0; i < GKA_POINT_COUNT; i++)
        fprintf(out, "%-16s %s\n", gka_point_name((gka_point)s->order[i]),
                gka_point_text((gka_point)s->order[i]));
}

static int write_json(cli *c, cli_json *json, const char *path, const char *form, const shown *s) {
    bool good = true;
    json_t *const root = json_object(), *const points = json_array();
    good &= json_object_set_new(root, "file", cli_json_text(path)) == 0;
    good &= json_object_set_new(root, "form", cli_json_text(form)) == 0;
    good &= json_object_set_new(root, "reference", cli_json_text("steps")) == 0;
    for (int i = 0; i < GKA_POINT_COUNT; i++) {
        const gka_point point = (gka_point)s->order[i];
        json_t *const row = json_object();
        good &= json_object_set_new(row, "point", cli_json_text(gka_point_name(point))) == 0;
        good &= json_object_set_new(row, "text", cli_json_text(gka_point_text(point))) == 0;
        good &= json_object_set_new(row, "only", errors_json(s->a, s->order[i], true, &good)) == 0;
        good &=
            json_object_set_new(row, "without", errors_json(s->a, s->order[i], false, &good)) == 0;
        good &= json_array_append_new(points, row) == 0;
    }
    good &= json_object_set_new(root, "points", points) == 0;
    good &= json_object_set_new(root, "released", errors_json(s->a, -1, false, &good)) == 0;
    return cli_json_close(c, json, root, good);
}

/* Tables of one problem, or of the medians over many; s->order is set. */
static gka_status show(FILE *out, const shown *s, bool explained) {
    const gka_status status = print_all(out, s);
    if (status == GKA_OK && explained)
        explain(out, s);
    if (status == GKA_OK)
        blame(out, s);
    return status;
}

gka_status cli_attribution_text(const char *const *names, const gka_attribution *attributions,
                                size_t count, char **text, gka_error *error) {
    shown s = {.names = names, .a = attributions, .count = (int)count};
    size_t size = 0;
    FILE *const out = count > GKA_OUTPUTS ? NULL : open_memstream(text, &size);
    sort(&s);
    bool good = out != NULL && show(out, &s, false) == GKA_OK;
    good = (out == NULL || fclose(out) == 0) && good;
    if (good)
        return GKA_OK;
    if (out != NULL)
        free(*text);
    *text = NULL;
    return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory for the text of an attribution");
}

static int attribute(cli *c, const gka_problem *p, const char *path, const request *r,
                     cli_json *json) {
    gka_error error = {0};
    const char *const form = gka_form_name(r->profile.form);
    const int steps = r->profile.num_iter > 0 ? r->profile.num_iter : p->num_iter;
    gka_attribution a[COLUMNS] = {0};
    shown s = {.names = column_names, .a = a, .count = outputs_of(r)};
    int code = CLI_GOOD;
    cli_progress bar;
    const gka_progress progress = cli_progress_start(&bar, c, path);
    const gka_status status =
        gka_attribute(p, &r->profile, column_names, (size_t)outputs_of(r), &progress, a, &error);
    cli_progress_end(&bar);
    if (status != GKA_OK)
        return cli_report(c, &error);
    sort(&s);
    if (!cli_json_takes_stdout(json)) {
        cli_tell_layout(c, p);
        cli_say(c->out, "%s: %s form, errors against %d exact steps\n\n", path, form, steps);
        if (show(c->out, &s, r->explained) != GKA_OK)
            code = cli_out_of_memory(c);
    }
    return code == CLI_GOOD && json->path ? write_json(c, json, path, form, &s) : code;
}

/* ---- head by head -------------------------------------------------------------------------- */

/* The figures of a head: each output as released, and then, output by output, what each point makes
 * alone and what is left without it. */
enum { OF_POINTS = 2 * GKA_POINT_COUNT, FIGURES = COLUMNS * (1 + OF_POINTS) };

typedef struct by_head {
    cli_heads heads;
    const request *r;
    char name[FIGURES][48];
    const char *names[FIGURES];
} by_head;

static int figure_of(const request *r, int output, int point, bool without) {
    return outputs_of(r) + output * OF_POINTS + 2 * point + without;
}

static void name_figures(by_head *b) {
    const int outputs = outputs_of(b->r);
    for (int o = 0; o < outputs; o++) {
        (void)snprintf(b->name[o], sizeof b->name[o], "%s", column_names[o]);
        for (int i = 0; i < OF_POINTS; i++)
            (void)snprintf(b->name[figure_of(b->r, o, 0, false) + i], sizeof b->name[0], "%s:%s:%s",
                           column_names[o], i % 2 == 0 ? "only" : "without",
                           gka_point_name((gka_point)(i / 2)));
    }
    for (int i = 0; i < FIGURES; i++)
        b->names[i] = b->name[i];
    b->heads.figures = outputs * (1 + OF_POINTS);
    b->heads.shown = outputs;
    b->heads.headings = short_names;
    b->heads.names = b->names;
    b->heads.remark = "<alone makes most";
}

/* "o operand_x 97 %, dk operand_x 92 %": of the last three outputs. */
static void remark_on(char remark[CLI_REMARK], const gka_attribution *a, int outputs) {
    int at = 0;
    remark[0] = '\0';
    for (int o = outputs - 3 < X ? X : outputs - 3; o < outputs; o++)
        if (a[o].defined && a[o].released > 0 && at < CLI_REMARK) {
            const int worst = worst_of(&a[o]);
            at += snprintf(remark + at, (size_t)(CLI_REMARK - at), "%s%s %s %.0f %%",
                           at > 0 ? ", " : "", short_names[o], gka_point_name((gka_point)worst),
                           100 * a[o].only[worst] / a[o].released);
        }
}

static int add_heads(cli *c, cli_problem *problem, void *context) {
    by_head *const b = context;
    const gka_problem *const p = &problem->problem;
    const int outputs = outputs_of(b->r), figures = b->heads.figures;
    gka_error error = {0};
    double *const values = gka_alloc((size_t)(p->N * p->H * figures), sizeof *values);
    char(*const remarks)[CLI_REMARK] = gka_alloc((size_t)(p->N * p->H), sizeof *remarks);
    int code = values == NULL || remarks == NULL ? cli_out_of_memory(c) : CLI_GOOD;
    cli_progress bar;
    const gka_progress progress = cli_progress_start(&bar, c, problem->label);
    for (int64_t i = 0; i < p->N * p->H && code == CLI_GOOD; i++) {
        const gka_problem head = gka_problem_head(p, i / p->H, i % p->H);
        gka_attribution a[COLUMNS] = {0};
        code = cli_outcome(
            c, gka_attribute(&head, &b->r->profile, column_names, (size_t)outputs, NULL, a, &error),
            &error);
        double *const row = values + i * figures;
        for (int o = 0; o < outputs && code == CLI_GOOD; o++) {
            row[o] = a[o].defined ? a[o].released : NAN;
            for (int k = 0; k < GKA_POINT_COUNT; k++) {
                row[figure_of(b->r, o, k, false)] = a[o].defined ? a[o].only[k] : NAN;
                row[figure_of(b->r, o, k, true)] = a[o].defined ? a[o].without[k] : NAN;
            }
        }
        remark_on(remarks[i], a, outputs);
        (void)gka_progress_report(&progress, (double)(i + 1), (double)(p->N * p->H));
    }
    cli_progress_end(&bar);
    char text[128];
    (void)snprintf(text, sizeof text, "T %lld, D %lld, %s form, errors against %d exact steps",
                   (long long)p->T, (long long)p->D, gka_form_name(b->r->profile.form),
                   b->r->profile.num_iter > 0 ? b->r->profile.num_iter : p->num_iter);
    if (code == CLI_GOOD)
        code = cli_heads_add(&b->heads, problem->label, text, p->N, p->H, values, remarks);
    gka_free(values);
    gka_free(remarks);
    return code;
}

/* The medians over all heads, as one problem's attribution. */
static bool medians(const by_head *b, gka_attribution *a) {
    bool good = true;
    for (int o = 0; o < outputs_of(b->r) && good; o++) {
        good = cli_heads_median(&b->heads, o, &a[o].released);
        a[o].defined = good && !isnan(a[o].released);
        for (int k = 0; k < GKA_POINT_COUNT && good; k++)
            good = cli_heads_median(&b->heads, figure_of(b->r, o, k, false), &a[o].only[k]) &&
                   cli_heads_median(&b->heads, figure_of(b->r, o, k, true), &a[o].without[k]);
    }
    return good;
}

static int attribute_heads(cli *c, cli_problem *problem, const request *r) {
    by_head *const b = gka_alloc(1, sizeof *b);
    if (b == NULL)
        return cli_out_of_memory(c);
    gka_attribution a[COLUMNS] = {0};
    *b = (by_head){.heads = {.c = c, .per_head = r->per_head}, .r = r};
    name_figures(b);
    int code = cli_heads_start(&b->heads, r->csv, r->json);
    if (code == CLI_GOOD)
        code = cli_heads_each(&b->heads, problem, add_heads, b);
    if (code == CLI_GOOD && !medians(b, a))
        code = cli_out_of_memory(c);
    const bool said = cli_heads_shown(&b->heads);
    code = cli_heads_end(&b->heads, code);
    if (code == CLI_GOOD && said) {
        shown s = {.names = column_names, .a = a, .count = outputs_of(r)};
        sort(&s);
        fputs("\nmedians over the heads:\n\n", c->out);
        if (show(c->out, &s, r->explained) != GKA_OK)
            code = cli_out_of_memory(c);
    }
    gka_free(b);
    return code;
}

/* ---- the command --------------------------------------------------------------------------- */

int cli_attribute(cli *c) {
    static const cli_help help = {
        .operands = "[FILE[:PATTERN]...]", .notes = notes, .least = 0, .most = -1};
    int form = GKA_THREE_TERM, code;
    request r = {0};
    cli_texts settings = {0};
    gka_kernel kernel;
    cli_problem p;
    cli_problem_start(&p);
    const cli_option options[] = {
        {"form", 0, CLI_CHOICE, &form, .value = "FORM", .choices = CLI_FORMS,
         .help = "which form of the iteration: three-term (default), two-term, cg, cg-consistent"},
        {"set", 0, CLI_TEXTS, &settings, .value = "SETTING",
         .help = "leave a rounding out of the released arithmetic, or repair it (below); may be "
                 "repeated"},
        {"gradients", 0, CLI_FLAG, &r.gradients,
         .help = "also the errors of solve.dk and layer.dalpha"},
        {"explain", 0, CLI_FLAG, &r.explained, .help = "what each rounding is, in a sentence"},
        {"per-head", 0, CLI_FLAG, &r.per_head, .help = "a row for each head, then the medians"},
        {"csv", 0, CLI_OUT, &r.csv, .value = "OUT", .help = "the heads' rows as CSV"},
        {"json", 0, CLI_OUT, &r.json, .value = "OUT",
         .help = "the figures as JSON; - is standard output"},
        {.kind = CLI_GROUP, .group = p.options, .help = "Problem, without FILE:"},
        {.kind = CLI_END}};
    if (!cli_parse(c, &help, options, &code))
        return code;
    if (r.explained && r.json != NULL && strcmp(r.json, "-") == 0)
        return cli_fail(c, "--explain has no meaning with --json=-, which has every sentence");
    code = cli_kernel(c, "h100", form, &settings, &kernel);
    if (code == CLI_GOOD && (kernel.decode || kernel.serving))
        code = cli_fail(c, "--set=%s: the chunk kernels are what is attributed",
                        kernel.decode ? "decode" : "serving");
    r.profile = kernel.profile;
    if (code == CLI_GOOD && (r.per_head || r.csv != NULL || c->operand_count > 1))
        return attribute_heads(c, &p, &r);
    cli_json json = {0};
    if (code == CLI_GOOD)
        code = cli_json_open(c, r.json, &json);
    if (code == CLI_GOOD)
        code = cli_problem_open(c, &p, c->operand_count > 0 ? c->operands[0] : NULL);
    if (code == CLI_GOOD)
        code = attribute(c, &p.problem, p.label, &r, &json);
    cli_json_abandon(&json);
    cli_problem_close(&p);
    return code;
}
