/* oracle.c - laws of the exact answers: MPFR's gradients are derivatives; fp64 stays within its
 * bound of MPFR.
 */
#include "oracle.h"

#include "oracle/mp.h"

/* ---- derivatives --------------------------------------------------------------------------- */

/* L += <weights, hi + lo>; without weights nothing. */
static void add_inner(mpfr_t L, int64_t count, const double *weights, const double *hi,
                      const double *lo) {
    mpfr_t *const t = gka_mp_new(1, 256);
    assert_non_null(t);
    for (int64_t i = 0; weights != NULL && i < 2 * count; i++) {
        mpfr_set_d(*t, i < count ? hi[i] : lo[i - count], MPFR_RNDN);
        mpfr_mul_d(*t, *t, weights[i % count], MPFR_RNDN);
        mpfr_add(L, L, *t, MPFR_RNDN);
    }
    gka_free(t);
}

/* L = <cotangent, result> for the result that the cotangent belongs to, and for the final states
 * that have one; 256 bits, of which the results give 106. */
static void loss(const lab_case *lab, gka_of cotangent, mpfr_t L) {
    const gka_problem *const p = &lab->problem;
    const bool layer = cotangent == GKA_OF_O;
    const int64_t tokens = p->B * p->T * p->H, states = p->N * p->H;
    gka_outputs out, lo;
    lab_exact_new(p, &out);
    lab_exact_new(p, &lo);
    lab_forward(p, GKA_ORACLE_MPFR, &out, &lo);
    mpfr_set_zero(L, 1);
    if (layer)
        add_inner(L, tokens * p->V, lab->dout, out.o, lo.o);
    else
        add_inner(L, tokens * p->D, lab->dx, out.x, lo.x);
    add_inner(L, states * p->D * p->D, lab->dh_final, out.h_final, lo.h_final);
    if (layer)
        add_inner(L, states * p->D * p->V, lab->du_final, out.u_final, lo.u_final);
    lab_exact_free(p, &out);
    lab_exact_free(p, &lo);
}

/* A direction in the space of the inputs: element i moves by step[i]. */
typedef struct direction {
    int64_t count;
    double *element[256];
    double step[256];
} direction;

static void move(direction *d, double *element, double step) {
    assert_true(d->count < 256);
    d->element[d->count] = element;
    d->step[d->count++] = step;
}

/* dL along a direction by the central difference of order 8,
 *     (672 D_1 - 168 D_2 + 32 D_3 - 3 D_4) / (840 h) + h^8 L^(9)/630,  D_n = L(nh) - L(-nh).
 * Inputs are multiples of 2^-14 and h = 2^-18, so every move is exact. L is a rational function of
 * the inputs (and of exponentials) whose poles lie no nearer than the ridge lets them, about
 * lambda: with lambda >= 2^-6, h^8 L^(9)/630 is about 2^(-144-9) 9! 2^54 L = 2^-80 L. L itself is
 * known to 2^-106, hence the quotient to 2^-88 L. Both are far below 1e-20 = 2^-66. */
static void difference(const lab_case *lab, gka_of cotangent, const direction *d, mpfr_t result) {
    static const double h = 0x1p-18;
    static const long weights[4] = {672, -168, 32, -3};
    mpfr_t *const L = gka_mp_new(1, 256);
    assert_non_null(L);
    mpfr_set_zero(result, 1);
    for (int n = -4; n <= 4; n++) {
        double kept[256];
        for (int64_t i = 0; i < d->count; i++) {
            kept[i] = *d->element[i];
            *d->element[i] += n * h * d->step[i];
        }
        if (n != 0) {
            loss(lab, cotangent, *L);
            mpfr_mul_si(*L, *L, n < 0 ? -weights[-n - 1] : weights[n - 1], MPFR_RNDN);
            mpfr_add(result, result, *L, MPFR_RNDN);
        }
        for (int64_t i = 0; i < d->count; i++)
            *d->element[i] = kept[i];
    }
    mpfr_div_d(result, result, 840 * h, MPFR_RNDN);
    gka_free(L);
}

/* An input and the gradient that belongs to it. */
typedef struct graded {
    const char *name;
    double *input, *hi, *lo;
    int64_t count;
} graded;

enum { PAIRS = 7 };

