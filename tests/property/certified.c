/* certified.c - the certified oracle inside its own bounds: 320 small token solves. The same over
 * all sizes, more than 10,000 solves: exhaustive/certified.
 */
#include "certified.h"

static void prop_inside_its_bounds(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 2, 3, 5, 8, 11, 16};
    sweep s = {0};
    sweep_generators(&s, sizes, 7, 8, 1, 1);
    sweep_print(&s);
    assert_true(s.solves >= 300 && s.worst_kappa > 1e5);
    assert_true(histogram_median(&s.x) < USELESS && histogram_median(&s.f) < USELESS &&
                histogram_median(&s.o) < USELESS && histogram_median(&s.h) < USELESS);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(prop_inside_its_bounds)};
    return cmocka_run_group_tests_name("certified", tests, NULL, NULL);
}
