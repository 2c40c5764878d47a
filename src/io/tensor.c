/* tensor.c - the stored types by name and size, and how large a tensor is. */
#include "io/tensor.h"

#include "io/bytes.h"

#include <string.h>

static const struct {
    const char *name;
    int bits;
} dtypes[GKA_DTYPE_COUNT] = {
#define GKA_DTYPE_ROW(code, name, bits) {name, bits},
    GKA_DTYPE_LIST(GKA_DTYPE_ROW)
#undef GKA_DTYPE_ROW
};

const char *gka_dtype_name(gka_dtype dtype) {
    return (unsigned)dtype < GKA_DTYPE_COUNT ? dtypes[dtype].name : "?";
}

int gka_dtype_bits(gka_dtype dtype) {
    return (unsigned)dtype < GKA_DTYPE_COUNT ? dtypes[dtype].bits : 0;
}

size_t gka_dtype_size(gka_dtype dtype) {
    return (size_t)gka_dtype_bits(dtype) / 8;
}

gka_dtype gka_dtype_find(const char *name) {
    unsigned i = 0;
    while (i < GKA_DTYPE_COUNT && strcmp(name, dtypes[i].name) != 0)
        i++;
    return (gka_dtype)i;
}

int64_t gka_tensor_count(const gka_tensor *tensor) {
    int64_t count = 1;
    for (int i = 0; i < tensor->rank; i++)
        count *= tensor->shape[i];
    return count;
}

void gka_store_doubles(void *bytes, size_t count, const double *values) {
    for (size_t i = 0; i < count; i++) {
        uint64_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        gka_store_le((unsigned char *)bytes + 8 * i, 8, bits);
    }
}

bool gka_tensor_bytes(const gka_tensor *tensor, size_t *bytes) {
    const int bits = gka_dtype_bits(tensor->dtype);
    const int64_t size = (int64_t)gka_dtype_size(tensor->dtype);
    int64_t factors[1 + GKA_MAX_RANK] = {size > 0 ? size : bits}, product;
    if (bits == 0 || tensor->rank < 0 || tensor->rank > GKA_MAX_RANK)
        return false;
    for (int i = 0; i < tensor->rank; i++)
        factors[1 + i] = tensor->shape[i];
    if (!gka_product(1 + tensor->rank, factors, INT64_MAX, &product) ||
        (uint64_t)product > SIZE_MAX)
        return false;
    *bytes = (size_t)(size > 0 ? product : product / 8);
    return size > 0 || product % 8 == 0;
}
