/* backward_solve.c - the gradients of one tile of the solve: dq = p, dk and dg through every state
 * that the tile's keys are in, the adaptive ridge differentiated through (NUMERICS 2, 4, 5).
 *
 * Symbols: backward.h.
 */
#include "chunk/backward.h"

/* p, x, f of the tile; rows from n on are zero. */
static void solve_tile(const backward *run, backward_work *work, const backward_cut *c, int64_t t,
                       int64_t n, const double *H) {
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
        copy(work->x + i * D, run->x + backward_row(run, c, t + i) * D, D);
        work->f[i] = run->fro[backward_row(run, c, t + i)];
    }
    if (run->p) {
        zero(work->p, C * D);
        for (int64_t i = 0; i < n; i++)
            copy(work->p + i * D, run->p + backward_row(run, c, t + i) * D, D);
    } else {
        gka_chunk_gates(plan, chunk_has(plan, GKA_POINT_MASK), &base->tile, base->row);
        gka_chunk_solve(plan, base, work->dx, work->f, true);
        gka_chunk_gates(plan, false, &base->tile, base->row);
        for (int64_t i = 0; i < C * D; i++)
            work->p[i] = i < n * D ? gka_chunk_round(plan->stored, base->x[i]) : 0;
    }
    if (run->to->p)
        for (int64_t i = 0; i < n; i++)
            copy(run->to->p + backward_row(run, c, t + i) * D, work->p + i * D, D);
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

/* out_j = a_j + .. + a_(C-1), scanned from the end; out is not a */
static void scan_from_the_end(const chunk_plan *plan, int64_t C, const double *a, double *out) {
    for (int64_t j = 0; j < C; j++)
        out[j] = a[C - 1 - j];
    gka_scan_sum(plan->order, C, out, out);
    for (int64_t j = 0; j < C / 2; j++) {
        const double last = out[C - 1 - j];
        out[C - 1 - j] = out[j];
        out[j] = last;
    }
}

/* Gated, with the ridge held fixed, another kernel makes dk and dg: it has the scores by token,
 * then key, rounds exp(G_n - G_j) k_j once, adds what comes through E last, and sums dG from the
 * end. */
static bool ridge_is_fixed(const backward *run) {
    return !run->bp_lambda && run->plan->hardware && run->plan->gated;
}

/* The warps of the kernel that has E and this chunk's scores. */
static int64_t outer_warps(const backward *run) {
    return ridge_is_fixed(run) ? run->plan->warps[GKA_LAUNCH_SOLVE_DH] : 4;
}

/* How many of them share a row there: all of them below 64 rows, and two a row of more than that.
 */
static int64_t outer_across(const backward *run, int64_t C) {
    const int64_t warps = outer_warps(run);
    return C < 64 || (warps == 2 && run->plan->D > C) ? warps : 1;
}

/* <a, b> over a row of D there: of eight warps with 64 rows (wgmma) each holds half of one. */
static double outer_row(const backward *run, int64_t C, const double *a, const double *b) {
    const chunk_plan *const plan = run->plan;
    const int64_t D = plan->D, across = outer_across(run, C);
    if (C >= 64 && outer_warps(run) == 8)
        return gka_row_dot_pieces(plan->order, 2, D, a, b);
    return gka_row_dot_shared(plan->order, across < D / 8 ? across : D / 8, D, a, b);
}

/* The scores of work->S and work->dS as that kernel's threads hold them. */
static gka_triangle outer_scores(const backward *run, const backward_work *work) {
    const int64_t C = work->base.tile.C, warps = outer_warps(run), across = outer_across(run, C);
    return (gka_triangle){.n = C,
                          .down = C < 64 || across > 1 ? 1
                                  : warps < 4          ? warps
                                                       : 4,
                          .across = across < C / 8 ? across : C / 8,
                          .a = work->S,
                          .b = work->dS};
}

