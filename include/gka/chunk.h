/* gka/chunk.h - the layer by chunks, as the exact formulas have it and as the H100 computes it.
 *
 *   1  gka_point                every rounding of the released kernels, with its switch
 *   2  gka_profile              device + switches + repairs: exact64, ieee32, h100
 *   3  gka_chunk_check          what is computed, and what a device can run
 *   4  gka_chunk_forward        x f o and the states (NUMERICS 4 and 5)
 *   5  gka_chunk_backward       dq dk dv dalpha dg dh0 of the solve or of the layer
 *   6  gka_chunk_decode         one token (NUMERICS 5)
 *   7  gka_chunk_by_segments    the tokens cut, states handed on: one sequence on several devices
 *   8  gka_chunk_spectrum       the largest eigenvalue against the interval the solver assumes
 *   9  gka_chunk_serve          a server's prefill and decode steps, as its kernels compute them
 *
 * The same code runs in exact64 (no rounding point on: the formulas of NUMERICS 4 in binary64, r
 * Chebyshev steps) and in h100 (all on: the bits of the released kernels, by default with num_warps
 * = 4). Results do not depend on threads.
 */
#ifndef GKA_CHUNK_H
#define GKA_CHUNK_H

#include "gka/arith.h"
#include "gka/base.h"
#include "gka/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1 rounding points --------------------------------------------------------------------- */

/* name, what the released kernel does there. "exact" leaves the value in the working precision of
 * the device (binary32 while `arithmetic` is released, else binary64). */
#define GKA_POINT_LIST(X)                                                                          \
    X(ARITHMETIC, "arithmetic", "elementwise work in fp32, fused where the compiler fused it")     \
    X(TENSOR_CORE, "tensor_core", "products truncated and accumulated by the tensor core")         \
    X(EXP, "exp", "fp32 product with log2 e, then ex2.approx")                                     \
    X(DIVIDE, "divide", "div.full")                                                                \
    X(SQRT, "sqrt", "sqrt.approx.ftz")                                                             \
    X(PARAMETERS, "parameters", "ridge ratio and scale rounded to fp32")                           \
    X(STATE_OPERAND, "state_operand", "bf16(k_j exp(G_C - G_j)) in the state update")              \
    X(STATE_SNAPSHOT, "state_snapshot", "the solver reads bf16(H_0)")                              \
    X(MASK, "mask", "M in bf16")                                                                   \
    X(NORM_SQUARE, "norm_square", "bf16(S * S), S = K K^T")                                        \
    X(NORM_REDUCE, "norm_reduce", "||H_0||_F^2 squared and summed in bf16")                        \
    X(OPERAND_X, "operand_x", "bf16(x) and bf16(x exp(G_t)) in the products of the iteration")     \
    X(OPERAND_SCORE, "operand_score", "bf16((x K^T) * M) in the iteration")                        \
    X(STORE_X, "store_x", "x (and p) stored in bf16")                                              \
    X(MIX, "mix", "q' = q + alpha (x - q) in three bf16 operations")                               \
    X(OUTPUT_STATE, "output_state", "the output stage reads bf16(U_0)")                            \
    X(OUTPUT_SCORE, "output_score", "bf16((q' K^T) * M) in the output stage")                      \
    X(STORE_O, "store_o", "o stored in bf16")                                                      \
    X(DECODE_OUTER, "decode_outer", "bf16(k k^T) in the one-token kernel")                         \
    X(GRAD_STATE, "grad_state", "chunk states of the backward pass, and their operands, in bf16")  \
    X(GRAD_OPERAND, "grad_operand", "operands of the products of the backward kernels in bf16")    \
    X(GRAD_DOT, "grad_dot", "<p_t, x_t>, a <p_t, x_t> and <D, H_0> summed in bf16")                \
    X(GRAD_WEIGHT, "grad_weight", "sum_t M_tj w_t M_ti from operands cut to tf32")                 \
    X(STORE_GRAD, "store_grad", "dk in two bf16 parts; dq, dv, dalpha and their parts in bf16")    \
    X(H0_SIGN, "h0_sign", "dh0 (and dh_final) in the released sign, dh0 without the ridge term")

