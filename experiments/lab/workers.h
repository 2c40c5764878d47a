/* workers.h - a struct of arrays for each thread of a parallel loop, in one block of memory. */
#ifndef GKA_LAB_WORKERS_H
#define GKA_LAB_WORKERS_H

#include "gka/base.h"

/* A pointer in the struct, and the bytes that it is to point to. */
typedef struct lab_array {
    size_t at, bytes;
} lab_array;

/* An array of `numbers` doubles. */
#define LAB_NUMBERS(type, member, numbers)                                                         \
    { offsetof(type, member), (size_t)(numbers) * sizeof(double) }

/* gka_threads() structs of `size` bytes, each with arrays of its own, zeroed, 64-byte aligned;
 * freed by gka_free. NULL: GKA_OUT_OF_MEMORY, noted in *error. */
void *lab_workers(size_t size, const lab_array *arrays, size_t count, gka_error *error);

#endif
