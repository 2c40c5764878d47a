/* edit.h - the edits of a made-up problem (gka/problem.h, section 4). */
#ifndef GKA_PROBLEM_EDIT_H
#define GKA_PROBLEM_EDIT_H

#include "gka/problem.h"

/* Applies generator->edits to the tensors, which are the problem's own memory. */
gka_status gka_problem_edit(const gka_generator *generator, gka_problem *problem, gka_error *error);

#endif
