/* chunk.h - the workspace of one (sequence, head) and the steps on one tile.
 *
 * Symbols (NUMERICS 4): n tokens of a tile of C rows; G_t chunk-local sums of g, M_tj =
 * exp(G_t - G_j) for j <= t; H, U the states before the tile; f_t = ||H_t||_F, lambda_t = a f_t.
 */
#ifndef GKA_CHUNK_CHUNK_H
#define GKA_CHUNK_CHUNK_H

#include "chunk/tile.h"

/* What the elements of an operand are, from coarse to fine. */
typedef enum chunk_kind {
    CHUNK_BF16,
    CHUNK_SPLIT, /* sums of two bf16 numbers */
    CHUNK_FP16,
    CHUNK_TF32,
    CHUNK_TF32_CUT, /* cut to tf32, as the tensor core reads binary32 numbers */
    CHUNK_WORKING   /* any numbers of the working precision */
} chunk_kind;

/* What a computation is asked to do; constant while it runs. */
typedef struct chunk_plan {
    const gka_problem *problem;
    gka_profile profile;
    int64_t D, V, C;
    int64_t C_out;   /* tile of the output stage: 64 in the released kernels, else C */
    bool f32, gated; /* working precision is binary32; g is given */
    bool hardware;   /* a device with a tensor core: no special treatment of g = -inf, f = 0 */
    sum_order order; /* of elementwise sums */
    int warps[GKA_LAUNCHES]; /* of the kernels, for their sums */
    double a, s;             /* ridge ratio and scale, rounded as PARAMETERS says */
    double width;            /* L - mu = width f: 1 + the profile's margin, rounded likewise */
    int num_iter;
    chunk_kind low;            /* the 16-bit type: of the inputs, and what points round to */
    chunk_kind operand, score; /* of the iteration's products */
    bool scaled;               /* ... rounded to profile.scaled first, row by row */
    chunk_kind rows, keys;     /* x and K in x K^T, K in K K^T and (x K^T . M) K */
    bool scores_fused;    /* o = fma(s, scores' part, round(s state's part)), not the other way */
    bool evens_first;     /* those products take every 16 terms as eight even, eight odd ones */
    chunk_kind snapshot;  /* H_0 as the solver reads it */
    chunk_kind stored;    /* x and p */
    chunk_kind mixed;     /* q' */
    chunk_kind cotangent; /* dq' and dx */
    const gka_device *exact;
    gka_device eight; /* the profile's, its FP8 unit promoted as the profile says */
    const struct row_kernels *loops;
} chunk_plan;

/* One tile of tokens with its gates. */
typedef struct chunk_tile {
    int64_t C, n;      /* rows, tokens; rows from n on are zero */
    double *q, *k, *v; /* [C,D], [C,D], [C,V] */
    /* [C,D]: k as the solver's sums have it, as x K^T and K K^T, and as (x K^T . M) K. */
    const double *k_sum, *k_dot, *k_right;
    double *g, *G, *expG, *tail; /* [C]: g, G, exp(G_t), exp(G_n - G_t) */
    double *M;                   /* [C,C] */
    double decay;                /* exp(G_n) */
} chunk_tile;

/* A packed operand, and the scale of each of its rows (left) or columns (right) where it is of
 * eight bits. */
typedef struct chunk_packed {
    void *numbers;
    double *scales;
} chunk_packed;

/* The workspace of one worker. */
typedef struct chunk_work {
    chunk_tile tile;
    double *H, *H0;     /* [D,D] state, and the snapshot the solver reads */
    double *U, *U0;     /* [D,V] */
    double *f, *used_f; /* [C]: f as stored, and as the iteration has it */
    double *lambda;     /* [C] */
    union {             /* [C], by form */
        double *sigma;  /* two-term */
        double *rho;    /* conjugate gradients: <r, r> */
    };
    union {
        double *delta; /* two-term */
        double *least; /* conjugate gradients: where <r, r> ends */
    };
    struct chebyshev_row *rows; /* [C] */
    double *x, *y, *p;          /* [C,D] */
    union {                     /* [C,D], by form */
        double *x_prev;         /* three-term */
        double *residual;       /* two-term, conjugate gradients */
    };
    double *z, *grad;         /* [C,max(D,V)] */
    double *score, *MS;       /* [C,C] */
    double *row, *row2;       /* [max(C,D,V)] */
    double *x_wait;           /* [C + C_out, D] solved rows the output stage waits for */
    double *DD;               /* [max(D,V) D] */
    double *part;             /* one part of an operand before it is packed */
    double *sum;              /* of a product of eight bits, before its scales */
    chunk_packed left, right; /* operands of a single product */
    chunk_packed pack_H, pack_K, pack_Kt;
    int64_t *multiply_adds; /* counts those of matrix products; NULL: nobody asks */
} chunk_work;

