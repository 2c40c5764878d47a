/* api.cu - the calls of gka/cuda.h: arguments checked, then handed to the kernels of their type. */
#include "gka/cuda.h"

#include <cuda_runtime.h>

namespace gka {
#define KERNELS_OF(elements)                                                                       \
    namespace elements {                                                                           \
    size_t workspace_size(const gka_cuda_layer &);                                                 \
    size_t workspace_size(const gka_cuda_layer &, const gka_cuda_gradient &);                      \
    cudaError_t forward(const gka_cuda_layer &, void *workspace, cudaStream_t);                    \
    cudaError_t backward(const gka_cuda_layer &, const gka_cuda_gradient &, void *workspace,       \
                         cudaStream_t);                                                            \
    cudaError_t decode(const gka_cuda_layer &, cudaStream_t);                                      \
    }
KERNELS_OF(of_bf16)
KERNELS_OF(of_fp16)
#undef KERNELS_OF
} // namespace gka

namespace {

/* V as it is meant: D where it is 0. */
gka_cuda_layer completed(const gka_cuda_layer &layer) {
    gka_cuda_layer out = layer;
    out.V = layer.V == 0 ? layer.D : layer.V;
    return out;
}

/* states_alone: x and fro may be missing where the call computes no more than the final states. */
gka_status check(const gka_cuda_layer *l, bool states_alone, gka_error *error) {
    const bool output = l->o != nullptr || l->u_final != nullptr;
    const bool solves = !states_alone || l->x != nullptr || l->fro != nullptr || l->o != nullptr;
    if (l->D != 64 && l->D != 128)
        return gka_fail(error, GKA_BAD_ARGUMENT, "gka_cuda: D = %lld, expected 64 or 128",
                        (long long)l->D);
    if (l->V != 64 && l->V != 128 && l->V != 256)
        return gka_fail(error, GKA_BAD_ARGUMENT, "gka_cuda: V = %lld, expected 64, 128 or 256",
                        (long long)l->V);
    if (l->fp16 != 0 && l->fp16 != 1)
        return gka_fail(error, GKA_BAD_ARGUMENT, "gka_cuda: fp16 %d, expected 0 or 1", l->fp16);
    if (l->cu_seqlens != nullptr && (l->B != 1 || l->N < 1 || l->N > 65535))
        return gka_fail(
            error, GKA_BAD_ARGUMENT,
            "gka_cuda: B %lld and N %lld with cu_seqlens, expected B 1 and 1 <= N <= 65535",
            (long long)l->B, (long long)l->N);
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
    if (l->accurate && (l->form != GKA_TWO_TERM || (solves && l->x_low == nullptr)))
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "gka_cuda: accurate, expected form GKA_TWO_TERM and a place for x_low");
    if (l->q == nullptr || l->k == nullptr || (solves && (l->x == nullptr || l->fro == nullptr)) ||
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

} // namespace

size_t gka_cuda_workspace_size(const gka_cuda_layer *layer) {
    return gka::of_bf16::workspace_size(completed(*layer)); /* of fp16 the same */
}

gka_status gka_cuda_forward(const gka_cuda_layer *layer, void *workspace, size_t workspace_size,
                            void *stream, gka_error *error) {
    const gka_cuda_layer l = completed(*layer);
    const gka_status status = check(&l, true, error);
    if (status != GKA_OK)
        return status;
    if (l.half_states)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "gka_cuda: half_states, which only gka_cuda_decode takes");
    const size_t size = gka::of_bf16::workspace_size(l);
    if (workspace == nullptr || workspace_size < size)
        return gka_fail(error, GKA_BAD_ARGUMENT, "gka_cuda: a workspace of %zu bytes, expected %zu",
                        workspace_size, size);
    cudaStream_t const on = static_cast<cudaStream_t>(stream);
    return cuda_status(l.fp16 ? gka::of_fp16::forward(l, workspace, on)
                              : gka::of_bf16::forward(l, workspace, on),
                       error);
}

size_t gka_cuda_gradient_workspace_size(const gka_cuda_layer *layer,
                                        const gka_cuda_gradient *gradient) {
    return gka::of_bf16::workspace_size(completed(*layer), *gradient);
}

gka_status gka_cuda_backward(const gka_cuda_layer *layer, const gka_cuda_gradient *gradient,
                             void *workspace, size_t workspace_size, void *stream,
                             gka_error *error) {
    const gka_cuda_layer l = completed(*layer);
    const gka_status status = check(&l, false, error);
    if (status != GKA_OK)
        return status;
    const bool both = (gradient->dout != nullptr) == (gradient->dx != nullptr);
    if (both || gradient->dq == nullptr || gradient->dk == nullptr ||
        (gradient->dout != nullptr && (l.v == nullptr || gradient->dv == nullptr)))
        return gka_fail(
            error, GKA_BAD_ARGUMENT,
            "gka_cuda: expected dout (with v and dv) or dx, and dq and dk for the results");
    if (gradient->dout == nullptr && gradient->du_final != nullptr)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "gka_cuda: du_final is the layer's, expected dout beside it");
    if (l.half_states || (unsigned)gradient->part > GKA_CUDA_REST)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "gka_cuda: half_states %d and part %d, expected 0 and a gka_cuda_part",
                        l.half_states, (int)gradient->part);
    if (gradient->from_next && (gradient->dh_final == nullptr ||
                                (gradient->dout != nullptr && gradient->du_final == nullptr)))
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "gka_cuda: from_next, expected dh_final (and du_final with dout)");
    const size_t size = gka::of_bf16::workspace_size(l, *gradient);
    if (workspace == nullptr || workspace_size < size)
        return gka_fail(error, GKA_BAD_ARGUMENT, "gka_cuda: a workspace of %zu bytes, expected %zu",
                        workspace_size, size);
    cudaStream_t const on = static_cast<cudaStream_t>(stream);
    return cuda_status(l.fp16 ? gka::of_fp16::backward(l, *gradient, workspace, on)
                              : gka::of_bf16::backward(l, *gradient, workspace, on),
                       error);
}

gka_status gka_cuda_decode(const gka_cuda_layer *layer, void *stream, gka_error *error) {
    const gka_cuda_layer l = completed(*layer);
    const gka_status status = check(&l, false, error);
    if (status != GKA_OK)
        return status;
    if (l.T != 1 || l.cu_seqlens != nullptr)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "gka_cuda_decode: T = %lld%s, expected 1 and no cu_seqlens", (long long)l.T,
                        l.cu_seqlens != nullptr ? " with cu_seqlens" : "");
    cudaStream_t const on = static_cast<cudaStream_t>(stream);
    return cuda_status(l.fp16 ? gka::of_fp16::decode(l, on) : gka::of_bf16::decode(l, on), error);
}
