/* dd.c - double-double arithmetic and exp(g) against MPFR: every stated bound, every constant. */
#include "test.h"

#include "gka/base.h"
#include "oracle/dd_exp.h"
#include "oracle/dd_exp_table.h"

#include <mpfr.h>

enum { BITS = 320 };

/* ---- random numbers ------------------------------------------------------------------------ */

static uint64_t draw(uint64_t stream, uint64_t i) {
    const uint64_t counter[4] = {i, stream, 0, 0}, key[2] = {2511, 21016};
    uint64_t bits[4];
    gka_philox(counter, key, bits);
    return bits[0];
}

static double uniform(uint64_t stream, uint64_t i) {
    return (double)(draw(stream, i) >> 11) * 0x1p-53;
}

/* A signed number with exponent in [-range, range], with trailing zeros one time in four. */
static double any_double(uint64_t stream, uint64_t i, int range) {
    const uint64_t r = draw(stream, i);
    double m = 1 + (double)(r >> 12) * 0x1p-52;
    if ((r & 3) == 0)
        m = (double)(float)m;
    return ldexp((r & 4) != 0 ? m : -m, (int)((r >> 3) % (uint64_t)(2 * range + 1)) - range);
}

/* A normalised pair; lo is zero, about u hi, or anything smaller. */
static dd any_dd(uint64_t stream, uint64_t i, int range) {
    const double hi = any_double(stream, 2 * i, range);
    const double lo = hi * 0x1p-53 * (2 * uniform(stream + 100, i) - 1);
    const int how = (int)(draw(stream + 200, i) % 4);
    return fast_two_sum(hi, how == 0 ? 0 : how == 1 ? lo * 0x1p-20 : lo);
}

/* ---- measured in units of u^2 = 2^-106 ----------------------------------------------------- */

static void set_dd(mpfr_t x, dd a) {
    mpfr_set_d(x, a.hi, MPFR_RNDN);
    mpfr_add_d(x, x, a.lo, MPFR_RNDN);
}

/* |a - exact| / |exact| / u^2 */
static double error_of(dd a, const mpfr_t exact) {
    mpfr_t x;
    mpfr_init2(x, BITS);
    set_dd(x, a);
    mpfr_sub(x, x, exact, MPFR_RNDN);
    if (!mpfr_zero_p(x))
        mpfr_div(x, x, exact, MPFR_RNDN);
    mpfr_mul_2si(x, x, 106, MPFR_RNDN);
    const double e = fabs(mpfr_get_d(x, MPFR_RNDA));
    mpfr_clear(x);
    return e;
}

typedef int mpfr_binary(mpfr_t, const mpfr_t, const mpfr_t, mpfr_rnd_t);

typedef struct operation {
    const char *name;
    dd (*compute)(dd, dd);
    mpfr_binary *exact;
    bool second_is_double;
    double bound; /* u^2, dd.h */
} operation;

static dd add(dd a, dd b) {
    return dd_add(a, b);
}
static dd sub(dd a, dd b) {
    return dd_sub(a, b);
}
static dd mul(dd a, dd b) {
    return dd_mul(a, b);
}
static dd div_(dd a, dd b) {
    return dd_div(a, b);
}
static dd add_d(dd a, dd b) {
    return dd_add_d(a, b.hi);
}
static dd mul_d(dd a, dd b) {
    return dd_mul_d(a, b.hi);
}
static int exact_add(mpfr_t c, const mpfr_t a, const mpfr_t b, mpfr_rnd_t r) {
    return mpfr_add(c, a, b, r);
}
static int exact_sub(mpfr_t c, const mpfr_t a, const mpfr_t b, mpfr_rnd_t r) {
    return mpfr_sub(c, a, b, r);
}
static int exact_mul(mpfr_t c, const mpfr_t a, const mpfr_t b, mpfr_rnd_t r) {
    return mpfr_mul(c, a, b, r);
}
static int exact_div(mpfr_t c, const mpfr_t a, const mpfr_t b, mpfr_rnd_t r) {
    return mpfr_div(c, a, b, r);
}

