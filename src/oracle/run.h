/* run.h - what every oracle shares and no arithmetic: where a result lies, and the loop over
 * independent (sequence, head) work with its failures, counts and progress.
 */
#ifndef GKA_ORACLE_RUN_H
#define GKA_ORACLE_RUN_H

#include "gka/oracle.h"

#include <pthread.h>

/* ---- where a result lies ------------------------------------------------------------------- */

/* Number of the [B,T,H] element (b,t,h); times D or V it is the offset of its row. */
static inline int64_t gka_at(const gka_problem *problem, int64_t b, int64_t t, int64_t h) {
    return (b * problem->T + t) * problem->H + h;
}

/* The same for [B,T,G]: where head h's part of dk and dv belongs. */
static inline int64_t gka_at_group(const gka_problem *problem, int64_t b, int64_t t, int64_t h) {
    return (b * problem->T + t) * problem->G + gka_problem_group(problem, h);
}

/* Number of the [B,chunks,H] matrix that holds the state before token t of sequence n; -1 when no
 * chunk begins at t. */
int64_t gka_at_chunk(const gka_problem *problem, int64_t n, int64_t t, int64_t h);

/* An array of the caller at an offset; NULL stays NULL (not wanted). */
static inline double *gka_offset(double *array, int64_t offset) {
    return array == NULL ? NULL : array + offset;
}

/* Zeros to every wanted output of a set. */
void gka_run_zero(const gka_problem *problem, unsigned set, const gka_outputs *outputs);

/* ---- memory -------------------------------------------------------------------------------- */

/* Where the next piece of a block goes; base NULL: only measured. */
typedef struct gka_arena {
    char *base;
    size_t used;
} gka_arena;

void *gka_take(gka_arena *block, int64_t count, size_t size);
double *gka_take_reals(gka_arena *block, int64_t count);

/* The smallest length with length^2 >= the longest sequence: states are kept that many tokens apart
 * for the way back. */
int64_t gka_mark_spacing(const gka_problem *problem);

/* ---- the loop ------------------------------------------------------------------------------ */

typedef struct gka_run gka_run;

/* One worker's memory, from gka_alloc; NULL: out of memory. */
typedef void *gka_run_memory(const gka_run *run);

/* The work of sequence n and the heads from h on; memory is the worker's own and holds what its
 * last call left there. Fills *error on failure; returns GKA_INTERRUPTED when gka_run_solved says
 * so. */
typedef gka_status gka_run_body(gka_run *run, int64_t n, int64_t h, void *memory, gka_error *error);

struct gka_run {
    const gka_problem *problem; /* checked */
    const gka_oracle_options *options;
    const gka_outputs *out, *lo; /* lo: all NULL when not wanted */
    gka_of of;                   /* gradients: which; results go to gradient[of] of these */
    gka_oracle_report *report;
    int64_t heads; /* heads of one call: 1, or H/G where the heads of a group add up in order */
    gka_run_memory *memory;
    gka_run_body *body;
    /* kept by the loop */
    void **memories;
    pthread_mutex_t lock;
    int64_t first_failed; /* item of the failure in `error`; INT64_MAX: none */
    gka_error error;
};

/* Calls body for every sequence and for h = 0, heads, 2 heads, ... on several threads. Of several
 * failures the one of the first item is returned, whatever the threads. */
gka_status gka_run_all(gka_run *run, gka_error *error);

/* Counts one token solve and reports progress. False: stop, the result is not wanted any more. */
bool gka_run_solved(gka_run *run, int64_t n, int64_t h, bool empty_state);

/* Notes an element whose rounding stands without a proof. The first GKA_ORACLE_LISTED are kept, in
 * an order of their own, whatever the threads. */
void gka_run_unproven(gka_run *run, const char *tensor, bool second_word, int64_t at);

/* The same on the way through work that counts nothing. */
bool gka_run_waits(gka_run *run, int64_t n, int64_t h);

#endif
