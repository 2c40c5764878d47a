/* device.c - what a device may hold, and the matrix product over packed operands. */
#include "arith/devices.h"
#include "arith/mma_kernels.h"
#include "arith/tensor_core.h"
#include "format/processor.h"

#include <string.h>

/* ---- devices ------------------------------------------------------------------------------- */

const gka_device *const *gka_device_presets(void) {
    return gka_device_table;
}

const gka_device *gka_device_find(const char *name) {
    for (const gka_device *const *device = gka_device_table; *device; device++)
        if (!strcmp((*device)->name, name))
            return *device;
    return NULL;
}

static const char *const input_names[GKA_MMA_INPUT_COUNT] = {
    [GKA_MMA_BF16] = "bf16", [GKA_MMA_FP16] = "fp16", [GKA_MMA_TF32] = "tf32",
    [GKA_MMA_E4M3] = "e4m3", [GKA_MMA_E5M2] = "e5m2", [GKA_MMA_WORKING] = "working"};

const char *gka_mma_input_name(gka_mma_input input) {
    return (unsigned)input < GKA_MMA_INPUT_COUNT ? input_names[input] : NULL;
}

int gka_mma_input_find(const char *name) {
    for (int i = 0; i < GKA_MMA_INPUT_COUNT; i++)
        if (!strcmp(input_names[i], name))
            return i;
    return -1;
}

/* What is wrong with a core, or NULL; *value, the number that is. */
static const char *fault(const gka_tensor_core *core, int *value) {
    const struct {
        bool wrong;
        int value;
        const char *text;
    } faults[] = {
        {core->group < 0 || core->group > GKA_GROUP_MOST, core->group, "groups, expected 0 .. 64"},
        {core->fraction < 0 || core->fraction > GKA_FRACTION_MOST, core->fraction,
         "fractional bits, expected 0 .. 52"},
        {core->floor < -1000 || core->floor > 1000, core->floor, "floor, expected -1000 .. 1000"},
        {(unsigned)core->sum >= GKA_SUM_COUNT, (int)core->sum, "sum, which is none"},
        {(unsigned)core->result >= GKA_RESULT_COUNT, (int)core->result, "result, which is none"},
        {(unsigned)core->order >= GKA_K_ORDER_COUNT, (int)core->order, "order, which is none"},
        {core->apart < 0 || core->apart % core->group, core->apart,
         "products apart, expected a multiple of the group"},
        {core->sum != GKA_SUM_CUT && core->result != GKA_RESULT_FP32, (int)core->result,
         "result, expected binary32 of a sum that is not cut"},
        {core->sum == GKA_SUM_PAIRS && core->group & (core->group - 1), core->group,
         "groups, expected a power of two of a sum of pairs"},
        {core->sum == GKA_SUM_CHAINS && core->group % 2, core->group,
         "groups, expected an even number for two chains"},
        {core->sum == GKA_SUM_FLOORED && core->fraction > 31, core->fraction,
         "fractional bits, expected 0 .. 31 of a floored sum"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        if (faults[i].wrong) {
            *value = faults[i].value;
            return faults[i].text;
        }
    return NULL;
}

static gka_status check_core(const gka_device *device, gka_mma_input input, gka_error *error) {
    const gka_tensor_core *const core = &device->core[input];
    if (core->group == 0)
        return GKA_OK;
    if (!device->binary32 || input == GKA_MMA_WORKING)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "device %s: a tensor core for %s, expected none (group 0)%s", device->name,
                        input_names[input], device->binary32 ? "" : " in binary64");
    int value;
    const char *const text = fault(core, &value);
    return text ? gka_fail(error, GKA_BAD_ARGUMENT, "device %s, %s: %d as %s", device->name,
                           input_names[input], value, text)
                : GKA_OK;
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
    mma_packed packed = {.K = K};
    if (group) {
        const int64_t unit = gka_k_unit(&device->core[input]);
        packed.K = (K + unit - 1) / unit * unit;
        packed.groups = packed.K / group;
    }
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
    if (gka_has_avx512())
        tables[n++] = &gka_mma_kernels_avx512;
    if (gka_has_avx2())
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
