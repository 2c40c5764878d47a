/* main.c - the gradient of one solve and of a stack of layers: implicit or through the iterations,
 * and how small the incoming gradient may be.
 *
 * The paper's Fig. 1b to e: error of the gradient against an exact solve, for CG and Chebyshev, in
 * one layer and in five. What is differentiated there is not said; here it is
 *
 *   one solve   x = (H + lambda I)^-1 q with the paper's solver data (H divided by its Frobenius
 *               norm), lambda constant, cotangent dx of a given size: dq and the symmetric part of
 *               dH, 30 iterations;
 *   a stack     u = h/rms(h); q, k, v = W u, q and k normalised per head; o by the layer (ungated,
 *               lambda = a f); h <- W_o o ("chain") or h + W_o o ("residual"); cotangent of a given
 *               size per token on the last h: the gradient of the first h. All but the layer is
 *               binary64.
 *
 *   implicit    p = (H + lambda I)^-1 dx by the same solver, then the exact formulas (NUMERICS 2)
 *   through     the derivative of the iterations themselves (gka_solve_adjoint)
 */
#include "lab/dense.h"
#include "lab/lab.h"
#include "lab/workers.h"

#include "gka/layer.h"
#include "gka/oracle.h"
#include "gka/problem.h"

#include <math.h>
#include <string.h>

enum { SOLVE, STACK };
enum { R = 30 };

static const char *const solvers[] = {"cg", "cg-guarded", "chebyshev", "chebyshev2"};
enum { CG, GUARDED, CHEBYSHEV, TWO_TERM, SOLVERS };
static const char *const modes[] = {"implicit", "through"};
enum { IMPLICIT, THROUGH, MODES };
static const char *const formats[] = {"fp64", "fp32", "bf16-mixed"};
enum { FP64, FP32, MIXED, FORMATS };
static const char *const ridges[] = {"0.02", "0.05", "0.1"};
static const double lambdas[] = {.02, .05, .1};
enum { RIDGES = 3 };
static const char *const sizes[] = {"1", "1e-1", "1e-2", "1e-3", "1e-4", "1e-5", "1e-6"};
static const double cotangents[] = {1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6};
enum { SIZES = 7 };

/* ---- one solve ----------------------------------------------------------------------------- */

typedef struct errors {
    double dq, dH;
} errors;

typedef struct worker {
    double *H, *stored, *dH;                        /* [D,D] */
    double *k, *q, *x, *p, *dx, *x_exact, *p_exact; /* [D] */
    void *solve, *adjoint, *exact;
} worker;

typedef struct bench {
    lab *l;
    gka_problem problem;
    int64_t D, T, tokens;
    double lambda;
    worker *workers;
    errors *found; /* [systems, FORMATS, SOLVERS, MODES, SIZES] */
} bench;

enum { CASES = FORMATS * SOLVERS * MODES * SIZES };

/* Through the iterations the gradient is linear in dx: a few sizes are enough to see it. */
static bool solve_wanted(int mode, int size) {
    return mode == IMPLICIT || size % 3 == 0;
}

/* Tokens T, T/4, T/16 of every sequence. */
static int64_t token_of(const bench *b, int64_t system) {
    return b->T >> 2 * (system % b->tokens);
}

/* ||sym(dH) - exact|| / ||exact||, exact = -(p x^T + x p^T)/2 */
static double matrix_error(const bench *b, const worker *w) {
    double difference = 0, size = 0;
    for (int64_t i = 0; i < b->D; i++)
        for (int64_t j = 0; j < b->D; j++) {
            const double exact =
                -.5 * (w->p_exact[i] * w->x_exact[j] + w->x_exact[i] * w->p_exact[j]);
            const double e = .5 * (w->dH[i * b->D + j] + w->dH[j * b->D + i]) - exact;
            difference += e * e;
            size += exact * exact;
        }
    return sqrt(difference / size);
}

static errors gradient(const bench *b, const worker *w, const char *format, const char *name,
                       int mode) {
    const int64_t D = b->D;
    const double f = 1;
    const gka_solver solver = lab_solver(name, R);
    const gka_system system = {.n = 1, .D = D, .H = w->stored, .lambda = &b->lambda, .f = &f};
    gka_arith A = lab_arith(format, 0);
    memset(w->dH, 0, (size_t)(D * D) * sizeof *w->dH);
    if (mode == THROUGH) {
        double dlambda, df;
        gka_solve_adjoint(&A, &system, &solver, w->q, w->dx, false, w->p, w->dH, &dlambda, &df,
                          w->adjoint);
    } else {
        gka_solve(&A, &system, &solver, w->q, w->x, NULL, NULL, w->solve);
        gka_solve(&A, &system, &solver, w->dx, w->p, NULL, NULL, w->solve);
        for (int64_t i = 0; i < D; i++)
            for (int64_t j = 0; j < D; j++)
                w->dH[i * D + j] = -w->p[i] * w->x[j];
    }
    return (errors){lab_distance(D, w->p, w->p_exact), matrix_error(b, w)};
}

