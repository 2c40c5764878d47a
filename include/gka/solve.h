/* gka/solve.h - solvers of (H + lambda I) x = q in an emulated arithmetic.
 *
 *   1  gka_solver               which method, with its parameters, by name
 *   2  gka_system               H (dense, or a function), lambda, f: a tile of n systems
 *   3  gka_solve                x, and what happened
 *   4  gka_solve_adjoint        through the iterations, by hand-written adjoint: CG, Chebyshev
 *   5  gka_kalman               the recursive solvers, seven forms
 *   6  gka_measure, gka_trace   residual, backward error, error, step by step
 *   7  gka_extreme_eigenvalues  and the symmetry defect, of Phi
 *
 * A solver is written once over an arithmetic A and an operation Y <- H X on a tile [n, D]: n = 1
 * with a dense H is the lab's, n = C with (H_0, K, M) is the chunk algorithm's. Solvers cannot
 * fail: divergence, breakdown and overflow are results. No function of this header allocates; a
 * workspace is the caller's, 64-byte aligned, of the size its function states.
 *
 * These are the formulas, rounded as a policy says. What the released kernels do with them, bit for
 * bit, is gka/chunk.h's: they fuse other pairs of operations than a policy does, and a row that
 * overflows goes on.
 */
#ifndef GKA_SOLVE_H
#define GKA_SOLVE_H

#include "gka/arith.h"
#include "gka/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1 solvers ----------------------------------------------------------------------------- */

typedef enum gka_method {
    GKA_CHEBYSHEV,          /* three-term, as the released kernels run it (NUMERICS 3) */
    GKA_CHEBYSHEV_TWO_TERM, /* the same polynomial; d rounded once for product and update */
    GKA_CG,                 /* conjugate gradients */
    GKA_GRADIENT,           /* gradient descent, step 2/(L + mu) */
    GKA_NESTEROV,           /* accelerated, steps optimal for quadratics (Lessard et al. 2016) */
    GKA_CHOLESKY            /* L L^T; needs the dense H */
} gka_method;

typedef struct gka_solver {
    const char *name;
    gka_method method;
    int num_iter;     /* r >= 0: products with H; Cholesky: refinement steps */
    bool converged;   /* Chebyshev: omega is its limit 2/(1 + sqrt(1 - rho^2)) from the start */
    double guard;     /* CG: added to both denominators; 0: none */
    bool jacobi;      /* CG: x_0 = q / diag(H + lambda I), at the price of one product more */
    double tolerance; /* CG: stops at |r_i| <= tolerance |r_0|; 0: runs on until |r_i| has fallen
                         by the square of the unit roundoff, where nothing moves x any more */
    bool consistent;  /* CG: p is rounded to operand format once, for product and update */
    bool refined;     /* Cholesky: r steps of refinement, x and its residual in binary64 */
} gka_solver;

/* "chebyshev", "chebyshev-converged", "chebyshev2" (two-term), "cg", "cg-guarded" (1e-5),
 * "cg-jacobi", "cg-stop" (1e-3), "cg-consistent", "gradient", "nesterov", "cholesky",
 * "cholesky-refined"; num_iter = 30 (Cholesky 5). False when there is none. */
GKA_API bool gka_solver_find(const char *name, gka_solver *solver);
/* Every name; ends with NULL. */
GKA_API const char *const *gka_solver_names(void);

/* ---- 2 systems ----------------------------------------------------------------------------- */

/* Y [n,D] <- H X: row t is H_t x_t, without lambda. Y does not overlap X. */
typedef void gka_apply(void *context, gka_arith *A, const double *X, double *Y);

/* n independent systems (H_t + lambda_t I) x_t = q_t with eigenvalues in [mu_t, L_t]. */
typedef struct gka_system {
    int64_t n, D;
    const double *H;          /* [D,D], n = 1; or NULL and */
    gka_apply *apply;         /* this */
    void *context;            /* of apply */
    const double *lambda, *f; /* [n]: mu = lambda, L = f + lambda ... */
    const double *mu, *L;     /* [n]: ... unless given here; NULL */
    const double *diagonal;   /* [n,D] of H_t, for the Jacobi start; NULL: from H */
} gka_system;

