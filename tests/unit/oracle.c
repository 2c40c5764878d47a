/* oracle.c - the exact oracles at the edges of NUMERICS 1, and what they promise beside numbers:
 * statuses, allocations, threads, progress.
 */
#include "oracle.h"

#include <mpfr.h>

static const gka_oracle both[] = {GKA_ORACLE_FP64, GKA_ORACLE_MPFR};
enum { BOTH = 2 };

static const lab_shape plain = {.B = 2,
                                .T = 9,
                                .H = 4,
                                .G = 2,
                                .D = 3,
                                .V = 2,
                                .gate = true,
                                .alpha = true,
                                .states = true,
                                .cut = true,
                                .seed = 1};

/* Forward, then the gradient of o, of one problem. */
static void answer(const gka_problem *problem, gka_oracle oracle, gka_outputs *out) {
    lab_exact_new(problem, out);
    lab_forward(problem, oracle, out, NULL);
    lab_gradient(problem, GKA_OF_O, oracle, out, NULL);
}

static void assert_same(const char *what, int64_t n, const double *a, const double *b) {
    for (int64_t i = 0; i < n; i++)
        if (bits_of(a[i]) != bits_of(b[i]))
            fail_msg("%s[%lld]: %a, %a", what, (long long)i, a[i], b[i]);
}

static void assert_all_same(const gka_problem *problem, gka_outputs *a, gka_outputs *b) {
    lab_member ma[LAB_MEMBERS], mb[LAB_MEMBERS];
    lab_members(problem, a, ma);
    lab_members(problem, b, mb);
    for (int i = 0; i < LAB_MEMBERS; i++)
        assert_same(ma[i].name, ma[i].count, *ma[i].at, *mb[i].at);
}

static void assert_near(double x, double expected, double tolerance) {
    if (!(fabs(x - expected) <= tolerance * fabs(expected)))
        fail_msg("%.17g, expected %.17g", x, expected);
}

/* ---- names --------------------------------------------------------------------------------- */

static void test_names(void **state) {
    (void)state;
    for (int i = GKA_ORACLE_FP64; i <= GKA_ORACLE_MPFR; i++)
        assert_int_equal(gka_oracle_find(gka_oracle_name((gka_oracle)i)), i);
    assert_string_equal(gka_oracle_name(GKA_ORACLE_CERTIFIED), "certified");
    assert_int_equal(gka_oracle_find("fp32"), -1);
    assert_string_equal(gka_oracle_name((gka_oracle)7), "unknown oracle");
}

/* ---- numbers known without an oracle --------------------------------------------------------- */

/* D = 1: H = f = k^2, x = q/((1+a) k^2). With k = 2, a = 1.25 the pivot is 3^2; q = 9, alpha = .5,
 * v = 5, s = 1, do = 1. */
static void test_one_number(void **state) {
    (void)state;
    const lab_shape shape = {
        .B = 1, .T = 1, .H = 1, .G = 1, .D = 1, .V = 1, .a = 1.25, .alpha = true};
    for (int o = 0; o < BOTH; o++) {
        lab_case lab;
        gka_outputs out;
        lab_new(&lab, &shape);
        lab.q[0] = 9, lab.k[0] = 2, lab.v[0] = 5, lab.alpha[0] = .5, lab.dout[0] = 1;
        answer(&lab.problem, both[o], &out);
        assert_int_equal(bits_of(out.fro[0]), bits_of(4));
        assert_int_equal(bits_of(out.lambda[0]), bits_of(5));
        assert_int_equal(bits_of(out.x[0]), bits_of(1));
        assert_int_equal(bits_of(out.kappa[0]), bits_of(1));
        assert_int_equal(bits_of(out.o[0]), bits_of(50)); /* k v (q + x)/2 */
        assert_int_equal(bits_of(out.h_chunk[0]), bits_of(0));
        assert_int_equal(bits_of(out.h_final[0]), bits_of(4));
        assert_int_equal(bits_of(out.u_final[0]), bits_of(10));
        /* x falls with k as -2x/k, so do/dk = v (q + x)/2 - v x */
        assert_near(out.layer.dk[0], 20, 0x1p-50);
        assert_near(out.layer.dv[0], 10, 0x1p-50);
        assert_near(out.layer.dq[0], 10 * (.5 + .5 / 9), 0x1p-50);
        assert_near(out.layer.dalpha[0], 10 * (1 - 9), 0x1p-50);
        lab_exact_free(&lab.problem, &out);
        lab_free(&lab);
    }
}

