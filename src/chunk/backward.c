/* backward.c - gradients from right to left: first the output stage (linear attention and q'),
 * which gives the cotangent of x, then the solve (NUMERICS 2 and 4).
 *
 * Symbols: p = (H + lambda)^{-1} dx; w_t = 2 a <p_t, x_t> / f_t; M_tj = exp(G_t - G_j), t the row;
 *   E  [D,D]  what later chunks send back of sum exp(..) p x^T     (dH = -(E + Z/2))
 *   Z  [D,D]  the same of sum exp(..) w_t H_t; the kernels carry it by itself, else it is added to
 * E at every chunk, so that -E is all that a sequence's end need be told dU [D,V]  the same of sum
 * exp(..) s q' do^T dG_t collects the derivative by the chunk-local sum G_t; dg_i = sum_{t >= i}
 * dG_t.
 */
#include "chunk/chunk.h"

/* ---- workspace ----------------------------------------------------------------------------- */

typedef struct backward_work {
    chunk_work base;
    double *E, *Z, *dU;       /* carried from the right */
    double *E0, *Z0, *dU0;    /* their snapshots */
    double *DD, *part;        /* [D,D]; part holds an initial U [D,V] too */
    double *p, *x, *dx, *mix; /* [C,D] tiles */
    double *rows, *rows2;     /* [C,max(D,V)] */
    double *dk, *dq;          /* [C,max(D,V)] */
    double *S, *dS, *CC, *Mt; /* [C,C] */
    double *dG, *w, *t1, *t2; /* [C] */
    double *alpha, *f;        /* [C] */
    double *states, *segment; /* checkpoints, states of one segment */
    double *dx_all, *dq_all;  /* [T,D] of one head: cotangent of x, direct part of dq */
    double *g_all;            /* [T] */
} backward_work;

typedef struct backward {
    const chunk_plan *plan;
    gka_chunk_of of;
    bool bp_lambda;
    gka_chunk *out;
    const double *x, *fro; /* of the forward pass */
    const double *p;       /* given, or NULL */
    gka_chunk_carry carry; /* given, or NULLs */
    char *workspace;
    size_t each;
    int64_t T;        /* longest sequence */
    int64_t segments; /* checkpoints a worker holds, and tiles of one segment */
} backward;

static int64_t max_of(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static double *take(chunk_bump *bump, int64_t rows, int64_t columns) {
    return chunk_take(bump, (size_t)rows * (size_t)columns, sizeof(double));
}

static void layout(const backward *run, chunk_bump *bump, backward_work *work) {
    const chunk_plan *const plan = run->plan;
    const int64_t D = plan->D, V = plan->V, W = max_of(D, V), C = max_of(plan->C, plan->C_out);
    chunk_work_layout(plan, bump, &work->base);
    double **const squares[] = {&work->E, &work->Z, &work->E0, &work->Z0, &work->DD};
    for (size_t i = 0; i < sizeof squares / sizeof *squares; i++)
        *squares[i] = take(bump, D, D);
    work->part = take(bump, D, W);
    work->dU = take(bump, D, V);
    work->dU0 = take(bump, D, V);
    double **const tiles[] = {&work->p,    &work->x,     &work->dx, &work->mix,
                              &work->rows, &work->rows2, &work->dk, &work->dq};
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++)
        *tiles[i] = take(bump, C, W);
    double **const scores[] = {&work->S, &work->dS, &work->CC, &work->Mt};
    for (size_t i = 0; i < sizeof scores / sizeof *scores; i++)
        *scores[i] = take(bump, C, C);
    double **const columns[] = {&work->dG, &work->w, &work->t1, &work->t2, &work->alpha, &work->f};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        *columns[i] = take(bump, C, 1);
    work->states = take(bump, run->segments, D * W);
    work->segment = take(bump, run->segments, D * W);
    work->dx_all = take(bump, run->T, D);
    work->dq_all = take(bump, run->T, D);
    work->g_all = take(bump, run->T, 1);
}

static void zero(double *a, int64_t count) {
    memset(a, 0, (size_t)count * sizeof *a);
}

static void copy(double *to, const double *from, int64_t count) {
    memcpy(to, from, (size_t)count * sizeof *to);
}

static bool operand(const chunk_plan *plan) {
    return chunk_has(plan, GKA_POINT_GRAD_OPERAND);
}

/* Whether Z is added to E at every chunk. */
static bool merged(const chunk_plan *plan) {
    return !plan->hardware && !chunk_has(plan, GKA_POINT_H0_SIGN);
}

static double sum_rows(const chunk_plan *plan, int64_t n, const double *a) {
    return lane_sum(plan->order, n, a);
}

/* ---- tiles of a head ----------------------------------------------------------------------- */

/* The tokens of a head, cut into tiles of C and at zero gates: tile number i of `count`. Tiles are
 * numbered from the left; `begin` of tile i + 1 is the end of tile i. */
typedef struct cut {
    int64_t b, h, begin, end, C;
} cut;

static int64_t next_tile(const chunk_plan *plan, const cut *c, int64_t t) {
    const int64_t whole = c->begin + ((t - c->begin) / c->C + 1) * c->C;
    return chunk_cut(plan, c->b, t, whole < c->end ? whole : c->end, c->h);
}

static int64_t count_tiles(const chunk_plan *plan, const cut *c) {
    int64_t count = 0;
    for (int64_t t = c->begin; t < c->end; t = next_tile(plan, c, t))
        count++;
    return count;
}

static void load_tile(const chunk_plan *plan, const cut *c, int64_t t, int64_t n,
                      chunk_work *work) {
    chunk_load(plan, c->b, t, n, c->h, c->C, chunk_restarts(plan, c->b, t, c->h), &work->tile);
    chunk_gates(plan, false, &work->tile, work->row);
}

/* One step of the state to the right: S after tile [t, t + n). */
static void advance(const chunk_plan *plan, const cut *c, int64_t t, int64_t n, bool values,
                    chunk_work *work, double *S) {
    if (chunk_restarts(plan, c->b, t, c->h))
        zero(S, plan->D * (values ? plan->V : plan->D));
    load_tile(plan, c, t, n, work);
    chunk_state(plan, work, S, values ? work->tile.v : work->tile.k, values ? plan->V : plan->D);
}

