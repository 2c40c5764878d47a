/* gka/judge.h - what a computed tensor is worth.
 *
 *   1  gka_comparison            one tensor against one reference, as a record
 *   2  gka_verify                every output tensor of a file against the oracle
 *   3  gka_golden                inputs, references and tolerances in one file
 *   4  gka_golden_judge          a candidate's tensors by a golden
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
 *                nearest even, to the stored format, in steps between neighbouring encodings (+0
 * and -0 are the same place; Inf is one step beyond the largest finite value). NaN on either side
 * has no distance and is left out. equal        elements whose encodings are those of the rounded
 * reference (+0 and -0 differ; any NaN equals any NaN); bits_equal when all are. ok           pass
 * or fail against a tolerance on rel_err (rel_err <= tolerance; NaN fails); measured, null in JSON
 * and "-" in tables, without one.
 */
#ifndef GKA_JUDGE_H
#define GKA_JUDGE_H

#include "gka/base.h"
#include "gka/chunk.h"
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
    int at_rank; /* axes of `at`: rank - row_rank; 0 for a tensor without elements, too */
    int64_t at[GKA_MAX_RANK];
    uint64_t max_ulp;
    int64_t nan_out, inf_out, nan_ref, inf_ref;
    int64_t equal;
    int64_t count;
    bool bits_equal; /* equal == count */
    gka_verdict ok;
} gka_comparison;

/* Fills *comparison; ok = GKA_MEASURED. out: a tensor of a floating-point dtype (anything else is a
 * programmer error); ref [count]: in out's shape; row_rank: how many trailing axes make a row (0:
 * each element is one), at most out's rank. */
void gka_compare(const gka_tensor *out, const double *ref, int row_rank,
                 gka_comparison *comparison);

/* ---- 2 verify ------------------------------------------------------------------------------ */

/* The tensors that are judged, with the shapes of gka/oracle.h: x fro h_chunk h_final u_final o,
 * solve.{dq dk dg dh0} (gradients of x for the cotangent dx), layer.{dq dk dv dalpha dg} (of o for
 * the cotangent do). Ends with NULL. */
extern const char *const gka_verify_names[];

/* The tensor `name` passes when its rel_err <= value. */
typedef struct gka_tolerance {
    const char *name;
    double value;
} gka_tolerance;

typedef struct gka_verify_options {
    gka_oracle oracle;
    bool show_ref;          /* tensors ref.NAME too, as if they were computed ones */
    const gka_file *inputs; /* where the inputs are; NULL: in the file itself */
    /* Of equal names the last counts; a name that the file lacks is passed over. */
    const gka_tolerance *tolerances;
    size_t tolerance_count;
    const gka_profile *emulate; /* what is said to have computed the tensors; NULL: not asked */
    gka_progress progress;      /* unit: token solves, of every pass */
} gka_verify_options;

typedef struct gka_verdict_row {
    const gka_tensor *tensor;
    gka_comparison comparison;
    double stated;           /* the file's own rel_err_vs_fp64 for this tensor; NaN: none */
    gka_comparison emulated; /* against the emulation: equal of count elements, max_ulp; zeros
                                without one */
    double predicted;        /* rel_err of the emulation itself against the exact value; NaN */
} gka_verdict_row;

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
} gka_verification;

/* The exact value of every output tensor in the file, from the inputs in it (or in
 * options->inputs), and the comparison; the reference is the exact value rounded to binary64. Only
 * what the tensors present need is computed. Fails with GKA_BAD_FILE and a line where a tensor has
 * another shape than its problem, where an input that an output needs is missing, where there is
 * nothing to judge, or where the two files state different parameters. The result is freed by
 * gka_verification_free, also after a failure; it points into the files, which must stay open. */
gka_status gka_verify(const gka_file *file, const gka_verify_options *options,
                      gka_verification *verification, gka_error *error);
void gka_verification_free(gka_verification *verification);

/* ---- 3 goldens ----------------------------------------------------------------------------- */

/* A golden is one safetensors file: inputs in a kernel's dtype, for every output NAME the tensors
 * NAME.exact (F64: the exact value rounded once; the method) and NAME.steps (F64: num_iter
 * iterations in binary64; what an implementation should give), NAME.exact.lo on request, NAME.h100
 * on request (the emulated kernel's own output in its stored type), and as metadata the parameters
 * and
 *
 *   golden           "1", the version of this description
 *   gka_version      of the library that made it
 *   spec             JSON, every key of gka_golden_spec_set: made again from this, same bytes
 *   inputs_sha256    over "NAME DTYPE [d0,d1,...]\n" and the data of each input, in the order
 *                    q k v alpha g h0 u0 do dx cu_seqlens
 *   tolerances       JSON {NAME: {value, judged, floor, stage, stage_profile, rule}}, see below
 *   oracle           JSON: what the certified oracle reports; forward values are proven to be
 *                    correctly rounded, gradients are right to about 1e-25 without a proven bound
 *
 * Tolerances are on rel_err. NAME is judged "steps" (against NAME.steps) or "local": against
 * NAME.steps or the exact formulas at the candidate's own upstream tensors (src/judge/golden.c),
 * whichever is nearer, since backward stages amplify what those have lost. floor is what the steps
 * values rounded once to the stored types come to under that judgement; stage what a panel of
 * right kernels comes to, at worst: the h100 at several chunk sizes and in the two-term form (for
 * fp32 the same in binary32; where the h100 cannot run the problem, or gives NaN, binary32 with
 * every bf16 rounding point of the kernels).
 *
 *   value = 2^ceil(log2(2 max(floor, stage)))
 *
 * so that whatever lies as near to one of them as that lies to the reference passes (the triangle
 * inequality). A value of 1/2 or more, which would let zero pass, is null: nothing is judged. */
