/* fp64.h - the oracle in binary64, and the pieces of it that its second derivatives share. */
#ifndef GKA_ORACLE_FP64_H
#define GKA_ORACLE_FP64_H

#include "gka/oracle.h"
#include "oracle/run.h"

#include <lapacke.h>

/* As gka_oracle_forward and gka_oracle_gradient, but nothing is NULL except members of out, lo. */
gka_status gka_fp64_forward(const gka_problem *problem, const gka_oracle_options *options,
                            gka_outputs *out, gka_outputs *lo, gka_oracle_report *report,
                            gka_error *error);
gka_status gka_fp64_gradient(const gka_problem *problem, gka_of cotangent,
                             const gka_oracle_options *options, gka_outputs *out, gka_outputs *lo,
                             gka_oracle_report *report, gka_error *error);

/* The Hessian of <c, y> times a direction (gka_oracle_hessian). */
gka_status gka_fp64_hessian(const gka_problem *problem, gka_of cotangent,
                            const gka_oracle_options *options, const gka_direction *direction,
                            gka_direction *product, gka_oracle_report *report, gka_error *error);

/* ---- one token ----------------------------------------------------------------------------- */

/* A state at a token, beyond its matrices. */
typedef struct gka_fp64_token {
    int64_t n, h, b, t; /* sequence, head, batch row, token of that row */
    double gamma, f, lambda;
    double ridge; /* lambda where it is a constant; 0: a f */
    bool empty;   /* H_t = 0: since the last restart no key but zero */
} gka_fp64_token;

/* H_0 [D,D] as (h0 + h0^T)/2 and, where V > 0, U_0 [D,V], of at's sequence and head; `empty`. */
void gka_fp64_first_state(const gka_problem *problem, gka_fp64_token *at, int64_t V, double *H,
                          double *U);
/* gamma, k [D] and `empty` of token at->t, from the `empty` of the one before. */
void gka_fp64_arrive(const gka_problem *problem, gka_fp64_token *at, double *k);
/* f and lambda from ||H_t||_F^2. */
gka_status gka_fp64_norm(const gka_problem *problem, gka_fp64_token *at, double square,
                         gka_error *error);
/* GKA_UNSUPPORTED where the terms p x^T and <p,x>/f of a gradient, which meet H, leave binary64's
 * range: their digits would be lost. */
gka_status gka_fp64_terms(const gka_fp64_token *at, int64_t D, const double *p, const double *x,
                          gka_error *error);

/* H + lambda I = L L^T; P^T L B L^T P with blocks B where an indefinite h0 asks for it. LAPACK's
 * columns are our rows. */
typedef struct gka_fp64_factor {
    double *L;          /* D^2 */
    double *work;       /* D^2 + 4 D, for dsytrf and dsyev */
    lapack_int *pivots; /* D, of dsytrf */
    bool indefinite;    /* the factor is dsytrf's */
} gka_fp64_factor;

gka_fp64_factor gka_fp64_factor_take(gka_arena *block, int64_t D);
/* Nothing is done, nor needed, for an empty state. */
gka_status gka_fp64_factorise(const gka_problem *problem, const gka_fp64_token *at, const double *H,
                              gka_fp64_factor *L, gka_error *error);
/* X <- (H + lambda I)^{-1} X for `count` right-hand sides [count,D]; 0 for an empty state. */
void gka_fp64_substitute(const gka_problem *problem, const gka_fp64_token *at,
                         const gka_fp64_factor *L, int count, double *X);

/* ---- LAPACK -------------------------------------------------------------------------------- */

/* kappa_2(H + lambda I) for symmetric H [D,D]: the largest over the smallest modulus of LAPACK's
 * eigenvalues; NaN for H = 0, lambda = 0. `work` holds D^2 + 4 D doubles. False: LAPACK's iteration
 * did not converge. The BLAS must be held alone. */
bool gka_fp64_kappa(int64_t D, const double *H, double lambda, double *work, double *kappa);

/* Between these the BLAS of the process runs on the calling thread alone (OpenBLAS; any other BLAS
 * is left as it is). They nest. */
void gka_blas_alone_begin(void);
void gka_blas_alone_end(void);

#endif