static void prop_operations_within_their_bounds(void **state) {
    (void)state;
    static const operation operations[] = {
        {"dd_add", add, exact_add, false, 3.0000001}, {"dd_sub", sub, exact_sub, false, 3.0000001},
        {"dd_add_d", add_d, exact_add, true, 2},      {"dd_mul", mul, exact_mul, false, 5},
        {"dd_mul_d", mul_d, exact_mul, true, 2},      {"dd_div", div_, exact_div, false, 16},
    };
    mpfr_t a, b, c;
    mpfr_inits2(BITS, a, b, c, (mpfr_ptr)NULL);
    for (size_t op = 0; op < sizeof operations / sizeof *operations; op++) {
        const operation *const o = operations + op;
        double worst = 0;
        for (uint64_t i = 0; i < 20000; i++) {
            /* exponents close together: sums cancel */
            const dd x = any_dd(op, i, 1 + (int)(i % 60)), y = any_dd(op + 50, i, 1 + (int)(i % 3));
            set_dd(a, x);
            if (o->second_is_double)
                mpfr_set_d(b, y.hi, MPFR_RNDN);
            else
                set_dd(b, y);
            o->exact(c, a, b, MPFR_RNDN);
            const dd z = o->compute(x, y);
            assert_true(fabs(z.lo) <= 0x1p-53 * fabs(z.hi));
            worst = fmax(worst, error_of(z, c));
        }
        print_message("%-9s worst %.3f u^2, bound %.1f u^2\n", o->name, worst, o->bound);
        assert_true(worst > 0.5 && worst <= o->bound);
    }
    double worst = 0;
    for (uint64_t i = 0; i < 20000; i++) {
        dd x = any_dd(40, i, 60);
        if (x.hi < 0)
            x = dd_neg(x);
        set_dd(a, x);
        mpfr_sqrt(c, a, MPFR_RNDN);
        worst = fmax(worst, error_of(dd_sqrt(x), c));
    }
    print_message("%-9s worst %.3f u^2, bound 4 u^2\n", "dd_sqrt", worst);
    assert_true(worst > 0.5 && worst <= 4);
    assert_int_equal(bits_of(dd_sqrt((dd){0, 0}).hi), 0);
    mpfr_clears(a, b, c, (mpfr_ptr)NULL);
}

/* ---- exp ----------------------------------------------------------------------------------- */

/* x <- x - word, having checked that word is x rounded to nearest. */
static void check_word(mpfr_t x, double word) {
    assert_int_equal(bits_of(word), bits_of(mpfr_get_d(x, MPFR_RNDN)));
    mpfr_sub_d(x, x, word, MPFR_RNDN);
}

static void check_truncated(mpfr_t x, double word, int bits) {
    mpfr_t t;
    mpfr_init2(t, bits);
    mpfr_set(t, x, MPFR_RNDZ);
    assert_int_equal(bits_of(word), bits_of(mpfr_get_d(t, MPFR_RNDN)));
    mpfr_sub_d(x, x, word, MPFR_RNDN);
    mpfr_clear(t);
}

static void test_exp_constants(void **state) {
    (void)state;
    mpfr_t x;
    mpfr_init2(x, BITS);
    mpfr_const_log2(x, MPFR_RNDN);
    mpfr_div_2ui(x, x, 6, MPFR_RNDN);
    check_truncated(x, EXP_L1, 36);
    check_truncated(x, EXP_L2, 36);
    check_word(x, EXP_L3);
    mpfr_const_log2(x, MPFR_RNDN);
    mpfr_ui_div(x, 64, x, MPFR_RNDN);
    check_word(x, EXP_INV);
    for (unsigned j = 0; j < 64; j++) {
        mpfr_set_ui(x, j, MPFR_RNDN);
        mpfr_div_2ui(x, x, 6, MPFR_RNDN);
        mpfr_exp2(x, x, MPFR_RNDN);
        for (int word = 0; word < 3; word++)
            check_word(x, EXP_T[j][word]);
    }
    for (unsigned n = 2; n <= 11; n++) {
        mpfr_fac_ui(x, n, MPFR_RNDN);
        mpfr_ui_div(x, 1, x, MPFR_RNDN);
        check_word(x, n <= 6 ? EXP_C[n - 2][0] : EXP_D[n - 7]);
        if (n <= 6)
            check_word(x, EXP_C[n - 2][1]);
    }
    mpfr_clear(x);
}

