/* certified_gradient.c - NUMERICS 2 in double-double.
 *
 *   H U      the state, panels of double-doubles     x p    (H + lambda I)^-1 of q and of dx
 *   A E      of NUMERICS 2                           y      q' = q + alpha (x - q)
 *   gamma    exp(g), f = ||H||_F, lambda = a f       dq     dq', then dq
 *
 * Each sum has one order fixed in the source, so the bytes depend on neither the instruction set
 * nor the threads. No bound is proven; the error is a few hundred kappa u^2 (test: unit/certified).
 *
 * Memory per thread, with n and m for D and V rounded up to multiples of 8: the states at every
 * L-th token and L + 2 states from one of them on, L = ceil(sqrt T), 16 n (n + m) bytes each, that
 * is about 32 sqrt(T) n (n + m) bytes: 34 MB for T = 1024, D = V = 128. A and E besides, and 16 T
 * (n + m) bytes for dk and dv.
 */
#include "oracle/certified.h"

#include "oracle/dd_exp.h"
#include "oracle/kernels.h"
#include "oracle/run.h"

#include <math.h>
#include <string.h>

enum { MOST_REFINEMENTS = 12 };

/* A vector of double-doubles in two arrays. */
typedef struct vector {
    double *hi, *lo;
} vector;

typedef struct gradient_state {
    double *H, *U, *norm_h, *norm_u, *f; /* f[0], f[1]: the words of f */
} gradient_state;

typedef struct space {
    int64_t D, V, n, m, length, size; /* size: doubles of one state */
    const gka_kernels *kernels;
    double *marks, *states; /* kept states; length + 1 states from one of them on */
    double *spare;          /* one state */
    double *A, *E, *R, *inverse, *r, *q, *k, *v, *dout, *zero, *row;
    vector x, p, y, dq, dx, t; /* [n] */
    vector u;                  /* [m] */
    vector dk, dv;             /* [T,n], [T,m]: sums over the heads of a group */
    double alpha;
    dd gamma;
    dd f;      /* as given, or the state's own */
    dd excess; /* of dg, where f is given: gka/oracle.h */
} space;

/* ---- memory -------------------------------------------------------------------------------- */

static double *take(double *block, int64_t *used, int64_t count) {
    double *const piece = block == NULL ? NULL : block + *used;
    *used += gka_panel_size(count);
    return piece;
}

static int64_t longest_span(const gka_problem *problem) {
    int64_t longest = 0;
    for (int64_t n = 0; n < problem->N; n++) {
        const gka_span span = gka_problem_span(problem, n);
        longest = span.end - span.begin > longest ? span.end - span.begin : longest;
    }
    return longest;
}

/* Returns how many doubles it took; T: tokens between two kept rows of states and of dk, dv. */
static int64_t layout(double *block, const gka_problem *problem, int64_t T, bool layer, space *w) {
    const int64_t D = problem->D, V = layer ? problem->V : 0;
    const int64_t n = gka_panel_size(D), m = gka_panel_size(V), wide = n > m ? n : m;
    int64_t used = 0, length = 1;
    while (length * length < T)
        length++;
    *w = (space){.D = D, .V = V, .n = n, .m = m, .length = length, .kernels = gka_kernels_best()};
    w->size = 2 * n * (n + m) + n + m + 8;
    w->marks = take(block, &used, (T + length - 1) / length * w->size);
    w->states = take(block, &used, (length + 1) * w->size);
    w->spare = take(block, &used, w->size);
    w->A = take(block, &used, 2 * n * n);
    w->E = take(block, &used, 2 * n * m);
    w->R = take(block, &used, n * n);
    double **const rows[] = {&w->inverse, &w->r, &w->q, &w->k, &w->v, &w->dout, &w->zero};
    for (int i = 0; i < 7; i++)
        *rows[i] = take(block, &used, wide);
    vector *const vectors[] = {&w->x, &w->p, &w->y, &w->dq, &w->dx, &w->t, &w->u};
    for (int i = 0; i < 7; i++) {
        vectors[i]->hi = take(block, &used, wide);
        vectors[i]->lo = take(block, &used, wide);
    }
    w->dk = (vector){take(block, &used, T * n), NULL};
    w->dk.lo = take(block, &used, T * n);
    w->dv = (vector){take(block, &used, T * m), NULL};
    w->dv.lo = take(block, &used, T * m);
    w->row = take(block, &used, D * (D > V ? D : V));
    return used;
}

