/* probes.h - for tests: what the hardware returned (tests/data/probes), as encodings. */
#ifndef GKA_TEST_PROBES_H
#define GKA_TEST_PROBES_H

#include "test.h"

#include "gka/format.h"
#include "gka/io.h"

#include <stdlib.h>

/* A file of tests/data/probes, or of the directory GKA_PROBES names: there may lie longer files of
 * the same form. */
static inline gka_file *open_probe(const char *name) {
    char path[4096];
    const char *const directory = getenv("GKA_PROBES");
    snprintf(path, sizeof path, "%s/%s", directory ? directory : GKA_TEST_DATA "/probes", name);
    gka_file *file = NULL;
    gka_error error = {0};
    if (gka_file_open(path, &file, &error) != GKA_OK)
        fail_msg("%s", error.text);
    return file;
}

/* The tensor NAME.PART; the file must hold it. */
static inline const gka_tensor *probe(const gka_file *file, const char *name, const char *part) {
    char full[320];
    snprintf(full, sizeof full, "%s.%s", name, part);
    const gka_tensor *const tensor = gka_file_find(file, full);
    if (!tensor)
        fail_msg("%s holds no %s", gka_file_path(file), full);
    return tensor;
}

/* Element i as an encoding, zero-extended. */
static inline uint32_t encoding_at(const gka_tensor *tensor, int64_t i) {
    const unsigned char *const at =
        (const unsigned char *)tensor->data + (size_t)i * gka_dtype_size(tensor->dtype);
    uint32_t bits = 0;
    for (size_t b = gka_dtype_size(tensor->dtype); b-- > 0;)
        bits = bits << 8 | at[b];
    return bits;
}

/* The numbers that a tensor's encodings are in a format; the caller frees them. */
static inline double *numbers_in(const gka_tensor *tensor, const gka_format *format) {
    const int64_t count = gka_tensor_count(tensor);
    double *const out = gka_alloc((size_t)count, sizeof *out);
    assert_non_null(out);
    for (int64_t i = 0; i < count; i++)
        out[i] = gka_decode(format, encoding_at(tensor, i));
    return out;
}

static inline float f32_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#endif
