/* replay.c - the kernels of src/cuda on a CPU, bit for bit (profile "gka-cuda").
 *
 * What src/cuda marks as RULE, in the same order: products by the tensor core in ascending groups
 * of 16 (gka_mma), every other operation in binary32 with fmaf() where the kernel fuses, exp from
 * arith/pinned.h, sums in the kernels' written orders. Letters as there: C = 64; rows t (queries)
 * and j (keys); M_tj = exp(G_t - G_j); N = -dL/dH, E = dL/dU / s.
 *
 * The orders of summation come from where a kernel's threads keep a 64 x D tile: four column groups
 * of D/4; in a group, the four threads of a row hold columns 2p, 2p + 1 of every eight.
 */
#include "chunk/replay.h"

#include "arith/pinned.h"
#include "chunk/tile.h"

#include <stdlib.h>

enum { C = 64, SQUARE = C * C, MAX_D = 128 };

/* ---- one head ------------------------------------------------------------------------------ */

typedef struct head {
    const gka_device *device;
    int64_t D, T, chunks;
    bool gated;
    float a, s;
    int num_iter;
    gka_form form;
    /* the head's tensors, [T,D] or [T] */
    float *q, *k, *v, *alpha, *g, *x, *fro, *dout, *dx, *p, *rest;
    float *along, *w, *carry, *local;
    /* [chunks,D,D] snapshots; [chunks] or [chunks, tiles] scalars */
    float *h_chunk, *u_chunk, *n_chunk, *e_chunk, *beta, *n_inner, *e_inner;
    float *state; /* [D,D] */
    /* one chunk */
    float *G, *eg, *mask, *score;           /* [C], [C], [C,C] twice */
    float *c, *more, *r, *y, *t1, *t2, *t3; /* [C,D] */
    float *square;                          /* [D,D] */
    /* what the device reads */
    double *da, *db, *dc;
    void *packed;
} head;

static float low(float x) {
    return (float)bf16(x);
}

/* c[m,n] += a b on the tensor core; the element (i, j) of an operand stands at i * row + j *
 * column. */
