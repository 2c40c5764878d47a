/* kernels.c - the certified oracle's inner loops: every instruction set gives the same bits, and
 * each stated bound holds against MPFR.
 */
#include "test.h"

#include "gka/base.h"
#include "oracle/kernels.h"

#include <mpfr.h>

enum { BITS = 400, MOST = 40, ROUNDS = 12 };

/* ---- data ---------------------------------------------------------------------------------- */

static uint64_t draws;

/* Signed, magnitudes over a few binades. */
static double draw(void) {
    const uint64_t counter[4] = {draws++, 0, 0, 0}, key[2] = {40, 2};
    uint64_t bits[4];
    gka_philox(counter, key, bits);
    const double x = 2 * ((double)(bits[0] >> 11) * 0x1p-53) - 1;
    return ldexp(x, -(int)(bits[1] % 6));
}

/* Everything the kernels read and write, for one instruction set. */
typedef struct lab {
    int64_t n, m;
    double *block;
    size_t count; /* doubles in block */
    double *H, *U, *A, *R, *inverse, *k, *q, *v, *x, *x_lo, *y, *y_lo, *r, *d, *norm_h, *norm_u;
    double *o, *o_lo, *rounded, *scalars;
} lab;

static void lab_new(lab *w, int64_t n, int64_t m) {
    *w = (lab){.n = n, .m = m, .count = (size_t)(5 * n * n + 2 * n * m + 12 * n + 5 * m + 32)};
    w->block = gka_alloc(w->count, sizeof *w->block);
    assert_non_null(w->block);
    double *next = w->block;
    double **const square[] = {&w->H, &w->A};
    for (int i = 0; i < 2; i++, next += 2 * n * n)
        *square[i] = next;
    w->R = next, next += n * n;
    w->U = next, next += 2 * n * m;
    double **const rows[] = {&w->inverse, &w->k, &w->q, &w->x,      &w->x_lo,   &w->y,
                             &w->y_lo,    &w->r, &w->d, &w->norm_h, &w->rounded};
    for (int i = 0; i < 11; i++, next += n)
        *rows[i] = next;
    double **const columns[] = {&w->v, &w->norm_u, &w->o, &w->o_lo};
    for (int i = 0; i < 4; i++, next += m)
        *columns[i] = next;
    w->scalars = next;
}

static void draw_token(lab *w) {
    for (int64_t i = 0; i < w->n; i++) {
        w->k[i] = draw();
        w->q[i] = draw();
    }
    for (int64_t i = 0; i < w->m; i++)
        w->v[i] = draw();
}

static const dd gamma_ = {0x1.e6f1a9fbe76c9p-1, 0x1.0624dd2f1a9fcp-55};
static const double alpha_ = 0.37, scale_ = 0.088;

/* One token through every forward kernel. */
static void step(const gka_kernels *K, lab *w) {
    double *const s = w->scalars;
    const double k_norm = K->norm(w->n, w->k);
    const dd f2 = K->update_h(w->n, gamma_, w->k, k_norm, w->norm_h, w->H, w->H, &s[0]);
    const dd lambda = dd_mul_d(dd_sqrt(f2), 0.02);
    s[1] = f2.hi, s[2] = f2.lo;
    s[3] = K->factor(w->n, w->H, lambda.hi, w->R, w->inverse);
    K->solve(w->n, w->R, w->inverse, w->q, w->x);
    memset(w->x_lo, 0, (size_t)w->n * sizeof *w->x_lo);
    for (int i = 0; i < 2; i++) {
        s[4] = K->residual(w->n, w->H, w->norm_h, lambda, w->q, w->x, w->x_lo, w->r, &s[5]);
        if (i == 0) {
            K->solve(w->n, w->R, w->inverse, w->r, w->d);
            K->correct(w->n, w->d, w->x, w->x_lo);
        }
    }
    K->mix(w->n, alpha_, w->q, w->x, w->x_lo, w->y, w->y_lo);
    s[6] = K->norm(w->n, w->y);
    K->update_u_apply(w->n, w->m, gamma_, w->k, k_norm, w->v, w->norm_u, w->U, w->y, w->y_lo, s[6],
                      scale_, w->o, w->o_lo);
    s[7] = 0x1p-90;
    s[8] = (double)K->round(w->n, w->x, w->x_lo, &s[7], 0, w->rounded);
}

static void gradient_step(const gka_kernels *K, lab *w) {
    K->rank_one(w->n, w->n, gamma_, w->x, w->x_lo, w->y, w->y_lo, w->A);
    K->add_scaled(w->n, w->n, (dd){-0.3, 0x1p-60}, w->H, w->A);
    K->columns(w->n, w->m, w->U, w->x, w->x_lo, w->o, w->o_lo);
    K->rows(w->n, w->n, w->A, w->x, w->x_lo, w->r, w->d);
    const dd sum = K->inner(w->n, w->n, w->A, w->H);
    w->scalars[9] = sum.hi;
    w->scalars[10] = sum.lo;
    w->scalars[11] = K->size(w->n, w->n, w->A);
    w->scalars[12] = K->size(w->n, w->m, w->U);
}