/* H of rank one has eigenvalues f and 0: kappa = (1 + a)/a, its largest possible. */
static void test_condition_of_one_key(void **state) {
    (void)state;
    const lab_shape shape = {.B = 1, .T = 1, .H = 1, .G = 1, .D = 4, .V = 0};
    for (int o = 0; o < BOTH; o++) {
        lab_case lab;
        double kappa;
        gka_outputs out = {.kappa = &kappa};
        lab_new(&lab, &shape);
        lab_forward(&lab.problem, both[o], &out, NULL);
        assert_near(kappa, 51, 100 * 51 * 0x1p-53); /* LAPACK: a few D u ||M|| on m = ||M||/51 */
        lab_free(&lab);
    }
}

/* ---- edges of NUMERICS 1 ------------------------------------------------------------------- */

static void test_no_tokens(void **state) {
    (void)state;
    for (int o = 0; o < BOTH; o++) {
        lab_shape shape = plain;
        lab_case lab;
        gka_outputs out;
        shape.T = 0;
        shape.cut = false;
        lab_new(&lab, &shape);
        answer(&lab.problem, both[o], &out);
        assert_same("h_final", 2 * 4 * 9, out.h_final, lab.h0);
        assert_same("u_final", 2 * 4 * 6, out.u_final, lab.u0);
        for (int i = 0; i < 2 * 4 * 9; i++)
            assert_int_equal(bits_of(out.layer.dh0[i]), 0);
        assert_int_equal(gka_problem_chunks(&lab.problem), 0);
        lab_exact_free(&lab.problem, &out);
        lab_free(&lab);

        shape = plain;
        shape.B = 0;
        shape.cut = false;
        lab_new(&lab, &shape);
        answer(&lab.problem, both[o], &out);
        lab_exact_free(&lab.problem, &out);
        lab_free(&lab);
    }
}

/* Two silent tokens, then a key: x = 0, p = 0 while the state is empty, o = s U^T (1 - alpha) q. */
static void test_empty_state(void **state) {
    (void)state;
    const lab_shape shape = {
        .B = 1, .T = 3, .H = 1, .G = 1, .D = 2, .V = 1, .alpha = true, .states = true, .seed = 3};
    for (int o = 0; o < BOTH; o++) {
        lab_case lab;
        gka_outputs out;
        gka_oracle_report report;
        const gka_oracle_options options = {.oracle = both[o]};
        lab_new(&lab, &shape);
        memset(lab.h0, 0, 4 * sizeof(double));
        memset(lab.k, 0, 4 * sizeof(double));
        lab.alpha[0] = .25;
        answer(&lab.problem, both[o], &out);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(bits_of(out.x[i]), 0);
            assert_int_equal(bits_of(out.layer.p[i]), 0);
        }
        assert_near(out.o[0],
                    lab.problem.scale * .75 * (lab.u0[0] * lab.q[0] + lab.u0[1] * lab.q[1]),
                    0x1p-48);
        assert_true(isnan(out.kappa[0]) && isnan(out.kappa[1]) && !isnan(out.kappa[2]));
        for (int i = 0; i < 6; i++)
            assert_true(isfinite(out.layer.dq[i]) && isfinite(out.layer.dk[i]) &&
                        isfinite(out.x[i]));
        assert_int_equal(gka_oracle_forward(&lab.problem, &options, &out, NULL, &report, NULL),
                         GKA_OK);
        assert_int_equal(report.solves, 3);
        assert_int_equal(report.empty_states, 2);
        lab_exact_free(&lab.problem, &out);
        lab_free(&lab);
    }
}

/* g = -inf at token t: from there on everything is as if the sequence began at t without a state;
 * before, as if it ended. */
