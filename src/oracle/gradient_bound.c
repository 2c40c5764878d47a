/* gradient_bound.c - the error analysis of NUMERICS 2 (gradient_bound.h).
 *
 * Operations, |error| in v, double-double (Joldes, Muller, Popescu 2017, u = 2^-53, v = u^2) and
 * MPFR (one rounding: 1):
 *
 *   sum of two              3 (1 + 8u), AccurateDWPlusDW    <= ADD = 3  of the result
 *   with a binary64 number  2, DWPlusFP                     <= 3
 *   product                 6, DWTimesDW2                   <= MUL = 6
 *   by a binary64 number    2, DWTimesFP3                   <= BY = 2
 *   quotient                16 (README, section dd)         <= DIV = 16
 *   M + a b^T, gamma M      two products, a sum             <= OUTER = 9  of |gamma M| + |a b|
 *   gamma H + k k^T         README, section kernels         <= OLD = 13 of |gamma H|, NEW = 3 of
 *                                                           |k k|; 3 of both for gamma = 1
 *   q + alpha (x - q)       the same                        <= MIX = 8  of |q|, |alpha| (|x| + |q|)
 *   residual but for H x    two sums, a product             <= REST = 9  of |b|, |H x|, |lambda x|
 *
 * A sum of n products added in turn passes each through one product and at most n sums: (ADD n +
 * MUL) v of the sum of the absolute values, hence by Cauchy and Schwarz of the product of norms.
 * With eight lanes n/8 sums, and 8 for the lanes. MPFR: n products and as many sums, each rounded
 * once: n + 2 with room.
 *
 * The factors 1 + O(n v) of higher order, 1 + 8u above, and the roundings of the bounds' own
 * arithmetic (below 2^13 operations of 2^-53 in each expression) are covered by UP = 1 + 2^-40.
 * Underflow in double-double loses at most 2^-1070 an operation, less than 2^-1040 in all of one
 * token: every product of bounds is at least TINY v = 2^-1046 unless it vanishes by structure.
 *
 * A product of two inexact values, computed as if they were exact: for |a^ - a| <= e_a v, |b^ - b|
 * <= e_b v it is |a^ b^ - a b| <= (e_a |b^| + |a^| e_b + e_a e_b v) v, norms for absolute values
 * where a, b are matrices, vectors: `product` below. All else is addition of bounds, line by line.
 */
#include "oracle/gradient_bound.h"

#include "oracle/bound.h"

#include <float.h>
#include <math.h>

#define TINY 0x1p-940
enum { ADD = 3, MUL = 6, BY = 2, DIV = 16, OUTER = 9, OLD = 13, NEW = 3, MIX = 8, REST = 9 };

static double dd_sum(int64_t n) {
    return ADD * (double)n + MUL;
}

gka_precision gka_precision_dd(int64_t n, int64_t m) {
    return (gka_precision){.v = 0x1p-106,
                           .dot = dd_sum(n),
                           .columns = dd_sum(n),
                           .rows_h = dd_sum(n / 8 + 8),
                           .rows_u = dd_sum(m / 8 + 8),
                           .inner_h = dd_sum(n * n / 8 + 8),
                           .inner_u = dd_sum(n * m / 8 + 8),
                           .residual = dd_sum(n)};
}

gka_precision gka_precision_mpfr(int P, int64_t D, int64_t V) {
    const double d = (double)D, v = (double)V;
    return (gka_precision){.v = ldexp(1, P < 900 ? -P : -900),
                           .dot = d + 2,
                           .columns = d + 2,
                           .rows_h = d + 2,
                           .rows_u = v + 2,
                           .inner_h = d * d + 2,
                           .inner_u = d * v + 2,
                           .residual = d + 3};
}

double gka_bound_times(double a, double b) {
    if (a == 0 || b == 0)
        return 0;
    const double c = a * b * UP;
    return c >= TINY ? c : c < TINY ? TINY : INFINITY; /* the last: NaN */
}

static double times(double a, double b) {
    return gka_bound_times(a, b);
}

/* A sum of bounds, rounded up. */
static double up(double sum) {
    return sum <= DBL_MAX ? sum * UP : INFINITY;
}

static double product(const gka_precision *r, double a, double e_a, double b, double e_b) {
    return up(times(e_a, b) + times(a, e_b) + times(times(e_a, e_b), r->v));
}

