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

/* The number cut to what fp16 holds. */
static float cut_to_fp16(float x) {
    if (!isfinite(x))
        return x;
    const float magnitude = fabsf(x) > 65504 ? 65504 : fabsf(x);
    int exponent = -14;
    if (magnitude >= 0x1p-14f)
        exponent = ilogbf(magnitude);
    const float unit = ldexpf(1, exponent - 10);
    return copysignf(truncf(magnitude / unit) * unit, x);
}

static float operand(gka_mma_input input, kind k) {
    static const float special[] = {INFINITY, -INFINITY, NAN, 0, -0.0f};
    const int p = input == GKA_MMA_BF16 ? 8 : input == GKA_MMA_WORKING ? 24 : 11;
    static const int center[KINDS] = {[TINY] = -62, [HUGE_VALUES] = 62},
                     spread[KINDS] = {3, 10, 8, 2, 140, 12, 3, 0};
    const int low = input == GKA_MMA_FP16 ? -12 : center[TINY];
    float x = number(p, k == TINY ? low : center[k], spread[k]);
    if (k == SAME)
        x = (float)(draw() & 7 ? 255 : -255) / 128;
    if ((k == SPARSE && draw() % 8) || (k == ORDINARY && draw() % 16 == 0))
        x = draw() & 1 ? 0.0f : -0.0f;
    if (k == SPECIAL && draw() % 64 == 0)
        x = special[draw() % 5];
    return input == GKA_MMA_FP16 ? cut_to_fp16(x) : x;
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
                const int64_t padded = (m->K + core->group - 1) / core->group * core->group;
                for (int64_t k = m->K; k < padded; k++)
                    a[k] = b[k] = 0;
                sum = (double)gka_tensor_core_dot(core, input, padded, a, b, (float)sum);
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

/* Cores that are no preset's: groups above 16, sums that 32 bits do not hold, and accumulators of
 * which a group without products cuts bits off. There the fast product leaves the work to the rule.
 */
static const gka_tensor_core own_cores[] = {{32, 13, -133}, {32, 25, -133}, {64, 35, -133},
                                            {16, 28, -133}, {64, 0, -133},  {1, 29, 0},
                                            {3, 52, -1000}, {16, 24, -100}, {8, 22, -133}};
enum { OWN = sizeof own_cores / sizeof *own_cores };

static void check_device(const gka_device *device) {
    static const int64_t shapes[][3] = {
        {3, 33, 16}, {5, 64, 50}, {9, 7, 1}, {1, 40, 128}, {2, 1, 0}};
    const mma_kernels *tables[4];
    gka_mma_kernels_all(tables);
    assert_int_equal(gka_device_check(device, NULL), GKA_OK);
    for (gka_mma_input input = 0; input < GKA_MMA_INPUT_COUNT; input++)
        for (kind k = 0; k < KINDS; k++)
            for (size_t s = 0; s < 3 * (sizeof shapes / sizeof *shapes); s++) {
                const int64_t *const shape = shapes[s % (sizeof shapes / sizeof *shapes)];
                matrices m = {.M = shape[0], .N = shape[1], .K = shape[2]};
                m.a = room(m.M * m.K), m.b = room(m.K * m.N);
                m.c = room(m.M * m.N), m.want = room(m.M * m.N);
                for (int64_t i = 0; i < m.M * m.K; i++)
                    m.a[i] = (double)operand(input, k);
                for (int64_t i = 0; i < m.K * m.N; i++)
                    m.b[i] = (double)operand(input, k);
                for (int64_t i = 0; i < m.M * m.N; i++)
                    m.c[i] = (double)accumulator(k);
                by_the_rule(device, input, &m);
                for (int t = 0; tables[t]; t++)
                    check(tables[t], device, input, &m, s % 2);
                gka_free(m.a), gka_free(m.b), gka_free(m.c), gka_free(m.want);
            }
}

static void prop_products_equal_the_rule(void **state) {
    (void)state;
    for (const gka_device *const *d = gka_device_presets(); *d; d++)
        check_device(*d);
}

static void prop_any_checked_core_equals_the_rule(void **state) {
    (void)state;
    for (int i = 0; i < OWN; i++) {
        const gka_tensor_core core = own_cores[i];
        const gka_device device = {.name = "own",
                                   .binary32 = true,
                                   .core = {core, core, core},
                                   .functions = GKA_FUNCTIONS_BINARY32};
        check_device(&device);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(prop_products_equal_the_rule),
                                       cmocka_unit_test(prop_any_checked_core_equals_the_rule)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
