/* vector.h - products and sums of vectors in the one order that pins their bytes. */
#ifndef GKA_PROBLEM_VECTOR_H
#define GKA_PROBLEM_VECTOR_H

#include <stdint.h>

/* x_0 y_0 + x_1 y_1 + .., from the left. */
static inline double vector_dot(int64_t n, const double *x, const double *y) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

/* y += a x */
static inline void vector_add_scaled(int64_t n, double a, const double *x, double *y) {
    for (int64_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static inline void vector_scale(int64_t n, double a, double *x) {
    for (int64_t i = 0; i < n; i++)
        x[i] *= a;
}

/* A Gaussian n x n matrix becomes a random orthonormal basis, its rows: vector.c. */
void gka_make_basis(int64_t n, double *rows);

#endif