static void *new_memory(const gka_run *run, bool layer) {
    space measure;
    const gka_oracle_window *const window = run->options->window;
    const int64_t longest = longest_span(run->problem),
                  T = window != NULL && window->tokens < longest ? window->tokens : longest;
    const int64_t header = gka_panel_size((int64_t)(sizeof(space) + 7) / 8);
    const int64_t size = layout(NULL, run->problem, T, layer, &measure);
    double *const block = gka_alloc((size_t)(header + size), sizeof *block);
    if (block != NULL)
        layout(block + header, run->problem, T, layer, (space *)(void *)block);
    return block;
}

static void *layer_memory(const gka_run *run) {
    return new_memory(run, true);
}

static void *solve_memory(const gka_run *run) {
    return new_memory(run, false);
}

static gradient_state state_at(const space *w, double *base) {
    gradient_state s = {.H = base};
    s.U = s.H + 2 * w->n * w->n;
    s.norm_h = s.U + 2 * w->n * w->m;
    s.norm_u = s.norm_h + w->n;
    s.f = s.norm_u + w->m;
    return s;
}

/* ---- vectors ------------------------------------------------------------------------------- */

static dd at(vector x, int64_t i) {
    return (dd){x.hi[i], x.lo[i]};
}

static void set(vector x, int64_t i, dd value) {
    x.hi[i] = value.hi;
    x.lo[i] = value.lo;
}

/* y += x */
static void add(int64_t n, vector x, double *hi, double *lo) {
    for (int64_t i = 0; i < n; i++) {
        const dd sum = dd_add((dd){hi[i], lo[i]}, at(x, i));
        hi[i] = sum.hi;
        lo[i] = sum.lo;
    }
}

static dd dot(int64_t n, vector x, vector y) {
    dd sum = {0, 0};
    for (int64_t i = 0; i < n; i++)
        sum = dd_add(sum, dd_mul(at(x, i), at(y, i)));
    return sum;
}

/* ---- results ------------------------------------------------------------------------------- */

static void put(int64_t count, const double *x, const double *x_lo, double *out, double *lo,
                int64_t i) {
    if (out != NULL)
        memcpy(out + i, x, (size_t)count * sizeof *x);
    if (lo != NULL)
        memcpy(lo + i, x_lo, (size_t)count * sizeof *x);
}

static void put_number(dd x, double *out, double *lo, int64_t i) {
    put(1, &x.hi, &x.lo, out, lo, i);
}

static void put_matrix(const space *w, const double *M, int64_t columns, double *out, double *lo,
                       int64_t at_) {
    for (int64_t i = 0; i < w->D; i++)
        for (int64_t j = 0; j < columns; j++) {
            const double *const entry = M + gka_panel_at(w->n, i, j);
            put(1, entry, entry + 8, out, lo, at_ + i * columns + j);
        }
}

/* ---- what is given ------------------------------------------------------------------------- */

static const gka_oracle_given *given_to(const gka_run *run) {
    static const gka_oracle_given nothing = {0};
    return run->options->given == NULL ? &nothing : run->options->given;
}

/* A row of a given tensor, padded with zeros. */
static void give_row(const space *w, const double *from, int64_t to, vector x) {
    memset(x.hi, 0, (size_t)w->n * sizeof *x.hi);
    memset(x.lo, 0, (size_t)w->n * sizeof *x.lo);
    memcpy(x.hi, from + to * w->D, (size_t)w->D * sizeof *x.hi);
}

/* ---- the state ----------------------------------------------------------------------------- */