static void one_system(void *context, int64_t n, int number) {
    const bench *const b = context;
    const worker *const w = &b->workers[number];
    const int64_t D = b->D, last = token_of(b, n), sequence = n / b->tokens;
    lab_normalised_state(&b->problem, sequence, last, w->k, w->H);
    gka_problem_q(&b->problem, sequence, last - 1, 0, w->q);
    lab_exact(D, w->H, b->lambda, w->q, w->x_exact, w->exact);
    errors *at = b->found + n * CASES;
    for (int format = 0; format < FORMATS; format++) {
        gka_arith A = lab_arith(formats[format], 0);
        gka_arith_store(&A, D * D, w->H, w->stored);
        for (int s = 0; s < SOLVERS; s++)
            for (int mode = 0; mode < MODES; mode++)
                for (int size = 0; size < SIZES; size++, at++) {
                    if (!solve_wanted(mode, size))
                        continue;
                    gka_problem_dx(&b->problem, sequence, last - 1, 0, w->dx);
                    const double scale = cotangents[size] / lab_norm(D, w->dx);
                    for (int64_t i = 0; i < D; i++)
                        w->dx[i] *= scale;
                    lab_exact(D, w->H, b->lambda, w->dx, w->p_exact, w->exact);
                    *at = gradient(b, w, formats[format], solvers[s], mode);
                }
    }
}

static void solve_rows(const bench *b, int ridge, int64_t systems) {
    for (int64_t n = 0; n < systems; n++) {
        const errors *at = b->found + n * CASES;
        for (int format = 0; format < FORMATS; format++)
            for (int s = 0; s < SOLVERS; s++)
                for (int mode = 0; mode < MODES; mode++)
                    for (int size = 0; size < SIZES; size++, at++)
                        if (solve_wanted(mode, size))
                            lab_row(b->l, "%s,%s,%s,%s,%s,%lld,%lld,%.5g,%.5g", ridges[ridge],
                                    formats[format], solvers[s], modes[mode], sizes[size],
                                    (long long)(n / b->tokens), (long long)token_of(b, n), at->dq,
                                    at->dH);
    }
}

static gka_status run_solves(lab *l, gka_error *error) {
    const int64_t sequences = lab_many(l, 2, 4, 64);
    bench b = {.l = l,
               .D = lab_D(lab_pick(l, 32, 128, 128)),
               .T = lab_T(lab_pick(l, 64, 512, 2048)),
               .tokens = lab_pick(l, 2, 3, 5)};
    gka_generator spec = lab_paper_data(GKA_KEYS_IID, sequences, b.T, b.D, GKA_F64, l->seed);
    spec.cotangents = true;
    const int64_t systems = sequences * b.tokens;
    const gka_solver any = lab_solver("cg", R);
    const int64_t D = b.D;
    const lab_array arrays[] = {LAB_NUMBERS(worker, H, D * D),
                                LAB_NUMBERS(worker, stored, D * D),
                                LAB_NUMBERS(worker, dH, D * D),
                                LAB_NUMBERS(worker, k, D),
                                LAB_NUMBERS(worker, q, D),
                                LAB_NUMBERS(worker, x, D),
                                LAB_NUMBERS(worker, p, D),
                                LAB_NUMBERS(worker, dx, D),
                                LAB_NUMBERS(worker, x_exact, D),
                                LAB_NUMBERS(worker, p_exact, D),
                                {offsetof(worker, solve), gka_solve_workspace(&any, 1, D)},
                                {offsetof(worker, adjoint), gka_solve_adjoint_workspace(&any, D)},
                                {offsetof(worker, exact), lab_exact_bytes(D)}};
    gka_status status = lab_generate(&spec, &b.problem, error);
    if (status != GKA_OK)
        return status;
    b.workers = lab_workers(sizeof *b.workers, arrays, sizeof arrays / sizeof arrays[0], error);
    b.found = gka_alloc((size_t)systems * CASES, sizeof *b.found);
    if (b.workers == NULL || b.found == NULL)
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
    for (int ridge = 0; status == GKA_OK && ridge < RIDGES; ridge++) {
        if (!lab_unit(l, SOLVE, "%s", ridges[ridge]))
            continue;
        b.lambda = lambdas[ridge];
        gka_parallel(systems, one_system, &b);
        solve_rows(&b, ridge, systems);
        status = lab_unit_end(l, error);
    }
    gka_free(b.found);
    gka_free(b.workers);
    gka_problem_free(&b.problem);
    return status;
}

/* ---- a stack of layers --------------------------------------------------------------------- */

