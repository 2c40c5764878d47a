/* certified.c - NUMERICS 1 in double-double, every result with a proven bound.
 *
 *   H U      the state, strips of double-doubles          E_H      bound of ||H - exact H||_F
 *   f lambda dd, with f_error, lambda_error               E_u[v]   the same of column v of U
 *   x        x + x_lo; ||x - exact|| <= e_x               N_H      bound of ||H||_F
 *   y        q' = q + alpha (x - q), within e_y           least    all eigenvalues of the decayed
 *   R        H + lambda I = R^T R in binary64                      h0 are at least this (<= 0)
 *
 * x is refined: r = q - (H + lambda I) x in double-double, x <- x + R^-1 R^-T r. Whatever x is,
 *
 *   ||x - exact|| <= (||r|| + errors of r, H, lambda) / (lambda + least)
 *
 * since H is h0's decayed self plus a sum of squares. Every term is derived in
 * src/oracle/README.md, section certified; the names here are the names there.
 */
#include "oracle/certified.h"

#include "oracle/bound.h"
#include "oracle/certified_head.h"
#include "oracle/dd_exp.h"
#include "oracle/fp64.h"
#include "oracle/passes.h"
#include "oracle/run.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define U2 GKA_U2
enum { MOST_REFINEMENTS = 12 };

/* One worker's memory: one block. */
typedef struct space {
    gka_head head;
    int64_t D, V, n, m; /* n, m: D, V rounded up to whole strips; V = m = 0 where U is not wanted */
    double *kept_H;     /* [n,n] and */
    unsigned char *kept_pattern;                              /* [D, D + V] for a window's MPFR */
    double *U, *k, *q, *x, *x_lo, *y, *y_lo, *norm_h, *round; /* [n] but U [n,m], round [n + m] */
    double *v, *o, *o_lo, *o_error, *norm_u, *column_u, *E_u; /* [m] */
    double E_H, N_H, least, h0_least;
    dd gamma, f, lambda;
    double gamma_error, f_error, lambda_error, alpha;
    double q_norm, x_norm, e_x;
    bool empty; /* H = 0 exactly: nothing has touched it */
} space;

/* What a call adds to gka_run; `run` first, so that the one is the other. */
typedef struct forward {
    gka_run run;
    gka_target target;
    gka_enclosure enclosure;
    const gka_kernels *kernels;
} forward;

static const forward *forward_of(const gka_run *run) {
    return (const forward *)(const void *)run;
}

/* ---- memory -------------------------------------------------------------------------------- */

/* Returns how many doubles it took. */
static int64_t layout(double *block, const gka_problem *problem, bool with_U, bool window,
                      space *w) {
    const int64_t D = problem->D, V = with_U ? problem->V : 0;
    const int64_t n = gka_strip_size(D), m = gka_strip_size(V);
    int64_t used = 0;
    *w = (space){.D = D, .V = V, .n = n, .m = m};
    w->head.H = gka_strip_take(block, &used, 2 * n * n);
    w->head.R = gka_strip_take(block, &used, n * n);
    w->U = gka_strip_take(block, &used, 2 * n * m);
    double **const rows[] = {&w->k,    &w->q,      &w->x,      &w->x_lo,         &w->y,
                             &w->y_lo, &w->norm_h, &w->head.r, &w->head.inverse, &w->head.d};
    for (int i = 0; i < 10; i++)
        *rows[i] = gka_strip_take(block, &used, n);
    double **const columns[] = {&w->v,      &w->o,        &w->o_lo, &w->o_error,
                                &w->norm_u, &w->column_u, &w->E_u};
    for (int i = 0; i < 7; i++)
        *columns[i] = gka_strip_take(block, &used, m);
    w->round = gka_strip_take(block, &used, n + m);
    w->head.row = gka_strip_take(block, &used, D * (D > V ? D : V) + (D + V) * D + 4 * D);
    w->kept_H = gka_strip_take(block, &used, window ? 2 * n * n : 0);
    w->kept_pattern =
        (unsigned char *)gka_strip_take(block, &used, window ? D * (D + V) / 8 + 1 : 0);
    const int64_t bytes = gka_problem_longest(problem) + 1 + D * (D + V + 1);
    unsigned char *const flags = (unsigned char *)gka_strip_take(block, &used, bytes / 8 + 1);
    if (block != NULL) {
        w->head.needs = flags;
        w->head.pattern = (gka_pattern){.D = D, .V = V};
        w->head.pattern.pair = flags + gka_problem_longest(problem) + 1;
        w->head.pattern.entry = w->head.pattern.pair + D * D;
        w->head.pattern.zero = w->head.pattern.entry + D * V;
    }
    return used;
}

