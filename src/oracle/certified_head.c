/* certified_head.c - what the double-double pass and the MPFR pass over one head both need: the
 * factors of H + c I in binary64, the least eigenvalue that they prove, and a failure's line. */
#include "oracle/certified_head.h"

#include "oracle/bound.h"

#include <math.h>

static void pad(gka_head *head, double *H, double diagonal) {
    const int64_t D = head->run->problem->D, n = gka_strip_size(D);
    for (int64_t i = D; i < n; i++)
        H[gka_strip_at(n, i, i)] = diagonal;
}

bool gka_head_factor(gka_head *head, double *H, double c) {
    const int64_t n = gka_strip_size(head->run->problem->D);
    if (c > 0)
        return head->kernels->factor(n, H, c, head->R, head->inverse);
    pad(head, H, 1 - c);
    const bool factored = head->kernels->factor(n, H, c, head->R, head->inverse);
    pad(head, H, 0);
    return factored;
}

/* If binary64 factors A = H + c I, then A + dA = R^T R is positive semidefinite with
 * ||dA||_2 <= 2 (n + 8) u trace(A) (Rump, Verification of positive definiteness, BIT 46, 2006; the
 * 8 covers the reciprocal pivots and the rounding of the diagonal). So H >= -c - ||dA||. */
static double proven_least(gka_head *head, double *H, double c, double trace, double f,
                           double error) {
    const int64_t n = gka_strip_size(head->run->problem->D);
    const double slack = (2 * (double)(n + 8) * 0x1p-53) * (trace + (double)n * fabs(c)) +
                         0x1p-52 * f + error + TINY;
    return gka_head_factor(head, H, c) ? (-c - slack * UP) : -INFINITY;
}

static double trace_of(const double *H, int64_t D) {
    double trace = 0;
    for (int64_t i = 0; i < D; i++)
        trace += fabs(H[gka_strip_at(gka_strip_size(D), i, i)]);
    return trace * UP;
}

double gka_head_least(gka_head *head, double *H, double lambda, double f, double error) {
    const int64_t D = head->run->problem->D;
    const double trace = trace_of(H, D);
    const double most = lambda > 0 ? lambda : f;
    const int steps = lambda > 0 ? 30 : 45;
    double best = -INFINITY;
    /* H + lambda >= mu when H + (lambda - mu) I factors: from large mu to small */
    for (int i = 1; i <= steps && !(best > 0); i++)
        best = proven_least(head, H, lambda - ldexp(most, -i), trace, f, error) + lambda * DOWN;
    return best;
}

double gka_head_h0_least(gka_head *head, double *H, double f) {
    const int64_t D = head->run->problem->D;
    const double trace = trace_of(H, D);
    double best = -f * UP;
    int few = 0, many = 52; /* c = f 2^-j factors for j = few (taken for granted), not for many */
    while (many - few > 1) {
        const int j = (few + many) / 2;
        const double least = proven_least(head, H, ldexp(f, -j), trace, f, 0);
        *(least > -INFINITY ? &few : &many) = j;
        best = least > best ? least : best;
    }
    for (int i = 5; i <= 7; i++) { /* between 2^-few and half of it */
        const double least = proven_least(head, H, ldexp(f, -few) * i / 8, trace, f, 0);
        best = least > best ? least : best;
    }
    return best < 0 ? best : 0;
}

/* ---- failure ------------------------------------------------------------------------------- */

gka_status gka_head_fail(const gka_head *head, int64_t t, gka_status status, const char *what,
                         gka_error *error) {
    return gka_fail(error, status, "certified oracle: sequence %lld, token %lld, head %lld: %s",
                    (long long)head->n, (long long)t, (long long)head->h, what);
}
