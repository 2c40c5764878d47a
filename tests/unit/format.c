/* format.c - presets, checks, special values and overflow rules, encodings, the stochastic mode. */
#include "format_twin.h"

#include "gka/base.h"

static void test_presets(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double unit_roundoff, max, min_normal, min_subnormal;
    } rows[] = {
        {"bf16", 0x1p-8, 0x1.fep127, 0x1p-126, 0x1p-133},
        {"fp16", 0x1p-11, 65504, 0x1p-14, 0x1p-24},
        {"tf32", 0x1p-11, 0x1.ffcp127, 0x1p-126, 0x1p-136},
        {"fp32", 0x1p-24, 0x1.fffffep127, 0x1p-126, 0x1p-149},
        {"fp64", 0x1p-53, 0x1.fffffffffffffp1023, 0x1p-1022, 0x1p-1074},
        {"e4m3", 0x1p-4, 448, 0x1p-6, 0x1p-9},
        {"e5m2", 0x1p-3, 57344, 0x1p-14, 0x1p-16},
        {"e4m3-ieee", 0x1p-4, 448, 0x1p-6, 0x1p-9},
        {"e5m2-ieee", 0x1p-3, 57344, 0x1p-14, 0x1p-16},
    };
    enum { ROWS = sizeof rows / sizeof rows[0] };
    for (int i = 0; i < ROWS; i++) {
        const gka_format *const f = gka_format_presets()[i];
        assert_string_equal(f->name, rows[i].name);
        assert_ptr_equal(f, gka_format_find(rows[i].name));
        assert_int_equal(gka_format_check(f, NULL), GKA_OK);
        assert_int_equal(bits_of(gka_format_unit_roundoff(f)), bits_of(rows[i].unit_roundoff));
        assert_int_equal(bits_of(f->max_finite), bits_of(rows[i].max));
        assert_int_equal(bits_of(gka_format_min_normal(f)), bits_of(rows[i].min_normal));
        assert_int_equal(bits_of(gka_format_min_subnormal(f)), bits_of(rows[i].min_subnormal));
    }
    assert_null(gka_format_presets()[ROWS]);
    assert_null(gka_format_find("fp8"));
    assert_string_equal(gka_overflow_name(gka_format_find("e4m3")->overflow), "saturate");
    assert_string_equal(gka_overflow_name(gka_format_find("e4m3-ieee")->overflow), "nan");
    assert_string_equal(gka_overflow_name(gka_format_find("e5m2-ieee")->overflow), "ieee");
    assert_null(gka_overflow_name((gka_overflow)3));
}

static void test_dtypes(void **state) {
    (void)state;
    for (int dtype = 0; dtype < GKA_DTYPE_COUNT; dtype++) {
        const gka_format *const f = gka_format_of_dtype((gka_dtype)dtype);
        const bool is_float = gka_dtype_name((gka_dtype)dtype)[0] == 'F' || dtype == GKA_BF16;
        assert_int_equal(f != NULL, is_float);
        if (f != NULL)
            assert_int_equal(f->bits, 8 * gka_dtype_size((gka_dtype)dtype));
    }
}

