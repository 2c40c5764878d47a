/* fp64.c - the layer in binary64, one token after the other, by LAPACK's Cholesky factorisation.
 *
 *   H  [D,D]  H_t, symmetric            k q  [D]  key, query            f       ||H_t||_F
 *   U  [D,V]  U_t                       v    [V]  value                 lambda  a f
 *   A  [D,D]  A_t of the gradients      x    [D]  (H + lambda I)^-1 q   gamma   exp(g_t)
 *   E  [D,V]  E_t of the gradients      p    [D]  the same of dx        a s     ridge ratio, scale
 *
 * Error, u = 2^-53, no h0. Token j enters H_t as Gamma_tj k_j k_j^T after at most 3 (t-j) + 2
 * roundings, and ||k_j k_j^T||_F = tr k_j k_j^T, so to first order
 *     ||dH||_F <= (3t+2) u tr H,  |df| <= ||dH||_F + (D^2/16 + 6) u f,
 * the triangular factors satisfy L L^T = H + lambda I + dA, ||dA||_F <= (3D+1) u tr(H + lambda I)
 * (Higham, Accuracy and Stability, 2nd ed., theorem 10.4 with || |L||L^T| ||_F <= tr L L^T), and
 * with T = tr(H + lambda I), m = lambda_min(H + lambda I), kappa = lambda_max/m, T <= D lambda_max:
 *     ||dx|| / ||x|| <= (3D + 6t + D^2/16 + 12) u T/m <= (3D + 6t + D^2/16 + 12) D u kappa.
 * tests/property/oracle.c holds x to the middle term against MPFR.
 *
 * gamma is the certified room's exp(g), rounded once. Cholesky is the BLAS's, so these results are
 * never in a golden; our own sums have an order of their own, whatever the compiler's flags.
 *
 * The gradients need the states in reverse. They are kept at every ceil(sqrt T)-th token and
 * replayed from there: about 2 sqrt(T) (D^2 + D V) numbers of 8 bytes for each thread, 24 MB at
 * T = 2048, D = V = 128.
 */
#include "oracle/fp64.h"

#include "oracle/dd_exp.h"
#include "oracle/passes.h"

#include <math.h>
#include <string.h>

/* ---- the BLAS, alone ----------------------------------------------------------------------- */

/* OpenBLAS's own; absent from other BLASes. */
extern void openblas_set_num_threads(int n) __attribute__((weak));
extern int openblas_get_num_threads(void) __attribute__((weak));

/* The setting belongs to the process, so the count of those who hold it does too. */
static pthread_mutex_t blas_lock = PTHREAD_MUTEX_INITIALIZER;
static int blas_holders, blas_threads;

void gka_blas_alone_begin(void) {
    if (openblas_set_num_threads == NULL || openblas_get_num_threads == NULL)
        return;
    pthread_mutex_lock(&blas_lock);
    if (blas_holders++ == 0) {
        blas_threads = openblas_get_num_threads();
        openblas_set_num_threads(1);
    }
    pthread_mutex_unlock(&blas_lock);
}

void gka_blas_alone_end(void) {
    if (openblas_set_num_threads == NULL || openblas_get_num_threads == NULL)
        return;
    pthread_mutex_lock(&blas_lock);
    if (--blas_holders == 0)
        openblas_set_num_threads(blas_threads);
    pthread_mutex_unlock(&blas_lock);
}

/* ---- passes over the state ------------------------------------------------------------------ */

/* H_t = gamma H_{t-1} + k k^T, both triangles (equal bit for bit). Returns ||H_t||_F^2. */
GKA_WIDE static double update_H(int64_t D, double gamma, const double *restrict k,
                                double *restrict H) {
    double s[GKA_LANES] = {0};
    for (int64_t i = 0; i < D; i++, H += D) {
        const double ki = k[i];
        int64_t j = 0;
        for (; j + GKA_LANES <= D; j += GKA_LANES)
            for (int l = 0; l < GKA_LANES; l++) {
                const double h = gamma * H[j + l] + ki * k[j + l];
                H[j + l] = h;
                s[l] += h * h;
            }
        for (; j < D; j++) {
            H[j] = gamma * H[j] + ki * k[j];
            s[j % GKA_LANES] += H[j] * H[j];
        }
    }
    return gka_lanes_sum(s);
}

