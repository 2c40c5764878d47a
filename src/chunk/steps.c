/* steps.c - the steps on one tile: gates, norm, solve, state (NUMERICS 4 and 5).
 *
 * Symbols: see chunk.h. Rows of a tile are tokens; a product "A B" is the device's.
 */
#include "chunk/row_kernels.h"
#include "format/processor.h"

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

/* The kind to which a point rounds where it is released. */
static chunk_kind kind_at(const chunk_plan *plan, gka_point point, chunk_kind kind) {
    return chunk_has(plan, point) ? kind : CHUNK_WORKING;
}

void gka_chunk_plan_piece(chunk_plan *plan, int64_t T) {
    plan->C_out = plan->hardware ? output_tile(T) : plan->C;
}

void gka_row_kernels_all(const row_kernels *tables[4]) {
    int count = 0;
    tables[count++] = &gka_row_kernels_baseline;
#ifdef __x86_64__
    if (gka_has_avx2())
        tables[count++] = &gka_row_kernels_avx2;
    if (gka_has_avx512())
        tables[count++] = &gka_row_kernels_avx512;
#endif
    tables[count] = NULL;
}

static const row_kernels *best_loops(void) {
    const row_kernels *tables[4], *best = NULL;
    gka_row_kernels_all(tables);
    for (int i = 0; tables[i]; i++)
        best = tables[i];
    return best;
}

void gka_chunk_plan_init(chunk_plan *plan, const gka_problem *problem, const gka_profile *profile) {
    const bool hardware = profile->device->core[GKA_MMA_BF16].group > 0;
    *plan = (chunk_plan){.problem = problem,
                         .profile = *profile,
                         .D = problem->D,
                         .V = problem->V,
                         .C = gka_problem_chunk_size(problem),
                         .hardware = hardware,
                         .gated = problem->g.data != NULL,
                         .loops = best_loops(),
                         .exact = gka_device_find("exact64")};
    gka_chunk_plan_piece(plan, problem->T);
    plan->f32 = profile->device->binary32 && chunk_has(plan, GKA_POINT_ARITHMETIC);
    const bool powers = is_power_of_two(plan->C) && is_power_of_two(plan->D) &&
                        (plan->V == 0 || is_power_of_two(plan->V));
    plan->order = !plan->f32 ? SUM64 : hardware && powers ? SUM_WARP : SUM32;
    plan->low = profile->fp16 ? CHUNK_FP16 : CHUNK_BF16;
    const chunk_kind operands[] = {[GKA_OPERAND_BF16] = plan->low,
                                   [GKA_OPERAND_SPLIT] = CHUNK_SPLIT,
                                   [GKA_OPERAND_TF32] = CHUNK_TF32,
                                   [GKA_OPERAND_FP16] = CHUNK_FP16,
                                   [GKA_OPERAND_SCALED] =
                                       profile->scaled.p <= 8 ? CHUNK_BF16 : CHUNK_TF32};
    const chunk_kind operand = operands[profile->operand];
    const chunk_kind stored = profile->store == 2 ? CHUNK_SPLIT : plan->low;
    plan->scaled = profile->operand == GKA_OPERAND_SCALED;
    plan->operand = kind_at(plan, GKA_POINT_OPERAND_X, operand);
    plan->score = kind_at(plan, GKA_POINT_OPERAND_SCORE, operand);
    plan->snapshot = kind_at(plan, GKA_POINT_STATE_SNAPSHOT, plan->low);
    plan->stored = kind_at(plan, GKA_POINT_STORE_X, stored);
    const chunk_kind handoff = profile->handoff == 2 ? CHUNK_SPLIT : plan->low;
    plan->mixed = kind_at(plan, GKA_POINT_MIX, handoff);
    plan->cotangent = kind_at(plan, GKA_POINT_STORE_GRAD, handoff);
    plan->rows = plan->operand;
    plan->keys = plan->low;
    plan->num_iter = profile->num_iter > 0 ? profile->num_iter : problem->num_iter;
    plan->width = w(chunk_has(plan, GKA_POINT_PARAMETERS), 1 + profile->margin);
    for (int i = 0; i < GKA_LAUNCHES; i++)
        plan->warps[i] = profile->num_warps[i] ? profile->num_warps[i] : 4;
    plan->a = w(chunk_has(plan, GKA_POINT_PARAMETERS), problem->ridge_ratio);
    plan->s = w(chunk_has(plan, GKA_POINT_PARAMETERS), problem->scale);
    plan->eight = *profile->device;
    if (profile->fp8 && profile->promote)
        plan->eight.core[profile->fp8].apart = profile->promote;
}

void *gka_chunk_take(chunk_bump *bump, size_t count, size_t size) {
    void *const memory = bump->base ? bump->base + bump->used : NULL;
    bump->used += (count * size + 63) & ~(size_t)63;
    return memory;
}

