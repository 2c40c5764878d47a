/* verify.c - gka verify: the tensors of files judged against the oracle, as tables and as JSON. */
#include "cli/against.h"
#include "cli/heads.h"
#include "cli/units.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the command line ---------------------------------------------------------------------- */

typedef struct request {
    cli *c;
    const char *chosen; /* --oracle; NULL: none, and then certified, or fp64 where that fails */
    gka_kernel exact;   /* ... by name */
    gka_oracle oracle;  /* of the file at hand */
    const char *inputs;
    cli_json json;
    cli_texts tolerance_texts;
    gka_tolerance *tolerances; /* one for each text */
    bool *used;                /* some file held a tensor of that name */
    bool show_ref;
    gka_kernel kernel;   /* that is emulated */
    const char *emulate; /* its name; NULL: none */
    bool automatic;      /* h100/auto: the configuration is searched for */
    char found[320];     /* what the search says */
    bool failed;         /* some tensor is out of its tolerance */
    json_t *list;        /* of the files' results, when asked for */
    bool good;           /* the list is complete so far */
    const char *units;   /* --units; NULL: this process judges all files */
    bool silent;         /* another one prints */
} request;

static const char notes[] =
    "Each FILE is a safetensors file with the inputs q k [v] [alpha] [g] [h0] [u0] [do] [dx]\n"
    "[dh_final] [du_final] [cu_seqlens], metadata ridge_ratio, num_iter, chunk_size, scale (when\n"
    "missing: 0.02, 30, 64, 1/sqrt(D)), and any of the outputs x fro h_chunk h_final u_final o,\n"
    "solve.{dq dk dg dh0}, layer.{dq dk dv dalpha dg}. The exact value of each output is computed\n"
    "from the inputs.\n"
    "\n"
    "  rel_err      ||out - exact|| / ||exact|| over the tensor (\"abs\": exact = 0, ||out||)\n"
    "  stated       what the file's metadata rel_err_vs_fp64 says it is\n"
    "  max_row_err  the largest over rows (last axis; for states matrices), `at` that row\n"
    "  max_ulp      the largest distance, in steps of the stored format, to exact rounded to it\n"
    "  NaN,Inf      how many there are among the stored elements\n"
    "  ok           yes or no by --tolerance on rel_err, - without one\n"
    "\n"
    "Where FILE has no outputs, and with --per-head, --csv, several kernels (K,K2) or a problem "
    "that\n"
    "is made up, --emulate says what those kernels would lose on its inputs: ||out - exact|| /\n"
    "||exact|| of x, o, solve.dk and layer.dalpha, by head with --per-head, then the median and "
    "the\n"
    "range over all heads. The exact values are then those of fp64, right to about 1e-12, unless\n"
    "--oracle is given.\n"
    "\n"
    "With --emulate=h100 the released kernels are emulated from the same inputs:\n"
    "  identical    share of the stored elements that the emulation gives too, bit for bit\n"
    "  far          the largest distance of the others, in steps of the stored format\n"
    "  predicted    rel_err of the emulation; beside it stands the one measured\n"
    "--set=POINT=exact leaves one rounding out (gka attribute lists them); repairs are form=,\n"
    "operand=bf16|split|tf32|fp16|e4m3|pPeE (what the products of the iteration read; the last "
    "two\n"
    "with a scale), store=1|2 (bf16 "
    "parts\n"
    "of x and p), handoff=1|2 (of q', dq' and dx), margin=M (the spectrum taken to reach\n"
    "(1 + a + M) f; 2^-6), num_iter=N. KERNEL.num_warps=1|2|4|8 names the configuration of one "
    "autotuned\n"
    "kernel: solve, solve_dk, solve_dh, states, output, output_bwd, gates, decode, or all of "
    "them.\n"
    "--emulate=h100/auto finds it by the file's bits, of a server's outputs too.\n"
    "\n"
    "A server's outputs are prefill.o prefill.h prefill.u of the first tokens (metadata prefill\n"
    "says how many) and decode.o decode.h decode.u of the others, one by one from the states\n"
    "before; beta [B,T,H] and normalise (none, unit, rounded) say what q, k, v still lack. The\n"
    "exact values are those of the numbers they stand for. --emulate=h100/serving emulates the\n"
    "server's kernels.\n"
    "\n"
    "The default oracle is certified: double-double with a proven error bound, the same\n"
    "bytes on every machine, 1.5 times fp64's time or so. Where it can prove nothing, fp64 takes\n"
    "its place with a note, unless certified was asked for: Cholesky in binary64, right to about\n"
    "1e-12. mpfr computes in 256 bits, some hundred times slower, and judges the other two.\n"
    "\n"
    "With --against=GOLDEN each output in FILE is judged by that golden, as by `gka judge FILE\n"
    "GOLDEN`; `gka judge --help` says what the figures mean.\n"
    "\n"
    "JSON: for one FILE an object {file, oracle, parameters, tensors, ...}, for several a list of\n"
    "them; NaN and Inf are strings, ok is true, false or null. With --json=- no table is printed.\n"
    "\n"
    "Exit code: 0 all within tolerance or merely measured, 1 a tensor fails, 2 usage or bad "
    "input,\n"
    "3 internal.\n";

static bool is_served(const char *name) {
    bool is = false;
    for (const char *const *served = gka_serving_names; *served != NULL; served++)
        is = is || strcmp(*served, name) == 0;
    return is;
}

