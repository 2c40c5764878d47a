/* solve.c - one suite over all solvers. In binary64 each reaches the oracle; Chebyshev's bound is
 * attained and not exceeded; CG ends after as many steps as there are eigenvalues; x(c q) is
 * c x(q); a tile is its systems; the adjoints are derivatives. */
#include "system.h"

#include <stdlib.h>

static example E;
static _Alignas(64) unsigned char memory[1 << 22];

static gka_solver solver_of(const char *name, int iterations) {
    gka_solver solver;
    assert_true(gka_solver_find(name, &solver));
    solver.num_iter = iterations;
    return solver;
}

static gka_arith arith_of(const char *name) {
    gka_policy policy;
    gka_arith A;
    assert_true(gka_policy_find(name, &policy));
    gka_arith_start(&A, &policy, 1);
    return A;
}

static gka_system last_system(const example *e) {
    return (gka_system){
        .n = 1, .D = e->D, .H = e->H, .lambda = e->lambda + e->T - 1, .f = e->f + e->T - 1};
}

static gka_outcome run(const char *arithmetic, const gka_solver *solver, const gka_system *system,
                       const double *q, double *x) {
    gka_arith A = arith_of(arithmetic);
    gka_outcome outcome;
    assert_true(gka_solve_workspace(solver, system->n, system->D) <= sizeof memory);
    gka_solve(&A, system, solver, q, x, &outcome, NULL, memory);
    return outcome;
}

static const double *last(const example *e, const double *tensor) {
    return tensor + (e->T - 1) * e->D;
}

/* Rounding: r steps, each with a residual off by gamma_(n+4) |A| |x| and an error that reaches x
 * through A^-1 (Greenbaum 1997, theorem 2.2): relative error at most kappa r gamma_(n+4) max_i
 * |x_i| / |x|, and the iterates of every method here stay below 2 |x|. */
static double rounding_bound(const example *e, double unit, int steps) {
    return 2 * e->kappa[e->T - 1] * (steps + 1) * (double)(e->D + 4) * unit;
}

/* T_n(z), z >= 1 */
static double chebyshev_polynomial(int n, double z) {
    double before = 1, now = z;
    if (n == 0)
        return 1;
    for (int i = 1; i < n; i++) {
        const double next = 2 * z * now - before;
        before = now;
        now = next;
    }
    return now;
}

/* ---- the oracle is reached ----------------------------------------------------------------- */

static void prop_fp64_reaches_the_oracle(void **state) {
    (void)state;
    /* iterations after which the method's own rate leaves less than rounding: (sqrt kappa - 1)/
     * (sqrt kappa + 1) = .754 per step for Chebyshev and CG, 1 - 2/sqrt(3 kappa + 1) = .84 for
     * Nesterov, (kappa - 1)/(kappa + 1) = .962 for descent, at kappa = 51 */
    static const struct {
        const char *name;
        int num_iter;
    } cases[] = {
        {"chebyshev", 160}, {"chebyshev-converged", 190}, {"chebyshev2", 160}, {"cg", 100},
        {"cg-jacobi", 100}, {"cg-consistent", 100},       {"gradient", 1100},  {"nesterov", 330},
        {"cholesky", 0},    {"cholesky-refined", 3}};
    static const int64_t tokens[] = {1, 5, 24, 200};
    for (size_t t = 0; t < 4; t++) {
        make(&E, 11 + t, tokens[t], 24, 0.02, 0, t % 2 ? -0.01 : 0);
        const gka_system system = last_system(&E);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            const gka_solver solver = solver_of(cases[i].name, cases[i].num_iter);
            double x[MAX_D];
            const gka_outcome outcome = run("fp64", &solver, &system, last(&E, E.q), x);
            const double error = distance(E.D, x, last(&E, E.x));
            assert_true(outcome.event == GKA_RAN || outcome.event == GKA_STOPPED);
            if (!(error <= rounding_bound(&E, UNIT, cases[i].num_iter)))
                fail_msg("%s, T = %d: error %g", cases[i].name, (int)tokens[t], error);
        }
    }
}

/* The relative stopping rule: |r| <= 1e-3 |q| where it ends, and not one step before. */
static void test_cg_stops_by_its_rule(void **state) {
    (void)state;
    make(&E, 21, 30, 24, 0.02, 0, 0);
    const gka_system system = last_system(&E);
    gka_solver solver = solver_of("cg-stop", 100);
    double x[MAX_D];
    const gka_outcome outcome = run("fp64", &solver, &system, last(&E, E.q), x);
    assert_int_equal(outcome.event, GKA_STOPPED);
    assert_in_range(outcome.step, 2, 40);
    const double *const q = last(&E, E.q);
    const double lambda = E.lambda[E.T - 1], f = E.f[E.T - 1];
    assert_true(gka_measure(E.D, E.H, lambda, f, q, x, NULL).residual <= 1e-3 * (1 + 1e-10));
    solver.tolerance = 0;
    solver.num_iter = outcome.step - 1;
    (void)run("fp64", &solver, &system, q, x);
    assert_true(gka_measure(E.D, E.H, lambda, f, q, x, NULL).residual > 1e-3);
}

