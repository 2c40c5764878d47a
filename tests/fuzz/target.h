/* target.h - what libFuzzer calls, and what the replay calls in its place; what targets share. */
#ifndef GKA_FUZZ_TARGET_H
#define GKA_FUZZ_TARGET_H

#include "gka/base.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void insist(int condition) {
    if (!condition)
        abort();
}

/* A refusal is one line. */
static inline void insist_on_a_line(gka_status status, const gka_error *error) {
    insist(error->status == status && error->text[0] != '\0');
    for (const char *c = error->text; *c != '\0'; c++)
        insist((unsigned char)*c >= 0x20 && *c != 0x7f);
}

#endif
