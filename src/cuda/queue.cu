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

/* A layer's tensors and its workspace, by type. */
struct Tensors {
    const gka_cuda_layer &l;
    unsigned char *const workspace;
    const Shape s;
    const element *const q, *const k, *const v, *const alpha;
    float *const cumulative; /* G; nullptr: ungated */

    Tensors(const gka_cuda_layer &layer, unsigned char *memory, size_t cumulative_at)
        : l(layer), workspace(memory), s(shape_of(layer)), q(half(layer.q)), k(half(layer.k)),
          v(half(layer.v)), alpha(half(layer.alpha)),
          cumulative(layer.g == nullptr ? nullptr : single_at(cumulative_at)) {}
    static const element *half(const void *tensor) { return static_cast<const element *>(tensor); }
    element *half_at(size_t at) const { return reinterpret_cast<element *>(workspace + at); }
    element *low_at(size_t at) const { return l.accurate ? half_at(at) : nullptr; }
    float *single_at(size_t at) const { return reinterpret_cast<float *>(workspace + at); }
};

/* Gates, snapshots of H (and of U where u is given), and where the states' ends go. */
struct Snapshots {
    element *h, *u, *u_low;
    float *h_end, *u_end;
};

template <int D>
void queue_states(const Tensors &t, const Snapshots &to, bool with_u, cudaStream_t stream) {
    const float *const h0 = static_cast<const float *>(t.l.h0), *const u0 =
                                                                    static_cast<const float *>(
                                                                        t.l.u0);
    const StateArguments of_h = {t.k, t.l.D, h0, to.h, nullptr, to.h_end},
                         of_u = {t.v, t.l.V, u0, to.u, to.u_low, to.u_end};
    launch_gates(t.s, t.l.g, t.cumulative, stream);
    launch_states<D>(t.s, t.k, t.cumulative, of_h, with_u ? &of_u : nullptr, stream);
}

/* What a solve needs whatever its right-hand side is. */
SolveArguments solve_of(const Tensors &t, const element *h_chunk) {
    SolveArguments a = {};
    a.k = t.k;
    a.h_chunk = h_chunk;
    a.cumulative = t.cumulative;
    a.fro = t.l.fro;
    a.ridge_ratio = (float)t.l.ridge_ratio;
    a.num_iter = t.l.num_iter;
    return a;
}

template <int D>
cudaError_t forward(const gka_cuda_layer &l, unsigned char *workspace, cudaStream_t stream) {
    const Cut c = cut(l);
    const Tensors t(l, workspace, c.cumulative);
    const Snapshots states = {t.half_at(c.h_chunk), t.half_at(c.u_chunk), t.low_at(c.u_low),
                              static_cast<float *>(l.h_final), static_cast<float *>(l.u_final)};
    queue_states<D>(t, states, l.o != nullptr || l.u_final != nullptr, stream);
    if (l.x == nullptr)
        return cudaGetLastError();
    SolveArguments a = solve_of(t, states.h);
    a.q = t.q;
    a.x = static_cast<element *>(l.x);
    a.x_low = static_cast<element *>(l.x_low);
    a.v = t.v;
    a.alpha = t.alpha;
    a.u_chunk = states.u;
    a.u_low = states.u_low;
    a.o = static_cast<element *>(l.o);
    a.output_scale = (float)l.scale;
    const cudaError_t error = launch_solve<D>(t.s, form_of(l), l.accurate, a, stream);
    return error != cudaSuccess ? error : cudaGetLastError();
}

