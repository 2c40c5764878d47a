/* gka/arith.h - an arithmetic is a policy; a device is a policy whose dot product is the tensor
 * core.
 *
 *   1  gka_policy, gka_arith    storage, product, accumulator; rounding; fused; order; seed
 *   2  gka_device               h100, a100, gka-cuda, ieee32, exact64
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

/* ---- 1 policies ---------------------------------------------------------------------------- */

/* How the terms of a sum are added; the sum starts at +0. */
typedef enum gka_order {
    GKA_SEQUENTIAL, /* one after the other */
    GKA_PAIRWISE,   /* sum(n) = sum(first h) + sum(last n-h), h the largest power of two < n */
    GKA_BLOCKS      /* sequentially within blocks of `block` terms, then the blocks' sums */
} gka_order;

/* An arithmetic as data. Scalars and running sums are numbers of `accumulator`; what lies in
 * memory (vectors, matrices) are numbers of `storage`; the factors of a matrix product are rounded
 * to `operand` first. Values travel as double. */
typedef struct gka_policy {
    char name[56];
    gka_format storage, operand, product, accumulator;
    gka_rounding rounding; /* of everything */
    bool fused;            /* a product and the sum it enters round once (product is not used) */
    gka_order order;       /* of dot products and matrix products */
    int64_t block;         /* >= 1, read for GKA_BLOCKS */
    uint64_t seed;         /* of the stochastic mode */
    /* What the vectors and matrices that an operation writes are rounded to afterwards, as they lie
     * in memory: storage is then the accumulator's format. A matrix product reads its operands as
     * they were stored. NULL: no blocks. */
    const gka_block_format *blocks;
} gka_policy;

/* A policy by name: NAME[/MODE][/fma][/ORDER].
 *   NAME   fp64, fp32, tf32, bf16, fp16: everything in that format, products rounded;
 *          tf32-acc32, bf16-acc32, fp16-acc32, e4m3-acc32, e5m2-acc32: memory and operands in the
 *          short format, fp32 scalars and sums; tf32-mixed, bf16-mixed, fp16-mixed, e4m3-mixed,
 *          e5m2-mixed: only the operands of matrix products in the short format, the rest fp32
 *          pPeE, pPeE-acc32, pPeE-mixed: the same in a format of P bits of precision and E of
 *          exponent, with all that IEEE 754 gives it: p11e5 is fp16, p8e8 is bf16; P from 1 to 25,
 *          or 53, no more than the accumulator's; E from 2 to 11
 *          BLOCKS-acc32, BLOCKS of gka_block_format_find: memory in blocks with scales, to nearest
 *          whatever MODE is; fp32 scalars and sums (not among gka_policy_names)
 *   MODE   zero, up, down, odd, stochastic (default: nearest even)
 *   fma    fused
 *   ORDER  pairwise, blocksN (default: sequential)
 * False when there is none of that name; the seed is 0. */
GKA_API bool gka_policy_find(const char *name, gka_policy *policy);
/* The names without suffixes, ended by NULL. */
GKA_API const char *const *gka_policy_names(void);
/* GKA_BAD_ARGUMENT with a line for what this room cannot serve: each format must pass
 * gka_format_check and none may be more precise than the accumulator; block >= 1. */
GKA_API gka_status gka_policy_check(const gka_policy *policy, gka_error *error);

/* An arithmetic at work: the policy, and how many numbers of its random stream are used up. Every
 * operation takes its random bits by position (stated below), so results depend neither on threads
 * nor on how a loop is cut. One per thread and task. */
typedef struct gka_arith {
    gka_policy policy;
    int kernel;     /* which specialised instance serves it */
    uint64_t count; /* position in the stream */
} gka_arith;

/* Starts at the beginning of one of 2^24 independent streams of 2^40 numbers. The policy must pass
 * gka_policy_check. */
GKA_API void gka_arith_start(gka_arith *A, const gka_policy *policy, uint64_t stream);

/* The operations. They cannot fail; overflow and NaN are values. Below, S O P C mean rounding to
 * storage, operand, product and accumulator format in the policy's mode: every operation rounds
 * the exact result of what stands inside the brackets once. With `fused`, C[c + P[a b]] is
 * C[c + a b].
 *
 * Random bits: with `first` the position when the operation begins, a scalar operation reads
 * first and moves on by 4; the element i of an elementwise operation reads first + 4 i + {0: the
 * first product, 1: the second, 2: the sum or quotient, 3: storing}; a sum of m terms with its
 * base at b reads b + j for product j, b + m + j for addition j, b + 2 m + j for adding block j,
 * b + 3 m for storing, b + 3 m + 1 + j for the operand j of a matrix. */

