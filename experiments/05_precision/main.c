/* main.c - precision: the error floor of every solver, predicted and measured, over unit roundoff,
 * rounding mode and accumulator.
 *
 *   u_s u_o u_a  unit roundoff of storage, of the operands of products, of scalars and sums
 *   c            rms relative error of one rounding, in u, over significands of log-uniform
 * density: .425 to nearest, .601 stochastic floor        residual ||q - (H + lambda I) x|| / ||q||
 * where it no longer falls delay        how many more steps than binary64 the solver needs to come
 * within 10 of its floor
 *
 * The prediction takes every rounding error for random and independent of all others (hence of
 * those of other steps: an iterate that no longer moves repeats its errors, and the prediction is
 * too high), and no step of it runs in the emulated arithmetic. An error sits in the coordinate in
 * which it is made and is as large as the number rounded there: sums go over coordinates, so
 * nothing is assumed about how eigenvectors lie. Methods that recompute the residual (three-term
 * Chebyshev, gradient, Nesterov): at the floor every step makes errors of one size, and an error
 * made j steps ago counts with the gain g_j of the recurrence: floor^2 = sum over sources of e^2
 * sum_j ||(H + lambda I) g_j||^2 (noise gain). Methods that carry it (two-term Chebyshev, CG): the
 * carried r falls without end; what is left is the sum of what x and r lost against each other on
 * the way (residual gap).
 */
#include "lab/dense.h"
#include "lab/lab.h"

#include "gka/problem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FLOORS, MODES, ACCUMULATORS, SPECTRA, CONDITION };
enum { D = 64, STEPS = 480 };
static const double ratio = .02;

static const char *const solvers[] = {"chebyshev", "chebyshev2", "cg",      "cg-consistent",
                                      "gradient",  "nesterov",   "cholesky"};
enum { METHODS = sizeof solvers / sizeof *solvers };
enum { THREE_TERM, TWO_TERM, CG, CONSISTENT, GRADIENT, NESTEROV, CHOLESKY };

/* Where the p bits are: only in the operands of products, as the kernels have it; in all that lies
 * in memory; everywhere. */
typedef enum place { OPERANDS, MEMORY, EVERYWHERE } place;
static const char *const places[] = {"operands", "memory", "everywhere"};

typedef struct config {
    int table;
    char name[24]; /* the format */
    place where;
    gka_policy policy;
} config;

typedef struct outcome {
    double kappa, floor, floor_x, predicted, delay;
} outcome;

enum { CONFIGS = 96 };

/* ---- what is computed with ----------------------------------------------------------------- */

static gka_policy policy_of(place where, const gka_format *format, gka_rounding rounding) {
    gka_policy policy;
    (void)gka_policy_find("fp32", &policy);
    policy.operand = *format;
    if (where != OPERANDS)
        policy.storage = *format;
    if (where == EVERYWHERE)
        policy.product = policy.accumulator = *format;
    policy.rounding = rounding;
    return policy;
}

/* p bits with the exponents of binary32, so that precision alone varies. */
static gka_format format_of(int p) {
    return gka_format_ieee("", p, -126, 127);
}

static config *add(config *list, int *n, int table, place where, const gka_format *format,
                   gka_rounding rounding) {
    config *const c = &list[(*n)++];
    *c = (config){.table = table, .where = where, .policy = policy_of(where, format, rounding)};
    (void)snprintf(c->name, sizeof c->name, "%s", format->name);
    return c;
}

static int make_configs(const lab *l, config *list) {
    static const int claim[] = {4, 8, 11, 24},
                     most[] = {3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 16, 20, 24};
    const bool few = l->size == LAB_CLAIM;
    const int *const bits = few ? claim : most,
                     widths = few ? sizeof claim / sizeof *claim : sizeof most / sizeof *most;
    int n = 0;
    for (place where = OPERANDS; where <= EVERYWHERE; where++)
        for (int i = 0; i < widths; i++) {
            const gka_format format = format_of(bits[i]);
            add(list, &n, FLOORS, where, &format, GKA_NEAREST_EVEN);
        }
    static const char *const presets[] = {"e5m2", "e4m3", "bf16", "fp16", "tf32"};
    for (place where = OPERANDS; where <= MEMORY && !few; where++)
        for (int i = 0; i < 5; i++)
            add(list, &n, FLOORS, where, gka_format_find(presets[i]), GKA_NEAREST_EVEN);
    for (place where = OPERANDS; where <= EVERYWHERE; where++)
        for (int mode = GKA_NEAREST_EVEN; mode <= GKA_STOCHASTIC; mode++)
            add(list, &n, MODES, where, gka_format_find("bf16"), (gka_rounding)mode);
    static const gka_order orders[] = {GKA_SEQUENTIAL, GKA_PAIRWISE};
    for (int order = 0; order < (few ? 1 : 2); order++)
        for (int p = 8; p <= 24; p += few ? 8 : p < 16 ? 1 : 4) {
            const gka_format sums = format_of(p);
            config *const c =
                add(list, &n, ACCUMULATORS, MEMORY, gka_format_find("bf16"), GKA_NEAREST_EVEN);
            c->policy.product = c->policy.accumulator = sums;
            c->policy.order = orders[order];
        }
    return n;
}

