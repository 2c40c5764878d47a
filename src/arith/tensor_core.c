/* tensor_core.c - the sum of a matrix unit, as the rule itself (gka/arith.h, gka_sum; NUMERICS 6).
 *
 *   a_i b_i     exact products, i < group, of exponent e_a + e_b and not renormalised
 *   E           the largest exponent among the products and c that are not zero; at least `floor`
 *   t_i, t_c    each term truncated toward zero to a multiple of 2^(E - fraction)
 *   c <- t_c + sum_i t_i, exactly, then converted to the result's format        (GKA_SUM_CUT)
 *
 * Everything that is cut is integers: a term is m 2^(e - f), its exponent e is that of the encoding
 * (a subnormal has its format's smallest exponent and a small m).
 */
#include "arith/tensor_core.h"

#include "format/round.h"

#include <math.h>
#include <string.h>

gka_term_format gka_mma_input_format(gka_mma_input input) {
    static const gka_term_format formats[GKA_MMA_INPUT_COUNT] = {
        [GKA_MMA_BF16] = {8, -126}, [GKA_MMA_FP16] = {11, -14}, [GKA_MMA_TF32] = {11, -126},
        [GKA_MMA_E4M3] = {4, -6},   [GKA_MMA_E5M2] = {3, -14},  [GKA_MMA_WORKING] = {24, -126},
    };
    return formats[input];
}

static const gka_term_format result_formats[GKA_RESULT_COUNT] = {
    [GKA_RESULT_FP32] = {24, -126}, [GKA_RESULT_E8M13] = {24, -126}, [GKA_RESULT_FP16] = {11, -14}};

/* ---- order --------------------------------------------------------------------------------- */

int64_t gka_k_at(gka_k_order order, int64_t at) {
    switch (order) {
    case GKA_K_PAIRS_APART: {
        const int64_t block = at / 32 * 32, i = at % 32;
        return block + (i % 16 / 2 * 4 + i % 2) + (i / 16 * 2);
    }
    case GKA_K_ODD_FIRST: return at ^ 1;
    default: return at;
    }
}

int64_t gka_k_unit(const gka_tensor_core *core) {
    static const int blocks[GKA_K_ORDER_COUNT] = {1, 32, 2};
    int64_t unit = core->group;
    while (unit % blocks[core->order])
        unit += core->group;
    return unit;
}

/* ---- terms --------------------------------------------------------------------------------- */

/* The number m 2^(exponent - fraction), m = +-magnitude. */
typedef struct term {
    int64_t m;
    int exponent, fraction;
} term;

static term unpack(gka_term_format format, float x) {
    const uint32_t bits = gka_bits_f32(x);
    const int field = (int)(bits >> 23 & 0xff);
    const int exponent = (field ? field : 1) - 127;
    const int64_t significand = (bits & 0x7fffff) | (field ? 0x800000 : 0);
    const int below = format.emin > exponent ? format.emin - exponent : 0;
    const int drop = 24 - format.p + below;
    const int64_t m = drop < 24 ? significand >> drop : 0;
    return (term){bits >> 31 ? -m : m, exponent + below, format.p - 1};
}

static term product(gka_mma_input input, float a, float b) {
    const gka_term_format format = gka_mma_input_format(input);
    const term u = unpack(format, a), v = unpack(format, b);
    return (term){u.m * v.m, u.exponent + v.exponent, u.fraction + v.fraction};
}

/* The larger of E and the exponent of a term that is not zero. */
static int at_least(int E, term t) {
    return t.m && t.exponent > E ? t.exponent : E;
}

/* m 2^shift, truncated toward zero. |m| < 2^24, so a left shift (at most fraction) fits. */
static int64_t shift_toward_zero(int64_t m, int shift) {
    if (shift >= 0)
        return m * ((int64_t)1 << shift);
    return shift < -62 ? 0 : m / ((int64_t)1 << -shift);
}