/* ||exact gamma H|| <= (gamma + e_gamma v) ... : e_gamma and OLD act on ||computed H||, the old
 * error is carried by the exact gamma. Likewise U. */
void gka_bound_next(const gka_precision *precision, double gamma, double e_gamma, double k,
                    double v, gka_state_bound *s) {
    const double most = up(gamma + times(e_gamma, precision->v));
    const double old = e_gamma == 0 && gamma == 1 ? NEW : up(OLD * gamma + e_gamma);
    s->e_H = up(times(most, s->e_H) + times(old, s->H) + NEW * times(k, k));
    s->e_U = up(times(most, s->e_U) + times(old, s->U) + NEW * times(k, v));
    s->H = up(times(most, s->H) + times(k, k));
    s->U = up(times(most, s->U) + times(k, v));
    s->least = -times(most, -s->least);
}

/* RN(a f): a e_f, and BY of itself */
double gka_bound_lambda(const gka_token_bound *b) {
    return up(times(b->ratio, b->e_f) + BY * b->lambda);
}

void gka_bound_cotangent(const gka_state_bound *after, gka_token_bound *b) {
    const gka_precision *const r = &b->precision;
    const double size = times(after->U, b->dout);
    const double e_sum = up(times(after->e_U, b->dout) + r->rows_u * size);
    b->e_dq = up(times(b->scale, e_sum) + BY * times(b->scale, size));
    b->e_dx = up(times(b->alpha, b->e_dq) + BY * times(b->alpha, b->dq));
}

/* z - exact = (H + lambda I)^-1 (exact residual of z), for the exact H, lambda and right-hand side,
 * of which nothing is assumed but the errors stated; the eigenvalues are at least b->least. */
double gka_bound_solve(const gka_state_bound *after, const gka_token_bound *b, double right,
                       double e_right, double r, double z) {
    const double size = times(up(after->H + b->lambda), z);
    const double off = up(r + b->precision.residual * size + REST * (right + size) +
                          times(up(after->e_H + gka_bound_lambda(b)), z) + e_right);
    return b->least > 0 ? up(off / b->least) : INFINITY;
}

void gka_bound_mix(gka_token_bound *b) {
    const bool nothing = b->x == 0 && b->e_x == 0 && b->rest == 0; /* 0 + 1 (0 - 0), and q - q */
    const double size = up(b->q + times(b->alpha, up(b->x + b->q)));
    b->e_y = up(times(b->alpha, b->e_x) + (nothing ? 0 : MIX * size));
}

/* w H for w = a <p,x>/f: with P^ for the sum and F for the exact f,
 *   |w^ - a P/F| <= (BY + DIV) v |w^| + |w^| e_f v / F + a e_P v / F,  F >= f^ - e_f v,
 * and then as in `product`; H/f goes together, for w alone may leave the range. b->f is f^ to
 * nearest. */
static double ridge_error(const gka_state_bound *after, const gka_token_bound *b, double e_px) {
    const double least_f = (b->f * DOWN - b->e_f * b->precision.v) * DOWN;
    const double e_sum = up(e_px + b->precision.dot * times(b->p, b->x));
    if (e_sum == 0 || after->H == 0)
        return e_sum == 0 || after->e_H == 0 ? 0 : INFINITY;
    if (!(least_f > 0))
        return INFINITY;
    const double wH = times(b->ridge, after->H / b->f), off_H = up(after->e_H / after->H);
    const double e_w = up(up(BY + DIV + b->e_f / least_f) * wH +
                          times(times(b->ratio, e_sum), after->H / least_f));
    return product(&b->precision, wH, e_w, 1, off_H);
}

/* w (f^2 - own^2), f given and exact, own computed */
static void add_excess(const gka_token_bound *b, double e_px, gka_suffix_bound *s) {
    const gka_precision *const r = &b->precision;
    if (b->f == 0)
        return;
    const double d = up(times(b->f, b->f) + times(b->own, b->own));
    const double e_d = up(product(r, b->own, b->e_own, b->own, b->e_own) + (MUL + ADD) * d);
    const double w = up(b->ridge / b->f), e_sum = up(e_px + r->dot * times(b->p, b->x));
    const double e_w = up((BY + DIV) * w + times(b->ratio, e_sum) / b->f), size = times(w, d);
    s->excess = up(s->excess + size);
    s->e_excess = up(s->e_excess + product(r, w, e_w, d, e_d) + MUL * size + ADD * s->excess);
}

