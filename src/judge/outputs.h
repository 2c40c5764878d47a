/* outputs.h - a file's tensor as an output of the table (gka/problem.h). */
#ifndef GKA_JUDGE_OUTPUTS_H
#define GKA_JUDGE_OUTPUTS_H

#include "gka/chunk.h"
#include "gka/judge.h"
#include "gka/oracle.h"

/* The judged output of that name; -1: none. */
int gka_judge_find(const char *name);

/* GKA_BAD_FILE with file, tensor, shape and expected shape; heads_first: token tensors are
 * [B,H,T,..] there. Numbers of a floating-point type only. */
gka_status gka_judge_check_tensor(const gka_problem *problem, const gka_file *file,
                                  const gka_tensor *tensor, int output, bool heads_first,
                                  gka_error *error);
/* gka_verify of a file with gka_serving_names. */
gka_status gka_judge_served(const gka_file *file, const gka_verify_options *options,
                            gka_verification *verification, gka_error *error);
/* By the tolerance of that name. Where a verdict is asked for at all, NaN and Inf where the exact
 * value is finite fail by themselves. */
gka_verdict gka_judge_verdict(const gka_verify_options *options, const char *name,
                              const gka_comparison *comparison);
/* Stored elements whose numbers are not those of values in binary32 (any NaN is any NaN; +0 and -0
 * differ); the first of them in *at where there is one. */
int64_t gka_judge_differing(const gka_tensor *tensor, const double *values, int64_t *at);
/* Whether an output's second and third axes are tokens and heads. */
bool gka_judge_has_tokens(int output);

#endif
