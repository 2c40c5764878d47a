/* chebyshev.c - Chebyshev iteration for (H + lambda I) x = q, three-term and two-term (NUMERICS 3;
 * paper, Algorithm 1, whose printed omega_0 = 0 is a misprint for 2).
 *
 *   mu, L      bounds of the spectrum of H + lambda I; by default lambda and f + lambda
 *   rho        (L - mu)/(L + mu)
 *   theta      (L + mu)/2, centre;  delta = (L - mu)/2, half width;  sigma = theta/delta = 1/rho
 *   omega_i    omega_0 = 2, omega_i = 1/(1 - (rho/2)^2 omega_(i-1))
 *   tau_i      tau_0 = 1/sigma, tau_i = 1/(2 sigma - tau_(i-1)) = T_i(sigma)/T_(i+1)(sigma)
 *
 * After r products the residual polynomial is T_(r+1)((theta - z)/delta)/T_(r+1)(sigma): the
 * smallest on [mu, L] of its degree, at most 1/T_(r+1)(1/rho).
 *
 * The kernels' iteration stands apart, in chunk/chunk.h and chunk/steps.c: bits are what it is for,
 * and its fused operations are not those of a policy (see there).
 */
#include "solve/row.h"

/* ---- three-term ---------------------------------------------------------------------------- */

enum { OMEGA, SQUARE, STEP }; /* scalars: omega, (rho/2)^2, 2/(L + mu) */

/* omega_infinity = 2/(1 + sqrt(1 - rho^2)), which omega_i falls to; (rho/2)^2 = square */
static double limit(gka_arith *A, double square) {
    return quo(A, 2, add(A, 1, root(A, sub(A, 1, mul(A, 4, square)))));
}

/* x_(-1) = 0 (in r), x_0 = 2/(L + mu) q */
static void start(gka_arith *A, row *c) {
    const double half = mul(A, 0.5, quo(A, c->width, c->sum));
    c->s[SQUARE] = mul(A, half, half);
    c->s[STEP] = quo(A, 2, c->sum);
    c->s[OMEGA] = c->solver->converged ? limit(A, c->s[SQUARE]) : 2;
    zero(c->r, c->D);
    scale(A, c->D, c->s[STEP], c->q, c->x);
}

/* x_(i+1) = omega x_i - (step omega (H x_i + lambda x_i - q) + (omega - 1) x_(i-1)) */
static void step(gka_arith *A, row *c) {
    double *const previous = c->r, *const g = c->w;
    if (!c->solver->converged)
        c->s[OMEGA] = quo(A, 1, sub(A, 1, mul(A, c->s[SQUARE], c->s[OMEGA])));
    const double omega = c->s[OMEGA];
    axpby(A, c->D, c->lambda, c->x, 1, c->w, g);
    axpby(A, c->D, 1, g, -1, c->q, g);
    const double back = sub(A, omega, 1), down = mul(A, c->s[STEP], omega);
    axpby(A, c->D, down, g, back, previous, g);
    copy(previous, c->x, c->D);
    axpby(A, c->D, omega, c->x, -1, g, c->x);
}

const method gka_solve_chebyshev = {true, start, NULL, step};

/* ---- two-term ------------------------------------------------------------------------------ */

enum { TAU, TWICE_SIGMA, DELTA };

/* r = q, d = q/theta, x = d */
static void start_two_term(gka_arith *A, row *c) {
    const double theta = mul(A, 0.5, c->sum);
    c->s[DELTA] = mul(A, 0.5, c->width);
    c->s[TAU] = quo(A, c->width, c->sum);
    c->s[TWICE_SIGMA] = mul(A, 2, quo(A, c->sum, c->width));
    copy(c->r, c->q, c->D);
    for (int64_t i = 0; i < c->D; i++)
        c->p[i] = quo(A, c->q[i], theta);
    operand(A, c->D, c->p, c->p);
    copy(c->x, c->p, c->D);
}

/* r = r - (H + lambda I) d;  d = O[tau' tau d + (2 tau'/delta) r];  x = x + d. The one rounded d
 * enters both the product and x, so x and r stay consistent. */
static void step_two_term(gka_arith *A, row *c) {
    double *const d = c->p;
    axpby(A, c->D, c->lambda, d, 1, c->w, c->w);
    axpby(A, c->D, 1, c->r, -1, c->w, c->r);
    const double tau = quo(A, 1, sub(A, c->s[TWICE_SIGMA], c->s[TAU]));
    const double of_r = quo(A, mul(A, 2, tau), c->s[DELTA]), of_d = mul(A, tau, c->s[TAU]);
    axpby(A, c->D, of_d, d, of_r, c->r, d);
    operand(A, c->D, d, d);
    axpby(A, c->D, 1, c->x, 1, d, c->x);
    c->s[TAU] = tau;
}

const method gka_solve_chebyshev_two_term = {false, start_two_term, NULL, step_two_term};
