/* backward_output.c - the gradients of one tile of the output stage: linear attention with the
 * mixed query q' = q + alpha (x - q), o = s U^T q' (NUMERICS 2, 4, 5).
 *
 * Symbols: backward.h.
 */
#include "chunk/backward.h"

/* q'_t, alpha and x of the tile. */
static void mixed_tile(const backward *run, backward_work *work, const backward_cut *c, int64_t t,
                       int64_t n) {
    const chunk_plan *const plan = run->plan;
    const int64_t D = plan->D;
    zero(work->mix, c->C * D);
    for (int64_t i = 0; i < n; i++) {
        work->alpha[i] = gka_problem_alpha(plan->problem, c->b, t + i, c->h);
        copy(work->x + i * D, run->x + backward_row(run, c, t + i) * D, D);
    }
    gka_chunk_mix(plan, n, work->base.tile.q, work->alpha, work->x, work->mix);
}

/* dG of the output stage without a kernel's rounding points: by products of gates. */
static void attention_gates_exact(const chunk_plan *plan, backward_work *work, const double *U) {
    const chunk_work *const base = &work->base;
    const chunk_tile *const tile = &base->tile;
    const int64_t D = plan->D, V = plan->V, C = tile->C;
    const bool f32 = plan->f32;
    double *const dS = work->dS, *const dq = work->dq, *const dk = work->dk;
    const gka_matrix Q = {work->mix, D, 1};
    double *const S = work->S, *const W = work->CC, *const a = work->t1, *const b = work->t2;
    zero(S, C * C);
    gka_chunk_multiply(plan, base, plan->mixed, plan->low, C, C, D, Q, (gka_matrix){tile->k, 1, D},
                       S, C);
    for (int64_t i = 0; i < C * C; i++)
        W[i] = w(f32, dS[i] * S[i]);
    for (int64_t t = 0; t < C; t++) {
        a[t] = gka_row_dot(plan->order, C, D, dq + t * D, work->mix + t * D);
        b[t] = gka_row_dot(plan->order, C, D, dk + t * D, tile->k + t * D);
    }
    const double UdU = gka_block_dot(plan->order, 4, D, V, U, work->dU, V);
    gka_backward_through_gates(plan, C, tile->n, W, a, b, w(f32, UdU * tile->decay), base->row2,
                               work->dG);
}

