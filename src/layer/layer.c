/* layer.c - the layer token by token, and its reverse (NUMERICS 1 and 2).
 *
 *   H, U    states [D,D], [D,V];  f  ||H||_F;  lambda  a f
 *   x       (H + lambda I)^-1 q;  q' = q + alpha (x - q);  o = s U^T q'
 *   dq'     s U do;  dx = alpha dq';  p = (H + lambda I)^-1 dx;  dq = (1 - alpha) dq' + p
 *   G       -p x^T - a (<p, x>/f) H, or the adjoint of the iterations
 *   A       G_t + gamma_(t+1) A_(t+1);  E  s q' do^T + gamma_(t+1) E_(t+1)
 *   dk      (A + A^T) k + E v;  dv = E^T k
 *   dg      gamma_t (<A_t, H_(t-1)> + <E_t, U_(t-1)>)
 *
 * p_t needs nothing of later tokens, so the forward pass computes it beside x_t; the backward pass
 * recomputes the states from checkpoints sqrt(T) tokens apart.
 */
#include "gka/layer.h"

#include "problem/check.h"
#include "problem/functions.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* ---- one head ------------------------------------------------------------------------------ */

typedef struct head {
    const gka_problem *problem;
    const gka_layer_options *options;
    gka_outputs *out;
    gka_gradients *to; /* of out: those asked for */
    gka_of of;
    bool gradient;
    int64_t n, h, D, V, length; /* sequence, query head, tokens of the sequence */
    gka_span span;
    gka_arith states, work; /* one stream for the states, one for everything else */
    uint64_t first;         /* of the states' stream */
    gka_kalman K;
    double a, s;  /* ridge ratio, scale */
    double ridge; /* of the filter, lambda prod gamma */
    /* memory */
    double *H, *U;
    double *x, *p, *f, *gamma; /* of every token: [length,D] twice, [length] twice */
    double *checkpoints, *segment;
    double *A, *E;
    double *k, *v, *q, *dout, *mix, *t1, *t2, *t3;
    void *solve, *adjoint, *filter;
    gka_layer_report report;
} head;

static int64_t state_size(const head *W) {
    return W->D * W->D + W->D * W->V;
}

/* Tokens between checkpoints: about sqrt(T). */
static int64_t spacing(int64_t length) {
    int64_t c = 1;
    while (c * c < length)
        c++;
    return c;
}

/* H = gamma H + k k^T, U = gamma U + k v^T for token i of the sequence, from the state before. Its
 * random bits are by token, so that a recomputation gives the same state. */
static void advance(head *W, int64_t i) {
    const int64_t D = W->D, V = W->V, t = W->span.begin + i, b = W->span.b;
    gka_arith *const A = &W->states;
    A->count = W->first + (uint64_t)i * (uint64_t)(8 * (D + V + 2) + 4 * state_size(W));
    gka_problem_k(W->problem, b, t, W->h, W->k);
    gka_arith_store(A, D, W->k, W->k);
    const double g = gka_problem_g(W->problem, b, t, W->h);
    W->gamma[i] = gka_arith_scalar(A, gka_pinned_gate(g));
    gka_arith_rank1(A, D, D, W->gamma[i], W->H, 1, W->k, W->k);
    if (V > 0) {
        gka_problem_v(W->problem, b, t, W->h, W->v);
        gka_arith_store(A, V, W->v, W->v);
        gka_arith_rank1(A, D, V, W->gamma[i], W->U, 1, W->k, W->v);
    }
}

static void initial_states(head *W) {
    const int64_t D = W->D;
    gka_problem_h0(W->problem, W->n, W->h, W->H);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < i; j++)
            W->H[i * D + j] = W->H[j * D + i] = 0.5 * W->H[i * D + j] + 0.5 * W->H[j * D + i];
    gka_problem_u0(W->problem, W->n, W->h, W->U);
    W->states.count = W->first + (UINT64_C(1) << 39);
    gka_arith_store(&W->states, D * D, W->H, W->H);
    gka_arith_store(&W->states, D * W->V, W->U, W->U);
}

static void count_event(head *W, gka_event event) {
    W->report.solves++;
    W->report.stopped += event == GKA_STOPPED;
    W->report.breakdowns += event == GKA_BREAKDOWN;
    W->report.non_finite += event == GKA_NON_FINITE;
}

