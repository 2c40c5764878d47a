/* main.c - which ridge for keys with a common direction?
 *
 * The layer's ridge is lambda = a ||H||_F. Keys with a common direction m make H = n m m^T + rest,
 * so
 * ||H||_F follows that one direction and the ridge outweighs the rest, which is what tells keys
 * apart. Other rules, each at strengths a = 2^-1 .. 2^-14:
 *
 *   norm      lambda = a ||H||_F                      the released one
 *   trace     lambda = a tr(H)/D
 *   fourth    lambda = a times the fourth eigenvalue of H
 *   rest      lambda = a ||H without its leading eigenvector||_F
 *   constant  lambda = a
 *   count     lambda = a n/D, n = sum_j w_j the gated count of tokens
 *   centred   lambda = a ||Hc||_F, Hc = sum_j w_j (k_j - m)(k_j - m)^T = H - s s^T/n: the
 * regression has an intercept. s = sum_j w_j k_j, m = s/n, U and v likewise: o(q) = vbar + (U - s
 * sv^T/n)^T (Hc + lambda I)^-1 (q - m), vbar = sv/n
 *
 * w_j: the product of the gates after token j. For one head after t tokens:
 *
 *   freedom   tr A (A + lambda I)^-1, A = H or Hc (plus 1 for the intercept)
 *   kappa     condition number of A + lambda I
 *   r         Chebyshev steps on [lambda, ||A||_F + lambda] that leave at most 1e-3 of a residual
 *   o3 o2 dk3 dk2  errors of o and of dk_j = -w_j (p <x,k_j> + x <p,k_j>) (lambda held fixed), p
 * the solve for the cotangent (U do), by r steps in the three-term and two-term form: bf16 A and
 * operands, fp32 sums, x and p stored in bf16 recall    rms over the last 32 pairs of |o(k_j) -
 * v_j|/|v_j|, exactly; 1 is to remember nothing
 *
 * The question for a rule: at the one strength at which the median error of o in the two-term form
 * is at most 1 %, what is remembered, and in how many steps?
 *
 * --file FILE: keys of one's own in the place of tests/data/real, whole.
 */
#include "lab/cases.h"
#include "lab/dense.h"
#include "lab/lab.h"

#include "gka/format.h"
#include "gka/io.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RIDGES };
enum { MOST_D = 128, STRENGTHS = 14, STEPS = 400, LAST = 32 };
enum { NORM, TRACE, FOURTH, REST, CONSTANT, COUNT, CENTRED, RULES };
static const char *const rules[RULES] = {"norm",     "trace", "fourth", "rest",
                                         "constant", "count", "centred"};
static const struct kind {
    const char *name;
    int keys; /* < 0: the file */
} kinds[] = {
    {"real", -1}, {"convsilu", GKA_KEYS_CONVSILU}, {"mean", GKA_KEYS_MEAN}, {"iid", GKA_KEYS_IID}};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* ---- one head after t tokens --------------------------------------------------------------- */

/* A symmetric matrix with what the rules need of it. */
typedef struct matrix {
    double *A;       /* [D,D] */
    double *values;  /* [D] eigenvalues, largest first */
    double *vectors; /* [D,D], row i belongs to value i */
    double norm;
} matrix;

typedef struct state {
    int64_t D, V, t;
    double *k, *v, *w; /* [t,D] [t,V] [t] */
    double *q, *dout;  /* [D], [V] */
    matrix H, centred;
    double *U, *Uc;      /* [D,V] */
    double *mean, *vbar; /* [D], [V] */
    double n;
} state;

/* Jacobi's method: rotations until nothing is left beside the diagonal (Golub and Van Loan, Matrix
 * Computations, 8.5). */
