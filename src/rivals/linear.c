/* linear.c - linear attention with a gate: RetNet (gamma fixed), Mamba-2 (gamma of the token, v =
 * dt x), GLA (a gamma for each channel of the key).
 *
 *   S_t = Gamma_t S_(t-1) + beta_t k_t v_t^T        o_t = s S_t^T q_t
 *
 * Backward, Z the cotangent of S, from the last token to the first:
 *
 *   Z_t    = s q_t do_t^T + Gamma_(t+1) Z_(t+1)      dq = s S_t do
 *   dk     = beta Z v     dv = beta Z^T k            dbeta = <k, Z v>
 *   dgamma = <Z, S_(t-1)> row by row
 */
#include "rivals/rival.h"

static int64_t size(int64_t D, int64_t V) {
    return D * V;
}

static void advance(rival_head *W) {
    gka_rival_decay_and_add(&W->states, W, W->state, W->beta, W->k, W->v);
}

static void answer(rival_head *W) {
    gka_arith_matvec_t(&W->work, W->D, W->V, W->state, W->q, W->o);
    scale(&W->work, W->V, W->s, W->o, W->o);
}

static void reverse(rival_head *W, const double *before) {
    gka_arith *const A = &W->work;
    const int64_t D = W->D, V = W->V;
    double *const Z = W->cotangent;
    gka_arith_rank1(A, D, V, 1, Z, W->s, W->q, W->dout);
    gka_arith_matvec(A, D, V, W->state, W->dout, W->dq);
    scale(A, D, W->s, W->dq, W->dq);
    gka_arith_matvec(A, D, V, Z, W->v, W->dk);
    W->dbeta = dot(A, D, W->k, W->dk);
    scale(A, D, W->beta, W->dk, W->dk);
    gka_arith_matvec_t(A, D, V, Z, W->k, W->dv);
    scale(A, V, W->beta, W->dv, W->dv);
    gka_rival_reverse_decay(W, Z, before);
}

const rival_method gka_rival_linear = {false, size, size, advance, answer, reverse, NULL};
