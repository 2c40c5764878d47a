/* gka/format.h - number formats as data, and rounding to them.
 *
 *   1  gka_format               {p, emin, emax, largest finite, subnormals, overflow, encoding}
 *   2  gka_format_find          presets by name, and formats of one's own
 *   3  gka_round                one value, any mode
 *   4  gka_round_array          many values; the stream of the stochastic mode
 *   5  gka_encode, gka_decode   packed 4- to 64-bit patterns; tensors' data
 *   6  gka_block_format         blocks of numbers that share a scale: MXFP8/6/4, NVFP4, fp32 scales
 *
 * A finite value of a format is m 2^(e-p+1), m an integer, |m| < 2^p, emin <= e <= emax, at most
 * max_finite in size; for binary64 p = 53, emin = -1022, emax = 1023 (IEEE 754-2019, 3.3).
 *
 * What rounding means here, in all modes. The result is the one that the mode chooses among the
 * values of the format as if emax had no end; if that result is beyond max_finite, the overflow
 * rule replaces it. So 464, the tie between 448 and 480, rounds to 448 in E4M3, and above it
 * E4M3 overflows (OCP FP8 1.0, 5.2.2).
 *   zeros       keep their sign; a result that underflows to zero has the sign of x.
 *   NaN         gives the canonical quiet NaN: sign 0, payload 0. Payloads are not kept.
 *   subnormals  are values like all others. Without them only 0 and +-2^emin remain below 2^emin
 *               and the mode chooses among these; a tie, +-2^(emin-1), goes to 0. (Flushing to
 *               zero, what some devices do, is another operation.)
 *   p = 1       the tie 1.5 2^e goes to 2^(e+1): 2 is even, 1 is odd.
 */
#ifndef GKA_FORMAT_H
#define GKA_FORMAT_H

#include "gka/base.h"
#include "gka/io.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1 the format -------------------------------------------------------------------------- */

/* What stands for a result beyond max_finite, and for Inf itself.
 *
 *                  Inf given   nearest, stochastic, away from zero   toward zero, to odd
 *   ..._IEEE       Inf         Inf                                   largest finite
 *   ..._SATURATE   largest     largest finite                        largest finite
 *   ..._NAN        NaN         NaN                                   largest finite
 *
 * "Away from zero" is GKA_UP above and GKA_DOWN below zero, "toward zero" the reverse of these and
 * GKA_TOWARD_ZERO. GKA_OVERFLOW_NAN is IEEE's rule (754-2019, 7.4) for formats without an Inf. */
typedef enum gka_overflow {
    GKA_OVERFLOW_IEEE,
    GKA_OVERFLOW_SATURATE, /* the default of the OCP FP8 presets */
    GKA_OVERFLOW_NAN       /* OCP E4M3 when it does not saturate */
} gka_overflow;

/* Which patterns are no numbers, and how a zero is spelled. */
typedef enum gka_specials {
    /* If the field of all ones is not emax's, it holds Inf (fraction 0) and NaN (all other
     * fractions); otherwise, as in E4M3, there is no Inf and NaN is all ones in field and fraction.
     */
    GKA_SPECIALS_BY_FIELD,
    GKA_SPECIALS_NONE, /* every pattern is a number (OCP MX: e2m1, e2m3, e3m2); NaN becomes -0 */
    GKA_SPECIALS_FNUZ, /* no Inf; the pattern of -0 is NaN, so that a zero loses its sign */
    /* No sign, no zero, p = 1: pattern k is 2^(emin + k), and NaN all ones; NaN is also what a zero
     * or a negative number becomes (OCP MX: e8m0, the scale of blocks). */
    GKA_SPECIALS_E8M0
} gka_specials;

typedef struct gka_format {
    const char *name;
    int p;             /* precision in bits, the hidden one included: 1..25, or 53 */
    int emin, emax;    /* exponents of the smallest and the largest normal value, >= -1022 */
    double max_finite; /* largest finite value: 448 for OCP E4M3, where IEEE's rule would say 480 */
    bool subnormals;   /* false: nothing between 0 and 2^emin */
    gka_overflow overflow;
    int bits; /* bits of the packed encoding: 4, 6, 8, 16, 32, 64; 0: this format has none */
    gka_specials specials;
} gka_format;

/* ---- 2 presets ----------------------------------------------------------------------------- */

