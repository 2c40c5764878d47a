/* stage.c - one stage by itself: what it is handed, and what it should make of that.
 *
 *   solve   q k g, perhaps f and the states before each chunk  ->  x fro solve.dq
 *   output  x                                                  ->  o layer.dalpha layer.dv
 *   dk      x p, perhaps f and states                          ->  solve.dk solve.dh0 layer.dk
 *   dg      the same                                           ->  solve.dg layer.dg
 *   decode  one token from h0, u0                              ->  x fro h_final u_final o
 *
 * Exact values are those of gka/oracle.h at given tensors.
 */
#include "golden/stage.h"

#include "gka/arith.h"
#include "gka/format.h"
#include "gka/solve.h"

#include <math.h>
#include <string.h>

const golden_given_tensor gka_golden_given_tensors[GIVEN_TENSORS] = {
    {"given.x", GKA_OUT_X, GKA_GIVEN_X},
    {"given.fro", GKA_OUT_FRO, GKA_GIVEN_F},
    {"given.h_chunk", GKA_OUT_H_CHUNK, GKA_GIVEN_H_CHUNK},
    {"given.solve.p", GKA_OUT_SOLVE_DQ, GKA_GIVEN_P},
    {"given.layer.p", GKA_OUT_LAYER_DQ, GKA_GIVEN_P},
};

unsigned gka_golden_stage_outputs(gka_golden_stage stage) {
    switch (stage) {
    case GKA_STAGE_SOLVE: return GKA_BIT(X) | GKA_BIT(FRO) | GKA_BIT(SOLVE_DQ);
    case GKA_STAGE_OUTPUT: return GKA_BIT(O) | GKA_BIT(LAYER_DALPHA) | GKA_BIT(LAYER_DV);
    case GKA_STAGE_DK: return GKA_BIT(SOLVE_DK) | GKA_BIT(SOLVE_DH0) | GKA_BIT(LAYER_DK);
    case GKA_STAGE_DG: return GKA_BIT(SOLVE_DG) | GKA_BIT(LAYER_DG);
    case GKA_STAGE_DECODE:
        return GKA_BIT(X) | GKA_BIT(FRO) | GKA_BIT(H_FINAL) | GKA_BIT(U_FINAL) | GKA_BIT(O);
    case GKA_STAGE_ALL: break;
    }
    return (1u << GKA_OUTPUTS) - 1;
}

gka_status gka_golden_stage_check(gka_golden_stage stage, unsigned given,
                                  const gka_problem *problem, gka_error *error) {
    static const struct {
        unsigned least, most;
        const char *what;
    } rules[] = {
        [GKA_STAGE_ALL] = {0, 0, "a stage (solve, output, dk or dg)"},
        [GKA_STAGE_SOLVE] = {0, GKA_GIVEN_F | GKA_GIVEN_H_CHUNK, "none, or of f and h_chunk,"},
        [GKA_STAGE_OUTPUT] = {GKA_GIVEN_X, GKA_GIVEN_X, "x"},
        [GKA_STAGE_DK] = {GKA_GIVEN_X | GKA_GIVEN_P, ~0u, "x and p, and perhaps f and h_chunk,"},
        [GKA_STAGE_DG] = {GKA_GIVEN_X | GKA_GIVEN_P, ~0u, "x and p, and perhaps f and h_chunk,"},
        [GKA_STAGE_DECODE] = {0, 0, "none"},
    };
    if ((rules[stage].least & ~given) != 0 || (given & ~rules[stage].most) != 0)
        return gka_fail(error, GKA_BAD_ARGUMENT, "given: %s was expected for stage %s",
                        rules[stage].what, gka_golden_stage_name(stage));
    if (stage == GKA_STAGE_DECODE &&
        (problem->T != 1 || problem->h0.data == NULL || problem->cu_seqlens != NULL))
        return gka_fail(error, GKA_BAD_ARGUMENT, "stage decode: T = 1 and h0 were expected");
    const bool needs_do = stage == GKA_STAGE_OUTPUT, needs_some = stage != GKA_STAGE_ALL;
    if (stage != GKA_STAGE_DECODE && needs_some && problem->dout.data == NULL &&
        (needs_do || problem->dx.data == NULL))
        return gka_fail(error, GKA_BAD_ARGUMENT, "stage %s: an input 'do'%s was expected",
                        gka_golden_stage_name(stage), needs_do ? "" : " or 'dx'");
    return GKA_OK;
}

