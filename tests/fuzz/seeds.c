/* seeds.c - writes the corpora of the fuzz targets: small inputs, right and wrong in every way that
 * the readers know, and what once crashed them. `fuzz_seeds TARGET DIRECTORY` writes; `--compare`
 * before it says whether they differ. */
#include "fuzz/golden.h"

#include <stdio.h>

#define T    FUZZ_TENSOR
#define QK   T("q", "BF16", "[1,2,2,2]", "[0,16]") "," T("k", "BF16", "[1,2,1,2]", "[16,24]")
#define QKV  QK "," T("v", "F32", "[1,2,1,1]", "[24,32]")
#define META "\"__metadata__\":"
#define X    "," T("x", "BF16", "[1,2,2,2]", "[24,40]")

// clang-format off
#define EVERY_DTYPE \
    T("a", "F64", "[1]", "[0,8]") "," \
    T("b", "F32", "[1]", "[8,12]") "," \
    T("c", "BF16", "[1]", "[12,14]") "," \
    T("d", "F16", "[1]", "[14,16]") "," \
    T("e", "F8_E4M3", "[1]", "[16,17]") "," \
    T("f", "F8_E5M2", "[1]", "[17,18]") "," \
    T("g", "I64", "[1]", "[18,26]") "," \
    T("h", "I32", "[1]", "[26,30]") "," \
    T("i", "I16", "[1]", "[30,32]") "," \
    T("j", "I8", "[1]", "[32,33]") "," \
    T("k", "U64", "[1]", "[33,41]") "," \
    T("l", "U32", "[1]", "[41,45]") "," \
    T("m", "U16", "[1]", "[45,47]") "," \
    T("n", "U8", "[1]", "[47,48]") "," \
    T("o", "BOOL", "[]", "[48,49]")
// clang-format on

/* A file: header and a number of bytes of data; or a text. */
typedef struct seed {
    const char *name, *text;
    size_t data;
} seed;

/* Data bytes are zeros. */
static const seed files[] = {
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
    {"every-dtype", "{" EVERY_DTYPE "}", 49},
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
    /* What once took the reader down, or the memory of the machine. */
    {"chunk-2p62", "{" META "{\"chunk_size\":\"4611686018427387904\"}," QK X "}", 40},
    {"chunk-1e6", "{" META "{\"chunk_size\":\"1000000\"}," QK X "}", 40},
    {"iterations-many", "{" META "{\"num_iter\":\"2147483647\"}," QK X "}", 40},
    {"metadata-null", "{" META "null," QK X "}", 40},
    {"metadata-nul", "{" META "{\"case\":\"a\\u0000b\"}," QK X "}", 40},
    {"extra-f8-e8m0", "{" QK X "," T("s", "F8_E8M0", "[2]", "[40,42]") "}", 42},
    {"extra-f4", "{" QK X "," T("s", "F4", "[4]", "[40,42]") "}", 42},
    {"extra-c64", "{" QK X "," T("s", "C64", "[1]", "[40,48]") "}", 48},
    {"extra-rank-9", "{" QK X "," T("s", "U8", "[1,1,1,1,1,1,1,1,1]", "[40,41]") "}", 41},
    {"name-nul", "{" QK X "," T("a\\u0000b", "U8", "[1]", "[40,41]") "}", 41},
    {"name-escape", "{" QK X "," T("\\u001b[31m\\n", "U8", "[1]", "[40,41]") "}", 41},
    {"data-cut", "{" QK X "}", 24},
};

#define SPEC_ALL                                                                                   \
    "{\"problem\":\"lowrank\",\"gate\":\"strong\",\"B\":2,\"T\":17,\"H\":4,\"G\":2,\"D\":16,"      \
    "\"V\":0,"                                                                                     \
    "\"pairs\":0,\"dtype\":\"fp32\",\"chunk\":16,\"ridge\":0.005,\"iters\":30,\"scale\":0.125,"    \
    "\"seed\":\"18446744073709551615\",\"h0\":true,\"alpha\":false,\"plain\":false,\"final\":"     \
    "true,"                                                                                        \
    "\"edit\":\"none\",\"lengths\":\"none\",\"outputs\":\"forward,states\",\"emulate\":\"h100\","  \
    "\"lo\":true,\"oracle\":\"mpfr\",\"stage\":\"all\",\"given\":\"none\"}"

