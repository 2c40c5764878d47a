/* compare.c - the conventions of a comparison (gka/judge.h), one by one. */
#include "test.h"

#include "gka/format.h"
#include "gka/judge.h"

#include <math.h>
#include <mpfr.h>
#include <stdlib.h>

static const double u = 0x1p-53;

static gka_comparison compare_f64(int rank, const int64_t *shape, int row_rank, const double *out,
                                  const double *ref) {
    gka_tensor tensor = {.name = "t", .dtype = GKA_F64, .rank = rank, .data = out};
    for (int i = 0; i < rank; i++)
        tensor.shape[i] = shape[i];
    gka_comparison c;
    gka_compare(&tensor, ref, row_rank, &c);
    return c;
}

static gka_comparison compare_list(int64_t n, const double *out, const double *ref) {
    return compare_f64(1, (const int64_t[1]){n}, 1, out, ref);
}

/* One element of any dtype, given by its pattern. */
static gka_comparison compare_pattern(gka_dtype dtype, uint64_t pattern, double ref) {
    const uint8_t p1 = (uint8_t)pattern;
    const uint16_t p2 = (uint16_t)pattern;
    const uint32_t p4 = (uint32_t)pattern;
    const size_t size = gka_dtype_size(dtype);
    const void *const data = size == 1   ? (const void *)&p1
                             : size == 2 ? (const void *)&p2
                             : size == 4 ? (const void *)&p4
                                         : (const void *)&pattern;
    const gka_tensor tensor = {.name = "t", .dtype = dtype, .rank = 1, .shape = {1}, .data = data};
    gka_comparison c;
    gka_compare(&tensor, &ref, 0, &c);
    return c;
}

static void assert_near(double x, double expected, double relative) {
    if (!(fabs(x - expected) <= relative * fabs(expected)))
        fail_msg("%.17g, expected %.17g within %g", x, expected, relative);
}

static void test_relative_error(void **state) {
    (void)state;
    const double ref[2] = {3, 4}, out[2] = {3, 5};
    const gka_comparison c = compare_list(2, out, ref);
    assert_true(bits_of(c.rel_err) == bits_of(.2) && bits_of(c.max_row_err) == bits_of(.2));
    assert_false(c.absolute);
    assert_int_equal(c.equal, 1);
    assert_int_equal(c.count, 2);
    assert_false(c.bits_equal);
    assert_int_equal(c.ok, GKA_MEASURED);
    const gka_comparison same = compare_list(2, ref, ref);
    assert_true(bits_of(same.rel_err) == 0 && same.bits_equal && same.max_ulp == 0);
}

static void test_zero_reference_is_absolute(void **state) {
    (void)state;
    const double ref[2] = {0, -0.0}, out[2] = {3, 4};
    const gka_comparison c = compare_list(2, out, ref);
    assert_true(c.absolute && bits_of(c.rel_err) == bits_of(5));
    const gka_comparison zero = compare_list(2, ref, ref);
    assert_true(zero.absolute && bits_of(zero.rel_err) == 0 && zero.bits_equal);
}

static void test_rows_and_their_place(void **state) {
    (void)state;
    double ref[2 * 3 * 4], out[2 * 3 * 4];
    for (int i = 0; i < 24; i++)
        ref[i] = out[i] = 1;
    out[17] = 2;  /* [1,1,1]: a row of length 2 is off by 1 */
    out[3] = 1.5; /* [0,0,3] */
    const int64_t shape[3] = {2, 3, 4};
    gka_comparison c = compare_f64(3, shape, 1, out, ref);
    assert_true(bits_of(c.max_row_err) == bits_of(.5));
    assert_true(c.at_rank == 2 && c.at[0] == 1 && c.at[1] == 1);
    assert_near(c.rel_err, sqrt(1.25 / 24), 8 * u);
    c = compare_f64(3, shape, 2, out, ref);
    assert_true(c.at_rank == 1 && c.at[0] == 1);
    assert_near(c.max_row_err, sqrt(1. / 12), 8 * u);
    c = compare_f64(3, shape, 0, out, ref);
    assert_true(c.at_rank == 3 && c.at[0] == 1 && c.at[1] == 1 && c.at[2] == 1);
    assert_true(bits_of(c.max_row_err) == bits_of(1));
    c = compare_f64(3, shape, 3, out, ref);
    assert_int_equal(c.at_rank, 0);
    assert_true(bits_of(c.max_row_err) == bits_of(c.rel_err));
    /* of equal rows the first; a row with a zero reference counts absolutely */
    out[0] = 2;
    out[3] = 1;
    c = compare_f64(3, shape, 1, out, ref);
    assert_true(c.at[0] == 0 && c.at[1] == 0);
    for (int i = 20; i < 24; i++) {
        ref[i] = 0;
        out[i] = .5;
    }
    c = compare_f64(3, shape, 1, out, ref);
    assert_true(c.at[0] == 1 && c.at[1] == 2 && bits_of(c.max_row_err) == bits_of(1));
    assert_false(c.absolute);
}

