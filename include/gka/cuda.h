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

/* Device pointers, row-major, contiguous, 16-byte aligned. Letters as in gka/problem.h. Tensors of
 * "half" numbers are bf16, or fp16 throughout. */
typedef struct gka_cuda_layer {
    int64_t B, T, H, G, D;     /* D 64 or 128; H a multiple of G */
    int64_t V;                 /* 64, 128 or 256; 0: D */
    int64_t N;                 /* with cu_seqlens: sequences packed along T, up to 65535; B = 1 */
    double ridge_ratio, scale; /* used as binary32 */
    int num_iter;
    gka_form form;   /* two-term (consistent rounding, NUMERICS 3), or three-term as released */
    int accurate;    /* 0; or 1: two bf16 parts where the solve's result is used again (two-term) */
    int fp16;        /* 0: half numbers are bf16; 1: fp16 */
    int half_states; /* decode: 0, or 1: the four states are half numbers, not fp32 */
    const void *q;   /* half [B,T,H,D] */
    const void *k;   /* half [B,T,G,D] */
    const void *v;   /* half [B,T,G,V]; NULL: the solve alone */
    const void *alpha; /* half [B,T,H]; NULL: 1 */
    const float *g;    /* [B,T,H], natural log, finite, <= 0; NULL: ungated */
    /* States: one a sequence, so with cu_seqlens N of them in the place of B. */
    const void *h0;            /* fp32 [B,H,D,D]; NULL: 0 */
    const void *u0;            /* fp32 [B,H,D,V]; NULL: 0 */
    const int64_t *cu_seqlens; /* [N+1], bounds that ascend from 0 to T (not checked); NULL: none */
    /* decode: [B], which state of h0, u0, h_final and u_final a sequence has, negative: the
     * sequence is left alone; NULL: its own number */
    const int32_t *state_indices;
    /* outputs; NULL: not wanted, except x and fro, which may be missing only together with o: then
     * the forward computes the final states alone */
    void *x;       /* half [B,T,H,D] */
    void *x_low;   /* half [B,T,H,D]; accurate: what x leaves, needed by the backward */
    float *fro;    /* [B,T,H] */
    void *o;       /* half [B,T,H,V] */
    void *h_final; /* fp32 [B,H,D,D] */
    void *u_final; /* fp32 [B,H,D,V] */
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

/* A backward in three calls, in this order, with the same arguments and the same workspace, which
 * nobody else writes meanwhile: SOLVE needs no cotangent of a final state, SUFFIX writes dh0 and
 * du0, REST all other gradients. So one device solves while another makes the cotangents. */
typedef enum gka_cuda_part {
    GKA_CUDA_ALL,
    GKA_CUDA_SOLVE,
    GKA_CUDA_SUFFIX,
    GKA_CUDA_REST
} gka_cuda_part;

/* Cotangent in, gradients out; NULL: not wanted, except dq and dk. Give dout (of o: the layer) or
 * dx (of x: the solve alone). */
typedef struct gka_cuda_gradient {
    const void *dout; /* half [B,T,H,V] */
    const void *dx;   /* half [B,T,H,D] */
    void *dq;         /* half [B,T,H,D] */
    void *dk;         /* half [B,T,G,D] */
    void *dv;         /* half [B,T,G,V]; the layer only */
    void *dalpha;     /* half [B,T,H]; the layer only */
    float *dg;        /* [B,T,H] */
    float *dh0, *du0; /* as h0 and u0 */
    /* cotangents of the final states, as those; NULL: 0. Of dh_final the symmetric part counts;
     * du_final is the layer's only. */
    const float *dh_final, *du_final;
    /* One sequence on several devices: each has a segment of it that ends with a chunk (a multiple
     * of 64 tokens; the last one need not), and every bit is that of one device. To the next
     * segment go h_final and u_final, as its h0 and u0. To the one before go dh0 and du0 as the
     * kernels hold them, which are gradients only up to a factor: */
    int to_previous; /* 1: so dh0 and du0 are written */
    int from_next;   /* 1: so dh_final and du_final, which must be there, were written */
    gka_cuda_part part;
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
 * and u_final may be u0. Half states are rounded when they are stored, not before they are used. */
GKA_API gka_status gka_cuda_decode(const gka_cuda_layer *layer, void *stream, gka_error *error);

#ifdef __cplusplus
}
#endif
#endif
