/* decode.c - one token from a state, as the one-token kernel has it (NUMERICS 5, last lines).
 *
 * Symbols: P = h0 (the state before), O = bf16(k k^T), H = gamma P + O; 128 threads, of
 * which `down` lie one under another in a warp; a thread holds four neighbouring columns.
 */
#include "chunk/chunk.h"

typedef struct decode {
    const chunk_plan *plan;
    gka_outputs *out;
    double *workspace;
    int64_t each; /* doubles of one worker */
} decode;

static int64_t rows_in_warp(int64_t D) {
    return D >= 128 ? 1 : 128 / D;
}

/* ||H||_F^2: a thread chains its elements row by row, then lanes 16 .. 1 and warps 2, 1 apart. */
static double norm(sum_order order, int64_t D, const double *H) {
    double sum = 0;
    if (order != SUM_WARP) {
        for (int64_t i = 0; i < D * D; i++)
            sum = fma_w(order == SUM32, H[i], H[i], sum);
        return sum;
    }
    const int64_t down = rows_in_warp(D), across = 32 / down;
    double lane[32], warp[4];
    for (int64_t j = 0; j < 4; j++) {
        for (int64_t t = 0; t < 32; t++) {
            bool first = true;
            for (int64_t row = j * down + t / across; row < D; row += 4 * down)
                for (int64_t column = t % across * 4; column < D; column += across * 4)
                    for (int64_t i = 0; i < 4; i++) {
                        const double *const e = H + row * D + column;
                        if (first && i == 0)
                            sum = fma_w(true, e[0], e[0], w(true, e[1] * e[1]));
                        else if (!first || i > 1)
                            sum = fma_w(true, e[i], e[i], sum);
                        if (i == 3)
                            first = false;
                    }
            lane[t] = sum;
        }
        for (int64_t half = 16; half >= 1; half /= 2)
            for (int64_t t = 0; t < half; t++)
                lane[t] = w(true, lane[t] + lane[t + half]);
        warp[j] = lane[0];
    }
    return w(true, w(true, warp[0] + warp[2]) + w(true, warp[1] + warp[3]));
}

/* y_c = sum_r A_rc x_r: a thread chains the rows it holds, then the lanes of its column and the
 * warps are added. */
static void state_dot(sum_order order, int64_t D, const double *A, const double *x, double *y) {
    const bool f32 = order != SUM64;
    const int64_t down = order == SUM_WARP ? rows_in_warp(D) : 1;
    const int64_t parts = order == SUM_WARP ? 4 * down : 1;
    double part[16];
    for (int64_t c = 0; c < D; c++) {
        for (int64_t j = 0; j < parts; j++) {
            double sum = 0;
            int64_t row = j;
            if (order == SUM_WARP) {
                const int64_t next = j + parts;
                sum = fma_w(f32, A[row * D + c], x[row], w(f32, A[next * D + c] * x[next]));
                row = next + parts;
            }
            for (; row < D; row += parts)
                sum = fma_w(f32, A[row * D + c], x[row], sum);
            part[j] = sum;
        }
        for (int64_t half = down / 2; half >= 1; half /= 2) /* rows of one warp */
            for (int64_t j = 0; j < parts; j += down)
                for (int64_t i = 0; i < half; i++)
                    part[j + i] = w(f32, part[j + i] + part[j + i + half]);
        if (parts == 1)
            y[c] = part[0];
        else
            y[c] = w(f32, w(f32, part[0] + part[2 * down]) + w(f32, part[down] + part[3 * down]));
    }
}

