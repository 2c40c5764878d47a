/* oracle.c - the oracles' forward pass against the plain PyTorch loop, one thread each, in one run.
 *
 *   bench_oracle [D] [T] [ROUNDS]      128 256 11
 *
 * Each round runs fp64, PyTorch, certified, its gradients of o, and LAPACK alone (factor and solve
 * of the same matrices) one after the other on the same input; medians over the rounds are printed,
 * in processor time. MPFR runs once, on 8 tokens. PyTorch's answer is compared with ours, so that
 * both are known to do the same work.
 *
 * Then the certified oracle's kernels one by one: what a token cannot cost less than.
 */
#include "gka/oracle.h"

#include "oracle/fp64.h"
#include "oracle/kernels.h"

#include <lapacke.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void need(bool condition, const char *what) {
    if (condition)
        return;
    fprintf(stderr, "bench_oracle: %s\n", what);
    exit(1);
}

static double *room(int64_t count) {
    double *const x = gka_alloc((size_t)count, sizeof *x);
    need(x != NULL, "out of memory");
    return x;
}

/* ---- input --------------------------------------------------------------------------------- */

/* q, k of length 1, v uniform in [-1,1], alpha in [0,1], g in [-.05,0]. */
typedef struct input {
    gka_problem problem;
    double *q, *k, *v, *alpha, *g;
} input;

static double uniform(uint64_t tensor, uint64_t i) {
    const uint64_t counter[4] = {i, tensor, 0, 0}, key[2] = {1, 0};
    uint64_t bits[4];
    gka_philox(counter, key, bits);
    return (double)(bits[0] >> 11) * 0x1p-53;
}

static double *tensor(gka_view *view, uint64_t number, int64_t T, int64_t width, bool normalise) {
    double *const x = room(T * width);
    for (int64_t t = 0; t < T; t++) {
        double sum = 0;
        for (int64_t i = 0; i < width; i++) {
            const double draw = uniform(number, (uint64_t)(t * width + i));
            x[t * width + i] = width == 1 ? draw : 2 * draw - 1;
            sum += x[t * width + i] * x[t * width + i];
        }
        for (int64_t i = 0; i < width && normalise; i++)
            x[t * width + i] /= sqrt(sum);
    }
    *view = (gka_view){.data = x, .dtype = GKA_F64, .shape = {1, T, 1, width, 1}};
    view->rank = width == 1 ? 3 : 4;
    for (int i = 0; i < 4; i++)
        view->stride[i] = i < 1 ? T * width : i < 3 ? width : 1;
    return x;
}

static void make_input(input *in, int64_t T, int64_t D) {
    gka_problem *const p = &in->problem;
    *p = (gka_problem){.B = 1, .T = T, .H = 1, .G = 1, .D = D, .V = D, .N = 1};
    in->q = tensor(&p->q, 0, T, D, true);
    in->k = tensor(&p->k, 1, T, D, true);
    in->v = tensor(&p->v, 2, T, D, false);
    in->alpha = tensor(&p->alpha, 3, T, 1, false);
    in->g = tensor(&p->g, 4, T, 1, false);
    for (int64_t t = 0; t < T; t++)
        in->g[t] *= -0.05;
    p->ridge_ratio = 0.02;
    p->scale = 1 / sqrt((double)D);
    p->num_iter = 30;
    p->chunk_size = 64;
    gka_error error = {0};
    need(gka_problem_check(p, NULL, &error) == GKA_OK, error.text);
}

/* ---- PyTorch at the other end of two pipes --------------------------------------------------- */

typedef struct rival {
    pid_t child; /* 0: not there */
    FILE *to, *from;
    char version[64];
} rival;

