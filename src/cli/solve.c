/* solve.c - gka solve: solvers side by side at one token of a problem, in emulated arithmetics. */
#include "gka/solve.h"
#include "cli/json.h"
#include "cli/problem.h"
#include "gka/oracle.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the command line ---------------------------------------------------------------------- */

enum { MOST = 64 }; /* names in one list */

typedef struct names {
    const char *name[MOST];
    int count;
} names;

typedef struct request {
    cli *c;
    const char *problem, *trace_path;
    names solvers, arithmetics;
    bool plain, normalised;
    int gate;
    int64_t D, T, head, num_iter, seed;
    double ridge;
    cli_problem prepared; /* what is done to a file's tensors */
    cli_json json;
    gka_output *trace;
    json_t *rows;
    bool good; /* rows is complete so far */
} request;

static const char notes[] =
    "One system (H_T + lambda_T I) x = q_T, that of the last token T of batch row 0, head 0 (or\n"
    "--head), is solved by every solver in every arithmetic. --problem is a generator (iid\n"
    "powerlaw lowrank repeat recall mean convsilu aligned) or FILE[:PATTERN], a safetensors file\n"
    "with q k [g] [h0]; D, ridge and all tokens then come from the file unless --T or --ridge is\n"
    "given, and the options for projections make a problem of them (gka problem --help). H_T is\n"
    "accumulated exactly and rounded once to the arithmetic's storage format; the Kalman forms\n"
    "run over all T tokens in the arithmetic, from the lambda_0 that decays to lambda_T, or, if\n"
    "all gates together are below 2^-60, from lambda_T, judged against the system whose ridge\n"
    "has decayed.\n"
    "\n"
    "  kappa     condition number of the system\n"
    "  residual  ||q - (H + lambda I) x|| / ||q||, exact H and q, in binary64\n"
    "  eta       backward error, ||q - (H + lambda I) x|| / ((f + lambda) ||x|| + ||q||)\n"
    "  rel_err   ||x - exact|| / ||exact||\n"
    "  grad_q    error of dq = p, by the same solver from a cotangent of +-1/sqrt(D)\n"
    "  grad_k    error of dk of all tokens: the exact formulas applied to the solver's x and p\n"
    "  status    ran, stopped (its own rule), breakdown or non-finite, and at which step\n"
    "\n"
    "--normalised divides H by its Frobenius norm (and keys by its root), as the paper's solver\n"
    "figures do: then f = 1, lambda = ridge. Solvers: chebyshev chebyshev-converged chebyshev2\n"
    "cg cg-guarded cg-jacobi cg-stop cg-consistent gradient nesterov cholesky cholesky-refined\n"
    "kalman kalman-symmetrised kalman-joseph kalman-potter kalman-ud kalman-information\n"
    "kalman-outer, or all. Arithmetics: NAME[/MODE][/fma][/ORDER], NAME one of fp64 fp32 tf32\n"
    "bf16 fp16 {tf32,bf16,fp16,e4m3,e5m2}-{acc32,mixed}, pPeE[-acc32|-mixed] (P bits of\n"
    "precision, E of exponent: p8e8 is bf16), MODE one of zero up down odd stochastic, ORDER\n"
    "pairwise or blocksN.\n"
    "\n"
    "Exit code: 0 measured, 2 usage or bad input, 3 internal.\n";

static bool known_solver(const char *name) {
    gka_solver solver;
    return gka_solver_find(name, &solver) || gka_kalman_find(name) >= 0;
}

static bool known_arithmetic(const char *name) {
    gka_policy policy;
    return gka_policy_find(strncmp(name, "tokens/", 7) == 0 ? name + 7 : name, &policy);
}

/* Every solver's name in turn, then every Kalman form's; NULL at the end. */
static const char *solver_name(int i) {
    const char *const *const all = gka_solver_names();
    int count = 0;
    while (all[count] != NULL)
        count++;
    if (i < count)
        return all[i];
    return i - count < GKA_KALMAN_FORM_COUNT ? gka_kalman_name((gka_kalman_form)(i - count)) : NULL;
}

static const char *arithmetic_name(int i) {
    return gka_policy_names()[i];
}

static int add_name(cli *c, const char *option, const char *name, names *list) {
    if (list->count == MOST)
        return cli_fail(c, "--%s: more than %d names", option, MOST);
    list->name[list->count++] = name;
    return CLI_GOOD;
}

