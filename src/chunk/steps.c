/* steps.c - the steps on one tile: gates, norm, solve, state (NUMERICS 4 and 5).
 *
 * Symbols: see chunk.h. Rows of a tile are tokens; a product "A B" is the device's.
 */
#include "chunk/chunk.h"

/* ---- plan and workspace -------------------------------------------------------------------- */

static int64_t max_of(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* The linear-attention kernels cut T into tiles of min(64, max(16, the power of two above T)). */
static int64_t output_tile(int64_t T) {
    int64_t C = 16;
    while (C < T && C < 64)
        C *= 2;
    return C;
}

static bool is_power_of_two(int64_t n) {
    return n >= 16 && (n & (n - 1)) == 0;
}

void chunk_plan_init(chunk_plan *plan, const gka_problem *problem, const gka_profile *profile) {
    const bool hardware = profile->device->core[GKA_MMA_BF16].group > 0;
    *plan = (chunk_plan){.problem = problem,
                         .profile = *profile,
                         .D = problem->D,
                         .V = problem->V,
                         .C = problem->chunk_size,
                         .hardware = hardware,
                         .gated = problem->g.data != NULL,
                         .exact = gka_device_find("exact64")};
    plan->C_out = hardware ? output_tile(problem->T) : plan->C;
    plan->f32 = profile->device->binary32 && chunk_has(plan, GKA_POINT_ARITHMETIC);
    const bool powers = is_power_of_two(plan->C) && is_power_of_two(plan->D) &&
                        (plan->V == 0 || is_power_of_two(plan->V));
    plan->order = !plan->f32 ? SUM64 : hardware && powers ? SUM_WARP : SUM32;
    plan->a = w(chunk_has(plan, GKA_POINT_PARAMETERS), problem->ridge_ratio);
    plan->s = w(chunk_has(plan, GKA_POINT_PARAMETERS), problem->scale);
}

void *chunk_take(chunk_bump *bump, size_t count, size_t size) {
    void *const memory = bump->base ? bump->base + bump->used : NULL;
    bump->used += (count * size + 63) & ~(size_t)63;
    return memory;
}

static double *take(chunk_bump *bump, int64_t rows, int64_t columns) {
    return chunk_take(bump, (size_t)rows * (size_t)columns, sizeof(double));
}

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Packed operands have at most max(C,D,V) rows of max(C,D,V) numbers in binary64. */
void chunk_work_layout(const chunk_plan *plan, chunk_bump *bump, chunk_work *work) {
    const int64_t D = plan->D, V = plan->V, C = max_of(plan->C, plan->C_out);
    const int64_t most = (max_of(C, max_of(D, V)) + 15) / 16 * 16;
    const size_t packed = gka_mma_right_size(plan->exact, GKA_MMA_WORKING, most, most);
    const size_t packed32 = gka_mma_right_size(plan->profile.device, GKA_MMA_BF16, most, most);
    const size_t pack = max_size(packed, packed32);
    chunk_tile *const tile = &work->tile;
    tile->q = take(bump, C, D);
    tile->k = take(bump, C, D);
    tile->v = take(bump, C, V);
    tile->g = take(bump, C, 1);
    tile->G = take(bump, C, 1);
    tile->expG = take(bump, C, 1);
    tile->tail = take(bump, C, 1);
    tile->M = take(bump, C, C);
    work->H = take(bump, D, D);
    work->H0 = take(bump, D, D);
    work->U = take(bump, D, V);
    work->U0 = take(bump, D, V);
    work->f = take(bump, C, 1);
    work->lambda = take(bump, C, 1);
    work->rows = chunk_take(bump, (size_t)C, sizeof *work->rows);
    work->sigma = take(bump, C, 1);
    work->delta = take(bump, C, 1);
    work->x = take(bump, C, D);
    work->x_prev = take(bump, C, D);
    work->y = take(bump, C, D);
    work->z = take(bump, C, max_of(D, V));
    work->grad = take(bump, C, max_of(D, V));
    work->score = take(bump, C, C);
    work->MS = take(bump, C, C);
    work->row = take(bump, most, 1);
    work->row2 = take(bump, most, 1);
    work->x_wait = take(bump, plan->C + plan->C_out, D);
    work->DD = take(bump, max_of(D, V), D);
    work->left = chunk_take(bump, pack, 1);
    work->right = chunk_take(bump, pack, 1);
    work->pack_H = chunk_take(bump, pack, 1);
    work->pack_K = chunk_take(bump, pack, 1);
    work->pack_Kt = chunk_take(bump, pack, 1);
}

/* ---- functions and products ---------------------------------------------------------------- */

double chunk_exp(const chunk_plan *plan, double x) {
    if (chunk_has(plan, GKA_POINT_EXP))
        return gka_device_exp(plan->profile.device, x);
    return w(plan->f32, gka_device_exp(plan->exact, x));
}

double chunk_div(const chunk_plan *plan, double x, double y) {
    if (chunk_has(plan, GKA_POINT_DIVIDE))
        return gka_device_div(plan->profile.device, x, y);
    return w(plan->f32, x / y);
}

double chunk_sqrt(const chunk_plan *plan, double x) {
    if (chunk_has(plan, GKA_POINT_SQRT))
        return gka_device_sqrt(plan->profile.device, x);
    return w(plan->f32, sqrt(x));
}

/* Which device multiplies, and what its operands hold. A product of operands that keep more than
 * bf16 runs on the device's fp32 units; without the tensor core it is the binary64 product,
 * rounded once to the working precision. */
typedef struct unit {
    const gka_device *device;
    gka_mma_input input;
    bool round;
} unit;

static unit product_unit(const chunk_plan *plan, bool low) {
    const gka_device *const device = plan->profile.device;
    const bool core = chunk_has(plan, GKA_POINT_TENSOR_CORE) && low;
    if (core)
        return (unit){device, GKA_MMA_BF16, false};
    if (plan->f32 && (chunk_has(plan, GKA_POINT_TENSOR_CORE) || !plan->hardware))
        return (unit){device, GKA_MMA_WORKING, false};
    return (unit){plan->exact, GKA_MMA_WORKING, plan->f32};
}

static void round_rows(bool f32, int64_t M, int64_t N, double *c, int64_t ldc) {
    if (!f32)
        return;
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < N; j++)
            c[i * ldc + j] = w(f32, c[i * ldc + j]);
}

