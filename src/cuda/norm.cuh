/* norm.cuh - f of a chunk's tokens from what the block has summed up (RULE in forward.cu): one
 * thread a row, whoever holds the tiles. */
#pragma once

#include "cuda/kernels.cuh"

namespace gka {
namespace GKA_CUDA_ELEMENTS {

/* Where K K^T [C,C] keeps an element: the rows of a column lie in different banks. */
__device__ __forceinline__ int gram_at(int row, int col) {
    return row * CHUNK + (col ^ row);
}

/* m.warp_sum: ||H_0||^2 by eight warps; m.partial: k_t^T H_0 k_t by column group; gram: K K^T. */
template <class SHARED> __device__ __forceinline__ void norm_rows(SHARED &m, const float *gram) {
    const int row = threadIdx.x;
    if (row < CHUNK) {
        const float khk =
            ((m.partial[0][row] + m.partial[1][row]) + m.partial[2][row]) + m.partial[3][row];
        float w = m.eg[row] * khk;
        for (int j = 0; j < row; j++) {
            const float score = gram[gram_at(row, j)];
            w = fmaf(m.mask[row * MASK + j], score * score, w);
        }
        const float own = gram[gram_at(row, row)];
        m.z[row] = fmaf(2.0f, w, own * own);
    }
    __syncthreads();
    if (row < CHUNK) {
        float f0 = m.warp_sum[0];
        for (int i = 1; i < 8; i++)
            f0 = f0 + m.warp_sum[i];
        float f2 = (m.eg[row] * m.eg[row]) * f0;
        for (int j = 0; j <= row; j++) {
            const float decay = m.mask[row * MASK + j];
            f2 = fmaf(decay * decay, m.z[j], f2);
        }
        m.fro[row] = sqrtf(f2);
    }
}

} // namespace GKA_CUDA_ELEMENTS
} // namespace gka
