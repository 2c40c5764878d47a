/* mp_solve.c - what the certified oracle's passes in MPFR share (mp_solve.h). */
#include "oracle/mp_solve.h"

#include "oracle/bound.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define RN MPFR_RNDN

/* ---- norms --------------------------------------------------------------------------------- */

double gka_mp_magnitude(mpfr_srcptr x, mpfr_exp_t e, mpfr_ptr t) {
    if (mpfr_zero_p(x))
        return 0;
    mpfr_mul_2si(t, x, e, RN);
    return fmax(fabs(mpfr_get_d(t, MPFR_RNDA)), 0x1p-1000);
}

double gka_mp_norm(int64_t n, mpfr_t *x, mpfr_exp_t e, mpfr_ptr t) {
    double sum = 0, scale = 0;
    for (int64_t i = 0; i < n; i++)
        scale = fmax(scale, gka_mp_magnitude(x[i], e, t));
    for (int64_t i = 0; scale > 0 && i < n; i++) {
        const double y = gka_mp_magnitude(x[i], e, t) / scale;
        sum += y * y;
    }
    return scale * sqrt(sum) * (UP + (double)n * 0x1p-53);
}

mpfr_exp_t gka_mp_exponent(int64_t n, mpfr_t *x) {
    mpfr_exp_t most = MPFR_EMIN_DEFAULT;
    for (int64_t i = 0; i < n; i++)
        if (!mpfr_zero_p(x[i]) && mpfr_get_exp(x[i]) > most)
            most = mpfr_get_exp(x[i]);
    return most;
}

double gka_mp_norm_in_v(int P, int64_t n, mpfr_t *x) {
    const mpfr_exp_t e = gka_mp_exponent(n, x) + P;
    return e < -1000 ? 0x1p-900 : e > 1000 ? INFINITY : ldexp(sqrt((double)n), (int)e) * UP;
}

/* ---- the solve ----------------------------------------------------------------------------- */

void gka_mp_strips(int64_t D, mpfr_t *H, mpfr_exp_t e, mpfr_ptr t, double *strips) {
    const int64_t n = gka_strip_size(D);
    memset(strips, 0, (size_t)(2 * n * n) * sizeof *strips);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++) {
            mpfr_mul_2si(t, gka_mp_at(H, i, j), -e, RN);
            strips[gka_strip_at(n, i, j)] = mpfr_get_d(t, RN);
        }
}

void gka_mp_residual(int64_t D, mpfr_t *H, mpfr_srcptr lambda, mpfr_t *b, mpfr_t *x, mpfr_ptr s,
                     mpfr_ptr t, mpfr_t *r) {
    for (int64_t i = 0; i < D; i++) {
        mpfr_set_zero(s, 1);
        for (int64_t j = 0; j < D; j++) {
            mpfr_mul(t, gka_mp_at(H, i, j), x[j], RN);
            mpfr_add(s, s, t, RN);
        }
        mpfr_mul(t, lambda, x[i], RN);
        mpfr_add(s, s, t, RN);
        mpfr_sub(r[i], b[i], s, RN);
    }
}

void gka_mp_correct(gka_head *head, mpfr_t *r, mpfr_exp_t e, mpfr_ptr t, mpfr_t *x) {
    const int64_t D = head->run->problem->D, n = gka_strip_size(D);
    const mpfr_exp_t most = gka_mp_exponent(D, r);
    memset(head->r, 0, (size_t)n * sizeof *head->r);
    for (int64_t i = 0; i < D; i++) {
        mpfr_mul_2si(t, r[i], -most, RN);
        head->r[i] = mpfr_get_d(t, RN);
    }
    head->kernels->solve(n, head->R, head->inverse, head->r, head->d);
    for (int64_t i = 0; i < D; i++) {
        mpfr_set_d(t, head->d[i], RN);
        mpfr_mul_2si(t, t, most - e, RN);
        mpfr_add(x[i], x[i], t, RN);
    }
}

/* ---- rounding ------------------------------------------------------------------------------ */

