/* heads.h - a row per head: what emulated kernels would lose, how a head's states are conditioned.
 */
#ifndef GKA_CLI_HEADS_H
#define GKA_CLI_HEADS_H

#include "cli/json.h"
#include "cli/problem.h"
#include "gka/kernel.h"
#include "gka/oracle.h"

/* A table with a row for each (file, row of the batch or sequence, head), then the median and the
 * range over all; or, without `per_head`, one row a file. Numbers go to CSV and JSON too. */
enum { CLI_HEADS_FIGURES = 16 };

typedef struct cli_heads {
    cli *c;
    int figures;
    const char *headings[CLI_HEADS_FIGURES]; /* as of cli_table */
    const char *names[CLI_HEADS_FIGURES];    /* in CSV and JSON; NULL: the headings */
    bool per_head;
    const char *csv_path;
    gka_output *csv; /* NULL: not asked for */
    cli_json json;
    json_t *list;
    bool good; /* list is complete so far */
    /* private */
    double *all; /* [count, figures] */
    size_t count, room;
    int files;
} cli_heads;

/* Opens what is written; list is json's. Returns CLI_GOOD or prints and returns the exit code. */
int cli_heads_start(cli_heads *heads, const char *csv, const char *json);
/* values [N,H,figures] of the problem called `label`; NaN: there is none. `text`, if not NULL, is
 * printed above the table. */
int cli_heads_add(cli_heads *heads, const char *label, const char *text, int64_t N, int64_t H,
                  const double *values);
/* The last lines; closes what was written. code: that of what came before. */
int cli_heads_end(cli_heads *heads, int code);

/* "K[,K2..]": kernels by name, as of gka/kernel.h. */
enum { CLI_KERNELS = 8 };
typedef struct cli_kernels {
    const char *name[CLI_KERNELS];
    gka_kernel kernel[CLI_KERNELS];
    size_t count;
} cli_kernels;
/* form, settings: those of --form and --set, for all of them. */
int cli_kernels_read(cli *c, const char *text, int form, const cli_texts *settings,
                     cli_kernels *kernels);

/* gka verify --emulate without outputs, or --per-head: what the kernels would lose on each operand
 * (none: on a problem made up). */
typedef struct cli_predicting {
    const char *emulate, *csv, *json;
    int form;
    const cli_texts *settings;
    gka_oracle oracle;
    int precision;
    bool per_head;
} cli_predicting;
int cli_predict(cli *c, cli_problem *problem, const cli_predicting *predicting);

#endif
