/* golden.h - a golden written by hand, small, and how one gets its hash. */
#ifndef GKA_FUZZ_GOLDEN_H
#define GKA_FUZZ_GOLDEN_H

#include "gka/golden.h"
#include "golden/golden.h"

#include "fuzz/target.h"
#include "safetensors.h"

#define FUZZ_TENSOR(name, dtype, shape, offsets)                                                   \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

/* 64 digits, in place of which the target puts what is right: else nothing behind the check of the
 * hash would ever be reached. */
#define FUZZ_HASH "0000000000000000000000000000000000000000000000000000000000000000"

// clang-format off
#define FUZZ_TOLERANCES \
    "{\\\"x\\\":{\\\"value\\\":0.25,\\\"row\\\":0.25,\\\"exact\\\":{\\\"value\\\":0.25,\\\"row\\\":null}}," \
    "\\\"o\\\":{\\\"value\\\":0.25},\\\"layer.dk\\\":{\\\"value\\\":0.25," \
    "\\\"through\\\":{\\\"value\\\":0.25,\\\"row\\\":1}}}"

/* One sequence of two tokens, two query heads and one of keys, D = 2, V = 1. */
#define FUZZ_GOLDEN_HEADER \
    "{\"__metadata__\":{\"golden\":\"2\",\"stage\":\"all\",\"num_iter\":\"3\"," \
    "\"tolerances\":\"" FUZZ_TOLERANCES "\",\"sha256\":\"" FUZZ_HASH "\"}," \
    FUZZ_TENSOR("q", "BF16", "[1,2,2,2]", "[0,16]") "," \
    FUZZ_TENSOR("k", "BF16", "[1,2,1,2]", "[16,24]") "," \
    FUZZ_TENSOR("v", "F32", "[1,2,1,1]", "[24,32]") "," \
    FUZZ_TENSOR("g", "F32", "[1,2,2]", "[32,48]") "," \
    FUZZ_TENSOR("do", "F32", "[1,2,2,1]", "[48,64]") "," \
    FUZZ_TENSOR("x.exact", "F64", "[1,2,2,2]", "[64,128]") "," \
    FUZZ_TENSOR("x.steps", "F64", "[1,2,2,2]", "[128,192]") "," \
    FUZZ_TENSOR("o.exact", "F64", "[1,2,2,1]", "[192,224]") "," \
    FUZZ_TENSOR("o.steps", "F64", "[1,2,2,1]", "[224,256]") "," \
    FUZZ_TENSOR("layer.dk.exact", "F64", "[1,2,1,2]", "[256,288]") "," \
    FUZZ_TENSOR("layer.dk.steps", "F64", "[1,2,1,2]", "[288,320]") "," \
    FUZZ_TENSOR("layer.dk.through", "F64", "[1,2,1,2]", "[320,352]") "}"

#define FUZZ_CANDIDATE_HEADER \
    "{" FUZZ_TENSOR("x", "BF16", "[1,2,2,2]", "[0,16]") "," \
    FUZZ_TENSOR("o", "F32", "[1,2,2,1]", "[16,32]") "," \
    FUZZ_TENSOR("layer.dk", "F16", "[1,2,1,2]", "[32,40]") "," \
    FUZZ_TENSOR("layer.dq", "F32", "[1,2,2,2]", "[40,72]") "}"
// clang-format on
enum { FUZZ_GOLDEN_DATA = 352, FUZZ_CANDIDATE_DATA = 72 };
enum { FUZZ_FILL = 0xbf }; /* the byte of their data: a negative number in every type */

static inline size_t fuzz_file(unsigned char *bytes, const char *header, size_t data) {
    const size_t size = make_safetensors(bytes, header, data);
    memset(bytes + size - data, FUZZ_FILL, data);
    return size;
}

/* The hash that a golden has, where it has room for one. */
static inline void fuzz_put_hash(const gka_file *golden) {
    const char *const said = gka_file_metadata(golden, "sha256");
    char is[65], *place;
    if (said == NULL || strlen(said) != 64)
        return;
    gka_golden_hash(golden, is);
    memcpy(&place, &said, sizeof place); /* the file's own copy of its metadata */
    memcpy(place, is, 64);
}

#endif
