/* certified_head.h - what the double-double pass over one head leaves to the MPFR pass. */
#ifndef GKA_ORACLE_CERTIFIED_HEAD_H
#define GKA_ORACLE_CERTIFIED_HEAD_H

#include "oracle/certified.h"
#include "oracle/kernels.h"
#include "oracle/rounding.h"
#include "oracle/run.h"

#define TINY 0x1p-1000 /* covers underflow in one token's update of a state */

/* What of a token is to be computed in MPFR. */
enum {
    GKA_NEED_F = 1, /* f and lambda */
    GKA_NEED_X = 2,
    GKA_NEED_O = 4,
    GKA_NEED_H = 8, /* the state before the token; after the last: the final state */
    GKA_NEED_U = 16
};

/* Which entries no product has touched since the state was empty: exactly zero, whatever the
 * precision. pair [D,D], entry [D,V]; 1: touched. */
typedef struct gka_pattern {
    int64_t D, V, pairs, entries; /* how many are touched */
    unsigned char *pair, *entry;
    unsigned char *zero; /* [D] x_i = 0 by structure, filled by gka_pattern_solve */
} gka_pattern;

void gka_pattern_empty(gka_pattern *pattern);
/* v may be NULL */
void gka_pattern_start(gka_pattern *pattern, const double *h0, const double *u0);
void gka_pattern_add(gka_pattern *pattern, const double *k, const double *v);
/* zero: which x_i vanish since no chain of touched pairs leads from them to a q_j that is not 0. */
void gka_pattern_solve(gka_pattern *pattern, const double *q);
/* o_v = 0: every product U_iv q'_i has a factor that is zero by structure. After pattern_solve. */
bool gka_pattern_zero_o(const gka_pattern *pattern, double alpha, const double *q, int64_t v);

typedef struct gka_head {
    gka_run *run;
    const gka_kernels *kernels;
    gka_target target;
    int64_t n, h;
    gka_span span;
    bool with_U;
    double h0_least;          /* no eigenvalue of the symmetrised h0 is less; 0 without h0 */
    unsigned char *needs;     /* [end - begin + 1] */
    int64_t base, chunk_base; /* token and chunk that row 0 of the results holds (a window's) */
    gka_pattern pattern;
    double *H;                         /* a strip matrix [n,n], free for use */
    double *R, *inverse, *r, *d, *row; /* binary64 strips [n,n]; [n]; [n]; [n]; [D max(D,V)] */
    int64_t ties, declared, zeros, recomputed;
    double worst_bound;
} gka_head;

/* kernels->factor of H + c I into head->R, head->inverse. The padding of H, which is 0, takes no
 * part where c is not positive; H is as before afterwards. */
bool gka_head_factor(gka_head *head, double *H, double c);

/* A bound from below, perhaps negative, of the eigenvalues of H + lambda I for a symmetric H, given
 * as strips whose hi words alone count; H is within `error` of what is meant in the Frobenius norm,
 * f >= ||H||_F. Positive whenever binary64 can prove it. */
double gka_head_least(gka_head *head, double *H, double lambda, double f, double error);

/* The same of H itself, symmetric, f = ||H||_F; at most 0. */
double gka_head_h0_least(gka_head *head, double *H, double f);

/* The failure of a token of this head. */
gka_status gka_head_fail(const gka_head *head, int64_t t, gka_status status, const char *what,
                         gka_error *error);

/* Computes what head->needs says in MPFR and writes it to the results. */
gka_status gka_head_resolve(gka_head *head, gka_error *error);

#endif