/* H = (h + h^T)/2 */
static void set_state(const double *h, const gradient_state *s, space *w) {
    const int64_t D = w->D;
    double *const column = w->t.hi;
    memset(column, 0, (size_t)w->n * sizeof *column);
    for (int64_t j = 0; j < D; j++) {
        for (int64_t i = 0; i < D; i++) {
            const dd sum = two_sum(h[i * D + j], h[j * D + i]);
            s->H[gka_panel_at(w->n, i, j)] = column[i] = sum.hi / 2;
            s->H[gka_panel_at(w->n, i, j) + 8] = sum.lo / 2;
        }
        s->norm_h[j] = w->kernels->norm(w->n, column);
    }
}

static void first_state(const gka_problem *problem, int64_t n, int64_t h, space *w) {
    const gradient_state s = state_at(w, w->states);
    const int64_t D = w->D, V = w->V;
    double *const column = w->t.hi;
    memset(w->states, 0, (size_t)w->size * sizeof *w->states);
    memset(column, 0, (size_t)w->n * sizeof *column);
    gka_problem_h0(problem, n, h, w->row);
    set_state(w->row, &s, w);
    if (V == 0)
        return;
    gka_problem_u0(problem, n, h, w->row);
    for (int64_t j = 0; j < V; j++) {
        for (int64_t i = 0; i < D; i++)
            s.U[gka_panel_at(w->n, i, j)] = column[i] = w->row[i * V + j];
        s.norm_u[j] = w->kernels->norm(w->n, column);
    }
}

static void read_token(const gka_problem *problem, int64_t b, int64_t t, int64_t h, space *w) {
    double error;
    gka_problem_q(problem, b, t, h, w->q);
    gka_problem_k(problem, b, t, h, w->k);
    if (w->V > 0)
        gka_problem_v(problem, b, t, h, w->v);
    w->alpha = w->V > 0 ? gka_problem_alpha(problem, b, t, h) : 1;
    w->gamma = gka_dd_exp(gka_problem_g(problem, b, t, h), &error);
}

/* H before token t as it is given: where a chunk begins. NULL: it is not. */
static const double *given_state(const gka_run *run, int64_t n, int64_t t, int64_t h) {
    const double *const states = given_to(run)->h_chunk;
    const int64_t number = states == NULL ? -1 : gka_at_chunk(run->problem, n, t, h);
    return number < 0 ? NULL : states + number * run->problem->D * run->problem->D;
}

/* The state after the token that was read, from the one before it, of which H may be given; the two
 * may be one. */
static void next_state(space *w, double *before, const double *given, double *after) {
    const gradient_state s = state_at(w, after);
    const double k_norm = w->kernels->norm(w->n, w->k);
    double error;
    if (w->gamma.hi == 0)
        memset(after, 0, (size_t)w->size * sizeof *after);
    else if (after != before)
        memcpy(after, before, (size_t)w->size * sizeof *after);
    if (w->gamma.hi != 0 && given != NULL)
        set_state(given, &s, w);
    const dd f = dd_sqrt(w->kernels->update_h(w->n, w->gamma, w->k, k_norm, s.norm_h, s.H, &error));
    s.f[0] = f.hi;
    s.f[1] = f.lo;
    if (w->V > 0)
        w->kernels->update_u(w->n, w->m, w->gamma, w->k, k_norm, w->v, s.norm_u, s.U);
}

/* ---- the solve ----------------------------------------------------------------------------- */

/* x = (H + lambda I)^-1 b by refinement with the factor in w->R. Each step solves for what is left,
 * r = b.hi - (H + lambda) x + b.lo. False: it does not contract. */
static bool solve(space *w, const gradient_state *s, dd lambda, vector b, vector x) {
    const gka_kernels *const K = w->kernels;
    double x_norm, left = INFINITY;
    const double start = K->norm(w->n, b.hi);
    memset(x.hi, 0, (size_t)w->n * sizeof *x.hi);
    memset(x.lo, 0, (size_t)w->n * sizeof *x.lo);
    for (int i = 0; i < MOST_REFINEMENTS; i++) {
        const double before = left;
        K->residual(w->n, s->H, s->norm_h, lambda, b.hi, x.hi, x.lo, w->r, &x_norm);
        for (int64_t j = 0; j < w->n; j++)
            w->r[j] += b.lo[j];
        left = K->norm(w->n, w->r);
        if (!(left < before / 2))
            break;
        K->solve(w->n, w->R, w->inverse, w->r, w->r);
        K->correct(w->n, w->r, x.hi, x.lo);
    }
    return left <= 0x1p-60 * start + 0x1p-490; /* norms are at least 2^-500 */
}

