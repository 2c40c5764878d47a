/* exact.c - the recurrences a second time, in MPFR and as directly as they can be written: the
 * judge of the other files. Inputs are exact, every operation is rounded to nearest at the
 * precision asked for. Letters as in gka/rivals.h; the state lies in memory as there.
 *
 * The solve of mesa: conjugate gradients from x = 0. In exact arithmetic they end after D steps; at
 * these precisions a few more bring the residual below 2^(20 - precision) |q|, and
 * ||x - exact|| <= ||r|| / min Lambda.
 */
#include "rivals/rival.h"

#include "gka/oracle.h"
#include "oracle/mp.h"

#include <stdatomic.h>

#define RN MPFR_RNDN

typedef struct exact_head {
    const gka_rival *rival;
    const gka_problem *problem;
    gka_rival_outputs *out;
    int64_t n, h, D, V, i;
    gka_span span;
    mpfr_prec_t precision;
    double *row; /* [max(D,V)] */
    mpfr_t *S, *H, *q, *k, *v, *o, *e,
        *gamma;            /* S [D,V] (of mesa U, of softmax the cache), H [D,D] */
    mpfr_t *x, *r, *p, *w; /* of the solve */
    mpfr_t *beta, *t, *sum, *rho, *next, *stop;
} exact_head;

/* ---- small sums ---------------------------------------------------------------------------- */

static void add_product(exact_head *W, mpfr_t z, mpfr_t x, mpfr_t y) {
    mpfr_mul(*W->t, x, y, RN);
    mpfr_add(z, z, *W->t, RN);
}

static void sub_product(exact_head *W, mpfr_t z, mpfr_t x, mpfr_t y) {
    mpfr_mul(*W->t, x, y, RN);
    mpfr_sub(z, z, *W->t, RN);
}

static void dot_of(exact_head *W, mpfr_t z, int64_t n, mpfr_t *x, mpfr_t *y) {
    mpfr_set_zero(z, 1);
    for (int64_t i = 0; i < n; i++)
        add_product(W, z, x[i], y[i]);
}

/* y = M^T x, M [n,m] */
static void transposed(exact_head *W, int64_t n, int64_t m, mpfr_t *M, mpfr_t *x, mpfr_t *y) {
    for (int64_t j = 0; j < m; j++) {
        mpfr_set_zero(y[j], 1);
        for (int64_t i = 0; i < n; i++)
            add_product(W, y[j], M[i * m + j], x[i]);
    }
}

/* M = Gamma M, then M += beta k y^T; M [D,m] */
static void decay(exact_head *W, int64_t m, mpfr_t *M) {
    for (int64_t i = 0; i < W->D * m; i++)
        mpfr_mul(M[i], M[i], W->gamma[i / m], RN);
}

static void write(exact_head *W, int64_t m, mpfr_t *M, mpfr_t *y) {
    for (int64_t i = 0; i < W->D; i++) {
        mpfr_mul(*W->sum, *W->beta, W->k[i], RN);
        for (int64_t j = 0; j < m; j++)
            add_product(W, M[i * m + j], *W->sum, y[j]);
    }
}

/* ---- the token ----------------------------------------------------------------------------- */

static void to_mpfr(exact_head *W, int64_t n, mpfr_t *x) {
    for (int64_t i = 0; i < n; i++)
        mpfr_set_d(x[i], W->row[i], RN);
}