enum { DEEPEST = 5, DEPTHS = 3 };
static const char *const nets[] = {"chain", "residual"};
enum { CHAIN, RESIDUAL, NETS };
static const int stack_ridges[] = {0, 2}; /* a = .02, .1 */
enum { STACK_RIDGES = 2, ITEMS = NETS * STACK_RIDGES * DEPTHS };
static const int stack_sizes[] = {0, 2, 4}; /* 1, 1e-2, 1e-4 */
enum { STACK_SIZES = 3, STACK_CASES = FORMATS * SOLVERS * MODES * STACK_SIZES };

/* Through the iterations in fp32; the two-term form only where it differs; sizes below 1 for CG
 * with the guard, and in fp32 for all. */
static bool stack_wanted(int format, int solver, int mode, int size) {
    if (mode == THROUGH)
        return format == FP32 && size == 0 && solver != TWO_TERM;
    if (solver == TWO_TERM)
        return format == MIXED && size == 0;
    return size == 0 || solver == GUARDED || format == FP32;
}

/* How the layers of a stack are computed. */
typedef struct method {
    const char *solver; /* NULL: exact */
    int mode;
    const char *format;
} method;

typedef struct stack {
    int64_t T, H, D, M; /* M = H D */
    double a;
    bool residual;
    const double *weights;             /* [DEEPEST, 4, M, M]: q, k, v, o; rows of length 1 */
    double *h[DEEPEST + 1];            /* [T,M] */
    double *u[DEEPEST], *rms[DEEPEST]; /* [T,M], [T] */
    double *q[DEEPEST], *k[DEEPEST], *v[DEEPEST]; /* [T,M], q and k normalised */
    double *q_norm[DEEPEST], *k_norm[DEEPEST];    /* [T,H] */
    double *o, *dout, *dq, *dk, *dv, *du, *dh;    /* [T,M] */
    double *packed;                               /* [4,T,M]: q, k, v, dout as tensors */
} stack;

/* y_t = W x_t, or y_t += W^T x_t, for every token. */
static void project(const stack *S, const double *W, const double *x, double *y) {
    const int64_t M = S->M;
    for (int64_t t = 0; t < S->T; t++)
        for (int64_t i = 0; i < M; i++) {
            double s = 0;
            for (int64_t j = 0; j < M; j++)
                s += W[i * M + j] * x[t * M + j];
            y[t * M + i] = s;
        }
}

static void project_back(const stack *S, const double *W, const double *x, double *y) {
    const int64_t M = S->M;
    for (int64_t t = 0; t < S->T; t++)
        for (int64_t i = 0; i < M; i++)
            for (int64_t j = 0; j < M; j++)
                y[t * M + j] += W[i * M + j] * x[t * M + i];
}

/* Each of n vectors of `width` divided by its length (or by its root mean square). */
static void normalise(int64_t n, int64_t width, bool rms, const double *x, double *y,
                      double *norm) {
    for (int64_t i = 0; i < n; i++) {
        norm[i] = lab_norm(width, x + i * width) / (rms ? sqrt((double)width) : 1);
        for (int64_t j = 0; j < width; j++)
            y[i * width + j] = x[i * width + j] / norm[i];
    }
}

/* dx of y = x / norm(x), in place: dx = (dy - y <y, dy>/<y, y>) / norm */
static void normalise_back(int64_t n, int64_t width, const double *y, const double *norm,
                           double *d) {
    for (int64_t i = 0; i < n; i++) {
        double dot = 0, size = 0;
        for (int64_t j = i * width; j < (i + 1) * width; j++) {
            dot += y[j] * d[j];
            size += y[j] * y[j];
        }
        for (int64_t j = i * width; j < (i + 1) * width; j++)
            d[j] = (d[j] - y[j] * (dot / size)) / norm[i];
    }
}

/* x [T,M] as a tensor [1,T,H,D], number i of the four that may be wanted at once. */
static gka_view view_of(const stack *S, int i, const double *x) {
    return gka_view_of_doubles(4, (const int64_t[]){1, S->T, S->H, S->D}, x,
                               S->packed + i * S->T * S->M);
}

/* o of layer i from its q, k, v, or, with `back`, dq, dk, dv from dout. */
static gka_status layer(const stack *S, int i, const method *how, bool back, gka_error *error) {
    const gka_problem problem = {.B = 1,
                                 .T = S->T,
                                 .H = S->H,
                                 .G = S->H,
                                 .D = S->D,
                                 .V = S->D,
                                 .q = view_of(S, 0, S->q[i]),
                                 .k = view_of(S, 1, S->k[i]),
                                 .v = view_of(S, 2, S->v[i]),
                                 .dout = view_of(S, 3, S->dout),
                                 .N = 1,
                                 .ridge_ratio = S->a,
                                 .scale = 1 / sqrt((double)S->D),
                                 .num_iter = R,
                                 .chunk_size = 64};
    if (how->solver == NULL) {
        const gka_oracle_options options = {.oracle = GKA_ORACLE_FP64};
        gka_outputs ahead = {.o = S->o},
                    reverse = {.layer.dq = S->dq, .layer.dk = S->dk, .layer.dv = S->dv};
        return back ? gka_oracle_gradient(&problem, GKA_OF_O, &options, &reverse, NULL, NULL, error)
                    : gka_oracle_forward(&problem, &options, &ahead, NULL, NULL, error);
    }
    gka_layer_options options = {.solver = lab_solver(how->solver, R),
                                 .through = how->mode == THROUGH};
    (void)gka_policy_find(how->format, &options.policy);
    gka_outputs ahead = {.o = S->o},
                reverse = {.layer.dq = S->dq, .layer.dk = S->dk, .layer.dv = S->dv};
    return back ? gka_layer_gradient(&problem, GKA_OF_O, &options, &reverse, NULL, error)
                : gka_layer_forward(&problem, &options, &ahead, NULL, error);
}

