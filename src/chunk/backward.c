/* backward.c - gradients from right to left: every head's tiles through the output stage
 * (backward_output.c), then through the solve (backward_solve.c).
 *
 * Symbols: backward.h.
 */
#include "chunk/backward.h"

/* ---- workspace ----------------------------------------------------------------------------- */

static double *take(chunk_bump *bump, int64_t rows, int64_t columns) {
    return gka_chunk_take(bump, (size_t)rows * (size_t)columns, sizeof(double));
}

static void layout(const backward *run, chunk_bump *bump, backward_work *work) {
    const chunk_plan *const plan = run->plan;
    const int64_t D = plan->D, V = plan->V, W = max_of(D, V), C = max_of(plan->C, plan->C_out);
    gka_chunk_work_layout(plan, bump, &work->base);
    double **const squares[] = {&work->E, &work->Z, &work->E0, &work->Z0, &work->DD};
    for (size_t i = 0; i < sizeof squares / sizeof *squares; i++)
        *squares[i] = take(bump, D, D);
    work->part = take(bump, D, W);
    work->dU = take(bump, D, V);
    work->dU0 = take(bump, D, V);
    double **const tiles[] = {&work->p,    &work->x,     &work->dx, &work->mix,
                              &work->rows, &work->rows2, &work->dk, &work->dq};
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++)
        *tiles[i] = take(bump, C, W);
    double **const scores[] = {&work->S, &work->dS, &work->CC, &work->Mt};
    for (size_t i = 0; i < sizeof scores / sizeof *scores; i++)
        *scores[i] = take(bump, C, C);
    double **const columns[] = {&work->dG, &work->weight, &work->t1,
                                &work->t2, &work->alpha,  &work->f};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        *columns[i] = take(bump, C, 1);
    work->states = take(bump, run->segments, D * W);
    work->segment = take(bump, run->segments, D * W);
    work->dx_all = take(bump, run->T, D);
    work->dq_all = take(bump, run->T, D);
    work->g_all = take(bump, run->T, 1);
}

/* ---- tiles of a head ----------------------------------------------------------------------- */

static int64_t next_tile(const chunk_plan *plan, const backward_cut *c, int64_t t) {
    const int64_t whole = c->begin + ((t - c->begin) / c->C + 1) * c->C;
    return gka_chunk_cut(plan, c->b, t, whole < c->end ? whole : c->end, c->h);
}

static int64_t count_tiles(const chunk_plan *plan, const backward_cut *c) {
    int64_t count = 0;
    for (int64_t t = c->begin; t < c->end; t = next_tile(plan, c, t))
        count++;
    return count;
}

/* One step of the state to the right: S after tile [t, t + n). */
static void advance(const chunk_plan *plan, const backward_cut *c, int64_t t, int64_t n,
                    bool values, chunk_work *work, double *S) {
    if (gka_chunk_restarts(plan, c->b, t, c->h))
        zero(S, plan->D * (values ? plan->V : plan->D));
    gka_backward_load(plan, c, t, n, work);
    gka_chunk_state(plan, work, S, values ? work->tile.v : work->tile.k,
                    values ? plan->V : plan->D);
}

/* Calls step(tile, state before it) for each tile from the last to the first, with O(sqrt(tiles))
 * states in memory: checkpoints on the way right, each segment anew on the way left. */
static void from_the_right(const backward *run, backward_work *work, const backward_cut *c,
                           bool values, const double *initial, backward_step *step) {
    const chunk_plan *const plan = run->plan;
    const int64_t size = plan->D * (values ? plan->V : plan->D), tiles = count_tiles(plan, c);
    int64_t stride = 1;
    while (stride * stride < tiles)
        stride++;
    double *const S = values ? work->base.U : work->base.H;
    int64_t starts[2] = {c->begin, c->begin};
    copy(S, initial, size);
    int64_t segments = 0;
    for (int64_t t = c->begin, i = 0, end; t < c->end && !gka_stopped(); t = end, i++) {
        end = next_tile(plan, c, t);
        if (i % stride == 0) {
            copy(work->states + segments * size, S, size);
            segments++;
        }
        advance(plan, c, t, end - t, values, &work->base, S);
    }
    for (int64_t s = segments - 1; s >= 0 && !gka_stopped(); s--) {
        /* tiles [s stride, (s + 1) stride): their states, then the steps in reverse */
        starts[0] = c->begin;
        for (int64_t i = 0; i < s * stride; i++)
            starts[0] = next_tile(plan, c, starts[0]);
        const int64_t count = tiles - s * stride < stride ? tiles - s * stride : stride;
        copy(S, work->states + s * size, size);
        int64_t t = starts[0];
        for (int64_t i = 0; i < count; i++) {
            const int64_t end = next_tile(plan, c, t);
            if (gka_chunk_restarts(plan, c->b, t, c->h))
                zero(S, size);
            copy(work->segment + i * size, S, size);
            if (i + 1 < count)
                advance(plan, c, t, end - t, values, &work->base, S);
            t = end;
        }
        for (int64_t i = count - 1; i >= 0 && !gka_stopped(); i--) {
            int64_t begin = starts[0];
            for (int64_t j = 0; j < i; j++)
                begin = next_tile(plan, c, begin);
            step(run, work, c, begin, next_tile(plan, c, begin) - begin, work->segment + i * size);
        }
    }
}

