/* units.c - every device's matrix product against a slow twin in exact arithmetic: MPFR at a
 * precision at which no sum or product here is rounded. The twin reads encodings, not values, and
 * has its own table of rules; only the names of the devices are shared. Specials, subnormal
 * numbers, overflow, cancellation. */
#include "test.h"

#include "gka/arith.h"

#include <math.h>
#include <mpfr.h>
#include <stdlib.h>

/* ---- encodings ----------------------------------------------------------------------------- */

/* Sign, exponent field, fraction; `only_nan`: the field of all ones holds numbers too, and NaN is
 * all ones (E4M3). */
typedef struct encoding {
    int field_bits, fraction_bits;
    bool only_nan;
} encoding;

static const encoding encodings[GKA_MMA_INPUT_COUNT] = {
    [GKA_MMA_BF16] = {8, 7, false},  [GKA_MMA_FP16] = {5, 10, false},
    [GKA_MMA_TF32] = {8, 10, false}, [GKA_MMA_E4M3] = {4, 3, true},
    [GKA_MMA_E5M2] = {5, 2, false},  [GKA_MMA_WORKING] = {8, 23, false}};
static const encoding binary32 = {8, 23, false}, binary16 = {5, 10, false};

typedef struct number {
    bool nan, inf, negative;
    int e;     /* of the encoding */
    int64_t m; /* magnitude, in units of 2^(e - fraction bits) */
    int f;
} number;

static number read_number(const encoding *E, uint32_t bits) {
    const int bias = (1 << (E->field_bits - 1)) - 1;
    const int ones = (1 << E->field_bits) - 1;
    const int field = (int)(bits >> E->fraction_bits) & ones;
    const int64_t fraction = bits & ((1u << E->fraction_bits) - 1);
    number x = {.negative = bits >> (E->field_bits + E->fraction_bits) & 1, .f = E->fraction_bits};
    if (E->only_nan)
        x.nan = field == ones && fraction == (1 << E->fraction_bits) - 1;
    else {
        x.nan = field == ones && fraction;
        x.inf = field == ones && !fraction;
    }
    x.e = (field ? field : 1) - bias;
    x.m = fraction + (field ? INT64_C(1) << E->fraction_bits : 0);
    return x;
}

static double value_of(number x) {
    const double magnitude = x.nan   ? (double)NAN
                             : x.inf ? (double)INFINITY
                                     : ldexp((double)x.m, x.e - x.f);
    return x.negative ? -magnitude : magnitude;
}

/* ---- exact numbers ------------------------------------------------------------------------- */

enum { EXACT_BITS = 2000 };

/* t = a b, or a */
static void set_product(mpfr_t t, number a, number b) {
    const bool negative = a.negative != b.negative;
    mpfr_set_si_2exp(t, (long)a.m, a.e - a.f, MPFR_RNDN);
    mpfr_mul_si(t, t, (long)b.m, MPFR_RNDN);
    mpfr_mul_2si(t, t, b.e - b.f, MPFR_RNDN);
    if (negative)
        mpfr_neg(t, t, MPFR_RNDN);
}

static void set_number(mpfr_t t, number a) {
    mpfr_set_si_2exp(t, (long)(a.negative ? -a.m : a.m), a.e - a.f, MPFR_RNDN);
}

/* t to a multiple of 2^unit */
static void to_multiple(mpfr_t t, int unit, mpfr_rnd_t mode) {
    mpfr_mul_2si(t, t, -unit, MPFR_RNDN);
    mpfr_rint(t, t, mode);
    mpfr_mul_2si(t, t, unit, MPFR_RNDN);
}

/* t cut toward zero to `bits` bits, no finer than 2^last */
static void cut_to_bits(mpfr_t t, int bits, int last) {
    if (mpfr_zero_p(t))
        return;
    const int unit = (int)mpfr_get_exp(t) - bits;
    to_multiple(t, unit > last ? unit : last, MPFR_RNDZ);
}

/* ---- rules --------------------------------------------------------------------------------- */

