/* condition.c - error, storage floor and condition of every output tensor.
 *
 *   S      <dx, x> or <do, o>: its gradient by (q k v alpha g, cotangent) is (dq dk dv dalpha dg,
 * y) J      Jacobian of one output tensor Y by one input tensor Z: a block of the Hessian of S,
 * which is symmetric, so that J v and J^T w are both products with it (gka_oracle_hessian) kappa
 * ||J||_2 ||Z||/||Y||, by power iteration
 */
#include "gka/condition.h"

#include "gka/format.h"
#include "gka/oracle.h"
#include "judge/values.h"

#include <math.h>
#include <string.h>

const char *gka_input_name(gka_input input) {
    static const char *const names[GKA_INPUTS] = {"q", "k", "v", "alpha", "g"};
    return (unsigned)input < GKA_INPUTS ? names[input] : "unknown input";
}

const char *gka_stability_name(gka_stability stability) {
    switch (stability) {
    case GKA_STABLE: return "stable";
    case GKA_ILL_CONDITIONED: return "ill-conditioned";
    case GKA_UNSTABLE: return "unstable";
    case GKA_NOT_FINITE: return "not finite";
    }
    return "unknown";
}

/* ---- outputs and inputs as slots of the Hessian -------------------------------------------- */

enum { SLOT_C = GKA_INPUTS, SLOTS }; /* an input's slot has its number */

static const struct {
    gka_output_id id;
    int slot;
} rows_of[GKA_CONDITION_ROWS] = {
    {GKA_OUT_X, SLOT_C},
    {GKA_OUT_O, SLOT_C},
    {GKA_OUT_SOLVE_DQ, GKA_INPUT_Q},
    {GKA_OUT_SOLVE_DK, GKA_INPUT_K},
    {GKA_OUT_SOLVE_DG, GKA_INPUT_G},
    {GKA_OUT_LAYER_DQ, GKA_INPUT_Q},
    {GKA_OUT_LAYER_DK, GKA_INPUT_K},
    {GKA_OUT_LAYER_DV, GKA_INPUT_V},
    {GKA_OUT_LAYER_DALPHA, GKA_INPUT_ALPHA},
    {GKA_OUT_LAYER_DG, GKA_INPUT_G},
};

const char *const gka_condition_names[] = {
    "x",        "o",        "solve.dq",     "solve.dk", "solve.dg", "layer.dq",
    "layer.dk", "layer.dv", "layer.dalpha", "layer.dg", NULL};

static gka_of cotangent_of(gka_output_id id) {
    return id == GKA_OUT_X || gka_output_table[id].pass == GKA_PASS_SOLVE ? GKA_OF_X : GKA_OF_O;
}

static double **slot_of(gka_direction *d, int slot) {
    double **const slots[SLOTS] = {&d->q, &d->k, &d->v, &d->alpha, &d->g, &d->c};
    return slots[slot];
}

static const gka_view *view_of(const gka_problem *p, int input) {
    const gka_view *const views[GKA_INPUTS] = {&p->q, &p->k, &p->v, &p->alpha, &p->g};
    return views[input];
}

static int64_t input_count(const gka_problem *p, int input) {
    const int64_t queries = p->B * p->T * p->H, keys = p->B * p->T * p->G;
    const int64_t counts[GKA_INPUTS] = {queries * p->D, keys * p->D, keys * p->V, queries, queries};
    return counts[input];
}

/* The input's numbers in the order of its slot; a gate of -inf, which no rounding moves, as 0. */
static void input_values(const gka_problem *p, int input, double *out) {
    const gka_view *const view = view_of(p, input);
    const int64_t heads = view->shape[2], n = view->rank > 3 ? view->shape[3] : 1;
    for (int64_t b = 0; b < p->B; b++)
        for (int64_t t = 0; t < p->T; t++)
            for (int64_t h = 0; h < heads; h++)
                gka_view_row(view, b, t, h, n, out + ((b * p->T + t) * heads + h) * n);
    for (int64_t i = 0; i < input_count(p, input); i++)
        if (isinf(out[i]))
            out[i] = 0;
}

/* ---- one block ----------------------------------------------------------------------------- */

typedef struct block {
    const gka_problem *problem;
    gka_of cotangent;
    int out, in; /* slots */
    int64_t rows, columns;
    double *v, *w;   /* [columns], [rows] */
    const double *Z; /* [columns] */
    double size;     /* ||Y|| */
} block;

/* w = J v, or v = J^T w */
static gka_status product(block *b, bool transposed, gka_error *error) {
    gka_direction along = {0}, result = {0};
    *slot_of(&along, transposed ? b->out : b->in) = transposed ? b->w : b->v;
    *slot_of(&result, transposed ? b->in : b->out) = transposed ? b->v : b->w;
    return gka_oracle_hessian(b->problem, b->cotangent, NULL, &along, &result, error);
}