static void pairs_of(const lab_case *lab, gka_of of, const gka_outputs *out, const gka_outputs *lo,
                     graded pairs[PAIRS]) {
    const gka_problem *const p = &lab->problem;
    const int64_t tokens = p->B * p->T, heads = p->N * p->H;
    const graded all[PAIRS] = {
        {"q", lab->q, out->gradient[of].dq, lo->gradient[of].dq, tokens * p->H * p->D},
        {"k", lab->k, out->gradient[of].dk, lo->gradient[of].dk, tokens * p->G * p->D},
        {"v", lab->v, out->gradient[of].dv, lo->gradient[of].dv, tokens * p->G * p->V},
        {"alpha", lab->alpha, out->gradient[of].dalpha, lo->gradient[of].dalpha, tokens * p->H},
        {"g", lab->g, out->gradient[of].dg, lo->gradient[of].dg, tokens * p->H},
        {"h0", lab->h0, out->gradient[of].dh0, lo->gradient[of].dh0, heads * p->D * p->D},
        {"u0", lab->u0, out->gradient[of].du0, lo->gradient[of].du0, heads * p->D * p->V},
    };
    memcpy(pairs, all, sizeof all);
}

/* The layer sees h0 through (h0 + h0^T)/2 only: element (i,j) moves together with (j,i), and the
 * derivative is the sum of their gradients. Others move alone. */
static int64_t partner(const gka_problem *p, const graded *pair, int64_t i) {
    if (strcmp(pair->name, "h0") != 0)
        return i;
    const int64_t matrix = i / (p->D * p->D), row = i / p->D % p->D, column = i % p->D;
    return (matrix * p->D + column) * p->D + row;
}

static void gradient_in(const graded *pair, int64_t i, mpfr_t sum) {
    mpfr_add_d(sum, sum, pair->hi[i], MPFR_RNDN);
    mpfr_add_d(sum, sum, pair->lo[i], MPFR_RNDN);
}

/* ||difference - gradient|| / ||gradient|| over one input. */
static double worst_of_pair(const lab_case *lab, gka_of cotangent, const graded *pair) {
    mpfr_t *const n = gka_mp_new(4, 256);
    assert_non_null(n);
    for (int64_t i = 0; i < pair->count; i++) {
        const int64_t j = partner(&lab->problem, pair, i);
        direction d = {0};
        if (j < i || isinf(pair->input[i]))
            continue;
        move(&d, &pair->input[i], 1);
        if (j != i)
            move(&d, &pair->input[j], 1);
        mpfr_set_zero(n[1], 1);
        gradient_in(pair, i, n[1]);
        if (j != i)
            gradient_in(pair, j, n[1]);
        difference(lab, cotangent, &d, n[0]);
        mpfr_sub(n[0], n[0], n[1], MPFR_RNDN);
        mpfr_sqr(n[0], n[0], MPFR_RNDN);
        mpfr_add(n[2], n[2], n[0], MPFR_RNDN);
        mpfr_sqr(n[1], n[1], MPFR_RNDN);
        mpfr_add(n[3], n[3], n[1], MPFR_RNDN);
    }
    if (!mpfr_zero_p(n[3]))
        mpfr_div(n[2], n[2], n[3], MPFR_RNDN);
    mpfr_sqrt(n[2], n[2], MPFR_RNDN);
    const double relative = mpfr_get_d(n[2], MPFR_RNDN);
    gka_free(n);
    return relative;
}

/* |<gradient, direction> - difference| / |difference| for all inputs moved at once, by signs. */
static double worst_of_direction(const lab_case *lab, gka_of cotangent, const graded *pairs,
                                 uint64_t seed) {
    mpfr_t *const n = gka_mp_new(3, 256);
    assert_non_null(n);
    direction d = {0};
    for (int a = 0; a < PAIRS; a++)
        for (int64_t i = 0; pairs[a].input != NULL && i < pairs[a].count; i++) {
            const int64_t j = partner(&lab->problem, &pairs[a], i), first = i < j ? i : j;
            if (isinf(pairs[a].input[i]))
                continue;
            const double step = lab_draw(seed, 100 + (uint64_t)a, (uint64_t)first) < 0 ? -1 : 1;
            move(&d, &pairs[a].input[i], step);
            mpfr_set_zero(n[1], 1);
            gradient_in(&pairs[a], i, n[1]);
            mpfr_mul_d(n[1], n[1], step, MPFR_RNDN);
            mpfr_add(n[2], n[2], n[1], MPFR_RNDN);
        }
    difference(lab, cotangent, &d, n[0]);
    mpfr_sub(n[1], n[2], n[0], MPFR_RNDN);
    mpfr_div(n[1], n[1], n[0], MPFR_RNDN);
    const double relative = fabs(mpfr_get_d(n[1], MPFR_RNDN));
    gka_free(n);
    return relative;
}

