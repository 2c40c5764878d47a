/* reader.c - a safetensors file, memory mapped, checked whole when opened.
 *
 *     n = first 8 bytes, little-endian | header, n bytes of JSON | data, the rest of the file
 *
 * The tensors' byte ranges, sorted, must cover the data exactly: no overlap, no gap, no remainder.
 */
#include "gka/io.h"

#include "io/bytes.h"
#include "io/pages.h"
#include "io/tensor.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LENGTH_BYTES = 8,
    MAX_HEADER = 100000000 /* what the safetensors library itself accepts */
};

/* A tensor that is not read, and why: its type, or its rank. */
struct unread {
    gka_tensor tensor; /* its name alone */
    const char *dtype;
    size_t rank;
};

struct gka_file {
    char *path;
    const unsigned char *bytes; /* the whole file */
    size_t size;
    bool mapped;
    gka_tensor *tensors; /* by the place of their data */
    size_t count;
    struct unread *unread; /* tensors of unknown types, likewise */
    size_t unread_count;
    gka_text_pair *pairs; /* the metadata, in the file's order */
    size_t pair_count;
    char *text; /* what names, keys and values point into */
};

/* ---- messages ------------------------------------------------------------------------------ */

static gka_status bad(const gka_file *file, gka_error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static gka_status bad_tensor(const gka_file *file, gka_error *error, const char *name,
                             const char *format, ...) __attribute__((format(printf, 4, 5)));

static gka_status bad(const gka_file *file, gka_error *error, const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return gka_fail(error, GKA_BAD_FILE, "%s: %s", file->path, text);
}

static gka_status bad_tensor(const gka_file *file, gka_error *error, const char *name,
                             const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return gka_fail(error, GKA_BAD_FILE, "%s: tensor '%.64s': %s", file->path, name, text);
}

static gka_status out_of_memory(const gka_file *file, gka_error *error) {
    return gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory reading the header", file->path);
}

/* ---- the header ---------------------------------------------------------------------------- */

static size_t header_size(const gka_file *file) {
    return (size_t)gka_load_le(file->bytes, LENGTH_BYTES);
}

static const unsigned char *data_begin(const gka_file *file) {
    return file->bytes + LENGTH_BYTES + header_size(file);
}

static size_t data_size(const gka_file *file) {
    return file->size - LENGTH_BYTES - header_size(file);
}

/* ---- what is no safetensors file ----------------------------------------------------------- */

static bool begins(const unsigned char *bytes, size_t size, const char *magic, size_t length) {
    return size >= length && memcmp(bytes, magic, length) == 0;
}

static bool contains(const unsigned char *bytes, size_t size, const char *word) {
    const size_t length = strlen(word);
    for (size_t i = 0; i + length <= size; i++)
        if (memcmp(bytes + i, word, length) == 0)
            return true;
    return false;
}

static bool recognise(const unsigned char *bytes, size_t size, gka_foreign *foreign) {
    static const gka_foreign array = {
        "a NumPy array (.npy)",
        "    import numpy\n"
        "    from safetensors.numpy import save_file\n"
        "    save_file({\"x\": numpy.load(\"FILE\")}, \"FILE.safetensors\")\n"};
    static const gka_foreign arrays = {
        "a NumPy archive (.npz)",
        "    import numpy\n"
        "    from safetensors.numpy import save_file\n"
        "    save_file(dict(numpy.load(\"FILE\")), \"FILE.safetensors\")\n"};
    static const gka_foreign torch = {
        "a PyTorch file (.pt)",
        "    import torch\n"
        "    from safetensors.torch import save_file\n"
        "    save_file(torch.load(\"FILE\", weights_only=True), \"FILE.safetensors\")\n"};
    static const gka_foreign groups = {"an HDF5 file",
                                       "    import h5py\n"
                                       "    from safetensors.numpy import save_file\n"
                                       "    save_file({n: x[()] for n, x in "
                                       "h5py.File(\"FILE\").items()}, \"FILE.safetensors\")\n"};
    static const gka_foreign quantised = {
        "a GGUF file", "    from gguf import GGUFReader, dequantize\n"
                       "    from safetensors.numpy import save_file\n"
                       "    save_file({t.name: dequantize(t.data, t.tensor_type) for t in "
                       "GGUFReader(\"FILE\").tensors}, \"FILE.safetensors\")\n"};
    static const gka_foreign packed = {"compressed by gzip",
                                       "    import gzip\n"
                                       "    with open(\"FILE.safetensors\", \"wb\") as out:\n"
                                       "        out.write(gzip.open(\"FILE\").read())\n"};
    const size_t near = size < 4096 ? size : 4096;
    if (size > LENGTH_BYTES && bytes[LENGTH_BYTES] == '{')
        return false; /* a header's length may look like anything */
    if (begins(bytes, size, "\x93NUMPY", 6))
        *foreign = array;
    else if (begins(bytes, size, "PK\3\4", 4) && contains(bytes, near, "data.pkl"))
        *foreign = torch;
    else if (begins(bytes, size, "PK\3\4", 4) && contains(bytes, near, ".npy"))
        *foreign = arrays;
    else if (begins(bytes, size, "\x80\2", 2) || begins(bytes, size, "\x80\4", 2))
        *foreign = torch; /* a bare pickle, as torch.save wrote them once */
    else if (begins(bytes, size, "\x89HDF\r\n\x1a\n", 8))
        *foreign = groups;
    else if (begins(bytes, size, "GGUF", 4))
        *foreign = quantised;
    else if (begins(bytes, size, "\x1f\x8b", 2))
        *foreign = packed;
    else
        return false;
    return true;
}

bool gka_file_foreign(const char *path, gka_foreign *foreign) {
    unsigned char bytes[4096];
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const ssize_t size = descriptor < 0 ? -1 : read(descriptor, bytes, sizeof bytes);
    if (descriptor >= 0)
        (void)close(descriptor);
    return size > 0 && recognise(bytes, (size_t)size, foreign);
}

static gka_status check_lengths(const gka_file *file, gka_error *error) {
    gka_foreign foreign;
    if (file->size > 0 && recognise(file->bytes, file->size, &foreign))
        return bad(file, error, "%s; a safetensors file was expected", foreign.what);
    if (file->size < LENGTH_BYTES + 2)
        return bad(file, error, "%zu bytes long; a safetensors file has at least %d", file->size,
                   LENGTH_BYTES + 2);
    const uint64_t length = gka_load_le(file->bytes, LENGTH_BYTES);
    if (length > MAX_HEADER)
        return bad(file, error, "not a safetensors file: header length %llu; at most %d expected",
                   (unsigned long long)length, MAX_HEADER);
    if (length > file->size - LENGTH_BYTES)
        return bad(file, error, "header length %llu goes beyond the end of the file (%zu bytes)",
                   (unsigned long long)length, file->size);
    if (length == 0 || file->bytes[LENGTH_BYTES] != '{')
        return bad(file, error, "header does not begin with '{'; a JSON object expected");
    return GKA_OK;
}

static json_t *parse(const char *header, size_t size, json_error_t *why) {
    memset(why, 0, sizeof *why);
    return json_loadb(header, size, JSON_REJECT_DUPLICATES, why);
}

/* A NUL within a string, which jansson does not take in a name and C not in a text, becomes U+2400,
 * the picture of one: such a name or value is like no other, and can be shown. A copy of the
 * header, or NULL. */
static char *picture_nuls(const char *header, size_t size) {
    char *const copy = gka_alloc(size, 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, header, size);
    for (size_t i = 0; i + 1 < size; i++) {
        if (copy[i] != '\\')
            continue;
        if (size - i >= 6 && memcmp(copy + i, "\\u0000", 6) == 0)
            copy[i + 2] = '2', copy[i + 3] = '4';
        i++; /* what is escaped begins no escape */
    }
    return copy;
}

static bool has_nuls(const char *header, size_t size) {
    for (size_t i = 0; i + 6 <= size; i++)
        if (memcmp(header + i, "\\u0000", 6) == 0)
            return true;
    return false;
}

/* Jansson says nothing when an object could not be made, but calls it a syntax error when there was
 * no memory for a string. A true syntax error is there the second time too. */
static gka_status parse_text(const gka_file *file, const char *header, json_t **root,
                             gka_error *error) {
    json_error_t why, again;
    const size_t size = header_size(file);
    *root = parse(header, size, &why);
    if (*root != NULL)
        return GKA_OK;
    json_decref(parse(header, size, &again));
    if (why.text[0] == '\0' || again.text[0] == '\0')
        return out_of_memory(file, error);
    return bad(file, error, "header is not JSON at byte %d: %.150s", LENGTH_BYTES + why.position,
               why.text);
}

static gka_status parse_json(const gka_file *file, json_t **root, gka_error *error) {
    const char *const header = (const char *)file->bytes + LENGTH_BYTES;
    *root = NULL;
    if (!has_nuls(header, header_size(file)))
        return parse_text(file, header, root, error);
    char *const copy = picture_nuls(header, header_size(file));
    if (copy == NULL)
        return out_of_memory(file, error);
    const gka_status status = parse_text(file, copy, root, error);
    gka_free(copy);
    return status;
}

static bool non_negative(const json_t *value, int64_t *number) {
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *number = (int64_t)json_integer_value(value);
    return true;
}

/* An entry of the header while it is read. */
typedef struct entry {
    gka_tensor tensor;
    size_t bytes;
    const char *dtype; /* as the header has it; in the file's text once it is kept */
    size_t rank;
    bool known; /* this library has the type and the rank */
} entry;

/* The extents; of a tensor that is not known, that they are numbers. */
static gka_status read_shape(const gka_file *file, const json_t *value, entry *e,
                             gka_error *error) {
    gka_tensor *const tensor = &e->tensor;
    const json_t *const shape = json_object_get(value, "shape");
    if (!json_is_array(shape))
        return bad_tensor(file, error, tensor->name, "shape: an array of extents was expected");
    e->rank = json_array_size(shape);
    e->known = e->known && e->rank <= GKA_MAX_RANK;
    tensor->rank = e->known ? (int)e->rank : 0;
    for (size_t i = 0; i < e->rank; i++) {
        int64_t extent;
        if (!non_negative(json_array_get(shape, i), &extent))
            return bad_tensor(file, error, tensor->name,
                              "shape: extent %zu is not an integer >= 0 below 2^63", i);
        if (e->known)
            tensor->shape[i] = extent;
    }
    return GKA_OK;
}

/* One entry {"dtype": NAME, "shape": [..], "data_offsets": [BEGIN, END]}; all of *e but the
 * tensor's name, which is already there. */
static gka_status read_tensor(const gka_file *file, const json_t *value, entry *e,
                              gka_error *error) {
    gka_tensor *const tensor = &e->tensor;
    const char *const name = tensor->name;
    if (!json_is_object(value))
        return bad_tensor(file, error, name,
                          "an object {dtype, shape, data_offsets} was expected in the header");

    const json_t *const dtype = json_object_get(value, "dtype");
    if (!json_is_string(dtype))
        return bad_tensor(file, error, name, "dtype: a string was expected");
    e->dtype = json_string_value(dtype);
    tensor->dtype = gka_dtype_find(e->dtype);
    e->known = tensor->dtype != GKA_DTYPE_COUNT;

    const gka_status status = read_shape(file, value, e, error);
    if (status != GKA_OK)
        return status;
    size_t bytes = 0;
    if (e->known && !gka_tensor_bytes(tensor, &bytes))
        return bad_tensor(file, error, name,
                          gka_dtype_size(tensor->dtype) > 0
                              ? "shape: the product of the extents overflows"
                              : "shape: elements of less than a byte that fill whole bytes, and no "
                                "overflow, were expected");

    const json_t *const offsets = json_object_get(value, "data_offsets");
    int64_t begin, end;
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 ||
        !non_negative(json_array_get(offsets, 0), &begin) ||
        !non_negative(json_array_get(offsets, 1), &end))
        return bad_tensor(file, error, name,
                          "data_offsets: two integers >= 0 below 2^63 were expected");
    if (begin > end || (uint64_t)end > data_size(file))
        return bad_tensor(file, error, name,
                          "data_offsets [%lld, %lld] do not lie within the %zu bytes of data",
                          (long long)begin, (long long)end, data_size(file));
    if (e->known && (uint64_t)(end - begin) != bytes)
        return bad_tensor(file, error, name,
                          "data_offsets hold %lld bytes; the shape in %s takes %zu",
                          (long long)(end - begin), gka_dtype_name(tensor->dtype), bytes);
    e->bytes = (size_t)(end - begin);
    tensor->data = data_begin(file) + begin;
    return GKA_OK;
}