/* Calls step(tile, state before it) for each tile from the last to the first, with O(sqrt(tiles))
 * states in memory: checkpoints on the way right, each segment anew on the way left. */
typedef void tile_step(const backward *run, backward_work *work, const cut *c, int64_t t, int64_t n,
                       const double *state);

static void from_the_right(const backward *run, backward_work *work, const cut *c, bool values,
                           const double *initial, tile_step *step) {
    const chunk_plan *const plan = run->plan;
    const int64_t size = plan->D * (values ? plan->V : plan->D), tiles = count_tiles(plan, c);
    int64_t stride = 1;
    while (stride * stride < tiles)
        stride++;
    double *const S = values ? work->base.U : work->base.H;
    int64_t starts[2] = {c->begin, c->begin};
    copy(S, initial, size);
    int64_t segments = 0;
    for (int64_t t = c->begin, i = 0, end; t < c->end; t = end, i++) {
        end = next_tile(plan, c, t);
        if (i % stride == 0) {
            copy(work->states + segments * size, S, size);
            segments++;
        }
        advance(plan, c, t, end - t, values, &work->base, S);
    }
    for (int64_t s = segments - 1; s >= 0; s--) {
        /* tiles [s stride, (s + 1) stride): their states, then the steps in reverse */
        starts[0] = c->begin;
        for (int64_t i = 0; i < s * stride; i++)
            starts[0] = next_tile(plan, c, starts[0]);
        const int64_t count = tiles - s * stride < stride ? tiles - s * stride : stride;
        copy(S, work->states + s * size, size);
        int64_t t = starts[0];
        for (int64_t i = 0; i < count; i++) {
            const int64_t end = next_tile(plan, c, t);
            if (chunk_restarts(plan, c->b, t, c->h))
                zero(S, size);
            copy(work->segment + i * size, S, size);
            if (i + 1 < count)
                advance(plan, c, t, end - t, values, &work->base, S);
            t = end;
        }
        for (int64_t i = count - 1; i >= 0; i--) {
            int64_t begin = starts[0];
            for (int64_t j = 0; j < i; j++)
                begin = next_tile(plan, c, begin);
            step(run, work, c, begin, next_tile(plan, c, begin) - begin, work->segment + i * size);
        }
    }
}

/* dg_i = sum_{t >= i} dG_t within a tile, as (-scan + total) + own. */
static void suffix_sum(const chunk_plan *plan, int64_t C, const double *dG, double *scratch,
                       double *dg) {
    const bool f32 = plan->f32;
    if (plan->order != SUM_WARP) {
        double sum = 0;
        for (int64_t i = C - 1; i >= 0; i--)
            dg[i] = sum = w(f32, sum + dG[i]);
        return;
    }
    const double total = sum_rows(plan, C, dG);
    scan_sum(plan->order, C, dG, scratch);
    for (int64_t i = 0; i < C; i++)
        dg[i] = w(f32, w(f32, total - scratch[i]) + dG[i]);
}

/* ---- the solve ----------------------------------------------------------------------------- */

static int64_t row_of(const backward *run, const cut *c, int64_t t) {
    const gka_problem *const problem = run->plan->problem;
    return (c->b * problem->T + t) * problem->H + c->h;
}

/* p, x, f of the tile; rows from n on are zero. */
static void solve_tile(const backward *run, backward_work *work, const cut *c, int64_t t, int64_t n,
                       const double *H) {
    const chunk_plan *const plan = run->plan;
    chunk_work *const base = &work->base;
    const int64_t D = plan->D, C = c->C;
    for (int64_t i = 0; i < D * D; i++)
        base->H0[i] = chunk_low(plan, GKA_POINT_STATE_SNAPSHOT, H[i]);
    zero(work->dx, C * D);
    zero(work->x, C * D);
    zero(work->f, C);
    copy(work->dx, work->dx_all + (t - c->begin) * D, n * D);
    for (int64_t i = 0; i < n; i++) {
        copy(work->x + i * D, run->x + row_of(run, c, t + i) * D, D);
        work->f[i] = run->fro[row_of(run, c, t + i)];
    }
    if (run->p) {
        zero(work->p, C * D);
        for (int64_t i = 0; i < n; i++)
            copy(work->p + i * D, run->p + row_of(run, c, t + i) * D, D);
    } else {
        chunk_gates(plan, chunk_has(plan, GKA_POINT_MASK), &base->tile, base->row);
        chunk_solve(plan, base, work->dx, work->f);
        chunk_gates(plan, false, &base->tile, base->row);
        for (int64_t i = 0; i < C * D; i++)
            work->p[i] = i < n * D ? chunk_round(plan->stored, base->x[i]) : 0;
    }
    if (run->out->p)
        for (int64_t i = 0; i < n; i++)
            copy(run->out->p + row_of(run, c, t + i) * D, work->p + i * D, D);
}

/* k_j exp(G_n - G_j): the kernel rounds the exponential to bf16 first and then the product. */
static void tail_keys(const chunk_plan *plan, const chunk_tile *tile, bool round_factor,
                      double *out) {
    for (int64_t j = 0; j < tile->C; j++)
        for (int64_t i = j * plan->D; i < (j + 1) * plan->D; i++) {
            const double e = round_factor ? chunk_low(plan, GKA_POINT_GRAD_OPERAND, tile->tail[j])
                                          : tile->tail[j];
            out[i] = plan->gated
                         ? chunk_low(plan, GKA_POINT_GRAD_OPERAND, w(plan->f32, tile->k[i] * e))
                         : tile->k[i];
        }
}

