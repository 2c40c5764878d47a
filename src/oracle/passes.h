/* passes.h - dense passes in binary64, each in an order of its own whatever the compiler's flags.
 *
 * Compiled for wider registers too and chosen at run time; the same operations in the same order,
 * hence the same bits. Sums have eight partial sums, of the terms i mod 8, added in pairs at the
 * end: the shape of a wide register, so that a compiler may use one and still give these bits.
 */
#ifndef GKA_ORACLE_PASSES_H
#define GKA_ORACLE_PASSES_H

#include <stdbool.h>
#include <stdint.h>

/* clang 14 names the dispatching symbol otherwise than its callers in other files do. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define GKA_WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define GKA_WIDE
#endif

enum { GKA_LANES = 8 };

static inline double gka_lanes_sum(const double s[GKA_LANES]) {
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static inline bool gka_all_zero(int64_t n, const double *x) {
    for (int64_t i = 0; i < n; i++)
        if (x[i] != 0)
            return false;
    return true;
}

/* a . b */
double gka_pass_dot(int64_t n, const double *restrict a, const double *restrict b);
/* y = M x for M [m,n] */
void gka_pass_multiply(int64_t m, int64_t n, const double *restrict M, const double *restrict x,
                       double *restrict y);
/* y += M^T x for M [m,n] */
void gka_pass_add_transposed(int64_t m, int64_t n, const double *restrict M,
                             const double *restrict x, double *restrict y);
/* M += c x y^T for M [m,n] */
void gka_pass_add_outer(int64_t m, int64_t n, double c, const double *restrict x,
                        const double *restrict y, double *restrict M);
/* y += c x */
void gka_pass_add_scaled(int64_t n, double c, const double *restrict x, double *restrict y);
/* x *= c */
void gka_pass_scale(int64_t n, double c, double *x);

#endif
