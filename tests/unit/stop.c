/* stop.c - gka_stop: every kernel, and a golden, ends soon after it, says so and leaves nothing
 * behind. */
#include "test.h"

#include "gka/golden.h"
#include "gka/kernel.h"
#include "gka/rivals.h"

#include <pthread.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- the loop ------------------------------------------------------------------------------ */

static void stop_at_three(void *context, int64_t i, int worker) {
    (void)worker;
    ++*(int *)context;
    if (i == 3)
        gka_stop(true);
}

static bool never(void *context, double done, double total) {
    (void)context;
    (void)done;
    (void)total;
    fail_msg("reported after the stop");
    return true;
}

static void test_a_loop_stops(void **state) {
    (void)state;
    const gka_progress progress = {.report = never};
    int calls = 0;
    gka_set_threads(1);
    assert_false(gka_parallel(10, stop_at_three, &calls));
    assert_int_equal(calls, 4);
    assert_true(gka_stopped());
    assert_false(gka_progress_report(NULL, 0, 1));
    assert_false(gka_progress_report(&progress, 0, 1));
    assert_false(gka_parallel(10, stop_at_three, &calls));
    assert_int_equal(calls, 4);
    gka_stop(false);
    assert_true(gka_parallel(3, stop_at_three, &calls));
    assert_int_equal(calls, 7);
    assert_true(gka_progress_report(NULL, 0, 1));
    gka_set_threads(0);
}

#if defined __SANITIZE_ADDRESS__
static const double bar = 20;
#else
static const double bar = 2;
#endif

/* ---- what is at work ----------------------------------------------------------------------- */

/* Processor time, which a busy machine does not stretch. */
static double cpu_seconds(void) {
    struct timespec t;
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

enum { MS = 1000000 };

typedef struct alarm_clock {
    double after, rang; /* processor seconds */
    pthread_t thread;
} alarm_clock;

static void *ring(void *context) {
    alarm_clock *const a = context;
    const struct timespec nap = {.tv_nsec = 2 * MS};
    const double begin = cpu_seconds();
    while (cpu_seconds() - begin < a->after)
        (void)nanosleep(&nap, NULL);
    a->rang = cpu_seconds();
    gka_stop(true);
    return NULL;
}

static void set(alarm_clock *a, double after) {
    *a = (alarm_clock){.after = after};
    assert_int_equal(pthread_create(&a->thread, NULL, ring, a), 0);
}

/* The work that was interrupted ended soon: .2 s is aimed at and usual; the bar is so far off that
 * a busy machine does not meet it, and a kernel that goes on does. A sanitizer takes ten times as
 * long for anything. */
static void check_soon(alarm_clock *a, const char *what) {
    assert_int_equal(pthread_join(a->thread, NULL), 0);
    const double late = cpu_seconds() - a->rang;
    if (late > bar)
        fail_msg("%s: went on for %.2f s after the stop", what, late);
    assert_true(gka_stopped());
    gka_stop(false);
}

/* ---- kernels ------------------------------------------------------------------------------- */

/* Long enough for any kernel: fp64, the fastest, takes .4 s of processor time for gradients, and
 * its alarm may be late. */
static void make(int64_t D, gka_problem *problem) {
    gka_error error = {0};
    const gka_generator generator = {.keys = GKA_KEYS_IID,
                                     .gate = GKA_GATE_SLOW,
                                     .B = 1,
                                     .T = D == 64 ? 8000 : 100,
                                     .H = 2,
                                     .G = 1,
                                     .D = D,
                                     .V = D,
                                     .alpha = true,
                                     .cotangents = true,
                                     .dtype = GKA_BF16};
    assert_int_equal(gka_problem_generate(&generator, problem, &error), GKA_OK);
}

static void run_into_a_stop(const char *name, const gka_problem *problem, double after,
                            unsigned set_of) {
    const int64_t live = gka_alloc_live();
    gka_kernel kernel;
    gka_outputs out = {0};
    gka_error error = {0};
    alarm_clock a;
    assert_int_equal(gka_kernel_find(name, &kernel, &error), GKA_OK);
    for (int id = 0; id < GKA_OUTPUTS; id++)
        if ((gka_kernel_outputs(&kernel) & set_of) >> id & 1 &&
            gka_output_lacks(problem, id) == NULL)
            out.of[id] = gka_alloc((size_t)gka_output_count(problem, id), sizeof(double));
    set(&a, after);
    const gka_status status = gka_kernel_run(&kernel, problem, NULL, &out, NULL, NULL, &error);
    check_soon(&a, name);
    if (status != GKA_INTERRUPTED)
        fail_msg("%s: %s: %s", name, gka_status_text(status), error.text);
    for (int id = 0; id < GKA_OUTPUTS; id++)
        gka_free(out.of[id]);
    assert_int_equal(gka_alloc_live(), live);
}

/* Early, and where the way back is at work. */
static void test_kernels_stop(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double late;
    } kernels[] = {
        {"certified", .2},    {"fp64", .1},          {"mpfr/2000", .2},         {"steps", .2},
        {"h100", .2},         {"h100/two-term", .2}, {"tokens/bf16-acc32", .2}, {"cuda", .2},
        {"cuda/accurate", .2}};
    gka_problem problem, wide;
    make(64, &problem);
    make(128, &wide);
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        run_into_a_stop(kernels[i].name, &problem, .02, gka_forward_outputs());
        run_into_a_stop(kernels[i].name, &problem, kernels[i].late, gka_of_outputs(GKA_OF_O));
    }
    run_into_a_stop("mpfr/4000", &wide, .05, gka_forward_outputs());
    gka_problem_free(&wide);
    gka_problem_free(&problem);
}

