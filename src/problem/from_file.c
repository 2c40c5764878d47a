/* from_file.c - a problem from the tensors and the metadata of a safetensors file. */
#include "gka/problem.h"

#include "io/bytes.h"
#include "problem/check.h"
#include "problem/tensors.h"
#include "problem/view.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct context {
    const gka_file *file;
    const char *path;
    gka_error *error;
    const gka_selection *selection; /* NULL: the tensors as they are called and shaped */
} context;

/* ---- parameters ---------------------------------------------------------------------------- */

/* A metadata string as a number. Numbers are written as in JSON, and read so: correctly rounded,
 * whatever the locale, and nothing else (no nan, no 0x, no trailing text). */
static gka_status read_number(const context *c, const char *key, const char *text, bool integer,
                              json_t **number) {
    json_error_t why;
    memset(&why, 0, sizeof why);
    *number = json_loads(text, JSON_DECODE_ANY, &why);
    if (*number == NULL && why.text[0] == '\0')
        return gka_fail(c->error, GKA_OUT_OF_MEMORY, "%s: out of memory reading '%s'", c->path,
                        key);
    if (integer ? json_is_integer(*number) : json_is_number(*number))
        return GKA_OK;
    json_decref(*number);
    return gka_fail(c->error, GKA_BAD_FILE, "%s: metadata '%s' is '%.64s'; %s was expected",
                    c->path, key, text, integer ? "an integer" : "a finite number");
}

static gka_status read_real(const context *c, const char *key, double otherwise, double *value,
                            bool *missing) {
    const char *const text = gka_file_metadata(c->file, key);
    *value = otherwise;
    *missing = text == NULL;
    if (text == NULL)
        return GKA_OK;
    json_t *number;
    const gka_status status = read_number(c, key, text, false, &number);
    if (status == GKA_OK) {
        *value = json_number_value(number);
        json_decref(number);
    }
    return status;
}

static gka_status read_integer(const context *c, const char *key, int64_t otherwise, int64_t most,
                               int64_t *value, bool *missing) {
    const char *const text = gka_file_metadata(c->file, key);
    *value = otherwise;
    *missing = text == NULL;
    if (text == NULL)
        return GKA_OK;
    json_t *number;
    gka_status status = read_number(c, key, text, true, &number);
    if (status == GKA_OK) {
        *value = (int64_t)json_integer_value(number);
        json_decref(number);
        if (*value < 1 || *value > most)
            status = gka_fail(c->error, GKA_BAD_FILE,
                              "%s: metadata '%s' is %lld; an integer from 1 to %lld was expected",
                              c->path, key, (long long)*value, (long long)most);
    }
    return status;
}

static gka_status read_normalise(const context *c, gka_problem *problem) {
    const char *const text = gka_file_metadata(c->file, "normalise");
    const int normalise = text == NULL ? GKA_NORMALISE_NONE : gka_normalise_find(text);
    if (normalise < 0)
        return gka_fail(c->error, GKA_BAD_FILE,
                        "%s: metadata 'normalise' is '%.64s'; none, unit or rounded was expected",
                        c->path, text);
    problem->normalise = (gka_normalise)normalise;
    return GKA_OK;
}

static gka_status read_parameters(const context *c, gka_problem *problem, gka_defaults *defaults) {
    const double scale = problem->D > 0 ? 1 / sqrt((double)problem->D) : 1;
    gka_status status =
        read_real(c, "ridge_ratio", 0.02, &problem->ridge_ratio, &defaults->ridge_ratio);
    bool no_lambda;
    if (status == GKA_OK)
        status = read_real(c, "lambda", 0, &problem->lambda, &no_lambda);
    if (status == GKA_OK)
        status = read_real(c, "scale", scale, &problem->scale, &defaults->scale);
    int64_t num_iter = 0;
    if (status == GKA_OK)
        status =
            read_integer(c, "num_iter", 30, GKA_MAX_ITERATIONS, &num_iter, &defaults->num_iter);
    problem->num_iter = (int)num_iter;
    if (status == GKA_OK)
        status = read_integer(c, "chunk_size", 64, INT64_MAX, &problem->chunk_size,
                              &defaults->chunk_size);
    return status == GKA_OK ? read_normalise(c, problem) : status;
}

/* ---- tensors ------------------------------------------------------------------------------- */

enum { NAME = 256 };

/* What the tensor `name` is called here; NULL: there is none. */
static const char *called(const context *c, const char *name, char text[NAME]) {
    const gka_selection *const s = c->selection;
    if (s == NULL)
        return name;
    if (s->keys != NULL)
        return strcmp(name, "q") == 0 || strcmp(name, "k") == 0 ? s->keys : NULL;
    const char *const prefix = s->prefix == NULL ? "" : s->prefix;
    const int length = snprintf(text, NAME, "%s%s", prefix, name);
    return length > 0 && length < NAME ? text : NULL;
}

static void prepend_axis(gka_view *view) {
    for (int i = 4; i > 0; i--) {
        view->shape[i] = view->shape[i - 1];
        view->stride[i] = view->stride[i - 1];
    }
    view->shape[0] = 1;
    view->stride[0] = 0;
    view->rank++;
}

static void swap_axes(gka_view *view, int i, int j) {
    const int64_t shape = view->shape[i], stride = view->stride[i];
    view->shape[i] = view->shape[j];
    view->stride[i] = view->stride[j];
    view->shape[j] = shape;
    view->stride[j] = stride;
}

