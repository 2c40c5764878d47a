/* functions.c - the generators' elementary functions are the correctly rounded ones, the pairs from
 * which they are rounded as near to the truth as functions.c says, and their constants the
 * constants. */
#include "test.h"

#include "gka/base.h"
#include "problem/functions.c" /* for the pairs */

#include <math.h>
#include <mpfr.h>

enum { PRECISION = 128 };
#ifdef __SANITIZE_ADDRESS__
enum { POINTS = 20000 };
#else
enum { POINTS = 100000 };
#endif

/* ---- constants ----------------------------------------------------------------------------- */

/* Takes `bits` of x off and returns them. */
static double take(mpfr_t x, int bits) {
    mpfr_t head;
    mpfr_init2(head, bits);
    mpfr_set(head, x, MPFR_RNDN);
    const double d = mpfr_get_d(head, MPFR_RNDN);
    mpfr_sub(x, x, head, MPFR_RNDN);
    mpfr_clear(head);
    return d;
}

static void assert_pair(mpfr_t x, const double c[2]) {
    assert_int_equal(bits_of(take(x, 53)), bits_of(c[0]));
    assert_int_equal(bits_of(take(x, 53)), bits_of(c[1]));
}

static void test_constants(void **state) {
    (void)state;
    mpfr_t x;
    mpfr_init2(x, 400);
    mpfr_const_log2(x, MPFR_RNDN);
    assert_int_equal(bits_of(take(x, LN2_FIRST_BITS)), bits_of(ln2_parts[0]));
    assert_pair(x, ln2_parts + 1);
    mpfr_const_pi(x, MPFR_RNDN);
    mpfr_mul_2ui(x, x, 1, MPFR_RNDN);
    assert_pair(x, two_pi);
    for (unsigned k = 0; k < FACTORIALS; k++) {
        mpfr_fac_ui(x, k, MPFR_RNDN);
        mpfr_ui_div(x, 1, x, MPFR_RNDN);
        assert_pair(x, inverse_factorial[k]);
    }
    for (unsigned k = 0; k < ODDS; k++) {
        mpfr_set_ui(x, 2 * k + 1, MPFR_RNDN);
        mpfr_ui_div(x, 1, x, MPFR_RNDN);
        assert_pair(x, inverse_odd[k]);
    }
    mpfr_clear(x);
}

/* ---- accuracy ------------------------------------------------------------------------------ */

/* |pair - y| <= 2^-bits |y| */
static void assert_near(const char *name, pair got, const mpfr_t y, int bits, double x) {
    mpfr_t difference, bound;
    mpfr_inits2(PRECISION, difference, bound, (mpfr_ptr)0);
    mpfr_sub_d(difference, y, got.hi, MPFR_RNDN);
    mpfr_sub_d(difference, difference, got.lo, MPFR_RNDN);
    mpfr_mul_2si(bound, y, -bits, MPFR_RNDN);
    if (mpfr_cmpabs(difference, bound) > 0)
        fail_msg("%s(%a) is not right to 2^-%d", name, x, bits);
    mpfr_clears(difference, bound, (mpfr_ptr)0);
}