/* dG of the scores in work->CC, or, where there is no kernel, these by token, then key. */
static void start_gates(const backward *run, backward_work *work) {
    const chunk_plan *const plan = run->plan;
    const int64_t C = work->base.tile.C;
    const bool f32 = plan->f32, fixed = ridge_is_fixed(run);
    const gka_triangle scores = outer_scores(run, work);
    double *const by_token = work->base.score;
    zero(work->dG, C);
    for (int64_t t = 0; t < C && !plan->hardware; t++)
        for (int64_t j = 0; j < C; j++)
            by_token[t * C + j] = work->CC[j * C + t];
    for (int64_t t = 0; t < C && fixed; t++)
        work->dG[t] = w(f32, gka_triangle_row(plan->order, scores, t) -
                                 gka_triangle_column(plan->order, scores, t));
    for (int64_t t = 0; t < C && plan->hardware && !fixed; t++)
        work->dG[t] = w(f32, gka_column_sum(plan->order, C, work->CC + t, C) -
                                 gka_row_sum(plan->order, C, C, work->CC + t * C));
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
    gka_chunk_multiply(plan, base, plan->low, plan->stored, C, C, D, K, (gka_matrix){work->x, 1, D},
                       S, C);
    gka_chunk_multiply(plan, base, plan->low, plan->stored, C, C, D, K, (gka_matrix){work->p, 1, D},
                       dS, C);
    for (int64_t j = 0; j < C; j++)
        for (int64_t t = 0; t < C; t++) {
            const int64_t i = j * C + t;
            Mt[i] = tile->M[t * C + j];
            S[i] = w(f32, S[i] * Mt[i]);
            work->CC[i] = t >= j ? w(f32, S[i] * dS[i]) : 0;
        }
    const bool kernel = plan->hardware;
    start_gates(run, work);

    /* dk = (k tail) (E + E^T) + S p + (dS . M) x */
    double *const E2 = work->DD, *const k2 = work->rows;
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++)
            E2[i * D + j] = chunk_low(plan, GKA_POINT_GRAD_OPERAND,
                                      w(f32, work->E0[i * D + j] + work->E0[j * D + i]));
    const bool fixed = ridge_is_fixed(run); /* the sum over E then comes last */
    const gka_matrix K2 = {k2, D, 1}, E_sum = {E2, D, 1};
    tail_keys(plan, tile, !fixed, k2);
    if (!fixed)
        chunk_product(plan, base, bf, C, D, D, K2, E_sum, work->dk, D);
    for (int64_t i = 0; i < C * C; i++) {
        work->CC[i] = chunk_low(plan, GKA_POINT_GRAD_OPERAND, w(f32, dS[i] * Mt[i]));
        S[i] = chunk_low(plan, GKA_POINT_GRAD_OPERAND, S[i]);
    }
    const chunk_kind scores = bf ? plan->low : CHUNK_WORKING;
    gka_chunk_multiply(plan, base, scores, plan->stored, C, D, C, (gka_matrix){S, C, 1}, P,
                       work->dk, D);
    gka_chunk_multiply(plan, base, scores, plan->stored, C, D, C, (gka_matrix){work->CC, C, 1}, X,
                       work->dk, D);
    if (fixed)
        chunk_product(plan, base, bf, C, D, D, K2, E_sum, work->dk, D);

    /* dG_t += exp(G_t) <p_t, H_0 x_t>;  dG_j -= <tail_j E^T k_j, k_j>, and at the end all of it */
    double *const y = work->rows2, *const last = work->t1;
    zero(y, C * D);
    gka_chunk_multiply(plan, base, plan->stored, plan->snapshot, C, D, D, P,
                       (gka_matrix){base->H0, D, 1}, y, D);
    for (int64_t t = 0; t < C; t++) {
        for (int64_t i = t * D; i < (t + 1) * D; i++)
            y[i] = plan->gated ? w(f32, y[i] * tile->expG[t]) : y[i];
        work->t2[t] = outer_row(run, C, y + t * D, work->x + t * D);
        dG[t] = kernel ? w(f32, dG[t] + work->t2[t]) : 0;
    }
    zero(y, C * D);
    chunk_product(plan, base, bf && chunk_has(plan, GKA_POINT_GRAD_STATE), C, D, D,
                  (gka_matrix){k2, D, 1}, (gka_matrix){work->E0, D, 1}, y, D);
    for (int64_t j = 0; j < C; j++) {
        last[j] = outer_row(run, C, y + j * D, tile->k + j * D);
        dG[j] = kernel ? w(f32, dG[j] - last[j]) : 0;
    }
    const bool low_dot = chunk_has(plan, GKA_POINT_GRAD_DOT) && D >= 32 && plan->hardware;
    const int64_t warps = outer_warps(run);
    const double EH = low_dot ? gka_dot_low(plan->profile.fp16, D, warps, work->E0, base->H0)
                              : gka_dot_state(plan->order, warps, D, work->E0, base->H0);
    if (!kernel) {
        gka_backward_through_gates(plan, C, tile->n, base->score, work->t2, last,
                                   w(f32, tile->decay * EH), base->row2, dG);
        return;
    }
    const double all = fma_w(f32, tile->decay, EH, gka_lane_sum(plan->order, warps, C, last));
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
            low_dot ? gka_row_dot_low(fp16, D, p, x) : gka_row_dot(plan->order, tile->C, D, p, x);
        const double apx = low_dot ? low_of(fp16, a * px) : w(plan->f32, a * px);
        work->t2[t] = apx;
        work->weight[t] = t < tile->n || (plan->hardware && !plan->gated)
                              ? gka_chunk_div(plan, w(plan->f32, 2 * apx), work->f[t])
                              : 0;
        if (!plan->hardware && work->f[t] == 0)
            work->weight[t] = 0;
    }
}

