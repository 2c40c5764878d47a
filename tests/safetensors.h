/* safetensors.h - for tests: safetensors bytes written by hand, right or wrong. */
#ifndef GKA_TEST_SAFETENSORS_H
#define GKA_TEST_SAFETENSORS_H

#include <stdint.h>
#include <string.h>

/* Length, header and data_size bytes 0, 1, 2, ... into bytes; returns the file's size. */
static inline size_t make_safetensors(unsigned char *bytes, const char *header, size_t data_size) {
    const size_t length = strlen(header);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)length >> (8 * i));
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data_size; i++)
        bytes[8 + length + i] = (unsigned char)i;
    return 8 + length + data_size;
}

#endif
