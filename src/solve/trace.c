/* trace.c - how good an x is, and what has become of Phi; everything in binary64. */
#include "solve/row.h"

static double norm(int64_t n, const double *x) {
    double s = 0;
    for (int64_t i = 0; i < n; i++)
        s += x[i] * x[i];
    return sqrt(s);
}

/* 0 of 0 is none: q = 0 and x = 0 are each other's exact answer. */
static double ratio(double error, double size) {
    return error == 0 ? 0 : error / size;
}

gka_quality gka_measure(int64_t D, const double *H, double lambda, double f, const double *q,
                        const double *x, const double *exact) {
    double residual = 0, error = 0;
    for (int64_t i = 0; i < D; i++) {
        double s = 0;
        for (int64_t j = 0; j < D; j++)
            s += H[i * D + j] * x[j];
        const double r = q[i] - (s + lambda * x[i]);
        residual += r * r;
        if (exact != NULL)
            error += (x[i] - exact[i]) * (x[i] - exact[i]);
    }
    residual = sqrt(residual);
    const double size = norm(D, q);
    return (gka_quality){ratio(residual, size), ratio(residual, (f + lambda) * norm(D, x) + size),
                         exact != NULL ? ratio(sqrt(error), norm(D, exact)) : (double)NAN};
}

void gka_trace_observe(void *context, int step, const double *x) {
    gka_trace *const T = context;
    if (T->count < T->capacity)
        T->points[T->count++] =
            (gka_trace_point){step, gka_measure(T->D, T->H, T->lambda, T->f, T->q, x, T->exact)};
}

double gka_symmetry_defect(int64_t D, const double *M) {
    double difference = 0;
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < i; j++) {
            const double e = M[i * D + j] - M[j * D + i];
            difference += 2 * e * e;
        }
    const double size = norm(D * D, M);
    return size > 0 || isnan(size) ? sqrt(difference) / size : 0;
}

/* Householder: Q^T B Q tridiagonal, diagonal a[D], off-diagonal b[D] with b[0] = 0 (Golub and Van
 * Loan, algorithm 8.3.1, from the last row up). B symmetric, destroyed; v, w scratch of D. */
static void tridiagonalise(int64_t D, double *B, double *a, double *b, double *v, double *w) {
    for (int64_t n = D - 1; n > 0; n--) {
        /* reflect row n's first n elements onto the last of them */
        double *const x = B + n * D;
        const double size = norm(n, x), target = x[n - 1] > 0 ? -size : size;
        a[n] = x[n];
        b[n] = target;
        copy(v, x, n);
        v[n - 1] -= target;
        const double vv = norm(n, v);
        if (!(vv > 0))
            continue;
        for (int64_t i = 0; i < n; i++)
            v[i] /= vv;
        /* B -= 2 v z^T + 2 z v^T, z = B v - (v . B v) v */
        double vw = 0;
        for (int64_t i = 0; i < n; i++) {
            w[i] = 0;
            for (int64_t j = 0; j < n; j++)
                w[i] += B[i * D + j] * v[j];
            vw += v[i] * w[i];
        }
        for (int64_t i = 0; i < n; i++)
            w[i] -= vw * v[i];
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++)
                B[i * D + j] -= 2 * (v[i] * w[j] + w[i] * v[j]);
    }
    a[0] = B[0];
    b[0] = 0;
}

/* How many eigenvalues of the tridiagonal matrix lie below x (Sturm). */
static int64_t below(int64_t D, const double *a, const double *b, double x) {
    int64_t count = 0;
    double d = 1;
    for (int64_t i = 0; i < D; i++) {
        d = a[i] - x - (i > 0 ? b[i] * b[i] / d : 0);
        if (!(fabs(d) > 1e-300))
            d = -1e-300;
        count += d < 0;
    }
    return count;
}

/* The eigenvalue with `rank` others below it, within [-bound, bound]. */
static double bisect(int64_t D, const double *a, const double *b, int64_t rank, double bound) {
    double low = -bound, high = bound;
    for (int i = 0; i < 64; i++) {
        const double middle = 0.5 * (low + high);
        if (below(D, a, b, middle) > rank)
            high = middle;
        else
            low = middle;
    }
    return 0.5 * (low + high);
}

void gka_extreme_eigenvalues(int64_t D, const double *M, double *smallest, double *largest,
                             double *workspace) {
    double *const B = workspace, *const a = B + D * D, *const b = a + D, *const v = b + D,
                  *const w = v + D;
    *smallest = *largest = NAN;
    if (!all_finite(D * D, M))
        return;
    double size = 0;
    for (int64_t i = 0; i < D * D; i++)
        size = fmax(size, fabs(M[i]));
    if (!(size > 0)) {
        *smallest = *largest = 0;
        return;
    }
    const int e = ilogb(size); /* scaled, so that no square over- or underflows */
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++)
            B[i * D + j] = 0.5 * ldexp(M[i * D + j], -e) + 0.5 * ldexp(M[j * D + i], -e);
    tridiagonalise(D, B, a, b, v, w);
    double bound = 0; /* Gershgorin */
    for (int64_t i = 0; i < D; i++)
        bound = fmax(bound, fabs(a[i]) + fabs(b[i]) + (i + 1 < D ? fabs(b[i + 1]) : 0));
    *smallest = ldexp(bisect(D, a, b, 0, bound), e);
    *largest = ldexp(bisect(D, a, b, D - 1, bound), e);
}
