/* chunk.c - tokens per second and head of the chunk algorithm, one thread: D = 128, C = 64, r = 30.
 * Prints forward and backward of the solve in every profile, and the ratio of the two. */
#include "gka/chunk.h"

#include <stdio.h>
#include <time.h>

/* Of processor time: the machine may be shared. */
static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
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
    gka_problem_free(&problem);
    return 0;
}
