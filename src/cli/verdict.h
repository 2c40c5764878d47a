/* verdict.h - what `gka judge` says of one candidate, as texts, for whoever has judged it himself.
 */
#ifndef GKA_CLI_VERDICT_H
#define GKA_CLI_VERDICT_H

#include "gka/golden.h"

#ifdef __cplusplus
extern "C" {
#endif

/* *text: the tables and notes that `gka judge` prints below its first line; *json: what it writes
 * with --json, on one line. Both from malloc. GKA_OUT_OF_MEMORY; then both are NULL. */
gka_status cli_verdict_texts(const gka_file *candidate, const gka_file *golden,
                             const gka_golden_options *options, const gka_golden_verdict *verdict,
                             char **text, char **json, gka_error *error);

#ifdef __cplusplus
}
#endif
#endif
