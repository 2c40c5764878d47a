/* chunk.c - tokens per second and head of the chunk algorithm, one thread: D = 128, C = 64, r = 30.
 * Prints forward and backward of the solve in every profile, and the ratio of the two; then a
 * server's prefill and decode, beside what their bytes and multiply-adds allow. */
#include "gka/chunk.h"

#include "serving_twin.h"

#include <stdint.h>
#include <stdio.h>
#include <time.h>

/* Of processor time: the machine may be shared. */
static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- serving ------------------------------------------------------------------------------- */

enum { D = 128, ITERATIONS = 30, DECODED = 256 };

/* Bytes a second that one thread reads of `bytes` bytes (a multiple of 64) again and again: eight
 * parts side by side, so that no addition waits for another. */
static double read_rate(size_t bytes) {
    const size_t part = bytes / 64;
    uint64_t *const block = gka_alloc(bytes / 8, 8);
    double best = 1e30;
    for (int repeat = 0; block && repeat < 7; repeat++) {
        const double start = seconds();
        for (int pass = 0; pass < 2000; pass++) {
            uint64_t s[8] = {0};
            for (size_t i = 0; i < part; i++)
                for (int j = 0; j < 8; j++)
                    s[j] += block[(size_t)j * part + i];
            block[0] = s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
        }
        const double took = (seconds() - start) / 2000;
        best = took < best ? took : best;
    }
    gka_free(block);
    return (double)bytes / best;
}

/* Multiply-adds a second of one state that lies in the nearest cache. */
static double multiply_add_rate(const serve_kernels *sums) {
    static float A[32 * 64], x[64], y[64];
    const serve_shape shape = {4, 4, 1};
    double best = 1e30;
    for (int repeat = 0; repeat < 5; repeat++) {
        const double start = seconds();
        for (int pass = 0; pass < 20000; pass++)
            sums->dot(&shape, 32, 64, pass % 2, A, x, y);
        const double took = (seconds() - start) / 20000;
        best = took < best ? took : best;
    }
    return 32 * 64 / best;
}

/* Head-steps a second of the plain sums: what a step was made of before it was vectorised. */
static double twin_rate(void) {
    double *const A = gka_alloc(D * D, sizeof *A), x[D] = {1}, y[D];
    const serve_shape shape = {4, 4, 1};
    const double start = seconds();
    int steps = 0;
    for (; A && (steps < 8 || seconds() - start < .2); steps++) {
        for (int state = 0; state < 2; state++)
            for (int64_t i = 0; i < D; i++)
                twin_advance(false, D, .5, x[i], x, A + i * D);
        y[0] = twin_norm(&shape, D, A);
        for (int r = 0; r <= ITERATIONS; r++)
            twin_dot(&shape, D, D, A, x, y);
    }
    gka_free(A);
    return steps / (seconds() - start);
}

static double serve_seconds(const gka_problem *problem, int64_t prefill, gka_state_type type) {
    gka_profile profile;
    gka_error error = {0};
    const gka_serving how = {.prefill = prefill, .u_type = type};
    double *const o = gka_alloc((size_t)(problem->T * D), sizeof *o), best = 1e30;
    const gka_served out = {.decode_o = prefill == 0 ? o : NULL, .prefill_o = prefill ? o : NULL};
    for (int repeat = 0; repeat < 3; repeat++) {
        const double start = seconds();
        if (!o || gka_profile_find("h100", &profile, &error) != GKA_OK ||
            gka_chunk_serve(problem, &profile, &how, &out, &error) != GKA_OK)
            return NAN;
        const double took = seconds() - start;
        best = took < best ? took : best;
    }
    gka_free(o);
    return best;
}