/* Off home ground: 8 bits in three places to nearest and stochastically, and 24. */
static int make_spectra(config *list) {
    int n = 0;
    for (place where = OPERANDS; where <= EVERYWHERE; where++) {
        const gka_format few = format_of(8), many = format_of(24);
        add(list, &n, SPECTRA, where, &few, GKA_NEAREST_EVEN);
        add(list, &n, SPECTRA, where, &few, GKA_STOCHASTIC);
        add(list, &n, SPECTRA, where, &many, GKA_NEAREST_EVEN);
    }
    return n;
}

/* ---- prediction ---------------------------------------------------------------------------- */

/* (H + lambda I) x = q, f = ||H||_F. */
typedef struct equation {
    const double *H; /* [D,D] */
    double lambda, f;
    const double *q; /* [D] */
} equation;

/* y = (H + lambda I) x */
static void shifted(const equation *s, const double *x, double *y) {
    for (int i = 0; i < D; i++) {
        y[i] = s->lambda * x[i];
        for (int j = 0; j < D; j++)
            y[i] += s->H[i * D + j] * x[j];
    }
}

static double square(double x) {
    return x * x;
}

static double square_of(const double *x) {
    return square(lab_norm(D, x));
}

/* The squares of all intermediate results that one row of H v rounds, added one after the other:
 * products and partial sums. */
static double row_squares(const double *row, const double *v) {
    double sum = 0, partial = 0;
    for (int j = 0; j < D; j++) {
        const double product = row[j] * v[j];
        partial += product;
        sum += product * product + partial * partial;
    }
    return sum;
}

static double squares(const double *H, const double *v) {
    double sum = 0;
    for (int i = 0; i < D; i++)
        sum += row_squares(H + i * D, v);
    return sum;
}

/* What the prediction knows of one solver: its run in binary64, and what the run's errors leave. */
typedef struct exact_run {
    int steps;
    /* squares, by step: residual r, w = (H + lambda I) dx, all that H dx rounds; what
     * errors as large as x, dx in each coordinate leave in the residual (columns of H + lambda I)
     */
    double rr[STEPS + 1], ww[STEPS + 1], sums[STEPS + 1];
    double left_x[STEPS + 1], left_d[STEPS + 1];
    /* by coordinate, at the solution: x^2, q^2, (H x)^2 and what that row rounds */
    double xx[D], qs[D], hx[D], rows[D];
    double qq;       /* |q|^2 */
    double momentum; /* omega - 1, omega at its limit (three-term) */
    /* gains: sum_j |(H + lambda I) g_j e|^2, e an error of one coordinate of the product's operand,
     * of the residual, of x */
    double operand[D], product[D], stored[D];
} exact_run;

/* sum_j |(H + lambda I) g_j e|^2: what an error e leaves that enters the residual (or x itself) of
 * one step, j = 0, 1, ... steps later. omega at its limit. */
static double gain(const equation *s, int method, double momentum, const double *e, bool into_x) {
    const double mu = s->lambda, L = s->f + s->lambda;
    const double step = method == THREE_TERM ? 2 * (1 + momentum) / (L + mu)
                        : method == GRADIENT ? 2 / (L + mu)
                                             : 4 / (3 * L + mu);
    double x[D], before[D] = {0}, y[D], g[D], sum = 0;
    for (int i = 0; i < D; i++)
        x[i] = into_x ? e[i] : -step * e[i];
    for (int j = 0; j < 4 * STEPS; j++) {
        shifted(s, x, g);
        const double now = square_of(g);
        sum += now;
        if (!(now > 1e-6 * sum))
            break;
        /* three-term: the gradient at x, momentum added; Nesterov: the gradient at y */
        for (int i = 0; i < D; i++)
            y[i] = x[i] + momentum * (x[i] - before[i]);
        if (method == NESTEROV)
            shifted(s, y, g);
        for (int i = 0; i < D; i++) {
            before[i] = x[i];
            x[i] = y[i] - step * g[i];
        }
    }
    return sum;
}

/* The three gains of every coordinate. */
static void gains(const equation *s, int method, exact_run *run) {
    double e[D], image[D];
    for (int d = 0; d < D; d++) {
        for (int i = 0; i < D; i++) {
            e[i] = i == d;
            image[i] = s->H[i * D + d]; /* H e */
        }
        run->operand[d] = gain(s, method, run->momentum, image, false);
        run->product[d] = gain(s, method, run->momentum, e, false);
        run->stored[d] = gain(s, method, run->momentum, e, true);
    }
}

