/* draw.h - random numbers as a function of place: (seed, what) is the key, four indices the
 * counter, so that any element of any tensor can be drawn alone and in any order.
 *
 *     w = Philox4x64-10(counter (i0, i1, i2, i3), key (seed, what))
 *     uniform = (floor(w_0 / 2^12) + 1/2) 2^-52, in (0, 1)
 *     normal  = sqrt(-2 ln uniform) cos(2 pi floor(w_1 / 2^11) 2^-53)      (Box and Muller, 1958)
 *
 * with every operation rounded to nearest double, ln and cos too: |normal| <= 8.6.
 */
#ifndef GKA_PROBLEM_DRAW_H
#define GKA_PROBLEM_DRAW_H

#include <stdint.h>

/* What is drawn. The numbers are part of the definition of every made-up problem. */
typedef enum gka_draw {
    GKA_DRAW_Q = 1,       /* (b, t, h, d) */
    GKA_DRAW_K = 2,       /* (b, t, g, d); lowrank: its coefficients */
    GKA_DRAW_V = 3,       /* (b, t, g, d) */
    GKA_DRAW_ALPHA = 4,   /* (b, t, h, 0) */
    GKA_DRAW_BETA = 5,    /* (b, t, g, 0) */
    GKA_DRAW_GATE = 6,    /* (b, t, h, 0) */
    GKA_DRAW_RATE = 7,    /* (0, 0, h, 0)  A of a head */
    GKA_DRAW_STEP = 8,    /* (0, 0, h, 0)  dt of a head */
    GKA_DRAW_MAP = 9,     /* (0, i, g, d)  rotation, basis or repeated key of a head; the mean of
                             keys (0, 0, g, d), queries (1, 0, h, d), values (2, 0, g, d) */
    GKA_DRAW_NOISE = 10,  /* (b, t, g, d) */
    GKA_DRAW_CHOICE = 11, /* (b, t, h, 0)  which pair is asked for */
    GKA_DRAW_DOUT = 12,   /* (b, t, h, d) */
    GKA_DRAW_DX = 13,     /* (b, t, h, d) */
    GKA_DRAW_H0 = 14,     /* (n, j, h, d)  keys of an initial state */
    GKA_DRAW_U0 = 15,     /* (n, j, h, d)  and its values */
    GKA_DRAW_DH = 16,     /* (n, i, h, j)  cotangents of the final states */
    GKA_DRAW_DU = 17,     /* (n, i, h, j) */
    GKA_DRAW_CONV = 18, /* (0, i, g, d) tap i for keys, (1, i, h, d) queries, (2, i, g, d) values */
    GKA_DRAW_SPREAD = 19 /* (0, 0, h, 0)  how much the gate of a head moves */
} gka_draw;

double gka_draw_uniform(uint64_t seed, gka_draw what, int64_t i0, int64_t i1, int64_t i2,
                        int64_t i3);
double gka_draw_normal(uint64_t seed, gka_draw what, int64_t i0, int64_t i1, int64_t i2,
                       int64_t i3);

#endif