/* ---- Chebyshev ----------------------------------------------------------------------------- */

static void prop_two_term_equals_three_term(void **state) {
    (void)state;
    for (uint64_t seed = 30; seed < 34; seed++) {
        make(&E, seed, 10 + (int64_t)(seed - 30) * 40, 24, 0.02, 0, 0);
        const gka_system system = last_system(&E);
        for (int r = 0; r <= 40; r++) {
            const gka_solver three = solver_of("chebyshev", r), two = solver_of("chebyshev2", r);
            double x[MAX_D], y[MAX_D];
            (void)run("fp64", &three, &system, last(&E, E.q), x);
            (void)run("fp64", &two, &system, last(&E, E.q), y);
            assert_true(distance(E.D, x, y) <= 1e-13);
        }
    }
}

/* |q - (H + lambda I) x_r| <= |q| / T_(r+1)(1/rho), with equality when H has rank one; rounding as
 * in rounding_bound, in units of the residual: |A| |x| <= kappa |q|. */
static void prop_chebyshev_bound(void **state) {
    (void)state;
    static const double ridges[] = {0.02, 0.1, 0.005};
    for (int i = 0; i < 3; i++)
        for (int64_t T = 1; T <= 81; T += 16) {
            make(&E, 40 + (uint64_t)i, T, 24, ridges[i], 0, 0);
            const gka_system system = last_system(&E);
            const double lambda = E.lambda[T - 1], f = E.f[T - 1];
            for (int r = 0; r <= 30; r += 3) {
                const gka_solver solver = solver_of("chebyshev", r);
                double x[MAX_D];
                (void)run("fp64", &solver, &system, last(&E, E.q), x);
                const double residual =
                    gka_measure(24, E.H, lambda, f, last(&E, E.q), x, NULL).residual;
                const double bound = 1 / chebyshev_polynomial(r + 1, (f + 2 * lambda) / f);
                const double slack = rounding_bound(&E, UNIT, r);
                if (residual > bound + slack)
                    fail_msg("r = %d: residual %g above %g", r, residual, bound);
                if (T == 1 && fabs(residual - bound) > slack)
                    fail_msg("rank one, r = %d: residual %g is not %g", r, residual, bound);
            }
        }
}

/* The weights of NUMERICS 3 at a = .02: the worst residual after 1, 5, 10, 20, 30 products. */
static void test_chebyshev_table(void **state) {
    (void)state;
    static const struct {
        int r;
        double worst;
    } rows[] = {{1, .860}, {5, .356}, {10, 9.0e-2}, {20, 5.4e-3}, {30, 3.2e-4}};
    make(&E, 45, 1, 24, 0.02, 0, 0);
    const gka_system system = last_system(&E);
    for (int i = 0; i < 5; i++) {
        const gka_solver solver = solver_of("chebyshev", rows[i].r);
        double x[MAX_D];
        (void)run("fp64", &solver, &system, E.q, x);
        const double residual = gka_measure(24, E.H, E.lambda[0], E.f[0], E.q, x, NULL).residual;
        /* printed to two or three digits */
        assert_true(fabs(residual - rows[i].worst) <= 0.02 * rows[i].worst);
    }
}

/* On a rank-one H, whose eigenvalues are mu and L: descent's residual after r products is
 * ((kappa - 1)/(kappa + 1))^(r+1). Nesterov's recurrence has the double root z = 1 - 2/s at mu, s =
 * sqrt(3 kappa + 1), so with q in that eigenspace its residual is (1 + 2 n/s) z^n, n = r + 1. */
static void test_descent_rates(void **state) {
    (void)state;
    make(&E, 47, 1, 24, 0.02, 0, 0);
    const gka_system system = last_system(&E);
    const double lambda = E.lambda[0], f = E.f[0], kappa = (f + lambda) / lambda;
    double q[MAX_D], x[MAX_D], qk = 0;
    for (int i = 0; i < 24; i++)
        qk += E.q[i] * E.k[i];
    for (int i = 0; i < 24; i++)
        q[i] = E.q[i] - qk * E.k[i];
    const double s = sqrt(3 * kappa + 1);
    for (int r = 0; r <= 60; r += 20) {
        const gka_solver gradient = solver_of("gradient", r), nesterov = solver_of("nesterov", r);
        (void)run("fp64", &gradient, &system, E.q, x);
        const double descent = gka_measure(24, E.H, lambda, f, E.q, x, NULL).residual;
        assert_true(fabs(descent - pow((kappa - 1) / (kappa + 1), r + 1)) <=
                    rounding_bound(&E, UNIT, r));
        (void)run("fp64", &nesterov, &system, q, x);
        const double accelerated = gka_measure(24, E.H, lambda, f, q, x, NULL).residual;
        assert_true(fabs(accelerated - (1 + 2 * (r + 1) / s) * pow(1 - 2 / s, r + 1)) <=
                    rounding_bound(&E, UNIT, r));
    }
}

