/* io.c - safetensors read and written; every malformed file; outputs that appear whole or not. */
#include "test.h"

#include "gka/io.h"
#include "io/bytes.h"
#include "safetensors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a directory of its own ---------------------------------------------------------------- */

static char directory[] = "io-XXXXXX";

static int enter(void **state) {
    (void)state;
    return mkdtemp(directory) == NULL || chdir(directory) != 0;
}

static int leave(void **state) {
    (void)state;
    return chdir("..") != 0 || rmdir(directory) != 0;
}

/* No temporary file, no file of a test, in the directory. */
static void assert_nothing_left(void) {
    DIR *const here = opendir(".");
    assert_non_null(here);
    for (const struct dirent *entry; (entry = readdir(here)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            fail_msg("%s was left behind", entry->d_name);
    closedir(here);
}

static bool exists(const char *path) {
    struct stat about;
    return lstat(path, &about) == 0;
}

/* ---- tensors as a file --------------------------------------------------------------------- */

static void test_a_file_of_tensors(void **state) {
    (void)state;
    const float x[6] = {1, 2, 3, 4, 5, 6};
    char name[] = "x";
    gka_tensor tensors[] = {{.name = name, .dtype = GKA_F32, .rank = 2, .shape = {2, 3}, .data = x},
                            {.name = "none", .dtype = GKA_F64, .rank = 2, .shape = {0, 3}}};
    const gka_text_pair pair = {"num_iter", "7"};
    gka_file *file;
    gka_error error = {0};
    assert_int_equal(gka_file_from_tensors("f", tensors, 2, &pair, 1, &file, &error), GKA_OK);
    name[0] = 'y';                                       /* names are copied, */
    assert_ptr_equal(gka_file_find(file, "x")->data, x); /* ... data are not */
    assert_int_equal(gka_file_count(file), 2);
    assert_non_null(gka_file_find(file, "none")->data);
    assert_string_equal(gka_file_metadata(file, "num_iter"), "7");
    assert_null(gka_file_at(x));
    gka_file_forget(file);
    gka_file_close(file);

    tensors[1].name = "y";
    assert_int_equal(gka_file_from_tensors("f", tensors, 2, NULL, 0, &file, &error),
                     GKA_BAD_ARGUMENT);
    assert_string_equal(error.text, "f: tensor 'y' is there twice");
    assert_null(file);
    tensors[0].shape[1] = -1;
    assert_int_equal(gka_file_from_tensors("f", tensors, 1, NULL, 0, &file, &error),
                     GKA_BAD_ARGUMENT);
    assert_string_equal(error.text, "f: tensor 'y' has a negative extent");
    tensors[0].rank = GKA_MAX_RANK + 1;
    assert_int_equal(gka_file_from_tensors("f", tensors, 1, NULL, 0, &file, &error),
                     GKA_BAD_ARGUMENT);
    assert_string_equal(error.text, "f: tensor 'y' has 9 axes; at most 8 were expected");
    tensors[0].rank = 1;
    tensors[0].shape[0] = 6;
    const int64_t live = gka_alloc_live();
    for (int64_t n = 0; n < 5; n++) {
        gka_alloc_fail_at(n, false);
        assert_int_equal(gka_file_from_tensors("f", tensors, 1, &pair, 1, &file, &error),
                         GKA_OUT_OF_MEMORY);
        assert_int_equal(gka_alloc_live(), live);
    }
    gka_alloc_fail_at(-1, false);
}

/* ---- dtypes -------------------------------------------------------------------------------- */

static void test_dtypes(void **state) {
    (void)state;
    assert_string_equal(gka_dtype_name(GKA_BF16), "BF16");
    assert_int_equal(gka_dtype_size(GKA_BF16), 2);
    assert_int_equal(gka_dtype_size(GKA_U8), 1);
    assert_string_equal(gka_dtype_name(GKA_DTYPE_COUNT), "?");
    assert_int_equal(gka_dtype_size(GKA_DTYPE_COUNT), 0);
}

/* ---- reading ------------------------------------------------------------------------------- */

static gka_status read_bytes(const char *header, size_t data, gka_file **file, gka_error *error) {
    static unsigned char bytes[4096];
    return gka_file_from_memory("f", bytes, make_safetensors(bytes, header, data), file, error);
}

static void test_read(void **state) {
    (void)state;
    gka_file *file;
    gka_error error = {0};
    assert_int_equal(
        read_bytes("{\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[6,14]},"
                   "\"__metadata__\":{\"key\":\"value\",\"x\":\"\"},"
                   "\"empty\":{\"dtype\":\"F64\",\"shape\":[3,0],\"data_offsets\":[6,6]},"
                   "\"a\":{\"dtype\":\"BF16\",\"shape\":[3,1],\"data_offsets\":[0,6]},"
                   "\"scalar\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[14,15]}}   ",
                   15, &file, &error),
        GKA_OK);
    assert_string_equal(gka_file_path(file), "f");
    assert_int_equal(gka_file_count(file), 4);
    /* in the order of their data, wherever the header has them */
    assert_string_equal(gka_file_tensor(file, 0)->name, "a");
    assert_string_equal(gka_file_tensor(file, 1)->name, "empty");
    assert_string_equal(gka_file_tensor(file, 2)->name, "b");
    assert_string_equal(gka_file_tensor(file, 3)->name, "scalar");
    const gka_tensor *const b = gka_file_find(file, "b");
    assert_int_equal(b->dtype, GKA_F32);
    assert_int_equal(b->rank, 1);
    assert_int_equal(b->shape[0], 2);
    assert_int_equal(gka_load_le(b->data, 4), 0x09080706);
    assert_int_equal(gka_tensor_count(gka_file_find(file, "empty")), 0);
    assert_int_equal(gka_tensor_count(gka_file_find(file, "scalar")), 1);
    assert_int_equal(*(const unsigned char *)gka_file_find(file, "scalar")->data, 14);
    assert_null(gka_file_find(file, "c"));
    assert_string_equal(gka_file_metadata(file, "key"), "value");
    assert_string_equal(gka_file_metadata(file, "x"), "");
    assert_null(gka_file_metadata(file, "y"));
    gka_file_close(file);

    assert_int_equal(read_bytes("{}", 0, &file, &error), GKA_OK);
    assert_int_equal(gka_file_count(file), 0);
    assert_null(gka_file_metadata(file, "key"));
    gka_file_close(file);
    gka_file_close(NULL);
}

/* A header, the bytes of data after it, and what the message must say. */
#define TENSOR(name, dtype, shape, offsets)                                                        \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
static const struct {
    const char *header;
    size_t data;
    const char *message;
} bad_headers[] = {
    {"", 2, "f: header does not begin with '{'"},
    {" {}", 0, "f: header does not begin with '{'"},
    {"[]", 0, "f: header does not begin with '{'"},
    {"{", 1, "f: header is not JSON at byte"},
    {"{}{}", 0, "f: header is not JSON at byte"},
    {"{" TENSOR("a", "U8", "[1]", "[0,1]") "," TENSOR("a", "U8", "[1]", "[0,1]") "}", 1,
     "duplicate object key"},
    {"{\"\xff\":1}", 0, "f: header is not JSON"},
    {"{\"a\":1}", 0, "f: tensor 'a': an object"},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "f: tensor 'a': dtype: a string"},
    {"{" TENSOR("a", "F17", "[1,-1]", "[0,1]") "}", 1, "f: tensor 'a': shape: extent 1 is not"},
    {"{" TENSOR("a", "F17", "[1]", "[0,2]") "}", 1, "f: tensor 'a': data_offsets [0, 2] do not"},
    {"{" TENSOR("a", "F17", "[1]", "[0,1]") "}", 2, "f: 1 bytes of data after the last tensor"},
    {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "f: tensor 'a': shape: an array"},
    {"{" TENSOR("a", "U8", "[1,1,1,1,1,1,1,1,1]", "[1,2]") "}", 2,
     "f: tensor 'a': data_offsets leave a gap of 1 bytes"},
    {"{" TENSOR("a", "U8", "[1,-1]", "[0,1]") "}", 1, "f: tensor 'a': shape: extent 1 is not"},
    {"{" TENSOR("a", "U8", "[1.0]", "[0,1]") "}", 1, "f: tensor 'a': shape: extent 0 is not"},
    {"{" TENSOR("a", "U8", "[\"1\"]", "[0,1]") "}", 1, "f: tensor 'a': shape: extent 0 is not"},
    {"{" TENSOR("a", "U8", "[9223372036854775808]", "[0,1]") "}", 1, "too big integer"},
    {"{" TENSOR("a", "U8", "[4294967296,4294967296]", "[0,0]") "}", 0,
     "f: tensor 'a': shape: the product of the extents overflows"},
    {"{" TENSOR("a", "F64", "[2305843009213693952]", "[0,0]") "}", 0,
     "f: tensor 'a': shape: the product of the extents overflows"},
    {"{" TENSOR("a", "U8", "[0,4294967296,4294967296]", "[0,0]") "}", 0,
     "f: tensor 'a': shape: the product of the extents overflows"},
    {"{" TENSOR("a", "F4", "[3]", "[0,1]") "}", 1, "f: tensor 'a': shape: elements of less than"},
    {"{" TENSOR("a", "F6_E2M3", "[1152921504606846976,8]", "[0,0]") "}", 0,
     "f: tensor 'a': shape: elements of less than"},
    {"{" TENSOR("a", "F6_E3M2", "[2,2]", "[0,2]") "}", 2, "f: tensor 'a'"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "f: tensor 'a': data_offsets: two integers"},
    {"{" TENSOR("a", "U8", "[1]", "[0]") "}", 1, "f: tensor 'a': data_offsets: two integers"},
    {"{" TENSOR("a", "U8", "[1]", "[0,1,1]") "}", 1, "f: tensor 'a': data_offsets: two integers"},
    {"{" TENSOR("a", "U8", "[1]", "[-1,0]") "}", 1, "f: tensor 'a': data_offsets: two integers"},
    {"{" TENSOR("a", "U8", "[1]", "[0,1.0]") "}", 1, "f: tensor 'a': data_offsets: two integers"},
    {"{" TENSOR("a", "U8", "[1]", "[0,2]") "}", 1,
     "f: tensor 'a': data_offsets [0, 2] do not lie within the 1 bytes of data"},
    {"{" TENSOR("a", "U8", "[1]", "[9007199254740993,9007199254740994]") "}", 1,
     "data_offsets [9007199254740993, 9007199254740994] do not lie within"},
    {"{" TENSOR("a", "U8", "[1]", "[9223372036854775807,9223372036854775807]") "}", 1,
     "do not lie within"},
    {"{" TENSOR("a", "U8", "[1]", "[1,0]") "}", 1, "f: tensor 'a': data_offsets [1, 0] do not"},
    {"{" TENSOR("a", "F32", "[2]", "[0,4]") "}", 4,
     "f: tensor 'a': data_offsets hold 4 bytes; the shape in F32 takes 8"},
    {"{" TENSOR("a", "U8", "[2]", "[0,2]") "," TENSOR("b", "U8", "[2]", "[1,3]") "}", 3,
     "f: tensor 'b': data_offsets overlap those of tensor 'a'"},
    {"{" TENSOR("a", "U8", "[2]", "[0,2]") "," TENSOR("b", "U8", "[2]", "[0,2]") "}", 2,
     "f: tensor 'b': data_offsets overlap those of tensor 'a'"},
    {"{" TENSOR("a", "U8", "[2]", "[0,2]") "," TENSOR("e", "U8", "[0]", "[1,1]") "}", 2,
     "f: tensor 'e': data_offsets overlap those of tensor 'a'"},
    {"{" TENSOR("a", "U8", "[1]", "[0,1]") "," TENSOR("b", "U8", "[1]", "[2,3]") "}", 3,
     "f: tensor 'b': data_offsets leave a gap of 1 bytes before it"},
    {"{" TENSOR("a", "U8", "[1]", "[1,2]") "}", 2, "f: tensor 'a': data_offsets leave a gap of 1"},
    {"{" TENSOR("a", "U8", "[1]", "[0,1]") "}", 3, "f: 2 bytes of data after the last tensor"},
    {"{}", 1, "f: 1 bytes of data after the last tensor"},
    {"{\"__metadata__\":\"text\"}", 0, "f: __metadata__: an object of strings was expected"},
};

static void test_bad_headers(void **state) {
    (void)state;
    const int64_t live = gka_alloc_live();
    for (size_t i = 0; i < sizeof bad_headers / sizeof bad_headers[0]; i++) {
        gka_error error = {0};
        gka_file *file = (gka_file *)&error;
        assert_int_equal(read_bytes(bad_headers[i].header, bad_headers[i].data, &file, &error),
                         GKA_BAD_FILE);
        assert_null(file);
        if (strstr(error.text, bad_headers[i].message) == NULL)
            fail_msg("%s\n  gave  %s\n  not   %s", bad_headers[i].header, error.text,
                     bad_headers[i].message);
    }
    assert_int_equal(gka_alloc_live(), live);
}

static void test_bad_lengths(void **state) {
    (void)state;
    unsigned char bytes[64] = {0};
    gka_file *file;
    gka_error error = {0};
    for (size_t size = 0; size < 10; size++) {
        assert_int_equal(gka_file_from_memory("f", bytes, size, &file, &error), GKA_BAD_FILE);
        assert_non_null(strstr(error.text, "bytes long; a safetensors file has at least 10"));
    }
    const size_t size = make_safetensors(bytes, "{}", 0);
    bytes[0] = 3;
    assert_int_equal(gka_file_from_memory("f", bytes, size, &file, &error), GKA_BAD_FILE);
    assert_string_equal(error.text,
                        "f: header length 3 goes beyond the end of the file (10 bytes)");
    memset(bytes, 0xff, 8);
    assert_int_equal(gka_file_from_memory("f", bytes, size, &file, &error), GKA_BAD_FILE);
    assert_string_equal(error.text,
                        "f: not a safetensors file: header length 18446744073709551615; at most "
                        "100000000 expected");
}

/* Objects within objects, deeper than any honest header: an error, not a stack overflow. */
static void test_deep_header(void **state) {
    (void)state;
    enum { DEPTH = 100000 };
    unsigned char *const bytes = gka_alloc(8 + 6 * DEPTH + 1, 1);
    char *const header = gka_alloc(6 * DEPTH + 1, 1);
    for (int i = 0; i < DEPTH; i++)
        memcpy(header + 5 * i, "{\"a\":", 5);
    gka_file *file;
    gka_error error = {0};
    const size_t size = make_safetensors(bytes, header, 0);
    assert_int_equal(gka_file_from_memory("f", bytes, size, &file, &error), GKA_BAD_FILE);
    assert_non_null(strstr(error.text, "maximum parsing depth reached"));
    gka_free(header);
    gka_free(bytes);
}

static void test_open_refuses(void **state) {
    (void)state;
    gka_file *file;
    gka_error error = {0};
    assert_int_equal(gka_file_open("none", &file, &error), GKA_IO);
    assert_string_equal(error.text, "none: No such file or directory");
    assert_int_equal(gka_file_open(".", &file, &error), GKA_IO);
    assert_string_equal(error.text, ".: not a regular file");
    assert_int_equal(mkfifo("fifo", 0600), 0);
    assert_int_equal(gka_file_open("fifo", &file, &error), GKA_IO);
    assert_string_equal(error.text, "fifo: not a regular file");
    unlink("fifo");
    assert_int_equal(close(open("nothing", O_WRONLY | O_CREAT, 0600)), 0);
    assert_int_equal(gka_file_open("nothing", &file, &error), GKA_BAD_FILE);
    assert_string_equal(error.text, "nothing: 0 bytes long; a safetensors file has at least 10");
    unlink("nothing");
}

/* 64 GiB of which one row is read; the file takes a few kilobytes of disk. */
static void test_larger_than_memory(void **state) {
    (void)state;
    const int64_t rows = INT64_C(1) << 28, bytes = rows * 256;
    char header[256];
    const int length =
        snprintf(header, sizeof header,
                 "{\"x\":{\"dtype\":\"F32\",\"shape\":[%lld,64],\"data_offsets\":[0,%lld]}}       ",
                 (long long)rows, (long long)bytes);
    unsigned char begin[512];
    const size_t size = make_safetensors(begin, header, 0);
    const int descriptor = open("large", O_RDWR | O_CREAT, 0600);
    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, begin, size), size);
    const int64_t place = (int64_t)length + 8 + (rows - 3) * 256 + 4;
    bool possible = sizeof(void *) == 8 &&
                    ftruncate(descriptor, (off_t)((int64_t)size + bytes)) == 0 &&
                    pwrite(descriptor, "\1\2\3\4", 4, (off_t)place) == 4;
    if (possible) { /* valgrind, for one, has no room for it */
        void *const whole = mmap(NULL, size + (size_t)bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
        possible = whole != MAP_FAILED && munmap(whole, size + (size_t)bytes) == 0;
    }
    close(descriptor);
    gka_file *file = NULL;
    gka_error error = {0};
    if (possible && gka_file_open("large", &file, &error) == GKA_OK) {
        const unsigned char *const data = gka_file_find(file, "x")->data;
        assert_int_equal(gka_load_le(data + (rows - 3) * 256 + 4, 4), 0x04030201);
        assert_int_equal(gka_load_le(data + (rows - 3) * 256, 4), 0);
        gka_file_close(file);
    }
    unlink("large");
    if (!possible)
        skip(); /* no holes in this file system, or no room in the address space */
    assert_int_equal(error.status, GKA_OK);
}

