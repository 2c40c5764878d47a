/* command.c - any text as a command line, one argument a line.
 *
 * The command runs as it is up to the first file or the first computation. The linker puts
 * stand-ins in the place of these (-Wl,--wrap): a file that is opened is a small one in memory, or
 * cannot be opened where its name has an 'x'; nothing is written; nothing is computed. Beyond what
 * the sanitizers see: bad usage is exit code 2 with one line, and nothing stays allocated.
 */
#include "fuzz/golden.h"

#include "cli/cli.h"

#include "gka/audit.h"
#include "gka/condition.h"
#include "gka/rivals.h"
#include "gka/solve.h"

#include <errno.h>

enum { ARGUMENTS = 64 };

/* ---- stand-ins ----------------------------------------------------------------------------- */

static bool running; /* libFuzzer opens files too */

FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode) {
    if (!running)
        return __real_fopen(path, mode);
    errno = ENOENT;
    return NULL;
}

gka_status __wrap_gka_file_open(const char *path, gka_file **file, gka_error *error);
gka_status __wrap_gka_file_open(const char *path, gka_file **file, gka_error *error) {
    static unsigned char bytes[4096];
    *file = NULL;
    if (strchr(path, 'x') != NULL)
        return gka_fail(error, GKA_BAD_FILE, "%s: not opened", path);
    const size_t size = fuzz_file(bytes, FUZZ_GOLDEN_HEADER, FUZZ_GOLDEN_DATA);
    return gka_file_from_memory(path, bytes, size, file, error);
}

/* A function that fails; what it would give is left as it would be after a failure. */
#define REFUSE(name, parameters)                                                                   \
    gka_status __wrap_##name parameters;                                                           \
    gka_status __wrap_##name parameters {                                                          \
        return gka_fail(error, GKA_UNSUPPORTED, #name ": not computed");                           \
    }
#define REFUSE_AND_CLEAR(name, result, parameters)                                                 \
    gka_status __wrap_##name parameters;                                                           \
    gka_status __wrap_##name parameters {                                                          \
        memset(result, 0, sizeof *(result));                                                       \
        return gka_fail(error, GKA_UNSUPPORTED, #name ": not computed");                           \
    }
#pragma GCC diagnostic ignored "-Wunused-parameter"
// clang-format off
REFUSE_AND_CLEAR(gka_output_open, output, (const char *path, gka_output **output, gka_error *error))
REFUSE(gka_problem_write, (const gka_problem *p, const gka_text_pair *more, size_t more_count, const char *path,
                           gka_error *error))
REFUSE_AND_CLEAR(gka_verify, v, (const gka_file *file, const gka_verify_options *o, gka_verification *v,
                                 gka_error *error))
REFUSE(gka_attribute, (const gka_problem *p, const gka_profile *profile, const char *const *names, size_t count,
                       const gka_progress *progress, gka_attribution *a, gka_error *error))
REFUSE(gka_predict, (const gka_problem *p, const gka_prediction *prediction, double *distance, double *size,
                     gka_error *error))
REFUSE(gka_chunk_spectrum, (const gka_problem *p, double *most, double *fro, gka_error *error))
REFUSE(gka_chunk_conditioning, (const gka_problem *p, int64_t count, const int64_t *tokens, gka_conditioning *out,
                                gka_error *error))
REFUSE(gka_condition, (const gka_problem *p, const gka_condition_options *o, gka_condition_row *rows, size_t *count,
                       gka_error *error))
REFUSE(gka_iterations, (const gka_problem *p, gka_form form, int r, gka_iterations_row *row, gka_error *error))
REFUSE(gka_rival_exact, (const gka_problem *p, const gka_rival *rival, int precision, gka_rival_outputs *out,
                         const gka_progress *progress, gka_error *error))
REFUSE(gka_golden_generate, (const gka_golden_spec *spec, const gka_file *inputs, const char *path,
                             const gka_progress *progress, gka_error *error))
REFUSE(gka_suite_generate, (const char *suite, const char *folder, const gka_progress *progress,
                            gka_suite_report *report, gka_error *error))
REFUSE(gka_suite_examine, (const char *suite, const char *folder, gka_suite_report *report, gka_error *error))
REFUSE_AND_CLEAR(gka_suite_read, suite, (const char *folder, gka_suite *suite, gka_error *error))
REFUSE_AND_CLEAR(gka_golden_judge, v, (const gka_file *c, const gka_file *golden, const gka_golden_options *o,
                                       gka_golden_verdict *v, gka_error *error))
REFUSE_AND_CLEAR(gka_golden_audit, audit, (const gka_file *golden, const gka_progress *progress, gka_audit *audit,
                                           gka_error *error))
REFUSE(gka_golden_audit_write, (const gka_file *golden, const char *member, const char *path, gka_error *error))
REFUSE_AND_CLEAR(gka_problem_generate, p, (const gka_generator *g, gka_problem *p, gka_error *error))
// clang-format on

/* Arithmetics are emulated, and a user may ask for a million steps. */
void __wrap_gka_solve(gka_arith *A, const gka_system *system, const gka_solver *solver,
                      const double *q, double *x, gka_outcome *outcome,
                      const gka_observer *observer, void *workspace);
void __wrap_gka_solve(gka_arith *A, const gka_system *system, const gka_solver *solver,
                      const double *q, double *x, gka_outcome *outcome,
                      const gka_observer *observer, void *workspace) {
    (void)A, (void)solver, (void)observer, (void)workspace;
    memmove(x, q, (size_t)(system->n * system->D) * sizeof *x);
    if (outcome != NULL)
        memset(outcome, 0, (size_t)system->n * sizeof *outcome);
}

/* ---- one line ------------------------------------------------------------------------------ */

static void insist_on_one_line(const char *text, size_t size) {
    insist(size > 5 && memcmp(text, "gka", 3) == 0 && text[size - 1] == '\n');
    for (size_t i = 0; i + 1 < size; i++)
        insist((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
}

static void run(int argc, const char *const *argv) {
    char *printed = NULL, *said = NULL;
    size_t printed_size = 0, said_size = 0;
    FILE *const out = open_memstream(&printed, &printed_size);
    FILE *const err = open_memstream(&said, &said_size);
    insist(out != NULL && err != NULL);
    running = true;
    const int code = gka_command(argc, argv, out, err);
    running = false;
    (void)fclose(out);
    (void)fclose(err);
    insist(code == CLI_GOOD || code == CLI_USAGE);
    if (code == CLI_USAGE)
        insist_on_one_line(said, said_size);
    free(printed);
    free(said);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *argv[ARGUMENTS + 2] = {"gka"};
    int argc = 1;
    char *const text = malloc(size + 1);
    insist(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    for (char *line = text; line < text + size && argc <= ARGUMENTS; argc++) {
        char *const end = memchr(line, '\n', (size_t)(text + size - line));
        argv[argc] = line;
        if (end == NULL)
            line = text + size;
        else
            *end = '\0', line = end + 1;
    }
    run(argc, argv);
    free(text);
    insist(gka_alloc_live() == 0);
    return 0;
}