/* x of q and p of dx, but where given; what is not is 0 in an empty state. */
static bool solve_both(const gka_run *run, const gradient_state *s, int64_t to, space *w) {
    const gka_oracle_given *const given = given_to(run);
    const double *const from[2] = {given->x, given->p};
    const vector unknown[2] = {w->x, w->p}, right[2] = {{w->q, w->zero}, w->dx};
    const dd lambda = dd_mul_d(w->f, run->problem->ridge_ratio);
    bool factored = false;
    for (int i = 0; i < 2; i++) {
        if (from[i] != NULL) {
            give_row(w, from[i], to, unknown[i]);
        } else if (w->f.hi == 0) {
            memset(unknown[i].hi, 0, (size_t)w->n * sizeof(double));
            memset(unknown[i].lo, 0, (size_t)w->n * sizeof(double));
        } else {
            if (!factored && !w->kernels->factor(w->n, s->H, lambda.hi, w->R, w->inverse))
                return false;
            factored = true;
            if (!solve(w, s, lambda, right[i], unknown[i]))
                return false;
        }
    }
    return true;
}

/* ---- one token in reverse ------------------------------------------------------------------ */

/* dq' = s U do, or dx itself; dx = alpha dq' */
static void cotangents(const gka_problem *problem, int64_t b, int64_t t, int64_t h,
                       const gradient_state *s, space *w) {
    if (w->V > 0) {
        gka_problem_dout(problem, b, t, h, w->dout);
        w->kernels->rows(w->n, w->m, s->U, w->dout, w->zero, w->dq.hi, w->dq.lo);
        for (int64_t i = 0; i < w->D; i++)
            set(w->dq, i, dd_mul_d(at(w->dq, i), problem->scale));
    } else {
        gka_problem_dx(problem, b, t, h, w->dq.hi);
        memset(w->dq.lo, 0, (size_t)w->n * sizeof *w->dq.lo);
    }
    for (int64_t i = 0; i < w->D; i++)
        set(w->dx, i, dd_mul_d(at(w->dq, i), w->alpha));
}

/* A = -p x^T - a <p,x>/f H + A,  E = s q' do^T + E */
static void suffix(const gka_problem *problem, const gradient_state *s, space *w) {
    const gka_kernels *const K = w->kernels;
    const dd one = {1, 0};
    for (int64_t i = 0; i < w->D; i++)
        set(w->t, i, dd_neg(at(w->p, i)));
    K->rank_one(w->n, w->n, one, w->t.hi, w->t.lo, w->x.hi, w->x.lo, w->A);
    if (w->f.hi != 0) {
        const dd px = dd_mul_d(dot(w->D, w->p, w->x), -problem->ridge_ratio);
        const dd weight = dd_div(px, w->f), own = {s->f[0], s->f[1]};
        K->add_scaled(w->n, w->n, weight, s->H, w->A);
        w->excess =
            dd_add(w->excess, dd_mul(weight, dd_add(dd_mul(w->f, w->f), dd_neg(dd_mul(own, own)))));
    }
    if (w->V == 0)
        return;
    K->mix(w->n, w->alpha, w->q, w->x.hi, w->x.lo, w->y.hi, w->y.lo);
    for (int64_t i = 0; i < w->D; i++)
        set(w->t, i, dd_mul_d(at(w->y, i), problem->scale));
    K->rank_one(w->n, w->m, one, w->t.hi, w->t.lo, w->dout, w->zero, w->E);
}