void gka_bound_suffix(const gka_state_bound *after, const gka_token_bound *b, gka_suffix_bound *s) {
    const gka_precision *const r = &b->precision;
    const double px = times(b->p, b->x), e_px = product(r, b->p, b->e_p, b->x, b->e_x);
    const double e_wH = ridge_error(after, b, e_px);
    const double wH = after->H > 0 && b->f > 0 ? times(b->ridge, after->H / b->f) : 0;
    s->e_A = up(s->e_A + e_px + OUTER * (s->A + px) + e_wH + OUTER * wH + ADD * (s->A + px));
    if (b->given_f)
        add_excess(b, e_px, s);
    const double sy = times(b->scale, b->y), e_sy = up(times(b->scale, b->e_y) + BY * sy);
    s->e_E = up(s->e_E + times(e_sy, b->dout) + OUTER * (s->E + times(sy, b->dout)));
}

static double inner_error(const gka_precision *r, double terms, double A, double e_A, double H,
                          double e_H) {
    return up(product(r, A, e_A, H, e_H) + terms * times(A, H));
}

void gka_bound_results(const gka_state_bound *before, const gka_state_bound *after,
                       const gka_token_bound *b, const gka_suffix_bound *s, gka_results_bound *r) {
    const gka_precision *const P = &b->precision;
    /* dk += A^T k, += A k, += E v: three sums of what is there by then; dv += E^T k */
    const double Ak = times(s->A, b->k), Ev = times(s->E, b->v), Ek = times(s->E, b->k);
    r->size_dk = up(r->size_dk + 2 * Ak + Ev);
    r->dk = up(r->dk + 2 * times(s->e_A, b->k) + (P->columns + P->rows_h) * Ak +
               times(s->e_E, b->v) + P->rows_u * Ev + 3 * ADD * r->size_dk);
    r->size_dv = up(r->size_dv + Ek);
    r->dv = up(r->dv + times(s->e_E, b->k) + P->columns * Ek + ADD * r->size_dv);

    /* dg = gamma <A, H_{t-1}> (+ excess) + gamma <E, U_{t-1}> */
    const double AH = times(s->A, before->H), EU = times(s->E, before->U);
    const double e_AH = inner_error(P, P->inner_h, s->A, s->e_A, before->H, before->e_H);
    const double e_EU = inner_error(P, P->inner_u, s->E, s->e_E, before->U, before->e_U);
    const double h = times(b->gamma, AH), u = times(b->gamma, EU);
    const bool open = b->gamma > 0 || b->e_gamma > 0; /* else the chunk ends: no excess */
    const double excess = open ? s->excess : 0, e_excess = open ? s->e_excess : 0;
    r->dg_h =
        up(product(P, b->gamma, b->e_gamma, AH, e_AH) + MUL * h + e_excess + ADD * (h + excess));
    r->dg_u = up(product(P, b->gamma, b->e_gamma, EU, e_EU) + MUL * u);
    r->dg = up(r->dg_h + r->dg_u + ADD * (h + excess + u));

    /* dalpha = <dq', x - q>; dq = (1 - alpha) dq' + p; o = s U^T q' */
    r->dalpha =
        up(product(P, b->dq, b->e_dq, b->t, up(b->e_x + ADD * b->t)) + P->dot * times(b->dq, b->t));
    r->dq = up(times(b->rest, b->e_dq) + b->e_p + OUTER * (times(b->rest, b->dq) + b->p));
    const double Uy = times(after->U, b->y);
    const double e_Uy = inner_error(P, P->columns, after->U, after->e_U, b->y, b->e_y);
    r->o = up(times(b->scale, e_Uy) + BY * times(b->scale, Uy));
}

void gka_bound_gate(const gka_token_bound *b, gka_suffix_bound *s) {
    const gka_precision *const r = &b->precision;
    const double A = times(b->gamma, s->A), E = times(b->gamma, s->E);
    s->e_A = up(product(r, b->gamma, b->e_gamma, s->A, s->e_A) + OUTER * A);
    s->e_E = up(product(r, b->gamma, b->e_gamma, s->E, s->e_E) + OUTER * E);
    s->A = up(A);
    s->E = up(E);
}
