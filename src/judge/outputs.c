/* outputs.c - whether a file's tensor is what the table of outputs says. */
#include "judge/outputs.h"

#include "gka/format.h"
#include "problem/view.h"

#include <math.h>
#include <string.h>

const char *const gka_verify_names[] = {
    "x",        "fro",          "h_chunk",  "h_final",   "u_final",  "o",
    "solve.dq", "solve.dk",     "solve.dg", "solve.dh0", "layer.dq", "layer.dk",
    "layer.dv", "layer.dalpha", "layer.dg", NULL};

int gka_judge_find(const char *name) {
    const int output = gka_output_find(name);
    return output >= 0 && gka_output_table[output].judged ? output : -1;
}

bool gka_judge_has_tokens(int output) {
    return strncmp(gka_output_table[output].shape, "BT", 2) == 0;
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
    if (!gka_dtype_is_float(tensor->dtype))
        return gka_fail(error, GKA_BAD_FILE,
                        "%s: tensor '%s': dtype %s; a floating-point type was expected", path,
                        tensor->name, gka_dtype_name(tensor->dtype));
    int64_t shape[GKA_MAX_RANK];
    const int rank = gka_output_shape(problem, output, shape);
    char letters[8] = {0};
    memcpy(letters, gka_output_table[output].shape, (size_t)rank);
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

int64_t gka_judge_differing(const gka_tensor *tensor, const double *values, int64_t *at) {
    const gka_format *const format = gka_format_of_dtype(tensor->dtype);
    const char *const data = tensor->data;
    int64_t different = 0;
    for (int64_t i = 0, n = gka_tensor_count(tensor); i < n; i++) {
        float value;
        gka_decode_array_f32(format, 1, data + (size_t)i * gka_dtype_size(tensor->dtype), &value);
        const float mine = (float)values[i];
        const bool same = isnan(value) ? isnan(mine) != 0 : memcmp(&value, &mine, sizeof mine) == 0;
        if (!same && different++ == 0)
            *at = i;
    }
    return different;
}
