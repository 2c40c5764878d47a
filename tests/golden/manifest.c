/* manifest.c - same spec, same bytes: SHA-256 of every golden of the quick suite against
 * tests/data/goldens.sha256, and of the data of each of its tensors against
 * tests/data/tensors.sha256, whatever the compiler, its options, the machine, the BLAS.
 *
 *   golden_manifest          each case once, the thread count going from 1 to 8 over the cases
 *   golden_manifest all      each case with every thread count from 1 to 8
 *   golden_manifest write    prints what goldens.sha256 should be
 *   golden_manifest tensors  prints what tensors.sha256 should be
 *
 * The second file says which tensors a change has touched: after one that is meant,
 * build/release/bin/golden_manifest tensors > tests/data/tensors.sha256 and git diff lists them.
 *
 * scripts/same_bytes runs it in many ways. */
#include "test.h"

#include "gka/golden.h"

#include <sha2.h>
#include <stdlib.h>
#include <unistd.h>

enum { HEX = SHA256_DIGEST_STRING_LENGTH, MOST_THREADS = 8 };

static bool all;

/* What is done with each line "HASH  CASE.safetensors TENSOR". */
typedef void tensor_line(const char *line);

static void each_tensor(const char *path, const char *name, tensor_line *take) {
    gka_file *file;
    gka_error error = {0};
    char line[300], hash[HEX];
    if (gka_file_open(path, &file, &error) != GKA_OK)
        fail_msg("%s", error.text);
    for (size_t i = 0; i < gka_file_count(file); i++) {
        const gka_tensor *const tensor = gka_file_tensor(file, i);
        const size_t size = (size_t)gka_tensor_count(tensor) * gka_dtype_size(tensor->dtype);
        assert_non_null(SHA256Data(tensor->data, size, hash));
        (void)snprintf(line, sizeof line, "%s  %s.safetensors %s\n", hash, name, tensor->name);
        take(line);
    }
    gka_file_close(file);
}

static void print_line(const char *line) {
    (void)fputs(line, stdout);
}

static struct {
    FILE *manifest;
    int looked_up, different;
} tensors;

/* The file has the tensors in the order in which they are made, so the search goes on from the last
 * one found. */
static void look_up(const char *line) {
    char said[300];
    tensors.looked_up++;
    for (int turn = 0; turn < 2; turn++) {
        while (fgets(said, sizeof said, tensors.manifest) != NULL)
            if (strcmp(said, line) == 0)
                return;
        rewind(tensors.manifest);
    }
    print_error("not in tensors.sha256: %s", line);
    tensors.different++;
}

static void make(const gka_suite_case *one, int threads, char hash[HEX], tensor_line *take) {
    gka_golden_spec spec;
    gka_error error = {0};
    const char *const path = "golden_manifest.safetensors";
    gka_golden_spec_start(&spec);
    if (gka_golden_spec_read(&spec, one->spec, &error) != GKA_OK)
        fail_msg("%s: %s", one->name, error.text);
    gka_set_threads(threads);
    if (gka_golden_generate(&spec, NULL, path, NULL, &error) != GKA_OK)
        fail_msg("%s: %s", one->name, error.text);
    gka_set_threads(0);
    assert_non_null(SHA256File(path, hash));
    if (take != NULL)
        each_tensor(path, one->name, take);
    assert_int_equal(unlink(path), 0);
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
    tensors.manifest = fopen(GKA_TEST_DATA "/tensors.sha256", "r");
    assert_non_null(tensors.manifest);
    const gka_suite_case *one;
    int different = 0, made = 0, lines = 0;
    for (size_t i = 0; (one = gka_suite_find("quick", i)) != NULL; i++) {
        char is[HEX], said[HEX];
        find(manifest, one->name, said);
        const int first = all ? 1 : (int)(i % MOST_THREADS) + 1, last = all ? MOST_THREADS : first;
        lines++;
        if (SANITIZED && i % 3 != 1) /* ungated, initial, packed and repeat: seconds each */
            continue;
        for (int threads = first; threads <= last; threads++) {
            make(one, threads, is, look_up);
            made++;
            if (strcmp(is, said) == 0)
                continue;
            print_error("%s with %d threads: %s, not %s\n", one->name, threads, is, said);
            different++;
        }
    }
    rewind(manifest);
    for (int c; (c = getc(manifest)) != EOF;)
        lines -= c == '\n';
    (void)fclose(manifest);
    (void)fclose(tensors.manifest);
    assert_int_equal(tensors.different, 0);
    assert_true(tensors.looked_up > 20 * made);
    assert_int_equal(different, 0);
    assert_int_equal(lines, 0); /* of cases that there are no more */
    assert_true(made >= (SANITIZED ? 4 : MOST_THREADS));
}

static void print_manifest(bool of_tensors) {
    const gka_suite_case *one;
    for (size_t i = 0; (one = gka_suite_find("quick", i)) != NULL; i++) {
        char hash[HEX];
        make(one, 0, hash, of_tensors ? print_line : NULL);
        if (!of_tensors)
            printf("%s  %s.safetensors\n", hash, one->name);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bytes)};
    all = argc > 1 && strcmp(argv[1], "all") == 0;
    const bool of_tensors = argc > 1 && strcmp(argv[1], "tensors") == 0;
    const bool write = of_tensors || (argc > 1 && strcmp(argv[1], "write") == 0);
    if (write)
        print_manifest(of_tensors);
    return write ? 0 : cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}
