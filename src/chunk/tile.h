/* tile.h - what the chunk algorithm is made of: working-precision arithmetic, the 16-bit types, the
 * sums in the order in which the released kernels' threads take them.
 *
 * Symbols: C rows of a tile (the chunk size), n of them tokens; D, V key and value size; the
 * letters of NUMERICS 4. A value is a double that holds a number of the working precision.
 */
#ifndef GKA_CHUNK_TILE_H
#define GKA_CHUNK_TILE_H

#include "format/round.h"
#include "gka/chunk.h"

#include <math.h>
#include <string.h>

/* x y + z rounded once in binary32, else the plain binary64 expression. */
static inline double fma_w(bool f32, double x, double y, double z) {
    return f32 ? (double)fmaf((float)x, (float)y, (float)z) : x * y + z;
}

/* x in the working precision; sums, products and quotients of binary32 numbers formed in binary64
 * and then rounded are correctly rounded (53 >= 2 24 + 2). */
static inline double w(bool f32, double x) {
    return f32 ? (double)(float)x : x;
}

/* x rounded to bf16, to nearest even. */
static inline double bf16(double x) {
    return gka_round_core(&gka_bf16, GKA_NEAREST_EVEN, x, 0);
}

/* x rounded to the kernels' 16-bit type, to nearest even. */
static inline double low_of(bool fp16, double x) {
    return fp16 ? gka_round_core(&gka_fp16, GKA_NEAREST_EVEN, x, 0) : bf16(x);
}

/* x y + z rounded once to that type; x, y, z numbers of it. */
double gka_low_fma(bool fp16, double x, double y, double z);

/* How a sum is taken: in binary64 in order; in binary32 with fused multiply-adds in order; in the
 * order of the released kernels' threads (n a power of two, at least 16). */
typedef enum sum_order { SUM64, SUM32, SUM_WARP } sum_order;

/* sum a_i b_i, i < n, as the threads of a tensor-core tile of `rows` rows add along a row: each
 * thread holds the columns 2t, 2t+1 of every eighth (rows >= 64) or 32nd column, chains them with
 * fused multiply-adds, and pairs t, t^2, t^1 are added; below 64 rows four warps share a row. */
double gka_row_dot(sum_order order, int64_t rows, int64_t n, const double *a, const double *b);
/* The same where `warps` (a power of two up to 8) share the row. */
double gka_row_dot_shared(sum_order order, int64_t warps, int64_t n, const double *a,
                          const double *b);
/* The same where `warps` share the row by equal pieces of neighbouring columns (wgmma tiles). */
double gka_row_dot_pieces(sum_order order, int64_t warps, int64_t n, const double *a,
                          const double *b);
/* The same where one thread holds the row. */
double gka_row_dot_thread(sum_order order, int64_t n, const double *a, const double *b);
/* The same for a plain sum of a_i. */
double gka_row_sum(sum_order order, int64_t rows, int64_t n, const double *a);
/* sum a_i b_i over a row spread over the lanes of a warp, 32 columns to a warp, as the upper or the
 * lower half of the warp's lanes has it in the end (the same for n > 32); one is stored: the upper
 * half's. */
double gka_lane_dot_in(bool upper, sum_order order, int64_t n, const double *a, const double *b);
double gka_lane_dot(sum_order order, int64_t n, const double *a, const double *b);
/* The same for a plain sum; `warps` of the kernel: a single one has n > 32 in its lanes by adding
 * the blocks of 32 first. */
double gka_lane_sum(sum_order order, int64_t warps, int64_t n, const double *a);
/* sum a_i b_i where each of `warps` warps holds two neighbours in two lanes, of every 2 warps. */
double gka_pair_dot(sum_order order, int64_t warps, int64_t n, const double *a, const double *b);
/* ||H||_F^2 squared and added in the 16-bit type by `warps` warps (a power of two up to 8), H [D,D]
 * of numbers of that type. */
double gka_norm_low(bool fp16, int64_t D, int warps, const double *H);
/* sum_i a[i * stride], i < n rows of a tensor-core tile: within a warp each thread chains the rows
 * 8 apart it holds, lanes 4, 2, 1 rows apart are added, then warps. */
double gka_column_sum(sum_order order, int64_t n, const double *a, int64_t stride);
/* A . B of a tile [n,n] that is selected on and below its diagonal; its element (i, j) lies at
 * a[j n + i]. `down` warps hold 16 of its rows each, or `across` warps 8 of its columns. */
typedef struct gka_triangle {
    int64_t n, down, across;
    const double *a, *b;
} gka_triangle;
/* The sum of its row i and of its column j, where the compiler selects no more than it must. */
double gka_triangle_row(sum_order order, gka_triangle s, int64_t i);
double gka_triangle_column(sum_order order, gka_triangle s, int64_t j);
/* sum_i a[i * stride] b[i * stride], the same, each thread's first product fused; of 64 rows and
 * more, 16 at a time lie in each of `warps` warps. */
double gka_column_products(sum_order order, int64_t warps, int64_t n, const double *a,
                           const double *b, int64_t stride);
/* sum over rows x columns of a tensor-core tile of A_ij B_ij, rows of ld: threads, lanes, warps. */
double gka_tile_dot(sum_order order, int64_t warps, int64_t rows, int64_t columns, const double *A,
                    const double *B, int64_t ld);
/* sum over [rows, columns] of A_ij B_ij, where a thread holds four neighbours along a row, 16
 * threads lie along it and two rows are held by each warp at a time: 64 x 64 blocks of a state. */
double gka_block_dot(sum_order order, int64_t warps, int64_t rows, int64_t columns, const double *A,
                     const double *B, int64_t ld);
/* <A, B> of [D,D], taken as gka_norm_low takes <H, H>. */
double gka_dot_low(bool fp16, int64_t D, int64_t warps, const double *A, const double *B);
/* The same order in binary32 with fused multiply-adds, by `warps` warps. */
double gka_dot_state(sum_order order, int64_t warps, int64_t D, const double *A, const double *B);
/* a^T b of n numbers of the 16-bit type, in it: eight neighbours to a thread, then lanes. */
double gka_row_dot_low(bool fp16, int64_t n, const double *a, const double *b);
/* x cut to the 10 fraction bits that the tensor core reads of a tf32 operand. */
double gka_cut_tf32(double x);
/* sum a_i of a row as PyTorch 2.11's reduction of bf16 takes it, whatever the number of rows: from
 * 128 on a thread loads eight neighbours at a time and has a sum for each place, added in order;
 * below, thread t of 32 adds a_t, a_(t+32). Then threads 16, 8, 4, 2, 1 apart are added. */
double gka_torch_sum(sum_order order, int64_t n, const double *a);
/* out_i = a_0 + .. + a_i as a warp scan over blocks of 32. out may be a. */
void gka_scan_sum(sum_order order, int64_t n, const double *a, double *out);

#endif
