/* descent.c - gradient descent and Nesterov's method on x^T (H + lambda I) x / 2 - q^T x, with the
 * steps that are optimal for eigenvalues in [mu, L].
 *
 * Both begin with the step from x = 0 that needs no product: r products give a polynomial of
 * degree r in H, as with Chebyshev.
 */
#include "solve/row.h"

/* g = (H + lambda I) p - q, in w */
static void gradient(gka_arith *A, row *c) {
    axpby(A, c->D, c->lambda, c->p, 1, c->w, c->w);
    axpby(A, c->D, 1, c->w, -1, c->q, c->w);
}

/* ---- gradient descent: x = x - 2/(L + mu) g; rate (kappa - 1)/(kappa + 1) ------------------- */

enum { ALPHA, BETA };

static void start(gka_arith *A, row *c) {
    c->s[ALPHA] = quo(A, 2, c->sum);
    scale(A, c->D, c->s[ALPHA], c->q, c->x);
}

static void step(gka_arith *A, row *c) {
    gradient(A, c);
    axpby(A, c->D, -c->s[ALPHA], c->w, 1, c->x, c->x);
}

const method gka_solve_gradient = {true, start, NULL, step};

/* ---- Nesterov: x' = y - alpha g(y), y = x' + beta (x' - x); y in p ------------------------- */

/* alpha = 4/(3 L + mu), beta = (s - 2)/(s + 2), s = sqrt(3 kappa + 1): rate 1 - 2/s (Lessard,
 * Recht and Packard 2016, Proposition 1). 2 L = sum + width, 2 mu = sum - width. */
static void start_nesterov(gka_arith *A, row *c) {
    const double two_L = add(A, c->sum, c->width), two_mu = sub(A, c->sum, c->width);
    const double denominator = add(A, mul(A, 3, two_L), two_mu); /* 2 (3 L + mu) */
    const double s = root(A, quo(A, denominator, two_mu));       /* sqrt((3 L + mu)/mu) */
    c->s[ALPHA] = quo(A, 8, denominator);
    const double below = add(A, s, 2), above = sub(A, s, 2);
    c->s[BETA] = isinf(s) ? 1 : quo(A, above, below); /* mu is nothing beside L: the limit */
    scale(A, c->D, c->s[ALPHA], c->q, c->x);
    axpby(A, c->D, c->s[BETA], c->x, 1, c->x, c->p);
}

static void step_nesterov(gka_arith *A, row *c) {
    double *const next = c->r, *const difference = c->z;
    gradient(A, c);
    axpby(A, c->D, -c->s[ALPHA], c->w, 1, c->p, next);
    axpby(A, c->D, 1, next, -1, c->x, difference);
    axpby(A, c->D, c->s[BETA], difference, 1, next, c->p);
    copy(c->x, next, c->D);
}

const method gka_solve_nesterov = {false, start_nesterov, NULL, step_nesterov};
