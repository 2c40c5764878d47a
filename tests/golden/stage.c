/* stage.c - goldens of one stage: exact for what they hand on, and kernels judged by them. */
#include "test.h"

#include "gka/golden.h"
#include "golden/stage.h"

#include <math.h>
#include <unistd.h>

#define GOLDEN    "golden_stage.safetensors"
#define CANDIDATE "golden_stage_candidate.safetensors"

#define PROBLEM                                                                                    \
    "\"T\": 40, \"H\": 4, \"G\": 2, \"D\": 32, \"V\": 16, \"chunk\": 16, \"gate\": \"slow\", "     \
    "\"h0\": true"

#define PACKED                                                                                     \
    "{\"stage\": \"solve\", \"given\": \"h_chunk\", \"lengths\": \"17,0,1,20\", \"D\": 16, "       \
    "\"chunk\": 16, \"iters\": 60, \"ridge\": 0.3}"

static gka_file *make(const char *json) {
    gka_golden_spec spec;
    gka_error error = {0};
    gka_file *file = NULL;
    gka_golden_spec_start(&spec);
    if (gka_golden_spec_read(&spec, json, &error) != GKA_OK ||
        gka_golden_generate(&spec, NULL, GOLDEN, NULL, &error) != GKA_OK ||
        gka_file_open(GOLDEN, &file, &error) != GKA_OK)
        fail_msg("%s", error.text);
    return file;
}

/* NULL: there is none of that name. */
static double *load(const gka_problem *p, const gka_file *file, const char *name, int output) {
    gka_error error = {0};
    double *values = NULL;
    const gka_tensor *const tensor = gka_file_find(file, name);
    if (tensor != NULL)
        assert_int_equal(gka_golden_load(p, file, tensor, output, false, &values, &error), GKA_OK);
    return values;
}

static golden_given load_given(const gka_problem *p, const gka_file *file) {
    golden_given given = {0};
    for (int i = 0; i < GIVEN_TENSORS; i++)
        given.of[i] =
            load(p, file, gka_golden_given_tensors[i].name, gka_golden_given_tensors[i].output);
    return given;
}

static double distance(const gka_problem *p, const gka_file *file, int output, const char *suffix,
                       const double *values) {
    char name[48];
    (void)snprintf(name, sizeof name, "%s%s", gka_output_table[output].name, suffix);
    double *const ref = load(p, file, name, output);
    assert_non_null(ref);
    const double d = gka_rel_err(gka_output_count(p, output), values, ref);
    gka_free(ref);
    return d;
}

/* The profile's own later stages at what the golden hands on, in their stored types if asked. */
static void later_stages(const gka_problem *p, const gka_file *golden, const char *profile_name,
                         bool store, gka_outputs *out) {
    gka_profile profile;
    gka_error error = {0};
    golden_given given = load_given(p, golden);
    unsigned wanted = 0;
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        char name[48];
        (void)snprintf(name, sizeof name, "%s.exact", gka_output_table[i].name);
        wanted |= (gka_file_find(golden, name) != NULL ? 1u : 0u) << i;
    }
    assert_int_equal(gka_profile_find(profile_name, &profile, &error), GKA_OK);
    assert_int_equal(gka_profile_set(&profile, "h0_sign=exact", &error), GKA_OK);
    assert_int_equal(gka_golden_allocate(p, wanted, out, &error), GKA_OK);
    for (int part = GKA_PASS_SOLVE; part <= GKA_PASS_LAYER; part++) {
        gka_outputs chunk = {0};
        const gka_chunk_given at = {
            .at.x = given.of[GIVEN_X],
            .at.fro = given.of[GIVEN_FRO],
            .at.p = given.of[part == GKA_PASS_SOLVE ? GIVEN_SOLVE_P : GIVEN_LAYER_P]};
        for (int i = 0; i < GKA_OUTPUTS; i++)
            if (wanted >> i & 1 && (int)gka_output_table[i].pass == part)
                chunk.of[i] = out->of[i];
        assert_int_equal(gka_chunk_backward(p, &profile,
                                            part == GKA_PASS_SOLVE ? GKA_OF_X : GKA_OF_O, true, &at,
                                            &chunk, &error),
                         GKA_OK);
    }
    gka_outputs x = {0}, o = {0};
    x.of[GKA_OUT_X] = given.of[GIVEN_X];
    if (wanted >> GKA_OUT_O & 1) {
        assert_int_equal(gka_golden_local(p, 1u << GKA_OUT_O, &x, &o, &error), GKA_OK);
        memcpy(out->of[GKA_OUT_O], o.of[GKA_OUT_O],
               (size_t)gka_output_count(p, GKA_OUT_O) * sizeof(double));
    }
    gka_golden_free(&o);
    if (store)
        gka_golden_store(p, wanted, out);
    gka_golden_given_free(&given);
}