/* t truncated toward zero, in units of 2^unit */
static int64_t cut(term t, int unit) {
    return t.m ? shift_toward_zero(t.m, t.exponent - t.fraction - unit) : 0;
}

/* ---- results ------------------------------------------------------------------------------- */

/* m 2^scale truncated toward zero to `p` bits in binary32; 2^128 and more in magnitude is
 * infinite. */
static float truncate_to_binary32(int p, int64_t m, int scale) {
    uint64_t magnitude = m < 0 ? (uint64_t)-m : (uint64_t)m;
    int ulp = scale;
    while (magnitude >> p || (magnitude && ulp < -126 - (p - 1))) {
        magnitude >>= 1;
        ulp++;
    }
    const double value = ldexp((double)magnitude, ulp);
    if (value >= 0x1p128)
        return m < 0 ? -INFINITY : INFINITY;
    return m < 0 && magnitude ? (float)-value : (float)value;
}

/* m 2^scale to nearest even in fp16; a zero is +0. */
static float nearest_fp16(int64_t m, int scale) {
    uint64_t magnitude = m < 0 ? (uint64_t)-m : (uint64_t)m, sticky = 0;
    while (magnitude >> 53) {
        sticky |= magnitude & 1;
        magnitude >>= 1;
        scale++;
    }
    const double value = ldexp((double)(magnitude | sticky), scale); /* to odd: 53 >= 11 + 2 */
    const double r = gka_round_core(&gka_fp16, GKA_NEAREST_EVEN, m < 0 ? -value : value, 0);
    return r > 0 || r < 0 ? (float)r : 0;
}

static float converted(gka_result result, int64_t m, int scale) {
    switch (result) {
    case GKA_RESULT_E8M13: return truncate_to_binary32(14, m, scale);
    case GKA_RESULT_FP16: return nearest_fp16(m, scale);
    default: return truncate_to_binary32(24, m, scale);
    }
}

static float canonical(float x) {
    return isnan(x) ? gka_float(UINT32_C(0x7fffffff)) : x;
}

/* Whether some product or c is infinite or NaN; then *result is the sum: an infinity if all that
 * are infinite have one sign and nothing is NaN, else the one NaN there is. */
static bool special(const gka_tensor_core *core, const float *a, const float *b, float c,
                    float *result) {
    double sum = isfinite(c) ? 0 : (double)c; /* binary64, so that no product overflows */
    bool any = !isfinite(c);
    for (int i = 0; i < core->group; i++) {
        const double p = (double)a[i] * (double)b[i];
        const bool large = core->sum == GKA_SUM_FLOORED && fabs(p) >= 0x1p128;
        if (!isfinite(p) || large) {
            sum += large ? copysign((double)INFINITY, p) : p;
            any = true;
        }
    }
    *result = canonical((float)sum);
    return any;
}

/* ---- GKA_SUM_CUT --------------------------------------------------------------------------- */

static float step_cut(const gka_tensor_core *core, gka_mma_input input, const float *a,
                      const float *b, float c) {
    const term accumulator = unpack(result_formats[core->result], c);
    int E = at_least(core->floor, accumulator);
    for (int i = 0; i < core->group; i++)
        E = at_least(E, product(input, a[i], b[i]));

    const int unit = E - core->fraction;
    int64_t sum = cut(accumulator, unit);
    for (int i = 0; i < core->group; i++)
        sum += cut(product(input, a[i], b[i]), unit);
    return converted(core->result, sum, unit);
}

/* ---- GKA_SUM_EXACT ------------------------------------------------------------------------- */

/* A fixed-point number of two's complement, low word first, in units of 2^UNIT: more than any sum
 * of products of binary32 numbers needs. */
enum { WORDS = 11, UNIT = -320 };
typedef struct fixed {
    uint64_t w[WORDS];
} fixed;

