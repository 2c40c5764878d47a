/* copy.c - a problem in doubles of its own, to be changed; sequences in pieces; the states
 * before each piece. */
#include "audit/audit.h"

#include "gka/arith.h"
#include "io/bytes.h"

#include <math.h>
#include <string.h>

/* ---- copies -------------------------------------------------------------------------------- */

/* A tensor of the copy: where it is kept, its view, shape and whether it is there. */
typedef struct part {
    double **array;
    gka_view *view;
    int64_t shape[5];
    int rank;
    bool there;
} part;

enum { PARTS = 11 };

static void list_parts(const gka_problem *from, const audit_shape *shape, audit_copy *c,
                       part parts[PARTS]) {
    gka_problem *const p = &c->problem;
    const int64_t B = p->B, T = p->T, H = p->H, G = p->G, D = p->D, V = p->V, N = p->N;
    const part all[PARTS] = {
        {&c->q, &p->q, {B, T, H, D}, 4, true},
        {&c->k, &p->k, {B, T, G, D}, 4, true},
        {&c->v, &p->v, {B, T, G, V}, 4, from->v.data != NULL},
        {&c->alpha, &p->alpha, {B, T, H}, 3, from->alpha.data != NULL},
        {&c->g, &p->g, {B, T, H}, 3, from->g.data != NULL},
        {&c->h0, &p->h0, {N, H, D, D}, 4, from->h0.data != NULL || shape->states},
        {&c->u0, &p->u0, {N, H, D, V}, 4, from->u0.data != NULL || (shape->states && V > 0)},
        {&c->dout, &p->dout, {B, T, H, V}, 4, from->dout.data != NULL},
        {&c->dx, &p->dx, {B, T, H, D}, 4, from->dx.data != NULL},
        {&c->dh_final, &p->dh_final, {N, H, D, D}, 4, from->dh_final.data != NULL},
        {&c->du_final, &p->du_final, {N, H, D, V}, 4, from->du_final.data != NULL},
    };
    memcpy(parts, all, sizeof all);
}

static size_t count_of(const part *t) {
    int64_t count = t->there ? 1 : 0;
    for (int i = 0; i < t->rank; i++)
        count *= t->shape[i];
    return (size_t)count;
}

static gka_view view_of(const part *t) {
    gka_tensor tensor = {"", GKA_F64, t->rank, {0}, *t->array};
    memcpy(tensor.shape, t->shape, sizeof t->shape);
    return gka_view_of(&tensor);
}

/* Token i of the copy. */
static void copy_token(const gka_problem *from, const audit_shape *shape, audit_copy *c,
                       int64_t i) {
    const int64_t flat = shape->from != NULL ? shape->from[i] : i, b = flat / from->T,
                  t = flat % from->T, H = from->H, D = from->D, V = from->V, G = c->problem.G;
    for (int64_t h = 0; h < H; h++) {
        const int64_t row = i * H + h;
        gka_problem_q(from, b, t, h, c->q + row * D);
        if (c->alpha != NULL)
            c->alpha[row] = gka_problem_alpha(from, b, t, h);
        if (c->g != NULL)
            c->g[row] = gka_problem_g(from, b, t, h);
        if (c->dout != NULL)
            gka_problem_dout(from, b, t, h, c->dout + row * V);
        if (c->dx != NULL)
            gka_problem_dx(from, b, t, h, c->dx + row * D);
    }
    for (int64_t g = 0; g < G; g++) {
        const int64_t h = (shape->group != NULL ? shape->group[g] : g) * (H / from->G);
        gka_problem_k(from, b, t, h, c->k + (i * G + g) * D);
        if (c->v != NULL)
            gka_problem_v(from, b, t, h, c->v + (i * G + g) * V);
    }
}

static void copy_states(const gka_problem *from, int64_t n, int64_t to, audit_copy *c) {
    const int64_t H = from->H, D = from->D, V = from->V;
    for (int64_t h = 0; h < H; h++) {
        if (c->h0 != NULL)
            gka_problem_h0(from, n, h, c->h0 + (to * H + h) * D * D);
        if (c->u0 != NULL)
            gka_problem_u0(from, n, h, c->u0 + (to * H + h) * D * V);
    }
}

void gka_audit_copy_ends(const gka_problem *from, int64_t n, int64_t to, audit_copy *c) {
    const int64_t H = from->H, D = from->D, V = from->V;
    for (int64_t h = 0; h < H; h++) {
        if (c->dh_final != NULL)
            gka_problem_dh_final(from, n, h, c->dh_final + (to * H + h) * D * D);
        if (c->du_final != NULL)
            gka_problem_du_final(from, n, h, c->du_final + (to * H + h) * D * V);
    }
}

