/* check.h - the part of gka_problem_check that needs no tensors. */
#ifndef GKA_PROBLEM_CHECK_H
#define GKA_PROBLEM_CHECK_H

#include "gka/problem.h"

/* B T H G D V and a s r C are in range, N fits them. */
gka_status gka_problem_check_numbers(const gka_problem *problem, const char *where,
                                     gka_error *error);

#endif
