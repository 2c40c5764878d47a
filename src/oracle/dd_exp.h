/* dd_exp.h - the gate gamma = exp(g), g <= 0, as a double-double with a proven bound. */
#ifndef GKA_ORACLE_DD_EXP_H
#define GKA_ORACLE_DD_EXP_H

#include "oracle/dd.h"

/* exp(g) for g <= 0 or g = -inf. *error bounds |exp(g) - (hi + lo)|: 0 for g = 0 and -inf, 2^-105
 * hi while hi >= 2^-800, and 2^-1073 more below that, where lo and then hi leave the normal range.
 * Derivation: src/oracle/README.md, section exp. */
dd gka_dd_exp(double g, double *error);

#endif
