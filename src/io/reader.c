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
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LENGTH_BYTES = 8,
    MAX_HEADER = 100000000 /* what the safetensors library itself accepts */
};

struct gka_file {
    char *path;
    const unsigned char *bytes; /* the whole file */
    size_t size;
    bool mapped;
    gka_tensor *tensors; /* by the place of their data */
    size_t count;
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

static gka_status check_lengths(const gka_file *file, gka_error *error) {
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

static json_t *parse(const gka_file *file, json_error_t *why) {
    memset(why, 0, sizeof *why);
    return json_loadb((const char *)file->bytes + LENGTH_BYTES, header_size(file),
                      JSON_REJECT_DUPLICATES, why);
}

/* Jansson says nothing when an object could not be made, but calls it a syntax error when there was
 * no memory for a string. A true syntax error is there the second time too. */
static gka_status parse_json(const gka_file *file, json_t **root, gka_error *error) {
    json_error_t why, again;
    *root = parse(file, &why);
    if (*root != NULL)
        return GKA_OK;
    json_decref(parse(file, &again));
    if (why.text[0] == '\0' || again.text[0] == '\0')
        return out_of_memory(file, error);
    return bad(file, error, "header is not JSON at byte %d: %.150s", LENGTH_BYTES + why.position,
               why.text);
}

static bool non_negative(const json_t *value, int64_t *number) {
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *number = (int64_t)json_integer_value(value);
    return true;
}

/* One entry {"dtype": NAME, "shape": [..], "data_offsets": [BEGIN, END]}; all of *tensor but its
 * name, which is already there. */
static gka_status read_tensor(const gka_file *file, const json_t *entry, gka_tensor *tensor,
                              gka_error *error) {
    const char *const name = tensor->name;
    if (!json_is_object(entry))
        return bad_tensor(file, error, name,
                          "an object {dtype, shape, data_offsets} was expected in the header");

    const json_t *const dtype = json_object_get(entry, "dtype");
    if (!json_is_string(dtype))
        return bad_tensor(file, error, name, "dtype: a string was expected");
    tensor->dtype = gka_dtype_find(json_string_value(dtype));
    if (tensor->dtype == GKA_DTYPE_COUNT)
        return bad_tensor(file, error, name,
                          "unknown dtype '%.32s'; F64, F32, BF16, F16, F8_E4M3, F8_E5M2, BOOL or "
                          "an integer type I8 .. U64 was expected",
                          json_string_value(dtype));

    const json_t *const shape = json_object_get(entry, "shape");
    if (!json_is_array(shape) || json_array_size(shape) > GKA_MAX_RANK)
        return bad_tensor(file, error, name, "shape: an array of at most %d extents was expected",
                          GKA_MAX_RANK);
    tensor->rank = (int)json_array_size(shape);
    for (int i = 0; i < tensor->rank; i++)
        if (!non_negative(json_array_get(shape, (size_t)i), &tensor->shape[i]))
            return bad_tensor(file, error, name,
                              "shape: extent %d is not an integer >= 0 below 2^63", i);
    size_t bytes;
    if (!gka_tensor_bytes(tensor, &bytes))
        return bad_tensor(file, error, name, "shape: the product of the extents overflows");

    const json_t *const offsets = json_object_get(entry, "data_offsets");
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
    if ((uint64_t)(end - begin) != bytes)
        return bad_tensor(file, error, name,
                          "data_offsets hold %lld bytes; the shape in %s takes %zu",
                          (long long)(end - begin), gka_dtype_name(tensor->dtype), bytes);
    tensor->data = data_begin(file) + begin;
    return GKA_OK;
}

/* By begin, then by end (tensors without elements come before the one that starts there). */
static int by_place(const void *a, const void *b) {
    const gka_tensor *const s = a, *const t = b;
    const unsigned char *const p = s->data, *const q = t->data;
    if (p != q)
        return p < q ? -1 : 1;
    const int64_t m = gka_tensor_count(s), n = gka_tensor_count(t);
    if ((m > 0) != (n > 0))
        return m == 0 ? -1 : 1;
    return strcmp(s->name, t->name);
}

static gka_status check_cover(const gka_file *file, gka_error *error) {
    const unsigned char *end = data_begin(file);
    for (size_t i = 0; i < file->count; i++) {
        const gka_tensor *const tensor = &file->tensors[i];
        const unsigned char *const begin = tensor->data;
        if (begin < end)
            return bad_tensor(file, error, tensor->name,
                              "data_offsets overlap those of tensor '%.64s'",
                              file->tensors[i - 1].name);
        if (begin > end)
            return bad_tensor(file, error, tensor->name,
                              "data_offsets leave a gap of %zu bytes before it",
                              (size_t)(begin - end));
        size_t bytes = 0;
        (void)gka_tensor_bytes(tensor, &bytes);
        end += bytes;
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

/* How much room the names, keys and values take; refuses metadata that are not strings. */
static gka_status measure(gka_file *file, json_t *root, size_t *text, gka_error *error) {
    const char *key;
    json_t *value;
    *text = 0;
    json_object_foreach(root, key, value) {
        if (strcmp(key, METADATA) != 0) {
            file->count++;
            *text += strlen(key) + 1;
        }
    }
    json_t *const metadata = json_object_get(root, METADATA);
    if (metadata == NULL)
        return GKA_OK;
    if (!json_is_object(metadata))
        return bad(file, error, "%s: an object of strings was expected", METADATA);
    json_object_foreach(metadata, key, value) {
        if (!json_is_string(value))
            return bad(file, error, "metadata '%.64s': a string was expected", key);
        file->pair_count++;
        *text += strlen(key) + strlen(json_string_value(value)) + 2;
    }
    return GKA_OK;
}

static gka_status read_entries(gka_file *file, json_t *root, gka_error *error) {
    size_t room;
    gka_status status = measure(file, root, &room, error);
    if (status != GKA_OK)
        return status;
    file->tensors = gka_alloc(file->count, sizeof *file->tensors);
    file->pairs = gka_alloc(file->pair_count, sizeof *file->pairs);
    file->text = gka_alloc(room, 1);
    if (file->tensors == NULL || file->pairs == NULL || file->text == NULL)
        return out_of_memory(file, error);

    char *text = file->text;
    const char *key;
    json_t *value;
    size_t i = 0;
    json_object_foreach(root, key, value) {
        if (strcmp(key, METADATA) == 0)
            continue;
        gka_tensor *const tensor = &file->tensors[i++];
        tensor->name = keep(&text, key);
        status = read_tensor(file, value, tensor, error);
        if (status != GKA_OK)
            return status;
    }
    i = 0;
    json_object_foreach(json_object_get(root, METADATA), key, value) {
        file->pairs[i].key = keep(&text, key);
        file->pairs[i++].value = keep(&text, json_string_value(value));
    }
    qsort(file->tensors, file->count, sizeof *file->tensors, by_place);
    return check_cover(file, error);
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
        status = gka_fail(error, GKA_IO, "%s: %s", path, strerror(errno));
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

void gka_file_close(gka_file *file) {
    if (file == NULL)
        return;
    if (file->mapped)
        gka_pages_unmap(file->bytes, file->size);
    gka_free(file->text);
    gka_free(file->pairs);
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
