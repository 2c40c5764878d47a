/* head.h - one head of a problem as the kernels of src/cuda hold it, and what they are made
 * of.
 *
 * Letters as there: C = 64 tokens to a chunk; rows t (queries) and j (keys); M_tj = exp(G_t - G_j);
 * N = -dL/dH, E = dL/dU / s. Every array binary32; bf16 numbers are kept in it.
 */
#ifndef GKA_REPLAY_HEAD_H
#define GKA_REPLAY_HEAD_H

#include "chunk/tile.h"

enum { C = 64, SQUARE = C * C, MAX_D = 128, MAX_V = 256 };

typedef struct replay_head {
    const gka_device *device;
    int64_t D, V, T, chunks; /* T tokens of one sequence */
    int64_t first;           /* the first of them in its batch row */
    bool fp16;               /* what is called bf16 here is fp16 */
    bool gated;
    float a, s;
    int num_iter;
    gka_form form;
    bool accurate; /* x, p, q', the states U, N, E and weighted rows are kept in two parts */
    /* the head's tensors, [T,D], v and dout [T,V], or [T] */
    float *q, *k, *v, *alpha, *g, *x, *fro, *dout, *dx, *p, *rest;
    float *along, *w, *carry, *energy, *local;
    /* [chunks,D,D] snapshots; [chunks] or [chunks, tiles] scalars */
    float *h_chunk, *u_chunk, *n_chunk, *e_chunk, *beta, *n_inner, *e_inner;
    float *state;         /* [D,D] or [D,V] */
    float *h_end, *u_end; /* the final states */
    float *n_end, *e_end; /* [tiles] <dL/dH, H>, negated, and <dL/dU, U> / s of the final states */
    /* one chunk */
    float *G, *eg, *mask, *score;           /* [C], [C], [C,C] twice */
    float *c, *more, *r, *y, *t1, *t2, *t3; /* [C,D] or [C,V] */
    float *gradient;                        /* o [T,V], or dq [T,D], dalpha, dg */
    /* what the device reads */
    double *da, *db, *dc;
    void *packed;
} replay_head;

static inline float low(const replay_head *w, float x) {
    return (float)low_of(w->fp16, x);
}

/* v in two bf16 parts, as their sum: bf16(v) + bf16(v - bf16(v)), exact in binary32. The sum is
 * what is split again where it is used, so that its halves are a function of it alone. */
static inline float two_parts(const replay_head *w, float v) {
    const float high = low(w, v), rest = high - high == 0 ? low(w, v - high) : 0;
    return high + rest;
}

/* v as the kernels keep it: in one part, or accurately in two. */
static inline float kept(const replay_head *w, float v) {
    return w->accurate ? two_parts(w, v) : low(w, v);
}

static inline void zero(float *c, int64_t n) {
    memset(c, 0, (size_t)n * sizeof *c);
}

/* v[0..n) added in pairs 1 apart, then 2, 4, ...; n a power of two. */
static inline float butterfly(float *v, int n) {
    for (int half = 1; half < n; half *= 2)
        for (int i = 0; i < n; i += 2 * half)
            v[i] = v[i] + v[i + half];
    return v[0];
}

/* Tokens of a chunk. */
static inline int64_t rows_of(const replay_head *w, int64_t chunk) {
    return w->T - chunk * C < C ? w->T - chunk * C : C;
}

/* ---- tiles (tile.c) ----------------------------------------------------------------- */

/* The bf16 part of an operand that a product takes. A value in one part is its own high part. */
enum { HIGH, LOW };

/* An operand of a product; its element (i, j) stands at i * row + j * column. */
typedef struct operand {
    const float *at;
    int64_t row, column;
    int part;
} operand;

/* Columns of V that the kernels take at a time. */
static inline int64_t panel_of(const replay_head *w) {
    return w->V < w->D ? w->V : w->D;
}

/* A [.,D] matrix as it stands, transposed; the same of a [.,V] one; the score tile. */
static inline operand by_rows(const replay_head *w, const float *at) {
    return (operand){at, w->D, 1, HIGH};
}
static inline operand by_columns(const replay_head *w, const float *at) {
    return (operand){at, 1, w->D, HIGH};
}
static inline operand by_wide_rows(const replay_head *w, const float *at) {
    return (operand){at, w->V, 1, HIGH};
}
static inline operand by_wide_columns(const replay_head *w, const float *at) {
    return (operand){at, 1, w->V, HIGH};
}
static inline operand by_scores(const replay_head *w) {
    return (operand){w->score, C, 1, HIGH};
}

/* c[m,n] += a b on the tensor core, a [m,k], b [k,n]. */
void gka_replay_product(replay_head *w, int64_t m, int64_t n, int64_t k, operand a, operand b,
                        float *c);
