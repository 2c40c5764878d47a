/* tile.cuh - bf16 tiles in shared memory and the tensor core, one warp at a time.
 *
 * mma.sync.m16n8k16 adds 16 products to a binary32 accumulator by the rule of NUMERICS 6. Every
 * product of matrices here runs over its inner index in ascending groups of 16, so that each
 * element of a result is a function of its row, its column and the accumulator it started from,
 * whatever the warp that computed it. That is what lets the CPU replay it.
 *
 * A tile is row-major bf16, WIDTH a power of two >= 64; its rows are cut into 16-byte pieces and
 * piece p of row r lies at place p ^ (r & 7): the eight rows that one ldmatrix reads fall into
 * eight different bank groups.
 */
#pragma once

#include "cuda/kernels.cuh"

#include <cstdint>

namespace gka {
namespace GKA_CUDA_ELEMENTS {

template <int WIDTH> struct Tile {
    element *data;
    /* Element (row, col). */
    __device__ __forceinline__ element *at(int row, int col) const {
        return data + row * WIDTH + ((((col >> 3) ^ (row & 7)) << 3) | (col & 7));
    }
    /* Two neighbours, col even. */
    __device__ __forceinline__ element2 *pair(int row, int col) const {
        return reinterpret_cast<element2 *>(at(row, col));
    }
};

/* The same in panels of 64 columns, each of ROWS rows of 128 bytes: as a warpgroup's matrix unit
 * reads a tile of shared memory with the 128-byte swizzle. data is aligned to 1024 bytes. */
template <int ROWS, int WIDTH> struct Panels {
    element *data;
    __device__ __forceinline__ element *at(int row, int col) const {
        return data + (col >> 6) * (ROWS * 64) + row * 64 + ((((col & 63) >> 3) ^ (row & 7)) << 3) +
               (col & 7);
    }
    __device__ __forceinline__ element2 *pair(int row, int col) const {
        return reinterpret_cast<element2 *>(at(row, col));
    }
};

__device__ __forceinline__ void ldmatrix(uint32_t (&r)[4], const element *place) {
    const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(place));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address));
}

__device__ __forceinline__ void ldmatrix_transposed(uint32_t (&r)[4], const element *place) {
    const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(place));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address));
}

__device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                    uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." GKA_CUDA_TYPE "." GKA_CUDA_TYPE ".f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* c[MT x 16 rows, NT x 8 columns] += A[row0.., 0..K) B[0..K, col0..), NT even.
 * AT: A is stored [K, rows]; otherwise [rows, K]. BT: B is stored [columns, K]; otherwise [K,
 * columns]. */
template <int MT, int NT, int K, bool AT, bool BT, class A, class B>
__device__ __forceinline__ void multiply(float (&c)[MT][NT][4], A a, int row0, B b, int col0) {
    const int lane = threadIdx.x & 31, matrix = lane >> 3, line = lane & 7;
#pragma unroll
    for (int k = 0; k < K; k += 16) {
        uint32_t fa[MT][4];
#pragma unroll
        for (int m = 0; m < MT; m++) {
            const int row = row0 + m * 16;
            if (AT)
                ldmatrix_transposed(fa[m],
                                    a.at(k + (matrix >> 1) * 8 + line, row + (matrix & 1) * 8));
            else
                ldmatrix(fa[m], a.at(row + (matrix & 1) * 8 + line, k + (matrix >> 1) * 8));
        }
#pragma unroll
        for (int n = 0; n < NT; n += 2) {
            const int col = col0 + n * 8;
            uint32_t fb[4];
            if (BT)
                ldmatrix(fb, b.at(col + (matrix >> 1) * 8 + line, k + (matrix & 1) * 8));
            else
                ldmatrix_transposed(fb, b.at(k + (matrix & 1) * 8 + line, col + (matrix >> 1) * 8));
#pragma unroll
            for (int m = 0; m < MT; m++) {
                mma(c[m][n], fa[m], fb[0], fb[1]);
                mma(c[m][n + 1], fa[m], fb[2], fb[3]);
            }
        }
    }
}

template <int MT, int NT> __device__ __forceinline__ void clear(float (&c)[MT][NT][4]) {
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                c[m][n][e] = 0.0f;
}

/* Where element e of a fragment lies in its 16 x 8 tile. */
__device__ __forceinline__ int fragment_row(int e) {
    return ((threadIdx.x & 31) >> 2) + (e >> 1) * 8;
}
__device__ __forceinline__ int fragment_col(int e) {
    return (threadIdx.x & 3) * 2 + (e & 1);
}