static double *take(chunk_bump *bump, int64_t rows, int64_t columns) {
    return gka_chunk_take(bump, (size_t)rows * (size_t)columns, sizeof(double));
}

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Packed operands have at most max(C,D,V) rows of max(C,D,V) numbers in binary64. */
void gka_chunk_work_layout(const chunk_plan *plan, chunk_bump *bump, chunk_work *work) {
    const int64_t D = plan->D, V = plan->V, C = max_of(plan->C, plan->C_out);
    const int64_t most = (max_of(C, max_of(D, V)) + 15) / 16 * 16;
    const size_t packed = gka_mma_right_size(plan->exact, GKA_MMA_WORKING, most, most);
    const size_t packed32 = gka_mma_right_size(plan->profile.device, GKA_MMA_BF16, most, most);
    const gka_mma_input fp8 = plan->profile.fp8;
    const size_t packed8 = fp8 ? gka_mma_right_size(&plan->eight, fp8, most, most) : 0;
    const size_t pack = max_size(max_size(packed, packed32), packed8);
    chunk_packed *const operands[] = {&work->left, &work->right, &work->pack_H, &work->pack_K,
                                      &work->pack_Kt};
    chunk_tile *const tile = &work->tile;
    tile->q = take(bump, C, D);
    tile->k = take(bump, C, D);
    tile->k_sum = tile->k_dot = tile->k_right = tile->k;
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
    work->used_f = take(bump, C, 1);
    work->lambda = take(bump, C, 1);
    work->rows = gka_chunk_take(bump, (size_t)C, sizeof *work->rows);
    work->sigma = take(bump, C, 1);
    work->delta = take(bump, C, 1);
    work->x = take(bump, C, D);
    work->x_prev = take(bump, C, D);
    work->y = take(bump, C, D);
    work->p = take(bump, C, D);
    work->z = take(bump, C, max_of(D, V));
    work->grad = take(bump, C, max_of(D, V));
    work->score = take(bump, C, C);
    work->MS = take(bump, C, C);
    work->row = take(bump, most, 1);
    work->row2 = take(bump, most, 1);
    work->x_wait = take(bump, plan->C + plan->C_out, D);
    work->DD = take(bump, max_of(D, V), D);
    work->part = take(bump, most, most);
    work->sum = take(bump, fp8 ? most : 0, most);
    for (size_t i = 0; i < sizeof operands / sizeof *operands; i++) {
        operands[i]->numbers = gka_chunk_take(bump, pack, 1);
        operands[i]->scales = take(bump, fp8 ? most : 0, 1);
    }
    work->multiply_adds = NULL;
}

/* ---- functions and products ---------------------------------------------------------------- */

double gka_chunk_exp(const chunk_plan *plan, double x) {
    if (chunk_has(plan, GKA_POINT_EXP))
        return gka_device_exp(plan->profile.device, x);
    return w(plan->f32, gka_device_exp(plan->exact, x));
}

double gka_chunk_div(const chunk_plan *plan, double x, double y) {
    if (chunk_has(plan, GKA_POINT_DIVIDE))
        return gka_device_div(plan->profile.device, x, y);
    return w(plan->f32, x / y);
}

double gka_chunk_sqrt(const chunk_plan *plan, double x) {
    if (chunk_has(plan, GKA_POINT_SQRT))
        return gka_device_sqrt(plan->profile.device, x);
    return w(plan->f32, sqrt(x));
}

double gka_chunk_round(chunk_kind kind, double x) {
    gka_row_kernels_baseline.round(false, kind, 1, &x, &x);
    return x;
}

void gka_chunk_round_rows(chunk_kind kind, int64_t n, const double *x, double *out) {
    best_loops()->round(false, kind, n, x, out);
}

/* Which device multiplies, and what its operands hold. A product of operands that keep more than
 * the tensor core takes runs on the device's fp32 units; without the tensor core it is the binary64
 * product, rounded once to the working precision. */
typedef struct unit {
    const gka_device *device;
    gka_mma_input input;
    bool round, eight; /* eight: operands of eight bits, with scales */
} unit;

static unit product_unit(const chunk_plan *plan, chunk_kind left, chunk_kind right) {
    static const gka_mma_input inputs[] = {[CHUNK_BF16] = GKA_MMA_BF16,
                                           [CHUNK_SPLIT] = GKA_MMA_BF16,
                                           [CHUNK_FP16] = GKA_MMA_FP16,
                                           [CHUNK_TF32] = GKA_MMA_TF32,
                                           [CHUNK_TF32_CUT] = GKA_MMA_TF32};
    const gka_device *const device = plan->profile.device;
    const chunk_kind finer = left > right ? left : right;
    const bool core = chunk_has(plan, GKA_POINT_TENSOR_CORE);
    if (core && plan->profile.fp8 && finer == plan->low && left == right)
        return (unit){&plan->eight, plan->profile.fp8, false, true};
    if (core && finer != CHUNK_WORKING)
        return (unit){device, inputs[finer], false, false};
    if (plan->f32 && (core || !plan->hardware))
        return (unit){device, GKA_MMA_WORKING, false, false};
    return (unit){plan->exact, GKA_MMA_WORKING, plan->f32, false};
}

/* The scale of numbers whose largest size is m. */
static double eight_scale(gka_scales scales, const gka_format *format, double m) {
    if (!isfinite(m))
        return (double)NAN;
    double s = w(true, m / format->max_finite);
    int exponent;
    if (scales == GKA_SCALES_POWERS && frexp(s, &exponent) > .5)
        s = ldexp(1, exponent);
    return scales == GKA_SCALES_NONE || m == 0 ? 1 : s > 0 ? s : 0x1p-149;
}

/* `lines` lines of n numbers each, (i, j) at a[i line + j next], divided by their scales and
 * rounded to eight bits, to memory in the same order. A line with a number that is not finite
 * becomes NaN and has no part in the scale of a tile: such are the lines past the end of a
 * sequence. */
