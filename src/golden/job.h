/* job.h - a golden in the making: what computing it (generate.c), its tolerances (tolerance.c,
 * references.c) and writing it (file.c) share. */
#ifndef GKA_GOLDEN_JOB_H
#define GKA_GOLDEN_JOB_H

#include "golden/stage.h"
#include "golden/stream.h"
#include "kernel/panel.h"

/* Work done and to do, in units of a certified forward pass. */
typedef struct golden_meter {
    const gka_progress *progress;
    double done, step, total; /* step: of what is under way */
} golden_meter;

typedef struct golden_way golden_way; /* golden/way.h */

typedef struct golden_job {
    const gka_golden_spec *spec;
    golden_meter meter;
    gka_problem problem;
    int64_t bounds[GKA_GOLDEN_SEQUENCES + 1]; /* cu_seqlens of the problem */
    const gka_file *inputs;                   /* a user's; NULL: made up */
    const golden_limits *limits;
    golden_inputs streamed; /* where they are not in memory */
    unsigned wanted;
    unsigned given_bits; /* of gka_given, where a stage alone is asked for */
    golden_given given;
    bool is_long;          /* many tokens of one head */
    const golden_way *way; /* in which its values are made: in one window, or in many */
    golden_stream *stream; /* of many windows */
    gka_outputs exact, lo, steps, emulated; /* of one window, in memory */
    gka_outputs through; /* the derivative of the steps, where it is another gradient */
    gka_oracle_report report;
    double proven[GKA_OUTPUTS]; /* largest proven error of a gradient's element before it was
                                     rounded, over the tensor's largest element */
    golden_error floor[GKA_OUTPUTS], stage[GKA_OUTPUTS];
    const gka_panel *panel[GKA_OUTPUTS]; /* of stage */
    /* Against NAME.steps, NAME.exact and NAME.through; NaN: none. */
    golden_error tolerance[GKA_OUTPUTS], by_exact[GKA_OUTPUTS], by_through[GKA_OUTPUTS];
    unsigned open, bad; /* outputs whose stage is being found; not finite */
    char *metadata[8];
    gka_text_pair pairs[12];
    size_t pair_count;
} golden_job;

static inline bool golden_wants(const golden_job *j, int output) {
    return (j->wanted >> output & 1) != 0;
}

/* Of tolerance.c: what one rounding to the stored type may do to an output; whether the golden is
 * of the whole layer. */
double gka_golden_least_tolerance(const golden_job *j, int output);
bool gka_golden_whole_layer(const golden_job *j);

/* Of references.c, after `tolerance` is known: by_exact, for all outputs in `all` that a kernel
 * computes on the way; through and by_through. */
gka_status gka_golden_tolerances_of_exact(golden_job *j, unsigned all, gka_error *error);
gka_status gka_golden_make_through(golden_job *j, gka_error *error);

/* Tensors and metadata, from memory or from the stream, to path. */
gka_status gka_golden_job_write(golden_job *j, const char *path, gka_error *error);

#endif
