/* fma.h - fma and fmaf for WebAssembly, which has no such instruction; the C library's take
 * integers and a hundred steps. Included before every file of a build for the browser
 * (libraries.cmake). Rounded once, as the C library's: the sum of what does not fit is rounded to
 * odd, and then nothing is rounded twice (Boldo and Melquiond, IEEE Trans. Computers 57, 2008,
 * theorem 5). What lies outside the ranges of its proof goes to the C library. Test:
 * unit/browser_fma. */
#ifndef GKA_BROWSER_FMA_H
#define GKA_BROWSER_FMA_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* a + b = sum + *rest exactly (Knuth) */
static inline double gka_fma_sum(double a, double b, double *rest) {
    const double sum = a + b, c = sum - a;
    *rest = (a - (sum - c)) + (b - c);
    return sum;
}

/* a + b, whose rounded sum is `sum` and the rest `rest`, rounded to odd */
static inline double gka_fma_odd(double sum, double rest) {
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    if (rest != 0 && (bits & 1) == 0)
        bits += (sum > 0) == (rest > 0) ? 1 : (uint64_t)-1;
    memcpy(&sum, &bits, sizeof sum);
    return sum;
}

/* x = high + low with 26 bits each (Veltkamp) */
static inline double gka_fma_high(double x) {
    const double c = 134217729.0 * x;
    return c - (c - x);
}

static inline double gka_fma(double x, double y, double z) {
    const double product = x * y, size = fabs(product), other = fabs(z);
    if (x == 0 || y == 0)
        return product + z;
    if (!(size > 0x1p-800 && size < 0x1p900 && fabs(x) < 0x1p900 && fabs(y) < 0x1p900 &&
          other < 0x1p900 && (other > 0x1p-800 || z == 0)))
        return fma(x, y, z);
    const double xh = gka_fma_high(x), xl = x - xh, yh = gka_fma_high(y), yl = y - yh;
    const double low =
        xl * yl - (((product - xh * yh) - xl * yh) - xh * yl); /* x y = product + low */
    double rest, small, last;
    const double sum = gka_fma_sum(z, low, &rest), large = gka_fma_sum(product, sum, &small);
    small = gka_fma_sum(rest, small, &last);
    return large + gka_fma_odd(small, last);
}

static inline float gka_fmaf(float x, float y, float z) {
    const double product = (double)x * (double)y; /* 48 bits: exactly */
    double rest;
    const double sum = gka_fma_sum(product, (double)z, &rest);
    return (float)(fabs(sum) < INFINITY ? gka_fma_odd(sum, rest) : sum);
}

#ifdef __wasm__
#define fma  gka_fma
#define fmaf gka_fmaf
#endif

#endif
