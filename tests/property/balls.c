/* balls.c - the certified oracle judged by a third party: ball arithmetic (FLINT/Arb), written from
 * NUMERICS 1 and 2 alone. A ball is a number with a proven radius, so every formula below, naive as
 * it stands, yields an interval that holds the exact value; a certified result is right when the
 * whole interval rounds to it.
 *
 *   property_balls                 about 300 problems
 *   property_balls COUNT [SEED]    any number of them
 *
 * Every output and gradient of random problems that are meant to hurt: gates from 0 to -1.8e308 and
 * -inf, keys times 2^k, zero and repeated keys, packed and empty sequences, grouped heads, initial
 * states, cotangents of the final ones, subnormal and huge numbers, ridge ratios from 1e-8 to 1e8.
 * Each value is compared as double-double decides it, as MPFR does with its second word, and
 * rounded to a short format.
 *
 * A result that the widest balls cannot tell from halfway between two numbers must be one of the
 * two, and must be among those that the oracle's report declares.
 */
#include "oracle.h"

#include <float.h>
#include <stddef.h>
#include <stdlib.h>

#ifdef GKA_ARB_IN_FLINT
#include <flint/arb.h>
#include <flint/arb_mat.h>
#else
#include <arb.h>
#include <arb_mat.h>
#endif

#ifdef __SANITIZE_ADDRESS__
static int problem_count = 60;
#else
static int problem_count = 300;
#endif
static uint64_t first_seed = 1;

/* ---- does a ball round to a number ---------------------------------------------------------- */

typedef enum verdict { RIGHT, WRONG, UNDECIDED } verdict;

/* The neighbour of y away from zero (up) or toward it in a format of p bits, quantum 2^least;
 * beyond the largest number stands the next power of two. */
static void neighbour(const gka_format *format, double y, bool above, arf_t out) {
    const int p = format == NULL ? 53 : format->p;
    const int emin = format == NULL ? -1022 : format->emin;
    arf_set_d(out, y);
    arf_t step;
    arf_init(step);
    int exponent;
    const double fraction = frexp(y, &exponent); /* y = fraction 2^exponent, 1/2 <= |fraction| */
    const bool shrinks = y != 0 && (y > 0) != above && fabs(fraction) == .5 && exponent - 1 > emin;
    int quantum = (y == 0 || exponent - 1 < emin ? emin : exponent - 1) - (p - 1);
    quantum -= shrinks;
    arf_set_si_2exp_si(step, above ? 1 : -1, quantum);
    arf_add(out, out, step, ARF_PREC_EXACT, ARF_RND_NEAR);
    arf_clear(step);
}

static bool is_even(const gka_format *format, double y) {
    const int p = format == NULL ? 53 : format->p;
    const int emin = format == NULL ? -1022 : format->emin;
    int exponent;
    if (y == 0)
        return true;
    (void)frexp(y, &exponent);
    const int quantum = (exponent - 1 < emin ? emin : exponent - 1) - (p - 1);
    return fmod(ldexp(y, -quantum / 2) * ldexp(1, -quantum - -quantum / 2), 2) == 0;
}

/* The numbers that round to y lie between its midpoints with its neighbours, which belong to it
 * where it is even. An infinity: what lies beyond the midpoint above the largest number. */
static verdict rounds_to(const gka_format *format, const arb_t ball, double y) {
    const int p = format == NULL ? 53 : format->p;
    const int emax = format == NULL ? 1023 : format->emax;
    if (!arb_is_finite(ball))
        return UNDECIDED;
    if (isnan(y))
        return WRONG;
    arf_t low, high, below, above, here;
    arf_init(low);
    arf_init(high);
    arf_init(below);
    arf_init(above);
    arf_init(here);
    arb_get_interval_arf(low, high, ball, 20000);
    const double largest = ldexp(2 - ldexp(1, 1 - p), emax);
    bool even = true;
    if (isinf(y)) {
        neighbour(format, copysign(largest, y), y > 0, above);
        arf_set_d(here, copysign(largest, y));
        arf_add(below, here, above, ARF_PREC_EXACT, ARF_RND_NEAR);
        arf_mul_2exp_si(below, below, -1);
        y > 0 ? arf_pos_inf(above) : arf_neg_inf(above);
        if (y < 0)
            arf_swap(below, above);
    } else {
        neighbour(format, y, false, below);
        neighbour(format, y, true, above);
        arf_set_d(here, y);
        arf_add(below, below, here, ARF_PREC_EXACT, ARF_RND_NEAR);
        arf_mul_2exp_si(below, below, -1);
        arf_add(above, above, here, ARF_PREC_EXACT, ARF_RND_NEAR);
        arf_mul_2exp_si(above, above, -1);
        even = is_even(format, y);
    }
    const int left = arf_cmp(low, below), right = arf_cmp(high, above);
    verdict found = UNDECIDED;
    if (left > 0 - even && right < 0 + even)
        found = RIGHT;
    else if (arf_cmp(high, below) < 0 || arf_cmp(low, above) > 0)
        found = WRONG;
    else if (!even && arf_equal(low, high)) /* on a boundary that belongs to the other side */
        found = WRONG;
    arf_clear(low);
    arf_clear(high);
    arf_clear(below);
    arf_clear(above);
    arf_clear(here);
    return found;
}