static void test_restart_is_a_new_sequence(void **state) {
    (void)state;
    lab_shape shape = plain;
    shape.B = shape.H = shape.G = 1;
    const int64_t cut = shape.T / 2, D = shape.D, V = shape.V;
    for (int o = 0; o < BOTH; o++) {
        lab_case lab;
        gka_outputs whole, part;
        lab_new(&lab, &shape);
        answer(&lab.problem, both[o], &whole);
        gka_problem rest = lab.problem;
        gka_view *const views[] = {&rest.q, &rest.k, &rest.v, &rest.alpha, &rest.g, &rest.dout};
        for (int i = 0; i < 6; i++) {
            views[i]->data = (const double *)views[i]->data + cut * views[i]->stride[1];
            views[i]->shape[1] = shape.T - cut;
        }
        rest.T = shape.T - cut;
        rest.dx = rest.h0 = rest.u0 = (gka_view){0};
        answer(&rest, both[o], &part);
        assert_same("x", rest.T * D, whole.x + cut * D, part.x);
        assert_same("o", rest.T * V, whole.o + cut * V, part.o);
        assert_same("dk", rest.T * D, whole.layer.dk + cut * D, part.layer.dk);
        assert_same("dg", rest.T, whole.layer.dg + cut, part.layer.dg);
        assert_int_equal(bits_of(fabs(whole.layer.dg[cut])), 0);
        lab_exact_free(&rest, &part);
        rest = lab.problem;
        gka_view *const heads[] = {&rest.q,    &rest.k, &rest.v, &rest.alpha,
                                   &rest.dout, &rest.g, &rest.dx};
        for (int i = 0; i < 7; i++)
            heads[i]->shape[1] = cut;
        rest.T = cut;
        answer(&rest, both[o], &part);
        assert_same("o", cut * V, whole.o, part.o);
        assert_same("dk", cut * D, whole.layer.dk, part.layer.dk);
        assert_same("dg", cut, whole.layer.dg, part.layer.dg);
        assert_same("dh0", D * D, whole.layer.dh0, part.layer.dh0);
        lab_exact_free(&rest, &part);
        lab_exact_free(&lab.problem, &whole);
        lab_free(&lab);
    }
}

/* Packed sequences are what they are one by one, chunks included; one of them is empty. */
static void test_packed_sequences(void **state) {
    (void)state;
    const lab_shape shape = {.B = 1,
                             .T = 12,
                             .H = 2,
                             .G = 1,
                             .D = 3,
                             .V = 2,
                             .gate = true,
                             .states = true,
                             .packed = true,
                             .seed = 5};
    const int64_t D = 3, V = 2, H = 2;
    for (int o = 0; o < BOTH; o++) {
        lab_case lab;
        gka_outputs whole, part;
        lab_new(&lab, &shape);
        answer(&lab.problem, both[o], &whole);
        assert_int_equal(gka_problem_chunks(&lab.problem), 1 + 0 + 3 + 1);
        int64_t chunk = 0;
        for (int64_t n = 0; n < 4; n++) {
            const gka_span span = gka_problem_span(&lab.problem, n);
            const int64_t t = span.begin, T = span.end - span.begin;
            gka_problem one = lab.problem;
            one.cu_seqlens = NULL;
            one.N = 1;
            one.T = T;
            gka_view *const views[] = {&one.q, &one.k, &one.v, &one.g, &one.dout, &one.dx};
            for (int i = 0; i < 6; i++) {
                views[i]->data = (const double *)views[i]->data + t * views[i]->stride[1];
                views[i]->shape[1] = T;
            }
            gka_view *const states[] = {&one.h0, &one.u0};
            for (int i = 0; i < 2; i++) {
                states[i]->data = (const double *)states[i]->data + n * states[i]->stride[0];
                states[i]->shape[0] = 1;
            }
            answer(&one, both[o], &part);
            const int64_t chunks = gka_problem_chunks(&one);
            assert_same("x", T * H * D, whole.x + t * H * D, part.x);
            assert_same("o", T * H * V, whole.o + t * H * V, part.o);
            assert_same("dk", T * D, whole.layer.dk + t * D, part.layer.dk);
            assert_same("dv", T * V, whole.layer.dv + t * V, part.layer.dv);
            assert_same("dg", T * H, whole.layer.dg + t * H, part.layer.dg);
            assert_same("h_final", H * D * D, whole.h_final + n * H * D * D, part.h_final);
            assert_same("dh0", H * D * D, whole.layer.dh0 + n * H * D * D, part.layer.dh0);
            assert_same("du0", H * D * V, whole.layer.du0 + n * H * D * V, part.layer.du0);
            assert_same("h_chunk", chunks * H * D * D, whole.h_chunk + chunk * H * D * D,
                        part.h_chunk);
            assert_same("u_chunk", chunks * H * D * V, whole.u_chunk + chunk * H * D * V,
                        part.u_chunk);
            chunk += chunks;
            lab_exact_free(&one, &part);
        }
        lab_exact_free(&lab.problem, &whole);
        lab_free(&lab);
    }
}