static int serving(const gka_problem *plain) {
    const gka_preparation prepare = {
        .normalise = GKA_NORMALISE_UNIT, .beta = true, .gate = -1, .dtype = -1, .seed = 1};
    const serve_kernels *const best = gka_serve_kernels_best();
    gka_problem problem;
    gka_error error = {0};
    if (gka_problem_prepare(plain, &prepare, &problem, &error) != GKA_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    const double prefill = (double)problem.T / serve_seconds(&problem, problem.T, GKA_STATE_FP32);
    const gka_problem some = gka_problem_tokens(&problem, 0, DECODED);
    const double decode = DECODED / serve_seconds(&some, 0, GKA_STATE_FP32),
                 low = DECODED / serve_seconds(&some, 0, GKA_STATE_BF16), twin = twin_rate();
    const double adds = (ITERATIONS + 1 + 3.) * D * D, /* solve, output, the states, the norm */
        bytes = 4. * (ITERATIONS + 1 + 3) * D * D;
    const double by_adds = multiply_add_rate(best) / adds, by_bytes = read_rate(4 * D * D) / bytes;
    printf("\n%-34s %10.0f tok/s\n", "prefill", prefill);
    printf("%-34s %10.0f head-steps/s by %s\n", "decode, states fp32", decode, best->name);
    printf("%-34s %10.0f head-steps/s\n", "decode, U bf16", low);
    printf("%-34s %10.0f head-steps/s; decode is %.1f times that\n",
           "its sums one by one (the twin)", twin, decode / twin);
    printf("%-34s %10.0f head-steps/s (%.0f a step, as from the nearest cache); decode: %.2f\n",
           "limit by multiply-adds", by_adds, adds, decode / by_adds);
    printf("%-34s %10.0f head-steps/s (%.0f a step, 64 KiB read again); decode: %.2f\n",
           "limit by bytes", by_bytes, bytes, decode / by_bytes);
    gka_problem_free(&problem);
    return 0;
}

int main(void) {
    const gka_generator generator = {.keys = GKA_KEYS_IID,
                                     .gate = GKA_GATE_SLOW,
                                     .B = 1,
                                     .T = 512,
                                     .H = 1,
                                     .G = 1,
                                     .D = 128,
                                     .V = 128,
                                     .alpha = true,
                                     .cotangents = true,
                                     .dtype = GKA_BF16,
                                     .seed = 1};
    static const char *const names[] = {"exact64", "ieee32", "h100"};
    gka_problem problem;
    gka_error error = {0};
    gka_set_threads(1);
    if (gka_problem_generate(&generator, &problem, &error) != GKA_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    const size_t rows = (size_t)problem.T;
    double *const x = gka_alloc(rows * 128, sizeof *x), *const fro = gka_alloc(rows, sizeof *fro),
                  *const dk = gka_alloc(rows * 128, sizeof *dk);
    if (!x || !fro || !dk)
        return 1;
    printf("%-8s %-10s %14s %14s %22s\n", "profile", "form", "forward tok/s", "backward tok/s",
           "backward/forward time");
    for (int i = 0; i < 3; i++)
        for (int form = 0; form < 2; form++) {
            gka_profile profile;
            gka_outputs forward = {.x = x, .fro = fro}, backward = {.solve.dk = dk};
            const gka_chunk_given given = {.at.x = x, .at.fro = fro};
            if (gka_profile_find(names[i], &profile, &error) != GKA_OK)
                return 1;
            profile.form = (gka_form)form;
            double best[2] = {1e30, 1e30};
            for (int repeat = 0; repeat < 3; repeat++) {
                const double start = seconds();
                gka_status status =
                    gka_chunk_forward(&problem, &profile, &forward, NULL, NULL, &error);
                const double middle = seconds();
                if (status == GKA_OK)
                    status = gka_chunk_backward(&problem, &profile, GKA_OF_X, true, &given,
                                                &backward, &error);
                const double end = seconds();
                if (status != GKA_OK) {
                    fprintf(stderr, "%s\n", error.text);
                    return 1;
                }
                best[0] = middle - start < best[0] ? middle - start : best[0];
                best[1] = end - middle < best[1] ? end - middle : best[1];
            }
            printf("%-8s %-10s %14.0f %14.0f %22.2f\n", names[i], gka_form_name(profile.form),
                   (double)problem.T / best[0], (double)problem.T / best[1], best[1] / best[0]);
        }
    gka_free(dk);
    gka_free(fro);
    gka_free(x);
    const int code = serving(&problem);
    gka_problem_free(&problem);
    return code;
}
