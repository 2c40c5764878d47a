/* serving_kernels.c - see serving_kernels.h. Compiled once per instruction set; SERVE_TABLE names
 * the table.
 *
 * The product y = A^T x is where the time goes: D^2 multiply-adds for each of r steps, and every
 * element of A is read once for each, so that the cache it lies in sets the pace. A block of
 * columns is taken down all rows with one vector of sums for each of the `parts` = warps down
 * groups of rows, all of them in registers for four warps and D = 128. Packed blocks fill the sets
 * of a cache evenly, which columns cut out of rows of 512 bytes do not.
 */
#include "chunk/serving_kernels.h"

#include <math.h>
#include <string.h>

#define SERVE_INLINE static inline __attribute__((always_inline, unused))

#if defined(__AVX512F__)
#include <immintrin.h>
enum { LANES = 16 };
#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif

typedef float vf __attribute__((vector_size(4 * LANES)));

SERVE_INLINE vf load(const float *at) {
    vf v;
    memcpy(&v, at, sizeof v);
    return v;
}

SERVE_INLINE vf all(float x) {
    return x - (vf){0};
}

SERVE_INLINE vf fma_v(vf a, vf b, vf c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__) && defined(__FMA__)
    return _mm256_fmadd_ps(a, b, c);
#else
    for (int i = 0; i < LANES; i++)
        c[i] = fmaf(a[i], b[i], c[i]);
    return c;
#endif
}

/* ---- ||H||_F^2 ----------------------------------------------------------------------------- */

/* v[0..m) added in pairs m/2 apart, then m/4, ...; m a power of two. */
SERVE_INLINE float butterfly(int64_t m, float *v) {
    for (int64_t half = m / 2; half >= 1; half /= 2)
        for (int64_t i = 0; i < half; i++)
            v[i] += v[i + half];
    return v[0];
}

/* The chains of the 32 threads of a warp side by side. */
SERVE_INLINE void chain_row(int64_t across, int64_t width, bool first, const float *row,
                            float *lane) {
    for (int64_t t = 0; t < across; t++) {
        const float *const e = row + t * width;
        float sum =
            first ? fmaf(e[0], e[0], e[1] * e[1]) : fmaf(e[1], e[1], fmaf(e[0], e[0], lane[t]));
        for (int64_t i = 2; i < width; i++)
            sum = fmaf(e[i], e[i], sum);
        lane[t] = sum;
    }
}

SERVE_INLINE float norm_of(const serve_shape *shape, int64_t width, int64_t D, const float *H) {
    const int64_t across = 32 / shape->down, step = across * width;
    float lane[32], warp[8];
    for (int64_t j = 0; j < shape->warps; j++) {
        for (int64_t row = j * shape->down; row < D; row += shape->warps * shape->down)
            for (int64_t d = 0; d < shape->down; d++)
                for (int64_t column = 0; column < D; column += step)
                    chain_row(across, width, row < shape->warps * shape->down && column == 0,
                              H + (row + d) * D + column, lane + d * across);
        warp[j] = butterfly(32, lane);
    }
    return butterfly(shape->warps, warp);
}

static float norm(const serve_shape *shape, int64_t D, const float *H) {
    return shape->width == 4 ? norm_of(shape, 4, D, H) : norm_of(shape, 8, D, H);
}

/* ---- A^T x --------------------------------------------------------------------------------- */

enum { BLOCK = 16 };

static void pack(int64_t rows, int64_t columns, const float *A, float *packed) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c += BLOCK)
            memcpy(packed + c * rows + r * BLOCK, A + r * columns + c, BLOCK * sizeof *A);
}

/* `vectors` vectors of columns of a block; parts and vectors are constants where this is inlined.
 */
SERVE_INLINE void dot_block(int64_t down, int64_t parts, int64_t vectors, int64_t rows,
                            const float *A, const float *x, float *y) {
    vf s[64];
    for (int64_t j = 0; j < parts; j++)
        for (int64_t v = 0; v < vectors; v++) {
            const float *const a = A + j * BLOCK + v * LANES;
            s[j * vectors + v] =
                fma_v(load(a), all(x[j]), load(a + parts * BLOCK) * all(x[j + parts]));
        }
    for (int64_t row = 2 * parts; row < rows; row += parts)
        for (int64_t j = 0; j < parts; j++)
            for (int64_t v = 0; v < vectors; v++)
                s[j * vectors + v] = fma_v(load(A + (row + j) * BLOCK + v * LANES), all(x[row + j]),
                                           s[j * vectors + v]);
    for (int64_t half = down / 2; half >= 1; half /= 2) /* the lanes of a column in each warp */
        for (int64_t j = 0; j < parts; j += down)
            for (int64_t i = 0; i < half * vectors; i++)
                s[j * vectors + i] += s[j * vectors + i + half * vectors];
    for (int64_t half = parts / 2; half >= down; half /= 2) /* the warps */
        for (int64_t j = 0; j < half; j += down)
            for (int64_t v = 0; v < vectors; v++)
                s[j * vectors + v] += s[(j + half) * vectors + v];
    memcpy(y, s, (size_t)vectors * sizeof *s);
}

/* One block, vectors of it at a time. */
SERVE_INLINE void dot_columns(int64_t down, int64_t parts, int64_t vectors, int64_t rows,
                              const float *A, const float *x, float *y) {
    for (int64_t c = 0; c < BLOCK; c += vectors * LANES)
        dot_block(down, parts, vectors, rows, A + c, x, y + c);
}

static void dot(const serve_shape *shape, int64_t rows, int64_t columns, bool backward,
                const float *packed, const float *x, float *y) {
    const int64_t down = shape->down, parts = shape->warps * down;
    for (int64_t i = 0; i < columns; i += BLOCK) {
        const int64_t c = backward ? columns - BLOCK - i : i;
        const float *const A = packed + c * rows;
        if (parts == 2)
            dot_columns(down, 2, BLOCK / LANES, rows, A, x, y + c);
        else if (parts == 4)
            dot_columns(down, 4, BLOCK / LANES > 1 ? 2 : 1, rows, A, x, y + c);
        else if (parts == 8)
            dot_columns(down, 8, 1, rows, A, x, y + c);
        else
            dot_columns(down, parts, 1, rows, A, x, y + c);
    }
}

/* ---- rows ---------------------------------------------------------------------------------- */

static void advance_row(bool outer, int64_t n, float e, float k, const float *v, float *s) {
    if (outer)
        for (int64_t j = 0; j < n; j++)
            s[j] = fmaf(k, v[j], e * s[j]);
    else
        for (int64_t j = 0; j < n; j++)
            s[j] = fmaf(e, s[j], k * v[j]);
}

static void step(int64_t n, const serve_step *c, const float *y, const float *q, float *restrict x,
                 float *restrict x_prev) {
    const float so = c->step * c->omega, om1 = c->omega - 1, lambda = c->lambda, omega = c->omega;
    for (int64_t i = 0; i < n; i++) {
        const float r = fmaf(lambda, x[i], y[i]) - q[i];
        const float grad = fmaf(x_prev[i], om1, so * r);
        const float next = fmaf(x[i], omega, -grad);
        x_prev[i] = x[i];
        x[i] = next;
    }
}

const serve_kernels SERVE_TABLE = {SERVE_TABLE_NAME, norm, pack, dot, advance_row, step};
