/* output.c - a file that appears under its name when it is complete, and not before.
 *
 * The bytes go to a hidden temporary name in the same directory; closing flushes them to the disk
 * and renames. What the path already is stays so: of a symbolic link the file that it leads to is
 * replaced, with its mode and owner; what is no regular file (a terminal, /dev/null, a pipe) is
 * written to directly, and so are the names of an open descriptor (/dev/stdout, /dev/fd/3).
 */
#include "gka/io.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The temporaries of the process, so that a signal handler finds them. The one piece of global
 * state in this room, because a handler has no other way to it.
 *
 *     FREE -> TAKEN -> LIVE         by the opener, the second step once the file exists
 *     LIVE -> REMOVING -> REMOVED   by a handler
 *     LIVE or REMOVED -> FREE       by the owner, who alone frees the name
 *
 * A handler may run in any thread, beside the opener and beside another handler (a shell's Ctrl-C
 * followed by a supervisor's signal), and the process ends when the first one returns. So a handler
 * waits for whoever is between two states: TAKEN and REMOVING are held with every signal blocked,
 * hence never by the thread that waits, and always come to their end. An opener that comes after
 * the handler has looked sees `ending`. */
enum { SLOTS = 64 };
enum { FREE, TAKEN, LIVE, REMOVING, REMOVED };
static struct slot {
    atomic_int state;
    const char *name;
} slots[SLOTS];
static atomic_bool ending;

struct gka_output {
    FILE *stream;
    char *path;        /* with its links followed */
    char *temporary;   /* NULL: written directly */
    struct slot *slot; /* of the temporary */
};

static void block_signals(sigset_t *before) {
    sigset_t all;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, before);
}

static void restore_signals(const sigset_t *before) {
    (void)pthread_sigmask(SIG_SETMASK, before, NULL);
}

static struct slot *take_slot(void) {
    for (int i = 0; i < SLOTS; i++) {
        int expected = FREE;
        if (atomic_compare_exchange_strong(&slots[i].state, &expected, TAKEN))
            return &slots[i];
    }
    return NULL;
}

/* False: a handler has removed the file. */
static bool release_slot(struct slot *slot) {
    int expected = LIVE;
    if (atomic_compare_exchange_strong(&slot->state, &expected, FREE))
        return true;
    while (atomic_load(&slot->state) == REMOVING)
        ;
    atomic_store(&slot->state, FREE);
    return false;
}

void gka_output_abandon_all(void) {
    const int saved = errno;
    sigset_t before;
    block_signals(&before);
    atomic_store(&ending, true);
    for (int i = 0; i < SLOTS; i++) {
        int state = LIVE;
        if (atomic_compare_exchange_strong(&slots[i].state, &state, REMOVING)) {
            (void)unlink(slots[i].name);
            atomic_store(&slots[i].state, REMOVED);
        } else if (state == TAKEN || state == REMOVING) {
            i--; /* somebody's next step is near: look again */
        }
    }
    restore_signals(&before);
    errno = saved;
}

/* ---- opening ------------------------------------------------------------------------------- */

/* DIRECTORY OF path/.gka-PID-NUMBER.tmp; the umask rules its mode as it would the file's own. */
static int create_temporary(const char *path, char *name, size_t room) {
    static atomic_uint number;
    const char *const slash = strrchr(path, '/');
    const int directory = slash == NULL ? 0 : (int)(slash - path + 1);
    for (;;) {
        (void)snprintf(name, room, "%.*s.gka-%ld-%u.tmp", directory, path, (long)getpid(),
                       atomic_fetch_add(&number, 1));
        const int descriptor = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor >= 0 || errno != EEXIST)
            return descriptor;
    }
}

