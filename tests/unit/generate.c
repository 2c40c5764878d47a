/* generate.c - made-up problems: what each draw is, by MPFR; the laws of each kind; written and
 * read back; every allocation that fails. */
#include "test.h"

#include "gka/problem.h"
#include "problem/draw.h"
#include "problem/vector.h"

#include <math.h>
#include <mpfr.h>
#include <stdlib.h>
#include <unistd.h>

static const gka_generator SMALL = {.keys = GKA_KEYS_IID,
                                    .gate = GKA_GATE_RELEASED,
                                    .B = 2,
                                    .T = 5,
                                    .H = 4,
                                    .G = 2,
                                    .D = 6,
                                    .V = 3,
                                    .alpha = true,
                                    .h0 = true,
                                    .cotangents = true,
                                    .dtype = GKA_BF16,
                                    .seed = 7};

static gka_problem make(const gka_generator *generator) {
    gka_problem problem;
    gka_error error = {0};
    if (gka_problem_generate(generator, &problem, &error) != GKA_OK)
        fail_msg("%s", error.text);
    return problem;
}

static size_t bytes_of(const gka_tensor *tensor) {
    return (size_t)gka_tensor_count(tensor) * gka_dtype_size(tensor->dtype);
}

/* ---- the draws, written a second time ------------------------------------------------------ */

/* One function of one double, correctly rounded by MPFR. */
static double by_mpfr(int (*function)(mpfr_t, const mpfr_t, mpfr_rnd_t), double x) {
    mpfr_t y;
    mpfr_init2(y, 53);
    mpfr_set_d(y, x, MPFR_RNDN);
    function(y, y, MPFR_RNDN);
    const double result = mpfr_get_d(y, MPFR_RNDN);
    mpfr_clear(y);
    return result;
}

static int sigmoid(mpfr_t y, const mpfr_t x, mpfr_rnd_t mode) {
    mpfr_t z;
    mpfr_init2(z, 200);
    mpfr_neg(z, x, mode);
    mpfr_exp(z, z, mode);
    mpfr_add_ui(z, z, 1, mode);
    const int inexact = mpfr_ui_div(y, 1, z, mode);
    mpfr_clear(z);
    return inexact;
}

static int softplus(mpfr_t y, const mpfr_t x, mpfr_rnd_t mode) {
    mpfr_t z;
    mpfr_init2(z, 200);
    mpfr_exp(z, x, mode);
    const int inexact = mpfr_log1p(y, z, mode);
    mpfr_clear(z);
    return inexact;
}

static int softplus_inverse(mpfr_t y, const mpfr_t x, mpfr_rnd_t mode) {
    mpfr_t z;
    mpfr_init2(z, 200);
    mpfr_expm1(z, x, mode);
    const int inexact = mpfr_log(y, z, mode);
    mpfr_clear(z);
    return inexact;
}

/* cos 2 pi u */
static int cosine(mpfr_t y, const mpfr_t u, mpfr_rnd_t mode) {
    mpfr_t z;
    mpfr_init2(z, 300);
    mpfr_const_pi(z, mode);
    mpfr_mul(z, z, u, mode);
    mpfr_mul_2ui(z, z, 1, mode);
    const int inexact = mpfr_cos(y, z, mode);
    mpfr_clear(z);
    return inexact;
}

static double uniform_twin(uint64_t what, uint64_t i0, uint64_t i1, uint64_t i2, uint64_t i3) {
    uint64_t w[4];
    gka_philox((const uint64_t[4]){i0, i1, i2, i3}, (const uint64_t[2]){7, what}, w);
    return ((double)(w[0] >> 12) + 0.5) / 4503599627370496.0;
}

static double normal_twin(uint64_t what, uint64_t i0, uint64_t i1, uint64_t i2, uint64_t i3) {
    uint64_t w[4];
    gka_philox((const uint64_t[4]){i0, i1, i2, i3}, (const uint64_t[2]){7, what}, w);
    const double u = uniform_twin(what, i0, i1, i2, i3);
    const double turn = (double)(w[1] >> 11) / 9007199254740992.0;
    return sqrt(-2 * by_mpfr(mpfr_log, u)) * by_mpfr(cosine, turn);
}

static double bf16(double x) {
    return gka_round(gka_format_find("bf16"), GKA_NEAREST_EVEN, x, 0);
}

static double norm(int64_t n, const double *x) {
    double sum = 0;
    for (int64_t d = 0; d < n; d++)
        sum += x[d] * x[d];
    return sqrt(sum);
}

/* Token (1, 3), query head 3, key head 1 of SMALL, with the numbers of draw.h and generate.c
 * spelled out. */
