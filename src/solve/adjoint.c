/* adjoint.c - the derivative of CG and of both Chebyshev forms through their iterations, by hand.
 *
 * y_ written for the cotangent of y. Rounding is the identity. Everything is computed in the same
 * arithmetic as the solve.
 */
#include "solve/row.h"

#include <assert.h>

bool gka_solve_has_adjoint(const gka_solver *solver) {
    return solver->method == GKA_CG || solver->method == GKA_CHEBYSHEV ||
           solver->method == GKA_CHEBYSHEV_TWO_TERM;
}

/* Vectors of D and scalars, for r iterations. */
enum { ROW_VECTORS = 5, OWN_VECTORS = 6 };

size_t gka_solve_adjoint_workspace(const gka_solver *solver, int64_t D) {
    const int64_t r = solver->num_iter, stored_vectors = 3 * (r + 2);
    return (size_t)((ROW_VECTORS + OWN_VECTORS + stored_vectors) * D + 2 * (r + 2)) *
           sizeof(double);
}

/* y = (H + lambda I) x */
static void product(gka_arith *A, const row *c, const double *x, double *y) {
    gka_arith_matvec(A, c->D, c->D, c->system->H, x, y);
    axpby(A, c->D, c->lambda, x, 1, y, y);
}

/* ---- Chebyshev ----------------------------------------------------------------------------- */

typedef struct chebyshev {
    row c;
    double *X;     /* x_0 .. x_r; reversible: the last two */
    double *omega; /* omega_0 .. omega_r */
    double square, step;
} chebyshev;

enum { OMEGA, SQUARE, STEP }; /* the row's scalars, as in chebyshev.c */

static const double *iterate(const chebyshev *S, int i) {
    return S->X + i * S->c.D;
}

/* The forward pass: stores every iterate, or the last two. */
static void run_chebyshev(gka_arith *A, chebyshev *S, bool reversible, double *x) {
    row *const c = &S->c;
    const int r = c->solver->num_iter;
    gka_solve_chebyshev.start(A, c);
    S->square = c->s[SQUARE];
    S->step = c->s[STEP];
    S->omega[0] = c->s[OMEGA];
    copy(S->X, x, c->D);
    for (int i = 1; i <= r; i++) {
        gka_arith_matvec(A, c->D, c->D, c->system->H, x, c->w);
        gka_solve_chebyshev.step(A, c);
        S->omega[i] = c->s[OMEGA];
        if (!reversible)
            copy(S->X + i * c->D, x, c->D);
    }
    if (reversible) { /* x_(r-1), x_r in the first two places */
        copy(S->X, r > 0 ? c->r : x, c->D);
        copy(S->X + c->D, x, c->D);
    }
}

/* s_ and (rho/2)^2_ to f_ and lambda_: s = 2/m, rho = f/m, m = f + 2 lambda */
static void bounds_adjoint(gka_arith *A, const chebyshev *S, double step_, double square_,
                           double *dlambda, double *df) {
    const double f = S->c.width, m = S->c.sum, s = S->step;
    const double ss = mul(A, mul(A, s, s), step_);
    const double rho_ = mul(A, mul(A, 0.5, quo(A, f, m)), square_);
    const double over_m = quo(A, rho_, m), twice = mul(A, 2, over_m);
    const double by_rho = mul(A, twice, quo(A, S->c.lambda, m)), by_step = mul(A, -0.5, ss);
    *df = add(A, by_step, by_rho);
    *dlambda = add(A, *dlambda, sub(A, -ss, mul(A, twice, quo(A, f, m))));
}

/* From i = r down, y = x_i_, with g_i = (H + lambda I) x_(i-1) - q:
 *   x_i = omega_i x_(i-1) - (s omega_i g_i + (omega_i - 1) x_(i-2))
 *   x_(i-1)_ += omega_i y - s omega_i (H + lambda I) y;  x_(i-2)_ = -(omega_i - 1) y
 *   q_ += s omega_i y;  H_ -= s omega_i y x_(i-1)^T;  lambda_ -= s omega_i y . x_(i-1)
 *   s_ -= omega_i y . g_i;  omega_i_ = y . (x_(i-1) - s g_i - x_(i-2)) + what omega_(i+1) sends
 *   omega_i = 1/(1 - c omega_(i-1)): c_ += omega_i_ omega_i^2 omega_(i-1), and so to omega_(i-1) */
