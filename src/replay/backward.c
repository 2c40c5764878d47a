/* backward.c - what src/cuda/backward.cu computes: from the cotangent of o or x to those of
 * the inputs. */
#include "replay/head.h"

#include "arith/pinned.h"

/* What is handed on and never multiplied: in bf16, or accurately in binary32, the bytes of two
 * parts. */
static float handed(const replay_head *w, float v) {
    return w->accurate ? v : low(w, v);
}

/* c [C,D] += y S^T, y [C,V], S [D,V], some columns of V after another. */
static void by_panels(replay_head *w, const float *y, const float *S, float *c) {
    const int64_t width = panel_of(w);
    for (int64_t col = 0; col < w->V; col += width)
        gka_replay_product_right(w, C, w->D, width, by_wide_rows(w, y + col),
                                 by_wide_columns(w, S + col), c);
}

/* dq' of a chunk: dalpha, along, dx, rest. */
void gka_replay_output_gradient(replay_head *w, int64_t chunk, float *dalpha) {
    const int64_t D = w->D, V = w->V, n = rows_of(w, chunk), first = chunk * C;
    gka_replay_gates(w, chunk);
    gka_replay_tile(w, w->dout, V, chunk, w->t1);
    gka_replay_tile(w, w->v, V, chunk, w->t2);
    gka_replay_tile(w, w->k, D, chunk, w->t3);
    gka_replay_scores(w, V, w->t1, w->t2, false);
    zero(w->c, C * D);
    by_panels(w, w->t1, w->u_chunk + chunk * D * V, w->c);
    gka_replay_decay_rows(w, D, w->c);
    gka_replay_product(w, C, D, C, by_scores(w), by_rows(w, w->t3), w->c);
    gka_replay_mix(w, chunk, w->y);
    for (int64_t t = 0; t < n; t++) {
        float *const c = w->c + t * D;
        const float alpha = w->alpha[first + t];
        float difference[MAX_D];
        for (int64_t i = 0; i < D; i++) {
            const int64_t at = (first + t) * D + i;
            c[i] = w->s * c[i];
            difference[i] = w->x[at] - w->q[at];
            w->dx[at] = handed(w, alpha * c[i]);
            w->rest[at] = handed(w, fmaf(-alpha, c[i], c[i]));
        }
        dalpha[first + t] = low(w, gka_replay_row_dot(D, c, difference));
        w->along[first + t] = gka_replay_row_dot(D, c, w->y + t * D);
    }
}

void gka_replay_weights(replay_head *w, int64_t chunk) {
    const int64_t D = w->D, n = rows_of(w, chunk), first = chunk * C;
    gka_replay_gates(w, chunk);
    for (int64_t t = 0; t < n; t++) {
        float quarter[4] = {0};
        for (int64_t i = 0; i < D; i++) {
            const int64_t at = (first + t) * D + i;
            quarter[i / (D / 4)] = fmaf(w->p[at], w->x[at], quarter[i / (D / 4)]);
        }
        const float f = w->fro[first + t], sum = butterfly(quarter, 4);
        w->w[first + t] = f > 0 ? (2.0f * w->a) * sum / f : 0;
    }
    float beta = 0;
    for (int64_t j = 0; j < n; j++) {
        float carry = 0;
        for (int64_t t = j; t < n; t++)
            carry = fmaf(w->eg[t] * gka_pinned_expf(w->G[t] - w->G[j]), w->w[first + t], carry);
        w->carry[first + j] = carry;
        beta = fmaf(w->eg[j] * w->eg[j], 0.5f * w->w[first + j], beta);
    }
    w->beta[chunk] = beta;
}

