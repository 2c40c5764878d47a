/* solve.c - solvers by name; the tile of systems, the products with H, and who watches. */
#include "solve/row.h"

#include <assert.h>

/* Each solver: its name, what it is. 30 iterations, of refinement 5. */
#define SOLVER_LIST(ROW)                                                                           \
    ROW("chebyshev", .method = GKA_CHEBYSHEV)                                                      \
    ROW("chebyshev-converged", .method = GKA_CHEBYSHEV, .converged = true)                         \
    ROW("chebyshev2", .method = GKA_CHEBYSHEV_TWO_TERM)                                            \
    ROW("cg", .method = GKA_CG)                                                                    \
    ROW("cg-guarded", .method = GKA_CG, .guard = 1e-5)                                             \
    ROW("cg-jacobi", .method = GKA_CG, .jacobi = true)                                             \
    ROW("cg-stop", .method = GKA_CG, .tolerance = 1e-3)                                            \
    ROW("cg-consistent", .method = GKA_CG, .consistent = true)                                     \
    ROW("gradient", .method = GKA_GRADIENT)                                                        \
    ROW("nesterov", .method = GKA_NESTEROV)                                                        \
    ROW("cholesky", .method = GKA_CHOLESKY)                                                        \
    ROW("cholesky-refined", .method = GKA_CHOLESKY, .refined = true)

bool gka_solver_find(const char *name, gka_solver *solver) {
#define AS_SOLVER(said, ...) {.name = said, __VA_ARGS__},
    static const gka_solver solvers[] = {SOLVER_LIST(AS_SOLVER)};
    for (size_t i = 0; i < sizeof solvers / sizeof *solvers; i++)
        if (strcmp(name, solvers[i].name) == 0) {
            *solver = solvers[i];
            solver->num_iter = solver->method == GKA_CHOLESKY ? 5 : 30;
            return true;
        }
    return false;
}

const char *const *gka_solver_names(void) {
#define AS_NAME(said, ...) said,
    static const char *const names[] = {SOLVER_LIST(AS_NAME) NULL};
    return names;
}

const char *gka_event_name(gka_event event) {
    switch (event) {
    case GKA_RAN: return "ran";
    case GKA_STOPPED: return "stopped";
    case GKA_BREAKDOWN: return "breakdown";
    case GKA_NON_FINITE: return "non-finite";
    }
    return "unknown";
}

static const method *method_of(const gka_solver *solver) {
    switch (solver->method) {
    case GKA_CHEBYSHEV: return &gka_solve_chebyshev;
    case GKA_CHEBYSHEV_TWO_TERM: return &gka_solve_chebyshev_two_term;
    case GKA_CG: return solver->jacobi ? &gka_solve_cg_jacobi : &gka_solve_cg;
    case GKA_GRADIENT: return &gka_solve_gradient;
    case GKA_NESTEROV: return &gka_solve_nesterov;
    case GKA_CHOLESKY: break;
    }
    return NULL;
}

enum { TILES = 5 }; /* of [n,D]: q, p, w, r, z */

size_t gka_solve_workspace(const gka_solver *solver, int64_t n, int64_t D) {
    if (solver->method == GKA_CHOLESKY)
        return gka_solve_cholesky_workspace(D);
    return (size_t)n * sizeof(row) + (size_t)(TILES * n * D) * sizeof(double);
}

/* Y = H X */
static void product(gka_arith *A, const gka_system *system, const double *X, double *Y) {
    if (system->H != NULL)
        gka_arith_matvec(A, system->D, system->D, system->H, X, Y);
    else
        system->apply(system->context, A, X, Y);
}

/* L + mu and L - mu: 2 lambda + f and f, or from given bounds */
static void set_bounds(gka_arith *A, const gka_system *system, row *c) {
    c->lambda = gka_arith_scalar(A, system->lambda[c->t]);
    if (system->mu != NULL) {
        const double mu = gka_arith_scalar(A, system->mu[c->t]);
        const double L = gka_arith_scalar(A, system->L[c->t]);
        c->sum = add(A, L, mu);
        c->width = sub(A, L, mu);
    } else {
        c->width = gka_arith_scalar(A, system->f[c->t]);
        c->sum = add(A, mul(A, 2, c->lambda), c->width);
    }
}

row gka_solve_row(gka_arith *A, const gka_system *system, const gka_solver *solver, const double *q,
                  double *x, bool multiplies_x, double *memory) {
    const int64_t D = system->D;
    row c = {.solver = solver,
             .system = system,
             .D = D,
             .q = memory + 4 * D,
             .x = x,
             .p = multiplies_x ? x : memory,
             .w = memory + D,
             .r = memory + 2 * D,
             .z = memory + 3 * D,
             .event = GKA_RAN};
    copy(memory + 4 * D, q, D);
    set_bounds(A, system, &c);
    return c;
}

static void note(row *c, int step) {
    c->step = step;
    if (!all_finite(c->D, c->x))
        stop(c, GKA_NON_FINITE);
}

static bool all_done(int64_t n, const row *rows) {
    for (int64_t t = 0; t < n; t++)
        if (!rows[t].done)
            return false;
    return true;
}

void gka_solve(gka_arith *A, const gka_system *system, const gka_solver *solver, const double *q,
               double *x, gka_outcome *outcome, const gka_observer *observer, void *workspace) {
    static const gka_observer nobody = {NULL, NULL};
    const gka_observer *const watch = observer != NULL ? observer : &nobody;
    const int64_t n = system->n, D = system->D;
    assert((system->H == NULL) != (system->apply == NULL) && (system->H == NULL || n == 1));
    if (solver->method == GKA_CHOLESKY) {
        assert(system->H != NULL);
        gka_outcome own;
        gka_solve_cholesky(A, system, solver, q, x, outcome != NULL ? outcome : &own, watch,
                           workspace);
        return;
    }
    const method *const M = method_of(solver);
    row *const rows = workspace;
    double *const Q = (double *)(void *)(rows + n), *const W = Q + n * D, *const R = W + n * D,
                  *const Z = R + n * D, *const P = M->multiplies_x ? x : Z + n * D;
    copy(Q, q, n * D);
    for (int64_t t = 0; t < n; t++) {
        rows[t] = (row){.solver = solver,
                        .system = system,
                        .t = t,
                        .D = D,
                        .q = Q + t * D,
                        .x = x + t * D,
                        .p = P + t * D,
                        .w = W + t * D,
                        .r = R + t * D,
                        .z = Z + t * D,
                        .event = GKA_RAN};
        set_bounds(A, system, &rows[t]);
        M->start(A, &rows[t]);
    }
    if (M->residual != NULL) {
        product(A, system, P, W);
        for (int64_t t = 0; t < n; t++)
            M->residual(A, &rows[t]);
    }
    for (int64_t t = 0; t < n; t++)
        note(&rows[t], 0);
    if (watch->call != NULL)
        watch->call(watch->context, 0, x);
    for (int i = 1; i <= solver->num_iter && !all_done(n, rows) && !gka_stopped(); i++) {
        product(A, system, P, W);
        for (int64_t t = 0; t < n; t++) {
            if (rows[t].done)
                continue;
            M->step(A, &rows[t]);
            note(&rows[t], i);
        }
        if (watch->call != NULL)
            watch->call(watch->context, i, x);
    }
    for (int64_t t = 0; outcome != NULL && t < n; t++)
        outcome[t] = (gka_outcome){rows[t].event, rows[t].step};
}
