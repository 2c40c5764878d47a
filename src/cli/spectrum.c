/* spectrum.c - gka spectrum: whether the eigenvalues lie where the solver believes them. */
#include "cli/heads.h"
#include "gka/chunk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char notes[] =
    "The Chebyshev iteration assumes that the eigenvalues of H_t + lambda_t I lie in\n"
    "[lambda_t, lambda_t + f_t], lambda_t = a f_t. That holds for the exact f_t = ||H_t||_F; the\n"
    "released f_t is too low where the bf16 sum of ||H_0||_F^2 is. For the largest eigenvalue\n"
    "(1 + e) f_t of H_t the residual along its eigenvector changes in r steps by\n"
    "T_{r+1}(1 + 2 e)/T_{r+1}(1 + 2 a): above 1 it grows instead of decaying.\n"
    "\n"
    "  outside   tokens with e > 0, as a share of all that have a key\n"
    "  worst e   the largest e\n"
    "  factor    the largest of the factors above\n"
    "  f error   ||f - exact||/||exact||\n"
    "\n"
    "Then, along t (after t tokens, the median over all heads), and with --per-head for each head\n"
    "after all of its tokens:\n"
    "\n"
    "  kappa     condition number of H_t + lambda_t I\n"
    "  share     kappa over its bound (a + 1)/a, which keys of one direction reach\n"
    "  rank      effective rank (tr H_t)^2/f_t^2: 1 for one direction, D for all alike\n"
    "  freedom   degrees of freedom tr H_t (H_t + lambda_t I)^-1: how many of D directions the "
    "ridge\n"
    "            leaves to the regression\n"
    "  smallest  eigenvalue of H_t\n"
    "  mean key  length of the mean of the unit keys: .05 or so for independent ones\n"
    "\n"
    "JSON: {file, remedies: [{remedy, outside, worst_e, factor, f_error}], along: [{t, kappa, "
    "...}],\n"
    "lambda_max, fro, fro_released} with one number per token and head in the last three. Inputs "
    "that\n"
    "no released kernel takes (another type than BF16, sizes that are no multiples of 16) have no\n"
    "remedies and no fro_released. With --per-head: a list of {file, row, head, kappa, ...}.\n";

/* ---- conditioning -------------------------------------------------------------------------- */

enum { FIGURES = 6 };
static const char *const figure_names[FIGURES] = {"kappa",   "share",    "rank",
                                                  "freedom", "smallest", "mean key"};

static void figures_of(const gka_conditioning *c, double values[FIGURES]) {
    const double figures[FIGURES] = {c->kappa, c->share, c->rank, c->freedom, c->smallest, c->mean};
    memcpy(values, figures, sizeof figures);
}

enum { PLACES = 40 };