/* ---- writing ------------------------------------------------------------------------------- */

static const unsigned char numbers[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static const gka_tensor two[] = {
    {"b", GKA_F32, 2, {2, 1}, numbers},
    {"a \"\\\n\xc3\xa9", GKA_BF16, 1, {3}, numbers + 1}, /* unaligned, name to be escaped */
    {"none", GKA_F64, 2, {5, 0}, numbers},
};
static const gka_text_pair pairs[] = {{"z", "1"}, {"y", ""}, {"q\"", "\t\xe2\x82\xac"}};

static void assert_same(const gka_file *file, const gka_tensor *tensors, size_t count) {
    assert_int_equal(gka_file_count(file), count);
    for (size_t i = 0; i < count; i++) {
        const gka_tensor *const t = gka_file_find(file, tensors[i].name);
        assert_non_null(t);
        assert_int_equal(t->dtype, tensors[i].dtype);
        assert_int_equal(t->rank, tensors[i].rank);
        for (int j = 0; j < t->rank; j++)
            assert_int_equal(t->shape[j], tensors[i].shape[j]);
        const size_t bytes = (size_t)gka_tensor_count(t) * gka_dtype_size(t->dtype);
        assert_memory_equal(t->data, tensors[i].data, bytes);
    }
}

static void test_round_trip(void **state) {
    (void)state;
    gka_error error = {0};
    assert_int_equal(gka_file_write("t", two, 3, pairs, 3, &error), GKA_OK);
    gka_file *file;
    assert_int_equal(gka_file_open("t", &file, &error), GKA_OK);
    assert_same(file, two, 3);
    for (int i = 0; i < 3; i++)
        assert_string_equal(gka_file_metadata(file, pairs[i].key), pairs[i].value);
    gka_file_close(file);

    /* The bytes are a function of the arguments; the data begin at a multiple of 8. */
    static const char expected[] =
        "{\"__metadata__\":{\"z\":\"1\",\"y\":\"\",\"q\\\"\":\"\\t\xe2\x82\xac\"},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]},"
        "\"a \\\"\\\\\\n\xc3\xa9\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[8,14]},"
        "\"none\":{\"dtype\":\"F64\",\"shape\":[5,0],\"data_offsets\":[14,14]}}";
    char bytes[1024];
    FILE *const stream = fopen("t", "rb");
    const size_t size = fread(bytes, 1, sizeof bytes, stream);
    fclose(stream);
    const size_t padded = (sizeof expected - 1 + 7) / 8 * 8;
    assert_int_equal(size, 8 + padded + 14);
    assert_int_equal(gka_load_le(bytes, 8), padded);
    assert_memory_equal(bytes + 8, expected, sizeof expected - 1);
    for (size_t i = sizeof expected - 1; i < padded; i++)
        assert_int_equal(bytes[8 + i], ' ');
    unlink("t");
    assert_nothing_left();
}

/* Pages of files in this process's memory. */
static long file_pages(void) {
    long size = 0, resident = 0, shared = 0;
    FILE *const statm = fopen("/proc/self/statm", "r");
    if (statm != NULL && fscanf(statm, "%ld %ld %ld", &size, &resident, &shared) != 3)
        shared = 0;
    if (statm != NULL)
        fclose(statm);
    return shared;
}

static int sum(const gka_tensor *tensor) {
    int total = 0;
    for (int64_t i = 0; i < gka_tensor_count(tensor); i++)
        total += ((const unsigned char *)tensor->data)[i];
    return total;
}

/* What was read no longer counts as this process's, and is there when it is read again. */
static void test_forget(void **state) {
    (void)state;
    enum { SIZE = 1 << 23 };
    unsigned char *const bytes = gka_alloc(SIZE, 1);
    assert_non_null(bytes);
    memset(bytes, 1, SIZE);
    const gka_tensor tensor = {"a", GKA_U8, 1, {SIZE}, bytes};
    gka_error error = {0};
    gka_file *file;
    assert_int_equal(gka_file_write("t", &tensor, 1, NULL, 0, &error), GKA_OK);
    gka_free(bytes);
    assert_int_equal(gka_file_open("t", &file, &error), GKA_OK);
    assert_int_equal(sum(gka_file_tensor(file, 0)), SIZE);
    const long read = file_pages();
    gka_file_forget(file);
    if (read > 0)
        assert_true(file_pages() <= read - SIZE / 2 / sysconf(_SC_PAGESIZE));
    assert_int_equal(sum(gka_file_tensor(file, 0)), SIZE);
    gka_file_close(file);
    assert_int_equal(unlink("t"), 0);

    unsigned char memory[200];
    const size_t size = make_safetensors(
        memory, "{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}", 3);
    assert_int_equal(gka_file_from_memory("f", memory, size, &file, &error), GKA_OK);
    const int before = sum(gka_file_tensor(file, 0));
    gka_file_forget(file);
    assert_int_equal(sum(gka_file_tensor(file, 0)), before);
    gka_file_close(file);
}

static void test_write_nothing(void **state) {
    (void)state;
    gka_error error = {0};
    gka_file *file;
    assert_int_equal(gka_file_write("t", NULL, 0, NULL, 0, &error), GKA_OK);
    assert_int_equal(gka_file_open("t", &file, &error), GKA_OK);
    assert_int_equal(gka_file_count(file), 0);
    gka_file_close(file);
    unlink("t");
}

/* Any portions give the same file; its mode is what the umask allows. */
static void test_append_in_portions(void **state) {
    (void)state;
    gka_error error = {0};
    gka_writer *writer;
    const mode_t mask = umask(027);
    assert_int_equal(gka_writer_open("t", two, 2, NULL, 0, &writer, &error), GKA_OK);
    umask(mask);
    assert_false(exists("t"));
    assert_int_equal(gka_writer_append(writer, numbers, 3, &error), GKA_OK);
    assert_int_equal(gka_writer_append(writer, numbers, 0, &error), GKA_OK);
    assert_int_equal(gka_writer_append(writer, numbers + 3, 5, &error), GKA_OK);
    assert_int_equal(gka_writer_append(writer, numbers + 1, 6, &error), GKA_OK);
    assert_int_equal(gka_writer_append(writer, numbers, 1, &error), GKA_BAD_ARGUMENT);
    assert_int_equal(gka_writer_close(writer, &error), GKA_OK);
    struct stat about;
    assert_int_equal(stat("t", &about), 0);
    assert_int_equal(about.st_mode & 0777, 0640);
    gka_file *file;
    assert_int_equal(gka_file_open("t", &file, &error), GKA_OK);
    assert_same(file, two, 2);
    gka_file_close(file);
    unlink("t");
    assert_nothing_left();
}

static void test_writer_refuses(void **state) {
    (void)state;
    static const struct {
        gka_tensor tensors[2];
        size_t count;
        const char *message;
    } cases[] = {
        {{{"a", GKA_U8, 1, {1}, numbers}, {"a", GKA_U8, 1, {1}, numbers}}, 2, "'a': names that"},
        {{{"__metadata__", GKA_U8, 1, {1}, numbers}}, 1, "'__metadata__': names that"},
        {{{"\xff", GKA_U8, 1, {1}, numbers}}, 1, "UTF-8 text was expected"},
        {{{"a", GKA_DTYPE_COUNT, 1, {1}, numbers}}, 1, "'a': a known dtype"},
        {{{"a", GKA_U8, 9, {1}, numbers}}, 1, "'a': a known dtype"},
        {{{"a", GKA_U8, 1, {-1}, numbers}}, 1, "'a': a known dtype"},
        {{{"a", GKA_F64, 2, {INT64_C(1) << 31, INT64_C(1) << 29}, numbers}}, 1, "'a': a known"},
        {{{"a", GKA_U8, 1, {INT64_MAX}, numbers}, {"b", GKA_U8, 1, {1}, numbers}}, 2, "'b': a"},
    };
    const int64_t live = gka_alloc_live();
    gka_error error = {0};
    gka_writer *writer;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(
            gka_writer_open("t", cases[i].tensors, cases[i].count, pairs, 3, &writer, &error),
            GKA_BAD_ARGUMENT);
        assert_null(writer);
        if (strstr(error.text, cases[i].message) == NULL)
            fail_msg("%s", error.text);
    }
    const gka_text_pair twice[] = {{"a", "1"}, {"a", "2"}}, latin[] = {{"a", "\xe9"}};
    assert_int_equal(gka_writer_open("t", two, 2, twice, 2, &writer, &error), GKA_BAD_ARGUMENT);
    assert_string_equal(error.text, "t: metadata 'a' given twice");
    assert_int_equal(gka_writer_open("t", two, 2, latin, 1, &writer, &error), GKA_BAD_ARGUMENT);
    assert_int_equal(gka_writer_open("no/t", two, 2, NULL, 0, &writer, &error), GKA_IO);
    assert_string_equal(error.text, "no/t: cannot be written: No such file or directory");
    assert_int_equal(gka_writer_open("t", two, 2, NULL, 0, &writer, &error), GKA_OK);
    assert_int_equal(gka_writer_append(writer, numbers, 13, &error), GKA_OK);
    assert_int_equal(gka_writer_close(writer, &error), GKA_BAD_ARGUMENT);
    assert_string_equal(error.text, "t: 1 bytes of its tensors were never written");
    assert_false(exists("t"));
    assert_int_equal(gka_alloc_live(), live);
    assert_nothing_left();
}

