/* environment.c - a thread whose arithmetic is not IEEE's gets no proof: every rounding mode but to
 * nearest, subnormals switched off, an fma that rounds twice, each with a line that says so. */
#include "oracle.h"

#include "oracle/environment.h"

#include <dlfcn.h>
#include <fenv.h>
#ifdef __SSE2__
#include <xmmintrin.h>
#endif

/* This program's own fma, in place of libm's: right, or a product and a sum. */
static bool twice;
static int64_t calls;

double fma(double a, double b, double c) {
    static double (*right)(double, double, double);
    calls++;
    if (right == NULL)
        *(void **)&right = dlsym(RTLD_NEXT, "fma");
    volatile const double product = a * b;
    return twice ? product + c : right(a, b, c);
}

static const lab_shape small = {
    .B = 1, .T = 5, .H = 2, .G = 2, .D = 4, .V = 3, .gate = true, .alpha = true, .seed = 3};

static gka_status forward(gka_oracle oracle, gka_error *error) {
    lab_case lab;
    gka_outputs out;
    const gka_oracle_options options = {.oracle = oracle};
    lab_new(&lab, &small);
    lab_exact_new(&lab.problem, &out);
    const gka_status status = gka_oracle_forward(&lab.problem, &options, &out, NULL, NULL, error);
    lab_exact_free(&lab.problem, &out);
    lab_free(&lab);
    return status;
}

static void assert_refused(const char *word) {
    for (gka_oracle oracle = GKA_ORACLE_FP64; oracle <= GKA_ORACLE_MPFR; oracle++) {
        gka_error error = {0};
        assert_int_equal(forward(oracle, &error), GKA_INTERNAL);
        assert_non_null(strstr(error.text, word));
        assert_null(strchr(error.text, '\n'));
    }
}

static void assert_accepted(void) {
    gka_error error = {0};
    assert_int_equal(gka_environment_check(&error), GKA_OK);
    assert_int_equal(forward(GKA_ORACLE_CERTIFIED, &error), GKA_OK);
}

static void test_rounding_modes(void **state) {
    (void)state;
    static const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    assert_accepted();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fesetround(modes[i]), 0);
        gka_error error = {0};
        const gka_status status = gka_environment_check(&error);
        fesetround(FE_TONEAREST);
        assert_int_equal(status, GKA_INTERNAL);
        fesetround(modes[i]);
        assert_refused("nearest even");
        fesetround(FE_TONEAREST);
        assert_accepted();
    }
}

static void test_flushed_subnormals(void **state) {
    (void)state;
#ifdef __SSE2__
    static const unsigned bits[] = {0x8000, 0x0040, 0x8040}; /* FTZ, DAZ, both */
    const unsigned before = _mm_getcsr();
    for (int i = 0; i < 3; i++) {
        _mm_setcsr(before | bits[i]);
        assert_refused("subnormal");
        _mm_setcsr(before);
        assert_accepted();
    }
#else
    skip();
#endif
}

static void test_fma_of_two_roundings(void **state) {
    (void)state;
    gka_error error = {0};
    calls = 0;
    assert_int_equal(gka_environment_check(&error), GKA_OK);
    if (calls == 0)
        skip(); /* this processor's own instruction, not a function */
    twice = true;
    const gka_status status = gka_environment_check(&error);
    twice = false;
    assert_int_equal(status, GKA_INTERNAL);
    assert_non_null(strstr(error.text, "fma()"));
    assert_accepted();
}

/* ---- another thread's environment ------------------------------------------------------------ */

static void spoil(void *context, int64_t i, int worker) {
    (void)context;
    (void)i;
    fesetround(worker > 0 ? FE_UPWARD : FE_TONEAREST);
}

static void heal(void *context, int64_t i, int worker) {
    (void)context;
    (void)i;
    (void)worker;
    fesetround(FE_TONEAREST);
}

/* The caller's thread rounds right, a worker's does not: whoever takes a head looks for itself.
 * Which thread takes one is the scheduler's, so the run is repeated until the spoilt one has. */
static void test_a_worker_of_ones_own(void **state) {
    (void)state;
    lab_shape many = small;
    many.H = many.G = 64;
    lab_case lab;
    gka_outputs out;
    const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED};
    lab_new(&lab, &many);
    lab_exact_new(&lab.problem, &out);
    gka_set_threads(2);
    gka_status status = GKA_OK;
    for (int tries = 0; status == GKA_OK && tries < 200; tries++) {
        gka_parallel(1000, spoil, NULL);
        status = gka_oracle_forward(&lab.problem, &options, &out, NULL, NULL, NULL);
    }
    for (int i = 0; i < 20; i++)
        gka_parallel(1000, heal, NULL);
    gka_set_threads(0);
    assert_int_equal(status, GKA_INTERNAL);
    lab_exact_free(&lab.problem, &out);
    lab_free(&lab);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounding_modes),
        cmocka_unit_test(test_flushed_subnormals),
        cmocka_unit_test(test_fma_of_two_roundings),
        cmocka_unit_test(test_a_worker_of_ones_own),
    };
    return cmocka_run_group_tests_name("environment", tests, NULL, NULL);
}
