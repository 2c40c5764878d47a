/* condition.c - gka_condition: kappa against a dense Jacobian by differences, the typical change
 * against its Frobenius norm, the floor against rounding by hand; the released form is unstable
 * where the two-term form is at its floor. */
#include "oracle.h"

#include "gka/condition.h"
#include "gka/judge.h"

enum { MOST = 64 };

/* ---- against a dense Jacobian -------------------------------------------------------------- */

typedef struct answers {
    gka_outputs forward, solve, layer;
} answers;

static void answers_new(const gka_problem *p, answers *a) {
    lab_exact_new(p, &a->forward);
    lab_exact_new(p, &a->solve);
    lab_exact_new(p, &a->layer);
}

static void answers_free(const gka_problem *p, answers *a) {
    lab_exact_free(p, &a->forward);
    lab_exact_free(p, &a->solve);
    lab_exact_free(p, &a->layer);
}

static void answer(const gka_problem *p, answers *a) {
    lab_forward(p, GKA_ORACLE_FP64, &a->forward, NULL);
    lab_gradient(p, GKA_OF_X, GKA_ORACLE_FP64, &a->solve, NULL);
    lab_gradient(p, GKA_OF_O, GKA_ORACLE_FP64, &a->layer, NULL);
}

/* Output number `row`, in the order of gka/condition.h. */
static const double *output_of(const gka_problem *p, const answers *a, int row, int64_t *count) {
    const int64_t tokens = p->B * p->T * p->H, rows = p->B * p->T * p->G;
    const struct {
        const double *at;
        int64_t count;
    } outputs[GKA_CONDITION_ROWS] = {
        {a->forward.x, tokens * p->D},      {a->forward.o, tokens * p->V},
        {a->solve.solve.dq, tokens * p->D}, {a->solve.solve.dk, rows * p->D},
        {a->solve.solve.dg, tokens},        {a->layer.layer.dq, tokens * p->D},
        {a->layer.layer.dk, rows * p->D},   {a->layer.layer.dv, rows * p->V},
        {a->layer.layer.dalpha, tokens},    {a->layer.layer.dg, tokens}};
    *count = outputs[row].count;
    return outputs[row].at;
}

/* Column `element` of every output's Jacobian by one input: (8 (Y(h) - Y(-h)) - (Y(2h) - Y(-2h)))/
 * (12 h), off by h^4/30 of the fifth derivative, 2^-52 kappa^6, and by u/h = 2^-41. */
static void column(lab_case *lab, double *element, answers *a,
                   double columns[GKA_CONDITION_ROWS][MOST]) {
    static const double at[4] = {1, -1, 2, -2}, weight[4] = {8, -8, -1, 1};
    const double h = 0x1p-12, kept = *element;
    memset(columns, 0, GKA_CONDITION_ROWS * sizeof columns[0]);
    for (int k = 0; k < 4; k++) {
        *element = kept + at[k] * h;
        answer(&lab->problem, a);
        for (int row = 0; row < GKA_CONDITION_ROWS; row++) {
            int64_t count;
            const double *const y = output_of(&lab->problem, a, row, &count);
            for (int64_t i = 0; i < count; i++)
                columns[row][i] += weight[k] / (12 * h) * y[i];
        }
    }
    *element = kept;
}

static double norm(int64_t n, const double *x) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sqrt(sum);
}

/* ||J||_2 of J [columns][MOST]: the largest that 100 steps of the power method give from two
 * random vectors. */
static double spectral(int64_t rows, int64_t columns, double (*J)[MOST]) {
    double largest = 0;
    for (uint64_t start = 1; start <= 2; start++) {
        double v[MOST], w[MOST], sigma = 0;
        for (int64_t j = 0; j < columns; j++)
            v[j] = lab_draw(start, 60, (uint64_t)j);
        for (int step = 0; step < 100; step++) {
            memset(w, 0, sizeof w);
            for (int64_t j = 0; j < columns; j++)
                for (int64_t i = 0; i < rows; i++)
                    w[i] += J[j][i] * v[j];
            sigma = norm(rows, w);
            double size = 0;
            for (int64_t j = 0; j < columns; j++) {
                v[j] = 0;
                for (int64_t i = 0; i < rows; i++)
                    v[j] += J[j][i] * w[i];
                size += v[j] * v[j];
            }
            for (int64_t j = 0; j < columns && size > 0; j++)
                v[j] /= sqrt(size);
        }
        largest = fmax(largest, sigma);
    }
    return largest;
}