/* ---- the same bits ------------------------------------------------------------------------- */

static void prop_every_instruction_set_alike(void **state) {
    (void)state;
    static const char *const names[] = {"baseline", "avx2", "avx512"};
    static const int64_t sizes[][2] = {{8, 8}, {16, 8}, {24, 40}, {64, 16}};
    for (int size = 0; size < 4; size++) {
        const int64_t n = sizes[size][0], m = sizes[size][1];
        lab first = {0}, token;
        lab_new(&token, n, m);
        for (int i = 0; i < 3; i++) {
            const gka_kernels *const K = gka_kernels_find(names[i]);
            if (K == NULL)
                continue;
            assert_string_equal(K->name, names[i]);
            lab w;
            lab_new(&w, n, m);
            draws = 0;
            for (int round = 0; round < ROUNDS; round++) {
                draw_token(&w);
                step(K, &w);
                gradient_step(K, &w);
            }
            if (first.block == NULL) {
                first = w;
                continue;
            }
            for (size_t j = 0; j < w.count; j++)
                if (bits_of(w.block[j]) != bits_of(first.block[j]))
                    fail_msg("%s, n = %lld: word %zu differs", names[i], (long long)n, j);
            gka_free(w.block);
        }
        gka_free(first.block);
        gka_free(token.block);
    }
    assert_null(gka_kernels_find("quantum"));
    assert_non_null(gka_kernels_best());
}

/* ---- the bounds ---------------------------------------------------------------------------- */

static void set_dd(mpfr_t x, double hi, double lo) {
    mpfr_set_d(x, hi, MPFR_RNDN);
    mpfr_add_d(x, x, lo, MPFR_RNDN);
}

/* |x - (hi + lo)| in units of u^2 */
static double off(mpfr_t x, double hi, double lo) {
    mpfr_sub_d(x, x, hi, MPFR_RNDN);
    mpfr_sub_d(x, x, lo, MPFR_RNDN);
    mpfr_mul_2si(x, x, 106, MPFR_RNDN);
    return fabs(mpfr_get_d(x, MPFR_RNDA));
}

/* Each bound, and how much of it was used at worst. */
typedef struct margin {
    const char *name;
    double worst;
} margin;

static void within(margin *m, double error, double bound) {
    if (!(error <= bound))
        fail_msg("%s: error %g u^2, bound %g u^2", m->name, error, bound);
    m->worst = fmax(m->worst, bound > 0 ? error / bound : 0);
}

/* MPFR numbers for one expression. */
typedef struct scratch {
    mpfr_t x, y, gamma, sum;
} scratch;

enum { LAB_N = 24, LAB_M = 8 };

/* H <- gamma H + k k^T entry by entry, and ||H||_F^2. */
static void check_update(scratch *m, const lab *w, const double *old, margin *update,
                         margin *norm) {
    mpfr_set_zero(m->sum, 1);
    for (int64_t i = 0; i < LAB_N; i++)
        for (int64_t j = 0; j < LAB_N; j++) {
            const size_t at = gka_strip_at(LAB_N, i, j);
            set_dd(m->x, old[at], old[at + 8]);
            mpfr_mul(m->x, m->x, m->gamma, MPFR_RNDN);
            mpfr_set_d(m->y, w->k[i], MPFR_RNDN);
            mpfr_mul_d(m->y, m->y, w->k[j], MPFR_RNDN);
            mpfr_add(m->x, m->x, m->y, MPFR_RNDN);
            within(update, off(m->x, w->H[at], w->H[at + 8]),
                   GKA_UPDATE_OLD * fabs(gamma_.hi * old[at]) +
                       GKA_UPDATE_NEW * fabs(w->k[i] * w->k[j]));
            set_dd(m->x, w->H[at], w->H[at + 8]);
            mpfr_sqr(m->x, m->x, MPFR_RNDN);
            mpfr_add(m->sum, m->sum, m->x, MPFR_RNDN);
        }
    within(norm, off(m->sum, w->scalars[1], w->scalars[2]), w->scalars[0] * 0x1p106);
}

/* r = q - H x - lambda x, component by component: anchored sum, assembly, and u of r itself; and
 * q' = q + alpha (x - q). */