gka_status gka_audit_copy_make(const gka_problem *from, const audit_shape *shape, audit_copy *copy,
                               gka_error *error) {
    *copy = (audit_copy){.problem = *from};
    gka_problem *const p = &copy->problem;
    p->owned = NULL;
    const bool cut = shape->bounds != NULL;
    if (cut) {
        p->B = 1;
        p->T = shape->tokens;
        p->N = shape->N;
        copy->bounds = gka_alloc((size_t)p->N + 1, sizeof *copy->bounds);
        if (copy->bounds == NULL)
            return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory copying a problem");
        memcpy(copy->bounds, shape->bounds, ((size_t)p->N + 1) * sizeof *copy->bounds);
        p->cu_seqlens = copy->bounds;
    }
    if (shape->group != NULL)
        p->G = p->H;
    part parts[PARTS];
    list_parts(from, shape, copy, parts);
    for (int i = 0; i < PARTS; i++)
        copy->count += count_of(&parts[i]);
    copy->memory = gka_alloc(copy->count, sizeof *copy->memory);
    if (copy->memory == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory copying a problem");
    size_t used = 0;
    for (int i = 0; i < PARTS; i++) {
        *parts[i].array = parts[i].there ? copy->memory + used : NULL;
        *parts[i].view = parts[i].there ? view_of(&parts[i]) : (gka_view){0};
        used += count_of(&parts[i]);
    }
    for (int64_t i = 0; i < p->B * p->T; i++)
        copy_token(from, shape, copy, i);
    for (int64_t n = 0; n < p->N && p->N == from->N; n++) {
        copy_states(from, n, n, copy);
        gka_audit_copy_ends(from, n, n, copy);
    }
    return GKA_OK;
}

void gka_audit_seal(audit_copy *copy) {
    gka_store_doubles(copy->memory, copy->count, copy->memory);
}

void gka_audit_copy_free(audit_copy *copy) {
    gka_free(copy->memory);
    gka_free(copy->bounds);
    *copy = (audit_copy){0};
}

/* ---- pieces -------------------------------------------------------------------------------- */

gka_status gka_audit_pieces_make(const gka_problem *problem, audit_pieces *pieces,
                                 gka_error *error) {
    *pieces = (audit_pieces){0};
    const int64_t C = gka_problem_chunk_size(problem);
    for (int64_t n = 0; n < problem->N; n++)
        pieces->count += gka_problem_span_chunks(problem, n);
    pieces->bounds = gka_alloc((size_t)pieces->count + 1, sizeof *pieces->bounds);
    pieces->sequence = gka_alloc((size_t)pieces->count, sizeof *pieces->sequence);
    if (pieces->bounds == NULL || pieces->sequence == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory cutting a problem");
    int64_t i = 0;
    for (int64_t n = 0; n < problem->N; n++) {
        const gka_span span = gka_problem_span(problem, n);
        for (int64_t t = span.begin; t < span.end; t += C, i++) {
            pieces->bounds[i] = span.b * problem->T + t;
            pieces->sequence[i] = n;
        }
    }
    pieces->bounds[i] = problem->B * problem->T;
    return GKA_OK;
}

void gka_audit_pieces_free(audit_pieces *pieces) {
    gka_free(pieces->bounds);
    gka_free(pieces->sequence);
    *pieces = (audit_pieces){0};
}

/* ---- states -------------------------------------------------------------------------------- */

typedef struct states {
    const gka_problem *problem;
    const audit_pieces *pieces;
    audit_carry carry;
    double *H, *U, *h_final, *u_final;
    double *memory; /* of every worker: H [D,D], U [D,V], k [D], v [V] */
    size_t each;
} states;

/* gamma_t */
static double gate(const gka_problem *problem, audit_carry carry, int64_t b, int64_t t, int64_t h) {
    const gka_device *const exact = gka_device_find("exact64");
    const double g = gka_problem_g(problem, b, t, h);
    if (isinf(g))
        return 0;
    return carry == AUDIT_CARRY_EXP2 ? gka_device_exp2(exact, g) : gka_device_exp(exact, g);
}

/* S = gamma S + k w^T, S [D,width] */
static void rank_one(int64_t D, int64_t width, double gamma, const double *k, const double *w,
                     double *S) {
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < width; j++)
            S[i * width + j] = gamma * S[i * width + j] + k[i] * w[j];
}

static void keep(double *to, int64_t place, int64_t size, const double *S) {
    if (to != NULL)
        memcpy(to + place * size, S, (size_t)size * sizeof *S);
}

/* One head, all sequences in order. */
static void run_states(void *context, int64_t h, int worker) {
    const states *const s = context;
    const gka_problem *const problem = s->problem;
    const int64_t D = problem->D, V = problem->V, heads = problem->H;
    double *const H = s->memory + (size_t)worker * s->each, *const U = H + D * D,
                  *const k = U + D * V, *const v = k + D;
    for (int64_t n = 0, piece = 0; n < problem->N; n++) {
        const gka_span span = gka_problem_span(problem, n);
        if (n == 0 || s->carry != AUDIT_CARRY_LEAK) {
            gka_problem_h0(problem, n, h, H);
            if (V > 0)
                gka_problem_u0(problem, n, h, U);
        }
        for (int64_t t = span.begin; t < span.end && !gka_stopped(); t++) {
            if (s->pieces != NULL && piece < s->pieces->count &&
                s->pieces->bounds[piece] == span.b * problem->T + t) {
                keep(s->H, piece * heads + h, D * D, H);
                keep(s->U, piece * heads + h, D * V, U);
                piece++;
            }
            const double gamma = gate(problem, s->carry, span.b, t, h);
            gka_problem_k(problem, span.b, t, h, k);
            rank_one(D, D, gamma, k, k, H);
            if (V > 0) {
                gka_problem_v(problem, span.b, t, h, v);
                rank_one(D, V, gamma, k, v, U);
            }
        }
        keep(s->h_final, n * heads + h, D * D, H);
        keep(s->u_final, n * heads + h, D * V, U);
    }
}

gka_status gka_audit_states(const gka_problem *problem, const audit_pieces *pieces,
                            audit_carry carry, double *H, double *U, double *h_final,
                            double *u_final, gka_error *error) {
    const int64_t D = problem->D, V = problem->V;
    states s = {
        problem, pieces, carry, H, U, h_final, u_final, NULL, (size_t)(D * D + D * V + D + V)};
    s.memory = gka_alloc((size_t)gka_threads() * s.each, sizeof(double));
    if (s.memory == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory for the states");
    const bool all = gka_parallel(problem->H, run_states, &s);
    gka_free(s.memory);
    return all ? GKA_OK : gka_fail(error, GKA_INTERRUPTED, "interrupted");
}