/* What the ridge sends through the gates: (w_t/2) <H_t, H_t> but for what has not passed gate i,
 *   W_tj = (w_t/2) M_tj k_j^T H_t k_j        a_t = (w_t/2) exp(G_t) <H_0, H_t>
 *   k_j^T H_t k_j = exp(G_t) c_j + (M (KK^T . KK^T))_tj,  <H_0, H_t> = exp(G_t) ||H_0||^2 + (M c)_t
 * with c_j = k_j^T H_0 k_j. Where f_t is given and may differ from ||H_t||, kernels take
 * a <p_t, x_t> f_t for (w_t/2) ||H_t||^2, so the difference goes with a_t. */
static void ridge_through_gates(const backward *run, backward_work *work, const double *KK) {
    const chunk_plan *const plan = run->plan;
    const chunk_work *const base = &work->base;
    const chunk_tile *const tile = &base->tile;
    const int64_t D = plan->D, C = tile->C;
    const bool f32 = plan->f32;
    double *const squares = work->squares, *const N = base->MS, *const W = base->score,
                  *const KH = work->rows2, *const c = base->row, *const a = base->row2;
    for (int64_t i = 0; i < C * C; i++)
        squares[i] = w(f32, KK[i] * KK[i]);
    zero(N, C * C);
    gka_chunk_multiply(plan, base, CHUNK_WORKING, CHUNK_WORKING, C, C, C,
                       (gka_matrix){tile->M, C, 1}, (gka_matrix){squares, C, 1}, N, C);
    zero(KH, C * D);
    gka_chunk_multiply(plan, base, CHUNK_WORKING, CHUNK_WORKING, C, D, D,
                       (gka_matrix){tile->k, D, 1}, (gka_matrix){base->H0, D, 1}, KH, D);
    for (int64_t j = 0; j < C; j++)
        c[j] = gka_row_dot(plan->order, C, D, KH + j * D, tile->k + j * D);
    const double square = gka_dot_state(plan->order, 4, D, base->H0, base->H0);
    for (int64_t t = 0; t < C; t++) {
        const double e = tile->expG[t], half = work->weight[t] / 2, *const M = tile->M + t * C;
        const double H0H = fma_w(f32, e, square, gka_row_dot(plan->order, C, C, M, c));
        a[t] = w(f32, half * w(f32, e * H0H));
        double own = a[t];
        for (int64_t j = 0; j < C; j++) {
            const double kHk = fma_w(f32, e, c[j], N[t * C + j]);
            W[t * C + j] = w(f32, half * w(f32, M[j] * kHk));
            own = w(f32, own + W[t * C + j]);
        }
        if (run->given_f)
            a[t] = w(f32, a[t] + fma_w(f32, work->t2[t], work->f[t], -own));
    }
    gka_backward_through_gates(plan, C, tile->n, W, a, NULL, 0, work->alpha, work->dG);
}

