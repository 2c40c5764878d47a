/* mpfr_oracle.c - NUMERICS 1 and 2 a second time, in any precision, as directly as they can be
 * written: the judge of the other two oracles, and slow.
 *
 *   H U  the state [D,D], [D,V]      k q v  the token        gamma   exp(g)
 *   M    H + lambda I                x      M^-1 q           f       ||H||_F
 *   A E  of NUMERICS 2               p      M^-1 dx          lambda  a f
 *
 * Inputs are exact and every operation is rounded to nearest at the precision asked for; the error
 * of x is that of fp64.c with u = 2^-precision. The factor is L B L^T with diagonal B and without
 * square roots; where a pivot is not positive (an indefinite h0), elimination with row
 * interchanges.
 */
#include "oracle/mpfr_oracle.h"

#include "oracle/fp64.h"
#include "oracle/mp.h"
#include "oracle/run.h"

#include <math.h>

#define RN MPFR_RNDN

/* ---- memory -------------------------------------------------------------------------------- */

/* One worker's numbers; all lie in one block. */
typedef struct space {
    int64_t D, V;           /* V = 0 where U and E are not wanted */
    bool constant;          /* the ridge is a and not a f */
    int64_t length;         /* of a gradient: tokens from one kept state to the next */
    mpfr_t *marks, *states; /* the kept states; length + 1 states from one of them on */
    mpfr_t *H, *U;          /* a state, one of `states` */
    mpfr_t *M, *k, *q, *v, *x, *p, *y, *dq, *o, *dout;
    mpfr_t *A, *E, *dk, *dv; /* dk [T,D], dv [T,V]: sums over the heads of a group */
    mpfr_t *gamma, *f, *lambda, *a, *s, *alpha; /* one number each */
    mpfr_t *t, *sum, *low; /* of one expression; of one sum; of one result's second word */
} space;

/* Returns how many numbers it took. */
static size_t layout(mpfr_t *block, const gka_problem *problem, bool gradient, bool with_U,
                     space *w) {
    const int64_t D = problem->D, V = with_U ? problem->V : 0, T = gka_problem_longest(problem);
    size_t used = 0;
    int64_t length = 1;
    while (gradient && length * length < T)
        length++;
    *w = (space){.D = D, .V = V, .length = length};
    w->states = gka_mp_take(block, &used, (gradient ? length + 1 : 1) * D * (D + V));
    w->M = gka_mp_take(block, &used, D * D);
    mpfr_t **const vectors[] = {&w->k, &w->q, &w->x, &w->p, &w->y, &w->dq, &w->v, &w->o, &w->dout};
    for (int i = 0; i < 9; i++)
        *vectors[i] = gka_mp_take(block, &used, i < 6 ? D : V);
    mpfr_t **const numbers[] = {&w->gamma, &w->f, &w->lambda, &w->a,  &w->s,
                                &w->alpha, &w->t, &w->sum,    &w->low};
    for (int i = 0; i < 9; i++)
        *numbers[i] = gka_mp_take(block, &used, 1);
    if (gradient) {
        w->marks = gka_mp_take(block, &used, (T + length - 1) / length * D * (D + V));
        w->A = gka_mp_take(block, &used, D * D);
        w->E = gka_mp_take(block, &used, D * V);
        w->dk = gka_mp_take(block, &used, T * D);
        w->dv = gka_mp_take(block, &used, T * V);
    }
    return used;
}

static void *new_block(const gka_run *run, bool gradient, bool with_U) {
    space measure;
    const size_t count = layout(NULL, run->problem, gradient, with_U, &measure);
    return gka_mp_new(count, run->options->precision);
}

/* ---- results ------------------------------------------------------------------------------- */

/* n numbers to offset i of an array of the caller, and their second words to that of lo. */
static void put(const space *w, mpfr_t *x, int64_t n, double *out, double *lo, int64_t i) {
    for (int64_t j = 0; j < n && (out != NULL || lo != NULL); j++) {
        double high, low;
        gka_mp_get(x[j], *w->low, &high, &low);
        if (out != NULL)
            out[i + j] = high;
        if (lo != NULL)
            lo[i + j] = low;
    }
}

