/* way.h - how the values of a golden are made and kept: in one window, which is the whole problem
 * in memory (whole.c), or in many windows of tokens (stream.c, pass.c). The bits are the same.
 * generate.c chooses one when it knows how long the problem is, and asks no more which it was.
 */
#ifndef GKA_GOLDEN_WAY_H
#define GKA_GOLDEN_WAY_H

#include "golden/job.h"

struct golden_way {
    /* Bytes of memory that a problem takes. */
    double (*bytes)(const golden_job *j, const gka_problem *problem);
    /* Makes the generator's problem: j->problem. */
    gka_status (*inputs)(golden_job *j, const gka_generator *generator, const char *path,
                         gka_error *error);
    /* Comes before all that follows; all: bits of the outputs that will be computed. */
    gka_status (*open)(golden_job *j, unsigned all, const char *path, gka_error *error);
    /* NAME.exact of the wanted outputs of one pass: GKA_PASS_FORWARD (with GKA_PASS_STATES),
     * GKA_PASS_SOLVE or GKA_PASS_LAYER; nothing where there are none. */
    gka_status (*exact)(golden_job *j, gka_pass pass, const gka_progress *progress,
                        gka_oracle_report *report, gka_error *error);
    /* NAME.steps of `all`. */
    gka_status (*steps)(golden_job *j, unsigned all, const gka_progress *progress,
                        gka_error *error);
    /* gka_golden_errors of `wanted`, by a kernel that computes `all` (NULL: the steps values) at
     * the problem's chunk size and num_iter (it may differ from j->problem in these alone), its
     * outputs as stored. side_by_side: workers of a gka_parallel may call it at a time; else the
     * work on one kernel is itself parallel, and worker is 0. */
    bool side_by_side;
    gka_status (*errors)(golden_job *j, int worker, const gka_kernel *kernel,
                         const gka_problem *problem, unsigned all, unsigned wanted,
                         const gka_progress *progress, golden_error errors[GKA_OUTPUTS],
                         gka_error *error);
    /* NAME.h100. */
    gka_status (*emulate)(golden_job *j, const gka_kernel *kernel, const gka_progress *progress,
                          gka_error *error);
    /* Whether all of NAME.steps is zero. */
    bool (*is_zero)(const golden_job *j, int output);
    /* All of a tensor, handed to `give` in portions: F64, or of NAME.h100 the type in which kernels
     * store it; little-endian. */
    gka_status (*give)(const golden_job *j, int output, golden_kind kind, golden_take *give,
                       void *to, gka_error *error);
};

extern const golden_way gka_golden_one_window, gka_golden_many_windows;

#endif
