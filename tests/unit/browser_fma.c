/* browser_fma.c - the browser's fma and fmaf (src/browser/fma.h) against the C library's, bit for
 * bit. */
#include "test.h"

#include "browser/fma.h"

#include <math.h>

enum { CASES = 400000 };

static const double special[] = {0.0,       -0.0,    1,         -1,         INFINITY,
                                 -INFINITY, NAN,     0x1p-1074, -0x1p-1022, 0x1.fffffffffffffp1023,
                                 0x1p-800,  0x1p900, 0x1p-500,  0x1p500,    1 + 0x1p-52,
                                 3};
enum { SPECIAL = sizeof special / sizeof *special };

static void assert_same(double is, double wanted, double x, double y, double z) {
    if (!(isnan(is) && isnan(wanted)) && bits_of(is) != bits_of(wanted))
        fail_msg("fma(%a, %a, %a) = %a, not %a", x, y, z, is, wanted);
}

static void compare(double x, double y, double z) {
    assert_same(gka_fma(x, y, z), fma(x, y, z), x, y, z);
    for (int lane = 0; lane < 2; lane++) { /* beside a lane that needs no care */
        gka_fma_pair of[] = {{3, 3}, {5, 5}, {-7, -7}};
        of[0][lane] = x, of[1][lane] = y, of[2][lane] = z;
        const gka_fma_pair both = gka_fma_two(of[0], of[1], of[2]);
        assert_same(both[lane], fma(x, y, z), x, y, z);
        assert_same(both[1 - lane], 8, 3, 5, -7);
    }
    const float a = (float)x, b = (float)y, c = (float)z;
    const double wanted = (double)fmaf(a, b, c);
    assert_same((double)gka_fmaf(a, b, c), wanted, (double)a, (double)b, (double)c);
    for (int lane = 0; lane < 4; lane++) {
        gka_fma_four of[] = {{3, 3, 3, 3}, {5, 5, 5, 5}, {-7, -7, -7, -7}};
        of[0][lane] = a, of[1][lane] = b, of[2][lane] = c;
        const gka_fma_four all = gka_fmaf_four(of[0], of[1], of[2]);
        assert_same((double)all[lane], wanted, (double)a, (double)b, (double)c);
        assert_same((double)all[(lane + 1) % 4], 8, 3, 5, -7);
    }
}

/* 53 bits, of which `zeros` at the end are 0, times 2^exponent. */
static double number(uint64_t bits, int zeros, int exponent) {
    const double x =
        ldexp((double)((bits >> 11 | (uint64_t)1 << 52) >> zeros << zeros), exponent - 52);
    return bits & 1 ? -x : x;
}

static void test_special(void **state) {
    (void)state;
    for (int i = 0; i < SPECIAL; i++)
        for (int j = 0; j < SPECIAL; j++)
            for (int k = 0; k < SPECIAL; k++)
                compare(special[i], special[j], special[k]);
}

/* Short significands make ties, z near -x y cancellation, far exponents a sum of which little is
 * left. */
static void test_random(void **state) {
    (void)state;
    for (uint64_t i = 0; i < CASES; i++) {
        uint64_t r[4], s[4];
        gka_philox((const uint64_t[4]){i, 0, 0, 0}, (const uint64_t[2]){1, 0}, r);
        gka_philox((const uint64_t[4]){i, 1, 0, 0}, (const uint64_t[2]){1, 0}, s);
        const int zeros = (int)(s[0] % 53), far = i % 4 == 0 ? 500 : 60;
        const double x = number(r[0], zeros, (int)(s[1] % 120) - 60);
        const double y = number(r[1], (int)(s[2] % 53), (int)(s[3] % 120) - 60);
        compare(x, y,
                number(r[2], (int)(r[3] % 53), ilogb(x * y) + (int)(r[3] >> 32) % (2 * far) - far));
        compare(x, y, -(x * y));
        compare(x, y, -nextafter(x * y, r[3] & 1 ? INFINITY : -INFINITY));
        compare(ldexp(x, -400), ldexp(y, -400 - (int)(r[3] % 200)),
                ldexp(x, -900)); /* where results are subnormal */
        compare(number(r[0], zeros, -70), number(r[1], zeros, -60 - (int)(s[1] % 24)),
                number(r[2], (int)(r[3] % 53), -128 - (int)(s[2] % 20))); /* of binary32 */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_special),
                                       cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