static const lab_shape small[] = {
    {.B = 1, .T = 4, .H = 2, .G = 1, .D = 3, .V = 2, .gate = true, .alpha = true, .states = true},
    {.B = 1, .T = 4, .H = 2, .G = 1, .D = 2, .V = 3, .gate = true, .states = true, .final = true},
    {.B = 1,
     .T = 5,
     .H = 1,
     .G = 1,
     .D = 2,
     .V = 3,
     .a = .25,
     .gate = true,
     .states = true,
     .cut = true},
    {.B = 2, .T = 3, .H = 1, .G = 1, .D = 2, .V = 2, .alpha = true},
    {.B = 1,
     .T = 5,
     .H = 2,
     .G = 1,
     .D = 2,
     .V = 1,
     .gate = true,
     .alpha = true,
     .states = true,
     .final = true,
     .packed = true},
};

static void gradients_are_derivatives(gka_of cotangent) {
    for (size_t s = 0; s < sizeof small / sizeof *small; s++) {
        lab_shape shape = small[s];
        lab_case lab;
        gka_outputs out, lo;
        shape.seed = 7 + s;
        lab_new(&lab, &shape);
        lab_exact_new(&lab.problem, &out);
        lab_exact_new(&lab.problem, &lo);
        lab_gradient(&lab.problem, cotangent, GKA_ORACLE_MPFR, &out, &lo);
        graded pairs[PAIRS];
        pairs_of(&lab, cotangent, &out, &lo, pairs);
        for (int a = 0; a < PAIRS; a++) {
            if (pairs[a].input == NULL)
                continue;
            const double relative = worst_of_pair(&lab, cotangent, &pairs[a]);
            print_message("  case %zu, d%-5s %.1e\n", s, pairs[a].name, relative);
            assert_true(relative <= 1e-20);
        }
        for (uint64_t seed = 0; seed < 3; seed++)
            assert_true(worst_of_direction(&lab, cotangent, pairs, seed) <= 1e-20);
        lab_exact_free(&lab.problem, &out);
        lab_exact_free(&lab.problem, &lo);
        lab_free(&lab);
    }
}

static void prop_gradients_of_o_are_derivatives(void **state) {
    (void)state;
    gradients_are_derivatives(GKA_OF_O);
}

static void prop_gradients_of_x_are_derivatives(void **state) {
    (void)state;
    gradients_are_derivatives(GKA_OF_X);
}

/* ---- fp64 within its bound ------------------------------------------------------------------ */

/* First-order bounds on the fp64 oracle's errors in the 2-norm, from norms alone: src/oracle/fp64.c
 * for x, and the same bookkeeping carried through NUMERICS 2. Each value z has a bound `z` on its
 * norm (sums taken absolutely: no cancellation is counted on) and a bound `e_z` on its error:
 * a product of n terms summed adds n u of the absolute sum, an input's error enters linearly, and
 * an error in H + lambda I or a right-hand side is amplified by 1/m, m = lambda_min(H + lambda I).
 * S = tr H bounds the sum of the norms of what H is a sum of. */
typedef struct bounds {
    double S, U, f, m, kappa;       /* per token, kept by the forward sweep */
    double x, e_x, y, e_y, e_o;     /* y = q' */
    double dq, e_dq, e_p, e_dalpha; /* dq here is dq' */
    double e_A, e_E, A, E;
} bounds;

static const double u = 0x1p-53;

static double norm(int64_t n, const double *x) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sqrt(sum);
}

/* ||a - b|| where b = hi + lo; the difference of doubles this close is exact. */
static double distance(int64_t n, const double *a, const double *hi, const double *lo) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const double d = (a[i] - hi[i]) - lo[i];
        sum += d * d;
    }
    return sqrt(sum);
}

/* The largest error/bound seen, per result. */
typedef struct worst {
    double x, f, o, H, U, p, dq, dk, dv, dalpha, dg, dh0, du0;
} worst;

static void count(double *most, double error, double bound) {
    const double ratio = error == 0 ? 0 : error / bound;
    if (!(ratio <= 1))
        fail_msg("error %g, bound %g", error, bound);
    *most = fmax(*most, ratio);
}

typedef struct sides {
    const lab_case *lab;
    gka_outputs fp64, hi, lo;
    worst *tally;
} sides;