void gka_replay_energy(replay_head *w, int64_t chunk) {
    const int64_t D = w->D, n = rows_of(w, chunk), first = chunk * C;
    float *const k = w->t1, *const p = w->t2;
    gka_replay_tile(w, w->k, D, chunk, k);
    gka_replay_tile(w, w->p, D, chunk, p);
    if (!w->accurate)
        gka_replay_apply(w, p, w->h_chunk + chunk * D * D, k, k);
    for (int64_t t = 0; t < n; t++) {
        const float lambda = w->a * w->fro[first + t];
        float *const c = w->c + t * D;
        for (int64_t i = 0; i < D && !w->accurate; i++)
            c[i] = fmaf(lambda, p[t * D + i], c[i]);
        w->energy[first + t] = w->accurate
                                   ? gka_replay_row_dot(D, p + t * D, w->q + (first + t) * D)
                                   : gka_replay_row_dot(D, c, w->x + (first + t) * D);
    }
}

/* w->more = right . weight, weight per token (NULL: 1), kept. */
static const float *weighted(replay_head *w, int64_t width, const float *right,
                             const float *weight) {
    for (int64_t i = 0; i < C * width; i++)
        w->more[i] = weight != NULL ? kept(w, right[i] * weight[i / width]) : right[i];
    return w->more;
}

/* R <- fma(beta, S, R) and <R, S> of one 64 x 64 tile, as its block adds them. */
static float suffix_inner(int64_t width, int64_t block, bool normal, float beta, const float *S,
                          float *R) {
    const int64_t row0 = block / (width / 64) * 64, col0 = block % (width / 64) * 64;
    float total = 0;
    for (int64_t warp = 0; warp < 4; warp++) {
        float lane[32];
        for (int64_t l = 0; l < 32; l++) {
            lane[l] = 0;
            for (int64_t n = 0; n < 8; n++)
                for (int64_t e = 0; e < 4; e++) {
                    const int64_t at = (row0 + warp * 16 + l / 4 + (e >> 1) * 8) * width + col0 +
                                       n * 8 + (l & 3) * 2 + (e & 1);
                    if (normal)
                        R[at] = fmaf(beta, S[at], R[at]);
                    lane[l] = fmaf(R[at], S[at], lane[l]);
                }
        }
        const float part = butterfly(lane, 32);
        total = warp == 0 ? part : total + part;
    }
    return total;
}

void gka_replay_start_suffix(replay_head *w, const gka_problem *problem, bool normal, int64_t n,
                             int64_t h, double *scratch, const float *end, float *inner, float *R) {
    const int64_t D = w->D, width = normal ? D : w->V, tiles = (D / 64) * (width / 64);
    const bool given = (normal ? problem->dh_final : problem->du_final).data != NULL;
    zero(R, D * width);
    zero(inner, tiles);
    if (!given)
        return;
    (normal ? gka_problem_dh_final : gka_problem_du_final)(problem, n, h, scratch);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < width; j++) {
            const float here = (float)scratch[i * width + j];
            R[i * width + j] =
                normal ? -0.5f * (here + (float)scratch[j * width + i]) : here / w->s;
        }
    for (int64_t block = 0; block < tiles; block++)
        inner[block] = suffix_inner(width, block, false, 0, end, R);
}

