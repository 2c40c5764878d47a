/* inputs.h - the inputs of a golden that is streamed: a file's, or made up window by window
 * and kept on the disk. Either way they are mapped, and what was read is let go of. */
#ifndef GKA_GOLDEN_INPUTS_H
#define GKA_GOLDEN_INPUTS_H

#include "gka/golden.h"
#include "golden/spool.h"

typedef struct golden_inputs {
    const gka_file *file; /* the user's; NULL: they are made up */
    golden_spool spool;
    const void *bytes; /* the spool, mapped */
    size_t size;
} golden_inputs;

/* Makes the generator's problem (B = 1) by windows of `window` tokens into a file without a name
 * beside path, byte for byte what gka_problem_generate makes. The problem owns nothing and its
 * views end with gka_golden_inputs_free, which also frees after a failure. */
gka_status gka_golden_inputs_make(const gka_generator *generator, int64_t window, const char *path,
                                  golden_inputs *inputs, gka_problem *problem, gka_error *error);
void gka_golden_inputs_forget(const golden_inputs *inputs);
void gka_golden_inputs_free(golden_inputs *inputs);

#endif
