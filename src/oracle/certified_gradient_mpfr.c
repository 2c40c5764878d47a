/* certified_gradient_mpfr.c - gradients that double-double could not decide, decided in MPFR.
 *
 *   P, v    precision in bits, v = 2^-P          H      lower triangle, row by row; U [D,V]
 *   b s     norms and errors in v, as in certified_gradient.c, whose names are the names here
 *
 * NUMERICS 2 once more, from the first token to the last and back, with states kept at every L-th
 * token, at rising precision until every row that is needed is decided. Each value goes with the
 * bound of gradient_bound.c; x and p are refined with a binary64 factor and a residual in MPFR.
 */
#include "oracle/certified_gradient.h"

#include "oracle/bound.h"
#include "oracle/gradient_bound.h"
#include "oracle/mp.h"
#include "oracle/mp_solve.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define RN MPFR_RNDN

/* Second words take more than the first. */

typedef struct numbers {
    gka_group *g;
    int P;
    bool last; /* no higher precision will be tried */
    int64_t D, V, length, size, index;
    mpfr_t *marks, *states, *H, *U; /* a state: H, then U; H, U: the one after the token */
    mpfr_t *A, *E, *dk, *dv;        /* dk [T,D], dv [T,V] */
    mpfr_t *q, *k, *x, *p, *y, *dq, *dx, *z, *r, *v, *dout, *u; /* [D]; the last three [V] */
    mpfr_t *gamma, *f, *own, *lambda, *excess, *weight, *t, *s, *sum, *low, *high;
    gka_state_bound *mark_bounds, *bounds;   /* of marks and states */
    double *e_dk, *size_dk, *e_dv, *size_dv; /* [T] */
    double *row;
    double alpha;
    gka_token_bound b;
    gka_suffix_bound sb;
} numbers;

/* ---- memory -------------------------------------------------------------------------------- */

static int64_t tokens_of(const gka_group *g) {
    return g->span.end - g->span.begin;
}

static size_t layout(mpfr_t *block, numbers *w) {
    const int64_t D = w->D, V = w->V, T = tokens_of(w->g);
    size_t used = 0;
    w->length = 1;
    while (w->length * w->length < T)
        w->length++;
    w->size = D * (D + 1) / 2 + D * V;
    w->marks = gka_mp_take(block, &used, (T + w->length - 1) / w->length * w->size);
    w->states = gka_mp_take(block, &used, (w->length + 1) * w->size);
    w->A = gka_mp_take(block, &used, D * D);
    w->E = gka_mp_take(block, &used, D * V);
    w->dk = gka_mp_take(block, &used, T * D);
    w->dv = gka_mp_take(block, &used, T * V);
    mpfr_t **const rows[] = {&w->q,  &w->k, &w->x, &w->p, &w->y,    &w->dq,
                             &w->dx, &w->z, &w->r, &w->v, &w->dout, &w->u};
    for (int i = 0; i < 12; i++)
        *rows[i] = gka_mp_take(block, &used, i < 9 ? D : V);
    mpfr_t **const single[] = {&w->gamma, &w->f, &w->own, &w->lambda, &w->excess, &w->weight,
                               &w->t,     &w->s, &w->sum, &w->low,    &w->high};
    for (int i = 0; i < 11; i++)
        *single[i] = gka_mp_take(block, &used, 1);
    return used;
}

/* The binary64 side: bounds and one row or matrix of inputs. */
static double *new_bounds(numbers *w) {
    enum { EACH = sizeof(gka_state_bound) / sizeof(double) };
    const int64_t T = tokens_of(w->g), states = T + w->length + 1;
    const int64_t row = w->D * (w->D > w->V ? w->D : w->V);
    double *const block = gka_alloc((size_t)(EACH * states + 4 * T + row), sizeof *block);
    if (block == NULL)
        return NULL;
    w->mark_bounds = (gka_state_bound *)(void *)block;
    w->bounds = w->mark_bounds + T;
    w->e_dk = block + EACH * states;
    w->size_dk = w->e_dk + T;
    w->e_dv = w->size_dk + T;
    w->size_dv = w->e_dv + T;
    w->row = w->size_dv + T;
    return block;
}

/* ---- small things -------------------------------------------------------------------------- */

/* ||x||, rounded up; 0 only for x = 0 */
static double size(const numbers *w, int64_t n, mpfr_t *x) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const double y = mpfr_get_d(x[i], MPFR_RNDA);
        sum = fma(y, y, sum);
    }
    return sum > 0x1p-900 && sum <= DBL_MAX ? sqrt(sum) * (UP + (double)n * 0x1p-53)
                                            : gka_mp_norm(n, x, 0, *w->t);
}

