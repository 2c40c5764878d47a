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

/* The largest eigenvalue of the tridiagonal matrix with alpha [n] on and beta [n - 1] beside its
 * diagonal, by bisection: the pivots of T - x I are all negative where x is above it. */
static double top(int64_t n, const double *alpha, const double *beta) {
    double low = alpha[0], high = 0;
    for (int64_t i = 0; i < n; i++) {
        const double beside = (i > 0 ? beta[i - 1] : 0) + (i + 1 < n ? beta[i] : 0);
        low = fmax(low, alpha[i]);
        high = fmax(high, alpha[i] + beside);
    }
    for (int step = 0; step < 100 && high - low > 1e-15 * high; step++) {
        const double x = (low + high) / 2;
        double pivot = alpha[0] - x;
        for (int64_t i = 1; i < n && pivot < 0; i++)
            pivot = alpha[i] - x - beta[i - 1] * beta[i - 1] / pivot;
        *(pivot < 0 ? &high : &low) = x;
    }
    return high;
}

/* The largest eigenvalue of H by Lanczos' tridiagonal matrix from v, |v| = 1 (Golub and Van Loan,
 * 10.1): that of the first m rows rises to it, and is looked at for m = 1, 2, 4, ... NaN where H
 * has one or a square overflows. Overwrites v. work [6 D]: two more vectors, and the 2 D rows that
 * an unlucky start may take. */
static double largest(int64_t D, const double *H, double *v, double *work) {
    double *const before = work, *const y = before + D, *const alpha = y + D,
                  *const beta = alpha + 2 * D;
    double value = 0;
    for (int64_t i = 0; i < D; i++)
        before[i] = 0;
    for (int64_t m = 0; m < 2 * D; m++) {
        double dot = 0, square = 0;
        for (int64_t i = 0; i < D; i++) {
            y[i] = m > 0 ? -beta[m - 1] * before[i] : 0;
            for (int64_t j = 0; j < D; j++)
                y[i] += H[i * D + j] * v[j];
            dot += y[i] * v[i];
        }
        for (int64_t i = 0; i < D; i++) {
            y[i] -= dot * v[i];
            square += y[i] * y[i];
        }
        if (!isfinite(square))
            return NAN;
        alpha[m] = dot;
        beta[m] = sqrt(square);
        const bool end = m + 1 == 2 * D || !(beta[m] > 1e-15 * fmax(value, dot));
        if (end || (m & (m + 1)) == 0) {
            const double now = top(m + 1, alpha, beta);
            if (end || now - value <= 1e-13 * now)
                return now > 0 ? now : 0;
            value = now;
        }
        for (int64_t i = 0; i < D; i++) {
            before[i] = v[i];
            v[i] = y[i] / beta[m];
        }
    }
    return value;
}

static void spectrum_head(void *context, int64_t index, int worker) {
    const spectrum *const run = context;
    const gka_problem *const problem = run->problem;
    const int64_t D = problem->D, h = index % problem->H, n = index / problem->H;
    const gka_span span = gka_problem_span(problem, n);
    const gka_device *const exact = gka_device_find("exact64");
    double *const H = run->workspace + worker * run->each, *const v = H + D * D, *const k = v + D,
                  *const work = k + D;
    gka_problem_h0(problem, n, h, H);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < i; j++)
            H[i * D + j] = H[j * D + i] = (H[i * D + j] + H[j * D + i]) / 2;
    for (int64_t t = span.begin; t < span.end && !gka_stopped(); t++) {
        const double gamma = gka_device_exp(exact, gka_problem_g(problem, span.b, t, h));
        double square = 0, length = 0, norm = 0;
        gka_problem_k(problem, span.b, t, h, k);
        for (int64_t i = 0; i < D; i++)
            length += k[i] * k[i];
        length = length > 0 ? sqrt(length) : 1;
        for (int64_t i = 0; i < D; i++)
            for (int64_t j = 0; j < D; j++) {
                double *const e = H + i * D + j;
                *e = gamma * *e + k[i] * k[j];
                square += *e * *e;
            }
        for (int64_t i = 0; i < D; i++) { /* no eigenvector, however large or small the keys */
            v[i] = 1 + .01 * (double)i + k[i] / length;
            norm += v[i] * v[i];
        }
        norm = sqrt(norm);
        for (int64_t i = 0; i < D; i++)
            v[i] /= norm;
        const int64_t row = (span.b * problem->T + t) * problem->H + h;
        run->lambda_max[row] = largest(D, H, v, work);
        run->fro[row] = sqrt(square);
    }
}

gka_status gka_chunk_spectrum(const gka_problem *problem, double *lambda_max, double *fro,
                              gka_error *error) {
    const gka_status status = gka_problem_check_kalmanet(problem, error);
    if (status != GKA_OK)
        return status;
    const int64_t each = problem->D * problem->D + 8 * problem->D;
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
