/* device.c - the devices, and their matrix product over packed operands. */
#include "arith/tensor_core.h"

#include <math.h>
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

/* ---- packed operands ----------------------------------------------------------------------- */

/* Both operands are kept as rows along k (the right one transposed), padded with zeros to whole
 * groups: float for binary32 devices, double for binary64. */

static int64_t padded(const gka_device *device, gka_mma_input input, int64_t K) {
    const int group = device->core[input].group;
    return group ? (K + group - 1) / group * group : K;
}

static size_t pack_size(const gka_device *device, gka_mma_input input, int64_t rows, int64_t K) {
    const size_t element = device->binary32 ? sizeof(float) : sizeof(double);
    const size_t bytes = (size_t)rows * (size_t)padded(device, input, K) * element;
    return (bytes + 63) & ~(size_t)63;
}

size_t gka_mma_left_size(const gka_device *device, gka_mma_input input, int64_t M, int64_t K) {
    return pack_size(device, input, M, K);
}

size_t gka_mma_right_size(const gka_device *device, gka_mma_input input, int64_t K, int64_t N) {
    return pack_size(device, input, N, K);
}

/* element (i, k) of the operand at data[i * row + k * column] */
static void pack(const gka_device *device, gka_mma_input input, int64_t rows, int64_t K,
                 gka_matrix operand, void *memory) {
    const int64_t stride = padded(device, input, K);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < stride; k++) {
            const double value = k < K ? operand.data[i * operand.row + k * operand.column] : 0;
            if (device->binary32)
                ((float *)memory)[i * stride + k] = (float)value;
            else
                ((double *)memory)[i * stride + k] = value;
        }
}

void gka_mma_pack_left(const gka_device *device, gka_mma_input input, int64_t M, int64_t K,
                       gka_matrix a, void *memory) {
    pack(device, input, M, K, a, memory);
}

void gka_mma_pack_right(const gka_device *device, gka_mma_input input, int64_t K, int64_t N,
                        gka_matrix b, void *memory) {
    pack(device, input, N, K, (gka_matrix){b.data, b.column, b.row}, memory);
}

/* ---- matrix product ------------------------------------------------------------------------ */

void gka_mma_packed(const gka_device *device, gka_mma_input input, int64_t M, int64_t N, int64_t K,
                    const void *left, const void *right, double *c, int64_t ldc) {
    const gka_tensor_core *const core = &device->core[input];
    const int64_t stride = padded(device, input, K);
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < N; j++) {
            double *const out = &c[i * ldc + j];
            if (!device->binary32) {
                const double *const a = (const double *)left + i * stride;
                const double *const b = (const double *)right + j * stride;
                for (int64_t k = 0; k < K; k++)
                    *out = fma(a[k], b[k], *out);
                continue;
            }
            const float *const a = (const float *)left + i * stride;
            const float *const b = (const float *)right + j * stride;
            float sum = (float)*out;
            if (core->group)
                sum = gka_tensor_core_dot(core, input, stride, a, b, sum);
            else
                for (int64_t k = 0; k < K; k++)
                    sum = fmaf(a[k], b[k], sum);
            *out = (double)sum;
        }
}

void gka_mma(const gka_device *device, gka_mma_input input, int64_t M, int64_t N, int64_t K,
             gka_matrix a, gka_matrix b, double *c, int64_t ldc, void *workspace) {
    void *const left = workspace;
    void *const right = (char *)workspace + gka_mma_left_size(device, input, M, K);
    gka_mma_pack_left(device, input, M, K, a, left);
    gka_mma_pack_right(device, input, K, N, b, right);
    gka_mma_packed(device, input, M, N, K, left, right, c, ldc);
}
