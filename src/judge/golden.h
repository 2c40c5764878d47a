/* golden.h - what generating, judging and auditing goldens share inside the room.
 *
 *   golden_output    the table of output tensors
 *   golden_values    one array for each output, in doubles
 *   golden_steps     the r-step iteration in exact64, or another profile's outputs
 *   golden_local     the exact formulas of each later stage at given upstream tensors
 *   golden_errors    what a set of outputs is worth, tensor by tensor
 */
#ifndef GKA_JUDGE_GOLDEN_H
#define GKA_JUDGE_GOLDEN_H

#include "gka/chunk.h"
#include "gka/judge.h"
#include "gka/oracle.h"

enum { GOLDEN_OUTPUTS = 15 };

typedef enum golden_part { GOLDEN_FORWARD, GOLDEN_STATES, GOLDEN_SOLVE, GOLDEN_LAYER } golden_part;

/* The upstream tensors that a local judgement reads. */
typedef enum golden_output_id {
    GOLDEN_X,
    GOLDEN_FRO,
    GOLDEN_O,
    GOLDEN_H_CHUNK,
    GOLDEN_H_FINAL,
    GOLDEN_U_FINAL,
    GOLDEN_SOLVE_DQ,
    GOLDEN_SOLVE_DK,
    GOLDEN_SOLVE_DG,
    GOLDEN_SOLVE_DH0,
    GOLDEN_LAYER_DQ,
    GOLDEN_LAYER_DK,
    GOLDEN_LAYER_DV,
    GOLDEN_LAYER_DALPHA,
    GOLDEN_LAYER_DG
} golden_output_id;

typedef struct golden_output {
    const char *name;
    golden_part part;
    const char *shape;   /* in the problem's letters, C = chunks */
    int row_rank;        /* trailing axes that make a row */
    size_t exact, chunk; /* the member in gka_exact and in gka_chunk */
    bool wide;           /* stored in F32 whatever the input dtype */
    unsigned upstream;   /* bit i: output i, read by its local judgement; 0: judged as it is */
} golden_output;

extern const golden_output golden_outputs[GOLDEN_OUTPUTS];

/* -1: none */
int golden_find(const char *name);
/* Whether the problem has what the output needs (v, dx, do, h0). */
bool golden_possible(const gka_problem *problem, int output);
int golden_shape(const gka_problem *problem, int output, int64_t shape[GKA_MAX_RANK]);
int64_t golden_count(const gka_problem *problem, int output);
/* The type in which kernels store it. */
gka_dtype golden_dtype(const gka_problem *problem, int output);

/* of[i]: owned, or NULL. */
typedef struct golden_values {
    double *of[GOLDEN_OUTPUTS];
} golden_values;

gka_status golden_allocate(const gka_problem *problem, unsigned wanted, golden_values *values,
                           gka_error *error);
void golden_free(golden_values *values);

/* Fills `wanted` (bits) as the profile computes them; an array that is there already is reused. */
gka_status golden_steps(const gka_problem *problem, const gka_profile *profile, unsigned wanted,
                        golden_values *values, gka_error *error);

/* For every output of `wanted` that has upstream tensors, all of them among those given: its value
 * by the exact formulas (exact64) at the given tensors. The others stay NULL. */
gka_status golden_local(const gka_problem *problem, unsigned wanted, const golden_values *given,
                        golden_values *local, gka_error *error);

/* Rounds to the stored type, in place. */
void golden_store(const gka_problem *problem, unsigned wanted, golden_values *values);

/* The error that judges output i: of the candidate against `steps`, or against its local value
 * where there is one that is nearer. NaN where there is none. */
gka_status golden_errors(const gka_problem *problem, unsigned wanted,
                         const golden_values *candidate, const golden_values *steps,
                         double errors[GOLDEN_OUTPUTS], gka_error *error);

/* ||out - ref|| / ||ref|| of n doubles, as gka_compare has it. */
double golden_distance(int64_t n, const double *out, const double *ref);

/* SHA-256 of the inputs (gka/judge.h, section 3), in hex. */
void golden_hash_inputs(const gka_tensor *tensors, size_t count, char text[65]);

#endif