void chunk_product(const chunk_plan *plan, const chunk_work *work, bool low, int64_t M, int64_t N,
                   int64_t K, gka_matrix a, gka_matrix b, double *c, int64_t ldc) {
    const unit u = product_unit(plan, low);
    gka_mma_pack_left(u.device, u.input, M, K, a, work->left);
    gka_mma_pack_right(u.device, u.input, K, N, b, work->right);
    gka_mma_packed(u.device, u.input, M, N, K, work->left, work->right, c, ldc);
    round_rows(u.round, M, N, c, ldc);
}

void chunk_product_tf32(const chunk_plan *plan, const chunk_work *work, int64_t M, int64_t N,
                        int64_t K, gka_matrix a, gka_matrix b, double *c, int64_t ldc) {
    const bool core = plan->hardware && chunk_has(plan, GKA_POINT_TENSOR_CORE) &&
                      chunk_has(plan, GKA_POINT_GRAD_WEIGHT);
    const unit u =
        core ? (unit){plan->profile.device, GKA_MMA_TF32, false} : product_unit(plan, false);
    gka_mma_pack_left(u.device, u.input, M, K, a, work->left);
    gka_mma_pack_right(u.device, u.input, K, N, b, work->right);
    gka_mma_packed(u.device, u.input, M, N, K, work->left, work->right, c, ldc);
    round_rows(u.round, M, N, c, ldc);
}

/* ---- tiles --------------------------------------------------------------------------------- */

bool chunk_restarts(const chunk_plan *plan, int64_t b, int64_t t, int64_t h) {
    return !plan->hardware && plan->gated && isinf(gka_problem_g(plan->problem, b, t, h));
}

