/* fp64.h - the oracle in binary64. */
#ifndef GKA_ORACLE_FP64_H
#define GKA_ORACLE_FP64_H

#include "gka/oracle.h"

/* As gka_oracle_forward and gka_oracle_gradient, but nothing is NULL except members of out, lo. */
gka_status gka_fp64_forward(const gka_problem *problem, const gka_oracle_options *options,
                            gka_exact *out, gka_exact *lo, gka_oracle_report *report,
                            gka_error *error);
gka_status gka_fp64_gradient(const gka_problem *problem, gka_cotangent cotangent,
                             const gka_oracle_options *options, gka_exact *out, gka_exact *lo,
                             gka_oracle_report *report, gka_error *error);

/* kappa_2(H + lambda I) for symmetric H [D,D]: the largest over the smallest modulus of LAPACK's
 * eigenvalues; NaN for H = 0, lambda = 0. `work` holds D^2 + 4 D doubles. False: LAPACK's iteration
 * did not converge. The BLAS must be held alone. */
bool gka_fp64_kappa(int64_t D, const double *H, double lambda, double *work, double *kappa);

/* Between these the BLAS of the process runs on the calling thread alone (OpenBLAS; any other BLAS
 * is left as it is). They nest. */
void gka_blas_alone_begin(void);
void gka_blas_alone_end(void);

#endif
