/* given.c - gradients at given tensors: the certified oracle and the chunk formulas in binary64,
 * written apart, agree at any x, f and p; given states are where each chunk starts. */
#include "oracle.h"

#include "gka/chunk.h"

typedef struct gradients {
    gka_outputs exact;
    gka_outputs chunk;
} gradients;

enum { GRADIENTS = 6 };

typedef struct pair {
    const char *name;
    double *exact, *chunk;
    int64_t count;
} pair;

static void pairs_of(const gka_problem *p, gka_of of, const gradients *g, pair pairs[GRADIENTS]) {
    const int64_t tokens = p->B * p->T * p->H, keys = p->B * p->T * p->G, heads = p->N * p->H;
    const pair all[GRADIENTS] = {
        {"dq", g->exact.gradient[of].dq, g->chunk.gradient[of].dq, tokens * p->D},
        {"dk", g->exact.gradient[of].dk, g->chunk.gradient[of].dk, keys * p->D},
        {"dg", g->exact.gradient[of].dg, g->chunk.gradient[of].dg, tokens},
        {"dh0", g->exact.gradient[of].dh0, g->chunk.gradient[of].dh0, heads * p->D * p->D},
        {"dv", g->exact.gradient[of].dv, g->chunk.gradient[of].dv, keys * p->V},
        {"dalpha", g->exact.gradient[of].dalpha, g->chunk.gradient[of].dalpha, tokens},
    };
    memcpy(pairs, all, sizeof all);
}

static double *numbers(int64_t count, uint64_t seed, uint64_t tensor) {
    double *const x = gka_alloc((size_t)count, sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < count; i++)
        x[i] = lab_draw(seed, tensor, (uint64_t)i);
    return x;
}

static double distance(int64_t n, const double *a, const double *b) {
    double d = 0, s = 0;
    for (int64_t i = 0; i < n; i++) {
        d += (a[i] - b[i]) * (a[i] - b[i]);
        s += b[i] * b[i];
    }
    return s > 0 ? sqrt(d / s) : sqrt(d);
}