static double norm(int64_t n, const double *x) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sqrt(sum);
}

/* x / ||x||, and the norm */
static double normalise(int64_t n, double *x) {
    const double size = norm(n, x);
    for (int64_t i = 0; i < n && size > 0; i++)
        x[i] /= size;
    return size;
}

/* Uniform in [-1,1]: a function of the element and of the number of the draw. */
static double draw(uint64_t i, uint64_t n) {
    const uint64_t counter[4] = {i, n, 0, 0}, key[2] = {0x636f6e6469746e, 0};
    uint64_t bits[4];
    gka_philox(counter, key, bits);
    return 2 * ((double)(bits[0] >> 11) * 0x1p-53) - 1;
}

/* ||J||_2 by power iteration on J^T J. Of unit vectors each of ||J v||, ||J^T w||, ... is at least
 * the one before, and at most ||J||_2. */
static gka_status largest(block *b, double *sigma, int *products, gka_error *error) {
    enum { MOST = 60 };
    const double settled = 0.01;
    for (int64_t i = 0; i < b->columns; i++)
        b->v[i] = draw((uint64_t)i, 0);
    (void)normalise(b->columns, b->v);
    *sigma = 0;
    for (*products = 0; *products < MOST;) {
        const bool transposed = *products % 2 == 1;
        const gka_status status = product(b, transposed, error);
        if (status != GKA_OK)
            return status;
        const double before = *sigma;
        *sigma = transposed ? normalise(b->columns, b->v) : normalise(b->rows, b->w);
        ++*products;
        if (!(*sigma > 0) || (*products > 2 && *sigma - before <= settled * *sigma))
            break;
    }
    return GKA_OK;
}

/* ---- values -------------------------------------------------------------------------------- */

typedef struct job {
    const gka_problem *problem;
    const gka_condition_options *options;
    unsigned wanted;
    gka_outputs exact, candidate, floor;
    double *Z[GKA_INPUTS]; /* input values */
    double *v, *w;
    double *change[GKA_CONDITION_ROWS];             /* of an output, along one draw */
    bool drawn[2][GKA_INPUTS];                      /* by cotangent: */
    double squares[GKA_CONDITION_ROWS][GKA_INPUTS]; /* sums over the draws of ||change||^2 */
    double done, total;                             /* pairs of output and input */
} job;

static bool has(unsigned set, int output) {
    return (set >> output & 1) != 0;
}

static gka_status out_of_memory(gka_error *error) {
    return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory for condition numbers");
}

static bool asked_for(const gka_condition_options *options, const char *name) {
    for (size_t i = 0; i < options->name_count; i++)
        if (strcmp(options->names[i], name) == 0)
            return true;
    return options->name_count == 0;
}

static gka_status load(job *j, gka_error *error) {
    const gka_file *const file = j->options->outputs;
    const unsigned has = file != NULL ? ~0u : gka_kernel_outputs(j->options->emulate);
    for (int i = 0; i < GKA_CONDITION_ROWS; i++) {
        const int id = (int)rows_of[i].id;
        const gka_tensor *const tensor =
            file != NULL ? gka_file_find(file, gka_output_table[id].name) : NULL;
        if (!(has >> id & 1) || !gka_golden_possible(j->problem, id) ||
            (file != NULL && tensor == NULL) || !asked_for(j->options, gka_output_table[id].name))
            continue;
        j->wanted |= 1u << id;
        const gka_status status =
            tensor == NULL
                ? GKA_OK
                : gka_golden_load(j->problem, file, tensor, id, false, &j->candidate.of[id], error);
        if (status != GKA_OK)
            return status;
    }
    if (j->wanted == 0)
        return gka_fail(
            error, file != NULL ? GKA_BAD_FILE : GKA_BAD_ARGUMENT,
            "%s: nothing to judge; a tensor 'x', 'o', 'solve.dk', 'layer.dk' or another "
            "output was expected",
            file != NULL ? gka_file_path(file) : "problem");
    return file != NULL
               ? GKA_OK
               : gka_golden_run(j->problem, j->options->emulate, j->wanted, &j->candidate, error);
}

/* The exact values, with x, f and both p. */
static gka_status compute_exact(job *j, gka_error *error) {
    const gka_problem *const problem = j->problem;
    const unsigned forward = 1u << GKA_OUT_X | 1u << GKA_OUT_FRO;
    gka_status status = gka_golden_allocate(problem, j->wanted | forward, &j->exact, error);
    for (int of = GKA_OF_X; status == GKA_OK && of <= GKA_OF_O; of++)
        if ((j->wanted & gka_of_outputs((gka_of)of)) != 0)
            status =
                gka_golden_allocate(problem, 1u << GKA_GRADIENT_OUTPUT(of, P), &j->exact, error);
    if (status == GKA_OK)
        status = gka_oracle_forward(problem, NULL, &j->exact, NULL, NULL, error);
    for (int of = GKA_OF_X; status == GKA_OK && of <= GKA_OF_O; of++)
        if (j->exact.gradient[of].p != NULL)
            status = gka_oracle_gradient(problem, (gka_of)of, NULL, &j->exact, NULL, NULL, error);
    return status;
}