static gka_status fail_at(gka_error *error, gka_status status, int64_t n, int64_t t, int64_t h) {
    return gka_fail(error, status, "mpfr oracle: sequence %lld, token %lld, head %lld: %s",
                    (long long)n, (long long)t, (long long)h,
                    status == GKA_NOT_POSITIVE_DEFINITE
                        ? "H + lambda I is singular in the bits at hand; mpfr/BITS takes more"
                    : status == GKA_NOT_CONVERGED ? "the eigenvalues did not converge"
                    : status == GKA_UNSUPPORTED
                        ? "the state has decayed below the exponents of MPFR"
                        : gka_status_text(status));
}

/* ---- small sums ---------------------------------------------------------------------------- */

/* z += x y */
static void add_product(const space *w, mpfr_t z, mpfr_t x, mpfr_t y) {
    mpfr_mul(*w->t, x, y, RN);
    mpfr_add(z, z, *w->t, RN);
}

/* z -= x y */
static void sub_product(const space *w, mpfr_t z, mpfr_t x, mpfr_t y) {
    mpfr_mul(*w->t, x, y, RN);
    mpfr_sub(z, z, *w->t, RN);
}

/* w->sum = <x, y> */
static void dot(const space *w, int64_t n, mpfr_t *x, mpfr_t *y) {
    mpfr_set_zero(*w->sum, 1);
    for (int64_t i = 0; i < n; i++)
        add_product(w, *w->sum, x[i], y[i]);
}

/* ---- the state ----------------------------------------------------------------------------- */

static void at_state(space *w, int64_t i) {
    w->H = w->states + i * w->D * (w->D + w->V);
    w->U = w->H + w->D * w->D;
}

/* H = (h0 + h0^T)/2, U = u0 */
static void first_state(const gka_problem *problem, int64_t n, int64_t h, double *row, space *w) {
    const int64_t D = w->D, V = w->V;
    gka_problem_h0(problem, n, h, row);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++) {
            mpfr_set_d(w->H[i * D + j], row[i * D + j], RN);
            mpfr_add_d(w->H[i * D + j], w->H[i * D + j], row[j * D + i], RN);
            mpfr_div_2ui(w->H[i * D + j], w->H[i * D + j], 1, RN);
        }
    if (V == 0)
        return;
    gka_problem_u0(problem, n, h, row);
    gka_mp_read(D * V, row, w->U);
}

static void read_token(const gka_problem *problem, int64_t b, int64_t t, int64_t h, double *row,
                       space *w) {
    gka_problem_q(problem, b, t, h, row);
    gka_mp_read(w->D, row, w->q);
    gka_problem_k(problem, b, t, h, row);
    gka_mp_read(w->D, row, w->k);
    if (w->V > 0) {
        gka_problem_v(problem, b, t, h, row);
        gka_mp_read(w->V, row, w->v);
    }
    mpfr_set_d(*w->alpha, w->V > 0 ? gka_problem_alpha(problem, b, t, h) : 1, RN);
    mpfr_set_d(*w->gamma, gka_problem_g(problem, b, t, h), RN);
    mpfr_clear_underflow();
    mpfr_exp(*w->gamma, *w->gamma, RN);
}

static bool all_zero(int64_t n, mpfr_t *x) {
    for (int64_t i = 0; i < n; i++)
        if (!mpfr_zero_p(x[i]))
            return false;
    return true;
}

/* H = gamma H + k k^T, U = gamma U + k v^T, f = ||H||_F, lambda = a f. False: H has decayed below
 * the exponents of MPFR, where it would pass for empty. */
static bool next_state(space *w) {
    const int64_t D = w->D, V = w->V;
    const bool empty = all_zero(D * D, w->H);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++) {
            mpfr_mul(w->H[i * D + j], w->H[i * D + j], *w->gamma, RN);
            add_product(w, w->H[i * D + j], w->k[i], w->k[j]);
        }
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < V; j++) {
            mpfr_mul(w->U[i * V + j], w->U[i * V + j], *w->gamma, RN);
            add_product(w, w->U[i * V + j], w->k[i], w->v[j]);
        }
    dot(w, D * D, w->H, w->H);
    mpfr_sqrt(*w->f, *w->sum, RN);
    if (w->constant)
        mpfr_set(*w->lambda, *w->a, RN);
    else
        mpfr_mul(*w->lambda, *w->a, *w->f, RN);
    return empty || !mpfr_zero_p(*w->f) || !mpfr_underflow_p();
}

