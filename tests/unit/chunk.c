/* chunk.c - the chunk algorithm in exact64 against the recurrence of NUMERICS 1 and 3, written
 * token by token; profiles and their switches; bf16; bad input; failing allocations. */
#include "test.h"

#include "chunk/row_kernels.h"
#include "gka/chunk.h"

#include <math.h>
#include <stdlib.h>

/* ---- problems ------------------------------------------------------------------------------ */

typedef enum kind { IID, LOWRANK, REPEAT, ZERO } kind;

typedef struct shape {
    int64_t B, T, H, G, D, V, C;
    int num_iter;
    double a;
    kind keys;
    double gate; /* mean of -g; 0: ungated */
    bool h0;
    int64_t N; /* > B: packed */
} shape;

static double uniform(uint64_t *counter) {
    uint64_t bits[4];
    gka_philox((const uint64_t[4]){(*counter)++, 7, 0, 0}, (const uint64_t[2]){42, 0}, bits);
    return (double)(bits[0] >> 11) * 0x1p-53;
}

/* Uniform on (-1, 1): any fixed draw will do here. */
static double draw(uint64_t *counter) {
    return 2 * uniform(counter) - 1;
}

static gka_view view_of(double *data, int rank, const int64_t *dims) {
    gka_view view = {.data = data, .dtype = GKA_F64, .rank = rank};
    int64_t stride = 1;
    for (int i = rank - 1; i >= 0; i--) {
        view.shape[i] = dims[i];
        view.stride[i] = stride;
        stride *= dims[i];
    }
    return view;
}

static double *filled(int64_t count, uint64_t *counter) {
    double *const data = malloc((size_t)(count > 0 ? count : 1) * sizeof *data);
    assert_non_null(data);
    for (int64_t i = 0; i < count; i++)
        data[i] = draw(counter);
    return data;
}

static void normalise(double *rows, int64_t count, int64_t D) {
    for (int64_t i = 0; i < count; i++) {
        double norm = 0;
        for (int64_t j = 0; j < D; j++)
            norm += rows[i * D + j] * rows[i * D + j];
        for (int64_t j = 0; j < D && norm > 0; j++)
            rows[i * D + j] /= sqrt(norm);
    }
}

static gka_problem make(const shape *s, int64_t *cu_seqlens) {
    uint64_t counter = 0;
    gka_problem p = {.B = s->B, .T = s->T, .H = s->H, .G = s->G, .D = s->D, .V = s->V};
    p.N = s->N > s->B ? s->N : s->B;
    const int64_t qs[] = {s->B, s->T, s->H, s->D}, ks[] = {s->B, s->T, s->G, s->D},
                  vs[] = {s->B, s->T, s->G, s->V}, gs[] = {s->B, s->T, s->H},
                  hs[] = {p.N, s->H, s->D, s->D}, us[] = {p.N, s->H, s->D, s->V};
    const int64_t rows = s->B * s->T * s->H, key_rows = s->B * s->T * s->G;
    double *const q = filled(rows * s->D, &counter), *const k = filled(key_rows * s->D, &counter);
    for (int64_t i = 0; i < key_rows; i++)
        for (int64_t j = 0; j < s->D; j++) {
            double *const e = &k[i * s->D + j];
            if (s->keys == REPEAT)
                *e = k[j] + 1e-3 * *e;
            else if (s->keys == LOWRANK && j > 1)
                *e = k[i * s->D] * (double)(j + 1) + 1e-2 * *e;
            else if (s->keys == ZERO)
                *e = 0;
        }
    normalise(q, rows, s->D);
    normalise(k, key_rows, s->D);
    p.q = view_of(q, 4, qs);
    p.k = view_of(k, 4, ks);
    p.v = view_of(filled(key_rows * s->V, &counter), 4, vs);
    p.alpha = view_of(filled(rows, &counter), 3, gs);
    p.dout = view_of(filled(rows * s->V, &counter), 4, qs);
    p.dout =
        view_of((double *)(uintptr_t)p.dout.data, 4, (const int64_t[]){s->B, s->T, s->H, s->V});
    p.dx = view_of(filled(rows * s->D, &counter), 4, qs);
    if (s->gate > 0) {
        double *const g = filled(rows, &counter);
        for (int64_t i = 0; i < rows; i++)
            g[i] = -s->gate * (1 + g[i]);
        p.g = view_of(g, 3, gs);
    }
    if (s->h0) {
        double *const h0 = filled(p.N * s->H * s->D * s->D, &counter);
        for (int64_t m = 0; m < p.N * s->H; m++) { /* positive definite: symmetric + 2D on top */
            double *const A = h0 + m * s->D * s->D;
            for (int64_t i = 0; i < s->D; i++)
                for (int64_t j = 0; j <= i; j++)
                    A[j * s->D + i] = A[i * s->D + j] += i == j ? 2 * (double)s->D : 0;
        }
        p.h0 = view_of(h0, 4, hs);
        p.u0 = view_of(filled(p.N * s->H * s->D * s->V, &counter), 4, us);
    }
    if (s->N > s->B) {
        for (int64_t n = 0; n <= s->N; n++)
            cu_seqlens[n] = n == s->N ? s->T : n * (s->T / s->N) - (n > 0);
        p.cu_seqlens = cu_seqlens;
    }
    p.ridge_ratio = s->a;
    p.scale = 1 / sqrt((double)s->D);
    p.num_iter = s->num_iter;
    p.chunk_size = s->C;
    return p;
}

static void drop(gka_problem *p) {
    const gka_view *const views[] = {&p->q,  &p->k,  &p->v,    &p->alpha, &p->g,
                                     &p->h0, &p->u0, &p->dout, &p->dx};
    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        free((void *)(uintptr_t)views[i]->data);
}

/* ---- the recurrence, token by token -------------------------------------------------------- */

typedef struct outputs {
    double *x, *fro, *o, *h_final, *u_final;
} outputs;

static outputs outputs_of(const gka_problem *p) {
    const size_t rows = (size_t)(p->B * p->T * p->H), heads = (size_t)(p->N * p->H),
                 D = (size_t)p->D, V = (size_t)p->V;
    outputs out = {calloc(rows * D, 8), calloc(rows, 8), calloc(rows * V, 8),
                   calloc(heads * D * D, 8), calloc(heads * D * V, 8)};
    return out;
}

static void outputs_drop(outputs *out) {
    free(out->x);
    free(out->fro);
    free(out->o);
    free(out->h_final);
    free(out->u_final);
}

static void multiply(int64_t D, const double *H, const double *x, double *y) {
    for (int64_t i = 0; i < D; i++) {
        y[i] = 0;
        for (int64_t j = 0; j < D; j++)
            y[i] += H[i * D + j] * x[j];
    }
}

/* NUMERICS 3: r steps from x = step q, for a spectrum in [a f, (a + 1 + margin) f]. */
static void chebyshev_between(int64_t D, int r, double a, double margin, double f, const double *H,
                              const double *q, double *x) {
    const double lambda = a * f, mu = lambda, L = lambda + (1 + margin) * f;
    const double rho = (L - mu) / (L + mu), step = 2 / (L + mu);
    double omega = 2, previous[64] = {0}, y[64];
    for (int64_t i = 0; i < D; i++)
        x[i] = f > 0 ? step * q[i] : 0;
    for (; r > 0 && f > 0; r--) {
        omega = 1 / (1 - rho / 2 * (rho / 2) * omega);
        multiply(D, H, x, y);
        for (int64_t i = 0; i < D; i++) {
            const double next = x[i] - step * omega * (y[i] + lambda * x[i] - q[i]) +
                                (omega - 1) * (x[i] - previous[i]);
            previous[i] = x[i];
            x[i] = next;
        }
    }
}

static void chebyshev(int64_t D, int r, double a, double f, const double *H, const double *q,
                      double *x) {
    chebyshev_between(D, r, a, 0, f, H, q, x);
}

static void recurrence(const gka_problem *p, double margin, outputs *out) {
    const int64_t D = p->D, V = p->V;
    double q[64], k[64], v[64];
    for (int64_t n = 0; n < p->N; n++)
        for (int64_t h = 0; h < p->H; h++) {
            const gka_span span = gka_problem_span(p, n);
            double *const H = out->h_final + (n * p->H + h) * D * D;
            double *const U = out->u_final + (n * p->H + h) * D * V;
            gka_problem_h0(p, n, h, H);
            gka_problem_u0(p, n, h, U);
            for (int64_t t = span.begin; t < span.end; t++) {
                const int64_t row = (span.b * p->T + t) * p->H + h;
                const double gamma = exp(gka_problem_g(p, span.b, t, h));
                double f = 0, *const x = out->x + row * D;
                gka_problem_q(p, span.b, t, h, q);
                gka_problem_k(p, span.b, t, h, k);
                gka_problem_v(p, span.b, t, h, v);
                for (int64_t i = 0; i < D; i++)
                    for (int64_t j = 0; j < D; j++) {
                        H[i * D + j] = gamma * H[i * D + j] + k[i] * k[j];
                        f += H[i * D + j] * H[i * D + j];
                    }
                for (int64_t i = 0; i < D; i++)
                    for (int64_t j = 0; j < V; j++)
                        U[i * V + j] = gamma * U[i * V + j] + k[i] * v[j];
                out->fro[row] = f = sqrt(f);
                chebyshev_between(D, p->num_iter, p->ridge_ratio, margin, f, H, q, x);
                const double alpha = gka_problem_alpha(p, span.b, t, h);
                for (int64_t j = 0; j < V; j++) {
                    double sum = 0;
                    for (int64_t i = 0; i < D; i++)
                        sum += U[i * V + j] * (q[i] + alpha * (x[i] - q[i]));
                    out->o[row * V + j] = p->scale * sum;
                }
            }
        }
}

