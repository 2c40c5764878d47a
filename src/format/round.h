/* round.h - the one rounding core, specialised by constant arguments; exact sums and products.
 *
 *   1  presets, as constants of each file that includes this one
 *   2  gka_exact                a real number cut to 53 + 64 bits and a sticky bit
 *   3  gka_round_exact, _core   from it, or from a double, to a format
 *   4  gka_round_core_f32       the same on floats
 *   5  gka_encode_core, gka_decode_core, and their float twins
 *   6  gka_odd_add, _mul, _fma, _div, _sqrt    binary64 rounded to odd
 *   7  gka_add_round, ...       one operation, exact, rounded once to the format
 *
 * Everything is an always-inline function; with a constant format and mode the core folds to a
 * handful of integer instructions, without branches, so loops over it vectorise. The core works on
 * bits alone: the processor's rounding mode and flush-to-zero flags cannot change a result.
 *
 * How an operation is rounded once. Let x be the exact result and RO(x) x rounded to odd in
 * binary64 (exact, or else the neighbour whose last bit is 1). Then (Boldo and Melquiond 2008)
 *     round(RO(x)) = round(x)   for nearest modes if p <= 51 on the grid that is met,
 *                               for directed modes and to odd if p <= 52,
 * and the grid only becomes coarser where the format underflows. So for every format with
 * p <= 25, in every deterministic mode, gka_round_core(f, mode, gka_odd_add(a, b), 0) is right,
 * where gka_round_core(f, mode, a + b, 0) is right for nearest-even alone, and only when a and b
 * are values of a format with p <= 25 (for a product p <= 26 makes a * b exact; a fused
 * multiply-add always needs the odd form: bf16 fma(9, 29, 2^-60) is 262, not 260).
 * A format with p = 53 shares its grid with binary64, where RO(x) has already lost the side of a
 * tie and the directed result; and the stochastic mode needs the size of what was cut off, not
 * only its presence. Both take gka_exact_*; the functions of part 7 choose. */
#ifndef GKA_FORMAT_ROUND_H
#define GKA_FORMAT_ROUND_H

#include "gka/format.h"

#include <math.h>
#include <string.h>

#ifndef GKA_INLINE
#define GKA_INLINE static inline __attribute__((always_inline))
#endif

/* ---- 1 presets ----------------------------------------------------------------------------- */

/* 2^15 (2 - 2^-10) and the like, as hexadecimal constants: what a format's name promises. */
static const gka_format gka_bf16 = {"bf16", 8, -126, 127, 0x1.fep127, true, GKA_OVERFLOW_IEEE, 16};
static const gka_format gka_fp16 = {"fp16", 11, -14, 15, 0x1.ffcp15, true, GKA_OVERFLOW_IEEE, 16};
static const gka_format gka_tf32 = {"tf32", 11, -126, 127, 0x1.ffcp127, true, GKA_OVERFLOW_IEEE,
                                    32};
static const gka_format gka_fp32 = {"fp32", 24, -126, 127, 0x1.fffffep127, true, GKA_OVERFLOW_IEEE,
                                    32};
static const gka_format gka_fp64 = {
    "fp64", 53, -1022, 1023, 0x1.fffffffffffffp1023, true, GKA_OVERFLOW_IEEE, 64};
static const gka_format gka_e4m3 = {"e4m3", 4, -6, 8, 448, true, GKA_OVERFLOW_SATURATE, 8};
static const gka_format gka_e5m2 = {"e5m2", 3, -14, 15, 57344, true, GKA_OVERFLOW_SATURATE, 8};
static const gka_format gka_e4m3_ieee = {"e4m3-ieee", 4, -6, 8, 448, true, GKA_OVERFLOW_NAN, 8};
static const gka_format gka_e5m2_ieee = {"e5m2-ieee",       3, -14, 15, 57344, true,
                                         GKA_OVERFLOW_IEEE, 8};

/* ---- 2 numbers between binary64 and exact -------------------------------------------------- */

/* The real number (+-)(|trunc| + (rest + f) 2^-64 u), u the distance from |trunc| to the next
 * larger double, 0 <= f < 1, f > 0 exactly when sticky: trunc is the number cut toward zero and
 * rest the next 64 bits. trunc is finite wherever rest or sticky is set. Numbers of 2^1024 and
 * above are held as the largest double with rest and sticky all ones. */
