/* format.c - rounding against its definition in MPFR, over random formats, modes and numbers. */
#include "format_twin.h"

#include "format/kernels.h"
#include "format/round.h"

#include <inttypes.h>

static void fail_at(const char *what, const gka_format *f, int mode, double x, uint64_t random,
                    double got, double want) {
    fail_msg("%s: {p %d, emin %d, emax %d, max %a, subnormals %d, overflow %d} mode %s x %a "
             "random %016" PRIx64 ": got %a, expected %a",
             what, f->p, f->emin, f->emax, f->max_finite, f->subnormals, (int)f->overflow,
             gka_rounding_name((gka_rounding)mode), x, random, got, want);
}

static void prop_round_is_its_definition(void **state) {
    (void)state;
    uint64_t s = 1;
    for (int i = 0; i < 20000; i++) {
        const gka_format f = draw_format(&s);
        assert_int_equal(gka_format_check(&f, NULL), GKA_OK);
        const double x = draw_double(&s, &f);
        const uint64_t random = draw(&s);
        for (int mode = GKA_NEAREST_EVEN; mode <= GKA_STOCHASTIC; mode++) {
            const double got = gka_round(&f, (gka_rounding)mode, x, random);
            const double want = twin_round_double(&f, (gka_rounding)mode, x, random);
            if (bits_of(got) != twin_bits(want))
                fail_at("round", &f, mode, x, random, got, want);
        }
    }
}

/* The 64-bit fraction by which the stochastic mode decides, in MPFR. */
static uint64_t twin_fraction(const gka_format *f, double x) {
    int e;
    frexp(x, &e);
    const int grid = e - 1 >= f->emin ? e - f->p : f->subnormals ? f->emin - f->p + 1 : f->emin;
    mpfr_t y, t;
    mpfr_inits2(300, y, t, (mpfr_ptr)0);
    mpfr_set_d(y, fabs(x), MPFR_RNDN);
    mpfr_mul_2si(y, y, -grid, MPFR_RNDN);
    mpfr_trunc(t, y);
    mpfr_sub(y, y, t, MPFR_RNDN);
    mpfr_mul_2ui(y, y, 64, MPFR_RNDN);
    const uint64_t fraction = mpfr_get_ui(y, MPFR_RNDZ);
    mpfr_clears(y, t, (mpfr_ptr)0);
    return fraction;
}

/* The mode turns from one neighbour to the other exactly between random = 2^64 - F - 1 and
 * 2^64 - F, however small F. */
static void prop_stochastic_turns_where_defined(void **state) {
    (void)state;
    uint64_t s = 4;
    for (int i = 0; i < 20000; i++) {
        gka_format f = draw_format(&s);
        double x = draw_double(&s, &f);
        if (draw_int(&s, 0, 2) == 0) /* far below the smallest value */
            x = ldexp(1 + draw_int(&s, 0, 9) / 8.0, f.emin - f.p - draw_int(&s, -3, 70));
        if (!isfinite(x) || fabs(x) >= f.max_finite)
            continue;
        const uint64_t fraction = twin_fraction(&f, x);
        const double low = gka_round(&f, GKA_TOWARD_ZERO, x, 0);
        const double high = gka_round(&f, x < 0 ? GKA_DOWN : GKA_UP, x, 0);
        const double below = gka_round(&f, GKA_STOCHASTIC, x, ~fraction);
        const double above = gka_round(&f, GKA_STOCHASTIC, x, -fraction);
        if (bits_of(below) != bits_of(low) || bits_of(above) != bits_of(fraction > 0 ? high : low))
            fail_at("turn", &f, GKA_STOCHASTIC, x, -fraction, above, high);
    }
}

