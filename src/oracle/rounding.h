/* rounding.h - the one value of a format to which every number of an interval rounds, or none.
 *
 * Rounding to nearest even is monotone: where both ends of an interval round alike, so does every
 * number between them (Ziv's test). A result that rounds to zero is +0.
 */
#ifndef GKA_ORACLE_ROUNDING_H
#define GKA_ORACLE_ROUNDING_H

#include "gka/format.h"

/* Where results are rounded to. */
typedef struct gka_target {
    const gka_format *format; /* NULL: binary64 */
} gka_target;

/* round_to as a target; false where this room cannot round to it: 25 < p, and not binary64. */
bool gka_target_make(const gka_format *round_to, gka_target *target);

/* Every number within error of hi + lo; a NaN anywhere decides nothing. */
bool gka_target_decide(gka_target target, double hi, double lo, double error, double *out);

/* x rounded to a format, from x cut to binary64 toward zero; rest: 0 if that is x itself, else x's
 * sign. */
double gka_target_round_cut(gka_target target, double cut, int rest);

/* out is the even one of the neighbours a and b; false: they are not neighbours. */
bool gka_target_even(gka_target target, double a, double b, double *out);

#endif