/* A new file beside path and the slot that guards its name (allocated; the owner's to free). */
static gka_status make_temporary(const char *path, char **name, struct slot **slot, int *descriptor,
                                 gka_error *error) {
    const size_t room = strlen(path) + 64;
    *slot = NULL;
    *name = gka_alloc(room, 1);
    if (*name == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory opening it", path);

    gka_status status = GKA_OK;
    sigset_t before;
    block_signals(&before);
    struct slot *const taken = take_slot();
    if (taken == NULL) {
        status = gka_fail(error, GKA_UNSUPPORTED, "%s: more than %d output files open at once",
                          path, SLOTS);
    } else if (atomic_load(&ending)) {
        atomic_store(&taken->state, FREE);
        status = gka_fail(error, GKA_INTERRUPTED, "%s: interrupted before it was written", path);
    } else {
        taken->name = *name;
        *descriptor = create_temporary(path, *name, room);
        const int why = errno;
        atomic_store(&taken->state, *descriptor < 0 ? FREE : LIVE);
        if (*descriptor < 0)
            status = gka_fail(error, GKA_IO, "%s: cannot be written: %s", path, strerror(why));
        else
            *slot = taken;
    }
    restore_signals(&before);
    return status;
}

/* The mode of the file that is to be replaced and, where the system allows it, its owner. */
static void keep_mode(int descriptor, const struct stat *about) {
    const bool owned = fchown(descriptor, about->st_uid, about->st_gid) == 0;
    (void)fchmod(descriptor, about->st_mode & (owned ? 07777 : 0777));
}

static gka_status open_temporary(gka_output *output, const struct stat *replaced,
                                 gka_error *error) {
    int descriptor;
    const gka_status status =
        make_temporary(output->path, &output->temporary, &output->slot, &descriptor, error);
    if (status != GKA_OK)
        return status;
    if (replaced != NULL)
        keep_mode(descriptor, replaced);
    output->stream = fdopen(descriptor, "wb");
    if (output->stream == NULL) {
        (void)close(descriptor);
        return gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory opening it", output->path);
    }
    return GKA_OK;
}

/* The descriptor that a path is another name of; -1: none. */
static int descriptor_of(const char *path) {
    static const char *const folders[] = {"/dev/fd/", "/proc/self/fd/"};
    if (strcmp(path, "-") == 0 || strcmp(path, "/dev/stdout") == 0)
        return STDOUT_FILENO;
    if (strcmp(path, "/dev/stderr") == 0)
        return STDERR_FILENO;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        const size_t length = strlen(folders[i]);
        const char *const digits = path + length;
        if (strncmp(path, folders[i], length) == 0 && digits[0] != '\0' && strlen(digits) < 6 &&
            strspn(digits, "0123456789") == strlen(digits))
            return (int)strtol(digits, NULL, 10);
    }
    return -1;
}

/* Follows the link at *path one step, into memory of its own. False: it is none, or memory ran out
 * (then *path is NULL). */
static bool follow(char **path) {
    char target[4096];
    const ssize_t length = readlink(*path, target, sizeof target - 1);
    if (length <= 0)
        return false;
    target[length] = '\0';
    const char *const slash = strrchr(*path, '/');
    const size_t folder = slash == NULL || target[0] == '/' ? 0 : (size_t)(slash - *path) + 1;
    char *const next = gka_alloc(folder + (size_t)length + 1, 1);
    if (next != NULL) {
        memcpy(next, *path, folder);
        memcpy(next + folder, target, (size_t)length + 1);
    }
    gka_free(*path);
    *path = next;
    return next != NULL;
}

static gka_status open_descriptor(gka_output *output, int descriptor, gka_error *error) {
    if (descriptor == STDOUT_FILENO) {
        output->stream = stdout;
        return GKA_OK;
    }
    const int copy = dup(descriptor);
    output->stream = copy < 0 ? NULL : fdopen(copy, "wb");
    if (output->stream != NULL)
        return GKA_OK;
    const int why = errno;
    if (copy >= 0)
        (void)close(copy);
    return gka_fail(error, GKA_IO, "%s: cannot be written: %s", output->path, strerror(why));
}

static gka_status open_stream(gka_output *output, gka_error *error) {
    enum { MOST_LINKS = 40 }; /* more are a circle, and opening says so */
    int descriptor = descriptor_of(output->path);
    for (int i = 0; i < MOST_LINKS && descriptor < 0 && follow(&output->path); i++)
        descriptor = descriptor_of(output->path);
    if (output->path == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory opening an output file");
    if (descriptor >= 0)
        return open_descriptor(output, descriptor, error);
    struct stat about;
    if (stat(output->path, &about) != 0)
        return errno == ENOENT ? open_temporary(output, NULL, error)
                               : gka_fail(error, GKA_IO, "%s: cannot be written: %s", output->path,
                                          strerror(errno));
    if (S_ISREG(about.st_mode) && access(output->path, W_OK) == 0)
        return open_temporary(output, &about, error);
    output->stream = fopen(output->path, S_ISREG(about.st_mode) ? "r+b" : "wb");
    if (output->stream == NULL)
        return gka_fail(error, GKA_IO, "%s: cannot be written: %s", output->path, strerror(errno));
    return GKA_OK;
}

gka_status gka_output_open(const char *path, gka_output **output, gka_error *error) {
    *output = NULL;
    if (path[0] == '\0')
        return gka_fail(error, GKA_IO, "'': the path of a file to write was expected");
    gka_output *const new = gka_alloc(1, sizeof *new);
    char *const copy = gka_strdup(path);
    if (new == NULL || copy == NULL) {
        gka_free(new);
        gka_free(copy);
        return gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory opening it", path);
    }
    new->path = copy;
    const gka_status status = open_stream(new, error);
    if (status != GKA_OK) {
        gka_output_abandon(new);
        return status;
    }
    *output = new;
    return GKA_OK;
}

bool gka_streams_hold(void) {
    for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; descriptor++) {
        if (fcntl(descriptor, F_GETFD) >= 0)
            continue;
        /* The lowest free number is this one. What reads or writes here fails as before. */
        const int flags = descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY;
        if (open("/dev/null", flags) != descriptor)
            return false;
    }
    return true;
}