/* "a,b,c" or "all" behind what is in the list; text is cut up. */
static int parse_list(cli *c, const char *option, char *text, bool known(const char *),
                      const char *every(int), names *list) {
    int code = CLI_GOOD;
    if (strcmp(text, "all") == 0) {
        for (int i = 0; every(i) != NULL && code == CLI_GOOD; i++)
            code = add_name(c, option, every(i), list);
        return code;
    }
    for (char *at = text; at != NULL && code == CLI_GOOD;) {
        char *const comma = strchr(at, ',');
        if (comma != NULL)
            *comma = '\0';
        if (!known(at)) {
            char hint[96];
            cli_nearest nearest = cli_nearest_to(at);
            for (int i = 0; every(i) != NULL; i++)
                cli_nearest_try(&nearest, every(i));
            return nearest.name[0] != '\0'
                       ? cli_fail(c, "--%s: nothing is named '%.80s'%s", option, at,
                                  cli_nearest_hint(&nearest, hint))
                       : cli_fail(c,
                                  "--%s: nothing is named '%.80s'; `gka solve --help` lists names",
                                  option, at);
        }
        code = add_name(c, option, strncmp(at, "tokens/", 7) == 0 ? at + 7 : at, list);
        at = comma == NULL ? NULL : comma + 1;
    }
    return code;
}

/* Each time that the option was given, or its default. */
static int parse_lists(cli *c, const char *option, const cli_texts *texts, char *otherwise,
                       bool known(const char *), const char *every(int), names *list) {
    int code = texts->count > 0 ? CLI_GOOD : parse_list(c, option, otherwise, known, every, list);
    for (size_t i = 0; i < texts->count && code == CLI_GOOD; i++)
        code = parse_list(c, option, texts->text[i], known, every, list);
    return code;
}

/* ---- the system and its exact answer ------------------------------------------------------- */

typedef struct board {
    request *r;
    gka_file *file; /* NULL: made up */
    gka_problem problem;
    int64_t D, T;
    double lambda, f, kappa;
    double *k, *decay;       /* [T,D]; [T]: the weight of token j in H_T, prod gamma */
    double *gamma;           /* [T] */
    double *q, *dx;          /* [D] */
    double *H, *x, *dq, *dk; /* exact */
    double *full_x, *fro, *ridge, *full_dq, *cotangent;
    double *Hs, *qs, *dxs, *xs, *ps, *dks, *phi, *eigen, *ks; /* a solver's */
    double *h0; /* [D,D], as columns l_i with (h0 + h0^T)/2 = sum l_i l_i^T; all 0 without h0 */
    double *other_x, *other_p, *other_dk; /* exact, of a filter whose ridge has decayed */
    void *workspace;
    gka_trace_point *points;
} board;

/* Batch row 0, one head, the first T tokens. */
static void cut(gka_problem *p, int64_t head, int64_t T) {
    gka_problem one = gka_problem_head(p, 0, head);
    gka_view *const views[] = {&one.q, &one.k, &one.v, &one.alpha, &one.g, &one.dout, &one.dx};
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++)
        views[i]->shape[1] = T;
    one.T = T;
    one.owned = p->owned;
    *p = one;
}

/* What is neither a generator nor there as a file. */
static int no_problem(cli *c, const char *name) {
    char hint[96], all[160] = "";
    cli_nearest nearest = cli_nearest_to(name);
    for (int i = 0; i < GKA_KEYS_COUNT; i++) {
        const char *const one = gka_keys_name((gka_keys)i);
        cli_nearest_try(&nearest, one);
        (void)snprintf(all + strlen(all), sizeof all - strlen(all), "%s, ", one);
    }
    return cli_fail(c,
                    "--problem=%.80s: no such file, and no generator; %sor a file was expected%s",
                    name, all, cli_nearest_hint(&nearest, hint));
}

static int take_problem(board *b) {
    request *const r = b->r;
    cli *const c = r->c;
    gka_error error = {0};
    const int keys = gka_keys_find(r->problem);
    if (keys >= 0 && cli_given(c, "head"))
        return cli_fail(c, "--head: a file was expected as --problem");
    if (keys >= 0) {
        static const char *const of_a_file[] = {"layout", "conv", "normalise", "beta",
                                                "cast",   "fold", NULL};
        if (cli_refuse(c, "but with a FILE as --problem", of_a_file) != CLI_GOOD)
            return CLI_USAGE;
        const gka_generator generator = {.keys = (gka_keys)keys,
                                         .gate = r->plain ? GKA_GATE_NONE : (gka_gate)r->gate,
                                         .B = 1,
                                         .T = r->T,
                                         .H = 1,
                                         .G = 1,
                                         .D = r->D,
                                         .V = r->D,
                                         .plain = r->plain,
                                         .alpha = !r->plain,
                                         .dtype = GKA_F32,
                                         .ridge_ratio = isnan(r->ridge) ? 0.02 : r->ridge,
                                         .no_ridge = true,
                                         .seed = (uint64_t)r->seed};
        return cli_outcome(c, gka_problem_generate(&generator, &b->problem, &error), &error);
    }
    static const char *const made_up[] = {"plain", "D", NULL};
    if (strpbrk(r->problem, "/:.*?[") == NULL && access(r->problem, F_OK) != 0 && errno == ENOENT)
        return no_problem(c, r->problem);
    int code = cli_refuse(c, "for a problem from a file", made_up);
    if (code == CLI_GOOD)
        code = cli_problem_open(c, &r->prepared, r->problem);
    if (code != CLI_GOOD)
        return code;
    b->problem = r->prepared.problem;
    b->file = r->prepared.file;
    r->prepared.problem = (gka_problem){0};
    r->prepared.file = NULL;
    const gka_problem *const p = &b->problem;
    if (p->cu_seqlens != NULL)
        return cli_fail(c, "%s: packed sequences (cu_seqlens) are not for this command",
                        r->problem);
    if (r->head >= p->H && p->H > 0)
        return cli_fail(c, "%s: --head=%lld, but the file holds %lld heads", r->problem,
                        (long long)r->head, (long long)p->H);
    if (p->B < 1 || p->T < 1 || p->H < 1)
        return cli_fail(c, "%s: there is no token", r->problem);
    if (cli_given(c, "T") && r->T > p->T)
        return cli_fail(c, "%s: --T=%lld, but the file holds %lld tokens", r->problem,
                        (long long)r->T, (long long)p->T);
    return CLI_GOOD;
}

