/* verify.c - every output tensor of a file against the oracle. Only the passes and arrays that the
 * tensors present need are computed. */
#include "judge/values.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is judged ------------------------------------------------------------------------ */

static bool is_input(const char *name) {
    for (const char *const *input = gka_problem_names; *input != NULL; input++)
        if (strcmp(*input, name) == 0)
            return true;
    return false;
}

/* "ref.NAME", NAME an output */
static bool is_ref(const char *name) {
    return strncmp(name, "ref.", 4) == 0 && gka_output_find(name + 4) >= 0;
}

/* ---- one verification ---------------------------------------------------------------------- */

typedef struct job {
    const gka_file *file;
    const gka_verify_options *options;
    gka_verification *v;
    int *outputs;                /* of each row */
    gka_outputs exact, emulated; /* of the file's tensors; as the profile computes them */
    unsigned wanted;
    int done; /* passes */
} job;

/* Some of these outputs. */
static bool wants(const job *j, unsigned outputs) {
    return (j->wanted & outputs) != 0;
}

static void add_row(job *j, const char *prefix, int output) {
    char name[32];
    (void)snprintf(name, sizeof name, "%s%s", prefix, gka_output_table[output].name);
    const gka_tensor *const tensor = gka_file_find(j->file, name);
    if (tensor == NULL)
        return;
    j->outputs[j->v->row_count] = output;
    j->v->rows[j->v->row_count++] =
        (gka_verdict_row){.tensor = tensor, .stated = NAN, .predicted = NAN};
}

/* The file's tensors into rows, in the order of the table; what is no input either into others. */
static gka_status sort_tensors(job *j, gka_error *error) {
    gka_verification *const v = j->v;
    const size_t count = gka_file_count(j->file);
    v->rows = gka_alloc(count, sizeof *v->rows);
    v->others = gka_alloc(count + gka_file_unread_count(j->file), sizeof *v->others);
    j->outputs = gka_alloc(count, sizeof *j->outputs);
    if (v->rows == NULL || v->others == NULL || j->outputs == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory listing its tensors",
                        gka_file_path(j->file));
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        if (!gka_output_table[i].judged)
            continue;
        add_row(j, "", i);
        if (j->options->show_ref)
            add_row(j, "ref.", i);
    }
    for (size_t i = 0; i < count; i++) {
        const gka_tensor *const tensor = gka_file_tensor(j->file, i);
        if (is_ref(tensor->name))
            v->ref_count++;
        else if (gka_judge_find(tensor->name) < 0 && !is_input(tensor->name))
            v->others[v->other_count++] = tensor;
    }
    for (size_t i = 0; i < gka_file_unread_count(j->file); i++) {
        const gka_tensor *const tensor = gka_file_unread(j->file, i);
        if (gka_judge_find(tensor->name) >= 0 ||
            (j->options->inputs == NULL && is_input(tensor->name)))
            return gka_file_readable(j->file, tensor->name, error);
        if (is_ref(tensor->name))
            v->ref_count++;
        else if (!is_input(tensor->name))
            v->others[v->other_count++] = tensor;
    }
    if (v->row_count == 0)
        return gka_fail(error, GKA_BAD_FILE,
                        "%s: nothing to judge; a tensor 'x', 'fro', 'o', 'h_final', 'solve.dq', "
                        "'layer.dq' or another output was expected",
                        gka_file_path(j->file));
    return GKA_OK;
}

/* ---- tensors ------------------------------------------------------------------------------- */

static gka_status check_tensors(const job *j, gka_error *error) {
    for (size_t i = 0; i < j->v->row_count; i++) {
        const gka_tensor *const tensor = j->v->rows[i].tensor;
        const char *const missing = gka_output_lacks(&j->v->problem, j->outputs[i]);
        if (missing != NULL)
            return gka_fail(error, GKA_BAD_FILE,
                            "%s: tensor '%s' cannot be judged: its input '%s' is missing",
                            gka_file_path(j->file), tensor->name, missing);
        const gka_status status =
            gka_judge_check_tensor(&j->v->problem, j->file, tensor, j->outputs[i], false, error);
        if (status != GKA_OK)
            return status;
    }
    return GKA_OK;
}

/* ---- metadata ------------------------------------------------------------------------------ */

