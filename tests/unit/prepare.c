/* prepare.c - from projections to problems, and head by head: selections of a file's tensors, views
 * of one head, the convolution, what is drawn; predictions and conditioning against other ways. */
#include "test.h"

#include "gka/chunk.h"
#include "gka/judge.h"
#include "gka/oracle.h"
#include "gka/problem.h"
#include "problem/draw.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static gka_problem make(gka_generator spec) {
    gka_problem p;
    gka_error error = {0};
    spec.alpha = spec.cotangents = true;
    if (gka_problem_generate(&spec, &p, &error) != GKA_OK)
        fail_msg("%s", error.text);
    return p;
}

static const gka_preparation AS_IT_IS = {.normalise = -1, .gate = -1, .dtype = -1, .seed = 5};

/* ---- one head ------------------------------------------------------------------------------ */

static void test_head(void **state) {
    (void)state;
    static const int64_t bounds[] = {0, 2, 2, 7};
    gka_problem p = make((gka_generator){.gate = GKA_GATE_RELEASED,
                                         .B = 1,
                                         .T = 7,
                                         .H = 4,
                                         .G = 2,
                                         .D = 3,
                                         .V = 2,
                                         .dtype = GKA_BF16,
                                         .seed = 2});
    p.N = 3;
    p.cu_seqlens = bounds;
    for (int64_t n = 0; n < 3; n++)
        for (int64_t h = 0; h < 4; h++) {
            gka_problem one = gka_problem_head(&p, n, h);
            gka_error error = {0};
            if (gka_problem_check(&one, NULL, &error) != GKA_OK)
                fail_msg("%s", error.text);
            assert_int_equal(one.T, bounds[n + 1] - bounds[n]);
            for (int64_t t = 0; t < one.T; t++) {
                double x[3], y[3];
                gka_problem_k(&p, 0, bounds[n] + t, h, x);
                gka_problem_k(&one, 0, t, 0, y);
                assert_memory_equal(x, y, sizeof x);
                gka_problem_dout(&p, 0, bounds[n] + t, h, x);
                gka_problem_dout(&one, 0, t, 0, y);
                assert_memory_equal(x, y, 2 * sizeof *x);
                assert_true(bits_of(gka_problem_g(&one, 0, t, 0)) ==
                            bits_of(gka_problem_g(&p, 0, bounds[n] + t, h)));
            }
        }
    gka_problem_free(&p);
    p = make((gka_generator){
        .B = 2, .T = 3, .H = 2, .G = 1, .D = 3, .V = 2, .h0 = true, .dtype = GKA_F32});
    const gka_problem one = gka_problem_head(&p, 1, 1);
    double x[9], y[9];
    gka_problem_h0(&p, 1, 1, x);
    gka_problem_h0(&one, 0, 0, y);
    assert_memory_equal(x, y, sizeof x);
    gka_problem_free(&p);
}

/* ---- selections ---------------------------------------------------------------------------- */

static char path[] = "prepare-XXXXXX";

/* Numbers 0, 1, 2, .. in every tensor; element i of a view is found again by its place. */
static void test_select(void **state) {
    (void)state;
    enum { T = 3, H = 2, D = 2 };
    static float numbers[T * H * D];
    for (int i = 0; i < T * H * D; i++)
        gka_store_array(GKA_F32, 1, &(double){i}, &numbers[i]);
    static const struct {
        int rank;
        int64_t shape[4];
        bool heads_first;
        int64_t heads;
    } forms[] = {{4, {1, T, H, D}, false, H}, {3, {T, H, D}, false, H}, {2, {T * H, D}, false, 1},
                 {4, {1, H, T, D}, true, H},  {3, {H, T, D}, true, H},  {2, {T * H, D}, true, 1}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        gka_tensor tensors[3] = {{"l.0.k", GKA_F32, forms[i].rank, {0}, numbers},
                                 {"l.0.q", GKA_F32, forms[i].rank, {0}, numbers},
                                 {"other", GKA_F32, forms[i].rank, {0}, numbers}};
        for (int t = 0; t < 3; t++)
            memcpy(tensors[t].shape, forms[i].shape, sizeof forms[i].shape);
        gka_error error = {0};
        gka_file *file;
        assert_int_equal(gka_file_write(path, tensors, 3, NULL, 0, &error), GKA_OK);
        assert_int_equal(gka_file_open(path, &file, &error), GKA_OK);
        for (int alone = 0; alone < 2; alone++) {
            const gka_selection selection = {.prefix = alone ? NULL : "l.0.",
                                             .keys = alone ? "other" : NULL,
                                             .heads_first = forms[i].heads_first};
            gka_problem p;
            if (gka_problem_select(file, &selection, &p, NULL, &error) != GKA_OK)
                fail_msg("%s", error.text);
            assert_true(p.B == 1 && p.H == forms[i].heads && p.T * p.H == T * H && p.D == D);
            for (int64_t t = 0; t < p.T; t++)
                for (int64_t h = 0; h < p.H; h++) {
                    double x[D];
                    const int64_t row = forms[i].heads_first && p.H > 1 ? h * p.T + t : t * p.H + h;
                    gka_problem_k(&p, 0, t, h, x);
                    assert_true(fabs(x[1] - (double)(row * D + 1)) < .5);
                }
            gka_problem_free(&p);
        }
        const gka_selection none = {.prefix = "l.1."};
        gka_problem p;
        assert_int_equal(gka_problem_select(file, &none, &p, NULL, &error), GKA_BAD_FILE);
        assert_non_null(strstr(error.text, "tensor 'l.1.q' is missing"));
        gka_file_close(file);
    }
}

