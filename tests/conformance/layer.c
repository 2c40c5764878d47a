/* layer.c - the layer over any arithmetic and solver: in fp64 it is the oracle's, forward and
 * gradients; through the iterations it is the derivative of what is computed; threads, failing
 * allocations and bad options. */
#include "system.h"

#include "gka/layer.h"

#include <stdlib.h>

enum { B = 1, T = 23, H = 2, G = 1, D = 12, V = 8 };

typedef struct results {
    double x[T * H * D], fro[T * H], lambda[T * H], o[T * H * V], h_final[H * D * D],
        u_final[H * D * V], p[T * H * D], dq[T * H * D], dk[T * G * D], dv[T * G * V],
        dalpha[T * H], dg[T * H], dh0[H * D * D], du0[H * D * V], kappa[T * H];
} results;

/* Gradients of x and of o to the same arrays. */
static gka_outputs layer_of(results *r) {
    const gka_gradients both = {.p = r->p,
                                .dq = r->dq,
                                .dk = r->dk,
                                .dv = r->dv,
                                .dalpha = r->dalpha,
                                .dg = r->dg,
                                .dh0 = r->dh0,
                                .du0 = r->du0};
    return (gka_outputs){.x = r->x,
                         .fro = r->fro,
                         .lambda = r->lambda,
                         .o = r->o,
                         .h_final = r->h_final,
                         .u_final = r->u_final,
                         .solve = both,
                         .layer = both};
}

static void made(gka_problem *problem, bool h0, gka_gate gates, double ridge) {
    const gka_generator generator = {.keys = GKA_KEYS_IID,
                                     .gate = gates,
                                     .B = B,
                                     .T = T,
                                     .H = H,
                                     .G = G,
                                     .D = D,
                                     .V = V,
                                     .alpha = true,
                                     .h0 = h0,
                                     .cotangents = true,
                                     .dtype = GKA_F32,
                                     .ridge_ratio = ridge,
                                     .seed = 5};
    gka_error error = {0};
    if (gka_problem_generate(&generator, problem, &error) != GKA_OK)
        fail_msg("%s", error.text);
}

static gka_layer_options options_of(const char *arithmetic, const char *solver, int iterations) {
    gka_layer_options options = {0};
    assert_true(gka_policy_find(arithmetic, &options.policy));
    const int form = gka_kalman_find(solver);
    if (form >= 0) {
        options.kalman = true;
        options.form = (gka_kalman_form)form;
        options.lambda = 0.25;
    } else {
        assert_true(gka_solver_find(solver, &options.solver));
        options.solver.num_iter = iterations;
    }
    return options;
}

static void compute(const gka_problem *problem, gka_of of, const gka_layer_options *options,
                    results *r) {
    gka_error error = {0};
    gka_outputs out = layer_of(r);
    gka_layer_report report;
    memset(r, 0, sizeof *r);
    if (gka_layer_gradient(problem, of, options, &out, &report, &error) != GKA_OK)
        fail_msg("%s", error.text);
    assert_int_equal(report.solves, T * H);
    assert_int_equal(report.breakdowns + report.non_finite, 0);
    gka_outputs states = {.h_final = r->h_final, .u_final = r->u_final};
    assert_int_equal(gka_layer_forward(problem, options, &states, &report, &error), GKA_OK);
}

