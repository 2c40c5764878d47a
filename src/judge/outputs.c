/* outputs.c - the table of output tensors, and their shapes. */
#include "judge/outputs.h"

#include "gka/format.h"

#include <string.h>

#define BOTH(member) offsetof(gka_exact, member), offsetof(gka_chunk, member)

/* A local judgement of a gradient reads x, f and p; solve.dq is p, layer.dq gives it. */
const judge_output gka_judge_outputs[JUDGE_OUTPUTS] = {
    {"x", JUDGE_FORWARD, "BTHD", 1, BOTH(x), false, 0},
    {"fro", JUDGE_FORWARD, "BTH", 0, BOTH(fro), true, 0},
    {"h_chunk", JUDGE_STATES, "BCHDD", 2, BOTH(h_chunk), false, 0},
    {"h_final", JUDGE_STATES, "NHDD", 2, BOTH(h_final), true, 0},
    {"u_final", JUDGE_STATES, "NHDV", 2, BOTH(u_final), true, 0},
    {"o", JUDGE_FORWARD, "BTHV", 1, BOTH(o), false, BIT(X)},
    {"solve.dq", JUDGE_SOLVE, "BTHD", 1, BOTH(dq), false, 0},
    {"solve.dk", JUDGE_SOLVE, "BTGD", 1, BOTH(dk), false, BIT(X) | BIT(FRO) | BIT(SOLVE_DQ)},
    {"solve.dg", JUDGE_SOLVE, "BTH", 0, BOTH(dg), true, BIT(X) | BIT(FRO) | BIT(SOLVE_DQ)},
    {"solve.dh0", JUDGE_SOLVE, "NHDD", 2, BOTH(dh0), true, BIT(X) | BIT(FRO) | BIT(SOLVE_DQ)},
    {"layer.dq", JUDGE_LAYER, "BTHD", 1, BOTH(dq), false, 0},
    {"layer.dk", JUDGE_LAYER, "BTGD", 1, BOTH(dk), false, BIT(X) | BIT(FRO) | BIT(LAYER_DQ)},
    {"layer.dv", JUDGE_LAYER, "BTGV", 1, BOTH(dv), false, BIT(X)},
    {"layer.dalpha", JUDGE_LAYER, "BTH", 0, BOTH(dalpha), false, BIT(X)},
    {"layer.dg", JUDGE_LAYER, "BTH", 0, BOTH(dg), true, BIT(X) | BIT(FRO) | BIT(LAYER_DQ)},
};

const char *const gka_verify_names[] = {
    "x",        "fro",          "h_chunk",  "h_final",   "u_final",  "o",
    "solve.dq", "solve.dk",     "solve.dg", "solve.dh0", "layer.dq", "layer.dk",
    "layer.dv", "layer.dalpha", "layer.dg", NULL};

int gka_judge_find(const char *name) {
    for (int i = 0; i < JUDGE_OUTPUTS; i++)
        if (strcmp(gka_judge_outputs[i].name, name) == 0)
            return i;
    return -1;
}

double **gka_judge_exact(gka_exact *exact, int output) {
    return (double **)(void *)((char *)exact + gka_judge_outputs[output].exact);
}

double **gka_judge_chunk(gka_chunk *chunk, int output) {
    return (double **)(void *)((char *)chunk + gka_judge_outputs[output].chunk);
}

const char *gka_judge_missing(const gka_problem *problem, int output) {
    const judge_output *const o = &gka_judge_outputs[output];
    const bool needs_v = o->part == JUDGE_LAYER || strchr(o->shape, 'V') != NULL;
    if (needs_v && problem->v.data == NULL)
        return "v";
    if (o->part == JUDGE_SOLVE && problem->dx.data == NULL)
        return "dx";
    if (o->part == JUDGE_LAYER && problem->dout.data == NULL)
        return "do";
    return NULL;
}

/* ---- shapes -------------------------------------------------------------------------------- */

static int64_t extent(const gka_problem *problem, char letter) {
    switch (letter) {
    case 'B': return problem->B;
    case 'T': return problem->T;
    case 'H': return problem->H;
    case 'G': return problem->G;
    case 'D': return problem->D;
    case 'V': return problem->V;
    case 'N': return problem->N;
    default: return gka_problem_chunks(problem);
    }
}

