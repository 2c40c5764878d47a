/* kalman.c - recursive ridge regression in seven forms (NUMERICS 7; Bierman 1977; Kaminski, Bryson
 * and Schmidt 1971). With measurement k^T x = v of noise 1:
 *
 *   Phi  covariance, (H + lambda I)^-1;  S  estimate, U^T Phi [V,D]
 *   u    Phi k;  s = 1 + k^T u;  g = u/s, the gain
 *   S += (v - S k) g^T;  Phi -= g u^T
 *
 * Forgetting H = gamma H + k k^T, U = gamma U + k v^T divides Phi by gamma before the update and
 * leaves S as it is. g_i u_j and g_j u_i are rounded apart, so g u^T is symmetric but for rounding;
 * the antisymmetric part of Phi that this leaves meets no other term than that division and grows
 * as gamma^-t in every precision. With w = u/sqrt(s) the same matrix is w w^T, whose elements w_i
 * w_j and w_j w_i are one product: Phi -= w w^T keeps a symmetric Phi symmetric to the bit, in
 * every format and every rounding that looks at the operands alone (stochastic rounding does not).
 */
#include "solve/row.h"

static const char *const NAMES[GKA_KALMAN_FORM_COUNT] = {
    "kalman",    "kalman-symmetrised", "kalman-joseph", "kalman-potter",
    "kalman-ud", "kalman-information", "kalman-outer"};

const char *gka_kalman_name(gka_kalman_form form) {
    return NAMES[form];
}

int gka_kalman_find(const char *name) {
    for (int i = 0; i < GKA_KALMAN_FORM_COUNT; i++)
        if (strcmp(name, NAMES[i]) == 0)
            return i;
    return -1;
}

enum { VECTORS = 5 }; /* of scratch: u, g, f, w, one more */

size_t gka_kalman_workspace(gka_kalman_form form, int64_t D, int64_t V) {
    const int64_t factor = form == GKA_KALMAN_INFORMATION ? D * D : 0;
    return (size_t)(D * D + D + V * D + factor + VECTORS * D + V) * sizeof(double);
}

void gka_kalman_start(gka_arith *A, gka_kalman *K, gka_kalman_form form, int64_t D, int64_t V,
                      double lambda, void *workspace) {
    double *const memory = workspace;
    *K = (gka_kalman){
        form, D, V, memory, memory + D * D, memory + D * D + D, memory + D * D + D + V * D};
    zero(memory, D * D + D + V * D);
    const double ridge = gka_arith_scalar(A, lambda), phi = quo(A, 1, ridge);
    for (int64_t i = 0; i < D; i++) {
        K->d[i] = stored(A, phi);
        double *const diagonal = &K->Phi[i * D + i];
        if (form == GKA_KALMAN_INFORMATION)
            *diagonal = stored(A, ridge);
        else if (form == GKA_KALMAN_POTTER)
            *diagonal = stored(A, root(A, phi));
        else if (form == GKA_KALMAN_UD)
            *diagonal = 1;
        else
            *diagonal = stored(A, phi);
    }
}

/* ---- one step, form by form ---------------------------------------------------------------- */

/* out = x / s */
static void over(gka_arith *A, int64_t n, const double *x, double s, double *divisor, double *out) {
    for (int64_t i = 0; i < n; i++)
        divisor[i] = s;
    gka_arith_divide(A, n, x, divisor, out);
}

/* S += (v - S k) g^T */
static void estimate(gka_arith *A, gka_kalman *K, const double *k, const double *v,
                     const double *g) {
    if (K->V == 0)
        return;
    double *const e = K->scratch + VECTORS * K->D;
    gka_arith_matvec(A, K->V, K->D, K->S, k, e);
    axpby(A, K->V, 1, v, -1, e, e);
    gka_arith_rank1(A, K->V, K->D, 1, K->S, 1, e, g);
}

