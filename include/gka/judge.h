/* gka/judge.h - what a computed tensor is worth.
 *
 *   1  gka_comparison            one tensor against one reference, as a record; gka_rel_err
 *   2  gka_verify                every output tensor of a file against the oracle
 *   3  gka_attribute             what each rounding of the released kernels costs
 *   4  gka_predict               what kernels would lose, head by head
 *   5  gka_configuration_find    which configuration of the autotuned kernels gives a file's bits
 *
 * Goldens, by which a kernel is judged on another machine, are in gka/golden.h.
 *
 * The conventions of a comparison stand here and nowhere else:
 *   rel_err      ||out - ref||_2 / ||ref||_2 over the whole tensor; ref = 0: ||out||_2 and
 *                `absolute` is set. Right to 8 * 2^-53 relative, whatever the sizes and the number
 *                of the elements; the order of the sums is pinned.
 *   max_row_err  the largest rel_err over rows (the last axis; for states [..,D,D] the last two;
 *                for [B,T,H] tensors each element), and `at`, the index of the first such row.
 *                Rows whose reference is zero count absolutely.
 *   NaN and Inf  counted on each side. rel_err is then what its formula gives: Inf in out gives
 *                Inf; NaN anywhere, or Inf in ref, gives NaN. NaN counts as the largest row error.
 *   max_ulp      the largest distance between the stored element and the reference rounded once, to
 *                nearest even, to the stored format, in steps between neighbouring encodings: +0
 *                and -0 are the same place, Inf is one step beyond the largest finite value. NaN on
 *                either side has no distance and is left out.
 *   equal        elements whose encodings are those of the rounded reference (+0 and -0 differ; any
 *                NaN equals any NaN); bits_equal when all are.
 *   ok           pass or fail against a tolerance on rel_err (rel_err <= tolerance; NaN fails);
 *                measured, null in JSON and "-" in tables, without one.
 */
#ifndef GKA_JUDGE_H
#define GKA_JUDGE_H

#include "gka/base.h"
#include "gka/chunk.h"
#include "gka/io.h"
#include "gka/kernel.h"
#include "gka/oracle.h"
#include "gka/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1 comparison -------------------------------------------------------------------------- */

typedef enum gka_verdict { GKA_MEASURED, GKA_PASS, GKA_FAIL } gka_verdict;

enum { GKA_DISTANCES = 18 };

typedef struct gka_comparison {
    double rel_err;
    bool absolute;
    double max_row_err;
    int at_rank; /* axes of `at`: rank - row_rank; 0 for a tensor without elements, too */
    int64_t at[GKA_MAX_RANK];
    uint64_t max_ulp;
    int64_t nan_out, inf_out, nan_ref, inf_ref;
    int64_t
        non_finite; /* elements of out that are NaN or Inf where ref is finite: no right kernel */
    int64_t equal;
    int64_t count;
    bool bits_equal; /* equal == count */
    /* Elements at a distance of 0, 1, 2..3, 4..7, ... steps from the rounded reference, the last
     * but one 2^15 and more; the last counts NaN. */
    int64_t distances[GKA_DISTANCES];
    gka_verdict ok;
} gka_comparison;

/* Fills *comparison; ok = GKA_MEASURED. out: a tensor of a floating-point dtype (anything else is a
 * programmer error); ref [count]: in out's shape; row_rank: how many trailing axes make a row (0:
 * each element is one), at most out's rank. */
GKA_API void gka_compare(const gka_tensor *out, const double *ref, int row_rank,
                         gka_comparison *comparison);

/* ||out - ref||_2 / ||ref||_2 of n numbers; ref = 0: ||out||_2. No square overflows; right to
 * about n 2^-53. */
GKA_API double gka_rel_err(int64_t n, const double *out, const double *ref);

/* ---- 2 verify ------------------------------------------------------------------------------ */

/* The tensors that are judged, with the shapes of gka/oracle.h: x fro h_chunk h_final u_final o,
 * solve.{dq dk dg dh0} (gradients of x for the cotangent dx), layer.{dq dk dv dalpha dg} (of o for
 * the cotangent do). Ends with NULL. */