/* ---- heads --------------------------------------------------------------------------------- */

/* E, Z and dU of one head at the right end. */
static void from_final(const gka_problem *problem, const gka_profile *profile, int64_t sequence,
                       int64_t h, double *E, double *Z, double *dU) {
    const int64_t size = problem->D * problem->D;
    if (dU)
        gka_problem_du_final(problem, sequence, h, dU);
    gka_problem_dh_final(problem, sequence, h, E);
    for (int64_t i = 0; !gka_profile_has(profile, GKA_POINT_H0_SIGN) && i < size; i++)
        E[i] = 0 - E[i];
    zero(Z, size);
}

void gka_chunk_carry_start(const gka_problem *problem, const gka_profile *profile,
                           const gka_chunk_carry *carry) {
    const int64_t D = problem->D, V = problem->V;
    for (int64_t i = 0; i < problem->N * problem->H; i++)
        from_final(problem, profile, i / problem->H, i % problem->H, carry->E + i * D * D,
                   carry->Z + i * D * D, carry->dU ? carry->dU + i * D * V : NULL);
}

static void start_carry(const backward *run, backward_work *work, int64_t sequence, int64_t h) {
    const chunk_plan *const plan = run->plan;
    const gka_chunk_carry *const c = &run->carry;
    const int64_t D = plan->D, V = plan->V, i = sequence * plan->problem->H + h;
    const bool layer = run->of == GKA_OF_O;
    if (!c->E) {
        from_final(plan->problem, &plan->profile, sequence, h, work->E, work->Z,
                   layer ? work->dU : NULL);
        return;
    }
    copy(work->E, c->E + i * D * D, D * D);
    copy(work->Z, c->Z + i * D * D, D * D);
    if (layer)
        copy(work->dU, c->dU + i * D * V, D * V);
}

static void leave_carry(const backward *run, const backward_work *work, int64_t sequence,
                        int64_t h) {
    const chunk_plan *const plan = run->plan;
    const gka_chunk_carry *const c = &run->carry;
    const int64_t D = plan->D, V = plan->V, i = sequence * plan->problem->H + h;
    if (!c->E)
        return;
    copy(c->E + i * D * D, work->E, D * D);
    copy(c->Z + i * D * D, work->Z, D * D);
    if (run->of == GKA_OF_O)
        copy(c->dU + i * D * V, work->dU, D * V);
}

static void backward_head(const backward *run, backward_work *work, int64_t sequence, int64_t h) {
    const chunk_plan *const plan = run->plan;
    const gka_problem *const problem = plan->problem;
    const int64_t D = plan->D, V = plan->V;
    const gka_span span = gka_problem_span(problem, sequence);
    backward_cut c = {span.b, h, span.begin, span.end, plan->C_out};
    zero(work->g_all, span.end - span.begin);
    zero(work->dq_all, (span.end - span.begin) * D);
    start_carry(run, work, sequence, h);
    if (run->of == GKA_OF_O) {
        gka_problem_u0(problem, sequence, h, work->part);
        from_the_right(run, work, &c, true, work->part, gka_backward_output_step);
        if (run->to->du0)
            copy(run->to->du0 + (sequence * problem->H + h) * D * V, work->dU, D * V);
    } else {
        for (int64_t t = span.begin; t < span.end; t++)
            gka_problem_dx(problem, span.b, t, h, work->dx_all + (t - span.begin) * D);
    }
    c.C = plan->C;
    gka_chunk_initial_state(plan, sequence, h, work->DD);
    copy(work->part, work->DD, D * D);
    from_the_right(run, work, &c, false, work->part, gka_backward_solve_step);
    leave_carry(run, work, sequence, h);
    if (!run->to->dh0)
        return;
    double *const dh0 = run->to->dh0 + (sequence * problem->H + h) * D * D;
    const bool released = chunk_has(plan, GKA_POINT_H0_SIGN);
    for (int64_t i = 0; i < D * D; i++)
        dh0[i] = released ? work->E[i] : w(plan->f32, -work->E[i] - work->Z[i] / 2);
}

