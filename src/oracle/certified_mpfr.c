/* certified_mpfr.c - what double-double could not decide, decided in MPFR at rising precision.
 *
 *   P, v      precision in bits, v = 2^-P; every bound here is counted in units of v
 *   H         lower triangle, row by row; U [D,V]; within v E_H, v E_U (Frobenius norms)
 *   x         within v e_x;  r = q - (H + lambda) x;  f, lambda within v E_f, v E_lambda
 *   h_norm, u_norm, x_norm, ...              binary64 bounds of norms
 *   S         those of H, U, f, lambda are in units of 2^S, those of x of 2^-S: a state may decay
 *             far below the range of binary64, and x = (H + lambda I)^-1 q then grows beyond it
 *
 * The head is streamed again from its first token. x is refined with a binary64 factor of the
 * scaled H + lambda I and a residual in MPFR, D^2 products a step and about 45 bits each. A state
 * whose every operation was exact (no gate, dyadic inputs) keeps E = 0, so its ties are decided
 * exactly. At the last precision an interval that still holds a boundary of rounding is taken to
 * lie on it: ties to even, counted and listed as declared. Derivation: src/oracle/README.md,
 * section MPFR.
 */
#include "oracle/certified_head.h"

#include "oracle/bound.h"
#include "oracle/mp.h"
#include "oracle/mp_solve.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define RN MPFR_RNDN

typedef struct numbers {
    gka_head *head;
    int P;
    bool last; /* no higher precision will be tried */
    int64_t D, V;
    mpfr_t *H, *U, *x, *r, *y;
    mpfr_t *k, *q, *vv;
    mpfr_t *gamma, *f, *lambda, *t, *s, *low, *high;
    mpfr_exp_t S;
    double E_H, E_U, E_f, E_lambda, e_x;
    double h_norm, u_norm, q_norm, x_norm, alpha, least;
    bool empty, gated; /* gated: the token's gate is neither 0 nor 1 */
} numbers;

static size_t layout(mpfr_t *block, numbers *w) {
    const int64_t D = w->D, V = w->V;
    size_t used = 0;
    w->H = gka_mp_take(block, &used, D * (D + 1) / 2);
    w->U = gka_mp_take(block, &used, D * V);
    mpfr_t **const rows[] = {&w->x, &w->r, &w->y, &w->k, &w->q};
    for (int i = 0; i < 5; i++)
        *rows[i] = gka_mp_take(block, &used, D);
    w->vv = gka_mp_take(block, &used, V);
    mpfr_t **const single[] = {&w->gamma, &w->f, &w->lambda, &w->t, &w->s, &w->low, &w->high};
    for (int i = 0; i < 7; i++)
        *single[i] = gka_mp_take(block, &used, 1);
    return used;
}

static mpfr_ptr H_at(const numbers *w, int64_t i, int64_t j) {
    return gka_mp_at(w->H, i, j);
}

/* x 2^e, rounded up to 2^-1000 unless x = 0. */
static double shifted(double x, mpfr_exp_t e) {
    if (x == 0)
        return 0;
    return fmax(ldexp(x, (int)(e > 4000 ? 4000 : e < -4000 ? -4000 : e)), 0x1p-1000);
}

static double magnitude(const numbers *w, mpfr_srcptr x, mpfr_exp_t e) {
    return gka_mp_magnitude(x, e, *w->t);
}

static double norm_up(const numbers *w, int64_t n, mpfr_t *x, mpfr_exp_t e) {
    return gka_mp_norm(n, x, e, *w->t);
}

/* ---- rounding ------------------------------------------------------------------------------ */

/* Where a result belongs: element `at` of a member, and of its second words. */
typedef struct place {
    const char *tensor;
    double *out, *lo;
    int64_t at;
} place;

static place place_of(const char *tensor, double *out, double *lo, int64_t row, int64_t at,
                      int64_t hidden) {
    return (place){tensor, gka_offset(out, row + at), gka_offset(lo, row + at), hidden + row + at};
}

static bool decide(const numbers *w, gka_target target, mpfr_srcptr x, double e, mpfr_exp_t unit,
                   const place *to, bool second_word, double *out) {
    gka_head *const head = w->head;
    const gka_decision found =
        gka_mp_decide(target, x, e, unit, w->P, w->last, *w->low, *w->high, *w->t, out);
    head->ties += !second_word && (found == GKA_TIE || found == GKA_DECLARED_TIE);
    if (found == GKA_DECLARED_TIE) {
        head->declared++;
        gka_run_unproven(head->run, to->tensor, second_word, to->at);
    }
    return found != GKA_NOT_DECIDED;
}

