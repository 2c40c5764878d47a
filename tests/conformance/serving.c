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
    const bool decoded = gka_file_find(file, "prefill.o") == NULL;
    gka_serving how = {.prefill = prefill   ? atoll(prefill)
                                  : decoded ? 0
                                            : problem.T,
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

/* Elements of a stored tensor from `from` on that the values do not give. */
static int64_t unlike(const gka_file *file, const char *name, int64_t from, int64_t count,
                      const double *values) {
    const gka_tensor *const t = gka_file_find(file, name);
    float *const given = calloc((size_t)count_of(t), sizeof *given);
    int64_t different = 0;
    gka_decode_array_f32(gka_format_of_dtype(t->dtype), (size_t)count_of(t), t->data, given);
    for (int64_t i = from; i < from + count; i++)
        different += bits_of_f32(given[i]) != bits_of_f32((float)values[i]);
    free(given);
    return different;
}

/* A configuration that Triton 3.6 compiles wrong on an H200 (experiments/REPORTS.md): of the first
 * chunk's rows the first 16, which one warp has, are right, and no other is. */
static void test_miscompiled(void **state) {
    (void)state;
    gka_file *file = NULL;
    gka_problem p;
    gka_profile profile;
    gka_error error = {0};
    assert_int_equal(
        gka_file_open(GKA_TEST_DATA "/h200/serving/miscompiled.safetensors", &file, &error),
        GKA_OK);
    assert_int_equal(gka_problem_from_file(file, &p, NULL, &error), GKA_OK);
    assert_int_equal(gka_profile_find("h100", &profile, &error), GKA_OK);
    double *const o = room(file, "prefill.o");
    const gka_served out = {.prefill_o = o};
    assert_int_equal(gka_chunk_serve(&p, &profile, &(gka_serving){.prefill = p.T}, &out, &error),
                     GKA_OK);
    for (int64_t t = 0; t < p.T; t++) {
        const int64_t row = p.H * p.V, different = unlike(file, "prefill.o", t * row, row, o);
        assert_true(t < 16 ? different == 0 : different > row / 2);
    }
    free(o);
    gka_problem_free(&p);
    gka_file_close(file);
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
        {.name = "serve_d128", .setting = "solve.num_warps=2", .prefill_o = 2},
        {.name = "serve_d128", .setting = "solve.num_warps=8", .prefill_o = 3},
        {.name = "serve_d128", .setting = "output.num_warps=2", .prefill_o = 4},
        {.name = "serve_d128", .setting = "decode.num_warps=8", .decode_o = 1, .decode_u = 1},
        {.name = "serve_d128",
         .setting = "decode.num_warps=2",
         .decode_o = 2,
         .decode_h = 1,
         .decode_u = 2},
        {.name = "serve_plain"},
        {.name = "serve_states"},
        {.name = "serve_ungated"},
        {.name = "serve_t2"},
        {.name = "serve_t10"},
        {.name = "serve_t17"},
        {.name = "serve_t30"},
        {.name = "serve_r1"},
        {.name = "serve_u_bf16"},
        {.name = "serve_cut0"},
        {.name = "serve_cut64", .cut = 128},
        {.name = "serve_cut100", .cut = 100},
        {.name = "serve_cut0_d128"},
        {.name = "serve_cut64_d128", .cut = 64},
        {.name = "serve_cut90_d128", .cut = 90}};
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

/* ---- sequences of a batch, and long runs --------------------------------------------------- */

enum { ROOM = 24 };

/* A copy of the file's tensors, tokens [1, steps N] of N sequences put as [N, steps] where `turn`;
 * with `bounds`, as cu_seqlens of packed sequences. */
static void write_copy(const gka_file *file, int64_t N, bool turn, const int64_t *bounds,
                       const char *path) {
    gka_tensor tensors[ROOM];
    void *bytes[ROOM] = {NULL};
    gka_text_pair pairs[4];
    size_t count = 0, pair_count = 0;
    gka_error error = {0};
    static const char *const keys[] = {"ridge_ratio", "num_iter", "chunk_size", "scale"};
    for (int i = 0; i < 4; i++)
        pairs[pair_count++] = (gka_text_pair){keys[i], gka_file_metadata(file, keys[i])};
    for (size_t i = 0; i < gka_file_count(file); i++) {
        gka_tensor t = *gka_file_tensor(file, i);
        const size_t all = (size_t)count_of(&t) * gka_dtype_size(t.dtype);
        if (turn && t.shape[0] == 1) {
            const size_t row = all / (size_t)t.shape[1];
            const int64_t steps = t.shape[1] / N;
            char *const to = bytes[count] = malloc(all);
            for (int64_t n = 0; n < N; n++)
                for (int64_t step = 0; step < steps; step++)
                    memcpy(to + (size_t)(n * steps + step) * row,
                           (const char *)t.data + (size_t)(step * N + n) * row, row);
            t.shape[0] = N, t.shape[1] = steps, t.data = to;
        }
        tensors[count++] = t;
    }
    if (bounds != NULL)
        tensors[count++] = (gka_tensor){"cu_seqlens", GKA_I64, 1, {N + 1}, bounds};
    assert_int_equal(gka_file_write(path, tensors, count, pairs, pair_count, &error), GKA_OK);
    for (size_t i = 0; i < count; i++)
        free(bytes[i]);
}

/* The integers of "KEY": [..] in the capture's spec; how many there are. */
static int64_t list_of(const gka_file *file, const char *key, int64_t *list) {
    const char *at = strstr(gka_file_metadata(file, "spec"), key);
    int64_t n = 0;
    assert_non_null(at);
    for (at = strchr(at, '['); *at != ']'; at += 1 + strcspn(at + 1, ",]"))
        list[n++] = strtoll(at + 1, NULL, 10);
    return n;
}

/* Packed sequences, the second of them empty. flash-linear-attention counts the sequences that have
 * chunks, so that those after an empty one are taken for the one before: up to there every element
 * is the emulation's. Then o is of another sequence's states, and gates of the last chunks are not
 * summed (experiments/REPORTS.md). */
static void replay_packed(const gka_file *file, const int64_t *bounds, int64_t N) {
    gka_problem p;
    gka_profile profile;
    gka_error error = {0};
    assert_int_equal(gka_problem_from_file(file, &p, NULL, &error), GKA_OK);
    assert_int_equal(gka_profile_find("h100", &profile, &error), GKA_OK);
    const int64_t row = p.H * p.V, DD = p.H * p.D * p.D, DV = p.H * p.D * p.V;
    const gka_serving how = {.prefill = p.T};
    const gka_served out = {.prefill_o = room(file, "prefill.o"),
                            .prefill_h = room(file, "prefill.h"),
                            .prefill_u = room(file, "prefill.u")};
    assert_int_equal(gka_chunk_serve(&p, &profile, &how, &out, &error), GKA_OK);
    assert_int_equal(bounds[1], bounds[2]);
    assert_true(unlike(file, "prefill.o", 0, bounds[1] * row, out.prefill_o) == 0);
    assert_true(unlike(file, "prefill.h", 0, 2 * DD, out.prefill_h) == 0);
    assert_true(unlike(file, "prefill.u", 0, 2 * DV, out.prefill_u) == 0);
    const int64_t rest = (bounds[N] - bounds[2]) * row;
    const int64_t wrong = unlike(file, "prefill.o", bounds[2] * row, rest, out.prefill_o);
    print_message("behind the empty sequence: o differs in %lld of %lld\n", (long long)wrong,
                  (long long)rest);
    assert_true(wrong > rest / 2);
    free(out.prefill_o), free(out.prefill_h), free(out.prefill_u);
    gka_problem_free(&p);
}

/* Packed sequences, one of them empty; or one token after another of each sequence of a batch, its
 * states in a slot. */
static void replay_batch(const char *folder, const char *name, bool packed) {
    char path[1024];
    gka_file *file = NULL;
    gka_error error = {0};
    int64_t list[ROOM];
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, name);
    if (access(path, R_OK) != 0) {
        print_message("%s: not in this set\n", name);
        return;
    }
    assert_int_equal(gka_file_open(path, &file, &error), GKA_OK);
    const int64_t n = list_of(file, packed ? "bounds" : "slots", list), N = packed ? n - 1 : n;
    write_copy(file, N, !packed, packed ? list : NULL, "serving_batch.safetensors");
    gka_file_close(file);
    if (packed) {
        assert_int_equal(gka_file_open("serving_batch.safetensors", &file, &error), GKA_OK);
        replay_packed(file, list, N);
        gka_file_close(file);
    } else {
        replay(".", &(sample){.name = "serving_batch"});
    }
    print_message("%s: every element\n", name);
}

