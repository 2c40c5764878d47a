/* gka/problem.h - the layer's tensors and parameters, and where they come from.
 *
 *   1  gka_view                  one tensor as strided memory, read as doubles
 *   2  gka_problem               q k v alpha g h0 u0, cotangents, a, s, r, C (NUMERICS 1)
 *   3  gka_problem_from_file     from the tensors and metadata of a safetensors file
 *   4  gka_generator             made up from a seed (src/problem/generate.c)
 *   5  gka_problem_write         to a file
 *   6  gka_problem_tokens, _head some of the tokens; one head
 *   7  gka_problem_fold          beta and normalise, multiplied into q, k, v
 *   8  gka_output                what the layer computes: one row of one table for each tensor
 *   9  gka_outputs               the container of results that every kernel fills
 *  10  gka_form                  the iteration by which kernels solve
 *  11  gka_problem_prepare       what a layer does to projections, and what a dump lacks
 *
 * Letters: B batch, T tokens, H query heads, G key/value heads (H a multiple of G; head h reads
 * key/value head h / (H/G)), D key size, V value size, N sequences, C chunk size.
 */
#ifndef GKA_PROBLEM_H
#define GKA_PROBLEM_H

#include "gka/base.h"
#include "gka/format.h"
#include "gka/io.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1 views ------------------------------------------------------------------------------- */

/* A tensor as strided memory of little-endian elements, at any address; data = NULL: absent (a
 * tensor without elements has some address). Strides count elements; past the rank the shape is 1
 * and the stride 0. */
typedef struct gka_view {
    const void *data;
    gka_dtype dtype;
    int rank;
    int64_t shape[5];
    int64_t stride[5];
} gka_view;

/* A view of a whole tensor of a file. Rank at most 5. */
GKA_API gka_view gka_view_of(const gka_tensor *tensor);
/* A view of the host's own doubles values [shape[0], .., shape[rank - 1]], row-major, rank at most
 * 5: packed by gka_store_doubles into `bytes`, which holds 8 for each and must outlive the view; it
 * may be `values` itself, which then holds numbers for the view alone. */
GKA_API gka_view gka_view_of_doubles(int rank, const int64_t *shape, const double *values,
                                     void *bytes);
/* out[i] = view[i0, i1, i2, i] for i < n, exactly (64-bit integers: rounded to double). A tensor of
 * rank 3 has one element in that fourth axis: n = 1. */
GKA_API void gka_view_row(const gka_view *view, int64_t i0, int64_t i1, int64_t i2, int64_t n,
                          double *out);

/* ---- 2 the problem ------------------------------------------------------------------------- */

/* The largest num_iter, of a file, an option or a setting. */
enum { GKA_MAX_ITERATIONS = 1000000 };

/* What is still to be done to the rows q_t, k_t before they are the layer's. */
typedef enum gka_normalise {
    GKA_NORMALISE_NONE,   /* nothing */
    GKA_NORMALISE_UNIT,   /* N(x) = x/|x|, the real number (0 where x = 0) */
    GKA_NORMALISE_ROUNDED /* ..., each element rounded once to the type of its tensor */
} gka_normalise;
GKA_API const char *gka_normalise_name(gka_normalise normalise); /* "none", "unit", "rounded" */
GKA_API int gka_normalise_find(const char *name);                /* -1: none */

/* A problem with beta, or with normalise, is not folded yet: it holds q, k, v as a server or a dump
 * has them, and the layer that it stands for is NUMERICS 1 at
 *
 *     q_h = N(q_h)    k_h = (beta_h + 1e-6) N(k_g)    v_h = (beta_h + 1e-6) v_g    g = group(h)
 *
 * in real numbers, N as `normalise` says. beta belongs to a query head, as in the released layer,
 * which repeats k and v before it multiplies; so what is folded has G = H where there is a beta.
 * gka_problem_fold does it. Everything that computes the layer wants a folded problem and refuses
 * others, but for the serving kernels, which do it themselves in their own order of roundings. */