/* One result, within e v 2^unit, and its second word. x is neither w->s nor w->t. */
static bool put(numbers *w, mpfr_srcptr x, double e, mpfr_exp_t unit, place to) {
    double *const out = to.out, *const lo = to.lo;
    double hi, rest;
    if (!decide(w, w->head->target, x, e, unit, &to, false, &hi))
        return false;
    w->head->zeros += hi == 0 && mpfr_sgn(*w->low) * mpfr_sgn(*w->high) <= 0;
    if (fabs(hi) > DBL_MAX) {
        rest = -hi;
    } else if (lo != NULL) {
        const int inexact = mpfr_sub_d(*w->s, x, hi, RN);
        const double off = inexact != 0 ? magnitude(w, *w->s, -unit) : 0;
        if (!decide(w, (gka_target){NULL}, *w->s, e + off, unit, &to, true, &rest))
            return false;
    }
    if (out != NULL)
        *out = hi;
    if (lo != NULL)
        *lo = rest;
    return true;
}

/* ---- the state ----------------------------------------------------------------------------- */

static void empty_state(numbers *w) {
    for (int64_t i = 0; i < w->D * (w->D + 1) / 2; i++)
        mpfr_set_zero(w->H[i], 1);
    for (int64_t i = 0; i < w->D * w->V; i++)
        mpfr_set_zero(w->U[i], 1);
    w->E_H = w->E_U = w->h_norm = w->u_norm = w->least = 0;
    w->S = 0;
    gka_pattern_empty(&w->head->pattern);
}

static void first_state(numbers *w) {
    gka_head *const head = w->head;
    const gka_problem *const problem = head->run->problem;
    const int64_t D = w->D, V = w->V;
    double *const h0 = head->row, *const u0 = V > 0 ? head->row + D * D : NULL;
    empty_state(w);
    if (problem->h0.data == NULL && problem->u0.data == NULL)
        return;
    gka_problem_h0(problem, head->n, head->h, h0);
    if (V > 0)
        gka_problem_u0(problem, head->n, head->h, u0);
    gka_pattern_start(&head->pattern, h0, u0);
    bool exact = true;
    double squares = 0;
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j <= i; j++) {
            mpfr_set_d(H_at(w, i, j), h0[i * D + j], RN);
            exact &= mpfr_add_d(H_at(w, i, j), H_at(w, i, j), h0[j * D + i], RN) == 0;
            mpfr_div_2ui(H_at(w, i, j), H_at(w, i, j), 1, RN);
            const double h = mpfr_get_d(H_at(w, i, j), MPFR_RNDA);
            squares += (i == j ? 1 : 2) * h * h;
        }
    w->h_norm = sqrt(squares) * UP;
    w->E_H = exact ? 0 : w->h_norm;
    w->least = head->h0_least;
    squares = 0;
    for (int64_t i = 0; i < D * V; i++) {
        mpfr_set_d(w->U[i], u0[i], RN);
        squares += u0[i] * u0[i];
    }
    w->u_norm = sqrt(squares) * UP;
}

/* M = gamma M + a b: two roundings, one where gamma = 1. Returns whether it was exact. */
static bool next(const numbers *w, bool gated, mpfr_ptr m, mpfr_srcptr a, mpfr_srcptr b) {
    bool exact = true;
    if (gated)
        exact = mpfr_mul(m, m, *w->gamma, RN) == 0;
    if (mpfr_zero_p(a) || mpfr_zero_p(b))
        return exact;
    return (mpfr_fma(m, a, b, m, RN) == 0) && exact;
}

/* Below the exponents of MPFR: an exp(g) that is 0 there though g is finite counts as this. */
enum { LEAST_EXPONENT = -(1 << 30) };
/* S stays above this, so that what lies v below it is still a number of MPFR's. */
static const mpfr_exp_t LEAST_UNIT = MPFR_EMIN_DEFAULT / 4;

/* The bounds of the new state, in units of a new 2^S that puts the larger of gamma ||H||, |k|^2
 * near 1: ||gamma H + k k^T|| <= gamma ||H|| + |k|^2; each entry is rounded twice. Where exp(g) is
 * below MPFR's range the old state is lost: 0 in H and U, and of its exact self no more is known
 * than that it is below 2^LEAST_EXPONENT of what it was, which is within v of that. */
