/* rivals.c - layers by name; one head from token to token and back; all heads.
 *
 * States on the way back are recomputed from checkpoints sqrt(T) tokens apart; a cache of tokens
 * needs none.
 */
#include "rivals/rival.h"

#include "gka/layer.h"
#include "problem/check.h"
#include "problem/functions.h"

#include <stdatomic.h>
#include <stdlib.h>

/* ---- names --------------------------------------------------------------------------------- */

/* MesaNet learns its ridge; 1 is that of one unit key. */
static const gka_rival rivals[] = {
    {.name = "linear", .text = "linear attention", .recurrence = GKA_RIVAL_LINEAR},
    {.name = "retnet",
     .text = "linear attention with a fixed gate for each head (RetNet)",
     .recurrence = GKA_RIVAL_LINEAR,
     .gating = GKA_GATING_FIXED},
    {.name = "mamba2",
     .text = "linear attention with a gate and a strength for each token (Mamba-2)",
     .recurrence = GKA_RIVAL_LINEAR,
     .gating = GKA_GATING_HEAD,
     .writes = true},
    {.name = "gla",
     .text = "linear attention with a gate for each channel of the key (GLA)",
     .recurrence = GKA_RIVAL_LINEAR,
     .gating = GKA_GATING_CHANNEL},
    {.name = "deltanet",
     .text = "delta rule (DeltaNet)",
     .recurrence = GKA_RIVAL_DELTA,
     .writes = true},
    {.name = "gdn",
     .text = "delta rule with a gate (Gated DeltaNet)",
     .recurrence = GKA_RIVAL_DELTA,
     .gating = GKA_GATING_HEAD,
     .writes = true},
    {.name = "kda",
     .text = "delta rule with a gate for each channel of the key (Kimi delta attention)",
     .recurrence = GKA_RIVAL_DELTA,
     .gating = GKA_GATING_CHANNEL,
     .writes = true},
    {.name = "mesa",
     .text = "ridge regression with a constant ridge, by conjugate gradients (MesaNet)",
     .recurrence = GKA_RIVAL_MESA,
     .gating = GKA_GATING_HEAD,
     .writes = true,
     .ridge = 1},
    {.name = "kla",
     .text = "a Kalman filter for each row of the memory (Kalman Linear Attention)",
     .recurrence = GKA_RIVAL_KALMAN,
     .gating = GKA_GATING_HEAD,
     .writes = true,
     .noise = .01},
    {.name = "softmax", .text = "softmax attention", .recurrence = GKA_RIVAL_SOFTMAX},
    {.name = "gka",
     .text = "ridge regression with a ridge that follows the state (Gated KalmaNet)",
     .recurrence = GKA_RIVAL_GKA,
     .gating = GKA_GATING_HEAD},
};
enum { RIVALS = sizeof rivals / sizeof *rivals };

const char *gka_rival_word(size_t i) {
    return i < RIVALS ? rivals[i].name : NULL;
}

static gka_status no_setting(const gka_rival *rival, const char *part, gka_error *error) {
    static const char *const expected[] = {
        [GKA_RIVAL_LINEAR] = "nothing more",
        [GKA_RIVAL_DELTA] = "nothing more",
        [GKA_RIVAL_MESA] = "ridge=X above 0, guard=X of at least 0 or num_iter=N of at least 1",
        [GKA_RIVAL_SOFTMAX] = "sharpness=X above 0",
        [GKA_RIVAL_KALMAN] = "noise=X above 0",
        [GKA_RIVAL_GKA] = "nothing more"};
    return gka_fail(error, GKA_BAD_ARGUMENT, "%s/%.60s: %s was expected", rival->name, part,
                    expected[rival->recurrence]);
}

/* name=X where it begins with that name; X a finite number */
static bool reads(const char *part, const char *name, double *x) {
    const size_t length = strlen(name);
    if (strncmp(part, name, length) != 0 || part[length] != '=')
        return false;
    char *end;
    *x = gka_parse_real(part + length + 1, &end);
    return end != part + length + 1 && *end == '\0' && isfinite(*x);
}

