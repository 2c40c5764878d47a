/* serving.c - the layer as a server runs it: a prefill by chunks, then one token after another from
 * its states, as the authors' vllm-inference kernels compute them.
 *
 * Symbols: b1 = beta + 1e-6, b2 = b1 b1, both binary32; N(x) = x / |x| by the approximate root and
 * quotient; e = exp(g). Prefill: q, k = N(.) rounded to bf16, then
 *
 *   H += K^T bf16(bf16(b2 k) exp(G_C - G))     U += K^T bf16(bf16(b2 v) exp(G_C - G))
 *   solve and f with b1 k in binary32: its products with b1 k are TF32, operands cut; x is not
 *   rounded for them; the snapshot bf16(H) is multiplied in bf16 as in training
 *   o by k and bf16(b2 v)
 *
 * Decode, all binary32: k = b1 N(k), q = N(q), H = fma(e, H, k k^T), x by H alone (one sum, where
 * the training repository's one-token kernel has two), q' = fma(alpha, x - q, q), U = fma(e, U, k
 * (b1 v)^T), o = U^T (s q').
 */
#include "chunk/chunk.h"

#include "problem/check.h"

typedef struct serve {
    const gka_problem *problem;
    gka_profile profile;
    const gka_serving *how;
    const gka_served *out;
    gka_problem piece; /* the prefill's tokens by their own chunk size */
    chunk_plan plan;
    char *workspace;
    size_t each;
} serve;

typedef struct serve_work {
    chunk_work base;
    double *k_sum, *k_dot, *k_right; /* [C,D] */
    double *k_state, *v_state;       /* [C,D], [C,V]: b2 k, b2 v */
    double *mixed, *o, *x;           /* [C,D], [C,V], [C,D] */
    double *beta, *alpha;            /* [C] */
    double *one[8];                  /* [max(D,V)] of decode */
} serve_work;

static double *take(chunk_bump *bump, int64_t rows, int64_t columns) {
    return gka_chunk_take(bump, (size_t)rows * (size_t)columns, sizeof(double));
}

static void layout(const chunk_plan *plan, chunk_bump *bump, serve_work *work) {
    const int64_t C = plan->C, D = plan->D, V = plan->V, most = D > V ? D : V;
    gka_chunk_work_layout(plan, bump, &work->base);
    work->k_sum = take(bump, C, D);
    work->k_dot = take(bump, C, D);
    work->k_right = take(bump, C, D);
    work->k_state = take(bump, C, D);
    work->v_state = take(bump, C, V);
    work->mixed = take(bump, C, D);
    work->o = take(bump, C, V);
    work->x = take(bump, C, D);
    work->beta = take(bump, C, 1);
    work->alpha = take(bump, C, 1);
    for (size_t i = 0; i < sizeof work->one / sizeof *work->one; i++)
        work->one[i] = take(bump, most, 1);
}

/* ---- what both kernels do ------------------------------------------------------------------ */

/* The sum of squares of a row, one element (or two neighbours, where `warps` have no more threads
 * than half of it) to a thread. */
static double squares(const chunk_plan *plan, int warps, int64_t n, const double *x) {
    if (plan->order != SUM_WARP || n <= 32 * warps)
        return gka_lane_dot(plan->order, n, x, x);
    double warp[8], lane[32];
    for (int64_t j = 0; j < n / 64; j++) {
        for (int64_t t = 0; t < 32; t++) {
            const double *const pair = x + 64 * j + 2 * t;
            lane[t] = fma_w(true, pair[0], pair[0], w(true, pair[1] * pair[1]));
        }
        warp[j] = gka_lane_sum(SUM_WARP, 4, 32, lane);
    }
    return gka_lane_sum(SUM_WARP, 4, n / 64, warp);
}

static void normalise(const chunk_plan *plan, int warps, bool round, int64_t n, double *x) {
    const double size = gka_chunk_sqrt(plan, squares(plan, warps, n, x));
    for (int64_t i = 0; i < n; i++) {
        x[i] = gka_chunk_div(plan, x[i], size);
        if (round)
            x[i] = gka_chunk_round(plan->low, x[i]);
    }
}

/* beta + 1e-6 */
static double beta_of(const serve *run, int64_t b, int64_t t, int64_t h) {
    return w(true, gka_problem_beta(run->problem, b, t, h) + (double)1e-6f);
}