/* path [steps + 1, D]: the iterates of the exact run, truth the solution. */
static void understand(const equation *s, int method, const double *path, int steps,
                       const double *truth, exact_run *run) {
    const double rho = s->f / (s->f + 2 * s->lambda), n = sqrt(3 * (s->f / s->lambda + 1) + 1);
    double dx[D], w[D];
    double column[D];
    *run = (exact_run){.steps = steps, .qq = square_of(s->q)};
    run->momentum = method == THREE_TERM ? 2 / (1 + sqrt(1 - rho * rho)) - 1
                    : method == NESTEROV ? (n - 2) / (n + 2)
                                         : 0;
    for (int i = 0; i < D; i++) {
        column[i] = 0;
        for (int j = 0; j < D; j++)
            column[i] += square(s->H[i * D + j] + (i == j ? s->lambda : 0));
        run->xx[i] = square(truth[i]);
        run->qs[i] = square(s->q[i]);
        run->hx[i] = square(s->q[i] - s->lambda * truth[i]);
        run->rows[i] = row_squares(s->H + i * D, truth);
    }
    for (int i = 0; i <= steps; i++) {
        const double *const x = path + i * D;
        shifted(s, x, w);
        for (int j = 0; j < D; j++) {
            dx[j] = i > 0 ? x[j] - x[j - D] : x[j];
            w[j] -= s->q[j];
            run->left_x[i] += column[j] * square(x[j]);
            run->left_d[i] += column[j] * square(dx[j]);
        }
        run->rr[i] = square_of(w);
        shifted(s, dx, w);
        run->ww[i] = square_of(w);
        run->sums[i] = squares(s->H, dx);
    }
    if (method == THREE_TERM || method == GRADIENT || method == NESTEROV)
        gains(s, method, run);
}

/* Unit roundoffs times c; o is 0 where rounding an operand changes nothing. */
typedef struct errors {
    double s, o, a;
    bool apart; /* storing rounds once more than the sums do */
} errors;

static errors errors_of(const gka_policy *policy) {
    const double c = policy->rounding == GKA_NEAREST_EVEN ? .4247
                     : policy->rounding == GKA_STOCHASTIC ? .6006
                                                          : NAN;
    return (errors){.s = c * gka_format_unit_roundoff(&policy->storage),
                    .o = policy->operand.p < policy->storage.p
                             ? c * gka_format_unit_roundoff(&policy->operand)
                             : 0,
                    .a = c * gka_format_unit_roundoff(&policy->accumulator),
                    .apart = policy->storage.p < policy->accumulator.p};
}

/* Noise gain: at the floor, every step errs by the same. Sources: H applied to a rounded operand;
 * the sums of H x, its storing, that of lambda x + H x (of the size of q); the storing of x. */
static double noise(const exact_run *run, int method, errors u) {
    const double momentum = run->momentum;
    double sum = 0, twice = 1;
    /* the three-term update stores twice, and rounds two products where sums are short */
    if (method == THREE_TERM)
        twice += square(momentum) + (u.apart ? 0 : square(1 + momentum) + square(momentum));
    if (method == NESTEROV)
        twice = 2;
    for (int i = 0; i < D; i++)
        sum +=
            square(u.o) * run->xx[i] * run->operand[i] +
            (square(u.a) * run->rows[i] + square(u.s) * (run->qs[i] + (u.apart ? run->hx[i] : 0))) *
                run->product[i] +
            twice * square(u.s) * run->xx[i] * run->stored[i];
    return sqrt(sum / run->qq);
}

/* Residual gap: what every step takes from the tie between the carried r and x. Only plain CG
 * multiplies a p rounded to operand format and adds another one to x. Once dx is below the rounding
 * of x, dx itself is lost. */
static double gap(const exact_run *run, int method, errors u) {
    double sum = 0;
    for (int i = 1; i <= run->steps; i++) {
        const double operand = method == CG ? square(u.o) * run->left_d[i] : 0;
        const double product = square(u.a) * run->sums[i] +
                               square(u.s) * ((u.apart ? 2 : 1) * run->ww[i] + run->rr[i]);
        const double stored = fmin(square(u.s) * run->left_x[i], run->left_d[i]);
        sum += operand + product + stored;
    }
    return sqrt(sum / run->qq);
}

static double predict(const exact_run *run, int method, const gka_policy *policy) {
    const errors u = errors_of(policy);
    switch (method) {
    case THREE_TERM:
    case GRADIENT:
    case NESTEROV: return noise(run, method, u);
    case CHOLESKY: return NAN;
    default: return gap(run, method, u);
    }
}

/* ---- measurement --------------------------------------------------------------------------- */

typedef struct job {
    const config *list;
    uint64_t seed;
    double *H; /* [D,D], ||H||_F = 1 */
    double q[D];
    exact_run run[METHODS];
    outcome *results; /* [configs, METHODS] */
    char *work;       /* [threads, bytes] */
    size_t bytes;
} job;

typedef struct memory {
    double Hs[D * D], qs[D], x[D], truth[D], eigen[D * (D + 4)], path[(STEPS + 1) * D];
    gka_trace_point points[STEPS + 1];
    char solve[];
} memory;

static size_t workspace(void) {
    size_t most = lab_exact_bytes(D);
    for (int m = 0; m < METHODS; m++) {
        const gka_solver solver = lab_solver(solvers[m], STEPS);
        const size_t bytes = gka_solve_workspace(&solver, 1, D);
        most = bytes > most ? bytes : most;
    }
    return most;
}

static void record(void *context, int step, const double *x) {
    memory *const w = context;
    memcpy(w->path + step * D, x, D * sizeof *x);
}