typedef struct array {
    double **place;
    size_t count;
} array;
enum { ARRAYS = 27 };

static void list_arrays(board *b, array list[ARRAYS]) {
    const size_t D = (size_t)b->D, T = (size_t)b->T;
    const array arrays[ARRAYS] = {{&b->k, T * D},       {&b->decay, T},
                                  {&b->gamma, T},       {&b->q, D},
                                  {&b->dx, D},          {&b->H, D * D},
                                  {&b->x, D},           {&b->dq, D},
                                  {&b->dk, T * D},      {&b->full_x, T * D},
                                  {&b->fro, T},         {&b->ridge, T},
                                  {&b->full_dq, T * D}, {&b->cotangent, T * D},
                                  {&b->Hs, D * D},      {&b->qs, D},
                                  {&b->dxs, D},         {&b->xs, D},
                                  {&b->ps, D},          {&b->dks, T * D},
                                  {&b->phi, D * D},     {&b->eigen, D * (D + 4)},
                                  {&b->h0, D * D},      {&b->ks, D},
                                  {&b->other_x, D},     {&b->other_p, D},
                                  {&b->other_dk, T * D}};
    memcpy(list, arrays, sizeof arrays);
}

static bool take_memory(board *b) {
    array list[ARRAYS];
    bool good = true;
    list_arrays(b, list);
    for (int i = 0; i < ARRAYS; i++)
        good &= (*list[i].place = gka_alloc(list[i].count, sizeof(double))) != NULL;
    gka_solver refined; /* a filter may need it */
    (void)gka_solver_find("cholesky-refined", &refined);
    size_t most = gka_solve_workspace(&refined, 1, b->D);
    for (int i = 0; i < b->r->solvers.count; i++) {
        gka_solver solver;
        const int form = gka_kalman_find(b->r->solvers.name[i]);
        size_t bytes;
        if (form >= 0)
            bytes = gka_kalman_workspace((gka_kalman_form)form, b->D, 0);
        else
            bytes = gka_solver_find(b->r->solvers.name[i], &solver)
                        ? gka_solve_workspace(&solver, 1, b->D)
                        : 0;
        most = bytes > most ? bytes : most;
    }
    good &= (b->workspace = gka_alloc(most, 1)) != NULL;
    good &= (b->points = gka_alloc((size_t)b->r->num_iter + 8, sizeof *b->points)) != NULL;
    return good;
}

static void give_back(board *b) {
    array list[ARRAYS];
    list_arrays(b, list);
    for (int i = 0; i < ARRAYS; i++)
        gka_free(*list[i].place);
    gka_free(b->workspace);
    gka_free(b->points);
    gka_problem_free(&b->problem);
    gka_file_close(b->file);
}

/* +-1/sqrt(D) */
static void make_cotangent(board *b) {
    for (int64_t i = 0; i < b->D; i++) {
        uint64_t bits[4];
        const uint64_t counter[4] = {(uint64_t)i, 0, 0, 0}, key[2] = {(uint64_t)b->r->seed, 1};
        gka_philox(counter, key, bits);
        b->dx[i] = (bits[0] & 1 ? -1 : 1) / sqrt((double)b->D);
    }
    memcpy(b->cotangent + (b->T - 1) * b->D, b->dx, (size_t)b->D * sizeof *b->dx);
}

/* Of H + lambda I; infinite where binary64 cannot tell it from a singular or an indefinite matrix.
 */
static double condition_number(const board *b, double lambda) {
    double smallest, largest;
    gka_extreme_eigenvalues(b->D, b->H, &smallest, &largest, b->eigen);
    return smallest + lambda > 0 ? (largest + lambda) / (smallest + lambda) : (double)INFINITY;
}

/* b->h0: an initial state is D keys before the first token, whatever the form of the filter. By
 * Cholesky with diagonal pivoting, which ends where nothing is left: h0 may be singular, as of
 * fewer keys than D, but not indefinite, for which no filter has a square root. */