/* dk += (A + A^T) k + E v,  dv += E^T k */
static void keys_and_values(space *w, int64_t i) {
    const gka_kernels *const K = w->kernels;
    double *const dk = w->dk.hi + i * w->n, *const dk_lo = w->dk.lo + i * w->n;
    K->columns(w->n, w->n, w->A, w->k, w->zero, w->t.hi, w->t.lo);
    add(w->D, w->t, dk, dk_lo);
    K->rows(w->n, w->n, w->A, w->k, w->zero, w->t.hi, w->t.lo);
    add(w->D, w->t, dk, dk_lo);
    if (w->V == 0)
        return;
    K->rows(w->n, w->m, w->E, w->v, w->zero, w->t.hi, w->t.lo);
    add(w->D, w->t, dk, dk_lo);
    K->columns(w->n, w->m, w->E, w->k, w->zero, w->u.hi, w->u.lo);
    add(w->V, w->u, w->dv.hi + i * w->m, w->dv.lo + i * w->m);
}

/* dg = gamma (<A, H_{t-1}> + <E, U_{t-1}>); A <- gamma A, E <- gamma E */
static void gate(const gka_run *run, const gradient_state *before, int64_t to, space *w) {
    const gka_exact *const out = run->out, *const lo = run->lo;
    const gka_kernels *const K = w->kernels;
    dd dg_h = dd_mul(w->gamma, K->inner(w->n, w->n, w->A, before->H));
    if (given_to(run)->fro != NULL && w->gamma.hi != 0)
        dg_h = dd_add(dg_h, w->excess);
    const dd dg_u = dd_mul(w->gamma, K->inner(w->n, w->m, w->E, before->U));
    put_number(dg_h, out->dg_h, lo->dg_h, to);
    put_number(dg_u, out->dg_u, lo->dg_u, to);
    put_number(dd_add(dg_h, dg_u), out->dg, lo->dg, to);
    K->rank_one(w->n, w->n, w->gamma, w->zero, w->zero, w->zero, w->zero, w->A);
    K->rank_one(w->n, w->m, w->gamma, w->zero, w->zero, w->zero, w->zero, w->E);
}

/* dalpha = <dq', x - q>,  dq = (1 - alpha) dq' + p */
static void query(const gka_run *run, int64_t to, space *w) {
    const gka_exact *const out = run->out, *const lo = run->lo;
    const dd rest = two_sum(1, -w->alpha);
    for (int64_t i = 0; i < w->D; i++)
        set(w->t, i, dd_add_d(at(w->x, i), -w->q[i]));
    put_number(w->V > 0 ? dot(w->D, w->dq, w->t) : (dd){0, 0}, out->dalpha, lo->dalpha, to);
    for (int64_t i = 0; i < w->D; i++)
        set(w->t, i, dd_add(dd_mul(at(w->dq, i), rest), at(w->p, i)));
    put(w->D, w->t.hi, w->t.lo, out->dq, lo->dq, to * w->D);
}

/* x, f, and o = s U^T q' (suffix has left q' in y). */
static void forward(const gka_run *run, const gradient_state *s, int64_t to, space *w) {
    const gka_exact *const out = run->out, *const lo = run->lo;
    put(w->D, w->x.hi, w->x.lo, out->x, lo->x, to * w->D);
    put_number(w->f, out->fro, lo->fro, to);
    if (w->V == 0)
        return;
    w->kernels->columns(w->n, w->m, s->U, w->y.hi, w->y.lo, w->u.hi, w->u.lo);
    for (int64_t j = 0; j < w->V; j++)
        set(w->u, j, dd_mul_d(at(w->u, j), run->problem->scale));
    put(w->V, w->u.hi, w->u.lo, out->o, lo->o, to * w->V);
}

static gka_status fail_at(gka_error *error, int64_t n, int64_t t, int64_t h) {
    return gka_fail(error, GKA_NO_CERTIFICATE,
                    "certified oracle: sequence %lld, token %lld, head %lld: H + lambda I is not "
                    "positive definite and well enough conditioned for a binary64 factor",
                    (long long)n, (long long)t, (long long)h);
}

/* ---- one head, one group ------------------------------------------------------------------- */

