/* check.c - what NUMERICS 1 rejects, each with the tensor, the place and what was expected. */
#include "gka/problem.h"

#include "problem/check.h"
#include "problem/tensors.h"
#include "problem/view.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What heads a message: the file, if there is one. */
typedef struct context {
    const char *where;
    gka_error *error;
    const gka_file *file; /* to forget what was read; may be NULL */
} context;

static gka_status bad(const context *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static gka_status bad(const context *c, const char *format, ...) {
    char text[384];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const bool named = c->where != NULL;
    return gka_fail(c->error, named ? GKA_BAD_FILE : GKA_BAD_ARGUMENT, "%s%s%s",
                    named ? c->where : "", named ? ": " : "", text);
}

/* ---- parameters and extents ---------------------------------------------------------------- */

static gka_status check_parameters(const gka_problem *p, const context *c) {
    if (!(p->ridge_ratio >= 0 && p->ridge_ratio <= DBL_MAX))
        return bad(c, "ridge_ratio %g: a finite number >= 0 was expected", p->ridge_ratio);
    if (!(p->lambda >= 0 && p->lambda <= DBL_MAX))
        return bad(c, "lambda %g: a finite number >= 0 was expected", p->lambda);
    if (!(fabs(p->scale) <= DBL_MAX))
        return bad(c, "scale %g: a finite number was expected", p->scale);
    if (p->num_iter < 1 || p->num_iter > GKA_MAX_ITERATIONS)
        return bad(c, "num_iter %d: an integer from 1 to %d was expected", p->num_iter,
                   GKA_MAX_ITERATIONS);
    if (gka_normalise_name(p->normalise) == NULL)
        return bad(c, "normalise %d: none, unit or rounded was expected", (int)p->normalise);
    if (p->chunk_size < 1)
        return bad(c, "chunk_size %lld: an integer >= 1 was expected", (long long)p->chunk_size);
    return GKA_OK;
}

static gka_status check_extents(const gka_problem *p, const context *c) {
    if (p->B < 0 || p->T < 0 || p->H < 0 || p->G < 0 || p->V < 0)
        return bad(c, "extents B %lld T %lld H %lld G %lld V %lld: none may be negative",
                   (long long)p->B, (long long)p->T, (long long)p->H, (long long)p->G,
                   (long long)p->V);
    if (p->D < 1)
        return bad(c, "tensor 'q': key size D = %lld; D >= 1 was expected", (long long)p->D);
    if (p->G == 0 ? p->H != 0 : p->H % p->G != 0)
        return bad(c,
                   "tensor 'k': %lld key heads for %lld query heads; a divisor of the number of "
                   "query heads was expected",
                   (long long)p->G, (long long)p->H);
    return GKA_OK;
}

/* Every output and every array of a computation is a small multiple of one of these; without a
 * token there is no more than a state. */
static gka_status check_sizes(const gka_problem *p, const context *c) {
    enum { BITS = 50 };
    const int64_t width = p->D > p->V ? p->D : p->V;
    const struct {
        int count;
        int64_t factors[4];
    } sizes[] = {{4, {p->B, p->T, p->H, width}}, {p->T > 0 ? 4 : 2, {p->D, width, p->N, p->H}}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t product;
        bool empty = false;
        for (int j = 0; j < sizes[i].count; j++)
            empty = empty || sizes[i].factors[j] == 0;
        if (!empty && !gka_product(sizes[i].count, sizes[i].factors, INT64_C(1) << BITS, &product))
            return bad(c,
                       "B %lld T %lld H %lld D %lld V %lld and %lld sequences: outputs of at most "
                       "2^%d elements were expected",
                       (long long)p->B, (long long)p->T, (long long)p->H, (long long)p->D,
                       (long long)p->V, (long long)p->N, BITS);
    }
    return GKA_OK;
}

static gka_status check_sequences(const gka_problem *p, const context *c) {
    const int64_t *const cu = p->cu_seqlens;
    if (cu == NULL)
        return p->N == p->B ? GKA_OK
                            : bad(c, "%lld sequences in a batch of %lld; one each was expected",
                                  (long long)p->N, (long long)p->B);
    if (p->B != 1)
        return bad(c, "tensor 'cu_seqlens': packed sequences in a batch of %lld; 1 was expected",
                   (long long)p->B);
    if (p->N < 1)
        return bad(c, "tensor 'cu_seqlens': at least 2 bounds were expected");
    if (cu[0] != 0 || cu[p->N] != p->T)
        return bad(c, "tensor 'cu_seqlens': runs from %lld to %lld; 0 to T = %lld was expected",
                   (long long)cu[0], (long long)cu[p->N], (long long)p->T);
    for (int64_t n = 0; n < p->N; n++)
        if (cu[n] > cu[n + 1])
            return bad(c,
                       "tensor 'cu_seqlens': %lld at [%lld] after %lld; bounds that do not "
                       "decrease were expected",
                       (long long)cu[n + 1], (long long)n + 1, (long long)cu[n]);
    return GKA_OK;
}

/* ---- shapes -------------------------------------------------------------------------------- */

typedef struct expected {
    const char *name;
    const gka_view *view;
    const char *letters; /* as in tensors.h */
    int rank;
    int64_t shape[4];
} expected;

static void print_shape(char *text, size_t room, int rank, const int64_t *shape) {
    size_t n = 0;
    text[n++] = '[';
    text[n] = '\0';
    for (int i = 0; i < rank && n < room; i++)
        n += (size_t)snprintf(text + n, room - n, i == 0 ? "%lld" : ",%lld", (long long)shape[i]);
    if (n < room)
        (void)snprintf(text + n, room - n, "]");
}

/* "BTGD" as [B,T,Hkv,D] */
static void print_letters(char text[24], const char *letters) {
    char *to = text;
    for (const char *l = letters; *l != '\0'; l++)
        to += sprintf(to, *l == 'G' ? "%cHkv" : "%c%c", l == letters ? '[' : ',', *l);
    (void)sprintf(to, "]");
}

static gka_status check_shape(const expected *e, const context *c) {
    if (e->view->data == NULL)
        return GKA_OK;
    if (!gka_dtype_is_float(e->view->dtype))
        return bad(c, "tensor '%s': dtype %s; a floating-point type was expected", e->name,
                   gka_dtype_name(e->view->dtype));
    bool same = e->view->rank == e->rank;
    for (int i = 0; same && i < e->rank; i++)
        same = e->view->shape[i] == e->shape[i];
    if (same)
        return GKA_OK;
    char is[112], want[112], letters[24];
    print_shape(is, sizeof is, e->view->rank, e->view->shape);
    print_shape(want, sizeof want, e->rank, e->shape);
    print_letters(letters, e->letters);
    const int64_t *const has = e->view->shape, *const wanted = e->shape;
    bool turned = e->view->rank == e->rank && e->rank >= 3 && e->letters[1] == 'T' &&
                  has[0] == wanted[0] && has[1] == wanted[2] && has[2] == wanted[1];
    for (int i = 3; turned && i < e->rank; i++)
        turned = has[i] == wanted[i];
    return bad(c, "tensor '%s': shape %s; %s = %s was expected%s", e->name, is, letters, want,
               turned ? " (its tokens and heads are in another order than q's)" : "");
}

/* ---- values -------------------------------------------------------------------------------- */

/* A gate may be -inf and may not be above 0; everything else is finite. */
static bool allowed(bool gate, double x) {
    return gate ? x <= 0 : fabs(x) <= DBL_MAX;
}

enum { BLOCK = 256, MUCH = 1 << 24 };

static gka_status check_run(const expected *e, bool gate, const void *data, int64_t stride,
                            int64_t n, const int64_t at[3], const context *c) {
    double x[BLOCK];
    const int64_t step = stride * (int64_t)gka_dtype_size(e->view->dtype);
    for (int64_t first = 0; first < n; first += BLOCK) {
        const int64_t m = n - first < BLOCK ? n - first : BLOCK;
        gka_elements(e->view->dtype, (const unsigned char *)data + first * step, stride, m, x);
        for (int64_t i = 0; i < m; i++) {
            if (allowed(gate, x[i]))
                continue;
            const char *const expectation = gate ? "a gate <= 0 or -inf" : "finite numbers";
            if (e->rank == 3)
                return bad(c, "tensor '%s': %g at [%lld,%lld,%lld]; %s expected", e->name, x[i],
                           (long long)at[0], (long long)at[1], (long long)(first + i), expectation);
            return bad(c, "tensor '%s': %g at [%lld,%lld,%lld,%lld]; %s expected", e->name, x[i],
                       (long long)at[0], (long long)at[1], (long long)at[2], (long long)(first + i),
                       expectation);
        }
    }
    return GKA_OK;
}

static gka_status check_values(const expected *e, const context *c) {
    const gka_view *const view = e->view;
    if (view->data == NULL)
        return GKA_OK;
    const bool gate = e->name[0] == 'g';
    const int last = e->rank - 1;
    const int64_t middle = e->rank == 4 ? e->shape[2] : 1;
    for (int i = 0; i < e->rank; i++)
        if (e->shape[i] == 0)
            return GKA_OK; /* the other loops may be long and do nothing */
    int64_t bytes = 0;
    for (int64_t i = 0; i < e->shape[0]; i++)
        for (int64_t j = 0; j < e->shape[1]; j++)
            for (int64_t l = 0; l < middle; l++) {
                bytes += e->shape[last] * (int64_t)gka_dtype_size(view->dtype);
                if (bytes > MUCH && c->file != NULL) {
                    gka_file_forget(c->file);
                    bytes = 0;
                }
                const int64_t at[3] = {i, j, l};
                const gka_status status = check_run(e, gate, gka_view_at(view, i, j, l),
                                                    view->stride[last], e->shape[last], at, c);
                if (status != GKA_OK)
                    return status;
            }
    return GKA_OK;
}

gka_status gka_problem_check_channels(const gka_problem *p, const gka_view *gk, gka_error *error) {
    const context c = {.error = error};
    const expected e = {"gk", gk, "BTHD", 4, {p->B, p->T, p->H, p->D}};
    const gka_status status = check_shape(&e, &c);
    return status == GKA_OK ? check_values(&e, &c) : status;
}

/* ---- the symmetry of h0 -------------------------------------------------------------------- */

/* Some |h_ij - h_ji| > 1e-12 ||h||_F. Scaled by the largest element, so that squares neither
 * overflow nor vanish. */
static bool asymmetric(const double *h, int64_t D) {
    double largest = 0, difference = 0, sum = 0;
    for (int64_t i = 0; i < D * D; i++)
        largest = fmax(largest, fabs(h[i]));
    if (!(largest > 0))
        return false;
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++) {
            const double x = h[i * D + j] / largest;
            sum += x * x;
            difference = fmax(difference, fabs(x - h[j * D + i] / largest));
        }
    return difference > 1e-12 * sqrt(sum);
}