/* u = Phi k, s = 1 + k . u, g = u/s; S. Returns s. */
static double gain(gka_arith *A, gka_kalman *K, const double *k, const double *v, double *u,
                   double *g) {
    gka_arith_matvec(A, K->D, K->D, K->Phi, k, u);
    const double s = add(A, 1, dot(A, K->D, k, u));
    over(A, K->D, u, s, g, g);
    estimate(A, K, k, v, g);
    return s;
}

/* Phi -= g u^T */
static void step_covariance(gka_arith *A, gka_kalman *K, const double *k, const double *v) {
    double *const u = K->scratch, *const g = u + K->D;
    (void)gain(A, K, k, v, u, g);
    gka_arith_rank1(A, K->D, K->D, 1, K->Phi, -1, g, u);
}

/* Phi -= w w^T, w = u/sqrt(s) */
static void step_outer(gka_arith *A, gka_kalman *K, const double *k, const double *v) {
    double *const u = K->scratch, *const g = u + K->D, *const w = g + K->D;
    const double s = gain(A, K, k, v, u, g);
    over(A, K->D, u, root(A, s), w, w);
    gka_arith_rank1(A, K->D, K->D, 1, K->Phi, -1, w, w);
}

/* Phi = (Phi + Phi^T)/2, row by row from the diagonal, mirrored */
static void symmetrise(gka_arith *A, gka_kalman *K) {
    const int64_t D = K->D;
    double *const column = K->scratch;
    for (int64_t i = 0; i < D; i++) {
        double *const row_i = K->Phi + i * D;
        for (int64_t j = i; j < D; j++)
            column[j] = K->Phi[j * D + i];
        axpby(A, D - i, 0.5, row_i + i, 0.5, column + i, row_i + i);
        for (int64_t j = i; j < D; j++)
            K->Phi[j * D + i] = row_i[j];
    }
}

/* M = Phi - g (Phi^T k)^T;  Phi = M - (M k) g^T + g g^T */
static void step_joseph(gka_arith *A, gka_kalman *K, const double *k, const double *v) {
    const int64_t D = K->D;
    double *const u = K->scratch, *const g = u + D, *const w = g + D;
    (void)gain(A, K, k, v, u, g);
    gka_arith_matvec_t(A, D, D, K->Phi, k, w);
    gka_arith_rank1(A, D, D, 1, K->Phi, -1, g, w);
    gka_arith_matvec(A, D, D, K->Phi, k, w);
    gka_arith_rank1(A, D, D, 1, K->Phi, -1, w, g);
    gka_arith_rank1(A, D, D, 1, K->Phi, 1, g, g);
}

/* Potter: f = W^T k, s = 1 + f . f, u = W f; W -= u f^T/(s + sqrt s) */
static void step_potter(gka_arith *A, gka_kalman *K, const double *k, const double *v) {
    const int64_t D = K->D;
    double *const u = K->scratch, *const g = u + D, *const f = g + D;
    gka_arith_matvec_t(A, D, D, K->Phi, k, f);
    const double s = add(A, 1, dot(A, D, f, f));
    gka_arith_matvec(A, D, D, K->Phi, f, u);
    over(A, D, u, s, g, g);
    estimate(A, K, k, v, g);
    gka_arith_rank1(A, D, D, 1, K->Phi, -quo(A, 1, add(A, s, root(A, s))), u, f);
}

/* Bierman: f = Y^T k, column j of Y with a_j = a_(j-1) + f_j d_j f_j, a_(-1) = 1:
 *   d_j = d_j a_(j-1)/a_j;  Y_ij = Y_ij - (f_j/a_(j-1)) b_i;  b_i += Y_ij(old) d_j f_j;
 *   b_j = d_j f_j. In the end b = Phi k and a = s. */
