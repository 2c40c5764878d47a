/* kernels.cuh - the shapes and arguments the kernels share, and their launchers.
 *
 * The kernels are compiled twice: for bf16 and, with -DGKA_CUDA_FP16, for fp16, in two namespaces
 * of the same names. What a comment calls bf16 is then fp16. */
#pragma once

#include "gka/cuda.h"

#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#ifdef GKA_CUDA_FP16
#define GKA_CUDA_ELEMENTS of_fp16
#else
#define GKA_CUDA_ELEMENTS of_bf16
#endif

namespace gka {
namespace GKA_CUDA_ELEMENTS {

/* The numbers that tensors and tiles hold, alone and in pairs. */
#ifdef GKA_CUDA_FP16
using element = __half;
using element2 = __half2;
__device__ __forceinline__ element to_element(float x) {
    return __float2half_rn(x);
}
__device__ __forceinline__ float to_float(element x) {
    return __half2float(x);
}
__device__ __forceinline__ element2 to_elements(float x, float y) {
    return __floats2half2_rn(x, y);
}
__device__ __forceinline__ float2 to_floats(element2 pair) {
    return __half22float2(pair);
}
/* A pair in a register. */
__device__ __forceinline__ float2 unpack(uint32_t pair) {
    return __half22float2(*reinterpret_cast<const element2 *>(&pair));
}
#define GKA_CUDA_TYPE "f16"
#else
using element = __nv_bfloat16;
using element2 = __nv_bfloat162;
__device__ __forceinline__ element to_element(float x) {
    return __float2bfloat16_rn(x);
}
__device__ __forceinline__ float to_float(element x) {
    return __bfloat162float(x);
}
__device__ __forceinline__ element2 to_elements(float x, float y) {
    return __floats2bfloat162_rn(x, y);
}
__device__ __forceinline__ float2 to_floats(element2 pair) {
    return __bfloat1622float2(pair);
}
__device__ __forceinline__ float2 unpack(uint32_t pair) {
    return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u));
}
#define GKA_CUDA_TYPE "bf16"
#endif

constexpr int CHUNK = 64;
constexpr int MASK = CHUNK + 8; /* row stride of M: eight rows fall into different banks */

/* A sequence: its first token and first chunk among all, its tokens. */
struct Span {
    int64_t first, tokens, slot;
    __device__ int64_t chunks() const { return (tokens + CHUNK - 1) / CHUNK; }
};

/* A chunk: its first token among all, its tokens, its place among all chunks, its sequence, whether
 * it ends it. */
struct Chunk {
    int64_t first;
    int rows;
    int64_t slot, sequence;
    bool last;
};

/* B batch, T tokens, H query heads, Hkv key/value heads, V value size; D is a template argument.
 * Packed: B = 1 and N sequences, whose bounds lie at bounds[0..N]; sequence n then has its chunks
 * from slot bounds[n]/C + n on, which leaves some slots empty and needs no sum over sequences. */
struct Shape {
    int64_t B, T, H, Hkv, V, N;
    const int64_t *bounds; /* nullptr: N = B sequences of T */
    __host__ __device__ int64_t row_chunks() const {
        return bounds != nullptr ? T / CHUNK + N : (T + CHUNK - 1) / CHUNK;
    }
    __host__ __device__ int64_t slots() const { return B * row_chunks(); }
    __device__ Span span(int64_t n) const {
        return bounds != nullptr ? Span{bounds[n], bounds[n + 1] - bounds[n], bounds[n] / CHUNK + n}
                                 : Span{n * T, T, n * row_chunks()};
    }
    /* What stands at place `at` of batch row b; no rows: nothing. */
    __device__ Chunk chunk(int64_t at, int64_t b) const {
        int64_t n = b;
        if (bounds != nullptr) {
            int64_t end = N;
            for (n = 0; end - n > 1;) {
                const int64_t middle = (n + end) / 2;
                if (bounds[middle] / CHUNK + middle <= at)
                    n = middle;
                else
                    end = middle;
            }
        }
        const Span own = span(n);
        const int64_t number = bounds != nullptr ? at - own.slot : at,
                      left = own.tokens - number * CHUNK;
        return Chunk{own.first + number * CHUNK, (int)max((int64_t)0, min((int64_t)CHUNK, left)),
                     own.slot + number, n, left <= CHUNK};
    }
};

