/* lapacke.h - the six functions of LAPACKE that fp64.c calls, for a build without LAPACK
 * (-DGKA_BARE=ON): column-major, the lower triangle, arguments as LAPACK's. No golden depends on
 * them. Each returns 0, or LAPACK's kind of failure > 0. */
#ifndef GKA_ORACLE_BARE_LAPACKE_H
#define GKA_ORACLE_BARE_LAPACKE_H

typedef int lapack_int;
enum { LAPACK_COL_MAJOR = 102 };

/* M = L L^T. */
lapack_int LAPACKE_dpotrf_work(int layout, char uplo, lapack_int n, double *M, lapack_int lda);
/* X [n,count] <- (L L^T)^-1 X. */
lapack_int LAPACKE_dpotrs_work(int layout, char uplo, lapack_int n, lapack_int count,
                               const double *L, lapack_int lda, double *X, lapack_int ldx);
/* 1/(norm ||M^-1||_1): here exactly, from the n columns of the inverse. work [3 n]. */
lapack_int LAPACKE_dpocon_work(int layout, char uplo, lapack_int n, const double *L, lapack_int lda,
                               double norm, double *reciprocal, double *work, lapack_int *iwork);
/* Indefinite M: here L U with row exchanges, of all of M; pivots [n]. work is not used. */
lapack_int LAPACKE_dsytrf_work(int layout, char uplo, lapack_int n, double *M, lapack_int lda,
                               lapack_int *pivots, double *work, lapack_int lwork);
lapack_int LAPACKE_dsytrs_work(int layout, char uplo, lapack_int n, lapack_int count,
                               const double *M, lapack_int lda, const lapack_int *pivots, double *X,
                               lapack_int ldx);
/* Eigenvalues of M in ascending order; job 'N'. M is overwritten; work [2 n]. */
lapack_int LAPACKE_dsyev_work(int layout, char job, char uplo, lapack_int n, double *M,
                              lapack_int lda, double *eigenvalues, double *work, lapack_int lwork);

#endif
