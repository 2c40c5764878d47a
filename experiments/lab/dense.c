/* dense.c - one head of the layer as dense matrices in binary64 (see dense.h). */
#include "lab/dense.h"
#include "lab/lab.h"

#include <math.h>
#include <string.h>

gka_arith lab_arith(const char *policy, uint64_t seed) {
    gka_policy found;
    gka_arith A;
    (void)gka_policy_find(policy, &found);
    found.seed = seed;
    gka_arith_start(&A, &found, 0);
    return A;
}

gka_solver lab_solver(const char *name, int iterations) {
    gka_solver solver;
    (void)gka_solver_find(name, &solver);
    solver.num_iter = iterations;
    return solver;
}

gka_generator lab_paper_data(gka_keys keys, int64_t sequences, int64_t T, int64_t D,
                             gka_dtype dtype, uint64_t seed) {
    return (gka_generator){.keys = lab_keys(keys),
                           .B = sequences,
                           .T = T,
                           .H = 1,
                           .G = 1,
                           .D = D,
                           .plain = true,
                           .dtype = dtype,
                           .seed = seed};
}

double lab_accumulate(int64_t D, double gamma, const double *k, double *H) {
    double square = 0;
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++) {
            double *const h = &H[i * D + j];
            *h = gamma * *h + k[i] * k[j];
            square += *h * *h;
        }
    return sqrt(square);
}

void lab_normalised_state(const gka_problem *p, int64_t sequence, int64_t t, double *k, double *H) {
    const int64_t D = p->D;
    double f = 0;
    memset(H, 0, (size_t)(D * D) * sizeof *H);
    for (int64_t i = 0; i < t; i++) {
        gka_problem_k(p, sequence, i, 0, k);
        f = lab_accumulate(D, 1, k, H);
    }
    for (int64_t i = 0; i < D * D; i++)
        H[i] /= f;
}

double lab_norm(int64_t n, const double *x) {
    double square = 0;
    for (int64_t i = 0; i < n; i++)
        square += x[i] * x[i];
    return sqrt(square);
}

double lab_distance(int64_t n, const double *x, const double *truth) {
    double square = 0;
    for (int64_t i = 0; i < n; i++)
        square += (x[i] - truth[i]) * (x[i] - truth[i]);
    return sqrt(square) / lab_norm(n, truth);
}

double lab_head_error(const gka_problem *p, int64_t h, int64_t width, const double *out,
                      const double *ref) {
    double difference = 0, size = 0;
    for (int64_t t = 0; t < p->T; t++)
        for (int64_t i = (t * p->H + h) * width; i < (t * p->H + h + 1) * width; i++) {
            difference += (out[i] - ref[i]) * (out[i] - ref[i]);
            size += ref[i] * ref[i];
        }
    return sqrt(difference / size);
}

size_t lab_exact_bytes(int64_t D) {
    const gka_solver refined = lab_solver("cholesky-refined", 5);
    return gka_solve_workspace(&refined, 1, D);
}

void lab_exact(int64_t D, const double *H, double lambda, const double *q, double *x,
               void *workspace) {
    const gka_solver refined = lab_solver("cholesky-refined", 5);
    gka_arith A = lab_arith("fp64", 0);
    const double f = lab_norm(D * D, H);
    const gka_system system = {.n = 1, .D = D, .H = H, .lambda = &lambda, .f = &f};
    gka_solve(&A, &system, &refined, q, x, NULL, NULL, workspace);
}

lab_gain lab_three_term_gain(double a, double margin, int r, double h) {
    const double width = 1 + margin, step = 2 / (width + 2 * a),
                 quarter = width / (width + 2 * a) / 2 * (width / (width + 2 * a) / 2);
    lab_gain gain = {0};
    double squares = 0;
    for (int at = 0; at < r; at++) {
        double omega = 2, x = 0, before = 0;
        for (int i = 0; i < r; i++) {
            omega = 1 / (1 - quarter * omega);
            const double residual = (h + a) * x + (i == at ? 1 : 0);
            const double now = x - step * omega * residual + (omega - 1) * (x - before);
            before = x;
            x = now;
        }
        gain.worst += fabs(x);
        gain.constant += x;
        squares += x * x;
    }
    gain.constant = fabs(gain.constant);
    gain.independent = sqrt(squares);
    return gain;
}

double lab_chebyshev_bound(double a, int r) {
    return 1 / cosh((r + 1) * acosh(1 + 2 * a));
}
