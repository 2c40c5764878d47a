/* audit.c - gka golden --audit in process: every allocation failing, of one golden and of a suite.
 */
#include "test.h"

#include "cli/cli.h"

#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define GOLDEN "one/g.safetensors"
#define INDEX  "one/index.json"
#define REPORT "cli_audit.json"

typedef struct result {
    int code;
    char *err;
    size_t size;
} result;

static result run(int argc, const char *const *argv) {
    result r = {0};
    FILE *const out = tmpfile(), *const err = open_memstream(&r.err, &r.size);
    assert_true(out != NULL && err != NULL);
    r.code = gka_command(argc, argv, out, err);
    (void)fclose(out);
    (void)fclose(err);
    return r;
}

/* A suite of one small golden. */
static int make(void **state) {
    (void)state;
    gka_set_threads(1);
    (void)mkdir("one", 0777);
    const char *const argv[] = {"gka",       "golden",  "--T=3",       "--D=2", "--chunk=2",
                                "--iters=1", "--alpha", "--gate=slow", "-o",    GOLDEN};
    const result r = run(sizeof argv / sizeof *argv, argv);
    free(r.err);
    char hash[SHA256_DIGEST_STRING_LENGTH];
    FILE *const index = fopen(INDEX, "w");
    if (r.code != 0 || index == NULL || SHA256File(GOLDEN, hash) == NULL)
        return 1;
    (void)fprintf(index,
                  "{\"suite\": \"one\", \"cases\": [{\"name\": \"g\", \"file\": "
                  "\"g.safetensors\", \"sha256\": \"%s\"}]}",
                  hash);
    return fclose(index);
}

static int unmake(void **state) {
    (void)state;
    gka_set_threads(0);
    return unlink(GOLDEN) + unlink(INDEX) + rmdir("one");
}

/* `code`: what the command returns when no allocation fails. */
static void fail_allocations(const char *path, int code) {
    char audit[64];
    (void)snprintf(audit, sizeof audit, "--audit=%s", path);
    const char *const argv[] = {"gka", "golden", audit, "--json=" REPORT};
    const int64_t live = gka_alloc_live();
    bool reached = true;
    for (int64_t n = 0; reached; n += 1 + n / 40) {
        gka_alloc_fail_at(n, false);
        const result r = run(sizeof argv / sizeof *argv, argv);
        reached = gka_alloc_fail_at(-1, false) > n;
        assert_int_equal(gka_alloc_live(), live);
        if (r.code != (reached ? 3 : code) || (reached && strstr(r.err, "memory") == NULL))
            fail_msg("allocation %lld: code %d, '%s'", (long long)n, r.code, r.err);
        assert_true((access(REPORT, F_OK) == 0) == !reached);
        free(r.err);
    }
    assert_int_equal(unlink(REPORT), 0);
}

static void test_a_golden_survives_failing_allocations(void **state) {
    (void)state;
    fail_allocations(GOLDEN, 0);
}

/* It lacks what some mistakes need: exit 1. */
static void test_a_suite_survives_failing_allocations(void **state) {
    (void)state;
    fail_allocations("one", 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_golden_survives_failing_allocations),
        cmocka_unit_test(test_a_suite_survives_failing_allocations),
    };
    return cmocka_run_group_tests_name("audit", tests, make, unmake);
}
