/* hessian.c - the Hessian of S = <c, y> times a direction: NUMERICS 2 differentiated once more, in
 * binary64.
 *
 * y is x or o, c its cotangent; <dh_final, H_T> and <du_final, U_T> belong to S where they are
 * given. S is a function of z = (q, k, v, alpha, g, c), its gradient by them is (dq, dk, dv,
 * dalpha, dg, y), and a letter with 1 is the derivative along the direction z1:
 *
 *   H1_t = gamma (H1_(t-1) + g1 H_(t-1)) + k1 k^T + k k1^T       U1_t likewise, with k1 v^T + k
 * v1^T f1   = <H, H1>/f;  lambda1 = a f1 x1   = M^-1 (q1 - (H1 + lambda1 I) x),  M = H + lambda I
 *   dq'1 = s (U1 do + U c1);  dx1 = alpha1 dq' + alpha dq'1      (y = x: dx1 = c1)
 *   p1   = M^-1 (dx1 - (H1 + lambda1 I) p)
 *   q'1  = q1 + alpha1 (x - q) + alpha (x1 - q1);  o1 = s (U1^T q' + U^T q'1)
 *   w    = a <p,x>/f;  w1 = a (<p1,x> + <p,x1>)/f - w f1/f
 *   A_t  = -p x^T - w H + gamma_(t+1) A_(t+1);  E_t = s q' do^T + gamma_(t+1) E_(t+1)
 *   A1_t = -p1 x^T - p x1^T - w1 H - w H1 + gamma_(t+1) (A1_(t+1) + g1_(t+1) A_(t+1));  E1_t
 * likewise dq1  = -alpha1 dq' + (1 - alpha) dq'1 + p1 dk1  = (A1 + A1^T) k + (A + A^T) k1 + E1 v +
 * E v1;  dv1 = E1^T k + E^T k1 dalpha1 = <dq'1, x - q> + <dq', x1 - q1> dg1  = <gamma (A1 + g1 A),
 * H_(t-1)> + <gamma A, H1_(t-1)> + the same of E and U
 *
 * H is symmetric, so only S = A + A^T is wanted: dk = S k, <A, H> = <S, H>/2. States are kept at
 * every ceil(sqrt T)-th token and replayed from there, as in fp64.c, each with its derivative.
 */
#include "oracle/fp64.h"
#include "oracle/passes.h"

#include <math.h>
#include <string.h>

/* ---- passes over a state and its derivative ------------------------------------------------ */

/* A token: H [2,D,D] holds H and H1, from the state before. square[0] = ||H||^2, square[1] =
 * <H, H1>. */
GKA_WIDE static void advance_H(int64_t D, double gamma, double g1, const double *restrict k,
                               const double *restrict k1, const double *restrict before,
                               double *restrict H, double square[2]) {
    double s[GKA_LANES] = {0}, s1[GKA_LANES] = {0};
    const double *const before1 = before + D * D;
    double *const H1 = H + D * D;
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++) {
            const int64_t ij = i * D + j;
            H[ij] = gamma * before[ij] + k[i] * k[j];
            H1[ij] = gamma * (before1[ij] + g1 * before[ij]) + (k1[i] * k[j] + k[i] * k1[j]);
        }
    int64_t i = 0;
    for (; i + GKA_LANES <= D * D; i += GKA_LANES)
        for (int l = 0; l < GKA_LANES; l++) {
            s[l] += H[i + l] * H[i + l];
            s1[l] += H[i + l] * H1[i + l];
        }
    for (; i < D * D; i++) {
        s[i % GKA_LANES] += H[i] * H[i];
        s1[i % GKA_LANES] += H[i] * H1[i];
    }
    square[0] = gka_lanes_sum(s);
    square[1] = gka_lanes_sum(s1);
}