static double magnitude(const numbers *w, mpfr_srcptr x) {
    return gka_mp_magnitude(x, 0, *w->t);
}

/* z += a b: two roundings, which MPFR does faster than one */
static void add_product(const numbers *w, mpfr_ptr z, mpfr_srcptr a, mpfr_srcptr b) {
    mpfr_mul(*w->low, a, b, RN);
    mpfr_add(z, z, *w->low, RN);
}

/* w->sum = sum of x_i y_i, strides in elements */
static mpfr_ptr dot(const numbers *w, int64_t n, mpfr_t *x, int64_t x_step, mpfr_t *y,
                    int64_t y_step) {
    mpfr_set_zero(*w->sum, 1);
    for (int64_t i = 0; i < n; i++)
        add_product(w, *w->sum, x[i * x_step], y[i * y_step]);
    return *w->sum;
}

/* ---- results ------------------------------------------------------------------------------- */

static gka_decision decide(const numbers *w, gka_target target, mpfr_srcptr x, double e,
                           double *out) {
    return gka_mp_decide(target, x, e, 0, w->P, w->last, *w->low, *w->high, *w->t, out);
}

/* One element, within e v; x is neither w->s nor w->t. False: not decided; at the last precision
 * the rounding of x stands all the same. *unproven: that it does, in the first word or the second.
 */
static bool put_element(numbers *w, mpfr_srcptr x, double e, double *out, double *lo,
                        bool unproven[2]) {
    gka_group *const g = w->g;
    double hi, rest = 0;
    const gka_decision first = decide(w, g->target, x, e, &hi);
    bool decided = first != GKA_NOT_DECIDED;
    unproven[0] = !decided || first == GKA_DECLARED_TIE;
    unproven[1] = false;
    if (!decided)
        hi = gka_mp_round(g->target, x);
    g->ties += first == GKA_TIE || first == GKA_DECLARED_TIE;
    g->zeros += decided && hi == 0;
    if (fabs(hi) > DBL_MAX) {
        rest = -hi;
    } else if (lo != NULL) {
        const int inexact = mpfr_sub_d(*w->s, x, hi, RN);
        const double off = inexact != 0 ? magnitude(w, *w->s) : 0;
        const gka_decision second = decide(w, (gka_target){NULL}, *w->s, (e + off) * UP, &rest);
        unproven[1] = second == GKA_NOT_DECIDED || second == GKA_DECLARED_TIE;
        if (second == GKA_NOT_DECIDED) {
            rest = mpfr_get_d(*w->s, RN) + 0.0;
            decided = false;
        }
    }
    if (out != NULL)
        *out = hi;
    if (lo != NULL)
        *lo = rest;
    return decided;
}

static void enclose(const numbers *w, gka_gradient tensor, int64_t count, int64_t at, mpfr_t *x,
                    double e) {
    const gka_gradient_enclosure *const enclosure = w->g->enclosure;
    double *const hi = gka_gradient_member(w->g->run->of, &enclosure->hi, tensor);
    double *const lo = gka_gradient_member(w->g->run->of, &enclosure->lo, tensor);
    double *const error = gka_gradient_member(w->g->run->of, &enclosure->error, tensor);
    for (int64_t i = 0; hi != NULL && enclosure->precision != 0 && i < count; i++) {
        gka_mp_get(x[i], *w->s, &hi[at + i], &lo[at + i]);
        error[at + i] = ldexp(e, -w->P);
    }
}

static bool at_hand(const gka_group *g, gka_gradient tensor, int64_t t) {
    return tensor == GKA_GRADIENT_DH0 || tensor == GKA_GRADIENT_DU0 ? g->from == g->span.begin
                                                                    : t >= g->from && t < g->to;
}