typedef enum rule { CUT, EXACT, PAIRS, FLOORED, CHAINS } rule;
typedef enum order { UP, TWO_AND_TWO, SWAPPED } order;
typedef struct row {
    const char *device;
    gka_mma_input input;
    rule rule;
    int group, fraction, floor;
    int out;  /* bits of the result: 24, 14; 11: fp16 to nearest */
    int late; /* products summed from zero before c is added to nearest; 0: c is inside */
    order order;
    bool flush;
} row;

static const row rows[] = {
    {"v100", GKA_MMA_FP16, CUT, 4, 23, -1000, 24, 0, UP, false},
    {"v100-fp16", GKA_MMA_FP16, CUT, 4, 23, -19, 11, 0, UP, false},
    {"t4", GKA_MMA_FP16, CUT, 8, 24, -132, 24, 0, UP, false},
    {"a100", GKA_MMA_BF16, CUT, 8, 24, -133, 24, 0, UP, false},
    {"a100", GKA_MMA_FP16, CUT, 8, 24, -133, 24, 0, UP, false},
    {"a100", GKA_MMA_TF32, CUT, 4, 24, -133, 24, 0, UP, false},
    {"a100-fp16", GKA_MMA_FP16, CUT, 8, 24, -20, 11, 0, UP, false},
    {"l40s", GKA_MMA_BF16, CUT, 8, 24, -132, 24, 0, UP, false},
    {"l40s", GKA_MMA_FP16, CUT, 8, 24, -132, 24, 0, UP, false},
    {"l40s", GKA_MMA_TF32, CUT, 4, 24, -132, 24, 0, UP, false},
    {"l40s", GKA_MMA_E4M3, CUT, 16, 13, -132, 14, 0, UP, false},
    {"l40s", GKA_MMA_E5M2, CUT, 16, 13, -132, 14, 0, UP, false},
    {"h100", GKA_MMA_BF16, CUT, 16, 25, -133, 24, 0, UP, false},
    {"h100", GKA_MMA_FP16, CUT, 16, 25, -133, 24, 0, UP, false},
    {"h100", GKA_MMA_TF32, CUT, 8, 25, -133, 24, 0, UP, false},
    {"h100", GKA_MMA_E4M3, CUT, 32, 13, -133, 14, 0, UP, false},
    {"h100", GKA_MMA_E5M2, CUT, 32, 13, -133, 14, 0, UP, false},
    {"h200", GKA_MMA_BF16, CUT, 16, 25, -133, 24, 0, UP, false},
    {"h200", GKA_MMA_FP16, CUT, 16, 25, -133, 24, 0, UP, false},
    {"h200", GKA_MMA_TF32, CUT, 8, 25, -133, 24, 0, UP, false},
    {"h200", GKA_MMA_E4M3, CUT, 32, 13, -133, 14, 0, UP, false},
    {"h200", GKA_MMA_E5M2, CUT, 32, 13, -133, 14, 0, UP, false},
    {"h100-mma", GKA_MMA_BF16, CUT, 16, 25, -133, 24, 0, UP, false},
    {"h100-mma", GKA_MMA_FP16, CUT, 16, 25, -133, 24, 0, UP, false},
    {"h100-mma", GKA_MMA_TF32, CUT, 8, 25, -133, 24, 0, UP, false},
    {"h100-mma", GKA_MMA_E4M3, CUT, 16, 25, -133, 24, 32, TWO_AND_TWO, false},
    {"h100-mma", GKA_MMA_E5M2, CUT, 16, 25, -133, 24, 32, TWO_AND_TWO, false},
    {"h100-fp16", GKA_MMA_FP16, CUT, 16, 25, -133, 11, 0, UP, false},
    {"h100-fp16", GKA_MMA_E4M3, CUT, 32, 13, -133, 11, 0, UP, false},
    {"h100-fp16", GKA_MMA_E5M2, CUT, 32, 13, -133, 11, 0, UP, false},
    {"h100-mma-fp16", GKA_MMA_E4M3, CUT, 16, 25, -133, 11, 32, TWO_AND_TWO, false},
    {"h100-mma-fp16", GKA_MMA_E5M2, CUT, 16, 25, -133, 11, 32, TWO_AND_TWO, false},
    {"b200", GKA_MMA_BF16, CUT, 16, 25, -133, 24, 0, UP, false},
    {"b200", GKA_MMA_FP16, CUT, 16, 25, -133, 24, 0, UP, false},
    {"b200", GKA_MMA_TF32, CUT, 8, 25, -133, 24, 0, UP, false},
    {"b200-mma", GKA_MMA_BF16, CUT, 16, 25, -133, 24, 0, UP, false},
    {"b200-mma", GKA_MMA_FP16, CUT, 16, 25, -133, 24, 0, UP, false},
    {"b200-mma", GKA_MMA_TF32, CUT, 8, 25, -133, 24, 0, UP, false},
    {"b200-mma", GKA_MMA_E4M3, CUT, 16, 25, -133, 24, 32, TWO_AND_TWO, false},
    {"b200-mma", GKA_MMA_E5M2, CUT, 16, 25, -133, 24, 32, TWO_AND_TWO, false},
    {"gka-cuda", GKA_MMA_BF16, CUT, 16, 25, -133, 24, 0, UP, false},
    {"gka-cuda", GKA_MMA_FP16, CUT, 16, 25, -133, 24, 0, UP, false},
    {"gka-cuda", GKA_MMA_TF32, CUT, 8, 25, -133, 24, 0, UP, false},
    {"gka-cuda", GKA_MMA_E4M3, CUT, 32, 13, -133, 14, 0, UP, false},
    {"gka-cuda", GKA_MMA_E5M2, CUT, 32, 13, -133, 14, 0, UP, false},
    {"mi100", GKA_MMA_BF16, EXACT, 2, 0, 0, 24, 0, UP, false},
    {"mi100", GKA_MMA_FP16, EXACT, 4, 0, 0, 24, 0, UP, false},
    {"mi250", GKA_MMA_BF16, PAIRS, 4, 0, 0, 24, 0, UP, true},
    {"mi250", GKA_MMA_FP16, PAIRS, 4, 0, 0, 24, 0, UP, true},
    {"mi300", GKA_MMA_BF16, FLOORED, 8, 24, -1000, 24, 0, UP, false},
    {"mi300", GKA_MMA_FP16, FLOORED, 8, 24, -1000, 24, 0, UP, false},
    {"mi300", GKA_MMA_TF32, FLOORED, 4, 24, -1000, 24, 0, UP, false},
    {"avx512-bf16", GKA_MMA_BF16, EXACT, 1, 0, 0, 24, 0, SWAPPED, true},
    {"amx", GKA_MMA_BF16, CHAINS, 32, 0, 0, 24, 0, UP, true},
};
enum { ROWS = sizeof rows / sizeof *rows };

