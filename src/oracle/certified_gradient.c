/* certified_gradient.c - NUMERICS 2 in double-double, every result with a proven bound.
 *
 *   H U      the state, strips of double-doubles     x p    (H + lambda I)^-1 of q and of dx
 *   A E      of NUMERICS 2                           y      q' = q + alpha (x - q)
 *   gamma    exp(g), f = ||H||_F, lambda = a f       dq     dq', then dq
 *   b s      norms and errors of a token, of A and E; those of a state lie with it
 *
 * Each sum has one order fixed in the source, so the bytes depend on neither the instruction set
 * nor the threads. Beside each value goes its bound (gradient_bound.c). A row of results is rounded
 * where that decides it, and else noted down for MPFR (certified_gradient_mpfr.c).
 *
 * Memory per thread, with n and m for D and V rounded up to multiples of 8: the states at every
 * L-th token and L + 2 states from one of them on, L = ceil(sqrt T), 16 n (n + m) bytes each, that
 * is about 32 sqrt(T) n (n + m) bytes: 34 MB for T = 1024, D = V = 128. A and E besides, and 16 T
 * (n + m) bytes for dk and dv. Of more than 2^14 tokens also A and E at every L-th token of each
 * head of a group, unless windows keep them.
 */
#include "oracle/certified.h"

#include "oracle/bound.h"
#include "oracle/certified_gradient.h"
#include "oracle/dd_exp.h"
#include "oracle/gradient_bound.h"
#include "oracle/run.h"

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#define V_UNIT 0x1p-106 /* v of gradient_bound.h */
/* A bound, over a tensor's largest element, up to which leave_undecided leaves what it says. */
#define LEAST_DIGITS 0x1p-60
enum { MOST_REFINEMENTS = 12, STATE_TAIL = 16, LONGEST_MPFR = 1 << 14, SUFFIX_SPACING = 128 };

/* A vector of double-doubles in two arrays. */
typedef struct vector {
    double *hi, *lo;
} vector;

typedef struct gradient_state {
    double *H, *U, *norm_h, *norm_u, *f; /* f[0], f[1]: the words of f */
    gka_state_bound *bound;
} gradient_state;

typedef struct space {
    int64_t D, V, n, m, length, size; /* size: doubles of one state */
    const gka_kernels *kernels;
    double *marks, *states; /* kept states; length + 1 states from one of them on */
    double *spare;          /* one state */
    double *suffixes;       /* [heads, kept]: A, E at every g.spacing-th token; by windows: none */
    int64_t kept;
    double *A, *E, *q, *k, *v, *dout, *zero;
    vector x, p, y, dq, dx, t; /* [n] */
    vector u;                  /* [m] */
    vector dk, dv;             /* [T,n], [T,m]: sums over the heads of a group */
    double alpha;
    dd gamma;
    dd gate;   /* A and E are yet to be multiplied by it: with the next token's own terms */
    dd f;      /* as given, or the state's own */
    dd excess; /* of dg, where f is given: gka/oracle.h */
    gka_group g;
    int64_t index; /* of the head in its group */
    gka_token_bound b;
    gka_suffix_bound s;
    double *e_dk, *size_dk, *e_dv, *size_dv; /* [T] gka_results_bound's, of each token */
} space;

/* What a call adds to gka_run; `run` first, so that the one is the other. */
typedef struct backward {
    gka_run run;
    gka_target target;
    gka_gradient_enclosure enclosure;
} backward;

/* ---- memory -------------------------------------------------------------------------------- */

static const gka_gradient_enclosure *enclosure_of(const gka_run *run) {
    return &((const backward *)(const void *)run)->enclosure;
}

/* Whether MPFR decides the results of that many tokens from checkpoints. */
static bool by_checkpoints(const gka_run *run, int64_t tokens) {
    const int64_t longest = enclosure_of(run)->longest;
    return !run->options->leave_undecided && tokens > (longest > 0 ? longest : LONGEST_MPFR);
}

/* Tokens between two of them. */
static int64_t spacing_of(const gka_run *run, int64_t length) {
    const int64_t spacing = enclosure_of(run)->spacing;
    return spacing > 0 ? spacing : run->options->window != NULL ? SUFFIX_SPACING : length;
}

/* Returns how many doubles it took; T: tokens between two kept rows of states and of dk, dv. */
static int64_t layout(double *block, const gka_run *run, int64_t T, bool layer, space *w) {
    const gka_problem *const problem = run->problem;
    const int64_t D = problem->D, V = layer ? problem->V : 0;
    const int64_t n = gka_strip_size(D), m = gka_strip_size(V), wide = n > m ? n : m;
    int64_t used = 0, length = 1;
    while (length * length < T)
        length++;
    *w = (space){.D = D, .V = V, .n = n, .m = m, .length = length, .kernels = gka_kernels_best()};
    w->size = 2 * n * (n + m) + n + m + STATE_TAIL;
    w->marks = gka_strip_take(block, &used, (T + length - 1) / length * w->size);
    w->states = gka_strip_take(block, &used, (length + 1) * w->size);
    w->spare = gka_strip_take(block, &used, w->size);
    w->A = gka_strip_take(block, &used, 2 * n * n);
    w->E = gka_strip_take(block, &used, 2 * n * m);
    gka_head *const head = &w->g.head;
    head->R = gka_strip_take(block, &used, n * n);
    double **const rows[] = {&head->inverse, &head->r, &head->d, &w->q,
                             &w->k,          &w->v,    &w->dout, &w->zero};
    for (int i = 0; i < 8; i++)
        *rows[i] = gka_strip_take(block, &used, wide);
    vector *const vectors[] = {&w->x, &w->p, &w->y, &w->dq, &w->dx, &w->t, &w->u};
    for (int i = 0; i < 7; i++) {
        vectors[i]->hi = gka_strip_take(block, &used, wide);
        vectors[i]->lo = gka_strip_take(block, &used, wide);
    }
    w->dk = (vector){gka_strip_take(block, &used, T * n), NULL};
    w->dk.lo = gka_strip_take(block, &used, T * n);
    w->dv = (vector){gka_strip_take(block, &used, T * m), NULL};
    w->dv.lo = gka_strip_take(block, &used, T * m);
    double **const bounds[] = {&w->e_dk, &w->size_dk, &w->e_dv, &w->size_dv};
    for (int i = 0; i < 4; i++)
        *bounds[i] = gka_strip_take(block, &used, T);
    head->row = gka_strip_take(block, &used, D * (D > V ? D : V));
    head->H = w->spare;
    const int64_t heads = problem->G == 0 ? 1 : problem->H / problem->G;
    if (by_checkpoints(run, T) && run->options->window == NULL)
        w->kept = T / spacing_of(run, length);
    w->suffixes = gka_strip_take(block, &used, heads * w->kept * w->size);
    w->g.needs = (uint16_t *)(void *)gka_strip_take(block, &used, heads * (T + 1) / 4 + 1);
    w->g.left = (int64_t *)(void *)gka_strip_take(block, &used, heads * (T + 1));
    w->g.stride = T + 1;
    w->g.rows = (unsigned char *)gka_strip_take(block, &used, (heads + 1) * (D + V) / 8 + 1);
    w->g.columns = block == NULL ? NULL : w->g.rows + (heads + 1) * D;
    w->b.precision = gka_precision_dd(n, m);
    return used;
}