/* A and E after the last token. */
static void last_cotangents(const gka_problem *problem, int64_t n, int64_t h, space *w) {
    memset(w->A, 0, (size_t)(2 * w->n * w->n) * sizeof *w->A);
    memset(w->E, 0, (size_t)(2 * w->n * w->m) * sizeof *w->E);
    gka_problem_dh_final(problem, n, h, w->row);
    for (int64_t i = 0; i < w->D * w->D; i++)
        w->A[gka_panel_at(w->n, i / w->D, i % w->D)] = w->row[i];
    if (w->V == 0)
        return;
    gka_problem_du_final(problem, n, h, w->row);
    for (int64_t i = 0; i < w->D * w->V; i++)
        w->E[gka_panel_at(w->n, i / w->V, i % w->V)] = w->row[i];
}

/* The state before token t, whose H may be given: then beside the others, for the token before has
 * its own. */
static gradient_state state_before(const gka_run *run, int64_t n, int64_t t, int64_t h,
                                   double *base, space *w) {
    const double *const given = given_state(run, n, t, h);
    if (given == NULL)
        return state_at(w, base);
    memcpy(w->spare, base, (size_t)w->size * sizeof *base);
    const gradient_state s = state_at(w, w->spare);
    set_state(given, &s, w);
    return s;
}

/* Tokens [from, to) of a sequence in reverse, from the state before them in w->states; A and E are
 * those after them and become those before. The states that the reverse needs are kept at every
 * length-th token and replayed from there. Results of token t are those of row t - base. */
static gka_status reverse_tokens(gka_run *run, int64_t n, int64_t h, int64_t from, int64_t to_,
                                 int64_t base, space *w, gka_error *error) {
    const gka_problem *const problem = run->problem;
    const int64_t size = w->size, length = w->length;
    const size_t bytes = (size_t)size * sizeof *w->states;
    const gka_span span = gka_problem_span(problem, n);
    for (int64_t t = from; t < to_; t++) {
        if ((t - from) % length == 0)
            memcpy(w->marks + (t - from) / length * size, w->states, bytes);
        read_token(problem, span.b, t, h, w);
        next_state(w, w->states, given_state(run, n, t, h), w->states);
    }
    for (int64_t t = to_ - 1; t >= from; t--) {
        const int64_t i = t - from, m = i % length, to = gka_at(problem, span.b, t, h) - base;
        if (m == length - 1 || t == to_ - 1) {
            memcpy(w->states, w->marks + i / length * size, bytes);
            for (int64_t j = 0; j <= m; j++) {
                read_token(problem, span.b, t - m + j, h, w);
                next_state(w, w->states + j * size, given_state(run, n, t - m + j, h),
                           w->states + (j + 1) * size);
            }
        }
        if (t + 1 == span.end || (t + 1 - span.begin) % problem->chunk_size == 0)
            w->excess = (dd){0, 0};
        const gradient_state before = state_before(run, n, t, h, w->states + m * size, w);
        const gradient_state after = state_at(w, w->states + (m + 1) * size);
        read_token(problem, span.b, t, h, w);
        cotangents(problem, span.b, t, h, &after, w);
        w->f = given_to(run)->fro == NULL ? (dd){after.f[0], after.f[1]}
                                          : (dd){given_to(run)->fro[to], 0};
        if (!solve_both(run, &after, to, w))
            return fail_at(error, n, t, h);
        put(w->D, w->p.hi, w->p.lo, run->out->p, run->lo->p, to * w->D);
        suffix(problem, &after, w);
        keys_and_values(w, i);
        gate(run, &before, to, w);
        query(run, to, w);
        if (run->options->given != NULL)
            forward(run, &after, to, w);
        if (w->gamma.hi == 0)
            w->excess = (dd){0, 0};
        if (!gka_run_solved(run, n, h, after.f[0] == 0))
            return GKA_INTERRUPTED;
    }
    return GKA_OK;
}

static void put_initial(const gka_run *run, int64_t n, int64_t h, const space *w) {
    const int64_t head = n * run->problem->H + h;
    put_matrix(w, w->A, w->D, run->out->dh0, run->lo->dh0, head * w->D * w->D);
    put_matrix(w, w->E, w->V, run->out->du0, run->lo->du0, head * w->D * w->V);
}

