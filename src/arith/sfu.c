/* sfu.c - the special function unit of an H100, bit for bit.
 *
 * The unit is a quadratic interpolator (Oberman, Siu, ARITH 2005). The argument's fraction, 23
 * bits, is an index of 6 or 7 bits and X, the rest, scaled to 17 bits; a result's significand is
 *
 *   floor((c0 2^15 + bias + c1 X + 2 c2 S(X)) / 2^17),    S(X) = X^2 / 2^19, truncated:
 *
 * the squarer has no partial products below column 19. That and every coefficient follow uniquely
 * from the unit's results over whole binades (scripts/gpu/fit_functions.py); the tests compare all
 * of these, and samples of the whole range, with what the hardware gave: none differs.
 */
#include "arith/sfu.h"
#include "arith/sfu_table.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum {
    fraction_mask = 0x7fffff,
    one = 1 << 23, /* a significand of 1 */
};
#define SIGN         UINT32_C(0x80000000)
#define INFINITE     UINT32_C(0x7f800000)
#define NOT_A_NUMBER UINT32_C(0x7fffffff)

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

static int exponent_field(uint32_t x) {
    return (int)(x >> 23 & 0xff);
}

/* S(X), X of 17 bits. Row i of the folded square, i with X_i = 1, is 2^(2i) + sum over j > i of
 * X_j 2^(i+j+1); what it has below column 19 is dropped (rows from 10 on have nothing there). */
static int64_t squarer(uint32_t X) {
    uint32_t dropped = 0;
    for (int i = 0; i < 10; i++) {
        const uint32_t above = X >> (i + 1) << (i + 1);
        const uint32_t row = ((2 * above + (UINT32_C(1) << i)) << i) & 0x7ffff;
        dropped += (X >> i & 1) ? row : 0;
    }
    return (int64_t)(((uint64_t)X * X - dropped) >> 19);
}

/* The significand for a fraction, in [2^23, 2^24]; `bits` of it index the segments. */
static uint32_t interpolate(const sfu_segment *segments, int bits, int bias, uint32_t fraction) {
    const sfu_segment *const s = &segments[fraction >> (23 - bits)];
    const uint32_t X = fraction << (bits - 6) & 0x1ffff;
    const int64_t value =
        ((int64_t)s->c0 << 15) + bias + s->c1 * (int64_t)X + 2 * s->c2 * squarer(X);
    return (uint32_t)(value >> 17);
}

/* Below, a finite result is (field << 23) + significand - one, which carries into the exponent
 * where the significand is 2. */

uint32_t gka_sfu_ex2(uint32_t x) {
    const int field = exponent_field(x);
    const bool negative = x >> 31;
    if (field == 0xff && (x & fraction_mask))
        return NOT_A_NUMBER;
    if (field >= 127 + 8)
        return negative ? 0 : INFINITE;

    /* |x| in fixed point, 23 fraction bits, truncated; then one's complement if x < 0, except
     * that integers are negated exactly */
    const uint32_t significand = field ? (x & fraction_mask) | one : 0;
    const int shift = field - 127;
    int32_t fixed = 0;
    if (shift >= 0)
        fixed = (int32_t)(significand << shift);
    else if (shift > -24)
        fixed = (int32_t)(significand >> -shift);
    if (negative)
        fixed = fixed & fraction_mask ? -fixed - 1 : -fixed;

    const uint32_t fraction = (uint32_t)fixed & fraction_mask;
    const int result = (fixed - (int32_t)fraction) / one + 127;
    if (result >= 0xff)
        return INFINITE;
    if (result <= 0)
        return 0;
    return ((uint32_t)result << 23) + interpolate(sfu_ex2_segments, 6, sfu_ex2_bias, fraction) -
           one;
}

uint32_t gka_sfu_rcp(uint32_t x) {
    const uint32_t sign = x & SIGN, fraction = x & fraction_mask;
    const int field = exponent_field(x);
    if (field == 0xff)
        return fraction ? NOT_A_NUMBER : sign;
    if (field == 0)
        return sign | INFINITE;
    const uint32_t significand = interpolate(sfu_rcp_segments, 7, sfu_rcp_bias, fraction);
    const int32_t result = (253 - field) * one + (int32_t)significand - one;
    return result < one ? sign : sign | (uint32_t)result;
}

/* What the unit makes of an argument of sqrt or rsqrt that is not a positive number. */
static bool no_root(uint32_t x, uint32_t of_zero, uint32_t of_infinity, uint32_t *result) {
    const int field = exponent_field(x);
    if (field == 0)
        *result = of_zero | (x & SIGN);
    else if (x == INFINITE)
        *result = of_infinity;
    else if (field == 0xff || x & SIGN)
        *result = NOT_A_NUMBER;
    else
        return false;
    return true;
}

/* The segments of [1, 2) come first, then those of [2, 4). */
static uint32_t root(const sfu_segment *segments, int bias, uint32_t x) {
    const bool odd = !(x & one); /* the field is even: the exponent is odd */
    return interpolate(segments + (odd ? 64 : 0), 6, bias, x & fraction_mask);
}

uint32_t gka_sfu_sqrt(uint32_t x) {
    uint32_t result;
    if (no_root(x, 0, INFINITE, &result))
        return result;
    const uint32_t field = ((uint32_t)exponent_field(x) + 127) / 2;
    return (field << 23) + root(sfu_sqrt_segments, sfu_sqrt_bias, x) - one;
}

uint32_t gka_sfu_rsqrt(uint32_t x) {
    uint32_t result;
    if (no_root(x, INFINITE, 0, &result))
        return result;
    const uint32_t field = 126 + 63 - ((uint32_t)exponent_field(x) - 1) / 2;
    const bool exact = (x & (2 * one - 1)) == one; /* a power of 4 */
    const uint32_t significand = exact ? 2 * one : root(sfu_rsqrt_segments, sfu_rsqrt_bias, x);
    return (field << 23) + significand - one;
}

float gka_ptx_ex2(float x) {
    if (!(x < -126.0f))
        return decoding(gka_sfu_ex2(encoding(x)));
    const float half = decoding(gka_sfu_ex2(encoding(x * 0.5f)));
    return half * half;
}

float gka_ptx_sqrt(float x) {
    return decoding(gka_sfu_sqrt(encoding(x)));
}

float gka_ptx_div_full(float x, float y) {
    const float magnitude = fabsf(y);
    const float scale = magnitude > 0x1p126f ? 0.25f : magnitude < 0x1p-126f ? 0x1p24f : 1.0f;
    const float quotient = (x * scale) * decoding(gka_sfu_rcp(encoding(y * scale)));
    return isnan(quotient) ? decoding(NOT_A_NUMBER) : quotient;
}
