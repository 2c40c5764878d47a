/* format.c - the speed of rounding and packing, as ratios taken in one run.
 *
 * Medians of interleaved repetitions, in the processor's time: other programs disturb it less than
 * a clock's, and what several threads do (stochastic, 64 MiB) counts for each. Rates are in
 * elements: memcpy moves 4 bytes in and 4 out for each fp32, a conversion to bf16 4 in and 2 out,
 * so beyond the caches the bound for the latter is the memory's bandwidth / 6 bytes, or / 8 where
 * the processor first reads the lines it is about to write. */
#include "format/kernels.h"
#include "format/round.h"

#ifdef GKA_CPFLOAT
#include <cpfloat_binary32.h>
#endif

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { LARGE = 16 << 20, SMALL = 128, TIMES = 25, MAX_WORKS = 16 };

typedef void work(const float *x, void *out, size_t n);

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds for one call of each work, medians of interleaved runs of `calls` calls. */
static void measure(int count, work *const *works, size_t n, int calls, const float *x, void *out,
                    double *seconds) {
    static double t[MAX_WORKS][TIMES];
    for (int k = 0; k < TIMES; k++)
        for (int i = 0; i < count; i++) {
            const double start = now();
            for (int j = 0; j < calls; j++)
                works[i](x, out, n);
            t[i][k] = (now() - start) / calls;
        }
    for (int i = 0; i < count; i++) {
        qsort(t[i], TIMES, sizeof t[i][0], ascending);
        seconds[i] = t[i][TIMES / 2];
    }
}

static void copy(const float *x, void *out, size_t n) {
    memcpy(out, x, n * sizeof *x);
}

static void bf16(const float *x, void *out, size_t n) {
    gka_encode_array_f32(&gka_bf16, GKA_NEAREST_EVEN, 0, 0, n, x, out);
}

/* What one writes by hand for finite numbers. */
static void plain_c(const float *x, void *out, size_t n) {
    uint16_t *const y = out;
    for (size_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, &x[i], sizeof u);
        y[i] = (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
    }
}

/* bf16's numbers but for the ends of the range, so that the general loop serves. */
static const gka_format like_bf16 = {
    "like-bf16", 8, -120, 120, 0x1.fep120, true, GKA_OVERFLOW_IEEE, 16, GKA_SPECIALS_BY_FIELD};

static void general(const float *x, void *out, size_t n) {
    gka_encode_array_f32(&like_bf16, GKA_NEAREST_EVEN, 0, 0, n, x, out);
}

static void fp16(const float *x, void *out, size_t n) {
    gka_encode_array_f32(&gka_fp16, GKA_NEAREST_EVEN, 0, 0, n, x, out);
}

static void e4m3(const float *x, void *out, size_t n) {
    gka_encode_array_f32(&gka_e4m3, GKA_NEAREST_EVEN, 0, 0, n, x, out);
}

static void e5m2(const float *x, void *out, size_t n) {
    gka_encode_array_f32(&gka_e5m2, GKA_NEAREST_EVEN, 0, 0, n, x, out);
}

static void general_up(const float *x, void *out, size_t n) {
    gka_encode_array_f32(&gka_bf16, GKA_UP, 0, 0, n, x, out);
}

static void general_odd(const float *x, void *out, size_t n) {
    gka_encode_array_f32(&gka_bf16, GKA_TO_ODD, 0, 0, n, x, out);
}

static void round_bf16(const float *x, void *out, size_t n) {
    gka_round_array_f32(&gka_bf16, GKA_NEAREST_EVEN, 0, 0, n, x, out);
}

static void stochastic(const float *x, void *out, size_t n) {
    gka_encode_array_f32(&gka_bf16, GKA_STOCHASTIC, 1, 0, n, x, out);
}