/* A row that is needed, each element within e v. */
static void put(numbers *w, gka_gradient tensor, int64_t t, mpfr_t *x, double e) {
    gka_group *const g = w->g;
    if (!at_hand(g, tensor, t))
        return;
    uint16_t *const needs = gka_group_needs(g, tensor, w->index, t), bit = (uint16_t)(1u << tensor);
    if ((*needs & bit) == 0)
        return;
    int64_t count;
    const int64_t to = gka_group_place(g, tensor, w->index, t, &count), zeros = g->zeros,
                  ties = g->ties;
    const bool state = tensor == GKA_GRADIENT_DH0 || tensor == GKA_GRADIENT_DU0;
    const int64_t base = state ? 0 : g->base * count; /* what the caller's window hides */
    double *const out = gka_gradient_member(g->run->of, g->run->out, tensor),
                  *const lo = gka_gradient_member(g->run->of, g->run->lo, tensor);
    const bool last = w->last || !(e <= DBL_MAX); /* no precision helps */
    bool all = true;
    enclose(w, tensor, count, to, x, e);
    for (int64_t i = 0; i < count; i++) {
        const bool nothing =
            (e == 0 && mpfr_zero_p(x[i])) || gka_group_zero(g, tensor, w->index, i);
        double *const to_out = gka_offset(out, to + i), *const to_lo = gka_offset(lo, to + i);
        if (nothing && to_out != NULL)
            *to_out = 0;
        if (nothing && to_lo != NULL)
            *to_lo = 0;
        bool unproven[2];
        if (nothing)
            continue;
        all = put_element(w, x[i], e, to_out, to_lo, unproven) && all;
        if (!w->last && !last)
            continue;
        g->undecided += unproven[0] || unproven[1];
        for (int word = 0; word < 2; word++)
            if (unproven[word])
                gka_run_unproven(g->run,
                                 gka_output_table[gka_gradient_output(g->run->of, tensor)].name,
                                 word == 1, base + to + i);
    }
    if (all || last) {
        *needs &= (uint16_t)~bit;
    } else {
        g->zeros = zeros;
        g->ties = ties;
    }
}

/* ---- the state ----------------------------------------------------------------------------- */

static void at_state(numbers *w, mpfr_t *state) {
    w->H = state;
    w->U = state + w->D * (w->D + 1) / 2;
}

/* H = (h + h^T)/2 */
static void set_state(const numbers *w, const double *h, gka_state_bound *bound) {
    const int64_t D = w->D;
    bool exact = true;
    double squares = 0;
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j <= i; j++) {
            mpfr_ptr const H = gka_mp_at(w->H, i, j);
            mpfr_set_d(H, h[i * D + j], RN);
            exact &= mpfr_add_d(H, H, h[j * D + i], RN) == 0;
            mpfr_div_2ui(H, H, 1, RN);
            const double size_ = magnitude(w, H);
            squares += (i == j ? 1 : 2) * size_ * size_;
        }
    const bool some = squares > 0 || size(w, D * (D + 1) / 2, w->H) > 0;
    bound->H = some ? sqrt(squares) * (UP + (double)(D * D) * 0x1p-53) + 0x1p-500 : 0;
    bound->e_H = exact ? 0 : bound->H;
    bound->least = 0;
    if (some) { /* what binary64 makes of H is off by 2^-53 of it */
        gka_mp_strips(D, w->H, 0, *w->t, w->g->head.H);
        bound->least = gka_head_h0_least(&w->g->head, w->g->head.H, bound->H);
    }
}

static void first_state(numbers *w) {
    const gka_group *const g = w->g;
    const gka_problem *const problem = g->run->problem;
    at_state(w, w->states);
    *w->bounds = (gka_state_bound){0};
    gka_problem_h0(problem, g->n, g->h + w->index, w->row);
    set_state(w, w->row, w->bounds);
    if (w->V == 0)
        return;
    gka_problem_u0(problem, g->n, g->h + w->index, w->row);
    gka_mp_read(w->D * w->V, w->row, w->U);
    w->bounds->U = size(w, w->D * w->V, w->U);
}

static void read_token(numbers *w, int64_t t) {
    const gka_group *const g = w->g;
    const gka_problem *const problem = g->run->problem;
    const int64_t D = w->D, V = w->V, b = g->span.b, h = g->h + w->index;
    gka_problem_q(problem, b, t, h, w->row);
    gka_mp_read(D, w->row, w->q);
    gka_problem_k(problem, b, t, h, w->row);
    gka_mp_read(D, w->row, w->k);
    w->b.v = 0;
    if (V > 0) {
        gka_problem_v(problem, b, t, h, w->row);
        gka_mp_read(V, w->row, w->v);
        w->b.v = size(w, V, w->v);
    }
    w->alpha = V > 0 ? gka_problem_alpha(problem, b, t, h) : 1;
    mpfr_set_d(*w->gamma, gka_problem_g(problem, b, t, h), RN);
    const bool exact = mpfr_exp(*w->gamma, *w->gamma, RN) == 0;
    w->b.gamma = magnitude(w, *w->gamma);
    if (!exact && w->b.gamma == 0) /* below MPFR's range, and far within v of it */
        w->b.gamma = 0x1p-1000;
    w->b.e_gamma = exact ? 0 : w->b.gamma;
    w->b.k = size(w, D, w->k);
}

/* A gate that is 0 exactly, where a chunk ends. */
static bool closed(const numbers *w) {
    return mpfr_zero_p(*w->gamma) && w->b.e_gamma == 0;
}

