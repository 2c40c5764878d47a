/* view.h - walking over strided tensors. */
#ifndef GKA_PROBLEM_VIEW_H
#define GKA_PROBLEM_VIEW_H

#include "gka/problem.h"

/* n elements of stored type, `stride` elements apart, as doubles. */
void gka_elements(gka_dtype dtype, const void *data, int64_t stride, int64_t n, double *out);

/* The address of element [i0, i1, i2, 0]. */
const void *gka_view_at(const gka_view *view, int64_t i0, int64_t i1, int64_t i2);

/* True when the view is row-major without holes. */
bool gka_view_contiguous(const gka_view *view);

/* F64 F32 BF16 F16 F8: numbers; not the integers and BOOL. */
bool gka_dtype_is_float(gka_dtype dtype);

#endif