static bool negative_zero(double y) {
    return y == 0 && signbit(y);
}

/* ---- NUMERICS 1 and 2 in balls -------------------------------------------------------------- */

static const slong precisions[] = {320, 1600, 4400};
enum { PRECISIONS = sizeof precisions / sizeof *precisions };

/* One query head of one sequence, every token's numbers side by side: x[t D + i], H[t D D + ..] is
 * the state after t tokens (t = 0: the initial one). */
typedef struct head {
    slong P;
    int64_t D, V, T;
    arb_ptr q, k, v, alpha, gamma, H, U, f, lambda, x, y, o;
    arb_ptr dx, p, dq, dk, dv, dalpha, dg_h, dg_u, dg, A, E; /* A, E: what is left of token t */
    bool solved; /* false: a system could not be inverted at this precision */
} head;

static const struct {
    size_t offset;
    int rows; /* 0: T, 1: T + 1 */
    int a, b; /* 0: 1, 1: D, 2: V */
} members[] = {
#define MEMBER(name, rows, a, b)                                                                   \
    { offsetof(head, name), rows, a, b }
    MEMBER(q, 0, 1, 0),      MEMBER(k, 0, 1, 0),      MEMBER(v, 0, 2, 0),    MEMBER(alpha, 0, 0, 0),
    MEMBER(gamma, 0, 0, 0),  MEMBER(H, 1, 1, 1),      MEMBER(U, 1, 1, 2),    MEMBER(f, 0, 0, 0),
    MEMBER(lambda, 0, 0, 0), MEMBER(x, 0, 1, 0),      MEMBER(y, 0, 1, 0),    MEMBER(o, 0, 2, 0),
    MEMBER(dx, 0, 1, 0),     MEMBER(p, 0, 1, 0),      MEMBER(dq, 0, 1, 0),   MEMBER(dk, 0, 1, 0),
    MEMBER(dv, 0, 2, 0),     MEMBER(dalpha, 0, 0, 0), MEMBER(dg_h, 0, 0, 0), MEMBER(dg_u, 0, 0, 0),
    MEMBER(dg, 0, 0, 0),     MEMBER(A, 1, 1, 1),      MEMBER(E, 1, 1, 2),
#undef MEMBER
};

static slong member_size(const head *w, size_t i) {
    const int64_t sizes[] = {1, w->D, w->V};
    return (slong)((w->T + members[i].rows) * sizes[members[i].a] * sizes[members[i].b]);
}

static arb_ptr *member(head *w, size_t i) {
    return (arb_ptr *)(void *)((char *)w + members[i].offset);
}

static void head_new(head *w, slong P, int64_t D, int64_t V, int64_t T) {
    *w = (head){.P = P, .D = D, .V = V, .T = T, .solved = true};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        *member(w, i) = _arb_vec_init(member_size(w, i));
}

static void head_free(head *w) {
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        _arb_vec_clear(*member(w, i), member_size(w, i));
}

static void set(arb_ptr to, int64_t n, const double *from) {
    for (int64_t i = 0; i < n; i++)
        arb_set_d(to + i, from[i]);
}

/* M <- gamma M + a b^T of [n,m], from M_before */
static void outer(const head *w, arb_ptr M, arb_srcptr before, const arb_t gamma, arb_srcptr a,
                  int64_t n, arb_srcptr b, int64_t m) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < m; j++) {
            arb_mul(M + i * m + j, before + i * m + j, gamma, w->P);
            arb_addmul(M + i * m + j, a + i, b + j, w->P);
        }
}

/* out = (H_t + lambda_t I)^-1 rhs; 0 where f_t = 0 */
static void solve(head *w, int64_t t, arb_srcptr rhs, arb_ptr out) {
    const int64_t D = w->D;
    if (arb_is_zero(w->f + t))
        return;
    arb_mat_t M, X, B;
    arb_mat_init(M, (slong)D, (slong)D);
    arb_mat_init(X, (slong)D, 1);
    arb_mat_init(B, (slong)D, 1);
    for (int64_t i = 0; i < D; i++) {
        for (int64_t j = 0; j < D; j++)
            arb_set(arb_mat_entry(M, i, j), w->H + (t + 1) * D * D + i * D + j);
        arb_add(arb_mat_entry(M, i, i), arb_mat_entry(M, i, i), w->lambda + t, w->P);
        arb_set(arb_mat_entry(B, i, 0), rhs + i);
    }
    if (!arb_mat_solve_lu(X, M, B, w->P))
        w->solved = false;
    for (int64_t i = 0; i < D && w->solved; i++)
        arb_set(out + i, arb_mat_entry(X, i, 0));
    arb_mat_clear(M);
    arb_mat_clear(X);
    arb_mat_clear(B);
}