/* Whether a sum is NaN or infinite; its value then in *special. */
static bool is_special(const row *R, int n, const number *a, const number *b, number c,
                       double *special) {
    double sum = c.nan || c.inf ? value_of(c) : 0;
    bool any = c.nan || c.inf;
    for (int i = 0; i < n; i++) {
        const double p = value_of(a[i]) * value_of(b[i]);
        const bool beyond = R->rule == FLOORED && fabs(p) >= 0x1p128;
        if (!isfinite(p) || beyond) {
            any = true;
            sum += beyond ? copysign((double)INFINITY, p) : p;
        }
    }
    *special = sum;
    return any;
}

/* The bits of t in the result's format; t is one of its numbers or beyond it. */
static uint32_t result_bits(const row *R, mpfr_t t, bool minus_zero) {
    const double x = mpfr_zero_p(t) ? (minus_zero ? -0.0 : 0.0) : mpfr_get_d(t, MPFR_RNDN);
    if (R->out != 11)
        return bits_of_f32((float)x); /* beyond 2^128: infinite */
    if (fabs(x) >= 65536)
        return x < 0 ? 0xfc00 : 0x7c00;
    const double a = fabs(x);
    const int e = a < 0x1p-14 ? -14 : ilogb(a);
    const uint32_t k = (uint32_t)ldexp(a, 10 - e); /* with the hidden bit */
    return (x < 0 ? 0x8000 : 0) | ((uint32_t)(e + 14) * 1024 + k);
}

