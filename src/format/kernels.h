/* kernels.h - the loops over arrays, compiled once for each instruction set. */
#ifndef GKA_FORMAT_KERNELS_H
#define GKA_FORMAT_KERNELS_H

#include "gka/format.h"

/* Modes are deterministic but where it says so. out may be x in round_*. The formats of *_f32
 * satisfy gka_fits_f32, and those of encode_f32 and decode_f32 have bits <= 32, and of encode_f32
 * subnormals. encode_f64 takes values of the format, encode_f32 rounds first. */
typedef struct gka_format_kernels {
    const char *name;
    void (*round_f64)(const gka_format *f, gka_rounding mode, size_t n, const double *x,
                      double *out);
    void (*round_f32)(const gka_format *f, gka_rounding mode, size_t n, const float *x, float *out);
    void (*encode_f64)(const gka_format *f, size_t n, const double *x, void *out);
    void (*encode_f32)(const gka_format *f, gka_rounding mode, size_t n, const float *x, void *out);
    /* The stochastic mode: x[i] with number first + i of the seed's stream. encode_stochastic: as
     * encode_f32. */
    void (*round_stochastic)(const gka_format *f, uint64_t seed, uint64_t first, size_t n,
                             const double *x, double *out);
    void (*encode_stochastic)(const gka_format *f, uint64_t seed, uint64_t first, size_t n,
                              const float *x, void *out);
    void (*decode_f64)(const gka_format *f, size_t n, const void *patterns, double *out);
    void (*decode_f32)(const gka_format *f, size_t n, const void *patterns, float *out);
} gka_format_kernels;

/* The variants this build has and this processor can run, baseline first; NULL past the last,
 * which is the one in use. */
const gka_format_kernels *gka_format_kernels_at(int i);

#endif
