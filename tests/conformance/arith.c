/* arith.c - the laws of an arithmetic, over every policy: each operation equals, bit for bit, a
 * slow twin that rounds one scalar at a time through MPFR; a dot product stays within its bound;
 * signs, order, tables and streams behave as gka/arith.h says. */
#include "policies.h"

#include "arith/kernels.h"

#include <math.h>
#include <mpfr.h>
#include <stdlib.h>

/* ---- the twin ------------------------------------------------------------------------------ */

enum { BITS = 4700 }; /* holds any sum of a double and a product of two doubles exactly */

typedef struct twin {
    const gka_policy *P;
    mpfr_t x, y, z, unit;
} twin;

static twin T;

static int setup(void **state) {
    (void)state;
    mpfr_inits2(BITS, T.x, T.y, T.z, T.unit, (mpfr_ptr)0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    mpfr_clears(T.x, T.y, T.z, T.unit, (mpfr_ptr)0);
    mpfr_free_cache();
    return 0;
}

/* How MPFR is to sign an exact zero. */
static mpfr_rnd_t zero_mode(void) {
    return T.P->rounding == GKA_DOWN ? MPFR_RNDD : MPFR_RNDZ;
}

static double out_of_range(const gka_format *F, gka_rounding mode, bool negative) {
    const bool inward = mode == GKA_TOWARD_ZERO || mode == GKA_TO_ODD ||
                        (mode == GKA_UP && negative) || (mode == GKA_DOWN && !negative);
    const double size = F->overflow == GKA_OVERFLOW_SATURATE || inward ? F->max_finite : INFINITY;
    return negative ? -size : size;
}

/* The random bits of position `at`; F[v] for v in T.x, which is destroyed. */
static double twin_round(const gka_format *F, uint64_t at) {
    const gka_rounding mode = T.P->rounding;
    const bool negative = mpfr_signbit(T.x) != 0;
    if (mpfr_nan_p(T.x))
        return NAN;
    if (mpfr_inf_p(T.x))
        return F->overflow == GKA_OVERFLOW_SATURATE ? out_of_range(F, mode, negative)
                                                    : mpfr_get_d(T.x, MPFR_RNDN);
    if (mpfr_zero_p(T.x))
        return negative ? -0.0 : 0.0;
    long e = (long)mpfr_get_exp(T.x) - 1;
    e = (e > F->emin ? e : F->emin) - F->p + 1; /* the grid is 2^e */
    mpfr_mul_2si(T.x, T.x, -e, MPFR_RNDZ);
    mpfr_trunc(T.y, T.x);
    mpfr_sub(T.z, T.x, T.y, MPFR_RNDZ); /* the fraction, with the sign of x */
    if (!mpfr_zero_p(T.z)) {
        mpfr_mul_2si(T.unit, T.y, -1, MPFR_RNDZ);
        const bool odd = !mpfr_integer_p(T.unit);
        mpfr_abs(T.z, T.z, MPFR_RNDZ);
        const int half = mpfr_cmp_d(T.z, 0.5);
        bool away = false;
        if (mode == GKA_NEAREST_EVEN)
            away = half > 0 || (half == 0 && odd);
        else if (mode == GKA_UP || mode == GKA_DOWN)
            away = (mode == GKA_UP) == !negative;
        else if (mode == GKA_TO_ODD)
            away = !odd;
        else if (mode == GKA_STOCHASTIC) {
            /* away with probability floor(2^64 fraction)/2^64 */
            mpfr_mul_2si(T.z, T.z, 64, MPFR_RNDZ);
            mpfr_trunc(T.z, T.z);
            mpfr_mul_2si(T.unit, T.z, -32, MPFR_RNDZ);
            const uint64_t high = mpfr_get_ui(T.unit, MPFR_RNDZ);
            mpfr_sub_ui(T.z, T.z, 0, MPFR_RNDZ);
            mpfr_set_ui(T.unit, high, MPFR_RNDZ);
            mpfr_mul_2si(T.unit, T.unit, 32, MPFR_RNDZ);
            mpfr_sub(T.z, T.z, T.unit, MPFR_RNDZ);
            const uint64_t fraction = high << 32 | mpfr_get_ui(T.z, MPFR_RNDZ);
            away = fraction + gka_round_random(T.P->seed, at) < fraction;
        }
        if (away)
            mpfr_add_si(T.y, T.y, negative ? -1 : 1, MPFR_RNDZ);
    }
    mpfr_mul_2si(T.y, T.y, e, MPFR_RNDZ);
    if (mpfr_cmpabs(T.y, (mpfr_set_d(T.z, F->max_finite, MPFR_RNDZ), T.z)) > 0)
        return out_of_range(F, mode, negative);
    const double r = mpfr_get_d(T.y, MPFR_RNDZ);
    return negative ? -fabs(r) : r;
}

static double twin_add(const gka_format *F, double a, double b, uint64_t at) {
    mpfr_set_d(T.x, a, MPFR_RNDZ);
    mpfr_set_d(T.y, b, MPFR_RNDZ);
    mpfr_add(T.x, T.x, T.y, zero_mode());
    return twin_round(F, at);
}

static double twin_mul(const gka_format *F, double a, double b, uint64_t at) {
    mpfr_set_d(T.x, a, MPFR_RNDZ);
    mpfr_mul_d(T.x, T.x, b, MPFR_RNDZ);
    return twin_round(F, at);
}

static double twin_div(const gka_format *F, double a, double b, uint64_t at) {
    mpfr_set_d(T.x, a, MPFR_RNDZ);
    mpfr_div_d(T.x, T.x, b, MPFR_RNDZ);
    return twin_round(F, at);
}

static double twin_sqrt(const gka_format *F, double a, uint64_t at) {
    mpfr_set_d(T.x, a, MPFR_RNDZ);
    mpfr_sqrt(T.x, T.x, MPFR_RNDZ);
    return twin_round(F, at);
}

static double twin_fma(const gka_format *F, double a, double b, double c, uint64_t at) {
    mpfr_set_d(T.x, a, MPFR_RNDZ);
    mpfr_set_d(T.y, b, MPFR_RNDZ);
    mpfr_set_d(T.z, c, MPFR_RNDZ);
    mpfr_fma(T.x, T.x, T.y, T.z, zero_mode());
    return twin_round(F, at);
}

static double twin_fit(const gka_format *F, double a, uint64_t at) {
    mpfr_set_d(T.x, a, MPFR_RNDZ);
    return twin_round(F, at);
}

static double twin_axpby(double a, double x, double b, double y, uint64_t at) {
    const gka_policy *const P = T.P;
    const double by = twin_mul(&P->product, b, y, at + 1);
    const double sum = P->fused
                           ? twin_fma(&P->accumulator, a, x, by, at + 2)
                           : twin_add(&P->accumulator, twin_mul(&P->product, a, x, at), by, at + 2);
    return twin_fit(&P->storage, sum, at + 3);
}

/* sum(n) = sum(first h) + sum(last n - h), as the definition says */
static double twin_pairwise(const double *product, int64_t n, uint64_t *at) {
    if (n == 1)
        return product[0];
    int64_t h = 1;
    while (2 * h < n)
        h *= 2;
    const double left = twin_pairwise(product, h, at);
    const double right = twin_pairwise(product + h, n - h, at);
    return twin_add(&T.P->accumulator, left, right, (*at)++);
}

static double twin_step(double s, double a, double b, uint64_t product_at, uint64_t sum_at) {
    const gka_policy *const P = T.P;
    return P->fused ? twin_fma(&P->accumulator, a, b, s, sum_at)
                    : twin_add(&P->accumulator, s, twin_mul(&P->product, a, b, product_at), sum_at);
}

static double twin_sum(const double *a, const double *b, int64_t n, uint64_t base) {
    const gka_policy *const P = T.P;
    const uint64_t m = (uint64_t)n;
    if (n == 0)
        return 0;
    if (P->order == GKA_PAIRWISE) {
        double product[64];
        for (int64_t j = 0; j < n; j++)
            product[j] = twin_mul(&P->product, a[j], b[j], base + (uint64_t)j);
        uint64_t at = base + m;
        return twin_pairwise(product, n, &at);
    }
    const int64_t block = P->order == GKA_BLOCKS ? P->block : n;
    double total = 0;
    for (int64_t first = 0; first < n; first += block) {
        double s = 0;
        for (int64_t j = first; j < n && j < first + block; j++)
            s = twin_step(s, a[j], b[j], base + (uint64_t)j, base + m + (uint64_t)j);
        total = P->order == GKA_BLOCKS
                    ? twin_add(&P->accumulator, total, s, base + 2 * m + (uint64_t)(first / block))
                    : s;
    }
    return total;
}

/* ---- inputs -------------------------------------------------------------------------------- */

static void assert_same(double a, double b, const char *what) {
    if ((isnan(a) && isnan(b)) || bits_of(a) == bits_of(b))
        return;
    fail_msg("%s, %s: %a, the twin says %a", T.P->name, what, a, b);
}

/* A number of the format: often ordinary, sometimes at the ends of the range, zero or special. */
static double draw(stream *s, const gka_format *F, bool tame) {
    const double sign = next_bits(s) & 1 ? -1 : 1, m = 1 + next_uniform(s);
    const uint64_t kind = tame ? 10 : next_bits(s) % 32;
    int e = (int)(next_bits(s) % 7) - 3;
    if (kind == 0)
        return sign * 0.0;
    if (kind == 1)
        return next_bits(s) & 1 ? NAN : F->overflow == GKA_OVERFLOW_IEEE ? sign * INFINITY : 0;
    if (kind == 2)
        e = F->emax;
    if (kind == 3)
        e = F->emin - (int)(next_bits(s) % (uint64_t)F->p);
    if (kind == 4)
        e = F->emin / 2;
    if (kind == 5)
        e = F->emax / 2;
    return gka_round(F, GKA_TOWARD_ZERO, sign * ldexp(m, e), 0);
}

/* x and y whose products nearly cancel in pairs */
static void draw_cancelling(stream *s, const gka_format *F, int64_t n, double *x, double *y) {
    for (int64_t i = 0; i < n; i++) {
        const bool echo = i % 2 == 1;
        x[i] = echo ? x[i - 1] : draw(s, F, true);
        y[i] = echo ? -y[i - 1] : draw(s, F, true);
        if (echo && next_bits(s) % 4 == 0)
            y[i] = gka_round(F, GKA_NEAREST_EVEN, y[i] * (1 + 2 * ldexp(1, -F->p)), 0);
    }
}

/* ---- every operation equals its twin ------------------------------------------------------- */

enum { N = 19 };

static void scalars_equal_twin(const gka_policy *policy) {
    stream s = {1, 0};
    T.P = policy;
    gka_arith A;
    gka_arith_start(&A, policy, 3);
    const gka_format *const C = &policy->accumulator;
    for (int i = 0; i < 6; i++) {
        const double a = draw(&s, C, false), b = draw(&s, C, false), c = draw(&s, C, false);
        const double wide = next_uniform(&s) - 0.5;
        uint64_t at = A.count;
        assert_same(gka_arith_add(&A, a, b), twin_add(C, a, b, at), "add");
        assert_same(gka_arith_sub(&A, a, b), twin_add(C, a, -b, at + 4), "sub");
        assert_same(gka_arith_mul(&A, a, b), twin_mul(C, a, b, at + 8), "mul");
        assert_same(gka_arith_div(&A, a, b), twin_div(C, a, b, at + 12), "div");
        assert_same(gka_arith_sqrt(&A, a), twin_sqrt(C, a, at + 16), "sqrt");
        assert_same(gka_arith_fma(&A, a, b, c), twin_fma(C, a, b, c, at + 20), "fma");
        assert_same(gka_arith_scalar(&A, wide), twin_fit(C, wide, at + 24), "scalar");
        assert_int_equal(A.count, at + 28);
    }
}

static void vectors_equal_twin(const gka_policy *policy) {
    stream s = {2, 0};
    T.P = policy;
    gka_arith A;
    gka_arith_start(&A, policy, 5);
    const gka_format *const S = &policy->storage, *const C = &policy->accumulator;
    double x[N], y[N], out[N];
    for (int i = 0; i < N; i++) {
        x[i] = draw(&s, S, false);
        y[i] = draw(&s, S, false);
    }
    const double a = draw(&s, C, true), b = draw(&s, C, true);
    uint64_t at = A.count;
    gka_arith_axpby(&A, N, a, x, b, y, out);
    for (uint64_t i = 0; i < N; i++)
        assert_same(out[i], twin_axpby(a, x[i], b, y[i], at + 4 * i), "axpby");
    at = A.count;
    gka_arith_scale(&A, N, a, x, out);
    for (uint64_t i = 0; i < N; i++)
        assert_same(out[i], twin_fit(S, twin_mul(C, a, x[i], at + 4 * i), at + 4 * i + 3), "scale");
    at = A.count;
    gka_arith_divide(&A, N, x, y, out);
    for (uint64_t i = 0; i < N; i++)
        assert_same(out[i], twin_fit(S, twin_div(C, x[i], y[i], at + 4 * i + 2), at + 4 * i + 3),
                    "divide");
    double wide[N];
    for (int i = 0; i < N; i++)
        wide[i] = next_uniform(&s) - 0.5;
    at = A.count;
    gka_arith_store(&A, N, wide, out);
    for (uint64_t i = 0; i < N; i++)
        assert_same(out[i], twin_fit(S, wide[i], at + 4 * i + 3), "store");
    at = A.count;
    gka_arith_operand(&A, N, x, out);
    for (uint64_t i = 0; i < N; i++)
        assert_same(out[i],
                    twin_fit(S, twin_fit(&policy->operand, x[i], at + 4 * i), at + 4 * i + 3),
                    "operand");
}

static void sums_equal_twin(const gka_policy *policy) {
    stream s = {3, 0};
    T.P = policy;
    gka_arith A;
    gka_arith_start(&A, policy, 7);
    const gka_format *const S = &policy->storage;
    double x[N], y[N];
    for (int64_t n = 0; n <= N; n += n < 5 ? 1 : 7) {
        draw_cancelling(&s, S, n, x, y);
        if (n == 3)
            x[1] = draw(&s, S, false);
        uint64_t at = A.count;
        assert_same(gka_arith_dot(&A, n, x, y), twin_sum(x, y, n, at), "dot");
        assert_int_equal(A.count, at + 4 * (uint64_t)n + 4);
        at = A.count;
        assert_same(
            gka_arith_norm(&A, n, x),
            twin_sqrt(&policy->accumulator, twin_sum(x, x, n, at), at + 4 * (uint64_t)n + 4),
            "norm");
    }
}

enum { ROWS = 18, COLUMNS = 5 };

static void matrices_equal_twin(const gka_policy *policy) {
    stream s = {4, 0};
    T.P = policy;
    gka_arith A;
    gka_arith_start(&A, policy, 9);
    const gka_format *const S = &policy->storage, *const O = &policy->operand;
    double M[ROWS * COLUMNS], transposed[COLUMNS * ROWS], x[COLUMNS], y[ROWS], again[ROWS];
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++)
            transposed[j * ROWS + i] = M[i * COLUMNS + j] = draw(&s, S, (i + j) % 4 != 0);
    for (int j = 0; j < COLUMNS; j++)
        x[j] = draw(&s, S, true);
    const uint64_t at = A.count, m = COLUMNS, stride = 4 * m + 4, x_at = at + ROWS * stride;
    gka_arith_matvec(&A, ROWS, COLUMNS, M, x, y);
    assert_int_equal(A.count, at + ROWS * stride + m);
    for (uint64_t i = 0; i < ROWS; i++) {
        const uint64_t base = at + i * stride;
        double a[COLUMNS], b[COLUMNS];
        for (uint64_t j = 0; j < m; j++) {
            a[j] = twin_fit(O, M[i * m + j], base + 3 * m + 1 + j);
            b[j] = twin_fit(O, x[j], x_at + j);
        }
        assert_same(y[i], twin_fit(S, twin_sum(a, b, COLUMNS, base), base + 3 * m), "matvec");
    }
    A.count = at;
    gka_arith_matvec_t(&A, COLUMNS, ROWS, transposed, x, again);
    assert_int_equal(A.count, at + ROWS * stride + m);
    for (int i = 0; i < ROWS; i++)
        assert_same(again[i], y[i], "matvec_t");

    const double a = draw(&s, &policy->accumulator, true), c = draw(&s, &policy->accumulator, true);
    double before[ROWS * COLUMNS];
    memcpy(before, M, sizeof M);
    const uint64_t from = A.count;
    gka_arith_rank1(&A, ROWS, COLUMNS, c, M, a, y, x);
    for (uint64_t i = 0; i < ROWS; i++) {
        const double w = twin_mul(&policy->accumulator, a, y[i], from + 4 * i);
        for (uint64_t j = 0; j < m; j++)
            assert_same(M[i * m + j],
                        twin_axpby(w, x[j], c, before[i * m + j], from + 4 * (ROWS + i * m + j)),
                        "rank1");
    }
}

