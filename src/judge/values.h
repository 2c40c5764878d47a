/* values.h - outputs in doubles, and the kernels that give them where nothing is rounded.
 *
 *   gka_golden_allocate     one array for each output
 *   gka_golden_run          a kernel's outputs (gka/kernel.h)
 *   gka_golden_steps        the r-step iteration in exact64, or another profile's outputs
 *   gka_golden_local        the exact formulas of each later stage at given upstream tensors
 *   gka_golden_load         a tensor of a file
 */
#ifndef GKA_JUDGE_VALUES_H
#define GKA_JUDGE_VALUES_H

#include "gka/chunk.h"
#include "gka/io.h"
#include "gka/kernel.h"
#include "judge/outputs.h"

/* Whether the problem has what the output needs (v, dx, do, h0; alpha and g for their gradients).
 */
bool gka_golden_possible(const gka_problem *problem, int output);

/* Arrays of all of `wanted` that are not there yet; to be freed by gka_golden_free. */
gka_status gka_golden_allocate(const gka_problem *problem, unsigned wanted, gka_outputs *values,
                               gka_error *error);
void gka_golden_free(gka_outputs *values);

/* Fills those of `wanted` (bits) that the kernel has; an array that is there already is reused. */
gka_status gka_golden_run(const gka_problem *problem, const gka_kernel *kernel, unsigned wanted,
                          gka_outputs *values, gka_error *error);
/* The same by chunks as the profile computes them. */
gka_status gka_golden_steps(const gka_problem *problem, const gka_profile *profile, unsigned wanted,
                            gka_outputs *values, gka_error *error);

/* For every output of `wanted` that has upstream tensors, all of them among those given: its value
 * by the exact formulas (exact64) at the given tensors. The others stay NULL. */
gka_status gka_golden_local(const gka_problem *problem, unsigned wanted, const gka_outputs *given,
                            gka_outputs *local, gka_error *error);

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
gka_status gka_golden_local_of(const golden_piece *piece, unsigned wanted, const gka_outputs *given,
                               gka_outputs *local, gka_error *error);

/* Rounds to the stored type, in place. */
void gka_golden_store(const gka_problem *problem, unsigned wanted, gka_outputs *values);

/* A tensor that has the output's shape as doubles, in the golden's layout; *values is the caller's
 * to free. */
gka_status gka_golden_load(const gka_problem *problem, const gka_file *file,
                           const gka_tensor *tensor, int output, bool heads_first, double **values,
                           gka_error *error);

#endif