/* What E, this chunk's p and x, and the gates send to dk (without its sign) and dG. */
static void through_outer(const backward *run, backward_work *work) {
    const chunk_plan *const plan = run->plan;
    const chunk_work *const base = &work->base;
    const chunk_tile *const tile = &base->tile;
    const int64_t D = plan->D, C = tile->C;
    const bool f32 = plan->f32, bf = operand(plan);
    double *const S = work->S, *const dS = work->dS, *const Mt = work->Mt, *const dG = work->dG;
    const gka_matrix K = {tile->k, D, 1}, P = {work->p, D, 1}, X = {work->x, D, 1};
    zero(S, C * C);
    zero(dS, C * C);
    zero(work->dk, C * D);
    chunk_multiply(plan, base, plan->low, plan->stored, C, C, D, K, (gka_matrix){work->x, 1, D}, S,
                   C);
    chunk_multiply(plan, base, plan->low, plan->stored, C, C, D, K, (gka_matrix){work->p, 1, D}, dS,
                   C);
    for (int64_t j = 0; j < C; j++)
        for (int64_t t = 0; t < C; t++) {
            const int64_t i = j * C + t;
            Mt[i] = tile->M[t * C + j];
            S[i] = w(f32, S[i] * Mt[i]);
            work->CC[i] = t >= j ? w(f32, S[i] * dS[i]) : 0;
        }
    for (int64_t t = 0; t < C; t++)
        dG[t] = w(f32, column_sum(plan->order, C, work->CC + t, C) -
                           row_sum(plan->order, C, C, work->CC + t * C));

    /* dk = (k tail) (E + E^T) + S p + (dS . M) x */
    double *const E2 = work->DD, *const k2 = work->rows;
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++)
            E2[i * D + j] = chunk_low(plan, GKA_POINT_GRAD_OPERAND,
                                      w(f32, work->E0[i * D + j] + work->E0[j * D + i]));
    tail_keys(plan, tile, true, k2);
    chunk_product(plan, base, bf, C, D, D, (gka_matrix){k2, D, 1}, (gka_matrix){E2, D, 1}, work->dk,
                  D);
    for (int64_t i = 0; i < C * C; i++) {
        work->CC[i] = chunk_low(plan, GKA_POINT_GRAD_OPERAND, w(f32, dS[i] * Mt[i]));
        S[i] = chunk_low(plan, GKA_POINT_GRAD_OPERAND, S[i]);
    }
    const chunk_kind scores = bf ? plan->low : CHUNK_WORKING;
    chunk_multiply(plan, base, scores, plan->stored, C, D, C, (gka_matrix){S, C, 1}, P, work->dk,
                   D);
    chunk_multiply(plan, base, scores, plan->stored, C, D, C, (gka_matrix){work->CC, C, 1}, X,
                   work->dk, D);

    /* dG_t += exp(G_t) <p_t, H_0 x_t>;  dG_j -= <tail_j E^T k_j, k_j>, and at the end all of it */
    double *const y = work->rows2, *const last = work->t1;
    zero(y, C * D);
    chunk_multiply(plan, base, plan->stored, plan->snapshot, C, D, D, P,
                   (gka_matrix){base->H0, D, 1}, y, D);
    for (int64_t t = 0; t < C; t++) {
        for (int64_t i = t * D; i < (t + 1) * D; i++)
            y[i] = plan->gated ? w(f32, y[i] * tile->expG[t]) : y[i];
        dG[t] = w(f32, dG[t] + row_dot(plan->order, C, D, y + t * D, work->x + t * D));
    }
    zero(y, C * D);
    chunk_product(plan, base, bf && chunk_has(plan, GKA_POINT_GRAD_STATE), C, D, D,
                  (gka_matrix){k2, D, 1}, (gka_matrix){work->E0, D, 1}, y, D);
    for (int64_t j = 0; j < C; j++) {
        last[j] = row_dot(plan->order, C, D, y + j * D, tile->k + j * D);
        dG[j] = w(f32, dG[j] - last[j]);
    }
    const bool low_dot = chunk_has(plan, GKA_POINT_GRAD_DOT) && D >= 32 && plan->hardware;
    const double EH = low_dot ? dot_low(plan->profile.fp16, D, work->E0, base->H0)
                              : dot_state(plan->order, D, work->E0, base->H0);
    const double all = fma_w(f32, tile->decay, EH, sum_rows(plan, C, last));
    const int64_t end = plan->hardware ? C - 1 : tile->n - 1;
    dG[end] = w(f32, dG[end] + all);
}

/* a <p_t, x_t> and w_t = 2 a <p_t, x_t> / f_t; in 16 bits only where x and p are such tensors. */
static void ridge_weights(const backward *run, backward_work *work) {
    const chunk_plan *const plan = run->plan;
    const chunk_tile *const tile = &work->base.tile;
    const int64_t D = plan->D;
    const bool fp16 = plan->profile.fp16, low_dot = chunk_has(plan, GKA_POINT_GRAD_DOT) &&
                                                    plan->hardware && plan->stored != CHUNK_SPLIT;
    for (int64_t t = 0; t < tile->C; t++) {
        const double *const p = work->p + t * D, *const x = work->x + t * D;
        const double a = low_dot ? low_of(fp16, plan->a) : plan->a;
        const double px =
            low_dot ? row_dot_low(fp16, D, p, x) : row_dot(plan->order, tile->C, D, p, x);
        const double apx = low_dot ? low_of(fp16, a * px) : w(plan->f32, a * px);
        work->t2[t] = apx;
        work->w[t] = t < tile->n || (plan->hardware && !plan->gated)
                         ? chunk_div(plan, w(plan->f32, 2 * apx), work->f[t])
                         : 0;
        if (!plan->hardware && work->f[t] == 0)
            work->w[t] = 0;
    }
}

/* sum_{t >= j} M_tj w_t H_t k_j = weights1_j H_0 k_j + ((weights2 . K K^T) K)_j, and this chunk's
 * part of Z. */
