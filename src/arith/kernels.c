/* kernels.c - the operations of gka/arith.h, each once: always-inline bodies over a policy, with
 * one instance per named policy. Compiled once per instruction set; ARITH_TABLE names the table.
 *
 *   P  the policy; at, base  positions in the random stream; S O P C  roundings, as in gka/arith.h
 */
#include "arith/kernels.h"
#include "arith/lanes.h"
#include "arith/scalar.h"

enum {
    LANES = 16,   /* rows of a matrix that advance together */
    DEPTH = 64,   /* columns transposed at a time */
    PARTIALS = 64 /* of a pairwise sum of fewer than 2^63 terms */
};

/* ---- elementwise --------------------------------------------------------------------------- */

GKA_INLINE void store_body(const gka_policy *P, uint64_t at, int64_t n, const double *x,
                           double *out) {
    for (int64_t i = 0; i < n; i++)
        out[i] = arith_fit(P, &P->storage, x[i], at + 4 * (uint64_t)i + 3);
}

GKA_INLINE void operand_body(const gka_policy *P, uint64_t at, int64_t n, const double *x,
                             double *out) {
    for (int64_t i = 0; i < n; i++) {
        const double o = arith_fit(P, &P->operand, x[i], at + 4 * (uint64_t)i);
        out[i] = arith_same_format(&P->storage, &P->operand)
                     ? o
                     : arith_fit(P, &P->storage, o, at + 4 * (uint64_t)i + 3);
    }
}

GKA_INLINE void scale_body(const gka_policy *P, uint64_t at, int64_t n, double a, const double *x,
                           double *out) {
    for (int64_t i = 0; i < n; i++) {
        const uint64_t base = at + 4 * (uint64_t)i;
        out[i] = arith_store(P, arith_mul(P, &P->accumulator, a, x[i], base), base + 3);
    }
}

GKA_INLINE void axpby_body(const gka_policy *P, uint64_t at, int64_t n, double a, const double *x,
                           double b, const double *y, double *out) {
    for (int64_t i = 0; i < n; i++)
        out[i] = arith_axpby(P, a, x[i], b, y[i], at + 4 * (uint64_t)i);
}

GKA_INLINE void divide_body(const gka_policy *P, uint64_t at, int64_t n, const double *x,
                            const double *y, double *out) {
    for (int64_t i = 0; i < n; i++) {
        const uint64_t base = at + 4 * (uint64_t)i;
        out[i] = arith_store(P, arith_div(P, &P->accumulator, x[i], y[i], base + 2), base + 3);
    }
}

/* M_ij <- S[C[P[w_i y_j] + P[c M_ij]]], w_i = C[a x_i] */
GKA_INLINE void rank1_body(const gka_policy *P, uint64_t at, int64_t n, int64_t m, double c,
                           double *M, double a, const double *x, const double *y) {
    for (int64_t i = 0; i < n; i++) {
        const double w = arith_mul(P, &P->accumulator, a, x[i], at + 4 * (uint64_t)i);
        double *const row = M + i * m;
        const uint64_t base = at + 4 * (uint64_t)(n + i * m);
        for (int64_t j = 0; j < m; j++)
            row[j] = arith_axpby(P, w, y[j], c, row[j], base + 4 * (uint64_t)j);
    }
}

/* ---- sums ---------------------------------------------------------------------------------- */

/* The factors of product j: of two vectors, or of row i of a matrix and a vector. */
typedef struct factors {
    const double *a, *b;
    int64_t stride; /* of a */
    bool matrix;    /* then both are rounded to operand format ... */
    uint64_t b_at;  /* ... b with random numbers from here */
} factors;

GKA_INLINE double left(const gka_policy *P, factors F, uint64_t base, int64_t m, int64_t j) {
    const double a = F.a[j * F.stride];
    return F.matrix ? arith_operand(P, a, base + 3 * (uint64_t)m + 1 + (uint64_t)j) : a;
}

GKA_INLINE double right(const gka_policy *P, factors F, int64_t j) {
    return F.matrix ? arith_operand(P, F.b[j], F.b_at + (uint64_t)j) : F.b[j];
}

/* s_(j+1) = C[s_j + P[a_j b_j]], or C[s_j + a_j b_j] */
GKA_INLINE double step(const gka_policy *P, double s, double a, double b, uint64_t product_at,
                       uint64_t sum_at) {
    if (P->fused)
        return arith_fma(P, &P->accumulator, a, b, s, sum_at);
    return arith_add(P, &P->accumulator, s, arith_mul(P, &P->product, a, b, product_at), sum_at);
}

GKA_INLINE double sequential(const gka_policy *P, uint64_t base, int64_t m, factors F) {
    double s = 0;
    for (int64_t j = 0; j < m; j++)
        s = step(P, s, left(P, F, base, m, j), right(P, F, j), base + (uint64_t)j,
                 base + (uint64_t)(m + j));
    return s;
}

