/* dh0.c - the released gradient of the initial state, on an H100's file: differences of the exact
 * layer say that it points the wrong way, and that the term by the ridge is what it lacks. */
#include "test.h"

#include "gka/judge.h"

#include <math.h>

enum { D = 128, COUNT = D * D };

static gka_file *file;
static gka_problem problem;
static double h0[COUNT], released[COUNT], exact[COUNT], dx[D], x[128 * D];

static void symmetrise(double *M) {
    for (int i = 0; i < D; i++)
        for (int k = 0; k < i; k++)
            M[i * D + k] = M[k * D + i] = 0.5 * M[i * D + k] + 0.5 * M[k * D + i];
}

static double dot(int n, const double *a, const double *b) {
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static int setup(void **state) {
    (void)state;
    gka_error error = {0};
    if (gka_file_open(GKA_TEST_DATA "/h100/h0.safetensors", &file, &error) != GKA_OK ||
        gka_problem_from_file(file, &problem, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
    assert_true(problem.N == 1 && problem.H == 1 && problem.D == D && problem.T <= 128);
    gka_problem_h0(&problem, 0, 0, h0);
    symmetrise(h0);
    const gka_view view = gka_view_of(gka_file_find(file, "solve.dh0"));
    for (int64_t i = 0; i < D; i++)
        gka_view_row(&view, 0, 0, i, D, released + i * D);
    symmetrise(released);
    gka_outputs gradient = {.solve.dh0 = exact};
    assert_int_equal(gka_oracle_gradient(&problem, GKA_OF_X, NULL, &gradient, NULL, NULL, &error),
                     GKA_OK);
    symmetrise(exact);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    gka_problem_free(&problem);
    gka_file_close(file);
    return 0;
}

/* sum_t <dx_t, x_t> of the layer that starts from h0 + e X */
static double objective(double e, const double *X) {
    static double moved[COUNT];
    for (int i = 0; i < COUNT; i++)
        moved[i] = h0[i] + e * X[i];
    gka_problem p = problem;
    p.h0 = (gka_view){.data = moved,
                      .dtype = GKA_F64,
                      .rank = 4,
                      .shape = {1, 1, D, D, 1},
                      .stride = {COUNT, COUNT, D, 1, 0}};
    gka_outputs out = {.x = x};
    gka_error error = {0};
    if (gka_oracle_forward(&p, NULL, &out, NULL, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
    double sum = 0;
    for (int64_t t = 0; t < p.T; t++) {
        gka_problem_dx(&p, 0, t, 0, dx);
        sum += dot(D, dx, x + t * D);
    }
    return sum;
}

/* Difference quotient of order four along X with ||X||_F = 1, h = 2^-12 ||h0||_F. x is a rational
 * function of h0/||h0||: the error is a few h^4 kappa^4 <= 2^-48 51^4 = 2^-25 of ||h0||^-1 |dx|
 * |x|, and rounding adds T D u/h; together below 2^-20 of ||exact|| here. */
static double quotient(const double *X) {
    const double h = 0x1p-12 * sqrt(dot(COUNT, h0, h0));
    return (8 * (objective(h, X) - objective(-h, X)) -
            (objective(2 * h, X) - objective(-2 * h, X))) /
           (12 * h);
}

static void direction(uint64_t seed, double *X) {
    for (uint64_t i = 0; i < COUNT; i++) {
        const uint64_t counter[4] = {i, 0, 0, 0}, key[2] = {seed, 0};
        uint64_t bits[4];
        gka_philox(counter, key, bits);
        X[i] = (double)(bits[0] >> 11) * 0x1p-53 - .5;
    }
    symmetrise(X);
    const double size = sqrt(dot(COUNT, X, X));
    for (int i = 0; i < COUNT; i++)
        X[i] /= size;
}

/* Along any direction the oracle agrees with the quotient; minus the released dh0 does to its own
 * rel_err (Cauchy and Schwarz), so the released one itself has the wrong sign wherever the gradient
 * is larger than that; along itself for a start. */
static void test_differences_refute_the_sign(void **state) {
    (void)state;
    static double X[COUNT], minus[COUNT];
    const double size = sqrt(dot(COUNT, exact, exact));
    for (int i = 0; i < COUNT; i++)
        minus[i] = -released[i];
    const double off = gka_rel_err(COUNT, minus, exact);
    assert_true(off < .01);
    for (uint64_t seed = 0; seed < 4; seed++) {
        direction(seed, X);
        const double length = sqrt(dot(COUNT, released, released));
        for (int i = 0; seed == 0 && i < COUNT; i++)
            X[i] = released[i] / length;
        const double truth = quotient(X), claimed = dot(COUNT, released, X);
        assert_true(fabs(dot(COUNT, exact, X) - truth) <= 0x1p-20 * size);
        assert_true(fabs(-claimed - truth) <= (off + 0x1p-20) * size);
        if (seed == 0)
            assert_true(claimed > .99 * size && truth < -.99 * size);
    }
}

/* The verdict of gka verify: at the file's own x and p, minus the released dh0 is the formula's
 * first term to within what bf16 states and operands cost (2^-9), and without the ridge term it is
 * as much farther from the whole as that term is large. */
static void test_verdict(void **state) {
    (void)state;
    gka_verification v;
    gka_error error = {0};
    const gka_verify_options options = {.oracle = GKA_ORACLE_FP64};
    if (gka_verify(file, &options, &v, &error) != GKA_OK)
        fail_msg("%s", error.text);
    const gka_dh0 d = v.dh0;
    gka_verification_free(&v);
    assert_true(d.judged);
    assert_true(d.cosine < -.9999 && d.cosine >= -1 - 0x1p-40);
    assert_true(fabs(d.norm - 1.0041) < .0001);
    assert_true(fabs(d.ridge - 3.03e-3) < .01e-3);
    assert_true(d.without < 0x1p-9 && d.with > d.ridge);
    assert_true(fabs(d.with * d.with - d.without * d.without - d.ridge * d.ridge) <
                .02 * d.with * d.with); /* the two errors have nothing to do with each other */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_differences_refute_the_sign),
        cmocka_unit_test(test_verdict),
    };
    return cmocka_run_group_tests_name("dh0", tests, setup, teardown);
}
