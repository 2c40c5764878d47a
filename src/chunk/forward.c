/* forward.c - a sequence from left to right: solve by chunks of C, output by tiles of C_out.
 *
 * Two streams over the same tokens. The solver's reads the snapshot of H before its chunk; the
 * output stage's reads the snapshot of U before its tile, and runs as soon as it has x for a
 * whole tile. Neither forms H_t; memory does not depend on T.
 */
#include "chunk/chunk.h"
#include "problem/check.h"

#include <stdlib.h>

/* ---- problem ------------------------------------------------------------------------------- */

static bool is_of(const gka_view *view, gka_dtype dtype) {
    return !view->data || view->dtype == dtype;
}

static gka_status check_eight_bits(const gka_profile *profile, gka_error *error) {
    const char *const format = gka_mma_input_name(profile->fp8);
    const gka_tensor_core *const core = &profile->device->core[profile->fp8];
    if (core->group == 0 || core->result == GKA_RESULT_FP16)
        return gka_fail(error, GKA_UNSUPPORTED,
                        "fp8=%s: %s has no unit for it that gives binary32, as far as is known",
                        format, profile->device->name);
    if (!gka_profile_has(profile, GKA_POINT_TENSOR_CORE))
        return gka_fail(error, GKA_UNSUPPORTED, "fp8=%s: tensor_core=released was expected",
                        format);
    if (profile->promote && core->apart)
        return gka_fail(
            error, GKA_UNSUPPORTED,
            "promote=%d: %s itself begins a new sum every %d products of %s; promote=0 was "
            "expected",
            profile->promote, profile->device->name, core->apart, format);
    return profile->promote % core->group == 0
               ? GKA_OK
               : gka_fail(error, GKA_UNSUPPORTED, "promote=%d: a multiple of %d was expected on %s",
                          profile->promote, core->group, profile->device->name);
}

gka_status gka_chunk_check(const gka_problem *problem, const gka_profile *profile,
                           gka_error *error) {
    const gka_status folded = gka_problem_check_kalmanet(problem, error);
    if (folded != GKA_OK)
        return folded;
    if (problem->chunk_size < 1)
        return gka_fail(error, GKA_BAD_ARGUMENT, "chunk_size is %lld: expected at least 1",
                        (long long)problem->chunk_size);
    const gka_status status = gka_device_check(profile->device, error);
    if (status != GKA_OK)
        return status;
    if (profile->fp16 &&
        (profile->operand == GKA_OPERAND_SPLIT || profile->store == 2 || profile->handoff == 2))
        return gka_fail(error, GKA_UNSUPPORTED, "inputs=fp16: two parts are of bf16 alone");
    if (profile->fp16 && profile->operand == GKA_OPERAND_SCALED)
        return gka_fail(error, GKA_UNSUPPORTED, "inputs=fp16: scaled operands go with bf16 alone");
    if (profile->fp8) {
        const gka_status eight = check_eight_bits(profile, error);
        if (eight != GKA_OK)
            return eight;
    }
    if (profile->device->core[GKA_MMA_BF16].group == 0)
        return GKA_OK;
    const struct {
        const char *name;
        int64_t value;
    } sizes[] = {{"D", problem->D}, {"V", problem->V}, {"chunk_size", problem->chunk_size}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].value % 16 != 0)
            return gka_fail(error, GKA_UNSUPPORTED,
                            "%s = %lld: the tensor core of %s wants a multiple of 16",
                            sizes[i].name, (long long)sizes[i].value, profile->device->name);
    const gka_dtype dtype = profile->fp16 ? GKA_F16 : GKA_BF16;
    const gka_view *const views[] = {&problem->q,     &problem->k,  &problem->v,
                                     &problem->alpha, &problem->dx, &problem->dout};
    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        if (!is_of(views[i], dtype))
            return gka_fail(error, GKA_UNSUPPORTED,
                            "profile %s wants q, k, v, alpha and the cotangents in %s",
                            profile->name, gka_dtype_name(dtype));
    return GKA_OK;
}

size_t gka_chunk_workspace(const gka_problem *problem, const gka_profile *profile, int workers) {
    chunk_plan plan;
    chunk_work work;
    chunk_bump bump = {NULL, 0};
    gka_chunk_plan_init(&plan, problem, profile);
    gka_chunk_work_layout(&plan, &bump, &work);
    return bump.used * (size_t)workers;
}

/* ---- one sequence and head ----------------------------------------------------------------- */

typedef struct forward {
    const chunk_plan *plan;
    gka_outputs *out;
    char *workspace;
    size_t each;                /* bytes of one worker */
    const int64_t *first_chunk; /* of each sequence */
    int64_t chunks;
    gka_chunk_report *reports; /* one per worker */
} forward;

static void store_rows(double *to, const gka_problem *problem, int64_t b, int64_t t, int64_t h,
                       int64_t rows, int64_t width, const double *from) {
    if (to)
        for (int64_t i = 0; i < rows; i++)
            memcpy(to + ((b * problem->T + t + i) * problem->H + h) * width, from + i * width,
                   (size_t)width * sizeof(double));
}

