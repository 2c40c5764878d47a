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

typedef double gka_fma_pair __attribute__((vector_size(16)));
typedef int64_t gka_fma_bits __attribute__((vector_size(16)));

static inline gka_fma_pair gka_fma_size(gka_fma_pair x) {
    return (gka_fma_pair)((gka_fma_bits)x & INT64_MAX);
}

/* gka_fma_odd in two lanes */
static inline gka_fma_pair gka_fma_odd_two(gka_fma_pair sum, gka_fma_pair rest) {
    const gka_fma_bits same = ~((sum > 0) ^ (rest > 0)); /* of one sign: -1 */
    const gka_fma_bits even = ((gka_fma_bits)sum & 1) - 1;
    return (gka_fma_pair)((gka_fma_bits)sum + (((same & 2) - 1) & even & (rest != 0)));
}

/* gka_fma in two lanes, the same steps; both lanes one by one where one of them is outside. */
static inline gka_fma_pair gka_fma_two(gka_fma_pair x, gka_fma_pair y, gka_fma_pair z) {
    const gka_fma_pair product = x * y, size = gka_fma_size(product), other = gka_fma_size(z);
    const gka_fma_bits nothing = (x == 0) | (y == 0);
    const gka_fma_bits inside =
        nothing |
        ((size > 0x1p-800) & (size < 0x1p900) & (gka_fma_size(x) < 0x1p900) &
         (gka_fma_size(y) < 0x1p900) & (other < 0x1p900) & ((other > 0x1p-800) | (z == 0)));
    if ((inside[0] & inside[1]) == 0)
        return (gka_fma_pair){gka_fma(x[0], y[0], z[0]), gka_fma(x[1], y[1], z[1])};
    const gka_fma_pair xc = 134217729.0 * x, xh = xc - (xc - x), xl = x - xh;
    const gka_fma_pair yc = 134217729.0 * y, yh = yc - (yc - y), yl = y - yh;
    const gka_fma_pair low = xl * yl - (((product - xh * yh) - xl * yh) - xh * yl);
    const gka_fma_pair sum = z + low, c = sum - z, rest = (z - (sum - c)) + (low - c);
    const gka_fma_pair large = product + sum, d = large - product;
    const gka_fma_pair left = (product - (large - d)) + (sum - d);
    const gka_fma_pair small = rest + left, e = small - rest;
    const gka_fma_pair last = (rest - (small - e)) + (left - e);
    const gka_fma_bits result = (gka_fma_bits)(large + gka_fma_odd_two(small, last));
    return (gka_fma_pair)((nothing & (gka_fma_bits)(product + z)) | (~nothing & result));
}

typedef float gka_fma_four __attribute__((vector_size(16)));
typedef float gka_fma_half __attribute__((vector_size(8)));

static inline gka_fma_half gka_fmaf_two(gka_fma_half x, gka_fma_half y, gka_fma_half z) {
    const gka_fma_pair product =
        __builtin_convertvector(x, gka_fma_pair) * __builtin_convertvector(y, gka_fma_pair);
    const gka_fma_pair other = __builtin_convertvector(z, gka_fma_pair), sum = product + other;
    const gka_fma_pair c = sum - product, rest = (product - (sum - c)) + (other - c);
    const gka_fma_bits finite = gka_fma_size(sum) < (double)INFINITY; /* else rest is NaN */
    const gka_fma_pair odd = gka_fma_odd_two(sum, (gka_fma_pair)((gka_fma_bits)rest & finite));
    return __builtin_convertvector(odd, gka_fma_half);
}

/* gka_fmaf in four lanes, the same steps */
static inline gka_fma_four gka_fmaf_four(gka_fma_four x, gka_fma_four y, gka_fma_four z) {
    const gka_fma_half low = gka_fmaf_two((gka_fma_half){x[0], x[1]}, (gka_fma_half){y[0], y[1]},
                                          (gka_fma_half){z[0], z[1]});
    const gka_fma_half high = gka_fmaf_two((gka_fma_half){x[2], x[3]}, (gka_fma_half){y[2], y[3]},
                                           (gka_fma_half){z[2], z[3]});
    return (gka_fma_four){low[0], low[1], high[0], high[1]};
}

#ifdef __wasm__
#define fma  gka_fma
#define fmaf gka_fmaf
#endif

#endif
