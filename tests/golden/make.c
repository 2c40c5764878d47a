/* make.c - goldens: same spec, same bytes; what stands in them agrees with what it claims. */
#include "test.h"

#include "gka/golden.h"
#include "golden/golden.h"

#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PATH "golden_make.safetensors"

static gka_golden_spec spec_of(const char *json) {
    gka_golden_spec spec;
    gka_error error = {0};
    gka_golden_spec_start(&spec);
    if (gka_golden_spec_read(&spec, json, &error) != GKA_OK)
        fail_msg("%s", error.text);
    return spec;
}

static gka_file *make(const char *json) {
    const gka_golden_spec spec = spec_of(json);
    gka_error error = {0};
    gka_file *file = NULL;
    if (gka_golden_generate(&spec, NULL, PATH, NULL, &error) != GKA_OK ||
        gka_file_open(PATH, &file, &error) != GKA_OK)
        fail_msg("%s", error.text);
    return file;
}

/* A tensor of F64 as doubles. */
static double *doubles(const gka_file *file, const char *name, const char *suffix, int64_t *count) {
    char full[48];
    (void)snprintf(full, sizeof full, "%s%s", name, suffix);
    const gka_tensor *const tensor = gka_file_find(file, full);
    if (tensor == NULL)
        return NULL;
    assert_int_equal(tensor->dtype, GKA_F64);
    *count = gka_tensor_count(tensor);
    double *const values = gka_alloc((size_t)*count, sizeof *values);
    assert_non_null(values);
    const gka_view view = {tensor->data, GKA_F64, 4, {1, 1, 1, *count}, {0, 0, 0, 1}};
    gka_view_row(&view, 0, 0, 0, *count, values);
    return values;
}

/* FNV-1a, 64 bits, of a file. */
static uint64_t hash_of_file(const char *path) {
    FILE *const file = fopen(path, "rb");
    assert_non_null(file);
    uint64_t hash = 0xcbf29ce484222325;
    for (int c; (c = getc(file)) != EOF;)
        hash = (hash ^ (uint64_t)c) * 0x100000001b3;
    (void)fclose(file);
    return hash;
}

/* As GROUPED, with fewer tokens: two chunks, the second ragged. */
#define SMALLER                                                                                    \
    "{\"T\": 18, \"H\": 2, \"G\": 1, \"D\": 16, \"V\": 32, \"chunk\": 16, \"h0\": true, "          \
    "\"emulate\": \"h100\", \"seed\": 7, \"lo\": true"

#define GROUPED                                                                                    \
    "{\"T\": 21, \"H\": 4, \"G\": 2, \"D\": 16, \"V\": 32, \"chunk\": 16, \"h0\": true, "          \
    "\"emulate\": \"h100\", \"seed\": 7, \"lo\": true"

/* ---- bytes --------------------------------------------------------------------------------- */

static void test_same_spec_same_bytes(void **state) {
    (void)state;
    static const struct {
        const char *json;
        uint64_t hash;
    } pinned[] = {
        {GROUPED "}", 0x70ec3f8f607038f8},
        {"{\"T\": 9, \"D\": 8, \"dtype\": \"fp32\", \"gate\": \"none\", \"chunk\": 4}",
         0xe979e888cab52342},
        {"{\"T\": 9, \"D\": 16, \"dtype\": \"fp16\", \"problem\": \"repeat\"}", 0x94b1a5c1cb8a88a8},
        {"{\"T\": 514, \"D\": 8, \"V\": 0, \"plain\": true, \"chunk\": 16, \"iters\": 1, "
         "\"outputs\": \"forward\"}", /* x is longer than a block of those that are written */
         0x282f4648747fb990},
    };
    int different = 0;
    for (size_t i = 0; i < sizeof pinned / sizeof *pinned; i++)
        for (int threads = SANITIZED ? 3 : 1; threads <= 3; threads += 2) {
            gka_set_threads(threads);
            gka_file_close(make(pinned[i].json));
            const uint64_t hash = hash_of_file(PATH);
            if (hash == pinned[i].hash)
                continue;
            print_error("golden %d: 0x%016llx with %d threads\n", (int)i, (unsigned long long)hash,
                        threads);
            different++;
        }
    gka_set_threads(0);
    assert_int_equal(different, 0);
}

