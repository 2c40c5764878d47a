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

/* Under the sanitizers, which are there for memory and undefined behaviour, a test of numbers takes
 * a slice of its cases that walks every path once; the release build and clang's take them all. */
#ifdef __SANITIZE_ADDRESS__
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* The bits of a number: encodings are compared, never values with ==. */
static inline uint64_t bits_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Allocations of `call` made to fail (rest: and those after it): the first `dense`, then every
 * (n / dense)-th, until one is not reached. The call says so and leaves nothing behind, also where
 * it passes. How many it makes. Run with one thread, so that number n is always the same one. */
static inline int64_t some_allocations_fail(gka_status (*call)(void *context), void *context,
                                            bool rest, int64_t dense) {
    const int64_t live = gka_alloc_live();
    for (int64_t n = 0;; n += 1 + n / dense) {
        gka_alloc_fail_at(n, rest);
        const gka_status status = call(context);
        const int64_t asked = gka_alloc_fail_at(-1, false);
        if (status != (asked > n ? GKA_OUT_OF_MEMORY : GKA_OK))
            fail_msg("allocation %lld of %lld: status %d", (long long)n, (long long)asked, status);
        assert_int_equal(gka_alloc_live(), live);
        if (asked <= n)
            return asked;
    }
}

/* Each one of them. */
static inline int64_t allocations_fail(gka_status (*call)(void *context), void *context) {
    return some_allocations_fail(call, context, false, INT64_MAX);
}

static inline uint32_t bits_of_f32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

#endif