static void step_ud(gka_arith *A, gka_kalman *K, const double *k, const double *v) {
    const int64_t D = K->D;
    double *const b = K->scratch, *const g = b + D, *const old = g + D;
    double a = 1;
    for (int64_t j = 0; j < D; j++) {
        double *const Y = K->Phi + j * D; /* column j, rows 0..j-1 */
        const double f = add(A, k[j], dot(A, j, Y, k));
        const double df = mul(A, K->d[j], f), before = a;
        a = add(A, before, mul(A, f, df));
        K->d[j] = stored(A, mul(A, K->d[j], quo(A, before, a)));
        copy(old, Y, j);
        axpby(A, j, -quo(A, f, before), b, 1, old, Y);
        axpby(A, j, df, old, 1, b, b);
        b[j] = stored(A, df);
    }
    over(A, D, b, a, g, g);
    estimate(A, K, k, v, g);
}

/* Phi = Phi/gamma: its factors in the factored forms */
static void forget(gka_arith *A, gka_kalman *K, double gamma) {
    const int64_t D = K->D;
    double *const divisor = K->scratch;
    if (K->form == GKA_KALMAN_UD) {
        over(A, D, K->d, gamma, divisor, K->d);
        return;
    }
    const double s = K->form == GKA_KALMAN_POTTER ? root(A, gamma) : gamma;
    for (int64_t i = 0; i < D; i++)
        over(A, D, K->Phi + i * D, s, divisor, K->Phi + i * D);
}

void gka_kalman_step(gka_arith *A, gka_kalman *K, const double *k, const double *v, double gamma) {
    const double rounded = gka_arith_scalar(A, gamma);
    if (K->form == GKA_KALMAN_INFORMATION) {
        gka_arith_rank1(A, K->D, K->D, rounded, K->Phi, 1, k, k);
        if (K->V > 0)
            gka_arith_rank1(A, K->D, K->V, rounded, K->S, 1, k, v);
        return;
    }
    if (gamma < 1)
        forget(A, K, rounded);
    switch (K->form) {
    case GKA_KALMAN_COVARIANCE: step_covariance(A, K, k, v); break;
    case GKA_KALMAN_SYMMETRISED:
        step_covariance(A, K, k, v);
        symmetrise(A, K);
        break;
    case GKA_KALMAN_JOSEPH: step_joseph(A, K, k, v); break;
    case GKA_KALMAN_POTTER: step_potter(A, K, k, v); break;
    case GKA_KALMAN_UD: step_ud(A, K, k, v); break;
    case GKA_KALMAN_OUTER: step_outer(A, K, k, v); break;
    case GKA_KALMAN_INFORMATION:
    case GKA_KALMAN_FORM_COUNT: break;
    }
}

/* ---- answers ------------------------------------------------------------------------------- */

/* x = Y diag(d) Y^T q */
static void solve_ud(gka_arith *A, gka_kalman *K, const double *q, double *x) {
    const int64_t D = K->D;
    double *const y = K->scratch;
    for (int64_t j = 0; j < D; j++)
        y[j] = stored(A, mul(A, K->d[j], add(A, q[j], dot(A, j, K->Phi + j * D, q))));
    for (int64_t j = 0; j < D; j++) {
        axpby(A, j, y[j], K->Phi + j * D, 1, x, x);
        x[j] = y[j];
    }
}

static gka_event solve_information(gka_arith *A, gka_kalman *K, const double *q, double *x) {
    const int64_t D = K->D;
    double *const L = K->scratch + VECTORS * D + K->V;
    if (gka_solve_factor(A, D, K->Phi, 0, L) < D) {
        for (int64_t i = 0; i < D; i++)
            x[i] = NAN;
        return GKA_BREAKDOWN;
    }
    copy(x, q, D);
    gka_solve_substitute(A, D, L, x);
    return GKA_RAN;
}

