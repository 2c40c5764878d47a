/* served.h - goldens of a server (gka golden --serving), and what judging shares with them.
 *
 *   gka_golden_generate_served   one golden: a prefill, then token after token from its states
 *   gka_golden_judge_served      a candidate by it
 *   gka_golden_judge_row         one tensor, whatever golden it is of (judge.c)
 */
#ifndef GKA_GOLDEN_SERVED_H
#define GKA_GOLDEN_SERVED_H

#include "golden/golden.h"

/* A candidate's output in the golden's layout, and what it is judged by. */
typedef struct golden_subject {
    const char *name;
    int rank, row_rank; /* row_rank: how many of the last axes make a row */
    int64_t shape[GKA_MAX_RANK], count;
    gka_dtype dtype; /* in which right kernels store it */
    bool has_tokens; /* [B,T,H,..] */
    const double *out, *steps, *exact;
    const double *through, *local; /* NULL: there is none */
    golden_error by_through;       /* the tolerance against through */
} golden_subject;

/* Fills the row, whose name, tensor, tolerances, required and lacking are known, and counts it in
 * the verdict. */
gka_status gka_golden_judge_row(const gka_golden_options *options, const golden_subject *subject,
                                gka_golden_verdict *verdict, gka_golden_row *row, gka_error *error);

/* What the candidate calls an output of the golden; whether a verdict on it is asked for. */
const char *gka_golden_their_name(const gka_golden_options *options, const char *name);
bool gka_golden_required(const gka_golden_options *options, const char *name);

bool gka_golden_is_served(const gka_file *golden);
gka_status gka_golden_generate_served(const gka_golden_spec *spec, const gka_file *inputs,
                                      const char *path, const gka_progress *progress,
                                      gka_error *error);
gka_status gka_golden_judge_served(const gka_file *candidate, const gka_file *golden,
                                   const gka_golden_options *options, gka_golden_verdict *verdict,
                                   gka_error *error);

#endif