static bool wants_U(const gka_run *run) {
    return run->problem->V > 0 &&
           (run->out->o != NULL || run->out->u_chunk != NULL || run->out->u_final != NULL ||
            run->lo->o != NULL || run->lo->u_chunk != NULL || run->lo->u_final != NULL);
}

static void *new_memory(const gka_run *run) {
    space measure;
    const bool window = run->options->window != NULL;
    const int64_t header = gka_strip_size((int64_t)(sizeof(space) + 7) / 8);
    const int64_t size = layout(NULL, run->problem, wants_U(run), window, &measure);
    double *const block = gka_alloc((size_t)(header + size), sizeof *block);
    if (block != NULL)
        layout(block + header, run->problem, wants_U(run), window, (space *)(void *)block);
    return block;
}

/* ---- the state ----------------------------------------------------------------------------- */

static void empty_state(space *w) {
    memset(w->head.H, 0, (size_t)(2 * w->n * w->n) * sizeof(double));
    memset(w->U, 0, (size_t)(2 * w->n * w->m) * sizeof(double));
    memset(w->norm_h, 0, (size_t)w->n * sizeof(double));
    memset(w->norm_u, 0, (size_t)w->m * sizeof(double));
    memset(w->E_u, 0, (size_t)w->m * sizeof(double));
    gka_pattern_empty(&w->head.pattern);
    w->E_H = w->N_H = w->least = 0;
}

/* H = (h0 + h0^T)/2 exactly, U = u0 */
static void first_state(space *w) {
    gka_head *const head = &w->head;
    const gka_problem *const problem = head->run->problem;
    const int64_t D = w->D, V = w->V;
    double *const h0 = head->row, *const u0 = V > 0 ? head->row + D * D : NULL;
    const gka_kernels *const K = head->kernels;
    empty_state(w);
    head->h0_least = 0;
    if (problem->h0.data == NULL && problem->u0.data == NULL)
        return;
    gka_problem_h0(problem, head->n, head->h, h0);
    if (V > 0)
        gka_problem_u0(problem, head->n, head->h, u0);
    gka_pattern_start(&head->pattern, h0, u0);
    for (int64_t j = 0; j < D; j++) {
        for (int64_t i = 0; i < D; i++) {
            const dd s = two_sum(h0[i * D + j], h0[j * D + i]);
            head->H[gka_strip_at(w->n, i, j)] = s.hi / 2;
            head->H[gka_strip_at(w->n, i, j) + 8] = s.lo / 2;
            w->x[i] = s.hi / 2;
        }
        w->norm_h[j] = K->norm(w->n, w->x) * UP;
    }
    w->N_H = K->norm(w->n, w->norm_h);
    for (int64_t v = 0; v < V; v++) {
        for (int64_t i = 0; i < D; i++) {
            w->U[gka_strip_at(w->n, i, v)] = u0[i * V + v];
            w->x[i] = u0[i * V + v];
        }
        w->norm_u[v] = K->norm(w->n, w->x);
    }
    if (head->pattern.pairs > 0)
        w->least = head->h0_least = gka_head_h0_least(head, head->H, w->N_H);
}

static void read_token(space *w, int64_t t) {
    const gka_head *const head = &w->head;
    const gka_problem *const problem = head->run->problem;
    const double g = gka_problem_g(problem, head->span.b, t, head->h);
    gka_problem_q(problem, head->span.b, t, head->h, w->q);
    gka_problem_k(problem, head->span.b, t, head->h, w->k);
    if (w->V > 0)
        gka_problem_v(problem, head->span.b, t, head->h, w->v);
    w->alpha = gka_problem_alpha(problem, head->span.b, t, head->h);
    w->gamma = gka_dd_exp(g, &w->gamma_error);
    if (g == -INFINITY) /* the state restarts, whatever it was */
        empty_state(w);
    if (t == forward_of(head->run)->enclosure.flip) {
        uint64_t bits;
        memcpy(&bits, &w->gamma.hi, sizeof bits);
        bits ^= 1;
        memcpy(&w->gamma.hi, &bits, sizeof bits);
    }
}