GKA_WIDE static void advance_U(int64_t D, int64_t V, double gamma, double g1,
                               const double *restrict k, const double *restrict k1,
                               const double *restrict v, const double *restrict v1,
                               const double *restrict before, double *restrict U) {
    const double *const before1 = before + D * V;
    double *const U1 = U + D * V;
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < V; j++) {
            const int64_t ij = i * V + j;
            U[ij] = gamma * before[ij] + k[i] * v[j];
            U1[ij] = gamma * (before1[ij] + g1 * before[ij]) + (k1[i] * v[j] + k[i] * v1[j]);
        }
}

/* S [2,D,D] holds S and S1: S -= p x^T + x p^T + 2 w H, S1 with it. */
GKA_WIDE static void add_solve(int64_t D, const double *restrict x, const double *restrict x1,
                               const double *restrict p, const double *restrict p1, double w,
                               double w1, const double *restrict H, double *restrict S) {
    const double *const H1 = H + D * D;
    double *const S1 = S + D * D;
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++) {
            const int64_t ij = i * D + j;
            S[ij] -= (p[i] * x[j] + x[i] * p[j]) + 2 * w * H[ij];
            S1[ij] -= (p1[i] * x[j] + x[i] * p1[j]) + (p[i] * x1[j] + x1[i] * p[j]) +
                      2 * (w1 * H[ij] + w * H1[ij]);
        }
}

/* M [2,m,n] holds M and M1: M1 = gamma (M1 + g1 M), M = gamma M; returns <M1, N> + <M, N1> with
 * N [2,m,n]. */
GKA_WIDE static double decay(int64_t count, double gamma, double g1, const double *restrict N,
                             double *restrict M) {
    double s[GKA_LANES] = {0};
    double *const M1 = M + count;
    const double *const N1 = N + count;
    for (int64_t i = 0; i < count; i++) {
        M1[i] = gamma * (M1[i] + g1 * M[i]);
        M[i] *= gamma;
    }
    int64_t i = 0;
    for (; i + GKA_LANES <= count; i += GKA_LANES)
        for (int l = 0; l < GKA_LANES; l++)
            s[l] += M1[i + l] * N[i + l] + M[i + l] * N1[i + l];
    for (; i < count; i++)
        s[i % GKA_LANES] += M1[i] * N[i] + M[i] * N1[i];
    return gka_lanes_sum(s);
}

/* y += M1 x + M x1 for M [2,m,n] */
static void add_product(int64_t m, int64_t n, const double *M, const double *x, const double *x1,
                        double *work, double *y) {
    gka_pass_multiply(m, n, M + m * n, x, work);
    gka_pass_add_scaled(m, 1, work, y);
    gka_pass_multiply(m, n, M, x1, work);
    gka_pass_add_scaled(m, 1, work, y);
}

/* y += M1^T x + M^T x1 for M [2,m,n] */
static void add_product_transposed(int64_t m, int64_t n, const double *M, const double *x,
                                   const double *x1, double *y) {
    gka_pass_add_transposed(m, n, M + m * n, x, y);
    gka_pass_add_transposed(m, n, M, x1, y);
}

/* ---- memory -------------------------------------------------------------------------------- */

typedef struct hessian_run {
    gka_run run; /* first: gka_run_all hands it back */
    bool layer;  /* y = o */
    const gka_direction *in;
    gka_direction *out;
} hessian_run;

/* One worker's. A state is H, H1 [D,D] and U, U1 [D,V]; V = 0 for y = x. */
typedef struct space {
    int64_t V, length, size; /* length: tokens from mark to mark; size of a state */
    gka_fp64_factor M;
    double *marks, *states; /* ceil(T/length) and length + 1 states */
    gka_fp64_token *tokens; /* of the states but the first */
    double *f1;             /* of the same tokens */
    double *S, *E;          /* [2,D,D], [2,D,V] */
    double *q, *k, *v, *c, *q1, *k1, *v1, *c1;
    double *xp, *xp1; /* x then p; x1 then p1 */
    double *mixed, *mixed1, *dq, *dq1, *dk1, *dv1, *work;
} space;

