/* round.h - the one rounding core, specialised by constant arguments; exact sums and products.
 *
 *   1  presets, as constants of each file that includes this one
 *   2  gka_cut                a real number cut to 53 + 64 bits and a sticky bit
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
static const gka_format gka_bf16 = {
    "bf16", 8, -126, 127, 0x1.fep127, true, GKA_OVERFLOW_IEEE, 16, GKA_SPECIALS_BY_FIELD};
static const gka_format gka_fp16 = {
    "fp16", 11, -14, 15, 0x1.ffcp15, true, GKA_OVERFLOW_IEEE, 16, GKA_SPECIALS_BY_FIELD};
static const gka_format gka_tf32 = {
    "tf32", 11, -126, 127, 0x1.ffcp127, true, GKA_OVERFLOW_IEEE, 32, GKA_SPECIALS_BY_FIELD};
static const gka_format gka_fp32 = {
    "fp32", 24, -126, 127, 0x1.fffffep127, true, GKA_OVERFLOW_IEEE, 32, GKA_SPECIALS_BY_FIELD};
static const gka_format gka_fp64 = {"fp64",
                                    53,
                                    -1022,
                                    1023,
                                    0x1.fffffffffffffp1023,
                                    true,
                                    GKA_OVERFLOW_IEEE,
                                    64,
                                    GKA_SPECIALS_BY_FIELD};
static const gka_format gka_e4m3 = {
    "e4m3", 4, -6, 8, 448, true, GKA_OVERFLOW_SATURATE, 8, GKA_SPECIALS_BY_FIELD};
static const gka_format gka_e5m2 = {
    "e5m2", 3, -14, 15, 57344, true, GKA_OVERFLOW_SATURATE, 8, GKA_SPECIALS_BY_FIELD};
static const gka_format gka_e4m3_ieee = {
    "e4m3-ieee", 4, -6, 8, 448, true, GKA_OVERFLOW_NAN, 8, GKA_SPECIALS_BY_FIELD};
static const gka_format gka_e5m2_ieee = {
    "e5m2-ieee", 3, -14, 15, 57344, true, GKA_OVERFLOW_IEEE, 8, GKA_SPECIALS_BY_FIELD};

static const gka_format gka_e2m1 = {"e2m1",           2, 0, 2, 6, true, GKA_OVERFLOW_SATURATE, 4,
                                    GKA_SPECIALS_NONE};
static const gka_format gka_e2m3 = {"e2m3",           4, 0, 2, 7.5, true, GKA_OVERFLOW_SATURATE, 6,
                                    GKA_SPECIALS_NONE};
static const gka_format gka_e3m2 = {"e3m2",           3, -2, 4, 28, true, GKA_OVERFLOW_SATURATE, 6,
                                    GKA_SPECIALS_NONE};
static const gka_format gka_e3m4 = {
    "e3m4", 5, -2, 3, 15.5, true, GKA_OVERFLOW_IEEE, 8, GKA_SPECIALS_BY_FIELD};
static const gka_format gka_e4m3fnuz = {
    "e4m3fnuz", 4, -7, 7, 240, true, GKA_OVERFLOW_SATURATE, 8, GKA_SPECIALS_FNUZ};
static const gka_format gka_e5m2fnuz = {
    "e5m2fnuz", 3, -15, 15, 57344, true, GKA_OVERFLOW_SATURATE, 8, GKA_SPECIALS_FNUZ};
static const gka_format gka_e8m0 = {
    "e8m0", 1, -127, 127, 0x1p127, false, GKA_OVERFLOW_SATURATE, 8, GKA_SPECIALS_E8M0};

/* ---- 2 numbers between binary64 and exact -------------------------------------------------- */

/* The real number (+-)(|trunc| + (rest + f) 2^-64 u), u the distance from |trunc| to the next
 * larger double, 0 <= f < 1, f > 0 exactly when sticky: trunc is the number cut toward zero and
 * rest the next 64 bits. trunc is finite wherever rest or sticky is set. Numbers of 2^1024 and
 * above are held as the largest double with rest and sticky all ones. */
typedef struct gka_cut {
    double trunc;
    uint64_t rest;
    bool sticky;
} gka_cut;