typedef struct gka_problem {
    int64_t B, T, H, G, D, V;
    gka_view q;     /* [B,T,H,D] */
    gka_view k;     /* [B,T,G,D] */
    gka_view v;     /* [B,T,G,V]; absent in solve-only problems: then V = 0 */
    gka_view alpha; /* [B,T,H]; absent: alpha = 1 */
    gka_view g;     /* [B,T,H], natural log of the gate, <= 0, -inf allowed; absent: gamma = 1 */
    gka_view beta;  /* [B,T,H]; absent: q, k, v hold it already */
    gka_view h0;    /* [N,H,D,D]; absent: 0 */
    gka_view u0;    /* [N,H,D,V]; absent: 0 */
    gka_view dout;  /* [B,T,H,V], cotangent of o (tensor "do") */
    gka_view dx;    /* [B,T,H,D], cotangent of x */
    /* Cotangents of the final states, for sequences that go on elsewhere; absent: 0. The layer sees
     * H through its symmetric part, so only that of dh_final counts. */
    gka_view dh_final;         /* [N,H,D,D] */
    gka_view du_final;         /* [N,H,D,V] */
    int64_t N;                 /* sequences: B, or the number packed along T (then B = 1) */
    const int64_t *cu_seqlens; /* [N+1] bounds of packed sequences; NULL: N = B sequences of T */
    double ridge_ratio;        /* a >= 0; of 0 every H_t must be positive definite or 0 */
    double lambda;             /* above 0: the ridge of every token, as MesaNet has it; 0: a f_t */
    double scale;              /* s */
    int num_iter;              /* r, 1 to GKA_MAX_ITERATIONS, products with H per solve */
    int64_t chunk_size;        /* C >= 1 */
    gka_normalise normalise;   /* what is still to be done to q and k */
    bool h0_asymmetric;        /* some h0 differs from its transpose by more than 1e-12 f */
    void *owned;               /* storage freed by gka_problem_free; NULL: nothing */
} gka_problem;

/* Sequence n: tokens [begin, end) of batch row b. */
typedef struct gka_span {
    int64_t b, begin, end;
} gka_span;
GKA_API gka_span gka_problem_span(const gka_problem *problem, int64_t n);

/* The tokens of the longest sequence; C for loops and arrays: chunk_size, but where that is above
 * 128, the largest that kernels have, never more than the longest sequence fills; the chunks of
 * sequence n. */
GKA_API int64_t gka_problem_longest(const gka_problem *problem);
GKA_API int64_t gka_problem_chunk_size(const gka_problem *problem);
GKA_API int64_t gka_problem_span_chunks(const gka_problem *problem, int64_t n);

/* The key/value head that query head h reads. */
GKA_API int64_t gka_problem_group(const gka_problem *problem, int64_t h);

/* Token t of batch row b as doubles. alpha = 1 and g = 0 where absent; h counts query heads, k
 * and v are those of its group. */
GKA_API void gka_problem_q(const gka_problem *problem, int64_t b, int64_t t, int64_t h, double *q);
GKA_API void gka_problem_k(const gka_problem *problem, int64_t b, int64_t t, int64_t h, double *k);
GKA_API void gka_problem_v(const gka_problem *problem, int64_t b, int64_t t, int64_t h, double *v);
GKA_API double gka_problem_alpha(const gka_problem *problem, int64_t b, int64_t t, int64_t h);
GKA_API double gka_problem_g(const gka_problem *problem, int64_t b, int64_t t, int64_t h);
/* beta as stored; 1 where absent */
GKA_API double gka_problem_beta(const gka_problem *problem, int64_t b, int64_t t, int64_t h);
/* cotangents; zeros where absent */
GKA_API void gka_problem_dout(const gka_problem *problem, int64_t b, int64_t t, int64_t h,
                              double *dout);
GKA_API void gka_problem_dx(const gka_problem *problem, int64_t b, int64_t t, int64_t h,
                            double *dx);
/* H_0 [D,D] and U_0 [D,V] of sequence n, head h, as stored (not symmetrised); zeros where absent */
GKA_API void gka_problem_h0(const gka_problem *problem, int64_t n, int64_t h, double *h0);
GKA_API void gka_problem_u0(const gka_problem *problem, int64_t n, int64_t h, double *u0);
/* The cotangents of H_T [D,D] and U_T [D,V] of sequence n, head h; zeros where absent */
GKA_API void gka_problem_dh_final(const gka_problem *problem, int64_t n, int64_t h, double *dh);
GKA_API void gka_problem_du_final(const gka_problem *problem, int64_t n, int64_t h, double *du);

