/* row.h - one system of the tile, as the iterative solvers see it. */
#ifndef SOLVE_ROW_H
#define SOLVE_ROW_H

#include "gka/solve.h"
#include "solve/ops.h"

/* (H + lambda I) x = q, eigenvalues in [mu, L]. Between steps the driver computes w = H p. */
typedef struct row {
    const gka_solver *solver;
    const gka_system *system;
    int64_t t, D;
    const double *q;
    double lambda;
    double sum, width; /* L + mu, L - mu */
    double *x;         /* the iterate */
    double *p;         /* what H multiplies next (x itself where the method says so) */
    double *w;         /* H p */
    double *r, *z;     /* two more vectors: each method says which */
    double s[3];       /* its scalars */
    gka_event event;
    bool done;
    int step;
} row;

typedef struct method {
    bool multiplies_x; /* p is x */
    void (*start)(gka_arith *A, row *c);
    void (*residual)(gka_arith *A, row *c); /* after one product, before the first step; or NULL */
    void (*step)(gka_arith *A, row *c);
} method;

extern const method gka_solve_chebyshev, gka_solve_chebyshev_two_term, gka_solve_cg,
    gka_solve_cg_jacobi, gka_solve_gradient, gka_solve_nesterov;

/* The direct solver. workspace of gka_solve_cholesky_workspace(D) bytes. */
size_t gka_solve_cholesky_workspace(int64_t D);
void gka_solve_cholesky(gka_arith *A, const gka_system *system, const gka_solver *solver,
                        const double *q, double *x, gka_outcome *outcome,
                        const gka_observer *observer, void *workspace);

/* L_ij of H + lambda I = L L^T, lower triangle of L [D,D]; D, or the first pivot that is not
 * positive. Then L y = b and L^T x = y in place. */
int64_t gka_solve_factor(gka_arith *A, int64_t D, const double *H, double lambda, double *L);
void gka_solve_substitute(gka_arith *A, int64_t D, const double *L, double *b);

/* One element on its way to memory. */
static inline double stored(gka_arith *A, double x) {
    double out;
    gka_arith_store(A, 1, &x, &out);
    return out;
}

/* The row of a system with n = 1 whose bounds are set, vectors from `memory`, 5 D doubles: p w r z
 * and a copy of q. */
row gka_solve_row(gka_arith *A, const gka_system *system, const gka_solver *solver, const double *q,
                  double *x, bool multiplies_x, double *memory);

/* The row ends here. */
static inline void stop(row *c, gka_event event) {
    c->event = event;
    c->done = true;
}

#endif
