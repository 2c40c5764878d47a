/* main.c - the residual of every iteration, solver by solver and format by format: which is lowest
 * after ten iterations, and which at the end?
 *
 * The paper's solver data (Fig. 1a and 8): keys and queries N(0,1), then normalised; no gate;
 * H_t = sum k k^T divided by its Frobenius norm; lambda on the diagonal. Nothing says in which
 * format; here everything is kept and computed in one format, and once with bf16 operands alone.
 *
 *   worst   largest ||q - (H + lambda I) x|| / ||q|| over tokens and sequences, exact H, binary64
 *   late    the same over tokens t >= 64
 *   least   the smallest of the sequences' own largest residuals (over all tokens)
 *   own     as worst, of the system that the solver was given: H and lambda rounded to the format
 *   bound   largest |residual polynomial| on [lambda, 1 + lambda]; CG: the bound by Chebyshev's
 *
 * Keys and queries are bf16 numbers, so no format begins by rounding its right-hand side.
 */
#include "lab/dense.h"
#include "lab/lab.h"
#include "lab/workers.h"

#include "gka/problem.h"
#include "gka/solve.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { RESIDUALS, FLOORS, THEORY };
enum { R = 60 }; /* iterations */

static const char *const formats[] = {"fp64", "fp32", "tf32", "fp16", "bf16", "bf16-mixed"};
enum { FP64, FP32, TF32, FP16, BF16, MIXED, FORMATS };
static const char *const solvers[] = {"gradient",   "nesterov",  "cg",
                                      "cg-guarded", "chebyshev", "chebyshev2"};
enum { GRADIENT, NESTEROV, CG, GUARDED, CHEBYSHEV, TWO_TERM, SOLVERS };
static const char *const ridges[] = {"0.01", "0.02", "0.05", "0.1"};
static const double lambdas[] = {.01, .02, .05, .1};
enum { RIDGES = 4 };

/* ---- one sequence -------------------------------------------------------------------------- */

typedef struct curve {
    double worst[R + 1], late[R + 1], own;
    int64_t token[R + 1]; /* where worst is attained */
} curve;

typedef struct worker {
    double *H, *normed, *stored; /* [D,D] */
    double *k, *q, *x;           /* [D] */
    void *workspace;
} worker;

typedef struct bench {
    lab *l;
    gka_problem problem;
    int64_t D, T;
    const char *format;
    double lambda;
    worker *workers;
    curve *curves; /* [sequences, SOLVERS] */
} bench;

static int64_t sequences_of(const lab *l) {
    return lab_pick(l, 2, 8, 64);
}

/* Tokens looked at: powers of two; at full size all to 32, every fourth to 256, every 32nd to the
 * end. */
static bool sampled(const bench *b, int64_t t) {
    if (b->l->size == LAB_FULL)
        return t <= 32 || (t <= 256 && t % 4 == 0) || t % 32 == 0;
    return (t & (t - 1)) == 0;
}

static double size_of(double residual) {
    return isnan(residual) ? (double)INFINITY : residual;
}

/* One solve of (H + lambda I) x = q, its residuals added to the curve. */
static void solve(const bench *b, const worker *w, gka_arith *A, const char *name, int64_t t,
                  curve *c) {
    const gka_solver solver = lab_solver(name, R);
    gka_trace_point points[R + 1];
    const double f = 1;
    gka_trace trace = {.D = b->D,
                       .H = w->normed,
                       .lambda = b->lambda,
                       .f = f,
                       .q = w->q,
                       .points = points,
                       .capacity = R + 1};
    const gka_observer observer = {gka_trace_observe, &trace};
    const gka_system system = {.n = 1, .D = b->D, .H = w->stored, .lambda = &b->lambda, .f = &f};
    gka_solve(A, &system, &solver, w->q, w->x, NULL, &observer, w->workspace);
    for (int i = 0; i <= R; i++) { /* a solver that stops keeps its x */
        const double residual =
            size_of(points[i < trace.count ? i : trace.count - 1].quality.residual);
        if (residual > c->worst[i]) {
            c->worst[i] = residual;
            c->token[i] = t;
        }
        if (t >= 64)
            c->late[i] = fmax(c->late[i], residual);
    }
    const double given = gka_arith_scalar(A, b->lambda);
    c->own =
        fmax(c->own, size_of(gka_measure(b->D, w->stored, given, f, w->q, w->x, NULL).residual));
}