/* ||a - b|| / ||b||, worst over rows of width n; both zero: 0. */
static double worst_row(int64_t rows, int64_t n, const double *a, const double *b) {
    double worst = 0;
    for (int64_t i = 0; i < rows; i++) {
        double e = 0, r = 0;
        for (int64_t j = i * n; j < (i + 1) * n; j++) {
            e += (a[j] - b[j]) * (a[j] - b[j]);
            r += b[j] * b[j];
        }
        const double error = r > 0 ? sqrt(e / r) : sqrt(e);
        if (!(error <= worst))
            worst = error;
    }
    return worst;
}

static const shape shapes[] = {
    {1, 23, 1, 1, 5, 5, 23, 12, .02, IID, .5, false, 0},
    {1, 23, 1, 1, 5, 3, 1, 12, .02, IID, .5, true, 0},
    {2, 37, 4, 2, 8, 6, 7, 30, .02, IID, .1, true, 0},
    {1, 40, 2, 1, 16, 16, 16, 30, .02, LOWRANK, .01, false, 0},
    {1, 64, 1, 1, 16, 16, 64, 30, .02, REPEAT, .3, false, 0},
    {1, 64, 1, 1, 16, 8, 24, 60, .005, REPEAT, 0, false, 0},
    {1, 50, 2, 2, 6, 6, 8, 20, .1, IID, 8, false, 4},
    {1, 50, 2, 2, 6, 6, 8, 20, .1, IID, 0, true, 3},
    {1, 9, 1, 1, 4, 4, 4, 5, .02, ZERO, .1, false, 0},
};

static void check_profile(const gka_problem *p, const gka_profile *profile, double margin) {
    outputs want = outputs_of(p), got = outputs_of(p);
    recurrence(p, margin, &want);
    gka_outputs out = {
        .x = got.x, .fro = got.fro, .o = got.o, .h_final = got.h_final, .u_final = got.u_final};
    assert_int_equal(gka_chunk_forward(p, profile, &out, NULL, NULL, NULL), GKA_OK);
    const int64_t rows = p->B * p->T * p->H, heads = p->N * p->H;
    assert_true(worst_row(rows, 1, got.fro, want.fro) <= 1e-13);
    assert_true(worst_row(rows, p->D, got.x, want.x) <= 1e-12);
    assert_true(worst_row(1, rows * p->V, got.o, want.o) <= 1e-12);
    assert_true(worst_row(heads, p->D * p->D, got.h_final, want.h_final) <= 1e-12);
    assert_true(worst_row(heads, p->D * p->V, got.u_final, want.u_final) <= 1e-12);
    outputs_drop(&want);
    outputs_drop(&got);
}

static void check_against_recurrence(const gka_problem *p, gka_form form) {
    gka_profile profile;
    assert_int_equal(gka_profile_find("exact64", &profile, NULL), GKA_OK);
    profile.form = form;
    check_profile(p, &profile, 0);
}

static void prop_exact64_is_the_recurrence(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int64_t cu_seqlens[8];
        gka_problem p = make(&shapes[i], cu_seqlens);
        check_against_recurrence(&p, GKA_THREE_TERM);
        check_against_recurrence(&p, GKA_TWO_TERM);
        drop(&p);
    }
}

/* Any chunk size from 1 to T. */
static void prop_exact64_any_chunk(void **state) {
    (void)state;
    for (int64_t C = 1; C <= 19; C++) {
        const shape s = {1, 19, 1, 1, 6, 4, C, 15, .02, LOWRANK, .2, true, 0};
        gka_problem p = make(&s, NULL);
        check_against_recurrence(&p, GKA_THREE_TERM);
        drop(&p);
    }
}

/* Every chunk size from T on gives the same bits, in the memory that T takes. */
static void prop_exact64_beyond_the_sequence(void **state) {
    (void)state;
    static const int64_t sizes[] = {19, 20, 32, 64, 127, 128, 129, 1000, 1000000, INT64_MAX};
    const shape s = {1, 19, 2, 1, 6, 4, 19, 15, .02, LOWRANK, .2, true, 0};
    gka_problem p = make(&s, NULL);
    gka_profile profile;
    assert_int_equal(gka_profile_find("exact64", &profile, NULL), GKA_OK);
    outputs want = outputs_of(&p);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        outputs got = outputs_of(&p);
        gka_outputs out = {
            .x = got.x, .fro = got.fro, .o = got.o, .h_final = got.h_final, .u_final = got.u_final};
        p.chunk_size = sizes[i];
        assert_int_equal(gka_chunk_forward(&p, &profile, &out, NULL, NULL, NULL), GKA_OK);
        assert_true(gka_chunk_workspace(&p, &profile, 1) < 1 << 24);
        if (i == 0) {
            outputs_drop(&want);
            want = got;
            continue;
        }
        assert_memory_equal(got.x, want.x, 19 * 2 * 6 * sizeof(double));
        assert_memory_equal(got.fro, want.fro, 19 * 2 * sizeof(double));
        assert_memory_equal(got.o, want.o, 19 * 2 * 4 * sizeof(double));
        assert_memory_equal(got.h_final, want.h_final, 2 * 6 * 6 * sizeof(double));
        assert_memory_equal(got.u_final, want.u_final, 2 * 6 * 4 * sizeof(double));
        outputs_drop(&got);
    }
    outputs_drop(&want);
    drop(&p);
}

/* The interval and the number of iterations of a profile, in both Chebyshev forms. */
static void test_exact64_margin_and_num_iter(void **state) {
    (void)state;
    const shape s = {1, 23, 2, 1, 8, 6, 8, 11, .02, REPEAT, .1, true, 0};
    gka_problem p = make(&s, NULL);
    for (int form = GKA_THREE_TERM; form <= GKA_TWO_TERM; form++) {
        gka_profile profile;
        assert_int_equal(gka_profile_find("exact64", &profile, NULL), GKA_OK);
        profile.form = (gka_form)form;
        assert_int_equal(gka_profile_set(&profile, "margin=2^-3", NULL), GKA_OK);
        assert_int_equal(gka_profile_set(&profile, "num_iter=17", NULL), GKA_OK);
        p.num_iter = 17;
        check_profile(
            &p,
            &(gka_profile){
                .device = profile.device, .form = profile.form, .store = 1, .margin = .125},
            .125);
        gka_problem few = p;
        few.num_iter = 3;
        outputs want = outputs_of(&p), got = outputs_of(&p);
        recurrence(&p, .125, &want);
        gka_outputs out = {.x = got.x};
        assert_int_equal(gka_chunk_forward(&few, &profile, &out, NULL, NULL, NULL), GKA_OK);
        assert_true(worst_row(46, 8, got.x, want.x) <= 1e-12);
        outputs_drop(&want);
        outputs_drop(&got);
    }
    drop(&p);
}

/* g = -inf: the token's state starts anew; gates of every size in one chunk. */
static void test_exact64_zero_gates(void **state) {
    (void)state;
    const shape s = {1, 33, 2, 2, 6, 4, 8, 15, .02, IID, 3, true, 0};
    gka_problem p = make(&s, NULL);
    double *const g = (double *)(uintptr_t)p.g.data;
    const int cuts[] = {0, 3, 10, 11, 16, 31, 62, 63};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++)
        g[cuts[i]] = -INFINITY;
    g[20] = -700;
    g[41] = -50;
    check_against_recurrence(&p, GKA_THREE_TERM);
    drop(&p);
}

/* The first s tokens as one prefill, then each later token alone from the states left: the same
 * as one prefill of all. */
static void test_exact64_prefill_then_decode(void **state) {
    (void)state;
    const shape s = {1, 29, 2, 2, 7, 5, 8, 15, .02, IID, .2, true, 0};
    gka_problem p = make(&s, NULL);
    gka_profile profile;
    assert_int_equal(gka_profile_find("exact64", &profile, NULL), GKA_OK);
    outputs whole = outputs_of(&p), part = outputs_of(&p);
    gka_outputs out = {.x = whole.x, .o = whole.o, .h_final = whole.h_final};
    assert_int_equal(gka_chunk_forward(&p, &profile, &out, NULL, NULL, NULL), GKA_OK);
    double H[2 * 49], U[2 * 35];
    for (int64_t t = 0; t < s.T;) {
        const int64_t n = t == 0 ? 17 : 1;
        gka_problem step = p;
        step.T = n;
        gka_view *const views[] = {&step.q, &step.k, &step.v, &step.alpha, &step.g};
        for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
            views[i]->data = (const double *)views[i]->data + t * views[i]->stride[1];
            views[i]->shape[1] = n;
        }
        if (t > 0) {
            step.h0 = view_of(H, 4, (const int64_t[]){1, 2, 7, 7});
            step.u0 = view_of(U, 4, (const int64_t[]){1, 2, 7, 5});
        }
        out = (gka_outputs){.x = part.x + t * 14, .o = part.o + t * 10, .h_final = H, .u_final = U};
        double h_next[2 * 49], u_next[2 * 35];
        out.h_final = h_next;
        out.u_final = u_next;
        assert_int_equal(gka_chunk_forward(&step, &profile, &out, NULL, NULL, NULL), GKA_OK);
        memcpy(H, h_next, sizeof H);
        memcpy(U, u_next, sizeof U);
        t += n;
    }
    assert_true(worst_row(58, 7, part.x, whole.x) <= 1e-12);
    assert_true(worst_row(1, 58 * 5, part.o, whole.o) <= 1e-12);
    assert_true(worst_row(2, 49, H, whole.h_final) <= 1e-12);
    outputs_drop(&whole);
    outputs_drop(&part);
    drop(&p);
}