static void inner(const head *w, arb_t out, arb_srcptr a, arb_srcptr b, int64_t n) {
    arb_zero(out);
    for (int64_t i = 0; i < n; i++)
        arb_addmul(out, a + i, b + i, w->P);
}

static void forward(head *w, const gka_problem *problem, int64_t n, int64_t h) {
    const int64_t D = w->D, V = w->V;
    const gka_span span = gka_problem_span(problem, n);
    double *const row = gka_alloc((size_t)(D * (D + V) + 1), sizeof *row);
    arb_t s;
    arb_init(s);
    gka_problem_h0(problem, n, h, row);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++) {
            arb_set_d(w->H + i * D + j, row[i * D + j]);
            arb_set_d(s, row[j * D + i]);
            arb_add(w->H + i * D + j, w->H + i * D + j, s, ARF_PREC_EXACT);
            arb_mul_2exp_si(w->H + i * D + j, w->H + i * D + j, -1);
        }
    if (V > 0) {
        gka_problem_u0(problem, n, h, row);
        set(w->U, D * V, row);
    }
    for (int64_t t = 0; t < w->T; t++) {
        arb_ptr const q = w->q + t * D, k = w->k + t * D, v = w->v + t * V, x = w->x + t * D,
                      y = w->y + t * D, H = w->H + (t + 1) * D * D, U = w->U + (t + 1) * D * V;
        gka_problem_q(problem, span.b, span.begin + t, h, row);
        set(q, D, row);
        gka_problem_k(problem, span.b, span.begin + t, h, row);
        set(k, D, row);
        if (V > 0) {
            gka_problem_v(problem, span.b, span.begin + t, h, row);
            set(v, V, row);
        }
        arb_set_d(w->alpha + t, gka_problem_alpha(problem, span.b, span.begin + t, h));
        const double g = gka_problem_g(problem, span.b, span.begin + t, h);
        if (g != -INFINITY) {
            arb_set_d(w->gamma + t, g);
            arb_exp(w->gamma + t, w->gamma + t, w->P);
        }
        outer(w, H, H - D * D, w->gamma + t, k, D, k, D);
        outer(w, U, U - D * V, w->gamma + t, k, D, v, V);
        inner(w, w->f + t, H, H, D * D);
        arb_sqrt(w->f + t, w->f + t, w->P);
        arb_set_d(s, problem->ridge_ratio);
        arb_mul(w->lambda + t, w->f + t, s, w->P);
        solve(w, t, q, x);
        for (int64_t i = 0; i < D; i++) {
            arb_sub(y + i, x + i, q + i, w->P);
            arb_mul(y + i, y + i, w->alpha + t, w->P);
            arb_add(y + i, y + i, q + i, w->P);
        }
        arb_set_d(s, problem->scale);
        for (int64_t j = 0; j < V; j++) {
            arb_ptr const o = w->o + t * V + j;
            arb_zero(o);
            for (int64_t i = 0; i < D; i++)
                arb_addmul(o, U + i * V + j, y + i, w->P);
            arb_mul(o, o, s, w->P);
        }
    }
    arb_clear(s);
    gka_free(row);
}

/* dk, dv, dg of token t, whose A and E stand. */
static void through_states(head *w, int64_t t) {
    const int64_t D = w->D, V = w->V;
    arb_srcptr const k = w->k + t * D, v = w->v + t * V, before_H = w->H + t * D * D,
                     before_U = w->U + t * D * V, A = w->A + t * D * D, E = w->E + t * D * V;
    arb_t s;
    arb_init(s);
    for (int64_t i = 0; i < D; i++) {
        arb_ptr const dk = w->dk + t * D + i;
        arb_zero(dk);
        for (int64_t j = 0; j < D; j++) {
            arb_add(s, A + i * D + j, A + j * D + i, w->P);
            arb_addmul(dk, s, k + j, w->P);
        }
        for (int64_t j = 0; j < V; j++)
            arb_addmul(dk, E + i * V + j, v + j, w->P);
    }
    for (int64_t j = 0; j < V; j++) {
        arb_ptr const dv = w->dv + t * V + j;
        arb_zero(dv);
        for (int64_t i = 0; i < D; i++)
            arb_addmul(dv, E + i * V + j, k + i, w->P);
    }
    inner(w, w->dg_h + t, A, before_H, D * D);
    arb_mul(w->dg_h + t, w->dg_h + t, w->gamma + t, w->P);
    inner(w, w->dg_u + t, E, before_U, D * V);
    arb_mul(w->dg_u + t, w->dg_u + t, w->gamma + t, w->P);
    arb_add(w->dg + t, w->dg_h + t, w->dg_u + t, w->P);
    arb_clear(s);
}