/* Where outputs and inputs come from two files, both may state the parameters. */
static gka_status check_parameters(const job *j, gka_error *error) {
    static const char *const names[] = {"ridge_ratio", "num_iter", "chunk_size", "scale"};
    const gka_file *const other = j->options->inputs;
    for (size_t i = 0; other != NULL && i < sizeof names / sizeof *names; i++) {
        const char *const mine = gka_file_metadata(j->file, names[i]), *const theirs =
                                                                           gka_file_metadata(
                                                                               other, names[i]);
        if (mine == NULL || theirs == NULL || strcmp(mine, theirs) == 0)
            continue;
        const double a = gka_parse_real(mine, NULL), b = gka_parse_real(theirs, NULL);
        if (a < b || a > b)
            return gka_fail(error, GKA_BAD_FILE,
                            "%s: metadata '%s' is %.40s; %.40s was expected, as in %s",
                            gka_file_path(j->file), names[i], mine, theirs, gka_file_path(other));
    }
    return GKA_OK;
}

static gka_status bad_statement(const job *j, const char *what, gka_error *error) {
    return gka_fail(error, GKA_BAD_FILE,
                    "%s: metadata 'rel_err_vs_fp64': %.80s; a JSON object {tensor: number} was "
                    "expected",
                    gka_file_path(j->file), what);
}

static json_t *parse(const char *text, json_error_t *why) {
    memset(why, 0, sizeof *why);
    return json_loads(text, JSON_REJECT_DUPLICATES, why);
}

/* Without memory jansson may say nothing, or call it a syntax error; a true one comes twice. */
static gka_status parse_statement(const job *j, const char *text, json_t **root, gka_error *error) {
    json_error_t why, again;
    *root = parse(text, &why);
    if (*root != NULL)
        return GKA_OK;
    json_t *const second = parse(text, &again);
    json_decref(second);
    if (second != NULL || why.text[0] == '\0' || again.text[0] == '\0' ||
        why.position != again.position)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory reading its metadata",
                        gka_file_path(j->file));
    return bad_statement(j, why.text, error);
}

/* rel_err_vs_fp64: a JSON object {tensor: number} as text. */
static gka_status read_statement(job *j, gka_error *error) {
    const char *const text = gka_file_metadata(j->file, "rel_err_vs_fp64");
    if (text == NULL)
        return GKA_OK;
    json_t *stated;
    gka_status status = parse_statement(j, text, &stated, error);
    if (status == GKA_OK && !json_is_object(stated))
        status = bad_statement(j, "not an object", error);
    for (size_t i = 0; status == GKA_OK && i < j->v->row_count; i++) {
        gka_verdict_row *const row = &j->v->rows[i];
        const json_t *const value = json_object_get(stated, row->tensor->name);
        if (json_is_number(value))
            row->stated = json_number_value(value);
        else if (value != NULL && !json_is_null(value))
            status = bad_statement(j, "a value is not a number", error);
    }
    json_decref(stated);
    return status;
}

/* ---- the oracle ---------------------------------------------------------------------------- */

static gka_status allocate(job *j, gka_error *error) {
    for (size_t i = 0; i < j->v->row_count; i++) {
        const int o = j->outputs[i];
        const size_t count = (size_t)gka_tensor_count(j->v->rows[i].tensor);
        if (j->wanted >> o & 1)
            continue;
        j->wanted |= 1u << o;
        j->exact.of[o] = gka_alloc(count, sizeof(double));
        if (j->options->emulate != NULL)
            j->emulated.of[o] = gka_alloc(count, sizeof(double));
        if (j->exact.of[o] == NULL || (j->options->emulate != NULL && j->emulated.of[o] == NULL))
            return gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory computing the exact '%s'",
                            gka_file_path(j->file), gka_output_table[o].name);
    }
    return GKA_OK;
}

/* One pass's progress as a part of all passes'. */
static bool report(void *context, double done, double total) {
    const job *const j = context;
    const int passes = wants(j, gka_forward_outputs()) + wants(j, gka_of_outputs(GKA_OF_X)) +
                       wants(j, gka_of_outputs(GKA_OF_O));
    return gka_progress_report(&j->options->progress, j->done * total + done, passes * total);
}

static gka_status compute_passes(job *j, gka_error *error) {
    gka_verification *const v = j->v;
    const gka_oracle_options options = {.oracle = j->options->oracle,
                                        .precision = j->options->precision,
                                        .progress = {.report = report, .context = j},
                                        .leave_undecided = true}; /* no last bit counts here */
    gka_status status = GKA_OK;
    if (wants(j, gka_forward_outputs())) {
        status = gka_oracle_forward(&v->problem, &options, &j->exact, NULL, &v->forward, error);
        j->done++;
    }
    gka_oracle_report *const reports[] = {&v->solve, &v->layer};
    for (int of = GKA_OF_X; of <= GKA_OF_O && status == GKA_OK; of++)
        if (wants(j, gka_of_outputs((gka_of)of))) {
            status = gka_oracle_gradient(&v->problem, (gka_of)of, &options, &j->exact, NULL,
                                         reports[of], error);
            j->done++;
        }
    return status;
}