/* Checks everything that NUMERICS 1 rejects: shapes that do not agree, dtypes that are no numbers,
 * NaN or Inf anywhere but g = -inf, g > 0, ridge_ratio < 0 or not finite, num_iter < 1
 * or above GKA_MAX_ITERATIONS, chunk_size < 1, outputs of more than 2^50 elements, cu_seqlens not
 * running from 0 to T without decreasing (a sequence may be empty). B, T, H, N may be 0, D may not;
 * where one is 0 the others may be huge, so loop over all of them or none. `where` (a file name)
 * heads the line and makes it GKA_BAD_FILE; NULL: GKA_BAD_ARGUMENT. Reads every element once. Sets
 * h0_asymmetric. */
GKA_API gka_status gka_problem_check(gka_problem *problem, const char *where, gka_error *error);

GKA_API void gka_problem_free(gka_problem *problem);

/* ---- 3 from a file ------------------------------------------------------------------------- */

/* Which parameters were missing in the metadata and took their default. */
typedef struct gka_defaults {
    bool ridge_ratio, num_iter, chunk_size, scale;
} gka_defaults;

/* Tensors q k [v] [alpha] [g] [beta] [h0] [u0] [do] [dx] [dh_final] [du_final] [cu_seqlens];
 * metadata ridge_ratio (.02), num_iter (30), chunk_size (64), scale (D^-1/2), numbers written as in
 * JSON, lambda (0) and normalise (none). The views point into the file, which must stay open. Calls
 * gka_problem_check. defaults may be NULL. After a failure *problem is all zero; after success
 * gka_problem_free releases it. */
GKA_API gka_status gka_problem_from_file(const gka_file *file, gka_problem *problem,
                                         gka_defaults *defaults, gka_error *error);

/* Which tensors of a file are the problem's, and how their axes stand. */
typedef struct gka_selection {
    const char *prefix; /* tensors are named PREFIXq, PREFIXk, ...; NULL: q, k, ... */
    const char *keys;   /* this one tensor is both k and q, and there are no others; NULL: no */
    bool heads_first;   /* axes [B,H,T,..] instead of [B,T,H,..] */
} gka_selection;

/* The same of the tensors selected, each of which may lack its leading axes: [T,H,D] or [T,D] (B =
 * H = 1) for [B,T,H,D], [T,H] or [T] for [B,T,H]. */
GKA_API gka_status gka_problem_select(const gka_file *file, const gka_selection *selection,
                                      gka_problem *problem, gka_defaults *defaults,
                                      gka_error *error);

/* ---- 4 generators -------------------------------------------------------------------------- */

typedef enum gka_keys {
    GKA_KEYS_IID,
    GKA_KEYS_POWERLAW,
    GKA_KEYS_LOWRANK,
    GKA_KEYS_REPEAT,
    GKA_KEYS_RECALL,
    GKA_KEYS_MEAN,     /* a common direction in all keys of a head, as language models have */
    GKA_KEYS_CONVSILU, /* ... through the layer's own short convolution and SiLU */
    GKA_KEYS_ALIGNED   /* a power law along the coordinates */
} gka_keys;
enum { GKA_KEYS_COUNT = GKA_KEYS_ALIGNED + 1 };
GKA_API const char *gka_keys_name(gka_keys keys);
GKA_API int gka_keys_find(const char *name); /* -1: none */

typedef enum gka_gate {
    GKA_GATE_NONE, /* ungated: no tensor g */
    GKA_GATE_SLOW, /* released x 0.01 */
    GKA_GATE_RELEASED,
    GKA_GATE_STRONG, /* released x 20 */
    GKA_GATE_INIT    /* nearly constant within a head, as training starts */
} gka_gate;
enum { GKA_GATE_COUNT = GKA_GATE_INIT + 1 };
GKA_API const char *gka_gate_name(gka_gate gate);
GKA_API int gka_gate_find(const char *name);

/* What may be done to a made-up problem afterwards, in this order: id, name, what happens. Tokens
 * count within their batch row (of packed sequences within all). */
