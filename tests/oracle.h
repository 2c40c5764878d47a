/* oracle.h - for the oracle's tests: small random problems in F64 whose elements can be nudged, and
 * room for every result.
 */
#ifndef GKA_TEST_ORACLE_H
#define GKA_TEST_ORACLE_H

#include "test.h"

#include "gka/oracle.h"

#include <math.h>

/* ---- problems ------------------------------------------------------------------------------ */

typedef struct lab_shape {
    int64_t B, T, H, G, D, V;
    double a;                 /* 0: .02 */
    bool gate, alpha, states; /* states: h0, u0 */
    double h0_scale;          /* of h0 = h0_scale sum of 3 w w^T; negative: indefinite; 0: 1 */
    bool cut, silent;         /* a g = -inf, and zero keys, somewhere in the middle */
    bool final;               /* dh_final, du_final */
    bool packed;              /* sequences 0..2, 2..2, 2..T-1, T-1..T (B = 1, T >= 3) */
    uint64_t seed;
} lab_shape;

typedef struct lab_case {
    gka_problem problem;
    int64_t cu_seqlens[5];
    double *q, *k, *v, *alpha, *g, *h0, *u0, *dout, *dx, *dh_final, *du_final; /* NULL: absent */
} lab_case;

/* A multiple of 2^-7 in [-1,1]: few bits, so that sums with a small power of two stay exact. */
static inline double lab_draw(uint64_t seed, uint64_t tensor, uint64_t i) {
    const uint64_t counter[4] = {i, tensor, 0, 0}, key[2] = {seed, 0x6f7261636c65};
    uint64_t bits[4];
    gka_philox(counter, key, bits);
    return (double)(int64_t)(bits[0] % 257) / 128 - 1;
}

static inline double *lab_tensor(gka_view *view, uint64_t seed, uint64_t tensor, int rank,
                                 const int64_t shape[4]) {
    int64_t count = 1;
    *view = (gka_view){.dtype = GKA_F64, .rank = rank, .shape = {1, 1, 1, 1, 1}};
    for (int i = rank - 1; i >= 0; i--) {
        view->shape[i] = shape[i];
        view->stride[i] = count;
        count *= shape[i];
    }
    double *const data = gka_alloc((size_t)count, sizeof *data);
    assert_non_null(data);
    for (int64_t i = 0; i < count; i++)
        data[i] = lab_draw(seed, tensor, (uint64_t)i);
    view->data = data;
    return data;
}

/* h0 = c sum_3 w w^T for each head; multiples of 2^-14 where c is a power of two. */
static inline void lab_fill_h0(lab_case *lab, double c, uint64_t seed) {
    const gka_problem *const p = &lab->problem;
    for (int64_t n = 0; n < p->N * p->H; n++)
        for (int64_t i = 0; i < p->D; i++)
            for (int64_t j = 0; j < p->D; j++) {
                double sum = 0;
                for (int64_t m = 0; m < 3; m++)
                    sum += lab_draw(seed, 20, (uint64_t)((n * 3 + m) * p->D + i)) *
                           lab_draw(seed, 20, (uint64_t)((n * 3 + m) * p->D + j));
                lab->h0[(n * p->D + i) * p->D + j] = c * sum;
            }
}

