/* gka/oracle.h - the exact answer.
 *
 *   1  gka_oracle               fp64, certified, MPFR
 *   2  gka_oracle_report        what is computed, and what happened on the way
 *   3  gka_oracle_forward       x f lambda o kappa and the states (NUMERICS 1)
 *   4  gka_oracle_gradient      every gradient (NUMERICS 2)
 *   5  gka_oracle_hessian       how x, o and every gradient change along a direction
 *
 * "Exact" is NUMERICS 1: inputs are the real numbers their encodings denote, gamma = exp(g) in the
 * reals, a and s the binary64 values of the parameters. The oracle shares no arithmetic with what
 * it judges.
 */
#ifndef GKA_ORACLE_H
#define GKA_ORACLE_H

#include "gka/base.h"
#include "gka/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1 which oracle ------------------------------------------------------------------------ */

typedef enum gka_oracle {
    GKA_ORACLE_FP64,      /* binary64, LAPACK Cholesky: fast, error about kappa n 2^-53 */
    GKA_ORACLE_CERTIFIED, /* double-double with a proven bound: correctly rounded results */
    GKA_ORACLE_MPFR       /* any precision, written naively: judges the other two */
} gka_oracle;
GKA_API const char *gka_oracle_name(gka_oracle oracle);
GKA_API int gka_oracle_find(const char *name); /* -1: none */

/* Of given tensors (gka_upstream), h_chunk is taken as (h + h^T)/2, and H_t follows from it; f_t
 * stands in lambda_t = a f_t and in the gradient through it; x and p in all that follows from them.
 *
 * Given f_t, NUMERICS 4 (which kernels follow) and section 2 differ in dg: the former uses
 * <H_t, H_t>/f_t = f_t, true of the exact f alone, and dg here is the former's,
 *
 *   dg_j = gamma_j (<A_j, H_{j-1}> + <E_j, U_{j-1}>)
 *          - sum over t >= j of j's chunk of (a <p_t, x_t>/f_t) (f_t^2 - ||H_t||_F^2),
 *
 * but 0 where gamma_j = 0, where a chunk also ends. (A kernel that contracts A_j with H_{j-1}
 * itself differs from this as far as its f_t differs from ||H_t||_F.) */

/* Results by pieces, for sequences whose results do not fit in memory: the token members of out
 * have room for `tokens` tokens (a multiple of the chunk size) and h_chunk for their chunks;
 * whenever they are full, and at the end, `full` is told which tokens [begin, end) they hold, and
 * then they are used again. For the certified oracle, one sequence with one head, without lo and
 * given tensors; the bits are those of one piece, of gradients where they are decided. Of the
 * problem nothing is checked: it must have passed gka_problem_check. Tokens are read in order,
 * again and again, MPFR's from the first on.
 *
 * Where the sequence is read besides (by MPFR; for the zeros of gradients), `passed` (may be NULL)
 * is called after every `tokens` tokens of it, so that a caller whose tensors are mapped can let go
 * of them.
 *
 * Forward, windows come from the first to the last. Takes one byte of memory a token.
 *
 * Gradients come from the last window to the first, each window cut at multiples of `tokens`. On
 * the way right the state before window i is handed to `keep`, to be copied; on the way left
 * `fetch` brings it back. Memory is that of a sequence of `tokens` tokens; a state has about
 * 16 D (D + V) bytes, 16 D^2 for GKA_OF_X, for which dv and du0 are not filled. Of more than 2^14
 * tokens, `keep` is on the way left also handed what MPFR may have to begin with there, at every
 * 128th token, of the size of a state: under the numbers from that of the windows on.
 *
 * False from a callback: stop (GKA_INTERRUPTED). */
typedef struct gka_oracle_window {
    int64_t tokens;
    bool (*full)(void *context, int64_t begin, int64_t end);
    bool (*keep)(void *context, int64_t window, const void *state, size_t size);
    bool (*fetch)(void *context, int64_t window, void *state, size_t size);
    void (*passed)(void *context);
    void *context;
} gka_oracle_window;

typedef struct gka_oracle_options {
    gka_oracle oracle;
    int precision;                   /* MPFR bits; 0: 256 */
    const gka_format *round_to;      /* certified: results are exact values rounded once, to nearest
                                        even, to this format; NULL: fp64 */
    gka_progress progress;           /* unit: token solves */
    const gka_upstream *given;       /* certified gradients: see above; NULL: nothing is */
    const gka_oracle_window *window; /* see there; NULL: all at once */
    bool leave_undecided;            /* certified gradients: no last bit, see gka_oracle_gradient */
    /* Above 0: lambda_t is this constant (MesaNet's) and not a f_t. Forward, every oracle; without
     * kappa, h0 and windows, and GKA_UNSUPPORTED where a state is empty. 0: the problem's lambda,
     * or where that is 0 a f_t. */
    double ridge;
} gka_oracle_options;

