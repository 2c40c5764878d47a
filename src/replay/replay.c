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
    const int64_t D = w->D, T = w->T, DD = D * D, states = w->chunks * DD,
                  tiles = (D / 64) * (D / 64);
    size_t used = 0;
    const struct {
        float **array;
        int64_t count;
    } arrays[] = {
        {&w->q, T * D},
        {&w->k, T * D},
        {&w->v, T * D},
        {&w->alpha, T},
        {&w->g, T},
        {&w->x, T * D},
        {&w->fro, T},
        {&w->dout, T * D},
        {&w->dx, T * D},
        {&w->p, T * D},
        {&w->rest, T * D},
        {&w->along, T},
        {&w->w, T},
        {&w->carry, T},
        {&w->local, C},
        {&w->h_chunk, states},
        {&w->u_chunk, states},
        {&w->n_chunk, states},
        {&w->e_chunk, states},
        {&w->beta, w->chunks},
        {&w->n_inner, w->chunks * tiles},
        {&w->e_inner, w->chunks * tiles},
        {&w->state, DD},
        {&w->h_end, DD},
        {&w->u_end, DD},
        {&w->n_end, tiles},
        {&w->e_end, tiles},
        {&w->G, C},
        {&w->eg, C},
        {&w->mask, SQUARE},
        {&w->score, SQUARE},
        {&w->c, C * D},
        {&w->more, C * D},
        {&w->r, C * D},
        {&w->y, C * D},
        {&w->t1, C * D},
        {&w->t2, C * D},
        {&w->t3, C * D},
        {&w->gradient, 4 * T * D},
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
        used += (size_t)DD * sizeof(double);
    }
    if (base != NULL)
        w->packed = base + used;
    const size_t left = gka_mma_left_size(w->device, GKA_MMA_BF16, D, D);
    const size_t right = gka_mma_right_size(w->device, GKA_MMA_BF16, D, D);
    return used + (left + right + 63) / 64 * 64;
}

static replay_head head_of(const replay *run) {
    const gka_problem *const problem = run->problem;
    return (replay_head){.device = run->device,
                         .D = problem->D,
                         .T = problem->T,
                         .chunks = (problem->T + C - 1) / C,
                         .gated = problem->g.data != NULL,
                         .a = (float)problem->ridge_ratio,
                         .s = (float)problem->scale,
                         .num_iter = problem->num_iter,
                         .form = run->form,
                         .accurate = run->accurate};
}

void gka_replay_read_rows(const gka_problem *problem, replay_reader *reader, int64_t b, int64_t h,
                          int64_t width, float *to) {
    double row[MAX_D];
    for (int64_t t = 0; t < problem->T; t++) {
        reader(problem, b, t, h, row);
        for (int64_t i = 0; i < width; i++)
            to[t * width + i] = (float)row[i];
    }
}

void gka_replay_read_state(const gka_problem *problem, bool u, int64_t b, int64_t h,
                           double *scratch, float *to) {
    (u ? gka_problem_u0 : gka_problem_h0)(problem, b, h, scratch);
    for (int64_t i = 0; i < problem->D * problem->D; i++)
        to[i] = (float)scratch[i];
}

static void load_head(replay_head *w, const gka_problem *problem, int64_t b, int64_t h) {
    gka_replay_read_rows(problem, gka_problem_q, b, h, w->D, w->q);
    gka_replay_read_rows(problem, gka_problem_k, b, h, w->D, w->k);
    if (problem->V > 0)
        gka_replay_read_rows(problem, gka_problem_v, b, h, w->D, w->v);
    for (int64_t t = 0; t < w->T; t++) {
        w->alpha[t] = (float)gka_problem_alpha(problem, b, t, h);
        w->g[t] = (float)gka_problem_g(problem, b, t, h);
    }
}

/* The head's [T, width] array into a [B,T,H,width] tensor. */
static void store(const gka_problem *problem, int64_t b, int64_t h, int64_t width,
                  const float *from, double *to) {
    for (int64_t t = 0; to != NULL && t < problem->T; t++)
        for (int64_t i = 0; i < width; i++)
            to[((b * problem->T + t) * problem->H + h) * width + i] = from[t * width + i];
}