/* ---- prefill ------------------------------------------------------------------------------- */

static void load(const serve *run, serve_work *work, int64_t b, int64_t t, int64_t n, int64_t h) {
    const chunk_plan *const plan = &run->plan;
    const bool beta = run->problem->beta.data != NULL;
    const int64_t C = plan->C, D = plan->D, V = plan->V;
    chunk_tile *const tile = &work->base.tile;
    gka_chunk_load(plan, b, t, n, h, C, false, tile);
    memcpy(work->v_state, tile->v, (size_t)(C * V) * sizeof(double));
    for (int64_t i = 0; i < n; i++) {
        normalise(plan, 4, true, D, tile->q + i * D);
        normalise(plan, 4, true, D, tile->k + i * D);
        work->alpha[i] = gka_problem_alpha(run->problem, b, t + i, h);
    }
    memcpy(work->k_sum, tile->k, (size_t)(C * D) * sizeof(double));
    memcpy(work->k_state, tile->k, (size_t)(C * D) * sizeof(double));
    for (int64_t i = 0; beta && i < n; i++) {
        const double b1 = beta_of(run, b, t + i, h), b2 = w(true, b1 * b1);
        for (int64_t j = i * D; j < (i + 1) * D; j++) {
            work->k_sum[j] = w(true, tile->k[j] * b1);
            work->k_state[j] = gka_chunk_round(plan->low, w(true, tile->k[j] * b2));
        }
        for (int64_t j = i * V; j < (i + 1) * V; j++)
            work->v_state[j] = gka_chunk_round(plan->low, w(true, tile->v[j] * b2));
    }
    for (int64_t i = 0; i < C; i++)
        for (int64_t j = 0; j < D; j++) {
            const double key = gka_chunk_round(plan->keys, work->k_sum[i * D + j]);
            work->k_dot[i * D + chunk_place(plan, j)] = key;
            work->k_right[chunk_place(plan, i) * D + j] = key;
        }
    memcpy(tile->v, work->v_state, (size_t)(C * V) * sizeof(double));
    tile->k_sum = work->k_sum;
    tile->k_dot = work->k_dot;
    tile->k_right = work->k_right;
}

static void prefill(const serve *run, serve_work *work, int64_t b, int64_t begin, int64_t end,
                    int64_t h) {
    const chunk_plan *const plan = &run->plan;
    const int64_t C = plan->C, D = plan->D, V = plan->V, H = run->problem->H;
    chunk_work *const base = &work->base;
    for (int64_t t = begin; t < end; t += C) {
        const int64_t n = end - t < C ? end - t : C;
        load(run, work, b, t, n, h);
        gka_chunk_gates(plan, true, &base->tile, base->row);
        gka_chunk_snapshot(plan, GKA_POINT_STATE_SNAPSHOT, D * D, base->H, base->H0);
        gka_chunk_norm(plan, base, base->f);
        gka_chunk_solve(plan, base, base->tile.q, base->used_f, false);
        gka_chunk_round_rows(plan->low, n * D, base->x, work->x);
        gka_chunk_state(plan, base, base->H, work->k_state, D);
        gka_chunk_gates(plan, false, &base->tile, base->row);
        gka_chunk_snapshot(plan, GKA_POINT_OUTPUT_STATE, D * V, base->U, base->U0);
        memset(work->mixed, 0, (size_t)(C * D) * sizeof(double));
        gka_chunk_mix(plan, n, base->tile.q, work->alpha, work->x, work->mixed);
        gka_chunk_output(plan, base, work->mixed, work->o);
        gka_chunk_state(plan, base, base->U, base->tile.v, V);
        for (int64_t i = 0; run->out->prefill_o && i < n; i++)
            memcpy(run->out->prefill_o + ((b * run->piece.T + t + i) * H + h) * V, work->o + i * V,
                   (size_t)V * sizeof(double));
    }
}

/* ---- decode -------------------------------------------------------------------------------- */

/* exp as CUDA's libdevice has it: j = round(x log2 e) by a saturated sum in units of 1/252,
 * 2^j ex2.approx(x log2 e - j), log2 e in two parts. */
