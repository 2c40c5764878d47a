/* device.c - the corner cases of NUMERICS 6, views, exp at known points. */
#include "test.h"

#include "arith/tensor_core.h"
#include "gka/arith.h"

#include <math.h>

/* c + sum a_i b_i on a device, one group or less, through the public product. */
static float dot(const char *device, int n, const float *a, const float *b, float c) {
    const gka_device *const d = gka_device_find(device);
    double left[16], right[16], sum = (double)c;
    for (int i = 0; i < n; i++) {
        left[i] = (double)a[i];
        right[i] = (double)b[i];
    }
    unsigned char *const work = gka_alloc(
        gka_mma_left_size(d, GKA_MMA_BF16, 1, n) + gka_mma_right_size(d, GKA_MMA_BF16, n, 1), 1);
    gka_mma(d, GKA_MMA_BF16, 1, 1, n, (gka_matrix){left, n, 1}, (gka_matrix){right, 1, 1}, &sum, 1,
            work);
    gka_free(work);
    return (float)sum;
}

static uint32_t dot_bits(int n, const float *a, const float *b, float c) {
    return bits_of_f32(dot("h100", n, a, b, c));
}

#define A(...) ((const float[]){__VA_ARGS__})

static void test_zeros_take_no_part_in_E(void **state) {
    (void)state;
    assert_int_equal(dot_bits(2, A(0, 0x1p-20f), A(0x1p127f, 0x1p-20f), 0), bits_of_f32(0x1p-40f));
}

static void test_overflow_is_infinite(void **state) {
    (void)state;
    assert_int_equal(dot_bits(1, A(0x1p100f), A(0x1p27f), 0x1p127f), bits_of_f32(INFINITY));
    assert_int_equal(dot_bits(1, A(-0x1p100f), A(0x1p27f), -0x1p127f), bits_of_f32(-INFINITY));
    /* 2^128 - 2^128 + 1: the 1 is aligned away */
    assert_int_equal(dot_bits(2, A(0x1p64f, -0x1p64f), A(0x1p64f, 0x1p64f), 1), 0);
}

static void test_zero_sum_is_positive(void **state) {
    (void)state;
    assert_int_equal(dot_bits(1, A(-0.0f), A(1), -0.0f), 0);
    assert_int_equal(dot_bits(1, A(0), A(0), -0.0f), 0);
    /* a negative sum below the smallest number (7 results of an H100 in mma.bin) */
    assert_int_equal(dot_bits(1, A(-0x1p-133f), A(0x1p-20f), 0), 0);
}

static void test_special_values(void **state) {
    (void)state;
    const uint32_t nan = 0x7fffffff;
    assert_int_equal(dot_bits(2, A(INFINITY, -INFINITY), A(1, 1), 0), nan);
    assert_int_equal(dot_bits(1, A(INFINITY), A(1), -INFINITY), nan);
    assert_int_equal(dot_bits(1, A(INFINITY), A(0), 0), nan);
    assert_int_equal(dot_bits(1, A(NAN), A(0), 0), nan);
    assert_int_equal(dot_bits(1, A(1), A(1), -NAN), nan);
    assert_int_equal(dot_bits(1, A(0), A(1), -NAN), nan);
    assert_int_equal(dot_bits(2, A(-INFINITY, 1), A(1, 1), 1), bits_of_f32(-INFINITY));
}

static void test_truncation_keeps_25_bits(void **state) {
    (void)state;
    assert_int_equal(dot_bits(2, A(1, -0x1p-25f), A(1, 1), 0), 0x3f7fffff);
    assert_int_equal(dot_bits(2, A(1, -0x1p-26f), A(1, 1), 0), 0x3f800000);
    assert_int_equal(bits_of_f32(dot("a100", 2, A(1, -0x1p-25f), A(1, 1), 0)), 0x3f800000);
}

static void test_subnormals_in_and_out(void **state) {
    (void)state;
    assert_int_equal(dot_bits(1, A(0x1p-133f), A(0x1p-16f), 0), 1);
}

