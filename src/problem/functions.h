/* functions.h - exp, log and their kin for the generators: the exact value rounded once.
 *
 * Made of + - * / on IEEE doubles alone, so that the bytes of a made-up problem depend on
 * no libm, compiler or processor. The values are computed to a relative error below 2^-98 and then
 * rounded; the result is the correctly rounded one unless the exact value lies that close to the
 * middle between two doubles, which a random argument does with probability about 2^-44. Either
 * way it is the same double everywhere.
 */
#ifndef GKA_PROBLEM_FUNCTIONS_H
#define GKA_PROBLEM_FUNCTIONS_H

double gka_pinned_exp(double x);              /* e^x, |x| <= 600 */
double gka_pinned_gate(double g);             /* e^g, g <= 0 or NaN; 0 below e^-1200 */
double gka_pinned_log(double x);              /* ln x, x > 0 normal */
double gka_pinned_sigmoid(double x);          /* 1/(1 + e^-x), |x| <= 600 */
double gka_pinned_softplus(double x);         /* ln(1 + e^x), |x| <= 600 */
double gka_pinned_softplus_inverse(double y); /* ln(e^y - 1), 2^-20 <= y <= 1/4 */
double gka_pinned_cosine(double u);           /* cos 2 pi u, 0 <= u < 1 a multiple of 2^-53 */

#endif
