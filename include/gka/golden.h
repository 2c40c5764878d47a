/* gka/golden.h - files by which kernels are judged.
 *
 *   1  gka_golden_generate       a golden: inputs, references and tolerances in one file
 *   2  gka_golden_judge          a candidate's tensors by a golden
 *   3  gka_suite                 a folder of goldens and its index
 *
 * A comparison and its verdict are what gka/judge.h says.
 */
#ifndef GKA_GOLDEN_H
#define GKA_GOLDEN_H

#include "gka/judge.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1 goldens ----------------------------------------------------------------------------- */

/* What a golden is. One safetensors file with a problem of the layer, what a kernel should make of
 * it, and how far from that a kernel may be. A file with a kernel's outputs for the same problem is
 * a candidate; it is judged by the golden.
 *
 * Tensors. First the inputs, in a kernel's types. Then, for every output NAME, its references:
 *
 *   NAME.exact       F64: the value that the formulas have in real numbers, rounded once
 *   NAME.steps       F64: what num_iter iterations give in binary64. This is what a kernel computes
 *                    but for its roundings, so a kernel is judged by it
 *   NAME.through     F64, of some gradients: the derivative of the iterations themselves, as
 *                    autograd takes it. Present where it is further from NAME.steps than the
 *                    tolerance
 *   NAME.exact.lo    F64, on request: what is left of the exact value after NAME.exact
 *   NAME.h100        on request: the output of the emulated released kernel, in its stored type
 *
 * Metadata. The parameters of the problem (ridge_ratio, num_iter, chunk_size, scale), and
 *
 *   golden           "2": the format that is described here
 *   spec             JSON with every key of gka_golden_spec_set. A golden made again from it has
 *                    the same bytes
 *   stage            "all", or the one stage that the golden is of
 *   tolerances       JSON, see below
 *   oracle           JSON: what the oracle reports of the exact values. They are proven to be
 *                    correctly rounded, but for gradients_undecided of the gradient_elements.
 *                    gradients_in_mpfr is how many of these double-double could not decide.
 *                    gradient_bounds {NAME: the largest proven error of an element before it was
 *                    rounded, over the largest element}, rounded up
 *   inputs_sha256    over the inputs: of each, "NAME DTYPE [d0,d1,...]\n" and its data, in the
 *                    order q k v alpha g h0 u0 do dx dh_final du_final cu_seqlens given.x given.fro
 *                    given.h_chunk given.solve.p given.layer.p
 *   sha256           over everything else: of each other entry of the metadata, in the file's
 *                    order, "KEY LENGTH\n", the value and "\n"; then of each tensor, in the order
 *                    of their data, "NAME DTYPE [d0,d1,...]\n" and its data
 *
 * Errors. Two numbers are looked at, and both must be within their tolerance:
 *
 *   rel_err          ||out - ref|| / ||ref|| over the tensor
 *   row error        the largest over rows r (gka/judge.h) of ||out_r - ref_r|| / max(||ref_r||,
 *                    s), where s is the root mean square of ||ref_r|| over all rows. It sees a
 *                    mistake in a few rows, such as a mask that is missing at a ragged end, which
 *                    is little over the tensor; and it does not magnify rows that are small beside
 *                    the others
 *
 * Which reference judges. tolerances.NAME.judged says "steps" or "local". An output judged "steps"
 * is compared with NAME.steps. An output judged "local" follows from upstream tensors (x, f, p),
 * and a backward stage amplifies what those have lost. It is compared with the exact formulas at
 * the candidate's own upstream tensors too (src/judge/values.c), and the nearer of the two counts.
 *
 * How a tolerance is made. Each entry of tolerances has
 *
 *   floor            the rel_err of NAME.steps rounded once to the stored type
 *   panel            the largest rel_err of a panel of right kernels. Which kernels these are, for
 *                    which inputs and why, stands in one table, src/kernel/panel.c
 *   panel_kernels    ... their names, in words
 *   value            2^ceil(log2(max(2 floor, 2 panel, u))), the tolerance on rel_err; u is the
 *                    unit roundoff of the stored type (2^-52 for a tensor that is zero). By the
 *                    triangle inequality whatever is as near to one of those kernels as that kernel
 *                    is to the reference passes
 *   floor_row, panel_row, row    the same of row errors
 *   rule             this rule, in words
 *
 * A tolerance of 1/2 or more would let zero pass: it is null, and nothing is judged by it.
 *
 * Other references have tolerances {value, row} of their own. `exact` is for solvers that converge,
 * which are judged by NAME.exact; its panel is NAME.exact rounded once and kernels that solve to
 * the end (the converged ones of the same table). `through`, beside NAME.through, is at least
 * value, and covers what the derivative of the iterations comes to in binary32. A golden does not
 * have it for dq, which is the same number by both; where dq of a binary32 golden misses `value`,
 * the judge makes it by the same rule (src/NUMERICS.md, 3, says what autograd loses there). */