static void eight_bits(const chunk_plan *plan, int64_t lines, int64_t n, const double *a,
                       ptrdiff_t line, ptrdiff_t next, double *memory, double *scale) {
    const gka_scales scales = plan->profile.scales;
    const gka_format *const format = plan->profile.fp8 == GKA_MMA_E4M3 ? &gka_e4m3 : &gka_e5m2;
    double most = 0;
    for (int64_t i = 0; i < lines; i++) {
        double m = 0;
        for (int64_t j = 0; j < n; j++) {
            const double size = fabs(a[i * line + j * next]);
            m = size > m || isnan(size) ? size : m;
        }
        most = isfinite(m) && m > most ? m : most;
        scale[i] = eight_scale(scales, format, m);
    }
    for (int64_t i = 0; i < lines; i++) {
        if (scales == GKA_SCALES_TILE && !isnan(scale[i]))
            scale[i] = eight_scale(scales, format, most);
        for (int64_t j = 0; j < n; j++)
            memory[i * n + j] = gka_round_core(format, GKA_NEAREST_EVEN,
                                               w(true, a[i * line + j * next] / scale[i]), 0);
    }
}

/* C = fma(s_i s_j, sum, C) in binary32 */
static void scale_sums(const chunk_work *work, int64_t M, int64_t N, const double *left,
                       const double *right, double *c, int64_t ldc) {
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < N; j++)
            c[i * ldc + j] =
                fma_w(true, w(true, left[i] * right[j]), work->sum[i * N + j], c[i * ldc + j]);
}

static void round_rows(bool f32, int64_t M, int64_t N, double *c, int64_t ldc) {
    if (!f32)
        return;
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < N; j++)
            c[i * ldc + j] = w(f32, c[i * ldc + j]);
}

/* How often an operand of this kind is multiplied there. */
static int parts_of(unit u, chunk_kind kind) {
    return u.input == GKA_MMA_BF16 && kind == CHUNK_SPLIT ? 2 : 1;
}

/* The operand as one product reads it: part 0 (high) or 1 (low) of two, rounded to fp16 for a
 * product in fp16, else as it is. */
static gka_matrix part_of(unit u, chunk_kind kind, int part, int64_t M, int64_t N, gka_matrix a,
                          double *memory) {
    const bool two = parts_of(u, kind) == 2, narrow = u.input == GKA_MMA_FP16 && kind != CHUNK_FP16;
    if (!two && !narrow)
        return a;
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < N; j++) {
            const double value = a.data[i * a.row + j * a.column], high = bf16(value);
            const double low = isfinite(high) ? value - high : 0;
            memory[i * N + j] = narrow      ? gka_chunk_round(CHUNK_FP16, value)
                                : part == 0 ? high
                                            : low;
        }
    return (gka_matrix){memory, N, 1};
}

static void pack_left(const chunk_plan *plan, const chunk_work *work, unit u, chunk_kind kind,
                      int part, int64_t M, int64_t K, gka_matrix a) {
    if (u.eight) {
        eight_bits(plan, M, K, a.data, a.row, a.column, work->part, work->left.scales);
        a = (gka_matrix){work->part, K, 1};
    } else {
        a = part_of(u, kind, part, M, K, a, work->part);
    }
    gka_mma_pack_left(u.device, u.input, M, K, a, work->left.numbers);
}

static void pack_right(const chunk_plan *plan, const chunk_work *work, unit u, chunk_kind kind,
                       int part, int64_t K, int64_t N, gka_matrix b, const chunk_packed *packed) {
    if (u.eight) {
        eight_bits(plan, N, K, b.data, b.column, b.row, work->part, packed->scales);
        b = (gka_matrix){work->part, 1, K};
    } else {
        b = part_of(u, kind, part, K, N, b, work->part);
    }
    gka_mma_pack_right(u.device, u.input, K, N, b, packed->numbers);
}

static void count(const chunk_work *work, int64_t multiply_adds) {
    if (work->multiply_adds)
        *work->multiply_adds += multiply_adds;
}

/* C += the packed left operand times `packed`. */
static void multiply_add(const chunk_work *work, unit u, int64_t M, int64_t N, int64_t K,
                         const chunk_packed *packed, double *c, int64_t ldc) {
    if (u.eight) {
        memset(work->sum, 0, (size_t)(M * N) * sizeof *work->sum);
        gka_mma_packed(u.device, u.input, M, N, K, work->left.numbers, packed->numbers, work->sum,
                       N);
        scale_sums(work, M, N, work->left.scales, packed->scales, c, ldc);
    } else {
        gka_mma_packed(u.device, u.input, M, N, K, work->left.numbers, packed->numbers, c, ldc);
    }
    count(work, M * N * K);
}

/* C += A B, B of kind `right`, not in two parts, packed before. */
static void multiply_packed(const chunk_plan *plan, const chunk_work *work, chunk_kind left,
                            chunk_kind right, int64_t M, int64_t N, int64_t K, const double *a,
                            const chunk_packed *packed, double *c) {
    const unit u = product_unit(plan, left, right);
    for (int part = parts_of(u, left) - 1; part >= 0; part--) {
        pack_left(plan, work, u, left, part, M, K, (gka_matrix){a, K, 1});
        multiply_add(work, u, M, N, K, packed, c, N);
    }
    round_rows(u.round, M, N, c, N);
}