int gka_judge_shape(const gka_problem *problem, int output, int64_t shape[GKA_MAX_RANK]) {
    const char *const letters = gka_judge_outputs[output].shape;
    const int rank = (int)strlen(letters);
    for (int i = 0; i < rank; i++)
        shape[i] = extent(problem, letters[i]);
    return rank;
}

int64_t gka_judge_count(const gka_problem *problem, int output) {
    int64_t shape[GKA_MAX_RANK], count = 1;
    const int rank = gka_judge_shape(problem, output, shape);
    for (int i = 0; i < rank; i++)
        count *= shape[i];
    return count;
}

gka_dtype gka_judge_dtype(const gka_problem *problem, int output) {
    if (problem->q.dtype == GKA_F64)
        return GKA_F64;
    return gka_judge_outputs[output].wide ? GKA_F32 : problem->q.dtype;
}

bool gka_judge_has_tokens(int output) {
    return strncmp(gka_judge_outputs[output].shape, "BT", 2) == 0;
}

enum { SHAPE_TEXT = 200 };

/* "[1,192,1,128]" */
static void print_shape(char text[SHAPE_TEXT], int rank, const int64_t *shape) {
    int n = snprintf(text, SHAPE_TEXT, "[");
    for (int i = 0; i < rank; i++)
        n += snprintf(text + n, (size_t)(SHAPE_TEXT - n), "%s%lld", i == 0 ? "" : ",",
                      (long long)shape[i]);
    (void)snprintf(text + n, (size_t)(SHAPE_TEXT - n), "]");
}

/* "[B,T,H,D]" */
static void print_letters(char text[SHAPE_TEXT], const char *letters) {
    int n = snprintf(text, SHAPE_TEXT, "[");
    for (int i = 0; letters[i] != '\0'; i++)
        n += letters[i] == 'C' ? snprintf(text + n, (size_t)(SHAPE_TEXT - n), ",ceil(T/chunk_size)")
                               : snprintf(text + n, (size_t)(SHAPE_TEXT - n), "%s%c",
                                          i == 0 ? "" : ",", letters[i]);
    (void)snprintf(text + n, (size_t)(SHAPE_TEXT - n), "]");
}

static bool is_shape(const gka_tensor *tensor, int rank, const int64_t *shape) {
    bool same = tensor->rank == rank;
    for (int i = 0; i < rank; i++)
        same = same && tensor->shape[i] == shape[i];
    return same;
}

/* [B,T,H,..] <-> [B,H,T,..] */
static void turn(int64_t *shape, char *letters) {
    const int64_t second = shape[1];
    const char letter = letters[1];
    shape[1] = shape[2], shape[2] = second;
    letters[1] = letters[2], letters[2] = letter;
}

gka_status gka_judge_check_tensor(const gka_problem *problem, const gka_file *file,
                                  const gka_tensor *tensor, int output, bool heads_first,
                                  gka_error *error) {
    const char *const path = gka_file_path(file);
    if (gka_format_of_dtype(tensor->dtype) == NULL)
        return gka_fail(error, GKA_BAD_FILE,
                        "%s: tensor '%s': dtype %s; a floating-point type was expected", path,
                        tensor->name, gka_dtype_name(tensor->dtype));
    int64_t shape[GKA_MAX_RANK];
    const int rank = gka_judge_shape(problem, output, shape);
    char letters[8] = {0};
    memcpy(letters, gka_judge_outputs[output].shape, (size_t)rank);
    const bool tokens = gka_judge_has_tokens(output);
    if (heads_first && tokens)
        turn(shape, letters);
    if (is_shape(tensor, rank, shape))
        return GKA_OK;
    char is[SHAPE_TEXT], want[SHAPE_TEXT], axes[SHAPE_TEXT], other[SHAPE_TEXT];
    print_shape(is, tensor->rank, tensor->shape);
    print_shape(want, rank, shape);
    print_letters(axes, letters);
    if (tokens)
        turn(shape, letters);
    print_letters(other, letters);
    const bool fits = tokens && is_shape(tensor, rank, shape);
    return gka_fail(error, GKA_BAD_FILE, "%s: tensor '%s': shape %s; %s = %s was expected%s%s%s",
                    path, tensor->name, is, axes, want, fits ? " (layout " : "", fits ? other : "",
                    fits ? " would fit)" : "");
}
