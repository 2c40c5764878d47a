/* private.h - what command.c and options.c keep to themselves. */
#ifndef GKA_CLI_PRIVATE_H
#define GKA_CLI_PRIVATE_H

#include "cli/cli.h"

/* Frees what cli_parse handed out. */
void cli_free_texts(cli *c);

/* The subcommands in order: name and summary of number i; false: there is none. */
bool cli_command_name(int i, const char **name, const char **summary);

/* Has `describe` called once for each subcommand, with its options and what it takes. Returns the
 * worst exit code: memory may be refused. */
int cli_describe_all(cli *c, void (*describe)(cli *c, const cli_help *help));

/* Refuses a CLI_OUT that would replace what an operand or a CLI_IN names, another CLI_OUT, or
 * tensors by text. */
int cli_check_files(cli *c);

/* Gives jansson its memory: counted, and made to fail, like all other. */
void cli_json_start(void);

/* True when jansson was refused memory since then. Its parser may pass over that and lose a letter
 * of a token (jansson 2.14, strbuffer_append_byte in lex_save), so whoever had JSON read asks. */
bool cli_json_starved(void);

#endif