/* The state before chunk c is the final state of the first c C tokens. */
static void test_chunk_states(void **state) {
    (void)state;
    lab_shape shape = plain;
    shape.B = 1;
    const int64_t size = shape.H * shape.D * shape.D;
    for (int o = 0; o < BOTH; o++) {
        lab_case lab;
        gka_outputs whole, part;
        lab_new(&lab, &shape);
        answer(&lab.problem, both[o], &whole);
        assert_int_equal(gka_problem_chunks(&lab.problem), 3);
        for (int64_t chunk = 0; chunk < 3; chunk++) {
            gka_problem first = lab.problem;
            gka_view *const views[] = {&first.q, &first.k,    &first.v, &first.alpha,
                                       &first.g, &first.dout, &first.dx};
            first.T = chunk * first.chunk_size;
            for (int i = 0; i < 7; i++)
                views[i]->shape[1] = first.T;
            answer(&first, both[o], &part);
            assert_same("h_chunk", size, whole.h_chunk + chunk * size, part.h_final);
            lab_exact_free(&first, &part);
        }
        lab_exact_free(&lab.problem, &whole);
        lab_free(&lab);
    }
}

/* Two query heads on one key head are two heads with equal keys whose dk and dv add up. */
static void test_grouped_heads(void **state) {
    (void)state;
    lab_shape grouped = plain, repeated = plain;
    grouped.H = repeated.H = repeated.G = 2;
    grouped.G = 1;
    const int64_t D = plain.D, V = plain.V, tokens = plain.B * plain.T;
    for (int o = 0; o < BOTH; o++) {
        lab_case one, two;
        gka_outputs a, b;
        lab_new(&one, &grouped);
        lab_new(&two, &repeated);
        for (int64_t i = 0; i < tokens * 2; i++) {
            memcpy(two.k + i * D, one.k + i / 2 * D, (size_t)D * sizeof(double));
            memcpy(two.v + i * V, one.v + i / 2 * V, (size_t)V * sizeof(double));
        }
        answer(&one.problem, both[o], &a);
        answer(&two.problem, both[o], &b);
        assert_same("o", tokens * 2 * V, a.o, b.o);
        assert_same("dq", tokens * 2 * D, a.layer.dq, b.layer.dq);
        assert_same("dg", tokens * 2, a.layer.dg, b.layer.dg);
        for (int64_t i = 0; i < tokens; i++) {
            for (int64_t j = 0; j < D; j++)
                assert_near(a.layer.dk[i * D + j],
                            b.layer.dk[2 * i * D + j] + b.layer.dk[(2 * i + 1) * D + j], 0x1p-40);
            for (int64_t j = 0; j < V; j++)
                assert_near(a.layer.dv[i * V + j],
                            b.layer.dv[2 * i * V + j] + b.layer.dv[(2 * i + 1) * V + j], 0x1p-40);
        }
        lab_exact_free(&one.problem, &a);
        lab_exact_free(&two.problem, &b);
        lab_free(&one);
        lab_free(&two);
    }
}

static void test_h0_is_symmetrised(void **state) {
    (void)state;
    for (int o = 0; o < BOTH; o++) {
        lab_case lab;
        gka_outputs symmetric, skewed;
        lab_new(&lab, &plain);
        answer(&lab.problem, both[o], &symmetric);
        lab.h0[1] += .125; /* (0,1) and (1,0) of the first head */
        lab.h0[3] -= .125;
        answer(&lab.problem, both[o], &skewed);
        assert_all_same(&lab.problem, &symmetric, &skewed);
        lab_exact_free(&lab.problem, &symmetric);
        lab_exact_free(&lab.problem, &skewed);
        lab_free(&lab);
    }
}

/* h0 = diag(1, -3), a small key: H + lambda I is indefinite and still solved. */
static void test_indefinite_h0(void **state) {
    (void)state;
    const lab_shape shape = {
        .B = 1, .T = 2, .H = 1, .G = 1, .D = 2, .V = 1, .alpha = true, .states = true, .seed = 4};
    static const double h0[4] = {1, 0, 0, -3};
    gka_outputs out[BOTH];
    lab_case lab;
    lab_new(&lab, &shape);
    memcpy(lab.h0, h0, sizeof h0);
    for (int i = 0; i < 4; i++)
        lab.k[i] *= .25;
    for (int o = 0; o < BOTH; o++) {
        answer(&lab.problem, both[o], &out[o]);
        for (int t = 0; t < 2; t++) { /* (H + lambda I) x = q */
            double H[4] = {1, 0, 0, -3};
            for (int i = 0; i <= t; i++)
                for (int j = 0; j < 4; j++)
                    H[j] += lab.k[2 * i + j / 2] * lab.k[2 * i + j % 2];
            assert_true(H[3] + out[o].lambda[t] < 0);
            for (int i = 0; i < 2; i++) {
                const double *const x = out[o].x + 2 * t;
                const double Mx = H[2 * i] * x[0] + H[2 * i + 1] * x[1] + out[o].lambda[t] * x[i];
                assert_true(fabs(Mx - lab.q[2 * t + i]) <= 0x1p-48);
            }
        }
    }
    for (int i = 0; i < 4; i++) {
        assert_near(out[0].layer.dk[i], out[1].layer.dk[i], 0x1p-44);
        assert_near(out[0].layer.dh0[i], out[1].layer.dh0[i], 0x1p-44);
    }
    for (int o = 0; o < BOTH; o++)
        lab_exact_free(&lab.problem, &out[o]);
    lab_free(&lab);
}