/* Leading axes that are missing, for a tensor of the problem's rank: 4, or 3 without a last axis.
 * What lacks one has no B, what lacks two no H either. */
static void lift(int rank, bool heads_first, gka_view *view) {
    const int missing = rank - view->rank;
    if (missing < 0 || missing > 2)
        return;
    for (int i = 0; i < missing; i++)
        prepend_axis(view);
    if (missing == 2 || heads_first) /* [1,1,T,..], or [B,H,T,..] */
        swap_axes(view, 1, 2);
}

static gka_status find(const context *c, const problem_tensor *of, gka_view *view) {
    char text[NAME];
    const char *const name = called(c, of->name, text);
    const gka_tensor *const tensor = name == NULL ? NULL : gka_file_find(c->file, name);
    if (tensor == NULL)
        return gka_file_readable(c->file, name, c->error);
    if (tensor->rank > 4)
        return gka_fail(c->error, GKA_BAD_FILE, "%s: tensor '%s': rank %d; at most 4 was expected",
                        c->path, name, tensor->rank);
    *view = gka_view_of(tensor);
    if (c->selection != NULL && of->letters[0] == 'B')
        lift((int)strlen(of->letters), c->selection->heads_first, view);
    return GKA_OK;
}

static gka_status need(const context *c, const char *name, const gka_view *view) {
    if (view->data == NULL)
        return gka_fail(c->error, GKA_BAD_FILE, "%s: tensor '%s' is missing", c->path, name);
    if (view->rank != 4)
        return gka_fail(
            c->error, GKA_BAD_FILE, "%s: tensor '%s': rank %d; 4 was expected%s", c->path, name,
            view->rank,
            c->selection == NULL && view->rank > 1 ? " (gka problem --layout makes it so)" : "");
    return GKA_OK;
}

static gka_status read_views(const context *c, gka_problem *problem) {
    for (int i = 0; i < PROBLEM_VIEWS; i++) {
        char text[NAME];
        const char *const name = called(c, gka_problem_views[i].name, text);
        gka_view *const view = gka_problem_view(problem, i);
        gka_status status = find(c, &gka_problem_views[i], view);
        if (status == GKA_OK && (i < 2 || (i == 2 && view->data != NULL)))
            status = need(c, name == NULL ? gka_problem_views[i].name : name, view);
        if (status != GKA_OK)
            return status;
    }
    problem->B = problem->N = problem->q.shape[0];
    problem->T = problem->q.shape[1];
    problem->H = problem->q.shape[2];
    problem->D = problem->q.shape[3];
    problem->G = problem->k.shape[2];
    problem->V = problem->v.data == NULL ? 0 : problem->v.shape[3];
    return GKA_OK;
}

static int64_t bound(const gka_tensor *tensor, int64_t i) {
    const size_t size = gka_dtype_size(tensor->dtype);
    const uint64_t bits = gka_load_le((const unsigned char *)tensor->data + (size_t)i * size, size);
    return size == 8 ? (int64_t)bits : (int64_t)(int32_t)(uint32_t)bits;
}

static gka_status read_bounds(const context *c, gka_problem *problem) {
    char text[NAME];
    const char *const name = called(c, "cu_seqlens", text);
    const gka_tensor *const tensor = name == NULL ? NULL : gka_file_find(c->file, name);
    if (tensor == NULL)
        return gka_file_readable(c->file, "cu_seqlens", c->error);
    if ((tensor->dtype != GKA_I32 && tensor->dtype != GKA_I64) || tensor->rank != 1 ||
        tensor->shape[0] < 2)
        return gka_fail(c->error, GKA_BAD_FILE,
                        "%s: tensor 'cu_seqlens': I32 or I64 [N+1], N >= 1, was expected", c->path);
    int64_t *const bounds = gka_alloc((size_t)tensor->shape[0], sizeof *bounds);
    if (bounds == NULL)
        return gka_fail(c->error, GKA_OUT_OF_MEMORY, "%s: out of memory reading 'cu_seqlens'",
                        c->path);
    for (int64_t i = 0; i < tensor->shape[0]; i++)
        bounds[i] = bound(tensor, i);
    problem->owned = bounds;
    problem->cu_seqlens = bounds;
    problem->N = tensor->shape[0] - 1;
    return GKA_OK;
}

gka_status gka_problem_from_file(const gka_file *file, gka_problem *problem, gka_defaults *defaults,
                                 gka_error *error) {
    return gka_problem_select(file, NULL, problem, defaults, error);
}

gka_status gka_problem_select(const gka_file *file, const gka_selection *selection,
                              gka_problem *problem, gka_defaults *defaults, gka_error *error) {
    const context c = {file, gka_file_path(file), error, selection};
    gka_defaults ignored;
    memset(problem, 0, sizeof *problem);
    gka_status status = read_views(&c, problem);
    if (status == GKA_OK)
        status = read_parameters(&c, problem, defaults != NULL ? defaults : &ignored);
    if (status == GKA_OK)
        status = read_bounds(&c, problem);
    if (status == GKA_OK)
        status = gka_problem_check_file(problem, c.path, file, error);
    gka_file_forget(file);
    if (status != GKA_OK)
        gka_problem_free(problem);
    return status;
}
