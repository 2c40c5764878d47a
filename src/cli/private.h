/* private.h - what command.c and options.c keep to themselves. */
#ifndef GKA_CLI_PRIVATE_H
#define GKA_CLI_PRIVATE_H

#include "cli/cli.h"

/* Frees what cli_parse handed out. */
void cli_free_texts(cli *c);

#endif