/* By begin, then by end (tensors without elements come before the one that starts there). */
static int by_place(const void *a, const void *b) {
    const entry *const s = a, *const t = b;
    const unsigned char *const p = s->tensor.data, *const q = t->tensor.data;
    if (p != q)
        return p < q ? -1 : 1;
    if ((s->bytes > 0) != (t->bytes > 0))
        return s->bytes == 0 ? -1 : 1;
    return strcmp(s->tensor.name, t->tensor.name);
}

static gka_status check_cover(const gka_file *file, const entry *entries, size_t count,
                              gka_error *error) {
    const unsigned char *end = data_begin(file);
    for (size_t i = 0; i < count; i++) {
        const gka_tensor *const tensor = &entries[i].tensor;
        const unsigned char *const begin = tensor->data;
        if (begin < end)
            return bad_tensor(file, error, tensor->name,
                              "data_offsets overlap those of tensor '%.64s'",
                              entries[i - 1].tensor.name);
        if (begin > end)
            return bad_tensor(file, error, tensor->name,
                              "data_offsets leave a gap of %zu bytes before it",
                              (size_t)(begin - end));
        end += entries[i].bytes;
    }
    const size_t rest = (size_t)(file->bytes + file->size - end);
    if (rest != 0)
        return bad(file, error, "%zu bytes of data after the last tensor; none expected", rest);
    return GKA_OK;
}

