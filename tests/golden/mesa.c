/* mesa.c - goldens of MesaNet, whose ridge is constant (gka golden --lambda): kernels that are
 * right pass, and others fail; goldens whose operands are numbers of a format of blocks.
 */
#include "test.h"

#include "gka/format.h"
#include "gka/golden.h"
#include "gka/kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const golden_path = "mesa_golden.safetensors",
                         *const again_path = "mesa_again.safetensors",
                         *const candidate_path = "mesa_candidate.safetensors";

#define MESA                                                                                       \
    "{\"T\": 40, \"D\": 16, \"H\": 2, \"alpha\": false, \"problem\": \"mean\", \"lambda\": 0.5"

static gka_status generate(const char *json, const char *path, gka_error *error) {
    gka_golden_spec spec;
    gka_golden_spec_start(&spec);
    const gka_status status = gka_golden_spec_read(&spec, json, error);
    return status == GKA_OK ? gka_golden_generate(&spec, NULL, path, NULL, error) : status;
}

static gka_file *make(const char *json) {
    gka_error error = {0};
    gka_file *file = NULL;
    if (generate(json, golden_path, &error) != GKA_OK ||
        gka_file_open(golden_path, &file, &error) != GKA_OK)
        fail_msg("%s", error.text);
    return file;
}

