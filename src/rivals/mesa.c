/* mesa.c - MesaNet: ridge regression over the past like Gated KalmaNet, with a ridge that stays
 * what it is however large H grows, and conjugate gradients instead of Chebyshev's iteration.
 *
 *   H_t = gamma_t H_(t-1) + beta_t k_t k_t^T      (H_t + Lambda) x_t = q_t
 *   U_t = gamma_t U_(t-1) + beta_t k_t v_t^T      o_t = s U_t^T x_t
 *
 * Backward by implicit differentiation, A and E the cotangents of H and U:
 *
 *   E    += s x do^T      p = (H + Lambda)^-1 s U do      A -= p x^T      dq = p
 *   dLambda = -p x, of every channel and token (of one number for all: their sum)
 *   dk   = beta ((A + A^T) k + E v)        dv = beta E^T k
 *   dbeta = <k, A k> + <k, E v>            dgamma = <A, H_(t-1)> + <E, U_(t-1)>
 *
 * The state lies in memory as H [D,D], then U [D,V].
 */
#include "rivals/rival.h"

#include "gka/solve.h"

static int64_t size(int64_t D, int64_t V) {
    return D * (D + V);
}

static int64_t normed(int64_t D, int64_t V) {
    (void)V;
    return D * D;
}

static gka_solver solver_of(const gka_rival *rival, const gka_problem *problem) {
    const int steps = rival->num_iter > 0 ? rival->num_iter : problem->num_iter;
    return (gka_solver){.name = "cg", .method = GKA_CG, .num_iter = steps, .guard = rival->guard};
}

size_t gka_rival_solve_workspace(const gka_rival *rival, int64_t D) {
    const gka_solver cg = {.method = GKA_CG};
    return rival->recurrence == GKA_RIVAL_MESA ? gka_solve_workspace(&cg, 1, D) : 0;
}

/* Y = (H + Lambda) X with a ridge for every channel */
static void with_diagonal(void *context, gka_arith *A, const double *X, double *Y) {
    const rival_head *const W = context;
    const double *const ridge = W->rival->diagonal + W->h * W->D;
    gka_arith_matvec(A, W->D, W->D, W->state, X, Y);
    for (int64_t i = 0; i < W->D; i++)
        axpby(A, 1, gka_arith_scalar(A, ridge[i]), X + i, 1, Y + i, Y + i);
}

/* y = (H + Lambda)^-1 b */
static void solve(rival_head *W, const double *b, double *y) {
    const gka_solver solver = solver_of(W->rival, W->problem);
    const double lambda = W->rival->diagonal == NULL ? W->rival->ridge : 0, f = 0;
    gka_system system = {.n = 1, .D = W->D, .lambda = &lambda, .f = &f};
    if (W->rival->diagonal == NULL)
        system.H = W->state;
    else
        system.apply = with_diagonal, system.context = W;
    gka_solve(&W->work, &system, &solver, b, y, NULL, NULL, W->solve);
}

static void advance(rival_head *W) {
    const int64_t D = W->D, V = W->V;
    gka_arith_rank1(&W->states, D, D, W->gamma[0], W->state, W->beta, W->k, W->k);
    gka_arith_rank1(&W->states, D, V, W->gamma[0], W->state + D * D, W->beta, W->k, W->v);
}

static void answer(rival_head *W) {
    const int64_t D = W->D, V = W->V;
    solve(W, W->q, W->x);
    gka_arith_matvec_t(&W->work, D, V, W->state + D * D, W->x, W->o);
    scale(&W->work, V, W->s, W->o, W->o);
}

static void reverse(rival_head *W, const double *before) {
    gka_arith *const A_ = &W->work;
    const int64_t D = W->D, V = W->V;
    double *const A = W->cotangent, *const E = A + D * D, *const p = W->dq;
    const double *const U = W->state + D * D;
    solve(W, W->q, W->x);
    gka_arith_matvec(A_, D, V, U, W->dout, W->t1);
    scale(A_, D, W->s, W->t1, W->t1);
    solve(W, W->t1, p);
    for (int64_t i = 0; i < D; i++)
        W->dlambda[i] = -mul(A_, p[i], W->x[i]);
    gka_arith_rank1(A_, D, D, 1, A, -1, p, W->x);
    gka_arith_rank1(A_, D, V, 1, E, W->s, W->x, W->dout);
    gka_arith_matvec(A_, D, D, A, W->k, W->t1);
    gka_arith_matvec_t(A_, D, D, A, W->k, W->t2);
    gka_arith_matvec(A_, D, V, E, W->v, W->t3);
    const double kAk = dot(A_, D, W->k, W->t1), kEv = dot(A_, D, W->k, W->t3);
    W->dbeta = add(A_, kAk, kEv);
    axpby(A_, D, 1, W->t1, 1, W->t2, W->dk);
    axpby(A_, D, 1, W->dk, 1, W->t3, W->dk);
    scale(A_, D, W->beta, W->dk, W->dk);
    gka_arith_matvec_t(A_, D, V, E, W->k, W->dv);
    scale(A_, V, W->beta, W->dv, W->dv);
    const double of_H = dot(A_, D * D, A, before), of_U = dot(A_, D * V, E, before + D * D);
    zero(W->dgamma, D);
    W->dgamma[0] = add(A_, of_H, of_U);
    scale(A_, D * (D + V), W->gamma[0], A, A);
}

const rival_method gka_rival_mesa = {false, size, normed, advance, answer, reverse, NULL};