static gka_status check_symmetry(gka_problem *p, const context *c) {
    p->h0_asymmetric = false;
    if (p->h0.data == NULL || p->N == 0 || p->H == 0)
        return GKA_OK;
    double *const h = gka_alloc((size_t)p->D * (size_t)p->D, sizeof *h);
    if (h == NULL)
        return gka_fail(c->error, GKA_OUT_OF_MEMORY, "%s%sout of memory reading h0",
                        c->where == NULL ? "" : c->where, c->where == NULL ? "" : ": ");
    for (int64_t n = 0; n < p->N && !p->h0_asymmetric; n++)
        for (int64_t i = 0; i < p->H && !p->h0_asymmetric; i++) {
            gka_problem_h0(p, n, i, h);
            p->h0_asymmetric = asymmetric(h, p->D);
        }
    gka_free(h);
    return GKA_OK;
}

/* ---- everything ---------------------------------------------------------------------------- */

static gka_status check_presence(const gka_problem *p, const context *c) {
    if (p->q.data == NULL || p->k.data == NULL)
        return bad(c, "tensor '%s' is missing", p->q.data == NULL ? "q" : "k");
    if (p->v.data == NULL && p->V != 0)
        return bad(c, "tensor 'v' is missing, but V = %lld", (long long)p->V);
    if (p->v.data != NULL && p->V < 1)
        return bad(c, "tensor 'v': value size V = 0; V >= 1 was expected");
    for (int i = 0; p->v.data == NULL && i < PROBLEM_VIEWS; i++)
        if (gka_problem_views[i].values && gka_problem_view_const(p, i)->data != NULL)
            return bad(c, "tensor '%s' without a tensor 'v'", gka_problem_views[i].name);
    return GKA_OK;
}