static int initial_keys(board *b) {
    const int64_t D = b->D;
    double *const M = b->phi, trace = 0;
    bool filters = false;
    for (int i = 0; i < b->r->solvers.count; i++)
        filters |= gka_kalman_find(b->r->solvers.name[i]) >= 0;
    if (!filters || b->problem.h0.data == NULL)
        return CLI_GOOD;
    gka_problem_h0(&b->problem, 0, 0, M);
    for (int64_t i = 0; i < D; i++) {
        for (int64_t j = 0; j < i; j++)
            M[i * D + j] = M[j * D + i] = (M[i * D + j] + M[j * D + i]) / 2;
        trace += fabs(M[i * D + i]);
    }
    const double nothing = 8 * (double)D * 0x1p-53 * trace;
    for (int64_t n = 0; n < D; n++) {
        int64_t pivot = 0;
        for (int64_t i = 1; i < D; i++)
            pivot = M[i * D + i] > M[pivot * D + pivot] ? i : pivot;
        const double most = M[pivot * D + pivot];
        if (!(most > nothing))
            break;
        for (int64_t i = 0; i < D; i++)
            b->h0[n * D + i] = M[i * D + pivot] / sqrt(most);
        for (int64_t i = 0; i < D; i++)
            for (int64_t j = 0; j < D; j++)
                M[i * D + j] = i == pivot || j == pivot
                                   ? 0
                                   : M[i * D + j] - b->h0[n * D + i] * b->h0[n * D + j];
    }
    for (int64_t i = 0; i < D * D; i++)
        if (!(fabs(M[i]) <= nothing))
            return cli_fail(b->r->c,
                            "%s: h0 is not positive semidefinite, which the Kalman forms need",
                            b->r->problem);
    return CLI_GOOD;
}

static void key_gradient(const board *b, const double *x, const double *p, double *dk);

/* (H + lambda I) x = q and (H + lambda I) p = dx by Cholesky with refinement in binary64. */
static gka_event solve_by_cholesky(board *b, double lambda, double *x, double *p) {
    gka_policy policy;
    gka_solver cholesky;
    gka_arith A;
    gka_outcome outcome;
    (void)gka_policy_find("fp64", &policy);
    (void)gka_solver_find("cholesky-refined", &cholesky);
    gka_arith_start(&A, &policy, 0);
    const gka_system system = {.n = 1, .D = b->D, .H = b->H, .lambda = &lambda, .f = &b->f};
    gka_solve(&A, &system, &cholesky, b->q, x, &outcome, NULL, b->workspace);
    gka_solve(&A, &system, &cholesky, b->dx, p, NULL, NULL, b->workspace);
    return outcome.event;
}

/* x, p and dk of the last token alone, where the oracle would want every H_t to be positive
 * definite. */
static int answer_of_last(board *b) {
    if (solve_by_cholesky(b, b->lambda, b->x, b->dq) != GKA_RAN ||
        !(condition_number(b, 0) < 0x1p52 / (double)b->D))
        return cli_fail(b->r->c, "H of token %lld is singular in binary64, and the ridge is 0",
                        (long long)b->T);
    key_gradient(b, b->x, b->dq, b->dk);
    return CLI_GOOD;
}

static int answer(board *b) {
    const int64_t D = b->D, T = b->T;
    gka_problem *const p = &b->problem;
    gka_error error = {0};
    for (int64_t t = 0; t < T; t++) {
        gka_problem_k(p, 0, t, 0, b->k + t * D);
        b->gamma[t] = exp(gka_problem_g(p, 0, t, 0));
    }
    b->decay[T - 1] = 1;
    for (int64_t t = T - 1; t > 0; t--)
        b->decay[t - 1] = b->decay[t] * b->gamma[t];
    gka_problem_q(p, 0, T - 1, 0, b->q);
    make_cotangent(b);
    p->dx = gka_view_of_doubles(4, (const int64_t[]){1, T, 1, D}, b->cotangent, b->cotangent);
    for (int i = 0; i < b->r->solvers.count; i++)
        if (p->ridge_ratio == 0 && gka_kalman_find(b->r->solvers.name[i]) >= 0)
            return cli_fail(b->r->c, "%s: a Kalman filter starts from a ridge, which is 0 here",
                            b->r->solvers.name[i]);
    const gka_oracle_options options = {.oracle = GKA_ORACLE_FP64};
    const bool ridge = p->ridge_ratio > 0;
    gka_outputs exact = {.x = ridge ? b->full_x : NULL,
                         .fro = b->fro,
                         .lambda = b->ridge,
                         .h_final = b->H,
                         .solve.dq = b->full_dq,
                         .solve.dk = b->dk};
    gka_status status = gka_oracle_forward(p, &options, &exact, NULL, NULL, &error);
    if (status == GKA_OK && ridge)
        status = gka_oracle_gradient(p, GKA_OF_X, &options, &exact, NULL, NULL, &error);
    const int code = cli_outcome(b->r->c, status, &error);
    if (code != CLI_GOOD)
        return code;
    memcpy(b->x, b->full_x + (T - 1) * D, (size_t)D * sizeof *b->x);
    memcpy(b->dq, b->full_dq + (T - 1) * D, (size_t)D * sizeof *b->dq);
    b->f = b->fro[T - 1];
    b->lambda = b->ridge[T - 1];
    if (!(b->f > 0))
        return cli_fail(b->r->c, "the state of token %lld is empty (f = 0)", (long long)T);
    b->kappa = condition_number(b, b->lambda);
    const int last = ridge ? CLI_GOOD : answer_of_last(b);
    return last == CLI_GOOD ? initial_keys(b) : last;
}