/* ---- the solve ----------------------------------------------------------------------------- */

static void form_M(space *w) {
    gka_mp_copy(w->M, w->H, w->D * w->D);
    for (int64_t i = 0; i < w->D; i++)
        mpfr_add(w->M[i * w->D + i], w->M[i * w->D + i], *w->lambda, RN);
}

/* A pivot of a singular matrix: 0, or without a ridge, which is a bound from below, what rounding
 * may have left of 0, 2^(32 - P) of f. */
static bool lost(space *w, mpfr_t pivot) {
    if (!mpfr_zero_p(*w->a))
        return mpfr_zero_p(pivot);
    mpfr_mul_2si(*w->t, *w->f, 32 - (long)mpfr_get_prec(*w->f), RN);
    return mpfr_cmpabs(pivot, *w->t) <= 0;
}

/* M = L B L^T: L below the diagonal, B on it. False: some pivot is not positive. */
static bool factorise(space *w) {
    const int64_t D = w->D;
    mpfr_t *const M = w->M;
    for (int64_t j = 0; j < D; j++) {
        if (mpfr_sgn(M[j * D + j]) <= 0 || lost(w, M[j * D + j]) || gka_stopped())
            return false;
        for (int64_t i = j + 1; i < D; i++) {
            mpfr_div(*w->sum, M[i * D + j], M[j * D + j], RN); /* L_ij */
            for (int64_t m = j + 1; m <= i; m++)               /* M_mj is still L_mj B_j */
                sub_product(w, M[i * D + m], *w->sum, m < i ? M[j * D + m] : M[i * D + j]);
            mpfr_set(M[j * D + i], M[i * D + j], RN); /* L_ij B_j, above the diagonal */
            mpfr_set(M[i * D + j], *w->sum, RN);
        }
    }
    return true;
}

/* x = (L B L^T)^-1 x */
static void substitute(space *w, mpfr_t *x) {
    const int64_t D = w->D;
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < i; j++)
            sub_product(w, x[i], w->M[i * D + j], x[j]);
    for (int64_t i = D - 1; i >= 0; i--) {
        mpfr_div(x[i], x[i], w->M[i * D + i], RN);
        for (int64_t j = i + 1; j < D; j++)
            sub_product(w, x[i], w->M[j * D + i], x[j]);
    }
}

/* x = M^-1 x and y = M^-1 y by elimination with row interchanges. False: M is singular. */
static bool eliminate(space *w, mpfr_t *x, mpfr_t *y) {
    const int64_t D = w->D;
    mpfr_t *const M = w->M;
    for (int64_t j = 0; j < D; j++) {
        int64_t pivot = j;
        for (int64_t i = j + 1; i < D; i++)
            if (mpfr_cmpabs(M[i * D + j], M[pivot * D + j]) > 0)
                pivot = i;
        if (lost(w, M[pivot * D + j]) || gka_stopped())
            return false;
        for (int64_t m = 0; m < D && pivot != j; m++)
            mpfr_swap(M[pivot * D + m], M[j * D + m]);
        mpfr_swap(x[pivot], x[j]);
        mpfr_swap(y[pivot], y[j]);
        for (int64_t i = j + 1; i < D; i++) {
            mpfr_div(*w->sum, M[i * D + j], M[j * D + j], RN);
            for (int64_t m = j + 1; m < D; m++)
                sub_product(w, M[i * D + m], *w->sum, M[j * D + m]);
            sub_product(w, x[i], *w->sum, x[j]);
            sub_product(w, y[i], *w->sum, y[j]);
        }
    }
    for (int64_t i = D - 1; i >= 0; i--) {
        for (int64_t j = i + 1; j < D; j++) {
            sub_product(w, x[i], M[i * D + j], x[j]);
            sub_product(w, y[i], M[i * D + j], y[j]);
        }
        mpfr_div(x[i], x[i], M[i * D + i], RN);
        mpfr_div(y[i], y[i], M[i * D + i], RN);
    }
    return true;
}