/* score <- bf16(d . mask) for the block's 64 x 64 elements. */
__device__ __forceinline__ void mask_scores(const float (&d)[2][2][4], const float *mask,
                                            Tile<CHUNK> score, int row0, int warp) {
#pragma unroll
    for (int t = 0; t < 2; t++)
#pragma unroll
        for (int n = 0; n < 2; n++)
#pragma unroll
            for (int e = 0; e < 4; e += 2) {
                const int row = row0 + t * 16 + fragment_row(e),
                          col = (warp & 3) * 16 + n * 8 + fragment_col(e);
                const float2 m = *reinterpret_cast<const float2 *>(&mask[row * MASK + col]);
                *score.pair(row, col) = to_elements(d[t][n][e] * m.x, d[t][n][e + 1] * m.y);
            }
}

/* RULE in two parts: v is kept as bf16(v) + bf16(v - bf16(v)), exact in binary32, and that sum is
 * split into its bf16 value and what is left. */
__device__ __forceinline__ float two_parts(float v) {
    const float high = to_float(to_element(v));
    const float rest = high - high == 0.0f ? to_float(to_element(v - high)) : 0.0f;
    return high + rest;
}
__device__ __forceinline__ float low_part(float kept) {
    const float high = to_float(to_element(kept));
    return high - high == 0.0f ? kept - high : 0.0f; /* infinity leaves nothing */
}
/* The low parts of two neighbours. */
__device__ __forceinline__ element2 low_pair(float x, float y) {
    return to_elements(low_part(x), low_part(y));
}
/* Two neighbours from their parts. */
__device__ __forceinline__ float2 join(const element *high, const element *low) {
    const float2 h = to_floats(*reinterpret_cast<const element2 *>(high));
    const float2 l = to_floats(*reinterpret_cast<const element2 *>(low));
    return make_float2(h.x + l.x, h.y + l.y);
}

/* Eight neighbours, each times weight and rounded. */
__device__ __forceinline__ void weigh(uint4 &eight, float weight) {
    element2 *const parts = reinterpret_cast<element2 *>(&eight);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float2 pair = to_floats(parts[i]);
        parts[i] = to_elements(pair.x * weight, pair.y * weight);
    }
}

/* A block's 64 x 64 tile of a state, by four warps, into a snapshot [D,width] at `place`: in one
 * part, or in two where there is a place for the low one. */
__device__ __forceinline__ void keep_state(const float (&c)[1][8][4], element *snapshot,
                                           element *snapshot_low, int64_t place, int64_t width,
                                           int row0, int col0) {
    const int warp = threadIdx.x >> 5;
    for (int n = 0; n < 8; n++)
        for (int e = 0; e < 4; e += 2) {
            const int64_t at = place + (row0 + warp * 16 + fragment_row(e)) * width + col0 + n * 8 +
                               fragment_col(e);
            float x = c[0][n][e], y = c[0][n][e + 1];
            if (snapshot_low != nullptr) {
                x = two_parts(x);
                y = two_parts(y);
                *reinterpret_cast<element2 *>(snapshot_low + at) = low_pair(x, y);
            }
            *reinterpret_cast<element2 *>(snapshot + at) = to_elements(x, y);
        }
}

/* Rows [0, rows) of a [ROWS, WIDTH] tile from global memory, row stride in elements; the rest zero.
 * Copied asynchronously: there after tiles_loaded and a barrier, or after sync_tiles. */
template <int ROWS, int WIDTH, int THREADS, class TILE>
__device__ __forceinline__ void load_tile(TILE tile, const element *from, int64_t stride,
                                          int rows) {
    constexpr int PIECES = WIDTH / 8;
#pragma unroll 4
    for (int i = threadIdx.x; i < ROWS * PIECES; i += THREADS) {
        const int row = i / PIECES, piece = i % PIECES;
        const bool inside = row < rows;
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                         static_cast<uint32_t>(__cvta_generic_to_shared(tile.at(row, piece * 8)))),
                     "l"(from + (inside ? row * stride + piece * 8 : 0)), "r"(inside ? 16 : 0)
                     : "memory");
    }
}
__device__ __forceinline__ void tiles_loaded() {
    asm volatile("cp.async.wait_all;" ::: "memory");
}
/* A barrier after which every tile that was asked for before it is there. */
__device__ __forceinline__ void sync_tiles() {
    tiles_loaded();
    __syncthreads();
}

template <int ROWS, int WIDTH, int THREADS, class TILE>
__device__ __forceinline__ void store_tile(TILE tile, element *to, int64_t stride, int rows) {
    constexpr int PIECES = WIDTH / 8;
#pragma unroll 4
    for (int i = threadIdx.x; i < ROWS * PIECES; i += THREADS) {
        const int row = i / PIECES, piece = i % PIECES;
        if (row < rows)
            *reinterpret_cast<uint4 *>(to + row * stride + piece * 8) =
                *reinterpret_cast<const uint4 *>(tile.at(row, piece * 8));
    }
}

} // namespace GKA_CUDA_ELEMENTS
} // namespace gka