static void test_draws(void **state) {
    (void)state;
    gka_problem p = make(&SMALL);
    double x[6], got[6];
    gka_problem_q(&p, 1, 3, 3, got);
    for (uint64_t d = 0; d < 6; d++)
        x[d] = normal_twin(1, 1, 3, 3, d);
    double size = norm(6, x) + 1e-6;
    for (int d = 0; d < 6; d++)
        assert_int_equal(bits_of(got[d]), bits_of(bf16(x[d] / size)));

    const double beta = by_mpfr(sigmoid, normal_twin(5, 1, 3, 1, 0)) + 1e-6;
    gka_problem_k(&p, 1, 3, 3, got);
    for (uint64_t d = 0; d < 6; d++)
        x[d] = normal_twin(2, 1, 3, 1, d);
    size = norm(6, x) + 1e-6;
    for (int d = 0; d < 6; d++)
        assert_int_equal(bits_of(got[d]), bits_of(bf16(x[d] / size * beta)));
    gka_problem_v(&p, 1, 3, 3, got);
    for (uint64_t d = 0; d < 3; d++)
        assert_int_equal(bits_of(got[d]), bits_of(bf16(normal_twin(3, 1, 3, 1, d) * beta)));

    assert_int_equal(bits_of(gka_problem_alpha(&p, 1, 3, 3)),
                     bits_of(bf16(by_mpfr(sigmoid, normal_twin(4, 1, 3, 3, 0)))));
    const double least = by_mpfr(mpfr_log, 1e-3), most = by_mpfr(mpfr_log, 1e-1);
    const double dt = by_mpfr(mpfr_exp, least + uniform_twin(8, 0, 0, 3, 0) * (most - least));
    const double gate =
        -(16 * uniform_twin(7, 0, 0, 3, 0)) *
        by_mpfr(softplus, normal_twin(6, 1, 3, 3, 0) + by_mpfr(softplus_inverse, dt));
    assert_int_equal(bits_of(gka_problem_g(&p, 1, 3, 3)), bits_of((double)(float)gate));
    gka_problem_dout(&p, 1, 3, 3, got);
    for (uint64_t d = 0; d < 3; d++)
        assert_int_equal(bits_of(got[d]), bits_of(bf16(normal_twin(12, 1, 3, 3, d))));
    gka_problem_dx(&p, 1, 3, 3, got);
    for (uint64_t d = 0; d < 6; d++)
        assert_int_equal(bits_of(got[d]), bits_of(bf16(normal_twin(13, 1, 3, 3, d))));
    gka_problem_free(&p);
    assert_null(p.q.data);
}

/* ---- laws of the draws --------------------------------------------------------------------- */

/* The first four moments of N(0,1), 0 1 0 3, each within 6 standard errors (the variances of z,
 * z^2, z^3, z^4 are 1, 2, 15, 96). A function of the seed, so it holds always or never. */
static void prop_normal_moments(void **state) {
    (void)state;
    enum { N = 100000 };
    static const double expected[4] = {0, 1, 0, 3}, variance[4] = {1, 2, 15, 96};
    double sum[4] = {0};
    for (int64_t i = 0; i < N; i++) {
        const double z = gka_draw_normal(1, GKA_DRAW_Q, i, 2 * i, 3, -i);
        double power = 1;
        assert_true(fabs(z) < 8.6);
        for (int j = 0; j < 4; j++)
            sum[j] += power *= z;
    }
    for (int j = 0; j < 4; j++)
        assert_true(fabs(sum[j] / N - expected[j]) < 6 * sqrt(variance[j] / N));
}

static void prop_uniform_moments(void **state) {
    (void)state;
    enum { N = 100000 };
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < N; i++) {
        const double u = gka_draw_uniform(1, GKA_DRAW_Q, i, 0, 0, 0);
        assert_true(u > 0 && u < 1);
        sum += u;
        squares += u * u;
    }
    assert_true(fabs(sum / N - 0.5) < 6 * sqrt(1.0 / 12 / N));
    assert_true(fabs(squares / N - 1.0 / 3) < 6 * sqrt(4.0 / 45 / N));
}

/* Every index and the seed and the tensor count. */
static void test_places_differ(void **state) {
    (void)state;
    double z[7] = {
        gka_draw_normal(1, GKA_DRAW_Q, 2, 3, 4, 5), gka_draw_normal(2, GKA_DRAW_Q, 2, 3, 4, 5),
        gka_draw_normal(1, GKA_DRAW_K, 2, 3, 4, 5), gka_draw_normal(1, GKA_DRAW_Q, 3, 3, 4, 5),
        gka_draw_normal(1, GKA_DRAW_Q, 2, 4, 4, 5), gka_draw_normal(1, GKA_DRAW_Q, 2, 3, 5, 5),
        gka_draw_normal(1, GKA_DRAW_Q, 2, 3, 4, 6)};
    for (int i = 0; i < 7; i++)
        for (int j = 0; j < i; j++)
            assert_true(bits_of(z[i]) != bits_of(z[j]));
}

/* ---- laws of the problems ------------------------------------------------------------------ */

/* What was there before keeps its bytes when B, T, and H with G grow. */
static void prop_prefix(void **state) {
    (void)state;
    for (int keys = 0; keys < GKA_KEYS_COUNT; keys++) {
        gka_generator spec = SMALL;
        spec.keys = (gka_keys)keys;
        spec.pairs = 2;
        gka_problem small = make(&spec);
        spec.B = 3;
        spec.T = 9;
        spec.H = 6;
        spec.G = 3;
        gka_problem large = make(&spec);
        for (int64_t b = 0; b < 2; b++)
            for (int64_t h = 0; h < 4; h++) {
                double x[36], y[36];
                for (int64_t t = 0; t < 5; t++) {
                    gka_problem_q(&small, b, t, h, x);
                    gka_problem_q(&large, b, t, h, y);
                    assert_memory_equal(x, y, sizeof x[0] * 6);
                    gka_problem_k(&small, b, t, h, x);
                    gka_problem_k(&large, b, t, h, y);
                    assert_memory_equal(x, y, sizeof x[0] * 6);
                    gka_problem_v(&small, b, t, h, x);
                    gka_problem_v(&large, b, t, h, y);
                    assert_memory_equal(x, y, sizeof x[0] * 3);
                    gka_problem_dout(&small, b, t, h, x);
                    gka_problem_dout(&large, b, t, h, y);
                    assert_memory_equal(x, y, sizeof x[0] * 3);
                    assert_int_equal(bits_of(gka_problem_g(&small, b, t, h)),
                                     bits_of(gka_problem_g(&large, b, t, h)));
                    assert_int_equal(bits_of(gka_problem_alpha(&small, b, t, h)),
                                     bits_of(gka_problem_alpha(&large, b, t, h)));
                }
                gka_problem_h0(&small, b, h, x);
                gka_problem_h0(&large, b, h, y);
                assert_memory_equal(x, y, sizeof x);
                gka_problem_u0(&small, b, h, x);
                gka_problem_u0(&large, b, h, y);
                assert_memory_equal(x, y, sizeof x[0] * 18);
            }
        gka_problem_free(&small);
        gka_problem_free(&large);
    }
}