/* w->x = M^-1 w->x, w->p = M^-1 w->p; both 0 when H = 0. False: M is singular. */
static bool solve(space *w) {
    if (mpfr_zero_p(*w->f)) {
        gka_mp_zero(w->x, w->D);
        gka_mp_zero(w->p, w->D);
        return true;
    }
    form_M(w);
    if (factorise(w)) {
        substitute(w, w->x);
        substitute(w, w->p);
        return true;
    }
    form_M(w);
    return eliminate(w, w->x, w->p);
}

/* y = q + alpha (x - q) as alpha x + (1 - alpha) q: x may be any number of times smaller than q,
 * and is y where alpha = 1. */
static void mix(space *w) {
    for (int64_t i = 0; i < w->D; i++) {
        mpfr_ui_sub(*w->sum, 1, *w->alpha, RN);
        mpfr_mul(w->y[i], *w->sum, w->q[i], RN);
        add_product(w, w->y[i], *w->alpha, w->x[i]);
    }
}

/* ---- forward ------------------------------------------------------------------------------- */

/* kappa is a property of H/f and a: in range for binary64, which is enough for it. */
static gka_status put_kappa(const gka_problem *problem, space *w, double *kappa) {
    const int64_t D = w->D;
    *kappa = NAN;
    if (mpfr_zero_p(*w->f))
        return GKA_OK;
    double *const H = gka_alloc((size_t)(2 * D + 4), (size_t)D * sizeof *H);
    if (H == NULL)
        return GKA_OUT_OF_MEMORY;
    for (int64_t i = 0; i < D * D; i++) {
        mpfr_div(*w->t, w->H[i], *w->f, RN);
        H[i] = mpfr_get_d(*w->t, RN);
    }
    const bool converged = gka_fp64_kappa(D, H, problem->ridge_ratio, H + D * D, kappa);
    gka_free(H);
    return converged ? GKA_OK : GKA_NOT_CONVERGED;
}

static gka_status forward_token(gka_run *run, int64_t i, space *w) {
    const gka_outputs *const out = run->out, *const lo = run->lo;
    const int64_t D = w->D, V = w->V;
    put(w, w->f, 1, out->fro, lo->fro, i);
    put(w, w->lambda, 1, out->lambda, lo->lambda, i);
    if (out->kappa != NULL) {
        const gka_status status = put_kappa(run->problem, w, &out->kappa[i]);
        if (status != GKA_OK)
            return status;
    }
    if (out->x == NULL && out->o == NULL)
        return GKA_OK;
    gka_mp_copy(w->x, w->q, D);
    gka_mp_zero(w->p, D);
    if (!solve(w))
        return GKA_NOT_POSITIVE_DEFINITE;
    put(w, w->x, D, out->x, lo->x, i * D);
    /* o = s U^T q' */
    mix(w);
    for (int64_t j = 0; j < V; j++) {
        mpfr_set_zero(*w->sum, 1);
        for (int64_t m = 0; m < D; m++)
            add_product(w, *w->sum, w->U[m * V + j], w->y[m]);
        mpfr_mul(w->o[j], *w->s, *w->sum, RN);
    }
    put(w, w->o, V, out->o, lo->o, i * V);
    return GKA_OK;
}

static gka_status forward_row(gka_run *run, int64_t n, int64_t h, double *row, space *w,
                              gka_error *error) {
    const gka_problem *const problem = run->problem;
    const gka_outputs *const out = run->out, *const lo = run->lo;
    const int64_t D = w->D, V = w->V;
    const gka_span span = gka_problem_span(problem, n);
    at_state(w, 0);
    first_state(problem, n, h, row, w);
    for (int64_t t = span.begin; t < span.end; t++) {
        const int64_t chunk = gka_at_chunk(problem, n, t, h);
        if (chunk >= 0) {
            put(w, w->H, D * D, out->h_chunk, lo->h_chunk, chunk * D * D);
            put(w, w->U, D * V, out->u_chunk, lo->u_chunk, chunk * D * V);
        }
        read_token(problem, span.b, t, h, row, w);
        if (!next_state(w))
            return fail_at(error, GKA_UNSUPPORTED, n, t, h);
        const gka_status status = forward_token(run, gka_at(problem, span.b, t, h), w);
        if (status != GKA_OK)
            return fail_at(error, status, n, t, h);
        if (!gka_run_solved(run, n, h, mpfr_zero_p(*w->f)))
            return GKA_INTERRUPTED;
    }
    const int64_t i = n * problem->H + h;
    put(w, w->H, D * D, out->h_final, lo->h_final, i * D * D);
    put(w, w->U, D * V, out->u_final, lo->u_final, i * D * V);
    return GKA_OK;
}