/* Types of less than a byte fill whole bytes; the others of blocks have one to an element. */
static void test_short_types(void **state) {
    (void)state;
    static const unsigned char bytes[6] = {0x21, 0x43, 0x65, 0x87, 0xa9, 0xcb};
    const gka_tensor tensors[] = {
        {"four", GKA_F4, 2, {2, 2}, bytes},       {"six", GKA_F6_E2M3, 1, {8}, bytes},
        {"other", GKA_F6_E3M2, 2, {1, 4}, bytes}, {"scale", GKA_F8_E8M0, 1, {3}, bytes},
        {"amd", GKA_F8_E4M3FNUZ, 1, {2}, bytes},  {"amd2", GKA_F8_E5M2FNUZ, 1, {1}, bytes}};
    enum { COUNT = sizeof tensors / sizeof *tensors };
    static const size_t sizes[COUNT] = {2, 6, 3, 3, 2, 1};
    gka_file *file;
    gka_error error = {0};
    assert_int_equal(gka_file_write("t", tensors, COUNT, NULL, 0, &error), GKA_OK);
    assert_int_equal(gka_file_open("t", &file, &error), GKA_OK);
    assert_int_equal(gka_file_count(file), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        const gka_tensor *const t = gka_file_find(file, tensors[i].name);
        assert_non_null(t);
        assert_int_equal(t->dtype, tensors[i].dtype);
        assert_int_equal(gka_tensor_count(t) * gka_dtype_bits(t->dtype), 8 * sizes[i]);
        assert_memory_equal(t->data, bytes, sizes[i]);
    }
    gka_file_close(file);
    unlink("t");
    const gka_tensor open = {"open", GKA_F4, 1, {3}, bytes};
    assert_int_equal(gka_file_write("t", &open, 1, NULL, 0, &error), GKA_BAD_ARGUMENT);
    assert_non_null(strstr(error.text, "fills whole bytes"));
    assert_nothing_left();
}