#ifdef GKA_CPFLOAT
static void cpfloat_bf16(const float *x, void *out, size_t n) {
    optstruct *const options = init_optstruct();
    options->precision = 8;
    options->emin = -126;
    options->emax = 127;
    options->subnormal = CPFLOAT_SUBN_USE;
    options->round = CPFLOAT_RND_NE;
    options->flip = CPFLOAT_NO_SOFTERR;
    cpfloatf(out, x, n, options);
    free_optstruct(options);
}
#endif

static void table(const char *title, size_t n, int calls, const float *x, void *out) {
    static const struct {
        const char *name;
        work *function;
    } rows[] = {
        {"memcpy of the fp32", copy},
        {"bf16 nearest, packed", bf16},
        {"plain C integer loop", plain_c},
        {"general loop, 16 bits", general},
        {"fp16 nearest, packed", fp16},
        {"e4m3 nearest, packed", e4m3},
        {"e5m2 nearest, packed", e5m2},
        {"bf16 up, packed", general_up},
        {"bf16 odd, packed", general_odd},
        {"bf16 nearest, as fp32", round_bf16},
        {"bf16 stochastic, packed", stochastic},
#ifdef GKA_CPFLOAT
        {"CPFloat bf16, as fp32", cpfloat_bf16},
#endif
    };
    enum { ROWS = sizeof rows / sizeof rows[0] };
    work *works[ROWS];
    double seconds[ROWS];
    for (int i = 0; i < ROWS; i++)
        works[i] = rows[i].function;
    measure(ROWS, works, n, calls, x, out, seconds);
    printf("\n%s\n%-26s %10s %12s %14s %14s\n", title, "", "ns/elem", "Gelem/s", "rate/memcpy",
           "time/bf16");
    for (int i = 0; i < ROWS; i++)
        printf("%-26s %10.4f %12.3f %14.3f %14.3f\n", rows[i].name, 1e9 * seconds[i] / (double)n,
               1e-9 * (double)n / seconds[i], seconds[0] / seconds[i], seconds[i] / seconds[1]);
    if (n == LARGE) {
        printf("memory: memcpy moves %.2f GB/s (read + written), bf16 %.2f GB/s\n",
               8e-9 * (double)n / seconds[0], 6e-9 * (double)n / seconds[1]);
        printf("limit: at memcpy's bytes a second bf16 would have 8/6 = 1.33 of its elements; more "
               "means that something else than the memory's bandwidth holds memcpy up\n");
        printf("bar: bf16 rate / memcpy rate %.3f, wanted >= 0.9: %s\n", seconds[0] / seconds[1],
               seconds[0] / seconds[1] >= 0.9 ? "met" : "NOT met");
    } else
        printf("bar: %zu elements, bf16 time / plain C time %.3f, wanted <= 2: %s\n", n,
               seconds[1] / seconds[2], seconds[1] / seconds[2] <= 2 ? "met" : "NOT met");
    printf("bar: general time / bf16 time %.3f, wanted <= 3: %s\n", seconds[3] / seconds[1],
           seconds[3] / seconds[1] <= 3 ? "met" : "NOT met");
}

int main(void) {
    float *const x = gka_alloc(LARGE, sizeof *x);
    void *const out = gka_alloc(LARGE, sizeof *x);
    if (x == NULL || out == NULL) {
        fprintf(stderr, "bench_format: no memory\n");
        return 3;
    }
    for (size_t i = 0; i < LARGE; i++) {
        const uint64_t r = gka_round_random(1, i);
        x[i] = (float)((double)(int64_t)r * 0x1p-63 * (double)(1 << (r & 15)));
    }
    memset(out, 1, LARGE * sizeof *x);
    const char *name = "";
    for (int i = 0; gka_format_kernels_at(i) != NULL; i++)
        name = gka_format_kernels_at(i)->name;
    printf("loops in use: %s\n", name);
#ifndef GKA_CPFLOAT
    printf("CPFloat: not installed\n");
#endif
    table("64 MiB of fp32", LARGE, 1, x, out);
    table("128 elements, in cache", SMALL, 20000, x, out);
    gka_free(x);
    gka_free(out);
    return 0;
}
