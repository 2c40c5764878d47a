/* backward_tile.c - what both steps of the gradients do on a tile: loading it, adding to keys and
 * values, the derivative by the gates (backward.h). */
#include "chunk/backward.h"

void gka_backward_load(const chunk_plan *plan, const backward_cut *c, int64_t t, int64_t n,
                       chunk_work *work) {
    gka_chunk_load(plan, c->b, t, n, c->h, c->C, gka_chunk_restarts(plan, c->b, t, c->h),
                   &work->tile);
    gka_chunk_gates(plan, false, &work->tile, work->row);
}

void gka_backward_add_rows(const backward *run, const backward_cut *c, int64_t t, int64_t n,
                           int64_t width, double *to, const double *rows, bool round) {
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

void gka_backward_through_gates(const chunk_plan *plan, int64_t C, int64_t n, const double *W,
                                const double *a, const double *b, double c, double *scratch,
                                double *dg) {
    const bool f32 = plan->f32;
    double *const before = scratch; /* sum_{j < i} W_tj + a_t */
    double keys = c;                /* c + sum_{j < i} b_j */
    for (int64_t t = 0; t < n; t++)
        before[t] = a ? a[t] : 0;
    for (int64_t i = 0; i < n; i++) {
        double tokens = 0;
        for (int64_t t = n - 1; t >= i; t--) {
            if (W && i > 0)
                before[t] = w(f32, before[t] + W[t * C + i - 1]);
            tokens = w(f32, tokens + before[t]);
        }
        if (b && i > 0)
            keys = w(f32, keys + b[i - 1]);
        dg[i] = w(f32, dg[i] + w(f32, tokens + keys));
    }
}

void gka_backward_suffix_sum(const chunk_plan *plan, int64_t C, const double *dG, double *scratch,
                             double *dg) {
    const bool f32 = plan->f32;
    if (!plan->hardware) {
        copy(dg, dG, C);
        return;
    }
    if (plan->order != SUM_WARP) {
        double sum = 0;
        for (int64_t i = C - 1; i >= 0; i--)
            dg[i] = sum = w(f32, sum + dG[i]);
        return;
    }
    const double total = sum_rows(plan, GKA_LAUNCH_GATES, C, dG);
    gka_scan_sum(plan->order, C, dG, scratch);
    for (int64_t i = 0; i < C; i++)
        dg[i] = w(f32, w(f32, total - scratch[i]) + dG[i]);
}
