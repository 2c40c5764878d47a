/* check.h - parts of gka_problem_check. */
#ifndef GKA_PROBLEM_CHECK_H
#define GKA_PROBLEM_CHECK_H

#include "gka/problem.h"

/* B T H G D V and a s r C are in range, N fits them. */
gka_status gka_problem_check_numbers(const gka_problem *problem, const char *where,
                                     gka_error *error);

/* All of it, for tensors of `file` (NULL: of none), whose pages are forgotten as they are read. */
gka_status gka_problem_check_file(gka_problem *problem, const char *where, const gka_file *file,
                                  gka_error *error);

/* GKA_BAD_ARGUMENT with a line unless the problem is folded: what computes the layer asks. */
gka_status gka_problem_check_folded(const gka_problem *problem, gka_error *error);

/* That, and the ridge is a f_t: what computes Gated KalmaNet alone asks. */
gka_status gka_problem_check_kalmanet(const gka_problem *problem, gka_error *error);

/* Gates by channel [B,T,H,D], which are no tensor of the problem: type, shape and values. */
gka_status gka_problem_check_channels(const gka_problem *problem, const gka_view *gk,
                                      gka_error *error);

#endif