static void product(head *w, int64_t m, int64_t n, int64_t k, const float *a, int64_t a_row,
                    int64_t a_column, const float *b, int64_t b_row, int64_t b_column, float *c) {
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

static void zero(float *c, int64_t n) {
    memset(c, 0, (size_t)n * sizeof *c);
}

/* v[0..n) added in pairs 1 apart, then 2, 4, ...; n a power of two. */
static float butterfly(float *v, int n) {
    for (int half = 1; half < n; half *= 2)
        for (int i = 0; i < n; i += 2 * half)
            v[i] = v[i] + v[i + half];
    return v[0];
}

/* sum_i a_i b_i over a row of D in the order of a tile's threads, then column groups in order. */
static float row_dot_tile(int64_t D, const float *a, const float *b) {
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

static int64_t rows_of(const head *w, int64_t chunk) {
    return w->T - chunk * C < C ? w->T - chunk * C : C;
}

/* G, exp(G) and M of a chunk. */
static void gates(head *w, int64_t chunk) {
    const int64_t n = rows_of(w, chunk);
    float sum = 0;
    for (int64_t t = 0; t < C; t++) {
        if (w->gated && t < n)
            sum = sum + w->g[chunk * C + t];
        w->G[t] = sum;
        w->eg[t] = w->gated && t < n ? gka_pinned_exp(sum) : 1.0f;
    }
    for (int64_t t = 0; t < C; t++)
        for (int64_t j = 0; j < C; j++) {
            float m = j <= t && t < n ? 1.0f : 0.0f;
            if (w->gated && j < t && t < n)
                m = gka_pinned_exp(w->G[t] - w->G[j]);
            w->mask[t * C + j] = m;
        }
}

/* Rows [chunk C, chunk C + C) of a [T,D] tensor, zero beyond T. */
static void tile(const head *w, const float *from, int64_t chunk, float *to) {
    const int64_t n = rows_of(w, chunk);
    memcpy(to, from + chunk * C * w->D, (size_t)(n * w->D) * sizeof *to);
    zero(to + n * w->D, (C - n) * w->D);
}

/* score = bf16((left right^T) . M), or . M^T. */
static void masked_scores(head *w, const float *left, const float *right, bool transposed) {
    zero(w->score, SQUARE);
    product(w, C, C, w->D, left, w->D, 1, right, 1, w->D, w->score);
    for (int64_t i = 0; i < C; i++)
        for (int64_t j = 0; j < C; j++)
            w->score[i * C + j] =
                low(w->score[i * C + j] * w->mask[transposed ? j * C + i : i * C + j]);
}

/* c = exp(G) (y S) + bf16((y K^T) . M) right */
static void apply(head *w, const float *y, const float *S, const float *k, const float *right) {
    const int64_t D = w->D;
    masked_scores(w, y, k, false);
    zero(w->c, C * D);
    product(w, C, D, D, y, D, 1, S, D, 1, w->c);
    for (int64_t t = 0; t < C; t++)
        for (int64_t i = 0; i < D; i++)
            w->c[t * D + i] = w->c[t * D + i] * w->eg[t];
    product(w, C, D, C, w->score, C, 1, right, D, 1, w->c);
}

/* ---- forward ------------------------------------------------------------------------------- */

static void norm(head *w, const float *S, const float *k, float *fro) {
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
    product(w, C, D, D, k, D, 1, S, D, 1, w->c);
    zero(w->score, SQUARE);
    product(w, C, C, D, k, D, 1, k, 1, D, w->score);
    for (int64_t t = 0; t < C; t++) {
        float sum = w->eg[t] * row_dot_tile(D, w->c + t * D, k + t * D);
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
static void solve(head *w, const float *q, const float *S, const float *k, const float *fro,
                  float *x) {
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
                w->y[i] = x[i] = empty ? 0 : low(q[i] / theta[t]);
            } else {
                w->r[i] = 0;
                x[i] = empty ? 0 : theta[t] * q[i];
                w->y[i] = low(x[i]);
            }
        }
    }
    for (int iteration = 0; iteration < w->num_iter; iteration++) {
        apply(w, w->y, S, k, k);
        for (int64_t t = 0; t < C; t++) {
            const bool empty = !(lambda[t] > 0);
            if (two) {
                const float tau = weight[t], sigma2 = 2.0f * (theta[t] * scale[t]);
                const float next = 1.0f / (sigma2 - tau), keep = next * tau,
                            add = (2.0f * next) * scale[t];
                weight[t] = next;
                for (int64_t i = t * D; i < (t + 1) * D; i++) {
                    w->r[i] = w->r[i] - fmaf(lambda[t], w->y[i], w->c[i]);
                    w->y[i] = empty ? 0 : low(fmaf(keep, w->y[i], add * w->r[i]));
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
                    w->y[i] = low(now);
                }
            }
        }
    }
}

/* S <- S exp(G_C) + K^T bf16(v exp(G_C - G_j)); v as a tile. */
static void advance(head *w, int64_t chunk, const float *k, const float *v, float *S) {
    const int64_t D = w->D, n = rows_of(w, chunk);
    const float last = w->G[n - 1], decay = gka_pinned_exp(last);
    for (int64_t j = 0; j < C; j++) {
        const float weight = w->gated && j < n ? gka_pinned_exp(last - w->G[j]) : 1.0f;
        for (int64_t i = 0; i < D; i++)
            w->more[j * D + i] = w->gated ? low(v[j * D + i] * weight) : v[j * D + i];
    }
    if (w->gated)
        for (int64_t i = 0; i < D * D; i++)
            S[i] = S[i] * decay;
    product(w, D, D, C, k, 1, D, w->more, D, 1, S);
}

static void snapshot(const head *w, const float *S, float *to) {
    for (int64_t i = 0; i < w->D * w->D; i++)
        to[i] = low(S[i]);
}

/* All snapshots of a state, and its final value in w->state. */
static void walk(head *w, const float *v, float *snapshots) {
    for (int64_t chunk = 0; chunk < w->chunks; chunk++) {
        gates(w, chunk);
        snapshot(w, w->state, snapshots + chunk * w->D * w->D);
        tile(w, w->k, chunk, w->t1);
        tile(w, v, chunk, w->t2);
        advance(w, chunk, w->t1, w->t2, w->state);
    }
}

/* q' = bf16(fma(alpha, x - q, q)) of a chunk's tokens. */
static void mix(const head *w, int64_t chunk, float *to) {
    const int64_t D = w->D, n = rows_of(w, chunk), first = chunk * C;
    zero(to, C * D);
    for (int64_t t = 0; t < n; t++)
        for (int64_t i = 0; i < D; i++) {
            const float q = w->q[(first + t) * D + i], x = w->x[(first + t) * D + i];
            to[t * D + i] = low(fmaf(w->alpha[first + t], x - q, q));
        }
}

static void forward_chunk(head *w, int64_t chunk, bool output, float *o) {
    const int64_t D = w->D, n = rows_of(w, chunk), first = chunk * C;
    const float *const S = w->h_chunk + chunk * D * D;
    float fro[C];
    gates(w, chunk);
    tile(w, w->k, chunk, w->t1);
    tile(w, w->q, chunk, w->t2);
    norm(w, S, w->t1, fro);
    solve(w, w->t2, S, w->t1, fro, w->t3);
    memcpy(w->fro + first, fro, (size_t)n * sizeof *fro);
    for (int64_t i = 0; i < n * D; i++)
        w->x[first * D + i] = low(w->t3[i]);
    if (!output)
        return;
    mix(w, chunk, w->y);
    tile(w, w->v, chunk, w->t2);
    apply(w, w->y, w->u_chunk + chunk * D * D, w->t1, w->t2);
    for (int64_t i = 0; i < n * D; i++)
        o[first * D + i] = low(w->s * w->c[i]);
}

/* ---- backward ------------------------------------------------------------------------------ */

/* dq' of a chunk: dalpha, along, dx, rest. */
static void output_gradient(head *w, int64_t chunk, float *dalpha) {
    const int64_t D = w->D, n = rows_of(w, chunk), first = chunk * C;
    gates(w, chunk);
    tile(w, w->dout, chunk, w->t1);
    tile(w, w->v, chunk, w->t2);
    tile(w, w->k, chunk, w->t3);
    masked_scores(w, w->t1, w->t2, false);
    zero(w->c, C * D);
    product(w, C, D, D, w->t1, D, 1, w->u_chunk + chunk * D * D, 1, D, w->c);
    for (int64_t t = 0; t < C; t++)
        for (int64_t i = 0; i < D; i++)
            w->c[t * D + i] = w->c[t * D + i] * w->eg[t];
    product(w, C, D, C, w->score, C, 1, w->t3, D, 1, w->c);
    mix(w, chunk, w->y);
    for (int64_t t = 0; t < n; t++) {
        float *const c = w->c + t * D;
        const float alpha = w->alpha[first + t];
        float difference[MAX_D];
        for (int64_t i = 0; i < D; i++) {
            const int64_t at = (first + t) * D + i;
            c[i] = w->s * c[i];
            difference[i] = w->x[at] - w->q[at];
            w->dx[at] = low(alpha * c[i]);
            w->rest[at] = low(fmaf(-alpha, c[i], c[i]));
        }
        dalpha[first + t] = low(row_dot_tile(D, c, difference));
        w->along[first + t] = row_dot_tile(D, c, w->y + t * D);
    }
}

static void weights(head *w, int64_t chunk) {
    const int64_t D = w->D, n = rows_of(w, chunk), first = chunk * C;
    gates(w, chunk);
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
            carry = fmaf(w->eg[t] * gka_pinned_exp(w->G[t] - w->G[j]), w->w[first + t], carry);
        w->carry[first + j] = carry;
        beta = fmaf(w->eg[j] * w->eg[j], 0.5f * w->w[first + j], beta);
    }
    w->beta[chunk] = beta;
}