static void next_bounds(numbers *w, bool exact_H, bool exact_U) {
    long gamma_exponent;
    int h_exponent, k_exponent;
    double gamma = mpfr_get_d_2exp(&gamma_exponent, *w->gamma, MPFR_RNDU) * UP;
    const double k = frexp(norm_up(w, w->D, w->k, 0), &k_exponent);
    if (mpfr_zero_p(*w->gamma) && w->gated) {
        gamma = 1;
        gamma_exponent = LEAST_EXPONENT;
        w->E_H = fmax(w->E_H, w->h_norm);
        w->E_U = fmax(w->E_U, w->u_norm);
    }
    (void)frexp(w->h_norm, &h_exponent);
    const mpfr_exp_t old = w->S + gamma_exponent;
    mpfr_exp_t S = 2 * k_exponent;
    if (k == 0 || (w->h_norm > 0 && old + h_exponent > S))
        S = old + h_exponent;
    if (S < LEAST_UNIT)
        S = LEAST_UNIT;
    w->h_norm = (shifted(gamma * w->h_norm, old - S) + shifted(k * k, 2 * k_exponent - S)) * UP;
    w->E_H = (shifted(gamma * w->E_H, old - S) + (exact_H ? 0 : 4 * w->h_norm)) * UP;
    w->least = -shifted(gamma * -w->least, old - S);
    w->u_norm = (shifted(gamma * w->u_norm, old - S) +
                 shifted(k * norm_up(w, w->V, w->vv, 0), k_exponent - S)) *
                UP;
    w->E_U = (shifted(gamma * w->E_U, old - S) + (exact_U ? 0 : 4 * w->u_norm)) * UP;
    w->S = S;
}

static void next_state(numbers *w, int64_t t, bool with_U) {
    gka_head *const head = w->head;
    const gka_problem *const problem = head->run->problem;
    const int64_t D = w->D, V = w->V;
    const double g = gka_problem_g(problem, head->span.b, t, head->h);
    double *const row = head->row, *const v = head->row + 2 * D;
    if (g == -INFINITY)
        empty_state(w);
    gka_problem_q(problem, head->span.b, t, head->h, row);
    gka_mp_read(D, row, w->q);
    gka_problem_k(problem, head->span.b, t, head->h, row + D);
    gka_mp_read(D, row + D, w->k);
    if (V > 0) {
        gka_problem_v(problem, head->span.b, t, head->h, v);
        gka_mp_read(V, v, w->vv);
    }
    gka_pattern_add(&head->pattern, row + D, V > 0 ? v : NULL);
    w->alpha = gka_problem_alpha(problem, head->span.b, t, head->h);
    w->q_norm = norm_up(w, D, w->q, 0);
    w->empty = head->pattern.pairs == 0;

    /* gamma to 1 v; 1 exactly without a gate */
    const bool gated = w->gated = g != 0 && g != -INFINITY;
    mpfr_set_d(*w->gamma, g == -INFINITY ? 0 : g, RN);
    mpfr_exp(*w->gamma, *w->gamma, RN);
    bool exact_H = !gated, exact_U = !gated;
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j <= i; j++)
            exact_H &= next(w, gated, H_at(w, i, j), w->k[i], w->k[j]);
    for (int64_t i = 0; with_U && i < D; i++)
        for (int64_t j = 0; j < V; j++)
            exact_U &= next(w, gated, w->U[i * V + j], w->k[i], w->vv[j]);
    next_bounds(w, exact_H, exact_U);
}

/* f = ||H||_F, lambda = a f or the constant */
static void ridge(numbers *w) {
    const double a = w->head->run->problem->ridge_ratio;
    bool exact = true;
    mpfr_set_zero(*w->s, 1);
    for (int64_t i = 0; i < w->D; i++)
        for (int64_t j = 0; j <= i; j++) {
            mpfr_mul_2ui(*w->t, H_at(w, i, j), i == j ? 0 : 1, RN);
            exact &= mpfr_fma(*w->s, *w->t, H_at(w, i, j), *w->s, RN) == 0;
        }
    exact &= mpfr_sqrt(*w->f, *w->s, RN) == 0;
    const double f = magnitude(w, *w->f, -w->S);
    w->h_norm = f * UP; /* sharper than the sum of norms */
    w->E_f = (w->E_H + (exact ? 0 : (double)(w->D * w->D) * f)) * UP;
    exact = mpfr_mul_d(*w->lambda, *w->f, a, RN) == 0;
    w->E_lambda = (a * w->E_f + (exact ? 0 : magnitude(w, *w->lambda, -w->S))) * UP;
    if (w->head->run->options->ridge > 0) {
        mpfr_set_d(*w->lambda, w->head->run->options->ridge, RN);
        w->E_lambda = 0;
    }
}