static const double *weight(const stack *S, int i, int which) {
    return S->weights + (4 * i + which) * S->M * S->M;
}

/* h[0] to h[layers]. */
static gka_status ahead(const stack *S, int layers, const method *how, gka_error *error) {
    gka_status status = GKA_OK;
    for (int i = 0; status == GKA_OK && i < layers; i++) {
        normalise(S->T, S->M, true, S->h[i], S->u[i], S->rms[i]);
        project(S, weight(S, i, 0), S->u[i], S->q[i]);
        project(S, weight(S, i, 1), S->u[i], S->k[i]);
        project(S, weight(S, i, 2), S->u[i], S->v[i]);
        normalise(S->T * S->H, S->D, false, S->q[i], S->q[i], S->q_norm[i]);
        normalise(S->T * S->H, S->D, false, S->k[i], S->k[i], S->k_norm[i]);
        status = layer(S, i, how, false, error);
        project(S, weight(S, i, 3), S->o, S->h[i + 1]);
        for (int64_t j = 0; S->residual && j < S->T * S->M; j++)
            S->h[i + 1][j] += S->h[i][j];
    }
    return status;
}

/* dh, the cotangent of h[layers], becomes that of h[0]. */
static gka_status reverse(const stack *S, int layers, const method *how, gka_error *error) {
    const size_t bytes = (size_t)(S->T * S->M) * sizeof *S->dh;
    gka_status status = GKA_OK;
    for (int i = layers - 1; status == GKA_OK && i >= 0; i--) {
        memset(S->dout, 0, bytes);
        memset(S->du, 0, bytes);
        project_back(S, weight(S, i, 3), S->dh, S->dout);
        status = layer(S, i, how, true, error);
        normalise_back(S->T * S->H, S->D, S->q[i], S->q_norm[i], S->dq);
        normalise_back(S->T * S->H, S->D, S->k[i], S->k_norm[i], S->dk);
        project_back(S, weight(S, i, 0), S->dq, S->du);
        project_back(S, weight(S, i, 1), S->dk, S->du);
        project_back(S, weight(S, i, 2), S->dv, S->du);
        normalise_back(S->T, S->M, S->u[i], S->rms[i], S->du);
        for (int64_t j = 0; j < S->T * S->M; j++)
            S->dh[j] = S->du[j] + (S->residual ? S->dh[j] : 0);
    }
    return status;
}

/* Runs the stack and leaves h[layers] and dh in place. */
static gka_status stack_run(const stack *S, int layers, const method *how, double size,
                            const double *cotangent, gka_error *error) {
    gka_status status = ahead(S, layers, how, error);
    for (int64_t j = 0; j < S->T * S->M; j++)
        S->dh[j] = size * cotangent[j];
    return status == GKA_OK ? reverse(S, layers, how, error) : status;
}

/* Relative errors of the gradient of the first h and of the last h; root mean square over tokens
 * of |do| at the first layer. */
typedef struct outcome {
    double gradient, forward, incoming;
    double difference; /* of <exact gradient, direction> and a central difference, relative */
} outcome;

typedef struct course {
    /* everything the workers share */
    int64_t T, H, D, M;
    const double *weights, *first, *cotangent; /* [DEEPEST, 4, M, M], [T,M], [T,M] */
    double *memory;                            /* of every worker */
    size_t own;
    outcome *found; /* [ITEMS, STACK_CASES] */
    gka_status *status;
    gka_error *errors; /* [ITEMS] */
} course;

static int depth_of(int64_t item) {
    return 1 + 2 * (int)(item % DEPTHS);
}

static int ridge_of(int64_t item) {
    return stack_ridges[item / DEPTHS % STACK_RIDGES];
}

static int net_of(int64_t item) {
    return (int)(item / DEPTHS / STACK_RIDGES);
}

/* Numbers of one stack: a first layer's input, and for each layer h, u, q, k, v and the norms;
 * o, dout, dq, dk, dv, du, dh; four tensors; two results to keep. */
static size_t stack_numbers(const course *c) {
    const size_t n = (size_t)(c->T * c->M);
    return DEEPEST * (5 * n + (size_t)(c->T * (1 + 2 * c->H))) + 14 * n;
}

