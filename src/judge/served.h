/* served.h - a server's six outputs, for whoever makes or judges them.
 *
 *   gka_served_shape     the shape of one of them, and how many axes a row has
 *   gka_served_layer     the layer's values of them, by whatever computes the folded layer
 *   gka_served_emulate   the server's kernels' values
 */
#ifndef GKA_JUDGE_SERVED_H
#define GKA_JUDGE_SERVED_H

#include "gka/judge.h"

/* In the order of gka_serving_names. */
enum {
    SERVED_PREFILL_O,
    SERVED_PREFILL_H,
    SERVED_PREFILL_U,
    SERVED_DECODE_O,
    SERVED_DECODE_H,
    SERVED_DECODE_U,
    SERVED
};

/* Fills the shape, of rank 4; returns how many of the last axes make a row. */
int gka_served_shape(const gka_problem *problem, int64_t prefill, int output, int64_t shape[4]);

/* Fills o, h_final and u_final, where they are not NULL, of a folded problem. */
typedef gka_status gka_served_run(void *context, const gka_problem *problem, gka_outputs *out,
                                  gka_error *error);

/* Every of[] that is not NULL: o and the last states from one run over all tokens of the folded
 * problem, the states between prefill and decode from a second one over the first tokens. */
gka_status gka_served_layer(const gka_problem *problem, int64_t prefill, double *const of[SERVED],
                            gka_served_run *run, void *context, gka_error *error);

gka_status gka_served_emulate(const gka_problem *problem, const gka_profile *profile,
                              const gka_serving *how, double *const of[SERVED], gka_error *error);

/* `text`, of metadata `cuts` ("64" or "64,100"), into how->cuts tokens of cut[]; how->prefill is
 * known. False where these are no increasing tokens within the prefill, or more than `room`. */
bool gka_served_cuts(const char *text, int room, int64_t *cut, gka_serving *how);

#endif
