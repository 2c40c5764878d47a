/* spectrum.c - the largest eigenvalue of H_t, and what r Chebyshev steps do to its eigenvector; how
 * H_t + lambda_t I is conditioned. */
#include "chunk/chunk.h"
#include "gka/solve.h"
#include "problem/check.h"

typedef struct spectrum {
    const gka_problem *problem;
    double *lambda_max, *fro, *workspace;
    int64_t each;
} spectrum;

/* The power method from v (kept for the next token): lambda = |H v| with |v| = 1. */
static double largest(int64_t D, const double *H, double *v, double *y) {
    double before = 0, lambda = 0;
    for (int step = 0; step < 1000; step++) {
        double norm = 0;
        for (int64_t i = 0; i < D; i++) {
            y[i] = 0;
            for (int64_t j = 0; j < D; j++)
                y[i] += H[i * D + j] * v[j];
            norm += y[i] * y[i];
        }
        lambda = sqrt(norm);
        if (!(lambda > 0))
            return 0;
        for (int64_t i = 0; i < D; i++)
            v[i] = y[i] / lambda;
        if (fabs(lambda - before) <= 1e-12 * lambda)
            break;
        before = lambda;
    }
    return lambda;
}

static void spectrum_head(void *context, int64_t index, int worker) {
    const spectrum *const run = context;
    const gka_problem *const problem = run->problem;
    const int64_t D = problem->D, h = index % problem->H, n = index / problem->H;
    const gka_span span = gka_problem_span(problem, n);
    const gka_device *const exact = gka_device_find("exact64");
    double *const H = run->workspace + worker * run->each, *const v = H + D * D, *const y = v + D,
                  *const k = y + D;
    gka_problem_h0(problem, n, h, H);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < i; j++)
            H[i * D + j] = H[j * D + i] = (H[i * D + j] + H[j * D + i]) / 2;
    for (int64_t i = 0; i < D; i++)
        v[i] = 1 + .01 * (double)i; /* no eigenvector of anything in particular */
    for (int64_t t = span.begin; t < span.end && !gka_stopped(); t++) {
        const double gamma = gka_device_exp(exact, gka_problem_g(problem, span.b, t, h));
        double square = 0, norm = 0;
        gka_problem_k(problem, span.b, t, h, k);
        for (int64_t i = 0; i < D; i++)
            for (int64_t j = 0; j < D; j++) {
                double *const e = H + i * D + j;
                *e = gamma * *e + k[i] * k[j];
                square += *e * *e;
            }
        for (int64_t i = 0; i < D; i++) { /* the newest key pulls the start towards it */
            v[i] += .1 * k[i];
            norm += v[i] * v[i];
        }
        for (int64_t i = 0; i < D && norm > 0; i++)
            v[i] /= sqrt(norm);
        const int64_t row = (span.b * problem->T + t) * problem->H + h;
        run->lambda_max[row] = largest(D, H, v, y);
        run->fro[row] = sqrt(square);
        for (int64_t i = 0; i < D && run->lambda_max[row] <= 0; i++)
            v[i] = 1 + .01 * (double)i;
    }
}

gka_status gka_chunk_spectrum(const gka_problem *problem, double *lambda_max, double *fro,
                              gka_error *error) {
    const gka_status status = gka_problem_check_kalmanet(problem, error);
    if (status != GKA_OK)
        return status;
    const int64_t each = problem->D * problem->D + 3 * problem->D;
    double *const workspace = gka_alloc((size_t)gka_threads() * (size_t)each, sizeof *workspace);
    if (!workspace)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory: spectrum");
    spectrum run = {problem, lambda_max, fro, workspace, each};
    const bool all = gka_parallel(problem->N * problem->H, spectrum_head, &run);
    gka_free(workspace);
    return all ? GKA_OK : gka_fail(error, GKA_INTERRUPTED, "interrupted");
}

/* T_n(x) by T_{n+1} = 2 x T_n - T_{n-1}. */
static double chebyshev_polynomial(int n, double x) {
    double before = 1, now = x;
    for (int i = 1; i < n; i++) {
        const double next = 2 * x * now - before;
        before = now;
        now = next;
    }
    return n == 0 ? 1 : now;
}

double gka_chunk_residual_factor(double e, double a, double margin, int r) {
    const double z = 2 * (1 + e) / (1 + margin) - 1;
    return fabs(chebyshev_polynomial(r + 1, z)) /
           chebyshev_polynomial(r + 1, 1 + 2 * a / (1 + margin));
}

/* ---- conditioning -------------------------------------------------------------------------- */

typedef struct conditioning {
    const gka_problem *problem;
    int64_t count;
    const int64_t *tokens;
    gka_conditioning *out;
    double *workspace;
    int64_t each;
} conditioning;

/* tr A^-1 = ||L^-1||_F^2, A = L L^T [D,D], which L takes the place of; the columns of L^-1 one by
 * one in y [D]. NaN where A is not positive definite. */