/* ---- gradients ----------------------------------------------------------------------------- */

/* NUMERICS 2 at one token, line by line. A and E hold gamma_{t+1} A_{t+1} and gamma_{t+1} E_{t+1}
 * on entry, gamma_t A_t and gamma_t E_t on return; w's state is number m + 1 of w->states. dk and
 * dv are this token's sums over the group. */
static gka_status reverse_token(gka_run *run, int64_t b, int64_t t, int64_t h, int64_t m,
                                mpfr_t *dk, mpfr_t *dv, double *row, space *w, bool *empty) {
    const gka_problem *const problem = run->problem;
    const gka_gradients *const out = &run->out->gradient[run->of], *const lo =
                                                                       &run->lo->gradient[run->of];
    const int64_t D = w->D, V = w->V, at = gka_at(problem, b, t, h);
    read_token(problem, b, t, h, row, w);
    dot(w, D * D, w->H, w->H);
    mpfr_sqrt(*w->f, *w->sum, RN);
    mpfr_mul(*w->lambda, *w->a, *w->f, RN);
    *empty = mpfr_zero_p(*w->f);

    /* dq' = s U do, or dx itself; dx = alpha dq' */
    if (V > 0) {
        gka_problem_dout(problem, b, t, h, row);
        gka_mp_read(V, row, w->dout);
        for (int64_t i = 0; i < D; i++) {
            dot(w, V, w->U + i * V, w->dout);
            mpfr_mul(w->dq[i], *w->s, *w->sum, RN);
        }
    } else {
        gka_problem_dx(problem, b, t, h, row);
        gka_mp_read(D, row, w->dq);
    }

    /* x = M^-1 q,  p = M^-1 dx,  q' = q + alpha (x - q) */
    gka_mp_copy(w->x, w->q, D);
    for (int64_t i = 0; i < D; i++)
        mpfr_mul(w->p[i], *w->alpha, w->dq[i], RN);
    if (!solve(w))
        return GKA_NOT_POSITIVE_DEFINITE;
    mix(w);
    put(w, w->p, D, out->p, lo->p, at * D);

    /* E = s q' do^T + gamma_{t+1} E_{t+1} */
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < V; j++) {
            mpfr_mul(*w->sum, w->y[i], w->dout[j], RN);
            add_product(w, w->E[i * V + j], *w->s, *w->sum);
        }

    /* A = -p x^T - a <p,x>/f H + gamma_{t+1} A_{t+1} */
    dot(w, D, w->p, w->x);
    mpfr_mul(*w->sum, *w->sum, *w->a, RN);
    if (!*empty)
        mpfr_div(*w->sum, *w->sum, *w->f, RN);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++) {
            sub_product(w, w->A[i * D + j], w->p[i], w->x[j]);
            sub_product(w, w->A[i * D + j], *w->sum, w->H[i * D + j]);
        }

    /* dk = (A + A^T) k + E v,  dv = E^T k */
    for (int64_t i = 0; i < D; i++) {
        for (int64_t j = 0; j < D; j++) {
            mpfr_add(*w->sum, w->A[i * D + j], w->A[j * D + i], RN);
            add_product(w, dk[i], *w->sum, w->k[j]);
        }
        for (int64_t j = 0; j < V; j++) {
            add_product(w, dk[i], w->E[i * V + j], w->v[j]);
            add_product(w, dv[j], w->E[i * V + j], w->k[i]);
        }
    }

    /* dg = gamma <A_t, H_{t-1}> + gamma <E_t, U_{t-1}> */
    for (int64_t i = 0; i < D * D; i++)
        mpfr_mul(w->A[i], w->A[i], *w->gamma, RN);
    for (int64_t i = 0; i < D * V; i++)
        mpfr_mul(w->E[i], w->E[i], *w->gamma, RN);
    mpfr_t *const before = w->states + m * D * (D + V);
    dot(w, D * D, w->A, before);
    put(w, w->sum, 1, out->dg_h, lo->dg_h, at);
    mpfr_set(*w->f, *w->sum, RN);
    dot(w, D * V, w->E, before + D * D);
    put(w, w->sum, 1, out->dg_u, lo->dg_u, at);
    mpfr_add(*w->sum, *w->sum, *w->f, RN);
    put(w, w->sum, 1, out->dg, lo->dg, at);

    /* dalpha = <dq', x - q>,  dq = (1 - alpha) dq' + p */
    mpfr_set_zero(*w->sum, 1);
    for (int64_t i = 0; i < D && V > 0; i++) {
        mpfr_sub(*w->f, w->x[i], w->q[i], RN);
        add_product(w, *w->sum, w->dq[i], *w->f);
    }
    put(w, w->sum, 1, out->dalpha, lo->dalpha, at);
    mpfr_ui_sub(*w->f, 1, *w->alpha, RN);
    for (int64_t i = 0; i < D; i++) {
        mpfr_mul(w->dq[i], w->dq[i], *w->f, RN);
        mpfr_add(w->dq[i], w->dq[i], w->p[i], RN);
    }
    put(w, w->dq, D, out->dq, lo->dq, at * D);
    return GKA_OK;
}

