/* predict.c - what emulated kernels would lose, one head at a time, all heads in parallel. */
#include "gka/judge.h"
#include "judge/values.h"

#include <math.h>

typedef struct predicting {
    const gka_problem *problem;
    const gka_prediction *asked;
    int *outputs; /* [names] */
    double *distance, *size;
    gka_status *status; /* [N,H] */
    gka_error *why;     /* [N,H] */
    int64_t done;       /* of worker 0 */
    bool stop;          /* read and written by worker 0 alone */
} predicting;

static double norm(int64_t n, const double *x, const double *y) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const double d = x[i] - (y == NULL ? 0 : y[i]);
        sum += d * d;
    }
    return sqrt(sum);
}

static gka_status predict_head(const predicting *p, int64_t index, gka_outputs *exact,
                               gka_outputs *kernel, gka_error *error) {
    const gka_prediction *const asked = p->asked;
    const int64_t H = p->problem->H;
    const size_t names = asked->name_count;
    const gka_problem head = gka_problem_head(p->problem, index / H, index % H);
    double *const size = p->size + (size_t)index * names, *const distance =
                                                              p->distance +
                                                              (size_t)index * asked->kernel_count *
                                                                  names;
    const gka_kernel oracle = {
        .engine = GKA_ENGINE_ORACLE, .oracle = asked->oracle, .precision = asked->precision};
    unsigned wanted = 0;
    for (size_t i = 0; i < names; i++) {
        size[i] = NAN;
        if (gka_golden_possible(&head, p->outputs[i]))
            wanted |= 1u << p->outputs[i];
    }
    for (size_t i = 0; i < asked->kernel_count * names; i++)
        distance[i] = NAN;
    gka_status status = gka_golden_allocate(&head, wanted, exact, error);
    if (status == GKA_OK)
        status = gka_kernel_run(&oracle, &head, NULL, exact, NULL, NULL, error);
    for (size_t k = 0; k < asked->kernel_count && status == GKA_OK; k++) {
        const unsigned has = wanted & gka_kernel_outputs(&asked->kernels[k]);
        gka_outputs some;
        status = gka_kernel_check(&asked->kernels[k], &head, error);
        if (status == GKA_OK)
            status = gka_golden_allocate(&head, has, kernel, error);
        if (status == GKA_OK && gka_outputs_only(kernel, has, &some))
            status = gka_kernel_run(&asked->kernels[k], &head, NULL, &some, NULL, NULL, error);
        for (size_t i = 0; i < names && status == GKA_OK; i++) {
            const int output = p->outputs[i];
            if (!(wanted >> output & 1))
                continue;
            const int64_t n = gka_output_count(&head, output);
            size[i] = norm(n, exact->of[output], NULL);
            if (has >> output & 1)
                distance[k * names + i] = norm(n, kernel->of[output], exact->of[output]);
        }
    }
    return status;
}

static void predict_item(void *context, int64_t index, int worker) {
    predicting *const p = context;
    if (worker == 0 && p->stop)
        return;
    gka_outputs exact = {0}, kernel = {0};
    p->status[index] = predict_head(p, index, &exact, &kernel, &p->why[index]);
    gka_golden_free(&exact);
    gka_golden_free(&kernel);
    const int64_t count = p->problem->N * p->problem->H;
    if (worker == 0 && !gka_progress_report(&p->asked->progress, (double)index, (double)count)) {
        p->stop = true;
        p->status[index] = gka_fail(&p->why[index], GKA_INTERRUPTED, "interrupted");
    }
}

gka_status gka_predict(const gka_problem *problem, const gka_prediction *prediction,
                       double *distance, double *size, gka_error *error) {
    const int64_t count = problem->N * problem->H;
    predicting p = {.problem = problem, .asked = prediction, .distance = distance, .size = size};
    p.outputs = gka_alloc(prediction->name_count, sizeof *p.outputs);
    p.status = gka_alloc((size_t)count, sizeof *p.status);
    p.why = gka_alloc((size_t)count, sizeof *p.why);
    gka_status status = GKA_OK;
    if (p.outputs == NULL || p.status == NULL || p.why == NULL)
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory predicting errors");
    for (size_t i = 0; i < prediction->name_count && status == GKA_OK; i++) {
        p.outputs[i] = gka_output_find(prediction->names[i]);
        if (p.outputs[i] < 0 || p.outputs[i] == GKA_OUT_H_CHUNK)
            status = gka_fail(error, GKA_BAD_ARGUMENT, "no output tensor '%s' of one head",
                              prediction->names[i]);
    }
    if (status == GKA_OK) {
        gka_oracle_hold();
        if (!gka_parallel(count, predict_item, &p))
            status = gka_fail(error, GKA_INTERRUPTED, "interrupted");
        gka_oracle_let_go();
    }
    for (int64_t i = 0; i < count && status == GKA_OK; i++)
        if (p.status[i] != GKA_OK) {
            status = p.status[i];
            if (error != NULL)
                *error = p.why[i];
        }
    gka_free(p.why);
    gka_free(p.status);
    gka_free(p.outputs);
    return status;
}
