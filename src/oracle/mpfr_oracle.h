/* mpfr_oracle.h - the oracle in any precision. */
#ifndef GKA_ORACLE_MPFR_ORACLE_H
#define GKA_ORACLE_MPFR_ORACLE_H

#include "gka/oracle.h"

/* As gka_oracle_forward and gka_oracle_gradient, but nothing is NULL except members of out, lo. */
gka_status gka_mpfr_forward(const gka_problem *problem, const gka_oracle_options *options,
                            gka_outputs *out, gka_outputs *lo, gka_oracle_report *report,
                            gka_error *error);
gka_status gka_mpfr_gradient(const gka_problem *problem, gka_of cotangent,
                             const gka_oracle_options *options, gka_outputs *out, gka_outputs *lo,
                             gka_oracle_report *report, gka_error *error);

#endif
