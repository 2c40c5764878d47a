/* workers.c - a struct of arrays for each thread (see workers.h). */
#include "lab/workers.h"

#include <string.h>

static size_t rounded(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

void *lab_workers(size_t size, const lab_array *arrays, size_t count, gka_error *error) {
    const size_t threads = (size_t)gka_threads(), head = rounded(threads * size);
    size_t own = 0;
    for (size_t i = 0; i < count; i++)
        own += rounded(arrays[i].bytes);
    char *const memory = gka_alloc(head + threads * own, 1);
    if (memory == NULL) {
        (void)gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
        return NULL;
    }
    char *at = memory + head;
    for (size_t worker = 0; worker < threads; worker++)
        for (size_t i = 0; i < count; i++) {
            void *const array = at;
            memcpy(memory + worker * size + arrays[i].at, &array, sizeof array);
            at += rounded(arrays[i].bytes);
        }
    return memory;
}
