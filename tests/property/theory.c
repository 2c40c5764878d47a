/* theory.c - the theorems of src/THEORY.md. Identities in MPFR, to 100 digits; bounds on solves in
 * bf16 and fp32, over ridge ratios, iterations, sizes, and five kinds of spectrum.
 *
 *   f = 1, lambda = a; an eigenvalue h of H; z = 1 - 2 h; s = 1 + 2 a; T_n = T_n(s); theta = arcosh
 * s
 */
#include "test.h"

#include "chunk/tile.h"

#include "gka/solve.h"

#include <math.h>
#include <mpfr.h>

static const double ratios[] = {.1, .02, .005, .001};
static const double places[] = {0, 1e-3, .28, .3, .5, .75, .99, 1};
static const int steps[] = {1, 2, 7, 30, 61};
static const double PI = 3.14159265358979323846;
enum { RATIOS = 4, PLACES = 8, STEPS = 5, MAX_R = 120 };

/* ---- a calculator: every result is a new number of a pool --------------------------------------
 */

enum { BITS = 400, POOL = 1 << 14 };
static mpfr_t pool[POOL];
static int used;
typedef mpfr_ptr num;

static num fresh(void) {
    assert_true(used < POOL);
    return pool[used++];
}
static num N(double x) {
    num c = fresh();
    mpfr_set_d(c, x, MPFR_RNDN);
    return c;
}
#define OPERATION(name, f)                                                                         \
    static num name(mpfr_srcptr a, mpfr_srcptr b) {                                                \
        num c = fresh();                                                                           \
        f(c, a, b, MPFR_RNDN);                                                                     \
        return c;                                                                                  \
    }
OPERATION(add, mpfr_add)
OPERATION(sub, mpfr_sub)
OPERATION(mul, mpfr_mul)
OPERATION(quo, mpfr_div)

static double value(mpfr_srcptr a) {
    return mpfr_get_d(a, MPFR_RNDN);
}

/* |a - b| <= 1e-100 (|b| + size) */
static void assert_equal(const char *what, mpfr_srcptr a, mpfr_srcptr b, double size) {
    const double off = fabs(value(sub(a, b)));
    if (!(off <= 1e-100 * (fabs(value(b)) + size)))
        fail_msg("%s: %.17g, expected %.17g, off by %g", what, value(a), value(b), off);
}

/* p_n of p_(n+1) = 2 x p_n - p_(n-1) from p_(-1) and p_0; n >= -1 */
static num chebyshev(int n, mpfr_srcptr x, num before, num now) {
    for (int i = 0; i < n; i++) {
        num next = sub(mul(mul(N(2), x), now), before);
        before = now;
        now = next;
    }
    return n < 0 ? before : now;
}
static num T(int n, mpfr_srcptr x) {
    num p = fresh();
    mpfr_set(p, x, MPFR_RNDN);
    return chebyshev(n, x, p, N(1));
}
static num U(int n, mpfr_srcptr x) {
    return chebyshev(n, x, N(0), N(1));
}

/* ---- one eigenvalue of the two iterations, errors put in by hand -------------------------------
 */

typedef struct scalar {
    num a, h, s, z, rho, step;
} scalar;

static scalar at(double a, double h) {
    used = 0;
    scalar c = {.a = N(a), .h = N(h)};
    c.s = add(N(1), mul(N(2), c.a));
    c.z = sub(N(1), mul(N(2), c.h));
    c.rho = quo(N(1), c.s);
    c.step = quo(N(2), c.s);
    return c;
}

/* x_r of the three-term form for q, with 1 added to the residual of iteration `residual` (1 .. r)
 * and 1 to the iterate `iterate` (0 .. r); -1: nowhere. */
static num three_term(const scalar *c, int r, double q, int residual, int iterate) {
    const num quarter = mul(mul(c->rho, c->rho), N(.25));
    num omega = N(2), before = N(0), x = add(mul(c->step, N(q)), N(iterate == 0));
    for (int i = 1; i <= r; i++) {
        omega = quo(N(1), sub(N(1), mul(quarter, omega)));
        num rest = sub(mul(add(c->h, c->a), x), N(q));
        rest = add(rest, N(residual == i));
        num next =
            add(sub(x, mul(mul(c->step, omega), rest)), mul(sub(omega, N(1)), sub(x, before)));
        before = x;
        x = add(next, N(iterate == i));
    }
    return x;
}