static void test_neutral_devices_round_once_per_product(void **state) {
    (void)state;
    assert_int_equal(bits_of_f32(dot("ieee32", 2, A(0x1p-24f, 0x1p-24f), A(1, 1), 1)),
                     bits_of_f32(1));
    /* 1 + 2^-23, then a tie that goes to the even neighbour; the exact sum is nearer 1 + 2^-23 */
    assert_int_equal(bits_of_f32(dot("ieee32", 2, A(0x1.8p-24f, 0x1p-24f), A(1, 1), 1)),
                     bits_of_f32(1 + 0x1p-22f));
}

static void test_views_and_presets(void **state) {
    (void)state;
    const double a[] = {1, 2, 3, 4, 5, 6}; /* [2,3], and its transpose as a view */
    for (const gka_device *const *d = gka_device_presets(); *d; d++) {
        double c[4] = {1, 1, 1, 1};
        unsigned char *const work = gka_alloc(gka_mma_left_size(*d, GKA_MMA_BF16, 2, 3) +
                                                  gka_mma_right_size(*d, GKA_MMA_BF16, 3, 2),
                                              1);
        gka_mma(*d, GKA_MMA_BF16, 2, 2, 3, (gka_matrix){a, 3, 1}, (gka_matrix){a, 1, 3}, c, 2,
                work);
        gka_free(work);
        const double want[] = {15, 33, 33, 78};
        for (int i = 0; i < 4; i++)
            assert_int_equal(bits_of(c[i]), bits_of(want[i]));
        assert_ptr_equal(gka_device_find((*d)->name), *d);
    }
    assert_null(gka_device_find("v101"));
}

static void test_exp_at_known_points(void **state) {
    (void)state;
    const gka_device *const d = gka_device_find("exact64");
    assert_int_equal(bits_of(gka_device_exp(d, 0)), bits_of(1));
    assert_int_equal(bits_of(gka_device_exp(d, 1)), bits_of(0x1.5bf0a8b145769p+1));
    assert_int_equal(bits_of(gka_device_exp(d, -700)), bits_of(0x1.14f2b0fb9307fp-1010));
    assert_int_equal(bits_of(gka_device_exp(d, (double)-INFINITY)), 0);
    assert_int_equal(bits_of(gka_device_exp(d, 1e4)), bits_of((double)INFINITY));
    assert_int_equal(bits_of(gka_device_exp2(d, 0.5)), bits_of(0x1.6a09e667f3bcdp+0));
    assert_true(isnan(gka_device_exp(d, (double)NAN)));
}

static void test_pinned_exp(void **state) {
    (void)state;
    const gka_device *const d = gka_device_find("gka-cuda");
    assert_int_equal(bits_of(gka_device_exp(d, 0)), bits_of(1));
    assert_int_equal(bits_of(gka_device_exp(d, -1)), bits_of((double)0x1.78b564p-2f));
    assert_int_equal(bits_of(gka_device_exp(d, -1e4)), 0);
    assert_int_equal(bits_of(gka_device_exp(d, 200)), bits_of((double)INFINITY));
    assert_int_equal(bits_of(gka_device_div(d, 1, 3)), bits_of((double)(1.0f / 3)));
}

/* Every operand 255/128, K = 64: 64 products of 3.969 are 254.004, far below the 2^31 that a 32-bit
 * sum of {32, 25} would need. A 32-bit sum gave -1.996. */
