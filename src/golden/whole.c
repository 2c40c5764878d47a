/* whole.c - a golden in one window: the whole problem, with all its values in memory. */
#include "golden/way.h"

#include "gka/format.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 4096 };

/* Inputs, and five arrays of doubles for each output: exact, steps, emulated, two to judge with. */
static double bytes(const golden_job *j, const gka_problem *p) {
    const double B = (double)p->B, T = (double)p->T, H = (double)p->H, G = (double)p->G,
                 D = (double)p->D, V = (double)p->V, N = (double)p->N;
    const double chunks =
        B * ceil(T / (double)p->chunk_size) + (p->cu_seqlens != NULL || p->N != p->B ? N : 0);
    (void)j;
    return 8 * 5 *
           (B * T * (H * (4 * D + V + 4) + G * (2 * D + V)) +
            H * D * (D * (chunks + 2 * N) + N * V));
}

static gka_status inputs(golden_job *j, const gka_generator *generator, const char *path,
                         gka_error *error) {
    (void)path;
    return gka_problem_generate(generator, &j->problem, error);
}

static gka_status open(golden_job *j, unsigned all, const char *path, gka_error *error) {
    (void)j, (void)all, (void)path, (void)error;
    return GKA_OK;
}

static gka_status exact(golden_job *j, gka_pass pass, const gka_progress *progress,
                        gka_oracle_report *report, gka_error *error) {
    const gka_oracle_options options = {.oracle = j->spec->oracle, .progress = *progress};
    const gka_of of = pass == GKA_PASS_LAYER ? GKA_OF_O : GKA_OF_X;
    const bool forward = pass == GKA_PASS_FORWARD;
    const unsigned own = forward ? gka_forward_outputs() : gka_of_outputs(of);
    gka_outputs out, lo;
    gka_status status = gka_golden_allocate(&j->problem, j->wanted, &j->exact, error);
    if (status == GKA_OK && j->spec->lo)
        status = gka_golden_allocate(&j->problem, j->wanted, &j->lo, error);
    if (status != GKA_OK || !gka_outputs_only(&j->exact, own, &out))
        return status;
    gka_outputs *const second = gka_outputs_only(&j->lo, own, &lo) ? &lo : NULL;
    return forward ? gka_oracle_forward(&j->problem, &options, &out, second, report, error)
                   : gka_oracle_gradient(&j->problem, of, &options, &out, second, report, error);
}

static gka_status steps(golden_job *j, unsigned all, const gka_progress *progress,
                        gka_error *error) {
    gka_kernel kernel;
    const char *const name = j->problem.lambda > 0 ? "exact64/mesa" : "exact64";
    const gka_status status = gka_kernel_find(name, &kernel, error);
    (void)progress;
    return status == GKA_OK ? gka_golden_run(&j->problem, &kernel, all, &j->steps, error) : status;
}

/* The outputs of a kernel; of none, the steps values. */
static gka_status compute(const golden_job *j, const gka_kernel *kernel, const gka_problem *problem,
                          unsigned all, gka_outputs *values, gka_error *error) {
    if (kernel != NULL)
        return gka_golden_run(problem, kernel, all, values, error);
    const gka_status status = gka_golden_allocate(problem, all, values, error);
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++)
        if (all >> i & 1)
            memcpy(values->of[i], j->steps.of[i],
                   (size_t)gka_output_count(problem, i) * sizeof(double));
    return status;
}

static gka_status errors_of(golden_job *j, int worker, const gka_kernel *kernel,
                            const gka_problem *problem, unsigned all, unsigned wanted,
                            const gka_progress *progress, golden_error errors[GKA_OUTPUTS],
                            gka_error *error) {
    gka_outputs values = {0};
    /* The states before each chunk are others when chunks are. */
    if (problem->chunk_size != j->problem.chunk_size)
        all &= ~GKA_BIT(H_CHUNK);
    gka_status status = compute(j, kernel, problem, all, &values, error);
    (void)worker, (void)progress;
    if (status == GKA_OK) {
        gka_golden_store(problem, all, &values);
        status = gka_golden_errors(problem, wanted, &values, &j->steps, errors, error);
    }
    gka_golden_free(&values);
    return status;
}

static gka_status emulate(golden_job *j, const gka_kernel *kernel, const gka_progress *progress,
                          gka_error *error) {
    (void)progress;
    return gka_golden_run(&j->problem, kernel, j->wanted, &j->emulated, error);
}

static bool is_zero(const golden_job *j, int output) {
    const double *const values = j->steps.of[output];
    for (int64_t i = 0; i < gka_output_count(&j->problem, output); i++)
        if (values[i] < 0 || values[i] > 0)
            return false;
    return true;
}

static gka_status give_values(const golden_job *j, int output, golden_kind kind, golden_take *give,
                              void *to, gka_error *error) {
    const gka_outputs *const of[] = {[GOLDEN_EXACT] = &j->exact,
                                     [GOLDEN_STEPS] = &j->steps,
                                     [GOLDEN_EMULATED] = &j->emulated,
                                     [GOLDEN_LO] = &j->lo,
                                     [GOLDEN_THROUGH] = &j->through};
    const int64_t count = gka_output_count(&j->problem, output);
    const gka_dtype dtype =
        kind == GOLDEN_EMULATED ? gka_output_dtype(&j->problem, output) : GKA_F64;
    gka_status status = GKA_OK;
    for (int64_t i = 0; i < count && status == GKA_OK; i += BLOCK) {
        const size_t n = (size_t)(count - i < BLOCK ? count - i : BLOCK);
        unsigned char block[8 * BLOCK];
        gka_store_array(dtype, n, of[kind]->of[output] + i, block);
        status = give(to, block, n * gka_dtype_size(dtype), error);
    }
    return status;
}

const golden_way gka_golden_one_window = {.bytes = bytes,
                                          .inputs = inputs,
                                          .open = open,
                                          .exact = exact,
                                          .steps = steps,
                                          .errors = errors_of,
                                          .emulate = emulate,
                                          .is_zero = is_zero,
                                          .give = give_values};
