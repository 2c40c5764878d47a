/* many.c - a golden in many windows of tokens: what golden/way.h asks, of golden/stream.h. */
#include "golden/way.h"

static double bytes(const golden_job *j, const gka_problem *problem) {
    return gka_golden_stream_bytes(problem, j->limits);
}

static gka_status inputs(golden_job *j, const gka_generator *generator, const char *path,
                         gka_error *error) {
    return gka_golden_inputs_make(generator, gka_golden_window(j->limits, generator->chunk_size),
                                  path, &j->streamed, &j->problem, error);
}

static gka_status open(golden_job *j, unsigned all, const char *path, gka_error *error) {
    return gka_golden_stream_open(&j->problem, &j->streamed, all, j->limits, path, &j->stream,
                                  error);
}

static gka_status exact(golden_job *j, gka_pass pass, const gka_progress *progress,
                        gka_oracle_report *report, gka_error *error) {
    return gka_golden_stream_exact(j->stream, pass, j->wanted, progress, report, error);
}

static gka_status steps(golden_job *j, unsigned all, const gka_progress *progress,
                        gka_error *error) {
    (void)all;
    return gka_golden_stream_steps(j->stream, progress, error);
}

static gka_status errors_of(golden_job *j, int worker, const gka_kernel *kernel,
                            const gka_problem *problem, unsigned all, unsigned wanted,
                            const gka_progress *progress, golden_error errors[GKA_OUTPUTS],
                            gka_error *error) {
    (void)all;
    return gka_golden_stream_errors(j->stream, worker, kernel, problem, wanted, progress, errors,
                                    error);
}

static gka_status emulate(golden_job *j, const gka_kernel *kernel, const gka_progress *progress,
                          gka_error *error) {
    return gka_golden_stream_emulate(j->stream, kernel, progress, error);
}

static bool is_zero(const golden_job *j, int output) {
    return gka_golden_stream_zero(j->stream, output);
}

static gka_status give_values(const golden_job *j, int output, golden_kind kind, golden_take *give,
                              void *to, gka_error *error) {
    return gka_golden_stream_give(j->stream, output, kind, give, to, error);
}

const golden_way gka_golden_many_windows = {.bytes = bytes,
                                            .inputs = inputs,
                                            .open = open,
                                            .exact = exact,
                                            .steps = steps,
                                            .side_by_side = true,
                                            .errors = errors_of,
                                            .emulate = emulate,
                                            .is_zero = is_zero,
                                            .give = give_values};
