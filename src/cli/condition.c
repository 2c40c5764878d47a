/* condition.c - gka condition: is an error the kernel's, or the problem's? */
#include "gka/condition.h"
#include "cli/heads.h"

#include <math.h>
#include <string.h>

static const char notes[] =
    "For each output tensor of FILE, or with --emulate=h100 of the kernels emulated (also on a\n"
    "made-up problem, without FILE):\n"
    "\n"
    "  error      rel_err against the exact value\n"
    "  floor      that of exact x, f and p rounded once to the stored types, then exact formulas\n"
    "  typical    what rounding the inputs to their own types once changes, root mean square\n"
    "  ratio      error / max(floor, typical)\n"
    "  word       unstable: ratio > 10. Otherwise ill-conditioned where max(floor, typical) > 10 "
    "u,\n"
    "             u the coarsest unit roundoff, and stable where not\n"
    "  kappa Z    ||J|| ||Z||/||out||, J the Jacobian by input Z, in the worst direction: power\n"
    "             iteration with the exact second derivatives, from below, until a product adds "
    "less\n"
    "             than 1 %; - where the output does not read Z\n"
    "  products   with J and its transpose that all of these took\n"
    "  u kappa    the largest over the inputs, u that of the input's type\n"
    "  its ratio  error / max(floor, u kappa)\n"
    "\n"
    "The worst direction is about the square root of the number of elements worse than rounding,\n"
    "which does not find it; so the word is that of ratio.\n"
    "\n"
    "With --emulate, --per-head, --csv or several files: each head by itself, error, floor, "
    "typical\n"
    "and ratio of x, o, solve.dk and layer.dalpha (or of every --tensor) and the names of those "
    "that\n"
    "are unstable, then the median and the range over all heads.\n"
    "\n"
    "With --iterations, gradients of <dx, x> at r = 5, 10, 20, 30 Chebyshev steps in binary64:\n"
    "\n"
    "  bound, x    1/T_(r+1)(1 + 2a), the most that r steps leave of a residual; the error of x\n"
    "  implicit    the formulas that kernels use, at x and p of r steps, against the exact "
    "gradient\n"
    "  derivative  the exact derivative of the r steps, bounds and all, against the exact "
    "gradient\n"
    "  implicit - derivative  how far these two are apart, relative to the derivative\n"
    "  reversed    the derivative from iterates recomputed backwards (O(1) memory) against stored\n"
    "\n"
    "JSON: {file, emulate, tensors: [{name, dtype, error, floor, typical, ratio, word, u_kappa, "
    "by,\n"
    "worst_ratio, inputs: {q: {unit, kappa, products, typical}, ...}}]}; NaN and Inf are "
    "strings.\n";

typedef struct request {
    cli *c;
    const char *path; /* shown */
    const char *emulate;
    gka_kernel kernel;
    bool iterations, per_head;
    const char *csv;
    cli_texts tensors;
    cli_json json;
} request;

/* ---- the table ----------------------------------------------------------------------------- */

static gka_status print_words(const request *r, const gka_condition_row *rows, size_t count) {
    static const char *const headings[] = {"<tensor", "<dtype", "error", "floor",
                                           "typical", "ratio",  "<word"};
    cli_table table;
    cli_table_start(&table, headings, sizeof headings / sizeof *headings);
    for (size_t i = 0; i < count; i++) {
        const gka_condition_row *const row = &rows[i];
        cli_cell(&table, "%s", row->name);
        cli_cell(&table, "%s", gka_dtype_name(row->dtype));
        cli_cell_real(&table, row->error);
        cli_cell_real(&table, row->floor);
        cli_cell_real(&table, row->typical);
        cli_cell_number(&table, "%.2f", row->ratio);
        cli_cell(&table, "%s", gka_stability_name(row->word));
    }
    return cli_table_print(&table, r->c->out);
}