/* From the last token to the first; A and E of row t are those of token t (1-based in NUMERICS), of
 * row T what the cotangents of the final states say, before a gate. */
static void backward(head *w, const gka_problem *problem, gka_of of, int64_t n, int64_t h) {
    const int64_t D = w->D, V = w->V, T = w->T;
    const gka_span span = gka_problem_span(problem, n);
    double *const row = gka_alloc((size_t)(D * (D + V) + 1), sizeof *row);
    arb_t s, c, one;
    arb_init(s);
    arb_init(c);
    arb_init(one);
    arb_one(one);
    arb_ptr const dout = _arb_vec_init((slong)V), dy = _arb_vec_init((slong)D);
    const bool layer = of == GKA_OF_O;
    gka_problem_dh_final(problem, n, h, row);
    set(w->A + T * D * D, D * D, row);
    _arb_vec_zero(w->E + T * D * V, (slong)(D * V));
    if (layer) {
        gka_problem_du_final(problem, n, h, row);
        set(w->E + T * D * V, D * V, row);
    }
    for (int64_t t = T - 1; t >= 0; t--) {
        arb_ptr const x = w->x + t * D, q = w->q + t * D, p = w->p + t * D,
                      H = w->H + (t + 1) * D * D, U = w->U + (t + 1) * D * V, A = w->A + t * D * D,
                      E = w->E + t * D * V, dq = w->dq + t * D;
        const arb_srcptr gate = t + 1 < T ? w->gamma + t + 1 : one;
        arb_zero(w->dalpha + t);
        _arb_vec_zero(p, (slong)D);
        _arb_vec_scalar_mul(E, E + D * V, (slong)(D * V), gate, w->P);
        if (layer) {
            gka_problem_dout(problem, span.b, span.begin + t, h, row);
            set(dout, V, row);
            arb_set_d(s, problem->scale);
            _arb_vec_scalar_mul(dout, dout, (slong)V, s, w->P);
            for (int64_t i = 0; i < D; i++) {
                inner(w, dy + i, U + i * V, dout, V);
                arb_sub(s, x + i, q + i, w->P);
                arb_addmul(w->dalpha + t, dy + i, s, w->P);
                arb_mul(w->dx + t * D + i, dy + i, w->alpha + t, w->P);
                for (int64_t j = 0; j < V; j++)
                    arb_addmul(E + i * V + j, w->y + t * D + i, dout + j, w->P);
            }
        } else {
            gka_problem_dx(problem, span.b, span.begin + t, h, row);
            set(w->dx + t * D, D, row);
            _arb_vec_zero(dy, (slong)D);
        }
        solve(w, t, w->dx + t * D, p);
        arb_sub(s, one, w->alpha + t, w->P);
        for (int64_t i = 0; i < D; i++) {
            arb_mul(dq + i, dy + i, s, w->P);
            arb_add(dq + i, dq + i, p + i, w->P);
        }
        arb_zero(c);
        if (!arb_is_zero(w->f + t)) {
            inner(w, c, p, x, D);
            arb_set_d(s, problem->ridge_ratio);
            arb_mul(c, c, s, w->P);
            arb_div(c, c, w->f + t, w->P);
        }
        for (int64_t i = 0; i < D; i++)
            for (int64_t j = 0; j < D; j++) {
                arb_ptr const a = A + i * D + j;
                arb_mul(a, A + D * D + i * D + j, gate, w->P);
                arb_submul(a, p + i, x + j, w->P);
                arb_submul(a, c, H + i * D + j, w->P);
            }
        through_states(w, t);
    }
    /* dh0, du0 = gamma_1 A_1, gamma_1 E_1; of no token at all, the cotangents themselves */
    if (T > 0) {
        _arb_vec_scalar_mul(w->A, w->A, (slong)(D * D), w->gamma, w->P);
        _arb_vec_scalar_mul(w->E, w->E, (slong)(D * V), w->gamma, w->P);
    }
    _arb_vec_clear(dout, (slong)V);
    _arb_vec_clear(dy, (slong)D);
    arb_clear(s);
    arb_clear(c);
    arb_clear(one);
    gka_free(row);
}

/* ---- comparing ------------------------------------------------------------------------------ */

enum { FORWARD, OF_X, OF_O, PASSES };
enum { DECIDED, SECOND_WORDS, SHORT, WAYS };

/* What one call of the oracle said. */
typedef struct answer {
    gka_outputs out, lo;
    gka_oracle_report report;
    gka_status status;
    const gka_format *format;
    bool with_lo;
} answer;

typedef struct tally {
    int64_t compared, wrong, ties, second_words, second_ties;
    char first_wrong[200];
} tally;