#define GKA_EDIT_LIST(X)                                                                           \
    X(GKA_EDIT_ONE_KEY, "one-key", "every key is that of token 0 of batch row 0")                  \
    X(GKA_EDIT_NO_KEYS, "no-keys", "all keys are 0")                                               \
    X(GKA_EDIT_LATE_KEYS, "late-keys", "the keys of the first T/2 tokens are 0")                   \
    X(GKA_EDIT_ZERO_QUERIES, "zero-queries", "the queries of odd tokens are 0")                    \
    X(GKA_EDIT_GAMMA_ONE, "gamma-one", "g = 0")                                                    \
    X(GKA_EDIT_GAMMA_ZERO, "gamma-zero", "g = -inf at tokens 3, 10, 17, ...")                      \
    X(GKA_EDIT_GAMMA_TINY, "gamma-tiny", "g = -200 at tokens 3, 10, 17, ...")                      \
    X(GKA_EDIT_SUBNORMAL, "subnormal", "q k v do dx of odd tokens times 2^(emin-2) of their type") \
    X(GKA_EDIT_LARGEST_VALUE, "largest-value",                                                     \
      "the first element of v of token T/2 is the largest finite number")                          \
    X(GKA_EDIT_LARGEST_KEY, "largest-key",                                                         \
      "the first element of k of token T/2 is the largest finite number")

typedef enum gka_edit {
#define GKA_EDIT_ENUM(id, name, text) id,
    GKA_EDIT_LIST(GKA_EDIT_ENUM)
#undef GKA_EDIT_ENUM
        GKA_EDIT_COUNT
} gka_edit;
GKA_API const char *gka_edit_name(gka_edit edit);
GKA_API const char *gka_edit_text(gka_edit edit); /* the third column */
GKA_API int gka_edit_find(const char *name);      /* -1: none */

/* A problem is a function of this alone, bit for bit, on any machine: not of threads, compiler or
 * libm. src/problem/generate.c says what each element is; q and the cotangents are N(0,1), q and k
 * then normalised. Every element is drawn for its own (b, t, head, d), so that a larger B, T, H
 * with the same G (or H and G grown alike) leaves the bytes of what was there before; recall too,
 * if `pairs` is given. */
typedef struct gka_generator {
    gka_keys keys;
    gka_gate gate;
    int64_t B, T, H, G, D, V; /* V = 0: no v, no do, no u0 */
    int64_t pairs;            /* recall: tokens that store a pair, before the questions; 0: T/2 */
    bool plain;               /* no beta, no alpha, no gate: the paper's solver figures */
    bool alpha;               /* whether there is an alpha; else alpha = 1 */
    bool h0;            /* whether there are h0 and u0: of 2D random keys, positive definite */
    bool cotangents;    /* whether there are do and dx */
    bool final;         /* whether there are dh_final and du_final, N(0,1) */
    gka_dtype dtype;    /* of q k v alpha do dx, any floating-point type; the others are F32 */
    double ridge_ratio; /* 0: .02, but */
    bool no_ridge;      /* 0 is meant */
    double lambda;      /* the problem's */
    const gka_block_format *operands; /* q, k, v are rounded to this first, row by row; NULL: not */
    int num_iter;                     /* 0: 30 */
    int64_t chunk_size;               /* 0: 64 */
    double scale;                     /* 0: D^-1/2 */
    uint64_t seed;
    unsigned edits; /* bit i: gka_edit i; those of g want a gate */
} gka_generator;

/* GKA_BAD_ARGUMENT with a line, GKA_OUT_OF_MEMORY; then *problem is all zero. Freed by
 * gka_problem_free. For packed sequences make B = 1 without h0, then set N and cu_seqlens. */
GKA_API gka_status gka_problem_generate(const gka_generator *generator, gka_problem *problem,
                                        gka_error *error);

/* Tokens [begin, end) of every batch row alone, the bytes that they have in the whole; with h0, u0
 * where begin = 0, with dh_final, du_final where end = T. So a long problem can be made by windows,
 * in memory that does not grow with its T. */
GKA_API gka_status gka_problem_generate_tokens(const gka_generator *generator, int64_t begin,
                                               int64_t end, gka_problem *problem, gka_error *error);

/* ---- 5 to a file --------------------------------------------------------------------------- */

