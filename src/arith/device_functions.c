/* device_functions.c - exp, exp2, divide and square root as a device computes them.
 *
 *   2^k e^r = e^x, k an integer, |r| <= ln(2)/2; r = r_hi + r_lo
 *   e^r = 1 + r + r^2/2 + r^3 p(r), p the Taylor polynomial of degree 11; all but r^3 p in
 *   double-double, so that the unrounded pair is within 2^-59 of e^r
 */
#include "arith/pinned.h"
#include "arith/sfu.h"
#include "gka/arith.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* ---- double-double ------------------------------------------------------------------------- */

typedef struct pair {
    double hi, lo;
} pair;

/* a + b exactly, |a| >= |b| (Dekker). */
static pair fast_two_sum(double a, double b) {
    const double s = a + b;
    return (pair){s, b - (s - a)};
}

static pair two_product(double a, double b) {
    const double p = a * b;
    return (pair){p, fma(a, b, -p)};
}

/* e^r for |r| <= .35 */
static pair exp_reduced(pair r) {
    static const double p[] = {/* 1/n!, n = 3.. */
                               0x1.5555555555555p-3,  0x1.5555555555555p-5,  0x1.1111111111111p-7,
                               0x1.6c16c16c16c17p-10, 0x1.a01a01a01a01ap-13, 0x1.a01a01a01a01ap-16,
                               0x1.71de3a556c734p-19, 0x1.27e4fb7789f5cp-22, 0x1.ae64567f544e4p-26,
                               0x1.1eed8eff8d898p-29, 0x1.6124613a86d09p-33, 0x1.93974a8c07c9dp-37};
    double tail = 0;
    for (int n = (int)(sizeof p / sizeof *p) - 1; n >= 0; n--)
        tail = fma(tail, r.hi, p[n]);
    const pair square = two_product(r.hi, r.hi);
    const double cube = square.hi * r.hi * tail;
    const pair quadratic = fast_two_sum(r.hi, square.hi / 2);
    const pair linear = fast_two_sum(1, quadratic.hi);
    const double lo = linear.lo + (quadratic.lo + (square.lo / 2 + (r.lo + r.hi * r.lo) + cube));
    return fast_two_sum(linear.hi, lo);
}

/* The pair rounded to odd, so that one more rounding, to binary32, is right (Boldo, Melquiond). */
static double to_odd(pair x) {
    uint64_t bits;
    memcpy(&bits, &x.hi, sizeof bits);
    if (x.lo != 0 && !(bits & 1)) /* x.hi > 0: away from or toward zero by one encoding */
        bits += x.lo > 0 ? 1 : (uint64_t)-1;
    memcpy(&x.hi, &bits, sizeof bits);
    return x.hi;
}

/* 2^k e^r in the working precision. */
static double scaled(bool binary32, pair y, int k) {
    return binary32 ? (double)(float)ldexp(to_odd(y), k) : ldexp(y.hi, k);
}

/* Arguments beyond these give 0 or infinity in both precisions. */
static double clamp(double x, double bound) {
    return x > bound ? bound : x < -bound ? -bound : x;
}

static const double ln2[] = {/* the sum is ln 2; products of the first with |k| < 2048 are exact */
                             0x1.62e42fefa38p-1, 0x1.ef35793c7673p-45, 0x1.f97b57a079a19p-103};

static double exp_correct(bool binary32, double x) {
    if (isnan(x))
        return x;
    x = clamp(x, 1500);
    const double k = rint(x * 0x1.71547652b82fep0);
    const double a = fma(-k, ln2[0], x); /* exact */
    const pair b = two_product(-k, ln2[1]);
    pair r = {a + b.hi, 0};
    const double back = r.hi - a;
    r.lo = (a - (r.hi - back)) + (b.hi - back) + (b.lo - k * ln2[2]);
    return scaled(binary32, exp_reduced(r), (int)k);
}

static double exp2_correct(bool binary32, double x) {
    if (isnan(x))
        return x;
    x = clamp(x, 2200);
    const double k = rint(x), f = x - k; /* exact */
    pair r = two_product(f, 0x1.62e42fefa39efp-1);
    r.lo = fma(f, 0x1.abc9e3b39803fp-56, r.lo);
    return scaled(binary32, exp_reduced(r), (int)k);
}

/* ---- by device ----------------------------------------------------------------------------- */

double gka_device_exp(const gka_device *device, double x) {
    switch (device->functions) {
    case GKA_FUNCTIONS_H100: /* log2 e in binary32, as Triton multiplies */
        return (double)gka_ptx_ex2((float)x * 0x1.715476p0f);
    case GKA_FUNCTIONS_PINNED: /* meant for x <= 0; beyond 104 its powers of two would overflow */
        return x > 104 ? (double)INFINITY : (double)gka_pinned_expf((float)x);
    default: return exp_correct(device->binary32, x);
    }
}

double gka_device_exp2(const gka_device *device, double x) {
    if (device->functions == GKA_FUNCTIONS_H100)
        return (double)gka_ptx_ex2((float)x);
    return exp2_correct(device->binary32, x);
}

double gka_device_div(const gka_device *device, double x, double y) {
    if (device->functions == GKA_FUNCTIONS_H100)
        return (double)gka_ptx_div_full((float)x, (float)y);
    return device->binary32 ? (double)((float)x / (float)y) : x / y;
}

double gka_device_sqrt(const gka_device *device, double x) {
    if (device->functions == GKA_FUNCTIONS_H100)
        return (double)gka_ptx_sqrt((float)x);
    return device->binary32 ? (double)sqrtf((float)x) : sqrt(x);
}

void gka_device_exp_array(const gka_device *device, size_t n, const double *x, double *out) {
    for (size_t i = 0; i < n; i++)
        out[i] = gka_device_exp(device, x[i]);
}
