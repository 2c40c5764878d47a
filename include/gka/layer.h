/* gka/layer.h - the layer token by token (NUMERICS 1 and 2) in an emulated arithmetic, with any
 * solver.
 *
 *   1  gka_layer_options        arithmetic, solver, how gradients are taken
 *   2  gka_layer_report         what is computed, and how often what happened
 *   3  gka_layer_forward        x f lambda o and the final states
 *   4  gka_layer_gradient       dq dk dv dalpha dg dh0 du0
 *
 * The states are accumulated in the arithmetic too: H = S[gamma H + k k^T] is one rounding per
 * element and token. In fp64 this is the recurrence of NUMERICS 1 to rounding. Results do not
 * depend on threads; each head draws its random bits from two streams of its own.
 */
#ifndef GKA_LAYER_H
#define GKA_LAYER_H

#include "gka/arith.h"
#include "gka/base.h"
#include "gka/problem.h"
#include "gka/solve.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1 options ----------------------------------------------------------------------------- */

typedef struct gka_layer_options {
    gka_policy policy;
    gka_solver solver;
    /* Instead of the solver: a Kalman filter with lambda_t = lambda prod gamma, a constant of the
     * layer; f is then only reported, and no gradient flows through the ridge ratio. h0, u0 must be
     * absent. */
    bool kalman;
    gka_kalman_form form;
    double lambda;
    /* Gradients: false: implicit, p_t by the same solver from dx_t (NUMERICS 2). true: through the
     * iterations (gka_solve_has_adjoint). */
    bool through;
    bool reversible; /* through: as in gka_solve_adjoint */
    gka_progress progress;
} gka_layer_options;

/* ---- 2 results ----------------------------------------------------------------------------- */

/* Of gka_outputs (gka/problem.h) it has no h_chunk, u_chunk, g_cumsum, kappa and halves of dg.
 * Through the iterations p is the solver's own cotangent of q. Of x: E = 0, no dv, dalpha, du0. */

/* How often what happened, over the forward solves; zeroed by the call. May be NULL. */
typedef struct gka_layer_report {
    int64_t solves, stopped, breakdowns, non_finite;
    int64_t empty_states; /* f = 0: x = 0, p = 0 */
} gka_layer_report;

/* ---- 3 forward ----------------------------------------------------------------------------- */

/* GKA_BAD_ARGUMENT for a policy that fails gka_policy_check, a Kalman filter with lambda <= 0 or
 * initial states. */
GKA_API gka_status gka_layer_forward(const gka_problem *problem, const gka_layer_options *options,
                                     gka_outputs *out, gka_layer_report *report, gka_error *error);

/* ---- 4 gradients --------------------------------------------------------------------------- */

/* Fills the gradient members, and x fro lambda o where wanted; A and E start from the cotangents of
 * the final states (dh_final; for o du_final too). Memory per worker: 3 T vectors and
 * 2 sqrt(T) states (D + V) D. GKA_UNSUPPORTED for `through` with a solver that has no adjoint. */
GKA_API gka_status gka_layer_gradient(const gka_problem *problem, gka_of of,
                                      const gka_layer_options *options, gka_outputs *out,
                                      gka_layer_report *report, gka_error *error);

#ifdef __cplusplus
}
#endif
#endif