static void torch_start(rival *torch, const input *in) {
    const gka_problem *const p = &in->problem;
    int down[2], up[2];
    need(pipe(down) == 0 && pipe(up) == 0, "no pipe");
    fflush(stdout);
    torch->child = fork();
    need(torch->child >= 0, "no process");
    if (torch->child == 0) {
        dup2(down[0], 0);
        dup2(up[1], 1);
        close(down[0]), close(down[1]), close(up[0]), close(up[1]);
        execlp("python3", "python3", GKA_TORCH_LOOP, (char *)NULL);
        _exit(127);
    }
    close(down[0]);
    close(up[1]);
    torch->to = fdopen(down[1], "w");
    torch->from = fdopen(up[0], "r");
    need(torch->to != NULL && torch->from != NULL, "no stream");
    fprintf(torch->to, "%lld %lld %lld %.17g %.17g\n", (long long)p->T, (long long)p->D,
            (long long)p->V, p->ridge_ratio, p->scale);
    const double *const tensors[] = {in->q, in->k, in->v, in->alpha, in->g};
    const int64_t widths[] = {p->D, p->D, p->V, 1, 1};
    for (int i = 0; i < 5; i++)
        fwrite(tensors[i], sizeof(double), (size_t)(p->T * widths[i]), torch->to);
    fflush(torch->to);
    if (fscanf(torch->from, "ready %63s", torch->version) != 1 || fgetc(torch->from) != '\n')
        torch->child = 0;
}

static double torch_run(const rival *torch) {
    double seconds = NAN;
    fputs("run\n", torch->to);
    fflush(torch->to);
    need(fscanf(torch->from, "%lf", &seconds) == 1 && fgetc(torch->from) == '\n',
         "the PyTorch loop ended early");
    return seconds;
}

static double torch_rel_err(const rival *torch, int64_t n, const double *x) {
    double *const theirs = room(n);
    double difference = 0, norm = 0;
    need(fread(theirs, sizeof *theirs, (size_t)n, torch->from) == (size_t)n,
         "the PyTorch loop ended early");
    for (int64_t i = 0; i < n; i++) {
        difference += (theirs[i] - x[i]) * (theirs[i] - x[i]);
        norm += x[i] * x[i];
    }
    gka_free(theirs);
    return sqrt(difference / norm);
}

/* ---- the racers ---------------------------------------------------------------------------- */

static double oracle_run(const gka_problem *problem, gka_oracle oracle, gka_outputs *out,
                         gka_oracle_report *report) {
    const gka_oracle_options options = {.oracle = oracle};
    gka_error error = {0};
    const double start = now();
    const gka_status status = gka_oracle_forward(problem, &options, out, NULL, report, &error);
    const double seconds = now() - start;
    if (status == GKA_UNSUPPORTED)
        return NAN;
    need(status == GKA_OK, error.text);
    return seconds;
}

/* The gradients of <v, o>, all of them. */
static double gradient_run(const gka_problem *problem, gka_outputs *out) {
    const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED};
    gka_problem with = *problem;
    gka_error error = {0};
    with.dout = problem->v;
    const double start = now();
    const gka_status status =
        gka_oracle_gradient(&with, GKA_OF_O, &options, out, NULL, NULL, &error);
    const double seconds = now() - start;
    if (status == GKA_UNSUPPORTED)
        return NAN;
    need(status == GKA_OK, error.text);
    return seconds;
}

static gka_outputs gradient_room(int64_t T, int64_t D) {
    gka_outputs out = {0};
    for (int i = GKA_GRADIENT_OUTPUT(GKA_OF_O, DQ); i <= GKA_GRADIENT_OUTPUT(GKA_OF_O, DU0); i++)
        out.of[i] = room((T > D ? T : D) * D);
    return out;
}

/* As many factorisations and solves as the forward pass has, of its last matrix; without the copy
 * into place, which is not LAPACK's. */
