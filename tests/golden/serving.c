/* serving.c - goldens of a server (gka golden --serving): servers that are right pass, each of some
 * mistakes fails, and what makes no sense is refused.
 */
#include "test.h"

#include "gka/chunk.h"
#include "gka/format.h"
#include "gka/golden.h"

#include <stdlib.h>
#include <string.h>

enum { D = 64, H = 4, T = 100, P = 80, OUTPUTS = 6, STATE = H * D * D };

static const char *const golden_path = "serving_golden.safetensors",
                         *const candidate_path = "serving_candidate.safetensors";

static void generate(const char *const *settings, const char *path) {
    gka_golden_spec spec;
    gka_error error = {0};
    static const char *const base[] = {"serving", "true", "D",    "64",   "T",       "100",
                                       "H",       "4",    "G",    "2",    "prefill", "80",
                                       "iters",   "8",    "gate", "slow", NULL};
    gka_golden_spec_start(&spec);
    for (const char *const *s = base; *s != NULL; s += 2)
        assert_int_equal(gka_golden_spec_set(&spec, s[0], s[1], &error), GKA_OK);
    for (; *settings != NULL; settings += 2)
        assert_int_equal(gka_golden_spec_set(&spec, settings[0], settings[1], &error), GKA_OK);
    if (gka_golden_generate(&spec, NULL, path, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
}

/* A server's outputs, in the order of gka_serving_names. */
typedef struct run {
    double *of[OUTPUTS];
} run;

static const int64_t counts[OUTPUTS] = {P * H * D, STATE, STATE, (T - P) * H *D, STATE, STATE};

static run run_new(void) {
    run r;
    for (int i = 0; i < OUTPUTS; i++)
        r.of[i] = calloc((size_t)counts[i], sizeof(double));
    return r;
}

static void run_free(run *r) {
    for (int i = 0; i < OUTPUTS; i++)
        free(r->of[i]);
}

static run serve(const gka_problem *p, const char *setting, gka_serving how) {
    gka_profile profile;
    gka_error error = {0};
    run r = run_new();
    const gka_served out = {r.of[0], r.of[1], r.of[2], r.of[3], r.of[4], r.of[5]};
    assert_int_equal(gka_profile_find("h100", &profile, &error), GKA_OK);
    if (setting != NULL)
        assert_int_equal(gka_profile_set(&profile, setting, &error), GKA_OK);
    if (gka_chunk_serve(p, &profile, &how, &out, &error) != GKA_OK)
        fail_msg("%s", error.text);
    return r;
}

/* How many tensors of the run the golden fails; frees the run. *judged: how many have a verdict. */
static size_t failures_of(run r, gka_dtype u_type, size_t *judged) {
    static const int64_t shapes[OUTPUTS][4] = {{1, P, H, D},     {1, H, D, D}, {1, H, D, D},
                                               {1, T - P, H, D}, {1, H, D, D}, {1, H, D, D}};
    gka_tensor tensors[OUTPUTS];
    void *bytes[OUTPUTS];
    gka_file *candidate = NULL, *golden = NULL;
    gka_golden_verdict verdict;
    gka_error error = {0};
    for (int i = 0; i < OUTPUTS; i++) {
        const gka_dtype dtype = i % 3 == 0 ? GKA_BF16 : i == 5 ? u_type : GKA_F32;
        bytes[i] = calloc((size_t)counts[i], gka_dtype_size(dtype));
        gka_store_array(dtype, (size_t)counts[i], r.of[i], bytes[i]);
        tensors[i] = (gka_tensor){gka_serving_names[i], dtype, 4, {0}, bytes[i]};
        memcpy(tensors[i].shape, shapes[i], sizeof shapes[i]);
    }
    assert_int_equal(gka_file_write(candidate_path, tensors, OUTPUTS, NULL, 0, &error), GKA_OK);
    assert_int_equal(gka_file_open(candidate_path, &candidate, &error), GKA_OK);
    assert_int_equal(gka_file_open(golden_path, &golden, &error), GKA_OK);
    if (gka_golden_judge(candidate, golden, NULL, &verdict, &error) != GKA_OK)
        fail_msg("%s", error.text);
    const size_t failed = verdict.failed;
    *judged = verdict.judged;
    gka_golden_verdict_free(&verdict);
    gka_file_close(candidate);
    gka_file_close(golden);
    for (int i = 0; i < OUTPUTS; i++)
        free(bytes[i]);
    run_free(&r);
    return failed;
}

static size_t failures(run r, gka_dtype u_type) {
    size_t judged;
    const size_t failed = failures_of(r, u_type, &judged);
    assert_int_equal(judged, OUTPUTS);
    return failed;
}

static void open_problem(gka_file **file, gka_problem *p) {
    gka_error error = {0};
    assert_int_equal(gka_file_open(golden_path, file, &error), GKA_OK);
    if (gka_problem_from_file(*file, p, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
}

/* The prefill's tokens one by one too: nothing of the chunks' roundings. */
static run token_by_token(const gka_problem *p) {
    run all = run_new();
    gka_problem first = gka_problem_tokens(p, 0, P);
    double *const o = calloc(T * H * D, sizeof(double));
    gka_profile profile;
    gka_error error = {0};
    const gka_served out = {.decode_o = o, .decode_h = all.of[4], .decode_u = all.of[5]},
                     half = {.decode_o = all.of[0], .decode_h = all.of[1], .decode_u = all.of[2]};
    assert_int_equal(gka_profile_find("h100", &profile, &error), GKA_OK);
    assert_int_equal(gka_chunk_serve(p, &profile, &(gka_serving){0}, &out, &error), GKA_OK);
    assert_int_equal(gka_chunk_serve(&first, &profile, &(gka_serving){0}, &half, &error), GKA_OK);
    memcpy(all.of[3], o + P * H * D, (size_t)counts[3] * sizeof(double));
    free(o);
    return all;
}

static void test_right_servers_pass(void **state) {
    (void)state;
    static const char *const none[] = {NULL};
    static const int64_t cut = 64, odd = 50;
    gka_file *file = NULL;
    gka_problem p;
    generate(none, golden_path);
    open_problem(&file, &p);
    const gka_serving how = {.prefill = P};
    assert_int_equal(failures(serve(&p, NULL, how), GKA_F32), 0);
    assert_int_equal(failures(serve(&p, "decode.num_warps=2", how), GKA_F32), 0);
    assert_int_equal(failures(serve(&p, NULL, (gka_serving){P, .cuts = 1, .cut = &cut}), GKA_F32),
                     0);
    assert_int_equal(failures(serve(&p, NULL, (gka_serving){P, .cuts = 1, .cut = &odd}), GKA_F32),
                     0);
    assert_int_equal(failures(token_by_token(&p), GKA_F32), 0);
    /* U kept in bf16 loses what this golden does not allow; one that says so allows it. */
    const gka_serving kept = {.prefill = P, .u_type = GKA_STATE_BF16};
    assert_true(failures(serve(&p, NULL, kept), GKA_BF16) > 0);
    gka_problem_free(&p);
    gka_file_close(file);
    static const char *const bf16[] = {"u-type", "bf16", NULL};
    generate(bf16, golden_path);
    open_problem(&file, &p);
    assert_int_equal(failures(serve(&p, NULL, kept), GKA_BF16), 0);
    gka_problem_free(&p);
    gka_file_close(file);
}

/* U kept in blocks: such a server passes, and one whose blocks are coarser does not. (What eight
 * bits leave of o has no tolerance below 1/2.) */
static void test_states_in_blocks(void **state) {
    (void)state;
    static const char *const blocks[] = {"u-type", "mxfp8-e4m3", NULL};
    gka_file *file = NULL;
    gka_problem p;
    generate(blocks, golden_path);
    open_problem(&file, &p);
    const gka_serving right = {.prefill = P, .u_type = GKA_STATE_MXFP8},
                      wrong = {.prefill = P, .u_type = GKA_STATE_MXFP4};
    size_t judged;
    assert_int_equal(failures_of(serve(&p, NULL, right), GKA_F32, &judged), 0);
    assert_int_equal(judged, OUTPUTS - 1);
    assert_int_equal(failures_of(serve(&p, NULL, wrong), GKA_F32, &judged), 1);
    gka_problem_free(&p);
    gka_file_close(file);
}

/* Decode does not begin where the prefill ended. */
static run without_states(const gka_problem *p) {
    run r = serve(p, NULL, (gka_serving){.prefill = P});
    const gka_problem last = gka_problem_tokens(p, P, T);
    gka_profile profile;
    gka_error error = {0};
    const gka_served out = {.decode_o = r.of[3], .decode_h = r.of[4], .decode_u = r.of[5]};
    assert_int_equal(gka_profile_find("h100", &profile, &error), GKA_OK);
    assert_int_equal(gka_chunk_serve(&last, &profile, &(gka_serving){0}, &out, &error), GKA_OK);
    return r;
}

static void test_mistakes_fail(void **state) {
    (void)state;
    static const char *const none[] = {NULL};
    const gka_serving how = {.prefill = P};
    gka_file *file = NULL;
    gka_problem p;
    generate(none, golden_path);
    open_problem(&file, &p);
    gka_problem wrong = p;
    wrong.beta = (gka_view){0};
    assert_true(failures(serve(&wrong, NULL, how), GKA_F32) >= 5);
    wrong = p;
    wrong.g = (gka_view){0};
    assert_true(failures(serve(&wrong, NULL, how), GKA_F32) >= 5);
    wrong = p;
    wrong.alpha = (gka_view){0};
    assert_int_equal(failures(serve(&wrong, NULL, how), GKA_F32), 2); /* o of both */
    wrong = p;
    wrong.ridge_ratio *= 2;
    assert_int_equal(failures(serve(&wrong, NULL, how), GKA_F32), 2);
    wrong = p;
    wrong.num_iter = 4;
    assert_int_equal(failures(serve(&wrong, NULL, how), GKA_F32), 2);
    assert_int_equal(failures(without_states(&p), GKA_F32), 3); /* decode's three */
    run swapped = serve(&p, NULL, how);
    memcpy(swapped.of[4], swapped.of[1], STATE * sizeof(double)); /* never written back */
    assert_int_equal(failures(swapped, GKA_F32), 1);
    swapped = serve(&p, NULL, how);
    for (int64_t i = 0; i < D * D; i++) { /* U of two heads in each other's place */
        const double u = swapped.of[5][i];
        swapped.of[5][i] = swapped.of[5][D * D + i];
        swapped.of[5][D * D + i] = u;
    }
    assert_int_equal(failures(swapped, GKA_F32), 1);
    gka_problem_free(&p);
    gka_file_close(file);
}

static void refused(const char *key, const char *text, const char *line) {
    gka_golden_spec spec;
    gka_error error = {0};
    gka_golden_spec_start(&spec);
    assert_int_equal(gka_golden_spec_set(&spec, "D", "64", &error), GKA_OK);
    assert_int_equal(gka_golden_spec_set(&spec, "serving", "true", &error), GKA_OK);
    assert_int_equal(gka_golden_spec_set(&spec, key, text, &error), GKA_OK);
    assert_int_not_equal(gka_golden_generate(&spec, NULL, golden_path, NULL, &error), GKA_OK);
    assert_string_equal(error.text, line);
}

/* Types that are no floating-point numbers of whole bytes: a line, and no byte is read. */
static void test_other_types_are_refused(void **state) {
    (void)state;
    static const gka_dtype others[] = {GKA_F4, GKA_F6_E2M3, GKA_F8_E8M0};
    static const unsigned char bytes[P * H * D];
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const gka_tensor tensor = {gka_serving_names[0], others[i], 4, {1, P, H, D}, bytes};
        gka_file *candidate = NULL, *golden = NULL;
        gka_golden_verdict verdict;
        gka_error error = {0};
        assert_int_equal(gka_file_write(candidate_path, &tensor, 1, NULL, 0, &error), GKA_OK);
        assert_int_equal(gka_file_open(candidate_path, &candidate, &error), GKA_OK);
        assert_int_equal(gka_file_open(golden_path, &golden, &error), GKA_OK);
        assert_int_equal(gka_golden_judge(candidate, golden, NULL, &verdict, &error), GKA_BAD_FILE);
        assert_non_null(strstr(error.text, "floating-point"));
        gka_golden_verdict_free(&verdict);
        gka_file_close(candidate);
        gka_file_close(golden);
    }
}

static void test_what_is_refused(void **state) {
    (void)state;
    refused("stage", "solve",
            "serving: stage as it is by default was expected, in a golden of a server");
    refused("lengths", "3,4",
            "serving: lengths as it is by default was expected, in a golden of a server");
    refused("dtype", "fp32",
            "serving: dtype as it is by default was expected, in a golden of a server");
    refused("prefill", "300", "prefill is 300: 0 to T = 256 was expected");
    refused("D", "32", "serving: D and V are 64, 128 or 256");
    gka_golden_spec spec;
    gka_error error = {0};
    gka_golden_spec_start(&spec);
    assert_int_equal(gka_golden_spec_set(&spec, "u-type", "bf16", &error), GKA_OK);
    assert_int_equal(gka_golden_generate(&spec, NULL, golden_path, NULL, &error), GKA_BAD_ARGUMENT);
    assert_string_equal(error.text, "u-type: a golden of a server (serving) was expected with it");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_servers_pass), cmocka_unit_test(test_states_in_blocks),
        cmocka_unit_test(test_mistakes_fail),      cmocka_unit_test(test_other_types_are_refused),
        cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests_name("serving", tests, NULL, NULL);
}
