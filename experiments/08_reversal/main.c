/* main.c - an iteration run backwards: what it divides by, what becomes of the iterates, and of the
 * gradient that is taken from them.
 *
 * Differentiating through r iterations needs every iterate, or the last ones and the recurrence
 * backwards (the paper's appendix and Fig. 5). Backwards, in the same arithmetic, scalars kept:
 *
 *   chebyshev    x_(i-2) = (omega_i x_(i-1) - s omega_i ((H + lambda I) x_(i-1) - q) - x_i)
 *                          / (omega_i - 1)
 *   chebyshev2   d_(i-1) = (d_i - (2 tau_i/delta) r_i) / (tau_i tau_(i-1));
 *                r_(i-1) = r_i + (H + lambda I) d_(i-1);  x_(i-1) = x_i - d_i
 *   cg           p = (p' - r') / beta;  r = r' + alpha (H + lambda I) p;  x = x' - alpha p
 *
 * The law after k steps back, with sigma = 1 + 2 lambda, T_n = T_n(sigma): what the iteration has
 * contracted is magnified again. An error of 1 made at x_(r-m) is T_(r-m+1)/T_(r-k+1) U_(k-m)(z) at
 * x_(r-k), z = 1 - 2 h (THEORY 6). So
 *
 *   chebyshev    |x again - x| / |x_r|: at most about k u T_k(sigma), the k being U_k at the ends
 * of the spectrum (z = 1 and -1). Predicted for each system by its own spectrum: errors
 *                independent, c u |x| sqrt(S) in an iterate, S = 2 + 2 omega^2/(omega - 1)^2 what
 * one step makes of its roundings (two of size omega |x|, one of (omega - 1) |x|, divided by omega
 * - 1, and that quotient's own), c = .4247: (c u)^2 sum_m S(omega_(r-m+2)) (T_(r-m+1)/T_(r-k+1))^2
 * ||U_(k-m)(I - 2H)||_F^2 / D chebyshev2   about k u T_k(sigma)/T_r(sigma), u of what d is rounded
 * to: d_r is that small dH           the cotangent at that step is 1/T_k small: r^2 u, and r u
 *
 * Systems as in 01_convergence: H divided by its Frobenius norm, f = 1.
 */
#include "lab/dense.h"
#include "lab/lab.h"
#include "lab/workers.h"

#include "gka/problem.h"
#include "gka/solve.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DIVISORS, BACK, GRADIENT };
enum { R = 30 };

static const char *const formats[] = {"fp64", "fp32", "tf32", "fp16", "bf16", "bf16-mixed"};
enum { FP64, FP32, TF32, FP16, BF16, MIXED, FORMATS };
/* significands of what is stored, and of the operands of products */
static const int stored_bits[] = {53, 24, 11, 11, 8, 24}, operand_bits[] = {53, 24, 11, 11, 8, 8};
static const char *const solvers[] = {"chebyshev", "chebyshev2", "cg", "cg-guarded"};
enum { CHEBYSHEV, TWO_TERM, CG, GUARDED, SOLVERS };
static const char *const ridges[] = {"0.01", "0.02", "0.05", "0.1"};
static const double lambdas[] = {.01, .02, .05, .1};
enum { RIDGES = 4 };

/* ---- one iteration, forwards and backwards -------------------------------------------------- */

typedef struct memory {
    double *H, *stored, *dH, *dH_exact;                     /* [D,D] */
    double *X;                                              /* [R+1,D]: every iterate */
    double *k, *q, *dx, *x, *r, *p, *w, *t, *dq, *dq_exact; /* [D] */
    void *solve, *adjoint;
} memory;

/* A system in an arithmetic, and the scalars of its iteration: what a reversal keeps. */
typedef struct course {
    gka_arith *A;
    const memory *m;
    int64_t D;
    double lambda, sum, width, guard;                        /* L + mu, L - mu */
    double divisor[R + 1];                                   /* of the step back from i to i - 1 */
    double alpha[R + 1], beta[R + 1], rho[R + 1], pw[R + 1]; /* CG; two-term: beta = 2 tau/delta */
    int steps;
} course;

/* w = (H + lambda I) p */
static void product(const course *c, const double *p, double *w) {
    gka_arith_matvec(c->A, c->D, c->D, c->m->stored, p, w);
    gka_arith_axpby(c->A, c->D, c->lambda, p, 1, w, w);
}

static double *iterate(const course *c, int i) {
    return c->m->X + i * c->D;
}

static void keep(const course *c, int i) {
    memcpy(iterate(c, i), c->m->x, (size_t)c->D * sizeof *c->m->x);
}

static void watch(void *context, int step, const double *x) {
    const course *const c = context;
    memcpy(iterate(c, step), x, (size_t)c->D * sizeof *x);
}

/* t / divisor, elementwise, into out; w is overwritten. */
static void divide(const course *c, const double *t, double divisor, double *out) {
    for (int64_t j = 0; j < c->D; j++)
        c->m->w[j] = divisor;
    gka_arith_divide(c->A, c->D, t, c->m->w, out);
}