/* U_t = gamma U_{t-1} + k v^T */
GKA_WIDE static void update_U(int64_t D, int64_t V, double gamma, const double *restrict k,
                              const double *restrict v, double *restrict U) {
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < V; j++)
            U[i * V + j] = gamma * U[i * V + j] + k[i] * v[j];
}

/* ---- memory -------------------------------------------------------------------------------- */

typedef gka_fp64_token token;

/* One worker's. */
typedef struct space {
    int64_t V;         /* of U and E: 0 where they are not wanted */
    int64_t length;    /* tokens from one checkpoint to the next */
    double *H, *U;     /* the state; of a gradient: one of `states` */
    gka_fp64_factor L; /* of H + lambda I */
    double *k, *v, *q, *y, *o, *dout;
    double *xp;           /* x, then p: two right-hand sides of one factor */
    double *dq, *dk, *dv; /* of the token */
    double *A, *E;        /* gradients of the states */
    double *marks;        /* the state before every length-th token */
    double *states;       /* length + 1 states from one mark on, [D,D] then [D,V] each */
    token *tokens;        /* of those states but the first */
} space;

/* In one block: the space itself and what it points to. */
static space *layout(gka_arena *block, const gka_problem *problem, bool gradient, int64_t V,
                     int64_t length, int64_t marks) {
    const int64_t D = problem->D;
    space *const in_place = gka_take(block, 1, sizeof *in_place);
    space w = {.V = V, .length = length};
    w.L = gka_fp64_factor_take(block, D);
    w.k = gka_take_reals(block, D);
    w.v = gka_take_reals(block, V);
    w.q = gka_take_reals(block, D);
    w.y = gka_take_reals(block, D);
    w.o = gka_take_reals(block, V);
    w.xp = gka_take_reals(block, 2 * D);
    if (!gradient) {
        w.H = gka_take_reals(block, D * D);
        w.U = gka_take_reals(block, D * V);
    } else {
        w.dout = gka_take_reals(block, V);
        w.dq = gka_take_reals(block, D);
        w.dk = gka_take_reals(block, D);
        w.dv = gka_take_reals(block, V);
        w.A = gka_take_reals(block, D * D);
        w.E = gka_take_reals(block, D * V);
        w.marks = gka_take_reals(block, marks * D * (D + V));
        w.states = gka_take_reals(block, (length + 1) * D * (D + V));
        w.tokens = gka_take(block, length, sizeof *w.tokens);
    }
    if (in_place != NULL)
        *in_place = w;
    return in_place;
}

static space *new_space(const gka_problem *problem, bool gradient, int64_t V) {
    const int64_t longest = gka_problem_longest(problem), length = gka_mark_spacing(problem);
    const int64_t marks = (longest + length - 1) / length;
    gka_arena block = {0};
    layout(&block, problem, gradient, V, length, marks);
    block = (gka_arena){.base = gka_alloc(block.used, 1)};
    return block.base == NULL ? NULL : layout(&block, problem, gradient, V, length, marks);
}

/* ---- the state ----------------------------------------------------------------------------- */

/* Outside, the square of an entry of H may round to 0 or Inf. */
static const double F_MIN = 0x1p-480, F_MAX = 0x1p+480;

static gka_status fail_at(gka_error *error, gka_status status, const token *at, const char *what) {
    return gka_fail(error, status, "fp64 oracle: sequence %lld, token %lld, head %lld: %s",
                    (long long)at->n, (long long)at->t, (long long)at->h, what);
}

void gka_fp64_first_state(const gka_problem *problem, gka_fp64_token *at, int64_t V, double *H,
                          double *U) {
    const int64_t D = problem->D;
    gka_problem_h0(problem, at->n, at->h, H);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < i; j++)
            H[i * D + j] = H[j * D + i] = 0.5 * H[i * D + j] + 0.5 * H[j * D + i];
    if (V > 0)
        gka_problem_u0(problem, at->n, at->h, U);
    at->empty = gka_all_zero(D * D, H);
}

void gka_fp64_arrive(const gka_problem *problem, gka_fp64_token *at, double *k) {
    const double g = gka_problem_g(problem, at->b, at->t, at->h);
    double error_of_exp;
    at->gamma = gka_dd_exp(g, &error_of_exp).hi;
    gka_problem_k(problem, at->b, at->t, at->h, k);
    at->empty = (at->empty || isinf(g)) && gka_all_zero(problem->D, k);
}

