/* mma_kernels.h - the matrix product over packed operands: one source compiled for several
 * instruction sets, chosen at run time. The bits do not depend on which.
 *
 * A packed left operand [M,K] is row after row, a packed right one [K,N] blocks of MMA_BLOCK
 * columns, each row after row; K is padded with zeros to gka_k_unit, N to whole blocks. For a
 * matrix unit k stands in the unit's order, subnormal numbers that it flushes are zeros, the
 * exponents of the encodings stand beside the values, and for each group of a row (of a block)
 * whether it has anything but zeros and whether it has infinities or NaN.
 */
#ifndef ARITH_MMA_KERNELS_H
#define ARITH_MMA_KERNELS_H

#include "gka/arith.h"

enum {
    MMA_BLOCK = 32,
    MMA_ZERO = -8000,   /* "exponent" of zero: a product with it is below every number's */
    MMA_SPECIAL = 16000 /* of infinity and NaN: above, even times zero */
};
enum { MMA_HAS_NUMBER = 1, MMA_HAS_SPECIAL = 2 };

typedef struct mma_packed {
    float *f32;     /* or, for binary64 devices, ... */
    double *f64;    /* ... one of the two is NULL */
    int16_t *e;     /* exponents, beside the values; NULL without a tensor core */
    uint8_t *flags; /* [rows or blocks, groups] */
    int64_t K;      /* padded */
    int64_t groups;
    size_t size; /* bytes in all */
} mma_packed;

/* Where the parts of an operand lie in memory; memory may be NULL (then only sizes are set). */
mma_packed gka_mma_left_layout(const gka_device *device, gka_mma_input input, int64_t M, int64_t K,
                               void *memory);
mma_packed gka_mma_right_layout(const gka_device *device, gka_mma_input input, int64_t K, int64_t N,
                                void *memory);

typedef struct mma_kernels {
    const char *name;
    /* operand element (i, k) stands at data[i row + k column] */
    void (*pack_left)(const gka_device *device, gka_mma_input input, int64_t M, int64_t K,
                      gka_matrix a, const mma_packed *left);
    void (*pack_right)(const gka_device *device, gka_mma_input input, int64_t K, int64_t N,
                       gka_matrix b, const mma_packed *right);
    void (*product)(const gka_device *device, gka_mma_input input, int64_t M, int64_t N, int64_t K,
                    const mma_packed *left, const mma_packed *right, double *c, int64_t ldc);
} mma_kernels;

extern const mma_kernels gka_mma_kernels_baseline;
#ifdef __x86_64__
extern const mma_kernels gka_mma_kernels_avx2, gka_mma_kernels_avx512;
#endif

/* Every table this processor can run, the fastest first, ended by NULL. */
void gka_mma_kernels_all(const mma_kernels *tables[4]);

#endif
