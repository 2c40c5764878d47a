/* values.c - the values that goldens are made of and judged by.
 *
 * Local judgement. A backward stage amplifies what its upstream tensors have lost: the released dk
 * is off by .6 of itself, yet within .004 of what the formulas of NUMERICS 2 make of its own x and
 * p. So each later stage is judged at the candidate's own upstream tensors:
 *
 *   o             s U_t^T (q_t + alpha_t (x_t - q_t))                at its x
 *   solve.{dk,dg,dh0}                                                at its x, fro, p = solve.dq
 *   layer.{dalpha,dv}                                                at its x
 *   layer.{dk,dg}                                                    at its x, fro, p
 *   p_t = layer.dq_t - (1 - alpha_t) dq'_t,  dq'_t = s U_t do_t
 *
 * or against the steps values, whichever is nearer: what is exact but for its own storage is as
 * right as what follows from x and p as they were stored.
 */
#include "judge/values.h"

#include "gka/arith.h"
#include "gka/format.h"
#include "io/bytes.h"

#include <math.h>
#include <string.h>

/* ---- the outputs --------------------------------------------------------------------------- */

bool gka_golden_possible(const gka_problem *problem, int output) {
    if (!gka_output_table[output].judged)
        return false;
    if (problem->lambda > 0 && output != GKA_OUT_X && output != GKA_OUT_O) /* MesaNet's */
        return false;
    if (output == GKA_OUT_SOLVE_DH0 && problem->h0.data == NULL)
        return false;
    if ((output == GKA_OUT_SOLVE_DG || output == GKA_OUT_LAYER_DG) && problem->g.data == NULL)
        return false;
    if (output == GKA_OUT_LAYER_DALPHA && problem->alpha.data == NULL)
        return false;
    return gka_output_lacks(problem, output) == NULL;
}

/* ---- arrays -------------------------------------------------------------------------------- */

gka_status gka_golden_allocate(const gka_problem *problem, unsigned wanted, gka_outputs *values,
                               gka_error *error) {
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        if (!(wanted >> i & 1) || values->of[i] != NULL)
            continue;
        const size_t count = (size_t)gka_output_count(problem, i);
        values->of[i] = gka_alloc(count, sizeof(double));
        if (values->of[i] == NULL)
            return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory: %zu numbers of '%s'", count,
                            gka_output_table[i].name);
    }
    return GKA_OK;
}

void gka_golden_free(gka_outputs *values) {
    for (int i = 0; i < GKA_OUTPUTS; i++)
        gka_free(values->of[i]);
    *values = (gka_outputs){0};
}

void gka_golden_store(const gka_problem *problem, unsigned wanted, gka_outputs *values) {
    for (int i = 0; i < GKA_OUTPUTS; i++)
        if (wanted >> i & 1 && values->of[i] != NULL)
            gka_round_array(gka_format_of_dtype(gka_output_dtype(problem, i)), GKA_NEAREST_EVEN, 0,
                            0, (size_t)gka_output_count(problem, i), values->of[i], values->of[i]);
}

/* ---- a kernel's outputs ------------------------------------------------------------------- */

gka_status gka_golden_run(const gka_problem *problem, const gka_kernel *kernel, unsigned wanted,
                          gka_outputs *values, gka_error *error) {
    gka_outputs some;
    wanted &= gka_kernel_outputs(kernel);
    const gka_status status = gka_golden_allocate(problem, wanted, values, error);
    return status == GKA_OK && gka_outputs_only(values, wanted, &some)
               ? gka_kernel_run(kernel, problem, NULL, &some, NULL, NULL, error)
               : status;
}

gka_status gka_golden_steps(const gka_problem *problem, const gka_profile *profile, unsigned wanted,
                            gka_outputs *values, gka_error *error) {
    const gka_kernel kernel = {.engine = GKA_ENGINE_CHUNKS, .profile = *profile};
    return gka_golden_run(problem, &kernel, wanted, values, error);
}

/* ---- the output stage and p ---------------------------------------------------------------- */

/* One head of one sequence: o at the given x, and p at the given layer.dq; either may be NULL. */
typedef struct recurrence {
    const gka_problem *problem;
    const double *x, *dq;
    double *o, *p;
    double *after;  /* [N,H,D,V]: U at the end; NULL: not wanted */
    double *memory; /* of every worker: U [D,V], q k [D], v do [V] */
    size_t each;
} recurrence;

