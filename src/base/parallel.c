/* parallel.c - a loop over independent work, by OpenMP; how it is stopped, and the callback of long
 * work. */
#include "gka/base.h"

#ifdef _OPENMP
#include <omp.h>
#else /* one thread: a browser has no other */
#define omp_get_max_threads() 1
#define omp_get_thread_num()  0
#define omp_in_parallel()     0
#endif
#include <stdatomic.h>

static int threads_set;
static atomic_bool stop_asked; /* lock-free, so that a signal's handler may set it */

int gka_threads(void) {
    return threads_set > 0 ? threads_set : omp_get_max_threads();
}

void gka_set_threads(int n) {
    threads_set = n;
}

int gka_workers(int64_t count) {
    const int threads = omp_in_parallel() ? 1 : gka_threads();
    return count >= threads ? threads : count > 1 ? (int)count : 1;
}

void gka_stop(bool stop) {
    atomic_store_explicit(&stop_asked, stop, memory_order_relaxed);
}

bool gka_stopped(void) {
    return atomic_load_explicit(&stop_asked, memory_order_relaxed);
}

bool gka_parallel(int64_t count, gka_parallel_body *body, void *context) {
    const int threads = gka_workers(count);
    if (threads == 1) {
        for (int64_t i = 0; i < count && !gka_stopped(); i++)
            body(context, i, 0);
        return !gka_stopped();
    }
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t i = 0; i < count; i++)
        if (!gka_stopped())
            body(context, i, omp_get_thread_num());
    return !gka_stopped();
}

bool gka_progress_report(const gka_progress *progress, double done, double total) {
    return !gka_stopped() && (progress == NULL || progress->report == NULL ||
                              progress->report(progress->context, done, total));
}