/* Rows [begin, end) of each batch row of a tensor with tokens are the part's; states are where they
 * belong. Returns how many tensors the part has. */
static size_t assert_part(const gka_problem *whole, const gka_problem *part, int64_t begin,
                          int64_t end) {
    gka_tensor all[GKA_PROBLEM_TENSORS], some[GKA_PROBLEM_TENSORS];
    const size_t count = gka_problem_tensors(whole, all), parts = gka_problem_tensors(part, some);
    for (size_t i = 0, n = 0; i < count; i++) {
        const gka_tensor *const a = &all[i], *const b = &some[n];
        const bool states = strcmp(a->name, "h0") == 0 || strcmp(a->name, "u0") == 0,
                   final = strstr(a->name, "final") != NULL;
        if ((states && begin > 0) || (final && end < whole->T))
            continue;
        assert_true(n < parts);
        assert_string_equal(a->name, b->name);
        n++;
        if (states || final) {
            assert_memory_equal(a->data, b->data, bytes_of(a));
            continue;
        }
        const size_t size = bytes_of(a) / (size_t)(whole->B * whole->T);
        assert_int_equal(bytes_of(b), size * (size_t)(whole->B * (end - begin)));
        for (int64_t row = 0; row < whole->B; row++)
            if (memcmp((const char *)a->data + (size_t)(row * whole->T + begin) * size,
                       (const char *)b->data + (size_t)(row * (end - begin)) * size,
                       (size_t)(end - begin) * size) != 0)
                fail_msg("%s of tokens %lld to %lld: other bytes", a->name, (long long)begin,
                         (long long)end);
    }
    return parts;
}

/* Tokens made alone have the bytes that they have in the whole: by steps of 7 every pair of keys
 * and gate (i mod PAIRS), and every edit at least twice. */
static void prop_tokens(void **state) {
    (void)state;
    static const int64_t cuts[] = {0, 1, 6, 6, 7, 13};
    enum { PAIRS = GKA_KEYS_COUNT * GKA_GATE_COUNT };
    for (int i = 0; i < PAIRS * (GKA_EDIT_COUNT + 2); i += 7) {
        const int edit = i / PAIRS;
        gka_generator spec = SMALL;
        spec.keys = (gka_keys)(i % GKA_KEYS_COUNT);
        spec.gate = (gka_gate)(i / GKA_KEYS_COUNT % GKA_GATE_COUNT);
        spec.T = 13;
        spec.pairs = i % 2 == 0 ? 0 : 9;
        spec.final = edit % 2 == 0;
        spec.h0 = edit % 3 != 0;
        spec.edits = edit > GKA_EDIT_COUNT ? ~0u : edit == GKA_EDIT_COUNT ? 0 : 1u << edit;
        if (spec.gate == GKA_GATE_NONE)
            spec.edits &=
                ~(1u << GKA_EDIT_GAMMA_ONE | 1u << GKA_EDIT_GAMMA_ZERO | 1u << GKA_EDIT_GAMMA_TINY);
        gka_problem whole = make(&spec);
        size_t tensors = 0;
        for (int c = 0; c < 5; c++) {
            gka_problem part;
            gka_error error = {0};
            if (gka_problem_generate_tokens(&spec, cuts[c], cuts[c + 1], &part, &error) != GKA_OK)
                fail_msg("%s", error.text);
            tensors += assert_part(&whole, &part, cuts[c], cuts[c + 1]);
            gka_problem_free(&part);
        }
        gka_tensor all[GKA_PROBLEM_TENSORS];
        const size_t states = (spec.h0 ? 2 : 0) + (spec.final ? 2 : 0);
        assert_int_equal(tensors, 5 * (gka_problem_tensors(&whole, all) - states) + states);
        gka_problem_free(&whole);
    }
    gka_problem none;
    gka_error error = {0};
    assert_int_equal(gka_problem_generate_tokens(&SMALL, 2, 6, &none, &error), GKA_BAD_ARGUMENT);
    assert_non_null(strstr(error.text, "0 to T = 5"));
}

static void prop_threads(void **state) {
    (void)state;
    for (int keys = 0; keys < GKA_KEYS_COUNT; keys++) {
        gka_generator spec = SMALL;
        spec.keys = (gka_keys)keys;
        gka_set_threads(1);
        gka_problem one = make(&spec);
        gka_set_threads(3);
        gka_problem three = make(&spec);
        gka_set_threads(0);
        gka_tensor a[GKA_PROBLEM_TENSORS], b[GKA_PROBLEM_TENSORS];
        const size_t count = gka_problem_tensors(&one, a);
        assert_int_equal(gka_problem_tensors(&three, b), count);
        assert_int_equal(count, 9);
        for (size_t i = 0; i < count; i++)
            assert_memory_equal(a[i].data, b[i].data, bytes_of(&a[i]));
        gka_problem_free(&one);
        gka_problem_free(&three);
    }
}

/* q and plain k have norm |x|/(|x| + 1e-6), |x| of order 1 here. Rounding each element to a format
 * of unit roundoff u moves the norm by at most u; the fp64 sums by a few 2^-53. */
static void prop_norms(void **state) {
    (void)state;
    static const gka_dtype dtypes[] = {GKA_F64, GKA_F32, GKA_F16, GKA_BF16};
    for (size_t i = 0; i < 4; i++) {
        gka_generator spec = SMALL;
        spec.dtype = dtypes[i];
        spec.plain = true;
        spec.D = 64;
        gka_problem p = make(&spec);
        const double u = gka_format_unit_roundoff(gka_format_of_dtype(dtypes[i]));
        assert_int_equal(p.q.dtype, dtypes[i]);
        for (int64_t t = 0; t < 5; t++) {
            double x[64];
            gka_problem_q(&p, 0, t, 0, x);
            assert_true(fabs(norm(64, x) - 1) <= u + 1e-6);
            gka_problem_k(&p, 0, t, 0, x);
            assert_true(fabs(norm(64, x) - 1) <= u + 1e-6);
        }
        gka_problem_free(&p);
    }
}

