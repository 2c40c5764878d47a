/* exp.c - exp of the device ieee32 against MPFR: correctly rounded for every binary32 argument.
 *
 *   exhaustive_exp STRIDE [SHARD SHARDS]
 *
 * Every STRIDE-th encoding from SHARD on, of the arguments that are not decided by a bound: for
 * |x| < 2^-25 the result is 1 (half a unit below 1 is 2^-25), beyond +-104 it is 0 or infinite.
 */
#include "test.h"

#include "gka/arith.h"

#include <math.h>
#include <mpfr.h>
#include <stdlib.h>

static uint64_t stride, shard, shards;

static float decoded(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* exp(x) rounded to nearest in binary32, subnormals included. */
static float by_mpfr(float x, mpfr_t y) {
    (void)mpfr_set_flt(y, x, MPFR_RNDN);
    const int inexact = mpfr_exp(y, y, MPFR_RNDN);
    (void)mpfr_subnormalize(y, inexact, MPFR_RNDN);
    return mpfr_get_flt(y, MPFR_RNDN);
}

static void exh_exp_is_correctly_rounded(void **state) {
    (void)state;
    const gka_device *const device = gka_device_find("ieee32");
    mpfr_t y;
    mpfr_init2(y, 24);
    (void)mpfr_set_emin(-148); /* the smallest binary32 is 2^-149 = .1b * 2^-148 */
    (void)mpfr_set_emax(128);
    uint64_t checked = 0;
    for (uint64_t bits = shard * stride; bits < UINT64_C(1) << 32; bits += stride * shards) {
        const float x = decoded((uint32_t)bits);
        const float got = (float)gka_device_exp(device, (double)x);
        float want = 1;
        if (isnan(x)) {
            assert_true(isnan(got));
            continue;
        }
        if (fabsf(x) > 104)
            want = x > 0 ? INFINITY : 0;
        else if (!(fabsf(x) < 0x1p-25f)) {
            want = by_mpfr(x, y);
            checked++;
        }
        if (bits_of_f32(got) != bits_of_f32(want))
            fail_msg("exp(%a) is %a, not %a", (double)x, (double)want, (double)got);
    }
    print_message("%llu arguments against MPFR, the others against bounds\n",
                  (unsigned long long)checked);
    mpfr_clear(y);
    mpfr_free_cache();
}

int main(int argc, char **argv) {
    stride = argc > 1 ? strtoull(argv[1], NULL, 10) : 4093;
    shard = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    shards = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    if (stride == 0 || shards == 0)
        return 2;
    const struct CMUnitTest tests[] = {cmocka_unit_test(exh_exp_is_correctly_rounded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
