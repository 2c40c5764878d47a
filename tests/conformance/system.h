/* system.h - a problem of the layer as arrays, with the oracle's answer at its last token. */
#ifndef TESTS_CONFORMANCE_SYSTEM_H
#define TESTS_CONFORMANCE_SYSTEM_H

#include "policies.h"

#include "gka/oracle.h"
#include "gka/problem.h"
#include "gka/solve.h"

#include <math.h>

enum { MAX_D = 32, MAX_T = 512 };

static const double UNIT = 0x1p-53; /* of binary64 */

/* T keys of D numbers, one head. H, f, lambda, x: of the last token, by the oracle. */
typedef struct example {
    int64_t T, D;
    double ridge;
    double q[MAX_T * MAX_D], k[MAX_T * MAX_D], v[MAX_T * MAX_D], g[MAX_T], alpha[MAX_T];
    double dout[MAX_T * MAX_D];
    bool gated;
    double H[MAX_D * MAX_D], U[MAX_D * MAX_D], x[MAX_T * MAX_D], f[MAX_T], lambda[MAX_T];
    double kappa[MAX_T];
} example;

static inline double normal(stream *s) {
    double sum = -6; /* twelve uniforms: near enough to a normal variable for a test's input */
    for (int i = 0; i < 12; i++)
        sum += next_uniform(s);
    return sum;
}

static inline void unit_vector(stream *s, int64_t D, double *out) {
    double size = 0;
    for (int64_t i = 0; i < D; i++) {
        out[i] = normal(s);
        size += out[i] * out[i];
    }
    for (int64_t i = 0; i < D; i++)
        out[i] /= sqrt(size);
}

static inline gka_view view(const double *data, int rank, int64_t T, int64_t D) {
    return (gka_view){.data = data,
                      .dtype = GKA_F64,
                      .rank = rank,
                      .shape = {1, T, 1, D},
                      .stride = {T * D, D, D, 1}};
}

static inline gka_problem problem_of(const example *e) {
    gka_problem p = {.B = 1,
                     .T = e->T,
                     .H = 1,
                     .G = 1,
                     .D = e->D,
                     .V = e->D,
                     .N = 1,
                     .ridge_ratio = e->ridge,
                     .scale = 1 / sqrt((double)e->D),
                     .num_iter = 30,
                     .chunk_size = 64};
    p.q = view(e->q, 4, e->T, e->D);
    p.k = view(e->k, 4, e->T, e->D);
    p.v = view(e->v, 4, e->T, e->D);
    p.alpha = view(e->alpha, 3, e->T, 1);
    if (e->gated)
        p.g = view(e->g, 3, e->T, 1);
    p.dout = view(e->dout, 4, e->T, e->D);
    return p;
}

/* The oracle's answers, from the tensors as they stand. */
static inline void answer(example *e) {
    const gka_problem p = problem_of(e);
    const gka_oracle_options options = {.oracle = GKA_ORACLE_FP64};
    gka_outputs exact = {.x = e->x,
                         .fro = e->f,
                         .lambda = e->lambda,
                         .kappa = e->kappa,
                         .h_final = e->H,
                         .u_final = e->U};
    gka_error error = {0};
    if (gka_oracle_forward(&p, &options, &exact, NULL, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
}

/* rank: keys lie in the span of that many orthonormal directions (0: anywhere); g: log of every
 * gate. */
static inline void make(example *e, uint64_t seed, int64_t T, int64_t D, double ridge, int64_t rank,
                        double g) {
    stream s = {seed, 0};
    memset(e, 0, sizeof *e);
    e->T = T;
    e->D = D;
    e->ridge = ridge;
    e->gated = g < 0;
    for (int64_t t = 0; t < T; t++) {
        unit_vector(&s, D, e->q + t * D);
        unit_vector(&s, D, e->v + t * D);
        unit_vector(&s, D, e->dout + t * D);
        if (rank > 0)
            e->k[t * D + t % rank] = 1 + 0.25 * (double)(t % rank);
        else
            unit_vector(&s, D, e->k + t * D);
        e->g[t] = g;
        e->alpha[t] = next_uniform(&s);
    }
    answer(e);
}

static inline double distance(int64_t n, const double *x, const double *y) {
    double difference = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        difference += (x[i] - y[i]) * (x[i] - y[i]);
        size += y[i] * y[i];
    }
    return sqrt(difference / size);
}

#endif