/* What another tool has put beside what is used: tensors of other types and ranks, metadata that is
 * no text, NULs. It is read around, by name, and whoever wants it learns why not. */
static void test_read_what_is_used(void **state) {
    (void)state;
    gka_file *file;
    gka_error error = {0};
    assert_int_equal(
        read_bytes(
            "{" TENSOR("scale", "F8_E9M0", "[3]", "[0,3]") "," TENSOR(
                "a", "U8", "[2]",
                "[3,5]") "," TENSOR("four", "F17", "[4]",
                                    "[5,7]") "," TENSOR("deep", "U8", "[1,1,1,1,1,1,1,1,1]",
                                                        "[7,8]") "," TENSOR("c\\u0000d", "U8",
                                                                            "[1]",
                                                                            "[8,9]") ","
                                                                                     "\"__metadata_"
                                                                                     "_\":{"
                                                                                     "\"text\":"
                                                                                     "\"a\\u0000b\""
                                                                                     ",\"slash\":"
                                                                                     "\"\\\\u0000\""
                                                                                     ",\"number\":"
                                                                                     "0.5,"
                                                                                     "\"none\":"
                                                                                     "null,"
                                                                                     "\"list\":[1,{"
                                                                                     "\"a\":2}]}}",
            9, &file, &error),
        GKA_OK);
    assert_int_equal(gka_file_count(file), 2);
    assert_int_equal(gka_load_le(gka_file_find(file, "a")->data, 2), 0x0403);
    assert_non_null(gka_file_find(file, "c\xe2\x90\x80"
                                        "d")); /* U+2400 for the NUL */
    assert_string_equal(gka_file_metadata(file, "text"), "a\xe2\x90\x80"
                                                         "b");
    assert_string_equal(gka_file_metadata(file, "slash"), "\\u0000");
    assert_string_equal(gka_file_metadata(file, "number"), "0.5");
    assert_string_equal(gka_file_metadata(file, "none"), "null");
    assert_string_equal(gka_file_metadata(file, "list"), "[1,{\"a\":2}]");

    assert_int_equal(gka_file_unread_count(file), 3);
    assert_string_equal(gka_file_unread(file, 0)->name, "scale");
    assert_string_equal(gka_file_unread(file, 1)->name, "four");
    assert_string_equal(gka_file_unread(file, 2)->name, "deep");
    assert_null(gka_file_find(file, "four"));
    assert_int_equal(gka_file_readable(file, "a", &error), GKA_OK);
    assert_int_equal(gka_file_readable(file, "nowhere", &error), GKA_OK);
    assert_int_equal(gka_file_readable(file, "four", &error), GKA_BAD_FILE);
    assert_non_null(strstr(error.text, "f: tensor 'four': dtype 'F17' cannot be read; F64,"));
    assert_int_equal(gka_file_readable(file, "deep", &error), GKA_BAD_FILE);
    assert_string_equal(error.text, "f: tensor 'deep': rank 9; at most 8 was expected");
    gka_file_close(file);

    assert_int_equal(read_bytes("{\"__metadata__\":null}", 0, &file, &error), GKA_OK);
    assert_null(gka_file_metadata(file, "key"));
    gka_file_close(file);
}

