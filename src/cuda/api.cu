/* api.cu - the kernels behind gka/cuda.h: arguments checked, workspace cut, launches in order. */
#include "gka/cuda.h"

#include "cuda/kernels.cuh"

namespace {

using gka::Shape;

gka::Form form_of(const gka_cuda_layer &l) {
    return l.form == GKA_THREE_TERM ? gka::Form::ThreeTerm : gka::Form::TwoTerm;
}

Shape shape_of(const gka_cuda_layer &l) {
    return Shape{l.B, l.T, l.H, l.G};
}

/* The workspace: G (binary32), then the snapshots of H and U (bf16), each on a 256-byte line. */
struct Cut {
    size_t cumulative, h_chunk, u_chunk, u_low, end;
};

size_t line(size_t bytes) {
    return (bytes + 255) / 256 * 256;
}

Cut cut(const gka_cuda_layer &l) {
    const size_t heads = (size_t)l.B * (size_t)l.H,
                 states = heads * (size_t)shape_of(l).chunks() * l.D * l.D * 2;
    Cut c;
    c.cumulative = 0;
    c.h_chunk = l.g == nullptr ? 0 : line(heads * (size_t)l.T * 4);
    c.u_chunk = c.h_chunk + line(states);
    const size_t linear = l.o == nullptr && l.u_final == nullptr ? 0 : line(states);
    c.u_low = c.u_chunk + linear;
    c.end = c.u_low + (l.accurate ? linear : 0);
    return c;
}

gka_status check(const gka_cuda_layer *l, gka_error *error) {
    const bool output = l->o != nullptr || l->u_final != nullptr;
    if (l->D != 64 && l->D != 128)
        return gka_fail(error, GKA_BAD_ARGUMENT, "gka_cuda: D = %lld, expected 64 or 128",
                        (long long)l->D);
    if (l->B < 1 || l->B > 65535 || l->H < 1 || l->H > 65535 || l->T < 1 || l->G < 1 ||
        l->H % l->G != 0)
        return gka_fail(
            error, GKA_BAD_ARGUMENT,
            "gka_cuda: B %lld T %lld H %lld G %lld, expected 1 <= B, H <= 65535, T >= 1, H a "
            "multiple of G",
            (long long)l->B, (long long)l->T, (long long)l->H, (long long)l->G);
    if (!(l->ridge_ratio > 0) || l->num_iter < 1)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "gka_cuda: ridge_ratio %g num_iter %d, expected > 0 and >= 1",
                        l->ridge_ratio, l->num_iter);
    if (l->form != GKA_THREE_TERM && l->form != GKA_TWO_TERM)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "gka_cuda: form %d, expected GKA_THREE_TERM or GKA_TWO_TERM", (int)l->form);
    if (l->accurate && (l->form != GKA_TWO_TERM || l->x_low == nullptr))
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "gka_cuda: accurate, expected form GKA_TWO_TERM and a place for x_low");
    if (l->q == nullptr || l->k == nullptr || l->x == nullptr || l->fro == nullptr ||
        (output && l->v == nullptr))
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "gka_cuda: q, k, x and fro are needed, and v where o or u_final is wanted");
    return GKA_OK;
}

gka_status cuda_status(cudaError_t code, gka_error *error) {
    return code == cudaSuccess
               ? GKA_OK
               : gka_fail(error, GKA_INTERNAL, "gka_cuda: %s", cudaGetErrorString(code));
}