typedef enum gka_point {
#define GKA_POINT_ENUM(id, name, text) GKA_POINT_##id,
    GKA_POINT_LIST(GKA_POINT_ENUM)
#undef GKA_POINT_ENUM
        GKA_POINT_COUNT
} gka_point;

GKA_API const char *gka_point_name(gka_point point);
GKA_API const char *gka_point_text(gka_point point);
GKA_API int gka_point_find(const char *name); /* -1: none */

/* ---- 2 profiles ---------------------------------------------------------------------------- */

/* To what the points operand_x and operand_score round, where they are released:
 *   bf16   as the released kernels do
 *   split  two bf16 numbers, high = bf16(x) and low = bf16(x - high): two products, low first
 *   tf32   11 significant bits, rounded to nearest even (cvt.rn.tf32); K and H_0 are bf16 numbers
 *   fp16   the same precision in fp16's range; K and the snapshot of H_0 are rounded to fp16 too
 *   scaled a format of at most 11 bits, by its name: e4m3, e5m2, or pPeE of gka/arith.h. Each row
 * is divided by the power of two that brings its largest element below the format's highest binade,
 * rounded to nearest even, and multiplied by it again. The product is that of the numbers it has
 * then, in bf16 up to 8 bits, in tf32 beyond: what a short operand loses, whatever unit multiplies
 * it. Rows whose largest element is no number go as they are */
typedef enum gka_operand {
    GKA_OPERAND_BF16,
    GKA_OPERAND_SPLIT,
    GKA_OPERAND_TF32,
    GKA_OPERAND_FP16,
    GKA_OPERAND_SCALED
} gka_operand;
GKA_API const char *gka_operand_name(gka_operand operand); /* "bf16", "split", "tf32", "fp16",
                                                              "scaled" */
GKA_API int gka_operand_find(const char *name);            /* -1: none; not "scaled" */

/* The autotuned kernels: those whose num_warps a run of the released code chooses by timing. Every
 * value in the lists was run on an H200 (scripts/gpu/capture_kernels.py); num_stages and the tile
 * sizes change no bit, and num_warps changes the orders of sums in six kernels alone:
 *   solve       H, f, x and the backward's p: 1, 2, 4, 8
 *   solve_dk    the suffix states of dk and dg (gated): 1, 2, 4, 8
 *   solve_dh    dg (gated) where lambda is not differentiated through: 1, 2, 4, 8
 *   states      chunk states, forward and back: changes nothing
 *   output      o: changes nothing
 *   output_bwd  gradients of the output stage: 2, 4
 *   gates       sums of log gates and of their gradients: 1 apart from 2, 4, 8
 *   decode      the one-token kernel of a server: 2, 4, 8 (its prefill's solve: solve) */
typedef enum gka_launch {
    GKA_LAUNCH_SOLVE,
    GKA_LAUNCH_SOLVE_DK,
    GKA_LAUNCH_SOLVE_DH,
    GKA_LAUNCH_STATES,
    GKA_LAUNCH_OUTPUT,
    GKA_LAUNCH_OUTPUT_BWD,
    GKA_LAUNCH_GATES,
    GKA_LAUNCH_DECODE,
    GKA_LAUNCHES
} gka_launch;
GKA_API const char *gka_launch_name(gka_launch kernel); /* "solve", "solve_dk", .. */

/* How an operand of eight bits is scaled before it is rounded: x_i = s e_i, e_i a number of the
 * format, s = m / max_finite in binary32, m the largest size of what shares the scale. */
