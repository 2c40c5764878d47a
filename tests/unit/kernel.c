/* kernel.c - kernels by name: what parses, what is refused and how, and that a kernel runs what its
 * engine runs. */
#include "test.h"

#include "gka/kernel.h"

#include <math.h>
#include <string.h>

static const char *const good[] = {
    "certified",
    "fp64",
    "mpfr",
    "mpfr/640",
    "steps",
    "exact64",
    "ieee32",
    "h100",
    "a100",
    "l40s",
    "b200",
    "mi300",
    "h100/fp8",
    "h100/fp8=e5m2/scales=powers/promote=64",
    "l40s/fp8/promote=0",
    "b200-mma/fp8",
    "h100/two-term",
    "h100/norm_reduce=exact/num_warps=8",
    "h100/solve.num_warps=8/output.num_warps=4",
    "h100/all.num_warps=2",
    "h100/decode",
    "h100/num_iter=3/mesa",
    "h100/mesa/score=exact/store_o=exact",
    "tokens/fp32",
    "tokens/fp32/fma",
    "cuda",
    "cuda/three-term",
    "cuda/decode",
};

/* Every name parses and prints back, and its own print parses to the same. */
static void test_names(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        gka_kernel kernel, again;
        gka_error error = {0};
        if (gka_kernel_find(good[i], &kernel, &error) != GKA_OK)
            fail_msg("%s: %s", good[i], error.text);
        assert_string_equal(kernel.name, good[i]);
        assert_int_equal(gka_kernel_find(kernel.name, &again, &error), GKA_OK);
        assert_string_equal(again.name, kernel.name);
        assert_memory_equal(again.profile.num_warps, kernel.profile.num_warps,
                            sizeof kernel.profile.num_warps);
        assert_int_not_equal(gka_kernel_outputs(&kernel), 0);
    }
    for (size_t i = 0; gka_kernel_word(i) != NULL; i++) {
        gka_kernel kernel;
        assert_true(gka_kernel_find(gka_kernel_word(i), &kernel, NULL) == GKA_OK ||
                    strcmp(gka_kernel_word(i), "tokens") == 0);
    }
    for (size_t i = 0; gka_kernel_setting(i) != NULL; i++) { /* each is known, if not by itself */
        gka_kernel kernel;
        gka_error error = {0};
        char with_value[64];
        (void)snprintf(with_value, sizeof with_value, "%s=?", gka_kernel_setting(i));
        assert_int_equal(gka_kernel_find("h100", &kernel, NULL), GKA_OK);
        if (gka_kernel_set(&kernel, gka_kernel_setting(i), NULL) == GKA_OK)
            continue;
        assert_int_equal(gka_kernel_find("h100/fp8", &kernel, NULL), GKA_OK);
        assert_int_equal(gka_kernel_set(&kernel, with_value, &error), GKA_BAD_ARGUMENT);
        assert_null(strstr(error.text, "no rounding point or repair"));
    }
}

static void test_parts(void **state) {
    (void)state;
    gka_kernel kernel;
    assert_int_equal(gka_kernel_find("mpfr/640", &kernel, NULL), GKA_OK);
    assert_int_equal(kernel.precision, 640);
    assert_int_equal(gka_kernel_find("h100/two-term/solve.num_warps=8", &kernel, NULL), GKA_OK);
    assert_int_equal(kernel.profile.form, GKA_TWO_TERM);
    assert_int_equal(kernel.profile.num_warps[GKA_LAUNCH_SOLVE], 8);
    assert_int_equal(gka_kernel_find("cuda", &kernel, NULL), GKA_OK);
    assert_int_equal(kernel.form, GKA_TWO_TERM);
    assert_int_equal(gka_kernel_find("a100", &kernel, NULL), GKA_OK);
    assert_string_equal(kernel.profile.device->name, "a100");
    assert_int_equal(gka_kernel_find("h100/fp8", &kernel, NULL), GKA_OK);
    assert_int_equal(kernel.profile.fp8, GKA_MMA_E4M3);
    assert_int_equal(kernel.profile.scales, GKA_SCALES_ROWS);
    assert_int_equal(kernel.profile.promote, 128);
    assert_int_equal(gka_kernel_find("b200-mma/fp8=e5m2", &kernel, NULL), GKA_OK);
    assert_int_equal(kernel.profile.fp8, GKA_MMA_E5M2);
    assert_int_equal(kernel.profile.promote, 0); /* the unit does it */
}