static void decode_head(void *context, int64_t index, int worker) {
    const decode *const run = context;
    const chunk_plan *const plan = run->plan;
    const gka_problem *const problem = plan->problem;
    const int64_t D = plan->D, h = index % problem->H, n = index / problem->H;
    const gka_span span = gka_problem_span(problem, n);
    const int64_t row = (span.b * problem->T + span.begin) * problem->H + h;
    const bool f32 = plan->f32;
    double *const P = run->workspace + worker * run->each, *const O = P + D * D,
                  *const H = O + D * D, *const q = H + D * D, *const k = q + D, *const x = k + D,
                  *const x_prev = x + D, *const scaled = x_prev + D, *const y = scaled + D,
                  *const z = y + D;
    gka_problem_q(problem, span.b, span.begin, h, q);
    gka_problem_k(problem, span.b, span.begin, h, k);
    gka_problem_h0(problem, n, h, P);
    const double g = gka_problem_g(problem, span.b, span.begin, h);
    const double gamma = plan->gated ? gka_chunk_exp(plan, g) : 1;
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++) {
            O[i * D + j] = chunk_low(plan, GKA_POINT_DECODE_OUTER, w(f32, k[i] * k[j]));
            H[i * D + j] = fma_w(f32, P[i * D + j], gamma, O[i * D + j]);
        }
    const double f = gka_chunk_sqrt(plan, norm(plan->order, D, H));
    chebyshev_row c;
    chebyshev_start(plan, f, &c);
    for (int64_t i = 0; i < D; i++) {
        x[i] = w(f32, c.step * q[i]);
        x_prev[i] = 0;
    }
    for (int r = 0; r < plan->num_iter; r++) {
        for (int64_t i = 0; i < D; i++)
            scaled[i] = w(f32, gamma * x[i]);
        state_dot(plan->order, D, P, scaled, y);
        state_dot(plan->order, D, O, x, z);
        for (int64_t i = 0; i < D; i++)
            y[i] = w(f32, y[i] + z[i]);
        chebyshev_next(plan, &c);
        chebyshev_row_step(f32, false, D, &c, y, q, x, x_prev);
    }
    if (!plan->hardware && f == 0)
        memset(x, 0, (size_t)D * sizeof(double));
    if (run->out->fro)
        run->out->fro[row] = f;
    if (run->out->x)
        for (int64_t i = 0; i < D; i++)
            run->out->x[row * D + i] = gka_chunk_round(plan->stored, x[i]);
    if (run->out->h_final)
        memcpy(run->out->h_final + index * D * D, H, (size_t)(D * D) * sizeof(double));
}

/* A single token has no chunk, so the chunk size is not read. */
static gka_problem one_token(const gka_problem *problem) {
    gka_problem one = *problem;
    one.chunk_size = 16;
    return one;
}

gka_status gka_chunk_decode_check(const gka_problem *problem, const gka_profile *profile,
                                  gka_error *error) {
    for (int64_t n = 0; n < problem->N; n++) {
        const gka_span span = gka_problem_span(problem, n);
        if (span.end - span.begin != 1)
            return gka_fail(error, GKA_BAD_ARGUMENT,
                            "decode: sequence %lld has %lld tokens: expected one", (long long)n,
                            (long long)(span.end - span.begin));
    }
    if (profile->form != GKA_THREE_TERM)
        return gka_fail(error, GKA_UNSUPPORTED, "decode: the form %s: expected three-term",
                        gka_form_name(profile->form));
    const gka_problem one = one_token(problem);
    const gka_status status = gka_chunk_check(&one, profile, error);
    if (status == GKA_OK && profile->device->core[GKA_MMA_BF16].group != 0 && problem->D < 32)
        return gka_fail(error, GKA_UNSUPPORTED, "decode: D = %lld: expected at least 32",
                        (long long)problem->D);
    return status;
}

gka_status gka_chunk_decode(const gka_problem *problem, const gka_profile *profile,
                            gka_outputs *out, gka_error *error) {
    const gka_status status = gka_chunk_decode_check(problem, profile, error);
    if (status != GKA_OK)
        return status;
    const gka_problem one = one_token(problem);
    chunk_plan plan;
    gka_chunk_plan_init(&plan, &one, profile);
    const int64_t D = plan.D, each = 3 * D * D + 8 * D;
    double *const workspace = gka_alloc((size_t)gka_threads() * (size_t)each, sizeof *workspace);
    if (!workspace)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory: decode");
    decode run = {&plan, out, workspace, each};
    const bool all = gka_parallel(problem->N * problem->H, decode_head, &run);
    gka_free(workspace);
    return all ? GKA_OK : gka_fail(error, GKA_INTERRUPTED, "interrupted");
}
