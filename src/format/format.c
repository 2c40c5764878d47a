/* format.c - presets, what makes a format, and rounding, encoding and decoding of one number. */
#include "format/round.h"

#include "io/bytes.h"

#include <float.h>

_Static_assert(FLT_EVAL_METHOD == 0, "float is computed in float, double in double");

static const gka_format *const presets[] = {
    &gka_bf16, &gka_fp16,      &gka_tf32,      &gka_fp32, &gka_fp64, &gka_e4m3,
    &gka_e5m2, &gka_e4m3_ieee, &gka_e5m2_ieee, &gka_e2m1, &gka_e2m3, &gka_e3m2,
    &gka_e3m4, &gka_e4m3fnuz,  &gka_e5m2fnuz,  &gka_e8m0, NULL};

const gka_format *const *gka_format_presets(void) {
    return presets;
}

const gka_format *gka_format_find(const char *name) {
    for (int i = 0; presets[i] != NULL; i++)
        if (strcmp(presets[i]->name, name) == 0)
            return presets[i];
    return NULL;
}

const gka_format *gka_format_of_dtype(gka_dtype dtype) {
    switch (dtype) {
    case GKA_F64: return &gka_fp64;
    case GKA_F32: return &gka_fp32;
    case GKA_BF16: return &gka_bf16;
    case GKA_F16: return &gka_fp16;
    case GKA_F8_E4M3: return &gka_e4m3;
    case GKA_F8_E5M2: return &gka_e5m2;
    case GKA_F8_E8M0: return &gka_e8m0;
    case GKA_F8_E4M3FNUZ: return &gka_e4m3fnuz;
    case GKA_F8_E5M2FNUZ: return &gka_e5m2fnuz;
    case GKA_F6_E2M3: return &gka_e2m3;
    case GKA_F6_E3M2: return &gka_e3m2;
    case GKA_F4: return &gka_e2m1;
    default: return NULL;
    }
}

gka_format gka_format_ieee(const char *name, int p, int emin, int emax) {
    const double max = ldexp(2 - ldexp(1, 1 - p), emax);
    return (gka_format){
        name, p, emin, emax, max, true, GKA_OVERFLOW_IEEE, 0, GKA_SPECIALS_BY_FIELD};
}

/* m with max_finite = m 2^(emax-p+1) is an integer, 2^(p-1) <= m < 2^p. */
static bool max_finite_is_value(const gka_format *f) {
    const uint64_t bits = gka_bits(f->max_finite);
    const uint64_t binade = gka_power_bits(f->emax), ulp = UINT64_C(1) << (53 - f->p);
    return bits >= binade && bits - binade < GKA_HIDDEN && (bits & (ulp - 1)) == 0;
}

static gka_status check_encoding(const gka_format *f, gka_error *error) {
    const char *const name = f->name;
    if (f->bits != 4 && f->bits != 6 && f->bits != 8 && f->bits != 16 && f->bits != 32 &&
        f->bits != 64)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "format %s: %d bits, expected 4, 6, 8, 16, 32, 64, or 0 for no encoding",
                        name, f->bits);
    if (f->specials == GKA_SPECIALS_E8M0)
        return f->p == 1 && f->bits <= 32 && f->emax - f->emin + 2 == INT64_C(1) << f->bits &&
                       f->overflow == GKA_OVERFLOW_SATURATE
                   ? GKA_OK
                   : gka_fail(error, GKA_BAD_ARGUMENT,
                              "format %s: expected p = 1, saturation, and exponents for all "
                              "patterns of %d bits but one",
                              name, f->bits);
    if (f->p < 2)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "format %s: p = 1 has no encoding, expected 0 bits", name);
    if (gka_padding_bits(f) < 0)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "format %s: sign, %d exponent bits and %d fraction bits exceed %d bits",
                        name, gka_field_bits(f), f->p - 1, f->bits);
    if (f->specials != GKA_SPECIALS_BY_FIELD) {
        const int64_t numbers = ((int64_t)(f->emax - f->emin + 1) << (f->p - 1)) +
                                (int64_t)ldexp(f->max_finite, f->p - 1 - f->emax) -
                                (INT64_C(1) << (f->p - 1)) + 1;
        if (gka_padding_bits(f) == 0 && f->subnormals && f->overflow != GKA_OVERFLOW_IEEE &&
            (f->overflow == GKA_OVERFLOW_SATURATE || f->specials == GKA_SPECIALS_FNUZ) &&
            numbers == INT64_C(1) << (f->bits - 1))
            return GKA_OK;
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "format %s: expected %d bits full of numbers, subnormal ones too, and no "
                        "overflow to what it does not have",
                        name, f->bits);
    }
    if (gka_has_inf(f))
        return GKA_OK;
    if (f->overflow == GKA_OVERFLOW_IEEE)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "format %s: emax = %d takes the exponent field that Inf would need", name,
                        f->emax);
    if (gka_encode_core(f, f->max_finite) >> gka_padding_bits(f) == gka_nan_index(f))
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "format %s: max_finite = %g takes the pattern that NaN would need", name,
                        f->max_finite);
    return GKA_OK;
}