static gka_status set(gka_rival *rival, const char *part, gka_error *error) {
    const bool mesa = rival->recurrence == GKA_RIVAL_MESA;
    double x;
    if (mesa && reads(part, "ridge", &x) && x > 0)
        rival->ridge = x;
    else if (mesa && reads(part, "guard", &x) && x >= 0)
        rival->guard = x;
    else if (mesa && reads(part, "num_iter", &x) && x >= 1 && x <= GKA_MAX_ITERATIONS &&
             x == floor(x))
        rival->num_iter = (int)x;
    else if (rival->recurrence == GKA_RIVAL_SOFTMAX && reads(part, "sharpness", &x) && x > 0)
        rival->sharpness = x;
    else if (rival->recurrence == GKA_RIVAL_KALMAN && reads(part, "noise", &x) && x > 0)
        rival->noise = x;
    else
        return no_setting(rival, part, error);
    return GKA_OK;
}

gka_status gka_rival_find(const char *name, gka_rival *rival, gka_error *error) {
    const size_t word = strcspn(name, "/");
    size_t i = 0;
    while (i < RIVALS &&
           (strlen(rivals[i].name) != word || strncmp(name, rivals[i].name, word) != 0))
        i++;
    if (i == RIVALS)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "no layer '%.60s': linear, retnet, mamba2, gla, deltanet, gdn, kda, mesa, "
                        "kla, softmax or gka was expected",
                        name);
    *rival = rivals[i];
    gka_status status = GKA_OK;
    char part[64];
    for (const char *at = name + word; status == GKA_OK && *at == '/'; at += strcspn(at, "/")) {
        const size_t length = strcspn(++at, "/");
        if (length >= sizeof part)
            return no_setting(rival, at, error);
        memcpy(part, at, length);
        part[length] = '\0';
        status = set(rival, part, error);
    }
    return status;
}

gka_status gka_rival_check(const gka_rival *rival, const gka_problem *problem, gka_error *error) {
    gka_problem copied = *problem; /* the check notes what it finds */
    const gka_status status = gka_problem_check(&copied, NULL, error);
    if (status != GKA_OK)
        return status;
    if (problem->V == 0)
        return gka_fail(error, GKA_BAD_ARGUMENT, "%s: the tensor v is missing", rival->name);
    if (problem->h0.data != NULL || problem->u0.data != NULL)
        return gka_fail(error, GKA_UNSUPPORTED,
                        "%s: layers are compared from an empty state, without h0 and u0",
                        rival->name);
    if (rival->recurrence == GKA_RIVAL_GKA)
        return gka_problem_check_kalmanet(problem, error);
    if (problem->normalise != GKA_NORMALISE_NONE)
        return gka_fail(error, GKA_BAD_ARGUMENT, "%s: q and k are still to be normalised",
                        rival->name);
    return gka_problem_check_channels(problem, &rival->gk, error);
}

/* ---- cost ---------------------------------------------------------------------------------- */

gka_rival_cost gka_rival_cost_of(const gka_rival *rival, const gka_problem *problem, double width) {
    const double D = (double)problem->D, V = (double)problem->V, DV = D * V, DD = D * D;
    const double T = (double)gka_problem_longest(problem);
    const double decays = rival->gating == GKA_GATING_NONE ? 0 : 1;
    const double steps = rival->num_iter > 0 ? rival->num_iter : problem->num_iter;
    gka_rival_cost cost = {0};
    switch (rival->recurrence) {
    case GKA_RIVAL_LINEAR: /* decay, write, read */
        cost = (gka_rival_cost){(decays + 2) * DV, DV, 0};
        break;
    case GKA_RIVAL_DELTA: /* decay, read the old value, write, read */
        cost = (gka_rival_cost){(decays + 3) * DV, DV, 0};
        break;
    case GKA_RIVAL_MESA: /* decay and write both states, iterate, read */
        cost = (gka_rival_cost){2 * (DD + DV) + steps * DD + DV, DD + DV, 0};
        break;
    case GKA_RIVAL_KALMAN: /* decay, write, read */
        cost = (gka_rival_cost){3 * DV, DV + D, 0};
        break;
    case GKA_RIVAL_GKA: /* ... and the norm */
        cost = (gka_rival_cost){2 * (DD + DV) + DD + steps * DD + DV, DD + DV, 0};
        break;
    case GKA_RIVAL_SOFTMAX:
        cost = (gka_rival_cost){(T + 1) / 2 * (D + V), T * (D + V), 0};
        cost.bytes = width * ((T + 1) / 2 * (D + V) + D + V);
        return cost;
    }
    cost.bytes = 2 * width * cost.state;
    return cost;
}

