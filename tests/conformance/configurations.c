/* configurations.c - every configuration of the authors' autotuned kernels, run on an H200 by
 * scripts/gpu/capture_kernels.py, against the emulation with the settings that name it.
 *
 * A file holds the inputs of one problem, its outputs by the default configuration and, as NAME.1,
 * NAME.2, .., what else an output comes to. Its metadata `runs` has a line for each choice of
 * configurations that differ in a setting of ours: "solve.num_warps=2|x=1,fro=2"; what is not named
 * is the default's. Every stored element must be the emulation's. GKA_H200_DATA names a folder of
 * further files (d64 and d128 of every list, with 6 mixed choices each; other chunk sizes, fp16).
 */
#include "test.h"

#include "gka/chunk.h"
#include "gka/io.h"
#include "gka/judge.h"

#include <stdlib.h>

static const char *const names[] = {"x",        "fro",          "o",        "h_final",  "u_final",
                                    "solve.dq", "solve.dk",     "solve.dg", "layer.dq", "layer.dk",
                                    "layer.dv", "layer.dalpha", "layer.dg"};
enum { NAMES = sizeof names / sizeof *names };

static int64_t count_of(const gka_tensor *tensor) {
    int64_t count = 1;
    for (int i = 0; i < tensor->rank; i++)
        count *= tensor->shape[i];
    return count;
}

/* The stored tensor of output `name` under a run: NAME, or NAME.n where the line says NAME=n. */
static const gka_tensor *stored(const gka_file *file, const char *numbers, const char *name) {
    char key[40], full[64];
    int number = 0;
    snprintf(key, sizeof key, "%s=", name);
    for (const char *at = numbers; (at = strstr(at, key)) != NULL; at++)
        if (at == numbers || at[-1] == ',') {
            number = atoi(at + strlen(key));
            break;
        }
    snprintf(full, sizeof full, number ? "%s.%d" : "%s", name, number);
    return gka_file_find(file, full);
}

static int64_t differing(const gka_tensor *tensor, const double *values) {
    const size_t count = (size_t)count_of(tensor);
    float *const given = calloc(count, sizeof *given);
    int64_t different = 0;
    gka_decode_array_f32(gka_format_of_dtype(tensor->dtype), count, tensor->data, given);
    for (size_t i = 0; i < count; i++)
        different += bits_of_f32(given[i]) != bits_of_f32((float)values[i]);
    free(given);
    return different;
}

/* One line of `runs`; elements that differ. fixed: the ridge is not differentiated through, and the
 * file has no layer. */
static int64_t run_line(const gka_file *file, const gka_problem *problem, bool fixed, char *line) {
    gka_profile profile;
    gka_error error = {0};
    const gka_tensor *tensors[NAMES];
    double *values[NAMES];
    char *const bar = strchr(line, '|');
    assert_non_null(bar);
    *bar = '\0';
    assert_int_equal(gka_profile_find("h100", &profile, &error), GKA_OK);
    profile.fp16 = problem->q.dtype == GKA_F16;
    for (char *at = line, *end; *at != '\0'; at = end) {
        end = at + strcspn(at, " ");
        char setting[64];
        snprintf(setting, sizeof setting, "%.*s", (int)(end - at), at);
        assert_int_equal(gka_profile_set(&profile, setting, &error), GKA_OK);
        end += *end == ' ';
    }
    for (int i = 0; i < NAMES; i++) {
        tensors[i] = stored(file, bar + 1, names[i]);
        values[i] = tensors[i] ? calloc((size_t)count_of(tensors[i]), sizeof(double)) : NULL;
    }
    gka_outputs forward = {.x = values[0],
                           .fro = values[1],
                           .o = values[2],
                           .h_final = values[3],
                           .u_final = values[4]};
    gka_outputs solve = {.solve = {.dq = values[5], .dk = values[6], .dg = values[7]}};
    gka_outputs layer = {.layer = {.dq = values[8],
                                   .dk = values[9],
                                   .dv = values[10],
                                   .dalpha = values[11],
                                   .dg = values[12]}};
    assert_int_equal(gka_chunk_forward(problem, &profile, &forward, NULL, NULL, &error), GKA_OK);
    assert_int_equal(gka_chunk_backward(problem, &profile, GKA_OF_X, !fixed, NULL, &solve, &error),
                     GKA_OK);
    if (!fixed)
        assert_int_equal(
            gka_chunk_backward(problem, &profile, GKA_OF_O, true, NULL, &layer, &error), GKA_OK);
    int64_t all = 0;
    for (int i = 0; i < NAMES; i++) {
        const int64_t different = tensors[i] ? differing(tensors[i], values[i]) : 0;
        if (different != 0)
            print_message("%s, %s: %s differs in %lld of %lld\n", gka_file_path(file), line,
                          names[i], (long long)different, (long long)count_of(tensors[i]));
        all += different;
        free(values[i]);
    }
    return all;
}