static void chebyshev_adjoint(gka_arith *A, chebyshev *S, bool reversible, const double *dx,
                              double *dq, double *dH, double *dlambda, double *df, double *own) {
    const row *const c = &S->c;
    const int64_t D = c->D;
    const int r = c->solver->num_iter;
    double *y = own,
           *next = y + D, *const g = next + D, *const w = g + D, *const z = w + D, *const t = z + D;
    double step_ = 0, square_ = 0, omega_ = 0;
    *dlambda = 0;
    zero(dq, D);
    zero(next, D);
    zero(z, D);
    copy(y, dx, D);
    for (int i = r; i >= 1; i--) {
        const double omega = S->omega[i], so = mul(A, S->step, omega), less = sub(A, omega, 1);
        double *const low = S->X, *const high = S->X + D; /* reversible: x_(i-1), x_i */
        const double *const x = reversible ? low : iterate(S, i - 1);
        product(A, c, x, g);
        axpby(A, D, 1, g, -1, c->q, g);
        if (reversible && i >= 2) { /* x_(i-2), into `high` */
            axpby(A, D, omega, x, -so, g, t);
            axpby(A, D, 1, t, -1, high, t);
            for (int64_t j = 0; j < D; j++)
                high[j] = quo(A, t[j], less);
            gka_arith_store(A, D, high, high);
        }
        const double *const older = i < 2 ? z : reversible ? high : iterate(S, i - 2);
        const double yx = dot(A, D, y, x), yg = dot(A, D, y, g), yo = dot(A, D, y, older);
        const double own_omega = sub(A, sub(A, yx, mul(A, S->step, yg)), yo);
        step_ = sub(A, step_, mul(A, omega, yg));
        omega_ = add(A, own_omega, omega_);
        if (!c->solver->converged) {
            const double oo = mul(A, omega_, mul(A, omega, omega));
            square_ = add(A, square_, mul(A, oo, S->omega[i - 1]));
            omega_ = mul(A, oo, S->square);
        }
        axpby(A, D, so, y, 1, dq, dq);
        gka_arith_rank1(A, D, D, 1, dH, -so, y, x);
        *dlambda = sub(A, *dlambda, mul(A, so, yx));
        product(A, c, y, w);
        axpby(A, D, omega, y, -so, w, w); /* what y sends to x_(i-1)_ */
        axpby(A, D, 1, next, 1, w, next);
        scale(A, D, -less, y, y); /* and to x_(i-2)_ */
        double *const swap = y;
        y = next;
        next = swap;
        if (reversible && i >= 2)
            for (int64_t j = 0; j < D; j++) { /* now x_(i-2), x_(i-1) */
                const double keep = low[j];
                low[j] = high[j];
                high[j] = keep;
            }
    }
    axpby(A, D, S->step, y, 1, dq, dq); /* x_0 = s q */
    step_ = add(A, step_, dot(A, D, y, c->q));
    if (c->solver->converged) { /* omega = 2/(1 + t), t = sqrt(1 - 4 c): domega/dc = omega^2/t */
        const double omega = S->omega[0];
        const double root_t = root(A, sub(A, 1, mul(A, 4, S->square)));
        square_ = quo(A, mul(A, omega_, mul(A, omega, omega)), root_t);
    }
    bounds_adjoint(A, S, step_, square_, dlambda, df);
}

/* ---- Chebyshev, two-term ------------------------------------------------------------------- */

typedef struct two_term {
    row c;
    double *d, *r; /* d_0 .. d_r and r_0 .. r_r; reversible: the last of each */
    double *tau;   /* tau_0 .. tau_r */
    double delta;
} two_term;

enum { TAU, TWICE_SIGMA, DELTA }; /* the row's scalars, as in chebyshev.c */