static void test_given_bounds(void **state) {
    (void)state;
    make(&E, 46, 40, 24, 0.02, 0, 0);
    gka_system system = last_system(&E);
    const double L = system.f[0] + system.lambda[0];
    double x[MAX_D], y[MAX_D];
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = {"chebyshev", "chebyshev2", "nesterov"};
        const gka_solver solver = solver_of(names[i], 30);
        system.mu = system.L = NULL;
        (void)run("fp64", &solver, &system, last(&E, E.q), x);
        system.mu = system.lambda;
        system.L = &L;
        (void)run("fp64", &solver, &system, last(&E, E.q), y);
        assert_true(distance(E.D, x, y) <= rounding_bound(&E, UNIT, 30));
    }
}

/* mu so small beside L that L - mu and L + mu are one number: kappa is infinite, the methods are
 * their limits (rho = 1; beta = 1), and x is finite. */
static void test_no_mu(void **state) {
    (void)state;
    static const char *const names[] = {"chebyshev", "chebyshev-converged", "chebyshev2",
                                        "gradient", "nesterov"};
    make(&E, 52, 40, 24, 0x1p-12, 0, 0);
    const gka_system system = last_system(&E);
    gka_arith A = arith_of("bf16");
    const double f = gka_arith_scalar(&A, *system.f), lambda = *system.lambda;
    assert_int_equal(bits_of(gka_arith_add(&A, gka_arith_mul(&A, 2, lambda), f)), bits_of(f));
    double q[MAX_D], H[MAX_D * MAX_D], x[MAX_D];
    gka_arith_store(&A, E.D, last(&E, E.q), q);
    gka_arith_store(&A, E.D * E.D, E.H, H);
    gka_system rounded = system;
    rounded.H = H;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const gka_solver solver = solver_of(names[i], 30);
        if (run("bf16", &solver, &rounded, q, x).event != GKA_RAN)
            fail_msg("%s is not finite", names[i]);
    }
}

/* ---- conjugate gradients ------------------------------------------------------------------- */

/* Keys along m orthogonal directions of distinct lengths: H + lambda I has m + 1 distinct
 * eigenvalues, and CG ends after as many steps. */
static void prop_cg_terminates(void **state) {
    (void)state;
    for (int64_t m = 1; m <= 6; m++) {
        make(&E, 50, m, 24, 0.02, m, 0);
        const gka_system system = last_system(&E);
        double x[MAX_D];
        gka_solver solver = solver_of("cg", (int)m + 1);
        (void)run("fp64", &solver, &system, last(&E, E.q), x);
        assert_true(distance(E.D, x, last(&E, E.x)) <= rounding_bound(&E, UNIT, (int)m + 1));
        solver.num_iter = (int)m;
        (void)run("fp64", &solver, &system, last(&E, E.q), x);
        assert_true(distance(E.D, x, last(&E, E.x)) > 1e-9);
    }
}

/* Long after convergence nothing turns into 0/0. */
static void test_cg_survives_convergence(void **state) {
    (void)state;
    static const char *const arithmetics[] = {"fp64", "fp32", "bf16", "fp16", "bf16-mixed"};
    make(&E, 51, 2, 24, 0.02, 0, 0);
    const gka_system system = last_system(&E);
    for (int i = 0; i < 5; i++) {
        gka_arith A = arith_of(arithmetics[i]);
        double q[MAX_D], H[MAX_D * MAX_D], x[MAX_D];
        gka_arith_store(&A, E.D, last(&E, E.q), q);
        gka_arith_store(&A, E.D * E.D, E.H, H);
        gka_system rounded = system;
        rounded.H = H;
        const gka_solver solver = solver_of("cg", 400);
        const gka_outcome outcome = run(arithmetics[i], &solver, &rounded, q, x);
        assert_true(outcome.event != GKA_NON_FINITE);
        for (int j = 0; j < E.D; j++)
            assert_true(isfinite(x[j]));
    }
}

/* ---- what goes wrong is reported ----------------------------------------------------------- */