static gka_problem problem_of(const gka_file *file) {
    gka_problem p;
    gka_error error = {0};
    assert_int_equal(gka_problem_from_file(file, &p, NULL, &error), GKA_OK);
    return p;
}

static const char *const later[] = {
    "{\"stage\": \"output\", " PROBLEM "}",
    "{\"stage\": \"dk\", " PROBLEM "}",
    "{\"stage\": \"dg\", " PROBLEM "}",
    "{\"stage\": \"dk\", \"given\": \"p,x\", " PROBLEM "}",
};
enum { LATER = sizeof later / sizeof *later };

/* Double-double and binary64, token by token and by chunks: both are the formulas at the same
 * tensors. Sums of some 1000 terms: 1e-12 is 2^13 u. */
static void test_exact_is_the_formulas(void **state) {
    (void)state;
    for (int s = 0; s < LATER; s++) {
        gka_file *const golden = make(later[s]);
        gka_problem p = problem_of(golden);
        gka_outputs out = {0};
        later_stages(&p, golden, "exact64", false, &out);
        int compared = 0;
        for (int i = 0; i < GKA_OUTPUTS; i++) {
            if (out.of[i] == NULL)
                continue;
            const double exact = distance(&p, golden, i, ".exact", out.of[i]);
            if (!(exact < 1e-12))
                fail_msg("%s, %s: %.3g", later[s], gka_output_table[i].name, exact);
            compared++;
        }
        assert_in_range(compared, 2, 3);
        gka_golden_free(&out);
        gka_problem_free(&p);
        gka_file_close(golden);
    }
}

/* The h100's own backward kernels pass at what they are handed; dk and dg of the other sign do not,
 * and all tensors of a stage are judged. */
static void test_kernels_are_judged(void **state) {
    (void)state;
    for (int s = 0; s < LATER; s++)
        for (int wrong = 0; wrong < 2; wrong++) {
            gka_file *const golden = make(later[s]);
            gka_file *candidate = NULL;
            gka_problem p = problem_of(golden);
            gka_outputs out = {0};
            later_stages(&p, golden, "h100", true, &out);
            gka_tensor tensors[GKA_OUTPUTS];
            size_t count = 0;
            gka_error error = {0};
            for (int i = 0; i < GKA_OUTPUTS; i++) {
                if (out.of[i] == NULL)
                    continue;
                for (int64_t n = 0; wrong && n < gka_output_count(&p, i); n++)
                    out.of[i][n] = -out.of[i][n];
                gka_tensor *const t = &tensors[count++];
                *t = (gka_tensor){
                    .name = gka_output_table[i].name, .dtype = GKA_F64, .data = out.of[i]};
                t->rank = gka_output_shape(&p, i, t->shape);
            }
            gka_golden_verdict v;
            assert_int_equal(gka_file_write(CANDIDATE, tensors, count, NULL, 0, &error), GKA_OK);
            assert_int_equal(gka_file_open(CANDIDATE, &candidate, &error), GKA_OK);
            assert_int_equal(gka_golden_judge(candidate, golden, NULL, &v, &error), GKA_OK);
            assert_int_equal(v.judged, count);
            assert_int_equal(v.failed, wrong ? count : 0);
            gka_golden_verdict_free(&v);
            gka_file_close(candidate);
            gka_golden_free(&out);
            gka_problem_free(&p);
            gka_file_close(golden);
        }
    assert_int_equal(unlink(CANDIDATE), 0);
}

/* With nothing given the steps are those of the whole layer; with many of them, and a = .3, they
 * are the exact solve at what is given (make.c, test_steps_converge_to_exact). */
static void test_solve(void **state) {
    (void)state;
    static const char *const specs[] = {
        "{\"stage\": \"solve\", \"iters\": 60, \"ridge\": 0.3, " PROBLEM "}",
        "{\"stage\": \"solve\", \"given\": \"h_chunk\", \"iters\": 60, \"ridge\": 0.3, " PROBLEM
        "}",
        "{\"stage\": \"solve\", \"given\": \"f,h_chunk\", \"iters\": 60, \"ridge\": 0.3, " PROBLEM
        "}",
        PACKED,
    };
    for (size_t s = 0; s < sizeof specs / sizeof *specs; s++) {
        gka_file *const golden = make(specs[s]);
        gka_problem p = problem_of(golden);
        const int outputs[] = {GKA_OUT_X, GKA_OUT_SOLVE_DQ, GKA_OUT_FRO};
        for (int i = 0; i < (s == 2 ? 2 : 3); i++) {
            char name[48];
            (void)snprintf(name, sizeof name, "%s.steps", gka_output_table[outputs[i]].name);
            double *const steps = load(&p, golden, name, outputs[i]);
            assert_non_null(steps);
            const double d = distance(&p, golden, outputs[i], ".exact", steps);
            if (!(d < 1e-11))
                fail_msg("%s, %s: %.3g", specs[s], name, d);
            gka_free(steps);
        }
        gka_outputs own = {0};
        golden_given none = {0};
        gka_error error = {0};
        const unsigned wanted = 1u << GKA_OUT_X | 1u << GKA_OUT_SOLVE_DQ | 1u << GKA_OUT_FRO;
        assert_int_equal(gka_golden_allocate(&p, wanted, &own, &error), GKA_OK);
        assert_int_equal(gka_golden_steps_at(&p, wanted, &none, &own, &error), GKA_OK);
        if (s == 0)
            for (int i = 0; i < 3; i++)
                assert_true(distance(&p, golden, outputs[i], ".steps", own.of[outputs[i]]) < 1e-12);
        else /* a state in bf16 is another one */
            assert_true(distance(&p, golden, GKA_OUT_X, ".steps", own.of[GKA_OUT_X]) > 1e-5);
        gka_golden_free(&own);
        gka_problem_free(&p);
        gka_file_close(golden);
    }
}

