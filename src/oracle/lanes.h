/* lanes.h - binary64 lanes as one value, for kernels compiled once per instruction set.
 *
 * A strip has eight columns; the hardware holds LANES of them at once, so a strip is PARTS values.
 * Every operation acts lane by lane, so the bits of a result do not depend on how many lanes the
 * hardware has. (A value wider than the hardware's registers would live in memory.) + - * / come
 * from the compiler's vectors; fma is spelt out per instruction set.
 */
#ifndef GKA_ORACLE_LANES_H
#define GKA_ORACLE_LANES_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__) || defined(__FMA__)
#include <immintrin.h>
#endif

#define GKA_INLINE static inline __attribute__((always_inline))

#if defined(__AVX512F__)
#define LANES 8
#define LANES_OF(x)                                                                                \
    { x, x, x, x, x, x, x, x }
#elif defined(__FMA__)
#define LANES 4
#define LANES_OF(x)                                                                                \
    { x, x, x, x }
#else
#define LANES 2
#define LANES_OF(x)                                                                                \
    { x, x }
#endif
enum { STRIP = 8, PARTS = STRIP / LANES };

typedef double lanes __attribute__((vector_size(8 * LANES)));
typedef int64_t lanes_bits __attribute__((vector_size(8 * LANES)));

GKA_INLINE lanes lanes_all(double x) {
    return (lanes)LANES_OF(x);
}

/* p is aligned to 64 bytes, or to 64 bytes and whole parts after */
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
    return (lanes)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
    for (int i = 0; i < LANES; i++)
        c[i] = fma(a[i], b[i], c[i]);
    return c;
#endif
}

/* c - a b, rounded once */
GKA_INLINE lanes lanes_fnma(lanes a, lanes b, lanes c) {
#if defined(__AVX512F__)
    return (lanes)_mm512_fnmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__FMA__)
    return (lanes)_mm256_fnmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
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
#elif defined(__FMA__)
    return (lanes)_mm256_sqrt_pd((__m256d)x);
#else
    for (int i = 0; i < LANES; i++)
        x[i] = sqrt(x[i]);
    return x;
#endif
}

/* M[i][j] and M[j][i] change places. */
GKA_INLINE void lanes_transpose(lanes M[LANES]) {
#if defined(__AVX512F__)
    __m512d pair[8], four[8];
    for (int i = 0; i < 8; i += 2) {
        pair[i] = _mm512_unpacklo_pd((__m512d)M[i], (__m512d)M[i + 1]);
        pair[i + 1] = _mm512_unpackhi_pd((__m512d)M[i], (__m512d)M[i + 1]);
    }
    for (int i = 0; i < 8; i++) { /* rows 0-3 or 4-7; columns of one parity, halves 0 2 or 1 3 */
        const int from = i / 4 * 4 + i % 2;
        four[i] = i / 2 % 2 == 0 ? _mm512_shuffle_f64x2(pair[from], pair[from + 2], 0x88)
                                 : _mm512_shuffle_f64x2(pair[from], pair[from + 2], 0xdd);
    }
    for (int i = 0; i < 8; i++) {
        const int from = i % 2 + i / 2 % 2 * 2;
        M[i] = i < 4 ? (lanes)_mm512_shuffle_f64x2(four[from], four[from + 4], 0x88)
                     : (lanes)_mm512_shuffle_f64x2(four[from], four[from + 4], 0xdd);
    }
#elif defined(__FMA__)
    const __m256d a = _mm256_unpacklo_pd((__m256d)M[0], (__m256d)M[1]),
                  b = _mm256_unpackhi_pd((__m256d)M[0], (__m256d)M[1]),
                  c = _mm256_unpacklo_pd((__m256d)M[2], (__m256d)M[3]),
                  d = _mm256_unpackhi_pd((__m256d)M[2], (__m256d)M[3]);
    M[0] = (lanes)_mm256_permute2f128_pd(a, c, 0x20);
    M[1] = (lanes)_mm256_permute2f128_pd(b, d, 0x20);
    M[2] = (lanes)_mm256_permute2f128_pd(a, c, 0x31);
    M[3] = (lanes)_mm256_permute2f128_pd(b, d, 0x31);
#else
    const double x = M[0][1];
    M[0][1] = M[1][0];
    M[1][0] = x;
#endif
}

/* The sum of a strip's eight in one fixed order: ((0+4)+(2+6)) + ((1+5)+(3+7)). */
GKA_INLINE double strip_sum(const lanes part[PARTS]) {
    double x[STRIP];
    memcpy(x, part, sizeof x);
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
