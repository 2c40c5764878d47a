/* problem.c - views of every stored type; problems from files; every input that is rejected. */
#include "test.h"

#include "gka/problem.h"
#include "problem/check.h"
#include "problem/view.h"
#include "safetensors.h"

#include <math.h>
#include <stdlib.h>

/* ---- views --------------------------------------------------------------------------------- */

static void test_every_dtype(void **state) {
    (void)state;
    static const struct {
        gka_dtype dtype;
        unsigned char bytes[8];
        double value;
    } cases[] = {
        {GKA_F64, {0x18, 0x2d, 0x44, 0x54, 0xfb, 0x21, 0x09, 0xc0}, -0x1.921fb54442d18p1},
        {GKA_F32, {0, 0, 0xc0, 0x7f}, NAN},
        {GKA_F32, {1, 0, 0, 0x80}, -0x1p-149},
        {GKA_BF16, {0x80, 0xff}, -INFINITY},
        {GKA_BF16, {0xc1, 0x3f}, 1.5078125},
        {GKA_F16, {0x01, 0x80}, -0x1p-24},
        {GKA_F16, {0xff, 0x7b}, 65504},
        {GKA_F16, {0x00, 0x7c}, INFINITY},
        {GKA_F16, {0x01, 0x7c}, NAN},
        {GKA_F16, {0x01, 0xbc}, -1.0009765625},
        {GKA_F8_E4M3, {0x7e}, 448},
        {GKA_F8_E4M3, {0x7f}, NAN},
        {GKA_F8_E4M3, {0x81}, -0x1p-9},
        {GKA_F8_E5M2, {0x7b}, 57344},
        {GKA_F8_E5M2, {0xfc}, -INFINITY},
        {GKA_F8_E5M2, {0x7e}, NAN},
        {GKA_F8_E5M2, {0x01}, 0x1p-16},
        {GKA_I64, {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, -2},
        {GKA_I32, {0, 0, 0, 0x80}, -2147483648.0},
        {GKA_I16, {0xff, 0xff}, -1},
        {GKA_I8, {0x7f}, 127},
        {GKA_U64, {0, 0, 0, 0, 0, 0, 0, 0x80}, 0x1p63},
        {GKA_U32, {0xff, 0xff, 0xff, 0xff}, 4294967295.0},
        {GKA_U16, {1, 2}, 513},
        {GKA_U8, {255}, 255},
        {GKA_BOOL, {1}, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        /* at an odd address, and by stride */
        unsigned char bytes[1 + 3 * 8] = {0};
        const size_t size = gka_dtype_size(cases[i].dtype);
        memcpy(bytes + 1 + 2 * size, cases[i].bytes, size);
        const gka_tensor tensor = {"t", cases[i].dtype, 1, {3}, bytes + 1};
        const gka_view view = gka_view_of(&tensor);
        double x[3];
        gka_elements(view.dtype, view.data, 1, 3, x);
        assert_int_equal(bits_of(x[1]), 0);
        gka_elements(view.dtype, view.data, 2, 2, x);
        if (isnan(cases[i].value))
            assert_true(isnan(x[1]));
        else
            assert_int_equal(bits_of(x[1]), bits_of(cases[i].value));
    }
}

static void test_view_strides(void **state) {
    (void)state;
    static const unsigned char bytes[2 * 3 * 4 * 5] = {0};
    const gka_tensor tensor = {"t", GKA_U8, 4, {2, 3, 4, 5}, bytes};
    gka_view view = gka_view_of(&tensor);
    assert_int_equal(view.stride[0], 60);
    assert_int_equal(view.stride[3], 1);
    assert_int_equal(view.shape[4], 1);
    assert_int_equal(view.stride[4], 0);
    assert_true(gka_view_contiguous(&view));
    assert_ptr_equal(gka_view_at(&view, 1, 2, 3), bytes + 115);
    view.stride[1] = 25;
    assert_false(gka_view_contiguous(&view));
    view.shape[1] = 1;
    assert_false(gka_view_contiguous(&view));
}

/* Whatever the host's byte order: at an odd address, and in place. */
static void test_view_of_doubles(void **state) {
    (void)state;
    static const unsigned char pi[8] = {0x18, 0x2d, 0x44, 0x54, 0xfb, 0x21, 0x09, 0xc0};
    const double given[6] = {0, -0.0, NAN, INFINITY, 0x1p-1074, -0x1.921fb54442d18p1};
    double values[6], x[3];
    unsigned char bytes[1 + sizeof values];
    memcpy(values, given, sizeof values);
    for (int in_place = 0; in_place <= 1; in_place++) {
        void *const at = in_place ? (void *)values : bytes + 1;
        const gka_view view = gka_view_of_doubles(2, (const int64_t[]){2, 3}, values, at);
        assert_ptr_equal(view.data, at);
        assert_int_equal(view.dtype, GKA_F64);
        assert_int_equal(view.rank, 2);
        assert_int_equal(view.shape[1], 3);
        assert_int_equal(view.stride[0], 3);
        assert_memory_equal((const unsigned char *)at + 40, pi, 8);
        for (int i = 0; i < 2; i++) {
            gka_elements(view.dtype, gka_view_at(&view, i, 0, 0), view.stride[1], 3, x);
            assert_memory_equal(x, given + 3 * i, sizeof x);
        }
    }
}

/* ---- a problem in memory ------------------------------------------------------------------- */

/* [1,2,2,1] q and so on, each test changing one thing. Every tensor is F32. */
typedef struct small {
    float q[4], k[2], v[4], alpha[4], g[4], h0[2], u0[4], dout[8], dx[4];
    gka_problem problem;
} small;

static gka_view f32(const float *data, int rank, int64_t s0, int64_t s1, int64_t s2, int64_t s3) {
    const gka_tensor tensor = {"", GKA_F32, rank, {s0, s1, s2, s3}, data};
    return gka_view_of(&tensor);
}

static void make_small(small *s) {
    memset(s, 0, sizeof *s);
    for (int i = 0; i < 4; i++) {
        s->q[i] = (float)(i + 1);
        s->v[i] = (float)(10 + i);
        s->alpha[i] = 0.25f * (float)i;
        s->g[i] = -0.5f * (float)i;
    }
    s->k[0] = 5;
    s->k[1] = 6;
    s->problem = (gka_problem){.B = 1,
                               .T = 2,
                               .H = 2,
                               .G = 1,
                               .D = 1,
                               .V = 2,
                               .q = f32(s->q, 4, 1, 2, 2, 1),
                               .k = f32(s->k, 4, 1, 2, 1, 1),
                               .v = f32(s->v, 4, 1, 2, 1, 2),
                               .alpha = f32(s->alpha, 3, 1, 2, 2, 1),
                               .g = f32(s->g, 3, 1, 2, 2, 1),
                               .h0 = f32(s->h0, 4, 1, 2, 1, 1),
                               .u0 = f32(s->u0, 4, 1, 2, 1, 2),
                               .dout = f32(s->dout, 4, 1, 2, 2, 2),
                               .dx = f32(s->dx, 4, 1, 2, 2, 1),
                               .N = 1,
                               .ridge_ratio = 0.02,
                               .scale = 1,
                               .num_iter = 30,
                               .chunk_size = 64};
}

static void test_tokens_and_groups(void **state) {
    (void)state;
    small s;
    make_small(&s);
    gka_error error = {0};
    assert_int_equal(gka_problem_check(&s.problem, NULL, &error), GKA_OK);
    double q, k, v[2];
    gka_problem_q(&s.problem, 0, 1, 1, &q);
    assert_int_equal(bits_of(q), bits_of(4));
    for (int h = 0; h < 2; h++) { /* both heads read the one key/value head */
        gka_problem_k(&s.problem, 0, 1, h, &k);
        gka_problem_v(&s.problem, 0, 1, h, v);
        assert_int_equal(bits_of(k), bits_of(6));
        assert_int_equal(bits_of(v[1]), bits_of(13));
    }
    assert_int_equal(bits_of(gka_problem_alpha(&s.problem, 0, 1, 0)), bits_of(0.5));
    assert_int_equal(bits_of(gka_problem_g(&s.problem, 0, 1, 1)), bits_of(-1.5));
    const gka_span span = gka_problem_span(&s.problem, 0);
    assert_true(span.b == 0 && span.begin == 0 && span.end == 2);

    /* absent: alpha = 1, gamma = 1, states and cotangents 0 */
    gka_problem *const p = &s.problem;
    p->alpha.data = p->g.data = p->h0.data = p->u0.data = p->dout.data = p->dx.data = NULL;
    assert_int_equal(gka_problem_check(p, NULL, &error), GKA_OK);
    assert_int_equal(bits_of(gka_problem_alpha(p, 0, 0, 0)), bits_of(1));
    assert_int_equal(bits_of(gka_problem_g(p, 0, 1, 1)), bits_of(0));
    double x[2] = {7, 7};
    gka_problem_u0(p, 0, 0, x);
    assert_true(bits_of(x[0]) == 0 && bits_of(x[1]) == 0);
    x[0] = x[1] = 7;
    gka_problem_dout(p, 0, 0, 0, x);
    assert_true(bits_of(x[0]) == 0 && bits_of(x[1]) == 0);
    x[0] = x[1] = 7;
    gka_problem_dx(p, 0, 0, 0, x);
    gka_problem_h0(p, 0, 0, x + 1);
    assert_true(bits_of(x[0]) == 0 && bits_of(x[1]) == 0);
}

static void test_packed(void **state) {
    (void)state;
    static const int64_t bounds[] = {0, 1, 1, 2};
    small s;
    make_small(&s);
    s.problem.h0.data = s.problem.u0.data = NULL;
    s.problem.N = 3;
    s.problem.cu_seqlens = bounds;
    gka_error error = {0};
    assert_int_equal(gka_problem_check(&s.problem, NULL, &error), GKA_OK);
    const gka_span empty = gka_problem_span(&s.problem, 1), last = gka_problem_span(&s.problem, 2);
    assert_true(empty.begin == 1 && empty.end == 1);
    assert_true(last.b == 0 && last.begin == 1 && last.end == 2);
}

/* ---- what is rejected ---------------------------------------------------------------------- */

static void ridge_negative(small *s) {
    s->problem.ridge_ratio = -1;
}
static void ridge_nan(small *s) {
    s->problem.ridge_ratio = NAN;
}
static void ridge_inf(small *s) {
    s->problem.ridge_ratio = INFINITY;
}
static void scale_nan(small *s) {
    s->problem.scale = NAN;
}
static void iterations_zero(small *s) {
    s->problem.num_iter = 0;
}
static void chunk_zero(small *s) {
    s->problem.chunk_size = 0;
}
static void chunk_negative(small *s) {
    s->problem.chunk_size = -64;
}
static void nan_gate(small *s) {
    s->g[2] = NAN;
}
static void positive_gate(small *s) {
    s->g[3] = 0x1p-149f;
}
static void infinite_gate(small *s) {
    s->g[0] = INFINITY;
}
static void nan_query(small *s) {
    s->q[2] = NAN;
}
static void infinite_key(small *s) {
    s->k[1] = INFINITY;
}
static void infinite_value(small *s) {
    s->v[3] = -INFINITY;
}
static void nan_alpha(small *s) {
    s->alpha[1] = NAN;
}
static void nan_state(small *s) {
    s->h0[1] = NAN;
}
static void nan_u0(small *s) {
    s->u0[3] = NAN;
}
static void nan_dout(small *s) {
    s->dout[5] = NAN;
}
static void nan_dx(small *s) {
    s->dx[3] = NAN;
}
static void no_query(small *s) {
    s->problem.q.data = NULL;
}
static void no_key(small *s) {
    s->problem.k.data = NULL;
}
static void no_value(small *s) {
    s->problem.v.data = NULL;
}
static void u0_alone(small *s) {
    s->problem.v.data = s->problem.dout.data = NULL;
    s->problem.V = 0;
}
static void dout_alone(small *s) {
    s->problem.v.data = s->problem.u0.data = NULL;
    s->problem.V = 0;
}
static void long_key(small *s) {
    s->problem.k = f32(s->q, 4, 1, 4, 1, 1);
}
static void wide_alpha(small *s) {
    s->problem.alpha = f32(s->alpha, 3, 1, 1, 4, 1);
}
static void rank_of_g(small *s) {
    s->problem.g = f32(s->g, 4, 1, 2, 2, 1);
}
static void state_shape(small *s) {
    s->problem.h0 = f32(s->h0, 4, 2, 1, 1, 1);
}
static void integer_query(small *s) {
    s->problem.q.dtype = GKA_I32;
}
static void groups(small *s) {
    s->problem.G = 2;
    s->problem.H = 3;
}
static void no_groups(small *s) {
    s->problem.G = 0;
}
static void no_size(small *s) {
    s->problem.D = 0;
}
static void negative_batch(small *s) {
    s->problem.B = -1;
}
static void sequences(small *s) {
    s->problem.N = 2;
}
static const int64_t down[] = {0, 2, 1, 2}, late[] = {1, 2}, early[] = {0, 1};
static void bounds_down(small *s) {
    s->problem.N = 3;
    s->problem.cu_seqlens = down;
}
static void bounds_late(small *s) {
    s->problem.cu_seqlens = late;
}
static void bounds_early(small *s) {
    s->problem.cu_seqlens = early;
}
static void bounds_of_none(small *s) {
    s->problem.N = 0;
    s->problem.cu_seqlens = down;
}
static void bounds_in_batch(small *s) {
    s->problem.B = 2;
    s->problem.cu_seqlens = early;
}

static void test_check_rejects(void **state) {
    (void)state;
    static const struct {
        void (*spoil)(small *);
        const char *message;
    } cases[] = {
        {ridge_negative, "ridge_ratio -1: a finite number >= 0 was expected"},
        {ridge_nan, "ridge_ratio nan: a finite number >= 0 was expected"},
        {ridge_inf, "ridge_ratio inf: a finite number >= 0 was expected"},
        {scale_nan, "scale nan: a finite number was expected"},
        {iterations_zero, "num_iter 0: an integer from 1 to 1000000 was expected"},
        {chunk_zero, "chunk_size 0: an integer >= 1 was expected"},
        {chunk_negative, "chunk_size -64: an integer >= 1 was expected"},
        {nan_gate, "tensor 'g': nan at [0,1,0]; a gate <= 0 or -inf expected"},
        {positive_gate, "tensor 'g': 1.4013e-45 at [0,1,1]; a gate <= 0 or -inf expected"},
        {infinite_gate, "tensor 'g': inf at [0,0,0]; a gate <= 0 or -inf expected"},
        {nan_query, "tensor 'q': nan at [0,1,0,0]; finite numbers expected"},
        {infinite_key, "tensor 'k': inf at [0,1,0,0]; finite numbers expected"},
        {infinite_value, "tensor 'v': -inf at [0,1,0,1]; finite numbers expected"},
        {nan_alpha, "tensor 'alpha': nan at [0,0,1]; finite numbers expected"},
        {nan_state, "tensor 'h0': nan at [0,1,0,0]; finite numbers expected"},
        {nan_u0, "tensor 'u0': nan at [0,1,0,1]; finite numbers expected"},
        {nan_dout, "tensor 'do': nan at [0,1,0,1]; finite numbers expected"},
        {nan_dx, "tensor 'dx': nan at [0,1,1,0]; finite numbers expected"},
        {no_query, "tensor 'q' is missing"},
        {no_key, "tensor 'k' is missing"},
        {no_value, "tensor 'v' is missing, but V = 2"},
        {u0_alone, "tensor 'u0' without a tensor 'v'"},
        {dout_alone, "tensor 'do' without a tensor 'v'"},
        {long_key, "tensor 'k': shape [1,4,1,1]; [B,T,Hkv,D] = [1,2,1,1] was expected"},
        {wide_alpha, "tensor 'alpha': shape [1,1,4]; [B,T,H] = [1,2,2] was expected"},
        {rank_of_g, "tensor 'g': shape [1,2,2,1]; [B,T,H] = [1,2,2] was expected"},
        {state_shape, "tensor 'h0': shape [2,1,1,1]; [N,H,D,D] = [1,2,1,1] was expected"},
        {integer_query, "tensor 'q': dtype I32; a floating-point type was expected"},
        {groups, "tensor 'k': 2 key heads for 3 query heads; a divisor of the number of query "
                 "heads was expected"},
        {no_groups, "tensor 'k': 0 key heads for 2 query heads; a divisor of the number of query "
                    "heads was expected"},
        {no_size, "tensor 'q': key size D = 0; D >= 1 was expected"},
        {negative_batch, "extents B -1 T 2 H 2 G 1 V 2: none may be negative"},
        {sequences, "2 sequences in a batch of 1; one each was expected"},
        {bounds_down, "tensor 'cu_seqlens': 1 at [2] after 2; bounds that do not decrease were "
                      "expected"},
        {bounds_late, "tensor 'cu_seqlens': runs from 1 to 2; 0 to T = 2 was expected"},
        {bounds_early, "tensor 'cu_seqlens': runs from 0 to 1; 0 to T = 2 was expected"},
        {bounds_of_none, "tensor 'cu_seqlens': at least 2 bounds were expected"},
        {bounds_in_batch, "tensor 'cu_seqlens': packed sequences in a batch of 2; 1 was expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        small s;
        gka_error error = {0};
        make_small(&s);
        cases[i].spoil(&s);
        assert_int_equal(gka_problem_check(&s.problem, NULL, &error), GKA_BAD_ARGUMENT);
        assert_string_equal(error.text, cases[i].message);
    }
    small s;
    gka_error error = {0};
    make_small(&s);
    no_key(&s);
    assert_int_equal(gka_problem_check(&s.problem, "file", &error), GKA_BAD_FILE);
    assert_string_equal(error.text, "file: tensor 'k' is missing");
}

static void test_gate_of_minus_infinity(void **state) {
    (void)state;
    small s;
    make_small(&s);
    s.g[1] = -INFINITY;
    assert_int_equal(gka_problem_check(&s.problem, NULL, NULL), GKA_OK);
    assert_true(gka_problem_g(&s.problem, 0, 0, 1) < -1e300);
}

/* T = 0, B = 0, H = 0: no error, however large the other extents are. */
static void test_empty(void **state) {
    (void)state;
    static const float nothing[1];
    static const int64_t extents[][3] = {{1, 0, 2}, {0, 5, 2},         {1, 5, 0},
                                         {0, 0, 0}, {1, INT64_MAX, 0}, {INT64_MAX, 0, 1}};
    for (size_t i = 0; i < sizeof extents / sizeof extents[0]; i++) {
        const int64_t B = extents[i][0], T = extents[i][1], H = extents[i][2];
        gka_problem p = {.B = B,
                         .T = T,
                         .H = H,
                         .G = H,
                         .D = 1,
                         .N = B,
                         .q = f32(nothing, 4, B, T, H, 1),
                         .k = f32(nothing, 4, B, T, H, 1),
                         .g = f32(nothing, 3, B, T, H, 1),
                         .ridge_ratio = 0.02,
                         .scale = 1,
                         .num_iter = 1,
                         .chunk_size = 1};
        gka_error error = {0};
        assert_int_equal(gka_problem_check(&p, NULL, &error), GKA_OK);
    }
}

/* C for loops and arrays is the same whatever larger number the file says, and a size that no
 * machine has is refused before anything is multiplied. */
static void test_sizes(void **state) {
    (void)state;
    static const struct {
        int64_t T, H, given, C;
    } cases[] = {{9, 1, 64, 64},           {9, 1, 128, 128},
                 {9, 1, 1000000, 128},     {9, 1, INT64_MAX, 128},
                 {300, 1, INT64_MAX, 304}, {300, 1, 256, 256},
                 {300, 1, 301, 301},       {INT64_MAX, 0, INT64_MAX, 128}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const gka_problem p = {
            .B = 1, .T = cases[i].T, .H = cases[i].H, .N = 1, .chunk_size = cases[i].given};
        assert_int_equal(gka_problem_chunk_size(&p), cases[i].C);
        assert_int_equal(gka_problem_span_chunks(&p, 0), (cases[i].T - 1) / cases[i].given + 1);
    }
    static const int64_t bounds[] = {0, 200, 200, 500};
    const gka_problem packed = {
        .B = 1, .T = 500, .H = 1, .N = 3, .cu_seqlens = bounds, .chunk_size = 1000};
    assert_int_equal(gka_problem_longest(&packed), 300);
    assert_int_equal(gka_problem_chunk_size(&packed), 304);
    assert_int_equal(gka_problem_span_chunks(&packed, 1), 0);

    gka_error error = {0};
    gka_problem wide = {.B = 1,
                        .T = 0,
                        .H = 1,
                        .G = 1,
                        .D = INT64_C(1) << 40,
                        .N = 1,
                        .ridge_ratio = .02,
                        .scale = 1,
                        .num_iter = 1,
                        .chunk_size = 64};
    assert_int_equal(gka_problem_check_numbers(&wide, NULL, &error), GKA_BAD_ARGUMENT);
    assert_non_null(strstr(error.text, "outputs of at most 2^50 elements were expected"));
    wide.D = 128;
    assert_int_equal(gka_problem_check_numbers(&wide, NULL, &error), GKA_OK);
    wide.T = INT64_C(1) << 44;
    assert_int_equal(gka_problem_check_numbers(&wide, NULL, &error), GKA_BAD_ARGUMENT);
}

static void test_asymmetric_state(void **state) {
    (void)state;
    static const float q[2] = {1, 1};
    static const struct {
        double size, difference; /* of the largest element; of the two others, in units of it */
        bool asymmetric;         /* the norm is 1.58 of those units */
    } cases[] = {{1, 0, false},          {1, 1e-13, false},    {1, 1.3e-12, false},
                 {1, 1.8e-12, true},     {1, -1.8e-12, true},  {1e-200, 1e-11, true},
                 {1e-200, 1e-13, false}, {1e200, 1e-11, true}, {1e200, 1e-13, false},
                 {0, 0, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const double size = cases[i].size;
        double h0[4] = {size, size * (0.5 + cases[i].difference), size * 0.5, size};
        const gka_tensor tensor = {"h0", GKA_F64, 4, {1, 1, 2, 2}, h0};
        gka_problem p = {.B = 1,
                         .T = 1,
                         .H = 1,
                         .G = 1,
                         .D = 2,
                         .N = 1,
                         .q = f32(q, 4, 1, 1, 1, 2),
                         .k = f32(q, 4, 1, 1, 1, 2),
                         .h0 = gka_view_of(&tensor),
                         .ridge_ratio = 0.02,
                         .scale = 1,
                         .num_iter = 1,
                         .chunk_size = 1};
        assert_int_equal(gka_problem_check(&p, NULL, NULL), GKA_OK);
        assert_int_equal(p.h0_asymmetric, cases[i].asymmetric);
    }
}

/* ---- from files ---------------------------------------------------------------------------- */

#define SHAPE4(name, dtype, shape, offsets)                                                        \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define QK         SHAPE4("q", "BF16", "[1,1,1,1]", "[0,2]") "," SHAPE4("k", "BF16", "[1,1,1,1]", "[2,4]")
#define META(text) "{\"__metadata__\":{" text "}," QK "}"

static const struct {
    const char *header;
    size_t data;
    const char *message;
} bad_files[] = {
    {"{}", 0, "f: tensor 'q' is missing"},
    {"{" SHAPE4("q", "BF16", "[1,1,1,1]", "[0,2]") "}", 2, "f: tensor 'k' is missing"},
    {"{" SHAPE4("q", "BF16", "[1,1,1]", "[0,2]") "}", 2,
     "f: tensor 'q': rank 3; 4 was expected (gka problem --layout makes it so)"},
    {"{" SHAPE4("q", "BF16", "[1,1,1,1,1]", "[0,2]") "}", 2,
     "f: tensor 'q': rank 5; at most 4 was expected"},
    {"{" QK "," SHAPE4("v", "BF16", "[1]", "[4,6]") "}", 6,
     "f: tensor 'v': rank 1; 4 was expected"},
    {"{" QK "," SHAPE4("v", "BF16", "[1,1,1,0]", "[4,4]") "}", 4,
     "f: tensor 'v': value size V = 0; V >= 1 was expected"},
    {"{" QK "," SHAPE4("g", "I32", "[1,1,1]", "[4,8]") "}", 8,
     "f: tensor 'g': dtype I32; a floating-point type was expected"},
    {"{" QK "," SHAPE4("cu_seqlens", "F32", "[2]", "[4,12]") "}", 12,
     "f: tensor 'cu_seqlens': I32 or I64 [N+1], N >= 1, was expected"},
    {"{" QK "," SHAPE4("cu_seqlens", "I32", "[1]", "[4,8]") "}", 8,
     "f: tensor 'cu_seqlens': I32 or I64 [N+1], N >= 1, was expected"},
    {"{" QK "," SHAPE4("cu_seqlens", "I32", "[1,2]", "[4,12]") "}", 12,
     "f: tensor 'cu_seqlens': I32 or I64 [N+1], N >= 1, was expected"},
    {"{" QK "," SHAPE4("cu_seqlens", "I32", "[2]", "[4,12]") "}", 12,
     "f: tensor 'cu_seqlens': runs from 117835012 to 185207048; 0 to T = 1 was expected"},
    {META("\"ridge_ratio\":\"abc\""), 4,
     "f: metadata 'ridge_ratio' is 'abc'; a finite number was expected"},
    {META("\"ridge_ratio\":\"\""), 4,
     "f: metadata 'ridge_ratio' is ''; a finite number was expected"},
    {META("\"ridge_ratio\":\"0.02 \\n1\""), 4,
     "f: metadata 'ridge_ratio' is '0.02 ?1'; a finite number was expected"},
    {META("\"ridge_ratio\":\"nan\""), 4,
     "f: metadata 'ridge_ratio' is 'nan'; a finite number was expected"},
    {META("\"ridge_ratio\":\"true\""), 4,
     "f: metadata 'ridge_ratio' is 'true'; a finite number was expected"},
    {META("\"ridge_ratio\":\"1e999\""), 4,
     "f: metadata 'ridge_ratio' is '1e999'; a finite number was expected"},
    {META("\"ridge_ratio\":\"-0.02\""), 4,
     "f: ridge_ratio -0.02: a finite number >= 0 was expected"},
    {META("\"scale\":\"0x1\""), 4, "f: metadata 'scale' is '0x1'; a finite number was expected"},
    {META("\"num_iter\":\"30.0\""), 4, "f: metadata 'num_iter' is '30.0'; an integer was expected"},
    {META("\"num_iter\":\"0\""), 4,
     "f: metadata 'num_iter' is 0; an integer from 1 to 1000000 was expected"},
    {META("\"num_iter\":\"1000001\""), 4,
     "f: metadata 'num_iter' is 1000001; an integer from 1 to 1000000 was expected"},
    {META("\"chunk_size\":\"0\""), 4,
     "f: metadata 'chunk_size' is 0; an integer from 1 to 9223372036854775807 was expected"},
    {META("\"chunk_size\":\"9223372036854775808\""), 4,
     "f: metadata 'chunk_size' is '9223372036854775808'; an integer was expected"},
};

static void test_bad_files(void **state) {
    (void)state;
    unsigned char bytes[1024];
    const int64_t live = gka_alloc_live();
    for (size_t i = 0; i < sizeof bad_files / sizeof bad_files[0]; i++) {
        gka_error error = {0};
        gka_file *file;
        gka_problem problem;
        const size_t size = make_safetensors(bytes, bad_files[i].header, bad_files[i].data);
        if (gka_file_from_memory("f", bytes, size, &file, &error) != GKA_OK)
            fail_msg("%s", error.text);
        assert_int_equal(gka_problem_from_file(file, &problem, NULL, &error), GKA_BAD_FILE);
        assert_string_equal(error.text, bad_files[i].message);
        assert_null(problem.q.data);
        gka_file_close(file);
    }
    assert_int_equal(gka_alloc_live(), live);
}

/* Bounds are signed: -1 is not 2^32 - 1. */
static void test_negative_bound(void **state) {
    (void)state;
    unsigned char bytes[1024];
    gka_error error = {0};
    gka_file *file;
    gka_problem problem;
    const size_t size =
        make_safetensors(bytes, "{" QK "," SHAPE4("cu_seqlens", "I32", "[2]", "[4,12]") "}", 12);
    memset(bytes + size - 4, 0xff, 4);
    assert_int_equal(gka_file_from_memory("f", bytes, size, &file, &error), GKA_OK);
    assert_int_equal(gka_problem_from_file(file, &problem, NULL, &error), GKA_BAD_FILE);
    assert_string_equal(error.text, "f: tensor 'cu_seqlens': runs from 117835012 to -1; 0 to "
                                    "T = 1 was expected");
    gka_file_close(file);
}

static void test_parameters(void **state) {
    (void)state;
    unsigned char bytes[1024];
    gka_file *file;
    gka_problem problem;
    gka_defaults defaults;
    gka_error error = {0};
    size_t size = make_safetensors(bytes, "{" QK "}", 4);
    assert_int_equal(gka_file_from_memory("f", bytes, size, &file, &error), GKA_OK);
    assert_int_equal(gka_problem_from_file(file, &problem, &defaults, &error), GKA_OK);
    assert_true(defaults.ridge_ratio && defaults.num_iter && defaults.chunk_size && defaults.scale);
    assert_int_equal(bits_of(problem.ridge_ratio), bits_of(0.02));
    assert_int_equal(problem.num_iter, 30);
    assert_int_equal(problem.chunk_size, 64);
    assert_int_equal(bits_of(problem.scale), bits_of(1));
    gka_problem_free(&problem);
    gka_file_close(file);

    size = make_safetensors(bytes,
                            META("\"ridge_ratio\":\"5e-3\",\"scale\":\"0.08838834764831845\","
                                 "\"num_iter\":\"60\",\"chunk_size\":\"32\""),
                            4);
    assert_int_equal(gka_file_from_memory("f", bytes, size, &file, &error), GKA_OK);
    assert_int_equal(gka_problem_from_file(file, &problem, &defaults, &error), GKA_OK);
    assert_false(defaults.ridge_ratio || defaults.num_iter || defaults.chunk_size ||
                 defaults.scale);
    assert_int_equal(bits_of(problem.ridge_ratio), bits_of(0.005));
    assert_int_equal(bits_of(problem.scale), bits_of(0.08838834764831845));
    assert_int_equal(problem.num_iter, 60);
    assert_int_equal(problem.chunk_size, 32);
    gka_problem_free(&problem);
    gka_file_close(file);
}

/* The released kernels' own files. */
static void test_h100_files(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int64_t T, D, V;
        bool gated, h0;
    } cases[] = {
        {"iid_gated", 192, 128, 128, true, false}, {"iid_ungated", 192, 128, 128, false, false},
        {"ragged", 150, 128, 128, true, false},    {"d64", 192, 64, 64, true, false},
        {"slow", 192, 128, 128, true, false},      {"h0", 128, 128, 128, true, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[512];
        gka_error error = {0};
        gka_file *file;
        gka_problem problem;
        (void)snprintf(path, sizeof path, "%s/h100/%s.safetensors", GKA_TEST_DATA, cases[i].name);
        if (gka_file_open(path, &file, &error) != GKA_OK)
            fail_msg("%s", error.text);
        if (gka_problem_from_file(file, &problem, NULL, &error) != GKA_OK)
            fail_msg("%s", error.text);
        assert_true(problem.B == 1 && problem.H == 1 && problem.G == 1 && problem.N == 1);
        assert_int_equal(problem.T, cases[i].T);
        assert_int_equal(problem.D, cases[i].D);
        assert_int_equal(problem.V, cases[i].V);
        assert_int_equal(problem.g.data != NULL, cases[i].gated);
        assert_int_equal(problem.h0.data != NULL, cases[i].h0);
        assert_int_equal(problem.num_iter, 30);
        /* keys are normalised, then scaled by beta <= 1 + 1e-6, then rounded to bf16 */
        double k[128], norm = 0;
        gka_problem_k(&problem, 0, problem.T - 1, 0, k);
        for (int64_t d = 0; d < problem.D; d++)
            norm += k[d] * k[d];
        assert_true(norm > 0 && sqrt(norm) <= (1 + 0x1p-8) * (1 + 1e-6));
        gka_problem_free(&problem);
        gka_file_close(file);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_dtype),
        cmocka_unit_test(test_view_strides),
        cmocka_unit_test(test_view_of_doubles),
        cmocka_unit_test(test_tokens_and_groups),
        cmocka_unit_test(test_packed),
        cmocka_unit_test(test_check_rejects),
        cmocka_unit_test(test_gate_of_minus_infinity),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_asymmetric_state),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_negative_bound),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_h100_files),
    };
    return cmocka_run_group_tests_name("problem", tests, NULL, NULL);
}