static void read_token(exact_head *W) {
    const gka_problem *const P = W->problem;
    const gka_rival *const rival = W->rival;
    const int64_t b = W->span.b, t = W->span.begin + W->i, D = W->D;
    gka_problem_v(P, b, t, W->h, W->row);
    to_mpfr(W, W->V, W->v);
    mpfr_set_d(*W->beta, rival->writes ? gka_problem_beta(P, b, t, W->h) : 1, RN);
    const double g = rival->gating == GKA_GATING_NONE ? 0 : gka_problem_g(P, b, t, W->h);
    for (int64_t i = 0; i < D; i++)
        W->row[i] = g;
    if (rival->gating == GKA_GATING_CHANNEL && rival->gk.data != NULL)
        gka_view_row(&rival->gk, b, t, W->h, D, W->row);
    to_mpfr(W, D, W->gamma);
    for (int64_t i = 0; i < D; i++)
        mpfr_exp(W->gamma[i], W->gamma[i], RN);
    for (int64_t i = 0; i < D && rival->gating == GKA_GATING_FIXED; i++)
        mpfr_set_d(W->gamma[i], 1 - ldexp(1, (int)-(5 + W->h)), RN);
    gka_problem_k(P, b, t, W->h, W->row);
    to_mpfr(W, D, W->k);
    gka_problem_q(P, b, t, W->h, W->row);
    to_mpfr(W, D, W->q);
}

/* o = s S^T y */
static void answer(exact_head *W, mpfr_t *y) {
    transposed(W, W->D, W->V, W->S, y, W->o);
    for (int64_t j = 0; j < W->V; j++)
        mpfr_mul_d(W->o[j], W->o[j], W->problem->scale, RN);
}

static bool linear(exact_head *W) {
    decay(W, W->V, W->S);
    write(W, W->V, W->S, W->v);
    answer(W, W->q);
    return true;
}

static bool delta(exact_head *W) {
    decay(W, W->V, W->S);
    transposed(W, W->D, W->V, W->S, W->k, W->e);
    for (int64_t j = 0; j < W->V; j++)
        mpfr_sub(W->e[j], W->v[j], W->e[j], RN);
    write(W, W->V, W->S, W->e);
    answer(W, W->q);
    return true;
}

/* w = (H + Lambda) p */
static void product(exact_head *W) {
    for (int64_t i = 0; i < W->D; i++) {
        const double *const ridge = W->rival->diagonal;
        dot_of(W, W->w[i], W->D, W->H + i * W->D, W->p);
        mpfr_mul_d(*W->t, W->p[i], ridge != NULL ? ridge[W->h * W->D + i] : W->rival->ridge, RN);
        mpfr_add(W->w[i], W->w[i], *W->t, RN);
    }
}

/* x = (H + Lambda)^-1 q */
static bool solve(exact_head *W) {
    const int64_t D = W->D;
    for (int64_t i = 0; i < D; i++) {
        mpfr_set_zero(W->x[i], 1);
        mpfr_set(W->r[i], W->q[i], RN);
        mpfr_set(W->p[i], W->q[i], RN);
    }
    dot_of(W, *W->rho, D, W->r, W->r);
    mpfr_mul_2si(*W->stop, *W->rho, 2 * (20 - W->precision), RN);
    for (int64_t step = 0; mpfr_greater_p(*W->rho, *W->stop); step++) {
        if (step == 4 * D + 50)
            return false;
        product(W);
        dot_of(W, *W->sum, D, W->p, W->w);
        mpfr_div(*W->sum, *W->rho, *W->sum, RN);
        for (int64_t i = 0; i < D; i++) {
            add_product(W, W->x[i], *W->sum, W->p[i]);
            sub_product(W, W->r[i], *W->sum, W->w[i]);
        }
        dot_of(W, *W->next, D, W->r, W->r);
        mpfr_div(*W->sum, *W->next, *W->rho, RN);
        mpfr_set(*W->rho, *W->next, RN);
        for (int64_t i = 0; i < D; i++) {
            mpfr_mul(W->p[i], W->p[i], *W->sum, RN);
            mpfr_add(W->p[i], W->p[i], W->r[i], RN);
        }
    }
    return true;
}

static bool mesa(exact_head *W) {
    decay(W, W->D, W->H);
    write(W, W->D, W->H, W->k);
    decay(W, W->V, W->S);
    write(W, W->V, W->S, W->v);
    if (!solve(W))
        return false;
    answer(W, W->x);
    return true;
}