static space *layout(gka_arena *block, const gka_problem *problem, int64_t V) {
    const int64_t D = problem->D, longest = gka_problem_longest(problem), wide = D > V ? D : V;
    space *const in_place = gka_take(block, 1, sizeof *in_place);
    space w = {.V = V, .length = gka_mark_spacing(problem), .size = 2 * D * (D + V)};
    w.M = gka_fp64_factor_take(block, D);
    w.marks = gka_take_reals(block, (longest + w.length - 1) / w.length * w.size);
    w.states = gka_take_reals(block, (w.length + 1) * w.size);
    w.tokens = gka_take(block, w.length, sizeof *w.tokens);
    w.f1 = gka_take_reals(block, w.length);
    w.S = gka_take_reals(block, 2 * D * D);
    w.E = gka_take_reals(block, 2 * D * V);
    double **const vectors[] = {&w.q,  &w.k,     &w.v,      &w.c,   &w.q1,  &w.k1,  &w.v1,  &w.c1,
                                &w.dq, &w.mixed, &w.mixed1, &w.dq1, &w.dk1, &w.dv1, &w.work};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        *vectors[i] = gka_take_reals(block, wide);
    w.xp = gka_take_reals(block, 2 * D);
    w.xp1 = gka_take_reals(block, 2 * D);
    if (in_place != NULL)
        *in_place = w;
    return in_place;
}

static void *memory(const gka_run *run) {
    const int64_t V = ((const hessian_run *)(const void *)run)->layer ? run->problem->V : 0;
    gka_arena block = {0};
    layout(&block, run->problem, V);
    block = (gka_arena){.base = gka_alloc(block.used, 1)};
    return block.base == NULL ? NULL : layout(&block, run->problem, V);
}

/* ---- rows of the direction and of the product ---------------------------------------------- */

/* Row number i, of n numbers; 0 where the direction has no such part. */
static void get(const double *array, int64_t i, int64_t n, double *out) {
    if (array != NULL)
        memcpy(out, array + i * n, (size_t)n * sizeof *out);
    else
        memset(out, 0, (size_t)n * sizeof *out);
}

static double get_one(const double *array, int64_t i) {
    return array == NULL ? 0 : array[i];
}

static void put(double *array, int64_t i, int64_t n, const double *row) {
    if (array != NULL)
        memcpy(array + i * n, row, (size_t)n * sizeof *row);
}

/* The query heads of a group in turn: the first stores, the others add. */
static void put_or_add(bool first, double *array, int64_t i, int64_t n, const double *row) {
    if (first)
        put(array, i, n, row);
    else if (array != NULL)
        gka_pass_add_scaled(n, 1, row, array + i * n);
}

/* ---- one token ----------------------------------------------------------------------------- */

/* k, k1, v, v1 of the token; the state `from` goes on to `to`; f, lambda and f1. */
static gka_status next_state(const hessian_run *r, gka_fp64_token *at, space *w, const double *from,
                             double *to, double *f1, gka_error *error) {
    const gka_problem *const problem = r->run.problem;
    const int64_t D = problem->D, V = w->V, row = gka_at_group(problem, at->b, at->t, at->h);
    const double g1 = get_one(r->in->g, gka_at(problem, at->b, at->t, at->h));
    double square[2];
    gka_fp64_arrive(problem, at, w->k);
    get(r->in->k, row, D, w->k1);
    advance_H(D, at->gamma, g1, w->k, w->k1, from, to, square);
    if (V > 0) {
        gka_problem_v(problem, at->b, at->t, at->h, w->v);
        get(r->in->v, row, V, w->v1);
        advance_U(D, V, at->gamma, g1, w->k, w->k1, w->v, w->v1, from + 2 * D * D, to + 2 * D * D);
    }
    const gka_status status = gka_fp64_norm(problem, at, square[0], error);
    *f1 = status == GKA_OK && !at->empty ? square[1] / at->f : 0;
    return status;
}