gka_status gka_format_check(const gka_format *f, gka_error *error) {
    const char *const name = f->name != NULL ? f->name : "(no name)";
    if (f->name == NULL)
        return gka_fail(error, GKA_BAD_ARGUMENT, "a format needs a name");
    if (f->p < 1 || (f->p > 25 && f->p != 53))
        return gka_fail(error, GKA_BAD_ARGUMENT, "format %s: p = %d, expected 1..25 or 53", name,
                        f->p);
    if (f->emin < -1022 || f->emax > 1023 || f->emin > f->emax)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "format %s: exponents %d..%d, expected -1022 <= emin <= emax <= 1023", name,
                        f->emin, f->emax);
    if (!max_finite_is_value(f))
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "format %s: max_finite = %g, expected a value of %d bits with exponent %d",
                        name, f->max_finite, f->p, f->emax);
    if (f->overflow != GKA_OVERFLOW_IEEE && f->overflow != GKA_OVERFLOW_SATURATE &&
        f->overflow != GKA_OVERFLOW_NAN)
        return gka_fail(error, GKA_BAD_ARGUMENT, "format %s: unknown overflow rule %d", name,
                        (int)f->overflow);
    if ((unsigned)f->specials > GKA_SPECIALS_E8M0)
        return gka_fail(error, GKA_BAD_ARGUMENT, "format %s: unknown specials %d", name,
                        (int)f->specials);
    return f->bits == 0 ? GKA_OK : check_encoding(f, error);
}

bool gka_format_equal(const gka_format *a, const gka_format *b) {
    return a->p == b->p && a->emin == b->emin && a->emax == b->emax &&
           gka_bits(a->max_finite) == gka_bits(b->max_finite) && a->subnormals == b->subnormals &&
           a->overflow == b->overflow && a->bits == b->bits && a->specials == b->specials;
}

double gka_format_unit_roundoff(const gka_format *f) {
    return gka_double(gka_power_bits(-f->p));
}

double gka_format_min_normal(const gka_format *f) {
    return gka_double(gka_power_bits(f->emin));
}

double gka_format_min_subnormal(const gka_format *f) {
    return gka_double(gka_power_bits(gka_quantum_exponent(f)));
}

const char *gka_overflow_name(gka_overflow overflow) {
    static const char *const names[] = {"ieee", "saturate", "nan"};
    return (unsigned)overflow < 3 ? names[overflow] : NULL;
}

static const char *const rounding_names[] = {"nearest", "zero", "up", "down", "odd", "stochastic"};

const char *gka_rounding_name(gka_rounding rounding) {
    return (unsigned)rounding < 6 ? rounding_names[rounding] : NULL;
}

int gka_rounding_find(const char *name) {
    for (int i = 0; i < 6; i++)
        if (strcmp(rounding_names[i], name) == 0)
            return i;
    return -1;
}

double gka_round(const gka_format *f, gka_rounding rounding, double x, uint64_t random) {
    return gka_round_core(f, rounding, x, random);
}

uint64_t gka_round_random(uint64_t seed, uint64_t i) {
    uint64_t bits[4];
    gka_round_random_block(seed, i / 4, bits);
    return bits[i % 4];
}

/* ---- encodings of other kinds -------------------------------------------------------------- */

uint64_t gka_encode_special(const gka_format *f, double x) {
    const uint64_t sign = UINT64_C(1) << (f->bits - 1), all = 2 * sign - 1;
    if (f->specials == GKA_SPECIALS_E8M0)
        return x > 0 && x <= f->max_finite ? (uint64_t)(ilogb(x) - f->emin) : all;
    if (isnan(x) || isinf(x))
        return sign; /* -0, or the NaN that stands there */
    const gka_layout layout = gka_layout_of(f);
    const uint64_t k = gka_encode_planned(&layout, fabs(x));
    return k | (signbit(x) && (k != 0 || f->specials == GKA_SPECIALS_NONE) ? sign : 0);
}

double gka_decode_special(const gka_format *f, uint64_t pattern) {
    const uint64_t sign = UINT64_C(1) << (f->bits - 1), all = 2 * sign - 1;
    const uint64_t code = pattern & all;
    if (f->specials == GKA_SPECIALS_E8M0)
        return code == all ? gka_double(GKA_NAN) : ldexp(1, f->emin + (int)code);
    if (f->specials == GKA_SPECIALS_FNUZ && code == sign)
        return gka_double(GKA_NAN);
    const gka_layout layout = gka_layout_of(f);
    const double magnitude = gka_decode_planned(&layout, code & ~sign);
    return code & sign ? -magnitude : magnitude;
}

uint64_t gka_encode(const gka_format *f, double x) {
    return gka_encode_core(f, x);
}

double gka_decode(const gka_format *f, uint64_t pattern) {
    return gka_decode_core(f, pattern);
}

void gka_store_array(gka_dtype dtype, size_t n, const double *x, void *data) {
    const gka_format *const format = gka_format_of_dtype(dtype);
    const size_t size = gka_dtype_size(dtype);
    if (size == 0) { /* packed bits have no byte order */
        gka_encode_array(format, GKA_NEAREST_EVEN, 0, 0, n, x, data);
        return;
    }
    for (size_t i = 0; i < n; i++)
        gka_store_le((unsigned char *)data + i * size, size,
                     gka_encode(format, gka_round(format, GKA_NEAREST_EVEN, x[i], 0)));
}
