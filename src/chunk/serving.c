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
#include "chunk/serving_kernels.h"
#include "format/processor.h"

#include "problem/check.h"

void gka_serve_kernels_all(const serve_kernels *tables[4]) {
    int count = 0;
    tables[count++] = &gka_serve_kernels_baseline;
#ifdef __x86_64__
    if (gka_has_avx2())
        tables[count++] = &gka_serve_kernels_avx2;
    if (gka_has_avx512())
        tables[count++] = &gka_serve_kernels_avx512;
#endif
    tables[count] = NULL;
}

const serve_kernels *gka_serve_kernels_best(void) {
    const serve_kernels *tables[4], *best = NULL;
    gka_serve_kernels_all(tables);
    for (int i = 0; tables[i]; i++)
        best = tables[i];
    return best;
}

/* A call of the prefill takes chunks of min(64, the power of two that holds its tokens, at least
 * 16): each piece has its own. */
enum { CHUNK_SIZES = 3, SMALLEST_CHUNK = 16 };

typedef struct serve {
    const gka_problem *problem;
    gka_profile profile;
    const gka_serving *how;
    const gka_served *out;
    const serve_kernels *sums;
    gka_problem pieces[CHUNK_SIZES]; /* the prefill's tokens, by each chunk size */
    chunk_plan plans[CHUNK_SIZES];
    const chunk_plan *decode; /* one of them: chunks play no part */
    char *workspace;
    size_t each;
} serve;