static void forward_bounds(const sides *s, int64_t b, int64_t t, int64_t h, double steps,
                           bounds *z) {
    const gka_problem *const p = &s->lab->problem;
    const int64_t D = p->D, V = p->V, i = (b * p->T + t) * p->H + h;
    double row[64];
    z->f = s->hi.fro[i];
    z->kappa = s->hi.kappa[i];
    const double alpha = gka_problem_alpha(p, b, t, h), a = p->ridge_ratio, f = z->f;
    if (f == 0) {
        z->kappa = z->m = 1;
        z->x = z->e_x = 0;
    } else {
        z->m = (f / sqrt((double)D) + a * f) / z->kappa; /* lambda_max >= f/sqrt(D) + lambda */
        const double d = (double)D, e_f = steps * u * z->S + (d * d / 16 + 8) * u * f,
                     e_M = steps * u * z->S + a * e_f + (3 * d + 3) * u * (z->S + d * a * f);
        z->x = norm(D, s->hi.x + i * D);
        z->e_x = e_M / z->m * z->x;
        count(&s->tally->f, distance(1, s->fp64.fro + i, s->hi.fro + i, s->lo.fro + i), e_f);
        count(&s->tally->x, distance(D, s->fp64.x + i * D, s->hi.x + i * D, s->lo.x + i * D),
              z->e_x);
    }
    gka_problem_q(p, b, t, h, row);
    const double q = norm(D, row);
    z->y = q + fabs(alpha) * (z->x + q);
    z->e_y = fabs(alpha) * z->e_x + 4 * u * z->y;
    z->e_o = p->scale * (z->U * z->e_y + (steps + (double)D + 3) * u * z->U * z->y);
    if (V > 0)
        count(&s->tally->o, distance(V, s->fp64.o + i * V, s->hi.o + i * V, s->lo.o + i * V),
              z->e_o);
}

/* One token of the reverse: *next is the token after it (or zeros), its A and E already times
 * gamma. e_dk [T,G], e_dv [T,G] add up over the heads of a group. */
static void reverse_bounds(const sides *s, gka_of cotangent, int64_t b, int64_t t, int64_t h,
                           double steps, const bounds *before, const bounds *next, bounds *z,
                           double *e_dk, double *e_dv) {
    const gka_problem *const p = &s->lab->problem;
    const bool layer = cotangent == GKA_OF_O;
    const int64_t D = p->D, V = layer ? p->V : 0, i = (b * p->T + t) * p->H + h;
    const double d = (double)D, v = (double)V, a = p->ridge_ratio,
                 alpha = layer ? gka_problem_alpha(p, b, t, h) : 1,
                 gamma = exp(gka_problem_g(p, b, t, h));
    double row[64], dout = 0;
    if (layer) {
        gka_problem_dout(p, b, t, h, row);
        dout = norm(V, row);
        z->dq = p->scale * z->U * dout;
        z->e_dq = (steps + v + 3) * u * z->dq;
    } else {
        gka_problem_dx(p, b, t, h, row);
        z->dq = norm(D, row);
        z->e_dq = 0;
    }
    gka_problem_q(p, b, t, h, row);
    const double q = norm(D, row), relative = z->x == 0 ? 0 : z->e_x / z->x,
                 P = z->f == 0 ? 0 : fabs(alpha) * z->dq / z->m;
    z->e_p = z->f == 0 ? 0 : relative * P + fabs(alpha) * (z->e_dq + u * z->dq) / z->m;
    const double G = P * z->x * (1 + a), H = z->f == 0 ? 0 : z->S / z->f,
                 e_G = (z->e_p * z->x + P * z->e_x) * (1 + a) +
                       a * P * z->x * (3 * steps * u * H + (d * d / 16 + d + 16) * u) + 3 * u * G;
    z->A = G + next->A;
    z->e_A = e_G + next->e_A + 4 * u * z->A;
    z->E = p->scale * z->y * dout + next->E;
    z->e_E = p->scale * z->e_y * dout + next->e_E + 5 * u * z->E;

    count(&s->tally->p,
          distance(D, s->fp64.gradient[cotangent].p + i * D, s->hi.gradient[cotangent].p + i * D,
                   s->lo.gradient[cotangent].p + i * D),
          z->e_p);
    count(&s->tally->dq,
          distance(D, s->fp64.gradient[cotangent].dq + i * D, s->hi.gradient[cotangent].dq + i * D,
                   s->lo.gradient[cotangent].dq + i * D),
          fabs(1 - alpha) * (z->e_dq + 3 * u * z->dq) + z->e_p + 2 * u * P);
    if (layer)
        count(&s->tally->dalpha,
              fabs(s->fp64.gradient[cotangent].dalpha[i] - s->hi.gradient[cotangent].dalpha[i] -
                   s->lo.gradient[cotangent].dalpha[i]),
              z->e_dq * (z->x + q) + z->dq * (z->e_x + (d + 4) * u * (z->x + q)));
    gka_problem_k(p, b, t, h, row);
    const double k = norm(D, row);
    double value = 0;
    if (layer) {
        gka_problem_v(p, b, t, h, row);
        value = norm(V, row);
    }
    const int64_t j = (b * p->T + t) * p->G + gka_problem_group(p, h);
    const double dk = 2 * z->A * k + z->E * value;
    e_dk[j] += 2 * z->e_A * k + z->e_E * value + (2 * d + v + 12) * u * dk;
    e_dv[j] += z->e_E * k + (d + 8) * u * z->E * k;
    const double per_H = (steps + d * d / 8 + 12) * u, per_U = (steps + d * v / 8 + 12) * u;
    count(&s->tally->dg,
          fabs(s->fp64.gradient[cotangent].dg[i] - s->hi.gradient[cotangent].dg[i] -
               s->lo.gradient[cotangent].dg[i]),
          gamma * ((z->e_A + per_H * z->A) * before->S + (z->e_E + per_U * z->E) * before->U));
    z->A *= gamma;
    z->E *= gamma;
    z->e_A = gamma * z->e_A + 2 * u * z->A;
    z->e_E = gamma * z->e_E + 2 * u * z->E;
}