static void through_ridge(const backward *run, backward_work *work) {
    const chunk_plan *const plan = run->plan;
    const chunk_work *const base = &work->base;
    const chunk_tile *const tile = &base->tile;
    const int64_t D = plan->D, C = tile->C;
    const bool f32 = plan->f32, bf = operand(plan);
    double *const weights1 = work->t1, *const weights2 = work->CC, *const A = work->S,
                  *const KK = work->dS, *const Mt = work->Mt, *const tmp = work->rows2,
                  *const kw = work->rows;
    for (int64_t t = 0; t < C; t++)
        work->dG[t] = fma_w(f32, work->t2[t], work->f[t], work->dG[t]);

    const gka_matrix K = {tile->k, D, 1};
    double total[2]; /* sum_t exp(2 G_t) w_t, as the lower and the upper lanes of a warp have it */
    if (plan->gated) {
        const chunk_kind weight =
            chunk_has(plan, GKA_POINT_GRAD_WEIGHT) ? CHUNK_TF32 : CHUNK_WORKING;
        double *const ew = base->row, *const e2 = base->row2;
        for (int64_t t = 0; t < C; t++) {
            ew[t] = w(f32, tile->expG[t] * work->w[t]);
            e2[t] = t < tile->n || plan->hardware ? chunk_exp(plan, w(f32, tile->G[t] + tile->G[t]))
                                                  : 0;
        }
        for (int upper = 0; upper < 2; upper++)
            total[upper] = lane_dot_in(upper == 1, plan->order, C, work->w, e2);
        for (int64_t j = 0; j < C; j++) {
            weights1[j] = lane_dot(plan->order, C, Mt + j * C, ew);
            for (int64_t t = 0; t < C; t++) {
                const double m = w(f32, Mt[j * C + t] * work->w[t]);
                A[j * C + t] = weight == CHUNK_TF32 ? cut_tf32(m) : m;
            }
        }
        zero(weights2, C * C);
        if (weight == CHUNK_TF32)
            for (int64_t i = 0; i < C * C; i++)
                Mt[i] = cut_tf32(Mt[i]);
        chunk_multiply(plan, base, weight, weight, C, C, C, (gka_matrix){A, C, 1},
                       (gka_matrix){Mt, 1, C}, weights2, C);
    } else {
        for (int64_t j = 0; j < C; j++)
            base->row[j] = work->w[C - 1 - j];
        scan_sum(plan->order, C, base->row, base->row2);
        for (int64_t j = 0; j < C; j++)
            weights1[j] = base->row2[C - 1 - j];
        for (int64_t j = 0; j < C; j++)
            for (int64_t t = 0; t < C; t++)
                weights2[j * C + t] = weights1[t > j ? t : j];
        total[0] = total[1] = weights1[0];
    }
    zero(KK, C * C);
    chunk_product(plan, base, true, C, C, D, K, (gka_matrix){tile->k, 1, D}, KK, C);
    for (int64_t i = 0; i < C * C; i++)
        KK[i] = chunk_low(plan, GKA_POINT_GRAD_OPERAND, w(f32, KK[i] * weights2[i]));
    zero(tmp, C * D);
    chunk_product(plan, base, bf, C, D, C, (gka_matrix){KK, C, 1}, K, tmp, D);
    for (int64_t j = 0; j < C; j++)
        for (int64_t i = j * D; i < (j + 1) * D; i++)
            kw[i] = chunk_low(plan, GKA_POINT_GRAD_OPERAND, w(f32, weights1[j] * tile->k[i]));
    chunk_product(plan, base, bf && chunk_has(plan, GKA_POINT_STATE_SNAPSHOT), C, D, D,
                  (gka_matrix){kw, D, 1}, (gka_matrix){base->H0, D, 1}, tmp, D);
    for (int64_t j = 0; j < C; j++) {
        work->dG[j] =
            fma_w(f32, row_dot(plan->order, C, D, tmp + j * D, tile->k + j * D), -0.5, work->dG[j]);
        for (int64_t i = j * D; i < (j + 1) * D; i++)
            work->dk[i] = w(f32, work->dk[i] + tmp[i]);
    }
    for (int64_t i = 0; i < D; i++) { /* row i of an accumulator lies in lanes 4 (i mod 8) .. + 3 */
        const double here = total[(i % 8 * 4 & C / 2) != 0];
        for (int64_t j = i * D; j < (i + 1) * D; j++)
            work->part[j] = w(f32, here * base->H0[j]);
    }
    chunk_product(plan, base, bf, D, D, C, (gka_matrix){kw, 1, D}, K, work->part, D);
    for (int64_t i = 0; i < D * D; i++)
        work->part[i] = chunk_low(plan, GKA_POINT_GRAD_STATE, work->part[i]);
}

/* What later chunks send back through Z: dk2 = -tail_j Z k_j, and its part of dG; Z is carried on
 * past this chunk. */
static void through_later(const backward *run, backward_work *work, double *dk2) {
    const chunk_plan *const plan = run->plan;
    const chunk_work *const base = &work->base;
    const chunk_tile *const tile = &base->tile;
    const int64_t D = plan->D, C = tile->C;
    const bool f32 = plan->f32, bf = operand(plan) && chunk_has(plan, GKA_POINT_GRAD_STATE);
    double *const kz = work->rows, *const dG2 = work->t1;
    if (merged(plan)) {
        zero(dk2, C * D);
        for (int64_t j = 0; j < C; j++)
            work->dG[j] = -work->dG[j];
        copy(work->Z, work->part, D * D);
        return;
    }
    for (int64_t i = 0; i < D * D; i++)
        work->Z0[i] = chunk_low(plan, GKA_POINT_GRAD_STATE, work->Z[i]);
    tail_keys(plan, tile, false, kz);
    zero(dk2, C * D);
    chunk_product(plan, base, bf, C, D, D, (gka_matrix){kz, D, 1}, (gka_matrix){work->Z0, D, 1},
                  dk2, D);
    for (int64_t i = 0; i < C * D; i++)
        dk2[i] = 0 - dk2[i];
    for (int64_t j = 0; j < C; j++)
        dG2[j] = w(f32, row_dot(plan->order, C, D, dk2 + j * D, tile->k + j * D) / 2);
    for (int64_t i = 0; i < D * D; i++) /* rounded here, but fused where Z is carried on */
        work->DD[i] = w(f32, work->Z[i] * tile->decay);
    const double ZH = dot_state(plan->order, D, work->DD, base->H0);
    const double all = w(f32, ZH / 2 - sum_rows(plan, C, dG2));
    dG2[tile->n - 1] = w(f32, dG2[tile->n - 1] + all);
    for (int64_t j = 0; j < C; j++)
        work->dG[j] = -w(f32, work->dG[j] + dG2[j]);
    for (int64_t i = 0; i < D * D; i++)
        work->Z[i] = fma_w(f32, work->Z[i], tile->decay, work->part[i]);
}

