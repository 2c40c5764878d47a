/* command.h - the command in process: what a call prints and returns, and the same call with each
 * allocation failing. */
#ifndef TESTS_CLI_COMMAND_H
#define TESTS_CLI_COMMAND_H

#include "test.h"

#include "cli/cli.h"
#include "gka/base.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct result {
    int code;
    char *out, *err;
    size_t out_size, err_size;
} result;

static inline result run(int argc, const char *const *argv) {
    result r = {0};
    FILE *const out = open_memstream(&r.out, &r.out_size);
    FILE *const err = open_memstream(&r.err, &r.err_size);
    assert_non_null(out);
    assert_non_null(err);
    r.code = gka_command(argc, argv, out, err);
    (void)fclose(out);
    (void)fclose(err);
    return r;
}

static inline void end(result *r) {
    free(r->out);
    free(r->err);
}

/* The arguments of a call as (count, array). */
#define ARGUMENTS(...)                                                                             \
    sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *[]) {                     \
        __VA_ARGS__                                                                                \
    }
#define RUN(...) run(ARGUMENTS(__VA_ARGS__))

static inline bool exists(const char *path) {
    return access(path, F_OK) == 0;
}

/* No file in this folder but those that should be: no temporary was left behind. */
static inline void assert_no_temporaries(void) {
    DIR *const here = opendir(".");
    assert_non_null(here);
    for (const struct dirent *e; (e = readdir(here)) != NULL;)
        assert_true(strncmp(e->d_name, ".gka-", 5) != 0);
    (void)closedir(here);
}

/* Makes each allocation of the call fail in turn, or, past the first `dense`, every (n/dense)-th,
 * until one is not reached: then the call returns `code`, and the file `output` (NULL: none) is
 * there; it is removed. Run with one thread, so that allocation number n is always the same one. */
static inline void fail_allocations(int code, const char *output, int64_t dense, int argc,
                                    const char *const *argv) {
    const int64_t live = gka_alloc_live();
    int64_t n = 0;
    for (bool reached = true; reached; n += 1 + n / dense) {
        gka_alloc_fail_at(n, false);
        result r = run(argc, argv);
        reached = gka_alloc_fail_at(-1, false) > n;
        assert_int_equal(gka_alloc_live(), live);
        assert_no_temporaries();
        if (output != NULL && exists(output) == reached)
            fail_msg("allocation %lld: %s is%s there", (long long)n, output, reached ? "" : " not");
        if (r.code != (reached ? 3 : code))
            fail_msg("allocation %lld: code %d, '%s'", (long long)n, r.code, r.err);
        if (reached &&
            (strstr(r.err, "memory") == NULL || strchr(r.err, '\n') != r.err + r.err_size - 1))
            fail_msg("allocation %lld: '%s' is no line about memory", (long long)n, r.err);
        end(&r);
    }
    if (output != NULL)
        assert_int_equal(unlink(output), 0);
}

/* Every one, of a call that succeeds. */
#define FAIL_EACH(output, ...) fail_allocations(0, output, INT64_MAX, ARGUMENTS(__VA_ARGS__))

#endif