static void test_breakdown_and_non_finite(void **state) {
    (void)state;
    make(&E, 60, 5, 24, 0.02, 0, 0);
    const gka_system system = last_system(&E);
    double x[MAX_D];
    for (int i = 0; i < 24; i++)
        E.H[i * 24 + i] -= 3;
    gka_solver solver = solver_of("cg", 30);
    assert_int_equal(run("fp64", &solver, &system, E.q, x).event, GKA_BREAKDOWN);
    solver = solver_of("cholesky", 0);
    gka_outcome outcome = run("fp64", &solver, &system, E.q, x);
    assert_int_equal(outcome.event, GKA_BREAKDOWN);
    assert_int_equal(outcome.step, 0);
    assert_true(isnan(x[0]));
    solver = solver_of("chebyshev", 2000); /* an eigenvalue far outside [mu, L] */
    outcome = run("fp32", &solver, &system, E.q, x);
    assert_int_equal(outcome.event, GKA_NON_FINITE);
    assert_in_range(outcome.step, 2, 1999);
    E.H[7] = NAN;
    for (const char *const *name = gka_solver_names(); *name != NULL; name++) {
        solver = solver_of(*name, 5);
        const gka_event event = run("fp32", &solver, &system, E.q, x).event;
        assert_true(event == GKA_NON_FINITE || event == GKA_BREAKDOWN);
    }
}

static void test_zero_right_hand_side(void **state) {
    (void)state;
    make(&E, 61, 5, 24, 0.02, 0, 0);
    const gka_system system = last_system(&E);
    const double zero[MAX_D] = {0};
    for (const char *const *name = gka_solver_names(); *name != NULL; name++) {
        const gka_solver solver = solver_of(*name, 5);
        double x[MAX_D];
        const gka_outcome outcome = run("bf16", &solver, &system, zero, x);
        assert_true(outcome.event == GKA_RAN || outcome.event == GKA_STOPPED);
        for (int i = 0; i < 24; i++)
            assert_true(fabs(x[i]) <= 0);
    }
}

/* ---- scale --------------------------------------------------------------------------------- */

/* The number of solvers and arithmetics in which x(c q) differs from c x(q). */
static int scale_breaks(const char *name, double c) {
    static const char *const arithmetics[] = {"fp64",       "fp32",           "bf16",    "tf32",
                                              "bf16-acc32", "bf16-mixed",     "fp32/up", "bf16/odd",
                                              "bf16/fma",   "bf16/stochastic"};
    int broken = 0;
    for (int a = 0; a < 10; a++) {
        gka_arith A = arith_of(arithmetics[a]);
        double q[MAX_D], scaled[MAX_D], H[MAX_D * MAX_D], x[MAX_D], y[MAX_D];
        gka_arith_store(&A, E.D, last(&E, E.q), q);
        gka_arith_store(&A, E.D * E.D, E.H, H);
        for (int i = 0; i < E.D; i++)
            scaled[i] = c * q[i];
        gka_system system = last_system(&E);
        system.H = H;
        const gka_solver solver = solver_of(name, 12);
        (void)run(arithmetics[a], &solver, &system, q, x);
        (void)run(arithmetics[a], &solver, &system, scaled, y);
        for (int i = 0; i < E.D; i++)
            x[i] *= c;
        broken += memcmp(x, y, (size_t)E.D * sizeof *x) != 0;
    }
    return broken;
}

static void prop_scale(void **state) {
    (void)state;
    make(&E, 70, 30, 24, 0.02, 0, 0);
    for (const char *const *name = gka_solver_names(); *name != NULL; name++)
        for (int e = -9; e <= 8; e += 17) {
            const int broken = scale_breaks(*name, ldexp(1, e));
            if (strcmp(*name, "cg-guarded") == 0)
                assert_int_equal(broken, 10); /* the guard 1e-5 is absolute */
            else if (broken != 0)
                fail_msg("%s: x(2^%d q) is not 2^%d x(q) in %d arithmetics", *name, e, e, broken);
        }
}

/* Two coordinates exchanged: with D = 2 every sum has two terms, and addition commutes, so the
 * bits are the same in every deterministic arithmetic that rounds both products. */
