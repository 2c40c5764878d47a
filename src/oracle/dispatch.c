/* dispatch.c - which instruction set the certified oracle's kernels use. */
#include "oracle/kernels.h"

#include <string.h>

extern const gka_kernels gka_kernels_baseline;
#ifdef GKA_KERNELS_X86
extern const gka_kernels gka_kernels_avx2, gka_kernels_avx512;
#endif

const gka_kernels *gka_kernels_find(const char *name) {
    if (strcmp(name, "baseline") == 0)
        return &gka_kernels_baseline;
#ifdef GKA_KERNELS_X86
    if (strcmp(name, "avx2") == 0 && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("fma"))
        return &gka_kernels_avx2;
    if (strcmp(name, "avx512") == 0 && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma"))
        return &gka_kernels_avx512;
#endif
    return NULL;
}

const gka_kernels *gka_kernels_best(void) {
    static const char *const fastest_first[] = {"avx512", "avx2", "baseline"};
    const gka_kernels *kernels = NULL;
    for (int i = 0; kernels == NULL; i++)
        kernels = gka_kernels_find(fastest_first[i]);
    return kernels;
}
