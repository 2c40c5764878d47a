/* show.h - gka show, and gka golden --show, which is the same. */
#ifndef GKA_CLI_SHOW_H
#define GKA_CLI_SHOW_H

#include "cli/cli.h"

/* What the golden at path holds. Returns the exit code. */
int cli_show_golden(cli *c, const char *path);

#endif
