/* row_kernels.h - what the solver's iterations do to rows between their products: one source
 * compiled for several instruction sets. Every element is computed alone, so the bits do not depend
 * on the table. f32: all numbers are binary32's, and so is the arithmetic (tile.h: w, fma_w).
 */
#ifndef GKA_CHUNK_ROW_KERNELS_H
#define GKA_CHUNK_ROW_KERNELS_H

#include "chunk/chunk.h"

typedef struct row_kernels {
    const char *name;
    /* out = x rounded to a kind; out may be x */
    void (*round)(bool f32, chunk_kind kind, int64_t n, const double *x, double *out);
    /* out = a x */
    void (*scale)(bool f32, int64_t n, double a, const double *x, double *out);
    /* a = a b */
    void (*multiply)(bool f32, int64_t n, const double *b, double *a);
    /* (x, x_prev) = (omega x - (step omega (y + lambda x - q) + (omega - 1) x_prev), x), y = H x;
     * the fused operations are those of the released kernels. r_fused: of the two products of the
     * sum the other one is fused, as some compiled kernels have it. */
    void (*three_term)(bool f32, bool r_fused, int64_t n, const chebyshev_row *c, const double *y,
                       const double *q, double *x, double *x_prev);
    /* r -= y + lambda d; d = keep d + gain r */
    void (*two_term)(bool f32, int64_t n, double lambda, double keep, double gain, const double *y,
                     double *r, double *d);
    /* x += d */
    void (*add)(bool f32, int64_t n, const double *d, double *x);
    /* out = a x + y, fused in binary32; out may be x or y */
    void (*fused)(bool f32, int64_t n, double a, const double *x, const double *y, double *out);
} row_kernels;

extern const row_kernels gka_row_kernels_baseline;
#ifdef __x86_64__
extern const row_kernels gka_row_kernels_avx2, gka_row_kernels_avx512;
#endif

/* Every table that this processor can run, the fastest last, ended by NULL. */
void gka_row_kernels_all(const row_kernels *tables[4]);

#endif
