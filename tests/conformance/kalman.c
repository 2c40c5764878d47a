/* kalman.c - the seven Kalman forms: with the oracle and with each other in binary64 as far as
 * theory lets them, and the laws of NUMERICS 7 about what forgetting does to Phi. */
#include "system.h"

static example E;
static _Alignas(64) unsigned char memory[1 << 20];

static gka_arith arith_of(const char *name) {
    gka_policy policy;
    gka_arith A;
    assert_true(gka_policy_find(name, &policy));
    gka_arith_start(&A, &policy, 1);
    return A;
}

/* All tokens of E through a filter. */
static void filter(gka_arith *A, gka_kalman *K, gka_kalman_form form, double lambda) {
    assert_true(gka_kalman_workspace(form, E.D, E.D) <= sizeof memory);
    gka_kalman_start(A, K, form, E.D, E.D, lambda, memory);
    for (int64_t t = 0; t < E.T; t++)
        gka_kalman_step(A, K, E.k + t * E.D, E.v + t * E.D, E.gated ? exp(E.g[t]) : 1);
}

static void test_names(void **state) {
    (void)state;
    for (int i = 0; i < GKA_KALMAN_FORM_COUNT; i++)
        assert_int_equal(gka_kalman_find(gka_kalman_name((gka_kalman_form)i)), i);
    assert_int_equal(gka_kalman_find("kalmann"), -1);
}

/* With lambda_0 = lambda_T / prod gamma the filter's ridge at token T is the layer's. Each of T
 * steps rounds Phi, |Phi| <= 1/lambda_T, to gamma_(D+4), and division by gamma magnifies what was
 * there by at most 1/prod gamma: relative error at most T gamma_(D+4) kappa / prod gamma. The
 * prediction likewise, against |U| |x|. */
static void prop_forms_agree_with_the_oracle(void **state) {
    (void)state;
    static const double gates[] = {0, -0.01};
    for (int gate = 0; gate < 2; gate++)
        for (int64_t T = 1; T <= 129; T += 32) {
            make(&E, 200, T, 16, 0.02, 0, gates[gate]);
            const double product = exp(gates[gate] * (double)T);
            const double *const q = E.q + (T - 1) * E.D, *const truth = E.x + (T - 1) * E.D;
            const double kappa = 1.02 / 0.02; /* the most it can be */
            const double bound = (double)T * (double)(E.D + 4) * UNIT * kappa / product;
            double size_U = 0, size_x = 0;
            for (int i = 0; i < E.D * E.D; i++)
                size_U += E.U[i] * E.U[i];
            for (int i = 0; i < E.D; i++)
                size_x += truth[i] * truth[i];
            for (int form = 0; form < GKA_KALMAN_FORM_COUNT; form++) {
                gka_arith A = arith_of("fp64");
                gka_kalman K;
                double x[MAX_D], o[MAX_D], phi[MAX_D * MAX_D];
                filter(&A, &K, (gka_kalman_form)form, E.lambda[T - 1] / product);
                assert_int_equal(gka_kalman_solve(&A, &K, q, x), GKA_RAN);
                if (!(distance(E.D, x, truth) <= bound))
                    fail_msg("%s, T = %d: error %g, bound %g",
                             gka_kalman_name((gka_kalman_form)form), (int)T,
                             distance(E.D, x, truth), bound);
                assert_int_equal(gka_kalman_predict(&A, &K, q, o), GKA_RAN);
                gka_kalman_phi(&K, phi);
                double off = 0;
                for (int j = 0; j < E.D; j++) {
                    double expected = 0, own = 0;
                    for (int i = 0; i < E.D; i++) {
                        expected += E.U[i * E.D + j] * truth[i];
                        own += phi[j * E.D + i] * q[i];
                    }
                    off += (o[j] - expected) * (o[j] - expected);
                    assert_true(fabs(own - truth[j]) <= 2 * bound * sqrt(size_x));
                }
                assert_true(sqrt(off) <= bound * sqrt(size_U * size_x));
            }
        }
}

/* ---- forgetting ---------------------------------------------------------------------------- */

enum { SMALL = 8 };

/* A filter beside H + lambda I itself, accumulated in binary64. */
typedef struct race {
    gka_arith A;
    gka_kalman K;
    stream keys;
    double H[SMALL * SMALL], gamma;
} race;