/* H/f, keys/sqrt(f): x becomes f x, and p likewise. */
static void normalise(board *b) {
    const int64_t D = b->D;
    const double f = b->f, root = sqrt(f);
    for (int64_t i = 0; i < D * D; i++) {
        b->H[i] /= f;
        b->h0[i] /= root;
    }
    for (int64_t i = 0; i < b->T * D; i++) {
        b->k[i] /= root;
        b->dk[i] *= f * root; /* of <dx, f x> by the normalised keys, their norm held fixed */
    }
    for (int64_t i = 0; i < D; i++) {
        b->x[i] *= f;
        b->dq[i] *= f;
    }
    b->lambda /= f;
    b->f = 1;
}

/* ---- one row ------------------------------------------------------------------------------- */

typedef struct figures {
    const char *solver, *arithmetic;
    int num_iter;
    double lambda, kappa;
    const double *x, *p; /* the exact answers */
    gka_quality quality;
    double grad_q, grad_k;
    gka_event event;
    int64_t step;
} figures;

static double distance(int64_t n, const double *x, const double *exact) {
    double difference = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        difference += (x[i] - exact[i]) * (x[i] - exact[i]);
        size += exact[i] * exact[i];
    }
    return difference == 0 ? 0 : sqrt(difference) / sqrt(size); /* q = 0: both are */
}

/* dk_j = -decay_j (p <x,k_j> + x <p,k_j> + 2 a (<p,x>/f) H k_j), the exact formulas from x and p */
static void key_gradient(const board *b, const double *x, const double *p, double *dk) {
    const int64_t D = b->D;
    double px = 0;
    for (int64_t i = 0; i < D; i++)
        px += p[i] * x[i];
    const double w = 2 * b->lambda * px / (b->f * b->f);
    for (int64_t t = 0; t < b->T; t++) {
        const double *const k = b->k + t * D;
        double xk = 0, pk = 0;
        for (int64_t i = 0; i < D; i++) {
            xk += x[i] * k[i];
            pk += p[i] * k[i];
        }
        for (int64_t i = 0; i < D; i++) {
            double Hk = 0;
            for (int64_t j = 0; j < D; j++)
                Hk += b->H[i * D + j] * k[j];
            dk[t * D + i] = -b->decay[t] * (p[i] * xk + x[i] * pk + w * Hk);
        }
    }
}

static double key_error(board *b, const figures *row) {
    const double *exact = b->dk;
    if (row->x != b->x) { /* a filter's own system */
        key_gradient(b, row->x, row->p, b->other_dk);
        exact = b->other_dk;
    }
    key_gradient(b, b->xs, b->ps, b->dks);
    return distance(b->T * b->D, b->dks, exact);
}

static void write_points(const board *b, const figures *row, int count) {
    if (b->r->trace == NULL)
        return;
    for (int i = 0; i < count; i++)
        fprintf(gka_output_stream(b->r->trace), "%s,%s,%d,%.6e,%.6e,%.6e,,\n", row->solver,
                row->arithmetic, b->points[i].step, b->points[i].quality.residual,
                b->points[i].quality.eta, b->points[i].quality.error);
}

static void run_solver(board *b, gka_arith *A, gka_solver solver, figures *row) {
    gka_outcome outcome;
    if (solver.method != GKA_CHOLESKY)
        solver.num_iter = (int)b->r->num_iter;
    row->num_iter = solver.method == GKA_CHOLESKY && !solver.refined ? 0 : solver.num_iter;
    const gka_system system = {.n = 1, .D = b->D, .H = b->Hs, .lambda = &b->lambda, .f = &b->f};
    gka_trace trace = {b->D, b->H, b->lambda, b->f, b->q, b->x, b->points, (int)b->r->num_iter + 8,
                       0};
    const gka_observer observer = {b->r->trace != NULL ? gka_trace_observe : NULL, &trace};
    gka_solve(A, &system, &solver, b->qs, b->xs, &outcome, &observer, b->workspace);
    gka_solve(A, &system, &solver, b->dxs, b->ps, NULL, NULL, b->workspace);
    row->event = outcome.event;
    row->step = outcome.step;
    write_points(b, row, trace.count);
}