static void sequence(void *context, int64_t n, int number) {
    const bench *const b = context;
    const worker *const w = &b->workers[number];
    const int64_t D = b->D;
    gka_arith A = lab_arith(b->format, 0);
    curve *const curves = b->curves + n * SOLVERS;
    memset(curves, 0, SOLVERS * sizeof *curves);
    memset(w->H, 0, (size_t)(D * D) * sizeof *w->H);
    for (int64_t t = 1; t <= b->T; t++) {
        gka_problem_k(&b->problem, n, t - 1, 0, w->k);
        const double f = lab_accumulate(D, 1, w->k, w->H);
        if (!sampled(b, t))
            continue;
        for (int64_t i = 0; i < D * D; i++)
            w->normed[i] = w->H[i] / f;
        gka_arith_store(&A, D * D, w->normed, w->stored);
        gka_problem_q(&b->problem, n, t - 1, 0, w->q);
        for (int s = 0; s < SOLVERS; s++)
            solve(b, w, &A, solvers[s], t, &curves[s]);
    }
}

/* ---- tables -------------------------------------------------------------------------------- */

static void rows(const bench *b, int table, const char *ridge) {
    const int64_t count = sequences_of(b->l);
    for (int s = 0; s < SOLVERS; s++)
        for (int i = table == FLOORS ? R : 0; i <= R; i++) {
            double worst = 0, late = 0, least = INFINITY, own = 0;
            int64_t token = 0;
            for (int64_t n = 0; n < count; n++) {
                const curve *const c = &b->curves[n * SOLVERS + s];
                if (c->worst[i] > worst)
                    token = c->token[i];
                worst = fmax(worst, c->worst[i]);
                least = fmin(least, c->worst[i]);
                late = fmax(late, c->late[i]);
                own = fmax(own, c->own);
            }
            if (table == FLOORS)
                lab_row(b->l, "%s,%s,%s,%lld,%.4g,%.4g,%.4g,%.4g", ridge, b->format, solvers[s],
                        (long long)count, worst, least, late, own);
            else
                lab_row(b->l, "%s,%s,%s,%d,%.7g,%lld,%.4g,%.4g", ridge, b->format, solvers[s], i,
                        worst, (long long)token, least, late);
        }
}

/* The residual polynomial of solver s after i products at z, lambda <= z <= L = 1 + lambda. */
static double polynomial(int s, int i, double lambda, double z) {
    const double L = 1 + lambda;
    if (s == GRADIENT)
        return pow(1 - 2 * z / (L + lambda), i + 1);
    if (s == NESTEROV) { /* x and y of descent.c, for q = 1 */
        const double root = sqrt((3 * L + lambda) / lambda), alpha = 4 / (3 * L + lambda),
                     beta = (root - 2) / (root + 2);
        double x = alpha, y = (1 + beta) * alpha;
        for (int j = 0; j < i; j++) {
            const double next = y - alpha * (z * y - 1);
            y = next + beta * (next - x);
            x = next;
        }
        return 1 - z * x;
    }
    return lab_chebyshev_bound(lambda, i); /* at both ends of the interval, f = 1 */
}

/* ||r|| <= sqrt(kappa) ||e||_A .. : after i products at most 2 sqrt(kappa) c^i times the first */
static double bound(int s, int i, double lambda) {
    if (s == CG || s == GUARDED) {
        const double root = sqrt((1 + lambda) / lambda), c = (root - 1) / (root + 1);
        return fmin(1, 2 * root * pow(c, i));
    }
    double most = 0;
    for (int j = 0; j <= 1000; j++)
        most = fmax(most, fabs(polynomial(s, i, lambda, lambda + j / 1000.0)));
    return most;
}

static gka_status case_of(bench *b, int ridge, int format, gka_error *error) {
    gka_status status = GKA_OK;
    bool computed = false;
    b->format = formats[format];
    b->lambda = lambdas[ridge];
    for (int table = RESIDUALS; status == GKA_OK && table <= FLOORS; table++) {
        if (!lab_unit(b->l, table, "%s-%s", ridges[ridge], formats[format]))
            continue;
        if (!computed)
            gka_parallel(sequences_of(b->l), sequence, b);
        computed = true;
        rows(b, table, ridges[ridge]);
        status = lab_unit_end(b->l, error);
    }
    return status;
}

