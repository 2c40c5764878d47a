/* chunk_layer.c - the chunk algorithm without rounding (exact64) is the layer token by token with
 * the same r Chebyshev steps, for every generator and gate, any C, grouped heads, V other than D; f
 * is the oracle's; its CG is the layer's; and with many steps of any form its gradients are the
 * oracle's. */
#include "test.h"

#include "gka/chunk.h"
#include "gka/layer.h"
#include "gka/oracle.h"

#include <math.h>

enum { T = 37, H = 4, G = 2, D = 16, V = 12, TENSORS = 12 };

static const size_t counts[TENSORS] = {T * H * D, T *H,    T *H *V, H *D *D, H *D *V, T *H *D,
                                       T *G *D,   T *G *V, T *H,    H *D *D, H *D *V, T *H};
static const char *const names[TENSORS] = {"x",  "fro", "o",      "h_final", "u_final", "dq",
                                           "dk", "dv",  "dalpha", "dh0",     "du0",     "dg"};

typedef struct results {
    double *of[TENSORS];
} results;

static results taken(void) {
    results r;
    for (int i = 0; i < TENSORS; i++) {
        r.of[i] = gka_alloc(counts[i], sizeof(double));
        assert_non_null(r.of[i]);
    }
    return r;
}

static void dropped(results *r) {
    for (int i = 0; i < TENSORS; i++)
        gka_free(r->of[i]);
}

static void made(gka_problem *p, gka_keys keys, gka_gate gate, bool h0, double a, int r,
                 int64_t C) {
    const gka_generator spec = {.keys = keys,
                                .gate = gate,
                                .B = 1,
                                .T = T,
                                .H = H,
                                .G = G,
                                .D = D,
                                .V = V,
                                .alpha = true,
                                .h0 = h0,
                                .cotangents = true,
                                .final = h0,
                                .dtype = GKA_F32,
                                .ridge_ratio = a,
                                .num_iter = r,
                                .chunk_size = C,
                                .seed = 11};
    gka_error error = {0};
    if (gka_problem_generate(&spec, p, &error) != GKA_OK)
        fail_msg("%s", error.text);
}

static void by_chunks(const gka_problem *p, gka_form form, results *r) {
    gka_error error = {0};
    gka_profile profile;
    assert_int_equal(gka_profile_find("exact64", &profile, &error), GKA_OK);
    profile.form = form;
    gka_outputs out = {
        .x = r->of[0], .fro = r->of[1], .o = r->of[2], .h_final = r->of[3], .u_final = r->of[4]};
    gka_outputs back = {.layer.dq = r->of[5],
                        .layer.dk = r->of[6],
                        .layer.dv = r->of[7],
                        .layer.dalpha = r->of[8],
                        .layer.dh0 = r->of[9],
                        .layer.du0 = r->of[10],
                        .layer.dg = r->of[11]};
    assert_int_equal(gka_chunk_forward(p, &profile, &out, NULL, NULL, &error), GKA_OK);
    assert_int_equal(gka_chunk_backward(p, &profile, GKA_OF_O, true, NULL, &back, &error), GKA_OK);
}

static void by_tokens(const gka_problem *p, const char *solver, results *r) {
    gka_error error = {0};
    gka_layer_options options = {0};
    assert_true(gka_policy_find("fp64", &options.policy));
    assert_true(gka_solver_find(solver, &options.solver));
    options.solver.num_iter = p->num_iter;
    gka_outputs out = {
        .x = r->of[0], .fro = r->of[1], .o = r->of[2], .h_final = r->of[3], .u_final = r->of[4]};
    gka_outputs back = {.layer.dq = r->of[5],
                        .layer.dk = r->of[6],
                        .layer.dv = r->of[7],
                        .layer.dalpha = r->of[8],
                        .layer.dh0 = r->of[9],
                        .layer.du0 = r->of[10],
                        .layer.dg = r->of[11]};
    assert_int_equal(gka_layer_forward(p, &options, &out, NULL, &error), GKA_OK);
    assert_int_equal(gka_layer_gradient(p, GKA_OF_O, &options, &back, NULL, &error), GKA_OK);
}

/* Questions of `recall` store nothing: under strong gates f falls below 2^-480, which the fp64
 * oracle refuses. */
static bool beyond_fp64(int keys, int gate) {
    return keys == GKA_KEYS_RECALL && gate == GKA_GATE_STRONG;
}

static double rel_err(int tensor, const results *out, const results *ref) {
    double error = 0, norm = 0;
    for (size_t i = 0; i < counts[tensor]; i++) {
        const double d = out->of[tensor][i] - ref->of[tensor][i];
        error += d * d;
        norm += ref->of[tensor][i] * ref->of[tensor][i];
    }
    return norm > 0 ? sqrt(error / norm) : sqrt(error);
}