gka_status gka_fp64_norm(const gka_problem *problem, gka_fp64_token *at, double square,
                         gka_error *error) {
    at->f = sqrt(square);
    at->lambda = at->ridge > 0 ? at->ridge : problem->ridge_ratio * at->f;
    if (at->empty || (at->f >= F_MIN && at->f <= F_MAX))
        return GKA_OK;
    return fail_at(error, GKA_UNSUPPORTED, at,
                   "the state's norm leaves [2^-480, 2^480]; the mpfr oracle has no such limit");
}

gka_status gka_fp64_terms(const gka_fp64_token *at, int64_t D, const double *p, const double *x,
                          gka_error *error) {
    static const double LEAST = 0x1p-960, MOST = 0x1p+1000;
    const double size = sqrt(gka_pass_dot(D, p, p)) * sqrt(gka_pass_dot(D, x, x));
    if (at->empty || gka_all_zero(D, p) || gka_all_zero(D, x) ||
        (size >= LEAST && size <= MOST && size / at->f >= LEAST && size / at->f <= MOST))
        return GKA_OK;
    return fail_at(error, GKA_UNSUPPORTED, at,
                   "the terms of a gradient leave the range of binary64; the mpfr oracle has no "
                   "such limit");
}

/* w's state before any token. */
static void first_state(const gka_problem *problem, token *at, space *w) {
    gka_fp64_first_state(problem, at, w->V, w->H, w->U);
}

/* w's state before token at->t becomes the state after it. */
static gka_status next_state(const gka_problem *problem, token *at, space *w, gka_error *error) {
    const int64_t D = problem->D;
    gka_fp64_arrive(problem, at, w->k);
    const double square = update_H(D, at->gamma, w->k, w->H);
    if (w->V > 0) {
        gka_problem_v(problem, at->b, at->t, at->h, w->v);
        update_U(D, w->V, at->gamma, w->k, w->v, w->U);
    }
    return gka_fp64_norm(problem, at, square, error);
}

/* ---- the solve ----------------------------------------------------------------------------- */

/* M = H + lambda I, in the triangle that LAPACK calls lower: j >= i of row i. */
static void shifted(int64_t D, const double *H, double lambda, double *M) {
    for (int64_t i = 0; i < D; i++) {
        memcpy(M + i * D + i, H + i * D + i, (size_t)(D - i) * sizeof *M);
        M[i * D + i] += lambda;
    }
}

bool gka_fp64_kappa(int64_t D, const double *H, double lambda, double *work, double *kappa) {
    double *const M = work, *const eigenvalues = work + D * D, *const scratch = eigenvalues + D;
    shifted(D, H, lambda, M);
    const lapack_int n = (lapack_int)D;
    if (LAPACKE_dsyev_work(LAPACK_COL_MAJOR, 'N', 'L', n, M, n, eigenvalues, scratch, 3 * n) != 0)
        return false;
    double largest = 0, smallest = INFINITY;
    for (int64_t i = 0; i < D; i++) {
        largest = fmax(largest, fabs(eigenvalues[i]));
        smallest = fmin(smallest, fabs(eigenvalues[i]));
    }
    *kappa = largest / smallest;
    return true;
}

gka_fp64_factor gka_fp64_factor_take(gka_arena *block, int64_t D) {
    gka_fp64_factor L = {0};
    L.L = gka_take_reals(block, D * D);
    L.work = gka_take_reals(block, D * D + 4 * D);
    L.pivots = gka_take(block, D, sizeof *L.pivots);
    return L;
}

/* Without a ridge rounding may leave a factor of a singular matrix: regular is what has a condition
 * number below 2^52/D, by LAPACK's estimate in the 1-norm. */
static bool regular(lapack_int n, const double *H, gka_fp64_factor *L) {
    double norm = 0, reciprocal = 0;
    for (lapack_int i = 0; i < n; i++) {
        double sum = 0;
        for (lapack_int j = 0; j < n; j++)
            sum += fabs(H[(int64_t)i * n + j]);
        norm = fmax(norm, sum);
    }
    return LAPACKE_dpocon_work(LAPACK_COL_MAJOR, 'L', n, L->L, n, norm, &reciprocal, L->work,
                               L->pivots) == 0 &&
           reciprocal > n * 0x1p-52;
}