/* The same bits for any number of threads. */
static void test_threads_do_not_matter(void **state) {
    (void)state;
    int64_t cu_seqlens[8];
    gka_problem p = make(&shapes[6], cu_seqlens);
    gka_profile profile;
    assert_int_equal(gka_profile_find("ieee32", &profile, NULL), GKA_OK);
    outputs one = outputs_of(&p), many = outputs_of(&p);
    gka_outputs out = {.x = one.x, .o = one.o};
    gka_set_threads(1);
    assert_int_equal(gka_chunk_forward(&p, &profile, &out, NULL, NULL, NULL), GKA_OK);
    out = (gka_outputs){.x = many.x, .o = many.o};
    gka_set_threads(3);
    assert_int_equal(gka_chunk_forward(&p, &profile, &out, NULL, NULL, NULL), GKA_OK);
    gka_set_threads(0);
    assert_memory_equal(one.x, many.x, (size_t)(p.T * p.H * p.D) * sizeof(double));
    assert_memory_equal(one.o, many.o, (size_t)(p.T * p.H * p.V) * sizeof(double));
    outputs_drop(&one);
    outputs_drop(&many);
    drop(&p);
}

/* ---- gradients ----------------------------------------------------------------------------- */

typedef struct gradients {
    double *p, *dq, *dk, *dv, *dalpha, *dg, *dh0;
    double *size; /* per key: the terms of dk of the solve, added without their signs */
} gradients;

static gradients gradients_of(const gka_problem *p) {
    const size_t rows = (size_t)(p->B * p->T * p->H), keys = (size_t)(p->B * p->T * p->G),
                 D = (size_t)p->D, V = (size_t)p->V;
    gradients g = {calloc(rows * D, 8),
                   calloc(rows * D, 8),
                   calloc(keys * D, 8),
                   calloc(keys * V, 8),
                   calloc(rows, 8),
                   calloc(rows, 8),
                   calloc((size_t)(p->N * p->H) * D * D, 8),
                   calloc(keys, 8)};
    return g;
}

static void gradients_drop(gradients *g) {
    double *const all[] = {g->p, g->dq, g->dk, g->dv, g->dalpha, g->dg, g->dh0, g->size};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* A sequence's states, and what the tokens on the right have sent back. */
typedef struct reverse {
    const gka_problem *p;
    gradients *out;
    bool layer, bp_lambda;
    double *Hs, *Us; /* before each token, and after the last */
    double *A, *E;
    double terms; /* the size of what A has been added up from */
} reverse;

static void states_of(reverse *r, gka_span s, int64_t n, int64_t h) {
    const gka_problem *const p = r->p;
    const int64_t D = p->D, V = p->V;
    double k[64], v[64];
    gka_problem_h0(p, n, h, r->Hs);
    gka_problem_u0(p, n, h, r->Us);
    for (int64_t t = s.begin; t < s.end; t++) {
        const double gamma = exp(gka_problem_g(p, s.b, t, h));
        const double *const H = r->Hs + (t - s.begin) * D * D, *const U =
                                                                   r->Us + (t - s.begin) * D * V;
        double *const H1 = r->Hs + (t - s.begin + 1) * D * D, *const U1 =
                                                                  r->Us + (t - s.begin + 1) * D * V;
        gka_problem_k(p, s.b, t, h, k);
        gka_problem_v(p, s.b, t, h, v);
        for (int64_t i = 0; i < D; i++) {
            for (int64_t j = 0; j < D; j++)
                H1[i * D + j] = gamma * H[i * D + j] + k[i] * k[j];
            for (int64_t j = 0; j < V; j++)
                U1[i * V + j] = gamma * U[i * V + j] + k[i] * v[j];
        }
    }
}

/* x and p of a token, its dalpha and dq, and what it adds to A and E; returns |p| |x| + a |<p,x>|.
 */
static double solve_token(reverse *r, gka_span s, int64_t t, int64_t h) {
    const gka_problem *const p = r->p;
    const int64_t D = p->D, V = p->V, row = (s.b * p->T + t) * p->H + h;
    const double *const H = r->Hs + (t - s.begin + 1) * D * D, *const U = r->Us +
                                                                          (t - s.begin + 1) * D * V;
    const double alpha = gka_problem_alpha(p, s.b, t, h);
    double q[64], x[64], dout[64], mixed[64], dmixed[64], dx[64];
    double f = 0, px = 0, pp = 0, xx = 0, *const pt = r->out->p + row * D;
    gka_problem_q(p, s.b, t, h, q);
    gka_problem_dx(p, s.b, t, h, dx);
    gka_problem_dout(p, s.b, t, h, dout);
    for (int64_t i = 0; i < D * D; i++)
        f += H[i] * H[i];
    f = sqrt(f);
    chebyshev(D, p->num_iter, p->ridge_ratio, f, H, q, x);
    for (int64_t i = 0; i < D; i++) {
        mixed[i] = q[i] + alpha * (x[i] - q[i]);
        dmixed[i] = 0;
        for (int64_t j = 0; r->layer && j < V; j++) {
            dmixed[i] += p->scale * U[i * V + j] * dout[j];
            r->E[i * V + j] += p->scale * mixed[i] * dout[j];
        }
        if (r->layer) {
            r->out->dalpha[row] += dmixed[i] * (x[i] - q[i]);
            dx[i] = alpha * dmixed[i];
        }
    }
    chebyshev(D, p->num_iter, p->ridge_ratio, f, H, dx, pt);
    for (int64_t i = 0; i < D; i++) {
        r->out->dq[row * D + i] = pt[i] + (r->layer ? (1 - alpha) * dmixed[i] : 0);
        px += pt[i] * x[i];
    }
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++)
            r->A[i * D + j] -=
                pt[i] * x[j] + (r->bp_lambda && f > 0 ? p->ridge_ratio * px / f * H[i * D + j] : 0);
    for (int64_t i = 0; i < D; i++) {
        pp += pt[i] * pt[i];
        xx += x[i] * x[i];
    }
    return sqrt(pp * xx) + p->ridge_ratio * fabs(px);
}

static void reverse_one(reverse *r, gka_span s, int64_t t, int64_t h) {
    const gka_problem *const p = r->p;
    gradients *const out = r->out;
    const int64_t D = p->D, V = p->V, row = (s.b * p->T + t) * p->H + h,
                  key = (s.b * p->T + t) * p->G + gka_problem_group(p, h);
    const double *const H0 = r->Hs + (t - s.begin) * D * D, *const U0 =
                                                                r->Us + (t - s.begin) * D * V;
    const double gamma = exp(gka_problem_g(p, s.b, t, h));
    double k[64], v[64], kk = 0, dg = 0;
    gka_problem_k(p, s.b, t, h, k);
    gka_problem_v(p, s.b, t, h, v);
    for (int64_t i = 0; i < D; i++)
        kk += k[i] * k[i];
    r->terms += solve_token(r, s, t, h);
    out->size[key] += 2 * r->terms * sqrt(kk);
    r->terms *= gamma;
    for (int64_t i = 0; i < D; i++) {
        for (int64_t j = 0; j < D; j++) {
            out->dk[key * D + i] += (r->A[i * D + j] + r->A[j * D + i]) * k[j];
            dg += r->A[i * D + j] * H0[i * D + j];
        }
        for (int64_t j = 0; j < V; j++) {
            out->dk[key * D + i] += r->E[i * V + j] * v[j];
            out->dv[key * V + j] += r->E[i * V + j] * k[i];
            dg += r->E[i * V + j] * U0[i * V + j];
        }
    }
    out->dg[row] = gamma * dg;
    for (int64_t i = 0; i < D * D; i++)
        r->A[i] *= gamma;
    for (int64_t i = 0; i < D * V; i++)
        r->E[i] *= gamma;
}

/* NUMERICS 2, token by token from the right, with the r-step x and p; states are stored. */
static void implicit(const gka_problem *p, bool layer, bool bp_lambda, gradients *out) {
    const int64_t D = p->D, V = p->V, T = p->T;
    reverse r = {p,
                 out,
                 layer,
                 bp_lambda,
                 malloc((size_t)((T + 1) * D * D) * 8),
                 malloc((size_t)((T + 1) * D * V) * 8),
                 malloc((size_t)(D * D) * 8),
                 malloc((size_t)(D * V) * 8),
                 0};
    for (int64_t n = 0; n < p->N; n++)
        for (int64_t h = 0; h < p->H; h++) {
            const gka_span s = gka_problem_span(p, n);
            states_of(&r, s, n, h);
            memset(r.A, 0, (size_t)(D * D) * 8);
            memset(r.E, 0, (size_t)(D * V) * 8);
            r.terms = 0;
            for (int64_t t = s.end - 1; t >= s.begin; t--)
                reverse_one(&r, s, t, h);
            memcpy(out->dh0 + (n * p->H + h) * D * D, r.A, (size_t)(D * D) * 8);
        }
    free(r.Hs);
    free(r.Us);
    free(r.A);
    free(r.E);
}

/* dh0 of a symmetric state: only its symmetric part means anything. */
static void symmetrise(int64_t count, int64_t D, double *A) {
    for (; count > 0; count--, A += D * D)
        for (int64_t i = 0; i < D; i++)
            for (int64_t j = 0; j < i; j++)
                A[i * D + j] = A[j * D + i] = (A[i * D + j] + A[j * D + i]) / 2;
}

