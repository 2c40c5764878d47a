/* hessian.c - gka_oracle_hessian is the derivative of the gradients, symmetric, and linear; it
 * survives failing allocations. */
#include "oracle.h"

enum { SLOTS = 6 };

/* Slots of a direction as (member, numbers). */
typedef struct slot {
    double **at;
    int64_t count;
} slot;

static void slots_of(const gka_problem *p, gka_of of, gka_direction *d, slot s[SLOTS]) {
    const int64_t tokens = p->B * p->T * p->H, rows = p->B * p->T * p->G;
    const slot slots[SLOTS] = {{&d->q, tokens * p->D}, {&d->k, rows * p->D},
                               {&d->v, rows * p->V},   {&d->alpha, tokens},
                               {&d->g, tokens},        {&d->c, tokens * (of ? p->V : p->D)}};
    memcpy(s, slots, sizeof slots);
}

/* Multiples of 2^-7 in [-1,1]; seed 0: NaN, so that what is not written shows. */
static void direction_new(const gka_problem *p, gka_of of, uint64_t seed, gka_direction *d) {
    slot s[SLOTS];
    slots_of(p, of, d, s);
    for (int i = 0; i < SLOTS; i++) {
        *s[i].at = gka_alloc((size_t)s[i].count, sizeof(double));
        assert_non_null(*s[i].at);
        for (int64_t j = 0; j < s[i].count; j++)
            (*s[i].at)[j] = seed == 0 ? NAN : lab_draw(seed, 40 + (uint64_t)i, (uint64_t)j);
    }
}

static void direction_free(gka_direction *d) {
    double *const parts[SLOTS] = {d->q, d->k, d->v, d->alpha, d->g, d->c};
    for (int i = 0; i < SLOTS; i++)
        gka_free(parts[i]);
}

static void hessian(const gka_problem *p, gka_of of, const gka_direction *in, gka_direction *out) {
    gka_error error = {0};
    if (gka_oracle_hessian(p, of, NULL, in, out, &error) != GKA_OK)
        fail_msg("%s", error.text);
}

static double dot(const gka_problem *p, gka_of of, gka_direction *a, gka_direction *b) {
    slot s[SLOTS], t[SLOTS];
    slots_of(p, of, a, s);
    slots_of(p, of, b, t);
    double sum = 0;
    for (int i = 0; i < SLOTS; i++)
        for (int64_t j = 0; j < s[i].count; j++)
            sum += (*s[i].at)[j] * (*t[i].at)[j];
    return sum;
}

