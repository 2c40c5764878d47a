/* problem.h - the problems a command works on: from files, or made up; the options all share.
 *
 *     cli_problem p;
 *     cli_problem_start(&p);
 *     options: {.kind = CLI_GROUP, .group = p.options, .help = "Problem, without FILE:"}
 *     code = cli_problem_open(c, &p, c->operand_count > 0 ? c->operands[0] : NULL);
 *     ... p.problem ...
 *     cli_problem_close(&p);
 *
 * or, of an operand that may stand for several, cli_problem_each.
 */
#ifndef GKA_CLI_PROBLEM_H
#define GKA_CLI_PROBLEM_H

#include "cli/cli.h"
#include "gka/problem.h"

typedef struct cli_problem {
    cli_option options[21];
    cli_option preparing[9];
    gka_file *file; /* NULL: made up */
    gka_problem problem;
    gka_defaults defaults; /* of the file */
    char label[320];       /* FILE, FILE:NAME, or "made up" */
    gka_keys otherwise;    /* the keys of a made-up problem when none are named */
    bool as_it_is;         /* leave beta and normalise for later; set after cli_problem_start */
    const char *several;   /* how the command takes several problems; NULL: it does not */
    /* private: what the options say; -1 or NaN: nothing */
    int keys, gate, dtype, layout, cast, normalise, conv;
    int64_t extents[6]; /* B T H G D V */
    int64_t pairs, seed, num_iter, chunk_size;
    double ridge_ratio, lambda, scale;
    bool plain, no_alpha, h0, beta, alpha, cotangents, fold, keep;
} cli_problem;

/* Sets the options up; *problem must stay where it is until the command line has been read. */
void cli_problem_start(cli_problem *problem);

/* What an operand stands for:
 *
 *   FILE          the tensors q k v ... of the file
 *   FILE:PATTERN  for each prefix P that the pattern (of the shell's kind: * ? [..]) matches and
 *                 for which there are tensors Pq and Pk, the problem of Pq, Pk, Pv, ...; where
 * there is none, each tensor that it matches, as keys and queries
 *
 * and with NULL a problem is made up. --layout, --conv, --normalise, --beta, --alpha, --gate,
 * --cotangents, --cast and --fold make a problem of projections; what is not folded then is
 * folded, exactly, unless `as_it_is`. --ridge, --iters, --chunk and --scale replace the file's
 * parameters; the other options together with a file are a mistake. Made-up problems have
 * cotangents. Returns CLI_GOOD or prints and returns the exit code. */
int cli_problem_open(cli *c, cli_problem *problem, const char *operand); /* one, no more */

/* The same for each problem of the operand in turn, until a visit does not return CLI_GOOD. */
typedef int cli_problem_visit(cli *c, cli_problem *problem, void *context);
int cli_problem_each(cli *c, cli_problem *problem, const char *operand, cli_problem_visit *visit,
                     void *context);

/* Whether --ridge, --iters, --chunk or --scale was given. */
bool cli_problem_changed(const cli_problem *problem);

/* Whether any option was given at all. */
bool cli_problem_given(const cli_problem *problem);

/* Whether an option was given by which a file's tensors would not be the problem's. */
bool cli_problem_prepared(const cli_problem *problem);

/* "ridge_ratio 0.02"; with a constant ridge "ridge_ratio 0, lambda 1". Returns text. */
const char *cli_ridge(const gka_problem *problem, char text[80]);

/* Where a problem has fewer tokens than heads, "T 4 is less than H 8: ..." in line, and true: its
 * axes may be [B,H,T,..]. */
bool cli_layout_in_doubt(const gka_problem *problem, char line[96]);

/* That, as a note above a table. */
void cli_tell_layout(cli *c, const gka_problem *problem);

/* Harmless when nothing is open. */
void cli_problem_close(cli_problem *problem);

#endif