/* a + b, a b, a b + c, a / b, sqrt(a), exactly (quotient and root to the bits above). Infinities,
 * NaN, x / 0 and roots of negative numbers give what IEEE arithmetic gives; an exact zero has the
 * sign of round-to-nearest. A hundred times slower than an addition: for p = 53, the stochastic
 * mode, and results near the ends of the range of binary64. */
gka_cut gka_exact_add(double a, double b);
gka_cut gka_exact_mul(double a, double b);
gka_cut gka_exact_fma(double a, double b, double c);
gka_cut gka_exact_div(double a, double b);
gka_cut gka_exact_sqrt(double a);

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

/* What the core needs to know of a format and a mode: constants where these are, and computed once
 * before a loop where they are not. Magnitudes are bits of doubles. */
typedef struct gka_plan {
    gka_rounding mode;
    int drop;         /* bits of a double's fraction that the format does not have */
    int min_field;    /* exponent field, in a double, of 2^emin */
    int q;            /* gka_quantum_exponent */
    uint64_t hidden;  /* or'ed in where a last bit is looked at, see below */
    uint64_t quantum; /* 2^q: below it only 0 and 2^q remain. 0 if that needs no special care */
    uint64_t half;    /* 2^(q-1) */
    uint64_t max;     /* max_finite */
    uint64_t inf;     /* what Inf becomes */
    uint64_t over_plus, over_minus; /* what overflow becomes, by sign */
} gka_plan;

GKA_INLINE gka_plan gka_plan_of(const gka_format *f, gka_rounding mode) {
    /* The bits of doubles are linear in their value below 2^-1022 as well: with emin there, the
     * tiny numbers are like all others. (p = 1: their last bit is no bit of the fraction.) */
    const bool linear = f->emin == -1022 && f->subnormals && f->p > 1;
    const uint64_t max = gka_bits(f->max_finite);
    const uint64_t inf = f->overflow == GKA_OVERFLOW_IEEE       ? GKA_INF
                         : f->overflow == GKA_OVERFLOW_SATURATE ? max
                                                                : GKA_NAN;
    const int q = gka_quantum_exponent(f);
    const gka_plan plan = {mode,
                           53 - f->p,
                           f->emin + 1023,
                           q,
                           linear ? 0 : GKA_HIDDEN,
                           linear ? 0 : gka_power_bits(q),
                           linear ? 0 : gka_power_bits(q - 1),
                           max,
                           inf,
                           gka_overflow_stays_finite(mode, false) ? max : inf,
                           gka_overflow_stays_finite(mode, true) ? max : inf};
    return plan;
}

/* v rounded to the format. With a the bits of |trunc|, s the number of its low bits that the grid
 * does not hold, low these bits, base the rest, and odd the last bit of base, which is 1 where it
 * is the hidden bit:
 *   nearest      base, and 2^s more if 2 low + odd > 2^s         odd: or else bits beyond a
 *   up, down     base, and 2^s more if inexact and that is away from zero
 *   to odd       base, and 2^s more if inexact and base is even
 *   stochastic   base, and 2^s more if F + random >= 2^64, F = floor(2^64 fraction),
 *                fraction = the exact (low, rest, ...) / 2^s: away with probability F / 2^64
 * Adding to the bits of a double carries into the exponent as it should. Below the smallest
 * positive value of the format only 0 and that value, the quantum, remain.
 * Written as selections between 64-bit numbers, compared as signed ones: that vectorises. */