static void check_gradients(const gka_problem *p, bool layer, bool bp_lambda) {
    gka_profile profile;
    assert_int_equal(gka_profile_find("exact64", &profile, NULL), GKA_OK);
    gradients want = gradients_of(p), got = gradients_of(p);
    implicit(p, layer, bp_lambda, &want);
    const gka_of of = layer ? GKA_OF_O : GKA_OF_X;
    gka_outputs out = {0};
    out.gradient[of] = (gka_gradients){.p = got.p,
                                       .dq = got.dq,
                                       .dk = got.dk,
                                       .dv = got.dv,
                                       .dalpha = got.dalpha,
                                       .dg = got.dg,
                                       .dh0 = got.dh0};
    assert_int_equal(gka_chunk_backward(p, &profile, of, bp_lambda, NULL, &out, NULL), GKA_OK);
    const int64_t rows = p->B * p->T * p->H, keys = p->B * p->T * p->G, heads = p->N * p->H;
    symmetrise(heads, p->D, want.dh0);
    symmetrise(heads, p->D, got.dh0);
    assert_true(worst_row(1, rows * p->D, got.p, want.p) <= 1e-12);
    assert_true(worst_row(1, rows * p->D, got.dq, want.dq) <= 1e-12);
    /* With one key repeated the terms of dk cancel. Two evaluations of the r steps agree to
     * kappa u (the noise gain of the recurrence, NUMERICS 3), hence the terms to that. */
    const double kappa = (1 + p->ridge_ratio) / p->ridge_ratio, u = 0x1p-53;
    double norm = 0, error = 0, size = 0;
    for (int64_t i = 0; i < keys * p->D; i++) {
        norm += want.dk[i] * want.dk[i];
        error += (got.dk[i] - want.dk[i]) * (got.dk[i] - want.dk[i]);
    }
    for (int64_t i = 0; i < keys; i++)
        size += want.size[i] * want.size[i];
    assert_true(sqrt(error) <= fmax(1e-12 * sqrt(norm), kappa * u * sqrt(size)));
    assert_true(worst_row(1, keys * p->V, got.dv, want.dv) <= 1e-12);
    assert_true(worst_row(1, rows, got.dalpha, want.dalpha) <= 1e-12);
    if (p->g.data)
        assert_true(worst_row(1, rows, got.dg, want.dg) <= 1e-12);
    assert_true(worst_row(1, heads * p->D * p->D, got.dh0, want.dh0) <= 1e-12);
    gradients_drop(&want);
    gradients_drop(&got);
}

static void prop_exact64_gradients_are_implicit(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int64_t cu_seqlens[8];
        gka_problem p = make(&shapes[i], cu_seqlens);
        check_gradients(&p, false, true);
        check_gradients(&p, false, false);
        check_gradients(&p, true, true);
        drop(&p);
    }
}

static void test_exact64_gradients_at_zero_gates(void **state) {
    (void)state;
    const shape s = {1, 33, 2, 2, 6, 4, 8, 15, .02, IID, 3, true, 0};
    gka_problem p = make(&s, NULL);
    double *const g = (double *)(uintptr_t)p.g.data;
    const int cuts[] = {0, 3, 10, 11, 16, 31, 62, 63};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++)
        g[cuts[i]] = -INFINITY;
    check_gradients(&p, false, true);
    check_gradients(&p, true, true);
    drop(&p);
}

/* ---- bf16 ---------------------------------------------------------------------------------- */