static stack stack_of(const course *c, int64_t item, double *at) {
    const int64_t n = c->T * c->M;
    stack S = {.T = c->T,
               .H = c->H,
               .D = c->D,
               .M = c->M,
               .a = lambdas[ridge_of(item)],
               .residual = net_of(item) == RESIDUAL,
               .weights = c->weights};
    for (int i = 0; i < DEEPEST; i++) {
        double **const vectors[] = {&S.h[i + 1], &S.u[i], &S.q[i], &S.k[i], &S.v[i]};
        for (int j = 0; j < 5; j++, at += n)
            *vectors[j] = at;
        S.rms[i] = at;
        S.q_norm[i] = at + S.T;
        S.k_norm[i] = at + S.T + S.T * S.H;
        at += S.T + 2 * S.T * S.H;
    }
    double **const vectors[] = {&S.h[0], &S.o, &S.dout, &S.dq, &S.dk, &S.dv, &S.du, &S.dh};
    for (int j = 0; j < 8; j++, at += n)
        *vectors[j] = at;
    S.packed = at;
    memcpy(S.h[0], c->first, (size_t)n * sizeof *at);
    return S;
}

/* Is the stack's gradient its derivative? Along the cotangent, of <cotangent, last h>; dh holds the
 * exact gradient. Spends h, leaves h[0] as it was. */
static gka_status check(const stack *S, int layers, const course *c, double *relative,
                        gka_error *error) {
    const method exact = {NULL, IMPLICIT, NULL};
    const int64_t n = S->T * S->M;
    const double step = 1e-5;
    double slope = 0, quotient = 0;
    gka_status status = GKA_OK;
    for (int64_t j = 0; j < n; j++)
        slope += S->dh[j] * c->cotangent[j];
    for (int side = -1; status == GKA_OK && side <= 1; side += 2) {
        for (int64_t j = 0; j < n; j++)
            S->h[0][j] = c->first[j] + side * step * c->cotangent[j];
        status = ahead(S, layers, &exact, error);
        for (int64_t j = 0; j < n; j++)
            quotient += side * S->h[layers][j] * c->cotangent[j] / (2 * step);
    }
    memcpy(S->h[0], c->first, (size_t)n * sizeof *c->first);
    *relative = fabs(quotient / slope - 1);
    return status;
}

static void one_item(void *context, int64_t item, int number) {
    const course *const c = context;
    const size_t n = (size_t)(c->T * c->M);
    double *const memory = c->memory + (size_t)number * c->own;
    const stack S = stack_of(c, item, memory);
    double *const last = memory + c->own - 2 * n, *const truth = memory + c->own - n;
    const int layers = depth_of(item);
    gka_error *const error = &c->errors[item];
    double difference = 0;
    gka_status status = GKA_OK;
    for (int size = 0; size < STACK_SIZES; size++) {
        const double scale = cotangents[stack_sizes[size]];
        const method exact = {NULL, IMPLICIT, NULL};
        if (status == GKA_OK)
            status = stack_run(&S, layers, &exact, scale, c->cotangent, error);
        memcpy(last, S.h[layers], n * sizeof *last);
        memcpy(truth, S.dh, n * sizeof *truth);
        const double incoming = lab_norm((int64_t)n, S.dout) / sqrt((double)S.T);
        if (status == GKA_OK && size == 0)
            status = check(&S, layers, c, &difference, error);
        outcome *at = c->found + item * STACK_CASES + size;
        for (int format = 0; format < FORMATS; format++)
            for (int s = 0; s < SOLVERS; s++)
                for (int mode = 0; mode < MODES; mode++, at += STACK_SIZES) {
                    if (status != GKA_OK || !stack_wanted(format, s, mode, size))
                        continue;
                    const method how = {solvers[s], mode, formats[format]};
                    status = stack_run(&S, layers, &how, scale, c->cotangent, error);
                    *at = (outcome){lab_distance((int64_t)n, S.dh, truth),
                                    lab_distance((int64_t)n, S.h[layers], last), incoming,
                                    difference};
                }
    }
    c->status[item] = status;
}

static void stack_rows(lab *l, const course *c, uint64_t seed) {
    const outcome *at = c->found;
    for (int64_t item = 0; item < ITEMS; item++)
        for (int format = 0; format < FORMATS; format++)
            for (int s = 0; s < SOLVERS; s++)
                for (int mode = 0; mode < MODES; mode++)
                    for (int size = 0; size < STACK_SIZES; size++, at++)
                        if (stack_wanted(format, s, mode, size))
                            lab_row(l, "%s,%s,%s,%s,%s,%s,%d,%llu,%.5g,%.5g,%.5g,%.3g",
                                    nets[net_of(item)], ridges[ridge_of(item)], formats[format],
                                    solvers[s], modes[mode], sizes[stack_sizes[size]],
                                    depth_of(item), (unsigned long long)seed, at->gradient,
                                    at->forward, at->incoming, at->difference);
}