static double exp_of(const chunk_plan *plan, double x) {
    const float a = (float)x;
    float t = fmaf(a, 0x1.77313ap-8f, 0.5f); /* log2 e / 252 */
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    const double magic = 12582913.0; /* fma rounded down */
    const float r = (float)(floor((double)t * 252.0) + magic);
    const float j = r - 12583039.0f;
    float y = fmaf(a, 0x1.715476p+0f, -j);
    y = fmaf(a, 0x1.4ae0cp-26f, y);
    return w(true, gka_device_exp2(plan->profile.device, y) * ldexp(1, (int)j));
}

/* How a state [D,D] lies in the threads: `width` neighbours of a row to a thread (eight where a
 * state is kept in 16 bits), `down` rows to a warp. */
typedef struct tile_shape {
    int64_t warps, width, down;
} tile_shape;

static tile_shape shape_of(const serve *run, int64_t columns) {
    const bool wide = run->how->h_dtype == GKA_F32 && run->how->u_dtype == GKA_F32;
    const int64_t width = wide ? 4 : 8;
    const int64_t down = columns >= 32 * width ? 1 : 32 * width / columns;
    return (tile_shape){run->plan.warps[GKA_LAUNCH_DECODE], width, down};
}

/* ||H||_F^2 of [D,D]: a thread chains the neighbours of each row it holds. */
static double norm(const tile_shape *shape, int64_t D, const double *H) {
    const int64_t across = 32 / shape->down, width = shape->width;
    double lane[32], warp[8];
    for (int64_t j = 0; j < shape->warps; j++) {
        for (int64_t t = 0; t < 32; t++) {
            bool first = true;
            double sum = 0;
            for (int64_t row = j * shape->down + t / across; row < D;
                 row += shape->warps * shape->down)
                for (int64_t column = t % across * width; column < D; column += across * width)
                    for (int64_t i = 0; i < width; i += 2) {
                        const double *const e = H + row * D + column + i;
                        sum = fma_w(true, e[0], e[0], first ? w(true, e[1] * e[1]) : sum);
                        sum = first ? sum : fma_w(true, e[1], e[1], sum);
                        first = false;
                    }
            lane[t] = sum;
        }
        warp[j] = gka_lane_sum(SUM_WARP, 4, 32, lane);
    }
    return gka_lane_sum(SUM_WARP, 4, shape->warps, warp);
}

/* y_c = sum_r A_rc x_r, A [rows, columns]: a thread chains the rows it holds, then the lanes of its
 * column and the warps are added. */
static void state_dot(const tile_shape *shape, int64_t rows, int64_t columns, const double *A,
                      const double *x, double *y) {
    const int64_t down = shape->down, parts = shape->warps * down;
    double part[64][4];
    for (int64_t c = 0; c < columns; c += 4) {
        for (int64_t j = 0; j < parts; j++) {
            const double *const a = A + j * columns + c, *const b = a + parts * columns;
            double s[4];
            for (int i = 0; i < 4; i++)
                s[i] = fma_w(true, a[i], x[j], w(true, b[i] * x[j + parts]));
            for (int64_t row = j + 2 * parts; row < rows; row += parts)
                for (int i = 0; i < 4; i++)
                    s[i] = fma_w(true, A[row * columns + c + i], x[row], s[i]);
            memcpy(part[j], s, sizeof s);
        }
        for (int i = 0; i < 4; i++) {
            double warp[8], lane[16];
            for (int64_t j = 0; j < shape->warps; j++) {
                for (int64_t k = 0; k < down; k++)
                    lane[k] = part[j * down + k][i];
                warp[j] = gka_lane_sum(SUM_WARP, 4, down, lane);
            }
            y[c + i] = gka_lane_sum(SUM_WARP, 4, shape->warps, warp);
        }
    }
}

static void round_state(gka_dtype dtype, int64_t n, double *S) {
    if (dtype != GKA_F32)
        gka_round_array(gka_format_of_dtype(dtype), GKA_NEAREST_EVEN, 0, 0, (size_t)n, S, S);
}

/* S = e S + k v^T. The compiler fuses one of the two products, for some rows of U another. */
typedef enum fused { FUSED_STATE, FUSED_OUTER } fused;
static void advance_row(fused which, double e, int64_t n, double k, const double *v, double *s) {
    if (which == FUSED_OUTER)
        for (int64_t j = 0; j < n; j++)
            s[j] = fma_w(true, k, v[j], w(true, e * s[j]));
    else
        for (int64_t j = 0; j < n; j++)
            s[j] = fma_w(true, e, s[j], w(true, k * v[j]));
}