/* Bump allocation: with base = NULL it only counts. */
typedef struct chunk_bump {
    char *base;
    size_t used;
} chunk_bump;
void *gka_chunk_take(chunk_bump *bump, size_t count, size_t size);

void gka_chunk_plan_init(chunk_plan *plan, const gka_problem *problem, const gka_profile *profile);
/* The problem is a piece of a sequence of T tokens. */
void gka_chunk_plan_piece(chunk_plan *plan, int64_t T);
void gka_chunk_work_layout(const chunk_plan *plan, chunk_bump *bump, chunk_work *work);

static inline bool chunk_has(const chunk_plan *plan, gka_point point) {
    return gka_profile_has(&plan->profile, point);
}

/* x in the 16-bit type when the point is released. */
static inline double chunk_low(const chunk_plan *plan, gka_point point, double x) {
    return chunk_has(plan, point) ? low_of(plan->profile.fp16, x) : x;
}

double gka_chunk_exp(const chunk_plan *plan, double x);
double gka_chunk_div(const chunk_plan *plan, double x, double y);
double gka_chunk_sqrt(const chunk_plan *plan, double x);

/* Where term i of a product along a row stands among its terms: of every 16 the even ones first, if
 * the plan says so. */
static inline int64_t chunk_place(const chunk_plan *plan, int64_t i) {
    return plan->evens_first ? i / 16 * 16 + i % 2 * 8 + i % 16 / 2 : i;
}

/* x rounded to a kind, to nearest even; two parts: bf16(x) + bf16(x - bf16(x)). */
double gka_chunk_round(chunk_kind kind, double x);
/* ... n of them; out may be x. */
void gka_chunk_round_rows(chunk_kind kind, int64_t n, const double *x, double *out);

/* C += A B, elements of A and B of the kinds left and right (which they must be). The tensor core
 * multiplies where both fit it, the fp32 units where one is of the working precision. Of an operand
 * in two parts the low one is multiplied first; low times low is left out. */
void gka_chunk_multiply(const chunk_plan *plan, const chunk_work *work, chunk_kind left,
                        chunk_kind right, int64_t M, int64_t N, int64_t K, gka_matrix a,
                        gka_matrix b, double *c, int64_t ldc);

/* C += A B; `rounded`: both operands are numbers of the 16-bit type. */
static inline void chunk_product(const chunk_plan *plan, const chunk_work *work, bool rounded,
                                 int64_t M, int64_t N, int64_t K, gka_matrix a, gka_matrix b,
                                 double *c, int64_t ldc) {
    const chunk_kind kind = rounded ? plan->low : CHUNK_WORKING;
    gka_chunk_multiply(plan, work, kind, kind, M, N, K, a, b, c, ldc);
}

/* h0 of a sequence and head: as given on hardware, else its symmetric part. */
void gka_chunk_initial_state(const chunk_plan *plan, int64_t sequence, int64_t h, double *H);

/* Tokens [t, t + n) of head h as a tile of C rows; `restart`: the first token forgets everything
 * before it, its own gate counts as 1. */
void gka_chunk_load(const chunk_plan *plan, int64_t b, int64_t t, int64_t n, int64_t h, int64_t C,
                    bool restart, chunk_tile *tile);
/* G, exp(G), tail, decay and M (rounded to the 16-bit type where `round_mask`). */
void gka_chunk_gates(const chunk_plan *plan, bool round_mask, chunk_tile *tile, double *row);

/* ---- the Chebyshev recurrence of one row (NUMERICS 3, three-term) --------------------------- */

/* solve/chebyshev.c has the same formula, and no arithmetic of gka/arith.h makes of it what the
 * kernels compute: omega comes of one fused multiply-add; of the two products of grad the other one
 * is fused; x = NaN or Inf goes on to the last iteration; omega_0 may be the misprinted 0. */

typedef struct chebyshev_row {
    double lambda, step; /* a f, 2/(L + mu) */
    double rho_sq_4;     /* ((L - mu)/(L + mu)/2)^2 */
    double omega;
} chebyshev_row;

