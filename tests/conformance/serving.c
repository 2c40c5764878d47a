/* serving.c - the authors' serving kernels (vllm-inference) on an H200 against their emulation,
 * element by element: prefill with grouped heads, beta and states, in one piece and in two, short
 * ones, then tokens one by one from the states it left.
 *
 * tests/data/h200/serving always; where GKA_H200_DATA names a folder, its serving/ (U in bf16 among
 * them) and its further captures too.
 */
#include "test.h"

#include "gka/chunk.h"
#include "gka/format.h"
#include "gka/io.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int64_t count_of(const gka_tensor *tensor) {
    int64_t count = 1;
    for (int i = 0; i < tensor->rank; i++)
        count *= tensor->shape[i];
    return count;
}

static double *room(const gka_file *file, const char *name) {
    const gka_tensor *const tensor = gka_file_find(file, name);
    return tensor ? calloc((size_t)count_of(tensor), sizeof(double)) : NULL;
}

/* Compares and frees; the outputs of another configuration are NAME.number. */
static void compare(const gka_file *file, const char *name, int number, double *values) {
    char full[64];
    snprintf(full, sizeof full, number ? "%s.%d" : "%s", name, number);
    const gka_tensor *const tensor = gka_file_find(file, full);
    if (!values)
        return;
    assert_non_null(tensor);
    const size_t count = (size_t)count_of(tensor);
    float *const given = calloc(count, sizeof *given);
    int64_t different = 0;
    gka_decode_array_f32(gka_format_of_dtype(tensor->dtype), count, tensor->data, given);
    for (size_t i = 0; i < count; i++)
        different += bits_of_f32(given[i]) != bits_of_f32((float)values[i]);
    if (different != 0)
        print_message("%s: %s: %lld of %zu differ\n", gka_file_path(file), full,
                      (long long)different, count);
    assert_true(different == 0);
    free(given);
    free(values);
}

typedef struct sample {
    const char *name;
    int64_t cut;         /* a second piece of the prefill begins here; 0: none */
    const char *setting; /* of the kernel, with the numbers of its outputs; NULL: the default */
    int prefill_o, decode_o, decode_h, decode_u;
    bool kept_elsewhere; /* of the longer captures, which a set need not hold */
} sample;

static void replay(const char *folder, const sample *s) {
    char path[1024];
    gka_file *file = NULL;
    gka_problem problem;
    gka_profile profile;
    gka_error error = {0};
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, s->name);
    if (s->kept_elsewhere && access(path, R_OK) != 0) {
        print_message("%s: not in this set\n", s->name);
        return;
    }
    assert_int_equal(gka_file_open(path, &file, &error), GKA_OK);
    assert_int_equal(gka_problem_from_file(file, &problem, NULL, &error), GKA_OK);
    assert_int_equal(gka_profile_find("h100", &profile, &error), GKA_OK);
    if (s->setting)
        assert_int_equal(gka_profile_set(&profile, s->setting, &error), GKA_OK);
    const gka_tensor *const u = gka_file_find(file, "decode.u");
    const char *const prefill = gka_file_metadata(file, "prefill");
    gka_serving how = {.prefill = prefill ? atoll(prefill) : problem.T,
                       .u_type = u && u->dtype == GKA_BF16 ? GKA_STATE_BF16 : GKA_STATE_FP32,
                       .cuts = s->cut > 0,
                       .cut = &s->cut};
    gka_served out = {.prefill_o = room(file, "prefill.o"),
                      .prefill_h = room(file, "prefill.h"),
                      .prefill_u = room(file, "prefill.u"),
                      .decode_o = room(file, "decode.o"),
                      .decode_h = room(file, "decode.h"),
                      .decode_u = room(file, "decode.u")};
    assert_int_equal(gka_chunk_serve(&problem, &profile, &how, &out, &error), GKA_OK);
    compare(file, "prefill.o", s->prefill_o, out.prefill_o);
    compare(file, "prefill.h", 0, out.prefill_h);
    compare(file, "prefill.u", 0, out.prefill_u);
    compare(file, "decode.o", s->decode_o, out.decode_o);
    compare(file, "decode.h", s->decode_h, out.decode_h);
    compare(file, "decode.u", s->decode_u, out.decode_u);
    print_message("%s %s: every element\n", s->name, s->setting ? s->setting : "");
    gka_problem_free(&problem);
    gka_file_close(file);
}

static void test_small_set(void **state) {
    (void)state;
    static const sample samples[] = {
        {.name = "t10"}, {.name = "states"}, {.name = "cut100", .cut = 100}, {.name = "ungated"}};
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++)
        replay(GKA_TEST_DATA "/h200/serving", &samples[i]);
}

static void test_full_set(void **state) {
    (void)state;
    static const sample samples[] = {
        {.name = "s_train"},
        {.name = "s_kv16"},
        {.name = "serve_a01"},
        {.name = "serve_d64"},
        {.name = "serve_d64", .setting = "solve.num_warps=1", .prefill_o = 1},
        {.name = "serve_d64", .setting = "solve.num_warps=2", .prefill_o = 2},
        {.name = "serve_d64", .setting = "solve.num_warps=8", .prefill_o = 3},
        {.name = "serve_d64", .setting = "decode.num_warps=8", .decode_o = 1, .decode_u = 1},
        {.name = "serve_d64", .setting = "decode.num_warps=2", .decode_o = 2, .decode_u = 2},
        {.name = "serve_d128"},
        {.name = "serve_d128", .setting = "solve.num_warps=1", .prefill_o = 1},
        {.name = "serve_d128", .setting = "solve.num_warps=2", .prefill_o = 4},
        {.name = "serve_d128", .setting = "solve.num_warps=8", .prefill_o = 2},
        {.name = "serve_d128", .setting = "decode.num_warps=8", .decode_o = 1, .decode_u = 1},
        {.name = "serve_d128",
         .setting = "decode.num_warps=2",
         .decode_o = 2,
         .decode_h = 1,
         .decode_u = 2},
        {.name = "serve_plain"},
        {.name = "serve_t30"},
        {.name = "serve_r1"},
        {.name = "serve_u_bf16"},
        {.name = "serve_cut64", .cut = 128}};
    const char *const folder = getenv("GKA_H200_DATA");
    if (!folder) {
        print_message("GKA_H200_DATA is not set: the longer set is not replayed\n");
        skip();
    }
    char serving[1024];
    snprintf(serving, sizeof serving, "%s/serving", folder);
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        sample one = samples[i];
        one.kept_elsewhere = strncmp(one.name, "serve_", 6) == 0;
        replay(serving, &one);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_set),
        cmocka_unit_test(test_full_set),
    };
    return cmocka_run_group_tests_name("serving", tests, NULL, NULL);
}