/* Rounded once, little-endian, at any address. */
static void test_stored_arrays(void **state) {
    (void)state;
    static const double x[2] = {-0x1.921fb54442d18p1, 464};
    static const struct {
        gka_dtype dtype;
        unsigned char bytes[16];
    } rows[] = {
        {GKA_F64, {0x18, 0x2d, 0x44, 0x54, 0xfb, 0x21, 0x09, 0xc0, 0, 0, 0, 0, 0, 0, 0x7d, 0x40}},
        {GKA_F32, {0xdb, 0x0f, 0x49, 0xc0, 0, 0, 0xe8, 0x43}},
        {GKA_BF16, {0x49, 0xc0, 0xe8, 0x43}},
        {GKA_F16, {0x48, 0xc2, 0x40, 0x5f}},
        {GKA_F8_E4M3, {0xc5, 0x7e}},
        {GKA_F8_E5M2, {0xc2, 0x5f}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned char data[1 + 2 * 8];
        gka_store_array(rows[i].dtype, 2, x, data + 1);
        assert_memory_equal(data + 1, rows[i].bytes, 2 * gka_dtype_size(rows[i].dtype));
    }
}

static void test_names(void **state) {
    (void)state;
    for (int mode = GKA_NEAREST_EVEN; mode <= GKA_STOCHASTIC; mode++)
        assert_int_equal(gka_rounding_find(gka_rounding_name((gka_rounding)mode)), mode);
    assert_int_equal(gka_rounding_find("away"), -1);
    assert_null(gka_rounding_name((gka_rounding)6));
}

static void test_formats_are_checked(void **state) {
    (void)state;
    const gka_format good = {"mine", 4, -6, 8, 448, true, GKA_OVERFLOW_NAN, 8};
    gka_error error = {0};
    assert_int_equal(gka_format_check(&good, &error), GKA_OK);
    static const struct {
        gka_format format;
        const char *says;
    } rows[] = {
        {{"p", 26, -6, 8, 448, true, GKA_OVERFLOW_NAN, 0}, "p = 26"},
        {{"p", 0, -6, 8, 448, true, GKA_OVERFLOW_NAN, 0}, "p = 0"},
        {{"low", 4, -1023, 8, 448, true, GKA_OVERFLOW_NAN, 0}, "-1023..8"},
        {{"high", 4, -6, 1024, 448, true, GKA_OVERFLOW_NAN, 0}, "-6..1024"},
        {{"order", 4, 9, 8, 448, true, GKA_OVERFLOW_NAN, 0}, "9..8"},
        {{"max", 4, -6, 8, 449, true, GKA_OVERFLOW_NAN, 0}, "max_finite = 449"},
        {{"max", 4, -6, 8, 240, true, GKA_OVERFLOW_NAN, 0}, "exponent 8"},
        {{"max", 4, -6, 8, 512, true, GKA_OVERFLOW_NAN, 0}, "max_finite = 512"},
        {{"max", 4, -6, 8, -448, true, GKA_OVERFLOW_NAN, 0}, "max_finite = -448"},
        {{"max", 4, -6, 8, NAN, true, GKA_OVERFLOW_NAN, 0}, "max_finite = nan"},
        {{"rule", 4, -6, 8, 448, true, (gka_overflow)7, 0}, "overflow rule 7"},
        {{"bits", 4, -6, 8, 448, true, GKA_OVERFLOW_NAN, 12}, "12 bits"},
        {{"narrow", 5, -6, 8, 448, true, GKA_OVERFLOW_NAN, 8}, "exceed 8 bits"},
        {{"inf", 4, -6, 8, 448, true, GKA_OVERFLOW_IEEE, 8}, "Inf would need"},
        {{"nan", 4, -6, 8, 480, true, GKA_OVERFLOW_NAN, 8}, "NaN would need"},
        {{"one", 1, -6, 8, 256, true, GKA_OVERFLOW_NAN, 8}, "p = 1 has no encoding"},
        {{NULL, 4, -6, 8, 448, true, GKA_OVERFLOW_NAN, 8}, "name"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(gka_format_check(&rows[i].format, &error), GKA_BAD_ARGUMENT);
        if (strstr(error.text, rows[i].says) == NULL)
            fail_msg("'%s' does not say '%s'", error.text, rows[i].says);
    }
    const gka_format bf16 = gka_format_ieee("bf16", 8, -126, 127);
    assert_false(gka_format_equal(&bf16, gka_format_find("bf16"))); /* it has no encoding */
    assert_int_equal(bits_of(bf16.max_finite), bits_of(gka_format_find("bf16")->max_finite));
}

/* The table of gka_overflow, word by word. */
static void test_overflow(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double max, over, inf, stays; /* over: what follows max; just below it */
    } rows[] = {{"e4m3", 448, 464, 448, 464},
                {"e4m3-ieee", 448, 464, NAN, 464},
                {"e5m2", 57344, 61440, 57344, 61439},
                {"e5m2-ieee", 57344, 61440, INFINITY, 61439},
                {"fp16", 65504, 65520, INFINITY, 65519}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const gka_format *const f = gka_format_find(rows[i].name);
        const double max = rows[i].max, inf = rows[i].inf, huge = 1e300;
        const double over = nextafter(rows[i].over, INFINITY);
        assert_int_equal(twin_bits(gka_round(f, GKA_NEAREST_EVEN, over, 0)), twin_bits(inf));
        assert_int_equal(twin_bits(gka_round(f, GKA_NEAREST_EVEN, rows[i].stays, 0)), bits_of(max));
        assert_int_equal(twin_bits(gka_round(f, GKA_UP, over, 0)), twin_bits(inf));
        assert_int_equal(twin_bits(gka_round(f, GKA_UP, -huge, 0)), bits_of(-max));
        assert_int_equal(twin_bits(gka_round(f, GKA_DOWN, huge, 0)), bits_of(max));
        assert_int_equal(twin_bits(gka_round(f, GKA_DOWN, -huge, 0)), twin_bits(-inf));
        assert_int_equal(twin_bits(gka_round(f, GKA_TOWARD_ZERO, huge, 0)), bits_of(max));
        assert_int_equal(twin_bits(gka_round(f, GKA_TO_ODD, -huge, 0)), bits_of(-max));
        assert_int_equal(twin_bits(gka_round(f, GKA_STOCHASTIC, huge, 0)), twin_bits(inf));
        for (int mode = GKA_NEAREST_EVEN; mode <= GKA_STOCHASTIC; mode++) {
            assert_int_equal(twin_bits(gka_round(f, (gka_rounding)mode, INFINITY, 0)),
                             twin_bits(inf));
            assert_int_equal(bits_of(gka_round(f, (gka_rounding)mode, -NAN, 0)),
                             UINT64_C(0x7ff8000000000000));
            assert_int_equal(bits_of(gka_round(f, (gka_rounding)mode, -0.0, ~UINT64_C(0))),
                             bits_of(-0.0));
        }
    }
}

static void test_canonical_nan_and_inf_patterns(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t nan, inf, minus_one;
    } rows[] = {{"bf16", 0x7fc0, 0x7f80, 0xbf80},
                {"fp16", 0x7e00, 0x7c00, 0xbc00},
                {"tf32", 0x7fc00000, 0x7f800000, 0xbf800000},
                {"fp32", 0x7fc00000, 0x7f800000, 0xbf800000},
                {"fp64", 0x7ff8000000000000, 0x7ff0000000000000, 0xbff0000000000000},
                {"e4m3", 0x7f, 0x7f, 0xb8},
                {"e5m2", 0x7e, 0x7c, 0xbc}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const gka_format *const f = gka_format_find(rows[i].name);
        assert_int_equal(gka_encode(f, NAN), rows[i].nan);
        assert_int_equal(gka_encode(f, INFINITY), rows[i].inf);
        assert_int_equal(gka_encode(f, -1), rows[i].minus_one);
        assert_int_equal(bits_of(gka_decode(f, rows[i].minus_one)), bits_of(-1.0));
    }
    /* tf32 in an fp32 word: the 13 low bits are not looked at */
    assert_int_equal(bits_of(gka_decode(gka_format_find("tf32"), 0x3f801fff)), bits_of(1.0));
    /* both signs of NaN, all payloads of e5m2 */
    for (uint64_t k = 0x7d; k <= 0x7f; k++) {
        assert_true(isnan(gka_decode(gka_format_find("e5m2"), k)));
        assert_true(isnan(gka_decode(gka_format_find("e5m2"), k | 0x80)));
    }
}