/* x_r of the two-term form, with 1 added to r_i, i = `residual` (0 .. r - 1), or 1 to d_i (which
 * enters the product and x), i = `direction` (0 .. r). factor: every d_i is multiplied by it. */
static num two_term(const scalar *c, int r, double q, int residual, int direction, double factor) {
    num tau = c->rho, rest = N(q), d = mul(c->step, N(q));
    d = mul(add(d, N(direction == 0)), N(factor));
    num x = d;
    for (int i = 1; i <= r; i++) {
        rest = add(sub(rest, mul(add(c->h, c->a), d)), N(residual == i - 1));
        num next = quo(N(1), sub(mul(N(2), c->s), tau));
        d = add(mul(mul(next, tau), d), mul(mul(N(4), next), rest));
        d = mul(add(d, N(direction == i)), N(factor));
        x = add(x, d);
        tau = next;
    }
    return x;
}

/* ---- theorem A ------------------------------------------------------------------------------- */

/* g_j = -(4/f) T_j U_(r-j)(z) / T_(r+1), and an error of x_j ends as T_(j+1) U_(r-j)(z) / T_(r+1).
 */
static void prop_gain_of_three_terms(void **state) {
    (void)state;
    for (int i = 0; i < RATIOS; i++)
        for (int k = 0; k < PLACES; k++)
            for (int n = 0; n < STEPS; n++)
                for (int j = 1; j <= steps[n]; j += 1 + steps[n] / 8) {
                    const int r = steps[n];
                    const scalar c = at(ratios[i], places[k]);
                    const num last = T(r + 1, c.s), u = U(r - j, c.z);
                    assert_equal("error of a residual", three_term(&c, r, 0, j, -1),
                                 quo(mul(mul(N(-4), T(j, c.s)), u), last), 1);
                    assert_equal("error of an iterate", three_term(&c, r, 0, -1, j),
                                 quo(mul(T(j + 1, c.s), u), last), 1);
                }
}

static double gains(double a, double h, int r, double *squares) {
    const double theta = acosh(1 + 2 * a), phi = acos(1 - 2 * h);
    double sum = 0;
    *squares = 0;
    for (int j = 1; j <= r; j++) {
        const int m = r - j + 1;
        const double u = sin(phi) > 1e-7 ? sin(m * phi) / sin(phi) : m;
        const double g = 4 * u * cosh(j * theta) / cosh((r + 1) * theta);
        sum += fabs(g);
        *squares += g * g;
    }
    return sum;
}

/* Noise: sum g_j^2 -> coth theta / (a (1 + a) + h (1 - h)), the rest of the series being at most
 * 16 (r+1)^2 exp(-2 r theta)/(1 - exp(-2 theta))^3. Worst case: for every h at most its value at
 * both ends, which is 1/lambda up to the truncation. */
static void prop_closed_forms(void **state) {
    (void)state;
    for (int i = 0; i < RATIOS; i++) {
        const double a = ratios[i], theta = acosh(1 + 2 * a);
        for (int k = 0; k < PLACES; k++) {
            const double h = places[k];
            double squares;
            const int r = (int)(22 / theta);
            (void)gains(a, h, r, &squares);
            const double closed = 1 / tanh(theta) / (a * (1 + a) + h * (1 - h)),
                         rest = 16 * (r + 1.) * (r + 1.) * exp(-2 * r * theta) /
                                pow(1 - exp(-2 * theta), 3);
            assert_true(fabs(squares - closed) <= rest + 1e-9 * closed);
            for (int n = 0; n < STEPS; n++) {
                const int s = steps[n];
                const double last = cosh((s + 1) * theta),
                             ends = (1 - 1 / last) / a - 2 * (s + 1) / last,
                             sum = gains(a, h, s, &squares);
                assert_true(sum <= ends * (1 + 1e-12));
                if (h * (1 - h) <= 0)
                    assert_true(fabs(sum - ends) <= 1e-10 * ends);
            }
        }
        double top, middle;
        (void)gains(a, 1, (int)(22 / theta), &top);
        (void)gains(a, .3, (int)(22 / theta), &middle);
        assert_true(fabs(sqrt(top) - 2 * sqrt(cosh(theta) / pow(sinh(theta), 3))) <=
                    1e-6 * sqrt(top));
    }
    double squares; /* the figures that experiment 11 prints */
    assert_true(fabs(gains(.02, 1, 400, &squares) - 50) < .005);
    assert_true(fabs(sqrt(squares) - 13.36) < .005);
    (void)gains(.02, .3, 400, &squares);
    assert_true(fabs(sqrt(squares) - 3.98) < .005);
}

