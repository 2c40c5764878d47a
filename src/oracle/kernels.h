/* kernels.h - the inner loops of the certified oracle, once per instruction set.
 *
 * kernels.c is compiled for the baseline, for AVX2 with FMA and for AVX-512; all give the same
 * bits, for every sum has one order fixed in the source.
 *
 *   strips    A matrix M [n, m] of double-doubles, n and m multiples of 8, is stored in strips of
 *             eight columns: M_ij.hi at ((j/8) n + i) 16 + j%8, its lo 8 further. A matrix of
 *             binary64 likewise, at ((j/8) n + i) 8 + j%8.
 *   anchored  A sum whose absolute value v bounds (partial sums included) is kept as anchor + sum:
 *             anchor = 6 * 2^floor(log2 v) fixes the binade, so each addition splits exactly into a
 *             part on the anchor's grid and a rest below half a unit of it. The result is
 *             sum = (s - anchor) + rest, and off by at most SUM_ERROR n u^2 v.
 *
 * Bounds: src/oracle/README.md, section kernels; test: unit/kernels.
 */
#ifndef GKA_ORACLE_KERNELS_H
#define GKA_ORACLE_KERNELS_H

#include "oracle/dd.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bounds in u^2 = 2^-106, times 1 + 2^-40. */
#define GKA_U2 0x1p-106
enum {
    GKA_SUM_ERROR = 44,      /* an anchored sum of n products, n a multiple of 8: (44 n + 2) v */
    GKA_UPDATE_OLD = 13,     /* M <- gamma M + a b^T: 13 |gamma M_ij| + 3 |a_i b_j| */
    GKA_UPDATE_NEW = 3,      /* */
    GKA_ASSEMBLE_ERROR = 64, /* residual: 64 (|q| + (f + |lambda|) |x|) */
    GKA_MIX_ERROR = 8        /* q' : 8 (|q_i| + |alpha| (|x_i| + |q_i|)) */
};

static inline int64_t gka_strip_size(int64_t n) {
    return (n + 7) / 8 * 8;
}

/* The next count numbers of a block, whose length is a multiple of 8; NULL: only measured. */
static inline double *gka_strip_take(double *block, int64_t *used, int64_t count) {
    double *const piece = block == NULL ? NULL : block + *used;
    *used += gka_strip_size(count);
    return piece;
}

static inline size_t gka_strip_at(int64_t n, int64_t i, int64_t j) {
    return (size_t)(((j / 8) * n + i) * 16 + j % 8);
}

typedef struct gka_kernels {
    const char *name;

    /* H <- gamma `before` + k k^T, both symmetric [n,n], perhaps one; returns the double-double
     * ||H||_F^2.
     * norm [n]: in, bounds of the column norms of H; out, the same of the new H. |k| <= k_norm.
     * *error: bound of |returned - ||H||_F^2|. */
    dd (*update_h)(int64_t n, dd gamma, const double *k, double k_norm, double *norm,
                   const double *before, double *H, double *error);

    /* R^T R = H.hi + lambda I in binary64, R upper triangular in binary64 strips [n,n]; inverse
     * [n]: 1/R_ii. False: a pivot is not positive. */
    bool (*factor)(int64_t n, const double *H, double lambda, double *R, double *inverse);

    /* x <- R^-1 R^-T b; x may be b. */
    void (*solve)(int64_t n, const double *R, const double *inverse, const double *b, double *x);

    /* x <- x + d, the sum a double-double */
    void (*correct)(int64_t n, const double *d, double *x, double *x_lo);

    /* r = RN(q - H x - lambda x); norm: bounds of H's column norms. Returns ||r||_2, rounded up;
     * *x_norm: ||x||_2, rounded up. The error of r, in 2-norm: README, section kernels. */
    double (*residual)(int64_t n, const double *H, const double *norm, dd lambda, const double *q,
                       const double *x, const double *x_lo, double *r, double *x_norm);

    /* ||x||_2, rounded up */
    double (*norm)(int64_t n, const double *x);

    /* y = q + alpha (x - q) */
    void (*mix)(int64_t n, double alpha, const double *q, const double *x, const double *x_lo,
                double *y, double *y_lo);

    /* U <- gamma `before` + k v^T, [n,m]; norm [m]: as in update_h, |k| <= k_norm. */
    void (*update_u)(int64_t n, int64_t m, dd gamma, const double *k, double k_norm,
                     const double *v, double *norm, const double *before, double *U);

    /* The same in place, and then o = scale U^T y as double-doubles [m]; |y| <= y_norm. */
    void (*update_u_apply)(int64_t n, int64_t m, dd gamma, const double *k, double k_norm,
                           const double *v, double *norm, double *U, const double *y,
                           const double *y_lo, double y_norm, double scale, double *o,
                           double *o_lo);

    /* ---- gradients: double-double throughout, each step off by a few u^2 of its own size ---- */

    /* M <- gamma M + (a + a_lo) (b + b_lo)^T, [n,m] */
    void (*rank_one)(int64_t n, int64_t m, dd gamma, const double *a, const double *a_lo,
                     const double *b, const double *b_lo, double *M);
    /* M <- M + c H, [n,m] */
    void (*add_scaled)(int64_t n, int64_t m, dd c, const double *H, double *M);
    /* y = M^T x [m];  y = M x [n];  sum_ij A_ij B_ij */
    void (*columns)(int64_t n, int64_t m, const double *M, const double *x, const double *x_lo,
                    double *y, double *y_lo);
    void (*rows)(int64_t n, int64_t m, const double *M, const double *x, const double *x_lo,
                 double *y, double *y_lo);
    dd (*inner)(int64_t n, int64_t m, const double *A, const double *B);
    /* ||M||_F, rounded up; 0 only for M = 0 */
    double (*size)(int64_t n, int64_t m, const double *M);

    /* out_i = RN(x_i + x_lo_i) where every number within error_i of x_i + x_lo_i rounds to it;
     * returns the number of i < n where not (error_step 0: one error for all). -0 gives +0. */
    int64_t (*round)(int64_t n, const double *x, const double *x_lo, const double *error,
                     int error_step, double *out);
} gka_kernels;

/* The fastest of this machine; by name ("baseline", "avx2", "avx512"); NULL: not here. */
const gka_kernels *gka_kernels_best(void);
const gka_kernels *gka_kernels_find(const char *name);

#endif