/* Exact x, f and p rounded once to their stored types, then the exact formulas, then the outputs'
 * own storage. */
static gka_status compute_floor(job *j, gka_error *error) {
    const gka_problem *const problem = j->problem;
    const gka_format *const format = gka_format_of_dtype(gka_output_dtype(problem, GKA_OUT_X));
    const size_t rows = (size_t)gka_output_count(problem, GKA_OUT_X);
    const unsigned forward = 1u << GKA_OUT_X | 1u << GKA_OUT_FRO;
    gka_profile exact64;
    gka_status status = gka_profile_find("exact64", &exact64, error);
    if (status == GKA_OK)
        status = gka_golden_allocate(problem, j->wanted | forward, &j->floor, error);
    if (status != GKA_OK)
        return status;
    for (int i = 0; i < GKA_OUTPUTS; i++)
        if (has(forward, i))
            memcpy(j->floor.of[i], j->exact.of[i],
                   (size_t)gka_output_count(problem, i) * sizeof(double));
    gka_golden_store(problem, forward, &j->floor);
    const gka_outputs upstream = {{[GKA_OUT_X] = j->floor.of[GKA_OUT_X]}};
    status = gka_golden_local(problem, j->wanted & 1u << GKA_OUT_O, &upstream, &j->floor, error);
    for (int of = GKA_OF_X; status == GKA_OK && of <= GKA_OF_O; of++) {
        double *const p = j->exact.gradient[of].p;
        const gka_chunk_given given = {.at.x = j->floor.x, .at.fro = j->floor.fro, .at.p = p};
        gka_outputs out;
        if (p == NULL)
            continue;
        gka_round_array(format, GKA_NEAREST_EVEN, 0, 0, rows, p, p);
        (void)gka_outputs_only(&j->floor, gka_of_outputs((gka_of)of) & j->wanted, &out);
        status = gka_chunk_backward(problem, &exact64, (gka_of)of, true, &given, &out, error);
    }
    gka_golden_store(problem, j->wanted, &j->floor);
    return status;
}

static gka_status read_inputs(job *j, gka_error *error) {
    int64_t most_in = 0, most_out = 0;
    int inputs = 0;
    for (int i = 0; i < GKA_INPUTS; i++) {
        if (view_of(j->problem, i)->data == NULL)
            continue;
        const int64_t count = input_count(j->problem, i);
        j->Z[i] = gka_alloc((size_t)count, sizeof(double));
        if (j->Z[i] == NULL)
            return out_of_memory(error);
        input_values(j->problem, i, j->Z[i]);
        inputs++;
        most_in = count > most_in ? count : most_in;
    }
    for (int i = 0; i < GKA_OUTPUTS; i++)
        if (has(j->wanted, i)) {
            const int64_t count = gka_output_count(j->problem, i);
            most_out = count > most_out ? count : most_out;
            j->total += inputs;
        }
    for (int i = 0; i < GKA_CONDITION_ROWS; i++)
        if (has(j->wanted, (int)rows_of[i].id)) {
            const int64_t count = gka_output_count(j->problem, (int)rows_of[i].id);
            j->change[i] = gka_alloc((size_t)count, sizeof(double));
            if (j->change[i] == NULL)
                return out_of_memory(error);
        }
    j->v = gka_alloc((size_t)most_in, sizeof(double));
    j->w = gka_alloc((size_t)most_out, sizeof(double));
    return j->v == NULL || j->w == NULL ? out_of_memory(error) : GKA_OK;
}

/* ---- rows ---------------------------------------------------------------------------------- */

static void judge(gka_condition_row *row) {
    double u = gka_format_unit_roundoff(gka_format_of_dtype(row->dtype)), squares = 0;
    for (int i = 0; i < GKA_INPUTS; i++) {
        const gka_sensitivity *const s = &row->of[i];
        squares += s->typical * s->typical;
        u = fmax(u, s->unit);
        if (s->unit * s->kappa > row->worst) {
            row->worst = s->unit * s->kappa;
            row->by = (gka_input)i;
        }
    }
    row->typical = sqrt(squares);
    const double rounding = fmax(row->floor, row->typical);
    row->ratio = row->error == 0 ? 0 : row->error / rounding; /* no token: 0 of 0 */
    row->worst_ratio = row->error == 0 ? 0 : row->error / fmax(row->floor, row->worst);
    row->word = !isfinite(row->error) ? GKA_NOT_FINITE
                : row->ratio > 10     ? GKA_UNSTABLE
                : rounding > 10 * u   ? GKA_ILL_CONDITIONED
                                      : GKA_STABLE;
}