/* Copies a string behind *text and returns the copy. */
static const char *keep(char **text, const char *source) {
    char *const copy = *text;
    const size_t bytes = strlen(source) + 1;
    memcpy(copy, source, bytes);
    *text += bytes;
    return copy;
}

static const char METADATA[] = "__metadata__";

/* A metadata value as text: of a string itself, of anything else its JSON, which is the caller's to
 * free by json's own function (*made). NULL: out of memory. */
static const char *value_text(const json_t *value, char **made) {
    *made = json_is_string(value) ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    return json_is_string(value) ? json_string_value(value) : *made;
}

static void free_text(char *made) {
    json_malloc_t allocate;
    json_free_t release;
    json_get_alloc_funcs(&allocate, &release);
    if (made != NULL)
        release(made);
}

/* How many tensors there are, and how much room the names, types, keys and values take. */
static gka_status measure(gka_file *file, json_t *root, size_t *count, size_t *text,
                          gka_error *error) {
    const char *key;
    json_t *value;
    *text = *count = 0;
    json_object_foreach(root, key, value) {
        if (strcmp(key, METADATA) == 0)
            continue;
        ++*count;
        const char *const dtype = json_string_value(json_object_get(value, "dtype"));
        *text += strlen(key) + 1 + (dtype == NULL ? 0 : strlen(dtype) + 1);
    }
    json_t *const metadata = json_object_get(root, METADATA);
    if (metadata == NULL || json_is_null(metadata))
        return GKA_OK;
    if (!json_is_object(metadata))
        return bad(file, error, "%s: an object of strings was expected", METADATA);
    json_object_foreach(metadata, key, value) {
        char *made;
        const char *const said = value_text(value, &made);
        if (said == NULL)
            return out_of_memory(file, error);
        file->pair_count++;
        *text += strlen(key) + strlen(said) + 2;
        free_text(made);
    }
    return GKA_OK;
}

