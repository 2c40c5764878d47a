/* bytes.h - numbers as little-endian bytes at any address, on a host of any byte order. */
#ifndef GKA_IO_BYTES_H
#define GKA_IO_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* Compilers make one load of this wherever size is a constant and the host is little-endian. */
static inline uint64_t gka_load_le(const void *bytes, size_t size) {
    const unsigned char *const b = bytes;
    uint64_t x = 0;
    for (size_t i = 0; i < size; i++)
        x |= (uint64_t)b[i] << (8 * i);
    return x;
}

static inline void gka_store_le(void *bytes, size_t size, uint64_t x) {
    unsigned char *const b = bytes;
    for (size_t i = 0; i < size; i++)
        b[i] = (unsigned char)(x >> (8 * i));
}

#endif