template <int D>
cudaError_t forward(const gka_cuda_layer &l, unsigned char *workspace, cudaStream_t stream) {
    const Shape s = shape_of(l);
    const Cut c = cut(l);
    using bf16 = __nv_bfloat16;
    float *const cumulative =
        l.g == nullptr ? nullptr : reinterpret_cast<float *>(workspace + c.cumulative);
    bf16 *const h_chunk = reinterpret_cast<bf16 *>(workspace + c.h_chunk);
    bf16 *const u_chunk = reinterpret_cast<bf16 *>(workspace + c.u_chunk);
    const bf16 *const k = static_cast<const bf16 *>(l.k), *const v = static_cast<const bf16 *>(l.v);

    gka::launch_gates(s, l.g, cumulative, stream);
    bf16 *const u_low = l.accurate ? reinterpret_cast<bf16 *>(workspace + c.u_low) : nullptr;
    const gka::StateArguments of_h = {k, l.h0, h_chunk, nullptr, l.h_final},
                              of_u = {v, l.u0, u_chunk, u_low, l.u_final};
    gka::launch_states<D>(s, k, cumulative, of_h,
                          l.o != nullptr || l.u_final != nullptr ? &of_u : nullptr, stream);
    gka::SolveArguments a = {};
    a.q = static_cast<const bf16 *>(l.q);
    a.k = k;
    a.h_chunk = h_chunk;
    a.cumulative = cumulative;
    a.fro = l.fro;
    a.x = static_cast<bf16 *>(l.x);
    a.ridge_ratio = (float)l.ridge_ratio;
    a.num_iter = l.num_iter;
    a.v = v;
    a.alpha = static_cast<const bf16 *>(l.alpha);
    a.u_chunk = u_chunk;
    a.u_low = u_low;
    a.x_low = static_cast<bf16 *>(l.x_low);
    a.o = static_cast<bf16 *>(l.o);
    a.output_scale = (float)l.scale;
    const cudaError_t error = gka::launch_solve<D>(s, form_of(l), l.accurate, a, stream);
    return error != cudaSuccess ? error : cudaGetLastError();
}

/* The workspace of the backward, in order. */
struct GradientCut {
    size_t cumulative, h_chunk, u_chunk, n_chunk, e_chunk, dx, rest, p, along, w, carry, beta,
        n_inner, e_inner, dk, dv, p_low, u_low, n_low, e_low, h_end, u_end, n_end, e_end, end;
};

GradientCut cut(const gka_cuda_layer &l, const gka_cuda_gradient &d) {
    const size_t heads = (size_t)l.B * (size_t)l.H, chunks = (size_t)shape_of(l).chunks();
    const size_t states = heads * chunks * (size_t)l.D * (size_t)l.D * 2,
                 tokens = heads * (size_t)l.T;
    const size_t tiles = (size_t)(l.D / 64) * (size_t)(l.D / 64);
    const bool layer = d.dout != nullptr;
    GradientCut c;
    size_t at = 0;
    const auto take = [&](size_t bytes) {
        const size_t place = at;
        at += line(bytes);
        return place;
    };
    c.cumulative = take(l.g == nullptr ? 0 : tokens * 4);
    c.h_chunk = take(states);
    c.n_chunk = take(states);
    c.u_chunk = take(layer ? states : 0);
    c.e_chunk = take(layer ? states : 0);
    const size_t handed = l.accurate ? 4 : 2; /* dx and rest: binary32 or bf16 */
    c.dx = take(layer ? tokens * (size_t)l.D * handed : 0);
    c.rest = take(layer ? tokens * (size_t)l.D * handed : 0);
    c.p = take(layer ? tokens * (size_t)l.D * 2 : 0);
    c.along = take(tokens * 4);
    c.w = take(tokens * 4);
    c.carry = take(tokens * 4);
    c.beta = take(heads * chunks * 4);
    c.n_inner = take(heads * chunks * tiles * 4);
    c.e_inner = take(heads * chunks * tiles * 4);
    const size_t by_head = l.H == l.G ? 0 : tokens * (size_t)l.D * 2;
    c.dk = take(by_head);
    c.dv = take(layer ? by_head : 0);
    c.p_low = take(l.accurate ? tokens * (size_t)l.D * 2 : 0);
    c.u_low = take(l.accurate && layer ? states : 0);
    c.n_low = take(l.accurate ? states : 0);
    c.e_low = take(l.accurate && layer ? states : 0);
    const size_t final_state = heads * (size_t)l.D * (size_t)l.D * 4;
    c.h_end = take(d.dh_final != nullptr ? final_state : 0);
    c.u_end = take(d.du_final != nullptr ? final_state : 0);
    c.n_end = take(heads * tiles * 4);
    c.e_end = take(heads * tiles * 4);
    c.end = at;
    return c;
}

/* Where the accurate kernels keep low parts, and dx and rest in binary32. */
void place_low_parts(const gka_cuda_layer &l, const GradientCut &c, unsigned char *workspace,
                     bool layer, gka::GradArguments &a) {
    using bf16 = __nv_bfloat16;
    const auto half = [&](size_t at) { return reinterpret_cast<bf16 *>(workspace + at); };
    a.x_low = static_cast<const bf16 *>(l.x_low);
    a.p_low = half(c.p_low);
    a.u_low = half(c.u_low);
    a.n_low = half(c.n_low);
    a.e_low = half(c.e_low);
    a.dx_single = reinterpret_cast<float *>(workspace + c.dx);
    a.rest_single = layer ? reinterpret_cast<float *>(workspace + c.rest) : nullptr;
}