static double cosine_between(int64_t n, const double *x, const double *y) {
    double sum = 0;
    for (int64_t d = 0; d < n; d++)
        sum += x[d] * y[d];
    return sum / (norm(n, x) * norm(n, y));
}

/* lowrank: outside the span of the head's 8 basis vectors a key is 0.01 noise. |B z| is about
 * sqrt D |z| and |noise| about sqrt D, so the part outside is about 0.01/|z| of the key; |z| > 1/2
 * here, a chi variable with 8 degrees of freedom. */
static void prop_lowrank(void **state) {
    (void)state;
    enum { D = 64, T = 40 };
    gka_generator spec = SMALL;
    spec.keys = GKA_KEYS_LOWRANK;
    spec.dtype = GKA_F64;
    spec.D = D;
    spec.T = T;
    gka_problem p = make(&spec);
    double basis[8][D], x[D];
    for (int64_t t = -8; t < T; t++) { /* first the basis, orthogonalised, then the keys */
        if (t < 0)
            for (int64_t d = 0; d < D; d++)
                x[d] = gka_draw_normal(spec.seed, GKA_DRAW_MAP, 0, t + 8, 0, d);
        else
            gka_problem_k(&p, 0, t, 0, x);
        const double before = norm(D, x);
        for (int pass = 0; pass < 2; pass++)
            for (int64_t j = 0; j < 8 && j < t + 8; j++) {
                const double part = cosine_between(D, x, basis[j]) * norm(D, x);
                for (int d = 0; d < D; d++)
                    x[d] -= part * basis[j][d];
            }
        const double after = norm(D, x);
        for (int d = 0; t < 0 && d < D; d++)
            basis[t + 8][d] = x[d] / after;
        if (t >= 0)
            assert_true(after < 0.02 * before && after > 0.001 * before);
    }
    gka_problem_free(&p);
}

static void prop_repeat(void **state) {
    (void)state;
    gka_generator spec = SMALL;
    spec.keys = GKA_KEYS_REPEAT;
    spec.dtype = GKA_F64;
    gka_problem p = make(&spec);
    double first[6], x[6];
    gka_problem_k(&p, 0, 0, 0, first);
    for (int64_t b = 0; b < 2; b++)
        for (int64_t t = 1; t < 5; t++) {
            gka_problem_k(&p, b, t, 0, x);
            const double c = cosine_between(6, first, x);
            assert_true(c > 1 - 1e-4 && c < 1 - 1e-12);
            gka_problem_k(&p, b, t, 2, x); /* another head, another vector */
            assert_true(cosine_between(6, first, x) < 1 - 1e-4);
        }
    gka_problem_free(&p);
}

/* Rows orthonormal: each computed product of two of them is within gamma_2n of delta_ij, n u for
 * the product here and as much for the last orthogonalisation. */
static void prop_basis(void **state) {
    (void)state;
    enum { N = 96 };
    static double rows[N * N];
    for (int64_t i = 0; i < (int64_t)N * N; i++)
        rows[i] = gka_draw_normal(1, GKA_DRAW_MAP, 0, i / N, 0, i % N);
    for (int d = 0; d < N; d++) /* and one row that nearly repeats another */
        rows[5 * N + d] = rows[2 * N + d] + 1e-8 * rows[5 * N + d];
    gka_make_basis(N, rows);
    for (int i = 0; i < N; i++)
        for (int j = 0; j <= i; j++)
            assert_true(fabs(vector_dot(N, rows + i * N, rows + j * N) - (i == j)) <=
                        2 * N * 0x1p-53);
}

/* powerlaw: the variance of a key along the i-th axis of its basis is 1/i^2: the second moments
 * of the unnormalised keys have trace sum 1/i^2, and their largest eigenvalue is 1; after
 * normalisation the leading direction keeps 1/1.64 = .61 of the energy. */
static void prop_powerlaw(void **state) {
    (void)state;
    enum { D = 32, T = 400 };
    gka_generator spec = SMALL;
    spec.keys = GKA_KEYS_POWERLAW;
    spec.dtype = GKA_F64;
    spec.plain = true;
    spec.D = D;
    spec.T = T;
    gka_problem p = make(&spec);
    static double k[T][D];
    double y[D] = {1}, z[D];
    for (int64_t t = 0; t < T; t++)
        gka_problem_k(&p, 0, t, 0, k[t]);
    double energy = 0;
    for (int i = 0; i < 30; i++) { /* power iteration on K^T K / T */
        memset(z, 0, sizeof z);
        for (int t = 0; t < T; t++) {
            double s = 0;
            for (int d = 0; d < D; d++)
                s += k[t][d] * y[d];
            for (int d = 0; d < D; d++)
                z[d] += s * k[t][d] / T;
        }
        energy = norm(D, z);
        for (int d = 0; d < D; d++)
            y[d] = z[d] / energy;
    }
    assert_true(energy > 0.4 && energy < 0.7); /* 1/32 for iid keys */
    /* the leading direction is no coordinate axis: the basis is rotated */
    for (int d = 0; d < D; d++)
        assert_true(fabs(y[d]) < 0.9);
    gka_problem_free(&p);
}

/* The length of the mean of the unit keys of one head: .05 for iid keys of 64 dimensions and 400
 * tokens, near 1 for keys with a common direction. */
static double mean_length(const gka_problem *p, int64_t h) {
    enum { MOST = 64 };
    double sum[MOST] = {0}, x[MOST];
    for (int64_t t = 0; t < p->T; t++) {
        gka_problem_k(p, 0, t, h, x);
        const double size = norm(p->D, x);
        for (int64_t d = 0; d < p->D; d++)
            sum[d] += x[d] / size / (double)p->T;
    }
    return norm(p->D, sum);
}