static void eigen(int64_t D, matrix *m) {
    double *const B = gka_alloc((size_t)(D * D), sizeof *B), *const Q = m->vectors;
    if (B == NULL)
        abort(); /* unreachable in practice: a few kilobytes */
    memcpy(B, m->A, (size_t)(D * D) * sizeof *B);
    for (int64_t i = 0; i < D * D; i++)
        Q[i] = i % (D + 1) == 0;
    for (int sweep = 0; sweep < 30; sweep++) {
        double off = 0;
        for (int64_t p = 0; p < D; p++)
            for (int64_t q = p + 1; q < D; q++) {
                const double apq = B[p * D + q];
                off = fmax(off, fabs(apq));
                if (!(fabs(apq) > 1e-300))
                    continue;
                const double tau = (B[q * D + q] - B[p * D + p]) / (2 * apq);
                const double t = copysign(1, tau) / (fabs(tau) + sqrt(1 + tau * tau));
                const double c = 1 / sqrt(1 + t * t), s = t * c;
                for (int64_t i = 0; i < D; i++) {
                    const double x = B[i * D + p], y = B[i * D + q];
                    B[i * D + p] = c * x - s * y;
                    B[i * D + q] = s * x + c * y;
                }
                for (int64_t i = 0; i < D; i++) {
                    const double x = B[p * D + i], y = B[q * D + i];
                    B[p * D + i] = c * x - s * y;
                    B[q * D + i] = s * x + c * y;
                    const double a = Q[p * D + i], b = Q[q * D + i];
                    Q[p * D + i] = c * a - s * b;
                    Q[q * D + i] = s * a + c * b;
                }
            }
        if (off <= 1e-15 * m->norm)
            break;
    }
    for (int64_t i = 0; i < D; i++)
        m->values[i] = B[i * D + i];
    for (int64_t i = 0; i < D; i++) /* largest first */
        for (int64_t j = i + 1; j < D; j++)
            if (m->values[j] > m->values[i]) {
                const double value = m->values[i];
                m->values[i] = m->values[j];
                m->values[j] = value;
                for (int64_t d = 0; d < D; d++) {
                    const double x = Q[i * D + d];
                    Q[i * D + d] = Q[j * D + d];
                    Q[j * D + d] = x;
                }
            }
    gka_free(B);
}

/* (A + lambda I)^-1 b by the eigenvectors */
static void solve_exactly(int64_t D, const matrix *m, double lambda, const double *b, double *x) {
    memset(x, 0, (size_t)D * sizeof *x);
    for (int64_t i = 0; i < D; i++) {
        double along = 0;
        for (int64_t d = 0; d < D; d++)
            along += m->vectors[i * D + d] * b[d];
        along /= fmax(m->values[i], 0) + lambda;
        for (int64_t d = 0; d < D; d++)
            x[d] += along * m->vectors[i * D + d];
    }
}

static void state_drop(state *s) {
    double *const arrays[] = {s->k,
                              s->v,
                              s->w,
                              s->q,
                              s->dout,
                              s->U,
                              s->Uc,
                              s->mean,
                              s->vbar,
                              s->H.A,
                              s->H.values,
                              s->H.vectors,
                              s->centred.A,
                              s->centred.values,
                              s->centred.vectors};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        gka_free(arrays[i]);
}

static gka_status state_take(state *s, const gka_problem *p, int64_t t, gka_error *error) {
    const size_t D = (size_t)p->D, V = (size_t)p->V, T = (size_t)t;
    *s = (state){.D = p->D, .V = p->V, .t = t};
    const struct {
        double **place;
        size_t count;
    } arrays[] = {{&s->k, T * D},
                  {&s->v, T * V},
                  {&s->w, T},
                  {&s->q, D},
                  {&s->dout, V},
                  {&s->U, D * V},
                  {&s->Uc, D * V},
                  {&s->mean, D},
                  {&s->vbar, V},
                  {&s->H.A, D * D},
                  {&s->H.values, D},
                  {&s->H.vectors, D * D},
                  {&s->centred.A, D * D},
                  {&s->centred.values, D},
                  {&s->centred.vectors, D * D}};
    bool good = true;
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        good = (*arrays[i].place = gka_alloc(arrays[i].count, sizeof(double))) != NULL && good;
    return good ? GKA_OK : gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
}

