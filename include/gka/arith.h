/* gka/arith.h - an arithmetic is a policy; a device is a policy whose dot product is the tensor
 * core.
 *
 *   1  gka_policy               storage, product, accumulator; rounding; fused; order; seed
 *   2  gka_device               h100, a100, ieee32, exact64
 *   3  gka_mma                  D = A B + C as the device computes it
 *   4  gka_device_exp, ...      the functions, as the device computes them
 */
#ifndef GKA_ARITH_H
#define GKA_ARITH_H

#include "gka/base.h"
#include "gka/format.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifdef __cplusplus
}
#endif
#endif
