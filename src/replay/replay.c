/* replay.c - the kernels of src/cuda on a CPU, bit for bit (profile "gka-cuda").
 *
 * What src/cuda marks as RULE, in the same order and file by file (tile, forward, backward,
 * decode): products by the tensor core in ascending groups of 16 (gka_mma), every other operation
 * in binary32 with fmaf() where the kernel fuses, exp from arith/pinned.h, sums in the kernels'
 * written orders.
 */
#include "gka/replay.h"
#include "problem/check.h"
#include "replay/head.h"

#include <stdlib.h>

typedef struct replay {
    const gka_problem *problem;
    const gka_device *device;
    gka_form form;
    bool accurate;
    gka_outputs *out;
    gka_gradients *to; /* of out: those asked for; NULL: forward */
    gka_of of;
    const double *x, *fro;    /* the forward's, for the backward */
    float *head_dk, *head_dv; /* [B,H,T,D], by query head */
    char *memory;
    size_t each;
} replay;

/* The arrays of a head, cut from base; base = NULL only counts. Returns the bytes. */
static size_t lay_out(replay_head *w, char *base) {
    const int64_t D = w->D, V = w->V, T = w->T, chunks = w->chunks, DD = D * D, DV = D * V;
    const int64_t of_h = (D / 64) * (D / 64), of_u = (D / 64) * (V / 64), wide = D > V ? D : V;
    size_t used = 0;
    const struct {
        float **array;
        int64_t count;
    } arrays[] = {
        {&w->q, T * D},
        {&w->k, T * D},
        {&w->v, T * V},
        {&w->alpha, T},
        {&w->g, T},
        {&w->x, T * D},
        {&w->fro, T},
        {&w->dout, T * V},
        {&w->dx, T * D},
        {&w->p, T * D},
        {&w->rest, T * D},
        {&w->along, T},
        {&w->w, T},
        {&w->carry, T},
        {&w->energy, T},
        {&w->local, C},
        {&w->h_chunk, chunks * DD},
        {&w->u_chunk, chunks * DV},
        {&w->n_chunk, chunks * DD},
        {&w->e_chunk, chunks * DV},
        {&w->beta, chunks},
        {&w->n_inner, chunks * of_h},
        {&w->e_inner, chunks * of_u},
        {&w->state, D * wide},
        {&w->h_end, DD},
        {&w->u_end, DV},
        {&w->n_end, of_h},
        {&w->e_end, of_u},
        {&w->G, C},
        {&w->eg, C},
        {&w->mask, SQUARE},
        {&w->score, SQUARE},
        {&w->c, C * wide},
        {&w->more, C * wide},
        {&w->r, C * D},
        {&w->y, C * D},
        {&w->t1, C * wide},
        {&w->t2, C * wide},
        {&w->t3, C * wide},
        {&w->gradient, T * (wide + 2)},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        if (base != NULL)
            *arrays[i].array = (float *)(void *)(base + used);
        used += ((size_t)arrays[i].count * sizeof(float) + 63) / 64 * 64;
    }
    double **const doubles[] = {&w->da, &w->db, &w->dc};
    for (int i = 0; i < 3; i++) {
        if (base != NULL)
            *doubles[i] = (double *)(void *)(base + used);
        used += (size_t)(wide * wide) * sizeof(double);
    }
    if (base != NULL)
        w->packed = base + used;
    const gka_mma_input input = w->fp16 ? GKA_MMA_FP16 : GKA_MMA_BF16;
    const size_t left = gka_mma_left_size(w->device, input, wide, wide);
    const size_t right = gka_mma_right_size(w->device, input, wide, wide);
    return used + (left + right + 63) / 64 * 64;
}

/* A head of `tokens` tokens from `first` on. */
static replay_head head_of(const replay *run, int64_t first, int64_t tokens) {
    const gka_problem *const problem = run->problem;
    return (replay_head){.device = run->device,
                         .D = problem->D,
                         .V = problem->V > 0 ? problem->V : problem->D,
                         .T = tokens,
                         .chunks = (tokens + C - 1) / C,
                         .first = first,
                         .fp16 = problem->q.dtype == GKA_F16,
                         .gated = problem->g.data != NULL,
                         .a = (float)problem->ridge_ratio,
                         .s = (float)problem->scale,
                         .num_iter = problem->num_iter,
                         .form = run->form,
                         .accurate = run->accurate};
}