/* Cotangents of the final states, and where those states and their sums are kept. */
void place_final_states(const gka_cuda_gradient &d, const GradientCut &c, unsigned char *workspace,
                        gka::GradArguments &a) {
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
    using bf16 = __nv_bfloat16;
    const Shape s = shape_of(l);
    const auto half = [&](size_t at) { return reinterpret_cast<bf16 *>(workspace + at); };
    const auto single = [&](size_t at) { return reinterpret_cast<float *>(workspace + at); };
    float *const cumulative = l.g == nullptr ? nullptr : single(c.cumulative);
    const bf16 *const k = static_cast<const bf16 *>(l.k), *const v = static_cast<const bf16 *>(l.v);
    gka::launch_gates(s, l.g, cumulative, stream);
    const gka::StateArguments of_h = {k, l.h0, half(c.h_chunk), nullptr,
                                      d.dh_final != nullptr ? single(c.h_end) : nullptr},
                              of_u = {v, l.u0, half(c.u_chunk),
                                      l.accurate ? half(c.u_low) : nullptr,
                                      d.du_final != nullptr ? single(c.u_end) : nullptr};
    gka::launch_states<D>(s, k, cumulative, of_h, d.dout != nullptr ? &of_u : nullptr, stream);
}

template <int D>
cudaError_t backward(const gka_cuda_layer &l, const gka_cuda_gradient &d, unsigned char *workspace,
                     cudaStream_t stream) {
    using bf16 = __nv_bfloat16;
    const Shape s = shape_of(l);
    const GradientCut c = cut(l, d);
    const bool layer = d.dout != nullptr;
    const auto half = [&](size_t at) { return reinterpret_cast<bf16 *>(workspace + at); };
    const auto single = [&](size_t at) { return reinterpret_cast<float *>(workspace + at); };
    float *const cumulative = l.g == nullptr ? nullptr : single(c.cumulative);
    const bf16 *const k = static_cast<const bf16 *>(l.k), *const v = static_cast<const bf16 *>(l.v);

    queue_states<D>(l, d, c, workspace, stream);
    gka::GradArguments a = {};
    a.q = static_cast<const bf16 *>(l.q);
    a.k = k;
    a.v = v;
    a.alpha = static_cast<const bf16 *>(l.alpha);
    a.x = static_cast<const bf16 *>(l.x);
    a.dout = static_cast<const bf16 *>(d.dout);
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
    a.dq = static_cast<bf16 *>(d.dq);
    const bool grouped = l.H != l.G;
    a.dk = grouped ? half(c.dk) : static_cast<bf16 *>(d.dk);
    a.dv = grouped && layer ? half(c.dv) : static_cast<bf16 *>(d.dv);
    a.dalpha = static_cast<bf16 *>(d.dalpha);
    a.dg = d.dg;
    a.dh0 = d.dh0;
    a.du0 = layer ? d.du0 : nullptr;
    if (layer) {
        const cudaError_t error = gka::launch_grad_output<D>(s, l.accurate, a, stream);
        if (error != cudaSuccess)
            return error;
    }
    gka::SolveArguments solve = {};
    solve.q = layer ? a.dx : static_cast<const bf16 *>(d.dx);
    solve.k = k;
    solve.h_chunk = a.h_chunk;
    solve.cumulative = cumulative;
    solve.fro = l.fro;
    solve.load_fro = true;
    solve.x = layer ? half(c.p) : static_cast<bf16 *>(d.dq); /* the solve's own dq is p */
    if (l.accurate) {
        solve.rhs = layer ? a.dx_single : nullptr;
        solve.x_low = half(c.p_low);
    }
    solve.ridge_ratio = a.ridge_ratio;
    solve.num_iter = l.num_iter;
    const cudaError_t error = gka::launch_solve<D>(s, form_of(l), l.accurate, solve, stream);
    if (error != cudaSuccess)
        return error;
    a.p = solve.x;
    const cudaError_t grads = gka::launch_grads<D>(s, l.accurate, a, stream);
    if (grads != cudaSuccess || !grouped)
        return grads;
    gka::launch_group(s, D, a.dk, static_cast<bf16 *>(d.dk), stream);
    if (layer)
        gka::launch_group(s, D, a.dv, static_cast<bf16 *>(d.dv), stream);
    return cudaGetLastError();
}

} // namespace

