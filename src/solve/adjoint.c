/* adjoint.c - the derivative of CG and of three-term Chebyshev through their iterations, by hand.
 *
 * y_ written for the cotangent of y. Rounding is the identity. Everything is computed in the same
 * arithmetic as the solve.
 */
#include "solve/row.h"

#include <assert.h>

bool gka_solve_has_adjoint(const gka_solver *solver) {
    return solver->method == GKA_CG || solver->method == GKA_CHEBYSHEV;
}

/* Vectors of D and scalars, for r iterations. */
enum { ROW_VECTORS = 5, OWN_VECTORS = 6 };

size_t gka_solve_adjoint_workspace(const gka_solver *solver, int64_t D) {
    const int64_t r = solver->iterations, stored_vectors = 3 * (r + 2);
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
    const int r = c->solver->iterations;
    solve_chebyshev.start(A, c);
    S->square = c->s[SQUARE];
    S->step = c->s[STEP];
    S->omega[0] = c->s[OMEGA];
    copy(c->D, x, S->X);
    for (int i = 1; i <= r; i++) {
        gka_arith_matvec(A, c->D, c->D, c->system->H, x, c->w);
        solve_chebyshev.step(A, c);
        S->omega[i] = c->s[OMEGA];
        if (!reversible)
            copy(c->D, x, S->X + i * c->D);
    }
    if (reversible) { /* x_(r-1), x_r in the first two places */
        copy(c->D, r > 0 ? c->r : x, S->X);
        copy(c->D, x, S->X + c->D);
    }
}

/* s_ and (rho/2)^2_ to f_ and lambda_: s = 2/m, rho = f/m, m = f + 2 lambda */
static void bounds_adjoint(gka_arith *A, const chebyshev *S, double step_, double square_,
                           double *dlambda, double *df) {
    const double f = S->c.width, m = S->c.sum, s = S->step;
    const double ss = mul(A, mul(A, s, s), step_);
    const double rho_ = mul(A, mul(A, 0.5, quo(A, f, m)), square_);
    const double over_m = quo(A, rho_, m), twice = mul(A, 2, over_m);
    *df = add(A, mul(A, -0.5, ss), mul(A, twice, quo(A, S->c.lambda, m)));
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
    const int r = c->solver->iterations;
    double *y = own,
           *next = y + D, *const g = next + D, *const w = g + D, *const z = w + D, *const t = z + D;
    double step_ = 0, square_ = 0, omega_ = 0;
    *dlambda = 0;
    zero(D, dq);
    zero(D, next);
    zero(D, z);
    copy(D, dx, y);
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
    const method *const M = c->solver->jacobi ? &solve_cg_jacobi : &solve_cg;
    M->start(A, c);
    copy(D, x, S->x0);
    if (M->residual != NULL) {
        gka_arith_matvec(A, D, D, c->system->H, c->p, c->w);
        M->residual(A, c);
    }
    S->m = 0;
    copy(D, c->r, S->R);
    S->rho[0] = c->s[RHO];
    while (S->m < c->solver->iterations && !c->done) {
        const int i = S->m;
        copy(D, c->p, S->P + i * D);
        gka_arith_matvec(A, D, D, c->system->H, c->p, c->w);
        M->step(A, c);
        if (c->done && c->event == GKA_BREAKDOWN)
            break;
        copy(D, c->w, S->W + i * D);
        copy(D, c->r, S->R + (i + 1) * D);
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
    zero(D, r_);
    zero(D, p_);
    for (int i = S->m - 1; i >= 0; i--) {
        const double *const p = S->P + i * D, *const w = S->W + i * D,
                            *const r_next = S->R + (i + 1) * D;
        const double d = add(A, dot(A, D, p, w), e), rho = add(A, S->rho[i], e);
        const double alpha = quo(A, S->rho[i], d), beta = quo(A, S->rho[i + 1], rho);
        axpby(A, D, 1, r_, 1, p_, r_);
        const double beta_ = dot(A, D, p_, p);
        rho_ = add(A, rho_, quo(A, beta_, rho));
        axpby(A, D, mul(A, 2, rho_), r_next, 1, r_, r_);
        const double alpha_ = sub(A, dot(A, D, dx, p), dot(A, D, r_, w));
        const double d_ = -quo(A, mul(A, alpha_, alpha), d);
        rho_ = sub(A, quo(A, alpha_, d), quo(A, mul(A, beta_, beta), rho));
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
    const int r = solver->iterations;
    assert(gka_solve_has_adjoint(solver) && system->n == 1 && system->H != NULL &&
           system->mu == NULL);
    double *const memory = workspace, *const own = memory + ROW_VECTORS * D,
                  *const x = own + OWN_VECTORS * D, *const saved = x + D;
    if (solver->method == GKA_CHEBYSHEV) {
        chebyshev S = {.c = solve_row(A, system, solver, q, x, true, memory), .X = saved};
        S.omega = saved + 3 * (r + 1) * D;
        run_chebyshev(A, &S, reversible, x);
        chebyshev_adjoint(A, &S, reversible, dx, dq, dH, dlambda, df, own);
        return;
    }
    cg S = {.c = solve_row(A, system, solver, q, x, false, memory), .P = saved};
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
