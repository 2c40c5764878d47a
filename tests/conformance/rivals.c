/* rivals.c - the layers that Gated KalmaNet is compared with: their names; in fp64 they are the
 * recurrences that MPFR computes, in other arithmetics within that arithmetic's bound; gradients
 * are the derivatives of what MPFR computes; threads, failing allocations and bad input.
 */
#include "oracle.h"

#include "gka/rivals.h"

enum { T = 17, H = 4, G = 2, D = 6, V = 5 };

typedef struct arrays {
    double o[T * H * V], x[T * H * D], norm[T * H], dq[T * H * D], dk[T * G * D], dv[T * G * V],
        dbeta[T * H], dg[T * H], dgk[T * H * D], dlambda[T * H * D];
} arrays;

static gka_rival_outputs outputs_of(arrays *a) {
    return (gka_rival_outputs){.o = a->o,
                               .x = a->x,
                               .norm = a->norm,
                               .dq = a->dq,
                               .dk = a->dk,
                               .dv = a->dv,
                               .dbeta = a->dbeta,
                               .dg = a->dg,
                               .dgk = a->dgk,
                               .dlambda = a->dlambda};
}

/* A problem whose tensors are ours to move, with a beta and with gates by channel; packed: an empty
 * sequence among them, and one of a single token. Keys have length 1/2 on the average, so that the
 * delta rule contracts. */
typedef struct movable {
    lab_case lab;
    gka_view gk;
    double *beta, *channel;
} movable;

static void start(movable *m, bool packed, bool folded) {
    const lab_shape shape = {
        .B = 1, .T = T, .H = H, .G = G, .D = D, .V = V, .gate = true, .packed = packed, .seed = 5};
    const int64_t rows[] = {1, T, H, D};
    lab_new(&m->lab, &shape);
    gka_problem *const P = &m->lab.problem;
    P->num_iter = 160;
    P->scale = 0.5;
    for (int i = 0; i < T * G * D; i++)
        m->lab.k[i] *= 0.25;
    m->channel = lab_tensor(&m->gk, 5, 21, 4, rows);
    m->beta = lab_tensor(&P->beta, 5, 22, 3, rows);
    for (int i = 0; i < T * H; i++)
        m->beta[i] = fabs(m->beta[i]);
    for (int i = 0; i < T * H * D; i++)
        m->channel[i] = -fabs(m->channel[i]) - 0x1p-7;
    if (folded)
        P->beta = (gka_view){0};
}

static void end(movable *m) {
    lab_free(&m->lab);
    gka_free(m->beta);
    gka_free(m->channel);
}

static gka_rival rival_of(const movable *m, const char *name) {
    gka_rival rival;
    gka_error error = {0};
    if (gka_rival_find(name, &rival, &error) != GKA_OK)
        fail_msg("%s", error.text);
    rival.gk = m->gk; /* which the others do not read */
    return rival;
}

static gka_policy policy_of(const char *name) {
    gka_policy policy;
    assert_true(gka_policy_find(name, &policy));
    return policy;
}

static void run(const movable *m, const gka_rival *rival, const char *policy, bool gradient,
                arrays *a) {
    const gka_policy P = policy_of(policy);
    gka_rival_outputs out = outputs_of(a);
    gka_error error = {0};
    memset(a, 0, sizeof *a);
    const gka_status status =
        gradient ? gka_rival_gradient(&m->lab.problem, rival, &P, &out, NULL, &error)
                 : gka_rival_forward(&m->lab.problem, rival, &P, &out, NULL, &error);
    if (status != GKA_OK)
        fail_msg("%s: %s", rival->name, error.text);
}

static void exactly(const movable *m, const gka_rival *rival, arrays *a) {
    const int bits = rival->recurrence == GKA_RIVAL_GKA ? 0 : 128;
    gka_rival_outputs out = {.o = a->o, .x = a->x};
    gka_error error = {0};
    memset(a, 0, sizeof *a);
    if (gka_rival_exact(&m->lab.problem, rival, bits, &out, NULL, &error) != GKA_OK)
        fail_msg("%s: %s", rival->name, error.text);
}

static double distance(int64_t n, const double *x, const double *reference) {
    double off = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        off += (x[i] - reference[i]) * (x[i] - reference[i]);
        size += reference[i] * reference[i];
    }
    return sqrt(off / size);
}