static void test_bf16(void **state) {
    (void)state;
    static const struct {
        double x, want;
    } cases[] = {{1, 1},
                 {1 + 0x1p-8, 1},
                 {1 + 0x1.8p-7, 1 + 0x1p-6},
                 {1 + 0x1p-8 + 0x1p-52, 1 + 0x1p-7},
                 {-0x1.fep127, -0x1.fep127},
                 {0x1.fefffffffp127, 0x1.fep127},
                 {0x1.ffp127, INFINITY},
                 {-INFINITY, -INFINITY},
                 {0x1p-133, 0x1p-133},
                 {0x1p-134, 0},
                 {0x1.8p-133, 0x1p-132},
                 {-0x1p-140, -0.0},
                 {0x1.ffp-127, 0x1p-126}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(bits_of(bf16(cases[i].x)) == bits_of(cases[i].want));
    assert_true(isnan(bf16(NAN)));
    /* a bf16 fma through a binary64 sum rounds twice */
    assert_true(bits_of(gka_low_fma(false, 1, 1, 0x1p-8)) == bits_of(1));
    assert_true(bits_of(gka_low_fma(false, 0x1p-4, 0x1p-4, 1)) == bits_of(1));
    assert_true(bits_of(gka_low_fma(false, 9, 29, 0x1p-60)) == bits_of(262));
    assert_true(bits_of(gka_low_fma(false, 0x1p-30, 0x1p-30, 1 + 0x1p-7)) == bits_of(1 + 0x1p-7));
}

/* ---- repairs ------------------------------------------------------------------------------- */

static void test_kinds(void **state) {
    (void)state;
    static const struct {
        chunk_kind kind;
        double x, want;
    } cases[] = {{CHUNK_BF16, 1 + 0x1p-9, 1},
                 {CHUNK_SPLIT, 1 + 0x1p-9, 1 + 0x1p-9},
                 {CHUNK_SPLIT, 1 + 0x1p-9 + 0x1p-17, 1 + 0x1p-9},
                 {CHUNK_SPLIT, 1 + 0x1p-9 + 0x1.8p-17, 1 + 0x1p-9 + 0x1p-16},
                 {CHUNK_SPLIT, 1 + 0x1.8p-8, 1 + 0x1.8p-8}, /* 1 + 2^-7, less 2^-9 */
                 {CHUNK_SPLIT, 0x1.ffp127, INFINITY},
                 {CHUNK_SPLIT, -INFINITY, -INFINITY},
                 {CHUNK_FP16, 1 + 0x1p-11, 1},
                 {CHUNK_FP16, 65520, INFINITY},
                 {CHUNK_FP16, 0x1p-26, 0},
                 {CHUNK_TF32, 1 + 0x1p-11, 1},
                 {CHUNK_TF32, 1 + 0x1.8p-10, 1 + 0x1p-9},
                 {CHUNK_TF32, 65520, 65536},
                 {CHUNK_WORKING, 1 + 0x1p-52, 1 + 0x1p-52}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(bits_of(gka_chunk_round(cases[i].kind, cases[i].x)) == bits_of(cases[i].want));
        double x = cases[i].x;
        gka_chunk_round_rows(cases[i].kind, 1, &x, &x);
        assert_true(bits_of(x) == bits_of(cases[i].want));
    }
    assert_true(isnan(gka_chunk_round(CHUNK_SPLIT, NAN)));
}

enum { WIDE = 16, SQUARED = WIDE * WIDE };

/* Draws of a kind, of many sizes; their high and low parts. */
static void draw_kind(chunk_kind of, uint64_t *counter, double *x, double *high, double *low) {
    for (int i = 0; i < SQUARED; i++) {
        x[i] = gka_chunk_round(of, ldexp(draw(counter), (int)(12 * uniform(counter)) - 6));
        high[i] = bf16(x[i]);
        low[i] = x[i] - high[i];
    }
}

/* A product with an operand in two parts is the sum of the parts' products on the tensor core, low
 * ones first; tf32 and fp16 take the device's products of that type. */
static void prop_products_by_parts(void **state) {
    (void)state;
    static const struct {
        chunk_kind left, right;
    } cases[] = {{CHUNK_SPLIT, CHUNK_BF16}, {CHUNK_BF16, CHUNK_SPLIT}, {CHUNK_SPLIT, CHUNK_SPLIT},
                 {CHUNK_TF32, CHUNK_BF16},  {CHUNK_FP16, CHUNK_BF16},  {CHUNK_SPLIT, CHUNK_WORKING},
                 {CHUNK_BF16, CHUNK_BF16}};
    const shape s = {1, 16, 1, 1, WIDE, WIDE, WIDE, 3, .02, IID, 0, false, 0};
    gka_problem p = make(&s, NULL);
    gka_profile profile;
    chunk_plan plan;
    chunk_work work;
    chunk_bump count = {NULL, 0};
    assert_int_equal(gka_profile_find("h100", &profile, NULL), GKA_OK);
    gka_chunk_plan_init(&plan, &p, &profile);
    gka_chunk_work_layout(&plan, &count, &work);
    chunk_bump bump = {gka_alloc(count.used, 1), 0};
    assert_non_null(bump.base);
    gka_chunk_work_layout(&plan, &bump, &work);
    uint64_t counter = 5;
    for (size_t n = 0; n < 20 * sizeof cases / sizeof *cases; n++) {
        const chunk_kind left = cases[n / 20].left, right = cases[n / 20].right;
        const bool working = right == CHUNK_WORKING;
        const gka_mma_input input = left == CHUNK_TF32   ? GKA_MMA_TF32
                                    : left == CHUNK_FP16 ? GKA_MMA_FP16
                                    : working            ? GKA_MMA_WORKING
                                                         : GKA_MMA_BF16;
        double a[SQUARED], a1[SQUARED], a0[SQUARED], b[SQUARED], b1[SQUARED], b0[SQUARED];
        double got[SQUARED], want[SQUARED];
        draw_kind(left, &counter, a, a1, a0);
        draw_kind(right, &counter, b, b1, b0);
        for (int i = 0; i < SQUARED; i++) {
            got[i] = want[i] = w(true, draw(&counter));
            b[i] = working ? w(true, b[i]) : b[i];
        }
        gka_chunk_multiply(&plan, &work, left, right, WIDE, WIDE, WIDE, (gka_matrix){a, WIDE, 1},
                           (gka_matrix){b, 1, WIDE}, got, WIDE);
        if (input == GKA_MMA_FP16)
            gka_chunk_round_rows(CHUNK_FP16, SQUARED, b, b);
        const bool two_a = left == CHUNK_SPLIT && !working, two_b = right == CHUNK_SPLIT;
        const struct {
            const double *a, *b;
            bool there;
        } terms[] = {{a0, two_b ? b1 : b, two_a},
                     {two_a ? a1 : a, b0, two_b},
                     {two_a ? a1 : a, two_b ? b1 : b, true}};
        for (int i = 0; i < 3; i++)
            if (terms[i].there)
                gka_mma(profile.device, input, WIDE, WIDE, WIDE, (gka_matrix){terms[i].a, WIDE, 1},
                        (gka_matrix){terms[i].b, 1, WIDE}, want, WIDE, work.pack_H.numbers);
        assert_memory_equal(got, want, sizeof got);
    }
    gka_free(bump.base);
    drop(&p);
}

static gka_generator bf16_problem(void) {
    return (gka_generator){.keys = GKA_KEYS_IID,
                           .gate = GKA_GATE_RELEASED,
                           .B = 1,
                           .T = 40,
                           .H = 1,
                           .G = 1,
                           .D = 32,
                           .V = 32,
                           .alpha = true,
                           .cotangents = true,
                           .dtype = GKA_BF16,
                           .num_iter = 12,
                           .chunk_size = 16,
                           .seed = 3};
}

/* Every matrix product once, of whole tiles: T = 40 is three tiles of 16. */
static void test_multiply_adds_are_counted(void **state) {
    (void)state;
    const gka_generator generator = bf16_problem();
    const int64_t C = 16, D = 32, V = 32, r = 12, tiles = 3;
    const int64_t solve = r * (C * D * D + 2 * C * C * D), norm = C * C * D + C * C * C + C * D * D,
                  states = D * D * C + D * V * C, output = C * D * V + C * C * D + C * C * V;
    gka_problem p;
    gka_profile profile;
    double x[40 * 32], o[40 * 32];
    assert_int_equal(gka_problem_generate(&generator, &p, NULL), GKA_OK);
    assert_int_equal(gka_profile_find("exact64", &profile, NULL), GKA_OK);
    for (int threads = 1; threads <= 2; threads++) {
        gka_chunk_report report;
        gka_set_threads(threads);
        assert_int_equal(
            gka_chunk_forward(&p, &profile, &(gka_outputs){.x = x, .o = o}, NULL, &report, NULL),
            GKA_OK);
        assert_int_equal(report.multiply_adds, tiles * (solve + norm + states + output));
    }
    gka_set_threads(1);
    gka_problem_free(&p);
}

/* With store=2, x and p are what the iteration left, rounded to two parts: 17 significant bits. */
static void test_two_parts_are_stored(void **state) {
    (void)state;
    enum { N = 40 * 32 };
    const gka_generator generator = bf16_problem();
    gka_problem p;
    assert_int_equal(gka_problem_generate(&generator, &p, NULL), GKA_OK);
    for (int form = 0; form < GKA_FORM_COUNT; form++) {
        gka_profile profile;
        double x[2][N], dp[2][N], dk[2][N];
        for (int i = 0; i < 2; i++) {
            assert_int_equal(gka_profile_find("h100", &profile, NULL), GKA_OK);
            profile.form = (gka_form)form;
            assert_int_equal(gka_profile_set(&profile, i ? "store=2" : "store_x=exact", NULL),
                             GKA_OK);
            gka_outputs out = {.x = x[i], .solve.p = dp[i], .solve.dk = dk[i]};
            assert_int_equal(gka_chunk_backward(&p, &profile, GKA_OF_X, true, NULL, &out, NULL),
                             GKA_OK);
        }
        int rounded = 0;
        for (int i = 0; i < N; i++) {
            assert_true(bits_of(x[1][i]) == bits_of(gka_chunk_round(CHUNK_SPLIT, x[0][i])));
            assert_true(bits_of(dp[1][i]) == bits_of(gka_chunk_round(CHUNK_SPLIT, dp[0][i])));
            assert_true(fabs(x[1][i] - x[0][i]) <= 0x1p-17 * fabs(x[0][i]));
            rounded += bits_of(x[1][i]) != bits_of(bf16(x[1][i]));
        }
        assert_true(rounded > N / 2);
    }
    gka_problem_free(&p);
}

/* Nothing else rounded to bf16 on the way: q' and dx in two parts, nine bits more, take o and p
 * nearer to what they are without that rounding, by six bits at least. */
static void test_two_parts_are_handed_over(void **state) {
    (void)state;
    enum { N = 40 * 32, SETTINGS = 3, TENSORS = 5 };
    static const char *const handoff[SETTINGS] = {"mix=exact", "handoff=2", "handoff=1"};
    const gka_generator generator = bf16_problem();
    gka_problem p;
    static double results[SETTINGS][TENSORS][N];
    assert_int_equal(gka_problem_generate(&generator, &p, NULL), GKA_OK);
    for (int i = 0; i < SETTINGS; i++) {
        gka_profile profile;
        assert_int_equal(gka_profile_find("exact64", &profile, NULL), GKA_OK);
        profile.device = gka_device_find("h100");
        static const char *const rounded[] = {"arithmetic=released", "tensor_core=released",
                                              "mix=released", "store_grad=released"};
        for (size_t j = 0; j < sizeof rounded / sizeof *rounded; j++)
            assert_int_equal(gka_profile_set(&profile, rounded[j], NULL), GKA_OK);
        assert_int_equal(gka_profile_set(&profile, handoff[i], NULL), GKA_OK);
        if (i == 0)
            assert_int_equal(gka_profile_set(&profile, "store_grad=exact", NULL), GKA_OK);
        double(*const r)[N] = results[i];
        gka_outputs out = {
            .o = r[0], .layer.dv = r[1], .layer.p = r[2], .layer.dalpha = r[3], .layer.dk = r[4]};
        assert_int_equal(gka_chunk_backward(&p, &profile, GKA_OF_O, true, NULL, &out, NULL),
                         GKA_OK);
    }
    for (int t = 0; t < 3; t += 2) { /* o and p; dv is itself stored in bf16 */
        const double two = worst_row(1, N, results[1][t], results[0][t]),
                     one = worst_row(1, N, results[2][t], results[0][t]);
        assert_true(one > 0x1p-10 && two < 0x1p-6 * one);
    }
    gka_problem_free(&p);
}

/* A scaled operand of bf16's or tf32's precision and range is that operand, bit for bit; one of
 * four bits loses more, in e4m3's range too, whatever the size of q. */
static void test_scaled_operands(void **state) {
    (void)state;
    enum { N = 40 * 32, SETTINGS = 6 };
    static const char *const settings[SETTINGS] = {"operand=bf16", "operand=p8e8",
                                                   "operand=tf32", "operand=p11e8",
                                                   "operand=e4m3", "operand_x=exact"};
    const gka_generator generator = bf16_problem();
    gka_problem p;
    static double x[SETTINGS][N], dk[SETTINGS][N];
    assert_int_equal(gka_problem_generate(&generator, &p, NULL), GKA_OK);
    for (int form = 0; form < GKA_FORM_COUNT; form++) {
        for (int i = 0; i < SETTINGS; i++) {
            gka_profile profile;
            assert_int_equal(gka_profile_find("h100", &profile, NULL), GKA_OK);
            profile.form = (gka_form)form;
            assert_int_equal(gka_profile_set(&profile, settings[i], NULL), GKA_OK);
            gka_outputs out = {.x = x[i], .solve.dk = dk[i]};
            assert_int_equal(gka_chunk_backward(&p, &profile, GKA_OF_X, true, NULL, &out, NULL),
                             GKA_OK);
        }
        for (int i = 0; i < 4; i += 2) {
            assert_memory_equal(x[i], x[i + 1], sizeof x[i]);
            assert_memory_equal(dk[i], dk[i + 1], sizeof dk[i]);
        }
        const double coarse = worst_row(1, N, x[4], x[5]), bf = worst_row(1, N, x[0], x[5]);
        assert_true(coarse > 2 * bf && coarse < .5);
    }
    gka_profile profile;
    gka_error error = {0};
    assert_int_equal(gka_profile_find("h100", &profile, NULL), GKA_OK);
    profile.fp16 = true;
    assert_int_equal(gka_profile_set(&profile, "operand=p6e5", NULL), GKA_OK);
    assert_int_equal(profile.scaled.p, 6);
    assert_int_equal(gka_chunk_check(&p, &profile, &error), GKA_UNSUPPORTED);
    assert_non_null(strstr(error.text, "scaled"));
    assert_int_equal(gka_profile_set(&profile, "operand=p12e8", &error), GKA_BAD_ARGUMENT);
    assert_non_null(strstr(error.text, "11 bits"));
    gka_problem_free(&p);
}

/* ---- fp16 ---------------------------------------------------------------------------------- */

enum { FP16_N = 80 * 32, FP16_TENSORS = 7 };

/* x o dq dk dv dalpha dg of the layer, of inputs in bf16 or fp16. */
static void run_layer(bool fp16, const char *const *settings, double r[FP16_TENSORS][FP16_N]) {
    gka_generator generator = bf16_problem();
    generator.gate = GKA_GATE_SLOW;
    generator.T = 80; /* more than a tile of the output stage */
    generator.dtype = fp16 ? GKA_F16 : GKA_BF16;
    gka_problem p;
    gka_profile profile;
    gka_error error = {0};
    assert_int_equal(gka_problem_generate(&generator, &p, NULL), GKA_OK);
    assert_int_equal(gka_profile_find("h100", &profile, NULL), GKA_OK);
    for (; *settings != NULL; settings++)
        assert_int_equal(gka_profile_set(&profile, *settings, NULL), GKA_OK);
    assert_int_equal(gka_profile_set(&profile, fp16 ? "inputs=fp16" : "inputs=bf16", NULL), GKA_OK);
    gka_outputs out = {.x = r[0],
                       .o = r[1],
                       .layer.dq = r[2],
                       .layer.dk = r[3],
                       .layer.dv = r[4],
                       .layer.dalpha = r[5],
                       .layer.dg = r[6]};
    memset(r, 0, FP16_TENSORS * sizeof *r);
    if (gka_chunk_backward(&p, &profile, GKA_OF_O, true, NULL, &out, &error) != GKA_OK)
        fail_msg("%s", error.text);
    gka_problem_free(&p);
}

/* What one setting changes, at most, of the tensors where it changes anything. */
static double change_by(bool fp16, const char *setting) {
    static double without[FP16_TENSORS][FP16_N], with[FP16_TENSORS][FP16_N];
    const char *const base[] = {"all=exact", "arithmetic=released", NULL},
                      *const more[] = {"all=exact", "arithmetic=released", setting, NULL};
    run_layer(fp16, base, without);
    run_layer(fp16, more, with);
    double most = 0;
    for (int t = 0; t < FP16_TENSORS; t++)
        most = fmax(most, worst_row(1, FP16_N, with[t], without[t]));
    return most;
}

/* Each point by itself rounds to the type of the inputs: an eighth of the change, to first order;
 * luck of the draw leaves it below a third. */
static void test_every_point_rounds_to_the_inputs_type(void **state) {
    (void)state;
    static const char *const points[] = {
        "state_operand", "state_snapshot", "mask",     "norm_square",  "norm_reduce",  "operand_x",
        "operand_score", "store_x",        "mix",      "output_state", "output_score", "store_o",
        "grad_state",    "grad_operand",   "grad_dot", "store_grad"};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        char setting[40];
        (void)snprintf(setting, sizeof setting, "%s=released", points[i]);
        const double bf16_change = change_by(false, setting),
                     fp16_change = change_by(true, setting);
        if (!(fp16_change > 0 && fp16_change < bf16_change / 3))
            fail_msg("%s: bf16 %.3g, fp16 %.3g", setting, bf16_change, fp16_change);
    }
    const double bf16_states = change_by(false, "states=low"),
                 fp16_states = change_by(true, "states=low");
    assert_true(fp16_states > 0 && fp16_states < bf16_states / 3);
}

