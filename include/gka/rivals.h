/* gka/rivals.h - the layers that Gated KalmaNet is compared with, each as one recurrence.
 *
 *   1  gka_rival               a layer by name: its recurrence, its gate, its parameters
 *   2  gka_rival_forward       o and the size of the state, token by token in any arithmetic
 *   3  gka_rival_gradient      dq dk dv dbeta dg dgk of <o, do>
 *   4  gka_rival_exact         o in MPFR
 *   5  gka_rival_chunk         by chunks, as a device computes it, rounding point by rounding point
 *   6  gka_rival_cost          multiply-adds, bytes and numbers of state, per token
 *
 * Letters are those of gka/problem.h; S, H, U are states, Gamma = diag(gamma), s the scale:
 *
 *   linear    S_t = Gamma_t S_(t-1) + beta_t k_t v_t^T                         o_t = s S_t^T q_t
 *   delta     S_t = (I - beta_t k_t k_t^T) Gamma_t S_(t-1) + beta_t k_t v_t^T  o_t = s S_t^T q_t
 *   mesa      H_t = gamma_t H_(t-1) + beta_t k_t k_t^T, U_t likewise with v_t^T
 *             (H_t + Lambda) x_t = q_t, Lambda diagonal and constant           o_t = s U_t^T x_t
 *   softmax   o_t = sum_(j <= t) p_tj v_j,  p_tj = exp(c <q_t, k_j>) / sum_i exp(c <q_t, k_i>)
 *   kalman    l_t = l_(t-1)/c_t + beta_t k_t^2, c_t = gamma_t^2 + p l_(t-1), for each row; l_0 = 1
 *             S_t = (gamma_t/c_t) S_(t-1) + beta_t k_t v_t^T
 *             o_t = s S_t^T (q_t/l_t)
 *   gka       NUMERICS 1
 *
 * Every sequence begins with an empty state.
 */
#ifndef GKA_RIVALS_H
#define GKA_RIVALS_H

#include "gka/arith.h"
#include "gka/base.h"
#include "gka/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1 layers by name ---------------------------------------------------------------------- */

typedef enum gka_recurrence {
    GKA_RIVAL_LINEAR,
    GKA_RIVAL_DELTA,
    GKA_RIVAL_MESA,
    GKA_RIVAL_SOFTMAX,
    GKA_RIVAL_GKA,
    GKA_RIVAL_KALMAN
} gka_recurrence;

/* Where gamma comes from. */
typedef enum gka_gating {
    GKA_GATING_NONE,   /* gamma = 1, whatever g the problem has */
    GKA_GATING_FIXED,  /* RetNet's: 1 - 2^(-5-h) for head h */
    GKA_GATING_HEAD,   /* exp(g) */
    GKA_GATING_CHANNEL /* exp(gk_i) for row i of the state */
} gka_gating;

typedef struct gka_rival {
    const char *name; /* the first word: "gdn" */
    const char *text; /* what it is, in a line */
    gka_recurrence recurrence;
    gka_gating gating;
    bool writes;  /* reads beta, the strength of a write; else 1 */
    double ridge; /* mesa: Lambda = ridge I */
    int num_iter; /* mesa: products with H of a solve by conjugate gradients; 0: the problem's */
    double noise; /* kla: p > 0, the process noise */
    double guard; /* mesa: added to both denominators of a step; 0: none */
    double sharpness; /* softmax: c; 0: the problem's scale */
    /* What a gka_problem has no place for. */
    gka_view gk;            /* [B,T,H,D] log gates by channel; absent: g for every channel */
    const double *diagonal; /* mesa: [H,D], Lambda of each head; NULL: ridge I */
} gka_rival;

/* "linear", "retnet", "mamba2", "gla", "deltanet", "gdn", "kda", "mesa", "kla", "softmax", "gka";
 * after slashes ridge=X (> 0), guard=X (>= 0), num_iter=N of mesa, noise=X (> 0) of kla and
 * sharpness=X (> 0) of softmax.
 * Mamba-2 is linear attention with k = B, q = C, v = x and beta = dt. GKA_BAD_ARGUMENT with a line
 * for any other name. */
