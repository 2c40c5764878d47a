/* mp_solve.h - what the certified oracle's passes in MPFR share: norms, the solve, rounding.
 *
 * H is symmetric, its lower triangle row by row. v = 2^-P; t, low, high, s are scratch.
 */
#ifndef GKA_ORACLE_MP_SOLVE_H
#define GKA_ORACLE_MP_SOLVE_H

#include "oracle/certified_head.h"

#include <mpfr.h>

static inline mpfr_ptr gka_mp_at(mpfr_t *H, int64_t i, int64_t j) {
    return i >= j ? H[i * (i + 1) / 2 + j] : H[j * (j + 1) / 2 + i];
}

/* |x| 2^e, rounded up, to 2^-1000 at least unless x = 0 */
double gka_mp_magnitude(mpfr_srcptr x, mpfr_exp_t e, mpfr_ptr t);
/* ||x||_2 2^e, rounded up */
double gka_mp_norm(int64_t n, mpfr_t *x, mpfr_exp_t e, mpfr_ptr t);
/* The largest exponent in x; the least there is for x = 0 */
mpfr_exp_t gka_mp_exponent(int64_t n, mpfr_t *x);
/* ||x||_2 / v, rounded up by at most sqrt(n) and 2 */
double gka_mp_norm_in_v(int P, int64_t n, mpfr_t *x);

/* H 2^-e in binary64, as the hi words of strips */
void gka_mp_strips(int64_t D, mpfr_t *H, mpfr_exp_t e, mpfr_ptr t, double *strips);
/* r = b - H x - lambda x, D + 3 roundings of each term at most */
void gka_mp_residual(int64_t D, mpfr_t *H, mpfr_srcptr lambda, mpfr_t *b, mpfr_t *x, mpfr_ptr s,
                     mpfr_ptr t, mpfr_t *r);
/* x += R^-1 R^-T r 2^-e with the factor in head->R */
void gka_mp_correct(gka_head *head, mpfr_t *r, mpfr_exp_t e, mpfr_ptr t, mpfr_t *x);

/* x rounded to nearest even. */
double gka_mp_round(gka_target target, mpfr_srcptr x);

/* The value to which everything within e v 2^unit of x rounds; low, high are the interval's ends.
 * At the last precision an interval that still holds a boundary of rounding and is narrower than
 * 2^(-P/2) of the value lies on it by declaration: ties to even. */
typedef enum gka_decision {
    GKA_NOT_DECIDED,
    GKA_DECIDED,
    GKA_TIE,         /* known to be one */
    GKA_DECLARED_TIE /* not known */
} gka_decision;
gka_decision gka_mp_decide(gka_target target, mpfr_srcptr x, double e, mpfr_exp_t unit, int P,
                           bool last, mpfr_ptr low, mpfr_ptr high, mpfr_ptr t, double *out);

/* How many of the precisions a caller goes through, one after the other, the last being 4096 bits.
 * That one is the dearest. What stands halfway between two numbers but for a decayed state is
 * decided by bits as far below it as that state, exp(-1000) by 1443; so it is for heads whose gates
 * take a state to between exp(-480) and exp(-2800), what is decayed further is not waited for, and
 * for inputs beyond 2^100, beside which 2^-1074 is more than 1536 bits away. V: 0 where v is not
 * read; row [D max(D,V)] is overwritten. */
enum { GKA_MP_PRECISIONS = 5 };
int gka_mp_precisions(const gka_problem *problem, int64_t n, int64_t h, int64_t heads, int64_t V,
                      double *row);

#endif
