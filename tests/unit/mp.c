/* mp.c - MPFR numbers in one block: one allocation, which may fail; values apart; two words. */
#include "test.h"

#include "oracle/mp.h"

static void test_one_allocation_which_may_fail(void **state) {
    (void)state;
    const int64_t live = gka_alloc_live();
    gka_alloc_fail_at(0, false);
    assert_null(gka_mp_new(3, 256));
    assert_null(gka_mp_new(SIZE_MAX / 40, 256));
    gka_alloc_fail_at(-1, false);
    mpfr_t *const x = gka_mp_new(3, 256);
    assert_int_equal(gka_alloc_fail_at(-1, false), 1);
    assert_int_equal(gka_alloc_live(), live + 1);
    gka_free(x);
    assert_int_equal(gka_alloc_live(), live);
}

/* x_i = 1/(i+1), written first and read afterwards: no significand lies on another. */
static void test_significands_lie_apart(void **state) {
    (void)state;
    static const mpfr_prec_t precisions[] = {2, 53, 64, 65, 113, 256, 1000};
    for (size_t p = 0; p < sizeof precisions / sizeof *precisions; p++) {
        enum { COUNT = 17 };
        mpfr_t *const x = gka_mp_new(COUNT, precisions[p]);
        mpfr_t expected;
        assert_non_null(x);
        mpfr_init2(expected, precisions[p]);
        for (int i = 0; i < COUNT; i++) {
            assert_true(mpfr_zero_p(x[i]) && !mpfr_signbit(x[i]));
            assert_int_equal(mpfr_get_prec(x[i]), precisions[p]);
        }
        for (int i = 0; i < COUNT; i++) {
            mpfr_set_ui(x[i], (unsigned long)i + 1, MPFR_RNDN);
            mpfr_ui_div(x[i], 1, x[i], MPFR_RNDN);
        }
        for (int i = 0; i < COUNT; i++) {
            mpfr_set_ui(expected, (unsigned long)i + 1, MPFR_RNDN);
            mpfr_ui_div(expected, 1, expected, MPFR_RNDN);
            assert_true(mpfr_equal_p(x[i], expected));
        }
        mpfr_clear(expected);
        gka_free(x);
    }
}

/* 1 + 2^-53 is a tie, which goes to the even 1; 2^-120 more and it is 1 + 2^-52, with a rest of
 * -2^-53 + 2^-120 that rounds to -2^-53. */
static void test_two_words(void **state) {
    (void)state;
    mpfr_t *const x = gka_mp_new(2, 256);
    double hi, lo;
    assert_non_null(x);
    mpfr_set_ui_2exp(x[0], 1, -53, MPFR_RNDN);
    mpfr_add_ui(x[0], x[0], 1, MPFR_RNDN);
    gka_mp_get(x[0], x[1], &hi, &lo);
    assert_int_equal(bits_of(hi), bits_of(1.0)); /* the tie goes to even */
    assert_int_equal(bits_of(lo), bits_of(0x1p-53));
    mpfr_set_ui_2exp(x[1], 1, -120, MPFR_RNDN);
    mpfr_add(x[0], x[0], x[1], MPFR_RNDN);
    gka_mp_get(x[0], x[1], &hi, &lo);
    assert_int_equal(bits_of(hi), bits_of(1 + 0x1p-52));
    assert_int_equal(bits_of(lo), bits_of(-0x1p-53));
    hi = 0;
    gka_mp_get(x[0], NULL, &hi, NULL);
    assert_int_equal(bits_of(hi), bits_of(1 + 0x1p-52));
    gka_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_allocation_which_may_fail),
        cmocka_unit_test(test_significands_lie_apart),
        cmocka_unit_test(test_two_words),
    };
    const int failed = cmocka_run_group_tests_name("mp", tests, NULL, NULL);
    mpfr_free_cache();
    return failed;
}