typedef enum gka_scales {
    GKA_SCALES_ROWS,   /* each row of the left operand and each column of the right one, along which
                          the product sums, has a scale */
    GKA_SCALES_POWERS, /* the same, each scale rounded up to a power of two */
    GKA_SCALES_TILE,   /* one for a tile's whole operand; rows or columns with a number that is not
                          finite have no part in it */
    GKA_SCALES_NONE,   /* s = 1 */
    GKA_SCALES_COUNT
} gka_scales;
GKA_API const char *gka_scales_name(gka_scales scales); /* "rows", ... */

typedef struct gka_profile {
    const char *name;
    const gka_device *device;
    gka_form form;
    uint32_t released; /* bit i: point i as released; 0: exact */
    /* Repairs: what could be changed in the released kernels. */
    gka_operand operand;
    gka_format scaled; /* of GKA_OPERAND_SCALED */
    int store;   /* bf16 parts to which the point store_x rounds x and p: 1, or 2 (as split). Every
                    later stage reads both parts, with <p_t, x_t> then in fp32 */
    int handoff; /* bf16 parts of what the layer's stages hand over, q', dq' and dx: 1, or 2 (then
                    q' is rounded once, from fma(alpha, x - q, q)) */
    double least_gate; /* finite log gates below it are taken as it; 0: as they are */
    double margin;     /* m: the spectrum is taken to lie in [a f, (a + 1 + m) f]; [0, 1] */
    int num_iter;      /* in place of the problem's; 0: the problem's */
    int num_warps[GKA_LAUNCHES]; /* of each autotuned kernel: 1, 2, 4 or 8; 0: 4 */
    /* The inputs are fp16 numbers, and so is whatever the kernels round to bf16 above: they cast to
     * the type of their operands, as the hardware's files show. Beyond 65504 a number is Inf then:
     * with norm_reduce released every f above 256. */
    bool fp16;
    /* States pass from chunk to chunk in the inputs' type, not in binary32, forward and back:
     * kernels that hand them on through memory. Final states are what the last chunk computed. */
    bool low_states;
    /* H and U after each chunk are rounded to this format as they lie in memory, row after row, and
     * whoever reads them reads that: the next chunk, the norm, the final states. Cotangents of
     * states are not. At most one of the two; NULL: they are not rounded so. */
    const gka_format *state_format;
    const gka_block_format *state_blocks;
    /* GKA_MMA_E4M3 or GKA_MMA_E5M2: wherever both operands of a product on the matrix unit are
     * 16-bit numbers, they are rounded to this format (to nearest, saturating), multiplied from +0
     * by the device's unit for it, and C becomes fma(s_i s_j, sum, C) in binary32. No released
     * kernel does this; it is what FP8 attention kernels do. 0: nothing is. */
    gka_mma_input fp8;
    gka_scales scales; /* of fp8 */
    int promote; /* of fp8: so many products are summed by the unit, then added to a binary32 sum
                    to nearest; 0: the unit sums all of them. */
} gka_profile;

/* "exact64" (binary64, no point released), "ieee32" (binary32 with fused multiply-adds in order,
 * no bf16), "h100" (all points released). Three-term, nothing repaired. GKA_BAD_ARGUMENT for any
 * other name. */
GKA_API gka_status gka_profile_find(const char *name, gka_profile *profile, gka_error *error);
/* Applies one setting: POINT=exact|released (POINT may be all), form=NAME, operand=NAME, store=1|2,
 * handoff=1|2, margin=M (a number, or a power of two as 2^-6), num_iter=N, inputs=bf16|fp16,
 * states=working|low|FORMAT (of gka_format_find or gka_block_format_find), fp8 (e4m3) or
 * fp8=e4m3|e5m2, then scales=rows|powers|tile|none (rows) and promote=N (128, or 0 where the unit
 * does so itself), KERNEL.num_warps=1|2|4|8 (gka_launch; all.num_warps sets every kernel that has
 * the value in its list, num_warps the solver's alone). GKA_BAD_ARGUMENT with a line. */
GKA_API gka_status gka_profile_set(gka_profile *profile, const char *setting, gka_error *error);
static inline bool gka_profile_has(const gka_profile *profile, gka_point point) {
    return profile->released >> point & 1u;
}