/* t = 1, 2, 4, ..., and the longest sequence; returns how many. */
static int places(const gka_problem *p, int64_t tokens[PLACES]) {
    int64_t longest = 0;
    int count = 0;
    for (int64_t n = 0; n < p->N; n++) {
        const gka_span span = gka_problem_span(p, n);
        longest = span.end - span.begin > longest ? span.end - span.begin : longest;
    }
    for (int64_t t = 1; t < longest; t *= 2)
        tokens[count++] = t;
    if (longest > 0)
        tokens[count++] = longest;
    return count;
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The median of figure i at place j over the heads that have it; NaN: none has. */
static double median(const gka_conditioning *all, int64_t heads, int count, int j, int i,
                     double *column) {
    size_t n = 0;
    for (int64_t h = 0; h < heads; h++) {
        double values[FIGURES];
        figures_of(&all[h * count + j], values);
        if (!isnan(values[i]))
            column[n++] = values[i];
    }
    qsort(column, n, sizeof *column, compare);
    return n == 0 ? NAN : n % 2 == 1 ? column[n / 2] : (column[n / 2 - 1] + column[n / 2]) / 2;
}

typedef struct along {
    int count;
    int64_t tokens[PLACES];
    double figures[PLACES][FIGURES];
} along;

static int look_along(cli *c, const gka_problem *p, along *a) {
    gka_error error = {0};
    a->count = places(p, a->tokens);
    const int64_t heads = p->N * p->H;
    gka_conditioning *const all = gka_alloc((size_t)(heads * a->count), sizeof *all);
    double *const column = gka_alloc((size_t)heads, sizeof *column);
    int code = all == NULL || column == NULL ? cli_out_of_memory(c) : CLI_GOOD;
    if (code == CLI_GOOD && a->count > 0)
        code = cli_outcome(c, gka_chunk_conditioning(p, a->count, a->tokens, all, &error), &error);
    for (int j = 0; j < a->count && code == CLI_GOOD; j++)
        for (int i = 0; i < FIGURES; i++)
            a->figures[j][i] = median(all, heads, a->count, j, i, column);
    gka_free(column);
    gka_free(all);
    return code;
}

static gka_status print_along(cli *c, const along *a) {
    static const char *const headings[] = {"t",       "kappa",    "share",   "rank",
                                           "freedom", "smallest", "mean key"};
    cli_table table;
    cli_table_start(&table, headings, 1 + FIGURES);
    for (int j = 0; j < a->count; j++) {
        cli_cell(&table, "%lld", (long long)a->tokens[j]);
        for (int i = 0; i < FIGURES; i++)
            cli_cell_real_or_dash(&table, a->figures[j][i]);
    }
    return cli_table_print(&table, c->out);
}

static json_t *json_along(const along *a, bool *good) {
    cli_builder list = {json_array(), *good};
    for (int j = 0; j < a->count; j++) {
        cli_builder o = {json_object(), true};
        cli_put(&o, "t", json_integer(a->tokens[j]));
        for (int i = 0; i < FIGURES; i++)
            cli_put(&o, figure_names[i], cli_json_real_or_null(a->figures[j][i]));
        list.good = list.good && o.good;
        cli_append(&list, o.value);
    }
    *good = list.good;
    return list.value;
}

/* A row for each head of one problem. */
static int add_heads(cli *c, cli_problem *problem, void *context) {
    cli_heads *const heads = context;
    const gka_problem *const p = &problem->problem;
    gka_error error = {0};
    const int64_t count = p->N * p->H;
    double *const values = gka_alloc((size_t)count * FIGURES, sizeof *values);
    int code = values == NULL ? cli_out_of_memory(c) : CLI_GOOD;
    for (int64_t n = 0; n < p->N && code == CLI_GOOD; n++)
        for (int64_t h = 0; h < p->H && code == CLI_GOOD; h++) {
            const gka_problem head = gka_problem_head(p, n, h);
            gka_conditioning one;
            code = cli_outcome(c, gka_chunk_conditioning(&head, 1, &head.T, &one, &error), &error);
            figures_of(&one, values + (n * p->H + h) * FIGURES);
        }
    char text[128];
    (void)snprintf(text, sizeof text, "T %lld, D %lld, a = %.10g; after the last token",
                   (long long)p->T, (long long)p->D, p->ridge_ratio);
    if (code == CLI_GOOD)
        code = cli_heads_add(heads, problem->label, text, p->N, p->H, values, NULL);
    gka_free(values);
    return code;
}

/* ---- remedies ------------------------------------------------------------------------------ */

typedef struct remedy {
    const char *name;
    double outside, worst_e, factor, f_error;
} remedy;

/* e and factor of all tokens under f, the interval's upper end raised by margin f. */
static remedy judge(const gka_problem *p, const char *name, double margin, const double *lambda,
                    const double *exact, const double *f) {
    remedy r = {name, 0, -INFINITY, 0, 0};
    const int64_t count = p->B * p->T * p->H;
    int64_t outside = 0, tokens = 0;
    double error = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        error += (f[i] - exact[i]) * (f[i] - exact[i]);
        norm += exact[i] * exact[i];
        if (!(exact[i] > 0))
            continue;
        /* The largest eigenvalue of a rank-one H_t is f up to rounding: no difference. */
        const double beyond = lambda[i] / f[i] - 1, e = fabs(beyond) <= 1e-12 ? 0 : beyond;
        tokens++;
        outside += e > margin;
        r.worst_e = fmax(r.worst_e, e);
        r.factor =
            fmax(r.factor, gka_chunk_residual_factor(e, p->ridge_ratio, margin, p->num_iter));
    }
    r.outside = tokens > 0 ? (double)outside / (double)tokens : 0;
    r.f_error = norm > 0 ? sqrt(error / norm) : 0;
    return r;
}

