/* oracle.c - which oracle answers. */
#include "gka/oracle.h"

#include "oracle/certified.h"
#include "oracle/environment.h"
#include "oracle/fp64.h"
#include "oracle/mpfr_oracle.h"
#include "problem/check.h"

#include <math.h>

#include <string.h>

enum { DEFAULT_PRECISION = 256, MAX_PRECISION = 1 << 20 };

static const char *const names[] = {
    [GKA_ORACLE_FP64] = "fp64", [GKA_ORACLE_CERTIFIED] = "certified", [GKA_ORACLE_MPFR] = "mpfr"};
enum { ORACLES = sizeof names / sizeof *names };

const char *gka_oracle_name(gka_oracle oracle) {
    return (unsigned)oracle < ORACLES ? names[oracle] : "unknown oracle";
}

int gka_oracle_find(const char *name) {
    for (int i = 0; i < ORACLES; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

/* What an oracle may rely on: a checked problem, options within range, no NULL but the members of
 * out and lo. */
typedef struct request {
    gka_problem problem;
    gka_oracle_options options;
    gka_outputs nothing;
    gka_oracle_report report;
} request;

static gka_status prepare(request *r, const gka_problem *problem, const gka_oracle_options *options,
                          gka_error *error) {
    *r = (request){.problem = *problem};
    if (options != NULL)
        r->options = *options;
    if (r->options.ridge == 0)
        r->options.ridge = problem->lambda;
    const gka_status arithmetic = gka_environment_check(error);
    if (arithmetic != GKA_OK)
        return arithmetic;
    if ((unsigned)r->options.oracle >= ORACLES)
        return gka_fail(error, GKA_BAD_ARGUMENT, "oracle: number %d, expected 0..%d",
                        (int)r->options.oracle, ORACLES - 1);
    if (r->options.precision == 0)
        r->options.precision = DEFAULT_PRECISION;
    if (r->options.precision < 2 || r->options.precision > MAX_PRECISION)
        return gka_fail(error, GKA_BAD_ARGUMENT, "oracle: precision %d, expected 2..%d bits",
                        r->options.precision, MAX_PRECISION);
    if (!(r->options.ridge >= 0) || isinf(r->options.ridge))
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "oracle: ridge %g, a number of at least 0 was expected", r->options.ridge);
    const gka_status status = gka_problem_check_folded(problem, error);
    if (status != GKA_OK || r->options.window != NULL)
        return status;
    return gka_problem_check(&r->problem, NULL, error);
}

/* With a constant ridge: forward, without kappa, and no token whose state is empty, for which x = 0
 * would be wrong. */
static gka_status check_ridge(const request *r, const gka_outputs *out, gka_error *error) {
    const gka_problem *const p = &r->problem;
    double *k;
    if (r->options.ridge == 0)
        return GKA_OK;
    if (out->kappa != NULL || p->h0.data != NULL || r->options.window != NULL)
        return gka_fail(error, GKA_UNSUPPORTED,
                        "oracle: a constant ridge: no kappa, no h0 and no window were expected");
    if ((k = gka_alloc((size_t)p->D, sizeof *k)) == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
    gka_status status = GKA_OK;
    for (int64_t i = 0; i < p->N * p->H && status == GKA_OK; i++) {
        const gka_span span = gka_problem_span(p, i / p->H);
        bool empty = true;
        for (int64_t t = span.begin; t < span.end && status == GKA_OK; t++) {
            gka_problem_k(p, span.b, t, i % p->H, k);
            if (gka_problem_g(p, span.b, t, i % p->H) == -INFINITY)
                empty = true;
            for (int64_t j = 0; j < p->D; j++)
                empty &= k[j] == 0;
            if (empty)
                status = gka_fail(error, GKA_UNSUPPORTED,
                                  "oracle: a constant ridge: sequence %lld, token %lld, head %lld: "
                                  "a state that is not empty was expected",
                                  (long long)(i / p->H), (long long)t, (long long)(i % p->H));
        }
    }
    gka_free(k);
    return status;
}

/* Windows are for the certified oracle and one head. */
static gka_status check_window(const request *r, const gka_outputs *lo, bool gradient,
                               gka_error *error) {
    const gka_oracle_window *const w = r->options.window;
    if (w == NULL)
        return GKA_OK;
    const gka_problem *const p = &r->problem;
    if (r->options.oracle == GKA_ORACLE_CERTIFIED && p->N == 1 && p->H == 1 && lo == NULL &&
        r->options.given == NULL && w->tokens >= 1 && w->tokens % p->chunk_size == 0 &&
        (!gradient || (w->keep != NULL && w->fetch != NULL)))
        return GKA_OK;
    return gka_fail(error, GKA_UNSUPPORTED,
                    "oracle: a window: the certified oracle, one head, nothing given, no lo, and a "
                    "multiple of the chunk size were expected");
}

/* No element in any result. (Other extents may then be anything: no loop, no product of them.) */
static bool nothing_to_do(const gka_problem *problem, bool states_wanted) {
    return problem->N == 0 || problem->H == 0 || (problem->T == 0 && !states_wanted);
}

gka_status gka_oracle_forward(const gka_problem *problem, const gka_oracle_options *options,
                              gka_outputs *out, gka_outputs *lo, gka_oracle_report *report,
                              gka_error *error) {
    request r;
    const gka_status status = prepare(&r, problem, options, error);
    if (report == NULL)
        report = &r.report;
    *report = (gka_oracle_report){0};
    if (status != GKA_OK)
        return status;
    if (r.options.given != NULL)
        return gka_fail(error, GKA_UNSUPPORTED, "oracle: given tensors are for gradients");
    gka_status good = check_ridge(&r, out, error);
    if (good == GKA_OK)
        good = check_window(&r, lo, false, error);
    if (good != GKA_OK)
        return good;
    if (lo == NULL)
        lo = &r.nothing;
    if (nothing_to_do(&r.problem, out->h_final != NULL || out->u_final != NULL))
        return GKA_OK;
    switch (r.options.oracle) {
    case GKA_ORACLE_FP64: return gka_fp64_forward(&r.problem, &r.options, out, lo, report, error);
    case GKA_ORACLE_MPFR: return gka_mpfr_forward(&r.problem, &r.options, out, lo, report, error);
    case GKA_ORACLE_CERTIFIED:
        return gka_certified_forward(&r.problem, &r.options, out, lo, report, error);
    }
    return gka_fail(error, GKA_UNSUPPORTED, "oracle: no %s forward in this build",
                    gka_oracle_name(r.options.oracle));
}

gka_status gka_oracle_gradient(const gka_problem *problem, gka_of cotangent,
                               const gka_oracle_options *options, gka_outputs *out, gka_outputs *lo,
                               gka_oracle_report *report, gka_error *error) {
    request r;
    const gka_status status = prepare(&r, problem, options, error);
    if (report == NULL)
        report = &r.report;
    *report = (gka_oracle_report){0};
    if (status != GKA_OK)
        return status;
    const gka_status good = check_window(&r, lo, true, error);
    if (good != GKA_OK)
        return good;
    if (lo == NULL)
        lo = &r.nothing;
    if (r.options.given != NULL && r.options.oracle != GKA_ORACLE_CERTIFIED)
        return gka_fail(error, GKA_UNSUPPORTED,
                        "oracle: given tensors: the certified oracle was expected");
    if (r.options.ridge > 0)
        return gka_fail(error, GKA_UNSUPPORTED, "oracle: a constant ridge is for forward results");
    if (cotangent == GKA_OF_O && problem->dout.data == NULL)
        return gka_fail(error, GKA_BAD_ARGUMENT, "oracle: gradient of the layer without do");
    if (cotangent == GKA_OF_X && problem->dx.data == NULL)
        return gka_fail(error, GKA_BAD_ARGUMENT, "oracle: gradient of the solve without dx");
    if (nothing_to_do(&r.problem,
                      out->gradient[cotangent].dh0 != NULL || out->gradient[cotangent].du0 != NULL))
        return GKA_OK;
    switch (r.options.oracle) {
    case GKA_ORACLE_FP64:
        return gka_fp64_gradient(&r.problem, cotangent, &r.options, out, lo, report, error);
    case GKA_ORACLE_MPFR:
        return gka_mpfr_gradient(&r.problem, cotangent, &r.options, out, lo, report, error);
    case GKA_ORACLE_CERTIFIED:
        return gka_certified_gradient(&r.problem, cotangent, &r.options, out, lo, report, error);
    }
    return gka_fail(error, GKA_UNSUPPORTED, "oracle: no %s gradient in this build",
                    gka_oracle_name(r.options.oracle));
}

gka_status gka_oracle_hessian(const gka_problem *problem, gka_of cotangent,
                              const gka_oracle_options *options, const gka_direction *direction,
                              gka_direction *product, gka_error *error) {
    request r;
    const gka_status status = prepare(&r, problem, options, error);
    if (status != GKA_OK)
        return status;
    if (r.options.ridge > 0)
        return gka_fail(error, GKA_UNSUPPORTED,
                        "oracle: a constant ridge, %g, is for forward results, not for second "
                        "derivatives",
                        r.options.ridge);
    const int64_t tokens = r.problem.B * r.problem.T;
    double *const constant[] = {product->v, product->alpha};
    const int64_t counts[] = {tokens * r.problem.G * r.problem.V, tokens * r.problem.H};
    for (int i = 0; i < 2; i++)
        if (constant[i] != NULL && counts[i] > 0)
            memset(constant[i], 0, (size_t)counts[i] * sizeof(double));
    if (nothing_to_do(&r.problem, false))
        return GKA_OK;
    return gka_fp64_hessian(&r.problem, cotangent, &r.options, direction, product, &r.report,
                            error);
}

void gka_oracle_hold(void) {
    gka_blas_alone_begin();
}

void gka_oracle_let_go(void) {
    gka_blas_alone_end();
}