static void step_state(const gka_problem *problem, double gamma, const double *k, const double *v,
                       double *U) {
    const int64_t D = problem->D, V = problem->V;
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < V; j++)
            U[i * V + j] = gamma * U[i * V + j] + k[i] * v[j];
}

/* o = s U^T q' */
static void output_row(const gka_problem *problem, const double *U, const double *q, double alpha,
                       const double *x, double *o) {
    const int64_t D = problem->D, V = problem->V;
    memset(o, 0, (size_t)V * sizeof *o);
    for (int64_t i = 0; i < D; i++) {
        const double mixed = alpha * x[i] + (1 - alpha) * q[i]; /* x may be far smaller than q */
        for (int64_t j = 0; j < V; j++)
            o[j] += U[i * V + j] * mixed;
    }
    for (int64_t j = 0; j < V; j++)
        o[j] *= problem->scale;
}

/* p = dq - (1 - alpha) s U do */
static void p_row(const gka_problem *problem, const double *U, const double *dout, double alpha,
                  const double *dq, double *p) {
    const int64_t D = problem->D, V = problem->V;
    for (int64_t i = 0; i < D; i++) {
        double sum = 0;
        for (int64_t j = 0; j < V; j++)
            sum += U[i * V + j] * dout[j];
        p[i] = dq[i] - (1 - alpha) * (problem->scale * sum);
    }
}

static void run_recurrence(void *context, int64_t index, int worker) {
    const recurrence *const r = context;
    const gka_problem *const problem = r->problem;
    const gka_device *const exact = gka_device_find("exact64");
    const int64_t D = problem->D, V = problem->V, H = problem->H, n = index / H, h = index % H;
    const gka_span span = gka_problem_span(problem, n);
    double *const U = r->memory + (size_t)worker * r->each, *const q = U + D * V, *const k = q + D,
                  *const v = k + D, *const dout = v + V;
    gka_problem_u0(problem, n, h, U);
    for (int64_t t = span.begin; t < span.end && !gka_stopped(); t++) {
        const double g = gka_problem_g(problem, span.b, t, h);
        const double gamma = isinf(g) ? 0 : gka_device_exp(exact, g);
        const double alpha = gka_problem_alpha(problem, span.b, t, h);
        const int64_t row = (span.b * problem->T + t) * H + h;
        gka_problem_k(problem, span.b, t, h, k);
        gka_problem_v(problem, span.b, t, h, v);
        step_state(problem, gamma, k, v, U);
        if (r->o != NULL) {
            gka_problem_q(problem, span.b, t, h, q);
            output_row(problem, U, q, alpha, r->x + row * D, r->o + row * V);
        }
        if (r->p != NULL) {
            gka_problem_dout(problem, span.b, t, h, dout);
            p_row(problem, U, dout, alpha, r->dq + row * D, r->p + row * D);
        }
    }
    if (r->after != NULL)
        memcpy(r->after + index * D * V, U, (size_t)(D * V) * sizeof *U);
}

static gka_status recur(recurrence *r, gka_error *error) {
    const gka_problem *const problem = r->problem;
    r->each = (size_t)(problem->D * problem->V + 2 * problem->D + 2 * problem->V);
    r->memory = gka_alloc((size_t)gka_workers(problem->N * problem->H) * r->each, sizeof(double));
    if (r->memory == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory for the output stage");
    const bool all = gka_parallel(problem->N * problem->H, run_recurrence, r);
    gka_free(r->memory);
    return all ? GKA_OK : gka_fail(error, GKA_INTERRUPTED, "interrupted");
}

gka_status gka_golden_layer_p(const gka_problem *problem, const double *layer_dq, double *p,
                              gka_error *error) {
    recurrence r = {.problem = problem, .dq = layer_dq, .p = p};
    return recur(&r, error);
}

gka_status gka_golden_values_after(const gka_problem *problem, double *u, gka_error *error) {
    recurrence r = {.problem = problem, .after = u};
    return recur(&r, error);
}

/* ---- local values -------------------------------------------------------------------------- */

static bool has(unsigned set, int output) {
    return (set >> output & 1) != 0;
}

/* The outputs of `wanted` whose upstream tensors are all given. */
static unsigned judged_locally(unsigned wanted, const gka_outputs *given) {
    unsigned there = 0, local = 0;
    for (int i = 0; i < GKA_OUTPUTS; i++)
        there |= (given->of[i] != NULL ? 1u : 0u) << i;
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        const unsigned upstream = gka_output_table[i].upstream;
        if (has(wanted, i) && upstream != 0 && (upstream & ~there) == 0)
            local |= 1u << i;
    }
    return local;
}