void gka_replay_store_state(const gka_problem *problem, int64_t b, int64_t h, float factor,
                            const float *from, double *to) {
    const int64_t DD = problem->D * problem->D;
    for (int64_t i = 0; to != NULL && i < DD; i++)
        to[(b * problem->H + h) * DD + i] = factor * from[i];
}

static void forward_head(replay_head *w, const replay *run, int64_t b, int64_t h) {
    const gka_problem *const problem = run->problem;
    const int64_t DD = w->D * w->D;
    const bool output = problem->V > 0 && (run->out->o != NULL || run->out->u_final != NULL);
    float *const o = w->gradient;
    gka_replay_read_state(problem, false, b, h, w->da, w->state);
    gka_replay_walk(w, w->k, w->h_chunk);
    gka_replay_store_state(problem, b, h, 1, w->state, run->out->h_final);
    for (int64_t i = 0; run->out->h_chunk != NULL && i < w->chunks * DD; i++)
        run->out->h_chunk[((b * w->chunks + i / DD) * problem->H + h) * DD + i % DD] =
            w->h_chunk[i];
    if (output) {
        gka_replay_read_state(problem, true, b, h, w->da, w->state);
        gka_replay_walk(w, w->v, w->u_chunk);
        gka_replay_store_state(problem, b, h, 1, w->state, run->out->u_final);
    }
    for (int64_t chunk = 0; chunk < w->chunks && !gka_stopped(); chunk++)
        gka_replay_forward_chunk(w, chunk, output, o);
    store(problem, b, h, w->D, w->x, run->out->x);
    store(problem, b, h, 1, w->fro, run->out->fro);
    if (output)
        store(problem, b, h, w->D, o, run->out->o);
}

static void backward_head(replay_head *w, const replay *run, int64_t b, int64_t h) {
    const gka_problem *const problem = run->problem;
    const int64_t D = w->D, T = w->T, H = problem->H;
    float *const dq = w->gradient, *const dalpha = dq + T * D, *const dg = dalpha + T;
    float *const dk = run->head_dk + (b * H + h) * T * D, *const dv =
                                                              run->head_dv + (b * H + h) * T * D;
    for (int64_t t = 0; t < T; t++) {
        w->fro[t] = (float)run->fro[(b * T + t) * H + h];
        for (int64_t i = 0; i < D; i++)
            w->x[t * D + i] = (float)run->x[((b * T + t) * H + h) * D + i];
    }
    gka_replay_read_state(problem, false, b, h, w->da, w->state);
    gka_replay_walk(w, w->k, w->h_chunk);
    memcpy(w->h_end, w->state, (size_t)(D * D) * sizeof *w->h_end);
    if (run->of == GKA_OF_O) {
        gka_replay_read_rows(problem, gka_problem_dout, b, h, D, w->dout);
        gka_replay_read_state(problem, true, b, h, w->da, w->state);
        gka_replay_walk(w, w->v, w->u_chunk);
        memcpy(w->u_end, w->state, (size_t)(D * D) * sizeof *w->u_end);
        for (int64_t chunk = 0; chunk < w->chunks && !gka_stopped(); chunk++)
            gka_replay_output_gradient(w, chunk, dalpha);
    } else {
        gka_replay_read_rows(problem, gka_problem_dx, b, h, D, w->dx);
    }
    for (int64_t chunk = 0; chunk < w->chunks && !gka_stopped(); chunk++) {
        float fro[C] = {0};
        const int64_t n = rows_of(w, chunk), first = chunk * C;
        gka_replay_gates(w, chunk);
        gka_replay_tile(w, w->k, chunk, w->t1);
        gka_replay_tile(w, w->dx, chunk, w->t2);
        memcpy(fro, w->fro + first, (size_t)n * sizeof *fro);
        gka_replay_solve(w, w->t2, w->h_chunk + chunk * D * D, w->t1, fro, w->t3);
        for (int64_t i = 0; i < n * D; i++)
            w->p[first * D + i] = kept(w, w->t3[i]);
        gka_replay_weights(w, chunk);
    }
    gka_replay_start_suffix(w, problem, true, b, h, w->da, w->h_end, w->n_end, w->state);
    gka_replay_suffix(w, true, w->h_chunk, w->n_chunk, w->n_inner, w->state);
    gka_replay_store_state(problem, b, h, -1, w->state, run->to->dh0);
    if (run->of == GKA_OF_O) {
        gka_replay_start_suffix(w, problem, false, b, h, w->da, w->u_end, w->e_end, w->state);
        gka_replay_suffix(w, false, w->u_chunk, w->e_chunk, w->e_inner, w->state);
    }
    for (int64_t chunk = 0; chunk < w->chunks && !gka_stopped(); chunk++)
        gka_replay_gradients(w, chunk, run->of == GKA_OF_O, dq, dk, dv, dg);
    store(problem, b, h, D, w->p, run->to->p);
    for (int64_t i = 0; run->of == GKA_OF_X && i < T * D; i++)
        dq[i] = low(w->p[i]);
    store(problem, b, h, D, dq, run->to->dq);
    store(problem, b, h, 1, dg, run->to->dg);
    if (run->of == GKA_OF_O)
        store(problem, b, h, 1, dalpha, run->to->dalpha);
}