/* ---- outputs ------------------------------------------------------------------------------- */

static void put(const char *path, const char *text) {
    FILE *const stream = fopen(path, "wb");
    assert_non_null(stream);
    fputs(text, stream);
    fclose(stream);
}

static void assert_holds(const char *path, const char *text) {
    char buffer[256];
    FILE *const stream = fopen(path, "rb");
    assert_non_null(stream);
    const size_t size = fread(buffer, 1, sizeof buffer - 1, stream);
    fclose(stream);
    buffer[size] = '\0';
    assert_string_equal(buffer, text);
}

static void test_output_replaces_when_closed(void **state) {
    (void)state;
    gka_error error = {0};
    gka_output *output;
    put("t", "old");
    assert_int_equal(gka_output_open("./t", &output, &error), GKA_OK);
    fputs("new", gka_output_stream(output));
    fflush(gka_output_stream(output));
    assert_holds("t", "old");
    assert_int_equal(gka_output_close(output, &error), GKA_OK);
    assert_holds("t", "new");
    assert_int_equal(gka_output_open("t", &output, &error), GKA_OK);
    fputs("newer", gka_output_stream(output));
    gka_output_abandon(output);
    gka_output_abandon(NULL);
    assert_holds("t", "new");
    unlink("t");
    assert_nothing_left();
}

