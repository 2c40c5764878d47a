/* gradient.c - certified gradients: correctly rounded whichever arithmetic decides them; ties,
 * zeros by structure, results outside the range of binary64, what is left undecided.
 */
#include "oracle.h"

#include "oracle/certified_gradient.h"

#include <mpfr.h>

/* ---- calls --------------------------------------------------------------------------------- */

/* Zeros by cancellation are below binary64 at 1700 bits; MPFR's zeros may be -0. */
static void judge(const gka_problem *p, gka_of cotangent, gka_outputs *out, gka_outputs *lo) {
    const gka_oracle_options options = {.oracle = GKA_ORACLE_MPFR, .precision = 1700};
    gka_error error = {0};
    if (gka_oracle_gradient(p, cotangent, &options, out, lo, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
}

/* widen: every bound times this; lo may be NULL */
static gka_oracle_report gradient(const gka_problem *p, gka_of cotangent, double widen,
                                  const gka_oracle_options *options, gka_outputs *out,
                                  gka_outputs *lo) {
    const gka_gradient_enclosure e = {.widen = widen};
    gka_oracle_report report = {0};
    gka_outputs nothing = {0};
    gka_error error = {0};
    if (gka_certified_gradient_enclose(p, cotangent, options, out, lo == NULL ? &nothing : lo, &e,
                                       &report, &error) != GKA_OK)
        fail_msg("%s", error.text);
    return report;
}

static const gka_oracle_options certified = {.oracle = GKA_ORACLE_CERTIFIED};
static const double FORCE = 1e30; /* nothing that is not 0 by structure is decided */

static void compare(const gka_problem *p, const char *what, gka_outputs *a, gka_outputs *b) {
    lab_member ours[LAB_MEMBERS], theirs[LAB_MEMBERS];
    lab_members(p, a, ours);
    lab_members(p, b, theirs);
    for (int m = LAB_FORWARD; m < LAB_MEMBERS; m++)
        for (int64_t i = 0; i < ours[m].count; i++) {
            const double x = (*ours[m].at)[i], y = (*theirs[m].at)[i] + 0.0;
            if (bits_of(x) != bits_of(y))
                fail_msg("%s %s[%lld]: %a, not %a", what, ours[m].name, (long long)i, x, y);
        }
}

/* ---- shapes -------------------------------------------------------------------------------- */

static const lab_shape shapes[] = {
    {.B = 1, .T = 6, .H = 1, .G = 1, .D = 1, .V = 1, .gate = true, .alpha = true},
    {.B = 2, .T = 7, .H = 2, .G = 1, .D = 5, .V = 3, .gate = true, .alpha = true, .cut = true},
    {.B = 1, .T = 6, .H = 2, .G = 2, .D = 8, .V = 8, .alpha = true, .silent = true, .final = true},
    {.B = 1, .T = 5, .H = 2, .G = 2, .D = 9, .V = 11, .gate = true, .states = true, .alpha = true},
    {.B = 1, .T = 8, .H = 4, .G = 2, .D = 6, .V = 2, .gate = true, .packed = true, .states = true},
    {.B = 1, .T = 5, .H = 1, .G = 1, .D = 12, .V = 0, .gate = true, .a = 1e-6, .final = true},
    {.B = 1, .T = 9, .H = 1, .G = 1, .D = 4, .V = 4, .gate = true, .alpha = true, .a = 1e-12},
    {.B = 1,
     .T = 7,
     .H = 1,
     .G = 1,
     .D = 4,
     .V = 4,
     .gate = true,
     .states = true,
     .h0_scale = -0x1p-9,
     .alpha = true},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

typedef void body(const gka_problem *p, gka_of cotangent);

static void each_shape(body *test) {
    for (int i = 0; i < 2 * SHAPES; i++) {
        lab_shape shape = shapes[i / 2];
        lab_case lab;
        shape.seed = (uint64_t)i + 1;
        if (shape.V == 0 && i % 2 == 0)
            continue;
        lab_new(&lab, &shape);
        test(&lab.problem, i % 2 == 0 ? GKA_OF_O : GKA_OF_X);
        lab_free(&lab);
    }
}

/* ---- correctly rounded --------------------------------------------------------------------- */

static void correctly_rounded(const gka_problem *p, gka_of cotangent) {
    gka_outputs out, lo, only, forced, exact, exact_lo;
    gka_outputs *const all[] = {&out, &lo, &only, &forced, &exact, &exact_lo};
    for (int i = 0; i < 6; i++)
        lab_exact_new(p, all[i]);
    judge(p, cotangent, &exact, &exact_lo);
    const gka_oracle_report plain = gradient(p, cotangent, 1, &certified, &only, NULL);
    compare(p, "by double-double", &only, &exact);
    assert_int_equal(plain.elements_undecided, 0);
    const gka_oracle_report report = gradient(p, cotangent, FORCE, &certified, &forced, NULL);
    compare(p, "by MPFR", &forced, &exact);
    assert_int_equal(report.elements, plain.elements);
    assert_int_equal(report.elements_undecided, 0);
    assert_true(report.elements_mpfr > plain.elements / 2);
    (void)gradient(p, cotangent, 1, &certified, &out, &lo);
    compare(p, "with second words", &out, &exact);
    compare(p, "second words", &lo, &exact_lo);
    for (int i = 0; i < 6; i++)
        lab_exact_free(p, all[i]);
}

static void prop_correctly_rounded(void **state) {
    (void)state;
    each_shape(correctly_rounded);
}

/* To bfloat16, from second words that are exact to 2^-107. */
static void rounded_to_bf16(const gka_problem *p, gka_of cotangent) {
    const gka_format *const bf16 = gka_format_find("bf16");
    const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED, .round_to = bf16};
    gka_outputs out, exact;
    lab_member ours[LAB_MEMBERS], theirs[LAB_MEMBERS];
    lab_exact_new(p, &out);
    lab_exact_new(p, &exact);
    lab_members(p, &out, ours);
    lab_members(p, &exact, theirs);
    judge(p, cotangent, &exact, NULL);
    (void)gradient(p, cotangent, 1, &options, &out, NULL);
    for (int m = LAB_FORWARD; m < LAB_MEMBERS; m++)
        for (int64_t i = 0; gka_of_outputs(cotangent) >> ours[m].output & 1 && i < ours[m].count;
             i++) /* fp64 first: no tie of bf16 is this near */
            assert_int_equal(
                bits_of((*ours[m].at)[i]),
                bits_of(gka_round(bf16, GKA_NEAREST_EVEN, (*theirs[m].at)[i], 0) + 0.0));
    lab_exact_free(p, &out);
    lab_exact_free(p, &exact);
}

static void prop_other_formats(void **state) {
    (void)state;
    each_shape(rounded_to_bf16);
}

/* ---- what no precision decides, and what needs none ----------------------------------------- */

/* dv_0 = du0 = (q_0 k_0) do_0 + (q_1 k_0) do_1 = 1 + 2^-53 or 1 + 2^-52 + 2^-53 exactly: halfway,
 * and to even; declared so, for no interval around it has ends that round alike. */
static void test_ties(void **state) {
    (void)state;
    for (int odd = 0; odd < 2; odd++) {
        const lab_shape shape = {
            .B = 1, .T = 2, .H = 1, .G = 1, .D = 1, .V = 1, .alpha = true, .seed = 5};
        lab_case lab;
        gka_outputs out;
        lab_new(&lab, &shape);
        lab_exact_new(&lab.problem, &out);
        lab.alpha[0] = lab.alpha[1] = 0;
        lab.problem.scale = 1;
        lab.k[0] = lab.dout[0] = lab.dout[1] = 1;
        lab.q[0] = 1;
        lab.q[1] = odd ? 0x1.8p-52 : 0x1p-53;
        const gka_oracle_report report =
            gradient(&lab.problem, GKA_OF_O, 1, &certified, &out, NULL);
        assert_int_equal(bits_of(out.layer.dv[0]), bits_of(odd ? 1 + 0x1p-51 : 1));
        assert_int_equal(bits_of(out.layer.du0[0]), bits_of(out.layer.dv[0]));
        assert_int_equal(report.elements_undecided, 2);
        assert_int_equal(report.ties, 2);
        lab_exact_free(&lab.problem, &out);
        lab_free(&lab);
    }
}

/* Heads padded with zeros, and a first token before which there is nothing: zeros that take no
 * arithmetic, even with bounds that decide nothing. */
static void test_zeros_by_structure(void **state) {
    (void)state;
    enum { T = 5, D = 7, V = 5, REAL_D = 5, REAL_V = 3 };
    const lab_shape shape = {
        .B = 1, .T = T, .H = 1, .G = 1, .D = D, .V = V, .gate = true, .alpha = true, .seed = 9};
    lab_case lab;
    lab_new(&lab, &shape);
    for (int t = 0; t < T; t++) {
        for (int i = REAL_D; i < D; i++)
            lab.q[t * D + i] = lab.k[t * D + i] = lab.dx[t * D + i] = 0;
        for (int i = REAL_V; i < V; i++)
            lab.v[t * V + i] = lab.dout[t * V + i] = 0;
    }
    for (int c = 0; c < 2; c++) {
        const gka_of cotangent = c == 0 ? GKA_OF_X : GKA_OF_O;
        gka_outputs out;
        lab_exact_new(&lab.problem, &out);
        const gka_oracle_report report =
            gradient(&lab.problem, cotangent, 1, &certified, &out, NULL);
        assert_int_equal(report.elements_mpfr, 0);
        for (int t = 0; t < T; t++) {
            for (int i = REAL_D; i < D; i++)
                assert_int_equal(bits_of(out.gradient[cotangent].dq[t * D + i]) |
                                     bits_of(out.gradient[cotangent].dk[t * D + i]) |
                                     bits_of(out.gradient[cotangent].p[t * D + i]) |
                                     bits_of(out.gradient[cotangent].dh0[t % D * D + i]),
                                 0);
            for (int i = REAL_V; i < V; i++)
                assert_int_equal(bits_of(out.gradient[cotangent].dv[t * V + i]), 0);
        }
        assert_int_equal(bits_of(out.gradient[cotangent].dg[0]) |
                             bits_of(out.gradient[cotangent].dg_h[0]) |
                             bits_of(out.gradient[cotangent].dg_u[0]),
                         0);
        lab_exact_free(&lab.problem, &out);
    }
    lab_free(&lab);
}

/* What double-double cannot decide stays its rounding and is counted. */
static void test_left_undecided(void **state) {
    (void)state;
    const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED, .leave_undecided = true};
    lab_case lab;
    gka_outputs out, exact;
    lab_new(&lab, &shapes[1]);
    lab_exact_new(&lab.problem, &out);
    lab_exact_new(&lab.problem, &exact);
    (void)gradient(&lab.problem, GKA_OF_O, 1, &certified, &exact, NULL);
    const gka_oracle_report report = gradient(&lab.problem, GKA_OF_O, FORCE, &options, &out, NULL);
    compare(&lab.problem, "undecided", &out, &exact);
    assert_int_equal(report.elements_mpfr, 0);
    assert_true(report.elements_undecided > report.elements / 2);
    lab_exact_free(&lab.problem, &out);
    lab_exact_free(&lab.problem, &exact);
    lab_free(&lab);
}

/* Where the bound is no last bit's, leaving it undecided would be leaving it wrong: <p,x>/f of keys
 * of 2^180 is below binary64, and fp64's oracle says so. */
static void test_not_left_wrong(void **state) {
    (void)state;
    const lab_shape shape = {
        .B = 1, .T = 5, .H = 1, .G = 1, .D = 3, .V = 2, .gate = true, .seed = 9};
    const gka_oracle_options leave = {.oracle = GKA_ORACLE_CERTIFIED, .leave_undecided = true},
                             fp64 = {.oracle = GKA_ORACLE_FP64};
    for (int of = GKA_OF_X; of <= GKA_OF_O; of++) {
        lab_case lab;
        gka_outputs out, exact;
        lab_new(&lab, &shape);
        for (int i = 0; i < 5 * 3; i++)
            lab.k[i] *= 0x1p180;
        lab_exact_new(&lab.problem, &out);
        lab_exact_new(&lab.problem, &exact);
        (void)gradient(&lab.problem, (gka_of)of, 1, &certified, &exact, NULL);
        (void)gradient(&lab.problem, (gka_of)of, 1, &leave, &out, NULL);
        compare(&lab.problem, "not left", &out, &exact);
        assert_int_equal(
            gka_oracle_gradient(&lab.problem, (gka_of)of, &fp64, &out, NULL, NULL, NULL),
            of == GKA_OF_X ? GKA_UNSUPPORTED : GKA_OK);
        lab_exact_free(&lab.problem, &out);
        lab_exact_free(&lab.problem, &exact);
        lab_free(&lab);
    }
}

/* States that decay to e^-1500, and the gradients that go with them: norms leave binary64, MPFR's
 * values stand and are counted. */
static void test_outside_binary64(void **state) {
    (void)state;
    const lab_shape shape = {
        .B = 1, .T = 9, .H = 1, .G = 1, .D = 3, .V = 2, .gate = true, .seed = 8};
    lab_case lab;
    gka_outputs out, exact;
    lab_new(&lab, &shape);
    for (int t = 3; t < 9; t++) {
        lab.g[t] = -300;
        for (int i = 0; i < 3; i++)
            lab.k[3 * t + i] = 0;
    }
    lab_exact_new(&lab.problem, &out);
    lab_exact_new(&lab.problem, &exact);
    const gka_oracle_report report = gradient(&lab.problem, GKA_OF_X, 1, &certified, &out, NULL);
    judge(&lab.problem, GKA_OF_X, &exact, NULL);
    compare(&lab.problem, "far outside", &out, &exact);
    assert_true(isinf(out.solve.dq[3 * 8]) && report.elements_undecided > 0 &&
                report.elements_undecided < report.elements);
    lab_exact_free(&lab.problem, &out);
    lab_exact_free(&lab.problem, &exact);
    lab_free(&lab);
}

/* ---- from checkpoints ---------------------------------------------------------------------- */

static gka_oracle_report from_checkpoints(const gka_problem *p, gka_of cotangent,
                                          const gka_gradient_enclosure *e, gka_outputs *out) {
    gka_oracle_report report = {0};
    gka_outputs nothing = {0};
    gka_error error = {0};
    if (gka_certified_gradient_enclose(p, cotangent, &certified, out, &nothing, e, &report,
                                       &error) != GKA_OK)
        fail_msg("%s", error.text);
    return report;
}

/* Of sequences that are long only here; gates forget 6 bits in some eight tokens. */
static void as_from_the_ends(const gka_problem *p, gka_of cotangent) {
    static const gka_gradient_enclosure ways[] = {
        {.widen = 1e30, .longest = 1, .spacing = 1},                 /* each token by itself */
        {.widen = 1e30, .longest = 1, .spacing = 1, .coarse = true}, /* nothing at first */
        {.widen = 1e11, .longest = 3, .spacing = 3},                 /* a few, here and there */
        {.widen = 1e11, .longest = 1},
    };
    gka_outputs out, exact;
    lab_exact_new(p, &exact);
    lab_exact_new(p, &out);
    (void)gradient(p, cotangent, FORCE, &certified, &exact, NULL);
    for (size_t i = cotangent == GKA_OF_X; i < sizeof ways / sizeof *ways; i += 2) {
        const gka_oracle_report report = from_checkpoints(p, cotangent, &ways[i], &out);
        compare(p, "from checkpoints", &out, &exact);
        assert_int_equal(report.elements_undecided, 0);
        assert_true(report.elements_mpfr > (i < 2 ? report.elements / 2 : 0));
    }
    lab_exact_free(p, &exact);
    lab_exact_free(p, &out);
}

static void prop_checkpoints(void **state) {
    (void)state;
    for (int i = 0; i < 2 * SHAPES; i++) {
        lab_shape shape = shapes[i / 2];
        lab_case lab;
        if (shape.V == 0 && i % 2 == 0)
            continue;
        shape.T += 13;
        shape.D = shape.D < 4 ? shape.D : 4;
        shape.V = shape.V < 3 ? shape.V : 3;
        shape.seed = (uint64_t)i + 40;
        lab_new(&lab, &shape);
        as_from_the_ends(&lab.problem, i % 2 == 0 ? GKA_OF_O : GKA_OF_X);
        lab_free(&lab);
    }
}

/* A sequence that is long indeed: what double-double leaves of it is decided. A small ridge, so
 * that it leaves something; that the rounding is right was seen once by MPFR's oracle (gka golden
 * --D=8 --T=16512 --ridge=1e-5 --outputs=backward, and with --oracle=mpfr). */
static void test_long_sequence(void **state) {
    (void)state;
    const gka_generator generator = {.keys = GKA_KEYS_IID,
                                     .gate = GKA_GATE_RELEASED,
                                     .B = 1,
                                     .T = 16512,
                                     .H = 1,
                                     .G = 1,
                                     .D = 3,
                                     .V = 1,
                                     .alpha = true,
                                     .cotangents = true,
                                     .dtype = GKA_BF16,
                                     .ridge_ratio = 1e-7,
                                     .chunk_size = 64,
                                     .seed = 1};
    gka_problem problem;
    gka_outputs out;
    gka_error error = {0};
    if (gka_problem_generate(&generator, &problem, &error) != GKA_OK)
        fail_msg("%s", error.text);
    lab_exact_new(&problem, &out);
    const gka_oracle_report report = gradient(&problem, GKA_OF_O, 1, &certified, &out, NULL);
    print_message("  %lld in MPFR\n", (long long)report.elements_mpfr);
    assert_true(report.elements_mpfr > 0);
    assert_int_equal(report.elements_undecided, 0);
    lab_exact_free(&problem, &out);
    gka_problem_free(&problem);
}

/* From checkpoints as from the ends, and nothing is left undecided; frees the case. */
static gka_oracle_report all_decided(lab_case *lab, const gka_gradient_enclosure *e,
                                     const char *what) {
    gka_outputs out, exact;
    lab_exact_new(&lab->problem, &out);
    lab_exact_new(&lab->problem, &exact);
    (void)gradient(&lab->problem, GKA_OF_O, 1, &certified, &exact, NULL);
    const gka_oracle_report report = from_checkpoints(&lab->problem, GKA_OF_O, e, &out);
    compare(&lab->problem, what, &out, &exact);
    assert_int_equal(report.elements_undecided, 0);
    lab_exact_free(&lab->problem, &out);
    lab_exact_free(&lab->problem, &exact);
    lab_free(lab);
    return report;
}

/* Where gates forget too little in the tokens that are gone over, those are all of the sequence. */
static void test_gates_that_do_not_forget(void **state) {
    (void)state;
    const gka_gradient_enclosure e = {.widen = FORCE, .longest = 1, .spacing = 1, .farthest = 1};
    lab_case lab;
    lab_new(&lab, &shapes[1]);
    const gka_oracle_report report = all_decided(&lab, &e, "all gone over");
    assert_true(report.elements_mpfr > report.elements / 2);
}

/* Gates that forget 6 bits within reach and not 24 leave no more undecided than those that forget
 * none. */
static void test_gates_that_forget_little(void **state) {
    (void)state;
    const lab_shape shape = {
        .B = 1, .T = 48, .H = 1, .G = 1, .D = 3, .V = 2, .gate = true, .seed = 5};
    const gka_gradient_enclosure e = {
        .widen = FORCE, .longest = 1, .spacing = 1, .farthest = 12, .coarse = true};
    lab_case lab;
    lab_new(&lab, &shape);
    (void)all_decided(&lab, &e, "little forgotten");
}

/* Keys along two axes in turn: half of the results are 0 by cancellation, which no checkpoint's
 * error lets be told from 2^-700, however much the gates forget. From the ends it is. */
static void test_zeros_of_gates_that_forget(void **state) {
    (void)state;
    enum { T = 150, D = 2 };
    const lab_shape shape = {
        .B = 1, .T = T, .H = 1, .G = 1, .D = D, .V = 1, .gate = true, .seed = 7};
    const gka_gradient_enclosure e = {.widen = 1, .longest = 1, .spacing = 1};
    lab_case lab;
    lab_new(&lab, &shape);
    for (int t = 0; t < T; t++) {
        lab.g[t] = -8; /* 600 bits in 52 tokens */
        for (int i = 0; i < D; i++) {
            lab.k[t * D + i] = i == t % D;
            lab.q[t * D + i] = i == 0;
        }
    }
    assert_true(all_decided(&lab, &e, "axes in turn").elements_mpfr > 0);
}

/* Silent so long that binary64 cannot factor H + lambda I: a long sequence is decided as a short
 * one is, from its ends. */
static void test_faded_states(void **state) {
    (void)state;
    enum { T = 420, SILENT = 20, D = 2 };
    const lab_shape shape = {
        .B = 1, .T = T, .H = 1, .G = 1, .D = D, .V = 1, .gate = true, .seed = 6};
    const gka_gradient_enclosure e = {.widen = 1, .longest = 1, .spacing = 1};
    lab_case lab;
    lab_new(&lab, &shape);
    for (int t = SILENT; t < T - SILENT; t++) {
        lab.g[t] = -1;
        for (int i = 0; i < D; i++)
            lab.k[t * D + i] = 0;
    }
    assert_true(all_decided(&lab, &e, "faded").elements_mpfr > 0);
}

/* ---- statuses ------------------------------------------------------------------------------ */

static bool until(void *context, double done, double total) {
    int *const calls = context;
    return done < total || --*calls > 0;
}

/* In MPFR's way back too. */
static void test_interrupted(void **state) {
    (void)state;
    const gka_gradient_enclosure e = {.widen = FORCE};
    lab_case lab;
    gka_outputs out, nothing = {0};
    gka_oracle_report report = {0};
    gka_error error = {0};
    lab_new(&lab, &shapes[0]);
    lab_exact_new(&lab.problem, &out);
    int calls = 3; /* the last token's, and two of MPFR's */
    const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED,
                                        .progress = {.report = until, .context = &calls}};
    assert_int_equal(gka_certified_gradient_enclose(&lab.problem, GKA_OF_O, &options, &out,
                                                    &nothing, &e, &report, &error),
                     GKA_INTERRUPTED);
    lab_exact_free(&lab.problem, &out);
    lab_free(&lab);
}