/* The released kernel for one token is near, and passes (its bf16(k k^T) once did not, where
 * h_final was judged by chunk kernels alone, which have one key exactly). */
static void test_decode(void **state) {
    (void)state;
    gka_file *const golden = make("{\"stage\": \"decode\", \"T\": 1, \"D\": 32, \"h0\": true}");
    gka_problem p = problem_of(golden);
    gka_profile h100;
    gka_error error = {0};
    gka_outputs out = {0};
    const unsigned wanted = 1u << GKA_OUT_X | 1u << GKA_OUT_FRO | 1u << GKA_OUT_H_FINAL;
    assert_int_equal(gka_golden_allocate(&p, wanted, &out, &error), GKA_OK);
    assert_int_equal(gka_profile_find("h100", &h100, &error), GKA_OK);
    gka_outputs chunk = {
        .x = out.of[GKA_OUT_X], .fro = out.of[GKA_OUT_FRO], .h_final = out.of[GKA_OUT_H_FINAL]};
    assert_int_equal(gka_chunk_decode(&p, &h100, &chunk, &error), GKA_OK);
    assert_true(distance(&p, golden, GKA_OUT_X, ".exact", out.of[GKA_OUT_X]) < 0x1p-8);
    assert_true(distance(&p, golden, GKA_OUT_FRO, ".exact", out.of[GKA_OUT_FRO]) < 0x1p-9);
    assert_true(distance(&p, golden, GKA_OUT_H_FINAL, ".exact", out.of[GKA_OUT_H_FINAL]) < 0x1p-9);
    gka_golden_store(&p, wanted, &out);
    gka_tensor tensors[3];
    size_t count = 0;
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        if (!(wanted >> i & 1))
            continue;
        gka_tensor *const t = &tensors[count++];
        *t = (gka_tensor){.name = gka_output_table[i].name, .dtype = GKA_F64, .data = out.of[i]};
        t->rank = gka_output_shape(&p, i, t->shape);
    }
    gka_file *candidate = NULL;
    gka_golden_verdict v;
    assert_int_equal(gka_file_write(CANDIDATE, tensors, count, NULL, 0, &error), GKA_OK);
    assert_int_equal(gka_file_open(CANDIDATE, &candidate, &error), GKA_OK);
    assert_int_equal(gka_golden_judge(candidate, golden, NULL, &v, &error), GKA_OK);
    assert_int_equal(v.judged, 3);
    assert_int_equal(v.failed, 0);
    gka_golden_verdict_free(&v);
    gka_file_close(candidate);
    assert_int_equal(unlink(CANDIDATE), 0);
    gka_golden_free(&out);
    gka_problem_free(&p);
    gka_file_close(golden);
}

static gka_status generate_once(void *spec) {
    return gka_golden_generate(spec, NULL, GOLDEN, NULL, NULL);
}

static void test_survives_failing_allocations(void **state) {
    (void)state;
    static const char *const specs[] = {
        "{\"T\": 2, \"D\": 2, \"dtype\": \"fp32\", \"stage\": \"dk\"}",
        "{\"T\": 2, \"D\": 2, \"dtype\": \"fp32\", \"stage\": \"solve\", \"given\": \"f\"}"};
    gka_set_threads(1);
    for (int s = 0; s < 2; s++) {
        gka_golden_spec spec;
        gka_error error = {0};
        gka_golden_spec_start(&spec);
        assert_int_equal(gka_golden_spec_read(&spec, specs[s], &error), GKA_OK);
        (void)some_allocations_fail(generate_once, &spec, false, 8);
    }
    gka_set_threads(0);
    assert_int_equal(unlink(GOLDEN), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_is_the_formulas),
        cmocka_unit_test(test_kernels_are_judged),
        cmocka_unit_test(test_solve),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_survives_failing_allocations),
    };
    return cmocka_run_group_tests_name("stage", tests, NULL, NULL);
}