/* Read off the code that Triton 3.6 compiles: for H the product with H where there are gates and
 * beta, else k k^T; for U the other one, but for the first rows a thread holds: three of them (two
 * without beta, one of states in 16 bits) where a thread holds few. */
static void advance_states(const serve *run, const tile_shape *shape, double e, const double *k,
                           const double *v, double *H, double *U) {
    const bool gated = run->plan.gated, beta = run->problem->beta.data != NULL;
    const int64_t D = run->plan.D, V = run->plan.V, rows = shape->warps * shape->down;
    const int64_t first = !gated || rows < 2 * shape->width ? 0
                                                            : rows * (shape->width == 8 ? 1
                                                                      : beta            ? 3
                                                                                        : 2);
    const bool pairs = gated && beta && shape->width == 4 && shape->warps == 2 && V == 128;
    for (int64_t i = 0; i < D; i++) {
        advance_row(gated && beta ? FUSED_STATE : FUSED_OUTER, e, D, k[i], k, H + i * D);
        if (pairs && i < rows) /* columns 2, 3 of every four of the first rows */
            for (int64_t j = 0; j < V; j += 2)
                advance_row(j % 4 ? FUSED_STATE : FUSED_OUTER, e, 2, k[i], v + j, U + i * V + j);
        else
            advance_row(i < first ? FUSED_STATE : FUSED_OUTER, e, V, k[i], v, U + i * V);
    }
}

/* One token from base->H and base->U, left advanced there and rounded as they are kept. */
static void token(const serve *run, serve_work *work, int64_t b, int64_t t, int64_t h, double *o) {
    const chunk_plan *const plan = &run->plan;
    const gka_problem *const problem = run->problem;
    const int64_t D = plan->D, V = plan->V;
    const int warps = plan->warps[GKA_LAUNCH_DECODE];
    const tile_shape shape = shape_of(run, D);
    double *const H = work->base.H, *const U = work->base.U;
    double *const q = work->one[0], *const k = work->one[1], *const v = work->one[2],
                  *const x = work->one[3], *const x_prev = work->one[4], *const y = work->one[5];
    const double alpha = gka_problem_alpha(problem, b, t, h);
    gka_problem_q(problem, b, t, h, q);
    gka_problem_k(problem, b, t, h, k);
    gka_problem_v(problem, b, t, h, v);
    normalise(plan, warps, false, D, q);
    normalise(plan, warps, false, D, k);
    if (problem->beta.data) {
        const double b1 = beta_of(run, b, t, h);
        for (int64_t i = 0; i < D; i++)
            k[i] = w(true, k[i] * b1);
        for (int64_t i = 0; i < V; i++)
            v[i] = w(true, v[i] * b1);
    }
    const double e = plan->gated ? exp_of(plan, gka_problem_g(problem, b, t, h)) : 1;
    advance_states(run, &shape, e, k, v, H, U);
    const double f = gka_chunk_sqrt(plan, norm(&shape, D, H));
    chebyshev_row c = {.lambda = w(true, plan->a * f), .omega = 2};
    const double inverse = gka_chunk_div(plan, 1, fma_w(true, c.lambda, 2, f));
    const double half_rho = w(true, w(true, f * inverse) * .5);
    c.step = 2 * inverse;
    c.rho_sq_4 = w(true, half_rho * half_rho);
    for (int64_t i = 0; i < D; i++) {
        x[i] = w(true, c.step * q[i]);
        x_prev[i] = 0;
    }
    const int steps = plan->num_iter > 0 ? plan->num_iter : 1;
    for (int r = 0; r < steps; r++) {
        state_dot(&shape, D, D, H, x, y);
        chebyshev_next(plan, &c);
        chebyshev_row_step(true, false, D, &c, y, q, x, x_prev);
    }
    for (int64_t i = 0; i < D; i++) {
        x[i] = fma_w(true, alpha, w(true, x[i] - q[i]), q[i]);
        x[i] = w(true, x[i] * plan->s);
    }
    state_dot(&shape, D, V, U, x, o);
    gka_chunk_round_rows(plan->low, V, o, o);
    round_state(run->how->h_dtype, D * D, H);
    round_state(run->how->u_dtype, D * V, U);
}

/* ---- heads --------------------------------------------------------------------------------- */

