/* tolerance.c - the rule by which every tolerance is made (gka/golden.h, section 1). */
#include "golden/way.h"

#include "gka/format.h"

#include <math.h>

/* What one rounding to the stored type may do; nothing to a tensor that is zero. */
double gka_golden_least_tolerance(const golden_job *j, int output) {
    return j->way->is_zero(j, output) ? 0x1p-52
                                      : gka_format_unit_roundoff(gka_format_of_dtype(
                                            gka_output_dtype(&j->problem, output)));
}

static double tolerance_of(double floor, double panel, double least) {
    const double most = fmax(2 * fmax(floor, panel), least);
    if (!isfinite(floor) || !isfinite(panel))
        return NAN;
    int exponent;
    const double fraction = frexp(most, &exponent); /* [1/2, 1) */
    const double value = ldexp(1, fraction > .5 ? exponent : exponent - 1);
    return value < .5 ? value : NAN;
}

golden_error gka_golden_tolerance_of(golden_error floor, golden_error panel, double least) {
    return (golden_error){tolerance_of(floor.rel, panel.rel, least),
                          tolerance_of(floor.row, panel.row, least)};
}

static double at_least(double one, double other) {
    return isnan(one) || isnan(other) ? NAN : fmax(one, other);
}

golden_error gka_golden_tolerance_at_least(golden_error one, golden_error other) {
    return (golden_error){at_least(one.rel, other.rel), at_least(one.row, other.row)};
}

/* Decode is the layer itself, one token of it; so it has the forward pass's proof. */
bool gka_golden_whole_layer(const golden_job *j) {
    return j->spec->stage == GKA_STAGE_ALL || j->spec->stage == GKA_STAGE_DECODE;
}