typedef struct gka_exact {
    double trunc;
    uint64_t rest;
    bool sticky;
} gka_exact;

/* a + b, a b, a b + c, a / b, sqrt(a), exactly (quotient and root to the bits above). Infinities,
 * NaN, x / 0 and roots of negative numbers give what IEEE arithmetic gives; an exact zero has the
 * sign of round-to-nearest. A hundred times slower than an addition: for p = 53, the stochastic
 * mode, and results near the ends of the range of binary64. */
gka_exact gka_exact_add(double a, double b);
gka_exact gka_exact_mul(double a, double b);
gka_exact gka_exact_fma(double a, double b, double c);
gka_exact gka_exact_div(double a, double b);
gka_exact gka_exact_sqrt(double a);

GKA_INLINE uint64_t gka_bits(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

GKA_INLINE double gka_double(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

GKA_INLINE uint32_t gka_bits_f32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

GKA_INLINE float gka_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#define GKA_SIGN     UINT64_C(0x8000000000000000)
#define GKA_INF      UINT64_C(0x7ff0000000000000)
#define GKA_NAN      UINT64_C(0x7ff8000000000000) /* the NaN of every result */
#define GKA_HIDDEN   UINT64_C(0x0010000000000000)
#define GKA_SIGN32   UINT32_C(0x80000000)
#define GKA_INF32    UINT32_C(0x7f800000)
#define GKA_NAN32    UINT32_C(0x7fc00000)
#define GKA_HIDDEN32 UINT32_C(0x00800000)

/* ---- 3 the core ---------------------------------------------------------------------------- */

/* The exponent of the format's grid below 2^emin, where its values are the integers times 2^this:
 * without subnormals 0 and +-2^emin are all that is left. */
GKA_INLINE int gka_quantum_exponent(const gka_format *f) {
    return f->subnormals ? f->emin - f->p + 1 : f->emin;
}

/* The bits of 2^e, e >= -1074. */
GKA_INLINE uint64_t gka_power_bits(int e) {
    return e >= -1022 ? (uint64_t)(e + 1023) << 52 : UINT64_C(1) << (e + 1074);
}

/* Whether the mode takes an inexact value away from zero, given its sign. */
GKA_INLINE bool gka_rounds_away(gka_rounding mode, bool negative) {
    return (mode == GKA_UP && !negative) || (mode == GKA_DOWN && negative);
}

/* Whether the mode never leaves the finite values when it overflows (IEEE 754-2019, 7.4; round to
 * odd keeps inexact results finite, so that a second rounding still sees a number). */
GKA_INLINE bool gka_overflow_stays_finite(gka_rounding mode, bool negative) {
    return mode == GKA_TOWARD_ZERO || mode == GKA_TO_ODD ||
           ((mode == GKA_UP || mode == GKA_DOWN) && !gka_rounds_away(mode, negative));
}

/* The fraction (a's value)/2^q below the first grid point, q the quantum's exponent, as
 * floor(fraction 2^64). a the bits of a magnitude below 2^q, rest the 64 bits after it. */
GKA_INLINE uint64_t gka_tiny_fraction(uint64_t a, uint64_t rest, int q) {
    const int e = (int)(a >> 52);
    const uint64_t m = (a & (GKA_HIDDEN - 1)) | (e != 0 ? GKA_HIDDEN : 0);
    const int k = (e != 0 ? e : 1) - 1075 - q + 64; /* a's value = m 2^(k - 64) 2^q */
    return k > 0 ? m << k | rest >> (64 - k) : k > -64 ? m >> -k : 0;
}

/* v rounded to the format. With a the bits of |trunc|, s the number of its low bits that the grid
 * does not hold, base the rest of it and low those s bits:
 *   nearest      a + 2^(s-1) - 1 + odd, cut          odd: the last bit kept, or sticky bits below
 *   up, down     a + 2^s - 1 (+ 1 if sticky), cut    where that is away from zero, else a, cut
 *   to odd       base, and 2^s more if inexact and base is even
 *   stochastic   base, and 2^s more if F + random >= 2^64, F = floor(2^64 fraction),
 *                fraction = the exact (low, rest, ...) / 2^s: away with probability F / 2^64
 * Adding to the bits of a double carries into the exponent as it should. Below the smallest
 * positive value of the format ("tiny") only 0 and that value remain. */
GKA_INLINE double gka_round_exact(const gka_format *f, gka_rounding mode, gka_exact v,
                                  uint64_t random) {
    const uint64_t u = gka_bits(v.trunc), sign = u & GKA_SIGN, a = u ^ sign;
    const bool negative = sign != 0, away = gka_rounds_away(mode, negative);
    const uint64_t more = v.rest != 0 || v.sticky; /* anything beyond a */

    /* The bits of doubles are linear in their value below 2^-1022 as well: with emin there, one
     * s does for all. (p = 1 is excluded: its grid has no bit within the fraction field.) */
    const bool linear = f->emin == -1022 && f->subnormals && f->p > 1;
    int s = 53 - f->p;
    if (!linear && f->subnormals) {
        const int e = (int)(a >> 52), below = f->emin + 1023 - (e > 1 ? e : 1);
        s += below > 0 ? below : 0;
        s = s < 52 ? s : 52;
    }
    const uint64_t ulp = UINT64_C(1) << s, mask = ulp - 1, low = a & mask;
    const uint64_t odd = (a | (linear ? 0 : GKA_HIDDEN)) >> s & 1;
    uint64_t r = a - low;
    if (mode == GKA_NEAREST_EVEN && s > 0)
        r = (a + (ulp / 2 - 1) + (odd | more)) & ~mask;
    else if (mode == GKA_NEAREST_EVEN) /* p = 53: the first bit cut off is in rest */
        r = a + (v.rest > GKA_SIGN || (v.rest == GKA_SIGN && (v.sticky || odd)));
    else if (mode == GKA_UP || mode == GKA_DOWN)
        r = (a + (away ? mask + more : 0)) & ~mask;
    else if (mode == GKA_TO_ODD)
        r += ((low != 0) | more) & ~odd ? ulp : 0;
    else if (mode == GKA_STOCHASTIC) {
        const uint64_t fraction = s > 0 ? low << (64 - s) | v.rest >> s : v.rest;
        r += fraction + random < fraction ? ulp : 0;
    }
    if (!linear) {
        const int q = gka_quantum_exponent(f);
        const uint64_t quantum = gka_power_bits(q), half = gka_power_bits(q - 1);
        bool one = false;
        if (mode == GKA_NEAREST_EVEN)
            one = a > half || (a == half && more);
        else if (mode == GKA_UP || mode == GKA_DOWN)
            one = away & ((a != 0) | more);
        else if (mode == GKA_TO_ODD)
            one = (a != 0) | more;
        else if (mode == GKA_STOCHASTIC && a < quantum) {
            const uint64_t fraction = gka_tiny_fraction(a, v.rest, q);
            one = fraction + random < fraction;
        }
        r = a < quantum ? (one ? quantum : 0) : r;
    }
    /* Overflow; and Inf, which came through the additions above unchanged. */
    const uint64_t max = gka_bits(f->max_finite);
    const bool carries_to_inf = max == GKA_INF - (UINT64_C(1) << (53 - f->p)) &&
                                f->overflow == GKA_OVERFLOW_IEEE &&
                                !gka_overflow_stays_finite(mode, negative);
    if (!carries_to_inf) {
        const uint64_t inf = f->overflow == GKA_OVERFLOW_IEEE ? GKA_INF : GKA_NAN;
        const bool finite = f->overflow == GKA_OVERFLOW_SATURATE ||
                            (gka_overflow_stays_finite(mode, negative) && a != GKA_INF);
        r = r > max ? (finite ? max : inf) : r;
    }
    const bool nan = a > GKA_INF || (f->overflow == GKA_OVERFLOW_NAN && r > GKA_INF);
    return gka_double(nan ? GKA_NAN : r | sign);
}

/* x rounded to the format. */
GKA_INLINE double gka_round_core(const gka_format *f, gka_rounding mode, double x,
                                 uint64_t random) {
    const gka_exact v = {x, 0, false};
    return gka_round_exact(f, mode, v, random);
}

/* ---- 4 the core on floats ------------------------------------------------------------------ */

/* Whether every value of the format is a float, so that gka_round_core_f32 may be used. */
GKA_INLINE bool gka_fits_f32(const gka_format *f) {
    return f->p <= 24 && f->emin >= -126 && f->emax <= 127;
}

/* The float bits of a positive normal float, given as the bits of a double. */
GKA_INLINE uint32_t gka_narrow_bits(uint64_t bits) {
    return (uint32_t)((bits >> 29) - ((uint64_t)(1023 - 127) << 23));
}

/* gka_round_core for a float x, a format of floats and a deterministic mode, line by line. */
GKA_INLINE float gka_round_core_f32(const gka_format *f, gka_rounding mode, float x) {
    const uint32_t u = gka_bits_f32(x), sign = u & GKA_SIGN32, a = u ^ sign;
    const bool negative = sign != 0, away = gka_rounds_away(mode, negative);
    const bool linear = f->emin == -126 && f->subnormals && f->p > 1;
    int s = 24 - f->p;
    if (!linear && f->subnormals) {
        const int e = (int)(a >> 23), below = f->emin + 127 - (e > 1 ? e : 1);
        s += below > 0 ? below : 0;
        s = s < 23 ? s : 23;
    }
    const uint32_t ulp = UINT32_C(1) << s, mask = ulp - 1, low = a & mask;
    const uint32_t odd = (a | (linear ? 0 : GKA_HIDDEN32)) >> s & 1;
    uint32_t r = a - low;
    if (mode == GKA_NEAREST_EVEN)
        r = s > 0 ? (a + (ulp / 2 - 1) + odd) & ~mask : a;
    else if (mode == GKA_UP || mode == GKA_DOWN)
        r = (a + (away ? mask : 0)) & ~mask;
    else if (mode == GKA_TO_ODD)
        r += low != 0 && !odd ? ulp : 0;
    if (!linear) {
        const int q = gka_quantum_exponent(f);
        const uint32_t quantum = q >= -126 ? (uint32_t)(q + 127) << 23 : UINT32_C(1) << (q + 149);
        const uint32_t half = q > -126 ? quantum - GKA_HIDDEN32 : quantum / 2;
        const bool one = mode == GKA_NEAREST_EVEN ? a > half
                         : mode == GKA_TO_ODD     ? a != 0
                                                  : away && a != 0;
        r = a < quantum ? (one ? quantum : 0) : r;
    }
    const uint32_t max = gka_narrow_bits(gka_bits(f->max_finite));
    const bool carries_to_inf = max == GKA_INF32 - (UINT32_C(1) << (24 - f->p)) &&
                                f->overflow == GKA_OVERFLOW_IEEE &&
                                !gka_overflow_stays_finite(mode, negative);
    if (!carries_to_inf) {
        const uint32_t inf = f->overflow == GKA_OVERFLOW_IEEE ? GKA_INF32 : GKA_NAN32;
        const bool finite = f->overflow == GKA_OVERFLOW_SATURATE ||
                            (gka_overflow_stays_finite(mode, negative) && a != GKA_INF32);
        r = r > max ? (finite ? max : inf) : r;
    }
    const bool nan = a > GKA_INF32 || (f->overflow == GKA_OVERFLOW_NAN && r > GKA_INF32);
    return gka_float(nan ? GKA_NAN32 : r | sign);
}

/* ---- 5 encodings --------------------------------------------------------------------------- */

/* A pattern of f->bits bits is, from the top: sign, w bits of exponent field, p - 1 bits of
 * fraction, zeros. Exponent field 0 holds 0 and the subnormals, 1 is emin. w is the fewest bits
 * that hold emax's field, emax - emin + 1. If that leaves the field of all ones free, it holds Inf
 * (fraction 0) and NaN (the others); if not, as in E4M3, there is no Inf and NaN is all ones.
 * k below is the pattern without sign and zeros at the end: it counts the values from 0 up. */
GKA_INLINE int gka_field_bits(const gka_format *f) {
    return 32 - __builtin_clz((unsigned)(f->emax - f->emin + 1));
}

GKA_INLINE int gka_padding_bits(const gka_format *f) {
    return f->bits - gka_field_bits(f) - f->p;
}

GKA_INLINE bool gka_has_inf(const gka_format *f) {
    return f->emax - f->emin + 1 < (1 << gka_field_bits(f)) - 1;
}

GKA_INLINE uint64_t gka_inf_index(const gka_format *f) {
    return ((UINT64_C(1) << gka_field_bits(f)) - 1) << (f->p - 1);
}

GKA_INLINE uint64_t gka_nan_index(const gka_format *f) {
    return gka_has_inf(f) ? gka_inf_index(f) | UINT64_C(1) << (f->p - 2)
                          : (UINT64_C(1) << (gka_field_bits(f) + f->p - 1)) - 1;
}

/* The pattern of a value x of the format, of Inf (NaN where there is none) or NaN. */
GKA_INLINE uint64_t gka_encode_core(const gka_format *f, double x) {
    const uint64_t u = gka_bits(x), a = u & ~GKA_SIGN;
    const uint64_t bias = (uint64_t)(f->emin + 1022) << 52;
    uint64_t k = (a - bias) >> (53 - f->p);
    if (f->emin > -1022) {
        const int e = (int)(a >> 52), below = f->emin + 1023 - (e > 1 ? e : 1);
        const int s = 53 - f->p + (below > 0 ? below : 0);
        const uint64_t m = (a & (GKA_HIDDEN - 1)) | (e != 0 ? GKA_HIDDEN : 0);
        k = below > 0 ? m >> (s < 63 ? s : 63) : k;
    }
    k = a == GKA_INF && gka_has_inf(f) ? gka_inf_index(f) : k;
    const bool nan = a > GKA_INF || (a == GKA_INF && !gka_has_inf(f));
    k = nan ? gka_nan_index(f) : k | (u >> 63) << (gka_field_bits(f) + f->p - 1);
    return k << gka_padding_bits(f);
}

/* The same for a value of a format of floats, f->bits <= 32. */
GKA_INLINE uint32_t gka_encode_core_f32(const gka_format *f, float x) {
    const uint32_t u = gka_bits_f32(x), a = u & ~GKA_SIGN32;
    const uint32_t bias = (uint32_t)(f->emin + 126) << 23;
    uint32_t k = (a - bias) >> (24 - f->p);
    if (f->emin > -126) {
        const int e = (int)(a >> 23), below = f->emin + 127 - (e > 1 ? e : 1);
        const int s = 24 - f->p + (below > 0 ? below : 0);
        const uint32_t m = (a & (GKA_HIDDEN32 - 1)) | (e != 0 ? GKA_HIDDEN32 : 0);
        k = below > 0 ? m >> (s < 31 ? s : 31) : k;
    }
    k = a == GKA_INF32 && gka_has_inf(f) ? (uint32_t)gka_inf_index(f) : k;
    const bool nan = a > GKA_INF32 || (a == GKA_INF32 && !gka_has_inf(f));
    k = nan ? (uint32_t)gka_nan_index(f) : k | (u >> 31) << (gka_field_bits(f) + f->p - 1);
    return k << gka_padding_bits(f);
}

/* The number a pattern spells; NaN where it spells no value of the format. */
GKA_INLINE double gka_decode_core(const gka_format *f, uint64_t pattern) {
    const int width = gka_field_bits(f) + f->p - 1;
    const uint64_t code = pattern >> gka_padding_bits(f);
    const uint64_t k = code & ((UINT64_C(1) << width) - 1), sign = (code >> width & 1) << 63;
    const uint64_t bias = (uint64_t)(f->emin + 1022) << 52;
    const uint64_t max = (gka_bits(f->max_finite) - bias) >> (53 - f->p);
    uint64_t r = (k << (53 - f->p)) + bias;
    if (f->emin > -1022 && f->p <= 25) {
        const double quantum = gka_double(gka_power_bits(f->emin - f->p + 1));
        r = k >> (f->p - 1) == 0 ? gka_bits((double)(int32_t)k * quantum) : r;
    }
    const bool none = k > max || (!f->subnormals && k != 0 && k >> (f->p - 1) == 0);
    const bool inf = gka_has_inf(f) && k == gka_inf_index(f);
    return gka_double(inf ? GKA_INF | sign : none ? GKA_NAN : r | sign);
}

/* The same as a float, for a format of floats, f->bits <= 32. */
GKA_INLINE float gka_decode_core_f32(const gka_format *f, uint32_t pattern) {
    const int width = gka_field_bits(f) + f->p - 1;
    const uint32_t code = pattern >> gka_padding_bits(f);
    const uint32_t k = code & ((UINT32_C(1) << width) - 1), sign = (code >> width & 1) << 31;
    const uint32_t bias = (uint32_t)(f->emin + 126) << 23;
    const uint32_t max = (gka_narrow_bits(gka_bits(f->max_finite)) - bias) >> (24 - f->p);
    uint32_t r = (k << (24 - f->p)) + bias;
    if (f->emin > -126) {
        const float quantum = (float)gka_double(gka_power_bits(f->emin - f->p + 1));
        r = k >> (f->p - 1) == 0 ? gka_bits_f32((float)(int32_t)k * quantum) : r;
    }
    const bool none = k > max || (!f->subnormals && k != 0 && k >> (f->p - 1) == 0);
    const bool inf = gka_has_inf(f) && k == gka_inf_index(f);
    return gka_float(inf ? GKA_INF32 | sign : none ? GKA_NAN32 : r | sign);
}

/* Words 4 block .. 4 block + 3 of a seed's stream (gka/format.h, gka_round_random). */
GKA_INLINE void gka_round_random_block(uint64_t seed, uint64_t block, uint64_t bits[4]) {
    const uint64_t counter[4] = {block, 0, 0, 0};
    const uint64_t key[2] = {seed, UINT64_C(0x726f756e64696e67)};
    gka_philox(counter, key, bits);
}

/* ---- 6 binary64 rounded to odd ------------------------------------------------------------- */

/* RO(h + e) where h is h + e rounded to nearest and e's sign, or its being 0, is exact; h finite.
 * One of the two doubles about an inexact number is odd: h, or its neighbour on e's side. */
GKA_INLINE double gka_odd_pair(double h, double e) {
    const uint64_t u = gka_bits(h), v = gka_bits(e);
    const uint64_t inexact = (v & ~GKA_SIGN) != 0, step = inexact & ~u & 1;
    return gka_double((u ^ v) >> 63 ? u - step : u + step);
}

/* v as a double rounded to odd. */
GKA_INLINE double gka_odd_exact(gka_exact v) {
    return gka_double(gka_bits(v.trunc) | (v.rest != 0 || v.sticky));
}

/* |x| in [2^-960, 2^1020]: far enough from both ends of the range that the errors of sums,
 * products, quotients and roots with such results are doubles. */
GKA_INLINE bool gka_is_mid(double x) {
    const uint64_t low = (uint64_t)(1023 - 960) << 52, high = (uint64_t)(1023 + 1020) << 52;
    return (gka_bits(x) & ~GKA_SIGN) - low <= high - low;
}

/* RO(a + b), by Fast2Sum, which cannot overflow where the sum does not. No branch but the one
 * for results that are not finite: Inf and NaN pass, an overflow gives the largest double. */
GKA_INLINE double gka_odd_add(double a, double b) {
    const bool swap = (gka_bits(a) & ~GKA_SIGN) < (gka_bits(b) & ~GKA_SIGN);
    const double large = swap ? b : a, small = swap ? a : b;
    const double s = large + small, e = small - (s - large);
    const bool finite = (gka_bits(s) & GKA_INF) != GKA_INF;
    const bool overflow = (gka_bits(large) & GKA_INF) != GKA_INF;
    const double edge = overflow ? gka_double(gka_bits(s) - 1) : s;
    return finite ? gka_odd_pair(s, e) : edge;
}

/* RO(a b). (When both have at most 26 bits and the product lies in the range, a * b is exact.) */
GKA_INLINE double gka_odd_mul(double a, double b) {
    const double h = a * b;
    return gka_is_mid(h) ? gka_odd_pair(h, fma(a, b, -h)) : gka_odd_exact(gka_exact_mul(a, b));
}

/* RO(a b + c). The error of a fused multiply-add is the sum of two doubles; rounding that to odd
 * keeps its sign and its being 0 or not, which is all the last step sees. (When a b is exact as
 * above, gka_odd_add(a * b, c) is the same and vectorises.) */
GKA_INLINE double gka_odd_fma(double a, double b, double c) {
    const double h = a * b;
    if (!gka_is_mid(h) || (gka_bits(c) & ~GKA_SIGN) > gka_bits(0x1p1020))
        return gka_odd_exact(gka_exact_fma(a, b, c));
    const double l = fma(a, b, -h);
    const double t = c + l, tc = t - l, te = (c - tc) + (l - (t - tc)); /* c + l = t + te */
    const double v = h + t, vh = v - t, ve = (h - vh) + (t - (v - vh)); /* h + t = v + ve */
    return gka_odd_add(v, gka_odd_add(te, ve));
}

/* RO(a / b), from the remainder a - q b, which is a double. */
GKA_INLINE double gka_odd_div(double a, double b) {
    const double q = a / b;
    if (!gka_is_mid(q) || !gka_is_mid(a) || !gka_is_mid(b))
        return gka_odd_exact(gka_exact_div(a, b));
    const double r = fma(-q, b, a);
    return gka_odd_pair(q, gka_double(gka_bits(r) ^ (gka_bits(b) & GKA_SIGN)));
}

/* RO(sqrt(a)), from the remainder a - q^2. */
GKA_INLINE double gka_odd_sqrt(double a) {
    const double q = sqrt(a);
    return gka_is_mid(a) && a > 0 ? gka_odd_pair(q, fma(-q, q, a))
                                  : gka_odd_exact(gka_exact_sqrt(a));
}

/* ---- 7 operations rounded once ------------------------------------------------------------- */

/* a + b, a b, a b + c, a / b, sqrt(a) of any doubles, computed exactly and rounded once to the
 * format. An exact zero from operands that are not zeros of that sign is +0, and -0 in mode
 * GKA_DOWN (IEEE 754-2019, 6.3). random: read by the stochastic mode alone. */
GKA_INLINE bool gka_odd_suffices(const gka_format *f, gka_rounding mode) {
    return f->p <= 51 && mode != GKA_STOCHASTIC;
}

/* The sum of v if it is an exact zero in mode GKA_DOWN, where only (+0) + (+0) is +0; else v. */
GKA_INLINE gka_exact gka_zero_sum(gka_rounding mode, gka_exact v, bool plus_zeros) {
    const bool zero = (gka_bits(v.trunc) & ~GKA_SIGN) == 0 && v.rest == 0 && !v.sticky;
    if (mode == GKA_DOWN && zero)
        v.trunc = plus_zeros ? 0.0 : -0.0;
    return v;
}

GKA_INLINE double gka_add_round(const gka_format *f, gka_rounding mode, double a, double b,
                                uint64_t random) {
    const gka_exact odd = {gka_odd_suffices(f, mode) ? gka_odd_add(a, b) : 0, 0, false};
    const gka_exact v = gka_odd_suffices(f, mode) ? odd : gka_exact_add(a, b);
    const bool plus_zeros = (gka_bits(a) | gka_bits(b)) == 0;
    return gka_round_exact(f, mode, gka_zero_sum(mode, v, plus_zeros), random);
}

GKA_INLINE double gka_mul_round(const gka_format *f, gka_rounding mode, double a, double b,
                                uint64_t random) {
    return gka_odd_suffices(f, mode) ? gka_round_core(f, mode, gka_odd_mul(a, b), 0)
                                     : gka_round_exact(f, mode, gka_exact_mul(a, b), random);
}

GKA_INLINE double gka_fma_round(const gka_format *f, gka_rounding mode, double a, double b,
                                double c, uint64_t random) {
    const gka_exact odd = {gka_odd_suffices(f, mode) ? gka_odd_fma(a, b, c) : 0, 0, false};
    const gka_exact v = gka_odd_suffices(f, mode) ? odd : gka_exact_fma(a, b, c);
    const bool plus_zeros =
        (a == 0 || b == 0) && (gka_bits(a) ^ gka_bits(b)) >> 63 == 0 && gka_bits(c) == 0;
    return gka_round_exact(f, mode, gka_zero_sum(mode, v, plus_zeros), random);
}

GKA_INLINE double gka_div_round(const gka_format *f, gka_rounding mode, double a, double b,
                                uint64_t random) {
    return gka_odd_suffices(f, mode) ? gka_round_core(f, mode, gka_odd_div(a, b), 0)
                                     : gka_round_exact(f, mode, gka_exact_div(a, b), random);
}

GKA_INLINE double gka_sqrt_round(const gka_format *f, gka_rounding mode, double a,
                                 uint64_t random) {
    return gka_odd_suffices(f, mode) ? gka_round_core(f, mode, gka_odd_sqrt(a), 0)
                                     : gka_round_exact(f, mode, gka_exact_sqrt(a), random);
}

#endif
