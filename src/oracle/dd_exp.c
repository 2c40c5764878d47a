/* dd_exp.c - exp(g) in double-double: reduction by log(2)/64, a table of 2^(j/64), a polynomial.
 *
 *   g = k log(2)/64 + r,  |r| <= log(2)/128,  k = 64 m + j
 *   exp(g) = 2^m T_j (1 + p),  p = exp(r) - 1 = r + r^2 (1/2 + r (1/6 + ...))
 *
 * The bound, 2^-105, is proven step by step in src/oracle/README.md, section exp; the step names
 * (a) ... (e) are the same there.
 */
#include "oracle/dd_exp.h"

#include "oracle/dd_exp_table.h"

/* (a) r = g - k log(2)/64: k has 17 bits, so k L1 and k L2 are exact. */
static dd reduced(double g, double k) {
    const double r1 = g - k * EXP_L1; /* exact: Sterbenz, or k = 0 */
    const dd r = two_sum(r1, -(k * EXP_L2));
    return fast_two_sum(r.hi, r.lo - k * EXP_L3);
}

/* (b), (c) exp(r) - 1: the powers from r^7 on in binary64, the others in double-double. */
static dd exp_minus_one(dd r) {
    double tail = EXP_D[4];
    for (int n = 3; n >= 0; n--)
        tail = fma(tail, r.hi, EXP_D[n]);
    dd sum = {tail, 0};
    for (int n = 4; n >= 0; n--)
        sum = dd_add((dd){EXP_C[n][0], EXP_C[n][1]}, dd_mul(r, sum));
    return dd_add(r, dd_mul(r, dd_mul(r, sum)));
}

/* (d) T (1 + p), T in three words: the sum is rounded once, into lo. */
static dd times_table(const double t[3], dd p) {
    const dd m = two_prod(t[0], p.hi);
    const double m_lo = fma(t[1], p.hi, fma(t[0], p.lo, m.lo));
    const dd a = fast_two_sum(t[0], m.hi), w = two_sum(t[1], a.lo);
    const double rest = (w.lo + t[2]) + m_lo;
    const dd s = fast_two_sum(a.hi, w.hi);
    return fast_two_sum(s.hi, s.lo + rest);
}

dd gka_dd_exp(double g, double *error) {
    *error = 0;
    if (g == 0)
        return (dd){1, 0};
    if (g < -746) { /* exp(-746) < 2^-1076 */
        *error = g == -INFINITY ? 0 : 0x1p-1074;
        return (dd){0, 0};
    }
    const double k = (g * EXP_INV + 0x1.8p52) - 0x1.8p52; /* nearest integer */
    const int ki = (int)k, j = ki & 63, m = (ki - j) / 64;
    const dd y = times_table(EXP_T[j], exp_minus_one(reduced(g, k)));
    /* (e) the scaling is exact unless hi or lo leaves the normal range */
    const dd gamma = {ldexp(y.hi, m), ldexp(y.lo, m)};
    *error = 0x1p-105 * gamma.hi + (m < -800 ? 0x1p-1073 : 0);
    return gamma;
}
