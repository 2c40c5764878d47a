/* lanes.h - matrix times vector in any policy of short formats, 16 rows at a time. */
#ifndef ARITH_LANES_H
#define ARITH_LANES_H

#include "arith/policy.h"

/* Whether lanes.c serves the policy: every format has subnormals, p <= 25 and exponents within
 * +-400, so that products are exact in binary64 and a sum is its rounding plus an error that is
 * a double too. */
bool gka_arith_in_lanes(const gka_policy *policy);

/* As the member matvec of arith_kernels, bit for bit the rows one by one. One for each instruction
 * set; ARITH_LANES is its name. */
void ARITH_LANES(const gka_policy *policy, uint64_t at, int64_t n, int64_t m, const double *M,
                 int64_t row, int64_t column, const double *x, double *y);

#endif
