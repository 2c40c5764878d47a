/* audit.h - what the panels are made of (gka/audit.h).
 *
 *   audit_case       the golden's problem, its outputs, their right values
 *   audit_copy       a problem in doubles of its own, to be changed
 *   gka_audit_states     H and U before each piece of a sequence, by the recurrence
 *   gka_audit_right, gka_audit_wrong    the panels: name, what, function
 */
#ifndef GKA_AUDIT_AUDIT_H
#define GKA_AUDIT_AUDIT_H

#include "gka/audit.h"
#include "golden/golden.h"

/* ---- cases and members --------------------------------------------------------------------- */

enum { AUDIT_NOTE = 160 };

typedef struct audit_case {
    const gka_problem *problem;
    unsigned wanted;          /* the golden's outputs and what those are judged at */
    const gka_outputs *right; /* all of `wanted`: exact64, not rounded */
    const gka_outputs *exact; /* the golden's outputs by the oracle */
} audit_case;

typedef struct audit_member audit_member;

/* Fills `out` (allocating what it fills; some of `wanted` may stay NULL) with values not yet
 * rounded to their stored types. A member that does not apply leaves all of `out` NULL and its
 * reason in note. */
typedef gka_status audit_run(const audit_case *c, const audit_member *member, gka_outputs *out,
                             char note[AUDIT_NOTE], gka_error *error);

typedef struct audit_copy audit_copy;

/* Changes a copy of the problem; false: there is nothing to change. */
typedef bool audit_change(const audit_case *c, const audit_member *member, audit_copy *copy);

struct audit_member {
    gka_audit_member is;
    audit_run *run;
    audit_change *change;          /* of the problem; */
    const char *unless;            /* ... what to say where it cannot be made */
    const gka_right_kernel *right; /* of the panel of right kernels */
    /* of the panel of mistakes */
    const char *kernel; /* in the grammar of gka/kernel.h */
    int parameter;
    double factor;
};

/* The panels, right before wrong. */
audit_member gka_audit_right(size_t i);
extern const audit_member gka_audit_wrong[];
extern const size_t gka_audit_wrong_count;
audit_member gka_audit_panel_at(size_t i);
size_t gka_audit_panel_count(void);
audit_run gka_audit_run_right;

/* Whether a right kernel took part in making the tolerance of an output in `judged` (bits). */
bool gka_audit_took_part(const golden_reference *golden, unsigned judged,
                         const gka_right_kernel *right);

/* ---- what members are made of -------------------------------------------------------------- */

gka_status gka_audit_does_not_apply(char note[AUDIT_NOTE], const char *why);
gka_profile gka_audit_exact64(void);
/* out.of[i] of `which` as the right values are. */
gka_status gka_audit_copy_right(const audit_case *c, unsigned which, gka_outputs *out,
                                gka_error *error);
/* Whatever is still missing, by the exact formulas at out's own x f and dq; what has no upstream
 * tensors, as it is right. */
gka_status gka_audit_follow(const audit_case *c, gka_outputs *out, gka_error *error);
/* Everything of a problem that differs from the case's in its inputs alone. */
gka_status gka_audit_run_problem(const audit_case *c, const gka_problem *problem, gka_outputs *out,
                                 gka_error *error);

/* ---- a problem to change ------------------------------------------------------------------- */

/* Row-major, in the host's byte order until gka_audit_seal. */
struct audit_copy {
    gka_problem problem; /* its views are of F64 */
    double *q, *k, *v, *alpha, *g, *h0, *u0, *dout, *dx, *dh_final, *du_final; /* NULL: absent */
    double *memory;
    size_t count; /* doubles in memory */
    int64_t *bounds;
};

/* How a copy differs in shape; zeros: not at all. */
typedef struct audit_shape {
    /* Its tokens: B = 1, T = tokens, token i being token from[i] of the original counted over
     * batch rows (NULL: i), cut into N sequences at bounds [N+1]. */
    int64_t tokens, N;
    const int64_t *from, *bounds;
    const int64_t *group; /* [H]: G = H, and query head h reads what key/value head group[h] was */
    bool states;          /* h0 and u0, zero where the original has none */
} audit_shape;

gka_status gka_audit_copy_make(const gka_problem *from, const audit_shape *shape, audit_copy *copy,
                               gka_error *error);
/* dh_final and du_final of the original's sequence n become those of the copy's sequence `to`. */
void gka_audit_copy_ends(const gka_problem *from, int64_t n, int64_t to, audit_copy *copy);
/* To little-endian: from here on the problem can be read and the arrays cannot. */
void gka_audit_seal(audit_copy *copy);
void gka_audit_copy_free(audit_copy *copy);

/* ---- pieces of sequences ------------------------------------------------------------------- */

/* Sequences cut into their chunks: piece i is tokens [bounds[i], bounds[i+1]), counted over batch
 * rows, of sequence sequence[i]. */
typedef struct audit_pieces {
    int64_t count;
    int64_t *bounds, *sequence;
} audit_pieces;

gka_status gka_audit_pieces_make(const gka_problem *problem, audit_pieces *pieces,
                                 gka_error *error);
void gka_audit_pieces_free(audit_pieces *pieces);

/* What the recurrence of the states does wrong. */
typedef enum audit_carry {
    AUDIT_CARRY_RIGHT,
    AUDIT_CARRY_EXP2, /* gamma = 2^g */
    AUDIT_CARRY_LEAK  /* a sequence begins with the final state of the one before */
} audit_carry;

/* H [pieces,H,D,D] and U [pieces,H,D,V] before each piece, h_final [N,H,D,D] and u_final [N,H,D,V];
 * any may be NULL, and pieces where H and U are. */
gka_status gka_audit_states(const gka_problem *problem, const audit_pieces *pieces,
                            audit_carry carry, double *H, double *U, double *h_final,
                            double *u_final, gka_error *error);

#endif