/* ---- 3 results ----------------------------------------------------------------------------- */

/* The values in gka_outputs (gka/problem.h) are what the kernel would store (bf16 or fp32 numbers
 * in h100). */

/* GKA_BAD_ARGUMENT with a line when the profile's device does not pass gka_device_check;
 * GKA_UNSUPPORTED with one when it cannot run the problem: a tensor core
 * wants D, V and C to be multiples of 16 and inputs of the profile's type; two parts (store,
 * handoff, operand=split) are of bf16 alone; fp8 wants a unit for it, and promote a multiple of
 * that unit's group (0 where the unit promotes by itself). Grouped heads or packed sequences have
 * no released training kernel (the same arithmetic is used for them). */
GKA_API gka_status gka_chunk_check(const gka_problem *problem, const gka_profile *profile,
                                   gka_error *error);

/* ---- 4 forward ----------------------------------------------------------------------------- */

/* What happened on the way; may be NULL. */
typedef struct gka_chunk_report {
    int64_t empty_states; /* tokens with f = 0: x = 0 (exact64), NaN (h100) */
    int64_t nonfinite;    /* elements of x that are NaN or Inf */
    /* Of all matrix products, counted as they are computed: whole tiles, so that a ragged end costs
     * as much as a whole one. Elementwise work (about 1/D of it) is not counted. */
    int64_t multiply_adds;
} gka_chunk_report;

/* Bytes of workspace for forward or backward with `workers` threads. */
GKA_API size_t gka_chunk_workspace(const gka_problem *problem, const gka_profile *profile,
                                   int workers);

/* Fills x fro g_cumsum o h_chunk h_final u_final. Streams over T in memory that does not depend on
 * T. workspace: gka_chunk_workspace bytes for gka_threads() workers, aligned to 64; NULL: taken
 * and given back here. */
GKA_API gka_status gka_chunk_forward(const gka_problem *problem, const gka_profile *profile,
                                     gka_outputs *out, void *workspace, gka_chunk_report *report,
                                     gka_error *error);

/* ---- 5 backward ---------------------------------------------------------------------------- */

/* What passes from right to left within one sequence, so that the backward pass can be run piece by
 * piece, the rightmost piece first.
 *
 * gka_chunk_carry_start fills it with what stands right of the last token: the cotangents of the
 * final states. Each piece reads it, as what the tokens on its right send back, and leaves there
 * what its own left end sends on.
 *
 * A run by pieces has the bits of one run, in every profile, under two conditions. Every cut is a
 * multiple of C and of the output stage's tile (64 tokens in the kernels). And the piece's initial
 * states h0, u0 are the states that the forward pass has at the cut.
 *
 * E and Z are kept apart because the kernels round them apart; their sum, dh0, would not do. */
typedef struct gka_chunk_carry {
    double *E, *Z; /* [N,H,D,D] of sums of p x^T and of (2 a <p,x>/f) H */
    double *dU;    /* [N,H,D,V]; NULL for the solve */
    int64_t T;     /* tokens of the whole sequence */
} gka_chunk_carry;
GKA_API void gka_chunk_carry_start(const gka_problem *problem, const gka_profile *profile,
                                   const gka_chunk_carry *carry);

/* What a backward pass is handed: upstream tensors to differentiate at in place of the profile's
 * own (no h_chunk: GKA_UNSUPPORTED; p is used as it is, already rounded), and of a piece of a
 * sequence what the tokens on its right send back. */
typedef struct gka_chunk_given {
    gka_upstream at;
    gka_chunk_carry carry; /* read and written; E NULL: none, this is all of the sequence */
    bool own; /* x and fro are what this profile's forward pass has left, not other numbers */
} gka_chunk_given;