GKA_INLINE double gka_round_planned(const gka_plan *plan, gka_cut v, uint64_t random) {
    const gka_rounding mode = plan->mode;
    const uint64_t u = gka_bits(v.trunc), sign = u & GKA_SIGN, a = u ^ sign;
    const uint64_t more = v.rest != 0 || v.sticky; /* anything beyond a */
    const int64_t field = (int64_t)(a >> 52);
    const int64_t below = plan->min_field - (field > 1 ? field : 1);
    const int64_t wide = plan->drop + (below > 0 ? below : 0);
    const uint64_t s = (uint64_t)(wide < 52 ? wide : 52);
    /* 2^s as a difference: gcc 12 vectorises no shift of a constant by 64-bit amounts. */
    const uint64_t base = a >> s << s, ulp = (((a >> s) + 1) << s) - base, low = a - base;
    const uint64_t odd = (a | plan->hidden) >> s & 1, quantum = plan->quantum;
    uint64_t r = base, tiny = 0;
    switch (mode) {
    case GKA_NEAREST_EVEN:
        r += (int64_t)(2 * low + (odd | more)) > (int64_t)ulp ? ulp : 0;
        if (s == 0) /* p = 53: the first bit cut off is in rest */
            r += v.rest > GKA_SIGN || (v.rest == GKA_SIGN && (v.sticky || odd));
        tiny = (int64_t)(a + more) > (int64_t)plan->half ? quantum : 0;
        break;
    case GKA_UP:
    case GKA_DOWN: {
        const uint64_t away = sign == (mode == GKA_UP ? 0 : GKA_SIGN) ? ~UINT64_C(0) : 0;
        r += (low | more) != 0 ? ulp & away : 0;
        tiny = (a | more) != 0 ? quantum & away : 0;
        break;
    }
    case GKA_TO_ODD:
        r += (low | more) != 0 ? ulp & (odd - 1) : 0;
        tiny = (a | more) != 0 ? quantum : 0;
        break;
    case GKA_STOCHASTIC: {
        const uint64_t fraction = a < quantum ? gka_tiny_fraction(a, v.rest, plan->q)
                                  : s > 0     ? low << (64 - s) | v.rest >> s
                                              : v.rest;
        r += fraction + random < fraction ? ulp : 0;
        tiny = fraction + random < fraction ? quantum : 0;
        break;
    }
    case GKA_TOWARD_ZERO: break;
    }
    r = (int64_t)a < (int64_t)quantum ? tiny : r;
    const uint64_t over = sign != 0 ? plan->over_minus : plan->over_plus;
    const uint64_t beyond = a == GKA_INF ? plan->inf : over;
    r = (int64_t)r > (int64_t)plan->max ? beyond : r;
    r |= (int64_t)r > (int64_t)GKA_INF ? 0 : sign;
    return gka_double((int64_t)a > (int64_t)GKA_INF ? GKA_NAN : r);
}

GKA_INLINE double gka_round_exact(const gka_format *f, gka_rounding mode, gka_cut v,
                                  uint64_t random) {
    const gka_plan plan = gka_plan_of(f, mode);
    return gka_round_planned(&plan, v, random);
}