/* H, U, s, sv and n of head h after t tokens. */
static void state_fill(state *s, const gka_problem *p, int64_t h) {
    const int64_t D = s->D, V = s->V;
    double weight = 1;
    for (int64_t j = s->t - 1; j >= 0; j--) {
        double *const k = s->k + j * D, *const v = s->v + j * V;
        gka_problem_k(p, 0, j, h, k);
        gka_problem_v(p, 0, j, h, v);
        s->w[j] = weight;
        s->n += weight;
        for (int64_t i = 0; i < D; i++) {
            s->mean[i] += weight * k[i];
            for (int64_t d = 0; d < D; d++)
                s->H.A[i * D + d] += weight * k[i] * k[d];
            for (int64_t d = 0; d < V; d++)
                s->U[i * V + d] += weight * k[i] * v[d];
        }
        for (int64_t d = 0; d < V; d++)
            s->vbar[d] += weight * v[d];
        weight *= exp(gka_problem_g(p, 0, j, h));
    }
    for (int64_t i = 0; i < D; i++)
        s->mean[i] /= s->n;
    for (int64_t d = 0; d < V; d++)
        s->vbar[d] /= s->n;
    for (int64_t i = 0; i < D; i++) {
        for (int64_t d = 0; d < D; d++)
            s->centred.A[i * D + d] = s->H.A[i * D + d] - s->n * s->mean[i] * s->mean[d];
        for (int64_t d = 0; d < V; d++)
            s->Uc[i * V + d] = s->U[i * V + d] - s->n * s->mean[i] * s->vbar[d];
    }
    gka_problem_q(p, 0, s->t - 1, h, s->q);
    gka_problem_dout(p, 0, s->t - 1, h, s->dout);
    matrix *const both[] = {&s->H, &s->centred};
    for (int i = 0; i < 2; i++) {
        both[i]->norm = lab_norm(D * D, both[i]->A);
        eigen(D, both[i]);
    }
}

/* ---- one rule at one strength -------------------------------------------------------------- */

/* What the rule's strength is multiplied by. */
static double base_of(const state *s, int rule) {
    double trace = 0, rest = 0;
    for (int64_t i = 0; i < s->D; i++) {
        trace += s->H.values[i];
        rest += i > 0 ? s->H.values[i] * s->H.values[i] : 0;
    }
    switch (rule) {
    case NORM: return s->H.norm;
    case TRACE: return trace / (double)s->D;
    case FOURTH: return s->H.values[3];
    case REST: return sqrt(rest);
    case CONSTANT: return 1;
    case COUNT: return s->n / (double)s->D;
    default: return s->centred.norm;
    }
}

typedef struct trial {
    const state *s;
    const matrix *m;
    const double *U;
    bool centred;
    double lambda, L;
    int r;
    double *q, *dx;           /* right-hand sides, [D] */
    double *x, *p;            /* exact */
    double *ex, *ep;          /* emulated */
    double *stored, *rounded; /* [D,D], [D] */
    void *workspace;
} trial;

static void output(const trial *c, const double *x, double *o) {
    for (int64_t d = 0; d < c->s->V; d++)
        o[d] = c->centred ? c->s->vbar[d] : 0;
    for (int64_t i = 0; i < c->s->D; i++)
        for (int64_t d = 0; d < c->s->V; d++)
            o[d] += c->U[i * c->s->V + d] * x[i];
}

/* sums over j of |dk_j - exact|^2 and |exact|^2 */
static double key_error(const trial *c) {
    const state *const s = c->s;
    double difference = 0, size = 0;
    for (int64_t j = 0; j < s->t; j++) {
        double xk = 0, pk = 0, exk = 0, epk = 0;
        for (int64_t i = 0; i < s->D; i++) {
            const double k = s->k[j * s->D + i] - (c->centred ? s->mean[i] : 0);
            xk += c->x[i] * k, pk += c->p[i] * k, exk += c->ex[i] * k, epk += c->ep[i] * k;
        }
        for (int64_t i = 0; i < s->D; i++) {
            const double exact = s->w[j] * (c->p[i] * xk + c->x[i] * pk),
                         given = s->w[j] * (c->ep[i] * exk + c->ex[i] * epk);
            difference += (given - exact) * (given - exact);
            size += exact * exact;
        }
    }
    return sqrt(difference / size);
}

