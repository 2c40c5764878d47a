/* spool.h - arrays of doubles on the disk, for what does not fit in memory. */
#ifndef GKA_GOLDEN_SPOOL_H
#define GKA_GOLDEN_SPOOL_H

#include "gka/base.h"

#include <stdio.h>

/* One file without a name (gka_spool_open), cut into arrays that are written and read in any order,
 * in this machine's byte order. */
typedef struct golden_spool {
    FILE *file;
    int64_t taken; /* doubles */
} golden_spool;

gka_status gka_golden_spool_open(const char *path, golden_spool *spool, gka_error *error);
void gka_golden_spool_close(golden_spool *spool);

/* Where an array of count doubles begins; what was never written reads as an error. */
int64_t gka_golden_spool_take(golden_spool *spool, int64_t count);
gka_status gka_golden_spool_put(const golden_spool *spool, int64_t at, int64_t count,
                                const double *values, gka_error *error);
gka_status gka_golden_spool_get(const golden_spool *spool, int64_t at, int64_t count,
                                double *values, gka_error *error);
/* The same of bytes, from byte `at` on. */
gka_status gka_golden_spool_put_bytes(const golden_spool *spool, int64_t at, size_t size,
                                      const void *bytes, gka_error *error);
gka_status gka_golden_spool_get_bytes(const golden_spool *spool, int64_t at, size_t size,
                                      void *bytes, gka_error *error);

#endif
