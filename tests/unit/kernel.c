/* kernel.c - kernels by name: what parses, what is refused and how, and that a kernel runs what its
 * engine runs. */
#include "test.h"

#include "gka/kernel.h"

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
    "h100/two-term",
    "h100/norm_reduce=exact/num_warps=8",
    "h100/solve.num_warps=8/output.num_warps=4",
    "h100/all.num_warps=2",
    "h100/decode",
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
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *name, *line;
    } bad[] = {
        {"h10", "no kernel 'h10'"},
        {"", "no kernel ''"},
        {"certified/640", "certified/640: nothing more was expected"},
        {"mpfr/x", "mpfr/x: a number of bits"},
        {"mpfr/640bits", "mpfr/640bits: a number of bits"},
        {"h100/", "expected POINT=exact"},
        {"h100/num_warps=3", "expected 1, 2, 4 or 8"},
        {"h100/output_bwd.num_warps=8", "expected 2 or 4"},
        {"h100/all.num_warps=3", "expected 1, 2, 4 or 8"},
        {"h100/outputs.num_warps=4", "before .num_warps"},
        {"h100/solve.num_stages=2", "after '.'"},
        {"cuda/cg", "cuda/cg: three-term, two-term or decode"},
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

/* x, f and dk of some kernels, all passes in one call: near those of fp64; what a kernel does not
 * have is refused. */
static void test_run(void **state) {
    (void)state;
    static const char *const names[] = {"fp64", "steps", "h100", "tokens/fp32", "cuda"};
    static const double near[] = {0, 1e-2, 2e-1, 1e-2, 2e-1};
    static double x[5][B * T * H * D], fro[B * T * H], dk[5][B * T * H * D], kappa[B * T * H];
    const gka_generator generator = {.keys = GKA_KEYS_IID,
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
    gka_problem problem;
    gka_error error = {0};
    assert_int_equal(gka_problem_generate(&generator, &problem, &error), GKA_OK);
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
        cmocka_unit_test(test_names),   cmocka_unit_test(test_parts),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_run),
        cmocka_unit_test(test_outputs),
    };
    return cmocka_run_group_tests_name("kernel", tests, NULL, NULL);
}