/* ---- 3 solving ----------------------------------------------------------------------------- */

typedef enum gka_event {
    GKA_RAN,       /* all its iterations */
    GKA_STOPPED,   /* its own rule: the residual it carries is small enough */
    GKA_BREAKDOWN, /* p^T (H + lambda I) p <= 0, or a pivot <= 0 */
    GKA_NON_FINITE /* Inf or NaN in x */
} gka_event;
GKA_API const char *
gka_event_name(gka_event event); /* "ran", "stopped", "breakdown", "non-finite" */

/* What happened, and after how many steps (Cholesky: at which pivot). */
typedef struct gka_outcome {
    gka_event event;
    int step;
} gka_outcome;

/* Called with the tile x [n,D] after the start (step 0) and after every iteration. */
typedef void gka_observe(void *context, int step, const double *x);
typedef struct gka_observer {
    gka_observe *call; /* NULL: nobody looks */
    void *context;
} gka_observer;

/* Bytes of workspace. */
GKA_API size_t gka_solve_workspace(const gka_solver *solver, int64_t n, int64_t D);

/* x [n,D] from q [n,D], numbers of A's storage format; lambda, f, mu, L are rounded to A's
 * accumulator first. x may be q. outcome [n] may be NULL, observer too. */
GKA_API void gka_solve(gka_arith *A, const gka_system *system, const gka_solver *solver,
                       const double *q, double *x, gka_outcome *outcome,
                       const gka_observer *observer, void *workspace);

/* ---- 4 adjoint ----------------------------------------------------------------------------- */

/* Is there a hand-written adjoint: CG in every form, both forms of Chebyshev. */
GKA_API bool gka_solve_has_adjoint(const gka_solver *solver);

GKA_API size_t gka_solve_adjoint_workspace(const gka_solver *solver, int64_t D);

/* The derivative of the computation gka_solve performs, rounding taken as the identity and stopping
 * rules as constants, for n = 1, dense H and bounds lambda, f + lambda. dx [D] is the cotangent of
 * x. dq [D] is set; dH [D,D] is added to (not symmetrised); *dlambda and *df are set: f enters
 * through the bounds alone. Needs gka_solve_has_adjoint. The iterates are stored (r D numbers) or,
 * with `reversible`, Chebyshev's are recomputed backwards from the last two (the paper's appendix):
 *
 *     x_(i-2) = (omega_i x_(i-1) - step omega_i ((H + lambda I) x_(i-1) - q) - x_i)/(omega_i - 1)
 *
 *     d_(i-1) = (d_i - (2 tau_i/delta) r_i)/(tau_i tau_(i-1))
 *     r_(i-1) = r_i + (H + lambda I) d_(i-1)
 *
 * in the three-term and the two-term form; tau_i tau_(i-1) = omega_i - 1. i steps backwards magnify
 * rounding by about T_i(1/rho), but the cotangent there has been contracted by as much. What is
 * left costs dq nothing and dH about r^2 u (three-term; u of the storage) or r u (two-term; u of
 * the operands): nothing to speak of in binary64 (test_reversible_backward), dH itself in bf16
 * (experiments/08_reversal). */
GKA_API void gka_solve_adjoint(gka_arith *A, const gka_system *system, const gka_solver *solver,
                               const double *q, const double *dx, bool reversible, double *dq,
                               double *dH, double *dlambda, double *df, void *workspace);

/* ---- 5 Kalman ------------------------------------------------------------------------------ */

/* Recursive ridge regression of v on k (NUMERICS 7): Phi_t = (H_t + lambda_t I)^-1 and
 * S_t = U_t^T Phi_t [V,D] from token to token, H and U as in NUMERICS 1, lambda_0 = lambda,
 * lambda_t = gamma_t lambda_(t-1). */