/* ---- gates --------------------------------------------------------------------------------- */

void gka_rival_decay_and_add(gka_arith *A, const rival_head *W, double *S, double a,
                             const double *x, const double *y) {
    if (!rival_by_channel(W)) {
        gka_arith_rank1(A, W->D, W->V, W->gamma[0], S, a, x, y);
        return;
    }
    for (int64_t i = 0; i < W->D; i++)
        gka_arith_rank1(A, 1, W->V, W->gamma[i], S + i * W->V, a, x + i, y);
}

void gka_rival_decay(gka_arith *A, const rival_head *W, double *S) {
    if (W->rival->gating == GKA_GATING_NONE)
        return;
    for (int64_t i = 0; i < W->D; i++)
        scale(A, W->V, W->gamma[rival_by_channel(W) ? i : 0], S + i * W->V, S + i * W->V);
}

void gka_rival_reverse_decay(rival_head *W, double *Z, const double *before) {
    for (int64_t i = 0; i < W->D; i++)
        W->dgamma[i] = dot(&W->work, W->V, Z + i * W->V, before + i * W->V);
    gka_rival_decay(&W->work, W, Z);
}

/* the log of gamma_i */
static double log_gate(const rival_head *W, int64_t i) {
    const int64_t b = W->span.b, t = W->span.begin + W->i;
    double row[1];
    if (!rival_by_channel(W) || W->rival->gk.data == NULL)
        return gka_problem_g(W->problem, b, t, W->h);
    gka_view channel = W->rival->gk;
    channel.data =
        (const char *)channel.data + i * channel.stride[3] * (int64_t)gka_dtype_size(channel.dtype);
    gka_view_row(&channel, b, t, W->h, 1, row);
    return row[0];
}

static void read_gates(rival_head *W) {
    const gka_gating gating = W->rival->gating;
    const int64_t count = gating == GKA_GATING_CHANNEL ? W->D : 1;
    for (int64_t i = 0; i < count; i++) {
        const double gamma = gating == GKA_GATING_NONE    ? 1
                             : gating == GKA_GATING_FIXED ? 1 - ldexp(1, (int)-(5 + W->h))
                                                          : gka_pinned_gate(log_gate(W, i));
        W->gamma[i] = gka_arith_scalar(&W->states, gamma);
    }
}

/* ---- one head ------------------------------------------------------------------------------ */

static const rival_method *method_of(const gka_rival *rival) {
    switch (rival->recurrence) {
    case GKA_RIVAL_LINEAR: return &gka_rival_linear;
    case GKA_RIVAL_DELTA: return &gka_rival_delta;
    case GKA_RIVAL_MESA: return &gka_rival_mesa;
    case GKA_RIVAL_SOFTMAX: return &gka_rival_softmax;
    case GKA_RIVAL_KALMAN: return &gka_rival_kla;
    case GKA_RIVAL_GKA: break;
    }
    return NULL;
}

static int64_t state_size(const rival_head *W) {
    const rival_method *const M = method_of(W->rival);
    return M->size(W->D, W->V) * (M->cache ? W->length : 1);
}

static int64_t row_of(const rival_head *W) {
    return (W->span.b * W->problem->T + W->span.begin + W->i) * W->problem->H + W->h;
}

/* The state before token i -> after it. Its random bits are by token, so that a recomputation gives
 * the same state. */
