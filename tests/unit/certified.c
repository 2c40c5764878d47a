/* certified.c - the certified oracle: correctly rounded results, its bounds, ties and zeros. */
#include "oracle.h"

#include "oracle/certified.h"
#include "oracle/certified_gradient.h"
#include "oracle/rounding.h"

#include <mpfr.h>

/* ---- correctly rounded --------------------------------------------------------------------- */

/* MPFR at 640 bits rounds correctly but with a probability of 2^-500; its zeros may be -0. */
static void judge(const gka_problem *problem, gka_outputs *out, gka_outputs *lo) {
    const gka_oracle_options options = {.oracle = GKA_ORACLE_MPFR, .precision = 640};
    gka_error error = {0};
    if (gka_oracle_forward(problem, &options, out, lo, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
}

static void compare(const gka_problem *problem, const char *what, gka_outputs *a, gka_outputs *b) {
    lab_member ours[LAB_MEMBERS], theirs[LAB_MEMBERS];
    lab_members(problem, a, ours);
    lab_members(problem, b, theirs);
    for (int m = 0; m < LAB_FORWARD; m++)
        for (int64_t i = 0; strcmp(ours[m].name, "kappa") != 0 && i < ours[m].count; i++) {
            const double x = (*ours[m].at)[i], y = (*theirs[m].at)[i] + 0.0;
            if (bits_of(x) != bits_of(y))
                fail_msg("%s %s[%lld]: %a, correctly rounded %a", what, ours[m].name, (long long)i,
                         x, y);
        }
}

static const lab_shape shapes[] = {
    {.B = 1, .T = 6, .H = 1, .G = 1, .D = 1, .V = 1, .gate = true, .alpha = true},
    {.B = 2, .T = 9, .H = 2, .G = 1, .D = 5, .V = 3, .gate = true, .alpha = true, .cut = true},
    {.B = 1, .T = 9, .H = 2, .G = 2, .D = 8, .V = 8, .alpha = true, .silent = true},
    {.B = 1, .T = 9, .H = 2, .G = 2, .D = 9, .V = 17, .gate = true, .states = true, .alpha = true},
    {.B = 1,
     .T = 7,
     .H = 1,
     .G = 1,
     .D = 4,
     .V = 4,
     .gate = true,
     .states = true,
     .h0_scale = -0x1p-9,
     .alpha = true},
    {.B = 1, .T = 8, .H = 4, .G = 2, .D = 6, .V = 2, .gate = true, .packed = true, .states = true},
    {.B = 1, .T = 5, .H = 1, .G = 1, .D = 24, .V = 0, .gate = true, .a = 1e-6},
    {.B = 1, .T = 40, .H = 1, .G = 1, .D = 16, .V = 16, .gate = true, .alpha = true, .a = 1e-5},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void prop_correctly_rounded(void **state) {
    (void)state;
    for (int i = 0; i < SHAPES; i++) {
        lab_shape shape = shapes[i];
        shape.seed = (uint64_t)i + 1;
        lab_case lab;
        gka_outputs out, lo, exact, exact_lo, only;
        lab_new(&lab, &shape);
        const gka_problem *const p = &lab.problem;
        lab_exact_new(p, &out);
        lab_exact_new(p, &lo);
        lab_exact_new(p, &only);
        lab_exact_new(p, &exact);
        lab_exact_new(p, &exact_lo);
        gka_outputs *const with_o[] = {&out, &only, &exact};
        for (int j = 0; j < 3 && p->V == 0; j++) {
            gka_free(with_o[j]->o);
            with_o[j]->o = NULL;
        }
        lab_forward(p, GKA_ORACLE_CERTIFIED, &only, NULL);
        judge(p, &exact, &exact_lo);
        compare(p, "hi", &only, &exact);
        lab_forward(p, GKA_ORACLE_CERTIFIED, &out, &lo);
        compare(p, "hi with lo", &out, &exact);
        compare(p, "lo", &lo, &exact_lo);
        lab_exact_free(p, &out);
        lab_exact_free(p, &lo);
        lab_exact_free(p, &only);
        lab_exact_free(p, &exact);
        lab_exact_free(p, &exact_lo);
        lab_free(&lab);
    }
}

/* ---- a changed input is refused ------------------------------------------------------------ */

/* x computed with the last bit of one gamma flipped, offered as a claim about the true inputs: its
 * proven bound is then no better than that bit, and the two enclosures are disjoint. */
static void test_flipped_gamma_is_refused(void **state) {
    (void)state;
    enum { T = 12, D = 16, FLIP = 7 };
    const lab_shape shape = {
        .B = 1, .T = T, .H = 1, .G = 1, .D = D, .V = 2, .gate = true, .seed = 77};
    static double x[2][T * D], x_lo[2][T * D], error[2][T], claim_error[2][T], out_x[T * D];
    lab_case lab;
    lab_new(&lab, &shape);
    const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED};
    gka_outputs out = {.x = out_x}, nothing = {0};
    gka_oracle_report report = {0};
    for (int i = 0; i < 2; i++) {
        gka_enclosure e = {.x = x[i],
                           .x_lo = x_lo[i],
                           .x_error = error[i],
                           .no_mpfr = true,
                           .flip = i == 0 ? -1 : FLIP};
        assert_int_equal(
            gka_certified_enclose(&lab.problem, &options, &out, &nothing, &e, &report, NULL),
            GKA_OK);
        static double scratch[T * D], scratch_lo[T * D];
        gka_enclosure judged = {.x = scratch,
                                .x_lo = scratch_lo,
                                .x_error = claim_error[i],
                                .no_mpfr = true,
                                .flip = -1,
                                .claim = x[i],
                                .claim_lo = x_lo[i]};
        report = (gka_oracle_report){0};
        assert_int_equal(
            gka_certified_enclose(&lab.problem, &options, &out, &nothing, &judged, &report, NULL),
            GKA_OK);
        assert_true(i == 0 ? report.recomputed == 0 : report.recomputed > 0);
    }
    for (int t = 0; t < T; t++) {
        double norm = 0, apart = 0;
        for (int i = t * D; i < (t + 1) * D; i++) {
            const double d = (x[0][i] - x[1][i]) + (x_lo[0][i] - x_lo[1][i]);
            norm += x[0][i] * x[0][i];
            apart += d * d;
        }
        norm = sqrt(norm);
        assert_true(error[0][t] < 0x1p-80 * norm && claim_error[0][t] < 0x1p-80 * norm);
        if (t < FLIP) {
            assert_true(claim_error[1][t] < 0x1p-80 * norm);
        } else {
            assert_true(claim_error[1][t] > 0x1p-70 * norm);
            assert_true(sqrt(apart) > error[0][t] + error[1][t]);
        }
    }
    lab_free(&lab);
}

/* ---- other formats ------------------------------------------------------------------------- */

/* hi + lo rounded to p bits by MPFR; the values here are far from the ends of the formats. */
static double rounded(double hi, double lo, int p) {
    mpfr_t x, y;
    mpfr_init2(x, 160);
    mpfr_init2(y, p);
    mpfr_set_d(x, hi, MPFR_RNDN);
    mpfr_add_d(x, x, lo, MPFR_RNDN);
    mpfr_set(y, x, MPFR_RNDN);
    const double r = mpfr_get_d(y, MPFR_RNDN) + 0.0;
    mpfr_clears(x, y, (mpfr_ptr)NULL);
    return r;
}

static void prop_other_formats(void **state) {
    (void)state;
    static const char *const names[] = {"bf16", "tf32", "fp32"};
    for (int f = 0; f < 3; f++) {
        const lab_shape shape = {.B = 1,
                                 .T = 12,
                                 .H = 2,
                                 .G = 1,
                                 .D = 7,
                                 .V = 5,
                                 .gate = true,
                                 .alpha = true,
                                 .seed = 5 + (uint64_t)f};
        const gka_format *const format = gka_format_find(names[f]);
        const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED, .round_to = format};
        lab_case lab;
        gka_outputs out, exact, exact_lo;
        lab_member m[3][LAB_MEMBERS];
        lab_new(&lab, &shape);
        gka_outputs *const all[3] = {&out, &exact, &exact_lo};
        for (int i = 0; i < 3; i++) {
            lab_exact_new(&lab.problem, all[i]);
            lab_members(&lab.problem, all[i], m[i]);
        }
        assert_int_equal(gka_oracle_forward(&lab.problem, &options, &out, NULL, NULL, NULL),
                         GKA_OK);
        judge(&lab.problem, &exact, &exact_lo);
        for (int i = 0; i < LAB_FORWARD; i++)
            for (int64_t j = 0; strcmp(m[0][i].name, "kappa") != 0 && j < m[0][i].count; j++)
                assert_int_equal(bits_of((*m[0][i].at)[j]),
                                 bits_of(rounded((*m[1][i].at)[j], (*m[2][i].at)[j], format->p)));
        for (int i = 0; i < 3; i++)
            lab_exact_free(&lab.problem, all[i]);
        lab_free(&lab);
    }
}

/* Double rounding: a hair above a midpoint of bf16 rounds up though its binary64 is the midpoint.
 */
static void test_rounding_is_single(void **state) {
    (void)state;
    gka_target bf16, fp64;
    double out;
    assert_true(gka_target_make(gka_format_find("bf16"), &bf16));
    assert_true(gka_target_make(NULL, &fp64));
    assert_true(gka_target_decide(bf16, 1 + 0x1p-8, 0x1p-70, 0x1p-90, &out));
    assert_int_equal(bits_of(out), bits_of(1 + 0x1p-7));
    assert_true(gka_target_decide(bf16, 1 + 0x1p-8, -0x1p-70, 0x1p-90, &out));
    assert_int_equal(bits_of(out), bits_of(1));
    assert_false(gka_target_decide(bf16, 1 + 0x1p-8, 0, 0x1p-90, &out));
    assert_false(gka_target_decide(fp64, 1, 0x1p-53, 0x1p-110, &out));
    assert_true(gka_target_decide(fp64, 1, 0x1p-53, -0x1p-150, &out) == false);
    assert_true(gka_target_decide(fp64, 1, 0x1p-54, 0x1p-110, &out));
    assert_false(gka_target_decide(fp64, NAN, 0, 0, &out));
    assert_true(gka_target_decide(bf16, -0x1p-200, 0, 0x1p-300, &out));
    assert_int_equal(bits_of(out), 0); /* +0, by declaration */
    gka_format wide = *gka_format_find("fp64");
    wide.emin = -100;
    assert_false(gka_target_make(&wide, &fp64));
}

/* ---- exact ties and zeros ------------------------------------------------------------------ */

/* One-hot keys e_{t mod D} and queries, no gate, scale 1, a = 1/sqrt(D): after every dimension has
 * had c = 2^m keys, H = c I, f = c sqrt(D), lambda = c and x = q/(2c), all dyadic. Value v of a
 * token is 1 in the first round and, in the second, 2^-53 (a tie of 1 + 2^-53), 3 2^-53 (a tie that
 * goes up) or -1 (a zero that structure does not show), by v mod 3. */
static void ties_and_zeros(int64_t D, double alpha, int64_t *constructed, int64_t *counted) {
    const int64_t T = 2 * D, V = 144;
    const lab_shape shape = {.B = 1,
                             .T = T,
                             .H = 1,
                             .G = 1,
                             .D = D,
                             .V = V,
                             .alpha = true,
                             .a = 1 / sqrt((double)D),
                             .seed = 3};
    static const double second[3] = {0x1p-53, 0x1.8p-52, -1};
    lab_case lab;
    gka_outputs exact;
    lab_new(&lab, &shape);
    lab.problem.scale = 1;
    for (int64_t t = 0; t < T; t++) {
        lab.alpha[t] = alpha;
        for (int64_t i = 0; i < D; i++) {
            lab.k[t * D + i] = i == t % D;
            lab.q[t * D + i] = i == (alpha == 1 ? 2 * D - 1 - t : t) % D ? 4 : 0;
        }
        for (int64_t v = 0; v < V; v++)
            lab.v[t * V + v] = t < D ? 1 : second[v % 3];
    }
    lab_exact_new(&lab.problem, &exact);
    double *const o = gka_alloc((size_t)(T * V), sizeof *o);
    gka_outputs out = {.o = o};
    gka_oracle_report report;
    gka_error error = {0};
    const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED};
    if (gka_oracle_forward(&lab.problem, &options, &out, NULL, &report, &error) != GKA_OK)
        fail_msg("%s", error.text);
    /* where the answer is known: alpha = 0, every token of the second round; alpha = 1, the last */
    int64_t known = 0;
    for (int64_t t = alpha == 0 ? D : T - 1; t < T; t++)
        for (int64_t v = 0; v < V; v++, known++) {
            const double u = v % 3 == 0 ? 1 : v % 3 == 1 ? 1 + 0x1p-51 : 0;
            const double x = alpha == 0 ? 4 : 1; /* q/(2c), c = 2 */
            assert_int_equal(bits_of(o[t * V + v]), bits_of(u * x));
        }
    assert_true(report.ties + report.zeros >= known);
    *constructed += known;
    *counted += report.ties + report.zeros;
    gka_free(o);
    lab_exact_free(&lab.problem, &exact);
    lab_free(&lab);
}