/* ---- statuses ------------------------------------------------------------------------------ */

static gka_status status_of(const gka_problem *problem, gka_oracle oracle, gka_outputs *out,
                            gka_error *error) {
    const gka_oracle_options options = {.oracle = oracle};
    return gka_oracle_forward(problem, &options, out, NULL, NULL, error);
}

/* One key, a = 1e-18: positive definite, but not for 53 bits. */
static void test_not_positive_definite(void **state) {
    (void)state;
    const lab_shape shape = {.B = 1, .T = 1, .H = 1, .G = 1, .D = 3, .V = 0, .a = 1e-18};
    lab_case lab;
    double x[3];
    gka_outputs out = {.x = x};
    gka_error error = {0};
    lab_new(&lab, &shape);
    assert_int_equal(status_of(&lab.problem, GKA_ORACLE_FP64, &out, &error),
                     GKA_NOT_POSITIVE_DEFINITE);
    assert_int_equal(error.status, GKA_NOT_POSITIVE_DEFINITE);
    assert_non_null(strstr(error.text, "sequence 0, token 0, head 0"));
    assert_int_equal(status_of(&lab.problem, GKA_ORACLE_MPFR, &out, NULL), GKA_OK);
    lab_free(&lab);
}

/* H = -1, a = 1: H + lambda = 0 exactly. */
static void test_singular(void **state) {
    (void)state;
    const lab_shape shape = {
        .B = 1, .T = 1, .H = 1, .G = 1, .D = 1, .V = 1, .a = 1, .states = true};
    for (int o = 0; o < BOTH; o++) {
        lab_case lab;
        double x, dq;
        gka_outputs out = {.x = &x, .layer.dq = &dq};
        const gka_oracle_options options = {.oracle = both[o]};
        lab_new(&lab, &shape);
        lab.h0[0] = -1;
        lab.k[0] = 0;
        assert_int_equal(status_of(&lab.problem, both[o], &out, NULL), GKA_NOT_POSITIVE_DEFINITE);
        assert_int_equal(
            gka_oracle_gradient(&lab.problem, GKA_OF_O, &options, &out, NULL, NULL, NULL),
            GKA_NOT_POSITIVE_DEFINITE);
        lab_free(&lab);
    }
}

/* k = 2^-600: k k^T is 0 in binary64, and fp64 says so rather than call the state empty. */
static void test_beyond_the_range(void **state) {
    (void)state;
    const lab_shape shape = {.B = 1, .T = 1, .H = 1, .G = 1, .D = 1, .V = 0, .a = 1};
    lab_case lab;
    double x;
    gka_outputs out = {.x = &x};
    lab_new(&lab, &shape);
    lab.k[0] = 0x1p-600;
    lab.q[0] = 0x1p-1000;
    assert_int_equal(status_of(&lab.problem, GKA_ORACLE_FP64, &out, NULL), GKA_UNSUPPORTED);
    assert_int_equal(status_of(&lab.problem, GKA_ORACLE_MPFR, &out, NULL), GKA_OK);
    assert_int_equal(bits_of(x), bits_of(0x1p199));
    lab.k[0] = 0x1p600;
    assert_int_equal(status_of(&lab.problem, GKA_ORACLE_FP64, &out, NULL), GKA_UNSUPPORTED);
    lab_free(&lab);
}

