/* units.h - a command on many files, shared among processes: --units=FOLDER.
 *
 * Each file is a unit; what the command finds out about it is a record, a JSON value that lies in
 * FOLDER as soon as it is there. Whoever is free makes the next one (gka_share_units, gka/io.h),
 * and a process that is killed leaves its unit to another, or to the same command given again. Then
 * one process reads all records in their order and prints what it would have printed alone.
 */
#ifndef GKA_CLI_UNITS_H
#define GKA_CLI_UNITS_H

#include "cli/json.h"

/* The record of unit i (a new reference) for *record; returns CLI_GOOD or prints and returns the
 * exit code. */
typedef int cli_unit(cli *c, void *context, int64_t i, json_t **record);

/* What becomes of a record. */
typedef int cli_unit_use(cli *c, void *context, int64_t i, const json_t *record);

typedef struct cli_units {
    const char *folder;
    int64_t count;
    const char *(*path)(void *context, int64_t i); /* its file; NULL: it has none */
    cli_unit *make;
    cli_unit_use *use;
    void *context;
    bool silent; /* afterwards: another process uses the records, prints and writes */
} cli_units;

/* Makes all records that are not there for this command line and these files, and uses them: under
 * mpirun rank 0 does, else who came first. Returns CLI_GOOD or prints and returns the exit code. */
int cli_units_run(cli *c, cli_units *units);

#define CLI_UNITS(target)                                                                          \
    {                                                                                              \
        "units", 0, CLI_OUT, &(target),                                                            \
            .value = "FOLDER",                                                                     \
            .help =                                                                                \
                "share the files among all processes that are given this folder (mpirun), and go " \
                "on from what is there"                                                            \
    }

/* A number written by cli_json_real. */
double cli_json_number(const json_t *value);

#endif