typedef enum gka_kalman_form {
    GKA_KALMAN_COVARIANCE,  /* Phi -= g u^T, as the paper writes it (Woodbury) */
    GKA_KALMAN_SYMMETRISED, /* the same, then Phi = (Phi + Phi^T)/2 */
    GKA_KALMAN_JOSEPH,      /* Phi = (I - g k^T) Phi (I - g k^T)^T + g g^T */
    GKA_KALMAN_POTTER,      /* Phi = W W^T, W updated */
    GKA_KALMAN_UD,          /* Phi = Y diag(d) Y^T, Y unit upper triangular (Bierman, Thornton) */
    GKA_KALMAN_INFORMATION, /* H + lambda I and U themselves; Cholesky for every answer */
    GKA_KALMAN_OUTER,       /* Phi -= w w^T, w = u/sqrt(s): symmetric to the bit */
    GKA_KALMAN_FORM_COUNT
} gka_kalman_form;
/* "kalman", "kalman-symmetrised", "kalman-joseph", "kalman-potter", "kalman-ud",
 * "kalman-information", "kalman-outer" and back; -1: none */
GKA_API const char *gka_kalman_name(gka_kalman_form form);
GKA_API int gka_kalman_find(const char *name);

typedef struct gka_kalman {
    gka_kalman_form form;
    int64_t D, V;
    double *Phi; /* [D,D]: Phi, W, Y^T (rows: columns of Y), or H + lambda I */
    double *d;   /* [D], UD */
    double *S;   /* [V,D]; information: U [D,V] */
    double *scratch;
} gka_kalman;

GKA_API size_t gka_kalman_workspace(gka_kalman_form form, int64_t D, int64_t V);
/* lambda > 0, V >= 0. The workspace is the filter's memory until its end. */
GKA_API void gka_kalman_start(gka_arith *A, gka_kalman *K, gka_kalman_form form, int64_t D,
                              int64_t V, double lambda, void *workspace);
/* One token: k [D], v [V], gamma in [0, 1]; gamma = 1 is no forgetting, exactly. */
GKA_API void gka_kalman_step(gka_arith *A, gka_kalman *K, const double *k, const double *v,
                             double gamma);
/* x = Phi q [D]. Information: GKA_BREAKDOWN and NaN at a pivot that is not positive. */
GKA_API gka_event gka_kalman_solve(gka_arith *A, gka_kalman *K, const double *q, double *x);
/* o = S q [V] */
GKA_API gka_event gka_kalman_predict(gka_arith *A, gka_kalman *K, const double *q, double *o);
/* The Phi that the filter stands for, in binary64; phi [D,D]. */
GKA_API void gka_kalman_phi(const gka_kalman *K, double *phi);

/* ---- 6 traces ------------------------------------------------------------------------------ */

/* How good an x is, in binary64: H, lambda, f, q exact or as the solver saw them, as the caller
 * chooses. */
typedef struct gka_quality {
    double residual; /* |q - (H + lambda I) x| / |q| */
    double eta;      /* |q - (H + lambda I) x| / ((f + lambda) |x| + |q|), the backward error */
    double error;    /* |x - exact| / |exact|; NaN without it */
} gka_quality;
GKA_API gka_quality gka_measure(int64_t D, const double *H, double lambda, double f,
                                const double *q, const double *x, const double *exact);

typedef struct gka_trace_point {
    int step;
    gka_quality quality;
} gka_trace_point;

/* gka_trace_observe as a gka_observer writes one point per step, up to capacity; n = 1. */
typedef struct gka_trace {
    int64_t D;
    const double *H; /* [D,D] */
    double lambda, f;
    const double *q, *exact; /* exact: the answer, or NULL */
    gka_trace_point *points;
    int capacity, count;
} gka_trace;
GKA_API gka_observe gka_trace_observe;

/* ---- 7 eigenvalues ------------------------------------------------------------------------- */

/* |M - M^T|_F / |M|_F; 0 for M = 0 */
GKA_API double gka_symmetry_defect(int64_t D, const double *M);
/* Smallest and largest eigenvalue of (M + M^T)/2 in binary64, by tridiagonalisation and bisection,
 * each to about 2^-50 of the largest in modulus; NaN when M is not finite. workspace: D (D + 4)
 * doubles. */
GKA_API void gka_extreme_eigenvalues(int64_t D, const double *M, double *smallest, double *largest,
                                     double *workspace);

#ifdef __cplusplus
}
#endif
#endif