/* Devices by what is known of them: their rule, their functions. */
static void test_evidence(void **state) {
    (void)state;
    static const struct {
        const char *name;
        bool unchecked, borrows;
    } rows[] = {{"h100", false, false}, {"a100", false, true},         {"mi100", true, true},
                {"mi300", false, true}, {"mi100/decode", false, true}, {"fp64", false, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        gka_kernel kernel;
        assert_int_equal(gka_kernel_find(rows[i].name, &kernel, NULL), GKA_OK);
        assert_int_equal(gka_kernel_unchecked(&kernel) != NULL, rows[i].unchecked);
        assert_int_equal(gka_kernel_borrows(&kernel), rows[i].borrows);
    }
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *name, *line;
    } bad[] = {
        {"h10", "no kernel 'h10'"},
        {"", "no kernel ''"},
        {"certified/640", "certified/640: nothing more was expected"},
        {"h100/fp8=e3m4", "expected fp8=e4m3 or fp8=e5m2"},
        {"h100/scales=rows", "expected fp8 before it"},
        {"h100/promote=32/fp8", "expected fp8 before it"},
        {"h100/states=mxfp5", "expected working, low, or a format"},
        {"h100/fp8/scales=columns", "expected rows, powers, tile or none"},
        {"h100/fp8/promote=-1", "expected 0, or a number"},
        {"mpfr/x", "mpfr/x: a number of bits"},
        {"mpfr/640bits", "mpfr/640bits: a number of bits"},
        {"h100/", "h100/: a part after '/' is empty"},
        {"h100//two-term", "h100/: a part after '/' is empty"},
        {"h100/num_warps=3", "expected 1, 2, 4 or 8"},
        {"h100/output_bwd.num_warps=8", "expected 2 or 4"},
        {"h100/all.num_warps=3", "expected 1, 2, 4 or 8"},
        {"h100/outputs.num_warps=4", "before .num_warps"},
        {"h100/solve.num_stages=2", "after '.'"},
        {"cuda/cg", "cuda/cg: three-term, two-term, accurate or decode"},
        {"h100/num_iter=3/num_iter=4", "h100/num_iter=3: num_iter given twice"},
        {"h100/fp8/fp8=e5m2", "h100/fp8: fp8 given twice"},
        {"h100/decode/mesa", "h100/decode/mesa: before mesa the device alone"},
        {"h100/serving/mesa", "before mesa the device alone"},
        {"h100/num_iter=3/decode/mesa", "before mesa the device alone"},
        {"h100/solve.num_warps=1/mesa", "before mesa the device alone"},
        {"h100/mesa/tf32=exact", "mesa/tf32=exact: MesaNet has no such point"},
        {"h100/mesa/inverse=released", "MesaNet has no such point"},
        {"h100/mesa/score=none", "mesa/score=none: a rounding point"},
        {"tokens", "no kernel 'tokens'"},
        {"tokens/fp33", "tokens/fp33: an arithmetic"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gka_kernel kernel;
        gka_error error = {0};
        assert_int_equal(gka_kernel_find(bad[i].name, &kernel, &error), GKA_BAD_ARGUMENT);
        if (strstr(error.text, bad[i].line) == NULL)
            fail_msg("%s: %s", bad[i].name, error.text);
    }
}

enum { B = 1, T = 70, H = 1, D = 64 };

static void make_problem(gka_keys keys, gka_problem *problem) {
    const gka_generator generator = {.keys = keys,
                                     .gate = GKA_GATE_SLOW,
                                     .B = B,
                                     .T = T,
                                     .H = H,
                                     .G = H,
                                     .D = D,
                                     .V = D,
                                     .cotangents = true,
                                     .dtype = GKA_BF16,
                                     .seed = 3};
    gka_error error = {0};
    assert_int_equal(gka_problem_generate(&generator, problem, &error), GKA_OK);
}

/* Of o, or of the layer's dk. */
static double error_of(const gka_problem *problem, const char *name, bool dk) {
    static double o[2][B * T * H * D];
    for (int i = 0; i < 2; i++) {
        gka_kernel kernel;
        gka_error error = {0};
        gka_outputs out = {.o = dk ? NULL : o[i], .layer = {.dk = dk ? o[i] : NULL}};
        assert_int_equal(gka_kernel_find(i ? name : "fp64", &kernel, &error), GKA_OK);
        assert_int_equal(gka_kernel_check(&kernel, problem, &error), GKA_OK);
        assert_int_equal(gka_kernel_run(&kernel, problem, NULL, &out, NULL, NULL, &error), GKA_OK);
    }
    double off = 0, size = 0;
    for (int n = 0; n < B * T * H * D; n++) {
        off += (o[1][n] - o[0][n]) * (o[1][n] - o[0][n]);
        size += o[0][n] * o[0][n];
    }
    return sqrt(off / size);
}

/* u of e4m3 is 16 times that of bf16, and half that of e5m2: the errors of o are about as far
 * apart. What cannot be run is refused with its line. */
static void test_eight_bits(void **state) {
    (void)state;
    gka_problem problem;
    make_problem(GKA_KEYS_IID, &problem);
    const double bf16 = error_of(&problem, "h100/two-term", false),
                 e4m3 = error_of(&problem, "h100/two-term/fp8", false),
                 e5m2 = error_of(&problem, "h100/two-term/fp8=e5m2", false);
    if (!(e4m3 > 4 * bf16 && e4m3 < 24 * bf16 && e5m2 > 1.3 * e4m3 && e5m2 < 3 * e4m3))
        fail_msg("o is off by %g in bf16, %g in e4m3, %g in e5m2", bf16, e4m3, e5m2);
    /* T is no multiple of the tile: what lies past the end has no part in a tile's scale. */
    const double rows = error_of(&problem, "h100/two-term/fp8", true),
                 tile = error_of(&problem, "h100/two-term/fp8/scales=tile", true);
    if (!(tile > .5 * rows && tile < 2 * rows))
        fail_msg("dk is off by %g with a scale for each row, %g with one for a tile", rows, tile);
    static const struct {
        const char *name, *line;
    } refused[] = {
        {"a100/fp8", "fp8=e4m3: a100 has no unit for it"},
        {"h100/fp8/tensor_core=exact", "tensor_core=released was expected"},
        {"h100/fp8/promote=48", "promote=48: a multiple of 32 was expected on h100"},
        {"b200-mma/fp8/promote=64", "itself begins a new sum every 32 products"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        gka_kernel kernel;
        gka_error error = {0};
        assert_int_equal(gka_kernel_find(refused[i].name, &kernel, &error), GKA_OK);
        assert_int_equal(gka_kernel_check(&kernel, &problem, &error), GKA_UNSUPPORTED);
        if (strstr(error.text, refused[i].line) == NULL)
            fail_msg("%s: %s", refused[i].name, error.text);
    }
    gka_problem_free(&problem);
}

/* x, f and dk of some kernels, all passes in one call: near those of fp64; what a kernel does not
 * have is refused. */
static void test_run(void **state) {
    (void)state;
    static const char *const names[] = {"fp64", "steps", "h100", "tokens/fp32", "cuda"};
    static const double near[] = {0, 1e-2, 2e-1, 1e-2, 2e-1};
    static double x[5][B * T * H * D], fro[B * T * H], dk[5][B * T * H * D], kappa[B * T * H];
    gka_problem problem;
    gka_error error = {0};
    make_problem(GKA_KEYS_IID, &problem);
    for (int i = 0; i < 5; i++) {
        gka_kernel kernel;
        gka_outputs out = {.x = x[i], .fro = i == 2 ? fro : NULL, .layer = {.dk = dk[i]}};
        assert_int_equal(gka_kernel_find(names[i], &kernel, &error), GKA_OK);
        assert_int_equal(gka_kernel_check(&kernel, &problem, &error), GKA_OK);
        if (gka_kernel_run(&kernel, &problem, NULL, &out, NULL, NULL, &error) != GKA_OK)
            fail_msg("%s: %s", names[i], error.text);
        double off = 0, size = 0, off_dk = 0, size_dk = 0;
        for (int n = 0; n < B * T * H * D; n++) {
            off += (x[i][n] - x[0][n]) * (x[i][n] - x[0][n]);
            size += x[0][n] * x[0][n];
            off_dk += (dk[i][n] - dk[0][n]) * (dk[i][n] - dk[0][n]);
            size_dk += dk[0][n] * dk[0][n];
        }
        if (!(off <= near[i] * near[i] * size) || !(size_dk > 0) || !(off_dk < size_dk))
            fail_msg("%s: x %g of %g, dk %g of %g", names[i], off, size, off_dk, size_dk);
        gka_outputs more = {.kappa = kappa};
        assert_int_equal(gka_kernel_run(&kernel, &problem, NULL, &more, NULL, NULL, &error),
                         i == 0 ? GKA_OK : GKA_UNSUPPORTED);
    }
    gka_problem_free(&problem);
}

static gka_problem small(int64_t t, gka_error *error) {
    const gka_generator generator = {.keys = GKA_KEYS_IID,
                                     .gate = GKA_GATE_SLOW,
                                     .B = 1,
                                     .T = t,
                                     .H = 1,
                                     .G = 1,
                                     .D = 64,
                                     .V = 64,
                                     .cotangents = true,
                                     .h0 = true,
                                     .dtype = GKA_BF16,
                                     .seed = 4};
    gka_problem problem;
    assert_int_equal(gka_problem_generate(&generator, &problem, error), GKA_OK);
    return problem;
}

/* Each kernel refuses what no problem may have, and what it does not run. */
static void test_check(void **state) {
    (void)state;
    enum { GOOD, CHUNK, RIDGE, H0_SHAPE, H0_VALUE, FOLD, TOKENS };
    static const struct {
        const char *name;
        int what;
        const char *line; /* NULL: it runs */
    } cases[] = {
        {"certified", GOOD, NULL},
        {"tokens/fp32", GOOD, NULL},
        {"h100", GOOD, NULL},
        {"cuda", GOOD, NULL},
        {"h100/decode", GOOD, NULL},
        {"cuda/decode", GOOD, NULL},
        {"certified", CHUNK, "chunk_size"},
        {"fp64", CHUNK, "chunk_size"},
        {"tokens/fp32", CHUNK, "chunk_size"},
        {"steps", CHUNK, "chunk_size"},
        {"mpfr/300", RIDGE, "ridge_ratio"},
        {"tokens/fp32/fma", RIDGE, "ridge_ratio"},
        {"h100", RIDGE, "ridge_ratio"},
        {"certified", H0_SHAPE, "h0"},
        {"tokens/fp32", H0_SHAPE, "h0"},
        {"certified", H0_VALUE, "h0"},
        {"tokens/fp32", H0_VALUE, "h0"},
        {"certified", FOLD, "normalise"},
        {"tokens/fp32", FOLD, "normalise"},
        {"h100", FOLD, "normalise"},
        {"cuda", FOLD, "normalise"},
        {"h100/decode", TOKENS, "2 tokens: expected one"},
        {"cuda/decode", TOKENS, "a decode step has one token"},
    };
    gka_error error = {0};
    gka_problem one = small(1, &error), two = small(2, &error);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gka_kernel kernel;
        gka_problem p = cases[i].what == TOKENS ? two : one;
        static const uint16_t not_a_number[64 * 64] = {0x7fc0};
        error = (gka_error){0};
        if (cases[i].what == CHUNK)
            p.chunk_size = 0;
        if (cases[i].what == RIDGE)
            p.ridge_ratio = -1;
        if (cases[i].what == H0_SHAPE)
            p.h0.shape[2] = 32;
        if (cases[i].what == H0_VALUE)
            p.h0.dtype = GKA_BF16, p.h0.data = not_a_number, p.h0.stride[3] = 1,
            p.h0.stride[2] = 64, p.h0.stride[1] = p.h0.stride[0] = 64 * 64;
        if (cases[i].what == FOLD)
            p.normalise = GKA_NORMALISE_UNIT;
        assert_int_equal(gka_kernel_find(cases[i].name, &kernel, &error), GKA_OK);
        const gka_status status = gka_kernel_check(&kernel, &p, &error);
        if ((status == GKA_OK) != (cases[i].line == NULL) ||
            (status != GKA_OK && strstr(error.text, cases[i].line) == NULL))
            fail_msg("%s, case %d: %s", cases[i].name, cases[i].what, error.text);
    }
    gka_problem_free(&one);
    gka_problem_free(&two);
}

/* x and f among the outputs are the kernel's own: gradients are the same bits without them. */
static void test_own_upstream(void **state) {
    (void)state;
    static const char *const names[] = {"ieee32", "steps", "h100", "cuda"};
    static double x[B * T * D], fro[B * T], dg[2][B * T];
    gka_error error = {0};
    gka_problem problem = small(T, &error);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        gka_kernel kernel;
        assert_int_equal(gka_kernel_find(names[i], &kernel, &error), GKA_OK);
        for (int with = 0; with < 2; with++) {
            gka_outputs out = {.layer = {.dg = dg[with]}};
            if (with)
                out.x = x, out.fro = fro;
            if (gka_kernel_run(&kernel, &problem, NULL, &out, NULL, NULL, &error) != GKA_OK)
                fail_msg("%s: %s", names[i], error.text);
        }
        assert_memory_equal(dg[0], dg[1], sizeof dg[0]);
    }
    gka_outputs out = {.layer = {.dg = dg[0]}};
    const gka_outputs given = {.h_chunk = x};
    gka_kernel kernel;
    assert_int_equal(gka_kernel_find("h100", &kernel, &error), GKA_OK);
    assert_int_equal(gka_kernel_run(&kernel, &problem, &given, &out, NULL, NULL, &error),
                     GKA_UNSUPPORTED);
    gka_problem_free(&problem);
}

