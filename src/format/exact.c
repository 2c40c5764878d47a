/* exact.c - sums, products, quotients and roots of doubles in integers, cut to 53 + 64 bits.
 *
 *   a = (-1)^sign m 2^e          a finite double, m < 2^53 an integer
 *   N 2^e                        a magnitude, N an integer of 256 bits, four words, low first
 */
#include "format/round.h"

typedef struct wide {
    uint64_t w[4];
} wide;

__extension__ typedef unsigned __int128 u128;

static bool wide_is_zero(wide n) {
    return (n.w[0] | n.w[1] | n.w[2] | n.w[3]) == 0;
}

static int wide_length(wide n) {
    for (int i = 3; i >= 0; i--)
        if (n.w[i] != 0)
            return 64 * i + 64 - __builtin_clzll(n.w[i]);
    return 0;
}

static wide wide_from_u128(u128 n) {
    return (wide){{(uint64_t)n, (uint64_t)(n >> 64), 0, 0}};
}

/* n 2^shift, which must fit. */
static wide wide_left(wide n, int shift) {
    const int words = shift / 64, bits = shift % 64;
    wide r = {{0}};
    for (int i = 3; i >= words; i--) {
        r.w[i] = n.w[i - words] << bits;
        if (bits > 0 && i > words)
            r.w[i] |= n.w[i - words - 1] >> (64 - bits);
    }
    return r;
}

/* floor(n 2^-shift); *sticky is set if anything was cut off. */
static wide wide_right(wide n, int shift, bool *sticky) {
    if (shift >= 256) {
        *sticky |= !wide_is_zero(n);
        return (wide){{0}};
    }
    const int words = shift / 64, bits = shift % 64;
    wide r = {{0}};
    for (int i = 0; i < words; i++)
        *sticky |= n.w[i] != 0;
    *sticky |= (n.w[words] & ((UINT64_C(1) << bits) - 1)) != 0;
    for (int i = words; i < 4; i++) {
        r.w[i - words] = n.w[i] >> bits;
        if (bits > 0 && i < 3)
            r.w[i - words] |= n.w[i + 1] << (64 - bits);
    }
    return r;
}

/* a + b and a - b - borrow, modulo 2^256. */
static wide wide_add(wide a, wide b) {
    u128 carry = 0;
    for (int i = 0; i < 4; i++) {
        carry += (u128)a.w[i] + b.w[i];
        a.w[i] = (uint64_t)carry;
        carry >>= 64;
    }
    return a;
}

static wide wide_subtract(wide a, wide b, bool borrow) {
    for (int i = 0; i < 4; i++)
        b.w[i] = ~b.w[i];
    a = wide_add(a, b);
    return borrow ? a : wide_add(a, (wide){{1, 0, 0, 0}});
}

static int wide_compare(wide a, wide b) {
    for (int i = 3; i >= 0; i--)
        if (a.w[i] != b.w[i])
            return a.w[i] < b.w[i] ? -1 : 1;
    return 0;
}

/* (-1)^negative (n + f) 2^e, 0 <= f < 1, f > 0 exactly when sticky. If sticky, n must have at
 * least 117 bits. */
static gka_cut assemble(bool negative, wide n, int e, bool sticky) {
    const uint64_t sign = negative ? GKA_SIGN : 0;
    const int length = wide_length(n);
    if (length == 0)
        return (gka_cut){gka_double(sign), 0, false};
    if (length + e > 1024)
        return (gka_cut){gka_double((GKA_INF - 1) | sign), UINT64_MAX, true};
    /* The 53 bits of trunc end at exponent u, and the grid of doubles at -1074. */
    const int u = length + e - 53 > -1074 ? length + e - 53 : -1074, shift = u - 64 - e;
    n = shift >= 0 ? wide_right(n, shift, &sticky) : wide_left(n, -shift);
    const uint64_t m = n.w[1]; /* below 2^53; below 2^52 only where u = -1074 */
    const uint64_t a = m + ((uint64_t)(u + 1074) << 52);
    return (gka_cut){gka_double(a | sign), n.w[0], sticky};
}

static bool is_finite(double a) {
    return (gka_bits(a) & GKA_INF) != GKA_INF;
}

static uint64_t significand(double a, int *e) {
    const uint64_t u = gka_bits(a) & ~GKA_SIGN;
    const int field = (int)(u >> 52);
    *e = (field != 0 ? field : 1) - 1075;
    return (u & (GKA_HIDDEN - 1)) | (field != 0 ? GKA_HIDDEN : 0);
}

