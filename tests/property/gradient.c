/* gradient.c - certified gradients inside their own bounds, judged by MPFR at 1700 bits (zeros by
 * cancellation are below binary64 then): all generators, gates and four ridges, with and without
 * initial states, ragged, grouped, at given tensors; and the same of the pass in MPFR, at 80 bits,
 * and from checkpoints at every token, cut to binary64, so that their error is all there is.
 */
#include "certified.h"

#include "oracle/certified_gradient.h"

#include <mpfr.h>

enum { TENSORS = GKA_GRADIENT_DG_U + 1, JUDGE_BITS = 1700, FEW_BITS = 80, CHECKPOINT_BITS = 160 };

static const char *const names[TENSORS] = {"dq",  "dk",  "dv", "dalpha", "dg",
                                           "dh0", "du0", "p",  "dg_h",   "dg_u"};

typedef struct tally {
    histogram of[TENSORS];
    double widest[TENSORS]; /* bound / largest element of its tensor */
    int64_t elements, in_mpfr, undecided;
} tally;

static void tally_start(tally *s) {
    memset(s, 0, sizeof *s);
    for (int i = 0; i < TENSORS; i++)
        s->of[i].name = names[i];
}

static double *array(gka_of of, const gka_outputs *e, int tensor) {
    return gka_gradient_member(of, e, (gka_gradient)tensor);
}

static int64_t count_of(const gka_problem *p, int tensor) {
    return gka_output_count(p, gka_gradient_output(GKA_OF_O, (gka_gradient)tensor));
}

/* Results, their enclosure, and what MPFR says. */
typedef struct lab_results {
    gka_outputs out, hi, lo, error, exact, exact_lo;
} lab_results;

static void each_result(const gka_problem *p, lab_results *r,
                        void (*call)(const gka_problem *, gka_outputs *)) {
    gka_outputs *const all[] = {&r->out, &r->hi, &r->lo, &r->error, &r->exact, &r->exact_lo};
    for (int i = 0; i < 6; i++)
        call(p, all[i]);
}

static void free_results(const gka_problem *p, gka_outputs *e) {
    lab_exact_free(p, e);
}

static void gradient(const gka_problem *p, gka_of cotangent, const gka_upstream *given,
                     gka_gradient_enclosure *e, gka_outputs *out, gka_oracle_report *report) {
    const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED, .given = given};
    gka_outputs nothing = {0};
    gka_error error = {0};
    *report = (gka_oracle_report){0};
    if (gka_certified_gradient_enclose(p, cotangent, &options, out, &nothing, e, report, &error) !=
        GKA_OK)
        fail_msg("%s", error.text);
}

