/* decode.cu - one token: the states updated, the solve, the output; all in binary32.
 *
 * One block a head, one thread a column j; the column of H stays in registers through the
 * iteration. H is symmetric but for the rounding of an initial state, so the product with it runs
 * down the columns, as memory lies. What bounds it is bytes: H and U are read and written once, 16
 * D^2 bytes a head.
 */
#include "cuda/kernels.cuh"

#include "arith/pinned.h"

namespace gka {
namespace GKA_CUDA_ELEMENTS {

struct DecodeArguments {
    int64_t H, Hkv, V;
    const element *q, *k, *v, *alpha;
    const float *g, *h0, *u0;
    const int32_t *state_of; /* nullptr: that of the sequence's own number */
    float *h_final, *u_final, *fro;
    element *x, *o; /* o = nullptr: the solve alone */
    float ridge_ratio, scale;
    int num_iter;
};

/* RULE sum_i a_i b_i in four chains, i mod 4, each ascending; then (0 + 1) + (2 + 3). */
template <int D> __device__ __forceinline__ float dot(const float (&a)[D], const float *b) {
    float s[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (int i = 0; i < D; i += 4) {
        const float4 v = *reinterpret_cast<const float4 *>(b + i);
        s[0] = fmaf(a[i], v.x, s[0]);
        s[1] = fmaf(a[i + 1], v.y, s[1]);
        s[2] = fmaf(a[i + 2], v.z, s[2]);
        s[3] = fmaf(a[i + 3], v.w, s[3]);
    }
    return (s[0] + s[1]) + (s[2] + s[3]);
}

/* RULE gamma = exp(g); H_ij <- fma(k_i, k_j, gamma H_ij); f^2 = columns' sums of squares (as dot),
 * lanes by the butterfly 1..16, warps in order; two-term iteration in binary32: r = q, d = q /
 * theta, x = d, then r <- r - fma(lambda, d, H d), d <- fma(tau' tau, d, (2 tau'/delta) r), x <- x
 * + d; q' = fma(alpha, x - q, q); U_ij <- fma(k_i, v_j, gamma U_ij); o_j = bf16(s sum_i U_ij q'_i),
 * as dot. x stored in bf16, used as it was. */
template <int D> __global__ __launch_bounds__(D) void decode_kernel(DecodeArguments a) {
    __shared__ __align__(16) float key[D], vector[D];
    __shared__ float warp_sum[D / 32];
    const int64_t h = blockIdx.x % a.H, b = blockIdx.x / a.H, group = h / (a.H / a.Hkv);
    const int j = threadIdx.x;
    const int64_t head = b * a.H + h, kv = b * a.Hkv + group,
                  own_state = a.state_of == nullptr ? b : a.state_of[b], at = own_state * a.H + h;
    if (own_state < 0)
        return;
    const float gamma = a.g == nullptr ? 1.0f : gka_pinned_expf(a.g[head]);
    const float q = to_float(a.q[head * D + j]), own = to_float(a.k[kv * D + j]);
    key[j] = own;
    __syncthreads();

    float column[D];
    const float *const h0 = a.h0 == nullptr ? nullptr : a.h0 + at * D * D;
#pragma unroll
    for (int i = 0; i < D; i++)
        column[i] = fmaf(key[i], own, h0 == nullptr ? 0.0f : gamma * h0[i * D + j]);
    if (a.h_final != nullptr)
#pragma unroll
        for (int i = 0; i < D; i++)
            a.h_final[at * D * D + i * D + j] = column[i];

    float s[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (int i = 0; i < D; i++)
        s[i % 4] = fmaf(column[i], column[i], s[i % 4]);
    float sum = (s[0] + s[1]) + (s[2] + s[3]);
    for (int offset = 1; offset < 32; offset *= 2)
        sum = sum + __shfl_xor_sync(~0u, sum, offset);
    if ((j & 31) == 0)
        warp_sum[j >> 5] = sum;
    __syncthreads();
    float f2 = warp_sum[0];
    for (int i = 1; i < D / 32; i++)
        f2 = f2 + warp_sum[i];
    const float f = sqrtf(f2), lambda = a.ridge_ratio * f;
    if (j == 0 && a.fro != nullptr)
        a.fro[head] = f;

    float x = 0.0f;
    if (f > 0.0f) {
        const float delta = 0.5f * f, theta = lambda + delta, scale = 1.0f / delta;
        const float sigma2 = 2.0f * (theta * scale);
        float tau = delta / theta, r = q, d = q / theta;
        x = d;
        for (int iteration = 0; iteration < a.num_iter; iteration++) {
            __syncthreads();
            vector[j] = d;
            __syncthreads();
            r = r - fmaf(lambda, d, dot<D>(column, vector));
            const float next = 1.0f / (sigma2 - tau);
            d = fmaf(next * tau, d, ((2.0f * next) * scale) * r);
            x = x + d;
            tau = next;
        }
    }
    a.x[head * D + j] = to_element(x);
    if (a.o == nullptr)
        return;
    const float alpha = a.alpha == nullptr ? 1.0f : to_float(a.alpha[head]);
    __syncthreads();
    vector[j] = fmaf(alpha, x - q, q);
    __syncthreads();
    const int64_t V = a.V;
    const float *const u0 = a.u0 == nullptr ? nullptr : a.u0 + at * D * V;
    for (int64_t col = j; col < V; col += D) {
        const float value = to_float(a.v[kv * V + col]);
#pragma unroll
        for (int i = 0; i < D; i++)
            column[i] = fmaf(key[i], value, u0 == nullptr ? 0.0f : gamma * u0[i * V + col]);
        if (a.u_final != nullptr)
#pragma unroll
            for (int i = 0; i < D; i++)
                a.u_final[at * D * V + i * V + col] = column[i];
        a.o[head * V + col] = to_element(a.scale * dot<D>(column, vector));
    }
}

cudaError_t decode(const gka_cuda_layer &l, cudaStream_t stream) {
    DecodeArguments a = {};
    a.H = l.H;
    a.Hkv = l.G;
    a.V = l.V;
    a.q = static_cast<const element *>(l.q);
    a.k = static_cast<const element *>(l.k);
    a.v = static_cast<const element *>(l.v);
    a.alpha = static_cast<const element *>(l.alpha);
    a.g = l.g;
    a.h0 = l.h0;
    a.u0 = l.u0;
    a.state_of = l.state_indices;
    a.h_final = l.h_final;
    a.u_final = l.u_final;
    a.fro = l.fro;
    a.x = static_cast<element *>(l.x);
    a.o = static_cast<element *>(l.o);
    a.ridge_ratio = (float)l.ridge_ratio;
    a.scale = (float)l.scale;
    a.num_iter = l.num_iter;
    const unsigned blocks = (unsigned)(l.B * l.H);
    if (l.D == 64)
        decode_kernel<64><<<blocks, 64, 0, stream>>>(a);
    else
        decode_kernel<128><<<blocks, 128, 0, stream>>>(a);
    return cudaGetLastError();
}

} // namespace GKA_CUDA_ELEMENTS
} // namespace gka