static uint32_t special_bits(const row *R, double x) {
    const bool half = R->out == 11;
    if (isnan(x))
        return half ? 0x7fff : 0x7fffffff;
    return (half ? 0x7c00u : 0x7f800000u) | (x < 0 ? (half ? 0x8000u : 0x80000000u) : 0);
}

/* To nearest in binary32; flush: exponents without end, then what is below 2^-126 is zero. Returns
 * the bits. */
static uint32_t nearest(const row *R, mpfr_t t, bool minus_zero) {
    if (!R->flush)
        return mpfr_zero_p(t) ? (minus_zero ? 0x80000000u : 0)
                              : bits_of_f32(mpfr_get_flt(t, MPFR_RNDN));
    if (mpfr_zero_p(t))
        return minus_zero ? 0x80000000u : 0;
    mpfr_t r;
    mpfr_init2(r, 24);
    mpfr_set(r, t, MPFR_RNDN);
    const bool tiny = mpfr_get_exp(r) < -125;
    const float x = mpfr_get_flt(r, MPFR_RNDN);
    mpfr_clear(r);
    return tiny ? (mpfr_sgn(t) < 0 ? 0x80000000u : 0) : bits_of_f32(x);
}

/* x + y of binary32 numbers to nearest, as `nearest` says */
static uint32_t add32(const row *R, uint32_t x, uint32_t y) {
    const number a = read_number(&binary32, x), b = read_number(&binary32, y);
    if (a.nan || a.inf || b.nan || b.inf)
        return special_bits(R, value_of(a) + value_of(b));
    mpfr_t s, t;
    mpfr_inits2(EXACT_BITS, s, t, (mpfr_ptr)0);
    set_number(s, a);
    set_number(t, b);
    mpfr_add(s, s, t, MPFR_RNDN);
    const uint32_t bits = nearest(R, s, x >> 31 && y >> 31);
    mpfr_clears(s, t, (mpfr_ptr)0);
    return bits;
}

/* a b + c to nearest */
static uint32_t fma32(const row *R, number a, number b, uint32_t c) {
    const number n = read_number(&binary32, c);
    double special;
    if (is_special(R, 1, &a, &b, n, &special))
        return special_bits(R, special);
    mpfr_t s, t;
    mpfr_inits2(EXACT_BITS, s, t, (mpfr_ptr)0);
    set_product(s, a, b);
    set_number(t, n);
    mpfr_add(s, s, t, MPFR_RNDN);
    const uint32_t bits =
        nearest(R, s, a.negative != b.negative && n.negative && !a.m + !b.m && !n.m);
    mpfr_clears(s, t, (mpfr_ptr)0);
    return bits;
}

static uint32_t step_cut(const row *R, const number *a, const number *b, number c) {
    int E = R->floor;
    if (c.m && c.e > E)
        E = c.e;
    for (int i = 0; i < R->group; i++)
        if (a[i].m && b[i].m && a[i].e + b[i].e > E)
            E = a[i].e + b[i].e;
    mpfr_t sum, t;
    mpfr_inits2(EXACT_BITS, sum, t, (mpfr_ptr)0);
    set_number(sum, c);
    to_multiple(sum, E - R->fraction, MPFR_RNDZ);
    for (int i = 0; i < R->group; i++) {
        set_product(t, a[i], b[i]);
        to_multiple(t, E - R->fraction, MPFR_RNDZ);
        mpfr_add(sum, sum, t, MPFR_RNDN);
    }
    if (R->out == 11) {
        mpfr_t r;
        mpfr_init2(r, 11);
        /* to nearest even: at 11 bits, or on the grid of subnormal numbers */
        if (mpfr_zero_p(sum) || mpfr_get_exp(sum) > -14)
            mpfr_set(r, sum, MPFR_RNDN);
        else {
            mpfr_mul_2si(sum, sum, 24, MPFR_RNDN);
            mpfr_rint(sum, sum, MPFR_RNDN); /* rint to nearest: ties to even */
            mpfr_mul_2si(sum, sum, -24, MPFR_RNDN);
            mpfr_set(r, sum, MPFR_RNDN);
        }
        mpfr_set(sum, r, MPFR_RNDN);
        mpfr_clear(r);
    } else
        cut_to_bits(sum, R->out, -126 - (R->out - 1));
    const uint32_t bits = result_bits(R, sum, false);
    mpfr_clears(sum, t, (mpfr_ptr)0);
    return bits;
}