/* mu = lambda = a f; L - mu = (1 + m) f, m = 0 in the released kernels. */
static inline void chebyshev_start(const chunk_plan *plan, double f, chebyshev_row *c) {
    c->lambda = w(plan->f32, plan->a * f);
    const double width = w(plan->f32, plan->width * f), sum = fma_w(plan->f32, c->lambda, 2, width);
    c->step = gka_chunk_div(plan, 2, sum);
    const double half_rho = gka_chunk_div(plan, gka_chunk_div(plan, width, sum), 2);
    c->rho_sq_4 = w(plan->f32, half_rho * half_rho);
    c->omega = plan->profile.form == GKA_FORM_MISPRINTED ? 0 : 2;
}

/* omega = 1/(1 - (rho/2)^2 omega) */
static inline void chebyshev_next(const chunk_plan *plan, chebyshev_row *c) {
    c->omega = gka_chunk_div(plan, 1, fma_w(plan->f32, -c->rho_sq_4, c->omega, 1));
}

/* (x, x_prev) = (omega x - (step omega (y + lambda x - q) + (omega - 1) x_prev), x), y = H x; the
 * fused operations are those of the released kernels. */
static inline void chebyshev_row_step_in(bool f32, bool r_fused, int64_t D, const chebyshev_row *c,
                                         const double *y, const double *q, double *x,
                                         double *x_prev) {
    const double so = w(f32, c->step * c->omega), om1 = w(f32, c->omega - 1);
    for (int64_t i = 0; i < D; i++) {
        const double r = w(f32, fma_w(f32, c->lambda, x[i], y[i]) - q[i]);
        const double grad = r_fused ? fma_w(f32, so, r, w(f32, x_prev[i] * om1))
                                    : fma_w(f32, x_prev[i], om1, w(f32, so * r));
        const double next = fma_w(f32, x[i], c->omega, -grad);
        x_prev[i] = x[i];
        x[i] = next;
    }
}

/* r_fused: of the two products of grad the other one is fused, as some compiled kernels have it. */
static inline void chebyshev_row_step(bool f32, bool r_fused, int64_t D, const chebyshev_row *c,
                                      const double *y, const double *q, double *x, double *x_prev) {
    if (!f32)
        chebyshev_row_step_in(false, false, D, c, y, q, x, x_prev);
    else if (r_fused)
        chebyshev_row_step_in(true, true, D, c, y, q, x, x_prev);
    else
        chebyshev_row_step_in(true, false, D, c, y, q, x, x_prev);
}

/* ---- the steps on a tile -------------------------------------------------------------------- */

/* Whether a thread of the solver's kernel holds a whole row of [C,C] in its sum over gates. */
static inline bool chunk_row_in_thread(const chunk_plan *plan, int64_t C) {
    const int warps = plan->warps[GKA_LAUNCH_SOLVE];
    return plan->order == SUM_WARP && warps < 4 && C >= 32 * warps;
}

/* f_t of the tile from H0, tile: as it is stored, and as the iteration has it (used_f of work). */
void gka_chunk_norm(const chunk_plan *plan, chunk_work *work, double *f);

/* x = num_iter steps of the profile's form on (H_t + lambda_t I) x = rhs, unrounded, in work->x.
 * f_given: the kernel reads f from memory, as the backward's solve does. */
void gka_chunk_solve(const chunk_plan *plan, chunk_work *work, const double *rhs, const double *f,
                     bool f_given);

/* S = exp(G_n) S + K^T diag(tail) W, S [D,N], W [C,N]. */
void gka_chunk_state(const chunk_plan *plan, chunk_work *work, double *S, const double *W,
                     int64_t N);

/* n numbers of a state as the chunk before handed them on: rounded where the profile's low_states
 * says so. */
void gka_chunk_handed(const chunk_plan *plan, int64_t n, double *S);

/* n numbers of a state as they are read where the point is released: rounded to 16 bits. */
void gka_chunk_snapshot(const chunk_plan *plan, gka_point point, int64_t n, const double *S,
                        double *S0);

/* o [C,V] of the tile's tokens from q' [C,D], U0 and the tile's k and v. */
void gka_chunk_output(const chunk_plan *plan, chunk_work *work, const double *mixed, double *o);

/* q' of n rows. */
void gka_chunk_mix(const chunk_plan *plan, int64_t n, const double *q, const double *alpha,
                   const double *x, double *mixed);

/* The first token after t, before end, whose gate is 0 (exact profiles), else end. */
int64_t gka_chunk_cut(const chunk_plan *plan, int64_t b, int64_t t, int64_t end, int64_t h);
bool gka_chunk_restarts(const chunk_plan *plan, int64_t b, int64_t t, int64_t h);

#endif