/* Weights (rows of length 1), the first h and the cotangent from one seed. */
static gka_status draw(const course *c, uint64_t seed, double *weights, double *first,
                       double *cotangent, gka_error *error) {
    const gka_generator spec =
        lab_paper_data(GKA_KEYS_IID, 1, 4 * DEEPEST * c->M + 2 * c->T, c->M, GKA_F64, seed);
    gka_problem random;
    const gka_status status = gka_problem_generate(&spec, &random, error);
    if (status != GKA_OK)
        return status;
    for (int64_t i = 0; i < 4 * DEEPEST * c->M; i++)
        gka_problem_k(&random, 0, i, 0, weights + i * c->M);
    for (int64_t t = 0; t < c->T; t++) {
        gka_problem_q(&random, 0, t, 0, first + t * c->M);
        gka_problem_q(&random, 0, c->T + t, 0, cotangent + t * c->M);
    }
    gka_problem_free(&random);
    return GKA_OK;
}

static gka_status run_stacks(lab *l, int64_t seeds, gka_error *error) {
    course c = {.T = lab_pick(l, 24, 48, 128), .H = 2, .D = lab_pick(l, 8, 16, 128)};
    c.M = c.H * c.D;
    const size_t n = (size_t)(c.T * c.M), weights = 4 * DEEPEST * (size_t)(c.M * c.M);
    c.own = stack_numbers(&c);
    double *const memory =
        gka_alloc(weights + 2 * n + (size_t)gka_threads() * c.own, sizeof *memory);
    c.found = gka_alloc((size_t)ITEMS * STACK_CASES, sizeof *c.found);
    c.status = gka_alloc(ITEMS, sizeof *c.status);
    c.errors = gka_alloc(ITEMS, sizeof *c.errors);
    gka_status status = GKA_OK;
    if (memory == NULL || c.found == NULL || c.status == NULL || c.errors == NULL) {
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
        goto done;
    }
    double *const first = memory + weights;
    c.weights = memory;
    c.first = first;
    c.cotangent = first + n;
    c.memory = first + 2 * n;
    for (uint64_t seed = l->seed; status == GKA_OK && seed < l->seed + (uint64_t)seeds; seed++) {
        if (!lab_unit(l, STACK, "%llu", (unsigned long long)seed))
            continue;
        status = draw(&c, seed, memory, first, first + n, error);
        if (status == GKA_OK)
            gka_parallel(ITEMS, one_item, &c);
        for (int i = 0; status == GKA_OK && i < ITEMS; i++)
            if ((status = c.status[i]) != GKA_OK && error != NULL)
                *error = c.errors[i];
        if (status == GKA_OK) {
            stack_rows(l, &c, seed);
            status = lab_unit_end(l, error);
        }
    }
done:
    gka_free(c.errors);
    gka_free(c.status);
    gka_free(c.found);
    gka_free(memory);
    return status;
}

static gka_status run(lab *l, gka_error *error) {
    const int64_t seeds = lab_pick(l, 2, 4, lab_at_home() ? 4 : 1);
    l->units_total = (double)(RIDGES + seeds);
    const gka_status status = run_solves(l, error);
    return status == GKA_OK ? run_stacks(l, seeds, error) : status;
}

/* ---- verdicts ------------------------------------------------------------------------------ */

/* Worst and least error of dq (or dH) over all systems. */
static lab_stats solve_error(lab *l, const char *column, int ridge, int format, int solver,
                             int mode, int size) {
    return lab_stats_of(l, SOLVE, column, "lambda=%s,format=%s,solver=%s,mode=%s,size=%s",
                        ridges[ridge], formats[format], solvers[solver], modes[mode], sizes[size]);
}

/* Of the gradient of a stack, over seeds; size: of the list `sizes`. */
static lab_stats stack_error(lab *l, int net, int ridge, int format, int solver, int size,
                             int layers) {
    return lab_stats_of(
        l, STACK, "gradient", "net=%s,a=%s,format=%s,solver=%s,mode=implicit,size=%s,layers=%d",
        nets[net], ridges[ridge], formats[format], solvers[solver], sizes[size], layers);
}

static void judge_one(lab *l) {
    double guarded[RIDGES], plain[RIDGES], chebyshev[RIDGES];
    bool holds = true;
    for (int i = 0; i < RIDGES; i++) {
        guarded[i] = solve_error(l, "dq", i, FP32, GUARDED, IMPLICIT, 0).max;
        plain[i] = solve_error(l, "dq", i, FP32, CG, IMPLICIT, 0).max;
        chebyshev[i] = solve_error(l, "dq", i, FP32, CHEBYSHEV, IMPLICIT, 0).max;
        holds &= guarded[i] > 5e-4 && guarded[i] < 1e-2 && plain[i] < 1e-5;
    }
    lab_claim(
        l, "One layer: CG's gradient error is about 1e-3, Chebyshev's about 1e-6 (Fig 1b, 1d)",
        LAB_QUALIFIED, holds && chebyshev[0] > 1e-4 && chebyshev[1] < 1e-5,
        "for CG with the guard 1e-5, and Chebyshev with lambda .05 or .1. fp32, 30 iterations, "
        "|dx| = 1, implicit, largest error of dq over %lld systems at lambda .02 / .05 / .1: "
        "guarded CG %.1e / %.1e / %.1e, plain CG %.1e / %.1e / %.1e, Chebyshev %.1e / %.1e / "
        "%.1e",
        (long long)solve_error(l, "dq", 0, FP32, CG, IMPLICIT, 0).count, guarded[0], guarded[1],
        guarded[2], plain[0], plain[1], plain[2], chebyshev[0], chebyshev[1], chebyshev[2]);
}

