/* stream.c - goldens of long sequences: the same bits as in memory, in memory that hardly grows. */
#include "test.h"

#include "gka/golden.h"
#include "judge/golden_stream.h"

#include <dirent.h>
#include <math.h>
#include <sys/resource.h>
#include <unistd.h>

#define PATH "golden_stream.safetensors"

static gka_golden_spec spec_of(const char *json) {
    gka_golden_spec spec;
    gka_error error = {0};
    gka_golden_spec_start(&spec);
    if (gka_golden_spec_read(&spec, json, &error) != GKA_OK)
        fail_msg("%s", error.text);
    return spec;
}

static int files(void) {
    int count = 0;
    DIR *const folder = opendir(".");
    assert_non_null(folder);
    while (readdir(folder) != NULL)
        count++;
    (void)closedir(folder);
    return count;
}

enum {
    FORWARD = 1u << JUDGE_X | 1u << JUDGE_FRO | 1u << JUDGE_O | 1u << JUDGE_H_CHUNK |
              1u << JUDGE_H_FINAL | 1u << JUDGE_U_FINAL
};

/* A ragged end, states given, chunks of 24. */
#define LONG                                                                                       \
    "{\"T\": 16500, \"D\": 4, \"V\": 3, \"chunk\": 24, \"h0\": true, \"dtype\": \"fp32\", "        \
    "\"outputs\": \"forward,states\", \"gate\": \"slow\"}"