/* ---- what is given ------------------------------------------------------------------------- */

static bool is_given(unsigned given, unsigned wanted, int i) {
    const unsigned solve = GKA_BIT(SOLVE_DK) | GKA_BIT(SOLVE_DG) | GKA_BIT(SOLVE_DH0),
                   layer = GKA_BIT(LAYER_DK) | GKA_BIT(LAYER_DG);
    return (given & gka_golden_given_tensors[i].bit) != 0 &&
           (i != GIVEN_SOLVE_P || (wanted & solve) != 0) &&
           (i != GIVEN_LAYER_P || (wanted & layer) != 0);
}

unsigned gka_golden_given_outputs(unsigned given, unsigned wanted) {
    unsigned outputs = 0;
    for (int i = 0; i < GIVEN_TENSORS; i++)
        if (is_given(given, wanted, i))
            outputs |= 1u << gka_golden_given_tensors[i].output;
    return outputs;
}

unsigned gka_golden_given_decides(unsigned given) {
    unsigned outputs = 0;
    if (given & GKA_GIVEN_X)
        outputs |= gka_golden_stage_outputs(GKA_STAGE_OUTPUT);
    if ((given & GKA_GIVEN_X) && (given & GKA_GIVEN_P))
        outputs |= gka_golden_stage_outputs(GKA_STAGE_DK) | gka_golden_stage_outputs(GKA_STAGE_DG);
    return outputs;
}

static gka_status allocate(const gka_problem *problem, int i, golden_given *given,
                           gka_error *error) {
    const int64_t count = gka_output_count(problem, gka_golden_given_tensors[i].output);
    given->of[i] = gka_alloc((size_t)count, sizeof(double));
    given->dtype[i] = GKA_F64;
    return given->of[i] != NULL ? GKA_OK
                                : gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory for '%s'",
                                           gka_golden_given_tensors[i].name);
}

gka_status gka_golden_given_take(const gka_problem *problem, unsigned given, unsigned wanted,
                                 const gka_outputs *values, bool round, golden_given *out,
                                 gka_error *error) {
    gka_status status = GKA_OK;
    for (int i = 0; i < GIVEN_TENSORS && status == GKA_OK; i++) {
        const int output = gka_golden_given_tensors[i].output;
        const double *const from = values->of[output];
        if (!is_given(given, wanted, i) || out->of[i] != NULL)
            continue;
        if (from == NULL)
            return gka_fail(error, GKA_BAD_FILE, "given: tensor '%s' is missing",
                            gka_output_table[output].name);
        status = allocate(problem, i, out, error);
        if (status != GKA_OK)
            break;
        const size_t count = (size_t)gka_output_count(problem, output);
        if (i == GIVEN_LAYER_P)
            status = gka_golden_layer_p(problem, from, out->of[i], error);
        else
            memcpy(out->of[i], from, count * sizeof *from);
        if (round) {
            out->dtype[i] = gka_output_dtype(problem, output);
            gka_round_array(gka_format_of_dtype(out->dtype[i]), GKA_NEAREST_EVEN, 0, 0, count,
                            out->of[i], out->of[i]);
        }
    }
    return status;
}

gka_status gka_golden_given_read(const gka_problem *problem, unsigned given, unsigned wanted,
                                 const gka_file *file, bool heads_first, golden_given *out,
                                 gka_error *error) {
    gka_outputs values = {0};
    gka_dtype dtype[GIVEN_TENSORS];
    gka_status status = GKA_OK;
    for (int i = 0; i < GIVEN_TENSORS && status == GKA_OK; i++) {
        const int output = gka_golden_given_tensors[i].output;
        if (!is_given(given, wanted, i))
            continue;
        const gka_tensor *const own = i == GIVEN_LAYER_P ? gka_file_find(file, "layer.p") : NULL;
        const gka_tensor *const tensor =
            own != NULL ? own : gka_file_find(file, gka_output_table[output].name);
        if (tensor == NULL)
            status = gka_fail(error, GKA_BAD_FILE, "%s: tensor '%s', which is given, is missing",
                              gka_file_path(file), gka_output_table[output].name);
        else
            status = gka_golden_load(problem, file, tensor, output, heads_first,
                                     own != NULL ? &out->of[i] : &values.of[output], error);
        dtype[i] = tensor == NULL || (i == GIVEN_LAYER_P && own == NULL) ? GKA_F64 : tensor->dtype;
    }
    if (status == GKA_OK)
        status = gka_golden_given_take(problem, given, wanted, &values, false, out, error);
    for (int i = 0; i < GIVEN_TENSORS && status == GKA_OK; i++)
        if (is_given(given, wanted, i))
            out->dtype[i] = dtype[i];
    gka_golden_free(&values);
    return status;
}