static const seed specs[] = {
    {"empty", "{}", 0},
    {"every-key", SPEC_ALL, 0},
    {"packed", "{\"lengths\":\"17,0,5\",\"edit\":\"zero-k,gate-one\"}", 0},
    {"stage", "{\"stage\":\"dk\",\"given\":\"x,p,f,h_chunk\"}", 0},
    {"chunk-2p62", "{\"chunk\":4611686018427387904}", 0},
    {"no-tokens", "{\"lengths\":\"0\"}", 0},
    {"tokens-many", "{\"lengths\":\"1073741824,1073741824\"}", 0},
    {"extent-large", "{\"T\":1073741824,\"D\":1073741824}", 0},
    {"real-integer", "{\"T\":1e300,\"iters\":2.5}", 0},
    {"nested", "{\"T\":{\"T\":[1]}}", 0},
    {"twice", "{\"T\":1,\"T\":2}", 0},
    {"nul", "{\"problem\":\"a\\u0000b\"}", 0},
    {"unknown", "{\"t\":1}", 0},
    {"array", "[1]", 0},
    {"not-json", "{\"T\":1", 0},
};

static const seed goldens[] = {
    {"golden", FUZZ_GOLDEN_HEADER, FUZZ_GOLDEN_DATA},
    {"no-tolerances",
     "{" META "{\"golden\":\"2\",\"tolerances\":\"{}\",\"sha256\":\"" FUZZ_HASH "\"}," QK "}", 24},
    {"tolerances-array",
     "{" META "{\"golden\":\"2\",\"tolerances\":\"[]\",\"sha256\":\"" FUZZ_HASH "\"}," QK "}", 24},
    {"no-reference",
     "{" META "{\"golden\":\"2\",\"tolerances\":\"{\\\"x\\\":{}}\",\"sha256\":\"" FUZZ_HASH
     "\"}," QK "}",
     24},
    {"reference-f4",
     "{" META "{\"golden\":\"2\",\"tolerances\":\"{\\\"x\\\":{}}\",\"sha256\":\"" FUZZ_HASH
     "\"}," QK "," T("x.steps", "F4", "[1,2,2,2]", "[24,28]") "}",
     28},
    {"chunk-2p62",
     "{" META
     "{\"golden\":\"2\",\"chunk_size\":\"4611686018427387904\",\"tolerances\":\"{\\\"x\\\":"
     "{\\\"value\\\":1}}\",\"sha256\":\"" FUZZ_HASH "\"}," QK
     "," T("x.steps", "F64", "[1,2,2,2]", "[24,88]") "," T("x.exact", "F64", "[1,2,2,2]",
                                                           "[88,152]") "}",
     152},
    {"format-1", "{" META "{\"golden\":\"1\"}," QK "}", 24},
    {"metadata-null", "{" META "null," QK "}", 24},
};

#define CASE(file)                                                                                 \
    "{\"name\":\"st08\",\"file\":\"" file "\",\"sha256\":\"" FUZZ_HASH "\",\"golden\":\"2\","      \
    "\"spec\":{\"T\":20}}"
#define INDEX(cases)                                                                               \
    "{\"suite\":\"quick\",\"golden\":\"2\",\"complete\":true,\"cases\":[" cases "]}"

static const seed indexes[] = {
    {"index", INDEX(CASE("st08.safetensors")), 0},
    {"index-empty", INDEX(""), 0},
    {"index-itself", INDEX(CASE("index.json") "," CASE("..")), 0},
    {"index-path", INDEX(CASE("/etc/passwd")), 0},
    {"index-nul", INDEX(CASE("a\\u0000b")), 0},
    {"index-types", INDEX("1,{\"name\":2},null"), 0},
    {"index-incomplete", "{\"golden\":\"2\",\"suite\":7,\"complete\":false,\"cases\":[]}", 0},
    {"index-not-json", "{\"cases\":[", 0},
};