gka_status gka_fp64_factorise(const gka_problem *problem, const gka_fp64_token *at, const double *H,
                              gka_fp64_factor *L, gka_error *error) {
    const lapack_int n = (lapack_int)problem->D;
    if (at->empty)
        return GKA_OK;
    shifted(n, H, at->lambda, L->L);
    L->indefinite = LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', n, L->L, n) != 0;
    if (!L->indefinite && (at->ridge > 0 || problem->ridge_ratio > 0))
        return GKA_OK;
    if (at->ridge == 0 && problem->ridge_ratio == 0) {
        if (!L->indefinite && regular(n, H, L))
            return GKA_OK;
        return fail_at(error, GKA_NOT_POSITIVE_DEFINITE, at,
                       "H is singular in binary64, and the ridge ratio is 0");
    }
    if (problem->h0.data == NULL)
        return fail_at(error, GKA_NOT_POSITIVE_DEFINITE, at,
                       "H + lambda I is not positive definite in binary64: the ridge ratio is too "
                       "small for it; the mpfr oracle has no such limit");
    shifted(n, H, at->lambda, L->L);
    if (LAPACKE_dsytrf_work(LAPACK_COL_MAJOR, 'L', n, L->L, n, L->pivots, L->work, n * n + 4 * n) ==
        0)
        return GKA_OK;
    return fail_at(error, GKA_NOT_POSITIVE_DEFINITE, at,
                   "H + lambda I, indefinite by h0, is singular");
}

void gka_fp64_substitute(const gka_problem *problem, const gka_fp64_token *at,
                         const gka_fp64_factor *L, int count, double *X) {
    const lapack_int n = (lapack_int)problem->D;
    if (at->empty)
        memset(X, 0, (size_t)(problem->D * count) * sizeof *X);
    else if (L->indefinite)
        LAPACKE_dsytrs_work(LAPACK_COL_MAJOR, 'L', n, count, L->L, n, L->pivots, X, n);
    else
        LAPACKE_dpotrs_work(LAPACK_COL_MAJOR, 'L', n, count, L->L, n, X, n);
}

/* X <- (H_t + lambda I)^{-1} X for `count` right-hand sides [count,D]; 0 for an empty state. */
static gka_status solve(const gka_problem *problem, const token *at, space *w, int count, double *X,
                        gka_error *error) {
    const gka_status status = gka_fp64_factorise(problem, at, w->H, &w->L, error);
    if (status == GKA_OK)
        gka_fp64_substitute(problem, at, &w->L, count, X);
    return status;
}

/* q' = q + alpha (x - q) as alpha x + (1 - alpha) q: x may be any number of times smaller than q,
 * and is q' where alpha = 1. |error| <= 3 u (|alpha x| + |(1 - alpha) q|). */
static void mix(int64_t D, double alpha, const double *q, const double *x, double *y) {
    for (int64_t i = 0; i < D; i++)
        y[i] = alpha * x[i] + (1 - alpha) * q[i];
}

/* ---- forward ------------------------------------------------------------------------------- */

static void put(int64_t n, const double *x, double *out) {
    if (out != NULL)
        memcpy(out, x, (size_t)n * sizeof *x);
}

static void put_one(double x, double *out, int64_t i) {
    if (out != NULL)
        out[i] = x;
}

static void put_chunk(const gka_problem *problem, const token *at, const space *w,
                      const gka_outputs *out) {
    const int64_t D = problem->D, V = w->V;
    const int64_t i = gka_at_chunk(problem, at->n, at->t, at->h);
    if (i < 0)
        return;
    put(D * D, w->H, gka_offset(out->h_chunk, i * D * D));
    put(D * V, w->U, gka_offset(out->u_chunk, i * D * V));
}