GKA_API gka_status gka_rival_find(const char *name, gka_rival *rival, gka_error *error);
/* The first words, for lists; NULL past the last. */
GKA_API const char *gka_rival_word(size_t i);

/* GKA_OK, or a line that says why this layer cannot be computed of this problem: initial states, no
 * v, a problem that is not normalised (for gka: not folded), gk of another shape. */
GKA_API gka_status gka_rival_check(const gka_rival *rival, const gka_problem *problem,
                                   gka_error *error);

/* ---- 2 forward ----------------------------------------------------------------------------- */

/* Arrays of the caller, row-major; NULL: not wanted. */
typedef struct gka_rival_outputs {
    double *o;    /* [B,T,H,V] */
    double *x;    /* [B,T,H,D] mesa and gka: the solution; other layers leave it as it is */
    double *norm; /* [B,T,H] Frobenius norm of S, of H (mesa, gka), of the keys and values so far
                     (softmax); measured in binary64 */
    double *dq;   /* [B,T,H,D] */
    double *dk;   /* [B,T,G,D] summed over the query heads of a group */
    double *dv;   /* [B,T,G,V] */
    double *dbeta, *dg; /* [B,T,H]; 0 for a layer that does not read them */
    double *dgk;        /* [B,T,H,D]; 0 for a layer without gates by channel */
    double *dlambda;    /* [B,T,H,D], by Lambda of mesa token by token (its gradient is their sum
                           over tokens, and for one number over channels too); else 0 */
} gka_rival_outputs;

/* Fills o, x and norm. Every operation is one of gka/arith.h, rounded as the policy says; in fp64
 * this is the recurrence above to rounding. Of gka: num_iter Chebyshev steps (gka/layer.h). Results
 * do not depend on threads. */
GKA_API gka_status gka_rival_forward(const gka_problem *problem, const gka_rival *rival,
                                     const gka_policy *policy, gka_rival_outputs *out,
                                     const gka_progress *progress, gka_error *error);

/* ---- 3 gradients --------------------------------------------------------------------------- */

/* Fills the gradients of <o, do>, and what gka_rival_forward fills; the problem must have `do`.
 * Written out by hand and computed in the same arithmetic. mesa and gka: implicitly, by one more
 * solve for each token. Where no gk is given, dgk are the derivatives by channel and dg their sum;
 * where it is, dg = 0. dbeta of gka is 0 (its beta is folded into k and v). Memory for each worker:
 * 2 sqrt(T) states. */
GKA_API gka_status gka_rival_gradient(const gka_problem *problem, const gka_rival *rival,
                                      const gka_policy *policy, gka_rival_outputs *out,
                                      const gka_progress *progress, gka_error *error);

/* ---- 4 exact ------------------------------------------------------------------------------- */

/* o and x of the recurrence in MPFR with `precision` bits, rounded to binary64 at the end; every
 * operation to nearest. mesa: conjugate gradients until the residual has fallen to
 * 2^(20 - precision) of |q|; GKA_NOT_CONVERGED where they take more than 4 D + 50 steps. precision
 * 0: 256 bits, and for mesa the certified oracle with its constant ridge, which is faster, where no
 * beta, no diagonal and no empty state is in its way. gka: always the certified oracle. */
GKA_API gka_status gka_rival_exact(const gka_problem *problem, const gka_rival *rival,
                                   int precision, gka_rival_outputs *out,
                                   const gka_progress *progress, gka_error *error);

/* ---- 5 by chunks --------------------------------------------------------------------------- */

/* name, what the Triton kernels of flash-linear-attention 0.4.1 do there; which layers have it: L
 * linear, D delta, M mesa, C gates by channel (those of L or D too). */