static void prop_permutation(void **state) {
    (void)state;
    static const char *const arithmetics[] = {"fp64", "fp32",    "bf16",      "bf16-mixed",
                                              "fp16", "bf16/up", "tf32/zero", "e4m3-acc32"};
    stream s = {80, 0};
    for (int trial = 0; trial < 20; trial++)
        for (const char *const *name = gka_solver_names(); *name != NULL; name++)
            for (int a = 0; a < 8; a++) {
                gka_arith A = arith_of(arithmetics[a]);
                double q[2], k[2], x[2], y[2];
                unit_vector(&s, 2, k);
                unit_vector(&s, 2, q);
                double H[4] = {1 + k[0] * k[0], k[0] * k[1], k[0] * k[1], 1 + k[1] * k[1]};
                gka_arith_store(&A, 4, H, H);
                gka_arith_store(&A, 2, q, q);
                const double exchanged[4] = {H[3], H[1], H[1], H[0]}, p[2] = {q[1], q[0]};
                const double f = 2.3, lambda = 0.25;
                gka_system system = {.n = 1, .D = 2, .H = H, .lambda = &lambda, .f = &f};
                const gka_solver solver = solver_of(*name, 8);
                if (solver.method == GKA_CHOLESKY)
                    continue; /* eliminates in order: its bits depend on it */
                (void)run(arithmetics[a], &solver, &system, q, x);
                system.H = exchanged;
                (void)run(arithmetics[a], &solver, &system, p, y);
                assert_int_equal(bits_of(x[0]), bits_of(y[1]));
                assert_int_equal(bits_of(x[1]), bits_of(y[0]));
            }
}

/* ---- a tile -------------------------------------------------------------------------------- */

enum { ROWS = 3 };

typedef struct tile_of {
    int64_t D;
    double H[ROWS][MAX_D * MAX_D];
} tile_of;

static void apply_tile(void *context, gka_arith *A, const double *X, double *Y) {
    const tile_of *const T = context;
    for (int t = 0; t < ROWS; t++)
        gka_arith_matvec(A, T->D, T->D, T->H[t], X + t * T->D, Y + t * T->D);
}

/* n systems at once are the n systems one by one, bit for bit, though they end at different
 * steps. */
static void prop_tile(void **state) {
    (void)state;
    static tile_of tile;
    tile.D = 24;
    double lambda[ROWS], f[ROWS], q[ROWS * MAX_D], x[ROWS * MAX_D], diagonal[ROWS * MAX_D];
    gka_arith A = arith_of("bf16-mixed");
    for (int t = 0; t < ROWS; t++) {
        make(&E, 90 + (uint64_t)t, 1 + 20 * t, 24, 0.02, 0, 0);
        gka_arith_store(&A, 24 * 24, E.H, tile.H[t]);
        gka_arith_store(&A, 24, last(&E, E.q), q + 24 * t);
        lambda[t] = E.lambda[E.T - 1];
        f[t] = E.f[E.T - 1];
        for (int i = 0; i < 24; i++)
            diagonal[24 * t + i] = tile.H[t][i * 24 + i];
    }
    const gka_system together = {.n = ROWS,
                                 .D = 24,
                                 .apply = apply_tile,
                                 .context = &tile,
                                 .lambda = lambda,
                                 .f = f,
                                 .diagonal = diagonal};
    for (const char *const *name = gka_solver_names(); *name != NULL; name++) {
        const gka_solver solver = solver_of(*name, 25);
        if (solver.method == GKA_CHOLESKY)
            continue;
        gka_outcome outcome[ROWS];
        gka_solve(&A, &together, &solver, q, x, outcome, NULL, memory);
        for (int t = 0; t < ROWS; t++) {
            const gka_system alone = {
                .n = 1, .D = 24, .H = tile.H[t], .lambda = lambda + t, .f = f + t};
            double y[MAX_D];
            const gka_outcome own = run("bf16-mixed", &solver, &alone, q + 24 * t, y);
            assert_memory_equal(y, x + 24 * t, 24 * sizeof *y);
            assert_int_equal(own.event, outcome[t].event);
            assert_int_equal(own.step, outcome[t].step);
        }
    }
}

/* ---- consistent rounding ------------------------------------------------------------------- */

/* H of one system, and how many numbers of the last vector it was given are not bf16. */
typedef struct witness {
    int64_t D;
    const double *H;
    int unrounded;
} witness;

static void apply_witness(void *context, gka_arith *A, const double *X, double *Y) {
    witness *const w = context;
    const gka_format *const bf16 = gka_format_find("bf16");
    for (int64_t i = 0; i < w->D; i++)
        w->unrounded += bits_of(gka_round(bf16, GKA_NEAREST_EVEN, X[i], 0)) != bits_of(X[i]);
    gka_arith_matvec(A, w->D, w->D, w->H, X, Y);
}

/* The consistent forms hand the product numbers that rounding to operand format leaves alone, so
 * the same numbers enter the product and the update; the others do not. */
static void test_consistent_rounding(void **state) {
    (void)state;
    make(&E, 95, 40, 24, 0.02, 0, 0);
    static const struct {
        const char *name;
        bool consistent;
    } cases[] = {
        {"chebyshev2", true}, {"cg-consistent", true}, {"chebyshev", false}, {"cg", false}};
    for (int i = 0; i < 4; i++) {
        witness w = {24, E.H, 0};
        gka_system system = last_system(&E);
        system.H = NULL;
        system.apply = apply_witness;
        system.context = &w;
        gka_arith A = arith_of("bf16-mixed");
        double q[MAX_D], x[MAX_D];
        gka_arith_store(&A, 24, last(&E, E.q), q);
        const gka_solver solver = solver_of(cases[i].name, 20);
        gka_solve(&A, &system, &solver, q, x, NULL, NULL, memory);
        assert_int_equal(w.unrounded == 0, cases[i].consistent);
    }
}

