/* dd.h - double-double arithmetic: an unevaluated sum hi + lo of two binary64 numbers.
 *
 * Normalised: hi = RN(hi + lo), so |lo| <= u |hi|. u = 2^-53; every bound below is relative, holds
 * for nearest-even, and assumes that no product underflows (what an underflow adds is accounted
 * for by whoever calls, as an absolute term).
 *
 *   two_sum, fast_two_sum, two_prod     exact: Moller, Knuth; Dekker; fma
 *   dd_add      <= 3 u^2 / (1 - 4u)   Joldes, Muller, Popescu 2017, algorithm 6 (AccurateDWPlusDW)
 *   dd_add_d    <= 2 u^2              algorithm 4 (DWPlusFP)
 *   dd_mul      <= 6 u^2              algorithm 11 (DWTimesDW2); 5 u^2: Muller, Rideau 2022
 *   dd_mul_d    <= 2 u^2              algorithm 9 (DWTimesFP3)
 *   dd_div      <= 16 u^2             one Newton step; src/oracle/README.md
 *   dd_sqrt     <= 4 u^2              one Newton step; src/oracle/README.md
 */
#ifndef GKA_ORACLE_DD_H
#define GKA_ORACLE_DD_H

#include <math.h>

typedef struct dd {
    double hi, lo;
} dd;

/* a + b exactly; fast: when |a| >= |b|, or a = 0, or a is a multiple of ulp(b). */
static inline dd fast_two_sum(double a, double b) {
    const double s = a + b;
    return (dd){s, b - (s - a)};
}

static inline dd two_sum(double a, double b) {
    const double s = a + b, t = s - a;
    return (dd){s, (a - (s - t)) + (b - t)};
}

/* a b exactly. */
static inline dd two_prod(double a, double b) {
    const double p = a * b;
    return (dd){p, fma(a, b, -p)};
}

static inline dd dd_neg(dd a) {
    return (dd){-a.hi, -a.lo};
}

static inline dd dd_add(dd a, dd b) {
    const dd s = two_sum(a.hi, b.hi), t = two_sum(a.lo, b.lo);
    const dd v = fast_two_sum(s.hi, s.lo + t.hi);
    return fast_two_sum(v.hi, t.lo + v.lo);
}

static inline dd dd_sub(dd a, dd b) {
    return dd_add(a, dd_neg(b));
}

static inline dd dd_add_d(dd a, double b) {
    const dd s = two_sum(a.hi, b);
    return fast_two_sum(s.hi, a.lo + s.lo);
}

static inline dd dd_mul(dd a, dd b) {
    const dd c = two_prod(a.hi, b.hi);
    return fast_two_sum(c.hi, c.lo + fma(a.hi, b.lo, a.lo * b.hi));
}

static inline dd dd_mul_d(dd a, double b) {
    const dd c = two_prod(a.hi, b);
    return fast_two_sum(c.hi, fma(a.lo, b, c.lo));
}

/* a / b = q + (a - q b)/b with q = RN(a.hi / b.hi); the remainder in dd. */
static inline dd dd_div(dd a, dd b) {
    const double q = a.hi / b.hi;
    const dd r = dd_sub(a, dd_mul_d(b, q));
    return fast_two_sum(q, r.hi / b.hi);
}

/* sqrt(a) = s + (a - s^2)/(2 s) with s = RN(sqrt(a.hi)); 0 for 0. */
static inline dd dd_sqrt(dd a) {
    if (!(a.hi > 0))
        return (dd){0, 0};
    const double s = sqrt(a.hi);
    return fast_two_sum(s, (fma(-s, s, a.hi) + a.lo) / (s + s));
}

#endif