/* H and U after the last chunk are numbers of the format, blocks with scales too, and x and o are
 * what a coarser state makes of them: worse from format to format. */
static void test_state_formats(void **state) {
    (void)state;
    static const char *const names[] = {"exact64", "exact64/states=fp16",
                                        "exact64/states=mxfp8-e4m3", "exact64/states=mxfp4"};
    static double h[D * D], again[D * D], o[4][B * T * H * D];
    gka_problem problem;
    gka_error error = {0};
    double last = 0;
    make_problem(GKA_KEYS_IID, &problem);
    for (int i = 0; i < 4; i++) {
        gka_kernel kernel;
        gka_outputs out = {.o = o[i], .h_final = h};
        assert_int_equal(gka_kernel_find(names[i], &kernel, &error), GKA_OK);
        assert_int_equal(gka_kernel_run(&kernel, &problem, NULL, &out, NULL, NULL, &error), GKA_OK);
        memcpy(again, h, sizeof h);
        if (kernel.profile.state_format)
            gka_round_array(kernel.profile.state_format, GKA_NEAREST_EVEN, 0, 0, D * D, h, again);
        if (kernel.profile.state_blocks)
            gka_block_round(kernel.profile.state_blocks, D * D, h, again, NULL);
        assert_int_equal(kernel.profile.state_format != NULL, i == 1);
        assert_int_equal(kernel.profile.state_blocks != NULL, i > 1);
        assert_memory_equal(again, h, sizeof h);
        double off = 0;
        for (int n = 0; n < B * T * H * D; n++)
            off += (o[i][n] - o[0][n]) * (o[i][n] - o[0][n]);
        assert_true(i == 0 || off > 2 * last);
        last = off;
    }
    gka_problem_free(&problem);
}