/* x in the form's arithmetic, stored in bf16. */
static void emulate(trial *c, bool two_term, const double *b, double *x) {
    const int64_t D = c->s->D;
    const gka_format *const bf16 = gka_format_find("bf16"), *const fp32 = gka_format_find("fp32");
    gka_arith A = lab_arith("bf16-mixed", 0);
    const gka_solver solver = lab_solver(two_term ? "chebyshev2" : "chebyshev", c->r);
    const double f = c->m->norm;
    const gka_system system = {.n = 1,
                               .D = D,
                               .H = c->stored,
                               .lambda = &c->lambda,
                               .f = &f,
                               .mu = &c->lambda,
                               .L = &c->L};
    gka_round_array(fp32, GKA_NEAREST_EVEN, 0, 0, (size_t)D, b, c->rounded);
    gka_solve(&A, &system, &solver, c->rounded, x, NULL, NULL, c->workspace);
    gka_round_array(bf16, GKA_NEAREST_EVEN, 0, 0, (size_t)D, x, x);
}

/* rms of |o(k_j) - v_j|/|v_j| over the last pairs */
static double recall(const trial *c, double *x, double *q, double *o) {
    const state *const s = c->s;
    double sum = 0;
    int64_t count = 0;
    for (int64_t j = s->t - 1; j >= 0 && j >= s->t - LAST; j--, count++) {
        double miss = 0, size = 0;
        for (int64_t i = 0; i < s->D; i++)
            q[i] = s->k[j * s->D + i] - (c->centred ? s->mean[i] : 0);
        solve_exactly(s->D, c->m, c->lambda, q, x);
        output(c, x, o);
        for (int64_t d = 0; d < s->V; d++) {
            const double v = s->v[j * s->V + d];
            miss += (o[d] - v) * (o[d] - v);
            size += v * v;
        }
        sum += miss / size;
    }
    return sqrt(sum / (double)count);
}

static int steps(double lambda, double norm) {
    int r = 1;
    while (r < STEPS && lab_chebyshev_bound(lambda / norm, r) > 1e-3)
        r++;
    return r;
}

static void row(lab *l, const char *kind, int64_t h, trial *c, int rule, int strength,
                double *scratch) {
    const state *const s = c->s;
    const int64_t D = s->D;
    double *const o = scratch, *const eo = o + MOST_D, *const work = eo + MOST_D,
                  *const q = work + MOST_D;
    double error[2][2];
    for (int form = 0; form < 2; form++) {
        emulate(c, form == 1, c->q, c->ex);
        emulate(c, form == 1, c->dx, c->ep);
        output(c, c->x, o);
        output(c, c->ex, eo);
        error[form][0] = lab_distance(s->V, eo, o);
        error[form][1] = key_error(c);
    }
    double freedom = c->centred;
    for (int64_t i = 0; i < D; i++)
        freedom += fmax(c->m->values[i], 0) / (fmax(c->m->values[i], 0) + c->lambda);
    const double kappa = (c->m->values[0] + c->lambda) / (fmax(c->m->values[D - 1], 0) + c->lambda);
    lab_row(l, "%s,%lld,%lld,%s,%d,%.9g,%.9g,%.9g,%d,%.9g,%.9g,%.9g,%.9g,%.9g", kind, (long long)h,
            (long long)s->t, rules[rule], strength, c->lambda, freedom, kappa, c->r, error[0][0],
            error[1][0], error[0][1], error[1][1], recall(c, work, q, o));
}