/* x, o and kappa of a token whose state is reached. */
static gka_status forward_token(gka_run *run, const token *at, space *w, gka_error *error) {
    const gka_problem *const problem = run->problem;
    const gka_outputs *const out = run->out;
    const int64_t D = problem->D, V = w->V, i = gka_at(problem, at->b, at->t, at->h);
    double *const x = w->xp;
    double kappa = NAN;
    put_one(at->f, out->fro, i);
    put_one(at->lambda, out->lambda, i);
    if (out->kappa != NULL && !at->empty && !gka_fp64_kappa(D, w->H, at->lambda, w->L.work, &kappa))
        return fail_at(error, GKA_NOT_CONVERGED, at, "the eigenvalues of H + lambda I");
    put_one(kappa, out->kappa, i);
    if (out->x == NULL && out->o == NULL)
        return GKA_OK;
    gka_problem_q(problem, at->b, at->t, at->h, w->q);
    memcpy(x, w->q, (size_t)D * sizeof *x);
    const gka_status status = solve(problem, at, w, 1, x, error);
    if (status != GKA_OK)
        return status;
    put(D, x, gka_offset(out->x, i * D));
    if (out->o == NULL)
        return GKA_OK;
    mix(D, gka_problem_alpha(problem, at->b, at->t, at->h), w->q, x, w->y);
    memset(w->o, 0, (size_t)V * sizeof *w->o);
    gka_pass_add_transposed(D, V, w->U, w->y, w->o);
    gka_pass_scale(V, problem->scale, w->o);
    put(V, w->o, gka_offset(out->o, i * V));
    return GKA_OK;
}

static gka_status forward_head(gka_run *run, int64_t n, int64_t h, void *memory, gka_error *error) {
    const gka_problem *const problem = run->problem;
    const gka_outputs *const out = run->out;
    space *const w = memory;
    const int64_t D = problem->D, V = w->V, i = n * problem->H + h;
    const gka_span span = gka_problem_span(problem, n);
    token at = {.n = n, .h = h, .b = span.b, .ridge = run->options->ridge};
    first_state(problem, &at, w);
    for (at.t = span.begin; at.t < span.end; at.t++) {
        put_chunk(problem, &at, w, out);
        gka_status status = next_state(problem, &at, w, error);
        if (status == GKA_OK)
            status = forward_token(run, &at, w, error);
        if (status != GKA_OK)
            return status;
        if (!gka_run_solved(run, n, h, at.empty))
            return GKA_INTERRUPTED;
    }
    put(D * D, w->H, gka_offset(out->h_final, i * D * D));
    put(D * V, w->U, gka_offset(out->u_final, i * D * V));
    return GKA_OK;
}

/* ---- gradients ----------------------------------------------------------------------------- */

/* A vector of a token, stored by the first head of a group and added to by the others in turn. */
static void put_or_add(bool first, int64_t n, const double *x, double *out) {
    if (first)
        put(n, x, out);
    else if (out != NULL)
        gka_pass_add_scaled(n, 1, x, out);
}

/* dq', dx, x, p, dq, dalpha of NUMERICS 2, with E_t and A_t on the way. w->H, w->U: the state
 * after the token. */
static gka_status reverse_solve(gka_run *run, const token *at, space *w, gka_error *error) {
    const gka_problem *const problem = run->problem;
    const gka_gradients *const out = &run->out->gradient[run->of];
    const int64_t D = problem->D, V = w->V, i = gka_at(problem, at->b, at->t, at->h);
    const double alpha = V > 0 ? gka_problem_alpha(problem, at->b, at->t, at->h) : 1;
    double *const x = w->xp, *const p = w->xp + D, *const dq = w->dq;
    gka_problem_q(problem, at->b, at->t, at->h, w->q);
    memcpy(x, w->q, (size_t)D * sizeof *x);
    if (V > 0) { /* dq' = s U do */
        gka_problem_dout(problem, at->b, at->t, at->h, w->dout);
        gka_pass_multiply(D, V, w->U, w->dout, dq);
        gka_pass_scale(D, problem->scale, dq);
    } else
        gka_problem_dx(problem, at->b, at->t, at->h, dq);
    for (int64_t j = 0; j < D; j++)
        p[j] = alpha * dq[j];
    gka_status status = solve(problem, at, w, 2, w->xp, error);
    if (status == GKA_OK)
        status = gka_fp64_terms(at, D, p, x, error);
    if (status != GKA_OK)
        return status;
    /* E_t = s q' do^T + gamma_{t+1} E_{t+1},  A_t = -p x^T - a <p,x>/f H + gamma_{t+1} A_{t+1} */
    mix(D, alpha, w->q, x, w->y);
    gka_pass_add_outer(D, V, problem->scale, w->y, w->dout, w->E);
    gka_pass_add_outer(D, D, -1, p, x, w->A);
    if (!at->empty)
        gka_pass_add_scaled(D * D, -problem->ridge_ratio * gka_pass_dot(D, p, x) / at->f, w->H,
                            w->A);
    for (int64_t j = 0; j < D; j++)
        w->y[j] = x[j] - w->q[j];
    put_one(V > 0 ? gka_pass_dot(D, dq, w->y) : 0, out->dalpha, i);
    for (int64_t j = 0; j < D; j++)
        dq[j] = (1 - alpha) * dq[j] + p[j];
    put(D, p, gka_offset(out->p, i * D));
    put(D, dq, gka_offset(out->dq, i * D));
    return GKA_OK;
}