int64_t chunk_cut(const chunk_plan *plan, int64_t b, int64_t t, int64_t end, int64_t h) {
    for (t++; t < end; t++)
        if (chunk_restarts(plan, b, t, h))
            return t;
    return end;
}

void chunk_initial_state(const chunk_plan *plan, int64_t sequence, int64_t h, double *H) {
    const int64_t D = plan->D;
    gka_problem_h0(plan->problem, sequence, h, H);
    for (int64_t i = 0; !plan->hardware && i < D; i++)
        for (int64_t j = 0; j < i; j++)
            H[i * D + j] = H[j * D + i] = w(plan->f32, (H[i * D + j] + H[j * D + i]) / 2);
}

void chunk_load(const chunk_plan *plan, int64_t b, int64_t t, int64_t n, int64_t h, int64_t C,
                bool restart, chunk_tile *tile) {
    const gka_problem *const problem = plan->problem;
    const int64_t D = plan->D, V = plan->V;
    tile->C = C;
    tile->n = n;
    memset(tile->q, 0, (size_t)(C * D) * sizeof(double));
    memset(tile->k, 0, (size_t)(C * D) * sizeof(double));
    memset(tile->v, 0, (size_t)(C * V) * sizeof(double));
    memset(tile->g, 0, (size_t)C * sizeof(double));
    for (int64_t i = 0; i < n; i++) {
        gka_problem_q(problem, b, t + i, h, tile->q + i * D);
        gka_problem_k(problem, b, t + i, h, tile->k + i * D);
        if (V)
            gka_problem_v(problem, b, t + i, h, tile->v + i * V);
        tile->g[i] = gka_problem_g(problem, b, t + i, h);
    }
    if (restart)
        tile->g[0] = 0;
}

void chunk_gates(const chunk_plan *plan, bool round_mask, chunk_tile *tile, double *row) {
    const int64_t C = tile->C, n = tile->n;
    memset(tile->M, 0, (size_t)(C * C) * sizeof(double));
    if (!plan->gated) {
        for (int64_t t = 0; t < C; t++) {
            tile->G[t] = 0;
            tile->expG[t] = tile->tail[t] = 1;
            for (int64_t j = 0; j <= t; j++)
                tile->M[t * C + j] = 1;
        }
        tile->decay = 1;
        return;
    }
    scan_sum(plan->order, C, tile->g, tile->G);
    const double last = tile->G[n - 1];
    tile->decay = chunk_exp(plan, last);
    for (int64_t t = 0; t < C; t++) {
        tile->expG[t] = chunk_exp(plan, tile->G[t]);
        tile->tail[t] = t < n ? chunk_exp(plan, w(plan->f32, last - tile->G[t])) : 0;
    }
    for (int64_t t = 0; t < n; t++) {
        for (int64_t j = 0; j <= t; j++)
            row[j] = chunk_exp(plan, w(plan->f32, tile->G[t] - tile->G[j]));
        for (int64_t j = 0; j <= t; j++)
            tile->M[t * C + j] = round_mask ? bf16(row[j]) : row[j];
    }
}

/* ---- norm ---------------------------------------------------------------------------------- */

/* f_t^2 = exp(2 G_t) ||H_0||^2 + 2 exp(G_t) sum_j M_tj k_j^T H_0 k_j
 *       + [((M ((KK^T).(KK^T))) . M) 1]_t                                         (NUMERICS 4) */
static double norm_of_state(const chunk_plan *plan, const chunk_work *work) {
    const int64_t size = plan->D * plan->D;
    double sum = 0;
    if (chunk_has(plan, GKA_POINT_NORM_REDUCE)) { /* of bf16(H_0), even where H_0 is kept exact */
        for (int64_t i = 0; i < size; i++) {
            work->DD[i] = bf16(work->H0[i]);
            sum += work->DD[i] * work->DD[i];
        }
        return plan->D >= 32 && plan->hardware ? norm_bf16(plan->D, work->DD) : bf16(sum);
    }
    for (int64_t i = 0; i < size; i++)
        sum += work->H0[i] * work->H0[i];
    return w(plan->f32, sum);
}