void gka_chunk_multiply(const chunk_plan *plan, const chunk_work *work, chunk_kind left,
                        chunk_kind right, int64_t M, int64_t N, int64_t K, gka_matrix a,
                        gka_matrix b, double *c, int64_t ldc) {
    const unit u = product_unit(plan, left, right);
    for (int i = parts_of(u, left) - 1; i >= 0; i--)
        for (int j = parts_of(u, right) - 1; j >= 0; j--) {
            if (i == 1 && j == 1)
                continue;
            pack_left(plan, work, u, left, i, M, K, a);
            pack_right(plan, work, u, right, j, K, N, b, &work->right);
            multiply_add(work, u, M, N, K, &work->right, c, ldc);
        }
    round_rows(u.round, M, N, c, ldc);
}

/* ---- tiles --------------------------------------------------------------------------------- */

bool gka_chunk_restarts(const chunk_plan *plan, int64_t b, int64_t t, int64_t h) {
    return !plan->hardware && plan->gated && isinf(gka_problem_g(plan->problem, b, t, h));
}

int64_t gka_chunk_cut(const chunk_plan *plan, int64_t b, int64_t t, int64_t end, int64_t h) {
    for (t++; t < end; t++)
        if (gka_chunk_restarts(plan, b, t, h))
            return t;
    return end;
}

void gka_chunk_initial_state(const chunk_plan *plan, int64_t sequence, int64_t h, double *H) {
    const int64_t D = plan->D;
    gka_problem_h0(plan->problem, sequence, h, H);
    for (int64_t i = 0; !plan->hardware && i < D; i++)
        for (int64_t j = 0; j < i; j++)
            H[i * D + j] = H[j * D + i] = w(plan->f32, (H[i * D + j] + H[j * D + i]) / 2);
}

void gka_chunk_load(const chunk_plan *plan, int64_t b, int64_t t, int64_t n, int64_t h, int64_t C,
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
        const double least = plan->profile.least_gate;
        if (least < 0 && isfinite(tile->g[i]) && tile->g[i] < least)
            tile->g[i] = least;
    }
    if (restart)
        tile->g[0] = 0;
}

/* Products of gates, where a kernel takes the exponential of a difference of two sums of
 * logarithms: there every later gate is off by u times the largest sum, and one gate of e^-1e9
 * leaves nothing right. A product of m gates is off by at most 2 m u of itself, whatever they are.
 */
static void gates_by_products(const chunk_plan *plan, int64_t C, int64_t n, chunk_tile *tile,
                              double *gamma) {
    const bool f32 = plan->f32;
    double *const M = tile->M;
    for (int64_t t = 0; t < n; t++)
        gamma[t] = gka_chunk_exp(plan, tile->g[t]);
    for (int64_t t = 0; t < n; t++) {
        for (int64_t j = 0; j < t; j++)
            M[t * C + j] = w(f32, gamma[t] * M[(t - 1) * C + j]);
        M[t * C + t] = 1;
        tile->expG[t] = t == 0 ? gamma[0] : w(f32, gamma[t] * tile->expG[t - 1]);
    }
    tile->decay = tile->expG[n - 1];
    for (int64_t t = C - 1; t >= 0; t--) {
        tile->expG[t] = t < n ? tile->expG[t] : tile->decay;
        tile->tail[t] = t >= n ? 0 : t == n - 1 ? 1 : w(f32, gamma[t + 1] * tile->tail[t + 1]);
    }
}

void gka_chunk_gates(const chunk_plan *plan, bool round_mask, chunk_tile *tile, double *row) {
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
    gka_scan_sum(plan->order, C, tile->g, tile->G);
    if (!plan->hardware) {
        gates_by_products(plan, C, n, tile, row);
        return;
    }
    const double last = tile->G[n - 1];
    tile->decay = gka_chunk_exp(plan, last);
    for (int64_t t = 0; t < C; t++) {
        tile->expG[t] = gka_chunk_exp(plan, tile->G[t]);
        tile->tail[t] = t < n ? gka_chunk_exp(plan, w(plan->f32, last - tile->G[t])) : 0;
    }
    for (int64_t t = 0; t < n; t++) {
        for (int64_t j = 0; j <= t; j++)
            row[j] = gka_chunk_exp(plan, w(plan->f32, tile->G[t] - tile->G[j]));
        for (int64_t j = 0; j <= t; j++)
            tile->M[t * C + j] = round_mask ? low_of(plan->profile.fp16, row[j]) : row[j];
    }
}

/* ---- norm ---------------------------------------------------------------------------------- */

/* A sum along a row of a tile [C,D] or [C,C] of the solver's kernel. Of 64 rows each lies in one
 * warp, but for two warps and more columns than rows: these share it; all warps share one of 32. */
static double solver_row(const chunk_plan *plan, int64_t C, int64_t n, const double *a,
                         const double *b) {
    const int64_t warps = plan->warps[GKA_LAUNCH_SOLVE];
    if (warps == 4)
        return gka_row_dot(plan->order, C, n, a, b);
    const int64_t shared = warps == 2 ? (plan->D > C ? 2 : 1) : C < 64 ? warps : 1;
    return gka_row_dot_shared(plan->order, shared < n / 8 ? shared : n / 8, n, a, b);
}

/* Where the compiler forms the sum over gates twice, in one layout for f as it is stored and in the
 * products' for the iteration: one warp with 128 columns, four and eight with 16 rows. */
static bool two_cross_sums(const chunk_plan *plan, int64_t C) {
    const int warps = plan->warps[GKA_LAUNCH_SOLVE];
    return plan->order == SUM_WARP && ((warps == 1 && plan->D >= 128) || (warps >= 4 && C == 16));
}

