/* pinned.h - functions that a CPU and a GPU compute to the same bit.
 *
 * IEEE binary32 with nearest-even rounding has one result for + - * / sqrt and fma, on any machine.
 * What is built from these alone, in a written order, is therefore the same everywhere; the exp of
 * a maths library or of a GPU's special function unit is not. This header is compiled by the C
 * compiler (contraction off) and by nvcc (-fmad=false, no -ftz), and is the only place where either
 * gets exp.
 */
#ifndef GKA_ARITH_PINNED_H
#define GKA_ARITH_PINNED_H

#ifdef __CUDACC__
#define GKA_PINNED static __host__ __device__ __forceinline__
#else
#include <math.h>
#define GKA_PINNED static inline
#endif
#include <stdint.h>
#include <string.h>

/* 2^n for -126 <= n <= 127. */
GKA_PINNED float gka_pinned_pow2(int n) {
    const uint32_t bits = (uint32_t)(n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* exp(x) for x <= 0, within 1.1 units in the last place; 0 below -104; NaN for NaN.
 *
 * x = n ln 2 + r with n = rint(x / ln 2), |r| <= ln(2)/2 (1 + 2^-20); ln 2 in two parts, the first
 * of 12 bits so that n LN2_HI is exact for |n| < 2^12; exp(r) by its Taylor polynomial of degree 7
 * (remainder |r|^8/8! < 2^-27.5); 2^n in two factors, so that a subnormal result is rounded once.
 */
GKA_PINNED float gka_pinned_expf(float x) {
    const float log2e = 0x1.715476p+0f, ln2_hi = 0x1.62ep-1f, ln2_lo = 0x1.0bfbe8p-15f;
    if (x != x)
        return x;
    if (x < -104.0f)
        return 0.0f;
    const float n = rintf(x * log2e);
    float r = fmaf(-n, ln2_hi, x);
    r = fmaf(-n, ln2_lo, r);
    float p = 0x1.a01a02p-13f;       /* 1/7! */
    p = fmaf(p, r, 0x1.6c16c2p-10f); /* 1/6! */
    p = fmaf(p, r, 0x1.111112p-7f);  /* 1/5! */
    p = fmaf(p, r, 0x1.555556p-5f);  /* 1/4! */
    p = fmaf(p, r, 0x1.555556p-3f);  /* 1/3! */
    p = fmaf(p, r, 0.5f);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    const int whole = (int)n, half = whole / 2;
    return p * gka_pinned_pow2(half) * gka_pinned_pow2(whole - half);
}

#endif
