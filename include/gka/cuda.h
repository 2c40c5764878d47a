/* gka/cuda.h - the layer on an NVIDIA GPU, on device pointers (built with -DGKA_CUDA=ON).
 *
 *   1  gka_cuda_layer            shapes, parameters, tensors
 *   2  gka_cuda_workspace_size   how much scratch memory a call needs
 *   3  gka_cuda_forward          x, f, o and the final states
 *   4  gka_cuda_backward         every gradient
 *   5  gka_cuda_decode           one token
 *
 * Every output is a function of the inputs alone, whatever the number of multiprocessors: the CPU
 * replays it bit for bit (gka/replay.h, kernel `cuda` of gka/kernel.h). Compute capability 8.0 or
 * later.
 */
#ifndef GKA_CUDA_H
#define GKA_CUDA_H

#include "gka/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1 the layer --------------------------------------------------------------------------- */

/* Device pointers, row-major, contiguous, 16-byte aligned. Letters as in gka/problem.h; V = D. */
typedef struct gka_cuda_layer {
    int64_t B, T, H, G, D;     /* D 64 or 128; H a multiple of G */
    double ridge_ratio, scale; /* used as binary32 */
    int num_iter;
    gka_form form; /* two-term (consistent rounding, NUMERICS 3), or three-term as released */
    int accurate;  /* 0; or 1: two bf16 parts where the solve's result is used again (two-term) */
    const void *q; /* bf16 [B,T,H,D] */
    const void *k, *v;    /* bf16 [B,T,G,D]; v NULL: the solve alone */
    const void *alpha;    /* bf16 [B,T,H]; NULL: 1 */
    const float *g;       /* [B,T,H], natural log, finite, <= 0; NULL: ungated */
    const float *h0, *u0; /* [B,H,D,D]; NULL: 0 */
    /* outputs; NULL: not wanted, except x and fro */
    void *x;                  /* bf16 [B,T,H,D] */
    void *x_low;              /* bf16 [B,T,H,D]; accurate: what x leaves, needed by the backward */
    float *fro;               /* [B,T,H] */
    void *o;                  /* bf16 [B,T,H,D] */
    float *h_final, *u_final; /* [B,H,D,D] */
} gka_cuda_layer;

/* ---- 2 workspace --------------------------------------------------------------------------- */

/* Bytes of device memory that a call on this layer uses as scratch. */
GKA_API size_t gka_cuda_workspace_size(const gka_cuda_layer *layer);

/* ---- 3 forward ----------------------------------------------------------------------------- */

/* Queued on stream (a cudaStream_t). GKA_BAD_ARGUMENT with a line when a size or a pointer is not
 * as above, GKA_INTERNAL with CUDA's own text when a launch fails. */
GKA_API gka_status gka_cuda_forward(const gka_cuda_layer *layer, void *workspace,
                                    size_t workspace_size, void *stream, gka_error *error);

/* ---- 4 backward ---------------------------------------------------------------------------- */

/* Cotangent in, gradients out; NULL: not wanted, except dq and dk. Give dout (of o: the layer) or
 * dx (of x: the solve alone). */
typedef struct gka_cuda_gradient {
    const void *dout; /* bf16 [B,T,H,D] */
    const void *dx;   /* bf16 [B,T,H,D] */
    void *dq;         /* bf16 [B,T,H,D] */
    void *dk;         /* bf16 [B,T,G,D] */
    void *dv;         /* likewise; the layer only */
    void *dalpha;     /* bf16 [B,T,H]; the layer only */
    float *dg;        /* [B,T,H] */
    float *dh0, *du0; /* [B,H,D,D] */
    /* cotangents of the final states, [B,H,D,D]; NULL: 0. Of dh_final the symmetric part counts;
     * du_final is the layer's only. */
    const float *dh_final, *du_final;
} gka_cuda_gradient;

GKA_API size_t gka_cuda_gradient_workspace_size(const gka_cuda_layer *layer,
                                                const gka_cuda_gradient *gradient);

/* layer as it was given to gka_cuda_forward, with the x and fro that it wrote; its other outputs
 * are not touched. */
GKA_API gka_status gka_cuda_backward(const gka_cuda_layer *layer, const gka_cuda_gradient *gradient,
                                     void *workspace, size_t workspace_size, void *stream,
                                     gka_error *error);

/* ---- 5 decode ------------------------------------------------------------------------------ */

/* One token (T = 1) in binary32 throughout, two-term whatever layer->form says; h_final may be h0
 * and u_final may be u0. */
GKA_API gka_status gka_cuda_decode(const gka_cuda_layer *layer, void *stream, gka_error *error);

#ifdef __cplusplus
}
#endif
#endif