static void prop_scalars_equal_twin(void **state) {
    (void)state;
    for_every_policy(scalars_equal_twin);
}

static void prop_vectors_equal_twin(void **state) {
    (void)state;
    for_every_policy(vectors_equal_twin);
}

static void prop_sums_equal_twin(void **state) {
    (void)state;
    for_every_policy(sums_equal_twin);
}

static void prop_matrices_equal_twin(void **state) {
    (void)state;
    for_every_policy(matrices_equal_twin);
}

/* Where products of bf16 numbers are below 2^-126 and sums near 2^-133, the binary32 carrier of
 * the bf16 kernel is at its limits. */
static void prop_bf16_products_that_underflow(void **state) {
    (void)state;
    gka_policy policy;
    assert_true(gka_policy_find("bf16", &policy));
    T.P = &policy;
    gka_arith A;
    gka_arith_start(&A, &policy, 0);
    stream s = {5, 0};
    for (int i = 0; i < 4000; i++) {
        double M[2], x[2], y;
        for (int j = 0; j < 2; j++) {
            const int e = -30 - (int)(next_bits(&s) % 70);
            M[j] = ldexp((double)(128 + next_bits(&s) % 128), e - 7);
            x[j] = ldexp((double)(128 + next_bits(&s) % 128),
                         -126 - (int)(next_bits(&s) % 12) - e - 7);
            if (next_bits(&s) & 1)
                x[j] = -x[j];
        }
        gka_arith_matvec(&A, 1, 2, M, x, &y);
        assert_same(y, twin_sum(M, x, 2, 0), "matvec near 2^-133");
    }
}

