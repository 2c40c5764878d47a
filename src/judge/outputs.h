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
/* Whether an output's second and third axes are tokens and heads. */
bool gka_judge_has_tokens(int output);

#endif
