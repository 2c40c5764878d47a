/* chunk.c - the emulated kernels against outputs of the hardware, element by element.
 *
 * tests/data/h100 always (twoterm/: the same inputs through kernels with the two-term iteration);
 * the longer set (released/full, released/decode, twoterm) where the environment variable
 * GKA_H100_DATA names the folder that holds it. A stored element counts as identical when its
 * encoding is. Every tensor must be identical throughout.
 */
#include "test.h"

#include "gka/chunk.h"

#include <stdlib.h>

static int64_t count_of(const gka_tensor *tensor) {
    int64_t count = 1;
    for (int i = 0; i < tensor->rank; i++)
        count *= tensor->shape[i];
    return count;
}

static double *room(const gka_file *file, const char *prefix, const char *name) {
    char full[64];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const gka_tensor *const tensor = gka_file_find(file, full);
    return tensor ? calloc((size_t)count_of(tensor), sizeof(double)) : NULL;
}

/* The encoding of x in the tensor's type, and the one stored there. */
static bool identical(const gka_tensor *tensor, int64_t i, double x) {
    if (tensor->dtype == GKA_F32) {
        uint32_t stored;
        memcpy(&stored, (const char *)tensor->data + 4 * i, sizeof stored);
        return stored == bits_of_f32((float)x);
    }
    assert_int_equal(tensor->dtype, GKA_BF16);
    uint16_t stored;
    memcpy(&stored, (const char *)tensor->data + 2 * i, sizeof stored);
    return (uint32_t)stored << 16 == bits_of_f32((float)x);
}

static void compare(const gka_file *file, const char *prefix, const char *name, double *out) {
    char full[64];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const gka_tensor *const tensor = gka_file_find(file, full);
    if (!out)
        return;
    int64_t same = 0;
    const int64_t count = count_of(tensor);
    for (int64_t i = 0; i < count; i++)
        same += identical(tensor, i, out[i]);
    const double share = (double)same / (double)count;
    const char *const base = strrchr(gka_file_path(file), '/');
    print_message("%-26s %-13s %9.5f %% (%lld of %lld differ)\n", base ? base + 1 : "", full,
                  100 * share, (long long)(count - same), (long long)count);
    free(out);
    assert_true(same == count);
}

/* Every stored output of `outputs`, computed from the tensors of `inputs`. */
static void replay(const char *inputs, const char *outputs, gka_form form, bool decode) {
    gka_file *in = NULL, *file = NULL;
    gka_problem problem;
    gka_profile profile;
    gka_error error = {0};
    assert_int_equal(gka_file_open(inputs, &in, &error), GKA_OK);
    assert_int_equal(gka_file_open(outputs, &file, &error), GKA_OK);
    assert_int_equal(gka_problem_from_file(in, &problem, NULL, &error), GKA_OK);
    assert_int_equal(gka_profile_find("h100", &profile, &error), GKA_OK);
    profile.form = form;
    gka_outputs out = {.x = room(file, "", "x"),
                       .fro = room(file, "", "fro"),
                       .g_cumsum = room(file, "", "g_cumsum"),
                       .o = room(file, "", "o"),
                       .h_chunk = room(file, "", "h_chunk"),
                       .h_final = room(file, "", "h_final"),
                       .u_final = room(file, "", "u_final")};
    if (decode)
        assert_int_equal(gka_chunk_decode(&problem, &profile, &out, &error), GKA_OK);
    else
        assert_int_equal(gka_chunk_forward(&problem, &profile, &out, NULL, NULL, &error), GKA_OK);
    compare(file, "", "x", out.x);
    compare(file, "", "fro", out.fro);
    compare(file, "", "g_cumsum", out.g_cumsum);
    compare(file, "", "o", out.o);
    compare(file, "", "h_chunk", out.h_chunk);
    compare(file, "", "h_final", out.h_final);
    compare(file, "", "u_final", out.u_final);
    for (int layer = 0; layer < 2 && !decode; layer++) {
        const char *const prefix = layer ? "layer." : "solve.";
        const gka_of of = layer ? GKA_OF_O : GKA_OF_X;
        gka_outputs grad = {0};
        grad.gradient[of] = (gka_gradients){.dq = room(file, prefix, "dq"),
                                            .dk = room(file, prefix, "dk"),
                                            .dv = room(file, prefix, "dv"),
                                            .dalpha = room(file, prefix, "dalpha"),
                                            .dg = room(file, prefix, "dg"),
                                            .dh0 = room(file, prefix, "dh0")};
        if (!grad.gradient[of].dq)
            continue;
        assert_int_equal(gka_chunk_backward(&problem, &profile, of, true, NULL, &grad, &error),
                         GKA_OK);
        compare(file, prefix, "dq", grad.gradient[of].dq);
        compare(file, prefix, "dk", grad.gradient[of].dk);
        compare(file, prefix, "dv", grad.gradient[of].dv);
        compare(file, prefix, "dalpha", grad.gradient[of].dalpha);
        compare(file, prefix, "dg", grad.gradient[of].dg);
        compare(file, prefix, "dh0", grad.gradient[of].dh0);
    }
    gka_problem_free(&problem);
    gka_file_close(file);
    gka_file_close(in);
}

