/* auto.c - gka_configuration_find: files emulated by random mixed configurations of the autotuned
 * kernels are found, or a configuration is named that gives the same bits, and then the search says
 * so. A file in which one bit is another's is found to be nobody's.
 *
 * The same for the six outputs of a server, over problems of several kinds.
 *
 *   property_auto [CONFIGURATIONS T H D]    6 130 1 64; prints the space, the runs and the time
 */
#include "test.h"

#include "gka/format.h"
#include "gka/io.h"
#include "gka/judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int configurations = 6;
static int64_t T = 130, H = 1, D = 64;

static const gka_output_id outputs[] = {
    GKA_OUT_X,        GKA_OUT_FRO,      GKA_OUT_O,        GKA_OUT_SOLVE_DQ,     GKA_OUT_SOLVE_DK,
    GKA_OUT_SOLVE_DG, GKA_OUT_LAYER_DQ, GKA_OUT_LAYER_DK, GKA_OUT_LAYER_DALPHA, GKA_OUT_LAYER_DG};
enum { OUTPUTS = sizeof outputs / sizeof *outputs };

static unsigned draw(uint64_t at, unsigned below) {
    const uint64_t counter[4] = {at, 0, 0, 0}, key[2] = {50, 16};
    uint64_t bits[4];
    gka_philox(counter, key, bits);
    return (unsigned)(bits[0] % below);
}