static void gradient_at(const gka_problem *p, gka_of cotangent, const gka_upstream *given,
                        gka_outputs *out) {
    const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED, .given = given};
    gka_error error = {0};
    if (gka_oracle_gradient(p, cotangent, &options, out, NULL, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
}

static const lab_shape shapes[] = {
    {.B = 2, .T = 11, .H = 2, .G = 1, .D = 5, .V = 3, .gate = true, .alpha = true, .seed = 1},
    {.B = 1, .T = 9, .H = 1, .G = 1, .D = 4, .V = 4, .seed = 2},
    {.B = 1,
     .T = 13,
     .H = 2,
     .G = 2,
     .D = 3,
     .V = 2,
     .gate = true,
     .alpha = true,
     .states = true,
     .cut = true,
     .silent = true,
     .seed = 3},
    {.B = 1,
     .T = 12,
     .H = 2,
     .G = 1,
     .D = 6,
     .V = 9,
     .gate = true,
     .states = true,
     .final = true,
     .packed = true,
     .seed = 4},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* x, p and f > 0 that belong to nothing. Both sides are sums of some 100 terms of like size in
 * binary64: 1e-13 is 2^10 u. */
static void test_formulas_agree(void **state) {
    (void)state;
    gka_profile exact64;
    gka_error error = {0};
    assert_int_equal(gka_profile_find("exact64", &exact64, &error), GKA_OK);
    for (int s = 0; s < SHAPES; s++)
        for (int layer = 0; layer < 2; layer++) {
            lab_case lab;
            gradients g = {0};
            pair pairs[GRADIENTS];
            lab_new(&lab, &shapes[s]);
            const gka_problem *const p = &lab.problem;
            const gka_of of = layer ? GKA_OF_O : GKA_OF_X;
            const int64_t tokens = p->B * p->T * p->H;
            double *const x = numbers(tokens * p->D, 7, 30),
                          *const q = numbers(tokens * p->D, 7, 31),
                          *const f = numbers(tokens, 7, 32);
            for (int64_t i = 0; i < tokens; i++)
                f[i] = 1.5 + f[i];
            lab_exact_new(p, &g.exact);
            pairs_of(p, of, &g, pairs);
            double **const members[GRADIENTS] = {
                &g.chunk.gradient[of].dq,  &g.chunk.gradient[of].dk, &g.chunk.gradient[of].dg,
                &g.chunk.gradient[of].dh0, &g.chunk.gradient[of].dv, &g.chunk.gradient[of].dalpha};
            for (int i = 0; i < (layer ? GRADIENTS : 4); i++) {
                *members[i] = gka_alloc((size_t)pairs[i].count, sizeof(double));
                assert_non_null(*members[i]);
            }
            const gka_upstream given = {.x = x, .p = q, .fro = f};
            const gka_chunk_given same = {.at.x = x, .at.p = q, .at.fro = f};
            gradient_at(p, of, &given, &g.exact);
            assert_int_equal(gka_chunk_backward(p, &exact64, of, true, &same, &g.chunk, &error),
                             GKA_OK);
            pairs_of(p, of, &g, pairs);
            for (int i = 0; i < (layer ? GRADIENTS : 4); i++) {
                const double d = distance(pairs[i].count, pairs[i].chunk, pairs[i].exact);
                /* Without a gate the chunk's dg lacks the part of E. */
                const bool defined = i != 2 || !layer || p->g.data != NULL;
                if (defined && !(d < 1e-13))
                    fail_msg("shape %d, layer %d, %s: %.3g", s, layer, pairs[i].name, d);
                gka_free(*members[i]);
            }
            assert_memory_equal(g.exact.x, x, (size_t)(tokens * p->D) * sizeof *x);
            assert_memory_equal(g.exact.fro, f, (size_t)tokens * sizeof *f);
            gka_free(x);
            gka_free(q);
            gka_free(f);
            lab_exact_free(p, &g.exact);
            lab_free(&lab);
        }
}

/* Nothing given: the gradients as ever, and x f o as the forward oracle rounds them. */
static void test_nothing_given(void **state) {
    (void)state;
    static const gka_upstream nothing = {0};
    for (int s = 0; s < SHAPES; s++) {
        lab_case lab;
        gka_outputs a, b;
        lab_new(&lab, &shapes[s]);
        const gka_problem *const p = &lab.problem;
        const int64_t tokens = p->B * p->T * p->H;
        lab_exact_new(p, &a);
        lab_exact_new(p, &b);
        gradient_at(p, GKA_OF_O, &nothing, &a);
        lab_gradient(p, GKA_OF_O, GKA_ORACLE_CERTIFIED, &b, NULL);
        lab_forward(p, GKA_ORACLE_CERTIFIED, &b, NULL);
        assert_memory_equal(a.x, b.x, (size_t)(tokens * p->D) * sizeof(double));
        assert_memory_equal(a.fro, b.fro, (size_t)tokens * sizeof(double));
        assert_memory_equal(a.o, b.o, (size_t)(tokens * p->V) * sizeof(double));
        assert_memory_equal(a.layer.dk, b.layer.dk,
                            (size_t)(p->B * p->T * p->G * p->D) * sizeof(double));
        assert_memory_equal(a.layer.dg, b.layer.dg, (size_t)tokens * sizeof(double));
        lab_exact_free(p, &a);
        lab_exact_free(p, &b);
        lab_free(&lab);
    }
}

/* One chunk: a given state is an initial state. */
static void test_state_of_one_chunk(void **state) {
    (void)state;
    const lab_shape shape = {.B = 1,
                             .T = 7,
                             .H = 2,
                             .G = 1,
                             .D = 5,
                             .V = 3,
                             .gate = true,
                             .alpha = true,
                             .states = true,
                             .seed = 5};
    lab_case lab;
    gka_outputs a, b;
    lab_new(&lab, &shape);
    gka_problem *const p = &lab.problem;
    p->chunk_size = 7;
    double *const other = numbers(2 * 25, 5, 33);
    for (int64_t h = 0; h < 2; h++) /* positive definite, and not symmetric */
        for (int64_t i = 0; i < 5; i++)
            other[h * 25 + 6 * i] = 8 + fabs(other[h * 25 + 6 * i]);
    lab_exact_new(p, &a);
    lab_exact_new(p, &b);
    const gka_upstream given = {.h_chunk = other};
    static const gka_upstream nothing = {0};
    gradient_at(p, GKA_OF_O, &given, &a);
    memcpy(lab.h0, other, 50 * sizeof *other);
    gradient_at(p, GKA_OF_O, &nothing, &b);
    assert_memory_equal(a.x, b.x, 2 * 7 * 5 * sizeof(double));
    assert_memory_equal(a.layer.dk, b.layer.dk, 7 * 5 * sizeof(double));
    assert_memory_equal(a.layer.dg, b.layer.dg, 2 * 7 * sizeof(double));
    assert_memory_equal(a.layer.dh0, b.layer.dh0, 50 * sizeof(double));
    gka_free(other);
    lab_exact_free(p, &a);
    lab_exact_free(p, &b);
    lab_free(&lab);
}

/* Several chunks: the states as they are, rounded to binary64, change nothing beyond that; another
 * state of the last chunk changes x from its first token on, and dg of that very token, but not x
 * of the token before. */
static void test_states_of_chunks(void **state) {
    (void)state;
    for (int s = 0; s < SHAPES; s++) {
        lab_case lab;
        gka_outputs a, b;
        lab_new(&lab, &shapes[s]);
        const gka_problem *const p = &lab.problem;
        const int64_t tokens = p->B * p->T * p->H, D = p->D, chunks = p->B * gka_problem_chunks(p);
        lab_exact_new(p, &a);
        lab_exact_new(p, &b);
        lab_forward(p, GKA_ORACLE_CERTIFIED, &b, NULL);
        const gka_upstream given = {.h_chunk = b.h_chunk};
        gradient_at(p, GKA_OF_O, &given, &a);
        lab_gradient(p, GKA_OF_O, GKA_ORACLE_CERTIFIED, &b, NULL);
        assert_true(distance(tokens * D, a.x, b.x) < 1e-13);
        assert_true(distance(p->B * p->T * p->G * D, a.layer.dk, b.layer.dk) < 1e-13);
        assert_true(distance(tokens, a.layer.dg, b.layer.dg) < 1e-13);

        if (s < 2) { /* batches of one sequence: chunks of 4 tokens from the left */
            const int64_t first = (p->T - 1) / 4 * 4, last = p->B - 1;
            double *const H = b.h_chunk + (chunks - 1) * p->H * D * D;
            for (int64_t i = 0; i < p->H * D; i++)
                H[i * D + i % D] += 1;
            memcpy(b.x, a.x, (size_t)(tokens * D) * sizeof(double));
            memcpy(b.layer.dg, a.layer.dg, (size_t)tokens * sizeof(double));
            gradient_at(p, GKA_OF_O, &given, &a);
            const int64_t at = (last * p->T + first) * p->H;
            assert_memory_equal(a.x, b.x, (size_t)(at * D) * sizeof(double));
            for (int64_t i = at; i < tokens; i++)
                assert_true(bits_of(a.x[i * D]) != bits_of(b.x[i * D]));
            assert_true(bits_of(a.layer.dg[at]) != bits_of(b.layer.dg[at]));
        }
        lab_exact_free(p, &a);
        lab_exact_free(p, &b);
        lab_free(&lab);
    }
}

static void test_refused(void **state) {
    (void)state;
    static const gka_upstream nothing = {0};
    const lab_shape shape = {.B = 1, .T = 1, .H = 1, .G = 1, .D = 1, .V = 1, .seed = 4};
    lab_case lab;
    double x[1];
    gka_outputs out = {.x = x};
    gka_oracle_options options = {.oracle = GKA_ORACLE_FP64, .given = &nothing};
    lab_new(&lab, &shape);
    assert_int_equal(gka_oracle_gradient(&lab.problem, GKA_OF_O, &options, &out, NULL, NULL, NULL),
                     GKA_UNSUPPORTED);
    options.oracle = GKA_ORACLE_CERTIFIED;
    assert_int_equal(gka_oracle_forward(&lab.problem, &options, &out, NULL, NULL, NULL),
                     GKA_UNSUPPORTED);
    lab_free(&lab);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formulas_agree),
        cmocka_unit_test(test_nothing_given),
        cmocka_unit_test(test_state_of_one_chunk),
        cmocka_unit_test(test_states_of_chunks),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("given", tests, NULL, NULL);
}