static void run_head(void *context, int64_t index, int worker) {
    replay *const run = context;
    const int64_t h = index % run->problem->H, b = index / run->problem->H;
    replay_head w = head_of(run);
    (void)lay_out(&w, run->memory + (size_t)worker * run->each);
    load_head(&w, run->problem, b, h);
    if (run->to != NULL)
        backward_head(&w, run, b, h);
    else
        forward_head(&w, run, b, h);
}

/* RULE dk, dv of a key/value head: binary32 sum over its query heads in order, rounded to bf16; one
 * head: as is. */
static void sum_groups(const gka_problem *problem, const float *by_head, double *out) {
    const int64_t per = problem->H / problem->G, D = problem->D, T = problem->T;
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
                    out[((b * T + t) * problem->G + group) * D + i] = per == 1 ? sum : low(sum);
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
    if ((problem->D != 64 && problem->D != 128) || (problem->V != 0 && problem->V != problem->D))
        return gka_fail(error, GKA_UNSUPPORTED,
                        "D = %lld, V = %lld: profile gka-cuda wants V = D = 64 or 128",
                        (long long)problem->D, (long long)problem->V);
    if (problem->chunk_size != C)
        return gka_fail(error, GKA_UNSUPPORTED, "chunk_size is %lld: profile gka-cuda wants 64",
                        (long long)problem->chunk_size);
    if (problem->cu_seqlens != NULL)
        return gka_fail(error, GKA_UNSUPPORTED, "profile gka-cuda has no packed sequences");
    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        if (views[i]->data != NULL && views[i]->dtype != GKA_BF16)
            return gka_fail(error, GKA_UNSUPPORTED,
                            "profile gka-cuda wants q, k, v, alpha and the cotangents in BF16");
    return GKA_OK;
}

static gka_status run_all(replay *run, gka_error *error) {
    gka_status status = gka_replay_check(run->problem, run->form, run->accurate, error);
    if (status != GKA_OK)
        return status;
    const gka_problem *const problem = run->problem;
    run->device = gka_device_find("gka-cuda");
    replay_head w = head_of(run);
    run->each = lay_out(&w, NULL);
    const size_t tokens = (size_t)(problem->B * problem->T * problem->H * problem->D);
    run->memory = gka_alloc((size_t)gka_threads(), run->each);
    run->head_dk = run->to != NULL ? gka_alloc(tokens, sizeof(float)) : NULL;
    run->head_dv = run->to != NULL ? gka_alloc(tokens, sizeof(float)) : NULL;
    if (run->memory == NULL || (run->to != NULL && (run->head_dk == NULL || run->head_dv == NULL)))
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory: %zu bytes a thread", run->each);
    else if (!gka_parallel(problem->B * problem->H, run_head, run))
        status = gka_fail(error, GKA_INTERRUPTED, "interrupted");
    if (status == GKA_OK && run->to != NULL) {
        sum_groups(problem, run->head_dk, run->to->dk);
        if (run->of == GKA_OF_O)
            sum_groups(problem, run->head_dv, run->to->dv);
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
