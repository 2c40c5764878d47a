/* gka/judge.h - what a computed tensor is worth.
 *
 *   1  gka_comparison            one tensor against one reference, as a record
 *   2  gka_verify                every output tensor of a file against the oracle
 *
 * The conventions of a comparison stand here and nowhere else:
 *   rel_err      ||out - ref||_2 / ||ref||_2 over the whole tensor; ref = 0: ||out||_2 and
 *                `absolute` is set. NaN or Inf in out makes it NaN or Inf.
 *   max_row_err  the largest rel_err over rows (the last axis; for states [..,D,D] the last two;
 *                for [B,T,H] tensors each element), and `at`, the index of that row. Rows whose
 *                reference is zero count absolutely.
 *   max_ulp      the largest distance between the stored element and the reference rounded to the
 *                stored format, in steps between neighbouring encodings (+0 = -0).
 *   ok           true or false against a tolerance on rel_err; null without one.
 */
#ifndef GKA_JUDGE_H
#define GKA_JUDGE_H

#include "gka/base.h"
#include "gka/io.h"
#include "gka/oracle.h"
#include "gka/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1 comparison -------------------------------------------------------------------------- */

typedef enum gka_verdict { GKA_MEASURED, GKA_PASS, GKA_FAIL } gka_verdict;

typedef struct gka_comparison {
    double rel_err;
    bool absolute;
    double max_row_err;
    int at_rank;
    int64_t at[GKA_MAX_RANK];
    uint64_t max_ulp;
    int64_t nan_out, inf_out, nan_ref, inf_ref;
    int64_t equal; /* elements whose encodings are those of the reference rounded once */
    int64_t count;
    bool bits_equal; /* equal == count */
    gka_verdict ok;
} gka_comparison;

/* row_rank: how many trailing axes make a row (0: each element is one). ref has out's shape. */
void gka_compare(const gka_tensor *out, const double *ref, int row_rank,
                 gka_comparison *comparison);

/* ---- 2 verify ------------------------------------------------------------------------------ */

typedef struct gka_verify_options {
    gka_oracle oracle;
    bool show_ref;            /* ref.* tensors too, compared with the oracle */
    const gka_file *inputs;   /* where the inputs are, when not in the file itself; NULL */
    const char *const *names; /* tolerances on rel_err: names[i] <= values[i] */
    const double *values;
    size_t tolerance_count;
    gka_progress progress;
} gka_verify_options;

typedef struct gka_verdict_row {
    const gka_tensor *tensor;
    gka_comparison comparison;
    double stated; /* the file's own rel_err_vs_fp64 for this tensor; NaN: none */
} gka_verdict_row;

typedef struct gka_verification {
    gka_problem problem;
    gka_defaults defaults;
    gka_oracle_report forward, solve, layer;
    gka_verdict_row *rows;
    size_t row_count;
} gka_verification;

/* The exact value of every output tensor in the file, from the inputs in it, and the comparison.
 * Result freed by gka_verification_free; it points into the file. */
gka_status gka_verify(const gka_file *file, const gka_verify_options *options,
                      gka_verification *verification, gka_error *error);
void gka_verification_free(gka_verification *verification);

#ifdef __cplusplus
}
#endif
#endif
