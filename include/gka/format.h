/* gka/format.h - number formats as data, and rounding to them.
 *
 *   1  gka_format               {p, emin, emax, largest finite, subnormals, overflow, encoding}
 *   2  gka_format_find          presets by name
 *   3  gka_round                one value, any mode
 *   4  gka_round_array          many values; the stream of the stochastic mode
 *   5  gka_encode, gka_decode   packed 8-, 16-, 32- and 64-bit patterns
 *
 * A finite value of a format is m 2^(e-p+1), m an integer, |m| < 2^p, emin <= e <= emax; for
 * binary64 p = 53, emin = -1022, emax = 1023 (IEEE 754-2019, section 3.3).
 */
#ifndef GKA_FORMAT_H
#define GKA_FORMAT_H

#include "gka/base.h"
#include "gka/io.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1 the format -------------------------------------------------------------------------- */

typedef enum gka_overflow {
    GKA_OVERFLOW_IEEE,     /* to Inf or to the largest finite value, as the mode says */
    GKA_OVERFLOW_SATURATE, /* to the largest finite value, in every mode; Inf saturates too */
    GKA_OVERFLOW_NAN       /* to NaN: formats without Inf (OCP E4M3, not saturating) */
} gka_overflow;

typedef struct gka_format {
    const char *name;
    int p;             /* precision in bits, the hidden one included: 1..25, or 53 */
    int emin, emax;    /* exponents of the smallest and the largest normal value */
    double max_finite; /* largest finite value: 448 for OCP E4M3, where IEEE's rule would say 480 */
    bool subnormals;   /* false: results below 2^emin round to 0 or to +-2^emin, as the mode says */
    gka_overflow overflow;
    int bits; /* bits of the packed encoding: 8, 16, 32, 64; 0: this format has none */
} gka_format;

/* ---- 2 presets ----------------------------------------------------------------------------- */

/* "bf16", "fp16", "tf32", "fp32", "fp64", "e4m3", "e5m2" (both saturating, as GPU conversions
 * do), "e4m3-ieee" (overflow to NaN), "e5m2-ieee" (overflow to Inf). NULL when there is none. */
const gka_format *gka_format_find(const char *name);
/* Every preset; ends with NULL. */
const gka_format *const *gka_format_presets(void);
/* The format in which a stored type holds its numbers; NULL for integers. */
const gka_format *gka_format_of_dtype(gka_dtype dtype);
/* GKA_BAD_ARGUMENT with a line when the fields do not make a format this library can round to. */
gka_status gka_format_check(const gka_format *format, gka_error *error);

double gka_format_unit_roundoff(const gka_format *format); /* 2^-p */
double gka_format_min_normal(const gka_format *format);    /* 2^emin */
double gka_format_min_subnormal(const gka_format *format); /* 2^(emin-p+1) */

/* ---- 3 rounding ---------------------------------------------------------------------------- */

typedef enum gka_rounding {
    GKA_NEAREST_EVEN,
    GKA_TOWARD_ZERO,
    GKA_UP,
    GKA_DOWN,
    GKA_TO_ODD,    /* inexact: the neighbour whose last bit is 1 */
    GKA_STOCHASTIC /* up with probability (x - below)/(above - below), decided by 64 random bits */
} gka_rounding;

/* "nearest", "zero", "up", "down", "odd", "stochastic" and back; -1 for no mode. */
const char *gka_rounding_name(gka_rounding rounding);
int gka_rounding_find(const char *name);

/* The value of the format that the mode chooses for x. Zeros keep their sign, NaN gives NaN, Inf
 * gives Inf (but see gka_overflow). random: 64 uniform bits, read by the stochastic mode alone. */
double gka_round(const gka_format *format, gka_rounding rounding, double x, uint64_t random);

/* ---- 4 arrays ------------------------------------------------------------------------------ */

/* out[i] = gka_round(.., x[i], stream(seed, first + i)); out may be x. The random bits are a
 * function of seed and first + i alone, so any split of an array gives the same bits. */
void gka_round_array(const gka_format *format, gka_rounding rounding, uint64_t seed, uint64_t first,
                     size_t n, const double *x, double *out);
void gka_round_array_f32(const gka_format *format, gka_rounding rounding, uint64_t seed,
                         uint64_t first, size_t n, const float *x, float *out);
/* The 64 random bits number i of a seed's stream. */
uint64_t gka_round_random(uint64_t seed, uint64_t i);

/* ---- 5 encodings --------------------------------------------------------------------------- */

/* The pattern of a value that the format holds exactly (round first); NaN gives the canonical
 * quiet NaN of the format. Formats with bits = 0 have no pattern: programmer error. */
uint64_t gka_encode(const gka_format *format, double x);
double gka_decode(const gka_format *format, uint64_t pattern);

/* Rounds n numbers and packs them (element size bits/8, native byte order); the fast paths. */
void gka_encode_array(const gka_format *format, gka_rounding rounding, uint64_t seed,
                      uint64_t first, size_t n, const double *x, void *out);
void gka_encode_array_f32(const gka_format *format, gka_rounding rounding, uint64_t seed,
                          uint64_t first, size_t n, const float *x, void *out);
void gka_decode_array(const gka_format *format, size_t n, const void *patterns, double *out);
void gka_decode_array_f32(const gka_format *format, size_t n, const void *patterns, float *out);

#ifdef __cplusplus
}
#endif
#endif