typedef struct counter {
    int calls, last; /* the call that stops the work; 0: none */
} counter;

static bool count(void *context, double done, double total) {
    counter *const c = context;
    (void)done;
    (void)total;
    return ++c->calls != c->last;
}

/* The certified oracle's second words are MPFR's: a second way through all tokens, for gradients
 * there and back, asks at each of them, too. */
static void test_mpfr_of_the_certified_oracle_stops(void **state) {
    (void)state;
    enum { T = 8, D = 16 };
    const gka_generator generator = {.keys = GKA_KEYS_IID,
                                     .B = 1,
                                     .T = T,
                                     .H = 1,
                                     .G = 1,
                                     .D = D,
                                     .V = D,
                                     .cotangents = true,
                                     .dtype = GKA_BF16};
    static double x[T * D], x_lo[T * D], dq[T * D], dq_lo[T * D];
    gka_outputs out = {.x = x}, lo = {.x = x_lo};
    out.gradient[GKA_OF_O].dq = dq;
    lo.gradient[GKA_OF_O].dq = dq_lo;
    gka_problem p;
    gka_error error = {0};
    assert_int_equal(gka_problem_generate(&generator, &p, &error), GKA_OK);
    counter c = {0};
    gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED,
                                  .progress = {.report = count, .context = &c}};
    assert_int_equal(gka_oracle_forward(&p, &options, &out, &lo, NULL, &error), GKA_OK);
    assert_int_equal(c.calls, 2 * T);
    c = (counter){.last = T + 2};
    assert_int_equal(gka_oracle_forward(&p, &options, &out, &lo, NULL, &error), GKA_INTERRUPTED);
    assert_int_equal(c.calls, T + 2);
    c = (counter){0};
    assert_int_equal(gka_oracle_gradient(&p, GKA_OF_O, &options, &out, &lo, NULL, &error), GKA_OK);
    assert_true(c.calls >= 3 * T); /* what is gone over twice asks twice */
    c = (counter){.last = T + 2};
    assert_int_equal(gka_oracle_gradient(&p, GKA_OF_O, &options, &out, &lo, NULL, &error),
                     GKA_INTERRUPTED);
    assert_int_equal(c.calls, T + 2);
    gka_problem_free(&p);
}

/* Stopped before they begin, the layers that it is compared with say so. */
static void test_rivals_stop(void **state) {
    (void)state;
    static const char *const names[] = {"linear", "gdn", "mesa", "softmax", "gka"};
    const gka_generator generator = {
        .keys = GKA_KEYS_IID, .B = 1, .T = 8, .H = 1, .G = 1, .D = 16, .V = 16, .dtype = GKA_BF16};
    gka_problem problem;
    gka_policy policy;
    double o[8 * 16];
    gka_rival_outputs out = {.o = o};
    gka_error error = {0};
    assert_int_equal(gka_problem_generate(&generator, &problem, &error), GKA_OK);
    assert_true(gka_policy_find("fp64", &policy));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        gka_rival rival;
        const gka_rival_profile profile = {gka_device_find("exact64"), 0};
        assert_int_equal(gka_rival_find(names[i], &rival, &error), GKA_OK);
        gka_stop(true);
        assert_int_equal(gka_rival_forward(&problem, &rival, &policy, &out, NULL, &error),
                         GKA_INTERRUPTED);
        assert_int_equal(gka_rival_exact(&problem, &rival, 256, &out, NULL, &error),
                         GKA_INTERRUPTED);
        if (gka_rival_chunk_check(&problem, &rival, &profile, NULL) == GKA_OK)
            assert_int_equal(gka_rival_chunk(&problem, &rival, &profile, &out, NULL, &error),
                             GKA_INTERRUPTED);
        gka_stop(false);
    }
    gka_problem_free(&problem);
}

/* ---- files --------------------------------------------------------------------------------- */

static void test_no_file_is_left(void **state) {
    (void)state;
    gka_golden_spec spec;
    gka_error error = {0};
    alarm_clock a;
    (void)rmdir("stopped");
    assert_int_equal(mkdir("stopped", 0700), 0);
    gka_golden_spec_start(&spec);
    assert_int_equal(gka_golden_spec_set(&spec, "T", "1000", &error), GKA_OK);
    assert_int_equal(gka_golden_spec_set(&spec, "emulate", "h100", &error), GKA_OK);
    for (int i = 0; i < 3; i++) {
        set(&a, .02 + .2 * i);
        assert_int_equal(gka_golden_generate(&spec, NULL, "stopped/golden", NULL, &error),
                         GKA_INTERRUPTED);
        check_soon(&a, "golden");
    }
    assert_int_equal(rmdir("stopped"), 0); /* it is empty */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_loop_stops),
        cmocka_unit_test(test_kernels_stop),
        cmocka_unit_test(test_mpfr_of_the_certified_oracle_stops),
        cmocka_unit_test(test_rivals_stop),
        cmocka_unit_test(test_no_file_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