static gka_problem problem_of(const gka_file *file) {
    gka_problem p;
    gka_error error = {0};
    if (gka_problem_from_file(file, &p, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
    return p;
}

/* x and o of a kernel for the problem, as a candidate: how many of the two the golden fails. */
static size_t failures(const gka_file *golden, const gka_problem *p, const char *name) {
    static const int which[] = {GKA_OUT_X, GKA_OUT_O};
    gka_kernel kernel;
    gka_error error = {0};
    gka_outputs out = {0};
    gka_tensor tensors[2];
    gka_file *candidate = NULL;
    gka_golden_verdict verdict;
    for (int i = 0; i < 2; i++)
        out.of[which[i]] = calloc((size_t)gka_output_count(p, which[i]), sizeof(double));
    if (gka_kernel_find(name, &kernel, &error) != GKA_OK ||
        gka_kernel_run(&kernel, p, NULL, &out, NULL, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
    for (int i = 0; i < 2; i++) {
        const size_t count = (size_t)gka_output_count(p, which[i]);
        void *const bytes = calloc(count, 2);
        gka_store_array(GKA_BF16, count, out.of[which[i]], bytes);
        tensors[i] = (gka_tensor){gka_output_table[which[i]].name,
                                  GKA_BF16,
                                  4,
                                  {p->B, p->T, p->H, i ? p->V : p->D},
                                  bytes};
        free(out.of[which[i]]);
    }
    assert_int_equal(gka_file_write(candidate_path, tensors, 2, NULL, 0, &error), GKA_OK);
    assert_int_equal(gka_file_open(candidate_path, &candidate, &error), GKA_OK);
    if (gka_golden_judge(candidate, golden, NULL, &verdict, &error) != GKA_OK)
        fail_msg("%s", error.text);
    const size_t failed = verdict.failed;
    assert_int_equal(verdict.judged, 2);
    gka_golden_verdict_free(&verdict);
    gka_file_close(candidate);
    for (int i = 0; i < 2; i++)
        free((void *)(uintptr_t)tensors[i].data);
    return failed;
}

static void test_right_kernels_pass_and_wrong_ones_fail(void **state) {
    (void)state;
    static const char *const right[] = {"h100/mesa",   "h100/mesa/guard=exact", "a100/mesa",
                                        "ieee32/mesa", "exact64/mesa",          "tokens/fp32",
                                        "fp64"};
    gka_file *const golden = make(MESA "}");
    gka_problem p = problem_of(golden);
    assert_true(p.lambda == 0.5 && p.alpha.data == NULL);
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        if (failures(golden, &p, right[i]) != 0)
            fail_msg("%s fails", right[i]);
    gka_problem wrong = p; /* o is judged at the candidate's own x */
    wrong.lambda = 0.52;
    assert_int_equal(failures(golden, &wrong, "h100/mesa"), 1);
    wrong = p;
    wrong.num_iter = 3;
    assert_int_equal(failures(golden, &wrong, "h100/mesa"), 1);
    wrong = p;
    wrong.scale *= 1.02;
    assert_int_equal(failures(golden, &wrong, "h100/mesa"), 1);
    wrong = p;
    wrong.g = (gka_view){0};
    assert_int_equal(failures(golden, &wrong, "h100/mesa"), 2);
    gka_problem_free(&p);
    gka_file_close(golden);
}

static void test_exact_has_the_constant_ridge(void **state) {
    (void)state;
    gka_file *const golden = make(MESA "}");
    gka_problem p = problem_of(golden);
    gka_error error = {0};
    const size_t count = (size_t)gka_output_count(&p, GKA_OUT_X);
    gka_outputs out = {.x = calloc(count, sizeof(double))};
    const gka_oracle_options mpfr = {.oracle = GKA_ORACLE_MPFR, .ridge = 0.5};
    p.lambda = 0;
    assert_int_equal(gka_oracle_forward(&p, &mpfr, &out, NULL, NULL, &error), GKA_OK);
    assert_memory_equal(gka_file_find(golden, "x.exact")->data, out.x, count * sizeof(double));
    assert_null(gka_file_find(golden, "fro.exact"));
    assert_null(gka_file_find(golden, "layer.dq.exact"));
    free(out.x);
    gka_problem_free(&p);
    gka_file_close(golden);
}

static void test_spec_makes_it_again(void **state) {
    (void)state;
    static const char *const specs[] = {MESA "}", "{\"T\": 9, \"D\": 32, \"outputs\": \"forward\", "
                                                  "\"iters\": 4, \"operands\": \"mxfp8-e4m3\"}"};
    for (int i = 0; i < 2; i++) {
        gka_file *const golden = make(specs[i]);
        gka_file *again = NULL;
        gka_error error = {0};
        const char *const said = gka_file_metadata(golden, "spec");
        assert_non_null(strstr(said, i == 0 ? "\"lambda\":0.5" : "\"operands\":\"mxfp8-e4m3\""));
        assert_int_equal(generate(said, again_path, &error), GKA_OK);
        assert_int_equal(gka_file_open(again_path, &again, &error), GKA_OK);
        assert_string_equal(gka_file_metadata(golden, "sha256"),
                            gka_file_metadata(again, "sha256"));
        gka_file_close(golden);
        gka_file_close(again);
    }
}

/* Rows rounded to blocks stay as they are when they are rounded again. */
static void test_operands_in_blocks(void **state) {
    (void)state;
    static const struct {
        const char *format, *dtype;
    } cases[] = {{"mxfp8-e4m3", "bf16"}, {"mxfp8-e5m2", "bf16"}, {"mxfp6-e2m3", "bf16"},
                 {"mxfp4", "bf16"},      {"nvfp4", "fp32"},      {"e4m3-1x128", "fp32"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[200];
        (void)snprintf(json, sizeof json,
                       "{\"T\": 12, \"D\": 64, \"outputs\": \"forward\", \"operands\": \"%s\", "
                       "\"dtype\": \"%s\", \"iters\": 4}",
                       cases[i].format, cases[i].dtype);
        gka_file *const golden = make(json);
        gka_problem p = problem_of(golden);
        const gka_block_format *const format = gka_block_format_find(cases[i].format);
        double row[64], again[64];
        for (int64_t t = 0; t < p.T; t++)
            for (int which = 0; which < 3; which++) {
                (which == 0   ? gka_problem_q
                 : which == 1 ? gka_problem_k
                              : gka_problem_v)(&p, 0, t, 0, row);
                gka_block_round(format, 64, row, again, NULL);
                for (int d = 0; d < 64; d++) /* nvfp4, e4m3-1x128: scales are rounded to binary32 */
                    assert_true(fabs(again[d] - row[d]) <=
                                (cases[i].dtype[0] == 'b' ? 0 : 0x1p-22 * fabs(row[d])));
            }
        gka_problem_free(&p);
        gka_file_close(golden);
    }
}

static void refused(const char *json, const char *expected) {
    gka_error error = {0};
    assert_int_not_equal(generate(json, again_path, &error), GKA_OK);
    if (strstr(error.text, expected) == NULL)
        fail_msg("'%s', not '%s'", error.text, expected);
}

static void test_what_is_refused(void **state) {
    (void)state;
    refused(MESA ", \"stage\": \"solve\"}", "a golden of MesaNet has x and o");
    refused(MESA ", \"emulate\": \"h100\"}", "a golden of MesaNet has x and o");
    refused(MESA ", \"outputs\": \"backward\"}", "a golden of MesaNet has x and o");
    refused(MESA ", \"h0\": true}", "without h0 and u0");
    refused(MESA ", \"dtype\": \"fp32\"}", "q, k, v of BF16 were expected");
    refused("{\"serving\": true, \"D\": 64, \"lambda\": 1}",
            "lambda as it is by default was expected");
    refused("{\"T\": 9, \"lambda\": 1}", "a problem without alpha was expected");
    refused("{\"T\": 9, \"lambda\": -1}", "lambda is '-1");
    refused("{\"T\": 9, \"operands\": \"fp8\"}", "none or a format of blocks");
    gka_file *const golden = make(MESA "}");
    gka_problem p = problem_of(golden);
    static const char *const others[] = {"h100", "steps", "cuda", "h100/decode"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        gka_kernel kernel;
        gka_error error = {0};
        assert_int_equal(gka_kernel_find(others[i], &kernel, &error), GKA_OK);
        assert_int_not_equal(gka_kernel_check(&kernel, &p, &error), GKA_OK);
        assert_non_null(strstr(error.text, "constant ridge"));
    }
    gka_problem_free(&p);
    gka_file_close(golden);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_kernels_pass_and_wrong_ones_fail),
        cmocka_unit_test(test_exact_has_the_constant_ridge),
        cmocka_unit_test(test_spec_makes_it_again),
        cmocka_unit_test(test_operands_in_blocks),
        cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests_name("mesa", tests, NULL, NULL);
}