static void tally_add(tally *to, const tally *from) {
    to->compared += from->compared;
    to->wrong += from->wrong;
    to->ties += from->ties;
    to->second_words += from->second_words;
    to->second_ties += from->second_ties;
}

/* Returns whether this precision was enough. */
static bool compare(tally *sum, const answer *a, const char *name, int64_t at, arb_srcptr ball,
                    const double *out, const double *lo, bool last) {
    const double y = out[at];
    verdict found = negative_zero(y) ? WRONG : rounds_to(a->format, ball, y);
    const bool enough = found != UNDECIDED, wrong = found == WRONG;
    sum->compared++;
    sum->ties += last && found == UNDECIDED;
    if (found == WRONG && sum->wrong++ == 0)
        (void)snprintf(sum->first_wrong, sizeof sum->first_wrong, "%s[%lld] = %a, in fact %.17g",
                       name, (long long)at, y, arf_get_d(arb_midref(ball), ARF_RND_NEAR));
    if (lo == NULL || isinf(y))
        return enough;
    arb_t rest;
    arb_init(rest);
    arb_set_d(rest, y);
    arb_sub(rest, ball, rest, 20000);
    found = negative_zero(lo[at]) ? WRONG : rounds_to(NULL, rest, lo[at]);
    sum->second_words++;
    sum->second_ties += last && found == UNDECIDED;
    if (found == WRONG && !wrong && sum->wrong++ == 0) /* an element counts once */
        (void)snprintf(sum->first_wrong, sizeof sum->first_wrong, "%s.lo[%lld] = %a, in fact %.17g",
                       name, (long long)at, lo[at], arf_get_d(arb_midref(rest), ARF_RND_NEAR));
    arb_clear(rest);
    return enough && found != UNDECIDED;
}

typedef struct comparison {
    const gka_problem *problem;
    answer answers[PASSES][WAYS];
    tally sums[PASSES][WAYS];
    bool last, enough;
} comparison;

#define AT(member) offsetof(gka_outputs, member)
#define MEMBER(pass, member)                                                                       \
    ((pass) == OF_X ? offsetof(gka_outputs, solve.member) : offsetof(gka_outputs, layer.member))

/* `count` balls against elements from + 0, 1, .. of a member, whatever way it was computed. */
static void compare_all(comparison *c, int pass, const char *name, size_t member, int64_t from,
                        arb_srcptr balls, int64_t count) {
    for (int way = 0; way < WAYS; way++) {
        const answer *const a = &c->answers[pass][way];
        if (a->status != GKA_OK)
            continue;
        const double *const out = *(double *const *)(const void *)((const char *)&a->out + member),
                            *const lo =
                                *(double *const *)(const void *)((const char *)&a->lo + member);
        for (int64_t i = 0; i < count; i++)
            c->enough &= compare(&c->sums[pass][way], a, name, from + i, balls + i, out,
                                 a->with_lo ? lo : NULL, c->last);
    }
}

static void compare_forward(comparison *c, const head *w, int64_t n, int64_t h) {
    const gka_problem *const p = c->problem;
    const gka_span span = gka_problem_span(p, n);
    const int64_t D = w->D, V = w->V, chunks = gka_problem_chunks(p);
    int64_t chunk = span.b * chunks;
    for (int64_t i = 0; p->cu_seqlens != NULL && i < n; i++)
        chunk += (p->cu_seqlens[i + 1] - p->cu_seqlens[i] + p->chunk_size - 1) / p->chunk_size;
    for (int64_t t = 0; t < w->T; t++) {
        const int64_t at = (span.b * p->T + span.begin + t) * p->H + h;
        compare_all(c, FORWARD, "x", AT(x), at * D, w->x + t * D, D);
        compare_all(c, FORWARD, "fro", AT(fro), at, w->f + t, 1);
        compare_all(c, FORWARD, "lambda", AT(lambda), at, w->lambda + t, 1);
        compare_all(c, FORWARD, "o", AT(o), at * V, w->o + t * V, V);
        if (t % p->chunk_size != 0)
            continue;
        const int64_t m = (chunk + t / p->chunk_size) * p->H + h;
        compare_all(c, FORWARD, "h_chunk", AT(h_chunk), m * D * D, w->H + t * D * D, D * D);
        compare_all(c, FORWARD, "u_chunk", AT(u_chunk), m * D * V, w->U + t * D * V, D * V);
    }
    const int64_t m = n * p->H + h;
    compare_all(c, FORWARD, "h_final", AT(h_final), m * D * D, w->H + w->T * D * D, D * D);
    compare_all(c, FORWARD, "u_final", AT(u_final), m * D * V, w->U + w->T * D * V, D * V);
}

