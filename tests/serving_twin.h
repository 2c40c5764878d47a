/* serving_twin.h - the one-token kernel's sums over a state, a second time, thread by thread: one
 * sum after the other in binary64 numbers, each rounded to binary32, as chunk/tile.h has them. */
#ifndef GKA_SERVING_TWIN_H
#define GKA_SERVING_TWIN_H

#include "chunk/serving_kernels.h"
#include "chunk/tile.h"

static inline double twin_norm(const serve_shape *shape, int64_t D, const double *H) {
    const int64_t across = 32 / shape->down, width = shape->width;
    double lane[32], warp[8];
    for (int64_t j = 0; j < shape->warps; j++) {
        for (int64_t t = 0; t < 32; t++) {
            bool first = true;
            double sum = 0;
            for (int64_t row = j * shape->down + t / across; row < D;
                 row += shape->warps * shape->down)
                for (int64_t column = t % across * width; column < D; column += across * width)
                    for (int64_t i = 0; i < width; i += 2) {
                        const double *const e = H + row * D + column + i;
                        sum = fma_w(true, e[0], e[0], first ? w(true, e[1] * e[1]) : sum);
                        sum = first ? sum : fma_w(true, e[1], e[1], sum);
                        first = false;
                    }
            lane[t] = sum;
        }
        warp[j] = gka_lane_sum(SUM_WARP, 4, 32, lane);
    }
    return gka_lane_sum(SUM_WARP, 4, shape->warps, warp);
}

static inline void twin_dot(const serve_shape *shape, int64_t rows, int64_t columns,
                            const double *A, const double *x, double *y) {
    const int64_t down = shape->down, parts = shape->warps * down;
    double part[64];
    for (int64_t c = 0; c < columns; c++) {
        for (int64_t j = 0; j < parts; j++) {
            part[j] = fma_w(true, A[j * columns + c], x[j],
                            w(true, A[(j + parts) * columns + c] * x[j + parts]));
            for (int64_t row = j + 2 * parts; row < rows; row += parts)
                part[j] = fma_w(true, A[row * columns + c], x[row], part[j]);
        }
        double warp[8];
        for (int64_t j = 0; j < shape->warps; j++)
            warp[j] = gka_lane_sum(SUM_WARP, 4, down, part + j * down);
        y[c] = gka_lane_sum(SUM_WARP, 4, shape->warps, warp);
    }
}

static inline void twin_advance(bool outer, int64_t n, double e, double k, const double *v,
                                double *s) {
    for (int64_t j = 0; j < n; j++)
        s[j] = outer ? fma_w(true, k, v[j], w(true, e * s[j]))
                     : fma_w(true, e, s[j], w(true, k * v[j]));
}

#endif
