/* certified_gradient.h - what the double-double pass over one group of heads leaves to MPFR, and
 * where both put their results.
 */
#ifndef GKA_ORACLE_CERTIFIED_GRADIENT_H
#define GKA_ORACLE_CERTIFIED_GRADIENT_H

#include "oracle/certified_head.h"
#include "oracle/gradient_bound.h"

/* What one pass computes: the members of gka_gradients in their order, and what it fills besides at
 * given tensors. */
typedef enum gka_gradient {
    GKA_GRADIENT_DQ,
    GKA_GRADIENT_DK,
    GKA_GRADIENT_DV,
    GKA_GRADIENT_DALPHA,
    GKA_GRADIENT_DG,
    GKA_GRADIENT_DH0,
    GKA_GRADIENT_DU0,
    GKA_GRADIENT_P,
    GKA_GRADIENT_DG_H,
    GKA_GRADIENT_DG_U,
    GKA_GRADIENT_X,
    GKA_GRADIENT_FRO,
    GKA_GRADIENT_O,
    GKA_GRADIENTS
} gka_gradient;

/* What was known before anything was rounded, for tests; also ways to make trouble. */
typedef struct gka_gradient_enclosure {
    gka_outputs hi, lo; /* members of the caller or NULL: double-double's two words, or MPFR's */
    gka_outputs error;  /* a bound for each element; what vanishes by structure is 0 */
    double widen;       /* every bound of double-double times this before it decides; 0: 1 */
    int precision;      /* MPFR's first and last; 0: the usual ones */
    /* From checkpoints (gka_group_resolve); 0: the usual ones. */
    int64_t longest;  /* longer sequences are decided so */
    int64_t spacing;  /* tokens between checkpoints */
    int64_t farthest; /* tokens on either side of what is decided */
    double forget;    /* the bits that the gates are to forget on either side, times this */
    bool coarse;      /* checkpoints are cut to binary64, and their bounds account for it */
} gka_gradient_enclosure;

gka_status gka_certified_gradient_enclose(const gka_problem *problem, gka_of cotangent,
                                          const gka_oracle_options *options, gka_outputs *out,
                                          gka_outputs *lo, const gka_gradient_enclosure *enclosure,
                                          gka_oracle_report *report, gka_error *error);

/* What double-double carries past a place between two tokens: from the left the state, from the
 * right A, E and the excess. Strips of n rows. */
typedef struct gka_carried {
    const double *H, *U, *A, *E;
    int64_t n;
    dd gate,
        excess; /* A and E are yet to be multiplied by the gate, the bounds are of after that */
    gka_state_bound state; /* in units of 2^-106, and so is */
    gka_suffix_bound suffix;
} gka_carried;

typedef struct gka_group gka_group;

/* Fills what comes from one side. False: stop. */
typedef bool gka_group_carried(gka_group *g, int64_t head, int64_t t, bool from_right,
                               gka_carried *carried);

/* The heads h .. h + heads - 1 of sequence n, which share keys and values; tokens [from, to)
 * of its span are at hand. */
struct gka_group {
    gka_run *run;
    const gka_gradient_enclosure *enclosure;
    gka_target target;
    int64_t n, h, heads, D, V; /* V = 0 for the cotangent of x */
    gka_span span;
    int64_t from, to, base; /* results of token t lie at row gka_at - base */
    /* Bits 1 << gka_gradient, [heads, tokens + 1]: what MPFR is to decide of a token; dk and dv
     * with the first head, dh0 and du0 after the last token. */
    uint16_t *needs;
    int64_t stride; /* of needs: at least to - from + 1 */
    int64_t *left;  /* [heads, tokens + 1] how many elements those are; not second words */
    /* Checkpoints, from the right at multiples of `spacing` tokens from the sequence's first on; 0:
     * there are none, MPFR goes over all of the sequence. */
    int64_t spacing;
    gka_group_carried *carried;
    /* MPFR's memory, which only grows (so that none of it stays behind in the heap); gka_free. */
    void *numbers;
    size_t numbers_size;
    /* [heads + 1, D], [heads + 1, V], the last for all heads: 0 where q, k, the cotangent of x and
     * row and column of the states, or the cotangent of o, vanish at all tokens. Then everything
     * that has this coordinate does. */
    unsigned char *rows, *columns;
    gka_head head;     /* for its factor, solve and least eigenvalue */
    bool second_words; /* are wanted of something */
    int64_t elements, in_mpfr, undecided, ties, zeros;
    double bound[GKA_GRADIENTS], largest[GKA_GRADIENTS];
};

/* Fills rows and columns. */
void gka_group_structure(gka_group *g);

/* Its name in gka_gradients. */
const char *gka_gradient_name(gka_gradient tensor);

/* The output that a tensor is; its array, NULL: not wanted. */
int gka_gradient_output(gka_of of, gka_gradient tensor);
double *gka_gradient_member(gka_of of, const gka_outputs *outputs, gka_gradient tensor);

/* Where the row of a token (DH0, DU0: the matrix) lies in its member; *count: its elements. head is
 * counted from the group's first. */
int64_t gka_group_place(const gka_group *g, gka_gradient tensor, int64_t head, int64_t t,
                        int64_t *count);
/* The element vanishes by structure. */
bool gka_group_zero(const gka_group *g, gka_gradient tensor, int64_t head, int64_t element);
uint16_t *gka_group_needs(const gka_group *g, gka_gradient tensor, int64_t head, int64_t t);

/* H before token t as it is given: where a chunk begins. NULL: it is not. */
const double *gka_given_state(const gka_run *run, int64_t n, int64_t t, int64_t h);

/* Decides in MPFR what g->needs asks for. What that leaves undecided, at the last precision or
 * where norms leave the range of binary64, is rounded as it is, and counted. From checkpoints
 * (derivation: certified_gradient_mpfr.c) second words are not to be had, and by windows what lies
 * where the gates do not forget is left to double-double, and counted. */
gka_status gka_group_resolve(gka_group *g, gka_error *error);

#endif