/* Arrays of every kind against one number at a time, for formats of every kind. */
static void prop_arrays_are_their_elements(void **state) {
    (void)state;
    enum { N = 531 }; /* more than a block of 512, and no multiple of a vector */
    static double x[N], y[N], z[N];
    static float x32[N], y32[N], z32[N];
    static uint64_t packed[N], packed32[N];
    static const int all_bits[] = {0, 8, 16, 32, 64};
    uint64_t s = 5;
    for (int i = 0; i < 400; i++) {
        gka_format f = draw_format(&s);
        const int bits = all_bits[draw_int(&s, 0, 4)], old_bits = f.bits;
        f.bits = bits;
        if (gka_format_check(&f, NULL) != GKA_OK)
            f.bits = old_bits;
        const gka_rounding mode = (gka_rounding)draw_int(&s, 0, 5);
        const uint64_t seed = draw(&s), first = draw(&s) >> draw_int(&s, 0, 60);
        for (size_t k = 0; k < N; k++) {
            x[k] = draw_double(&s, &f);
            x32[k] = (float)draw_double(&s, &f);
        }
        gka_round_array(&f, mode, seed, first, N, x, y);
        gka_round_array_f32(&f, mode, seed, first, N, x32, y32);
        if (f.bits > 0) {
            gka_encode_array(&f, mode, seed, first, N, x, packed);
            gka_decode_array(&f, N, packed, z);
            gka_encode_array_f32(&f, mode, seed, first, N, x32, packed32);
            gka_decode_array_f32(&f, N, packed32, z32);
        }
        for (size_t k = 0; k < N; k++) {
            const uint64_t random = gka_round_random(seed, first + k);
            const double want = gka_round(&f, mode, x[k], random);
            const double wide = gka_round(&f, mode, (double)x32[k], random);
            assert_int_equal(bits_of(y[k]), bits_of(want));
            if (bits_of_f32(y32[k]) != bits_of_f32((float)wide))
                fail_at("round_array_f32", &f, (int)mode, (double)x32[k], random, (double)y32[k],
                        wide);
            if (f.bits == 0)
                continue;
            const size_t size = (size_t)f.bits / 8;
            uint64_t pattern = 0, pattern32 = 0;
            memcpy(&pattern, (char *)packed + k * size, size);
            memcpy(&pattern32, (char *)packed32 + k * size, size);
            assert_int_equal(pattern, gka_encode(&f, want));
            assert_int_equal(pattern32, gka_encode(&f, wide));
            assert_int_equal(bits_of(gka_decode(&f, pattern)), bits_of(want));
            assert_int_equal(bits_of(z[k]), bits_of(want));
            if (bits_of_f32(z32[k]) != bits_of_f32((float)wide))
                fail_at("decode_array_f32", &f, (int)mode, (double)x32[k], random, (double)z32[k],
                        wide);
        }
        gka_round_array(&f, mode, seed, first, N, x, x); /* in place */
        assert_memory_equal(x, y, sizeof x);
        gka_round_array_f32(&f, mode, seed, first, N, x32, x32);
        assert_memory_equal(x32, y32, sizeof x32);
    }
}

/* Operands whose results meet each other: near in exponent, cancelling, or far apart. */
static double draw_operand(uint64_t *s, const gka_format *f) {
    const int kind = draw_int(s, 0, 7);
    if (kind == 0)
        return draw_double(s, f);
    if (kind == 1) /* sums and products about the overflow of binary64 */
        return ldexp((double)(int64_t)draw(s), draw_int(s, 960, 961));
    const double m = kind < 5 ? (double)draw_int(s, -64, 64) : (double)(int64_t)draw(s);
    const int e = kind == 2 ? draw_int(s, -1080, 1000) : draw_int(s, -60, 60);
    return ldexp(m, e);
}

/* The exact result of operation number op, or its first 1000 bits with one more set if inexact:
 * no rounding to 53 bits, nor 64 bits more, can tell. */