static void judge_size(lab *l) {
    double apart = 0, plain = 0, chebyshev = 0;
    double at[SIZES];
    for (int size = 0; size < SIZES; size++) {
        at[size] = solve_error(l, "dq", 0, FP32, GUARDED, IMPLICIT, size).max;
        apart = fmax(
            apart, fabs(at[size] / solve_error(l, "dq", 0, FP64, GUARDED, IMPLICIT, size).max - 1));
        plain = fmax(plain, solve_error(l, "dq", 0, FP32, CG, IMPLICIT, size).max);
        chebyshev = fmax(chebyshev, solve_error(l, "dq", 0, FP32, CHEBYSHEV, IMPLICIT, size).max);
    }
    lab_claim(l, "CG's gradient error is its absolute guard, seen against the incoming gradient",
              LAB_REPRODUCED,
              apart < .01 && at[2] > 10 * at[0] && at[4] > .9 && plain < 1e-5 && chebyshev < 1e-3,
              "lambda .02, implicit, 30 iterations, largest error of dq for |dx| = 1 / .1 / 1e-2 / "
              "1e-3 / 1e-4: guarded CG %.1e / %.1e / %.2f / %.2f / %.3f in fp32, the same in fp64 "
              "within %.0e; at every size plain CG at most %.0e, Chebyshev %.1e; %lld systems",
              at[0], at[1], at[2], at[3], at[4], apart, plain, chebyshev,
              (long long)solve_error(l, "dq", 0, FP32, CG, IMPLICIT, 0).count);
}

static void judge_stack(lab *l) {
    double depth = 0;
    for (int net = CHAIN; net <= RESIDUAL; net++)
        for (int i = 0; i < STACK_RIDGES; i++)
            for (int size = 0; size < 2; size++) {
                const int ridge = stack_ridges[i], at = stack_sizes[size];
                depth = fmax(depth, stack_error(l, net, ridge, FP32, GUARDED, at, 5).median /
                                        stack_error(l, net, ridge, FP32, GUARDED, at, 1).median);
            }
    const lab_stats one = stack_error(l, CHAIN, 2, FP32, GUARDED, 0, 1),
                    five = stack_error(l, CHAIN, 2, FP32, GUARDED, 0, 5),
                    small = stack_error(l, CHAIN, 2, FP32, GUARDED, 2, 1),
                    small_five = stack_error(l, CHAIN, 2, FP32, GUARDED, 2, 5),
                    tiny_five = stack_error(l, CHAIN, 2, FP32, GUARDED, 4, 5),
                    plain = stack_error(l, CHAIN, 2, FP32, CG, 0, 5),
                    chebyshev = stack_error(l, CHAIN, 2, FP32, CHEBYSHEV, 0, 5),
                    wide = stack_error(l, CHAIN, 0, FP32, CHEBYSHEV, 0, 5),
                    right = lab_stats_of(l, STACK, "difference", "mode=implicit");
    lab_claim(
        l, "Five layers: CG's gradient error is about 1, Chebyshev's about 1e-6 (Fig 1c, 1e)",
        LAB_QUALIFIED,
        right.max < 1e-4 && depth < 30 && five.max < .2 && small.min > 10 * one.max &&
            tiny_five.min > .9 && plain.max < 1e-3 && chebyshev.max < 1e-3,
        "it is the size of the incoming gradient, not the depth. fp32, implicit, a = .1, chain, "
        "least "
        ".. largest of %lld seeds, guarded CG: cotangent 1, one layer %.1e .. %.1e, five %.1e .. "
        "%.1e; cotangent .01: %.2f .. %.2f, %.2f .. %.2f; 1e-4: five %.0f .. %.0f. Five layers, "
        "any "
        "cotangent: plain CG %.1e .. %.1e, Chebyshev %.1e .. %.1e (a = .02: %.1e .. %.1e). Depth "
        "alone, 1 to 5 layers at one cotangent: at most %.0f times (medians, both nets)",
        (long long)one.count, one.min, one.max, five.min, five.max, small.min, small.max,
        small_five.min, small_five.max, tiny_five.min, tiny_five.max, plain.min, plain.max,
        chebyshev.min, chebyshev.max, wide.min, wide.max, depth);
}