/* b - (H1 + lambda1 I) x for b in place */
static void subtract_moved(int64_t D, const double *H1, double lambda1, const double *x,
                           double *work, double *b) {
    gka_pass_multiply(D, D, H1, x, work);
    for (int64_t i = 0; i < D; i++)
        b[i] -= work[i] + lambda1 * x[i];
}

/* x p x1 p1, q' and q'1, dq' and dq'1 at the state H, U (each with its derivative). */
static gka_status solve(const hessian_run *r, const gka_fp64_token *at, double f1, space *w,
                        const double *H, const double *U, gka_error *error) {
    const gka_problem *const problem = r->run.problem;
    const int64_t D = problem->D, V = w->V, i = gka_at(problem, at->b, at->t, at->h);
    const double alpha = gka_problem_alpha(problem, at->b, at->t, at->h), s = problem->scale,
                 alpha1 = get_one(r->in->alpha, i), lambda1 = problem->ridge_ratio * f1;
    double *const x = w->xp, *const p = x + D, *const x1 = w->xp1, *const p1 = x1 + D;
    gka_problem_q(problem, at->b, at->t, at->h, w->q);
    get(r->in->q, i, D, w->q1);
    memcpy(x, w->q, (size_t)D * sizeof *x);
    memcpy(x1, w->q1, (size_t)D * sizeof *x1);
    if (r->layer) {
        gka_problem_dout(problem, at->b, at->t, at->h, w->c);
        get(r->in->c, i, V, w->c1);
        gka_pass_multiply(D, V, U, w->c, w->dq);
        memset(w->dq1, 0, (size_t)D * sizeof *w->dq1);
        add_product(D, V, U, w->c, w->c1, w->work, w->dq1);
        for (int64_t j = 0; j < D; j++) {
            w->dq[j] *= s;
            w->dq1[j] *= s;
            p[j] = alpha * w->dq[j];
            p1[j] = alpha1 * w->dq[j] + alpha * w->dq1[j];
        }
    } else {
        gka_problem_dx(problem, at->b, at->t, at->h, p);
        get(r->in->c, i, D, p1);
    }
    const gka_status status = gka_fp64_factorise(problem, at, H, &w->M, error);
    if (status != GKA_OK)
        return status;
    gka_fp64_substitute(problem, at, &w->M, 2, w->xp);
    subtract_moved(D, H + D * D, lambda1, x, w->work, x1);
    subtract_moved(D, H + D * D, lambda1, p, w->work, p1);
    gka_fp64_substitute(problem, at, &w->M, 2, w->xp1);
    for (int64_t j = 0; j < D; j++) {
        w->mixed[j] = alpha * x[j] + (1 - alpha) * w->q[j];
        w->mixed1[j] = alpha * x1[j] + (1 - alpha) * w->q1[j] + alpha1 * (x[j] - w->q[j]);
    }
    return GKA_OK;
}

/* What the token itself gives: slots c, q and alpha of the product. */
static void put_token(const hessian_run *r, const gka_fp64_token *at, space *w, const double *U) {
    const gka_problem *const problem = r->run.problem;
    const int64_t D = problem->D, V = w->V, i = gka_at(problem, at->b, at->t, at->h);
    const double *const x = w->xp, *const x1 = w->xp1, *const p1 = x1 + D;
    if (!r->layer) {
        put(r->out->c, i, D, x1);
        put(r->out->q, i, D, p1);
        return;
    }
    const double alpha = gka_problem_alpha(problem, at->b, at->t, at->h),
                 alpha1 = get_one(r->in->alpha, i);
    memset(w->work, 0, (size_t)V * sizeof *w->work);
    add_product_transposed(D, V, U, w->mixed, w->mixed1, w->work);
    gka_pass_scale(V, problem->scale, w->work);
    put(r->out->c, i, V, w->work);
    double dalpha1 = 0;
    for (int64_t j = 0; j < D; j++) {
        dalpha1 += w->dq1[j] * (x[j] - w->q[j]) + w->dq[j] * (x1[j] - w->q1[j]);
        w->work[j] = (1 - alpha) * w->dq1[j] - alpha1 * w->dq[j] + p1[j];
    }
    put(r->out->q, i, D, w->work);
    if (r->out->alpha != NULL)
        r->out->alpha[i] = dalpha1;
}

