/* spectrum.c - gka spectrum: whether the eigenvalues lie where the solver believes them. */
#include "cli/json.h"
#include "gka/chunk.h"

#include <math.h>

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
    "JSON: {file, remedies: [{remedy, outside, worst_e, factor, f_error}], lambda_max, fro,\n"
    "fro_released} with one number per token and head in the last three.\n";

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
        const double e = lambda[i] / f[i] - 1;
        tokens++;
        /* a Rayleigh quotient of a rank-one H_t equals f up to rounding: not outside */
        outside += e > margin + 1e-12;
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

static int write_json(cli *c, cli_json *json, const char *path, int64_t count,
                      const remedy *remedies, int remedy_count, double *const arrays[3]) {
    static const char *const names[] = {"lambda_max", "fro", "fro_released"};
    bool good = true;
    json_t *const root = json_object(), *const list = json_array();
    good &= json_object_set_new(root, "file", cli_json_text(path)) == 0;
    for (int i = 0; i < remedy_count; i++) {
        const remedy *const r = &remedies[i];
        json_t *const row = json_object();
        good &= json_object_set_new(row, "remedy", cli_json_text(r->name)) == 0;
        good &= json_object_set_new(row, "outside", cli_json_real(r->outside)) == 0;
        good &= json_object_set_new(row, "worst_e", cli_json_real(r->worst_e)) == 0;
        good &= json_object_set_new(row, "factor", cli_json_real(r->factor)) == 0;
        good &= json_object_set_new(row, "f_error", cli_json_real(r->f_error)) == 0;
        good &= json_array_append_new(list, row) == 0;
    }
    good &= json_object_set_new(root, "remedies", list) == 0;
    for (int i = 0; i < 3; i++)
        good &= json_object_set_new(root, names[i], numbers(count, arrays[i], &good)) == 0;
    return cli_json_close(c, json, root, good);
}

static int spectrum(cli *c, const gka_problem *p, const char *path, cli_json *json) {
    gka_error error = {0};
    gka_profile profile, fp32_norm;
    const int64_t count = p->B * p->T * p->H;
    double *lambda = gka_alloc((size_t)count, sizeof *lambda),
           *exact = gka_alloc((size_t)count, sizeof *exact),
           *released = gka_alloc((size_t)count, sizeof *released),
           *reduced = gka_alloc((size_t)count, sizeof *reduced);
    int code = CLI_GOOD;
    if (!lambda || !exact || !released || !reduced) {
        code = cli_out_of_memory(c);
        goto done;
    }
    gka_status status = gka_profile_find("h100", &profile, &error);
    fp32_norm = profile;
    if (status == GKA_OK)
        status = gka_profile_set(&fp32_norm, "norm_reduce=exact", &error);
    gka_outputs out = {.fro = released}, out32 = {.fro = reduced};
    if (status == GKA_OK)
        status = gka_chunk_forward(p, &profile, &out, NULL, NULL, &error);
    if (status == GKA_OK)
        status = gka_chunk_forward(p, &fp32_norm, &out32, NULL, NULL, &error);
    if (status == GKA_OK)
        status = gka_chunk_spectrum(p, lambda, exact, &error);
    if (status != GKA_OK) {
        code = cli_report(c, &error);
        goto done;
    }
    const remedy remedies[] = {
        judge(p, "as released", 0, lambda, exact, released),
        judge(p, "fp32 reduction of the norm", 0, lambda, exact, reduced),
        judge(p, "upper end raised by 2^-6 f", 0x1p-6, lambda, exact, released),
        judge(p, "exact f", 0, lambda, exact, exact),
    };
    const int remedy_count = sizeof remedies / sizeof *remedies;
    if (!cli_json_takes_stdout(json)) {
        static const char *const headings[] = {"<f", "outside", "worst e", "factor", "f error"};
        cli_table table;
        cli_table_start(&table, headings, 5);
        for (int i = 0; i < remedy_count; i++) {
            cli_cell(&table, "%s", remedies[i].name);
            cli_cell(&table, "%.1f %%", 100 * remedies[i].outside);
            cli_cell_real(&table, remedies[i].worst_e);
            cli_cell_real(&table, remedies[i].factor);
            cli_cell_real(&table, remedies[i].f_error);
        }
        fprintf(c->out, "%s: a = %.10g, r = %d, %lld tokens\n\n", path, p->ridge_ratio, p->num_iter,
                (long long)count);
        if (cli_table_print(&table, c->out) != GKA_OK) {
            code = cli_out_of_memory(c);
            goto done;
        }
    }
    if (json->path)
        code = write_json(c, json, path, count, remedies, remedy_count,
                          (double *const[]){lambda, exact, released});
done:
    gka_free(lambda);
    gka_free(exact);
    gka_free(released);
    gka_free(reduced);
    return code;
}

int cli_spectrum(cli *c) {
    static const cli_help help = {.operands = "FILE", .notes = notes, .least = 1, .most = 1};
    const char *path = NULL;
    int code;
    const cli_option options[] = {{.name = "json",
                                   .kind = CLI_TEXT,
                                   .target = &path,
                                   .value = "OUT",
                                   .help = "the figures as JSON; - is standard output"},
                                  {.kind = CLI_END}};
    if (!cli_parse(c, &help, options, &code))
        return code;
    gka_file *file = NULL;
    gka_problem problem = {0};
    gka_error error = {0};
    cli_json json = {0};
    code = cli_json_open(c, path, &json);
    if (code == CLI_GOOD)
        code = cli_open(c, c->operands[0], &file);
    if (code == CLI_GOOD)
        code = cli_outcome(c, gka_problem_from_file(file, &problem, NULL, &error), &error);
    if (code == CLI_GOOD) {
        code = spectrum(c, &problem, c->operands[0], &json);
        gka_problem_free(&problem);
    }
    cli_json_abandon(&json);
    if (file)
        gka_file_close(file);
    return code;
}
