/* functions.c - the generators' elementary functions are the correctly rounded ones, and their
 * constants are the constants. */
#include "test.h"

#include "gka/base.h"
#include "problem/constants.h"
#include "problem/functions.h"

#include <math.h>
#include <mpfr.h>

enum { PRECISION = 200, POINTS = 100000 };

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
    mpfr_init2(x, PRECISION);
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
 * rounding through PRECISION bits would take 146 zeros or ones in a row. */
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
static void assert_sincos(double u) {
    mpfr_t s, c, angle;
    mpfr_inits2(2 * PRECISION, s, c, angle, (mpfr_ptr)0);
    mpfr_const_pi(angle, MPFR_RNDN);
    mpfr_mul_2ui(angle, angle, 1, MPFR_RNDN);
    mpfr_mul_d(angle, angle, u, MPFR_RNDN);
    mpfr_sin_cos(s, c, angle, MPFR_RNDN);
    double sine, cosine;
    gka_pinned_sincos(u, &sine, &cosine);
    if (bits_of(sine) != bits_of(mpfr_get_d(s, MPFR_RNDN)) ||
        bits_of(cosine) != bits_of(mpfr_get_d(c, MPFR_RNDN)))
        fail_msg("sincos(%a) = %a %a, not %a %a", u, mpfr_get_d(s, MPFR_RNDN),
                 mpfr_get_d(c, MPFR_RNDN), sine, cosine);
    mpfr_clears(s, c, angle, (mpfr_ptr)0);
}

static void prop_sincos(void **state) {
    (void)state;
    for (uint64_t i = 0; i < POINTS; i++)
        assert_sincos(i % 4 != 0 ? uniform(i)
                                 : (double)(i % 8) / 8 + (double)(random_bits(i) >> 40) * 0x1p-53);
    /* the eighths and their neighbours; at the quarters MPFR's angle is not exact, but we are */
    for (int i = 0; i < 8; i++) {
        assert_sincos(0.125 * i + 0x1p-53);
        if (i > 0)
            assert_sincos(0.125 * i - 0x1p-53);
        if (i % 2 == 1)
            assert_sincos(0.125 * i);
    }
    for (int i = 0; i < 4; i++) {
        static const double sines[] = {0, 1, 0, -1, 0};
        double s, c;
        gka_pinned_sincos(0.25 * i, &s, &c);
        assert_int_equal(bits_of(fabs(s)), bits_of(fabs(sines[i])));
        assert_true(s * sines[i] >= 0 && c * sines[i + 1] >= 0);
        assert_int_equal(bits_of(fabs(c)), bits_of(fabs(sines[i + 1])));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constants), cmocka_unit_test(prop_exp),
        cmocka_unit_test(prop_log),       cmocka_unit_test(prop_sigmoid),
        cmocka_unit_test(prop_softplus),  cmocka_unit_test(prop_softplus_inverse),
        cmocka_unit_test(prop_sincos),
    };
    const int failed = cmocka_run_group_tests_name("functions", tests, NULL, NULL);
    mpfr_free_cache();
    return failed;
}