/* The table of outputs: names and numbers agree, members and numbers are the same pointers. */
static void test_outputs(void **state) {
    (void)state;
    int judged = 0;
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        assert_int_equal(gka_output_find(gka_output_table[i].name), i);
        judged += gka_output_table[i].judged;
    }
    assert_int_equal(judged, GKA_JUDGED);
    assert_int_equal(gka_output_find("lambda_max"), -1);
    double one;
    gka_outputs out = {.layer = {.dk = &one}}, some;
    assert_ptr_equal(out.of[GKA_OUT_LAYER_DK], &one);
    assert_ptr_equal(out.gradient[GKA_OF_O].dk, &one);
    assert_int_equal(gka_outputs_set(&out), GKA_BIT(LAYER_DK));
    assert_false(gka_outputs_only(&out, gka_of_outputs(GKA_OF_X), &some));
    assert_true(gka_outputs_only(&out, gka_of_outputs(GKA_OF_O), &some));
    assert_ptr_equal(some.layer.dk, &one);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),         cmocka_unit_test(test_parts),
        cmocka_unit_test(test_evidence),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_run),           cmocka_unit_test(test_eight_bits),
        cmocka_unit_test(test_state_formats), cmocka_unit_test(test_outputs),
        cmocka_unit_test(test_check),         cmocka_unit_test(test_own_upstream),
    };
    return cmocka_run_group_tests_name("kernel", tests, NULL, NULL);
}
