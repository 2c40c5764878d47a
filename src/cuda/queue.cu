/* queue.cu - the kernels of a call, in order: workspace cut, launches. Arguments are checked before
 * (api.cu). */
#include "cuda/kernels.cuh"

namespace gka {
namespace GKA_CUDA_ELEMENTS {

namespace {

Form form_of(const gka_cuda_layer &l) {
    return l.form == GKA_THREE_TERM ? Form::ThreeTerm : Form::TwoTerm;
}

Shape shape_of(const gka_cuda_layer &l) {
    return Shape{l.B, l.T, l.H, l.G, l.V, l.cu_seqlens != nullptr ? l.N : l.B, l.cu_seqlens};
}

/* The workspace: G (binary32), then the snapshots of H and U (bf16), each on a 256-byte line. */
struct Cut {
    size_t cumulative, h_chunk, u_chunk, u_low, end;
};

size_t line(size_t bytes) {
    return (bytes + 255) / 256 * 256;
}

Cut cut(const gka_cuda_layer &l) {
    const size_t tokens = (size_t)l.B * (size_t)l.H * (size_t)l.T,
                 rows = (size_t)shape_of(l).slots() * (size_t)l.H * (size_t)l.D * 2;
    Cut c;
    c.cumulative = 0;
    c.h_chunk = l.g == nullptr ? 0 : line(tokens * 4);
    c.u_chunk = c.h_chunk + line(rows * (size_t)l.D);
    const size_t linear = l.o == nullptr && l.u_final == nullptr ? 0 : line(rows * (size_t)l.V);
    c.u_low = c.u_chunk + linear;
    c.end = c.u_low + (l.accurate ? linear : 0);
    return c;
}

template <int D>
cudaError_t forward(const gka_cuda_layer &l, unsigned char *workspace, cudaStream_t stream) {
    const Shape s = shape_of(l);
    const Cut c = cut(l);
    float *const cumulative =
        l.g == nullptr ? nullptr : reinterpret_cast<float *>(workspace + c.cumulative);
    element *const h_chunk = reinterpret_cast<element *>(workspace + c.h_chunk);
    element *const u_chunk = reinterpret_cast<element *>(workspace + c.u_chunk);
    const element *const k = static_cast<const element *>(l.k), *const v =
                                                                    static_cast<const element *>(
                                                                        l.v);

    launch_gates(s, l.g, cumulative, stream);
    element *const u_low = l.accurate ? reinterpret_cast<element *>(workspace + c.u_low) : nullptr;
    const StateArguments of_h = {k, l.D, l.h0, h_chunk, nullptr, l.h_final},
                         of_u = {v, l.V, l.u0, u_chunk, u_low, l.u_final};
    launch_states<D>(s, k, cumulative, of_h,
                     l.o != nullptr || l.u_final != nullptr ? &of_u : nullptr, stream);
    SolveArguments a = {};
    a.q = static_cast<const element *>(l.q);
    a.k = k;
    a.h_chunk = h_chunk;
    a.cumulative = cumulative;
    a.fro = l.fro;
    a.x = static_cast<element *>(l.x);
    a.ridge_ratio = (float)l.ridge_ratio;
    a.num_iter = l.num_iter;
    a.v = v;
    a.alpha = static_cast<const element *>(l.alpha);
    a.u_chunk = u_chunk;
    a.u_low = u_low;
    a.x_low = static_cast<element *>(l.x_low);
    a.o = static_cast<element *>(l.o);
    a.output_scale = (float)l.scale;
    const cudaError_t error = launch_solve<D>(s, form_of(l), l.accurate, a, stream);
    return error != cudaSuccess ? error : cudaGetLastError();
}

/* The workspace of the backward, in order. */
struct GradientCut {
    size_t cumulative, h_chunk, u_chunk, n_chunk, e_chunk, dx, rest, p, along, w, carry, beta,
        n_inner, e_inner, dk, dv, p_low, u_low, n_low, e_low, h_end, u_end, n_end, e_end, end;
};

GradientCut cut(const gka_cuda_layer &l, const gka_cuda_gradient &d) {
    const Shape s = shape_of(l);
    const size_t D = (size_t)l.D, V = (size_t)l.V, tokens = (size_t)(l.B * l.H * l.T);
    const size_t chunks = (size_t)(s.slots() * l.H), ends = (size_t)(s.N * l.H);
    const size_t of_h = chunks * D * D * 2, of_u = chunks * D * V * 2; /* snapshots */
    const size_t h_tiles = (D / 64) * (D / 64), u_tiles = (D / 64) * (V / 64);
    const bool layer = d.dout != nullptr;
    GradientCut c;
    size_t at = 0;
    const auto take = [&](size_t bytes) {
        const size_t place = at;
        at += line(bytes);
        return place;
    };
    c.cumulative = take(l.g == nullptr ? 0 : tokens * 4);
    c.h_chunk = take(of_h);
    c.n_chunk = take(of_h);
    c.u_chunk = take(layer ? of_u : 0);
    c.e_chunk = take(layer ? of_u : 0);
    const size_t handed = l.accurate ? 4 : 2; /* dx and rest: binary32 or element */
    c.dx = take(layer ? tokens * D * handed : 0);
    c.rest = take(layer ? tokens * D * handed : 0);
    c.p = take(layer ? tokens * D * 2 : 0);
    c.along = take(tokens * 4);
    c.w = take(tokens * 4);
    c.carry = take(tokens * 4);
    c.beta = take(chunks * 4);
    c.n_inner = take(chunks * h_tiles * 4);
    c.e_inner = take(layer ? chunks * u_tiles * 4 : 0);
    c.dk = take(l.H == l.G ? 0 : tokens * D * 2);
    c.dv = take(layer && l.H != l.G ? tokens * V * 2 : 0);
    c.p_low = take(l.accurate ? tokens * D * 2 : 0);
    c.u_low = take(l.accurate && layer ? of_u : 0);
    c.n_low = take(l.accurate ? of_h : 0);
    c.e_low = take(l.accurate && layer ? of_u : 0);
    c.h_end = take(d.dh_final != nullptr ? ends * D * D * 4 : 0);
    c.u_end = take(d.du_final != nullptr ? ends * D * V * 4 : 0);
    c.n_end = take(ends * h_tiles * 4);
    c.e_end = take(layer ? ends * u_tiles * 4 : 0);
    c.end = at;
    return c;
}

/* Where the accurate kernels keep low parts, and dx and rest in binary32. */
void place_low_parts(const gka_cuda_layer &l, const GradientCut &c, unsigned char *workspace,
                     bool layer, GradArguments &a) {
    const auto half = [&](size_t at) { return reinterpret_cast<element *>(workspace + at); };
    a.x_low = static_cast<const element *>(l.x_low);
    a.p_low = half(c.p_low);
    a.u_low = half(c.u_low);
    a.n_low = half(c.n_low);
    a.e_low = half(c.e_low);
    a.dx_single = reinterpret_cast<float *>(workspace + c.dx);
    a.rest_single = layer ? reinterpret_cast<float *>(workspace + c.rest) : nullptr;
}

/* Cotangents of the final states, and where those states and their sums are kept. */
void place_final_states(const gka_cuda_gradient &d, const GradientCut &c, unsigned char *workspace,
                        GradArguments &a) {
    const auto single = [&](size_t at) { return reinterpret_cast<float *>(workspace + at); };
    a.dh_final = d.dh_final;
    a.du_final = d.du_final;
    a.h_end = single(c.h_end);
    a.u_end = single(c.u_end);
    a.n_end = single(c.n_end);
    a.e_end = single(c.e_end);
}

/* Gates, snapshots of the states that the gradients need, and their ends where they count. */
template <int D>
void queue_states(const gka_cuda_layer &l, const gka_cuda_gradient &d, const GradientCut &c,
                  unsigned char *workspace, cudaStream_t stream) {
    const Shape s = shape_of(l);
    const auto half = [&](size_t at) { return reinterpret_cast<element *>(workspace + at); };
    const auto single = [&](size_t at) { return reinterpret_cast<float *>(workspace + at); };
    float *const cumulative = l.g == nullptr ? nullptr : single(c.cumulative);
    const element *const k = static_cast<const element *>(l.k), *const v =
                                                                    static_cast<const element *>(
                                                                        l.v);
    launch_gates(s, l.g, cumulative, stream);
    const StateArguments of_h = {k,       l.D,
                                 l.h0,    half(c.h_chunk),
                                 nullptr, d.dh_final != nullptr ? single(c.h_end) : nullptr},
                         of_u = {v,
                                 l.V,
                                 l.u0,
                                 half(c.u_chunk),
                                 l.accurate ? half(c.u_low) : nullptr,
                                 d.du_final != nullptr ? single(c.u_end) : nullptr};
    launch_states<D>(s, k, cumulative, of_h, d.dout != nullptr ? &of_u : nullptr, stream);
}

template <int D>
cudaError_t backward(const gka_cuda_layer &l, const gka_cuda_gradient &d, unsigned char *workspace,
                     cudaStream_t stream) {
    const Shape s = shape_of(l);
    const GradientCut c = cut(l, d);
    const bool layer = d.dout != nullptr;
    const auto half = [&](size_t at) { return reinterpret_cast<element *>(workspace + at); };
    const auto single = [&](size_t at) { return reinterpret_cast<float *>(workspace + at); };
    float *const cumulative = l.g == nullptr ? nullptr : single(c.cumulative);
    const element *const k = static_cast<const element *>(l.k), *const v =
                                                                    static_cast<const element *>(
                                                                        l.v);

    queue_states<D>(l, d, c, workspace, stream);
    GradArguments a = {};
    a.q = static_cast<const element *>(l.q);
    a.k = k;
    a.v = v;
    a.alpha = static_cast<const element *>(l.alpha);
    a.x = static_cast<const element *>(l.x);
    a.dout = static_cast<const element *>(d.dout);
    a.fro = l.fro;
    a.cumulative = cumulative;
    a.ridge_ratio = (float)l.ridge_ratio;
    a.scale = (float)l.scale;
    a.h_chunk = half(c.h_chunk);
    a.u_chunk = half(c.u_chunk);
    a.n_chunk = half(c.n_chunk);
    a.e_chunk = half(c.e_chunk);
    a.dx = half(c.dx);
    a.rest = layer ? half(c.rest) : nullptr;
    if (l.accurate)
        place_low_parts(l, c, workspace, layer, a);
    a.along = single(c.along);
    a.w = single(c.w);
    a.carry = single(c.carry);
    a.beta = single(c.beta);
    a.n_inner = single(c.n_inner);
    a.e_inner = single(c.e_inner);
    place_final_states(d, c, workspace, a);
    a.dq = static_cast<element *>(d.dq);
    const bool grouped = l.H != l.G;
    a.dk = grouped ? half(c.dk) : static_cast<element *>(d.dk);
    a.dv = grouped && layer ? half(c.dv) : static_cast<element *>(d.dv);
    a.dalpha = static_cast<element *>(d.dalpha);
    a.dg = d.dg;
    a.dh0 = d.dh0;
    a.du0 = layer ? d.du0 : nullptr;
    if (layer) {
        const cudaError_t error = launch_grad_output<D>(s, l.accurate, a, stream);
        if (error != cudaSuccess)
            return error;
    }
    SolveArguments solve = {};
    solve.q = layer ? a.dx : static_cast<const element *>(d.dx);
    solve.k = k;
    solve.h_chunk = a.h_chunk;
    solve.cumulative = cumulative;
    solve.fro = l.fro;
    solve.load_fro = true;
    solve.x = layer ? half(c.p) : static_cast<element *>(d.dq); /* the solve's own dq is p */
    if (l.accurate) {
        solve.rhs = layer ? a.dx_single : nullptr;
        solve.x_low = half(c.p_low);
    }
    solve.ridge_ratio = a.ridge_ratio;
    solve.num_iter = l.num_iter;
    const cudaError_t error = launch_solve<D>(s, form_of(l), l.accurate, solve, stream);
    if (error != cudaSuccess)
        return error;
    a.p = solve.x;
    const cudaError_t grads = launch_grads<D>(s, l.accurate, a, stream);
    if (grads != cudaSuccess || !grouped)
        return grads;
    launch_group(s, D, a.dk, static_cast<element *>(d.dk), stream);
    if (layer)
        launch_group(s, l.V, a.dv, static_cast<element *>(d.dv), stream);
    return cudaGetLastError();
}

} // namespace

size_t workspace_size(const gka_cuda_layer &layer) {
    return cut(layer).end;
}

size_t workspace_size(const gka_cuda_layer &layer, const gka_cuda_gradient &gradient) {
    return cut(layer, gradient).end;
}

cudaError_t forward(const gka_cuda_layer &layer, void *workspace, cudaStream_t stream) {
    unsigned char *const bytes = static_cast<unsigned char *>(workspace);
    return layer.D == 64 ? forward<64>(layer, bytes, stream) : forward<128>(layer, bytes, stream);
}

cudaError_t backward(const gka_cuda_layer &layer, const gka_cuda_gradient &gradient,
                     void *workspace, cudaStream_t stream) {
    unsigned char *const bytes = static_cast<unsigned char *>(workspace);
    return layer.D == 64 ? backward<64>(layer, gradient, bytes, stream)
                         : backward<128>(layer, gradient, bytes, stream);
}

} // namespace GKA_CUDA_ELEMENTS
} // namespace gka