static void test_small_set(void **state) {
    (void)state;
    static const char *const files[] = {"d64",    "h0",   "iid_gated", "iid_ungated",
                                        "ragged", "slow", "decode"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[1024];
        snprintf(path, sizeof path, GKA_TEST_DATA "/h100/%s.safetensors", files[i]);
        replay(path, path, GKA_THREE_TERM, !strcmp(files[i], "decode"));
    }
}

static void test_small_two_term(void **state) {
    (void)state;
    static const char *const files[] = {"d64", "iid_gated"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char in[1024], out[1024];
        snprintf(in, sizeof in, GKA_TEST_DATA "/h100/%s.safetensors", files[i]);
        snprintf(out, sizeof out, GKA_TEST_DATA "/h100/twoterm/%s.safetensors", files[i]);
        replay(in, out, GKA_TWO_TERM, false);
    }
}

static const char *full_set(void) {
    const char *const folder = getenv("GKA_H100_DATA");
    if (!folder)
        print_message("GKA_H100_DATA is not set: the longer set is not replayed\n");
    return folder;
}

static void test_full_set(void **state) {
    (void)state;
    static const char *const files[] = {"full/a005_r60_c32", "full/a01_r15",    "full/d64_ungated",
                                        "full/lowrank",      "full/powerlaw",   "full/repeat",
                                        "full/repeat_a005",  "full/repeat_a01", "full/slow_long",
                                        "full/strong",       "full/two_heads",  "full/ungated_long",
                                        "decode/decode0",    "decode/decode1",  "decode/decode2"};
    const char *const folder = full_set();
    if (!folder)
        skip();
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/released/%s.safetensors", folder, files[i]);
        replay(path, path, GKA_THREE_TERM, !strncmp(files[i], "decode", 6));
    }
}

static void test_two_term(void **state) {
    (void)state;
    static const struct {
        const char *set, *name;
    } files[] = {{"full", "a005_r60_c32"}, {"small", "d64"},     {"small", "iid_gated"},
                 {"small", "iid_ungated"}, {"full", "powerlaw"}, {"full", "repeat"},
                 {"full", "repeat_a005"}};
    const char *const folder = full_set();
    if (!folder)
        skip();
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char in[1024], out[1024];
        snprintf(in, sizeof in, "%s/released/%s/%s.safetensors", folder, files[i].set,
                 files[i].name);
        snprintf(out, sizeof out, "%s/twoterm/%s.safetensors", folder, files[i].name);
        replay(in, out, GKA_TWO_TERM, false);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_set),
        cmocka_unit_test(test_small_two_term),
        cmocka_unit_test(test_full_set),
        cmocka_unit_test(test_two_term),
    };
    return cmocka_run_group_tests_name("chunk", tests, NULL, NULL);
}