void gka_replay_suffix(replay_head *w, bool normal, const float *states, float *snapshots,
                       float *inner, float *R) {
    const int64_t D = w->D, width = normal ? D : w->V, size = D * width,
                  tiles = (D / 64) * (width / 64);
    const float *const eg = w->gated ? w->eg : NULL;
    for (int64_t chunk = w->chunks - 1; chunk >= 0 && !gka_stopped(); chunk--) {
        const int64_t n = rows_of(w, chunk);
        gka_replay_gates(w, chunk);
        for (int64_t i = 0; i < size; i++)
            snapshots[chunk * size + i] = kept(w, R[i]);
        if (w->gated) {
            const float decay = gka_pinned_expf(w->G[n - 1]);
            for (int64_t i = 0; i < size; i++)
                R[i] = R[i] * decay;
        }
        if (normal) {
            float half_carry[C] = {0};
            for (int64_t j = 0; j < n; j++)
                half_carry[j] = 0.5f * w->carry[chunk * C + j];
            gka_replay_tile(w, w->p, D, chunk, w->t1);
            gka_replay_tile(w, w->x, D, chunk, w->t2);
            gka_replay_product_both(w, D, D, C, by_columns(w, w->t1),
                                    by_rows(w, weighted(w, D, w->t2, eg)), R);
            gka_replay_tile(w, w->k, D, chunk, w->t1);
            gka_replay_product_right(w, D, D, C, by_columns(w, w->t1),
                                     by_rows(w, weighted(w, D, w->t1, half_carry)), R);
        } else {
            gka_replay_mix(w, chunk, w->t1);
            gka_replay_tile(w, w->dout, width, chunk, w->t2);
            gka_replay_product_both(w, D, width, C, by_columns(w, w->t1),
                                    by_wide_rows(w, weighted(w, width, w->t2, eg)), R);
        }
        for (int64_t block = 0; block < tiles; block++)
            inner[chunk * tiles + block] =
                suffix_inner(width, block, normal, w->beta[chunk], states + chunk * size, R);
    }
}

/* What is sent back through U: dv, its terms of dg, and dk^U added to sum. */
static void through_values(replay_head *w, int64_t chunk, const float decay[C], float *sum,
                           float *dv) {
    const int64_t D = w->D, V = w->V, n = rows_of(w, chunk), first = chunk * C;
    const int64_t width = panel_of(w);
    float *const k = w->t1;
    const float *const E = w->e_chunk + chunk * D * V;
    float *const grad = w->t2, *const mixed = w->y, *const v = w->t3;
    gka_replay_mix(w, chunk, mixed);
    gka_replay_tile(w, w->dout, V, chunk, grad);
    zero(w->score, SQUARE);
    gka_replay_product_right(w, C, C, D, by_rows(w, k), by_columns(w, mixed), w->score);
    gka_replay_mask(w, true);
    zero(w->c, C * V);
    gka_replay_product(w, C, V, C, by_scores(w), by_wide_rows(w, grad), w->c);
    zero(w->more, C * V);
    gka_replay_product_right(w, C, V, D, by_rows(w, k), by_wide_rows(w, E), w->more);
    gka_replay_tile(w, w->v, V, chunk, v);
    for (int64_t i = 0; i < C * V; i++)
        w->c[i] = w->s * fmaf(decay[i / V], w->more[i], w->c[i]);
    for (int64_t t = 0; t < n; t++) {
        for (int64_t col = t * V; col < (t + 1) * V; col += width)
            w->local[t] = w->local[t] - gka_replay_row_dot(width, w->c + col, v + col);
        w->local[t] = w->local[t] + w->along[first + t];
        for (int64_t i = 0; i < V; i++)
            dv[(first + t) * V + i] = low(w, w->c[t * V + i]);
    }
    gka_replay_scores(w, V, v, grad, true);
    zero(w->c, C * D);
    gka_replay_product_right(w, C, D, C, by_scores(w), by_rows(w, mixed), w->c);
    zero(w->more, C * D);
    by_panels(w, v, E, w->more);
    for (int64_t i = 0; i < C * D; i++)
        sum[i] = sum[i] + w->s * fmaf(decay[i / D], w->more[i], w->c[i]);
}

/* From the chunk's last token to its first: <., H> and <., U> of the next chunk or of the final
 * states, then one term a token. */
static void gate_gradient(const replay_head *w, int64_t chunk, bool layer, float *dg) {
    const int64_t n = rows_of(w, chunk), first = chunk * C;
    const int64_t of_h = (w->D / 64) * (w->D / 64), of_u = (w->D / 64) * (w->V / 64);
    const bool last = chunk + 1 == w->chunks;
    const float *const of_n = last ? w->n_end : w->n_inner + (chunk + 1) * of_h;
    const float *const of_e = last ? w->e_end : w->e_inner + (chunk + 1) * of_u;
    float normal = 0, linear = 0;
    for (int64_t i = 0; i < of_h; i++)
        normal = normal + of_n[i];
    for (int64_t i = 0; layer && i < of_u; i++)
        linear = linear + of_e[i];
    float total = fmaf(w->s, linear, -normal);
    for (int64_t t = n - 1; t >= 0; t--) {
        total = total + w->local[t];
        dg[first + t] = total;
    }
}

