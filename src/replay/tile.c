/* tile.c - a 64-token tile of the replayed kernels: products, sums, gates, masked scores.
 *
 * The orders of summation come from where a kernel's threads keep a 64 x D tile: four column groups
 * of D/4; in a group, the four threads of a row hold columns 2p, 2p + 1 of every eight.
 */
#include "replay/head.h"

#include "arith/pinned.h"

/* c[m,n] += a b on the tensor core; the element (i, j) of an operand stands at i * row + j *
 * column. */
void gka_replay_product(replay_head *w, int64_t m, int64_t n, int64_t k, const float *a,
                        int64_t a_row, int64_t a_column, const float *b, int64_t b_row,
                        int64_t b_column, float *c) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < k; j++)
            w->da[i * k + j] = a[i * a_row + j * a_column];
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < n; j++)
            w->db[i * n + j] = b[i * b_row + j * b_column];
    for (int64_t i = 0; i < m * n; i++)
        w->dc[i] = c[i];
    gka_mma(w->device, GKA_MMA_BF16, m, n, k, (gka_matrix){w->da, k, 1}, (gka_matrix){w->db, n, 1},
            w->dc, n, w->packed);
    for (int64_t i = 0; i < m * n; i++)
        c[i] = (float)w->dc[i];
}

/* sum_i a_i b_i over a row of D in the order of a tile's threads, then column groups in order. */
float gka_replay_row_dot(int64_t D, const float *a, const float *b) {
    float total = 0;
    for (int64_t group = 0; group < 4; group++) {
        float quad[4];
        for (int64_t p = 0; p < 4; p++) {
            float sum = 0;
            for (int64_t n = 0; n < D / 32; n++)
                for (int64_t i = 0; i < 2; i++) {
                    const int64_t col = group * (D / 4) + n * 8 + 2 * p + i;
                    sum = fmaf(a[col], b[col], sum);
                }
            quad[p] = sum;
        }
        const float part = butterfly(quad, 4);
        total = group == 0 ? part : total + part;
    }
    return total;
}

/* G, exp(G) and M of a chunk. */
void gka_replay_gates(replay_head *w, int64_t chunk) {
    const int64_t n = rows_of(w, chunk);
    float sum = 0;
    for (int64_t t = 0; t < C; t++) {
        if (w->gated && t < n)
            sum = sum + w->g[chunk * C + t];
        w->G[t] = sum;
        w->eg[t] = w->gated && t < n ? gka_pinned_expf(sum) : 1.0f;
    }
    for (int64_t t = 0; t < C; t++)
        for (int64_t j = 0; j < C; j++) {
            float m = j <= t && t < n ? 1.0f : 0.0f;
            if (w->gated && j < t && t < n)
                m = gka_pinned_expf(w->G[t] - w->G[j]);
            w->mask[t * C + j] = m;
        }
}

/* Rows [chunk C, chunk C + C) of a [T,D] tensor, zero beyond T. */
void gka_replay_tile(const replay_head *w, const float *from, int64_t chunk, float *to) {
    const int64_t n = rows_of(w, chunk);
    memcpy(to, from + chunk * C * w->D, (size_t)(n * w->D) * sizeof *to);
    zero(to + n * w->D, (C - n) * w->D);
}

/* score = bf16((left right^T) . M), or . M^T. */
void gka_replay_masked_scores(replay_head *w, const float *left, const float *right,
                              bool transposed) {
    zero(w->score, SQUARE);
    gka_replay_product(w, C, C, w->D, left, w->D, 1, right, 1, w->D, w->score);
    for (int64_t i = 0; i < C; i++)
        for (int64_t j = 0; j < C; j++)
            w->score[i * C + j] =
                low(w->score[i * C + j] * w->mask[transposed ? j * C + i : i * C + j]);
}

/* c = exp(G) (y S) + bf16((y K^T) . M) right */
void gka_replay_apply(replay_head *w, const float *y, const float *S, const float *k,
                      const float *right) {
    const int64_t D = w->D;
    gka_replay_masked_scores(w, y, k, false);
    zero(w->c, C * D);
    gka_replay_product(w, C, D, D, y, D, 1, S, D, 1, w->c);
    for (int64_t t = 0; t < C; t++)
        for (int64_t i = 0; i < D; i++)
            w->c[t * D + i] = w->c[t * D + i] * w->eg[t];
    gka_replay_product(w, C, D, C, w->score, C, 1, right, D, 1, w->c);
}

/* q' = bf16(fma(alpha, x - q, q)) of a chunk's tokens. */
void gka_replay_mix(const replay_head *w, int64_t chunk, float *to) {
    const int64_t D = w->D, n = rows_of(w, chunk), first = chunk * C;
    zero(to, C * D);
    for (int64_t t = 0; t < n; t++)
        for (int64_t i = 0; i < D; i++) {
            const float q = w->q[(first + t) * D + i], x = w->x[(first + t) * D + i];
            to[t * D + i] = low(fmaf(w->alpha[first + t], x - q, q));
        }
}

void gka_replay_snapshot(const replay_head *w, const float *S, float *to) {
    for (int64_t i = 0; i < w->D * w->D; i++)
        to[i] = low(S[i]);
}