static void advance(rival_head *W, int64_t i) {
    const int64_t t = W->span.begin + i, b = W->span.b, widest = W->D + W->V + 4;
    W->i = i;
    W->states.count = W->first + (uint64_t)(i * 16 * widest * widest);
    gka_problem_k(W->problem, b, t, W->h, W->k);
    gka_arith_store(&W->states, W->D, W->k, W->k);
    gka_problem_v(W->problem, b, t, W->h, W->v);
    gka_arith_store(&W->states, W->V, W->v, W->v);
    W->beta = W->rival->writes
                  ? gka_arith_scalar(&W->states, gka_problem_beta(W->problem, b, t, W->h))
                  : 1;
    read_gates(W);
    method_of(W->rival)->advance(W);
}

static void put(double *array, int64_t index, int64_t n, const double *x) {
    if (array != NULL)
        copy(array + index * n, x, n);
}

/* The query of the token at which the state stands. */
static void read_query(rival_head *W) {
    gka_problem_q(W->problem, W->span.b, W->span.begin + W->i, W->h, W->q);
    gka_arith_store(&W->work, W->D, W->q, W->q);
}

static double norm_of_state(const rival_head *W) {
    const rival_method *const M = method_of(W->rival);
    const int64_t count = M->normed(W->D, W->V) * (M->cache ? W->i + 1 : 1);
    double sum = 0;
    for (int64_t j = 0; j < count; j++)
        sum += W->state[j] * W->state[j];
    return sqrt(sum);
}

static void forward(rival_head *W, gka_rival_outputs *out, int64_t spacing) {
    const rival_method *const M = method_of(W->rival);
    const int64_t size = state_size(W);
    zero(W->state, size);
    if (M->begin != NULL)
        M->begin(W);
    for (int64_t i = 0; i < W->length && !gka_stopped(); i++) {
        if (spacing > 0 && i % spacing == 0)
            copy(W->checkpoints + i / spacing * size, W->state, size);
        advance(W, i);
        const int64_t row = row_of(W);
        if (out->norm != NULL)
            out->norm[row] = norm_of_state(W);
        if (out->o == NULL && out->x == NULL)
            continue;
        read_query(W);
        M->answer(W);
        put(out->o, row, W->V, W->o);
        if (W->rival->recurrence == GKA_RIVAL_MESA)
            put(out->x, row, W->D, W->x);
    }
}

/* sum += x, in the arithmetic; the first query head of a group sets */
static void put_sum(rival_head *W, double *array, int64_t index, int64_t n, const double *x) {
    if (array == NULL)
        return;
    if (W->h % (W->problem->H / W->problem->G) == 0)
        put(array, index, n, x);
    else
        axpby(&W->work, n, 1, array + index * n, 1, x, array + index * n);
}

/* dg and dgk from dgamma: gamma' = gamma. */
static void put_gates(rival_head *W, gka_rival_outputs *out, int64_t row) {
    const gka_gating gating = W->rival->gating;
    const bool drawn = gating == GKA_GATING_HEAD || gating == GKA_GATING_CHANNEL;
    double sum = 0;
    for (int64_t i = 0; i < W->D; i++) {
        const double gamma = W->gamma[rival_by_channel(W) ? i : 0];
        W->dgamma[i] = drawn ? mul(&W->work, gamma, W->dgamma[i]) : 0;
        sum = add(&W->work, sum, W->dgamma[i]);
    }
    if (W->rival->gk.data != NULL && rival_by_channel(W))
        sum = 0;
    put(out->dg, row, 1, &sum);
    if (!rival_by_channel(W))
        zero(W->dgamma, W->D);
    put(out->dgk, row, W->D, W->dgamma);
}

static void reverse_token(rival_head *W, gka_rival_outputs *out, int64_t i, const double *before) {
    const gka_problem *const P = W->problem;
    const int64_t t = W->span.begin + i, b = W->span.b;
    W->i = i;
    const int64_t row = row_of(W), key = (b * P->T + t) * P->G + gka_problem_group(P, W->h);
    read_query(W);
    gka_problem_dout(P, b, t, W->h, W->dout);
    gka_arith_store(&W->work, W->V, W->dout, W->dout);
    zero(W->dlambda, W->D);
    method_of(W->rival)->reverse(W, before);
    put(out->dq, row, W->D, W->dq);
    put_sum(W, out->dk, key, W->D, W->dk);
    put_sum(W, out->dv, key, W->V, W->dv);
    if (!W->rival->writes)
        W->dbeta = 0;
    put(out->dbeta, row, 1, &W->dbeta);
    put(out->dlambda, row, W->D, W->dlambda);
    put_gates(W, out, row);
}

