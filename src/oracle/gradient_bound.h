/* gradient_bound.h - how far off the gradients of one head are: one analysis, any arithmetic.
 *
 * Norms are Euclidean or Frobenius and belong to computed values; e_z bounds ||computed z - exact
 * z|| and is counted in units of v, so that no precision is too high for binary64. A norm of 0 says
 * that the value is 0 exactly, and 0 times anything is 0: what vanishes by structure has no error.
 * Everything is an upper bound; INFINITY: none is known. Derivations: gradient_bound.c.
 */
#ifndef GKA_ORACLE_GRADIENT_BOUND_H
#define GKA_ORACLE_GRADIENT_BOUND_H

#include <stdbool.h>
#include <stdint.h>

/* An arithmetic: v, and for each kind of sum the c for which |error| <= c v sum |a_i b_i|. The
 * other operations are covered by the constants of gradient_bound.c in double-double (v = 2^-106)
 * and in MPFR (v = 2^-P) alike. */
typedef struct gka_precision {
    double v; /* at least 2^-900: in terms of second order alone */
    double dot, columns, rows_h, rows_u, inner_h, inner_u, residual;
} gka_precision;

/* n, m: D and V rounded up to whole strips */
gka_precision gka_precision_dd(int64_t n, int64_t m);
gka_precision gka_precision_mpfr(int P, int64_t D, int64_t V);

/* a b, rounded up; 0 if and only if a factor is. */
double gka_bound_times(double a, double b);

/* A state; doubles alone, for it is kept as such. */
typedef struct gka_state_bound {
    double H, e_H, U, e_U;
    double e_f;   /* of f as computed from H */
    double least; /* no eigenvalue of the exact H is less; at most 0 */
} gka_state_bound;

/* e_H, e_U, least of gamma H + k k^T, gamma U + k v^T; H and U become bounds from norms alone, for
 * the caller to sharpen: 0 if the new state is 0 exactly. gamma: computed, off by e_gamma v. */
void gka_bound_next(const gka_precision *precision, double gamma, double e_gamma, double k,
                    double v, gka_state_bound *s);

/* What belongs to one token. */
typedef struct gka_token_bound {
    gka_precision precision;
    double ratio, scale, alpha, rest; /* a, |s|, |alpha|, |1 - alpha| */
    double gamma, e_gamma;
    double q, k, v, dout;                  /* of the inputs */
    double f, e_f, lambda;                 /* as used in the solve */
    double x, e_x, p, e_p, dq, e_dq, e_dx; /* dq: dq' */
    double y, e_y, t, ridge, least;        /* y: q'; t: x - q; ridge: a |<p,x>|; least: no
                                               eigenvalue of H + lambda I is less */
    bool given_f;                          /* then f is exact, and */
    double own, e_own;                     /* ||H|| has another value */
} gka_token_bound;

/* A and E, and the excess of dg (gka_upstream). */
typedef struct gka_suffix_bound {
    double A, e_A, E, e_E, excess, e_excess;
} gka_suffix_bound;

/* Of the results of one token. */
typedef struct gka_results_bound {
    double dq, dalpha, dg, dg_h, dg_u, o;
    double dk, dv, size_dk, size_dv; /* sums over the heads so far, and bounds of their size */
} gka_results_bound;

/* In the order in which a token is taken. lambda's own error: */
double gka_bound_lambda(const gka_token_bound *b);
/* e_dq of dq' = s U do, and e_dx; the cotangent of x itself is exact. */
void gka_bound_cotangent(const gka_state_bound *after, gka_token_bound *b);
/* e_x or e_p: of (H + lambda I)^-1 right, whose residual as computed has norm r v and whose
 * solution has norm z; right is off by e_right. */
double gka_bound_solve(const gka_state_bound *after, const gka_token_bound *b, double right,
                       double e_right, double r, double z);
/* e_y of q + alpha (x - q) */
void gka_bound_mix(gka_token_bound *b);
/* e_A, e_E after this token's own terms are added to A, E as they were; the caller then measures A
 * and E. */
void gka_bound_suffix(const gka_state_bound *after, const gka_token_bound *b, gka_suffix_bound *s);
void gka_bound_results(const gka_state_bound *before, const gka_state_bound *after,
                       const gka_token_bound *b, const gka_suffix_bound *s, gka_results_bound *r);
/* A <- gamma A, E <- gamma E */
void gka_bound_gate(const gka_token_bound *b, gka_suffix_bound *s);

#endif
