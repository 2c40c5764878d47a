/* tensor_core.c - the dot product of a tensor core, as the rule itself (NUMERICS 6).
 *
 *   a_i b_i     exact products, i < group, of exponent e_a + e_b and not renormalised
 *   E           the largest exponent among the products and c that are not zero; at least `floor`
 *   t_i, t_c    each term truncated toward zero to a multiple of 2^(E - fraction)
 *   c <- t_c + sum_i t_i, exactly, then truncated toward zero to binary32
 *
 * Everything here is integers: a term is m 2^(e - f), its exponent e is that of the encoding (a
 * subnormal has its format's smallest exponent and a small m).
 */
#include "arith/tensor_core.h"

#include <math.h>
#include <string.h>

/* The significand's bits and the smallest exponent of what an operand holds. */
typedef struct operand_format {
    int p, emin;
} operand_format;

static const operand_format operand_formats[] = {
    [GKA_MMA_BF16] = {8, -126},
    [GKA_MMA_FP16] = {11, -14},
    [GKA_MMA_TF32] = {11, -126},
};
static const operand_format accumulator_format = {24, -126};

/* The number m 2^(exponent - fraction), m = +-magnitude. */
typedef struct term {
    int64_t m;
    int exponent, fraction;
} term;

static uint32_t encoding(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float decoding(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static term unpack(operand_format format, float x) {
    const uint32_t bits = encoding(x);
    const int field = (int)(bits >> 23 & 0xff);
    const int exponent = (field ? field : 1) - 127;
    const int64_t significand = (bits & 0x7fffff) | (field ? 0x800000 : 0);
    const int below = format.emin > exponent ? format.emin - exponent : 0;
    const int drop = 24 - format.p + below;
    const int64_t m = drop < 24 ? significand >> drop : 0;
    return (term){bits >> 31 ? -m : m, exponent + below, format.p - 1};
}

/* m 2^shift, truncated toward zero. |m| < 2^24, so a left shift (at most fraction) fits. */
static int64_t shift_toward_zero(int64_t m, int shift) {
    if (shift >= 0)
        return m * ((int64_t)1 << shift);
    return shift < -62 ? 0 : m / ((int64_t)1 << -shift);
}

/* m 2^scale truncated toward zero to binary32; 2^128 and more in magnitude is infinite. */
static float truncate_to_binary32(int64_t m, int scale) {
    uint64_t magnitude = m < 0 ? (uint64_t)-m : (uint64_t)m;
    int ulp = scale;
    while (magnitude >> 24 || (magnitude && ulp < -149)) {
        magnitude >>= 1;
        ulp++;
    }
    const double value = ldexp((double)magnitude, ulp);
    if (value >= 0x1p128)
        return m < 0 ? -INFINITY : INFINITY;
    return m < 0 && magnitude ? (float)-value : (float)value;
}

/* Whether some product or c is infinite or NaN; then *result is the sum: an infinity if all that
 * are infinite have one sign and nothing is NaN, else the one NaN there is. */
static bool special(int group, const float *a, const float *b, float c, float *result) {
    double sum = isfinite(c) ? 0 : (double)c; /* binary64, so that no product overflows */
    bool any = !isfinite(c);
    for (int i = 0; i < group; i++)
        if (!isfinite(a[i]) || !isfinite(b[i])) {
            sum += (double)a[i] * (double)b[i];
            any = true;
        }
    *result = isnan(sum) ? decoding(0x7fffffff) : (float)sum;
    return any;
}

static float step(const gka_tensor_core *core, operand_format format, const float *a,
                  const float *b, float c) {
    float infinite;
    if (special(core->group, a, b, c, &infinite))
        return infinite;

    const term accumulator = unpack(accumulator_format, c);
    int E = core->floor;
    if (accumulator.m && accumulator.exponent > E)
        E = accumulator.exponent;
    for (int i = 0; i < core->group; i++) {
        const term u = unpack(format, a[i]), v = unpack(format, b[i]);
        if (u.m && v.m && u.exponent + v.exponent > E)
            E = u.exponent + v.exponent;
    }

    const int unit = E - core->fraction;
    int64_t sum =
        shift_toward_zero(accumulator.m, accumulator.exponent - accumulator.fraction - unit);
    for (int i = 0; i < core->group; i++) {
        const term u = unpack(format, a[i]), v = unpack(format, b[i]);
        if (u.m && v.m)
            sum += shift_toward_zero(u.m * v.m,
                                     u.exponent + v.exponent - u.fraction - v.fraction - unit);
    }
    return truncate_to_binary32(sum, unit);
}

float gka_tensor_core_dot(const gka_tensor_core *core, gka_mma_input input, int64_t K,
                          const float *a, const float *b, float c) {
    for (int64_t k = 0; k < K; k += core->group)
        c = step(core, operand_formats[input], a + k, b + k, c);
    return c;
}