/* 4,096 tokens from the states of a prefill, some of them kept (a span of each 512). */
static void replay_long(const char *folder, const char *name, gka_state_type h, gka_state_type u) {
    char path[1024];
    gka_file *file = NULL;
    gka_problem p;
    gka_profile profile;
    gka_error error = {0};
    int64_t keep[ROOM];
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, name);
    if (access(path, R_OK) != 0) {
        print_message("%s: not in this set\n", name);
        return;
    }
    assert_int_equal(gka_file_open(path, &file, &error), GKA_OK);
    assert_int_equal(gka_problem_from_file(file, &p, NULL, &error), GKA_OK);
    assert_int_equal(gka_profile_find("h100", &profile, &error), GKA_OK);
    assert_int_equal(list_of(file, "keep", keep), 2);
    const int64_t P = atoll(gka_file_metadata(file, "prefill")), row = p.H * p.V;
    double *const o = calloc((size_t)((p.T - P) * row), sizeof *o), *const kept =
                                                                        room(file, "decode.o");
    const gka_served out = {
        .decode_o = o, .decode_h = room(file, "decode.h"), .decode_u = room(file, "decode.u")};
    const gka_serving how = {.prefill = P, .h_type = h, .u_type = u};
    assert_int_equal(gka_chunk_serve(&p, &profile, &how, &out, &error), GKA_OK);
    int64_t n = 0;
    for (int64_t t = 0; t < p.T - P; t++)
        if (t % keep[0] < keep[1])
            memcpy(kept + n++ * row, o + t * row, (size_t)row * sizeof *o);
    compare(file, "decode.o", 0, kept);
    compare(file, "decode.h", 0, out.decode_h);
    compare(file, "decode.u", 0, out.decode_u);
    print_message("%s: every element after %lld tokens\n", name, (long long)(p.T - P));
    free(o);
    gka_problem_free(&p);
    gka_file_close(file);
}

