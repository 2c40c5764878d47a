/* dense.h - one head of the layer as dense matrices in binary64: what several experiments need
 * beside the public headers.
 *
 *   H  [D,D] state;  f = ||H||_F;  lambda  ridge;  a = lambda/f
 */
#ifndef GKA_LAB_DENSE_H
#define GKA_LAB_DENSE_H

#include "gka/arith.h"
#include "gka/problem.h"
#include "gka/solve.h"

/* A named policy at the start of its stream; the name must be one (gka_policy_find). */
gka_arith lab_arith(const char *policy, uint64_t seed);
/* A named solver with its number of iterations; the name must be one (gka_solver_find). */
gka_solver lab_solver(const char *name, int iterations);

/* The data of the paper's solver figures (NUMERICS 8), T tokens of one head for each sequence:
 * plain, without gates. The caller may set cotangents; gka_problem_generate takes it. */
gka_generator lab_paper_data(gka_keys keys, int64_t sequences, int64_t T, int64_t D,
                             gka_dtype dtype, uint64_t seed);

/* H = gamma H + k k^T; returns ||H||_F. */
double lab_accumulate(int64_t D, double gamma, const double *k, double *H);
/* H [D,D] of the first t tokens of a sequence (head 0, no gates) divided by its Frobenius norm; k
 * [D] is overwritten. */
void lab_normalised_state(const gka_problem *p, int64_t sequence, int64_t t, double *k, double *H);

/* ||x||, and ||x - truth|| / ||truth|| */
double lab_norm(int64_t n, const double *x);
double lab_distance(int64_t n, const double *x, const double *truth);

/* ||out - ref|| / ||ref|| over query head h of a tensor [B=1,T,H,width]. */
double lab_head_error(const gka_problem *p, int64_t h, int64_t width, const double *out,
                      const double *ref);

/* x [D] = (H + lambda I)^-1 q by Cholesky with refinement in binary64; workspace: lab_exact_bytes.
 * NaN where the factorisation breaks down. */
size_t lab_exact_bytes(int64_t D);
void lab_exact(int64_t D, const double *H, double lambda, const double *q, double *x,
               void *workspace);

/* What errors in the residuals of r iterations leave in the last x along an eigenvector of
 * eigenvalue h f, in units of the error over f: the three-term form on [a f, (a + 1 + margin) f]
 * (NUMERICS 3). g_j f is what a unit error in the residual of iteration j leaves. A solver whose
 * residual errors are merely divided by the eigenvalue has 1/(h + a) for all three. */
typedef struct lab_gain {
    double worst;       /* sum_j |g_j|: errors of one size, signs at their worst */
    double independent; /* (sum_j g_j^2)^1/2: independent errors of one rms */
    double constant;    /* |sum_j g_j|: the same error every time */
} lab_gain;
lab_gain lab_three_term_gain(double a, double margin, int r, double h);

/* 1/T_(r+1)(1 + 2a): the largest relative residual that r Chebyshev steps leave in exact arithmetic
 * on [lambda, f + lambda] (NUMERICS 3). */
double lab_chebyshev_bound(double a, int r);

#endif