/* scalars, in the accumulator format */
GKA_API double gka_arith_add(gka_arith *A, double a, double b);           /* C[a + b] */
GKA_API double gka_arith_sub(gka_arith *A, double a, double b);           /* C[a - b] */
GKA_API double gka_arith_mul(gka_arith *A, double a, double b);           /* C[a b] */
GKA_API double gka_arith_div(gka_arith *A, double a, double b);           /* C[a / b] */
GKA_API double gka_arith_sqrt(gka_arith *A, double a);                    /* C[sqrt a] */
GKA_API double gka_arith_fma(gka_arith *A, double a, double b, double c); /* C[a b + c] */
GKA_API double gka_arith_scalar(gka_arith *A, double a);                  /* C[a] */

/* vectors of n; out may be any of the arguments */
GKA_API void gka_arith_store(gka_arith *A, int64_t n, const double *x, double *out); /* S[x_i] */
GKA_API void gka_arith_operand(gka_arith *A, int64_t n, const double *x,
                               double *out); /* S[O[x_i]] */
GKA_API void gka_arith_scale(gka_arith *A, int64_t n, double a, const double *x,
                             double *out); /* S[C[a x_i]] */
/* S[C[P[a x_i] + P[b y_i]]]; fused: S[C[a x_i + P[b y_i]]]. A factor 1 or -1 is exact. */
GKA_API void gka_arith_axpby(gka_arith *A, int64_t n, double a, const double *x, double b,
                             const double *y, double *out);
GKA_API void gka_arith_divide(gka_arith *A, int64_t n, const double *x, const double *y,
                              double *out); /* S[C[x_i / y_i]] */

/* C[.. C[C[0 + P[x_0 y_0]] + P[x_1 y_1]] ..] in the policy's order; pairwise: the products are
 * P[x_j y_j] even when fused. Moves the position by 4 n + 4. */
GKA_API double gka_arith_dot(gka_arith *A, int64_t n, const double *x, const double *y);
/* sqrt of dot(x, x) */
GKA_API double gka_arith_norm(gka_arith *A, int64_t n, const double *x);

/* y = S[M x], M [n,m] row-major: element i is the sum over j of O[M_ij] O[x_j]. Random: row i has
 * its base at first + i (4 m + 4); O[x_j] reads first + n (4 m + 4) + j; moves on by
 * n (4 m + 4) + m. y must not overlap x. */
GKA_API void gka_arith_matvec(gka_arith *A, int64_t n, int64_t m, const double *M, const double *x,
                              double *y);
/* y = S[M^T x], M [n,m]: bit for bit gka_arith_matvec of the transpose of M. */
GKA_API void gka_arith_matvec_t(gka_arith *A, int64_t n, int64_t m, const double *M,
                                const double *x, double *y);
/* M_ij <- S[C[P[w_i y_j] + P[c M_ij]]], w_i = C[a x_i]; fused: C[w_i y_j + P[c M_ij]]. As
 * elementwise operation number i m + j, after n of w (4 n numbers). No operand rounding: x and y
 * are what the caller makes them. */
GKA_API void gka_arith_rank1(gka_arith *A, int64_t n, int64_t m, double c, double *M, double a,
                             const double *x, const double *y);
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
    GKA_MMA_E4M3, /* the values of OCP's formats */
    GKA_MMA_E5M2,
    GKA_MMA_WORKING, /* any numbers of the working precision: fused multiply-adds, k ascending */
    GKA_MMA_INPUT_COUNT
} gka_mma_input;
/* "bf16", "fp16", "tf32", "e4m3", "e5m2", "working" and back; NULL and -1 for none. */
GKA_API const char *gka_mma_input_name(gka_mma_input input);
GKA_API int gka_mma_input_find(const char *name);

/* One step of a matrix unit (NUMERICS 6) adds `group` products a_k b_k to the accumulator c. A
 * product is exact and has the exponent e_k = e_a + e_b; a subnormal number has its format's
 * smallest exponent; "nearest" is to nearest even. */