/* y = (H + lambda I)^-1 b */
static gka_event solve(head *W, int64_t i, double lambda, const double *b, double *y) {
    gka_outcome outcome = {GKA_RAN, 0};
    if (W->options->kalman)
        return gka_kalman_solve(&W->work, &W->K, b, y);
    if (!(W->f[i] > 0) && !isnan(W->f[i])) { /* empty state: x = 0 by definition */
        memset(y, 0, (size_t)W->D * sizeof *y);
        return GKA_RAN;
    }
    const gka_system system = {.n = 1, .D = W->D, .H = W->H, .lambda = &lambda, .f = &W->f[i]};
    gka_solve(&W->work, &system, &W->options->solver, b, y, &outcome, NULL, W->solve);
    return outcome.event;
}

static void put(double *array, int64_t index, int64_t n, const double *x) {
    if (array != NULL)
        memcpy(array + index * n, x, (size_t)n * sizeof *x);
}

/* q' = q + alpha (x - q) as alpha x + (1 - alpha) q, in W->mix: x may be far smaller than q; reads
 * W->q */
static void mix(head *W, double alpha, const double *x) {
    const double rest = gka_arith_sub(&W->work, 1, alpha);
    gka_arith_axpby(&W->work, W->D, alpha, x, rest, W->q, W->mix);
}

/* The token's own part of the gradients: dx (left in t2), p, dq, dalpha. */
static void token_gradient(head *W, int64_t i, int64_t row, double alpha, double lambda) {
    const int64_t D = W->D, V = W->V, t = W->span.begin + i, b = W->span.b;
    gka_arith *const A = &W->work;
    double *const x = W->x + i * D, *const p = W->p + i * D, *const dqm = W->t1, *const dx = W->t2;
    memset(dqm, 0, (size_t)D * sizeof *dqm);
    if (W->of == GKA_OF_O) {
        gka_problem_dout(W->problem, b, t, W->h, W->dout);
        gka_arith_store(A, V, W->dout, W->dout);
        gka_arith_matvec(A, D, V, W->U, W->dout, dqm);
        gka_arith_scale(A, D, W->s, dqm, dqm);
        gka_arith_scale(A, D, alpha, dqm, dx);
        gka_arith_axpby(A, D, 1, x, -1, W->q, W->t3);
        if (W->to->dalpha != NULL)
            W->to->dalpha[row] = gka_arith_dot(A, D, dqm, W->t3);
    } else {
        gka_problem_dx(W->problem, b, t, W->h, dx);
        gka_arith_store(A, D, dx, dx);
    }
    if (W->options->through)
        memcpy(p, dx, (size_t)D * sizeof *p); /* until the backward pass */
    else
        (void)solve(W, i, lambda, dx, p);
    const double less = W->of == GKA_OF_O ? gka_arith_sub(A, 1, alpha) : 0;
    gka_arith_scale(A, D, less, dqm, dqm);
    if (W->to->dq != NULL) { /* through: p is added in the backward pass */
        if (!W->options->through)
            gka_arith_axpby(A, D, 1, dqm, 1, p, dqm);
        put(W->to->dq, row, D, dqm);
    }
    if (!W->options->through)
        put(W->to->p, row, D, p);
}

static void forward_token(head *W, int64_t i) {
    const int64_t D = W->D, V = W->V, t = W->span.begin + i, b = W->span.b;
    const int64_t row = (b * W->problem->T + t) * W->problem->H + W->h;
    gka_arith *const A = &W->work;
    advance(W, i);
    W->f[i] = gka_arith_norm(A, D * D, W->H);
    double lambda = gka_arith_mul(A, W->a, W->f[i]);
    if (W->options->kalman) {
        gka_kalman_step(A, &W->K, W->k, W->v, W->gamma[i]);
        W->ridge = gka_arith_mul(A, W->ridge, W->gamma[i]);
        lambda = W->ridge;
    }
    gka_problem_q(W->problem, b, t, W->h, W->q);
    gka_arith_store(A, D, W->q, W->q);
    double *const x = W->x + i * D;
    W->report.empty_states += W->f[i] <= 0;
    count_event(W, solve(W, i, lambda, W->q, x));
    put(W->out->x, row, D, x);
    put(W->out->fro, row, 1, &W->f[i]);
    put(W->out->lambda, row, 1, &lambda);
    const double alpha = gka_arith_scalar(A, gka_problem_alpha(W->problem, b, t, W->h));
    if (V > 0 && W->out->o != NULL) {
        mix(W, alpha, x);
        gka_arith_matvec_t(A, D, V, W->U, W->mix, W->dout);
        gka_arith_scale(A, V, W->s, W->dout, W->dout);
        put(W->out->o, row, V, W->dout);
    }
    if (W->gradient)
        token_gradient(W, i, row, alpha, lambda);
}