static void start_race(race *R, const char *arithmetic, gka_kalman_form form, double gamma) {
    memset(R, 0, sizeof *R);
    R->A = arith_of(arithmetic);
    R->keys = (stream){300, 0};
    R->gamma = gamma;
    for (int i = 0; i < SMALL; i++)
        R->H[i * SMALL + i] = 1;
    gka_kalman_start(&R->A, &R->K, form, SMALL, 0, 1, memory);
}

static void advance(race *R, int steps) {
    const double gamma = gka_round(&R->A.policy.accumulator, GKA_NEAREST_EVEN, R->gamma, 0);
    for (int t = 0; t < steps; t++) {
        double k[SMALL];
        unit_vector(&R->keys, SMALL, k);
        gka_arith_store(&R->A, SMALL, k, k);
        for (int i = 0; i < SMALL; i++)
            for (int j = 0; j < SMALL; j++)
                R->H[i * SMALL + j] = gamma * R->H[i * SMALL + j] + k[i] * k[j];
        gka_kalman_step(&R->A, &R->K, k, NULL, R->gamma);
    }
}

static double race_error(race *R) {
    double q[SMALL], x[SMALL], truth[SMALL];
    stream s = {301, 0};
    unit_vector(&s, SMALL, q);
    gka_arith_store(&R->A, SMALL, q, q);
    gka_solver cholesky;
    assert_true(gka_solver_find("cholesky", &cholesky));
    const double none = 0;
    const gka_system system = {.n = 1, .D = SMALL, .H = R->H, .lambda = &none, .f = &none};
    static _Alignas(64) unsigned char work[1 << 14];
    gka_arith exact = arith_of("fp64");
    gka_solve(&exact, &system, &cholesky, q, truth, NULL, NULL, work);
    if (gka_kalman_solve(&R->A, &R->K, q, x) != GKA_RAN)
        return INFINITY;
    return distance(SMALL, x, truth);
}

static double defect(const race *R) {
    double phi[SMALL * SMALL];
    gka_kalman_phi(&R->K, phi);
    return gka_symmetry_defect(SMALL, phi);
}

/* NUMERICS 7: in the covariance form the antisymmetric part of Phi grows as gamma^-t in every
 * precision. The form is good while u gamma^-t < tol, that is t <= ln(tol/u)/(-ln gamma), and lost
 * once u gamma^-t has passed 1 by as much. tol = 1e-2 covers the constant in front of u (kappa and
 * some steps' worth of rounding, 2^6 here). */
static void prop_covariance_form_lasts_logarithmically(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double unit;
    } cases[] = {{"fp64", 0x1p-53}, {"fp32", 0x1p-24}};
    const double gamma = 0.98, tol = 1e-2;
    for (int i = 0; i < 2; i++) {
        race R;
        const int good = (int)(log(tol / cases[i].unit) / -log(gamma));
        const int lost = (int)(log(1 / (tol * cases[i].unit)) / -log(gamma));
        start_race(&R, cases[i].name, GKA_KALMAN_COVARIANCE, gamma);
        advance(&R, good / 2);
        const double half = defect(&R);
        advance(&R, good - good / 2);
        assert_true(race_error(&R) <= 64 * tol);
        const double whole = defect(&R);
        const double slope = log(whole / half) / (good - good / 2);
        /* the log of the ratio of two such defects scatters by about 1 */
        assert_true(fabs(slope + log(gamma)) <= 2.0 / (good - good / 2));
        advance(&R, lost - good);
        assert_false(race_error(&R) <= 1);
    }
}

/* The classical remedies contract instead: at the end of the same run, and far beyond, their error
 * is that of a well conditioned problem: each step's gamma_(D+4) kappa is forgotten at the rate
 * gamma, so 1/(1 - gamma) of them add up. */
static void prop_remedies_last(void **state) {
    (void)state;
    static const gka_kalman_form forms[] = {GKA_KALMAN_SYMMETRISED, GKA_KALMAN_JOSEPH,
                                            GKA_KALMAN_POTTER,      GKA_KALMAN_UD,
                                            GKA_KALMAN_INFORMATION, GKA_KALMAN_OUTER};
    const double gamma = 0.98, kappa = 16; /* of H: 50 random keys in 8 dimensions */
    for (int i = 0; i < 6; i++) {
        race R;
        start_race(&R, "fp32", forms[i], gamma);
        advance(&R, 4000);
        const double bound = 1 / (1 - gamma) * (SMALL + 4) * 0x1p-24 * kappa;
        if (!(race_error(&R) <= bound))
            fail_msg("%s: error %g, bound %g", gka_kalman_name(forms[i]), race_error(&R), bound);
    }
}

