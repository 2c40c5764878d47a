/* units.c - FP8 products and fp16 accumulators against an H200: wgmma and mma.sync, any
 * accumulator, the whole range with subnormals, overflow, infinities and NaN, and chains that are
 * promoted. No result differs. scripts/gpu/probe_units.cu made the file. */
#include "probes.h"

#include "gka/arith.h"

#include <math.h>

/* Which preset and input a set INSTRUCTION.INPUT[.f16][.kK][.pP].CLASS is of. */
static gka_device device_of(const char *name, gka_mma_input *input) {
    const bool half = strstr(name, ".f16") != NULL, fp16 = strstr(name, ".fp16") != NULL;
    const bool wgmma = !strncmp(name, "wgmma", 5);
    *input = fp16 ? GKA_MMA_FP16 : strstr(name, ".e4m3") ? GKA_MMA_E4M3 : GKA_MMA_E5M2;
    gka_device device = *gka_device_find(half ? (wgmma || fp16 ? "h100-fp16" : "h100-mma-fp16")
                                              : (wgmma ? "h200" : "h100-mma"));
    const char *const promoted = strstr(name, ".p");
    if (promoted && promoted[2] >= '0' && promoted[2] <= '9')
        device.core[*input].apart = atoi(promoted + 2);
    return device;
}

static double *numbers(const gka_tensor *tensor) {
    const gka_format *const format = gka_format_of_dtype(tensor->dtype);
    const int64_t count = gka_tensor_count(tensor);
    double *const out = gka_alloc((size_t)count, sizeof *out);
    assert_non_null(out);
    for (int64_t i = 0; i < count; i++)
        out[i] = gka_decode(format, encoding_at(tensor, i));
    return out;
}

static int64_t differing(const gka_file *file, const char *name, int64_t *compared) {
    gka_mma_input input;
    const gka_device device = device_of(name, &input);
    assert_int_equal(gka_device_check(&device, NULL), GKA_OK);
    const gka_tensor *const d = probe(file, name, "d"), *const a = probe(file, name, "a");
    const int64_t tiles = a->shape[0], M = a->shape[1], K = a->shape[2], N = d->shape[2];
    double *const left = numbers(a), *const right = numbers(probe(file, name, "b"));
    double *const sum = numbers(probe(file, name, "c")), *const want = numbers(d);
    void *const work = gka_alloc(
        gka_mma_left_size(&device, input, M, K) + gka_mma_right_size(&device, input, K, N), 1);
    int64_t count = 0;
    for (int64_t t = 0; t < tiles; t++)
        gka_mma(&device, input, M, N, K, (gka_matrix){left + t * M * K, K, 1},
                (gka_matrix){right + t * N * K, 1, K}, sum + t * M * N, N, work);
    for (int64_t i = 0; i < tiles * M * N; i++)
        if (isnan(want[i]) ? !isnan(sum[i]) : bits_of(sum[i]) != bits_of(want[i]))
            if (count++ < 4)
                print_message("%s: result %lld is %a, not %a\n", name, (long long)i, want[i],
                              sum[i]);
    *compared += tiles * M * N;
    gka_free(left), gka_free(right), gka_free(sum), gka_free(want), gka_free(work);
    return count;
}

static void test_fp8_and_half_accumulators(void **state) {
    (void)state;
    gka_file *const file = open_probe("units.safetensors");
    int64_t compared = 0, differ = 0;
    for (size_t i = 0; i < gka_file_count(file); i++) {
        char name[256];
        snprintf(name, sizeof name, "%s", gka_file_tensor(file, i)->name);
        const size_t length = strlen(name);
        if (strcmp(name + length - 2, ".d"))
            continue;
        name[length - 2] = 0;
        differ += differing(file, name, &compared);
    }
    gka_file_close(file);
    print_message("units: %lld of %lld results differ\n", (long long)differ, (long long)compared);
    assert_true(compared >= 20000);
    assert_int_equal(differ, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fp8_and_half_accumulators)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