/* Every rule at every strength that converges within STEPS. */
static gka_status rows(lab *l, const char *kind, int64_t h, const state *s, gka_error *error) {
    const int64_t D = s->D;
    const gka_solver solver = lab_solver("chebyshev", STEPS), other = lab_solver("chebyshev2", 1);
    size_t bytes = gka_solve_workspace(&solver, 1, D);
    if (gka_solve_workspace(&other, 1, D) > bytes)
        bytes = gka_solve_workspace(&other, 1, D);
    double *const memory = gka_alloc((size_t)(D * D + 7 * D + 4 * MOST_D), sizeof *memory);
    void *const workspace = gka_alloc(bytes, 1);
    gka_status status = GKA_OK;
    if (memory == NULL || workspace == NULL)
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
    for (int rule = 0; rule < RULES && status == GKA_OK; rule++)
        for (int strength = 1; strength <= STRENGTHS; strength++) {
            double *at = memory;
            trial c = {.s = s,
                       .m = rule == CENTRED ? &s->centred : &s->H,
                       .U = rule == CENTRED ? s->Uc : s->U,
                       .centred = rule == CENTRED,
                       .workspace = workspace};
            double **const vectors[] = {&c.q, &c.dx, &c.x, &c.p, &c.ex, &c.ep, &c.rounded};
            c.stored = at, at += D * D;
            for (int i = 0; i < 7; i++, at += D)
                *vectors[i] = at;
            c.lambda = ldexp(base_of(s, rule), -strength);
            c.L = c.m->norm + c.lambda;
            if (!(c.lambda > 0) || (c.r = steps(c.lambda, c.m->norm)) >= STEPS)
                continue;
            gka_round_array(gka_format_find("bf16"), GKA_NEAREST_EVEN, 0, 0, (size_t)(D * D),
                            c.m->A, c.stored);
            for (int64_t i = 0; i < D; i++) {
                c.q[i] = s->q[i] - (c.centred ? s->mean[i] : 0);
                c.dx[i] = 0;
                for (int64_t d = 0; d < s->V; d++)
                    c.dx[i] += c.U[i * s->V + d] * s->dout[d];
            }
            solve_exactly(D, c.m, c.lambda, c.q, c.x);
            solve_exactly(D, c.m, c.lambda, c.dx, c.p);
            row(l, kind, h, &c, rule, strength, at);
        }
    gka_free(memory);
    gka_free(workspace);
    return status;
}

/* ---- run ----------------------------------------------------------------------------------- */

static gka_status run_kind(lab *l, const struct kind *kind, gka_error *error) {
    gka_file *file = NULL;
    gka_problem p = {0};
    gka_status status = lab_head_keys(l, kind->keys, lab_pick(l, 4, 8, 24), &file, &p, error);
    if (status == GKA_OK && (p.D > MOST_D || p.V > MOST_D || p.D < 4 || p.V < 1 || p.T < 2 ||
                             p.dout.data == NULL || p.B != 1 || p.cu_seqlens != NULL))
        status = gka_fail(error, GKA_BAD_FILE,
                          "%s: one sequence with v and do, D and V at most %d, was expected",
                          l->file == NULL ? kind->name : l->file, MOST_D);
    const int64_t heads = l->size == LAB_CLAIM && p.H > 4 ? 4 : p.H;
    const int64_t parts = lab_pick(l, 1, 2, 4);
    for (int64_t h = 0; h < heads && status == GKA_OK; h++) {
        if (!lab_unit(l, RIDGES, "%s-%lld-%s", kind->name, (long long)h,
                      kind->keys < 0 && l->file != NULL ? l->file : ""))
            continue;
        for (int64_t i = 1; i <= parts && status == GKA_OK; i++) {
            state s;
            status = state_take(&s, &p, p.T * i / parts, error);
            if (status == GKA_OK) {
                state_fill(&s, &p, h);
                status = rows(l, kind->name, h, &s, error);
            }
            state_drop(&s);
        }
        if (status == GKA_OK)
            status = lab_unit_end(l, error);
    }
    gka_problem_free(&p);
    gka_file_close(file);
    return status;
}

static gka_status run(lab *l, gka_error *error) {
    l->units_total = (double)(4 + 3 * lab_pick(l, 4, 8, 24));
    gka_status status = GKA_OK;
    for (int i = 0; i < KINDS && status == GKA_OK; i++)
        status = run_kind(l, &kinds[i], error);
    return status;
}

