/* against.h - gka verify --against=GOLDEN. */
#ifndef GKA_CLI_AGAINST_H
#define GKA_CLI_AGAINST_H

#include "cli/json.h"
#include "gka/golden.h"

typedef struct cli_against {
    const char *golden, *junit;
    cli_texts maps;                 /* THEIRS=OURS */
    const char *require;            /* NAME,.. or all; NULL: none */
    int layout;                     /* 0: bthd, 1: bhtd */
    int reference;                  /* 0: steps, 1: exact */
    const char *given, *given_from; /* --given=LIST, and the file that has them; NULL */
} cli_against;

/* The operands judged by the golden; json: where to, or NULL. Returns the exit code. */
int cli_verify_against(cli *c, const cli_against *options, const char *json);

#endif