/* sum_{t >= j} M_tj w_t H_t k_j = weights1_j H_0 k_j + ((weights2 . K K^T) K)_j, and this chunk's
 * part of Z. */
static void through_ridge(const backward *run, backward_work *work) {
    const chunk_plan *const plan = run->plan;
    const chunk_work *const base = &work->base;
    const chunk_tile *const tile = &base->tile;
    const int64_t D = plan->D, C = tile->C;
    const bool f32 = plan->f32, bf = operand(plan);
    double *const weights1 = work->t1, *const weights2 = work->weights2, *const A = work->A,
                  *const KK = work->KK, *const Mt = work->Mt, *const tmp = work->rows2,
                  *const kw = work->rows;
    const bool kernel = plan->hardware;
    for (int64_t t = 0; kernel && t < C; t++)
        work->dG[t] = fma_w(f32, work->t2[t], work->f[t], work->dG[t]);

    const gka_matrix K = {tile->k, D, 1};
    double total[2]; /* sum_t exp(2 G_t) w_t, as the lower and the upper lanes of a warp have it */
    if (plan->gated) {
        const chunk_kind weight =
            chunk_has(plan, GKA_POINT_GRAD_WEIGHT) ? CHUNK_TF32 : CHUNK_WORKING;
        double *const ew = base->row, *const e2 = base->row2;
        for (int64_t t = 0; t < C; t++) {
            ew[t] = w(f32, tile->expG[t] * work->weight[t]);
            e2[t] = kernel        ? gka_chunk_exp(plan, w(f32, tile->G[t] + tile->G[t]))
                    : t < tile->n ? w(f32, tile->expG[t] * tile->expG[t])
                                  : 0;
        }
        for (int upper = 0; upper < 2; upper++)
            total[upper] = gka_lane_dot_in(upper == 1, plan->order, C, work->weight, e2);
        for (int64_t j = 0; j < C; j++) {
            weights1[j] = gka_lane_dot(plan->order, C, Mt + j * C, ew);
            for (int64_t t = 0; t < C; t++) {
                const double m = w(f32, Mt[j * C + t] * work->weight[t]);
                A[j * C + t] = weight == CHUNK_TF32 ? gka_cut_tf32(m) : m;
            }
        }
        zero(weights2, C * C);
        if (weight == CHUNK_TF32)
            for (int64_t i = 0; i < C * C; i++)
                Mt[i] = gka_cut_tf32(Mt[i]);
        gka_chunk_multiply(plan, base, weight, weight, C, C, C, (gka_matrix){A, C, 1},
                           (gka_matrix){Mt, 1, C}, weights2, C);
    } else {
        scan_from_the_end(plan, C, work->weight, weights1);
        for (int64_t j = 0; j < C; j++)
            for (int64_t t = 0; t < C; t++)
                weights2[j * C + t] = weights1[t > j ? t : j];
        total[0] = total[1] = weights1[0];
    }
    zero(KK, C * C);
    chunk_product(plan, base, true, C, C, D, K, (gka_matrix){tile->k, 1, D}, KK, C);
    if (!kernel)
        ridge_through_gates(run, work, KK);
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
        if (kernel)
            work->dG[j] = fma_w(f32, gka_row_dot(plan->order, C, D, tmp + j * D, tile->k + j * D),
                                -0.5, work->dG[j]);
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

/* <a, b> over a row of D in the kernel that runs through the suffix states. wgmma tiles (64 rows,
 * at least four warps): eight warps halve the row; else the warps share it as far as 16 columns
 * each, or as the rows leave them. */
static double later_row(const chunk_plan *plan, int64_t C, const double *a, const double *b) {
    const int64_t D = plan->D, warps = plan->warps[GKA_LAUNCH_SOLVE_DK];
    if (warps == 4)
        return gka_row_dot(plan->order, C, D, a, b);
    if (C >= 64 && warps == 8)
        return gka_row_dot_pieces(plan->order, 2, D, a, b);
    const int64_t most = C >= 32 ? D / 16 : D / 8, shared = warps < most ? warps : most;
    return gka_row_dot_shared(plan->order, shared, D, a, b);
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
        dG2[j] = w(f32, later_row(plan, C, dk2 + j * D, tile->k + j * D) / 2);
    for (int64_t i = 0; i < D * D; i++) /* rounded here, but fused where Z is carried on */
        work->DD[i] = w(f32, work->Z[i] * tile->decay);
    const double ZH =
        gka_dot_state(plan->order, plan->warps[GKA_LAUNCH_SOLVE_DK], D, work->DD, base->H0);
    if (!plan->hardware) { /* by dk2_j = -tail_j Z k_j */
        for (int64_t j = 0; j < C; j++)
            dG2[j] = -dG2[j];
        gka_backward_through_gates(plan, C, tile->n, NULL, NULL, dG2, w(f32, ZH / 2), base->row2,
                                   work->dG);
        zero(dG2, C);
    } else {
        const double all = w(f32, ZH / 2 - sum_rows(plan, GKA_LAUNCH_SOLVE_DK, C, dG2));
        dG2[tile->n - 1] = w(f32, dG2[tile->n - 1] + all);
    }
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
    gka_chunk_round_rows(kind, C * D, pe, pe);
    if (plan->gated)
        for (int64_t i = 0; i < D * D; i++)
            work->E[i] = w(plan->f32, work->E[i] * tile->decay);
    gka_chunk_multiply(plan, base, kind, plan->stored, D, D, C, (gka_matrix){pe, 1, D},
                       (gka_matrix){work->x, D, 1}, work->E, D);
    for (int64_t i = 0; merged(plan) && i < D * D; i++) {
        work->E[i] = fma_w(plan->f32, .5, work->Z[i], work->E[i]);
        work->Z[i] = 0;
    }
}

/* Everything of one chunk of the solve. */
void gka_backward_solve_step(const backward *run, backward_work *work, const backward_cut *c,
                             int64_t t, int64_t n, const double *H) {
    const chunk_plan *const plan = run->plan;
    const int64_t D = plan->D, C = c->C;
    gka_chunk_handed(plan, D * D, work->E);
    gka_chunk_handed(plan, D * D, work->Z);
    gka_backward_load(plan, c, t, n, &work->base);
    solve_tile(run, work, c, t, n, H);
    for (int64_t i = 0; i < D * D; i++)
        work->E0[i] = chunk_low(plan, GKA_POINT_GRAD_STATE, work->E[i]);
    through_outer(run, work);
    if (run->bp_lambda) {
        ridge_weights(run, work);
    } else {
        zero(work->weight, C);
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
    gka_backward_add_rows(run, c, t, n, D, run->to->dk, work->dk, true);
    if (ridge_is_fixed(run))
        scan_from_the_end(plan, C, work->dG, work->t2);
    else
        gka_backward_suffix_sum(plan, C, work->dG, work->t1, work->t2);
    for (int64_t i = 0; i < n; i++) {
        const int64_t row = backward_row(run, c, t + i);
        double *const all = work->g_all + (t - c->begin + i);
        *all = w(plan->f32, *all + work->t2[i]);
        if (run->to->dg)
            run->to->dg[row] = *all;
        for (int64_t j = 0; run->to->dq && j < D; j++) {
            const double direct = work->dq_all[(t - c->begin + i) * D + j];
            const double sum = w(plan->f32, direct + work->p[i * D + j]);
            run->to->dq[row * D + j] = chunk_low(plan, GKA_POINT_STORE_GRAD, sum);
        }
    }
    carry_outer(plan, work);
    if (gka_chunk_restarts(plan, c->b, t, c->h)) { /* nothing passes a gate that is zero */
        zero(work->E, D * D);
        zero(work->Z, D * D);
        if (run->to->dg)
            run->to->dg[backward_row(run, c, t)] = 0;
    }
}