/* Power iteration comes from below; that it stops within a tenth is a fact of these problems, not a
 * theorem. The typical change is the root mean square of 8 draws of a quadratic form whose mean is
 * u^2 ||J diag(Z)||_F^2/3; the variance of such a form is below twice its mean squared, so that of
 * the mean of 8 below a quarter: 2.5 is three standard deviations. */
static void prop_against_a_dense_jacobian(void **state) {
    (void)state;
    static double J[GKA_CONDITION_ROWS][MOST][MOST];
    gka_oracle_hold();
    for (uint64_t seed = 1; seed <= 3; seed++) {
        const lab_shape shape = {.B = 1,
                                 .T = 6,
                                 .H = seed == 2 ? 2 : 1,
                                 .G = 1,
                                 .D = 4,
                                 .V = 3,
                                 .a = .1,
                                 .gate = true,
                                 .alpha = true,
                                 .seed = seed};
        lab_case lab;
        answers base, moved;
        lab_new(&lab, &shape);
        const gka_problem *const p = &lab.problem;
        const int64_t tokens = p->T * p->H, keys = p->T;
        double *const inputs[GKA_INPUTS] = {lab.q, lab.k, lab.v, lab.alpha, lab.g};
        const int64_t counts[GKA_INPUTS] = {tokens * p->D, keys * p->D, keys * p->V, tokens,
                                            tokens};
        gka_kernel exact64;
        gka_error error = {0};
        gka_condition_row rows[GKA_CONDITION_ROWS];
        size_t row_count;
        assert_int_equal(gka_kernel_find("exact64", &exact64, &error), GKA_OK);
        const gka_condition_options options = {.emulate = &exact64};
        if (gka_condition(p, &options, rows, &row_count, &error) != GKA_OK)
            fail_msg("%s", error.text);
        assert_int_equal(row_count, GKA_CONDITION_ROWS);
        answers_new(p, &base);
        answers_new(p, &moved);
        answer(p, &base);
        for (int in = 0; in < GKA_INPUTS; in++) {
            for (int64_t j = 0; j < counts[in]; j++) {
                double columns[GKA_CONDITION_ROWS][MOST];
                column(&lab, &inputs[in][j], &moved, columns);
                for (int row = 0; row < GKA_CONDITION_ROWS; row++)
                    memcpy(J[row][j], columns[row], sizeof columns[row]);
            }
            for (int row = 0; row < GKA_CONDITION_ROWS; row++) {
                int64_t count;
                const double *const y = output_of(p, &base, row, &count);
                const double size = norm(count, y), Z = norm(counts[in], inputs[in]);
                const gka_sensitivity *const s = &rows[row].of[in];
                const double kappa = spectral(count, counts[in], J[row]) * Z / size;
                double frobenius = 0;
                for (int64_t j = 0; j < counts[in]; j++)
                    for (int64_t i = 0; i < count; i++)
                        frobenius += J[row][j][i] * J[row][j][i] * inputs[in][j] * inputs[in][j];
                const double typical = s->unit * sqrt(frobenius / 3) / size;
                const double squared = s->typical * s->typical / (typical * typical);
                if (kappa < 1e-6 && !(s->kappa < 1e-6)) /* not read */
                    fail_msg("%s by %s: kappa %g", rows[row].name, gka_input_name((gka_input)in),
                             s->kappa);
                if (kappa >= 1e-6 && !(s->kappa <= kappa * (1 + 1e-6) && s->kappa >= .9 * kappa))
                    fail_msg("%s by %s: kappa %g, by differences %g", rows[row].name,
                             gka_input_name((gka_input)in), s->kappa, kappa);
                if (kappa >= 1e-6 && !(squared <= 2.5 && squared >= .1))
                    fail_msg("%s by %s: typical %g, by differences %g", rows[row].name,
                             gka_input_name((gka_input)in), s->typical, typical);
            }
        }
        answers_free(p, &base);
        answers_free(p, &moved);
        lab_free(&lab);
    }
    gka_oracle_let_go();
}

/* ---- floors and words ---------------------------------------------------------------------- */