static void replay(const char *path) {
    gka_file *file = NULL;
    gka_problem problem;
    gka_error error = {0};
    assert_int_equal(gka_file_open(path, &file, &error), GKA_OK);
    assert_int_equal(gka_problem_from_file(file, &problem, NULL, &error), GKA_OK);
    const char *runs = gka_file_metadata(file, "runs"), *spec = gka_file_metadata(file, "spec");
    const bool fixed = spec && strstr(spec, "\"fixed_lambda\": true");
    char every[64];
    if (!runs) { /* every kernel with the same number of warps, where its list has it */
        snprintf(every, sizeof every, "all.num_warps=%s|", gka_file_metadata(file, "num_warps"));
        runs = every;
    }
    int lines = 0;
    int64_t different = 0;
    for (const char *at = runs; *at != '\0'; lines++) {
        char line[512];
        const size_t length = strcspn(at, "\n");
        assert_true(length < sizeof line);
        memcpy(line, at, length);
        line[length] = '\0';
        different += run_line(file, &problem, fixed, line);
        at += length + (at[length] == '\n');
    }
    print_message("%s: %d choices of configurations, %lld elements differ\n", path, lines,
                  (long long)different);
    assert_true(different == 0);
    gka_problem_free(&problem);
    gka_file_close(file);
}

static void test_small_set(void **state) {
    (void)state;
    static const char *const files[] = {"d64",  "d64_ungated", "d128",      "c16",
                                        "fp16", "fixed",       "fixed_d128"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[1024];
        snprintf(path, sizeof path, GKA_TEST_DATA "/h200/%s.safetensors", files[i]);
        replay(path);
    }
}

/* The search names the configurations of a file that an H200 wrote with one for each kernel, tells
 * those of the default from it, and says so where none gives a file's bits. */
static void test_search(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int warps[GKA_LAUNCHES];
    } cases[] = {{"mixed",
                  {[GKA_LAUNCH_SOLVE] = 2,
                   [GKA_LAUNCH_SOLVE_DK] = 8,
                   [GKA_LAUNCH_GATES] = 1,
                   [GKA_LAUNCH_OUTPUT_BWD] = 2}},
                 {"d64",
                  {[GKA_LAUNCH_SOLVE] = 4,
                   [GKA_LAUNCH_SOLVE_DK] = 4,
                   [GKA_LAUNCH_GATES] = 4,
                   [GKA_LAUNCH_OUTPUT_BWD] = 4}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gka_file *file = NULL;
        gka_problem problem;
        gka_profile profile;
        gka_configuration found;
        gka_error error = {0};
        char path[1024];
        snprintf(path, sizeof path, GKA_TEST_DATA "/h200/%s.safetensors", cases[i].name);
        assert_int_equal(gka_file_open(path, &file, &error), GKA_OK);
        assert_int_equal(gka_problem_from_file(file, &problem, NULL, &error), GKA_OK);
        assert_int_equal(gka_profile_find("h100", &profile, &error), GKA_OK);
        assert_int_equal(gka_configuration_find(file, &problem, &profile, &found, &error), GKA_OK);
        assert_true(found.different == 0);
        for (int k = 0; k < GKA_LAUNCHES; k++)
            assert_int_equal(profile.num_warps[k], cases[i].warps[k]);
        if (i == 0) { /* another ridge ratio: none gives these bits */
            problem.ridge_ratio *= 1.25;
            assert_int_equal(gka_configuration_find(file, &problem, &profile, &found, &error),
                             GKA_OK);
            assert_true(found.different > 0);
        }
        gka_problem_free(&problem);
        gka_file_close(file);
    }
}

static void test_full_set(void **state) {
    (void)state;
    static const char *const files[] = {"configurations/train_d64",
                                        "configurations/train_d64_ungated",
                                        "configurations/train_d128",
                                        "configurations/train_d128_ungated",
                                        "configurations/train_d64_small",
                                        "configurations/train_d64_ungated_small",
                                        "configurations/train_d128_small",
                                        "configurations/train_d128_ungated_small",
                                        "configurations/train_c32",
                                        "configurations/train_c32_d128",
                                        "configurations/train_c16",
                                        "configurations/train_fp16",
                                        "configurations/train_fp16_ungated",
                                        "configurations/train_slow768",
                                        "configurations/train_slow768_d64",
                                        "configurations/train_t1",
                                        "configurations/train_t17",
                                        "configurations/train_fixed",
                                        "configurations/train_fixed_d128",
                                        "configurations/train_fixed_ungated",
                                        "configurations/train_fixed_ungated_d128",
                                        "warps/n_slow_w2",
                                        "warps/n_slow_w8",
                                        "warps/n_slow_w4s3"};
    const char *const folder = getenv("GKA_H200_DATA");
    if (!folder) {
        print_message("GKA_H200_DATA is not set: the longer set is not replayed\n");
        skip();
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s.safetensors", folder, files[i]);
        replay(path);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_set),
        cmocka_unit_test(test_search),
        cmocka_unit_test(test_full_set),
    };
    return cmocka_run_group_tests_name("configurations", tests, NULL, NULL);
}