/* In the worst direction. */
static gka_status print_kappas(const request *r, const gka_condition_row *rows, size_t count) {
    static const char *const headings[] = {"<tensor",     "kappa q",  "kappa k",  "kappa v",
                                           "kappa alpha", "kappa g",  "products", "u kappa",
                                           "<of",         "its ratio"};
    cli_table table;
    cli_table_start(&table, headings, sizeof headings / sizeof *headings);
    for (size_t i = 0; i < count; i++) {
        const gka_condition_row *const row = &rows[i];
        int products = 0;
        cli_cell(&table, "%s", row->name);
        for (int k = 0; k < GKA_INPUTS; k++) {
            products += row->of[k].products;
            if (row->of[k].kappa > 0)
                cli_cell(&table, "%.3g", row->of[k].kappa);
            else
                cli_cell(&table, "-");
        }
        cli_cell(&table, "%d", products);
        cli_cell_real(&table, row->worst);
        cli_cell(&table, "%s", row->worst > 0 ? gka_input_name(row->by) : "-");
        cli_cell_number(&table, "%.2f", row->worst_ratio);
    }
    return cli_table_print(&table, r->c->out);
}

static gka_status print(const request *r, const gka_condition_row *rows, size_t count) {
    const gka_status status = print_words(r, rows, count);
    fputc('\n', r->c->out);
    return status == GKA_OK ? print_kappas(r, rows, count) : status;
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static json_t *json_row(const gka_condition_row *row, bool *good) {
    json_t *const object = json_object(), *const inputs = json_object();
    for (int k = 0; k < GKA_INPUTS; k++) {
        const gka_sensitivity *const s = &row->of[k];
        json_t *const input = json_object();
        *good &= json_object_set_new(input, "unit", cli_json_real(s->unit)) == 0;
        *good &= json_object_set_new(input, "kappa", cli_json_real(s->kappa)) == 0;
        *good &= json_object_set_new(input, "products", json_integer(s->products)) == 0;
        *good &= json_object_set_new(input, "typical", cli_json_real(s->typical)) == 0;
        *good &= json_object_set_new(inputs, gka_input_name((gka_input)k), input) == 0;
    }
    const char *const word = gka_stability_name(row->word), *const by = gka_input_name(row->by);
    *good &= json_object_set_new(object, "name", cli_json_text(row->name)) == 0;
    *good &= json_object_set_new(object, "dtype", cli_json_text(gka_dtype_name(row->dtype))) == 0;
    *good &= json_object_set_new(object, "error", cli_json_real(row->error)) == 0;
    *good &= json_object_set_new(object, "floor", cli_json_real(row->floor)) == 0;
    *good &= json_object_set_new(object, "typical", cli_json_real(row->typical)) == 0;
    *good &= json_object_set_new(object, "ratio", cli_json_real(row->ratio)) == 0;
    *good &= json_object_set_new(object, "word", cli_json_text(word)) == 0;
    *good &= json_object_set_new(object, "u_kappa", cli_json_real(row->worst)) == 0;
    *good &= json_object_set_new(object, "by", cli_json_text(by)) == 0;
    *good &= json_object_set_new(object, "worst_ratio", cli_json_real(row->worst_ratio)) == 0;
    *good &= json_object_set_new(object, "inputs", inputs) == 0;
    return object;
}

static int write_json(request *r, const gka_condition_row *rows, size_t count) {
    bool good = true;
    json_t *const root = json_object(), *const tensors = json_array();
    good &= json_object_set_new(root, "file", cli_json_text(r->path)) == 0;
    good &= json_object_set_new(root, "emulate",
                                r->emulate != NULL ? cli_json_text(r->emulate) : json_null()) == 0;
    for (size_t i = 0; i < count; i++)
        good &= json_array_append_new(tensors, json_row(&rows[i], &good)) == 0;
    good &= json_object_set_new(root, "tensors", tensors) == 0;
    return cli_json_close(r->c, &r->json, root, good);
}

/* ---- the finite iteration ------------------------------------------------------------------ */

static const int steps[] = {5, 10, 20, 30};
enum { STEPS = sizeof steps / sizeof *steps };
static const char *const iterated[GKA_ITERATED] = {"dq", "dk", "dg"};

static gka_status print_iterations(const request *r, const gka_problem *problem,
                                   const gka_iterations_row *rows) {
    static const char *const headings[] = {
        "r", "bound", "x", "<of", "implicit - derivative", "implicit", "derivative", "reversed"};
    cli_tell_layout(r->c, problem);
    cli_say(r->c->out,
            "%s: T %lld, D %lld; ridge_ratio %g; gradients of <dx, x> at r steps in binary64\n\n",
            r->path, (long long)problem->T, (long long)problem->D, problem->ridge_ratio);
    cli_table table;
    cli_table_start(&table, headings, sizeof headings / sizeof *headings);
    for (int n = 0; n < STEPS; n++)
        for (int i = 0; i < GKA_ITERATED; i++) {
            if (i == GKA_ITERATED_DG && problem->g.data == NULL)
                continue;
            cli_cell(&table, "%d", rows[n].r);
            cli_cell_real(&table, rows[n].bound);
            cli_cell_real(&table, rows[n].x);
            cli_cell(&table, "%s", iterated[i]);
            cli_cell_real(&table, rows[n].apart[i]);
            cli_cell_real(&table, rows[n].implicit[i]);
            cli_cell_real(&table, rows[n].derivative[i]);
            cli_cell_real(&table, rows[n].reversed[i]);
        }
    return cli_table_print(&table, r->c->out);
}

static int write_iterations(request *r, const gka_iterations_row *rows) {
    bool good = true;
    json_t *const root = json_object(), *const list = json_array();
    good &= json_object_set_new(root, "file", cli_json_text(r->path)) == 0;
    for (int n = 0; n < STEPS; n++) {
        json_t *const row = json_object();
        good &= json_object_set_new(row, "r", json_integer(rows[n].r)) == 0;
        good &= json_object_set_new(row, "bound", cli_json_real(rows[n].bound)) == 0;
        good &= json_object_set_new(row, "x", cli_json_real(rows[n].x)) == 0;
        for (int i = 0; i < GKA_ITERATED; i++) {
            json_t *const of = json_object();
            good &= json_object_set_new(of, "apart", cli_json_real(rows[n].apart[i])) == 0;
            good &= json_object_set_new(of, "implicit", cli_json_real(rows[n].implicit[i])) == 0;
            good &=
                json_object_set_new(of, "derivative", cli_json_real(rows[n].derivative[i])) == 0;
            good &= json_object_set_new(of, "reversed", cli_json_real(rows[n].reversed[i])) == 0;
            good &= json_object_set_new(row, iterated[i], of) == 0;
        }
        good &= json_array_append_new(list, row) == 0;
    }
    good &= json_object_set_new(root, "iterations", list) == 0;
    return cli_json_close(r->c, &r->json, root, good);
}

static int iterations(request *r, const gka_problem *problem, gka_form form) {
    gka_error error = {0};
    gka_iterations_row rows[STEPS];
    gka_status status = GKA_OK;
    cli_progress bar;
    const gka_progress progress = cli_progress_start(&bar, r->c, r->path);
    for (int n = 0; status == GKA_OK && n < STEPS; n++) {
        status = gka_iterations(problem, form, steps[n], &rows[n], &error);
        (void)gka_progress_report(&progress, n + 1, STEPS);
    }
    cli_progress_end(&bar);
    int code = cli_outcome(r->c, status, &error);
    if (code == CLI_GOOD && !cli_json_takes_stdout(&r->json) &&
        print_iterations(r, problem, rows) != GKA_OK)
        code = cli_out_of_memory(r->c);
    if (code == CLI_GOOD && r->json.path != NULL)
        code = write_iterations(r, rows);
    return code;
}

/* ---- the command --------------------------------------------------------------------------- */

static int condition(request *r, const gka_problem *problem, const gka_file *outputs) {
    cli *const c = r->c;
    gka_error error = {0};
    gka_condition_row rows[GKA_CONDITION_ROWS];
    size_t count = 0;
    cli_progress bar;
    const gka_condition_options options = {
        .outputs = r->emulate == NULL ? outputs : NULL,
        .emulate = r->emulate != NULL ? &r->kernel : NULL,
        .names = (const char *const *)r->tensors.text,
        .name_count = r->tensors.count,
        .progress = cli_progress_start(&bar, c, r->path),
    };
    const gka_status status = gka_condition(problem, &options, rows, &count, &error);
    cli_progress_end(&bar);
    int code = cli_outcome(c, status, &error);
    if (code == CLI_GOOD && !cli_json_takes_stdout(&r->json)) {
        cli_tell_layout(c, problem);
        cli_say(c->out, "%s: T %lld, D %lld; ridge_ratio %g%s%s\n\n", r->path,
                (long long)problem->T, (long long)problem->D, problem->ridge_ratio,
                r->emulate != NULL ? "; emulated: " : "", r->emulate != NULL ? r->emulate : "");
        if (print(r, rows, count) != GKA_OK)
            code = cli_out_of_memory(c);
    }
    if (code == CLI_GOOD && r->json.path != NULL)
        code = write_json(r, rows, count);
    return code;
}

/* ---- head by head -------------------------------------------------------------------------- */

enum { PER_TENSOR = 4, FIGURES = PER_TENSOR * GKA_CONDITION_ROWS };

typedef struct by_head {
    cli_heads heads;
    const request *r;
    const char *const *tensors;
    size_t count;
    char title[FIGURES][24], name[FIGURES][32];
    const char *titles[FIGURES], *names[FIGURES];
} by_head;

static void name_figures(by_head *b) {
    static const char *const usual[] = {"x", "o", "solve.dk", "layer.dalpha"};
    static const char *const of_tensor[PER_TENSOR] = {"error", "floor", "typical", "ratio"};
    const cli_texts *const asked = &b->r->tensors;
    b->tensors = asked->count > 0 ? (const char *const *)asked->text : usual;
    b->count = asked->count > 0 ? asked->count : sizeof usual / sizeof *usual;
    b->count = b->count < GKA_CONDITION_ROWS ? b->count : GKA_CONDITION_ROWS;
    for (size_t i = 0; i < b->count; i++)
        for (int k = 0; k < PER_TENSOR; k++) {
            const size_t at = i * PER_TENSOR + (size_t)k;
            const char *const dot = asked->count > 0 ? NULL : strchr(b->tensors[i], '.');
            (void)snprintf(b->title[at], sizeof b->title[at], "%.14s %s",
                           dot == NULL ? b->tensors[i] : dot + 1, of_tensor[k]);
            (void)snprintf(b->name[at], sizeof b->name[at], "%.16s:%s", b->tensors[i],
                           of_tensor[k]);
            b->titles[at] = b->title[at];
            b->names[at] = b->name[at];
        }
    b->heads.figures = (int)(PER_TENSOR * b->count);
    b->heads.headings = b->titles;
    b->heads.names = b->names;
    b->heads.remark = "<unstable";
}

/* The figures and the remark of one head. */
static gka_status look_at_head(const by_head *b, const gka_problem *head, double *values,
                               char remark[CLI_REMARK], gka_error *error) {
    gka_condition_row rows[GKA_CONDITION_ROWS];
    size_t count = 0;
    const gka_condition_options options = {
        .emulate = &b->r->kernel, .names = b->tensors, .name_count = b->count};
    const gka_status status = gka_condition(head, &options, rows, &count, error);
    int at = snprintf(remark, CLI_REMARK, "-");
    for (size_t i = 0; i < b->count && status == GKA_OK; i++) {
        const gka_condition_row *row = NULL;
        for (size_t k = 0; k < count; k++)
            row = strcmp(rows[k].name, b->tensors[i]) == 0 ? &rows[k] : row;
        const double figures[] = {row ? row->error : NAN, row ? row->floor : NAN,
                                  row ? row->typical : NAN, row ? row->ratio : NAN};
        memcpy(values + i * PER_TENSOR, figures, sizeof figures);
        if (row == NULL || row->word != GKA_UNSTABLE || at >= CLI_REMARK)
            continue;
        at = remark[0] == '-' ? 0 : at;
        at += snprintf(remark + at, (size_t)(CLI_REMARK - at), "%s%s", at > 0 ? ", " : "",
                       b->tensors[i]);
    }
    return status;
}

static int add_heads(cli *c, cli_problem *problem, void *context) {
    by_head *const b = context;
    const gka_problem *const p = &problem->problem;
    const int64_t heads = p->N * p->H;
    gka_error error = {0};
    double *const values = gka_alloc((size_t)(heads * b->heads.figures), sizeof *values);
    char(*const remarks)[CLI_REMARK] = gka_alloc((size_t)heads, sizeof *remarks);
    int code = values == NULL || remarks == NULL ? cli_out_of_memory(c) : CLI_GOOD;
    cli_progress bar;
    const gka_progress progress = cli_progress_start(&bar, c, problem->label);
    for (int64_t i = 0; i < heads && code == CLI_GOOD; i++) {
        const gka_problem head = gka_problem_head(p, i / p->H, i % p->H);
        code = cli_outcome(
            c, look_at_head(b, &head, values + i * b->heads.figures, remarks[i], &error), &error);
        (void)gka_progress_report(&progress, (double)(i + 1), (double)heads);
    }
    cli_progress_end(&bar);
    char text[256];
    (void)snprintf(text, sizeof text, "T %lld, D %lld; ridge_ratio %g; emulated: %.100s",
                   (long long)p->T, (long long)p->D, p->ridge_ratio, b->r->emulate);
    if (code == CLI_GOOD)
        code = cli_heads_add(&b->heads, problem->label, text, p->N, p->H, values, remarks);
    gka_free(values);
    gka_free(remarks);
    return code;
}

static int condition_heads(request *r, cli_problem *problem, const char *json) {
    by_head b = {.heads = {.c = r->c, .per_head = r->per_head}, .r = r};
    name_figures(&b);
    int code = cli_heads_start(&b.heads, r->csv, json);
    if (code == CLI_GOOD)
        code = cli_heads_each(&b.heads, problem, add_heads, &b);
    return cli_heads_end(&b.heads, code);
}

/* ---- what goes together -------------------------------------------------------------------- */

/* What does not go together; NULL: it does. */
static const char *mistake(const request *r, const cli_problem *p, bool has_file, bool has_inputs,
                           bool has_settings) {
    if (r->iterations && r->tensors.count > 0)
        return "--tensor has no meaning with --iterations, which has gradients alone";
    if (r->emulate == NULL && !r->iterations && cli_given(r->c, "form"))
        return "--form: --emulate=KERNEL or --iterations was expected with it";
    if (r->iterations && r->emulate != NULL)
        return "--emulate has no meaning with --iterations, which run in binary64";
    if (r->emulate == NULL && (r->per_head || r->csv != NULL))
        return "--per-head and --csv: --emulate=KERNEL was expected with them";
    if (r->emulate == NULL && r->c->operand_count > 1)
        return "one FILE was expected; several go with --emulate=KERNEL";
    if (!has_file && r->emulate == NULL && !r->iterations)
        return "a FILE, --emulate=KERNEL or --iterations was expected";
    if (r->emulate == NULL && has_settings)
        return "--set: --emulate=KERNEL was expected with it";
    if (r->emulate == NULL && !r->iterations && cli_problem_changed(p))
        return "tensors that are there keep their parameters: --ridge, --iters, --chunk and "
               "--scale "
               "go with --emulate=KERNEL or --iterations";
    if (!has_file && has_inputs)
        return "--inputs: a FILE was expected with it";
    if (has_inputs && (r->iterations || r->emulate != NULL))
        return "--inputs has no meaning where FILE's own tensors are not read (--emulate, "
               "--iterations): name the inputs as FILE";
    return NULL;
}

static int check_names(cli *c, const cli_texts *names) {
    for (size_t i = 0; i < names->count; i++) {
        cli_nearest nearest = cli_nearest_to(names->text[i]);
        bool known = false;
        for (int k = 0; k < GKA_CONDITION_ROWS; k++) {
            known = known || strcmp(gka_condition_names[k], names->text[i]) == 0;
            cli_nearest_try(&nearest, gka_condition_names[k]);
        }
        char hint[96];
        if (!known)
            return cli_fail(c, "--tensor=%.80s: no output that is judged here%s", names->text[i],
                            cli_nearest_hint(&nearest, hint));
    }
    return CLI_GOOD;
}

/* The tensors of `file` (NULL: none), the problem of `inputs`, or of the same file, or made up. */
static int judge_file(request *r, cli_problem *p, const char *file, const char *inputs,
                      gka_form form) {
    gka_file *outputs = NULL;
    int code = inputs != NULL ? cli_open(r->c, file, &outputs) : CLI_GOOD;
    if (code != CLI_GOOD)
        return code;
    code = cli_problem_open(r->c, p, inputs != NULL ? inputs : file);
    if (code == CLI_GOOD) {
        code = r->iterations ? iterations(r, &p->problem, form)
                             : condition(r, &p->problem, outputs != NULL ? outputs : p->file);
        cli_problem_close(p);
    }
    if (outputs != NULL)
        gka_file_close(outputs);
    return code;
}

int cli_condition(cli *c) {
    static const cli_help help = {
        .operands = "[FILE[:PATTERN]...]", .notes = notes, .least = 0, .most = -1};
    request r = {.c = c};
    const char *inputs = NULL, *json = NULL;
    int form = -1, code;
    cli_texts settings = {0};
    cli_problem p;
    cli_problem_start(&p);
    const cli_option options[] = {
        {"emulate", 0, CLI_TEXT, &r.emulate, .value = "KERNEL",
         .help = "judge what this kernel would compute: h100/two-term, cuda, tokens/fp32, ..."},
        CLI_UNCHECKED,
        {"form", 0, CLI_CHOICE, &form, .value = "FORM", .choices = CLI_FORMS,
         .help = "form of the iteration that is emulated: three-term, two-term, cg, "
                 "cg-consistent"},
        {"set", 0, CLI_TEXTS, &settings, .value = "SETTING",
         .help = "leave a rounding of the emulation out, or repair it; may be repeated"},
        {"tensor", 0, CLI_TEXTS, &r.tensors, .value = "NAME",
         .help = "this output alone; may be repeated"},
        {"iterations", 0, CLI_FLAG, &r.iterations,
         .help = "the derivative of r steps against the implicit formula (below)"},
        {"per-head", 0, CLI_FLAG, &r.per_head, .help = "with --emulate: a row for each head"},
        {"csv", 0, CLI_OUT, &r.csv, .value = "OUT",
         .help = "with --emulate: the heads' rows as CSV"},
        {"inputs", 0, CLI_IN, &inputs, .value = "FILE",
         .help = "take inputs and parameters from this file"},
        {"json", 0, CLI_OUT, &json, .value = "OUT",
         .help = "the figures as JSON; - is standard output"},
        {.kind = CLI_GROUP, .group = p.options, .help = "Problem, without FILE:"},
        {.kind = CLI_END}};
    if (!cli_parse(c, &help, options, &code))
        return code;
    const char *const file = c->operand_count > 0 ? c->operands[0] : NULL;
    const char *const wrong = mistake(&r, &p, file != NULL, inputs != NULL, settings.count > 0);
    if (wrong != NULL)
        return cli_fail(c, "%s", wrong);
    r.path = file == NULL ? "made up" : file;
    if ((code = check_names(c, &r.tensors)) != CLI_GOOD)
        return code;
    if (r.emulate != NULL) {
        code = cli_kernel(c, r.emulate, form, &settings, &r.kernel);
        if (code == CLI_GOOD)
            code = cli_kernels_checked(c, &r.kernel, 1);
    } else if (cli_given(c, "unchecked")) {
        code = cli_fail(c, "--unchecked: --emulate=KERNEL was expected with it");
    }
    if (code == CLI_GOOD && (r.per_head || r.csv != NULL || c->operand_count > 1))
        return condition_heads(&r, &p, json);
    if (code == CLI_GOOD)
        code = cli_json_open(c, json, &r.json);
    if (code == CLI_GOOD)
        code = judge_file(&r, &p, file, inputs, form < 0 ? GKA_THREE_TERM : (gka_form)form);
    cli_json_abandon(&r.json);
    return code;
}