/* A and E after the last token. */
static void last_cotangents(const gka_problem *problem, int64_t n, int64_t h, double *row,
                            space *w) {
    gka_problem_dh_final(problem, n, h, row);
    gka_mp_read(w->D * w->D, row, w->A);
    if (w->V > 0) {
        gka_problem_du_final(problem, n, h, row);
        gka_mp_read(w->D * w->V, row, w->E);
    }
}

/* One head. The states that the reverse needs are kept at every length-th token and replayed from
 * there. */
static gka_status reverse_head(gka_run *run, int64_t n, int64_t h, double *row, space *w,
                               gka_error *error) {
    const gka_problem *const problem = run->problem;
    const int64_t D = w->D, V = w->V, size = D * (D + V), length = w->length;
    const gka_span span = gka_problem_span(problem, n);
    at_state(w, 0);
    first_state(problem, n, h, row, w);
    for (int64_t t = span.begin; t < span.end; t++) {
        if ((t - span.begin) % length == 0)
            gka_mp_copy(w->marks + (t - span.begin) / length * size, w->states, size);
        read_token(problem, span.b, t, h, row, w);
        if (gka_stopped())
            return GKA_INTERRUPTED;
        if (!next_state(w))
            return fail_at(error, GKA_UNSUPPORTED, n, t, h);
    }
    last_cotangents(problem, n, h, row, w);
    for (int64_t t = span.end - 1; t >= span.begin; t--) {
        const int64_t i = t - span.begin, m = i % length;
        if (m == length - 1 || t == span.end - 1) {
            gka_mp_copy(w->states, w->marks + i / length * size, size);
            for (int64_t j = 0; j <= m && !gka_stopped(); j++) {
                gka_mp_copy(w->states + (j + 1) * size, w->states + j * size, size);
                at_state(w, j + 1);
                read_token(problem, span.b, t - m + j, h, row, w);
                (void)next_state(w); /* as before */
            }
        }
        at_state(w, m + 1);
        bool empty;
        const gka_status status =
            reverse_token(run, span.b, t, h, m, w->dk + i * D, w->dv + i * V, row, w, &empty);
        if (status != GKA_OK)
            return fail_at(error, status, n, t, h);
        if (!gka_run_solved(run, n, h, empty))
            return GKA_INTERRUPTED;
    }
    const int64_t i = n * problem->H + h;
    put(w, w->A, D * D, run->out->gradient[run->of].dh0, run->lo->gradient[run->of].dh0, i * D * D);
    put(w, w->E, D * V, run->out->gradient[run->of].du0, run->lo->gradient[run->of].du0, i * D * V);
    return GKA_OK;
}