enum { GKA_GOLDEN_SEQUENCES = 32 };

/* A golden of one stage tests a kernel of that stage without those before it. What the stage is
 * handed lies in the golden as tensors given.NAME, and NAME.exact is what the formulas make of
 * these, correctly rounded (gka_upstream). Its outputs are judged as they stand: nothing is local.
 *
 *   solve   given nothing, or of f and h_chunk          ->  x fro solve.dq
 *   output  given x                                     ->  o layer.dalpha layer.dv
 *   dk      given x and p, perhaps f and h_chunk        ->  solve.dk solve.dh0 layer.dk
 *   dg      the same                                    ->  solve.dg layer.dg
 *   decode  one token from h0 and u0; given nothing     ->  x fro h_final u_final o
 *
 * p is given.solve.p (of dx) and given.layer.p (of the layer: (H + lambda)^-1 alpha dq'); f is
 * given.fro; h_chunk are the states before each chunk. Of inputs that are made up these are the
 * steps values as a kernel would have stored them. With --input they are the file's x, fro,
 * h_chunk, solve.dq, and layer.p or what follows from its layer.dq:
 * p = layer.dq - (1 - alpha) s U do. */
typedef enum gka_golden_stage {
    GKA_STAGE_ALL,
    GKA_STAGE_SOLVE,
    GKA_STAGE_OUTPUT,
    GKA_STAGE_DK,
    GKA_STAGE_DG,
    GKA_STAGE_DECODE
} gka_golden_stage;
GKA_API const char *gka_golden_stage_name(gka_golden_stage stage); /* "all", "solve", ... */

enum { GKA_GIVEN_X = 1, GKA_GIVEN_P = 2, GKA_GIVEN_F = 4, GKA_GIVEN_H_CHUNK = 8 };
/* "none", or of x p f h_chunk separated by commas, into bits. GKA_BAD_ARGUMENT. */
GKA_API gka_status gka_given_read(const char *text, unsigned *given, gka_error *error);

/* A golden of a server (`serving`). The inputs are a server's: beta, and q, k before they are
 * normalised. Its outputs are prefill.o prefill.h prefill.u of the first `prefill` tokens and
 * decode.o decode.h decode.u of the others, with the shapes of gka/judge.h, section 2; each has
 * NAME.exact, NAME.steps, perhaps NAME.h100, and a tolerance against NAME.steps whose panel are the
 * authors' kernels, emulated by each num_warps. Metadata stage is "serving"; prefill, normalise,
 * h-type and u-type (in which the server keeps its states from token to token) stand beside it. */
typedef struct gka_golden_spec {
    gka_generator generator;
    int sequences; /* packed along T, at most GKA_GOLDEN_SEQUENCES; 0: none. Then B = 1, T is the
                      sum of their lengths, and there are no initial states */
    int64_t lengths[GKA_GOLDEN_SEQUENCES];
    bool forward, states, backward; /* which outputs: x fro o, h_chunk h_final u_final, gradients */
    bool emulate;                   /* the h100's outputs too */
    bool lo;                        /* NAME.exact.lo too */
    gka_oracle oracle;              /* certified or MPFR */
    gka_golden_stage stage;         /* then `forward`, `states`, `backward` do not count */
    unsigned given;                 /* bits; 0: as the stage has it by default */
    bool serving;                   /* a golden of a server, see below */
    int64_t prefill;                /* of a server: tokens; -1: a file's metadata, or T/2 */
    gka_state_type h_type, u_type;  /* ... in which it keeps its states: fp32, bf16, fp16 or blocks
                                       (mxfp8-e4m3, mxfp6-e2m3, mxfp4), stored as F32 */
} gka_golden_spec;