/* ---- preparing ----------------------------------------------------------------------------- */

/* The convolution within each sequence, by its definition and libm. */
static void prop_convolution(void **state) {
    (void)state;
    static const int64_t bounds[] = {0, 4, 9};
    gka_problem p = make((gka_generator){
        .B = 1, .T = 9, .H = 2, .G = 1, .D = 3, .V = 2, .dtype = GKA_F64, .seed = 1});
    p.N = 2;
    p.cu_seqlens = bounds;
    gka_preparation how = AS_IT_IS;
    how.conv = true;
    gka_problem to;
    gka_error error = {0};
    if (gka_problem_prepare(&p, &how, &to, &error) != GKA_OK)
        fail_msg("%s", error.text);
    for (int64_t t = 0; t < 9; t++)
        for (int64_t h = 0; h < 2; h++) {
            double sum[3] = {0}, x[3], y[3];
            for (int64_t i = 0; i < 4 && t - i >= (t < 4 ? 0 : 4); i++) {
                gka_problem_q(&p, 0, t - i, h, x);
                for (int d = 0; d < 3; d++)
                    sum[d] += (gka_draw_uniform(5, GKA_DRAW_CONV, 1, i, h, d) - .5) * x[d];
            }
            gka_problem_q(&to, 0, t, h, y);
            for (int d = 0; d < 3; d++)
                assert_true(fabs(y[d] - sum[d] / (1 + exp(-sum[d]))) < 1e-15);
        }
    gka_problem_free(&to);
    gka_problem_free(&p);
}

static void test_drawn(void **state) {
    (void)state;
    gka_problem p = make((gka_generator){.gate = GKA_GATE_STRONG,
                                         .B = 1,
                                         .T = 40,
                                         .H = 2,
                                         .G = 1,
                                         .D = 4,
                                         .V = 3,
                                         .dtype = GKA_F32,
                                         .seed = 1});
    gka_preparation how = AS_IT_IS;
    how.gate = GKA_GATE_INIT;
    how.beta = how.alpha = how.cotangents = true;
    how.dtype = GKA_BF16;
    gka_problem a, b;
    gka_error error = {0};
    assert_int_equal(gka_problem_prepare(&p, &how, &a, &error), GKA_OK);
    assert_int_equal(gka_problem_prepare(&p, &how, &b, &error), GKA_OK);
    assert_true(a.beta.dtype == GKA_BF16 && a.q.dtype == GKA_BF16 && a.dout.dtype == GKA_BF16 &&
                a.g.dtype == GKA_F32 && a.G == 1);
    for (int64_t t = 0; t < 40; t++)
        for (int64_t h = 0; h < 2; h++) {
            const double beta = gka_problem_beta(&a, 0, t, h);
            assert_true(beta > 0 && beta < 1);
            assert_true(bits_of(beta) == bits_of(gka_problem_beta(&b, 0, t, h)));
            assert_true(bits_of(gka_problem_g(&a, 0, t, h)) != bits_of(gka_problem_g(&p, 0, t, h)));
        }
    gka_problem none;
    assert_int_equal(gka_problem_prepare(&a, &how, &none, &error), GKA_BAD_ARGUMENT);
    assert_null(none.q.data);
    gka_problem_free(&a);
    how.seed++;
    assert_int_equal(gka_problem_prepare(&p, &how, &a, &error), GKA_OK);
    assert_true(bits_of(gka_problem_beta(&a, 0, 3, 0)) != bits_of(gka_problem_beta(&b, 0, 3, 0)));
    gka_problem_free(&a);
    /* folded on the way, or afterwards: the same */
    how.normalise = GKA_NORMALISE_ROUNDED;
    gka_problem_free(&b);
    assert_int_equal(gka_problem_prepare(&p, &how, &b, &error), GKA_OK);
    how.fold = true;
    assert_int_equal(gka_problem_prepare(&p, &how, &a, &error), GKA_OK);
    assert_true(gka_problem_is_folded(&a) && !gka_problem_is_folded(&b));
    gka_problem folded;
    assert_int_equal(gka_problem_fold(&b, GKA_BF16, &folded, &error), GKA_OK);
    assert_memory_equal(a.k.data, folded.k.data, 40 * 2 * 4 * 2);
    assert_memory_equal(a.q.data, folded.q.data, 40 * 2 * 4 * 2);
    gka_problem_free(&folded);
    gka_problem_free(&a);
    gka_problem_free(&b);
    gka_problem_free(&p);
}