/* ---- traces -------------------------------------------------------------------------------- */

/* By hand: H = diag(3, 1), lambda = 1/2, f = sqrt 10, q = (1, 2), x = (1, 1), so that
 * q - (H + lambda I) x = (-5/2, 1/2). */
static void test_measure(void **state) {
    (void)state;
    const double four[4] = {3, 0, 0, 1}, q[2] = {1, 2}, x[2] = {1, 1};
    const gka_quality m = gka_measure(2, four, 0.5, sqrt(10), q, x, q);
    const double r = sqrt(6.5);
    assert_true(fabs(m.residual - r / sqrt(5)) <= 8 * UNIT);
    assert_true(fabs(m.eta - r / ((sqrt(10) + 0.5) * sqrt(2) + sqrt(5))) <= 8 * UNIT);
    assert_true(fabs(m.error - 1 / sqrt(5)) <= 8 * UNIT);
    assert_true(isnan(gka_measure(2, four, 0.5, sqrt(10), q, x, NULL).error));
}

static void test_trace(void **state) {
    (void)state;
    make(&E, 100, 30, 24, 0.02, 0, 0);
    const gka_system system = last_system(&E);
    const gka_solver solver = solver_of("cg", 10);
    gka_trace_point points[8];
    gka_trace trace = {.D = 24,
                       .H = E.H,
                       .lambda = system.lambda[0],
                       .f = system.f[0],
                       .q = last(&E, E.q),
                       .exact = last(&E, E.x),
                       .points = points,
                       .capacity = 8};
    const gka_observer observer = {gka_trace_observe, &trace};
    gka_arith A = arith_of("fp64");
    double x[MAX_D];
    gka_solve(&A, &system, &solver, last(&E, E.q), x, NULL, &observer, memory);
    assert_int_equal(trace.count, 8);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(points[i].step, i);
        const gka_quality q = points[i].quality;
        /* eta's denominator is at most (f + lambda + L) |x| and at least |q| */
        assert_true(q.eta <= q.residual && q.eta > 0);
        assert_true(i == 0 || q.error < points[i - 1].quality.error);
    }
    assert_true(fabs(points[0].quality.residual - 1) <= 4 * UNIT);
    assert_true(fabs(points[0].quality.error - 1) <= 4 * UNIT);
}

/* M = W diag(d) W^T, W a product of reflections: eigenvalues to n u |M| (Weyl) and bisection's
 * 2^-50. */
static void prop_extreme_eigenvalues(void **state) {
    (void)state;
    stream s = {110, 0};
    double work[MAX_D * (MAX_D + 4)];
    for (int64_t D = 1; D <= MAX_D; D++) {
        double M[MAX_D * MAX_D] = {0}, low = INFINITY, high = -INFINITY;
        for (int64_t i = 0; i < D; i++) {
            const double d = ldexp(next_uniform(&s) - 0.3, (int)(next_bits(&s) % 8));
            M[i * D + i] = d;
            low = fmin(low, d);
            high = fmax(high, d);
        }
        for (int reflection = 0; reflection < 3; reflection++) {
            double w[MAX_D], Mw[MAX_D], ww = 0;
            unit_vector(&s, D, w);
            for (int64_t i = 0; i < D; i++) {
                Mw[i] = 0;
                for (int64_t j = 0; j < D; j++)
                    Mw[i] += M[i * D + j] * w[j];
                ww += w[i] * Mw[i];
            }
            for (int64_t i = 0; i < D; i++)
                for (int64_t j = 0; j < D; j++)
                    M[i * D + j] += 4 * ww * w[i] * w[j] - 2 * (w[i] * Mw[j] + Mw[i] * w[j]);
        }
        double smallest, largest;
        gka_extreme_eigenvalues(D, M, &smallest, &largest, work);
        const double size = fmax(fabs(low), fabs(high));
        const double bound = (20 * (double)D * UNIT + 0x1p-50) * size;
        assert_true(fabs(smallest - low) <= bound && fabs(largest - high) <= bound);
        assert_true(gka_symmetry_defect(D, M) <= 20 * UNIT);
    }
    const double skew[4] = {0, 1, -1, 0};
    assert_true(fabs(gka_symmetry_defect(2, skew) - 2) <= 4 * UNIT);
    const double nan[1] = {NAN};
    double smallest, largest;
    gka_extreme_eigenvalues(1, nan, &smallest, &largest, work);
    assert_true(isnan(smallest) && isnan(largest));
}