typedef struct enclosing {
    const gka_problem *problem;
    gka_outputs out;
} enclosing;

static gka_status enclose(void *context) {
    const gka_gradient_enclosure e = {.widen = FORCE};
    enclosing *const a = context;
    gka_oracle_report report = {0};
    gka_outputs nothing = {0};
    return gka_certified_gradient_enclose(a->problem, GKA_OF_O, &certified, &a->out, &nothing, &e,
                                          &report, NULL);
}

static void test_every_allocation_failing(void **state) {
    (void)state;
    lab_case lab;
    lab_new(&lab, &shapes[1]);
    enclosing a = {.problem = &lab.problem};
    lab_exact_new(&lab.problem, &a.out);
    gka_set_threads(1);
    /* two groups with two blocks each at least */
    assert_true(allocations_fail(enclose, &a) >= 4);
    gka_set_threads(0);
    lab_exact_free(&lab.problem, &a.out);
    lab_free(&lab);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prop_correctly_rounded),
        cmocka_unit_test(prop_other_formats),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_zeros_by_structure),
        cmocka_unit_test(test_left_undecided),
        cmocka_unit_test(test_not_left_wrong),
        cmocka_unit_test(prop_checkpoints),
        cmocka_unit_test(test_long_sequence),
        cmocka_unit_test(test_gates_that_do_not_forget),
        cmocka_unit_test(test_gates_that_forget_little),
        cmocka_unit_test(test_zeros_of_gates_that_forget),
        cmocka_unit_test(test_faded_states),
        cmocka_unit_test(test_outside_binary64),
        cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_every_allocation_failing),
    };
    const int failed = cmocka_run_group_tests_name("gradient", tests, NULL, NULL);
    mpfr_free_cache();
    return failed;
}
