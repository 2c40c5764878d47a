/* audit.c - gka golden --audit in process: every allocation failing, of one golden and of a suite.
 */
#include "command.h"

#include <sha2.h>
#include <sys/stat.h>

#define GOLDEN "one/g.safetensors"
#define INDEX  "one/index.json"
#define REPORT "cli_audit.json"

enum { DENSE = 40 };

/* A suite of one small golden. */
static int make(void **state) {
    (void)state;
    gka_set_threads(1);
    (void)mkdir("one", 0777);
    result r = RUN("gka", "golden", "--T=3", "--D=2", "--chunk=2", "--iters=1", "--alpha",
                   "--gate=slow", "-o", GOLDEN);
    end(&r);
    char hash[SHA256_DIGEST_STRING_LENGTH];
    FILE *const index = fopen(INDEX, "w");
    if (r.code != 0 || index == NULL || SHA256File(GOLDEN, hash) == NULL)
        return 1;
    (void)fprintf(index,
                  "{\"suite\": \"one\", \"golden\": \"2\", \"complete\": true, \"cases\": "
                  "[{\"name\": \"g\", \"file\": "
                  "\"g.safetensors\", \"sha256\": \"%s\"}]}",
                  hash);
    return fclose(index);
}

static int unmake(void **state) {
    (void)state;
    gka_set_threads(0);
    return unlink(GOLDEN) + unlink(INDEX) + rmdir("one");
}

static void test_a_golden_survives_failing_allocations(void **state) {
    (void)state;
    fail_allocations(0, REPORT, DENSE,
                     ARGUMENTS("gka", "golden", "--audit=" GOLDEN, "--json=" REPORT));
}

/* It lacks what some mistakes need: exit 1. */
static void test_a_suite_survives_failing_allocations(void **state) {
    (void)state;
    fail_allocations(1, REPORT, DENSE, ARGUMENTS("gka", "golden", "--audit=one", "--json=" REPORT));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_golden_survives_failing_allocations),
        cmocka_unit_test(test_a_suite_survives_failing_allocations),
    };
    return cmocka_run_group_tests_name("audit", tests, make, unmake);
}