/* The solver's tile of n tokens from t on: x rounded as stored, f, G; H advanced. */
static void solve_tile(forward *run, chunk_work *work, int64_t b, int64_t t, int64_t n, int64_t h,
                       double *x_out, gka_chunk_report *report) {
    const chunk_plan *const plan = run->plan;
    const gka_problem *const problem = plan->problem;
    const int64_t D = plan->D;
    const bool restart = gka_chunk_restarts(plan, b, t, h);
    gka_chunk_load(plan, b, t, n, h, plan->C, restart, &work->tile);
    if (restart)
        memset(work->H, 0, (size_t)(D * D) * sizeof(double));
    gka_chunk_gates(plan, chunk_has(plan, GKA_POINT_MASK), &work->tile, work->row);
    gka_chunk_snapshot(plan, GKA_POINT_STATE_SNAPSHOT, D * D, work->H, work->H0);
    gka_chunk_norm(plan, work, work->f);
    gka_chunk_solve(plan, work, work->tile.q, work->used_f, false);
    for (int64_t i = 0; i < n * D; i++) {
        x_out[i] = gka_chunk_round(plan->stored, work->x[i]);
        report->nonfinite += !isfinite(x_out[i]);
    }
    for (int64_t i = 0; i < n; i++)
        report->empty_states += work->f[i] == 0;
    store_rows(run->out->x, problem, b, t, h, n, D, x_out);
    store_rows(run->out->fro, problem, b, t, h, n, 1, work->f);
    store_rows(run->out->g_cumsum, problem, b, t, h, n, 1, work->tile.G);
    gka_chunk_state(plan, work, work->H, work->tile.k, D);
}

/* o of the tile's n tokens from q' [C,D], U0 and the tile's k and v, in o [C,V]. */
void gka_chunk_output(const chunk_plan *plan, chunk_work *work, const double *mixed, double *o) {
    const chunk_tile *const tile = &work->tile;
    const int64_t D = plan->D, V = plan->V, C = tile->C;
    const bool f32 = plan->f32, rounded = chunk_has(plan, GKA_POINT_OUTPUT_SCORE);
    double *const A = work->score, *const inner = work->grad;
    memset(o, 0, (size_t)(C * V) * sizeof(double));
    memset(A, 0, (size_t)(C * C) * sizeof(double));
    memset(inner, 0, (size_t)(C * V) * sizeof(double));
    const gka_matrix Q = {mixed, D, 1};
    const chunk_kind state = chunk_has(plan, GKA_POINT_OUTPUT_STATE) ? plan->low : CHUNK_WORKING;
    gka_chunk_multiply(plan, work, plan->mixed, state, C, V, D, Q, (gka_matrix){work->U0, V, 1}, o,
                       V);
    gka_chunk_multiply(plan, work, plan->mixed, plan->low, C, C, D, Q, (gka_matrix){tile->k, 1, D},
                       A, C);
    for (int64_t i = 0; i < C * C; i++) {
        const double a = plan->gated ? w(f32, A[i] * tile->M[i]) : tile->M[i] != 0 ? A[i] : 0;
        A[i] = chunk_low(plan, GKA_POINT_OUTPUT_SCORE, a);
    }
    chunk_product(plan, work, rounded, C, V, C, (gka_matrix){A, C, 1}, (gka_matrix){tile->v, V, 1},
                  inner, V);
    for (int64_t i = 0; i < tile->n; i++)
        for (int64_t j = i * V; j < (i + 1) * V; j++) {
            const double outer = plan->gated ? w(f32, o[j] * tile->expG[i]) : o[j];
            const double fused = plan->scores_fused ? inner[j] : outer,
                         other = plan->scores_fused ? outer : inner[j];
            o[j] = chunk_low(plan, GKA_POINT_STORE_O,
                             fma_w(f32, plan->s, fused, w(f32, plan->s * other)));
        }
}

void gka_chunk_snapshot(const chunk_plan *plan, gka_point point, int64_t count, const double *S,
                        double *S0) {
    for (int64_t i = 0; i < count; i++)
        S0[i] = chunk_low(plan, point, S[i]);
}

/* o_t = s exp(G_t) U_0^T q' + s sum_j M_tj <q'_t, k_j> v_j */
static void output_tile(forward *run, chunk_work *work, int64_t b, int64_t t, int64_t n, int64_t h,
                        const double *x) {
    const chunk_plan *const plan = run->plan;
    const gka_problem *const problem = plan->problem;
    const int64_t D = plan->D, V = plan->V, C = plan->C_out;
    const bool restart = gka_chunk_restarts(plan, b, t, h);
    chunk_tile *const tile = &work->tile;
    gka_chunk_load(plan, b, t, n, h, C, restart, tile);
    if (restart)
        memset(work->U, 0, (size_t)(D * V) * sizeof(double));
    gka_chunk_gates(plan, false, tile, work->row);
    gka_chunk_snapshot(plan, GKA_POINT_OUTPUT_STATE, D * V, work->U, work->U0);
    for (int64_t i = 0; i < n; i++)
        work->row[i] = gka_problem_alpha(problem, b, t + i, h);
    double *const mixed = work->y, *const o = work->z;
    memset(mixed, 0, (size_t)(C * D) * sizeof(double));
    gka_chunk_mix(plan, n, tile->q, work->row, x, mixed);
    gka_chunk_output(plan, work, mixed, o);
    store_rows(run->out->o, problem, b, t, h, n, V, o);
    gka_chunk_state(plan, work, work->U, tile->v, V);
}