GKA_API extern const char *const gka_verify_names[];

/* What a server's kernels leave, judged where a file has any of them; ends with NULL:
 *
 *   prefill.o             [B,P,H,V]             the first P tokens (metadata `prefill`, else all),
 *                                               in one call, or further ones from the tokens of
 *                                               metadata `cuts` on ("64" or "64,100")
 *   prefill.h  prefill.u  [N,H,D,D] [N,H,D,V]   the states after them
 *   decode.o              [B,T - P,H,V]         the other tokens, one by one from those states
 *   decode.h   decode.u                         the states after them
 *
 * The problem is as the server has it: beta, and q, k before they are normalised (gka/problem.h);
 * exact is the layer at the real numbers that these stand for, folded in binary64; where the
 * metadata does not say `normalise`, unit is taken, as the kernels do. The states that
 * go from token to token have the types of decode.h and decode.u: F32, BF16 or F16. */
GKA_API extern const char *const gka_serving_names[];
GKA_API bool gka_file_is_served(const gka_file *file);

/* The tensor `name` passes when its rel_err <= value. */
typedef struct gka_tolerance {
    const char *name;
    double value;
} gka_tolerance;

typedef struct gka_verify_options {
    gka_oracle oracle;
    int precision;          /* bits of oracle MPFR; 0: as gka_oracle_options */
    bool show_ref;          /* tensors ref.NAME too, as if they were computed ones */
    const gka_file *inputs; /* where the inputs are; NULL: in the file itself */
    /* Of equal names the last counts; a name that the file lacks is passed over. */
    const gka_tolerance *tolerances;
    size_t tolerance_count;
    /* What is said to have computed the tensors; NULL: not asked. A file of one token with an
     * initial state, and without o or gradients, is taken to be the one-token kernel's. */
    const gka_kernel *emulate;
    gka_progress progress; /* unit: token solves, of every pass */
} gka_verify_options;

typedef struct gka_verdict_row {
    const gka_tensor *tensor;
    gka_comparison comparison;
    double stated;           /* the file's own rel_err_vs_fp64 for this tensor; NaN: none */
    gka_comparison emulated; /* against the emulation: equal of count elements, max_ulp; zeros
                                without one */
    double predicted;        /* rel_err of the emulation itself against the exact value; NaN */
} gka_verdict_row;

/* What solve.dh0 is, over the symmetric parts of all its matrices: the layer sees h0 by nothing
 * else. The exact gradient is -sum_t exp(G_t) (p_t x_t^T + a <p_t,x_t>/f_t H_t), the second term by
 * the ridge; the released kernel gives the first one, without its sign. */
typedef struct gka_dh0 {
    bool judged;         /* the file has a solve.dh0, and it is finite and not zero */
    double cosine, norm; /* <out, exact>/(||out|| ||exact||), ||out||/||exact|| */
    /* At the file's own x, fro and p = solve.dq, NaN without these: rel_err of +-out, the sign that
     * of the cosine, against the formula above and against its first term alone; and the size of
     * the second term relative to the formula. */
    double with, without, ridge;
} gka_dh0;

typedef struct gka_verification {
    gka_problem problem;
    gka_defaults defaults;
    /* The three passes of the oracle; zeros for one that was not needed. */
    gka_oracle_report forward, solve, layer;
    gka_verdict_row *rows; /* in the order of gka_verify_names, ref.NAME after NAME */
    size_t row_count;
    /* Neither an input, nor judged, nor a ref.NAME: g_cumsum, and names that are not known here. */
    const gka_tensor **others;
    size_t other_count;
    size_t ref_count; /* ref.NAME tensors in the file */
    gka_dh0 dh0;
    /* The first of x, fro, o is off by more than a tenth, and is right to that when all of the
     * file's token tensors are read as [B,H,T,..]. */
    bool turned;
} gka_verification;