/* The state from `before` to `after`; see certified_gradient.c. */
static void next_state(numbers *w, mpfr_t *before, const gka_state_bound *old, const double *given,
                       mpfr_t *after, gka_state_bound *bound) {
    const int64_t D = w->D, V = w->V;
    *bound = *old;
    if (after != before)
        gka_mp_copy(after, before, w->size);
    at_state(w, after);
    if (closed(w))
        gka_mp_zero(after, w->size);
    else if (given != NULL)
        set_state(w, given, bound);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j <= i; j++) {
            mpfr_ptr const H = gka_mp_at(w->H, i, j);
            mpfr_mul(H, H, *w->gamma, RN);
            add_product(w, H, w->k[i], w->k[j]);
        }
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < V; j++) {
            mpfr_ptr const U = w->U[i * V + j];
            mpfr_mul(U, U, *w->gamma, RN);
            add_product(w, U, w->k[i], w->v[j]);
        }
    gka_bound_next(&w->b.precision, w->b.gamma, w->b.e_gamma, w->b.k, w->b.v, bound);
}

/* own = ||H||, and f, lambda */
static void ridge(numbers *w, gka_state_bound *after, int64_t t) {
    const gka_upstream *const given = w->g->run->options->given;
    const gka_problem *const problem = w->g->run->problem;
    gka_token_bound *const b = &w->b;
    mpfr_set_zero(*w->sum, 1);
    for (int64_t i = 0; i < w->D; i++)
        for (int64_t j = 0; j <= i; j++) {
            mpfr_mul_2ui(*w->t, gka_mp_at(w->H, i, j), i == j ? 0 : 1, RN);
            add_product(w, *w->sum, *w->t, gka_mp_at(w->H, i, j));
        }
    mpfr_sqrt(*w->own, *w->sum, RN);
    b->own = magnitude(w, *w->own);
    after->e_f = after->H == 0 ? 0 : ((double)(w->D * w->D + 2) * b->own + after->e_H) * UP;
    if (b->own > 0 || after->e_H == 0) /* 0 where nothing is certain: underflow, or by chance */
        after->H = fmin(after->H, b->own * (UP + (double)(w->D * w->D) * 0x1p-90));
    b->given_f = given != NULL && given->fro != NULL;
    b->e_own = after->e_f;
    if (b->given_f)
        mpfr_set_d(*w->f, given->fro[gka_at(problem, w->g->span.b, t, w->g->h + w->index)], RN);
    else
        mpfr_set(*w->f, *w->own, RN);
    b->e_f = b->given_f ? 0 : after->e_f;
    b->f = mpfr_get_d(*w->f, MPFR_RNDD);
    mpfr_mul_d(*w->lambda, *w->f, problem->ridge_ratio, RN);
    b->lambda = magnitude(w, *w->lambda);
}

/* ---- the solve ----------------------------------------------------------------------------- */

/* R^T R = (H + lambda I) 2^-e; false: binary64 cannot. */
static bool factor(numbers *w, const gka_state_bound *after, mpfr_exp_t e) {
    gka_head *const head = &w->g->head;
    const double v = w->b.precision.v, e_lambda = gka_bound_lambda(&w->b) * v;
    gka_mp_strips(w->D, w->H, e, *w->t, head->H);
    mpfr_mul_2si(*w->t, *w->lambda, -e, RN);
    const double lambda = mpfr_get_d(*w->t, RN), exact = mpfr_get_d(*w->lambda, MPFR_RNDD);
    w->b.least = (exact * DOWN - e_lambda + after->least) * DOWN;
    if (!(w->b.least > 0)) {
        const double f = ldexp(after->H, (int)-e) * UP;
        const double error = ldexp(after->e_H * v + e_lambda, (int)-e) * UP;
        w->b.least = ldexp(gka_head_least(head, head->H, lambda, f, error), (int)e) * DOWN;
    }
    return gka_head_factor(head, head->H, lambda);
}