/* Blocks of P->block terms, each from +0; their sums, from +0. */
GKA_INLINE double blockwise(const gka_policy *P, uint64_t base, int64_t m, factors F) {
    double total = 0, s = 0;
    for (int64_t j = 0; j < m; j++) {
        s = step(P, s, left(P, F, base, m, j), right(P, F, j), base + (uint64_t)j,
                 base + (uint64_t)(m + j));
        if ((j + 1) % P->block == 0 || j + 1 == m) {
            total =
                arith_add(P, &P->accumulator, total, s, base + (uint64_t)(2 * m + j / P->block));
            s = 0;
        }
    }
    return total;
}

/* sum(n) = sum(first h) + sum(last n - h), h the largest power of two below n: complete subtrees
 * are merged as a binary counter carries, what is left at the end from the right. Addition i, in
 * this order, takes random number m + i. */
GKA_INLINE double pairwise(const gka_policy *P, uint64_t base, int64_t m, factors F) {
    double partial[PARTIALS];
    int64_t depth = 0;
    uint64_t at = base + (uint64_t)m;
    for (int64_t j = 0; j < m; j++) {
        double s =
            arith_mul(P, &P->product, left(P, F, base, m, j), right(P, F, j), base + (uint64_t)j);
        for (int64_t full = j; full & 1; full >>= 1)
            s = arith_add(P, &P->accumulator, partial[--depth], s, at++);
        partial[depth++] = s;
    }
    if (depth == 0)
        return 0;
    double s = partial[--depth];
    while (depth > 0)
        s = arith_add(P, &P->accumulator, partial[--depth], s, at++);
    return s;
}

GKA_INLINE double sum_of_products(const gka_policy *P, uint64_t base, int64_t m, factors F) {
    if (P->order == GKA_PAIRWISE)
        return pairwise(P, base, m, F);
    if (P->order == GKA_BLOCKS)
        return blockwise(P, base, m, F);
    return sequential(P, base, m, F);
}

GKA_INLINE double dot_body(const gka_policy *P, uint64_t at, int64_t n, const double *x,
                           const double *y) {
    return sum_of_products(P, at, n, (factors){x, y, 1, false, 0});
}

/* ---- matrix times vector ------------------------------------------------------------------- */

GKA_INLINE void matvec_rows(const gka_policy *P, uint64_t at, int64_t n, int64_t m, const double *M,
                            int64_t row, int64_t column, const double *x, double *y) {
    const uint64_t stride = 4 * (uint64_t)m + 4, b_at = at + (uint64_t)n * stride;
    for (int64_t i = 0; i < n; i++) {
        const uint64_t base = at + (uint64_t)i * stride;
        const double s = sum_of_products(P, base, m, (factors){M + i * row, x, column, true, b_at});
        y[i] = arith_store(P, s, base + 3 * (uint64_t)m);
    }
}

/* LANES rows at a time: each lane is the sequential sum of its row. rows <= LANES. */
GKA_INLINE void lanes_float(const gka_policy *P, int64_t rows, int64_t m, const double *M,
                            int64_t row, int64_t column, const double *x, double *y) {
    float s[LANES] = {0}, block[DEPTH][LANES] = {{0}};
    for (int64_t j0 = 0; j0 < m; j0 += DEPTH) {
        const int64_t depth = m - j0 < DEPTH ? m - j0 : DEPTH;
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < depth; j++)
                block[j][i] = (float)M[i * row + (j0 + j) * column];
        for (int64_t j = 0; j < depth; j++) {
            const float b = (float)x[j0 + j];
            for (int i = 0; i < LANES; i++) {
                const float product =
                    gka_round_core_f32(&P->product, GKA_NEAREST_EVEN, block[j][i] * b);
                s[i] = gka_round_core_f32(&P->accumulator, GKA_NEAREST_EVEN, s[i] + product);
            }
        }
    }
    for (int64_t i = 0; i < rows; i++)
        y[i] = (double)s[i];
}

GKA_INLINE void lanes_double(const gka_policy *P, int64_t rows, int64_t m, const double *M,
                             int64_t row, int64_t column, const double *x, double *y) {
    double s[LANES] = {0}, block[DEPTH][LANES] = {{0}};
    for (int64_t j0 = 0; j0 < m; j0 += DEPTH) {
        const int64_t depth = m - j0 < DEPTH ? m - j0 : DEPTH;
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < depth; j++)
                block[j][i] = M[i * row + (j0 + j) * column];
        for (int64_t j = 0; j < depth; j++) {
            const double b = arith_operand(P, x[j0 + j], 0);
            for (int i = 0; i < LANES; i++)
                s[i] = step(P, s[i], arith_operand(P, block[j][i], 0), b, 0, 0);
        }
    }
    for (int64_t i = 0; i < rows; i++)
        y[i] = arith_store(P, s[i], 0);
}

