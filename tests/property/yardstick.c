/* yardstick.c - the references that kernels are measured by, measured: exact64 (NAME.steps of
 * goldens), the fp64 and the MPFR oracle against the certified oracle, row by row, where a
 * difference of large numbers would show: gates from 1 to exp(-1.8e308) and 0, keys from 2^-240 to
 * 2^240, alpha = 1.
 *
 * a = .02 and r = 140: Chebyshev's iteration has then left 1/T_141(1.04) < 2^-53 of the residual,
 * so that what is left is rounding. u = 2^-53, kappa = kappa(H_t + lambda_t I).
 *
 *   x           |row - exact| <= 64 kappa u |exact|, and so dq
 *   o           |row - exact| <= 64 kappa u s | |U|^T |q'| |
 *   dk dv dalpha dg     the same of what they are sums of, by norms: gradient_sizes. Keys to 2^120:
 * the gradients of larger ones leave binary64.
 *
 * The fp64 oracle refuses norms of H outside 2^+-480 instead. MPFR at its own 256 bits comes to
 * what rounding once may differ by: at most 1 in the place of 64.
 */
#include "oracle.h"

#include "gka/chunk.h"

#include <float.h>
#include <stdlib.h>

enum { T = 13, H = 2, D = 5, V = 4, ROWS = T * H };

static const double gates[] = {0, -0x1p-60, -1, -1e3, -1e9, -3.4e38, -DBL_MAX, -INFINITY};
enum { GATES = sizeof gates / sizeof *gates };
static const int shifts[] = {-240, -120, 0, 120, 240};
enum { SHIFTS = sizeof shifts / sizeof *shifts };

/* Every token's gate `which`; GATES: one after the other; then one extreme gate among mild ones. */
static void set_gates(lab_case *lab, int which) {
    for (int i = 0; i < ROWS; i++) {
        const double mild = -fabs(lab_draw(5, 6, (uint64_t)i)) - 0x1p-7;
        lab->g[i] = which < GATES    ? gates[which]
                    : which == GATES ? gates[(i * 5 + i / 7) % GATES]
                    : i / H == T / 2 ? gates[which - GATES - 1]
                                     : mild;
    }
}

static double norm(int n, const double *x, const double *y) {
    double most = 0, sum = 0;
    for (int i = 0; i < n; i++)
        most = fmax(most, fabs(x[i] - (y == NULL ? 0 : y[i])));
    for (int i = 0; i < n && most > 0; i++) {
        const double d = (x[i] - (y == NULL ? 0 : y[i])) / most;
        sum += d * d;
    }
    return most * sqrt(sum);
}

/* What dg and dalpha are sums of: gamma (||A|| ||H|| + ||E|| ||U||) of the states before and what
 * comes from the right, |dq'| |x - q|; A and E as sums of norms. */
static void gradient_sizes(const gka_problem *p, const gka_outputs *exact, double *dg,
                           double *dalpha, double *dk, double *dv) {
    for (int t = 0; t < T; t++)
        dk[t] = dv[t] = 0;
    for (int h = 0; h < H; h++) {
        double HH[T + 1] = {0}, UU[T + 1] = {0}, A = 0, E = 0, k[D], v[V], q[D], dout[V];
        for (int t = 0; t < T; t++) {
            const double gamma = exp(gka_problem_g(p, 0, t, h));
            gka_problem_k(p, 0, t, h, k);
            gka_problem_v(p, 0, t, h, v);
            HH[t + 1] = gamma * HH[t] + norm(D, k, NULL) * norm(D, k, NULL);
            UU[t + 1] = gamma * UU[t] + norm(D, k, NULL) * norm(V, v, NULL);
        }
        for (int t = T - 1; t >= 0; t--) {
            const int i = t * H + h;
            const double gamma = exp(gka_problem_g(p, 0, t, h)),
                         alpha = gka_problem_alpha(p, 0, t, h);
            const double x = norm(D, exact->x + i * D, NULL), s = fabs(p->scale);
            gka_problem_q(p, 0, t, h, q);
            gka_problem_dout(p, 0, t, h, dout);
            const double dq = s * UU[t + 1] * norm(V, dout, NULL);
            A += norm(D, exact->layer.p + i * D, NULL) * x * (1 + p->ridge_ratio);
            E += s * (fabs(alpha) * x + fabs(1 - alpha) * norm(D, q, NULL)) * norm(V, dout, NULL);
            gka_problem_k(p, 0, t, h, k);
            gka_problem_v(p, 0, t, h, v);
            dk[t] += 2 * A * norm(D, k, NULL) + E * norm(V, v, NULL);
            dv[t] += E * norm(D, k, NULL);
            dg[i] = gamma * (A * HH[t] + E * UU[t]);
            dalpha[i] = dq * norm(D, exact->x + i * D, q);
            A *= gamma;
            E *= gamma;
        }
    }
}