static bool solve(numbers *w, const gka_state_bound *after, mpfr_exp_t e, mpfr_t *right,
                  double e_right, mpfr_t *x, double *x_norm, double *e_x) {
    gka_head *const head = &w->g->head;
    const double right_norm = size(w, w->D, right);
    gka_mp_zero(x, w->D);
    *x_norm = *e_x = 0;
    if (right_norm == 0 && e_right == 0)
        return true;
    gka_mp_copy(w->r, right, w->D);
    double r = INFINITY;
    const mpfr_exp_t start = gka_mp_exponent(w->D, right);
    mpfr_exp_t left = start, before;
    do { /* where bounds leave binary64 as long as it helps */
        gka_mp_correct(head, w->r, e, *w->t, x);
        gka_mp_residual(w->D, w->H, *w->lambda, right, x, *w->s, *w->t, w->r);
        before = left;
        left = gka_mp_exponent(w->D, w->r);
        r = gka_mp_norm_in_v(w->P, w->D, w->r);
        *x_norm = size(w, w->D, x);
        const double rest = gka_bound_solve(after, &w->b, right_norm, e_right, 0, *x_norm);
        if (rest <= DBL_MAX && r <= rest * w->b.least)
            break;
    } while (left < before - 2);
    *e_x = gka_bound_solve(after, &w->b, right_norm, e_right, r, *x_norm);
    return left == MPFR_EMIN_DEFAULT ||
           left <= start - 64; /* else the factor is of another matrix */
}

static bool solve_both(numbers *w, const gka_state_bound *after, int64_t t) {
    static const gka_upstream nothing = {0};
    const gka_run *const run = w->g->run;
    const gka_upstream *const given = run->options->given != NULL ? run->options->given : &nothing;
    const int64_t at = gka_at(run->problem, w->g->span.b, t, w->g->h + w->index);
    gka_token_bound *const b = &w->b;
    const double *const from[2] = {given->x, given->p};
    mpfr_t *const unknown[2] = {w->x, w->p}, *const right[2] = {w->q, w->dx};
    const double e_right[2] = {0, b->e_dx};
    double *const norms[2] = {&b->x, &b->p}, *const errors[2] = {&b->e_x, &b->e_p};
    bool factored = false;
    for (int i = 0; i < 2; i++) {
        *errors[i] = 0;
        if (from[i] != NULL) {
            gka_mp_read(w->D, from[i] + at * w->D, unknown[i]);
            *norms[i] = size(w, w->D, unknown[i]);
        } else if (mpfr_zero_p(*w->f)) { /* exactly; or decayed below MPFR's exponents */
            if (after->H > 0 && !b->given_f)
                return false;
            gka_mp_zero(unknown[i], w->D);
            *norms[i] = 0;
        } else {
            const mpfr_exp_t e = mpfr_get_exp(mpfr_zero_p(*w->own) ? *w->lambda : *w->own);
            if (!factored && !factor(w, after, e))
                return false;
            factored = true;
            if (!solve(w, after, e, right[i], e_right[i], unknown[i], norms[i], errors[i]))
                return false;
        }
    }
    return true;
}

/* ---- one token in reverse ------------------------------------------------------------------ */

static void begin_bound(numbers *w) {
    const gka_problem *const problem = w->g->run->problem;
    gka_token_bound *const b = &w->b;
    b->ratio = problem->ridge_ratio;
    b->scale = fabs(problem->scale);
    b->alpha = fabs(w->alpha);
    b->rest = fabs(1 - w->alpha) * UP;
    b->q = size(w, w->D, w->q);
}

/* dq' = s U do, or dx itself; dx = alpha dq' */
static void cotangents(numbers *w, const gka_state_bound *after, int64_t t) {
    const gka_group *const g = w->g;
    const gka_problem *const problem = g->run->problem;
    const int64_t D = w->D, V = w->V, b = g->span.b, h = g->h + w->index;
    w->b.dout = w->b.e_dq = w->b.e_dx = 0;
    if (V > 0) {
        gka_problem_dout(problem, b, t, h, w->row);
        gka_mp_read(V, w->row, w->dout);
        w->b.dout = size(w, V, w->dout);
        for (int64_t i = 0; i < D; i++)
            mpfr_mul_d(w->dq[i], dot(w, V, w->U + i * V, 1, w->dout, 1), problem->scale, RN);
    } else {
        gka_problem_dx(problem, b, t, h, w->row);
        gka_mp_read(D, w->row, w->dq);
    }
    for (int64_t i = 0; i < D; i++)
        mpfr_mul_d(w->dx[i], w->dq[i], w->alpha, RN);
    w->b.dq = size(w, D, w->dq);
    if (V > 0)
        gka_bound_cotangent(after, &w->b);
}

/* A -= weight H, weight = a <p,x>/f; and the excess of dg */
static void ridge_term(numbers *w) {
    const int64_t D = w->D;
    mpfr_mul_d(*w->weight, dot(w, D, w->p, 1, w->x, 1), w->g->run->problem->ridge_ratio, RN);
    w->b.ridge = magnitude(w, *w->weight);
    mpfr_div(*w->weight, *w->weight, *w->f, RN);
    mpfr_neg(*w->weight, *w->weight, RN);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++)
            add_product(w, w->A[i * D + j], *w->weight, gka_mp_at(w->H, i, j));
    if (!w->b.given_f)
        return;
    mpfr_sqr(*w->s, *w->f, RN);
    mpfr_sqr(*w->t, *w->own, RN);
    mpfr_sub(*w->s, *w->s, *w->t, RN);
    add_product(w, *w->excess, *w->weight, *w->s);
}

