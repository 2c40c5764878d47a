/* base.c - status texts, memory, Philox, the parallel loop. */
#include "test.h"

#include "gka/base.h"

static void test_status_texts(void **state) {
    (void)state;
    assert_string_equal(gka_status_text(GKA_OK), "success");
    assert_string_equal(gka_status_text((gka_status)999), "unknown status");
}

static void test_fail_is_one_line(void **state) {
    (void)state;
    gka_error error = {0};
    assert_int_equal(gka_fail(&error, GKA_IO, "%s: %d", "a\nb", 3), GKA_IO);
    assert_int_equal(error.status, GKA_IO);
    assert_string_equal(error.text, "a?b: 3");
    assert_int_equal(gka_fail(NULL, GKA_IO, "x"), GKA_IO);
}

static void test_alloc(void **state) {
    (void)state;
    const int64_t live = gka_alloc_live();
    unsigned char *const memory = gka_alloc(7, 9);
    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % 64, 0);
    for (int i = 0; i < 63; i++)
        assert_int_equal(memory[i], 0);
    assert_int_equal(gka_alloc_live(), live + 1);
    gka_free(memory);
    gka_free(NULL);
    assert_null(gka_alloc(SIZE_MAX / 2, 3));
    assert_null(gka_alloc(SIZE_MAX, 1));
    void *const nothing = gka_alloc(0, 8);
    assert_non_null(nothing);
    gka_free(nothing);
    assert_int_equal(gka_alloc_live(), live);
}

static void test_alloc_fails_on_demand(void **state) {
    (void)state;
    gka_alloc_fail_at(1, false);
    void *const first = gka_alloc(1, 1), *const second = gka_alloc(1, 1),
                *const third = gka_alloc(1, 1);
    assert_int_equal(gka_alloc_fail_at(0, true), 3);
    assert_non_null(first);
    assert_null(second);
    assert_non_null(third);
    assert_null(gka_alloc(1, 1));
    assert_null(gka_strdup("a"));
    gka_alloc_fail_at(-1, false);
    gka_free(first);
    gka_free(third);
}

/* Random123's own known answers for philox4x64-10 (kat_vectors). */
static void test_philox_known_answers(void **state) {
    (void)state;
    static const uint64_t pi[6] = {0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0,
                                   0x082efa98ec4e6c89, 0x452821e638d01377, 0xbe5466cf34e90c6c};
    uint64_t bits[4];
    gka_philox((const uint64_t[4]){0}, (const uint64_t[2]){0}, bits);
    assert_true(bits[0] == 0x16554d9eca36314c && bits[1] == 0xdb20fe9d672d0fdc &&
                bits[2] == 0xd7e772cee186176b && bits[3] == 0x7e68b68aec7ba23b);
    gka_philox(pi, pi + 4, bits);
    assert_true(bits[0] == 0xa528f45403e61d95 && bits[1] == 0x38c72dbd566e9788 &&
                bits[2] == 0xa5a1610e72fd18b5 && bits[3] == 0x57bd43b5e52b7fe6);
}

static void square(void *context, int64_t i, int worker) {
    assert_true(worker >= 0 && worker < gka_threads());
    ((int64_t *)context)[i] = i * i;
}

static void test_parallel_covers_every_index(void **state) {
    (void)state;
    int64_t out[100];
    for (int threads = 1; threads <= 3; threads++) {
        gka_set_threads(threads);
        memset(out, 0, sizeof out);
        gka_parallel(100, square, out);
        for (int64_t i = 0; i < 100; i++)
            assert_int_equal(out[i], i * i);
    }
    gka_set_threads(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_texts),
        cmocka_unit_test(test_fail_is_one_line),
        cmocka_unit_test(test_alloc),
        cmocka_unit_test(test_alloc_fails_on_demand),
        cmocka_unit_test(test_philox_known_answers),
        cmocka_unit_test(test_parallel_covers_every_index),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
