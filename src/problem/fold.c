/* fold.c - beta and normalise, multiplied into q, k, v: the layer that the problem stands for.
 *
 *   N(x) = x/|x|, |x|^2 summed in the order of the row, 0 where |x| = 0; `rounded`: each quotient
 *          rounded to nearest even in the type of its tensor
 *   q    = N(q)    k = (beta + 1e-6) N(k)    v = (beta + 1e-6) v
 *
 * in binary64, then rounded once to the type that is asked for. A row is divided by its largest
 * element first (a power of two of it, which is exact), so that no square overflows or vanishes.
 */
#include "gka/problem.h"

#include "io/tensor.h"
#include "problem/check.h"
#include "problem/copy.h"
#include "problem/tensors.h"
#include "problem/vector.h"
#include "problem/view.h"

#include <math.h>
#include <string.h>

static const double EPSILON = 1e-6;

/* ---- one row ------------------------------------------------------------------------------- */

/* x/|x|; a row of zeros stays. */
static void unit(int64_t n, double *x) {
    double largest = 0;
    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(x[i]));
    if (!(largest > 0))
        return;
    int exponent;
    (void)frexp(largest, &exponent);
    for (int64_t i = 0; i < n; i++)
        x[i] = ldexp(x[i], -exponent);
    const double size = sqrt(vector_dot(n, x, x));
    for (int64_t i = 0; i < n; i++)
        x[i] /= size;
}

static void normalise(gka_normalise how, gka_dtype dtype, int64_t n, double *x) {
    if (how != GKA_NORMALISE_NONE)
        unit(n, x);
    if (how == GKA_NORMALISE_ROUNDED)
        gka_round_array(gka_format_of_dtype(dtype), GKA_NEAREST_EVEN, 0, 0, (size_t)n, x, x);
}

/* ---- the tensors --------------------------------------------------------------------------- */

enum { Q, K, V }; /* their places in gka_problem_views */

/* Whether kernels have the tensor in the type of q. */
static bool narrow(int i) {
    static const char *const names_of[] = {"alpha", "beta", "do", "dx"};
    bool is = false;
    for (int n = 0; n < 4; n++)
        is = is || strcmp(gka_problem_views[i].name, names_of[n]) == 0;
    return is;
}

/* What is made: views of the new problem, contiguous, in one block; q, k, v are filled by rows, all
 * else is copied. */
static gka_status allocate(const gka_problem *from, gka_dtype dtype, bool all, gka_problem *to,
                           gka_error *error) {
    size_t bytes[PROBLEM_VIEWS] = {0};
    const size_t bounds = from->cu_seqlens != NULL ? ((size_t)from->N + 1) * sizeof(int64_t) : 0;
    size_t total = bounds / 64 * 64 + 64;
    for (int i = 0; i < PROBLEM_VIEWS; i++) {
        gka_view *const view = gka_problem_view(to, i);
        if (view->data == NULL)
            continue;
        gka_tensor tensor = {
            "", i <= V || (all && narrow(i)) ? dtype : view->dtype, view->rank, {0}, NULL};
        (void)gka_problem_extents(to, gka_problem_views[i].letters, tensor.shape);
        if (!gka_tensor_bytes(&tensor, &bytes[i]) || bytes[i] > SIZE_MAX / 2 - 64 - total)
            return gka_fail(error, GKA_BAD_ARGUMENT, "the tensors would not fit in memory");
        bytes[i] = bytes[i] / 64 * 64 + 64;
        total += bytes[i];
        tensor.data = view->data; /* some address, for now */
        *view = gka_view_of(&tensor);
    }
    unsigned char *block = gka_alloc(total, 1);
    if (block == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory: the tensors take %zu bytes",
                        total);
    to->owned = block;
    if (from->cu_seqlens != NULL) {
        memcpy(block, from->cu_seqlens, bounds);
        to->cu_seqlens = (const int64_t *)(const void *)block;
    }
    block += bounds / 64 * 64 + 64;
    for (int i = 0; i < PROBLEM_VIEWS; i++) {
        gka_view *const view = gka_problem_view(to, i);
        if (view->data != NULL)
            view->data = block;
        block += bytes[i];
    }
    return GKA_OK;
}

enum { BLOCK = 256 };

/* n elements; exact unless the type is a narrower one, and then rounded once. */
static void copy_row(const gka_view *from, const void *row, const gka_view *to, int64_t n,
                     unsigned char *out) {
    const size_t size = gka_dtype_size(to->dtype), read = gka_dtype_size(from->dtype);
    const int64_t stride = from->stride[from->rank - 1];
    double x[BLOCK];
    for (int64_t i = 0; i < n; i += BLOCK) {
        const int64_t some = n - i < BLOCK ? n - i : BLOCK;
        gka_elements(from->dtype, (const unsigned char *)row + i * stride * (int64_t)read, stride,
                     some, x);
        gka_store_array(to->dtype, (size_t)some, x, out + (size_t)i * size);
    }
}