static void compare_backward(comparison *c, int pass, const head *w, int64_t n, int64_t h) {
    const gka_problem *const p = c->problem;
    const gka_span span = gka_problem_span(p, n);
    const int64_t D = w->D, V = w->V, m = n * p->H + h;
    for (int64_t t = 0; t < w->T; t++) {
        const int64_t at = (span.b * p->T + span.begin + t) * p->H + h;
        compare_all(c, pass, "p", MEMBER(pass, p), at * D, w->p + t * D, D);
        compare_all(c, pass, "dq", MEMBER(pass, dq), at * D, w->dq + t * D, D);
        compare_all(c, pass, "dalpha", MEMBER(pass, dalpha), at, w->dalpha + t, 1);
        compare_all(c, pass, "dg_h", MEMBER(pass, dg_h), at, w->dg_h + t, 1);
        compare_all(c, pass, "dg_u", MEMBER(pass, dg_u), at, w->dg_u + t, 1);
        compare_all(c, pass, "dg", MEMBER(pass, dg), at, w->dg + t, 1);
    }
    compare_all(c, pass, "dh0", MEMBER(pass, dh0), m * D * D, w->A, D * D);
    compare_all(c, pass, "du0", MEMBER(pass, du0), m * D * V, w->E, D * V);
}

/* Keys and values are summed over the query heads that read them. */
static void compare_group(comparison *c, int pass, int64_t n, int64_t group, const head *sum) {
    const gka_problem *const p = c->problem;
    const gka_span span = gka_problem_span(p, n);
    for (int64_t t = 0; t < sum->T; t++) {
        const int64_t at = (span.b * p->T + span.begin + t) * p->G + group;
        compare_all(c, pass, "dk", MEMBER(pass, dk), at * p->D, sum->dk + t * p->D, p->D);
        compare_all(c, pass, "dv", MEMBER(pass, dv), at * p->V, sum->dv + t * p->V, p->V);
    }
}

/* One sequence and one group of heads at one precision. */
static void compare_heads(comparison *c, slong P, int64_t n, int64_t group) {
    const gka_problem *const p = c->problem;
    const gka_span span = gka_problem_span(p, n);
    const int64_t T = span.end - span.begin, each = p->H / p->G;
    head sums[PASSES];
    for (int pass = 0; pass < PASSES; pass++)
        head_new(&sums[pass], P, p->D, p->V, T);
    for (int64_t h = group * each; h < (group + 1) * each; h++) {
        head w;
        head_new(&w, P, p->D, p->V, T);
        forward(&w, p, n, h);
        if (w.solved)
            compare_forward(c, &w, n, h);
        for (int pass = OF_X; pass <= OF_O && w.solved; pass++) {
            if (pass == OF_O && p->V == 0)
                continue;
            backward(&w, p, pass == OF_X ? GKA_OF_X : GKA_OF_O, n, h);
            _arb_vec_add(sums[pass].dk, sums[pass].dk, w.dk, (slong)(T * p->D), P);
            _arb_vec_add(sums[pass].dv, sums[pass].dv, w.dv, (slong)(T * p->V), P);
            if (w.solved)
                compare_backward(c, pass, &w, n, h);
        }
        c->enough &= w.solved;
        sums[OF_X].solved &= w.solved;
        head_free(&w);
    }
    for (int pass = OF_X; pass <= OF_O && sums[OF_X].solved; pass++)
        if (pass == OF_X || p->V > 0)
            compare_group(c, pass, n, group, &sums[pass]);
    for (int pass = 0; pass < PASSES; pass++)
        head_free(&sums[pass]);
}

/* ---- problems ------------------------------------------------------------------------------- */

typedef struct dice {
    uint64_t seed, rolled;
} dice;

static uint64_t roll(dice *d, uint64_t sides) {
    const uint64_t counter[4] = {d->rolled++, 77, 0, 0}, key[2] = {d->seed, 0x62616c6c73};
    uint64_t bits[4];
    gka_philox(counter, key, bits);
    return bits[0] % sides;
}

static double whole(dice *d) {
    const double x = (double)((roll(d, UINT64_C(1) << 53) | UINT64_C(1) << 52)) * 0x1p-53;
    return roll(d, 2) == 0 ? x : -x;
}

/* Numbers of one kind times 2^shift: few bits, all bits, many binades, mostly zero, -1 0 1, the
 * ends of the range. */
static void fill(dice *d, double *x, int64_t count, int shift) {
    const uint64_t kind = roll(d, 8), width = 1 + roll(d, 60);
    for (int64_t i = 0; x != NULL && i < count; i++) {
        switch (kind) {
        case 0:
        case 1: x[i] = ldexp((double)roll(d, 257) / 128 - 1, shift); break;
        case 2:
        case 3: x[i] = ldexp(whole(d), shift); break;
        case 4: x[i] = ldexp(whole(d), shift + (int)roll(d, width)); break;
        case 5: x[i] = roll(d, 3) == 0 ? ldexp(whole(d), shift) : 0; break;
        case 6: x[i] = ldexp((double)roll(d, 3) - 1, shift); break;
        default: x[i] = ldexp(whole(d), roll(d, 4) == 0 ? shift - (int)roll(d, 40) : shift);
        }
    }
}