static void make(gka_keys keys, int64_t T, int64_t D, gka_problem *p) {
    const gka_generator g = {.keys = keys,
                             .gate = GKA_GATE_RELEASED,
                             .B = 1,
                             .T = T,
                             .H = 1,
                             .G = 1,
                             .D = D,
                             .V = D,
                             .alpha = true,
                             .cotangents = true,
                             .dtype = GKA_BF16,
                             .seed = 1};
    gka_error error = {0};
    if (gka_problem_generate(&g, p, &error) != GKA_OK)
        fail_msg("%s", error.text);
}

static gka_kernel kernel_of(const char *name) {
    gka_kernel kernel;
    assert_int_equal(gka_kernel_find(name, &kernel, NULL), GKA_OK);
    return kernel;
}

static void condition(const gka_problem *p, const gka_kernel *kernel, gka_condition_row *rows) {
    const gka_condition_options options = {.emulate = kernel};
    size_t count;
    gka_error error = {0};
    if (gka_condition(p, &options, rows, &count, &error) != GKA_OK)
        fail_msg("%s", error.text);
    assert_int_equal(count, GKA_CONDITION_ROWS);
}

static void stored(const char *format, size_t n, const double *x, double *out) {
    gka_round_array(gka_format_find(format), GKA_NEAREST_EVEN, 0, 0, n, x, out);
}

static void test_floor(void **state) {
    (void)state;
    enum { T = 24, D = 16, N = T * D };
    gka_problem p;
    gka_condition_row rows[GKA_CONDITION_ROWS];
    make(GKA_KEYS_IID, T, D, &p);
    const gka_kernel exact64 = kernel_of("exact64/two-term");
    condition(&p, &exact64, rows);
    double x[N], f[T], dp[N], dk[N], rounded_x[N], rounded_f[T], rounded_p[N], rounded_dk[N];
    gka_outputs forward = {.x = x, .fro = f}, solve = {.solve.p = dp, .solve.dk = dk};
    assert_int_equal(gka_oracle_forward(&p, NULL, &forward, NULL, NULL, NULL), GKA_OK);
    assert_int_equal(gka_oracle_gradient(&p, GKA_OF_X, NULL, &solve, NULL, NULL, NULL), GKA_OK);
    stored("bf16", N, x, rounded_x);
    stored("fp32", T, f, rounded_f);
    stored("bf16", N, dp, rounded_p);
    assert_true(bits_of(rows[0].floor) == bits_of(gka_rel_err(N, rounded_x, x)));
    assert_true(bits_of(rows[2].floor) == bits_of(gka_rel_err(N, rounded_p, dp)));
    const gka_chunk_given given = {.at.x = rounded_x, .at.fro = rounded_f, .at.p = rounded_p};
    gka_outputs out = {.solve.dk = rounded_dk};
    assert_int_equal(gka_chunk_backward(&p, &exact64.profile, GKA_OF_X, true, &given, &out, NULL),
                     GKA_OK);
    stored("bf16", N, rounded_dk, rounded_dk);
    assert_true(bits_of(rows[3].floor) == bits_of(gka_rel_err(N, rounded_dk, dk)));
    gka_problem_free(&p);
}

/* One key repeated: the released three-term form loses more than ten times what storage and
 * rounding explain; the two-term form, at the same bytes and products, less than twice. */
static void test_words(void **state) {
    (void)state;
    gka_problem p;
    gka_condition_row rows[GKA_CONDITION_ROWS];
    make(GKA_KEYS_REPEAT, 16, 16, &p);
    const gka_kernel three = kernel_of("h100"), two = kernel_of("h100/two-term");
    condition(&p, &three, rows);
    for (int i = 0; i < GKA_CONDITION_ROWS; i++)
        assert_string_equal(rows[i].name, gka_condition_names[i]);
    assert_string_equal(rows[3].name, "solve.dk");
    assert_int_equal(rows[3].word, GKA_UNSTABLE);
    assert_true(rows[3].ratio > 10);
    assert_true(rows[3].worst > 1); /* in the worst direction rounding could do anything */
    condition(&p, &two, rows);
    assert_int_equal(rows[3].word, GKA_ILL_CONDITIONED);
    assert_true(rows[3].ratio < 2);
    assert_string_equal(rows[0].name, "x");
    assert_int_equal(rows[0].word, GKA_STABLE);
    gka_problem_free(&p);
    const char *const words[] = {"stable", "ill-conditioned", "unstable", "not finite"};
    for (int i = 0; i < 4; i++)
        assert_string_equal(gka_stability_name((gka_stability)i), words[i]);
}