/* H <- gamma H + k k^T, f, lambda, and what is known of them. */
static void next_h(space *w, double k_norm) {
    gka_head *const head = &w->head;
    const gka_kernels *const K = head->kernels;
    const double a = head->run->problem->ridge_ratio;
    const double gamma = (w->gamma.hi + w->gamma_error) * UP;
    double f2_error;
    w->E_H = (gamma * w->E_H + (GKA_UPDATE_OLD * U2 * gamma + w->gamma_error) * w->N_H +
              GKA_UPDATE_NEW * U2 * k_norm * k_norm) *
                 UP +
             TINY;
    w->least *= gamma;
    const dd f2 = K->update_h(w->n, w->gamma, w->k, k_norm, w->norm_h, head->H, head->H, &f2_error);
    w->N_H = K->norm(w->n, w->norm_h);
    w->empty = head->pattern.pairs == 0;
    if (w->empty) {
        w->E_H = w->f_error = w->lambda_error = 0;
        w->f = w->lambda = (dd){0, 0};
        return;
    }
    w->f = dd_sqrt(f2);
    w->f_error = (f2_error / w->f.hi + 4 * U2 * w->f.hi + w->E_H) * UP;
    if (!(w->f_error <= DBL_MAX)) /* f = 0 by underflow, or an overflow */
        w->f_error = INFINITY;
    w->lambda = dd_mul_d(w->f, a);
    w->lambda_error = (a * w->f_error + 2 * U2 * w->lambda.hi) * UP + TINY;
    if (head->run->options->ridge > 0) {
        w->lambda = (dd){head->run->options->ridge, 0};
        w->lambda_error = 0;
    }
}

/* What update_u will need and leave: column_u bounds the columns of the new U, E_u their errors. */
static void next_u_bounds(space *w, double k_norm) {
    const double gamma = (w->gamma.hi + w->gamma_error) * UP;
    for (int64_t v = 0; v < w->V; v++) {
        const double fresh = fabs(w->v[v]) * k_norm;
        w->column_u[v] = (gamma * w->norm_u[v] + fresh) * UP;
        w->E_u[v] =
            (gamma * w->E_u[v] + (GKA_UPDATE_OLD * U2 * gamma + w->gamma_error) * w->norm_u[v] +
             GKA_UPDATE_NEW * U2 * fresh) *
                UP +
            TINY;
    }
}

/* ---- the solve ----------------------------------------------------------------------------- */

static double sum_error(const space *w) {
    return (GKA_SUM_ERROR * (double)w->n + 4) * U2; /* 3, and 1 for the lo lo left out */
}

/* Everything between ||r|| as computed and the true residual of x for the true H, lambda. */
static double residual_error(const space *w) {
    return (sum_error(w) * w->N_H * w->x_norm +
            GKA_ASSEMBLE_ERROR * U2 * (w->q_norm + (w->N_H + w->lambda.hi) * w->x_norm) +
            (w->E_H + w->lambda_error) * w->x_norm) *
           UP;
}

/* r = q - (H + lambda) x; returns its norm and notes that of x. */
static double residual(space *w) {
    return w->head.kernels->residual(w->n, w->head.H, w->norm_h, w->lambda, w->q, w->x, w->x_lo,
                                     w->head.r, &w->x_norm);
}

static double refined(space *w) {
    gka_head *const head = &w->head;
    const gka_kernels *const K = head->kernels;
    if (!gka_head_factor(head, head->H, w->lambda.hi))
        return INFINITY;
    K->solve(w->n, head->R, head->inverse, w->q, w->x);
    memset(w->x_lo, 0, (size_t)w->n * sizeof *w->x_lo);
    double r = residual(w);
    for (int i = 0; i < MOST_REFINEMENTS && r > residual_error(w) / 4; i++) {
        const double before = r;
        K->solve(w->n, head->R, head->inverse, head->r, head->d);
        K->correct(w->n, head->d, w->x, w->x_lo);
        r = residual(w);
        if (!(r < before / 2))
            break;
    }
    return r;
}

