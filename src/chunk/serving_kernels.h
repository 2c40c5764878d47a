/* serving_kernels.h - what the one-token kernel does to a whole state, in binary32: one source
 * compiled for several instruction sets. The bits do not depend on the table: every sum has the
 * order that the threads of the GPU give it, and the lanes of a vector hold different sums.
 */
#ifndef GKA_CHUNK_SERVING_KERNELS_H
#define GKA_CHUNK_SERVING_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

/* How a state [rows,columns] lies in the threads: `width` neighbours of a row to a thread, `down`
 * rows to a warp, `warps` warps; powers of two. 32 width <= down columns, or down = 1 and 32 width
 * divides columns; rows >= 2 warps down. */
typedef struct serve_shape {
    int64_t warps, width, down;
} serve_shape;

/* The scalars of one Chebyshev step (NUMERICS 3, three-term). */
typedef struct serve_step {
    float lambda, step, omega;
} serve_step;

typedef struct serve_kernels {
    const char *name;
    /* ||H||_F^2, H [D,D]: a thread chains the neighbours of each row that it holds, then lanes 16,
     * 8, .. 1 apart and warps .. 2, 1 apart are added. */
    float (*norm)(const serve_shape *shape, int64_t D, const float *H);
    /* [columns/16, rows, 16] of A [rows,columns], columns a multiple of 16: blocks of columns one
     * after the other, as `dot` likes to read them when it is called often. */
    void (*pack)(int64_t rows, int64_t columns, const float *A, float *packed);
    /* y_c = sum_r A_rc x_r, A packed: a thread chains the rows that it holds, then the lanes of its
     * column and the warps are added. backward: the last block first. Calls in turn there and back
     * find the blocks of the last call's end in the nearest cache. */
    void (*dot)(const serve_shape *shape, int64_t rows, int64_t columns, bool backward,
                const float *packed, const float *x, float *y);
    /* s_j = e s_j + k v_j, j < n, one of the products fused: `outer`, k v_j. */
    void (*advance)(bool outer, int64_t n, float e, float k, const float *v, float *s);
    /* (x, x_prev) after a step, y = H x. */
    void (*step)(int64_t n, const serve_step *c, const float *y, const float *q, float *x,
                 float *x_prev);
} serve_kernels;

extern const serve_kernels gka_serve_kernels_baseline;
#ifdef __x86_64__
extern const serve_kernels gka_serve_kernels_avx2, gka_serve_kernels_avx512;
#endif

/* Every table that this processor can run, the fastest last, ended by NULL. */
void gka_serve_kernels_all(const serve_kernels *tables[4]);
const serve_kernels *gka_serve_kernels_best(void);

#endif