/* ---- theorem B ------------------------------------------------------------------------------- */

/* e in r_i moves x_r by e/(h + a) (1 - (T_(i+1) U_n(z) - T_i U_(n-1)(z))/T_(r+1)), n = r - i; delta
 * in d_i, product and x alike, by delta T_(i+1) U_n(z)/T_(r+1). */
static void prop_displacements_of_two_terms(void **state) {
    (void)state;
    for (int i = 0; i < RATIOS; i++)
        for (int k = 0; k < PLACES; k++)
            for (int n = 0; n < STEPS; n++)
                for (int j = 0; j < steps[n]; j += 1 + steps[n] / 8) {
                    const int r = steps[n], m = r - j;
                    const scalar c = at(ratios[i], places[k]);
                    const num last = T(r + 1, c.s), left = quo(sub(mul(T(j + 1, c.s), U(m, c.z)),
                                                                   mul(T(j, c.s), U(m - 1, c.z))),
                                                               last);
                    assert_equal("error of a carried residual", two_term(&c, r, 0, j, -1, 1),
                                 quo(sub(N(1), left), add(c.h, c.a)), 1 / ratios[i]);
                    assert_equal("error of a direction", two_term(&c, r, 0, -1, j, 1),
                                 quo(mul(T(j + 1, c.s), U(m, c.z)), last), 1);
                }
}

/* sum over i >= 0 of 1/T_i + 1/T_(i+1) is a trapezoidal sum of 2 sech(i theta): pi/theta and
 * something like exp(-pi^2/theta) more; and pi/theta <= (pi/2) sqrt(kappa), kappa = (1 + a)/a,
 * since sinh(theta/2) = sqrt(a) and y cosh y >= sinh y. */
static void test_length_of_the_way(void **state) {
    (void)state;
    for (int i = 0; i < RATIOS; i++) {
        const double a = ratios[i], theta = acosh(1 + 2 * a);
        double sum = 0;
        for (int j = 0; j * theta < 60; j++)
            sum += 1 / cosh(j * theta) + 1 / cosh((j + 1) * theta);
        assert_true(fabs(sum - PI / theta) <= 1e-5 * sum);
        assert_true(PI / theta <= PI / 2 * sqrt((1 + a) / a));
        if (a > .01 && a < .03) /* the figure that experiment 11 prints: at h = f, in 1/f */
            assert_true(fabs(sum / (1 + a) - 10.9) < .05);
    }
}

/* The condition on u, |delta_i| <= u |rounded d_i|: below (1 - exp(-theta))^2/2, which is nearly 2
 * a, no roundings of d stop the iteration; above it rounding every d up does, at h = f: d^ = (1 +
 * v) d with v = u/(1 - u). */
static double condition(double a) {
    const double gap = 1 - exp(-acosh(1 + 2 * a));
    return gap * gap / 2;
}

static double after(double a, double u, int r) {
    const scalar c = at(a, 1);
    const double x = 1 / (1 + a);
    return fabs(value(two_term(&c, r, 1, -1, -1, 1 / (1 - u))) - x) / x;
}

static void test_condition_on_u_is_sharp(void **state) {
    (void)state;
    static const double some[] = {.1, .05, .02};
    for (int i = 0; i < 3; i++) {
        const double u = condition(some[i]);
        assert_true(after(some[i], .9 * u, 700) < 1e-3);
        assert_true(after(some[i], 1.1 * u, 700) > 10);
        assert_true(u < 2 * some[i]);
    }
}

/* E_i >= T_(i+1) |x - x_i| by E_r = |x| + u sum (r - i + 1) (exp(theta) E_(i-1) + E_i), E_i in
 * E[i + 1]; returned: what the roundings of d leave in x_r at most, (E_r - |x|)/T_(r+1). */