static void exact_result(mpfr_t z, int op, double a, double b, double c) {
    mpfr_t x, y;
    mpfr_init2(x, 53);
    mpfr_init2(y, 1000);
    mpfr_set_d(x, b, MPFR_RNDN);
    mpfr_set_d(z, a, MPFR_RNDN);
    if (op == 0)
        mpfr_add(z, z, x, MPFR_RNDN);
    else if (op == 1)
        mpfr_mul(z, z, x, MPFR_RNDN);
    else if (op == 2) {
        mpfr_mul(z, z, x, MPFR_RNDN);
        mpfr_set_d(x, c, MPFR_RNDN);
        mpfr_add(z, z, x, MPFR_RNDN);
    } else {
        const int inexact = op == 3 ? mpfr_div(y, z, x, MPFR_RNDZ) : mpfr_sqrt(y, z, MPFR_RNDZ);
        mpfr_set(z, y, MPFR_RNDN);
        if (inexact && mpfr_number_p(y)) {
            mpfr_set_si_2exp(y, mpfr_signbit(y) ? -1 : 1, mpfr_get_exp(y) - 1002, MPFR_RNDN);
            mpfr_add(z, z, y, MPFR_RNDN);
        }
    }
    mpfr_clears(x, y, (mpfr_ptr)0);
}

static double library_result(const gka_format *f, gka_rounding mode, int op, double a, double b,
                             double c, uint64_t random) {
    switch (op) {
    case 0: return gka_add_round(f, mode, a, b, random);
    case 1: return gka_mul_round(f, mode, a, b, random);
    case 2: return gka_fma_round(f, mode, a, b, c, random);
    case 3: return gka_div_round(f, mode, a, b, random);
    default: return gka_sqrt_round(f, mode, a, random);
    }
}

static void prop_operations_round_once(void **state) {
    (void)state;
    uint64_t s = 2;
    mpfr_t z;
    mpfr_init2(z, TWIN_BITS);
    for (int i = 0; i < 20000; i++) {
        const gka_format f = draw_format(&s);
        const int op = draw_int(&s, 0, 4);
        const double a = draw_operand(&s, &f), other = draw_operand(&s, &f);
        const double b = draw_int(&s, 0, 3) ? other : draw_int(&s, 0, 1) ? a : -a;
        /* a sum that cancels all, or all but the last bits, of a product */
        double c = draw_int(&s, 0, 1) ? draw_operand(&s, &f) : -(a * b);
        if (draw_int(&s, 0, 1))
            c = nextafter(c, draw_operand(&s, &f));
        const uint64_t random = draw(&s);
        exact_result(z, op, a, b, c);
        for (int mode = GKA_NEAREST_EVEN; mode <= GKA_STOCHASTIC; mode++) {
            double want = twin_round(&f, (gka_rounding)mode, z, random);
            if (op <= 2 && mpfr_zero_p(z)) { /* MPFR computed it in round-to-nearest */
                mpfr_t zero;
                mpfr_init2(zero, 2);
                mpfr_t x;
                mpfr_init2(x, 2 * 53);
                mpfr_set_d(x, a, MPFR_RNDN);
                const mpfr_rnd_t rnd = mode == GKA_DOWN ? MPFR_RNDD : MPFR_RNDN;
                if (op == 0)
                    mpfr_add_d(zero, x, b, rnd);
                else {
                    mpfr_mul_d(x, x, b, rnd);
                    if (op == 2)
                        mpfr_add_d(x, x, c, rnd);
                    mpfr_set(zero, x, rnd);
                }
                want = mpfr_get_d(zero, rnd);
                mpfr_clears(zero, x, (mpfr_ptr)0);
            }
            const double got = library_result(&f, (gka_rounding)mode, op, a, b, c, random);
            if (bits_of(got) != twin_bits(want)) {
                print_error("operation %d: a %a b %a c %a\n", op, a, b, c);
                fail_at("operation", &f, mode, mpfr_get_d(z, MPFR_RNDN), random, got, want);
            }
        }
    }
    mpfr_clear(z);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prop_round_is_its_definition),
        cmocka_unit_test(prop_stochastic_turns_where_defined),
        cmocka_unit_test(prop_arrays_are_their_elements),
        cmocka_unit_test(prop_operations_round_once),
    };
    return cmocka_run_group_tests_name("format", tests, NULL, NULL);
}