/* Through a double this fused multiply-add is 260. */
static void test_fused_multiply_add_rounds_once(void **state) {
    (void)state;
    gka_policy policy;
    gka_arith A;
    assert_true(gka_policy_find("bf16", &policy));
    gka_arith_start(&A, &policy, 0);
    assert_int_equal(bits_of(gka_arith_fma(&A, 9, 29, 0x1p-60)), bits_of(262));
    assert_int_equal(bits_of(gka_arith_fma(&A, 9, 29, -0x1p-60)), bits_of(260));
}

/* ---- laws ---------------------------------------------------------------------------------- */

/* |dot - sum x_i y_i| <= e/(1 - e) sum |x_i y_i| + underflow, e = u_P + k u_C, where k additions
 * lie above a product: n sequentially, ceil(log2 n) pairwise, block + ceil(n/block) in blocks
 * (Higham 2002, sections 3.1 and 4.2). u = 2^-p to nearest, 2^(1-p) otherwise; each rounding below
 * 2^emin is off by one quantum at most. */
static void dot_is_within_its_bound(const gka_policy *policy) {
    enum { LENGTH = 40 };
    stream s = {6, 0};
    T.P = policy;
    gka_arith A;
    gka_arith_start(&A, policy, 11);
    double x[LENGTH], y[LENGTH];
    draw_cancelling(&s, &policy->storage, LENGTH, x, y);
    const double slack = policy->rounding == GKA_NEAREST_EVEN ? 1 : 2;
    const double u_product = policy->fused && policy->order != GKA_PAIRWISE
                                 ? 0
                                 : slack * gka_format_unit_roundoff(&policy->product);
    const double u_sum = slack * gka_format_unit_roundoff(&policy->accumulator);
    int depth = LENGTH;
    if (policy->order == GKA_PAIRWISE)
        depth = 6;
    if (policy->order == GKA_BLOCKS)
        depth = (int)(policy->block + (LENGTH + policy->block - 1) / policy->block);
    const double total = u_product + depth * u_sum, gamma = total / (1 - total);
    const double quantum =
        gka_format_min_subnormal(&policy->product) + gka_format_min_subnormal(&policy->accumulator);
    mpfr_set_ui(T.x, 0, MPFR_RNDZ);
    double size = 0;
    for (int i = 0; i < LENGTH; i++) {
        mpfr_set_d(T.y, x[i], MPFR_RNDZ);
        mpfr_mul_d(T.y, T.y, y[i], MPFR_RNDZ);
        mpfr_add(T.x, T.x, T.y, MPFR_RNDZ);
        size += fabs(x[i] * y[i]);
    }
    mpfr_sub_d(T.x, T.x, gka_arith_dot(&A, LENGTH, x, y), MPFR_RNDZ);
    const double error = fabs(mpfr_get_d(T.x, MPFR_RNDA));
    /* The bound itself is computed in binary64: a factor 1 + 2^-40 covers its own rounding. */
    const double bound = (gamma * size + 2 * LENGTH * quantum) * (1 + 0x1p-40);
    if (error > bound)
        fail_msg("%s: dot is off by %g, the bound is %g", policy->name, error, bound);
}

