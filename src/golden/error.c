/* error.c - what a set of outputs is worth: sums of squares, row by row.
 *
 *   d_i r_i   ||out_i - ref_i||^2, ||ref_i||^2 of row i, all divided by a power of two
 *   rel       sqrt(sum d / sum r)
 *   row       max over i of sqrt(d_i / max(r_i, mean r))
 *
 * Each row is summed by itself and the rows in their order, so that what is measured window by
 * window (stream.c) has the bits of what is measured at once.
 */
#include "golden/golden.h"

#include <math.h>

double gka_golden_scale(double most) {
    int exponent;
    if (!(most > 0))
        return 1;
    (void)frexp(most, &exponent);
    return ldexp(1, exponent - 1);
}

double gka_golden_most(int64_t n, const double *values, double most) {
    for (int64_t i = 0; i < n; i++)
        if (isfinite(values[i]))
            most = fmax(most, fabs(values[i]));
    return most;
}

int64_t gka_golden_row_length(const gka_problem *problem, int output) {
    int64_t shape[GKA_MAX_RANK], n = 1;
    const int rank = gka_output_shape(problem, output, shape);
    for (int i = rank - gka_output_table[output].row_rank; i < rank; i++)
        n *= shape[i];
    return n;
}

golden_sums gka_golden_row_sums(int64_t n, double scale, const double *out, const double *ref) {
    golden_sums sum = {0, 0};
    for (int64_t i = 0; i < n; i++) {
        const double d = out[i] / scale - ref[i] / scale, r = ref[i] / scale;
        sum.d += d * d;
        sum.r += r * r;
    }
    return sum;
}

void gka_golden_add_row(golden_sums *all, golden_sums row) {
    all->d += row.d;
    all->r += row.r;
}

double gka_golden_rel(golden_sums all, double scale) {
    return all.r > 0 ? sqrt(all.d / all.r) : scale * sqrt(all.d);
}

bool gka_golden_worse_row(golden_sums all, int64_t rows, double scale, golden_sums row,
                          double *most) {
    const double mean = all.r / (double)rows, size = fmax(mean, row.r),
                 e = size > 0 ? sqrt(row.d / size) : scale * sqrt(row.d);
    if (isnan(mean))
        *most = NAN;
    if (isnan(*most) || !(e > *most || isnan(e)))
        return false;
    *most = e;
    return true;
}

/* ---- in memory ----------------------------------------------------------------------------- */

golden_error gka_golden_error_in(int64_t rows, int64_t n, const double *out, const double *ref,
                                 double scale, int64_t *worst) {
    golden_sums all = {0, 0};
    double most = -1;
    int64_t at = 0;
    for (int64_t i = 0; i < rows; i++)
        gka_golden_add_row(&all, gka_golden_row_sums(n, scale, out + i * n, ref + i * n));
    for (int64_t i = 0; i < rows; i++)
        if (gka_golden_worse_row(all, rows, scale,
                                 gka_golden_row_sums(n, scale, out + i * n, ref + i * n), &most))
            at = i;
    if (worst != NULL)
        *worst = at;
    return (golden_error){gka_golden_rel(all, scale), rows > 0 ? most : 0};
}

static golden_error measure(const gka_problem *problem, int output, double scale, const double *out,
                            const double *ref) {
    const int64_t n = gka_golden_row_length(problem, output),
                  rows = n > 0 ? gka_output_count(problem, output) / n : 0;
    return gka_golden_error_in(rows, n, out, ref, scale, NULL);
}

golden_error gka_golden_error_of(const gka_problem *problem, int output, const double *out,
                                 const double *steps, const double *local) {
    const double scale =
        gka_golden_scale(gka_golden_most(gka_output_count(problem, output), steps, 0));
    const golden_error e = measure(problem, output, scale, out, steps);
    return local == NULL ? e : gka_golden_nearer(e, measure(problem, output, scale, out, local));
}

golden_error gka_golden_nearer(golden_error steps, golden_error local) {
    return local.rel < steps.rel || isnan(steps.rel) ? local : steps;
}

gka_status gka_golden_errors(const gka_problem *problem, unsigned wanted,
                             const gka_outputs *candidate, const gka_outputs *steps,
                             golden_error errors[GKA_OUTPUTS], gka_error *error) {
    gka_outputs local = {0};
    const gka_status status = gka_golden_local(problem, wanted, candidate, &local, error);
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        errors[i] = (golden_error){NAN, NAN};
        if (status != GKA_OK || !(wanted >> i & 1) || candidate->of[i] == NULL)
            continue;
        errors[i] = gka_golden_error_of(problem, i, candidate->of[i], steps->of[i], local.of[i]);
    }
    gka_golden_free(&local);
    return status;
}