static const char *const names[] = {"linear",
                                    "retnet",
                                    "mamba2",
                                    "gla",
                                    "deltanet",
                                    "gdn",
                                    "kda",
                                    "mesa",
                                    "mesa/ridge=.25",
                                    "kla",
                                    "kla/noise=.5",
                                    "softmax",
                                    "softmax/sharpness=4",
                                    "gka"};
enum { NAMES = sizeof names / sizeof *names };

/* ---- values -------------------------------------------------------------------------------- */

/* T tokens, each with a rounding of the state and sums of D: T (D + 4) u; mesa and gka amplify it
 * by kappa <= 1 + T |k|^2 / Lambda. The factor 8: |S_t| and |o_t| of short keys differ. */
static double bound(double u) {
    return 8 * T * (D + 4) * u;
}

static void test_fp64_is_mpfr(void **state) {
    (void)state;
    static arrays own, exact;
    for (int packed = 0; packed < 2; packed++)
        for (int i = 0; i < NAMES; i++) {
            movable m;
            start(&m, packed, strcmp(names[i], "gka") == 0);
            const gka_rival rival = rival_of(&m, names[i]);
            run(&m, &rival, "fp64", false, &own);
            exactly(&m, &rival, &exact);
            const double kappa = rival.recurrence == GKA_RIVAL_GKA ? 51 : 1;
            const double off = distance(T * H * V, own.o, exact.o);
            if (!(off <= kappa * bound(0x1p-53)))
                fail_msg("%s: o is off by %g", names[i], off);
            if (rival.recurrence == GKA_RIVAL_MESA &&
                !(distance(T * H * D, own.x, exact.x) <= bound(0x1p-53)))
                fail_msg("%s: x is off by %g", names[i], distance(T * H * D, own.x, exact.x));
            end(&m);
        }
}

static void test_low_precision_is_within_its_bound(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double u;
    } cases[] = {{"fp32", 0x1p-24}, {"bf16-acc32/fma", 0x1p-8}, {"p11e8/pairwise", 0x1p-11}};
    static arrays own, exact;
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < NAMES - 1; i++) {
            movable m;
            start(&m, false, false);
            const gka_rival rival = rival_of(&m, names[i]);
            run(&m, &rival, cases[c].name, false, &own);
            exactly(&m, &rival, &exact);
            const double off = distance(T * H * V, own.o, exact.o);
            /* the sums of linear attention without a gate may be exact: inputs have few bits */
            if (!(off <= bound(cases[c].u) && (off >= cases[c].u / 64 || i == 0)))
                fail_msg("%s in %s: o is off by %g", names[i], cases[c].name, off);
            end(&m);
        }
}

/* The certified oracle with a constant ridge, and the fp64 and MPFR oracles with it, against
 * conjugate gradients in MPFR. */
static void test_oracles_with_a_constant_ridge(void **state) {
    (void)state;
    static arrays certified, exact;
    static double x[T * H * D], o[T * H * V], lambda[T * H], kappa[T * H];
    for (int packed = 0; packed < 2; packed++) {
        movable m;
        start(&m, packed, true);
        gka_problem *const P = &m.lab.problem;
        const gka_rival rival = rival_of(&m, "mesa/ridge=.25");
        gka_rival_outputs out = outputs_of(&certified);
        gka_error error = {0};
        assert_int_equal(gka_rival_exact(P, &rival, 0, &out, NULL, &error), GKA_OK);
        out = outputs_of(&exact);
        assert_int_equal(gka_rival_exact(P, &rival, 200, &out, NULL, &error), GKA_OK);
        assert_memory_equal(certified.x, exact.x, sizeof exact.x);
        assert_memory_equal(certified.o, exact.o, sizeof exact.o);
        gka_oracle_options options = {.oracle = GKA_ORACLE_FP64, .ridge = 0.25};
        gka_outputs own = {.x = x, .o = o, .lambda = lambda};
        assert_int_equal(gka_oracle_forward(P, &options, &own, NULL, NULL, &error), GKA_OK);
        assert_true(distance(T * H * D, x, exact.x) <= bound(0x1p-53));
        assert_true(distance(T * H * V, o, exact.o) <= bound(0x1p-53));
        assert_true(lambda[0] == 0.25 && lambda[T * H - 1] == 0.25);
        options.oracle = GKA_ORACLE_MPFR;
        assert_int_equal(gka_oracle_forward(P, &options, &own, NULL, NULL, &error), GKA_OK);
        assert_memory_equal(x, exact.x, sizeof x);
        assert_memory_equal(o, exact.o, sizeof o);
        own.kappa = kappa;
        assert_int_equal(gka_oracle_forward(P, &options, &own, NULL, NULL, &error),
                         GKA_UNSUPPORTED);
        own.kappa = NULL;
        options.ridge = -1;
        assert_int_equal(gka_oracle_forward(P, &options, &own, NULL, NULL, &error),
                         GKA_BAD_ARGUMENT);
        options.ridge = 0.25;
        assert_int_equal(gka_oracle_gradient(P, GKA_OF_O, &options, &own, NULL, NULL, &error),
                         GKA_UNSUPPORTED);
        memset(m.lab.k, 0, (size_t)(G * D) * sizeof *m.lab.k); /* the first token's */
        assert_int_equal(gka_oracle_forward(P, &options, &own, NULL, NULL, &error),
                         GKA_UNSUPPORTED);
        assert_non_null(strstr(error.text, "token 0"));
        out = outputs_of(&exact); /* ... which MPFR can do: x = q/Lambda */
        assert_int_equal(gka_rival_exact(P, &rival, 0, &out, NULL, &error), GKA_OK);
        assert_true(exact.x[1] == 4 * m.lab.q[1]);
        end(&m);
    }
}

