/* view.c - a tensor as strided memory, read as doubles.
 *
 * Stored elements are little-endian and may lie at any address; the room reads them here alone.
 */
#include "problem/view.h"

#include "io/bytes.h"

#include <string.h>

gka_view gka_view_of(const gka_tensor *tensor) {
    gka_view view = {.data = tensor->data, .dtype = tensor->dtype, .rank = tensor->rank};
    int64_t stride = 1;
    for (int i = 4; i >= 0; i--) {
        const bool there = i < tensor->rank;
        view.shape[i] = there ? tensor->shape[i] : 1;
        view.stride[i] = there ? stride : 0;
        if (there && tensor->shape[i] > 0)
            stride *= tensor->shape[i];
    }
    return view;
}

gka_view gka_view_of_doubles(int rank, const int64_t *shape, const double *values, void *bytes) {
    gka_tensor tensor = {.name = "", .dtype = GKA_F64, .rank = rank, .data = bytes};
    memcpy(tensor.shape, shape, (size_t)rank * sizeof *shape);
    gka_store_doubles(bytes, (size_t)gka_tensor_count(&tensor), values);
    return gka_view_of(&tensor);
}

bool gka_view_contiguous(const gka_view *view) {
    int64_t stride = 1;
    for (int i = view->rank - 1; i >= 0; i--) {
        if (view->shape[i] > 1 && view->stride[i] != stride)
            return false;
        if (view->shape[i] > 0)
            stride *= view->shape[i];
    }
    return true;
}

bool gka_dtype_is_float(gka_dtype dtype) {
    return (dtype >= GKA_F64 && dtype <= GKA_F8_E5M2) || dtype == GKA_F8_E4M3FNUZ ||
           dtype == GKA_F8_E5M2FNUZ;
}

static double from_bits32(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static double from_bits64(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Two's complement of `size` bytes. */
static double from_signed(uint64_t bits, size_t size) {
    const uint64_t sign = UINT64_C(1) << (8 * size - 1);
    return (double)(int64_t)((bits ^ sign) - sign);
}

/* One element; dtype and size are constants wherever this is inlined. */
static inline __attribute__((always_inline)) double element(gka_dtype dtype, size_t size,
                                                            const void *data) {
    const uint64_t bits = gka_load_le(data, size);
    switch (dtype) {
    case GKA_F64: return from_bits64(bits);
    case GKA_F32: return from_bits32((uint32_t)bits);
    case GKA_BF16: return from_bits32((uint32_t)bits << 16);
    case GKA_F16:
    case GKA_F8_E4M3:
    case GKA_F8_E5M2:
    case GKA_F8_E8M0:
    case GKA_F8_E4M3FNUZ:
    case GKA_F8_E5M2FNUZ: return gka_decode(gka_format_of_dtype(dtype), bits);
    case GKA_I64:
    case GKA_I32:
    case GKA_I16:
    case GKA_I8: return from_signed(bits, size);
    default: return (double)bits;
    }
}

static inline __attribute__((always_inline)) void run(gka_dtype dtype, size_t size,
                                                      const unsigned char *data, int64_t stride,
                                                      int64_t n, double *out) {
    if (stride == 1)
        for (int64_t i = 0; i < n; i++)
            out[i] = element(dtype, size, data + (size_t)i * size);
    else
        for (int64_t i = 0; i < n; i++)
            out[i] = element(dtype, size, data + i * stride * (int64_t)size);
}

void gka_elements(gka_dtype dtype, const void *data, int64_t stride, int64_t n, double *out) {
    switch (dtype) {
    case GKA_F64: run(GKA_F64, 8, data, stride, n, out); break;
    case GKA_F32: run(GKA_F32, 4, data, stride, n, out); break;
    case GKA_BF16: run(GKA_BF16, 2, data, stride, n, out); break;
    default: run(dtype, gka_dtype_size(dtype), data, stride, n, out); break;
    }
}

const void *gka_view_at(const gka_view *view, int64_t i0, int64_t i1, int64_t i2) {
    const int64_t at = i0 * view->stride[0] + i1 * view->stride[1] + i2 * view->stride[2];
    return (const unsigned char *)view->data + at * (int64_t)gka_dtype_size(view->dtype);
}

void gka_view_row(const gka_view *view, int64_t i0, int64_t i1, int64_t i2, int64_t n,
                  double *out) {
    gka_elements(view->dtype, gka_view_at(view, i0, i1, i2), view->stride[3], n, out);
}