enum class Form { TwoTerm, ThreeTerm };

/* One of the two states, [D,width]: what is added to it with k, where it starts (nullptr: 0), where
 * its snapshots and its end go. */
struct StateArguments {
    const element *v;
    int64_t width;
    const float *initial;
    element *snapshot, *snapshot_low; /* snapshot_low: nullptr, or the low parts */
    float *final_state;               /* nullptr: not wanted */
};

struct SolveArguments {
    const element *q, *k, *h_chunk; /* q: or dx in the backward */
    const float *cumulative;        /* G, nullptr: ungated */
    float *fro;                     /* written, or read when load_fro */
    bool load_fro;
    element *x;
    /* accurate: the right-hand side in binary32 (nullptr: q), the low part of x */
    const float *rhs;
    element *x_low;
    /* energy (nullptr: not wanted): <p, (H + lambda I) x>, p the solution, x the forward's */
    const element *forward_x;
    float *energy;
    float ridge_ratio;
    int num_iter;
    /* The output stage; o = nullptr: none. */
    const element *v, *alpha, *u_chunk, *u_low; /* u_low: accurate */
    element *o;
    float output_scale;
};

struct GradArguments {
    const element *q, *k, *v, *alpha, *x, *p;
    const element *dout; /* nullptr: the solve alone, from dx */
    const float *fro, *cumulative;
    float ridge_ratio, scale;
    const element *h_chunk, *u_chunk;
    /* scratch */
    element *dx, *rest, *n_chunk, *e_chunk;
    /* accurate: low parts, and dx and rest in binary32 in the place of the above */
    const element *x_low, *p_low, *u_low;
    element *n_low, *e_low;
    float *dx_single, *rest_single;
    float *along, *w, *carry, *beta, *n_inner, *e_inner;
    const float *energy; /* nullptr: accurate, or dg is not wanted */
    /* cotangents of the final states (nullptr: 0), those states, <., H> and <., U> by tile */
    const float *dh_final, *du_final, *h_end, *u_end;
    float *n_end, *e_end;
    bool to_previous, from_next; /* dh0, du0 and those cotangents as the kernels hold them */
    /* outputs; dk, dv by query head, [B,T,H,.] */
    element *dq, *dk, *dv, *dalpha;
    float *dg, *dh0, *du0;
};

void launch_group(Shape, int64_t width, const element *by_head, element *out, cudaStream_t);
void launch_gates(Shape, const float *g, float *cumulative, cudaStream_t);
/* H from v = k, and U beside it where u is given. */
template <int D>
void launch_states(Shape, const element *k, const float *cumulative, const StateArguments &h,
                   const StateArguments *u, cudaStream_t);
template <int D>
cudaError_t launch_grad_output(Shape, bool accurate, const GradArguments &, cudaStream_t);
/* w and its sums; N and E; the gradients of a chunk: in this order. */
template <int D> void launch_weights(Shape, bool accurate, const GradArguments &, cudaStream_t);
template <int D> void launch_suffix(Shape, bool accurate, const GradArguments &, cudaStream_t);
template <int D>
cudaError_t launch_grads(Shape, bool accurate, const GradArguments &, cudaStream_t);
template <int D>
cudaError_t launch_solve(Shape, Form, bool accurate, const SolveArguments &, cudaStream_t);
/* The same on compute capability 9.0 (hopper.cu). */
template <int D>
cudaError_t launch_solve_hopper(Shape, Form, bool accurate, const SolveArguments &, cudaStream_t);

/* What gka/cuda.h's calls do once their arguments are checked (queue.cu, decode.cu). */
size_t workspace_size(const gka_cuda_layer &);
size_t workspace_size(const gka_cuda_layer &, const gka_cuda_gradient &);
cudaError_t forward(const gka_cuda_layer &, void *workspace, cudaStream_t);
cudaError_t backward(const gka_cuda_layer &, const gka_cuda_gradient &, void *workspace,
                     cudaStream_t);
cudaError_t decode(const gka_cuda_layer &, cudaStream_t);

} // namespace GKA_CUDA_ELEMENTS
} // namespace gka