gka_status gka_problem_check_numbers(const gka_problem *problem, const char *where,
                                     gka_error *error) {
    const context c = {where, error, NULL};
    gka_status status = check_extents(problem, &c);
    if (status == GKA_OK)
        status = check_parameters(problem, &c);
    if (status == GKA_OK)
        status = check_sequences(problem, &c);
    return status == GKA_OK ? check_sizes(problem, &c) : status;
}

gka_status gka_problem_check(gka_problem *problem, const char *where, gka_error *error) {
    return gka_problem_check_file(problem, where, NULL, error);
}

gka_status gka_problem_check_file(gka_problem *problem, const char *where, const gka_file *file,
                                  gka_error *error) {
    gka_problem *const p = problem;
    const context c = {where, error, file};
    gka_status status = gka_problem_check_numbers(p, where, error);
    if (status == GKA_OK)
        status = check_presence(p, &c);
    expected tensors[PROBLEM_VIEWS];
    for (int i = 0; status == GKA_OK && i < PROBLEM_VIEWS; i++) {
        const problem_tensor *const t = &gka_problem_views[i];
        tensors[i] = (expected){t->name, gka_problem_view(p, i), t->letters, 0, {0}};
        tensors[i].rank = gka_problem_extents(p, t->letters, tensors[i].shape);
        status = check_shape(&tensors[i], &c);
    }
    for (int i = 0; status == GKA_OK && i < PROBLEM_VIEWS; i++)
        status = check_values(&tensors[i], &c);
    return status == GKA_OK ? check_symmetry(p, &c) : status;
}

