/* format.c - every encoding of the 8- and 16-bit formats with its neighbours, and of all floats
 * those about every place where the result of a rounding changes. */
#include "format_segments.h"

static const gka_rounding modes[] = {GKA_NEAREST_EVEN, GKA_TOWARD_ZERO, GKA_UP, GKA_DOWN,
                                     GKA_TO_ODD};
enum { MODES = sizeof modes / sizeof modes[0] };

static bool is_canonical_nan(double x) {
    return bits_of(x) == UINT64_C(0x7ff8000000000000);
}

/* Pattern -> value -> pattern, and the value is fixed by every mode. */
static void exh_encodings_round_trip(void **state) {
    (void)state;
    for (int i = 0; i < EXHAUSTIVE_FORMATS; i++) {
        const gka_format *const f = gka_format_find(exhaustive_formats[i].name);
        if (f->bits > 16)
            continue;
        const uint64_t half = UINT64_C(1) << (f->bits - 1), count = twin_count(f);
        const uint64_t inf = ((UINT64_C(1) << exhaustive_formats[i].width) - 1) << (f->p - 1);
        const bool has_inf = inf > count;
        mpfr_t v;
        mpfr_init2(v, 53);
        for (uint64_t pattern = 0; pattern < 2 * half; pattern++) {
            const uint64_t k = pattern & (half - 1);
            const double x = gka_decode(f, pattern), sign = pattern & half ? -1 : 1;
            if (k > count && !(has_inf && k == inf)) {
                assert_true(is_canonical_nan(x));
                continue;
            }
            twin_value(v, f, k);
            const double want = k <= count ? sign * mpfr_get_d(v, MPFR_RNDN) : sign * INFINITY;
            assert_int_equal(bits_of(x), bits_of(want));
            assert_int_equal(gka_encode(f, x), pattern);
            if (k > count && f->overflow != GKA_OVERFLOW_IEEE)
                continue;
            for (int mode = GKA_NEAREST_EVEN; mode <= GKA_STOCHASTIC; mode++)
                assert_int_equal(bits_of(gka_round(f, (gka_rounding)mode, x, UINT64_MAX)),
                                 bits_of(x));
        }
        mpfr_clear(v);
        assert_true(is_canonical_nan(gka_decode(f, gka_encode(f, NAN))));
    }
}

/* All patterns at once, to doubles and to floats, by each variant of the loops. */
static void exh_decode_arrays(void **state) {
    (void)state;
    static uint16_t patterns[1 << 16];
    static double x[1 << 16];
    static float y[1 << 16];
    for (int i = 0; i < EXHAUSTIVE_FORMATS; i++) {
        const gka_format *const f = gka_format_find(exhaustive_formats[i].name);
        if (f->bits > 16)
            continue;
        const size_t n = (size_t)1 << f->bits;
        for (size_t k = 0; k < n; k++) {
            if (f->bits == 8)
                ((uint8_t *)patterns)[k] = (uint8_t)k;
            else
                patterns[k] = (uint16_t)k;
        }
        const gka_format_kernels *kernels;
        for (int variant = 0; (kernels = gka_format_kernels_at(variant)) != NULL; variant++) {
            kernels->decode_f64(f, n, patterns, x);
            kernels->decode_f32(f, n, patterns, y);
            for (size_t k = 0; k < n; k++) {
                assert_int_equal(bits_of(x[k]), bits_of(gka_decode(f, k)));
                assert_int_equal(bits_of_f32(y[k]), bits_of_f32((float)gka_decode(f, k)));
            }
        }
    }
}

/* Between two values low < high of a format with numbers k and k + 1: what each mode makes of
 * the point low + quarters/4 of the way, moved by `step` doubles. */