/* 2^-98 where a rounding is settled, 2^-70 where it is tried first. */
static void prop_accuracy(void **state) {
    (void)state;
    mpfr_t y;
    mpfr_init2(y, 2 * PRECISION);
    for (uint64_t i = 0; i < POINTS / 10; i++) {
        uint64_t w[4];
        gka_philox((const uint64_t[4]){i, 0, 0, 0}, (const uint64_t[2]){3, 4}, w);
        const double u = (double)(w[0] >> 11) * 0x1p-53 + 0x1p-54; /* in (0, 1) */

        const double x = (2 * u - 1) * (i % 2 == 0 ? 40 : 600);
        mpfr_set_d(y, x, MPFR_RNDN);
        mpfr_exp(y, y, MPFR_RNDN);
        assert_near("exp", exp_pair((pair){x, 0}), y, 98, x);

        const double z = i % 2 == 0 ? u : ldexp(1 + u, (int)(w[1] % 200) - 100);
        mpfr_set_d(y, z, MPFR_RNDN);
        mpfr_log(y, y, MPFR_RNDN);
        assert_near("log", log_pair((pair){z, 0}, false), y, 98, z);
        assert_near("quick log", log_pair((pair){z, 0}, true), y, 70, z);

        const double e = ldexp(u, -(int)(w[2] % 60));
        mpfr_set_d(y, e, MPFR_RNDN);
        mpfr_log1p(y, y, MPFR_RNDN);
        assert_near("log1p", log1p_pair((pair){e, 0}), y, 98, e);
        mpfr_set_d(y, e / 3, MPFR_RNDN);
        mpfr_expm1(y, y, MPFR_RNDN);
        assert_near("expm1", expm1_reduced((pair){e / 3, 0}), y, 98, e / 3);

        const double turn = ldexp(u, -3);
        mpfr_const_pi(y, MPFR_RNDN);
        mpfr_mul_d(y, y, 2 * turn, MPFR_RNDN);
        mpfr_t c;
        mpfr_init2(c, 2 * PRECISION);
        mpfr_sin_cos(y, c, y, MPFR_RNDN);
        assert_near("sine", sine_reduced(turn, false), y, 98, turn);
        assert_near("quick sine", sine_reduced(turn, true), y, 70, turn);
        assert_near("cosine", cosine_reduced(turn, false), c, 98, turn);
        assert_near("quick cosine", cosine_reduced(turn, true), c, 70, turn);
        mpfr_clear(c);
    }
    mpfr_clear(y);
}

/* ---- correct rounding ---------------------------------------------------------------------- */

static uint64_t random_bits(uint64_t i) {
    uint64_t bits[4];
    gka_philox((const uint64_t[4]){i, 0, 0, 0}, (const uint64_t[2]){1, 2}, bits);
    return bits[0];
}

static double uniform(uint64_t i) {
    return (double)(random_bits(i) >> 11) * 0x1p-53;
}

/* y <- f(y) at PRECISION bits; the result rounded once must be the function's double. A double
 * rounding through PRECISION bits would take 74 zeros or ones in a row. */
typedef void exact(mpfr_t y);

static void assert_rounded(const char *name, double (*function)(double), exact *twin, double x) {
    mpfr_t y;
    mpfr_init2(y, PRECISION);
    mpfr_set_d(y, x, MPFR_RNDN);
    twin(y);
    const double expected = mpfr_get_d(y, MPFR_RNDN), got = function(x);
    if (bits_of(expected) != bits_of(got))
        fail_msg("%s(%a) = %a, not %a", name, x, expected, got);
    mpfr_clear(y);
}

static void exact_exp(mpfr_t y) {
    mpfr_exp(y, y, MPFR_RNDN);
}

static void exact_log(mpfr_t y) {
    mpfr_log(y, y, MPFR_RNDN);
}

static void exact_sigmoid(mpfr_t y) {
    mpfr_neg(y, y, MPFR_RNDN);
    mpfr_exp(y, y, MPFR_RNDN);
    mpfr_add_ui(y, y, 1, MPFR_RNDN);
    mpfr_ui_div(y, 1, y, MPFR_RNDN);
}

static void exact_softplus(mpfr_t y) {
    mpfr_exp(y, y, MPFR_RNDN);
    mpfr_log1p(y, y, MPFR_RNDN);
}

static void exact_softplus_inverse(mpfr_t y) {
    mpfr_expm1(y, y, MPFR_RNDN);
    mpfr_log(y, y, MPFR_RNDN);
}

static void prop_exp(void **state) {
    (void)state;
    for (uint64_t i = 0; i < POINTS; i++) {
        const double range = i % 3 == 0 ? 600 : i % 3 == 1 ? 10 : 0x1p-30;
        assert_rounded("exp", gka_pinned_exp, exact_exp, (2 * uniform(i) - 1) * range);
    }
    assert_int_equal(bits_of(gka_pinned_exp(0)), bits_of(1));
}