void gka_replay_read_rows(const gka_problem *problem, replay_reader *reader, int64_t b,
                          int64_t first, int64_t T, int64_t h, int64_t width, float *to) {
    double row[MAX_V];
    for (int64_t t = 0; t < T; t++) {
        reader(problem, b, first + t, h, row);
        for (int64_t i = 0; i < width; i++)
            to[t * width + i] = (float)row[i];
    }
}

void gka_replay_read_state(const gka_problem *problem, bool u, int64_t n, int64_t h,
                           double *scratch, float *to) {
    (u ? gka_problem_u0 : gka_problem_h0)(problem, n, h, scratch);
    for (int64_t i = 0; i < problem->D * (u ? problem->V : problem->D); i++)
        to[i] = (float)scratch[i];
}

/* Sequence n's part of a tensor of the problem. */
static void read_rows(replay_head *w, const gka_problem *problem, replay_reader *reader, int64_t b,
                      int64_t h, int64_t width, float *to) {
    gka_replay_read_rows(problem, reader, b, w->first, w->T, h, width, to);
}

static void load_head(replay_head *w, const gka_problem *problem, int64_t b, int64_t h) {
    read_rows(w, problem, gka_problem_q, b, h, w->D, w->q);
    read_rows(w, problem, gka_problem_k, b, h, w->D, w->k);
    if (problem->V > 0)
        read_rows(w, problem, gka_problem_v, b, h, w->V, w->v);
    for (int64_t t = 0; t < w->T; t++) {
        w->alpha[t] = (float)gka_problem_alpha(problem, b, w->first + t, h);
        w->g[t] = (float)gka_problem_g(problem, b, w->first + t, h);
    }
}

/* The head's [T, width] array into a [B,T,H,width] tensor. */
static void store(const replay_head *w, const gka_problem *problem, int64_t b, int64_t h,
                  int64_t width, const float *from, double *to) {
    for (int64_t t = 0; to != NULL && t < w->T; t++)
        for (int64_t i = 0; i < width; i++)
            to[((b * problem->T + w->first + t) * problem->H + h) * width + i] =
                from[t * width + i];
}

void gka_replay_store_state(const gka_problem *problem, int64_t n, int64_t h, int64_t count,
                            float factor, const float *from, double *to) {
    for (int64_t i = 0; to != NULL && i < count; i++)
        to[(n * problem->H + h) * count + i] = factor * from[i];
}

/* The chunks of the sequences before n. */
static int64_t chunks_before(const gka_problem *problem, int64_t n) {
    int64_t chunks = 0;
    for (int64_t i = 0; i < n; i++)
        chunks += gka_problem_span_chunks(problem, i);
    return chunks;
}

static void forward_head(replay_head *w, const replay *run, int64_t n, int64_t b, int64_t h) {
    const gka_problem *const problem = run->problem;
    const int64_t DD = w->D * w->D;
    const bool output = problem->V > 0 && (run->out->o != NULL || run->out->u_final != NULL);
    float *const o = w->gradient;
    gka_replay_read_state(problem, false, n, h, w->da, w->state);
    gka_replay_walk(w, w->k, w->h_chunk);
    gka_replay_store_state(problem, n, h, DD, 1, w->state, run->out->h_final);
    if (run->out->h_chunk != NULL) {
        const int64_t before = chunks_before(problem, n);
        for (int64_t i = 0; i < w->chunks * DD; i++)
            run->out->h_chunk[((before + i / DD) * problem->H + h) * DD + i % DD] = w->h_chunk[i];
    }
    if (output) {
        gka_replay_read_state(problem, true, n, h, w->da, w->state);
        gka_replay_walk(w, w->v, w->u_chunk);
        gka_replay_store_state(problem, n, h, w->D * w->V, 1, w->state, run->out->u_final);
    }
    for (int64_t chunk = 0; chunk < w->chunks && !gka_stopped(); chunk++)
        gka_replay_forward_chunk(w, chunk, output, o);
    store(w, problem, b, h, w->D, w->x, run->out->x);
    store(w, problem, b, h, 1, w->fro, run->out->fro);
    if (output)
        store(w, problem, b, h, w->V, o, run->out->o);
}

