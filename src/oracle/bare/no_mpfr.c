/* no_mpfr.c - what stands in the place of the passes in MPFR in a build without it (-DGKA_BARE=ON):
 * what double-double cannot decide is refused, by name. */
#include "oracle/certified_gradient.h"
#include "oracle/mpfr_oracle.h"

#define WITHOUT "and this build is without MPFR"

gka_status gka_head_resolve(gka_head *head, gka_error *error) {
    static const char *const names[] = {"fro", "x", "o", "the state H", "the state U"};
    int64_t i = 0;
    while (head->needs[i] == 0)
        i++;
    int which = 0;
    while ((head->needs[i] >> which & 1) == 0)
        which++;
    return gka_fail(
        error, GKA_NO_CERTIFICATE,
        "certified oracle: sequence %lld, token %lld, head %lld: double-double does not "
        "decide how %s is rounded, " WITHOUT,
        (long long)head->n, (long long)(head->span.begin + i), (long long)head->h, names[which]);
}

gka_status gka_group_resolve(gka_group *g, gka_error *error) {
    for (int64_t head = 0; head < g->heads; head++)
        for (int64_t i = 0; i <= g->to - g->from; i++)
            for (int tensor = 0; tensor < GKA_GRADIENTS; tensor++)
                if (g->needs[head * g->stride + i] >> tensor & 1)
                    return gka_fail(error, GKA_NO_CERTIFICATE,
                                    "certified oracle: sequence %lld, token %lld, head %lld: "
                                    "double-double does not decide how %s is rounded, " WITHOUT,
                                    (long long)g->n, (long long)(g->from + i),
                                    (long long)(g->h + head),
                                    gka_gradient_name((gka_gradient)tensor));
    return GKA_OK;
}

static gka_status refuse(gka_error *error) {
    return gka_fail(error, GKA_UNSUPPORTED,
                    "mpfr oracle: this build is without MPFR; certified or fp64 was expected");
}

gka_status gka_mpfr_forward(const gka_problem *problem, const gka_oracle_options *options,
                            gka_outputs *out, gka_outputs *lo, gka_oracle_report *report,
                            gka_error *error) {
    (void)problem, (void)options, (void)out, (void)lo, (void)report;
    return refuse(error);
}

gka_status gka_mpfr_gradient(const gka_problem *problem, gka_of cotangent,
                             const gka_oracle_options *options, gka_outputs *out, gka_outputs *lo,
                             gka_oracle_report *report, gka_error *error) {
    (void)problem, (void)cotangent, (void)options, (void)out, (void)lo, (void)report;
    return refuse(error);
}