/* A diagonal that is constant is the ridge; gates that are the same in every channel are the
 * token's; without gates and with them. To the bit: the same operations. */
static void test_settings_are_special_cases(void **state) {
    (void)state;
    static arrays one, other;
    static double diagonal[H * D];
    movable m;
    start(&m, false, false);
    gka_rival first = rival_of(&m, "mesa/ridge=.75"), second = first;
    for (int i = 0; i < H * D; i++)
        diagonal[i] = 0.75;
    second.diagonal = diagonal;
    run(&m, &first, "fp32", true, &one);
    run(&m, &second, "fp32", true, &other);
    assert_memory_equal(&one, &other, sizeof one);
    static const char *const pairs[][2] = {{"mamba2", "gla"}, {"gdn", "kda"}};
    for (int i = 0; i < 2; i++) {
        first = rival_of(&m, pairs[i][0]);
        second = rival_of(&m, pairs[i][1]);
        second.gk = (gka_view){0};
        second.writes = first.writes;
        run(&m, &first, "bf16", true, &one);
        run(&m, &second, "bf16", true, &other);
        assert_memory_equal(one.o, other.o, sizeof one.o);
        assert_memory_equal(one.dk, other.dk, sizeof one.dk);
        assert_memory_equal(one.dg, other.dg, sizeof one.dg);
        run(&m, &second, "fp64", true, &other);
        for (int t = 0; t < T * H; t++) {
            double sum = 0;
            for (int d = 0; d < D; d++)
                sum += other.dgk[t * D + d];
            assert_true(fabs(sum - other.dg[t]) <= 0x1p-48);
        }
    }
    end(&m);
}

/* ---- chunks -------------------------------------------------------------------------------- */

static void by_chunks(const movable *m, const gka_rival *rival, const char *device,
                      uint32_t released, arrays *a) {
    const gka_rival_profile profile = {gka_device_find(device), released};
    gka_rival_outputs out = outputs_of(a);
    gka_error error = {0};
    memset(a, 0, sizeof *a);
    if (gka_rival_chunk(&m->lab.problem, rival, &profile, &out, NULL, &error) != GKA_OK)
        fail_msg("%s: %s", rival->name, error.text);
}

static bool has_chunks(const gka_rival *rival) {
    return rival->recurrence <= GKA_RIVAL_MESA;
}

/* Chunks of 1, 3, 4 and all tokens, whole and ragged, of packed sequences too. Forward substitution
 * in T is stable for keys this short; sums of C more terms. */