static void exactly(const gka_problem *problem, gka_of of, results *r) {
    const gka_oracle_options options = {.oracle = GKA_ORACLE_FP64};
    memset(r, 0, sizeof *r);
    gka_outputs out = layer_of(r);
    out.kappa = r->kappa;
    gka_error error = {0};
    if (gka_oracle_forward(problem, &options, &out, NULL, NULL, &error) != GKA_OK ||
        gka_oracle_gradient(problem, of, &options, &out, NULL, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
}

/* T tokens, each with rounding gamma_(D+4), each through two solves that magnify by kappa. The
 * dot product over D^2 entries in f and dg: gamma_(D^2). */
static double bound(void) {
    const double kappa = 1.02 / 0.02;
    return (T * (D + 4) + D * D) * UNIT * kappa * kappa;
}

static void near(const char *what, const char *solver, int64_t n, const double *x,
                 const double *reference) {
    if (!(distance(n, x, reference) <= bound()))
        fail_msg("%s by %s is off by %g", what, solver, distance(n, x, reference));
}

static void prop_fp64_is_the_oracle(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int num_iter;
    } cases[] = {{"cholesky", 0}, {"chebyshev", 160}, {"chebyshev2", 160},
                 {"cg", 60},      {"cg-jacobi", 60},  {"nesterov", 330}};
    static results own, exact;
    for (int variant = 0; variant < 4; variant++) {
        gka_problem problem;
        const gka_of of = variant % 2 ? GKA_OF_X : GKA_OF_O;
        made(&problem, variant >= 2, variant >= 2 ? GKA_GATE_RELEASED : GKA_GATE_SLOW, 0.02);
        exactly(&problem, of, &exact);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            const gka_layer_options options = options_of("fp64", cases[i].name, cases[i].num_iter);
            const char *const s = cases[i].name;
            compute(&problem, of, &options, &own);
            near("x", s, T * H * D, own.x, exact.x);
            near("f", s, T * H, own.fro, exact.fro);
            near("lambda", s, T * H, own.lambda, exact.lambda);
            near("o", s, T * H * V, own.o, exact.o);
            near("h_final", s, H * D * D, own.h_final, exact.h_final);
            near("u_final", s, H * D * V, own.u_final, exact.u_final);
            near("p", s, T * H * D, own.p, exact.p);
            near("dq", s, T * H * D, own.dq, exact.dq);
            near("dk", s, T * G * D, own.dk, exact.dk);
            near("dg", s, T * H, own.dg, exact.dg);
            if (variant >= 2)
                near("dh0", s, H * D * D, own.dh0, exact.dh0);
            if (of == GKA_OF_X)
                continue;
            near("dv", s, T * G * V, own.dv, exact.dv);
            near("dalpha", s, T * H, own.dalpha, exact.dalpha);
            if (variant >= 2)
                near("du0", s, H * D * V, own.du0, exact.du0);
        }
        gka_problem_free(&problem);
    }
}

/* ---- derivatives of what is computed ------------------------------------------------------- */

/* A problem whose every tensor is binary64 and ours to move. */
typedef struct movable {
    gka_problem problem;
    double q[T * H * D], k[T * G * D], v[T * G * V], alpha[T * H], g[T * H], dout[T * H * V];
} movable;

static void thaw(movable *m, double ridge) {
    gka_problem problem;
    made(&problem, false, GKA_GATE_RELEASED, ridge);
    for (int t = 0; t < T; t++) {
        for (int h = 0; h < H; h++) {
            gka_problem_q(&problem, 0, t, h, m->q + (t * H + h) * D);
            gka_problem_dout(&problem, 0, t, h, m->dout + (t * H + h) * V);
            m->alpha[t * H + h] = gka_problem_alpha(&problem, 0, t, h);
            m->g[t * H + h] = gka_problem_g(&problem, 0, t, h);
        }
        gka_problem_k(&problem, 0, t, 0, m->k + t * D);
        gka_problem_v(&problem, 0, t, 0, m->v + t * V);
    }
    m->problem = problem;
    m->problem.owned = NULL;
    gka_problem_free(&problem);
    m->problem.q = (gka_view){m->q, GKA_F64, 4, {1, T, H, D, 1}, {T * H * D, H * D, D, 1, 0}};
    m->problem.k = (gka_view){m->k, GKA_F64, 4, {1, T, G, D, 1}, {T * G * D, G * D, D, 1, 0}};
    m->problem.v = (gka_view){m->v, GKA_F64, 4, {1, T, G, V, 1}, {T * G * V, G * V, V, 1, 0}};
    m->problem.alpha = (gka_view){m->alpha, GKA_F64, 3, {1, T, H, 1, 1}, {T * H, H, 1, 0, 0}};
    m->problem.g = (gka_view){m->g, GKA_F64, 3, {1, T, H, 1, 1}, {T * H, H, 1, 0, 0}};
    m->problem.dout = (gka_view){m->dout, GKA_F64, 4, {1, T, H, V, 1}, {T * H * V, H * V, V, 1, 0}};
    m->problem.dx = (gka_view){0};
}

