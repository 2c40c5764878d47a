/* memory.c - allocation, counted, with a failure on demand. */
#include "gka/base.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

static atomic_int_least64_t live;
static atomic_int_least64_t asked;
static atomic_int_least64_t fail_at = -1;
static atomic_bool fail_all_after;

static bool told_to_fail(void) {
    const int64_t number = atomic_fetch_add(&asked, 1);
    const int64_t at = atomic_load(&fail_at);
    return at >= 0 && (number == at || (number > at && atomic_load(&fail_all_after)));
}

void *gka_alloc(size_t count, size_t size) {
    if (told_to_fail())
        return NULL;
    if (size != 0 && count > (SIZE_MAX - ALIGNMENT) / size)
        return NULL;
    /* Not a byte more than asked for: a sanitizer sees the first one that is read beyond it. */
    const size_t bytes = count * size;
    void *memory;
    if (posix_memalign(&memory, ALIGNMENT, bytes == 0 ? 1 : bytes) != 0)
        return NULL;
    memset(memory, 0, bytes);
    atomic_fetch_add(&live, 1);
    return memory;
}

void gka_free(void *memory) {
    if (memory == NULL)
        return;
    atomic_fetch_sub(&live, 1);
    free(memory);
}

bool gka_product(int count, const int64_t *factors, int64_t most, int64_t *product) {
    int64_t all = 1;
    bool empty = false;
    for (int i = 0; i < count; i++) {
        const int64_t factor = factors[i];
        if (factor < 0 || (factor > 0 && all > most / factor))
            return false;
        empty = empty || factor == 0;
        all *= factor > 0 ? factor : 1;
    }
    *product = empty ? 0 : all;
    return true;
}

char *gka_strdup(const char *text) {
    const size_t bytes = strlen(text) + 1;
    char *const copy = gka_alloc(bytes, 1);
    if (copy != NULL)
        memcpy(copy, text, bytes);
    return copy;
}

int64_t gka_alloc_fail_at(int64_t n, bool all_after) {
    atomic_store(&fail_at, -1);
    atomic_store(&fail_all_after, all_after);
    const int64_t before = atomic_exchange(&asked, 0);
    atomic_store(&fail_at, n);
    return before;
}

int64_t gka_alloc_live(void) {
    return atomic_load(&live);
}
