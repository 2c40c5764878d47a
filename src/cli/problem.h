/* problem.h - the problem a command works on: from a file, or made up; the options all share.
 *
 *     cli_problem p;
 *     cli_problem_start(&p);
 *     options: {.kind = CLI_GROUP, .group = p.options, .help = "Problem, without FILE:"}
 *     code = cli_problem_open(c, &p, c->operand_count > 0 ? c->operands[0] : NULL);
 *     ... p.problem ...
 *     cli_problem_close(&p);
 */
#ifndef GKA_CLI_PROBLEM_H
#define GKA_CLI_PROBLEM_H

#include "cli/cli.h"
#include "gka/problem.h"

typedef struct cli_problem {
    cli_option options[19];
    gka_file *file; /* NULL: made up */
    gka_problem problem;
    gka_defaults defaults; /* of the file */
    /* private: what the options say; -1 or NaN: nothing */
    int keys, gate, dtype;
    int64_t extents[6]; /* B T H G D V */
    int64_t pairs, seed, num_iter, chunk_size;
    double ridge_ratio, scale;
    bool plain, no_alpha, h0;
} cli_problem;

/* Sets the options up; *problem must stay where it is until the command line has been read. */
void cli_problem_start(cli_problem *problem);

/* Opens path, or with NULL makes a problem up. --ridge, --iters, --chunk and --scale
 * replace the file's parameters; the other options together with a file are a mistake. Made-up
 * problems have cotangents. Returns CLI_GOOD or prints and returns the exit code. */
int cli_problem_open(cli *c, cli_problem *problem, const char *path);

/* Whether --ridge, --iters, --chunk or --scale was given. */
bool cli_problem_changed(const cli_problem *problem);

/* Harmless when nothing is open. */
void cli_problem_close(cli_problem *problem);

#endif