/* A sum over the columns of [C,C]: in one thread, spread over lanes, or (16 rows, four warps or
 * more) over two lanes of each warp. */
static double cross_sum(const chunk_plan *plan, int64_t C, const double *a, const double *b) {
    if (chunk_row_in_thread(plan, C))
        return gka_row_dot_thread(plan->order, C, a, b);
    const int warps = plan->warps[GKA_LAUNCH_SOLVE];
    return warps >= 4 && C == 16 ? gka_pair_dot(plan->order, warps, C, a, b)
                                 : gka_lane_dot(plan->order, C, a, b);
}

/* f_t^2 = exp(2 G_t) ||H_0||^2 + 2 exp(G_t) sum_j M_tj k_j^T H_0 k_j
 *       + [((M ((KK^T).(KK^T))) . M) 1]_t                                         (NUMERICS 4) */
static double norm_of_state(const chunk_plan *plan, const chunk_work *work) {
    const int64_t size = plan->D * plan->D;
    const bool fp16 = plan->profile.fp16;
    double sum = 0;
    if (chunk_has(plan, GKA_POINT_NORM_REDUCE)) { /* of bf16(H_0), even where H_0 is kept exact */
        for (int64_t i = 0; i < size; i++) {
            work->DD[i] = low_of(fp16, work->H0[i]);
            sum += work->DD[i] * work->DD[i];
        }
        return plan->D >= 32 && plan->hardware
                   ? gka_norm_low(fp16, plan->D, plan->warps[GKA_LAUNCH_SOLVE], work->DD)
                   : low_of(fp16, sum);
    }
    for (int64_t i = 0; i < size; i++)
        sum += work->H0[i] * work->H0[i];
    return w(plan->f32, sum);
}

void gka_chunk_norm(const chunk_plan *plan, chunk_work *work, double *f) {
    const chunk_tile *const tile = &work->tile;
    const int64_t C = tile->C, D = plan->D;
    const bool f32 = plan->f32, square = chunk_has(plan, GKA_POINT_NORM_SQUARE);
    const gka_matrix K = {tile->k_dot, D, 1}, Kt = {tile->k_dot, 1, D};
    double *const S = work->score, *const Z = work->grad, *const cross = work->row;

    memset(S, 0, (size_t)(C * C) * sizeof(double));
    gka_chunk_multiply(plan, work, plan->keys, plan->keys, C, C, D, K, Kt, S, C);
    for (int64_t i = 0; i < C * C; i++) {
        const double s = w(f32, S[i] * S[i]);
        S[i] = square ? low_of(plan->profile.fp16, s) : s;
    }
    double *const MS = work->MS;
    memset(MS, 0, (size_t)(C * C) * sizeof(double));
    chunk_product(plan, work, square && chunk_has(plan, GKA_POINT_MASK), C, C, C,
                  (gka_matrix){tile->M, C, 1}, (gka_matrix){S, C, 1}, MS, C);

    memset(Z, 0, (size_t)(C * D) * sizeof(double));
    const double *k16 = tile->k_sum; /* K as the snapshot's product reads it */
    if (plan->keys != plan->low) {
        gka_chunk_round_rows(plan->low, C * D, tile->k_sum, work->y);
        k16 = work->y;
    }
    chunk_product(plan, work, chunk_has(plan, GKA_POINT_STATE_SNAPSHOT), C, D, D,
                  (gka_matrix){k16, D, 1}, (gka_matrix){work->H0, D, 1}, Z, D);
    for (int64_t j = 0; j < C; j++)
        cross[j] = solver_row(plan, C, D, tile->k_sum + j * D, Z + j * D);

    const double state = norm_of_state(plan, work);
    if (!plan->gated)
        gka_scan_sum(plan->order, C, cross, cross);
    for (int64_t t = 0; t < C; t++) {
        const double within = solver_row(plan, C, C, MS + t * C, tile->M + t * C);
        double square_t;
        double used; /* the square as the iteration has it */
        if (plan->gated) {
            const double e = tile->expG[t], twice = w(f32, e + e);
            const double rest = fma_w(f32, e, w(f32, e * state), within);
            const double *const m = tile->M + t * C;
            const double c = cross_sum(plan, C, m, cross);
            used = square_t = fma_w(f32, twice, c, rest);
            if (two_cross_sums(plan, C))
                used = fma_w(f32, twice, solver_row(plan, C, C, m, cross), rest);
            else if (chunk_row_in_thread(plan, C)) /* handed to another thread as a product */
                used = w(f32, w(f32, twice * c) + rest);
        } else {
            used = square_t = w(f32, within + fma_w(f32, cross[t], 2, state));
        }
        if (!plan->hardware && square_t < 0) /* rounding of a sum that is zero */
            used = square_t = 0;
        f[t] = gka_chunk_sqrt(plan, square_t);
        work->used_f[t] = gka_chunk_sqrt(plan, used);
    }
}

/* ---- solve --------------------------------------------------------------------------------- */

/* The terms of each row where the products take them. */
static void place_terms(const chunk_plan *plan, int64_t rows, int64_t n, double *a) {
    double sixteen[16];
    for (int64_t i = 0; plan->evens_first && i < rows * n; i += 16) {
        for (int64_t j = 0; j < 16; j++)
            sixteen[chunk_place(plan, j)] = a[i + j];
        memcpy(a + i, sixteen, sizeof sixteen);
    }
}