/* |U_t|^T |q'_t| of every token, from sums of absolute values. */
static void output_sizes(const gka_problem *p, const double *x, double *size) {
    for (int h = 0; h < H; h++) {
        double U[D * V] = {0}, u0[D * V], k[D], v[V], q[D];
        gka_problem_u0(p, 0, h, u0);
        for (int i = 0; i < D * V; i++)
            U[i] = fabs(u0[i]);
        for (int t = 0; t < T; t++) {
            const double gamma = exp(gka_problem_g(p, 0, t, h)),
                         alpha = gka_problem_alpha(p, 0, t, h);
            gka_problem_k(p, 0, t, h, k);
            gka_problem_v(p, 0, t, h, v);
            gka_problem_q(p, 0, t, h, q);
            for (int i = 0; i < D * V; i++)
                U[i] = (gamma > 0 ? gamma * U[i] : 0) + fabs(k[i / V] * v[i % V]);
            for (int j = 0; j < V; j++) {
                double sum = 0;
                for (int i = 0; i < D; i++)
                    sum += U[i * V + j] *
                           (fabs(alpha * x[(t * H + h) * D + i]) + fabs((1 - alpha) * q[i]));
                size[(t * H + h) * V + j] = sum * fabs(p->scale);
            }
        }
    }
}

typedef struct worst {
    double x, o, dq, dk, dv, dg, dalpha; /* in units of kappa u */
} worst;

static void note(double *most, double error, double size) {
    *most = fmax(*most, error == 0 ? 0 : error / size);
}

static void compare(const gka_outputs *exact, const double *size, const double *x, const double *o,
                    worst *w) {
    for (int i = 0; i < ROWS; i++) {
        const double unit = exact->kappa[i] * 0x1p-53;
        note(&w->x, norm(D, x + i * D, exact->x + i * D), unit * norm(D, exact->x + i * D, NULL));
        note(&w->o, norm(V, o + i * V, exact->o + i * V), unit * norm(V, size + i * V, NULL));
    }
}

static void compare_gradients(const gka_outputs *exact, const double *dg, const double *dalpha,
                              const double *dk, const double *dv, const gka_outputs *is, worst *w) {
    for (int i = 0; i < ROWS; i++) {
        const double unit = exact->kappa[i] * 0x1p-53;
        note(&w->dq, norm(D, is->layer.dq + i * D, exact->layer.dq + i * D),
             unit * norm(D, exact->layer.dq + i * D, NULL));
        note(&w->dg, fabs(is->layer.dg[i] - exact->layer.dg[i]), unit * dg[i]);
        note(&w->dalpha, fabs(is->layer.dalpha[i] - exact->layer.dalpha[i]), unit * dalpha[i]);
    }
    for (int i = 0; i < T; i++) {
        const double unit = fmax(exact->kappa[i * H], exact->kappa[i * H + 1]) * 0x1p-53;
        note(&w->dk, norm(D, is->layer.dk + i * D, exact->layer.dk + i * D), unit * dk[i]);
        note(&w->dv, norm(V, is->layer.dv + i * V, exact->layer.dv + i * V), unit * dv[i]);
    }
}

static void tell(const char *what, const worst *w) {
    print_message("%s: x %.3g, o %.3g, dq %.3g, dk %.3g, dv %.3g, dalpha %.3g, dg %.3g\n", what,
                  w->x, w->o, w->dq, w->dk, w->dv, w->dalpha, w->dg);
}

static void add(worst *most, const worst *one, const char *name) {
    if (getenv("GKA_TELL") != NULL)
        tell(name, one);
    const double from[] = {one->x, one->o, one->dq, one->dk, one->dv, one->dalpha, one->dg};
    double *const to[] = {&most->x,  &most->o,      &most->dq, &most->dk,
                          &most->dv, &most->dalpha, &most->dg};
    for (size_t i = 0; i < sizeof to / sizeof *to; i++)
        *to[i] = fmax(*to[i], from[i]);
}

/* Of what the oracles and exact64 are compared with, by the certified oracle. */
typedef struct sizes {
    double o[ROWS * V], dg[ROWS], dalpha[ROWS], dk[T], dv[T];
} sizes;

/* An oracle's errors; *refused where it says that it cannot. back: gradients too. */
static void measure_oracle(const gka_problem *p, gka_oracle oracle, bool back,
                           const gka_outputs *exact, const sizes *of, gka_outputs *is, worst *one,
                           bool *refused) {
    const gka_oracle_options options = {.oracle = oracle};
    gka_error error = {0};
    const gka_status status = gka_oracle_forward(p, &options, is, NULL, NULL, &error);
    memset(one, 0, sizeof *one);
    *refused = status == GKA_UNSUPPORTED;
    if (*refused)
        return;
    assert_int_equal(status, GKA_OK);
    compare(exact, of->o, is->x, is->o, one);
    if (back) {
        lab_gradient(p, GKA_OF_O, oracle, is, NULL);
        compare_gradients(exact, of->dg, of->dalpha, of->dk, of->dv, is, one);
    }
}