/* H[0 .. D) is the precision. */
static bool kalman(exact_head *W) {
    for (int64_t i = 0; i < W->D; i++) {
        mpfr_t *const l = &W->H[i], *const c = &W->r[i], *const x = &W->x[i];
        if (W->i == 0)
            mpfr_set_ui(*l, 1, RN);
        mpfr_sqr(*c, W->gamma[i], RN);
        mpfr_mul_d(*x, *l, W->rival->noise, RN);
        mpfr_add(*c, *c, *x, RN);
        mpfr_div(*l, *l, *c, RN);
        mpfr_sqr(*x, W->k[i], RN);
        add_product(W, *l, *W->beta, *x);
        mpfr_div(*x, W->q[i], *l, RN);
        mpfr_div(W->gamma[i], W->gamma[i], *c, RN);
    }
    decay(W, W->V, W->S);
    write(W, W->V, W->S, W->v);
    answer(W, W->x);
    return true;
}

/* The cache is S: row j is k_j, v_j. */
static bool softmax(exact_head *W) {
    const int64_t D = W->D, V = W->V;
    const double c = W->rival->sharpness > 0 ? W->rival->sharpness : W->problem->scale;
    for (int64_t i = 0; i < D + V; i++)
        mpfr_set(W->S[W->i * (D + V) + i], i < D ? W->k[i] : W->v[i - D], RN);
    for (int64_t i = 0; i < V; i++)
        mpfr_set_zero(W->o[i], 1);
    mpfr_set_zero(*W->rho, 1);
    for (int64_t j = 0; j <= W->i; j++) { /* no maximum: MPFR's exponents do not end */
        mpfr_t *const k = W->S + j * (D + V), *const v = k + D;
        dot_of(W, *W->sum, D, W->q, k);
        mpfr_mul_d(*W->sum, *W->sum, c, RN);
        mpfr_exp(*W->sum, *W->sum, RN);
        mpfr_add(*W->rho, *W->rho, *W->sum, RN);
        for (int64_t i = 0; i < V; i++)
            add_product(W, W->o[i], *W->sum, v[i]);
    }
    for (int64_t i = 0; i < V; i++)
        mpfr_div(W->o[i], W->o[i], *W->rho, RN);
    return true;
}

/* ---- all heads ----------------------------------------------------------------------------- */

static void put(double *array, int64_t row, int64_t n, mpfr_t *x) {
    for (int64_t i = 0; i < n && array != NULL; i++)
        array[row * n + i] = mpfr_get_d(x[i], RN);
}

/* Takes its numbers from `block`; returns how many. */
static size_t layout(exact_head *W, int64_t length, mpfr_t *block) {
    const int64_t D = W->D, V = W->V;
    const bool mesa = W->rival->recurrence == GKA_RIVAL_MESA;
    const int64_t states = W->rival->recurrence == GKA_RIVAL_SOFTMAX ? length * (D + V) : D * V;
    size_t used = 0;
    W->S = gka_mp_take(block, &used, states);
    W->H = gka_mp_take(block, &used, mesa ? D * D : D);
    mpfr_t **const vectors[] = {&W->q, &W->k, &W->gamma, &W->x, &W->r,
                                &W->p, &W->w, &W->v,     &W->o, &W->e};
    for (int i = 0; i < 10; i++)
        *vectors[i] = gka_mp_take(block, &used, i < 7 ? D : V);
    mpfr_t **const numbers[] = {&W->beta, &W->t, &W->sum, &W->rho, &W->next, &W->stop};
    for (int i = 0; i < 6; i++)
        *numbers[i] = gka_mp_take(block, &used, 1);
    return used;
}

typedef struct job {
    exact_head pattern;
    const gka_progress *progress;
    int64_t longest, done;
    _Atomic int status; /* of a head that failed */
} job;