/* Where Phi stands: at 64 places along the tokens, and at the last. */
static void trace_filter(board *b, const figures *row, gka_kalman *K, int64_t t) {
    const int64_t every = (b->T + 63) / 64;
    if (b->r->trace == NULL || ((t + 1) % every != 0 && t + 1 != b->T))
        return;
    double smallest, largest;
    gka_kalman_phi(K, b->phi);
    gka_extreme_eigenvalues(b->D, b->phi, &smallest, &largest, b->eigen);
    fprintf(gka_output_stream(b->r->trace), "%s,%s,%lld,,,,%.6e,%.6e\n", row->solver,
            row->arithmetic, (long long)t + 1, gka_symmetry_defect(b->D, b->phi), smallest);
}

/* The ridge at token T of a filter that starts with lambda_0, and what it then should answer. While
 * prod gamma is not below 2^-60, lambda_0 is chosen so that this is lambda_T and the exact answer
 * the oracle's; beyond, lambda_0 = lambda_T decays away, and the exact answer to that other system
 * is computed here. */
static double filter_start(board *b, figures *row) {
    const double decayed = b->decay[0] * b->gamma[0];
    row->lambda = b->lambda;
    if (decayed >= 0x1p-60)
        return b->lambda / decayed;
    row->lambda = b->lambda * decayed;
    (void)solve_by_cholesky(b, row->lambda, b->other_x, b->other_p);
    row->kappa = condition_number(b, row->lambda);
    row->x = b->other_x;
    row->p = b->other_p;
    return b->lambda;
}

static void run_filter(board *b, gka_arith *A, gka_kalman_form form, figures *row) {
    gka_kalman K;
    const double start = filter_start(b, row);
    gka_kalman_start(A, &K, form, b->D, 0, start, b->workspace);
    row->num_iter = 0;
    row->step = b->T;
    for (int64_t i = 0; i < b->D && b->problem.h0.data != NULL; i++) {
        gka_arith_store(A, b->D, b->h0 + i * b->D, b->ks);
        gka_kalman_step(A, &K, b->ks, NULL, 1);
    }
    for (int64_t t = 0; t < b->T; t++) {
        gka_arith_store(A, b->D, b->k + t * b->D, b->ks);
        gka_kalman_step(A, &K, b->ks, NULL, b->gamma[t]);
        trace_filter(b, row, &K, t);
        bool finite = true;
        for (int64_t i = 0; i < b->D; i++)
            finite &= (bool)isfinite(K.Phi[i * b->D + i]);
        if (!finite && row->step == b->T)
            row->step = t + 1;
    }
    row->event = gka_kalman_solve(A, &K, b->qs, b->xs);
    (void)gka_kalman_solve(A, &K, b->dxs, b->ps);
}

static void run_row(board *b, const char *arithmetic, const char *name, figures *row) {
    gka_policy policy;
    gka_solver solver;
    gka_arith A;
    *row = (figures){.solver = name,
                     .arithmetic = arithmetic,
                     .lambda = b->lambda,
                     .kappa = b->kappa,
                     .x = b->x,
                     .p = b->dq};
    (void)gka_policy_find(arithmetic, &policy);
    policy.seed = (uint64_t)b->r->seed;
    gka_arith_start(&A, &policy, 0);
    gka_arith_store(&A, b->D * b->D, b->H, b->Hs);
    for (int64_t i = 0; i < b->D; i++) /* one rounding per pair, also where it is random */
        for (int64_t j = 0; j < i; j++)
            b->Hs[i * b->D + j] = b->Hs[j * b->D + i];
    gka_arith_store(&A, b->D, b->q, b->qs);
    gka_arith_store(&A, b->D, b->dx, b->dxs);
    if (gka_solver_find(name, &solver))
        run_solver(b, &A, solver, row);
    else
        run_filter(b, &A, (gka_kalman_form)gka_kalman_find(name), row);
    row->quality = gka_measure(b->D, b->H, row->lambda, b->f, b->q, b->xs, row->x);
    row->grad_q = distance(b->D, b->ps, row->p);
    row->grad_k = key_error(b, row);
}

/* ---- output -------------------------------------------------------------------------------- */

/* "ran", "stopped at 24" */
static void status_text(const figures *row, char text[64]) {
    const int n = snprintf(text, 64, "%s", gka_event_name(row->event));
    if (row->event != GKA_RAN)
        (void)snprintf(text + n, (size_t)(64 - n), " at %lld", (long long)row->step);
}