/* Three-term: the library runs it; its scalars again. alpha: step omega. */
static void ahead_three(course *c) {
    gka_arith *const A = c->A;
    const double f = 1;
    const gka_solver solver = lab_solver("chebyshev", R);
    const gka_system system = {.n = 1, .D = c->D, .H = c->m->stored, .lambda = &c->lambda, .f = &f};
    const gka_observer observer = {watch, c};
    gka_solve(A, &system, &solver, c->m->q, c->m->x, NULL, &observer, c->m->solve);
    const double half = gka_arith_mul(A, .5, gka_arith_div(A, c->width, c->sum)),
                 square = gka_arith_mul(A, half, half), step = gka_arith_div(A, 2, c->sum);
    double omega = 2;
    for (int i = 1; i <= R; i++) {
        omega = gka_arith_div(A, 1, gka_arith_sub(A, 1, gka_arith_mul(A, square, omega)));
        c->beta[i] = omega;
        c->alpha[i] = gka_arith_mul(A, step, omega);
        c->divisor[i] = gka_arith_sub(A, omega, 1);
    }
    c->steps = R;
}

/* x_(i-1), x_i in p, x; afterwards x_(i-2), x_(i-1). */
static void back_three(const course *c, int i) {
    const memory *const m = c->m;
    gka_arith *const A = c->A;
    product(c, m->p, m->t);
    gka_arith_axpby(A, c->D, 1, m->t, -1, m->q, m->t);
    gka_arith_axpby(A, c->D, c->beta[i], m->p, -c->alpha[i], m->t, m->t);
    gka_arith_axpby(A, c->D, 1, m->t, -1, m->x, m->t);
    memcpy(m->x, m->p, (size_t)c->D * sizeof *m->x);
    divide(c, m->t, c->divisor[i], m->p);
}

static void ahead_two(course *c) {
    const memory *const m = c->m;
    gka_arith *const A = c->A;
    const double theta = gka_arith_mul(A, .5, c->sum), delta = gka_arith_mul(A, .5, c->width),
                 twice = gka_arith_mul(A, 2, gka_arith_div(A, c->sum, c->width));
    double tau = gka_arith_div(A, c->width, c->sum);
    memcpy(m->r, m->q, (size_t)c->D * sizeof *m->r);
    for (int64_t j = 0; j < c->D; j++)
        m->p[j] = gka_arith_div(A, m->q[j], theta);
    gka_arith_operand(A, c->D, m->p, m->p);
    memcpy(m->x, m->p, (size_t)c->D * sizeof *m->x);
    keep(c, 0);
    for (int i = 1; i <= R; i++) {
        product(c, m->p, m->w);
        gka_arith_axpby(A, c->D, 1, m->r, -1, m->w, m->r);
        const double next = gka_arith_div(A, 1, gka_arith_sub(A, twice, tau));
        c->divisor[i] = gka_arith_mul(A, next, tau);
        c->beta[i] = gka_arith_div(A, gka_arith_mul(A, 2, next), delta);
        gka_arith_axpby(A, c->D, c->divisor[i], m->p, c->beta[i], m->r, m->p);
        gka_arith_operand(A, c->D, m->p, m->p);
        gka_arith_axpby(A, c->D, 1, m->x, 1, m->p, m->x);
        tau = next;
        keep(c, i);
    }
    c->steps = R;
}

static void back_two(const course *c, int i) {
    const memory *const m = c->m;
    gka_arith *const A = c->A;
    gka_arith_axpby(A, c->D, 1, m->x, -1, m->p, m->x);
    gka_arith_axpby(A, c->D, 1, m->p, -c->beta[i], m->r, m->t);
    divide(c, m->t, c->divisor[i], m->p);
    product(c, m->p, m->w);
    gka_arith_axpby(A, c->D, 1, m->r, 1, m->w, m->r);
}

static void ahead_cg(course *c) {
    const memory *const m = c->m;
    gka_arith *const A = c->A;
    const double u = gka_format_unit_roundoff(&A->policy.storage), e = gka_arith_scalar(A, u * u),
                 guard = gka_arith_scalar(A, c->guard);
    memset(m->x, 0, (size_t)c->D * sizeof *m->x);
    memcpy(m->r, m->q, (size_t)c->D * sizeof *m->r);
    memcpy(m->p, m->q, (size_t)c->D * sizeof *m->p);
    keep(c, 0);
    double rho = gka_arith_dot(A, c->D, m->r, m->r);
    const double least = gka_arith_mul(A, gka_arith_mul(A, e, rho), e);
    c->rho[0] = rho;
    c->steps = 0;
    while (c->steps < R && (guard > 0 || rho > least)) {
        product(c, m->p, m->w);
        const double pw = gka_arith_dot(A, c->D, m->p, m->w);
        if (!(guard > 0) && !(pw > 0))
            break;
        const int i = ++c->steps;
        c->pw[i] = guard > 0 ? gka_arith_add(A, pw, guard) : pw;
        c->alpha[i] = gka_arith_div(A, rho, c->pw[i]);
        gka_arith_axpby(A, c->D, c->alpha[i], m->p, 1, m->x, m->x);
        gka_arith_axpby(A, c->D, -c->alpha[i], m->w, 1, m->r, m->r);
        c->rho[i] = gka_arith_dot(A, c->D, m->r, m->r);
        c->beta[i] = gka_arith_div(A, c->rho[i], guard > 0 ? gka_arith_add(A, rho, guard) : rho);
        c->divisor[i] = c->beta[i];
        rho = c->rho[i];
        gka_arith_axpby(A, c->D, c->beta[i], m->p, 1, m->r, m->p);
        keep(c, i);
    }
}

