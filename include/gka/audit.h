/* gka/audit.h - does a golden tell right kernels from wrong ones?
 *
 *   1  gka_audit_member          the panels: kernels that are right, and known mistakes
 *   2  gka_golden_audit          both panels judged by one golden
 *   3  gka_golden_audit_write    the tensors of one member, as a candidate file
 *
 * A golden's tolerances (gka/golden.h) are derived; this shows that they separate. Members of the
 * panel of right kernels are those of src/kernel/panel.c: emulations that differ in their
 * roundings and in the order of their sums. Some of them made the tolerances and pass by
 * construction; the others, which took no part, are independent and are counted apart.
 * Members of the panel of mistakes have one mistake each and are else exact: computed in binary64
 * and rounded once to the stored types, so that nothing but the mistake is seen.
 */
#ifndef GKA_AUDIT_H
#define GKA_AUDIT_H

#include "gka/golden.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1 the panels -------------------------------------------------------------------------- */

typedef struct gka_audit_member {
    const char *name; /* "h100-c32", "omega0" */
    const char *what; /* in a line */
    bool accept;      /* of the panel of right kernels, which comes first */
} gka_audit_member;

GKA_API size_t gka_audit_count(void);
GKA_API gka_audit_member gka_audit_member_at(size_t i);
/* -1: none */
GKA_API int gka_audit_find(const char *name);

/* ---- 2 an audit ---------------------------------------------------------------------------- */

/* One output of the golden. */
typedef struct gka_audit_tensor {
    const char *name;
    double tolerance;             /* NaN: none; then all that follows is NaN, or -1 */
    double accepted;              /* largest error of a right kernel */
    double rejected;              /* smallest error of a mistake that is above the tolerance */
    int accepted_by, rejected_by; /* rows; -1: no member */
    double margin;                /* rejected / accepted */
} gka_audit_tensor;

/* One member. */
typedef struct gka_audit_row {
    gka_audit_member member;
    bool applies;
    /* Why it does not apply, or what was left out: NaN that the hardware gives is no verdict. */
    char note[160];
    int left_out; /* tensors of a right kernel without a verdict, since they are not finite */
    /* One number for each tensor of the golden, to be compared with its tolerance. It is the larger
     * of two: the error by which gka_golden_judge judges the tensor; and its row error, scaled by
     * tolerance / row tolerance. Inf: the tensor is not finite. NaN: it is not judged. */
    double *errors;
    bool good; /* a right kernel passes, or a mistake is caught */
    /* Of a right kernel: it took part in making a tolerance by which it is judged, or is the floor
     * of one, and so passes by construction. One that did not is independent. */
    bool took_part;
    /* How clear that is, and the tensor that says so (-1: none is judged). */
    double slack; /* of a right kernel: the smallest tolerance / error; else NaN */
    double
        margin; /* of a mistake: the largest error / (largest error of a right kernel); else NaN */
    int by;
} gka_audit_row;

typedef struct gka_audit {
    gka_audit_tensor *tensors;
    size_t tensor_count;
    gka_audit_row *rows; /* of every member, in the order of the panels */
    size_t row_count;
    size_t accepts, accepted;         /* right kernels that apply, and those that pass */
    size_t independents, independent; /* ... of these, those that took no part in tolerances */
    size_t left_out;          /* tensors of right kernels that are not finite, by the rows' notes */
    size_t rejects, rejected; /* mistakes that apply, and those that fail */
    double margin;            /* the smallest of the rejected members; below GKA_AUDIT_MARGIN a
                                 member is not told apart. NaN: none applies */
} gka_audit;

/* A mistake is told from roundings where its error is at least this many times the largest error of
 * a right kernel. For comparison: a tolerance lies between 2 and 4 times the largest error of the
 * kernels that it was made from, so an error of 4 times that always fails. */
#define GKA_AUDIT_MARGIN 3

/* Both panels by one golden. progress: unit members; may be NULL. The result is freed by
 * gka_audit_free, also after a failure. GKA_BAD_FILE as gka_golden_judge, and for a golden of one
 * stage. */
GKA_API gka_status gka_golden_audit(const gka_file *golden, const gka_progress *progress,
                                    gka_audit *audit, gka_error *error);
GKA_API void gka_audit_free(gka_audit *audit);

/* ---- 3 one member -------------------------------------------------------------------------- */

/* The member's tensors, in their stored types, as a candidate for gka_golden_judge.
 * GKA_BAD_ARGUMENT for a name that is none; GKA_UNSUPPORTED with its reason where the member does
 * not apply. */
GKA_API gka_status gka_golden_audit_write(const gka_file *golden, const char *member,
                                          const char *path, gka_error *error);

#ifdef __cplusplus
}
#endif
#endif
