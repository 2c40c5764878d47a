/* spec.h - the spec inside the room: resolved, and as JSON. */
#ifndef GKA_GOLDEN_SPEC_H
#define GKA_GOLDEN_SPEC_H

#include "gka/golden.h"

#include <jansson.h>

/* What a stage is handed (bits of gka_given): `given`, or where that is 0 what it has by default.
 */
unsigned gka_golden_stage_given(gka_golden_stage stage, unsigned given);

/* Every key, resolved, as JSON text to be gka_free'd; with own_inputs, for a user's own tensors,
 * those that do not make tensors up. The same spec has the same text. */
gka_status gka_golden_spec_text(const gka_golden_spec *spec, bool own_inputs, char **text,
                                gka_error *error);

/* Takes root; its text on one line, keys sorted. root NULL or good false: no memory. */
gka_status gka_golden_dump(json_t *root, bool good, const char *what, char **text,
                           gka_error *error);

#endif
