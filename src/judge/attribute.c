/* attribute.c - what each rounding of the released kernels costs each output. */
#include "gka/judge.h"
#include "judge/values.h"

#include <math.h>

/* Item 0: all points as released; 2 i + 1: point i alone; 2 i + 2: all but point i. */
enum { ITEMS = 2 * GKA_POINT_COUNT + 1 };

typedef struct attributing {
    const gka_problem *problem;
    const gka_profile *profile;
    unsigned wanted;
    const gka_outputs *steps;
    gka_outputs *values; /* of every worker */
    double errors[ITEMS][GKA_OUTPUTS];
    const gka_progress *progress;
    gka_status status[ITEMS];
    gka_error why[ITEMS];
    bool stop; /* read and written by worker 0 alone; the others end their items */
} attributing;

static void attribute_item(void *context, int64_t item, int worker) {
    attributing *const a = context;
    gka_profile profile = *a->profile;
    gka_outputs *const out = &a->values[worker];
    if (worker == 0 && a->stop)
        return;
    const uint32_t point = UINT32_C(1) << (item - 1) / 2;
    if (item > 0)
        profile.released = item % 2 != 0 ? point : profile.released & ~point;
    const gka_status status = gka_golden_steps(a->problem, &profile, a->wanted, out, &a->why[item]);
    a->status[item] = status;
    for (int i = 0; status == GKA_OK && i < GKA_OUTPUTS; i++)
        if (a->wanted >> i & 1)
            a->errors[item][i] =
                gka_rel_err(gka_output_count(a->problem, i), out->of[i], a->steps->of[i]);
    if (worker == 0 && !gka_progress_report(a->progress, (double)(item + 1), ITEMS)) {
        a->stop = true;
        a->status[item] = gka_fail(&a->why[item], GKA_INTERRUPTED, "interrupted");
    }
}

static gka_status first_failure(const attributing *a, gka_error *error) {
    for (int i = 0; i < ITEMS; i++)
        if (a->status[i] != GKA_OK) {
            if (error != NULL)
                *error = a->why[i];
            return a->status[i];
        }
    return GKA_OK;
}

gka_status gka_attribute(const gka_problem *problem, const gka_profile *profile,
                         const char *const *names, size_t count, const gka_progress *progress,
                         gka_attribution *attributions, gka_error *error) {
    gka_profile exact = *profile;
    gka_outputs steps = {0};
    attributing *const a = gka_alloc(1, sizeof *a);
    const int workers = gka_threads();
    gka_outputs *const values = gka_alloc((size_t)workers, sizeof *values);
    gka_status status = GKA_OK;
    if (a == NULL || values == NULL) {
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory attributing errors");
        goto done;
    }
    *a = (attributing){.problem = problem,
                       .profile = profile,
                       .steps = &steps,
                       .values = values,
                       .progress = progress};
    for (size_t n = 0; n < count; n++) {
        const int output = gka_judge_find(names[n]);
        if (output < 0) {
            status = gka_fail(error, GKA_BAD_ARGUMENT, "no output tensor '%s'", names[n]);
            goto done;
        }
        attributions[n] = (gka_attribution){.defined = gka_golden_possible(problem, output)};
        a->wanted |= (attributions[n].defined ? 1u : 0u) << output;
    }
    exact.device = gka_device_find("exact64");
    exact.released = 0;
    status = gka_chunk_check(problem, profile, error);
    if (status == GKA_OK)
        status = gka_golden_steps(problem, &exact, a->wanted, &steps, error);
    if (status == GKA_OK) {
        const bool all = gka_parallel(ITEMS, attribute_item, a);
        status = all ? first_failure(a, error) : gka_fail(error, GKA_INTERRUPTED, "interrupted");
    }
    for (size_t n = 0; status == GKA_OK && n < count; n++) {
        const int output = gka_judge_find(names[n]);
        attributions[n].released = a->errors[0][output];
        for (int i = 0; i < GKA_POINT_COUNT; i++) {
            attributions[n].only[i] = a->errors[2 * i + 1][output];
            attributions[n].without[i] = a->errors[2 * i + 2][output];
        }
    }
done:
    for (int i = 0; values != NULL && i < workers; i++)
        gka_golden_free(&values[i]);
    gka_golden_free(&steps);
    gka_free(values);
    gka_free(a);
    return status;
}
