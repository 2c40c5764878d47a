/* against.h - gka judge, and gka verify --against=GOLDEN, which is the same. */
#ifndef GKA_CLI_AGAINST_H
#define GKA_CLI_AGAINST_H

#include "cli/json.h"
#include "gka/golden.h"

typedef struct cli_against {
    const char *golden, *junit;
    cli_texts maps;                 /* THEIRS=OURS */
    int gradients;                  /* of gka_gradient_kind */
    const char *require;            /* NAME,.. or all; NULL: none */
    int layout;                     /* 0: bthd, 1: bhtd */
    int reference;                  /* 0: steps, else exact (certified) */
    const char *given, *given_from; /* --given=LIST, and the file that has them; NULL */
} cli_against;

/* Options of both, for a table; `a`: a cli_against. */
#define CLI_AGAINST_OPTIONS(a)                                                                     \
    {"map",                                                                                        \
     0,                                                                                            \
     CLI_TEXTS,                                                                                    \
     &(a).maps,                                                                                    \
     .value = "THEIRS=OURS",                                                                       \
     .help = "the candidate calls the golden's tensor OURS THEIRS; may be repeated"},              \
        {"reference",                                                                              \
         0,                                                                                        \
         CLI_CHOICE,                                                                               \
         &(a).reference,                                                                           \
         .choices = "steps|exact|certified",                                                       \
         .help = "exact (or certified): for a solver that converges (steps)"},                     \
        {"gradients",                                                                              \
         0,                                                                                        \
         CLI_CHOICE,                                                                               \
         &(a).gradients,                                                                           \
         .choices = "implicit|through|auto",                                                       \
         .help = "through: of the steps themselves, as autograd gives them (implicit)"},           \
        {"require",                                                                                \
         0,                                                                                        \
         CLI_TEXT,                                                                                 \
         &(a).require,                                                                             \
         .value = "NAME,..|all",                                                                   \
         .help = "these outputs, or all of the golden's, must be there and be judged"},            \
        {"given",                                                                                  \
         0,                                                                                        \
         CLI_TEXT,                                                                                 \
         &(a).given,                                                                               \
         .value = "LIST",                                                                          \
         .help = "judge later stages only locally, at the candidate's own x, p, f, h_chunk"},      \
        {"given-from",     0,                                                                      \
         CLI_IN,           &(a).given_from,                                                        \
         .value = "OTHER", .help = "... or at those of this file"},                                \
    {                                                                                              \
        "junit", 0, CLI_OUT, &(a).junit, .value = "OUT", .help = "write verdicts as JUnit"         \
    }

/* The operands judged by the golden; json: where to, or NULL. Returns the exit code. */
int cli_verify_against(cli *c, const cli_against *options, const char *json);

#endif