/* `count` rows of n as a product of the iteration reads them. */
static void round_operand(const chunk_plan *plan, chunk_kind kind, int64_t count, int64_t n,
                          const double *x, double *out) {
    const gka_format *const format = &plan->profile.scaled;
    for (int64_t t = 0; t < count && plan->scaled && kind != CHUNK_WORKING; t++) {
        double most = 0;
        for (int64_t i = t * n; i < (t + 1) * n; i++)
            most = most >= fabs(x[i]) ? most : fabs(x[i]); /* NaN stays */
        const bool scale = most > 0 && isfinite(most);
        const int exponent = scale ? ilogb(most) - (format->emax - 1) : 0;
        for (int64_t i = t * n; i < (t + 1) * n; i++)
            out[i] = scale ? ldexp(x[i], -exponent) : x[i];
        if (!scale)
            continue;
        gka_round_array(format, GKA_NEAREST_EVEN, 0, 0, (size_t)n, out + t * n, out + t * n);
        for (int64_t i = t * n; i < (t + 1) * n; i++)
            out[i] = ldexp(out[i], exponent);
    }
    plan->loops->round(plan->f32, kind, count * n, plan->scaled && kind != CHUNK_WORKING ? out : x,
                       out);
}

/* y = H_t x for the rows of a tile: (x . exp G) H_0 + ((x K^T) . M) K. `scaled` [C,D] and `rows`
 * [C,D] are of the kind `operand`; scale_after: `scaled` lacks its factors exp G. */
static void apply(const chunk_plan *plan, const chunk_work *work, const double *scaled,
                  const double *rows, bool scale_after, double *y) {
    const chunk_tile *const tile = &work->tile;
    const int64_t C = tile->C, D = plan->D;
    double *const score = work->score;
    memset(y, 0, (size_t)(C * D) * sizeof(double));
    multiply_packed(plan, work, plan->operand, plan->snapshot, C, D, D, scaled, &work->pack_H, y);
    if (scale_after)
        for (int64_t t = 0; t < C; t++)
            plan->loops->scale(plan->f32, D, tile->expG[t], y + t * D, y + t * D);

    memset(score, 0, (size_t)(C * C) * sizeof(double));
    multiply_packed(plan, work, plan->rows, plan->keys, C, C, D, rows, &work->pack_Kt, score);
    plan->loops->multiply(plan->f32, C * C, tile->M, score);
    round_operand(plan, plan->score, C, C, score, score);
    place_terms(plan, C, C, score);
    multiply_packed(plan, work, plan->score, plan->keys, C, D, C, score, &work->pack_K, y);
}

static void pack_solver(const chunk_plan *plan, const chunk_work *work) {
    const chunk_tile *const tile = &work->tile;
    const int64_t C = tile->C, D = plan->D;
    pack_right(plan, work, product_unit(plan, plan->operand, plan->snapshot), plan->snapshot, 0, D,
               D, (gka_matrix){work->H0, D, 1}, &work->pack_H);
    pack_right(plan, work, product_unit(plan, plan->rows, plan->keys), plan->keys, 0, D, C,
               (gka_matrix){tile->k_dot, 1, D}, &work->pack_Kt);
    pack_right(plan, work, product_unit(plan, plan->score, plan->keys), plan->keys, 0, C, D,
               (gka_matrix){tile->k_right, D, 1}, &work->pack_K);
}

/* The rows of x and of exp(G_t) x as the products read them. */
static void round_operands(const chunk_plan *plan, const chunk_work *work, const double *x,
                           double *scaled, double *rows) {
    const chunk_tile *const tile = &work->tile;
    const int64_t C = tile->C, D = plan->D;
    for (int64_t t = 0; t < C; t++)
        if (plan->gated)
            plan->loops->scale(plan->f32, D, tile->expG[t], x + t * D, scaled + t * D);
        else
            memcpy(scaled + t * D, x + t * D, (size_t)D * sizeof *x);
    round_operand(plan, plan->operand, C, D, scaled, scaled);
    round_operand(plan, plan->rows, C, D, x, rows);
    place_terms(plan, C, D, rows);
}

static void three_term(const chunk_plan *plan, chunk_work *work, const double *rhs, const double *f,
                       bool f_given) {
    const int64_t C = work->tile.C, D = plan->D;
    double *const x = work->x, *const x_prev = work->x_prev, *const scaled = work->z,
                  *const rows = work->grad, *const y = work->y;
    /* f read from memory lies in another layout than the products: the factors of grad are handed
     * over as they are, and the compiler fuses the other product. */
    const bool r_fused = f_given && chunk_row_in_thread(plan, C);
    memset(x_prev, 0, (size_t)(C * D) * sizeof(double));
    for (int64_t t = 0; t < C; t++) {
        chebyshev_start(plan, f[t], &work->rows[t]);
        for (int64_t i = t * D; i < (t + 1) * D; i++)
            x[i] = w(plan->f32, work->rows[t].step * rhs[i]);
    }
    for (int r = 0; r < plan->num_iter && !gka_stopped(); r++) {
        round_operands(plan, work, x, scaled, rows);
        apply(plan, work, scaled, rows, false, y);
        for (int64_t t = 0; t < C; t++) {
            chebyshev_next(plan, &work->rows[t]);
            plan->loops->three_term(plan->f32, r_fused, D, &work->rows[t], y + t * D, rhs + t * D,
                                    x + t * D, x_prev + t * D);
        }
    }
}