/* "bf16", "fp16", "tf32", "fp32", "fp64"; the formats of OCP FP8 "e4m3" and "e5m2" saturate, as
 * the conversions of GPUs do by default, "e4m3-ieee" overflows to NaN and "e5m2-ieee" to Inf
 * (PyTorch's and ml_dtypes' way). "e2m1", "e2m3", "e3m2" (OCP MX), "e4m3fnuz", "e5m2fnuz" (AMD) and
 * "e8m0" saturate; "e3m4" overflows to Inf. NULL when there is none. */
GKA_API const gka_format *gka_format_find(const char *name);
/* Every preset, in the order of a table; ends with NULL. */
GKA_API const gka_format *const *gka_format_presets(void);
/* The format in which a stored type holds its numbers; NULL for integers. */
GKA_API const gka_format *gka_format_of_dtype(gka_dtype dtype);

/* The format {p, emin, emax} with all that IEEE 754 gives a binary format: largest finite value
 * 2^emax (2 - 2^(1-p)), subnormals, overflow to Inf; no encoding. Not checked. */
GKA_API gka_format gka_format_ieee(const char *name, int p, int emin, int emax);

/* GKA_BAD_ARGUMENT with a line when the fields do not make a format this library can round to:
 * p in 1..25 or 53; -1022 <= emin <= emax <= 1023; max_finite = m 2^(emax-p+1) with
 * 2^(p-1) <= m < 2^p; bits = 0, or 4, 6, 8, 16, 32, 64 and enough for an encoding (see below) that
 * has a place for Inf if overflow is GKA_OVERFLOW_IEEE. Every function below takes checked formats
 * only; anything else is a programmer error. */
GKA_API gka_status gka_format_check(const gka_format *format, gka_error *error);

/* Whether two formats have the same values, overflow rule and encoding (names aside). */
GKA_API bool gka_format_equal(const gka_format *a, const gka_format *b);

GKA_API double gka_format_unit_roundoff(const gka_format *format); /* 2^-p */
GKA_API double gka_format_min_normal(const gka_format *format);    /* 2^emin */
/* 2^(emin-p+1); without subnormals the smallest positive value, 2^emin. */
GKA_API double gka_format_min_subnormal(const gka_format *format);
/* "ieee", "saturate", "nan". */
GKA_API const char *gka_overflow_name(gka_overflow overflow);

/* ---- 3 rounding ---------------------------------------------------------------------------- */

typedef enum gka_rounding {
    GKA_NEAREST_EVEN,
    GKA_TOWARD_ZERO,
    GKA_UP,
    GKA_DOWN,
    GKA_TO_ODD,    /* inexact: the neighbour whose last bit is 1; never 0, never Inf */
    GKA_STOCHASTIC /* away from zero with probability (|x| - below)/(above - below) */
} gka_rounding;

/* "nearest", "zero", "up", "down", "odd", "stochastic" and back; NULL and -1 for no mode. */
GKA_API const char *gka_rounding_name(gka_rounding rounding);
GKA_API int gka_rounding_find(const char *name);

/* The value of the format that the mode chooses for x. random: 64 uniform bits, read by the
 * stochastic mode alone: with below <= |x| < above neighbours in the format and
 * F = floor(2^64 (|x| - below)/(above - below)), the result is above if F + random >= 2^64, that
 * is for F of the 2^64 values of random, and below otherwise. F is exact unless |x| is less than
 * 2^-11 times the smallest positive value. */
GKA_API double gka_round(const gka_format *format, gka_rounding rounding, double x,
                         uint64_t random);

/* ---- 4 arrays ------------------------------------------------------------------------------ */

/* out[i] = gka_round(.., x[i], gka_round_random(seed, first + i)); out may be x. The random bits
 * are a function of seed and first + i alone, so any split of an array gives the same bits. */
GKA_API void gka_round_array(const gka_format *format, gka_rounding rounding, uint64_t seed,
                             uint64_t first, size_t n, const double *x, double *out);
/* The same result converted to float, which is exact where every value of the format is a float
 * (all presets but fp64, where it is x). */
GKA_API void gka_round_array_f32(const gka_format *format, gka_rounding rounding, uint64_t seed,
                                 uint64_t first, size_t n, const float *x, float *out);
/* The 64 random bits number i of a seed's stream: word i mod 4 of Philox4x64-10 with counter
 * (floor(i/4), 0, 0, 0) and key (seed, "rounding" in ASCII). */
GKA_API uint64_t gka_round_random(uint64_t seed, uint64_t i);

/* ---- 5 encodings --------------------------------------------------------------------------- */