static void prop_dot_is_within_its_bound(void **state) {
    (void)state;
    for_every_policy(dot_is_within_its_bound);
}

static gka_rounding mirrored(gka_rounding mode) {
    return mode == GKA_UP ? GKA_DOWN : mode == GKA_DOWN ? GKA_UP : mode;
}

/* -(x . y) = (-x) . y in the mirrored mode; x . y = y . x; what comes out is of the format; adding
 * 0 and multiplying by 1 change nothing. */
static void signs_and_identities(const gka_policy *policy) {
    stream s = {7, 0};
    T.P = policy;
    gka_policy other = *policy;
    other.rounding = mirrored(policy->rounding);
    gka_arith A, B;
    double x[N], y[N], minus[N], out[N];
    draw_cancelling(&s, &policy->storage, N, x, y);
    for (int i = 0; i < N; i++)
        minus[i] = -x[i];
    gka_arith_start(&A, policy, 0);
    const double xy = gka_arith_dot(&A, N, x, y);
    gka_arith_start(&A, policy, 0);
    assert_same(gka_arith_dot(&A, N, y, x), xy, "x . y = y . x");
    gka_arith_start(&B, &other, 0);
    const double mirror = gka_arith_dot(&B, N, minus, y);
    if (xy != 0)
        assert_same(-mirror, xy, "(-x) . y = -(x . y)");
    assert_same(gka_round(&policy->accumulator, GKA_TOWARD_ZERO, xy, 0), xy, "dot's format");
    gka_arith_axpby(&A, N, 0.3, x, 0.7, y, out);
    for (int i = 0; i < N; i++)
        assert_same(gka_round(&policy->storage, GKA_TOWARD_ZERO, out[i], 0), out[i],
                    "axpby's format");
    if (policy->product.p >= policy->storage.p) {
        gka_arith_axpby(&A, N, 1, x, 0, y, out);
        for (int i = 0; i < N; i++)
            assert_same(out[i], x[i], "1 x + 0 y = x");
    }
}