/* ---- 2 results ----------------------------------------------------------------------------- */

/* Which members of gka_outputs (gka/problem.h) an oracle fills: all but g_cumsum. kappa comes of
 * fp64 eigenvalues whatever the oracle is; NaN for an empty state. */

/* An element whose rounding stands without a proof: `at` counts the elements of the output called
 * `tensor` ("h_final", "layer.dv"). */
typedef struct gka_oracle_unproven {
    const char *tensor;
    bool second_word;
    int64_t at;
} gka_oracle_unproven;
enum { GKA_ORACLE_LISTED = 8 };

/* What happened on the way; zeroed by the call. */
typedef struct gka_oracle_report {
    int64_t solves;       /* token solves */
    int64_t empty_states; /* tokens with f = 0: x = 0 by definition */
    int64_t recomputed;   /* certified: tokens that needed MPFR */
    int64_t ties;         /* certified: components decided by the rule for exact ties */
    int64_t declared;     /* certified: of forward results and second words, those within 2^-768 of
                             halfway (2^-2048 where gates or large inputs call for it) and taken
                             to be a tie without a proof: they may be the other neighbour */
    /* The first of what is declared or, of gradients, left undecided by MPFR, in order; those of
     * the others that double-double left are counted alone. */
    gka_oracle_unproven unproven[GKA_ORACLE_LISTED];
    int listed;
    int64_t zeros;      /* certified: components that are exactly zero */
    double worst_bound; /* certified: largest proven ||x - x_hat||_2 / ||x_hat||_2, before
                           rounding to a format */
    /* Of certified gradients: */
    int64_t elements;            /* elements of the tensors asked for */
    int64_t elements_mpfr;       /* of these, those that double-double could not decide */
    int64_t elements_undecided;  /* of those, rounded without a proof: gka_oracle_gradient */
    double largest[GKA_OUTPUTS]; /* largest |element| */
    double bound[GKA_OUTPUTS];   /* largest proven |element - double-double|, before rounding;
                                      INFINITY: for some element nothing is proven */
} gka_oracle_report;

/* ---- 3 forward ----------------------------------------------------------------------------- */

/* Fills the forward members of out that are wanted (not NULL). lo (may be NULL): second words,
 * lo = fp64(exact - out), for the certified and MPFR oracles; 0 for fp64. options NULL: fp64;
 * report and error may be NULL. The problem is checked first (gka_problem_check).
 *
 *   GKA_BAD_ARGUMENT           the problem or the options are outside their range
 *   GKA_OUT_OF_MEMORY, GKA_INTERRUPTED
 *   GKA_NOT_POSITIVE_DEFINITE  some H_t + lambda_t I is singular, or for fp64 without h0 not
 *                              positive definite to 53 bits (a below about D 2^-53)
 *   GKA_NOT_CONVERGED          LAPACK's eigenvalues, for kappa
 *   GKA_NO_CERTIFICATE         certified: H_t + lambda_t I could not be proven positive definite
 *   GKA_UNSUPPORTED            fp64: f_t outside 2^+-480, or of gradients |p| |x|, over f_t or not,
 *                              outside 2^-960 .. 2^1000; certified: round_to with p > 25, not fp64
 *
 * error names sequence, token and head. After a failure the members hold anything. */
GKA_API gka_status gka_oracle_forward(const gka_problem *problem, const gka_oracle_options *options,
                                      gka_outputs *out, gka_outputs *lo, gka_oracle_report *report,
                                      gka_error *error);

/* ---- 4 gradients --------------------------------------------------------------------------- */

