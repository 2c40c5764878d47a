/* cli.h - what the subcommands of gka share.
 *
 *   1  gka_command              the command as a function; the table of subcommands
 *   2  cli_parse                options and operands, --help
 *   3  cli_fail, cli_report     one line on stderr and the exit code
 *   4  cli_nearest              "did you mean ...?"
 *   5  cli_table                aligned columns
 *   6  cli_progress             a bar on a terminal
 *   7  cli_open                 input files; output as JSON is in cli/json.h
 *   8  cli_kernel, cli_oracle   which kernels are emulated, and which one is exact
 *
 * A subcommand is one file with one function `int cli_NAME(cli *c)`, declared in section 1, and one
 * line of the table in command.c. The command uses the library's public headers only.
 *
 * Memory comes from gka_alloc, so that tests can make each allocation fail. What cli_parse hands
 * out lives until the subcommand has returned.
 */
#ifndef GKA_CLI_CLI_H
#define GKA_CLI_CLI_H

#include "gka/base.h"
#include "gka/chunk.h"
#include "gka/io.h"
#include "gka/kernel.h"

#include <locale.h>
#include <stdio.h>

/* ---- 1 the command ------------------------------------------------------------------------- */

/* Exit codes, of every command. */
enum {
    CLI_GOOD = 0,    /* everything within tolerance, or merely measured */
    CLI_FAILS = 1,   /* a tensor, or a claim, fails */
    CLI_USAGE = 2,   /* usage or bad input: one line on stderr */
    CLI_INTERNAL = 3 /* out of memory, or a defect of this program: one line on stderr */
};

/* Runs `argv[1] argv[2] ...` and returns the exit code. Writes to out and err only; installs no
 * handler and never exits, so that tests can call it in process. */
int gka_command(int argc, const char *const *argv, FILE *out, FILE *err);

typedef struct cli cli;

int cli_attribute(cli *c);
int cli_audit(cli *c);
int cli_completion(cli *c);
int cli_compare(cli *c);
int cli_condition(cli *c);
int cli_devices(cli *c);
int cli_formats(cli *c);
int cli_golden(cli *c);
int cli_judge(cli *c);
int cli_show(cli *c);
int cli_make(cli *c);
int cli_solve(cli *c);
int cli_spectrum(cli *c);
int cli_verify(cli *c);

/* ---- 2 options ----------------------------------------------------------------------------- */

typedef enum cli_kind {
    CLI_END,    /* ends a table */
    CLI_FLAG,   /* bool: --name */
    CLI_TEXT,   /* const char *: --name=TEXT */
    CLI_IN,     /* the same, a file or folder that is read, as operands are */
    CLI_OUT,    /* the same, a file that is written: none that is read, and none twice */
    CLI_TEXTS,  /* cli_texts: every one given, in order */
    CLI_INT,    /* int64_t in [low, high] */
    CLI_REAL,   /* double, finite, in [low, high] */
    CLI_CHOICE, /* int: the place of the word in choices, "fp64|certified|mpfr" */
    CLI_GROUP   /* another table, at group, under the heading `help` */
} cli_kind;

typedef struct cli_texts {
    char **text; /* the subcommand may cut them up */
    size_t count;
} cli_texts;

typedef struct cli_option {
    const char *name; /* without the two dashes */
    char letter;      /* -x, or 0 */
    cli_kind kind;
    void *target;      /* holds the default before, the value after */
    const char *value; /* what the help calls the value: "FILE", "N"; NULL: its choices, if any */
    const char *help;
    const char *choices;
    double low, high; /* both 0: any */
    const struct cli_option *group;
    const char *bare; /* what --name without a value stands for; NULL: it needs one */
} cli_option;

typedef struct cli_help {
    const char *operands; /* "FILE..."; NULL: none */
    const char *notes;    /* printed below the options; may be NULL */
    int least, most;      /* how many operands; most < 0: any number */
} cli_help;

/* Reads the options into their targets and the operands into c. An option given twice is refused,
 * unless it is a list (CLI_TEXTS). True to go on; otherwise the subcommand returns *code at once
 * (the help was printed, or a line on stderr). */
bool cli_parse(cli *c, const cli_help *help, const cli_option *options, int *code);

/* Keeps memory (from gka_alloc) until the subcommand has returned; NULL, and memory freed, on
 * failure. */
void *cli_keep(cli *c, void *memory);

/* An option that would have no effect is refused, never passed over. Whether the command line has
 * the option of that name: */
bool cli_given(const cli *c, const char *name);
/* CLI_GOOD where it has none of these names (NULL ends them); else prints "--NAME has no meaning
 * WHY" and returns CLI_USAGE. */
int cli_refuse(cli *c, const char *why, const char *const *names);

/* The state of one call of the command. */
struct cli {
    const char *name; /* the subcommand */
    const char *summary;
    FILE *out, *err;
    const char *const *operands;
    int operand_count;
    /* private */
    int argc;
    const char *const *argv;    /* argv[0] is the subcommand's name */
    struct cli_chunk *texts;    /* what cli_parse handed out */
    const cli_option **options; /* every one that there is */
    bool *given;                /* on the command line */
    size_t option_count;
    /* cli_parse calls this instead of reading the command line (completion.c); may be NULL */
    void (*describe)(cli *c, const cli_help *help);
};

/* ---- 3 failure ----------------------------------------------------------------------------- */

