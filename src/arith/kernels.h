/* kernels.h - the operations of gka/arith.h, each once, as tables: one source compiled for several
 * instruction sets, every table with an instance per named policy and one for any policy. */
#ifndef ARITH_KERNELS_H
#define ARITH_KERNELS_H

#include "arith/policy.h"

/* instance: of gka_arith_instance(policy); at: position in the random stream. Otherwise the
 * arguments of the public functions. The bits do not depend on the table. */
typedef struct arith_kernels {
    const char *name;
    void (*store)(const gka_policy *policy, int instance, uint64_t at, int64_t n, const double *x,
                  double *out);
    void (*operand)(const gka_policy *policy, int instance, uint64_t at, int64_t n, const double *x,
                    double *out);
    void (*scale)(const gka_policy *policy, int instance, uint64_t at, int64_t n, double a,
                  const double *x, double *out);
    void (*axpby)(const gka_policy *policy, int instance, uint64_t at, int64_t n, double a,
                  const double *x, double b, const double *y, double *out);
    void (*divide)(const gka_policy *policy, int instance, uint64_t at, int64_t n, const double *x,
                   const double *y, double *out);
    double (*dot)(const gka_policy *policy, int instance, uint64_t at, int64_t n, const double *x,
                  const double *y);
    /* element (i, j) of the matrix stands at M[i row + j column] */
    void (*matvec)(const gka_policy *policy, int instance, uint64_t at, int64_t n, int64_t m,
                   const double *M, int64_t row, int64_t column, const double *x, double *y);
    void (*rank1)(const gka_policy *policy, int instance, uint64_t at, int64_t n, int64_t m,
                  double c, double *M, double a, const double *x, const double *y);
} arith_kernels;

extern const arith_kernels gka_arith_kernels_baseline;
#ifdef __x86_64__
extern const arith_kernels gka_arith_kernels_avx2, gka_arith_kernels_avx512;
#endif

/* The fastest table this processor can run. */
const arith_kernels *gka_arith_kernels_best(void);
/* Every table it can run, ended by NULL: for the tests. room for 4. */
void gka_arith_kernels_all(const arith_kernels *tables[4]);

#endif