/* ---- judge --------------------------------------------------------------------------------- */

/* A rule at the smallest ridge at which the median error of o in the two-term form is at most 1 %.
 */
typedef struct best {
    int strength; /* 0: there is none */
    double recall, freedom, r, o3, o2, dk3, dk2;
} best;

static double median(lab *l, const char *column, const char *kind, int rule, int strength) {
    return lab_stats_of(l, RIDGES, column, "keys=%s,rule=%s,strength=%d", kind, rules[rule],
                        strength)
        .median;
}

static best best_of(lab *l, const char *kind, int rule) {
    const int64_t all =
        lab_stats_of(l, RIDGES, "o2", "keys=%s,rule=%s,strength=1", kind, rules[rule]).count;
    best b = {0};
    for (int strength = 1; strength <= STRENGTHS; strength++) {
        const lab_stats o2 = lab_stats_of(l, RIDGES, "o2", "keys=%s,rule=%s,strength=%d", kind,
                                          rules[rule], strength);
        if (o2.count < all || o2.nonfinite > 0 || !(o2.median <= .01))
            continue;
        b = (best){strength,
                   median(l, "recall", kind, rule, strength),
                   median(l, "freedom", kind, rule, strength),
                   median(l, "r", kind, rule, strength),
                   median(l, "o3", kind, rule, strength),
                   o2.median,
                   median(l, "dk3", kind, rule, strength),
                   median(l, "dk2", kind, rule, strength)};
    }
    return b;
}

static gka_status judge(lab *l, gka_error *error) {
    (void)error;
    best real[RULES];
    for (int rule = 0; rule < RULES; rule++)
        real[rule] = best_of(l, "real", rule);
    int most = 0; /* of the rules without an intercept */
    for (int rule = 0; rule < CENTRED; rule++)
        if (real[rule].strength > 0 &&
            (real[most].strength == 0 || real[rule].recall < real[most].recall))
            most = rule;
    const best *const n = &real[NORM], *const c = &real[CENTRED], *const o = &real[most];
    lab_claim(l, "a ||H||_F is the ridge to use for keys of a language model", LAB_REFUTED,
              c->strength > 0 && n->strength > 0 && c->recall < .9 * n->recall,
              "at 1 %% of error in o (two-term, bf16) on real keys: norm, a = 2^-%d: recall %.3f, "
              "%.1f degrees of freedom, %.0f steps; centred, a = 2^-%d: %.3f, %.1f, %.0f",
              n->strength, n->recall, n->freedom, n->r, c->strength, c->recall, c->freedom, c->r);
    lab_claim(l, "Some other multiple of H's size does better than its norm", LAB_REFUTED,
              o->recall > .9 * n->recall,
              "the best of them, %s (a = 2^-%d): recall %.3f, %.1f degrees of freedom, %.0f steps "
              "(norm %.3f, %.1f, %.0f)",
              rules[most], o->strength, o->recall, o->freedom, o->r, n->recall, n->freedom, n->r);
    const best iid_norm = best_of(l, "iid", NORM), iid_centred = best_of(l, "iid", CENTRED);
    lab_claim(l, "Centring costs nothing where there is no common direction", LAB_REPRODUCED,
              iid_centred.strength > 0 && iid_centred.recall < 1.1 * iid_norm.recall,
              "iid keys: norm: recall %.3f in %.0f steps; centred: %.3f in %.0f", iid_norm.recall,
              iid_norm.r, iid_centred.recall, iid_centred.r);
    return GKA_OK;
}

int main(int argc, char **argv) {
    static const lab_experiment experiment = {
        .name = "15_ridge",
        .question = "which ridge for keys with a common direction?",
        .tables = {{"ridges.csv", "keys,head,t,rule,strength,lambda,freedom,kappa,r,o3,o2,dk3,dk2,"
                                  "recall"},
                   {NULL, NULL}},
        .run = run,
        .judge = judge,
        .refuses = LAB_NO_KEYS | LAB_NO_GATE,
        .file = LAB_FILE_IS_OWN};
    return lab_main(argc, argv, &experiment);
}
