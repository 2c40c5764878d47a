/* copy.h - a problem copied into memory of its own, perhaps in another type, perhaps folded. */
#ifndef GKA_PROBLEM_COPY_H
#define GKA_PROBLEM_COPY_H

#include "gka/problem.h"

/* *to: one block, owned. q, k, v are stored in dtype, with `all` alpha, beta, do and dx too; the
 * others are copied. fold: as gka_problem_fold. Checked. After a failure *to is all zero. */
gka_status gka_problem_copy(const gka_problem *from, gka_dtype dtype, bool all, bool fold,
                            gka_problem *to, gka_error *error);

#endif