/* The oracle knows the place but not the file. */
static gka_status compute(job *j, gka_error *error) {
    gka_error why = {0};
    const gka_status status = compute_passes(j, &why);
    return status == GKA_OK ? GKA_OK
                            : gka_fail(error, status, "%s: %s", gka_file_path(j->file),
                                       why.text[0] != '\0' ? why.text : gka_status_text(status));
}

/* ---- the emulation ------------------------------------------------------------------------- */

/* Nothing but what the one-token kernel leaves. */
static bool is_one_token(const job *j) {
    const gka_outputs *const e = &j->emulated;
    return j->v->problem.T == 1 && j->v->problem.h0.data != NULL &&
           !wants(j, gka_of_outputs(GKA_OF_X) | gka_of_outputs(GKA_OF_O)) && e->o == NULL &&
           e->u_final == NULL && e->h_chunk == NULL;
}

static gka_status emulate(job *j, gka_error *error) {
    if (j->options->emulate == NULL)
        return GKA_OK;
    gka_kernel kernel = *j->options->emulate;
    kernel.decode |= is_one_token(j) &&
                     (kernel.engine == GKA_ENGINE_CHUNKS || kernel.engine == GKA_ENGINE_REPLAY);
    return gka_kernel_run(&kernel, &j->v->problem, NULL, &j->emulated, NULL, NULL, error);
}

/* ---- the verdict --------------------------------------------------------------------------- */

gka_verdict gka_judge_verdict(const gka_verify_options *options, const char *name,
                              const gka_comparison *c) {
    gka_verdict ok = options->tolerance_count > 0 && c->non_finite > 0 ? GKA_FAIL : GKA_MEASURED;
    for (size_t i = 0; i < options->tolerance_count; i++)
        if (strcmp(options->tolerances[i].name, name) == 0)
            ok = c->rel_err <= options->tolerances[i].value ? GKA_PASS : GKA_FAIL;
    return ok;
}

static void compare(job *j) {
    for (size_t i = 0; i < j->v->row_count; i++) {
        gka_verdict_row *const row = &j->v->rows[i];
        gka_compare(row->tensor, j->exact.of[j->outputs[i]],
                    gka_output_table[j->outputs[i]].row_rank, &row->comparison);
        if (j->options->emulate != NULL) {
            const double *const emulated = j->emulated.of[j->outputs[i]];
            gka_compare(row->tensor, emulated, gka_output_table[j->outputs[i]].row_rank,
                        &row->emulated);
            row->predicted =
                gka_rel_err(gka_tensor_count(row->tensor), emulated, j->exact.of[j->outputs[i]]);
        }
        row->comparison.ok = gka_judge_verdict(j->options, row->tensor->name, &row->comparison);
    }
}

/* ---- dh0 ----------------------------------------------------------------------------------- */

static void symmetrise(int64_t matrices, int64_t D, double *M) {
    for (int64_t n = 0; n < matrices; n++, M += D * D)
        for (int64_t i = 0; i < D; i++)
            for (int64_t k = 0; k < i; k++)
                M[i * D + k] = M[k * D + i] = 0.5 * M[i * D + k] + 0.5 * M[k * D + i];
}

static double dot(int64_t n, const double *a, const double *b) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* A tensor of the file as doubles; NULL where there is none. */
static gka_status load(const job *j, int output, double **values, gka_error *error) {
    const gka_tensor *const tensor = gka_file_find(j->file, gka_output_table[output].name);
    return tensor == NULL
               ? GKA_OK
               : gka_golden_load(&j->v->problem, j->file, tensor, output, false, values, error);
}

typedef struct dh0_arrays {
    double *out, *x, *fro, *p; /* the file's */
    double *exact, *with, *without;
} dh0_arrays;

/* The gradient and its first term by exact formulas at the file's x, f and p. */
static gka_status local_dh0(const gka_problem *problem, const dh0_arrays *a, gka_error *error) {
    const gka_chunk_given given = {.at.x = a->x, .at.fro = a->fro, .at.p = a->p};
    gka_outputs with = {.solve.dh0 = a->with}, without = {.solve.dh0 = a->without};
    gka_profile exact64;
    gka_status status = gka_profile_find("exact64", &exact64, error);
    if (status == GKA_OK)
        status = gka_chunk_backward(problem, &exact64, GKA_OF_X, true, &given, &with, error);
    return status != GKA_OK
               ? status
               : gka_chunk_backward(problem, &exact64, GKA_OF_X, false, &given, &without, error);
}