static void prop_log(void **state) {
    (void)state;
    for (uint64_t i = 0; i < POINTS; i++) {
        double x = uniform(i) + 0x1p-54;
        if (i % 4 == 1)
            x = 1 - x * 0x1p-20;
        else if (i % 4 == 2)
            x = 1 + x * 0x1p-20;
        else if (i % 4 == 3)
            x = ldexp(1 + x, (int)(random_bits(i) % 2000) - 1000);
        assert_rounded("log", gka_pinned_log, exact_log, x);
    }
    static const double edges[] = {0x1p-53,
                                   0x1p-1022,
                                   0x1.fffffffffffffp1023,
                                   0x1p-1,
                                   0x1.6a09e667f3bcdp-1,
                                   0x1.6a09e667f3bccp-1,
                                   2,
                                   1 - 0x1p-53};
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++)
        assert_rounded("log", gka_pinned_log, exact_log, edges[i]);
    assert_int_equal(bits_of(gka_pinned_log(1)), bits_of(0));
}

static void prop_sigmoid(void **state) {
    (void)state;
    for (uint64_t i = 0; i < POINTS; i++) {
        const double range = i % 3 == 0 ? 600 : i % 3 == 1 ? 9 : 0x1p-10;
        assert_rounded("sigmoid", gka_pinned_sigmoid, exact_sigmoid, (2 * uniform(i) - 1) * range);
    }
    assert_int_equal(bits_of(gka_pinned_sigmoid(0)), bits_of(0.5));
}

static void prop_softplus(void **state) {
    (void)state;
    for (uint64_t i = 0; i < POINTS; i++) {
        const double range = i % 3 == 0 ? 600 : i % 3 == 1 ? 18 : 0x1p-10;
        assert_rounded("softplus", gka_pinned_softplus, exact_softplus,
                       (2 * uniform(i) - 1) * range);
    }
}

static void prop_softplus_inverse(void **state) {
    (void)state;
    for (uint64_t i = 0; i < POINTS; i++)
        assert_rounded("softplus_inverse", gka_pinned_softplus_inverse, exact_softplus_inverse,
                       fmax(0x1p-20, ldexp(uniform(i), i % 2 == 0 ? -3 : -10)));
}

/* The exact argument 2 pi u at twice the precision, so that its error stays below the last bit. */
static void assert_cosine(double u) {
    mpfr_t c;
    mpfr_init2(c, 2 * PRECISION);
    mpfr_const_pi(c, MPFR_RNDN);
    mpfr_mul_2ui(c, c, 1, MPFR_RNDN);
    mpfr_mul_d(c, c, u, MPFR_RNDN);
    mpfr_cos(c, c, MPFR_RNDN);
    const double expected = mpfr_get_d(c, MPFR_RNDN), got = gka_pinned_cosine(u);
    if (bits_of(got) != bits_of(expected))
        fail_msg("cosine(%a) = %a, not %a", u, expected, got);
    mpfr_clear(c);
}

static void prop_cosine(void **state) {
    (void)state;
    for (uint64_t i = 0; i < POINTS; i++)
        assert_cosine(i % 4 != 0
                          ? uniform(i)
                          : (double)(i / 4 % 8) / 8 + (double)(random_bits(i) >> 40) * 0x1p-53);
    /* the eighths and their neighbours; at the quarters MPFR's angle is not exact, but we are */
    static const double quarters[] = {1, 0, -1, 0};
    for (int i = 0; i < 8; i++) {
        assert_cosine(0.125 * i + 0x1p-53);
        if (i > 0)
            assert_cosine(0.125 * i - 0x1p-53);
        if (i % 2 == 1)
            assert_cosine(0.125 * i);
        else if (i % 4 == 0)
            assert_int_equal(bits_of(gka_pinned_cosine(0.125 * i)), bits_of(quarters[i / 2]));
        else
            assert_int_equal(bits_of(fabs(gka_pinned_cosine(0.125 * i))), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constants),
        cmocka_unit_test(prop_accuracy),
        cmocka_unit_test(prop_exp),
        cmocka_unit_test(prop_log),
        cmocka_unit_test(prop_sigmoid),
        cmocka_unit_test(prop_softplus),
        cmocka_unit_test(prop_softplus_inverse),
        cmocka_unit_test(prop_cosine),
    };
    const int failed = cmocka_run_group_tests_name("functions", tests, NULL, NULL);
    mpfr_free_cache();
    return failed;
}