/* x rounded to the format. */
GKA_INLINE double gka_round_core(const gka_format *f, gka_rounding mode, double x,
                                 uint64_t random) {
    const gka_cut v = {x, 0, false};
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

/* gka_plan with bits of floats. */
typedef struct gka_plan_f32 {
    gka_rounding mode;
    int drop, min_field;
    uint32_t hidden, quantum, half, max, inf, over_plus, over_minus;
} gka_plan_f32;

GKA_INLINE uint32_t gka_power_bits_f32(int e) {
    return e >= -126 ? (uint32_t)(e + 127) << 23 : e >= -149 ? UINT32_C(1) << (e + 149) : 0;
}

GKA_INLINE gka_plan_f32 gka_plan_of_f32(const gka_format *f, gka_rounding mode) {
    const bool linear = f->emin == -126 && f->subnormals && f->p > 1;
    const uint32_t max = gka_narrow_bits(gka_bits(f->max_finite));
    const uint32_t inf = f->overflow == GKA_OVERFLOW_IEEE       ? GKA_INF32
                         : f->overflow == GKA_OVERFLOW_SATURATE ? max
                                                                : GKA_NAN32;
    const int q = gka_quantum_exponent(f);
    const gka_plan_f32 plan = {mode,
                               24 - f->p,
                               f->emin + 127,
                               linear ? 0 : GKA_HIDDEN32,
                               linear ? 0 : gka_power_bits_f32(q),
                               linear ? 0 : gka_power_bits_f32(q - 1),
                               max,
                               inf,
                               gka_overflow_stays_finite(mode, false) ? max : inf,
                               gka_overflow_stays_finite(mode, true) ? max : inf};
    return plan;
}

/* gka_round_planned for a float and a deterministic mode, line by line. */
GKA_INLINE float gka_round_planned_f32(const gka_plan_f32 *plan, float x) {
    const gka_rounding mode = plan->mode;
    const uint32_t u = gka_bits_f32(x), sign = u & GKA_SIGN32, a = u ^ sign;
    const int32_t field = (int32_t)(a >> 23);
    const int32_t below = plan->min_field - (field > 1 ? field : 1);
    const int32_t wide = plan->drop + (below > 0 ? below : 0), s = wide < 23 ? wide : 23;
    const uint32_t ulp = UINT32_C(1) << (uint32_t)s, mask = ulp - 1, low = a & mask;
    const uint32_t last = a | plan->hidden, odd = last >> (uint32_t)s & 1;
    const uint32_t quantum = plan->quantum;
    uint32_t r = a - low, tiny = 0;
    switch (mode) {
    case GKA_NEAREST_EVEN:
        r = (a + (mask >> 1) + (odd & mask)) & ~mask;
        tiny = (int32_t)a > (int32_t)plan->half ? quantum : 0;
        break;
    case GKA_UP:
    case GKA_DOWN: {
        const uint32_t away = sign == (mode == GKA_UP ? 0 : GKA_SIGN32) ? ~UINT32_C(0) : 0;
        r = (a + (mask & away)) & ~mask;
        tiny = a != 0 ? quantum & away : 0;
        break;
    }
    case GKA_TO_ODD:
        r += (low != 0 ? ulp : 0) & ~last;
        tiny = a != 0 ? quantum : 0;
        break;
    case GKA_STOCHASTIC:
    case GKA_TOWARD_ZERO: break;
    }
    r = (int32_t)a < (int32_t)quantum ? tiny : r;
    const uint32_t over = sign != 0 ? plan->over_minus : plan->over_plus;
    const uint32_t beyond = a == GKA_INF32 ? plan->inf : over;
    r = (int32_t)r > (int32_t)plan->max ? beyond : r;
    r |= (int32_t)r > (int32_t)GKA_INF32 ? 0 : sign;
    return gka_float((int32_t)a > (int32_t)GKA_INF32 ? GKA_NAN32 : r);
}

GKA_INLINE float gka_round_core_f32(const gka_format *f, gka_rounding mode, float x) {
    const gka_plan_f32 plan = gka_plan_of_f32(f, mode);
    return gka_round_planned_f32(&plan, x);
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
    return f->specials == GKA_SPECIALS_BY_FIELD &&
           f->emax - f->emin + 1 < (1 << gka_field_bits(f)) - 1;
}

GKA_INLINE uint64_t gka_inf_index(const gka_format *f) {
    return ((UINT64_C(1) << gka_field_bits(f)) - 1) << (f->p - 1);
}

GKA_INLINE uint64_t gka_nan_index(const gka_format *f) {
    return gka_has_inf(f) ? gka_inf_index(f) | UINT64_C(1) << (f->p - 2)
                          : (UINT64_C(1) << (gka_field_bits(f) + f->p - 1)) - 1;
}

/* A format's encoding, as gka_plan is its rounding. */
typedef struct gka_layout {
    int drop, min_field; /* as in gka_plan */
    int width, padding;  /* bits of k, and zeros below it */
    uint64_t bias;       /* bits of the double 2^emin, less one exponent field */
    uint64_t signed_max; /* bits of the largest double that keeps its sign: Inf, if there is one */
    uint64_t inf, nan, max; /* k of Inf (or NaN), of NaN, of max_finite */
    uint64_t only_inf;      /* k of Inf, or what no k is */
    uint64_t none;          /* how many k from 1 up spell nothing: 0, or no subnormals */
    uint64_t normal;        /* k below this are multiples of the quantum, by a product */
    double quantum;         /* 2^(emin-p+1) */
} gka_layout;

GKA_INLINE gka_layout gka_layout_of(const gka_format *f) {
    const uint64_t bias = (uint64_t)(f->emin + 1022) << 52;
    const bool has_inf = gka_has_inf(f);
    const gka_layout layout = {53 - f->p,
                               f->emin + 1023,
                               gka_field_bits(f) + f->p - 1,
                               gka_padding_bits(f),
                               bias,
                               has_inf ? GKA_INF : GKA_INF - 1,
                               has_inf ? gka_inf_index(f) : gka_nan_index(f),
                               gka_nan_index(f),
                               (gka_bits(f->max_finite) - bias) >> (53 - f->p),
                               has_inf ? gka_inf_index(f) : UINT64_MAX,
                               f->subnormals ? 0 : (UINT64_C(1) << (f->p - 1)) - 1,
                               f->emin == -1022 ? 0 : UINT64_C(1) << (f->p - 1),
                               gka_double(gka_power_bits(f->emin - f->p + 1))};
    return layout;
}

/* The pattern of a value x of the format, of Inf (NaN where there is none) or NaN. */
GKA_INLINE uint64_t gka_encode_planned(const gka_layout *f, double x) {
    const uint64_t u = gka_bits(x), a = u & ~GKA_SIGN;
    const int64_t field = (int64_t)(a >> 52), below = f->min_field - (field > 1 ? field : 1);
    const int64_t wide = f->drop + below, s = wide < 63 ? wide : 63;
    const uint64_t hidden = field != 0 ? GKA_HIDDEN : 0, m = (a & (GKA_HIDDEN - 1)) | hidden;
    uint64_t k = below > 0 ? m >> (uint64_t)(s > 0 ? s : 0) : (a - f->bias) >> f->drop;
    k = a == GKA_INF ? f->inf : k;
    k |= (int64_t)a > (int64_t)f->signed_max ? 0 : (u >> 63) << f->width;
    k = (int64_t)a > (int64_t)GKA_INF ? f->nan : k;
    return k << f->padding;
}

/* Of formats that are not GKA_SPECIALS_BY_FIELD. */
uint64_t gka_encode_special(const gka_format *f, double x);
double gka_decode_special(const gka_format *f, uint64_t pattern);

GKA_INLINE uint64_t gka_encode_core(const gka_format *f, double x) {
    if (f->specials != GKA_SPECIALS_BY_FIELD)
        return gka_encode_special(f, x);
    const gka_layout layout = gka_layout_of(f);
    return gka_encode_planned(&layout, x);
}

/* The number a pattern spells; NaN where it spells no value of the format. */
GKA_INLINE double gka_decode_planned(const gka_layout *f, uint64_t pattern) {
    const uint64_t code = pattern >> f->padding;
    const uint64_t k = code & ((UINT64_C(1) << f->width) - 1), sign = (code >> f->width & 1) << 63;
    /* k as a double: exact where it is used, and gcc 12 vectorises no choice about conversions */
    const double number = gka_double((k & (GKA_HIDDEN - 1)) | gka_bits(0x1p52)) - 0x1p52;
    const uint64_t small = gka_bits(number * f->quantum);
    const uint64_t large = (k << f->drop) + f->bias;
    uint64_t r = ((int64_t)k < (int64_t)f->normal ? small : large) | sign;
    r = (int64_t)k > (int64_t)f->max ? GKA_NAN : r;
    r = k - 1 < f->none ? GKA_NAN : r;
    return gka_double(k == f->only_inf ? GKA_INF | sign : r);
}

GKA_INLINE double gka_decode_core(const gka_format *f, uint64_t pattern) {
    if (f->specials != GKA_SPECIALS_BY_FIELD)
        return gka_decode_special(f, pattern);
    const gka_layout layout = gka_layout_of(f);
    return gka_decode_planned(&layout, pattern);
}

/* The same with floats, for a format of floats, bits <= 32. */
typedef struct gka_layout_f32 {
    int drop, min_field, width, padding;
    uint32_t bias, inf, nan, max, only_inf, none, normal;
    float quantum;
} gka_layout_f32;

GKA_INLINE gka_layout_f32 gka_layout_of_f32(const gka_format *f) {
    const uint32_t bias = (uint32_t)(f->emin + 126) << 23;
    const bool has_inf = gka_has_inf(f);
    const gka_layout_f32 layout = {24 - f->p,
                                   f->emin + 127,
                                   gka_field_bits(f) + f->p - 1,
                                   gka_padding_bits(f),
                                   bias,
                                   (uint32_t)(has_inf ? gka_inf_index(f) : gka_nan_index(f)),
                                   (uint32_t)gka_nan_index(f),
                                   (gka_narrow_bits(gka_bits(f->max_finite)) - bias) >> (24 - f->p),
                                   has_inf ? (uint32_t)gka_inf_index(f) : UINT32_MAX,
                                   f->subnormals ? 0 : (UINT32_C(1) << (f->p - 1)) - 1,
                                   UINT32_C(1) << (f->p - 1),
                                   gka_float(gka_power_bits_f32(f->emin - f->p + 1))};
    return layout;
}

/* gka_plan and gka_layout in one, with the numbers k of values in the place of their bits. */
typedef struct gka_packing {
    gka_rounding mode;
    int drop, min_field, width, padding;
    uint32_t bias, max, signed_max, nan, inf, over_plus, over_minus;
} gka_packing;

/* For formats of floats with subnormals, 2 <= bits <= 32. */
GKA_INLINE gka_packing gka_packing_of(const gka_format *f, gka_rounding mode) {
    const gka_layout_f32 layout = gka_layout_of_f32(f);
    const uint32_t inf = f->overflow == GKA_OVERFLOW_IEEE       ? layout.inf
                         : f->overflow == GKA_OVERFLOW_SATURATE ? layout.max
                                                                : layout.nan;
    const gka_packing packing = {mode,
                                 layout.drop,
                                 layout.min_field,
                                 layout.width,
                                 layout.padding,
                                 layout.bias,
                                 layout.max,
                                 gka_has_inf(f) ? layout.inf : layout.max,
                                 layout.nan,
                                 inf,
                                 gka_overflow_stays_finite(mode, false) ? layout.max : inf,
                                 gka_overflow_stays_finite(mode, true) ? layout.max : inf};
    return packing;
}

/* The pattern of x rounded. With m 2^s in units of the grid's spacing what x is below 2^emin, and
 * m the bits above that, less the bias, elsewhere, k is m rounded to an integer multiple of 2^s:
 * counting values, subnormal and normal numbers are one line, and to odd sets the last bit. */
GKA_INLINE uint32_t gka_pack_planned(const gka_packing *f, float x) {
    const gka_rounding mode = f->mode;
    const uint32_t u = gka_bits_f32(x), sign = u & GKA_SIGN32, a = u ^ sign;
    const int32_t field = (int32_t)(a >> 23), below = f->min_field - (field > 1 ? field : 1);
    const int32_t wide = f->drop + (below > 0 ? below : 0), s = wide < 25 ? wide : 25;
    const uint32_t hidden = field != 0 ? GKA_HIDDEN32 : 0;
    const uint32_t m = below > 0 ? (a & (GKA_HIDDEN32 - 1)) | hidden : a - f->bias;
    const uint32_t ulp = UINT32_C(1) << (uint32_t)s, mask = ulp - 1;
    uint32_t k = m >> (uint32_t)s;
    switch (mode) {
    case GKA_NEAREST_EVEN: k = (m + (mask >> 1) + (k & mask & 1)) >> (uint32_t)s; break;
    case GKA_UP: k = (m + (sign == 0 ? mask : 0)) >> (uint32_t)s; break;
    case GKA_DOWN: k = (m + (sign != 0 ? mask : 0)) >> (uint32_t)s; break;
    case GKA_TO_ODD: k |= (m & mask) != 0 ? 1 : 0; break;
    case GKA_TOWARD_ZERO:
    case GKA_STOCHASTIC: break;
    }
    const uint32_t over = sign != 0 ? f->over_minus : f->over_plus;
    const uint32_t beyond = a == GKA_INF32 ? f->inf : over;
    k = (int32_t)k > (int32_t)f->max ? beyond : k;
    k |= (int32_t)k > (int32_t)f->signed_max ? 0 : (sign >> 31) << f->width;
    k = (int32_t)a > (int32_t)GKA_INF32 ? f->nan : k;
    return k << f->padding;
}

GKA_INLINE float gka_decode_planned_f32(const gka_layout_f32 *f, uint32_t pattern) {
    const uint32_t code = pattern >> f->padding;
    const uint32_t k = code & ((UINT32_C(1) << f->width) - 1), sign = (code >> f->width & 1) << 31;
    const float number = gka_float((k & (GKA_HIDDEN32 - 1)) | gka_bits_f32(0x1p23F)) - 0x1p23F;
    const uint32_t small = gka_bits_f32(number * f->quantum);
    const uint32_t large = (k << f->drop) + f->bias;
    uint32_t r = ((int32_t)k < (int32_t)f->normal ? small : large) | sign;
    r = (int32_t)k > (int32_t)f->max ? GKA_NAN32 : r;
    r = k - 1 < f->none ? GKA_NAN32 : r;
    return gka_float(k == f->only_inf ? GKA_INF32 | sign : r);
}

#define GKA_STREAM_KEY UINT64_C(0x726f756e64696e67) /* "rounding" */

/* Words 4 block .. 4 block + 3 of a seed's stream (gka/format.h, gka_round_random). */
GKA_INLINE void gka_round_random_block(uint64_t seed, uint64_t block, uint64_t bits[4]) {
    const uint64_t counter[4] = {block, 0, 0, 0};
    const uint64_t key[2] = {seed, GKA_STREAM_KEY};
    gka_philox(counter, key, bits);
}

/* ---- 6 binary64 rounded to odd ------------------------------------------------------------- */

/* RO(h + e) where h is h + e rounded to nearest and e's sign, or its being 0, is exact. One of
 * the two doubles about an inexact number is odd: h, or its neighbour on e's side. An infinite e,
 * the error of a sum that overflowed, has the side of the largest double, and is odd; a NaN,
 * where there was an infinite operand, leaves h as it is. */
GKA_INLINE double gka_odd_pair(double h, double e) {
    const uint64_t u = gka_bits(h), v = gka_bits(e);
    const int64_t size = (int64_t)(v & ~GKA_SIGN);
    const uint64_t inexact = size > (int64_t)GKA_INF ? 0 : size > 0 ? ~u & 1 : 0;
    const uint64_t inward = (int64_t)(u ^ v) < 0 ? ~UINT64_C(0) : 0; /* u - 1, not u + 1 */
    return gka_double(u + ((inexact ^ inward) - inward));
}

/* v as a double rounded to odd. */
GKA_INLINE double gka_odd_exact(gka_cut v) {
    return gka_double(gka_bits(v.trunc) | (v.rest != 0 || v.sticky));
}

/* |x| in [2^-960, 2^1020]: far enough from both ends of the range that the errors of sums,
 * products, quotients and roots with such results are doubles. */
GKA_INLINE bool gka_is_mid(double x) {
    const uint64_t low = (uint64_t)(1023 - 960) << 52, high = (uint64_t)(1023 + 1020) << 52;
    return (gka_bits(x) & ~GKA_SIGN) - low <= high - low;
}

/* RO(a + b), by Fast2Sum, which cannot overflow where the sum does not. No branches. */
GKA_INLINE double gka_odd_add(double a, double b) {
    const uint64_t u = gka_bits(a), v = gka_bits(b);
    const bool swap = (int64_t)(u & ~GKA_SIGN) < (int64_t)(v & ~GKA_SIGN);
    const double large = gka_double(swap ? v : u), small = gka_double(swap ? u : v);
    const double s = large + small;
    return gka_odd_pair(s, small - (s - large));
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
GKA_INLINE gka_cut gka_zero_sum(gka_rounding mode, gka_cut v, bool plus_zeros) {
    const bool zero = (gka_bits(v.trunc) & ~GKA_SIGN) == 0 && v.rest == 0 && !v.sticky;
    if (mode == GKA_DOWN && zero)
        v.trunc = plus_zeros ? 0.0 : -0.0;
    return v;
}

GKA_INLINE double gka_add_round(const gka_format *f, gka_rounding mode, double a, double b,
                                uint64_t random) {
    const gka_cut odd = {gka_odd_suffices(f, mode) ? gka_odd_add(a, b) : 0, 0, false};
    const gka_cut v = gka_odd_suffices(f, mode) ? odd : gka_exact_add(a, b);
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
    const gka_cut odd = {gka_odd_suffices(f, mode) ? gka_odd_fma(a, b, c) : 0, 0, false};
    const gka_cut v = gka_odd_suffices(f, mode) ? odd : gka_exact_fma(a, b, c);
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