/* E = exp(G_n) E + sum_t exp(G_t) p_t x_t^T; exp(G_t) p_t in as many parts as p_t. */
static void carry_outer(const chunk_plan *plan, backward_work *work) {
    const chunk_work *const base = &work->base;
    const chunk_tile *const tile = &base->tile;
    const int64_t D = plan->D, C = tile->C;
    const chunk_kind parts = plan->stored == CHUNK_SPLIT ? CHUNK_SPLIT : plan->low;
    const chunk_kind kind = chunk_has(plan, GKA_POINT_GRAD_STATE) ? parts : CHUNK_WORKING;
    double *const pe = work->rows;
    for (int64_t t = 0; t < C; t++)
        for (int64_t i = t * D; i < (t + 1) * D; i++)
            pe[i] = plan->gated ? w(plan->f32, work->p[i] * tile->expG[t]) : work->p[i];
    chunk_round_rows(kind, C * D, pe, pe);
    if (plan->gated)
        for (int64_t i = 0; i < D * D; i++)
            work->E[i] = w(plan->f32, work->E[i] * tile->decay);
    chunk_multiply(plan, base, kind, plan->stored, D, D, C, (gka_matrix){pe, 1, D},
                   (gka_matrix){work->x, D, 1}, work->E, D);
    for (int64_t i = 0; merged(plan) && i < D * D; i++) {
        work->E[i] = fma_w(plan->f32, .5, work->Z[i], work->E[i]);
        work->Z[i] = 0;
    }
    chunk_carry(plan, D * D, work->E);
    chunk_carry(plan, D * D, work->Z);
}

/* Adds to the gradient of a key or value: parts are rounded one by one where stored. */
static void add_rows(const backward *run, const cut *c, int64_t t, int64_t n, int64_t width,
                     double *to, const double *rows, bool round) {
    const chunk_plan *const plan = run->plan;
    const gka_problem *const problem = plan->problem;
    if (!to)
        return;
    for (int64_t i = 0; i < n; i++) {
        double *const row =
            to +
            ((c->b * problem->T + t + i) * problem->G + gka_problem_group(problem, c->h)) * width;
        for (int64_t j = 0; j < width; j++) {
            const double sum = w(plan->f32, row[j] + rows[i * width + j]);
            row[j] = round ? chunk_low(plan, GKA_POINT_STORE_GRAD, sum) : sum;
        }
    }
}

/* Everything of one chunk of the solve. */
static void solve_step(const backward *run, backward_work *work, const cut *c, int64_t t, int64_t n,
                       const double *H) {
    const chunk_plan *const plan = run->plan;
    const int64_t D = plan->D, C = c->C;
    load_tile(plan, c, t, n, &work->base);
    solve_tile(run, work, c, t, n, H);
    for (int64_t i = 0; i < D * D; i++)
        work->E0[i] = chunk_low(plan, GKA_POINT_GRAD_STATE, work->E[i]);
    through_outer(run, work);
    if (run->bp_lambda) {
        ridge_weights(run, work);
    } else {
        zero(work->w, C);
        zero(work->t2, C);
    }
    through_ridge(run, work);
    double *const dk2 = work->dq;
    through_later(run, work, dk2);
    for (int64_t i = 0; i < C * D; i++) {
        const double first = chunk_low(plan, GKA_POINT_STORE_GRAD, 0 - work->dk[i]);
        const double second = plan->gated ? chunk_low(plan, GKA_POINT_STORE_GRAD, dk2[i]) : dk2[i];
        work->dk[i] = chunk_low(plan, GKA_POINT_STORE_GRAD, w(plan->f32, first + second));
    }
    add_rows(run, c, t, n, D, run->out->dk, work->dk, true);
    suffix_sum(plan, C, work->dG, work->t1, work->t2);
    for (int64_t i = 0; i < n; i++) {
        const int64_t row = row_of(run, c, t + i);
        double *const all = work->g_all + (t - c->begin + i);
        *all = w(plan->f32, *all + work->t2[i]);
        if (run->out->dg)
            run->out->dg[row] = *all;
        for (int64_t j = 0; run->out->dq && j < D; j++) {
            const double direct = work->dq_all[(t - c->begin + i) * D + j];
            const double sum = w(plan->f32, direct + work->p[i * D + j]);
            run->out->dq[row * D + j] = chunk_low(plan, GKA_POINT_STORE_GRAD, sum);
        }
    }
    carry_outer(plan, work);
    if (chunk_restarts(plan, c->b, t, c->h)) { /* nothing passes a gate that is zero */
        zero(work->E, D * D);
        zero(work->Z, D * D);
        if (run->out->dg)
            run->out->dg[row_of(run, c, t)] = 0;
    }
}

/* ---- the output stage ---------------------------------------------------------------------- */

/* q'_t, alpha and x of the tile. */
static void mixed_tile(const backward *run, backward_work *work, const cut *c, int64_t t,
                       int64_t n) {
    const chunk_plan *const plan = run->plan;
    const int64_t D = plan->D;
    zero(work->mix, c->C * D);
    for (int64_t i = 0; i < n; i++) {
        work->alpha[i] = gka_problem_alpha(plan->problem, c->b, t + i, c->h);
        copy(work->x + i * D, run->x + row_of(run, c, t + i) * D, D);
    }
    chunk_mix(plan, n, work->base.tile.q, work->alpha, work->x, work->mix);
}

/* dq', the part of dk, dG and the carried dU; columns of keys in blocks of 64, as the kernel has
 * them (dG alone depends on that, by the order of its sum). */