/* Runs `tile_of` over [begin, end) cut at tiles of C and at gates that are zero. */
static void forward_head(void *context, int64_t index, int worker) {
    forward *const run = context;
    const chunk_plan *const plan = run->plan;
    const gka_problem *const problem = plan->problem;
    const int64_t D = plan->D, V = plan->V, h = index % problem->H, sequence = index / problem->H;
    const gka_span span = gka_problem_span(problem, sequence);
    chunk_work work;
    chunk_bump bump = {run->workspace + (size_t)worker * run->each, 0};
    gka_chunk_work_layout(plan, &bump, &work);
    work.multiply_adds = &run->reports[worker].multiply_adds;
    gka_chunk_initial_state(plan, sequence, h, work.H);
    if (V)
        gka_problem_u0(problem, sequence, h, work.U);
    const bool output = V && (run->out->o || run->out->u_final);
    int64_t waiting = 0, out_t = span.begin;
    for (int64_t t = span.begin, chunk = run->first_chunk[sequence]; t < span.end && !gka_stopped();
         t += plan->C, chunk++) {
        const int64_t end = t + plan->C < span.end ? t + plan->C : span.end;
        if (run->out->h_chunk) {
            gka_chunk_snapshot(plan, GKA_POINT_STATE_SNAPSHOT, D * D, work.H, work.H0);
            memcpy(run->out->h_chunk + ((span.b * run->chunks + chunk) * problem->H + h) * D * D,
                   work.H0, (size_t)(D * D) * sizeof(double));
        }
        for (int64_t from = t, to; from < end; from = to) {
            to = gka_chunk_cut(plan, span.b, from, end, h);
            solve_tile(run, &work, span.b, from, to - from, h,
                       work.x_wait + (waiting + from - t) * D, &run->reports[worker]);
        }
        waiting += end - t;
        while (output && waiting > 0 && (waiting >= plan->C_out || end == span.end)) {
            const int64_t rows = waiting < plan->C_out ? waiting : plan->C_out;
            for (int64_t from = 0, to; from < rows; from = to) {
                to = gka_chunk_cut(plan, span.b, out_t + from, out_t + rows, h) - out_t;
                output_tile(run, &work, span.b, out_t + from, to - from, h, work.x_wait + from * D);
            }
            out_t += rows;
            waiting -= rows;
            memmove(work.x_wait, work.x_wait + rows * D, (size_t)(waiting * D) * sizeof(double));
        }
        if (!output)
            waiting = 0;
    }
    if (run->out->h_final)
        memcpy(run->out->h_final + index * D * D, work.H, (size_t)(D * D) * sizeof(double));
    if (run->out->u_final && V)
        memcpy(run->out->u_final + index * D * V, work.U, (size_t)(D * V) * sizeof(double));
}

/* ---- all ----------------------------------------------------------------------------------- */

gka_status gka_chunk_forward(const gka_problem *problem, const gka_profile *profile,
                             gka_outputs *out, void *workspace, gka_chunk_report *report,
                             gka_error *error) {
    gka_status status = gka_chunk_check(problem, profile, error);
    if (status != GKA_OK)
        return status;
    chunk_plan plan;
    gka_chunk_plan_init(&plan, problem, profile);
    const int workers = gka_workers(problem->N * problem->H);
    const size_t bytes = gka_chunk_workspace(problem, profile, workers);
    void *const taken = workspace ? NULL : gka_alloc(bytes, 1);
    int64_t *const first = gka_alloc((size_t)problem->N, sizeof *first);
    gka_chunk_report *const reports = gka_alloc((size_t)workers, sizeof *reports);
    if ((!workspace && !taken) || !first || !reports) {
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory: %zu bytes of workspace", bytes);
        goto done;
    }
    for (int64_t n = 1; problem->cu_seqlens && n < problem->N; n++) {
        const gka_span span = gka_problem_span(problem, n - 1);
        first[n] = first[n - 1] + (span.end - span.begin + plan.C - 1) / plan.C;
    }
    forward run = {.plan = &plan,
                   .out = out,
                   .workspace = workspace ? workspace : taken,
                   .each = bytes / (size_t)workers,
                   .first_chunk = first,
                   .chunks = gka_problem_chunks(problem),
                   .reports = reports};
    if (!gka_parallel(problem->N * problem->H, forward_head, &run))
        status = gka_fail(error, GKA_INTERRUPTED, "interrupted");
    if (report) {
        *report = (gka_chunk_report){0};
        for (int i = 0; i < workers; i++) {
            report->empty_states += reports[i].empty_states;
            report->nonfinite += reports[i].nonfinite;
            report->multiply_adds += reports[i].multiply_adds;
        }
    }
done:
    gka_free(reports);
    gka_free(first);
    gka_free(taken);
    return status;
}
