/* lanes.h - eight binary64 lanes as one value, for kernels compiled once per instruction set.
 *
 * Every operation acts lane by lane, so the bits of a result do not depend on how many lanes the
 * hardware has. + - * / come from the compiler's vectors; fma is spelt out per instruction set.
 */
#ifndef GKA_ORACLE_LANES_H
#define GKA_ORACLE_LANES_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__FMA__)
#include <immintrin.h>
#endif

#define GKA_INLINE static inline __attribute__((always_inline))

enum { LANES = 8 };

typedef double lanes __attribute__((vector_size(64)));
typedef int64_t lanes_bits __attribute__((vector_size(64)));

GKA_INLINE lanes lanes_all(double x) {
    return (lanes){x, x, x, x, x, x, x, x};
}

/* p is aligned to 64 bytes */
GKA_INLINE lanes lanes_load(const double *p) {
    return *(const lanes *)(const void *)p;
}

GKA_INLINE void lanes_store(double *p, lanes x) {
    *(lanes *)(void *)p = x;
}

/* a b + c, rounded once */
GKA_INLINE lanes lanes_fma(lanes a, lanes b, lanes c) {
#if defined(__AVX512F__)
    return (lanes)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__FMA__)
    union {
        lanes all;
        __m256d half[2];
    } x = {a}, y = {b}, z = {c};
    z.half[0] = _mm256_fmadd_pd(x.half[0], y.half[0], z.half[0]);
    z.half[1] = _mm256_fmadd_pd(x.half[1], y.half[1], z.half[1]);
    return z.all;
#else
    lanes d;
    for (int i = 0; i < LANES; i++)
        d[i] = fma(a[i], b[i], c[i]);
    return d;
#endif
}

/* c - a b, rounded once */
GKA_INLINE lanes lanes_fnma(lanes a, lanes b, lanes c) {
#if defined(__AVX512F__)
    return (lanes)_mm512_fnmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#else
    return lanes_fma(-a, b, c);
#endif
}

GKA_INLINE lanes lanes_abs(lanes x) {
    return (lanes)((lanes_bits)x & INT64_MAX);
}

/* 2^floor(log2 x) for normal x > 0 */
GKA_INLINE lanes lanes_binade(lanes x) {
    return (lanes)((lanes_bits)x & (int64_t)0x7ff0000000000000);
}

GKA_INLINE lanes lanes_sqrt(lanes x) {
#if defined(__AVX512F__)
    return (lanes)_mm512_sqrt_pd((__m512d)x);
#else
    for (int i = 0; i < LANES; i++)
        x[i] = sqrt(x[i]);
    return x;
#endif
}

/* The sum of the lanes in one fixed order: ((0+4)+(2+6)) + ((1+5)+(3+7)). */
GKA_INLINE double lanes_sum(lanes x) {
    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

/* ---- double-double, lane by lane (dd.h) ---------------------------------------------------- */

typedef struct lanes_dd {
    lanes hi, lo;
} lanes_dd;

GKA_INLINE lanes_dd lanes_fast_two_sum(lanes a, lanes b) {
    const lanes s = a + b;
    return (lanes_dd){s, b - (s - a)};
}

GKA_INLINE lanes_dd lanes_two_sum(lanes a, lanes b) {
    const lanes s = a + b, t = s - a;
    return (lanes_dd){s, (a - (s - t)) + (b - t)};
}

GKA_INLINE lanes_dd lanes_two_prod(lanes a, lanes b) {
    const lanes p = a * b;
    return (lanes_dd){p, lanes_fma(a, b, -p)};
}

GKA_INLINE lanes_dd lanes_dd_add(lanes_dd a, lanes_dd b) {
    const lanes_dd s = lanes_two_sum(a.hi, b.hi), t = lanes_two_sum(a.lo, b.lo);
    const lanes_dd v = lanes_fast_two_sum(s.hi, s.lo + t.hi);
    return lanes_fast_two_sum(v.hi, t.lo + v.lo);
}

GKA_INLINE lanes_dd lanes_dd_mul(lanes_dd a, lanes_dd b) {
    const lanes_dd c = lanes_two_prod(a.hi, b.hi);
    return lanes_fast_two_sum(c.hi, c.lo + lanes_fma(a.hi, b.lo, a.lo * b.hi));
}

#endif