/* A pattern is, from its highest bit: sign; exponent field of w bits; p - 1 bits of fraction;
 * zeros to the end (13 in tf32, kept in the word of an fp32; 0 in the other presets). Field 0
 * holds 0 and the subnormals, field 1 is emin; w is the fewest bits that hold emax - emin + 1.
 * gka_specials says which patterns are Inf and NaN.
 *
 * Encodes a value that the format holds exactly (round first). NaN gives the canonical quiet NaN,
 * sign 0: 7FC0 bf16, 7E00 fp16, 7FC00000 tf32 and fp32, 7F e4m3, 7E e5m2. Inf in a format that has
 * no pattern for it gives NaN. Formats with bits = 0 have no patterns: programmer error. */
GKA_API uint64_t gka_encode(const gka_format *format, double x);
/* The value of a pattern; NaN where it spells no value of the format. Zeros at the end are not
 * looked at, as tensor cores ignore the low bits of tf32. */
GKA_API double gka_decode(const gka_format *format, uint64_t pattern);

/* Rounds n numbers as gka_round_array does and packs them (element size bits/8, native byte
 * order); the fast paths. Patterns of 4 and 6 bits follow one another from the lowest bit of the
 * first byte on, so two fill a byte and four fill three; bits that are left are 0. out must not
 * overlap x. */
GKA_API void gka_encode_array(const gka_format *format, gka_rounding rounding, uint64_t seed,
                              uint64_t first, size_t n, const double *x, void *out);
GKA_API void gka_encode_array_f32(const gka_format *format, gka_rounding rounding, uint64_t seed,
                                  uint64_t first, size_t n, const float *x, void *out);
/* n numbers as the data of a tensor of a floating-point type: rounded once, to nearest even, and
 * packed little-endian at any address, on a host of any byte order. */
GKA_API void gka_store_array(gka_dtype dtype, size_t n, const double *x, void *data);
/* The values of n patterns, native byte order, aligned to their size. */
GKA_API void gka_decode_array(const gka_format *format, size_t n, const void *patterns,
                              double *out);
/* The same converted to float: exact for the formats of gka_round_array_f32 but fp64. */
GKA_API void gka_decode_array_f32(const gka_format *format, size_t n, const void *patterns,
                                  float *out);

/* ---- 6 blocks ------------------------------------------------------------------------------ */

/* How the scale s of a block follows from m, the largest size in it (e and max_finite are the
 * element format's emax and largest finite value). */
typedef enum gka_scale_rule {
    GKA_SCALE_OCP,    /* 2^(floor(log2 m) - e), the rule of OCP MX 1.0; elements may saturate */
    GKA_SCALE_UP,     /* the smallest number of the scale format with m / s <= max_finite */
    GKA_SCALE_NEAREST /* m / max_finite, to nearest in the scale format */
} gka_scale_rule;

/* Blocks of `block` consecutive numbers x that are stored as s and elements x / s. With
 * tensor_scale a binary32 number S = M / (max_finite of element times that of scale), M the largest
 * size in the whole array, divides every x first (NVFP4). */
typedef struct gka_block_format {
    const char *name;
    const gka_format *element, *scale;
    int block;
    gka_scale_rule rule;
    bool tensor_scale;
} gka_block_format;

/* "mxfp8-e4m3", "mxfp8-e5m2", "mxfp6-e2m3", "mxfp6-e3m2", "mxfp4" (32 elements, e8m0, OCP),
 * "nvfp4" (16 elements e2m1, scales e4m3 to nearest, tensor scale), "e4m3-1x128" (128 elements,
 * fp32 scales up). NULL when there is none. */
GKA_API const gka_block_format *gka_block_format_find(const char *name);
/* Every preset; ends with NULL. */
GKA_API const gka_block_format *const *gka_block_format_presets(void);

/* Bits that a number takes, scales included (the tensor scale aside). */
GKA_API double gka_block_bits(const gka_block_format *format);

/* What n numbers have become when they are read back: s times the element, times S. Elements are
 * rounded to nearest, x / s and the products in binary32. scales [ceil(n / block)], if not NULL,
 * receives the scales. The last block may be short. A block of zeros stays zeros, with the smallest
 * scale there is; one with a NaN or an infinity becomes NaN. out may be x. */
GKA_API void gka_block_round(const gka_block_format *format, size_t n, const double *x, double *out,
                             double *scales);

#ifdef __cplusplus
}
#endif
#endif