/* The state is brought to token i with k, v, beta and gamma those of token i. */
static void backward(rival_head *W, gka_rival_outputs *out, int64_t spacing) {
    const int64_t size = state_size(W);
    const bool cache = spacing == 0;
    zero(W->cotangent, size);
    const int64_t c = cache ? W->length : spacing;
    for (int64_t first = (W->length - 1) / c * c; first >= 0; first -= c) {
        const int64_t end = first + c < W->length ? first + c : W->length;
        if (!cache)
            copy(W->state, W->checkpoints + first / c * size, size);
        for (int64_t i = first; i < end && !cache; i++) {
            copy(W->segment + (i - first) * size, W->state, size);
            advance(W, i);
        }
        for (int64_t i = end - 1; i >= first; i--) {
            double *const before = cache ? W->state : W->segment + (i - first) * size;
            if (!cache)
                copy(W->state, before, size);
            advance(W, i);
            reverse_token(W, out, i, before);
        }
    }
}

/* ---- memory -------------------------------------------------------------------------------- */

static int64_t spacing_of(const rival_method *M, int64_t length) {
    int64_t c = 1;
    while (c * c < length)
        c++;
    return M->cache ? 0 : c;
}

/* Lays out a head's memory from `base` (NULL: measures); returns its bytes. W->length: the longest
 * sequence. */
static size_t layout(rival_head *W, bool gradient, unsigned char *base) {
    const int64_t D = W->D, V = W->V, widest = D > V ? D : V, size = state_size(W);
    const int64_t c = spacing_of(method_of(W->rival), W->length);
    const int64_t kept = gradient && c > 0 ? size : 0;
    struct {
        double **place;
        int64_t count;
    } const arrays[] = {{&W->state, size},
                        {&W->cotangent, gradient ? size : 0},
                        {&W->checkpoints, kept * (c > 0 ? (W->length + c - 1) / c : 0)},
                        {&W->segment, kept * c},
                        {&W->q, D},
                        {&W->k, D},
                        {&W->v, V},
                        {&W->dout, V},
                        {&W->gamma, D},
                        {&W->o, V},
                        {&W->x, D},
                        {&W->dq, D},
                        {&W->dk, D},
                        {&W->dv, V},
                        {&W->dgamma, D},
                        {&W->dlambda, D},
                        {&W->t1, widest},
                        {&W->t2, widest},
                        {&W->t3, widest}};
    size_t at = 0;
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        if (base != NULL)
            *arrays[i].place = (double *)(void *)(base + at);
        at += ((size_t)arrays[i].count * sizeof(double) + 63) / 64 * 64;
    }
    if (base != NULL)
        W->solve = base + at;
    return at + (gka_rival_solve_workspace(W->rival, D) + 63) / 64 * 64;
}

/* ---- all heads ----------------------------------------------------------------------------- */

typedef struct job {
    rival_head pattern;
    const gka_policy *policy;
    gka_rival_outputs *out;
    const gka_progress *progress;
    bool gradient;
    unsigned char *memory;
    size_t stride;
    int64_t longest, done;
    atomic_bool stop;
} job;