static void serve_head(void *context, int64_t index, int worker) {
    const serve *const run = context;
    const chunk_plan *const plan = &run->plan;
    const gka_problem *const problem = run->problem;
    const int64_t D = plan->D, V = plan->V, h = index % problem->H, n = index / problem->H;
    const gka_served *const out = run->out;
    const gka_span span = gka_problem_span(problem, n);
    const int64_t cut = problem->cu_seqlens ? span.end : run->piece.T;
    serve_work work;
    chunk_bump bump = {run->workspace + (size_t)worker * run->each, 0};
    layout(plan, &bump, &work);
    double *const H = work.base.H, *const U = work.base.U;
    gka_problem_h0(problem, n, h, H);
    gka_problem_u0(problem, n, h, U);
    for (int64_t from = span.begin, i = 0, to; from < cut; from = to, i++) {
        to = i < run->how->cuts && run->how->cut[i] < cut ? run->how->cut[i] : cut;
        prefill(run, &work, span.b, from, to, h);
    }
    if (out->prefill_h)
        memcpy(out->prefill_h + index * D * D, H, (size_t)(D * D) * sizeof(double));
    if (out->prefill_u)
        memcpy(out->prefill_u + index * D * V, U, (size_t)(D * V) * sizeof(double));
    round_state(run->how->h_dtype, D * D, H);
    round_state(run->how->u_dtype, D * V, U);
    for (int64_t t = cut; t < span.end; t++) {
        token(run, &work, span.b, t, h, work.o);
        if (out->decode_o)
            memcpy(out->decode_o + ((span.b * (problem->T - cut) + t - cut) * problem->H + h) * V,
                   work.o, (size_t)V * sizeof(double));
    }
    if (out->decode_h)
        memcpy(out->decode_h + index * D * D, H, (size_t)(D * D) * sizeof(double));
    if (out->decode_u)
        memcpy(out->decode_u + index * D * V, U, (size_t)(D * V) * sizeof(double));
}

static gka_status check(const gka_problem *problem, const gka_profile *profile,
                        const gka_serving *how, gka_error *error) {
    if (profile->device->core[GKA_MMA_BF16].group == 0 || profile->form != GKA_THREE_TERM)
        return gka_fail(error, GKA_UNSUPPORTED, "serving: expected the profile h100, three-term");
    if (how->prefill < 0 || how->prefill > problem->T ||
        (problem->cu_seqlens && how->prefill != problem->T))
        return gka_fail(error, GKA_BAD_ARGUMENT, "serving: prefill is %lld: expected 0 .. T%s",
                        (long long)how->prefill, problem->cu_seqlens ? ", T where packed" : "");
    const int64_t sizes[] = {problem->D, problem->V};
    for (int i = 0; i < 2; i++)
        if (sizes[i] < 64 || sizes[i] > 256 || (sizes[i] & (sizes[i] - 1)))
            return gka_fail(error, GKA_UNSUPPORTED, "serving: D and V are 64, 128 or 256");
    return GKA_OK;
}

gka_status gka_chunk_serve(const gka_problem *problem, const gka_profile *profile,
                           const gka_serving *how, const gka_served *out, gka_error *error) {
    const gka_status status = check(problem, profile, how, error);
    if (status != GKA_OK)
        return status;
    serve run = {.problem = problem, .profile = *profile, .how = how, .out = out};
    run.piece = *problem;
    run.piece.T = how->prefill;
    run.piece.chunk_size = 16;
    const int64_t longest = how->cuts > 0 ? 64 : how->prefill;
    while (run.piece.chunk_size < longest && run.piece.chunk_size < 64)
        run.piece.chunk_size *= 2;
    gka_chunk_plan_init(&run.plan, &run.piece, profile);
    run.plan.problem = problem;
    run.plan.C_out = run.plan.C;
    if (problem->beta.data) { /* k in binary32: its products are TF32 */
        run.plan.rows = run.plan.score = run.plan.keys = CHUNK_TF32_CUT;
        run.plan.evens_first = run.plan.C < 64 || run.plan.warps[GKA_LAUNCH_SOLVE] < 4;
    }
    serve_work work;
    chunk_bump bump = {NULL, 0};
    layout(&run.plan, &bump, &work);
    run.each = bump.used;
    run.workspace = gka_alloc((size_t)gka_threads(), run.each);
    if (!run.workspace)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory: serving, %zu bytes a worker",
                        run.each);
    gka_parallel(problem->N * problem->H, serve_head, &run);
    gka_free(run.workspace);
    return GKA_OK;
}