static void prop_signs_and_identities(void **state) {
    (void)state;
    for_every_policy(signs_and_identities);
}

/* down <= nearest <= up, and toward zero is one of the outer two. */
static void prop_directed_modes_enclose(void **state) {
    (void)state;
    stream s = {8, 0};
    for (const char *const *name = gka_policy_names(); *name != NULL; name++) {
        double r[4];
        const double a = next_uniform(&s), b = next_uniform(&s) - 0.5;
        static const char *const modes[] = {"/down", "", "/up", "/zero"};
        for (int i = 0; i < 4; i++) {
            char full[64];
            gka_policy policy;
            gka_arith A;
            (void)snprintf(full, sizeof full, "%s%s", *name, modes[i]);
            assert_true(gka_policy_find(full, &policy));
            gka_arith_start(&A, &policy, 0);
            const double x = gka_round(&policy.accumulator, GKA_TOWARD_ZERO, a, 0);
            r[i] = gka_arith_div(&A, gka_round(&policy.accumulator, GKA_TOWARD_ZERO, b, 0), x);
        }
        assert_true(r[0] <= r[1] && r[1] <= r[2] && r[0] < r[2]);
        assert_int_equal(bits_of(r[3]), bits_of(r[3] > 0 ? r[0] : r[2]));
    }
}