/* One token of the reverse, from the state `before` to `after`: S, E hold gamma_(t+1) times those
 * of the next token before it and gamma_t times its own after it. */
static gka_status reverse_token(const hessian_run *r, const gka_fp64_token *at, double f1,
                                bool first, const double *before, const double *after, space *w,
                                gka_error *error) {
    const gka_problem *const problem = r->run.problem;
    const int64_t D = problem->D, V = w->V, DD = D * D, i = gka_at(problem, at->b, at->t, at->h),
                  row = gka_at_group(problem, at->b, at->t, at->h);
    const double *const U = after + 2 * DD, *const x = w->xp, *const p = x + D, *const x1 = w->xp1,
                        *const p1 = x1 + D;
    gka_status status = solve(r, at, f1, w, after, U, error);
    if (status == GKA_OK)
        status = gka_fp64_terms(at, D, p, x, error);
    if (status != GKA_OK)
        return status;
    put_token(r, at, w, U);
    const double over_f = at->empty ? 0 : 1 / at->f, a = problem->ridge_ratio;
    const double ridge = a * gka_pass_dot(D, p, x) * over_f;
    const double ridge1 =
        a * (gka_pass_dot(D, p1, x) + gka_pass_dot(D, p, x1)) * over_f - ridge * f1 * over_f;
    add_solve(D, x, x1, p, p1, ridge, ridge1, after, w->S);
    gka_problem_k(problem, at->b, at->t, at->h, w->k);
    get(r->in->k, row, D, w->k1);
    memset(w->dk1, 0, (size_t)D * sizeof *w->dk1);
    add_product(D, D, w->S, w->k, w->k1, w->work, w->dk1);
    const double g1 = get_one(r->in->g, i);
    double dg1 = 0.5 * decay(DD, at->gamma, g1, before, w->S);
    if (V > 0) {
        double *const E1 = w->E + D * V;
        gka_problem_v(problem, at->b, at->t, at->h, w->v);
        get(r->in->v, row, V, w->v1);
        gka_pass_add_outer(D, V, problem->scale, w->mixed, w->c, w->E);
        gka_pass_add_outer(D, V, problem->scale, w->mixed1, w->c, E1);
        gka_pass_add_outer(D, V, problem->scale, w->mixed, w->c1, E1);
        add_product(D, V, w->E, w->v, w->v1, w->work, w->dk1);
        memset(w->dv1, 0, (size_t)V * sizeof *w->dv1);
        add_product_transposed(D, V, w->E, w->k, w->k1, w->dv1);
        dg1 += decay(D * V, at->gamma, g1, before + 2 * DD, w->E);
        put_or_add(first, r->out->v, row, V, w->dv1);
    }
    put_or_add(first, r->out->k, row, D, w->dk1);
    if (r->out->g != NULL)
        r->out->g[i] = dg1;
    return GKA_OK;
}

/* ---- one head ------------------------------------------------------------------------------ */

/* The state before every length-th token, to w->marks. */
static gka_status mark_states(const hessian_run *r, gka_fp64_token at, space *w, gka_error *error) {
    const gka_problem *const problem = r->run.problem;
    const int64_t D = problem->D;
    const gka_span span = gka_problem_span(problem, at.n);
    double *now = w->states, *next = now + w->size, f1;
    memset(now, 0, (size_t)w->size * sizeof *now);
    gka_fp64_first_state(problem, &at, w->V, now, now + 2 * D * D);
    for (at.t = span.begin; at.t < span.end; at.t++) {
        const int64_t done = at.t - span.begin;
        if (done % w->length == 0)
            put(w->marks, done / w->length, w->size, now);
        if (gka_stopped())
            return GKA_INTERRUPTED;
        const gka_status status = next_state(r, &at, w, now, next, &f1, error);
        if (status != GKA_OK)
            return status;
        double *const swap = now;
        now = next;
        next = swap;
    }
    return GKA_OK;
}