static gka_status run_head(job *J, int64_t item) {
    exact_head W = J->pattern;
    const gka_problem *const P = W.problem;
    bool (*const steps[])(exact_head *) = {[GKA_RIVAL_LINEAR] = linear,
                                           [GKA_RIVAL_DELTA] = delta,
                                           [GKA_RIVAL_MESA] = mesa,
                                           [GKA_RIVAL_SOFTMAX] = softmax,
                                           [GKA_RIVAL_KALMAN] = kalman};
    const int64_t widest = W.D > W.V ? W.D : W.V;
    W.n = item / P->H;
    W.h = item % P->H;
    W.span = gka_problem_span(P, W.n);
    mpfr_t *const block = gka_mp_new(layout(&W, J->longest, NULL), W.precision);
    W.row = gka_alloc((size_t)widest, sizeof *W.row);
    gka_status status = block != NULL && W.row != NULL ? GKA_OK : GKA_OUT_OF_MEMORY;
    if (status == GKA_OK)
        (void)layout(&W, J->longest, block);
    for (W.i = 0; status == GKA_OK && !gka_stopped() && W.i < W.span.end - W.span.begin; W.i++) {
        read_token(&W);
        if (!steps[W.rival->recurrence](&W))
            status = GKA_NOT_CONVERGED;
        const int64_t row = (W.span.b * P->T + W.span.begin + W.i) * P->H + W.h;
        put(W.out->o, row, W.V, W.o);
        if (W.rival->recurrence == GKA_RIVAL_MESA)
            put(W.out->x, row, W.D, W.x);
    }
    gka_free(W.row);
    gka_free(block);
    mpfr_free_cache();
    return status;
}

static void do_head(void *context, int64_t item, int worker) {
    (void)worker;
    job *const J = context;
    if (atomic_load(&J->status) != GKA_OK)
        return;
    gka_status status = run_head(J, item);
#pragma omp critical(gka_outputs)
    {
        const gka_problem *const P = J->pattern.problem;
        J->done++;
        if (!gka_progress_report(J->progress, (double)J->done, (double)(P->N * P->H)))
            status = GKA_INTERRUPTED;
    }
    if (status != GKA_OK)
        atomic_store(&J->status, (int)status);
}

/* Mesa's output has no q beside x: alpha = 1. */
static gka_status by_oracle(const gka_problem *problem, const gka_rival *rival,
                            gka_rival_outputs *out, const gka_progress *progress,
                            gka_error *error) {
    gka_problem asked = *problem;
    gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED};
    gka_outputs outputs = {.x = out->x, .o = out->o};
    if (rival->recurrence == GKA_RIVAL_MESA) {
        options.ridge = rival->ridge;
        asked.alpha = (gka_view){0};
    }
    if (progress != NULL)
        options.progress = *progress;
    return gka_oracle_forward(&asked, &options, &outputs, NULL, NULL, error);
}

gka_status gka_rival_exact(const gka_problem *problem, const gka_rival *rival, int precision,
                           gka_rival_outputs *out, const gka_progress *progress, gka_error *error) {
    const gka_status status = gka_rival_check(rival, problem, error);
    if (status != GKA_OK)
        return status;
    if (precision != 0 && (precision < 64 || precision > 1 << 16))
        return gka_fail(error, GKA_BAD_ARGUMENT, "%d bits: 64 to 65536 were expected", precision);
    const gka_recurrence which = rival->recurrence;
    if (which == GKA_RIVAL_GKA || (which == GKA_RIVAL_MESA && precision == 0 &&
                                   problem->beta.data == NULL && rival->diagonal == NULL)) {
        const gka_status certified = by_oracle(problem, rival, out, progress, error);
        if (which == GKA_RIVAL_GKA || certified != GKA_UNSUPPORTED)
            return certified;
    }
    if (precision == 0)
        precision = 256;
    if (problem->N == 0 || problem->H == 0)
        return GKA_OK;
    job J = {.pattern = {.rival = rival,
                         .problem = problem,
                         .out = out,
                         .D = problem->D,
                         .V = problem->V,
                         .precision = precision},
             .progress = progress,
             .longest = gka_problem_longest(problem)};
    const bool all = gka_parallel(problem->N * problem->H, do_head, &J);
    const int met = atomic_load(&J.status);
    const gka_status failed = met == GKA_OK && !all ? GKA_INTERRUPTED : (gka_status)met;
    return failed == GKA_OK
               ? GKA_OK
               : gka_fail(error, failed, "%s exactly: %s", rival->name, gka_status_text(failed));
}
