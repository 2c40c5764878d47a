/* target.h - what libFuzzer calls, and what the replay calls in its place. */
#ifndef GKA_FUZZ_TARGET_H
#define GKA_FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