static void solve(space *w, int64_t at) {
    const gka_enclosure *const enclosure = &forward_of(w->head.run)->enclosure;
    memset(w->x, 0, (size_t)w->n * sizeof *w->x);
    memset(w->x_lo, 0, (size_t)w->n * sizeof *w->x_lo);
    w->x_norm = w->e_x = 0;
    if (w->empty)
        return;
    double least = (w->lambda.hi * DOWN - w->lambda_error + w->least) * DOWN, r;
    if (!(least > 0))
        least = gka_head_least(&w->head, w->head.H, w->lambda.hi, w->N_H, w->E_H + w->lambda_error);
    if (enclosure->claim != NULL) {
        memcpy(w->x, enclosure->claim + at * w->D, (size_t)w->D * sizeof *w->x);
        memcpy(w->x_lo, enclosure->claim_lo + at * w->D, (size_t)w->D * sizeof *w->x_lo);
        r = residual(w);
    } else {
        r = refined(w);
    }
    w->e_x = least > 0 ? (r + residual_error(w)) * UP / least : INFINITY;
    if (!(w->e_x <= DBL_MAX)) /* NaN: something overflowed */
        w->e_x = INFINITY;
    else if (!gka_all_zero(w->D,
                           w->q)) /* else x = 0, and e_x is what the bounds add against underflow */
        w->head.worst_bound = fmax(w->head.worst_bound, w->e_x / w->x_norm);
}

/* ---- results ------------------------------------------------------------------------------- */

/* Rounds count numbers; returns how many need a closer look: not decided, or zero. */
static int64_t round_row(const space *w, int64_t count, const double *x, const double *x_lo,
                         const double *error, int error_step, double *out) {
    const gka_target target = w->head.target;
    int64_t doubtful = 0;
    if (target.format == NULL)
        return w->head.kernels->round(count, x, x_lo, error, error_step, out);
    for (int64_t i = 0; i < count; i++)
        doubtful += !gka_target_decide(target, x[i], x_lo[i], error[i * error_step], &out[i]) ||
                    out[i] == 0;
    return doubtful;
}

static void need(space *w, int64_t t, int what) {
    w->head.needs[t - w->head.span.begin] |= (unsigned char)what;
}

static void put_number(space *w, int64_t t, dd x, double error, double *out) {
    double scratch;
    if (!w->empty && !gka_target_decide(w->head.target, x.hi, x.lo, error, &scratch))
        need(w, t, GKA_NEED_F);
    if (out != NULL)
        *out = w->empty ? 0 : scratch;
}

static void put_x(space *w, int64_t t, double *out) {
    gka_pattern *const pattern = &w->head.pattern;
    if (out == NULL)
        return;
    if (w->empty) {
        memset(out, 0, (size_t)w->D * sizeof *out);
        return;
    }
    if (round_row(w, w->D, w->x, w->x_lo, &w->e_x, 0, out) == 0)
        return;
    gka_pattern_solve(pattern, w->q);
    for (int64_t i = 0; i < w->D; i++)
        if (pattern->zero[i] != 0) {
            out[i] = 0;
            w->head.zeros++;
        } else if (!gka_target_decide(w->head.target, w->x[i], w->x_lo[i], w->e_x, &out[i])) {
            need(w, t, GKA_NEED_X);
        }
}

/* o = s U^T q', and E, the bound of each component. */
static void apply(space *w, double k_norm) {
    const gka_head *const head = &w->head;
    const gka_kernels *const K = head->kernels;
    const double s = head->run->problem->scale, alpha = fabs(w->alpha);
    K->mix(w->n, w->alpha, w->q, w->x, w->x_lo, w->y, w->y_lo);
    const double y_norm = K->norm(w->n, w->y);
    const double e_y = (alpha > 0 ? alpha * w->e_x : 0) +
                       GKA_MIX_ERROR * U2 * (w->q_norm + alpha * (w->x_norm + w->q_norm)) * UP +
                       TINY;
    next_u_bounds(w, k_norm);
    K->update_u_apply(w->n, w->m, w->gamma, w->k, k_norm, w->v, w->norm_u, w->U, w->y, w->y_lo,
                      y_norm, s, w->o, w->o_lo);
    for (int64_t v = 0; v < w->V; v++) {
        const double sum = sum_error(w) * w->column_u[v] * y_norm + w->column_u[v] * e_y +
                           w->E_u[v] * (y_norm + e_y);
        const double e = (fabs(s) * sum + 2 * U2 * fabs(w->o[v])) * UP + TINY;
        w->o_error[v] = e <= DBL_MAX ? e : INFINITY; /* NaN: something overflowed */
    }
}