/* ---- the solve ----------------------------------------------------------------------------- */

/* R^T R = (H + lambda I) 2^-e; returns a bound from below of the eigenvalues of H + lambda I, in
 * units of 2^S. */
static double factor(numbers *w, mpfr_exp_t e) {
    gka_head *const head = w->head;
    const int64_t D = w->D;
    gka_mp_strips(D, w->H, e, *w->t, head->H);
    mpfr_mul_2si(*w->t, *w->lambda, -e, RN);
    const double lambda = mpfr_get_d(*w->t, RN), v = ldexp(1, -w->P < -1000 ? -1000 : -w->P);
    mpfr_mul_2si(*w->t, *w->lambda, -w->S, RN);
    const double exact_lambda = mpfr_get_d(*w->t, MPFR_RNDD) * DOWN - v * w->E_lambda;
    double least = (exact_lambda + w->least) * DOWN;
    if (!(least > 0)) {
        const double f = shifted(w->h_norm, w->S - e) * UP;
        const double error = v * shifted(w->E_H + w->E_lambda, w->S - e) * UP;
        least = ldexp(gka_head_least(head, head->H, lambda, f, error), (int)(e - w->S)) * DOWN;
    }
    return gka_head_factor(head, head->H, lambda) ? least : -1;
}

/* x and e_x. False: no bound. */
static bool solve(numbers *w) {
    gka_head *const head = w->head;
    const int64_t D = w->D;
    for (int64_t i = 0; i < D; i++) {
        mpfr_set_zero(w->x[i], 1);
        mpfr_set(w->r[i], w->q[i], RN);
    }
    w->e_x = w->x_norm = 0;
    if (w->empty || mpfr_zero_p(*w->f))
        return w->empty || w->E_f == 0;
    if (w->q_norm == 0)
        return true;
    const mpfr_exp_t e = mpfr_get_exp(*w->f);
    const double least = factor(w, e);
    if (!(least > 0))
        return false;
    double r = INFINITY, floor = 0;
    for (int i = 0; i < w->P; i++) {
        gka_mp_correct(head, w->r, e, *w->t, w->x);
        gka_mp_residual(D, w->H, *w->lambda, w->q, w->x, *w->s, *w->t, w->r);
        const double before = r;
        r = gka_mp_norm_in_v(w->P, D, w->r);
        w->x_norm = norm_up(w, D, w->x, w->S);
        const double lambda = magnitude(w, *w->lambda, -w->S);
        floor = ((double)(D + 3) * (w->q_norm + (w->h_norm + lambda) * w->x_norm) +
                 (w->E_H + w->E_lambda) * w->x_norm) *
                UP;
        if (r <= floor || !(r < before / 4 || r == INFINITY))
            break;
    }
    w->e_x = (r + floor) * UP / least;
    return w->e_x <= DBL_MAX;
}

/* ---- results ------------------------------------------------------------------------------- */

static void put_zero(const place *to) {
    if (to->out != NULL)
        *to->out = 0;
    if (to->lo != NULL)
        *to->lo = 0;
}

static bool put_x(numbers *w, int64_t at) {
    gka_head *const head = w->head;
    const gka_outputs *const out = head->run->out, *const lo = head->run->lo;
    bool all = true;
    for (int64_t i = 0; i < w->D; i++) {
        const place to = place_of("x", out->x, lo->x, at * w->D, i, head->base * w->D);
        if (w->empty || head->pattern.zero[i] != 0)
            put_zero(&to);
        else
            all = put(w, w->x[i], w->e_x, -w->S, to) && all;
    }
    return all;
}

