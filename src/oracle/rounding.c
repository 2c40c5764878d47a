/* rounding.c - intervals, and numbers cut toward zero, rounded once to a format. */
#include "oracle/rounding.h"

#include "oracle/bound.h"
#include "oracle/dd.h"

#include <float.h>
#include <string.h>

static uint64_t bits_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static double from_bits(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

bool gka_target_make(const gka_format *round_to, gka_target *target) {
    target->format = round_to;
    if (round_to == NULL || round_to->p <= 25)
        return true;
    target->format = NULL;
    return round_to->p == 53 && round_to->emin == -1022 && round_to->emax == 1023 &&
           round_to->subnormals && round_to->overflow == GKA_OVERFLOW_IEEE;
}

/* A number rounded to odd in binary64 rounds to p <= 25 bits as the number itself would (Boldo and
 * Melquiond, IEEE Trans. Computers 57, 2008). */
static double to_format(gka_target target, double odd) {
    return gka_round(target.format, GKA_NEAREST_EVEN, odd, 0) + 0.0;
}

/* hi + y, rounded to odd */
static double to_odd(double hi, double y) {
    const dd s = two_sum(hi, y);
    const uint64_t bits = bits_of(s.hi);
    if (s.lo == 0 || (bits & 1) != 0)
        return s.hi;
    /* the neighbour on the side of s.lo: away from zero where the signs agree */
    return from_bits((s.hi > 0) == (s.lo > 0) ? bits + 1 : bits - 1);
}

static double round_sum(gka_target target, double hi, double y) {
    return target.format == NULL ? (hi + y) + 0.0 : to_format(target, to_odd(hi, y));
}

bool gka_target_decide(gka_target target, double hi, double lo, double error, double *out) {
    /* wider than what rounding lo - e and lo + e can lose */
    const double e = error * UP + fabs(lo) * 0x1p-51 + 0x1p-1073;
    if (!(fabs(hi) <= DBL_MAX / 4 && e <= DBL_MAX / 4))
        return false;
    const double below = round_sum(target, hi, lo - e), above = round_sum(target, hi, lo + e);
    *out = below;
    return below == above;
}

double gka_target_round_cut(gka_target target, double cut, int rest) {
    if (rest == 0)
        return to_format(target, cut);
    uint64_t bits = bits_of(cut) | 1;
    if (rest < 0)
        bits |= (uint64_t)1 << 63;
    return to_format(target, from_bits(bits));
}

bool gka_target_even(gka_target target, double a, double b, double *out) {
    if (target.format != NULL) {
        *out = gka_round(target.format, GKA_NEAREST_EVEN, a / 2 + b / 2, 0) + 0.0;
        return *out == a || *out == b;
    }
    *out = (bits_of(a) & 1) == 0 ? a : b;
    return nextafter(a, INFINITY) == b || nextafter(a, -INFINITY) == b;
}
