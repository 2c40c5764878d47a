/* gka/condition.h - is an error the kernel's, or the problem's?
 *
 *   1  gka_condition            error, storage floor, condition, and a word, tensor by tensor
 *   2  gka_iterations           the derivative of r steps against the implicit formula
 *
 * An output tensor Y is a function of an input tensor Z (one of q k v alpha g). J is the Jacobian
 * of Y by Z. Suppose that Z changes by u, relative to its size. Two numbers say by how much,
 * relative to its own size, Y can change:
 *
 *   worst direction   kappa u, with kappa = ||J||_2 ||Z||/||Y||, the classical condition number:
 *                     the change of Z is the one to which Y is most sensitive
 *   typical           ||u J diag(Z)||_F / (sqrt 3 ||Y||): every element of Z is off by u times its
 *                     own number drawn from [-1,1], as by one rounding to Z's type
 *
 * The first is larger by about the square root of the number of elements, which is 150 for a tensor
 * of 192 x 128. It can excuse almost any error of a gradient; but roundings do not point into that
 * direction. The word (gka_stability) therefore goes by the typical change. Both ratios are given.
 */
#ifndef GKA_CONDITION_H
#define GKA_CONDITION_H

#include "gka/base.h"
#include "gka/io.h"
#include "gka/kernel.h"
#include "gka/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1 condition --------------------------------------------------------------------------- */

typedef enum gka_input {
    GKA_INPUT_Q,
    GKA_INPUT_K,
    GKA_INPUT_V,
    GKA_INPUT_ALPHA,
    GKA_INPUT_G
} gka_input;
enum { GKA_INPUTS = GKA_INPUT_G + 1 };
GKA_API const char *gka_input_name(gka_input input); /* "q", "k", "v", "alpha", "g" */

/* Zeros where the problem has no such input or the output does not read it. */
typedef struct gka_sensitivity {
    double unit;    /* unit roundoff of the input's own type */
    double kappa;   /* by power iteration on J^T J, from below, until a step adds less than 1 % */
    int products;   /* with J and J^T, that it took; at most 60 */
    double typical; /* root mean square over 8 draws */
} gka_sensitivity;

/* u: the coarsest unit roundoff of the tensor's type and its inputs'. */
typedef enum gka_stability {
    GKA_STABLE,          /* ratio <= 10, and max(floor, typical) <= 10 u */
    GKA_ILL_CONDITIONED, /* ratio <= 10, but rounding alone costs more than 10 u */
    GKA_UNSTABLE,        /* ratio > 10: more is lost than storage and rounding explain */
    GKA_NOT_FINITE       /* NaN or Inf among the elements */
} gka_stability;
GKA_API const char *gka_stability_name(gka_stability stability);

typedef struct gka_condition_row {
    const char *name; /* x o solve.{dq dk dg} layer.{dq dk dv dalpha dg} */
    gka_dtype dtype;  /* in which kernels store it */
    double error;     /* rel_err against the exact value */
    double floor;     /* rel_err of exact x, f and p rounded once to their types, then the exact
                         formulas, then the tensor's own rounding; of x: x rounded once */
    gka_sensitivity of[GKA_INPUTS];
    double typical;     /* of all inputs together: root of the sum of squares */
    double ratio;       /* error / max(floor, typical) */
    double worst;       /* the largest unit * kappa */
    gka_input by;       /* of this input */
    double worst_ratio; /* error / max(floor, worst) */
    gka_stability word;
} gka_condition_row;

enum { GKA_CONDITION_ROWS = 10 };
/* Their names, in the order above; ends with NULL. */
GKA_API extern const char *const gka_condition_names[GKA_CONDITION_ROWS + 1];

typedef struct gka_condition_options {
    const gka_file *outputs;   /* the tensors that are judged; or NULL and */
    const gka_kernel *emulate; /* as this kernel computes them (gka/kernel.h) */
    /* These alone; name_count = 0: all that there are. Names that are not known are passed over. */
    const char *const *names;
    size_t name_count;
    gka_progress progress; /* unit: pairs of output and input */
} gka_condition_options;

/* rows [GKA_CONDITION_ROWS], in the order above, of the tensors in the file, or of all that the
 * problem has the inputs for. Exact values and derivatives by the fp64 oracle, whose failures are
 * returned; GKA_BAD_FILE where a tensor has another shape than its problem or the file has none of
 * them. The draws are a function of an element's number alone. */
GKA_API gka_status gka_condition(const gka_problem *problem, const gka_condition_options *options,
                                 gka_condition_row *rows, size_t *row_count, gka_error *error);

/* ---- 2 the finite iteration ---------------------------------------------------------------- */

/* Three gradients of <dx, x> in binary64: exact, of the exact solution; implicit, the formulas of
 * NUMERICS 2 at x and p of r Chebyshev steps, as every kernel has it; derivative, of the r steps
 * themselves, bounds and all, by their adjoint (gka_solve_adjoint). For fixed bounds x is a
 * polynomial in H times q, so for dq the last two are one. */
enum { GKA_ITERATED_DQ, GKA_ITERATED_DK, GKA_ITERATED_DG, GKA_ITERATED };

typedef struct gka_iterations_row {
    int r;
    double bound; /* 1/T_(r+1)(1 + 2a): the most that r steps leave of a residual */
    double x;     /* rel_err of the r-step x against the exact one; at most `bound` (f exact) */
    /* rel_err of dq, dk, dg (NaN without g) */
    double apart[GKA_ITERATED];      /* implicit against derivative */
    double implicit[GKA_ITERATED];   /* against exact */
    double derivative[GKA_ITERATED]; /* against exact */
    double reversed[GKA_ITERATED];   /* the derivative from iterates recomputed backwards, O(1)
                                        memory, against that from stored ones */
} gka_iterations_row;

/* The problem at r steps in place of its own; form: GKA_THREE_TERM or GKA_TWO_TERM. Needs dx. */
GKA_API gka_status gka_iterations(const gka_problem *problem, gka_form form, int r,
                                  gka_iterations_row *row, gka_error *error);

#ifdef __cplusplus
}
#endif
#endif
