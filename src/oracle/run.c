/* run.c - the loop over independent (sequence, head) work that every oracle shares. */
#include "oracle/run.h"

#include "oracle/environment.h"

#include <string.h>

int64_t gka_at_chunk(const gka_problem *problem, int64_t n, int64_t t, int64_t h) {
    const gka_span span = gka_problem_span(problem, n);
    if ((t - span.begin) % problem->chunk_size != 0)
        return -1;
    int64_t chunk = (t - span.begin) / problem->chunk_size;
    for (int64_t m = 0; problem->cu_seqlens != NULL && m < n; m++)
        chunk += gka_problem_span_chunks(problem, m);
    return (span.b * gka_problem_chunks(problem) + chunk) * problem->H + h;
}

void *gka_take(gka_arena *block, int64_t count, size_t size) {
    enum { ALIGNMENT = 64 };
    void *const piece = block->base == NULL ? NULL : block->base + block->used;
    block->used += ((size_t)count * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return piece;
}

double *gka_take_reals(gka_arena *block, int64_t count) {
    return gka_take(block, count, sizeof(double));
}

int64_t gka_mark_spacing(const gka_problem *problem) {
    const int64_t longest = gka_problem_longest(problem);
    int64_t length = 1;
    while (length * length < longest)
        length++;
    return length;
}

void gka_run_zero(const gka_problem *problem, unsigned set, const gka_outputs *outputs) {
    for (int i = 0; i < GKA_OUTPUTS; i++)
        if (set >> i & 1 && outputs->of[i] != NULL)
            memset(outputs->of[i], 0,
                   (size_t)gka_output_count(problem, i) * sizeof *outputs->of[i]);
}

static int64_t items_per_sequence(const gka_run *run) {
    return run->problem->H / run->heads;
}

static bool wanted(gka_run *run, int64_t item) {
    pthread_mutex_lock(&run->lock);
    const bool result = item < run->first_failed;
    pthread_mutex_unlock(&run->lock);
    return result;
}

static void failed(gka_run *run, int64_t item, const gka_error *error) {
    pthread_mutex_lock(&run->lock);
    if (item < run->first_failed) {
        run->first_failed = item;
        run->error = *error;
    }
    pthread_mutex_unlock(&run->lock);
}

static void run_item(void *context, int64_t item, int worker) {
    gka_run *const run = context;
    const int64_t n = item / items_per_sequence(run);
    const int64_t h = item % items_per_sequence(run) * run->heads;
    gka_error error = {0};
    if (!wanted(run, item))
        return;
    if (gka_environment_check(&error) != GKA_OK) { /* each thread has an environment of its own */
        failed(run, item, &error);
        return;
    }
    if (run->memories[worker] == NULL)
        run->memories[worker] = run->memory(run);
    const gka_status status = run->memories[worker] == NULL
                                  ? gka_fail(&error, GKA_OUT_OF_MEMORY, "out of memory")
                                  : run->body(run, n, h, run->memories[worker], &error);
    if (status != GKA_OK && error.status == GKA_OK) /* a callback, which has no line of its own */
        (void)gka_fail(&error, status, "interrupted");
    if (status != GKA_OK)
        failed(run, item, &error);
}

gka_status gka_run_all(gka_run *run, gka_error *error) {
    const int workers = gka_threads();
    run->memories = gka_alloc((size_t)workers, sizeof *run->memories);
    if (run->memories == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
    run->first_failed = INT64_MAX;
    pthread_mutex_init(&run->lock, NULL);
    const bool all = gka_parallel(run->problem->N * items_per_sequence(run), run_item, run);
    pthread_mutex_destroy(&run->lock);
    for (int i = 0; i < workers; i++)
        gka_free(run->memories[i]);
    gka_free(run->memories);
    if (!all)
        return gka_fail(error, GKA_INTERRUPTED, "interrupted");
    if (run->first_failed == INT64_MAX)
        return GKA_OK;
    return gka_fail(error, run->error.status, "%s", run->error.text);
}

/* Adds to what is counted and reports progress. */
static bool advance(gka_run *run, int64_t n, int64_t h, int64_t solves, int64_t empty_states) {
    const gka_problem *const problem = run->problem;
    const int64_t item = n * items_per_sequence(run) + h / run->heads;
    pthread_mutex_lock(&run->lock);
    run->report->solves += solves;
    run->report->empty_states += empty_states;
    if (!gka_progress_report(&run->options->progress, (double)run->report->solves,
                             (double)(problem->B * problem->T * problem->H))) {
        run->first_failed = -1; /* every item stops */
        gka_fail(&run->error, GKA_INTERRUPTED, "interrupted");
    }
    const bool go_on = item < run->first_failed;
    pthread_mutex_unlock(&run->lock);
    return go_on;
}

bool gka_run_solved(gka_run *run, int64_t n, int64_t h, bool empty_state) {
    return advance(run, n, h, 1, empty_state);
}

bool gka_run_waits(gka_run *run, int64_t n, int64_t h) {
    return advance(run, n, h, 0, 0);
}

static bool stands_before(const gka_oracle_unproven *a, const gka_oracle_unproven *b) {
    const int names = strcmp(a->tensor, b->tensor);
    if (names != 0 || a->second_word != b->second_word)
        return names != 0 ? names < 0 : b->second_word;
    return a->at < b->at;
}

void gka_run_unproven(gka_run *run, const char *tensor, bool second_word, int64_t at) {
    gka_oracle_unproven one = {tensor, second_word, at};
    pthread_mutex_lock(&run->lock);
    gka_oracle_report *const report = run->report;
    for (int i = 0; i < report->listed; i++)
        if (stands_before(&one, &report->unproven[i])) {
            const gka_oracle_unproven moved = report->unproven[i];
            report->unproven[i] = one;
            one = moved;
        }
    if (report->listed < GKA_ORACLE_LISTED)
        report->unproven[report->listed++] = one;
    pthread_mutex_unlock(&run->lock);
}