/* ---- adjoints ------------------------------------------------------------------------------ */

typedef struct cotangents {
    double dq[MAX_D], dH[MAX_D * MAX_D], dlambda, df;
} cotangents;

static void adjoint(const char *arithmetic, const gka_solver *solver, const gka_system *system,
                    const double *q, const double *dx, bool reversible, cotangents *out) {
    gka_arith A = arith_of(arithmetic);
    assert_true(gka_solve_adjoint_workspace(solver, system->D) <= sizeof memory);
    memset(out, 0, sizeof *out);
    gka_solve_adjoint(&A, system, solver, q, dx, reversible, out->dq, out->dH, &out->dlambda,
                      &out->df, memory);
}

/* dx . x at (q, H, lambda, f) + e (direction) */
static double moved(const gka_solver *solver, const double *dx, double e, const double *q_move,
                    const double *H_move, double lambda_move, double f_move) {
    double q[MAX_D], H[MAX_D * MAX_D], x[MAX_D], sum = 0;
    const double lambda = E.lambda[E.T - 1] + e * lambda_move, f = E.f[E.T - 1] + e * f_move;
    for (int i = 0; i < E.D; i++)
        q[i] = last(&E, E.q)[i] + e * q_move[i];
    for (int i = 0; i < E.D * E.D; i++)
        H[i] = E.H[i] + e * H_move[i];
    const gka_system system = {.n = 1, .D = E.D, .H = H, .lambda = &lambda, .f = &f};
    (void)run("fp64", solver, &system, q, x);
    for (int i = 0; i < E.D; i++)
        sum += dx[i] * x[i];
    return sum;
}

/* <cotangents, direction> is the derivative along the direction: central difference with step h,
 * off by h^2 (third derivative, a few kappa^3) and rounding / h. h = 2^-17 balances the two at
 * about 2^-34 kappa^3; the derivative itself is of the order of kappa. */
static void prop_adjoint_is_the_derivative(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int num_iter;
    } cases[] = {{"chebyshev", 12},          {"chebyshev", 0},  {"chebyshev", 1},
                 {"chebyshev-converged", 9}, {"cg", 7},         {"cg-guarded", 7},
                 {"cg-jacobi", 6},           {"cg-stop", 30},   {"cg", 1},
                 {"chebyshev2", 12},         {"chebyshev2", 0}, {"chebyshev2", 1}};
    const double h = 0x1p-17;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (uint64_t trial = 0; trial < 4; trial++) {
            const gka_solver solver = solver_of(cases[i].name, cases[i].num_iter);
            make(&E, 120 + trial, 10, 12, 0.3, 0, 0); /* kappa <= 4.3 */
            stream s = {130 + trial, 0};
            double q_move[MAX_D], H_move[MAX_D * MAX_D], dx[MAX_D];
            unit_vector(&s, E.D, q_move);
            unit_vector(&s, E.D, dx);
            for (int a = 0; a < E.D; a++) /* symmetric, as H is */
                for (int b = 0; b <= a; b++)
                    H_move[a * E.D + b] = H_move[b * E.D + a] = 0.1 * normal(&s);
            const double lambda_move = normal(&s), f_move = normal(&s);
            const gka_system system = last_system(&E);
            cotangents c;
            adjoint("fp64", &solver, &system, last(&E, E.q), dx, false, &c);
            double claimed = c.dlambda * lambda_move + c.df * f_move;
            for (int j = 0; j < E.D; j++)
                claimed += c.dq[j] * q_move[j];
            for (int j = 0; j < E.D * E.D; j++)
                claimed += c.dH[j] * H_move[j];
            const double difference =
                (moved(&solver, dx, h, q_move, H_move, lambda_move, f_move) -
                 moved(&solver, dx, -h, q_move, H_move, lambda_move, f_move)) /
                (2 * h);
            const double kappa = E.kappa[E.T - 1];
            if (!(fabs(claimed - difference) <= 0x1p-34 * 16 * kappa * kappa * kappa * kappa))
                fail_msg("%s, r = %d: %.12g, the difference quotient says %.12g", cases[i].name,
                         cases[i].num_iter, claimed, difference);
        }
}

/* One polynomial, two forms: the same function of q, H, lambda and f, hence the same derivative, to
 * the rounding of r steps and as many back. */
