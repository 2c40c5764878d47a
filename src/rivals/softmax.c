/* softmax.c - softmax attention, which keeps every key and value it has seen.
 *
 *   z_j = c <q, k_j>      o = sum_j exp(z_j - m) v_j / l      l = sum_j exp(z_j - m)      m = max_j
 * z_j
 *
 * in one pass, without knowing m beforehand (Milakov and Gimelshein 2018; flash attention): where
 * z_j exceeds the maximum so far, what has been summed is multiplied by exp(m_old - m_new).
 *
 * Backward, p_j = exp(z_j - m) / l and dp_j = <do, v_j>:
 *
 *   dz_j = p_j (dp_j - <do, o>)      dq = c sum_j dz_j k_j      dk_j += c dz_j q      dv_j += p_j
 * do
 *
 * Row j of the state is k_j, v_j; of the cotangent dk_j, dv_j, complete when token j is reached.
 */
#include "rivals/rival.h"

#include "problem/functions.h"

static int64_t size(int64_t D, int64_t V) {
    return D + V;
}

static double *row(const rival_head *W, double *cache, int64_t j) {
    return cache + j * (W->D + W->V);
}

/* exp(x) for x <= 0, an accumulator's number */
static double exp_of(gka_arith *A, double x) {
    return gka_arith_scalar(A, gka_pinned_gate(x));
}

static double sharpness(const rival_head *W) {
    const double c = W->rival->sharpness;
    return c > 0 ? c : W->problem->scale;
}

static void advance(rival_head *W) {
    copy(row(W, W->state, W->i), W->k, W->D);
    copy(row(W, W->state, W->i) + W->D, W->v, W->V);
}

static double logit(rival_head *W, double c, int64_t j) {
    return mul(&W->work, c, dot(&W->work, W->D, W->q, row(W, W->state, j)));
}

/* o; returns l, with m in *largest */
static double attend(rival_head *W, double *largest) {
    gka_arith *const A = &W->work;
    const double c = gka_arith_scalar(A, sharpness(W));
    double m = -INFINITY, l = 0;
    zero(W->o, W->V);
    for (int64_t j = 0; j <= W->i; j++) {
        const double z = logit(W, c, j), above = z > m ? z : m;
        const double keep = j == 0 ? 0 : exp_of(A, sub(A, m, above));
        const double weight = exp_of(A, sub(A, z, above));
        axpby(A, W->V, weight, row(W, W->state, j) + W->D, keep, W->o, W->o);
        l = add(A, mul(A, l, keep), weight);
        m = above;
    }
    scale(A, W->V, quo(A, 1, l), W->o, W->o);
    *largest = m;
    return l;
}

static void answer(rival_head *W) {
    double m;
    (void)attend(W, &m);
}

static void reverse(rival_head *W, const double *before) {
    (void)before;
    gka_arith *const A = &W->work;
    const int64_t D = W->D, V = W->V;
    const double c = gka_arith_scalar(A, sharpness(W));
    double m;
    const double l = attend(W, &m), mean = dot(A, V, W->dout, W->o);
    zero(W->dq, D);
    for (int64_t j = 0; j <= W->i; j++) {
        double *const dk = row(W, W->cotangent, j), *const dv = dk + D;
        const double *const k = row(W, W->state, j), *const v = k + D;
        const double p = quo(A, exp_of(A, sub(A, logit(W, c, j), m)), l);
        const double dp = dot(A, V, W->dout, v);
        const double dz = mul(A, c, mul(A, p, sub(A, dp, mean)));
        axpby(A, D, dz, k, 1, W->dq, W->dq);
        axpby(A, D, dz, W->q, 1, dk, dk);
        axpby(A, V, p, W->dout, 1, dv, dv);
    }
    copy(W->dk, row(W, W->cotangent, W->i), D);
    copy(W->dv, row(W, W->cotangent, W->i) + D, V);
    W->dbeta = 0;
    zero(W->dgamma, D);
}

const rival_method gka_rival_softmax = {true, size, size, advance, answer, reverse, NULL};
