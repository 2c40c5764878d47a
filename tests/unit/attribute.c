/* attribute.c - what each rounding costs: against runs made one by one, and every way to fail. */
#include "test.h"

#include "gka/judge.h"

static const char *const names[] = {"fro", "x", "o", "solve.dk", "layer.dalpha", "solve.dh0"};
enum { NAMES = sizeof names / sizeof *names, FRO = 0, X = 1, DK = 3, DH0 = 5 };

static gka_profile h100(gka_form form) {
    gka_profile profile;
    assert_int_equal(gka_profile_find("h100", &profile, NULL), GKA_OK);
    profile.form = form;
    return profile;
}

static gka_problem small(int num_iter) {
    const gka_generator spec = {.keys = GKA_KEYS_IID,
                                .gate = GKA_GATE_SLOW,
                                .B = 1,
                                .T = 32,
                                .H = 1,
                                .G = 1,
                                .D = 16,
                                .V = 16,
                                .alpha = true,
                                .cotangents = true,
                                .dtype = GKA_BF16,
                                .num_iter = num_iter,
                                .chunk_size = 16,
                                .seed = 3};
    gka_problem p;
    assert_int_equal(gka_problem_generate(&spec, &p, NULL), GKA_OK);
    return p;
}

/* ||x - steps|| / ||steps|| of the h100 after two settings. */
static double one_by_one(const gka_problem *p, const char *first, const char *second) {
    double x[32 * 16], steps[32 * 16];
    gka_profile profile;
    assert_int_equal(gka_profile_find("exact64", &profile, NULL), GKA_OK);
    assert_int_equal(gka_chunk_forward(p, &profile, &(gka_outputs){.x = steps}, NULL, NULL, NULL),
                     GKA_OK);
    assert_int_equal(gka_profile_find("h100", &profile, NULL), GKA_OK);
    assert_int_equal(gka_profile_set(&profile, first, NULL), GKA_OK);
    assert_int_equal(gka_profile_set(&profile, second, NULL), GKA_OK);
    assert_int_equal(gka_chunk_forward(p, &profile, &(gka_outputs){.x = x}, NULL, NULL, NULL),
                     GKA_OK);
    return gka_rel_err(32 * 16, x, steps);
}

static void test_figures_are_those_of_single_runs(void **state) {
    (void)state;
    gka_problem p = small(4);
    gka_attribution a[NAMES];
    const gka_profile profile = h100(GKA_THREE_TERM);
    assert_int_equal(gka_attribute(&p, &profile, names, NAMES, NULL, a, NULL), GKA_OK);
    assert_true(bits_of(a[X].released) == bits_of(one_by_one(&p, "all=released", "mask=released")));
    assert_true(bits_of(a[X].only[GKA_POINT_STORE_X]) ==
                bits_of(one_by_one(&p, "all=exact", "store_x=released")));
    assert_true(bits_of(a[X].without[GKA_POINT_OPERAND_X]) ==
                bits_of(one_by_one(&p, "all=released", "operand_x=exact")));
    assert_true(a[X].only[GKA_POINT_STORE_X] > 1e-4 && a[DK].released > 1e-4);
    /* f does not read x: what is left is a sum of 16 16 squares in binary64, in two orders. */
    assert_true(a[FRO].only[GKA_POINT_STORE_X] <= 256 * 0x1p-53);
    assert_true(a[X].defined && !a[DH0].defined);
    gka_problem_free(&p);
}

static void test_threads_do_not_matter(void **state) {
    (void)state;
    gka_problem p = small(4);
    gka_attribution one[NAMES], three[NAMES];
    const gka_profile profile = h100(GKA_TWO_TERM);
    gka_set_threads(1);
    assert_int_equal(gka_attribute(&p, &profile, names, NAMES, NULL, one, NULL), GKA_OK);
    gka_set_threads(3);
    assert_int_equal(gka_attribute(&p, &profile, names, NAMES, NULL, three, NULL), GKA_OK);
    gka_set_threads(1);
    for (int i = 0; i < NAMES; i++)
        for (int j = 0; j < GKA_POINT_COUNT; j++) {
            assert_true(bits_of(one[i].only[j]) == bits_of(three[i].only[j]));
            assert_true(bits_of(one[i].without[j]) == bits_of(three[i].without[j]));
        }
    gka_problem_free(&p);
}

static bool enough(void *context, double done, double total) {
    (void)context;
    return done < total / 2;
}

static void test_failures(void **state) {
    (void)state;
    gka_problem p = small(4);
    gka_attribution a[NAMES];
    const gka_profile profile = h100(GKA_THREE_TERM);
    gka_error error = {0};
    static const char *const wrong[] = {"x", "xx"};
    assert_int_equal(gka_attribute(&p, &profile, wrong, 2, NULL, a, &error), GKA_BAD_ARGUMENT);
    assert_string_equal(error.text, "no output tensor 'xx'");
    const gka_progress progress = {.report = enough};
    assert_int_equal(gka_attribute(&p, &profile, names, NAMES, &progress, a, &error),
                     GKA_INTERRUPTED);
    p.chunk_size = 8; /* no tile of a tensor core */
    assert_int_equal(gka_attribute(&p, &profile, names, NAMES, NULL, a, &error), GKA_UNSUPPORTED);
    gka_problem_free(&p);
}

static gka_status attribute_once(void *problem) {
    const gka_profile profile = h100(GKA_THREE_TERM);
    gka_attribution a[NAMES];
    return gka_attribute(problem, &profile, names, 4, NULL, a, NULL);
}

static void test_every_allocation_can_fail(void **state) {
    (void)state;
    gka_problem p = small(1);
    gka_set_threads(1);
    assert_true(some_allocations_fail(attribute_once, &p, false, 12) > 2 * GKA_POINT_COUNT);
    gka_problem_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figures_are_those_of_single_runs),
        cmocka_unit_test(test_threads_do_not_matter),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_every_allocation_can_fail),
    };
    return cmocka_run_group_tests_name("attribute", tests, NULL, NULL);
}
