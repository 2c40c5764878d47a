/* test.h - cmocka with what it needs included first, and what every test file wants. */
#ifndef GKA_TEST_H
#define GKA_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "gka/base.h"

/* The bits of a number: encodings are compared, never values with ==. */
static inline uint64_t bits_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Each allocation of `call` made to fail in turn (rest: and those after it), until it passes: it
 * says so and leaves nothing behind, also where it passes. How many there are. */
static inline int64_t allocations_fail(gka_status (*call)(void *context), void *context,
                                       bool rest) {
    const int64_t live = gka_alloc_live();
    for (int64_t n = 0;; n++) {
        gka_alloc_fail_at(n, rest);
        const gka_status status = call(context);
        gka_alloc_fail_at(-1, false);
        assert_int_equal(gka_alloc_live(), live);
        if (status == GKA_OK)
            return n;
        assert_int_equal(status, GKA_OUT_OF_MEMORY);
    }
}

static inline uint32_t bits_of_f32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

#endif
