/* bound.h - rounding in the arithmetic of the bounds themselves.
 *
 * A bound is a sum of products of numbers >= 0, computed in binary64 in round to nearest. n such
 * operations change it by a factor of at most (1 + 2^-53)^n, which is below UP for n <= 2^12: a
 * bound that is multiplied by UP once after that many operations is a bound again, and one from
 * below that is multiplied by DOWN.
 */
#ifndef GKA_ORACLE_BOUND_H
#define GKA_ORACLE_BOUND_H

#define UP   (1 + 0x1p-40)
#define DOWN (1 - 0x1p-40)

#endif