/* R += left^T bf16(right . weight), weight per token. */
static void suffix_add(head *w, const float *left, const float *right, const float *weight,
                       float *R) {
    const int64_t D = w->D;
    for (int64_t t = 0; t < C; t++)
        for (int64_t i = 0; i < D; i++)
            w->more[t * D + i] =
                weight != NULL ? low(right[t * D + i] * weight[t]) : right[t * D + i];
    product(w, D, D, C, left, 1, D, w->more, D, 1, R);
}

/* R <- fma(beta, S, R) and <R, S> of one 64 x 64 tile, as its block adds them. */
static float suffix_inner(const head *w, int64_t row0, int64_t col0, bool normal, float beta,
                          const float *S, float *R) {
    const int64_t D = w->D;
    float total = 0;
    for (int64_t warp = 0; warp < 4; warp++) {
        float lane[32];
        for (int64_t l = 0; l < 32; l++) {
            lane[l] = 0;
            for (int64_t n = 0; n < 8; n++)
                for (int64_t e = 0; e < 4; e++) {
                    const int64_t at = (row0 + warp * 16 + l / 4 + (e >> 1) * 8) * D + col0 +
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

static void suffix(head *w, bool normal, const float *states, float *snapshots, float *inner,
                   float *R) {
    const int64_t D = w->D, tiles = D / 64;
    zero(R, D * D);
    for (int64_t chunk = w->chunks - 1; chunk >= 0; chunk--) {
        const int64_t n = rows_of(w, chunk);
        gates(w, chunk);
        snapshot(w, R, snapshots + chunk * D * D);
        if (w->gated) {
            const float decay = gka_pinned_exp(w->G[n - 1]);
            for (int64_t i = 0; i < D * D; i++)
                R[i] = R[i] * decay;
        }
        if (normal) {
            float half[C] = {0};
            for (int64_t j = 0; j < n; j++)
                half[j] = 0.5f * w->carry[chunk * C + j];
            tile(w, w->p, chunk, w->t1);
            tile(w, w->x, chunk, w->t2);
            suffix_add(w, w->t1, w->t2, w->gated ? w->eg : NULL, R);
            tile(w, w->k, chunk, w->t1);
            suffix_add(w, w->t1, w->t1, half, R);
        } else {
            mix(w, chunk, w->t1);
            tile(w, w->dout, chunk, w->t2);
            suffix_add(w, w->t1, w->t2, w->gated ? w->eg : NULL, R);
        }
        for (int64_t block = 0; block < tiles * tiles; block++)
            inner[chunk * tiles * tiles + block] =
                suffix_inner(w, block / tiles * 64, block % tiles * 64, normal, w->beta[chunk],
                             states + chunk * D * D, R);
    }
}

/* dk, dv, dg, dq of a chunk; dk, dv, dq, dg [T,..] of the head. */
static void gradients(head *w, int64_t chunk, bool layer, float *dq, float *dk, float *dv,
                      float *dg) {
    const int64_t D = w->D, n = rows_of(w, chunk), first = chunk * C, tiles = (D / 64) * (D / 64);
    const float *const S = w->h_chunk + chunk * D * D, *const N = w->n_chunk + chunk * D * D;
    float carry[C] = {0}, decay[C], weight[C] = {0};
    float *const k = w->t1, *const x = w->t2, *const p = w->t3, *const sum = w->r;
    gates(w, chunk);
    for (int64_t j = 0; j < C; j++) {
        decay[j] = w->gated && j < n ? gka_pinned_exp(w->G[n - 1] - w->G[j]) : 1.0f;
        if (j < n) {
            carry[j] = w->carry[first + j];
            weight[j] = w->w[first + j];
        }
    }
    tile(w, w->k, chunk, k);
    tile(w, w->x, chunk, x);
    tile(w, w->p, chunk, p);
    zero(sum, C * D);
    masked_scores(w, k, x, true);
    product(w, C, D, C, w->score, C, 1, p, D, 1, sum);
    masked_scores(w, k, p, true);
    product(w, C, D, C, w->score, C, 1, x, D, 1, sum);
    zero(w->score, SQUARE);
    product(w, C, C, D, k, D, 1, k, 1, D, w->score);
    for (int64_t j = 0; j < C; j++)
        for (int64_t i = 0; i < C; i++) {
            float both = 0;
            for (int64_t t = i > j ? i : j; t < n; t++)
                both = fmaf(w->mask[t * C + j] * weight[t], w->mask[t * C + i], both);
            w->score[j * C + i] = low(w->score[j * C + i] * both);
        }
    product(w, C, D, C, w->score, C, 1, k, D, 1, sum);
    zero(w->more, C * D);
    product(w, C, D, D, k, D, 1, S, 1, D, w->more);
    for (int64_t i = 0; i < C * D; i++)
        sum[i] = fmaf(carry[i / D], w->more[i], sum[i]);
    zero(w->more, C * D);
    product(w, C, D, D, k, D, 1, N, D, 1, w->more);
    product(w, C, D, D, k, D, 1, N, 1, D, w->more);
    for (int64_t i = 0; i < C * D; i++)
        sum[i] = -fmaf(decay[i / D], w->more[i], sum[i]);
    for (int64_t t = 0; t < n; t++) {
        const float *const q = w->q + (first + t) * D;
        w->local[t] = -0.5f * row_dot_tile(D, sum + t * D, k + t * D);
        w->local[t] = w->local[t] - row_dot_tile(D, p + t * D, q);
        if (layer)
            for (int64_t i = 0; i < D; i++)
                dq[(first + t) * D + i] = low(w->rest[(first + t) * D + i] + p[t * D + i]);
    }
    if (layer) {
        const float *const E = w->e_chunk + chunk * D * D;
        float *const grad = w->t2, *const mixed = w->y, *const v = w->t3;
        mix(w, chunk, mixed);
        tile(w, w->dout, chunk, grad);
        masked_scores(w, k, mixed, true);
        zero(w->c, C * D);
        product(w, C, D, C, w->score, C, 1, grad, D, 1, w->c);
        zero(w->more, C * D);
        product(w, C, D, D, k, D, 1, E, D, 1, w->more);
        tile(w, w->v, chunk, v);
        for (int64_t i = 0; i < C * D; i++)
            w->c[i] = w->s * fmaf(decay[i / D], w->more[i], w->c[i]);
        for (int64_t t = 0; t < n; t++) {
            w->local[t] =
                w->local[t] - row_dot_tile(D, w->c + t * D, v + t * D) + w->along[first + t];
            for (int64_t i = 0; i < D; i++)
                dv[(first + t) * D + i] = low(w->c[t * D + i]);
        }
        masked_scores(w, v, grad, true);
        zero(w->c, C * D);
        product(w, C, D, C, w->score, C, 1, mixed, D, 1, w->c);
        zero(w->more, C * D);
        product(w, C, D, D, v, D, 1, E, 1, D, w->more);
        for (int64_t i = 0; i < C * D; i++)
            sum[i] = sum[i] + w->s * fmaf(decay[i / D], w->more[i], w->c[i]);
    }
    for (int64_t i = 0; i < n * D; i++)
        dk[first * D + i] = low(sum[i]);
    float total = 0;
    if (chunk + 1 < w->chunks) {
        float normal = 0, linear = 0;
        for (int64_t i = 0; i < tiles; i++) {
            normal = normal + w->n_inner[(chunk + 1) * tiles + i];
            linear = layer ? linear + w->e_inner[(chunk + 1) * tiles + i] : 0;
        }
        total = fmaf(w->s, linear, -normal);
    }
    for (int64_t t = n - 1; t >= 0; t--) {
        total = total + w->local[t];
        dg[first + t] = total;
    }
}

/* ---- a problem ----------------------------------------------------------------------------- */

typedef struct replay {
    const gka_problem *problem;
    const gka_device *device;
    gka_form form;
    gka_chunk *out;
    bool backward, layer;
    const double *x, *fro;    /* the forward's, for the backward */
    float *head_dk, *head_dv; /* [B,H,T,D], by query head */
    char *memory;
    size_t each;
} replay;

/* The arrays of a head, cut from base; base = NULL only counts. Returns the bytes. */
static size_t lay_out(head *w, char *base) {
    const int64_t D = w->D, T = w->T, DD = D * D, states = w->chunks * DD,
                  tiles = (D / 64) * (D / 64);
    size_t used = 0;
    const struct {
        float **array;
        int64_t count;
    } arrays[] = {
        {&w->q, T * D},
        {&w->k, T * D},
        {&w->v, T * D},
        {&w->alpha, T},
        {&w->g, T},
        {&w->x, T * D},
        {&w->fro, T},
        {&w->dout, T * D},
        {&w->dx, T * D},
        {&w->p, T * D},
        {&w->rest, T * D},
        {&w->along, T},
        {&w->w, T},
        {&w->carry, T},
        {&w->local, C},
        {&w->h_chunk, states},
        {&w->u_chunk, states},
        {&w->n_chunk, states},
        {&w->e_chunk, states},
        {&w->beta, w->chunks},
        {&w->n_inner, w->chunks * tiles},
        {&w->e_inner, w->chunks * tiles},
        {&w->state, DD},
        {&w->G, C},
        {&w->eg, C},
        {&w->mask, SQUARE},
        {&w->score, SQUARE},
        {&w->c, C * D},
        {&w->more, C * D},
        {&w->r, C * D},
        {&w->y, C * D},
        {&w->t1, C * D},
        {&w->t2, C * D},
        {&w->t3, C * D},
        {&w->square, 4 * T * D},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        if (base != NULL)
            *arrays[i].array = (float *)(void *)(base + used);
        used += ((size_t)arrays[i].count * sizeof(float) + 63) / 64 * 64;
    }
    double **const doubles[] = {&w->da, &w->db, &w->dc};
    for (int i = 0; i < 3; i++) {
        if (base != NULL)
            *doubles[i] = (double *)(void *)(base + used);
        used += (size_t)DD * sizeof(double);
    }
    if (base != NULL)
        w->packed = base + used;
    const size_t left = gka_mma_left_size(w->device, GKA_MMA_BF16, D, D);
    const size_t right = gka_mma_right_size(w->device, GKA_MMA_BF16, D, D);
    return used + (left + right + 63) / 64 * 64;
}

static head head_of(const replay *run) {
    const gka_problem *const problem = run->problem;
    return (head){.device = run->device,
                  .D = problem->D,
                  .T = problem->T,
                  .chunks = (problem->T + C - 1) / C,
                  .gated = problem->g.data != NULL,
                  .a = (float)problem->ridge_ratio,
                  .s = (float)problem->scale,
                  .num_iter = problem->num_iter,
                  .form = run->form};
}

typedef void row_reader(const gka_problem *, int64_t, int64_t, int64_t, double *);

static void read_rows(const gka_problem *problem, row_reader *reader, int64_t b, int64_t h,
                      int64_t width, float *to) {
    double row[MAX_D];
    for (int64_t t = 0; t < problem->T; t++) {
        reader(problem, b, t, h, row);
        for (int64_t i = 0; i < width; i++)
            to[t * width + i] = (float)row[i];
    }
}

static void read_state(const gka_problem *problem, bool u, int64_t b, int64_t h, double *scratch,
                       float *to) {
    (u ? gka_problem_u0 : gka_problem_h0)(problem, b, h, scratch);
    for (int64_t i = 0; i < problem->D * problem->D; i++)
        to[i] = (float)scratch[i];
}

static void load_head(head *w, const gka_problem *problem, int64_t b, int64_t h) {
    read_rows(problem, gka_problem_q, b, h, w->D, w->q);
    read_rows(problem, gka_problem_k, b, h, w->D, w->k);
    if (problem->V > 0)
        read_rows(problem, gka_problem_v, b, h, w->D, w->v);
    for (int64_t t = 0; t < w->T; t++) {
        w->alpha[t] = (float)gka_problem_alpha(problem, b, t, h);
        w->g[t] = (float)gka_problem_g(problem, b, t, h);
    }
}

/* The head's [T, width] array into a [B,T,H,width] tensor. */
static void store(const gka_problem *problem, int64_t b, int64_t h, int64_t width,
                  const float *from, double *to) {
    for (int64_t t = 0; to != NULL && t < problem->T; t++)
        for (int64_t i = 0; i < width; i++)
            to[((b * problem->T + t) * problem->H + h) * width + i] = from[t * width + i];
}

static void store_state(const gka_problem *problem, int64_t b, int64_t h, float factor,
                        const float *from, double *to) {
    const int64_t DD = problem->D * problem->D;
    for (int64_t i = 0; to != NULL && i < DD; i++)
        to[(b * problem->H + h) * DD + i] = factor * from[i];
}

static void forward_head(head *w, const replay *run, int64_t b, int64_t h) {
    const gka_problem *const problem = run->problem;
    const int64_t DD = w->D * w->D;
    const bool output = problem->V > 0 && (run->out->o != NULL || run->out->u_final != NULL);
    float *const o = w->square;
    read_state(problem, false, b, h, w->da, w->state);
    walk(w, w->k, w->h_chunk);
    store_state(problem, b, h, 1, w->state, run->out->h_final);
    for (int64_t i = 0; run->out->h_chunk != NULL && i < w->chunks * DD; i++)
        run->out->h_chunk[((b * w->chunks + i / DD) * problem->H + h) * DD + i % DD] =
            w->h_chunk[i];
    if (output) {
        read_state(problem, true, b, h, w->da, w->state);
        walk(w, w->v, w->u_chunk);
        store_state(problem, b, h, 1, w->state, run->out->u_final);
    }
    for (int64_t chunk = 0; chunk < w->chunks; chunk++)
        forward_chunk(w, chunk, output, o);
    store(problem, b, h, w->D, w->x, run->out->x);
    store(problem, b, h, 1, w->fro, run->out->fro);
    if (output)
        store(problem, b, h, w->D, o, run->out->o);
}

static void backward_head(head *w, const replay *run, int64_t b, int64_t h) {
    const gka_problem *const problem = run->problem;
    const int64_t D = w->D, T = w->T, H = problem->H;
    float *const dq = w->square, *const dalpha = dq + T * D, *const dg = dalpha + T;
    float *const dk = run->head_dk + (b * H + h) * T * D, *const dv =
                                                              run->head_dv + (b * H + h) * T * D;
    for (int64_t t = 0; t < T; t++) {
        w->fro[t] = (float)run->fro[(b * T + t) * H + h];
        for (int64_t i = 0; i < D; i++)
            w->x[t * D + i] = (float)run->x[((b * T + t) * H + h) * D + i];
    }
    read_state(problem, false, b, h, w->da, w->state);
    walk(w, w->k, w->h_chunk);
    if (run->layer) {
        read_rows(problem, gka_problem_dout, b, h, D, w->dout);
        read_state(problem, true, b, h, w->da, w->state);
        walk(w, w->v, w->u_chunk);
        for (int64_t chunk = 0; chunk < w->chunks; chunk++)
            output_gradient(w, chunk, dalpha);
    } else {
        read_rows(problem, gka_problem_dx, b, h, D, w->dx);
    }
    for (int64_t chunk = 0; chunk < w->chunks; chunk++) {
        float fro[C] = {0};
        const int64_t n = rows_of(w, chunk), first = chunk * C;
        gates(w, chunk);
        tile(w, w->k, chunk, w->t1);
        tile(w, w->dx, chunk, w->t2);
        memcpy(fro, w->fro + first, (size_t)n * sizeof *fro);
        solve(w, w->t2, w->h_chunk + chunk * D * D, w->t1, fro, w->t3);
        for (int64_t i = 0; i < n * D; i++)
            w->p[first * D + i] = low(w->t3[i]);
        weights(w, chunk);
    }
    suffix(w, true, w->h_chunk, w->n_chunk, w->n_inner, w->state);
    store_state(problem, b, h, -1, w->state, run->out->dh0);
    if (run->layer)
        suffix(w, false, w->u_chunk, w->e_chunk, w->e_inner, w->state);
    for (int64_t chunk = 0; chunk < w->chunks; chunk++)
        gradients(w, chunk, run->layer, dq, dk, dv, dg);
    store(problem, b, h, D, w->p, run->out->p);
    store(problem, b, h, D, run->layer ? dq : w->p, run->out->dq);
    store(problem, b, h, 1, dg, run->out->dg);
    if (run->layer)
        store(problem, b, h, 1, dalpha, run->out->dalpha);
}

static void run_head(void *context, int64_t index, int worker) {
    replay *const run = context;
    const int64_t h = index % run->problem->H, b = index / run->problem->H;
    head w = head_of(run);
    (void)lay_out(&w, run->memory + (size_t)worker * run->each);
    load_head(&w, run->problem, b, h);
    if (run->backward)
        backward_head(&w, run, b, h);
    else
        forward_head(&w, run, b, h);
}

/* RULE dk, dv of a key/value head: binary32 sum over its query heads in order, rounded to bf16; one
 * head: as is. */
static void sum_groups(const gka_problem *problem, const float *by_head, double *out) {
    const int64_t per = problem->H / problem->G, D = problem->D, T = problem->T;
    for (int64_t b = 0; out != NULL && b < problem->B; b++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t group = 0; group < problem->G; group++)
                for (int64_t i = 0; i < D; i++) {
                    float sum = 0;
                    for (int64_t j = 0; j < per; j++) {
                        const float part =
                            by_head[((b * problem->H + group * per + j) * T + t) * D + i];
                        sum = j == 0 ? part : sum + part;
                    }
                    out[((b * T + t) * problem->G + group) * D + i] = per == 1 ? sum : low(sum);
                }
}

static gka_status check(const gka_problem *problem, gka_error *error) {
    const gka_view *const views[] = {&problem->q,     &problem->k,    &problem->v,
                                     &problem->alpha, &problem->dout, &problem->dx};
    if ((problem->D != 64 && problem->D != 128) || (problem->V != 0 && problem->V != problem->D))
        return gka_fail(error, GKA_UNSUPPORTED,
                        "D = %lld, V = %lld: profile gka-cuda wants V = D = 64 or 128",
                        (long long)problem->D, (long long)problem->V);
    if (problem->chunk_size != C)
        return gka_fail(error, GKA_UNSUPPORTED, "chunk_size is %lld: profile gka-cuda wants 64",
                        (long long)problem->chunk_size);
    if (problem->cu_seqlens != NULL)
        return gka_fail(error, GKA_UNSUPPORTED, "profile gka-cuda has no packed sequences");
    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        if (views[i]->data != NULL && views[i]->dtype != GKA_BF16)
            return gka_fail(error, GKA_UNSUPPORTED,
                            "profile gka-cuda wants q, k, v, alpha and the cotangents in BF16");
    return GKA_OK;
}

static gka_status run_all(replay *run, gka_error *error) {
    gka_status status = check(run->problem, error);
    if (status == GKA_OK && run->form != GKA_TWO_TERM && run->form != GKA_THREE_TERM)
        status =
            gka_fail(error, GKA_UNSUPPORTED, "gka-cuda has no form %s", gka_form_name(run->form));
    if (status != GKA_OK)
        return status;
    const gka_problem *const problem = run->problem;
    run->device = gka_device_find("gka-cuda");
    head w = head_of(run);
    run->each = lay_out(&w, NULL);
    const size_t tokens = (size_t)(problem->B * problem->T * problem->H * problem->D);
    run->memory = gka_alloc((size_t)gka_threads(), run->each);
    run->head_dk = run->backward ? gka_alloc(tokens, sizeof(float)) : NULL;
    run->head_dv = run->backward ? gka_alloc(tokens, sizeof(float)) : NULL;
    if (run->memory == NULL || (run->backward && (run->head_dk == NULL || run->head_dv == NULL)))
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory: %zu bytes a thread", run->each);
    else
        gka_parallel(problem->B * problem->H, run_head, run);
    if (status == GKA_OK && run->backward) {
        sum_groups(problem, run->head_dk, run->out->dk);
        if (run->layer)
            sum_groups(problem, run->head_dv, run->out->dv);
    }
    gka_free(run->head_dv);
    gka_free(run->head_dk);
    gka_free(run->memory);
    return status;
}

gka_status gka_replay_forward(const gka_problem *problem, gka_form form, gka_chunk *out,
                              gka_error *error) {
    replay run = {.problem = problem, .form = form, .out = out};
    return run_all(&run, error);
}

gka_status gka_replay_backward(const gka_problem *problem, gka_form form, bool layer,
                               const double *x, const double *fro, gka_chunk *out,
                               gka_error *error) {
    replay run = {.problem = problem,
                  .form = form,
                  .out = out,
                  .backward = true,
                  .layer = layer,
                  .x = x,
                  .fro = fro};
    return run_all(&run, error);
}

/* ---- decode -------------------------------------------------------------------------------- */

/* sum_i column_i b_i, the column of a [D,D] matrix, in four chains i mod 4; then (0 + 1) + (2 + 3).
 */
static float column_dot(int64_t D, const float *matrix, int64_t j, const float *b) {
    float s[4] = {0};
    for (int64_t i = 0; i < D; i++)
        s[i % 4] = fmaf(matrix[i * D + j], b[i], s[i % 4]);
    return (s[0] + s[1]) + (s[2] + s[3]);
}

static void decode_head(const gka_problem *problem, int64_t b, int64_t h, float *S, double *scratch,
                        gka_chunk *out) {
    const int64_t D = problem->D, head_at = b * problem->H + h;
    const float gamma =
        problem->g.data != NULL ? gka_pinned_exp((float)gka_problem_g(problem, b, 0, h)) : 1.0f;
    const float a = (float)problem->ridge_ratio, alpha = (float)gka_problem_alpha(problem, b, 0, h);
    float q[MAX_D], k[MAX_D], v[MAX_D], r[MAX_D], d[MAX_D], x[MAX_D];
    read_rows(problem, gka_problem_q, b, h, D, q);
    read_rows(problem, gka_problem_k, b, h, D, k);
    read_state(problem, false, b, h, scratch, S);
    const bool before = problem->h0.data != NULL;
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++)
            S[i * D + j] = fmaf(k[i], k[j], before ? gamma * S[i * D + j] : 0.0f);
    store_state(problem, b, h, 1, S, out->h_final);
    float f2 = 0;
    for (int64_t warp = 0; warp < D / 32; warp++) {
        float lane[32];
        for (int64_t l = 0; l < 32; l++) {
            float column[MAX_D];
            for (int64_t i = 0; i < D; i++)
                column[i] = S[i * D + warp * 32 + l];
            lane[l] = column_dot(D, S, warp * 32 + l, column);
        }
        const float part = butterfly(lane, 32);
        f2 = warp == 0 ? part : f2 + part;
    }
    const float f = sqrtf(f2), lambda = a * f;
    if (out->fro != NULL)
        out->fro[head_at] = f;
    memset(x, 0, sizeof x);
    if (f > 0) {
        const float delta = 0.5f * f, theta = lambda + delta, scale = 1.0f / delta;
        const float sigma2 = 2.0f * (theta * scale);
        float tau = delta / theta, product_of[MAX_D];
        for (int64_t j = 0; j < D; j++) {
            r[j] = q[j];
            x[j] = d[j] = q[j] / theta;
        }
        for (int iteration = 0; iteration < problem->num_iter; iteration++) {
            const float next = 1.0f / (sigma2 - tau), keep = next * tau,
                        add = (2.0f * next) * scale;
            for (int64_t j = 0; j < D; j++)
                product_of[j] = column_dot(D, S, j, d);
            for (int64_t j = 0; j < D; j++) {
                r[j] = r[j] - fmaf(lambda, d[j], product_of[j]);
                d[j] = fmaf(keep, d[j], add * r[j]);
                x[j] = x[j] + d[j];
            }
            tau = next;
        }
    }
    for (int64_t j = 0; out->x != NULL && j < D; j++)
        out->x[head_at * D + j] = low(x[j]);
    if (problem->V == 0 || (out->o == NULL && out->u_final == NULL))
        return;
    read_rows(problem, gka_problem_v, b, h, D, v);
    read_state(problem, true, b, h, scratch, S);
    const bool had = problem->u0.data != NULL;
    for (int64_t i = 0; i < D; i++) {
        d[i] = fmaf(alpha, x[i] - q[i], q[i]);
        for (int64_t j = 0; j < D; j++)
            S[i * D + j] = fmaf(k[i], v[j], had ? gamma * S[i * D + j] : 0.0f);
    }
    store_state(problem, b, h, 1, S, out->u_final);
    for (int64_t j = 0; out->o != NULL && j < D; j++)
        out->o[head_at * D + j] = low((float)problem->scale * column_dot(D, S, j, d));
}

gka_status gka_replay_decode(const gka_problem *problem, gka_chunk *out, gka_error *error) {
    gka_status status = check(problem, error);
    if (status != GKA_OK)
        return status;
    if (problem->T != 1)
        return gka_fail(error, GKA_BAD_ARGUMENT, "T is %lld: a decode step has one token",
                        (long long)problem->T);
    const size_t square = (size_t)(problem->D * problem->D);
    float *const S = gka_alloc(square, sizeof *S);
    double *const scratch = gka_alloc(square, sizeof *scratch);
    if (S == NULL || scratch == NULL)
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
    for (int64_t i = 0; status == GKA_OK && i < problem->B * problem->H; i++)
        decode_head(problem, i / problem->H, i % problem->H, S, scratch, out);
    gka_free(scratch);
    gka_free(S);
    return status;
}