/* The forward pass; x itself is the sum of the d_i and is not needed. */
static void run_two_term(gka_arith *A, two_term *S, bool reversible) {
    row *const c = &S->c;
    const int64_t D = c->D;
    gka_solve_chebyshev_two_term.start(A, c);
    S->delta = c->s[DELTA];
    for (int i = 0; i <= c->solver->num_iter; i++) {
        if (i > 0) {
            gka_arith_matvec(A, D, D, c->system->H, c->p, c->w);
            gka_solve_chebyshev_two_term.step(A, c);
        }
        S->tau[i] = c->s[TAU];
        copy(S->d + (reversible ? 0 : i * D), c->p, D);
        copy(S->r + (reversible ? 0 : i * D), c->r, D);
    }
}

/* tau_0 = f/m, 2 sigma = 2 m/f, delta = f/2, theta = m/2 with m = f + 2 lambda: their cotangents to
 * f_ and lambda_. */
static void two_term_bounds_adjoint(gka_arith *A, const two_term *S, double tau_, double sigma_,
                                    double delta_, double theta_, double *dlambda, double *df) {
    const double f = S->c.width, m = S->c.sum;
    const double over_m = quo(A, tau_, m), over_f = mul(A, 2, quo(A, sigma_, f));
    const double half_theta_ = mul(A, 0.5, theta_);
    const double m_ = add(A, sub(A, over_f, mul(A, over_m, quo(A, f, m))), half_theta_);
    const double half_delta_ = mul(A, 0.5, delta_);
    const double f_ = add(A, sub(A, over_m, mul(A, over_f, quo(A, m, f))), half_delta_);
    *df = add(A, f_, m_);
    *dlambda = add(A, *dlambda, mul(A, 2, m_));
}

/* From i = r down, with a = tau_i tau_(i-1), b = 2 tau_i/delta, M = H + lambda I:
 *   r_i = r_(i-1) - M d_(i-1);  d_i = a d_(i-1) + b r_i;  x_i = x_(i-1) + d_i
 *   d_i_ += x_;  r_ += b d_i_;  a_ = d_i_ . d_(i-1);  b_ = d_i_ . r_i
 *   d_(i-1)_ = a d_i_ - M r_;  H_ -= r_ d_(i-1)^T;  lambda_ -= r_ . d_(i-1)
 *   tau_i_ += a_ tau_(i-1) + b_ 2/delta;  delta_ -= b_ b/delta
 *   tau_i = 1/(2 sigma - tau_(i-1)): sigma_ -= tau_i_ tau_i^2, tau_(i-1)_ = a_ tau_i + tau_i_
 * tau_i^2 (sigma_ of 2 sigma.) x_ is dx at every step, for x_i moves x_r one for one; q_ = r_ +
 * d_0_/theta. Backwards: d_(i-1) = (d_i - b r_i)/a and r_(i-1) = r_i + M d_(i-1). a is omega_i - 1,
 * the divisor of the three-term form. */
static void two_term_adjoint(gka_arith *A, two_term *S, bool reversible, const double *dx,
                             double *dq, double *dH, double *dlambda, double *df, double *own) {
    const row *const c = &S->c;
    const int64_t D = c->D;
    double *const r_ = dq, *const d_ = own, *const w = own + D;
    double tau_ = 0, sigma_ = 0, delta_ = 0;
    *dlambda = 0;
    zero(r_, D);
    zero(d_, D);
    for (int i = c->solver->num_iter; i >= 1; i--) {
        const double tau = S->tau[i], before = S->tau[i - 1], a = mul(A, tau, before),
                     b = quo(A, mul(A, 2, tau), S->delta);
        double *const r = reversible ? S->r : S->r + i * D;
        double *const d = reversible ? S->d : S->d + (i - 1) * D; /* to be d_(i-1) */
        axpby(A, D, 1, d_, 1, dx, d_);
        axpby(A, D, 1, r_, b, d_, r_);
        const double b_ = dot(A, D, d_, r);
        if (reversible) {
            axpby(A, D, 1, d, -b, r, d);
            for (int64_t j = 0; j < D; j++)
                d[j] = quo(A, d[j], a);
            gka_arith_store(A, D, d, d);
            product(A, c, d, w);
            axpby(A, D, 1, r, 1, w, r);
        }
        const double a_ = dot(A, D, d_, d);
        const double by_b = quo(A, mul(A, 2, b_), S->delta), by_a = mul(A, a_, before);
        tau_ = add(A, tau_, add(A, by_a, by_b));
        delta_ = sub(A, delta_, mul(A, b_, quo(A, b, S->delta)));
        const double through = mul(A, tau_, mul(A, tau, tau));
        sigma_ = sub(A, sigma_, through);
        tau_ = add(A, mul(A, a_, tau), through);
        product(A, c, r_, w);
        axpby(A, D, a, d_, -1, w, d_);
        gka_arith_rank1(A, D, D, 1, dH, -1, r_, d);
        *dlambda = sub(A, *dlambda, dot(A, D, r_, d));
    }
    axpby(A, D, 1, d_, 1, dx, d_);
    const double theta = mul(A, 0.5, c->sum);
    const double theta_ = -quo(A, dot(A, D, d_, S->d), theta); /* d_0 = q/theta */
    for (int64_t j = 0; j < D; j++)
        d_[j] = quo(A, d_[j], theta);
    axpby(A, D, 1, r_, 1, d_, r_);
    two_term_bounds_adjoint(A, S, tau_, sigma_, delta_, theta_, dlambda, df);
}

