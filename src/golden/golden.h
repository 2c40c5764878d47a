/* golden.h - what generating, judging and auditing goldens share inside the room.
 *
 *   gka_golden_errors    what a set of outputs is worth, tensor by tensor
 *   gka_golden_read      a golden's problem, references and tolerances
 */
#ifndef GKA_GOLDEN_GOLDEN_H
#define GKA_GOLDEN_GOLDEN_H

#include "gka/golden.h"
#include "golden/inputs.h"
#include "judge/values.h"
#include "kernel/panel.h"

/* rel_err over the tensor, and the row error of gka/golden.h. */
typedef struct golden_error {
    double rel, row;
} golden_error;

/* The error that judges output i: of the candidate against `steps`, or against its local value
 * where there is one that is nearer by rel. NaN where there is none. */
gka_status gka_golden_errors(const gka_problem *problem, unsigned wanted,
                             const gka_outputs *candidate, const gka_outputs *steps,
                             golden_error errors[GKA_OUTPUTS], gka_error *error);

/* The same of one output; local may be NULL. */
golden_error gka_golden_error_of(const gka_problem *problem, int output, const double *out,
                                 const double *steps, const double *local);

/* ... of `rows` rows of n numbers, divided by `scale` (gka_golden_scale) for the sums. *worst: the
 * number of the first row that has the row error; may be NULL. */
golden_error gka_golden_error_in(int64_t rows, int64_t n, const double *out, const double *ref,
                                 double scale, int64_t *worst);

/* What gka_golden_errors adds up (error.c), for rows that are not in memory at once. */
typedef struct golden_sums {
    double d, r; /* of squares: out - ref, ref */
} golden_sums;

/* The largest of `most` and the finite |values|; the power of two by which numbers up to that are
 * divided. */
double gka_golden_most(int64_t n, const double *values, double most);
double gka_golden_scale(double most);
int64_t gka_golden_row_length(const gka_problem *problem, int output);
golden_sums gka_golden_row_sums(int64_t n, double scale, const double *out, const double *ref);
void gka_golden_add_row(golden_sums *all, golden_sums row);
double gka_golden_rel(golden_sums all, double scale);
/* Raises *most, -1 at first, to the row error of a row among `rows` that add up to `all`; whether
 * it rose. */
bool gka_golden_worse_row(golden_sums all, int64_t rows, double scale, golden_sums row,
                          double *most);
golden_error gka_golden_nearer(golden_error steps, golden_error local);

/* The rule of tolerances (tolerance.c): 2^ceil(log2(max(2 floor, 2 panel, least))), of rel and of
 * row each for itself; NaN where floor or panel is not finite, and from 1/2 on. */
golden_error gka_golden_tolerance_of(golden_error floor, golden_error panel, double least);
/* ... where both are known the larger of each, where one is NaN no tolerance. */
golden_error gka_golden_tolerance_at_least(golden_error one, golden_error other);

/* What kernels that differentiate their steps come to against `through`, the derivative of the
 * steps (all of `wanted`): rounded once and, where inputs are binary32, token by token in that. */
gka_status gka_golden_through_errors(const gka_problem *problem, unsigned wanted,
                                     const gka_outputs *through, golden_error most[GKA_OUTPUTS],
                                     gka_error *error);

/* What a golden says. */
typedef struct golden_reference {
    const gka_file *file; /* the problem's views point into it */
    gka_problem problem;
    bool stage;                          /* of one stage: judged as it stands, nothing is local */
    unsigned wanted;                     /* its outputs */
    golden_error tolerance[GKA_OUTPUTS]; /* against steps; NaN: none */
    golden_error by_exact[GKA_OUTPUTS];  /* against exact, for kernels that converge; NaN: none */
    golden_error by_through[GKA_OUTPUTS];
    const gka_panel
        *panel[GKA_OUTPUTS]; /* that made the tolerance against steps; NULL: none known */
    gka_outputs steps, exact;
    gka_outputs through; /* of some gradients, the derivative of the steps */
} golden_reference;

/* GKA_BAD_FILE where the file is no golden or its inputs do not hash to what it says. Freed by
 * gka_golden_reference_free, also after a failure. */
gka_status gka_golden_read(const gka_file *file, golden_reference *reference, gka_error *error);
void gka_golden_reference_free(golden_reference *reference);

/* What metadata 'golden' says. */
extern const char *const gka_golden_version;

/* In hex. */
void gka_golden_digest_text(const unsigned char digest[32], char text[65]);

/* SHA-256 of the inputs (gka/golden.h, section 1), in hex. Where they are `inputs` (may be NULL)
 * their pages are let go of. */
void gka_golden_hash_inputs(const gka_tensor *tensors, size_t count, const golden_inputs *inputs,
                            char text[65]);

/* SHA-256 of everything in a golden in the making, whose pairs do not have sha256 yet, in hex. */
void gka_golden_hash_all(const gka_text_pair *pairs, size_t pair_count, const gka_tensor *tensors,
                         size_t count, char text[65]);

/* SHA-256 of everything in a golden but metadata sha256 (gka/golden.h, section 1), in hex. */
void gka_golden_hash(const gka_file *file, char text[65]);

#endif