static void copy(const gka_view *from, const gka_view *to) {
    const size_t size = gka_dtype_size(to->dtype);
    unsigned char *out = (unsigned char *)(uintptr_t)to->data;
    for (int i = 0; i < to->rank; i++)
        if (to->shape[i] == 0)
            return;
    const int64_t middle = to->rank == 4 ? to->shape[2] : 1, n = to->shape[to->rank - 1];
    for (int64_t i = 0; i < to->shape[0]; i++)
        for (int64_t j = 0; j < to->shape[1]; j++)
            for (int64_t l = 0; l < middle; l++, out += (size_t)n * size)
                copy_row(from, gka_view_at(from, i, j, l), to, n, out);
}

static void store(const gka_view *to, int64_t b, int64_t t, int64_t h, const double *x) {
    gka_store_array(to->dtype, (size_t)to->shape[3], x,
                    (unsigned char *)(uintptr_t)gka_view_at(to, b, t, h));
}

/* ---- rows ---------------------------------------------------------------------------------- */

typedef struct folder {
    const gka_problem *from;
    gka_problem *to;
    bool fold;
    double *work; /* [threads, size] */
    size_t size;
} folder;

static void fold_token(void *context, int64_t i, int worker) {
    const folder *const f = context;
    const gka_problem *const p = f->from;
    double *const x = f->work + (size_t)worker * f->size;
    const int64_t b = i / p->T, t = i % p->T, share = f->to->H / f->to->G;
    const gka_normalise how = f->fold ? p->normalise : GKA_NORMALISE_NONE;
    for (int64_t h = 0; h < p->H; h++) {
        gka_problem_q(p, b, t, h, x);
        normalise(how, p->q.dtype, p->D, x);
        store(&f->to->q, b, t, h, x);
    }
    for (int64_t g = 0; g < f->to->G; g++) {
        const int64_t h = g * share; /* the first query head that reads it */
        const bool weighted = f->fold && p->beta.data != NULL;
        const double factor = gka_problem_beta(p, b, t, h) + EPSILON;
        gka_problem_k(p, b, t, h, x);
        normalise(how, p->k.dtype, p->D, x);
        if (weighted)
            vector_scale(p->D, factor, x);
        store(&f->to->k, b, t, g, x);
        if (p->v.data == NULL)
            continue;
        gka_problem_v(p, b, t, h, x);
        if (weighted)
            vector_scale(p->V, factor, x);
        store(&f->to->v, b, t, g, x);
    }
}

static gka_status fold_rows(const gka_problem *from, bool fold, gka_problem *to, gka_error *error) {
    if (from->B == 0 || from->T == 0 || from->H == 0)
        return GKA_OK;
    folder f = {from, to, fold, NULL, (size_t)(from->D > from->V ? from->D : from->V)};
    f.work = gka_alloc((size_t)gka_threads(), f.size * sizeof *f.work);
    if (f.work == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory folding a problem");
    const bool all = gka_parallel(from->B * from->T, fold_token, &f);
    gka_free(f.work);
    return all ? GKA_OK : gka_fail(error, GKA_INTERRUPTED, "interrupted");
}

gka_status gka_problem_copy(const gka_problem *from, gka_dtype dtype, bool all, bool fold,
                            gka_problem *to, gka_error *error) {
    gka_problem made = *from;
    made.owned = NULL;
    if (fold) {
        made.beta = (gka_view){0};
        made.normalise = GKA_NORMALISE_NONE;
        made.G = from->beta.data != NULL ? made.H : made.G;
    }
    gka_status status = GKA_OK;
    if (!gka_dtype_is_float(dtype))
        status = gka_fail(error, GKA_BAD_ARGUMENT, "dtype %s; a floating-point type was expected",
                          gka_dtype_name(dtype));
    if (status == GKA_OK)
        status = allocate(from, dtype, all, &made, error);
    if (status == GKA_OK)
        status = fold_rows(from, fold, &made, error);
    for (int i = V + 1; status == GKA_OK && i < PROBLEM_VIEWS; i++)
        if (gka_problem_view(&made, i)->data != NULL)
            copy(gka_problem_view_const(from, i), gka_problem_view(&made, i));
    if (status == GKA_OK)
        status = gka_problem_check(&made, NULL, error);
    if (status != GKA_OK)
        gka_problem_free(&made);
    *to = made;
    return status;
}

gka_status gka_problem_fold(const gka_problem *from, gka_dtype dtype, gka_problem *to,
                            gka_error *error) {
    return gka_problem_copy(from, dtype, false, true, to, error);
}