static uint32_t step_exact(const row *R, const number *a, const number *b, number c) {
    mpfr_t sum, t;
    mpfr_inits2(EXACT_BITS, sum, t, (mpfr_ptr)0);
    set_number(sum, c);
    bool minus_zero = c.negative && !c.m;
    for (int i = 0; i < R->group; i++) {
        set_product(t, a[i], b[i]);
        mpfr_add(sum, sum, t, MPFR_RNDN);
        minus_zero = minus_zero && (!a[i].m || !b[i].m) && a[i].negative != b[i].negative;
    }
    const uint32_t bits = nearest(R, sum, minus_zero);
    mpfr_clears(sum, t, (mpfr_ptr)0);
    return bits;
}

static uint32_t tree(const row *R, int n, const number *a, const number *b) {
    if (n == 1) /* from +0 */
        return fma32(R, *a, *b, 0);
    return add32(R, tree(R, n / 2, a, b), tree(R, n / 2, a + n / 2, b + n / 2));
}

static uint32_t step_floored(const row *R, const number *a, const number *b, number c) {
    int E = R->floor;
    for (int i = 0; i < R->group; i++)
        if (a[i].m && b[i].m && a[i].e + b[i].e > E)
            E = a[i].e + b[i].e;
    const int E2 = c.m && c.e > E ? c.e : E;
    mpfr_t sum, t;
    mpfr_inits2(EXACT_BITS, sum, t, (mpfr_ptr)0);
    mpfr_set_zero(sum, 1);
    for (int i = 0; i < R->group; i++) {
        set_product(t, a[i], b[i]);
        to_multiple(t, E - R->fraction, MPFR_RNDZ);
        mpfr_add(sum, sum, t, MPFR_RNDN);
    }
    to_multiple(sum, E2 - 31, MPFR_RNDD);
    set_number(t, c);
    to_multiple(t, E2 - 24, MPFR_RNDD);
    mpfr_add(sum, sum, t, MPFR_RNDN);
    const uint32_t bits = nearest(R, sum, false);
    mpfr_clears(sum, t, (mpfr_ptr)0);
    return bits;
}

static bool flushes(const row *R, number x) {
    return R->flush && x.m >> x.f == 0 && !x.nan && !x.inf;
}

/* x86's units keep the sign. */
static number zero_of(const row *R, number x) {
    return (number){.f = x.f, .negative = x.negative && (R->rule == EXACT || R->rule == CHAINS)};
}

static uint32_t step(const row *R, const number *a, const number *b, uint32_t c_bits) {
    const encoding *const of_c = R->out == 11 ? &binary16 : &binary32;
    number c = read_number(of_c, c_bits);
    if (flushes(R, c)) {
        c = zero_of(R, c);
        c_bits = c.negative ? UINT32_C(1) << 31 : 0;
    }
    double special;
    if (R->rule != PAIRS && R->rule != CHAINS && is_special(R, R->group, a, b, c, &special))
        return special_bits(R, special);
    switch (R->rule) {
    case EXACT: return step_exact(R, a, b, c);
    case PAIRS: return add32(R, tree(R, R->group, a, b), c_bits);
    case FLOORED: return step_floored(R, a, b, c);
    case CHAINS: {
        uint32_t chain[2] = {0, 0};
        for (int i = 0; i < R->group; i++)
            chain[i % 2] = fma32(R, a[i], b[i], chain[i % 2]);
        return add32(R, c_bits, add32(R, chain[0], chain[1]));
    }
    default: return step_cut(R, a, b, c);
    }
}