/* mean: a unit key is about (1.33 M + n)/sqrt((1.33^2 + 1) D), so the mean has length
 * 1.33/sqrt(1.33^2 + 1) = .80, give or take 1/sqrt(2 D). convsilu: the same order, other heads
 * more, others less, since a head's taps may cancel. */
static void prop_mean(void **state) {
    (void)state;
    enum { D = 64, T = 400 };
    gka_generator spec = SMALL;
    spec.dtype = GKA_F64;
    spec.D = D;
    spec.T = T;
    for (int kind = 0; kind < 3; kind++) {
        spec.keys = kind == 0 ? GKA_KEYS_IID : kind == 1 ? GKA_KEYS_MEAN : GKA_KEYS_CONVSILU;
        gka_problem p = make(&spec);
        const double first = mean_length(&p, 0), second = mean_length(&p, 2);
        if (kind == 0)
            assert_true(first < .1 && second < .1);
        else if (kind == 1)
            assert_true(fabs(first - .8) < .1 && fabs(second - .8) < .1);
        else
            assert_true(first > .5 && second > .5);
        double a[D], b[D];
        gka_problem_k(&p, 0, 7, 0, a); /* queries have a mean of their own, heads too */
        gka_problem_q(&p, 0, 7, 0, b);
        assert_true(fabs(cosine_between(D, a, b)) < .6);
        gka_problem_free(&p);
    }
}

/* convsilu written a second time: rows from the draws alone, by libm. */
static void prop_convsilu(void **state) {
    (void)state;
    gka_generator spec = SMALL;
    spec.keys = GKA_KEYS_CONVSILU;
    spec.dtype = GKA_F64;
    spec.plain = true;
    spec.B = 1;
    gka_problem p = make(&spec);
    for (int which = 0; which < 3; which++)
        for (int64_t t = 0; t < 5; t++) {
            static const gka_draw draws[] = {GKA_DRAW_K, GKA_DRAW_Q, GKA_DRAW_V};
            static const double means[] = {1.33, 1, .5};
            const int64_t head = 1, n = which == 2 ? 3 : 6;
            double x[6], y[6];
            for (int64_t d = 0; d < n; d++) {
                double sum = 0;
                for (int64_t i = 0; i < 4; i++) {
                    const double tap =
                        gka_draw_uniform(spec.seed, GKA_DRAW_CONV, which, i, head, d) - .5;
                    if (i <= t)
                        sum += tap * (means[which] * gka_draw_normal(spec.seed, GKA_DRAW_MAP, which,
                                                                     0, head, d) +
                                      gka_draw_normal(spec.seed, draws[which], 0, t - i, head, d));
                }
                x[d] = sum / (1 + exp(-sum));
            }
            const double size = which == 2 ? 1 : norm(n, x) + 1e-6;
            if (which == 0)
                gka_problem_k(&p, 0, t, 2, y); /* head 2 reads key head 1 */
            else if (which == 1)
                gka_problem_q(&p, 0, t, 1, y);
            else
                gka_problem_v(&p, 0, t, 2, y);
            for (int64_t d = 0; d < n; d++)
                assert_true(fabs(x[d] / size - y[d]) <= 64 * 0x1p-53);
        }
    gka_problem_free(&p);
}

/* aligned: the first coordinate carries what powerlaw's leading direction does. */
static void prop_aligned(void **state) {
    (void)state;
    enum { D = 32, T = 400 };
    gka_generator spec = SMALL;
    spec.keys = GKA_KEYS_ALIGNED;
    spec.dtype = GKA_F64;
    spec.plain = true;
    spec.D = D;
    spec.T = T;
    gka_problem p = make(&spec);
    double energy[D] = {0}, x[D];
    for (int64_t t = 0; t < T; t++) {
        gka_problem_k(&p, 0, t, 0, x);
        for (int d = 0; d < D; d++)
            energy[d] += x[d] * x[d] / T;
    }
    assert_true(energy[0] > .4 && energy[0] < .7 && energy[0] > energy[1] && energy[1] > energy[3]);
    assert_true(energy[31] < 1e-2);
    gka_problem_free(&p);
}

/* init: over the tokens the gate of a head moves by less than released ones do: ln g by the spread,
 * .02 to .12, since softplus is nearly exp that far below 0. */
static void prop_gate_init(void **state) {
    (void)state;
    gka_generator spec = SMALL;
    spec.T = 2000;
    spec.B = 1;
    spec.V = 0;
    spec.D = 1;
    spec.gate = GKA_GATE_INIT;
    gka_problem p = make(&spec);
    double least = 1, most = 0;
    for (int64_t h = 0; h < 4; h++) {
        double sum = 0, square = 0;
        for (int64_t t = 0; t < 2000; t++) {
            const double y = log(-gka_problem_g(&p, 0, t, h));
            sum += y / 2000;
            square += y * y / 2000;
        }
        const double spread = sqrt(square - sum * sum);
        least = fmin(least, spread);
        most = fmax(most, spread);
    }
    assert_true(least > .017 && most < .125 && most > 1.3 * least);
    gka_problem_free(&p);
}