typedef enum gka_sum {
    /* E is the largest exponent among the terms, c one of them, that are not zero, at least
     * `floor`; every term is cut toward zero to a multiple of 2^(E - fraction); the exact sum of
     * these is the result, converted as gka_result says. NVIDIA's tensor cores. */
    GKA_SUM_CUT,
    /* The exact sum of c and the products, once to nearest. */
    GKA_SUM_EXACT,
    /* ((p_0 + p_1) + (p_2 + p_3)) + c: every product and every sum to nearest; group is a power of
     * two. */
    GKA_SUM_PAIRS,
    /* The products are cut at their own E as in GKA_SUM_CUT; with E2 the larger of E and c's
     * exponent, their sum is rounded down to a multiple of 2^(E2 - 31) and c to one of
     * 2^(E2 - 24); the sum of the two to nearest. A product of 2^128 or more is infinite. */
    GKA_SUM_FLOORED,
    /* Two chains of fused multiply-adds from +0, one over even and one over odd k; their sum; then
     * c is added: everything to nearest. */
    GKA_SUM_CHAINS,
    GKA_SUM_COUNT
} gka_sum;

/* What c holds, and what the sum of GKA_SUM_CUT becomes; the other sums give binary32. */
typedef enum gka_result {
    GKA_RESULT_FP32,  /* cut toward zero to binary32 */
    GKA_RESULT_E8M13, /* cut toward zero to 13 fractional bits, in binary32; c is any binary32 */
    GKA_RESULT_FP16,  /* rounded to nearest in fp16; c is an fp16 number */
    GKA_RESULT_COUNT
} gka_result;

/* In which order a unit takes its products. */
typedef enum gka_k_order {
    GKA_K_ASCENDING,
    GKA_K_PAIRS_APART, /* of every 32: 0 1 4 5 8 9 .. 28 29, then 2 3 6 7 .. 30 31 */
    GKA_K_ODD_FIRST,   /* of every 2: 1 0 */
    GKA_K_ORDER_COUNT
} gka_k_order;

enum { GKA_GROUP_MOST = 64, GKA_FRACTION_MOST = 52 };
/* The fields at the end may be left out: 0 is what NVIDIA's bf16 products have. */
typedef struct gka_tensor_core {
    int group;    /* products per step, at most GKA_GROUP_MOST; 0: no unit for this input, fused
                     multiply-adds, k ascending */
    int fraction; /* fractional bits kept below the largest exponent: 0 .. GKA_FRACTION_MOST */
    int floor;    /* E is never below this: -1000 .. 1000 */
    gka_sum sum;
    gka_result result;
    gka_k_order order;
    int apart;  /* 0: c begins the sum. n: every n products are summed from +0, and c and that sum
                   are added, to nearest (binary32; fp16 where the result is): what mma.sync does
                   with FP8 on Hopper, and what programs do that promote FP8 sums. A multiple of
                   group */
    bool flush; /* subnormal operands, c and results count as zeros */
} gka_tensor_core;

typedef enum gka_functions {
    GKA_FUNCTIONS_BINARY64, /* exp, exp2 within 1 unit in the last place; / and sqrt as IEEE */
    GKA_FUNCTIONS_BINARY32, /* correctly rounded */
    GKA_FUNCTIONS_H100,     /* as the special function unit of an H100 computes them */
    GKA_FUNCTIONS_PINNED    /* exp by src/arith/pinned.h, the same on any machine; / and sqrt as
                               IEEE, exp2 correctly rounded */
} gka_functions;

typedef struct gka_device {
    const char *name;
    bool binary32; /* working precision: binary32, else binary64 */
    gka_tensor_core core[GKA_MMA_INPUT_COUNT];
    gka_functions functions;
    /* One line: what the rule of its cores was checked with outside this project, and how many
     * results differed. NULL: derived from others' descriptions, unchecked. */
    const char *checked;
    /* Whether exp, division and root were measured on this device too; if not, `functions` are
     * those of another one. */
    bool functions_measured;
} gka_device;

/* The neutral ones: "ieee32" (binary32, fused multiply-adds in order), "exact64" (the same in
 * binary64); "gka-cuda" (the tensor core of an H100 and the functions of the project's own CUDA
 * kernels, GKA_FUNCTIONS_PINNED). Matrix units by their chip: "v100", "t4", "a100", "l40s", "h100",
 * "h200", "b200" (wgmma and mma.sync; where they differ, the name without a suffix is wgmma's),
 * "h100-mma" and "b200-mma" (FP8 by mma.sync), "h100-fp16" and the like (fp16 accumulators),
 * "mi100", "mi250", "mi300", "avx512-bf16", "amx". `gka devices` prints the table. NULL when there
 * is none.
 */
