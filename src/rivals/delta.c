/* delta.c - the delta rule: DeltaNet, Gated DeltaNet (a gate of the token), Kimi delta attention (a
 * gate for each channel of the key). What a key already finds is replaced and not added to.
 *
 *   R_t = Gamma_t S_(t-1)       u_t = beta_t (v_t - R_t^T k_t)
 *   S_t = R_t + k_t u_t^T       o_t = s S_t^T q_t
 *
 * Backward, Z the cotangent of S_t, w = Z^T k that of u, e = v - R^T k:
 *
 *   Z     += s q do^T           dq = s S do
 *   dbeta = <w, e>              dv = beta w
 *   dk    = Z u - beta R w      Z = Z - beta k w^T, now that of R
 *   dgamma = <Z, S_(t-1)> row by row                 Z = Gamma Z
 *
 * R is formed again from S_(t-1), which rounds as it did on the way forward.
 */
#include "rivals/rival.h"

static int64_t size(int64_t D, int64_t V) {
    return D * V;
}

/* e = v - R^T k and u = beta e */
static void error_of(gka_arith *A, const rival_head *W, const double *R, double *e, double *u) {
    gka_arith_matvec_t(A, W->D, W->V, R, W->k, e);
    axpby(A, W->V, 1, W->v, -1, e, e);
    scale(A, W->V, W->beta, e, u);
}

static void advance(rival_head *W) {
    gka_arith *const A = &W->states;
    gka_rival_decay(A, W, W->state);
    error_of(A, W, W->state, W->t1, W->t2);
    gka_arith_rank1(A, W->D, W->V, 1, W->state, 1, W->k, W->t2);
}

static void answer(rival_head *W) {
    gka_arith_matvec_t(&W->work, W->D, W->V, W->state, W->q, W->o);
    scale(&W->work, W->V, W->s, W->o, W->o);
}

static void reverse(rival_head *W, const double *before) {
    gka_arith *const A = &W->work;
    const int64_t D = W->D, V = W->V;
    double *const Z = W->cotangent, *const R = W->state, *const e = W->t1, *const u = W->t2;
    gka_arith_matvec(A, D, V, W->state, W->dout, W->dq);
    scale(A, D, W->s, W->dq, W->dq);
    gka_arith_rank1(A, D, V, 1, Z, W->s, W->q, W->dout);
    copy(R, before, D * V); /* S_t is not needed any more */
    gka_rival_decay(A, W, R);
    error_of(A, W, R, e, u);
    gka_arith_matvec(A, D, V, Z, u, W->dk);
    gka_arith_matvec_t(A, D, V, Z, W->k, W->dv); /* w */
    W->dbeta = dot(A, V, W->dv, e);
    scale(A, V, W->beta, W->dv, W->dv);
    gka_arith_matvec(A, D, V, R, W->dv, W->t3);
    axpby(A, D, 1, W->dk, -1, W->t3, W->dk);
    gka_arith_rank1(A, D, V, 1, Z, -1, W->k, W->dv);
    gka_rival_reverse_decay(W, Z, before);
}

const rival_method gka_rival_delta = {false, size, size, advance, answer, reverse, NULL};