/* Stored values are fp16 numbers; all points together, in every form, come to less than half of
 * what they come to in bf16 (tf32 operands are as coarse in both). CG in fp16 is as good: its
 * directions are scaled, for without that the later ones are lost below 2^-24. */
static void test_fp16_kernels(void **state) {
    (void)state;
    static const char *const forms[] = {"form=three-term", "form=two-term", "form=cg",
                                        "form=cg-consistent"};
    static double exact[FP16_TENSORS][FP16_N], with[FP16_TENSORS][FP16_N];
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        const char *const settings[] = {forms[f], "num_iter=30", NULL}, *const none[] = {
                                                                            "all=exact", forms[f],
                                                                            "num_iter=30", NULL};
        double error[2][FP16_TENSORS];
        for (int fp16 = 0; fp16 < 2; fp16++) {
            run_layer(fp16 == 1, none, exact);
            run_layer(fp16 == 1, settings, with);
            for (int t = 0; t < FP16_TENSORS; t++)
                error[fp16][t] = worst_row(1, FP16_N, with[t], exact[t]);
        }
        for (int t = 0; t < FP16_TENSORS; t++)
            if (!(error[1][t] < error[0][t] / 2))
                fail_msg("%s, tensor %d: bf16 %.3g, fp16 %.3g", forms[f], t, error[0][t],
                         error[1][t]);
        int finer = 0;
        for (int t = 0; t < FP16_TENSORS - 1; t++) /* dg is stored in binary32 */
            for (int i = 0; i < FP16_N; i++) {
                assert_true(bits_of(with[t][i]) ==
                            bits_of(gka_chunk_round(CHUNK_FP16, with[t][i])));
                finer += bits_of(with[t][i]) != bits_of(bf16(with[t][i]));
            }
        assert_true(finer > FP16_N);
    }
}

/* fp16 ends at 65504: ||H||_F^2 of states above 256 overflows where it is summed in fp16. */
static void test_fp16_overflows(void **state) {
    (void)state;
    gka_generator generator = bf16_problem();
    generator.gate = GKA_GATE_NONE;
    generator.dtype = GKA_F16;
    gka_problem p;
    assert_int_equal(gka_problem_generate(&generator, &p, NULL), GKA_OK);
    uint16_t *const k = (uint16_t *)(uintptr_t)p.k.data;
    for (int64_t i = 0; i < p.T * p.D; i++) /* keys of length 50: f = 2500 from the first on */
        k[i] = 0x4880;                      /* 9 */
    for (int norm = 0; norm < 2; norm++) {
        double fro[40];
        gka_profile profile;
        gka_outputs out = {.fro = fro};
        assert_int_equal(gka_profile_find("h100", &profile, NULL), GKA_OK);
        assert_int_equal(gka_profile_set(&profile, "inputs=fp16", NULL), GKA_OK);
        if (norm == 1) {
            assert_int_equal(gka_profile_set(&profile, "norm_reduce=exact", NULL), GKA_OK);
            assert_int_equal(gka_profile_set(&profile, "norm_square=exact", NULL), GKA_OK);
        }
        assert_int_equal(gka_chunk_forward(&p, &profile, &out, NULL, NULL, NULL), GKA_OK);
        for (int i = 0; i < 40; i++)
            assert_true((isfinite(fro[i]) != 0) == (norm == 1));
    }
    gka_problem_free(&p);
}

/* ---- profiles, errors ---------------------------------------------------------------------- */

static void test_profiles(void **state) {
    (void)state;
    gka_profile profile;
    gka_error error = {0};
    assert_int_equal(gka_profile_find("v100", &profile, &error), GKA_BAD_ARGUMENT);
    assert_int_equal(gka_profile_find("h100", &profile, &error), GKA_OK);
    for (int i = 0; i < GKA_POINT_COUNT; i++) {
        assert_true(gka_profile_has(&profile, (gka_point)i));
        assert_int_equal(gka_point_find(gka_point_name((gka_point)i)), i);
    }
    assert_int_equal(gka_profile_set(&profile, "mask=exact", &error), GKA_OK);
    assert_false(gka_profile_has(&profile, GKA_POINT_MASK));
    assert_int_equal(gka_profile_set(&profile, "all=exact", &error), GKA_OK);
    assert_int_equal(profile.released, 0);
    assert_int_equal(gka_profile_set(&profile, "mask=released", &error), GKA_OK);
    assert_true(gka_profile_has(&profile, GKA_POINT_MASK));
    assert_int_equal(gka_profile_set(&profile, "mask", &error), GKA_BAD_ARGUMENT);
    assert_int_equal(gka_profile_set(&profile, "mask=on", &error), GKA_BAD_ARGUMENT);
    assert_int_equal(gka_profile_set(&profile, "nothing=exact", &error), GKA_BAD_ARGUMENT);
    assert_int_equal(gka_form_find("two-term"), GKA_TWO_TERM);
    assert_int_equal(gka_form_find("one-term"), -1);
}

/* However many warps share a sum, every term enters once: whole numbers, whose sums are exact in
 * any order (200 < 2^8 in bf16). */
static void test_every_order_adds_every_term(void **state) {
    (void)state;
    enum { MOST = 128 };
    double *const H = calloc(MOST * MOST, sizeof *H), a[MOST], b[MOST];
    assert_non_null(H);
    uint64_t counter = 0;
    for (int64_t D = 32; D <= MOST; D *= 2) {
        memset(H, 0, MOST * MOST * sizeof *H);
        for (int ones = 0; ones < 200;) {
            const int64_t i = (int64_t)(uniform(&counter) * (double)(D * D));
            ones += H[i] == 0;
            H[i] = 1;
        }
        double sum = 0;
        for (int64_t i = 0; i < D; i++) {
            a[i] = floor(16 * draw(&counter));
            b[i] = floor(16 * draw(&counter));
            sum += a[i] * b[i];
        }
        for (int warps = 1; warps <= 8; warps *= 2) {
            assert_true(bits_of(gka_norm_low(false, D, warps, H)) == bits_of(200.0));
            assert_true(bits_of(gka_norm_low(true, D, warps, H)) == bits_of(200.0));
            if (D / 8 >= warps)
                assert_true(gka_row_dot_shared(SUM_WARP, warps, D, a, b) - sum == 0);
        }
        assert_true(gka_row_dot_thread(SUM_WARP, D, a, b) - sum == 0);
    }
    free(H);
}

/* num_warps of the solver changes f by no more than its sums in bf16 can (128 terms to a thread, 8
 * levels). conformance/configurations has the bits. */
static void test_warps_of_the_solver(void **state) {
    (void)state;
    gka_generator generator = bf16_problem();
    generator.gate = GKA_GATE_SLOW; /* what lies before a chunk counts */
    generator.T = 200;              /* in 12 chunks */
    generator.D = generator.V = 64; /* at D = 32 four of eight warps have no rows */
    gka_problem p;
    assert_int_equal(gka_problem_generate(&generator, &p, NULL), GKA_OK);
    const int64_t count = p.B * p.T * p.H;
    double *const fro[4] = {filled(count, &(uint64_t){0}), filled(count, &(uint64_t){0}),
                            filled(count, &(uint64_t){0}), filled(count, &(uint64_t){0})};
    static const char *const settings[] = {"num_iter=30", "num_warps=4", "num_warps=2",
                                           "num_warps=8"};
    for (int i = 0; i < 4; i++) {
        gka_profile profile;
        gka_outputs out = {.fro = fro[i]};
        assert_int_equal(gka_profile_find("h100", &profile, NULL), GKA_OK);
        assert_int_equal(gka_profile_set(&profile, settings[i], NULL), GKA_OK);
        assert_int_equal(gka_chunk_forward(&p, &profile, &out, NULL, NULL, NULL), GKA_OK);
    }
    assert_memory_equal(fro[0], fro[1], (size_t)count * sizeof(double));
    for (int i = 2; i < 4; i++) {
        int different = 0;
        for (int64_t t = 0; t < count; t++) {
            different += bits_of(fro[i][t]) != bits_of(fro[0][t]);
            assert_true(fabs(fro[i][t] - fro[0][t]) <= 136 * 0x1p-8 * fro[0][t]);
        }
        assert_true(different > 0);
    }
    for (int i = 0; i < 4; i++)
        free(fro[i]);
    gka_problem_free(&p);
}