static void check_between(const gka_format *f, double low, double high, uint64_t k, int quarters,
                          int step, bool negative) {
    double x = low + (high - low) * quarters / 4;
    if (step != 0)
        x = nextafter(x, step > 0 ? INFINITY : -INFINITY);
    const double middle = low + (high - low) / 2, sign = negative ? -1 : 1;
    const bool exact = bits_of(x) == bits_of(low), odd = k % 2 == 1;
    for (int i = 0; i < MODES; i++) {
        const gka_rounding mode = modes[i];
        bool up = mode == (negative ? GKA_DOWN : GKA_UP) || (mode == GKA_TO_ODD && !odd);
        if (mode == GKA_NEAREST_EVEN)
            up = x > middle || (bits_of(x) == bits_of(middle) && odd);
        const double want = sign * (up && !exact ? high : low);
        assert_int_equal(bits_of(gka_round(f, mode, sign * x, 0)), bits_of(want));
    }
    if (step == 0) {
        const uint64_t fraction = (uint64_t)quarters << 62;
        const double above = sign * (quarters > 0 ? high : low);
        assert_int_equal(bits_of(gka_round(f, GKA_STOCHASTIC, sign * x, -fraction)),
                         bits_of(above));
        assert_int_equal(bits_of(gka_round(f, GKA_STOCHASTIC, sign * x, -fraction - 1)),
                         bits_of(sign * low));
    }
}

static void exh_neighbours(void **state) {
    (void)state;
    for (int i = 0; i < EXHAUSTIVE_FORMATS; i++) {
        const gka_format *const f = gka_format_find(exhaustive_formats[i].name);
        if (f->bits > 16)
            continue;
        mpfr_t v;
        mpfr_init2(v, 53);
        double low = 0;
        for (uint64_t k = 0; k < twin_count(f); k++) {
            twin_value(v, f, k + 1);
            const double high = mpfr_get_d(v, MPFR_RNDN);
            for (int quarters = 0; quarters < 4; quarters++)
                for (int step = quarters > 0 ? -1 : 0; step <= 1; step++)
                    for (int negative = 0; negative <= 1; negative++)
                        check_between(f, low, high, k, quarters, step, negative);
            low = high;
        }
        mpfr_clear(v);
    }
}

/* Floats on both sides of every breakpoint: each value, each middle, each threshold of overflow
 * and underflow, Inf; 16 more of every exponent; NaN of every payload bit. For tf32, whose values
 * are many, one breakpoint in 61 besides those about 0 and Inf. */
static void exh_float_slice(void **state) {
    (void)state;
    static float_block block;
    uint64_t draws = 3;
    for (int i = 0; i < EXHAUSTIVE_FORMATS; i++) {
        const exhaustive_format e = exhaustive_formats[i];
        const gka_format *const f = gka_format_find(e.name);
        for (int mode = 0; mode < MODES; mode++)
            for (int negative = 0; negative <= 1; negative++) {
                segments s = segments_of(f, modes[mode], negative, e.width, e.padding);
                const size_t stride = s.count > 200000 ? 61 : 1;
                block.n = 0;
                for (size_t j = 0; j < s.count; j++) {
                    if (j % stride != 0 && j > 100 && j + 100 < s.count)
                        continue;
                    const uint32_t first = s.list[j].first > 2 ? s.list[j].first - 2 : 0;
                    block_add(&block, &s, negative, first, 5);
                    if (block.n + 5 > FLOATS || j + 1 == s.count) {
                        block_check(&block, f, modes[mode], true);
                        block.n = 0;
                    }
                }
                for (uint32_t exponent = 0; exponent <= 255; exponent++) {
                    if (exponent % 128 == 0) {
                        block_check(&block, f, modes[mode], true);
                        block.n = 0;
                    }
                    for (int j = 0; j < 16; j++) {
                        const uint32_t fraction = (uint32_t)draw(&draws) >> 9;
                        block_add(&block, &s, negative, exponent << 23 | fraction, 1);
                    }
                }
                for (int bit = 0; bit < 23; bit++) {
                    block_add(&block, &s, negative, UINT32_C(0x7f800000) | 1U << bit, 1);
                }
                block_check(&block, f, modes[mode], true);
                segments_free(&s);
            }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exh_encodings_round_trip),
        cmocka_unit_test(exh_decode_arrays),
        cmocka_unit_test(exh_neighbours),
        cmocka_unit_test(exh_float_slice),
    };
    return cmocka_run_group_tests_name("format", tests, NULL, NULL);
}