static double trace_of_inverse(int64_t D, double *A, double *y) {
    for (int64_t j = 0; j < D; j++) {
        for (int64_t i = j; i < D; i++) {
            double sum = A[i * D + j];
            for (int64_t l = 0; l < j; l++)
                sum -= A[i * D + l] * A[j * D + l];
            if (i == j && !(sum > 0))
                return NAN;
            A[i * D + j] = i == j ? sqrt(sum) : sum / A[j * D + j];
        }
    }
    double trace = 0;
    for (int64_t j = 0; j < D; j++)
        for (int64_t i = j; i < D; i++) {
            double sum = i == j;
            for (int64_t l = j; l < i; l++)
                sum -= A[i * D + l] * y[l];
            y[i] = sum / A[i * D + i];
            trace += y[i] * y[i];
        }
    return trace;
}

/* A and w [D,D] and [D (D + 4)] are scratch. */
static gka_conditioning condition_of(int64_t D, double a, const double *H, double *A, double *w) {
    gka_conditioning c = {0};
    double trace = 0, square = 0;
    for (int64_t i = 0; i < D; i++)
        trace += H[i * D + i];
    for (int64_t i = 0; i < D * D; i++)
        square += H[i] * H[i];
    c.f = sqrt(square);
    if (!(c.f > 0))
        return (gka_conditioning){0, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    const double lambda = a * c.f;
    gka_extreme_eigenvalues(D, H, &c.smallest, &c.largest, w);
    if (fabs(c.smallest) < 0x1p-48 * c.largest)
        c.smallest = 0; /* what the method can tell apart from it */
    c.kappa = c.smallest + lambda > 0 ? (c.largest + lambda) / (c.smallest + lambda) : INFINITY;
    c.share = c.kappa / ((a + 1) / a);
    c.rank = trace * trace / square;
    for (int64_t i = 0; i < D * D; i++)
        A[i] = H[i] + (i % (D + 1) == 0 ? lambda : 0);
    c.freedom = (double)D - lambda * trace_of_inverse(D, A, w);
    return c;
}

static void conditioning_head(void *context, int64_t index, int worker) {
    const conditioning *const run = context;
    const gka_problem *const problem = run->problem;
    const int64_t D = problem->D, h = index % problem->H, n = index / problem->H;
    const gka_span span = gka_problem_span(problem, n);
    const gka_device *const exact = gka_device_find("exact64");
    double *const H = run->workspace + worker * run->each, *const A = H + D * D,
                  *const w = A + D * D, *const k = w + D * (D + 4), *const mean = k + D;
    gka_problem_h0(problem, n, h, H);
    for (int64_t i = 0; i < D; i++) {
        mean[i] = 0;
        for (int64_t j = 0; j < i; j++)
            H[i * D + j] = H[j * D + i] = (H[i * D + j] + H[j * D + i]) / 2;
    }
    for (int64_t t = span.begin, next = 0; next < run->count && !gka_stopped(); t++) {
        const int64_t done = t - span.begin;
        gka_conditioning *const out = run->out + index * run->count + next;
        if (done == run->tokens[next]) {
            double sum = 0;
            for (int64_t i = 0; i < D; i++)
                sum += mean[i] * mean[i];
            *out = condition_of(D, problem->ridge_ratio, H, A, w);
            out->mean = done > 0 ? sqrt(sum) / (double)done : NAN;
            next++;
            t--; /* the same place again, for the next count of tokens */
            continue;
        }
        if (t >= span.end) {
            *out = (gka_conditioning){NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
            next++;
            t--;
            continue;
        }
        const double gamma = gka_device_exp(exact, gka_problem_g(problem, span.b, t, h));
        double size = 0;
        gka_problem_k(problem, span.b, t, h, k);
        for (int64_t i = 0; i < D; i++) {
            size += k[i] * k[i];
            for (int64_t j = 0; j < D; j++)
                H[i * D + j] = gamma * H[i * D + j] + k[i] * k[j];
        }
        for (int64_t i = 0; i < D && size > 0; i++)
            mean[i] += k[i] / sqrt(size);
    }
}

gka_status gka_chunk_conditioning(const gka_problem *problem, int64_t count, const int64_t *tokens,
                                  gka_conditioning *out, gka_error *error) {
    const gka_status status = gka_problem_check_kalmanet(problem, error);
    if (status != GKA_OK)
        return status;
    const int64_t D = problem->D, each = 2 * D * D + D * (D + 4) + 2 * D;
    double *const workspace = gka_alloc((size_t)gka_threads() * (size_t)each, sizeof *workspace);
    if (workspace == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory: conditioning");
    conditioning run = {problem, count, tokens, out, workspace, each};
    const bool all = gka_parallel(problem->N * problem->H, conditioning_head, &run);
    gka_free(workspace);
    return all ? GKA_OK : gka_fail(error, GKA_INTERRUPTED, "interrupted");
}