static void clear_keys_and_values(int64_t tokens, const space *w) {
    const vector both[2] = {w->dk, w->dv};
    for (int i = 0; i < 2; i++) {
        const size_t bytes = (size_t)(tokens * (i == 0 ? w->n : w->m)) * sizeof(double);
        memset(both[i].hi, 0, bytes);
        memset(both[i].lo, 0, bytes);
    }
}

/* dk and dv of tokens [from, to); rows as in reverse_tokens. */
static void put_keys_and_values(const gka_run *run, int64_t n, int64_t h, int64_t from, int64_t to_,
                                int64_t base, const space *w) {
    const int64_t b = gka_problem_span(run->problem, n).b;
    for (int64_t t = from; t < to_; t++) {
        const int64_t i = t - from, to = gka_at_group(run->problem, b, t, h) - base;
        put(w->D, w->dk.hi + i * w->n, w->dk.lo + i * w->n, run->out->dk, run->lo->dk, to * w->D);
        put(w->V, w->dv.hi + i * w->m, w->dv.lo + i * w->m, run->out->dv, run->lo->dv, to * w->V);
    }
}

static gka_status reverse_group(gka_run *run, int64_t n, int64_t h, void *memory,
                                gka_error *error) {
    space *const w = memory;
    const gka_problem *const problem = run->problem;
    const gka_span span = gka_problem_span(problem, n);
    clear_keys_and_values(span.end - span.begin, w);
    for (int64_t i = 0; i < run->heads; i++) {
        first_state(problem, n, h + i, w);
        last_cotangents(problem, n, h + i, w);
        const gka_status status = reverse_tokens(run, n, h + i, span.begin, span.end, 0, w, error);
        if (status != GKA_OK)
            return status;
        put_initial(run, n, h + i, w);
    }
    put_keys_and_values(run, n, h, span.begin, span.end, 0, w);
    return GKA_OK;
}

/* ---- by windows ---------------------------------------------------------------------------- */

/* One sequence of one head: the state before each window is the caller's to keep, A and E go on
 * from window to window, so that every operation is that of one run. */
static gka_status reverse_windows(gka_run *run, int64_t n, int64_t h, void *memory,
                                  gka_error *error) {
    space *const w = memory;
    const gka_problem *const problem = run->problem;
    const gka_oracle_window *const window = run->options->window;
    const int64_t W = window->tokens, T = problem->T;
    const size_t bytes = (size_t)w->size * sizeof *w->states;
    first_state(problem, n, h, w);
    for (int64_t t = 0; t < T; t++) {
        if (t % W == 0 && !window->keep(window->context, t / W, w->states, bytes))
            return GKA_INTERRUPTED;
        read_token(problem, 0, t, h, w);
        next_state(w, w->states, NULL, w->states);
    }
    last_cotangents(problem, n, h, w);
    for (int64_t i = (T + W - 1) / W - 1; i >= 0; i--) {
        const int64_t from = i * W, to = from + W < T ? from + W : T;
        if (!window->fetch(window->context, i, w->states, bytes))
            return GKA_INTERRUPTED;
        clear_keys_and_values(to - from, w);
        const gka_status status = reverse_tokens(run, n, h, from, to, from, w, error);
        if (status != GKA_OK)
            return status;
        put_keys_and_values(run, n, h, from, to, from, w);
        if (!window->full(window->context, from, to))
            return GKA_INTERRUPTED;
    }
    put_initial(run, n, h, w);
    return GKA_OK;
}

gka_status gka_certified_gradient(const gka_problem *problem, gka_cotangent cotangent,
                                  const gka_oracle_options *options, gka_exact *out, gka_exact *lo,
                                  gka_oracle_report *report, gka_error *error) {
    gka_run run = {.problem = problem,
                   .options = options,
                   .out = out,
                   .lo = lo,
                   .report = report,
                   .heads = problem->G == 0 ? 1 : problem->H / problem->G,
                   .memory = cotangent == GKA_COTANGENT_O ? layer_memory : solve_memory,
                   .body = options->window != NULL ? reverse_windows : reverse_group};
    if (options->window == NULL) {
        gka_exact_zero_gradient(problem, out);
        gka_exact_zero_gradient(problem, lo);
    }
    return gka_run_all(&run, error);
}
