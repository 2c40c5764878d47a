/* cases.h - kinds of keys and gates on which kernels are compared; the layer's exact results and
 * those of emulated kernels, head by head; files of the hardware.
 */
#ifndef GKA_LAB_CASES_H
#define GKA_LAB_CASES_H

#include "gka/kernel.h"
#include "gka/problem.h"
#include "lab/lab.h"

typedef struct lab_case {
    const char *name;
    gka_keys keys;
    gka_gate gate;
    double a; /* ridge ratio */
    int r;    /* iterations */
} lab_case;

/* Those of tests/data/cuda/errors.csv, in its order. */
enum { LAB_CASES = 9 };
extern const lab_case lab_cases[LAB_CASES];

/* The place of a case by its name, which must be one. */
int lab_case_find(const char *name);

/* Off home ground: the same keys, gates, ridge and iterations, and so the same problem. */
bool lab_case_same(const lab_case *a, const lab_case *b);

enum { LAB_CASE_T = 256, LAB_CASE_D = 128 };

/* B = 1, T = 256, D = V = 128, C = 64, bf16, with alpha and cotangents; head h of a seed is the
 * same for any number of heads. gka_problem_free gives it back. */
gka_status lab_case_problem(const lab_case *c, int64_t heads, uint64_t seed, gka_problem *problem,
                            gka_error *error);

/* What is compared: dk of the solve (cotangent of x); dk and dalpha of the layer (of o). */
enum { LAB_X, LAB_O, LAB_DK, LAB_LAYER_DK, LAB_DALPHA, LAB_ERRORS };

typedef struct lab_layer {
    double *of[LAB_ERRORS]; /* [T,H,D], dalpha [T,H] */
    double *fro, *p;        /* [T,H]; [T,H,D] of the solve */
    double *memory;
} lab_layer;

gka_status lab_layer_take(const gka_problem *problem, lab_layer *layer, gka_error *error);
void lab_layer_drop(lab_layer *layer);

/* By the fp64 oracle. */
gka_status lab_layer_exact(const gka_problem *problem, lab_layer *out, gka_error *error);
/* By the emulated kernels. */
gka_status lab_layer_emulated(const gka_problem *problem, const gka_profile *profile,
                              lab_layer *out, gka_error *error);
/* The storage floor: exact x and p kept in `parts` bf16 parts (1 or 2), then the exact formulas: x
 * and dk of the solve. */
gka_status lab_layer_stored(const gka_problem *problem, const lab_layer *exact, int parts,
                            lab_layer *out, gka_error *error);

/* ||out - exact|| / ||exact|| over head h of one of the five. */
double lab_layer_error(const gka_problem *problem, int which, int64_t h, const lab_layer *out,
                       const lab_layer *exact);

/* Keys of a language model and what may stand for them: keys >= 0, a gka_keys, makes up `heads`
 * heads of D = V = 64 in bf16 with released gates; keys < 0 reads l->file, or the one in
 * tests/data/real, which is left open at *file. */
gka_status lab_head_keys(const lab *l, int keys, int64_t heads, gka_file **file,
                         gka_problem *problem, gka_error *error);

/* The profile of a kernel of chunks by its name (gka/kernel.h), in this form. */
gka_status lab_profile(const char *name, gka_form form, gka_profile *profile, gka_error *error);

enum { LAB_PATH = 1024 };

/* Where a file of the hardware lies. set "small": tests/data/h100; any other ("full", "decode", or
 * "../twoterm"): a folder under released/ of the longer set, whose folder the environment variable
 * GKA_H100_DATA names. False when that is not set. */
bool lab_h100_file(const char *set, const char *name, char path[LAB_PATH]);

#endif