#define GKA_RIVAL_POINT_LIST(X)                                                                    \
    X(ARITHMETIC, "arithmetic", "elementwise work in fp32; of MesaNet q, k in fp16 (L D M)")       \
    X(TENSOR_CORE, "tensor_core", "products by the tensor core (L D M)")                           \
    X(EXP, "exp", "fp32 product with log2 e, then ex2.approx (L D M)")                             \
    X(OPERAND, "operand", "bf16(beta v) and bf16(beta exp(G) k) (L D)")                            \
    X(INVERSE, "inverse", "(I + A)^-1 stored in bf16 (D)")                                         \
    X(STORE_WU, "store_wu", "w and u stored in bf16 (D)")                                          \
    X(NEW_VALUE, "new_value", "u - w S_0 stored in bf16 (L D)")                                    \
    X(SNAPSHOT, "snapshot", "products read bf16(S_0); fp16(H_0), fp16(U_0) (L D M)")               \
    X(STATE_OPERAND, "state_operand", "bf16, of M fp16, of what is added to a state (L D M)")      \
    X(SCORE, "score", "bf16((q K^T) M), in the iteration fp16 (L D M)")                            \
    X(OPERAND_X, "operand_x", "fp16(p) and fp16(p exp(G)) in the iteration's products (M)")        \
    X(GUARD, "guard", "1e-5 added to both denominators of a step (M)")                             \
    X(READ_X, "read_x", "fp16(x) and fp16(x exp(G)) in the output (M)")                            \
    X(STORE_O, "store_o", "o stored in bf16, x in fp16 (L D M)")                                   \
    X(OPERAND_Q, "operand_q", "bf16(q exp(G)) where the state is read (C)")                        \
    X(TF32, "tf32", "q and k times exp, cut to tf32, between blocks of 16 tokens (C)")

typedef enum gka_rival_point {
#define GKA_RIVAL_POINT_ENUM(id, name, text) GKA_RIVAL_POINT_##id,
    GKA_RIVAL_POINT_LIST(GKA_RIVAL_POINT_ENUM)
#undef GKA_RIVAL_POINT_ENUM
        GKA_RIVAL_POINT_COUNT
} gka_rival_point;
GKA_API const char *gka_rival_point_name(gka_rival_point point);
GKA_API const char *gka_rival_point_text(gka_rival_point point);
/* All of them. */
enum { GKA_RIVAL_RELEASED = (1 << GKA_RIVAL_POINT_COUNT) - 1 };

typedef struct gka_rival_profile {
    const gka_device *device;
    uint32_t released; /* bit i: point i as released; 0: exact, on any device in binary64 */
} gka_rival_profile;

/* Fills o, x of mesa, and norm after the last token of each chunk (NaN elsewhere). Chunks of the
 * problem's size. Without a point the chunk form of the recurrence in binary64. With points q, k, v
 * must be bf16 numbers. On the h100 these are the bits of flash-linear-attention's
 * forward kernels as far as they were measured (conformance/rivals_gpu).
 * GKA_UNSUPPORTED, with a line, for kla, softmax and gka (whose chunk form is gka/chunk.h). A gate
 * of -inf gives NaN, as there. */
GKA_API gka_status gka_rival_chunk_check(const gka_problem *problem, const gka_rival *rival,
                                         const gka_rival_profile *profile, gka_error *error);
GKA_API gka_status gka_rival_chunk(const gka_problem *problem, const gka_rival *rival,
                                   const gka_rival_profile *profile, gka_rival_outputs *out,
                                   const gka_progress *progress, gka_error *error);

/* ---- 6 cost -------------------------------------------------------------------------------- */

/* Of one head, token by token, as the recurrences above are written. Work of the size of a vector
 * (about 1/D of the rest) is not counted. */
typedef struct gka_rival_cost {
    double multiply_adds; /* multiplications with matrices, each with the addition that takes it;
                             softmax: at the average token */
    double state;         /* numbers kept from token to token; softmax: after the last one */
    double bytes;         /* state read and written once, `width` bytes a number; softmax: its cache
                             read at the average token, and one row written */
} gka_rival_cost;
GKA_API gka_rival_cost gka_rival_cost_of(const gka_rival *rival, const gka_problem *problem,
                                         double width);

#ifdef __cplusplus
}
#endif
#endif