/* The spec in the metadata makes the same file again. */
static void test_spec_makes_it_again(void **state) {
    (void)state;
    gka_file *const file = make(SMALLER ", \"ridge\": 0.3}");
    const uint64_t hash = hash_of_file(PATH);
    char spec[1024];
    assert_true(strlen(gka_file_metadata(file, "spec")) < sizeof spec);
    strcpy(spec, gka_file_metadata(file, "spec"));
    gka_file_close(file);
    gka_file_close(make(spec));
    assert_true(hash_of_file(PATH) == hash);
}

/* A golden's inputs, given as a user's own, hash to the same and give the same references. */
static void test_inputs_of_ones_own(void **state) {
    (void)state;
    gka_file *const first = make(SMALLER "}");
    gka_golden_spec spec;
    gka_golden_spec_start(&spec);
    gka_error error = {0};
    assert_int_equal(gka_golden_generate(&spec, first, "golden_own.safetensors", NULL, &error),
                     GKA_OK);
    gka_file *second = NULL;
    assert_int_equal(gka_file_open("golden_own.safetensors", &second, &error), GKA_OK);
    assert_string_equal(gka_file_metadata(first, "inputs_sha256"),
                        gka_file_metadata(second, "inputs_sha256"));
    assert_string_equal(gka_file_metadata(first, "tolerances"),
                        gka_file_metadata(second, "tolerances"));
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        if (!gka_output_table[i].judged)
            continue;
        int64_t n = 0, m = 0;
        double *const a = doubles(first, gka_output_table[i].name, ".exact", &n);
        double *const b = doubles(second, gka_output_table[i].name, ".exact", &m);
        assert_true(a != NULL && b != NULL && n == m);
        assert_memory_equal(a, b, (size_t)n * sizeof *a);
        gka_free(a);
        gka_free(b);
    }
    gka_file_close(second);
    gka_file_close(first);
    assert_int_equal(unlink("golden_own.safetensors"), 0);
}

/* Of three tensors of known bytes; the sum is sha256sum's. */
static void test_hash_of_inputs(void **state) {
    (void)state;
    char text[65];
    const gka_tensor tensors[] = {{"q", GKA_BF16, 2, {1, 3}, "abcdef"},
                                  {"g", GKA_F32, 1, {0}, ""},
                                  {"k", GKA_F32, 0, {0}, "wxyz"}};
    gka_golden_hash_inputs(tensors, 3, NULL, text);
    assert_string_equal(text, "9443e4de2d9566ddf18b0bffa3703b7370a250d974f03c1a30d15a67185e3d83");
}

/* ---- what they say ------------------------------------------------------------------------- */

/* With r iterations the relative residual of x and of p is at most 1/T_{r+1}(1/rho), 1/rho =
 * 1 + 2a: for a = .3, r = 60 below 2 exp(-61 acosh(1.6)) = 4e-28. What is left is binary64's:
 * some n kappa u, kappa <= (a+1)/a = 4.4, n = 21 tokens of 16: below 1e-11 by far. */
static void test_steps_converge_to_exact(void **state) {
    (void)state;
    gka_file *const file = make(SMALLER ", \"ridge\": 0.3, \"iters\": 60}");
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        if (!gka_output_table[i].judged)
            continue;
        int64_t n = 0;
        double *const exact = doubles(file, gka_output_table[i].name, ".exact", &n);
        double *const steps = doubles(file, gka_output_table[i].name, ".steps", &n);
        assert_true(exact != NULL && steps != NULL);
        const double distance = gka_rel_err(n, steps, exact);
        if (!(distance < 1e-11))
            fail_msg("%s: %.3g", gka_output_table[i].name, distance);
        gka_free(exact);
        gka_free(steps);
    }
    gka_file_close(file);
}

/* A gate of exp(-3.4e38) ends what was before it and loses nothing after it in a kernel that is
 * right; keys of 2^20 make x small beside q, and o is x. Tolerances are as narrow as without
 * either. */
