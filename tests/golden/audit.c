/* audit.c - goldens tell right kernels from known mistakes; what each mistake is. */
#include "test.h"

#include "audit/audit.h"
#include "gka/audit.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#define GOLDEN    "audit_golden.safetensors"
#define CANDIDATE "audit_candidate.safetensors"

/* Everything a mistake can be made with: two ragged sequences of two chunks, groups of heads,
 * initial states, gates, few iterations. */
static const char all_of_it[] = "{\"B\": 2, \"T\": 20, \"H\": 4, \"G\": 2, \"D\": 16, \"chunk\": "
                                "16, \"h0\": true, \"final\": true, \"iters\": 4, \"ridge\": 0.01}";

static gka_file *golden;

static gka_file *make(const char *json, const gka_file *inputs, const char *path) {
    gka_golden_spec spec;
    gka_error error = {0};
    gka_file *file = NULL;
    gka_golden_spec_start(&spec);
    if (gka_golden_spec_read(&spec, json, &error) != GKA_OK ||
        gka_golden_generate(&spec, inputs, path, NULL, &error) != GKA_OK ||
        gka_file_open(path, &file, &error) != GKA_OK)
        fail_msg("%s", error.text);
    return file;
}

static int make_golden(void **state) {
    (void)state;
    gka_set_threads(1); /* small problems: threads would wait for one another */
    golden = make(all_of_it, NULL, GOLDEN);
    return 0;
}

static int remove_golden(void **state) {
    (void)state;
    gka_file_close(golden);
    gka_set_threads(0);
    return unlink(GOLDEN);
}

static gka_audit audit_of(const gka_file *file) {
    gka_audit audit;
    gka_error error = {0};
    if (gka_golden_audit(file, NULL, &audit, &error) != GKA_OK)
        fail_msg("%s", error.text);
    return audit;
}

static const gka_audit_row *row_of(const gka_audit *audit, const char *name) {
    const int i = gka_audit_find(name);
    assert_true(i >= 0);
    return &audit->rows[i];
}

/* ---- the panels ---------------------------------------------------------------------------- */

static void test_the_panels_are_told_apart(void **state) {
    (void)state;
    gka_audit audit = audit_of(golden);
    for (size_t i = 0; i < audit.row_count; i++) {
        const gka_audit_row *const row = &audit.rows[i];
        if (row->applies && !row->good)
            fail_msg("%s: %.3g of %s, slack %.3g, margin %.3g", row->member.name,
                     row->errors[row->by], audit.tensors[row->by].name, row->slack, row->margin);
        /* A right kernel has a slack, a mistake a margin. */
        assert_true(!isnan(row->slack) == (row->by >= 0 && row->member.accept));
        assert_true(!isnan(row->margin) == (row->by >= 0 && !row->member.accept));
        static const char *const unfit[] = {
            "h100-c16",   "points-c16",    "ieee32-c16",     /* the golden's own */
            "exact",      "cg-consistent", "cuda",           /* 4 iterations */
            "cg-mix",     "cg-handoffs",   "two-term-end",   /* ... */
            "points-end", "ieee32-end",    "ieee32-two-end", /* ... */
            "ieee32-cg",  "decode",        "low-states",     /* 20 tokens, bf16 */
            "late_gate",  "fp16",          "tf32"}; /* a gate for two heads of a key, bf16 */
        bool expected = true;
        for (size_t n = 0; n < sizeof unfit / sizeof *unfit; n++)
            expected &= strcmp(row->member.name, unfit[n]) != 0;
        if (row->applies != expected)
            fail_msg("%s: applies %d: %s", row->member.name, row->applies, row->note);
    }
    assert_int_equal(audit.accepted, audit.accepts);
    assert_int_equal(audit.rejected, audit.rejects);
    gka_audit_free(&audit);
}