static void print_row(cli_table *table, const figures *row) {
    char status[64];
    status_text(row, status);
    cli_cell(table, "%s", row->solver);
    cli_cell(table, "%s", row->arithmetic);
    cli_cell_number(table, "%.3g", row->kappa);
    if (row->num_iter > 0)
        cli_cell(table, "%d", row->num_iter);
    else
        cli_cell(table, "-");
    cli_cell_real(table, row->quality.residual);
    cli_cell_real(table, row->quality.eta);
    cli_cell_real(table, row->quality.error);
    cli_cell_real(table, row->grad_q);
    cli_cell_real(table, row->grad_k);
    cli_cell(table, "%s", status);
}

static void add_json(request *r, const board *b, const figures *row) {
    char status[64];
    json_t *const object = json_object();
    status_text(row, status);
    const struct {
        const char *key;
        json_t *value;
    } members[] = {{"solver", cli_json_text(row->solver)},
                   {"arith", cli_json_text(row->arithmetic)},
                   {"problem", cli_json_text(r->problem)},
                   {"D", json_integer(b->D)},
                   {"T", json_integer(b->T)},
                   {"ridge", cli_json_real(b->problem.ridge_ratio)},
                   {"iters", json_integer(row->num_iter)},
                   {"seed", json_integer(r->seed)},
                   {"kappa", cli_json_real(row->kappa)},
                   {"residual", cli_json_real(row->quality.residual)},
                   {"eta", cli_json_real(row->quality.eta)},
                   {"rel_err", cli_json_real(row->quality.error)},
                   {"grad_q_err", cli_json_real(row->grad_q)},
                   {"grad_k_err", cli_json_real(row->grad_k)},
                   {"status", cli_json_text(status)}};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        r->good &= json_object_set_new(object, members[i].key, members[i].value) == 0;
    r->good &= json_array_append_new(r->rows, object) == 0;
}

static int fill(board *b) {
    static const char *const headings[] = {"<solver", "<arith",  "kappa",  "iters",  "residual",
                                           "eta",     "rel_err", "grad_q", "grad_k", "<status"};
    request *const r = b->r;
    const bool table_wanted =
        !cli_json_takes_stdout(&r->json) && !(r->trace != NULL && cli_is_stdout(r->trace_path));
    cli_table table;
    cli_table_start(&table, headings, 10);
    cli_progress bar;
    const gka_progress progress = cli_progress_start(&bar, r->c, r->problem);
    const int total = r->arithmetics.count * r->solvers.count;
    for (int i = 0; i < total; i++) {
        figures row;
        run_row(b, r->arithmetics.name[i / r->solvers.count], r->solvers.name[i % r->solvers.count],
                &row);
        if (table_wanted)
            print_row(&table, &row);
        if (r->json.path != NULL)
            add_json(r, b, &row);
        (void)gka_progress_report(&progress, i + 1, total);
    }
    cli_progress_end(&bar);
    if (!table_wanted)
        return CLI_GOOD;
    cli_say(r->c->out, "%s, token %lld, D = %lld, ridge = %g, seed = %lld%s\n", r->problem,
            (long long)b->T, (long long)b->D, b->problem.ridge_ratio, (long long)r->seed,
            r->normalised ? ", H divided by its Frobenius norm" : "");
    return cli_table_print(&table, r->c->out) == GKA_OK ? CLI_GOOD : cli_out_of_memory(r->c);
}

static int work(board *b) {
    request *const r = b->r;
    int code = take_problem(b);
    if (code != CLI_GOOD)
        return code;
    if (b->file != NULL && !isnan(r->ridge))
        b->problem.ridge_ratio = r->ridge;
    cut(&b->problem, r->head, cli_given(r->c, "T") || b->file == NULL ? r->T : b->problem.T);
    b->D = b->problem.D;
    b->T = b->problem.T;
    if (!take_memory(b))
        return cli_out_of_memory(r->c);
    code = answer(b);
    if (code != CLI_GOOD)
        return code;
    if (r->normalised)
        normalise(b);
    return fill(b);
}

/* ---- the command --------------------------------------------------------------------------- */

static int open_trace(request *r) {
    gka_error error = {0};
    if (r->trace_path == NULL)
        return CLI_GOOD;
    const gka_status status = gka_output_open(r->trace_path, &r->trace, &error);
    if (status != GKA_OK)
        return cli_report(r->c, &error);
    fputs("solver,arith,step,residual,eta,rel_err,symmetry,smallest\n",
          gka_output_stream(r->trace));
    return CLI_GOOD;
}

static int close_outputs(request *r, int code) {
    gka_error error = {0};
    if (code == CLI_GOOD && r->trace != NULL) {
        gka_output *const trace = r->trace;
        r->trace = NULL;
        if (gka_output_close(trace, &error) != GKA_OK)
            code = cli_report(r->c, &error);
    }
    if (code == CLI_GOOD && r->json.path != NULL) {
        json_t *const root = json_object();
        r->good &= json_object_set(root, "rows", r->rows) == 0;
        code = cli_json_close(r->c, &r->json, root, r->good);
    }
    if (r->trace != NULL)
        gka_output_abandon(r->trace);
    cli_json_abandon(&r->json);
    return code;
}