/* Fills the gradient members of out that are wanted, p with them; the problem must have the
 * cotangent. For GKA_OF_X what belongs to v, alpha, u0 is zero and dq = p. Cotangents of the
 * final states, where the problem has them, are what A and E of NUMERICS 2 start from (for
 * GKA_OF_X dh_final alone).
 *
 * dh0 = gamma_1 A_1 is the derivative by the entries of H_0 taken as D^2 independent numbers. The
 * layer sees h0 through (h0 + h0^T)/2, so the change along any direction X is <dh0, (X + X^T)/2>:
 * by the symmetric part of dh0 for an h0 that is stored symmetric or not.
 *
 * fp64 and MPFR keep about 2 sqrt(T) states, [D,D+V] numbers each, for every thread; MPFR also the
 * T (D + V) numbers of dk and dv. Numbers of 8 bytes, and of 32 + precision/8 bytes. Certified: as
 * MPFR, numbers of 16 bytes; above 2^14 tokens also [D,D+V] at about sqrt(T) tokens for each head
 * of a group. With options->given (may be all NULL; certified alone) they are those at the given
 * tensors, and the members x, fro and, for GKA_OF_O, o are filled as well. Threads: one sequence
 * and one group of heads is one piece of work; results do not depend on their number.
 *
 * Certified gradients are correctly rounded, as the forward results are: computed in double-double
 * with a proven bound (src/oracle/gradient_bound.c), which decides all but about one element in a
 * million or more; where it does not, the group of heads is computed again in MPFR, with a bound of
 * the same kind, at 160 bits, then 256, 768, 1536: about 20 ms a token at D = V = 128 and 160
 * bits, and as MPFR's memory. Second words are always computed so. report->elements_undecided
 * counts what is rounded without a proof: ties that 1536 bits (4096 where gates or large
 * inputs call for it) do not tell apart from their neighbours, rounded there; results of states or
 * gradients outside the range of binary64, in which norms are kept, rounded in MPFR; and where MPFR
 * is not tried what double-double left, its own rounding, mostly right: with
 * options->leave_undecided, as long as every bound is below 2^-60 of its tensor's largest element.
 * Of sequences of more than 2^14 tokens MPFR goes over the neighbourhood of an undecided element
 * only (src/oracle/README.md), some hundred tokens with released gates; where the gates do not
 * forget 6 bits in 4096 tokens it goes over all of it, and by windows it is not tried either. All
 * of it is gone over, once for each window to the left, also where a token's state has faded so far
 * that double-double finds no bound for x or p. By windows and in one piece what is decided is the
 * same; how much is not may differ.
 */
GKA_API gka_status gka_oracle_gradient(const gka_problem *problem, gka_of cotangent,
                                       const gka_oracle_options *options, gka_outputs *out,
                                       gka_outputs *lo, gka_oracle_report *report,
                                       gka_error *error);

/* ---- 5 second derivatives ------------------------------------------------------------------ */

/* A direction in the space of the inputs and a cotangent, or derivatives by each of them. NULL:
 * zero as a direction, not wanted as a result. */
typedef struct gka_direction {
    double *q;     /* [B,T,H,D] */
    double *k;     /* [B,T,G,D] */
    double *v;     /* [B,T,G,V] */
    double *alpha; /* [B,T,H] */
    double *g;     /* [B,T,H] */
    double *c;     /* of the cotangent: [B,T,H,D] of x, [B,T,H,V] of o */
} gka_direction;

/* The Hessian of S(q, k, v, alpha, g, c) = <c, y> times a direction, y = x or o, c = dx or dout (0
 * where the problem has none), in binary64 with Cholesky. The gradient of S is (dq, dk, dv, dalpha,
 * dg, y), so the product says how each gradient tensor (dk in its slot k, ...) and y itself (in
 * slot c) change along the direction; and the Hessian is symmetric, so that with J the Jacobian of
 * the tensor of slot OUT by the input of slot IN,
 *
 *     J v    is slot OUT of the product with v in slot IN,
 *     J^T w  is slot IN of the product with w in slot OUT.
 *
 * Cotangents of the final states belong to S (of y = x: dh_final alone). They and the initial
 * states are constants; a gate of -inf stays one; an absent alpha or g is the number 1 or 0 that it
 * stands for. Costs about two gradients; memory as gka_oracle_gradient's, twice. Of the options
 * only `progress` counts, of the failures of the forward oracle those of fp64; GKA_UNSUPPORTED for
 * a constant ridge. For y = x the slots
 * v and alpha of the product are zero. */
GKA_API gka_status gka_oracle_hessian(const gka_problem *problem, gka_of cotangent,
                                      const gka_oracle_options *options,
                                      const gka_direction *direction, gka_direction *product,
                                      gka_error *error);

/* The BLAS runs on one thread during every call of this header. Its own threads are stopped and
 * started for that, which many small calls feel: between these two they stay stopped. They nest. */
GKA_API void gka_oracle_hold(void);
GKA_API void gka_oracle_let_go(void);

#ifdef __cplusplus
}
#endif
#endif