void gka_golden_given_free(golden_given *given) {
    for (int i = 0; i < GIVEN_TENSORS; i++)
        gka_free(given->of[i]);
    *given = (golden_given){0};
}

/* ---- exact --------------------------------------------------------------------------------- */

gka_status gka_golden_exact_at(const gka_problem *problem, unsigned wanted,
                               const golden_given *given, const gka_progress *progress,
                               gka_outputs *values, gka_outputs *lo, gka_oracle_report reports[2],
                               gka_error *error) {
    const unsigned solve = GKA_BIT(SOLVE_DQ) | GKA_BIT(SOLVE_DK) | GKA_BIT(SOLVE_DG) |
                           GKA_BIT(SOLVE_DH0),
                   layer = GKA_BIT(O) | GKA_BIT(LAYER_DQ) | GKA_BIT(LAYER_DK) | GKA_BIT(LAYER_DV) |
                           GKA_BIT(LAYER_DALPHA) | GKA_BIT(LAYER_DG),
                   both = GKA_BIT(X) | GKA_BIT(FRO);
    gka_status status = GKA_OK;
    for (int pass = 0; pass < 2 && status == GKA_OK; pass++) {
        const bool of_o = pass == 1;
        const unsigned own = of_o ? layer : solve;
        const bool has = of_o ? problem->dout.data != NULL : problem->dx.data != NULL;
        const bool first = !of_o || problem->dx.data == NULL; /* fills x and fro */
        const unsigned fills = wanted & (own | (first ? both : 0));
        gka_outputs out, second;
        if (!has || !gka_outputs_only(values, fills, &out))
            continue;
        if (lo != NULL)
            (void)gka_outputs_only(lo, fills, &second);
        const gka_upstream at = {.x = given->of[GIVEN_X],
                                 .fro = given->of[GIVEN_FRO],
                                 .h_chunk = given->of[GIVEN_H_CHUNK],
                                 .p = given->of[of_o ? GIVEN_LAYER_P : GIVEN_SOLVE_P]};
        const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED,
                                            .progress =
                                                progress == NULL ? (gka_progress){0} : *progress,
                                            .given = &at,
                                            .leave_undecided = reports == NULL};
        status = gka_oracle_gradient(problem, of_o ? GKA_OF_O : GKA_OF_X, &options, &out,
                                     lo == NULL ? NULL : &second,
                                     reports == NULL ? NULL : &reports[pass], error);
    }
    return status;
}

/* ---- steps --------------------------------------------------------------------------------- */

typedef struct stepper {
    const gka_problem *problem;
    const golden_given *given;
    double *x, *fro, *dq; /* NULL: not wanted */
    gka_policy policy;
    gka_solver solver;
    char *memory; /* of every worker: H [D,D], k, b [D], and the solver's */
    size_t each, solver_at;
} stepper;

static void start_state(const stepper *s, int64_t n, int64_t t, int64_t h, double *H) {
    const gka_problem *const p = s->problem;
    const int64_t D = p->D, C = p->chunk_size;
    const gka_span span = gka_problem_span(p, n);
    const double *const states = s->given->of[GIVEN_H_CHUNK];
    if (states != NULL && (t - span.begin) % C == 0) {
        int64_t chunk = (t - span.begin) / C;
        for (int64_t m = 0; p->cu_seqlens != NULL && m < n; m++)
            chunk += gka_problem_span_chunks(p, m);
        const double *const from =
            states + ((span.b * gka_problem_chunks(p) + chunk) * p->H + h) * D * D;
        for (int64_t i = 0; i < D; i++)
            for (int64_t j = 0; j < D; j++)
                H[i * D + j] = (from[i * D + j] + from[j * D + i]) / 2;
    } else if (t == span.begin) {
        gka_problem_h0(p, n, h, H);
        for (int64_t i = 0; i < D; i++)
            for (int64_t j = 0; j < i; j++)
                H[i * D + j] = H[j * D + i] = (H[i * D + j] + H[j * D + i]) / 2;
    }
}

