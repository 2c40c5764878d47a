/* forward.c - what src/cuda/forward.cu computes: norm, solve, states, output. */
#include "replay/head.h"

#include "arith/pinned.h"

static void norm(replay_head *w, const float *S, const float *k, float *fro) {
    const int64_t D = w->D, share = D * D / 256;
    float warp[8], f0 = 0, z[C];
    for (int64_t i = 0; i < 8; i++) {
        float lane[32];
        for (int64_t l = 0; l < 32; l++) {
            const float *const h = S + (i * 32 + l) * share;
            lane[l] = 0;
            for (int64_t e = 0; e < share; e++)
                lane[l] = fmaf(h[e], h[e], lane[l]);
        }
        warp[i] = butterfly(lane, 32);
        f0 = i == 0 ? warp[0] : f0 + warp[i];
    }
    zero(w->c, C * D);
    gka_replay_product(w, C, D, D, by_rows(w, k), by_rows(w, S), w->c);
    zero(w->score, SQUARE);
    gka_replay_product(w, C, C, D, by_rows(w, k), by_columns(w, k), w->score);
    for (int64_t t = 0; t < C; t++) {
        float sum = w->eg[t] * gka_replay_row_dot(D, w->c + t * D, k + t * D);
        for (int64_t j = 0; j < t; j++) {
            const float s = w->score[t * C + j];
            sum = fmaf(w->mask[t * C + j], s * s, sum);
        }
        const float own = w->score[t * C + t];
        z[t] = fmaf(2.0f, sum, own * own);
    }
    for (int64_t t = 0; t < C; t++) {
        float f2 = (w->eg[t] * w->eg[t]) * f0;
        for (int64_t j = 0; j <= t; j++) {
            const float m = w->mask[t * C + j];
            f2 = fmaf(m * m, z[j], f2);
        }
        fro[t] = sqrtf(f2);
    }
}

/* x of one chunk for the right-hand sides q [C,D]; x [C,D] unrounded. */
void gka_replay_solve(replay_head *w, const float *q, const float *S, const float *k,
                      const float *fro, float *x) {
    const int64_t D = w->D;
    const bool two = w->form == GKA_TWO_TERM;
    float lambda[C], theta[C], weight[C], scale[C];
    for (int64_t t = 0; t < C; t++) {
        const float f = fro[t];
        lambda[t] = w->a * f;
        if (two) {
            const float delta = 0.5f * f;
            theta[t] = lambda[t] + delta;
            weight[t] = delta / theta[t];
            scale[t] = 1.0f / delta;
        } else {
            const float span = fmaf(2.0f, lambda[t], f), rho = f / span * 0.5f;
            theta[t] = 2.0f / span;
            weight[t] = 2.0f;
            scale[t] = rho * rho;
        }
        const bool empty = !(lambda[t] > 0);
        for (int64_t i = t * D; i < (t + 1) * D; i++) {
            if (two) {
                w->r[i] = empty ? 0 : q[i];
                w->y[i] = x[i] = empty ? 0 : low(w, q[i] / theta[t]);
            } else {
                w->r[i] = 0;
                x[i] = empty ? 0 : theta[t] * q[i];
                w->y[i] = low(w, x[i]);
            }
        }
    }
    for (int iteration = 0; iteration < w->num_iter && !gka_stopped(); iteration++) {
        gka_replay_apply(w, w->y, S, k, k);
        for (int64_t t = 0; t < C; t++) {
            const bool empty = !(lambda[t] > 0);
            if (two) {
                const float tau = weight[t], sigma2 = 2.0f * (theta[t] * scale[t]);
                const float next = 1.0f / (sigma2 - tau), keep = next * tau,
                            add = (2.0f * next) * scale[t];
                weight[t] = next;
                for (int64_t i = t * D; i < (t + 1) * D; i++) {
                    w->r[i] = w->r[i] - fmaf(lambda[t], w->y[i], w->c[i]);
                    w->y[i] = empty ? 0 : low(w, fmaf(keep, w->y[i], add * w->r[i]));
                    x[i] = x[i] + w->y[i];
                }
            } else {
                const float omega = 1.0f / fmaf(-scale[t], weight[t], 1.0f);
                const float so = theta[t] * omega, back = omega - 1.0f;
                weight[t] = omega;
                for (int64_t i = t * D; i < (t + 1) * D; i++) {
                    const float residual = fmaf(lambda[t], x[i], w->c[i]) - q[i];
                    const float grad = fmaf(so, residual, back * w->r[i]);
                    const float now = empty ? 0 : fmaf(omega, x[i], -grad);
                    w->r[i] = x[i];
                    x[i] = now;
                    w->y[i] = low(w, now);
                }
            }
        }
    }
}