GKA_API const gka_device *gka_device_find(const char *name);
/* Every preset; ends with NULL. */
GKA_API const gka_device *const *gka_device_presets(void);

/* GKA_BAD_ARGUMENT with a line for a device that this room cannot serve. It needs a name; each core
 * must lie within the bounds above, so that a sum of the rule fits in 64 bits (the groups of
 * GKA_SUM_PAIRS are powers of two, those of GKA_SUM_CHAINS even, and `fraction` of
 * GKA_SUM_FLOORED is at most 31; fp16 results belong to GKA_SUM_CUT); a device in binary64
 * has no tensor core, and GKA_MMA_WORKING never has one; GKA_FUNCTIONS_BINARY64 belong to binary64
 * alone. Whoever makes a device passes it here first: the functions below take checked devices. */
GKA_API gka_status gka_device_check(const gka_device *device, gka_error *error);

/* x in the working precision, to nearest even. */
static inline double gka_device_working(const gka_device *device, double x) {
    return device->binary32 ? (double)(float)x : x;
}

/* ---- 3 matrix product ---------------------------------------------------------------------- */

/* C += A B, A [M,K], B [K,N], C [M,N], as the device computes it. c has row stride ldc and must
 * overlap neither operand. Elements of a and b are numbers of `input` (after rounding; for
 * GKA_MMA_WORKING and devices without a tensor core any number of the working precision), c of the
 * working precision (fp16 numbers for a core with GKA_RESULT_FP16). Any M, N, K >= 0; K is padded
 * with zeros to whole groups. A NaN of a matrix unit is always 0x7FFFFFFF; a zero result of
 * GKA_SUM_CUT is +0. The bits of C depend neither on the CPU nor on
 * how the product is cut into blocks of C. */

/* An operand: element (i, j) is data[i * row + j * column], so a transpose is a view with its
 * strides exchanged. */
typedef struct gka_matrix {
    const double *data;
    ptrdiff_t row, column;
} gka_matrix;

/* An operand packed once for many products. `memory` is the caller's, 64-byte aligned,
 * gka_mma_left_size bytes for an operand [M,K], gka_mma_right_size for [K,N]. */
GKA_API size_t gka_mma_left_size(const gka_device *device, gka_mma_input input, int64_t M,
                                 int64_t K);
GKA_API size_t gka_mma_right_size(const gka_device *device, gka_mma_input input, int64_t K,
                                  int64_t N);
GKA_API void gka_mma_pack_left(const gka_device *device, gka_mma_input input, int64_t M, int64_t K,
                               gka_matrix a, void *memory);
GKA_API void gka_mma_pack_right(const gka_device *device, gka_mma_input input, int64_t K, int64_t N,
                                gka_matrix b, void *memory);
/* C += A B from packed operands, which were packed for this device, input and sizes. */
GKA_API void gka_mma_packed(const gka_device *device, gka_mma_input input, int64_t M, int64_t N,
                            int64_t K, const void *left, const void *right, double *c, int64_t ldc);

/* The three at once; workspace of gka_mma_left_size + gka_mma_right_size bytes, 64-byte aligned. */
GKA_API void gka_mma(const gka_device *device, gka_mma_input input, int64_t M, int64_t N, int64_t K,
                     gka_matrix a, gka_matrix b, double *c, int64_t ldc, void *workspace);

/* ---- 4 functions --------------------------------------------------------------------------- */

/* As the device computes them, for a scalar. The h100's rest on a model of its special function
 * unit (src/arith/sfu.c) that equals the hardware on every input of the binades that determine it
 * and on all samples of the whole range; NaN is 0x7FFFFFFF. */
GKA_API double gka_device_exp(const gka_device *device,
                              double x); /* h100: ex2.approx(x * log2 e) */
GKA_API double gka_device_exp2(const gka_device *device, double x);          /* h100: ex2.approx */
GKA_API double gka_device_div(const gka_device *device, double x, double y); /* h100: div.full */
GKA_API double gka_device_sqrt(const gka_device *device, double x); /* h100: sqrt.approx.ftz */
/* ... and for n of them; out may be x. */
GKA_API void gka_device_exp_array(const gka_device *device, size_t n, const double *x, double *out);

#ifdef __cplusplus
}
#endif
#endif