static void back_cg(const course *c, int i) {
    const memory *const m = c->m;
    gka_arith *const A = c->A;
    gka_arith_axpby(A, c->D, 1, m->p, -1, m->r, m->t);
    divide(c, m->t, c->divisor[i], m->p);
    product(c, m->p, m->w);
    gka_arith_axpby(A, c->D, c->alpha[i], m->w, 1, m->r, m->r);
    gka_arith_axpby(A, c->D, -c->alpha[i], m->p, 1, m->x, m->x);
}

/* Runs solver s ahead, then back; error[k] = |x_(m-k) again - x_(m-k)| / |x_m|. False: its x is not
 * that of the library. */
static bool there_and_back(course *c, int s, double error[R + 1]) {
    const memory *const m = c->m;
    const int64_t D = c->D;
    const double f = 1;
    const gka_solver solver = lab_solver(solvers[s], R);
    c->guard = solver.guard;
    if (s == CHEBYSHEV)
        ahead_three(c);
    else if (s == TWO_TERM)
        ahead_two(c);
    else
        ahead_cg(c);
    const gka_system system = {.n = 1, .D = D, .H = m->stored, .lambda = &c->lambda, .f = &f};
    gka_solve(c->A, &system, &solver, m->q, m->t, NULL, NULL, m->solve);
    double *const last = iterate(c, c->steps);
    const bool same = memcmp(m->t, last, (size_t)D * sizeof *last) == 0;
    const double size = lab_norm(D, last);
    error[0] = 0;
    if (s == CHEBYSHEV) { /* the last two iterates */
        memcpy(m->p, iterate(c, R - 1), (size_t)D * sizeof *m->p);
        error[1] = 0;
    }
    for (int k = 1; k <= c->steps; k++) {
        const int i = c->steps - k + 1;
        if (s == CHEBYSHEV) {
            if (k == 1)
                continue;
            back_three(c, i + 1);
        } else if (s == TWO_TERM) {
            back_two(c, i);
        } else {
            back_cg(c, i);
        }
        const double *const again = s == CHEBYSHEV ? m->p : m->x;
        error[k] =
            lab_distance(D, again, iterate(c, i - 1)) * lab_norm(D, iterate(c, i - 1)) / size;
        if (i == 1 && s >= CG) /* x_0 = 0 */
            error[k] = lab_norm(D, again) / size;
    }
    return same;
}

/* ---- tables -------------------------------------------------------------------------------- */

typedef struct result {
    course run[SOLVERS];
    double error[SOLVERS][R + 1];
    bool same[SOLVERS];
    double products; /* three-term: what a product and a residual round, in units of |x_r|^2 */
    double dq[2][2], dH[2][2]; /* [form][stored, reversed] */
} result;

typedef struct bench {
    lab *l;
    gka_problem problem;
    int64_t D, T, tokens;
    double lambda;
    const char *format;
    memory *memories;
    result *results;
    double *sorted;   /* [systems] */
    double *spectrum; /* [systems,R+1]: ||U_n(I - 2H)||_F^2 / D */
} bench;

static int64_t token_of(const bench *b, int64_t system) {
    return b->T >> 2 * (system % b->tokens);
}

static void gradients(const bench *b, const memory *m, gka_arith *A, const gka_system *system,
                      result *out) {
    for (int form = 0; form < 2; form++) {
        const gka_solver solver = lab_solver(solvers[form], R);
        const int64_t n = b->D * b->D;
        double dlambda, df;
        gka_arith exact = lab_arith("fp64", 0);
        memset(m->dH_exact, 0, (size_t)n * sizeof *m->dH_exact);
        const gka_system unrounded = {
            .n = 1, .D = b->D, .H = m->H, .lambda = system->lambda, .f = system->f};
        gka_solve_adjoint(&exact, &unrounded, &solver, m->q, m->dx, false, m->dq_exact, m->dH_exact,
                          &dlambda, &df, m->adjoint);
        for (int reversed = 0; reversed < 2; reversed++) {
            memset(m->dH, 0, (size_t)n * sizeof *m->dH);
            gka_solve_adjoint(A, system, &solver, m->q, m->dx, reversed != 0, m->dq, m->dH,
                              &dlambda, &df, m->adjoint);
            out->dq[form][reversed] = lab_distance(b->D, m->dq, m->dq_exact);
            out->dH[form][reversed] = lab_distance(n, m->dH, m->dH_exact);
        }
    }
}

/* The squares of all that H x rounds, products and partial sums, and of lambda x + H x - q, three
 * times at most |q|; over |x|^2. */
