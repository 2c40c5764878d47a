/* seeds.c - writes the corpus of fuzz_safetensors: small files, right and wrong in every way that
 * the reader and the problem know. `fuzz_seeds DIRECTORY` writes; `--compare` says whether they
 * differ. */
#include "gka/io.h"

#include "safetensors.h"

#include <stdio.h>
#include <stdlib.h>

#define T(name, dtype, shape, offsets)                                                             \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define QK   T("q", "BF16", "[1,2,2,2]", "[0,16]") "," T("k", "BF16", "[1,2,1,2]", "[16,24]")
#define QKV  QK "," T("v", "F32", "[1,2,1,1]", "[24,32]")
#define META "\"__metadata__\":"

/* Data bytes are zeros. */
static const struct {
    const char *name, *header;
    size_t data;
} seeds[] = {
    {"empty-object", "{}", 0},
    {"solve", "{" QK "}", 24},
    {"layer",
     "{" QKV
     "," T("alpha", "F16", "[1,2,2]", "[32,40]") "," T("g", "F32", "[1,2,2]", "[40,56]") "}",
     56},
    {"states",
     "{" QKV
     "," T("h0", "F32", "[1,2,2,2]", "[32,64]") "," T("u0", "F64", "[1,2,2,1]", "[64,96]") "}",
     96},
    {"cotangents",
     "{" QKV
     "," T("do", "BF16", "[1,2,2,1]", "[32,40]") "," T("dx", "F8_E4M3", "[1,2,2,2]", "[40,48]") "}",
     48},
    {"packed",
     "{" T("cu_seqlens", "I64", "[2]", "[0,16]") "," T(
         "q", "F8_E5M2", "[1,0,2,2]", "[16,16]") "," T("k", "F32", "[1,0,1,2]", "[16,16]") "}",
     16},
    {"packed32",
     "{" T("cu_seqlens", "I32", "[2]", "[0,8]") "," T("q", "F64", "[1,0,2,2]", "[8,8]") "," T(
         "k", "F32", "[1,0,1,2]", "[8,8]") "}",
     8},
    {"no-heads",
     "{" T("q", "F32", "[1,4,0,2]", "[0,0]") "," T("k", "F32", "[1,4,0,2]", "[0,0]") "}", 0},
    {"parameters",
     "{" META "{\"ridge_ratio\":\"0.005\",\"num_iter\":\"60\",\"chunk_size\":\"32\","
     "\"scale\":\"0.125\",\"case\":\"slow\"}," QK "}   ",
     24},
    {"ridge-word", "{" META "{\"ridge_ratio\":\"abc\"}," QK "}", 24},
    {"ridge-zero", "{" META "{\"ridge_ratio\":\"0\"}," QK "}", 24},
    {"chunk-zero", "{" META "{\"chunk_size\":\"0\"}," QK "}", 24},
    {"metadata-number", "{" META "{\"a\":1}}", 0},
    {"every-dtype",
     "{" T("a", "F64", "[1]", "[0,8]") "," T("b", "F32", "[1]", "[8,12]") "," T("c", "BF16", "[1]", "[12,14]") "," T("d", "F16", "[1]", "[14,16]") "," T("e", "F8_E4M3", "[1]", "[16,17]") "," T(
         "f", "F8_E5M2", "[1]",
         "[17,18]") "," T("g", "I64", "[1]",
                          "[18,26]") "," T("h", "I32", "[1]",
                                           "[26,30]") "," T("i", "I16", "[1]",
                                                            "[30,32]") "," T("j", "I8", "[1]",
                                                                             "[32,"
                                                                             "33]") "," T("k",
                                                                                          "U64",
                                                                                          "[1]",
                                                                                          "[33,"
                                                                                          "41]") "," T("l",
                                                                                                       "U32",
                                                                                                       "[1]",
                                                                                                       "[41,45]") "," T("m",
                                                                                                                        "U16",
                                                                                                                        "[1]",
                                                                                                                        "[45,47]") "," T("n",
                                                                                                                                         "U8",
                                                                                                                                         "[1]",
                                                                                                                                         "[47,48]") "," T("o",
                                                                                                                                                          "BOOL",
                                                                                                                                                          "[]",
                                                                                                                                                          "[48,49]") "}",
     49},
    {"overlap", "{" T("a", "U8", "[2]", "[0,2]") "," T("b", "U8", "[2]", "[1,3]") "}", 3},
    {"gap", "{" T("a", "U8", "[1]", "[0,1]") "," T("b", "U8", "[1]", "[2,3]") "}", 3},
    {"rest", "{" T("a", "U8", "[1]", "[0,1]") "}", 2},
    {"overflow", "{" T("a", "F64", "[4294967296,4294967296]", "[0,0]") "}", 0},
    {"beyond", "{" T("a", "U8", "[1]", "[9007199254740993,9007199254740994]") "}", 1},
    {"unknown-dtype", "{" T("a", "F17", "[1]", "[0,1]") "}", 1},
    {"duplicate", "{" T("a", "U8", "[1]", "[0,1]") "," T("a", "U8", "[1]", "[0,1]") "}", 1},
    {"nul", "{\"a\\u0000b\":1}", 0},
    {"surrogate", "{\"\\ud83d\\ude00\":1}", 0},
    {"deep", "{\"a\":{\"a\":{\"a\":[[[[[[[[1]]]]]]]]}}}", 0},
    {"not-json", "{\"a\":tru", 0},
};

static size_t make(size_t i, unsigned char *bytes) {
    const size_t size = make_safetensors(bytes, seeds[i].header, seeds[i].data);
    memset(bytes + size - seeds[i].data, 0, seeds[i].data);
    return size;
}

static int put(const char *path, const unsigned char *bytes, size_t size) {
    FILE *const stream = fopen(path, "wb");
    if (stream == NULL)
        return 1;
    const size_t written = fwrite(bytes, 1, size, stream);
    return (fclose(stream) != 0) | (written != size);
}

static int compare(const char *path, const unsigned char *bytes, size_t size) {
    unsigned char there[4096];
    FILE *const stream = fopen(path, "rb");
    if (stream == NULL)
        return 1;
    const size_t length = fread(there, 1, sizeof there, stream);
    fclose(stream);
    return length != size || memcmp(there, bytes, size) != 0;
}

int main(int argc, char **argv) {
    const bool comparing = argc == 3 && strcmp(argv[1], "--compare") == 0;
    if (argc != 2 && !comparing) {
        fprintf(stderr, "usage: fuzz_seeds [--compare] DIRECTORY\n");
        return 2;
    }
    int failed = 0;
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++) {
        unsigned char bytes[4096];
        char path[4096];
        const size_t size = make(i, bytes);
        (void)snprintf(path, sizeof path, "%s/%s", argv[argc - 1], seeds[i].name);
        const int wrong = comparing ? compare(path, bytes, size) : put(path, bytes, size);
        if (wrong)
            fprintf(stderr, "%s: %s\n", path, comparing ? "differs" : "cannot be written");
        failed += wrong;
    }
    return failed != 0;
}
