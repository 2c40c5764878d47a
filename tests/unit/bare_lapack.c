/* bare_lapack.c - the functions that take LAPACK's place in a build without it (src/oracle/bare),
 * against LAPACK. */
#include "test.h"

#include <lapacke.h>

#include <float.h>
#include <math.h>

/* Ours under names of their own; the header of the bare build is not the one above. */
#define GKA_ORACLE_BARE_LAPACKE_H
#define LAPACKE_dpotrf_work bare_dpotrf
#define LAPACKE_dpotrs_work bare_dpotrs
#define LAPACKE_dpocon_work bare_dpocon
#define LAPACKE_dsytrf_work bare_dsytrf
#define LAPACKE_dsytrs_work bare_dsytrs
#define LAPACKE_dsyev_work  bare_dsyev
lapack_int bare_dpotrf(int, char, lapack_int, double *, lapack_int);
lapack_int bare_dpotrs(int, char, lapack_int, lapack_int, const double *, lapack_int, double *,
                       lapack_int);
lapack_int bare_dpocon(int, char, lapack_int, const double *, lapack_int, double, double *,
                       double *, lapack_int *);
lapack_int bare_dsytrf(int, char, lapack_int, double *, lapack_int, lapack_int *, double *,
                       lapack_int);
lapack_int bare_dsytrs(int, char, lapack_int, lapack_int, const double *, lapack_int,
                       const lapack_int *, double *, lapack_int);
lapack_int bare_dsyev(int, char, char, lapack_int, double *, lapack_int, double *, double *,
                      lapack_int);
#include "oracle/bare/lapack.c"
#undef LAPACKE_dpotrf_work
#undef LAPACKE_dpotrs_work
#undef LAPACKE_dpocon_work
#undef LAPACKE_dsytrf_work
#undef LAPACKE_dsytrs_work
#undef LAPACKE_dsyev_work

enum { MOST = 40, CASES = 4 };
static const lapack_int sizes[CASES] = {1, 2, 17, MOST};

static double number(uint64_t i, uint64_t seed) {
    uint64_t bits[4];
    gka_philox((const uint64_t[4]){i, 0, 0, 0}, (const uint64_t[2]){seed, 0}, bits);
    return (double)(bits[0] >> 11) * 0x1p-52 - 1;
}

/* Symmetric, entries in (-1, 1), plus `diagonal` I: positive definite where that is n or more. */
static void matrix(lapack_int n, double diagonal, double *M) {
    for (lapack_int i = 0; i < n; i++)
        for (lapack_int j = 0; j <= i; j++)
            M[i + j * n] = M[j + i * n] =
                number((uint64_t)(i * n + j), 3) + (i == j ? diagonal : 0);
}

static void assert_near(lapack_int count, const double *is, const double *wanted, double size) {
    for (lapack_int i = 0; i < count; i++)
        if (!(fabs(is[i] - wanted[i]) <= MOST * MOST * DBL_EPSILON * size))
            fail_msg("%d of %d: %.17g, not %.17g", (int)i, (int)count, is[i], wanted[i]);
}

static void test_positive_definite(void **state) {
    (void)state;
    for (int c = 0; c < CASES; c++) {
        const lapack_int n = sizes[c];
        double ours[MOST * MOST], theirs[MOST * MOST], x[2 * MOST], y[2 * MOST], work[3 * MOST];
        double is = 0, wanted = 0;
        lapack_int iwork[MOST];
        matrix(n, n + 1, ours);
        matrix(n, n + 1, theirs);
        assert_int_equal(bare_dpotrf(LAPACK_COL_MAJOR, 'L', n, ours, n), 0);
        assert_int_equal(LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', n, theirs, n), 0);
        for (lapack_int j = 0; j < n; j++)
            assert_near(n - j, ours + j + j * n, theirs + j + j * n, sqrt(n + 2));
        for (lapack_int i = 0; i < 2 * n; i++)
            x[i] = y[i] = number((uint64_t)i, 5);
        (void)bare_dpotrs(LAPACK_COL_MAJOR, 'L', n, 2, ours, n, x, n);
        (void)LAPACKE_dpotrs(LAPACK_COL_MAJOR, 'L', n, 2, theirs, n, y, n);
        assert_near(2 * n, x, y, 1);
        (void)bare_dpocon(LAPACK_COL_MAJOR, 'L', n, ours, n, 2 * n + 1, &is, work, iwork);
        (void)LAPACKE_dpocon(LAPACK_COL_MAJOR, 'L', n, theirs, n, 2 * n + 1, &wanted);
        assert_true(is <= wanted * (1 + 1e-12) &&
                    is > wanted / 3); /* theirs is an estimate from above */
    }
}

static void test_indefinite(void **state) {
    (void)state;
    for (int c = 0; c < CASES; c++) {
        const lapack_int n = sizes[c];
        double ours[MOST * MOST], theirs[MOST * MOST], x[2 * MOST], y[2 * MOST];
        lapack_int pivots[MOST], their_pivots[MOST];
        matrix(n, 0, ours);
        matrix(n, 0, theirs);
        for (lapack_int j = 1; j < n; j++)
            for (lapack_int i = 0; i < j; i++)
                ours[i + j * n] = NAN; /* the upper triangle is not read */
        assert_int_equal(bare_dsytrf(LAPACK_COL_MAJOR, 'L', n, ours, n, pivots, NULL, 0), 0);
        assert_int_equal(LAPACKE_dsytrf(LAPACK_COL_MAJOR, 'L', n, theirs, n, their_pivots), 0);
        for (lapack_int i = 0; i < 2 * n; i++)
            x[i] = y[i] = number((uint64_t)i, 7);
        (void)bare_dsytrs(LAPACK_COL_MAJOR, 'L', n, 2, ours, n, pivots, x, n);
        (void)LAPACKE_dsytrs(LAPACK_COL_MAJOR, 'L', n, 2, theirs, n, their_pivots, y, n);
        double largest = 0;
        for (lapack_int i = 0; i < 2 * n; i++)
            largest = fmax(largest, fabs(y[i]));
        assert_near(2 * n, x, y, 100 * largest); /* kappa */
    }
}

static void test_failures(void **state) {
    (void)state;
    double M[4] = {1, 2, 2, 1}, zero[4] = {0};
    lapack_int pivots[2];
    assert_int_equal(bare_dpotrf(LAPACK_COL_MAJOR, 'L', 2, M, 2), 2);
    assert_int_equal(bare_dsytrf(LAPACK_COL_MAJOR, 'L', 2, zero, 2, pivots, NULL, 0), 1);
}

static void test_eigenvalues(void **state) {
    (void)state;
    for (int c = 0; c < CASES; c++) {
        const lapack_int n = sizes[c];
        double ours[MOST * MOST], theirs[MOST * MOST], is[MOST], wanted[MOST], work[2 * MOST];
        matrix(n, 0, ours);
        matrix(n, 0, theirs);
        assert_int_equal(bare_dsyev(LAPACK_COL_MAJOR, 'N', 'L', n, ours, n, is, work, 2 * n), 0);
        assert_int_equal(LAPACKE_dsyev(LAPACK_COL_MAJOR, 'N', 'L', n, theirs, n, wanted), 0);
        assert_near(n, is, wanted, 1);
    }
    double M[9] = {2, 0, 0, 0, 2, 0, 0, 0, NAN}, is[3], work[6];
    assert_true(bare_dsyev(LAPACK_COL_MAJOR, 'N', 'L', 3, M, 3, is, work, 6) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_positive_definite),
        cmocka_unit_test(test_indefinite),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_eigenvalues),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
