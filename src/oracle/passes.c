/* passes.c - dense passes in binary64 (see passes.h). */
#include "oracle/passes.h"

GKA_WIDE double gka_pass_dot(int64_t n, const double *restrict a, const double *restrict b) {
    double s[GKA_LANES] = {0};
    int64_t i = 0;
    for (; i + GKA_LANES <= n; i += GKA_LANES)
        for (int l = 0; l < GKA_LANES; l++)
            s[l] += a[i + l] * b[i + l];
    for (; i < n; i++)
        s[i % GKA_LANES] += a[i] * b[i];
    return gka_lanes_sum(s);
}

GKA_WIDE void gka_pass_multiply(int64_t m, int64_t n, const double *restrict M,
                                const double *restrict x, double *restrict y) {
    for (int64_t i = 0; i < m; i++)
        y[i] = gka_pass_dot(n, M + i * n, x);
}

GKA_WIDE void gka_pass_add_transposed(int64_t m, int64_t n, const double *restrict M,
                                      const double *restrict x, double *restrict y) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            y[j] += M[i * n + j] * x[i];
}

GKA_WIDE void gka_pass_add_outer(int64_t m, int64_t n, double c, const double *restrict x,
                                 const double *restrict y, double *restrict M) {
    for (int64_t i = 0; i < m; i++) {
        const double cx = c * x[i];
        for (int64_t j = 0; j < n; j++)
            M[i * n + j] += cx * y[j];
    }
}

GKA_WIDE void gka_pass_add_scaled(int64_t n, double c, const double *restrict x,
                                  double *restrict y) {
    for (int64_t i = 0; i < n; i++)
        y[i] += c * x[i];
}

GKA_WIDE void gka_pass_scale(int64_t n, double c, double *x) {
    for (int64_t i = 0; i < n; i++)
        x[i] *= c;
}