/* One token of the reverse: A, E hold gamma_{t+1} A_{t+1}, gamma_{t+1} E_{t+1} before it and
 * gamma_t A_t, gamma_t E_t after it. before: the state that the token found. */
static gka_status reverse_token(gka_run *run, const token *at, bool first, const double *before,
                                space *w, gka_error *error) {
    const gka_problem *const problem = run->problem;
    const gka_gradients *const out = &run->out->gradient[run->of];
    const int64_t D = problem->D, V = w->V, i = gka_at(problem, at->b, at->t, at->h),
                  j = gka_at_group(problem, at->b, at->t, at->h);
    const gka_status status = reverse_solve(run, at, w, error);
    if (status != GKA_OK)
        return status;
    gka_problem_k(problem, at->b, at->t, at->h, w->k);
    /* dk = (A + A^T) k + E v,  dv = E^T k */
    gka_pass_multiply(D, D, w->A, w->k, w->dk);
    gka_pass_add_transposed(D, D, w->A, w->k, w->dk);
    if (V > 0) {
        gka_problem_v(problem, at->b, at->t, at->h, w->v);
        gka_pass_multiply(D, V, w->E, w->v, w->y);
        gka_pass_add_scaled(D, 1, w->y, w->dk);
        memset(w->dv, 0, (size_t)V * sizeof *w->dv);
        gka_pass_add_transposed(D, V, w->E, w->k, w->dv);
        put_or_add(first, V, w->dv, gka_offset(out->dv, j * V));
    }
    put_or_add(first, D, w->dk, gka_offset(out->dk, j * D));
    /* dg = gamma (<A_t, H_{t-1}> + <E_t, U_{t-1}>) */
    gka_pass_scale(D * D, at->gamma, w->A);
    gka_pass_scale(D * V, at->gamma, w->E);
    const double dg_h = gka_pass_dot(D * D, w->A, before),
                 dg_u = gka_pass_dot(D * V, w->E, before + D * D);
    put_one(dg_h, out->dg_h, i);
    put_one(dg_u, out->dg_u, i);
    put_one(dg_h + dg_u, out->dg, i);
    return GKA_OK;
}

/* The state number i of an array of states becomes w's. */
static void at_state(const gka_problem *problem, space *w, double *states, int64_t i) {
    w->H = states + i * problem->D * (problem->D + w->V);
    w->U = w->H + problem->D * problem->D;
}

/* The state before every length-th token, to w->marks. */
static gka_status mark_states(gka_run *run, token at, space *w, gka_error *error) {
    const gka_problem *const problem = run->problem;
    const gka_span span = gka_problem_span(problem, at.n);
    const int64_t size = problem->D * (problem->D + w->V);
    at_state(problem, w, w->states, 0);
    first_state(problem, &at, w);
    for (at.t = span.begin; at.t < span.end; at.t++) {
        const int64_t done = at.t - span.begin;
        if (done % w->length == 0)
            put(size, w->states, w->marks + done / w->length * size);
        if (gka_stopped())
            return GKA_INTERRUPTED;
        const gka_status status = next_state(problem, &at, w, error);
        if (status != GKA_OK)
            return status;
    }
    return GKA_OK;
}

/* The states from a mark on, token by token, to w->states and w->tokens. */
static gka_status replay(gka_run *run, token at, int64_t mark, int64_t count, space *w,
                         gka_error *error) {
    const gka_problem *const problem = run->problem;
    const int64_t size = problem->D * (problem->D + w->V);
    put(size, w->marks + mark * size, w->states);
    at.empty = gka_all_zero(problem->D * problem->D, w->states);
    for (int64_t i = 0; i < count; i++, at.t++) {
        put(size, w->states + i * size, w->states + (i + 1) * size);
        at_state(problem, w, w->states, i + 1);
        const gka_status status = next_state(problem, &at, w, error);
        if (status != GKA_OK)
            return status;
        w->tokens[i] = at;
    }
    return GKA_OK;
}

