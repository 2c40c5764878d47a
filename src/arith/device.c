/* device.c - the devices, and their matrix product over packed operands. */
#include "arith/mma_kernels.h"

#include <string.h>

/* ---- devices ------------------------------------------------------------------------------- */

static const gka_device h100 = {
    .name = "h100",
    .binary32 = true,
    .core = {[GKA_MMA_BF16] = {16, 25, -133},
             [GKA_MMA_FP16] = {16, 25, -133},
             [GKA_MMA_TF32] = {8, 25, -133}},
    .functions = GKA_FUNCTIONS_H100,
};
static const gka_device a100 = {
    .name = "a100",
    .binary32 = true,
    .core = {[GKA_MMA_BF16] = {8, 24, -133},
             [GKA_MMA_FP16] = {8, 24, -133},
             [GKA_MMA_TF32] = {4, 24, -133}},
    .functions = GKA_FUNCTIONS_H100,
};
static const gka_device gka_cuda = {
    .name = "gka-cuda",
    .binary32 = true,
    .core = {[GKA_MMA_BF16] = {16, 25, -133},
             [GKA_MMA_FP16] = {16, 25, -133},
             [GKA_MMA_TF32] = {8, 25, -133}},
    .functions = GKA_FUNCTIONS_PINNED,
};
static const gka_device ieee32 = {
    .name = "ieee32", .binary32 = true, .functions = GKA_FUNCTIONS_BINARY32};
static const gka_device exact64 = {
    .name = "exact64", .binary32 = false, .functions = GKA_FUNCTIONS_BINARY64};

static const gka_device *const presets[] = {&h100, &a100, &gka_cuda, &ieee32, &exact64, NULL};

const gka_device *const *gka_device_presets(void) {
    return presets;
}

const gka_device *gka_device_find(const char *name) {
    for (const gka_device *const *device = presets; *device; device++)
        if (!strcmp((*device)->name, name))
            return *device;
    return NULL;
}

static const char *const input_names[] = {"bf16", "fp16", "tf32", "working"};

static gka_status check_core(const gka_device *device, gka_mma_input input, gka_error *error) {
    const gka_tensor_core *const core = &device->core[input];
    const char *const name = device->name, *const of = input_names[input];
    if (core->group == 0)
        return GKA_OK;
    if (!device->binary32 || input == GKA_MMA_WORKING)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "device %s: a tensor core for %s, expected none (group 0)%s", name, of,
                        device->binary32 ? "" : " in binary64");
    if (core->group < 0 || core->group > GKA_GROUP_MOST)
        return gka_fail(error, GKA_BAD_ARGUMENT, "device %s: %s in groups of %d, expected 0 .. %d",
                        name, of, core->group, GKA_GROUP_MOST);
    if (core->fraction < 0 || core->fraction > GKA_FRACTION_MOST)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "device %s: %s with %d fractional bits, expected 0 .. %d", name, of,
                        core->fraction, GKA_FRACTION_MOST);
    if (core->floor < -1000 || core->floor > 1000)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "device %s: %s with the floor %d, expected -1000 .. 1000", name, of,
                        core->floor);
    return GKA_OK;
}

gka_status gka_device_check(const gka_device *device, gka_error *error) {
    if (!device || !device->name)
        return gka_fail(error, GKA_BAD_ARGUMENT, device ? "a device needs a name" : "no device");
    if ((unsigned)device->functions > GKA_FUNCTIONS_PINNED)
        return gka_fail(error, GKA_BAD_ARGUMENT, "device %s: unknown functions %d", device->name,
                        (int)device->functions);
    if (device->binary32 == (device->functions == GKA_FUNCTIONS_BINARY64))
        return gka_fail(error, GKA_BAD_ARGUMENT, "device %s: functions of %s in %s", device->name,
                        device->binary32 ? "binary64" : "binary32",
                        device->binary32 ? "binary32" : "binary64");
    for (gka_mma_input input = 0; input < GKA_MMA_INPUT_COUNT; input++) {
        const gka_status status = check_core(device, input, error);
        if (status != GKA_OK)
            return status;
    }
    return GKA_OK;
}

/* ---- packed operands ----------------------------------------------------------------------- */

static size_t aligned(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}