/* A constant policy is sequential and to nearest: nothing reads the random stream. */
GKA_INLINE void matvec_lanes(const gka_policy *P, int64_t n, int64_t m, const double *M,
                             int64_t row, int64_t column, const double *x, double *y) {
    for (int64_t i = 0; i < n; i += LANES) {
        const int64_t rows = n - i < LANES ? n - i : LANES;
        if (arith_carried_by_float(P))
            lanes_float(P, rows, m, M + i * row, row, column, x, y + i);
        else
            lanes_double(P, rows, m, M + i * row, row, column, x, y + i);
    }
}

/* ---- instances ----------------------------------------------------------------------------- */

#define CONSTANT(id, name, s, o, p, c, fused)                                                      \
    static const gka_policy policy_##id = ARITH_POLICY(name, s, o, p, c, fused);
ARITH_INSTANCES(CONSTANT)
#undef CONSTANT

static void store(const gka_policy *P, int instance, uint64_t at, int64_t n, const double *x,
                  double *out) {
    switch (instance) {
#define CASE(id, ...)                                                                              \
    case ARITH_##id: store_body(&policy_##id, at, n, x, out); break;
        ARITH_INSTANCES(CASE)
#undef CASE
    default: store_body(P, at, n, x, out);
    }
}

static void operand(const gka_policy *P, int instance, uint64_t at, int64_t n, const double *x,
                    double *out) {
    switch (instance) {
#define CASE(id, ...)                                                                              \
    case ARITH_##id: operand_body(&policy_##id, at, n, x, out); break;
        ARITH_INSTANCES(CASE)
#undef CASE
    default: operand_body(P, at, n, x, out);
    }
}

static void scale(const gka_policy *P, int instance, uint64_t at, int64_t n, double a,
                  const double *x, double *out) {
    switch (instance) {
#define CASE(id, ...)                                                                              \
    case ARITH_##id: scale_body(&policy_##id, at, n, a, x, out); break;
        ARITH_INSTANCES(CASE)
#undef CASE
    default: scale_body(P, at, n, a, x, out);
    }
}

static void axpby(const gka_policy *P, int instance, uint64_t at, int64_t n, double a,
                  const double *x, double b, const double *y, double *out) {
    switch (instance) {
#define CASE(id, ...)                                                                              \
    case ARITH_##id: axpby_body(&policy_##id, at, n, a, x, b, y, out); break;
        ARITH_INSTANCES(CASE)
#undef CASE
    default: axpby_body(P, at, n, a, x, b, y, out);
    }
}

static void divide(const gka_policy *P, int instance, uint64_t at, int64_t n, const double *x,
                   const double *y, double *out) {
    switch (instance) {
#define CASE(id, ...)                                                                              \
    case ARITH_##id: divide_body(&policy_##id, at, n, x, y, out); break;
        ARITH_INSTANCES(CASE)
#undef CASE
    default: divide_body(P, at, n, x, y, out);
    }
}

static double dot(const gka_policy *P, int instance, uint64_t at, int64_t n, const double *x,
                  const double *y) {
    switch (instance) {
#define CASE(id, ...)                                                                              \
    case ARITH_##id: return dot_body(&policy_##id, at, n, x, y);
        ARITH_INSTANCES(CASE)
#undef CASE
    default: return dot_body(P, at, n, x, y);
    }
}

static void matvec(const gka_policy *P, int instance, uint64_t at, int64_t n, int64_t m,
                   const double *M, int64_t row, int64_t column, const double *x, double *y) {
    switch (instance) {
#define CASE(id, ...)                                                                              \
    case ARITH_##id: matvec_lanes(&policy_##id, n, m, M, row, column, x, y); break;
        ARITH_INSTANCES(CASE)
#undef CASE
    default:
        if (gka_arith_in_lanes(P))
            ARITH_LANES(P, at, n, m, M, row, column, x, y);
        else
            matvec_rows(P, at, n, m, M, row, column, x, y);
    }
}

static void rank1(const gka_policy *P, int instance, uint64_t at, int64_t n, int64_t m, double c,
                  double *M, double a, const double *x, const double *y) {
    switch (instance) {
#define CASE(id, ...)                                                                              \
    case ARITH_##id: rank1_body(&policy_##id, at, n, m, c, M, a, x, y); break;
        ARITH_INSTANCES(CASE)
#undef CASE
    default: rank1_body(P, at, n, m, c, M, a, x, y);
    }
}

const arith_kernels ARITH_TABLE = {ARITH_TABLE_NAME, store, operand, scale, axpby,
                                   divide,           dot,   matvec,  rank1};
