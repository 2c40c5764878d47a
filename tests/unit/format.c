/* format.c - presets, checks, special values and overflow rules, encodings, the stochastic mode. */
#include "format_twin.h"

#include "format/kernels.h"
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
        {"e2m1", 0x1p-2, 6, 1, 0.5},
        {"e2m3", 0x1p-4, 7.5, 1, 0.125},
        {"e3m2", 0x1p-3, 28, 0.25, 0x1p-4},
        {"e3m4", 0x1p-5, 15.5, 0.25, 0x1p-6},
        {"e4m3fnuz", 0x1p-4, 240, 0x1p-7, 0x1p-10},
        {"e5m2fnuz", 0x1p-3, 57344, 0x1p-15, 0x1p-17},
        {"e8m0", 0x1p-1, 0x1p127, 0x1p-127, 0x1p-127},
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
            assert_int_equal(f->bits, gka_dtype_bits((gka_dtype)dtype));
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
        {GKA_F8_E4M3FNUZ, {0xcd, 0x7f}}, /* 240 */
        {GKA_F8_E5M2FNUZ, {0xc6, 0x63}},
        {GKA_F8_E8M0, {0xff, 0x88}}, /* NaN, 512 */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned char data[1 + 2 * 8];
        gka_store_array(rows[i].dtype, 2, x, data + 1);
        assert_memory_equal(data + 1, rows[i].bytes, 2 * gka_dtype_size(rows[i].dtype));
    }
    /* -3, 6, .5, 1: two to a byte, four to three bytes, from the lowest bit on */
    static const double four[4] = {-3, 6, .5, 1};
    static const unsigned char e2m1[2] = {0x7d, 0x21}, e2m3[3] = {0x34, 0x47, 0x20},
                               e3m2[3] = {0xb2, 0x85, 0x30};
    unsigned char data[3];
    gka_store_array(GKA_F4, 4, four, data);
    assert_memory_equal(data, e2m1, 2);
    gka_store_array(GKA_F6_E2M3, 4, four, data);
    assert_memory_equal(data, e2m3, 3);
    gka_store_array(GKA_F6_E3M2, 4, four, data);
    assert_memory_equal(data, e3m2, 3);
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
    const gka_format good = {
        "mine", 4, -6, 8, 448, true, GKA_OVERFLOW_NAN, 8, GKA_SPECIALS_BY_FIELD};
    gka_error error = {0};
    assert_int_equal(gka_format_check(&good, &error), GKA_OK);
    static const struct {
        gka_format format;
        const char *says;
    } rows[] = {
        {{"p", 26, -6, 8, 448, true, GKA_OVERFLOW_NAN, 0, GKA_SPECIALS_BY_FIELD}, "p = 26"},
        {{"p", 0, -6, 8, 448, true, GKA_OVERFLOW_NAN, 0, GKA_SPECIALS_BY_FIELD}, "p = 0"},
        {{"low", 4, -1023, 8, 448, true, GKA_OVERFLOW_NAN, 0, GKA_SPECIALS_BY_FIELD}, "-1023..8"},
        {{"high", 4, -6, 1024, 448, true, GKA_OVERFLOW_NAN, 0, GKA_SPECIALS_BY_FIELD}, "-6..1024"},
        {{"order", 4, 9, 8, 448, true, GKA_OVERFLOW_NAN, 0, GKA_SPECIALS_BY_FIELD}, "9..8"},
        {{"max", 4, -6, 8, 449, true, GKA_OVERFLOW_NAN, 0, GKA_SPECIALS_BY_FIELD},
         "max_finite = 449"},
        {{"max", 4, -6, 8, 240, true, GKA_OVERFLOW_NAN, 0, GKA_SPECIALS_BY_FIELD}, "exponent 8"},
        {{"max", 4, -6, 8, 512, true, GKA_OVERFLOW_NAN, 0, GKA_SPECIALS_BY_FIELD},
         "max_finite = 512"},
        {{"max", 4, -6, 8, -448, true, GKA_OVERFLOW_NAN, 0, GKA_SPECIALS_BY_FIELD},
         "max_finite = -448"},
        {{"max", 4, -6, 8, NAN, true, GKA_OVERFLOW_NAN, 0, GKA_SPECIALS_BY_FIELD},
         "max_finite = nan"},
        {{"rule", 4, -6, 8, 448, true, (gka_overflow)7, 0, GKA_SPECIALS_BY_FIELD},
         "overflow rule 7"},
        {{"bits", 4, -6, 8, 448, true, GKA_OVERFLOW_NAN, 12, GKA_SPECIALS_BY_FIELD}, "12 bits"},
        {{"narrow", 5, -6, 8, 448, true, GKA_OVERFLOW_NAN, 8, GKA_SPECIALS_BY_FIELD},
         "exceed 8 bits"},
        {{"inf", 4, -6, 8, 448, true, GKA_OVERFLOW_IEEE, 8, GKA_SPECIALS_BY_FIELD},
         "Inf would need"},
        {{"nan", 4, -6, 8, 480, true, GKA_OVERFLOW_NAN, 8, GKA_SPECIALS_BY_FIELD},
         "NaN would need"},
        {{"one", 1, -6, 8, 256, true, GKA_OVERFLOW_NAN, 8, GKA_SPECIALS_BY_FIELD},
         "p = 1 has no encoding"},
        {{"none", 3, 0, 2, 6, true, GKA_OVERFLOW_SATURATE, 4, GKA_SPECIALS_NONE}, "exceed 4 bits"},
        {{"holes", 2, 0, 2, 4, true, GKA_OVERFLOW_SATURATE, 4, GKA_SPECIALS_NONE}, "full of"},
        {{"to NaN", 2, 0, 2, 6, true, GKA_OVERFLOW_NAN, 4, GKA_SPECIALS_NONE}, "full of"},
        {{"e8", 1, -126, 127, 0x1p127, false, GKA_OVERFLOW_SATURATE, 8, GKA_SPECIALS_E8M0},
         "all patterns of 8 bits but one"},
        {{"kind", 2, 0, 2, 6, true, GKA_OVERFLOW_SATURATE, 4, (gka_specials)9}, "specials 9"},
        {{NULL, 4, -6, 8, 448, true, GKA_OVERFLOW_NAN, 8, GKA_SPECIALS_BY_FIELD}, "name"},
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

/* Patterns of the formats that are not GKA_SPECIALS_BY_FIELD. */
static void test_other_encodings(void **state) {
    (void)state;
    static const struct {
        const char *name;
        unsigned pattern;
        double value;
    } rows[] = {{"e2m1", 0x1, 0.5},       {"e2m1", 0x7, 6},          {"e2m1", 0xf, -6},
                {"e2m1", 0x8, -0.0},      {"e2m3", 0x1f, 7.5},       {"e2m3", 0x28, -1},
                {"e3m2", 0x1f, 28},       {"e3m2", 0x01, 0x1p-4},    {"e3m4", 0x70, INFINITY},
                {"e3m4", 0x78, NAN},      {"e3m4", 0x6f, 15.5},      {"e4m3fnuz", 0x80, NAN},
                {"e4m3fnuz", 0x7f, 240},  {"e4m3fnuz", 0xc0, -1},    {"e4m3fnuz", 0x00, 0},
                {"e5m2fnuz", 0x80, NAN},  {"e5m2fnuz", 0x7f, 57344}, {"e5m2fnuz", 0x01, 0x1p-17},
                {"e8m0", 0x00, 0x1p-127}, {"e8m0", 0x7f, 1},         {"e8m0", 0xfe, 0x1p127},
                {"e8m0", 0xff, NAN}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const gka_format *const f = gka_format_find(rows[i].name);
        const double value = gka_decode(f, rows[i].pattern);
        assert_int_equal(twin_bits(value), twin_bits(rows[i].value));
        assert_int_equal(gka_encode(f, rows[i].value), rows[i].pattern);
    }
    assert_int_equal(gka_encode(gka_format_find("e2m1"), NAN), 0x8);
    assert_int_equal(gka_encode(gka_format_find("e4m3fnuz"), -0.0), 0);
    assert_int_equal(gka_encode(gka_format_find("e8m0"), 0), 0xff);
    assert_int_equal(gka_encode(gka_format_find("e8m0"), -1), 0xff);
}

/* Every pattern is decoded and encoded again, alone and in arrays that begin inside a byte. */
static void exh_patterns_return(void **state) {
    (void)state;
    for (const gka_format *const *p = gka_format_presets(); *p; p++) {
        const gka_format *const f = *p;
        if (f->bits > 8)
            continue;
        const unsigned patterns = 1u << f->bits;
        double values[256], again[256];
        unsigned char packed[257];
        for (unsigned k = 0; k < patterns; k++) {
            values[k] = gka_decode(f, k);
            if (!isnan(values[k]))
                assert_int_equal(gka_encode(f, values[k]), k);
        }
        memset(packed, 0xa5, sizeof packed);
        gka_encode_array(f, GKA_NEAREST_EVEN, 0, 0, patterns, values, packed);
        assert_int_equal(packed[patterns * (unsigned)f->bits / 8], 0xa5);
        gka_decode_array(f, patterns, packed, again);
        for (unsigned k = 0; k < patterns; k++)
            assert_true(!isfinite(values[k]) || bits_of(again[k]) == bits_of(values[k]));
        float narrow[256], returned[256];
        for (unsigned k = 0; k < patterns; k++)
            narrow[k] = (float)values[k];
        gka_encode_array_f32(f, GKA_NEAREST_EVEN, 0, 0, patterns, narrow, packed);
        gka_decode_array_f32(f, patterns, packed, returned);
        for (unsigned k = 0; k < patterns; k++)
            assert_true(!isfinite(values[k]) || bits_of_f32(returned[k]) == bits_of_f32(narrow[k]));
    }
    /* two and four to a byte: 1, -6, 0.5 are 2, f, 1; 1, -1, 7.5, .125 are 08, 28, 1f, 01 */
    unsigned char bytes[3];
    gka_encode_array(gka_format_find("e2m1"), GKA_NEAREST_EVEN, 0, 0, 3,
                     (const double[]){1, -7, .4}, bytes);
    assert_memory_equal(bytes, ((const unsigned char[]){0xf2, 0x01}), 2);
    gka_encode_array(gka_format_find("e2m3"), GKA_NEAREST_EVEN, 0, 0, 4,
                     (const double[]){1, -1, 9, .125}, bytes);
    assert_memory_equal(bytes, ((const unsigned char[]){0x08, 0xfa, 0x05}), 3);
}

/* Blocks against what the rules say in words, on numbers made to sit at their edges. */
static void test_blocks(void **state) {
    (void)state;
    double x[32] = {0}, out[32], scale;
    const gka_block_format *const mx = gka_block_format_find("mxfp4");
    assert_true(gka_block_bits(mx) > 4.24 && gka_block_bits(mx) < 4.26);
    x[0] = -7.9; /* floor(log2 7.9) = 2 = emax: the scale is 1, and 7.9 saturates at 6 */
    x[1] = 0.75; /* a tie of .5 and 1 in e2m1: to 1 */
    x[2] = 0.2;
    gka_block_round(mx, 32, x, out, &scale);
    assert_int_equal(bits_of(scale), bits_of(1));
    assert_int_equal(bits_of(out[0]), bits_of(-6));
    assert_int_equal(bits_of(out[1]), bits_of(1));
    assert_int_equal(bits_of(out[2]), bits_of(0));
    x[0] = 0x1p-130; /* the smallest scale is 2^-127, emax 2: 2^-130 / 2^-127 = .125 -> 0 */
    x[1] = x[2] = 0;
    gka_block_round(mx, 32, x, out, &scale);
    assert_int_equal(bits_of(scale), bits_of(0x1p-127));
    assert_int_equal(bits_of(out[0]), 0);
    x[3] = INFINITY;
    gka_block_round(mx, 32, x, out, &scale);
    assert_true(isnan(scale) && isnan(out[0]) && isnan(out[31]));

    /* fp32 scales, up: m = 448 s exactly representable, and the largest element is the largest */
    const gka_block_format *const rows = gka_block_format_find("e4m3-1x128");
    x[3] = 3;
    gka_block_round(rows, 32, x, out, &scale);
    assert_true(3 / scale <= 448 && 3 / (scale * (1 - 0x1p-23)) > 448);
    assert_true(fabs(out[3] - 3) <= 3 * 0x1p-22);

    /* nvfp4: a tensor whose largest number is 6 x 448 has S = 1; its block the scale 448 */
    const gka_block_format *const nv = gka_block_format_find("nvfp4");
    double two[2], y[32] = {2688, 1344, 448};
    y[16] = 6;
    gka_block_round(nv, 32, y, out, two);
    assert_int_equal(bits_of(two[0]), bits_of(448));
    assert_int_equal(bits_of(two[1]), bits_of(1));
    assert_int_equal(bits_of(out[0]), bits_of(2688));
    assert_int_equal(bits_of(out[1]), bits_of(1344));
    assert_int_equal(bits_of(out[2]), bits_of(448));
    assert_int_equal(bits_of(out[16]), bits_of(6));
    assert_null(gka_block_format_find("mxfp5"));
    for (const gka_block_format *const *f = gka_block_format_presets(); *f; f++) {
        assert_ptr_equal(gka_block_format_find((*f)->name), *f);
        assert_true(gka_format_equal((*f)->element, gka_format_find((*f)->element->name)));
        assert_true(gka_format_equal((*f)->scale, gka_format_find((*f)->scale->name)));
        memset(y, 0, sizeof y);
        gka_block_round(*f, 32, y, out, NULL);
        for (int i = 0; i < 32; i++)
            assert_int_equal(bits_of(out[i]), 0);
    }
}

/* What is read back is stored again without loss (OCP's rule and NVFP4's scales aside, where the
 * largest element may have saturated), and no number moves by more than half a step of its binade
 * or of the smallest number that its scale allows. */
static void prop_blocks_are_near(void **state) {
    (void)state;
    for (const gka_block_format *const *f = gka_block_format_presets(); *f; f++)
        for (uint64_t seed = 0; seed < 50; seed++) {
            enum { N = 256 };
            double x[N], once[N], twice[N], scales[N];
            for (uint64_t i = 0; i < N; i++) {
                const uint64_t r = gka_round_random(seed, i);
                x[i] =
                    (double)(float)ldexp((double)(int64_t)r, -63 + (int)(r % 7) - (int)(seed % 40));
            }
            gka_block_round(*f, N, x, once, scales);
            gka_block_round(*f, N, once, twice, NULL);
            double most = 0;
            for (int i = 0; i < N; i++)
                most = fmax(most, fabs(x[i]));
            const double S = (*f)->tensor_scale ? most / (6 * 448) : 1;
            for (int i = 0; i < N; i++) {
                const double s = scales[i / (*f)->block] * S, q = fabs(x[i]) / s;
                const double u = gka_format_unit_roundoff((*f)->element);
                const double step = fmax(q, gka_format_min_normal((*f)->element)) * u;
                const double over = fmax(0, q - (*f)->element->max_finite);
                assert_true(fabs(once[i] - x[i]) <= s * (fmax(step, over) * (1 + 0x1p-20)));
                if ((*f)->rule == GKA_SCALE_OCP)
                    assert_int_equal(bits_of(twice[i]), bits_of(once[i]));
            }
        }
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

/* The loops of every instruction set against gka_round and gka_encode one by one: any float,
 * numbers about the format's ends, any place in the stream, lengths about those of the blocks. */
static void test_stochastic_loops(void **state) {
    (void)state;
    enum { N = 203 };
    static float x[N];
    static double wide[N], rounded[N];
    static const size_t lengths[] = {0, 1, 3, 61, 64, 65, 131, N};
    uint64_t s = 12;
    const gka_format_kernels *kernels;
    for (const gka_format *const *f = gka_format_presets(); *f != NULL; f++) {
        const bool packs = (*f)->p <= 24 && (*f)->emin >= -126 && (*f)->emax <= 127 &&
                           (*f)->subnormals && (*f)->bits >= 8 && (*f)->bits <= 32 &&
                           (*f)->specials == GKA_SPECIALS_BY_FIELD;
        const int bytes = (*f)->bits / 8;
        for (uint64_t first = 0; first < 9; first++) {
            for (int i = 0; i < N; i++) {
                const uint32_t any = (uint32_t)draw(&s);
                const int scale = (*f)->emin - (*f)->p - 2 + (int)(any % 12);
                memcpy(&x[i], &any, sizeof any);
                if (i % 3 == 1)
                    x[i] = (float)ldexp((double)(int32_t)draw(&s) * 0x1p-31, scale);
                if (i % 3 == 2)
                    x[i] = (float)((double)(int32_t)draw(&s) * 0x1p-30 * (*f)->max_finite);
                wide[i] = (double)x[i];
            }
            for (int v = 0; (kernels = gka_format_kernels_at(v)) != NULL; v++)
                for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
                    unsigned char packed[8 * N + 1];
                    const size_t n = lengths[l], place = 1000 + first;
                    packed[n * (size_t)bytes] = 0x5a; /* nothing is written past the end */
                    kernels->round_stochastic(*f, 5, place, n, wide, rounded);
                    if (packs)
                        kernels->encode_stochastic(*f, 5, place, n, x, packed);
                    assert_int_equal(packed[n * (size_t)bytes], 0x5a);
                    for (size_t i = 0; i < n; i++) {
                        const double want =
                            gka_round(*f, GKA_STOCHASTIC, wide[i], gka_round_random(5, place + i));
                        uint32_t pattern = 0;
                        memcpy(&pattern, packed + i * (size_t)bytes, packs ? (size_t)bytes : 0);
                        if (bits_of(rounded[i]) != bits_of(want) ||
                            (packs && pattern != gka_encode(*f, want)))
                            fail_msg("%s, %s: %a gives %a and %x, not %a", kernels->name,
                                     (*f)->name, wide[i], rounded[i], pattern, want);
                    }
                }
        }
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
        cmocka_unit_test(test_other_encodings),
        cmocka_unit_test(exh_patterns_return),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(prop_blocks_are_near),
        cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_canonical_nan_and_inf_patterns),
        cmocka_unit_test(test_without_subnormals),
        cmocka_unit_test(test_stochastic_stream),
        cmocka_unit_test(test_stochastic_loops),
        cmocka_unit_test(test_stochastic_frequency),
    };
    return cmocka_run_group_tests_name("format", tests, NULL, NULL);
}
