/* spec.h - the spec inside the room: resolved, and as JSON. */
#ifndef GKA_GOLDEN_SPEC_H
#define GKA_GOLDEN_SPEC_H

#include "golden/golden.h"

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

/* An entry of metadata `tolerances` (gka/golden.h, section 1); takes kernels, the panel in words.
 * exact: the tolerance against NAME.exact; NULL: none. good turns false where memory ends. */
json_t *gka_golden_tolerance_json(golden_error tolerance, golden_error floor, golden_error panel,
                                  const char *judged, json_t *kernels, const golden_error *exact,
                                  bool *good);
/* {value, row} of such an entry, or of its member `exact`; null or absent: NaN. */
golden_error gka_golden_tolerance_read(const json_t *object);
/* Metadata `oracle`, but for what is of gradients. */
json_t *gka_golden_oracle_json(gka_oracle oracle, const gka_oracle_report *report, bool *good);

#endif