/* A byte before each file says how it is judged: of the file's own name. */
static const seed candidates[] = {
    {"candidate", FUZZ_CANDIDATE_HEADER, FUZZ_CANDIDATE_DATA},
    {"one", "{" T("x", "F32", "[1,2,2,2]", "[0,32]") "}", 32},
    {"heads-first", "{" T("o", "F64", "[1,2,2,1]", "[0,32]") "}", 32},
    {"narrow", "{" T("x", "F8_E4M3", "[1,2,2,2]", "[0,8]") "}", 8},
    {"wrong-shape", "{" T("x", "BF16", "[1,2,2,3]", "[0,24]") "}", 24},
    {"shorter", "{" T("x", "BF16", "[1,2,2,1]", "[0,8]") "}", 8},
    {"wrong-rank", "{" T("x", "BF16", "[8]", "[0,16]") "}", 16},
    {"integers", "{" T("x", "I64", "[1,2,2,2]", "[0,64]") "}", 64},
    {"unknown-type", "{" T("x", "F5", "[1,2,2,2]", "[0,4]") "}", 4},
    {"Part-of-a-byte-F4", "{" T("x", "F4", "[1,2,2,2]", "[0,4]") "}", 4},
    {"Part-of-a-byte-F6", "{" T("x", "F6_E2M3", "[1,2,2,2]", "[0,6]") "}", 6},
    {"Powers-E8M0", "{" T("x", "F8_E8M0", "[1,2,2,2]", "[0,8]") "}", 8},
    {"nothing", "{" T("y", "BF16", "[1]", "[0,2]") "}", 2},
    {"metadata-null", "{" META "null," T("x", "BF16", "[1,2,2,2]", "[0,16]") "}", 16},
};

static const seed commands[] = {
    {"help", "--help", 0},
    {"verify", "verify\n--tolerance=x=.004\n--tolerance\no=.02\n--json=out\nf.st", 0},
    {"verify-emulate",
     "verify\n--emulate=h100/num_warps=8,cuda,tokens/fp32/fma\n--per-head\n--oracle=fp64\nf.st", 0},
    {"verify-set", "verify\n--emulate=auto\n--set=mask=exact\n--set=all.num_warps=8\nf.st", 0},
    {"verify-against", "verify\n--against=f.st\n--map=a=x\n--require=x,o\n--gradients=auto\nf.st",
     0},
    {"judge", "judge\n--layout=bhtd\n--given=x,p\n--reference=exact\n--require=all\nf.st\ng.st", 0},
    {"golden", "golden\n--T=64\n--D=16\n--gate=slow\n--edit=none\n-o\ng.st", 0},
    {"golden-suite", "golden\n--suite=quick\n-o\nfolder\n--check", 0},
    {"golden-input", "golden\n--input=f.st\n--stage=decode\n-o\ng.st", 0},
    {"problem",
     "problem\n--conv=silu\n--normalise\n--beta\n--alpha\n--gate=init\n--cotangents\n--cast=bf16\n"
     "--fold\nf.st:model.layers.3.*\n-o\nout",
     0},
    {"solve", "solve\n--solver=cg,chebyshev\n--arith=fp64,p11E5\n--problem=f.st\n--ridge=0", 0},
    {"solve-made-up", "solve\n--problem=iid\n--T=1\n--D=4\n--trace=t.csv", 0},
    {"attribute", "attribute\n--emulate=h100/two-term\n--tensor=x\n--explain\nf.st", 0},
    {"condition", "condition\n--emulate=h100\n--iterations=5\nf.st", 0},
    {"compare",
     "compare\n--layers=mesa/ridge=.5,softmax/sharpness=8,all\n--arith=bf16/"
     "fma,h100\n--csv=out\nf.st",
     0},
    {"spectrum", "spectrum\n--per-head\n--csv=out\nf.st", 0},
    {"audit", "audit\n--write=right.ieee32\n-o\nc.st\ng.st", 0},
    {"show", "show\n--json=-\ng.st", 0},
    {"devices", "devices\n--json=out\nh100", 0},
    {"formats", "formats", 0},
    {"unknown-option", "verify\n--tolerence=x=1\n--=\n-\n--\n-xo", 0},
    {"unknown-command", "verfy\n\033[31m", 0},
    {"numbers", "golden\n--T=9223372036854775808\n--ridge=nan\n--seed=-1\n--D=1e3\n-o\ng", 0},
    {"empty", "", 0},
};

