/* gka/arith.h - an arithmetic is a policy; a device is a policy whose dot product is the tensor
 * core.
 *
 *   1  gka_policy               storage, product, accumulator; rounding; fused; order; seed
 *   2  gka_device               h100, a100, ieee32, exact64
 *   3  gka_mma                  D = A B + C as the device computes it
 *   4  gka_device_exp, ...      the functions, as the device computes them
 */
#ifndef GKA_ARITH_H
#define GKA_ARITH_H

#include "gka/base.h"
#include "gka/format.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 2 devices ----------------------------------------------------------------------------- */

/* Values travel as double everywhere, so that an algorithm over a device is written once. A device
 * works in binary32 (h100, a100, ieee32: every value is then a binary32 number, exactly) or in
 * binary64 (exact64). Packing into what the hardware multiplies is part of gka_mma and is cheap
 * beside the product.
 *
 * A device says what is computed, never where it is rounded first: rounding an operand to bf16 is
 * the caller's step, with gka_round_array. */

/* What the operands of a matrix product hold. */
typedef enum gka_mma_input {
    GKA_MMA_BF16,
    GKA_MMA_FP16,
    GKA_MMA_TF32,
    GKA_MMA_WORKING, /* any numbers of the working precision: fused multiply-adds, k ascending */
    GKA_MMA_INPUT_COUNT
} gka_mma_input;

/* The dot product of a tensor core (NUMERICS 6). For each `group` consecutive products and the
 * accumulator c: products are exact, with exponent e_a + e_b; E is the largest exponent among the
 * terms that are not zero, at least floor; every term is truncated toward zero to a multiple of
 * 2^(E - fraction); their exact sum is truncated toward zero to binary32 and is the next c. */
typedef struct gka_tensor_core {
    int group;    /* products per step; 0: no tensor core, fused multiply-adds, k ascending */
    int fraction; /* fractional bits kept below the largest exponent */
    int floor;    /* E is never below this */
} gka_tensor_core;

typedef enum gka_functions {
    GKA_FUNCTIONS_BINARY64, /* exp, exp2 within 1 unit in the last place; / and sqrt as IEEE */
    GKA_FUNCTIONS_BINARY32, /* correctly rounded */
    GKA_FUNCTIONS_H100      /* as the special function unit of an H100 computes them */
} gka_functions;

typedef struct gka_device {
    const char *name;
    bool binary32; /* working precision: binary32, else binary64 */
    gka_tensor_core core[GKA_MMA_INPUT_COUNT];
    gka_functions functions;
} gka_device;

/* "h100", "a100", "ieee32" (binary32, fused multiply-adds in order), "exact64" (the same in
 * binary64). NULL when there is none. The a100 has the tensor core of an A100 and, for want of
 * measurements, the functions of an H100. */
const gka_device *gka_device_find(const char *name);
/* Every preset; ends with NULL. */
const gka_device *const *gka_device_presets(void);

/* x in the working precision, to nearest even. */
static inline double gka_device_working(const gka_device *device, double x) {
    return device->binary32 ? (double)(float)x : x;
}

/* ---- 3 matrix product ---------------------------------------------------------------------- */

/* C += A B, A [M,K], B [K,N], C [M,N], as the device computes it. Element (i, j) of an operand is
 * data[i * row + j * column], so a transpose is a view with its strides exchanged; c likewise has
 * row stride ldc and must overlap neither operand. Elements of a and b are numbers of `input`
 * (after rounding; for GKA_MMA_WORKING and devices without a tensor core any number of the
 * working precision), c of the working precision. Any M, N, K >= 0; K is padded with zeros to
 * whole groups. A zero result of a tensor core is +0 and its only NaN is 0x7FFFFFFF.
 * The bits of C depend neither on the CPU nor on how the product is cut into blocks of C. */
typedef struct gka_matrix {
    const double *data;
    ptrdiff_t row, column;
} gka_matrix;

/* An operand packed once for many products. `memory` is the caller's, 64-byte aligned,
 * gka_mma_pack_size bytes for [M,K] (left) or [K,N] (right) operands. */
size_t gka_mma_left_size(const gka_device *device, gka_mma_input input, int64_t M, int64_t K);
size_t gka_mma_right_size(const gka_device *device, gka_mma_input input, int64_t K, int64_t N);
void gka_mma_pack_left(const gka_device *device, gka_mma_input input, int64_t M, int64_t K,
                       gka_matrix a, void *memory);
void gka_mma_pack_right(const gka_device *device, gka_mma_input input, int64_t K, int64_t N,
                        gka_matrix b, void *memory);
/* C += A B from packed operands, which were packed for this device, input and sizes. */
void gka_mma_packed(const gka_device *device, gka_mma_input input, int64_t M, int64_t N, int64_t K,
                    const void *left, const void *right, double *c, int64_t ldc);

/* The three at once; workspace of gka_mma_left_size + gka_mma_right_size bytes, 64-byte aligned. */
void gka_mma(const gka_device *device, gka_mma_input input, int64_t M, int64_t N, int64_t K,
             gka_matrix a, gka_matrix b, double *c, int64_t ldc, void *workspace);

/* ---- 4 functions --------------------------------------------------------------------------- */

/* As the device computes them, for a scalar ... */
double gka_device_exp(const gka_device *device, double x);  /* h100: ex2.approx(x * log2 e) */
double gka_device_exp2(const gka_device *device, double x); /* h100: ex2.approx */
double gka_device_div(const gka_device *device, double x, double y); /* h100: div.full */
double gka_device_sqrt(const gka_device *device, double x);          /* h100: sqrt.approx.ftz */
/* ... and for n of them; out may be x. */
void gka_device_exp_array(const gka_device *device, size_t n, const double *x, double *out);

#ifdef __cplusplus
}
#endif
#endif
