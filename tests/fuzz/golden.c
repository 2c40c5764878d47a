/* golden.c - any bytes as a golden, by which a candidate (fuzz/golden.h) is judged; or, where they
 * begin with a brace, as the index.json of a suite.
 *
 * A golden is given the hash that it should have. Beyond what the sanitizers see: a refusal says
 * why in one line, and nothing stays allocated.
 */
#include "fuzz/golden.h"

#include <stdio.h>
#include <unistd.h>

/* Its steps are many, or its tokens: right, and too slow for a fuzzer. */
static int is_long(const gka_file *file) {
    const char *const steps = gka_file_metadata(file, "num_iter");
    return steps != NULL && strlen(steps) > 3;
}

static void judge_by(const uint8_t *data, size_t size) {
    static unsigned char bytes[4096];
    gka_error error = {0};
    gka_file *golden = NULL, *candidate = NULL;
    const size_t length = fuzz_file(bytes, FUZZ_CANDIDATE_HEADER, FUZZ_CANDIDATE_DATA);
    insist(gka_file_from_memory("candidate", bytes, length, &candidate, &error) == GKA_OK);
    gka_status status = gka_file_from_memory("fuzz", data, size, &golden, &error);
    if (status == GKA_OK && !is_long(golden)) {
        gka_golden_verdict verdict;
        fuzz_put_hash(golden);
        status = gka_golden_judge(candidate, golden, NULL, &verdict, &error);
        gka_golden_verdict_free(&verdict);
    }
    if (status != GKA_OK)
        insist_on_a_line(status, &error);
    gka_file_close(golden);
    gka_file_close(candidate);
}

/* A folder of this process, with nothing but the index. */
static char folder[64], path[96];

static void remove_folder(void) {
    (void)rmdir(folder);
}

static void read_index(const uint8_t *data, size_t size) {
    if (folder[0] == '\0') {
        (void)snprintf(folder, sizeof folder, "%s/gka.fuzz.XXXXXX",
                       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        insist(mkdtemp(folder) != NULL);
        (void)atexit(remove_folder);
        (void)snprintf(path, sizeof path, "%s/index.json", folder);
    }
    FILE *const stream = fopen(path, "wb");
    insist(stream != NULL && fwrite(data, 1, size, stream) == size && fclose(stream) == 0);
    gka_error error = {0};
    gka_suite suite;
    gka_status status = gka_suite_read(folder, &suite, &error);
    if (status != GKA_OK)
        insist_on_a_line(status, &error);
    for (size_t i = 0; i < suite.count; i++) {
        status = gka_suite_check(folder, &suite.entries[i], &error);
        if (status != GKA_OK)
            insist_on_a_line(status, &error);
    }
    gka_suite_free(&suite);
    gka_suite_report report = {0};
    status = gka_suite_examine("quick", folder, &report, &error);
    if (status != GKA_OK) /* another suite's */
        insist_on_a_line(status, &error);
    insist(report.kept == 0);
    (void)unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 0 && data[0] == '{')
        read_index(data, size);
    else
        judge_by(data, size);
    insist(gka_alloc_live() == 0);
    return 0;
}