/* KERNEL.num_warps sets one kernel, all.num_warps those that have the value in their list. */
static void test_warps_by_name(void **state) {
    (void)state;
    gka_profile profile;
    gka_error error = {0};
    assert_int_equal(gka_profile_find("h100", &profile, NULL), GKA_OK);
    for (int i = 0; i < GKA_LAUNCHES; i++) {
        char setting[64];
        snprintf(setting, sizeof setting, "%s.num_warps=2", gka_launch_name((gka_launch)i));
        assert_int_equal(profile.num_warps[i], 0);
        assert_int_equal(gka_profile_set(&profile, setting, &error), GKA_OK);
        assert_int_equal(profile.num_warps[i], 2);
    }
    assert_int_equal(gka_profile_set(&profile, "num_warps=1", &error), GKA_OK);
    assert_int_equal(profile.num_warps[GKA_LAUNCH_SOLVE], 1);
    assert_int_equal(profile.num_warps[GKA_LAUNCH_SOLVE_DK], 2);
    assert_int_equal(gka_profile_set(&profile, "all.num_warps=8", &error), GKA_OK);
    assert_int_equal(profile.num_warps[GKA_LAUNCH_GATES], 8);
    assert_int_equal(profile.num_warps[GKA_LAUNCH_OUTPUT_BWD], 2); /* 8 is not in its list */
    static const char *const bad[][2] = {
        {"output_bwd.num_warps=8", "2 or 4"},  {"output.num_warps=1", "2, 4 or 8"},
        {"solve.num_warps=3", "1, 2, 4 or 8"}, {"all.num_warps=16", "num_warps"},
        {"num_warps=", "1, 2, 4 or 8"},        {"solver.num_warps=2", "solve_dk"}};
    const gka_profile before = profile;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(gka_profile_set(&profile, bad[i][0], &error), GKA_BAD_ARGUMENT);
        assert_non_null(strstr(error.text, bad[i][1]));
        assert_memory_equal(profile.num_warps, before.num_warps, sizeof before.num_warps);
    }
}