/* ---- conjugate gradients ------------------------------------------------------------------- */

enum { RHO }; /* the row's scalar, as in cg.c */

typedef struct cg {
    row c;
    double *P, *R, *W; /* p_i, r_i (one more), w_i */
    double *rho;
    double *x0;
    int m; /* iterations that ran */
} cg;

static void run_cg(gka_arith *A, cg *S, double *x) {
    row *const c = &S->c;
    const int64_t D = c->D;
    const method *const M = c->solver->jacobi ? &gka_solve_cg_jacobi : &gka_solve_cg;
    M->start(A, c);
    copy(S->x0, x, D);
    if (M->residual != NULL) {
        gka_arith_matvec(A, D, D, c->system->H, c->p, c->w);
        M->residual(A, c);
    }
    S->m = 0;
    copy(S->R, c->r, D);
    S->rho[0] = c->s[RHO];
    while (S->m < c->solver->num_iter && !c->done) {
        const int i = S->m;
        copy(S->P + i * D, c->p, D);
        gka_arith_matvec(A, D, D, c->system->H, c->p, c->w);
        M->step(A, c);
        if (c->done && c->event == GKA_BREAKDOWN)
            break;
        copy(S->W + i * D, c->w, D);
        copy(S->R + (i + 1) * D, c->r, D);
        S->rho[i + 1] = c->s[RHO];
        S->m++;
    }
}

/* Backwards through
 *   w = (H + lambda I) p;  d = p . w;  alpha = rho/(d + e);  x += alpha p;  r' = r - alpha w;
 *   rho' = r' . r';  beta = rho'/(rho + e);  p' = r' + beta p          (e the guard, or 0)
 * with r_, p_, rho_ the cotangents of r', p', rho' on entry and of r, p, rho on leaving. */
static void cg_adjoint(gka_arith *A, cg *S, const double *dx, double *dq, double *dH,
                       double *dlambda, double *own) {
    const row *const c = &S->c;
    const int64_t D = c->D;
    const double e = gka_arith_scalar(A, c->solver->guard);
    double *const r_ = dq, *const p_ = own, *const w_ = p_ + D, *const t = w_ + D;
    double rho_ = 0;
    *dlambda = 0;
    zero(r_, D);
    zero(p_, D);
    for (int i = S->m - 1; i >= 0; i--) {
        const double *const p = S->P + i * D, *const w = S->W + i * D,
                            *const r_next = S->R + (i + 1) * D;
        const double d = add(A, dot(A, D, p, w), e), rho = add(A, S->rho[i], e);
        const double alpha = quo(A, S->rho[i], d), beta = quo(A, S->rho[i + 1], rho);
        axpby(A, D, 1, r_, 1, p_, r_);
        const double beta_ = dot(A, D, p_, p);
        rho_ = add(A, rho_, quo(A, beta_, rho));
        axpby(A, D, mul(A, 2, rho_), r_next, 1, r_, r_);
        const double by_r = dot(A, D, r_, w), by_x = dot(A, D, dx, p);
        const double alpha_ = sub(A, by_x, by_r);
        const double d_ = -quo(A, mul(A, alpha_, alpha), d);
        const double by_beta = quo(A, mul(A, beta_, beta), rho), by_alpha = quo(A, alpha_, d);
        rho_ = sub(A, by_alpha, by_beta);
        axpby(A, D, -alpha, r_, d_, p, w_);
        axpby(A, D, beta, p_, alpha, dx, p_);
        axpby(A, D, d_, w, 1, p_, p_);
        product(A, c, w_, t);
        axpby(A, D, 1, t, 1, p_, p_);
        gka_arith_rank1(A, D, D, 1, dH, 1, w_, p);
        *dlambda = add(A, *dlambda, dot(A, D, w_, p));
    }
    axpby(A, D, mul(A, 2, rho_), S->R, 1, r_, r_); /* rho_0 = r_0 . r_0, p_0 = r_0 */
    axpby(A, D, 1, p_, 1, r_, r_);
}