static void check_residual(scratch *m, const lab *w, double sum_error, margin *left,
                           margin *mixed) {
    const dd lambda = dd_mul_d(dd_sqrt((dd){w->scalars[1], w->scalars[2]}), 0.02);
    for (int64_t i = 0; i < LAB_N; i++) {
        double magnitude = fabs(w->q[i]) + lambda.hi * fabs(w->x[i]), column = 0;
        set_dd(m->x, w->x[i], w->x_lo[i]);
        set_dd(m->y, lambda.hi, lambda.lo);
        mpfr_mul(m->x, m->x, m->y, MPFR_RNDN);
        mpfr_d_sub(m->sum, w->q[i], m->x, MPFR_RNDN);
        for (int64_t j = 0; j < LAB_N; j++) {
            const size_t at = gka_strip_at(LAB_N, j, i);
            set_dd(m->x, w->H[at], w->H[at + 8]);
            set_dd(m->y, w->x[j], w->x_lo[j]);
            mpfr_mul(m->x, m->x, m->y, MPFR_RNDN);
            mpfr_sub(m->sum, m->sum, m->x, MPFR_RNDN);
            column += w->H[at] * w->H[at];
        }
        assert_true(sqrt(column) <= w->norm_h[i]);
        magnitude += w->norm_h[i] * w->scalars[5];
        within(left, off(m->sum, w->r[i], 0),
               (sum_error + 1) * w->norm_h[i] * w->scalars[5] * (1 + 0x1p-30) +
                   GKA_ASSEMBLE_ERROR * magnitude + 0x1p53 * fabs(w->r[i]));
        set_dd(m->x, w->x[i], w->x_lo[i]);
        mpfr_sub_d(m->x, m->x, w->q[i], MPFR_RNDN);
        mpfr_mul_d(m->x, m->x, alpha_, MPFR_RNDN);
        mpfr_add_d(m->x, m->x, w->q[i], MPFR_RNDN);
        within(mixed, off(m->x, w->y[i], w->y_lo[i]),
               GKA_MIX_ERROR * (fabs(w->q[i]) + alpha_ * (fabs(w->x[i]) + fabs(w->q[i]))));
    }
}

/* o = s U^T q' */
static void check_output(scratch *m, const lab *w, double k_norm, double sum_error, margin *out) {
    for (int64_t v = 0; v < LAB_M; v++) {
        mpfr_set_zero(m->sum, 1);
        for (int64_t i = 0; i < LAB_N; i++) {
            const size_t at = gka_strip_at(LAB_N, i, v);
            set_dd(m->x, w->U[at], w->U[at + 8]);
            set_dd(m->y, w->y[i], w->y_lo[i]);
            mpfr_mul(m->x, m->x, m->y, MPFR_RNDN);
            mpfr_add(m->sum, m->sum, m->x, MPFR_RNDN);
        }
        mpfr_mul_d(m->sum, m->sum, scale_, MPFR_RNDN);
        /* the anchor stands on gamma |U_v| + |v| |k|, at most 3 |U_v| + 2 |v| |k| */
        const double column = 3 * w->norm_u[v] + 2 * fabs(w->v[v]) * k_norm;
        within(out, off(m->sum, w->o[v], w->o_lo[v]),
               scale_ * (sum_error + 1) * column * w->scalars[6] + 2 * fabs(w->o[v]));
    }
}

static void prop_bounds(void **state) {
    (void)state;
    const gka_kernels *const K = gka_kernels_best();
    const double sum_error = GKA_SUM_ERROR * LAB_N + 3;
    margin update = {"H", 0}, norm = {"f^2", 0}, left = {"r", 0}, mixed = {"q'", 0}, out = {"o", 0};
    scratch m;
    lab w;
    lab_new(&w, LAB_N, LAB_M);
    mpfr_inits2(BITS, m.x, m.y, m.gamma, m.sum, (mpfr_ptr)NULL);
    set_dd(m.gamma, gamma_.hi, gamma_.lo);
    for (int round = 0; round < ROUNDS; round++) {
        double old[2 * LAB_N * LAB_N];
        memcpy(old, w.H, sizeof old);
        draw_token(&w);
        step(K, &w);
        check_update(&m, &w, old, &update, &norm);
        check_residual(&m, &w, sum_error, &left, &mixed);
        check_output(&m, &w, K->norm(LAB_N, w.k), sum_error, &out);
        assert_true(w.scalars[1] > 0);
    }
    const margin all[] = {update, norm, left, mixed, out};
    for (int i = 0; i < 5; i++) {
        print_message("%-4s worst error %.2g of its bound\n", all[i].name, all[i].worst);
        assert_true(all[i].worst > 1e-4);
    }
    mpfr_clears(m.x, m.y, m.gamma, m.sum, (mpfr_ptr)NULL);
    gka_free(w.block);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prop_every_instruction_set_alike),
        cmocka_unit_test(prop_bounds),
    };
    return cmocka_run_group_tests_name("kernels", tests, NULL, NULL);
}
