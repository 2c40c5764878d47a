/* certified.c - the certified oracle inside its own bounds over every size: more than 10,000 token
 * solves, kappa up to 1e6, D from 1 to 256. A few minutes, most of them MPFR's.
 */
#include "certified.h"

static void exh_inside_its_bounds(void **state) {
    (void)state;
    static const int64_t small[] = {1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 17, 24, 31, 32},
                         middle[] = {48, 64}, large[] = {100, 128}, largest[] = {256};
    sweep s = {0};
    sweep_generators(&s, small, 14, 48, 5, 1000);
    sweep_generators(&s, middle, 2, 20, 1, 2000);
    sweep_generators(&s, large, 2, 6, 1, 3000);
    sweep_generators(&s, largest, 1, 1, 1, 4000);
    sweep_print(&s);
    assert_true(s.solves >= 10000 && s.worst_kappa > 9e5);
    assert_true(histogram_median(&s.x) < USELESS && histogram_median(&s.f) < USELESS &&
                histogram_median(&s.o) < USELESS && histogram_median(&s.h) < USELESS);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(exh_inside_its_bounds)};
    return cmocka_run_group_tests_name("certified", tests, NULL, NULL);
}