static double lapack_run(const gka_problem *problem, const double *H, double lambda) {
    const int64_t D = problem->D;
    double *const L = room(D * D), *const x = room(D);
    const lapack_int n = (lapack_int)D;
    double seconds = 0;
    gka_blas_alone_begin();
    for (int64_t t = 0; t < problem->T; t++) {
        memcpy(L, H, (size_t)(D * D) * sizeof *L);
        for (int64_t i = 0; i < D; i++) {
            L[i * D + i] += lambda;
            x[i] = 1;
        }
        const double start = now();
        LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', n, L, n);
        LAPACKE_dpotrs_work(LAPACK_COL_MAJOR, 'L', n, 1, L, n, x, n);
        seconds += now() - start;
    }
    gka_blas_alone_end();
    gka_free(L);
    gka_free(x);
    return seconds;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, ascending);
    return n % 2 == 1 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

static int64_t argument(int argc, char **argv, int i, int64_t otherwise) {
    const int64_t value = argc > i ? atoll(argv[i]) : otherwise;
    need(value >= 1 && value <= 1 << 20, "usage: bench_oracle [D] [T] [ROUNDS]");
    return value;
}

/* ---- the kernels of the certified oracle ---------------------------------------------------- */

/* What the kernels read and write at n = m, with a state of 3 n tokens. */
typedef struct bench {
    const gka_kernels *K;
    int64_t n;
    double *H, *U, *A, *R, *rows[12]; /* q k v x x_lo y y_lo r norm_h norm_u inverse zero */
    dd gamma, lambda;
} bench;

enum { Q, KEY, VALUE, X, X_LO, Y, Y_LO, REST, NORM_H, NORM_U, INVERSE, ZERO };

static void bench_new(bench *b, int64_t D) {
    const int64_t n = gka_strip_size(D);
    double f2_error;
    dd f2 = {0, 0};
    *b = (bench){.K = gka_kernels_best(), .n = n, .gamma = {0x1.f5c28f5c28f5cp-1, 0x1p-56}};
    double **const squares[] = {&b->H, &b->U, &b->A};
    for (int i = 0; i < 3; i++)
        *squares[i] = room(2 * n * n);
    b->R = room(n * n);
    for (int i = 0; i < 12; i++)
        b->rows[i] = room(n);
    for (int64_t t = 0; t < 3 * n; t++) {
        for (int64_t i = 0; i < n; i++)
            for (int row = Q; row <= VALUE; row++)
                b->rows[row][i] =
                    (uniform(9, (uint64_t)((t * n + i) * 3 + row)) - 0.5) / sqrt((double)n);
        f2 = b->K->update_h(n, b->gamma, b->rows[KEY], 1, b->rows[NORM_H], b->H, b->H, &f2_error);
        b->K->update_u(n, n, b->gamma, b->rows[KEY], 1, b->rows[VALUE], b->rows[NORM_U], b->U,
                       b->U);
    }
    b->lambda = dd_mul_d(dd_sqrt(f2), 0.02);
}

static void bench_free(bench *b) {
    gka_free(b->H), gka_free(b->U), gka_free(b->A), gka_free(b->R);
    for (int i = 0; i < 12; i++)
        gka_free(b->rows[i]);
}

static void bench_call(bench *b, int kernel) {
    const gka_kernels *const K = b->K;
    const int64_t n = b->n;
    double *const *const w = b->rows, unused;
    switch (kernel) {
    case 0: K->update_h(n, b->gamma, w[KEY], 1, w[NORM_H], b->H, b->H, &unused); break;
    case 1:
        K->update_u_apply(n, n, b->gamma, w[KEY], 1, w[VALUE], w[NORM_U], b->U, w[Q], w[ZERO], 1, 1,
                          w[Y], w[Y_LO]);
        break;
    case 2: need(K->factor(n, b->H, b->lambda.hi, b->R, w[INVERSE]), "no factor"); break;
    case 3: K->solve(n, b->R, w[INVERSE], w[Q], w[X]); break;
    case 4:
        K->residual(n, b->H, w[NORM_H], b->lambda, w[Q], w[X], w[X_LO], w[REST], &unused);
        break;
    case 5: K->rank_one(n, n, b->gamma, w[X], w[X_LO], w[Q], w[ZERO], b->A); break;
    case 6: K->add_scaled(n, n, (dd){0x1p-20, 0}, b->H, b->A); break;
    case 7: K->columns(n, n, b->H, w[X], w[X_LO], w[Y], w[Y_LO]); break;
    case 8: K->rows(n, n, b->H, w[X], w[X_LO], w[Y], w[Y_LO]); break;
    default: K->inner(n, n, b->A, b->H);
    }
}

