/* golden_stream.h - forward goldens of long sequences, by windows of tokens.
 *
 * Results go to spools, files without a name beside the golden to be. Memory, for W tokens a
 * window: the inputs as they are stored; the states before each window, 8 D V T/W bytes; 80 bytes a
 * token for the norms of rows; and what does not grow with T.
 */
#ifndef GKA_JUDGE_GOLDEN_STREAM_H
#define GKA_JUDGE_GOLDEN_STREAM_H

#include "judge/golden.h"

typedef struct golden_stream golden_stream;

/* Whether outputs `wanted` of the problem are streamed: forward outputs of one head, and many
 * tokens. */
bool golden_streams(const gka_problem *problem, unsigned wanted);

/* all: every output that is computed. The problem must stay. */
gka_status golden_stream_open(const gka_problem *problem, unsigned all, const char *path,
                              golden_stream **stream, gka_error *error);
void golden_stream_close(golden_stream *stream);

/* NAME.exact of every output, then NAME.steps, into the spools. */
gka_status golden_stream_exact(golden_stream *stream, const gka_progress *progress,
                               gka_oracle_report *report, gka_error *error);
gka_status golden_stream_steps(golden_stream *stream, gka_error *error);

/* Whether all of NAME.steps is zero. */
bool golden_stream_zero(const golden_stream *stream, int output);

/* golden_errors of a profile with chunk size C, or (profile NULL) of the steps values as stored. */
gka_status golden_stream_errors(golden_stream *stream, const gka_profile *profile, int64_t C,
                                unsigned wanted, golden_error errors[JUDGE_OUTPUTS],
                                gka_error *error);

/* All of an output in binary64, little-endian. */
gka_status golden_stream_write(golden_stream *stream, int output, bool steps, gka_writer *writer,
                               gka_error *error);

#endif