static void attention_keys(const backward *run, backward_work *work, const double *dout,
                           const double *U) {
    const chunk_plan *const plan = run->plan;
    const chunk_work *const base = &work->base;
    const chunk_tile *const tile = &base->tile;
    const int64_t D = plan->D, V = plan->V, C = tile->C;
    const bool f32 = plan->f32, bf = operand(plan);
    double *const dS = work->dS, *const dq = work->dq, *const dk = work->dk, *const U0 = base->U0;
    const gka_matrix dO = {dout, V, 1}, Vm = {tile->v, V, 1}, Q = {work->mix, D, 1},
                     K = {tile->k, D, 1};
    for (int64_t i = 0; i < D * V; i++) {
        U0[i] = chunk_low(plan, GKA_POINT_GRAD_OPERAND, U[i]);
        work->dU0[i] = chunk_low(plan, GKA_POINT_GRAD_OPERAND, work->dU[i]);
    }
    zero(dS, C * C);
    zero(dq, C * D);
    zero(dk, C * D);
    chunk_product(plan, base, true, C, C, V, dO, (gka_matrix){tile->v, 1, V}, dS, C);
    chunk_product(plan, base, bf, C, D, V, dO, (gka_matrix){U0, 1, V}, dq, D);
    chunk_product(plan, base, bf, C, D, V, Vm, (gka_matrix){work->dU0, 1, V}, dk, D);
    zero(work->dG, C);
    const int64_t width = D < 64 || plan->order != SUM_WARP ? D : 64;
    if (plan->gated) {
        for (int64_t t = 0; t < C; t++)
            for (int64_t i = t * D; i < (t + 1) * D; i++) {
                dq[i] = w(f32, w(f32, dq[i] * tile->expG[t]) * plan->s);
                dk[i] = w(f32, dk[i] * tile->tail[t]);
            }
        for (int64_t i = 0; i < C * C; i++)
            dS[i] = w(f32, w(f32, dS[i] * tile->M[i]) * plan->s);
        for (int64_t from = 0; from < D; from += width) {
            double *const S = work->S, *const part = work->t1;
            zero(S, C * C);
            chunk_multiply(plan, base, plan->mixed, plan->low, C, C, width,
                           (gka_matrix){work->mix + from, D, 1}, (gka_matrix){tile->k + from, 1, D},
                           S, C);
            for (int64_t t = 0; t < C; t++) {
                const int64_t i = t * D + from;
                const double kk = row_dot(plan->order, C, width, dk + i, tile->k + i);
                const double qq = row_dot(plan->order, C, width, dq + i, work->mix + i);
                const double row = row_dot(plan->order, C, C, dS + t * C, S + t * C);
                part[t] = w(f32, w(f32, w(f32, qq - kk) + row) -
                                     column_products(plan->order, C, dS + t, S + t, C));
            }
            const double UdU =
                block_dot(plan->order, width, V, U + from * V, work->dU + from * V, V);
            const double kk = tile_dot(plan->order, C, width, dk + from, tile->k + from, D);
            const double all = fma_w(f32, UdU, tile->decay, kk);
            part[tile->n - 1] = w(f32, part[tile->n - 1] + all);
            for (int64_t t = 0; t < C; t++)
                work->dG[t] = w(f32, work->dG[t] + part[t]);
        }
    } else {
        for (int64_t i = 0; i < C * C; i++)
            dS[i] = tile->M[i] != 0 ? dS[i] : 0;
    }
    for (int64_t i = 0; i < C * C; i++)
        dS[i] = chunk_low(plan, GKA_POINT_GRAD_OPERAND, dS[i]);
    const chunk_kind scores = bf ? plan->low : CHUNK_WORKING;
    chunk_product(plan, base, bf, C, D, C, (gka_matrix){dS, C, 1}, K, dq, D);
    if (plan->gated) {
        chunk_multiply(plan, base, scores, plan->mixed, C, D, C, (gka_matrix){dS, 1, C}, Q, dk, D);
    } else { /* the ungated kernel scales afterwards */
        zero(work->rows, C * D);
        chunk_multiply(plan, base, scores, plan->mixed, C, D, C, (gka_matrix){dS, 1, C}, Q,
                       work->rows, D);
        for (int64_t i = 0; i < C * D; i++) {
            dk[i] = fma_w(f32, work->rows[i], plan->s, dk[i]);
            dq[i] = w(f32, dq[i] * plan->s);
        }
    }
    for (int64_t i = 0; i < C * D; i++) {
        dq[i] = chunk_round(plan->cotangent, dq[i]);
        dk[i] = chunk_low(plan, GKA_POINT_STORE_GRAD, dk[i]);
    }
}

/* dv_j = exp(G_n - G_j) dU^T k_j + sum_{t >= j} M_tj s <q'_t, k_j> do_t */
static void attention_values(const backward *run, backward_work *work, const double *dout,
                             double *dv) {
    const chunk_plan *const plan = run->plan;
    const chunk_work *const base = &work->base;
    const chunk_tile *const tile = &base->tile;
    const int64_t D = plan->D, V = plan->V, C = tile->C;
    const bool f32 = plan->f32, bf = operand(plan);
    double *const A = work->CC;
    const gka_matrix K = {tile->k, D, 1};
    zero(A, C * C);
    zero(dv, C * V);
    chunk_multiply(plan, base, plan->low, plan->mixed, C, C, D, K, (gka_matrix){work->mix, 1, D}, A,
                   C);
    for (int64_t j = 0; j < C; j++)
        for (int64_t t = 0; t < C; t++) {
            const double m = tile->M[t * C + j];
            const double a = plan->gated ? w(f32, w(f32, A[j * C + t] * m) * plan->s)
                             : m != 0    ? w(f32, A[j * C + t] * plan->s)
                                         : 0;
            A[j * C + t] = chunk_low(plan, GKA_POINT_GRAD_OPERAND, a);
        }
    chunk_product(plan, base, bf, C, V, D, K, (gka_matrix){work->dU0, V, 1}, dv, V);
    if (plan->gated)
        for (int64_t j = 0; j < C; j++)
            for (int64_t i = j * V; i < (j + 1) * V; i++)
                dv[i] = w(f32, dv[i] * tile->tail[j]);
    chunk_product(plan, base, bf, C, V, C, (gka_matrix){A, C, 1}, (gka_matrix){dout, V, 1}, dv, V);
    for (int64_t i = 0; i < C * V; i++)
        dv[i] = chunk_low(plan, GKA_POINT_STORE_GRAD, dv[i]);
}

