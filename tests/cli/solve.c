/* solve.c - gka solve in process: the rows of its JSON, the trace, files, mistakes, and every
 * allocation failing in turn. */
#include "command.h"

#include <jansson.h>
#include <math.h>
#include <stdint.h>

#define TRACE_FILE   "cli_solve.csv"
#define JSON_FILE    "cli_solve.json"
#define PROBLEM_FILE "cli_solve.safetensors"

static json_t *rows_of(result *r) {
    if (r->code != 0)
        fail_msg("code %d: %s", r->code, r->err);
    json_t *const root = json_loads(r->out, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    json_t *const rows = json_incref(json_object_get(root, "rows"));
    assert_true(json_is_array(rows));
    json_decref(root);
    end(r);
    return rows;
}

static double real_of(const json_t *row, const char *key) {
    const json_t *const value = json_object_get(row, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static const char *text_of(const json_t *row, const char *key) {
    return json_string_value(json_object_get(row, key));
}

/* Every key of the schema, and nothing else. */
static void test_json_rows(void **state) {
    (void)state;
    static const char *const keys[] = {"solver", "arith",   "problem",    "D",          "T",
                                       "ridge",  "iters",   "seed",       "kappa",      "residual",
                                       "eta",    "rel_err", "grad_q_err", "grad_k_err", "status"};
    result r = RUN("gka", "solve", "--D=16", "--T=20", "--seed=3", "--solver=cg,kalman-ud",
                   "--arith=fp32,bf16/stochastic", "--json=-");
    json_t *const rows = rows_of(&r);
    assert_int_equal(json_array_size(rows), 4);
    for (size_t i = 0; i < 4; i++) {
        const json_t *const row = json_array_get(rows, i);
        assert_int_equal(json_object_size(row), 15);
        for (size_t j = 0; j < 15; j++)
            assert_non_null(json_object_get(row, keys[j]));
        assert_string_equal(text_of(row, "solver"), i % 2 ? "kalman-ud" : "cg");
        assert_string_equal(text_of(row, "arith"), i < 2 ? "fp32" : "bf16/stochastic");
        assert_string_equal(text_of(row, "problem"), "mean");
        assert_true(fabs(real_of(row, "ridge") - 0.02) <= 0);
        assert_true(real_of(row, "kappa") > 1 && real_of(row, "kappa") <= 51.0001);
        assert_int_equal(json_integer_value(json_object_get(row, "T")), 20);
    }
    json_decref(rows);
}

/* In fp64 every solver's x and gradients are the oracle's, with and without normalisation, gates
 * and an initial state; 1e-9 is kappa^2 T (D + 4) u with D = 128, and what 400 steps of descent at
 * (kappa - 1)/(kappa + 1) leave. */
static void test_fp64_is_exact(void **state) {
    (void)state;
    static const char *const problems[][4] = {
        {"--problem=iid", "--plain", "--T=30", "--D=16"},
        {"--problem=powerlaw", "--gate=slow", "--T=30", "--D=16"},
        {"--problem=lowrank", "--normalised", "--T=40", "--D=16"},
        {"--problem=" GKA_TEST_DATA "/h100/iid_gated.safetensors", "--normalised", "--T=17",
         "--seed=1"},
        {"--problem=" GKA_TEST_DATA "/h100/slow.safetensors", "--ridge=0.1", "--T=9", "--seed=1"}};
    for (size_t p = 0; p < 5; p++) {
        result r = RUN("gka", "solve", "--iters=700", "--arith=fp64", "--json=-",
                       "--solver=chebyshev,chebyshev-converged,chebyshev2,cg,cg-jacobi,"
                       "cg-consistent,gradient,nesterov,cholesky,cholesky-refined,"
                       "kalman-potter,kalman-ud,kalman-information,kalman-joseph,"
                       "kalman-outer",
                       problems[p][0], problems[p][1], problems[p][2], problems[p][3]);
        json_t *const rows = rows_of(&r);
        for (size_t i = 0; i < json_array_size(rows); i++) {
            const json_t *const row = json_array_get(rows, i);
            static const char *const keys[] = {"residual", "eta", "rel_err", "grad_q_err",
                                               "grad_k_err"};
            for (int j = 0; j < 5; j++)
                if (!(real_of(row, keys[j]) <= 1e-9))
                    fail_msg("%s %s: %s is %g", problems[p][0], text_of(row, "solver"), keys[j],
                             real_of(row, keys[j]));
        }
        json_decref(rows);
    }
}

static void one_line(result r, int code, const char *line) {
    assert_int_equal(r.code, code);
    assert_string_equal(r.err, line);
    assert_string_equal(r.out, "");
    end(&r);
}

/* An initial state belongs to every system, those of the filters too. */
static void test_initial_state(void **state) {
    (void)state;
    const gka_generator generator = {.keys = GKA_KEYS_IID,
                                     .gate = GKA_GATE_RELEASED,
                                     .B = 1,
                                     .T = 5,
                                     .H = 1,
                                     .G = 1,
                                     .D = 8,
                                     .V = 8,
                                     .h0 = true,
                                     .dtype = GKA_F32,
                                     .seed = 4};
    gka_problem problem;
    gka_error error = {0};
    assert_int_equal(gka_problem_generate(&generator, &problem, &error), GKA_OK);
    assert_int_equal(gka_problem_write(&problem, NULL, 0, PROBLEM_FILE, &error), GKA_OK);
    static const char *const normalised[] = {"--ridge=0.02", "--normalised"};
    for (int n = 0; n < 2; n++) {
        result r = RUN("gka", "solve", "--problem=" PROBLEM_FILE, "--arith=fp64", "--json=-",
                       "--solver=kalman,kalman-symmetrised,kalman-joseph,kalman-potter,kalman-ud,"
                       "kalman-information,kalman-outer",
                       normalised[n]);
        json_t *const rows = rows_of(&r);
        assert_int_equal(json_array_size(rows), 7);
        for (size_t i = 0; i < 7; i++) {
            assert_true(real_of(json_array_get(rows, i), "rel_err") < 1e-13);
            assert_true(real_of(json_array_get(rows, i), "grad_k_err") < 1e-13);
        }
        json_decref(rows);
    }
    float *const h0 = (float *)(uintptr_t)problem.h0.data; /* made by the generator, F32 */
    for (int i = 0; i < 8; i++)
        h0[i] = h0[8 * i] = i == 0 ? -0x1p-12f : 0;
    for (int i = 0; i < 40; i++)
        ((float *)(uintptr_t)problem.q.data)[i] = 0;
    assert_int_equal(gka_problem_write(&problem, NULL, 0, PROBLEM_FILE, &error), GKA_OK);
    result r = RUN("gka", "solve", "--problem=" PROBLEM_FILE, "--arith=fp64", "--solver=kalman");
    assert_int_equal(r.code, 2);
    assert_non_null(strstr(r.err, "h0 is not positive semidefinite, which the Kalman forms need"));
    end(&r);
    r = RUN("gka", "solve", "--problem=" PROBLEM_FILE, "--arith=fp64", "--solver=cholesky",
            "--json=-"); /* q = 0, so x = 0: no error, where it was NaN */
    json_t *const rows = rows_of(&r);
    static const char *const keys[] = {"residual", "eta", "rel_err"};
    for (int i = 0; i < 3; i++)
        assert_true(fabs(real_of(json_array_get(rows, 0), keys[i])) <= 0);
    json_decref(rows);
    (void)unlink(PROBLEM_FILE);
    gka_problem_free(&problem);
}

/* --ridge=0 is 0: a full H is solved, a singular one and a filter are refused in a line. */
static void test_no_ridge(void **state) {
    (void)state;
    result r = RUN("gka", "solve", "--ridge=0", "--D=4", "--T=60", "--arith=fp64", "--json=-",
                   "--solver=cholesky,cg", "--iters=60");
    json_t *const rows = rows_of(&r);
    for (size_t i = 0; i < 2; i++) {
        assert_true(fabs(real_of(json_array_get(rows, i), "ridge")) <= 0);
        assert_true(real_of(json_array_get(rows, i), "rel_err") < 1e-12);
        assert_true(real_of(json_array_get(rows, i), "grad_k_err") < 1e-12);
    }
    json_decref(rows);
    one_line(RUN("gka", "solve", "--ridge=0", "--D=4", "--T=2", "--solver=cg"), 2,
             "gka solve: H of token 2 is singular in binary64, and the ridge is 0\n");
    one_line(RUN("gka", "solve", "--ridge=0", "--D=4", "--T=60", "--solver=kalman"), 2,
             "gka solve: kalman: a Kalman filter starts from a ridge, which is 0 here\n");
    one_line(RUN("gka", "solve", "--D=0"), 2,
             "gka solve: --D=0: expected an integer from 1 to 4096\n");
}

static void test_table_and_trace(void **state) {
    (void)state;
    result r = RUN("gka", "solve", "--D=8", "--T=5", "--iters=3", "--solver=cg,kalman",
                   "--arith=bf16", "--trace=" TRACE_FILE);
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "mean, token 5, D = 8, ridge = 0.02, seed = 1\nsolver"));
    assert_non_null(strstr(r.out, "\nkalman  bf16"));
    end(&r);
    FILE *const trace = fopen(TRACE_FILE, "r");
    assert_non_null(trace);
    char line[200];
    int cg = 0, kalman = 0;
    assert_non_null(fgets(line, sizeof line, trace));
    assert_string_equal(line, "solver,arith,step,residual,eta,rel_err,symmetry,smallest\n");
    while (fgets(line, sizeof line, trace) != NULL) {
        cg += strncmp(line, "cg,bf16,", 8) == 0;
        kalman += strncmp(line, "kalman,bf16,", 12) == 0;
    }
    (void)fclose(trace);
    (void)unlink(TRACE_FILE);
    assert_int_equal(cg, 4);
    assert_int_equal(kalman, 5);
}

static void test_mistakes(void **state) {
    (void)state;
    one_line(RUN("gka", "solve", "--solver=chebychev"), 2,
             "gka solve: --solver: nothing is named 'chebychev' (did you mean 'chebyshev'?)\n");
    one_line(RUN("gka", "solve", "--arith=fp32,"), 2,
             "gka solve: --arith: nothing is named ''; `gka solve --help` lists names\n");
    one_line(RUN("gka", "solve", "--T=1000", "--problem=" GKA_TEST_DATA "/h100/d64.safetensors"), 2,
             "gka solve: " GKA_TEST_DATA
             "/h100/d64.safetensors: --T=1000, but the file holds 192 tokens\n");
    /* an option without effect, and 0 where there is none */
    const char *const file = "--problem=" GKA_TEST_DATA "/h100/slow.safetensors";
    one_line(RUN("gka", "solve", file, "--D=16"), 2,
             "gka solve: --D has no meaning for a problem from a file\n");
    one_line(RUN("gka", "solve", file, "--cotangents"), 2,
             "gka solve: --cotangents has no meaning here, where it is not read\n");
    one_line(RUN("gka", "solve", "--normalise"), 2,
             "gka solve: --normalise has no meaning but with a FILE as --problem\n");
    one_line(RUN("gka", "solve", file, "--plain"), 2,
             "gka solve: --plain has no meaning for a problem from a file\n");
    one_line(RUN("gka", "solve", "--plain", "--gate=slow"), 2,
             "gka solve: --gate has no meaning with --plain, which is without one\n");
    one_line(RUN("gka", "solve", "--D=0"), 2,
             "gka solve: --D=0: expected an integer from 1 to 4096\n");
    one_line(RUN("gka", "solve", "--T=0"), 2,
             "gka solve: --T=0: expected an integer from 1 to 16777216\n");
    one_line(RUN("gka", "solve", "--json=/nowhere/at/all", "--D=4", "--T=1"), 2,
             "gka solve: /nowhere/at/all: cannot be written: No such file or directory\n");
}

/* The same request gives the same bytes, on any number of threads. */
static void test_same_bytes(void **state) {
    (void)state;
    result first = {0};
    for (int threads = 1; threads <= 3; threads++) {
        gka_set_threads(threads);
        result r = RUN("gka", "solve", "--D=16", "--T=33",
                       "--arith=bf16,fp16/stochastic,e4m3-mixed", "--gate=released");
        assert_int_equal(r.code, 0);
        if (threads == 1)
            first = r;
        else {
            assert_string_equal(r.out, first.out);
            end(&r);
        }
    }
    gka_set_threads(0);
    end(&first);
}

static void test_every_allocation_may_fail(void **state) {
    (void)state;
    FAIL_EACH(TRACE_FILE, "gka", "solve", "--D=4", "--T=3", "--solver=cg,kalman,cholesky",
              "--arith=bf16", "--trace=" TRACE_FILE, "--plain");
    FAIL_EACH(JSON_FILE, "gka", "solve", "--D=4", "--T=3", "--solver=cg,kalman", "--arith=bf16",
              "--json=" JSON_FILE);
    FAIL_EACH(NULL, "gka", "solve", "--D=4", "--T=3", "--solver=cg", "--arith=bf16", "--json=-");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_rows),       cmocka_unit_test(test_fp64_is_exact),
        cmocka_unit_test(test_no_ridge),        cmocka_unit_test(test_initial_state),
        cmocka_unit_test(test_table_and_trace), cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_same_bytes),      cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("solve", tests, NULL, NULL);
}