static void put_o(space *w, int64_t t, double *out) {
    gka_pattern *const pattern = &w->head.pattern;
    if (out == NULL || round_row(w, w->V, w->o, w->o_lo, w->o_error, 1, out) == 0)
        return;
    gka_pattern_solve(pattern, w->q);
    if (w->empty)
        memset(pattern->zero, 1, (size_t)w->D);
    for (int64_t v = 0; v < w->V; v++)
        if (w->head.run->problem->scale == 0 || gka_pattern_zero_o(pattern, w->alpha, w->q, v)) {
            out[v] = 0;
            w->head.zeros++;
        } else if (!gka_target_decide(w->head.target, w->o[v], w->o_lo[v], w->o_error[v],
                                      &out[v])) {
            need(w, t, GKA_NEED_O);
        }
}

/* A state of `columns` columns from its strips, each entry within error[column * step]. */
static void put_state(space *w, int64_t t, const double *M, int64_t columns, const double *error,
                      int step, const unsigned char *touched, int what, double *out) {
    double *const hi = w->round, *const lo = w->head.row;
    for (int64_t i = 0; out != NULL && i < w->D; i++, out += columns, touched += columns) {
        for (int64_t j = 0; j < columns; j++) {
            hi[j] = M[gka_strip_at(w->n, i, j)];
            lo[j] = M[gka_strip_at(w->n, i, j) + 8];
        }
        if (round_row(w, columns, hi, lo, error, step, out) == 0)
            continue;
        for (int64_t j = 0; j < columns; j++)
            if (touched[j] == 0)
                out[j] = 0;
            else if (!gka_target_decide(w->head.target, hi[j], lo[j], error[j * step], &out[j]))
                need(w, t, what);
    }
}

static void put_states(space *w, int64_t t, double *H, double *U) {
    const gka_pattern *const p = &w->head.pattern;
    put_state(w, t, w->head.H, w->D, &w->E_H, 0, p->pair, GKA_NEED_H, H);
    if (w->V > 0)
        put_state(w, t, w->U, w->V, w->E_u, 1, p->entry, GKA_NEED_U, U);
}

static gka_status put_kappa(space *w, int64_t t, double *out, gka_error *error) {
    const int64_t D = w->D;
    double *const row = w->head.row;
    *out = NAN;
    if (w->empty)
        return GKA_OK;
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++)
            row[i * D + j] = w->head.H[gka_strip_at(w->n, i, j)];
    if (gka_fp64_kappa(D, row, w->lambda.hi, row + D * D, out))
        return GKA_OK;
    return gka_head_fail(&w->head, t, GKA_NOT_CONVERGED, "the eigenvalues did not converge", error);
}

static void put_enclosure(const space *w, int64_t at) {
    const gka_enclosure *const e = &forward_of(w->head.run)->enclosure;
    const size_t D = (size_t)w->D * sizeof(double), V = (size_t)w->V * sizeof(double);
    if (e->x != NULL) {
        memcpy(e->x + at * w->D, w->x, D);
        memcpy(e->x_lo + at * w->D, w->x_lo, D);
        e->x_error[at] = w->e_x;
    }
    if (e->fro != NULL) {
        e->fro[at] = w->f.hi;
        e->fro_lo[at] = w->f.lo;
        e->fro_error[at] = w->f_error;
    }
    if (e->o != NULL) {
        memcpy(e->o + at * w->V, w->o, V);
        memcpy(e->o_lo + at * w->V, w->o_lo, V);
        memcpy(e->o_error + at * w->V, w->o_error, V);
    }
}

static void put_final_enclosure(const space *w, int64_t i) {
    const gka_enclosure *const e = &forward_of(w->head.run)->enclosure;
    const int64_t D = w->D;
    if (e->h == NULL)
        return;
    e->h_error[i] = w->E_H;
    for (int64_t j = 0; j < D * D; j++) {
        const size_t at = gka_strip_at(w->n, j / D, j % D);
        e->h[i * D * D + j] = w->head.H[at];
        e->h_lo[i * D * D + j] = w->head.H[at + 8];
    }
}