static void prop_chunks_are_the_recurrence(void **state) {
    (void)state;
    static arrays own, exact;
    static const int64_t sizes[] = {1, 3, 4, 64};
    for (int packed = 0; packed < 2; packed++)
        for (int i = 0; i < NAMES; i++) {
            movable m;
            start(&m, packed, false);
            const gka_rival rival = rival_of(&m, names[i]);
            if (has_chunks(&rival))
                exactly(&m, &rival, &exact);
            for (int c = 0; c < 4 && has_chunks(&rival); c++) {
                m.lab.problem.chunk_size = sizes[c];
                by_chunks(&m, &rival, "exact64", 0, &own);
                const double off = distance(T * H * V, own.o, exact.o);
                if (!(off <= bound(0x1p-53)))
                    fail_msg("%s by chunks of %d is off by %g", names[i], (int)sizes[c], off);
            }
            end(&m);
        }
}

/* Inputs as bf16 numbers (they are: few bits), so that a device takes them. */
static void as_bf16(movable *m) {
    gka_problem *const P = &m->lab.problem;
    gka_view *const views[] = {&P->q, &P->k, &P->v};
    const int64_t counts[] = {T * H * D, T * G * D, T * G * V};
    double *const values[] = {m->lab.q, m->lab.k, m->lab.v};
    for (int i = 0; i < 3; i++) {
        uint16_t packed[T * H * D];
        gka_store_array(GKA_BF16, (size_t)counts[i], values[i], packed);
        memcpy(values[i], packed, (size_t)counts[i] * sizeof *packed);
        views[i]->dtype = GKA_BF16;
    }
}

/* Every point of a layer, switched alone, changes something, none of another layer does; all of
 * them together stay within the bound of bf16. */
static void test_rounding_points(void **state) {
    (void)state;
    static const char *const layers[] = {"mamba2", "gdn", "mesa", "gla", "kda"};
    static const char *const letters[] = {"L", "D", "M", "LC", "DC"};
    static arrays all, own, exact;
    const uint32_t fine = GKA_RIVAL_RELEASED & ~(1u << GKA_RIVAL_POINT_STORE_O);
    for (int i = 0; i < 5; i++) {
        movable m;
        start(&m, false, false);
        m.lab.problem.num_iter = 5;
        m.lab.problem.scale = 0.3; /* so that storing o rounds */
        const gka_rival rival = rival_of(&m, layers[i]);
        for (int c = 0; c < T * H * D; c++)
            m.channel[c] /= 16; /* so that token 16 still meets those of the block before it */
        as_bf16(&m);
        exactly(&m, &rival, &exact);
        by_chunks(&m, &rival, "h100", fine, &all);
        for (int p = 0; p < GKA_RIVAL_POINT_COUNT; p++) {
            if (p == GKA_RIVAL_POINT_TF32) { /* the last: between blocks of one chunk */
                m.lab.problem.chunk_size = 64;
                by_chunks(&m, &rival, "h100", fine, &all);
            }
            const char *const whose = strrchr(gka_rival_point_text((gka_rival_point)p), '(');
            by_chunks(&m, &rival, "h100", fine ^ 1u << p, &own);
            const bool changes = memcmp(own.o, all.o, sizeof own.o) != 0;
            /* exp is off by a unit of fp32, which roundings to bf16 may hide; gla has no beta, and
             * v is bf16 */
            if (p != GKA_RIVAL_POINT_EXP && !(i == 3 && p == GKA_RIVAL_POINT_OPERAND) &&
                changes != (strpbrk(whose, letters[i]) != NULL))
                fail_msg("%s: %s %s", layers[i], gka_rival_point_name((gka_rival_point)p),
                         changes ? "switched changes o" : "switched changes nothing");
        }
        by_chunks(&m, &rival, "h100", GKA_RIVAL_RELEASED, &own);
        const double off = distance(T * H * V, own.o, exact.o);
        if (!(off <= bound(0x1p-8) && off >= 0x1p-12))
            fail_msg("%s as released is off by %g", layers[i], off);
        end(&m);
    }
}

