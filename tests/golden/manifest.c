/* manifest.c - same spec, same bytes: SHA-256 of every golden of the quick suite against
 * tests/data/goldens.sha256, whatever the compiler, its options, the machine, the BLAS.
 *
 *   golden_manifest         each case once, the thread count going from 1 to 8 over the cases
 *   golden_manifest all     each case with every thread count from 1 to 8
 *   golden_manifest write   prints what the manifest should be: after a change of goldens that is
 * meant, build/release/bin/golden_manifest write > tests/data/goldens.sha256
 *
 * scripts/same_bytes runs it in many ways. */
#include "test.h"

#include "gka/golden.h"

#include <sha2.h>
#include <stdlib.h>
#include <unistd.h>

enum { HEX = SHA256_DIGEST_STRING_LENGTH, MOST_THREADS = 8 };

static bool all;

static bool make(const gka_suite_case *one, int threads, char hash[HEX]) {
    gka_golden_spec spec;
    gka_error error = {0};
    const char *const path = "golden_manifest.safetensors";
    gka_golden_spec_start(&spec);
    if (gka_golden_spec_read(&spec, one->spec, &error) != GKA_OK)
        fail_msg("%s: %s", one->name, error.text);
#ifdef __SANITIZE_ADDRESS__
    if (spec.generator.T * spec.generator.H * spec.generator.D > 6000)
        return false; /* seconds each under the sanitizers */
#endif
    gka_set_threads(threads);
    if (gka_golden_generate(&spec, NULL, path, NULL, &error) != GKA_OK)
        fail_msg("%s: %s", one->name, error.text);
    gka_set_threads(0);
    assert_non_null(SHA256File(path, hash));
    assert_int_equal(unlink(path), 0);
    return true;
}

static void find(FILE *manifest, const char *name, char hash[HEX]) {
    char line[200], wanted[100];
    const int length = snprintf(wanted, sizeof wanted, "  %s.safetensors\n", name);
    rewind(manifest);
    while (fgets(line, sizeof line, manifest) != NULL)
        if (strlen(line) == (size_t)(HEX - 1 + length) && strcmp(line + HEX - 1, wanted) == 0) {
            memcpy(hash, line, HEX - 1);
            hash[HEX - 1] = '\0';
            return;
        }
    fail_msg("%s is not in the manifest", name);
}

static void test_same_bytes(void **state) {
    (void)state;
    FILE *const manifest = fopen(GKA_TEST_DATA "/goldens.sha256", "r");
    assert_non_null(manifest);
    const gka_suite_case *one;
    int different = 0, made = 0, lines = 0;
    for (size_t i = 0; (one = gka_suite_find("quick", i)) != NULL; i++) {
        char is[HEX], said[HEX];
        find(manifest, one->name, said);
        const int first = all ? 1 : (int)(i % MOST_THREADS) + 1, last = all ? MOST_THREADS : first;
        for (int threads = first; threads <= last; threads++) {
            if (!make(one, threads, is))
                continue;
            made++;
            if (strcmp(is, said) == 0)
                continue;
            print_error("%s with %d threads: %s, not %s\n", one->name, threads, is, said);
            different++;
        }
        lines++;
    }
    rewind(manifest);
    for (int c; (c = getc(manifest)) != EOF;)
        lines -= c == '\n';
    (void)fclose(manifest);
    assert_int_equal(different, 0);
    assert_int_equal(lines, 0); /* of cases that there are no more */
    assert_true(made >= MOST_THREADS);
}

static void print_manifest(void) {
    const gka_suite_case *one;
    for (size_t i = 0; (one = gka_suite_find("quick", i)) != NULL; i++) {
        char hash[HEX];
        if (make(one, 0, hash))
            printf("%s  %s.safetensors\n", hash, one->name);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bytes)};
    all = argc > 1 && strcmp(argv[1], "all") == 0;
    const bool write = argc > 1 && strcmp(argv[1], "write") == 0;
    if (write)
        print_manifest();
    return write ? 0 : cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}