static void test_without_subnormals(void **state) {
    (void)state;
    gka_format f = *gka_format_find("fp16");
    f.subnormals = false;
    assert_int_equal(gka_format_check(&f, NULL), GKA_OK);
    const double least = 0x1p-14;
    assert_int_equal(bits_of(gka_format_min_subnormal(&f)), bits_of(least));
    assert_int_equal(bits_of(gka_round(&f, GKA_NEAREST_EVEN, -least / 2, 0)), bits_of(-0.0));
    assert_int_equal(bits_of(gka_round(&f, GKA_NEAREST_EVEN, least * 0.51, 0)), bits_of(least));
    assert_int_equal(bits_of(gka_round(&f, GKA_UP, 1e-300, 0)), bits_of(least));
    assert_int_equal(bits_of(gka_round(&f, GKA_TO_ODD, -1e-300, 0)), bits_of(-least));
    assert_int_equal(bits_of(gka_round(&f, GKA_TOWARD_ZERO, least * 0.99, 0)), bits_of(0.0));
    assert_int_equal(gka_encode(&f, least), 0x0400);
    assert_true(isnan(gka_decode(&f, 0x0001))); /* spells a number that the format has not */
    assert_int_equal(bits_of(gka_decode(&f, 0x8000)), bits_of(-0.0));
    const float x[2] = {0x1.8p-15F, -0x1p-15F};
    uint16_t packed[2];
    gka_encode_array_f32(&f, GKA_NEAREST_EVEN, 0, 0, 2, x, packed);
    assert_int_equal(packed[0], 0x0400);
    assert_int_equal(packed[1], 0x8000);
}

