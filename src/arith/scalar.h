/* scalar.h - single operations of a policy, always inline: with a constant policy they fold to a
 * few instructions.
 *
 *   P  the policy; F  the format of the result; at  position in the random stream
 *
 * To nearest even with p <= 25, operands included, a sum, product, quotient or root rounded to
 * binary64 first is harmless (Figueroa 1995: 53 >= 2 p + 2); a fused multiply-add is not. */
#ifndef ARITH_SCALAR_H
#define ARITH_SCALAR_H

#include "arith/policy.h"
#include "format/round.h"

GKA_INLINE uint64_t arith_random(const gka_policy *P, uint64_t at) {
    return P->rounding == GKA_STOCHASTIC ? gka_round_random(P->seed, at) : 0;
}

/* To nearest even, and binary64 is wide enough to compute in first. */
GKA_INLINE bool arith_through_double(const gka_policy *P) {
    return P->rounding == GKA_NEAREST_EVEN && P->accumulator.p <= 25;
}

GKA_INLINE bool arith_is_binary64(const gka_policy *P, const gka_format *F) {
    return P->rounding == GKA_NEAREST_EVEN && F->p == 53;
}

GKA_INLINE bool arith_is_binary32(const gka_policy *P, const gka_format *F) {
    return P->rounding == GKA_NEAREST_EVEN && F->p == 24 && F->emin == -126 && F->emax == 127 &&
           F->subnormals && F->overflow == GKA_OVERFLOW_IEEE;
}

/* F[x] */
GKA_INLINE double arith_fit(const gka_policy *P, const gka_format *F, double x, uint64_t at) {
    if (arith_is_binary64(P, F))
        return x;
    if (arith_is_binary32(P, F))
        return (double)(float)x;
    return gka_round_core(F, P->rounding, x, arith_random(P, at));
}

/* F[a + b] */
GKA_INLINE double arith_add(const gka_policy *P, const gka_format *F, double a, double b,
                            uint64_t at) {
    if (arith_is_binary64(P, F))
        return a + b;
    if (arith_through_double(P))
        return arith_fit(P, F, a + b, at);
    return gka_add_round(F, P->rounding, a, b, arith_random(P, at));
}

/* F[a b] */
GKA_INLINE double arith_mul(const gka_policy *P, const gka_format *F, double a, double b,
                            uint64_t at) {
    if (arith_is_binary64(P, F))
        return a * b;
    if (arith_through_double(P))
        return arith_fit(P, F, a * b, at);
    return gka_mul_round(F, P->rounding, a, b, arith_random(P, at));
}

/* F[a / b] */
GKA_INLINE double arith_div(const gka_policy *P, const gka_format *F, double a, double b,
                            uint64_t at) {
    if (arith_is_binary64(P, F))
        return a / b;
    if (arith_through_double(P))
        return arith_fit(P, F, a / b, at);
    return gka_div_round(F, P->rounding, a, b, arith_random(P, at));
}

/* F[sqrt a] */
GKA_INLINE double arith_sqrt(const gka_policy *P, const gka_format *F, double a, uint64_t at) {
    if (arith_is_binary64(P, F))
        return sqrt(a);
    if (arith_through_double(P))
        return arith_fit(P, F, sqrt(a), at);
    return gka_sqrt_round(F, P->rounding, a, arith_random(P, at));
}

/* F[a b + c] */
GKA_INLINE double arith_fma(const gka_policy *P, const gka_format *F, double a, double b, double c,
                            uint64_t at) {
    if (arith_is_binary64(P, F))
        return fma(a, b, c);
    if (arith_is_binary32(P, F)) /* no value here is wider than the accumulator */
        return (double)fmaf((float)a, (float)b, (float)c);
    return gka_fma_round(F, P->rounding, a, b, c, arith_random(P, at));
}

/* bf16 in binary32: a sum of two bf16 numbers survives rounding to binary32 first (24 >= 2 8 + 2),
 * a product has 16 bits and is exact, or lies below 2^-126, where it could be moved onto a tie of
 * the bf16 grid only if it had more than 16; above 2^128 both ways give Inf. */
GKA_INLINE bool arith_carried_by_float(const gka_policy *P) {
    return P->rounding == GKA_NEAREST_EVEN && !P->fused && P->accumulator.p == 8 &&
           P->accumulator.emin == -126 && P->accumulator.emax == 127 && P->accumulator.subnormals &&
           P->accumulator.overflow == GKA_OVERFLOW_IEEE &&
           arith_same_format(&P->storage, &P->accumulator) &&
           arith_same_format(&P->operand, &P->accumulator) &&
           arith_same_format(&P->product, &P->accumulator);
}

/* S[C], a number of the accumulator format on its way to memory */
GKA_INLINE double arith_store(const gka_policy *P, double x, uint64_t at) {
    return arith_same_format(&P->storage, &P->accumulator) ? x : arith_fit(P, &P->storage, x, at);
}

/* O[S], a number from memory on its way into a matrix product */
GKA_INLINE double arith_operand(const gka_policy *P, double x, uint64_t at) {
    return arith_same_format(&P->storage, &P->operand) ? x : arith_fit(P, &P->operand, x, at);
}

/* C[P[a x] + P[b y]], fused C[a x + P[b y]], stored; element at the base of its four numbers */
GKA_INLINE double arith_axpby(const gka_policy *P, double a, double x, double b, double y,
                              uint64_t at) {
    const double by = arith_mul(P, &P->product, b, y, at + 1);
    const double sum =
        P->fused ? arith_fma(P, &P->accumulator, a, x, by, at + 2)
                 : arith_add(P, &P->accumulator, arith_mul(P, &P->product, a, x, at), by, at + 2);
    return arith_store(P, sum, at + 3);
}

#endif
