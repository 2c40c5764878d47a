/* device.c - matrix products [64,128] x [128,64] as the h100's tensor core computes them, against
 * OpenBLAS sgemm on the same shape: ratios of the fastest of many repetitions, taken in turns in
 * one run on one thread, in the processor's time. "+ left" packs the left operand each time, as the
 * solver's iterations do; "all" packs both. Then the other devices, and the functions.
 *
 *   bench_device
 */
#include "arith/mma_kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { M = 64, N = 64, K = 128, TURNS = 60, MOST = 20 }; /* of repetitions */

/* BLAS, Fortran's interface: column-major */
void sgemm_(const char *transa, const char *transb, const int *m, const int *n, const int *k,
            const float *alpha, const float *a, const int *lda, const float *b, const int *ldb,
            const float *beta, float *c, const int *ldc);

static double a[M * K], b[K * N], c[M * N];
static float a32[M * K], b32[K * N], c32[M * N];

static double seconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now); /* whatever else runs */
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

typedef enum what { SGEMM, PRODUCT, WITH_LEFT, ALL, EXP, WHATS } what;

typedef struct subject {
    const char *name;
    what what;
    const mma_kernels *kernels;
    const gka_device *device;
    gka_mma_input input;
    void *left, *right;
    double best;
    int repeat; /* 0: not known yet */
} subject;

static void multiply(const subject *s) {
    const mma_packed left = gka_mma_left_layout(s->device, s->input, M, K, s->left);
    const mma_packed right = gka_mma_right_layout(s->device, s->input, K, N, s->right);
    if (s->what >= WITH_LEFT)
        s->kernels->pack_left(s->device, s->input, M, K, (gka_matrix){a, K, 1}, &left);
    if (s->what >= ALL)
        s->kernels->pack_right(s->device, s->input, K, N, (gka_matrix){b, N, 1}, &right);
    s->kernels->product(s->device, s->input, M, N, K, &left, &right, c, N);
}

static void run(subject *s) {
    static const int m = M, n = N, k = K;
    static const float one = 1;
    const int repeat = s->repeat > 0 ? s->repeat : 1;
    const double begin = seconds();
    for (int i = 0; i < repeat; i++) {
        if (s->what == SGEMM)
            sgemm_("N", "N", &n, &m, &k, &one, b32, &n, a32, &k, &one, c32, &n);
        else if (s->what == EXP)
            gka_device_exp_array(s->device, M * N, a, c);
        else
            multiply(s);
        __asm__ volatile("" ::: "memory");
    }
    const double time = (seconds() - begin) / repeat;
    if (s->repeat == 0) /* a millisecond's worth */
        s->repeat = time > 1e-3 ? 1 : time < 1e-3 / MOST ? MOST : (int)(1e-3 / time) + 1;
    if (s->best == 0 || time < s->best)
        s->best = time;
    for (int i = 0; i < M * N; i++) /* the sums do not grow without end */
        c[i] = 0, c32[i] = 0;
}

/* Numbers of bf16 about 1, of both signs. */
static double draw(uint64_t i) {
    uint64_t bits[4];
    gka_philox((const uint64_t[4]){i, 0, 0, 0}, (const uint64_t[2]){1, 0}, bits);
    const double u = (double)(bits[0] >> 11) * 0x1p-53 + (double)(bits[1] >> 11) * 0x1p-53 +
                     (double)(bits[2] >> 11) * 0x1p-53 - 1.5;
    float x = (float)u;
    uint32_t word;
    memcpy(&word, &x, sizeof word);
    word &= 0xffff0000;
    memcpy(&x, &word, sizeof x);
    return (double)x;
}

/* OpenBLAS reads it when the library is loaded. */
static void start_again_with_one_thread(char **argv) {
    if (getenv("OPENBLAS_NUM_THREADS") == NULL) {
        (void)setenv("OPENBLAS_NUM_THREADS", "1", 1);
        (void)execv("/proc/self/exe", argv);
    }
}

static void print(const subject *subjects, int products, int count) {
    printf("%dx%dx%d, one thread\n%-18s %-9s %14s %10s\n", M, N, K, "product", "table",
           "10^9 madd/s", "of sgemm");
    const double madds = (double)M * N * K;
    for (int s = 0; s < products; s++)
        printf("%-18s %-9s %14.2f %10.3f\n", subjects[s].name,
               subjects[s].kernels ? subjects[s].kernels->name : "",
               1e-9 * madds / subjects[s].best, subjects[0].best / subjects[s].best);
    printf("\n%-18s %24s\n", "exp", "10^6 /s");
    for (int s = products; s < count; s++)
        printf("%-18s %24.1f\n", subjects[s].name, 1e-6 * M * N / subjects[s].best);
}