/* The run in binary64 of method m. */
static void exact_one(void *context, int64_t m, int worker) {
    job *const j = context;
    memory *const w = (memory *)(void *)(j->work + (size_t)worker * j->bytes);
    const equation s = {.H = j->H, .q = j->q, .f = 1, .lambda = ratio};
    const gka_solver solver = lab_solver(solvers[m], STEPS);
    const gka_system system = {.n = 1, .D = D, .H = s.H, .lambda = &s.lambda, .f = &s.f};
    const gka_observer watch = {record, w};
    gka_arith A = lab_arith("fp64", 0);
    gka_outcome ending;
    if (m == CHOLESKY)
        return;
    lab_exact(D, s.H, s.lambda, s.q, w->truth, w->solve);
    gka_solve(&A, &system, &solver, s.q, w->x, &ending, &watch, w->solve);
    understand(&s, (int)m, w->path, ending.step, w->truth, &j->run[m]);
}

/* Steps that bring every solver to the floor of this precision. */
static int steps_of(const gka_policy *policy) {
    const int p = policy->operand.p;
    return p > 11 || p < 5 ? STEPS : STEPS / 3;
}

/* rms of the last quarter of the steps; the last where the run ended by itself. */
static double floor_of(const gka_trace_point *points, int count, int steps, bool of_x) {
    const int from = count > steps ? count - count / 4 : count - 1;
    double sum = 0;
    for (int i = from; i < count; i++)
        sum += square(of_x ? points[i].quality.error : points[i].quality.residual);
    return sqrt(sum / (count - from));
}

/* How many more steps than in binary64 until the residual is first below level. */
static double delay_of(const gka_trace_point *points, int count, const exact_run *run,
                       double level) {
    int late = 0, early = 0;
    while (late < count && !(points[late].quality.residual <= level))
        late++;
    while (early <= run->steps && !(sqrt(run->rr[early] / run->qq) <= level))
        early++;
    return late < count && early <= run->steps ? late - early : NAN;
}

static void one_method(const equation *s, const gka_policy *policy, int m, const exact_run *run,
                       memory *w, outcome *out) {
    gka_arith A;
    gka_arith_start(&A, policy, (uint64_t)m);
    const int steps = steps_of(policy);
    const gka_solver solver = lab_solver(solvers[m], steps);
    const gka_system system = {.n = 1, .D = D, .H = s->H, .lambda = &s->lambda, .f = &s->f};
    gka_trace trace = {.D = D,
                       .H = s->H,
                       .lambda = s->lambda,
                       .f = s->f,
                       .q = s->q,
                       .exact = w->truth,
                       .points = w->points,
                       .capacity = STEPS + 1};
    const gka_observer observer = {gka_trace_observe, &trace};
    gka_solve(&A, &system, &solver, s->q, w->x, NULL, &observer, w->solve);
    out->floor = out->floor_x = out->delay = NAN;
    if (trace.count > 0) { /* Cholesky at a bad pivot: nothing was seen */
        out->floor = floor_of(w->points, trace.count, steps, false);
        out->floor_x = floor_of(w->points, trace.count, steps, true);
        if (m != CHOLESKY)
            out->delay = delay_of(w->points, trace.count, run, 3 * out->floor);
    }
    out->predicted = predict(run, m, policy);
}

/* One arithmetic, all solvers. H, q, lambda and f are rounded first: every solver works on the
 * numbers it sees, and is judged by them. */
static void one_config(void *context, int64_t i, int worker) {
    job *const j = context;
    memory *const w = (memory *)(void *)(j->work + (size_t)worker * j->bytes);
    gka_policy policy = j->list[i].policy, nearest;
    policy.seed = j->seed;
    nearest = policy;
    nearest.rounding = GKA_NEAREST_EVEN;
    gka_arith A;
    gka_arith_start(&A, &nearest, 0);
    gka_arith_operand(&A, D * D, j->H, w->Hs);
    gka_arith_store(&A, D, j->q, w->qs);
    const double f = lab_norm(D * D, w->Hs);
    const equation s = {.H = w->Hs,
                        .q = w->qs,
                        .f = gka_arith_scalar(&A, f),
                        .lambda = gka_arith_scalar(&A, ratio * f)};
    double smallest, largest;
    gka_extreme_eigenvalues(D, s.H, &smallest, &largest, w->eigen);
    lab_exact(D, s.H, s.lambda, s.q, w->truth, w->solve);
    for (int m = 0; m < METHODS; m++) {
        outcome *const out = &j->results[i * METHODS + m];
        out->kappa = (largest + s.lambda) / (smallest + s.lambda);
        one_method(&s, &policy, m, &j->run[m], w, out);
    }
}

static const char *order_name(gka_order order) {
    return order == GKA_PAIRWISE ? "pairwise" : "sequential";
}