/* What a path is already stays so: a link a link, a mode a mode, stdout the stream that is open. */
static void test_output_keeps_what_is_there(void **state) {
    (void)state;
    gka_error error = {0};
    gka_output *output;
    struct stat about;
    assert_int_equal(mkdir("folder", 0700), 0);
    put("folder/t", "old");
    assert_int_equal(chmod("folder/t", 0604), 0);
    assert_int_equal(symlink("folder/link", "link"), 0); /* of a link */
    assert_int_equal(symlink("t", "folder/link"), 0);
    assert_int_equal(symlink("folder/new", "ahead"), 0); /* to what is not there yet */
    const char *const names[] = {"link", "ahead"}, *const files[] = {"folder/t", "folder/new"};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(gka_output_open(names[i], &output, &error), GKA_OK);
        fputs("new", gka_output_stream(output));
        assert_int_equal(gka_output_close(output, &error), GKA_OK);
        assert_int_equal(lstat(names[i], &about), 0);
        assert_true(S_ISLNK(about.st_mode));
        assert_holds(files[i], "new");
    }
    assert_int_equal(stat("folder/t", &about), 0);
    assert_int_equal(about.st_mode & 07777, 0604);
    assert_int_equal(symlink("circle", "circle"), 0);
    assert_int_equal(gka_output_open("circle", &output, &error), GKA_IO);
    assert_non_null(strstr(error.text, "circle: cannot be "));
    if (geteuid() != 0) { /* root may write everything */
        assert_int_equal(chmod("folder/t", 0400), 0);
        assert_int_equal(gka_output_open("link", &output, &error), GKA_IO);
        assert_non_null(strstr(error.text, "Permission denied"));
    }
    assert_int_equal(gka_output_open("/dev/stdout", &output, &error), GKA_OK);
    assert_ptr_equal(gka_output_stream(output), stdout);
    gka_output_abandon(output);

    /* an open descriptor by its name: at its own place in the file */
    const int descriptor = open("folder/t", O_WRONLY | O_APPEND);
    char name[32];
    (void)snprintf(name, sizeof name, "/dev/fd/%d", descriptor);
    assert_int_equal(gka_output_open(name, &output, &error), GKA_OK);
    fputs("er", gka_output_stream(output));
    assert_int_equal(gka_output_close(output, &error), GKA_OK);
    assert_holds("folder/t", "newer");
    close(descriptor);
    static const char *const all[] = {"folder/t", "folder/new", "folder/link",
                                      "link",     "ahead",      "circle"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        assert_int_equal(unlink(all[i]), 0);
    assert_int_equal(rmdir("folder"), 0);
    assert_nothing_left();
}