static void forward(head *W) {
    const int64_t c = spacing(W->length);
    initial_states(W);
    W->ridge = W->options->kalman ? gka_arith_scalar(&W->work, W->options->lambda) : 0;
    if (W->options->kalman)
        gka_kalman_start(&W->work, &W->K, W->options->form, W->D, W->V, W->options->lambda,
                         W->filter);
    for (int64_t i = 0; i < W->length && !gka_stopped(); i++) {
        if (W->gradient && i % c == 0) {
            double *const kept = W->checkpoints + i / c * state_size(W);
            memcpy(kept, W->H, (size_t)(W->D * W->D) * sizeof *kept);
            memcpy(kept + W->D * W->D, W->U, (size_t)(W->D * W->V) * sizeof *kept);
        }
        forward_token(W, i);
    }
    const int64_t state = W->n * W->problem->H + W->h;
    put(W->out->h_final, state, W->D * W->D, W->H);
    put(W->out->u_final, state, W->D * W->V, W->U);
}

/* ---- the reverse --------------------------------------------------------------------------- */

/* A = gamma A + G. W->H is H_t. */
static void cotangent_of_H(head *W, int64_t i, double gamma, int64_t row) {
    const int64_t D = W->D;
    gka_arith *const A = &W->work;
    const double *const x = W->x + i * D;
    double *const p = W->p + i * D;
    const double f = W->f[i], lambda = gka_arith_mul(A, W->a, f);
    const bool empty = !(f > 0) && !isnan(f);
    if (!W->options->through) {
        gka_arith_rank1(A, D, D, gamma, W->A, -1, p, x);
        if (empty || W->options->kalman)
            return;
        const double px = gka_arith_dot(A, D, p, x);
        const double w = gka_arith_div(A, gka_arith_mul(A, W->a, px), f);
        gka_arith_axpby(A, D * D, -w, W->H, 1, W->A, W->A);
        return;
    }
    gka_arith_scale(A, D * D, gamma, W->A, W->A);
    double dlambda = 0, df = 0;
    if (empty) {
        memset(p, 0, (size_t)D * sizeof *p);
    } else {
        const gka_system system = {.n = 1, .D = D, .H = W->H, .lambda = &lambda, .f = &W->f[i]};
        gka_solve_adjoint(A, &system, &W->options->solver, W->q, p, W->options->reversible, W->t1,
                          W->A, &dlambda, &df, W->adjoint);
        memcpy(p, W->t1, (size_t)D * sizeof *p);
        const double f_ = gka_arith_add(A, df, gka_arith_mul(A, W->a, dlambda));
        gka_arith_axpby(A, D * D, gka_arith_div(A, f_, f), W->H, 1, W->A, W->A);
    }
    put(W->to->p, row, D, p);
    if (W->to->dq != NULL)
        gka_arith_axpby(A, D, 1, W->to->dq + row * D, 1, p, W->to->dq + row * D);
}

/* sum += x, in the arithmetic; the first query head of a group sets */
static void put_sum(head *W, double *array, int64_t index, int64_t n, const double *x) {
    const int64_t per_group = W->problem->H / W->problem->G;
    if (array == NULL)
        return;
    if (W->h % per_group == 0)
        put(array, index, n, x);
    else
        gka_arith_axpby(&W->work, n, 1, array + index * n, 1, x, array + index * n);
}

/* <A, H_(t-1) + lambda_(t-1) I>: the filter's state decays with its ridge */
static double gate_of_H(head *W, const double *before, double ridge) {
    const int64_t D = W->D;
    double sum = gka_arith_dot(&W->work, D * D, W->A, before);
    if (ridge > 0) {
        double trace = 0;
        for (int64_t j = 0; j < D; j++)
            trace = gka_arith_add(&W->work, trace, W->A[j * D + j]);
        sum = gka_arith_fma(&W->work, ridge, trace, sum);
    }
    return sum;
}