static gka_status keep_metadata(gka_file *file, json_t *root, char **text, gka_error *error) {
    const char *key;
    json_t *value;
    size_t i = 0;
    json_object_foreach(json_object_get(root, METADATA), key, value) {
        char *made;
        const char *const said = value_text(value, &made);
        if (said == NULL)
            return out_of_memory(file, error);
        file->pairs[i].key = keep(text, key);
        file->pairs[i++].value = keep(text, said);
        free_text(made);
    }
    return GKA_OK;
}

/* Those that can be read, and those that cannot. */
static void sort_out(gka_file *file, const entry *entries, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const entry *const e = &entries[i];
        if (e->known)
            file->tensors[file->count++] = e->tensor;
        else
            file->unread[file->unread_count++] = (struct unread){
                {.name = e->tensor.name, .dtype = GKA_DTYPE_COUNT}, e->dtype, e->rank};
    }
}

static gka_status read_tensors(gka_file *file, json_t *root, entry *entries, char **text,
                               gka_error *error) {
    const char *key;
    json_t *value;
    size_t count = 0;
    json_object_foreach(root, key, value) {
        if (strcmp(key, METADATA) == 0)
            continue;
        entry *const e = &entries[count++];
        e->tensor.name = keep(text, key);
        const gka_status status = read_tensor(file, value, e, error);
        if (status != GKA_OK)
            return status;
        e->dtype = keep(text, e->dtype);
    }
    qsort(entries, count, sizeof *entries, by_place);
    const gka_status status = check_cover(file, entries, count, error);
    if (status == GKA_OK)
        sort_out(file, entries, count);
    return status;
}

