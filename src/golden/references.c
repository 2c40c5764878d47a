/* references.c - what a golden says beside NAME.steps (gka/golden.h, section 1).
 *
 *   exact      Solvers that converge are judged by NAME.exact. Their tolerance comes from kernels
 *              that converge and round what the released ones round on the way: x (and p), q', the
 *              outputs. Conjugate gradients in binary64 with these hand-offs, and the two-term form
 *              with as many steps as binary32 can tell apart, on the tensor core or without it:
 *              the rows of kernel/panel.c that take part in GKA_PANEL_CONVERGED.
 *   through    PyTorch's autograd differentiates the num_iter steps; NAME.steps has the implicit
 *              gradient at x_r and p_r (NUMERICS 2). Where the two are further apart than the
 *              tolerance, the golden has the derivative of the steps too. dq is one number by both,
 *              but not one computation: in reverse the steps' coefficients come in reverse order,
 *              and what it rounds grows first (NUMERICS 3). So a dq that misses its tolerance has
 *              one of through, made when it is judged.
 */
#include "golden/job.h"

#include "gka/format.h"

#include <math.h>
#include <string.h>

/* ---- converged kernels --------------------------------------------------------------------- */

/* Raises `most` to the errors; NaN is left out, as by members of the other panel. */
static void raise_to(unsigned wanted, const golden_error *errors, golden_error *most) {
    for (int i = 0; i < GKA_OUTPUTS; i++)
        if (wanted >> i & 1 && isfinite(errors[i].rel) && isfinite(errors[i].row)) {
            most[i].rel = fmax(most[i].rel, errors[i].rel);
            most[i].row = fmax(most[i].row, errors[i].row);
        }
}

/* The errors of values rounded to their stored types, against the exact values. */
static gka_status raise_by(golden_job *j, unsigned all, gka_outputs *values, golden_error *errors,
                           golden_error *most, gka_error *error) {
    gka_golden_store(&j->problem, all, values);
    const gka_status status =
        gka_golden_errors(&j->problem, j->wanted, values, &j->exact, errors, error);
    if (status == GKA_OK)
        raise_to(j->wanted, errors, most);
    return status;
}

/* alone: outputs that no kernel has made finite so far. */
static gka_status raise_by_kernel(golden_job *j, const gka_right_kernel *right, unsigned all,
                                  golden_error *most, unsigned *alone, gka_error *error) {
    golden_error errors[GKA_OUTPUTS];
    gka_kernel kernel;
    gka_outputs values = {.of = {0}};
    gka_status status = gka_right_kernel_find(NULL, right, &j->problem, &kernel, error);
    if (status == GKA_UNSUPPORTED ||
        (status == GKA_OK && gka_kernel_check(&kernel, &j->problem, NULL) != GKA_OK))
        return GKA_OK;
    if (status == GKA_OK)
        status = gka_golden_run(&j->problem, &kernel, all, &values, error);
    if (status == GKA_OK)
        status = raise_by(j, all, &values, errors, most, error);
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++)
        if (golden_wants(j, i) && isfinite(errors[i].rel) && isfinite(errors[i].row))
            *alone &= ~(1u << i);
    gka_golden_free(&values);
    return status;
}

static gka_status raise_by_rounding(golden_job *j, golden_error *most, gka_error *error) {
    golden_error errors[GKA_OUTPUTS];
    gka_outputs values = {.of = {0}};
    gka_status status = gka_golden_allocate(&j->problem, j->wanted, &values, error);
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++)
        if (golden_wants(j, i))
            memcpy(values.of[i], j->exact.of[i],
                   (size_t)gka_output_count(&j->problem, i) * sizeof(double));
    if (status == GKA_OK)
        status = raise_by(j, j->wanted, &values, errors, most, error);
    gka_golden_free(&values);
    return status;
}

/* A long golden is judged by its exact values as by its steps, where these do not differ by more
 * than a rounding. */
static void take_over(golden_job *j) {
    const double a = j->problem.ridge_ratio;
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        const bool same = golden_wants(j, i) &&
                          j->problem.num_iter >= gka_steps_to(a, gka_golden_least_tolerance(j, i));
        j->by_exact[i] = same ? j->tolerance[i] : (golden_error){NAN, NAN};
    }
}

gka_status gka_golden_tolerances_of_exact(golden_job *j, unsigned all, gka_error *error) {
    const bool wide = j->problem.q.dtype == GKA_F32 || j->problem.q.dtype == GKA_F64;
    const gka_panel_kind kind = j->problem.lambda > 0 ? GKA_PANEL_MESA_CONVERGED
                                : wide                ? GKA_PANEL_CONVERGED32
                                                      : GKA_PANEL_CONVERGED;
    golden_error most[GKA_OUTPUTS] = {{0, 0}};
    unsigned alone = j->wanted;
    if (j->is_long) {
        take_over(j);
        return GKA_OK;
    }
    gka_status status = raise_by_rounding(j, most, error);
    for (size_t i = 0; i < gka_panel_row_count && status == GKA_OK; i++)
        if (gka_right_kernels[i].takes[kind] == GKA_TAKES_ALL)
            status = raise_by_kernel(j, &gka_right_kernels[i], all, most, &alone, error);
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++) {
        if (!golden_wants(j, i))
            continue;
        /* Where every kernel overflows, nobody knows what a right one loses: it is not judged. */
        j->by_exact[i] = alone >> i & 1 ? (golden_error){NAN, NAN}
                                        : gka_golden_tolerance_of(most[i], (golden_error){0, 0},
                                                                  gka_golden_least_tolerance(j, i));
    }
    return status;
}