/* dU = exp(G_n) dU + sum_t exp(G_t) s q'_t do_t^T; s q'_t in as many parts as q'_t. */
static void carry_values(const chunk_plan *plan, backward_work *work, const double *dout) {
    const chunk_work *const base = &work->base;
    const chunk_tile *const tile = &base->tile;
    const int64_t D = plan->D, V = plan->V, C = tile->C;
    const chunk_kind parts = plan->mixed == CHUNK_SPLIT ? CHUNK_SPLIT : plan->low;
    const chunk_kind kind = chunk_has(plan, GKA_POINT_GRAD_STATE) ? parts : CHUNK_WORKING;
    for (int64_t t = 0; t < C; t++)
        for (int64_t i = t * D; i < (t + 1) * D; i++) {
            const double q = chunk_round(kind, w(plan->f32, work->mix[i] * plan->s));
            work->rows[i] = plan->gated ? chunk_round(kind, w(plan->f32, q * tile->expG[t])) : q;
        }
    if (plan->gated)
        for (int64_t i = 0; i < D * V; i++)
            work->dU[i] = w(plan->f32, work->dU[i] * tile->decay);
    chunk_multiply(plan, base, kind, plan->low, D, V, C, (gka_matrix){work->rows, 1, D},
                   (gka_matrix){dout, V, 1}, work->dU, V);
    chunk_carry(plan, D * V, work->dU);
}

/* Everything of one tile of the output stage: dx of its tokens, the direct part of dq. */
static void output_step(const backward *run, backward_work *work, const cut *c, int64_t t,
                        int64_t n, const double *U) {
    const chunk_plan *const plan = run->plan;
    const int64_t D = plan->D, V = plan->V, C = c->C;
    const bool f32 = plan->f32;
    double *const dout = work->base.grad, *const dv = work->rows2;
    load_tile(plan, c, t, n, &work->base);
    mixed_tile(run, work, c, t, n);
    zero(dout, C * V);
    for (int64_t i = 0; i < n; i++)
        gka_problem_dout(plan->problem, c->b, t + i, c->h, dout + i * V);
    attention_keys(run, work, dout, U);
    attention_values(run, work, dout, dv);
    add_rows(run, c, t, n, D, run->out->dk, work->dk, true);
    add_rows(run, c, t, n, V, run->out->dv, dv, true);
    suffix_sum(plan, C, work->dG, work->t1, work->t2);
    const bool restart = chunk_restarts(plan, c->b, t, c->h);
    for (int64_t i = 0; i < n; i++) {
        const double *const q = work->base.tile.q + i * D, *const x = work->x + i * D,
                            *const dq = work->dq + i * D;
        double *const dx = work->dx_all + (t - c->begin + i) * D, *const direct =
                                                                      work->dq_all +
                                                                      (t - c->begin + i) * D;
        double *const terms = work->base.row; /* of dalpha: bf16 operations on bf16 tensors */
        const bool two = plan->mixed == CHUNK_SPLIT;
        for (int64_t j = 0; j < D; j++) { /* q' = q + alpha (x - q) */
            const double difference = w(f32, x[j] - q[j]);
            terms[j] = two ? w(f32, dq[j] * difference)
                           : chunk_low(plan, GKA_POINT_STORE_GRAD,
                                       w(f32, dq[j] * chunk_low(plan, GKA_POINT_MIX, difference)));
            dx[j] = chunk_round(plan->cotangent, w(f32, dq[j] * work->alpha[i]));
            direct[j] = chunk_low(plan, GKA_POINT_STORE_GRAD, w(f32, dq[j] - dx[j]));
        }
        if (run->out->dalpha)
            run->out->dalpha[row_of(run, c, t + i)] =
                chunk_low(plan, GKA_POINT_STORE_GRAD, torch_sum(plan->order, D, terms));
        work->g_all[t - c->begin + i] = restart && i == 0 ? 0 : work->t2[i];
    }
    carry_values(plan, work, dout);
    if (restart)
        zero(work->dU, D * V);
}

/* ---- heads --------------------------------------------------------------------------------- */

/* E, Z and dU of one head at the right end. */
static void from_final(const gka_problem *problem, const gka_profile *profile, int64_t sequence,
                       int64_t h, double *E, double *Z, double *dU) {
    const int64_t size = problem->D * problem->D;
    if (dU)
        gka_problem_du_final(problem, sequence, h, dU);
    gka_problem_dh_final(problem, sequence, h, E);
    for (int64_t i = 0; !gka_profile_has(profile, GKA_POINT_H0_SIGN) && i < size; i++)
        E[i] = 0 - E[i];
    zero(Z, size);
}

void gka_chunk_carry_start(const gka_problem *problem, const gka_profile *profile,
                           const gka_chunk_carry *carry) {
    const int64_t D = problem->D, V = problem->V;
    for (int64_t i = 0; i < problem->N * problem->H; i++)
        from_final(problem, profile, i / problem->H, i % problem->H, carry->E + i * D * D,
                   carry->Z + i * D * D, carry->dU ? carry->dU + i * D * V : NULL);
}

static void start_carry(const backward *run, backward_work *work, int64_t sequence, int64_t h) {
    const chunk_plan *const plan = run->plan;
    const gka_chunk_carry *const c = &run->carry;
    const int64_t D = plan->D, V = plan->V, i = sequence * plan->problem->H + h;
    const bool layer = run->of == GKA_CHUNK_LAYER;
    if (!c->E) {
        from_final(plan->problem, &plan->profile, sequence, h, work->E, work->Z,
                   layer ? work->dU : NULL);
        return;
    }
    copy(work->E, c->E + i * D * D, D * D);
    copy(work->Z, c->Z + i * D * D, D * D);
    if (layer)
        copy(work->dU, c->dU + i * D * V, D * V);
}