static void test_empty(void **state) {
    (void)state;
    const gka_comparison c = compare_f64(2, (const int64_t[2]){0, 5}, 1, NULL, NULL);
    assert_true(bits_of(c.rel_err) == 0 && c.absolute && c.at_rank == 0 && c.bits_equal);
    assert_int_equal(c.count, 0);
    const gka_comparison d = compare_f64(2, (const int64_t[2]){5, 0}, 1, NULL, NULL);
    assert_true(bits_of(d.max_row_err) == 0 && d.at_rank == 0);
}

/* Long rows end inside a block, short ones across its edge: the same figures however it is cut. */
static void test_rows_across_blocks(void **state) {
    (void)state;
    enum { N = 3 * 5 * 7 * 11 };
    double ref[N], out[N];
    for (int i = 0; i < N; i++)
        ref[i] = out[i] = 1;
    out[700] = 2;
    static const int64_t lengths[] = {1, 3, 5, 7, 11, 33, 77, 231, 385, N};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const int64_t shape[2] = {N / lengths[i], lengths[i]};
        const gka_comparison c = compare_f64(2, shape, 1, out, ref);
        assert_int_equal(c.at[0], 700 / lengths[i]);
        assert_near(c.max_row_err, sqrt(1 / (double)lengths[i]), 8 * u);
        assert_near(c.rel_err, sqrt(1 / (double)N), 8 * u);
    }
}