/* The workspace of the backward, in order. */
struct GradientCut {
    size_t cumulative, h_chunk, u_chunk, n_chunk, e_chunk, dx, rest, p, along, w, carry, energy,
        beta, n_inner, e_inner, dk, dv, p_low, u_low, n_low, e_low, h_end, u_end, n_end, e_end, end;
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
    c.energy = take(l.accurate ? 0 : tokens * 4);
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
void place_low_parts(const Tensors &t, const GradientCut &c, bool layer, GradArguments &a) {
    a.x_low = Tensors::half(t.l.x_low);
    a.p_low = t.half_at(c.p_low);
    a.u_low = t.half_at(c.u_low);
    a.n_low = t.half_at(c.n_low);
    a.e_low = t.half_at(c.e_low);
    a.dx_single = t.single_at(c.dx);
    a.rest_single = layer ? t.single_at(c.rest) : nullptr;
}

/* Cotangents of the final states, and where those states and their sums are kept. */
void place_final_states(const Tensors &t, const gka_cuda_gradient &d, const GradientCut &c,
                        GradArguments &a) {
    a.dh_final = d.dh_final;
    a.du_final = d.du_final;
    a.from_next = d.from_next;
    a.to_previous = d.to_previous;
    a.h_end = t.single_at(c.h_end);
    a.u_end = t.single_at(c.u_end);
    a.n_end = t.single_at(c.n_end);
    a.e_end = t.single_at(c.e_end);
}

GradArguments arguments_of(const Tensors &t, const gka_cuda_gradient &d, const GradientCut &c) {
    const gka_cuda_layer &l = t.l;
    const bool layer = d.dout != nullptr, grouped = l.H != l.G;
    GradArguments a = {};
    a.q = t.q;
    a.k = t.k;
    a.v = t.v;
    a.alpha = t.alpha;
    a.x = Tensors::half(l.x);
    a.p = layer ? t.half_at(c.p) : Tensors::half(d.dq); /* the solve's own dq is p */
    a.dout = Tensors::half(d.dout);
    a.fro = l.fro;
    a.cumulative = t.cumulative;
    a.ridge_ratio = (float)l.ridge_ratio;
    a.scale = (float)l.scale;
    a.h_chunk = t.half_at(c.h_chunk);
    a.u_chunk = t.half_at(c.u_chunk);
    a.n_chunk = t.half_at(c.n_chunk);
    a.e_chunk = t.half_at(c.e_chunk);
    a.dx = t.half_at(c.dx);
    a.rest = layer ? t.half_at(c.rest) : nullptr;
    if (l.accurate)
        place_low_parts(t, c, layer, a);
    a.along = t.single_at(c.along);
    a.w = t.single_at(c.w);
    a.carry = t.single_at(c.carry);
    a.energy = l.accurate || d.dg == nullptr ? nullptr : t.single_at(c.energy);
    a.beta = t.single_at(c.beta);
    a.n_inner = t.single_at(c.n_inner);
    a.e_inner = t.single_at(c.e_inner);
    place_final_states(t, d, c, a);
    a.dq = static_cast<element *>(d.dq);
    a.dk = grouped ? t.half_at(c.dk) : static_cast<element *>(d.dk);
    a.dv = grouped && layer ? t.half_at(c.dv) : static_cast<element *>(d.dv);
    a.dalpha = static_cast<element *>(d.dalpha);
    a.dg = d.dg;
    a.dh0 = d.dh0;
    a.du0 = layer ? d.du0 : nullptr;
    return a;
}

/* What needs no cotangent of a final state: dalpha, p, w. */
template <int D>
cudaError_t queue_solve(const Tensors &t, const gka_cuda_gradient &d, const GradientCut &c,
                        const GradArguments &a, cudaStream_t stream) {
    const bool layer = d.dout != nullptr;
    const Snapshots states = {t.half_at(c.h_chunk), t.half_at(c.u_chunk), t.low_at(c.u_low),
                              d.dh_final != nullptr ? t.single_at(c.h_end) : nullptr,
                              d.du_final != nullptr ? t.single_at(c.u_end) : nullptr};
    queue_states<D>(t, states, layer, stream);
    if (layer) {
        const cudaError_t error = launch_grad_output<D>(t.s, t.l.accurate, a, stream);
        if (error != cudaSuccess)
            return error;
    }
    SolveArguments solve = solve_of(t, a.h_chunk);
    solve.q = layer ? a.dx : Tensors::half(d.dx);
    solve.load_fro = true;
    solve.x = const_cast<element *>(a.p);
    solve.forward_x = a.x;
    solve.energy = const_cast<float *>(a.energy);
    if (t.l.accurate) {
        solve.rhs = layer ? a.dx_single : nullptr;
        solve.x_low = t.half_at(c.p_low);
    }
    const cudaError_t error = launch_solve<D>(t.s, form_of(t.l), t.l.accurate, solve, stream);
    launch_weights<D>(t.s, t.l.accurate, a, stream);
    return error;
}

template <int D>
cudaError_t backward(const gka_cuda_layer &l, const gka_cuda_gradient &d, unsigned char *workspace,
                     cudaStream_t stream) {
    const GradientCut c = cut(l, d);
    const Tensors t(l, workspace, c.cumulative);
    const GradArguments a = arguments_of(t, d, c);
    const auto wanted = [&](gka_cuda_part part) {
        return d.part == GKA_CUDA_ALL || d.part == part;
    };
    if (wanted(GKA_CUDA_SOLVE)) {
        const cudaError_t error = queue_solve<D>(t, d, c, a, stream);
        if (error != cudaSuccess)
            return error;
    }
    if (wanted(GKA_CUDA_SUFFIX))
        launch_suffix<D>(t.s, l.accurate, a, stream);
    if (wanted(GKA_CUDA_REST)) {
        const cudaError_t error = launch_grads<D>(t.s, l.accurate, a, stream);
        if (error != cudaSuccess)
            return error;
    }
    if (wanted(GKA_CUDA_REST) && l.H != l.G) {
        launch_group(t.s, D, a.dk, static_cast<element *>(d.dk), stream);
        if (d.dout != nullptr)
            launch_group(t.s, l.V, a.dv, static_cast<element *>(d.dv), stream);
    }
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