static gka_status read_entries(gka_file *file, json_t *root, gka_error *error) {
    size_t room, count;
    gka_status status = measure(file, root, &count, &room, error);
    if (status != GKA_OK)
        return status;
    entry *const entries = gka_alloc(count, sizeof *entries);
    file->tensors = gka_alloc(count, sizeof *file->tensors);
    file->unread = gka_alloc(count, sizeof *file->unread);
    file->pairs = gka_alloc(file->pair_count, sizeof *file->pairs);
    file->text = gka_alloc(room, 1);
    char *text = file->text;
    if (entries == NULL || file->tensors == NULL || file->unread == NULL || file->pairs == NULL ||
        text == NULL)
        status = out_of_memory(file, error);
    if (status == GKA_OK)
        status = read_tensors(file, root, entries, &text, error);
    if (status == GKA_OK)
        status = keep_metadata(file, root, &text, error);
    gka_free(entries);
    return status;
}

static gka_status read_header(gka_file *file, gka_error *error) {
    gka_status status = check_lengths(file, error);
    if (status != GKA_OK)
        return status;
    json_t *root;
    status = parse_json(file, &root, error);
    if (status != GKA_OK)
        return status;
    status = read_entries(file, root, error);
    json_decref(root);
    return status;
}

/* ---- opening and closing ------------------------------------------------------------------- */

/* The mapped files of the process, for a handler of SIGBUS, which has no other way to them. Where
 * more are open, such a handler does not know the later ones. */
enum { MAPPED = 64 };
static _Atomic(const gka_file *) mapped_files[MAPPED];

static void list_file(const gka_file *file) {
    for (int i = 0; i < MAPPED; i++) {
        const gka_file *none = NULL;
        if (atomic_compare_exchange_strong(&mapped_files[i], &none, file))
            return;
    }
}

static void unlist_file(const gka_file *file) {
    for (int i = 0; i < MAPPED; i++) {
        const gka_file *own = file;
        if (atomic_compare_exchange_strong(&mapped_files[i], &own, NULL))
            return;
    }
}