/* r = q, d = q/theta, x = d; then r -= (H + lambda) d; tau' = 1/(2 sigma - tau);
 * d = tau' tau d + (2 tau'/delta) r; x += d; tau = tau'. d is rounded once and that d enters both
 * the product and x (NUMERICS 3). theta = (L + mu)/2, delta = (L - mu)/2, sigma = theta/delta. */
static void two_term(const chunk_plan *plan, chunk_work *work, const double *rhs, const double *f) {
    const int64_t C = work->tile.C, D = plan->D;
    const bool f32 = plan->f32;
    double *const x = work->x, *const residual = work->residual, *const d = work->grad,
                  *const tau = work->row, *const sigma = work->sigma, *const delta = work->delta,
                  *const lambda = work->lambda, *const y = work->y;
    for (int64_t t = 0; t < C; t++) {
        lambda[t] = w(f32, plan->a * f[t]);
        delta[t] = w(f32, 0.5 * w(f32, plan->width * f[t]));
        const double theta = fma_w(f32, plan->a, f[t], delta[t]);
        sigma[t] = gka_chunk_div(plan, theta, delta[t]);
        tau[t] = gka_chunk_div(plan, delta[t], theta);
        for (int64_t i = t * D; i < (t + 1) * D; i++) {
            residual[i] = rhs[i];
            d[i] = gka_chunk_div(plan, rhs[i], theta);
        }
    }
    round_operand(plan, plan->operand, C, D, d, d);
    memcpy(x, d, (size_t)(C * D) * sizeof(double));
    for (int r = 0; r < plan->num_iter && !gka_stopped(); r++) {
        apply(plan, work, d, d, plan->gated, y);
        for (int64_t t = 0; t < C; t++) {
            const double next = gka_chunk_div(plan, 1, fma_w(f32, 2, sigma[t], -tau[t]));
            const double keep = w(f32, next * tau[t]);
            const double gain = gka_chunk_div(plan, w(f32, 2 * next), delta[t]);
            plan->loops->two_term(f32, D, lambda[t], keep, gain, y + t * D, residual + t * D,
                                  d + t * D);
            round_operand(plan, plan->operand, 1, D, d + t * D, d + t * D);
            plan->loops->add(f32, D, d + t * D, x + t * D);
            tau[t] = next;
        }
    }
}

/* One row of CG: y = (H + lambda) p; alpha = rho/<p, y>; x += alpha p; r -= alpha y; rho' = <r, r>;
 * p = r + (rho'/rho) p. Where <p, y> <= 0 or rho' <= least the row ends: p = 0. NaN goes on. */
static void cg_row(const chunk_plan *plan, int64_t C, double lambda, double least, double *rho,
                   double *y, double *x, double *r, double *p) {
    const int64_t D = plan->D;
    const bool f32 = plan->f32;
    plan->loops->fused(f32, D, lambda, p, y, y);
    const double py = gka_row_dot(plan->order, C, D, p, y);
    double next = 0;
    if (!(py <= 0)) {
        const double alpha = gka_chunk_div(plan, *rho, py);
        plan->loops->fused(f32, D, alpha, p, x, x);
        plan->loops->fused(f32, D, -alpha, y, r, r);
        next = gka_row_dot(plan->order, C, D, r, r);
    }
    const bool ends = next <= least;
    const double beta = ends ? 0 : gka_chunk_div(plan, next, *rho);
    if (ends)
        memset(p, 0, (size_t)D * sizeof *p);
    else
        plan->loops->fused(f32, D, beta, p, r, p);
    *rho = ends ? 0 : next;
}

/* fp16 ends at 2^-24, and the directions of CG go on shrinking where those of Chebyshev's iteration
 * stop at the residual's bound: rows of p are divided by the power of two below their largest
 * element, and y = H p and p are multiplied by it again, which rounds nothing. */
static void scale_rows(const chunk_plan *plan, int64_t C, double *p, double *scale) {
    const int64_t D = plan->D;
    for (int64_t t = 0; plan->operand == CHUNK_FP16 && t < C; t++) {
        double most = 0;
        for (int64_t i = t * D; i < (t + 1) * D; i++)
            most = fmax(most, fabs(p[i]));
        scale[t] = most > 0 && isfinite(most) ? ldexp(1, ilogb(most)) : 1;
        for (int64_t i = t * D; i < (t + 1) * D; i++)
            p[i] /= scale[t];
    }
}

static void unscale_rows(const chunk_plan *plan, int64_t C, const double *scale, double *rows) {
    for (int64_t i = 0; plan->operand == CHUNK_FP16 && i < C * plan->D; i++)
        rows[i] = w(plan->f32, rows[i] * scale[i / plan->D]);
}

/* x = 0, r = p = q; then num_iter products (src/solve/cg.c has the same test: u^2 |q|). Consistent:
 * p is rounded once, for the product, for <p, y> and for x. */