/* recall: a question's key is one that was stored, up to the noise; a question stores nothing. */
static void prop_recall(void **state) {
    (void)state;
    enum { D = 64, T = 20, PAIRS = 8 };
    gka_generator spec = SMALL;
    spec.keys = GKA_KEYS_RECALL;
    spec.D = D;
    spec.T = T;
    spec.pairs = PAIRS;
    gka_problem p = make(&spec);
    int asked[PAIRS] = {0};
    for (int64_t t = 0; t < T; t++) {
        double q[D], k[D], best = 0;
        int64_t which = -1;
        gka_problem_q(&p, 0, t, 3, q);
        for (int64_t j = 0; j < PAIRS; j++) {
            gka_problem_k(&p, 0, j, 3, k);
            if (cosine_between(D, q, k) > best) {
                best = cosine_between(D, q, k);
                which = j;
            }
        }
        assert_true(best > 0.97 && which <= t);
        asked[which]++;
        gka_problem_k(&p, 0, t, 3, k);
        assert_true(t < PAIRS ? norm(D, k) > 0 : bits_of(norm(D, k)) == 0);
    }
    int different = 0;
    for (int j = 0; j < PAIRS; j++)
        different += asked[j] > 0;
    assert_true(different >= 4);
    gka_problem_free(&p);

    spec.pairs = 0; /* half of the tokens */
    p = make(&spec);
    double k[D];
    gka_problem_k(&p, 0, T / 2 - 1, 0, k);
    assert_true(norm(D, k) > 0);
    gka_problem_k(&p, 0, T / 2, 0, k);
    assert_int_equal(bits_of(norm(D, k)), 0);
    gka_problem_free(&p);
}

/* The four gates are one, scaled in double and rounded to float: x0.01 and x20 up to 2 roundings.
 */
static void prop_gates(void **state) {
    (void)state;
    gka_generator spec = SMALL;
    spec.gate = GKA_GATE_RELEASED;
    gka_problem released = make(&spec);
    spec.gate = GKA_GATE_SLOW;
    gka_problem slow = make(&spec);
    spec.gate = GKA_GATE_STRONG;
    gka_problem strong = make(&spec);
    spec.gate = GKA_GATE_NONE;
    gka_problem none = make(&spec);
    assert_null(none.g.data);
    assert_non_null(none.alpha.data);
    for (int64_t t = 0; t < 5; t++)
        for (int64_t h = 0; h < 4; h++) {
            const double g = gka_problem_g(&released, 0, t, h);
            assert_true(g < 0);
            assert_true(fabs(gka_problem_g(&slow, 0, t, h) - 0.01 * g) <= 0x1p-22 * fabs(0.01 * g));
            assert_true(fabs(gka_problem_g(&strong, 0, t, h) - 20 * g) <= 0x1p-22 * fabs(20 * g));
            assert_true(gka_problem_alpha(&none, 0, t, h) > 0 &&
                        gka_problem_alpha(&none, 0, t, h) < 1);
        }
    gka_problem_free(&released);
    gka_problem_free(&slow);
    gka_problem_free(&strong);
    gka_problem_free(&none);
}

/* Symmetric to the bit; the Cholesky factorisation goes through. */
static void prop_h0_positive_definite(void **state) {
    (void)state;
    enum { D = 32 };
    gka_generator spec = SMALL;
    spec.D = D;
    gka_problem p = make(&spec);
    assert_false(p.h0_asymmetric);
    double h[D][D];
    for (int64_t n = 0; n < 2; n++) {
        gka_problem_h0(&p, n, 1, &h[0][0]);
        for (int i = 0; i < D; i++)
            for (int j = 0; j < i; j++)
                assert_int_equal(bits_of(h[i][j]), bits_of(h[j][i]));
        for (int j = 0; j < D; j++) {
            for (int i = 0; i < j; i++)
                h[j][j] -= h[j][i] * h[j][i];
            assert_true(h[j][j] > 0);
            h[j][j] = sqrt(h[j][j]);
            for (int r = j + 1; r < D; r++) {
                for (int i = 0; i < j; i++)
                    h[r][j] -= h[r][i] * h[j][i];
                h[r][j] /= h[j][j];
            }
        }
    }
    gka_problem_free(&p);
}

static void test_absent(void **state) {
    (void)state;
    gka_generator spec = SMALL;
    spec.plain = true;
    spec.h0 = spec.cotangents = false;
    gka_problem p = make(&spec);
    assert_null(p.alpha.data);
    assert_null(p.g.data);
    assert_null(p.h0.data);
    assert_null(p.dx.data);
    assert_non_null(p.v.data);
    assert_int_equal(bits_of(p.ridge_ratio), bits_of(0.02));
    assert_int_equal(bits_of(p.scale), bits_of(1 / sqrt(6)));
    assert_int_equal(p.num_iter, 30);
    assert_int_equal(p.chunk_size, 64);
    gka_problem_free(&p);
    spec = SMALL;
    spec.V = 0;
    spec.ridge_ratio = 0.1;
    spec.scale = 2;
    spec.num_iter = 15;
    spec.chunk_size = 32;
    p = make(&spec);
    assert_null(p.v.data);
    assert_null(p.u0.data);
    assert_null(p.dout.data);
    assert_non_null(p.dx.data);
    assert_non_null(p.h0.data);
    assert_int_equal(bits_of(p.ridge_ratio), bits_of(0.1));
    assert_int_equal(bits_of(p.scale), bits_of(2));
    assert_int_equal(p.num_iter, 15);
    assert_int_equal(p.chunk_size, 32);
    gka_problem_free(&p);
}

static void test_empty(void **state) {
    (void)state;
    static const int64_t extents[][4] = {
        {2, 0, 4, 2}, {0, 5, 4, 2}, {2, 5, 0, 0}, {2, 5, 0, 2}, {1, INT64_MAX / 8, 0, 0},
        {0, 0, 0, 0}};
    for (size_t i = 0; i < sizeof extents / sizeof extents[0]; i++) {
        gka_generator spec = SMALL;
        spec.B = extents[i][0];
        spec.T = extents[i][1];
        spec.H = extents[i][2];
        spec.G = extents[i][3];
        if (spec.T == INT64_MAX / 8)
            spec.D = spec.V = 1; /* so that the other extents have a product */
        gka_problem p = make(&spec);
        assert_int_equal(p.T, spec.T);
        gka_problem_free(&p);
    }
}