static const lab_shape shapes[] = {
    {.B = 1,
     .T = 6,
     .H = 1,
     .G = 1,
     .D = 4,
     .V = 4,
     .a = .3,
     .gate = true,
     .alpha = true,
     .seed = 1},
    {.B = 2,
     .T = 5,
     .H = 2,
     .G = 1,
     .D = 3,
     .V = 2,
     .a = .3,
     .gate = true,
     .alpha = true,
     .states = true,
     .final = true,
     .seed = 2},
    {.B = 1, .T = 7, .H = 2, .G = 2, .D = 4, .V = 9, .a = .3, .seed = 3},
    {.B = 1,
     .T = 8,
     .H = 2,
     .G = 1,
     .D = 9,
     .V = 3,
     .a = .3,
     .gate = true,
     .alpha = true,
     .packed = true,
     .seed = 4},
    {.B = 1,
     .T = 6,
     .H = 1,
     .G = 1,
     .D = 4,
     .V = 4,
     .a = .3,
     .gate = true,
     .cut = true,
     .alpha = true,
     .seed = 5},
    {.B = 1,
     .T = 6,
     .H = 1,
     .G = 1,
     .D = 4,
     .V = 4,
     .a = .3,
     .gate = true,
     .silent = true,
     .alpha = true,
     .seed = 6},
    {.B = 1,
     .T = 6,
     .H = 1,
     .G = 1,
     .D = 4,
     .V = 4,
     .a = .3,
     .gate = true,
     .alpha = true,
     .states = true,
     .h0_scale = -.0625,
     .seed = 7},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* ---- against differences ------------------------------------------------------------------- */

/* The problem's tensors moved by e times the direction. Exact: multiples of 2^-7 on both sides, e a
 * small power of two. A missing gate or alpha stays what it is. */
static void move(lab_case *lab, gka_of of, const gka_direction *d, double e) {
    const gka_problem *const p = &lab->problem;
    gka_direction parts = *d;
    slot s[SLOTS];
    slots_of(p, of, &parts, s);
    double *const tensors[SLOTS] = {lab->q,     lab->k, lab->v,
                                    lab->alpha, lab->g, of ? lab->dout : lab->dx};
    for (int i = 0; i < SLOTS; i++)
        for (int64_t j = 0; tensors[i] != NULL && j < s[i].count; j++)
            tensors[i][j] += e * (*s[i].at)[j];
}

/* sum += c (hi + lo) of the gradients and of y */
static void add_gradient(lab_case *lab, gka_of of, double c, gka_direction *sum) {
    const gka_problem *const p = &lab->problem;
    gka_outputs hi, lo, forward_hi, forward_lo;
    lab_exact_new(p, &hi);
    lab_exact_new(p, &lo);
    lab_exact_new(p, &forward_hi);
    lab_exact_new(p, &forward_lo);
    lab_gradient(p, of, GKA_ORACLE_MPFR, &hi, &lo);
    lab_forward(p, GKA_ORACLE_MPFR, &forward_hi, &forward_lo);
    slot s[SLOTS];
    slots_of(p, of, sum, s);
    double *const his[SLOTS] = {hi.gradient[of].dq, hi.gradient[of].dk,
                                hi.gradient[of].dv, hi.gradient[of].dalpha,
                                hi.gradient[of].dg, of ? forward_hi.o : forward_hi.x};
    double *const los[SLOTS] = {lo.gradient[of].dq, lo.gradient[of].dk,
                                lo.gradient[of].dv, lo.gradient[of].dalpha,
                                lo.gradient[of].dg, of ? forward_lo.o : forward_lo.x};
    for (int i = 0; i < SLOTS; i++)
        for (int64_t j = 0; j < s[i].count; j++)
            (*s[i].at)[j] += c * his[i][j] + c * los[i][j];
    lab_exact_free(p, &hi);
    lab_exact_free(p, &lo);
    lab_exact_free(p, &forward_hi);
    lab_exact_free(p, &forward_lo);
}

/* Central difference of order four, (8 (G(h) - G(-h)) - (G(2h) - G(-2h)))/(12 h) of the gradients
 * G: off by h^4/30 of the fifth derivative, 2^-69 times a few kappa^6 <= 5^6 at a = .3, and by
 * rounding, u/h = 2^-37 of the size of what is differenced (summed in binary64). */
static void prop_hessian_is_the_derivative(void **state) {
    (void)state;
    const double h = 0x1p-16;
    for (int of = GKA_OF_X; of <= GKA_OF_O; of++)
        for (int i = 0; i < SHAPES; i++) {
            lab_case lab;
            gka_direction along, product, quotient;
            lab_new(&lab, &shapes[i]);
            const gka_problem *const p = &lab.problem;
            direction_new(p, (gka_of)of, 9, &along);
            slot in[SLOTS], s[SLOTS], t[SLOTS];
            slots_of(p, (gka_of)of, &along, in);
            for (int64_t j = 0; lab.alpha == NULL && j < in[3].count; j++)
                along.alpha[j] = 0;
            for (int64_t j = 0; lab.g == NULL && j < in[4].count; j++)
                along.g[j] = 0;
            direction_new(p, (gka_of)of, 0, &product);
            direction_new(p, (gka_of)of, 1, &quotient);
            slots_of(p, (gka_of)of, &product, s);
            slots_of(p, (gka_of)of, &quotient, t);
            for (int k = 0; k < SLOTS; k++)
                memset(*t[k].at, 0, (size_t)t[k].count * sizeof(double));
            hessian(p, (gka_of)of, &along, &product);
            static const double at[4] = {1, -1, 2, -2}, weight[4] = {8, -8, -1, 1};
            for (int k = 0; k < 4; k++) {
                move(&lab, (gka_of)of, &along, at[k] * h);
                add_gradient(&lab, (gka_of)of, weight[k] / (12 * h), &quotient);
                move(&lab, (gka_of)of, &along, -at[k] * h);
            }
            for (int k = 0; k < SLOTS; k++) {
                double error = 0, norm = 0;
                for (int64_t j = 0; j < t[k].count; j++) {
                    error = fmax(error, fabs((*s[k].at)[j] - (*t[k].at)[j]));
                    norm = fmax(norm, fabs((*t[k].at)[j]));
                }
                if (!(error <= 0x1p-33 * (1 + norm)))
                    fail_msg("of %d, shape %d, slot %d: off by %g of %g", of, i, k, error, norm);
            }
            direction_free(&along);
            direction_free(&product);
            direction_free(&quotient);
            lab_free(&lab);
        }
}

/* ---- laws ---------------------------------------------------------------------------------- */

/* <a, H b> = <b, H a>: two different sums of the same products, each a token's worth of passes of
 * D^2 terms through a solve of condition 1 + 1/a: T D^2 kappa^2 u. */
static void prop_symmetric(void **state) {
    (void)state;
    for (int of = GKA_OF_X; of <= GKA_OF_O; of++)
        for (int i = 0; i < SHAPES; i++) {
            lab_case lab;
            gka_direction a, b, Ha, Hb;
            lab_new(&lab, &shapes[i]);
            const gka_problem *const p = &lab.problem;
            const gka_of y = (gka_of)of;
            direction_new(p, y, 11, &a);
            direction_new(p, y, 12, &b);
            direction_new(p, y, 0, &Ha);
            direction_new(p, y, 0, &Hb);
            hessian(p, y, &a, &Ha);
            hessian(p, y, &b, &Hb);
            const double kappa = 1 + 1 / p->ridge_ratio, left = dot(p, y, &b, &Ha),
                         right = dot(p, y, &a, &Hb),
                         size = sqrt(dot(p, y, &b, &b)) * sqrt(dot(p, y, &Ha, &Ha));
            const double bound = (double)(p->T * p->D * p->D) * kappa * kappa * 0x1p-53 * size;
            if (!(fabs(left - right) <= bound))
                fail_msg("of %d, shape %d: %.17g and %.17g", of, i, left, right);
            direction_free(&a);
            direction_free(&b);
            direction_free(&Ha);
            direction_free(&Hb);
            lab_free(&lab);
        }
}

/* Slots left out of a direction are zeros, slots left out of the product are not written, and an
 * empty state (after a gate of -inf, a key of zeros) gives no NaN. */
static void test_parts(void **state) {
    (void)state;
    const lab_shape shape = {.B = 1,
                             .T = 6,
                             .H = 2,
                             .G = 2,
                             .D = 4,
                             .V = 3,
                             .gate = true,
                             .cut = true,
                             .silent = true,
                             .alpha = true,
                             .seed = 8};
    lab_case lab;
    gka_direction full, out, part = {0}, some = {0};
    lab_new(&lab, &shape);
    const gka_problem *const p = &lab.problem;
    direction_new(p, GKA_OF_O, 3, &full);
    direction_new(p, GKA_OF_O, 0, &out);
    slot s[SLOTS];
    slots_of(p, GKA_OF_O, &full, s);
    for (int i = 0; i < SLOTS; i++)
        for (int64_t j = 0; i != 1 && j < s[i].count; j++)
            (*s[i].at)[j] = 0;
    hessian(p, GKA_OF_O, &full, &out);
    slots_of(p, GKA_OF_O, &out, s);
    for (int i = 0; i < SLOTS; i++)
        for (int64_t j = 0; j < s[i].count; j++)
            assert_true(isfinite((*s[i].at)[j]));
    part.k = full.k;
    double g[12];
    some.g = g;
    hessian(p, GKA_OF_O, &part, &some);
    assert_memory_equal(g, out.g, sizeof g);
    direction_free(&full);
    direction_free(&out);
    lab_free(&lab);
}

/* Of the problem or of the options: refused, for the product is that of the ridge a f. */
static void test_constant_ridge(void **state) {
    (void)state;
    lab_case lab;
    lab_new(&lab, &shapes[1]);
    const gka_oracle_options options[] = {{0}, {.ridge = 0.5}};
    for (int i = 0; i < 3; i++) {
        gka_direction none = {0};
        gka_error error = {0};
        lab.problem.lambda = i == 2 ? 0.5 : 0;
        assert_int_equal(
            gka_oracle_hessian(&lab.problem, GKA_OF_O, &options[i % 2], &none, &none, &error),
            i == 0 ? GKA_OK : GKA_UNSUPPORTED);
    }
    lab_free(&lab);
}

typedef struct multiplying {
    const gka_problem *problem;
    gka_direction along, product;
} multiplying;

static gka_status multiply(void *context) {
    multiplying *const a = context;
    return gka_oracle_hessian(a->problem, GKA_OF_O, NULL, &a->along, &a->product, NULL);
}

static void test_failing_allocations(void **state) {
    (void)state;
    lab_case lab;
    lab_new(&lab, &shapes[1]);
    multiplying a = {.problem = &lab.problem};
    direction_new(&lab.problem, GKA_OF_O, 9, &a.along);
    direction_new(&lab.problem, GKA_OF_O, 0, &a.product);
    (void)allocations_fail(multiply, &a);
    direction_free(&a.along);
    direction_free(&a.product);
    lab_free(&lab);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prop_hessian_is_the_derivative),
        cmocka_unit_test(prop_symmetric),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_constant_ridge),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests_name("hessian", tests, NULL, NULL);
}