static void test_nan_and_inf(void **state) {
    (void)state;
    static const struct {
        double out, ref;
        int nan_out, inf_out, nan_ref, inf_ref;
        double rel_err; /* beside an element 1 = 1 */
        int equal;
        uint64_t max_ulp;
    } cases[] = {
        {NAN, 1, 1, 0, 0, 0, NAN, 1, 0},
        {1, NAN, 0, 0, 1, 0, NAN, 1, 0},
        {NAN, NAN, 1, 0, 1, 0, NAN, 2, 0},
        {-INFINITY, 1, 0, 1, 0, 0, INFINITY, 1, 0xBFE0000000000000},
        {INFINITY, INFINITY, 0, 1, 0, 1, NAN, 2, 0},
        {1, INFINITY, 0, 0, 0, 1, NAN, 1, 0x4000000000000000},
        {INFINITY, 0x1.fffffffffffffp1023, 0, 1, 0, 0, INFINITY, 1, 1},
        {NAN, INFINITY, 1, 0, 0, 1, NAN, 1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const double out[2] = {1, cases[i].out}, ref[2] = {1, cases[i].ref};
        const gka_comparison c = compare_f64(2, (const int64_t[2]){2, 1}, 1, out, ref);
        assert_int_equal(c.nan_out, cases[i].nan_out);
        assert_int_equal(c.inf_out, cases[i].inf_out);
        assert_int_equal(c.nan_ref, cases[i].nan_ref);
        assert_int_equal(c.inf_ref, cases[i].inf_ref);
        assert_true(isnan(c.rel_err) == isnan(cases[i].rel_err));
        assert_true(isinf(c.rel_err) == isinf(cases[i].rel_err));
        assert_true(isnan(c.max_row_err) == isnan(c.rel_err) && c.at[0] == 1);
        assert_int_equal(c.equal, cases[i].equal);
        assert_true(c.max_ulp == cases[i].max_ulp);
    }
}

/* The worst row: NaN before Inf before any number, the first of each. */
static void test_worst_row_order(void **state) {
    (void)state;
    const double ref[5] = {1, 1, 1, 1, 1}, out[5] = {9, INFINITY, NAN, 1, NAN};
    assert_int_equal(compare_f64(2, (const int64_t[2]){5, 1}, 1, out, ref).at[0], 2);
    assert_int_equal(compare_f64(2, (const int64_t[2]){2, 1}, 1, out, ref).at[0], 1);
    assert_int_equal(compare_f64(2, (const int64_t[2]){3, 1}, 1, out + 2, ref).at[0], 0);
}

static void test_extreme_sizes(void **state) {
    (void)state;
    const double big = 0x1.fffffffffffffp1023, tiny = 0x1p-1074;
    assert_true(bits_of(compare_list(1, &(double){big}, &(double){-big}).rel_err) == bits_of(2));
    assert_true(bits_of(compare_list(1, &(double){2 * tiny}, &tiny).rel_err) == bits_of(1));
    const double out[3] = {big, 0, tiny}, ref[3] = {big, tiny, tiny};
    assert_true(bits_of(compare_list(3, out, ref).rel_err) == bits_of(0)); /* tiny/big: below all */
    const double out2[3] = {0x1p500, 0x1p-300, tiny}, ref2[3] = {0x1p500, 0, tiny};
    assert_near(compare_list(3, out2, ref2).rel_err, 0x1p-800, 8 * u);
    assert_near(compare_list(2, (double[2]){1e200, 1e-200}, (double[2]){0, 0}).rel_err, 1e200,
                8 * u);
}

/* 1 and 2^20 terms whose squares are each half an ulp of the sum: a plain sum loses them all. */
static void test_long_sums_lose_nothing(void **state) {
    (void)state;
    enum { N = (1 << 20) + 1 };
    double *const out = malloc(N * sizeof *out), *const ref = calloc(N, sizeof *ref);
    assert_non_null(out);
    assert_non_null(ref);
    for (int i = 0; i < N; i++)
        out[i] = i == 0 ? 1 : 0x1p-27;
    const gka_comparison c = compare_list(N, out, ref);
    assert_near(c.rel_err, sqrt(1 + 0x1p-34), 2 * u);
    /* the same over rows: their sums are joined without loss */
    const gka_comparison rows = compare_f64(2, (const int64_t[2]){N, 1}, 1, out, ref);
    assert_near(rows.rel_err, sqrt(1 + 0x1p-34), 2 * u);
    /* a larger element at the end rescales the sum and what it has lost */
    out[N - 1] = 2;
    assert_near(compare_list(N, out, ref).rel_err, sqrt(5 + 0x1p-34 - 0x1p-54), 2 * u);
    free(out);
    free(ref);
}

/* ---- encodings ----------------------------------------------------------------------------- */

static void test_reference_is_rounded_once(void **state) {
    (void)state;
    /* 1 + 2^-8 is a tie in bf16: to even, 1 */
    const gka_comparison tie = compare_pattern(GKA_BF16, 0x3F80, 1 + 0x1p-8);
    assert_true(tie.bits_equal && tie.max_ulp == 0);
    assert_near(tie.rel_err, 0x1p-8 / (1 + 0x1p-8), 8 * u);
    assert_int_equal(compare_pattern(GKA_BF16, 0x3F81, 1 + 0x1p-8).max_ulp, 1);
    assert_true(compare_pattern(GKA_BF16, 0x3F81, 1 + 0x1p-8 + 0x1p-40).bits_equal);
    assert_true(compare_pattern(GKA_F32, 0x7F800000, 1e39).bits_equal);
    assert_true(compare_pattern(GKA_F8_E4M3, 0x7E, 1e9).bits_equal); /* saturates at 448 */
}

static void test_distances_are_binned(void **state) {
    (void)state;
    static const struct {
        double out;
        int bin;
    } far[] = {{0, 0}, {1, 1}, {2, 2}, {3, 2}, {4, 3}, {-7, 3}, {-8, 4}, {NAN, GKA_DISTANCES - 1}};
    for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
        const double out = far[i].out * 0x1p-1074, ref = 0;
        const gka_comparison c = compare_list(1, &out, &ref);
        for (int d = 0; d < GKA_DISTANCES; d++)
            assert_int_equal(c.distances[d], d == far[i].bin);
    }
    const gka_comparison farthest = compare_pattern(GKA_F64, 0x7FEFFFFFFFFFFFFF, 0);
    assert_int_equal(farthest.distances[GKA_DISTANCES - 2], 1);
}

static void test_rel_err_of_numbers(void **state) {
    (void)state;
    const double ref[2] = {3, 4}, out[2] = {3, 5}, zero[2] = {0, 0};
    const double large[2] = {3e200, 4e200}, off[2] = {3e200, 5e200};
    assert_near(gka_rel_err(2, out, ref), .2, 4 * u);
    assert_near(gka_rel_err(2, off, large), .2, 4 * u);
    assert_near(gka_rel_err(2, ref, zero), 5, 4 * u);
    assert_true(bits_of(gka_rel_err(2, zero, zero)) == 0 && bits_of(gka_rel_err(0, ref, out)) == 0);
}

static void test_signed_zeros(void **state) {
    (void)state;
    gka_comparison c = compare_pattern(GKA_BF16, 0x8000, 0);
    assert_true(c.max_ulp == 0 && c.equal == 0);
    c = compare_pattern(GKA_BF16, 0x8001, 0x1p-133);
    assert_int_equal(c.max_ulp, 2); /* the smallest subnormals on both sides of 0 */
    c = compare_pattern(GKA_F64, 0xFFEFFFFFFFFFFFFF, 0x1.fffffffffffffp1023);
    assert_true(c.max_ulp == 2 * UINT64_C(0x7FEFFFFFFFFFFFFF));
}

typedef struct place {
    double value;
    uint64_t pattern;
} place;