/* y = q + alpha (x - q); returns its error in v 2^unit */
static double mix(numbers *w, mpfr_exp_t unit) {
    const double alpha = fabs(w->alpha), q_norm = shifted(w->q_norm, -unit);
    const double x_norm = shifted(w->x_norm, -w->S - unit), e_x = shifted(w->e_x, -w->S - unit);
    bool exact = true;
    for (int64_t i = 0; i < w->D; i++) {
        if (w->alpha == 0 || w->alpha == 1) {
            mpfr_set(w->y[i], w->alpha == 0 ? w->q[i] : w->x[i], RN);
            continue;
        }
        exact &= mpfr_sub(w->y[i], w->x[i], w->q[i], RN) == 0;
        exact &= mpfr_mul_d(w->y[i], w->y[i], w->alpha, RN) == 0;
        exact &= mpfr_add(w->y[i], w->y[i], w->q[i], RN) == 0;
    }
    return ((alpha > 0 ? alpha * e_x : 0) +
            (exact ? 0 : 4 * (q_norm + alpha * (x_norm + q_norm)))) *
           UP;
}

/* o = s U^T y */
static bool put_o(numbers *w, int64_t at, const double *q) {
    gka_head *const head = w->head;
    const gka_outputs *const out = head->run->out, *const lo = head->run->lo;
    const int64_t D = w->D, V = w->V;
    const mpfr_exp_t y_unit = w->S < 0 ? -w->S : 0, unit = w->S + y_unit;
    const double e_y = mix(w, y_unit), y_norm = norm_up(w, D, w->y, -y_unit);
    const double s = head->run->problem->scale;
    const double e_in = w->u_norm * e_y + w->E_U * (y_norm + e_y * 0x1p-100);
    bool all = true;
    for (int64_t j = 0; j < V; j++) {
        const place to = place_of("o", out->o, lo->o, at * V, j, head->base * V);
        if (s == 0 || gka_pattern_zero_o(&head->pattern, w->alpha, q, j)) {
            put_zero(&to);
            continue;
        }
        mpfr_ptr sum = *w->f; /* f is done with */
        bool exact = true;
        mpfr_set_zero(sum, 1);
        for (int64_t i = 0; i < D; i++)
            exact &= mpfr_fma(sum, w->U[i * V + j], w->y[i], sum, RN) == 0;
        const double e_sum = e_in + (exact ? 0 : (double)(D + 2) * w->u_norm * y_norm);
        exact = mpfr_mul_d(sum, sum, s, RN) == 0;
        const double e = fabs(s) * e_sum + (exact ? 0 : magnitude(w, sum, -unit));
        all = put(w, sum, e * UP, unit, to) && all;
    }
    return all;
}

static bool put_f(numbers *w, int64_t at) {
    const gka_outputs *const out = w->head->run->out, *const lo = w->head->run->lo;
    const double E_f = w->empty ? 0 : w->E_f, E_lambda = w->empty ? 0 : w->E_lambda;
    const int64_t base = w->head->base;
    const bool f = put(w, *w->f, E_f, w->S, place_of("fro", out->fro, lo->fro, at, 0, base));
    return put(w, *w->lambda, E_lambda, w->S,
               place_of("lambda", out->lambda, lo->lambda, at, 0, base)) &&
           f;
}

/* H and U to matrix i of the chunks' or the final states */
static bool put_states(numbers *w, int needs, int64_t i, bool final) {
    const gka_pattern *const p = &w->head->pattern;
    const gka_outputs *const out = w->head->run->out, *const lo = w->head->run->lo;
    double *const H = final ? out->h_final : out->h_chunk, *const H_lo =
                                                               final ? lo->h_final : lo->h_chunk;
    double *const U = final ? out->u_final : out->u_chunk, *const U_lo =
                                                               final ? lo->u_final : lo->u_chunk;
    const char *const h = final ? "h_final" : "h_chunk", *const u = final ? "u_final" : "u_chunk";
    const int64_t D = w->D, V = w->V, base = final ? 0 : w->head->chunk_base;
    bool all = true;
    for (int64_t j = 0; (needs & GKA_NEED_H) != 0 && j < D * D; j++)
        all = put(w, H_at(w, j / D, j % D), p->pair[j] != 0 ? w->E_H : 0, w->S,
                  place_of(h, H, H_lo, i * D * D, j, base * D * D)) &&
              all;
    for (int64_t j = 0; (needs & GKA_NEED_U) != 0 && j < D * V; j++)
        all = put(w, w->U[j], p->entry[j] != 0 ? w->E_U : 0, w->S,
                  place_of(u, U, U_lo, i * D * V, j, base * D * V)) &&
              all;
    return all;
}

/* ---- one head ------------------------------------------------------------------------------ */