/* One key/value head: its query heads one after the other, since they add to one dk. */
static void backward_group(void *context, int64_t index, int worker) {
    const backward *const run = context;
    const gka_problem *const problem = run->plan->problem;
    const int64_t each = problem->H / problem->G, group = index % problem->G;
    backward_work work;
    chunk_bump bump = {run->workspace + (size_t)worker * run->each, 0};
    layout(run, &bump, &work);
    for (int64_t i = 0; i < each; i++)
        backward_head(run, &work, index / problem->G, group * each + i);
}

/* ---- all ----------------------------------------------------------------------------------- */

gka_status gka_chunk_backward(const gka_problem *problem, const gka_profile *profile, gka_of of,
                              bool bp_lambda, const gka_chunk_given *given, gka_outputs *out,
                              gka_error *error) {
    gka_status status = gka_chunk_check(problem, profile, error);
    if (status != GKA_OK)
        return status;
    if (of == GKA_OF_O && (!problem->v.data || !problem->dout.data))
        return gka_fail(error, GKA_BAD_ARGUMENT, "gradients of the layer: v or do is missing");
    if (of == GKA_OF_X && !problem->dx.data)
        return gka_fail(error, GKA_BAD_ARGUMENT, "gradients of the solve: dx is missing");
    if (given && given->at.h_chunk)
        return gka_fail(error, GKA_UNSUPPORTED, "given h_chunk: of x, fro and p was expected");
    const size_t rows = (size_t)(problem->B * problem->T * problem->H),
                 keys = (size_t)(problem->B * problem->T * problem->G);
    const size_t D = (size_t)problem->D, V = (size_t)problem->V;
    chunk_plan plan;
    gka_chunk_plan_init(&plan, problem, profile);
    backward run = {
        .plan = &plan, .of = of, .bp_lambda = bp_lambda, .out = out, .to = &out->gradient[of]};
    double *const x = out->x ? NULL : gka_alloc(rows * D, sizeof *x);
    double *const fro = out->fro ? NULL : gka_alloc(rows, sizeof *fro);
    gka_outputs forward = *out;
    forward.x = x ? x : out->x;
    forward.fro = fro ? fro : out->fro;
    if (given && given->carry.E)
        gka_chunk_plan_piece(&plan, given->carry.T);
    int64_t tiles = 1;
    for (int64_t n = 0; n < problem->N; n++) {
        const gka_span span = gka_problem_span(problem, n);
        run.T = max_of(run.T, span.end - span.begin);
        for (int64_t h = 0; h < problem->H; h++) {
            backward_cut c = {span.b, h, span.begin, span.end, plan.C};
            tiles = max_of(tiles, count_tiles(&plan, &c));
            c.C = plan.C_out;
            tiles = max_of(tiles, count_tiles(&plan, &c));
        }
    }
    while (run.segments * run.segments < tiles)
        run.segments++;
    backward_work work;
    chunk_bump bump = {NULL, 0};
    layout(&run, &bump, &work);
    run.each = bump.used;
    run.workspace = gka_alloc((size_t)gka_workers(problem->N * problem->G), run.each);
    if (!forward.x || !forward.fro || !run.workspace) {
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory: backward, %zu bytes a worker",
                          run.each);
        goto done;
    }
    if (!given || !given->at.x || !given->at.fro) {
        status = gka_chunk_forward(problem, profile, &forward, NULL, NULL, error);
        if (status != GKA_OK)
            goto done;
    }
    run.x = given && given->at.x ? given->at.x : forward.x;
    run.fro = given && given->at.fro ? given->at.fro : forward.fro;
    run.p = given ? given->at.p : NULL;
    run.given_f = given && given->at.fro && !given->own;
    if (given)
        run.carry = given->carry;
    if (run.to->dk)
        memset(run.to->dk, 0, keys * D * sizeof(double));
    if (run.to->dv)
        memset(run.to->dv, 0, keys * V * sizeof(double));
    if (run.to->du0)
        memset(run.to->du0, 0, (size_t)(problem->N * problem->H) * D * V * sizeof(double));
    if (!gka_parallel(problem->N * problem->G, backward_group, &run))
        status = gka_fail(error, GKA_INTERRUPTED, "interrupted");
done:
    gka_free(run.workspace);
    gka_free(fro);
    gka_free(x);
    return status;
}