static json_t *numbers(int64_t count, const double *values, bool *good) {
    json_t *const list = json_array();
    for (int64_t i = 0; i < count; i++)
        *good &= json_array_append_new(list, cli_json_real(values[i])) == 0;
    return list;
}

/* The arrays of one problem, [B,T,H]; released and reduced: f of the h100, as it is and with its
 * norm summed in binary32. `emulated`: they are there. */
typedef struct spectra {
    double *lambda, *exact, *released, *reduced;
    bool emulated;
} spectra;

static json_t *json_remedies(const remedy *remedies, int count, bool *good) {
    cli_builder list = {json_array(), *good};
    for (int i = 0; i < count; i++) {
        cli_builder o = {json_object(), true};
        cli_put(&o, "remedy", cli_json_text(remedies[i].name));
        cli_put(&o, "outside", cli_json_real(remedies[i].outside));
        cli_put(&o, "worst_e", cli_json_real(remedies[i].worst_e));
        cli_put(&o, "factor", cli_json_real(remedies[i].factor));
        cli_put(&o, "f_error", cli_json_real(remedies[i].f_error));
        list.good = list.good && o.good;
        cli_append(&list, o.value);
    }
    *good = list.good;
    return list.value;
}

enum { REMEDIES = 4 };

static int write_json(cli *c, cli_json *json, const char *path, int64_t count,
                      const remedy *remedies, const spectra *s, const along *a) {
    cli_builder o = {json_object(), true};
    cli_put(&o, "file", cli_json_text(path));
    if (s->emulated)
        cli_put(&o, "remedies", json_remedies(remedies, REMEDIES, &o.good));
    cli_put(&o, "along", json_along(a, &o.good));
    cli_put(&o, "lambda_max", numbers(count, s->lambda, &o.good));
    cli_put(&o, "fro", numbers(count, s->exact, &o.good));
    if (s->emulated)
        cli_put(&o, "fro_released", numbers(count, s->released, &o.good));
    return cli_json_close(c, json, o.value, o.good);
}

static gka_status compute(const gka_problem *p, spectra *s, gka_error *error) {
    gka_profile profile, fp32_norm;
    gka_status status = gka_profile_find("h100", &profile, error);
    fp32_norm = profile;
    if (status == GKA_OK)
        status = gka_profile_set(&fp32_norm, "norm_reduce=exact", error);
    s->emulated = status == GKA_OK && gka_chunk_check(p, &profile, NULL) == GKA_OK;
    gka_outputs out = {.fro = s->released}, out32 = {.fro = s->reduced};
    if (status == GKA_OK && s->emulated)
        status = gka_chunk_forward(p, &profile, &out, NULL, NULL, error);
    if (status == GKA_OK && s->emulated)
        status = gka_chunk_forward(p, &fp32_norm, &out32, NULL, NULL, error);
    return status == GKA_OK ? gka_chunk_spectrum(p, s->lambda, s->exact, error) : status;
}

static gka_status print_remedies(cli *c, const remedy *remedies) {
    static const char *const headings[] = {"<f", "outside", "worst e", "factor", "f error"};
    cli_table table;
    cli_table_start(&table, headings, 5);
    for (int i = 0; i < REMEDIES; i++) {
        cli_cell(&table, "%s", remedies[i].name);
        cli_cell(&table, "%.1f %%", 100 * remedies[i].outside);
        cli_cell_real(&table, remedies[i].worst_e);
        cli_cell_real(&table, remedies[i].factor);
        cli_cell_real(&table, remedies[i].f_error);
    }
    return cli_table_print(&table, c->out);
}

