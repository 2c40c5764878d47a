/* certified.c - the certified oracle: correctly rounded results, its bounds, ties and zeros. */
#include "oracle.h"

#include "oracle/certified.h"
#include "oracle/kernels.h"

/* ---- correctly rounded --------------------------------------------------------------------- */

/* MPFR at 640 bits rounds correctly but with a probability of 2^-500; its zeros may be -0. */
static void judge(const gka_problem *problem, gka_exact *out, gka_exact *lo) {
    const gka_oracle_options options = {.oracle = GKA_ORACLE_MPFR, .precision = 640};
    gka_error error = {0};
    if (gka_oracle_forward(problem, &options, out, lo, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
}

static void compare(const gka_problem *problem, const char *what, gka_exact *a, gka_exact *b) {
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
        gka_exact out, lo, exact, exact_lo, only;
        lab_new(&lab, &shape);
        const gka_problem *const p = &lab.problem;
        lab_exact_new(p, &out);
        lab_exact_new(p, &lo);
        lab_exact_new(p, &only);
        lab_exact_new(p, &exact);
        lab_exact_new(p, &exact_lo);
        if (p->V == 0)
            out.o = only.o = NULL;
        lab_forward(p, GKA_ORACLE_CERTIFIED, &only, NULL);
        if (p->V == 0)
            exact.o = NULL;
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

/* ---- gradients ----------------------------------------------------------------------------- */

/* ||a - b|| / ||b|| over a tensor given in two words each. */
static double distance(int64_t count, const double *a, const double *a_lo, const double *b,
                       const double *b_lo) {
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        const double d = (a[i] - b[i]) + (a_lo[i] - b_lo[i]); /* a - b is exact: they are close */
        difference += d * d;
        norm += b[i] * b[i];
    }
    return norm == 0 ? sqrt(difference) : sqrt(difference / norm);
}

static void gradients_agree(const lab_shape *shape, gka_cotangent cotangent, double tolerance) {
    lab_case lab;
    gka_exact out, lo, exact, exact_lo;
    lab_member m[4][LAB_MEMBERS];
    lab_new(&lab, shape);
    const gka_problem *const p = &lab.problem;
    gka_exact *const all[4] = {&out, &lo, &exact, &exact_lo};
    for (int i = 0; i < 4; i++) {
        lab_exact_new(p, all[i]);
        lab_members(p, all[i], m[i]);
    }
    lab_gradient(p, cotangent, GKA_ORACLE_CERTIFIED, &out, &lo);
    lab_gradient(p, cotangent, GKA_ORACLE_MPFR, &exact, &exact_lo);
    for (int i = LAB_FORWARD; i < LAB_MEMBERS; i++) {
        const double d =
            distance(m[0][i].count, *m[0][i].at, *m[1][i].at, *m[2][i].at, *m[3][i].at);
        if (!(d <= tolerance))
            fail_msg("%s: %g", m[0][i].name, d);
    }
    for (int i = 0; i < 4; i++)
        lab_exact_free(p, all[i]);
    lab_free(&lab);
}

/* 1e-25 is the promise for the layer's own a = .02, where kappa <= 51. */
static void prop_gradients_to_1e_25(void **state) {
    (void)state;
    for (int i = 0; i < SHAPES; i++) {
        lab_shape shape = shapes[i];
        shape.seed = (uint64_t)i + 1;
        shape.a = 0;
        shape.h0_scale = fmax(shape.h0_scale, 0);
        if (shape.V > 0)
            gradients_agree(&shape, GKA_COTANGENT_O, 1e-25);
        gradients_agree(&shape, GKA_COTANGENT_X, 1e-25);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prop_correctly_rounded),
        cmocka_unit_test(prop_gradients_to_1e_25),
    };
    return cmocka_run_group_tests_name("certified", tests, NULL, NULL);
}