enum { GKA_PROBLEM_TENSORS = 13 };

/* q k v alpha g beta h0 u0 do dx dh_final du_final cu_seqlens; ends with NULL. */
GKA_API extern const char *const gka_problem_names[GKA_PROBLEM_TENSORS + 1];

/* The problem's tensors in that order, as many as there are, at most GKA_PROBLEM_TENSORS; returns
 * their number. Contiguous views only. cu_seqlens is I64 in the host's byte order
 * (gka_problem_write sees to the file's). */
GKA_API size_t gka_problem_tensors(const gka_problem *problem, gka_tensor *tensors);

/* Tensors and parameters as a safetensors file; `more` metadata follow the parameters. Reading it
 * back gives the same problem. GKA_BAD_ARGUMENT where a view is not contiguous. */
GKA_API gka_status gka_problem_write(const gka_problem *problem, const gka_text_pair *more,
                                     size_t more_count, const char *path, gka_error *error);

/* ---- 6 some of the tokens ------------------------------------------------------------------ */

/* Views of tokens begin .. end - 1 of every batch row, with the problem's parameters; without
 * states and their cotangents, and owning nothing. Packed sequences cannot be cut (a programmer
 * error). */
GKA_API gka_problem gka_problem_tokens(const gka_problem *problem, int64_t begin, int64_t end);

/* Views of query head h of sequence n, with the key/value head that it reads and its states: B = H
 * = G = N = 1. Owns nothing. */
GKA_API gka_problem gka_problem_head(const gka_problem *problem, int64_t n, int64_t h);

/* ---- 7 folding ----------------------------------------------------------------------------- */

/* Whether there is nothing to fold: no beta, normalise none. */
GKA_API bool gka_problem_is_folded(const gka_problem *problem);

/* The folded problem, of q, k, v computed in binary64 (each operation to nearest even, sums of
 * squares in the order of the row) and rounded once more to `dtype`. GKA_F64 is for exact answers:
 * within a few units of 2^-53 of the definition above. A training kernel gets the type of its
 * inputs, BF16. *to holds copies of all tensors and depends on nothing else; freed by
 * gka_problem_free. A folded problem is copied, q, k, v in `dtype`. After a failure (as below) *to
 * is all zero. */
GKA_API gka_status gka_problem_fold(const gka_problem *from, gka_dtype dtype, gka_problem *to,
                                    gka_error *error);

/* ---- 8 outputs ----------------------------------------------------------------------------- */

/* What a gradient is taken of: of x, with the cotangent dx (the solve alone: tensors solve.*), or
 * of o, with the cotangent dout (the whole layer: tensors layer.*). */
typedef enum gka_of { GKA_OF_X, GKA_OF_O } gka_of;

/* Which computation fills an output. One pass of a kernel gives forward and states. */
typedef enum gka_pass {
    GKA_PASS_FORWARD, /* x f lambda kappa o */
    GKA_PASS_STATES,  /* the states that tokens leave behind */
    GKA_PASS_SOLVE,   /* gradients of x */
    GKA_PASS_LAYER,   /* gradients of o */
    GKA_PASSES
} gka_pass;

/* The tensors that the layer computes, as rows of the table below. Both passes of gradients have
 * the same members in the same order (GKA_GRADIENT_OUTPUT finds one of them). A set of outputs is
 * an unsigned number: GKA_BIT(X) | GKA_BIT(FRO). */
