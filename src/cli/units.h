/* units.h - a command on many files, shared among processes: --units=FOLDER.
 *
 * Each file is a unit; what the command finds out about it is a record, a JSON value that lies in
 * FOLDER as soon as it is there. Whoever is free makes the next one (gka_share_units, gka/io.h),
 * and a process that is killed leaves its unit to another, or to the same command given again. Then
 * every process goes through the units in their order, as one alone does, but from the records;
 * a unit whose record is missing, stale or damaged it computes itself. So each prints and ends as
 * one alone, but the ranks > 0 of a launcher, which print nothing and end with 0: mpirun kills the
 * rank that prints as soon as another ends with anything else, and returns the code of that rank.
 */
#ifndef GKA_CLI_UNITS_H
#define GKA_CLI_UNITS_H

#include "cli/json.h"

/* The record of unit i (a new reference) for *record; returns CLI_GOOD or prints and returns the
 * exit code. */
typedef int cli_unit(cli *c, void *context, int64_t i, json_t **record);

/* What becomes of a record, which somebody may have damaged. CLI_UNUSABLE, before anything is
 * printed or kept: it is not as cli_unit makes it. */
enum { CLI_UNUSABLE = -1 };
typedef int cli_unit_use(cli *c, void *context, int64_t i, json_t *record);

typedef struct cli_units {
    const char *folder; /* NULL: this process does all alone */
    int64_t count;
    const char *(*path)(void *context, int64_t i, int k); /* file k it reads; NULL: no more */
    int (*alone)(cli *c, void *context, int64_t i);       /* makes and uses it at once */
    cli_unit *make;
    cli_unit_use *use;
    void *context;
    bool silent; /* afterwards: rank 0 of the launcher prints and writes */
} cli_units;

/* All units. Returns CLI_GOOD or prints and returns the exit code. */
int cli_units_run(cli *c, cli_units *units);

#define CLI_UNITS(target)                                                                          \
    {                                                                                              \
        "units", 0, CLI_OUT, &(target),                                                            \
            .value = "FOLDER",                                                                     \
            .help = "share the files among all processes that are given this folder (mpirun: "     \
                    "rank 0 prints "                                                               \
                    "and has the exit code, the others end with 0), and go on from what is there"  \
    }

/* A number written by cli_json_real. */
double cli_json_number(const json_t *value);
/* Whether a value, and all that stands in an array, is such. */
bool cli_json_is_number(const json_t *value);
bool cli_json_numbers(const json_t *array);

#endif