/* Best of several, so that what else the machine does counts least. `times`: how often a token of
 * the forward pass, and of the gradients, calls it; 1 + 1 refinements and their solutions. */
static void print_kernels(int64_t D) {
    enum { KERNELS = 10, ROUNDS = 7 };
    static const struct {
        const char *name;
        int forward, gradient; /* calls a token */
        double flops;          /* a matrix entry's operations; of `factor`, D^3/6 products */
        int bytes;             /* of memory that an entry moves */
    } kernels[KERNELS] = {{"update_h", 1, 2, 14, 32},   {"update_u, o", 1, 2, 24, 32},
                          {"factor", 1, 1, 0, 16},      {"solve", 2, 4, 1, 8},
                          {"residual", 2, 4, 6, 16},    {"rank_one", 0, 2, 32, 32},
                          {"add_scaled", 0, 1, 26, 48}, {"columns", 0, 4, 26, 16},
                          {"rows", 0, 3, 26, 16},       {"inner", 0, 2, 26, 32}};
    bench b;
    double sum[2] = {0, 0}, factor[2] = {0, 0};
    bench_new(&b, D);
    printf("\nkernels (%s), each alone, the best of %d runs\n", b.K->name, ROUNDS);
    printf("%-12s %10s %12s %12s %12s %12s\n", "", "us a call", "calls, o", "calls, grad",
           "flops/entry", "bytes/entry");
    for (int i = 0; i < KERNELS; i++) {
        const int calls = (int)(1 + 4000000 / (D * D * D));
        double best = INFINITY;
        for (int round = 0; round < ROUNDS; round++) {
            const double start = now();
            for (int call = 0; call < calls; call++)
                bench_call(&b, i);
            best = fmin(best, (now() - start) / calls * 1e6);
        }
        printf("%-12s %10.2f %12d %12d %12.0f %12d\n", kernels[i].name, best, kernels[i].forward,
               kernels[i].gradient, i == 2 ? (double)D / 3 : kernels[i].flops, kernels[i].bytes);
        const int times[2] = {kernels[i].forward, kernels[i].gradient};
        for (int pass = 0; pass < 2; pass++) {
            sum[pass] += times[pass] * best;
            factor[pass] += i == 2 ? times[pass] * best : 0;
        }
    }
    printf(
        "a token cannot cost less than its kernels: forward %.1f us, of which D^3 %.1f; gradients "
        "%.1f, %.1f\n",
        sum[0], factor[0], sum[1], factor[1]);
    bench_free(&b);
}

static void print_racers(const double *medians, const char *const *labels, int racers, int torch,
                         double tokens) {
    for (int i = 0; i < racers; i++) {
        if (isnan(medians[i]))
            printf("%-18s %s\n", labels[i],
                   i == torch ? "not run: python3 cannot import torch" : "not in this build");
        else
            printf("%-18s %9.1f us/token %9.0f tokens/s\n", labels[i], medians[i] / tokens * 1e6,
                   tokens / medians[i]);
    }
}