static void test_exact_ties_and_zeros(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 4, 64};
    int64_t constructed = 0, counted = 0;
    for (int i = 0; i < 3; i++) {
        ties_and_zeros(sizes[i], 0, &constructed, &counted);
        ties_and_zeros(sizes[i], 1, &constructed, &counted);
    }
    print_message("ties and zeros: %lld constructed, %lld counted\n", (long long)constructed,
                  (long long)counted);
    assert_true(constructed >= 10000 && counted >= constructed);
}

/* States: 1 + 2^-53 is a tie, 1 - 1 a zero, both exact in MPFR at any precision. */
static void test_ties_of_states(void **state) {
    (void)state;
    const lab_shape shape = {
        .B = 1, .T = 1, .H = 1, .G = 1, .D = 2, .V = 1, .states = true, .seed = 9};
    lab_case lab;
    double h_final[4], u_final[2], lo_h[4];
    lab_new(&lab, &shape);
    const double h0[4] = {0x1p-53, -1, -1, 0x1.8p-52}, u0[2] = {-1, 0x1p-53};
    memcpy(lab.h0, h0, sizeof h0);
    memcpy(lab.u0, u0, sizeof u0);
    lab.k[0] = lab.k[1] = lab.v[0] = 1;
    gka_outputs out = {.h_final = h_final, .u_final = u_final}, lo = {.h_final = lo_h};
    gka_oracle_report report;
    const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED};
    assert_int_equal(gka_oracle_forward(&lab.problem, &options, &out, &lo, &report, NULL), GKA_OK);
    assert_int_equal(bits_of(h_final[0]), bits_of(1));
    assert_int_equal(bits_of(lo_h[0]), bits_of(0x1p-53));
    assert_int_equal(bits_of(h_final[1]) | bits_of(h_final[2]), 0);
    assert_int_equal(bits_of(h_final[3]), bits_of(1 + 0x1p-51));
    assert_int_equal(bits_of(lo_h[3]), bits_of(-0x1p-53));
    assert_int_equal(bits_of(u_final[0]), 0);
    assert_int_equal(bits_of(u_final[1]), bits_of(1));
    assert_int_equal(report.ties, 3);
    assert_int_equal(report.zeros, 3);
    lab_free(&lab);
}