static double products_of(int64_t D, const double *H, const double *q, const double *x) {
    const double size = lab_norm(D, x), right = lab_norm(D, q);
    double sum = 3 * right * right;
    for (int64_t i = 0; i < D; i++) {
        double partial = 0;
        for (int64_t j = 0; j < D; j++) {
            const double product = H[i * D + j] * x[j];
            partial += product;
            sum += product * product + partial * partial;
        }
    }
    return sum / (size * size);
}

static void one_system(void *context, int64_t n, int number) {
    const bench *const b = context;
    const memory *const m = &b->memories[number];
    result *const out = &b->results[n];
    const int64_t D = b->D, last = token_of(b, n), sequence = n / b->tokens;
    gka_arith A = lab_arith(b->format, 0);
    const double f = 1;
    lab_normalised_state(&b->problem, sequence, last, m->k, m->H);
    gka_arith_store(&A, D * D, m->H, m->stored);
    gka_problem_q(&b->problem, sequence, last - 1, 0, m->q);
    gka_problem_dx(&b->problem, sequence, last - 1, 0, m->dx);
    const double lambda = gka_arith_scalar(&A, b->lambda);
    for (int s = 0; s < SOLVERS; s++) {
        out->run[s] = (course){.A = &A, .m = m, .D = D, .lambda = lambda, .width = 1};
        out->run[s].sum = gka_arith_add(&A, gka_arith_mul(&A, 2, lambda), 1);
        out->same[s] = there_and_back(&out->run[s], s, out->error[s]);
        if (s == CHEBYSHEV)
            out->products = products_of(D, m->stored, m->q, iterate(&out->run[s], R));
    }
    const gka_system system = {.n = 1, .D = D, .H = m->stored, .lambda = &b->lambda, .f = &f};
    gradients(b, m, &A, &system, out);
}

static void divisor_rows(const bench *b, int64_t systems, const char *ridge) {
    for (int s = 0; s < SOLVERS; s++)
        for (int i = 1; i <= R; i++) {
            double least[4] = {INFINITY, INFINITY, INFINITY, INFINITY}, most[4] = {0};
            int64_t count = 0;
            for (int64_t n = 0; n < systems; n++) {
                const course *const c = &b->results[n].run[s];
                if (i > c->steps)
                    continue;
                const double values[] = {c->divisor[i], c->alpha[i], c->rho[i], c->pw[i]};
                count++;
                for (int j = 0; j < 4; j++) {
                    least[j] = fmin(least[j], values[j]);
                    most[j] = fmax(most[j], values[j]);
                }
            }
            const int quantities = s < CG ? 1 : 4;
            static const char *const names[] = {"divisor", "alpha", "rho", "p.w"};
            for (int j = 0; j < quantities && count > 0; j++)
                lab_row(b->l, "%s,%s,%s,%s,%d,%lld,%.4g,%.4g", ridge, b->format, solvers[s],
                        names[j], i, (long long)count, least[j], most[j]);
        }
}

static double unit_roundoff(int format, int s) {
    return ldexp(1, -(s == CHEBYSHEV ? stored_bits : operand_bits)[format]);
}

/* spectrum [R+1] of H, U_n by its recurrence; U, before [D,D] are overwritten. */
static void understand(int64_t D, const double *H, double *U, double *before, double *next,
                       double *spectrum) {
    for (int64_t i = 0; i < D * D; i++) {
        before[i] = 0;
        U[i] = i % (D + 1) == 0;
    }
    for (int n = 0; n <= R; n++) {
        spectrum[n] = 0;
        for (int64_t i = 0; i < D * D; i++)
            spectrum[n] += U[i] * U[i] / (double)D;
        for (int64_t i = 0; i < D; i++) { /* next = 2 (I - 2H) U - before; U is symmetric */
            double *const row = next + i * D;
            for (int64_t j = 0; j < D; j++)
                row[j] = 2 * U[i * D + j] - before[i * D + j];
            for (int64_t l = 0; l < D; l++)
                for (int64_t j = 0; j < D; j++)
                    row[j] -= 4 * H[i * D + l] * U[l * D + j];
        }
        memcpy(before, U, (size_t)(D * D) * sizeof *U);
        memcpy(U, next, (size_t)(D * D) * sizeof *U);
    }
}

static void one_spectrum(void *context, int64_t n, int number) {
    const bench *const b = context;
    const memory *const m = &b->memories[number];
    lab_normalised_state(&b->problem, n / b->tokens, token_of(b, n), m->k, m->H);
    understand(b->D, m->H, m->stored, m->dH, m->dH_exact, b->spectrum + n * (R + 1));
}

/* What the three-term iterate met after k steps back is off by, in units of |x_r|. */
static double predicted(double lambda, double u, int k, const double *spectrum, double products) {
    const double angle = acosh(1 + 2 * lambda), rho = 1 / (1 + 2 * lambda);
    double omega[R + 1] = {2}, sum = 0;
    for (int i = 1; i <= R; i++)
        omega[i] = 1 / (1 - rho * rho / 4 * omega[i - 1]);
    for (int m = 2; m <= k; m++) {
        const double w = omega[R - m + 2], step = 2 * rho * w,
                     S = 2 + (2 * w * w + step * step * products) / ((w - 1) * (w - 1)),
                     T = cosh((R - m + 1) * angle) / cosh((R - k + 1) * angle);
        sum += S * T * T * spectrum[k - m];
    }
    return .4247 * u * sqrt(sum);
}

