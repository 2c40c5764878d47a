/* fold.c - beta and normalise: folded by the definition of gka/problem.h, computed here in MPFR;
 * every form of tensor; through a file; who refuses what is not folded; every allocation. */
#include "test.h"

#include "gka/chunk.h"
#include "gka/layer.h"
#include "gka/oracle.h"
#include "gka/problem.h"
#include "gka/replay.h"

#include <math.h>
#include <mpfr.h>
#include <stdlib.h>
#include <unistd.h>

enum { B = 2, T = 3, H = 4, G = 2, D = 5, W = 3 };

/* As a server has it: a made-up problem whose rows are no unit vectors, and a beta. */
typedef struct raw {
    gka_problem made, problem;
    double beta[B * T * H];
    double k[B * T * G * D];
} raw;

static void make(raw *r, gka_normalise normalise, bool with_beta, gka_dtype dtype) {
    const gka_generator spec = {.gate = GKA_GATE_RELEASED,
                                .B = B,
                                .T = T,
                                .H = H,
                                .G = G,
                                .D = D,
                                .V = W,
                                .alpha = true,
                                .cotangents = true,
                                .h0 = true,
                                .dtype = dtype,
                                .seed = 3};
    gka_error error = {0};
    if (gka_problem_generate(&spec, &r->made, &error) != GKA_OK)
        fail_msg("%s", error.text);
    r->problem = r->made;
    r->problem.normalise = normalise;
    for (int i = 0; i < B * T * H; i++)
        r->beta[i] = 0.1 + 0.03 * i;
    if (with_beta)
        r->problem.beta = gka_view_of_doubles(3, (const int64_t[]){B, T, H}, r->beta, r->beta);
}

static double norm_of(int64_t n, const double *x, double *quotients, const gka_format *format) {
    mpfr_t sum, y;
    mpfr_inits2(400, sum, y, (mpfr_ptr)0);
    mpfr_set_zero(sum, 1);
    for (int64_t i = 0; i < n; i++) {
        mpfr_set_d(y, x[i], MPFR_RNDN);
        mpfr_sqr(y, y, MPFR_RNDN);
        mpfr_add(sum, sum, y, MPFR_RNDN);
    }
    mpfr_sqrt(sum, sum, MPFR_RNDN);
    const bool zero = mpfr_zero_p(sum);
    for (int64_t i = 0; i < n; i++) {
        mpfr_set_d(y, x[i], MPFR_RNDN);
        if (!zero)
            mpfr_div(y, y, sum, MPFR_RNDN);
        quotients[i] = mpfr_get_d(y, MPFR_RNDN);
        if (format != NULL)
            quotients[i] = gka_round(format, GKA_NEAREST_EVEN, quotients[i], 0);
    }
    mpfr_clears(sum, y, (mpfr_ptr)0);
    return zero ? 0 : 1;
}

/* |a - b| within `ulps` units of 2^-53 of b */
static void assert_near(double a, double b, double ulps) {
    if (!(fabs(a - b) <= ulps * 0x1p-53 * fabs(b)))
        fail_msg("%.17g is not %.17g", a, b);
}

/* Every element of the folded q, k, v against the definition. A sum of D squares, a root and a
 * quotient: (D/2 + 2) units of 2^-53; the factor and the product one each. */
static void prop_definition(void **state) {
    (void)state;
    static const gka_dtype dtypes[] = {GKA_F64, GKA_F32, GKA_BF16, GKA_F16};
    for (int i = 0; i < 4 * 3 * 2; i++) {
        const gka_dtype dtype = dtypes[i % 4];
        const gka_normalise how = (gka_normalise)(i / 4 % 3);
        const bool weighted = i / 12 == 1;
        raw r;
        make(&r, how, weighted, dtype);
        gka_problem to;
        gka_error error = {0};
        if (gka_problem_fold(&r.problem, GKA_F64, &to, &error) != GKA_OK)
            fail_msg("%s", error.text);
        assert_true(gka_problem_is_folded(&to));
        assert_true(gka_problem_is_folded(&r.problem) == (how == GKA_NORMALISE_NONE && !weighted));
        assert_int_equal(to.G, weighted ? H : G);
        const gka_format *const format =
            how == GKA_NORMALISE_ROUNDED ? gka_format_of_dtype(dtype) : NULL;
        for (int row = 0; row < B * T * H; row++) {
            const int64_t b = row / (T * H), t = row / H % T, h = row % H;
            double x[D], y[D], z[D];
            const double beta = gka_problem_beta(&r.problem, b, t, h) + (weighted ? 1e-6 : 0);
            gka_problem_q(&r.problem, b, t, h, x);
            gka_problem_q(&to, b, t, h, y);
            if (how != GKA_NORMALISE_NONE)
                norm_of(D, x, z, format);
            else
                memcpy(z, x, sizeof z);
            for (int d = 0; d < D; d++)
                assert_near(y[d], z[d], D);
            gka_problem_k(&r.problem, b, t, h, x);
            gka_problem_k(&to, b, t, h, y);
            if (how != GKA_NORMALISE_NONE)
                norm_of(D, x, z, format);
            else
                memcpy(z, x, sizeof z);
            for (int d = 0; d < D; d++)
                assert_near(y[d], beta * z[d], D + 2);
            gka_problem_v(&r.problem, b, t, h, x);
            gka_problem_v(&to, b, t, h, y);
            for (int d = 0; d < W; d++)
                assert_near(y[d], beta * x[d], 2);
        }
        gka_problem_free(&to);
        gka_problem_free(&r.made);
    }
}

