/* cg.c - conjugate gradients for (H + lambda I) x = q (Hestenes and Stiefel 1952; NUMERICS 7).
 *
 *   r  residual q - (H + lambda I) x, carried along;  p  direction;  w = (H + lambda I) p
 *   rho = r . r;  alpha = rho/(p . w);  beta = rho'/rho
 *
 * Guarded, as in FLA's mesa_net: alpha = rho/(p . w + 1e-5), beta = rho'/(rho + 1e-5), no test: an
 * absolute guard, so x(c q) is not c x(q). The plain form needs a test instead, for after
 * convergence it would compute 0/0; the test is relative, so the form is free of scale.
 */
#include "solve/row.h"

enum { RHO, FLOOR }; /* r . r; the rho at which the iteration ends */

/* |r| <= tolerance |r_0|; by default |r| <= u^2 |r_0|, u of the storage format */
static double ratio(const gka_arith *A, const gka_solver *solver) {
    const double u = gka_format_unit_roundoff(&A->policy.storage);
    return solver->tolerance > 0 ? solver->tolerance : u * u;
}

static void check(row *c) {
    if (c->solver->guard > 0)
        return;
    if (isnan(c->s[RHO]))
        stop(c, GKA_NON_FINITE);
    else if (!(c->s[RHO] > c->s[FLOOR]))
        stop(c, GKA_STOPPED);
}

/* From a residual in r: p = r */
static void begin(gka_arith *A, row *c) {
    copy(c->p, c->r, c->D);
    if (c->solver->consistent)
        operand(A, c->D, c->p, c->p);
    c->s[RHO] = dot(A, c->D, c->r, c->r);
    const double e = gka_arith_scalar(A, ratio(A, c->solver));
    c->s[FLOOR] = mul(A, mul(A, e, c->s[RHO]), e);
    check(c);
}

/* x = 0, r = q */
static void start(gka_arith *A, row *c) {
    zero(c->x, c->D);
    copy(c->r, c->q, c->D);
    begin(A, c);
}

static void step(gka_arith *A, row *c) {
    const int64_t D = c->D;
    const double guard = gka_arith_scalar(A, c->solver->guard), rho = c->s[RHO];
    double *const p = c->p, *const r = c->r, *const w = c->w;
    axpby(A, D, c->lambda, p, 1, w, w);
    const double pw = dot(A, D, p, w);
    if (!(guard > 0) && !(pw > 0)) {
        stop(c, isnan(pw) ? GKA_NON_FINITE : GKA_BREAKDOWN);
        return;
    }
    const double alpha = quo(A, rho, guard > 0 ? add(A, pw, guard) : pw);
    axpby(A, D, alpha, p, 1, c->x, c->x);
    axpby(A, D, -alpha, w, 1, r, r);
    c->s[RHO] = dot(A, D, r, r);
    const double beta = quo(A, c->s[RHO], guard > 0 ? add(A, rho, guard) : rho);
    axpby(A, D, beta, p, 1, r, p);
    if (c->solver->consistent)
        operand(A, D, p, p);
    check(c);
}

const method gka_solve_cg = {false, start, NULL, step};

/* x_0 = q / diag(H + lambda I), and p = x_0 for the product that gives its residual */
static void start_jacobi(gka_arith *A, row *c) {
    const gka_system *const S = c->system;
    for (int64_t i = 0; i < c->D; i++) {
        const double h = S->diagonal != NULL ? S->diagonal[c->t * c->D + i] : S->H[i * c->D + i];
        c->r[i] = add(A, h, c->lambda);
    }
    gka_arith_store(A, c->D, c->r, c->r);
    gka_arith_divide(A, c->D, c->q, c->r, c->x);
    copy(c->p, c->x, c->D);
}

/* r = q - (H + lambda I) x_0 */
static void residual_jacobi(gka_arith *A, row *c) {
    axpby(A, c->D, c->lambda, c->x, 1, c->w, c->w);
    axpby(A, c->D, 1, c->q, -1, c->w, c->r);
    begin(A, c);
}

const method gka_solve_cg_jacobi = {false, start_jacobi, residual_jacobi, step};
