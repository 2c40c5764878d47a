/* arith.c - one 128x128 matrix-vector product in every named policy against the same loop in plain
 * double: y_i = sum_j M_ij x_j, j ascending. Ratios of the fastest of many repetitions, taken in
 * turns in one run. Two plain loops: "rows" is the loop as one writes it, one sum after the other;
 * "lanes" advances 16 rows together, as the kernels here do.
 *
 *   bench_arith
 */
#include "arith/kernels.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

enum { N = 128, LANES = 16, TURNS = 60, REPEAT = 20 };

static double M[N * N], x[N], y[N];

static double seconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void rows(void) {
    for (int i = 0; i < N; i++) {
        double s = 0;
        for (int j = 0; j < N; j++)
            s += M[i * N + j] * x[j];
        y[i] = s;
    }
}

static void lanes(void) {
    for (int i0 = 0; i0 < N; i0 += LANES) {
        double s[LANES] = {0};
        for (int j = 0; j < N; j++)
            for (int i = 0; i < LANES; i++)
                s[i] += M[(i0 + i) * N + j] * x[j];
        for (int i = 0; i < LANES; i++)
            y[i0 + i] = s[i];
    }
}

typedef struct subject {
    const char *name, *table;
    gka_arith A;
    const arith_kernels *kernels; /* NULL: a plain loop */
    void (*plain)(void);
    double best;
} subject;

static void run(subject *s) {
    const double begin = seconds();
    for (int i = 0; i < REPEAT; i++) {
        if (s->kernels == NULL)
            s->plain();
        else
            s->kernels->matvec(&s->A.policy, s->A.kernel, 0, N, N, M, N, 1, x, y);
        __asm__ volatile("" ::: "memory");
    }
    s->best = fmin(s->best, (seconds() - begin) / REPEAT);
}

int main(void) {
    /* Numbers every format here holds; full range is what the kernels always handle: no branch
     * depends on the values. */
    for (int i = 0; i < N * N; i++)
        M[i] = (double)(i * 37 % 15 - 7) / 8;
    for (int i = 0; i < N; i++)
        x[i] = (double)(i * 11 % 15 - 7) / 8;
    static subject subjects[200];
    int count = 0;
    subjects[count++] = (subject){"plain double, rows", "", .plain = rows, .best = INFINITY};
    subjects[count++] = (subject){"plain double, lanes", "", .plain = lanes, .best = INFINITY};
    const arith_kernels *tables[4];
    gka_arith_kernels_all(tables);
    static const char *const more[] = {"fp32/fma", "bf16/fma", "bf16/pairwise", "bf16/stochastic",
                                       NULL};
    for (int t = 0; tables[t] != NULL; t++)
        for (int list = 0; list < 2; list++)
            for (const char *const *name = list ? more : gka_policy_names(); *name; name++) {
                subject *const s = &subjects[count++];
                gka_policy policy;
                *s = (subject){.name = *name,
                               .table = tables[t]->name,
                               .kernels = tables[t],
                               .best = INFINITY};
                if (!gka_policy_find(*name, &policy))
                    return 1;
                gka_arith_start(&s->A, &policy, 0);
            }
    for (int turn = 0; turn < TURNS; turn++)
        for (int i = 0; i < count; i++)
            run(&subjects[i]);
    printf("%-22s %-9s %10s %10s %10s\n", "arithmetic", "table", "us", "x rows", "x lanes");
    for (int i = 0; i < count; i++)
        printf("%-22s %-9s %10.2f %10.2f %10.2f\n", subjects[i].name, subjects[i].table,
               1e6 * subjects[i].best, subjects[i].best / subjects[0].best,
               subjects[i].best / subjects[1].best);
    return 0;
}
