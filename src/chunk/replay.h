/* replay.h - the kernels of src/cuda on a CPU, bit for bit (profile "gka-cuda"). */
#ifndef GKA_CHUNK_REPLAY_H
#define GKA_CHUNK_REPLAY_H

#include "gka/chunk.h"

/* Forward: x fro o h_chunk h_final u_final. Problem: bf16 inputs, V = D in {64, 128}, chunk_size
 * 64, no packed sequences, finite gates. */
gka_status gka_replay_forward(const gka_problem *problem, gka_form form, gka_outputs *out,
                              gka_error *error);

/* Backward from the cotangent of o or of x: p dq dk dv dalpha dg dh0. x and fro are the
 * forward's. */
gka_status gka_replay_backward(const gka_problem *problem, gka_form form, gka_of of,
                               const double *x, const double *fro, gka_outputs *out,
                               gka_error *error);

/* One token in binary32 (T = 1): x fro o h_final u_final. */
gka_status gka_replay_decode(const gka_problem *problem, gka_outputs *out, gka_error *error);

#endif