static gka_status reverse_group(gka_run *run, int64_t n, int64_t h, double *row, space *w,
                                gka_error *error) {
    const gka_problem *const problem = run->problem;
    const int64_t D = w->D, V = w->V;
    const gka_span span = gka_problem_span(problem, n);
    gka_mp_zero(w->dk, (span.end - span.begin) * D);
    gka_mp_zero(w->dv, (span.end - span.begin) * V);
    for (int64_t i = 0; i < run->heads; i++) {
        const gka_status status = reverse_head(run, n, h + i, row, w, error);
        if (status != GKA_OK)
            return status;
    }
    for (int64_t t = span.begin; t < span.end; t++) {
        const int64_t i = t - span.begin, at = gka_at_group(problem, span.b, t, h);
        put(w, w->dk + i * D, D, run->out->gradient[run->of].dk, run->lo->gradient[run->of].dk,
            at * D);
        put(w, w->dv + i * V, V, run->out->gradient[run->of].dv, run->lo->gradient[run->of].dv,
            at * V);
    }
    return GKA_OK;
}

/* ---- entry --------------------------------------------------------------------------------- */

typedef gka_status row_body(gka_run *run, int64_t n, int64_t h, double *row, space *w,
                            gka_error *error);

/* One item: the block cut into its pieces, and room for a token as doubles. */
static gka_status with_row(gka_run *run, int64_t n, int64_t h, mpfr_t *block, bool gradient,
                           bool with_U, row_body *body, gka_error *error) {
    const gka_problem *const problem = run->problem;
    const int64_t width = problem->V > problem->D ? problem->V : problem->D;
    space w;
    layout(block, problem, gradient, with_U, &w);
    w.constant = run->options->ridge > 0;
    mpfr_set_d(*w.a, w.constant ? run->options->ridge : problem->ridge_ratio, RN);
    mpfr_set_d(*w.s, problem->scale, RN);
    double *const row = gka_alloc((size_t)problem->D, (size_t)width * sizeof *row);
    const gka_status status = row == NULL ? gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory")
                                          : body(run, n, h, row, &w, error);
    gka_free(row);
    mpfr_free_cache(); /* this thread's constants */
    return status;
}

static void *forward_memory(const gka_run *run) {
    return new_block(run, false, true);
}

static gka_status forward_head(gka_run *run, int64_t n, int64_t h, void *memory, gka_error *error) {
    return with_row(run, n, h, memory, false, true, forward_row, error);
}

static void *layer_memory(const gka_run *run) {
    return new_block(run, true, true);
}

static gka_status layer_group(gka_run *run, int64_t n, int64_t h, void *memory, gka_error *error) {
    return with_row(run, n, h, memory, true, true, reverse_group, error);
}

/* The cotangent of x knows nothing of U. */
static void *solve_memory(const gka_run *run) {
    return new_block(run, true, false);
}

static gka_status solve_group(gka_run *run, int64_t n, int64_t h, void *memory, gka_error *error) {
    return with_row(run, n, h, memory, true, false, reverse_group, error);
}

gka_status gka_mpfr_forward(const gka_problem *problem, const gka_oracle_options *options,
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
    gka_blas_alone_begin(); /* for kappa */
    const gka_status status = gka_run_all(&run, error);
    gka_blas_alone_end();
    return status;
}

gka_status gka_mpfr_gradient(const gka_problem *problem, gka_of cotangent,
                             const gka_oracle_options *options, gka_outputs *out, gka_outputs *lo,
                             gka_oracle_report *report, gka_error *error) {
    const bool layer = cotangent == GKA_OF_O;
    gka_run run = {.problem = problem,
                   .options = options,
                   .out = out,
                   .lo = lo,
                   .of = cotangent,
                   .report = report,
                   .heads = problem->G == 0 ? 1 : problem->H / problem->G,
                   .memory = layer ? layer_memory : solve_memory,
                   .body = layer ? layer_group : solve_group};
    gka_run_zero(problem, gka_of_outputs(cotangent), out);
    gka_run_zero(problem, gka_of_outputs(cotangent), lo);
    return gka_run_all(&run, error);
}