gka_event gka_kalman_solve(gka_arith *A, gka_kalman *K, const double *q, double *x) {
    const int64_t D = K->D;
    double *const y = K->scratch + 3 * D, *const own = y + D;
    gka_event event = GKA_RAN;
    copy(own, q, D);
    if (K->form == GKA_KALMAN_INFORMATION)
        event = solve_information(A, K, own, x);
    else if (K->form == GKA_KALMAN_UD)
        solve_ud(A, K, own, x);
    else if (K->form == GKA_KALMAN_POTTER) {
        gka_arith_matvec_t(A, D, D, K->Phi, own, y);
        gka_arith_matvec(A, D, D, K->Phi, y, x);
    } else
        gka_arith_matvec(A, D, D, K->Phi, own, x);
    return event == GKA_RAN && !all_finite(D, x) ? GKA_NON_FINITE : event;
}

gka_event gka_kalman_predict(gka_arith *A, gka_kalman *K, const double *q, double *o) {
    const int64_t D = K->D;
    gka_event event = GKA_RAN;
    if (K->form == GKA_KALMAN_INFORMATION) {
        double *const x = K->scratch + D;
        event = gka_kalman_solve(A, K, q, x);
        gka_arith_matvec_t(A, D, K->V, K->S, x, o);
    } else
        gka_arith_matvec(A, K->V, D, K->S, q, o);
    return event == GKA_RAN && !all_finite(K->V, o) ? GKA_NON_FINITE : event;
}

/* ---- Phi in binary64 ----------------------------------------------------------------------- */

/* M^-1 by Gauss-Jordan elimination with row pivoting, in place of the identity in `inverse`. M is
 * destroyed. */
static void invert(int64_t D, double *M, double *inverse) {
    for (int64_t c = 0; c < D; c++) {
        int64_t best = c;
        for (int64_t i = c + 1; i < D; i++)
            if (fabs(M[i * D + c]) > fabs(M[best * D + c]))
                best = i;
        for (int64_t j = 0; j < D; j++) {
            const double m = M[c * D + j], n = inverse[c * D + j];
            M[c * D + j] = M[best * D + j];
            inverse[c * D + j] = inverse[best * D + j];
            M[best * D + j] = m;
            inverse[best * D + j] = n;
        }
        const double pivot = M[c * D + c];
        for (int64_t j = 0; j < D; j++) {
            M[c * D + j] /= pivot;
            inverse[c * D + j] /= pivot;
        }
        for (int64_t i = 0; i < D; i++) {
            const double m = M[i * D + c];
            if (i == c)
                continue;
            for (int64_t j = 0; j < D; j++) {
                M[i * D + j] -= m * M[c * D + j];
                inverse[i * D + j] -= m * inverse[c * D + j];
            }
        }
    }
}

static double element(const gka_kalman *K, int64_t i, int64_t j) {
    const int64_t D = K->D;
    double s = 0;
    if (K->form == GKA_KALMAN_POTTER)
        for (int64_t l = 0; l < D; l++)
            s += K->Phi[i * D + l] * K->Phi[j * D + l];
    else /* UD: sum over l >= max(i, j) of Y_il d_l Y_jl, Y_ll = 1 */
        for (int64_t l = i > j ? i : j; l < D; l++)
            s += K->Phi[l * D + i] * K->d[l] * K->Phi[l * D + j];
    return s;
}

void gka_kalman_phi(const gka_kalman *K, double *phi) {
    const int64_t D = K->D;
    switch (K->form) {
    case GKA_KALMAN_COVARIANCE:
    case GKA_KALMAN_SYMMETRISED:
    case GKA_KALMAN_JOSEPH:
    case GKA_KALMAN_OUTER: copy(phi, K->Phi, D * D); break;
    case GKA_KALMAN_POTTER:
    case GKA_KALMAN_UD:
        for (int64_t i = 0; i < D; i++)
            for (int64_t j = 0; j < D; j++)
                phi[i * D + j] = element(K, i, j);
        break;
    case GKA_KALMAN_INFORMATION: {
        double *const M = K->scratch + VECTORS * D + K->V;
        copy(M, K->Phi, D * D);
        zero(phi, D * D);
        for (int64_t i = 0; i < D; i++)
            phi[i * D + i] = 1;
        invert(D, M, phi);
        break;
    }
    case GKA_KALMAN_FORM_COUNT: break;
    }
}
