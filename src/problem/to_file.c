/* to_file.c - a problem as the tensors and the metadata of a safetensors file. */
#include "gka/problem.h"

#include "io/bytes.h"
#include "problem/tensors.h"
#include "problem/view.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static void add(const char *name, const gka_view *view, gka_tensor *tensors, size_t *count) {
    if (view->data == NULL)
        return;
    gka_tensor *const tensor = &tensors[(*count)++];
    *tensor = (gka_tensor){.name = name, .dtype = view->dtype, .rank = view->rank};
    memcpy(tensor->shape, view->shape, sizeof view->shape);
    tensor->data = view->data;
}

size_t gka_problem_tensors(const gka_problem *problem, gka_tensor *tensors) {
    size_t count = 0;
    for (int i = 0; i < PROBLEM_VIEWS; i++)
        add(gka_problem_views[i].name, gka_problem_view_const(problem, i), tensors, &count);
    if (problem->cu_seqlens != NULL)
        tensors[count++] =
            (gka_tensor){"cu_seqlens", GKA_I64, 1, {problem->N + 1}, problem->cu_seqlens};
    return count;
}

/* ---- parameters ---------------------------------------------------------------------------- */

enum { NUMBER = 40, PARAMETERS = 6 };

/* The shortest of 15, 16 or 17 digits that is read back as the same double; by Jansson, whose
 * numbers do not depend on the locale. */
static bool print_double(double x, char text[NUMBER]) {
    for (size_t digits = 15; digits <= 17; digits++) {
        json_t *const number = json_real(x);
        const size_t length =
            json_dumpb(number, text, NUMBER - 1, JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
        json_decref(number);
        text[length < NUMBER ? length : 0] = '\0';
        json_t *const back = json_loads(text, JSON_DECODE_ANY, NULL);
        if (back == NULL)
            return false;
        const double y = json_number_value(back);
        json_decref(back);
        if (memcmp(&x, &y, sizeof x) == 0)
            break;
    }
    return true;
}

/* cu_seqlens as the file has it, whatever the host's byte order. */
static unsigned char *bounds_as_bytes(const gka_problem *problem) {
    unsigned char *const bytes = gka_alloc((size_t)problem->N + 1, sizeof(int64_t));
    for (int64_t i = 0; bytes != NULL && i <= problem->N; i++)
        gka_store_le(bytes + 8 * i, 8, (uint64_t)problem->cu_seqlens[i]);
    return bytes;
}

gka_status gka_problem_write(const gka_problem *problem, const gka_text_pair *more,
                             size_t more_count, const char *path, gka_error *error) {
    gka_tensor tensors[GKA_PROBLEM_TENSORS];
    const size_t count = gka_problem_tensors(problem, tensors);
    for (int i = 0; i < PROBLEM_VIEWS; i++) {
        const gka_view *const view = gka_problem_view_const(problem, i);
        if (view->data != NULL && !gka_view_contiguous(view))
            return gka_fail(error, GKA_BAD_ARGUMENT,
                            "%s: a tensor of the problem is not contiguous", path);
    }

    char ridge_ratio[NUMBER], lambda[NUMBER], num_iter[NUMBER], chunk_size[NUMBER], scale[NUMBER];
    gka_text_pair *const pairs = gka_alloc(more_count + PARAMETERS, sizeof *pairs);
    unsigned char *const bounds =
        problem->cu_seqlens != NULL ? bounds_as_bytes(problem) : gka_alloc(0, 1);
    gka_status status;
    if (pairs == NULL || bounds == NULL || !print_double(problem->ridge_ratio, ridge_ratio) ||
        !print_double(problem->lambda, lambda) || !print_double(problem->scale, scale)) {
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory writing it", path);
    } else {
        (void)snprintf(num_iter, sizeof num_iter, "%d", problem->num_iter);
        (void)snprintf(chunk_size, sizeof chunk_size, "%lld", (long long)problem->chunk_size);
        pairs[0] = (gka_text_pair){"ridge_ratio", ridge_ratio};
        pairs[1] = (gka_text_pair){"num_iter", num_iter};
        pairs[2] = (gka_text_pair){"chunk_size", chunk_size};
        pairs[3] = (gka_text_pair){"scale", scale};
        size_t parameters = 4;
        if (problem->lambda > 0)
            pairs[parameters++] = (gka_text_pair){"lambda", lambda};
        if (problem->normalise != GKA_NORMALISE_NONE)
            pairs[parameters++] =
                (gka_text_pair){"normalise", gka_normalise_name(problem->normalise)};
        if (more_count > 0)
            memcpy(pairs + parameters, more, more_count * sizeof *more);
        if (problem->cu_seqlens != NULL)
            tensors[count - 1].data = bounds;
        status = gka_file_write(path, tensors, count, pairs, more_count + parameters, error);
    }
    gka_free(bounds);
    gka_free(pairs);
    return status;
}