const char *gka_file_at(const void *address) {
    const uintptr_t at = (uintptr_t)address;
    for (int i = 0; i < MAPPED; i++) {
        const gka_file *const file = atomic_load(&mapped_files[i]);
        if (file != NULL && at >= (uintptr_t)file->bytes &&
            at - (uintptr_t)file->bytes < file->size)
            return file->path;
    }
    return NULL;
}

static gka_file *new_file(const char *path, gka_error *error) {
    gka_file *const file = gka_alloc(1, sizeof *file);
    char *const copy = gka_strdup(path);
    if (file == NULL || copy == NULL) {
        gka_free(file);
        gka_free(copy);
        (void)gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory opening it", path);
        return NULL;
    }
    file->path = copy;
    return file;
}

static gka_status map(gka_file *file, int descriptor, gka_error *error) {
    struct stat about;
    if (fstat(descriptor, &about) != 0)
        return gka_fail(error, GKA_IO, "%s: %s", file->path, strerror(errno));
    if (!S_ISREG(about.st_mode))
        return gka_fail(error, GKA_IO, "%s: not a regular file", file->path);
    if ((uint64_t)about.st_size > SIZE_MAX / 2)
        return gka_fail(error, GKA_IO, "%s: larger than this machine can address", file->path);
    file->size = (size_t)about.st_size;
    if (file->size == 0)
        return GKA_OK; /* there is nothing to map, and the header's check says so */
    const void *const bytes = gka_pages_map(descriptor, file->size, false);
    if (bytes == NULL)
        return gka_fail(error, errno == ENOMEM ? GKA_OUT_OF_MEMORY : GKA_IO,
                        "%s: cannot be mapped into memory: %s", file->path, strerror(errno));
    file->bytes = bytes;
    file->mapped = true;
    list_file(file);
    return GKA_OK;
}

gka_status gka_file_open(const char *path, gka_file **file, gka_error *error) {
    *file = NULL;
    gka_file *const new = new_file(path, error);
    if (new == NULL)
        return GKA_OUT_OF_MEMORY;
    /* O_NONBLOCK: a pipe is refused, not waited for. */
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    gka_status status;
    if (descriptor < 0) {
        status = gka_fail(error, GKA_IO, "%s: %s", path[0] == '\0' ? "''" : path, strerror(errno));
    } else {
        status = map(new, descriptor, error);
        (void)close(descriptor);
    }
    if (status == GKA_OK)
        status = read_header(new, error);
    if (status != GKA_OK) {
        gka_file_close(new);
        return status;
    }
    *file = new;
    return GKA_OK;
}

gka_status gka_file_from_memory(const char *name, const void *bytes, size_t size, gka_file **file,
                                gka_error *error) {
    *file = NULL;
    gka_file *const new = new_file(name, error);
    if (new == NULL)
        return GKA_OUT_OF_MEMORY;
    new->bytes = bytes;
    new->size = size;
    const gka_status status = read_header(new, error);
    if (status != GKA_OK) {
        gka_file_close(new);
        return status;
    }
    *file = new;
    return GKA_OK;
}

static gka_status check_tensor(const gka_file *file, size_t i, gka_error *error) {
    const gka_tensor *const tensor = &file->tensors[i];
    for (size_t j = 0; j < i; j++)
        if (strcmp(file->tensors[j].name, tensor->name) == 0)
            return gka_fail(error, GKA_BAD_ARGUMENT, "%s: tensor '%s' is there twice", file->path,
                            tensor->name);
    if (tensor->rank < 0 || tensor->rank > GKA_MAX_RANK)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "%s: tensor '%s' has %d axes; at most %d were expected", file->path,
                        tensor->name, tensor->rank, GKA_MAX_RANK);
    for (int axis = 0; axis < tensor->rank; axis++)
        if (tensor->shape[axis] < 0)
            return gka_fail(error, GKA_BAD_ARGUMENT, "%s: tensor '%s' has a negative extent",
                            file->path, tensor->name);
    return GKA_OK;
}

