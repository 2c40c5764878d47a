/* kernels.cuh - the shapes and arguments the kernels share, and their launchers. */
#pragma once

#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

namespace gka {

constexpr int CHUNK = 64;
constexpr int MASK = CHUNK + 8; /* row stride of M: eight rows fall into different banks */

/* B batch, T tokens, H query heads, Hkv key/value heads; D = V is a template argument. */
struct Shape {
    int64_t B, T, H, Hkv;
    __host__ __device__ int64_t chunks() const { return (T + CHUNK - 1) / CHUNK; }
};

enum class Form { TwoTerm, ThreeTerm };

/* One of the two states: what is added to it with k, where it starts (nullptr: 0), where its
 * snapshots and its end go. */
struct StateArguments {
    const __nv_bfloat16 *v;
    const float *initial;
    __nv_bfloat16 *snapshot, *snapshot_low; /* snapshot_low: nullptr, or the low parts */
    float *final_state;                     /* nullptr: not wanted */
};

struct SolveArguments {
    const __nv_bfloat16 *q, *k, *h_chunk; /* q: or dx in the backward */
    const float *cumulative;              /* G, nullptr: ungated */
    float *fro;                           /* written, or read when load_fro */
    bool load_fro;
    __nv_bfloat16 *x;
    /* accurate: the right-hand side in binary32 (nullptr: q), the low part of x */
    const float *rhs;
    __nv_bfloat16 *x_low;
    float ridge_ratio;
    int num_iter;
    /* The output stage; o = nullptr: none. */
    const __nv_bfloat16 *v, *alpha, *u_chunk, *u_low; /* u_low: accurate */
    __nv_bfloat16 *o;
    float output_scale;
};

struct GradArguments {
    const __nv_bfloat16 *q, *k, *v, *alpha, *x, *p;
    const __nv_bfloat16 *dout; /* nullptr: the solve alone, from dx */
    const float *fro, *cumulative;
    float ridge_ratio, scale;
    const __nv_bfloat16 *h_chunk, *u_chunk;
    /* scratch */
    __nv_bfloat16 *dx, *rest, *n_chunk, *e_chunk;
    /* accurate: low parts, and dx and rest in binary32 in the place of the above */
    const __nv_bfloat16 *x_low, *p_low, *u_low;
    __nv_bfloat16 *n_low, *e_low;
    float *dx_single, *rest_single;
    float *along, *w, *carry, *beta, *n_inner, *e_inner;
    /* cotangents of the final states (nullptr: 0), those states, <., H> and <., U> by tile */
    const float *dh_final, *du_final, *h_end, *u_end;
    float *n_end, *e_end;
    /* outputs; dk, dv by query head, [B,T,H,D] */
    __nv_bfloat16 *dq, *dk, *dv, *dalpha;
    float *dg, *dh0, *du0;
};

struct DecodeArguments {
    int64_t H, Hkv;
    const __nv_bfloat16 *q, *k, *v, *alpha;
    const float *g, *h0, *u0;
    float *h_final, *u_final, *fro;
    __nv_bfloat16 *x, *o; /* o = nullptr: the solve alone */
    float ridge_ratio, scale;
    int num_iter;
};

void launch_group(Shape, int D, const __nv_bfloat16 *by_head, __nv_bfloat16 *out, cudaStream_t);
void launch_gates(Shape, const float *g, float *cumulative, cudaStream_t);
/* H from v = k, and U beside it where u is given. */
template <int D>
void launch_states(Shape, const __nv_bfloat16 *k, const float *cumulative, const StateArguments &h,
                   const StateArguments *u, cudaStream_t);
template <int D>
cudaError_t launch_grad_output(Shape, bool accurate, const GradArguments &, cudaStream_t);
template <int D> cudaError_t launch_decode(const DecodeArguments &, int64_t batch, cudaStream_t);
template <int D>
cudaError_t launch_grads(Shape, bool accurate, const GradArguments &, cudaStream_t);
template <int D>
cudaError_t launch_solve(Shape, Form, bool accurate, const SolveArguments &, cudaStream_t);
/* The same on compute capability 9.0 (hopper.cu). */
template <int D>
cudaError_t launch_solve_hopper(Shape, Form, bool accurate, const SolveArguments &, cudaStream_t);

} // namespace gka