static void test_bad_arguments(void **state) {
    (void)state;
    lab_case lab;
    gka_outputs out = {0};
    gka_error error = {0};
    gka_oracle_options options = {.precision = 1};
    lab_new(&lab, &plain);
    assert_int_equal(gka_oracle_forward(&lab.problem, &options, &out, NULL, NULL, &error),
                     GKA_BAD_ARGUMENT);
    options.precision = 0;
    options.oracle = (gka_oracle)9;
    assert_int_equal(gka_oracle_forward(&lab.problem, &options, &out, NULL, NULL, &error),
                     GKA_BAD_ARGUMENT);
    options.oracle = GKA_ORACLE_FP64;
    lab.g[3] = 1;
    assert_int_equal(gka_oracle_forward(&lab.problem, &options, &out, NULL, NULL, &error),
                     GKA_BAD_ARGUMENT);
    lab.g[3] = 0;
    lab.problem.dx = lab.problem.dout = (gka_view){0};
    for (int i = 0; i < 2; i++)
        assert_int_equal(gka_oracle_gradient(&lab.problem, i == 0 ? GKA_OF_X : GKA_OF_O, &options,
                                             &out, NULL, NULL, &error),
                         GKA_BAD_ARGUMENT);
    lab_free(&lab);
}

/* ---- what is wanted, precision, second words ------------------------------------------------- */

/* Each member alone is what it is among all. */
static void test_members_alone(void **state) {
    (void)state;
    for (int o = 0; o < BOTH; o++) {
        lab_case lab;
        gka_outputs all, alone = {0};
        lab_member members[LAB_MEMBERS], one[LAB_MEMBERS];
        lab_new(&lab, &plain);
        answer(&lab.problem, both[o], &all);
        lab_members(&lab.problem, &all, members);
        lab_members(&lab.problem, &alone, one);
        for (int i = 0; i < LAB_MEMBERS; i++) {
            if (gka_output_table[one[i].output].pass == GKA_PASS_SOLVE)
                continue; /* the layer's gradients are asked for */
            *one[i].at = gka_alloc((size_t)one[i].count, sizeof(double));
            assert_non_null(*one[i].at);
            lab_forward(&lab.problem, both[o], &alone, NULL);
            lab_gradient(&lab.problem, GKA_OF_O, both[o], &alone, NULL);
            assert_same(one[i].name, one[i].count, *one[i].at, *members[i].at);
            gka_free(*one[i].at);
            *one[i].at = NULL;
        }
        lab_exact_free(&lab.problem, &all);
        lab_free(&lab);
    }
}

/* 256 bits give both words as 700 bits do; 30 bits do not give the first. fp64's second words are
 * zeros. */
static void test_precision(void **state) {
    (void)state;
    static const int precisions[] = {256, 700, 30};
    gka_outputs hi[3], lo[3];
    lab_case lab;
    lab_new(&lab, &plain);
    for (int i = 0; i < 3; i++) {
        const gka_oracle_options options = {.oracle = GKA_ORACLE_MPFR, .precision = precisions[i]};
        lab_exact_new(&lab.problem, &hi[i]);
        lab_exact_new(&lab.problem, &lo[i]);
        assert_int_equal(gka_oracle_forward(&lab.problem, &options, &hi[i], &lo[i], NULL, NULL),
                         GKA_OK);
        assert_int_equal(
            gka_oracle_gradient(&lab.problem, GKA_OF_O, &options, &hi[i], &lo[i], NULL, NULL),
            GKA_OK);
    }
    assert_all_same(&lab.problem, &hi[0], &hi[1]);
    assert_all_same(&lab.problem, &lo[0], &lo[1]);
    assert_true(bits_of(hi[0].x[0]) != bits_of(hi[2].x[0]));
    assert_true(fabs(lo[0].x[0]) > 0 && fabs(lo[0].x[0]) <= 0x1p-53 * fabs(hi[0].x[0]));
    lab_forward(&lab.problem, GKA_ORACLE_FP64, &hi[2], &lo[2]);
    lab_gradient(&lab.problem, GKA_OF_O, GKA_ORACLE_FP64, &hi[2], &lo[2]);
    lab_member members[LAB_MEMBERS];
    lab_members(&lab.problem, &lo[2], members);
    for (int i = 0; i < LAB_MEMBERS; i++)
        for (int64_t j = 0; j < members[i].count; j++)
            if (gka_output_table[members[i].output].pass != GKA_PASS_SOLVE)
                assert_int_equal(bits_of((*members[i].at)[j]), 0);
    for (int i = 0; i < 3; i++) {
        lab_exact_free(&lab.problem, &hi[i]);
        lab_exact_free(&lab.problem, &lo[i]);
    }
    lab_free(&lab);
}