/* The tables that the list fills, for one kind of keys. */
static gka_status one_seed(lab *l, const config *list, int configs, gka_keys keys, uint64_t seed,
                           gka_error *error) {
    const gka_generator spec = lab_paper_data(keys, 1, 2 * D, D, GKA_F32, seed);
    gka_problem p = {0};
    job j = {.list = list, .seed = seed};
    j.bytes = (sizeof(memory) + workspace() + 63) / 64 * 64;
    j.H = gka_alloc(D * D, sizeof *j.H);
    j.results = gka_alloc((size_t)configs * METHODS, sizeof *j.results);
    j.work = gka_alloc((size_t)gka_threads(), j.bytes);
    gka_status status = j.H == NULL || j.results == NULL || j.work == NULL
                            ? gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory")
                            : lab_generate(&spec, &p, error);
    bool computed = false;
    for (int table = list[0].table; status == GKA_OK && table <= list[configs - 1].table; table++) {
        if (!lab_unit(l, table, "%s-%llu", gka_keys_name(keys), (unsigned long long)seed))
            continue;
        if (!computed) {
            double k[D];
            lab_normalised_state(&p, 0, p.T, k, j.H);
            gka_problem_q(&p, 0, p.T - 1, 0, j.q);
            gka_parallel(METHODS, exact_one, &j);
            gka_parallel(configs, one_config, &j);
            computed = true;
        }
        for (int i = 0; i < configs; i++)
            for (int m = 0; m < METHODS && list[i].table == table; m++) {
                const config *const c = &list[i];
                const outcome *const o = &j.results[i * METHODS + m];
                lab_row(l, "%s,%s,%s,%s,%d,%d,%s,%s,%llu,%.4g,%.4g,%.4g,%.4g,%.4g,%.4g,%g",
                        gka_keys_name(keys), solvers[m], places[c->where],
                        c->name[0] != '\0' ? c->name : "-", c->policy.operand.p,
                        c->policy.accumulator.p, gka_rounding_name(c->policy.rounding),
                        order_name(c->policy.order), (unsigned long long)seed, o->kappa, o->floor,
                        o->predicted, o->floor / o->predicted, fabs(log2(o->floor / o->predicted)),
                        o->floor_x, o->delay);
            }
        status = lab_unit_end(l, error);
    }
    gka_problem_free(&p);
    gka_free(j.H);
    gka_free(j.results);
    gka_free(j.work);
    return status;
}

/* ---- the condition on u ------------------------------------------------------------------------
 */

/* States that few bits hold, so that rounding d is all that p bits do; ||H||_F is written to *f. */
typedef enum state { RANK_ONE, CLUSTERS, DIAGONAL, STATES } state;
static const char *const states[] = {"rank one", "two clusters", "diagonal"};
static const double condition_ratios[] = {.02, .001, 5e-5};

static double parity(int bits) {
    return __builtin_popcount((unsigned)bits) % 2 ? -1 : 1;
}

static void make_state(state kind, double *H, double *f) {
    for (int i = 0; i < D; i++)
        for (int j = 0; j < D; j++) {
            double *const h = &H[i * D + j];
            *h = parity((i ^ j) & 21) / D; /* k k^T, |k| = 1 */
            if (kind == CLUSTERS)          /* and seven more, orthogonal: weights 1 and 1/2 */
                for (int m = 1; m < 8; m++)
                    *h += parity((i ^ j) & (21 ^ 8 * m)) / D / (m % 2 ? 1 : 2);
            if (kind == DIAGONAL)
                *h = i == j ? ldexp(1, -i / 4) : 0;
        }
    *f = lab_norm(D * D, H);
}

/* What the two-term form's residual is after so many steps that exactly it would be 1e-9. */
static double end_of(state kind, double a, int p) {
    static double H[D * D], q[D], x[D]; /* one thread */
    const gka_format format = format_of(p);
    const gka_policy policy = policy_of(OPERANDS, &format, GKA_NEAREST_EVEN);
    const int steps = (int)(log(2e9) / acosh(1 + 2 * a));
    const gka_solver solver = lab_solver("chebyshev2", steps);
    double f;
    make_state(kind, H, &f);
    f *= 1 + 0x1p-22; /* as fp32 will hold it, not below */
    const double lambda = a * f;
    for (int i = 0; i < D; i++)
        q[i] = 1 + i % 7 / 8.;
    const gka_system system = {.n = 1, .D = D, .H = H, .lambda = &lambda, .f = &f};
    void *const room = gka_alloc(1, gka_solve_workspace(&solver, 1, D));
    if (room == NULL)
        return NAN;
    gka_arith A;
    gka_arith_start(&A, &policy, 0);
    gka_solve(&A, &system, &solver, q, x, NULL, NULL, room);
    gka_free(room);
    return gka_measure(D, H, lambda, f, q, x, NULL).residual;
}

static gka_status condition(lab *l, gka_error *error) {
    static const int bits[] = {3, 4, 5, 6, 8, 11, 13, 16};
    if (!lab_unit(l, CONDITION, "two-term"))
        return GKA_OK;
    for (state kind = RANK_ONE; kind < STATES; kind++)
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 8; j++) {
                const double a = condition_ratios[i], u = ldexp(1, -bits[j]),
                             gap = 1 - exp(-acosh(1 + 2 * a)), most = gap * gap / 2;
                lab_row(l, "%s,%g,%d,%.4g,%.4g,%s,%.4g", states[kind], a, bits[j], u, most,
                        u < most ? "within" : "beyond", end_of(kind, a, bits[j]));
            }
    return lab_unit_end(l, error);
}

