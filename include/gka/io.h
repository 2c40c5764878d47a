/* gka/io.h - tensors and the files that hold them.
 *
 *   1  gka_dtype, gka_tensor     a named, contiguous, row-major array
 *   2  gka_file                  a safetensors file, memory mapped, checked whole when opened
 *   3  gka_writer                a safetensors file, streamed, renamed into place when complete
 *   4  gka_output                any other output file, likewise
 *   5  gka_share                 a folder that several processes fill
 *
 * The safetensors format: 8 bytes little-endian header length, a JSON object
 * {"name": {"dtype", "shape", "data_offsets"}, "__metadata__": {string: string}}, then the data,
 * little-endian. Everything here is exact about bytes and blind to what the numbers mean.
 */
#ifndef GKA_IO_H
#define GKA_IO_H

#include "gka/base.h"

#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1 tensors ----------------------------------------------------------------------------- */

/* The stored types, with safetensors' names and bits per element. Elements of 4 and 6 bits follow
 * one another from the lowest bit of the first byte on; such a tensor must fill its last byte. */
#define GKA_DTYPE_LIST(X)                                                                          \
    X(GKA_F64, "F64", 64)                                                                          \
    X(GKA_F32, "F32", 32)                                                                          \
    X(GKA_BF16, "BF16", 16)                                                                        \
    X(GKA_F16, "F16", 16)                                                                          \
    X(GKA_F8_E4M3, "F8_E4M3", 8)                                                                   \
    X(GKA_F8_E5M2, "F8_E5M2", 8)                                                                   \
    X(GKA_I64, "I64", 64)                                                                          \
    X(GKA_I32, "I32", 32)                                                                          \
    X(GKA_I16, "I16", 16)                                                                          \
    X(GKA_I8, "I8", 8)                                                                             \
    X(GKA_U64, "U64", 64)                                                                          \
    X(GKA_U32, "U32", 32)                                                                          \
    X(GKA_U16, "U16", 16)                                                                          \
    X(GKA_U8, "U8", 8)                                                                             \
    X(GKA_BOOL, "BOOL", 8)                                                                         \
    X(GKA_F8_E8M0, "F8_E8M0", 8)                                                                   \
    X(GKA_F8_E4M3FNUZ, "F8_E4M3FNUZ", 8)                                                           \
    X(GKA_F8_E5M2FNUZ, "F8_E5M2FNUZ", 8)                                                           \
    X(GKA_F6_E2M3, "F6_E2M3", 6)                                                                   \
    X(GKA_F6_E3M2, "F6_E3M2", 6)                                                                   \
    X(GKA_F4, "F4", 4)

typedef enum gka_dtype {
#define GKA_DTYPE_ENUM(code, name, bits) code,
    GKA_DTYPE_LIST(GKA_DTYPE_ENUM)
#undef GKA_DTYPE_ENUM
        GKA_DTYPE_COUNT
} gka_dtype;

/* Its name, the bits of an element, and its bytes, 0 where an element fills none; "?" and 0 for a
 * number that is no dtype. */
GKA_API const char *gka_dtype_name(gka_dtype dtype);
GKA_API int gka_dtype_bits(gka_dtype dtype);
GKA_API size_t gka_dtype_size(gka_dtype dtype);

enum { GKA_MAX_RANK = 8 };

/* A named array: row-major, contiguous, little-endian elements, any alignment. Owns nothing. */
typedef struct gka_tensor {
    const char *name;
    gka_dtype dtype;
    int rank;
    int64_t shape[GKA_MAX_RANK];
    const void *data;
} gka_tensor;

/* The product of the shape (1 for rank 0). */
GKA_API int64_t gka_tensor_count(const gka_tensor *tensor);

/* Doubles of the host as the data of a GKA_F64 tensor: bytes [8 count], at any address, which may
 * be the doubles themselves. On a little-endian host a copy; an array that is handed to a tensor
 * without it is right on such a host alone. */
GKA_API void gka_store_doubles(void *bytes, size_t count, const double *values);

/* ---- 2 reading ----------------------------------------------------------------------------- */

typedef struct gka_file gka_file;

/* An entry of the metadata. */
typedef struct gka_text_pair {
    const char *key, *value;
} gka_text_pair;