/* A = -p x^T - a <p,x>/f H + A,  E = s q' do^T + E */
static void suffix(numbers *w, const gka_state_bound *after) {
    const int64_t D = w->D, V = w->V;
    w->b.ridge = w->b.y = w->b.e_y = 0;
    for (int64_t i = 0; i < D; i++) {
        mpfr_neg(*w->s, w->p[i], RN);
        for (int64_t j = 0; j < D; j++)
            add_product(w, w->A[i * D + j], *w->s, w->x[j]);
    }
    if (!mpfr_zero_p(*w->f))
        ridge_term(w);
    if (V > 0) {
        for (int64_t i = 0; i < D; i++) {
            mpfr_sub(w->y[i], w->x[i], w->q[i], RN);
            mpfr_mul_d(w->y[i], w->y[i], w->alpha, RN);
            mpfr_add(w->y[i], w->y[i], w->q[i], RN);
        }
        w->b.y = size(w, D, w->y);
        gka_bound_mix(&w->b);
        for (int64_t i = 0; i < D; i++) {
            mpfr_mul_d(*w->s, w->y[i], w->g->run->problem->scale, RN);
            for (int64_t j = 0; j < V; j++)
                add_product(w, w->E[i * V + j], *w->s, w->dout[j]);
        }
    }
    gka_bound_suffix(after, &w->b, &w->sb);
    w->sb.A = size(w, D * D, w->A);
    w->sb.E = size(w, D * V, w->E);
}

/* dk += (A + A^T) k + E v,  dv += E^T k */
static void keys_and_values(numbers *w, mpfr_t *dk, mpfr_t *dv) {
    const int64_t D = w->D, V = w->V;
    for (int64_t i = 0; i < D; i++) {
        mpfr_add(dk[i], dk[i], dot(w, D, w->A + i, D, w->k, 1), RN);
        mpfr_add(dk[i], dk[i], dot(w, D, w->A + i * D, 1, w->k, 1), RN);
        if (V > 0)
            mpfr_add(dk[i], dk[i], dot(w, V, w->E + i * V, 1, w->v, 1), RN);
    }
    for (int64_t j = 0; j < V; j++)
        mpfr_add(dv[j], dv[j], dot(w, D, w->E + j, V, w->k, 1), RN);
}

/* dg = gamma (<A, H_{t-1}> + <E, U_{t-1}>); A <- gamma A, E <- gamma E. `before` holds the state.
 */
static void gate(numbers *w, mpfr_t *before, int64_t t, const gka_results_bound *e) {
    const int64_t D = w->D, V = w->V;
    mpfr_t *const U = before + D * (D + 1) / 2;
    mpfr_set_zero(*w->sum, 1);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++)
            add_product(w, *w->sum, w->A[i * D + j], gka_mp_at(before, i, j));
    mpfr_mul(w->z[0], *w->gamma, *w->sum, RN);
    if (w->b.given_f && !closed(w))
        mpfr_add(w->z[0], w->z[0], *w->excess, RN);
    put(w, GKA_GRADIENT_DG_H, t, w->z, e->dg_h);
    mpfr_mul(*w->weight, *w->gamma, dot(w, D * V, w->E, 1, U, 1), RN);
    put(w, GKA_GRADIENT_DG_U, t, w->weight, e->dg_u);
    mpfr_add(w->z[0], w->z[0], *w->weight, RN);
    put(w, GKA_GRADIENT_DG, t, w->z, e->dg);
    for (int64_t i = 0; i < D * D; i++)
        mpfr_mul(w->A[i], w->A[i], *w->gamma, RN);
    for (int64_t i = 0; i < D * V; i++)
        mpfr_mul(w->E[i], w->E[i], *w->gamma, RN);
    gka_bound_gate(&w->b, &w->sb);
}

/* z = x - q */
static void difference(numbers *w) {
    for (int64_t i = 0; i < w->D; i++)
        mpfr_sub(w->z[i], w->x[i], w->q[i], RN);
}