/* The law: the residual polynomial e(z) has |e| = 1/T_(r+1) =: b at z = lambda and slope
 * (r+1)^2 b / (1/2) there, so (1 - e(z))/z differs from 1/z by b/z, and its derivative from -1/z^2
 * by (1 + 2 lambda (r+1)^2) b / z^2; the implicit dH = -p x^T has two factors wrong by b. */
static void judge_through(lab *l) {
    double least = INFINITY, same = 0, low = INFINITY, high = 0;
    for (int ridge = 0; ridge < RIDGES; ridge++)
        for (int s = GUARDED; s <= TWO_TERM; s++) {
            least = fmin(least, solve_error(l, "dH", ridge, FP64, s, THROUGH, 0).max /
                                    solve_error(l, "dH", ridge, FP64, s, IMPLICIT, 0).max);
            if (s != GUARDED)
                same = fmax(same, fabs(solve_error(l, "dq", ridge, FP64, s, THROUGH, 0).max /
                                           solve_error(l, "dq", ridge, FP64, s, IMPLICIT, 0).max -
                                       1));
        }
    for (int ridge = 0; ridge < RIDGES; ridge++) {
        const double b = lab_chebyshev_bound(lambdas[ridge], R);
        const double laws[MODES] = {2 * b, (1 + 2 * lambdas[ridge] * (R + 1) * (R + 1)) * b};
        for (int mode = IMPLICIT; mode <= THROUGH; mode++) {
            const double share =
                solve_error(l, "dH", ridge, FP64, CHEBYSHEV, mode, 0).max / laws[mode];
            low = fmin(low, share);
            high = fmax(high, share);
        }
    }
    lab_claim(
        l, "Differentiating through the iterations is as good as the implicit gradient",
        LAB_REFUTED, same < 1e-4 && least > 10 && low > .5 && high < 1.1,
        "fp64, 30 iterations, |dx| = 1: dq of Chebyshev is the same to the table's five "
        "digits, but the error of dH is at least %.0f times that of the implicit gradient "
        "for guarded CG and both forms of Chebyshev at every lambda. lambda .02, through "
        "(implicit): guarded CG %.2f (%.1e), Chebyshev %.1e (%.1e). Chebyshev's largest error "
        "is %.2f .. %.2f of the laws (1 + 2 lambda (r+1)^2)/T_(r+1) and 2/T_(r+1); %lld "
        "systems",
        least, solve_error(l, "dH", 0, FP64, GUARDED, THROUGH, 0).max,
        solve_error(l, "dH", 0, FP64, GUARDED, IMPLICIT, 0).max,
        solve_error(l, "dH", 0, FP64, CHEBYSHEV, THROUGH, 0).max,
        solve_error(l, "dH", 0, FP64, CHEBYSHEV, IMPLICIT, 0).max, low, high,
        (long long)solve_error(l, "dH", 0, FP64, CHEBYSHEV, THROUGH, 0).count);
}

static void judge_short(lab *l) {
    const lab_stats three = stack_error(l, RESIDUAL, 0, MIXED, CHEBYSHEV, 0, 5),
                    two = stack_error(l, RESIDUAL, 0, MIXED, TWO_TERM, 0, 5),
                    cg = stack_error(l, RESIDUAL, 0, MIXED, CG, 0, 5),
                    chain = stack_error(l, CHAIN, 0, MIXED, TWO_TERM, 0, 5);
    lab_claim(
        l, "With bf16 operands Chebyshev keeps the gradient of five layers better than CG",
        LAB_REFUTED, three.median > 1.5 * cg.median && two.median < 1.5 * cg.median,
        "residual net, a = .02, cotangent 1, median [least .. largest] of %lld seeds: three-term "
        "%.2f [%.2f .. %.2f], two-term %.2f [%.2f .. %.2f], plain CG %.2f [%.2f .. %.2f]; in the "
        "chain none keeps it (two-term %.2f .. %.2f)",
        (long long)three.count, three.median, three.min, three.max, two.median, two.min, two.max,
        cg.median, cg.min, cg.max, chain.min, chain.max);
}

static gka_status judge(lab *l, gka_error *error) {
    (void)error;
    judge_one(l);
    judge_size(l);
    judge_stack(l);
    judge_through(l);
    judge_short(l);
    return GKA_OK;
}

int main(int argc, char **argv) {
    static const lab_experiment experiment = {
        .name = "02_gradient",
        .question = "Implicit or through the iterations, one layer or five: what loses the "
                    "gradient of CG?",
        .tables = {{"solve.csv", "lambda,format,solver,mode,size,sequence,token,dq,dH"},
                   {"stack.csv",
                    "net,a,format,solver,mode,size,layers,seed,gradient,forward,incoming,"
                    "difference"}},
        .run = run,
        .judge = judge,
        .refuses = LAB_NO_GATE,
        .file = LAB_FILE_IS_KEYS};
    return lab_main(argc, argv, &experiment);
}