FILE *gka_output_stream(gka_output *output) {
    return output->stream;
}

gka_status gka_spool_open(const char *path, FILE **spool, gka_error *error) {
    *spool = NULL;
    char *name;
    struct slot *slot;
    int descriptor;
    const gka_status status = make_temporary(path, &name, &slot, &descriptor, error);
    if (status == GKA_OK) {
        (void)unlink(name);
        (void)release_slot(slot);
    }
    gka_free(name);
    if (status != GKA_OK)
        return status;
    *spool = fdopen(descriptor, "w+b");
    if (*spool != NULL)
        return GKA_OK;
    (void)close(descriptor);
    return gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory opening it", path);
}

/* ---- closing ------------------------------------------------------------------------------- */

/* The rename outlives a power failure once the directory is on the disk; where a file system cannot
 * do that there is nothing more to try. */
static void sync_directory(gka_output *output) {
    char *const slash = strrchr(output->path, '/');
    if (slash != NULL)
        slash[slash == output->path] = '\0'; /* path is not needed after this */
    const int descriptor = open(slash == NULL ? "." : output->path, O_RDONLY | O_CLOEXEC);
    if (descriptor >= 0) {
        (void)fsync(descriptor);
        (void)close(descriptor);
    }
}

/* Why the stream refused bytes some time ago: its errno is long gone, so what refuses more bytes is
 * asked again. A temporary file is asked for a megabyte beyond its end, a device for one byte; it
 * has failed, and what it holds is worth nothing. A pipe is not asked: it might signal. */
static int ask_again(const gka_output *output, FILE *stream) {
    const int descriptor = fileno(stream);
    struct stat about;
    if (fstat(descriptor, &about) != 0)
        return EIO;
    if (output->temporary != NULL) {
        const int why = posix_fallocate(descriptor, about.st_size, 1 << 20);
        return why == 0 || why == EINVAL || why == EOPNOTSUPP ? EIO : why;
    }
    return S_ISCHR(about.st_mode) && write(descriptor, "\n", 1) < 0 ? errno : EIO;
}

/* Flushes, and closes what this room opened; true when every byte has arrived. */
static bool finish_stream(gka_output *output, int *why) {
    FILE *const stream = output->stream;
    output->stream = NULL;
    bool good = fflush(stream) == 0;
    *why = errno;
    if (good && ferror(stream)) {
        good = false;
        *why = ask_again(output, stream);
    }
    if (good && output->temporary != NULL) {
        good = fsync(fileno(stream)) == 0;
        *why = errno;
    }
    if (stream == stdout)
        return good;
    if (fclose(stream) != 0 && good) {
        *why = errno;
        good = false;
    }
    return good;
}

gka_status gka_output_close(gka_output *output, gka_error *error) {
    int why;
    gka_status status = GKA_OK;
    if (!finish_stream(output, &why))
        status = gka_fail(error, GKA_IO, "%s: cannot be written: %s", output->path, strerror(why));
    if (output->temporary != NULL) {
        if (status == GKA_OK && rename(output->temporary, output->path) != 0)
            status = errno == ENOENT && atomic_load(&output->slot->state) != LIVE
                         ? gka_fail(error, GKA_INTERRUPTED, "%s: interrupted while it was written",
                                    output->path)
                         : gka_fail(error, GKA_IO, "%s: cannot be put in place: %s", output->path,
                                    strerror(errno));
        if (status == GKA_OK) {
            (void)release_slot(output->slot);
            output->slot = NULL;
            sync_directory(output);
        }
    }
    gka_output_abandon(output);
    return status;
}

void gka_output_abandon(gka_output *output) {
    if (output == NULL)
        return;
    if (output->stream == stdout)
        (void)fflush(stdout);
    else if (output->stream != NULL)
        (void)fclose(output->stream);
    if (output->slot != NULL) {
        (void)unlink(output->temporary);
        (void)release_slot(output->slot);
    }
    gka_free(output->temporary);
    gka_free(output->path);
    gka_free(output);
}
