/* prepare.c - from the projections of a model to a problem.
 *
 * The parts are made one after the other as views of one problem (the file's tensors, convolved
 * ones in binary64, drawn ones), which is then copied, folded on the way if that was asked for.
 */
#include "gka/problem.h"

#include "problem/copy.h"
#include "problem/draw.h"
#include "problem/functions.h"
#include "problem/view.h"

#include <string.h>

enum { TAPS = 4, STREAMS = 3 };

/* The problem being made, and memory that its views point to. */
typedef struct making {
    const gka_problem *from;
    const gka_preparation *how;
    gka_problem problem, drawn;
    double *convolved[STREAMS]; /* k, q, v: the first index of CONV's draws */
    double *beta;
} making;

/* ---- the convolution ----------------------------------------------------------------------- */

static gka_view *view_of(gka_problem *p, int stream) {
    gka_view *const views[STREAMS] = {&p->k, &p->q, &p->v};
    return views[stream];
}

typedef struct convolution {
    const gka_problem *from;
    const gka_view *view;
    uint64_t seed;
    int stream;
    double *out; /* [B,T,heads,n] */
} convolution;

/* One channel: element d of head h. */
static void convolve(void *context, int64_t i, int worker) {
    (void)worker;
    const convolution *const c = context;
    const int64_t heads = c->view->shape[2], n = c->view->shape[3], h = i / n, d = i % n;
    const int64_t T = c->from->T;
    double tap[TAPS];
    for (int j = 0; j < TAPS; j++)
        tap[j] = gka_draw_uniform(c->seed, GKA_DRAW_CONV, c->stream, j, h, d) - 0.5;
    for (int64_t s = 0; s < c->from->N; s++) {
        const gka_span span = gka_problem_span(c->from, s);
        double x[TAPS] = {0}; /* x_t, x_{t-1}, .. */
        for (int64_t t = span.begin; t < span.end; t++) {
            memmove(x + 1, x, (TAPS - 1) * sizeof *x);
            gka_view one = *c->view;
            one.data = gka_view_at(c->view, span.b, t, h);
            gka_elements(one.dtype,
                         (const unsigned char *)one.data +
                             d * one.stride[3] * (int64_t)gka_dtype_size(one.dtype),
                         1, 1, x);
            double y = 0;
            for (int j = 0; j < TAPS; j++)
                y += tap[j] * x[j];
            /* below -600, where the sigmoid is not defined here, silu is 0 to 250 digits */
            c->out[((span.b * T + t) * heads + h) * n + d] = y < -600  ? 0
                                                             : y > 600 ? y
                                                                       : y * gka_pinned_sigmoid(y);
        }
    }
}

static gka_status make_convolutions(making *m, gka_error *error) {
    for (int stream = 0; stream < STREAMS; stream++) {
        gka_view *const view = view_of(&m->problem, stream);
        if (view->data == NULL)
            continue;
        int64_t count = 1;
        for (int i = 0; i < 4; i++)
            count *= view->shape[i];
        m->convolved[stream] = gka_alloc((size_t)count, sizeof(double));
        if (m->convolved[stream] == NULL)
            return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory preparing a problem");
        convolution c = {m->from, view, m->how->seed, stream, m->convolved[stream]};
        if (count > 0 && !gka_parallel(view->shape[2] * view->shape[3], convolve, &c))
            return gka_fail(error, GKA_INTERRUPTED, "interrupted");
        *view = gka_view_of_doubles(4, view->shape, c.out, c.out);
    }
    return GKA_OK;
}

/* ---- what is drawn ------------------------------------------------------------------------- */

static gka_status draw(making *m, gka_error *error) {
    const gka_preparation *const how = m->how;
    gka_problem *const p = &m->problem;
    const gka_generator generator = {.gate = how->gate >= 0 ? (gka_gate)how->gate : GKA_GATE_NONE,
                                     .B = p->B,
                                     .T = p->T,
                                     .H = p->H,
                                     .G = p->H,
                                     .D = p->D,
                                     .V = p->V,
                                     .alpha = how->alpha,
                                     .cotangents = how->cotangents,
                                     .dtype = GKA_F64,
                                     .seed = how->seed};
    if (!how->alpha && !how->cotangents && how->gate < 0)
        return GKA_OK;
    const gka_status status = gka_problem_generate(&generator, &m->drawn, error);
    if (status != GKA_OK)
        return status;
    if (how->alpha)
        p->alpha = m->drawn.alpha;
    if (how->gate >= 0)
        p->g = m->drawn.g;
    if (how->cotangents) {
        p->dout = m->drawn.dout;
        p->dx = m->drawn.dx;
    }
    return GKA_OK;
}

static gka_status draw_beta(making *m, gka_error *error) {
    gka_problem *const p = &m->problem;
    if (!m->how->beta)
        return GKA_OK;
    if (p->beta.data != NULL)
        return gka_fail(error, GKA_BAD_ARGUMENT, "beta: the problem has one already");
    const int64_t count = p->B * p->T * p->H, shape[] = {p->B, p->T, p->H};
    m->beta = gka_alloc((size_t)count, sizeof *m->beta);
    if (m->beta == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory preparing a problem");
    for (int64_t i = 0; i < count; i++)
        m->beta[i] = gka_pinned_sigmoid(gka_draw_normal(
            m->how->seed, GKA_DRAW_BETA, i / (p->T * p->H), i / p->H % p->T, i % p->H, 0));
    p->beta = gka_view_of_doubles(3, shape, m->beta, m->beta);
    return GKA_OK;
}

/* ---- the whole ----------------------------------------------------------------------------- */

gka_status gka_problem_prepare(const gka_problem *from, const gka_preparation *preparation,
                               gka_problem *to, gka_error *error) {
    making m = {.from = from, .how = preparation, .problem = *from};
    const gka_dtype dtype = preparation->dtype >= 0 ? (gka_dtype)preparation->dtype : from->q.dtype;
    *to = (gka_problem){0};
    gka_status status = preparation->conv ? make_convolutions(&m, error) : GKA_OK;
    if (status == GKA_OK && preparation->normalise >= 0)
        m.problem.normalise = (gka_normalise)preparation->normalise;
    if (status == GKA_OK)
        status = draw(&m, error);
    if (status == GKA_OK)
        status = draw_beta(&m, error);
    gka_problem whole = {
        0}; /* `rounded` is rounded to the type of the tensor, so that comes first */
    const bool first = m.problem.normalise == GKA_NORMALISE_ROUNDED && preparation->fold;
    if (status == GKA_OK && first)
        status = gka_problem_copy(&m.problem, dtype, true, false, &whole, error);
    if (status == GKA_OK)
        status = gka_problem_copy(first ? &whole : &m.problem, dtype, true, preparation->fold, to,
                                  error);
    gka_problem_free(&whole);
    gka_problem_free(&m.drawn);
    gka_free(m.beta);
    for (int i = 0; i < STREAMS; i++)
        gka_free(m.convolved[i]);
    return status;
}