/* --iters where no solver takes steps. */
static int refuse_iterations(const request *r) {
    static const char *const steps[] = {"iters", NULL};
    for (int i = 0; i < r->solvers.count; i++) {
        gka_solver solver;
        if (gka_solver_find(r->solvers.name[i], &solver) &&
            (solver.method != GKA_CHOLESKY || solver.refined))
            return CLI_GOOD;
    }
    return cli_refuse(r->c, "where no solver iterates", steps);
}

static int run(request *r, const cli_texts *solvers, const cli_texts *arithmetics,
               const char *json) {
    cli *const c = r->c;
    char all[] = "all", usual[] = "fp32,bf16";
    int code = parse_lists(c, "solver", solvers, all, known_solver, solver_name, &r->solvers);
    if (code == CLI_GOOD)
        code = parse_lists(c, "arith", arithmetics, usual, known_arithmetic, arithmetic_name,
                           &r->arithmetics);
    if (code == CLI_GOOD)
        code = refuse_iterations(r);
    if (code == CLI_GOOD)
        code = cli_json_open(c, json, &r->json);
    if (code == CLI_GOOD)
        code = open_trace(r);
    if (code == CLI_GOOD) {
        board b = {.r = r};
        r->rows = json_array();
        code = work(&b);
        give_back(&b);
    }
    code = close_outputs(r, code);
    json_decref(r->rows);
    return code;
}

int cli_solve(cli *c) {
    request r = {.c = c,
                 .head = 0,
                 .problem = "mean",
                 .D = 128,
                 .T = 128,
                 .num_iter = 30,
                 .seed = 1,
                 .ridge = NAN,
                 .good = true};
    const char *json = NULL;
    cli_texts solvers = {0}, arithmetics = {0};
    static const cli_help help = {.notes = notes};
    cli_problem_start(&r.prepared);
    const cli_option options[] = {
        {"solver", 0, CLI_TEXTS, &solvers, .value = "NAME[,NAME]", .help = "default: all"},
        {"arith", 0, CLI_TEXTS, &arithmetics, .value = "NAME[,NAME]",
         .help = "default: fp32,bf16; all: every name without suffixes"},
        {"problem", 0, CLI_IN, &r.problem, .value = "NAME|FILE",
         .help = "a generator or a safetensors file (mean)"},
        {"head", 0, CLI_INT, &r.head, .value = "N", .help = "of a file (0)", .low = 0,
         .high = 1 << 30},
        {"plain", 0, CLI_FLAG, &r.plain, .help = "no beta, no alpha, no gate"},
        {"gate", 0, CLI_CHOICE, &r.gate, .choices = "none|slow|released|strong|init",
         .help = "how fast a made-up problem forgets (none); of a file: drawn in the place of its "
                 "own"},
        {"normalised", 0, CLI_FLAG, &r.normalised, .help = "divide H by its Frobenius norm"},
        {"D", 0, CLI_INT, &r.D, .value = "N", .help = "key size (128)", .low = 1, .high = 4096},
        {"T", 0, CLI_INT, &r.T, .value = "N", .help = "tokens (128)", .low = 1, .high = 1 << 24},
        {"ridge", 0, CLI_REAL, &r.ridge, .value = "A", .help = "ridge ratio a (0.02)", .low = 0,
         .high = 1e6},
        {"iters", 0, CLI_INT, &r.num_iter, .value = "R", .help = "products with H per solve",
         .low = 0, .high = GKA_MAX_ITERATIONS},
        {"seed", 0, CLI_INT, &r.seed, .value = "N",
         .help = "of made-up problems and of stochastic rounding", .low = 0, .high = 1e15},
        {"trace", 0, CLI_OUT, &r.trace_path, .value = "CSV",
         .help = "step by step: residual, eta, rel_err; Kalman: symmetry defect and smallest "
                 "eigenvalue of Phi"},
        {"json", 0, CLI_OUT, &json, .value = "OUT", .help = "write the rows as JSON"},
        {.kind = CLI_GROUP,
         .group = r.prepared.preparing,
         .help = "Projections made into a problem, with --problem=FILE:"},
        {.kind = CLI_END}};
    int code;
    if (!cli_parse(c, &help, options, &code))
        return code;
    static const char *const unread[] = {"alpha", "cotangents", NULL};
    if ((code = cli_refuse(c, "here, where it is not read", unread)) != CLI_GOOD)
        return code;
    if (cli_given(c, "gate"))
        r.prepared.gate = r.gate;
    if (cli_given(c, "conv") || cli_given(c, "beta") || r.prepared.gate > GKA_GATE_NONE)
        r.prepared.seed = r.seed; /* something is drawn */
    if (r.plain && cli_given(c, "gate"))
        return cli_fail(c, "--gate has no meaning with --plain, which is without one");
    return run(&r, &solvers, &arithmetics, json);
}
