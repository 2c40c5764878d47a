/* golden_spec.h - the spec inside the room: resolved, and as JSON. */
#ifndef GKA_JUDGE_GOLDEN_SPEC_H
#define GKA_JUDGE_GOLDEN_SPEC_H

#include "gka/golden.h"

#include <jansson.h>

/* The generator with G, V, alpha and gate as they follow from the other keys. */
gka_generator golden_generator(const gka_golden_spec *spec);

/* Every key; with own_inputs those that do not make tensors up. NULL or good = false: no memory. */
json_t *golden_spec_json(const gka_golden_spec *spec, bool own_inputs, bool *good);

#endif