/* The cotangent of x alone: what belongs to U and alpha is zero, dq = p. */
static void test_cotangent_of_x(void **state) {
    (void)state;
    for (int o = 0; o < BOTH; o++) {
        lab_case lab;
        gka_outputs out;
        lab_new(&lab, &plain);
        lab_exact_new(&lab.problem, &out);
        lab_gradient(&lab.problem, GKA_OF_X, both[o], &out, NULL);
        const int64_t tokens = plain.B * plain.T * plain.H;
        for (int64_t i = 0; i < tokens; i++)
            assert_true(bits_of(out.solve.dalpha[i]) == 0 && bits_of(out.solve.dg_u[i]) == 0);
        assert_same("dq", tokens * plain.D, out.solve.dq, out.solve.p);
        assert_same("dg", tokens, out.solve.dg, out.solve.dg_h);
        lab_exact_free(&lab.problem, &out);
        lab_free(&lab);
    }
}

/* ---- threads, progress, memory --------------------------------------------------------------- */

static void test_threads_do_not_matter(void **state) {
    (void)state;
    for (int o = 0; o < BOTH; o++) {
        lab_case lab;
        gka_outputs one, three;
        lab_new(&lab, &plain);
        answer(&lab.problem, both[o], &one);
        gka_set_threads(3);
        answer(&lab.problem, both[o], &three);
        gka_set_threads(1);
        assert_all_same(&lab.problem, &one, &three);
        lab_exact_free(&lab.problem, &one);
        lab_exact_free(&lab.problem, &three);
        lab_free(&lab);
    }
}

/* Of two failing items the first is named, whatever the threads. */
static void test_first_failure_is_named(void **state) {
    (void)state;
    const lab_shape shape = {.B = 6, .T = 2, .H = 1, .G = 1, .D = 2, .V = 0, .a = 1};
    lab_case lab;
    double x[24];
    gka_outputs out = {.x = x};
    lab_new(&lab, &shape);
    lab.k[2 * 4 + 2] = 0x1p-600; /* sequence 2, token 1 */
    lab.k[5 * 4] = 0x1p600;      /* sequence 5, token 0 */
    lab.k[2 * 4] = lab.k[2 * 4 + 1] = lab.k[2 * 4 + 3] = 0;
    for (int threads = 1; threads <= 3; threads++) {
        gka_error error = {0};
        gka_set_threads(threads);
        assert_int_equal(status_of(&lab.problem, GKA_ORACLE_FP64, &out, &error), GKA_UNSUPPORTED);
        assert_non_null(strstr(error.text, "sequence 2, token 1, head 0"));
    }
    gka_set_threads(1);
    lab_free(&lab);
}

typedef struct watch {
    double last, total;
    int calls, stop_at;
} watch;

static bool watched(void *context, double done, double total) {
    watch *const w = context;
    assert_true(done >= w->last && done <= total);
    w->last = done;
    w->total = total;
    return ++w->calls != w->stop_at;
}

static void test_progress(void **state) {
    (void)state;
    for (int o = 0; o < BOTH; o++)
        for (int threads = 1; threads <= 3; threads += 2) {
            lab_case lab;
            gka_outputs out;
            watch w = {.stop_at = -1};
            gka_oracle_options options = {.oracle = both[o], .progress = {watched, &w}};
            lab_new(&lab, &plain);
            lab_exact_new(&lab.problem, &out);
            gka_set_threads(threads);
            assert_int_equal(gka_oracle_forward(&lab.problem, &options, &out, NULL, NULL, NULL),
                             GKA_OK);
            assert_true(w.last == w.total && w.calls == 72);
            for (int gradient = 0; gradient < 2; gradient++) {
                gka_error error = {0};
                w = (watch){.stop_at = 5};
                assert_int_equal(
                    gradient == 0
                        ? gka_oracle_forward(&lab.problem, &options, &out, NULL, NULL, &error)
                        : gka_oracle_gradient(&lab.problem, GKA_OF_O, &options, &out, NULL, NULL,
                                              &error),
                    GKA_INTERRUPTED);
                assert_int_equal(error.status, GKA_INTERRUPTED);
            }
            gka_set_threads(1);
            lab_exact_free(&lab.problem, &out);
            lab_free(&lab);
        }
}

typedef struct allocating {
    const gka_problem *problem;
    gka_oracle_options options;
    bool gradient;
    gka_outputs out;
} allocating;

static gka_status allocate(void *context) {
    allocating *const a = context;
    return a->gradient
               ? gka_oracle_gradient(a->problem, GKA_OF_O, &a->options, &a->out, NULL, NULL, NULL)
               : gka_oracle_forward(a->problem, &a->options, &a->out, NULL, NULL, NULL);
}