static void test_refused(void **state) {
    (void)state;
    gka_generator bad[12];
    for (int i = 0; i < 12; i++)
        bad[i] = SMALL;
    bad[0].D = 0;
    bad[1].H = 3;
    bad[2].B = -1;
    bad[3].dtype = GKA_I32;
    bad[4].keys = (gka_keys)9;
    bad[5].gate = (gka_gate)-1;
    bad[6].pairs = 6;
    bad[7].ridge_ratio = -1;
    bad[8].num_iter = -1;
    bad[9].chunk_size = -1;
    bad[10].T = INT64_MAX / 2;
    bad[11].V = -1;
    const int64_t live = gka_alloc_live();
    for (int i = 0; i < 12; i++) {
        gka_problem p;
        gka_error error = {0};
        assert_int_equal(gka_problem_generate(&bad[i], &p, &error), GKA_BAD_ARGUMENT);
        assert_true(error.text[0] != '\0');
        assert_null(p.q.data);
    }
    assert_int_equal(gka_alloc_live(), live);
}

/* Every element of an edited problem is what the edit's sentence says; the others are untouched. */
static double expected(gka_edit edit, char tensor, int64_t t, int64_t d, double was, double first) {
    const bool odd = t % 2 == 1, middle = t == 5, third = t % 7 == 3;
    switch (edit) {
    case GKA_EDIT_ONE_KEY: return tensor == 'k' ? first : was;
    case GKA_EDIT_NO_KEYS: return tensor == 'k' ? 0 : was;
    case GKA_EDIT_LATE_KEYS: return tensor == 'k' && t < 5 ? 0 : was;
    case GKA_EDIT_ZERO_QUERIES: return tensor == 'q' && odd ? 0 : was;
    case GKA_EDIT_GAMMA_ONE: return tensor == 'g' ? 0 : was;
    case GKA_EDIT_GAMMA_ZERO: return tensor == 'g' && third ? -INFINITY : was;
    case GKA_EDIT_GAMMA_TINY: return tensor == 'g' && third ? -200 : was;
    case GKA_EDIT_SUBNORMAL:
        return tensor != 'g' && odd
                   ? gka_round(gka_format_of_dtype(GKA_F16), GKA_NEAREST_EVEN, ldexp(was, -16), 0)
                   : was;
    case GKA_EDIT_LARGEST_VALUE: return tensor == 'v' && middle && d == 0 ? 65504 : was;
    case GKA_EDIT_LARGEST_KEY: return tensor == 'k' && middle && d == 0 ? 65504 : was;
    case GKA_EDIT_COUNT: break;
    }
    return NAN;
}

/* q k v do dx g of head h at (b, t), at most 6 each. */
static int64_t row_of(const gka_problem *p, char tensor, int64_t b, int64_t t, int64_t h,
                      double *x) {
    switch (tensor) {
    case 'q': gka_problem_q(p, b, t, h, x); return p->D;
    case 'k': gka_problem_k(p, b, t, h, x); return p->D;
    case 'v': gka_problem_v(p, b, t, h, x); return p->V;
    case 'o': gka_problem_dout(p, b, t, h, x); return p->V;
    case 'x': gka_problem_dx(p, b, t, h, x); return p->D;
    default: x[0] = gka_problem_g(p, b, t, h); return 1;
    }
}

static void test_edits(void **state) {
    (void)state;
    gka_generator spec = SMALL;
    spec.T = 11;
    spec.dtype = GKA_F16;
    gka_problem plain = make(&spec);
    int changed = 0;
    for (int edit = 0; edit < GKA_EDIT_COUNT; edit++) {
        assert_int_equal(gka_edit_find(gka_edit_name((gka_edit)edit)), edit);
        assert_non_null(gka_edit_text((gka_edit)edit));
        spec.edits = 1u << edit;
        gka_problem p = make(&spec);
        for (int64_t b = 0; b < p.B; b++)
            for (int64_t t = 0; t < p.T; t++)
                for (int64_t i = 0; i < 6 * p.H; i++) {
                    const char tensor = "qkvoxg"[i % 6];
                    double is[6], was[6], first[6];
                    const int64_t n = row_of(&p, tensor, b, t, i / 6, is);
                    (void)row_of(&plain, tensor, b, t, i / 6, was);
                    (void)row_of(&plain, tensor, 0, 0, i / 6, first);
                    for (int64_t d = 0; d < n; d++) {
                        const double want =
                            expected((gka_edit)edit, tensor, t, d, was[d], first[d]);
                        assert_int_equal(bits_of(is[d]), bits_of(want));
                        changed += bits_of(want) != bits_of(was[d]);
                    }
                }
        gka_problem_free(&p);
    }
    assert_true(changed > 1000);
    gka_problem_free(&plain);
    assert_int_equal(gka_edit_find("no-key"), -1);
    assert_null(gka_edit_name(GKA_EDIT_COUNT));
    assert_null(gka_edit_text(GKA_EDIT_COUNT));
}

static void test_gate_edits_want_a_gate(void **state) {
    (void)state;
    gka_generator spec = SMALL;
    spec.gate = GKA_GATE_NONE;
    spec.edits = 1u << GKA_EDIT_GAMMA_ZERO;
    gka_problem p;
    gka_error error = {0};
    assert_int_equal(gka_problem_generate(&spec, &p, &error), GKA_BAD_ARGUMENT);
    assert_string_equal(error.text, "edit is 'gamma-zero' without a gate: gate slow, released, "
                                    "strong or init was expected");
    assert_null(p.q.data);
}

static void test_names(void **state) {
    (void)state;
    for (int i = 0; i < GKA_KEYS_COUNT; i++)
        assert_int_equal(gka_keys_find(gka_keys_name((gka_keys)i)), i);
    for (int i = 0; i < GKA_GATE_COUNT; i++)
        assert_int_equal(gka_gate_find(gka_gate_name((gka_gate)i)), i);
    assert_int_equal(gka_keys_find("none"), -1);
    assert_int_equal(gka_gate_find("iid"), -1);
    assert_null(gka_keys_name((gka_keys)9));
    assert_null(gka_gate_name((gka_gate)9));
}

