/* certified_gradient_mpfr.c - gradients that double-double could not decide, decided in MPFR.
 *
 *   P, v    precision in bits, v = 2^-P          H      lower triangle, row by row; U [D,V]
 *   b s     norms and errors in v, as in certified_gradient.c, whose names are the names here
 *
 * NUMERICS 2 once more, to the right and back, at rising precision until every row that is needed
 * is decided. Each value goes with the bound of gradient_bound.c; x and p are refined with a
 * binary64 factor and a residual in MPFR. States are kept at L tokens in turn and, in front of
 * these, where halves of what is left begin.
 *
 * A pass has a reach: results of the tokens [first, end), the state from before `left` on, A and E
 * from after `right - 1` on. Of a sequence of some length these are its two ends, where everything
 * is given exactly. Of a longer one they are checkpoints of double-double:
 *
 *   H^, U^ before `left`, with ||H^ - H|| <= e 2^-106 and the same of U, and a bound of the exact
 *   H's least eigenvalue;  gamma^ A^, gamma^ E^ before `right`, with theirs.
 *
 * Nothing in gradient_bound.c asks where an error of the state, of A or of E comes from or that it
 * is small: each line bounds what a step makes of values that are off by at most e v, products of
 * two errors included. So a checkpoint's error is taken over as e 2^(P - 106), with the roundings
 * to P bits added, and what comes out is a proven bound of every gradient, whatever the reach. To
 * first order (to see how long a reach must be; the proof does not use it) the state at t is off by
 * prod(left..t) gamma times its error, A by prod(t+1..right-1) gamma times that of A and by the
 * sum over s in [t, right) of prod(t+1..s) gamma times what x_s and p_s are off by, which is the
 * state's error at s over the least eigenvalue. All of it is below 2^-b of double-double's own once
 * the gates on either side have forgotten b bits; so b rises with the precision, and a row that the
 * interval still does not decide is taken again. Where the gates do not forget in `farthest` tokens
 * the reach is all of the sequence; by windows, which would go over it once for each, nothing is
 * tried.
 *
 * A token whose x or p double-double could not bound (the norm of its state is below binary64, or
 * is not to be factored there) leaves the checkpoints to its left without a bound and, worse,
 * without its terms, which may be the largest. From there on the reach is all of the sequence, by
 * windows too.
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

/* See above; a token counts from its batch row's first, as everywhere. */
typedef struct reach {
    int64_t left, first, end, right;
} reach;

typedef struct numbers {
    gka_group *g;
    reach of;
    int P;
    bool last; /* no higher precision will be tried */
    int64_t D, V, length, size, index;
    int depths;                     /* of marks */
    mpfr_t *marks, *states, *H, *U; /* a state: H, then U; H, U: the one after the token */
    mpfr_t *given;                  /* where H before a token is given: that, lower triangle */
    mpfr_t *A, *E, *dk, *dv;        /* dk [end - first,D], dv [end - first,V] */
    mpfr_t *q, *k, *x, *p, *y, *dq, *dx, *z, *r, *v, *dout, *u; /* [D]; the last three [V] */
    mpfr_t *gamma, *f, *own, *lambda, *excess, *weight, *t, *s, *sum, *low, *high;
    gka_state_bound *mark_bounds, *bounds;   /* of marks and states */
    double *e_dk, *size_dk, *e_dv, *size_dv; /* [end - first] */
    double *row;
    double alpha;
    gka_token_bound b;
    gka_suffix_bound sb;
} numbers;

/* ---- memory -------------------------------------------------------------------------------- */

/* Tokens whose results are wanted. */
static int64_t rows_of(const numbers *w) {
    return w->of.end - w->of.first;
}

