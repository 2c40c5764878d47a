/* policy.c - policies by name. */
#include "arith/policy.h"

#include <stdlib.h>
#include <string.h>

static const gka_policy INSTANCES[] = {
#define ARITH_ENTRY(id, name, s, o, p, c, fused) ARITH_POLICY(name, s, o, p, c, fused),
    ARITH_INSTANCES(ARITH_ENTRY)
#undef ARITH_ENTRY
};

static const char *const NAMES[] = {
#define ARITH_NAME(id, name, ...) name,
    ARITH_POLICIES(ARITH_NAME)
#undef ARITH_NAME
        NULL};

enum { NAMED = sizeof NAMES / sizeof NAMES[0] - 1 };

const char *const *gka_policy_names(void) {
    return NAMES;
}

/* Does the part of a name up to the next '/' or the end equal the word? */
static bool part_is(const char *part, size_t length, const char *word) {
    return strlen(word) == length && memcmp(part, word, length) == 0;
}

/* "blocksN", 1 <= N < 10^9, without a leading zero; 0: not that. */
static int64_t part_blocks(const char *part, size_t length) {
    static const char prefix[] = "blocks";
    const size_t skip = sizeof prefix - 1;
    if (length <= skip || length > skip + 9 || memcmp(part, prefix, skip) != 0 || part[skip] == '0')
        return 0;
    int64_t n = 0;
    for (size_t i = skip; i < length; i++) {
        if (part[i] < '0' || part[i] > '9')
            return 0;
        n = 10 * n + (part[i] - '0');
    }
    return n;
}

/* One suffix; false: none known, or the second of its kind. */
static bool take_suffix(const char *part, size_t length, gka_policy *policy) {
    const int64_t blocks = part_blocks(part, length);
    if (blocks > 0 || part_is(part, length, "pairwise")) {
        if (policy->order != GKA_SEQUENTIAL)
            return false;
        policy->order = blocks > 0 ? GKA_BLOCKS : GKA_PAIRWISE;
        policy->block = blocks > 0 ? blocks : 1;
        return true;
    }
    if (part_is(part, length, "fma")) {
        const bool first = !policy->fused;
        policy->fused = true;
        return first;
    }
    static const gka_rounding MODES[] = {GKA_TOWARD_ZERO, GKA_UP, GKA_DOWN, GKA_TO_ODD,
                                         GKA_STOCHASTIC};
    for (size_t i = 0; i < sizeof MODES / sizeof MODES[0]; i++)
        if (part_is(part, length, gka_rounding_name(MODES[i]))) {
            const bool first = policy->rounding == GKA_NEAREST_EVEN;
            policy->rounding = MODES[i];
            return first;
        }
    return false;
}

/* A number of one or two digits without a leading zero; 0: none. */
static int take_number(const char **at) {
    if (**at < '1' || **at > '9')
        return 0;
    int n = *(*at)++ - '0';
    if (**at >= '0' && **at <= '9')
        n = 10 * n + (*(*at)++ - '0');
    return n;
}

/* "pPeE", "pPeE-acc32" or "pPeE-mixed": P bits of precision and E of exponent, everything, or what
 * these words say of the other short formats. */
static bool find_made(const char *part, size_t length, gka_policy *policy) {
    const char *at = part + 1;
    if (length < 4 || part[0] != 'p')
        return false;
    const int p = take_number(&at);
    if (p == 0 || *at++ != 'e')
        return false;
    const int e = take_number(&at);
    if (e < 2 || e > 11)
        return false;
    const int emax = (1 << (e - 1)) - 1;
    const gka_format made = gka_format_ieee("pPeE", p, 1 - emax, emax), *const fp32 =
                                                                            gka_format_find("fp32");
    const size_t rest = length - (size_t)(at - part);
    const bool acc32 = part_is(at, rest, "-acc32"), mixed = part_is(at, rest, "-mixed");
    if (rest != 0 && !acc32 && !mixed)
        return false;
    *policy = (gka_policy){.storage = mixed ? *fp32 : made,
                           .operand = made,
                           .product = rest != 0 ? *fp32 : made,
                           .accumulator = rest != 0 ? *fp32 : made,
                           .block = 1};
    return gka_format_check(&made, NULL) == GKA_OK;
}

/* "BLOCKS-acc32" */
static bool find_blocks(const char *part, size_t length, gka_policy *policy) {
    static const char tail[] = "-acc32";
    const size_t skip = sizeof tail - 1;
    const gka_format *const fp32 = gka_format_find("fp32");
    if (length <= skip || memcmp(part + length - skip, tail, skip) != 0)
        return false;
    for (const gka_block_format *const *b = gka_block_format_presets(); *b; b++)
        if (part_is(part, length - skip, (*b)->name)) {
            *policy = (gka_policy){.storage = *fp32,
                                   .operand = *fp32,
                                   .product = *fp32,
                                   .accumulator = *fp32,
                                   .block = 1,
                                   .blocks = *b};
            return true;
        }
    return false;
}

bool gka_policy_find(const char *name, gka_policy *policy) {
    if (strlen(name) >= sizeof policy->name)
        return false;
    const size_t base = strcspn(name, "/");
    int i = 0;
    while (i < NAMED && !part_is(name, base, NAMES[i]))
        i++;
    gka_policy found;
    if (i < NAMED)
        found = INSTANCES[i];
    else if (!find_blocks(name, base, &found) && !find_made(name, base, &found))
        return false;
    for (const char *part = name + base; *part == '/';) {
        part++;
        const size_t length = strcspn(part, "/");
        if (!take_suffix(part, length, &found))
            return false;
        part += length;
    }
    memcpy(found.name, name, strlen(name) + 1);
    if (gka_policy_check(&found, NULL) != GKA_OK)
        return false;
    *policy = found;
    return true;
}

gka_status gka_policy_check(const gka_policy *policy, gka_error *error) {
    const gka_format *const formats[] = {&policy->storage, &policy->operand, &policy->product,
                                         &policy->accumulator};
    for (int i = 0; i < 4; i++) {
        const gka_status status = gka_format_check(formats[i], error);
        if (status != GKA_OK)
            return status;
        if (formats[i]->p > policy->accumulator.p)
            return gka_fail(error, GKA_BAD_ARGUMENT,
                            "arithmetic %s: %s has more precision than its accumulator %s",
                            policy->name, formats[i]->name, policy->accumulator.name);
    }
    if (policy->blocks && !gka_format_equal(&policy->storage, &policy->accumulator))
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "arithmetic %s: blocks of numbers in %s, expected the accumulator's %s",
                        policy->name, policy->storage.name, policy->accumulator.name);
    if (policy->order == GKA_BLOCKS && policy->block < 1)
        return gka_fail(error, GKA_BAD_ARGUMENT, "arithmetic %s: blocks of %lld terms",
                        policy->name, (long long)policy->block);
    return GKA_OK;
}

int gka_arith_instance(const gka_policy *policy) {
    if (policy->rounding != GKA_NEAREST_EVEN || policy->order != GKA_SEQUENTIAL)
        return ARITH_GENERIC;
    for (int i = 0; i < ARITH_GENERIC; i++)
        if (policy->fused == INSTANCES[i].fused &&
            arith_same_format(&policy->storage, &INSTANCES[i].storage) &&
            arith_same_format(&policy->operand, &INSTANCES[i].operand) &&
            arith_same_format(&policy->product, &INSTANCES[i].product) &&
            arith_same_format(&policy->accumulator, &INSTANCES[i].accumulator))
            return i;
    return ARITH_GENERIC;
}
