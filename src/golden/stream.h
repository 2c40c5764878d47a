/* stream.h - goldens of long sequences, by windows of tokens.
 *
 * Results go to a spool (spool.h) and from there to the golden. The bits are those of a
 * golden made at once: states and what the reverse sends back pass from window to window as they
 * are, and errors add up row by row in the rows' order.
 *
 * Memory, for W tokens a window, whatever T is but for its last term:
 *
 *   8 W (7 D + 4 V + 9) + 16 (W/C) D^2    a window's outputs, their local values, what they are
 *                                         compared with: for each kernel that is run beside others
 *   32 (sqrt(W) + 2) D (D + V) + 16 W (D + V)    states and sums of the certified gradients,
 *   450 D (D + 2 V)                       MPFR, where gradients need it: 16 states, which is some
 *                                         hundred tokens of released gates
 *   T                                     flags of the certified forward pass: before the kernels
 *
 * bytes: 112 MB for D = V = 128, C = 64, W = 2048 and up to three threads, 32 MB more for each
 * beyond them.
 * The spool takes as much as the golden, and the inputs that are made up their own size.
 */
#ifndef GKA_GOLDEN_STREAM_H
#define GKA_GOLDEN_STREAM_H

#include "golden/golden.h"
#include "golden/inputs.h"

typedef struct golden_stream golden_stream;

/* The tensors NAME.exact, NAME.steps, NAME.h100, NAME.exact.lo, NAME.through; a stream has the
 * first three. */
typedef enum golden_kind {
    GOLDEN_EXACT,
    GOLDEN_STEPS,
    GOLDEN_EMULATED,
    GOLDEN_LO,
    GOLDEN_THROUGH
} golden_kind;
typedef gka_status golden_take(void *to, const void *bytes, size_t size, gka_error *error);

/* Which goldens are long: of more than `least` tokens. They are made by windows of at least
 * `tokens`, and where that is all of them in memory, to the same bytes. */
typedef struct golden_limits {
    int64_t least, tokens;
} golden_limits;
extern const golden_limits gka_golden_limits_default;

/* gka_golden_generate with other limits. */
gka_status gka_golden_generate_within(const gka_golden_spec *spec, const gka_file *inputs,
                                      const golden_limits *limits, const char *path,
                                      const gka_progress *progress, gka_error *error);

/* Tokens of a window: the smallest multiple of 128 and of the chunk size from limits->tokens on. */
int64_t gka_golden_window(const golden_limits *limits, int64_t chunk_size);

/* Whether the problem can be streamed: one sequence of one head, and many tokens. */
bool gka_golden_streams(const gka_problem *problem, const golden_limits *limits);

/* Bytes of memory that this takes. */
double gka_golden_stream_bytes(const gka_problem *problem, const golden_limits *limits);

/* all: every output that is computed. Problem and inputs must stay. */
gka_status gka_golden_stream_open(const gka_problem *problem, const golden_inputs *inputs,
                                  unsigned all, const golden_limits *limits, const char *path,
                                  golden_stream **stream, gka_error *error);
void gka_golden_stream_close(golden_stream *stream);

/* NAME.exact of those outputs that belong to one pass: GKA_PASS_FORWARD (with GKA_PASS_STATES),
 * GKA_PASS_SOLVE, GKA_PASS_LAYER. */
gka_status gka_golden_stream_exact(golden_stream *stream, gka_pass part, unsigned wanted,
                                   const gka_progress *progress, gka_oracle_report *report,
                                   gka_error *error);
/* NAME.steps of every output. */
gka_status gka_golden_stream_steps(golden_stream *stream, const gka_progress *progress,
                                   gka_error *error);

/* Whether all of NAME.steps is zero. */
bool gka_golden_stream_zero(const golden_stream *stream, int output);

/* gka_golden_errors of a kernel (by chunks or by tokens; NULL: none) at the problem's chunk size
 * and num_iter (which may differ from the stream's problem in these alone), or of the steps values
 * as stored. Workers (of a gka_parallel; 0 outside of one) may be at work at a time. */
gka_status gka_golden_stream_errors(golden_stream *stream, int worker, const gka_kernel *kernel,
                                    const gka_problem *problem, unsigned wanted,
                                    const gka_progress *progress, golden_error errors[GKA_OUTPUTS],
                                    gka_error *error);

/* A kernel's own outputs, for gka_golden_stream_give. */
gka_status gka_golden_stream_emulate(golden_stream *stream, const gka_kernel *kernel,
                                     const gka_progress *progress, gka_error *error);

/* All of an output, as golden_way's give has it. */
gka_status gka_golden_stream_give(golden_stream *stream, int output, golden_kind kind,
                                  golden_take *give, void *to, gka_error *error);

#endif