/* All else is copied; the new problem outlives the old one; another type is one more rounding. */
static void test_stands_alone(void **state) {
    (void)state;
    raw r;
    make(&r, GKA_NORMALISE_UNIT, true, GKA_BF16);
    gka_problem exact, rounded;
    gka_error error = {0};
    assert_int_equal(gka_problem_fold(&r.problem, GKA_F64, &exact, &error), GKA_OK);
    assert_int_equal(gka_problem_fold(&r.problem, GKA_BF16, &rounded, &error), GKA_OK);
    assert_true(exact.B == B && exact.T == T && exact.H == H && exact.D == D && exact.V == W);
    assert_true(exact.num_iter == 30 && exact.chunk_size == 64 && exact.N == B);
    double x[D * D], y[D * D];
    gka_problem_h0(&r.problem, 1, 3, x);
    gka_problem_h0(&exact, 1, 3, y);
    assert_memory_equal(x, y, sizeof x);
    gka_problem_dout(&r.problem, 1, 2, 3, x);
    gka_problem_dout(&exact, 1, 2, 3, y);
    assert_memory_equal(x, y, W * sizeof *x);
    assert_true(bits_of(gka_problem_g(&exact, 1, 2, 3)) ==
                bits_of(gka_problem_g(&r.problem, 1, 2, 3)));
    gka_problem_free(&r.made);
    for (int64_t h = 0; h < H; h++) {
        gka_problem_k(&exact, 1, 2, h, x);
        gka_problem_k(&rounded, 1, 2, h, y);
        gka_round_array(gka_format_find("bf16"), GKA_NEAREST_EVEN, 0, 0, D, x, x);
        assert_memory_equal(x, y, D * sizeof *x);
    }
    gka_problem_free(&exact);
    gka_problem_free(&rounded);
    assert_int_equal(gka_problem_fold(&r.problem, GKA_I32, &exact, &error), GKA_BAD_ARGUMENT);
    assert_null(exact.q.data);
}

/* A zero row stays zero; squares that overflow or vanish do not matter; gaps between rows neither;
 * packed sequences keep their bounds. */
static void test_rows(void **state) {
    (void)state;
    static const int64_t bounds[] = {0, 1, 3};
    double q[3 * 4] = {0, 0, 99, 99, 3e200, -4e200, 99, 99, 3e-320, 4e-320, 99, 99};
    double k[3 * 4];
    memcpy(k, q, sizeof k);
    gka_problem p = {.B = 1,
                     .T = 3,
                     .H = 1,
                     .G = 1,
                     .D = 2,
                     .N = 2,
                     .ridge_ratio = .02,
                     .scale = 1,
                     .num_iter = 1,
                     .chunk_size = 1,
                     .normalise = GKA_NORMALISE_UNIT,
                     .cu_seqlens = bounds};
    p.q = gka_view_of_doubles(4, (const int64_t[]){1, 3, 1, 4}, q, q);
    p.k = gka_view_of_doubles(4, (const int64_t[]){1, 3, 1, 4}, k, k);
    p.q.shape[3] = p.k.shape[3] = 2;
    gka_problem to;
    gka_error error = {0};
    if (gka_problem_fold(&p, GKA_F64, &to, &error) != GKA_OK)
        fail_msg("%s", error.text);
    double x[2];
    gka_problem_q(&to, 0, 0, 0, x);
    assert_true(!(x[0] > 0) && !(x[1] > 0));
    gka_problem_k(&to, 0, 1, 0, x);
    assert_near(x[0], .6, 8);
    assert_near(x[1], -.8, 8);
    gka_problem_k(&to, 0, 2, 0, x);
    assert_true(fabs(x[0] - .6) < 1e-3 && fabs(x[1] - .8) < 1e-3); /* 3e-320 is 6072 2^-1074 */
    assert_int_equal(to.N, 2);
    assert_memory_equal(to.cu_seqlens, bounds, sizeof bounds);
    assert_ptr_not_equal(to.cu_seqlens, bounds);
    gka_problem_free(&to);
    p.T = p.q.shape[1] = p.k.shape[1] = 0; /* nothing to fold */
    p.cu_seqlens = NULL;
    p.N = 1;
    assert_int_equal(gka_problem_fold(&p, GKA_BF16, &to, &error), GKA_OK);
    assert_int_equal(to.T, 0);
    gka_problem_free(&to);
}