/* array += e direction; returns <gradient, direction>, directions from a stream of their own */
static double move(double *array, int64_t n, double e, uint64_t seed, const double *gradient) {
    stream s = {seed, 0};
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const double d = next_uniform(&s) - 0.5;
        array[i] += e * d;
        if (gradient != NULL)
            sum += d * gradient[i];
    }
    return sum;
}

static double move_all(movable *m, double e, const results *r) {
    double sum = move(m->q, T * H * D, e, 1, r ? r->dq : NULL);
    sum += move(m->k, T * G * D, e, 2, r ? r->dk : NULL);
    sum += move(m->v, T * G * V, e, 3, r ? r->dv : NULL);
    sum += move(m->alpha, T * H, e, 4, r ? r->dalpha : NULL);
    return sum + move(m->g, T * H, e, 5, r ? r->dg : NULL);
}

/* <dout, o>, and its size sum |dout o| */
static double loss(const movable *m, const gka_layer_options *options, double *size) {
    static results r;
    gka_outputs out = {.o = r.o};
    double sum = 0;
    *size = 0;
    assert_int_equal(gka_layer_forward(&m->problem, options, &out, NULL, NULL), GKA_OK);
    for (int i = 0; i < T * H * V; i++) {
        sum += m->dout[i] * r.o[i];
        *size += fabs(m->dout[i] * r.o[i]);
    }
    return sum;
}

/* The gradient along a direction against Richardson's extrapolation of central differences with
 * steps h and 2h: truncation h^4, rounding u/h. At h = 2^-12 both lie below 2^-38, times the
 * fifth derivative's growth, (2 kappa)^5 at most of the loss's size. */
static void prop_gradients_are_derivatives(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int num_iter;
        bool through, reversible;
    } cases[] = {{"chebyshev", 6, true, false}, {"chebyshev", 6, true, true},
                 {"cg", 5, true, false},        {"cg-guarded", 5, true, false},
                 {"cg-jacobi", 4, true, false}, {"chebyshev-converged", 5, true, false},
                 {"cholesky", 0, false, false}, {"kalman", 0, false, false},
                 {"kalman-ud", 0, false, false}};
    static movable m;
    static results r;
    const double h = 0x1p-12;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        gka_layer_options options = options_of("fp64", cases[i].name, cases[i].num_iter);
        options.through = cases[i].through;
        options.reversible = cases[i].reversible;
        thaw(&m, 1.0); /* a = 1: kappa <= 2 */
        for (int j = 0; j < T * H; j++)
            m.g[j] -= 0.01; /* stays below 0 */
        compute(&m.problem, GKA_OF_O, &options, &r);
        const double claimed = move_all(&m, 0, &r);
        double value[4], size = 0, slope;
        static const int steps[] = {1, -1, 2, -2};
        for (int j = 0; j < 4; j++) {
            (void)move_all(&m, steps[j] * h, NULL);
            value[j] = loss(&m, &options, &size);
            (void)move_all(&m, -steps[j] * h, NULL);
        }
        slope = (8 * (value[0] - value[1]) - (value[2] - value[3])) / (12 * h);
        if (!(fabs(slope - claimed) <= 0x1p-38 * 1024 * size))
            fail_msg("%s: %.12g, the differences say %.12g", cases[i].name, claimed, slope);
    }
}

