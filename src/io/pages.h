/* pages.h - a file's bytes in memory, let go of once they have been read. */
#ifndef GKA_IO_PAGES_H
#define GKA_IO_PAGES_H

#include <stdbool.h>
#include <stddef.h>

/* The first `size` > 0 bytes of a file, to read; NULL and errno where it cannot be mapped. Of a
 * file that is written meanwhile, shared says that what is written is seen. */
const void *gka_pages_map(int descriptor, size_t size, bool shared);
void gka_pages_unmap(const void *bytes, size_t size);

/* Takes the pages out of the process's resident set; they come back from the file when they are
 * touched. For mappings of gka_pages_map alone. Where the system has no such call, nothing. */
void gka_pages_forget(const void *bytes, size_t size);

#endif
