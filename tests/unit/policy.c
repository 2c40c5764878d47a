/* policy.c - policies by name, their constants, what is refused. */
#include "test.h"

#include "arith/policy.h"

#include <math.h>
#include <stdio.h>

static const gka_policy INSTANCES[] = {
#define ENTRY(id, name, s, o, p, c, fused) ARITH_POLICY(name, s, o, p, c, fused),
    ARITH_INSTANCES(ENTRY)
#undef ENTRY
};

static void assert_is_preset(const gka_format *format) {
    const gka_format *const preset = gka_format_find(format->name);
    assert_non_null(preset);
    assert_true(arith_same_format(format, preset));
    assert_int_equal(format->bits, preset->bits);
}

static void test_constants_are_the_presets(void **state) {
    (void)state;
    for (int i = 0; i < ARITH_GENERIC; i++) {
        assert_is_preset(&INSTANCES[i].storage);
        assert_is_preset(&INSTANCES[i].operand);
        assert_is_preset(&INSTANCES[i].product);
        assert_is_preset(&INSTANCES[i].accumulator);
    }
}

static void test_every_name_is_found(void **state) {
    (void)state;
    gka_policy policy;
    int i = 0;
    for (const char *const *name = gka_policy_names(); *name != NULL; name++, i++) {
        assert_true(gka_policy_find(*name, &policy));
        assert_string_equal(policy.name, *name);
        assert_int_equal(gka_arith_instance(&policy), i);
    }
    assert_true(gka_policy_find("fp32/fma", &policy));
    assert_true(policy.fused);
    assert_int_equal(gka_arith_instance(&policy), ARITH_FP32_FMA);
    assert_true(gka_policy_find("bf16-mixed/stochastic/fma/blocks16", &policy));
    assert_int_equal(policy.rounding, GKA_STOCHASTIC);
    assert_int_equal(policy.order, GKA_BLOCKS);
    assert_int_equal(policy.block, 16);
    assert_string_equal(policy.storage.name, "fp32");
    assert_string_equal(policy.operand.name, "bf16");
    assert_int_equal(gka_arith_instance(&policy), ARITH_GENERIC);
    assert_true(gka_policy_find("bf16/pairwise", &policy));
    assert_int_equal(gka_arith_instance(&policy), ARITH_GENERIC);
}

