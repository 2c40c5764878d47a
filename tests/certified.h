/* certified.h - sweeps of the certified oracle over generated problems, judged by MPFR: every true
 * error inside its bound, every result correctly rounded, and a histogram of bound / true error.
 */
#ifndef GKA_TEST_CERTIFIED_H
#define GKA_TEST_CERTIFIED_H

#include "oracle.h"

#include "oracle/certified.h"

/* A bound 10^6 times too wide would prove nothing. */
enum { DECADES = 12, USELESS = 6 };

/* How many times the bound exceeded the true error by a factor in [10^i, 10^(i+1)). */
typedef struct histogram {
    const char *name;
    int64_t count[DECADES], exact, total;
} histogram;

/* Notes one bound and its true error; fails where the bound does not hold. No bound, no entry. */
static inline void histogram_add(histogram *h, double bound, double error) {
    if (isinf(bound))
        return;
    if (!(error <= bound))
        fail_msg("%s: true error %g, bound %g", h->name, error, bound);
    h->total++;
    if (error == 0) {
        h->exact++;
        return;
    }
    const int decade = (int)floor(log10(bound / error));
    h->count[decade < 0 ? 0 : decade >= DECADES ? DECADES - 1 : decade]++;
}

/* The decade that holds the median of those that were not exact. */
static inline int histogram_median(const histogram *h) {
    int64_t below = 0;
    for (int i = 0; i < DECADES; i++) {
        below += h->count[i];
        if (2 * below >= h->total - h->exact)
            return i;
    }
    return DECADES - 1;
}

static inline void histogram_print(const histogram *h) {
    print_message("bound / true error of %s: %lld, %lld exact, median in 1e%d..1e%d\n", h->name,
                  (long long)h->total, (long long)h->exact, histogram_median(h),
                  histogram_median(h) + 1);
    for (int i = 0; i < DECADES; i++)
        if (h->count[i] > 0)
            print_message("  1e%d..1e%d %8lld\n", i, i + 1, (long long)h->count[i]);
}

typedef struct sweep {
    histogram x, f, o, h;
    int64_t solves, recomputed;
    double worst_kappa;
} sweep;

/* a - b for two double-doubles that are nearly equal */
static inline double two_word_difference(double a, double a_lo, double b, double b_lo) {
    return (a - b) + (a_lo - b_lo);
}

/* MPFR's second words are exact to 2^-107 of the value, far below every bound here. */
static inline void sweep_problem(sweep *s, const gka_problem *p) {
    const int64_t tokens = p->B * p->T * p->H, D = p->D, V = p->V;
    const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED};
    gka_outputs out = {0}, exact = {0}, exact_lo = {0}, nothing = {0};
    gka_enclosure e = {.flip = -1};
    gka_oracle_report report = {0};
    gka_error error = {0};
    double *const block = gka_alloc(
        (size_t)(tokens * (5 * D + 6 * V + 8) + p->N * p->H * (4 * D * D + 1)), sizeof *block);
    double *next = block;
    assert_non_null(block);
    double **const wide[] = {&out.x, &exact.x, &exact_lo.x, &e.x, &e.x_lo};
    double **const values[] = {&out.o, &exact.o, &exact_lo.o, &e.o, &e.o_lo, &e.o_error};
    double **const single[] = {&out.kappa,   &e.x_error, &e.fro,        &e.fro_lo,
                               &e.fro_error, &exact.fro, &exact_lo.fro, &out.fro};
    for (int i = 0; i < 5; i++, next += tokens * D)
        *wide[i] = next;
    for (int i = 0; i < 6; i++, next += tokens * V)
        *values[i] = next;
    for (int i = 0; i < 8; i++, next += tokens)
        *single[i] = next;
    double **const states[] = {&e.h, &e.h_lo, &exact.h_final, &exact_lo.h_final};
    for (int i = 0; i < 4; i++, next += p->N * p->H * D * D)
        *states[i] = next;
    e.h_error = next;
    if (gka_certified_enclose(p, &options, &out, &nothing, &e, &report, &error) != GKA_OK)
        fail_msg("%s", error.text);
    lab_forward(p, GKA_ORACLE_MPFR, &exact, &exact_lo);
    for (int64_t i = 0; i < tokens; i++) {
        double squares = 0;
        for (int64_t j = i * D; j < (i + 1) * D; j++) {
            const double d = two_word_difference(e.x[j], e.x_lo[j], exact.x[j], exact_lo.x[j]);
            squares += d * d;
            assert_int_equal(bits_of(out.x[j]), bits_of(exact.x[j] + 0.0));
        }
        histogram_add(&s->x, e.x_error[i], sqrt(squares));
        histogram_add(
            &s->f, e.fro_error[i],
            fabs(two_word_difference(e.fro[i], e.fro_lo[i], exact.fro[i], exact_lo.fro[i])));
        assert_int_equal(bits_of(out.fro[i]), bits_of(exact.fro[i]));
        for (int64_t j = i * V; j < (i + 1) * V; j++) {
            histogram_add(&s->o, e.o_error[j],
                          fabs(two_word_difference(e.o[j], e.o_lo[j], exact.o[j], exact_lo.o[j])));
            assert_int_equal(bits_of(out.o[j]), bits_of(exact.o[j] + 0.0));
        }
        s->worst_kappa = fmax(s->worst_kappa, out.kappa[i]);
    }
    for (int64_t i = 0; i < p->N * p->H; i++) {
        double squares = 0;
        for (int64_t j = i * D * D; j < (i + 1) * D * D; j++) {
            const double d =
                two_word_difference(e.h[j], e.h_lo[j], exact.h_final[j], exact_lo.h_final[j]);
            squares += d * d;
        }
        histogram_add(&s->h, e.h_error[i], sqrt(squares));
    }
    s->solves += report.solves;
    s->recomputed += report.recomputed;
    gka_free(block);
}

/* `rounds` times every generator with every gate, with and without h0, sizes and ridges in turn. */
static inline void sweep_generators(sweep *s, const int64_t *sizes, int size_count, int64_t tokens,
                                    int rounds, uint64_t seed) {
    static const double ridges[] = {.02, .005, 1e-3, 1e-5, 1e-6};
    s->x.name = "x";
    s->f.name = "f";
    s->o.name = "o";
    s->h.name = "the final H";
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < 40; i++) {
            const int64_t D = sizes[seed % (uint64_t)size_count];
            const gka_generator generator = {.keys = (gka_keys)(i % 5),
                                             .gate = (gka_gate)(i / 5 % 4),
                                             .B = 1,
                                             .T = tokens,
                                             .H = 1,
                                             .G = 1,
                                             .D = D,
                                             .V = D < 8 ? D : 8,
                                             .alpha = true,
                                             .h0 = i / 20 == 1,
                                             .dtype = (i + round) % 2 == 0 ? GKA_BF16 : GKA_F64,
                                             .ridge_ratio = ridges[seed / 3 % 5],
                                             .seed = seed};
            gka_problem problem;
            gka_error error = {0};
            if (gka_problem_generate(&generator, &problem, &error) != GKA_OK)
                fail_msg("%s", error.text);
            sweep_problem(s, &problem);
            gka_problem_free(&problem);
            seed++;
        }
}

static inline void sweep_print(const sweep *s) {
    print_message("%lld token solves, kappa up to %.2g, %lld recomputed in MPFR\n",
                  (long long)s->solves, s->worst_kappa, (long long)s->recomputed);
    histogram_print(&s->x);
    histogram_print(&s->f);
    histogram_print(&s->o);
    histogram_print(&s->h);
}

#endif
