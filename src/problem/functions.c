/* functions.c - elementary functions in double-double arithmetic, rounded once.
 *
 * A pair (hi, lo) with hi = fp64(hi + lo) stands for hi + lo; sums and products below are right to
 * a few units of 2^-104 (Joldes, Muller, Popescu, "Tight and rigorous error bounds for basic
 * building blocks of double-word arithmetic", ACM TOMS 44(2), 2017: algorithms 6, 11, 17). Each
 * function reduces its argument and sums a power series; the tail of a series, whose terms are
 * below 2^-54 of the sum, is summed in double. Where most numbers are drawn, in log and cosine, a
 * longer tail is tried first: right to 2^-70, it decides all but about one rounding in 2^12.
 */
#include "problem/functions.h"

#include "problem/constants.h"

#include <math.h>
#include <stdbool.h>

typedef struct pair {
    double hi, lo;
} pair;

/* ---- double-double arithmetic -------------------------------------------------------------- */

/* a + b exactly, |a| >= |b| or a = 0. */
static inline pair quick_two_sum(double a, double b) {
    const double s = a + b;
    return (pair){s, b - (s - a)};
}

/* a + b exactly. */
static inline pair two_sum(double a, double b) {
    const double s = a + b, t = s - a;
    return (pair){s, (a - (s - t)) + (b - t)};
}

/* a b exactly, by Veltkamp's halves of 26 bits and Dekker's sum, |a|, |b| < 2^960: without a
 * hardware fma that is faster than a call of fma. */
static inline pair two_product(double a, double b) {
    const double p = a * b;
    const double ca = 0x1.0000002p27 * a, cb = 0x1.0000002p27 * b;
    const double a1 = ca - (ca - a), a0 = a - a1, b1 = cb - (cb - b), b0 = b - b1;
    return (pair){p, ((a1 * b1 - p) + a1 * b0 + a0 * b1) + a0 * b0};
}

static inline pair add(pair a, pair b) {
    const pair s = two_sum(a.hi, b.hi), t = two_sum(a.lo, b.lo);
    const pair v = quick_two_sum(s.hi, s.lo + t.hi);
    return quick_two_sum(v.hi, t.lo + v.lo);
}

static inline pair multiply(pair a, pair b) {
    const pair p = two_product(a.hi, b.hi);
    return quick_two_sum(p.hi, p.lo + (a.hi * b.lo + a.lo * b.hi));
}

static inline pair divide(pair a, pair b) {
    const double first = a.hi / b.hi;
    const pair p = multiply(b, (pair){first, 0});
    const double rest = (a.hi - p.hi) + (a.lo - p.lo); /* a.hi - p.hi is exact */
    return quick_two_sum(first, rest / b.hi);
}

static inline pair negate(pair a) {
    return (pair){-a.hi, -a.lo};
}

static inline pair constant(const double c[2]) {
    return (pair){c[0], c[1]};
}

static const pair one = {1, 0};

/* ---- series -------------------------------------------------------------------------------- */

/* sum_{k = first}^{last} c_(k step) x^(k - first): the terms from `middle` on in double. */
static inline pair series(const double c[][2], int step, int first, int middle, int last, pair x) {
    double tail = 0;
    for (int k = last; k >= middle; k--)
        tail = tail * x.hi + c[k * step][0];
    pair sum = {tail, 0};
    for (int k = middle - 1; k >= first; k--)
        sum = add(multiply(sum, x), constant(c[k * step]));
    return sum;
}

/* e^r - 1 = r sum r^(k-1)/k!, |r| <= .36; r^13/14! < 2^-55, r^28/29! < 2^-140 */
static pair expm1_reduced(pair r) {
    return multiply(r, series(inverse_factorial, 1, 1, 14, 28, r));
}

/* ln(1 + y) = 2 atanh(s), s = y/(2 + y), |s| <= 3 - 2 sqrt 2: s^22/23 < 2^-60, s^42/43 < 2^-112;
 * quick: s^8/9 < 2^-23, so that a tail right to 2^-50 makes the sum right to 2^-73. */
static inline pair log1p_reduced(pair y, bool quick) {
    const pair s = divide(y, add((pair){2, 0}, y));
    const pair twice = {2 * s.hi, 2 * s.lo};
    return multiply(twice, series(inverse_odd, 1, 0, quick ? 4 : 11, 20, multiply(s, s)));
}

/* ---- exp and log of pairs ------------------------------------------------------------------ */