/* Fills p dq dk dg dh0 of out->gradient[of], and for the layer dv dalpha du0 (du0 of the solve: 0);
 * forward members that are not NULL are filled too. bp_lambda: differentiate through the ridge
 * lambda = a ||H||_F (the released default). Memory beside the workspace: x, f and, per worker, two
 * rows of T D and 2 sqrt(T/C) states. Grouped heads: dk and dv are summed over the query heads of a
 * group. given may be NULL. */
GKA_API gka_status gka_chunk_backward(const gka_problem *problem, const gka_profile *profile,
                                      gka_of of, bool bp_lambda, const gka_chunk_given *given,
                                      gka_outputs *out, gka_error *error);

/* ---- 6 decode ------------------------------------------------------------------------------ */

/* One token (T = 1) from the states h0, as the one-token kernel computes it: no tensor core,
 *   H = fma(h0, gamma, bf16(k k^T)); y = h0 (gamma x) + bf16(k k^T) x, the two summed apart.
 * Three-term only (GKA_UNSUPPORTED otherwise); of the repairs store, margin and num_iter count.
 * Fills x fro h_final. D a power of two of at least 32 for a device with a tensor core. */
GKA_API gka_status gka_chunk_decode_check(const gka_problem *problem, const gka_profile *profile,
                                          gka_error *error);
GKA_API gka_status gka_chunk_decode(const gka_problem *problem, const gka_profile *profile,
                                    gka_outputs *out, gka_error *error);

/* ---- 7 segments ---------------------------------------------------------------------------- */

/* How the states pass between the segments of a sequence.
 *
 *   GKA_SEGMENTS_RELAY  a segment starts from the states (H, U) that the one before it ended with,
 *                       and its reverse from the cotangents dh0, du0 of the one after it. Where the
 *                       bounds are multiples of C (and of the output stage's tile) exact64 gives
 *                       the bits of one run.
 *   GKA_SEGMENTS_SCAN   as the released sequence-parallel path does it: each segment runs from zero
 *                       and sends (H, U, sum of g); a scan S <- local + exp(sum g) S gives the
 *                       states before each, from which it runs again. In reverse each segment sends
 *                       its own dh0, du0; the same scan from the right gives the cotangent of each
 *                       one's final states, whose gradients, through the states alone, are added.
 *                       Sums are rounded to the working precision, those of dk and dv as stored.
 *
 * Both are the same in exact arithmetic. In a profile with `h0_sign` released, what passes from
 * right to left lacks the ridge term of dh0. */
typedef enum gka_segments { GKA_SEGMENTS_RELAY, GKA_SEGMENTS_SCAN } gka_segments;

/* Forward and backward by segments bounds[i] .. bounds[i + 1], i < count: bounds run from 0 to T
 * without decreasing. Fills what gka_chunk_backward fills and h_final, u_final; h_chunk is left.
 * cu_seqlens NULL. Memory: the tensors of the longest segment, 4 states a segment. */
GKA_API gka_status gka_chunk_by_segments(const gka_problem *problem, const gka_profile *profile,
                                         gka_of of, bool bp_lambda, gka_segments segments,
                                         int64_t count, const int64_t *bounds, gka_outputs *out,
                                         gka_error *error);

/* ---- 8 spectrum ---------------------------------------------------------------------------- */

/* lambda_max [B,T,H]: the largest eigenvalue of H_t by Lanczos' method, from below, until doubling
 * its steps changes it by 1e-13 at most; NaN where a square overflows. fro [B,T,H]: ||H_t||_F.
 * States token by token in binary64. */
GKA_API gka_status gka_chunk_spectrum(const gka_problem *problem, double *lambda_max, double *fro,
                                      gka_error *error);

/* One state H_t and its ridge lambda = a f, f = ||H_t||_F. */
typedef struct gka_conditioning {
    double f, smallest, largest; /* and the eigenvalues of H_t at its ends; 0 below
                                    2^-48 of the largest */
    double kappa;   /* (largest + lambda)/(smallest + lambda); infinite where H + lambda I
                       is not positive definite */
    double share;   /* kappa over its bound (a + 1)/a */
    double rank;    /* effective: (tr H)^2/f^2, 1 for one direction, D for all alike */
    double freedom; /* degrees of freedom of the regression: tr H (H + lambda I)^-1 */
    double mean;    /* length of the mean of the unit keys so far (gates apart) */
} gka_conditioning;