gka_status gka_file_from_tensors(const char *name, const gka_tensor *tensors, size_t count,
                                 const gka_text_pair *metadata, size_t pair_count, gka_file **file,
                                 gka_error *error) {
    *file = NULL;
    gka_file *const new = new_file(name, error);
    if (new == NULL)
        return GKA_OUT_OF_MEMORY;
    size_t room = 0;
    for (size_t i = 0; i < count; i++)
        room += strlen(tensors[i].name) + 1;
    for (size_t i = 0; i < pair_count; i++)
        room += strlen(metadata[i].key) + strlen(metadata[i].value) + 2;
    new->tensors = gka_alloc(count, sizeof *new->tensors);
    new->pairs = gka_alloc(pair_count, sizeof *new->pairs);
    new->text = gka_alloc(room, 1);
    gka_status status = GKA_OK;
    if (new->tensors == NULL || new->pairs == NULL || new->text == NULL)
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory opening it", name);
    char *at = new->text;
    for (size_t i = 0; i < count && status == GKA_OK; i++) {
        new->tensors[i] = tensors[i];
        new->tensors[i].name = keep(&at, tensors[i].name);
        if (tensors[i].data ==
            NULL) /* without elements; an absent tensor is one that is not here */
            new->tensors[i].data = new->text;
        status = check_tensor(new, i, error);
        new->count++;
    }
    for (size_t i = 0; i < pair_count && status == GKA_OK; i++) {
        new->pairs[i].key = keep(&at, metadata[i].key);
        new->pairs[i].value = keep(&at, metadata[i].value);
        new->pair_count++;
    }
    if (status != GKA_OK) {
        gka_file_close(new);
        return status;
    }
    *file = new;
    return GKA_OK;
}

void gka_file_close(gka_file *file) {
    if (file == NULL)
        return;
    if (file->mapped) {
        unlist_file(file);
        gka_pages_unmap(file->bytes, file->size);
    }
    gka_free(file->text);
    gka_free(file->pairs);
    gka_free(file->unread);
    gka_free(file->tensors);
    gka_free(file->path);
    gka_free(file);
}

void gka_file_forget(const gka_file *file) {
    if (file->mapped)
        gka_pages_forget(file->bytes, file->size);
}

/* ---- what is in it ------------------------------------------------------------------------- */

const char *gka_file_path(const gka_file *file) {
    return file->path;
}

size_t gka_file_count(const gka_file *file) {
    return file->count;
}

const gka_tensor *gka_file_tensor(const gka_file *file, size_t i) {
    return &file->tensors[i];
}

size_t gka_file_unread_count(const gka_file *file) {
    return file->unread_count;
}

const gka_tensor *gka_file_unread(const gka_file *file, size_t i) {
    return &file->unread[i].tensor;
}

gka_status gka_file_readable(const gka_file *file, const char *name, gka_error *error) {
    for (size_t i = 0; i < file->unread_count; i++) {
        const struct unread *const one = &file->unread[i];
        if (strcmp(one->tensor.name, name) != 0)
            continue;
        if (gka_dtype_find(one->dtype) != GKA_DTYPE_COUNT)
            return bad_tensor(file, error, name, "rank %zu; at most %d was expected", one->rank,
                              GKA_MAX_RANK);
        return bad_tensor(file, error, name,
                          "dtype '%.32s' cannot be read; F64, F32, BF16, F16, F8_*, F6_*, F4, "
                          "BOOL or an integer type I8 .. U64 was expected",
                          one->dtype);
    }
    return GKA_OK;
}

const gka_tensor *gka_file_find(const gka_file *file, const char *name) {
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

const char *gka_file_metadata(const gka_file *file, const char *key) {
    for (size_t i = 0; i < file->pair_count; i++)
        if (strcmp(file->pairs[i].key, key) == 0)
            return file->pairs[i].value;
    return NULL;
}

const gka_text_pair *gka_file_pair(const gka_file *file, size_t i) {
    return i < file->pair_count ? &file->pairs[i] : NULL;
}