/* The tables for the processor's instruction sets give the same bits; so does the instance for any
 * policy, where a specialised one exists. */
static void tables_agree(const gka_policy *policy) {
    enum { W = 33 };
    static double M[W * W], x[W], y[W], reference[W], matrix[W * W], again[W * W];
    const arith_kernels *tables[4];
    gka_arith_kernels_all(tables);
    stream s = {9, 0};
    T.P = policy;
    for (int i = 0; i < W * W; i++)
        M[i] = draw(&s, &policy->storage, i % 3 != 0);
    for (int i = 0; i < W; i++)
        x[i] = draw(&s, &policy->storage, true);
    for (int i = 0; tables[i] != NULL; i++)
        for (int generic = 0; generic < 2; generic++) {
            const int instance = generic ? ARITH_GENERIC : gka_arith_instance(policy);
            double *const into = i + generic == 0 ? reference : y;
            double *const update = i + generic == 0 ? matrix : again;
            memcpy(update, M, sizeof M);
            tables[i]->matvec(policy, instance, 100, W, W, M, W, 1, x, into);
            tables[i]->rank1(policy, instance, 100, W, W, 0.5, update, 0.25, x, x);
            if (i + generic == 0)
                continue;
            for (int j = 0; j < W; j++)
                assert_same(y[j], reference[j], tables[i]->name);
            for (int j = 0; j < W * W; j++)
                assert_same(again[j], matrix[j], tables[i]->name);
            tables[i]->divide(policy, instance, 3, W, M, x, y);
            tables[0]->divide(policy, ARITH_GENERIC, 3, W, M, x, reference);
            for (int j = 0; j < W; j++)
                assert_same(y[j], reference[j], tables[i]->name);
            tables[0]->matvec(policy, ARITH_GENERIC, 100, W, W, M, W, 1, x, reference);
        }
    T.P = NULL; /* the policy is the caller's own */
}