void chunk_norm(const chunk_plan *plan, chunk_work *work, double *f) {
    const chunk_tile *const tile = &work->tile;
    const int64_t C = tile->C, D = plan->D;
    const bool f32 = plan->f32, square = chunk_has(plan, GKA_POINT_NORM_SQUARE);
    const gka_matrix K = {tile->k, D, 1}, Kt = {tile->k, 1, D};
    double *const S = work->score, *const Z = work->grad, *const cross = work->row;

    memset(S, 0, (size_t)(C * C) * sizeof(double));
    chunk_product(plan, work, true, C, C, D, K, Kt, S, C);
    for (int64_t i = 0; i < C * C; i++) {
        const double s = w(f32, S[i] * S[i]);
        S[i] = square ? bf16(s) : s;
    }
    double *const MS = work->MS;
    memset(MS, 0, (size_t)(C * C) * sizeof(double));
    chunk_product(plan, work, square && chunk_has(plan, GKA_POINT_MASK), C, C, C,
                  (gka_matrix){tile->M, C, 1}, (gka_matrix){S, C, 1}, MS, C);

    memset(Z, 0, (size_t)(C * D) * sizeof(double));
    chunk_product(plan, work, chunk_has(plan, GKA_POINT_STATE_SNAPSHOT), C, D, D, K,
                  (gka_matrix){work->H0, D, 1}, Z, D);
    for (int64_t j = 0; j < C; j++)
        cross[j] = row_dot(plan->order, C, D, tile->k + j * D, Z + j * D);

    const double state = norm_of_state(plan, work);
    if (!plan->gated)
        scan_sum(plan->order, C, cross, cross);
    for (int64_t t = 0; t < C; t++) {
        const double within = row_dot(plan->order, C, C, MS + t * C, tile->M + t * C);
        double square_t;
        if (plan->gated) {
            const double e = tile->expG[t];
            const double c = lane_dot(plan->order, C, tile->M + t * C, cross);
            square_t = fma_w(f32, w(f32, e + e), c, fma_w(f32, e, w(f32, e * state), within));
        } else {
            square_t = w(f32, within + fma_w(f32, cross[t], 2, state));
        }
        if (!plan->hardware && square_t < 0) /* rounding of a sum that is zero */
            square_t = 0;
        f[t] = chunk_sqrt(plan, square_t);
    }
}

/* ---- solve --------------------------------------------------------------------------------- */

/* y += H_t x for the rows of a tile: (x . exp G) H_0 + ((x K^T) . M) K. `scaled` [C,D] and `rows`
 * [C,D] are bf16 where OPERAND_X is released. */
static void apply(const chunk_plan *plan, const chunk_work *work, const double *scaled,
                  const double *rows, bool scale_after, double *y) {
    const chunk_tile *const tile = &work->tile;
    const int64_t C = tile->C, D = plan->D;
    const bool low_x = chunk_has(plan, GKA_POINT_OPERAND_X);
    const bool low_score = chunk_has(plan, GKA_POINT_OPERAND_SCORE);
    const unit u1 = product_unit(plan, low_x && chunk_has(plan, GKA_POINT_STATE_SNAPSHOT));
    const unit u2 = product_unit(plan, low_x), u3 = product_unit(plan, low_score);
    double *const score = work->score;

    gka_mma_pack_left(u1.device, u1.input, C, D, (gka_matrix){scaled, D, 1}, work->left);
    gka_mma_packed(u1.device, u1.input, C, D, D, work->left, work->pack_H, y, D);
    round_rows(u1.round, C, D, y, D);
    if (scale_after)
        for (int64_t t = 0; t < C; t++)
            for (int64_t i = 0; i < D; i++)
                y[t * D + i] = w(plan->f32, y[t * D + i] * tile->expG[t]);

    memset(score, 0, (size_t)(C * C) * sizeof(double));
    gka_mma_pack_left(u2.device, u2.input, C, D, (gka_matrix){rows, D, 1}, work->left);
    gka_mma_packed(u2.device, u2.input, C, C, D, work->left, work->pack_Kt, score, C);
    for (int64_t i = 0; i < C * C; i++) {
        const double s = w(plan->f32, w(u2.round, score[i]) * tile->M[i]);
        score[i] = low_score ? bf16(s) : s;
    }
    gka_mma_pack_left(u3.device, u3.input, C, C, (gka_matrix){score, C, 1}, work->left);
    gka_mma_packed(u3.device, u3.input, C, D, C, work->left, work->pack_K, y, D);
    round_rows(u3.round, C, D, y, D);
}