/* The error of gka_dd_exp at g over its own bound. */
static double exp_error_over_bound(double g, mpfr_t x, mpfr_t y) {
    double bound;
    const dd gamma = gka_dd_exp(g, &bound);
    assert_true(fabs(gamma.lo) <= 0x1p-53 * gamma.hi);
    mpfr_set_d(x, g, MPFR_RNDN);
    mpfr_exp(x, x, MPFR_RNDN);
    set_dd(y, gamma);
    mpfr_sub(x, x, y, MPFR_RNDN);
    if (bound == 0) {
        assert_true(mpfr_zero_p(x));
        return 0;
    }
    mpfr_div_d(x, x, bound, MPFR_RNDA);
    return fabs(mpfr_get_d(x, MPFR_RNDA));
}

/* Gates as they come: uniform, log-uniform down to the smallest, near multiples of log(2)/128
 * where the reduction is longest, and the underflow range. */
static double any_gate(uint64_t i) {
    const double x = uniform(70, i);
    switch (i % 8) {
    case 0: return -20 * x;
    case 1: return -ldexp(1 + x, -(int)(draw(71, i) % 1074));
    case 2: return -700 * x;
    case 3: return -(690 + 60 * x);
    case 4: return -(double)(draw(72, i) % 100000) / (2 * EXP_INV) * (1 + 0x1p-50 * x);
    case 5: return (double)(float)(-8 * x);
    case 6: return -ldexp(x, -8);
    default: return -x;
    }
}

enum { EXP_POINTS = 1000000 };

static void prop_exp_within_its_bound(void **state) {
    (void)state;
    mpfr_t x, y;
    /* 1 + g must be told from 1 at g = -2^-1074 */
    mpfr_inits2(BITS, x, y, (mpfr_ptr)NULL);
    double worst = 0;
    for (uint64_t i = 0; i < EXP_POINTS; i++) {
        const double g = any_gate(i), e = exp_error_over_bound(g, x, y);
        if (!(e <= 1))
            fail_msg("exp(%a): error %g of its bound", g, e);
        worst = fmax(worst, e);
    }
    print_message("exp: %d points, worst error %.3f of its bound 2^-105\n", EXP_POINTS, worst);
    assert_true(worst > 0.25); /* a bound that is far off proves little */
    mpfr_clears(x, y, (mpfr_ptr)NULL);
    mpfr_free_cache();
}

static void test_exp_special(void **state) {
    (void)state;
    double bound = 1;
    dd gamma = gka_dd_exp(-INFINITY, &bound);
    assert_int_equal(bits_of(gamma.hi) | bits_of(gamma.lo) | bits_of(bound), 0);
    gamma = gka_dd_exp(-0.0, &bound);
    assert_int_equal(bits_of(gamma.hi), bits_of(1));
    assert_int_equal(bits_of(gamma.lo) | bits_of(bound), 0);
    gamma = gka_dd_exp(-0x1p-1074, &bound); /* 1 - 2^-1074, both words exact */
    assert_int_equal(bits_of(gamma.hi), bits_of(1));
    assert_int_equal(bits_of(gamma.lo), bits_of(-0x1p-1074));
    gamma = gka_dd_exp(-1e308, &bound);
    assert_int_equal(bits_of(gamma.hi), 0);
    assert_true(bound > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prop_operations_within_their_bounds),
        cmocka_unit_test(test_exp_constants),
        cmocka_unit_test(test_exp_special),
        cmocka_unit_test(prop_exp_within_its_bound),
    };
    return cmocka_run_group_tests_name("dd", tests, NULL, NULL);
}
