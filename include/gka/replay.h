/* gka/replay.h - the kernels of src/cuda computed on a CPU, bit for bit: what gka/cuda.h's calls
 * write on any NVIDIA GPU. No GPU is needed. Kernel `cuda` of gka/kernel.h is this.
 *
 *   1  gka_replay_check       what these kernels run
 *   2  gka_replay_forward     x fro o and the states
 *   3  gka_replay_backward    gradients
 *   4  gka_replay_decode      one token
 */
#ifndef GKA_REPLAY_H
#define GKA_REPLAY_H

#include "gka/chunk.h"
#include "gka/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1 problems ---------------------------------------------------------------------------- */

/* BF16 or F16 inputs, D in {64, 128}, V in {64, 128, 256} (or no v), chunk_size 64; forms
 * three-term and two-term, accurate two-term alone. GKA_UNSUPPORTED with a line.
 *
 * accurate: what the solve's result meets again is kept in two bf16 parts or in binary32, for a few
 * per cent more multiply-adds: x, p, q' and the weighted rows of N and E in two parts, the states
 * U, N and E likewise, dx and what is left of dq in binary32. The iteration is the same. */
GKA_API gka_status gka_replay_check(const gka_problem *problem, gka_form form, bool accurate,
                                    gka_error *error);

/* ---- 2 forward ----------------------------------------------------------------------------- */

/* Fills x fro o h_chunk h_final u_final. */
GKA_API gka_status gka_replay_forward(const gka_problem *problem, gka_form form, bool accurate,
                                      gka_outputs *out, gka_error *error);

/* ---- 3 backward ---------------------------------------------------------------------------- */

/* Fills p dq dk dv dalpha dg dh0 of out->gradient[of]. x and fro are the forward's. */
GKA_API gka_status gka_replay_backward(const gka_problem *problem, gka_form form, bool accurate,
                                       gka_of of, const double *x, const double *fro,
                                       gka_outputs *out, gka_error *error);

/* ---- 4 decode ------------------------------------------------------------------------------ */

/* One token in binary32 (T = 1): x fro o h_final u_final. Where h0 or u0 has the type of q, as with
 * gka_cuda_layer.half_states, h_final and u_final are rounded to it. */
GKA_API gka_status gka_replay_decode_check(const gka_problem *problem, gka_error *error);
GKA_API gka_status gka_replay_decode(const gka_problem *problem, gka_outputs *out,
                                     gka_error *error);

#ifdef __cplusplus
}
#endif
#endif
