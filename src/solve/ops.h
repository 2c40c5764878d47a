/* ops.h - the operations of gka/arith.h under short names, so that an algorithm reads as in the
 * book. Scalars are numbers of the accumulator format, vectors of the storage format. An operation
 * takes its random bits when it is called, so two of them are never arguments of one call: C leaves
 * open which comes first (the test golden/solvers). */
#ifndef SOLVE_OPS_H
#define SOLVE_OPS_H

#include "gka/arith.h"

#include <math.h>
#include <string.h>

static inline double add(gka_arith *A, double a, double b) {
    return gka_arith_add(A, a, b);
}
static inline double sub(gka_arith *A, double a, double b) {
    return gka_arith_sub(A, a, b);
}
static inline double mul(gka_arith *A, double a, double b) {
    return gka_arith_mul(A, a, b);
}
static inline double quo(gka_arith *A, double a, double b) {
    return gka_arith_div(A, a, b);
}
static inline double root(gka_arith *A, double a) {
    return gka_arith_sqrt(A, a);
}

/* x . y */
static inline double dot(gka_arith *A, int64_t n, const double *x, const double *y) {
    return gka_arith_dot(A, n, x, y);
}

/* out = a x + b y; fused: the product a x is, b y is rounded first */
static inline void axpby(gka_arith *A, int64_t n, double a, const double *x, double b,
                         const double *y, double *out) {
    gka_arith_axpby(A, n, a, x, b, y, out);
}

/* out = a x */
static inline void scale(gka_arith *A, int64_t n, double a, const double *x, double *out) {
    gka_arith_scale(A, n, a, x, out);
}

/* out = x rounded to operand format once: what a product and an update then both read */
static inline void operand(gka_arith *A, int64_t n, const double *x, double *out) {
    gka_arith_operand(A, n, x, out);
}

static inline void copy(double *out, const double *x, int64_t n) {
    memmove(out, x, (size_t)n * sizeof *x);
}

static inline void zero(double *out, int64_t n) {
    memset(out, 0, (size_t)n * sizeof *out);
}

static inline bool all_finite(int64_t n, const double *x) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

#endif