static void prop_tables_agree(void **state) {
    (void)state;
    for (const char *const *name = gka_policy_names(); *name != NULL; name++) {
        static const char *const suffixes[] = {"", "/fma", "/up", "/stochastic"};
        for (int i = 0; i < 4; i++) {
            char full[64];
            gka_policy policy;
            (void)snprintf(full, sizeof full, "%s%s", *name, suffixes[i]);
            assert_true(gka_policy_find(full, &policy));
            tables_agree(&policy);
        }
    }
}

/* An elementwise operation cut in two takes the same random bits. */
static void prop_stream_is_by_position(void **state) {
    (void)state;
    gka_policy policy;
    assert_true(gka_policy_find("bf16/stochastic", &policy));
    stream s = {10, 0};
    double x[N], whole[N], parts[N];
    for (int i = 0; i < N; i++)
        x[i] = draw(&s, &policy.storage, true);
    gka_arith A;
    gka_arith_start(&A, &policy, 1);
    gka_arith_axpby(&A, N, 0.3, x, 0.7, x, whole);
    gka_arith_start(&A, &policy, 1);
    gka_arith_axpby(&A, 7, 0.3, x, 0.7, x, parts);
    gka_arith_axpby(&A, N - 7, 0.3, x + 7, 0.7, x + 7, parts + 7);
    for (int i = 0; i < N; i++)
        assert_int_equal(bits_of(parts[i]), bits_of(whole[i]));
    gka_arith_start(&A, &policy, 2);
    gka_arith_axpby(&A, N, 0.3, x, 0.7, x, parts);
    assert_memory_not_equal(parts, whole, sizeof whole);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prop_scalars_equal_twin),
        cmocka_unit_test(prop_vectors_equal_twin),
        cmocka_unit_test(prop_sums_equal_twin),
        cmocka_unit_test(prop_matrices_equal_twin),
        cmocka_unit_test(prop_bf16_products_that_underflow),
        cmocka_unit_test(test_fused_multiply_add_rounds_once),
        cmocka_unit_test(prop_dot_is_within_its_bound),
        cmocka_unit_test(prop_signs_and_identities),
        cmocka_unit_test(prop_directed_modes_enclose),
        cmocka_unit_test(prop_tables_agree),
        cmocka_unit_test(prop_stream_is_by_position),
    };
    return cmocka_run_group_tests_name("arith", tests, setup, teardown);
}
