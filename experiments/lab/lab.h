/* lab.h - what the experiments share: sizes, tables that survive an interruption, verdicts.
 *
 *   1  lab_experiment           one question: a name, its tables, run, judge
 *   2  lab_unit, lab_row        a table is made of units; a finished unit is never computed again
 *   3  lab_stats                numbers for a verdict, taken from the tables
 *   4  lab_claim                a claim, its verdict, and the inequality it rests on
 *   5  lab_keys, lab_gate       other keys than an experiment chose: off home ground
 *
 * An experiment runs in two steps. `run` fills tables unit by unit (a unit: one seed, one solver,
 * one case ...); `judge` reads the finished tables and states verdicts, so that every verdict rests
 * on numbers that lie in a file. Experiments use the public headers only.
 */
#ifndef GKA_LAB_H
#define GKA_LAB_H

#include "gka/base.h"
#include "gka/problem.h"

/* ---- 1 an experiment ----------------------------------------------------------------------- */

typedef enum lab_size {
    LAB_CLAIM, /* seconds: the ctest claim_NN */
    LAB_QUICK, /* under a minute on two cores: scripts/reproduce */
    LAB_FULL   /* the paper's sizes */
} lab_size;

enum { LAB_TABLES = 8 };

typedef struct lab lab;

enum { LAB_NO_KEYS = 1, LAB_NO_GATE = 2, LAB_NO_SEED = 4 };

typedef struct lab_experiment {
    const char *name;     /* "03_kalman": the folder */
    const char *program;  /* what its lines on stderr begin with; NULL: "exp_NAME" */
    const char *question; /* one line */
    /* Tables: file name, heading line "column,column,..." ; ends with {NULL, NULL}. */
    struct {
        const char *file, *heading;
    } tables[LAB_TABLES];
    gka_status (*run)(lab *l, gka_error *error);
    gka_status (*judge)(lab *l, gka_error *error);
    enum {
        LAB_NO_FILE,      /* --file and --keys real are refused */
        LAB_FILE_IS_OWN,  /* the experiment reads --file itself */
        LAB_FILE_IS_KEYS, /* see section 5 */
        LAB_FILE_IS_BOTH  /* --file as the first, --keys real as the second */
    } file;
    unsigned refuses; /* options without effect here: LAB_NO_KEYS ... */
} lab_experiment;

/* The main function of every experiment:
 *   exp_NN_name [--size claim|quick|full] [--seed N] [--file FILE] [--keys KIND] [--gate KIND]
 *               [--out DIR]
 * FILE: a safetensors file of one's own, for the experiments that say what they do with it. Tables,
 * verdicts and parameters go to DIR (default out/NN_name). Under mpirun the units are shared among
 * the processes (lab/ranks.h), and come out as from one. Returns 0; 1 when an inequality of a claim
 * fails; 2 for usage; 3 for anything else. */
int lab_main(int argc, char **argv, const lab_experiment *experiment);

struct lab {
    const lab_experiment *experiment;
    lab_size size;
    uint64_t seed;    /* the first of the seeds an experiment counts up from */
    const char *file; /* --file; NULL: none */
    const char *out;
    double units_total; /* set by run before its first unit, for the progress line */
    double weight;      /* how many of these the unit at work counts for; 1 until run says so */
    struct lab_state *state;
};

/* The value for this size. */
static inline int64_t lab_pick(const lab *l, int64_t claim, int64_t quick, int64_t full) {
    return l->size == LAB_CLAIM ? claim : l->size == LAB_QUICK ? quick : full;
}

/* The same for a number of heads, sequences or seeds, over which a verdict takes its median: off
 * home ground (section 5) the full size has a quarter of them, and no fewer than the quick one. */
int64_t lab_many(const lab *l, int64_t claim, int64_t quick, int64_t full);

/* ---- 2 tables ------------------------------------------------------------------------------ */

/* Begins the unit `key` of table number `table`. True: compute it and lab_row its rows; false: an
 * earlier, interrupted run of the same size and seed finished it. A key names the unit's case
 * completely. */
bool lab_unit(lab *l, int table, const char *key, ...) __attribute__((format(printf, 3, 4)));

/* FNV-1a of a key, from LAB_HASH or from the hash of what stands before it: a short name for a key
 * that is too long for a file's. */
#define LAB_HASH UINT64_C(14695981039346656037)
uint64_t lab_hash(uint64_t hash, const char *key);

/* One row of the unit, "%.9g" for numbers; the fields of the table's heading, comma separated. */
void lab_row(lab *l, const char *row, ...) __attribute__((format(printf, 2, 3)));

/* Off home ground two cases of an experiment may be one problem. Adds the rows of the table for
 * which `where` holds (as lab_stats_of) to the unit, with `value` in the place of the first column
 * that it names. False where the table has none (another process computes them), and adds nothing.
 */
bool lab_again(lab *l, int table, const char *value, const char *where, ...)
    __attribute__((format(printf, 4, 5)));

/* Keeps the unit (renamed into place as a whole) and reports progress. GKA_INTERRUPTED on Ctrl-C.
 */
gka_status lab_unit_end(lab *l, gka_error *error);

/* ---- 3 numbers from the tables ------------------------------------------------------------- */

typedef struct lab_stats {
    int64_t count; /* finite values */
    int64_t nonfinite;
    double min, median, max, mean;
} lab_stats;

/* The column of all rows of a table for which "column=value,column=value" holds ("": every row);
 * values are compared as texts. */
lab_stats lab_stats_of(lab *l, int table, const char *column, const char *where, ...)
    __attribute__((format(printf, 4, 5)));

/* Sorts them; NaN of none. None may be NaN. */
double lab_median(int64_t count, double *values);

/* ---- 4 verdicts ---------------------------------------------------------------------------- */

typedef enum lab_verdict { LAB_REPRODUCED, LAB_REFUTED, LAB_QUALIFIED } lab_verdict;

/* States a claim and what was found: `found` carries the numbers, the seeds and their spread.
 * `holds` is the inequality on which the verdict rests; false makes the experiment (and its ctest)
 * fail. */
void lab_claim(lab *l, const char *claim, lab_verdict verdict, bool holds, const char *found, ...)
    __attribute__((format(printf, 5, 6)));

/* ---- 5 off home ground --------------------------------------------------------------------- */

/* An experiment's keys and gates are its home ground. With --keys KIND or --gate KIND all keys that
 * it makes up, all gates that it draws, are of that kind instead: its tables and claims keep their
 * names, and a claim that fails then holds at home alone. These return the kind to use.
 *
 * --keys real takes keys, queries and values from tests/data/real, heads of a language model, and
 * --file FILE from FILE, for the experiments that say so (file = LAB_FILE_IS_KEYS): gates, alpha,
 * cotangents and parameters stay those of the experiment. lab_D and lab_T then return the head size
 * of the file, and at most its number of tokens. */
gka_keys lab_keys(gka_keys home);
gka_gate lab_gate(gka_gate home);
bool lab_at_home(void);
bool lab_real(void); /* keys are a file's */
int64_t lab_D(int64_t home);
int64_t lab_T(int64_t home);

/* gka_problem_generate, and then the keys of the file in the place of those made up: head b H + h +
 * seed - 1 of the file, counted around, for head h of row b. Where the generator is plain a key has
 * length 1. The generator's D must be lab_D's; beyond the file's last token it begins again. */
gka_status lab_generate(const gka_generator *generator, gka_problem *problem, gka_error *error);

#endif