/* ---- one head ------------------------------------------------------------------------------ */

static gka_status token(space *w, int64_t t, gka_error *error) {
    gka_head *const head = &w->head;
    const gka_kernels *const K = head->kernels;
    const gka_outputs *const out = head->run->out;
    const int64_t at = gka_at(head->run->problem, head->span.b, t, head->h) - head->base;
    const bool o_wanted = w->V > 0 && out->o != NULL;
    read_token(w, t);
    gka_pattern_add(&head->pattern, w->k, w->V > 0 ? w->v : NULL);
    const double k_norm = K->norm(w->n, w->k);
    w->q_norm = K->norm(w->n, w->q);
    next_h(w, k_norm);
    put_number(w, t, w->f, w->f_error, gka_offset(out->fro, at));
    put_number(w, t, w->lambda, w->lambda_error, gka_offset(out->lambda, at));
    if (out->x != NULL || (o_wanted && w->alpha != 0)) {
        solve(w, at);
        put_x(w, t, gka_offset(out->x, at * w->D));
    } else {
        memset(w->x, 0, (size_t)w->n * sizeof *w->x);
        memset(w->x_lo, 0, (size_t)w->n * sizeof *w->x_lo);
        w->x_norm = w->e_x = 0;
    }
    if (o_wanted) {
        apply(w, k_norm);
        put_o(w, t, out->o + at * w->V);
    } else if (w->V > 0) {
        next_u_bounds(w, k_norm);
        K->update_u(w->n, w->m, w->gamma, w->k, k_norm, w->v, w->norm_u, w->U, w->U);
    }
    put_enclosure(w, at);
    return out->kappa == NULL ? GKA_OK : put_kappa(w, t, out->kappa + at, error);
}

/* Second words are not to be had in double-double: each is computed in MPFR. */
static int needs_of_lo(const gka_outputs *lo, bool chunk) {
    return (lo->fro != NULL || lo->lambda != NULL ? GKA_NEED_F : 0) |
           (lo->x != NULL ? GKA_NEED_X : 0) | (lo->o != NULL ? GKA_NEED_O : 0) |
           (chunk && lo->h_chunk != NULL ? GKA_NEED_H : 0) |
           (chunk && lo->u_chunk != NULL ? GKA_NEED_U : 0);
}

/* Whether any of the tokens from .. to needs MPFR. */
static bool count_up(space *w, int64_t from, int64_t to) {
    gka_head *const head = &w->head;
    bool any = false;
    for (int64_t i = from; i <= to; i++) {
        any = any || head->needs[i] != 0;
        head->recomputed += (head->needs[i] & (GKA_NEED_F | GKA_NEED_X | GKA_NEED_O)) != 0;
    }
    return any;
}

/* ---- windows ------------------------------------------------------------------------------- */

static const gka_oracle_window *window_of(const gka_run *run) {
    return run->options->window;
}

/* MPFR from the sequence's start, while the head stands in its middle: what that uses is put back.
 */
static gka_status resolve_within(space *w, gka_error *error) {
    gka_head *const head = &w->head;
    const gka_pattern pattern = head->pattern;
    const size_t state = (size_t)(2 * w->n * w->n) * sizeof *head->H;
    memcpy(w->kept_H, head->H, state);
    memcpy(w->kept_pattern, pattern.pair, (size_t)(w->D * (w->D + w->V)));
    const gka_status status = gka_head_resolve(head, error);
    memcpy(head->H, w->kept_H, state);
    head->pattern = pattern;
    memcpy(head->pattern.pair, w->kept_pattern, (size_t)(w->D * (w->D + w->V)));
    return status;
}

/* Tokens [base, end) are computed: decides them, hands them over, begins anew. */
static gka_status end_window(gka_run *run, int64_t end, space *w, gka_error *error) {
    gka_head *const head = &w->head;
    const gka_oracle_window *const window = window_of(run);
    const int64_t from = head->base;
    gka_status status = GKA_OK;
    if (count_up(w, from, end - 1))
        status = resolve_within(w, error);
    if (status == GKA_OK && !window->full(window->context, from, end))
        status = GKA_INTERRUPTED;
    memset(head->needs + from, 0, (size_t)(end - from));
    head->base = end;
    head->chunk_base = end / run->problem->chunk_size;
    return status;
}