/* ---- conditioning -------------------------------------------------------------------------- */

/* Keys e_1, e_2, e_1, e_2, e_3 (D = 4) without gates: H = diag(2, 2, 1, 0). */
static void test_conditioning(void **state) {
    (void)state;
    enum { T = 5, D = 4 };
    static const int axis[T] = {0, 1, 0, 1, 2};
    double k[T * D] = {0}, q[T * D] = {0};
    for (int t = 0; t < T; t++)
        k[t * D + axis[t]] = 1;
    gka_problem p = {.B = 1,
                     .T = T,
                     .H = 1,
                     .G = 1,
                     .D = D,
                     .N = 1,
                     .ridge_ratio = .5,
                     .scale = 1,
                     .num_iter = 1,
                     .chunk_size = 1};
    p.q = gka_view_of_doubles(4, (const int64_t[]){1, T, 1, D}, q, q);
    p.k = gka_view_of_doubles(4, (const int64_t[]){1, T, 1, D}, k, k);
    static const int64_t tokens[] = {1, 5, 9};
    gka_conditioning c[3];
    gka_error error = {0};
    assert_int_equal(gka_chunk_conditioning(&p, 3, tokens, c, &error), GKA_OK);
    assert_true(fabs(c[0].share - 1) < 1e-14 && fabs(c[0].rank - 1) < 1e-14);
    const double f = 3, lambda = 1.5; /* ||diag(2, 2, 1, 0)|| */
    assert_true(fabs(c[1].f - f) < 1e-14 && fabs(c[1].kappa - 3.5 / 1.5) < 1e-13);
    assert_true(fabs(c[1].share - 3.5 / 1.5 / 3) < 1e-13 && fabs(c[1].rank - 25. / 9) < 1e-13);
    assert_true(fabs(c[1].freedom - (2 * 2 / (2 + lambda) + 1 / (1 + lambda))) < 1e-13);
    assert_true(fabs(c[1].mean - 3. / 5) < 1e-14); /* |(2, 2, 1, 0)|/5 */
    assert_true(!(fabs(c[1].smallest) > 0) && fabs(c[1].largest - 2) < 1e-13);
    assert_true(isnan(c[2].kappa) && isnan(c[2].f));

    double minus[D * D] = {-9};
    p.h0 = gka_view_of_doubles(4, (const int64_t[]){1, 1, D, D}, minus, minus);
    assert_int_equal(gka_chunk_conditioning(&p, 3, tokens, c, &error), GKA_OK);
    assert_true(isinf(c[0].kappa) && c[0].kappa > 0 && isnan(c[0].freedom)); /* indefinite */
}

/* ---- predictions --------------------------------------------------------------------------- */

static const char *const names[] = {"o", "solve.dk", "layer.dalpha"};

