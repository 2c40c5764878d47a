/* share.c - a folder that several processes fill: who has which unit in hand. */
#include "gka/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct gka_share {
    int file; /* -1: no locks here */
};

static bool try_lock(const gka_share *share, int64_t byte) {
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1};
    return share->file < 0 || fcntl(share->file, F_SETLK, &lock) == 0 ||
           (errno != EACCES && errno != EAGAIN);
}

static void unlock(const gka_share *share, int64_t byte) {
    struct flock lock = {
        .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1};
    if (share->file >= 0)
        (void)fcntl(share->file, F_SETLK, &lock);
}

static void doze(void) {
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

gka_status gka_share_open(const char *folder, gka_share **share, gka_error *error) {
    const size_t size = strlen(folder) + sizeof "/.lock";
    char *const path = gka_alloc(size, 1);
    *share = gka_alloc(1, sizeof **share);
    if (path == NULL || *share == NULL) {
        gka_free(path);
        gka_free(*share);
        *share = NULL;
        return gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory", folder);
    }
    (void)snprintf(path, size, "%s/.lock", folder);
    (*share)->file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    gka_free(path);
    return GKA_OK;
}

void gka_share_close(gka_share *share) {
    if (share == NULL)
        return;
    if (share->file >= 0)
        (void)close(share->file);
    gka_free(share);
}

bool gka_share_take(gka_share *share, bool wait) {
    bool taken;
    while (!(taken = try_lock(share, 0)) && wait)
        doze();
    return taken;
}

void gka_share_leave(gka_share *share) {
    unlock(share, 0);
}

gka_status gka_share_units(gka_share *share, int64_t count, gka_share_unit *unit,
                           bool (*go_on)(void *context), void *context) {
    bool *const left = gka_alloc((size_t)count, sizeof *left);
    bool good = true;
    if (left == NULL)
        return GKA_OUT_OF_MEMORY;
    for (int round = 0; round < 2; round++)
        for (int64_t i = 0; i < count && good; i++) {
            if (round == 1 && !left[i])
                continue;
            while ((left[i] = !try_lock(share, i + 1)) && round == 1 && good) {
                doze();
                good = !gka_stopped() && (go_on == NULL || go_on(context));
            }
            if (left[i])
                continue;
            good = good && unit(context, i);
            unlock(share, i + 1);
        }
    gka_free(left);
    return good ? GKA_OK : GKA_INTERRUPTED;
}
