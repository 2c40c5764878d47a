/* lapack.c - what fp64.c takes from LAPACK, written out for a build without it. Entry i, j of a
 * matrix is M[i + j n]. Golub and Van Loan, Matrix Computations, 4th ed.: 4.2, 3.4, 8.3.1, 8.4.1.
 */
#include <lapacke.h>

#include <float.h>
#include <math.h>
#include <stddef.h>

static size_t at(lapack_int n, lapack_int i, lapack_int j) {
    return (size_t)i + (size_t)j * (size_t)n;
}

/* ---- M = L L^T ------------------------------------------------------------------------------ */

lapack_int LAPACKE_dpotrf_work(int layout, char uplo, lapack_int n, double *M, lapack_int lda) {
    (void)layout, (void)uplo, (void)lda;
    for (lapack_int j = 0; j < n; j++) {
        for (lapack_int k = 0; k < j; k++)
            for (lapack_int i = j; i < n; i++)
                M[at(n, i, j)] -= M[at(n, i, k)] * M[at(n, j, k)];
        if (!(M[at(n, j, j)] > 0))
            return j + 1;
        const double pivot = sqrt(M[at(n, j, j)]);
        for (lapack_int i = j; i < n; i++)
            M[at(n, i, j)] /= pivot;
    }
    return 0;
}

/* x <- (L L^T)^-1 x */
static void solve(lapack_int n, const double *L, double *x) {
    for (lapack_int i = 0; i < n; i++) {
        for (lapack_int j = 0; j < i; j++)
            x[i] -= L[at(n, i, j)] * x[j];
        x[i] /= L[at(n, i, i)];
    }
    for (lapack_int i = n; i-- > 0;) {
        for (lapack_int j = i + 1; j < n; j++)
            x[i] -= L[at(n, j, i)] * x[j];
        x[i] /= L[at(n, i, i)];
    }
}

lapack_int LAPACKE_dpotrs_work(int layout, char uplo, lapack_int n, lapack_int count,
                               const double *L, lapack_int lda, double *X, lapack_int ldx) {
    (void)layout, (void)uplo, (void)lda;
    for (lapack_int c = 0; c < count; c++)
        solve(n, L, X + at(ldx, 0, c));
    return 0;
}

lapack_int LAPACKE_dpocon_work(int layout, char uplo, lapack_int n, const double *L, lapack_int lda,
                               double norm, double *reciprocal, double *work, lapack_int *iwork) {
    (void)layout, (void)uplo, (void)lda, (void)iwork;
    double most = 0;
    for (lapack_int j = 0; j < n; j++) {
        double sum = 0;
        for (lapack_int i = 0; i < n; i++)
            work[i] = i == j;
        solve(n, L, work);
        for (lapack_int i = 0; i < n; i++)
            sum += fabs(work[i]);
        most = fmax(most, sum);
    }
    *reciprocal = 1 / (norm * most);
    return 0;
}

/* ---- M = P L U, L unit ---------------------------------------------------------------------- */

lapack_int LAPACKE_dsytrf_work(int layout, char uplo, lapack_int n, double *M, lapack_int lda,
                               lapack_int *pivots, double *work, lapack_int lwork) {
    (void)layout, (void)uplo, (void)lda, (void)work, (void)lwork;
    for (lapack_int j = 0; j < n; j++)
        for (lapack_int i = 0; i < j; i++)
            M[at(n, i, j)] = M[at(n, j, i)];
    for (lapack_int k = 0; k < n; k++) {
        lapack_int p = k;
        for (lapack_int i = k + 1; i < n; i++)
            if (fabs(M[at(n, i, k)]) > fabs(M[at(n, p, k)]))
                p = i;
        pivots[k] = p;
        if (M[at(n, p, k)] == 0)
            return k + 1;
        for (lapack_int j = 0; j < n && p != k; j++) {
            const double kept = M[at(n, k, j)];
            M[at(n, k, j)] = M[at(n, p, j)];
            M[at(n, p, j)] = kept;
        }
        for (lapack_int i = k + 1; i < n; i++)
            M[at(n, i, k)] /= M[at(n, k, k)];
        for (lapack_int j = k + 1; j < n; j++)
            for (lapack_int i = k + 1; i < n; i++)
                M[at(n, i, j)] -= M[at(n, i, k)] * M[at(n, k, j)];
    }
    return 0;
}