static size_t layout(mpfr_t *block, numbers *w) {
    enum { LEAST_LENGTH = 2 };
    const int64_t D = w->D, V = w->V, n = rows_of(w), back = w->of.right - w->of.first;
    size_t used = 0;
    w->length = LEAST_LENGTH;
    while (4 * w->length * w->length < back)
        w->length++;
    w->depths = 1;
    for (int64_t rest = back; rest > w->length; rest -= rest / 2)
        w->depths++;
    w->size = D * (D + 1) / 2 + D * V;
    w->marks = gka_mp_take(block, &used, w->depths * w->size);
    w->states = gka_mp_take(block, &used, (w->length + 1) * w->size);
    const gka_upstream *const given = w->g->run->options->given;
    w->given =
        gka_mp_take(block, &used, given != NULL && given->h_chunk != NULL ? D * (D + 1) / 2 : 0);
    w->A = gka_mp_take(block, &used, D * D);
    w->E = gka_mp_take(block, &used, D * V);
    w->dk = gka_mp_take(block, &used, n * D);
    w->dv = gka_mp_take(block, &used, n * V);
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
    const int64_t n = rows_of(w), states = w->depths + w->length + 1;
    const int64_t row = w->D * (w->D > w->V ? w->D : w->V);
    double *const block = gka_alloc((size_t)(EACH * states + 4 * n + row), sizeof *block);
    if (block == NULL)
        return NULL;
    w->mark_bounds = (gka_state_bound *)(void *)block;
    w->bounds = w->mark_bounds + w->depths;
    w->e_dk = block + EACH * states;
    w->size_dk = w->e_dk + n;
    w->e_dv = w->size_dk + n;
    w->size_dv = w->e_dv + n;
    w->row = w->size_dv + n;
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

/* The sequence's own ends are its ends. */
static bool whole(const gka_group *g, const reach *r) {
    return r->left == g->span.begin && r->right == g->span.end;
}

static gka_decision decide(const numbers *w, gka_target target, mpfr_srcptr x, double e,
                           double *out) {
    return gka_mp_decide(target, x, e, 0, w->P, w->last && whole(w->g, &w->of), *w->low, *w->high,
                         *w->t, out);
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
    at_state(w, w->marks);
    *w->mark_bounds = (gka_state_bound){0};
    gka_problem_h0(problem, g->n, g->h + w->index, w->row);
    set_state(w, w->row, w->mark_bounds);
    if (w->V == 0)
        return;
    gka_problem_u0(problem, g->n, g->h + w->index, w->row);
    gka_mp_read(w->D * w->V, w->row, w->U);
    w->mark_bounds->U = size(w, w->D * w->V, w->U);
}

/* ---- checkpoints --------------------------------------------------------------------------- */

/* hi + lo of an entry of strips, rounded once */
static void take(const numbers *w, mpfr_ptr x, const double *entry) {
    mpfr_set_d(x, entry[0], RN);
    if (!w->g->enclosure->coarse)
        mpfr_add_d(x, x, entry[8], RN);
}

/* In v: what is off by e 2^-106 and was rounded at most `roundings` times to P bits, and to
 * binary64 as often in a test. */
static double taken_over(const numbers *w, double e, int roundings, double size_) {
    const double cut = w->g->enclosure->coarse ? ldexp(1, w->P - 53) * UP : 0;
    return (gka_bound_times(e, ldexp(1, w->P - 106)) +
            gka_bound_times(roundings + roundings * cut, size_)) *
           UP;
}

/* The state before of.left to marks. */
static void take_state(numbers *w, const gka_carried *c) {
    const int64_t D = w->D, V = w->V;
    gka_state_bound *const bound = w->mark_bounds;
    at_state(w, w->marks);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j <= i; j++)
            take(w, gka_mp_at(w->H, i, j), c->H + gka_strip_at(c->n, i, j));
    for (int64_t i = 0; i < D * V; i++)
        take(w, w->U[i], c->U + gka_strip_at(c->n, i / V, i % V));
    *bound = c->state;
    bound->H *= UP;
    bound->U *= UP;
    bound->e_H = taken_over(w, c->state.e_H, 1, bound->H);
    bound->e_U = taken_over(w, c->state.e_U, 1, bound->U);
}