/* NAME=VALUE */
static int parse_tolerance(cli *c, char *text, gka_tolerance *tolerance) {
    char *const equals = strchr(text, '=');
    if (equals == NULL)
        return cli_fail(c, "--tolerance %.80s: NAME=VALUE was expected", text);
    *equals = '\0';
    char *end;
    *tolerance = (gka_tolerance){text, gka_parse_real(equals + 1, &end)};
    if (end == equals + 1 || *end != '\0' || !(tolerance->value >= 0 && isfinite(tolerance->value)))
        return cli_fail(c, "--tolerance %.80s=%.80s: a finite number >= 0 was expected", text,
                        equals + 1);
    cli_nearest nearest = cli_nearest_to(text);
    const char *const name = strncmp(text, "ref.", 4) == 0 ? text + 4 : text;
    for (const char *const *known = gka_verify_names; *known != NULL; known++) {
        if (strcmp(*known, name) == 0)
            return CLI_GOOD;
        cli_nearest_try(&nearest, *known);
    }
    if (is_served(text))
        return CLI_GOOD;
    for (const char *const *known = gka_serving_names; *known != NULL; known++)
        cli_nearest_try(&nearest, *known);
    char hint[96];
    return cli_fail(c, "--tolerance %.80s: no output has that name%s", text,
                    cli_nearest_hint(&nearest, hint));
}

static int parse_tolerances(request *r) {
    const size_t count = r->tolerance_texts.count;
    r->tolerances = gka_alloc(count, sizeof *r->tolerances);
    r->used = gka_alloc(count, sizeof *r->used);
    if (r->tolerances == NULL || r->used == NULL)
        return cli_out_of_memory(r->c);
    int code = CLI_GOOD;
    for (size_t i = 0; i < count && code == CLI_GOOD; i++) {
        code = parse_tolerance(r->c, r->tolerance_texts.text[i], &r->tolerances[i]);
        for (size_t j = 0; j < i && code == CLI_GOOD; j++)
            if (strcmp(r->tolerances[j].name, r->tolerances[i].name) == 0)
                code = cli_fail(r->c, "--tolerance %.80s: given twice", r->tolerances[i].name);
    }
    return code;
}

/* ---- numbers as text ----------------------------------------------------------------------- */

/* "1,192,1,128" */
static void join(char text[200], int rank, const int64_t *numbers) {
    int n = 0;
    text[0] = '\0';
    for (int i = 0; i < rank; i++)
        n += snprintf(text + n, (size_t)(200 - n), "%s%lld", i == 0 ? "" : ",",
                      (long long)numbers[i]);
}

static const char *verdict_text(gka_verdict ok) {
    return ok == GKA_MEASURED ? "-" : ok == GKA_PASS ? "yes" : "NO";
}

/* As it was asked for, with its bits. */
static const char *oracle_name(const request *r) {
    return r->chosen != NULL ? r->chosen : gka_oracle_name(r->oracle);
}

static int64_t total(const gka_verification *v, int64_t (*of)(const gka_oracle_report *)) {
    return of(&v->forward) + of(&v->solve) + of(&v->layer);
}

static int64_t solves(const gka_oracle_report *report) {
    return report->solves;
}

static int64_t recomputed(const gka_oracle_report *report) {
    return report->recomputed;
}

static int64_t most(int64_t a, int64_t b, int64_t c) {
    const int64_t ab = a > b ? a : b;
    return ab > c ? ab : c;
}

/* ---- notes --------------------------------------------------------------------------------- */

/* The released dh0 (NUMERICS 5; src/chunk/README.md). */
static void tell_dh0(const gka_dh0 *dh0, void (*say)(void *context, const char *line),
                     void *context) {
    char line[320];
    if (!dh0->judged || !(dh0->cosine < 0))
        return;
    (void)snprintf(line, sizeof line,
                   "solve.dh0 points against the gradient: cosine %.4f, norm %.4f of it (symmetric "
                   "parts)",
                   dh0->cosine, dh0->norm);
    say(context, line);
    if (isnan(dh0->with))
        return;
    (void)snprintf(
        line, sizeof line,
        "minus solve.dh0 is off by %.2e from the formula at its own x and p, by %.2e from "
        "that without the ridge term, which is %.2e of it",
        dh0->with, dh0->without, dh0->ridge);
    say(context, line);
}

/* Which axes the file's tensors seem to have. */
static void tell_layout(const gka_verification *v, void (*say)(void *context, const char *line),
                        void *context) {
    char line[96];
    if (v->turned)
        say(context, "the tensors fit as [B,H,T,..]: their axes are in another order than "
                     "[B,T,H,..], or views were stored without their strides");
    else if (cli_layout_in_doubt(&v->problem, line))
        say(context, line);
}

/* What the kernel that is emulated makes NaN or infinite itself, at the same elements. */
static void tell_predicted(const gka_verification *v, const request *r,
                           void (*say)(void *context, const char *line), void *context) {
    char line[320];
    for (size_t i = 0; r->emulate != NULL && i < v->row_count; i++) {
        const gka_comparison *const is = &v->rows[i].comparison, *const by = &v->rows[i].emulated;
        const int64_t predicted = is->nan_out + is->inf_out - by->non_finite;
        if (is->non_finite == 0 || predicted <= 0)
            continue;
        (void)snprintf(line, sizeof line,
                       "%.40s: of its %lld NaN and infinite elements %lld are predicted: the "
                       "emulation has NaN or an infinity there too",
                       v->rows[i].tensor->name, (long long)(is->nan_out + is->inf_out),
                       (long long)predicted);
        say(context, line);
    }
}