/* p of every chunk, from dx, and what the ridge makes of it. */
static void solve_back(replay_head *w) {
    const int64_t D = w->D;
    for (int64_t chunk = 0; chunk < w->chunks && !gka_stopped(); chunk++) {
        float fro[C] = {0};
        const int64_t n = rows_of(w, chunk), first = chunk * C;
        gka_replay_gates(w, chunk);
        gka_replay_tile(w, w->k, D, chunk, w->t1);
        gka_replay_tile(w, w->dx, D, chunk, w->t2);
        memcpy(fro, w->fro + first, (size_t)n * sizeof *fro);
        gka_replay_solve(w, w->t2, w->h_chunk + chunk * D * D, w->t1, fro, w->t3);
        for (int64_t i = 0; i < n * D; i++)
            w->p[first * D + i] = kept(w, w->t3[i]);
        gka_replay_weights(w, chunk);
        gka_replay_energy(w, chunk);
    }
}

static void backward_head(replay_head *w, const replay *run, int64_t n, int64_t b, int64_t h) {
    const gka_problem *const problem = run->problem;
    const int64_t D = w->D, V = w->V, T = w->T, H = problem->H;
    float *const dq = w->gradient, *const dalpha = dq + T * D, *const dg = dalpha + T;
    const int64_t own = (b * H + h) * problem->T + w->first;
    float *const dk = run->head_dk + own * D, *const dv = run->head_dv + own * V;
    for (int64_t t = 0; t < T; t++) {
        const int64_t at = (b * problem->T + w->first + t) * H + h;
        w->fro[t] = (float)run->fro[at];
        for (int64_t i = 0; i < D; i++)
            w->x[t * D + i] = (float)run->x[at * D + i];
    }
    gka_replay_read_state(problem, false, n, h, w->da, w->state);
    gka_replay_walk(w, w->k, w->h_chunk);
    memcpy(w->h_end, w->state, (size_t)(D * D) * sizeof *w->h_end);
    if (run->of == GKA_OF_O) {
        read_rows(w, problem, gka_problem_dout, b, h, V, w->dout);
        gka_replay_read_state(problem, true, n, h, w->da, w->state);
        gka_replay_walk(w, w->v, w->u_chunk);
        memcpy(w->u_end, w->state, (size_t)(D * V) * sizeof *w->u_end);
        for (int64_t chunk = 0; chunk < w->chunks && !gka_stopped(); chunk++)
            gka_replay_output_gradient(w, chunk, dalpha);
    } else {
        read_rows(w, problem, gka_problem_dx, b, h, D, w->dx);
    }
    solve_back(w);
    gka_replay_start_suffix(w, problem, true, n, h, w->da, w->h_end, w->n_end, w->state);
    gka_replay_suffix(w, true, w->h_chunk, w->n_chunk, w->n_inner, w->state);
    gka_replay_store_state(problem, n, h, D * D, -1, w->state, run->to->dh0);
    if (run->of == GKA_OF_O) {
        gka_replay_start_suffix(w, problem, false, n, h, w->da, w->u_end, w->e_end, w->state);
        gka_replay_suffix(w, false, w->u_chunk, w->e_chunk, w->e_inner, w->state);
    }
    for (int64_t chunk = 0; chunk < w->chunks && !gka_stopped(); chunk++)
        gka_replay_gradients(w, chunk, run->of == GKA_OF_O, dq, dk, dv, dg);
    store(w, problem, b, h, D, w->p, run->to->p);
    for (int64_t i = 0; run->of == GKA_OF_X && i < T * D; i++)
        dq[i] = low(w, w->p[i]);
    store(w, problem, b, h, D, dq, run->to->dq);
    store(w, problem, b, h, 1, dg, run->to->dg);
    if (run->of == GKA_OF_O)
        store(w, problem, b, h, 1, dalpha, run->to->dalpha);
}

static void run_head(void *context, int64_t index, int worker) {
    replay *const run = context;
    const int64_t h = index % run->problem->H, n = index / run->problem->H;
    const gka_span span = gka_problem_span(run->problem, n);
    replay_head w = head_of(run, span.begin, span.end - span.begin);
    (void)lay_out(&w, run->memory + (size_t)worker * run->each);
    load_head(&w, run->problem, span.b, h);
    if (run->to != NULL)
        backward_head(&w, run, n, span.b, h);
    else
        forward_head(&w, run, n, span.b, h);
}

/* RULE dk, dv of a key/value head: binary32 sum over its query heads in order, rounded to bf16; one
 * head: as is. */
