/* mma.c - every instruction set's matrix product equals the tensor core's rule, element by element:
 * any shape, ordinary, tiny, huge, sparse and special operands; the neutral devices equal a loop of
 * fused multiply-adds. */
#include "test.h"

#include "arith/mma_kernels.h"
#include "arith/tensor_core.h"

#include <math.h>
#include <stdlib.h>

/* ---- random operands ----------------------------------------------------------------------- */

static uint64_t counter;

static uint64_t draw(void) {
    uint64_t bits[4];
    gka_philox((const uint64_t[4]){counter++, 0, 0, 0}, (const uint64_t[2]){5, 0}, bits);
    return bits[0];
}

static int between(int low, int high) {
    return low + (int)(draw() % (uint64_t)(high - low + 1));
}

typedef enum kind { ORDINARY, NEAR_C, TINY, HUGE_VALUES, WHOLE, SPARSE, SPECIAL, SAME, KINDS } kind;

static float decoded(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Exponent and sign at random about `center`, `p` significant bits. */
static float number(int p, int center, int spread) {
    int field = 127 + center + between(-spread, spread);
    field = field < 0 ? 0 : field > 254 ? 254 : field;
    const uint32_t fraction = (uint32_t)draw() & 0x7fffff & ~((UINT32_C(1) << (24 - p)) - 1);
    return decoded((uint32_t)(draw() & 1) << 31 | (uint32_t)field << 23 | fraction);
}

/* The number cut to what a narrower format holds. */
static float cut_to(gka_term_format format, float most, float x) {
    if (!isfinite(x))
        return x;
    const float magnitude = fabsf(x) > most ? most : fabsf(x);
    int exponent = format.emin;
    if (magnitude >= ldexpf(1, format.emin))
        exponent = ilogbf(magnitude);
    const float unit = ldexpf(1, exponent - format.p + 1);
    return copysignf(truncf(magnitude / unit) * unit, x);
}

static float operand(gka_mma_input input, kind k) {
    static const float special[] = {INFINITY, -INFINITY, NAN, 0, -0.0f};
    const gka_term_format format = gka_mma_input_format(input);
    static const int center[KINDS] = {[TINY] = -62, [HUGE_VALUES] = 62},
                     spread[KINDS] = {3, 10, 8, 2, 140, 12, 3, 0};
    const int low = format.emin > -126 ? format.emin + 2 : center[TINY];
    float x = number(format.p, k == TINY ? low : center[k], spread[k]);
    if (k == SAME)
        x = (float)(draw() & 7 ? 1 : -1) * (2 - ldexpf(1, format.p < 8 ? 1 - format.p : -7));
    if ((k == SPARSE && draw() % 8) || (k == ORDINARY && draw() % 16 == 0))
        x = draw() & 1 ? 0.0f : -0.0f;
    if (k == SPECIAL && draw() % 64 == 0)
        x = special[draw() % 5];
    return format.emin > -126 ? cut_to(format,
                                       input == GKA_MMA_FP16   ? 65504
                                       : input == GKA_MMA_E4M3 ? 448
                                                               : 57344,
                                       x)
                              : x;
}

static float accumulator(kind k) {
    if (k == SPARSE || (k == ORDINARY && draw() & 1))
        return draw() & 1 ? 0.0f : -0.0f;
    if (k == SPECIAL && draw() % 64 == 0)
        return draw() & 1 ? INFINITY : NAN;
    if (k == SAME)
        return number(24, 2, 2);
    static const int center[KINDS] = {[TINY] = -130, [HUGE_VALUES] = 126};
    return number(24, center[k], k == NEAR_C ? 30 : 5);
}

/* ---- the two products ---------------------------------------------------------------------- */

typedef struct matrices {
    int64_t M, N, K;
    double *a, *b, *c, *want; /* a [M,K], b [K,N], c [M,N] */
} matrices;

static double *room(int64_t count) {
    double *const memory = gka_alloc((size_t)count, sizeof *memory);
    assert_non_null(memory);
    return memory;
}

/* want = c + a b by the rule. */
static void by_the_rule(const gka_device *device, gka_mma_input input, matrices *m) {
    const gka_tensor_core *const core = &device->core[input];
    float a[256] = {0}, b[256] = {0};
    for (int64_t i = 0; i < m->M; i++)
        for (int64_t j = 0; j < m->N; j++) {
            double sum = m->c[i * m->N + j];
            for (int64_t k = 0; k < m->K; k++) {
                a[k] = (float)m->a[i * m->K + k];
                b[k] = (float)m->b[k * m->N + j];
                if (!device->binary32)
                    sum = fma(m->a[i * m->K + k], m->b[k * m->N + j], sum);
                else if (core->group == 0)
                    sum = (double)fmaf(a[k], b[k], (float)sum);
            }
            if (core->group) {
                const int64_t unit = gka_k_unit(core), padded = (m->K + unit - 1) / unit * unit;
                float x[256], y[256];
                for (int64_t k = m->K; k < padded; k++)
                    a[k] = b[k] = 0;
                for (int64_t k = 0; k < padded; k++) {
                    x[k] = a[gka_k_at(core->order, k)];
                    y[k] = b[gka_k_at(core->order, k)];
                }
                sum = (double)gka_tensor_core_dot(core, input, padded, x, y, 1, (float)sum);
            }
            m->want[i * m->N + j] = sum;
        }
}

/* NaN stands for itself here: which one a fused multiply-add keeps is no one's rule. */
static uint64_t canonical(const gka_device *device, gka_mma_input input, double x) {
    const bool any_nan = device->core[input].group == 0 && isnan(x);
    return any_nan ? UINT64_MAX : bits_of(x);
}

static void check(const mma_kernels *table, const gka_device *device, gka_mma_input input,
                  const matrices *m, bool transposed) {
    double *const c = room(m->M * m->N), *const turned = room(m->K * (m->M + m->N));
    memcpy(c, m->c, (size_t)(m->M * m->N) * sizeof *c);
    gka_matrix a = {m->a, m->K, 1}, b = {m->b, m->N, 1};
    if (transposed) {
        double *const b_turned = turned + m->K * m->M;
        for (int64_t k = 0; k < m->K; k++) {
            for (int64_t i = 0; i < m->M; i++)
                turned[k * m->M + i] = m->a[i * m->K + k];
            for (int64_t j = 0; j < m->N; j++)
                b_turned[j * m->K + k] = m->b[k * m->N + j];
        }
        a = (gka_matrix){turned, 1, m->M};
        b = (gka_matrix){b_turned, 1, m->K};
    }
    mma_packed left = gka_mma_left_layout(device, input, m->M, m->K, NULL);
    mma_packed right = gka_mma_right_layout(device, input, m->K, m->N, NULL);
    void *const l = gka_alloc(left.size, 1), *const r = gka_alloc(right.size, 1);
    left = gka_mma_left_layout(device, input, m->M, m->K, l);
    right = gka_mma_right_layout(device, input, m->K, m->N, r);
    table->pack_left(device, input, m->M, m->K, a, &left);
    table->pack_right(device, input, m->K, m->N, b, &right);
    table->product(device, input, m->M, m->N, m->K, &left, &right, c, m->N);
    for (int64_t i = 0; i < m->M * m->N; i++)
        if (canonical(device, input, c[i]) != canonical(device, input, m->want[i]))
            fail_msg("%s, %s, input %d, %lld x %lld x %lld: element %lld is %a, by the rule %a",
                     table->name, device->name, (int)input, (long long)m->M, (long long)m->N,
                     (long long)m->K, (long long)i, c[i], m->want[i]);
    gka_free(l), gka_free(r), gka_free(c), gka_free(turned);
}

/* Cores that are no preset's: groups above 16, sums that 32 bits do not hold, accumulators of which
 * a group without products cuts bits off, and each field beside others. */
static const struct {
    int group, fraction, floor;
    gka_sum sum;
    gka_result result;
    gka_k_order order;
    int apart;
    bool flush;
} own_cores[] = {{32, 13, -133, 0, 0, 0, 0, 0},
                 {32, 25, -133, 0, 0, 0, 64, 0},
                 {64, 35, -133, 0, 0, 0, 0, 0},
                 {16, 28, -133, 0, 0, GKA_K_PAIRS_APART, 0, 0},
                 {64, 0, -133, 0, 0, GKA_K_ODD_FIRST, 0, 0},
                 {1, 29, 0, 0, 0, 0, 3, 0},
                 {3, 52, -1000, 0, 0, 0, 0, 0},
                 {16, 24, -100, 0, 0, 0, 48, 0},
                 {8, 22, -133, 0, GKA_RESULT_E8M13, GKA_K_PAIRS_APART, 16, 0},
                 {16, 25, -133, 0, GKA_RESULT_E8M13, 0, 0, 0},
                 {8, 40, -133, 0, GKA_RESULT_E8M13, 0, 0, 1},
                 {4, 23, -19, 0, GKA_RESULT_FP16, 0, 0, 0},
                 {8, 25, -133, 0, 0, 0, 0, 1},
                 {5, 0, 0, GKA_SUM_EXACT, 0, 0, 25, 0},
                 {4, 0, 0, GKA_SUM_EXACT, 0, 0, 0, 1},
                 {8, 0, 0, GKA_SUM_PAIRS, 0, 0, 0, 0},
                 {4, 12, -20, GKA_SUM_FLOORED, 0, 0, 0, 0},
                 {6, 0, 0, GKA_SUM_CHAINS, 0, 0, 0, 0}};
enum { OWN = sizeof own_cores / sizeof *own_cores };

static void check_device(const gka_device *device, size_t rounds) {
    static const int64_t shapes[][3] = {
        {3, 33, 16}, {5, 64, 50}, {9, 7, 1}, {1, 40, 128}, {2, 1, 0}};
    const mma_kernels *tables[4];
    gka_mma_kernels_all(tables);
    assert_int_equal(gka_device_check(device, NULL), GKA_OK);
    const bool neutral = device->core[GKA_MMA_BF16].group + device->core[GKA_MMA_FP16].group == 0;
    for (gka_mma_input input = 0; input < GKA_MMA_INPUT_COUNT; input++)
        for (kind k = 0; k < KINDS && (neutral || device->core[input].group); k++)
            for (size_t s = 0; s < rounds * (sizeof shapes / sizeof *shapes); s++) {
                const int64_t *const shape = shapes[s % (sizeof shapes / sizeof *shapes)];
                matrices m = {.M = shape[0], .N = shape[1], .K = shape[2]};
                m.a = room(m.M * m.K), m.b = room(m.K * m.N);
                m.c = room(m.M * m.N), m.want = room(m.M * m.N);
                for (int64_t i = 0; i < m.M * m.K; i++)
                    m.a[i] = (double)operand(input, k);
                for (int64_t i = 0; i < m.K * m.N; i++)
                    m.b[i] = (double)operand(input, k);
                for (int64_t i = 0; i < m.M * m.N; i++)
                    m.c[i] = (double)(device->core[input].result == GKA_RESULT_FP16
                                          ? cut_to(gka_mma_input_format(GKA_MMA_FP16), 65504,
                                                   accumulator(k))
                                          : accumulator(k));
                by_the_rule(device, input, &m);
                for (int t = 0; tables[t]; t++)
                    check(tables[t], device, input, &m, s % 2);
                gka_free(m.a), gka_free(m.b), gka_free(m.c), gka_free(m.want);
            }
}

static void prop_products_equal_the_rule(void **state) {
    (void)state;
    for (const gka_device *const *d = gka_device_presets(); *d; d++)
        check_device(*d, 2);
}

static void prop_any_checked_core_equals_the_rule(void **state) {
    (void)state;
    for (int i = 0; i < OWN; i++) {
        const gka_tensor_core core = {own_cores[i].group, own_cores[i].fraction, own_cores[i].floor,
                                      own_cores[i].sum,   own_cores[i].result,   own_cores[i].order,
                                      own_cores[i].apart, own_cores[i].flush};
        const gka_device device = {.name = "own",
                                   .binary32 = true,
                                   .core = {[GKA_MMA_BF16] = core, [GKA_MMA_E5M2] = core},
                                   .functions = GKA_FUNCTIONS_BINARY32};
        check_device(&device, 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(prop_products_equal_the_rule),
                                       cmocka_unit_test(prop_any_checked_core_equals_the_rule)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