/* One sequence, one group of query heads: they add to the same dk and dv, in order. */
static void do_group(void *context, int64_t item, int worker) {
    job *const J = context;
    const gka_problem *const P = J->pattern.problem;
    const int64_t per_group = P->H / P->G;
    for (int64_t j = 0; j < per_group && !atomic_load(&J->stop); j++) {
        rival_head W = J->pattern;
        W.length = J->longest;
        (void)layout(&W, J->gradient, J->memory + (size_t)worker * J->stride);
        W.n = item / P->G;
        W.h = item % P->G * per_group + j;
        W.span = gka_problem_span(P, W.n);
        W.length = W.span.end - W.span.begin;
        const uint64_t stream = 2 * (uint64_t)(W.n * P->H + W.h);
        gka_arith_start(&W.states, J->policy, stream & 0xffffff);
        gka_arith_start(&W.work, J->policy, (stream + 1) & 0xffffff);
        W.first = W.states.count;
        W.s = gka_arith_scalar(&W.work, P->scale);
        const int64_t c = spacing_of(method_of(W.rival), J->longest);
        forward(&W, J->out, J->gradient ? c : 0);
        if (J->gradient && W.length > 0)
            backward(&W, J->out, c);
    }
#pragma omp critical(gka_outputs)
    {
        J->done++;
        if (!gka_progress_report(J->progress, (double)J->done, (double)(P->N * P->G)))
            atomic_store(&J->stop, true);
    }
}

/* Gated KalmaNet is the room layer's. */
static gka_status run_gka(const gka_problem *P, const gka_policy *policy, bool gradient,
                          gka_rival_outputs *out, const gka_progress *progress, gka_error *error) {
    gka_layer_options options = {.policy = *policy};
    gka_outputs outputs = {.x = out->x, .fro = out->norm, .o = out->o};
    if (progress != NULL)
        options.progress = *progress;
    (void)gka_solver_find("chebyshev", &options.solver);
    options.solver.num_iter = P->num_iter;
    if (!gradient)
        return gka_layer_forward(P, &options, &outputs, NULL, error);
    outputs.layer = (gka_gradients){.dq = out->dq, .dk = out->dk, .dv = out->dv, .dg = out->dg};
    if (out->dbeta != NULL)
        zero(out->dbeta, P->B * P->T * P->H);
    double *const by_channel[] = {out->dgk, out->dlambda};
    for (int i = 0; i < 2; i++)
        if (by_channel[i] != NULL)
            zero(by_channel[i], P->B * P->T * P->H * P->D);
    return gka_layer_gradient(P, GKA_OF_O, &options, &outputs, NULL, error);
}

static gka_status run(const gka_problem *P, const gka_rival *rival, const gka_policy *policy,
                      bool gradient, gka_rival_outputs *out, const gka_progress *progress,
                      gka_error *error) {
    gka_status status = gka_rival_check(rival, P, error);
    if (status == GKA_OK)
        status = gka_policy_check(policy, error);
    if (status != GKA_OK || P->N == 0 || P->H == 0 || P->G == 0)
        return status;
    if (rival->recurrence == GKA_RIVAL_GKA)
        return run_gka(P, policy, gradient, out, progress, error);
    job J = {.pattern = {.rival = rival, .problem = P, .D = P->D, .V = P->V},
             .policy = policy,
             .out = out,
             .progress = progress,
             .gradient = gradient,
             .longest = gka_problem_longest(P)};
    J.pattern.length = J.longest;
    J.stride = layout(&J.pattern, gradient, NULL);
    J.memory = gka_alloc((size_t)gka_threads(), J.stride);
    if (J.memory == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory: %d workers of %zu bytes",
                        gka_threads(), J.stride);
    const bool all = gka_parallel(P->N * P->G, do_group, &J);
    gka_free(J.memory);
    return atomic_load(&J.stop) || !all ? gka_fail(error, GKA_INTERRUPTED, "interrupted") : GKA_OK;
}

gka_status gka_rival_forward(const gka_problem *problem, const gka_rival *rival,
                             const gka_policy *policy, gka_rival_outputs *out,
                             const gka_progress *progress, gka_error *error) {
    return run(problem, rival, policy, false, out, progress, error);
}

gka_status gka_rival_gradient(const gka_problem *problem, const gka_rival *rival,
                              const gka_policy *policy, gka_rival_outputs *out,
                              const gka_progress *progress, gka_error *error) {
    if (problem->dout.data == NULL)
        return gka_fail(error, GKA_BAD_ARGUMENT, "%s: gradients need the tensor do", rival->name);
    return run(problem, rival, policy, true, out, progress, error);
}