static void add_fixed(fixed *sum, term t) {
    const int shift = t.exponent - t.fraction - UNIT;
    fixed f = {{0}};
    const uint64_t magnitude = t.m < 0 ? (uint64_t)-t.m : (uint64_t)t.m;
    f.w[shift / 64] = magnitude << shift % 64;
    if (shift % 64)
        f.w[shift / 64 + 1] = magnitude >> (64 - shift % 64);
    uint64_t carry = t.m < 0;
    for (int i = 0; i < WORDS; i++) {
        const uint64_t word = t.m < 0 ? ~f.w[i] : f.w[i], s = sum->w[i] + word;
        const uint64_t carried = s < word;
        sum->w[i] = s + carry;
        carry = carried | (sum->w[i] < s);
    }
}

static int bit_of(const fixed *f, int i) {
    return i < 0 ? 0 : (int)(f->w[i / 64] >> i % 64 & 1);
}

/* To nearest even. flush: as if exponents had no end, and then what is below 2^-126 is a zero. */
static float nearest_fixed(fixed f, bool flush) {
    const bool negative = f.w[WORDS - 1] >> 63;
    if (negative) {
        const fixed g = f;
        uint64_t carry = 1;
        for (int i = 0; i < WORDS; i++) {
            f.w[i] = ~g.w[i] + carry;
            carry = carry && f.w[i] == 0;
        }
    }
    int top = 64 * WORDS - 1;
    while (top >= 0 && !bit_of(&f, top))
        top--;
    if (top < 0)
        return 0;
    int last = top - 23; /* place of the last bit kept */
    if (!flush && last < -149 - UNIT)
        last = -149 - UNIT;
    uint64_t m = 0;
    for (int i = top; i >= last; i--)
        m = m << 1 | (uint64_t)bit_of(&f, i);
    bool sticky = false;
    for (int i = 0; i < last - 1; i++)
        sticky |= bit_of(&f, i);
    m += bit_of(&f, last - 1) && (sticky || m & 1);
    double value = ldexp((double)m, last + UNIT);
    if (flush && value < 0x1p-126)
        value = 0;
    return (float)(negative ? -value : value); /* beyond binary32's range: infinite */
}

/* Subnormal numbers count as zeros, as results of their own sign. */
static float flushed_input(const gka_tensor_core *core, gka_term_format format, float x) {
    return core->flush ? gka_flushed_input(core, ldexpf(1, format.emin), x) : x;
}

static float flushed(const gka_tensor_core *core, float x) {
    return core->flush && fabsf(x) < ldexpf(1, result_formats[core->result].emin) ? x * 0.0F : x;
}

static float step_exact(const gka_tensor_core *core, gka_mma_input input, const float *a,
                        const float *b, float c) {
    fixed sum = {{0}};
    bool minus_zero = signbit(c) && !(c < 0 || c > 0);
    add_fixed(&sum, unpack(result_formats[GKA_RESULT_FP32], c));
    for (int i = 0; i < core->group; i++) {
        const double p = (double)a[i] * (double)b[i];
        add_fixed(&sum, product(input, a[i], b[i]));
        minus_zero &= signbit(p) && !(p < 0);
    }
    return minus_zero ? -0.0F : nearest_fixed(sum, core->flush);
}

/* ---- GKA_SUM_PAIRS, GKA_SUM_CHAINS --------------------------------------------------------- */

static float pairs(const gka_tensor_core *core, int n, const float *a, const float *b) {
    if (n == 1) /* a zero product is +0 */
        return flushed(core, *a * *b + 0.0F);
    const int half = n / 2;
    return flushed(core, pairs(core, half, a, b) + pairs(core, n - half, a + half, b + half));
}

/* a b + c, rounded once */
static float fused(const gka_tensor_core *core, gka_mma_input input, float a, float b, float c) {
    const gka_tensor_core one = {.group = 1, .sum = GKA_SUM_EXACT, .flush = core->flush};
    float infinite;
    return special(&one, &a, &b, c, &infinite) ? infinite : step_exact(&one, input, &a, &b, c);
}

