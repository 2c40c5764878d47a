/* decode.c - what src/cuda/decode.cu computes: one token in binary32. */
#include "gka/replay.h"
#include "replay/head.h"

#include "arith/pinned.h"

/* sum_i column_i b_i, the column of a [D,width] matrix, in four chains i mod 4; then (0 + 1) + (2 +
 * 3).
 */
static float column_dot(int64_t D, int64_t width, const float *matrix, int64_t j, const float *b) {
    float s[4] = {0};
    for (int64_t i = 0; i < D; i++)
        s[i % 4] = fmaf(matrix[i * width + j], b[i], s[i % 4]);
    return (s[0] + s[1]) + (s[2] + s[3]);
}

/* The states are kept in the type of q where the problem's are: rounded when they are stored. */
static void store_state(const gka_problem *problem, int64_t b, int64_t h, int64_t count,
                        const float *S, double *to) {
    const gka_dtype half = problem->q.dtype;
    const bool rounded = (problem->h0.data != NULL && problem->h0.dtype == half) ||
                         (problem->u0.data != NULL && problem->u0.dtype == half);
    gka_replay_store_state(problem, b, h, count, 1, S, to);
    double *const own = to == NULL ? NULL : to + (b * problem->H + h) * count;
    for (int64_t i = 0; rounded && own != NULL && i < count; i++)
        own[i] = low_of(half == GKA_F16, own[i]);
}

static void decode_head(const gka_problem *problem, int64_t b, int64_t h, float *S, double *scratch,
                        gka_outputs *out) {
    const int64_t D = problem->D, V = problem->V, head_at = b * problem->H + h;
    const float gamma =
        problem->g.data != NULL ? gka_pinned_expf((float)gka_problem_g(problem, b, 0, h)) : 1.0f;
    const float a = (float)problem->ridge_ratio, alpha = (float)gka_problem_alpha(problem, b, 0, h);
    const bool fp16 = problem->q.dtype == GKA_F16;
    float q[MAX_D], k[MAX_D], v[MAX_V], r[MAX_D], d[MAX_D], x[MAX_D];
    gka_replay_read_rows(problem, gka_problem_q, b, 0, 1, h, D, q);
    gka_replay_read_rows(problem, gka_problem_k, b, 0, 1, h, D, k);
    gka_replay_read_state(problem, false, b, h, scratch, S);
    const bool before = problem->h0.data != NULL;
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++)
            S[i * D + j] = fmaf(k[i], k[j], before ? gamma * S[i * D + j] : 0.0f);
    store_state(problem, b, h, D * D, S, out->h_final);
    float f2 = 0;
    for (int64_t warp = 0; warp < D / 32; warp++) {
        float lane[32];
        for (int64_t l = 0; l < 32; l++) {
            float column[MAX_D];
            for (int64_t i = 0; i < D; i++)
                column[i] = S[i * D + warp * 32 + l];
            lane[l] = column_dot(D, D, S, warp * 32 + l, column);
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
                product_of[j] = column_dot(D, D, S, j, d);
            for (int64_t j = 0; j < D; j++) {
                r[j] = r[j] - fmaf(lambda, d[j], product_of[j]);
                d[j] = fmaf(keep, d[j], add * r[j]);
                x[j] = x[j] + d[j];
            }
            tau = next;
        }
    }
    for (int64_t j = 0; out->x != NULL && j < D; j++)
        out->x[head_at * D + j] = low_of(fp16, x[j]);
    if (problem->V == 0 || (out->o == NULL && out->u_final == NULL))
        return;
    gka_replay_read_rows(problem, gka_problem_v, b, 0, 1, h, V, v);
    gka_replay_read_state(problem, true, b, h, scratch, S);
    const bool had = problem->u0.data != NULL;
    for (int64_t i = 0; i < D; i++) {
        d[i] = fmaf(alpha, x[i] - q[i], q[i]);
        for (int64_t j = 0; j < V; j++)
            S[i * V + j] = fmaf(k[i], v[j], had ? gamma * S[i * V + j] : 0.0f);
    }
    store_state(problem, b, h, D * V, S, out->u_final);
    for (int64_t j = 0; out->o != NULL && j < V; j++)
        out->o[head_at * V + j] =
            low_of(fp16, (double)((float)problem->scale * column_dot(D, V, S, j, d)));
}

gka_status gka_replay_decode_check(const gka_problem *problem, gka_error *error) {
    const gka_status status = gka_replay_check(problem, GKA_TWO_TERM, false, error);
    if (status == GKA_OK && (problem->T != 1 || problem->cu_seqlens != NULL))
        return gka_fail(error, GKA_BAD_ARGUMENT, "T is %lld%s: a decode step has one token",
                        (long long)problem->T, problem->cu_seqlens != NULL ? ", packed" : "");
    return status;
}

gka_status gka_replay_decode(const gka_problem *problem, gka_outputs *out, gka_error *error) {
    gka_status status = gka_replay_decode_check(problem, error);
    if (status != GKA_OK)
        return status;
    const size_t square =
        (size_t)(problem->D * (problem->V > problem->D ? problem->V : problem->D));
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
