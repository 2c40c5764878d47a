/* cuda_replay.c - what the kernels of src/cuda wrote on an H100, replayed here without a GPU: every
 * bit.
 *
 * The files in tests/data/cuda are kept by `cuda_replay 24 FOLDER` (tests/cuda) on a GPU machine,
 * or by scripts/gpu/split_sequence.py. Other such files: golden_cuda_replay FILE..
 */
#include "test.h"

#include "gka/format.h"
#include "gka/io.h"
#include "gka/kernel.h"
#include "gka/problem.h"
#include "gka/replay.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>

typedef struct stored {
    const char *name;
    double **array;
} stored;

static int64_t elements, nans;

static void check_tensor(const gka_file *file, const char *name, const double *replayed) {
    const gka_tensor *const t = gka_file_find(file, name);
    if (t == NULL)
        return;
    const size_t n = (size_t)gka_tensor_count(t), size = gka_dtype_size(t->dtype);
    const gka_format *const format = gka_format_of_dtype(t->dtype);
    double *const theirs = gka_alloc(n, sizeof *theirs);
    unsigned char *const mine = gka_alloc(n, size);
    assert_true(theirs != NULL && mine != NULL);
    gka_decode_array(format, n, t->data, theirs);
    gka_encode_array(format, GKA_NEAREST_EVEN, 0, 0, n, replayed, mine);
    int64_t differing = 0;
    for (size_t i = 0; i < n; i++) {
        if (theirs[i] != theirs[i] && replayed[i] != replayed[i])
            nans++;
        else
            differing +=
                memcmp(mine + i * size, (const unsigned char *)t->data + i * size, size) != 0;
    }
    if (differing != 0)
        print_error("%s: %s: %lld of %zu differ\n", gka_file_path(file), name, (long long)differing,
                    n);
    assert_int_equal(differing, 0);
    elements += (int64_t)n;
    gka_free(mine);
    gka_free(theirs);
}