/* dalpha = <dq', x - q>,  dq = (1 - alpha) dq' + p */
static void query(numbers *w, int64_t t, const gka_results_bound *e) {
    const int64_t D = w->D;
    difference(w);
    (void)dot(w, D, w->dq, 1, w->z, 1);
    if (w->V > 0)
        put(w, GKA_GRADIENT_DALPHA, t, w->sum, e->dalpha);
    mpfr_set_d(*w->s, w->alpha, RN);
    mpfr_ui_sub(*w->s, 1, *w->s, RN);
    for (int64_t i = 0; i < D; i++)
        mpfr_fma(w->z[i], w->dq[i], *w->s, w->p[i], RN);
    put(w, GKA_GRADIENT_DQ, t, w->z, e->dq);
}

/* x, f, and o = s U^T q' */
static void forward(numbers *w, int64_t t, const gka_results_bound *e) {
    put(w, GKA_GRADIENT_X, t, w->x, w->b.e_x);
    put(w, GKA_GRADIENT_FRO, t, w->f, w->b.e_f);
    for (int64_t j = 0; j < w->V; j++)
        mpfr_mul_d(w->u[j], dot(w, w->D, w->U + j, w->V, w->y, 1), w->g->run->problem->scale, RN);
    if (w->V > 0)
        put(w, GKA_GRADIENT_O, t, w->u, e->o);
}

static gka_results_bound result_bounds(const gka_state_bound *before, const gka_state_bound *after,
                                       int64_t i, numbers *w) {
    gka_results_bound e = {
        .dk = w->e_dk[i], .size_dk = w->size_dk[i], .dv = w->e_dv[i], .size_dv = w->size_dv[i]};
    difference(w);
    w->b.t = size(w, w->D, w->z);
    gka_bound_results(before, after, &w->b, &w->sb, &e);
    w->e_dk[i] = e.dk;
    w->size_dk[i] = e.size_dk;
    w->e_dv[i] = e.dv;
    w->size_dv[i] = e.size_dv;
    return e;
}

static void end_of_chunk(numbers *w) {
    mpfr_set_zero(*w->excess, 1);
    w->sb.excess = w->sb.e_excess = 0;
}

/* From w->states + m, the state before token t, and the one after it. False: binary64 cannot factor
 * H + lambda I. */
static bool reverse_token(numbers *w, int64_t t, int64_t m) {
    const gka_group *const g = w->g;
    const gka_problem *const problem = g->run->problem;
    const int64_t i = t - g->span.begin, h = g->h + w->index;
    mpfr_t *const before = w->states + m * w->size;
    gka_state_bound *const after = w->bounds + m + 1;
    gka_state_bound bound = w->bounds[m];
    read_token(w, t);
    at_state(w, before + w->size);
    if (t + 1 == g->span.end || (t + 1 - g->span.begin) % problem->chunk_size == 0)
        end_of_chunk(w);
    ridge(w, after, t);
    begin_bound(w);
    cotangents(w, after, t);
    if (!solve_both(w, after, t))
        return false;
    put(w, GKA_GRADIENT_P, t, w->p, w->b.e_p);
    suffix(w, after);
    const double *const given = gka_given_state(g->run, g->n, t, h);
    if (given != NULL) { /* the token before will be replayed with its own */
        at_state(w, before);
        set_state(w, given, &bound);
        at_state(w, before + w->size);
    }
    const gka_results_bound e = result_bounds(&bound, after, i, w);
    keys_and_values(w, w->dk + i * w->D, w->dv + i * w->V);
    gate(w, before, t, &e);
    query(w, t, &e);
    if (g->run->options->given != NULL)
        forward(w, t, &e);
    if (closed(w))
        end_of_chunk(w);
    return true;
}

/* ---- one head, one group ------------------------------------------------------------------- */

static void last_cotangents(numbers *w) {
    const gka_group *const g = w->g;
    const int64_t D = w->D, V = w->V;
    gka_problem_dh_final(g->run->problem, g->n, g->h + w->index, w->row);
    gka_mp_read(D * D, w->row, w->A);
    w->sb = (gka_suffix_bound){.A = size(w, D * D, w->A)};
    if (V == 0)
        return;
    gka_problem_du_final(g->run->problem, g->n, g->h + w->index, w->row);
    gka_mp_read(D * V, w->row, w->E);
    w->sb.E = size(w, D * V, w->E);
}

static gka_status fail(const numbers *w, int64_t t, gka_error *error) {
    gka_head *const head = &w->g->head;
    head->h = w->g->h + w->index;
    return gka_head_fail(head, t, GKA_NO_CERTIFICATE,
                         "H + lambda I is not positive definite and well enough conditioned for a "
                         "binary64 factor, or the state has decayed below the exponents of MPFR",
                         error);
}