int main(int argc, char **argv) {
    enum { FP64, TORCH, CERTIFIED, GRADIENT, LAPACK, RACERS };
    enum { MPFR_TOKENS = 8 };
    static const char *const labels[RACERS] = {"gka fp64", "PyTorch fp64 loop", "gka certified",
                                               "   its gradients", "LAPACK alone"};
    const int64_t D = argument(argc, argv, 1, 128), T = argument(argc, argv, 2, 256);
    const int rounds = (int)argument(argc, argv, 3, 11);
    input in;
    rival torch = {0};
    double *const seconds[RACERS] = {room(rounds), room(rounds), room(rounds), room(rounds),
                                     room(rounds)};
    double medians[RACERS];

    signal(SIGPIPE, SIG_IGN);
    gka_set_threads(1);
    make_input(&in, T, D);
    gka_outputs out = {.x = room(T * D), .fro = room(T), .lambda = room(T), .o = room(T * D)};
    gka_outputs proven = {.x = room(T * D), .fro = room(T), .lambda = room(T), .o = room(T * D)};
    gka_outputs gradients = gradient_room(T, D);
    gka_oracle_report report = {0};
    gka_outputs last = {.h_final = room(D * D)};
    torch_start(&torch, &in);
    oracle_run(&in.problem, GKA_ORACLE_FP64, &out, NULL);
    oracle_run(&in.problem, GKA_ORACLE_FP64, &last, NULL);
    if (torch.child != 0)
        torch_run(&torch);
    for (int i = 0; i < rounds; i++) {
        seconds[CERTIFIED][i] = oracle_run(&in.problem, GKA_ORACLE_CERTIFIED, &proven, &report);
        seconds[GRADIENT][i] = gradient_run(&in.problem, &gradients);
        seconds[FP64][i] = oracle_run(&in.problem, GKA_ORACLE_FP64, &out, NULL);
        seconds[TORCH][i] = torch.child == 0 ? NAN : torch_run(&torch);
        seconds[LAPACK][i] = lapack_run(&in.problem, last.h_final, out.lambda[T - 1]);
    }

    printf("forward, one thread, D = V = %lld, T = %lld, medians of %d interleaved rounds\n",
           (long long)D, (long long)T, rounds);
    for (int i = 0; i < RACERS; i++)
        medians[i] = median(seconds[i], rounds);
    print_racers(medians, labels, RACERS, TORCH, (double)T);
    gka_problem few = in.problem;
    few.T = T < MPFR_TOKENS ? T : MPFR_TOKENS;
    gka_view *const views[] = {&few.q, &few.k, &few.v, &few.alpha, &few.g};
    for (int i = 0; i < 5; i++)
        views[i]->shape[1] = few.T;
    gka_outputs exact = {.x = room(T * D), .fro = room(T), .o = room(T * D)};
    const double mpfr = oracle_run(&few, GKA_ORACLE_MPFR, &exact, NULL);
    if (!isnan(medians[CERTIFIED]))
        printf("certified: %lld of %lld tokens recomputed in MPFR; x and o of the first %lld %s "
               "MPFR's "
               "bits\n",
               (long long)report.recomputed, (long long)T, (long long)few.T,
               memcmp(proven.x, exact.x, (size_t)(few.T * D) * sizeof(double)) == 0 &&
                       memcmp(proven.o, exact.o, (size_t)(few.T * D) * sizeof(double)) == 0
                   ? "have"
                   : "DO NOT HAVE");
    printf("%-18s %9.1f us/token (256 bits)\n", "gka mpfr", mpfr / (double)few.T * 1e6);
    printf("fp64: %.0f %% of its time in LAPACK\n", 100 * medians[LAPACK] / medians[FP64]);
    if (torch.child != 0) {
        printf("fp64 / PyTorch %s: %.2f times its tokens/s\n", torch.version,
               medians[TORCH] / medians[FP64]);
        if (!isnan(medians[CERTIFIED]))
            printf("certified / PyTorch %s: %.2f times its tokens/s\n", torch.version,
                   medians[TORCH] / medians[CERTIFIED]);
        fputs("result\n", torch.to);
        fflush(torch.to);
        printf("agreement with PyTorch: x %.1e", torch_rel_err(&torch, T * D, out.x));
        printf(" f %.1e", torch_rel_err(&torch, T, out.fro));
        printf(" o %.1e\n", torch_rel_err(&torch, T * D, out.o));
    }
    print_kernels(D);
    fclose(torch.to);
    fclose(torch.from);
    wait(NULL);
    return 0;
}