typedef struct gka_golden_spec {
    gka_generator generator;
    bool forward, states, backward; /* which outputs: x fro o, h_chunk h_final u_final, gradients */
    bool emulate;                   /* the h100's outputs too */
    bool lo;                        /* NAME.exact.lo too */
    gka_oracle oracle;              /* certified or MPFR */
} gka_golden_spec;

/* iid keys, released gates, B T H D = 1 256 1 128, bf16, all outputs, the certified oracle. */
void gka_golden_spec_start(gka_golden_spec *spec);
/* Sets one key from text: problem gate B T H G D V pairs dtype chunk ridge iters scale seed h0
 * alpha plain outputs emulate lo oracle. GKA_BAD_ARGUMENT with key and allowed values. */
gka_status gka_golden_spec_set(gka_golden_spec *spec, const char *key, const char *text,
                               gka_error *error);
/* Sets the keys of a JSON object. */
gka_status gka_golden_spec_read(gka_golden_spec *spec, const char *json, gka_error *error);

/* Writes the golden of a spec, or, with inputs, that of a file's problem (its parameters and its
 * dtypes; of the spec then only outputs, emulate, lo and oracle count). Nothing stands at path
 * before it is complete. GKA_UNSUPPORTED where the h100 cannot run what it should emulate. */
gka_status gka_golden_generate(const gka_golden_spec *spec, const gka_file *inputs,
                               const char *path, const gka_progress *progress, gka_error *error);

/* ---- 4 judging by a golden ----------------------------------------------------------------- */

/* An element that is not right: |out - ref| > tolerance * rms(ref), or not finite. (rel_err =
 * rms(d) / rms(ref) <= max|d| / rms(ref): whatever fails has such an element.) */
typedef struct gka_mismatch {
    int at_rank;
    int64_t at[GKA_MAX_RANK]; /* in the golden's layout */
    double out, ref;
    uint64_t out_bits, ref_bits; /* encodings in the stored type, ref rounded once */
} gka_mismatch;

enum { GKA_DISTANCES = 18 };

typedef struct gka_golden_row {
    const char *name;         /* the golden's */
    const gka_tensor *tensor; /* the candidate's; NULL: it has none */
    bool local;               /* against its own upstream tensors, for they are nearer */
    const char *lacking;      /* upstream tensor that was not there to judge by; NULL: none */
    double tolerance;         /* NaN: none */
    gka_comparison judged;    /* against the reference that judges; ok is the verdict */
    double total;             /* rel_err against NAME.exact */
    double steps;             /* ... against NAME.steps */
    double own;               /* ... against its local value; NaN: there is none */
    double inherited;         /* rel_err of the local value against NAME.steps; NaN: none */
    int64_t mismatches;
    gka_mismatch first, worst; /* where mismatches > 0 */
    /* Elements at a distance of 0, 1, 2..3, 4..7, ... steps of the stored format from the
     * reference; the last counts NaN. */
    int64_t distances[GKA_DISTANCES];
    /* In the words of other tests, against NAME.steps: flash-linear-attention's
     * rms(d) / (rms(ref) + 1e-8), asked to be below 0.005 unless max|d| <= 1e-6; the smallest atol
     * that torch.testing.assert_close passes with its own rtol for the stored type, and with rtol
     * 0; <out, ref> / (||out|| ||ref||). */
    double fla_ratio, rtol, atol, atol_alone, cosine;
    bool fla_passes;
} gka_golden_row;

typedef struct gka_golden_options {
    const char *const *theirs, *const *ours; /* map_count pairs: the candidate's name of a tensor */
    size_t map_count;
    bool heads_first; /* the candidate's token tensors are [B,H,T,..], not [B,T,H,..] */
} gka_golden_options;

typedef struct gka_golden_verdict {
    gka_problem problem;
    gka_golden_row *rows; /* one for each output of the golden */
    size_t row_count;
    size_t judged, failed, missing;
} gka_golden_verdict;

/* Judges a candidate's tensors by a golden (section 3). A tensor that the candidate lacks is a row
 * without a tensor and no failure; GKA_BAD_FILE where it has none of them, where a shape is
 * another, or where the golden is none or its inputs do not hash to what it says. The result is
 * freed by gka_golden_verdict_free, also after a failure, and points into the files. */
gka_status gka_golden_judge(const gka_file *candidate, const gka_file *golden,
                            const gka_golden_options *options, gka_golden_verdict *verdict,
                            gka_error *error);
void gka_golden_verdict_free(gka_golden_verdict *verdict);

#ifdef __cplusplus
}
#endif
#endif