/* ---- the derivative of the steps ----------------------------------------------------------- */

/* dq is the same by both (a polynomial in H is symmetric), and so is what follows from x alone. */
static const unsigned differ = GKA_BIT(SOLVE_DK) | GKA_BIT(SOLVE_DG) | GKA_BIT(SOLVE_DH0) |
                               GKA_BIT(LAYER_DK) | GKA_BIT(LAYER_DG);

static gka_status differentiate(const gka_problem *problem, const char *name, unsigned wanted,
                                gka_outputs *values, gka_error *error) {
    gka_kernel kernel;
    gka_status status = gka_kernel_find(name, &kernel, error);
    if (status == GKA_OK)
        status = gka_golden_allocate(problem, wanted, values, error);
    gka_layer_options options = gka_kernel_layer_options(&kernel, problem);
    options.through = true;
    for (int of = GKA_OF_X; of <= GKA_OF_O && status == GKA_OK; of++) {
        gka_outputs some;
        if (gka_outputs_only(values, wanted & gka_of_outputs((gka_of)of), &some))
            status = gka_layer_gradient(problem, (gka_of)of, &options, &some, NULL, error);
    }
    return status;
}

/* The error of values as stored against through. */
static void raise_through(const gka_problem *problem, unsigned wanted, const gka_outputs *through,
                          gka_outputs *values, golden_error *most) {
    golden_error errors[GKA_OUTPUTS];
    gka_golden_store(problem, wanted, values);
    for (int i = 0; i < GKA_OUTPUTS; i++)
        if (wanted >> i & 1)
            errors[i] = gka_golden_error_of(problem, i, values->of[i], through->of[i], NULL);
    raise_to(wanted, errors, most);
}

gka_status gka_golden_through_errors(const gka_problem *problem, unsigned wanted,
                                     const gka_outputs *through, golden_error most[GKA_OUTPUTS],
                                     gka_error *error) {
    static const char *const kernels[] = {"tokens/fp32", "tokens/fp32/fma"};
    const bool wide = problem->q.dtype == GKA_F32;
    gka_outputs values = {.of = {0}};
    gka_status status = gka_golden_allocate(problem, wanted, &values, error);
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++) {
        most[i] = (golden_error){0, 0};
        if (wanted >> i & 1)
            memcpy(values.of[i], through->of[i],
                   (size_t)gka_output_count(problem, i) * sizeof(double));
    }
    if (status == GKA_OK)
        raise_through(problem, wanted, through, &values, most);
    for (int p = 0; p < 2 && wide && status == GKA_OK; p++) {
        status = differentiate(problem, kernels[p], wanted, &values, error);
        if (status == GKA_OK)
            raise_through(problem, wanted, through, &values, most);
    }
    gka_golden_free(&values);
    return status;
}

static gka_status measure_through(golden_job *j, unsigned wanted, gka_error *error) {
    golden_error most[GKA_OUTPUTS];
    const gka_status status =
        gka_golden_through_errors(&j->problem, wanted, &j->through, most, error);
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++) {
        if (!(wanted >> i & 1))
            continue;
        /* At least what the implicit gradient is allowed: the same stages are rounded. */
        j->by_through[i] = gka_golden_tolerance_at_least(
            j->tolerance[i], gka_golden_tolerance_of(most[i], (golden_error){0, 0},
                                                     gka_golden_least_tolerance(j, i)));
    }
    return status;
}

gka_status gka_golden_make_through(golden_job *j, gka_error *error) {
    unsigned wanted = j->wanted & differ;
    if (j->is_long || j->spec->stage != GKA_STAGE_ALL || wanted == 0)
        return GKA_OK;
    gka_status status = differentiate(&j->problem, "tokens/fp64", wanted, &j->through, error);
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++) {
        if (!(wanted >> i & 1))
            continue;
        const golden_error apart =
            gka_golden_error_of(&j->problem, i, j->through.of[i], j->steps.of[i], NULL);
        if (apart.rel > j->tolerance[i].rel || apart.row > j->tolerance[i].row)
            continue;
        gka_free(j->through.of[i]);
        j->through.of[i] = NULL;
        wanted &= ~(1u << i);
    }
    return status == GKA_OK && wanted != 0 ? measure_through(j, wanted, error) : status;
}