/* A and E before of.right, and the excess. */
static void take_suffix(numbers *w, const gka_carried *c) {
    enum { ROUNDINGS = 4 }; /* entry, gate and product: 3 and less than one of second order */
    const int64_t D = w->D, V = w->V;
    const double gate[16] = {[0] = c->gate.hi, [8] = c->gate.lo},
                 excess[16] = {[0] = c->excess.hi, [8] = c->excess.lo};
    take(w, *w->gamma, gate);
    for (int64_t i = 0; i < D * D; i++) {
        take(w, w->A[i], c->A + gka_strip_at(c->n, i / D, i % D));
        mpfr_mul(w->A[i], w->A[i], *w->gamma, RN);
    }
    for (int64_t i = 0; i < D * V; i++) {
        take(w, w->E[i], c->E + gka_strip_at(c->n, i / V, i % V));
        mpfr_mul(w->E[i], w->E[i], *w->gamma, RN);
    }
    take(w, *w->excess, excess);
    w->sb = c->suffix;
    w->sb.A = size(w, D * D, w->A);
    w->sb.E = size(w, D * V, w->E);
    w->sb.e_A = taken_over(w, c->suffix.e_A, ROUNDINGS, w->sb.A);
    w->sb.e_E = taken_over(w, c->suffix.e_E, ROUNDINGS, w->sb.E);
    w->sb.e_excess = taken_over(w, c->suffix.e_excess, 1, w->sb.excess);
}

/* ---- a token to the right ------------------------------------------------------------------ */

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
        const int most = 4096, to = (int)(e > most ? most : e < -most ? -most : e);
        const double f = ldexp(after->H, -to) * UP; /* beyond binary64 all the same */
        const double error = ldexp(after->e_H * v + e_lambda, -to) * UP;
        w->b.least = ldexp(gka_head_least(head, head->H, lambda, f, error), to) * DOWN;
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
    bool enough = false; /* the rest is less than what is not known of H, lambda and right */
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
        enough = rest <= DBL_MAX && r <= rest * w->b.least;
    } while (!enough && left < before - 2);
    *e_x = gka_bound_solve(after, &w->b, right_norm, e_right, r, *x_norm);
    return enough || left == MPFR_EMIN_DEFAULT ||
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

/* dg = gamma (<A, H_{t-1}> + <E, U_{t-1}>) */
static void gate(numbers *w, mpfr_t *H, mpfr_t *U, int64_t t, const gka_results_bound *e) {
    const int64_t D = w->D, V = w->V;
    mpfr_set_zero(*w->sum, 1);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++)
            add_product(w, *w->sum, w->A[i * D + j], gka_mp_at(H, i, j));
    mpfr_mul(w->z[0], *w->gamma, *w->sum, RN);
    if (w->b.given_f && !closed(w))
        mpfr_add(w->z[0], w->z[0], *w->excess, RN);
    put(w, GKA_GRADIENT_DG_H, t, w->z, e->dg_h);
    mpfr_mul(*w->weight, *w->gamma, dot(w, D * V, w->E, 1, U, 1), RN);
    put(w, GKA_GRADIENT_DG_U, t, w->weight, e->dg_u);
    mpfr_add(w->z[0], w->z[0], *w->weight, RN);
    put(w, GKA_GRADIENT_DG, t, w->z, e->dg);
}

