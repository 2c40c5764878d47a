/* stream.c - goldens of long sequences: byte for byte those made in memory, in memory that does not
 * grow with the sequence. */
#include "test.h"

#include "golden/spec.h"
#include "golden/stream.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WHOLE    "golden_stream_whole.safetensors"
#define STREAMED "golden_stream.safetensors"
#define INPUTS   "golden_stream_inputs.safetensors"

static const golden_limits never = {1, 1 << 30}, always = {1, 128};

static gka_golden_spec spec_of(const char *json) {
    gka_golden_spec spec;
    gka_error error = {0};
    gka_golden_spec_start(&spec);
    if (gka_golden_spec_read(&spec, json, &error) != GKA_OK)
        fail_msg("%s", error.text);
    return spec;
}

static void make(const gka_golden_spec *spec, const gka_file *inputs, const golden_limits *limits,
                 const char *path) {
    gka_error error = {0};
    if (gka_golden_generate_within(spec, inputs, limits, path, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
}

/* ---- the same bytes ------------------------------------------------------------------------ */

static char *read_all(const char *path, size_t *size) {
    FILE *const file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    char *const bytes = malloc(*size);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    (void)fclose(file);
    return bytes;
}

/* Which tensor differs, for a message. */
static const char *difference(void) {
    gka_file *a = NULL, *b = NULL;
    gka_error error = {0};
    static char name[64];
    assert_int_equal(gka_file_open(WHOLE, &a, &error), GKA_OK);
    assert_int_equal(gka_file_open(STREAMED, &b, &error), GKA_OK);
    (void)snprintf(name, sizeof name, "metadata");
    for (size_t i = gka_file_count(a); i-- > 0;) {
        const gka_tensor *const t = gka_file_tensor(a, i), *const u = gka_file_find(b, t->name);
        const size_t size = (size_t)gka_tensor_count(t) * gka_dtype_size(t->dtype);
        if (u == NULL || memcmp(t->data, u->data, size) != 0)
            (void)snprintf(name, sizeof name, "%s", t->name);
    }
    gka_file_close(a);
    gka_file_close(b);
    return name;
}

static void assert_same_file(const char *what) {
    size_t m, n;
    char *const a = read_all(WHOLE, &m), *const b = read_all(STREAMED, &n);
    if (m != n || memcmp(a, b, m) != 0)
        fail_msg("%s: %s differs", what, difference());
    free(a);
    free(b);
    assert_int_equal(unlink(WHOLE), 0);
    assert_int_equal(unlink(STREAMED), 0);
}

/* Windows of 128 tokens (of 384 where C = 24); ragged ends within a chunk and a tile; both ways. */
static const char *const specs[] = {
    /* initial states, cotangents of the final ones, what the h100 makes of it */
    "{\"T\": 300, \"D\": 16, \"chunk\": 16, \"h0\": true, \"final\": true, \"gate\": \"slow\", "
    "\"iters\": 8, \"emulate\": \"h100\"}",
    /* ungated and ragged: the h100's dk is NaN */
    "{\"T\": 162, \"D\": 16, \"V\": 32, \"chunk\": 32, \"gate\": \"none\", \"iters\": 8, "
    "\"emulate\": \"h100\"}",
    /* no window's length but the last one's is whole */
    "{\"T\": 129, \"D\": 16, \"chunk\": 64, \"h0\": true, \"iters\": 8}",
    "{\"T\": 200, \"D\": 16, \"chunk\": 64, \"gate\": \"strong\", \"alpha\": false, \"iters\": 5, "
    "\"dtype\": \"fp16\", \"final\": true}",
    /* binary32: token by token too */
    "{\"T\": 500, \"D\": 4, \"V\": 3, \"chunk\": 24, \"h0\": true, \"final\": true, \"iters\": 5, "
    "\"dtype\": \"fp32\", \"gate\": \"slow\"}",
    "{\"T\": 200, \"D\": 5, \"V\": 7, \"chunk\": 128, \"gate\": \"none\", \"problem\": \"repeat\", "
    "\"dtype\": \"fp32\", \"iters\": 8}",
    /* no v; states that end; edits; some outputs alone */
    "{\"T\": 290, \"D\": 8, \"V\": 0, \"chunk\": 16, \"iters\": 5}",
    "{\"T\": 400, \"D\": 16, \"V\": 16, \"chunk\": 16, \"gate\": \"slow\", \"iters\": 5, "
    "\"edit\": \"one-key,late-keys,gamma-zero\"}",
    "{\"T\": 300, \"D\": 8, \"chunk\": 16, \"gate\": \"strong\", \"iters\": 5, "
    "\"problem\": \"recall\", \"outputs\": \"backward\"}",
    "{\"T\": 300, \"D\": 16, \"chunk\": 64, \"plain\": true, \"iters\": 5, "
    "\"problem\": \"powerlaw\", \"outputs\": \"forward\", \"edit\": \"subnormal\"}",
};
enum { SPECS = sizeof specs / sizeof *specs };

static void test_same_bytes(void **state) {
    (void)state;
    for (int i = 0; i < SPECS; i++) {
        const gka_golden_spec spec = spec_of(specs[i]);
        make(&spec, NULL, &never, WHOLE);
        gka_set_threads(i % 2 == 0 ? 3 : 1); /* kernels of the panel side by side */
        make(&spec, NULL, &always, STREAMED);
        gka_set_threads(0);
        assert_same_file(specs[i]);
    }
}

/* A user's own inputs, read by windows. */
static void test_same_bytes_of_inputs(void **state) {
    (void)state;
    const gka_golden_spec made = spec_of(specs[0]), spec = spec_of("{}");
    gka_problem problem;
    gka_file *inputs = NULL;
    gka_error error = {0};
    gka_generator generator = gka_golden_generator(&made);
    generator.cotangents = true;
    assert_int_equal(gka_problem_generate(&generator, &problem, &error), GKA_OK);
    assert_int_equal(gka_problem_write(&problem, NULL, 0, INPUTS, &error), GKA_OK);
    gka_problem_free(&problem);
    assert_int_equal(gka_file_open(INPUTS, &inputs, &error), GKA_OK);
    make(&spec, inputs, &never, WHOLE);
    make(&spec, inputs, &always, STREAMED);
    assert_same_file("a user's inputs");
    gka_file_close(inputs);
    assert_int_equal(unlink(INPUTS), 0);
}

/* The errors that make tolerances, to the last bit, where a golden prints three digits: of the
 * steps values as stored, of profiles at the problem's chunk size and at others, token by token, by
 * one worker and by another. */
static void test_same_errors(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int64_t C;
    } kernels[] = {{NULL, 32},          {"h100", 32},     {"h100", 16},   {"ieee32", 64},
                   {"tokens/fp32", 32}, {"exact64", 128}, {"exact64", 32}};
    gka_golden_spec spec = spec_of(specs[0]);
    gka_problem p;
    gka_error error = {0};
    gka_generator generator = gka_golden_generator(&spec);
    generator.cotangents = true;
    generator.chunk_size = 32;
    assert_int_equal(gka_problem_generate(&generator, &p, &error), GKA_OK);
    const unsigned all = gka_judged_outputs();
    gka_outputs steps = {0};
    golden_stream *stream = NULL;
    gka_profile exact64;
    const golden_inputs inputs = {0};
    gka_set_threads(2);
    assert_int_equal(gka_profile_find("exact64", &exact64, &error), GKA_OK);
    assert_int_equal(gka_golden_steps(&p, &exact64, all, &steps, &error), GKA_OK);
    assert_int_equal(gka_golden_stream_open(&p, &inputs, all, &always, STREAMED, &stream, &error),
                     GKA_OK);
    assert_int_equal(gka_golden_stream_steps(stream, NULL, &error), GKA_OK);
    for (size_t k = 0; k < sizeof kernels / sizeof *kernels; k++) {
        golden_error a[GKA_OUTPUTS], b[GKA_OUTPUTS];
        gka_outputs own = {0};
        gka_problem q = p;
        q.chunk_size = kernels[k].C;
        const bool any = kernels[k].name != NULL;
        const bool other =
            q.chunk_size != p.chunk_size || (any && strncmp(kernels[k].name, "tokens", 6) == 0);
        const unsigned wanted = other ? all & ~(1u << GKA_OUT_H_CHUNK) : all;
        gka_kernel kernel;
        assert_int_equal(gka_kernel_find(any ? kernels[k].name : "steps", &kernel, &error), GKA_OK);
        assert_int_equal(gka_golden_run(&q, &kernel, wanted, &own, &error), GKA_OK);
        gka_golden_store(&q, wanted, &own);
        assert_int_equal(gka_golden_errors(&q, wanted, &own, &steps, a, &error), GKA_OK);
        assert_int_equal(gka_golden_stream_errors(stream, (int)k % 2, any ? &kernel : NULL, &q,
                                                  wanted, NULL, b, &error),
                         GKA_OK);
        for (int i = 0; i < GKA_OUTPUTS; i++)
            if (wanted >> i & 1 &&
                (bits_of(a[i].rel) != bits_of(b[i].rel) || bits_of(a[i].row) != bits_of(b[i].row)))
                fail_msg("kernel %zu, %s: %a %a, streamed %a %a", k, gka_output_table[i].name,
                         a[i].rel, a[i].row, b[i].rel, b[i].row);
        gka_golden_free(&own);
    }
    gka_golden_stream_close(stream);
    gka_golden_free(&steps);
    gka_problem_free(&p);
    gka_set_threads(0);
}

/* ---- which ones ---------------------------------------------------------------------------- */

static void test_which_are_streamed(void **state) {
    (void)state;
    gka_problem p = {.B = 1, .T = 16385, .H = 1, .G = 1, .D = 8, .V = 8, .N = 1, .chunk_size = 64};
    assert_true(gka_golden_streams(&p, &gka_golden_limits_default));
    p.T = 16384;
    assert_false(gka_golden_streams(&p, &gka_golden_limits_default));
    p.T = 20000;
    p.H = 2;
    assert_false(gka_golden_streams(&p, &gka_golden_limits_default));
    assert_int_equal(gka_golden_window(&gka_golden_limits_default, 64), 2048);
    assert_int_equal(gka_golden_window(&gka_golden_limits_default, 24), 2304);
    assert_int_equal(gka_golden_window(&always, 24), 384);
}

/* ---- memory -------------------------------------------------------------------------------- */

static rlim_t memory_now(void) {
    FILE *const file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    if (file == NULL || fscanf(file, "%lu", &pages) != 1)
        pages = 0;
    if (file != NULL)
        (void)fclose(file);
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* Gradients of 6000 tokens, D = V = 4, fp32: at once they take 3 kB a token, 18 MB. */
static void test_memory(void **state) {
    (void)state;
    const char *const text = "{\"T\": 6000, \"D\": 4, \"dtype\": \"fp32\", \"iters\": 1, "
                             "\"chunk\": 16, \"outputs\": \"backward\"}";
    const golden_limits at_once = {1, 1 << 30}, windows = {1, 512};
    const gka_golden_spec spec = spec_of(text);
    const rlim_t now = memory_now();
    if (now == 0)
        skip();
    gka_set_threads(1);
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    limit = before;
    limit.rlim_cur = now + 5 * (1 << 20);
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
    gka_error error = {0};
    const gka_status good =
        gka_golden_generate_within(&spec, NULL, &windows, STREAMED, NULL, &error);
    const gka_status bad = gka_golden_generate_within(&spec, NULL, &at_once, WHOLE, NULL, NULL);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    gka_set_threads(0);
    if (good != GKA_OK)
        fail_msg("%s", error.text);
    assert_int_equal(bad, GKA_OUT_OF_MEMORY);
    assert_int_equal(unlink(STREAMED), 0);
}

/* ---- interrupted, no memory ---------------------------------------------------------------- */

static int files(void) {
    int count = 0;
    DIR *const folder = opendir(".");
    assert_non_null(folder);
    while (readdir(folder) != NULL)
        count++;
    (void)closedir(folder);
    return count;
}

static bool stop_at(void *context, double done, double total) {
    return done < *(double *)context * total;
}

/* Nothing lies in the folder, wherever it stops. */
static void test_interrupted(void **state) {
    (void)state;
    const gka_golden_spec spec = spec_of(specs[0]);
    const int before = files();
    static double shares[] = {.001, .01, .03, .06, .1, .4, .9};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        const gka_progress progress = {.report = stop_at, .context = &shares[i]};
        gka_error error = {0};
        assert_int_equal(
            gka_golden_generate_within(&spec, NULL, &always, STREAMED, &progress, &error),
            GKA_INTERRUPTED);
        assert_int_equal(files(), before);
    }
}

static void end(int number) {
    gka_output_abandon_all();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

/* Nor where two signals come at once, whatever is at work: the child makes goldens until then. */
static void test_signals(void **state) {
    (void)state;
    const gka_golden_spec spec = spec_of("{\"T\": 300, \"D\": 4, \"iters\": 1, \"chunk\": 128}");
    const int before = files();
    for (int round = 0; round < 24; round++) {
        int ready[2], status;
        char byte;
        assert_int_equal(pipe(ready), 0);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct sigaction action = {.sa_handler = end};
            sigfillset(&action.sa_mask);
            (void)sigaction(SIGINT, &action, NULL);
            (void)sigaction(SIGTERM, &action, NULL);
            gka_set_threads(1);
            (void)!write(ready[1], "", 1);
            while (gka_golden_generate_within(&spec, NULL, &always, STREAMED, NULL, NULL) == GKA_OK)
                (void)unlink(STREAMED);
            _exit(1);
        }
        assert_int_equal(read(ready[0], &byte, 1), 1);
        const struct timespec pause = {.tv_nsec = (3 + 5 * round) * 1000000L};
        (void)nanosleep(&pause, NULL);
        assert_int_equal(kill(child, SIGINT), 0);
        assert_int_equal(kill(child, SIGTERM), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        (void)close(ready[0]);
        (void)close(ready[1]);
        (void)unlink(STREAMED); /* a whole one may have just been put in place */
        assert_int_equal(files(), before);
    }
}

/* No temporary is left, and no golden where it failed. */
static gka_status stream_once(void *spec) {
    const int before = files();
    const gka_status status = gka_golden_generate_within(spec, NULL, &always, STREAMED, NULL, NULL);
    assert_int_equal(files(), before + (status == GKA_OK));
    (void)unlink(STREAMED);
    return status;
}

static void test_survives_failing_allocations(void **state) {
    (void)state;
    static const char *const some[] = {
        "{\"T\": 130, \"D\": 2, \"V\": 1, \"h0\": true, \"iters\": 1, \"chunk\": 128}",
        "{\"T\": 130, \"D\": 1, \"dtype\": \"fp32\", \"plain\": true, \"outputs\": \"forward\", "
        "\"iters\": 1, \"chunk\": 128, \"edit\": \"one-key\"}"};
    gka_set_threads(1);
    for (int i = 0; i < 2; i++) {
        gka_golden_spec spec = spec_of(some[i]);
        assert_true(some_allocations_fail(stream_once, &spec, false, 12) > 100);
    }
    gka_set_threads(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),  /* first: what others have freed would be there to use */
        cmocka_unit_test(test_signals), /* before there are other threads */
        cmocka_unit_test(test_same_bytes),  cmocka_unit_test(test_same_bytes_of_inputs),
        cmocka_unit_test(test_same_errors), cmocka_unit_test(test_which_are_streamed),
        cmocka_unit_test(test_interrupted), cmocka_unit_test(test_survives_failing_allocations),
    };
    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