double gka_mp_round(gka_target target, mpfr_srcptr x) {
    if (target.format == NULL)
        return mpfr_get_d(x, RN) + 0.0;
    const double cut = mpfr_get_d(x, MPFR_RNDZ);
    return gka_target_round_cut(target, cut, mpfr_cmp_d(x, cut) == 0 ? 0 : mpfr_sgn(x));
}

/* x, known exactly, lies halfway between two neighbours. */
static bool exact_tie(gka_target target, mpfr_srcptr x, mpfr_ptr low, mpfr_ptr high) {
    if (mpfr_zero_p(x))
        return false;
    mpfr_set(low, x, RN);
    mpfr_set(high, x, RN);
    mpfr_nextbelow(low);
    mpfr_nextabove(high);
    return gka_mp_round(target, low) != gka_mp_round(target, high);
}

gka_decision gka_mp_decide(gka_target target, mpfr_srcptr x, double e, mpfr_exp_t unit, int P,
                           bool last, mpfr_ptr low, mpfr_ptr high, mpfr_ptr t, double *out) {
    if (!(e <= DBL_MAX))
        return GKA_NOT_DECIDED;
    mpfr_set_d(t, e, MPFR_RNDU);
    mpfr_mul_2si(t, t, unit - P, MPFR_RNDU);
    mpfr_sub(low, x, t, MPFR_RNDD);
    mpfr_add(high, x, t, MPFR_RNDU);
    const double a = gka_mp_round(target, low), b = gka_mp_round(target, high);
    *out = a;
    if (a == b)
        return e == 0 && exact_tie(target, x, low, high) ? GKA_TIE : GKA_DECIDED;
    if (!last)
        return GKA_NOT_DECIDED;
    mpfr_sub(t, high, low, MPFR_RNDU);
    mpfr_mul_2si(t, t, P / 2, MPFR_RNDU);
    if (mpfr_cmpabs(t, x) > 0 || !gka_target_even(target, a, b, out))
        return GKA_NOT_DECIDED;
    return GKA_DECLARED_TIE;
}

/* ---- precisions ---------------------------------------------------------------------------- */

static bool deep(const gka_problem *problem, int64_t n, int64_t h) {
    enum { DEEP_FROM = 480, DEEP_TO = 2800 };
    const gka_span span = gka_problem_span(problem, n);
    double sum = 0;
    for (int64_t t = span.begin; problem->g.data != NULL && t < span.end; t++) {
        const double g = gka_problem_g(problem, span.b, t, h);
        sum = g < -DEEP_TO ? 0 : sum + g;
        if (sum <= -DEEP_FROM)
            return true;
    }
    return false;
}

static bool large(int64_t n, const double *x) {
    for (int64_t i = 0; i < n; i++)
        if (fabs(x[i]) > 0x1p100)
            return true;
    return false;
}

/* Whether 1536 bits below some number of the head's need not be below all of binary64. */
static bool has_large(const gka_problem *p, int64_t n, int64_t h, int64_t V, double *row) {
    const gka_span span = gka_problem_span(p, n);
    bool found = false;
    gka_problem_h0(p, n, h, row);
    found = large(p->D * p->D, row);
    if (V > 0) {
        gka_problem_u0(p, n, h, row);
        found = found || large(p->D * V, row);
    }
    for (int64_t t = span.begin; !found && t < span.end; t++) {
        gka_problem_k(p, span.b, t, h, row);
        found = found || large(p->D, row);
        gka_problem_q(p, span.b, t, h, row);
        found = found || large(p->D, row);
        if (V > 0) {
            gka_problem_v(p, span.b, t, h, row);
            found = found || large(V, row);
        }
    }
    return found;
}

int gka_mp_precisions(const gka_problem *problem, int64_t n, int64_t h, int64_t heads, int64_t V,
                      double *row) {
    for (int64_t i = h; i < h + heads; i++)
        if (deep(problem, n, i) || has_large(problem, n, i, V, row))
            return GKA_MP_PRECISIONS;
    return GKA_MP_PRECISIONS - 1;
}