static double roundings_of_d(double a, int r, double u, double x, double *E) {
    const double theta = acosh(1 + 2 * a);
    E[0] = x;
    for (int n = 0; n <= r; n++) {
        double sum = x;
        for (int i = 0; i <= n; i++)
            sum += u * (n - i + 1) * (exp(theta) * E[i] + (i < n ? E[i + 1] : 0));
        E[n + 1] = sum / (1 - u);
    }
    return (E[r + 1] - x) / cosh((r + 1) * theta);
}

/* At h = f the d_i alternate, and rounding every one up is the worst there is: it comes to .80 to
 * .99 of the bound and never beyond it. */
static void prop_roundings_of_d_reach_their_bound(void **state) {
    (void)state;
    for (int i = 0; i < RATIOS; i++)
        for (int n = 0; n < STEPS; n++)
            for (double part = .5; part > 1e-6; part /= 8) {
                const int r = steps[n];
                const double a = ratios[i], u = part * condition(a);
                double E[MAX_R + 2];
                const double bound = roundings_of_d(a, r, u, 1 / (1 + a), E);
                const scalar c = at(a, 1);
                const double off = fabs(value(
                    sub(two_term(&c, r, 1, -1, -1, 1 / (1 - u)), two_term(&c, r, 1, -1, -1, 1))));
                if (!(off <= bound && off >= .75 * bound))
                    fail_msg("a = %g, r = %d, u = %g: off by %g, bound %g", a, r, u, off, bound);
            }
}

/* ---- dense systems --------------------------------------------------------------------------- */

enum { MAX_D = 64 };
typedef enum spectrum { IID, RANK_ONE, ALIGNED, CLUSTERED, COMMON, KINDS } spectrum;

static uint64_t drawn;
static double sign(void) {
    uint64_t bits[4];
    gka_philox((const uint64_t[4]){drawn++, 0, 0, 0}, (const uint64_t[2]){7, 0}, bits);
    return bits[0] & 1 ? 1 : -1;
}

static void gather(int D, double weight, const double *k, double *H) {
    for (int i = 0; i < D; i++)
        for (int j = 0; j < D; j++)
            H[i * D + j] += weight * k[i] * k[j];
}

/* Small whole numbers, or powers of two on the diagonal: bf16 holds them, so H is not rounded, is
 * positive semidefinite, and its spectrum lies in [0, f]. Returns f, rounded up to fp32. */
static double make(spectrum kind, int D, double *H) {
    double k[MAX_D], common[MAX_D];
    memset(H, 0, (size_t)(D * D) * sizeof *H);
    for (int i = 0; i < D; i++)
        common[i] = 2 * sign();
    for (int t = 0; t < 12; t++) {
        for (int i = 0; i < D; i++)
            k[i] = kind == RANK_ONE ? common[i]
                   : kind == COMMON ? common[i] + sign()
                   : kind == CLUSTERED
                       ? (__builtin_popcount((unsigned)(i & (5 * t + 1))) & 1 ? -1 : 1)
                       : sign();
        if (kind == ALIGNED)
            for (int i = t; i < D; i += 12)
                H[i * D + i] = ldexp(1, -i / 5);
        else
            gather(D, kind == CLUSTERED && t % 2 ? 2 : 1, k, H);
    }
    double square = 0;
    for (int i = 0; i < D * D; i++)
        square += H[i] * H[i];
    return nextafterf((float)sqrt(square), INFINITY);
}

typedef struct course {
    int D;
    double most; /* the largest |x_i| */
} course;

static double norm(int n, const double *x) {
    double square = 0;
    for (int i = 0; i < n; i++)
        square += x[i] * x[i];
    return sqrt(square);
}

static void watch(void *context, int step, const double *x) {
    (void)step;
    course *const c = context;
    c->most = fmax(c->most, norm(c->D, x));
}

static void solve(const char *arith, const char *name, int D, int r, const double *H, double lambda,
                  double f, const double *q, double *x, course *c) {
    static _Alignas(64) unsigned char work[1 << 16];
    gka_policy policy;
    gka_solver solver;
    gka_arith A;
    assert_true(gka_policy_find(arith, &policy) && gka_solver_find(name, &solver));
    gka_arith_start(&A, &policy, 0);
    solver.num_iter = r;
    assert_true(gka_solve_workspace(&solver, 1, D) <= sizeof work);
    const gka_system system = {.n = 1, .D = D, .H = H, .lambda = &lambda, .f = &f};
    *c = (course){.D = D};
    const gka_observer observer = {watch, c};
    gka_solve(&A, &system, &solver, q, x, NULL, &observer, work);
}