static void test_chunk_refusals(void **state) {
    (void)state;
    static arrays a;
    gka_rival_outputs out = outputs_of(&a);
    gka_error error = {0};
    movable m;
    start(&m, false, false);
    gka_rival rival = rival_of(&m, "gdn");
    gka_rival_profile profile = {gka_device_find("h100"), GKA_RIVAL_RELEASED};
    gka_problem *const P = &m.lab.problem;
    assert_int_equal(gka_rival_chunk(P, &rival, &profile, &out, NULL, &error), GKA_UNSUPPORTED);
    assert_non_null(strstr(error.text, "BF16"));
    rival = rival_of(&m, "softmax");
    assert_int_equal(gka_rival_chunk(P, &rival, &profile, &out, NULL, &error), GKA_UNSUPPORTED);
    as_bf16(&m);
    rival = rival_of(&m, "gdn");
    profile.device = gka_device_find("ieee32");
    assert_int_equal(gka_rival_chunk(P, &rival, &profile, &out, NULL, &error), GKA_UNSUPPORTED);
    profile.device = gka_device_find("h100");
    gka_alloc_fail_at(0, true);
    const gka_status status = gka_rival_chunk(P, &rival, &profile, &out, NULL, NULL);
    gka_alloc_fail_at(-1, false);
    assert_int_equal(status, GKA_OUT_OF_MEMORY);
    end(&m);
}

/* ---- gradients ----------------------------------------------------------------------------- */

/* array += e direction; returns <gradient, direction> */
static double move(double *array, int64_t n, double e, uint64_t seed, const double *gradient) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const double d = lab_draw(seed, 50, (uint64_t)i);
        array[i] += e * d;
        sum += gradient == NULL ? 0 : d * gradient[i];
    }
    return sum;
}

/* One tensor at a time: 0 q, 1 k, 2 v, 3 beta, 4 g, 5 gk */
static double move_one(movable *m, int tensor, double e, const arrays *a) {
    switch (tensor) {
    case 0: return move(m->lab.q, T * H * D, e, 1, a ? a->dq : NULL);
    case 1: return move(m->lab.k, T * G * D, e, 2, a ? a->dk : NULL);
    case 2: return move(m->lab.v, T * G * V, e, 3, a ? a->dv : NULL);
    case 3: return move(m->beta, T * H, e, 4, a ? a->dbeta : NULL);
    case 4: return move(m->lab.g, T * H, e, 5, a ? a->dg : NULL);
    default: return move(m->channel, T * H * D, e, 6, a ? a->dgk : NULL);
    }
}

/* Whether o depends on the tensor. */
static bool reads(const gka_rival *rival, int tensor) {
    return tensor < 3 || (tensor == 3 && rival->writes) ||
           (tensor == 4 && rival->gating == GKA_GATING_HEAD) ||
           (tensor == 5 && rival->gating == GKA_GATING_CHANNEL);
}

/* <do, o>, o from MPFR */
static double loss(const movable *m, const gka_rival *rival) {
    static arrays exact;
    double sum = 0;
    exactly(m, rival, &exact);
    for (int i = 0; i < T * H * V; i++)
        sum += m->lab.dout[i] * exact.o[i];
    return sum;
}

static double slope(movable *m, const gka_rival *rival, int tensor, double e) {
    (void)move_one(m, tensor, e, NULL);
    const double above = loss(m, rival);
    (void)move_one(m, tensor, -2 * e, NULL);
    const double below = loss(m, rival);
    (void)move_one(m, tensor, e, NULL);
    return (above - below) / (2 * e);
}

/* Richardson's extrapolation of central differences with steps h = 2^-12 and 2 h. Moved numbers are
 * exact, o is rounded to binary64: what is left is the truncation, of order h^4 = 2^-48, and
 * rounding, 2^-53/h = 2^-41, both times sizes of about 2^8 (340 terms). */
static void test_gradients_are_derivatives_of_mpfr(void **state) {
    (void)state;
    static const char *const tensors[] = {"q", "k", "v", "beta", "g", "gk"};
    static arrays a;
    const double h = 0x1p-12;
    for (int i = 0; i < NAMES - 1; i++) {
        movable m;
        if (names[i][0] == 'l' || names[i][0] == 'd') /* settings of mamba2 and of gdn */
            continue;
        start(&m, i % 2 != 0, false);
        const gka_rival rival = rival_of(&m, names[i]);
        run(&m, &rival, "fp64", true, &a);
        for (int tensor = 0; tensor < 6; tensor++) {
            const double own = move_one(&m, tensor, 0, &a);
            if (!reads(&rival, tensor)) {
                assert_true(own == 0);
                continue;
            }
            const double found =
                (4 * slope(&m, &rival, tensor, h) - slope(&m, &rival, tensor, 2 * h)) / 3;
            if (!(fabs(own - found) <= 0x1p-32))
                fail_msg("%s: the derivative by %s is %.12g, not %.12g", names[i], tensors[tensor],
                         found, own);
        }
        end(&m);
    }
}