static void head_within_bounds(const sides *s, gka_of cotangent, int64_t n, int64_t h, double *e_dk,
                               double *e_dv) {
    enum { LONGEST = 64 };
    const gka_problem *const p = &s->lab->problem;
    const int64_t D = p->D, V = p->V, i = n * p->H + h;
    const gka_span span = gka_problem_span(p, n);
    bounds z[LONGEST + 2] = {{0}};
    double row[64 * 64];
    assert_true(span.end - span.begin <= LONGEST && D <= 64 && V <= 64);
    gka_problem_h0(p, n, h, row);
    for (int64_t j = 0; j < D; j++)
        z[0].S += row[j * D + j]; /* the trace: h0 is positive semidefinite */
    gka_problem_u0(p, n, h, row);
    z[0].U = norm(D * V, row);
    for (int64_t t = span.begin; t < span.end; t++) {
        bounds *const now = &z[t - span.begin + 1];
        const double gamma = exp(gka_problem_g(p, span.b, t, h)),
                     steps = 3 * (double)(t - span.begin + 1) + 3;
        gka_problem_k(p, span.b, t, h, row);
        const double k = norm(D, row);
        now->S = gamma * now[-1].S + k * k;
        double v = 0;
        if (V > 0) {
            gka_problem_v(p, span.b, t, h, row);
            v = norm(V, row);
        }
        now->U = gamma * now[-1].U + k * v;
        forward_bounds(s, span.b, t, h, steps, now);
    }
    const double steps = 3 * (double)(span.end - span.begin) + 3;
    count(&s->tally->H,
          distance(D * D, s->fp64.h_final + i * D * D, s->hi.h_final + i * D * D,
                   s->lo.h_final + i * D * D),
          steps * u * z[span.end - span.begin].S);
    count(&s->tally->U,
          distance(D * V, s->fp64.u_final + i * D * V, s->hi.u_final + i * D * V,
                   s->lo.u_final + i * D * V),
          steps * u * z[span.end - span.begin].U);
    for (int64_t t = span.end - 1; t >= span.begin; t--)
        reverse_bounds(s, cotangent, span.b, t, h, steps, &z[t - span.begin],
                       &z[t - span.begin + 2], &z[t - span.begin + 1], e_dk, e_dv);
    count(&s->tally->dh0,
          distance(D * D, s->fp64.gradient[cotangent].dh0 + i * D * D,
                   s->hi.gradient[cotangent].dh0 + i * D * D,
                   s->lo.gradient[cotangent].dh0 + i * D * D),
          z[1].e_A);
    count(&s->tally->du0,
          distance(D * V, s->fp64.gradient[cotangent].du0 + i * D * V,
                   s->hi.gradient[cotangent].du0 + i * D * V,
                   s->lo.gradient[cotangent].du0 + i * D * V),
          z[1].e_E);
}