/* What has no verdict: all, where none was asked for; else what no tolerance names. */
static void tell_unjudged(const gka_verification *v, const request *r,
                          void (*say)(void *context, const char *line), void *context) {
    char line[320];
    if (r->tolerance_texts.count == 0 && v->row_count > 0) {
        say(context,
            "measured, no verdict: --tolerance=NAME=VALUE or --against=GOLDEN asks for one");
        return;
    }
    int n = snprintf(line, sizeof line, "not judged, for want of a tolerance:");
    const int start = n;
    for (size_t i = 0; i < v->row_count; i++)
        if (v->rows[i].comparison.ok == GKA_MEASURED && n < (int)sizeof line - 48)
            n += snprintf(line + n, sizeof line - (size_t)n, " %.40s", v->rows[i].tensor->name);
    if (n > start)
        say(context, line);
}

/* Some tensor is right to about its format and has an element of the other sign: that is far in
 * steps of the format, for half of its numbers lie below 1. */
static bool bits_apart(const gka_verification *v) {
    for (size_t i = 0; i < v->row_count; i++) {
        const gka_verdict_row *const row = &v->rows[i];
        const double many = ldexp(1, (int)(8 * gka_dtype_size(row->tensor->dtype)) - 3);
        if (row->comparison.rel_err < 1e-2 && (double)row->comparison.max_ulp > many)
            return true;
    }
    return false;
}

/* How many elements were rounded without a proof, and the first of them. */
static void tell_unproven(const gka_oracle_report *report,
                          void (*say)(void *context, const char *line), void *context) {
    char line[320];
    size_t used = (size_t)(report->declared > 0
                               ? snprintf(line, sizeof line,
                                          "certified but for %lld declared ties, halfway between "
                                          "two numbers as far as is known:",
                                          (long long)report->declared)
                               : snprintf(line, sizeof line,
                                          "certified but for %lld gradients, rounded without "
                                          "a proof",
                                          (long long)report->elements_undecided));
    for (int i = 0; i < report->listed && used < sizeof line; i++)
        used += (size_t)snprintf(
            line + used, sizeof line - used, " %s%s element %lld", report->unproven[i].tensor,
            report->unproven[i].second_word ? ".lo" : "", (long long)report->unproven[i].at);
    if (report->declared > 0 || report->elements_undecided > 0)
        say(context, line);
}

/* Calls say(context, line) for each thing a reader of the figures should know. */
static void tell(const gka_verification *v, const request *r,
                 void (*say)(void *context, const char *line), void *context) {
    char line[320];
    const gka_problem *const p = &v->problem;
    const struct {
        bool missing;
        const char *name;
        double value;
    } defaults[] = {{v->defaults.ridge_ratio, "ridge_ratio", p->ridge_ratio},
                    {v->defaults.num_iter, "num_iter", p->num_iter},
                    {v->defaults.chunk_size, "chunk_size", (double)p->chunk_size},
                    {v->defaults.scale, "scale", p->scale}};
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        if (defaults[i].missing) {
            (void)snprintf(line, sizeof line, "metadata '%s' is missing: %.10g taken",
                           defaults[i].name, defaults[i].value);
            say(context, line);
        }
    if (p->h0_asymmetric)
        say(context, "h0 is not symmetric: (h0 + h0^T)/2 taken");
    if (v->row_count > 0 && is_served(v->rows[0].tensor->name)) {
        (void)snprintf(line, sizeof line,
                       "a server's outputs; exact: of q, k with normalise %s and %s",
                       gka_normalise_name(p->normalise),
                       p->beta.data != NULL ? "k, v times beta + 1e-6" : "no beta");
        say(context, line);
    }
    const int64_t empty =
        most(v->forward.empty_states, v->solve.empty_states, v->layer.empty_states);
    if (empty > 0) {
        (void)snprintf(line, sizeof line,
                       "%lld token solves met an empty state (f = 0): x = 0 there",
                       (long long)empty);
        say(context, line);
    }
    if (r->chosen == NULL && r->oracle == GKA_ORACLE_FP64)
        say(context, "no certificate for these inputs: oracle fp64 taken");
    if (r->oracle == GKA_ORACLE_CERTIFIED) {
        const double bound =
            fmax(v->forward.worst_bound, fmax(v->solve.worst_bound, v->layer.worst_bound));
        (void)snprintf(line, sizeof line,
                       "certified: worst proven bound %.1e, %lld of %lld token solves in MPFR",
                       bound, (long long)total(v, recomputed), (long long)total(v, solves));
        say(context, line);
        tell_unproven(&v->forward, say, context);
        tell_unproven(&v->solve, say, context);
        tell_unproven(&v->layer, say, context);
    }
    int stated = 0, agreeing = 0;
    for (size_t i = 0; i < v->row_count; i++) {
        const double figure = v->rows[i].stated, ours = v->rows[i].comparison.rel_err;
        stated += !isnan(figure);
        agreeing += fabs(ours - figure) <= .005 * fabs(figure);
    }
    if (bits_apart(v))
        say(context, "max_ulp counts the numbers between: one of the wrong sign is far, however "
                     "small its error");
    if (stated > 0) {
        (void)snprintf(line, sizeof line, "%d of %d stated figures agree to two digits", agreeing,
                       stated);
        say(context, line);
    }
    tell_dh0(&v->dh0, say, context);
    tell_layout(v, say, context);
    tell_predicted(v, r, say, context);
    for (size_t i = 0; i < v->other_count; i++) {
        (void)snprintf(line, sizeof line, "tensor '%.200s' is not judged", v->others[i]->name);
        say(context, line);
    }
    tell_unjudged(v, r, say, context);
}