static int report(cli *c, const gka_problem *p, const char *path, cli_json *json,
                  const spectra *s) {
    const remedy remedies[REMEDIES] = {
        judge(p, "as released", 0, s->lambda, s->exact, s->released),
        judge(p, "fp32 reduction of the norm", 0, s->lambda, s->exact, s->reduced),
        judge(p, "upper end raised by 2^-6 f", 0x1p-6, s->lambda, s->exact, s->released),
        judge(p, "exact f", 0, s->lambda, s->exact, s->exact),
    };
    const int64_t count = p->B * p->T * p->H;
    along a;
    int code = look_along(c, p, &a);
    bool good = true;
    if (code == CLI_GOOD && !cli_json_takes_stdout(json)) {
        cli_tell_layout(c, p);
        cli_say(c->out, "%s: a = %.10g, r = %d, %lld tokens\n\n", path, p->ridge_ratio, p->num_iter,
                (long long)count);
        if (s->emulated) {
            good = print_remedies(c, remedies) == GKA_OK;
            fputc('\n', c->out);
        }
        good = good && print_along(c, &a) == GKA_OK;
    }
    if (!good)
        code = cli_out_of_memory(c);
    if (code == CLI_GOOD && json->path != NULL)
        code = write_json(c, json, path, count, remedies, s, &a);
    return code;
}

static int spectrum(cli *c, const gka_problem *p, const char *path, cli_json *json) {
    const size_t count = (size_t)(p->B * p->T * p->H);
    spectra s = {0};
    double **const arrays[] = {&s.lambda, &s.exact, &s.released, &s.reduced};
    bool good = true;
    for (int i = 0; i < 4; i++)
        good = (*arrays[i] = gka_alloc(count, sizeof(double))) != NULL && good;
    gka_error error = {0};
    int code = good ? cli_outcome(c, compute(p, &s, &error), &error) : cli_out_of_memory(c);
    if (code == CLI_GOOD)
        code = report(c, p, path, json, &s);
    for (int i = 0; i < 4; i++)
        gka_free(*arrays[i]);
    return code;
}

/* ---- the command --------------------------------------------------------------------------- */

static int by_heads(cli *c, cli_problem *problem, const char *csv, const char *json,
                    bool per_head) {
    cli_heads heads = {.c = c, .figures = FIGURES, .headings = figure_names, .per_head = per_head};
    int code = cli_heads_start(&heads, csv, json);
    if (code == CLI_GOOD)
        code = cli_heads_each(&heads, problem, add_heads, &heads);
    return cli_heads_end(&heads, code);
}

int cli_spectrum(cli *c) {
    static const cli_help help = {
        .operands = "[FILE[:PATTERN]...]", .notes = notes, .least = 0, .most = -1};
    const char *path = NULL, *csv = NULL;
    bool per_head = false;
    int code;
    cli_problem p;
    cli_problem_start(&p);
    const cli_option options[] = {
        {"per-head", 0, CLI_FLAG, &per_head, .help = "a row for each head instead"},
        {"csv", 0, CLI_OUT, &csv, .value = "OUT", .help = "the heads' rows as CSV"},
        {"json", 0, CLI_OUT, &path, .value = "OUT",
         .help = "the figures as JSON; - is standard output"},
        {.kind = CLI_GROUP, .group = p.options, .help = "Problem, without FILE:"},
        {.kind = CLI_END}};
    if (!cli_parse(c, &help, options, &code))
        return code;
    static const char *const unread[] = {"V", "scale", "alpha", "no-alpha", "cotangents", NULL};
    if ((code = cli_refuse(c, "here, where it is not read", unread)) != CLI_GOOD)
        return code;
    if (per_head || csv != NULL || c->operand_count > 1)
        return by_heads(c, &p, csv, path, per_head);
    const char *const file = c->operand_count > 0 ? c->operands[0] : NULL;
    cli_json json = {0};
    code = cli_json_open(c, path, &json);
    if (code == CLI_GOOD)
        code = cli_problem_open(c, &p, file);
    if (code == CLI_GOOD)
        code = spectrum(c, &p.problem, p.label, &json);
    cli_problem_close(&p);
    cli_json_abandon(&json);
    return code;
}
