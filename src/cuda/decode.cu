/* decode.cu - one token: the states updated, the solve, the output; all in binary32.
 *
 * One block a head. The product with H runs down its columns, as memory lies (H is symmetric but
 * for the rounding of an initial state). A thread holds the rows i of one residue mod 4 and four
 * neighbouring columns, a fourth of a column's sum each; a column's own thread then takes the sum
 * from three lanes. The states are read and written once, in binary32 or in the type of q: 16 D^2
 * or 8 D^2 bytes a head.
 */
#include "cuda/kernels.cuh"

#include "arith/pinned.h"

namespace gka {
namespace GKA_CUDA_ELEMENTS {

/* State: the type of the states' numbers. */
template <typename State> struct DecodeArguments {
    int64_t H, Hkv, V;
    const element *q, *k, *v, *alpha;
    const float *g;
    const State *h0, *u0;
    const int32_t *state_of; /* nullptr: that of the sequence's own number */
    State *h_final, *u_final;
    float *fro;
    element *x, *o; /* o = nullptr: the solve alone */
    float ridge_ratio, scale;
    int num_iter;
};

/* A vector in shared memory: element i stands at [i % 4][i / 4]. The padding puts the four rows
 * into different banks. */
template <int D> using Vector = float[4][D / 4 + 4];

__device__ __forceinline__ float4 load_four(const float *from) {
    return *reinterpret_cast<const float4 *>(from);
}
__device__ __forceinline__ float4 load_four(const element *from) {
    const uint2 pairs = *reinterpret_cast<const uint2 *>(from);
    const float2 low = unpack(pairs.x), high = unpack(pairs.y);
    return make_float4(low.x, low.y, high.x, high.y);
}
__device__ __forceinline__ void store_four(const float (&four)[4], float *to) {
    *reinterpret_cast<float4 *>(to) = make_float4(four[0], four[1], four[2], four[3]);
}
__device__ __forceinline__ void store_four(const float (&four)[4], element *to) {
    reinterpret_cast<element2 *>(to)[0] = to_elements(four[0], four[1]);
    reinterpret_cast<element2 *>(to)[1] = to_elements(four[2], four[3]);
}

/* The part of a state that a thread holds: rows 4 m + chain, four columns from the thread's on. */
template <int D> using Part = float[D / 4][4];

/* part = k value^T + gamma before, and out to where the state is kept; both of `width` columns, at
 * the thread's first row and column; nullptr: zero, and not wanted. */
template <int D, typename State>
__device__ __forceinline__ void advance(Part<D> &part, const float (&key)[D / 4 + 4], float4 value,
                                        float gamma, int64_t width, const State *before,
                                        State *after) {
    const float values[4] = {value.x, value.y, value.z, value.w};
#pragma unroll
    for (int m = 0; m < D / 4; m++) {
        const float4 old = before == nullptr ? make_float4(0.0f, 0.0f, 0.0f, 0.0f)
                                             : load_four(before + m * 4 * width);
        const float olds[4] = {old.x, old.y, old.z, old.w};
#pragma unroll
        for (int n = 0; n < 4; n++)
            part[m][n] = fmaf(key[m], values[n], before == nullptr ? 0.0f : gamma * olds[n]);
    }
    if (after != nullptr)
#pragma unroll
        for (int m = 0; m < D / 4; m++)
            store_four(part[m], after + m * 4 * width);
}

/* (0 + 1) + (2 + 3) of the four lanes that hold a column's chains, for four columns; each lane gets
 * one of them. */
__device__ __forceinline__ float close_chains(const float (&s)[4]) {
    const bool odd = threadIdx.x & 1, upper = threadIdx.x & 2;
    const float kept[2] = {odd ? s[1] : s[0], odd ? s[3] : s[2]},
                sent[2] = {odd ? s[0] : s[1], odd ? s[2] : s[3]};
    const float low = kept[0] + __shfl_xor_sync(~0u, sent[0], 1),
                high = kept[1] + __shfl_xor_sync(~0u, sent[1], 1);
    return (upper ? high : low) + __shfl_xor_sync(~0u, upper ? low : high, 2);
}

/* RULE sum_i a_i b_i down the thread's own column in four chains, i mod 4, each ascending; then (0
 * + 1) + (2 + 3). */
template <int D>
__device__ __forceinline__ float dot(const Part<D> &a, const float (&b)[D / 4 + 4]) {
    float s[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (int m = 0; m < D / 4; m += 4) {
        const float4 v = *reinterpret_cast<const float4 *>(b + m);
        const float four[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int n = 0; n < 4; n++)
                s[n] = fmaf(a[m + i][n], four[i], s[n]);
    }
    return close_chains(s);
}

/* RULE f^2: columns' sums of squares as dot, lanes by the butterfly 1..16, warps in order. */
template <int D> __device__ __forceinline__ float norm_of(const Part<D> &part, float *warp_sum) {
    const int j = threadIdx.x;
    float s[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (int m = 0; m < D / 4; m++)
#pragma unroll
        for (int n = 0; n < 4; n++)
            s[n] = fmaf(part[m][n], part[m][n], s[n]);
    float sum = close_chains(s);
    for (int offset = 1; offset < 32; offset *= 2)
        sum = sum + __shfl_xor_sync(~0u, sum, offset);
    if ((j & 31) == 0)
        warp_sum[j >> 5] = sum;
    __syncthreads();
    float f2 = warp_sum[0];
    for (int i = 1; i < D / 32; i++)
        f2 = f2 + warp_sum[i];
    return sqrtf(f2);
}

/* RULE two-term iteration in binary32: r = q, d = q / theta, x = d, then r <- r - fma(lambda, d, H
 * d), d <- fma(tau' tau, d, (2 tau'/delta) r), x <- x + d. The thread's own element of x. */
template <int D>
__device__ __forceinline__ float solve(const Part<D> &part, Vector<D> &vector, float q, float f,
                                       float ridge_ratio, int num_iter) {
    const int j = threadIdx.x, chain = j & 3;
    if (!(f > 0.0f))
        return 0.0f;
    const float lambda = ridge_ratio * f, delta = 0.5f * f, theta = lambda + delta,
                scale = 1.0f / delta, sigma2 = 2.0f * (theta * scale);
    float tau = delta / theta, r = q, d = q / theta, x = d;
    for (int iteration = 0; iteration < num_iter; iteration++) {
        __syncthreads();
        vector[chain][j >> 2] = d;
        __syncthreads();
        r = r - fmaf(lambda, d, dot<D>(part, vector[chain]));
        const float next = 1.0f / (sigma2 - tau);
        d = fmaf(next * tau, d, ((2.0f * next) * scale) * r);
        x = x + d;
        tau = next;
    }
    return x;
}

/* RULE gamma = exp(g); H_ij <- fma(k_i, k_j, gamma H_ij); x by solve; q' = fma(alpha, x - q, q);
 * U_ij <- fma(k_i, v_j, gamma U_ij); o_j = bf16(s sum_i U_ij q'_i), as dot. x and states in bf16
 * are stored rounded, used as they were. */
template <int D, typename State>
__global__ __launch_bounds__(D, 384 / D) void decode_kernel(DecodeArguments<State> a) {
    __shared__ __align__(16) Vector<D> key, vector;
    __shared__ float warp_sum[D / 32];
    const int64_t h = blockIdx.x % a.H, b = blockIdx.x / a.H, group = h / (a.H / a.Hkv);
    const int j = threadIdx.x, chain = j & 3, column = j & ~3;
    const int64_t head = b * a.H + h, kv = b * a.Hkv + group,
                  own_state = a.state_of == nullptr ? b : a.state_of[b], at = own_state * a.H + h;
    if (own_state < 0)
        return;
    const float gamma = a.g == nullptr ? 1.0f : gka_pinned_expf(a.g[head]);
    const float q = to_float(a.q[head * D + j]);
    key[chain][j >> 2] = to_float(a.k[kv * D + j]);
    __syncthreads();

    Part<D> part;
    const auto place = [&](auto *state, int64_t width, int64_t first) {
        return state == nullptr ? nullptr : state + at * D * width + chain * width + first + column;
    };
    advance<D>(part, key[chain],
               make_float4(key[0][j >> 2], key[1][j >> 2], key[2][j >> 2], key[3][j >> 2]), gamma,
               D, place(a.h0, D, 0), place(a.h_final, D, 0));
    const float f = norm_of<D>(part, warp_sum);
    if (j == 0 && a.fro != nullptr)
        a.fro[head] = f;
    const float x = solve<D>(part, vector, q, f, a.ridge_ratio, a.num_iter);
    a.x[head * D + j] = to_element(x);
    if (a.o == nullptr)
        return;
    const float alpha = a.alpha == nullptr ? 1.0f : to_float(a.alpha[head]);
    __syncthreads();
    vector[chain][j >> 2] = fmaf(alpha, x - q, q);
    __syncthreads();
    for (int64_t first = 0; first + (j & ~31) < a.V; first += D) { /* a warp has 32 columns */
        advance<D>(part, key[chain], load_four(a.v + kv * a.V + first + column), gamma, a.V,
                   place(a.u0, a.V, first), place(a.u_final, a.V, first));
        a.o[head * a.V + first + j] = to_element(a.scale * dot<D>(part, vector[chain]));
    }
}

template <typename State> static cudaError_t launch(const gka_cuda_layer &l, cudaStream_t stream) {
    DecodeArguments<State> a = {};
    a.H = l.H;
    a.Hkv = l.G;
    a.V = l.V;
    a.q = static_cast<const element *>(l.q);
    a.k = static_cast<const element *>(l.k);
    a.v = static_cast<const element *>(l.v);
    a.alpha = static_cast<const element *>(l.alpha);
    a.g = l.g;
    a.h0 = static_cast<const State *>(l.h0);
    a.u0 = static_cast<const State *>(l.u0);
    a.state_of = l.state_indices;
    a.h_final = static_cast<State *>(l.h_final);
    a.u_final = static_cast<State *>(l.u_final);
    a.fro = l.fro;
    a.x = static_cast<element *>(l.x);
    a.o = static_cast<element *>(l.o);
    a.ridge_ratio = (float)l.ridge_ratio;
    a.scale = (float)l.scale;
    a.num_iter = l.num_iter;
    const unsigned blocks = (unsigned)(l.B * l.H);
    if (l.D == 64)
        decode_kernel<64, State><<<blocks, 64, 0, stream>>>(a);
    else
        decode_kernel<128, State><<<blocks, 128, 0, stream>>>(a);
    return cudaGetLastError();
}

cudaError_t decode(const gka_cuda_layer &l, cudaStream_t stream) {
    return l.half_states ? launch<element>(l, stream) : launch<float>(l, stream);
}

} // namespace GKA_CUDA_ELEMENTS
} // namespace gka