/* Descriptors that are closed when the program starts are no place for the files that it opens. */
static void test_streams_hold(void **state) {
    (void)state;
    const pid_t child = fork();
    if (child == 0) {
        close(STDIN_FILENO);
        close(STDOUT_FILENO);
        bool good = gka_streams_hold();
        const int file = open("t", O_RDWR | O_CREAT, 0600);
        good = good && file > STDERR_FILENO && write(STDOUT_FILENO, "x", 1) < 0 && errno == EBADF;
        _exit(good ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 0);
    unlink("t");
}

/* Of an address in a mapped file a handler of SIGBUS learns the file. */
static void test_file_at(void **state) {
    (void)state;
    gka_file *file;
    gka_error error = {0};
    assert_int_equal(gka_file_write("t", two, 2, NULL, 0, &error), GKA_OK);
    assert_int_equal(gka_file_open("t", &file, &error), GKA_OK);
    const void *const data = gka_file_tensor(file, 0)->data;
    assert_string_equal(gka_file_at(data), "t");
    assert_null(gka_file_at(&error));
    gka_file_close(file);
    assert_null(gka_file_at(data));
    unlink("t");
}

static void test_foreign_files(void **state) {
    (void)state;
    static const struct {
        const char bytes[64];
        size_t size;
        const char *what;
    } cases[] = {{"\x93NUMPY\1\0", 8, "a NumPy array (.npy)"},
                 {"PK\3\4..........................q.npy", 36, "a NumPy archive (.npz)"},
                 {"PK\3\4..........................archive/data.pkl", 46, "a PyTorch file (.pt)"},
                 {"\x80\2}q\1X\1\0\0\0", 10, "a PyTorch file (.pt)"},
                 {"\x89HDF\r\n\x1a\n\0\0\0\0", 12, "an HDF5 file"},
                 {"GGUF\3\0\0\0", 8, "a GGUF file"},
                 {"\x1f\x8b\10\0", 4, "compressed by gzip"}};
    gka_file *file;
    gka_foreign foreign;
    gka_error error = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        FILE *const stream = fopen("t", "wb");
        assert_non_null(stream);
        fwrite(cases[i].bytes, 1, cases[i].size, stream);
        fclose(stream);
        assert_int_equal(gka_file_open("t", &file, &error), GKA_BAD_FILE);
        char line[128];
        (void)snprintf(line, sizeof line, "t: %s; a safetensors file was expected", cases[i].what);
        assert_string_equal(error.text, line);
        assert_true(gka_file_foreign("t", &foreign));
        assert_string_equal(foreign.what, cases[i].what);
    }
    /* a header as long as a pickle's first bytes look is none */
    unsigned char bytes[1024];
    char header[0x281];
    memset(header, ' ', sizeof header);
    memcpy(header, "{}", 2);
    header[0x280] = '\0';
    const size_t size = make_safetensors(bytes, header, 0);
    assert_memory_equal(bytes, "\x80\2", 2);
    assert_int_equal(gka_file_from_memory("f", bytes, size, &file, &error), GKA_OK);
    gka_file_close(file);
    assert_false(gka_file_foreign("none", &foreign));
    unlink("t");
}

static void test_output_full_disk(void **state) {
    (void)state;
    if (!exists("/dev/full"))
        skip();
    gka_error error = {0};
    gka_output *output;
    assert_int_equal(gka_output_open("/dev/full", &output, &error), GKA_OK);
    fputs("text", gka_output_stream(output));
    assert_int_equal(gka_output_close(output, &error), GKA_IO);
    assert_string_equal(error.text, "/dev/full: cannot be written: No space left on device");
    assert_int_equal(gka_file_write("/dev/full", two, 2, NULL, 0, &error), GKA_IO);
    assert_string_equal(error.text, "/dev/full: cannot be written: No space left on device");

    /* More than the stream's buffer: refused long before closing, which still knows why. */
    assert_int_equal(gka_output_open("/dev/full", &output, &error), GKA_OK);
    for (int i = 0; i < 1 << 16; i++)
        fputs("text", gka_output_stream(output));
    (void)fflush(gka_output_stream(output)); /* nothing is left to flush */
    assert_int_equal(gka_output_close(output, &error), GKA_IO);
    assert_string_equal(error.text, "/dev/full: cannot be written: No space left on device");
    assert_true(exists("/dev/full"));
    assert_nothing_left();
}

/* Bytes refused in the middle are not forgotten when the last ones find room. */
static void test_output_limit(void **state) {
    (void)state;
    static const char text[1 << 16];
    gka_error error = {0};
    gka_output *output;
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 4096;
    signal(SIGXFSZ, SIG_IGN);
    for (int lifted = 0; lifted < 2; lifted++) {
        assert_int_equal(gka_output_open("t", &output, &error), GKA_OK);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        (void)fwrite(text, 1, sizeof text, gka_output_stream(output));
        (void)fflush(gka_output_stream(output));
        if (lifted)
            assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(gka_output_close(output, &error), GKA_IO);
        /* The cause, if it can still be found. */
        assert_string_equal(error.text, lifted ? "t: cannot be written: Input/output error"
                                               : "t: cannot be written: File too large");
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    }
    signal(SIGXFSZ, SIG_DFL);
    assert_nothing_left();
}

static void test_output_to_a_directory(void **state) {
    (void)state;
    gka_error error = {0};
    gka_output *output;
    assert_int_equal(gka_output_open(".", &output, &error), GKA_IO);
    assert_null(output);
    /* the name becomes a directory while the file is written */
    assert_int_equal(gka_output_open("t", &output, &error), GKA_OK);
    assert_int_equal(mkdir("t", 0700), 0);
    assert_int_equal(gka_output_close(output, &error), GKA_IO);
    assert_int_equal(error.status, GKA_IO);
    rmdir("t");
    assert_nothing_left();
}

/* Every temporary is removed, their owners learn of it, and no output opens afterwards. In a child,
 * for the process is taken to be at its end. */