static inline void lab_new(lab_case *lab, const lab_shape *s) {
    gka_problem *const p = &lab->problem;
    memset(lab, 0, sizeof *lab);
    *p = (gka_problem){.B = s->B, .T = s->T, .H = s->H, .G = s->G, .D = s->D, .V = s->V};
    p->N = s->packed ? 4 : s->B;
    if (s->packed) {
        const int64_t bounds[5] = {0, 2, 2, s->T - 1, s->T};
        memcpy(lab->cu_seqlens, bounds, sizeof bounds);
        p->cu_seqlens = lab->cu_seqlens;
    }
    p->ridge_ratio = s->a == 0 ? 0.02 : s->a;
    p->scale = 1 / sqrt((double)s->D);
    p->num_iter = 30;
    p->chunk_size = 4;
    const int64_t queries[4] = {s->B, s->T, s->H, s->D}, outputs[4] = {s->B, s->T, s->H, s->V},
                  keys[4] = {s->B, s->T, s->G, s->D}, values[4] = {s->B, s->T, s->G, s->V},
                  H[4] = {p->N, s->H, s->D, s->D}, U[4] = {p->N, s->H, s->D, s->V};
    lab->q = lab_tensor(&p->q, s->seed, 0, 4, queries);
    lab->k = lab_tensor(&p->k, s->seed, 1, 4, keys);
    lab->dx = lab_tensor(&p->dx, s->seed, 2, 4, queries);
    if (s->V > 0) {
        lab->v = lab_tensor(&p->v, s->seed, 3, 4, values);
        lab->dout = lab_tensor(&p->dout, s->seed, 4, 4, outputs);
    }
    if (s->alpha)
        lab->alpha = lab_tensor(&p->alpha, s->seed, 5, 3, queries);
    if (s->gate) {
        lab->g = lab_tensor(&p->g, s->seed, 6, 3, queries);
        for (int64_t i = 0; i < s->B * s->T * s->H; i++)
            lab->g[i] = -fabs(lab->g[i]) - 0x1p-7;
    }
    if (s->states) {
        lab->h0 = lab_tensor(&p->h0, s->seed, 7, 4, H);
        lab->u0 = lab_tensor(&p->u0, s->seed, 8, 4, U);
        lab_fill_h0(lab, s->h0_scale == 0 ? 1 : s->h0_scale, s->seed);
    }
    if (s->final) {
        lab->dh_final = lab_tensor(&p->dh_final, s->seed, 9, 4, H);
        if (s->V > 0)
            lab->du_final = lab_tensor(&p->du_final, s->seed, 10, 4, U);
    }
    for (int64_t h = 0; s->cut && s->gate && h < s->H; h++)
        lab->g[s->T / 2 * s->H + h] = -INFINITY;
    for (int64_t i = 0; s->silent && i < s->G * s->D; i++)
        lab->k[s->T / 2 * s->G * s->D + i] = 0;
    gka_error error = {0};
    if (gka_problem_check(p, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
}

static inline void lab_free(lab_case *lab) {
    double *const tensors[] = {lab->q,  lab->k,    lab->v,  lab->alpha,    lab->g,       lab->h0,
                               lab->u0, lab->dout, lab->dx, lab->dh_final, lab->du_final};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        gka_free(tensors[i]);
}

/* ---- results ------------------------------------------------------------------------------- */

enum { LAB_FORWARD = 9, LAB_MEMBERS = GKA_OUTPUTS - 1 };

/* Every output that an oracle fills as (pointer to the member, number of elements), forward ones
 * first; all but g_cumsum. */
typedef struct lab_member {
    const char *name;
    int output;
    double **at;
    int64_t count;
} lab_member;

static inline void lab_members(const gka_problem *p, gka_outputs *e, lab_member m[LAB_MEMBERS]) {
    int n = 0;
    for (int i = 0; i < GKA_OUTPUTS; i++)
        if (i != GKA_OUT_G_CUMSUM)
            m[n++] = (lab_member){gka_output_table[i].name, i, &e->of[i], gka_output_count(p, i)};
}

/* Room for every member, filled with NaN so that what is not written shows. */
static inline void lab_exact_new(const gka_problem *problem, gka_outputs *exact) {
    lab_member members[LAB_MEMBERS];
    *exact = (gka_outputs){0};
    lab_members(problem, exact, members);
    for (int i = 0; i < LAB_MEMBERS; i++) {
        *members[i].at = gka_alloc((size_t)members[i].count, sizeof(double));
        assert_non_null(*members[i].at);
        for (int64_t j = 0; j < members[i].count; j++)
            (*members[i].at)[j] = NAN;
    }
}

static inline void lab_exact_free(const gka_problem *problem, gka_outputs *exact) {
    lab_member members[LAB_MEMBERS];
    lab_members(problem, exact, members);
    for (int i = 0; i < LAB_MEMBERS; i++)
        gka_free(*members[i].at);
}

/* ---- calls that must succeed --------------------------------------------------------------- */

static inline void lab_forward(const gka_problem *problem, gka_oracle oracle, gka_outputs *out,
                               gka_outputs *lo) {
    const gka_oracle_options options = {.oracle = oracle};
    gka_error error = {0};
    if (gka_oracle_forward(problem, &options, out, lo, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
}

static inline void lab_gradient(const gka_problem *problem, gka_of cotangent, gka_oracle oracle,
                                gka_outputs *out, gka_outputs *lo) {
    const gka_oracle_options options = {.oracle = oracle};
    gka_error error = {0};
    if (gka_oracle_gradient(problem, cotangent, &options, out, lo, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
}

#endif
