/* solvers.c - the bits of every solver, adjoint and filter in stochastic arithmetic, pinned. Each
 * operation there draws its random bits by its place in the order of operations, so an order that C
 * leaves open (that of the arguments of a call) shows as other bits under another compiler. */
#include "test.h"

#include "gka/solve.h"

enum { D = 6, TOKENS = 5, ITERATIONS = 12 };

/* FNV-1a over the bytes of numbers, lowest first. */
static uint64_t fnv(uint64_t hash, int64_t n, const double *x) {
    for (int64_t i = 0; i < n; i++)
        for (int shift = 0; shift < 64; shift += 8)
            hash = (hash ^ (bits_of(x[i]) >> shift & 0xff)) * 0x100000001b3;
    return hash;
}

static const uint64_t START = 0xcbf29ce484222325;

static gka_arith arith(void) {
    gka_policy policy;
    gka_arith A;
    assert_true(gka_policy_find("bf16/stochastic", &policy));
    policy.seed = 7;
    gka_arith_start(&A, &policy, 0);
    return A;
}

/* H_ij = 2^-|i-j|, lambda and f (about its Frobenius norm) are numbers of bf16. */
static void make(double H[D * D], double q[D], double dx[D]) {
    for (int i = 0; i < D; i++) {
        for (int j = 0; j < D; j++)
            H[i * D + j] = 1.0 / (1 << (i > j ? i - j : j - i));
        q[i] = (i * 53 % 97 - 48) / 32.0;
        dx[i] = (i * 41 % 89 - 44) / 64.0;
    }
}

static const double f = 2.953125, lambda = 0.0595703125;

static void *workspace(size_t bytes) {
    void *const memory = gka_alloc(bytes, 1);
    assert_non_null(memory);
    return memory;
}

static void assert_hash(const char *name, const char *what, uint64_t hash, uint64_t expected) {
    if (hash != expected)
        fail_msg("%s, %s: 0x%016llx, expected 0x%016llx", name, what, (unsigned long long)hash,
                 (unsigned long long)expected);
}

static uint64_t solve_hash(const gka_solver *solver) {
    double H[D * D], q[D], dx[D], x[D];
    gka_arith A = arith();
    make(H, q, dx);
    const gka_system system = {.n = 1, .D = D, .H = H, .lambda = &lambda, .f = &f};
    void *const memory = workspace(gka_solve_workspace(solver, 1, D));
    gka_solve(&A, &system, solver, q, x, NULL, NULL, memory);
    gka_free(memory);
    return fnv(START, D, x);
}

static uint64_t adjoint_hash(const gka_solver *solver) {
    double H[D * D], q[D], dx[D], out[D + D * D + 2] = {0};
    gka_arith A = arith();
    make(H, q, dx);
    const gka_system system = {.n = 1, .D = D, .H = H, .lambda = &lambda, .f = &f};
    void *const memory = workspace(gka_solve_adjoint_workspace(solver, D));
    gka_solve_adjoint(&A, &system, solver, q, dx, false, out, out + D, &out[D + D * D],
                      &out[D + D * D + 1], memory);
    gka_free(memory);
    return fnv(START, D + D * D + 2, out);
}

static uint64_t filter_hash(gka_kalman_form form) {
    double H[D * D], q[D], v[D], out[2 * D];
    gka_arith A = arith();
    gka_kalman K;
    make(H, q, v);
    void *const memory = workspace(gka_kalman_workspace(form, D, D));
    gka_kalman_start(&A, &K, form, D, D, lambda, memory);
    for (int t = 0; t < TOKENS; t++)
        gka_kalman_step(&A, &K, H + t * D, v, 0.875);
    (void)gka_kalman_solve(&A, &K, q, out);
    (void)gka_kalman_predict(&A, &K, q, out + D);
    gka_free(memory);
    return fnv(START, 2 * D, out);
}

static void test_solvers(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t x, adjoint; /* 0: it has none */
    } pins[] = {
        {"chebyshev", 0x641c1b4c601a58a3, 0x97daa293bac9fee0},
        {"chebyshev-converged", 0xd60d1ea27af555fa, 0x669360474c7e590a},
        {"chebyshev2", 0xdfff6c1edfdc5c1a, 0xa55f95be38441657},
        {"cg", 0x16db7b53ce2732a8, 0xa0d16fb162381ea9},
        {"cg-guarded", 0x0389f1d9518e26bb, 0x7f97d043bb590b24},
        {"cg-jacobi", 0x9e88c4f67c18df5b, 0xf784e89aa6a08dc0},
        {"cg-stop", 0x1ea994af8419d708, 0xe8c393c9d47c77d4},
        {"cg-consistent", 0x2ef7cc04d9026fee, 0x59de77fab4bc674f},
        {"gradient", 0x7028520a2cf28877, 0},
        {"nesterov", 0x8027ae83e0375437, 0},
        {"cholesky", 0x2d245a4b0cbe81b8, 0},
        {"cholesky-refined", 0xdc5e05bfa7b2e307, 0},
    };
    for (size_t i = 0; i < sizeof pins / sizeof pins[0]; i++) {
        gka_solver solver;
        assert_string_equal(pins[i].name, gka_solver_names()[i]);
        assert_true(gka_solver_find(pins[i].name, &solver));
        solver.num_iter = ITERATIONS;
        assert_hash(solver.name, "x", solve_hash(&solver), pins[i].x);
        if (gka_solve_has_adjoint(&solver))
            assert_hash(solver.name, "adjoint", adjoint_hash(&solver), pins[i].adjoint);
    }
}

static void test_filters(void **state) {
    (void)state;
    static const uint64_t pins[GKA_KALMAN_FORM_COUNT] = {
        0x1c3a04f1f6cbba36, 0xc14f2992059cb1e5, 0xcc9d4fa7f294db21, 0xf609d0873dbf0487,
        0xc99ac3d372fa015a, 0xf36740fea7859989, 0x5a6f496f077ed83f,
    };
    for (int form = 0; form < GKA_KALMAN_FORM_COUNT; form++)
        assert_hash(gka_kalman_name((gka_kalman_form)form), "x and o",
                    filter_hash((gka_kalman_form)form), pins[form]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_solvers),
        cmocka_unit_test(test_filters),
    };
    return cmocka_run_group_tests_name("solvers", tests, NULL, NULL);
}