static void test_other_names_are_refused(void **state) {
    (void)state;
    static const char *const names[] = {"",
                                        "bf17",
                                        "bf16/",
                                        "bf16/nearest",
                                        "bf16/up/down",
                                        "/up",
                                        "bf16//up",
                                        "bf16/blocks0",
                                        "bf16/blocks",
                                        "bf16/blocks01",
                                        "bf16/up/fma/fma",
                                        "bf16/pairwise/blocks3",
                                        "bf16/blocks9999999999",
                                        "bf16 ",
                                        "BF16",
                                        "bf16/upward",
                                        "bf16-mixed/stochastic/fma/blocks16/and-much-more"};
    gka_policy policy = {.name = "untouched"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_false(gka_policy_find(names[i], &policy));
    assert_string_equal(policy.name, "untouched");
}

static void test_check(void **state) {
    (void)state;
    gka_policy policy;
    gka_error error = {0};
    assert_true(gka_policy_find("bf16", &policy));
    policy.storage = *gka_format_find("fp32");
    assert_int_equal(gka_policy_check(&policy, &error), GKA_BAD_ARGUMENT);
    assert_string_equal(error.text,
                        "arithmetic bf16: fp32 has more precision than its accumulator bf16");
    assert_true(gka_policy_find("bf16/blocks2", &policy));
    policy.block = 0;
    assert_int_equal(gka_policy_check(&policy, &error), GKA_BAD_ARGUMENT);
    assert_string_equal(error.text, "arithmetic bf16/blocks2: blocks of 0 terms");
    assert_true(gka_policy_find("bf16", &policy));
    policy.operand.p = 0;
    assert_int_equal(gka_policy_check(&policy, &error), GKA_BAD_ARGUMENT);
}

/* pPeE: the presets' formats under another name, and formats that no preset has. */
static void test_made_formats(void **state) {
    (void)state;
    static const char *const same[][2] = {{"p8e8", "bf16"},
                                          {"p11e5", "fp16"},
                                          {"p24e8/fma/pairwise", "fp32/fma/pairwise"},
                                          {"p53e11/odd", "fp64/odd"},
                                          {"p8e8-acc32", "bf16-acc32"},
                                          {"p11e5-mixed/stochastic", "fp16-mixed/stochastic"}};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        gka_policy a, b;
        assert_true(gka_policy_find(same[i][0], &a) && gka_policy_find(same[i][1], &b));
        assert_string_equal(a.name, same[i][0]);
        const gka_format *const x[] = {&a.storage, &a.operand, &a.product, &a.accumulator},
                                *const y[] = {&b.storage, &b.operand, &b.product, &b.accumulator};
        for (int k = 0; k < 4; k++)
            assert_true(x[k]->p == y[k]->p && x[k]->emin == y[k]->emin && x[k]->emax == y[k]->emax);
        assert_true(a.rounding == b.rounding && a.fused == b.fused && a.order == b.order);
    }
    gka_policy p;
    assert_true(gka_policy_find("p3e4", &p));
    assert_true(p.operand.p == 3 && p.operand.emax == 7 && p.operand.emin == -6);
    static const char *const bad[] = {"p0e5",        "p26e8", "p8e1",        "p8e12",    "p8",
                                      "pe8",         "p8e",   "p08e8",       "p8e8-acc", "p8e8x",
                                      "p53e8-acc32", "q8e8",  "p25e8-acc32", "p100e8"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (gka_policy_find(bad[i], &p))
            fail_msg("%s", bad[i]);
}

/* Memory in blocks: what an operation writes is what fp32 writes, rounded in blocks. */
static void test_blocks(void **state) {
    (void)state;
    enum { N = 64 };
    gka_policy policy, fp32;
    double x[N], y[N], M[N * N], want[N * N], got[N * N];
    assert_true(gka_policy_find("fp32", &fp32));
    for (int i = 0; i < N; i++) {
        x[i] = ldexp(1 + i % 5, i % 7 - 3);
        y[i] = 3 - i % 6;
    }
    for (int i = 0; i < N * N; i++)
        M[i] = ldexp(i % 13 - 6, i % 3);
    for (const gka_block_format *const *b = gka_block_format_presets(); *b != NULL; b++) {
        char name[64];
        gka_arith A, plain;
        (void)snprintf(name, sizeof name, "%s-acc32", (*b)->name);
        assert_true(gka_policy_find(name, &policy));
        assert_ptr_equal(policy.blocks, *b);
        assert_int_equal(gka_policy_check(&policy, NULL), GKA_OK);
        gka_arith_start(&A, &policy, 0);
        gka_arith_start(&plain, &fp32, 0);
        gka_arith_axpby(&A, N, 3, x, .3F, y, got);
        gka_arith_axpby(&plain, N, 3, x, .3F, y, want);
        gka_block_round(*b, N, want, want, NULL);
        assert_memory_equal(got, want, N * sizeof *got);
        gka_arith_matvec(&A, N, N, M, x, got);
        gka_arith_matvec(&plain, N, N, M, x, want);
        gka_block_round(*b, N, want, want, NULL);
        assert_memory_equal(got, want, N * sizeof *got);
        memcpy(got, M, sizeof M);
        memcpy(want, M, sizeof M);
        gka_arith_rank1(&A, N, N, .5, got, 1, x, y);
        gka_arith_rank1(&plain, N, N, .5, want, 1, x, y);
        gka_block_round(*b, (size_t)N * N, want, want, NULL);
        assert_memory_equal(got, want, sizeof got);
    }
    assert_false(gka_policy_find("mxfp8-e4m3", &policy));
    assert_false(gka_policy_find("mxfp5-acc32", &policy));
    assert_true(gka_policy_find("mxfp4-acc32", &policy));
    policy.storage = *gka_format_find("bf16");
    assert_int_equal(gka_policy_check(&policy, NULL), GKA_BAD_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_formats),
        cmocka_unit_test(test_constants_are_the_presets),
        cmocka_unit_test(test_every_name_is_found),
        cmocka_unit_test(test_other_names_are_refused),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_blocks),
    };
    return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