/* Converged, the iterations' own derivative is the implicit one. */
static void test_through_converges_to_implicit(void **state) {
    (void)state;
    static results implicit, through;
    gka_problem problem;
    made(&problem, false, GKA_GATE_RELEASED, 0.02);
    gka_layer_options options = options_of("fp64", "chebyshev", 200);
    compute(&problem, GKA_OF_O, &options, &implicit);
    options.through = true;
    compute(&problem, GKA_OF_O, &options, &through);
    near("dk", "chebyshev through", T * G * D, through.dk, implicit.dk);
    near("dg", "chebyshev through", T * H, through.dg, implicit.dg);
    options = options_of("fp64", "chebyshev", 8);
    options.through = true;
    compute(&problem, GKA_OF_O, &options, &through);
    assert_true(distance(T * G * D, through.dk, implicit.dk) > 1e-3);
    gka_problem_free(&problem);
}

/* ---- the rest ------------------------------------------------------------------------------ */

static void prop_threads_do_not_matter(void **state) {
    (void)state;
    static const char *const arithmetics[] = {"bf16", "bf16/stochastic", "fp32", "bf16-mixed/up"};
    static results one, three;
    gka_problem problem;
    const gka_generator generator = {.keys = GKA_KEYS_LOWRANK,
                                     .gate = GKA_GATE_RELEASED,
                                     .B = 1,
                                     .T = T,
                                     .H = H,
                                     .G = H,
                                     .D = D,
                                     .V = V,
                                     .alpha = true,
                                     .cotangents = true,
                                     .dtype = GKA_BF16,
                                     .seed = 6};
    assert_int_equal(gka_problem_generate(&generator, &problem, NULL), GKA_OK);
    for (int i = 0; i < 4; i++) {
        const gka_layer_options options = options_of(arithmetics[i], "chebyshev2", 10);
        gka_layer_report report;
        for (int threads = 1; threads <= 3; threads += 2) {
            results *const r = threads == 1 ? &one : &three;
            static double dk[T * H * D], dv[T * H * V];
            gka_outputs out = layer_of(r);
            memset(r, 0, sizeof *r);
            out.layer.dk = dk; /* one per head here */
            out.layer.dv = dv;
            gka_set_threads(threads);
            assert_int_equal(gka_layer_gradient(&problem, GKA_OF_O, &options, &out, &report, NULL),
                             GKA_OK);
            memcpy(r->kappa, dk, sizeof r->kappa);
        }
        assert_memory_equal(&one, &three, sizeof one);
    }
    gka_set_threads(0);
    gka_problem_free(&problem);
}

/* Each token draws random bits of its own: h0 = 1 and increments of 1/8 of a unit in the last
 * place of bf16 go up now and then, not always or never, and on average by what they are. */
static void test_stochastic_states(void **state) {
    (void)state;
    static movable m;
    static results r;
    double h0[H * D * D];
    thaw(&m, 0.02);
    for (int i = 0; i < H * D * D; i++)
        h0[i] = 1;
    for (int i = 0; i < T * G * D; i++)
        m.k[i] = 0x1p-5;
    m.problem.g = (gka_view){0};
    m.problem.h0 = (gka_view){h0, GKA_F64, 4, {1, H, D, D, 1}, {H * D * D, D * D, D, 1, 0}};
    const gka_layer_options options = options_of("bf16/stochastic", "cg", 1);
    gka_outputs out = {.h_final = r.h_final};
    assert_int_equal(gka_layer_forward(&m.problem, &options, &out, NULL, NULL), GKA_OK);
    double sum = 0;
    int between = 0;
    for (int i = 0; i < H * D * D; i++) {
        const double steps = (r.h_final[i] - 1) * 0x1p7;
        sum += steps;
        between += steps > 0 && steps < T;
    }
    /* binomial: mean T/8, variance (7/64) T per entry; six standard deviations */
    const double entries = H * D * D;
    assert_true(fabs(sum - entries * T / 8) <= 6 * sqrt(entries * T * 7.0 / 64));
    assert_true(between > entries / 2);
}

