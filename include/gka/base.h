/* gka/base.h - status, memory, random streams, parallel loop, progress.
 *
 *   1  gka_status, gka_error     what went wrong, in one line; numbers as text in any locale
 *   2  gka_alloc, gka_free       memory; every allocation can be made to fail; sizes in range
 *   3  gka_philox                counter-based random bits
 *   4  gka_parallel, gka_stop    a loop over independent work, and how to stop all of it
 *   5  gka_progress              how far a long computation is, and how to stop it
 *
 * Library code neither prints nor exits. A function that can fail returns a gka_status and, where
 * it takes a gka_error, leaves there one line that says what, where and what was expected.
 */
#ifndef GKA_BASE_H
#define GKA_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a user may call. Everything else is hidden in a shared library. */
#define GKA_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1 status ------------------------------------------------------------------------------ */

/* Every code of the library with the text that stands for it when nothing more is known. */
#define GKA_STATUS_LIST(X)                                                                         \
    X(GKA_OK, "success")                                                                           \
    X(GKA_BAD_ARGUMENT, "an argument is outside its documented range")                             \
    X(GKA_BAD_FILE, "a file does not hold what was expected")                                      \
    X(GKA_IO, "a file could not be read or written")                                               \
    X(GKA_OUT_OF_MEMORY, "out of memory")                                                          \
    X(GKA_NOT_POSITIVE_DEFINITE, "a matrix is not positive definite")                              \
    X(GKA_NOT_CONVERGED, "an iteration did not converge")                                          \
    X(GKA_NO_CERTIFICATE, "no error bound could be proven")                                        \
    X(GKA_UNSUPPORTED, "not supported by this device or build")                                    \
    X(GKA_INTERRUPTED, "interrupted")                                                              \
    X(GKA_INTERNAL, "internal error")

typedef enum gka_status {
#define GKA_STATUS_ENUM(code, text) code,
    GKA_STATUS_LIST(GKA_STATUS_ENUM)
#undef GKA_STATUS_ENUM
} gka_status;

/* The text of a code; a fixed string for a number that is no code. Never NULL. */
GKA_API const char *gka_status_text(gka_status status);

/* The last failure, as one line without a newline. Initialise with {0}. */
typedef struct gka_error {
    gka_status status;
    char text[512];
} gka_error;

/* Fills *error (which may be NULL) with a formatted line and returns status:
 * `return gka_fail(error, GKA_BAD_FILE, "%s: ...", path);` The text may be taken from the
 * arguments' own storage but not from error->text itself. A line that is too long loses its middle
 * ("...", of a long path most likely) and keeps both ends; control characters become '?'. */
GKA_API gka_status gka_fail(gka_error *error, gka_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
GKA_API gka_status gka_fail_list(gka_error *error, gka_status status, const char *format,
                                 va_list arguments) __attribute__((format(printf, 3, 0)));

/* snprintf and strtod with a decimal point, whatever setlocale has set: for every number that the
 * library writes or reads. */
GKA_API int gka_format_text(char *text, size_t room, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
GKA_API double gka_parse_real(const char *text, char **end);

/* The version of the library, "MAJOR.MINOR.PATCH". */
GKA_API const char *gka_version(void);

/* ---- 2 memory ------------------------------------------------------------------------------ */

/* Memory for count objects of size bytes, zeroed, aligned to 64 bytes; NULL when count * size
 * overflows or no memory is left. count = 0 gives a valid pointer to nothing. Freed by gka_free. */
GKA_API void *gka_alloc(size_t count, size_t size);
GKA_API void gka_free(void *memory);

/* The product of factors >= 0, for sizes that come from a file or a user: false, and nothing in
 * *product, where it is above `most` or a factor is negative. A factor of 0 counts as 1 until the
 * end, so that every part of the product is in range too; then the product is 0. */
GKA_API bool gka_product(int count, const int64_t *factors, int64_t most, int64_t *product);

/* A copy of a string, or NULL. Freed by gka_free. */
GKA_API char *gka_strdup(const char *text);

/* For tests: the allocation number n (0 = the next one) and, if `all_after`, every later one in
 * the process fails; n < 0 switches this off. Returns how many allocations were asked for since
 * the last call. */
GKA_API int64_t gka_alloc_fail_at(int64_t n, bool all_after);

/* Allocations not yet freed, in the process. */
GKA_API int64_t gka_alloc_live(void);

/* ---- 3 random bits ------------------------------------------------------------------------- */

/* Philox4x64-10 (Salmon et al., SC'11; Random123): 256 random bits that are a function of
 * counter and key alone, so that any element of any tensor can be drawn in any order. */
GKA_API void gka_philox(const uint64_t counter[4], const uint64_t key[2], uint64_t bits[4]);

/* ---- 4 parallel loop ----------------------------------------------------------------------- */

/* Calls body(context, i, worker) for i = 0..count-1, each once, in any order, on several threads.
 * worker lies in [0, gka_workers(count)) and no two calls with one worker overlap, so it indexes
 * workspaces. A body writes only what belongs to its i; results do not depend on the threads. A
 * loop inside a body runs on the body's own thread. False: the process was asked to stop, and some
 * bodies were not called, or not run to their end. */
typedef void gka_parallel_body(void *context, int64_t i, int worker);
GKA_API bool gka_parallel(int64_t count, gka_parallel_body *body, void *context);

/* Asks every computation of the process to stop: loops call no further body, bodies return at the
 * next token, chunk or step, and what returns a gka_status ends with GKA_INTERRUPTED and keeps no
 * file. It holds until it is taken back (stop = false), which is for when no computation runs.
 * Async-signal-safe: what a handler for SIGINT calls in a program that goes on afterwards. */
GKA_API void gka_stop(bool stop);
GKA_API bool gka_stopped(void);

/* The number of threads gka_parallel uses: what was set last (n >= 1), else OpenMP's own, which
 * OMP_NUM_THREADS names; n = 0 goes back to that. For the whole process; not while a loop runs. */
GKA_API int gka_threads(void);
GKA_API void gka_set_threads(int n);

/* How many workers gka_parallel(count, ...) has at most, at least 1: what is allocated for each.
 * Inside a body it is 1. */
GKA_API int gka_workers(int64_t count);

/* ---- 5 progress ---------------------------------------------------------------------------- */

/* Told now and then how much of a long computation is done (0 <= done <= total, any unit, never
 * decreasing). Returns false to ask it to stop; the computation then ends with GKA_INTERRUPTED.
 * Called from one thread at a time. */
typedef struct gka_progress {
    bool (*report)(void *context, double done, double total);
    void *context;
} gka_progress;

/* progress may be NULL, or its report: then true, but for gka_stopped(). */
GKA_API bool gka_progress_report(const gka_progress *progress, double done, double total);

#ifdef __cplusplus
}
#endif
#endif