/* Whoever computes the layer refuses, with one line. */
static void test_refused(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        raw r;
        make(&r, i == 0 ? GKA_NORMALISE_UNIT : GKA_NORMALISE_NONE, i == 1, GKA_BF16);
        const char *const what = i == 0 ? "'normalise'" : "'beta'";
        gka_error error = {0};
        gka_outputs exact = {0};
        assert_int_equal(gka_oracle_forward(&r.problem, NULL, &exact, NULL, NULL, &error),
                         GKA_BAD_ARGUMENT);
        assert_non_null(strstr(error.text, what));
        gka_outputs out = {0};
        gka_profile profile;
        assert_int_equal(gka_profile_find("exact64", &profile, &error), GKA_OK);
        assert_int_equal(gka_chunk_forward(&r.problem, &profile, &out, NULL, NULL, &error),
                         GKA_BAD_ARGUMENT);
        assert_non_null(strstr(error.text, what));
        assert_int_equal(gka_replay_forward(&r.problem, GKA_TWO_TERM, false, &out, &error),
                         GKA_BAD_ARGUMENT);
        gka_layer_options options = {0};
        gka_outputs layer = {0};
        assert_true(gka_policy_find("fp64", &options.policy));
        assert_int_equal(gka_layer_forward(&r.problem, &options, &layer, NULL, &error),
                         GKA_BAD_ARGUMENT);
        assert_non_null(strstr(error.text, what));
        double lambda[B * T * H], fro[B * T * H];
        assert_int_equal(gka_chunk_spectrum(&r.problem, lambda, fro, &error), GKA_BAD_ARGUMENT);
        gka_problem_free(&r.made);
    }
}

/* ---- files --------------------------------------------------------------------------------- */

static char path[] = "fold-XXXXXX";

static void test_through_a_file(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        raw r;
        make(&r, (gka_normalise)i, true, GKA_BF16);
        gka_error error = {0};
        assert_int_equal(gka_problem_write(&r.problem, NULL, 0, path, &error), GKA_OK);
        gka_file *file;
        gka_problem back;
        assert_int_equal(gka_file_open(path, &file, &error), GKA_OK);
        if (gka_problem_from_file(file, &back, NULL, &error) != GKA_OK)
            fail_msg("%s", error.text);
        assert_int_equal(back.normalise, i);
        assert_true((gka_file_metadata(file, "normalise") != NULL) == (i > 0));
        assert_true(bits_of(gka_problem_beta(&back, 1, 2, 3)) ==
                    bits_of(gka_problem_beta(&r.problem, 1, 2, 3)));
        assert_int_equal(back.G, G);
        gka_problem_free(&back);
        gka_file_close(file);
        gka_problem_free(&r.made);
    }
    raw r;
    make(&r, GKA_NORMALISE_NONE, true, GKA_BF16);
    static const gka_text_pair bad[] = {{"normalise", "twice"}};
    gka_error error = {0};
    gka_file *file;
    gka_problem back;
    assert_int_equal(gka_problem_write(&r.problem, bad, 1, path, &error), GKA_OK);
    assert_int_equal(gka_file_open(path, &file, &error), GKA_OK);
    assert_int_equal(gka_problem_from_file(file, &back, NULL, &error), GKA_BAD_FILE);
    assert_non_null(strstr(error.text, "metadata 'normalise' is 'twice'; none, unit or rounded was "
                                       "expected"));
    gka_file_close(file);
    r.problem.beta.shape[2] = G;
    assert_int_equal(gka_problem_check(&r.problem, NULL, &error), GKA_BAD_ARGUMENT);
    assert_string_equal(error.text, "tensor 'beta': shape [2,3,2]; [B,T,H] = [2,3,4] was expected");
    r.problem.beta = (gka_view){0};
    r.problem.normalise = (gka_normalise)7;
    assert_int_equal(gka_problem_check(&r.problem, NULL, &error), GKA_BAD_ARGUMENT);
    gka_problem_free(&r.made);
    for (int i = 0; i < 3; i++)
        assert_int_equal(gka_normalise_find(gka_normalise_name((gka_normalise)i)), i);
    assert_int_equal(gka_normalise_find("Unit"), -1);
    assert_null(gka_normalise_name((gka_normalise)3));
}

static gka_status fold_once(void *context) {
    gka_problem to;
    const gka_status status = gka_problem_fold(context, GKA_F64, &to, NULL);
    if (status == GKA_OK)
        gka_problem_free(&to);
    else
        assert_null(to.q.data);
    return status;
}

static void test_each_allocation_fails(void **state) {
    (void)state;
    raw r;
    make(&r, GKA_NORMALISE_UNIT, true, GKA_BF16);
    assert_true(allocations_fail(fold_once, &r.problem) >= 3);
    gka_problem_free(&r.made);
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
        cmocka_unit_test(prop_definition),     cmocka_unit_test(test_stands_alone),
        cmocka_unit_test(test_rows),           cmocka_unit_test(test_refused),
        cmocka_unit_test(test_through_a_file), cmocka_unit_test(test_each_allocation_fails),
    };
    return cmocka_run_group_tests_name("fold", tests, enter, leave);
}