static void pack_solver(const chunk_plan *plan, const chunk_work *work) {
    const chunk_tile *const tile = &work->tile;
    const int64_t C = tile->C, D = plan->D;
    const bool low_x = chunk_has(plan, GKA_POINT_OPERAND_X);
    const unit u1 = product_unit(plan, low_x && chunk_has(plan, GKA_POINT_STATE_SNAPSHOT));
    const unit u2 = product_unit(plan, low_x);
    const unit u3 = product_unit(plan, chunk_has(plan, GKA_POINT_OPERAND_SCORE));
    gka_mma_pack_right(u1.device, u1.input, D, D, (gka_matrix){work->H0, D, 1}, work->pack_H);
    gka_mma_pack_right(u2.device, u2.input, D, C, (gka_matrix){tile->k, 1, D}, work->pack_Kt);
    gka_mma_pack_right(u3.device, u3.input, C, D, (gka_matrix){tile->k, D, 1}, work->pack_K);
}

static void three_term(const chunk_plan *plan, chunk_work *work, const double *rhs,
                       const double *f) {
    const chunk_tile *const tile = &work->tile;
    const int64_t C = tile->C, D = plan->D;
    const bool low = chunk_has(plan, GKA_POINT_OPERAND_X);
    double *const x = work->x, *const x_prev = work->x_prev;
    memset(x_prev, 0, (size_t)(C * D) * sizeof(double));
    for (int64_t t = 0; t < C; t++) {
        chebyshev_start(plan, f[t], &work->rows[t]);
        for (int64_t i = t * D; i < (t + 1) * D; i++)
            x[i] = w(plan->f32, work->rows[t].step * rhs[i]);
    }
    for (int r = 0; r < plan->problem->num_iter; r++) {
        double *const scaled = work->z, *const rows = work->grad, *const y = work->y;
        for (int64_t t = 0; t < C; t++)
            for (int64_t i = t * D; i < (t + 1) * D; i++) {
                const double xe = plan->gated ? w(plan->f32, tile->expG[t] * x[i]) : x[i];
                scaled[i] = low ? bf16(xe) : xe;
                rows[i] = low ? bf16(x[i]) : x[i];
            }
        memset(y, 0, (size_t)(C * D) * sizeof(double));
        apply(plan, work, scaled, rows, false, y);
        for (int64_t t = 0; t < C; t++) {
            chebyshev_next(plan, &work->rows[t]);
            chebyshev_row_step(plan->f32, D, &work->rows[t], y + t * D, rhs + t * D, x + t * D,
                               x_prev + t * D);
        }
    }
}

/* r = q, d = q/theta, x = d; then r -= (H + lambda) d; tau' = 1/(2 sigma - tau);
 * d = tau' tau d + (2 tau'/delta) r; x += d; tau = tau'. d is rounded once and that d enters both
 * the product and x (NUMERICS 3). */