static void conjugate_gradients(const chunk_plan *plan, chunk_work *work, const double *rhs,
                                const double *f) {
    const int64_t C = work->tile.C, D = plan->D;
    const bool consistent = plan->profile.form == GKA_FORM_CG_CONSISTENT;
    const double u2 = plan->f32 ? 0x1p-48 : 0x1p-106;
    double *const x = work->x, *const residual = work->residual, *const p = work->p,
                  *const y = work->y, *const rho = work->rho, *const least = work->least,
                  *const scaled = work->z, *const rows = work->grad, *const scale = work->row;
    memset(x, 0, (size_t)(C * D) * sizeof(double));
    memcpy(residual, rhs, (size_t)(C * D) * sizeof(double));
    memcpy(p, rhs, (size_t)(C * D) * sizeof(double));
    for (int64_t t = 0; t < C; t++) {
        rho[t] = gka_row_dot(plan->order, C, D, rhs + t * D, rhs + t * D);
        least[t] = w(plan->f32, w(plan->f32, u2 * rho[t]) * u2);
    }
    for (int r = 0; r < plan->num_iter && !gka_stopped(); r++) {
        scale_rows(plan, C, p, scale);
        if (consistent) {
            round_operand(plan, plan->operand, C, D, p, p);
            apply(plan, work, p, p, plan->gated, y);
        } else {
            round_operands(plan, work, p, scaled, rows);
            apply(plan, work, scaled, rows, false, y);
        }
        unscale_rows(plan, C, scale, p);
        unscale_rows(plan, C, scale, y);
        for (int64_t t = 0; t < C; t++)
            cg_row(plan, C, w(plan->f32, plan->a * f[t]), least[t], &rho[t], y + t * D, x + t * D,
                   residual + t * D, p + t * D);
    }
}

void gka_chunk_solve(const chunk_plan *plan, chunk_work *work, const double *rhs, const double *f,
                     bool f_given) {
    pack_solver(plan, work);
    switch (plan->profile.form) {
    case GKA_THREE_TERM:
    case GKA_FORM_MISPRINTED: three_term(plan, work, rhs, f, f_given); break;
    case GKA_TWO_TERM: two_term(plan, work, rhs, f); break;
    case GKA_FORM_CG:
    case GKA_FORM_CG_CONSISTENT: conjugate_gradients(plan, work, rhs, f); break;
    }
    if (plan->hardware)
        return;
    for (int64_t t = 0; t < work->tile.n; t++) /* an empty state: x = 0 by definition */
        if (f[t] == 0)
            memset(work->x + t * plan->D, 0, (size_t)plan->D * sizeof(double));
}

/* ---- state --------------------------------------------------------------------------------- */

void gka_chunk_state(const chunk_plan *plan, chunk_work *work, double *S, const double *W,
                     int64_t N) {
    const chunk_tile *const tile = &work->tile;
    const int64_t C = tile->C, D = plan->D;
    const bool f32 = plan->f32, rounded = chunk_has(plan, GKA_POINT_STATE_OPERAND);
    double *const scaled = work->z;
    gka_chunk_handed(plan, D * N, S);
    if (plan->gated)
        for (int64_t i = 0; i < D * N; i++)
            S[i] = w(f32, S[i] * tile->decay);
    for (int64_t j = 0; j < C; j++)
        for (int64_t i = j * N; i < (j + 1) * N; i++) {
            const double value = plan->gated ? w(f32, W[i] * tile->tail[j]) : W[i];
            scaled[i] = chunk_low(plan, GKA_POINT_STATE_OPERAND, value);
        }
    chunk_product(plan, work, rounded, D, N, C, (gka_matrix){tile->k, 1, D},
                  (gka_matrix){scaled, N, 1}, S, N);
    /* The two triangles of H are products rounded in another order. One of them stands for both, so
     * that a state handed on and read as (H + H^T)/2 keeps its bits. */
    for (int64_t i = 0; !plan->hardware && W == tile->k && i < D; i++)
        for (int64_t j = 0; j < i; j++)
            S[i * D + j] = S[j * D + i];
    if (plan->profile.state_format)
        gka_round_array(plan->profile.state_format, GKA_NEAREST_EVEN, 0, 0, (size_t)(D * N), S, S);
    if (plan->profile.state_blocks)
        gka_block_round(plan->profile.state_blocks, (size_t)(D * N), S, S, NULL);
}

void gka_chunk_handed(const chunk_plan *plan, int64_t n, double *S) {
    if (plan->profile.low_states)
        gka_chunk_round_rows(plan->low, n, S, S);
}

/* q' = q + alpha (x - q), in three 16-bit operations as released, or rounded once to two parts. Not
 * as a kernel has it: alpha x + (1 - alpha) q, which loses nothing where x is small beside q. */
void gka_chunk_mix(const chunk_plan *plan, int64_t n, const double *q, const double *alpha,
                   const double *x, double *mixed) {
    const int64_t D = plan->D;
    for (int64_t t = 0; t < n; t++)
        for (int64_t i = t * D; i < (t + 1) * D; i++) {
            if (!plan->hardware && plan->mixed == CHUNK_WORKING) {
                const double rest = w(plan->f32, w(plan->f32, 1 - alpha[t]) * q[i]);
                mixed[i] = fma_w(plan->f32, alpha[t], x[i], rest);
                continue;
            }
            if (plan->mixed == CHUNK_SPLIT) {
                const double difference = w(plan->f32, x[i] - q[i]);
                mixed[i] =
                    gka_chunk_round(CHUNK_SPLIT, fma_w(plan->f32, alpha[t], difference, q[i]));
                continue;
            }
            double y = chunk_low(plan, GKA_POINT_MIX, w(plan->f32, x[i] - q[i]));
            y = chunk_low(plan, GKA_POINT_MIX, w(plan->f32, alpha[t] * y));
            mixed[i] = chunk_low(plan, GKA_POINT_MIX, w(plan->f32, q[i] + y));
        }
}