enum { DRAWS = 8 };

/* How far roundings of an input move every wanted output of a cotangent: a product along one
 * direction gives them all. */
static gka_status draw_changes(job *j, gka_of of, int input, double unit, gka_error *error) {
    gka_direction along = {0}, result = {0};
    gka_status status = GKA_OK;
    bool mine[GKA_CONDITION_ROWS];
    *slot_of(&along, input) = j->v;
    for (int i = 0; i < GKA_CONDITION_ROWS; i++) {
        mine[i] = j->change[i] != NULL && cotangent_of(rows_of[i].id) == of;
        if (mine[i])
            *slot_of(&result, rows_of[i].slot) = j->change[i];
    }
    for (uint64_t n = 1; status == GKA_OK && n <= DRAWS; n++) {
        for (int64_t i = 0; i < input_count(j->problem, input); i++)
            j->v[i] = unit * j->Z[input][i] * draw((uint64_t)i, n);
        status = gka_oracle_hessian(j->problem, of, NULL, &along, &result, error);
        for (int i = 0; i < GKA_CONDITION_ROWS && status == GKA_OK; i++)
            if (mine[i]) {
                const double size =
                    norm(gka_output_count(j->problem, (int)rows_of[i].id), j->change[i]);
                j->squares[i][input] += size * size;
            }
    }
    j->drawn[of][input] = true;
    return status;
}

/* kappa, products and typical, from unit. */
static gka_status measure(job *j, int number, block *b, gka_sensitivity *s, gka_error *error) {
    double sigma;
    gka_status status = largest(b, &sigma, &s->products, error);
    if (status == GKA_OK && sigma > 0 && !j->drawn[b->cotangent][b->in])
        status = draw_changes(j, b->cotangent, b->in, s->unit, error);
    if (b->size > 0) {
        s->kappa = sigma * norm(b->columns, b->Z) / b->size;
        s->typical = sigma > 0 ? sqrt(j->squares[number][b->in] / DRAWS) / b->size : 0;
    }
    return status;
}

static gka_status fill(job *j, int number, gka_condition_row *row, gka_error *error) {
    const gka_problem *const problem = j->problem;
    const int id = (int)rows_of[number].id;
    const int64_t count = gka_output_count(problem, id);
    const double *const exact = j->exact.of[id];
    *row = (gka_condition_row){.name = gka_output_table[id].name,
                               .dtype = gka_output_dtype(problem, id),
                               .error = gka_rel_err(count, j->candidate.of[id], exact),
                               .floor = gka_rel_err(count, j->floor.of[id], exact)};
    for (int i = 0; i < GKA_INPUTS; i++) {
        if (j->Z[i] == NULL)
            continue;
        block b = {.problem = problem,
                   .cotangent = cotangent_of(rows_of[number].id),
                   .out = rows_of[number].slot,
                   .in = i,
                   .rows = count,
                   .columns = input_count(problem, i),
                   .v = j->v,
                   .w = j->w,
                   .Z = j->Z[i],
                   .size = norm(count, exact)};
        row->of[i].unit = gka_format_unit_roundoff(gka_format_of_dtype(view_of(problem, i)->dtype));
        const gka_status status = measure(j, number, &b, &row->of[i], error);
        if (status != GKA_OK)
            return status;
        if (!gka_progress_report(&j->options->progress, ++j->done, j->total))
            return gka_fail(error, GKA_INTERRUPTED, "interrupted");
    }
    judge(row);
    return GKA_OK;
}

gka_status gka_condition(const gka_problem *problem, const gka_condition_options *options,
                         gka_condition_row *rows, size_t *row_count, gka_error *error) {
    job j = {.problem = problem, .options = options};
    *row_count = 0;
    gka_oracle_hold();
    gka_status status = load(&j, error);
    if (status == GKA_OK)
        status = compute_exact(&j, error);
    if (status == GKA_OK)
        status = compute_floor(&j, error);
    if (status == GKA_OK)
        status = read_inputs(&j, error);
    for (int i = 0; status == GKA_OK && i < GKA_CONDITION_ROWS; i++)
        if (has(j.wanted, (int)rows_of[i].id))
            status = fill(&j, i, &rows[(*row_count)++], error);
    gka_oracle_let_go();
    gka_golden_free(&j.exact);
    gka_golden_free(&j.candidate);
    gka_golden_free(&j.floor);
    for (int i = 0; i < GKA_INPUTS; i++)
        gka_free(j.Z[i]);
    for (int i = 0; i < GKA_CONDITION_ROWS; i++)
        gka_free(j.change[i]);
    gka_free(j.v);
    gka_free(j.w);
    return status;
}