/* ---- what a seed is made into -------------------------------------------------------------- */

enum { ROOM = 8192 };

static size_t make_file(const seed *s, unsigned char *bytes) {
    const size_t size = make_safetensors(bytes, s->text, s->data);
    memset(bytes + size - s->data, 0, s->data);
    return size;
}

static size_t make_golden(const seed *s, unsigned char *bytes) {
    return fuzz_file(bytes, s->text, s->data);
}

static size_t make_candidate(const seed *s, unsigned char *bytes) {
    bytes[0] = (unsigned char)s->name[0];
    return 1 + fuzz_file(bytes + 1, s->text, s->data);
}

static size_t make_text(const seed *s, unsigned char *bytes) {
    memcpy(bytes, s->text, strlen(s->text));
    return strlen(s->text);
}

#define LIST(seeds) seeds, sizeof seeds / sizeof *seeds
static const struct {
    const char *target;
    const seed *seeds;
    size_t count;
    size_t (*make)(const seed *s, unsigned char *bytes);
} lists[] = {
    {"safetensors", LIST(files), make_file},         {"spec", LIST(specs), make_text},
    {"golden", LIST(goldens), make_golden},          {"golden", LIST(indexes), make_text},
    {"candidate", LIST(candidates), make_candidate}, {"command", LIST(commands), make_text},
};

static int put(const char *path, const unsigned char *bytes, size_t size) {
    FILE *const stream = fopen(path, "wb");
    if (stream == NULL)
        return 1;
    const size_t written = fwrite(bytes, 1, size, stream);
    return (fclose(stream) != 0) | (written != size);
}

static int compare(const char *path, const unsigned char *bytes, size_t size) {
    unsigned char there[ROOM];
    FILE *const stream = fopen(path, "rb");
    if (stream == NULL)
        return 1;
    const size_t length = fread(there, 1, sizeof there, stream);
    fclose(stream);
    return length != size || memcmp(there, bytes, size) != 0;
}

/* One seed written, or compared with what is there; 1 where that failed. */
static int do_seed(const char *folder, const char *name, const unsigned char *bytes, size_t size,
                   bool comparing) {
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    const int wrong = comparing ? compare(path, bytes, size) : put(path, bytes, size);
    if (wrong)
        fprintf(stderr, "%s: %s\n", path, comparing ? "differs" : "cannot be written");
    return wrong;
}

/* A path of 6000 characters, in one argument. */
static size_t make_long_path(unsigned char *bytes) {
    memcpy(bytes, "verify\n", 7);
    memset(bytes + 7, 'a', 6000);
    return 6007;
}

int main(int argc, char **argv) {
    const bool comparing = argc == 4 && strcmp(argv[1], "--compare") == 0;
    if (argc != 3 && !comparing) {
        fprintf(stderr, "usage: fuzz_seeds [--compare] TARGET DIRECTORY\n");
        return 2;
    }
    const char *const target = argv[argc - 2], *const folder = argv[argc - 1];
    static unsigned char bytes[ROOM];
    int failed = 0, made = 0;
    for (size_t l = 0; l < sizeof lists / sizeof *lists; l++)
        for (size_t i = 0; strcmp(lists[l].target, target) == 0 && i < lists[l].count; i++, made++)
            failed += do_seed(folder, lists[l].seeds[i].name, bytes,
                              lists[l].make(&lists[l].seeds[i], bytes), comparing);
    if (strcmp(target, "command") == 0)
        failed += do_seed(folder, "long-path", bytes, make_long_path(bytes), comparing);
    if (made == 0)
        fprintf(stderr, "fuzz_seeds: no target '%s'\n", target);
    return failed != 0 || made == 0;
}
