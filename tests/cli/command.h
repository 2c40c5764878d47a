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

typedef struct failing_call {
    int code;
    const char *output;
    int argc;
    const char *const *argv;
} failing_call;

static inline gka_status run_once(void *context) {
    const failing_call *const call = context;
    result r = run(call->argc, call->argv);
    const bool done = r.code == call->code;
    assert_no_temporaries();
    if (call->output != NULL && exists(call->output) != done)
        fail_msg("%s is%s there", call->output, done ? " not" : "");
    if (!done && r.code != 3)
        fail_msg("code %d, '%s'", r.code, r.err);
    if (!done && (strstr(r.err, "memory") == NULL || strchr(r.err, '\n') != r.err + r.err_size - 1))
        fail_msg("'%s' is no line about memory", r.err);
    end(&r);
    if (call->output != NULL && done)
        assert_int_equal(unlink(call->output), 0);
    return done ? GKA_OK : GKA_OUT_OF_MEMORY;
}

/* Makes allocations of the call fail (some_allocations_fail), until one is not reached: then the
 * call returns `code`, and the file `output` (NULL: none) is there; it is removed. */
static inline void fail_allocations(int code, const char *output, int64_t dense, int argc,
                                    const char *const *argv) {
    failing_call call = {code, output, argc, argv};
    (void)some_allocations_fail(run_once, &call, false, dense);
}

/* Every one, of a call that succeeds. */
#define FAIL_EACH(output, ...) fail_allocations(0, output, INT64_MAX, ARGUMENTS(__VA_ARGS__))

#endif
