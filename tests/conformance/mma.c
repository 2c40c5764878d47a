/* mma.c - the tensor core's rule against an H100: mma.sync and wgmma, bf16, fp16 and tf32, over the
 * whole range of exponents with subnormals, overflow, infinities and NaN. No result differs. */
#include "probes.h"

#include "gka/arith.h"

#include <math.h>

/* ---- operands ------------------------------------------------------------------------------ */

/* The number an element of an operand stands for. tf32 is the upper 19 bits of a word. */
static double operand(gka_mma_input input, size_t bytes, uint32_t bits) {
    if (input == GKA_MMA_BF16)
        return (double)f32_of(bits << 16);
    if (bytes == 4)
        return (double)f32_of(bits & UINT32_C(0xffffe000));
    const int field = (int)(bits >> 10 & 0x1f);
    const double fraction = (double)(bits & 0x3ff);
    double magnitude = field ? ldexp(1024 + fraction, field - 25) : ldexp(fraction, -24);
    if (field == 31)
        magnitude = bits & 0x3ff ? (double)NAN : (double)INFINITY;
    return bits & 0x8000 ? -magnitude : magnitude;
}

static double *numbers(gka_mma_input input, const gka_tensor *tensor, int64_t at, int64_t count) {
    double *const out = gka_alloc((size_t)count, sizeof *out);
    assert_non_null(out);
    for (int64_t i = 0; i < count; i++)
        out[i] = operand(input, gka_dtype_size(tensor->dtype), encoding_at(tensor, at + i));
    return out;
}

/* ---- products ------------------------------------------------------------------------------ */

/* D = A B + C of the tiles [tiles, M, K] [tiles, K, N] under NAME; returns how many differ. */
static int64_t differing(const gka_file *file, const char *name, gka_mma_input input,
                         int64_t *compared) {
    const gka_device *const h100 = gka_device_find("h100");
    const gka_tensor *const a = probe(file, name, "a"), *const b = probe(file, name, "b");
    const gka_tensor *const c = probe(file, name, "c"), *const o = probe(file, name, "o");
    const int64_t tiles = a->rank == 3 ? a->shape[0] : 1;
    const int64_t M = a->shape[a->rank - 2], K = a->shape[a->rank - 1], N = b->shape[b->rank - 1];
    int64_t count = 0;
    for (int64_t tile = 0; tile < tiles; tile++) {
        double *const left = numbers(input, a, tile * M * K, M * K);
        double *const right = numbers(input, b, tile * K * N, K * N);
        double *const sum = gka_alloc((size_t)(M * N), sizeof *sum);
        void *const work = gka_alloc(
            gka_mma_left_size(h100, input, M, K) + gka_mma_right_size(h100, input, K, N), 1);
        for (int64_t i = 0; i < M * N; i++)
            sum[i] = (double)f32_of(encoding_at(c, tile * M * N + i));
        gka_mma(h100, input, M, N, K, (gka_matrix){left, K, 1}, (gka_matrix){right, N, 1}, sum, N,
                work);
        for (int64_t i = 0; i < M * N; i++) {
            const uint32_t got = bits_of_f32((float)sum[i]),
                           want = encoding_at(o, tile * M * N + i);
            if (got != want && count++ < 4)
                print_message("%s: result %lld is %08x, not %08x (c %08x)\n", name, (long long)i,
                              want, got, encoding_at(c, tile * M * N + i));
        }
        *compared += M * N;
        gka_free(left), gka_free(right), gka_free(sum), gka_free(work);
    }
    return count;
}

static gka_mma_input input_of(const char *name) {
    return strstr(name, "bf16") ? GKA_MMA_BF16 : strstr(name, "fp16") ? GKA_MMA_FP16 : GKA_MMA_TF32;
}

/* Every NAME.{a,b,c,o} of a file. */
static void check_file(const char *path, int64_t at_least) {
    gka_file *const file = open_probe(path);
    int64_t compared = 0, differ = 0;
    for (size_t i = 0; i < gka_file_count(file); i++) {
        char name[256];
        snprintf(name, sizeof name, "%s", gka_file_tensor(file, i)->name);
        const size_t length = strlen(name);
        if (strcmp(name + length - 2, ".o"))
            continue;
        name[length - 2] = 0;
        differ += differing(file, name, input_of(name), &compared);
    }
    gka_file_close(file);
    print_message("%s: %lld of %lld results differ\n", path, (long long)differ,
                  (long long)compared);
    assert_true(compared >= at_least);
    assert_int_equal(differ, 0);
}

static void test_shipped_probes(void **state) {
    (void)state;
    check_file("mma.safetensors", 81920);
}

static void test_whole_range(void **state) {
    (void)state;
    check_file("products.safetensors", 77824);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shipped_probes),
        cmocka_unit_test(test_whole_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