/* ---- the table ----------------------------------------------------------------------------- */

static void say_line(void *context, const char *line) {
    cli_say(((cli *)context)->out, "note: %s\n", line);
}

static double share_equal(const gka_verdict_row *row) {
    const gka_comparison *const k = &row->emulated;
    return k->count > 0 ? (double)k->equal / (double)k->count : 1;
}

/* Steps of a format; many of them by their size alone. */
static void add_distance(cli_table *table, uint64_t steps) {
    if (steps < 10000000)
        cli_cell(table, "%llu", (unsigned long long)steps);
    else
        cli_cell(table, "%.1e", (double)steps);
}

static void add_row(cli_table *table, const gka_verdict_row *row) {
    const gka_comparison *const k = &row->comparison;
    char shape[200], at[200];
    join(shape, row->tensor->rank, row->tensor->shape);
    join(at, k->at_rank, k->at);
    cli_cell(table, "%s", row->tensor->name);
    cli_cell(table, "%s", gka_dtype_name(row->tensor->dtype));
    cli_cell(table, "%s", shape);
    if (k->absolute)
        cli_cell(table, "%.2e abs", k->rel_err);
    else
        cli_cell_real(table, k->rel_err);
    if (isnan(row->stated))
        cli_cell(table, "-");
    else
        cli_cell_real(table, row->stated);
    cli_cell_real(table, k->max_row_err);
    cli_cell(table, "%s", k->at_rank == 0 ? "-" : at);
    add_distance(table, k->max_ulp);
    cli_cell(table, "%lld", (long long)(k->nan_out + k->inf_out));
    cli_cell(table, "%s", verdict_text(k->ok));
}

/* Beside the file's tensors, those of the replay. */
static gka_status print_replay(cli *c, const gka_verification *v) {
    static const char *const headings[] = {"<tensor", "identical", "far", "predicted"};
    cli_table table;
    cli_table_start(&table, headings, sizeof headings / sizeof *headings);
    for (size_t i = 0; i < v->row_count; i++) {
        const gka_verdict_row *const row = &v->rows[i];
        cli_cell(&table, "%s", row->tensor->name);
        cli_cell(&table, "%.3f %%", 100 * share_equal(row));
        add_distance(&table, row->emulated.max_ulp);
        cli_cell_real(&table, row->predicted);
    }
    fputc('\n', c->out);
    return cli_table_print(&table, c->out);
}

