/* environment.c - see environment.h. Every operand is volatile: the compiler's arithmetic is not in
 * question. */
#include "oracle/environment.h"

#include <float.h>
#include <math.h>

/* 1 + u = 1 excludes upward, -1 - u = -1 downward rounding; (1 + 2u) + u = 1 + 4u, a tie that goes
 * to the even neighbour above, excludes truncation and ties away from or toward zero alike. */
static bool to_nearest_even(void) {
    volatile const double one = 1, u = 0x1p-53, odd = 1 + 0x1p-52;
    volatile const double up = one + u, down = -one - u, tie = odd + u;
    return up == 1 && down == -1 && tie == 1 + 0x1p-51;
}

/* (1 + e)^2 - (1 + 2e) = e^2 and (1 + d)(1 - d) - 1 = -d^2: a product rounded first gives 0. */
static bool fused(void) {
    volatile const double a = 1 + 0x1p-52, b = 1 + 0x1p-30, c = 1 - 0x1p-30, minus = -1;
    volatile const double square = fma(a, a, -(1 + 0x1p-51)), difference = fma(b, c, minus);
    return square == 0x1p-104 && difference == -0x1p-60;
}

/* A subnormal result comes back where it came from (not flushed), a subnormal operand counts. */
static bool subnormals(void) {
    volatile const double least = DBL_MIN, tiny = 0x1p-1074, half = .5, two = 2, large = 0x1p+100;
    volatile const double below = least * half;
    volatile const double back = below * two, scaled = tiny * large;
    return back == DBL_MIN && scaled == 0x1p-974;
}

gka_status gka_environment_check(gka_error *error) {
    static const char *const assumed = "the oracle's bounds hold for IEEE arithmetic alone";
    if (!to_nearest_even())
        return gka_fail(error, GKA_INTERNAL,
                        "arithmetic: this thread does not round to nearest even (fesetround?); %s",
                        assumed);
    if (!fused())
        return gka_fail(error, GKA_INTERNAL,
                        "arithmetic: fma() of this system does not round once; %s", assumed);
    if (!subnormals())
        return gka_fail(error, GKA_INTERNAL,
                        "arithmetic: this thread flushes subnormal numbers to zero (FTZ or DAZ: "
                        "-ffast-math somewhere in the process?); %s",
                        assumed);
    return GKA_OK;
}