/* Of a golden of more than 256 pairs of token and head, and of one of fewer, in bf16. */
static void test_who_took_part(void **state) {
    (void)state;
    static const struct {
        const char *json, *made[8], *independent[8];
    } cases[] = {
        {"{\"T\": 260, \"D\": 16, \"chunk\": 64, \"iters\": 2, \"outputs\": \"forward\"}",
         {"steps", "h100", "h100-c16", "h100-c128", "two-term", "h100-w2", "h100-w8"},
         {"h100-c48", "a100", "points", "points-c16", "fp32-states", "fp32-norm", "ieee32",
          "tokens"}},
        {"{\"T\": 20, \"D\": 16, \"chunk\": 64, \"iters\": 2, \"outputs\": \"forward\"}",
         {"steps", "h100-c32", "h100-w2", "points", "fp32-states", "fp32-norm", "ieee32"},
         {"h100-c128", "a100", "b200", "points-c16", "points-two-term", "ieee32-c32", "tokens"}},
        {"{\"T\": 20, \"D\": 16, \"chunk\": 64, \"iters\": 2, \"outputs\": \"forward\", "
         "\"dtype\": \"fp32\"}",
         {"steps", "ieee32", "ieee32-c16", "ieee32-c32", "ieee32-two-term", "tokens"},
         {"ieee32-c24", "ieee32-c128", "tokens-fma", "tokens-pairwise"}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gka_file *const file = make(cases[i].json, NULL, CANDIDATE);
        gka_audit audit = audit_of(file);
        size_t independents = 0;
        for (size_t n = 0; n < 8 && cases[i].made[n] != NULL; n++)
            if (!row_of(&audit, cases[i].made[n])->took_part)
                fail_msg("%s: %s took no part", cases[i].json, cases[i].made[n]);
        for (size_t n = 0; n < 8 && cases[i].independent[n] != NULL; n++) {
            const gka_audit_row *const row = row_of(&audit, cases[i].independent[n]);
            if (!row->applies || row->took_part)
                fail_msg("%s: %s took part", cases[i].json, row->member.name);
        }
        for (size_t n = 0; n < audit.row_count; n++)
            independents +=
                audit.rows[n].member.accept && audit.rows[n].applies && !audit.rows[n].took_part;
        assert_int_equal(audit.independents, independents);
        assert_int_equal(audit.independent, independents);
        assert_true(independents >= 4 && independents < audit.accepts);
        gka_audit_free(&audit);
        gka_file_close(file);
    }
    assert_int_equal(unlink(CANDIDATE), 0);
}

#define CONVERGED "\"ridge\": 0.1, \"iters\": 14}"

/* An fp16 kernel, states in fp16 too, is right about an fp16 golden; what overflows there has no
 * verdict and is named. One token has kernels of its own. */
static void test_kernels_of_their_own(void **state) {
    (void)state;
    static const struct {
        const char *json, *right[5], *noted; /* the first member's note */
    } cases[] = {
        {"{\"T\": 34, \"D\": 16, \"chunk\": 16, \"dtype\": \"fp16\", \"gate\": "
         "\"slow\", " CONVERGED,
         {"h100", "low-states", "cg-consistent", "points", "h100-c64"},
         ""},
        {"{\"T\": 20, \"D\": 16, \"chunk\": 16, \"dtype\": \"fp16\", \"edit\": "
         "\"largest-key\", " CONVERGED,
         {"h100", "fp32-norm", "tokens"},
         "not finite: x fro"},
        {"{\"T\": 1, \"D\": 64, \"h0\": true, " CONVERGED, {"decode", "cuda", "h100"}, ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gka_file *const file = make(cases[i].json, NULL, CANDIDATE);
        gka_audit audit = audit_of(file);
        for (size_t n = 0; n < audit.row_count; n++) {
            const gka_audit_row *const row = &audit.rows[n];
            if (row->member.accept && row->applies && !row->good)
                fail_msg("%s: %s fails", cases[i].json, row->member.name);
        }
        for (size_t n = 0; n < 5 && cases[i].right[n] != NULL; n++)
            if (!row_of(&audit, cases[i].right[n])->applies)
                fail_msg("%s does not apply", cases[i].right[n]);
        const char *const note = row_of(&audit, cases[i].right[0])->note;
        if (strncmp(note, cases[i].noted, strlen(cases[i].noted)) != 0)
            fail_msg("%s: '%s'", cases[i].json, note);
        if (i < 2)
            assert_true(row_of(&audit, "fp16")->good);
        gka_audit_free(&audit);
        gka_file_close(file);
    }
    assert_int_equal(unlink(CANDIDATE), 0);
}

/* A ragged end without gates: the released backward pass gives NaN in dk. */
static void test_what_is_left_out_is_counted(void **state) {
    (void)state;
    gka_file *const file =
        make("{\"T\": 17, \"D\": 16, \"chunk\": 16, \"gate\": \"none\"}", NULL, CANDIDATE);
    gka_audit audit = audit_of(file);
    size_t sum = 0;
    for (size_t n = 0; n < audit.row_count; n++)
        sum += (size_t)audit.rows[n].left_out;
    const gka_audit_row *const h100 = row_of(&audit, "h100");
    assert_string_equal(h100->note, "not finite: solve.dk layer.dk");
    assert_int_equal(h100->left_out, 2);
    assert_int_equal(row_of(&audit, "steps")->left_out, 0);
    assert_int_equal(row_of(&audit, "leak")->left_out, 0);
    assert_true(audit.left_out == sum && sum > 2);
    assert_int_equal(audit.accepted, audit.accepts);
    gka_audit_free(&audit);
    gka_file_close(file);
    assert_int_equal(unlink(CANDIDATE), 0);
}

/* Where there is nothing to be wrong about. */
static void test_what_does_not_apply(void **state) {
    (void)state;
    static const char *const unfit[] = {"exp2",        "state_exp2",     "exclusive_gate",
                                        "chunk_state", "leak",           "h0_ignored",
                                        "head_map",    "final_gradient", "beta_once",
                                        "dh0_sign",    "chunk_gradient", "ragged_mask",
                                        "stale_f",     "stale_ridge",    "ungated_h",
                                        "late_gate",   "alpha_swapped",  "alpha_twice",
                                        "direct_lost", "exclusive_dg",   "fp16"};
    gka_file *const file = make("{\"T\": 1, \"D\": 16, \"chunk\": 1, \"plain\": true, \"gate\": "
                                "\"none\", \"dtype\": \"fp32\", \"iters\": 3}",
                                NULL, CANDIDATE);
    gka_audit audit = audit_of(file);
    for (size_t i = 0; i < sizeof unfit / sizeof *unfit; i++) {
        const gka_audit_row *const row = row_of(&audit, unfit[i]);
        if (row->applies || row->note[0] == '\0')
            fail_msg("%s applies", unfit[i]);
    }
    assert_true(row_of(&audit, "tf32")->good);
    assert_false(row_of(&audit, "h100")->applies);
    assert_false(row_of(&audit, "points")->applies);
    assert_false(row_of(&audit, "exact")->applies);
    assert_true(row_of(&audit, "ieee32")->good);
    assert_true(row_of(&audit, "omega0")->good);
    assert_true(row_of(&audit, "r_minus_1")->good);
    gka_audit_free(&audit);
    gka_file_close(file);
    assert_int_equal(unlink(CANDIDATE), 0);
}

/* Every member as a file, judged as any candidate is: the same errors, the same verdict. */
static void test_written_members_are_judged_alike(void **state) {
    (void)state;
    gka_audit audit = audit_of(golden);
#ifdef __SANITIZE_ADDRESS__
    const size_t step = 4;
#else
    const size_t step = 1;
#endif
    for (size_t i = 0; i < audit.row_count; i += step) {
        const gka_audit_row *const row = &audit.rows[i];
        gka_error error = {0};
        const gka_status status =
            gka_golden_audit_write(golden, row->member.name, CANDIDATE, &error);
        assert_int_equal(status, row->applies ? GKA_OK : GKA_UNSUPPORTED);
        if (!row->applies)
            continue;
        gka_file *file = NULL;
        gka_golden_verdict v;
        assert_int_equal(gka_file_open(CANDIDATE, &file, &error), GKA_OK);
        assert_int_equal(gka_golden_judge(file, golden, NULL, &v, &error), GKA_OK);
        assert_int_equal(v.row_count, audit.tensor_count);
        for (size_t t = 0; t < v.row_count; t++) {
            const gka_golden_row *const r = &v.rows[t];
            const double share =
                isnan(r->row_tolerance) ? 0 : r->row_error * (r->tolerance / r->row_tolerance);
            const double is = isnan(r->judged.rel_err) || isnan(r->row_error)
                                  ? INFINITY
                                  : fmax(r->judged.rel_err, share);
            const double said = row->errors[t];
            if (isinf(is) && isinf(said))
                continue;
            if (v.rows[t].tensor == NULL || isnan(v.rows[t].tolerance))
                assert_true(isnan(said));
            else if (!(fabs(is - said) <= 1e-12 * fmax(is, 1e-3))) /* two orders of one sum */
                fail_msg("%s: %s: %.17g, %.17g", row->member.name, v.rows[t].name, is, said);
        }
        assert_true((v.failed == 0) == (row->good == row->member.accept));
        gka_golden_verdict_free(&v);
        gka_file_close(file);
    }
    assert_int_equal(unlink(CANDIDATE), 0);
    gka_audit_free(&audit);
    gka_error error = {0};
    assert_int_equal(gka_golden_audit_write(golden, "omega", CANDIDATE, &error), GKA_BAD_ARGUMENT);
}

static void test_a_golden_of_one_stage(void **state) {
    (void)state;
    gka_file *const file =
        make("{\"T\": 3, \"D\": 2, \"chunk\": 2, \"stage\": \"output\"}", NULL, CANDIDATE);
    gka_audit audit;
    gka_error error = {0};
    assert_int_equal(gka_golden_audit(file, NULL, &audit, &error), GKA_BAD_FILE);
    assert_non_null(strstr(error.text, "one stage"));
    gka_audit_free(&audit);
    gka_file_close(file);
    assert_int_equal(unlink(CANDIDATE), 0);
}

/* ---- failures ------------------------------------------------------------------------------ */

static bool stop(void *context, double done, double total) {
    (void)context;
    return done < total / 4;
}

static void test_interrupted(void **state) {
    (void)state;
    const gka_progress progress = {stop, NULL};
    gka_audit audit;
    gka_error error = {0};
    assert_int_equal(gka_golden_audit(golden, &progress, &audit, &error), GKA_INTERRUPTED);
    gka_audit_free(&audit);
}

static gka_status audit_once(void *file) {
    gka_audit audit;
    const gka_status status = gka_golden_audit(file, NULL, &audit, NULL);
    gka_audit_free(&audit);
    return status;
}

static void test_survives_failing_allocations(void **state) {
    (void)state;
    gka_file *const file = make("{\"B\": 2, \"T\": 3, \"H\": 4, \"G\": 2, \"D\": 2, \"chunk\": 2, "
                                "\"h0\": true, \"final\": true, \"iters\": 1}",
                                NULL, CANDIDATE);
    (void)some_allocations_fail(audit_once, file, false, 50);
    gka_file_close(file);
    assert_int_equal(unlink(CANDIDATE), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_panels_are_told_apart),
        cmocka_unit_test(test_who_took_part),
        cmocka_unit_test(test_kernels_of_their_own),
        cmocka_unit_test(test_what_is_left_out_is_counted),
        cmocka_unit_test(test_what_does_not_apply),
        cmocka_unit_test(test_written_members_are_judged_alike),
        cmocka_unit_test(test_a_golden_of_one_stage),
        cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_survives_failing_allocations),
    };
    return cmocka_run_group_tests_name("audit", tests, make_golden, remove_golden);
}