static void report(space *w) {
    gka_run *const run = w->head.run;
    pthread_mutex_lock(&run->lock);
    run->report->ties += w->head.ties;
    run->report->declared += w->head.declared;
    run->report->zeros += w->head.zeros;
    run->report->recomputed += w->head.recomputed;
    run->report->worst_bound = fmax(run->report->worst_bound, w->head.worst_bound);
    pthread_mutex_unlock(&run->lock);
}

static void begin(space *w, gka_run *run, int64_t n, int64_t h) {
    gka_head *const head = &w->head;
    const forward *const f = forward_of(run);
    head->run = run;
    head->kernels = f->kernels;
    head->target = f->target;
    head->n = n;
    head->h = h;
    head->span = gka_problem_span(run->problem, n);
    head->with_U = w->V > 0;
    head->ties = head->declared = head->zeros = head->recomputed = 0;
    head->worst_bound = 0;
    head->base = head->chunk_base = 0;
    memset(head->needs, 0, (size_t)(head->span.end - head->span.begin + 1));
    first_state(w);
}

static gka_status forward_head(gka_run *run, int64_t n, int64_t h, void *memory, gka_error *error) {
    space *const w = memory;
    gka_head *const head = &w->head;
    const gka_outputs *const out = run->out, *const lo = run->lo;
    const int64_t D = w->D, V = w->V, i = n * run->problem->H + h;
    const gka_oracle_window *const window = window_of(run);
    gka_status status = GKA_OK;
    begin(w, run, n, h);
    for (int64_t t = head->span.begin; t < head->span.end; t++) {
        const int64_t chunk = gka_at_chunk(run->problem, n, t, h);
        if (chunk >= 0)
            put_states(w, t, gka_offset(out->h_chunk, (chunk - head->chunk_base) * D * D),
                       gka_offset(out->u_chunk, (chunk - head->chunk_base) * D * V));
        need(w, t, needs_of_lo(lo, chunk >= 0));
        status = token(w, t, error);
        if (status != GKA_OK)
            return status;
        if (!gka_run_solved(run, n, h, w->empty))
            return GKA_INTERRUPTED;
        if (window != NULL && (t + 1 == head->span.end || (t + 1) % window->tokens == 0))
            status = end_window(run, t + 1, w, error);
        if (status != GKA_OK)
            return status;
    }
    put_states(w, head->span.end, gka_offset(out->h_final, i * D * D),
               gka_offset(out->u_final, i * D * V));
    put_final_enclosure(w, i);
    need(w, head->span.end,
         (lo->h_final != NULL ? GKA_NEED_H : 0) | (lo->u_final != NULL ? GKA_NEED_U : 0));
    const int64_t length = head->span.end - head->span.begin;
    if (count_up(w, window != NULL ? length : 0, length) && !forward_of(run)->enclosure.no_mpfr)
        status = gka_head_resolve(head, error);
    report(w);
    return status;
}

/* ---- entry --------------------------------------------------------------------------------- */

gka_status gka_certified_enclose(const gka_problem *problem, const gka_oracle_options *options,
                                 gka_outputs *out, gka_outputs *lo, gka_enclosure *enclosure,
                                 gka_oracle_report *report_, gka_error *error) {
    forward f = {.run = {.problem = problem,
                         .options = options,
                         .out = out,
                         .lo = lo,
                         .report = report_,
                         .heads = 1,
                         .memory = new_memory,
                         .body = forward_head},
                 .enclosure = *enclosure,
                 .kernels = gka_kernels_best()};
    if (!gka_target_make(options->round_to, &f.target))
        return gka_fail(error, GKA_UNSUPPORTED,
                        "certified oracle: results cannot be rounded to %s (p <= 25 or fp64)",
                        options->round_to->name == NULL ? "this format" : options->round_to->name);
    gka_blas_alone_begin(); /* for kappa */
    const gka_status status = gka_run_all(&f.run, error);
    gka_blas_alone_end();
    return status;
}

gka_status gka_certified_forward(const gka_problem *problem, const gka_oracle_options *options,
                                 gka_outputs *out, gka_outputs *lo, gka_oracle_report *report_,
                                 gka_error *error) {
    gka_enclosure nothing = {.flip = -1};
    return gka_certified_enclose(problem, options, out, lo, &nothing, report_, error);
}