/* 1 + 2^-26 times 1 + 2^-27 is a tie between two numbers, the even one below; a state that has
 * decayed by exp(g) breaks it, upward or downward: by 2^-1443 and 2^-1587 as bits show, by
 * 2^-1442695040 as they do not, which is said. */
static void test_ties_broken_by_decayed_states(void **state) {
    (void)state;
    const lab_shape shape = {
        .B = 1, .T = 1, .H = 1, .G = 1, .D = 1, .V = 1, .gate = true, .states = true, .seed = 9};
    const double gates[] = {-1000, -1100, -1e9}, even = 1 + 0x1p-26 + 0x1p-27;
    lab_case lab;
    lab_new(&lab, &shape);
    lab.k[0] = 1 + 0x1p-26;
    lab.v[0] = 1 + 0x1p-27;
    for (int i = 0; i < 6; i++) {
        double u_final, u_lo;
        gka_outputs out = {.u_final = &u_final}, lo = {.u_final = &u_lo};
        gka_oracle_report report;
        const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED};
        lab.u0[0] = i % 2 == 0 ? 1 : -1;
        lab.g[0] = gates[i / 2];
        const bool shown = i < 4, up = shown && i % 2 == 0;
        assert_int_equal(gka_oracle_forward(&lab.problem, &options, &out, &lo, &report, NULL),
                         GKA_OK);
        assert_int_equal(bits_of(u_final), bits_of(up ? even + 0x1p-52 : even));
        assert_int_equal(bits_of(u_lo), bits_of(up ? -0x1p-53 : 0x1p-53));
        assert_int_equal(report.declared, shown ? 0 : 1);
        assert_int_equal(report.listed, shown ? 0 : 1);
        assert_int_equal(report.ties, shown ? 0 : 1);
        if (!shown) {
            assert_string_equal(report.unproven[0].tensor, "u_final");
            assert_int_equal(report.unproven[0].at, 0);
            assert_false(report.unproven[0].second_word);
        }
    }
    lab_free(&lab);
}