static void backward_token(head *W, int64_t i, double gamma_next, const double *before,
                           double ridge) {
    const gka_problem *const P = W->problem;
    const int64_t D = W->D, V = W->V, t = W->span.begin + i, b = W->span.b;
    const int64_t row = (b * P->T + t) * P->H + W->h;
    const int64_t key_row = (b * P->T + t) * P->G + gka_problem_group(P, W->h);
    gka_arith *const A = &W->work;
    gka_problem_q(P, b, t, W->h, W->q);
    gka_arith_store(A, D, W->q, W->q);
    gka_problem_k(P, b, t, W->h, W->k);
    gka_arith_store(A, D, W->k, W->k);
    cotangent_of_H(W, i, gamma_next, row);
    gka_arith_matvec(A, D, D, W->A, W->k, W->t1);
    gka_arith_matvec_t(A, D, D, W->A, W->k, W->t2);
    gka_arith_axpby(A, D, 1, W->t1, 1, W->t2, W->t1);
    double dg = gate_of_H(W, before, ridge);
    if (W->of == GKA_OF_O) {
        const double alpha = gka_arith_scalar(A, gka_problem_alpha(P, b, t, W->h));
        gka_problem_v(P, b, t, W->h, W->v);
        gka_arith_store(A, V, W->v, W->v);
        gka_problem_dout(P, b, t, W->h, W->dout);
        gka_arith_store(A, V, W->dout, W->dout);
        mix(W, alpha, W->x + i * D);
        gka_arith_rank1(A, D, V, gamma_next, W->E, W->s, W->mix, W->dout);
        gka_arith_matvec(A, D, V, W->E, W->v, W->t2);
        gka_arith_axpby(A, D, 1, W->t1, 1, W->t2, W->t1);
        gka_arith_matvec_t(A, D, V, W->E, W->k, W->dout);
        put_sum(W, W->to->dv, key_row, V, W->dout);
        dg = gka_arith_add(A, dg, gka_arith_dot(A, D * V, W->E, before + D * D));
    }
    put_sum(W, W->to->dk, key_row, D, W->t1);
    if (W->to->dg != NULL)
        W->to->dg[row] = gka_arith_mul(A, W->gamma[i], dg);
}

/* The state before token i of the segment that begins at token `first`. */
static double *segment_state(const head *W, int64_t first, int64_t i) {
    return W->segment + (i - first) * state_size(W);
}

static void save_state(head *W, double *into) {
    memcpy(into, W->H, (size_t)(W->D * W->D) * sizeof *into);
    memcpy(into + W->D * W->D, W->U, (size_t)(W->D * W->V) * sizeof *into);
}

static void load_state(head *W, const double *from) {
    memcpy(W->H, from, (size_t)(W->D * W->D) * sizeof *from);
    memcpy(W->U, from + W->D * W->D, (size_t)(W->D * W->V) * sizeof *from);
}

/* lambda prod gamma up to the token before i; 0 without a filter */
static double ridge_before(const head *W, int64_t i) {
    double ridge = W->options->kalman ? W->options->lambda : 0;
    for (int64_t j = 0; j < i; j++)
        ridge *= W->gamma[j];
    return ridge;
}

/* A and E after the last token. */
static void last_cotangents(head *W) {
    const gka_problem *const P = W->problem;
    memset(W->A, 0, (size_t)(W->D * W->D) * sizeof(double));
    memset(W->E, 0, (size_t)(W->D * W->V) * sizeof(double));
    if (P->dh_final.data != NULL) {
        gka_problem_dh_final(P, W->n, W->h, W->A);
        gka_arith_store(&W->work, W->D * W->D, W->A, W->A);
    }
    if (P->du_final.data != NULL && W->of == GKA_OF_O) {
        gka_problem_du_final(P, W->n, W->h, W->E);
        gka_arith_store(&W->work, W->D * W->V, W->E, W->E);
    }
}

