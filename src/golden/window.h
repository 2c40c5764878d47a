/* window.h - what the files that stream a golden share: its windows and where things lie.
 *
 *   part       a window's outputs, and x and f of the forward pass where gradients read them
 *   states     H and U before each window, as a pass has left them
 *   exact_states, other_states    exact64's, at the problem's chunk size and at another
 *   values     U before each window by the recurrence over tokens (gka_golden_local)
 *   lane       memory and arrays of one kernel that is run beside others (gka_golden_stream_errors)
 *   kept       a kernel's own outputs: x and f on the way left, all of what is emulated
 *   rows       sums of squares of each row, against the steps values and against local values
 */
#ifndef GKA_GOLDEN_WINDOW_H
#define GKA_GOLDEN_WINDOW_H

#include "golden/stream.h"

/* Outputs by where a pass over the windows meets them: on its way right, on its way left, at the
 * right end, at the left end. */
#define GOLDEN_RIGHT (GKA_BIT(X) | GKA_BIT(FRO) | GKA_BIT(O) | GKA_BIT(H_CHUNK))
#define GOLDEN_LEFT                                                                                \
    (GKA_BIT(SOLVE_DQ) | GKA_BIT(SOLVE_DK) | GKA_BIT(SOLVE_DG) | GKA_BIT(LAYER_DQ) |               \
     GKA_BIT(LAYER_DK) | GKA_BIT(LAYER_DV) | GKA_BIT(LAYER_DALPHA) | GKA_BIT(LAYER_DG))
#define GOLDEN_RIGHT_END (GKA_BIT(H_FINAL) | GKA_BIT(U_FINAL))
#define GOLDEN_LEFT_END  GKA_BIT(SOLVE_DH0)
#define GOLDEN_TOKENS    (GOLDEN_RIGHT | GOLDEN_LEFT)
#define GOLDEN_ENDS      (GOLDEN_RIGHT_END | GOLDEN_LEFT_END)

enum { GOLDEN_AT_STEPS, GOLDEN_AT_LOCAL }; /* which rows */

struct golden_stream {
    const gka_problem *problem;
    const golden_inputs *inputs;
    unsigned all, nonzero; /* bits of outputs; of these some element of the steps is not 0 */
    int64_t window, size;  /* size: doubles of H and U */
    golden_spool spool;
    int64_t exact[GKA_OUTPUTS], steps[GKA_OUTPUTS], kept[GKA_OUTPUTS]; /* places there */
    int64_t rows[2][GKA_OUTPUTS], states, exact_states, other_states, values, oracle;
    int64_t other_chunk;         /* chunk size of other_states; 0: there are none so far */
    gka_outputs ends[3];         /* by golden_kind: outputs at the ends */
    gka_outputs part, local;     /* of a window; ends whole */
    double *ref;                 /* a window of one output */
    golden_sums *sums;           /* a window of rows */
    double *h, *u;               /* a profile's states [D,D], [D,V] */
    double most[GKA_OUTPUTS];    /* largest |steps| */
    gka_chunk_carry carry[2][2]; /* the pass's own and of its local values; solve, layer */
    unsigned char *bytes[5];     /* h, u, the U of local values, dh, du as views have them */
    golden_stream **lanes;       /* [workers]: of kernels side by side; the first is this one */
    int workers;
    int64_t lane, lane_size; /* where the second lane's arrays begin; doubles of one */
};

/* How many windows there are; where the one from begin on ends; elements of an output in n tokens.
 */
int64_t gka_golden_windows(const golden_stream *s);
int64_t gka_golden_window_end(const golden_stream *s, int64_t begin);
int64_t gka_golden_window_count(const golden_stream *s, int output, int64_t n);

/* A window of s->part to the spool; from there. */
gka_status gka_golden_put_window(const golden_stream *s, const int64_t places[GKA_OUTPUTS],
                                 int output, int64_t begin, gka_error *error);
gka_status gka_golden_get_window(const golden_stream *s, const int64_t places[GKA_OUTPUTS],
                                 int output, int64_t begin, double *values, gka_error *error);

/* A state as a view; the window's tokens from the states h, u, the first from the problem's own. */
gka_view gka_golden_state_view(int64_t D, int64_t columns, const double *state,
                               unsigned char *bytes);
gka_problem gka_golden_window_of(const golden_stream *s, const gka_problem *p, int64_t begin,
                                 const double *h, const double *u, unsigned char *const bytes[2]);

/* s->h and s->u before the window at begin to the spool; from there. Nothing for the first. */
gka_status gka_golden_put_states(const golden_stream *s, int64_t place, int64_t begin,
                                 gka_error *error);
gka_status gka_golden_get_states(const golden_stream *s, int64_t place, int64_t begin,
                                 gka_error *error);

/* The lane of a worker, opened when it is first asked for, once the steps are there. */
gka_status gka_golden_stream_lane(golden_stream *s, int worker, golden_stream **lane,
                                  gka_error *error);

#endif
