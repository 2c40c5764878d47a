/* outputs.h - the table of output tensors: names, shapes, where the oracle and a replay put them,
 * and what a local judgement of each reads. The one place where the room lists them. */
#ifndef GKA_JUDGE_OUTPUTS_H
#define GKA_JUDGE_OUTPUTS_H

#include "gka/chunk.h"
#include "gka/judge.h"
#include "gka/oracle.h"

/* In the order of gka_verify_names. */
typedef enum judge_output_id {
    JUDGE_X,
    JUDGE_FRO,
    JUDGE_H_CHUNK,
    JUDGE_H_FINAL,
    JUDGE_U_FINAL,
    JUDGE_O,
    JUDGE_SOLVE_DQ,
    JUDGE_SOLVE_DK,
    JUDGE_SOLVE_DG,
    JUDGE_SOLVE_DH0,
    JUDGE_LAYER_DQ,
    JUDGE_LAYER_DK,
    JUDGE_LAYER_DV,
    JUDGE_LAYER_DALPHA,
    JUDGE_LAYER_DG,
    JUDGE_OUTPUTS
} judge_output_id;

/* A set of outputs is an unsigned: BIT(X) | BIT(FRO). */
#define BIT(id) (1u << JUDGE_##id)

/* One pass of the oracle computes the first two, one each of the others. */
typedef enum judge_part {
    JUDGE_FORWARD,
    JUDGE_STATES,
    JUDGE_SOLVE,
    JUDGE_LAYER,
    JUDGE_PARTS
} judge_part;

typedef struct judge_output {
    const char *name;
    judge_part part;
    const char *shape;   /* in the problem's letters, C = chunks */
    int row_rank;        /* trailing axes that make a row */
    size_t exact, chunk; /* the member in gka_exact and in gka_chunk */
    bool wide;           /* stored in F32 whatever the input dtype */
    unsigned upstream;   /* bit i: output i, read by its local judgement; 0: judged as it is */
} judge_output;

extern const judge_output gka_judge_outputs[JUDGE_OUTPUTS];

/* -1: none */
int gka_judge_find(const char *name);
/* The members of a result, by output. */
double **gka_judge_exact(gka_exact *exact, int output);
double **gka_judge_chunk(gka_chunk *chunk, int output);

/* The input tensor (v, dx or do) without which the output is not defined; NULL: all are there. */
const char *gka_judge_missing(const gka_problem *problem, int output);

int gka_judge_shape(const gka_problem *problem, int output, int64_t shape[GKA_MAX_RANK]);
int64_t gka_judge_count(const gka_problem *problem, int output);
/* The type in which kernels store it. */
gka_dtype gka_judge_dtype(const gka_problem *problem, int output);

/* GKA_BAD_FILE with file, tensor, shape and expected shape; heads_first: token tensors are
 * [B,H,T,..] there. Numbers of a floating-point type only. */
gka_status gka_judge_check_tensor(const gka_problem *problem, const gka_file *file,
                                  const gka_tensor *tensor, int output, bool heads_first,
                                  gka_error *error);
/* Whether an output's second and third axes are tokens and heads. */
bool gka_judge_has_tokens(int output);

#endif