/* c + s to nearest, in binary32 or fp16 */
static uint32_t add_late(const row *R, uint32_t c, uint32_t s) {
    if (R->out != 11)
        return add32(R, c, s);
    const double sum = value_of(read_number(&binary16, c)) + value_of(read_number(&binary16, s));
    if (!isfinite(sum))
        return special_bits(R, sum);
    mpfr_t t; /* 11 bits and fp16's grid: to nearest even of an exact sum */
    mpfr_init2(t, EXACT_BITS);
    mpfr_set_d(t, sum, MPFR_RNDN);
    row half = *R;
    half.group = 0, half.fraction = 1000, half.floor = 0;
    uint32_t bits = 0;
    if (!mpfr_zero_p(t)) {
        const number n = {.negative = sum < 0,
                          .e = 0,
                          .m = (int64_t)ldexp(fabs(sum), 24), /* fp16 numbers are 2^-24 m */
                          .f = 24};
        bits = step_cut(&half, NULL, NULL, n);
    } else if (signbit(sum))
        bits = 0x8000;
    mpfr_clear(t);
    return bits;
}

static uint32_t twin(const row *R, int K, const number *a, const number *b, uint32_t c) {
    uint32_t sum = R->late ? 0 : c;
    number x[64], y[64];
    int taken = 0, since = 0;
    const int padded = (K + 31) / 32 * 32;
    for (int at = 0; at < padded; at++) {
        int k = at;
        if (R->order == SWAPPED)
            k = at % 2 ? at - 1 : at + 1;
        if (R->order == TWO_AND_TWO) { /* the first and second of every four, then the others */
            const int i = at % 16, half = at % 32 / 16;
            k = at / 32 * 32 + i / 2 * 4 + 2 * half + i % 2;
        }
        x[taken] = k < K ? a[k] : (number){0};
        y[taken] = k < K ? b[k] : (number){0};
        if (++taken < R->group)
            continue;
        taken = 0;
        /* groups beyond K, where K was padded to fewer */
        if (at + 1 - R->group >= K + (R->order == SWAPPED ? K % 2 : 0) && R->order != TWO_AND_TWO &&
            R->rule != CHAINS)
            break;
        sum = step(R, x, y, sum);
        since += R->group;
        if (R->late && since == R->late) {
            c = add_late(R, c, sum);
            sum = 0;
            since = 0;
        }
    }
    return R->late ? c : sum;
}

/* ---- inputs -------------------------------------------------------------------------------- */

static uint64_t counter;

static uint32_t draw(void) {
    uint64_t bits[4];
    gka_philox((const uint64_t[4]){counter++, 0, 0, 0}, (const uint64_t[2]){71, 0}, bits);
    return (uint32_t)bits[0];
}

typedef enum kind { ANY, RANGE, NEAR, SUBNORMAL, LARGE, SPARSE, CANCEL, KINDS } kind;

static uint32_t encoded(const encoding *E, kind k, bool accumulator, int at) {
    const int bias = (1 << (E->field_bits - 1)) - 1, ones = (1 << E->field_bits) - 1;
    const uint32_t width = (uint32_t)(E->field_bits + E->fraction_bits);
    uint32_t fraction = draw() & ((1u << E->fraction_bits) - 1), sign = draw() & 1;
    int field = bias;
    switch (k) {
    case ANY: return draw() & ((2u << width) - 1);
    case RANGE: field = (int)(draw() % (unsigned)ones); break;
    case NEAR: field += (int)(draw() % 7) - 3 + (accumulator ? (int)(draw() % 9) - 4 : 0); break;
    case SUBNORMAL: field = (int)(draw() % 3) + (accumulator || draw() % 2 ? 0 : bias - 3); break;
    case LARGE:
        field = ones - 1 - (int)(draw() % 2) - (accumulator ? 0 : draw() % 2 ? 0 : bias - 1);
        break;
    case SPARSE:
        if (draw() % 4)
            return sign << width;
        break;
    default: /* pairs that cancel but for a little */
        fraction &= at % 2 ? ~0u : ~0u << (E->fraction_bits - 2);
        sign = (uint32_t)at & 1;
        field += at / 2 % 3;
    }
    field = field < 0 ? 0 : field > ones - 1 ? ones - 1 : field;
    return sign << width | (uint32_t)field << E->fraction_bits | fraction;
}