static double gate(dice *d) {
    static const double gates[] = {0,     0,     -0x1p-60, -1e-300, -1e-3,    -.5,
                                   -1,    -30,   -700,     -745.2,  -1000,    -1100,
                                   -1e4,  -1e9,  -1e16,    -3.4e38, -1e300,   -DBL_MAX,
                                   -1e-8, -36.7, -37.5,    -2,      -INFINITY};
    const uint64_t i = roll(d, 2 * sizeof gates / sizeof *gates);
    return i < sizeof gates / sizeof *gates ? gates[i] : -fabs(whole(d));
}

static int shift_of(dice *d) {
    switch (roll(d, 6)) {
    case 0: return (int)roll(d, 121) - 60;
    case 1: return (int)roll(d, 401) - 200;
    default: return 0;
    }
}

static void draw(dice *d, lab_case *lab) {
    const int64_t G = 1 + (int64_t)roll(d, 2), T = roll(d, 12) == 0 ? 0 : 1 + (int64_t)roll(d, 6);
    lab_shape s = {.T = T,
                   .G = G,
                   .H = G * (1 + (int64_t)roll(d, 2)),
                   .D = 1 + (int64_t)roll(d, 5),
                   .V = (int64_t)roll(d, 4),
                   .alpha = roll(d, 3) > 0,
                   .gate = roll(d, 5) > 0,
                   .states = roll(d, 3) == 0,
                   .final = roll(d, 3) == 0,
                   .packed = T >= 3 && roll(d, 4) == 0,
                   .seed = d->seed};
    s.states = s.states && s.V > 0;
    s.B = s.packed ? 1 : 1 + (int64_t)roll(d, 2);
    s.h0_scale = s.states ? ldexp(roll(d, 4) == 0 ? -1 : 1, -(int)roll(d, 12)) : 0;
    s.a = roll(d, 2) == 0 ? .02 : pow(10, (double)roll(d, 17) - 8) * fabs(whole(d));
    lab_new(lab, &s);
    gka_problem *const p = &lab->problem;
    const int64_t queries = s.B * s.T * s.H, keys = s.B * s.T * s.G, states = p->N * s.H;
    const double scales[] = {p->scale, 1, 0x1p-200, -.3, 0};
    p->scale = scales[roll(d, 8) % 5];
    p->chunk_size = 1 + (int64_t)roll(d, 4);
    if (s.states && s.h0_scale > 0 && s.D <= 3 && !s.gate)
        p->ridge_ratio = 0; /* h0 is of three keys, and stays */
    const int key_shift = roll(d, 4) == 0 ? (int)roll(d, 481) - 240 : (int)roll(d, 9) - 4;
    if (roll(d, 4) > 0) {
        fill(d, lab->q, queries * s.D, shift_of(d));
        fill(d, lab->k, keys * s.D, key_shift);
        fill(d, lab->v, keys * s.V, shift_of(d));
        fill(d, lab->dx, queries * s.D, shift_of(d));
        fill(d, lab->dout, queries * s.V, shift_of(d));
        fill(d, lab->alpha, queries, 0);
        fill(d, lab->u0, states * s.D * s.V, shift_of(d));
        fill(d, lab->dh_final, states * s.D * s.D, shift_of(d));
        fill(d, lab->du_final, states * s.D * s.V, shift_of(d));
        for (int64_t i = 0; lab->h0 != NULL && i < states * s.D * s.D; i++)
            lab->h0[i] = ldexp(lab->h0[i], 2 * key_shift);
    }
    for (int64_t i = 0; lab->g != NULL && i < queries; i++)
        lab->g[i] = gate(d);
    if (roll(d, 5) == 0) /* one key, again and again */
        for (int64_t i = s.G * s.D; i < keys * s.D; i++)
            lab->k[i] = lab->k[i - s.G * s.D];
    if (roll(d, 5) == 0) /* and none */
        for (int64_t i = 0; i < keys * s.D; i++)
            lab->k[i] *= (double)roll(d, 2);
    if (roll(d, 12) == 0) /* subnormal, huge */
        for (int64_t i = 0; i < keys * s.V; i++)
            lab->v[i] = ldexp(lab->v[i], roll(d, 2) == 0 ? -1060 : 700);
    if (roll(d, 12) == 0)
        for (int64_t i = 0; i < queries * s.D; i++)
            lab->q[i] = ldexp(lab->q[i], roll(d, 2) == 0 ? -1060 : 500);
    gka_error error = {0};
    if (gka_problem_check(p, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
}

/* ---- all ------------------------------------------------------------------------------------ */

typedef struct totals {
    tally sum;
    int64_t undeclared, declared, calls, refused, short_of_proof;
} totals;

static void ask(const gka_problem *p, int pass, answer *a) {
    const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED, .round_to = a->format};
    gka_error error = {0};
    lab_exact_new(p, &a->out);
    lab_exact_new(p, &a->lo);
    gka_free(a->out.kappa);
    gka_free(a->lo.kappa);
    a->out.kappa = a->lo.kappa = NULL;
    gka_outputs *const lo = a->with_lo ? &a->lo : NULL;
    a->status = pass == FORWARD ? gka_oracle_forward(p, &options, &a->out, lo, &a->report, &error)
                                : gka_oracle_gradient(p, pass == OF_X ? GKA_OF_X : GKA_OF_O,
                                                      &options, &a->out, lo, &a->report, &error);
    if (a->status != GKA_OK && a->status != GKA_NO_CERTIFICATE &&
        a->status != GKA_NOT_POSITIVE_DEFINITE)
        fail_msg("%s", error.text);
}

static void judge(uint64_t seed, totals *all) {
    dice d = {.seed = seed};
    lab_case lab;
    comparison c = {.problem = &lab.problem};
    draw(&d, &lab);
    const gka_problem *const p = c.problem;
    static const char *const formats[] = {"bf16", "fp16", "fp32"};
    for (int pass = 0; pass < PASSES; pass++)
        for (int way = 0; way < WAYS; way++) {
            answer *const a = &c.answers[pass][way];
            a->status = GKA_UNSUPPORTED;
            if (pass == OF_O && p->V == 0)
                continue;
            a->with_lo = way == SECOND_WORDS;
            a->format = way == SHORT ? gka_format_find(formats[seed % 3]) : NULL;
            ask(p, pass, a);
            all->calls++;
            all->refused += a->status != GKA_OK;
        }
    for (int64_t n = 0; n < p->N; n++)
        for (int64_t group = 0; group < p->G; group++)
            for (int i = 0; i < PRECISIONS; i++) {
                comparison before;
                memcpy(&before, &c, sizeof c);
                c.enough = true;
                c.last = i == PRECISIONS - 1;
                compare_heads(&c, precisions[i], n, group);
                if (c.enough)
                    break;
                all->short_of_proof += c.last;
                if (!c.last)
                    memcpy(&c, &before, sizeof c);
            }
    for (int pass = 0; pass < PASSES; pass++)
        for (int way = 0; way < WAYS; way++) {
            const tally *const sum = &c.sums[pass][way];
            answer *const a = &c.answers[pass][way];
            const int64_t declared = a->report.declared + a->report.elements_undecided;
            const int64_t known = a->report.ties - a->report.declared; /* balls cannot tell them */
            tally_add(&all->sum, sum);
            all->declared += declared;
            all->undeclared += sum->wrong > declared ? sum->wrong - declared : 0;
            all->undeclared += sum->ties > declared + known ? sum->ties - declared - known : 0;
            if (sum->wrong > declared || sum->ties > declared + known) {
                static const char *const passes[] = {"forward", "of x", "of o"};
                static const char *const ways[] = {"fp64", "two words", "a short format"};
                print_error("seed %llu, %s, %s: %lld of %lld wrong, %lld ties of which %lld are "
                            "declared; %s\n",
                            (unsigned long long)seed, passes[pass], ways[way],
                            (long long)sum->wrong, (long long)sum->compared, (long long)sum->ties,
                            (long long)declared, sum->first_wrong);
            }
            if (a->out.x != NULL) {
                lab_exact_free(p, &a->out);
                lab_exact_free(p, &a->lo);
            }
        }
    lab_free(&lab);
}

static void prop_certified_values_lie_in_their_balls(void **state) {
    (void)state;
    totals all = {0};
    gka_set_threads(1); /* problems are small */
    for (int i = 0; i < problem_count; i++)
        judge(first_seed + (uint64_t)i, &all);
    print_message("%d problems: %lld values and %lld second words compared; %lld wrong without "
                  "being declared; %lld rounded without a proof and declared, %lld of them wrong; "
                  "%lld and %lld ties that balls of %lld bits cannot tell; %lld of %lld calls "
                  "refused\n",
                  problem_count, (long long)all.sum.compared, (long long)all.sum.second_words,
                  (long long)all.undeclared, (long long)all.declared, (long long)all.sum.wrong,
                  (long long)all.sum.ties, (long long)all.sum.second_ties,
                  (long long)precisions[PRECISIONS - 1], (long long)all.refused,
                  (long long)all.calls);
    assert_int_equal(all.undeclared, 0);
    assert_true(all.refused * 10 < all.calls);
    assert_true(all.sum.compared > 100 * (int64_t)problem_count);
    flint_cleanup();
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(prop_certified_values_lie_in_their_balls)};
    if (argc > 1)
        problem_count = atoi(argv[1]);
    if (argc > 2)
        first_seed = strtoull(argv[2], NULL, 10);
    return cmocka_run_group_tests_name("balls", tests, NULL, NULL);
}