/* iid keys, released gates, B T H D = 1 256 1 128, bf16, all outputs, the certified oracle. */
GKA_API void gka_golden_spec_start(gka_golden_spec *spec);
/* Sets one key from text: problem gate B T H G D V pairs dtype chunk ridge iters scale seed h0
 * alpha plain final edit lengths outputs emulate lo oracle stage given serving prefill h-type
 * u-type lambda operands. lambda above 0: a golden of MesaNet, whose ridge that is (x and o alone,
 * without alpha). operands: q, k, v are numbers of that format of blocks (gka_block_format), with
 * blocks along their rows, held in dtype. edit: "none" or names of
 * gka_edit, separated by commas; lengths: "none" or the lengths of packed sequences, "17,0,5".
 * GKA_BAD_ARGUMENT with key and allowed values. */
GKA_API gka_status gka_golden_spec_set(gka_golden_spec *spec, const char *key, const char *text,
                                       gka_error *error);
/* Sets the keys of a JSON object. */
GKA_API gka_status gka_golden_spec_read(gka_golden_spec *spec, const char *json, gka_error *error);

/* The generator of a spec's problem, with T, G, V, scale, alpha and gate as they follow from the
 * other keys; of packed sequences the caller adds the bounds. */
GKA_API gka_generator gka_golden_generator(const gka_golden_spec *spec);

/* Goldens of one head and more than 16384 tokens (whole layer, certified, no lo) are streamed:
 * window by window of some 2048 tokens, in memory that does not grow with their number (but for one
 * byte a token while the forward pass is certified). Inputs that are made up, results and states
 * lie meanwhile in files without a name beside path, which take about as much as the golden. The
 * bytes are the same as all at once.
 *
 * Writes the golden of a spec, or, with inputs, that of a file's problem (its parameters and its
 * dtypes; of the spec then only outputs, emulate, lo and oracle count). Nothing stands at path
 * before it is complete. GKA_UNSUPPORTED where the h100 cannot run what it should emulate. */
GKA_API gka_status gka_golden_generate(const gka_golden_spec *spec, const gka_file *inputs,
                                       const char *path, const gka_progress *progress,
                                       gka_error *error);

/* ---- 2 judging by a golden ----------------------------------------------------------------- */

/* An element that is not right: |out - ref| > tolerance * rms(ref), or not finite. (rel_err =
 * rms(d) / rms(ref) <= max|d| / rms(ref): whatever fails has such an element.) */
typedef struct gka_mismatch {
    int at_rank;
    int64_t at[GKA_MAX_RANK]; /* in the golden's layout */
    double out, ref;
    uint64_t out_bits, ref_bits; /* encodings in the stored type, ref rounded once */
} gka_mismatch;

typedef struct gka_golden_row {
    const char *name;             /* the golden's */
    const gka_tensor *tensor;     /* the candidate's; NULL: it has none */
    bool local;                   /* against its own upstream tensors, for they are nearer */
    bool symmetric;               /* solve.dh0 that is: judged by the references' symmetric part */
    const char *lacking;          /* upstream tensor that was not there to judge by; NULL: none */
    bool required;                /* a verdict is asked for: it fails where there is none */
    bool turned;                  /* it fails, and its bytes would pass in the other layout */
    bool too_narrow;              /* the stored type does not hold the reference: rounded to it that
                                     is off by a half or more, and the golden's tolerance stands */
    int64_t non_finite;           /* elements that are NaN or Inf where the reference is finite */
    double tolerance;             /* of the candidate's stored type; NaN: none */
    double row_error;             /* section 1, against the reference that judges */
    double row_tolerance;         /* NaN: none */
    int row_rank;                 /* of row_at, */
    int64_t row_at[GKA_MAX_RANK]; /* ... the first row that has row_error */
    gka_comparison judged;        /* against the reference that judges; ok is the verdict */
    double total;                 /* rel_err against NAME.exact */
    double steps;                 /* ... against NAME.steps */
    double own;                   /* ... against its local value; NaN: there is none */
    double through;               /* ... against NAME.through; NaN: there is none */
    double through_tolerance;     /* of that; NaN: there is none */
    bool by_through;              /* judged by it */
    bool other_passes;            /* it fails, and by the other kind of gradient it would not */
    double inherited;             /* rel_err of the local value against the reference; NaN: none */
    int64_t mismatches;
    gka_mismatch first, worst; /* where mismatches > 0 */
    /* In the words of other tests, against the reference: flash-linear-attention's
     * rms(d) / (rms(ref) + 1e-8), asked to be below 0.005 unless max|d| <= 1e-6; the smallest atol
     * that torch.testing.assert_close passes with its own rtol for the stored type, and with rtol
     * 0; <out, ref> / (||out|| ||ref||). */
    double fla_ratio, rtol, atol, atol_alone, cosine;
    bool fla_passes;
    /* Of the elements that differ from the reference, the share that is nearer to zero than it:
     * about 1/2 where results are rounded to nearest, 1 where they are cut off. 1/2: none. */
    double toward_zero;
} gka_golden_row;