/* Accurately the parts of an operand one after the other, the low one first: of a, of b, or of both
 * (high a by low b, low a by high b, high by high); otherwise one product. */
void gka_replay_product_left(replay_head *w, int64_t m, int64_t n, int64_t k, operand a, operand b,
                             float *c);
void gka_replay_product_right(replay_head *w, int64_t m, int64_t n, int64_t k, operand a, operand b,
                              float *c);
void gka_replay_product_both(replay_head *w, int64_t m, int64_t n, int64_t k, operand a, operand b,
                             float *c);
/* sum_i a_i b_i over a row of `width` in the order of a tile's threads, then column groups in
 * order.
 */
float gka_replay_row_dot(int64_t width, const float *a, const float *b);
/* G, exp(G) and M of a chunk. */
void gka_replay_gates(replay_head *w, int64_t chunk);
/* Rows [chunk C, chunk C + C) of a [T,width] tensor, zero beyond T. */
void gka_replay_tile(const replay_head *w, const float *from, int64_t width, int64_t chunk,
                     float *to);
/* score = bf16((left right^T) . M), or . M^T; both [C,width] in one part. */
void gka_replay_scores(replay_head *w, int64_t width, const float *left, const float *right,
                       bool transposed);
/* score = bf16(score . M), or . M^T. */
void gka_replay_mask(replay_head *w, bool transposed);
/* Row t of c [C,width] times exp(G_t). */
void gka_replay_decay_rows(const replay_head *w, int64_t width, float *c);
/* c = exp(G) (y S) + bf16((y K^T) . M) right; y and S in one part. */
void gka_replay_apply(replay_head *w, const float *y, const float *S, const float *k,
                      const float *right);
/* q' = fma(alpha, x - q, q) of a chunk's tokens, kept. */
void gka_replay_mix(const replay_head *w, int64_t chunk, float *to);
/* A state as chunks read it: H, which the iteration multiplies by, in one part; the others kept. */
void gka_replay_snapshot(const replay_head *w, bool of_h, const float *S, float *to);

/* ---- kernels, a chunk or a state at a time (forward.c, backward.c) ------------ */

/* x of one chunk for the right-hand sides q [C,D]; x [C,D] unrounded. */
void gka_replay_solve(replay_head *w, const float *q, const float *S, const float *k,
                      const float *fro, float *x);
/* All snapshots of a state, and its final value in w->state. */
void gka_replay_walk(replay_head *w, const float *v, float *snapshots);
/* fro, x and, where asked, o of a chunk from the snapshots. */
void gka_replay_forward_chunk(replay_head *w, int64_t chunk, bool output, float *o);
/* dq' of a chunk: dalpha, along, dx, rest. */
void gka_replay_output_gradient(replay_head *w, int64_t chunk, float *dalpha);
/* w_t = 2 a <p, x>/f, the ridge carried to each key, and beta of a chunk. */
void gka_replay_weights(replay_head *w, int64_t chunk);
/* <p, (H + lambda I) x> of a chunk's tokens, for dg. */
void gka_replay_energy(replay_head *w, int64_t chunk);
/* The state R = N (normal) or E from right to left, from the value that R holds: a snapshot at the
 * end of each chunk, <R, S> of each 64 x 64 tile. */
void gka_replay_suffix(replay_head *w, bool normal, const float *states, float *snapshots,
                       float *inner, float *R);
/* dk, dv, dg, dq of a chunk; dk, dv, dq, dg [T,..] of the head. */
void gka_replay_gradients(replay_head *w, int64_t chunk, bool layer, float *dq, float *dk,
                          float *dv, float *dg);

/* ---- a problem's tensors (replay.c) --------------------------------------------------------- */

typedef void replay_reader(const gka_problem *, int64_t, int64_t, int64_t, double *);
/* A head's rows of a tensor, tokens first .. first + T - 1 of batch row b, [T, width]. */
void gka_replay_read_rows(const gka_problem *problem, replay_reader *reader, int64_t b,
                          int64_t first, int64_t T, int64_t h, int64_t width, float *to);
/* A head's u0 (u) or h0 of sequence n; scratch as large. */
void gka_replay_read_state(const gka_problem *problem, bool u, int64_t n, int64_t h,
                           double *scratch, float *to);
/* What R starts from: N = -(dh_final + its transpose)/2 or E = du_final/s, and <R, end> of each
 * tile; 0 where the problem has none. scratch as large as R. */
void gka_replay_start_suffix(replay_head *w, const gka_problem *problem, bool normal, int64_t n,
                             int64_t h, double *scratch, const float *end, float *inner, float *R);
/* factor * from, of `count` elements, into an [N,H,..] tensor; to may be NULL. */
void gka_replay_store_state(const gka_problem *problem, int64_t n, int64_t h, int64_t count,
                            float factor, const float *from, double *to);

#endif
