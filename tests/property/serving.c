/* serving.c - what a server does with its states changes no bit: a prefill cut in two calls, one
 * token for each call with the states written over those before, sequences packed in any order of
 * slots and some of them empty.
 */
#include "test.h"

#include "gka/chunk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { D = 64, H = 4, STATE = H * D * D };

typedef struct run {
    double *o, *h, *u; /* [B,T,H,D], [N,H,D,D] twice, after the last token */
    double *mid_h, *mid_u;
} run;

static run run_new(const gka_problem *p) {
    const size_t n = (size_t)p->N * STATE;
    return (run){calloc((size_t)(p->B * p->T * H * D) + 1, sizeof(double)),
                 calloc(n, sizeof(double)), calloc(n, sizeof(double)), calloc(n, sizeof(double)),
                 calloc(n, sizeof(double))};
}

static void run_free(run *r) {
    free(r->o), free(r->h), free(r->u), free(r->mid_h), free(r->mid_u);
}

/* Prefill and decode tokens of o stand one after the other where B = 1. */
static run serve(const gka_problem *p, gka_serving how) {
    gka_profile profile;
    gka_error error = {0};
    run r = run_new(p);
    const gka_served out = {.prefill_o = r.o,
                            .prefill_h = r.mid_h,
                            .prefill_u = r.mid_u,
                            .decode_o = r.o + how.prefill * H * D,
                            .decode_h = r.h,
                            .decode_u = r.u};
    assert_int_equal(gka_profile_find("h100", &profile, &error), GKA_OK);
    if (gka_chunk_serve(p, &profile, &how, &out, &error) != GKA_OK)
        fail_msg("%s", error.text);
    return r;
}

/* A server's problem: beta drawn, q and k not normalised yet. */
static void made(int64_t T, bool states, gka_problem *p) {
    const gka_generator spec = {.keys = GKA_KEYS_IID,
                                .gate = GKA_GATE_SLOW,
                                .B = 1,
                                .T = T,
                                .H = H,
                                .G = 2,
                                .D = D,
                                .V = D,
                                .alpha = true,
                                .h0 = states,
                                .dtype = GKA_BF16,
                                .num_iter = 5,
                                .seed = 16};
    const gka_preparation how = {
        .normalise = GKA_NORMALISE_UNIT, .beta = true, .gate = -1, .dtype = -1, .seed = 5};
    gka_problem plain;
    gka_error error = {0};
    assert_int_equal(gka_problem_generate(&spec, &plain, &error), GKA_OK);
    if (gka_problem_prepare(&plain, &how, p, &error) != GKA_OK)
        fail_msg("%s", error.text);
    gka_problem_free(&plain);
}

/* Tokens [from, to) of p from the states h, u; bytes [2 N STATE] holds them. */
static gka_problem piece(const gka_problem *p, int64_t from, int64_t to, const double *h,
                         const double *u, double *bytes) {
    const int64_t shape[] = {p->N, H, D, D};
    gka_problem part = gka_problem_tokens(p, from, to);
    part.h0 = gka_view_of_doubles(4, shape, h, bytes);
    part.u0 = gka_view_of_doubles(4, shape, u, bytes + p->N * STATE);
    return part;
}

static void same(const char *what, size_t n, const double *a, const double *b) {
    for (size_t i = 0; i < n; i++)
        if (bits_of_f32((float)a[i]) != bits_of_f32((float)b[i]))
            fail_msg("%s: element %zu: %a and %a", what, i, a[i], b[i]);
}

static bool alike(size_t n, const double *a, const double *b) {
    size_t equal = 0;
    for (size_t i = 0; i < n; i++)
        equal += bits_of_f32((float)a[i]) == bits_of_f32((float)b[i]);
    return equal == n;
}

/* Two calls are one with a cut; where the cut lies between chunks, they are the whole too. */
static void prop_a_prefill_in_two_calls(void **state) {
    (void)state;
    static const int64_t cuts[] = {64, 128, 100};
    gka_problem p;
    double *const bytes = calloc(2 * STATE, sizeof(double));
    made(192, true, &p);
    run whole = serve(&p, (gka_serving){.prefill = p.T});
    for (int i = 0; i < 3; i++) {
        const int64_t c = cuts[i];
        run cut = serve(&p, (gka_serving){.prefill = p.T, .cuts = 1, .cut = &c});
        gka_problem half = gka_problem_tokens(&p, 0, c);
        half.h0 = p.h0, half.u0 = p.u0;
        run first = serve(&half, (gka_serving){.prefill = c});
        half = piece(&p, c, p.T, first.mid_h, first.mid_u, bytes);
        run second = serve(&half, (gka_serving){.prefill = p.T - c});
        same("o of the first call", (size_t)(c * H * D), cut.o, first.o);
        same("o of the second call", (size_t)((p.T - c) * H * D), cut.o + c * H * D, second.o);
        same("H", STATE, cut.mid_h, second.mid_h);
        same("U", STATE, cut.mid_u, second.mid_u);
        assert_int_equal(alike((size_t)(p.T * H * D), cut.o, whole.o), c % 64 == 0);
        run_free(&cut), run_free(&first), run_free(&second);
    }
    run_free(&whole);
    free(bytes);
    gka_problem_free(&p);
}

