/* backward.h - the gradients' workspace, the tiles of a head, and the two steps on a tile: the
 * output stage (linear attention and q'), which gives the cotangent of x, then the solve (NUMERICS
 * 2, 4).
 *
 * Symbols: p = (H + lambda)^{-1} dx; w_t = 2 a <p_t, x_t> / f_t; M_tj = exp(G_t - G_j), t the row;
 *   E  [D,D]   what later chunks send back of sum exp(..) p x^T  (dH = -(E + Z/2))
 *   Z  [D,D]   the same of sum exp(..) w_t H_t; the kernels carry it by itself, else it is added
 *              to E at every chunk, so that -E is all that a sequence's end need be told
 *   dU [D,V]   the same of sum exp(..) s q' do^T
 *   dG [C]     the derivative by the chunk-local sum G_t; dg_i = sum_{t >= i} dG_t. Of profiles
 *              without a tensor core dg_i itself (gka_backward_through_gates)
 */
#ifndef GKA_CHUNK_BACKWARD_H
#define GKA_CHUNK_BACKWARD_H

#include "chunk/chunk.h"

typedef struct backward_work {
    chunk_work base;
    double *E, *Z, *dU;       /* carried from the right */
    double *E0, *Z0, *dU0;    /* their snapshots */
    double *DD, *part;        /* [D,D]; part holds an initial U [D,V] too */
    double *p, *x, *dx, *mix; /* [C,D] tiles */
    double *rows, *rows2;     /* [C,max(D,V)] */
    double *dk, *dq;          /* [C,max(D,V)] */
    /* [C,C]. First what p, x and the keys make of each other, then what the ridge makes: by then
     * the scores are not read any more. */
    union {
        double *S;       /* k_j^T x_t M_tj */
        double *A;       /* M_tj w_t */
        double *squares; /* (k_t^T k_j)^2 */
    };
    union {
        double *dS; /* k_j^T p_t */
        double *KK; /* k_t^T k_j */
    };
    union {
        double *CC;       /* S . dS, then dS . M */
        double *weights2; /* A M^T */
    };
    double *Mt;                    /* M^T */
    double *dG, *weight, *t1, *t2; /* [C]; weight: w_t above */
    double *alpha, *f;             /* [C] */
    double *states, *segment;      /* checkpoints, states of one segment */
    double *dx_all, *dq_all;       /* [T,D] of one head: cotangent of x, direct part of dq */
    double *g_all;                 /* [T] */
} backward_work;

typedef struct backward {
    const chunk_plan *plan;
    gka_of of;
    bool bp_lambda;
    gka_outputs *out;
    gka_gradients *to;     /* of out: those asked for */
    const double *x, *fro; /* of the forward pass */
    const double *p;       /* given, or NULL */
    bool given_f;          /* fro may be another number than ||H_t||_F */
    gka_chunk_carry carry; /* given, or NULLs */
    char *workspace;
    size_t each;
    int64_t T;        /* longest sequence */
    int64_t segments; /* checkpoints a worker holds, and tiles of one segment */
} backward;

/* The tokens of a head, cut into tiles of C and at zero gates: tile number i of `count`. Tiles are
 * numbered from the left; `begin` of tile i + 1 is the end of tile i. */
typedef struct backward_cut {
    int64_t b, h, begin, end, C;
} backward_cut;

static inline int64_t max_of(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static inline void zero(double *a, int64_t count) {
    memset(a, 0, (size_t)count * sizeof *a);
}

static inline void copy(double *to, const double *from, int64_t count) {
    memcpy(to, from, (size_t)count * sizeof *to);
}

static inline bool operand(const chunk_plan *plan) {
    return chunk_has(plan, GKA_POINT_GRAD_OPERAND);
}

/* Whether Z is added to E at every chunk. */
static inline bool merged(const chunk_plan *plan) {
    return !plan->hardware && !chunk_has(plan, GKA_POINT_H0_SIGN);
}

/* The sum of n numbers, one to a thread, in the kernel named. */
static inline double sum_rows(const chunk_plan *plan, gka_launch kernel, int64_t n,
                              const double *a) {
    return gka_lane_sum(plan->order, plan->warps[kernel], n, a);
}

/* Row of token t in a [B,T,H] tensor. */
static inline int64_t backward_row(const backward *run, const backward_cut *c, int64_t t) {
    const gka_problem *const problem = run->plan->problem;
    return (c->b * problem->T + t) * problem->H + c->h;
}

/* The tile's tokens and gates into work. */
void gka_backward_load(const chunk_plan *plan, const backward_cut *c, int64_t t, int64_t n,
                       chunk_work *work);

/* Adds to the gradient of a key or value, a [B,T,G,width] tensor or NULL: parts are rounded one by
 * one where stored. */
void gka_backward_add_rows(const backward *run, const backward_cut *c, int64_t t, int64_t n,
                           int64_t width, double *to, const double *rows, bool round);

/* dg_i += sum_{t >= i > j} W_tj + sum_{t >= i} a_t + sum_{j < i} b_j + c for the n tokens of a tile
 * of C rows: all that passes gate i, W from key j to token t, a from the state before the tile to
 * token t, b from key j and c from that state to what comes after the tile. Each of these has the
 * gate as a factor, and they are added, never subtracted, so that dg_i is as small as its gate
 * makes it; kernels subtract sums by G_t, in which a gate's own cannot be seen any more where it is
 * small. W, a, b may be NULL; scratch [C]. */
void gka_backward_through_gates(const chunk_plan *plan, int64_t C, int64_t n, const double *W,
                                const double *a, const double *b, double c, double *scratch,
                                double *dg);

/* dg_i = sum_{t >= i} dG_t within a tile, as (-scan + total) + own. */
void gka_backward_suffix_sum(const chunk_plan *plan, int64_t C, const double *dG, double *scratch,
                             double *dg);

/* Everything of tile [t, t + n), from the state before it. */
typedef void backward_step(const backward *run, backward_work *work, const backward_cut *c,
                           int64_t t, int64_t n, const double *state);
/* dalpha, dv, parts of dk and dg; dx_all and dq_all of its tokens; dU carried on. */
backward_step gka_backward_output_step;
/* dq, dk, dg of its tokens from dx_all and dq_all; E and Z carried on. */
backward_step gka_backward_solve_step;

#endif