/* dk, dv, dg, dq of a chunk; dk, dv, dq, dg [T,..] of the head. */
void gka_replay_gradients(replay_head *w, int64_t chunk, bool layer, float *dq, float *dk,
                          float *dv, float *dg) {
    const int64_t D = w->D, n = rows_of(w, chunk), first = chunk * C;
    const float *const S = w->h_chunk + chunk * D * D, *const N = w->n_chunk + chunk * D * D;
    float carry[C] = {0}, decay[C], weight[C] = {0};
    float *const k = w->t1, *const x = w->t2, *const p = w->t3, *const sum = w->r;
    gka_replay_gates(w, chunk);
    for (int64_t j = 0; j < C; j++) {
        decay[j] = w->gated && j < n ? gka_pinned_expf(w->G[n - 1] - w->G[j]) : 1.0f;
        if (j < n) {
            carry[j] = w->carry[first + j];
            weight[j] = w->w[first + j];
        }
    }
    gka_replay_tile(w, w->k, D, chunk, k);
    gka_replay_tile(w, w->x, D, chunk, x);
    gka_replay_tile(w, w->p, D, chunk, p);
    zero(sum, C * D);
    const float *const pairs[2][2] = {{x, p}, {p, x}};
    for (int i = 0; i < 2; i++) {
        zero(w->score, SQUARE);
        gka_replay_product_right(w, C, C, D, by_rows(w, k), by_columns(w, pairs[i][0]), w->score);
        gka_replay_mask(w, true);
        gka_replay_product_right(w, C, D, C, by_scores(w), by_rows(w, pairs[i][1]), sum);
    }
    zero(w->score, SQUARE);
    gka_replay_product(w, C, C, D, by_rows(w, k), by_columns(w, k), w->score);
    for (int64_t j = 0; j < C; j++)
        for (int64_t i = 0; i < C; i++) {
            float both = 0;
            for (int64_t t = i > j ? i : j; t < n; t++)
                both = fmaf(w->mask[t * C + j] * weight[t], w->mask[t * C + i], both);
            w->score[j * C + i] = low(w, w->score[j * C + i] * both);
        }
    gka_replay_product(w, C, D, C, by_scores(w), by_rows(w, k), sum);
    zero(w->more, C * D);
    gka_replay_product(w, C, D, D, by_rows(w, k), by_columns(w, S), w->more);
    for (int64_t i = 0; i < C * D; i++)
        sum[i] = fmaf(carry[i / D], w->more[i], sum[i]);
    zero(w->more, C * D);
    for (int part = w->accurate ? LOW : HIGH; part >= HIGH; part--) {
        gka_replay_product(w, C, D, D, by_rows(w, k), (operand){N, D, 1, part}, w->more);
        gka_replay_product(w, C, D, D, by_rows(w, k), (operand){N, 1, D, part}, w->more);
    }
    for (int64_t i = 0; i < C * D; i++)
        sum[i] = -fmaf(decay[i / D], w->more[i], sum[i]);
    for (int64_t t = 0; t < n; t++) {
        w->local[t] = -0.5f * gka_replay_row_dot(D, sum + t * D, k + t * D);
        w->local[t] = w->local[t] - w->energy[first + t];
        if (layer)
            for (int64_t i = 0; i < D; i++)
                dq[(first + t) * D + i] = low(w, w->rest[(first + t) * D + i] + p[t * D + i]);
    }
    if (layer)
        through_values(w, chunk, decay, sum, dv);
    for (int64_t i = 0; i < n * D; i++)
        dk[first * D + i] = low(w, sum[i]);
    gate_gradient(w, chunk, layer, dg);
}
