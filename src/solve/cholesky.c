/* cholesky.c - H + lambda I = L L^T in the emulated arithmetic, and iterative refinement with the
 * residual in binary64 (Higham 2002, sections 10.1 and 12).
 *
 *   L  lower triangle, row-major [D,D];  y  forward substitution L y = b;  x  backward L^T x = y
 */
#include "solve/row.h"

size_t gka_solve_cholesky_workspace(int64_t D) {
    return (size_t)(D * D + 3 * D) * sizeof(double);
}

/* L_ij = (h_ij - sum_(l<j) L_il L_jl)/L_jj, L_ii = sqrt(h_ii - sum_(l<i) L_il^2). Returns the
 * first pivot that is not positive, D if all are. */
int64_t gka_solve_factor(gka_arith *A, int64_t D, const double *H, double lambda, double *L) {
    for (int64_t i = 0; i < D; i++) {
        double *const Li = L + i * D;
        for (int64_t j = 0; j < i; j++) {
            const double *const Lj = L + j * D;
            Li[j] = stored(A, quo(A, sub(A, H[i * D + j], dot(A, j, Li, Lj)), Lj[j]));
        }
        const double h = add(A, H[i * D + i], lambda);
        const double pivot = sub(A, h, dot(A, i, Li, Li));
        Li[i] = stored(A, root(A, pivot)); /* NaN below 0 */
        if (!(Li[i] > 0))
            return i;
    }
    return D;
}

/* L y = b, then L^T x = y, in place */
void gka_solve_substitute(gka_arith *A, int64_t D, const double *L, double *b) {
    for (int64_t i = 0; i < D; i++) {
        const double *const Li = L + i * D;
        b[i] = stored(A, quo(A, sub(A, b[i], dot(A, i, Li, b)), Li[i]));
    }
    for (int64_t i = D - 1; i >= 0; i--) {
        const double *const Li = L + i * D;
        b[i] = stored(A, quo(A, b[i], Li[i]));
        axpby(A, i, -b[i], Li, 1, b, b);
    }
}

/* r = q - (H + lambda I) x in binary64 */
static void residual(int64_t D, const double *H, double lambda, const double *q, const double *x,
                     double *r) {
    for (int64_t i = 0; i < D; i++) {
        double s = lambda * x[i];
        for (int64_t j = 0; j < D; j++)
            s += H[i * D + j] * x[j];
        r[i] = q[i] - s;
    }
}

/* x += (low solve of r); r is first scaled by a power of two into [1, 2), for formats of little
 * range. */
static void correct(gka_arith *A, int64_t D, const double *L, double *r, double *d, double *x) {
    double largest = 0;
    for (int64_t i = 0; i < D; i++)
        largest = fmax(largest, fabs(r[i]));
    if (!(largest > 0) || isinf(largest))
        return;
    const int e = ilogb(largest);
    for (int64_t i = 0; i < D; i++)
        d[i] = ldexp(r[i], -e);
    gka_arith_store(A, D, d, d);
    gka_solve_substitute(A, D, L, d);
    for (int64_t i = 0; i < D; i++)
        x[i] += ldexp(d[i], e);
}

void gka_solve_cholesky(gka_arith *A, const gka_system *system, const gka_solver *solver,
                        const double *q, double *x, gka_outcome *outcome,
                        const gka_observer *observer, void *workspace) {
    const int64_t D = system->D;
    double *const L = workspace, *const b = L + D * D, *const r = b + D, *const d = r + D;
    const double lambda = gka_arith_scalar(A, system->lambda[0]);
    const int64_t pivot = gka_solve_factor(A, D, system->H, lambda, L);
    copy(b, q, D);
    *outcome = (gka_outcome){GKA_BREAKDOWN, (int)pivot};
    if (pivot < D) {
        for (int64_t i = 0; i < D; i++)
            x[i] = NAN;
        return;
    }
    copy(x, b, D);
    gka_solve_substitute(A, D, L, x);
    if (observer->call != NULL)
        observer->call(observer->context, 0, x);
    const int steps = solver->refined ? solver->num_iter : 0;
    for (int i = 1; i <= steps; i++) {
        residual(D, system->H, lambda, b, x, r);
        correct(A, D, L, r, d, x);
        if (observer->call != NULL)
            observer->call(observer->context, i, x);
    }
    *outcome = (gka_outcome){all_finite(D, x) ? GKA_RAN : GKA_NON_FINITE, steps};
}