static void judge(const gka_problem *p, gka_of cotangent, gka_outputs *exact,
                  gka_outputs *exact_lo) {
    const gka_oracle_options options = {.oracle = GKA_ORACLE_MPFR, .precision = JUDGE_BITS};
    gka_error error = {0};
    if (gka_oracle_gradient(p, cotangent, &options, exact, exact_lo, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
}

/* Every element within its bound, and rounded as MPFR's is. What the cotangent of x leaves zero is
 * not enclosed. */
static void compare(const gka_problem *p, gka_of cotangent, const lab_results *r, tally *s) {
    for (int i = 0; i < TENSORS; i++) {
        const double *const hi = array(cotangent, &r->hi, i), *const lo =
                                                                  array(cotangent, &r->lo, i);
        const double *const exact = array(cotangent, &r->exact, i), *const rest = array(
                                                                        cotangent, &r->exact_lo, i);
        double widest = 0, most = 0;
        const bool zero = cotangent == GKA_OF_X && (i == GKA_GRADIENT_DV || i == GKA_GRADIENT_DU0);
        for (int64_t j = 0; j < count_of(p, i); j++) {
            const double is = array(cotangent, &r->out, i)[j], should = zero ? 0 : exact[j] + 0.0;
            if (bits_of(is) != bits_of(should))
                fail_msg("%s[%lld]: %a, not %a", names[i], (long long)j, is, should);
            if (zero)
                continue;
            const double bound = array(cotangent, &r->error, i)[j];
            histogram_add(&s->of[i], bound,
                          fabs(two_word_difference(hi[j], lo[j], exact[j], rest[j])));
            widest = fmax(widest, bound);
            most = fmax(most, fabs(exact[j]));
        }
        if (most > 0)
            s->widest[i] = fmax(s->widest[i], widest / most);
    }
}

static void tally_print(const tally *s) {
    for (int i = 0; i < TENSORS; i++)
        print_message(
            "  %-6s %6lld elements, bound / error in 1e%d..1e%d (median), bound / largest "
            "element <= %.1e\n",
            names[i], (long long)s->of[i].total, histogram_median(&s->of[i]),
            histogram_median(&s->of[i]) + 1, s->widest[i]);
    print_message("  of %lld elements %lld in MPFR, %lld undecided\n", (long long)s->elements,
                  (long long)s->in_mpfr, (long long)s->undecided);
}

/* One token of each reach's own, and next to nothing to be forgotten. */
static const gka_gradient_enclosure from_checkpoints = {
    .widen = 1e30,
    .precision = CHECKPOINT_BITS,
    .longest = 1,
    .spacing = 1,
    .forget = 1e-9,
    .coarse = true,
};

static void enclose_from_checkpoints(const gka_problem *p, gka_of cotangent,
                                     const gka_upstream *given, lab_results *r) {
    gka_gradient_enclosure e = from_checkpoints;
    gka_outputs unused;
    gka_oracle_report report;
    lab_exact_new(p, &unused);
    e.hi = r->hi;
    e.lo = r->lo;
    e.error = r->error;
    gradient(p, cotangent, given, &e, &unused, &report);
    lab_exact_free(p, &unused);
}

/* bits 0: double-double's bounds; else MPFR's, which is made to decide everything at that. */
static void problem_inside(const gka_problem *p, int bits, tally *s) {
    for (int c = 0; c < 2; c++) {
        const gka_of cotangent = c == 0 ? GKA_OF_X : GKA_OF_O;
        lab_results r;
        gka_oracle_report report;
        if (cotangent == GKA_OF_O && p->V == 0)
            continue;
        each_result(p, &r, lab_exact_new);
        gka_gradient_enclosure e = {.hi = r.hi, .lo = r.lo, .error = r.error};
        gradient(p, cotangent, NULL, &e, &r.out, &report);
        s->elements += report.elements;
        s->in_mpfr += report.elements_mpfr;
        s->undecided += report.elements_undecided;
        if (bits == CHECKPOINT_BITS) {
            enclose_from_checkpoints(p, cotangent, NULL, &r);
        } else if (bits > 0) {
            gka_outputs low;
            lab_exact_new(p, &low);
            e.widen = 1e30;
            e.precision = bits;
            gradient(p, cotangent, NULL, &e, &low, &report);
            lab_exact_free(p, &low);
        }
        judge(p, cotangent, &r.exact, &r.exact_lo);
        compare(p, cotangent, &r, s);
        each_result(p, &r, free_results);
    }
}

/* At given x, p and f, where nothing is left of the solve's bound: errors of the sums alone, or of
 * checkpoints. Judged by the pass in MPFR, whose formulas conformance/given judges. */
static void problem_at_given(const gka_problem *p, int bits, tally *s) {
    for (int c = 0; c < 2; c++) {
        const gka_of cotangent = c == 0 ? GKA_OF_X : GKA_OF_O;
        lab_results r;
        gka_outputs low, unused;
        gka_oracle_report report;
        if (cotangent == GKA_OF_O && p->V == 0)
            continue;
        each_result(p, &r, lab_exact_new);
        lab_exact_new(p, &low);
        lab_exact_new(p, &unused);
        lab_forward(p, GKA_ORACLE_FP64, &low, NULL);
        lab_gradient(p, cotangent, GKA_ORACLE_FP64, &low, NULL);
        for (int64_t j = 0; j < gka_output_count(p, GKA_OUT_H_CHUNK); j++)
            low.h_chunk[j] *= 1 + 0x1p-10; /* no rounding explains that */
        const gka_upstream given = {
            .x = low.x, .p = low.gradient[cotangent].p, .fro = low.fro, .h_chunk = low.h_chunk};
        gka_gradient_enclosure e = {.hi = r.hi, .lo = r.lo, .error = r.error};
        gradient(p, cotangent, &given, &e, &r.out, &report);
        s->elements += report.elements;
        s->in_mpfr += report.elements_mpfr;
        s->undecided += report.elements_undecided;
        if (bits == CHECKPOINT_BITS)
            enclose_from_checkpoints(p, cotangent, &given, &r);
        e = (gka_gradient_enclosure){.hi = r.exact,
                                     .lo = r.exact_lo,
                                     .error = unused,
                                     .widen = 1e30,
                                     .precision = JUDGE_BITS};
        gradient(p, cotangent, &given, &e, &r.out, &report);
        compare(p, cotangent, &r, s);
        lab_exact_free(p, &low);
        lab_exact_free(p, &unused);
        each_result(p, &r, free_results);
    }
}

/* Every generator with every gate at every ridge, and shapes in turn. */
static void sweep_gradients(int bits, int step, bool given, tally *s) {
    static const double ridges[] = {.005, .02, .1, 1};
    static const int64_t sizes[] = {1, 2, 3, 5, 8, 9, 12};
    for (int i = 0; i < 80; i += step) {
        const gka_generator generator = {.keys = (gka_keys)(i % 5),
                                         .gate = (gka_gate)(i / 5 % 4),
                                         .B = 1,
                                         .T = 5 + i % 3,
                                         .H = i % 4 == 3 ? 4 : 1 + i % 2,
                                         .G = i % 4 == 3 ? 2 : 1,
                                         .D = sizes[i % 7],
                                         .V = sizes[(i + 2) % 7],
                                         .alpha = i % 3 != 0,
                                         .h0 = i % 3 == 1,
                                         .cotangents = true,
                                         .final = i % 7 == 2,
                                         .dtype = i % 2 == 0 ? GKA_BF16 : GKA_F64,
                                         .ridge_ratio = ridges[i / 20],
                                         .chunk_size = 4,
                                         .seed = (uint64_t)i};
        gka_problem problem;
        gka_error error = {0};
        if (gka_problem_generate(&generator, &problem, &error) != GKA_OK)
            fail_msg("%s", error.text);
        if (given)
            problem_at_given(&problem, bits, s);
        else
            problem_inside(&problem, bits, s);
        gka_problem_free(&problem);
    }
}

/* ---- tests --------------------------------------------------------------------------------- */

/* An element is decided unless a boundary of rounding lies within its bound: 2^-53 of it apart, so
 * for an element as large as its tensor's largest with probability 2 bound / 2^-53. A bound of
 * 1e-20 leaves one in 5000 of these: wide enough to be met, and narrow enough to be of use. */
static void not_too_wide(const tally *s) {
    for (int i = 0; i < TENSORS; i++)
        assert_true(s->widest[i] <= 1e-20);
}

static void prop_inside_their_bounds(void **state) {
    (void)state;
    tally s;
    tally_start(&s);
    sweep_gradients(0, 1, false, &s);
    tally_print(&s);
    assert_true(s.elements > 50000);
    assert_int_equal(s.undecided, 0);
    assert_true(s.in_mpfr * 1000 < s.elements); /* of which most are 0 by cancellation, or nearly */
    not_too_wide(&s);
}

static void prop_inside_at_given(void **state) {
    (void)state;
    tally s;
    tally_start(&s);
    sweep_gradients(0, 3, true, &s);
    tally_print(&s);
    assert_true(s.elements > 20000);
    not_too_wide(&s);
}

static void prop_mpfr_inside_its_bounds(void **state) {
    (void)state;
    tally s;
    tally_start(&s);
    sweep_gradients(FEW_BITS, 3, false, &s);
    tally_print(&s);
    assert_true(s.elements > 10000);
}

static void prop_checkpoints_inside_their_bounds(void **state) {
    (void)state;
    tally s;
    tally_start(&s);
    sweep_gradients(CHECKPOINT_BITS, 7, false, &s);
    sweep_gradients(CHECKPOINT_BITS, 11, true, &s);
    tally_print(&s);
    assert_true(s.elements > 8000);
    for (int i = 0; i < TENSORS; i++) /* the error of binary64 was there, not that of 160 bits */
        assert_true(s.widest[i] > 1e-16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prop_inside_their_bounds),
        cmocka_unit_test(prop_inside_at_given),
        cmocka_unit_test(prop_mpfr_inside_its_bounds),
        cmocka_unit_test(prop_checkpoints_inside_their_bounds),
    };
    const int failed = cmocka_run_group_tests_name("gradient", tests, NULL, NULL);
    mpfr_free_cache();
    return failed;
}
