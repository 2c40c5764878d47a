/* kla.c - Kalman Linear Attention: a Kalman filter for every row of the memory by itself, in
 * information form. beta is the precision of what a token says, a the gate, p the process noise.
 *
 *   c_i = a^2 + p l_i                     of the state before the token
 *   l_i <- l_i / c_i + beta k_i^2         precision; 1 before the first token
 *   S_i <- (a / c_i) S_i + beta k_i v^T   information: precision times mean
 *   o   = s S^T w,  w_i = q_i / l_i
 *
 * Backward, Z and z the cotangents of S and l after the token:
 *
 *   Z    += s w do^T        dw = s S do         dq = dw / l        z -= dw w / l
 *   dbeta = sum z k^2 + <k, Z v>                dk = 2 beta z k + beta Z v      dv = beta Z^T k
 *   e_i   = <Z_i, S_i before>                   dc = -(z l / c + e a / c) / c   (l before)
 *   da    = e / c + 2 a dc                      z <- z / c + p dc               Z <- (a / c) Z
 *
 * In the paper a and p belong to each channel and do not change, and each channel of the value has
 * a precision of its own; here these are one number for a head and token (a, beta) or for all (p).
 * The state lies in memory as S [D,V], then l [D].
 */
#include "rivals/rival.h"

static int64_t size(int64_t D, int64_t V) {
    return D * (V + 1);
}

static int64_t normed(int64_t D, int64_t V) {
    return D * V;
}

static void begin(rival_head *W) {
    for (int64_t i = 0; i < W->D; i++)
        W->state[W->D * W->V + i] = 1;
}

/* a^2 + p l */
static double spread(gka_arith *A, const rival_head *W, double l) {
    const double p = gka_arith_scalar(A, W->rival->noise), a = W->gamma[0];
    const double square = mul(A, a, a), noise = mul(A, p, l);
    return add(A, square, noise);
}

static void advance(rival_head *W) {
    gka_arith *const A = &W->states;
    const int64_t D = W->D, V = W->V;
    double *const S = W->state, *const l = S + D * V;
    for (int64_t i = 0; i < D; i++) {
        const double c = spread(A, W, l[i]), square = mul(A, W->k[i], W->k[i]);
        const double kept = quo(A, l[i], c), said = mul(A, W->beta, square);
        gka_arith_rank1(A, 1, V, quo(A, W->gamma[0], c), S + i * V, W->beta, W->k + i, W->v);
        l[i] = add(A, kept, said);
    }
    gka_arith_store(A, D, l, l);
}

static void weights(rival_head *W, double *w) {
    const double *const l = W->state + W->D * W->V;
    for (int64_t i = 0; i < W->D; i++)
        w[i] = quo(&W->work, W->q[i], l[i]);
    gka_arith_store(&W->work, W->D, w, w);
}

static void answer(rival_head *W) {
    weights(W, W->t1);
    gka_arith_matvec_t(&W->work, W->D, W->V, W->state, W->t1, W->o);
    scale(&W->work, W->V, W->s, W->o, W->o);
}

/* What row i leaves to the state before the token: z[i] and dgamma[i]; Z_i <- (a / c) Z_i. */
static void reverse_row(rival_head *W, int64_t i, double z, const double *before) {
    gka_arith *const A = &W->work;
    const int64_t D = W->D, V = W->V;
    const double l = before[D * V + i], a = W->gamma[0], c = spread(A, W, l);
    double *const Z = W->cotangent;
    const double e = dot(A, V, Z + i * V, before + i * V);
    const double kept = quo(A, l, c), gain = quo(A, a, c);
    const double of_l = mul(A, z, kept), of_S = mul(A, e, gain);
    const double both = add(A, of_l, of_S), dc = -quo(A, both, c);
    const double direct = quo(A, e, c), by_square = mul(A, 2 * a, dc);
    W->dgamma[i] = add(A, direct, by_square);
    const double by_kept = quo(A, z, c),
                 by_noise = mul(A, gka_arith_scalar(A, W->rival->noise), dc);
    Z[D * V + i] = add(A, by_kept, by_noise);
    scale(A, V, gain, Z + i * V, Z + i * V);
}

static void reverse(rival_head *W, const double *before) {
    gka_arith *const A = &W->work;
    const int64_t D = W->D, V = W->V;
    double *const Z = W->cotangent, *const z = Z + D * V, *const w = W->t1;
    const double *const l = W->state + D * V;
    double of_precision = 0;
    weights(W, w);
    gka_arith_matvec(A, D, V, W->state, W->dout, W->t2);
    scale(A, D, W->s, W->t2, W->t2); /* dw */
    gka_arith_rank1(A, D, V, 1, Z, W->s, w, W->dout);
    gka_arith_matvec(A, D, V, Z, W->v, W->dk);
    const double kZv = dot(A, D, W->k, W->dk);
    gka_arith_matvec_t(A, D, V, Z, W->k, W->dv);
    scale(A, V, W->beta, W->dv, W->dv);
    for (int64_t i = 0; i < D; i++) {
        W->dq[i] = quo(A, W->t2[i], l[i]);
        const double less = mul(A, W->dq[i], w[i]);
        z[i] = sub(A, z[i], less);
        const double zk = mul(A, z[i], W->k[i]), zkk = mul(A, zk, W->k[i]);
        of_precision = add(A, of_precision, zkk);
        const double twice = mul(A, 2, zk), sum = add(A, twice, W->dk[i]);
        W->dk[i] = mul(A, W->beta, sum);
        reverse_row(W, i, z[i], before);
    }
    W->dbeta = add(A, of_precision, kZv);
}

const rival_method gka_rival_kla = {false, size, normed, advance, answer, reverse, begin};
