/* private.h - what command.c and options.c keep to themselves. */
#ifndef GKA_CLI_PRIVATE_H
#define GKA_CLI_PRIVATE_H

#include "cli/cli.h"

/* Frees what cli_parse handed out. */
void cli_free_texts(cli *c);

/* Refuses a CLI_OUT that would replace what an operand or a CLI_IN names, or another CLI_OUT. */
int cli_check_files(cli *c);

/* Gives jansson its memory: counted, and made to fail, like all other. */
void cli_json_start(void);

/* True when jansson was refused memory since then. Its parser may pass over that and lose a letter
 * of a token (jansson 2.14, strbuffer_append_byte in lex_save), so whoever had JSON read asks. */
bool cli_json_starved(void);

#endif