size_t gka_cuda_workspace_size(const gka_cuda_layer *layer) {
    return cut(*layer).end;
}

gka_status gka_cuda_forward(const gka_cuda_layer *layer, void *workspace, size_t workspace_size,
                            void *stream, gka_error *error) {
    const gka_status status = check(layer, error);
    if (status != GKA_OK)
        return status;
    if (workspace == nullptr || workspace_size < cut(*layer).end)
        return gka_fail(error, GKA_BAD_ARGUMENT, "gka_cuda: a workspace of %zu bytes, expected %zu",
                        workspace_size, cut(*layer).end);
    unsigned char *const bytes = static_cast<unsigned char *>(workspace);
    cudaStream_t const on = static_cast<cudaStream_t>(stream);
    return cuda_status(
        layer->D == 64 ? forward<64>(*layer, bytes, on) : forward<128>(*layer, bytes, on), error);
}

size_t gka_cuda_gradient_workspace_size(const gka_cuda_layer *layer,
                                        const gka_cuda_gradient *gradient) {
    return cut(*layer, *gradient).end;
}

gka_status gka_cuda_backward(const gka_cuda_layer *layer, const gka_cuda_gradient *gradient,
                             void *workspace, size_t workspace_size, void *stream,
                             gka_error *error) {
    const gka_status status = check(layer, error);
    if (status != GKA_OK)
        return status;
    const bool both = (gradient->dout != nullptr) == (gradient->dx != nullptr);
    if (both || gradient->dq == nullptr || gradient->dk == nullptr ||
        (gradient->dout != nullptr && (layer->v == nullptr || gradient->dv == nullptr)))
        return gka_fail(
            error, GKA_BAD_ARGUMENT,
            "gka_cuda: expected dout (with v and dv) or dx, and dq and dk for the results");
    if (gradient->dout == nullptr && gradient->du_final != nullptr)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "gka_cuda: du_final is the layer's, expected dout beside it");
    const size_t size = cut(*layer, *gradient).end;
    if (workspace == nullptr || workspace_size < size)
        return gka_fail(error, GKA_BAD_ARGUMENT, "gka_cuda: a workspace of %zu bytes, expected %zu",
                        workspace_size, size);
    unsigned char *const bytes = static_cast<unsigned char *>(workspace);
    cudaStream_t const on = static_cast<cudaStream_t>(stream);
    return cuda_status(layer->D == 64 ? backward<64>(*layer, *gradient, bytes, on)
                                      : backward<128>(*layer, *gradient, bytes, on),
                       error);
}

gka_status gka_cuda_decode(const gka_cuda_layer *layer, void *stream, gka_error *error) {
    const gka_status status = check(layer, error);
    if (status != GKA_OK)
        return status;
    if (layer->T != 1)
        return gka_fail(error, GKA_BAD_ARGUMENT, "gka_cuda_decode: T = %lld, expected 1",
                        (long long)layer->T);
    using bf16 = __nv_bfloat16;
    gka::DecodeArguments a = {};
    a.H = layer->H;
    a.Hkv = layer->G;
    a.q = static_cast<const bf16 *>(layer->q);
    a.k = static_cast<const bf16 *>(layer->k);
    a.v = static_cast<const bf16 *>(layer->v);
    a.alpha = static_cast<const bf16 *>(layer->alpha);
    a.g = layer->g;
    a.h0 = layer->h0;
    a.u0 = layer->u0;
    a.h_final = layer->h_final;
    a.u_final = layer->u_final;
    a.fro = layer->fro;
    a.x = static_cast<bf16 *>(layer->x);
    a.o = static_cast<bf16 *>(layer->o);
    a.ridge_ratio = (float)layer->ridge_ratio;
    a.scale = (float)layer->scale;
    a.num_iter = layer->num_iter;
    cudaStream_t const on = static_cast<cudaStream_t>(stream);
    return cuda_status(layer->D == 64 ? gka::launch_decode<64>(a, layer->B, on)
                                      : gka::launch_decode<128>(a, layer->B, on),
                       error);
}
