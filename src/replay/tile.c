/* tile.c - a 64-token tile of the replayed kernels: products, sums, gates, masked scores.
 *
 * The orders of summation come from where a kernel's threads keep a 64 x D tile: four column groups
 * of D/4; in a group, the four threads of a row hold columns 2p, 2p + 1 of every eight.
 */
#include "replay/head.h"

#include "arith/pinned.h"

/* A part of an operand [rows, columns], dense. */
static void unpack(const replay_head *w, int64_t rows, int64_t columns, operand x, double *to) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            const float v = x.at[i * x.row + j * x.column], high = low(w, v);
            to[i * columns + j] = x.part == HIGH ? high : high - high == 0 ? v - high : 0;
        }
}

void gka_replay_product(replay_head *w, int64_t m, int64_t n, int64_t k, operand a, operand b,
                        float *c) {
    const gka_mma_input input = w->fp16 ? GKA_MMA_FP16 : GKA_MMA_BF16;
    unpack(w, m, k, a, w->da);
    unpack(w, k, n, b, w->db);
    for (int64_t i = 0; i < m * n; i++)
        w->dc[i] = c[i];
    gka_mma(w->device, input, m, n, k, (gka_matrix){w->da, k, 1}, (gka_matrix){w->db, n, 1}, w->dc,
            n, w->packed);
    for (int64_t i = 0; i < m * n; i++)
        c[i] = (float)w->dc[i];
}

static operand low_part(operand x) {
    x.part = LOW;
    return x;
}

void gka_replay_product_left(replay_head *w, int64_t m, int64_t n, int64_t k, operand a, operand b,
                             float *c) {
    if (w->accurate)
        gka_replay_product(w, m, n, k, low_part(a), b, c);
    gka_replay_product(w, m, n, k, a, b, c);
}

void gka_replay_product_right(replay_head *w, int64_t m, int64_t n, int64_t k, operand a, operand b,
                              float *c) {
    if (w->accurate)
        gka_replay_product(w, m, n, k, a, low_part(b), c);
    gka_replay_product(w, m, n, k, a, b, c);
}

void gka_replay_product_both(replay_head *w, int64_t m, int64_t n, int64_t k, operand a, operand b,
                             float *c) {
    if (w->accurate)
        gka_replay_product(w, m, n, k, a, low_part(b), c);
    gka_replay_product_left(w, m, n, k, a, b, c);
}

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

void gka_replay_tile(const replay_head *w, const float *from, int64_t width, int64_t chunk,
                     float *to) {
    const int64_t n = rows_of(w, chunk);
    memcpy(to, from + chunk * C * width, (size_t)(n * width) * sizeof *to);
    zero(to + n * width, (C - n) * width);
}

/* score = bf16(score . M), or . M^T. */
void gka_replay_mask(replay_head *w, bool transposed) {
    for (int64_t i = 0; i < C; i++)
        for (int64_t j = 0; j < C; j++)
            w->score[i * C + j] =
                low(w, w->score[i * C + j] * w->mask[transposed ? j * C + i : i * C + j]);
}

void gka_replay_scores(replay_head *w, int64_t width, const float *left, const float *right,
                       bool transposed) {
    zero(w->score, SQUARE);
    gka_replay_product(w, C, C, width, (operand){left, width, 1, HIGH},
                       (operand){right, 1, width, HIGH}, w->score);
    gka_replay_mask(w, transposed);
}

/* c = exp(G) (y S) + bf16((y K^T) . M) right; y in one part. */
void gka_replay_apply(replay_head *w, const float *y, const float *S, const float *k,
                      const float *right) {
    const int64_t D = w->D;
    gka_replay_scores(w, D, y, k, false);
    zero(w->c, C * D);
    gka_replay_product(w, C, D, D, by_rows(w, y), by_rows(w, S), w->c);
    gka_replay_decay_rows(w, D, w->c);
    gka_replay_product(w, C, D, C, by_scores(w), by_rows(w, right), w->c);
}

void gka_replay_decay_rows(const replay_head *w, int64_t width, float *c) {
    for (int64_t i = 0; i < C * width; i++)
        c[i] = c[i] * w->eg[i / width];
}

/* q' = fma(alpha, x - q, q) of a chunk's tokens, kept. */
void gka_replay_mix(const replay_head *w, int64_t chunk, float *to) {
    const int64_t D = w->D, n = rows_of(w, chunk), first = chunk * C;
    zero(to, C * D);
    for (int64_t t = 0; t < n; t++)
        for (int64_t i = 0; i < D; i++) {
            const float q = w->q[(first + t) * D + i], x = w->x[(first + t) * D + i];
            to[t * D + i] = kept(w, fmaf(w->alpha[first + t], x - q, q));
        }
}

void gka_replay_snapshot(const replay_head *w, bool of_h, const float *S, float *to) {
    for (int64_t i = 0; i < w->D * (of_h ? w->D : w->V); i++)
        to[i] = of_h ? low(w, S[i]) : kept(w, S[i]);
}