/* ---- files --------------------------------------------------------------------------------- */

static char path[] = "generate-XXXXXX";

static void assert_same_problem(const gka_problem *a, const gka_problem *b) {
    gka_tensor s[GKA_PROBLEM_TENSORS], t[GKA_PROBLEM_TENSORS];
    const size_t count = gka_problem_tensors(a, s);
    assert_int_equal(gka_problem_tensors(b, t), count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(s[i].name, t[i].name);
        assert_int_equal(s[i].dtype, t[i].dtype);
        assert_int_equal(s[i].rank, t[i].rank);
        assert_memory_equal(s[i].shape, t[i].shape, sizeof s[i].shape);
        assert_memory_equal(s[i].data, t[i].data, bytes_of(&s[i]));
    }
    assert_true(a->B == b->B && a->T == b->T && a->H == b->H && a->G == b->G && a->D == b->D &&
                a->V == b->V && a->N == b->N);
    assert_int_equal(bits_of(a->ridge_ratio), bits_of(b->ridge_ratio));
    assert_int_equal(bits_of(a->scale), bits_of(b->scale));
    assert_int_equal(a->num_iter, b->num_iter);
    assert_int_equal(a->chunk_size, b->chunk_size);
}

static void test_write_and_read(void **state) {
    (void)state;
    static const int64_t bounds[] = {0, 2, 2, 5};
    static const gka_text_pair more[] = {{"seed", "7"}, {"keys", "iid"}};
    for (int packed = 0; packed < 2; packed++) {
        gka_generator spec = SMALL;
        spec.ridge_ratio = packed ? 0.1 : 1.0 / 3;
        spec.scale = packed ? 0x1.123456789abcdp-700 : 0;
        spec.B = packed ? 1 : 2;
        spec.h0 = !packed;
        gka_problem p = make(&spec);
        if (packed) {
            p.N = 3;
            p.cu_seqlens = bounds;
        }
        gka_error error = {0};
        if (gka_problem_write(&p, more, 2, path, &error) != GKA_OK)
            fail_msg("%s", error.text);
        gka_file *file;
        gka_problem back;
        gka_defaults defaults;
        assert_int_equal(gka_file_open(path, &file, &error), GKA_OK);
        if (gka_problem_from_file(file, &back, &defaults, &error) != GKA_OK)
            fail_msg("%s", error.text);
        assert_false(defaults.ridge_ratio || defaults.scale || defaults.num_iter ||
                     defaults.chunk_size);
        assert_string_equal(gka_file_metadata(file, "seed"), "7");
        if (packed) /* the shortest digits that read back */
            assert_string_equal(gka_file_metadata(file, "ridge_ratio"), "0.1");
        else
            assert_string_equal(gka_file_metadata(file, "ridge_ratio"), "0.3333333333333333");
        assert_same_problem(&p, &back);
        gka_problem_free(&back);
        gka_problem_free(&p);
        gka_file_close(file);
    }
    gka_problem p = make(&SMALL);
    gka_error error = {0};
    p.k.stride[1]++;
    assert_int_equal(gka_problem_write(&p, NULL, 0, path, &error), GKA_BAD_ARGUMENT);
    gka_problem_free(&p);
}

static gka_status generate_write_read(void *context) {
    gka_error *const error = context;
    gka_generator spec = SMALL;
    spec.keys = GKA_KEYS_POWERLAW;
    gka_problem p, back = {0};
    gka_status status = gka_problem_generate(&spec, &p, error);
    if (status != GKA_OK)
        return status;
    gka_file *file = NULL;
    status = gka_problem_write(&p, NULL, 0, path, error);
    if (status == GKA_OK)
        status = gka_file_open(path, &file, error);
    if (status == GKA_OK)
        status = gka_problem_from_file(file, &back, NULL, error);
    gka_problem_free(&back);
    gka_file_close(file);
    gka_problem_free(&p);
    return status;
}

static void test_each_allocation_fails(void **state) {
    (void)state;
    gka_error error = {0};
    for (int rest = 0; rest < 2; rest++) {
        assert_true(some_allocations_fail(generate_write_read, &error, rest, INT64_MAX) >= 15);
        assert_int_equal(error.status, GKA_OUT_OF_MEMORY);
    }
}

static int enter(void **state) {
    (void)state;
    const int descriptor = mkstemp(path);
    return descriptor < 0 || close(descriptor) != 0;
}

static int leave(void **state) {
    (void)state;
    mpfr_free_cache();
    return unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_draws),
        cmocka_unit_test(prop_normal_moments),
        cmocka_unit_test(prop_uniform_moments),
        cmocka_unit_test(test_places_differ),
        cmocka_unit_test(prop_prefix),
        cmocka_unit_test(prop_tokens),
        cmocka_unit_test(prop_threads),
        cmocka_unit_test(prop_norms),
        cmocka_unit_test(prop_lowrank),
        cmocka_unit_test(prop_repeat),
        cmocka_unit_test(prop_basis),
        cmocka_unit_test(prop_powerlaw),
        cmocka_unit_test(prop_mean),
        cmocka_unit_test(prop_convsilu),
        cmocka_unit_test(prop_aligned),
        cmocka_unit_test(prop_gate_init),
        cmocka_unit_test(prop_recall),
        cmocka_unit_test(prop_gates),
        cmocka_unit_test(prop_h0_positive_definite),
        cmocka_unit_test(test_absent),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_edits),
        cmocka_unit_test(test_gate_edits_want_a_gate),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_write_and_read),
        cmocka_unit_test(test_each_allocation_fails),
    };
    return cmocka_run_group_tests_name("generate", tests, enter, leave);
}