int main(int argc, char **argv) {
    (void)argc;
    start_again_with_one_thread(argv);
    for (int i = 0; i < M * K; i++)
        a32[i] = (float)(a[i] = draw((uint64_t)i));
    for (int i = 0; i < K * N; i++)
        b32[i] = (float)(b[i] = draw((uint64_t)(i + M * K)));

    const mma_kernels *tables[4];
    gka_mma_kernels_all(tables);
    const gka_device *const h100 = gka_device_find("h100");
    subject subjects[40] = {{.name = "OpenBLAS sgemm", .what = SGEMM}};
    int count = 1;
    for (int t = 0; tables[t]; t++)
        for (what w = PRODUCT; w <= ALL; w++) {
            static const char *const names[WHATS] = {
                [PRODUCT] = "h100 bf16", [WITH_LEFT] = "h100 bf16 + left", [ALL] = "h100 bf16 all"};
            subjects[count++] = (subject){names[w], w, tables[t], h100, GKA_MMA_BF16, 0, 0, 0, 0};
        }
    subjects[count++] = (subject){"h100 fp16", PRODUCT, tables[0], h100, GKA_MMA_FP16, 0, 0, 0, 0};
    subjects[count++] = (subject){"h100 tf32", PRODUCT, tables[0], h100, GKA_MMA_TF32, 0, 0, 0, 0};
    static const struct {
        const char *device, *name;
        gka_mma_input input;
    } units[] = {{"h100", "h100 e4m3, wgmma", GKA_MMA_E4M3},
                 {"h100-mma", "h100 e4m3, mma", GKA_MMA_E4M3},
                 {"a100", "a100 bf16", GKA_MMA_BF16},
                 {"h100-fp16", "h100 fp16 to fp16", GKA_MMA_FP16},
                 {"mi100", "mi100 bf16", GKA_MMA_BF16},
                 {"mi250", "mi250 bf16", GKA_MMA_BF16},
                 {"mi300", "mi300 bf16", GKA_MMA_BF16},
                 {"avx512-bf16", "avx512-bf16", GKA_MMA_BF16},
                 {"amx", "amx bf16", GKA_MMA_BF16}};
    for (size_t u = 0; u < sizeof units / sizeof *units; u++)
        subjects[count++] = (subject){units[u].name,
                                      PRODUCT,
                                      tables[0],
                                      gka_device_find(units[u].device),
                                      units[u].input,
                                      0,
                                      0,
                                      0,
                                      0};
    static const char *const neutral[] = {"ieee32", "exact64"};
    for (int d = 0; d < 2; d++)
        for (int t = 0; tables[t]; t++)
            subjects[count++] = (subject){
                neutral[d], PRODUCT, tables[t], gka_device_find(neutral[d]), GKA_MMA_WORKING, 0,
                0,          0,       0};
    const int products = count;
    static const char *const devices[] = {"h100", "gka-cuda", "ieee32", "exact64"};
    for (int d = 0; d < 4; d++)
        subjects[count++] = (subject){
            devices[d], EXP, tables[0], gka_device_find(devices[d]), GKA_MMA_WORKING, 0, 0, 0, 0};
    for (int s = 1; s < products; s++) {
        subject *const it = &subjects[s];
        it->left = gka_alloc(gka_mma_left_size(it->device, it->input, M, K), 1);
        it->right = gka_alloc(gka_mma_right_size(it->device, it->input, K, N), 1);
        if (!it->left || !it->right)
            return 1;
        const mma_packed left = gka_mma_left_layout(it->device, it->input, M, K, it->left);
        const mma_packed right = gka_mma_right_layout(it->device, it->input, K, N, it->right);
        it->kernels->pack_left(it->device, it->input, M, K, (gka_matrix){a, K, 1}, &left);
        it->kernels->pack_right(it->device, it->input, K, N, (gka_matrix){b, N, 1}, &right);
    }
    for (int turn = 0; turn < TURNS; turn++)
        for (int s = 0; s < count; s++)
            run(&subjects[s]);

    print(subjects, products, count);
    for (int s = 1; s < products; s++) {
        gka_free(subjects[s].left);
        gka_free(subjects[s].right);
    }
    return 0;
}