typedef enum gka_output_id {
    GKA_OUT_X,
    GKA_OUT_FRO,
    GKA_OUT_H_CHUNK,
    GKA_OUT_H_FINAL,
    GKA_OUT_U_FINAL,
    GKA_OUT_O,
    GKA_OUT_LAMBDA,
    GKA_OUT_KAPPA,
    GKA_OUT_G_CUMSUM,
    GKA_OUT_U_CHUNK,
    GKA_OUT_SOLVE_DQ,
    GKA_OUT_SOLVE_DK,
    GKA_OUT_SOLVE_DV,
    GKA_OUT_SOLVE_DALPHA,
    GKA_OUT_SOLVE_DG,
    GKA_OUT_SOLVE_DH0,
    GKA_OUT_SOLVE_DU0,
    GKA_OUT_SOLVE_P,
    GKA_OUT_SOLVE_DG_H,
    GKA_OUT_SOLVE_DG_U,
    GKA_OUT_LAYER_DQ,
    GKA_OUT_LAYER_DK,
    GKA_OUT_LAYER_DV,
    GKA_OUT_LAYER_DALPHA,
    GKA_OUT_LAYER_DG,
    GKA_OUT_LAYER_DH0,
    GKA_OUT_LAYER_DU0,
    GKA_OUT_LAYER_P,
    GKA_OUT_LAYER_DG_H,
    GKA_OUT_LAYER_DG_U,
    GKA_OUTPUTS
} gka_output_id;
enum { GKA_JUDGED = 15 };
#define GKA_BIT(id) (1u << GKA_OUT_##id)
/* GKA_GRADIENT_OUTPUT(of, DK) is GKA_OUT_SOLVE_DK or GKA_OUT_LAYER_DK. */
#define GKA_GRADIENT_OUTPUT(of, name)                                                              \
    ((of) == GKA_OF_X ? GKA_OUT_SOLVE_##name : GKA_OUT_LAYER_##name)

typedef struct gka_output {
    const char *name; /* as tensors of files are called */
    gka_pass pass;
    const char *shape; /* in the problem's letters, C = chunks: "BTHD" */
    int row_rank;      /* how many trailing axes make a row of errors */
    bool wide;         /* kernels store it in F32 whatever the type of the inputs is */
    bool judged;       /* verify and goldens know it; the others are for experiments */
    /* Bit i: output i is read by this one's local judgement (gka/golden.h); 0: it has none. */
    unsigned upstream;
} gka_output;

GKA_API extern const gka_output gka_output_table[GKA_OUTPUTS];

GKA_API int gka_output_find(const char *name); /* -1: none */

/* The input tensor (v, dx or do) without which the output is not defined; NULL: all are there. */
GKA_API const char *gka_output_lacks(const gka_problem *problem, int output);

/* How many chunks h_chunk has in its second axis. Each sequence is cut into chunks of its own:
 * ceil(T/C), or for packed sequences, whose chunks are numbered one after the other, the sum. */
GKA_API int64_t gka_problem_chunks(const gka_problem *problem);

/* Rank and extents; how many elements. */
GKA_API int gka_output_shape(const gka_problem *problem, int output, int64_t shape[GKA_MAX_RANK]);
GKA_API int64_t gka_output_count(const gka_problem *problem, int output);
/* The type in which kernels store it. */
GKA_API gka_dtype gka_output_dtype(const gka_problem *problem, int output);

/* ---- 9 results ----------------------------------------------------------------------------- */

#if defined __cplusplus &&                                                                         \
    defined __GNUC__ /* C has anonymous structs since 2011, C++ as extension */
#define GKA_ANONYMOUS __extension__
#else
#define GKA_ANONYMOUS
#endif

/* Arrays of the caller, row-major; NULL: not wanted, and not computed where it costs. With V = 0, o
 * and U are empty. With T = 0 (or an empty packed sequence) the final states are the initial ones.
 */
typedef struct gka_gradients {
    double *dq;          /* [B,T,H,D] */
    double *dk;          /* [B,T,G,D] summed over the query heads of a group */
    double *dv;          /* [B,T,G,V] */
    double *dalpha, *dg; /* [B,T,H] */
    double *dh0, *du0;   /* [N,H,D,D], [N,H,D,V] */
    double *p;           /* [B,T,H,D] the backward's own solve; of x it is dq */
    double *dg_h, *dg_u; /* [B,T,H] the two halves of dg */
} gka_gradients;

/* One container for what every kernel computes, by name or by the number of the output: members
 * and of[] are the same pointers. A kernel fills what it has of those that are not NULL. */
typedef union gka_outputs {
    double *of[GKA_OUTPUTS];
    GKA_ANONYMOUS struct {
        double *x;                 /* [B,T,H,D] */
        double *fro;               /* [B,T,H]   f_t */
        double *h_chunk;           /* [B,chunks,H,D,D] state before each chunk */
        double *h_final, *u_final; /* [N,H,D,D], [N,H,D,V] */
        double *o;                 /* [B,T,H,V] */
        double *lambda;            /* [B,T,H] */
        double *kappa;             /* [B,T,H]   2-norm condition number of H_t + lambda_t I */
        double *g_cumsum;          /* [B,T,H]   chunk-local sum of g */
        double *u_chunk;           /* [B,chunks,H,D,V] */
        GKA_ANONYMOUS union {
            gka_gradients gradient[2]; /* by gka_of */
            GKA_ANONYMOUS struct { gka_gradients solve, layer; };
        };
    };
} gka_outputs;

/* Upstream tensors: what a later stage starts from, in place of what the kernel that is asked would
 * compute itself, so that the stage is seen alone. Members that are NULL are computed. */
typedef struct gka_upstream {
    const double *x;       /* [B,T,H,D] */
    const double *p;       /* [B,T,H,D] of the cotangent asked for: NUMERICS 2 */
    const double *fro;     /* [B,T,H]   f_t */
    const double *h_chunk; /* [B,chunks,H,D,D] state before each chunk */
} gka_upstream;

/* Those of `set` alone; the others NULL. Whether there are any. */
GKA_API bool gka_outputs_only(const gka_outputs *all, unsigned set, gka_outputs *some);
/* Which are not NULL. */
GKA_API unsigned gka_outputs_set(const gka_outputs *outputs);
/* The outputs of a pass; all gradients of x or of o. */
GKA_API unsigned gka_pass_outputs(gka_pass pass);
GKA_API unsigned gka_of_outputs(gka_of of);
/* Those of a forward pass, states included. */
GKA_API unsigned gka_forward_outputs(void);
/* Those that are judged, GKA_JUDGED of them. */
GKA_API unsigned gka_judged_outputs(void);

/* ---- 10 the iteration----------------------------------------------------------------------- */

/* The iteration: two forms of the same Chebyshev polynomial (NUMERICS 3), and conjugate gradients
 * (NUMERICS 7). num_iter products with H in each. In two-term and cg-consistent the direction is
 * rounded once, and that rounded direction enters both the product and x; in cg only the product
 * reads the rounded one. CG ends a row at |r| <= u^2 |q|, u of the working precision, or where
 * <p, (H + lambda) p> <= 0. Misprinted is three-term from omega_0 = 0, as the paper's Algorithm 1
 * has it: a mistake kept for audits (gka/audit.h). */
typedef enum gka_form {
    GKA_THREE_TERM,
    GKA_TWO_TERM,
    GKA_FORM_CG,
    GKA_FORM_CG_CONSISTENT,
    GKA_FORM_MISPRINTED
} gka_form;
enum { GKA_FORM_COUNT = GKA_FORM_CG_CONSISTENT + 1 }; /* those that solve the system */
GKA_API const char *gka_form_name(gka_form form);     /* "three-term", "two-term", "cg",
                                                 "cg-consistent",     "misprinted" */
GKA_API int gka_form_find(const char *name);          /* -1: none */
/* ---- 11 preparing -------------------------------------------------------------------------- */

/* From the projections of a model to a problem, in this order. What is drawn is a function of the
 * seed and the place alone, as in section 4: alpha, g, do, dx those of a generator with this seed,
 * beta sigmoid(n(BETA; b,t,h,0)), the taps c_i of q, k, v as for convsilu. */
typedef struct gka_preparation {
    bool conv;       /* q, k, v <- silu(sum_{i<4} c_i x_{t-i}) within each sequence */
    int normalise;   /* a gka_normalise; -1: as it is */
    bool beta;       /* drawn; GKA_BAD_ARGUMENT where there is one */
    bool alpha;      /* drawn */
    int gate;        /* a gka_gate, drawn; -1: as it is */
    bool cotangents; /* do and dx drawn */
    bool fold;       /* as gka_problem_fold does */
    int dtype;       /* a gka_dtype: of q k v alpha beta do dx; -1: that of q */
    uint64_t seed;
} gka_preparation;

/* Every number is computed in binary64 and rounded once to the type asked for (with `rounded`, once
 * more where its definition says so). *to is a copy that depends on nothing else. */
GKA_API gka_status gka_problem_prepare(const gka_problem *from, const gka_preparation *preparation,
                                       gka_problem *to, gka_error *error);

#ifdef __cplusplus
}
#endif
#endif