/* Empty states: no key yet. x = 0, p = 0, o from alpha alone. */
static void test_empty_state(void **state) {
    (void)state;
    static movable m;
    static results r;
    thaw(&m, 0.02);
    memset(m.k, 0, 3 * D * sizeof *m.k);
    gka_layer_report report;
    gka_outputs out = layer_of(&r);
    for (int through = 0; through < 2; through++) {
        gka_layer_options options = options_of("fp32", "chebyshev", 10);
        options.through = through;
        assert_int_equal(gka_layer_gradient(&m.problem, GKA_OF_O, &options, &out, &report, NULL),
                         GKA_OK);
        assert_int_equal(report.empty_states, 3 * H);
        assert_int_equal(report.non_finite, 0);
        for (int i = 0; i < 3 * H * D; i++)
            assert_true(fabs(r.x[i]) <= 0 && fabs(r.p[i]) <= 0);
        for (int i = 0; i < T * G * D; i++)
            assert_true(isfinite(r.dk[i]));
    }
}

static void test_divergence_is_a_result(void **state) {
    (void)state;
    static movable m;
    static results r;
    thaw(&m, 1e-30); /* lambda is lost: a singular H */
    gka_layer_report report;
    gka_outputs out = layer_of(&r);
    const gka_layer_options options = options_of("bf16", "cholesky", 0);
    assert_int_equal(gka_layer_forward(&m.problem, &options, &out, &report, NULL), GKA_OK);
    assert_int_equal(report.solves, T * H);
    assert_true(report.breakdowns > 0);
}

static void test_bad_options(void **state) {
    (void)state;
    static movable m;
    gka_error error = {0};
    gka_outputs out = {0};
    thaw(&m, 0.02);
    gka_layer_options options = options_of("bf16", "nesterov", 5);
    options.through = true;
    assert_int_equal(gka_layer_gradient(&m.problem, GKA_OF_O, &options, &out, NULL, &error),
                     GKA_UNSUPPORTED);
    assert_string_equal(error.text, "nesterov has no adjoint through its iterations");
    options = options_of("bf16", "kalman", 0);
    options.lambda = 0;
    assert_int_equal(gka_layer_forward(&m.problem, &options, &out, NULL, &error), GKA_BAD_ARGUMENT);
    options.lambda = 1;
    options.policy.block = 0;
    options.policy.order = GKA_BLOCKS;
    assert_int_equal(gka_layer_forward(&m.problem, &options, &out, NULL, &error), GKA_BAD_ARGUMENT);
    gka_problem problem;
    made(&problem, true, GKA_GATE_NONE, 0.02);
    options = options_of("bf16", "kalman", 0);
    assert_int_equal(gka_layer_forward(&problem, &options, &out, NULL, &error), GKA_BAD_ARGUMENT);
    gka_problem_free(&problem);
}

static bool never(void *context, double done, double total) {
    (void)context;
    assert_true(done > 0 && done <= total);
    return false;
}

static void test_memory_and_interruption(void **state) {
    (void)state;
    static movable m;
    gka_error error = {0};
    gka_outputs out = {0};
    thaw(&m, 0.02);
    gka_layer_options options = options_of("fp32", "cg", 3);
    const int64_t live = gka_alloc_live();
    gka_alloc_fail_at(0, true);
    assert_int_equal(gka_layer_forward(&m.problem, &options, &out, NULL, &error),
                     GKA_OUT_OF_MEMORY);
    gka_alloc_fail_at(-1, false);
    options.progress.report = never;
    assert_int_equal(gka_layer_forward(&m.problem, &options, &out, NULL, &error), GKA_INTERRUPTED);
    assert_int_equal(gka_alloc_live(), live);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prop_fp64_is_the_oracle),
        cmocka_unit_test(prop_gradients_are_derivatives),
        cmocka_unit_test(test_through_converges_to_implicit),
        cmocka_unit_test(prop_threads_do_not_matter),
        cmocka_unit_test(test_stochastic_states),
        cmocka_unit_test(test_empty_state),
        cmocka_unit_test(test_divergence_is_a_result),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_memory_and_interruption),
    };
    return cmocka_run_group_tests_name("layer", tests, NULL, NULL);
}
