/* base.c - status texts, memory, Philox, the parallel loop. */
#include "test.h"

#include "gka/base.h"

#include <locale.h>
#include <stdlib.h>
#include <unistd.h>

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

/* A line that is too long keeps what it is about and, above all, what is wrong. */
static void test_fail_keeps_both_ends(void **state) {
    (void)state;
    static char path[6001];
    memset(path, 'p', sizeof path - 1);
    path[0] = '/';
    gka_error error = {0};
    gka_fail(&error, GKA_IO, "%s: File name too long", path);
    assert_int_equal(strlen(error.text), sizeof error.text - 1);
    assert_memory_equal(error.text, "/ppp", 4);
    assert_non_null(strstr(error.text, "p...p"));
    assert_string_equal(error.text + strlen(error.text) - 21, "p: File name too long");
    /* without memory the line is cut, and is still one */
    gka_alloc_fail_at(0, false);
    gka_fail(&error, GKA_IO, "%s: File name too long", path);
    gka_alloc_fail_at(-1, false);
    assert_memory_equal(error.text, "/ppp", 4);
    /* what fits is whole */
    path[sizeof error.text - 4] = '\0';
    gka_fail(&error, GKA_IO, "%s: x", path);
    assert_string_equal(error.text + strlen(error.text) - 4, "p: x");
}

static void test_fail_shows_no_controls(void **state) {
    (void)state;
    gka_error error = {0};
    gka_fail(&error, GKA_IO, "a\x1b[2Jb\x7f\xc2\x9b\xc3\xa9");
    assert_string_equal(error.text, "a?[2Jb???\xc3\xa9");
}

/* Where setlocale has set a decimal comma the library goes on reading and writing points. */
static void test_numbers_in_any_locale(void **state) {
    (void)state;
    FILE *const source = fopen("comma.txt", "w");
    assert_non_null(source);
    fputs("LC_NUMERIC\ndecimal_point \",\"\nthousands_sep \"\"\ngrouping -1\nEND LC_NUMERIC\n",
          source);
    fclose(source);
    char here[4096];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(setenv("LOCPATH", here, 1), 0);
    if (system("localedef -c -i ./comma.txt -f ANSI_X3.4-1968 ./comma >/dev/null 2>&1") < 0 ||
        setlocale(LC_NUMERIC, "comma") == NULL) {
        print_message("skipped: localedef made no locale\n");
        skip();
    }
    char text[16], *end;
    (void)snprintf(text, sizeof text, "%g", 0.5);
    assert_string_equal(text, "0,5");
    gka_error error = {0};
    gka_fail(&error, GKA_IO, "%g", 0.5);
    assert_string_equal(error.text, "0.5");
    assert_int_equal(gka_format_text(text, sizeof text, "%.17g", 0.5), 3);
    assert_string_equal(text, "0.5");
    assert_true(gka_parse_real("0.25x", &end) == 0.25);
    assert_string_equal(end, "x");
    (void)snprintf(text, sizeof text, "%g", 0.5);
    assert_string_equal(text, "0,5"); /* the caller's locale is as it was */
    setlocale(LC_ALL, "C");
}

static void test_product(void **state) {
    (void)state;
    int64_t n = -1;
    assert_true(gka_product(3, (int64_t[]){2, 3, 7}, 42, &n));
    assert_int_equal(n, 42);
    assert_false(gka_product(3, (int64_t[]){2, 3, 7}, 41, &n));
    assert_false(gka_product(2, (int64_t[]){3, -1}, 42, &n));
    assert_false(gka_product(3, (int64_t[]){INT64_MAX, 0, 2}, INT64_MAX, &n));
    assert_int_equal(n, 42);
    assert_true(gka_product(3, (int64_t[]){INT64_MAX, 0, 1}, INT64_MAX, &n));
    assert_int_equal(n, 0);
    assert_true(gka_product(0, NULL, 1, &n));
    assert_int_equal(n, 1);
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
        cmocka_unit_test(test_fail_keeps_both_ends),
        cmocka_unit_test(test_fail_shows_no_controls),
        cmocka_unit_test(test_numbers_in_any_locale),
        cmocka_unit_test(test_product),
        cmocka_unit_test(test_alloc),
        cmocka_unit_test(test_alloc_fails_on_demand),
        cmocka_unit_test(test_philox_known_answers),
        cmocka_unit_test(test_parallel_covers_every_index),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