/* ---- folded ------------------------------------------------------------------------------- */

static const char *const normalise_names[] = {"none", "unit", "rounded"};
enum { NORMALISE = sizeof normalise_names / sizeof *normalise_names };

const char *gka_normalise_name(gka_normalise normalise) {
    return (unsigned)normalise < NORMALISE ? normalise_names[normalise] : NULL;
}

int gka_normalise_find(const char *name) {
    for (int i = 0; i < NORMALISE; i++)
        if (strcmp(name, normalise_names[i]) == 0)
            return i;
    return -1;
}

bool gka_problem_is_folded(const gka_problem *problem) {
    return problem->beta.data == NULL && problem->normalise == GKA_NORMALISE_NONE;
}

gka_status gka_problem_check_kalmanet(const gka_problem *problem, gka_error *error) {
    if (!(problem->lambda > 0))
        return gka_problem_check_folded(problem, error);
    return gka_fail(
        error, GKA_UNSUPPORTED,
        "the problem has a constant ridge, lambda = %g: a kernel of MesaNet (h100/mesa, "
        "tokens/POLICY) or an oracle was expected",
        problem->lambda);
}

gka_status gka_problem_check_folded(const gka_problem *problem, gka_error *error) {
    if (gka_problem_is_folded(problem))
        return GKA_OK;
    return gka_fail(error, GKA_BAD_ARGUMENT,
                    "the problem holds %s: q, k, v with it folded in were expected",
                    problem->beta.data != NULL ? "a tensor 'beta'" : "a 'normalise'");
}