/* Without forgetting nothing magnifies: T steps, each at most u of the first, largest Phi; the
 * smallest is 1/T of it. */
static void test_no_growth_without_forgetting(void **state) {
    (void)state;
    race R;
    start_race(&R, "fp32", GKA_KALMAN_COVARIANCE, 1);
    advance(&R, 4000);
    assert_true(defect(&R) <= 4000 * (SMALL + 4) * 0x1p-24);
    assert_true(defect(&R) > 0);
}

/* Symmetrised, it is symmetric; as an outer product of one vector with itself, it stays so without
 * being made so, for products commute; factored, it is positive semidefinite in any arithmetic, up
 * to the binary64 product that shows it. */
static void prop_structure_is_kept(void **state) {
    (void)state;
    static const char *const arithmetics[] = {"bf16", "fp16", "bf16-acc32", "fp32"};
    for (int a = 0; a < 4; a++) {
        race R;
        double phi[SMALL * SMALL], smallest, largest, work[SMALL * (SMALL + 4)];
        start_race(&R, arithmetics[a], GKA_KALMAN_SYMMETRISED, 0.98);
        advance(&R, 300);
        assert_true(fabs(defect(&R)) <= 0);
        start_race(&R, arithmetics[a], GKA_KALMAN_OUTER, 0.98);
        advance(&R, 300);
        assert_true(fabs(defect(&R)) <= 0);
        assert_true(R.K.Phi[1] > 0 || R.K.Phi[1] < 0); /* and is no diagonal */
        for (int form = GKA_KALMAN_POTTER; form <= GKA_KALMAN_UD; form++) {
            start_race(&R, arithmetics[a], (gka_kalman_form)form, 0.98);
            advance(&R, 300);
            gka_kalman_phi(&R.K, phi);
            gka_extreme_eigenvalues(SMALL, phi, &smallest, &largest, work);
            assert_true(smallest >= -(SMALL + 4) * 20 * UNIT * largest && largest > 0);
        }
    }
}

/* An unexcited direction winds up as gamma^-t: keys in the first half of the coordinates. */
static void test_windup(void **state) {
    (void)state;
    race R;
    start_race(&R, "fp64", GKA_KALMAN_UD, 0.98);
    for (int t = 0; t < 200; t++) {
        double k[SMALL] = {0};
        unit_vector(&R.keys, SMALL / 2, k);
        gka_kalman_step(&R.A, &R.K, k, NULL, 0.98);
    }
    double phi[SMALL * SMALL];
    gka_kalman_phi(&R.K, phi);
    const double expected = pow(0.98, -200);
    for (int i = SMALL / 2; i < SMALL; i++)
        assert_true(fabs(phi[i * SMALL + i] - expected) <= 400 * UNIT * expected);
    for (int i = 0; i < SMALL / 2; i++)
        assert_true(phi[i * SMALL + i] < 2);
}

static void test_gate_shut(void **state) {
    (void)state;
    race R;
    double x[SMALL], q[SMALL] = {1};
    start_race(&R, "fp32", GKA_KALMAN_COVARIANCE, 0);
    advance(&R, 2); /* Phi/0: the covariance of total ignorance has no number */
    assert_int_equal(gka_kalman_solve(&R.A, &R.K, q, x), GKA_NON_FINITE);
    start_race(&R, "fp32", GKA_KALMAN_INFORMATION, 0);
    advance(&R, 2); /* one key, no ridge left */
    assert_int_equal(gka_kalman_solve(&R.A, &R.K, q, x), GKA_BREAKDOWN);
    assert_true(isnan(x[0]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(prop_forms_agree_with_the_oracle),
        cmocka_unit_test(prop_covariance_form_lasts_logarithmically),
        cmocka_unit_test(prop_remedies_last),
        cmocka_unit_test(test_no_growth_without_forgetting),
        cmocka_unit_test(prop_structure_is_kept),
        cmocka_unit_test(test_windup),
        cmocka_unit_test(test_gate_shut),
    };
    return cmocka_run_group_tests_name("kalman", tests, NULL, NULL);
}
