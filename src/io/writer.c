/* writer.c - a safetensors file, streamed. */
#include "gka/io.h"

#include "io/bytes.h"
#include "io/tensor.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

enum { LENGTH_BYTES = 8, MAX_HEADER = 100000000 };

struct gka_writer {
    gka_output *output;
    char *path;
    uint64_t missing; /* bytes of the data section not yet written */
};

/* ---- the header ---------------------------------------------------------------------------- */

/* Jansson refuses a text that is not UTF-8, and says whether that was the reason. */
static gka_status header_failure(const char *path, const char *name, const json_error_t *why,
                                 gka_error *error) {
    if (json_error_code(why) == json_error_invalid_utf8)
        return gka_fail(error, GKA_BAD_ARGUMENT, "%s: '%.64s': UTF-8 text was expected", path,
                        name);
    return gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory writing the header", path);
}

/* Moves the members of *part, a new object or NULL, to the end of root. */
static bool append(json_t *root, json_t *part) {
    const bool good = part != NULL && json_object_update(root, part) == 0;
    json_decref(part);
    return good;
}

static gka_status add_metadata(json_t *root, const char *path, const gka_text_pair *pairs,
                               size_t count, gka_error *error) {
    if (count == 0)
        return GKA_OK;
    json_t *const metadata = json_object();
    if (metadata == NULL || json_object_set_new(root, "__metadata__", metadata) != 0)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory writing the header", path);
    for (size_t i = 0; i < count; i++) {
        json_error_t why = {0};
        if (!append(metadata, json_pack_ex(&why, 0, "{s:s}", pairs[i].key, pairs[i].value)))
            return header_failure(path, pairs[i].key, &why, error);
        if (json_object_size(metadata) != i + 1)
            return gka_fail(error, GKA_BAD_ARGUMENT, "%s: metadata '%.64s' given twice", path,
                            pairs[i].key);
    }
    return GKA_OK;
}

static json_t *shape_of(const gka_tensor *tensor) {
    json_t *const shape = json_array();
    for (int i = 0; shape != NULL && i < tensor->rank; i++) {
        if (json_array_append_new(shape, json_integer(tensor->shape[i])) != 0) {
            json_decref(shape);
            return NULL;
        }
    }
    return shape;
}

static gka_status add_tensors(json_t *root, const char *path, const gka_tensor *tensors,
                              size_t count, uint64_t *data, gka_error *error) {
    const size_t before = json_object_size(root);
    *data = 0;
    for (size_t i = 0; i < count; i++) {
        const gka_tensor *const tensor = &tensors[i];
        size_t bytes;
        if (!gka_tensor_bytes(tensor, &bytes) || bytes > INT64_MAX - *data)
            return gka_fail(error, GKA_BAD_ARGUMENT,
                            "%s: tensor '%.64s': a known dtype and at most %d extents >= 0 whose "
                            "product fits and fills whole bytes were expected",
                            path, tensor->name, GKA_MAX_RANK);
        const json_int_t begin = (json_int_t)*data;
        *data += bytes;
        json_t *const shape = shape_of(tensor);
        json_error_t why = {0};
        if (shape == NULL ||
            !append(root, json_pack_ex(&why, 0, "{s:{s:s,s:o,s:[I,I]}}", tensor->name, "dtype",
                                       gka_dtype_name(tensor->dtype), "shape", shape,
                                       "data_offsets", begin, (json_int_t)*data)))
            return header_failure(path, tensor->name, &why, error);
        if (strcmp(tensor->name, "__metadata__") == 0 || json_object_size(root) != before + i + 1)
            return gka_fail(error, GKA_BAD_ARGUMENT,
                            "%s: tensor '%.64s': names that differ from each other and from "
                            "__metadata__ were expected",
                            path, tensor->name);
    }
    return GKA_OK;
}