/* The results of a token after its state. */
static bool put_token(numbers *w, int64_t t, int needs) {
    gka_head *const head = w->head;
    const int64_t at = gka_at(head->run->problem, head->span.b, t, head->h) - head->base;
    const bool o = (needs & GKA_NEED_O) != 0, x = (needs & GKA_NEED_X) != 0;
    const bool solved = x || (o && w->alpha != 0);
    bool all = true;
    w->e_x = w->x_norm = 0;
    ridge(w);
    if ((needs & GKA_NEED_F) != 0)
        all = put_f(w, at);
    if (solved && !solve(w))
        return false;
    double *const q = head->row;
    gka_problem_q(head->run->problem, head->span.b, t, head->h, q);
    gka_pattern_solve(&head->pattern, q);
    if (w->empty)
        memset(head->pattern.zero, 1, (size_t)w->D);
    if (x)
        all = put_x(w, at) && all;
    return (!o || put_o(w, at, q)) && all;
}

/* Everything that was wanted here is decided; or nothing of it counts. */
static bool settle(gka_head *head, int64_t i, bool all, int64_t ties, int64_t zeros, int what) {
    if (all) {
        head->needs[i] &= (unsigned char)~what;
        return true;
    }
    head->ties = ties;
    head->zeros = zeros;
    return false;
}

static gka_status undecided(const numbers *w, int64_t t, gka_error *error) {
    return gka_head_fail(
        w->head, t, GKA_NO_CERTIFICATE,
        w->head->run->problem->ridge_ratio == 0
            ? "H is singular or too near to it for a proof, and the ridge ratio is 0"
            : "H + lambda I could not be proven positive definite and well enough "
              "conditioned for binary64, or a value left its range; the mpfr oracle needs neither",
        error);
}

/* Streams the head at one precision up to the last need. */
static gka_status stream(numbers *w, int64_t length, bool with_U, gka_error *error) {
    gka_head *const head = w->head;
    gka_run *const run = head->run;
    const gka_oracle_window *const window = run->options->window;
    enum { STATES = GKA_NEED_H | GKA_NEED_U };
    first_state(w);
    for (int64_t i = 0; i <= length; i++) {
        const int64_t t = head->span.begin + i, end = head->span.end - head->span.begin;
        const int states = head->needs[i] & STATES, rest = head->needs[i] & ~STATES;
        int64_t ties = head->ties, zeros = head->zeros;
        if (states != 0) {
            const bool final = i == end;
            const int64_t m =
                final ? head->n * run->problem->H + head->h
                      : gka_at_chunk(run->problem, head->n, t, head->h) - head->chunk_base;
            const bool all = put_states(w, states, m, final);
            if (!settle(head, i, all, ties, zeros, STATES) && w->last)
                return undecided(w, t, error);
        }
        if (i == end)
            break;
        next_state(w, t, with_U);
        if (window != NULL && window->passed != NULL && (i + 1) % window->tokens == 0)
            window->passed(window->context);
        ties = head->ties;
        zeros = head->zeros;
        if (rest != 0 && !settle(head, i, put_token(w, t, rest), ties, zeros, rest) && w->last)
            return undecided(w, t, error);
        if (!gka_run_waits(run, head->n, head->h))
            return GKA_INTERRUPTED;
    }
    return GKA_OK;
}

gka_status gka_head_resolve(gka_head *head, gka_error *error) {
    gka_status status = GKA_OK;
    static const int precisions[GKA_MP_PRECISIONS] = {192, 384, 768, 1536, 4096};
    const gka_problem *const problem = head->run->problem;
    const int count =
        gka_mp_precisions(problem, head->n, head->h, 1, head->with_U ? problem->V : 0, head->row);
    for (int i = 0; i < count && status == GKA_OK; i++) {
        int64_t length = -1;
        bool with_U = false;
        for (int64_t t = 0; t <= head->span.end - head->span.begin; t++)
            if (head->needs[t] != 0) {
                length = t;
                with_U |= (head->needs[t] & (GKA_NEED_O | GKA_NEED_U)) != 0;
            }
        if (length < 0)
            break;
        numbers w = {.head = head,
                     .P = precisions[i],
                     .last = i == count - 1,
                     .D = head->run->problem->D,
                     .V = head->with_U ? head->run->problem->V : 0};
        mpfr_t *const block = gka_mp_new(layout(NULL, &w), w.P);
        if (block == NULL)
            return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
        layout(block, &w);
        status = stream(&w, length, with_U, error);
        gka_free(block);
    }
    mpfr_free_cache();
    return status;
}