/* exp(-3.4e38) is below the exponents of MPFR, too. Where a key follows at once, what is left of
 * the state counts for nothing; without one, x = exp(3.4e38) ... is not 0. */
static void test_below_mpfr(void **state) {
    (void)state;
    const lab_shape shape = {
        .B = 1, .T = 3, .H = 1, .G = 1, .D = 2, .V = 1, .gate = true, .alpha = true, .seed = 9};
    lab_case lab;
    gka_outputs out;
    lab_new(&lab, &shape);
    lab_exact_new(&lab.problem, &out);
    lab.g[1] = -3.4e38;
    for (int oracle = GKA_ORACLE_CERTIFIED; oracle <= GKA_ORACLE_MPFR; oracle++) {
        const gka_oracle_options options = {.oracle = (gka_oracle)oracle};
        const gka_status refused =
            oracle == GKA_ORACLE_CERTIFIED ? GKA_NO_CERTIFICATE : GKA_UNSUPPORTED;
        gka_error error = {0};
        lab.k[2] = 1;
        assert_int_equal(gka_oracle_forward(&lab.problem, &options, &out, NULL, NULL, &error),
                         GKA_OK);
        lab.k[2] = lab.k[3] = 0;
        assert_int_equal(gka_oracle_forward(&lab.problem, &options, &out, NULL, NULL, &error),
                         refused);
        for (int of = GKA_OF_X; of <= GKA_OF_O; of++)
            assert_int_equal(
                gka_oracle_gradient(&lab.problem, (gka_of)of, &options, &out, NULL, NULL, &error),
                refused);
    }
    lab_exact_free(&lab.problem, &out);
    lab_free(&lab);
}

/* No key after the first and gates of e^-700: H decays to e^-7000, f to 0 and x to Inf in binary64;
 * a key then brings the state back. */
static void test_far_below_binary64(void **state) {
    (void)state;
    const lab_shape shape = {
        .B = 1, .T = 14, .H = 1, .G = 1, .D = 3, .V = 2, .gate = true, .alpha = true, .seed = 12};
    lab_case lab;
    gka_outputs out, lo, exact, exact_lo;
    lab_new(&lab, &shape);
    for (int t = 1; t < 14; t++) {
        lab.g[t] = t < 12 ? -700 : -1;
        for (int i = 0; i < 3 && t != 12; i++)
            lab.k[3 * t + i] = 0;
    }
    gka_outputs *const all[4] = {&out, &lo, &exact, &exact_lo};
    for (int i = 0; i < 4; i++)
        lab_exact_new(&lab.problem, all[i]);
    lab_forward(&lab.problem, GKA_ORACLE_CERTIFIED, &out, NULL);
    judge(&lab.problem, &exact, &exact_lo);
    compare(&lab.problem, "hi", &out, &exact);
    assert_true(isinf(out.x[3 * 11]) && out.fro[11] == 0 && isfinite(out.x[3 * 12]));
    lab_forward(&lab.problem, GKA_ORACLE_CERTIFIED, &out, &lo);
    compare(&lab.problem, "lo", &lo, &exact_lo);
    for (int i = 0; i < 4; i++)
        lab_exact_free(&lab.problem, all[i]);
    lab_free(&lab);
}