static void replay_file(const char *path) {
    gka_file *file = NULL;
    gka_problem p = {0};
    gka_error error = {0};
    if (gka_file_open(path, &file, &error) != GKA_OK ||
        gka_problem_from_file(file, &p, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
    const int form = gka_form_find(gka_file_metadata(file, "form"));
    const char *const setting = gka_file_metadata(file, "accurate");
    const bool accurate = setting != NULL && strcmp(setting, "1") == 0;
    assert_true(form >= 0);
    const int64_t wider = p.V > p.D ? p.V : p.D;
    const size_t rows = (size_t)(p.B * p.T * p.H), states = (size_t)(p.N * p.H * p.D * wider);
    double *x, *fro, *o, *h_final, *u_final, *dq, *dk, *dv, *dalpha, *dg, *dh0;
    double **const wide[] = {&x, &o, &dq, &dk, &dv}, **const narrow[] = {&fro, &dalpha, &dg},
                   **const square[] = {&h_final, &u_final, &dh0};
    for (int i = 0; i < 5; i++)
        *wide[i] = gka_alloc(rows * (size_t)wider, sizeof(double));
    for (int i = 0; i < 3; i++) {
        *narrow[i] = gka_alloc(rows, sizeof(double));
        *square[i] = gka_alloc(states, sizeof(double));
    }
    gka_outputs forward = {.x = x, .fro = fro, .o = o, .h_final = h_final, .u_final = u_final};
    const gka_status status =
        p.T == 1 && !accurate ? gka_replay_decode(&p, &forward, &error)
                              : gka_replay_forward(&p, (gka_form)form, accurate, &forward, &error);
    assert_int_equal(status, GKA_OK);
    const stored outputs[] = {
        {"x", &x}, {"fro", &fro}, {"o", &o}, {"h_final", &h_final}, {"u_final", &u_final}};
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++)
        check_tensor(file, outputs[i].name, *outputs[i].array);
    double *const low = gka_alloc(rows * (size_t)p.D, sizeof *low);
    assert_non_null(low);
    for (size_t i = 0; i < rows * (size_t)p.D; i++)
        low[i] = isinf(x[i])
                     ? 0 /* infinity leaves nothing */
                     : x[i] - gka_round(gka_format_of_dtype(p.q.dtype), GKA_NEAREST_EVEN, x[i], 0);
    check_tensor(file, "x_low", low);
    gka_free(low);
    for (int layer = p.dx.data != NULL ? 0 : 1; layer < 2; layer++) {
        const gka_of of = layer == 1 ? GKA_OF_O : GKA_OF_X;
        gka_outputs back = {0};
        back.gradient[of] =
            (gka_gradients){.dq = dq, .dk = dk, .dv = dv, .dalpha = dalpha, .dg = dg, .dh0 = dh0};
        assert_int_equal(
            gka_replay_backward(&p, (gka_form)form, accurate, of, x, fro, &back, &error), GKA_OK);
        const stored gradients[] = {{"dq", &dq},   {"dk", &dk}, {"dg", &dg},
                                    {"dh0", &dh0}, {"dv", &dv}, {"dalpha", &dalpha}};
        for (size_t i = 0; i < (layer == 1 ? 6 : 4); i++) {
            char name[32];
            (void)snprintf(name, sizeof name, "%s.%s", layer == 1 ? "layer" : "solve",
                           gradients[i].name);
            check_tensor(file, name, *gradients[i].array);
        }
    }
    for (int i = 0; i < 5; i++)
        gka_free(*wide[i]);
    for (int i = 0; i < 3; i++) {
        gka_free(*narrow[i]);
        gka_free(*square[i]);
    }
    gka_problem_free(&p);
    gka_file_close(file);
}

static void test_hardware_outputs_are_replayed_bit_for_bit(void **state) {
    (void)state;
    struct dirent **entries = NULL;
    const int n = scandir(GKA_TEST_DATA "/cuda", &entries, NULL, alphasort);
    int files = 0;
    for (int i = 0; i < n; i++) {
        if (strstr(entries[i]->d_name, ".safetensors") != NULL) {
            char path[512];
            (void)snprintf(path, sizeof path, "%s/cuda/%s", GKA_TEST_DATA, entries[i]->d_name);
            replay_file(path);
            files++;
        }
        free(entries[i]);
    }
    free(entries);
    assert_true(files > 0);
    print_message("%d files, %lld elements, all equal (%lld NaN on both sides)\n", files,
                  (long long)elements, (long long)nans);
}

/* The largest relative error over heads of each output, by a kernel's name, against fp64. */
static void worst_errors(const gka_problem *p, const char *name, const int wanted[4],
                         double worst[4]) {
    gka_outputs out[2] = {0};
    for (int side = 0; side < 2; side++) {
        gka_kernel kernel;
        gka_error error = {0};
        for (int i = 0; i < 4; i++) {
            out[side].of[wanted[i]] =
                gka_alloc((size_t)gka_output_count(p, wanted[i]), sizeof(double));
            assert_non_null(out[side].of[wanted[i]]);
        }
        if (gka_kernel_find(side == 0 ? "fp64" : name, &kernel, &error) != GKA_OK ||
            gka_kernel_run(&kernel, p, NULL, &out[side], NULL, NULL, &error) != GKA_OK)
            fail_msg("%s: %s", name, error.text);
    }
    for (int i = 0; i < 4; i++) {
        const int64_t count = gka_output_count(p, wanted[i]), width = count / (p->B * p->T * p->H);
        worst[i] = 0;
        for (int64_t h = 0; h < p->H; h++) {
            double distance = 0, size = 0;
            for (int64_t t = 0; t < p->B * p->T; t++)
                for (int64_t k = 0; k < width; k++) {
                    const int64_t at = (t * p->H + h) * width + k;
                    const double exact = out[0].of[wanted[i]][at],
                                 off = out[1].of[wanted[i]][at] - exact;
                    distance += off * off;
                    size += exact * exact;
                }
            worst[i] = fmax(worst[i], sqrt(distance / size));
        }
        gka_free(out[0].of[wanted[i]]);
        gka_free(out[1].of[wanted[i]]);
    }
}

/* Keys that repeat are the worst case. A second bf16 part where the solve's result is used again
 * takes x, o, the solve's dk and dalpha to one per cent; one part does not. */
static void test_accurate_is_right_to_one_per_cent(void **state) {
    (void)state;
    const gka_generator spec = {.keys = GKA_KEYS_REPEAT,
                                .gate = GKA_GATE_RELEASED,
                                .B = 1,
                                .T = 192,
                                .H = 2,
                                .G = 2,
                                .D = 64,
                                .V = 64,
                                .alpha = true,
                                .cotangents = true,
                                .dtype = GKA_BF16,
                                .ridge_ratio = .02,
                                .num_iter = 30,
                                .chunk_size = 64,
                                .seed = 1};
    gka_problem p;
    gka_error error = {0};
    if (gka_problem_generate(&spec, &p, &error) != GKA_OK)
        fail_msg("%s", error.text);
    static const int wanted[4] = {GKA_OUT_X, GKA_OUT_O, GKA_OUT_SOLVE_DK, GKA_OUT_LAYER_DALPHA};
    double fast[4], accurate[4];
    worst_errors(&p, "cuda", wanted, fast);
    worst_errors(&p, "cuda/accurate", wanted, accurate);
    for (int i = 0; i < 4; i++) {
        print_message("fast %.2e, accurate %.2e\n", fast[i], accurate[i]);
        assert_true(accurate[i] <= .01);
        assert_true(i == 0 || fast[i] > .01);
    }
    gka_problem_free(&p);
}

/* Cotangents of the final states: without them dv and the gradients of gates are another function,
 * wrong by about their own size. */
static void test_cotangents_of_final_states_are_taken(void **state) {
    (void)state;
    const gka_generator spec = {.keys = GKA_KEYS_IID,
                                .gate = GKA_GATE_SLOW,
                                .B = 1,
                                .T = 100,
                                .H = 2,
                                .G = 2,
                                .D = 64,
                                .V = 64,
                                .alpha = true,
                                .h0 = true,
                                .cotangents = true,
                                .final = true,
                                .dtype = GKA_BF16,
                                .ridge_ratio = .02,
                                .num_iter = 30,
                                .chunk_size = 64,
                                .seed = 2};
    gka_problem p;
    gka_error error = {0};
    if (gka_problem_generate(&spec, &p, &error) != GKA_OK)
        fail_msg("%s", error.text);
    static const int wanted[4] = {GKA_OUT_SOLVE_DK, GKA_OUT_SOLVE_DG, GKA_OUT_LAYER_DV,
                                  GKA_OUT_LAYER_DG};
    double worst[4];
    worst_errors(&p, "cuda/accurate", wanted, worst);
    for (int i = 0; i < 4; i++) {
        print_message("%.2e\n", worst[i]);
        assert_true(worst[i] <= .01);
    }
    gka_problem_free(&p);
}

enum { HALF_D = 64, HALF_STATE = 2 * HALF_D * HALF_D };

/* One token from states in bf16: what it stores is rounded, what it uses is not. */
static void test_half_states_are_rounded_when_they_are_stored(void **state) {
    (void)state;
    const gka_generator spec = {.keys = GKA_KEYS_IID,
                                .gate = GKA_GATE_SLOW,
                                .B = 1,
                                .T = 1,
                                .H = 2,
                                .G = 2,
                                .D = HALF_D,
                                .V = HALF_D,
                                .h0 = true,
                                .dtype = GKA_BF16,
                                .ridge_ratio = .02,
                                .num_iter = 30,
                                .chunk_size = 64,
                                .seed = 3};
    static uint16_t half[2][HALF_STATE];
    static float single[2][HALF_STATE];
    static double numbers[HALF_STATE], final[2][2][HALF_STATE], o[2][2 * HALF_D];
    const gka_format *const bf16 = gka_format_of_dtype(GKA_BF16);
    gka_problem p;
    gka_error error = {0};
    assert_int_equal(gka_problem_generate(&spec, &p, &error), GKA_OK);
    gka_view *const states[2] = {&p.h0, &p.u0};
    for (int kept_in_half = 0; kept_in_half < 2; kept_in_half++) {
        for (int i = 0; i < 2; i++) {
            for (int64_t row = 0; row < 2 * HALF_D; row++)
                gka_view_row(states[i], 0, row / HALF_D, row % HALF_D, HALF_D,
                             numbers + row * HALF_D);
            gka_encode_array(bf16, GKA_NEAREST_EVEN, 0, 0, HALF_STATE, numbers, half[i]);
            gka_decode_array(bf16, HALF_STATE, half[i], numbers);
            for (int64_t j = 0; j < HALF_STATE; j++)
                single[i][j] = (float)numbers[j];
            states[i]->data = kept_in_half ? (const void *)half[i] : single[i];
            states[i]->dtype = kept_in_half ? GKA_BF16 : GKA_F32;
        }
        gka_outputs out = {.h_final = final[kept_in_half][0],
                           .u_final = final[kept_in_half][1],
                           .o = o[kept_in_half]};
        assert_int_equal(gka_replay_decode(&p, &out, &error), GKA_OK);
    }
    int64_t moved = 0;
    for (int i = 0; i < 2; i++)
        for (int64_t j = 0; j < HALF_STATE; j++) {
            const double wide = final[0][i][j];
            assert_true(final[1][i][j] == gka_round(bf16, GKA_NEAREST_EVEN, wide, 0));
            moved += final[1][i][j] != wide;
        }
    assert_true(moved > HALF_STATE);
    assert_memory_equal(o[0], o[1], sizeof o[0]);
    gka_problem_free(&p);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        replay_file(argv[i]);
    if (argc > 1) {
        printf("%d files, %lld elements, all equal (%lld NaN on both sides)\n", argc - 1,
               (long long)elements, (long long)nans);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hardware_outputs_are_replayed_bit_for_bit),
        cmocka_unit_test(test_accurate_is_right_to_one_per_cent),
        cmocka_unit_test(test_cotangents_of_final_states_are_taken),
        cmocka_unit_test(test_half_states_are_rounded_when_they_are_stored),
    };
    return cmocka_run_group_tests_name("cuda_replay", tests, NULL, NULL);
}
