/* certified.h - the oracle in double-double with proven bounds: correctly rounded results. */
#ifndef GKA_ORACLE_CERTIFIED_H
#define GKA_ORACLE_CERTIFIED_H

#include "gka/oracle.h"

/* As gka_oracle_forward and gka_oracle_gradient, but nothing is NULL except members of out, lo.
 *
 * forward   Every member of out is the exact value correctly rounded (to nearest even; a result
 *           that rounds to zero is +0) to options->round_to, lo the rest rounded to binary64;
 *           kappa alone is binary64 and LAPACK's. What double-double cannot decide, and all of lo,
 *           is computed in MPFR: README, section MPFR.
 * gradient  The same, but that a result may stay undecided: gka/oracle.h. */
gka_status gka_certified_forward(const gka_problem *problem, const gka_oracle_options *options,
                                 gka_outputs *out, gka_outputs *lo, gka_oracle_report *report,
                                 gka_error *error);
gka_status gka_certified_gradient(const gka_problem *problem, gka_of cotangent,
                                  const gka_oracle_options *options, gka_outputs *out,
                                  gka_outputs *lo, gka_oracle_report *report, gka_error *error);

/* What the double-double pass knew before anything was rounded, for tests. Arrays of the caller;
 * NULL: not wanted. */
typedef struct gka_enclosure {
    double *x, *x_lo, *x_error;       /* [B,T,H,D] twice, [B,T,H]: bound of ||x - (x + x_lo)||_2 */
    double *fro, *fro_lo, *fro_error; /* [B,T,H] */
    double *o, *o_lo, *o_error;       /* [B,T,H,V], a bound for each component */
    double *h, *h_lo,
        *h_error; /* [N,H,D,D] twice, [N,H]: bound of the final ||H - (h + h_lo)||_F */
    /* A claim to be judged: instead of being solved for, x is taken from here [B,T,H,D], and
     * x_error then bounds the claim's own error. */
    const double *claim, *claim_lo;
    int64_t flip; /* the last bit of gamma.hi at this token is flipped; -1: nowhere */
    bool no_mpfr; /* results that are not decided are left as they are */
} gka_enclosure;

gka_status gka_certified_enclose(const gka_problem *problem, const gka_oracle_options *options,
                                 gka_outputs *out, gka_outputs *lo, gka_enclosure *enclosure,
                                 gka_oracle_report *report, gka_error *error);

#endif