static void sum_groups(const gka_problem *problem, bool fp16, int64_t D, const float *by_head,
                       double *out) {
    const int64_t per = problem->H / problem->G, T = problem->T;
    for (int64_t b = 0; out != NULL && b < problem->B; b++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t group = 0; group < problem->G; group++)
                for (int64_t i = 0; i < D; i++) {
                    float sum = 0;
                    for (int64_t j = 0; j < per; j++) {
                        const float part =
                            by_head[((b * problem->H + group * per + j) * T + t) * D + i];
                        sum = j == 0 ? part : sum + part;
                    }
                    out[((b * T + t) * problem->G + group) * D + i] =
                        per == 1 ? sum : (float)low_of(fp16, sum);
                }
}

gka_status gka_replay_check(const gka_problem *problem, gka_form form, bool accurate,
                            gka_error *error) {
    if (form != GKA_TWO_TERM && form != GKA_THREE_TERM)
        return gka_fail(error, GKA_UNSUPPORTED, "cuda has no form %s", gka_form_name(form));
    if (accurate && form != GKA_TWO_TERM)
        return gka_fail(error, GKA_UNSUPPORTED, "cuda/accurate has no form %s",
                        gka_form_name(form));
    const gka_view *const views[] = {&problem->q,     &problem->k,    &problem->v,
                                     &problem->alpha, &problem->dout, &problem->dx};
    const gka_status folded = gka_problem_check_kalmanet(problem, error);
    if (folded != GKA_OK)
        return folded;
    const int64_t D = problem->D, V = problem->V;
    if ((D != 64 && D != 128) || (V != 0 && V != 64 && V != 128 && V != 256))
        return gka_fail(
            error, GKA_UNSUPPORTED,
            "D = %lld, V = %lld: profile gka-cuda wants D = 64 or 128, V = 64, 128 or 256",
            (long long)D, (long long)V);
    if (problem->chunk_size != C)
        return gka_fail(error, GKA_UNSUPPORTED, "chunk_size is %lld: profile gka-cuda wants 64",
                        (long long)problem->chunk_size);
    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        if (views[i]->data != NULL && (views[i]->dtype != problem->q.dtype ||
                                       (views[i]->dtype != GKA_BF16 && views[i]->dtype != GKA_F16)))
            return gka_fail(error, GKA_UNSUPPORTED,
                            "profile gka-cuda wants q, k, v, alpha and the cotangents all in BF16 "
                            "or all in F16");
    return GKA_OK;
}

static gka_status run_all(replay *run, gka_error *error) {
    gka_status status = gka_replay_check(run->problem, run->form, run->accurate, error);
    if (status != GKA_OK)
        return status;
    const gka_problem *const problem = run->problem;
    run->device = gka_device_find("gka-cuda");
    replay_head w = head_of(run, 0, gka_problem_longest(problem));
    run->each = lay_out(&w, NULL);
    const size_t tokens = (size_t)(problem->B * problem->T * problem->H);
    run->memory = gka_alloc((size_t)gka_threads(), run->each);
    run->head_dk = run->to != NULL ? gka_alloc(tokens * (size_t)w.D, sizeof(float)) : NULL;
    run->head_dv = run->to != NULL ? gka_alloc(tokens * (size_t)w.V, sizeof(float)) : NULL;
    if (run->memory == NULL || (run->to != NULL && (run->head_dk == NULL || run->head_dv == NULL)))
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory: %zu bytes a thread", run->each);
    else if (!gka_parallel(problem->N * problem->H, run_head, run))
        status = gka_fail(error, GKA_INTERRUPTED, "interrupted");
    if (status == GKA_OK && run->to != NULL) {
        sum_groups(problem, w.fp16, w.D, run->head_dk, run->to->dk);
        if (run->of == GKA_OF_O)
            sum_groups(problem, w.fp16, w.V, run->head_dv, run->to->dv);
    }
    gka_free(run->head_dv);
    gka_free(run->head_dk);
    gka_free(run->memory);
    return status;
}

gka_status gka_replay_forward(const gka_problem *problem, gka_form form, bool accurate,
                              gka_outputs *out, gka_error *error) {
    replay run = {.problem = problem, .form = form, .accurate = accurate, .out = out};
    return run_all(&run, error);
}

gka_status gka_replay_backward(const gka_problem *problem, gka_form form, bool accurate, gka_of of,
                               const double *x, const double *fro, gka_outputs *out,
                               gka_error *error) {
    replay run = {.problem = problem,
                  .form = form,
                  .accurate = accurate,
                  .out = out,
                  .to = &out->gradient[of],
                  .of = of,
                  .x = x,
                  .fro = fro};
    return run_all(&run, error);
}