static double add_key(int64_t D, double gamma, const double *k, double *H) {
    double square = 0;
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++) {
            const double old = gamma > 0 ? gamma * H[i * D + j] : 0;
            H[i * D + j] = fma(k[i], k[j], old);
            square = fma(H[i * D + j], H[i * D + j], square);
        }
    return sqrt(square);
}

static void solve_row(const stepper *s, gka_arith *A, double f, const double *H, double *b,
                      void *workspace, double *x) {
    const int64_t D = s->problem->D;
    const double lambda = s->problem->ridge_ratio * f;
    const gka_system system = {.n = 1, .D = D, .H = H, .lambda = &lambda, .f = &f};
    if (f == 0)
        memset(x, 0, (size_t)D * sizeof *x);
    else
        gka_solve(A, &system, &s->solver, b, x, NULL, NULL, workspace);
}

static void step_head(void *context, int64_t index, int worker) {
    const stepper *const s = context;
    const gka_problem *const p = s->problem;
    const gka_device *const exact64 = gka_device_find("exact64");
    const int64_t D = p->D, n = index / p->H, h = index % p->H;
    const gka_span span = gka_problem_span(p, n);
    char *const memory = s->memory + (size_t)worker * s->each;
    double *const H = (double *)(void *)memory, *const k = H + D * D, *const b = k + D;
    gka_arith A;
    gka_arith_start(&A, &s->policy, 0);
    for (int64_t t = span.begin; t < span.end && !gka_stopped(); t++) {
        const int64_t to = (span.b * p->T + t) * p->H + h;
        const double g = gka_problem_g(p, span.b, t, h);
        start_state(s, n, t, h, H);
        gka_problem_k(p, span.b, t, h, k);
        const double own = add_key(D, isinf(g) ? 0 : gka_device_exp(exact64, g), k, H);
        const double f = s->given->of[GIVEN_FRO] != NULL ? s->given->of[GIVEN_FRO][to] : own;
        if (s->fro != NULL)
            s->fro[to] = f;
        if (s->x != NULL) {
            gka_problem_q(p, span.b, t, h, b);
            solve_row(s, &A, f, H, b, memory + s->solver_at, s->x + to * D);
        }
        if (s->dq != NULL) {
            gka_problem_dx(p, span.b, t, h, b);
            solve_row(s, &A, f, H, b, memory + s->solver_at, s->dq + to * D);
        }
    }
}

gka_status gka_golden_steps_at(const gka_problem *problem, unsigned wanted,
                               const golden_given *given, gka_outputs *values, gka_error *error) {
    stepper s = {.problem = problem,
                 .given = given,
                 .x = wanted >> GKA_OUT_X & 1 ? values->of[GKA_OUT_X] : NULL,
                 .fro = wanted >> GKA_OUT_FRO & 1 ? values->of[GKA_OUT_FRO] : NULL,
                 .dq = wanted >> GKA_OUT_SOLVE_DQ & 1 ? values->of[GKA_OUT_SOLVE_DQ] : NULL};
    if (!gka_policy_find("fp64/fma", &s.policy) || !gka_solver_find("chebyshev", &s.solver))
        return gka_fail(error, GKA_INTERNAL, "no fp64/fma or no chebyshev");
    s.solver.num_iter = problem->num_iter;
    const size_t D = (size_t)problem->D, rows = (D * D + 2 * D) * sizeof(double);
    s.solver_at = (rows + 63) / 64 * 64;
    s.each = s.solver_at + (gka_solve_workspace(&s.solver, 1, problem->D) + 63) / 64 * 64;
    s.memory = gka_alloc((size_t)gka_threads(), s.each);
    if (s.memory == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory for the solve stage");
    const bool all = gka_parallel(problem->N * problem->H, step_head, &s);
    gka_free(s.memory);
    return all ? GKA_OK : gka_fail(error, GKA_INTERRUPTED, "interrupted");
}