static void test_tolerances_at_extremes(void **state) {
    (void)state;
    for (int large = 0; large < 2; large++) {
        const gka_generator generator = {.keys = GKA_KEYS_IID,
                                         .gate = GKA_GATE_RELEASED,
                                         .B = 1,
                                         .T = 20,
                                         .H = 1,
                                         .G = 1,
                                         .D = 16,
                                         .V = 16,
                                         .dtype = large ? GKA_F32 : GKA_BF16,
                                         .seed = 4};
        gka_problem problem;
        gka_error error = {0};
        gka_file *inputs;
        if (gka_problem_generate(&generator, &problem, &error) != GKA_OK)
            fail_msg("%s", error.text);
        float *const g = (float *)(uintptr_t)problem.g.data, *const k =
                                                                 (float *)(uintptr_t)problem.k.data;
        for (int i = 0; large && i < 20 * 16; i++)
            k[i] *= 0x1p20f;
        g[10] = large ? g[10] : -3.4e38f;
        assert_int_equal(gka_problem_write(&problem, NULL, 0, "extreme.safetensors", &error),
                         GKA_OK);
        assert_int_equal(gka_file_open("extreme.safetensors", &inputs, &error), GKA_OK);
        const gka_golden_spec spec = spec_of("{\"outputs\": \"forward\"}");
        gka_file *file;
        if (gka_golden_generate(&spec, inputs, PATH, NULL, &error) != GKA_OK ||
            gka_file_open(PATH, &file, &error) != GKA_OK)
            fail_msg("%s", error.text);
        json_t *const all = json_loads(gka_file_metadata(file, "tolerances"), 0, NULL);
        static const char *const names[] = {"x", "o"};
        for (int i = 0; i < 2; i++) {
            const json_t *const tolerance =
                json_object_get(json_object_get(all, names[i]), "value");
            assert_true(json_is_real(tolerance));
            assert_true(json_real_value(tolerance) <= (large ? 0x1p-17 : 0x1p-4));
        }
        json_decref(all);
        gka_file_close(file);
        gka_file_close(inputs);
        gka_problem_free(&problem);
        (void)unlink("extreme.safetensors");
    }
}

/* Every tolerance lets the steps pass, and not zero; the emulated kernel passes. */
static void test_tolerances(void **state) {
    (void)state;
    gka_file *const file = make("{\"T\": 68, \"D\": 16, \"emulate\": \"h100\"}");
    json_t *const all = json_loads(gka_file_metadata(file, "tolerances"), 0, NULL);
    assert_int_equal(json_object_size(all), 14); /* no h0, so no solve.dh0 */
    const char *name;
    json_t *one;
    json_object_foreach(all, name, one) {
        const double value = json_number_value(json_object_get(one, "value"));
        const double floor = json_number_value(json_object_get(one, "floor"));
        const double stage = json_number_value(json_object_get(one, "panel"));
        int exponent;
        assert_true(value > 0 && value < .5 && bits_of(frexp(value, &exponent)) == bits_of(.5));
        assert_true(2 * fmax(floor, stage) <= value * 1.01 && 4 * fmax(floor, stage) > value);
        assert_true(floor <= 0x1p-8); /* one rounding to bf16 or fp32 */
        assert_true(stage > 0);
    }
    json_decref(all);
    gka_file_close(file);
}

/* ---- failure ------------------------------------------------------------------------------- */