static void test_batches_and_long_runs(void **state) {
    (void)state;
    const char *const folder = getenv("GKA_H200_DATA");
    if (!folder) {
        print_message("GKA_H200_DATA is not set: batches and long runs are not replayed\n");
        skip();
    }
    char at[1024];
    snprintf(at, sizeof at, "%s/serving", folder);
    replay_batch(at, "serve_packed", true);
    replay_batch(at, "serve_packed_d128", true);
    replay_batch(at, "serve_slots012", false);
    replay_batch(at, "serve_slots201", false);
    replay_batch(at, "serve_slots01", false);
    replay_batch(at, "serve_slots10", false);
    replay_long(at, "serve_long_fp32_fp32", GKA_STATE_FP32, GKA_STATE_FP32);
    replay_long(at, "serve_long_fp32_bf16", GKA_STATE_FP32, GKA_STATE_BF16);
    replay_long(at, "serve_long_bf16_fp32", GKA_STATE_BF16, GKA_STATE_FP32);
    replay_long(at, "serve_long_bf16_bf16", GKA_STATE_BF16, GKA_STATE_BF16);
    replay_long(at, "serve_long_fp16_fp16", GKA_STATE_FP16, GKA_STATE_FP16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_set),
        cmocka_unit_test(test_miscompiled),
        cmocka_unit_test(test_full_set),
        cmocka_unit_test(test_batches_and_long_runs),
    };
    return cmocka_run_group_tests_name("serving", tests, NULL, NULL);
}