/* In units of f = 1; X the largest |x_i|, size |q|/f. Fine: what fp32 does to a residual and to an
 * iterate, with room (a handful of operations, sums of D terms, omega and tau with their
 * recurrences). */
static double fine(int D, double X, double size) {
    return (D + 64) * 0x1p-24 * (6 * X + 8 * size);
}

/* Theorem A: errors of the residual (u of the operand, fine) gain at most 1/a, those of an iterate
 * sum_j (r - j + 1) T_(j+1)/T_(r+1). */
static double bound_three(double a, int r, int D, double u, double X, double size) {
    const double theta = acosh(1 + 2 * a);
    double iterates = 0;
    for (int j = 0; j <= r; j++)
        iterates += (r - j + 1) * cosh((j + 1) * theta) / cosh((r + 1) * theta);
    return (u * X + fine(D, X, size)) / a + iterates * fine(D, X, size);
}

/* Theorem B: what the roundings of d leave and the products (of size fine |d_i|), these at most 1/a
 * times (1 + (T_(i+1) (n+1) + T_i n)/T_(r+1)); the sum x itself r roundings. */
static double bound_two(double a, int r, int D, double u, double x, double X, double size) {
    const double theta = acosh(1 + 2 * a), last = cosh((r + 1) * theta);
    double E[MAX_R + 2], products = 0;
    const double rounded = roundings_of_d(a, r, u + 64 * 0x1p-24, x, E);
    for (int n = 0; n <= r; n++) {
        const double d = E[n] / cosh(n * theta) + E[n + 1] / cosh((n + 1) * theta);
        const double left =
            (cosh((n + 1) * theta) * (r - n + 1) + cosh(n * theta) * (r - n)) / last;
        products += fine(D, d, d) * (1 + left) / a;
    }
    return rounded + products + r * fine(1, X, size);
}

static void prop_bounds_hold(void **state) {
    (void)state;
    static const int sizes[] = {8, 32, 64}, runs[] = {10, 30, 100};
    static double H[MAX_D * MAX_D];
    int apart = 0;
    for (spectrum kind = IID; kind < KINDS; kind++)
        for (int n = 0; n < 3; n++)
            for (int i = 0; i < 3; i++)
                for (int m = 0; m < 3; m++) {
                    const int D = sizes[n], r = runs[m];
                    drawn = (uint64_t)(1000 * (int)kind + 10 * n);
                    const double f = make(kind, D, H), lambda = (float)(ratios[i] * f),
                                 a = lambda / f;
                    double q[MAX_D], exact[MAX_D], x[MAX_D], off[2], bound[2];
                    for (int j = 0; j < D; j++)
                        q[j] = sign();
                    course c;
                    for (int form = 0; form < 2; form++) {
                        const char *const name = form == 0 ? "chebyshev" : "chebyshev2";
                        solve("fp64", name, D, r, H, lambda, f, q, exact, &c);
                        const double size = norm(D, q) / f, true_x = size / a; /* at most */
                        solve("bf16-mixed", name, D, r, H, lambda, f, q, x, &c);
                        for (int j = 0; j < D; j++)
                            x[j] -= exact[j];
                        off[form] = norm(D, x);
                        bound[form] = form == 0 ? bound_three(a, r, D, 0x1p-8, c.most, size)
                                                : bound_two(a, r, D, 0x1p-8, true_x, c.most, size);
                        if (!(off[form] <= bound[form]))
                            fail_msg("%s, spectrum %d, D = %d, a = %g, r = %d: off by %g, bound %g",
                                     name, (int)kind, D, a, r, off[form], bound[form]);
                    }
                    apart += kind == RANK_ONE && r == 100 && off[0] > 20 * off[1];
                }
    assert_true(apart >= 3); /* and where one key is repeated the forms are told apart */
}

/* ---- theorem C ------------------------------------------------------------------------------- */

/* Bounds made from a norm that is low, lambda_max = (1 + e) f: the residual along that eigenvector
 * is T_(r+1)(1 + 2e)/T_(r+1)(1 + 2a) of what it was, in either form: it grows once e > a. */