static int print_table(cli *c, const char *path, const request *r, const gka_verification *v) {
    static const char *const headings[] = {"<tensor",     "<dtype", "<shape",  "rel_err", "stated",
                                           "max_row_err", "<at",    "max_ulp", "NaN,Inf", "<ok"};
    const gka_problem *const p = &v->problem;
    char ridge[80];
    cli_say(c->out,
            "%s: B %lld, T %lld, H %lld, D %lld, V %lld; %s, chunk_size %lld, scale %.6g; oracle "
            "%s\n\n",
            path, (long long)p->B, (long long)p->T, (long long)p->H, (long long)p->D,
            (long long)p->V, cli_ridge(p, ridge), (long long)p->chunk_size, p->scale,
            oracle_name(r));
    cli_table table;
    cli_table_start(&table, headings, sizeof headings / sizeof *headings);
    for (size_t i = 0; i < v->row_count; i++)
        add_row(&table, &v->rows[i]);
    if (cli_table_print(&table, c->out) != GKA_OK ||
        (r->emulate != NULL && print_replay(c, v) != GKA_OK))
        return cli_out_of_memory(c);
    fputc('\n', c->out);
    tell(v, r, say_line, c);
    if (v->ref_count > 0 && !r->show_ref)
        fprintf(c->out, "note: %zu tensors ref.* are not shown (--show-ref)\n", v->ref_count);
    return CLI_GOOD;
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static json_t *integers(int rank, const int64_t *numbers, bool *good) {
    cli_builder list = {json_array(), true};
    for (int i = 0; i < rank; i++)
        cli_append(&list, json_integer(numbers[i]));
    *good &= list.good;
    return list.value;
}

static json_t *json_row(const gka_verdict_row *row, bool emulated, bool *good) {
    const gka_comparison *const k = &row->comparison;
    cli_builder o = {json_object(), true};
    cli_put(&o, "name", cli_json_text(row->tensor->name));
    cli_put(&o, "shape", integers(row->tensor->rank, row->tensor->shape, &o.good));
    cli_put(&o, "dtype", json_string(gka_dtype_name(row->tensor->dtype)));
    cli_put(&o, "rel_err", cli_json_real(k->rel_err));
    cli_put(&o, "absolute", json_boolean(k->absolute));
    cli_put(&o, "stated", isnan(row->stated) ? json_null() : json_real(row->stated));
    cli_put(&o, "max_row_err", cli_json_real(k->max_row_err));
    cli_put(&o, "at", integers(k->at_rank, k->at, &o.good));
    cli_put(&o, "max_ulp", cli_json_count(k->max_ulp));
    cli_put(&o, "nonfinite", json_integer(k->nan_out + k->inf_out));
    cli_put(&o, "nan", json_integer(k->nan_out));
    cli_put(&o, "inf", json_integer(k->inf_out));
    cli_put(&o, "exact_nan", json_integer(k->nan_ref));
    cli_put(&o, "exact_inf", json_integer(k->inf_ref));
    cli_put(&o, "equal", json_integer(k->equal));
    cli_put(&o, "count", json_integer(k->count));
    cli_put(&o, "bits_equal", json_boolean(k->bits_equal));
    cli_put(&o, "ok", k->ok == GKA_MEASURED ? json_null() : json_boolean(k->ok == GKA_PASS));
    if (emulated) {
        cli_put(&o, "emulated_bits_equal", cli_json_real(share_equal(row)));
        cli_put(&o, "emulated_max_ulp", cli_json_count(row->emulated.max_ulp));
        cli_put(&o, "predicted_err", cli_json_real(row->predicted));
    }
    *good &= o.good;
    return o.value;
}

static json_t *json_parameters(const gka_problem *p, bool *good) {
    cli_builder o = {json_object(), true};
    cli_put(&o, "ridge_ratio", cli_json_real(p->ridge_ratio));
    cli_put(&o, "num_iter", json_integer(p->num_iter));
    cli_put(&o, "chunk_size", json_integer(p->chunk_size));
    cli_put(&o, "scale", cli_json_real(p->scale));
    const struct {
        const char *name;
        int64_t value;
    } extents[] = {{"B", p->B}, {"T", p->T}, {"H", p->H}, {"G", p->G},
                   {"D", p->D}, {"V", p->V}, {"N", p->N}};
    for (size_t i = 0; i < sizeof extents / sizeof *extents; i++)
        cli_put(&o, extents[i].name, json_integer(extents[i].value));
    *good &= o.good;
    return o.value;
}

static void say_json(void *context, const char *line) {
    cli_append(context, cli_json_text(line));
}

static void add_json(request *r, const char *path, const char *inputs, const gka_verification *v) {
    cli_builder o = {json_object(), r->good}, tensors = {json_array(), true},
                said = {json_array(), true};
    for (size_t i = 0; i < v->row_count; i++)
        cli_append(&tensors, json_row(&v->rows[i], r->emulate != NULL, &o.good));
    tell(v, r, say_json, &said);
    cli_put(&o, "file", cli_json_text(path));
    if (inputs != NULL)
        cli_put(&o, "inputs", cli_json_text(inputs));
    cli_put(&o, "oracle", json_string(oracle_name(r)));
    cli_put(&o, "parameters", json_parameters(&v->problem, &o.good));
    cli_put(&o, "tensors", tensors.value);
    cli_put(&o, "notes", said.value);
    r->good = o.good && tensors.good && said.good;
    r->good &= json_array_append_new(r->list, o.value) == 0;
}

/* ---- one file ------------------------------------------------------------------------------ */

static void look_at_verdicts(request *r, const gka_verification *v) {
    for (size_t i = 0; i < v->row_count; i++) {
        r->failed |= v->rows[i].comparison.ok == GKA_FAIL;
        for (size_t t = 0; t < r->tolerance_texts.count; t++)
            r->used[t] |= strcmp(r->tolerances[t].name, v->rows[i].tensor->name) == 0;
    }
}

static gka_status verify(request *r, const gka_file *file, const gka_file *inputs,
                         gka_verification *v, gka_error *error) {
    cli_progress progress;
    const gka_verify_options options = {
        .oracle = r->oracle,
        .precision = r->exact.precision,
        .show_ref = r->show_ref,
        .inputs = inputs,
        .tolerances = r->tolerances,
        .tolerance_count = r->tolerance_texts.count,
        .emulate = r->emulate != NULL ? &r->kernel : NULL,
        .progress = cli_progress_start(&progress, r->c, gka_file_path(file))};
    const gka_status status = gka_verify(file, &options, v, error);
    cli_progress_end(&progress);
    return status;
}

static bool has_output(const gka_file *file) {
    bool some = gka_file_is_served(file);
    for (const char *const *name = gka_verify_names; *name != NULL; name++)
        some = some || gka_file_find(file, *name) != NULL;
    return some;
}

/* The configuration that gives the file's bits, into r->kernel; what is found, as a line. */
static gka_status find_configuration(request *r, const gka_file *file, const gka_file *inputs,
                                     gka_error *error) {
    gka_problem problem = {0};
    gka_configuration found;
    gka_profile *const profile = &r->kernel.profile;
    gka_status status;
    r->kernel.serving = gka_file_is_served(file);
    if (r->kernel.serving) {
        status = gka_configuration_find_served(file, inputs, profile, &found, error);
    } else {
        status = gka_problem_from_file(inputs ? inputs : file, &problem, NULL, error);
        if (status == GKA_OK)
            status = gka_configuration_find(file, &problem, profile, &found, error);
        gka_problem_free(&problem);
    }
    char names[160] = "";
    if (profile->fp16)
        snprintf(names, sizeof names, " inputs=fp16");
    for (int i = 0; i < GKA_LAUNCHES; i++)
        if (profile->num_warps[i] != 0)
            snprintf(names + strlen(names), sizeof names - strlen(names), " %s.num_warps=%d",
                     gka_launch_name((gka_launch)i), profile->num_warps[i]);
    if (status == GKA_OK && found.different == 0)
        snprintf(
            r->found, sizeof r->found,
            "configuration:%s; every element; %d runs for %.3g choices known, the rest of them "
            "indistinguishable%s",
            names, found.tried, found.known,
            found.alike + found.alike_gates > 0 ? ", and so are some of those run" : "");
    else if (status == GKA_OK)
        snprintf(r->found, sizeof r->found,
                 "configuration: none of %.3g known; the closest is%s: %lld elements differ, the "
                 "first is %s[%lld]",
                 found.known, names, (long long)found.different, found.name, (long long)found.at);
    return status;
}

static int judge_open(request *r, const gka_file *file, const gka_file *inputs) {
    cli *const c = r->c;
    if (inputs == NULL && gka_file_find(file, "q") == NULL && has_output(file))
        return cli_fail(c,
                        "%s: tensor 'q' is missing; --inputs=FILE takes inputs from elsewhere, "
                        "--against=GOLDEN judges by a golden",
                        gka_file_path(file));
    gka_verification v;
    gka_error error = {0};
    r->oracle = r->exact.oracle;
    if (r->automatic) {
        const int code = cli_outcome(c, find_configuration(r, file, inputs, &error), &error);
        if (code != CLI_GOOD)
            return code;
    }
    gka_status status = verify(r, file, inputs, &v, &error);
    if (status == GKA_NO_CERTIFICATE && r->chosen == NULL) {
        gka_verification_free(&v);
        r->oracle = GKA_ORACLE_FP64;
        status = verify(r, file, inputs, &v, &error);
    }
    int code = cli_outcome(c, status, &error);
    if (code == CLI_GOOD) {
        look_at_verdicts(r, &v);
        if (!cli_json_takes_stdout(&r->json))
            code = print_table(c, gka_file_path(file), r, &v);
        if (r->automatic && !cli_json_takes_stdout(&r->json))
            fprintf(c->out, "note: %s\n", r->found);
        if (r->json.path != NULL)
            add_json(r, gka_file_path(file), inputs == NULL ? NULL : gka_file_path(inputs), &v);
    }
    gka_verification_free(&v);
    return code;
}

/* --inputs=DIRECTORY stands for the file of the same name there. Kept by the call; NULL: no memory.
 */
static const char *inputs_path(const request *r, const char *path) {
    if (!cli_is_folder(r->inputs))
        return r->inputs;
    const char *const slash = strrchr(path, '/');
    const char *const name = slash == NULL ? path : slash + 1;
    const size_t room = strlen(r->inputs) + strlen(name) + 2;
    char *const there = cli_keep(r->c, gka_alloc(room, 1));
    if (there != NULL)
        (void)snprintf(there, room, "%s/%s", r->inputs, name);
    return there;
}

static int open_inputs(request *r, const char *path, gka_file **inputs) {
    *inputs = NULL;
    if (r->inputs == NULL)
        return CLI_GOOD;
    const char *const there = inputs_path(r, path);
    return there == NULL ? cli_out_of_memory(r->c) : cli_open(r->c, there, inputs);
}

static int judge_file(request *r, const char *path) {
    gka_file *file, *inputs;
    int code = cli_open(r->c, path, &file);
    if (code != CLI_GOOD)
        return code;
    code = open_inputs(r, path, &inputs);
    if (code == CLI_GOOD) {
        code = judge_open(r, file, inputs);
        gka_file_close(inputs);
    }
    gka_file_close(file);
    return code;
}

/* ---- all of them --------------------------------------------------------------------------- */

static const char *path_of(void *context, int64_t i, int k) {
    const request *const r = context;
    const char *const path = r->c->operands[i];
    return k == 0 ? path : k == 1 && r->inputs != NULL ? inputs_path(r, path) : NULL;
}

static int judge_unit(cli *c, void *context, int64_t i) {
    request *const r = context;
    if (i > 0 && !cli_json_takes_stdout(&r->json))
        fputc('\n', c->out);
    return judge_file(r, c->operands[i]);
}

/* What judge_file prints and leaves in r. */
static int make_unit(cli *c, void *context, int64_t i, json_t **record) {
    request *const r = context, whole = *r;
    const size_t tolerances = r->tolerance_texts.count;
    char *text = NULL;
    size_t size = 0;
    FILE *const out = c->out, *const stream = open_memstream(&text, &size);
    if (stream == NULL)
        return cli_out_of_memory(c);
    c->out = stream;
    r->list = r->json.path == NULL ? NULL : json_array();
    r->failed = false;
    memset(r->used, 0, tolerances * sizeof *r->used);
    int code = judge_file(r, c->operands[i]);
    c->out = out;
    cli_builder o = {json_object(), r->good}, used = {json_array(), true};
    for (size_t t = 0; t < tolerances; t++)
        cli_append(&used, json_boolean(r->used[t]));
    if (fclose(stream) != 0 && code == CLI_GOOD)
        code = cli_out_of_memory(c);
    if (code == CLI_GOOD)
        cli_put(&o, "printed", cli_json_text(text));
    cli_put(&o, "failed", json_boolean(r->failed));
    cli_put(&o, "used", used.value);
    cli_put(&o, "report", r->list == NULL ? json_null() : json_incref(json_array_get(r->list, 0)));
    json_decref(r->list);
    free(text);
    r->list = whole.list;
    r->failed = whole.failed;
    *record = o.value;
    return code != CLI_GOOD ? code : o.good && used.good ? CLI_GOOD : cli_out_of_memory(c);
}

static int use_unit(cli *c, void *context, int64_t i, json_t *record) {
    request *const r = context;
    const char *printed;
    int failed;
    json_t *used, *report;
    if (json_unpack_ex(record, NULL, JSON_STRICT, "{s:s,s:b,s:o,s:o}", "printed", &printed,
                       "failed", &failed, "used", &used, "report", &report) != 0 ||
        !json_is_array(used) || json_array_size(used) != r->tolerance_texts.count ||
        (r->list != NULL && !json_is_object(report)))
        return CLI_UNUSABLE;
    for (size_t t = 0; t < r->tolerance_texts.count; t++)
        if (!json_is_boolean(json_array_get(used, t)))
            return CLI_UNUSABLE;
    if (i > 0 && !cli_json_takes_stdout(&r->json))
        fputc('\n', c->out);
    fputs(printed, c->out);
    r->failed |= failed != 0;
    for (size_t t = 0; t < r->tolerance_texts.count; t++)
        r->used[t] |= json_is_true(json_array_get(used, t));
    if (r->list != NULL)
        r->good &= json_array_append(r->list, report) == 0;
    return CLI_GOOD;
}

static int judge_files(request *r) {
    cli *const c = r->c;
    cli_units units = {.folder = r->units,
                       .count = c->operand_count,
                       .path = path_of,
                       .alone = judge_unit,
                       .make = make_unit,
                       .use = use_unit,
                       .context = r};
    int code = cli_units_run(c, &units);
    r->silent = units.silent;
    if (r->silent)
        return code;
    for (size_t t = 0; t < r->tolerance_texts.count && code == CLI_GOOD; t++)
        if (!r->used[t])
            code = cli_fail(c, "--tolerance %s: no file holds a tensor of that name%s",
                            r->tolerances[t].name,
                            strncmp(r->tolerances[t].name, "ref.", 4) == 0 && !r->show_ref
                                ? " that is shown; --show-ref was expected"
                                : "");
    return code;
}

static int write_json(request *r) {
    json_t *const root = r->c->operand_count == 1 ? json_array_get(r->list, 0) : r->list;
    return cli_json_close(r->c, &r->json, json_incref(root), r->good);
}

static int parse_kernel(request *r, int form, const cli_texts *settings) {
    if (r->emulate == NULL && (cli_given(r->c, "form") || cli_given(r->c, "unchecked")))
        return cli_fail(r->c, "--%s: --emulate=NAME was expected with it",
                        cli_given(r->c, "form") ? "form" : "unchecked");
    if (r->emulate == NULL)
        return settings->count > 0 ? cli_fail(r->c, "--set: --emulate=NAME was expected with it")
                                   : CLI_GOOD;
    r->automatic = strcmp(r->emulate, "h100/auto") == 0;
    const int code =
        cli_kernel(r->c, r->automatic ? "h100" : r->emulate, form, settings, &r->kernel);
    return code == CLI_GOOD ? cli_kernels_checked(r->c, &r->kernel, 1) : code;
}

static int judge(request *r, const char *json) {
    int code = parse_tolerances(r);
    if (code == CLI_GOOD)
        code = cli_json_open(r->c, json, &r->json);
    if (code == CLI_GOOD)
        code = judge_files(r);
    if (code == CLI_GOOD && json != NULL && !r->silent)
        code = write_json(r);
    cli_json_abandon(&r->json);
    return code;
}

/* --against=GOLDEN: an option that the golden answers is refused. */
static int judge_against(const request *r, cli_against *against, cli_problem *p, const char *json) {
    static const char *const answered[] = {"oracle",    "inputs",   "tolerance", "show-ref",
                                           "emulate",   "units",    "form",      "set",
                                           "unchecked", "per-head", "csv",       NULL};
    const int code = cli_refuse(r->c, "with --against", answered);
    against->layout = p->layout > 0 ? p->layout : 0;
    p->layout = -1;
    if (code == CLI_GOOD && cli_problem_given(p))
        return cli_fail(r->c, "--against: the golden has a problem, so its options but --layout "
                              "have no meaning");
    return code == CLI_GOOD ? cli_verify_against(r->c, against, json) : code;
}

/* Whether kernels are asked what they would lose, instead of a file's outputs being judged: by an
 * option that means nothing else, or because the first FILE has no outputs. */
static int is_prediction(const request *r, const cli_problem *p, bool by_head, bool *asked) {
    cli *const c = r->c;
    const bool given = by_head || cli_problem_given(p) || c->operand_count == 0;
    *asked = false;
    if (r->emulate == NULL)
        return !given ? CLI_GOOD
               : c->operand_count == 0
                   ? cli_fail(c, "FILE..., or --emulate=K and a problem, was expected")
                   : cli_fail(c, "--per-head, --csv and the options of a problem: --emulate=K was "
                                 "expected with them");
    *asked = given || strchr(r->emulate, ',') != NULL;
    if (!*asked && r->inputs == NULL) {
        gka_file *file = NULL;
        if (strchr(c->operands[0], ':') != NULL && access(c->operands[0], F_OK) != 0) {
            *asked = true;
        } else {
            const int code = cli_open(c, c->operands[0], &file);
            if (code != CLI_GOOD)
                return code;
            *asked = !has_output(file);
            gka_file_close(file);
        }
    }
    if (*asked && (r->inputs != NULL || r->tolerance_texts.count > 0 || r->show_ref))
        return cli_fail(c, "--%s: outputs to judge were expected with it",
                        r->inputs != NULL ? "inputs"
                        : r->show_ref     ? "show-ref"
                                          : "tolerance");
    return CLI_GOOD;
}

int cli_verify(cli *c) {
    request r = {.c = c, .exact = {.oracle = GKA_ORACLE_CERTIFIED}, .good = true};
    const char *json = NULL;
    int form = -1;
    cli_texts settings = {0};
    static const cli_help help = {.operands = "[FILE...]", .notes = notes, .least = 0, .most = -1};
    cli_against against = {0};
    bool per_head = false, asked = false;
    const char *csv = NULL;
    cli_problem p;
    cli_problem_start(&p);
    const cli_option golden[] = {
        {"against", 0, CLI_IN, &against.golden, .value = "GOLDEN",
         .help = "judge by this file's references and tolerances, made by gka golden; or a suite's "
                 "folder"},
        CLI_AGAINST_OPTIONS(against),
        {.kind = CLI_END}};
    const cli_option options[] = {
        {"oracle", 0, CLI_TEXT, &r.chosen, .value = "KERNEL",
         .help = "who computes the exact value: certified (default), fp64, mpfr or mpfr/BITS"},
        {"inputs", 0, CLI_IN, &r.inputs, .value = "FILE",
         .help = "take inputs and parameters from this file, or from the one of the same name in "
                 "this directory"},
        {"json", 0, CLI_OUT, &json, .value = "OUT", .help = "write the figures as JSON"},
        {"tolerance", 0, CLI_TEXTS, &r.tolerance_texts, .value = "NAME=VALUE",
         .help = "require rel_err <= VALUE of the tensor NAME; may be repeated"},
        {"emulate", 0, CLI_TEXT, &r.emulate, .value = "K[,K2..]",
         .help = "emulate kernels too: h100, h100/two-term, a100, h100/fp8, cuda, tokens/fp32, ... "
                 "(gka/kernel.h); without outputs in FILE: what they would lose"},
        CLI_UNCHECKED,
        CLI_UNITS(r.units),
        {"per-head", 0, CLI_FLAG, &per_head, .help = "with --emulate: a row for each head"},
        {"csv", 0, CLI_OUT, &csv, .value = "OUT", .help = "with --emulate: the heads' rows as CSV"},
        {"form", 0, CLI_CHOICE, &form, .value = "FORM", .choices = CLI_FORMS,
         .help = "form of the iteration that is emulated: three-term, two-term, cg, "
                 "cg-consistent"},
        {"set", 0, CLI_TEXTS, &settings, .value = "SETTING",
         .help = "switch one rounding of the emulation, or repair it (below); may be repeated"},
        {"show-ref", 0, CLI_FLAG, &r.show_ref, .help = "judge the file's own ref.* tensors too"},
        {.kind = CLI_GROUP, .group = golden, .help = "By a golden:"},
        {.kind = CLI_GROUP, .group = p.options, .help = "Problem, with --emulate:"},
        {.kind = CLI_END}};
    int code;
    if (!cli_parse(c, &help, options, &code))
        return code;
    if (against.golden != NULL)
        return judge_against(&r, &against, &p, json);
    static const char *const by_golden[] = {"junit",      "map",     "reference", "given",
                                            "given-from", "require", "gradients", NULL};
    if ((code = cli_refuse(c, "without --against=GOLDEN", by_golden)) != CLI_GOOD)
        return code;
    if (r.chosen != NULL && (code = cli_oracle(c, r.chosen, &r.exact)) != CLI_GOOD)
        return code;
    const cli_predicting predicting = {.emulate = r.emulate,
                                       .csv = csv,
                                       .json = json,
                                       .form = form,
                                       .settings = &settings,
                                       .oracle =
                                           r.chosen == NULL ? GKA_ORACLE_FP64 : r.exact.oracle,
                                       .precision = r.exact.precision,
                                       .per_head = per_head,
                                       .units = r.units};
    code = is_prediction(&r, &p, per_head || csv != NULL, &asked);
    if (code != CLI_GOOD || asked)
        return code != CLI_GOOD ? code : cli_predict(c, &p, &predicting);
    if (json != NULL)
        r.list = json_array();
    code = parse_kernel(&r, form, &settings);
    if (code == CLI_GOOD)
        code = judge(&r, json);
    json_decref(r.list);
    gka_free(r.tolerances);
    gka_free(r.used);
    return code != CLI_GOOD ? code : r.failed ? CLI_FAILS : CLI_GOOD;
}