/* ---- comparison ---------------------------------------------------------------------------- */

enum { M = 3, N = 5, MOST_K = 64 };

static void compare(const row *R, kind k, int K) {
    const gka_device *const device = gka_device_find(R->device);
    const encoding *const in = &encodings[R->input];
    const encoding *const of_c = R->out == 11 ? &binary16 : &binary32;
    assert_non_null(device);
    assert_true(device->core[R->input].group > 0);
    number a[M * MOST_K], b[N * MOST_K];
    double left[M * MOST_K], right[N * MOST_K], c[M * N];
    uint32_t c_bits[M * N];
    for (int i = 0; i < M * K; i++) {
        a[i] = read_number(in, encoded(in, k, false, i));
        left[i] = value_of(a[i]);
    }
    for (int i = 0; i < N * K; i++) {
        b[i] = read_number(in, encoded(in, k == CANCEL ? NEAR : k, false, i));
        right[i] = value_of(b[i]);
    }
    for (int i = 0; i < M * N; i++) {
        c_bits[i] = i % 5 == 4 ? (uint32_t)(i & 1) << 31 >> (R->out == 11 ? 16 : 0)
                               : encoded(of_c, k, true, i);
        c[i] = value_of(read_number(of_c, c_bits[i]));
    }
    void *const work = gka_alloc(
        gka_mma_left_size(device, R->input, M, K) + gka_mma_right_size(device, R->input, K, N), 1);
    gka_mma(device, R->input, M, N, K, (gka_matrix){left, K, 1}, (gka_matrix){right, 1, K}, c, N,
            work);
    gka_free(work);
    for (int i = 0; i < M * N; i++) {
        number x[MOST_K], y[MOST_K];
        for (int j = 0; j < K; j++) { /* flushed as they come in */
            x[j] = a[i / N * K + j];
            y[j] = b[i % N * K + j];
            x[j] = flushes(R, x[j]) ? zero_of(R, x[j]) : x[j];
            y[j] = flushes(R, y[j]) ? zero_of(R, y[j]) : y[j];
        }
        const uint32_t want = twin(R, K, x, y, c_bits[i]);
        const double value = value_of(read_number(of_c, want));
        if (isnan(value) ? !isnan(c[i]) : bits_of(value) != bits_of(c[i]))
            fail_msg("%s, %s, inputs %d, K %d, element %d: %a, by the twin %a (c %08x)", R->device,
                     gka_mma_input_name(R->input), (int)k, K, i, c[i], value, c_bits[i]);
    }
}

static void prop_devices_equal_their_twins(void **state) {
    (void)state;
    static const int depths[] = {64, 32, 5, 39};
    for (int i = 0; i < ROWS; i++)
        for (kind k = 0; k < KINDS; k++)
            for (size_t d = 0; d < sizeof depths / sizeof *depths; d++)
                compare(&rows[i], k, depths[d]);
}

/* Every core of every device has its row. */
static void test_no_device_is_without_a_twin(void **state) {
    (void)state;
    for (const gka_device *const *d = gka_device_presets(); *d; d++)
        for (gka_mma_input input = 0; input < GKA_MMA_INPUT_COUNT; input++) {
            bool found = (*d)->core[input].group == 0;
            for (int i = 0; i < ROWS; i++)
                found |= !strcmp(rows[i].device, (*d)->name) && rows[i].input == input;
            if (!found)
                fail_msg("%s, %s: no row", (*d)->name, gka_mma_input_name(input));
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(prop_devices_equal_their_twins),
                                       cmocka_unit_test(test_no_device_is_without_a_twin)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