static float step_chains(const gka_tensor_core *core, gka_mma_input input, const float *a,
                         const float *b, float c) {
    float even = 0, odd = 0;
    for (int i = 0; i < core->group; i += 2) {
        even = fused(core, input, a[i], b[i], even);
        odd = fused(core, input, a[i + 1], b[i + 1], odd);
    }
    return flushed(core, c + flushed(core, even + odd));
}

/* ---- GKA_SUM_FLOORED ----------------------------------------------------------------------- */

/* floor(m 2^shift), m 2^shift small enough */
static int64_t shift_down(int64_t m, int shift) {
    if (shift >= 0)
        return m * ((int64_t)1 << shift);
    return shift < -62 ? -(m < 0) : m >> -shift;
}

static float step_floored(const gka_tensor_core *core, gka_mma_input input, const float *a,
                          const float *b, float c) {
    int E = core->floor;
    for (int i = 0; i < core->group; i++)
        E = at_least(E, product(input, a[i], b[i]));
    int64_t sum = 0;
    for (int i = 0; i < core->group; i++)
        sum += cut(product(input, a[i], b[i]), E - core->fraction);

    const term accumulator = unpack(result_formats[GKA_RESULT_FP32], c);
    const int E2 = at_least(E, accumulator);
    const int64_t of_products = shift_down(sum, E - core->fraction - (E2 - 31));
    const int64_t of_c =
        accumulator.m
            ? shift_down(accumulator.m, accumulator.exponent - accumulator.fraction - (E2 - 24))
            : 0;
    /* below 2^53, so exact until the conversion */
    return (float)ldexp((double)(of_products + of_c * 128), E2 - 31);
}

/* ---- steps --------------------------------------------------------------------------------- */

static float step(const gka_tensor_core *core, gka_mma_input input, const float *a, const float *b,
                  int64_t stride, float c) {
    float infinite, x[GKA_GROUP_MOST], y[GKA_GROUP_MOST];
    for (int i = 0; i < core->group; i++) {
        x[i] = flushed_input(core, gka_mma_input_format(input), a[i]);
        y[i] = flushed_input(core, gka_mma_input_format(input), b[i * stride]);
    }
    c = flushed_input(core, result_formats[core->result], c);
    /* sums of binary32 numbers have infinities and NaN as IEEE has them, overflow included */
    const bool ieee = core->sum == GKA_SUM_PAIRS || core->sum == GKA_SUM_CHAINS;
    if (!ieee && special(core, x, y, c, &infinite))
        return infinite;
    switch (core->sum) {
    case GKA_SUM_EXACT: return step_exact(core, input, x, y, c);
    case GKA_SUM_PAIRS: return canonical(flushed(core, pairs(core, core->group, x, y) + c));
    case GKA_SUM_FLOORED: return flushed(core, step_floored(core, input, x, y, c));
    case GKA_SUM_CHAINS: return canonical(step_chains(core, input, x, y, c));
    default: return flushed(core, step_cut(core, input, x, y, c));
    }
}

/* c + s to nearest in the result's format, where sums are kept apart. */
static float added(gka_result result, float c, float s) {
    if (result != GKA_RESULT_FP16)
        return canonical(c + s);
    const double sum = (double)c + (double)s; /* exact: both are fp16 */
    return canonical((float)gka_round_core(&gka_fp16, GKA_NEAREST_EVEN, sum, 0));
}

float gka_tensor_core_dot(const gka_tensor_core *core, gka_mma_input input, int64_t K,
                          const float *a, const float *b, int64_t stride, float c) {
    float sum = core->apart ? 0 : c;
    for (int64_t k = 0; k < K; k += core->group) {
        sum = step(core, input, a + k, b + k * stride, stride, sum);
        const int64_t done = k + core->group;
        if (core->apart && (done % core->apart == 0 || done == K)) {
            c = added(core->result, c, sum);
            sum = 0;
        }
    }
    return core->apart ? c : sum;
}