static void test_abandon_all(void **state) {
    (void)state;
    const pid_t child = fork();
    if (child == 0) {
        const int64_t live = gka_alloc_live();
        gka_error one_error = {0}, error = {0};
        gka_output *one, *another, *after;
        FILE *spool;
        bool good = gka_output_open("one", &one, NULL) == GKA_OK &&
                    gka_output_open("another", &another, NULL) == GKA_OK;
        if (!good)
            _exit(1);
        gka_output_abandon_all();
        gka_output_abandon_all();
        good = gka_output_close(one, &one_error) == GKA_INTERRUPTED &&
               strcmp(one_error.text, "one: interrupted while it was written") == 0;
        gka_output_abandon(another);
        good = good && gka_output_open("after", &after, &error) == GKA_INTERRUPTED &&
               strcmp(error.text, "after: interrupted before it was written") == 0 &&
               gka_spool_open("after", &spool, NULL) == GKA_INTERRUPTED && after == NULL &&
               spool == NULL && gka_alloc_live() == live;
        _exit(good ? 0 : 2);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_nothing_left();
}

/* What was written is read back, and no name of it is left. */
static void test_spool(void **state) {
    (void)state;
    gka_error error = {0};
    FILE *spool;
    char text[8];
    assert_int_equal(gka_spool_open("t", &spool, &error), GKA_OK);
    assert_nothing_left();
    fputs("text", spool);
    rewind(spool);
    assert_ptr_equal(fgets(text, sizeof text, spool), text);
    assert_string_equal(text, "text");
    fclose(spool);
    assert_int_equal(gka_spool_open("none/t", &spool, &error), GKA_IO);
    assert_null(spool);
}

static void end(int number) {
    gka_output_abandon_all();
    signal(number, SIG_DFL);
    raise(number);
}

static void *open_and_abandon(void *unused) {
    for (;;) {
        gka_output *output;
        if (gka_output_open("t", &output, NULL) == GKA_OK)
            gka_output_abandon(output);
    }
    return unused;
}

/* A program that is told to end while it writes leaves nothing behind, and it dies of the signal:
 * whichever of its threads takes it, whatever the others are opening at that moment, and when two
 * signals come at once. (With SA_RESETHAND in the handler's flags, or without the wait for slots
 * that are being taken or removed, some of the rounds leave a file.) */
static void test_signal(void **state) {
    (void)state;
    enum { ROUNDS = 60, THREADS = 3 };
    for (int round = 0; round < ROUNDS; round++) {
        int ready[2];
        assert_int_equal(pipe(ready), 0);
        const pid_t child = fork();
        if (child == 0) {
            struct sigaction action = {.sa_handler = end};
            sigfillset(&action.sa_mask);
            sigaction(SIGTERM, &action, NULL);
            sigaction(SIGINT, &action, NULL);
            pthread_t thread[THREADS];
            gka_output *output;
            if (gka_output_open("t", &output, NULL) != GKA_OK)
                _exit(1);
            fputs("text", gka_output_stream(output));
            for (int i = 0; i < THREADS; i++)
                if (pthread_create(&thread[i], NULL, open_and_abandon, NULL) != 0)
                    _exit(1);
            (void)!write(ready[1], "", 1);
            for (;;)
                pause();
        }
        char byte;
        assert_int_equal(read(ready[0], &byte, 1), 1);
        assert_int_equal(kill(child, SIGTERM), 0);
        assert_int_equal(kill(child, round % 2 == 0 ? SIGTERM : SIGINT), 0);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        assert_true(WTERMSIG(status) == SIGTERM || WTERMSIG(status) == SIGINT);
        close(ready[0]);
        close(ready[1]);
        assert_nothing_left();
    }
}

static void test_many_outputs(void **state) {
    (void)state;
    gka_output *outputs[65];
    gka_error error = {0};
    char name[16];
    for (int i = 0; i < 64; i++) {
        (void)snprintf(name, sizeof name, "t%d", i);
        assert_int_equal(gka_output_open(name, &outputs[i], &error), GKA_OK);
    }
    assert_int_equal(gka_output_open("t64", &outputs[64], &error), GKA_UNSUPPORTED);
    assert_null(outputs[64]);
    for (int i = 0; i < 64; i++)
        gka_output_abandon(outputs[i]);
    assert_nothing_left();
}

/* ---- no memory ----------------------------------------------------------------------------- */

static gka_status write_and_read(void *context) {
    gka_error *const error = context;
    (void)unlink("t");
    gka_file *file;
    gka_status status = gka_file_write("t", two, 3, pairs, 3, error);
    if (status == GKA_OK)
        status = gka_file_open("t", &file, error);
    if (status == GKA_OK)
        gka_file_close(file);
    return status;
}

/* One allocation fails, then from one on all of them. */
static void fail_each_allocation(int64_t at_least) {
    for (int rest = 0; rest < 2; rest++) {
        gka_error error = {0};
        assert_true(some_allocations_fail(write_and_read, &error, rest, INT64_MAX) >= at_least);
        assert_int_equal(error.status, GKA_OUT_OF_MEMORY);
    }
    unlink("t");
    assert_nothing_left();
}

static void test_each_allocation_fails(void **state) {
    (void)state;
    fail_each_allocation(10);
}

/* Jansson's own allocations, through the hooks that a program may set. */
static void *json_allocate(size_t size) {
    return gka_alloc(size, 1);
}

static void test_each_json_allocation_fails(void **state) {
    (void)state;
    json_malloc_t old_malloc;
    json_free_t old_free;
    json_get_alloc_funcs(&old_malloc, &old_free);
    json_set_alloc_funcs(json_allocate, gka_free);
    fail_each_allocation(50);
    json_set_alloc_funcs(old_malloc, old_free);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dtypes),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_short_types),
        cmocka_unit_test(test_read_what_is_used),
        cmocka_unit_test(test_bad_headers),
        cmocka_unit_test(test_bad_lengths),
        cmocka_unit_test(test_deep_header),
        cmocka_unit_test(test_open_refuses),
        cmocka_unit_test(test_larger_than_memory),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_forget),
        cmocka_unit_test(test_write_nothing),
        cmocka_unit_test(test_append_in_portions),
        cmocka_unit_test(test_writer_refuses),
        cmocka_unit_test(test_output_replaces_when_closed),
        cmocka_unit_test(test_output_keeps_what_is_there),
        cmocka_unit_test(test_streams_hold),
        cmocka_unit_test(test_file_at),
        cmocka_unit_test(test_foreign_files),
        cmocka_unit_test(test_output_full_disk),
        cmocka_unit_test(test_output_limit),
        cmocka_unit_test(test_output_to_a_directory),
        cmocka_unit_test(test_abandon_all),
        cmocka_unit_test(test_spool),
        cmocka_unit_test(test_signal),
        cmocka_unit_test(test_many_outputs),
        cmocka_unit_test(test_a_file_of_tensors),
        cmocka_unit_test(test_each_allocation_fails),
        cmocka_unit_test(test_each_json_allocation_fails),
    };
    return cmocka_run_group_tests_name("io", tests, enter, leave);
}
