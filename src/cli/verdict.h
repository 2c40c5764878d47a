/* verdict.h - what `gka judge` and `gka attribute` say, as texts, for whoever has the figures.
 */
#ifndef GKA_CLI_VERDICT_H
#define GKA_CLI_VERDICT_H

#include "gka/golden.h"
#include "gka/judge.h"

#ifdef __cplusplus
extern "C" {
#endif

/* *text: the tables and notes that `gka judge` prints below its first line; *json: what it writes
 * with --json, on one line. Both from malloc. GKA_OUT_OF_MEMORY; then both are NULL. */
gka_status cli_verdict_texts(const gka_file *candidate, const gka_file *golden,
                             const gka_golden_options *options, const gka_golden_verdict *verdict,
                             char **text, char **json, gka_error *error);

/* *text: the tables and the last line that `gka attribute` prints, of attributions [count] of
 * outputs by name, count <= GKA_OUTPUTS. From malloc; NULL with GKA_OUT_OF_MEMORY. */
gka_status cli_attribution_text(const char *const *names, const gka_attribution *attributions,
                                size_t count, char **text, gka_error *error);

#ifdef __cplusplus
}
#endif
#endif