/* ... and as the kernel has it: blocks of 64 columns of keys, each with its part. */
static void attention_gates(const chunk_plan *plan, backward_work *work, const double *U) {
    const chunk_work *const base = &work->base;
    const chunk_tile *const tile = &base->tile;
    const int64_t D = plan->D, V = plan->V, C = tile->C;
    const int64_t width = D < 64 || plan->order != SUM_WARP ? D : 64;
    const int warps = plan->warps[GKA_LAUNCH_OUTPUT_BWD];
    const bool f32 = plan->f32;
    double *const dS = work->dS, *const dq = work->dq, *const dk = work->dk;
    for (int64_t from = 0; from < D; from += width) {
        double *const S = work->S, *const part = work->t1;
        zero(S, C * C);
        gka_chunk_multiply(plan, base, plan->mixed, plan->low, C, C, width,
                           (gka_matrix){work->mix + from, D, 1}, (gka_matrix){tile->k + from, 1, D},
                           S, C);
        for (int64_t t = 0; t < C; t++) {
            const int64_t i = t * D + from;
            const double kk = gka_row_dot(plan->order, C, width, dk + i, tile->k + i);
            const double qq = gka_row_dot(plan->order, C, width, dq + i, work->mix + i);
            const double row = gka_row_dot(plan->order, C, C, dS + t * C, S + t * C);
            part[t] = w(f32, w(f32, w(f32, qq - kk) + row) -
                                 gka_column_products(plan->order, warps, C, dS + t, S + t, C));
        }
        const double UdU =
            gka_block_dot(plan->order, warps, width, V, U + from * V, work->dU + from * V, V);
        const double kk = gka_tile_dot(plan->order, warps, C, width, dk + from, tile->k + from, D);
        const double all = fma_w(f32, UdU, tile->decay, kk);
        part[tile->n - 1] = w(f32, part[tile->n - 1] + all);
        for (int64_t t = 0; t < C; t++)
            work->dG[t] = w(f32, work->dG[t] + part[t]);
    }
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
                     K = {tile->k, D, 1}, state = {work->dU0, 1, V};
    /* Where one tile of 64 holds all values, the compiler has no loop over them left, sees that the
     * state's product begins at zero, and begins it at what is added to it: the scaled scores. */
    const bool state_last = plan->hardware && !plan->gated && V <= 64;
    for (int64_t i = 0; i < D * V; i++) {
        U0[i] = chunk_low(plan, GKA_POINT_GRAD_OPERAND, U[i]);
        work->dU0[i] = chunk_low(plan, GKA_POINT_GRAD_OPERAND, work->dU[i]);
    }
    zero(dS, C * C);
    zero(dq, C * D);
    zero(dk, C * D);
    chunk_product(plan, base, true, C, C, V, dO, (gka_matrix){tile->v, 1, V}, dS, C);
    chunk_product(plan, base, bf, C, D, V, dO, (gka_matrix){U0, 1, V}, dq, D);
    if (!state_last)
        chunk_product(plan, base, bf, C, D, V, Vm, state, dk, D);
    zero(work->dG, C);
    if (plan->gated) {
        for (int64_t t = 0; t < C; t++)
            for (int64_t i = t * D; i < (t + 1) * D; i++) {
                dq[i] = w(f32, w(f32, dq[i] * tile->expG[t]) * plan->s);
                dk[i] = w(f32, dk[i] * tile->tail[t]);
            }
        for (int64_t i = 0; i < C * C; i++)
            dS[i] = w(f32, w(f32, dS[i] * tile->M[i]) * plan->s);
        if (plan->hardware)
            attention_gates(plan, work, U);
        else
            attention_gates_exact(plan, work, U);
    } else {
        for (int64_t i = 0; i < C * C; i++)
            dS[i] = tile->M[i] != 0 ? dS[i] : 0;
    }
    for (int64_t i = 0; i < C * C; i++)
        dS[i] = chunk_low(plan, GKA_POINT_GRAD_OPERAND, dS[i]);
    const chunk_kind scores = bf ? plan->low : CHUNK_WORKING;
    chunk_product(plan, base, bf, C, D, C, (gka_matrix){dS, C, 1}, K, dq, D);
    if (plan->gated) {
        gka_chunk_multiply(plan, base, scores, plan->mixed, C, D, C, (gka_matrix){dS, 1, C}, Q, dk,
                           D);
    } else { /* the ungated kernel scales afterwards */
        zero(work->rows, C * D);
        gka_chunk_multiply(plan, base, scores, plan->mixed, C, D, C, (gka_matrix){dS, 1, C}, Q,
                           work->rows, D);
        for (int64_t i = 0; i < C * D; i++) {
            dk[i] = state_last ? w(f32, work->rows[i] * plan->s)
                               : fma_w(f32, work->rows[i], plan->s, dk[i]);
            dq[i] = w(f32, dq[i] * plan->s);
        }
        if (state_last)
            chunk_product(plan, base, bf, C, D, V, Vm, state, dk, D);
    }
    for (int64_t i = 0; i < C * D; i++) {
        dq[i] = gka_chunk_round(plan->cotangent, dq[i]);
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
    gka_chunk_multiply(plan, base, plan->low, plan->mixed, C, C, D, K,
                       (gka_matrix){work->mix, 1, D}, A, C);
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
            const double q = gka_chunk_round(kind, w(plan->f32, work->mix[i] * plan->s));
            work->rows[i] =
                plan->gated ? gka_chunk_round(kind, w(plan->f32, q * tile->expG[t])) : q;
        }
    if (plan->gated)
        for (int64_t i = 0; i < D * V; i++)
            work->dU[i] = w(plan->f32, work->dU[i] * tile->decay);
    gka_chunk_multiply(plan, base, kind, plan->low, D, V, C, (gka_matrix){work->rows, 1, D},
                       (gka_matrix){dout, V, 1}, work->dU, V);
}

/* Everything of one tile of the output stage: dx of its tokens, the direct part of dq. */
void gka_backward_output_step(const backward *run, backward_work *work, const backward_cut *c,
                              int64_t t, int64_t n, const double *U) {
    const chunk_plan *const plan = run->plan;
    const int64_t D = plan->D, V = plan->V, C = c->C;
    const bool f32 = plan->f32;
    double *const dout = work->base.grad, *const dv = work->rows2;
    gka_chunk_handed(plan, D * V, work->dU);
    gka_backward_load(plan, c, t, n, &work->base);
    mixed_tile(run, work, c, t, n);
    zero(dout, C * V);
    for (int64_t i = 0; i < n; i++)
        gka_problem_dout(plan->problem, c->b, t + i, c->h, dout + i * V);
    attention_keys(run, work, dout, U);
    attention_values(run, work, dout, dv);
    gka_backward_add_rows(run, c, t, n, D, run->to->dk, work->dk, true);
    gka_backward_add_rows(run, c, t, n, V, run->to->dv, dv, true);
    gka_backward_suffix_sum(plan, C, work->dG, work->t1, work->t2);
    const bool restart = gka_chunk_restarts(plan, c->b, t, c->h);
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
            dx[j] = gka_chunk_round(plan->cotangent, w(f32, dq[j] * work->alpha[i]));
            const double rest = plan->hardware ? dq[j] - dx[j] : w(f32, 1 - work->alpha[i]) * dq[j];
            direct[j] = chunk_low(plan, GKA_POINT_STORE_GRAD, w(f32, rest));
        }
        if (run->to->dalpha)
            run->to->dalpha[backward_row(run, c, t + i)] =
                chunk_low(plan, GKA_POINT_STORE_GRAD, gka_torch_sum(plan->order, D, terms));
        work->g_all[t - c->begin + i] = restart && i == 0 ? 0 : work->t2[i];
    }
    carry_values(plan, work, dout);
    if (restart)
        zero(work->dU, D * V);
}
