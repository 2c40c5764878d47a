/* tensor_core.h - the dot product of a tensor core, as the rule itself (NUMERICS 6). */
#ifndef ARITH_TENSOR_CORE_H
#define ARITH_TENSOR_CORE_H

#include "gka/arith.h"

/* c + sum_k a[k] b[k] for k < K, group after group; K is a multiple of core->group (pad with
 * zeros). a and b hold numbers of the input format. Integer arithmetic throughout: the judge of
 * every faster version. */
float gka_tensor_core_dot(const gka_tensor_core *core, gka_mma_input input, int64_t K,
                          const float *a, const float *b, float c);

#endif