/* r_0 = q - (H + lambda I) x_0, x_0 = q/(diag H + lambda): x_0_ = dx - (H + lambda I) r_0_ */
static void jacobi_adjoint(gka_arith *A, cg *S, const double *dx, double *dq, double *dH,
                           double *dlambda, double *own) {
    const row *const c = &S->c;
    const int64_t D = c->D;
    double *const x0_ = own, *const t = own + D;
    product(A, c, dq, t);
    axpby(A, D, 1, dx, -1, t, x0_);
    gka_arith_rank1(A, D, D, 1, dH, -1, dq, S->x0);
    *dlambda = sub(A, *dlambda, dot(A, D, dq, S->x0));
    for (int64_t i = 0; i < D; i++) {
        const double h = add(A, c->system->H[i * D + i], c->lambda);
        const double q_ = quo(A, x0_[i], h), h_ = -mul(A, q_, S->x0[i]);
        dq[i] = stored(A, add(A, dq[i], q_));
        dH[i * D + i] = stored(A, add(A, dH[i * D + i], h_));
        *dlambda = add(A, *dlambda, h_);
    }
}

void gka_solve_adjoint(gka_arith *A, const gka_system *system, const gka_solver *solver,
                       const double *q, const double *dx, bool reversible, double *dq, double *dH,
                       double *dlambda, double *df, void *workspace) {
    const int64_t D = system->D;
    const int r = solver->num_iter;
    assert(gka_solve_has_adjoint(solver) && system->n == 1 && system->H != NULL &&
           system->mu == NULL);
    double *const memory = workspace, *const own = memory + ROW_VECTORS * D,
                  *const x = own + OWN_VECTORS * D, *const saved = x + D;
    if (solver->method == GKA_CHEBYSHEV) {
        chebyshev S = {.c = gka_solve_row(A, system, solver, q, x, true, memory), .X = saved};
        S.omega = saved + 3 * (r + 1) * D;
        run_chebyshev(A, &S, reversible, x);
        chebyshev_adjoint(A, &S, reversible, dx, dq, dH, dlambda, df, own);
        return;
    }
    if (solver->method == GKA_CHEBYSHEV_TWO_TERM) {
        two_term S = {.c = gka_solve_row(A, system, solver, q, x, false, memory), .d = saved};
        S.r = saved + (r + 1) * D;
        S.tau = saved + 3 * (r + 1) * D;
        run_two_term(A, &S, reversible);
        two_term_adjoint(A, &S, reversible, dx, dq, dH, dlambda, df, own);
        return;
    }
    cg S = {.c = gka_solve_row(A, system, solver, q, x, false, memory), .P = saved};
    S.R = S.P + r * D;
    S.W = S.R + (r + 1) * D;
    S.x0 = S.W + r * D;
    S.rho = S.x0 + D;
    run_cg(A, &S, x);
    cg_adjoint(A, &S, dx, dq, dH, dlambda, own);
    if (solver->jacobi)
        jacobi_adjoint(A, &S, dx, dq, dH, dlambda, own);
    *df = 0;
}