static void case_within_bounds(const lab_case *lab, worst *tally) {
    const gka_problem *const p = &lab->problem;
    const int64_t D = p->D, V = p->V;
    sides s = {.lab = lab, .tally = tally};
    lab_exact_new(p, &s.fp64);
    lab_exact_new(p, &s.hi);
    lab_exact_new(p, &s.lo);
    double *const e_dk = gka_alloc((size_t)(2 * p->B * p->T * p->G), sizeof *e_dk), *const e_dv =
                                                                                        e_dk +
                                                                                        p->B *
                                                                                            p->T *
                                                                                            p->G;
    assert_non_null(e_dk);
    lab_forward(p, GKA_ORACLE_FP64, &s.fp64, NULL);
    lab_forward(p, GKA_ORACLE_MPFR, &s.hi, &s.lo);
    for (int c = 0; c < 2; c++) {
        const gka_of cotangent = c == 0 ? GKA_OF_X : GKA_OF_O;
        if (cotangent == GKA_OF_O && V == 0)
            continue;
        lab_gradient(p, cotangent, GKA_ORACLE_FP64, &s.fp64, NULL);
        lab_gradient(p, cotangent, GKA_ORACLE_MPFR, &s.hi, &s.lo);
        memset(e_dk, 0, (size_t)(2 * p->B * p->T * p->G) * sizeof *e_dk);
        for (int64_t n = 0; n < p->N; n++)
            for (int64_t h = 0; h < p->H; h++)
                head_within_bounds(&s, cotangent, n, h, e_dk, e_dv);
        for (int64_t i = 0; i < p->B * p->T * p->G; i++) {
            count(&tally->dk,
                  distance(D, s.fp64.gradient[cotangent].dk + i * D,
                           s.hi.gradient[cotangent].dk + i * D,
                           s.lo.gradient[cotangent].dk + i * D),
                  e_dk[i]);
            count(&tally->dv,
                  distance(V, s.fp64.gradient[cotangent].dv + i * V,
                           s.hi.gradient[cotangent].dv + i * V,
                           s.lo.gradient[cotangent].dv + i * V),
                  e_dv[i]);
        }
    }
    gka_free(e_dk);
    lab_exact_free(p, &s.fp64);
    lab_exact_free(p, &s.hi);
    lab_exact_free(p, &s.lo);
}

static void prop_fp64_is_within_its_bound(void **state) {
    (void)state;
    static const double ratios[] = {.02, .1, 1e-4, 1e-6};
    static const int64_t sizes[] = {1, 2, 3, 5, 8, 13, 17};
    worst tally = {0};
    for (uint64_t seed = 0; seed < 56; seed++) {
        const int64_t D = sizes[seed % 7];
        const lab_shape shape = {.B = 1 + (int64_t)(seed % 2),
                                 .T = D <= 8 ? 12 : 6,
                                 .H = 2,
                                 .G = 1 + (int64_t)(seed / 2 % 2),
                                 .D = D,
                                 .V = seed % 5 == 0 ? 0 : 1 + (int64_t)(seed % 9),
                                 .a = ratios[seed / 7 % 4],
                                 .gate = seed % 3 != 0,
                                 .alpha = seed % 4 != 0,
                                 .states = seed % 5 == 1,
                                 .cut = seed % 6 == 1,
                                 .silent = seed % 6 <= 2,
                                 .seed = seed};
        lab_case lab;
        lab_new(&lab, &shape);
        case_within_bounds(&lab, &tally);
        lab_free(&lab);
    }
    print_message(
        "  largest error/bound: x %.1e f %.1e o %.1e H %.1e U %.1e p %.1e dq %.1e dk %.1e "
        "dv %.1e dalpha %.1e dg %.1e dh0 %.1e du0 %.1e\n",
        tally.x, tally.f, tally.o, tally.H, tally.U, tally.p, tally.dq, tally.dk, tally.dv,
        tally.dalpha, tally.dg, tally.dh0, tally.du0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prop_gradients_of_o_are_derivatives),
        cmocka_unit_test(prop_gradients_of_x_are_derivatives),
        cmocka_unit_test(prop_fp64_is_within_its_bound),
    };
    gka_set_threads(1); /* problems too small to share */
    const int failed = cmocka_run_group_tests_name("oracle", tests, NULL, NULL);
    mpfr_free_cache();
    return failed;
}