/* Maps a safetensors file and checks all of its header: lengths, JSON, names, dtypes, shapes,
 * offsets (in range, no overlap, no gap). GKA_IO or GKA_BAD_FILE with a line naming the file, the
 * tensor and what was expected. The data are paged in as they are read, so a file larger than
 * memory works; where somebody cuts it shorter meanwhile, reading raises SIGBUS. */
GKA_API gka_status gka_file_open(const char *path, gka_file **file, gka_error *error);

/* The same over bytes in memory, which must outlive the gka_file; name stands in messages. */
GKA_API gka_status gka_file_from_memory(const char *name, const void *bytes, size_t size,
                                        gka_file **file, gka_error *error);
/* The same of tensors that lie in memory anyhow, and metadata, for whatever takes a file: their
 * data are not copied and must outlive the gka_file; names and texts are. Tensors stay in their
 * order. GKA_BAD_ARGUMENT for two of one name, a negative extent or a rank above GKA_MAX_RANK. */
GKA_API gka_status gka_file_from_tensors(const char *name, const gka_tensor *tensors, size_t count,
                                         const gka_text_pair *metadata, size_t pair_count,
                                         gka_file **file, gka_error *error);
/* Whatever was read from the file, tensors and texts, ends with it. file may be NULL, which is also
 * what both leave in *file when they fail. */
GKA_API void gka_file_close(gka_file *file);

/* The path of the open file whose bytes are mapped at an address, NULL for none: for a handler of
 * SIGBUS, which may call it. */
GKA_API const char *gka_file_at(const void *address);

/* What a file that is no safetensors file is by its first bytes, and three lines of Python that
 * make it one; false: it is none of those that are known (.npy, .npz, .pt). */
typedef struct gka_foreign {
    const char *what, *conversion;
} gka_foreign;
GKA_API bool gka_file_foreign(const char *path, gka_foreign *foreign);

/* Lets go of the memory that what was read so far takes; it is read from the disk again when it is
 * touched. So a file can be read from end to end in little memory. Of bytes in memory: nothing. */
GKA_API void gka_file_forget(const gka_file *file);

/* Tensors that are there but cannot be read, being of a type or a rank that is not known here. They
 * are none of those below; of each there is the name alone. */
GKA_API size_t gka_file_unread_count(const gka_file *file);
GKA_API const gka_tensor *gka_file_unread(const gka_file *file, size_t i);
/* GKA_OK unless a tensor of that name is one of these: then GKA_BAD_FILE and why. */
GKA_API gka_status gka_file_readable(const gka_file *file, const char *name, gka_error *error);

/* The path or name it was opened by. */
GKA_API const char *gka_file_path(const gka_file *file);
GKA_API size_t gka_file_count(const gka_file *file);
/* Tensor i < gka_file_count, in the order of their data. */
GKA_API const gka_tensor *gka_file_tensor(const gka_file *file, size_t i);
/* NULL when there is none of that name. */
GKA_API const gka_tensor *gka_file_find(const gka_file *file, const char *name);
/* The text of a metadata entry, or the JSON of what is no text; NULL when absent. */
GKA_API const char *gka_file_metadata(const gka_file *file, const char *key);
/* Entry i of the metadata in the file's order; NULL past the last. */
GKA_API const gka_text_pair *gka_file_pair(const gka_file *file, size_t i);

/* ---- 3 writing ----------------------------------------------------------------------------- */

typedef struct gka_writer gka_writer;

/* Starts a safetensors file: names, dtypes and shapes are fixed here (their data pointers are not
 * read), data follow by gka_writer_append in the same order. Bytes go to a temporary file beside
 * path. The header is the same for the same arguments: keys in the given order, padded with
 * spaces to a multiple of 8. GKA_BAD_ARGUMENT for tensors no file can have (two of one name, a
 * negative extent, a size beyond 2^63, a header beyond the format's 100,000,000 bytes), GKA_IO,
 * GKA_OUT_OF_MEMORY; then *writer is NULL. */
GKA_API gka_status gka_writer_open(const char *path, const gka_tensor *tensors, size_t tensor_count,
                                   const gka_text_pair *metadata, size_t pair_count,
                                   gka_writer **writer, gka_error *error);