static void test_repairs_by_name(void **state) {
    (void)state;
    gka_profile profile;
    gka_error error = {0};
    assert_int_equal(gka_profile_find("h100", &profile, NULL), GKA_OK);
    assert_int_equal(profile.form, GKA_THREE_TERM);
    assert_int_equal(profile.operand, GKA_OPERAND_BF16);
    assert_int_equal(profile.store, 1);
    assert_int_equal(profile.handoff, 1);
    assert_int_equal(profile.num_iter, 0);
    assert_true(bits_of(profile.margin) == bits_of(0.0));
    for (int i = 0; i < GKA_FORM_COUNT; i++)
        assert_int_equal(gka_form_find(gka_form_name((gka_form)i)), i);
    for (int i = 0; i < 4; i++)
        assert_int_equal(gka_operand_find(gka_operand_name((gka_operand)i)), i);
    static const char *const good[] = {"form=cg-consistent", "operand=fp16", "store=2",
                                       "handoff=2",          "margin=2^-6",  "num_iter=9"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(gka_profile_set(&profile, good[i], &error), GKA_OK);
    static const struct {
        const char *setting, *expected;
    } bad[] = {
        {"form=one-term", "two-term"}, {"operand=fp8", "tf32"},       {"store=3", "1 or 2"},
        {"handoff=0", "1 or 2"},       {"store=", "1 or 2"},          {"margin=-1", "2^-6"},
        {"margin=2^1", "from 0 to 1"}, {"margin=nan", "from 0 to 1"}, {"num_iter=0", "from 1"},
        {"num_iter=3x", "from 1"},     {"inputs=fp32", "bf16 or"},    {"states=", "working, low"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(gka_profile_set(&profile, bad[i].setting, &error), GKA_BAD_ARGUMENT);
        assert_non_null(strstr(error.text, bad[i].expected));
    }
    assert_int_equal(profile.form, GKA_FORM_CG_CONSISTENT); /* what fails changes nothing */
    assert_int_equal(profile.operand, GKA_OPERAND_FP16);
    assert_int_equal(profile.store, 2);
    assert_int_equal(profile.handoff, 2);
    assert_int_equal(profile.num_iter, 9);
    assert_true(bits_of(profile.margin) == bits_of(0x1p-6));
    assert_true(gka_profile_has(&profile, GKA_POINT_STORE_X));
}

/* NUMERICS 1: the released kernels hold a and s in binary32. */
static void test_parameters_are_rounded(void **state) {
    (void)state;
    gka_problem p = make(&shapes[0], NULL);
    gka_profile profile;
    chunk_plan plan;
    assert_int_equal(gka_profile_find("h100", &profile, NULL), GKA_OK);
    p.ridge_ratio = 0.02;
    p.scale = 0.3;
    gka_chunk_plan_init(&plan, &p, &profile);
    assert_true(bits_of(plan.a) == bits_of(0x1.47ae14p-6));
    assert_true(bits_of(plan.s) == bits_of(0x1.333334p-2));
    assert_int_equal(gka_profile_set(&profile, "parameters=exact", NULL), GKA_OK);
    gka_chunk_plan_init(&plan, &p, &profile);
    assert_true(bits_of(plan.a) == bits_of(0.02));
    assert_true(bits_of(plan.s) == bits_of(0.3));
    drop(&p);
}

static void test_h100_refuses(void **state) {
    (void)state;
    gka_problem p = make(&shapes[0], NULL);
    gka_profile profile;
    gka_error error = {0};
    assert_int_equal(gka_profile_find("h100", &profile, NULL), GKA_OK);
    gka_outputs out = {0};
    assert_int_equal(gka_chunk_forward(&p, &profile, &out, NULL, NULL, &error), GKA_UNSUPPORTED);
    assert_non_null(strstr(error.text, "D = 5"));
    drop(&p);
    const shape s = {1, 16, 1, 1, 16, 16, 16, 3, .02, IID, 0, false, 0};
    p = make(&s, NULL); /* binary64 inputs */
    assert_int_equal(gka_chunk_forward(&p, &profile, &out, NULL, NULL, &error), GKA_UNSUPPORTED);
    assert_non_null(strstr(error.text, "BF16"));
    assert_int_equal(gka_profile_set(&profile, "inputs=fp16", NULL), GKA_OK);
    assert_int_equal(gka_chunk_forward(&p, &profile, &out, NULL, NULL, &error), GKA_UNSUPPORTED);
    assert_non_null(strstr(error.text, "cotangents in F16"));
    assert_int_equal(gka_profile_set(&profile, "store=2", NULL), GKA_OK);
    assert_int_equal(gka_chunk_forward(&p, &profile, &out, NULL, NULL, &error), GKA_UNSUPPORTED);
    assert_non_null(strstr(error.text, "of bf16 alone"));
    drop(&p);
}

/* One token from a state: the one-token kernel's form, in exact64, is the recurrence. */
static void test_exact64_decode(void **state) {
    (void)state;
    const shape s = {3, 1, 2, 2, 7, 5, 1, 25, .02, IID, .4, true, 0};
    gka_problem p = make(&s, NULL);
    gka_profile profile;
    gka_error error = {0};
    assert_int_equal(gka_profile_find("exact64", &profile, NULL), GKA_OK);
    outputs want = outputs_of(&p), got = outputs_of(&p);
    recurrence(&p, 0, &want);
    gka_outputs out = {.x = got.x, .fro = got.fro, .h_final = got.h_final};
    assert_int_equal(gka_chunk_decode(&p, &profile, &out, NULL), GKA_OK);
    assert_true(worst_row(6, 1, got.fro, want.fro) <= 1e-13);
    assert_true(worst_row(6, 7, got.x, want.x) <= 1e-12);
    assert_true(worst_row(6, 49, got.h_final, want.h_final) <= 1e-13);
    profile.form = GKA_FORM_CG;
    assert_int_equal(gka_chunk_decode(&p, &profile, &out, &error), GKA_UNSUPPORTED);
    assert_non_null(strstr(error.text, "form cg"));
    profile.form = GKA_THREE_TERM;
    p.T = 2;
    assert_int_equal(gka_chunk_decode(&p, &profile, &out, &error), GKA_BAD_ARGUMENT);
    assert_non_null(strstr(error.text, "expected one"));
    p.T = 1;
    outputs_drop(&want);
    outputs_drop(&got);
    drop(&p);
}

/* Keys of any size: five along one axis (but for the first, a little), then one of another axis, so
 * that the last key is an eigenvector, and not that of the largest eigenvalue. */
static void test_spectrum_of_large_keys(void **state) {
    (void)state;
    const shape s = {1, 6, 1, 1, 8, 4, 4, 5, .02, ZERO, 0, false, 0};
    static const double sizes[] = {0x1p-200, 1, 1e18, 0x1p200, 0x1p300};
    gka_problem p = make(&s, NULL);
    double *const k = (double *)(uintptr_t)p.k.data;
    double lambda[6], fro[6];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const double size = sizes[i];
        for (int t = 0; t < 5; t++)
            k[t * 8 + 1] = 1.1 * size;
        k[2] = .01 * size;
        k[5 * 8] = size;
        assert_int_equal(gka_chunk_spectrum(&p, lambda, fro, NULL), GKA_OK);
        if (size > 0x1p256) {
            assert_true(isnan(lambda[5]));
            continue;
        }
        /* [[6.05, .011], [.011, .0001]], of trace 6.0501 */
        const double want = (6.0501 + sqrt(6.0499 * 6.0499 + 4 * .011 * .011)) / 2;
        assert_true(fabs(lambda[5] / size / size / want - 1) <= 1e-12);
    }
    drop(&p);
}

/* lambda_max <= f, with equality for one key; and the residual factors of NUMERICS 3. */
static void test_spectrum(void **state) {
    (void)state;
    const shape s = {1, 12, 1, 1, 6, 4, 4, 5, .02, LOWRANK, .1, false, 0};
    gka_problem p = make(&s, NULL);
    double lambda[12], fro[12];
    assert_int_equal(gka_chunk_spectrum(&p, lambda, fro, NULL), GKA_OK);
    assert_true(fabs(lambda[0] / fro[0] - 1) <= 1e-12);
    for (int t = 1; t < 12; t++)
        assert_true(lambda[t] <= fro[t] * (1 + 1e-12) && lambda[t] > .3 * fro[t]);
    drop(&p);
    static const struct {
        int r;
        double factor;
    } table[] = {{1, .860}, {5, .356}, {10, 9.0e-2}, {20, 5.4e-3}, {30, 3.2e-4}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const double factor = gka_chunk_residual_factor(0, .02, 0, table[i].r);
        assert_true(fabs(factor / table[i].factor - 1) <= .01); /* two digits are printed there */
        assert_true(gka_chunk_residual_factor(.03, .02, 0, table[i].r) > 1);
        assert_true(gka_chunk_residual_factor(.01, .02, 0x1p-6, table[i].r) < 1);
    }
}

/* The released ungated backward divides 0/0 in the rows past the end of a ragged chunk; the scan
 * and the suffix state carry the NaN to dk of every token (seen on an H100). dq is not touched. */
static void test_h100_ungated_ragged_dk(void **state) {
    (void)state;
    gka_generator generator = bf16_problem();
    generator.gate = GKA_GATE_NONE;
    generator.num_iter = 5;
    gka_problem p;
    gka_profile profile;
    assert_int_equal(gka_problem_generate(&generator, &p, NULL), GKA_OK);
    assert_int_equal(gka_profile_find("h100", &profile, NULL), GKA_OK);
    double dq[40 * 32], dk[40 * 32];
    gka_outputs out = {.solve.dq = dq, .solve.dk = dk};
    assert_int_equal(gka_chunk_backward(&p, &profile, GKA_OF_X, true, NULL, &out, NULL), GKA_OK);
    for (int i = 0; i < 40 * 32; i++)
        assert_true(isnan(dk[i]) && isfinite(dq[i]));
    assert_int_equal(gka_chunk_backward(&p, &profile, GKA_OF_X, false, NULL, &out, NULL), GKA_OK);
    for (int i = 0; i < 40 * 32; i++)
        assert_true(isfinite(dk[i])); /* without the ridge term nothing is divided */
    gka_problem_free(&p);
}

typedef struct allocating {
    int which;
    const gka_problem *problem;
    gka_profile profile;
} allocating;

static gka_status allocate(void *context) {
    const allocating *const a = context;
    gka_outputs out = {0};
    double numbers[256];
    switch (a->which) {
    case 0: return gka_chunk_forward(a->problem, &a->profile, &out, NULL, NULL, NULL);
    case 1: return gka_chunk_backward(a->problem, &a->profile, GKA_OF_O, true, NULL, &out, NULL);
    case 2: return gka_chunk_decode(a->problem, &a->profile, &out, NULL);
    default: return gka_chunk_spectrum(a->problem, numbers, numbers + 128, NULL);
    }
}

static void test_every_allocation_may_fail(void **state) {
    (void)state;
    const shape s = {2, 1, 4, 2, 8, 6, 7, 3, .02, IID, .1, true, 0};
    gka_problem p = make(&s, NULL);
    allocating a = {.problem = &p};
    assert_int_equal(gka_profile_find("exact64", &a.profile, NULL), GKA_OK);
    for (a.which = 0; a.which < 4; a.which++)
        assert_true(allocations_fail(allocate, &a) > 0);
    drop(&p);
}

/* ---- rows ---------------------------------------------------------------------------------- */

/* binary32 numbers of every size, neighbours of ties to bf16 and fp16, and what is no number. */
static void fill_rows(int64_t n, double *x) {
    static const double special[] = {0,        -0.0,      0x1p-149,       -0x1p-126,
                                     INFINITY, -INFINITY, 0x1.fffffep127, 0x1.fep127};
    for (int64_t i = 0; i < n; i++) {
        uint64_t bits[4];
        gka_philox((const uint64_t[4]){(uint64_t)i, 9, 0, 0}, (const uint64_t[2]){42, 0}, bits);
        const uint32_t ties = i % 3 == 0   ? UINT32_C(0xffff8000)
                              : i % 3 == 1 ? UINT32_C(0xfffff000)
                                           : UINT32_MAX;
        x[i] = i < 8    ? special[i]
               : i == 8 ? (double)NAN
                        : (double)gka_float((uint32_t)bits[0] & ties);
    }
}

static void assert_rows(const char *table, const char *what, int64_t n, const double *x,
                        const double *y) {
    for (int64_t i = 0; i < n; i++)
        if (bits_of(x[i]) != bits_of(y[i]) && !(isnan(x[i]) && isnan(y[i])))
            fail_msg("%s, %s: element %lld is %a, not %a", table, what, (long long)i, y[i], x[i]);
}

enum { ROW = 3001, LOOPS = 8 };

/* Each table's loops on the same rows: [loop][element]. */
static void run_rows(const row_kernels *K, bool f32, double out[LOOPS][ROW]) {
    static double x[ROW], y[ROW], q[ROW];
    const chebyshev_row c = {.lambda = 0.25, .step = 0.75, .omega = 1.25};
    fill_rows(ROW, x);
    for (int64_t i = 0; i < ROW; i++) {
        y[i] = x[(i * 7 + 3) % ROW];
        q[i] = x[(i * 5 + 1) % ROW];
        for (int loop = 0; loop < LOOPS; loop++)
            out[loop][i] = x[i];
    }
    K->scale(f32, ROW, 0.3, x, out[0]);
    K->multiply(f32, ROW, y, out[1]);
    K->add(f32, ROW, y, out[2]);
    K->two_term(f32, ROW, 0.25, 0.5, 0.75, y, out[3], out[4]);
    K->three_term(f32, f32, ROW, &c, y, q, out[5], out[6]);
    K->fused(f32, ROW, 0.3, x, y, out[7]);
}

/* Every table rounds as gka_round does, one number at a time, binary32 numbers in either
 * arithmetic; and computes what the first one does. */
static void test_row_kernels(void **state) {
    (void)state;
    static const gka_format *const formats[] = {
        [CHUNK_BF16] = &gka_bf16, [CHUNK_FP16] = &gka_fp16, [CHUNK_TF32] = &gka_tf32};
    static double x[ROW], rounded[ROW], expected[ROW], first[2][LOOPS][ROW], again[LOOPS][ROW];
    const row_kernels *tables[4];
    gka_row_kernels_all(tables);
    fill_rows(ROW, x);
    for (int t = 0; tables[t] != NULL; t++)
        for (int f32 = 0; f32 < 2; f32++) {
            for (chunk_kind to = CHUNK_BF16; to <= CHUNK_WORKING; to++) {
                tables[t]->round(f32, to, ROW, x, rounded);
                for (int64_t i = 0; i < ROW; i++) {
                    const double high = gka_round_core(&gka_bf16, GKA_NEAREST_EVEN, x[i], 0);
                    expected[i] = to == CHUNK_WORKING    ? x[i]
                                  : to == CHUNK_TF32_CUT ? gka_cut_tf32(x[i])
                                  : to == CHUNK_SPLIT
                                      ? isfinite(high)
                                            ? high + gka_round_core(&gka_bf16, GKA_NEAREST_EVEN,
                                                                    x[i] - high, 0)
                                            : high
                                      : gka_round_core(formats[to], GKA_NEAREST_EVEN, x[i], 0);
                }
                assert_rows(tables[t]->name, "round", ROW, expected, rounded);
            }
            run_rows(tables[t], f32, t == 0 ? first[f32] : again);
            for (int loop = 0; t > 0 && loop < LOOPS; loop++)
                assert_rows(tables[t]->name, "loop", ROW, first[f32][loop], again[loop]);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prop_exact64_is_the_recurrence),
        cmocka_unit_test(prop_exact64_any_chunk),
        cmocka_unit_test(prop_exact64_beyond_the_sequence),
        cmocka_unit_test(test_exact64_margin_and_num_iter),
        cmocka_unit_test(test_exact64_zero_gates),
        cmocka_unit_test(test_exact64_prefill_then_decode),
        cmocka_unit_test(test_threads_do_not_matter),
        cmocka_unit_test(prop_exact64_gradients_are_implicit),
        cmocka_unit_test(test_exact64_gradients_at_zero_gates),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_row_kernels),
        cmocka_unit_test(prop_products_by_parts),
        cmocka_unit_test(test_multiply_adds_are_counted),
        cmocka_unit_test(test_two_parts_are_stored),
        cmocka_unit_test(test_two_parts_are_handed_over),
        cmocka_unit_test(test_scaled_operands),
        cmocka_unit_test(test_every_point_rounds_to_the_inputs_type),
        cmocka_unit_test(test_fp16_kernels),
        cmocka_unit_test(test_fp16_overflows),
        cmocka_unit_test(test_profiles),
        cmocka_unit_test(test_every_order_adds_every_term),
        cmocka_unit_test(test_warps_of_the_solver),
        cmocka_unit_test(test_warps_by_name),
        cmocka_unit_test(test_repairs_by_name),
        cmocka_unit_test(test_parameters_are_rounded),
        cmocka_unit_test(test_h100_refuses),
        cmocka_unit_test(test_exact64_decode),
        cmocka_unit_test(test_h100_ungated_ragged_dk),
        cmocka_unit_test(test_spectrum),
        cmocka_unit_test(test_spectrum_of_large_keys),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("chunk", tests, NULL, NULL);
}
