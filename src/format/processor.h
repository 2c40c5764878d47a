/* processor.h - whether the processor at hand runs the kernels of arith and chunk that are compiled
 * for AVX2 or AVX-512. Oracle and format compile theirs for fewer of these parts and ask for those.
 */
#ifndef GKA_FORMAT_PROCESSOR_H
#define GKA_FORMAT_PROCESSOR_H

#ifdef __x86_64__
#include <stdbool.h>

static inline bool gka_has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static inline bool gka_has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("fma");
}
#endif

#endif