/* The exact value of every output tensor in the file, from the inputs in it (or in
 * options->inputs), and the comparison; the reference is the exact value rounded to binary64. Only
 * what the tensors present need is computed. Fails with GKA_BAD_FILE and a line where a tensor has
 * another shape than its problem, where an input that an output needs is missing, where there is
 * nothing to judge, or where the two files state different parameters. The result is freed by
 * gka_verification_free, also after a failure; it points into the files, which must stay open. */
GKA_API gka_status gka_verify(const gka_file *file, const gka_verify_options *options,
                              gka_verification *verification, gka_error *error);
GKA_API void gka_verification_free(gka_verification *verification);

/* ---- 3 attribution ------------------------------------------------------------------------- */

/* One output's errors ||out - steps|| / ||steps||, steps the same iteration in binary64: the
 * profile's form, margin and number of steps on the device exact64, no point released. */
typedef struct gka_attribution {
    bool defined;                    /* false: the problem lacks v, dx, do, ...; no figures */
    double released;                 /* the profile as it is */
    double only[GKA_POINT_COUNT];    /* this point alone, all others exact */
    double without[GKA_POINT_COUNT]; /* the profile, this point exact */
} gka_attribution;

/* Fills attributions [count] for outputs by name (gka_verify_names); profile: "h100", repaired or
 * not. Runs the problem
 * 2 GKA_POINT_COUNT + 2 times; every thread holds the wanted outputs once. progress, unit: runs;
 * may be NULL. GKA_BAD_ARGUMENT for a name that is none; else as gka_chunk_forward. */
GKA_API gka_status gka_attribute(const gka_problem *problem, const gka_profile *profile,
                                 const char *const *names, size_t count,
                                 const gka_progress *progress, gka_attribution *attributions,
                                 gka_error *error);

/* ---- 4 prediction -------------------------------------------------------------------------- */

/* For each sequence n, query head h, kernel and output ||out - exact|| of what the kernel makes of
 * that head alone, and ||exact||: distance [N,H,kernels,names], size [N,H,names], NaN where the
 * problem lacks what the output needs or the kernel has no such output. A head with others in its
 * group gives the dk and dv that it alone would have. Heads run in parallel; progress, unit: heads.
 */
typedef struct gka_prediction {
    gka_oracle oracle; /* what is called exact, */
    int precision;     /* ... bits of MPFR; 0: as gka_oracle_options */
    const gka_kernel *kernels;
    size_t kernel_count;
    const char *const *names; /* of outputs that are judged, but for h_chunk */
    size_t name_count;
    gka_progress progress;
} gka_prediction;
GKA_API gka_status gka_predict(const gka_problem *problem, const gka_prediction *prediction,
                               double *distance, double *size, gka_error *error);

/* ---- 5 configurations ---------------------------------------------------------------------- */

/* Which configuration of the autotuned kernels (gka_launch) gives a file's bits. */
typedef struct gka_configuration {
    double known;           /* choices of a configuration for every kernel that its list allows */
    int tried;              /* runs */
    int alike, alike_gates; /* further choices with every element, of the solver; of the others */
    int64_t different;      /* elements that the best one does not give; 0: found */
    const char *name;       /* of the tensor where the first of them is, if any */
    int64_t at;
} gka_configuration;

/* Sets num_warps of *profile ("h100", anything else as it shall be) to the configuration that gives
 * the file's outputs, or the closest, and its 16-bit type to that of q. Seconds on 1,024 rows of
 * D = 128. */
GKA_API gka_status gka_configuration_find(const gka_file *file, const gka_problem *problem,
                                          gka_profile *profile, gka_configuration *found,
                                          gka_error *error);
/* The same of a server's outputs (section 2), of which prefill.o follows from the configurations of
 * solve and output, decode.* from that of decode. The problem is read from inputs, or from the file
 * where that is NULL. */
GKA_API gka_status gka_configuration_find_served(const gka_file *file, const gka_file *inputs,
                                                 gka_profile *profile, gka_configuration *found,
                                                 gka_error *error);

#ifdef __cplusplus
}
#endif
#endif