/* Every list drawn from, whether its choice changes a bit or not. */
static void draw_configuration(int number, gka_profile *profile) {
    static const struct {
        gka_launch kernel;
        int count, warps[4];
    } lists[] = {{GKA_LAUNCH_SOLVE, 4, {1, 2, 4, 8}},  {GKA_LAUNCH_SOLVE_DK, 4, {1, 2, 4, 8}},
                 {GKA_LAUNCH_STATES, 4, {1, 2, 4, 8}}, {GKA_LAUNCH_OUTPUT, 3, {2, 4, 8}},
                 {GKA_LAUNCH_OUTPUT_BWD, 2, {2, 4}},   {GKA_LAUNCH_GATES, 4, {1, 2, 4, 8}}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        profile->num_warps[lists[i].kernel] =
            lists[i].warps[draw((uint64_t)(number * 8) + i, (unsigned)lists[i].count)];
}

/* What the profile gives, in the types that kernels store. */
typedef struct run {
    gka_tensor tensors[OUTPUTS];
    void *bytes[OUTPUTS];
} run;

static void run_free(run *r) {
    for (int i = 0; i < OUTPUTS; i++)
        free(r->bytes[i]);
}

static run emulate(const gka_problem *problem, const gka_profile *profile) {
    run r = {0};
    gka_kernel kernel;
    gka_error error = {0};
    gka_outputs out = {0};
    assert_int_equal(gka_kernel_find("h100", &kernel, &error), GKA_OK);
    kernel.profile = *profile;
    for (int i = 0; i < OUTPUTS; i++)
        out.of[outputs[i]] = calloc((size_t)gka_output_count(problem, outputs[i]), sizeof(double));
    if (gka_kernel_run(&kernel, problem, NULL, &out, NULL, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
    for (int i = 0; i < OUTPUTS; i++) {
        gka_tensor *const tensor = &r.tensors[i];
        const size_t count = (size_t)gka_output_count(problem, outputs[i]);
        *tensor = (gka_tensor){.name = gka_output_table[outputs[i]].name,
                               .dtype = gka_output_dtype(problem, outputs[i])};
        tensor->rank = gka_output_shape(problem, outputs[i], tensor->shape);
        tensor->data = r.bytes[i] = calloc(count, gka_dtype_size(tensor->dtype));
        gka_store_array(tensor->dtype, count, out.of[outputs[i]], r.bytes[i]);
        free(out.of[outputs[i]]);
    }
    return r;
}

static bool same_bytes(const run *a, const run *b) {
    bool same = true;
    for (int i = 0; i < OUTPUTS; i++)
        same = same && memcmp(a->bytes[i], b->bytes[i],
                              (size_t)gka_tensor_count(&a->tensors[i]) *
                                  gka_dtype_size(a->tensors[i].dtype)) == 0;
    return same;
}

static gka_configuration find(const gka_problem *problem, const run *r, gka_profile *profile) {
    gka_configuration found;
    gka_file *file = NULL;
    gka_error error = {0};
    assert_int_equal(gka_file_write("auto.safetensors", r->tensors, OUTPUTS, NULL, 0, &error),
                     GKA_OK);
    assert_int_equal(gka_file_open("auto.safetensors", &file, &error), GKA_OK);
    if (gka_configuration_find(file, problem, profile, &found, &error) != GKA_OK)
        fail_msg("%s", error.text);
    gka_file_close(file);
    return found;
}

static void made(gka_problem *problem) {
    const gka_generator spec = {.keys = GKA_KEYS_IID,
                                .gate = GKA_GATE_SLOW,
                                .B = 1,
                                .T = T,
                                .H = H,
                                .G = H,
                                .D = D,
                                .V = D,
                                .alpha = true,
                                .cotangents = true,
                                .dtype = GKA_BF16,
                                .num_iter = 6,
                                .seed = 3};
    gka_error error = {0};
    assert_int_equal(gka_problem_generate(&spec, problem, &error), GKA_OK);
}

static const gka_launch deciding[] = {GKA_LAUNCH_SOLVE, GKA_LAUNCH_SOLVE_DK, GKA_LAUNCH_OUTPUT_BWD,
                                      GKA_LAUNCH_GATES};

/* Whether the drawn choice is the found one: the sums of gates by 2, 4, 8 warps are one choice. */
static bool is_choice(const gka_profile *drawn, const gka_profile *found) {
    bool is = true;
    for (size_t i = 0; i < sizeof deciding / sizeof *deciding; i++) {
        const int a = drawn->num_warps[deciding[i]], b = found->num_warps[deciding[i]];
        is = is && (a == b || (deciding[i] == GKA_LAUNCH_GATES && a > 1 && b > 1));
    }
    return is;
}

static const char *text_of(const gka_profile *profile, char text[160]) {
    int used = 0;
    for (int i = 0; i < GKA_LAUNCHES; i++)
        if (profile->num_warps[i] > 0)
            used += snprintf(text + used, (size_t)(160 - used), "%s%s=%d", used > 0 ? " " : "",
                             gka_launch_name((gka_launch)i), profile->num_warps[i]);
    return text;
}

static void prop_mixed_configurations_are_found(void **state) {
    (void)state;
    gka_problem problem;
    int exactly = 0, alike = 0, tried = 0;
    double known = 0, longest = 0;
    made(&problem);
    for (int i = 0; i < configurations; i++) {
        gka_profile drawn, profile;
        gka_error error = {0};
        char a[160], b[160];
        assert_int_equal(gka_profile_find("h100", &drawn, &error), GKA_OK);
        profile = drawn;
        draw_configuration(i, &drawn);
        run r = emulate(&problem, &drawn);
        const clock_t start = clock();
        const gka_configuration found = find(&problem, &r, &profile);
        longest = fmax(longest, (double)(clock() - start) / CLOCKS_PER_SEC);
        if (found.different != 0)
            fail_msg("file %d: %lld elements differ, the first is %s[%lld]; drawn %s, found %s", i,
                     (long long)found.different, found.name, (long long)found.at,
                     text_of(&drawn, a), text_of(&profile, b));
        if (is_choice(&drawn, &profile)) {
            exactly++;
        } else { /* then it must give the same bits, and the search must know that there are more */
            run again = emulate(&problem, &profile);
            assert_true(same_bytes(&r, &again));
            assert_true(found.alike + found.alike_gates > 0);
            run_free(&again);
            alike++;
        }
        known = found.known;
        tried = found.tried > tried ? found.tried : tried;
        run_free(&r);
    }
    print_message("%d files: %d found, %d indistinguishable; %.3g choices known, at most %d runs, "
                  "at most %.2f s of processor time\n",
                  configurations, exactly, alike, known, tried, longest);
    gka_problem_free(&problem);
}

static void test_one_bit_of_another(void **state) {
    (void)state;
    gka_problem problem;
    gka_profile profile;
    gka_error error = {0};
    made(&problem);
    assert_int_equal(gka_profile_find("h100", &profile, &error), GKA_OK);
    run r = emulate(&problem, &profile);
    ((unsigned char *)r.bytes[0])[2 * 77] ^= 1; /* the last bit of x[77], little-endian */
    const gka_configuration found = find(&problem, &r, &profile);
    assert_int_equal(found.different, 1);
    assert_string_equal(found.name, "x");
    assert_int_equal(found.at, 77);
    run_free(&r);
    gka_problem_free(&problem);
}

/* A NaN is a NaN, whatever its sign: a GPU and a CPU give it another. */
static void test_nan_is_nan(void **state) {
    (void)state;
    gka_problem problem;
    gka_profile profile;
    gka_error error = {0};
    int64_t some = 0;
    made(&problem);
    ((uint16_t *)(uintptr_t)problem.q.data)[64] = 0x7fc0; /* token 1 */
    assert_int_equal(gka_profile_find("h100", &profile, &error), GKA_OK);
    run r = emulate(&problem, &profile);
    uint16_t *const x = r.bytes[0];
    for (int64_t i = 0; i < gka_tensor_count(&r.tensors[0]); i++)
        if ((x[i] & 0x7fff) > 0x7f80) {
            x[i] ^= 0x8000;
            some++;
        }
    assert_true(some > 0);
    assert_int_equal(find(&problem, &r, &profile).different, 0);
    x[0] = 0x7fc0; /* and a number is none */
    assert_int_equal(find(&problem, &r, &profile).different, 1);
    run_free(&r);
    gka_problem_free(&problem);
}

/* ---- servers ------------------------------------------------------------------------------- */

enum { SERVED = 6, TENSORS = 24 };

static const struct kind {
    const char *name;
    int64_t D, T, prefill, G, N; /* N > 0: sequences of a batch, packed, all prefilled */
    gka_gate gate;
    bool beta, states;
    gka_dtype dtype;
    double ridge;
    int num_iter;
} kinds[] = {
    {"grouped heads, D = 64", 64, 90, 78, 2, 0, GKA_GATE_SLOW, true, false, GKA_BF16, .02, 6},
    {"a = .1, D = 128", 128, 74, 66, 1, 0, GKA_GATE_INIT, true, false, GKA_BF16, .1, 4},
    {"no gates, states", 64, 72, 65, 2, 0, GKA_GATE_NONE, true, true, GKA_BF16, .05, 3},
    {"fp16, no beta", 128, 70, 66, 2, 0, GKA_GATE_SLOW, false, true, GKA_F16, .02, 3},
    {"packed", 64, 150, 150, 2, 3, GKA_GATE_SLOW, true, false, GKA_BF16, .02, 4},
    {"a short prefill", 128, 24, 20, 2, 0, GKA_GATE_SLOW, true, false, GKA_BF16, .02, 4},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static const int64_t packed_bounds[] = {0, 70, 70 + 17, 150};

static void made_served(const struct kind *k, gka_problem *problem) {
    const gka_generator spec = {.keys = GKA_KEYS_IID,
                                .gate = k->gate,
                                .B = 1,
                                .T = k->T,
                                .H = 2,
                                .G = k->G,
                                .D = k->D,
                                .V = k->D,
                                .alpha = true,
                                .h0 = k->states,
                                .dtype = k->dtype,
                                .ridge_ratio = k->ridge,
                                .num_iter = k->num_iter,
                                .seed = 16};
    const gka_preparation how = {
        .normalise = GKA_NORMALISE_UNIT, .beta = k->beta, .gate = -1, .dtype = -1, .seed = 5};
    gka_problem plain;
    gka_error error = {0};
    if (gka_problem_generate(&spec, &plain, &error) != GKA_OK ||
        gka_problem_prepare(&plain, &how, problem, &error) != GKA_OK)
        fail_msg("%s: %s", k->name, error.text);
    gka_problem_free(&plain);
    if (k->N > 0) {
        problem->N = k->N;
        problem->cu_seqlens = packed_bounds;
    }
}

/* Every list of a server's kernels. */
static void draw_served(int number, gka_profile *profile) {
    static const struct {
        gka_launch kernel;
        int count, warps[4];
    } lists[] = {{GKA_LAUNCH_SOLVE, 4, {1, 2, 4, 8}},
                 {GKA_LAUNCH_OUTPUT, 3, {2, 4, 8}},
                 {GKA_LAUNCH_DECODE, 3, {2, 4, 8}},
                 {GKA_LAUNCH_STATES, 3, {2, 4, 8}},
                 {GKA_LAUNCH_GATES, 4, {1, 2, 4, 8}}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        profile->num_warps[lists[i].kernel] =
            lists[i].warps[draw((uint64_t)(4096 + number * 8) + i, (unsigned)lists[i].count)];
}

/* The six outputs as doubles; returns how many there are of each in counts. */
static void serve(const struct kind *k, const gka_problem *p, const gka_profile *profile,
                  double *of[SERVED], size_t counts[SERVED]) {
    const gka_serving how = {.prefill = k->prefill};
    const size_t o = (size_t)(p->H * p->V), state = (size_t)(p->N * p->H * p->D * p->D);
    for (int i = 0; i < SERVED; i++) {
        counts[i] = i == 0   ? (size_t)k->prefill * o
                    : i == 3 ? (size_t)(k->T - k->prefill) * o
                             : state;
        of[i] = calloc(counts[i] + 1, sizeof(double));
    }
    const gka_served out = {of[0], of[1], of[2], of[3], of[4], of[5]};
    gka_error error = {0};
    if (gka_chunk_serve(p, profile, &how, &out, &error) != GKA_OK)
        fail_msg("%s: %s", k->name, error.text);
}

/* A file as a server's dump has it: inputs, what the drawn configuration gives, its metadata. */
static void write_served(const struct kind *k, const gka_problem *p, double *const of[SERVED],
                         const size_t counts[SERVED]) {
    gka_tensor tensors[TENSORS];
    char prefill[24], ridge[24], iters[24], scale[32];
    const gka_text_pair more[] = {
        {"prefill", prefill}, {"ridge_ratio", ridge}, {"num_iter", iters}, {"scale", scale}};
    void *bytes[SERVED];
    size_t count = gka_problem_tensors(p, tensors);
    gka_error error = {0};
    snprintf(prefill, sizeof prefill, "%d", (int)k->prefill);
    snprintf(ridge, sizeof ridge, "%.17g", p->ridge_ratio);
    snprintf(iters, sizeof iters, "%d", p->num_iter);
    snprintf(scale, sizeof scale, "%.17g", p->scale);
    for (int i = 0; i < SERVED; i++) {
        const gka_dtype dtype = i % 3 == 0 ? k->dtype : GKA_F32;
        gka_tensor t = {.name = gka_serving_names[i], .dtype = dtype, .rank = 4};
        const int64_t tokens = i == 0 ? k->prefill : k->T - k->prefill;
        const int64_t o[] = {1, tokens, p->H, p->V}, state[] = {p->N, p->H, p->D, p->D};
        memcpy(t.shape, i % 3 == 0 ? o : state, sizeof o);
        t.data = bytes[i] = calloc(counts[i] + 1, gka_dtype_size(dtype));
        gka_store_array(dtype, counts[i], of[i], bytes[i]);
        if (counts[i] > 0 && (i < 3 || k->prefill < k->T))
            tensors[count++] = t;
    }
    assert_int_equal(gka_file_write("auto_served.safetensors", tensors, count, more, 4, &error),
                     GKA_OK);
    for (int i = 0; i < SERVED; i++)
        free(bytes[i]);
}

static gka_configuration find_served(gka_profile *profile) {
    gka_configuration found;
    gka_file *file = NULL;
    gka_error error = {0};
    assert_int_equal(gka_file_open("auto_served.safetensors", &file, &error), GKA_OK);
    if (gka_configuration_find_served(file, NULL, profile, &found, &error) != GKA_OK)
        fail_msg("%s", error.text);
    gka_file_close(file);
    return found;
}

/* One file: 1 where the search names the drawn choice, 0 where another one has the same bits. */
static int one_served(int number, const struct kind *k, const gka_problem *p, int *tried) {
    gka_profile drawn, profile;
    gka_error error = {0};
    double *of[SERVED], *again[SERVED];
    size_t counts[SERVED];
    char a[160], b[160];
    assert_int_equal(gka_profile_find("h100", &drawn, &error), GKA_OK);
    profile = drawn;
    drawn.fp16 = k->dtype == GKA_F16;
    draw_served(number, &drawn);
    serve(k, p, &drawn, of, counts);
    write_served(k, p, of, counts);
    const gka_configuration found = find_served(&profile);
    *tried = found.tried > *tried ? found.tried : *tried;
    if (found.different != 0)
        fail_msg("%s, file %d: %lld elements differ, the first is %s[%lld]; drawn %s, found %s",
                 k->name, number, (long long)found.different, found.name, (long long)found.at,
                 text_of(&drawn, a), text_of(&profile, b));
    const bool decoded = k->prefill < k->T;
    const int same =
        drawn.num_warps[GKA_LAUNCH_SOLVE] == profile.num_warps[GKA_LAUNCH_SOLVE] &&
        (!decoded || drawn.num_warps[GKA_LAUNCH_DECODE] == profile.num_warps[GKA_LAUNCH_DECODE]);
    serve(k, p, &profile, again, counts);
    for (int i = 0; i < SERVED; i++) {
        for (size_t e = 0; e < counts[i]; e++) /* stored values: o is rounded before it is stored */
            assert_true(bits_of_f32((float)of[i][e]) == bits_of_f32((float)again[i][e]));
        free(of[i]);
        free(again[i]);
    }
    assert_true(same || found.alike + found.alike_gates > 0);
    return same;
}

static void prop_mixed_servers_are_found(void **state) {
    (void)state;
    int exactly = 0, tried = 0;
    for (int i = 0; i < KINDS; i++) {
        gka_problem problem;
        made_served(&kinds[i], &problem);
        for (int number = i; number < configurations; number += KINDS)
            exactly += one_served(number, &kinds[i], &problem, &tried);
        gka_problem_free(&problem);
    }
    print_message("%d files of servers: %d found, %d indistinguishable; at most %d runs\n",
                  configurations, exactly, configurations - exactly, tried);
}

int main(int argc, char **argv) {
    if (argc == 5) {
        configurations = atoi(argv[1]);
        T = atoll(argv[2]), H = atoll(argv[3]), D = atoll(argv[4]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prop_mixed_configurations_are_found),
        cmocka_unit_test(test_one_bit_of_another),
        cmocka_unit_test(test_nan_is_nan),
        cmocka_unit_test(prop_mixed_servers_are_found),
    };
    return cmocka_run_group_tests_name("auto", tests, NULL, NULL);
}