/* Every reference, bit for bit, and the errors that make tolerances. */
static void test_same_as_in_memory(void **state) {
    (void)state;
    const gka_golden_spec spec = spec_of(LONG);
    gka_error error = {0};
    gka_file *file = NULL;
    gka_problem p;
    golden_values steps = {0}, exact = {0}, own = {0};
    gka_profile exact64, ieee32;
    if (gka_golden_generate(&spec, NULL, PATH, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
    assert_int_equal(gka_file_open(PATH, &file, &error), GKA_OK);
    assert_int_equal(gka_problem_from_file(file, &p, NULL, &error), GKA_OK);
    assert_true(golden_streams(&p, FORWARD));
    assert_int_equal(gka_profile_find("exact64", &exact64, &error), GKA_OK);
    assert_int_equal(gka_profile_find("ieee32", &ieee32, &error), GKA_OK);
    assert_int_equal(golden_steps(&p, &exact64, FORWARD, &steps, &error), GKA_OK);
    assert_int_equal(golden_allocate(&p, FORWARD, &exact, &error), GKA_OK);
    gka_exact out = {0};
    for (int i = 0; i < JUDGE_OUTPUTS; i++)
        if (FORWARD >> i & 1)
            *judge_exact(&out, i) = exact.of[i];
    const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED};
    assert_int_equal(gka_oracle_forward(&p, &options, &out, NULL, NULL, &error), GKA_OK);
    for (int i = 0; i < JUDGE_OUTPUTS; i++)
        for (int of_steps = 0; of_steps < 2 && FORWARD >> i & 1; of_steps++) {
            char name[48];
            double *values = NULL;
            (void)snprintf(name, sizeof name, "%s.%s", judge_outputs[i].name,
                           of_steps ? "steps" : "exact");
            const gka_tensor *const tensor = gka_file_find(file, name);
            assert_non_null(tensor);
            assert_int_equal(golden_load(&p, file, tensor, i, false, &values, &error), GKA_OK);
            assert_memory_equal(values, of_steps ? steps.of[i] : exact.of[i],
                                (size_t)judge_count(&p, i) * sizeof(double));
            gka_free(values);
        }

    golden_error streamed[JUDGE_OUTPUTS], whole[JUDGE_OUTPUTS];
    golden_stream *stream = NULL;
    assert_int_equal(golden_stream_open(&p, FORWARD, PATH, &stream, &error), GKA_OK);
    assert_int_equal(golden_stream_steps(stream, &error), GKA_OK);
    for (int other = 0; other < 2; other++) {
        const unsigned wanted = other ? FORWARD & ~(1u << JUDGE_H_CHUNK) : FORWARD;
        gka_problem q = p;
        q.chunk_size = other ? 64 : 24;
        assert_int_equal(
            golden_stream_errors(stream, &ieee32, q.chunk_size, wanted, streamed, &error), GKA_OK);
        golden_free(&own);
        assert_int_equal(golden_steps(&q, &ieee32, wanted, &own, &error), GKA_OK);
        golden_store(&q, wanted, &own);
        assert_int_equal(golden_errors(&q, wanted, &own, &steps, whole, &error), GKA_OK);
        /* Errors are some 1e-7, so that u of the values compared, once scaled and once not, is 1e-9
         * of an error; o's local value, from U by chunks or by tokens, is another by some u more.
         */
        for (int i = 0; i < JUDGE_OUTPUTS; i++) {
            const double most = i == JUDGE_O ? 1e-7 : 1e-8;
            if (!(wanted >> i & 1))
                continue;
            assert_true(whole[i].rel > 0 && whole[i].row >= whole[i].rel / 2);
            assert_true(fabs(streamed[i].rel - whole[i].rel) <= most * whole[i].rel);
            assert_true(fabs(streamed[i].row - whole[i].row) <= most * whole[i].row);
        }
    }
    golden_stream_close(stream);
    golden_free(&own);
    golden_free(&steps);
    golden_free(&exact);
    gka_problem_free(&p);
    gka_file_close(file);
    assert_int_equal(unlink(PATH), 0);
}

static rlim_t memory_now(void) {
    FILE *const file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    if (file == NULL || fscanf(file, "%lu", &pages) != 1)
        pages = 0;
    if (file != NULL)
        (void)fclose(file);
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* D = V = 4, fp32: 5 * 4 * 4 bytes a token of inputs and 80 of rows' norms are 6.4 MB for 40,000
 * tokens; 12 MB suffice. All in memory, as for a golden with second words, takes 1.4 kB a token. */
static void test_memory(void **state) {
    (void)state;
    const gka_golden_spec streamed =
        spec_of("{\"T\": 40000, \"D\": 4, \"dtype\": \"fp32\", \"outputs\": \"forward\"}");
    const gka_golden_spec whole = spec_of("{\"T\": 40000, \"D\": 4, \"dtype\": \"fp32\", "
                                          "\"outputs\": \"forward\", \"lo\": true}");
    const rlim_t now = memory_now();
    if (now == 0)
        skip();
    gka_set_threads(1);
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    limit = before;
    limit.rlim_cur = now + 12 * (1 << 20);
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
    gka_error error = {0};
    const gka_status good = gka_golden_generate(&streamed, NULL, PATH, NULL, &error);
    const gka_status bad = gka_golden_generate(&whole, NULL, PATH ".lo", NULL, NULL);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    gka_set_threads(0);
    if (good != GKA_OK)
        fail_msg("%s", error.text);
    assert_int_equal(bad, GKA_OUT_OF_MEMORY);
    assert_int_equal(unlink(PATH), 0);
}

static bool stop_at(void *context, double done, double total) {
    return done < *(double *)context * total;
}

/* Nothing lies in the folder, wherever it stops. */
static void test_interrupted(void **state) {
    (void)state;
    const gka_golden_spec spec = spec_of(LONG);
    const int before = files();
    static double shares[] = {.01, .03, .4};
    for (int i = 0; i < 3; i++) {
        const gka_progress progress = {.report = stop_at, .context = &shares[i]};
        gka_error error = {0};
        assert_int_equal(gka_golden_generate(&spec, NULL, PATH, &progress, &error),
                         GKA_INTERRUPTED);
        assert_int_equal(files(), before);
    }
}

static void test_survives_failing_allocations(void **state) {
    (void)state;
    const gka_golden_spec spec =
        spec_of("{\"T\": 16385, \"D\": 1, \"dtype\": \"fp32\", \"plain\": true, "
                "\"outputs\": \"forward\", \"iters\": 1}");
    const int64_t live = gka_alloc_live();
    gka_set_threads(1);
    for (int64_t n = 0; n < 60; n += 1 + n / 8) {
        gka_error error = {0};
        gka_alloc_fail_at(n, false);
        const gka_status status = gka_golden_generate(&spec, NULL, PATH, NULL, &error);
        assert_true(gka_alloc_fail_at(-1, false) > n);
        assert_int_equal(status, GKA_OUT_OF_MEMORY);
        assert_int_equal(gka_alloc_live(), live);
    }
    gka_set_threads(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory), /* first: what others have freed would be there to use */
        cmocka_unit_test(test_same_as_in_memory),
        cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_survives_failing_allocations),
    };
    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