static void sweep(bool alpha, worst *steps, worst *fp64, worst *mpfr) {
    const lab_shape shape = {
        .B = 1, .T = T, .H = H, .G = 1, .D = D, .V = V, .gate = true, .alpha = alpha, .seed = 77};
    lab_case lab;
    gka_outputs exact, other;
    gka_profile exact64;
    gka_error error = {0};
    lab_new(&lab, &shape);
    lab.problem.num_iter = 140;
    lab.problem.chunk_size = alpha ? 4 : 16; /* gates within one chunk, and from one to the next */
    lab_exact_new(&lab.problem, &exact);
    lab_exact_new(&lab.problem, &other);
    double keys[T * D];
    sizes of;
    memcpy(keys, lab.k, sizeof keys);
    assert_int_equal(gka_profile_find("exact64", &exact64, &error), GKA_OK);
    for (int which = 0; which < 2 * GATES + 1; which++)
        for (int shift = 0; shift < SHIFTS; shift++) {
            worst one = {0};
            char name[80];
            set_gates(&lab, which);
            for (int i = 0; i < T * D; i++)
                lab.k[i] = ldexp(keys[i], shifts[shift]);
            const bool back = abs(shifts[shift]) <= 120;
            lab_forward(&lab.problem, GKA_ORACLE_CERTIFIED, &exact, NULL);
            if (back)
                lab_gradient(&lab.problem, GKA_OF_O, GKA_ORACLE_CERTIFIED, &exact, NULL);
            output_sizes(&lab.problem, exact.x, of.o);
            gradient_sizes(&lab.problem, &exact, of.dg, of.dalpha, of.dk, of.dv);
            gka_outputs out = {.x = other.x, .o = other.o},
                        gradients = {.layer.dq = other.layer.dq,
                                     .layer.dk = other.layer.dk,
                                     .layer.dv = other.layer.dv,
                                     .layer.dalpha = other.layer.dalpha,
                                     .layer.dg = other.layer.dg};
            assert_int_equal(gka_chunk_forward(&lab.problem, &exact64, &out, NULL, NULL, &error),
                             GKA_OK);
            compare(&exact, of.o, other.x, other.o, &one);
            if (back) {
                assert_int_equal(gka_chunk_backward(&lab.problem, &exact64, GKA_OF_O, true, NULL,
                                                    &gradients, &error),
                                 GKA_OK);
                compare_gradients(&exact, of.dg, of.dalpha, of.dk, of.dv, &other, &one);
            }
            (void)snprintf(name, sizeof name, "exact64, gates %d, keys 2^%d", which, shifts[shift]);
            add(steps, &one, name);
            bool refused;
            measure_oracle(&lab.problem, GKA_ORACLE_MPFR, back, &exact, &of, &other, &one,
                           &refused);
            assert_false(refused);
            (void)snprintf(name, sizeof name, "mpfr, gates %d, keys 2^%d", which, shifts[shift]);
            add(mpfr, &one, name);
            measure_oracle(&lab.problem, GKA_ORACLE_FP64, back, &exact, &of, &other, &one,
                           &refused);
            if (refused) { /* it says so */
                assert_true(abs(shifts[shift]) > 200);
                continue;
            }
            (void)snprintf(name, sizeof name, "fp64, gates %d, keys 2^%d", which, shifts[shift]);
            add(fp64, &one, name);
        }
    lab_exact_free(&lab.problem, &exact);
    lab_exact_free(&lab.problem, &other);
    lab_free(&lab);
}

static void assert_all_below(const worst *w, double most) {
    assert_true(w->x <= most && w->o <= most && w->dq <= most && w->dk <= most && w->dv <= most);
    assert_true(w->dalpha <= most && w->dg <= most);
}

static void prop_yardsticks_do_not_cancel(void **state) {
    (void)state;
    gka_set_threads(1);
    for (int alpha = 0; alpha < 2; alpha++) {
        worst steps = {0}, fp64 = {0}, mpfr = {0};
        sweep(alpha == 1, &steps, &fp64, &mpfr);
        tell(alpha ? "exact64, alpha, in kappa u" : "exact64, alpha = 1, in kappa u", &steps);
        tell(alpha ? "fp64, alpha, in kappa u" : "fp64, alpha = 1, in kappa u", &fp64);
        tell(alpha ? "mpfr, alpha, in kappa u" : "mpfr, alpha = 1, in kappa u", &mpfr);
        assert_all_below(&steps, 64);
        assert_all_below(&fp64, 64);
        assert_all_below(&mpfr, 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(prop_yardsticks_do_not_cancel)};
    return cmocka_run_group_tests_name("yardstick", tests, NULL, NULL);
}