static void test_wide_cores_go_by_the_rule(void **state) {
    (void)state;
    static const int cores[][2] = {{32, 13}, {32, 25}, {64, 35}};
    for (size_t i = 0; i < sizeof cores / sizeof *cores; i++) {
        const gka_device own = {.name = "own",
                                .binary32 = true,
                                .core = {[GKA_MMA_BF16] = {.group = cores[i][0],
                                                           .fraction = cores[i][1],
                                                           .floor = -133}},
                                .functions = GKA_FUNCTIONS_BINARY32};
        assert_int_equal(gka_device_check(&own, NULL), GKA_OK);
        double a[64], sum = 0;
        for (int k = 0; k < 64; k++)
            a[k] = 255.0 / 128;
        unsigned char *const work = gka_alloc(gka_mma_left_size(&own, GKA_MMA_BF16, 1, 64) +
                                                  gka_mma_right_size(&own, GKA_MMA_BF16, 64, 1),
                                              1);
        const gka_matrix left = {a, 64, 1}, right = {a, 1, 1};
        gka_mma(&own, GKA_MMA_BF16, 1, 1, 64, left, right, &sum, 1, work);
        /* with 13 fractional bits each product is cut to 3.96875 and the second group, whose E is
         * that of c = 127, cuts its products to multiples of 2^-7 */
        const double want = i == 0 ? 32 * (3.96875 + 3.96875) : 64 * (255.0 * 255 / 16384);
        assert_int_equal(bits_of(sum), bits_of(want));
        a[40] = (double)INFINITY; /* the group that is taken again */
        sum = 0;
        gka_mma(&own, GKA_MMA_BF16, 1, 1, 64, left, right, &sum, 1, work);
        assert_true(isinf(sum));
        gka_free(work);
    }
}

static void test_check_refuses(void **state) {
    (void)state;
    const gka_device good = {.name = "own",
                             .binary32 = true,
                             .core = {[GKA_MMA_TF32] = {.group = 8, .fraction = 25, .floor = -133}},
                             .functions = GKA_FUNCTIONS_H100};
    gka_error error;
    for (const gka_device *const *d = gka_device_presets(); *d; d++)
        assert_int_equal(gka_device_check(*d, &error), GKA_OK);
    assert_int_equal(gka_device_check(&good, &error), GKA_OK);
    assert_int_equal(gka_device_check(NULL, &error), GKA_BAD_ARGUMENT);
    gka_device bad[18];
    for (int i = 0; i < 18; i++)
        bad[i] = good;
    bad[0].name = NULL;
    bad[1].core[GKA_MMA_TF32].group = 65;
    bad[2].core[GKA_MMA_BF16].group = -1;
    bad[3].core[GKA_MMA_TF32].fraction = 53;
    bad[4].core[GKA_MMA_TF32].fraction = -1;
    bad[5].core[GKA_MMA_TF32].floor = -1001;
    bad[6].core[GKA_MMA_WORKING].group = 4;
    bad[7].binary32 = false;
    bad[8].functions = GKA_FUNCTIONS_BINARY64;
    bad[9].functions = (gka_functions)17;
    bad[10].core[GKA_MMA_TF32].sum = GKA_SUM_COUNT;
    bad[11].core[GKA_MMA_TF32].result = GKA_RESULT_COUNT;
    bad[12].core[GKA_MMA_TF32].order = GKA_K_ORDER_COUNT;
    bad[13].core[GKA_MMA_TF32].apart = 12;
    for (int i = 14; i < 17; i++)
        bad[i].core[GKA_MMA_TF32].sum = i == 14   ? GKA_SUM_PAIRS
                                        : i == 15 ? GKA_SUM_CHAINS
                                                  : GKA_SUM_EXACT;
    bad[14].core[GKA_MMA_TF32].group = 6;
    bad[15].core[GKA_MMA_TF32].group = 5;
    bad[16].core[GKA_MMA_TF32].result = GKA_RESULT_FP16;
    bad[17].core[GKA_MMA_TF32].sum = GKA_SUM_FLOORED;
    bad[17].core[GKA_MMA_TF32].fraction = 32;
    for (int i = 0; i < 18; i++) {
        error.text[0] = 0;
        assert_int_equal(gka_device_check(&bad[i], &error), GKA_BAD_ARGUMENT);
        assert_true(error.text[0]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zeros_take_no_part_in_E),
        cmocka_unit_test(test_overflow_is_infinite),
        cmocka_unit_test(test_zero_sum_is_positive),
        cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_truncation_keeps_25_bits),
        cmocka_unit_test(test_subnormals_in_and_out),
        cmocka_unit_test(test_neutral_devices_round_once_per_product),
        cmocka_unit_test(test_views_and_presets),
        cmocka_unit_test(test_exp_at_known_points),
        cmocka_unit_test(test_pinned_exp),
        cmocka_unit_test(test_wide_cores_go_by_the_rule),
        cmocka_unit_test(test_check_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
