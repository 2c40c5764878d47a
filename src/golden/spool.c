/* spool.c - arrays of doubles on the disk. */
#include "golden/spool.h"

#include "gka/io.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

gka_status gka_golden_spool_open(const char *path, golden_spool *spool, gka_error *error) {
    *spool = (golden_spool){0};
    return gka_spool_open(path, &spool->file, error);
}

void gka_golden_spool_close(golden_spool *spool) {
    if (spool->file != NULL)
        (void)fclose(spool->file);
    *spool = (golden_spool){0};
}

int64_t gka_golden_spool_take(golden_spool *spool, int64_t count) {
    const int64_t at = spool->taken;
    spool->taken += count;
    return at;
}

gka_status gka_golden_spool_put_bytes(const golden_spool *spool, int64_t at, size_t size,
                                      const void *bytes, gka_error *error) {
    const char *from = bytes;
    off_t place = (off_t)at;
    while (size > 0) {
        const ssize_t n = pwrite(fileno(spool->file), from, size, place);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return gka_fail(error, GKA_IO, "a spool cannot be written: %s",
                            strerror(n < 0 ? errno : ENOSPC));
        from += n, place += n, size -= (size_t)n;
    }
    return GKA_OK;
}

gka_status gka_golden_spool_get_bytes(const golden_spool *spool, int64_t at, size_t size,
                                      void *bytes, gka_error *error) {
    char *to = bytes;
    off_t place = (off_t)at;
    while (size > 0) {
        const ssize_t n = pread(fileno(spool->file), to, size, place);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return gka_fail(error, GKA_IO, "a spool cannot be read: %s",
                            n < 0 ? strerror(errno) : "it is shorter than what was written");
        to += n, place += n, size -= (size_t)n;
    }
    return GKA_OK;
}

gka_status gka_golden_spool_put(const golden_spool *spool, int64_t at, int64_t count,
                                const double *values, gka_error *error) {
    return gka_golden_spool_put_bytes(spool, 8 * at, (size_t)count * sizeof *values, values, error);
}

gka_status gka_golden_spool_get(const golden_spool *spool, int64_t at, int64_t count,
                                double *values, gka_error *error) {
    return gka_golden_spool_get_bytes(spool, 8 * at, (size_t)count * sizeof *values, values, error);
}
