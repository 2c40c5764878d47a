/* audit.h - gka audit, and gka golden --audit, which is the same. */
#ifndef GKA_CLI_AUDIT_H
#define GKA_CLI_AUDIT_H

#include "cli/cli.h"

typedef struct cli_audit_request {
    const char *path;           /* a golden, or the folder of a suite */
    const char *write, *output; /* a member to write, and where to */
    const char *json;
    const char *units; /* --units (cli/units.h), of a suite; NULL: none */
} cli_audit_request;

/* Returns the exit code. */
int cli_audit_golden(cli *c, const cli_audit_request *request);

#endif
