/* rival.h - one head of one sequence, and what a layer has to say for itself: how a token enters
 * the state, how it is read, and the reverse of both. rivals.c does the rest once for all.
 */
#ifndef RIVALS_RIVAL_H
#define RIVALS_RIVAL_H

#include "gka/rivals.h"
#include "solve/ops.h"

typedef struct rival_head {
    const gka_rival *rival;
    const gka_problem *problem;
    int64_t n, h, D, V, length; /* sequence, query head; tokens of the sequence */
    gka_span span;
    gka_arith states, work; /* one stream for the states, one for everything else */
    uint64_t first;         /* of the states' stream */
    double s;               /* the scale */
    /* token i */
    int64_t i;
    double *q, *k, *v, *dout; /* [D] [D] [V] [V] */
    double beta, *gamma;      /* gamma [D]: of every row, or gamma[0] of all */
    /* states: state[size] after token i, its cotangent */
    double *state, *cotangent;
    /* results of token i */
    double *o, *x, *dq, *dk, *dv, *dgamma; /* [V] [D] [D] [D] [V] [D] */
    double dbeta, *dlambda;                /* [D]: of Lambda, this token's */
    double *t1, *t2, *t3;                  /* [max(D,V)] */
    void *solve;
    double *checkpoints, *segment;
} rival_head;

typedef struct rival_method {
    bool cache; /* the state is every token so far: [length, D + V], token i in row i */
    int64_t (*size)(int64_t D, int64_t V);   /* numbers of state; of a cache: for each token */
    int64_t (*normed)(int64_t D, int64_t V); /* how many of them, from the first on, `norm` is of */
    void (*advance)(rival_head *W);          /* state: before token i -> after it */
    void (*answer)(rival_head *W);           /* o (and x) from q and the state */
    /* q k v beta gamma dout, the state after the token, the one before it, and the cotangent that
     * later tokens left: fills dq dk dv dbeta dgamma and leaves the cotangent of the state before
     */
    void (*reverse)(rival_head *W, const double *before);
    void (*begin)(rival_head *W); /* what is not 0 in the state before the first token; NULL */
} rival_method;

extern const rival_method gka_rival_linear, gka_rival_delta, gka_rival_mesa, gka_rival_softmax,
    gka_rival_kla;

static inline bool rival_by_channel(const rival_head *W) {
    return W->rival->gating == GKA_GATING_CHANNEL;
}

/* S = Gamma S + a x y^T, S [D,V] */
void gka_rival_decay_and_add(gka_arith *A, const rival_head *W, double *S, double a,
                             const double *x, const double *y);
/* S = Gamma S */
void gka_rival_decay(gka_arith *A, const rival_head *W, double *S);
/* dgamma_i = <Z_i, before_i> for every row i, then Z = Gamma Z */
void gka_rival_reverse_decay(rival_head *W, double *Z, const double *before);

size_t gka_rival_solve_workspace(const gka_rival *rival, int64_t D);

#endif