static double law(double lambda, int format, int s, int k) {
    if (s >= CG)
        return NAN;
    const double angle = acosh(1 + 2 * lambda), contracted = s == CHEBYSHEV ? 1 : cosh(R * angle);
    return k * unit_roundoff(format, s) * cosh(k * angle) / contracted;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Least, median and largest error after k steps back, over the systems that ran so far; `same`: how
 * many of them gave the library's bits. */
static void back_rows(const bench *b, int64_t systems, const char *ridge, int format) {
    for (int s = 0; s < SOLVERS; s++)
        for (int k = 1; k <= R; k++) {
            int64_t count = 0, same = 0;
            for (int64_t n = 0; n < systems; n++) {
                const result *const r = &b->results[n];
                if (k > r->run[s].steps)
                    continue;
                const double error = r->error[s][k];
                b->sorted[count++] = isnan(error) ? (double)INFINITY : error;
                same += r->same[s];
            }
            if (count == 0)
                continue;
            qsort(b->sorted, (size_t)count, sizeof *b->sorted, by_value);
            const double least = b->sorted[0], median = b->sorted[count / 2],
                         largest = b->sorted[count - 1];
            for (int64_t n = 0; n < systems; n++) /* three-term: all of them ran */
                b->sorted[n] =
                    s != CHEBYSHEV || k < 2
                        ? (double)NAN
                        : b->results[n].error[s][k] / predicted(b->lambda, unit_roundoff(format, s),
                                                                k, b->spectrum + n * (R + 1),
                                                                b->results[n].products);
            if (s == CHEBYSHEV && k >= 2)
                qsort(b->sorted, (size_t)systems, sizeof *b->sorted, by_value);
            lab_row(b->l, "%s,%s,%s,%d,%lld,%lld,%.4g,%.4g,%.4g,%.4g,%.4g,%.4g,%.4g", ridge,
                    b->format, solvers[s], k, (long long)count, (long long)same, least, median,
                    largest, law(b->lambda, format, s, k), b->sorted[0], b->sorted[systems / 2],
                    b->sorted[systems - 1]);
        }
}

static void gradient_rows(const bench *b, int64_t systems, const char *ridge) {
    for (int64_t n = 0; n < systems; n++)
        for (int form = 0; form < 2; form++) {
            const result *const r = &b->results[n];
            lab_row(b->l, "%s,%s,%s,%lld,%lld,%.4g,%.4g,%.4g,%.4g,%.4g,%.4g", ridge, b->format,
                    solvers[form], (long long)(n / b->tokens), (long long)token_of(b, n),
                    r->dq[form][0], r->dq[form][1], r->dH[form][0], r->dH[form][1],
                    r->dq[form][1] / r->dq[form][0], r->dH[form][1] / r->dH[form][0]);
        }
}

static gka_status one_case(bench *b, int64_t systems, int ridge, int format, gka_error *error) {
    gka_status status = GKA_OK;
    bool computed = false;
    b->lambda = lambdas[ridge];
    b->format = formats[format];
    for (int table = DIVISORS; status == GKA_OK && table <= GRADIENT; table++) {
        if (!lab_unit(b->l, table, "%s-%s", ridges[ridge], formats[format]))
            continue;
        if (!computed)
            gka_parallel(systems, one_system, b);
        computed = true;
        if (table == DIVISORS)
            divisor_rows(b, systems, ridges[ridge]);
        else if (table == BACK)
            back_rows(b, systems, ridges[ridge], format);
        else
            gradient_rows(b, systems, ridges[ridge]);
        status = lab_unit_end(b->l, error);
    }
    return status;
}

static gka_status run(lab *l, gka_error *error) {
    const int64_t sequences = lab_many(l, 2, 4, 64);
    bench b = {.l = l,
               .D = lab_pick(l, 32, 128, 128),
               .T = lab_pick(l, 64, 512, 2048),
               .tokens = lab_pick(l, 2, 4, 5)};
    gka_generator spec = lab_paper_data(GKA_KEYS_IID, sequences, b.T, b.D, GKA_BF16, l->seed);
    spec.cotangents = true;
    const int64_t systems = sequences * b.tokens, D = b.D;
    const gka_solver any = lab_solver("cg", R);
    const lab_array arrays[] = {LAB_NUMBERS(memory, H, D * D),
                                LAB_NUMBERS(memory, stored, D * D),
                                LAB_NUMBERS(memory, dH, D * D),
                                LAB_NUMBERS(memory, dH_exact, D * D),
                                LAB_NUMBERS(memory, X, (R + 1) * D),
                                LAB_NUMBERS(memory, k, D),
                                LAB_NUMBERS(memory, q, D),
                                LAB_NUMBERS(memory, dx, D),
                                LAB_NUMBERS(memory, x, D),
                                LAB_NUMBERS(memory, r, D),
                                LAB_NUMBERS(memory, p, D),
                                LAB_NUMBERS(memory, w, D),
                                LAB_NUMBERS(memory, t, D),
                                LAB_NUMBERS(memory, dq, D),
                                LAB_NUMBERS(memory, dq_exact, D),
                                {offsetof(memory, solve), gka_solve_workspace(&any, 1, D)},
                                {offsetof(memory, adjoint), gka_solve_adjoint_workspace(&any, D)}};
    l->units_total = 3.0 * RIDGES * FORMATS;
    gka_status status = gka_problem_generate(&spec, &b.problem, error);
    if (status != GKA_OK)
        return status;
    b.memories = lab_workers(sizeof *b.memories, arrays, sizeof arrays / sizeof arrays[0], error);
    b.results = gka_alloc((size_t)systems, sizeof *b.results);
    b.sorted = gka_alloc((size_t)systems, sizeof *b.sorted);
    b.spectrum = gka_alloc((size_t)systems * (R + 1), sizeof *b.spectrum);
    if (b.memories == NULL || b.results == NULL || b.sorted == NULL || b.spectrum == NULL)
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
    else
        gka_parallel(systems, one_spectrum, &b);
    for (int ridge = 0; ridge < RIDGES; ridge++)
        for (int format = 0; status == GKA_OK && format < FORMATS; format++)
            status = one_case(&b, systems, ridge, format, error);
    gka_free(b.sorted);
    gka_free(b.spectrum);
    gka_free(b.results);
    gka_free(b.memories);
    gka_problem_free(&b.problem);
    return status;
}

/* ---- verdicts ------------------------------------------------------------------------------ */

/* The range of a divisor (or another scalar) over lambdas and iterations. */
static lab_stats scalar(lab *l, const char *format, int solver, const char *quantity) {
    const lab_stats least = lab_stats_of(l, DIVISORS, "least", "format=%s,solver=%s,quantity=%s",
                                         format, solvers[solver], quantity),
                    most = lab_stats_of(l, DIVISORS, "largest", "format=%s,solver=%s,quantity=%s",
                                        format, solvers[solver], quantity);
    return (lab_stats){.count = least.count, .min = least.min, .max = most.max};
}

static double back(lab *l, const char *column, int ridge, int format, int solver, int k) {
    const lab_stats s = lab_stats_of(l, BACK, column, "lambda=%s,format=%s,solver=%s,back=%d",
                                     ridges[ridge], formats[format], solvers[solver], k);
    return s.count > 0 ? s.max : (double)INFINITY;
}

static void judge_divisors(lab *l) {
    const lab_stats chebyshev = scalar(l, "fp32", CHEBYSHEV, "divisor"),
                    two = scalar(l, "fp32", TWO_TERM, "divisor"),
                    cg = scalar(l, "fp32", CG, "divisor"), exact = scalar(l, "fp64", CG, "divisor"),
                    guarded = scalar(l, "fp32", GUARDED, "divisor"),
                    alpha = scalar(l, "fp32", CG, "alpha"), rho = scalar(l, "fp32", CG, "rho");
    lab_claim(l, "Run backwards, Chebyshev divides by omega_i - 1 in [.25, 1] (Fig 5)",
              LAB_REPRODUCED,
              chebyshev.min > .25 && chebyshev.max < 1 && fabs(two.min / chebyshev.min - 1) < 1e-3,
              "%.3f .. %.3f over lambda .01 .. .1 and 30 iterations, in the two-term form too (its "
              "tau_i tau_(i-1) is the same number); below .25 for lambda above .125",
              chebyshev.min, chebyshev.max);
    lab_claim(
        l, "Run backwards, CG divides by numbers from 1e-3 to 1e10 (Fig 5)", LAB_QUALIFIED,
        exact.min < 1e-2 && cg.max < 20 && 1 / rho.min > 1e10,
        "beta, which our reversal divides by, in %.2g .. %.2g (fp64: %.2g .. %.2g; guarded "
        "%.2g .. %.2g); alpha in %.2g .. %.2g; 1/rho reaches %.0e. So the small end is there, and "
        "passed at early tokens, where CG converges in t + 1 steps; the large end only where "
        "formulas divide by rho = |r|^2 or p.w (fp32, lambda .01 .. .1, 30 "
        "iterations)",
        cg.min, cg.max, exact.min, exact.max, guarded.min, guarded.max, alpha.min, alpha.max,
        1 / rho.min);
}

static void judge_prediction(lab *l) {
    lab_stats all = {.min = INFINITY};
    double low = INFINITY, high = 0;
    for (int ridge = 0; ridge < RIDGES; ridge++)
        for (int format = FP64; format < FORMATS; format++)
            for (int k = 5; k <= R && format != FP16 && format != MIXED; k += 5) {
                all.min = fmin(all.min, back(l, "ratio_least", ridge, format, CHEBYSHEV, k));
                all.max = fmax(all.max, back(l, "ratio_largest", ridge, format, CHEBYSHEV, k));
                low = fmin(low, back(l, "ratio_median", ridge, format, CHEBYSHEV, k));
                high = fmax(high, back(l, "ratio_median", ridge, format, CHEBYSHEV, k));
            }
    lab_claim(
        l,
        "What a reversed three-term iteration loses is predicted, system by system, by the sum of "
        "its "
        "rounding errors with the actual spectrum; k u T_k(1 + 2 lambda) holds at the ends of the "
        "spectrum alone",
        LAB_REPRODUCED, low > .3 && high < 3 && all.min > .1 && all.max < 10,
        "measured over predicted, after 5, 10 .. 30 steps back, lambda .01 .. .1, fp64, fp32, "
        "tf32, "
        "bf16: medians over systems %.2f .. %.2f, single systems %.2f .. %.2f; k u T_k over the "
        "least measured system, fp64, 30 steps: up to %.0f",
        low, high, all.min, all.max,
        fmax(back(l, "law", 3, FP64, CHEBYSHEV, R) / back(l, "least", 3, FP64, CHEBYSHEV, R),
             back(l, "law", 0, FP64, CHEBYSHEV, R) / back(l, "least", 0, FP64, CHEBYSHEV, R)));
}

static void judge_iterates(lab *l) {
    double low = INFINITY, high = 0, two_high = 0;
    bool same = true;
    for (int ridge = 0; ridge < RIDGES; ridge++)
        for (int format = FP64; format < FORMATS; format++) {
            if (format == FP16 || format == MIXED)
                continue; /* out of range; deterministic operand rounding undone */
            for (int k = 5; k <= R; k += 5) {
                low = fmin(low, back(l, "largest", ridge, format, CHEBYSHEV, k) /
                                    back(l, "law", ridge, format, CHEBYSHEV, k));
                high = fmax(high, back(l, "largest", ridge, format, CHEBYSHEV, k) /
                                      back(l, "law", ridge, format, CHEBYSHEV, k));
            }
            two_high = fmax(two_high, back(l, "largest", ridge, format, TWO_TERM, R) /
                                          back(l, "law", ridge, format, TWO_TERM, R));
        }
    for (int s = 0; s < SOLVERS; s++) {
        const lab_stats systems = lab_stats_of(l, BACK, "systems", "solver=%s", solvers[s]),
                        equal = lab_stats_of(l, BACK, "same", "solver=%s", solvers[s]);
        same &= fabs(systems.mean - equal.mean) < 1e-9;
    }
    lab_claim(
        l, "Divisors near 1 let Chebyshev be run backwards stably", LAB_REFUTED,
        same && back(l, "largest", 3, FP32, CHEBYSHEV, R) > .1 && low > .05 && high < 20 &&
            two_high < 20,
        "their product is what counts: three-term iterates are off by up to k u T_k(1 + 2 lambda) "
        "after k steps back (largest measured / law %.2g .. %.2g over lambdas, fp64, fp32, tf32, "
        "bf16). "
        "x_0 after 30, relative to |x_30|, median [largest], lambda .02 and .1: fp32 %.1e [%.1e], "
        "%.2g [%.2g]; bf16 %.2g [%.2g], %.1e [%.1e]. The two-term form loses r u: fp32 %.1e "
        "[%.1e], "
        "%.1e [%.1e]; bf16 %.2f [%.2f], %.2f [%.2f]; %lld systems",
        low, high, back(l, "median", 1, FP32, CHEBYSHEV, R),
        back(l, "largest", 1, FP32, CHEBYSHEV, R), back(l, "median", 3, FP32, CHEBYSHEV, R),
        back(l, "largest", 3, FP32, CHEBYSHEV, R), back(l, "median", 1, BF16, CHEBYSHEV, R),
        back(l, "largest", 1, BF16, CHEBYSHEV, R), back(l, "median", 3, BF16, CHEBYSHEV, R),
        back(l, "largest", 3, BF16, CHEBYSHEV, R), back(l, "median", 1, FP32, TWO_TERM, R),
        back(l, "largest", 1, FP32, TWO_TERM, R), back(l, "median", 3, FP32, TWO_TERM, R),
        back(l, "largest", 3, FP32, TWO_TERM, R), back(l, "median", 1, BF16, TWO_TERM, R),
        back(l, "largest", 1, BF16, TWO_TERM, R), back(l, "median", 3, BF16, TWO_TERM, R),
        back(l, "largest", 3, BF16, TWO_TERM, R),
        (long long)back(l, "systems", 1, FP32, CHEBYSHEV, R));
}

static double gradient(lab *l, const char *column, int ridge, int format, int form) {
    const lab_stats s = lab_stats_of(l, GRADIENT, column, "lambda=%s,format=%s,solver=%s",
                                     ridges[ridge], formats[format], solvers[form]);
    return s.nonfinite > 0 ? (double)INFINITY : s.max;
}

static void judge_gradient(lab *l) {
    double low[2] = {INFINITY, INFINITY}, high[2] = {0}, dq = 0;
    for (int form = CHEBYSHEV; form <= TWO_TERM; form++)
        for (int ridge = 0; ridge < RIDGES; ridge++)
            for (int format = FP64; format < FORMATS; format++) {
                if (format > FP64)
                    dq = fmax(dq, gradient(l, "reversed_dq", ridge, format, form) /
                                      gradient(l, "stored_dq", ridge, format, form));
                if (format == FP16 || format == MIXED)
                    continue;
                const double of = gradient(l, "reversed_dH", ridge, format, form) /
                                  (pow(R, form == CHEBYSHEV ? 2 : 1) * unit_roundoff(format, form));
                low[form] = fmin(low[form], of);
                high[form] = fmax(high[form], of);
            }
    lab_claim(
        l, "Reversal costs the gradient nothing", LAB_QUALIFIED,
        dq < 1.001 && low[0] > .05 && high[0] < 20 && low[1] > .05 && high[1] < 20 &&
            gradient(l, "reversed_dH", 1, FP32, CHEBYSHEV) >
                10 * gradient(l, "stored_dH", 1, FP32, CHEBYSHEV) &&
            gradient(l, "reversed_dH", 1, MIXED, CHEBYSHEV) <
                1.5 * gradient(l, "stored_dH", 1, MIXED, CHEBYSHEV),
        "dq nothing (it reads no iterate); dH r^2 u in the three-term form and r u in the two-term "
        "(largest measured / law %.2g .. %.2g and %.2g .. %.2g over fp64, fp32, tf32, bf16). Error "
        "of "
        "dH, stored -> reversed, lambda .02: three-term fp32 %.1e -> %.1e, bf16 %.3f -> %.1f, bf16 "
        "operands with fp32 iterates %.1e -> %.1e; two-term %.1e -> %.1e, %.3f -> %.2f, %.1e -> "
        "%.1e; "
        "largest of %lld systems",
        low[0], high[0], low[1], high[1], gradient(l, "stored_dH", 1, FP32, CHEBYSHEV),
        gradient(l, "reversed_dH", 1, FP32, CHEBYSHEV),
        gradient(l, "stored_dH", 1, BF16, CHEBYSHEV),
        gradient(l, "reversed_dH", 1, BF16, CHEBYSHEV),
        gradient(l, "stored_dH", 1, MIXED, CHEBYSHEV),
        gradient(l, "reversed_dH", 1, MIXED, CHEBYSHEV),
        gradient(l, "stored_dH", 1, FP32, TWO_TERM), gradient(l, "reversed_dH", 1, FP32, TWO_TERM),
        gradient(l, "stored_dH", 1, BF16, TWO_TERM), gradient(l, "reversed_dH", 1, BF16, TWO_TERM),
        gradient(l, "stored_dH", 1, MIXED, TWO_TERM),
        gradient(l, "reversed_dH", 1, MIXED, TWO_TERM),
        (long long)back(l, "systems", 1, FP32, CHEBYSHEV, R));
}

/* The largest error of x over steps and lambdas; Inf where one is not finite. */
static double worst(lab *l, int format, int solver) {
    const lab_stats s =
        lab_stats_of(l, BACK, "largest", "format=%s,solver=%s", formats[format], solvers[solver]);
    return s.nonfinite > 0 ? (double)INFINITY : s.max;
}

static void judge_cg(lab *l) {
    const double cg = worst(l, FP64, CG), guarded = worst(l, FP64, GUARDED),
                 chebyshev = worst(l, FP64, CHEBYSHEV), two = worst(l, FP64, TWO_TERM);
    lab_claim(
        l, "CG cannot be run backwards, Chebyshev can", LAB_QUALIFIED,
        guarded > 1e3 * cg && cg > 10 * chebyshev && chebyshev > 10 * two,
        "fp64, 30 iterations, largest error of an iterate over lambdas, relative to the last "
        "x: guarded CG %.1e, plain CG %.1e, three-term %.1e, two-term %.1e; fp32: %.1e, %.1e, "
        "%.1e, %.1e; bf16: %.1e, %.1e, %.1e, %.1e",
        guarded, cg, chebyshev, two, worst(l, FP32, GUARDED), worst(l, FP32, CG),
        worst(l, FP32, CHEBYSHEV), worst(l, FP32, TWO_TERM), worst(l, BF16, GUARDED),
        worst(l, BF16, CG), worst(l, BF16, CHEBYSHEV), worst(l, BF16, TWO_TERM));
}

static gka_status judge(lab *l, gka_error *error) {
    (void)error;
    judge_divisors(l);
    judge_prediction(l);
    judge_iterates(l);
    judge_gradient(l);
    judge_cg(l);
    return GKA_OK;
}

int main(int argc, char **argv) {
    static const lab_experiment experiment = {
        .name = "08_reversal",
        .question = "What does it cost to run an iteration backwards?",
        .tables = {{"divisors.csv",
                    "lambda,format,solver,quantity,iteration,systems,least,largest"},
                   {"back.csv", "lambda,format,solver,back,systems,same,least,median,largest,law,"
                                "ratio_least,ratio_median,ratio_largest"},
                   {"gradient.csv", "lambda,format,solver,sequence,token,stored_dq,reversed_dq,"
                                    "stored_dH,reversed_dH,ratio_dq,ratio_dH"}},
        .run = run,
        .judge = judge,
        .refuses = LAB_NO_GATE};
    return lab_main(argc, argv, &experiment);
}