/* Every token a call of its own, its states read back from where the one before wrote them. */
static void prop_decode_call_by_call(void **state) {
    (void)state;
    static const gka_state_type kept[][2] = {{GKA_STATE_FP32, GKA_STATE_FP32},
                                             {GKA_STATE_FP32, GKA_STATE_BF16},
                                             {GKA_STATE_BF16, GKA_STATE_BF16},
                                             {GKA_STATE_FP16, GKA_STATE_FP16}};
    gka_problem p;
    double *const bytes = calloc(2 * STATE, sizeof(double));
    made(80, false, &p);
    for (int i = 0; i < 4; i++) {
        const gka_serving how = {.prefill = 66, .h_type = kept[i][0], .u_type = kept[i][1]};
        run whole = serve(&p, how);
        gka_serving one = how;
        one.prefill = 0;
        run before = serve(&p, (gka_serving){.prefill = 66});
        memcpy(before.h, before.mid_h, STATE * sizeof(double));
        memcpy(before.u, before.mid_u, STATE * sizeof(double));
        for (int64_t t = 66; t < p.T; t++) {
            gka_problem token = piece(&p, t, t + 1, before.h, before.u, bytes);
            run_free(&before);
            before = serve(&token, one);
            same("o", H * D, before.o, whole.o + t * H * D);
        }
        same("H", STATE, before.h, whole.h);
        same("U", STATE, before.u, whole.u);
        run_free(&before), run_free(&whole);
    }
    free(bytes);
    gka_problem_free(&p);
}

static int64_t beyond_16_bits(const double *S) {
    int64_t count = 0;
    for (int64_t i = 0; i < STATE; i++)
        count += (bits_of_f32((float)S[i]) & 0xffff) != 0;
    return count;
}

/* Stochastic rounding: bf16 numbers, a function of the seed, and no sign of its own. */
static void prop_stochastic_states(void **state) {
    (void)state;
    gka_problem p;
    made(64, false, &p);
    gka_serving how = {.h_type = GKA_STATE_BF16_STOCHASTIC, .u_type = GKA_STATE_BF16_STOCHASTIC};
    run exact = serve(&p, (gka_serving){0}), one = serve(&p, how), again = serve(&p, how);
    how.seed = 1;
    run other = serve(&p, how);
    double along = 0, size = 0, off = 0;
    assert_int_equal(beyond_16_bits(one.h), 0);
    assert_int_equal(beyond_16_bits(one.u), 0);
    same("the same seed: H", STATE, one.h, again.h);
    same("the same seed: U", STATE, one.u, again.u);
    assert_false(alike(STATE, one.h, other.h));
    for (int64_t i = 0; i < STATE; i++) {
        along += (one.h[i] - exact.h[i]) * exact.h[i];
        off += (one.h[i] - exact.h[i]) * (one.h[i] - exact.h[i]);
        size += exact.h[i] * exact.h[i];
    }
    /* Independent errors: the sum along H is below 5 of its standard deviations. */
    assert_true(off > 0 && fabs(along) < 5 * sqrt(off * size / STATE) * sqrt(8));
    run_free(&exact), run_free(&one), run_free(&again), run_free(&other);
    gka_problem_free(&p);
}

enum { SEQUENCES = 4 };
static const int64_t lengths[SEQUENCES] = {70, 0, 64, 90};

/* The tokens of a tensor in the packed order `slots`. */
static gka_view packed(const gka_view *from, const int *slots, const int64_t *bounds, int64_t T,
                       double *values) {
    int64_t shape[4] = {1, T, from->shape[2], from->rank == 4 ? from->shape[3] : 1}, at = 0;
    for (int s = 0; s < SEQUENCES; s++)
        for (int64_t t = bounds[slots[s]]; t < bounds[slots[s]] + lengths[slots[s]]; t++, at++)
            for (int64_t h = 0; h < shape[2]; h++)
                gka_view_row(from, 0, t, h, shape[3], values + (at * shape[2] + h) * shape[3]);
    return gka_view_of_doubles(from->rank, shape, values, values);
}