/* lines: rows of the left operand, or blocks of the right one, of `wide` numbers per k */
static mma_packed layout(const gka_device *device, gka_mma_input input, int64_t lines, int64_t wide,
                         int64_t K, void *memory) {
    const int64_t group = device->binary32 ? device->core[input].group : 0;
    mma_packed packed = {.groups = group ? (K + group - 1) / group : 0};
    packed.K = group ? packed.groups * group : K;
    const size_t numbers = (size_t)lines * (size_t)wide * (size_t)packed.K;
    char *at = memory;
    if (!device->binary32) {
        packed.f64 = (double *)memory;
        packed.size = aligned(numbers * sizeof(double));
        return packed;
    }
    packed.f32 = (float *)memory;
    packed.size = aligned(numbers * sizeof(float));
    if (!group)
        return packed;
    const size_t e_at = packed.size, flags_at = e_at + aligned(numbers * sizeof(int16_t));
    packed.size = flags_at + aligned((size_t)(lines * packed.groups));
    if (memory) {
        packed.e = (int16_t *)(void *)(at + e_at);
        packed.flags = (uint8_t *)(at + flags_at);
    }
    return packed;
}

mma_packed gka_mma_left_layout(const gka_device *device, gka_mma_input input, int64_t M, int64_t K,
                               void *memory) {
    return layout(device, input, M, 1, K, memory);
}

mma_packed gka_mma_right_layout(const gka_device *device, gka_mma_input input, int64_t K, int64_t N,
                                void *memory) {
    return layout(device, input, (N + MMA_BLOCK - 1) / MMA_BLOCK, MMA_BLOCK, K, memory);
}

size_t gka_mma_left_size(const gka_device *device, gka_mma_input input, int64_t M, int64_t K) {
    return gka_mma_left_layout(device, input, M, K, NULL).size;
}

size_t gka_mma_right_size(const gka_device *device, gka_mma_input input, int64_t K, int64_t N) {
    return gka_mma_right_layout(device, input, K, N, NULL).size;
}

/* ---- instruction sets ---------------------------------------------------------------------- */

void gka_mma_kernels_all(const mma_kernels *tables[4]) {
    int n = 0;
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("fma"))
        tables[n++] = &gka_mma_kernels_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        tables[n++] = &gka_mma_kernels_avx2;
#endif
    tables[n++] = &gka_mma_kernels_baseline;
    tables[n] = NULL;
}

static const mma_kernels *best(void) {
    const mma_kernels *tables[4];
    gka_mma_kernels_all(tables);
    return tables[0];
}

/* ---- matrix product ------------------------------------------------------------------------ */

void gka_mma_pack_left(const gka_device *device, gka_mma_input input, int64_t M, int64_t K,
                       gka_matrix a, void *memory) {
    const mma_packed left = gka_mma_left_layout(device, input, M, K, memory);
    best()->pack_left(device, input, M, K, a, &left);
}

void gka_mma_pack_right(const gka_device *device, gka_mma_input input, int64_t K, int64_t N,
                        gka_matrix b, void *memory) {
    const mma_packed right = gka_mma_right_layout(device, input, K, N, memory);
    best()->pack_right(device, input, K, N, b, &right);
}

void gka_mma_packed(const gka_device *device, gka_mma_input input, int64_t M, int64_t N, int64_t K,
                    const void *left, const void *right, double *c, int64_t ldc) {
    /* the layout serves packing too; here nothing is written through it */
    const mma_packed l = gka_mma_left_layout(device, input, M, K, (void *)(uintptr_t)left);
    const mma_packed r = gka_mma_right_layout(device, input, K, N, (void *)(uintptr_t)right);
    best()->product(device, input, M, N, K, &l, &r, c, ldc);
}

void gka_mma(const gka_device *device, gka_mma_input input, int64_t M, int64_t N, int64_t K,
             gka_matrix a, gka_matrix b, double *c, int64_t ldc, void *workspace) {
    void *const left = workspace;
    void *const right = (char *)workspace + gka_mma_left_size(device, input, M, K);
    gka_mma_pack_left(device, input, M, K, a, left);
    gka_mma_pack_right(device, input, K, N, b, right);
    gka_mma_packed(device, input, M, N, K, left, right, c, ldc);
}