static void test_chunks_are_the_token_recurrence(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 5, 16, T};
    double worst[TENSORS] = {0}, worst_f = 0;
    results chunks = taken(), tokens = taken(), exact = taken();
    for (int keys = 0; keys < 5; keys++)
        for (int gate = 0; gate < 4; gate++)
            for (int h0 = 0; h0 < 2; h0++)
                for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
                    gka_problem p = {0};
                    gka_error error = {0};
                    if ((h0 == 0 && sizes[i] < 16) ||
                        (SANITIZED && (keys + gate + (int)i) % 4 != 0))
                        continue; /* small chunks, the slow ones, once */
                    made(&p, (gka_keys)keys, (gka_gate)gate, h0 == 1, .02, 30, sizes[i]);
                    by_chunks(&p, GKA_THREE_TERM, &chunks);
                    by_tokens(&p, "chebyshev", &tokens);
                    for (int t = 0; t < TENSORS; t++) {
                        if (t == TENSORS - 1 && p.g.data == NULL)
                            continue; /* no gate, no dg */
                        const double e = rel_err(t, &chunks, &tokens);
                        if (!(e <= 1e-12))
                            print_error("%s: %s %s h0 %d C %lld: %g\n", names[t],
                                        gka_keys_name((gka_keys)keys),
                                        gka_gate_name((gka_gate)gate), h0, (long long)sizes[i], e);
                        assert_true(e <= 1e-12);
                        worst[t] = fmax(worst[t], e);
                    }
                    gka_outputs of = {.fro = exact.of[1]};
                    if (beyond_fp64(keys, gate)) {
                        gka_problem_free(&p);
                        continue;
                    }
                    assert_int_equal(gka_oracle_forward(&p, NULL, &of, NULL, NULL, &error), GKA_OK);
                    const double e = rel_err(1, &chunks, &exact);
                    assert_true(e <= 1e-13);
                    worst_f = fmax(worst_f, e);
                    gka_problem_free(&p);
                }
    for (int t = 0; t < TENSORS; t++)
        print_message("%-8s %.1e\n", names[t], worst[t]);
    print_message("f against the oracle %.1e\n", worst_f);
    dropped(&exact);
    dropped(&tokens);
    dropped(&chunks);
}

/* CG is room layer's, too: the same steps on the same residual. Two evaluations of it drift apart
 * as it loses conjugacy, so few steps are compared, at a kappa of 11. */
static void test_cg_is_the_token_recurrence(void **state) {
    (void)state;
    results chunks = taken(), tokens = taken();
    for (int keys = 0; keys < 5; keys++)
        for (int gate = 0; gate < 4; gate++)
            for (int consistent = 0; consistent < 2; consistent++) {
                if (SANITIZED && keys != gate)
                    continue;
                gka_problem p = {0};
                made(&p, (gka_keys)keys, (gka_gate)gate, true, .1, 6, 16);
                by_chunks(&p, consistent ? GKA_FORM_CG_CONSISTENT : GKA_FORM_CG, &chunks);
                by_tokens(&p, consistent ? "cg-consistent" : "cg", &tokens);
                for (int t = 0; t < 5; t++) /* its gradients there are of the iteration */
                    assert_true(rel_err(t, &chunks, &tokens) <= 1e-12);
                gka_problem_free(&p);
            }
    dropped(&tokens);
    dropped(&chunks);
}

/* 1/T_{r+1}(1/rho) at a = .1 and r = 60 is below 1e-22: what is left is rounding, in every form
 * (other forms than three-term with the released gates alone). */
static void test_many_steps_give_the_oracle(void **state) {
    (void)state;
    double worst[GKA_FORM_COUNT][TENSORS] = {{0}};
    results chunks = taken(), exact = taken();
    for (int keys = 0; keys < 5; keys++)
        for (int gate = 0; gate < 4; gate++) {
            gka_problem p = {0};
            gka_error error = {0};
            if (beyond_fp64(keys, gate) || (SANITIZED && keys != gate))
                continue;
            made(&p, (gka_keys)keys, (gka_gate)gate, true, .1, 60, 16);
            gka_outputs of = {.x = exact.of[0],
                              .fro = exact.of[1],
                              .o = exact.of[2],
                              .h_final = exact.of[3],
                              .u_final = exact.of[4]};
            gka_outputs back = {.layer.dq = exact.of[5],
                                .layer.dk = exact.of[6],
                                .layer.dv = exact.of[7],
                                .layer.dalpha = exact.of[8],
                                .layer.dh0 = exact.of[9],
                                .layer.du0 = exact.of[10],
                                .layer.dg = exact.of[11]};
            assert_int_equal(gka_oracle_forward(&p, NULL, &of, NULL, NULL, &error), GKA_OK);
            assert_int_equal(gka_oracle_gradient(&p, GKA_OF_O, NULL, &back, NULL, NULL, &error),
                             GKA_OK);
            const int forms = gate == GKA_GATE_RELEASED ? GKA_FORM_COUNT : 1;
            for (int form = 0; form < forms; form++) {
                by_chunks(&p, (gka_form)form, &chunks);
                for (int t = 0; t < TENSORS; t++) {
                    if (t == TENSORS - 1 && p.g.data == NULL)
                        continue;
                    const double e = rel_err(t, &chunks, &exact);
                    if (!(e <= 1e-11))
                        print_error("%s: %s %s %s: %g\n", names[t], gka_form_name((gka_form)form),
                                    gka_keys_name((gka_keys)keys), gka_gate_name((gka_gate)gate),
                                    e);
                    assert_true(e <= 1e-11);
                    worst[form][t] = fmax(worst[form][t], e);
                }
            }
            gka_problem_free(&p);
        }
    for (int form = 0; form < GKA_FORM_COUNT; form++)
        for (int t = 0; t < TENSORS; t++)
            print_message("%-13s %-8s %.1e\n", gka_form_name((gka_form)form), names[t],
                          worst[form][t]);
    dropped(&exact);
    dropped(&chunks);
}

int main(void) {
    gka_set_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks_are_the_token_recurrence),
        cmocka_unit_test(test_cg_is_the_token_recurrence),
        cmocka_unit_test(test_many_steps_give_the_oracle),
    };
    return cmocka_run_group_tests_name("chunk_layer", tests, NULL, NULL);
}
