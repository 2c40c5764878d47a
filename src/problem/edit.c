/* edit.c - what is done to a made-up problem afterwards: inputs at the corners of the numerics.
 *
 * Elements are replaced by constants, by copies, or by themselves times a power of two rounded to
 * nearest even, so the bytes are a function of the generator alone. Tokens count within their
 * batch row.
 */
#include "problem/edit.h"

#include "io/bytes.h"

#include <math.h>
#include <string.h>

#define EDIT_NAME(id, name, text) name,
#define EDIT_TEXT(id, name, text) text,
static const char *const names[] = {GKA_EDIT_LIST(EDIT_NAME)};
static const char *const texts[] = {GKA_EDIT_LIST(EDIT_TEXT)};

const char *gka_edit_name(gka_edit edit) {
    return (unsigned)edit < GKA_EDIT_COUNT ? names[edit] : NULL;
}

const char *gka_edit_text(gka_edit edit) {
    return (unsigned)edit < GKA_EDIT_COUNT ? texts[edit] : NULL;
}

int gka_edit_find(const char *name) {
    for (int i = 0; i < GKA_EDIT_COUNT; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return -1;
}

/* ---- elements ------------------------------------------------------------------------------ */

/* Token t of row b of a tensor [B,T,heads,n] or [B,T,heads], contiguous as the generator makes it:
 * count elements from `first`. Absent: none. */
typedef struct row {
    const gka_format *format;
    size_t size;
    unsigned char *bytes;
    int64_t count;
} row;

static row row_of(const gka_view *view, int64_t b, int64_t t) {
    row r = {0};
    if (view->data == NULL)
        return r;
    r.format = gka_format_of_dtype(view->dtype);
    r.size = gka_dtype_size(view->dtype);
    r.count = view->shape[2] * (view->rank > 3 ? view->shape[3] : 1);
    /* The view is const for its readers; the memory is the generator's. */
    r.bytes = (unsigned char *)(uintptr_t)view->data +
              (size_t)((b * view->shape[1] + t) * r.count) * r.size;
    return r;
}

static double get(const row *r, int64_t i) {
    return gka_decode(r->format, gka_load_le(r->bytes + (size_t)i * r->size, r->size));
}

static void set(const row *r, int64_t i, double x) {
    gka_store_le(r->bytes + (size_t)i * r->size, r->size,
                 gka_encode(r->format, gka_round(r->format, GKA_NEAREST_EVEN, x, 0)));
}

static void fill(const gka_view *view, int64_t b, int64_t t, double x) {
    const row r = row_of(view, b, t);
    for (int64_t i = 0; i < r.count; i++)
        set(&r, i, x);
}

/* Into the subnormal numbers: |x| < 2 becomes less than the smallest normal number 2^emin. */
static void shrink(const gka_view *view, int64_t b, int64_t t) {
    const row r = row_of(view, b, t);
    for (int64_t i = 0; i < r.count; i++)
        set(&r, i, ldexp(get(&r, i), r.format->emin - 2));
}

/* The first element of each head; per head n elements. */
static void set_first(const gka_view *view, int64_t b, int64_t t, int64_t n) {
    const row r = row_of(view, b, t);
    for (int64_t i = 0; i < r.count; i += n)
        set(&r, i, r.format->max_finite);
}

static void copy_first(const gka_view *view, const gka_view *first, int64_t b, int64_t t) {
    const row to = row_of(view, b, t), from = row_of(first, 0, 0);
    for (int64_t i = 0; i < to.count; i++)
        set(&to, i, get(&from, i));
}

/* ---- one token ----------------------------------------------------------------------------- */

/* i: the token's number within p, t: within the whole sequence of T. */
static void edit_token(gka_problem *p, gka_edit edit, const gka_view *first_key, int64_t T,
                       int64_t b, int64_t i, int64_t t) {
    switch (edit) {
    case GKA_EDIT_ONE_KEY: copy_first(&p->k, first_key, b, i); break;
    case GKA_EDIT_NO_KEYS: fill(&p->k, b, i, 0); break;
    case GKA_EDIT_LATE_KEYS:
        if (t < T / 2)
            fill(&p->k, b, i, 0);
        break;
    case GKA_EDIT_ZERO_QUERIES:
        if (t % 2 == 1)
            fill(&p->q, b, i, 0);
        break;
    case GKA_EDIT_GAMMA_ONE: fill(&p->g, b, i, 0); break;
    case GKA_EDIT_GAMMA_ZERO:
        if (t % 7 == 3)
            fill(&p->g, b, i, -INFINITY);
        break;
    case GKA_EDIT_GAMMA_TINY:
        if (t % 7 == 3)
            fill(&p->g, b, i, -200);
        break;
    case GKA_EDIT_SUBNORMAL:
        if (t % 2 == 1) {
            shrink(&p->q, b, i), shrink(&p->k, b, i), shrink(&p->v, b, i);
            shrink(&p->dout, b, i), shrink(&p->dx, b, i);
        }
        break;
    case GKA_EDIT_LARGEST_VALUE:
        if (t == T / 2 && p->v.data != NULL)
            set_first(&p->v, b, i, p->V);
        break;
    case GKA_EDIT_LARGEST_KEY:
        if (t == T / 2)
            set_first(&p->k, b, i, p->D);
        break;
    case GKA_EDIT_COUNT: break;
    }
}

gka_status gka_problem_edit(const gka_generator *generator, int64_t begin,
                            const gka_view *first_key, gka_problem *problem, gka_error *error) {
    for (int edit = 0; edit < GKA_EDIT_COUNT; edit++) {
        if (!(generator->edits >> edit & 1))
            continue;
        const bool gate = edit == GKA_EDIT_GAMMA_ONE || edit == GKA_EDIT_GAMMA_ZERO ||
                          edit == GKA_EDIT_GAMMA_TINY;
        if (gate && problem->g.data == NULL)
            return gka_fail(error, GKA_BAD_ARGUMENT,
                            "edit is '%s' without a gate: gate slow, released, strong or init "
                            "was expected",
                            names[edit]);
        for (int64_t b = 0; b < problem->B && problem->H > 0 && problem->T > 0; b++)
            for (int64_t t = 0; t < problem->T; t++)
                edit_token(problem, (gka_edit)edit, first_key, generator->T, b, t, begin + t);
    }
    return GKA_OK;
}