static void prop_two_term_has_the_same_adjoint(void **state) {
    (void)state;
    for (uint64_t trial = 0; trial < 4; trial++) {
        make(&E, 160 + trial, 30, 24, 0.02, 0, 0);
        const gka_system system = last_system(&E);
        for (int r = 0; r <= 30; r += 5) {
            const gka_solver three = solver_of("chebyshev", r), two = solver_of("chebyshev2", r);
            cotangents a, b;
            adjoint("fp64", &three, &system, last(&E, E.q), last(&E, E.v), false, &a);
            adjoint("fp64", &two, &system, last(&E, E.q), last(&E, E.v), false, &b);
            const double bound = rounding_bound(&E, UNIT, 2 * r);
            assert_true(distance(24, b.dq, a.dq) <= bound);
            assert_true(r == 0 || distance(24 * 24, b.dH, a.dH) <= bound);
            assert_true(distance(1, &b.dlambda, &a.dlambda) <= bound);
            assert_true(fabs(b.df - a.df) <= bound * fabs(a.dlambda)); /* df falls to 0 */
        }
    }
}

/* An iterate recomputed i steps backwards has its rounding magnified by T_i(1/rho), as a step
 * forwards contracts it; but the cotangent that weighs it has itself been contracted by as much on
 * its way there. So reversal costs no more than storing: two passes of rounding, and nothing of
 * T_31(1.2) = 1.2e8 or T_31(1.04) = 3e3 at r = 30. */
static void test_reversible_backward(void **state) {
    (void)state;
    static const char *const forms[] = {"chebyshev", "chebyshev2"};
    static const double ridges[] = {0.02, 0.1};
    for (int form = 0; form < 2; form++)
        for (int a = 0; a < 2; a++) {
            make(&E, 140, 30, 24, ridges[a], 0, 0);
            const gka_system system = last_system(&E);
            for (int r = 0; r <= 30; r += 6) {
                const gka_solver solver = solver_of(forms[form], r);
                cotangents stored, reversed;
                adjoint("fp64", &solver, &system, last(&E, E.q), last(&E, E.v), false, &stored);
                adjoint("fp64", &solver, &system, last(&E, E.q), last(&E, E.v), true, &reversed);
                const double bound = rounding_bound(&E, UNIT, 2 * r);
                assert_true(r == 0 || distance(24 * 24, reversed.dH, stored.dH) <= bound);
                assert_true(distance(24, reversed.dq, stored.dq) <= bound);
                assert_true(fabs(reversed.df - stored.df) <= bound * fabs(stored.dlambda));
                if (r == 30)
                    assert_memory_not_equal(&reversed, &stored, sizeof stored);
            }
        }
}

/* For fixed bounds x = p_r(H) q, so dq through the iterations is p_r(H) dx: the implicit one. */
static void test_chebyshev_dq_is_implicit(void **state) {
    (void)state;
    make(&E, 150, 30, 24, 0.02, 0, 0);
    const gka_system system = last_system(&E);
    const gka_solver chebyshev = solver_of("chebyshev", 20), cg = solver_of("cg", 8);
    cotangents c;
    double p[MAX_D];
    adjoint("fp64", &chebyshev, &system, last(&E, E.q), last(&E, E.v), false, &c);
    (void)run("fp64", &chebyshev, &system, last(&E, E.v), p);
    assert_true(distance(24, c.dq, p) <= rounding_bound(&E, UNIT, 20));
    adjoint("fp64", &cg, &system, last(&E, E.q), last(&E, E.v), false, &c);
    (void)run("fp64", &cg, &system, last(&E, E.v), p);
    assert_true(distance(24, c.dq, p) > 1e-6); /* CG's polynomial depends on q */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prop_fp64_reaches_the_oracle),
        cmocka_unit_test(test_cg_stops_by_its_rule),
        cmocka_unit_test(prop_two_term_equals_three_term),
        cmocka_unit_test(prop_chebyshev_bound),
        cmocka_unit_test(test_chebyshev_table),
        cmocka_unit_test(test_descent_rates),
        cmocka_unit_test(test_given_bounds),
        cmocka_unit_test(test_no_mu),
        cmocka_unit_test(prop_cg_terminates),
        cmocka_unit_test(test_cg_survives_convergence),
        cmocka_unit_test(test_breakdown_and_non_finite),
        cmocka_unit_test(test_zero_right_hand_side),
        cmocka_unit_test(prop_scale),
        cmocka_unit_test(prop_permutation),
        cmocka_unit_test(prop_tile),
        cmocka_unit_test(test_consistent_rounding),
        cmocka_unit_test(test_measure),
        cmocka_unit_test(test_trace),
        cmocka_unit_test(prop_extreme_eigenvalues),
        cmocka_unit_test(prop_adjoint_is_the_derivative),
        cmocka_unit_test(prop_two_term_has_the_same_adjoint),
        cmocka_unit_test(test_reversible_backward),
        cmocka_unit_test(test_chebyshev_dq_is_implicit),
    };
    return cmocka_run_group_tests_name("solve", tests, NULL, NULL);
}