static void two_term(const chunk_plan *plan, chunk_work *work, const double *rhs, const double *f) {
    const chunk_tile *const tile = &work->tile;
    const int64_t C = tile->C, D = plan->D;
    const bool f32 = plan->f32, low = chunk_has(plan, GKA_POINT_OPERAND_X);
    double *const x = work->x, *const residual = work->x_prev, *const d = work->grad,
                  *const tau = work->row, *const sigma = work->sigma, *const delta = work->delta,
                  *const lambda = work->lambda;
    for (int64_t t = 0; t < C; t++) {
        lambda[t] = w(f32, plan->a * f[t]);
        delta[t] = w(f32, 0.5 * f[t]);
        const double theta = fma_w(f32, 0.5, f[t], lambda[t]);
        sigma[t] = chunk_div(plan, theta, delta[t]);
        tau[t] = chunk_div(plan, 1, sigma[t]);
        for (int64_t i = t * D; i < (t + 1) * D; i++) {
            residual[i] = rhs[i];
            const double d0 = chunk_div(plan, rhs[i], theta);
            x[i] = d[i] = low ? bf16(d0) : d0;
        }
    }
    for (int r = 0; r < plan->problem->num_iter; r++) {
        double *const y = work->y;
        memset(y, 0, (size_t)(C * D) * sizeof(double));
        apply(plan, work, d, d, plan->gated, y);
        for (int64_t t = 0; t < C; t++) {
            const double next = chunk_div(plan, 1, fma_w(f32, 2, sigma[t], -tau[t]));
            const double keep = w(f32, next * tau[t]);
            const double gain = chunk_div(plan, w(f32, 2 * next), delta[t]);
            for (int64_t i = t * D; i < (t + 1) * D; i++) {
                residual[i] = w(f32, residual[i] - fma_w(f32, lambda[t], d[i], y[i]));
                const double di = fma_w(f32, keep, d[i], w(f32, gain * residual[i]));
                d[i] = low ? bf16(di) : di;
                x[i] = w(f32, x[i] + d[i]);
            }
            tau[t] = next;
        }
    }
}

void chunk_solve(const chunk_plan *plan, chunk_work *work, const double *rhs, const double *f) {
    pack_solver(plan, work);
    if (plan->profile.form == GKA_TWO_TERM)
        two_term(plan, work, rhs, f);
    else
        three_term(plan, work, rhs, f);
    if (plan->hardware)
        return;
    for (int64_t t = 0; t < work->tile.n; t++) /* an empty state: x = 0 by definition */
        if (f[t] == 0)
            memset(work->x + t * plan->D, 0, (size_t)plan->D * sizeof(double));
}

/* ---- state --------------------------------------------------------------------------------- */

void chunk_state(const chunk_plan *plan, chunk_work *work, double *S, const double *W, int64_t N) {
    const chunk_tile *const tile = &work->tile;
    const int64_t C = tile->C, D = plan->D;
    const bool f32 = plan->f32, low = chunk_has(plan, GKA_POINT_STATE_OPERAND);
    double *const scaled = work->z;
    if (plan->gated)
        for (int64_t i = 0; i < D * N; i++)
            S[i] = w(f32, S[i] * tile->decay);
    for (int64_t j = 0; j < C; j++)
        for (int64_t i = j * N; i < (j + 1) * N; i++) {
            const double value = plan->gated ? w(f32, W[i] * tile->tail[j]) : W[i];
            scaled[i] = low ? bf16(value) : value;
        }
    chunk_product(plan, work, low, D, N, C, (gka_matrix){tile->k, 1, D}, (gka_matrix){scaled, N, 1},
                  S, N);
}

/* q' = q + alpha (x - q) */
void chunk_mix(const chunk_plan *plan, int64_t n, const double *q, const double *alpha,
               const double *x, double *mixed) {
    const int64_t D = plan->D;
    for (int64_t t = 0; t < n; t++)
        for (int64_t i = t * D; i < (t + 1) * D; i++) {
            double y = chunk_bf16(plan, GKA_POINT_MIX, w(plan->f32, x[i] - q[i]));
            y = chunk_bf16(plan, GKA_POINT_MIX, w(plan->f32, alpha[t] * y));
            mixed[i] = chunk_bf16(plan, GKA_POINT_MIX, w(plan->f32, q[i] + y));
        }
}