static void describe_dh0(int64_t count, const dh0_arrays *a, gka_dh0 *dh0) {
    const double size = sqrt(dot(count, a->out, a->out)),
                 want = sqrt(dot(count, a->exact, a->exact));
    if (!(isfinite(size) && size > 0 && want > 0))
        return;
    dh0->judged = true;
    dh0->cosine = dot(count, a->out, a->exact) / (size * want);
    dh0->norm = size / want;
    if (a->x == NULL || a->fro == NULL || a->p == NULL)
        return;
    for (int64_t i = 0; i < count; i++)
        a->out[i] *= dh0->cosine < 0 ? -1 : 1;
    dh0->with = gka_rel_err(count, a->out, a->with);
    dh0->without = gka_rel_err(count, a->out, a->without);
    dh0->ridge = gka_rel_err(count, a->without, a->with);
}

static gka_status judge_dh0(job *j, gka_error *error) {
    const gka_problem *const problem = &j->v->problem;
    const double *const exact = j->exact.solve.dh0;
    const int64_t matrices = problem->N * problem->H,
                  count = gka_output_count(problem, GKA_OUT_SOLVE_DH0);
    dh0_arrays a = {0};
    j->v->dh0 = (gka_dh0){.with = NAN, .without = NAN, .ridge = NAN};
    gka_status status = load(j, GKA_OUT_SOLVE_DH0, &a.out, error);
    if (status != GKA_OK || a.out == NULL || exact == NULL || problem->h0.data == NULL)
        goto done;
    if ((status = load(j, GKA_OUT_X, &a.x, error)) != GKA_OK ||
        (status = load(j, GKA_OUT_FRO, &a.fro, error)) != GKA_OK ||
        (status = load(j, GKA_OUT_SOLVE_DQ, &a.p, error)) != GKA_OK)
        goto done;
    double **const own[] = {&a.exact, &a.with, &a.without};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if ((*own[i] = gka_alloc((size_t)count, sizeof(double))) == NULL) {
            status = gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory judging solve.dh0",
                              gka_file_path(j->file));
            goto done;
        }
    memcpy(a.exact, exact, (size_t)count * sizeof *exact);
    if (a.x != NULL && a.fro != NULL && a.p != NULL)
        status = local_dh0(problem, &a, error);
    if (status == GKA_OK) {
        double *const all[] = {a.out, a.exact, a.with, a.without};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            symmetrise(matrices, problem->D, all[i]);
        describe_dh0(count, &a, &j->v->dh0);
    }
done:;
    double *const all[] = {a.out, a.x, a.fro, a.p, a.exact, a.with, a.without};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        gka_free(all[i]);
    return status;
}

static void free_job(job *j) {
    gka_golden_free(&j->exact);
    gka_golden_free(&j->emulated);
    gka_free(j->outputs);
}

gka_status gka_verify(const gka_file *file, const gka_verify_options *options,
                      gka_verification *verification, gka_error *error) {
    *verification = (gka_verification){0};
    if (gka_file_is_served(file))
        return gka_judge_served(file, options, verification, error);
    job j = {.file = file, .options = options, .v = verification};
    const gka_file *const source = options->inputs != NULL ? options->inputs : file;
    gka_status status = sort_tensors(&j, error);
    if (status == GKA_OK)
        status = check_parameters(&j, error);
    if (status == GKA_OK)
        status =
            gka_problem_from_file(source, &verification->problem, &verification->defaults, error);
    if (status == GKA_OK)
        status = check_tensors(&j, error);
    if (status == GKA_OK)
        status = read_statement(&j, error);
    if (status == GKA_OK)
        status = allocate(&j, error);
    if (status == GKA_OK)
        status = compute(&j, error);
    if (status == GKA_OK)
        status = emulate(&j, error);
    if (status == GKA_OK)
        compare(&j);
    if (status == GKA_OK)
        status = judge_dh0(&j, error);
    free_job(&j);
    return status;
}

void gka_verification_free(gka_verification *verification) {
    gka_problem_free(&verification->problem);
    gka_free(verification->rows);
    gka_free(verification->others);
    *verification = (gka_verification){0};
}