/* Appends bytes of the data section, in any portions: little-endian (gka_store_doubles;
 * gka_store_array of gka/format.h). GKA_BAD_ARGUMENT for more than the tensors take, GKA_IO. */
GKA_API gka_status gka_writer_append(gka_writer *writer, const void *bytes, size_t size,
                                     gka_error *error);
/* Checks that every byte was written (GKA_BAD_ARGUMENT if not), flushes and renames into place;
 * frees the writer whatever happens. On failure nothing stands at path that was not there before.
 */
GKA_API gka_status gka_writer_close(gka_writer *writer, gka_error *error);
/* Removes the temporary file and frees. writer may be NULL. */
GKA_API void gka_writer_abandon(gka_writer *writer);

/* All at once, data taken from the tensors. */
GKA_API gka_status gka_file_write(const char *path, const gka_tensor *tensors, size_t tensor_count,
                                  const gka_text_pair *metadata, size_t pair_count,
                                  gka_error *error);

/* ---- 4 any other output -------------------------------------------------------------------- */

/* A FILE on a temporary name beside path, flushed to the disk and renamed into place by close. What
 * path already is stays so: a link goes on leading to the file, which keeps its mode; what is no
 * regular file (/dev/null, a pipe) is written to directly. "-" and /dev/stdout are stdout. At most
 * 64 at once in a process. */
typedef struct gka_output gka_output;
GKA_API gka_status gka_output_open(const char *path, gka_output **output, gka_error *error);
GKA_API FILE *gka_output_stream(gka_output *output);
/* GKA_IO if any byte did not arrive; frees the output whatever happens. */
GKA_API gka_status gka_output_close(gka_output *output, gka_error *error);
/* Removes the temporary file and frees. output may be NULL. */
GKA_API void gka_output_abandon(gka_output *output);

/* A FILE to write and read back, in path's folder and without a name: nothing of it outlives the
 * process. fclose ends it. GKA_IO when the folder cannot be written. */
GKA_API gka_status gka_spool_open(const char *path, FILE **spool, gka_error *error);

/* Gives descriptors 0, 1 and 2 a file where they are closed, one that cannot be read or written:
 * else the next file that the process opens becomes one of them, and what is printed goes there.
 * What a program calls first. False where that failed. */
GKA_API bool gka_streams_hold(void);

/* Removes every temporary file of the process that is not yet in place; no output opens afterwards
 * (GKA_INTERRUPTED). Async-signal-safe, in any thread and in several at once: what a program's
 * handler for SIGINT and SIGTERM calls before it ends. The handler's disposition must stand until
 * it has returned (no SA_RESETHAND), or a second signal, taken by another thread, ends the process
 * in the middle of it. */
GKA_API void gka_output_abandon_all(void);

/* ---- 5 several processes ------------------------------------------------------------------- */

/* Processes that fill one folder share FOLDER/.lock, whose bytes each are held by one of them. The
 * system lets go of the bytes of a process that ends, however it ends. Without locks (no such file
 * system) each works as if it were alone. The file stays, for who made a new one would not see the
 * locks of those who still have the old one open. One at a time for a folder and a process. */
typedef struct gka_share gka_share;
/* The folder must be there. */
GKA_API gka_status gka_share_open(const char *folder, gka_share **share, gka_error *error);
GKA_API void gka_share_close(gka_share *share); /* may be NULL */

/* Byte 0 is for what all of them change. False: another process holds it; with `wait` never. */
GKA_API bool gka_share_take(gka_share *share, bool wait);
GKA_API void gka_share_leave(gka_share *share);

/* unit(context, i) for i = 0 .. count - 1, a unit (byte i + 1) in the hand of one process at a
 * time: first those that nobody has in hand, then those that others had. A process that finds a
 * unit made leaves it as it is. `unit` false: stop; so does go_on (may be NULL), which is asked
 * while others are waited for. GKA_INTERRUPTED: stopped. */
typedef bool gka_share_unit(void *context, int64_t i);
GKA_API gka_status gka_share_units(gka_share *share, int64_t count, gka_share_unit *unit,
                                   bool (*go_on)(void *context), void *context);

#ifdef __cplusplus
}
#endif
#endif