/* S <- S exp(G_C) + K^T bf16(v exp(G_C - G_j)); v as a tile [C,width]. */
static void advance(replay_head *w, int64_t chunk, int64_t width, const float *k, const float *v,
                    float *S) {
    const int64_t D = w->D, n = rows_of(w, chunk);
    const float last = w->G[n - 1], decay = gka_pinned_expf(last);
    for (int64_t j = 0; j < C; j++) {
        const float weight = w->gated && j < n ? gka_pinned_expf(last - w->G[j]) : 1.0f;
        for (int64_t i = j * width; i < (j + 1) * width; i++)
            w->more[i] = w->gated ? low(w, v[i] * weight) : v[i];
    }
    if (w->gated)
        for (int64_t i = 0; i < D * width; i++)
            S[i] = S[i] * decay;
    gka_replay_product(w, D, width, C, by_columns(w, k), (operand){w->more, width, 1, HIGH}, S);
}

/* All snapshots of a state, and its final value in w->state. */
void gka_replay_walk(replay_head *w, const float *v, float *snapshots) {
    const bool of_h = v == w->k;
    const int64_t width = of_h ? w->D : w->V;
    for (int64_t chunk = 0; chunk < w->chunks && !gka_stopped(); chunk++) {
        gka_replay_gates(w, chunk);
        gka_replay_snapshot(w, of_h, w->state, snapshots + chunk * w->D * width);
        gka_replay_tile(w, w->k, w->D, chunk, w->t1);
        gka_replay_tile(w, v, width, chunk, w->t2);
        advance(w, chunk, width, w->t1, w->t2, w->state);
    }
}

void gka_replay_forward_chunk(replay_head *w, int64_t chunk, bool output, float *o) {
    const int64_t D = w->D, V = w->V, n = rows_of(w, chunk), first = chunk * C;
    const float *const S = w->h_chunk + chunk * D * D;
    float fro[C];
    gka_replay_gates(w, chunk);
    gka_replay_tile(w, w->k, D, chunk, w->t1);
    gka_replay_tile(w, w->q, D, chunk, w->t2);
    norm(w, S, w->t1, fro);
    gka_replay_solve(w, w->t2, S, w->t1, fro, w->t3);
    memcpy(w->fro + first, fro, (size_t)n * sizeof *fro);
    for (int64_t i = 0; i < n * D; i++)
        w->x[first * D + i] = kept(w, w->t3[i]);
    if (!output)
        return;
    gka_replay_mix(w, chunk, w->y);
    gka_replay_tile(w, w->v, V, chunk, w->t2);
    zero(w->score, SQUARE);
    gka_replay_product_left(w, C, C, D, by_rows(w, w->y), by_columns(w, w->t1), w->score);
    gka_replay_mask(w, false);
    zero(w->c, C * V);
    gka_replay_product_both(w, C, V, D, by_rows(w, w->y),
                            by_wide_rows(w, w->u_chunk + chunk * D * V), w->c);
    gka_replay_decay_rows(w, V, w->c);
    gka_replay_product(w, C, V, C, by_scores(w), by_wide_rows(w, w->t2), w->c);
    for (int64_t i = 0; i < n * V; i++)
        o[first * V + i] = low(w, w->s * w->c[i]);
}