/* A <- gamma A, E <- gamma E */
static void forget(numbers *w) {
    for (int64_t i = 0; i < w->D * w->D; i++)
        mpfr_mul(w->A[i], w->A[i], *w->gamma, RN);
    for (int64_t i = 0; i < w->D * w->V; i++)
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

/* What is wanted of token t, whose own terms are in A and E. */
static void results(numbers *w, int64_t t, mpfr_t *before, const gka_state_bound *old,
                    const gka_state_bound *after) {
    const gka_group *const g = w->g;
    const int64_t i = t - w->of.first;
    gka_state_bound bound = *old;
    put(w, GKA_GRADIENT_P, t, w->p, w->b.e_p);
    const double *const given = gka_given_state(g->run, g->n, t, g->h + w->index);
    mpfr_t *const after_H = w->H;
    if (given != NULL) { /* beside the others, for the token before has its own */
        w->H = w->given;
        set_state(w, given, &bound);
        w->H = after_H;
    }
    const gka_results_bound e = result_bounds(&bound, after, i, w);
    keys_and_values(w, w->dk + i * w->D, w->dv + i * w->V);
    gate(w, given != NULL ? w->given : before, before + w->D * (w->D + 1) / 2, t, &e);
    query(w, t, &e);
    if (g->run->options->given != NULL)
        forward(w, t, &e);
}

/* From w->states + m, the state before token t, and the one after it. False: binary64 cannot factor
 * H + lambda I. */
static bool reverse_token(numbers *w, int64_t t, int64_t m) {
    const gka_group *const g = w->g;
    const gka_problem *const problem = g->run->problem;
    mpfr_t *const before = w->states + m * w->size;
    gka_state_bound *const after = w->bounds + m + 1;
    read_token(w, t);
    at_state(w, before + w->size);
    if (t + 1 == g->span.end || (t + 1 - g->span.begin) % problem->chunk_size == 0)
        end_of_chunk(w);
    ridge(w, after, t);
    begin_bound(w);
    cotangents(w, after, t);
    if (!solve_both(w, after, t))
        return false;
    suffix(w, after);
    if (t < w->of.end)
        results(w, t, before, w->bounds + m, after);
    forget(w);
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

/* Past the tokens [from, to); the state before them becomes the one after. False: stop. */
static bool pass_tokens(numbers *w, int64_t from, int64_t to, mpfr_t *state,
                        gka_state_bound *bound) {
    for (int64_t t = from; t < to; t++) {
        read_token(w, t);
        next_state(w, state, bound, given_at(w, t), state, bound);
        if (!gka_run_waits(w->g->run, w->g->n, w->g->h))
            return false;
    }
    return true;
}

/* Tokens [from, to) in reverse, at most `length`, from the state before them in states. */
static gka_status reverse_kept(numbers *w, int64_t from, int64_t to, gka_error *error) {
    const int64_t size_ = w->size;
    for (int64_t t = from; t < to; t++) {
        const int64_t m = t - from;
        read_token(w, t);
        next_state(w, w->states + m * size_, w->bounds + m, given_at(w, t),
                   w->states + (m + 1) * size_, w->bounds + m + 1);
        if (!gka_run_waits(w->g->run, w->g->n, w->g->h))
            return GKA_INTERRUPTED;
    }
    for (int64_t t = to - 1; t >= from; t--) {
        if (!reverse_token(w, t, t - from))
            return fail(w, t, error);
        if (!gka_run_waits(w->g->run, w->g->n, w->g->h))
            return GKA_INTERRUPTED;
    }
    return GKA_OK;
}

/* Tokens [from, to) in reverse, the state before which is in marks[depth]: the second half first.
 */
static gka_status reverse_tokens(numbers *w, int64_t from, int64_t to, int depth,
                                 gka_error *error) {
    mpfr_t *const mark = w->marks + depth * w->size;
    gka_state_bound *const bound = w->mark_bounds + depth;
    while (to - from > w->length) {
        const int64_t middle = from + (to - from) / 2;
        gka_mp_copy(mark + w->size, mark, w->size);
        bound[1] = bound[0];
        if (!pass_tokens(w, from, middle, mark + w->size, bound + 1))
            return GKA_INTERRUPTED;
        const gka_status status = reverse_tokens(w, middle, to, depth + 1, error);
        if (status != GKA_OK)
            return status;
        to = middle;
    }
    gka_mp_copy(w->states, mark, w->size);
    *w->bounds = *bound;
    return reverse_kept(w, from, to, error);
}

/* What enters from both sides. */
static gka_status begin_head(numbers *w) {
    gka_group *const g = w->g;
    gka_carried c;
    if (w->of.left == g->span.begin) {
        first_state(w);
    } else {
        if (!g->carried(g, w->index, w->of.left, false, &c))
            return GKA_INTERRUPTED;
        take_state(w, &c);
    }
    if (w->of.right == g->span.end) {
        last_cotangents(w);
        return GKA_OK;
    }
    if (!g->carried(g, w->index, w->of.right, true, &c))
        return GKA_INTERRUPTED;
    take_suffix(w, &c);
    return GKA_OK;
}

/* Back to the first token whose results are needed. */
static gka_status reverse_head(numbers *w, gka_error *error) {
    const gka_group *const g = w->g;
    gka_status status = begin_head(w);
    if (status == GKA_OK && !pass_tokens(w, w->of.left, w->of.first, w->marks, w->mark_bounds))
        status = GKA_INTERRUPTED;
    if (status == GKA_OK)
        status = reverse_tokens(w, w->of.first, w->of.right, 0, error);
    if (status != GKA_OK || w->of.first > g->span.begin)
        return status;
    put(w, GKA_GRADIENT_DH0, g->span.end, w->A, w->sb.e_A);
    put(w, GKA_GRADIENT_DU0, g->span.end, w->E, w->sb.e_E);
    return GKA_OK;
}

static gka_status reverse_group(numbers *w, gka_error *error) {
    const int64_t n = rows_of(w);
    gka_status status = GKA_OK;
    gka_mp_zero(w->dk, n * w->D);
    gka_mp_zero(w->dv, n * w->V);
    memset(w->e_dk, 0, (size_t)(4 * n) * sizeof *w->e_dk);
    for (w->index = 0; w->index < w->g->heads && status == GKA_OK; w->index++)
        status = reverse_head(w, error);
    if (status != GKA_OK)
        return status;
    w->index = 0;
    for (int64_t i = 0; i < n; i++) {
        put(w, GKA_GRADIENT_DK, w->of.first + i, w->dk + i * w->D, w->e_dk[i]);
        put(w, GKA_GRADIENT_DV, w->of.first + i, w->dv + i * w->V, w->e_dv[i]);
    }
    return GKA_OK;
}

/* In the group's memory; NULL: out of memory. */
static mpfr_t *new_numbers(gka_group *g, size_t count, int P) {
    if (g->numbers_size < count * gka_mp_size(P)) {
        gka_free(g->numbers);
        g->numbers = gka_alloc(count, gka_mp_size(P));
        g->numbers_size = g->numbers == NULL ? 0 : count * gka_mp_size(P);
    }
    return gka_mp_make(g->numbers, count, P);
}

/* One pass at P bits. */
static gka_status pass(gka_group *g, const reach *r, int P, bool last, gka_error *error) {
    numbers w = {.g = g, .of = *r, .P = P, .last = last, .D = g->D, .V = g->V};
    gka_status status;
    w.b.precision = gka_precision_mpfr(w.P, w.D, w.V);
    mpfr_t *const block = new_numbers(g, layout(NULL, &w), w.P);
    double *const bounds = block == NULL ? NULL : new_bounds(&w);
    if (bounds == NULL) {
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
    } else {
        layout(block, &w);
        status = reverse_group(&w, error);
    }
    gka_free(bounds);
    return status;
}

/* ---- which tokens -------------------------------------------------------------------------- */

/* Anything is needed at place i of needs: a token, or at the end the initial states. */
static bool needed(const gka_group *g, int64_t i) {
    bool any = false;
    for (int64_t head = 0; head < g->heads; head++)
        any = any || g->needs[head * g->stride + i] != 0;
    return any;
}

/* [first, end) of the last needed tokens before `before`, each less than `apart` from the next. An
 * initial state needs the first. False: there are none. */
static bool last_needed(const gka_group *g, int64_t before, int64_t apart, reach *r) {
    r->first = r->end = -1;
    for (int64_t t = before - 1; t >= g->from && (r->end < 0 || r->first - t < apart); t--)
        if (needed(g, t - g->from)) {
            r->first = t;
            r->end = r->end < 0 ? t + 1 : r->end;
        }
    if (needed(g, g->to - g->from) && (r->end < 0 || r->first - g->from < apart)) {
        r->first = g->from;
        r->end = r->end < 0 ? g->from : r->end;
    }
    return r->end >= 0;
}

/* All of the sequence, at every precision; second words take more than the first. */
static gka_status resolve_whole(gka_group *g, gka_error *error) {
    static const int precisions[GKA_MP_PRECISIONS] = {160, 256, 768, 1536, 4096};
    const int only = g->enclosure->precision;
    gka_status status = GKA_OK;
    reach r = {.left = g->span.begin, .right = g->span.end};
    if (!last_needed(g, g->to, INT64_MAX, &r))
        return GKA_OK;
    const int steps = gka_mp_precisions(g->run->problem, g->n, g->h, g->heads, g->V, g->head.row);
    for (int i = g->second_words;
         i < steps && status == GKA_OK && last_needed(g, g->to, INT64_MAX, &r); i++)
        status = pass(g, &r, only > 0 ? only : precisions[i], only > 0 || i == steps - 1, error);
    return status;
}

/* ---- from checkpoints ---------------------------------------------------------------------- */

typedef struct level {
    int P;
    double bits; /* that the gates forget on either side */
} level;
/* 126 bits are two limbs of 64, at which MPFR is fastest. Beyond 900 a checkpoint's error in v
 * leaves binary64. */
static const level levels[] = {{126, 6}, {160, 24}, {256, 120}, {768, 600}, {1536, 1400}};
enum { LEVELS = sizeof levels / sizeof *levels, FARTHEST = 4096, MOST_BITS = 900 };

/* Which checkpoints are far enough from [first, end) for every head of the group. False: the gates
 * do not forget that much. */
static bool extend(const gka_group *g, const level *l, reach *r) {
    const gka_gradient_enclosure *const e = g->enclosure;
    const int64_t farthest = e->farthest > 0 ? e->farthest : FARTHEST;
    const double enough = l->bits * log(2) * (e->forget > 0 ? e->forget : 1);
    r->left = r->first;
    r->right = r->end;
    for (int64_t head = 0; head < g->heads; head++) {
        double sum = 0;
        int64_t t = r->first;
        for (; t > g->span.begin && sum < enough && r->first - t <= farthest; t--)
            sum -= gka_problem_g(g->run->problem, g->span.b, t - 1, g->h + head);
        if (t > g->span.begin && sum < enough)
            return false;
        r->left = t < r->left ? t : r->left;
        sum = 0;
        for (t = r->end; t < g->span.end && sum < enough && t - r->end <= farthest; t++)
            sum -= gka_problem_g(g->run->problem, g->span.b, t, g->h + head);
        if (t < g->span.end && sum < enough)
            return false;
        r->right = t > r->right ? t : r->right;
    }
    const int64_t over = (r->right - g->span.begin) % g->spacing;
    if (over > 0 || r->right == g->span.begin)
        r->right += g->spacing - over;
    if (r->right > g->span.end)
        r->right = g->span.end;
    return l->P <= MOST_BITS || whole(g, r);
}

/* What is needed of [first, end) stays as double-double has it. */
static void leave(gka_group *g, const reach *r) {
    for (int64_t head = 0; head < g->heads; head++)
        for (int64_t i = 0; i <= g->to - g->from; i++) {
            const int64_t at = head * g->stride + i;
            const bool own = i < g->to - g->from ? i >= r->first - g->from && i < r->end - g->from
                                                 : r->first == g->from;
            if (!own || g->needs[at] == 0)
                continue;
            g->undecided += g->left[at];
            g->in_mpfr -= g->left[at];
            g->needs[at] = 0;
        }
}

/* Something of [first, end) still is. */
static bool still_needed(const gka_group *g, const reach *r) {
    reach rest;
    return last_needed(g, r->end, g->spacing, &rest) && rest.first >= r->first;
}

static gka_status resolve_piece(gka_group *g, reach *r, gka_error *error) {
    const int only = g->enclosure->precision;
    gka_status status = GKA_OK;
    bool more = extend(g, &levels[0], r);
    if (!more && g->run->options->window != NULL)
        leave(g, r);
    for (int i = 0; more && status == GKA_OK && still_needed(g, r); i++) {
        reach next = *r;
        more = only == 0 && i + 1 < LEVELS && extend(g, &levels[i + 1], &next);
        const bool last = !more && (only > 0 || (g->run->options->window != NULL && !whole(g, r)));
        status = pass(g, r, only > 0 ? only : levels[i].P, last, error);
        *r = next;
    }
    /* What a checkpoint's error hides, or does not let be factored, is seen from the ends. */
    if (status != GKA_NO_CERTIFICATE)
        return status;
    *error = (gka_error){0};
    return GKA_OK;
}

static gka_status resolve_pieces(gka_group *g, gka_error *error) {
    gka_status status = GKA_OK;
    reach r;
    int64_t before = g->to;
    while (status == GKA_OK && before >= 0 && last_needed(g, before, g->spacing, &r)) {
        before = r.first > g->from ? r.first : -1;
        status = resolve_piece(g, &r, error);
    }
    return status == GKA_OK ? resolve_whole(g, error) : status;
}

gka_status gka_group_resolve(gka_group *g, gka_error *error) {
    const gka_status status =
        g->spacing > 0 && !g->second_words ? resolve_pieces(g, error) : resolve_whole(g, error);
    mpfr_free_cache();
    return status;
}
