/* golden.h - what generating, judging and auditing goldens share inside the room.
 *
 *   golden_values    one array for each output, in doubles
 *   gka_golden_steps     the r-step iteration in exact64, or another profile's outputs
 *   gka_golden_by_tokens the recurrence over tokens in an emulated arithmetic
 *   gka_golden_local     the exact formulas of each later stage at given upstream tensors
 *   gka_golden_errors    what a set of outputs is worth, tensor by tensor
 *   gka_golden_read      a golden's problem, references and tolerances
 */
#ifndef GKA_JUDGE_GOLDEN_H
#define GKA_JUDGE_GOLDEN_H

#include "gka/golden.h"
#include "gka/layer.h"
#include "judge/golden_inputs.h"
#include "judge/outputs.h"

/* Whether the problem has what the output needs (v, dx, do, h0; alpha and g for their gradients).
 */
bool gka_golden_possible(const gka_problem *problem, int output);

/* of[i]: owned, or NULL. */
typedef struct golden_values {
    double *of[JUDGE_OUTPUTS];
} golden_values;

gka_status gka_golden_allocate(const gka_problem *problem, unsigned wanted, golden_values *values,
                               gka_error *error);
void gka_golden_free(golden_values *values);

/* Fills `wanted` (bits) as the profile computes them; an array that is there already is reused. */
gka_status gka_golden_steps(const gka_problem *problem, const gka_profile *profile, unsigned wanted,
                            golden_values *values, gka_error *error);

/* The same by the recurrence over tokens in the arithmetic `policy` (gka_policy_find): no chunks,
 * so no h_chunk. */
gka_layer_options gka_golden_by_tokens_options(const gka_problem *problem, const char *policy);
gka_status gka_golden_by_tokens(const gka_problem *problem, const char *policy, unsigned wanted,
                                golden_values *values, gka_error *error);

/* For every output of `wanted` that has upstream tensors, all of them among those given: its value
 * by the exact formulas (exact64) at the given tensors. The others stay NULL. */
gka_status gka_golden_local(const gka_problem *problem, unsigned wanted, const golden_values *given,
                            golden_values *local, gka_error *error);

/* p = layer.dq - (1 - alpha) s U do [B,T,H,D] */
gka_status gka_golden_layer_p(const gka_problem *problem, const double *layer_dq, double *p,
                              gka_error *error);

/* U after the last token by the recurrence over tokens that gives local values of o, and p. */
gka_status gka_golden_values_after(const gka_problem *problem, double *u, gka_error *error);

/* A piece of one sequence: the same tokens from the states that the exact64 chunks have before
 * them, and from the U that the recurrence over tokens has; what the tokens on their right send
 * back, read and written. */
typedef struct golden_piece {
    const gka_problem *problem, *by_tokens;
    gka_chunk_carry solve, layer;
} golden_piece;

/* gka_golden_local of the piece: the bits that it has in the whole. */
gka_status gka_golden_local_of(const golden_piece *piece, unsigned wanted,
                               const golden_values *given, golden_values *local, gka_error *error);

/* Rounds to the stored type, in place. */
void gka_golden_store(const gka_problem *problem, unsigned wanted, golden_values *values);

/* rel_err over the tensor, and the row error of gka/golden.h. */
typedef struct golden_error {
    double rel, row;
} golden_error;

/* The error that judges output i: of the candidate against `steps`, or against its local value
 * where there is one that is nearer by rel. NaN where there is none. */
gka_status gka_golden_errors(const gka_problem *problem, unsigned wanted,
                             const golden_values *candidate, const golden_values *steps,
                             golden_error errors[JUDGE_OUTPUTS], gka_error *error);

/* The same of one output; local may be NULL. */
golden_error gka_golden_error_of(const gka_problem *problem, int output, const double *out,
                                 const double *steps, const double *local);

/* *row: the number of the first row that has it; may be NULL. */
double gka_golden_row_error(const gka_problem *problem, int output, const double *out,
                            const double *ref, int64_t *row);

/* What gka_golden_errors adds up (golden_error.c), for rows that are not in memory at once. */
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

/* What a golden says. */
typedef struct golden_reference {
    const gka_file *file; /* the problem's views point into it */
    gka_problem problem;
    bool stage;                            /* of one stage: judged as it stands, nothing is local */
    unsigned wanted;                       /* its outputs */
    golden_error tolerance[JUDGE_OUTPUTS]; /* NaN: none */
    golden_values steps, exact;
} golden_reference;

/* GKA_BAD_FILE where the file is no golden or its inputs do not hash to what it says. Freed by
 * gka_golden_reference_free, also after a failure. */
gka_status gka_golden_read(const gka_file *file, golden_reference *reference, gka_error *error);
void gka_golden_reference_free(golden_reference *reference);

/* A tensor that has the output's shape as doubles, in the golden's layout; *values is the caller's
 * to free. */
gka_status gka_golden_load(const gka_problem *problem, const gka_file *file,
                           const gka_tensor *tensor, int output, bool heads_first, double **values,
                           gka_error *error);

/* What metadata 'golden' says. */
extern const char *const gka_golden_version;

/* In hex. */
void gka_golden_digest_text(const unsigned char digest[32], char text[65]);

/* SHA-256 of the inputs (gka/golden.h, section 1), in hex. Where they are `inputs` (may be NULL)
 * their pages are let go of. */
void gka_golden_hash_inputs(const gka_tensor *tensors, size_t count, const golden_inputs *inputs,
                            char text[65]);

#endif