static void test_bad_keys(void **state) {
    (void)state;
    static const struct {
        const char *key, *text, *line;
    } bad[] = {
        {"problem", "iidd",
         "problem is 'iidd': iid, powerlaw, lowrank, repeat, recall, mean, convsilu or aligned was "
         "expected"},
        {"B", "0", "B is '0': an integer from 1 to 1073741824 was expected"},
        {"H", "1.5", "H is '1.5': an integer from 1 to 1073741824 was expected"},
        {"G", "", "G is '': an integer from 1 to 1073741824 was expected"},
        {"D", "99999999999", "D is '99999999999': an integer from 1 to 1073741824 was expected"},
        {"pairs", "-1", "pairs is '-1': an integer from 0 to 1073741824 was expected"},
        {"dtype", "F32", "dtype is 'F32': bf16, fp16 or fp32 was expected"},
        {"chunk", "0", "chunk is '0': an integer from 1 to 1073741824 was expected"},
        {"iters", "1000001", "iters is '1000001': an integer from 1 to 1000000 was expected"},
        {"scale", "-1", "scale is '-1': a finite number > 0 was expected"},
        {"alpha", "1", "alpha is '1': false or true was expected"},
        {"plain", "", "plain is '': false or true was expected"},
        {"final", "no", "final is 'no': false or true was expected"},
        {"lo", "TRUE", "lo is 'TRUE': false or true was expected"},
        {"stage", "dv", "stage is 'dv': all, solve, output, dk, dg or decode was expected"},
        {"given", "x,",
         "given is 'x,': none, or of x, p, f and h_chunk, separated by commas, was "
         "expected"},
        {"T", "0", "T is '0': an integer from 1 to 1073741824 was expected"},
        {"T", "3x", "T is '3x': an integer from 1 to 1073741824 was expected"},
        {"V", "-1", "V is '-1': an integer from 0 to 1073741824 was expected"},
        {"gate", "weak", "gate is 'weak': none, slow, released, strong or init was expected"},
        {"h0", "yes", "h0 is 'yes': false or true was expected"},
        {"emulate", "a100", "emulate is 'a100': none or h100 was expected"},
        {"ridge", "nan", "ridge is 'nan': a finite number >= 0 was expected"},
        {"seed", "-1", "seed is '-1': an integer from 0 to 18446744073709551615 was expected"},
        {"seed", " -1", "seed is ' -1': an integer from 0 to 18446744073709551615 was expected"},
        {"seed", "18446744073709551616",
         "seed is '18446744073709551616': an integer from 0 to 18446744073709551615 was expected"},
        {"outputs", "forward,",
         "outputs is 'forward,': some of forward, states and backward, "
         "separated by commas, was expected"},
        {"edit", "one-key,",
         "edit is 'one-key,': of none, one-key, no-keys, late-keys, "
         "zero-queries, gamma-one, gamma-zero, gamma-tiny, subnormal, "
         "largest-value, largest-key, separated by commas, was expected"},
        {"lengths", "0,0", "lengths is '0,0': 0 tokens in all; 1 to 1073741824 were expected"},
        {"lengths", "1073741824,1",
         "lengths is '1073741824,1': 1073741825 tokens in all; 1 to 1073741824 were expected"},
        {"lengths", "3,-1",
         "lengths is '3,-1': none or at most 32 integers from 0 to 1073741824, "
         "separated by commas, was expected"},
        {"oracle", "fp64", "oracle is 'fp64': certified or mpfr was expected"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gka_golden_spec spec;
        gka_error error = {0};
        gka_golden_spec_start(&spec);
        assert_int_equal(gka_golden_spec_set(&spec, bad[i].key, bad[i].text, &error),
                         GKA_BAD_ARGUMENT);
        assert_string_equal(error.text, bad[i].line);
    }
    /* Every key of a spec is in the table. */
    gka_file *const file = make("{\"T\": 1, \"D\": 1, \"dtype\": \"fp32\"}");
    json_t *const made = json_loads(gka_file_metadata(file, "spec"), 0, NULL);
    const char *key;
    json_t *value;
    json_object_foreach(made, key, value) {
        bool there = false;
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
            there = there || strcmp(bad[i].key, key) == 0;
        if (!there)
            fail_msg("no bad value of '%s'", key);
    }
    json_decref(made);
    gka_file_close(file);
}

/* A golden is there where it was made, and only there. */
static gka_status generate_once(void *spec) {
    (void)unlink(PATH);
    const gka_status status = gka_golden_generate(spec, NULL, PATH, NULL, NULL);
    assert_true((access(PATH, F_OK) == 0) == (status == GKA_OK));
    return status;
}

static void test_survives_failing_allocations(void **state) {
    (void)state;
    gka_golden_spec spec = spec_of("{\"T\": 2, \"D\": 2, \"dtype\": \"fp32\", \"lo\": true}");
    gka_set_threads(1);
    (void)some_allocations_fail(generate_once, &spec, false, 8);
    gka_set_threads(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_spec_same_bytes),
        cmocka_unit_test(test_spec_makes_it_again),
        cmocka_unit_test(test_inputs_of_ones_own),
        cmocka_unit_test(test_hash_of_inputs),
        cmocka_unit_test(test_steps_converge_to_exact),
        cmocka_unit_test(test_tolerances_at_extremes),
        cmocka_unit_test(test_tolerances),
        cmocka_unit_test(test_bad_keys),
        cmocka_unit_test(test_survives_failing_allocations),
    };
    return cmocka_run_group_tests_name("make", tests, NULL, NULL);
}
