/* mp.h - arrays of MPFR numbers in one block of gka_alloc.
 *
 * mpfr_init2 allocates each significand by itself and aborts when it cannot. Here the numbers and
 * all their significands lie in one block, so that a failing allocation is a status like any
 * other. (What MPFR allocates inside a function, e.g. mpfr_exp, for the length of the call stays
 * its own; mpfr_free_cache() at the end of a thread's work gives its constants back.)
 *
 * Such a number takes part in every function except mpfr_clear, mpfr_set_prec, mpfr_prec_round
 * and mpfr_swap with a number made otherwise: nothing may resize or free its significand.
 */
#ifndef GKA_ORACLE_MP_H
#define GKA_ORACLE_MP_H

#include "gka/base.h"

#include <mpfr.h>

/* Bytes of a number with its significand. */
static inline size_t gka_mp_size(mpfr_prec_t precision) {
    return sizeof(mpfr_t) + mpfr_custom_get_size(precision);
}

/* count numbers of `precision` bits, all +0, in memory of count gka_mp_size's; NULL stays NULL. */
static inline mpfr_t *gka_mp_make(void *memory, size_t count, mpfr_prec_t precision) {
    const size_t size = mpfr_custom_get_size(precision);
    mpfr_t *const x = memory;
    if (x == NULL)
        return NULL;
    unsigned char *const significands = (unsigned char *)(x + count);
    for (size_t i = 0; i < count; i++) {
        void *const significand = significands + i * size;
        mpfr_custom_init(significand, precision);
        mpfr_custom_init_set(x[i], MPFR_ZERO_KIND, 0, precision, significand);
    }
    return x;
}

/* The same in memory of their own, freed by gka_free. NULL: out of memory. */
static inline mpfr_t *gka_mp_new(size_t count, mpfr_prec_t precision) {
    return gka_mp_make(gka_alloc(count, gka_mp_size(precision)), count, precision);
}

/* The next count numbers of a block; NULL: only measured. */
static inline mpfr_t *gka_mp_take(mpfr_t *block, size_t *used, int64_t count) {
    mpfr_t *const piece = block == NULL ? NULL : block + *used;
    *used += (size_t)count;
    return piece;
}

static inline void gka_mp_zero(mpfr_t *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        mpfr_set_zero(x[i], 1);
}

/* to [n] = from [n], rounded where to has fewer bits. */
static inline void gka_mp_copy(mpfr_t *to, mpfr_t *from, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        mpfr_set(to[i], from[i], MPFR_RNDN);
}

static inline void gka_mp_read(int64_t n, const double *from, mpfr_t *to) {
    for (int64_t i = 0; i < n; i++)
        mpfr_set_d(to[i], from[i], MPFR_RNDN);
}

/* x as two words: hi = fp64(x), lo = fp64(x - hi), both to nearest even. scratch, of at least x's
 * precision, is overwritten (x - hi is exact in it) and may not be x. lo may be NULL. */
static inline void gka_mp_get(mpfr_srcptr x, mpfr_ptr scratch, double *hi, double *lo) {
    *hi = mpfr_get_d(x, MPFR_RNDN);
    if (lo == NULL)
        return;
    mpfr_sub_d(scratch, x, *hi, MPFR_RNDN);
    *lo = mpfr_get_d(scratch, MPFR_RNDN);
}

#endif
