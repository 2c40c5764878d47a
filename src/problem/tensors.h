/* tensors.h - the problem's tensors as a table: what each is called and how it is shaped. */
#ifndef GKA_PROBLEM_TENSORS_H
#define GKA_PROBLEM_TENSORS_H

#include "gka/problem.h"

/* All that are views, in the order of gka_problem_names (which adds cu_seqlens). */
enum { PROBLEM_VIEWS = GKA_PROBLEM_TENSORS - 1 };

typedef struct problem_tensor {
    const char *name;
    size_t offset;       /* of the view in gka_problem */
    const char *letters; /* its shape, in the header's letters */
    bool values;         /* makes sense with v alone */
} problem_tensor;

extern const problem_tensor gka_problem_views[PROBLEM_VIEWS];

gka_view *gka_problem_view(gka_problem *problem, int i);
const gka_view *gka_problem_view_const(const gka_problem *problem, int i);

/* The extents of letters "BTHD"; returns the rank. */
int gka_problem_extents(const gka_problem *problem, const char *letters, int64_t shape[4]);

#endif