/* Length, JSON, and spaces up to a multiple of 8. */
static gka_status write_header(const gka_writer *writer, const json_t *root, gka_error *error) {
    const size_t length = json_dumpb(root, NULL, 0, JSON_COMPACT);
    const size_t padded = (length + 7) / 8 * 8;
    if (padded > MAX_HEADER)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "%s: a header of %zu bytes; at most %d are allowed", writer->path, padded,
                        MAX_HEADER);
    char *const header = length == 0 ? NULL : gka_alloc(LENGTH_BYTES + padded, 1);
    if (header == NULL || json_dumpb(root, header + LENGTH_BYTES, length, JSON_COMPACT) != length) {
        gka_free(header);
        return gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory writing the header",
                        writer->path);
    }
    gka_store_le(header, LENGTH_BYTES, padded);
    memset(header + LENGTH_BYTES + length, ' ', padded - length);
    /* What the stream refuses it remembers, and closing reports it. */
    (void)fwrite(header, 1, LENGTH_BYTES + padded, gka_output_stream(writer->output));
    gka_free(header);
    return GKA_OK;
}

/* ---- the file ------------------------------------------------------------------------------ */

static gka_status start(gka_writer *writer, const json_t *root, const char *path,
                        gka_error *error) {
    writer->path = gka_strdup(path);
    if (writer->path == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory opening it", path);
    const gka_status status = gka_output_open(path, &writer->output, error);
    return status == GKA_OK ? write_header(writer, root, error) : status;
}

gka_status gka_writer_open(const char *path, const gka_tensor *tensors, size_t tensor_count,
                           const gka_text_pair *metadata, size_t pair_count, gka_writer **writer,
                           gka_error *error) {
    *writer = NULL;
    json_t *const root = json_object();
    gka_writer *const new = gka_alloc(1, sizeof *new);
    gka_status status;
    if (root == NULL || new == NULL)
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory opening it", path);
    else
        status = add_metadata(root, path, metadata, pair_count, error);
    if (status == GKA_OK)
        status = add_tensors(root, path, tensors, tensor_count, &new->missing, error);
    if (status == GKA_OK)
        status = start(new, root, path, error);
    json_decref(root);
    if (status != GKA_OK) {
        gka_writer_abandon(new);
        return status;
    }
    *writer = new;
    return GKA_OK;
}

gka_status gka_writer_append(gka_writer *writer, const void *bytes, size_t size, gka_error *error) {
    if (size > writer->missing)
        return gka_fail(
            error, GKA_BAD_ARGUMENT, "%s: %zu bytes more than the %llu that its tensors still take",
            writer->path, size - (size_t)writer->missing, (unsigned long long)writer->missing);
    if (size > 0 && fwrite(bytes, 1, size, gka_output_stream(writer->output)) != size)
        return gka_fail(error, GKA_IO, "%s: cannot be written: %s", writer->path, strerror(errno));
    writer->missing -= size;
    return GKA_OK;
}

gka_status gka_writer_close(gka_writer *writer, gka_error *error) {
    if (writer->missing != 0) {
        const gka_status status =
            gka_fail(error, GKA_BAD_ARGUMENT, "%s: %llu bytes of its tensors were never written",
                     writer->path, (unsigned long long)writer->missing);
        gka_writer_abandon(writer);
        return status;
    }
    const gka_status status = gka_output_close(writer->output, error);
    writer->output = NULL;
    gka_writer_abandon(writer);
    return status;
}

void gka_writer_abandon(gka_writer *writer) {
    if (writer == NULL)
        return;
    gka_output_abandon(writer->output);
    gka_free(writer->path);
    gka_free(writer);
}

gka_status gka_file_write(const char *path, const gka_tensor *tensors, size_t tensor_count,
                          const gka_text_pair *metadata, size_t pair_count, gka_error *error) {
    gka_writer *writer;
    gka_status status =
        gka_writer_open(path, tensors, tensor_count, metadata, pair_count, &writer, error);
    for (size_t i = 0; status == GKA_OK && i < tensor_count; i++) {
        size_t bytes = 0;
        (void)gka_tensor_bytes(&tensors[i], &bytes);
        status = gka_writer_append(writer, tensors[i].data, bytes, error);
    }
    if (status == GKA_OK)
        return gka_writer_close(writer, error);
    gka_writer_abandon(writer);
    return status;
}