/* A key of zeros at a gate of -inf: the state is empty there, and nobody needs MPFR to say so. */
static void test_restart_is_empty(void **state) {
    (void)state;
    const lab_shape shape = {.B = 1,
                             .T = 6,
                             .H = 1,
                             .G = 1,
                             .D = 5,
                             .V = 2,
                             .gate = true,
                             .cut = true,
                             .silent = true,
                             .seed = 21};
    lab_case lab;
    gka_outputs out;
    gka_oracle_report report;
    const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED};
    lab_new(&lab, &shape);
    lab_exact_new(&lab.problem, &out);
    assert_int_equal(gka_oracle_forward(&lab.problem, &options, &out, NULL, &report, NULL), GKA_OK);
    assert_int_equal(report.empty_states, 1);
    assert_int_equal(report.recomputed, 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(bits_of(out.x[3 * 5 + i]), 0);
    assert_int_equal(bits_of(out.fro[3]), 0);
    lab_exact_free(&lab.problem, &out);
    lab_free(&lab);
}

/* ---- windows ------------------------------------------------------------------------------- */

typedef struct windows {
    const gka_problem *problem;
    const gka_outputs *whole, *part;
    int64_t next, passed;
} windows;

static bool compare_window(void *context, int64_t begin, int64_t end) {
    windows *const s = context;
    const gka_problem *const p = s->problem;
    const int64_t n = end - begin, C = p->chunk_size, D = p->D, V = p->V;
    assert_int_equal(begin, s->next);
    s->next = end;
    const size_t chunks = (size_t)((n + C - 1) / C * D * D) * sizeof(double);
    assert_memory_equal(s->part->x, s->whole->x + begin * D, (size_t)(n * D) * sizeof(double));
    assert_memory_equal(s->part->o, s->whole->o + begin * V, (size_t)(n * V) * sizeof(double));
    assert_memory_equal(s->part->fro, s->whole->fro + begin, (size_t)n * sizeof(double));
    assert_memory_equal(s->part->h_chunk, s->whole->h_chunk + begin / C * D * D, chunks);
    return true;
}

static void count_passed(void *context) {
    windows *const s = context;
    s->passed++;
}

/* By pieces the results are the same, those that MPFR decides too. */
static void test_windows(void **state) {
    (void)state;
    int64_t recomputed = 0, passed = 0;
    for (int i = 0; i < 24; i++) {
        const lab_shape shape = {.B = 1,
                                 .T = 11 + i % 3,
                                 .H = 1,
                                 .G = 1,
                                 .D = 1 + i % 6,
                                 .V = 3,
                                 .gate = i % 2 == 1,
                                 .alpha = i % 4 == 0,
                                 .states = i % 3 == 0,
                                 .cut = i % 2 == 1,
                                 .silent = i % 5 == 0,
                                 .seed = (uint64_t)i};
        lab_case lab;
        gka_outputs whole, part;
        gka_oracle_report report;
        lab_new(&lab, &shape);
        /* One key, values that cancel: U = 0 at every second token, which MPFR must find out. */
        for (int64_t t = 1; i % 4 == 2 && t < shape.T; t++) {
            memcpy(lab.k + t * shape.D, lab.k, (size_t)shape.D * sizeof(double));
            for (int64_t v = 0; v < shape.V; v++)
                lab.v[t * shape.V + v] = -lab.v[(t - 1) * shape.V + v];
        }
        lab_exact_new(&lab.problem, &whole);
        lab_exact_new(&lab.problem, &part);
        windows s = {&lab.problem, &whole, &part, 0, 0};
        const gka_oracle_window window = {
            .tokens = 4, .full = compare_window, .passed = count_passed, .context = &s};
        gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED};
        gka_error error = {0};
        assert_int_equal(gka_oracle_forward(&lab.problem, &options, &whole, NULL, &report, &error),
                         GKA_OK);
        const gka_oracle_report first = report;
        recomputed += report.recomputed;
        options.window = &window;
        gka_outputs wanted = {.x = part.x,
                              .o = part.o,
                              .fro = part.fro,
                              .h_chunk = part.h_chunk,
                              .h_final = part.h_final,
                              .u_final = part.u_final};
        assert_int_equal(gka_oracle_forward(&lab.problem, &options, &wanted, NULL, &report, &error),
                         GKA_OK);
        assert_int_equal(s.next, shape.T);
        assert_int_equal(report.solves, first.solves);
        passed += s.passed;
        assert_memory_equal(part.h_final, whole.h_final, (size_t)(shape.D * shape.D) * 8);
        assert_memory_equal(part.u_final, whole.u_final, (size_t)(shape.D * shape.V) * 8);
        lab_exact_free(&lab.problem, &whole);
        lab_exact_free(&lab.problem, &part);
        lab_free(&lab);
    }
    assert_true(recomputed > 20);
    assert_true(passed > 6); /* MPFR begins anew for each window and precision */
}

