/* iterations.c - the derivative of r Chebyshev steps, the implicit formula at the same r steps, and
 * the exact gradient.
 *
 *   x_r = (I - rho_r(M)) x, M = H + lambda I, |rho_r| <= 1/T_(r+1)(1 + 2a) on [lambda, f + lambda]
 *
 * The implicit formula reads x_r and p_r alone: its G = -p x^T - a <p,x>/f H is off by the
 * residuals of both. The derivative of the steps has the derivative of rho_r by H in it, which on
 * an interval of width f is larger than rho_r by up to (r+1)^2/f (Markov): so it is the exact
 * gradient of what is computed, and the worse approximation of the gradient of what is meant.
 */
#include "gka/condition.h"

#include "gka/judge.h"
#include "gka/layer.h"
#include "gka/oracle.h"

#include <math.h>

typedef struct gradients {
    double *of[GKA_ITERATED];
} gradients;

enum { EXACT, IMPLICIT, DERIVATIVE, REVERSED, KINDS };

typedef struct job {
    const gka_problem *problem;
    int64_t count[GKA_ITERATED];
    gradients of[KINDS];
    double *x, *exact_x;
} job;

static gka_status allocate(job *j, gka_error *error) {
    const gka_problem *const p = j->problem;
    const int64_t tokens = p->B * p->T * p->H;
    bool good = true;
    j->count[GKA_ITERATED_DQ] = tokens * p->D;
    j->count[GKA_ITERATED_DK] = p->B * p->T * p->G * p->D;
    j->count[GKA_ITERATED_DG] = p->g.data != NULL ? tokens : 0;
    for (int k = 0; k < KINDS; k++)
        for (int i = 0; i < GKA_ITERATED; i++) {
            j->of[k].of[i] = gka_alloc((size_t)j->count[i], sizeof(double));
            good = good && j->of[k].of[i] != NULL;
        }
    j->x = gka_alloc((size_t)(tokens * p->D), sizeof(double));
    j->exact_x = gka_alloc((size_t)(tokens * p->D), sizeof(double));
    return good && j->x != NULL && j->exact_x != NULL
               ? GKA_OK
               : gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory for gradients");
}

static gka_status compute_exact(job *j, gka_error *error) {
    double *const *const of = j->of[EXACT].of;
    gka_outputs forward = {.x = j->exact_x};
    gka_outputs out = {.solve.dq = of[GKA_ITERATED_DQ], .solve.dk = of[GKA_ITERATED_DK]};
    if (j->count[GKA_ITERATED_DG] > 0)
        out.solve.dg = of[GKA_ITERATED_DG];
    const gka_status status = gka_oracle_forward(j->problem, NULL, &forward, NULL, NULL, error);
    return status != GKA_OK
               ? status
               : gka_oracle_gradient(j->problem, GKA_OF_X, NULL, &out, NULL, NULL, error);
}

static gka_status compute_steps(job *j, gka_form form, int r, int kind, gka_error *error) {
    double *const *const of = j->of[kind].of;
    gka_layer_options options = {.through = kind != IMPLICIT, .reversible = kind == REVERSED};
    gka_outputs out = {.x = j->x, .solve.dq = of[GKA_ITERATED_DQ], .solve.dk = of[GKA_ITERATED_DK]};
    if (j->count[GKA_ITERATED_DG] > 0)
        out.solve.dg = of[GKA_ITERATED_DG];
    const char *const name = form == GKA_TWO_TERM ? "chebyshev2" : "chebyshev";
    if (!gka_policy_find("fp64", &options.policy) || !gka_solver_find(name, &options.solver))
        return gka_fail(error, GKA_INTERNAL, "no solver %s in fp64", name);
    options.solver.num_iter = r;
    return gka_layer_gradient(j->problem, GKA_OF_X, &options, &out, NULL, error);
}

/* 1/T_n(z), z >= 1 */
static double residual_bound(int n, double z) {
    double before = 1, now = z;
    for (int i = 1; i < n; i++) {
        const double next = 2 * z * now - before;
        before = now;
        now = next;
    }
    return 1 / now;
}

static void compare(const job *j, gka_iterations_row *row) {
    row->x = gka_rel_err(j->count[GKA_ITERATED_DQ], j->x, j->exact_x);
    for (int i = 0; i < GKA_ITERATED; i++) {
        const int64_t n = j->count[i];
        const double *const exact = j->of[EXACT].of[i], *const implicit = j->of[IMPLICIT].of[i],
                            *const derivative = j->of[DERIVATIVE].of[i];
        row->apart[i] = n > 0 ? gka_rel_err(n, implicit, derivative) : NAN;
        row->implicit[i] = n > 0 ? gka_rel_err(n, implicit, exact) : NAN;
        row->derivative[i] = n > 0 ? gka_rel_err(n, derivative, exact) : NAN;
        row->reversed[i] = n > 0 ? gka_rel_err(n, j->of[REVERSED].of[i], derivative) : NAN;
    }
}

gka_status gka_iterations(const gka_problem *problem, gka_form form, int r, gka_iterations_row *row,
                          gka_error *error) {
    job j = {.problem = problem};
    if (problem->dx.data == NULL)
        return gka_fail(error, GKA_BAD_ARGUMENT, "gradients of x need the tensor dx");
    if (form != GKA_THREE_TERM && form != GKA_TWO_TERM)
        return gka_fail(error, GKA_BAD_ARGUMENT, "form %s: three-term or two-term was expected",
                        gka_form_name(form));
    *row =
        (gka_iterations_row){.r = r, .bound = residual_bound(r + 1, 1 + 2 * problem->ridge_ratio)};
    gka_status status = allocate(&j, error);
    if (status == GKA_OK)
        status = compute_exact(&j, error);
    for (int kind = IMPLICIT; status == GKA_OK && kind < KINDS; kind++)
        status = compute_steps(&j, form, r, kind, error);
    if (status == GKA_OK)
        compare(&j, row);
    for (int k = 0; k < KINDS; k++)
        for (int i = 0; i < GKA_ITERATED; i++)
            gka_free(j.of[k].of[i]);
    gka_free(j.x);
    gka_free(j.exact_x);
    return status;
}