static int by_value(const void *a, const void *b) {
    const double x = ((const place *)a)->value, y = ((const place *)b)->value;
    return (x > y) - (x < y);
}

/* All encodings of the short formats, sorted by value: each is one step from the next, zero steps
 * where the two zeros meet, and the distance from the first is the number of steps between. */
static void exh_neighbours_are_one_step_apart(void **state) {
    (void)state;
    static const gka_dtype dtypes[] = {GKA_BF16, GKA_F16, GKA_F8_E4M3, GKA_F8_E5M2};
    static place places[1 << 16];
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
        const gka_format *const format = gka_format_of_dtype(dtypes[d]);
        size_t n = 0;
        for (uint64_t p = 0; p < UINT64_C(1) << format->bits; p++) {
            const double value = gka_decode(format, p);
            /* the reference saturates at Inf in the 8-bit formats */
            if (!isnan(value) && !(format->bits == 8 && isinf(value)))
                places[n++] = (place){value, p};
        }
        qsort(places, n, sizeof *places, by_value);
        uint64_t walked = 0;
        for (size_t i = 1; i < n; i++) {
            const gka_comparison c =
                compare_pattern(dtypes[d], places[i].pattern, places[i - 1].value);
            const bool zeros = !(places[i - 1].value < places[i].value);
            assert_true(c.max_ulp == !zeros);
            walked += c.max_ulp;
            assert_true(compare_pattern(dtypes[d], places[i].pattern, places[0].value).max_ulp ==
                        walked);
        }
    }
}

/* ---- against MPFR -------------------------------------------------------------------------- */

static double draw(uint64_t i, uint64_t j) {
    uint64_t bits[4];
    gka_philox((const uint64_t[4]){i, j}, (const uint64_t[2]){6, 1}, bits);
    const double mantissa = ldexp((double)(bits[0] >> 11), -52) - 1;
    return ldexp(mantissa, (int)(bits[1] % 7) - 3);
}

/* ||out - ref|| / ||ref|| in 500 bits, rounded. */
static double mpfr_relative(int64_t n, const double *out, const double *ref) {
    mpfr_t d, r, t;
    mpfr_inits2(500, d, r, t, (mpfr_ptr)NULL);
    mpfr_set_zero(d, 1);
    mpfr_set_zero(r, 1);
    for (int64_t i = 0; i < n; i++) {
        mpfr_set_d(t, out[i], MPFR_RNDN);
        mpfr_sub_d(t, t, ref[i], MPFR_RNDN);
        mpfr_sqr(t, t, MPFR_RNDN);
        mpfr_add(d, d, t, MPFR_RNDN);
        mpfr_set_d(t, ref[i], MPFR_RNDN);
        mpfr_sqr(t, t, MPFR_RNDN);
        mpfr_add(r, r, t, MPFR_RNDN);
    }
    mpfr_div(d, d, r, MPFR_RNDN);
    mpfr_sqrt(d, d, MPFR_RNDN);
    const double result = mpfr_get_d(d, MPFR_RNDN);
    mpfr_clears(d, r, t, (mpfr_ptr)NULL);
    return result;
}

/* Random tensors at every scale of a double: within the 8u that the header states. */
static void prop_relative_error_is_right_to_8u(void **state) {
    (void)state;
    static double out[4096], ref[4096];
    for (uint64_t trial = 0; trial < 200; trial++) {
        const int64_t n = 1 + (int64_t)(trial * trial * 7919 % 4096);
        const int scale = (int)(trial * 977 % 2000) - 990, error = -(int)(trial * 31 % 52);
        for (int64_t i = 0; i < n; i++) {
            ref[i] = ldexp(draw(trial, (uint64_t)i), scale);
            out[i] = ref[i] + ldexp(draw(trial + 1000, (uint64_t)i), scale + error);
        }
        assert_near(compare_list(n, out, ref).rel_err, mpfr_relative(n, out, ref), 8 * u);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relative_error),
        cmocka_unit_test(test_zero_reference_is_absolute),
        cmocka_unit_test(test_rows_and_their_place),
        cmocka_unit_test(test_rows_across_blocks),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_nan_and_inf),
        cmocka_unit_test(test_worst_row_order),
        cmocka_unit_test(test_extreme_sizes),
        cmocka_unit_test(test_long_sums_lose_nothing),
        cmocka_unit_test(test_reference_is_rounded_once),
        cmocka_unit_test(test_signed_zeros),
        cmocka_unit_test(exh_neighbours_are_one_step_apart),
        cmocka_unit_test(test_distances_are_binned),
        cmocka_unit_test(test_rel_err_of_numbers),
        cmocka_unit_test(prop_relative_error_is_right_to_8u),
    };
    return cmocka_run_group_tests_name("compare", tests, NULL, NULL);
}
