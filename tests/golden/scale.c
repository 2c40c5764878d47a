/* scale.c - the memory of a golden does not grow with its tokens: golden_scale [T [D
 * [ITERATIONS]]], 131072 128 30 as a test; T/4 tokens, more than 16384, and then T, with gradients.
 * Twenty minutes of one core. */
#include "test.h"

#include "golden/spec.h"
#include "golden/stream.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH "golden_scale.safetensors"

static int64_t tokens = 131072, size = 128, iterations = 30;

/* The most memory that a process making the golden of T tokens has had, in bytes. */
static double memory_of(int64_t T) {
    gka_golden_spec spec;
    gka_error error = {0};
    gka_golden_spec_start(&spec);
    spec.generator.T = T;
    spec.generator.D = size;
    spec.generator.num_iter = (int)iterations;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const gka_status status = gka_golden_generate(&spec, NULL, PATH, NULL, &error);
        if (status != GKA_OK)
            (void)fprintf(stderr, "%s\n", error.text);
        _exit(status != GKA_OK);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    struct rusage used;
    assert_int_equal(getrusage(RUSAGE_CHILDREN, &used), 0);
    assert_int_equal(unlink(PATH), 0);
    return 1024.0 * (double)used.ru_maxrss;
}

/* RUSAGE_CHILDREN is the largest so far, so the shorter one comes first. A program of this house
 * has some 20 MB of libraries. */
static void test_memory_does_not_grow(void **state) {
    (void)state;
    gka_golden_spec spec;
    gka_golden_spec_start(&spec);
    const gka_problem p = {
        .T = tokens, .D = size, .V = size, .chunk_size = spec.generator.chunk_size};
    const double expected = gka_golden_stream_bytes(&p, &gka_golden_limits_default),
                 few = memory_of(tokens / 4), many = memory_of(tokens);
    print_message(
        "D = %lld: T = %lld %.1f MB, T = %lld %.1f MB; expected %.1f MB and the program\n",
        (long long)size, (long long)tokens / 4, few * 1e-6, (long long)tokens, many * 1e-6,
        expected * 1e-6);
    assert_true(many <= few + 4e6 + (double)tokens);
    assert_true(many <= expected + 48e6);
}

int main(int argc, char **argv) {
    if (argc > 1)
        tokens = atoll(argv[1]);
    if (argc > 2)
        size = atoll(argv[2]);
    if (argc > 3)
        iterations = atoll(argv[3]);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_memory_does_not_grow)};
    return cmocka_run_group_tests_name("scale", tests, NULL, NULL);
}