/* Token members of gradients, by elements a token. */
enum { GRADIENT_MEMBERS = 8 };

typedef struct reverse_windows {
    windows all;
    bool layer;
    unsigned char *states; /* [windows, size] */
    size_t size;
    int64_t kept; /* states, to the right; then checkpoints, to the left */
    int64_t checkpoints;
    int calls, last; /* the call that says stop; 0: none */
} reverse_windows;

static void gradient_members(const gka_problem *p, gka_outputs *e, bool layer,
                             lab_member m[GRADIENT_MEMBERS]) {
    const gka_of of = layer ? GKA_OF_O : GKA_OF_X;
    const int members[GRADIENT_MEMBERS] = {
        GKA_GRADIENT_OUTPUT(of, P),  GKA_GRADIENT_OUTPUT(of, DQ),    GKA_GRADIENT_OUTPUT(of, DK),
        GKA_GRADIENT_OUTPUT(of, DG), GKA_GRADIENT_OUTPUT(of, DG_H),  GKA_GRADIENT_OUTPUT(of, DG_U),
        GKA_GRADIENT_OUTPUT(of, DV), GKA_GRADIENT_OUTPUT(of, DALPHA)};
    for (int i = 0; i < GRADIENT_MEMBERS; i++)
        m[i] = (lab_member){gka_output_table[members[i]].name, members[i], &e->of[members[i]],
                            gka_output_count(p, members[i])};
    for (int i = 6; i < GRADIENT_MEMBERS && !layer; i++)
        m[i].name = NULL;
}

static bool keep_state(void *context, int64_t window, const void *state, size_t size) {
    reverse_windows *const s = context;
    const int64_t n = (s->all.problem->T + 3) / 4, order = s->kept++;
    if (++s->calls == s->last)
        return false;
    assert_int_equal(window, order < n ? order : n + s->checkpoints - 1 - (order - n));
    assert_true(size <= s->size);
    memcpy(s->states + (size_t)window * s->size, state, size);
    return true;
}

static bool fetch_state(void *context, int64_t window, void *state, size_t size) {
    reverse_windows *const s = context;
    memcpy(state, s->states + (size_t)window * s->size, size);
    return ++s->calls != s->last;
}

static bool compare_gradients(void *context, int64_t begin, int64_t end) {
    reverse_windows *const s = context;
    const gka_problem *const p = s->all.problem;
    lab_member whole[GRADIENT_MEMBERS], part[GRADIENT_MEMBERS];
    gka_outputs a = *s->all.whole, b = *s->all.part;
    assert_int_equal(end, s->all.next);
    assert_true(begin % 4 == 0 && end - begin <= 4);
    s->all.next = begin;
    gradient_members(p, &a, s->layer, whole);
    gradient_members(p, &b, s->layer, part);
    for (int i = 0; i < GRADIENT_MEMBERS && whole[i].name != NULL; i++) {
        const int64_t width = whole[i].count / p->T;
        if (memcmp(*part[i].at, *whole[i].at + begin * width,
                   (size_t)((end - begin) * width) * sizeof(double)) != 0)
            fail_msg("%s of tokens %lld to %lld", whole[i].name, (long long)begin, (long long)end);
    }
    return true;
}

static gka_oracle_window window_of(reverse_windows *s) {
    return (gka_oracle_window){.tokens = 4,
                               .full = compare_gradients,
                               .keep = keep_state,
                               .fetch = fetch_state,
                               .context = s};
}

/* The same again, stopped by each of its calls that keep or fetch in turn. */
static void stops_at_each_call(const reverse_windows *s, const gka_gradient_enclosure *e) {
    for (int last = 1; last <= s->calls; last++) {
        reverse_windows again = {
            .all = {s->all.problem, s->all.whole, s->all.part, s->all.problem->T, 0},
            .layer = s->layer,
            .states = s->states,
            .size = s->size,
            .checkpoints = s->checkpoints,
            .last = last};
        const gka_oracle_window window = window_of(&again);
        const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED, .window = &window};
        gka_outputs part = *s->all.part, nothing = {0};
        gka_oracle_report report = {0};
        assert_int_equal(gka_certified_gradient_enclose(s->all.problem,
                                                        s->layer ? GKA_OF_O : GKA_OF_X, &options,
                                                        &part, &nothing, e, &report, NULL),
                         GKA_INTERRUPTED);
    }
}