/* Whose gradient: of the layer, at x and p of num_iter steps (NUMERICS 2: implicit), or of the
 * steps themselves, which is what PyTorch's autograd makes of a loop; or either. They are the same
 * but where a golden has NAME.through. */
typedef enum gka_gradient_kind {
    GKA_GRADIENTS_IMPLICIT,
    GKA_GRADIENTS_THROUGH,
    GKA_GRADIENTS_AUTO
} gka_gradient_kind;

typedef struct gka_golden_options {
    const char *const *theirs, *const *ours; /* map_count pairs: the candidate's name of a tensor */
    size_t map_count;
    bool heads_first; /* the candidate's token tensors are [B,H,T,..], not [B,T,H,..] */
    gka_gradient_kind gradients;
    /* Outputs that must be judged: names, or all that the golden has. One that is missing, or that
     * cannot be judged for want of an upstream tensor or of a tolerance, fails. A name the golden
     * lacks is passed over, since goldens of a suite differ in what they hold. */
    const char *const *required;
    size_t required_count;
    bool all_required;
    bool by_exact; /* the reference is NAME.exact, not NAME.steps: for a solver that converges,
                      which is not to compute what num_iter Chebyshev steps do. Tolerances are
                      the same, for they are made of roundings */
    /* Bits of gka_given; 0: outputs are judged as section 1 says. Else each later stage is judged
     * by its local value alone: the exact formulas at these tensors, x with or without p (then f
     * and h_chunk too), what is not given being exact. They are the candidate's own, or those of
     * given_from (names as in section 1), which stays open. */
    unsigned given;
    const gka_file *given_from;
} gka_golden_options;

typedef struct gka_golden_verdict {
    gka_problem problem;
    gka_golden_row *rows; /* one for each output of the golden */
    size_t row_count;
    size_t judged;   /* rows with a verdict, */
    size_t failed;   /* ... of which these do not pass; a required output that is missing counts */
    size_t missing;  /* rows without a tensor */
    size_t unjudged; /* rows with a tensor and without a verdict: no tolerance, or nothing to judge
                        them by */
} gka_golden_verdict;

/* GKA_BAD_FILE where the file is no golden of this format, or not as it was made: it hashes to
 * another number than it says. */
GKA_API gka_status gka_golden_check(const gka_file *golden, gka_error *error);

/* Judges a candidate's tensors by a golden (section 1). An element that is NaN or Inf where the
 * golden's reference is finite fails its tensor, whatever else is known of it. A candidate may
 * store an output in a narrower type than the golden's kernels do (a state in bf16): its tolerance
 * is then at least the golden's rule with what rounding the reference to that type comes to. A
 * tensor that the candidate lacks is a row without a tensor, and a failure only where it is
 * required; GKA_BAD_FILE where it has none of them, where a shape is
 * another, or where the golden is none or its inputs do not hash to what it says. A solve.dh0 all
 * of whose matrices are symmetric is judged by the symmetric part of the references: h0 is taken as
 * (h0 + h0^T)/2 (gka/problem.h), so both are its gradient along symmetric directions. The result is
 * freed by gka_golden_verdict_free, also after a failure, and points into the files. */
GKA_API gka_status gka_golden_judge(const gka_file *candidate, const gka_file *golden,
                                    const gka_golden_options *options, gka_golden_verdict *verdict,
                                    gka_error *error);
