/* tensor_core.h - the sum of a matrix unit, as the rule itself (NUMERICS 6). */
#ifndef ARITH_TENSOR_CORE_H
#define ARITH_TENSOR_CORE_H

#include "gka/arith.h"

/* The significand's bits and the smallest exponent of what a number is held in. */
typedef struct gka_term_format {
    int p, emin;
} gka_term_format;

gka_term_format gka_mma_input_format(gka_mma_input input);

/* Which k stands at place `at` of the order in which the unit takes its products. */
int64_t gka_k_at(gka_k_order order, int64_t at);
/* K is padded with zeros to a multiple of this: whole groups, and whole blocks of the order. */
int64_t gka_k_unit(const gka_tensor_core *core);

/* A number as it comes in: a unit that flushes takes those below `normal` as zeros, x86's of their
 * own sign (the AMX of a Xeon shows it), AMD's as +0. */
static inline float gka_flushed_input(const gka_tensor_core *core, float normal, float x) {
    const bool keeps_sign = core->sum == GKA_SUM_EXACT || core->sum == GKA_SUM_CHAINS;
    return core->flush && (x < 0 ? -x : x) < normal ? (keeps_sign ? x * 0.0F : 0) : x;
}

/* c + sum of a[i] b[i stride], i < K, the products in the unit's order already; K is a multiple of
 * gka_k_unit (pad with zeros). a and b hold numbers of the input format. The judge of every faster
 * version. */
float gka_tensor_core_dot(const gka_tensor_core *core, gka_mma_input input, int64_t K,
                          const float *a, const float *b, int64_t stride, float c);

#endif