static const double *given_at(const numbers *w, int64_t t) {
    return gka_given_state(w->g->run, w->g->n, t, w->g->h + w->index);
}

/* Back to the first token whose results are needed. */
static gka_status reverse_head(numbers *w, int64_t first, gka_error *error) {
    const gka_group *const g = w->g;
    const int64_t length = w->length, size_ = w->size;
    first_state(w);
    for (int64_t t = g->span.begin; t < g->span.end; t++) {
        const int64_t i = t - g->span.begin;
        if (i % length == 0) {
            gka_mp_copy(w->marks + i / length * size_, w->states, size_);
            w->mark_bounds[i / length] = *w->bounds;
        }
        read_token(w, t);
        next_state(w, w->states, w->bounds, given_at(w, t), w->states, w->bounds);
        if (!gka_run_waits(g->run, g->n, g->h))
            return GKA_INTERRUPTED;
    }
    last_cotangents(w);
    for (int64_t t = g->span.end - 1; t >= first; t--) {
        const int64_t i = t - g->span.begin, m = i % length;
        if (m == length - 1 || t == g->span.end - 1) {
            gka_mp_copy(w->states, w->marks + i / length * size_, size_);
            *w->bounds = w->mark_bounds[i / length];
            for (int64_t j = 0; j <= m && !gka_stopped(); j++) {
                read_token(w, t - m + j);
                next_state(w, w->states + j * size_, w->bounds + j, given_at(w, t - m + j),
                           w->states + (j + 1) * size_, w->bounds + j + 1);
            }
        }
        if (!reverse_token(w, t, m))
            return fail(w, t, error);
        if (!gka_run_waits(g->run, g->n, g->h))
            return GKA_INTERRUPTED;
    }
    if (first > g->span.begin)
        return GKA_OK;
    put(w, GKA_GRADIENT_DH0, g->span.end, w->A, w->sb.e_A);
    put(w, GKA_GRADIENT_DU0, g->span.end, w->E, w->sb.e_E);
    return GKA_OK;
}

/* The first token of which anything is needed; -1: nothing is. An initial state needs all. */
static int64_t first_needed(const gka_group *g) {
    int64_t first = -1;
    for (int64_t head = 0; head < g->heads; head++) {
        const uint16_t *const needs = g->needs + head * g->stride;
        if (needs[g->to - g->from] != 0)
            return g->from;
        for (int64_t t = g->from; t < g->to && (first < 0 || t < first); t++)
            if (needs[t - g->from] != 0)
                first = t;
    }
    return first;
}

static gka_status reverse_group(numbers *w, int64_t first, gka_error *error) {
    const int64_t T = tokens_of(w->g);
    gka_status status = GKA_OK;
    gka_mp_zero(w->dk, T * w->D);
    gka_mp_zero(w->dv, T * w->V);
    memset(w->e_dk, 0, (size_t)(4 * T) * sizeof *w->e_dk);
    for (w->index = 0; w->index < w->g->heads && status == GKA_OK; w->index++)
        status = reverse_head(w, first, error);
    if (status != GKA_OK)
        return status;
    w->index = 0;
    for (int64_t t = first; t < w->g->to; t++) {
        const int64_t i = t - w->g->span.begin;
        put(w, GKA_GRADIENT_DK, t, w->dk + i * w->D, w->e_dk[i]);
        put(w, GKA_GRADIENT_DV, t, w->dv + i * w->V, w->e_dv[i]);
    }
    return GKA_OK;
}

gka_status gka_group_resolve(gka_group *g, gka_error *error) {
    const int only = g->enclosure->precision;
    gka_status status = GKA_OK;
    static const int precisions[GKA_MP_PRECISIONS] = {160, 256, 768, 1536, 4096};
    const int steps = gka_mp_precisions(g->run->problem, g->n, g->h, g->heads, g->V, g->head.row);
    for (int i = g->second_words; i < steps && status == GKA_OK; i++) {
        const int64_t first = first_needed(g);
        if (first < 0)
            break;
        numbers w = {.g = g,
                     .P = only > 0 ? only : precisions[i],
                     .last = only > 0 || i == steps - 1,
                     .D = g->D,
                     .V = g->V};
        w.b.precision = gka_precision_mpfr(w.P, w.D, w.V);
        mpfr_t *const block = gka_mp_new(layout(NULL, &w), w.P);
        double *const bounds = block == NULL ? NULL : new_bounds(&w);
        if (bounds == NULL) {
            status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
        } else {
            layout(block, &w);
            status = reverse_group(&w, first, error);
        }
        gka_free(bounds);
        gka_free(block);
    }
    mpfr_free_cache();
    return status;
}
