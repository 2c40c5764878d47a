/* policy.h - the named policies as constants, which the kernels are specialised for. */
#ifndef ARITH_POLICY_H
#define ARITH_POLICY_H

#include "gka/arith.h"

/* The formats again, as initialisers: a constant aggregate is what the compiler can fold. A test
 * holds them against gka_format_find. */
#define ARITH_FORMAT_FP64                                                                          \
    {                                                                                              \
        "fp64", 53, -1022, 1023, 0x1.fffffffffffffp1023, true, GKA_OVERFLOW_IEEE, 64,              \
            GKA_SPECIALS_BY_FIELD                                                                  \
    }
#define ARITH_FORMAT_FP32                                                                          \
    { "fp32", 24, -126, 127, 0x1.fffffep127, true, GKA_OVERFLOW_IEEE, 32, GKA_SPECIALS_BY_FIELD }
#define ARITH_FORMAT_TF32                                                                          \
    { "tf32", 11, -126, 127, 0x1.ffcp127, true, GKA_OVERFLOW_IEEE, 32, GKA_SPECIALS_BY_FIELD }
#define ARITH_FORMAT_BF16                                                                          \
    { "bf16", 8, -126, 127, 0x1.fep127, true, GKA_OVERFLOW_IEEE, 16, GKA_SPECIALS_BY_FIELD }
#define ARITH_FORMAT_FP16                                                                          \
    { "fp16", 11, -14, 15, 0x1.ffcp15, true, GKA_OVERFLOW_IEEE, 16, GKA_SPECIALS_BY_FIELD }
#define ARITH_FORMAT_E4M3                                                                          \
    { "e4m3", 4, -6, 8, 448.0, true, GKA_OVERFLOW_SATURATE, 8, GKA_SPECIALS_BY_FIELD }
#define ARITH_FORMAT_E5M2                                                                          \
    { "e5m2", 3, -14, 15, 57344.0, true, GKA_OVERFLOW_SATURATE, 8, GKA_SPECIALS_BY_FIELD }

/* To nearest even, sequential. */
#define ARITH_POLICY(name, s, o, p, c, fused)                                                      \
    {                                                                                              \
        name, ARITH_FORMAT_##s, ARITH_FORMAT_##o, ARITH_FORMAT_##p, ARITH_FORMAT_##c,              \
            GKA_NEAREST_EVEN, fused, GKA_SEQUENTIAL, 1, 0, NULL                                    \
    }

/* X(constant, name, storage, operand, product, accumulator, fused): the names of gka_policy_find */
#define ARITH_POLICIES(X)                                                                          \
    X(FP64, "fp64", FP64, FP64, FP64, FP64, false)                                                 \
    X(FP32, "fp32", FP32, FP32, FP32, FP32, false)                                                 \
    X(TF32, "tf32", TF32, TF32, TF32, TF32, false)                                                 \
    X(BF16, "bf16", BF16, BF16, BF16, BF16, false)                                                 \
    X(FP16, "fp16", FP16, FP16, FP16, FP16, false)                                                 \
    X(TF32_ACC32, "tf32-acc32", TF32, TF32, FP32, FP32, false)                                     \
    X(BF16_ACC32, "bf16-acc32", BF16, BF16, FP32, FP32, false)                                     \
    X(FP16_ACC32, "fp16-acc32", FP16, FP16, FP32, FP32, false)                                     \
    X(E4M3_ACC32, "e4m3-acc32", E4M3, E4M3, FP32, FP32, false)                                     \
    X(E5M2_ACC32, "e5m2-acc32", E5M2, E5M2, FP32, FP32, false)                                     \
    X(TF32_MIXED, "tf32-mixed", FP32, TF32, FP32, FP32, false)                                     \
    X(BF16_MIXED, "bf16-mixed", FP32, BF16, FP32, FP32, false)                                     \
    X(FP16_MIXED, "fp16-mixed", FP32, FP16, FP32, FP32, false)                                     \
    X(E4M3_MIXED, "e4m3-mixed", FP32, E4M3, FP32, FP32, false)                                     \
    X(E5M2_MIXED, "e5m2-mixed", FP32, E5M2, FP32, FP32, false)

/* Those that have an instance of the kernels: the above and what devices compute in. */
#define ARITH_INSTANCES(X)                                                                         \
    ARITH_POLICIES(X)                                                                              \
    X(FP64_FMA, "fp64/fma", FP64, FP64, FP64, FP64, true)                                          \
    X(FP32_FMA, "fp32/fma", FP32, FP32, FP32, FP32, true)

/* Which instance of the kernels serves a policy; ARITH_GENERIC serves any. */
enum {
#define ARITH_ENUM(id, ...) ARITH_##id,
    ARITH_INSTANCES(ARITH_ENUM)
#undef ARITH_ENUM
        ARITH_GENERIC
};

/* The instance whose constant equals the policy but for name and seed. */
int gka_arith_instance(const gka_policy *policy);

static inline bool arith_same_format(const gka_format *a, const gka_format *b) {
    return a->p == b->p && a->emin == b->emin && a->emax == b->emax &&
           a->max_finite <= b->max_finite && a->max_finite >= b->max_finite &&
           a->subnormals == b->subnormals && a->overflow == b->overflow;
}

#endif
