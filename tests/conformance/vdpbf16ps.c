/* vdpbf16ps.c - the device avx512-bf16 against the instruction itself, where this processor has it
 * (skipped elsewhere): any bits, the whole range, subnormal numbers, results about 2^-126. */
#include "test.h"

#include "gka/arith.h"

#include <math.h>
#include <stdlib.h>

enum { SKIPPED = 77, LANES = 16 };

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

/* d_i = c_i + a_(2i+1) b_(2i+1) + a_(2i) b_(2i) */
__attribute__((target("avx512bf16,avx512f"))) static void instruction(const uint16_t a[2 * LANES],
                                                                      const uint16_t b[2 * LANES],
                                                                      const float c[LANES],
                                                                      float d[LANES]) {
    const __m512bh x = (__m512bh)_mm512_loadu_si512(a), y = (__m512bh)_mm512_loadu_si512(b);
    _mm512_storeu_ps(d, _mm512_dpbf16_ps(_mm512_loadu_ps(c), x, y));
}

static bool is_there(void) {
    return __builtin_cpu_supports("avx512bf16");
}
#else
static void instruction(const uint16_t *a, const uint16_t *b, const float *c, float *d) {
    (void)a, (void)b, (void)c, (void)d;
}

static bool is_there(void) {
    return false;
}
#endif

static uint64_t counter;

static uint32_t draw(void) {
    uint64_t bits[4];
    gka_philox((const uint64_t[4]){counter++, 0, 0, 0}, (const uint64_t[2]){16, 0}, bits);
    return (uint32_t)(bits[0] >> 16);
}

static float f32_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Kinds: any bits; near one another; products and c about 2^-126, where results are flushed. */
static uint16_t operand(int kind) {
    const uint32_t r = draw();
    if (kind == 0)
        return (uint16_t)r;
    const uint32_t field = kind == 1 ? 124 + r % 7 : 60 + r % 9;
    return (uint16_t)((r >> 16 & 0x807f) | field << 7);
}

static float accumulator(int kind) {
    const uint32_t r = draw();
    if (kind == 0)
        return f32_of(r);
    return f32_of((r & 0x807fffff) | (kind == 1 ? 120 + r % 16 : r % 6) << 23);
}

static void test_device_equals_the_instruction(void **state) {
    (void)state;
    const gka_device *const device = gka_device_find("avx512-bf16");
    void *const work = gka_alloc(gka_mma_left_size(device, GKA_MMA_BF16, 1, 2) +
                                     gka_mma_right_size(device, GKA_MMA_BF16, 2, 1),
                                 1);
    for (int round = 0; round < 30000; round++) {
        uint16_t a[2 * LANES], b[2 * LANES];
        float c[LANES], d[LANES];
        for (int i = 0; i < 2 * LANES; i++) {
            a[i] = operand(round % 3);
            b[i] = operand(round % 3);
        }
        for (int i = 0; i < LANES; i++)
            c[i] = accumulator(round % 3);
        instruction(a, b, c, d);
        for (int i = 0; i < LANES; i++) {
            double x[2], y[2], sum = (double)c[i];
            for (int k = 0; k < 2; k++) {
                x[k] = (double)f32_of((uint32_t)a[2 * i + k] << 16);
                y[k] = (double)f32_of((uint32_t)b[2 * i + k] << 16);
            }
            gka_mma(device, GKA_MMA_BF16, 1, 1, 2, (gka_matrix){x, 2, 1}, (gka_matrix){y, 1, 1},
                    &sum, 1, work);
            if (isnan(d[i]) ? !isnan(sum) : bits_of_f32(d[i]) != bits_of_f32((float)sum))
                fail_msg("%a %a + %a %a + %a is %a, by the rule %a", x[1], y[1], x[0], y[0],
                         (double)c[i], (double)d[i], sum);
        }
    }
    gka_free(work);
}

int main(void) {
    if (!is_there()) {
        print_message("vdpbf16ps: this processor has no avx512_bf16\n");
        return SKIPPED;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_device_equals_the_instruction)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