/* Prints "gka NAME: ..." as one line on stderr and returns CLI_USAGE. */
int cli_fail(cli *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints error's line and returns the exit code of its status. */
int cli_report(cli *c, const gka_error *error);

/* CLI_INTERNAL with "out of memory". */
int cli_out_of_memory(cli *c);

/* Numbers have a decimal point, whatever setlocale has set in a program that calls this: the
 * thread's locale until cli_own_locale gives back what was there. */
locale_t cli_plain_locale(void);
void cli_own_locale(locale_t before);

/* ---- 4 nearest name ------------------------------------------------------------------------ */

/* The name tried that is fewest slips (a letter more, less, other, or two swapped) from a word. */
typedef struct cli_nearest {
    const char *word;
    int slips;
    char name[64]; /* "": none is near */
} cli_nearest;

cli_nearest cli_nearest_to(const char *word);
void cli_nearest_try(cli_nearest *nearest, const char *name);
/* " (did you mean NAME?)" or "", in text. */
const char *cli_nearest_hint(const cli_nearest *nearest, char text[96]);

/* ---- 5 tables ------------------------------------------------------------------------------ */

/* Text that came from outside (names in files, paths, metadata), so that it stays one line and
 * commands no terminal: control characters, C1's in UTF-8 too, and bytes that are no UTF-8 become
 * "\\x1b". cli_cell does so to every cell; cli_say is fprintf for a line of such text, its own end
 * of line last. */
void cli_plain(char *plain, size_t room, const char *text);
void cli_put_plain(FILE *out, const char *text);
void cli_say(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Aligned columns, two spaces apart. A heading that begins with '<' is set flush left, others
 * flush right. Columns for which a line of CLI_WIDTH characters has no room follow below, behind
 * those that name a row. Fill row by row with cli_cell; a failing allocation is kept until
 * cli_table_print.
 */
enum { CLI_WIDTH = 100 };
typedef struct cli_table {
    int columns;
    int keys; /* how many columns at the left name a row (1) */
    const char *const *headings;
    char **cells;
    size_t count, room;
    bool failed;
} cli_table;

void cli_table_start(cli_table *table, const char *const *headings, int columns);
void cli_cell(cli_table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A number as "2.55e-03"; "0", "NaN", "Inf", "-Inf" as such. */
void cli_cell_real(cli_table *table, double x);
/* A number by a format of one double, "%.2f"; "-" for NaN, "Inf", "-Inf". */
void cli_cell_number(cli_table *table, const char *format, double x);
/* ... NaN as "-": there is none. */
void cli_cell_real_or_dash(cli_table *table, double x);
/* Prints and frees. Returns GKA_OK or GKA_OUT_OF_MEMORY. */
gka_status cli_table_print(cli_table *table, FILE *out);
/* Frees without printing. */
void cli_table_drop(cli_table *table);

/* ---- 6 progress ---------------------------------------------------------------------------- */

/* A bar on stderr when that is a terminal, once half a second has passed; nothing otherwise. */
typedef struct cli_progress {
    FILE *err;
    const char *label;
    double start, shown; /* seconds */
    bool visible;
} cli_progress;

/* The callback for a library call's options; label (a file name, shown without its folders) must
 * outlive it. */
gka_progress cli_progress_start(cli_progress *progress, cli *c, const char *label);
/* Wipes the bar. */
void cli_progress_end(cli_progress *progress);
/* What a signal that ends the process says: what is kept of the work under way. NULL: nothing. */
extern const char *volatile cli_last_words;

/* ---- 7 input files ------------------------------------------------------------------------- */

/* gka_file_open, and for a name that does not exist the one that was probably meant. Returns
 * CLI_GOOD or prints and returns the exit code. */
int cli_open(cli *c, const char *path, gka_file **file);

bool cli_is_folder(const char *path);

/* Cuts FILE:PATTERN behind the longest FILE that is there. False: none is, and the text stays. */
bool cli_cut_to_file(char *text);

/* Whether writing `out` would replace the file `in` (FILE, FILE:PATTERN), or a golden, a candidate
 * or the index of the folder `in`. */
bool cli_would_replace(const char *out, const char *in);

/* What a library call that may have read JSON came to: jansson's parser can pass over a failed
 * allocation, so its success is looked at twice. Prints and returns the exit code unless good. */
int cli_outcome(cli *c, gka_status status, const gka_error *error);

/* ---- 8 kernels by name (gka/kernel.h) ------------------------------------------------------ */

/* The forms of the iteration, in the order of gka_form, for a CLI_CHOICE. */
#define CLI_FORMS "three-term|two-term|cg|cg-consistent"

/* gka_kernel_find (with the name that was probably meant), the form (-1: as the name has it), and
 * then every setting in order. Returns CLI_GOOD or prints and returns the exit code. */
int cli_kernel(cli *c, const char *name, int form, const cli_texts *settings, gka_kernel *kernel);
/* A kernel of --oracle: certified, fp64, mpfr or mpfr/BITS. */
int cli_oracle(cli *c, const char *name, gka_kernel *kernel);
/* Refuses a kernel on a device whose rule is unchecked without the option --unchecked, and that
 * option where no kernel is on one. Prints and returns the exit code, or CLI_GOOD. */
int cli_kernels_checked(cli *c, const gka_kernel *kernels, size_t count);
#define CLI_UNCHECKED                                                                              \
    {                                                                                              \
        "unchecked", 0, CLI_FLAG, NULL,                                                            \
            .help =                                                                                \
                "take a device whose rule was compared with nothing outside this project (gka "    \
                "devices)"                                                                         \
    }

#endif