static gka_status run(lab *l, gka_error *error) {
    const int64_t D = lab_pick(l, 32, 128, 128), T = lab_pick(l, 128, 2048, 2048);
    const gka_generator spec =
        lab_paper_data(GKA_KEYS_IID, sequences_of(l), T, D, GKA_BF16, l->seed);
    bench b = {.l = l, .D = D, .T = T};
    const gka_solver any = lab_solver("cg", R);
    const lab_array arrays[] = {LAB_NUMBERS(worker, H, D * D),
                                LAB_NUMBERS(worker, normed, D * D),
                                LAB_NUMBERS(worker, stored, D * D),
                                LAB_NUMBERS(worker, k, D),
                                LAB_NUMBERS(worker, q, D),
                                LAB_NUMBERS(worker, x, D),
                                {offsetof(worker, workspace), gka_solve_workspace(&any, 1, D)}};
    l->units_total = 2.0 * RIDGES * FORMATS + 1;
    gka_status status = gka_problem_generate(&spec, &b.problem, error);
    if (status != GKA_OK)
        return status;
    b.workers = lab_workers(sizeof *b.workers, arrays, sizeof arrays / sizeof arrays[0], error);
    b.curves = gka_alloc((size_t)sequences_of(l) * SOLVERS, sizeof *b.curves);
    if (b.workers == NULL || b.curves == NULL)
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
    for (int ridge = 0; ridge < RIDGES; ridge++)
        for (int format = 0; status == GKA_OK && format < FORMATS; format++)
            status = case_of(&b, ridge, format, error);
    if (status == GKA_OK && lab_unit(l, THEORY, "theory")) {
        for (int ridge = 0; ridge < RIDGES; ridge++)
            for (int s = 0; s < SOLVERS; s++)
                for (int i = 0; i <= R; i++)
                    lab_row(l, "%s,%s,%d,%.6g", ridges[ridge], solvers[s], i,
                            bound(s, i, lambdas[ridge]));
        status = lab_unit_end(l, error);
    }
    gka_free(b.curves);
    gka_free(b.workers);
    gka_problem_free(&b.problem);
    return status;
}

/* ---- verdicts ------------------------------------------------------------------------------ */

/* The largest residual over sequences and tokens after i iterations. */
static double worst(lab *l, int ridge, int format, int solver, int i) {
    return lab_stats_of(l, RESIDUALS, "worst", "lambda=%s,format=%s,solver=%s,iteration=%d",
                        ridges[ridge], formats[format], solvers[solver], i)
        .max;
}

/* The paper's picture: CG lowest after five, Chebyshev within a factor 3/2 of it after ten and
 * lowest of the paper's four after all. */
static bool picture(lab *l, int ridge, int format, int cg) {
    const int others[] = {GRADIENT, NESTEROV, CHEBYSHEV};
    bool is = true;
    for (int i = 0; i < 3; i++)
        is &= worst(l, ridge, format, cg, 5) < worst(l, ridge, format, others[i], 5);
    const double ratio = worst(l, ridge, format, CHEBYSHEV, 10) / worst(l, ridge, format, cg, 10);
    is &= ratio < 1.5 && ratio > 1 / 1.5;
    const double end = worst(l, ridge, format, CHEBYSHEV, R);
    return is && end < worst(l, ridge, format, cg, R) &&
           end < worst(l, ridge, format, GRADIENT, R) && end < worst(l, ridge, format, NESTEROV, R);
}

static void judge_theory(lab *l) {
    double least = INFINITY, most = 0;
    for (int ridge = 0; ridge < RIDGES; ridge++)
        for (int i = 5; i <= 30; i += 5) {
            const double law =
                lab_stats_of(l, THEORY, "bound", "lambda=%s,solver=chebyshev,iteration=%d",
                             ridges[ridge], i)
                    .max;
            for (int s = CHEBYSHEV; s <= TWO_TERM; s++) {
                const double share = worst(l, ridge, FP64, s, i) / law;
                least = fmin(least, share);
                most = fmax(most, share);
            }
        }
    lab_claim(
        l, "The worst residual of Chebyshev after r products is 1/T_(r+1)(1 + 2 lambda)",
        LAB_REPRODUCED, least > .99 && most < 1.001,
        "fp64, both forms, every lambda, r = 5, 10 .. 30: measured / law %.5f .. %.5f (token 1, "
        "where the spectrum is the two ends of the interval, attains it); %lld sequences",
        least, most, (long long)sequences_of(l));
}