static void prop_growth_beyond_the_interval(void **state) {
    (void)state;
    static const double beyond[] = {0, 1e-3, 5e-3, .02, .0625};
    for (int i = 0; i < RATIOS; i++)
        for (int k = 0; k < 5; k++)
            for (int n = 0; n < STEPS; n++) {
                const int r = steps[n];
                const double e = beyond[k], h = 1 + e;
                const scalar c = at(ratios[i], h);
                const num expected = quo(T(r + 1, sub(mul(N(2), c.h), N(1))), T(r + 1, c.s)),
                          x = three_term(&c, r, 1, -1, -1), y = two_term(&c, r, 1, -1, -1, 1);
                num rest = sub(N(1), mul(add(c.h, c.a), x));
                mpfr_abs(rest, rest, MPFR_RNDN);
                assert_equal("residual", rest, expected, 1);
                assert_equal("the forms", x, y, 1);
                if (e < ratios[i] || e > ratios[i])
                    assert_true((value(expected) > 1) == (e > ratios[i]));
            }
}

/* The released norm: 8 columns of a row to a thread, D^2/(32 W) squares to each in pairs of two
 * roundings, then 5 exchanges in the warp and log2 W between warps: K = D^2/(32 W) + 5 + log2 W
 * roundings, so that |f^2 - computed| <= ((1 + u)^K - 1) f^2. Equal squares: partial sums grow
 * evenly, K/2 in place of K. */
static void prop_norm_in_bf16(void **state) {
    (void)state;
    static double H[128 * 128];
    for (int D = 64; D <= 128; D += 64)
        for (spectrum kind = IID; kind < KINDS; kind++) {
            double block[MAX_D * MAX_D], square = 0;
            drawn = (uint64_t)kind;
            (void)make(kind, 64, block);
            for (int i = 0; i < D; i++)
                for (int j = 0; j < D; j++) {
                    H[i * D + j] = block[i % 64 * 64 + j % 64];
                    square += H[i * D + j] * H[i * D + j];
                }
            const double K = D * D / 128. + 5 + 2, most = pow(1 + 0x1p-8, K) - 1;
            assert_true(fabs(gka_norm_low(false, D, 4, H) - square) <= most * square);
        }
}

/* ---- running backwards -------------------------------------------------------------------------
 */

/* The recurrence backwards from x_r, x_(r-1), with 1 added to the computed x_(r-m): x_(r-k) is then
 * off by T_(r-m+1)/T_(r-k+1) U_(k-m)(z). */
static void prop_errors_of_a_reversal(void **state) {
    (void)state;
    const int r = 30;
    for (int i = 0; i < RATIOS; i++)
        for (int p = 0; p < PLACES; p++)
            for (int m = 2; m <= 26; m += 6)
                for (int k = m; k <= r; k += 7) {
                    const scalar c = at(ratios[i], places[p]);
                    const num quarter = mul(mul(c.rho, c.rho), N(.25));
                    num omega[31] = {N(2)};
                    for (int j = 1; j <= r; j++)
                        omega[j] = quo(N(1), sub(N(1), mul(quarter, omega[j - 1])));
                    num ahead = N(0), x = N(0); /* the difference of two runs: q = 0 */
                    for (int back = 2; back <= k; back++) {
                        const num w = omega[r - back + 2];
                        const num momentum = sub(w, N(1));
                        num t = sub(mul(w, x), mul(mul(mul(c.step, w), add(c.h, c.a)), x));
                        t = quo(sub(t, ahead), momentum);
                        ahead = x;
                        x = add(t, N(back == m));
                    }
                    assert_equal("error of a reversal", x,
                                 quo(mul(T(r - m + 1, c.s), U(k - m, c.z)), T(r - k + 1, c.s)), 1);
                }
}

int main(void) {
    for (int i = 0; i < POOL; i++)
        mpfr_init2(pool[i], BITS);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prop_gain_of_three_terms),
        cmocka_unit_test(prop_closed_forms),
        cmocka_unit_test(prop_displacements_of_two_terms),
        cmocka_unit_test(test_length_of_the_way),
        cmocka_unit_test(test_condition_on_u_is_sharp),
        cmocka_unit_test(prop_roundings_of_d_reach_their_bound),
        cmocka_unit_test(prop_bounds_hold),
        cmocka_unit_test(prop_growth_beyond_the_interval),
        cmocka_unit_test(prop_norm_in_bf16),
        cmocka_unit_test(prop_errors_of_a_reversal),
    };
    return cmocka_run_group_tests_name("theory", tests, NULL, NULL);
}