/* The same of Lambda, a number for each head and channel. */
static void test_the_gradient_by_lambda(void **state) {
    (void)state;
    static arrays a;
    const double step = 0x1p-12;
    movable m;
    start(&m, true, false);
    double diagonal[H * D], of[2][H * D] = {{0}};
    for (int i = 0; i < H * D; i++)
        diagonal[i] = 0.5 + 0.125 * (i % 5);
    gka_rival rival = rival_of(&m, "mesa");
    rival.diagonal = diagonal;
    run(&m, &rival, "fp64", true, &a);
    for (int i = 0; i < T * H * D; i++)
        of[0][i % (H * D)] += a.dlambda[i];
    for (int i = 0; i < H * D; i += 5) {
        double at[4];
        for (int j = 0; j < 4; j++) {
            const double moved = step * (double[]){1, -1, 2, -2}[j];
            diagonal[i] += moved;
            at[j] = loss(&m, &rival);
            diagonal[i] -= moved;
        }
        of[1][i] = (4 * (at[0] - at[1]) / (2 * step) - (at[2] - at[3]) / (4 * step)) / 3;
        assert_true(fabs(of[0][i]) > 0x1p-20);
        if (!(fabs(of[0][i] - of[1][i]) <= 0x1p-32))
            fail_msg("Lambda %d: %.12g, not %.12g", i, of[0][i], of[1][i]);
    }
    rival = rival_of(&m, "gdn");
    run(&m, &rival, "fp64", true, &a);
    for (int i = 0; i < T * H * D; i++)
        assert_true(a.dlambda[i] == 0);
    end(&m);
}

/* gka here is the room layer's: that it is asked with the right tensors. */
static void test_gka_is_the_layer(void **state) {
    (void)state;
    static arrays a;
    static double dq[T * H * D], dg[T * H];
    movable m;
    start(&m, false, true);
    m.lab.problem.num_iter = 160;
    const gka_rival rival = rival_of(&m, "gka");
    run(&m, &rival, "fp64", true, &a);
    gka_outputs exact = {.layer = {.dq = dq, .dg = dg}};
    lab_gradient(&m.lab.problem, GKA_OF_O, GKA_ORACLE_FP64, &exact, NULL);
    assert_true(distance(T * H * D, a.dq, dq) <= 51 * 51 * bound(0x1p-53));
    assert_true(distance(T * H, a.dg, dg) <= 51 * 51 * bound(0x1p-53));
    end(&m);
}

/* ---- the rest ------------------------------------------------------------------------------ */

static void test_threads_and_stochastic_rounding(void **state) {
    (void)state;
    static arrays one, two;
    for (int i = 0; i < NAMES - 1; i++) {
        movable m;
        start(&m, true, false);
        const gka_rival rival = rival_of(&m, names[i]);
        gka_set_threads(1);
        run(&m, &rival, "bf16-acc32/stochastic", true, &one);
        gka_set_threads(3);
        run(&m, &rival, "bf16-acc32/stochastic", true, &two);
        gka_set_threads(0);
        assert_memory_equal(&one, &two, sizeof one);
        /* The forward pass alone: what the way back recomputes is what it saw. */
        run(&m, &rival, "bf16-acc32/stochastic", false, &two);
        assert_memory_equal(one.o, two.o, sizeof one.o);
        end(&m);
    }
}

static void test_names(void **state) {
    (void)state;
    gka_rival rival;
    gka_error error = {0};
    static const char *const bad[] = {"",
                                      "gated",
                                      "gdn/ridge=1",
                                      "mesa/ridge=0",
                                      "mesa/ridge",
                                      "mesa/num_iter=0",
                                      "mesa/guard=-1",
                                      "mesa/",
                                      "gk",
                                      "mesa/ridge=1x",
                                      "kla/noise=-1",
                                      "kla/noise=0",
                                      "gdn/noise=1",
                                      "softmax/sharpness=nan",
                                      ("mesa/ridge=11111111111111111111111111111111111111111111111"
                                       "11111111111111111111111111111111111")};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(gka_rival_find(bad[i], &rival, &error), GKA_BAD_ARGUMENT);
        assert_non_null(strstr(error.text, "was expected"));
    }
    for (size_t i = 0; gka_rival_word(i) != NULL; i++) {
        assert_int_equal(gka_rival_find(gka_rival_word(i), &rival, NULL), GKA_OK);
        assert_string_equal(rival.name, gka_rival_word(i));
        assert_non_null(rival.text);
    }
    assert_int_equal(gka_rival_find("mesa/ridge=.5/num_iter=7/guard=1e-5", &rival, NULL), GKA_OK);
    assert_true(rival.ridge == 0.5 && rival.num_iter == 7 && rival.guard == 1e-5);
}