/* One head of a problem at a time gives what all of its heads together give. */
static void test_prediction(void **state) {
    (void)state;
    enum { B = 2, T = 32, H = 2, D = 16 };
    gka_problem p = make((gka_generator){.keys = GKA_KEYS_MEAN,
                                         .gate = GKA_GATE_RELEASED,
                                         .B = B,
                                         .T = T,
                                         .H = H,
                                         .G = H,
                                         .D = D,
                                         .V = D,
                                         .dtype = GKA_BF16,
                                         .chunk_size = 16,
                                         .seed = 1});
    gka_kernel kernels[2];
    gka_error error = {0};
    assert_int_equal(gka_kernel_find("h100", &kernels[0], &error), GKA_OK);
    assert_int_equal(gka_kernel_find("h100/two-term", &kernels[1], &error), GKA_OK);
    const gka_prediction asked = {
        .kernels = kernels, .kernel_count = 2, .names = names, .name_count = 3};
    double distance[B * H][2][3], size[B * H][3];
    assert_int_equal(gka_predict(&p, &asked, &distance[0][0][0], &size[0][0], &error), GKA_OK);
    static double exact[B * T * H * D], given[B * T * H * D];
    gka_outputs out = {.o = exact}, emulated = {.o = given};
    assert_int_equal(gka_oracle_forward(&p, NULL, &out, NULL, NULL, &error), GKA_OK);
    assert_int_equal(gka_chunk_forward(&p, &kernels[1].profile, &emulated, NULL, NULL, &error),
                     GKA_OK);
    for (int64_t head = 0; head < B * H; head++) {
        double difference = 0, whole = 0;
        for (int64_t t = 0; t < T; t++)
            for (int64_t d = 0; d < D; d++) {
                const int64_t i = ((head / H * T + t) * H + head % H) * D + d;
                difference += (exact[i] - given[i]) * (exact[i] - given[i]);
                whole += exact[i] * exact[i];
            }
        assert_true(fabs(distance[head][1][0] - sqrt(difference)) <= 1e-9 * sqrt(difference));
        assert_true(fabs(size[head][0] - sqrt(whole)) <= 1e-9 * sqrt(whole));
        for (int i = 0; i < 3; i++)
            assert_true(distance[head][0][i] > distance[head][1][i] && size[head][i] > 0);
    }
    p.alpha = (gka_view){0}; /* no dalpha then */
    assert_int_equal(gka_predict(&p, &asked, &distance[0][0][0], &size[0][0], &error), GKA_OK);
    assert_true(isnan(distance[0][0][2]) && isnan(size[3][2]) && !isnan(distance[0][0][1]));
    static const char *const wrong[] = {"h_chunk"};
    const gka_prediction other = {
        .kernels = kernels, .kernel_count = 1, .names = wrong, .name_count = 1};
    assert_int_equal(gka_predict(&p, &other, &distance[0][0][0], &size[0][0], &error),
                     GKA_BAD_ARGUMENT);
    gka_problem_free(&p);
}

/* ---- allocations --------------------------------------------------------------------------- */

static gka_status everything(void *problem) {
    gka_preparation how = AS_IT_IS;
    how.conv = how.beta = how.alpha = how.cotangents = how.fold = true;
    how.normalise = GKA_NORMALISE_ROUNDED;
    how.gate = GKA_GATE_INIT;
    gka_problem to;
    gka_conditioning c[2];
    double distance[2][2], size[2][2];
    gka_kernel kernel;
    gka_status status = gka_problem_prepare(problem, &how, &to, NULL);
    if (status == GKA_OK)
        status = gka_chunk_conditioning(&to, 1, &to.T, c, NULL);
    if (status == GKA_OK)
        status = gka_kernel_find("h100", &kernel, NULL);
    const gka_prediction asked = {
        .kernels = &kernel, .kernel_count = 1, .names = names, .name_count = 2};
    if (status == GKA_OK)
        status = gka_predict(&to, &asked, &distance[0][0], &size[0][0], NULL);
    gka_problem_free(&to);
    return status;
}

static void test_each_allocation_fails(void **state) {
    (void)state;
    gka_problem p = make((gka_generator){.B = 1,
                                         .T = 2,
                                         .H = 2,
                                         .G = 1,
                                         .D = 16,
                                         .V = 16,
                                         .dtype = GKA_BF16,
                                         .chunk_size = 16,
                                         .seed = 1});
    gka_set_threads(1);
    assert_true(allocations_fail(everything, &p) >= 20);
    gka_set_threads(0);
    gka_problem_free(&p);
}

static int enter(void **state) {
    (void)state;
    const int descriptor = mkstemp(path);
    return descriptor < 0 || close(descriptor) != 0;
}

static int leave(void **state) {
    (void)state;
    return unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_select),
        cmocka_unit_test(prop_convolution),
        cmocka_unit_test(test_drawn),
        cmocka_unit_test(test_conditioning),
        cmocka_unit_test(test_prediction),
        cmocka_unit_test(test_each_allocation_fails),
    };
    return cmocka_run_group_tests_name("prepare", tests, enter, leave);
}