lapack_int LAPACKE_dsytrs_work(int layout, char uplo, lapack_int n, lapack_int count,
                               const double *M, lapack_int lda, const lapack_int *pivots, double *X,
                               lapack_int ldx) {
    (void)layout, (void)uplo, (void)lda;
    for (lapack_int c = 0; c < count; c++) {
        double *const x = X + at(ldx, 0, c);
        for (lapack_int i = 0; i < n; i++) {
            const double kept = x[i];
            x[i] = x[pivots[i]];
            x[pivots[i]] = kept;
        }
        for (lapack_int i = 0; i < n; i++)
            for (lapack_int j = 0; j < i; j++)
                x[i] -= M[at(n, i, j)] * x[j];
        for (lapack_int i = n; i-- > 0;) {
            for (lapack_int j = i + 1; j < n; j++)
                x[i] -= M[at(n, i, j)] * x[j];
            x[i] /= M[at(n, i, i)];
        }
    }
    return 0;
}

/* ---- eigenvalues ---------------------------------------------------------------------------- */

/* One Householder step, 8.3.1: column k of the lower triangle becomes alpha below the diagonal.
 * With the reflection I - beta v v^T, p = beta M v and w = p - (beta p^T v/2) v, M -= v w^T + w
 * v^T. */
static double reflect(lapack_int n, lapack_int k, double *M, double *w) {
    double *const v = M + at(n, 0, k), square = 0;
    for (lapack_int i = k + 1; i < n; i++)
        square += v[i] * v[i];
    const double alpha = v[k + 1] > 0 ? -sqrt(square) : sqrt(square);
    const double beta = square == 0 ? 0 : 1 / (square - alpha * v[k + 1]);
    double dot = 0;
    v[k + 1] -= alpha;
    for (lapack_int i = k + 1; i < n; i++) {
        w[i] = 0;
        for (lapack_int j = k + 1; j < n; j++)
            w[i] += beta * (i >= j ? M[at(n, i, j)] : M[at(n, j, i)]) * v[j];
        dot += w[i] * v[i];
    }
    for (lapack_int i = k + 1; i < n; i++)
        w[i] -= beta * dot / 2 * v[i];
    for (lapack_int j = k + 1; j < n; j++)
        for (lapack_int i = j; i < n; i++)
            M[at(n, i, j)] -= v[i] * w[j] + w[i] * v[j];
    return alpha;
}

/* Eigenvalues below x of the tridiagonal matrix: negative pivots of its factorisation (Sturm). */
static lapack_int below(lapack_int n, const double *diagonal, const double *beside, double x) {
    lapack_int count = 0;
    double pivot = 1;
    for (lapack_int i = 0; i < n; i++) {
        const double b = i > 0 ? beside[i - 1] : 0;
        pivot = diagonal[i] - x - (b == 0 ? 0 : b * b / pivot);
        pivot = pivot == 0 ? -DBL_MIN : pivot;
        count += pivot < 0;
    }
    return count;
}

lapack_int LAPACKE_dsyev_work(int layout, char job, char uplo, lapack_int n, double *M,
                              lapack_int lda, double *eigenvalues, double *work, lapack_int lwork) {
    (void)layout, (void)job, (void)uplo, (void)lda, (void)lwork;
    double *const diagonal = work, *const beside = work + n, bound = 0;
    for (lapack_int k = 0; k < n; k++) {
        diagonal[k] = M[at(n, k, k)];
        beside[k] = k + 1 < n ? reflect(n, k, M, eigenvalues) : 0;
        const double row = fabs(diagonal[k]) + fabs(beside[k]) + (k > 0 ? fabs(beside[k - 1]) : 0);
        if (!(row <= DBL_MAX))
            return k + 1;
        bound = fmax(bound, row); /* Gershgorin */
    }
    for (lapack_int k = 0; k < n; k++) {
        double low = -bound, high = bound;
        for (int step = 0; step < 60; step++) {
            const double middle = low / 2 + high / 2;
            *(below(n, diagonal, beside, middle) > k ? &high : &low) = middle;
        }
        eigenvalues[k] = low / 2 + high / 2;
    }
    return 0;
}
