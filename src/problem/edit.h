/* edit.h - the edits of a made-up problem (gka/problem.h, section 4). */
#ifndef GKA_PROBLEM_EDIT_H
#define GKA_PROBLEM_EDIT_H

#include "gka/problem.h"

/* Applies generator->edits to the tensors, which are the problem's own memory: tokens from `begin`
 * on of the sequences. first_key: a k of which token 0 of batch row 0 is that of the sequences. */
gka_status gka_problem_edit(const gka_generator *generator, int64_t begin,
                            const gka_view *first_key, gka_problem *problem, gka_error *error);

#endif