static void backward(head *W) {
    const int64_t D = W->D, V = W->V, c = spacing(W->length);
    last_cotangents(W);
    double gamma_next = 1; /* of the token after the last: its A and E are the cotangents */
    for (int64_t first = (W->length - 1) / c * c; first >= 0 && W->length > 0 && !gka_stopped();
         first -= c) {
        const int64_t end = first + c < W->length ? first + c : W->length;
        load_state(W, W->checkpoints + first / c * state_size(W));
        save_state(W, segment_state(W, first, first));
        for (int64_t i = first; i < end; i++) {
            advance(W, i);
            save_state(W, segment_state(W, first, i + 1));
        }
        for (int64_t i = end - 1; i >= first; i--) {
            load_state(W, segment_state(W, first, i + 1));
            const double ridge = gka_arith_scalar(&W->work, ridge_before(W, i));
            backward_token(W, i, gamma_next, segment_state(W, first, i), ridge);
            gamma_next = W->gamma[i];
        }
    }
    const int64_t state = W->n * W->problem->H + W->h;
    gka_arith_scale(&W->work, D * D, gamma_next, W->A, W->A); /* dh0 = gamma_1 A_1 */
    gka_arith_scale(&W->work, D * V, gamma_next, W->E, W->E);
    put(W->to->dh0, state, D * D, W->A);
    put(W->to->du0, state, D * V, W->E);
}

/* ---- memory -------------------------------------------------------------------------------- */

/* Doubles rounded up to whole cache lines. */
static size_t lines(int64_t count) {
    return ((size_t)count * sizeof(double) + 63) / 64 * 64;
}

/* Lays out a head's memory from `base` (NULL: measures); returns its bytes. L the longest
 * sequence. */
static size_t layout(head *W, int64_t L, unsigned char *base) {
    const int64_t D = W->D, V = W->V, c = spacing(L), widest = D > V ? D : V;
    const bool backwards = W->gradient;
    size_t at = 0;
    struct {
        double **place;
        int64_t count;
    } const arrays[] = {
        {&W->H, D * D},
        {&W->U, D * V},
        {&W->x, L * D},
        {&W->p, backwards ? L * D : 0},
        {&W->f, L},
        {&W->gamma, L},
        {&W->A, backwards ? D * D : 0},
        {&W->E, backwards ? D * V : 0},
        {&W->checkpoints, backwards ? (L / c + 1) * state_size(W) : 0},
        {&W->segment, backwards ? (c + 1) * state_size(W) : 0},
        {&W->k, D},
        {&W->v, V},
        {&W->q, D},
        {&W->dout, V},
        {&W->mix, D},
        {&W->t1, widest},
        {&W->t2, widest},
        {&W->t3, widest},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        if (base != NULL)
            *arrays[i].place = (double *)(void *)(base + at);
        at += lines(arrays[i].count);
    }
    const gka_layer_options *const o = W->options;
    const size_t bytes[] = {o->kalman ? 0 : gka_solve_workspace(&o->solver, 1, D),
                            o->through ? gka_solve_adjoint_workspace(&o->solver, D) : 0,
                            o->kalman ? gka_kalman_workspace(o->form, D, V) : 0};
    void **const places[] = {&W->solve, &W->adjoint, &W->filter};
    for (int i = 0; i < 3; i++) {
        if (base != NULL)
            *places[i] = base + at;
        at += (bytes[i] + 63) / 64 * 64;
    }
    return at;
}

/* ---- all heads ----------------------------------------------------------------------------- */

typedef struct job {
    head pattern; /* what all heads share */
    unsigned char *memory;
    size_t stride;
    int64_t longest, done;
    gka_layer_report report;
    atomic_bool stop;
} job;

static void add_report(gka_layer_report *sum, const gka_layer_report *one) {
    sum->solves += one->solves;
    sum->stopped += one->stopped;
    sum->breakdowns += one->breakdowns;
    sum->non_finite += one->non_finite;
    sum->empty_states += one->empty_states;
}