/* out [N,H,count]: of each sequence and head after its first tokens[i] tokens, tokens increasing;
 * NaN where the sequence has fewer, or f = 0. H as in gka_chunk_spectrum; the trace by Cholesky. */
GKA_API gka_status gka_chunk_conditioning(const gka_problem *problem, int64_t count,
                                          const int64_t *tokens, gka_conditioning *out,
                                          gka_error *error);

/* How the residual along an eigenvector with eigenvalue (1 + e) f changes in r steps on the
 * interval [a f, (a + 1 + margin) f]: T_{r+1}(2 (1 + e)/(1 + margin) - 1) over
 * T_{r+1}(1 + 2 a/(1 + margin)) (NUMERICS 1); above 1 it grows. */
GKA_API double gka_chunk_residual_factor(double e, double a, double margin, int r);

/* ---- 9 serving ----------------------------------------------------------------------------- */

/* How a state is kept between two tokens. The authors' server knows the first three; e4m3 has one
 * scale in binary32 for a state (its largest element becomes 448), bf16-stochastic rounds at
 * random (16 bits of a stream), bf16-pair keeps bf16(S) and bf16(S - bf16(S)); mxfp8-e4m3,
 * mxfp6-e2m3 and mxfp4 are the formats of that name (gka_block_format), along the rows. */
typedef enum gka_state_type {
    GKA_STATE_FP32,
    GKA_STATE_BF16,
    GKA_STATE_FP16,
    GKA_STATE_E4M3,
    GKA_STATE_BF16_STOCHASTIC,
    GKA_STATE_BF16_PAIR,
    GKA_STATE_MXFP8,
    GKA_STATE_MXFP6,
    GKA_STATE_MXFP4,
    GKA_STATE_TYPES
} gka_state_type;
GKA_API const char *gka_state_name(gka_state_type type); /* "fp32", .. */
GKA_API int gka_state_bits(gka_state_type type);         /* of an element */

/* A server's run: a prefill of the first tokens by chunks, then one token after another from the
 * states that the one before left. The problem is as the server has it, not folded: beta and
 * q, k before they are normalised (normalise is not read: the kernels do it). */
typedef struct gka_serving {
    int64_t prefill;               /* tokens of each sequence; packed sequences: T (all), or 0 */
    gka_state_type h_type, u_type; /* of the states as they are kept between tokens */
    uint64_t seed;                 /* of stochastic rounding; read where one of them asks for it */
    /* The prefill in several calls, each from the states before it, and each in chunks of its own
     * size: min(64, the power of two that holds its tokens, at least 16). Not of packed sequences,
     * whose chunks are as long as all their tokens together ask for. */
    int cuts;
    const int64_t *cut; /* [cuts] tokens at which a call begins, increasing, within the prefill */
} gka_serving;

/* Arrays of the caller; NULL: not wanted. */
typedef struct gka_served {
    double *prefill_o; /* [B,prefill,H,V] */
    double *prefill_h,
        *prefill_u;              /* [N,H,D,D], [N,H,D,V] as the prefill leaves them, in binary32 */
    double *decode_o;            /* [B,T - prefill,H,V] */
    double *decode_h, *decode_u; /* as they are kept after the last token */
} gka_served;

/* GKA_UNSUPPORTED with a line: another profile than h100 in its three-term form, D or V other than
 * 64, 128, 256. GKA_BAD_ARGUMENT: prefill or a cut outside its range. The states of a sequence
 * without tokens stay as they are. */

GKA_API gka_status gka_chunk_serve(const gka_problem *problem, const gka_profile *profile,
                                   const gka_serving *serving, const gka_served *out,
                                   gka_error *error);

#ifdef __cplusplus
}
#endif
#endif