static gka_status iterate(void *problem) {
    gka_iterations_row row;
    return gka_iterations(problem, GKA_TWO_TERM, 2, &row, NULL);
}

/* ---- the finite iteration ------------------------------------------------------------------ */

/* x is within 1/T_(r+1)(1 + 2a) (|rho_r| on [lambda, f + lambda] times x, token by token). The
 * implicit dq is the derivative, to rounding: r steps forth and r back, each off by (D + 4) u and
 * magnified by kappa = 1 + 1/a at most. dk is not: here between once and ten times the bound apart,
 * the derivative farther from the exact gradient than the implicit formula. Iterates recomputed
 * backwards cost rounding of the same size, nothing like the 1e8 by which they are magnified at a =
 * .1, r = 30. */
static void test_iterations(void **state) {
    (void)state;
    gka_problem p;
    make(GKA_KEYS_IID, 40, 16, &p);
    static const double ridges[] = {.02, .1};
    static const int steps[] = {5, 10, 20, 30};
    for (int a = 0; a < 2; a++)
        for (int form = GKA_THREE_TERM; form <= GKA_TWO_TERM; form++)
            for (int n = 0; n < 4; n++) {
                gka_iterations_row row;
                gka_error error = {0};
                p.ridge_ratio = ridges[a];
                if (gka_iterations(&p, (gka_form)form, steps[n], &row, &error) != GKA_OK)
                    fail_msg("%s", error.text);
                const double rounding =
                    2 * (steps[n] + 1) * (1 + 1 / ridges[a]) * (16 + 4) * 0x1p-53;
                assert_true(row.x <= row.bound && row.x >= .1 * row.bound);
                assert_true(row.apart[GKA_ITERATED_DQ] <= rounding);
                assert_true(row.apart[GKA_ITERATED_DK] >= row.bound);
                assert_true(row.apart[GKA_ITERATED_DK] <= 10 * row.bound);
                assert_true(row.apart[GKA_ITERATED_DG] >= .1 * row.bound);
                assert_true(row.derivative[GKA_ITERATED_DK] > row.implicit[GKA_ITERATED_DK]);
                for (int i = 0; i < GKA_ITERATED; i++)
                    assert_true(row.reversed[i] <= rounding);
            }
    /* the table of NUMERICS 3 */
    gka_iterations_row row;
    p.ridge_ratio = .1;
    assert_int_equal(gka_iterations(&p, GKA_THREE_TERM, 30, &row, NULL), GKA_OK);
    assert_true(fabs(row.bound - 8.36e-9) < .005e-9);
    assert_int_equal(gka_iterations(&p, GKA_FORM_CG, 30, &row, NULL), GKA_BAD_ARGUMENT);
    const gka_view dx = p.dx, g = p.g;
    p.dx.data = NULL;
    assert_int_equal(gka_iterations(&p, GKA_THREE_TERM, 30, &row, NULL), GKA_BAD_ARGUMENT);
    p.dx = dx;
    p.g.data = NULL;
    assert_int_equal(gka_iterations(&p, GKA_THREE_TERM, 5, &row, NULL), GKA_OK);
    assert_true(isnan(row.apart[GKA_ITERATED_DG]) && row.apart[GKA_ITERATED_DK] > 0);
    p.g = g;
    (void)allocations_fail(iterate, &p);
    gka_problem_free(&p);
}

static gka_status condition_once(void *problem) {
    const gka_kernel exact64 = kernel_of("exact64");
    const gka_condition_options options = {.emulate = &exact64};
    gka_condition_row rows[GKA_CONDITION_ROWS];
    size_t count;
    return gka_condition(problem, &options, rows, &count, NULL);
}

static void test_failing_allocations(void **state) {
    (void)state;
    gka_problem p;
    make(GKA_KEYS_IID, 2, 2, &p);
    (void)some_allocations_fail(condition_once, &p, false, 4);
    gka_problem_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prop_against_a_dense_jacobian),
        cmocka_unit_test(test_floor),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_iterations),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests_name("condition", tests, NULL, NULL);
}