GKA_API void gka_golden_verdict_free(gka_golden_verdict *verdict);

/* ---- 3 suites ------------------------------------------------------------------------------ */

/* A suite is a folder: one golden NAME.safetensors for each case, and index.json,
 *
 *   {"suite": "quick", "golden": FORMAT, "complete": true, "cases": [
 *     {"name", "file": "NAME.safetensors", "sha256": of the file, "golden": FORMAT,
 *      "gka_version": of the library that made it, "inputs_sha256", "spec": {...}}]}
 *
 * with the cases in the order of the list here. An entry is written once, when its golden is made.
 * The same suite has the same goldens everywhere. */
typedef struct gka_suite_case {
    const char *name;
    const char *spec; /* JSON, the keys that differ from gka_golden_spec_start */
} gka_suite_case;

/* "quick", "kernel", "edge"; ends with NULL.
 *   quick   every feature at small sizes: D 16..64, some tens of tokens; some seconds
 *   kernel  what kernels are run at: D 64 and 128, T 64..4096; some minutes
 *   edge    inputs at the corners: one token, few iterations with a small ridge, zero, repeated,
 *           subnormal and huge inputs, gates 0 and 1, huge and tiny ridges */
GKA_API extern const char *const gka_suite_names[];
/* Case i of a suite; NULL past the last, or where there is no such suite. */
GKA_API const gka_suite_case *gka_suite_find(const char *suite, size_t i);

/* What stands in a folder for a case, by the folder's index. */
typedef enum gka_suite_state {
    GKA_SUITE_KEPT,         /* the file that the index speaks of */
    GKA_SUITE_MISSING,      /* no file */
    GKA_SUITE_UNLISTED,     /* a file, and no entry */
    GKA_SUITE_OTHER_FORMAT, /* an entry of another format of goldens */
    GKA_SUITE_OTHER_SPEC,   /* an entry of another spec than the suite has now */
    GKA_SUITE_DAMAGED       /* a file whose SHA-256 is not that of its entry */
} gka_suite_state;
GKA_API const char *gka_suite_state_text(gka_suite_state state); /* "missing", ... */

typedef struct gka_suite_report {
    size_t made, kept; /* of an examination: what would be made, what kept */
    /* Called for each case before it is made or kept; may be NULL. */
    void (*tell)(void *context, const char *name, gka_suite_state state);
    void *context;
} gka_suite_report;

/* Writes a suite into a folder, which is made if need be. A golden is kept where it is
 * GKA_SUITE_KEPT, else made anew: what was interrupted goes on. index.json is written after every
 * golden that is made, "complete" after the last. report may be NULL. Several processes may fill
 * one folder, on one machine or on many that share its file system with POSIX locks: each case is
 * made by whoever is free, and where a process ends, however it ends, another makes its case. The
 * hidden file .lock stays in the folder. GKA_BAD_FILE: the folder's index is another suite's, or it
 * was changed meanwhile and lacks a case. */
GKA_API gka_status gka_suite_generate(const char *suite, const char *folder,
                                      const gka_progress *progress, gka_suite_report *report,
                                      gka_error *error);

/* Tells the state of each case, and writes nothing. */
GKA_API gka_status gka_suite_examine(const char *suite, const char *folder,
                                     gka_suite_report *report, gka_error *error);

/* One case of a suite on the disk. */
typedef struct gka_suite_entry {
    char *name, *file, *sha256; /* file: its name within the folder */
} gka_suite_entry;

typedef struct gka_suite {
    gka_suite_entry *entries;
    size_t count;
} gka_suite;

/* Reads the index of a folder; GKA_IO or GKA_BAD_FILE with a line. Freed by gka_suite_free, also
 * after a failure. */
GKA_API gka_status gka_suite_read(const char *folder, gka_suite *suite, gka_error *error);
GKA_API void gka_suite_free(gka_suite *suite);
/* GKA_BAD_FILE where an entry's file is not the one the index speaks of (its SHA-256 differs). */
GKA_API gka_status gka_suite_check(const char *folder, const gka_suite_entry *entry,
                                   gka_error *error);

#ifdef __cplusplus
}
#endif
#endif
