/* pages.c - a file's bytes in memory, let go of once they have been read. */
#define _DEFAULT_SOURCE /* madvise: posix_madvise's DONTNEED does nothing in glibc */
#include "io/pages.h"

#include <stdint.h>
#include <sys/mman.h>

const void *gka_pages_map(int descriptor, size_t size, bool shared) {
    void *const bytes =
        mmap(NULL, size, PROT_READ, shared ? MAP_SHARED : MAP_PRIVATE, descriptor, 0);
    return bytes == MAP_FAILED ? NULL : bytes;
}

void gka_pages_unmap(const void *bytes, size_t size) {
    (void)munmap((void *)(uintptr_t)bytes, size);
}

void gka_pages_forget(const void *bytes, size_t size) {
#ifdef MADV_DONTNEED
    (void)madvise((void *)(uintptr_t)bytes, size, MADV_DONTNEED);
#else
    (void)bytes;
    (void)size;
#endif
}