static void pack(const gka_problem *p, const int *slots, const int64_t *bounds, double *values,
                 int64_t *cu, gka_problem *out) {
    *out = *p;
    out->owned = NULL;
    gka_view *const views[] = {&out->q, &out->k, &out->v, &out->alpha, &out->g, &out->beta};
    for (int i = 0; i < 6; i++)
        *views[i] = packed(views[i], slots, bounds, p->T, values + i * p->T * H * D);
    out->N = SEQUENCES;
    cu[0] = 0;
    for (int s = 0; s < SEQUENCES; s++)
        cu[s + 1] = cu[s] + lengths[slots[s]];
    out->cu_seqlens = cu;
}

/* Two orders of slots: the same bits for each sequence; an empty one keeps its states. prefill: all
 * tokens, or none. */
static void slots_in_any_order(bool prefill) {
    static const int orders[2][SEQUENCES] = {{0, 1, 2, 3}, {3, 2, 1, 0}};
    gka_problem p, first, second;
    int64_t bounds[SEQUENCES + 1] = {0}, cu[2][SEQUENCES + 1];
    made(224, false, &p);
    for (int s = 0; s < SEQUENCES; s++)
        bounds[s + 1] = bounds[s] + lengths[s];
    assert_int_equal(bounds[SEQUENCES], p.T);
    double *const a = calloc((size_t)(6 * p.T * H * D), sizeof(double)), *const b = calloc(
                                                                             (size_t)(6 * p.T * H *
                                                                                      D),
                                                                             sizeof(double));
    pack(&p, orders[0], bounds, a, cu[0], &first);
    pack(&p, orders[1], bounds, b, cu[1], &second);
    const gka_serving how = {.prefill = prefill ? p.T : 0, .u_type = GKA_STATE_BF16};
    run one = serve(&first, how), other = serve(&second, how);
    for (int s = 0; s < SEQUENCES; s++) {
        const int there = SEQUENCES - 1 - s;
        const size_t tokens = (size_t)(lengths[s] * H * D);
        same("o", tokens, one.o + cu[0][s] * H * D, other.o + cu[1][there] * H * D);
        same("H", STATE, one.h + s * STATE, other.h + there * STATE);
        same("U", STATE, one.u + s * STATE, other.u + there * STATE);
        bool zero = true;
        for (int64_t i = 0; i < STATE; i++)
            zero = zero && one.h[s * STATE + i] == 0 && one.u[s * STATE + i] == 0;
        assert_int_equal(zero, lengths[s] == 0);
    }
    run_free(&one), run_free(&other);
    free(a), free(b);
    gka_problem_free(&p);
}

static void prop_prefill_in_any_order_of_slots(void **state) {
    (void)state;
    slots_in_any_order(true);
}

static void prop_decode_in_any_order_of_slots(void **state) {
    (void)state;
    slots_in_any_order(false);
}

static void test_what_is_refused(void **state) {
    (void)state;
    gka_problem p;
    gka_profile profile;
    gka_error error = {0};
    const gka_served none = {0};
    made(16, false, &p);
    assert_int_equal(gka_profile_find("h100", &profile, &error), GKA_OK);
    const gka_serving beyond = {.prefill = 17}, all = {.prefill = 16};
    assert_int_equal(gka_chunk_serve(&p, &profile, &beyond, &none, &error), GKA_BAD_ARGUMENT);
    assert_string_equal(error.text, "serving: prefill is 17: expected 0 .. T");
    static const int64_t at_the_end = 16;
    const gka_serving cut = {.prefill = 16, .cuts = 1, .cut = &at_the_end};
    assert_int_equal(gka_chunk_serve(&p, &profile, &cut, &none, &error), GKA_BAD_ARGUMENT);
    assert_string_equal(error.text,
                        "serving: cut 0 is 16: expected increasing tokens between 0 and "
                        "prefill = 16");
    profile.form = GKA_TWO_TERM;
    assert_int_equal(gka_chunk_serve(&p, &profile, &all, &none, &error), GKA_UNSUPPORTED);
    assert_int_equal(gka_state_bits(GKA_STATE_E4M3), 8);
    assert_string_equal(gka_state_name(GKA_STATE_BF16_PAIR), "bf16-pair");
    gka_problem_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prop_a_prefill_in_two_calls),
        cmocka_unit_test(prop_decode_call_by_call),
        cmocka_unit_test(prop_stochastic_states),
        cmocka_unit_test(prop_prefill_in_any_order_of_slots),
        cmocka_unit_test(prop_decode_in_any_order_of_slots),
        cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests_name("serving", tests, NULL, NULL);
}
