/* draw.c - uniform and normal numbers from Philox. */
#include "problem/draw.h"

#include "gka/base.h"
#include "problem/functions.h"

#include <math.h>

static void words(uint64_t seed, gka_draw what, int64_t i0, int64_t i1, int64_t i2, int64_t i3,
                  uint64_t w[4]) {
    const uint64_t counter[4] = {(uint64_t)i0, (uint64_t)i1, (uint64_t)i2, (uint64_t)i3};
    const uint64_t key[2] = {seed, (uint64_t)what};
    gka_philox(counter, key, w);
}

static double open_uniform(uint64_t word) {
    return (double)(word >> 12) * 0x1p-52 + 0x1p-53; /* exact */
}

double gka_draw_uniform(uint64_t seed, gka_draw what, int64_t i0, int64_t i1, int64_t i2,
                        int64_t i3) {
    uint64_t w[4];
    words(seed, what, i0, i1, i2, i3, w);
    return open_uniform(w[0]);
}

double gka_draw_normal(uint64_t seed, gka_draw what, int64_t i0, int64_t i1, int64_t i2,
                       int64_t i3) {
    uint64_t w[4];
    words(seed, what, i0, i1, i2, i3, w);
    return sqrt(-2 * gka_pinned_log(open_uniform(w[0]))) *
           gka_pinned_cosine((double)(w[1] >> 11) * 0x1p-53);
}