/* One sequence, one group of query heads: they add to the same dk and dv, in order. */
static void do_group(void *context, int64_t i, int worker) {
    job *const J = context;
    const gka_problem *const P = J->pattern.problem;
    const int64_t per_group = P->H / P->G;
    gka_layer_report report = {0};
    if (atomic_load(&J->stop))
        return;
    for (int64_t j = 0; j < per_group; j++) {
        head W = J->pattern;
        (void)layout(&W, J->longest, J->memory + (size_t)worker * J->stride);
        W.n = i / P->G;
        W.h = i % P->G * per_group + j;
        W.span = gka_problem_span(P, W.n);
        W.length = W.span.end - W.span.begin;
        const uint64_t stream = 2 * (uint64_t)(W.n * P->H + W.h);
        gka_arith_start(&W.states, &W.options->policy, stream & 0xffffff);
        gka_arith_start(&W.work, &W.options->policy, (stream + 1) & 0xffffff);
        W.first = W.states.count;
        W.a = gka_arith_scalar(&W.work, P->ridge_ratio);
        W.s = gka_arith_scalar(&W.work, P->scale);
        forward(&W);
        if (W.gradient)
            backward(&W);
        add_report(&report, &W.report);
    }
#pragma omp critical(gka_outputs)
    {
        add_report(&J->report, &report);
        J->done++;
        if (!gka_progress_report(&J->pattern.options->progress, (double)J->done,
                                 (double)(P->N * P->G)))
            atomic_store(&J->stop, true);
    }
}

static gka_status check(const gka_problem *P, const gka_layer_options *options, bool gradient,
                        gka_of of, gka_error *error) {
    gka_status status = gka_problem_check_kalmanet(P, error);
    if (status == GKA_OK)
        status = gka_policy_check(&options->policy, error);
    if (status != GKA_OK)
        return status;
    if (options->kalman && !(options->lambda > 0 && isfinite(options->lambda)))
        return gka_fail(error, GKA_BAD_ARGUMENT, "a Kalman filter needs lambda > 0, not %g",
                        options->lambda);
    if (options->kalman && (P->h0.data != NULL || P->u0.data != NULL))
        return gka_fail(error, GKA_BAD_ARGUMENT, "a Kalman filter starts without h0 and u0");
    if (gradient && options->kalman && P->dh_final.data != NULL)
        return gka_fail(error, GKA_BAD_ARGUMENT, "a Kalman filter has no dh_final");
    if (gradient && of == GKA_OF_O && P->V == 0)
        return gka_fail(error, GKA_BAD_ARGUMENT, "gradients of o need the tensor v");
    if (gradient && options->through &&
        (options->kalman || !gka_solve_has_adjoint(&options->solver)))
        return gka_fail(error, GKA_UNSUPPORTED, "%s has no adjoint through its iterations",
                        options->kalman ? gka_kalman_name(options->form) : options->solver.name);
    return GKA_OK;
}

static gka_status run(const gka_problem *P, gka_of of, bool gradient,
                      const gka_layer_options *options, gka_outputs *out, gka_layer_report *report,
                      gka_error *error) {
    const gka_status status = check(P, options, gradient, of, error);
    if (report != NULL)
        *report = (gka_layer_report){0};
    if (status != GKA_OK || P->N == 0 || P->H == 0 || P->G == 0)
        return status;
    gka_layer_options own = *options;
    own.through = options->through && gradient;
    job J = {.pattern = {.problem = P,
                         .options = &own,
                         .out = out,
                         .to = &out->gradient[of],
                         .of = of,
                         .gradient = gradient,
                         .D = P->D,
                         .V = P->V}};
    for (int64_t n = 0; n < P->N; n++) {
        const gka_span span = gka_problem_span(P, n);
        if (span.end - span.begin > J.longest)
            J.longest = span.end - span.begin;
    }
    J.stride = layout(&J.pattern, J.longest, NULL);
    const int workers = gka_workers(P->N * P->G);
    J.memory = gka_alloc((size_t)workers, J.stride);
    if (J.memory == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory: %d workers of %zu bytes", workers,
                        J.stride);
    const bool all = gka_parallel(P->N * P->G, do_group, &J);
    gka_free(J.memory);
    if (report != NULL)
        *report = J.report;
    return atomic_load(&J.stop) || !all ? gka_fail(error, GKA_INTERRUPTED, "interrupted") : GKA_OK;
}

gka_status gka_layer_forward(const gka_problem *problem, const gka_layer_options *options,
                             gka_outputs *out, gka_layer_report *report, gka_error *error) {
    return run(problem, GKA_OF_X, false, options, out, report, error);
}

gka_status gka_layer_gradient(const gka_problem *problem, gka_of of,
                              const gka_layer_options *options, gka_outputs *out,
                              gka_layer_report *report, gka_error *error) {
    return run(problem, of, true, options, out, report, error);
}