static void test_refusals(void **state) {
    (void)state;
    static arrays a;
    const gka_policy fp64 = policy_of("fp64");
    gka_rival_outputs out = outputs_of(&a);
    gka_error error = {0};
    movable m;
    start(&m, false, false);
    gka_rival rival = rival_of(&m, "gka");
    gka_problem P = m.lab.problem;
    assert_int_equal(gka_rival_forward(&P, &rival, &fp64, &out, NULL, &error), GKA_BAD_ARGUMENT);
    rival = rival_of(&m, "gla");
    rival.gk.shape[3] = D - 1;
    assert_int_equal(gka_rival_forward(&P, &rival, &fp64, &out, NULL, &error), GKA_BAD_ARGUMENT);
    assert_non_null(strstr(error.text, "tensor 'gk': shape"));
    rival = rival_of(&m, "kda");
    const double was = m.channel[D], bad[] = {NAN, 0x1p-60, INFINITY};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        m.channel[D] = bad[i];
        assert_int_equal(gka_rival_forward(&P, &rival, &fp64, &out, NULL, &error),
                         GKA_BAD_ARGUMENT);
        assert_non_null(strstr(error.text, "at [0,0,1,0]; a gate <= 0 or -inf expected"));
    }
    m.channel[D] = was;
    rival = rival_of(&m, "gdn");
    P.dout.data = NULL;
    assert_int_equal(gka_rival_gradient(&P, &rival, &fp64, &out, NULL, &error), GKA_BAD_ARGUMENT);
    P.normalise = GKA_NORMALISE_UNIT;
    assert_int_equal(gka_rival_forward(&P, &rival, &fp64, &out, NULL, &error), GKA_BAD_ARGUMENT);
    end(&m);
    const lab_shape with_states = {.B = 1, .T = 3, .H = 1, .G = 1, .D = D, .V = V, .states = true};
    lab_case lab;
    lab_new(&lab, &with_states);
    assert_int_equal(gka_rival_forward(&lab.problem, &rival, &fp64, &out, NULL, &error),
                     GKA_UNSUPPORTED);
    lab_free(&lab);
}

static void test_failing_allocations(void **state) {
    (void)state;
    static arrays a;
    movable m;
    start(&m, false, false);
    const gka_policy fp64 = policy_of("fp64");
    gka_rival_outputs out = outputs_of(&a);
    for (int i = 0; i < NAMES - 1; i += 4) {
        const gka_rival rival = rival_of(&m, names[i]);
        const int64_t before = gka_alloc_live();
        for (int64_t n = 0; n < 2; n++) {
            gka_alloc_fail_at(n, true);
            const gka_status exact = gka_rival_exact(&m.lab.problem, &rival, 0, &out, NULL, NULL);
            gka_alloc_fail_at(0, true);
            const gka_status own =
                gka_rival_gradient(&m.lab.problem, &rival, &fp64, &out, NULL, NULL);
            gka_alloc_fail_at(-1, false);
            assert_int_equal(exact, GKA_OUT_OF_MEMORY);
            assert_int_equal(own, GKA_OUT_OF_MEMORY);
            assert_int_equal(gka_alloc_live(), before);
        }
    }
    end(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_fp64_is_mpfr),
        cmocka_unit_test(test_low_precision_is_within_its_bound),
        cmocka_unit_test(test_oracles_with_a_constant_ridge),
        cmocka_unit_test(test_settings_are_special_cases),
        cmocka_unit_test(prop_chunks_are_the_recurrence),
        cmocka_unit_test(test_rounding_points),
        cmocka_unit_test(test_chunk_refusals),
        cmocka_unit_test(test_gradients_are_derivatives_of_mpfr),
        cmocka_unit_test(test_the_gradient_by_lambda),
        cmocka_unit_test(test_gka_is_the_layer),
        cmocka_unit_test(test_threads_and_stochastic_rounding),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
