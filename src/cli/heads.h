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
typedef struct cli_heads {
    cli *c;
    int figures;                 /* of each head */
    int shown;                   /* the first of them are in the tables; 0: all */
    const char *const *headings; /* as of cli_table; of those that are shown */
    const char *const *names;    /* in CSV and JSON; NULL: the headings */
    const char *remark;          /* heading of one column more, of words; NULL: none */
    bool per_head;
    const char *csv_path;
    gka_output *csv; /* NULL: not asked for */
    cli_json json;
    json_t *list;
    bool good;         /* list is complete so far */
    const char *units; /* --units (cli/units.h); NULL: this process visits all problems */
    /* private */
    double *all; /* [count, figures] */
    size_t count, room;
    int files;
    json_t *record; /* of the unit at hand: what cli_heads_add was told; NULL: there is none */
    bool silent;    /* another process prints */
} cli_heads;

enum { CLI_REMARK = 128 };

/* Opens what is written; list is json's. Returns CLI_GOOD or prints and returns the exit code. */
int cli_heads_start(cli_heads *heads, const char *csv, const char *json);
/* The visit to every problem of c's operands, or to the one that is made up. */
int cli_heads_each(cli_heads *heads, cli_problem *problem, cli_problem_visit *visit, void *context);
/* values [N,H,figures] of the problem called `label`; NaN: there is none. `text`, if not NULL, is
 * printed above the table. remarks [N,H], NULL without the column. */
int cli_heads_add(cli_heads *heads, const char *label, const char *text, int64_t N, int64_t H,
                  const double *values, char (*remarks)[CLI_REMARK]);
/* The median of a figure over all heads that have it; NaN: none has. Out of memory: false. */
bool cli_heads_median(const cli_heads *heads, int figure, double *median);
/* Whether tables are printed, not only JSON. */
bool cli_heads_shown(const cli_heads *heads);
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
    const char *units; /* NULL: none */
} cli_predicting;
int cli_predict(cli *c, cli_problem *problem, const cli_predicting *predicting);

#endif
