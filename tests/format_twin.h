/* format_twin.h - the definition of gka/format.h in MPFR, written a second time, slowly.
 *
 * A number is scaled by a power of two so that the format's grid is the integers, rounded to an
 * integer, scaled back, and replaced if it overflows. Shares nothing with the library but the
 * description of a format. */
#ifndef GKA_FORMAT_TWIN_H
#define GKA_FORMAT_TWIN_H

#include "test.h"

#include "gka/format.h"

#include <math.h>
#include <mpfr.h>

/* Enough for a b + c of any doubles, exactly: exponents from -2148 to 2048. */
enum { TWIN_BITS = 4400 };

/* y, scaled so that the grid is the integers, rounded to one. */
static inline void twin_rint(mpfr_t y, gka_rounding mode, uint64_t random) {
    mpfr_t t, fraction;
    mpfr_init2(t, TWIN_BITS);
    mpfr_init2(fraction, TWIN_BITS);
    mpfr_trunc(t, y);
    mpfr_sub(fraction, y, t, MPFR_RNDN);
    mpfr_abs(fraction, fraction, MPFR_RNDN);
    const bool inexact = !mpfr_zero_p(fraction);
    const int away = mpfr_signbit(y) ? -1 : 1;
    switch (mode) {
    case GKA_NEAREST_EVEN: mpfr_roundeven(t, y); break;
    case GKA_TOWARD_ZERO: break;
    case GKA_UP: mpfr_ceil(t, y); break;
    case GKA_DOWN: mpfr_floor(t, y); break;
    case GKA_TO_ODD: {
        mpz_t z;
        mpz_init(z);
        mpfr_get_z(z, t, MPFR_RNDN);
        if (inexact && mpz_even_p(z))
            mpfr_add_si(t, t, away, MPFR_RNDN);
        mpz_clear(z);
        break;
    }
    case GKA_STOCHASTIC:
        mpfr_mul_2ui(fraction, fraction, 64, MPFR_RNDN);
        mpfr_floor(fraction, fraction);
        mpfr_add_ui(fraction, fraction, random, MPFR_RNDN);
        if (mpfr_cmp_ui_2exp(fraction, 1, 64) >= 0)
            mpfr_add_si(t, t, away, MPFR_RNDN);
        break;
    }
    mpfr_setsign(y, t, away < 0, MPFR_RNDN);
    mpfr_clears(t, fraction, (mpfr_ptr)0);
}

/* The exact number x rounded to the format. */
static inline double twin_round(const gka_format *f, gka_rounding mode, mpfr_srcptr x,
                                uint64_t random) {
    if (mpfr_nan_p(x))
        return NAN;
    const double sign = mpfr_signbit(x) ? -1.0 : 1.0;
    const double inf = f->overflow == GKA_OVERFLOW_IEEE       ? sign * INFINITY
                       : f->overflow == GKA_OVERFLOW_SATURATE ? sign * f->max_finite
                                                              : NAN;
    if (mpfr_inf_p(x))
        return inf;
    if (mpfr_zero_p(x))
        return sign * 0.0;
    mpfr_t y;
    mpfr_init2(y, TWIN_BITS);
    const long e = mpfr_get_exp(x) - 1; /* 2^e <= |x| < 2^(e+1) */
    const long grid = e >= f->emin ? e - f->p + 1 : f->subnormals ? f->emin - f->p + 1 : f->emin;
    mpfr_mul_2si(y, x, -grid, MPFR_RNDN);
    twin_rint(y, mode, random);
    mpfr_mul_2si(y, y, grid, MPFR_RNDN);
    double result = mpfr_get_d(y, MPFR_RNDN); /* exact, unless it overflows */
    mpfr_abs(y, y, MPFR_RNDN);
    if (mpfr_cmp_d(y, f->max_finite) > 0) {
        const bool inward = mode == GKA_TOWARD_ZERO || mode == GKA_TO_ODD ||
                            (mode == GKA_UP && sign < 0) || (mode == GKA_DOWN && sign > 0);
        result = inward ? sign * f->max_finite : inf;
    }
    mpfr_clear(y);
    return result;
}

static inline double twin_round_double(const gka_format *f, gka_rounding mode, double x,
                                       uint64_t random) {
    mpfr_t y;
    mpfr_init2(y, 53);
    mpfr_set_d(y, x, MPFR_RNDN);
    const double result = twin_round(f, mode, y, random);
    mpfr_clear(y);
    return result;
}

/* Bits of a result: every NaN is the canonical one. */
static inline uint64_t twin_bits(double x) {
    return isnan(x) ? UINT64_C(0x7ff8000000000000) : bits_of(x);
}

/* A small generator for test inputs: splitmix64. */
static inline uint64_t draw(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline int draw_int(uint64_t *state, int low, int high) {
    return low + (int)(draw(state) % (uint64_t)(high - low + 1));
}

/* Any format at all: a preset in one case of four. */
static inline gka_format draw_format(uint64_t *state) {
    if (draw_int(state, 0, 3) == 0)
        return *gka_format_presets()[draw_int(state, 0, 8)];
    gka_format f = {.name = "drawn", .p = draw_int(state, 1, 26)};
    f.p = f.p == 26 ? 53 : f.p;
    switch (draw_int(state, 0, 3)) { /* small, float-like, up to one end, anything */
    case 0: f.emin = draw_int(state, -20, 4), f.emax = f.emin + draw_int(state, 0, 40); break;
    case 1: f.emin = draw_int(state, -130, -120), f.emax = draw_int(state, 120, 130); break;
    case 2: f.emin = draw_int(state, -1022, -1015), f.emax = draw_int(state, 1015, 1023); break;
    default: f.emin = draw_int(state, -1022, 1023), f.emax = draw_int(state, f.emin, 1023);
    }
    const int p = f.p < 20 ? f.p : 20;
    const int lead =
        (1 << p) - 1 - (draw_int(state, 0, 1) ? draw_int(state, 0, (1 << (p - 1)) - 1) : 0);
    f.max_finite = ldexp(lead, f.emax - p + 1);
    if (draw_int(state, 0, 2) == 0)
        f.max_finite = ldexp(2 - ldexp(1, 1 - f.p), f.emax);
    f.subnormals = draw_int(state, 0, 2) != 0;
    f.overflow = (gka_overflow)draw_int(state, 0, 2);
    return f;
}

/* A double near something that matters to the format: a value, the middle of two, either side of
 * these by one unit of a double; zero, the smallest values, the overflow threshold; or any bits. */
static inline double draw_double(uint64_t *state, const gka_format *f) {
    double x = 0;
    switch (draw_int(state, 0, 5)) {
    case 0: {
        const uint64_t bits = draw(state);
        memcpy(&x, &bits, sizeof x);
        return x;
    }
    case 1: x = f->max_finite; break;
    case 2: x = ldexp(draw_int(state, 0, 3), f->emin - draw_int(state, 0, f->p + 2)); break;
    case 3: x = ldexp(1, f->emin); break;
    default: {
        const uint64_t m = draw(state) >> (64 - f->p);
        x = ldexp((double)m, draw_int(state, f->emin - 3, f->emax) - f->p + 1);
    }
    }
    int e;
    frexp(x, &e);
    const int below = e - 1 > f->emin ? e - 1 : f->emin;
    x += ldexp(draw_int(state, -4, 4), below - f->p - 1); /* quarters of the grid */
    for (int steps = draw_int(state, -2, 2); steps != 0; steps += steps < 0 ? 1 : -1)
        x = nextafter(x, steps < 0 ? -INFINITY : INFINITY);
    return draw_int(state, 0, 1) ? x : -x;
}

#endif