/* So are those of gradients, from the right. */
static void test_windows_of_gradients(void **state) {
    (void)state;
    enum { KEPT = 8 + 9, SPACING = 3 };
    unsigned char states[KEPT * 8192];
    int64_t in_mpfr = 0, undecided = 0;
    for (int i = 0; i < 24; i++) {
        const lab_shape shape = {.B = 1,
                                 .T = 27 + i % 3,
                                 .H = 1,
                                 .G = 1,
                                 .D = 1 + i % 9,
                                 .V = 3,
                                 .gate = i % 4 != 0,
                                 .alpha = i % 3 == 0,
                                 .states = i % 3 != 0,
                                 .cut = i % 4 == 1,
                                 .silent = i % 5 == 0,
                                 .seed = (uint64_t)i};
        const bool layer = i % 2 == 0;
        const gka_of cotangent = layer ? GKA_OF_O : GKA_OF_X;
        lab_case lab;
        gka_outputs whole, part;
        lab_new(&lab, &shape);
        lab_exact_new(&lab.problem, &whole);
        lab_exact_new(&lab.problem, &part);
        lab_gradient(&lab.problem, cotangent, GKA_ORACLE_CERTIFIED, &whole, NULL);
        reverse_windows s = {.all = {&lab.problem, &whole, &part, shape.T, 0},
                             .layer = layer,
                             .states = states,
                             .size = sizeof states / KEPT,
                             .checkpoints = i % 5 < 2 ? (shape.T - 1) / SPACING : 0};
        const gka_oracle_window window = window_of(&s);
        const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED, .window = &window};
        /* MPFR decides some from checkpoints; or not, for the gates do not forget in a token; or,
         * of these short ones, all from the ends */
        const gka_gradient_enclosure ways[] = {
            {.widen = 1e11, .longest = 1, .spacing = SPACING},
            {.widen = 1e11, .longest = 1, .spacing = SPACING, .farthest = 1},
            {.widen = 1},
            {.widen = 1e30}};
        const int way = i % 5 < 3 ? i % 5 : 3;
        const gka_gradient_enclosure e = ways[way];
        gka_outputs nothing = {0};
        gka_oracle_report report = {0};
        gka_error error = {0};
        assert_int_equal(gka_certified_gradient_enclose(&lab.problem, cotangent, &options, &part,
                                                        &nothing, &e, &report, &error),
                         GKA_OK);
        if (i == 0)
            stops_at_each_call(&s, &e);
        assert_true(way < 3 || report.elements_mpfr > report.elements / 2);
        in_mpfr += way == 0 ? report.elements_mpfr : 0;
        undecided += report.elements_undecided;
        assert_true(report.elements_mpfr + report.elements_undecided <= report.elements);
        assert_int_equal(s.kept, (shape.T + 3) / 4 + s.checkpoints);
        assert_true(way == 1 || report.elements_undecided == 0);
        assert_int_equal(s.all.next, 0);
        assert_int_equal(report.solves, shape.T);
        assert_memory_equal(part.gradient[cotangent].dh0, whole.gradient[cotangent].dh0,
                            (size_t)(shape.D * shape.D) * 8);
        if (layer)
            assert_memory_equal(part.gradient[cotangent].du0, whole.gradient[cotangent].du0,
                                (size_t)(shape.D * shape.V) * 8);
        lab_exact_free(&lab.problem, &whole);
        lab_exact_free(&lab.problem, &part);
        lab_free(&lab);
    }
    assert_true(in_mpfr > 100 && undecided > 100);
}

/* A stretch without keys in which gates close so far that the norm of the state is 0 in
 * double-double, that binary64 factors nothing, or that a checkpoint has no state at all: what lies
 * left of it is as wrong there as can be, and comes from the ends. */
static void test_windows_of_faded_states(void **state) {
    (void)state;
    enum { T = 29, FADES = 18, D = 2, V = 3, SPACING = 3, KEPT = 8 + 9 };
    static const struct {
        int silent;
        double g;
    } cases[] = {{2, -200}, {2, -170}, {6, -60}, {9, -200}};
    unsigned char states[KEPT * 8192];
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        const lab_shape shape = {.B = 1,
                                 .T = T,
                                 .H = 1,
                                 .G = 1,
                                 .D = D,
                                 .V = V,
                                 .gate = true,
                                 .alpha = true,
                                 .seed = (uint64_t)i};
        const gka_of cotangent = i % 2 == 0 ? GKA_OF_O : GKA_OF_X;
        const gka_gradient_enclosure e = {.widen = 1, .longest = 1, .spacing = SPACING};
        lab_case lab;
        gka_outputs whole, part, nothing = {0};
        gka_oracle_report report = {0};
        gka_error error = {0};
        lab_new(&lab, &shape);
        for (int t = 0; t < FADES; t++)
            lab.g[t] = -1.5; /* 6 bits in three tokens */
        for (int t = FADES; t < FADES + cases[i / 2].silent; t++) {
            lab.g[t] = cases[i / 2].g;
            memset(lab.k + (int64_t)t * D, 0, D * sizeof(double));
        }
        lab_exact_new(&lab.problem, &whole);
        lab_exact_new(&lab.problem, &part);
        lab_gradient(&lab.problem, cotangent, GKA_ORACLE_CERTIFIED, &whole, NULL);
        reverse_windows s = {.all = {&lab.problem, &whole, &part, T, 0},
                             .layer = i % 2 == 0,
                             .states = states,
                             .size = sizeof states / KEPT,
                             .checkpoints = (T - 1) / SPACING};
        const gka_oracle_window window = window_of(&s);
        gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED, .window = &window};
        for (int by_windows = 1; by_windows >= 0; by_windows--) {
            if (gka_certified_gradient_enclose(&lab.problem, cotangent, &options, &part, &nothing,
                                               &e, &report, &error) != GKA_OK)
                fail_msg("case %zu: %s", i, error.text);
            assert_int_equal(s.all.next, 0);
            options.window = NULL;
        }
        lab_member a[GRADIENT_MEMBERS], b[GRADIENT_MEMBERS];
        gradient_members(&lab.problem, &whole, s.layer, a);
        gradient_members(&lab.problem, &part, s.layer, b);
        for (int j = 0; j < GRADIENT_MEMBERS && a[j].name != NULL; j++)
            assert_memory_equal(*a[j].at, *b[j].at, (size_t)a[j].count * sizeof(double));
        lab_exact_free(&lab.problem, &whole);
        lab_exact_free(&lab.problem, &part);
        lab_free(&lab);
    }
}

