/* vector.c - the operations of an arithmetic at work: position in the random stream, and the table
 * of kernels this processor runs. */
#define ARITH_LANES gka_arith_lanes_baseline
#include "arith/kernels.h"
#include "arith/lanes.h"
#include "arith/scalar.h"
#include "format/processor.h"

#include <assert.h>

const arith_kernels *gka_arith_kernels_best(void) {
#ifdef __x86_64__
    if (gka_has_avx512())
        return &gka_arith_kernels_avx512;
    if (gka_has_avx2())
        return &gka_arith_kernels_avx2;
#endif
    return &gka_arith_kernels_baseline;
}

void gka_arith_kernels_all(const arith_kernels *tables[4]) {
    int count = 0;
    tables[count++] = &gka_arith_kernels_baseline;
#ifdef __x86_64__
    const arith_kernels *const best = gka_arith_kernels_best();
    if (best != &gka_arith_kernels_baseline)
        tables[count++] = &gka_arith_kernels_avx2;
    if (best == &gka_arith_kernels_avx512)
        tables[count++] = &gka_arith_kernels_avx512;
#endif
    tables[count] = NULL;
}

bool gka_arith_in_lanes(const gka_policy *policy) {
    const gka_format *const formats[] = {&policy->storage, &policy->operand, &policy->product,
                                         &policy->accumulator};
    for (int i = 0; i < 4; i++)
        if (formats[i]->p > 25 || formats[i]->emin < -400 || formats[i]->emax > 400 ||
            !formats[i]->subnormals)
            return false;
    return true;
}

void gka_arith_start(gka_arith *A, const gka_policy *policy, uint64_t stream) {
    assert(stream < UINT64_C(1) << 24);
    A->policy = *policy;
    A->kernel = gka_arith_instance(policy);
    A->count = stream << 40;
}

/* The position at which an operation begins that uses up `numbers` of the stream. */
static uint64_t take(gka_arith *A, int64_t numbers) {
    const uint64_t first = A->count;
    A->count += (uint64_t)numbers;
    return first;
}

double gka_arith_scalar(gka_arith *A, double a) {
    return arith_fit(&A->policy, &A->policy.accumulator, a, take(A, 4));
}

double gka_arith_add(gka_arith *A, double a, double b) {
    return arith_add(&A->policy, &A->policy.accumulator, a, b, take(A, 4));
}

double gka_arith_sub(gka_arith *A, double a, double b) {
    return arith_add(&A->policy, &A->policy.accumulator, a, -b, take(A, 4));
}

double gka_arith_mul(gka_arith *A, double a, double b) {
    return arith_mul(&A->policy, &A->policy.accumulator, a, b, take(A, 4));
}

double gka_arith_div(gka_arith *A, double a, double b) {
    return arith_div(&A->policy, &A->policy.accumulator, a, b, take(A, 4));
}

double gka_arith_sqrt(gka_arith *A, double a) {
    return arith_sqrt(&A->policy, &A->policy.accumulator, a, take(A, 4));
}

double gka_arith_fma(gka_arith *A, double a, double b, double c) {
    return arith_fma(&A->policy, &A->policy.accumulator, a, b, c, take(A, 4));
}

/* n numbers as they lie in memory. */
static void stored(const gka_arith *A, int64_t n, double *out) {
    if (A->policy.blocks)
        gka_block_round(A->policy.blocks, (size_t)n, out, out, NULL);
}

void gka_arith_store(gka_arith *A, int64_t n, const double *x, double *out) {
    gka_arith_kernels_best()->store(&A->policy, A->kernel, take(A, 4 * n), n, x, out);
    stored(A, n, out);
}

void gka_arith_operand(gka_arith *A, int64_t n, const double *x, double *out) {
    gka_arith_kernels_best()->operand(&A->policy, A->kernel, take(A, 4 * n), n, x, out);
    stored(A, n, out);
}

void gka_arith_scale(gka_arith *A, int64_t n, double a, const double *x, double *out) {
    gka_arith_kernels_best()->scale(&A->policy, A->kernel, take(A, 4 * n), n, a, x, out);
    stored(A, n, out);
}

void gka_arith_axpby(gka_arith *A, int64_t n, double a, const double *x, double b, const double *y,
                     double *out) {
    gka_arith_kernels_best()->axpby(&A->policy, A->kernel, take(A, 4 * n), n, a, x, b, y, out);
    stored(A, n, out);
}

void gka_arith_divide(gka_arith *A, int64_t n, const double *x, const double *y, double *out) {
    gka_arith_kernels_best()->divide(&A->policy, A->kernel, take(A, 4 * n), n, x, y, out);
    stored(A, n, out);
}

double gka_arith_dot(gka_arith *A, int64_t n, const double *x, const double *y) {
    return gka_arith_kernels_best()->dot(&A->policy, A->kernel, take(A, 4 * n + 4), n, x, y);
}

double gka_arith_norm(gka_arith *A, int64_t n, const double *x) {
    return gka_arith_sqrt(A, gka_arith_dot(A, n, x, x));
}

void gka_arith_matvec(gka_arith *A, int64_t n, int64_t m, const double *M, const double *x,
                      double *y) {
    gka_arith_kernels_best()->matvec(&A->policy, A->kernel, take(A, n * (4 * m + 4) + m), n, m, M,
                                     m, 1, x, y);
    stored(A, n, y);
}

void gka_arith_matvec_t(gka_arith *A, int64_t n, int64_t m, const double *M, const double *x,
                        double *y) {
    gka_arith_kernels_best()->matvec(&A->policy, A->kernel, take(A, m * (4 * n + 4) + n), m, n, M,
                                     1, m, x, y);
    stored(A, m, y);
}

void gka_arith_rank1(gka_arith *A, int64_t n, int64_t m, double c, double *M, double a,
                     const double *x, const double *y) {
    gka_arith_kernels_best()->rank1(&A->policy, A->kernel, take(A, 4 * (n + n * m)), n, m, c, M, a,
                                    x, y);
    stored(A, n * m, M);
}