/* The stream is Philox; arrays are rounded alike in one piece, in many, and by several threads. */
enum { STREAM = 5000, PIECES = 40 };

typedef struct job {
    const gka_format *format;
    const double *x;
    double *out;
} job;

static void round_piece(void *context, int64_t i, int worker) {
    (void)worker;
    const job *const j = context;
    const size_t first = (size_t)i * (STREAM / PIECES);
    gka_round_array(j->format, GKA_STOCHASTIC, 7, 1000 + first, STREAM / PIECES, j->x + first,
                    j->out + first);
}

static void test_stochastic_stream(void **state) {
    (void)state;
    static double x[STREAM], whole[STREAM], pieces[STREAM];
    static float x32[STREAM], whole32[STREAM];
    static uint16_t packed[STREAM], packed32[STREAM];
    uint64_t s = 11, bits[4];
    gka_philox((const uint64_t[4]){2}, (const uint64_t[2]){7, 0x726f756e64696e67}, bits);
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(gka_round_random(7, 8 + i), bits[i]);
    const gka_format *const f = gka_format_find("bf16");
    for (size_t i = 0; i < STREAM; i++) {
        x32[i] = (float)(int32_t)draw(&s);
        x[i] = (double)x32[i];
    }
    gka_round_array(f, GKA_STOCHASTIC, 7, 1000, STREAM, x, whole);
    for (size_t i = 0; i < STREAM; i++) {
        const double want = gka_round(f, GKA_STOCHASTIC, x[i], gka_round_random(7, 1000 + i));
        assert_int_equal(bits_of(whole[i]), bits_of(want));
    }
    for (int threads = 1; threads <= 3; threads++) {
        memset(pieces, 0, sizeof pieces);
        gka_set_threads(threads);
        gka_parallel(PIECES, round_piece, &(job){f, x, pieces});
        assert_memory_equal(pieces, whole, sizeof whole);
    }
    gka_set_threads(0);
    gka_round_array_f32(f, GKA_STOCHASTIC, 7, 1000, STREAM, x32, whole32);
    gka_encode_array(f, GKA_STOCHASTIC, 7, 1000, STREAM, x, packed);
    gka_encode_array_f32(f, GKA_STOCHASTIC, 7, 1000, STREAM, x32, packed32);
    for (size_t i = 0; i < STREAM; i++) {
        assert_int_equal(bits_of((double)whole32[i]), bits_of(whole[i]));
        assert_int_equal(packed[i], gka_encode(f, whole[i]));
        assert_int_equal(packed32[i], packed[i]);
    }
}

/* n roundings of a number that lies w of the way: the count of those up is binomial(n, w), and
 * with a fixed seed its distance from n w, in standard deviations, is one number. Six of these are
 * exceeded by chance once in 5e8 seeds (Bernstein; n w (1 - w) > 1000). The mean of the results
 * is within the same of x: the mode is unbiased. */
static void test_stochastic_frequency(void **state) {
    (void)state;
    enum { N = 100000 };
    static double x[N], out[N];
    const gka_format *const f = gka_format_find("fp16");
    static const double ways[] = {1.0 / 64, 0.25, 0.5, 0.7, 63.0 / 64};
    static const double lows[] = {1, 1000, 0x1p-20, -1, -3 * 0x1p-24};
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 5; j++) {
            const double low = lows[j], high = gka_decode(f, gka_encode(f, low) + 1);
            for (size_t k = 0; k < N; k++)
                x[k] = low + (high - low) * ways[i];
            gka_round_array(f, GKA_STOCHASTIC, (uint64_t)(5 * i + j), 0, N, x, out);
            int up = 0;
            for (size_t k = 0; k < N; k++) {
                up += bits_of(out[k]) == bits_of(high);
                assert_true(bits_of(out[k]) == bits_of(high) || bits_of(out[k]) == bits_of(low));
            }
            const double w = ways[i], deviation = sqrt(N * w * (1 - w));
            assert_true(fabs(up - N * w) < 6 * deviation);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_presets),
        cmocka_unit_test(test_dtypes),
        cmocka_unit_test(test_stored_arrays),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_formats_are_checked),
        cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_canonical_nan_and_inf_patterns),
        cmocka_unit_test(test_without_subnormals),
        cmocka_unit_test(test_stochastic_stream),
        cmocka_unit_test(test_stochastic_frequency),
    };
    return cmocka_run_group_tests_name("format", tests, NULL, NULL);
}
