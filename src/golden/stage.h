/* stage.h - one stage by itself: what it is handed, and what it should make of that. */
#ifndef GKA_GOLDEN_STAGE_H
#define GKA_GOLDEN_STAGE_H

#include "golden/golden.h"

/* The tensors that may be handed to a stage. */
typedef enum golden_given_id {
    GIVEN_X,
    GIVEN_FRO,
    GIVEN_H_CHUNK,
    GIVEN_SOLVE_P,
    GIVEN_LAYER_P,
    GIVEN_TENSORS
} golden_given_id;

typedef struct golden_given_tensor {
    const char *name; /* in a golden */
    int output;       /* whose shape and type it has */
    unsigned bit;     /* of gka_given */
} golden_given_tensor;

extern const golden_given_tensor gka_golden_given_tensors[GIVEN_TENSORS];

/* of[i]: owned, or NULL: not given. */
typedef struct golden_given {
    double *of[GIVEN_TENSORS];
    gka_dtype dtype[GIVEN_TENSORS];
} golden_given;

/* What a stage makes (bits of outputs). */
unsigned gka_golden_stage_outputs(gka_golden_stage stage);
/* GKA_BAD_ARGUMENT where the stage cannot be handed that, or the problem not be that of a stage. */
gka_status gka_golden_stage_check(gka_golden_stage stage, unsigned given,
                                  const gka_problem *problem, gka_error *error);

/* The outputs that hold what is given for `wanted`: x, fro, h_chunk, solve.dq, layer.dq. */
unsigned gka_golden_given_outputs(unsigned given, unsigned wanted);

/* Those given for `wanted`, from outputs; p of the layer follows from layer.dq. round: to the types
 * in which kernels keep them. */
gka_status gka_golden_given_take(const gka_problem *problem, unsigned given, unsigned wanted,
                                 const gka_outputs *values, bool round, golden_given *out,
                                 gka_error *error);
/* The same from a file's tensors x, fro, h_chunk, solve.dq, layer.dq or layer.p. */
gka_status gka_golden_given_read(const gka_problem *problem, unsigned given, unsigned wanted,
                                 const gka_file *file, bool heads_first, golden_given *out,
                                 gka_error *error);
void gka_golden_given_free(golden_given *given);

/* The outputs that follow from what is given alone: o layer.dv layer.dalpha from x, dk dg dh0 from
 * x and p. */
unsigned gka_golden_given_decides(unsigned given);

/* The exact formulas at what is given, by the certified oracle, for those of `wanted` that are x,
 * fro, o or gradients. lo may be NULL; reports: of the cotangents of x and of o; NULL: for a
 * judgement, where no last bit counts. */
gka_status gka_golden_exact_at(const gka_problem *problem, unsigned wanted,
                               const golden_given *given, const gka_progress *progress,
                               gka_outputs *values, gka_outputs *lo, gka_oracle_report reports[2],
                               gka_error *error);

/* x and solve.dq (of `wanted`) by num_iter steps in binary64 from given f and h_chunk; fro is what
 * is given, or ||H_t||_F. */
gka_status gka_golden_steps_at(const gka_problem *problem, unsigned wanted,
                               const golden_given *given, gka_outputs *values, gka_error *error);

#endif