/* x = n ln 2 + r, |r| <= .36; e^x = 2^n e^r. */
static pair exp_pair(pair x) {
    const double n = floor(x.hi / ln2_parts[0] + 0.5);
    pair r = add(two_sum(x.hi, -n * ln2_parts[0]), (pair){x.lo, 0});
    r = add(r, negate(two_product(n, ln2_parts[1])));
    r = add(r, (pair){-n * ln2_parts[2], 0});
    const pair e = add(one, expm1_reduced(r));
    return (pair){ldexp(e.hi, (int)n), ldexp(e.lo, (int)n)};
}

/* x = 2^n m, m between sqrt(1/2) and sqrt(2); ln x = n ln 2 + ln m. */
static inline pair log_pair(pair x, bool quick) {
    int n;
    double m = frexp(x.hi, &n);
    if (m < 0x1.6a09e667f3bcdp-1) {
        m *= 2;
        n--;
    }
    const pair log_m = log1p_reduced(add((pair){m, ldexp(x.lo, -n)}, (pair){-1, 0}), quick);
    pair sum = add(two_product(n, ln2_parts[1]), (pair){n * ln2_parts[2], 0});
    sum = add((pair){n * ln2_parts[0], 0}, sum);
    return add(sum, log_m);
}

/* ln(1 + y), y >= 0. */
static pair log1p_pair(pair y) {
    return y.hi < 0.375 ? log1p_reduced(y, false) : log_pair(add(one, y), false);
}

/* Whether every number within 2^-66 |y| of y rounds to y.hi. */
static inline bool decided(pair y) {
    const double error = 0x1p-66 * fabs(y.hi);
    return y.hi + (y.lo - error) == y.hi && y.hi + (y.lo + error) == y.hi;
}

/* ---- the functions ------------------------------------------------------------------------- */

double gka_pinned_exp(double x) {
    return exp_pair((pair){x, 0}).hi;
}

double gka_pinned_gate(double g) {
    if (g >= -600 || isnan(g))
        return isnan(g) ? g : gka_pinned_exp(g);
    const double half = g >= -1200 ? gka_pinned_exp(0.5 * g) : 0;
    return half * half;
}

double gka_pinned_log(double x) {
    const pair quick = log_pair((pair){x, 0}, true);
    return decided(quick) ? quick.hi : log_pair((pair){x, 0}, false).hi;
}

/* From e^-|x| <= 1, so that nothing overflows: 1/(1 + e^-x) = e^x/(1 + e^x). */
double gka_pinned_sigmoid(double x) {
    const pair e = exp_pair((pair){-fabs(x), 0});
    return divide(x < 0 ? e : one, add(one, e)).hi;
}

/* ln(1 + e^x) = x + ln(1 + e^-x). */
double gka_pinned_softplus(double x) {
    const pair tail = log1p_pair(exp_pair((pair){-fabs(x), 0}));
    return x > 0 ? add((pair){x, 0}, tail).hi : tail.hi;
}

double gka_pinned_softplus_inverse(double y) {
    return log_pair(expm1_reduced((pair){y, 0}), false).hi;
}

/* theta = 2 pi w, |w| <= 1/8: theta^18/18! < 2^-58, theta^30/30! < 2^-117; quick: theta^8/9! and
 * theta^10/10! < 2^-21. */
static inline pair cosine_reduced(double w, bool quick) {
    const pair theta = multiply(constant(two_pi), (pair){w, 0});
    const pair square = negate(multiply(theta, theta));
    return series(inverse_factorial, 2, 0, quick ? 5 : 9, 14, square);
}

static inline pair sine_reduced(double w, bool quick) {
    const pair theta = multiply(constant(two_pi), (pair){w, 0});
    const pair square = negate(multiply(theta, theta));
    return multiply(theta, series(inverse_factorial + 1, 2, 0, quick ? 4 : 9, 13, square));
}

/* u is w turns from a quarter turn: cos = cos w, -sin w, -cos w, sin w from the quarters 0 .. 3.
 * Every step up to w is exact. */
double gka_pinned_cosine(double u) {
    const int quarter = (int)floor(4 * u + 0.5);
    const double w = u - 0.25 * quarter;
    pair c;
    if (quarter % 2 == 0) {
        c = cosine_reduced(w, true);
        if (!decided(c))
            c = cosine_reduced(w, false);
    } else {
        c = sine_reduced(w, true);
        if (!decided(c))
            c = sine_reduced(w, false);
    }
    return quarter == 1 || quarter == 2 ? -c.hi : c.hi;
}
