/* policies.h - every policy the laws run over: names x modes x fused x orders. */
#ifndef TESTS_CONFORMANCE_POLICIES_H
#define TESTS_CONFORMANCE_POLICIES_H

#include "test.h"

#include "gka/arith.h"

typedef void policy_law(const gka_policy *policy);

static inline void for_every_policy(policy_law *law) {
    static const char *const modes[] = {"", "/zero", "/up", "/down", "/odd", "/stochastic"};
    static const char *const fused[] = {"", "/fma"};
    static const char *const orders[] = {"", "/pairwise", "/blocks3", "/blocks16"};
    for (const char *const *name = gka_policy_names(); *name != NULL; name++)
        for (int mode = 0; mode < 6; mode++)
            for (int fma = 0; fma < 2; fma++)
                for (int order = 0; order < 4; order++) {
                    char full[64];
                    gka_policy policy;
                    (void)snprintf(full, sizeof full, "%s%s%s%s", *name, modes[mode], fused[fma],
                                   orders[order]);
                    assert_true(gka_policy_find(full, &policy));
                    policy.seed = 20251 + (uint64_t)mode;
                    law(&policy);
                }
}

/* A small random stream for the tests' inputs. */
typedef struct stream {
    uint64_t seed, at;
} stream;

static inline uint64_t next_bits(stream *s) {
    uint64_t out[4];
    const uint64_t counter[4] = {s->at++, 0, 0, 0}, key[2] = {s->seed, 77};
    gka_philox(counter, key, out);
    return out[0];
}

/* uniform in [0, 1) */
static inline double next_uniform(stream *s) {
    return (double)(next_bits(s) >> 11) * 0x1p-53;
}

#endif
