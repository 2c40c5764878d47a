/* parallel.c - a loop over independent work, by OpenMP; and the callback of long work. */
#include "gka/base.h"

#ifdef _OPENMP
#include <omp.h>
#else /* one thread: a browser has no other */
#define omp_get_max_threads() 1
#define omp_get_thread_num()  0
#endif

static int threads_set;

int gka_threads(void) {
    return threads_set > 0 ? threads_set : omp_get_max_threads();
}

void gka_set_threads(int n) {
    threads_set = n;
}

void gka_parallel(int64_t count, gka_parallel_body *body, void *context) {
    const int threads = gka_threads();
    if (threads == 1 || count <= 1) {
        for (int64_t i = 0; i < count; i++)
            body(context, i, 0);
        return;
    }
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t i = 0; i < count; i++)
        body(context, i, omp_get_thread_num());
}

bool gka_progress_report(const gka_progress *progress, double done, double total) {
    return progress == NULL || progress->report == NULL ||
           progress->report(progress->context, done, total);
}