/* The significand shifted up to exactly 53 bits. a must not be 0. */
static uint64_t full_significand(double a, int *e) {
    const uint64_t m = significand(a, e);
    const int shift = __builtin_clzll(m) - 11;
    *e -= shift;
    return m << shift;
}

static gka_cut as_double(double a) {
    return (gka_cut){a, 0, false};
}

/* The larger term goes to the top of the register, 148 bits and more above its last one; the
 * other is cut there. Bits can fall off only if the terms are so far apart that a difference
 * cancels one bit at most. */
gka_cut gka_exact_fma(double a, double b, double c) {
    if (!is_finite(a) || !is_finite(b) || !is_finite(c))
        return as_double(is_finite(a) && is_finite(b) ? c : a * b + c);
    int ea, eb, ec;
    const uint64_t ma = significand(a, &ea), mb = significand(b, &eb), mc = significand(c, &ec);
    bool sign = (gka_bits(a) ^ gka_bits(b)) >> 63, sign_small = gka_bits(c) >> 63;
    if (ma == 0 || mb == 0)
        return as_double(a * b + c);
    wide large = wide_from_u128((u128)ma * mb), small = wide_from_u128(mc);
    int e = ea + eb, e_small = ec;
    if (mc == 0)
        return assemble(sign, large, e, false);
    if (wide_length(large) + e < wide_length(small) + e_small) {
        const wide n = large;
        const int swap = e;
        const bool s = sign;
        large = small, e = e_small, sign = sign_small;
        small = n, e_small = swap, sign_small = s;
    }
    const int up = 254 - wide_length(large);
    large = wide_left(large, up);
    e -= up;
    bool sticky = false;
    small = e_small >= e ? wide_left(small, e_small - e) : wide_right(small, e - e_small, &sticky);
    if (sign == sign_small)
        return assemble(sign, wide_add(large, small), e, sticky);
    if (wide_compare(large, small) < 0)
        return assemble(!sign, wide_subtract(small, large, false), e, false);
    const wide difference = wide_subtract(large, small, sticky);
    return assemble(sign && !wide_is_zero(difference), difference, e, sticky);
}

gka_cut gka_exact_add(double a, double b) {
    return gka_exact_fma(a, 1, b);
}

gka_cut gka_exact_mul(double a, double b) {
    return gka_exact_fma(a, b, gka_bits(a * b) >> 63 ? -0.0 : 0.0);
}

/* The quotient of the significands to 128 bits, by long division. */
gka_cut gka_exact_div(double a, double b) {
    if (!is_finite(a) || !is_finite(b) || a == 0 || b == 0)
        return as_double(a / b);
    int ea, eb;
    const uint64_t ma = full_significand(a, &ea), mb = full_significand(b, &eb);
    u128 q = ma >= mb;
    uint64_t r = ma >= mb ? ma - mb : ma;
    for (int i = 0; i < 126; i++) {
        r <<= 1;
        q = q << 1 | (r >= mb);
        r -= r >= mb ? mb : 0;
    }
    const bool negative = (gka_bits(a) ^ gka_bits(b)) >> 63;
    return assemble(negative, wide_from_u128(q), ea - eb - 126, r != 0);
}

/* The root of the significand to 118 bits, digit by digit: with root and rest of the pairs of bits
 * so far, the next bit is 1 if 4 rest + pair >= 4 root + 1. */
gka_cut gka_exact_sqrt(double a) {
    if (!is_finite(a) || a == 0)
        return as_double(sqrt(a));
    if (a < 0)
        return as_double(gka_double(GKA_NAN));
    int e;
    uint64_t m = full_significand(a, &e);
    if (e % 2 != 0) {
        m <<= 1;
        e -= 1;
    } /* m < 2^54: 27 pairs of bits, then pairs of zeros */
    u128 root = 0, rest = 0;
    for (int i = 0; i < 120; i++) {
        rest = rest << 2 | (i < 27 ? m >> (52 - 2 * i) & 3 : 0);
        const u128 trial = root << 2 | 1;
        root = root << 1 | (rest >= trial);
        rest -= rest >= trial ? trial : 0;
    }
    return assemble(false, wide_from_u128(root), e / 2 - (120 - 27), rest != 0);
}