static void leave_carry(const backward *run, const backward_work *work, int64_t sequence,
                        int64_t h) {
    const chunk_plan *const plan = run->plan;
    const gka_chunk_carry *const c = &run->carry;
    const int64_t D = plan->D, V = plan->V, i = sequence * plan->problem->H + h;
    if (!c->E)
        return;
    copy(c->E + i * D * D, work->E, D * D);
    copy(c->Z + i * D * D, work->Z, D * D);
    if (run->of == GKA_CHUNK_LAYER)
        copy(c->dU + i * D * V, work->dU, D * V);
}

static void backward_head(const backward *run, backward_work *work, int64_t sequence, int64_t h) {
    const chunk_plan *const plan = run->plan;
    const gka_problem *const problem = plan->problem;
    const int64_t D = plan->D, V = plan->V;
    const gka_span span = gka_problem_span(problem, sequence);
    cut c = {span.b, h, span.begin, span.end, plan->C_out};
    zero(work->g_all, span.end - span.begin);
    zero(work->dq_all, (span.end - span.begin) * D);
    start_carry(run, work, sequence, h);
    if (run->of == GKA_CHUNK_LAYER) {
        gka_problem_u0(problem, sequence, h, work->part);
        from_the_right(run, work, &c, true, work->part, output_step);
        if (run->out->du0)
            copy(run->out->du0 + (sequence * problem->H + h) * D * V, work->dU, D * V);
    } else {
        for (int64_t t = span.begin; t < span.end; t++)
            gka_problem_dx(problem, span.b, t, h, work->dx_all + (t - span.begin) * D);
    }
    c.C = plan->C;
    chunk_initial_state(plan, sequence, h, work->DD);
    copy(work->part, work->DD, D * D);
    from_the_right(run, work, &c, false, work->part, solve_step);
    leave_carry(run, work, sequence, h);
    if (!run->out->dh0)
        return;
    double *const dh0 = run->out->dh0 + (sequence * problem->H + h) * D * D;
    const bool released = chunk_has(plan, GKA_POINT_H0_SIGN);
    for (int64_t i = 0; i < D * D; i++)
        dh0[i] = released ? work->E[i] : w(plan->f32, -work->E[i] - work->Z[i] / 2);
}

/* One key/value head: its query heads one after the other, since they add to one dk. */
static void backward_group(void *context, int64_t index, int worker) {
    const backward *const run = context;
    const gka_problem *const problem = run->plan->problem;
    const int64_t each = problem->H / problem->G, group = index % problem->G;
    backward_work work;
    chunk_bump bump = {run->workspace + (size_t)worker * run->each, 0};
    layout(run, &bump, &work);
    for (int64_t i = 0; i < each; i++)
        backward_head(run, &work, index / problem->G, group * each + i);
}

/* ---- all ----------------------------------------------------------------------------------- */

gka_status gka_chunk_backward(const gka_problem *problem, const gka_profile *profile,
                              gka_chunk_of of, bool bp_lambda, const gka_chunk_given *given,
                              gka_chunk *out, gka_error *error) {
    gka_status status = gka_chunk_check(problem, profile, error);
    if (status != GKA_OK)
        return status;
    if (of == GKA_CHUNK_LAYER && (!problem->v.data || !problem->dout.data))
        return gka_fail(error, GKA_BAD_ARGUMENT, "gradients of the layer: v or do is missing");
    if (of == GKA_CHUNK_SOLVE && !problem->dx.data)
        return gka_fail(error, GKA_BAD_ARGUMENT, "gradients of the solve: dx is missing");
    const size_t rows = (size_t)(problem->B * problem->T * problem->H),
                 keys = (size_t)(problem->B * problem->T * problem->G);
    const size_t D = (size_t)problem->D, V = (size_t)problem->V;
    chunk_plan plan;
    chunk_plan_init(&plan, problem, profile);
    backward run = {.plan = &plan, .of = of, .bp_lambda = bp_lambda, .out = out};
    double *const x = out->x ? NULL : gka_alloc(rows * D, sizeof *x);
    double *const fro = out->fro ? NULL : gka_alloc(rows, sizeof *fro);
    gka_chunk forward = *out;
    forward.x = x ? x : out->x;
    forward.fro = fro ? fro : out->fro;
    if (given && given->carry.E)
        chunk_plan_piece(&plan, given->carry.T);
    int64_t tiles = 1;
    for (int64_t n = 0; n < problem->N; n++) {
        const gka_span span = gka_problem_span(problem, n);
        run.T = max_of(run.T, span.end - span.begin);
        for (int64_t h = 0; h < problem->H; h++) {
            cut c = {span.b, h, span.begin, span.end, plan.C};
            tiles = max_of(tiles, count_tiles(&plan, &c));
            c.C = plan.C_out;
            tiles = max_of(tiles, count_tiles(&plan, &c));
        }
    }
    while (run.segments * run.segments < tiles)
        run.segments++;
    backward_work work;
    chunk_bump bump = {NULL, 0};
    layout(&run, &bump, &work);
    run.each = bump.used;
    run.workspace = gka_alloc((size_t)gka_threads(), run.each);
    if (!forward.x || !forward.fro || !run.workspace) {
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory: backward, %zu bytes a worker",
                          run.each);
        goto done;
    }
    if (!given || !given->x || !given->fro) {
        status = gka_chunk_forward(problem, profile, &forward, NULL, NULL, error);
        if (status != GKA_OK)
            goto done;
    }
    run.x = given && given->x ? given->x : forward.x;
    run.fro = given && given->fro ? given->fro : forward.fro;
    run.p = given ? given->p : NULL;
    if (given)
        run.carry = given->carry;
    if (out->dk)
        memset(out->dk, 0, keys * D * sizeof(double));
    if (out->dv)
        memset(out->dv, 0, keys * V * sizeof(double));
    if (out->du0)
        memset(out->du0, 0, (size_t)(problem->N * problem->H) * D * V * sizeof(double));
    gka_parallel(problem->N * problem->G, backward_group, &run);
done:
    gka_free(run.workspace);
    gka_free(fro);
    gka_free(x);
    return status;
}