static void *new_memory(const gka_run *run, bool layer) {
    space measure;
    const gka_oracle_window *const window = run->options->window;
    const int64_t longest = gka_problem_longest(run->problem),
                  T = window != NULL && window->tokens < longest ? window->tokens : longest;
    const int64_t header = gka_strip_size((int64_t)(sizeof(space) + 7) / 8);
    const int64_t size = layout(NULL, run, T, layer, &measure);
    double *const block = gka_alloc((size_t)(header + size), sizeof *block);
    if (block != NULL)
        layout(block + header, run, T, layer, (space *)(void *)block);
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
    s.bound = (gka_state_bound *)(void *)(s.f + 8);
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

/* ||x|| of a vector with these hi words; 0 if it is 0 exactly. */
static double size(const space *w, int64_t n, const double *x) {
    for (int64_t i = 0; i < n; i++)
        if (!(x[i] == 0))
            return w->kernels->norm(n, x);
    return 0;
}

/* ---- results ------------------------------------------------------------------------------- */

static void enclose(const space *w, gka_gradient tensor, int64_t count, int64_t at_,
                    const double *hi, const double *lo, double e) {
    const gka_gradient_enclosure *const enclosure = w->g.enclosure;
    double *const to_hi = gka_gradient_member(w->g.run->of, &enclosure->hi, tensor);
    double *const to_lo = gka_gradient_member(w->g.run->of, &enclosure->lo, tensor);
    double *const error = gka_gradient_member(w->g.run->of, &enclosure->error, tensor);
    for (int64_t i = 0; to_hi != NULL && i < count; i++) {
        to_hi[at_ + i] = hi[i];
        to_lo[at_ + i] = lo[i];
        error[at_ + i] = e;
    }
}

/* Elements one by one: zeros by structure; returns how many are not decided, which are rounded as
 * they are. */
static int64_t round_each(space *w, gka_gradient tensor, int64_t count, const double *hi,
                          const double *lo, double e, double *out) {
    gka_group *const g = &w->g;
    int64_t undecided = 0;
    for (int64_t i = 0; i < count; i++) {
        if ((e == 0 && hi[i] == 0) || gka_group_zero(g, tensor, w->index, i)) {
            out[i] = 0;
            g->zeros++;
        } else if (!gka_target_decide(g->target, hi[i], lo[i], e, &out[i])) {
            (void)gka_target_decide(g->target, hi[i], lo[i], 0, &out[i]);
            undecided++;
        }
    }
    return undecided;
}

static double largest(int64_t n, const double *x) {
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fabs(x[i]) > most ? fabs(x[i]) : most;
    return most;
}

/* A row of results, each element within e v. */
static void put(space *w, gka_gradient tensor, int64_t t, const double *hi, const double *lo,
                double e_in_v) {
    gka_group *const g = &w->g;
    double *const out = gka_gradient_member(g->run->of, g->run->out, tensor);
    int64_t count, undecided = 0;
    const int64_t to = gka_group_place(g, tensor, w->index, t, &count);
    const double e = e_in_v > 0 ? e_in_v * V_UNIT * g->enclosure->widen : 0;
    enclose(w, tensor, count, to, hi, lo, e_in_v * V_UNIT);
    if (out != NULL) {
        g->bound[tensor] = fmax(g->bound[tensor], e_in_v * V_UNIT);
        undecided = count;
        if (g->target.format == NULL)
            undecided = w->kernels->round(count, hi, lo, &e, 0, out + to);
        if (undecided > 0)
            undecided = round_each(w, tensor, count, hi, lo, e, out + to);
        g->largest[tensor] = fmax(g->largest[tensor], largest(count, out + to));
    }
    /* second words are not to be had in double-double */
    const bool second = gka_gradient_member(g->run->of, g->run->lo, tensor) != NULL;
    uint16_t *const needs = gka_group_needs(g, tensor, w->index, t);
    if (second || undecided > 0)
        *needs |= (uint16_t)(1u << tensor);
    g->left[needs - g->needs] += undecided;
    g->elements += out != NULL || second ? count : 0;
    g->in_mpfr += second ? count : undecided;
    g->second_words |= second;
}

static void put_number(space *w, gka_gradient tensor, int64_t t, dd x, double e) {
    put(w, tensor, t, &x.hi, &x.lo, e);
}

/* A or E, in the spare state made contiguous */
static void put_matrix(space *w, gka_gradient tensor, const double *M, int64_t columns, double e) {
    double *const hi = w->spare, *const lo = w->spare + w->D * columns;
    for (int64_t i = 0; i < w->D; i++)
        for (int64_t j = 0; j < columns; j++) {
            const double *const entry = M + gka_strip_at(w->n, i, j);
            hi[i * columns + j] = entry[0];
            lo[i * columns + j] = entry[8];
        }
    put(w, tensor, w->g.to, hi, lo, e);
}

/* ---- what is given ------------------------------------------------------------------------- */

static const gka_upstream *given_to(const gka_run *run) {
    static const gka_upstream nothing = {0};
    return run->options->given == NULL ? &nothing : run->options->given;
}

/* A row of a given tensor, padded with zeros. */
static void give_row(const space *w, const double *from, int64_t to, vector x) {
    memset(x.hi, 0, (size_t)w->n * sizeof *x.hi);
    memset(x.lo, 0, (size_t)w->n * sizeof *x.lo);
    memcpy(x.hi, from + to * w->D, (size_t)w->D * sizeof *x.hi);
}

/* ---- the state ----------------------------------------------------------------------------- */

/* H = (h + h^T)/2; half of a subnormal number need not be one */
static void set_state(const double *h, const gradient_state *s, space *w) {
    const int64_t D = w->D;
    double *const column = w->t.hi;
    bool nothing = true, exact = true;
    memset(column, 0, (size_t)w->n * sizeof *column);
    for (int64_t j = 0; j < D; j++) {
        for (int64_t i = 0; i < D; i++) {
            const dd sum = two_sum(h[i * D + j], h[j * D + i]);
            s->H[gka_strip_at(w->n, i, j)] = column[i] = sum.hi / 2;
            s->H[gka_strip_at(w->n, i, j) + 8] = sum.lo / 2;
            nothing = nothing && sum.hi == 0;
            exact = exact && 2 * column[i] == sum.hi && 2 * (sum.lo / 2) == sum.lo;
        }
        s->norm_h[j] = w->kernels->norm(w->n, column);
    }
    s->bound->H = nothing ? 0 : w->kernels->norm(w->n, s->norm_h) * UP;
    s->bound->e_H = exact ? 0 : 0x1p-900; /* D 2^-1075 in units of 2^-106 */
    s->bound->least = nothing ? 0 : -s->bound->H;
}

static void find_least(const gradient_state *s, space *w) {
    if (s->bound->H > 0)
        s->bound->least = gka_head_h0_least(&w->g.head, s->H, s->bound->H);
}

static void first_state(const gka_problem *problem, int64_t n, int64_t h, space *w) {
    const gradient_state s = state_at(w, w->states);
    const int64_t D = w->D, V = w->V;
    double *const column = w->t.hi, *const row = w->g.head.row;
    memset(w->states, 0, (size_t)w->size * sizeof *w->states);
    memset(column, 0, (size_t)w->n * sizeof *column);
    gka_problem_h0(problem, n, h, row);
    set_state(row, &s, w);
    find_least(&s, w);
    if (V == 0)
        return;
    gka_problem_u0(problem, n, h, row);
    memset(column, 0, (size_t)w->n * sizeof *column);
    for (int64_t j = 0; j < V; j++) {
        for (int64_t i = 0; i < D; i++)
            s.U[gka_strip_at(w->n, i, j)] = column[i] = row[i * V + j];
        s.norm_u[j] = w->kernels->norm(w->n, column);
    }
    s.bound->U = w->kernels->size(w->n, w->m, s.U);
}

static void read_token(const gka_problem *problem, int64_t b, int64_t t, int64_t h, space *w) {
    gka_problem_q(problem, b, t, h, w->q);
    gka_problem_k(problem, b, t, h, w->k);
    if (w->V > 0)
        gka_problem_v(problem, b, t, h, w->v);
    w->alpha = w->V > 0 ? gka_problem_alpha(problem, b, t, h) : 1;
    w->gamma = gka_dd_exp(gka_problem_g(problem, b, t, h), &w->b.e_gamma);
    w->b.e_gamma /= V_UNIT;
    w->b.gamma = w->gamma.hi;
    w->b.k = size(w, w->n, w->k);
    w->b.v = w->V > 0 ? size(w, w->m, w->v) : 0;
}

/* A gate that is 0 exactly, where a chunk ends. */
static bool closed(const space *w) {
    return w->gamma.hi == 0 && w->b.e_gamma == 0;
}

/* The state after the token that was read, from the one before it, of which H may be given; the two
 * may be one. */
static void next_state(space *w, double *before, const double *given, double *after) {
    const gradient_state s = state_at(w, after);
    const gka_kernels *const K = w->kernels;
    const double k_norm = K->norm(w->n, w->k);
    gka_state_bound bound = *state_at(w, before).bound;
    double error;
    const int64_t matrices = 2 * w->n * (w->n + w->m);
    gradient_state from = state_at(w, before);
    if (w->gamma.hi == 0) {
        memset(after, 0, (size_t)w->size * sizeof *after);
        from = s;
    } else if (after != before) {
        memcpy(after + matrices, before + matrices, (size_t)(w->size - matrices) * sizeof *after);
    }
    if (!closed(w) && given != NULL) {
        from.H = s.H;
        set_state(given, &s, w);
        find_least(&s, w);
        bound.H = s.bound->H;
        bound.e_H = s.bound->e_H;
        bound.least = s.bound->least;
    }
    gka_bound_next(&w->b.precision, w->b.gamma, w->b.e_gamma, w->b.k, w->b.v, &bound);
    const dd f = dd_sqrt(K->update_h(w->n, w->gamma, w->k, k_norm, s.norm_h, from.H, s.H, &error));
    s.f[0] = f.hi;
    s.f[1] = f.lo;
    bound.e_f = 0;
    if (bound.H > 0) { /* f = 0 by underflow, an overflow: no bound */
        bound.H = K->norm(w->n, s.norm_h) * UP;
        bound.e_f = (error / f.hi / V_UNIT + 4 * f.hi + bound.e_H) * UP;
        bound.e_f = bound.e_f < INFINITY ? bound.e_f : INFINITY;
    }
    if (w->V > 0) {
        K->update_u(w->n, w->m, w->gamma, w->k, k_norm, w->v, s.norm_u, from.U, s.U);
        bound.U = bound.U > 0 ? K->norm(w->m, s.norm_u) * UP : 0;
    }
    *s.bound = bound;
}

/* ---- the solve ----------------------------------------------------------------------------- */

/* ||b - H x - lambda x||, every step in double-double: the bound of K->residual is some ten times
 * wider than it need be. */
static double residual(space *w, const gradient_state *s, dd lambda, vector b, vector x) {
    double *const r = w->g.head.r;
    w->kernels->columns(w->n, w->n, s->H, x.hi, x.lo, w->t.hi, w->t.lo); /* H is symmetric */
    for (int64_t i = 0; i < w->n; i++)
        r[i] = dd_sub(dd_sub(at(b, i), at(w->t, i)), dd_mul(lambda, at(x, i))).hi;
    return w->kernels->norm(w->n, r);
}

/* x = (H + lambda I)^-1 b by refinement with the factor in head->R, b = 0 only exactly; each step
 * solves for what is left, r = b.hi - (H + lambda) x + b.lo. ||b.hi|| = right, b off by e_right v.
 * *x_norm, *e_x: ||x||, its error. False: it does not contract. */
static bool solve(space *w, const gradient_state *s, dd lambda, vector b, double right,
                  double e_right, vector x, double *x_norm, double *e_x) {
    const gka_kernels *const K = w->kernels;
    const gka_head *const head = &w->g.head;
    const double start = K->norm(w->n, b.hi);
    double left = start;
    memset(x.hi, 0, (size_t)w->n * sizeof *x.hi);
    memset(x.lo, 0, (size_t)w->n * sizeof *x.lo);
    *x_norm = *e_x = 0;
    if (right == 0 && e_right == 0)
        return true;
    memcpy(head->r, b.hi, (size_t)w->n * sizeof *head->r);
    for (int i = 0; i < MOST_REFINEMENTS; i++) {
        const double before = left;
        K->solve(w->n, head->R, head->inverse, head->r, head->r);
        K->correct(w->n, head->r, x.hi, x.lo);
        K->residual(w->n, s->H, s->norm_h, lambda, b.hi, x.hi, x.lo, head->r, x_norm);
        for (int64_t j = 0; j < w->n; j++)
            head->r[j] += b.lo[j];
        left = K->norm(w->n, head->r);
        const double rest = gka_bound_solve(s->bound, &w->b, right, e_right, 0, *x_norm);
        if (!(left < before / 2) || left / V_UNIT <= rest * w->b.least / 4)
            break;
    }
    left = residual(w, s, lambda, b, x);
    *e_x = gka_bound_solve(s->bound, &w->b, right, e_right, left / V_UNIT, *x_norm);
    return left <= 0x1p-60 * start + 0x1p-490; /* norms are at least 2^-500 */
}

/* A bound from below of the eigenvalues of H + lambda I. */
static double least_eigenvalue(const gradient_state *s, dd lambda, space *w) {
    const double e_lambda = gka_bound_lambda(&w->b) * V_UNIT;
    const double least = (lambda.hi * DOWN - e_lambda + s->bound->least) * DOWN;
    return least > 0 ? least
                     : gka_head_least(&w->g.head, s->H, lambda.hi, s->bound->H,
                                      s->bound->e_H * V_UNIT + e_lambda);
}

/* x of q and p of dx, but where given; what is not is 0 in an empty state. What binary64 cannot
 * factor, a norm near 2^-480 for one, is left to MPFR. */
static void solve_both(const gka_run *run, const gradient_state *s, int64_t to, space *w) {
    const gka_upstream *const given = given_to(run);
    const double *const from[2] = {given->x, given->p};
    const vector unknown[2] = {w->x, w->p}, right[2] = {{w->q, w->zero}, w->dx};
    gka_token_bound *const b = &w->b;
    const double e_right[2] = {0, b->e_dx};
    double *const norms[2] = {&b->x, &b->p}, *const errors[2] = {&b->e_x, &b->e_p};
    const dd lambda = dd_mul_d(w->f, run->problem->ridge_ratio);
    bool factored = false, factors = false;
    b->lambda = lambda.hi * UP;
    for (int i = 0; i < 2; i++) {
        *errors[i] = 0;
        if (from[i] != NULL) {
            give_row(w, from[i], to, unknown[i]);
            *norms[i] = size(w, w->n, unknown[i].hi);
        } else if (w->f.hi == 0) {
            memset(unknown[i].hi, 0, (size_t)w->n * sizeof(double));
            memset(unknown[i].lo, 0, (size_t)w->n * sizeof(double));
            *norms[i] = 0;
            *errors[i] = s->bound->H == 0 || b->given_f ? 0 : INFINITY;
        } else {
            if (!factored) {
                b->least = least_eigenvalue(s, lambda, w);
                factors = gka_head_factor(&w->g.head, s->H, lambda.hi);
            }
            factored = true;
            if (factors && solve(w, s, lambda, right[i], size(w, w->n, right[i].hi), e_right[i],
                                 unknown[i], norms[i], errors[i]))
                continue;
            memset(unknown[i].hi, 0, (size_t)w->n * sizeof(double)); /* nothing is known of it */
            memset(unknown[i].lo, 0, (size_t)w->n * sizeof(double));
            *norms[i] = 0;
            *errors[i] = INFINITY;
        }
    }
}

/* ---- one token in reverse ------------------------------------------------------------------ */

/* What of the token's bound does not depend on any result. */
static void begin_bound(const gka_run *run, const gradient_state *s, int64_t to, space *w) {
    gka_token_bound *const b = &w->b;
    b->ratio = run->problem->ridge_ratio;
    b->scale = fabs(run->problem->scale);
    b->alpha = fabs(w->alpha);
    b->rest = fabs(1 - w->alpha) * UP; /* 0 only if alpha is 1 */
    b->q = size(w, w->n, w->q);
    b->given_f = given_to(run)->fro != NULL;
    b->own = s->f[0] * UP;
    b->e_own = s->bound->e_f;
    w->f = b->given_f ? (dd){given_to(run)->fro[to], 0} : (dd){s->f[0], s->f[1]};
    b->f = w->f.hi;
    b->e_f = b->given_f ? 0 : s->bound->e_f;
}

/* dq' = s U do, or dx itself; dx = alpha dq' */
static void cotangents(const gka_problem *problem, int64_t b, int64_t t, int64_t h,
                       const gradient_state *s, space *w) {
    w->b.dout = w->b.e_dq = w->b.e_dx = 0;
    if (w->V > 0) {
        gka_problem_dout(problem, b, t, h, w->dout);
        w->b.dout = size(w, w->m, w->dout);
        w->kernels->rows(w->n, w->m, s->U, w->dout, w->zero, w->dq.hi, w->dq.lo);
        for (int64_t i = 0; i < w->D; i++)
            set(w->dq, i, dd_mul_d(at(w->dq, i), problem->scale));
    } else {
        gka_problem_dx(problem, b, t, h, w->dq.hi);
        memset(w->dq.lo, 0, (size_t)w->n * sizeof *w->dq.lo);
    }
    for (int64_t i = 0; i < w->D; i++)
        set(w->dx, i, dd_mul_d(at(w->dq, i), w->alpha));
    w->b.dq = size(w, w->n, w->dq.hi);
    if (w->V > 0)
        gka_bound_cotangent(s->bound, &w->b);
}

/* A = -p x^T - a <p,x>/f H + gate A,  E = s q' do^T + gate E */
static void suffix(const gka_problem *problem, const gradient_state *s, space *w) {
    const gka_kernels *const K = w->kernels;
    w->b.ridge = w->b.y = w->b.e_y = 0;
    for (int64_t i = 0; i < w->D; i++)
        set(w->t, i, dd_neg(at(w->p, i)));
    K->rank_one(w->n, w->n, w->gate, w->t.hi, w->t.lo, w->x.hi, w->x.lo, w->A);
    if (w->f.hi != 0) {
        const dd px = dd_mul_d(dot(w->D, w->p, w->x), -problem->ridge_ratio);
        const dd weight = dd_div(px, w->f), own = {s->f[0], s->f[1]};
        K->add_scaled(w->n, w->n, weight, s->H, w->A);
        w->excess =
            dd_add(w->excess, dd_mul(weight, dd_add(dd_mul(w->f, w->f), dd_neg(dd_mul(own, own)))));
        w->b.ridge = fabs(px.hi) * UP;
    }
    if (w->V > 0) {
        K->mix(w->n, w->alpha, w->q, w->x.hi, w->x.lo, w->y.hi, w->y.lo);
        w->b.y = size(w, w->n, w->y.hi);
        gka_bound_mix(&w->b);
        for (int64_t i = 0; i < w->D; i++)
            set(w->t, i, dd_mul_d(at(w->y, i), problem->scale));
        K->rank_one(w->n, w->m, w->gate, w->t.hi, w->t.lo, w->dout, w->zero, w->E);
    }
    gka_bound_suffix(s->bound, &w->b, &w->s);
    w->s.A = K->size(w->n, w->n, w->A);
    w->s.E = K->size(w->n, w->m, w->E);
    /* Checkpoints to the left of a token whose x or p is not known would know nothing, and more
     * than their last bits is wrong: all is gone over. */
    if (!(w->s.e_A <= DBL_MAX && w->s.e_E <= DBL_MAX && w->s.e_excess <= DBL_MAX))
        w->g.spacing = 0;
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

/* dg = gamma (<A, H_{t-1}> + <E, U_{t-1}>); then A <- gamma A, E <- gamma E are due */
static void gate(const gradient_state *before, int64_t t, const gka_results_bound *e, space *w) {
    const gka_kernels *const K = w->kernels;
    dd dg_h = dd_mul(w->gamma, K->inner(w->n, w->n, w->A, before->H));
    if (w->b.given_f && !closed(w))
        dg_h = dd_add(dg_h, w->excess);
    const dd dg_u = dd_mul(w->gamma, K->inner(w->n, w->m, w->E, before->U));
    put_number(w, GKA_GRADIENT_DG_H, t, dg_h, e->dg_h);
    put_number(w, GKA_GRADIENT_DG_U, t, dg_u, e->dg_u);
    put_number(w, GKA_GRADIENT_DG, t, dd_add(dg_h, dg_u), e->dg);
    w->gate = w->gamma;
    gka_bound_gate(&w->b, &w->s);
}

/* x - q */
static void difference(space *w) {
    for (int64_t i = 0; i < w->D; i++)
        set(w->t, i, dd_add_d(at(w->x, i), -w->q[i]));
}

/* dalpha = <dq', x - q>,  dq = (1 - alpha) dq' + p */
static void query(int64_t t, const gka_results_bound *e, space *w) {
    const dd rest = two_sum(1, -w->alpha);
    difference(w);
    put_number(w, GKA_GRADIENT_DALPHA, t, w->V > 0 ? dot(w->D, w->dq, w->t) : (dd){0, 0},
               w->V > 0 ? e->dalpha : 0);
    for (int64_t i = 0; i < w->D; i++)
        set(w->t, i, dd_add(dd_mul(at(w->dq, i), rest), at(w->p, i)));
    put(w, GKA_GRADIENT_DQ, t, w->t.hi, w->t.lo, e->dq);
}

/* x, f, and o = s U^T q' (suffix has left q' in y). */
static void forward(const gka_problem *problem, const gradient_state *s, int64_t t,
                    const gka_results_bound *e, space *w) {
    put(w, GKA_GRADIENT_X, t, w->x.hi, w->x.lo, w->b.e_x);
    put_number(w, GKA_GRADIENT_FRO, t, w->f, w->b.e_f);
    if (w->V == 0)
        return;
    w->kernels->columns(w->n, w->m, s->U, w->y.hi, w->y.lo, w->u.hi, w->u.lo);
    for (int64_t j = 0; j < w->V; j++)
        set(w->u, j, dd_mul_d(at(w->u, j), problem->scale));
    put(w, GKA_GRADIENT_O, t, w->u.hi, w->u.lo, e->o);
}

/* The bounds of this token's results; i: its row of dk and dv. */
static gka_results_bound result_bounds(const gradient_state *before, const gradient_state *after,
                                       int64_t i, space *w) {
    gka_results_bound e = {
        .dk = w->e_dk[i], .size_dk = w->size_dk[i], .dv = w->e_dv[i], .size_dv = w->size_dv[i]};
    difference(w);
    w->b.t = size(w, w->n, w->t.hi);
    gka_bound_results(before->bound, after->bound, &w->b, &w->s, &e);
    w->e_dk[i] = e.dk;
    w->size_dk[i] = e.size_dk;
    w->e_dv[i] = e.dv;
    w->size_dv[i] = e.size_dv;
    return e;
}

/* ---- one head, one group ------------------------------------------------------------------- */

/* A and E after the last token. */
static void last_cotangents(const gka_problem *problem, int64_t n, int64_t h, space *w) {
    double *const row = w->g.head.row;
    memset(w->A, 0, (size_t)(2 * w->n * w->n) * sizeof *w->A);
    memset(w->E, 0, (size_t)(2 * w->n * w->m) * sizeof *w->E);
    gka_problem_dh_final(problem, n, h, row);
    for (int64_t i = 0; i < w->D * w->D; i++)
        w->A[gka_strip_at(w->n, i / w->D, i % w->D)] = row[i];
    w->s = (gka_suffix_bound){.A = w->kernels->size(w->n, w->n, w->A)};
    w->gate = (dd){1, 0};
    if (w->V == 0)
        return;
    gka_problem_du_final(problem, n, h, row);
    for (int64_t i = 0; i < w->D * w->V; i++)
        w->E[gka_strip_at(w->n, i / w->V, i % w->V)] = row[i];
    w->s.E = w->kernels->size(w->n, w->m, w->E);
}

/* The state before token t, whose H may be given: then beside the others, for the token before has
 * its own. */
static gradient_state state_before(const gka_run *run, int64_t n, int64_t t, int64_t h,
                                   double *base, space *w) {
    const double *const given = gka_given_state(run, n, t, h);
    if (given == NULL)
        return state_at(w, base);
    memcpy(w->spare, base, (size_t)w->size * sizeof *base);
    const gradient_state s = state_at(w, w->spare);
    set_state(given, &s, w);
    return s;
}

static void end_of_chunk(space *w) {
    w->excess = (dd){0, 0};
    w->s.excess = w->s.e_excess = 0;
}

/* ---- checkpoints --------------------------------------------------------------------------- */

_Static_assert(sizeof(gka_suffix_bound) == sizeof(gka_state_bound), "one is kept as the other");

/* Where A and E after token t - 1 are kept; by windows, the place that they are handed over in. */
static double *suffix_at(space *w, int64_t head, int64_t number, double *by_windows) {
    return w->g.run->options->window != NULL ? by_windows
                                             : w->suffixes + (head * w->kept + number) * w->size;
}

/* The number of the checkpoint before token t: 0 is at `spacing`; by windows, behind the states. */
static int64_t suffix_number(const space *w, int64_t t) {
    const gka_oracle_window *const window = w->g.run->options->window;
    const int64_t number = (t - w->g.span.begin) / w->g.spacing - 1;
    return window == NULL ? number
                          : number + (w->g.run->problem->T + window->tokens - 1) / window->tokens;
}

/* A and E before token t, as a state is kept. False: stop. */
static bool keep_suffix(space *w, int64_t t) {
    const gka_oracle_window *const window = w->g.run->options->window;
    if (w->g.spacing == 0 || t == w->g.span.begin || (t - w->g.span.begin) % w->g.spacing != 0)
        return true;
    const int64_t number = suffix_number(w, t);
    const gradient_state s = state_at(w, suffix_at(w, w->index, number, w->spare));
    memcpy(s.H, w->A, (size_t)(2 * w->n * w->n) * sizeof *s.H);
    memcpy(s.U, w->E, (size_t)(2 * w->n * w->m) * sizeof *s.U);
    s.f[0] = w->gate.hi;
    s.f[1] = w->gate.lo;
    s.norm_h[0] = w->excess.hi;
    s.norm_h[1] = w->excess.lo;
    memcpy(s.bound, &w->s, sizeof w->s);
    return window == NULL ||
           window->keep(window->context, number, s.H, (size_t)w->size * sizeof *s.H);
}

static bool fetch_suffix(space *w, int64_t head, int64_t t, gka_carried *c) {
    const gka_oracle_window *const window = w->g.run->options->window;
    const int64_t number = suffix_number(w, t);
    const gradient_state s = state_at(w, suffix_at(w, head, number, w->states));
    if (window != NULL &&
        !window->fetch(window->context, number, s.H, (size_t)w->size * sizeof *s.H))
        return false;
    *c = (gka_carried){.A = s.H,
                       .E = s.U,
                       .n = w->n,
                       .gate = {s.f[0], s.f[1]},
                       .excess = {s.norm_h[0], s.norm_h[1]}};
    memcpy(&c->suffix, s.bound, sizeof c->suffix);
    return true;
}

/* The state before token t, from the last one before it that is at hand: by windows its window's,
 * else one of those that reverse_tokens left, of the group's last head, or the first. */
static bool fetch_state(space *w, int64_t head, int64_t t, gka_carried *c) {
    const gka_run *const run = w->g.run;
    const gka_oracle_window *const window = run->options->window;
    const int64_t n = w->g.n, h = w->g.h + head;
    int64_t from = w->g.span.begin;
    if (window == NULL && head == w->g.heads - 1) {
        const int64_t mark = (t - from) / w->length;
        from += mark * w->length;
        memcpy(w->states, w->marks + mark * w->size, (size_t)w->size * sizeof *w->states);
    } else if (window == NULL) {
        first_state(run->problem, n, h, w);
    } else {
        from = t / window->tokens * window->tokens;
        if (!window->fetch(window->context, t / window->tokens, w->states,
                           (size_t)w->size * sizeof *w->states))
            return false;
    }
    for (; from < t; from++) {
        read_token(run->problem, w->g.span.b, from, h, w);
        next_state(w, w->states, gka_given_state(run, n, from, h), w->states);
        if (!gka_run_waits(w->g.run, n, w->g.h))
            return false;
    }
    const gradient_state s = state_at(w, w->states);
    *c = (gka_carried){.H = s.H, .U = s.U, .n = w->n, .state = *s.bound};
    return true;
}

static bool carried(gka_group *g, int64_t head, int64_t t, bool from_right, gka_carried *c) {
    space *const w = (space *)(void *)((char *)g - offsetof(space, g));
    return from_right ? fetch_suffix(w, head, t, c) : fetch_state(w, head, t, c);
}

/* ---- in reverse ---------------------------------------------------------------------------- */

/* Tokens [from, to) of a sequence in reverse, from the state before them in w->states; A and E are
 * those after them and become those before. The states that the reverse needs are kept at every
 * length-th token and replayed from there. */
static gka_status reverse_tokens(gka_run *run, space *w) {
    const gka_problem *const problem = run->problem;
    const int64_t size_ = w->size, length = w->length, n = w->g.n, h = w->g.h + w->index;
    const int64_t from = w->g.from, to_ = w->g.to;
    const size_t bytes = (size_t)size_ * sizeof *w->states;
    const gka_span span = w->g.span;
    for (int64_t t = from; t < to_ && !gka_stopped(); t++) {
        if ((t - from) % length == 0)
            memcpy(w->marks + (t - from) / length * size_, w->states, bytes);
        read_token(problem, span.b, t, h, w);
        next_state(w, w->states, gka_given_state(run, n, t, h), w->states);
    }
    if (gka_stopped())
        return GKA_INTERRUPTED;
    for (int64_t t = to_ - 1; t >= from; t--) {
        const int64_t i = t - from, m = i % length, to = gka_at(problem, span.b, t, h) - w->g.base;
        if (m == length - 1 || t == to_ - 1) {
            memcpy(w->states, w->marks + i / length * size_, bytes);
            for (int64_t j = 0; j <= m; j++) {
                read_token(problem, span.b, t - m + j, h, w);
                next_state(w, w->states + j * size_, gka_given_state(run, n, t - m + j, h),
                           w->states + (j + 1) * size_);
            }
        }
        if (t + 1 == span.end || (t + 1 - span.begin) % problem->chunk_size == 0)
            end_of_chunk(w);
        const gradient_state after = state_at(w, w->states + (m + 1) * size_);
        read_token(problem, span.b, t, h, w);
        begin_bound(run, &after, to, w);
        cotangents(problem, span.b, t, h, &after, w);
        solve_both(run, &after, to, w);
        put(w, GKA_GRADIENT_P, t, w->p.hi, w->p.lo, w->b.e_p);
        suffix(problem, &after, w);
        const gradient_state before = state_before(run, n, t, h, w->states + m * size_, w);
        const gka_results_bound e = result_bounds(&before, &after, i, w);
        keys_and_values(w, i);
        gate(&before, t, &e, w);
        query(t, &e, w);
        if (run->options->given != NULL)
            forward(problem, &after, t, &e, w);
        if (closed(w))
            end_of_chunk(w);
        if (!keep_suffix(w, t) || !gka_run_solved(run, n, h, after.f[0] == 0))
            return GKA_INTERRUPTED;
    }
    return GKA_OK;
}

/* The products with the first token's gate, which no other token takes along. */
static void put_initial(space *w) {
    const gka_kernels *const K = w->kernels;
    K->rank_one(w->n, w->n, w->gate, w->zero, w->zero, w->zero, w->zero, w->A);
    K->rank_one(w->n, w->m, w->gate, w->zero, w->zero, w->zero, w->zero, w->E);
    put_matrix(w, GKA_GRADIENT_DH0, w->A, w->D, w->s.e_A);
    if (w->V > 0)
        put_matrix(w, GKA_GRADIENT_DU0, w->E, w->V, w->s.e_E);
}

/* dk and dv of all heads */
static void put_keys_and_values(space *w) {
    w->index = 0;
    for (int64_t t = w->g.from; t < w->g.to; t++) {
        const int64_t i = t - w->g.from;
        put(w, GKA_GRADIENT_DK, t, w->dk.hi + i * w->n, w->dk.lo + i * w->n, w->e_dk[i]);
        if (w->V > 0)
            put(w, GKA_GRADIENT_DV, t, w->dv.hi + i * w->m, w->dv.lo + i * w->m, w->e_dv[i]);
    }
}

/* Tokens [from, to) of the group come next. */
static void begin_tokens(int64_t from, int64_t to, space *w) {
    const vector both[2] = {w->dk, w->dv};
    double *const bounds[] = {w->e_dk, w->size_dk, w->e_dv, w->size_dv};
    w->g.from = from;
    w->g.to = to;
    for (int i = 0; i < 2; i++) {
        const size_t bytes = (size_t)((to - from) * (i == 0 ? w->n : w->m)) * sizeof(double);
        memset(both[i].hi, 0, bytes);
        memset(both[i].lo, 0, bytes);
    }
    for (int i = 0; i < 4; i++)
        memset(bounds[i], 0, (size_t)(to - from) * sizeof(double));
    memset(w->g.needs, 0, (size_t)(w->g.heads * w->g.stride) * sizeof *w->g.needs);
    memset(w->g.left, 0, (size_t)(w->g.heads * w->g.stride) * sizeof *w->g.left);
}

static void begin_group(gka_run *run, int64_t n, int64_t h, space *w) {
    const backward *const call = (const backward *)(const void *)run;
    gka_group *const g = &w->g;
    g->run = g->head.run = run;
    g->head.kernels = w->kernels;
    g->enclosure = enclosure_of(run);
    g->target = call->target;
    g->n = g->head.n = n;
    g->h = g->head.h = h;
    g->heads = run->heads;
    g->D = w->D;
    g->V = w->V;
    g->span = g->head.span = gka_problem_span(run->problem, n);
    g->base = 0;
    g->spacing = by_checkpoints(run, g->span.end - g->span.begin) ? spacing_of(run, w->length) : 0;
    g->carried = carried;
    g->second_words = false;
    g->elements = g->in_mpfr = g->undecided = g->ties = g->zeros = 0;
    memset(g->bound, 0, sizeof g->bound);
    memset(g->largest, 0, sizeof g->largest);
    gka_group_structure(g);
}

static void report(gka_group *g) {
    gka_run *const run = g->run;
    pthread_mutex_lock(&run->lock);
    run->report->elements += g->elements;
    run->report->elements_mpfr += g->in_mpfr;
    run->report->elements_undecided += g->undecided;
    run->report->ties += g->ties;
    run->report->zeros += g->zeros;
    for (int i = 0; i < GKA_GRADIENTS; i++) {
        const int output = gka_gradient_output(run->of, (gka_gradient)i);
        run->report->bound[output] = fmax(run->report->bound[output], g->bound[i]);
        run->report->largest[output] = fmax(run->report->largest[output], g->largest[i]);
    }
    pthread_mutex_unlock(&run->lock);
}

/* What is not decided is right all the same in all digits that anything but rounding asks for. */
static bool has_digits(const gka_group *g) {
    bool small = true;
    for (int i = 0; i < GKA_GRADIENTS; i++)
        small = small && g->bound[i] <= LEAST_DIGITS * g->largest[i];
    return small;
}

/* What the tokens at hand need of MPFR; or it is counted as undecided. */
static gka_status resolve(gka_group *g, gka_error *error) {
    if (g->run->options->leave_undecided && !g->second_words && has_digits(g)) {
        g->undecided += g->in_mpfr;
        g->in_mpfr = 0;
        return GKA_OK;
    }
    return gka_group_resolve(g, error);
}

static gka_status reverse_group(gka_run *run, int64_t n, int64_t h, void *memory,
                                gka_error *error) {
    space *const w = memory;
    const gka_problem *const problem = run->problem;
    begin_group(run, n, h, w);
    begin_tokens(w->g.span.begin, w->g.span.end, w);
    gka_status status = GKA_OK;
    for (w->index = 0; w->index < run->heads && status == GKA_OK; w->index++) {
        first_state(problem, n, h + w->index, w);
        last_cotangents(problem, n, h + w->index, w);
        status = reverse_tokens(run, w);
        if (status == GKA_OK)
            put_initial(w);
    }
    if (status != GKA_OK)
        return status;
    put_keys_and_values(w);
    status = resolve(&w->g, error);
    report(&w->g);
    return status;
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
    begin_group(run, n, h, w);
    w->index = 0;
    first_state(problem, n, h, w);
    for (int64_t t = 0; t < T; t++) {
        if (gka_stopped() ||
            (t % W == 0 && !window->keep(window->context, t / W, w->states, bytes)))
            return GKA_INTERRUPTED;
        read_token(problem, 0, t, h, w);
        next_state(w, w->states, NULL, w->states);
    }
    last_cotangents(problem, n, h, w);
    for (int64_t i = (T + W - 1) / W - 1; i >= 0; i--) {
        const int64_t from = i * W, to = from + W < T ? from + W : T;
        if (!window->fetch(window->context, i, w->states, bytes))
            return GKA_INTERRUPTED;
        w->g.base = from;
        begin_tokens(from, to, w);
        gka_status status = reverse_tokens(run, w);
        if (status != GKA_OK)
            return status;
        put_keys_and_values(w);
        if (from == 0)
            put_initial(w);
        status = resolve(&w->g, error);
        if (status == GKA_OK && !window->full(window->context, from, to))
            status = GKA_INTERRUPTED;
        if (status != GKA_OK)
            return status;
    }
    report(&w->g);
    return GKA_OK;
}

static gka_status reverse(gka_run *run, int64_t n, int64_t h, void *memory, gka_error *error) {
    gka_group *const g = &((space *)memory)->g;
    const gka_status status = run->options->window != NULL
                                  ? reverse_windows(run, n, h, memory, error)
                                  : reverse_group(run, n, h, memory, error);
    gka_free(g->numbers);
    g->numbers = NULL;
    g->numbers_size = 0;
    return status;
}

/* ---- entry --------------------------------------------------------------------------------- */

gka_status gka_certified_gradient_enclose(const gka_problem *problem, gka_of cotangent,
                                          const gka_oracle_options *options, gka_outputs *out,
                                          gka_outputs *lo, const gka_gradient_enclosure *enclosure,
                                          gka_oracle_report *report_, gka_error *error) {
    backward call = {.run = {.problem = problem,
                             .options = options,
                             .out = out,
                             .lo = lo,
                             .of = cotangent,
                             .report = report_,
                             .heads = problem->G == 0 ? 1 : problem->H / problem->G,
                             .memory = cotangent == GKA_OF_O ? layer_memory : solve_memory,
                             .body = reverse},
                     .enclosure = *enclosure};
    if (call.enclosure.widen == 0)
        call.enclosure.widen = 1;
    if (!gka_target_make(options->round_to, &call.target))
        return gka_fail(error, GKA_UNSUPPORTED,
                        "certified oracle: results cannot be rounded to %s (p <= 25 or fp64)",
                        options->round_to->name == NULL ? "this format" : options->round_to->name);
    if (options->window == NULL) {
        gka_run_zero(problem, gka_of_outputs(cotangent), out);
        gka_run_zero(problem, gka_of_outputs(cotangent), lo);
    }
    return gka_run_all(&call.run, error);
}

gka_status gka_certified_gradient(const gka_problem *problem, gka_of cotangent,
                                  const gka_oracle_options *options, gka_outputs *out,
                                  gka_outputs *lo, gka_oracle_report *report_, gka_error *error) {
    static const gka_gradient_enclosure nothing = {0};
    return gka_certified_gradient_enclose(problem, cotangent, options, out, lo, &nothing, report_,
                                          error);
}