static void judge_first(lab *l) {
    double least = INFINITY;
    for (int ridge = 0; ridge < RIDGES; ridge++)
        for (int format = FP64; format < FORMATS; format++) {
            const int others[] = {GRADIENT, NESTEROV, CHEBYSHEV, TWO_TERM};
            for (int i = 0; i < 4; i++)
                least = fmin(least, worst(l, ridge, format, others[i], 5) /
                                        worst(l, ridge, format, GUARDED, 5));
        }
    lab_claim(l, "CG is the fastest at first (Fig 1a, 8)", LAB_REPRODUCED, least > 1.1,
              "largest residual after 5 iterations, all formats and lambdas: the best other solver "
              "has at least %.2f times that of CG with the guard; %lld sequences",
              least, (long long)sequences_of(l));
}

static void judge_picture(lab *l) {
    char where[512] = "";
    double least = INFINITY, most = 0;
    int precise = 0;
    for (int format = FP64; format < FORMATS; format++)
        for (int ridge = 0; ridge < RIDGES; ridge++)
            for (int cg = CG; cg <= GUARDED; cg++) {
                if (format <= FP32 && cg == CG) {
                    const double ratio =
                        worst(l, ridge, format, CHEBYSHEV, 10) / worst(l, ridge, format, CG, 10);
                    least = fmin(least, ratio);
                    most = fmax(most, ratio);
                }
                if (!picture(l, ridge, format, cg))
                    continue;
                precise += format <= FP32 && (cg == CG || ridge != 3);
                const size_t used = strlen(where);
                (void)snprintf(where + used, sizeof where - used, "%s%s %s lambda %s",
                               used > 0 ? "; " : "", formats[format], solvers[cg], ridges[ridge]);
            }
    lab_claim(
        l, "Chebyshev is equal to CG at iteration 10 and lowest at the end (Fig 1a, 8)",
        LAB_QUALIFIED, precise == 0 && picture(l, 3, FP32, GUARDED) && picture(l, 3, FP64, GUARDED),
        "fp64 and fp32: with plain CG at no lambda (at 10 its residual is %.2g .. %.3g times "
        "smaller "
        "than Chebyshev's); with the absolute guard 1e-5 of FLA's CG at lambda = .1 and no other "
        "(fp32: Chebyshev %.2e, CG %.2e at 10; %.1e, %.1e at 60). All cases with this picture: %s. "
        "%lld sequences",
        least, most, worst(l, 3, FP32, CHEBYSHEV, 10), worst(l, 3, FP32, GUARDED, 10),
        worst(l, 3, FP32, CHEBYSHEV, R), worst(l, 3, FP32, GUARDED, R), where,
        (long long)sequences_of(l));
}

static void judge_guard(lab *l) {
    double apart = 0, least = INFINITY;
    for (int ridge = 0; ridge < RIDGES; ridge++) {
        const double exact = worst(l, ridge, FP64, GUARDED, R),
                     single = worst(l, ridge, FP32, GUARDED, R);
        apart = fmax(apart, fabs(single / exact - 1));
        least = fmin(least, single / worst(l, ridge, FP32, CG, R));
    }
    lab_claim(
        l, "CG stagnates near 1e-3 while Chebyshev goes on falling (Fig 8)", LAB_QUALIFIED,
        apart < .01 && least > 100,
        "the guard stagnates, in any precision: after 60 iterations guarded CG has the same "
        "residual in fp64 and fp32 (within %.1g), at least %.0f times that of plain CG in "
        "fp32. fp32, lambda .02, largest residual at 10 / 20 / 30 / 60: guarded %.1e / %.1e / "
        "%.1e / %.1e, plain %.1e / %.1e / %.1e / %.1e, Chebyshev %.1e / %.1e / %.1e / %.1e; "
        "%lld sequences",
        apart, least, worst(l, 1, FP32, GUARDED, 10), worst(l, 1, FP32, GUARDED, 20),
        worst(l, 1, FP32, GUARDED, 30), worst(l, 1, FP32, GUARDED, 60), worst(l, 1, FP32, CG, 10),
        worst(l, 1, FP32, CG, 20), worst(l, 1, FP32, CG, 30), worst(l, 1, FP32, CG, 60),
        worst(l, 1, FP32, CHEBYSHEV, 10), worst(l, 1, FP32, CHEBYSHEV, 20),
        worst(l, 1, FP32, CHEBYSHEV, 30), worst(l, 1, FP32, CHEBYSHEV, 60),
        (long long)sequences_of(l));
}