static void test_every_allocation_fails(void **state) {
    (void)state;
    for (int o = 0; o < BOTH; o++)
        for (int threads = 1; threads <= 3; threads += 2)
            for (int gradient = 0; gradient < 2; gradient++) {
                lab_case lab;
                lab_new(&lab, &plain);
                allocating a = {&lab.problem, {.oracle = both[o]}, gradient == 1, {{0}}};
                lab_exact_new(&lab.problem, &a.out);
                gka_set_threads(threads);
                /* the check's matrix, the workers' list, one worker */
                assert_true(allocations_fail(allocate, &a) >= 3);
                gka_set_threads(1);
                lab_exact_free(&lab.problem, &a.out);
                lab_free(&lab);
            }
}

/* A ridge ratio of 0: the layer where every H_t is positive definite, and one word where one is
 * not. */
static void test_no_ridge(void **state) {
    (void)state;
    const lab_shape shape = {.B = 1,
                             .T = 5,
                             .H = 2,
                             .G = 1,
                             .D = 3,
                             .V = 2,
                             .gate = true,
                             .alpha = true,
                             .states = true,
                             .final = true,
                             .seed = 3};
    lab_case lab;
    gka_outputs out, exact;
    lab_new(&lab, &shape);
    lab.problem.ridge_ratio = 0;
    lab_exact_new(&lab.problem, &out);
    lab_exact_new(&lab.problem, &exact);
    lab_forward(&lab.problem, GKA_ORACLE_MPFR, &exact, NULL);
    for (int oracle = GKA_ORACLE_FP64; oracle <= GKA_ORACLE_CERTIFIED; oracle++) {
        const double most = oracle == GKA_ORACLE_FP64 ? 1e-10 : 0;
        lab_forward(&lab.problem, (gka_oracle)oracle, &out, NULL);
        for (int i = 0; i < 10 * 3; i++)
            assert_true(fabs(out.x[i] - exact.x[i]) <= most * fabs(exact.x[i]));
        for (int i = 0; i < 10; i++)
            assert_true(out.lambda[i] <= 0 && out.kappa[i] > 1);
        for (int of = GKA_OF_X; of <= GKA_OF_O; of++) {
            lab_gradient(&lab.problem, (gka_of)of, GKA_ORACLE_MPFR, &exact, NULL);
            lab_gradient(&lab.problem, (gka_of)of, (gka_oracle)oracle, &out, NULL);
            double size = 0;
            for (int i = 0; i < 5 * 3; i++)
                size = fmax(size, fabs(exact.gradient[of].dk[i]));
            for (int i = 0; i < 5 * 3; i++)
                assert_true(fabs(out.gradient[of].dk[i] - exact.gradient[of].dk[i]) <= most * size);
        }
    }
    memset(lab.h0, 0, 2 * 9 * sizeof *lab.h0); /* H_1 = k k^T */
    for (int oracle = GKA_ORACLE_FP64; oracle <= GKA_ORACLE_MPFR; oracle++) {
        const gka_oracle_options options = {.oracle = (gka_oracle)oracle};
        gka_error error = {0};
        const gka_status refused =
            oracle == GKA_ORACLE_CERTIFIED ? GKA_NO_CERTIFICATE : GKA_NOT_POSITIVE_DEFINITE;
        assert_int_equal(gka_oracle_forward(&lab.problem, &options, &out, NULL, NULL, &error),
                         refused);
        assert_int_equal(
            gka_oracle_gradient(&lab.problem, GKA_OF_X, &options, &out, NULL, NULL, &error),
            refused);
    }
    lab_exact_free(&lab.problem, &out);
    lab_exact_free(&lab.problem, &exact);
    lab_free(&lab);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_ridge),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_one_number),
        cmocka_unit_test(test_condition_of_one_key),
        cmocka_unit_test(test_no_tokens),
        cmocka_unit_test(test_empty_state),
        cmocka_unit_test(test_restart_is_a_new_sequence),
        cmocka_unit_test(test_packed_sequences),
        cmocka_unit_test(test_chunk_states),
        cmocka_unit_test(test_grouped_heads),
        cmocka_unit_test(test_h0_is_symmetrised),
        cmocka_unit_test(test_indefinite_h0),
        cmocka_unit_test(test_not_positive_definite),
        cmocka_unit_test(test_singular),
        cmocka_unit_test(test_beyond_the_range),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_members_alone),
        cmocka_unit_test(test_precision),
        cmocka_unit_test(test_cotangent_of_x),
        cmocka_unit_test(test_threads_do_not_matter),
        cmocka_unit_test(test_first_failure_is_named),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_every_allocation_fails),
    };
    gka_set_threads(1);
    const int failed = cmocka_run_group_tests_name("oracle", tests, NULL, NULL);
    mpfr_free_cache();
    return failed;
}
