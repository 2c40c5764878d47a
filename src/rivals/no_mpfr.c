/* no_mpfr.c - exact.c in a build without MPFR (-DGKA_BARE=ON): refused, by name. */
#include "rivals/rival.h"

gka_status gka_rival_exact(const gka_problem *problem, const gka_rival *rival, int precision,
                           gka_rival_outputs *out, const gka_progress *progress, gka_error *error) {
    (void)problem, (void)precision, (void)out, (void)progress;
    return gka_fail(error, GKA_UNSUPPORTED, "%s exactly: this build is without MPFR", rival->name);
}