/* The tokens from a mark on, forwards to w->states, then backwards. */
static gka_status reverse_mark(hessian_run *r, gka_fp64_token at, int64_t mark, int64_t count,
                               bool first, space *w, gka_error *error) {
    gka_status status = GKA_OK;
    get(w->marks, mark, w->size, w->states);
    at.empty = true;
    for (int64_t j = 0; j < r->run.problem->D * r->run.problem->D; j++)
        at.empty = at.empty && w->states[j] == 0;
    for (int64_t i = 0; status == GKA_OK && i < count; i++, at.t++) {
        double *const from = w->states + i * w->size;
        status = next_state(r, &at, w, from, from + w->size, &w->f1[i], error);
        w->tokens[i] = at;
    }
    for (int64_t i = count - 1; status == GKA_OK && i >= 0; i--) {
        const double *const before = w->states + i * w->size;
        status =
            reverse_token(r, &w->tokens[i], w->f1[i], first, before, before + w->size, w, error);
        if (status == GKA_OK && !gka_run_solved(&r->run, at.n, at.h, w->tokens[i].empty))
            status = GKA_INTERRUPTED;
    }
    return status;
}

static gka_status reverse_head(hessian_run *r, int64_t n, int64_t h, bool first, space *w,
                               gka_error *error) {
    const gka_problem *const problem = r->run.problem;
    const int64_t D = problem->D;
    const gka_span span = gka_problem_span(problem, n);
    gka_fp64_token at = {.n = n, .h = h, .b = span.b};
    const int64_t marks = (span.end - span.begin + w->length - 1) / w->length;
    gka_status status = mark_states(r, at, w, error);
    memset(w->S, 0, (size_t)(2 * D * D) * sizeof *w->S);
    memset(w->E, 0, (size_t)(2 * D * w->V) * sizeof *w->E);
    gka_problem_dh_final(problem, n, h, w->S);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j <= i; j++)
            w->S[i * D + j] = w->S[j * D + i] = w->S[i * D + j] + w->S[j * D + i];
    if (w->V > 0)
        gka_problem_du_final(problem, n, h, w->E);
    for (int64_t mark = marks - 1; status == GKA_OK && mark >= 0; mark--) {
        at.t = span.begin + mark * w->length;
        const int64_t left = span.end - at.t;
        status = reverse_mark(r, at, mark, left < w->length ? left : w->length, first, w, error);
    }
    return status;
}

/* The query heads of a group in turn: they add to the same rows of k and v. */
static gka_status group(gka_run *run, int64_t n, int64_t h, void *space_of_worker,
                        gka_error *error) {
    hessian_run *const r = (hessian_run *)(void *)run;
    gka_status status = GKA_OK;
    for (int64_t i = 0; status == GKA_OK && i < run->heads; i++)
        status = reverse_head(r, n, h + i, i == 0, space_of_worker, error);
    return status;
}

gka_status gka_fp64_hessian(const gka_problem *problem, gka_of cotangent,
                            const gka_oracle_options *options, const gka_direction *direction,
                            gka_direction *product, gka_oracle_report *report, gka_error *error) {
    const gka_outputs nothing = {0};
    hessian_run r = {.run = {.problem = problem,
                             .options = options,
                             .out = &nothing,
                             .lo = &nothing,
                             .report = report,
                             .heads = problem->G == 0 ? 1 : problem->H / problem->G,
                             .memory = memory,
                             .body = group},
                     .layer = cotangent == GKA_OF_O,
                     .in = direction,
                     .out = product};
    gka_blas_alone_begin();
    const gka_status status = gka_run_all(&r.run, error);
    gka_blas_alone_end();
    return status;
}