static gka_status local_backward(const gka_problem *problem, gka_of of, unsigned local,
                                 const gka_chunk_given *given, const gka_outputs *values,
                                 gka_error *error) {
    gka_outputs out;
    gka_profile exact64;
    if (!gka_outputs_only(values, local & gka_of_outputs(of), &out))
        return GKA_OK;
    const gka_status status = gka_profile_find("exact64", &exact64, error);
    return status != GKA_OK ? status
                            : gka_chunk_backward(problem, &exact64, of, true, given, &out, error);
}

gka_status gka_golden_local(const gka_problem *problem, unsigned wanted, const gka_outputs *given,
                            gka_outputs *values, gka_error *error) {
    const golden_piece whole = {.problem = problem, .by_tokens = problem};
    return gka_golden_local_of(&whole, wanted, given, values, error);
}

gka_status gka_golden_local_of(const golden_piece *piece, unsigned wanted, const gka_outputs *given,
                               gka_outputs *values, gka_error *error) {
    const gka_problem *const problem = piece->problem;
    const unsigned local = judged_locally(wanted, given);
    const unsigned needs_p = GKA_BIT(LAYER_DK) | GKA_BIT(LAYER_DG);
    gka_status status = gka_golden_allocate(problem, local, values, error);
    double *p = NULL;
    if (status == GKA_OK && (local & needs_p) != 0) {
        p = gka_alloc((size_t)gka_output_count(problem, GKA_OUT_X), sizeof *p);
        if (p == NULL)
            status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory for p");
    }
    recurrence r = {.problem = piece->by_tokens,
                    .x = given->of[GKA_OUT_X],
                    .dq = given->of[GKA_OUT_LAYER_DQ],
                    .o = has(local, GKA_OUT_O) ? values->of[GKA_OUT_O] : NULL,
                    .p = p};
    if (status == GKA_OK && (r.o != NULL || r.p != NULL))
        status = recur(&r, error);
    const gka_chunk_given solve = {.at.x = given->of[GKA_OUT_X],
                                   .at.fro = given->of[GKA_OUT_FRO],
                                   .at.p = given->of[GKA_OUT_SOLVE_DQ],
                                   .carry = piece->solve};
    if (status == GKA_OK)
        status = local_backward(problem, GKA_OF_X, local, &solve, values, error);
    const gka_chunk_given layer = {.at.x = given->of[GKA_OUT_X],
                                   .at.fro = given->of[GKA_OUT_FRO],
                                   .at.p = p,
                                   .carry = piece->layer};
    if (status == GKA_OK)
        status = local_backward(problem, GKA_OF_O, local, &layer, values, error);
    gka_free(p);
    return status;
}

/* ---- a tensor of a file ------------------------------------------------------------------- */

static double element(const gka_format *format, const gka_tensor *tensor, int64_t i) {
    const size_t size = gka_dtype_size(tensor->dtype);
    return gka_decode(format, gka_load_le((const char *)tensor->data + (size_t)i * size, size));
}

gka_status gka_golden_load(const gka_problem *problem, const gka_file *file,
                           const gka_tensor *tensor, int output, bool heads_first, double **values,
                           gka_error *error) {
    const gka_status status =
        gka_judge_check_tensor(problem, file, tensor, output, heads_first, error);
    if (status != GKA_OK)
        return status;
    const gka_format *const format = gka_format_of_dtype(tensor->dtype);
    const int64_t count = gka_tensor_count(tensor);
    *values = gka_alloc((size_t)count, sizeof **values);
    if (*values == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory reading '%s'",
                        gka_file_path(file), tensor->name);
    const bool turn = heads_first && gka_judge_has_tokens(output);
    const int64_t H = turn ? tensor->shape[1] : 1, T = turn ? tensor->shape[2] : 1,
                  n = turn && tensor->rank > 3 ? tensor->shape[3] : 1;
    for (int64_t i = 0; i < count; i++) {
        const int64_t row = i / n, b = row / (H * T), h = row / T % H, t = row % T;
        const int64_t to = turn ? ((b * T + t) * H + h) * n + i % n : i;
        (*values)[to] = element(format, tensor, i);
    }
    return GKA_OK;
}
