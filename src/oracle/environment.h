/* environment.h - the arithmetic that a thread really has.
 *
 * The bounds of this room are theorems about binary64 with rounding to nearest even, a fused
 * multiply-add that rounds once, and subnormal numbers. A thread can have lost each of them without
 * a word: by fesetround, by a libm whose fma is a product and a sum, by a library linked with
 * -ffast-math that switches subnormals off (FTZ, DAZ). Then a proven bound would prove nothing.
 */
#ifndef GKA_ORACLE_ENVIRONMENT_H
#define GKA_ORACLE_ENVIRONMENT_H

#include "gka/base.h"

/* GKA_OK, or GKA_INTERNAL and one line that names what this thread lacks. Some ten operations. */
gka_status gka_environment_check(gka_error *error);

#endif