static lab_stats floor_of(lab *l, const char *column, int format, int solver) {
    return lab_stats_of(l, FLOORS, column, "lambda=0.02,format=%s,solver=%s", formats[format],
                        solvers[solver]);
}

static void judge_short(lab *l) {
    double three = INFINITY, two = 0;
    for (int ridge = 0; ridge < RIDGES; ridge++) {
        const double cg = worst(l, ridge, MIXED, CG, 30);
        three = fmin(three, worst(l, ridge, MIXED, CHEBYSHEV, 30) / cg);
        two = fmax(two, worst(l, ridge, MIXED, TWO_TERM, 30) / cg);
    }
    lab_claim(l, "In bfloat16 Chebyshev is more accurate than CG", LAB_REFUTED,
              three > 1.5 && two < 1.5,
              "bf16 operands, the rest fp32 (as the kernels), after 30 iterations: the three-term "
              "form has at least %.1f times the largest residual of plain CG at every lambda, the "
              "two-term form at most %.2f times. lambda .02, after 60, largest of all [of the best "
              "sequence]: three-term %.2g [%.2g], CG %.2g [%.2g], two-term %.2g [%.2g]; everything "
              "in bf16: %.2g [%.2g], %.2g [%.2g], %.2g [%.2g]; %lld sequences",
              three, two, floor_of(l, "worst", MIXED, CHEBYSHEV).max,
              floor_of(l, "least", MIXED, CHEBYSHEV).max, floor_of(l, "worst", MIXED, CG).max,
              floor_of(l, "least", MIXED, CG).max, floor_of(l, "worst", MIXED, TWO_TERM).max,
              floor_of(l, "least", MIXED, TWO_TERM).max, floor_of(l, "worst", BF16, CHEBYSHEV).max,
              floor_of(l, "least", BF16, CHEBYSHEV).max, floor_of(l, "worst", BF16, CG).max,
              floor_of(l, "least", BF16, CG).max, floor_of(l, "worst", BF16, TWO_TERM).max,
              floor_of(l, "least", BF16, TWO_TERM).max, (long long)sequences_of(l));
}

static void judge_range(lab *l) {
    double least = INFINITY, guarded = 0;
    for (int ridge = 0; ridge < RIDGES; ridge++) {
        const double end = worst(l, ridge, FP16, CG, R);
        least = fmin(least, isnan(end) ? (double)INFINITY : end);
        guarded = fmax(guarded, worst(l, ridge, FP16, GUARDED, R));
    }
    lab_claim(l, "CG without a guard diverges in fp16, which has more bits than bf16",
              LAB_REPRODUCED, least > 1 && guarded < .1,
              "largest residual after 60 iterations: plain CG at least %.3g at every lambda, with "
              "the guard at most %.2g; its |r|^2 falls below fp16's smallest number, 6e-8; %lld "
              "sequences",
              least, guarded, (long long)sequences_of(l));
}

static gka_status judge(lab *l, gka_error *error) {
    (void)error;
    judge_theory(l);
    judge_first(l);
    judge_picture(l);
    judge_guard(l);
    judge_short(l);
    judge_range(l);
    return GKA_OK;
}

int main(int argc, char **argv) {
    static const lab_experiment experiment = {
        .name = "01_convergence",
        .question = "Which solver is lowest after ten iterations, and which at the end, in which "
                    "format?",
        .tables = {{"residuals.csv", "lambda,format,solver,iteration,worst,token,least,late"},
                   {"floors.csv", "lambda,format,solver,sequences,worst,least,late,own"},
                   {"theory.csv", "lambda,solver,iteration,bound"}},
        .run = run,
        .judge = judge,
        .refuses = LAB_NO_GATE};
    return lab_main(argc, argv, &experiment);
}
