/* tensor.h - sizes of tensors, checked. */
#ifndef GKA_IO_TENSOR_H
#define GKA_IO_TENSOR_H

#include "gka/io.h"

/* The data's size in bytes; false where the rank or an extent is out of range, or where the product
 * of the extents (a 0 taken as 1, so that strides fit too) times the element size leaves int64 or
 * size_t, or where elements of 4 or 6 bits leave the last byte open. */
bool gka_tensor_bytes(const gka_tensor *tensor, size_t *bytes);

/* The dtype of a safetensors name; GKA_DTYPE_COUNT when there is none. */
gka_dtype gka_dtype_find(const char *name);

#endif