static gka_status run(lab *l, gka_error *error) {
    static const gka_keys off_home[] = {GKA_KEYS_MEAN, GKA_KEYS_IID, GKA_KEYS_ALIGNED,
                                        GKA_KEYS_REPEAT};
    config *const list = gka_alloc(CONFIGS, sizeof *list);
    if (list == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
    const int configs = make_configs(l, list);
    const int64_t seeds = lab_many(l, 2, 5, 40), others = lab_many(l, 1, 2, 10);
    const int kinds = l->size == LAB_CLAIM ? 1 : 4;
    gka_status status =
        configs <= CONFIGS ? GKA_OK : gka_fail(error, GKA_INTERNAL, "CONFIGS is %d", configs);
    l->units_total = (double)(3 * seeds + kinds * others + 1);
    for (int64_t s = 0; status == GKA_OK && s < seeds; s++)
        status = one_seed(l, list, configs, GKA_KEYS_POWERLAW, l->seed + (uint64_t)s, error);
    const int few = make_spectra(list);
    for (int kind = 0; kind < kinds; kind++)
        for (int64_t s = 0; status == GKA_OK && s < others; s++)
            status = one_seed(l, list, few, off_home[kind], l->seed + (uint64_t)s, error);
    gka_free(list);
    return status == GKA_OK ? condition(l, error) : status;
}

/* ---- verdicts ------------------------------------------------------------------------------ */

static lab_stats floors(lab *l, const char *column, int method, place where, int p) {
    return lab_stats_of(l, FLOORS, column, "solver=%s,where=%s,format=-,p=%d", solvers[method],
                        places[where], p);
}
static lab_stats modes(lab *l, const char *column, int method, place where, const char *mode) {
    return lab_stats_of(l, MODES, column, "solver=%s,where=%s,mode=%s", solvers[method],
                        places[where], mode);
}

/* Of many cases: smallest and largest single run, smallest and largest median over seeds. */
typedef struct spread {
    double min, max, least_median, most_median;
    int64_t runs;
} spread;
static const spread nothing = {.min = INFINITY, .least_median = INFINITY};

static void widen(spread *all, lab_stats one) {
    all->min = fmin(all->min, one.min);
    all->max = one.nonfinite > 0 ? INFINITY : fmax(all->max, one.max);
    all->least_median = fmin(all->least_median, one.median);
    all->most_median = fmax(all->most_median, one.median);
    all->runs += one.count;
}

/* The prediction for other keys: measured over predicted, 8 bits, six solvers, three places. */
static lab_stats ratio_of(lab *l, gka_keys keys, const char *mode) {
    lab_stats all = {.min = INFINITY};
    for (int m = 0; m < CHOLESKY; m++) {
        const lab_stats s = lab_stats_of(l, SPECTRA, "ratio", "keys=%s,solver=%s,p=8,mode=%s",
                                         gka_keys_name(keys), solvers[m], mode);
        all.min = fmin(all.min, s.min);
        all.max = s.nonfinite > 0 ? INFINITY : fmax(all.max, s.max);
        all.count += s.count;
    }
    all.median =
        lab_stats_of(l, SPECTRA, "ratio", "keys=%s,p=8,mode=%s", gka_keys_name(keys), mode).median;
    return all;
}

static void judge_off_home(lab *l) {
    const lab_stats mean = ratio_of(l, GKA_KEYS_MEAN, "nearest"),
                    iid = ratio_of(l, GKA_KEYS_IID, "nearest"),
                    aligned = ratio_of(l, GKA_KEYS_ALIGNED, "nearest"),
                    repeat = ratio_of(l, GKA_KEYS_REPEAT, "nearest"),
                    loose = ratio_of(l, GKA_KEYS_ALIGNED, "stochastic"),
                    same = ratio_of(l, GKA_KEYS_REPEAT, "stochastic");
    const bool all = l->size != LAB_CLAIM;
    char more[400] = "the other three are not computed at this size";
    if (all)
        (void)snprintf(
            more, sizeof more,
            "random %.2f [%.2f .. %.2f], along coordinates %.2f [%.2f .. %.2f], one key "
            "%.2f [%.2f .. %.2f]; with stochastic rounding, along coordinates %.2f [%.2f .. "
            "%.2f], one key %.2f [%.2f .. %.2f]. Single runs far off are of solvers whose x "
            "stands still, so that its errors repeat",
            iid.median, iid.min, iid.max, aligned.median, aligned.min, aligned.max, repeat.median,
            repeat.min, repeat.max, loose.median, loose.min, loose.max, same.median, same.min,
            same.max);
    lab_claim(
        l,
        "The same prediction holds off home ground: random keys, keys with a common direction, "
        "eigenvectors along coordinates, one key repeated",
        LAB_QUALIFIED,
        mean.median > 1 / 4. && mean.median < 4 && mean.max < 8 &&
            (!all ||
             (iid.median > 1 / 4. && iid.median < 4 && iid.max < 8 && aligned.median > 1 / 4. &&
              aligned.median < 4 && repeat.median > 1 / 4. && repeat.median < 4 &&
              loose.min > 1 / 8. && loose.max < 4 && same.min > 1 / 8. && same.max < 4)),
        "measured over predicted in 8 bits, median [least .. largest]: common direction %.2f "
        "[%.2f .. %.2f], %s",
        mean.median, mean.min, mean.max, more);
}

static void judge_condition(lab *l) {
    const lab_stats within = lab_stats_of(l, CONDITION, "residual", "side=within"),
                    three = lab_stats_of(l, CONDITION, "residual", "state=rank one,a=5e-05,p=3"),
                    four = lab_stats_of(l, CONDITION, "residual", "state=rank one,a=5e-05,p=4"),
                    few = lab_stats_of(l, CONDITION, "residual", "a=0.02,p=4");
    lab_claim(
        l,
        "Rounding d is free if u < (1 - exp(-theta))^2/2, nearly 2 a, whatever the state "
        "(THEORY 3); beyond it may not converge",
        LAB_REPRODUCED,
        within.nonfinite == 0 && within.max < 1e-2 && (three.nonfinite > 0 || three.max > 1),
        "two-term form, operands of p bits, the rest fp32, three states, a = .02, .001, 5e-5: "
        "largest residual at the end %.2g where the condition holds (%lld runs); at a = .02 four "
        "bits do not meet it and still end at %.2g or below; with one key and a = 5e-5 three bits "
        "end at %.2g, four at %.2g",
        within.max, (long long)within.count, few.max,
        three.nonfinite > 0 ? (double)INFINITY : three.max,
        four.nonfinite > 0 ? (double)INFINITY : four.max);
}

static void judge_prediction(lab *l, long long seeds) {
    static const int bits[] = {8, 11, 24};
    spread nearest = nothing, stochastic = nothing;
    for (int m = 0; m < CHOLESKY; m++)
        for (place where = OPERANDS; where <= EVERYWHERE; where++) {
            for (int i = 0; i < 3; i++)
                widen(&nearest, floors(l, "ratio", m, where, bits[i]));
            widen(&stochastic, modes(l, "ratio", m, where, "stochastic"));
        }
    double low = INFINITY, high = 0; /* the middle one of all solvers and places, by precision */
    for (int i = 0; i < 3; i++) {
        const double middle = lab_stats_of(l, FLOORS, "ratio", "format=-,p=%d", bits[i]).median;
        low = fmin(low, middle);
        high = fmax(high, middle);
    }
    lab_claim(
        l,
        "The floor of every iteration can be predicted: noise gain where the residual is "
        "recomputed, residual gap where it is carried",
        LAB_REPRODUCED,
        low > 1 / 1.6 && high < 1.6 && nearest.least_median > .2 && nearest.most_median < 5 &&
            nearest.min > .125 && nearest.max < 8,
        "measured over predicted, six solvers, p = 8, 11, 24 in three places, nearest: median "
        "of all at one p %.2f .. %.2f, of one solver in one place over %lld seeds %.2f .. "
        "%.2f, single runs %.2f .. %.2f (%lld runs)",
        low, high, seeds, nearest.least_median, nearest.most_median, nearest.min, nearest.max,
        (long long)nearest.runs);
    const lab_stats off = lab_stats_of(l, MODES, "off", "mode=nearest"),
                    off_stochastic = lab_stats_of(l, MODES, "off", "mode=stochastic");
    judge_off_home(l);
    judge_condition(l);
    lab_claim(
        l,
        "With stochastic rounding, whose errors are independent as the prediction supposes, "
        "it is nearer",
        LAB_REPRODUCED, off_stochastic.mean < .9 * off.mean && off_stochastic.max < 4,
        "measured and predicted differ, bf16, by a factor of typically (2 to the mean |log2|) "
        "%.2f, to nearest %.2f; medians of measured over predicted over %lld seeds %.2f .. "
        "%.2f, single runs %.2f .. %.2f (%lld runs)",
        exp2(off_stochastic.mean), exp2(off.mean), seeds, stochastic.least_median,
        stochastic.most_median, stochastic.min, stochastic.max, (long long)stochastic.runs);
}

/* What is rounded: operands, or everything that is kept. */
static void judge_places(lab *l, long long seeds) {
    const lab_stats two4 = floors(l, "floor", TWO_TERM, OPERANDS, 4),
                    two24 = floors(l, "floor", TWO_TERM, OPERANDS, 24),
                    con4 = floors(l, "floor", CONSISTENT, OPERANDS, 4),
                    three4 = floors(l, "floor", THREE_TERM, OPERANDS, 4),
                    cg4 = floors(l, "floor", CG, OPERANDS, 4);
    lab_claim(
        l,
        "Rounding the operand of a product costs nothing at the floor if the same rounded vector "
        "enters x: even 4 bits",
        LAB_REPRODUCED,
        two4.max < 30 * two24.max && con4.max < 30 * two24.max && three4.min > 1e3 * two4.max,
        "products with 4-bit operands (the precision of E4M3), the rest fp32: residual of two-term "
        "Chebyshev %.2g .. %.2g, consistent CG %.2g .. %.2g "
        "(in fp32: %.2g .. %.2g); three-term %.2g .. %.2g, plain CG %.2g .. %.2g (%lld seeds)",
        two4.min, two4.max, con4.min, con4.max, two24.min, two24.max, three4.min, three4.max,
        cg4.min, cg4.max, seeds);

    const lab_stats two8 = floors(l, "floor", TWO_TERM, MEMORY, 8),
                    three8 = floors(l, "floor", THREE_TERM, MEMORY, 8),
                    cg8 = floors(l, "floor", CG, MEMORY, 8),
                    cholesky8 = floors(l, "floor", CHOLESKY, MEMORY, 8);
    lab_claim(l, "The two-term form is the better one in low precision", LAB_QUALIFIED,
              three8.median < two8.median && three8.median < cg8.median,
              "only while x and r are kept in fp32. With all vectors in 8 bits (sums in fp32) the "
              "order turns round: residual three-term %.2g [%.2g .. %.2g], CG %.2g [%.2g .. %.2g], "
              "two-term %.2g [%.2g .. %.2g], Cholesky %.2g [%.2g .. %.2g] (%lld seeds): what x "
              "loses in a short format a carried residual never sees",
              three8.median, three8.min, three8.max, cg8.median, cg8.min, cg8.max, two8.median,
              two8.min, two8.max, cholesky8.median, cholesky8.min, cholesky8.max, seeds);
}

/* How it is rounded, and how long the sums are. */
static void judge_modes(lab *l, long long seeds) {
    double best = 0, least = INFINITY, drift = 0, kept = 0;
    for (int m = 0; m < CHOLESKY; m++) {
        const double gained = modes(l, "floor", m, MEMORY, "nearest").median /
                              modes(l, "floor", m, MEMORY, "stochastic").median;
        best = fmax(best, gained);
        least = fmin(least, gained);
    }
    drift = modes(l, "floor", TWO_TERM, MEMORY, "up").median;
    kept = modes(l, "floor", THREE_TERM, MEMORY, "up").median;
    lab_claim(
        l, "Stochastic rounding lowers the floor", LAB_QUALIFIED, best > 1.5 && least < 1,
        "all vectors in bf16, median floor to nearest over stochastic: %.2g .. %.2g, by solver. It "
        "helps gradient descent and Nesterov and not the rest. Rounding up drifts where the "
        "residual is carried (two-term %.2g) and not where it is recomputed (three-term %.2g)",
        least, best, drift, kept);

    const lab_stats short_sums = lab_stats_of(l, ACCUMULATORS, "floor",
                                              "solver=chebyshev,order=sequential,acc=8"),
                    medium = lab_stats_of(l, ACCUMULATORS, "floor",
                                          "solver=chebyshev,order=sequential,acc=16"),
                    wide = lab_stats_of(l, ACCUMULATORS, "floor",
                                        "solver=chebyshev,order=sequential,acc=24");
    lab_claim(l, "A few bits more in the accumulator than in the operands suffice", LAB_REPRODUCED,
              medium.median < 1.5 * wide.median && short_sums.median > 2 * wide.median,
              "bf16 vectors, D = 64, three-term: floor %.2g with sums in 8 bits, %.2g in 16, %.2g "
              "in 24 (medians over %lld seeds)",
              short_sums.median, medium.median, wide.median, seeds);

    const lab_stats late = floors(l, "delay", CONSISTENT, OPERANDS, 4),
                    late8 = floors(l, "delay", CONSISTENT, OPERANDS, 8),
                    two_late = floors(l, "delay", TWO_TERM, OPERANDS, 4),
                    two_late8 = floors(l, "delay", TWO_TERM, OPERANDS, 8),
                    three_late = floors(l, "delay", THREE_TERM, OPERANDS, 4);
    lab_claim(
        l, "A solver that reaches a low floor with short operands pays in steps", LAB_QUALIFIED,
        late.median > 10 && two_late.median > 10 && two_late8.median < 5 && three_late.median < 5,
        "at 4 bits it does: steps more than binary64 needs to come within 3 of the floor, "
        "consistent CG %g .. %g, two-term Chebyshev %g .. %g, where three-term, which stays "
        "at its high floor, needs %g .. %g more; at 8 bits CG pays %g .. %g steps, two-term "
        "%g .. %g (%lld seeds)",
        late.min, late.max, two_late.min, two_late.max, three_late.min, three_late.max, late8.min,
        late8.max, two_late8.min, two_late8.max, seeds);
}

static gka_status judge(lab *l, gka_error *error) {
    (void)error;
    const long long seeds = floors(l, "floor", CG, OPERANDS, 8).count;
    judge_prediction(l, seeds);
    judge_places(l, seeds);
    judge_modes(l, seeds);
    return GKA_OK;
}

#define HEADING                                                                                    \
    "keys,solver,where,format,p,acc,mode,order,seed,kappa,floor,predicted,ratio,off,floor_x,delay"

int main(int argc, char **argv) {
    static const lab_experiment experiment = {
        .name = "05_precision",
        .question =
            "How accurate can each solver become in p bits, and can that be said beforehand?",
        .tables = {{"floors.csv", HEADING},
                   {"modes.csv", HEADING},
                   {"accumulators.csv", HEADING},
                   {"spectra.csv", HEADING},
                   {"condition.csv", "state,a,p,u,most,side,residual"}},
        .run = run,
        .judge = judge,
        .refuses = LAB_NO_GATE,
        .file = LAB_FILE_IS_KEYS};
    return lab_main(argc, argv, &experiment);
}
