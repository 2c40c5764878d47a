/* problem.c - the tensors of one layer, token by token (NUMERICS 1). */
#include "gka/problem.h"

#include "problem/tensors.h"
#include "problem/view.h"

#include <assert.h>
#include <string.h>

gka_span gka_problem_span(const gka_problem *problem, int64_t n) {
    if (problem->cu_seqlens != NULL)
        return (gka_span){0, problem->cu_seqlens[n], problem->cu_seqlens[n + 1]};
    return (gka_span){n, 0, problem->T};
}

int64_t gka_problem_longest(const gka_problem *problem) {
    if (problem->cu_seqlens == NULL)
        return problem->N > 0 ? problem->T : 0;
    int64_t longest = 0;
    for (int64_t n = 0; n < problem->N; n++) {
        const gka_span span = gka_problem_span(problem, n);
        longest = span.end - span.begin > longest ? span.end - span.begin : longest;
    }
    return longest;
}

/* Not simply min(C, longest): a released kernel of C = 64 on 9 tokens sums over 64 rows, most of
 * them masked, in another order than one of C = 16, and its f has other bits. So a C that such a
 * kernel can have stays as it is given. In exact64 the results of every C >= longest are the same
 * (unit/chunk, prop_exact64_beyond_the_sequence), so no result hangs on where a larger C ends. */
int64_t gka_problem_chunk_size(const gka_problem *problem) {
    enum { USUAL = 128, TILE = 16 }; /* tensor cores want multiples of 16 */
    const int64_t C = problem->chunk_size;
    if (C <= USUAL)
        return C;
    const int64_t longest = problem->H > 0 ? gka_problem_longest(problem) : 0;
    const int64_t filled = longest <= USUAL ? USUAL : (longest + TILE - 1) / TILE * TILE;
    return C < filled ? C : filled;
}

int64_t gka_problem_span_chunks(const gka_problem *problem, int64_t n) {
    const gka_span span = gka_problem_span(problem, n);
    return span.end == span.begin ? 0 : (span.end - span.begin - 1) / problem->chunk_size + 1;
}

int64_t gka_problem_group(const gka_problem *problem, int64_t h) {
    return h / (problem->H / problem->G);
}

/* A vector, or zeros where the tensor is absent. */
static void row(const gka_view *view, int64_t i0, int64_t i1, int64_t i2, int64_t n, double *out) {
    if (view->data != NULL)
        gka_view_row(view, i0, i1, i2, n, out);
    else
        memset(out, 0, (size_t)n * sizeof *out);
}

/* A number, or what stands for it where the tensor is absent. */
static double scalar(const gka_view *view, int64_t b, int64_t t, int64_t h, double otherwise) {
    if (view->data != NULL)
        gka_view_row(view, b, t, h, 1, &otherwise);
    return otherwise;
}

/* A matrix of `columns` columns and D rows. */
static void matrix(const gka_view *view, int64_t n, int64_t h, int64_t rows, int64_t columns,
                   double *out) {
    for (int64_t i = 0; i < rows; i++)
        row(view, n, h, i, columns, out + i * columns);
}

void gka_problem_q(const gka_problem *problem, int64_t b, int64_t t, int64_t h, double *q) {
    row(&problem->q, b, t, h, problem->D, q);
}

void gka_problem_k(const gka_problem *problem, int64_t b, int64_t t, int64_t h, double *k) {
    row(&problem->k, b, t, gka_problem_group(problem, h), problem->D, k);
}

void gka_problem_v(const gka_problem *problem, int64_t b, int64_t t, int64_t h, double *v) {
    row(&problem->v, b, t, gka_problem_group(problem, h), problem->V, v);
}

double gka_problem_alpha(const gka_problem *problem, int64_t b, int64_t t, int64_t h) {
    return scalar(&problem->alpha, b, t, h, 1.0);
}

double gka_problem_g(const gka_problem *problem, int64_t b, int64_t t, int64_t h) {
    return scalar(&problem->g, b, t, h, 0.0);
}

double gka_problem_beta(const gka_problem *problem, int64_t b, int64_t t, int64_t h) {
    return scalar(&problem->beta, b, t, h, 1.0);
}

void gka_problem_dout(const gka_problem *problem, int64_t b, int64_t t, int64_t h, double *dout) {
    row(&problem->dout, b, t, h, problem->V, dout);
}

void gka_problem_dx(const gka_problem *problem, int64_t b, int64_t t, int64_t h, double *dx) {
    row(&problem->dx, b, t, h, problem->D, dx);
}

void gka_problem_h0(const gka_problem *problem, int64_t n, int64_t h, double *h0) {
    matrix(&problem->h0, n, h, problem->D, problem->D, h0);
}

void gka_problem_u0(const gka_problem *problem, int64_t n, int64_t h, double *u0) {
    matrix(&problem->u0, n, h, problem->D, problem->V, u0);
}

void gka_problem_dh_final(const gka_problem *problem, int64_t n, int64_t h, double *dh) {
    matrix(&problem->dh_final, n, h, problem->D, problem->D, dh);
}

void gka_problem_du_final(const gka_problem *problem, int64_t n, int64_t h, double *du) {
    matrix(&problem->du_final, n, h, problem->D, problem->V, du);
}

gka_problem gka_problem_tokens(const gka_problem *problem, int64_t begin, int64_t end) {
    assert(problem->cu_seqlens == NULL && 0 <= begin && begin <= end && end <= problem->T);
    gka_problem part = *problem;
    part.T = end - begin;
    part.owned = NULL;
    part.h0_asymmetric = false;
    for (int i = 0; i < PROBLEM_VIEWS; i++) {
        gka_view *const view = gka_problem_view(&part, i);
        if (gka_problem_views[i].letters[0] == 'N') {
            *view = (gka_view){0};
        } else if (view->data != NULL) {
            view->data = gka_view_at(view, 0, begin, 0);
            view->shape[1] = part.T;
        }
    }
    return part;
}

gka_problem gka_problem_head(const gka_problem *problem, int64_t n, int64_t h) {
    const gka_span span = gka_problem_span(problem, n);
    const int64_t g = gka_problem_group(problem, h);
    gka_problem one = *problem;
    one.owned = NULL;
    one.cu_seqlens = NULL;
    one.B = one.H = one.G = one.N = 1;
    one.T = span.end - span.begin;
    for (int i = 0; i < PROBLEM_VIEWS; i++) {
        gka_view *const view = gka_problem_view(&one, i);
        const char *const letters = gka_problem_views[i].letters;
        if (view->data == NULL)
            continue;
        if (letters[0] == 'N') {
            view->data = gka_view_at(view, n, h, 0);
        } else {
            view->data = gka_view_at(view, span.b, span.begin, letters[2] == 'G' ? g : h);
            view->shape[2] = 1;
        }
        view->shape[0] = 1;
        view->shape[1] = letters[0] == 'N' ? 1 : one.T;
    }
    return one;
}

void gka_problem_free(gka_problem *problem) {
    if (problem == NULL)
        return;
    gka_free(problem->owned);
    memset(problem, 0, sizeof *problem);
}