static gka_status reverse_head(gka_run *run, int64_t n, int64_t h, bool first, space *w,
                               gka_error *error) {
    const gka_problem *const problem = run->problem;
    const int64_t D = problem->D, V = w->V, size = D * (D + V);
    const gka_span span = gka_problem_span(problem, n);
    token at = {.n = n, .h = h, .b = span.b, .t = span.begin};
    const int64_t marks = (span.end - span.begin + w->length - 1) / w->length;
    gka_status status = mark_states(run, at, w, error);
    gka_problem_dh_final(problem, n, h, w->A);
    if (V > 0)
        gka_problem_du_final(problem, n, h, w->E);
    for (int64_t mark = marks - 1; status == GKA_OK && mark >= 0; mark--) {
        at.t = span.begin + mark * w->length;
        const int64_t left = span.end - at.t, count = left < w->length ? left : w->length;
        status = replay(run, at, mark, count, w, error);
        for (int64_t i = count - 1; status == GKA_OK && i >= 0; i--) {
            at_state(problem, w, w->states, i + 1);
            status = reverse_token(run, &w->tokens[i], first, w->states + i * size, w, error);
            if (status == GKA_OK && !gka_run_solved(run, n, h, w->tokens[i].empty))
                status = GKA_INTERRUPTED;
        }
    }
    /* dh0 = gamma_1 A_1,  du0 = gamma_1 E_1 */
    if (status == GKA_OK) {
        put(D * D, w->A, gka_offset(run->out->gradient[run->of].dh0, (n * problem->H + h) * D * D));
        put(D * V, w->E, gka_offset(run->out->gradient[run->of].du0, (n * problem->H + h) * D * V));
    }
    return status;
}

/* The query heads of a group in turn: they add to the same dk and dv. */
static gka_status gradient_group(gka_run *run, int64_t n, int64_t h, void *memory,
                                 gka_error *error) {
    for (int64_t i = 0; i < run->heads; i++) {
        const gka_status status = reverse_head(run, n, h + i, i == 0, memory, error);
        if (status != GKA_OK)
            return status;
    }
    return GKA_OK;
}

/* ---- entry --------------------------------------------------------------------------------- */

static void *forward_memory(const gka_run *run) {
    const gka_outputs *const out = run->out;
    const bool with_U = out->o != NULL || out->u_chunk != NULL || out->u_final != NULL;
    return new_space(run->problem, false, with_U ? run->problem->V : 0);
}

static void *layer_memory(const gka_run *run) {
    return new_space(run->problem, true, run->problem->V);
}

/* The cotangent of x knows nothing of U. */
static void *solve_memory(const gka_run *run) {
    return new_space(run->problem, true, 0);
}

static gka_status run_alone(gka_run *run, gka_error *error) {
    gka_blas_alone_begin();
    const gka_status status = gka_run_all(run, error);
    gka_blas_alone_end();
    return status;
}

gka_status gka_fp64_forward(const gka_problem *problem, const gka_oracle_options *options,
                            gka_outputs *out, gka_outputs *lo, gka_oracle_report *report,
                            gka_error *error) {
    gka_run run = {.problem = problem,
                   .options = options,
                   .out = out,
                   .lo = lo,
                   .report = report,
                   .heads = 1,
                   .memory = forward_memory,
                   .body = forward_head};
    gka_run_zero(problem, ~0u, lo);
    return run_alone(&run, error);
}

gka_status gka_fp64_gradient(const gka_problem *problem, gka_of cotangent,
                             const gka_oracle_options *options, gka_outputs *out, gka_outputs *lo,
                             gka_oracle_report *report, gka_error *error) {
    gka_run run = {.problem = problem,
                   .options = options,
                   .out = out,
                   .lo = lo,
                   .of = cotangent,
                   .report = report,
                   .heads = problem->G == 0 ? 1 : problem->H / problem->G,
                   .memory = cotangent == GKA_OF_O ? layer_memory : solve_memory,
                   .body = gradient_group};
    gka_run_zero(problem, gka_of_outputs(cotangent), out);
    gka_run_zero(problem, gka_of_outputs(cotangent), lo);
    return run_alone(&run, error);
}