/* A query of zeros has x = 0: there is no error to be relative to that. */
static void test_bound_of_zero_queries(void **state) {
    (void)state;
    const lab_shape shape = {.B = 1, .T = 4, .H = 1, .G = 1, .D = 3, .V = 2, .seed = 4};
    const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED};
    lab_case lab;
    double x[12];
    gka_outputs out = {.x = x};
    lab_new(&lab, &shape);
    for (int zeros = 0; zeros < 2; zeros++) {
        gka_oracle_report report = {0};
        for (int i = 0; zeros && i < 12; i++)
            lab.q[i] = 0;
        assert_int_equal(gka_oracle_forward(&lab.problem, &options, &out, NULL, &report, NULL),
                         GKA_OK);
        assert_true(report.worst_bound < 1e-20 && (report.worst_bound > 0) != zeros);
        assert_int_equal(report.zeros, zeros ? 12 : 0);
    }
    lab_free(&lab);
}

/* ---- statuses ------------------------------------------------------------------------------ */

static void test_no_certificate(void **state) {
    (void)state;
    const lab_shape shape = {
        .B = 1, .T = 2, .H = 1, .G = 1, .D = 3, .V = 2, .states = true, .h0_scale = -4, .seed = 4};
    lab_case lab;
    double x[6];
    gka_outputs out = {.x = x};
    gka_error error = {0};
    const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED};
    lab_new(&lab, &shape);
    assert_int_equal(gka_oracle_forward(&lab.problem, &options, &out, NULL, NULL, &error),
                     GKA_NO_CERTIFICATE);
    assert_non_null(strstr(error.text, "token 0"));
    lab_free(&lab);
}

static void test_unsupported_format(void **state) {
    (void)state;
    const lab_shape shape = {.B = 1, .T = 1, .H = 1, .G = 1, .D = 1, .V = 1, .seed = 4};
    gka_format format = *gka_format_find("fp64");
    format.emin = -100;
    const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED, .round_to = &format};
    lab_case lab;
    double x[1];
    gka_outputs out = {.x = x};
    lab_new(&lab, &shape);
    assert_int_equal(gka_oracle_forward(&lab.problem, &options, &out, NULL, NULL, NULL),
                     GKA_UNSUPPORTED);
    lab_free(&lab);
}

typedef struct allocating {
    const gka_problem *problem;
    bool gradient;
    gka_outputs out, lo;
} allocating;

static gka_status allocate(void *context) {
    allocating *const a = context;
    const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED};
    return a->gradient
               ? gka_oracle_gradient(a->problem, GKA_OF_O, &options, &a->out, &a->lo, NULL, NULL)
               : gka_oracle_forward(a->problem, &options, &a->out, &a->lo, NULL, NULL);
}

static void test_every_allocation_failing(void **state) {
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
                             .seed = 6};
    lab_case lab;
    lab_new(&lab, &shape);
    allocating a = {.problem = &lab.problem};
    lab_exact_new(&lab.problem, &a.out);
    lab_exact_new(&lab.problem, &a.lo);
    for (int gradient = 0; gradient < 2; gradient++) {
        a.gradient = gradient == 1;
        assert_true(allocations_fail(allocate, &a) >= 2);
    }
    lab_exact_free(&lab.problem, &a.out);
    lab_exact_free(&lab.problem, &a.lo);
    lab_free(&lab);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prop_correctly_rounded),
        cmocka_unit_test(prop_other_formats),
        cmocka_unit_test(test_rounding_is_single),
        cmocka_unit_test(test_flipped_gamma_is_refused),
        cmocka_unit_test(test_exact_ties_and_zeros),
        cmocka_unit_test(test_ties_of_states),
        cmocka_unit_test(test_ties_broken_by_decayed_states),
        cmocka_unit_test(test_below_mpfr),
        cmocka_unit_test(test_far_below_binary64),
        cmocka_unit_test(test_restart_is_empty),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_windows_of_gradients),
        cmocka_unit_test(test_windows_of_faded_states),
        cmocka_unit_test(test_bound_of_zero_queries),
        cmocka_unit_test(test_no_certificate),
        cmocka_unit_test(test_unsupported_format),
        cmocka_unit_test(test_every_allocation_failing),
    };
    return cmocka_run_group_tests_name("certified", tests, NULL, NULL);
}