typedef struct serve_work {
    chunk_work base;
    double *k_sum, *k_dot, *k_right; /* [C,D] */
    double *k_state, *v_state;       /* [C,D], [C,V]: b2 k, b2 v */
    double *mixed, *o, *x;           /* [C,D], [C,V], [C,D] */
    double *beta, *alpha;            /* [C] */
    double *one[3];                  /* [max(D,V)]: q, k, v of a token */
    float *row32[6];                 /* [max(D,V)]: q, k, v, x, x_prev, y */
    float *H, *U;                    /* [D,D], [D,V] as decode has them */
    float *packed;                   /* [D,max(D,V)]: one of them for the products */
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
    for (size_t i = 0; i < sizeof work->row32 / sizeof *work->row32; i++)
        work->row32[i] = gka_chunk_take(bump, (size_t)most, sizeof(float));
    work->packed = gka_chunk_take(bump, (size_t)(D * most), sizeof(float));
    work->H = gka_chunk_take(bump, (size_t)(D * D), sizeof(float));
    work->U = gka_chunk_take(bump, (size_t)(D * V), sizeof(float));
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

static const chunk_plan *plan_of(const serve *run, int64_t tokens) {
    int i = 0;
    while (i < CHUNK_SIZES - 1 && SMALLEST_CHUNK << i < tokens)
        i++;
    return &run->plans[i];
}

static void load(const serve *run, const chunk_plan *plan, serve_work *work, int64_t b, int64_t t,
                 int64_t n, int64_t h) {
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

/* One call's tokens of a sequence. */
static void prefill(const serve *run, const chunk_plan *plan, serve_work *work, int64_t b,
                    int64_t begin, int64_t end, int64_t h) {
    const int64_t C = plan->C, D = plan->D, V = plan->V, H = run->problem->H;
    chunk_work *const base = &work->base;
    for (int64_t t = begin; t < end && !gka_stopped(); t += C) {
        const int64_t n = end - t < C ? end - t : C;
        load(run, plan, work, b, t, n, h);
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
            memcpy(run->out->prefill_o + ((b * run->how->prefill + t + i) * H + h) * V,
                   work->o + i * V, (size_t)V * sizeof(double));
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

static serve_shape shape_of(const serve *run, int64_t columns) {
    const int64_t width =
        gka_state_bits(run->how->h_type) == 32 && /* eight where 16 bits are kept */
                gka_state_bits(run->how->u_type) == 32
            ? 4
            : 8;
    const int64_t down = columns >= 32 * width ? 1 : 32 * width / columns;
    return (serve_shape){run->decode->warps[GKA_LAUNCH_DECODE], width, down};
}

/* ---- states as they are kept --------------------------------------------------------------- */

static const struct {
    const char *name;
    int bits;
} types[GKA_STATE_TYPES] = {
    {"fp32", 32},      {"bf16", 16},      {"fp16", 16},      {"e4m3", 8}, {"bf16-stochastic", 16},
    {"bf16-pair", 32}, {"mxfp8-e4m3", 8}, {"mxfp6-e2m3", 6}, {"mxfp4", 4}};

const char *gka_state_name(gka_state_type type) {
    return types[type].name;
}

int gka_state_bits(gka_state_type type) {
    return types[type].bits;
}

/* One scale for the whole state: the largest element becomes the largest of the format. */
static void keep_scaled(int64_t n, float *S) {
    float most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fabsf(S[i]) > most ? fabsf(S[i]) : most;
    const float scale = most / (float)gka_e4m3.max_finite;
    if (!(scale > 0))
        return;
    for (int64_t i = 0; i < n; i++)
        S[i] /= scale;
    gka_round_array_f32(&gka_e4m3, GKA_NEAREST_EVEN, 0, 0, (size_t)n, S, S);
    for (int64_t i = 0; i < n; i++)
        S[i] *= scale;
}

/* Sixteen random bits are added to the sixteen that bf16 has not, and these cut off: up with the
 * probability of the distance, exactly. Number i of the stream is the 16 bits i mod 16 of the four
 * words of Philox4x64-10 with counter (floor(i/16), 0, 0, 0) and key (seed, "serving"). n and at
 * are multiples of 16. */
static void keep_stochastic(uint64_t seed, uint64_t at, int64_t n, float *S) {
    const uint64_t key[2] = {seed, UINT64_C(0x73657276696e67)};
    for (int64_t i = 0; i < n; i += 16) {
        const uint64_t counter[4] = {(at + (uint64_t)i) / 16, 0, 0, 0};
        uint64_t words[4];
        gka_philox(counter, key, words);
        for (int j = 0; j < 16; j++) {
            uint32_t bits;
            memcpy(&bits, S + i + j, sizeof bits);
            const bool finite = (bits & 0x7f800000) != 0x7f800000;
            bits += finite ? (uint32_t)(words[j / 4] >> 16 * (j % 4)) & 0xffff : 0;
            bits &= 0xffff0000;
            memcpy(S + i + j, &bits, sizeof bits);
        }
    }
}

static void keep_pair(int64_t n, float *S) {
    for (int64_t i = 0; i < n; i++) {
        const float high = (float)bf16((double)S[i]);
        S[i] = high + (float)bf16((double)(S[i] - high));
    }
}

/* Blocks of 32: n is a multiple of that. */
static void keep_blocks(gka_state_type type, int64_t n, float *S) {
    const gka_block_format *const format = gka_block_format_find(types[type].name);
    double block[32];
    for (int64_t i = 0; i < n; i += 32) {
        for (int j = 0; j < 32; j++)
            block[j] = (double)S[i + j];
        gka_block_round(format, 32, block, block, NULL);
        for (int j = 0; j < 32; j++)
            S[i + j] = (float)block[j];
    }
}

/* The state as the next token finds it; at: where it stands in the stochastic stream. */
static void keep(gka_state_type type, uint64_t seed, uint64_t at, int64_t n, float *S) {
    switch (type) {
    case GKA_STATE_FP32:
    case GKA_STATE_TYPES: return;
    case GKA_STATE_BF16:
        gka_round_array_f32(&gka_bf16, GKA_NEAREST_EVEN, 0, 0, (size_t)n, S, S);
        return;
    case GKA_STATE_FP16:
        gka_round_array_f32(&gka_fp16, GKA_NEAREST_EVEN, 0, 0, (size_t)n, S, S);
        return;
    case GKA_STATE_BF16_STOCHASTIC: keep_stochastic(seed, at, n, S); return;
    case GKA_STATE_E4M3: keep_scaled(n, S); return;
    case GKA_STATE_BF16_PAIR: keep_pair(n, S); return;
    case GKA_STATE_MXFP8:
    case GKA_STATE_MXFP6:
    case GKA_STATE_MXFP4: keep_blocks(type, n, S); return;
    }
}

/* S = e S + k v^T. The compiler fuses one of the two products, for some rows of U another. Read off
 * the code that Triton 3.6 compiles: for H the product with H where there are gates and beta, else
 * k k^T; for U the other one, but for the first rows a thread holds: three of them (two without
 * beta, one of states in 16 bits) where a thread holds few. */
static void advance_states(const serve *run, const serve_shape *shape, float e, serve_work *work) {
    const bool gated = run->decode->gated, beta = run->problem->beta.data != NULL;
    const int64_t D = run->decode->D, V = run->decode->V, rows = shape->warps * shape->down;
    const int64_t first = !gated || rows < 2 * shape->width ? 0
                                                            : rows * (shape->width == 8 ? 1
                                                                      : beta            ? 3
                                                                                        : 2);
    const bool pairs = gated && beta && shape->width == 4 && shape->warps == 2 && V == 128;
    const float *const k = work->row32[1], *const v = work->row32[2];
    for (int64_t i = 0; i < D; i++) {
        float *const u = work->U + i * V;
        run->sums->advance(!(gated && beta), D, e, k[i], k, work->H + i * D);
        if (pairs && i < rows) /* columns 2, 3 of every four of the first rows */
            for (int64_t j = 0; j < V; j += 2)
                run->sums->advance(j % 4 == 0, 2, e, k[i], v + j, u + j);
        else
            run->sums->advance(i >= first, V, e, k[i], v, u);
    }
}

static void to_double(int64_t n, const float *x, double *out) {
    for (int64_t i = 0; i < n; i++)
        out[i] = (double)x[i];
}

static void to_float(int64_t n, const double *x, float *out) {
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)x[i];
}

/* q, k, v of a token as the kernel has them in its registers, into row32[0 .. 2]. */
static void load_token(const serve *run, serve_work *work, int64_t b, int64_t t, int64_t h) {
    const chunk_plan *const plan = run->decode;
    const gka_problem *const problem = run->problem;
    const int warps = plan->warps[GKA_LAUNCH_DECODE];
    double *const q = work->one[0], *const k = work->one[1], *const v = work->one[2];
    gka_problem_q(problem, b, t, h, q);
    gka_problem_k(problem, b, t, h, k);
    gka_problem_v(problem, b, t, h, v);
    normalise(plan, warps, false, plan->D, q);
    normalise(plan, warps, false, plan->D, k);
    to_float(plan->D, q, work->row32[0]);
    to_float(plan->D, k, work->row32[1]);
    to_float(plan->V, v, work->row32[2]);
    const float b1 = problem->beta.data ? (float)beta_of(run, b, t, h) : 1;
    for (int64_t i = 0; i < plan->D; i++)
        work->row32[1][i] *= b1;
    for (int64_t i = 0; i < plan->V; i++)
        work->row32[2][i] *= b1;
}

/* x of the states' sums H, in row32[3]. */
static void solve_token(const serve *run, const serve_shape *shape, serve_work *work) {
    const chunk_plan *const plan = run->decode;
    const int64_t D = plan->D;
    const float *const q = work->row32[0];
    float *const x = work->row32[3], *const x_prev = work->row32[4], *const y = work->row32[5];
    const double f = gka_chunk_sqrt(plan, (double)run->sums->norm(shape, D, work->H));
    chebyshev_row c = {.lambda = w(true, plan->a * f), .omega = 2};
    const double inverse = gka_chunk_div(plan, 1, fma_w(true, c.lambda, 2, f));
    const double half_rho = w(true, w(true, f * inverse) * .5);
    c.step = 2 * inverse;
    c.rho_sq_4 = w(true, half_rho * half_rho);
    for (int64_t i = 0; i < D; i++) {
        x[i] = (float)c.step * q[i];
        x_prev[i] = 0;
    }
    const int steps = plan->num_iter > 0 ? plan->num_iter : 1;
    run->sums->pack(D, D, work->H, work->packed);
    for (int r = 0; r < steps; r++) {
        run->sums->dot(shape, D, D, r % 2 != 0, work->packed, x, y);
        chebyshev_next(plan, &c);
        const serve_step scalars = {(float)c.lambda, (float)c.step, (float)c.omega};
        run->sums->step(D, &scalars, y, q, x, x_prev);
    }
}

/* One token from work->H and work->U, left advanced there and rounded as they are kept. at: the
 * place of its states in the stochastic stream. */
static void token(const serve *run, serve_work *work, int64_t b, int64_t t, int64_t h, uint64_t at,
                  double *o) {
    const chunk_plan *const plan = run->decode;
    const int64_t D = plan->D, V = plan->V;
    const serve_shape shape = shape_of(run, D);
    const float alpha = (float)gka_problem_alpha(run->problem, b, t, h);
    load_token(run, work, b, t, h);
    const double g = gka_problem_g(run->problem, b, t, h);
    advance_states(run, &shape, plan->gated ? (float)exp_of(plan, g) : 1, work);
    solve_token(run, &shape, work);
    const float *const q = work->row32[0];
    float *const x = work->row32[3], *const y = work->row32[5];
    for (int64_t i = 0; i < D; i++)
        x[i] = fmaf(alpha, x[i] - q[i], q[i]) * (float)plan->s;
    run->sums->pack(D, V, work->U, work->packed);
    run->sums->dot(&shape, D, V, false, work->packed, x, y);
    to_double(V, y, o);
    gka_chunk_round_rows(plan->low, V, o, o);
    keep(run->how->h_type, run->how->seed, at, D * D, work->H);
    keep(run->how->u_type, run->how->seed, at + (uint64_t)(D * D), D * V, work->U);
}

/* ---- heads --------------------------------------------------------------------------------- */

static void serve_head(void *context, int64_t index, int worker) {
    const serve *const run = context;
    const chunk_plan *const plan = run->decode;
    const gka_problem *const problem = run->problem;
    const int64_t D = plan->D, V = plan->V, h = index % problem->H, n = index / problem->H;
    const gka_served *const out = run->out;
    const gka_span span = gka_problem_span(problem, n);
    const int64_t done = run->how->prefill, cut = problem->cu_seqlens == NULL ? done
                                                  : done > 0                  ? span.end
                                                                              : span.begin;
    const uint64_t each = (uint64_t)(D * (D + V)),
                   first = (uint64_t)index * (uint64_t)(problem->T + 1) * each;
    serve_work work;
    chunk_bump bump = {run->workspace + (size_t)worker * run->each, 0};
    layout(&run->plans[CHUNK_SIZES - 1], &bump, &work);
    double *const H = work.base.H, *const U = work.base.U;
    gka_problem_h0(problem, n, h, H);
    gka_problem_u0(problem, n, h, U);
    for (int64_t from = span.begin, i = 0, to; from < cut; from = to, i++) {
        to = i < run->how->cuts ? run->how->cut[i] : cut;
        prefill(run, plan_of(run, problem->cu_seqlens ? done : to - from), &work, span.b, from, to,
                h);
    }
    if (out->prefill_h)
        memcpy(out->prefill_h + index * D * D, H, (size_t)(D * D) * sizeof(double));
    if (out->prefill_u)
        memcpy(out->prefill_u + index * D * V, U, (size_t)(D * V) * sizeof(double));
    to_float(D * D, H, work.H);
    to_float(D * V, U, work.U);
    keep(run->how->h_type, run->how->seed, first, D * D, work.H);
    keep(run->how->u_type, run->how->seed, first + (uint64_t)(D * D), D * V, work.U);
    for (int64_t t = cut; t < span.end && !gka_stopped(); t++) {
        token(run, &work, span.b, t, h, first + (uint64_t)(t - cut + 1) * each, work.o);
        if (out->decode_o)
            memcpy(out->decode_o + ((span.b * (problem->T - done) + t - done) * problem->H + h) * V,
                   work.o, (size_t)V * sizeof(double));
    }
    if (out->decode_h)
        to_double(D * D, work.H, out->decode_h + index * D * D);
    if (out->decode_u)
        to_double(D * V, work.U, out->decode_u + index * D * V);
}

static gka_status check(const gka_problem *problem, const gka_profile *profile,
                        const gka_serving *how, gka_error *error) {
    if (profile->device->core[GKA_MMA_BF16].group == 0 || profile->form != GKA_THREE_TERM)
        return gka_fail(error, GKA_UNSUPPORTED, "serving: expected the profile h100, three-term");
    if (how->prefill < 0 || how->prefill > problem->T ||
        (problem->cu_seqlens && how->prefill != problem->T && how->prefill != 0))
        return gka_fail(error, GKA_BAD_ARGUMENT, "serving: prefill is %lld: expected %s",
                        (long long)how->prefill,
                        problem->cu_seqlens ? "0 or T where sequences are packed" : "0 .. T");
    if (how->cuts > 0 && problem->cu_seqlens)
        return gka_fail(error, GKA_UNSUPPORTED, "serving: cuts: expected no packed sequences");
    for (int i = 0; i < how->cuts; i++)
        if (how->cut[i] <= (i == 0 ? 0 : how->cut[i - 1]) || how->cut[i] >= how->prefill)
            return gka_fail(error, GKA_BAD_ARGUMENT,
                            "serving: cut %d is %lld: expected increasing tokens between 0 and "
                            "prefill = %lld",
                            i, (long long)how->cut[i], (long long)how->prefill);
    const int64_t sizes[] = {problem->D, problem->V};
    for (int i = 0; i < 2; i++)
        if (sizes[i] < 64 || sizes[i] > 256 || (sizes[i] & (sizes[i] - 1)))
            return gka_fail(error, GKA_UNSUPPORTED, "serving: D and V are 64, 128 or 256");
    return GKA_OK;
}

static void init_plan(serve *run, int size) {
    gka_problem *const piece = &run->pieces[size];
    chunk_plan *const plan = &run->plans[size];
    *piece = *run->problem;
    piece->T = run->how->prefill;
    piece->chunk_size = SMALLEST_CHUNK << size;
    gka_chunk_plan_init(plan, piece, &run->profile);
    plan->problem = run->problem;
    plan->C_out = plan->C;
    plan->scores_fused = plan->warps[GKA_LAUNCH_OUTPUT] == 2 && plan->D >= 128;
    if (run->problem->beta.data) { /* k in binary32: its products are TF32 */
        plan->rows = plan->score = plan->keys = CHUNK_TF32_CUT;
        plan->evens_first = plan->C < 64 || plan->warps[GKA_LAUNCH_SOLVE] < 4;
    }
}

gka_status gka_chunk_serve(const gka_problem *problem, const gka_profile *profile,
                           const gka_serving *how, const gka_served *out, gka_error *error) {
    const gka_status status = check(problem, profile, how, error);
    if (status != GKA_OK)
        return status;
    serve run = {.problem = problem,
                 .profile = *profile,
                 .how = how,
                 .out = out,
                 .sums = gka_serve_kernels_best()};
    run.decode = &run.plans[0];
    for (int i = 0; i < CHUNK_SIZES; i++)
        init_plan(&run, i);
    serve_work work;
    chunk_bump bump = {NULL, 0};
    layout(&run.plans[CHUNK_SIZES - 1], &bump, &work);
    run.each = bump.used;
    run.workspace = gka_alloc((size_t)gka_threads(), run.each);
    if (!run.workspace)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory: serving, %zu bytes a worker",
                        run.each);
    const bool all = gka_parallel(problem->N * problem->H, serve_head, &run);
    gka_free(run.workspace);
    return all ? GKA_OK : gka_fail(error, GKA_INTERRUPTED, "interrupted");
}
