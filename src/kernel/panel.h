/* panel.h - THE panel of right kernels: kernels that compute the layer as it should be, and differ
 * in their roundings, in the order of their sums and in their form.
 *
 *   gka_right_kernels     the table: each with its name, and in which tolerances it takes part
 *   gka_panels_of         the panels that make tolerances for an input type, in the order tried
 *   gka_panel_takes       whether a kernel takes part in one of them, for a problem
 *   gka_right_kernel_find a row, or the panel itself, made into a kernel (gka/kernel.h)
 *
 * Whoever needs to know what a right kernel is reads this table: golden/generate.c makes the
 * tolerances against NAME.steps from it, golden/references.c those against NAME.exact, and the
 * panel of right kernels of room audit is all of it. A kernel that took part in making a tolerance
 * passes it by construction; one that did not is independent, and the audit counts the two apart.
 * To add a right kernel, add a row that takes part in nothing: the bytes of goldens stay. */
#ifndef GKA_KERNEL_PANEL_H
#define GKA_KERNEL_PANEL_H

#include "gka/kernel.h"

/* The panels of which a tolerance is made. What a kernel's own roundings come to is, for bf16, the
 * h100's. What that cannot run, and outputs where it gives NaN (an empty state; the ungated dk of a
 * ragged end): binary32 with every rounding point of the kernels. fp16: the same, every point
 * rounding to fp16, and with the norm in binary32 where it overflows in fp16; and where more
 * overflows, 2^-3 of what bf16 comes to, for to first order an error is linear in the unit
 * roundoff, 2^-11 in place of 2^-8, but for operands cut to tf32, which has 2^-10 in both. fp32:
 * binary32, by chunks and token by token. All with the right sign of dh0 and dh_final, which the
 * released kernels do not have (NUMERICS 5): read their way, a dh_final would make every gradient
 * wrong. */
typedef enum gka_panel_kind {
    GKA_PANEL_H100,
    GKA_PANEL_POINTS,         /* binary32 with every rounding point */
    GKA_PANEL_BINARY32,       /* ... with none */
    GKA_PANEL_TF32,           /* of fp16 that overflows, beside the points: what tf32 rounds */
    GKA_PANEL_CONVERGED,      /* against NAME.exact, of 16-bit inputs */
    GKA_PANEL_CONVERGED32,    /* ... of others */
    GKA_PANEL_MESA,           /* of a constant ridge */
    GKA_PANEL_MESA_CONVERGED, /* ... against NAME.exact */
    GKA_PANEL_KINDS
} gka_panel_kind;

/* When a kernel takes part in a panel. */
typedef enum gka_takes {
    GKA_TAKES_NO,
    GKA_TAKES_FLOOR, /* its values, rounded once, are the floor of the tolerance */
    GKA_TAKES_ALL,   /* always; one with a chunk size: if gka_panel_chunks lists that */
    GKA_TAKES_F,     /* with fro alone; with few pairs, with all */
    GKA_TAKES_FEW,   /* with few pairs (gka_panel_few_pairs) */
    GKA_TAKES_TOKEN  /* where every sequence has one token */
} gka_takes;

/* How many steps a kernel makes. */
typedef enum gka_right_steps {
    GKA_STEPS_ASKED,    /* num_iter */
    GKA_STEPS_RIDGE,    /* until binary32 cannot tell: from the ridge ratio */
    GKA_STEPS_DIMENSION /* more than conjugate gradients need: from D */
} gka_right_steps;

typedef struct gka_right_kernel {
    const char *name;   /* "h100-c32", of the audit */
    const char *kernel; /* in the grammar of gka/kernel.h */
    int64_t chunk;      /* its chunk size; 0: the problem's */
    gka_right_steps steps;
    gka_takes takes[GKA_PANEL_KINDS];
    const char *said; /* in a golden's panel_kernels; NULL: nothing */
    const char *what; /* in a line */
} gka_right_kernel;

extern const gka_right_kernel gka_right_kernels[];
extern const size_t gka_right_kernel_count; /* of Gated KalmaNet */
extern const size_t gka_panel_row_count;    /* all rows: behind those, MesaNet's */

/* One panel: the rows that take part in its kind, each with `settings` more. */
typedef struct gka_panel {
    const char *said; /* how a golden's panel_kernels begins */
    gka_panel_kind kind;
    const char *kernel, *settings[2]; /* which can run if this kernel can */
} gka_panel;

/* What they come to is the error of the outputs that those before left open. Ends with kernel NULL.
 */
const gka_panel *gka_panels_of(const gka_problem *problem);
/* Of fp16 that overflows: 2^-3 of the first's error, but the whole of the second's. */
extern const gka_panel gka_panel_overflow[2];
/* The panel whose `said` a golden's panel_kernels begins with; NULL: none. */
const gka_panel *gka_panel_find(const char *panel_kernels);

/* GKA_TAKES_NO, GKA_TAKES_FLOOR, GKA_TAKES_F (with fro alone) or GKA_TAKES_ALL. */
gka_takes gka_panel_takes(gka_panel_kind kind, const gka_right_kernel *right,
                          const gka_problem *problem);

/* The chunk sizes of the panels beside the problem's own: 16, 32, 64, 128, up to the first that
 * holds the longest sequence, for all beyond give the same bits. Ends with 0. */
const int64_t *gka_panel_chunks(const gka_problem *problem, int64_t chunks[5]);

/* Whether an error is the luck of a few roundings, and kernels that sum alike have it alike (the
 * relative spread of an error over n pairs of token and head is about 1/sqrt(2 n)): n < 256. */
bool gka_panel_few_pairs(const gka_problem *problem);

/* The least r with 1/T_(r+1)(1 + 2a) <= u; a: the ridge ratio. */
double gka_steps_to(double a, double u);

/* right->kernel, or panel->kernel where right is NULL, as a right kernel for this problem: with the
 * panel's settings (panel may be NULL), in the inputs' type, with the right sign of dh0, with its
 * number of steps, and with gates that are 0 in binary32 taken as that, since a sum of log gates
 * loses the later ones behind such a one. GKA_UNSUPPORTED where too many steps would be needed. */
gka_status gka_right_kernel_find(const gka_panel *panel, const gka_right_kernel *right,
                                 const gka_problem *problem, gka_kernel *kernel, gka_error *error);

#endif
