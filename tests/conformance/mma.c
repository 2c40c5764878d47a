/* mma.c - the matrix unit's rules against an H100 and an H200: mma.sync and wgmma; bf16, fp16, tf32
 * and FP8, fp16 accumulators, chains that are promoted; the whole range of exponents with
 * subnormals, overflow, infinities and NaN. No result differs. scripts/gpu/probe.cu and
 * probe_triton.py made the files; scripts/cpu/probe_x86.c made x86.safetensors, of a Xeon's
 * vdpbf16ps and TDPBF16PS.
 */
#include "probes.h"

#include "gka/arith.h"

#include <math.h>

/* Which preset and input a set INSTRUCTION.INPUT[.f16][.kK][.pP].CLASS (units.safetensors) or
 * [wgmma.]INPUT... (the others) is of. */
static gka_device device_of(const char *name, gka_mma_input *input) {
    const bool half = strstr(name, ".f16") != NULL, wgmma = strncmp(name, "mma.", 4) != 0;
    const char *const suffix = half ? "-fp16" : "";
    if (strstr(name, "dpbf16ps") != NULL) {
        *input = GKA_MMA_BF16;
        return *gka_device_find(name[0] == 'v' ? "avx512-bf16" : "amx");
    }
    *input = strstr(name, "bf16")   ? GKA_MMA_BF16
             : strstr(name, "fp16") ? GKA_MMA_FP16
             : strstr(name, "e4m3") ? GKA_MMA_E4M3
             : strstr(name, "e5m2") ? GKA_MMA_E5M2
                                    : GKA_MMA_TF32;
    const bool by_mma = !wgmma && (*input == GKA_MMA_E4M3 || *input == GKA_MMA_E5M2);
    char preset[32];
    snprintf(preset, sizeof preset, "h100%s%s", by_mma ? "-mma" : "", suffix);
    gka_device device = *gka_device_find(preset);
    const char *const promoted = strstr(name, ".p");
    if (promoted && promoted[2] >= '0' && promoted[2] <= '9')
        device.core[*input].apart = atoi(promoted + 2);
    return device;
}

/* The numbers of a tensor: of its type's format or, where it holds bare encodings, of `input`. */
static double *numbers(const gka_tensor *tensor, const char *input) {
    const gka_format *const own = gka_format_of_dtype(tensor->dtype);
    const bool bare =
        tensor->dtype == GKA_U16 || tensor->dtype == GKA_U32 || tensor->dtype == GKA_F32;
    return numbers_in(tensor, bare ? gka_format_find(input) : own);
}

/* Whether x is the result that `tensor` holds at i. The one NaN that a GPU has is of all bits but
 * the sign; x86 has many. */
static bool is_result(double x, const gka_tensor *tensor, int64_t i, double want) {
    if (isnan(want) && strstr(tensor->name, "dpbf16ps") != NULL)
        return isnan(x);
    if (isnan(want))
        return encoding_at(tensor, i) == (tensor->dtype == GKA_F16 ? 0x7fff : 0x7fffffff) &&
               bits_of_f32((float)x) == 0x7fffffff;
    return bits_of(x) == bits_of(want);
}

/* d = c + a b of NAME's tiles: b and the result are NAME.b [tiles,N,K] and .d, or [tiles,K,N] and
 * .o. Returns how many results differ. */
static int64_t differing(const gka_file *file, const char *name, const gka_tensor *d, bool n_major,
                         int64_t *compared) {
    gka_mma_input input;
    const gka_device device = device_of(name, &input);
    assert_int_equal(gka_device_check(&device, NULL), GKA_OK);
    const gka_tensor *const a = probe(file, name, "a");
    const int64_t tiles = a->rank == 3 ? a->shape[0] : 1, M = a->shape[a->rank - 2],
                  K = a->shape[a->rank - 1], N = d->shape[d->rank - 1];
    const char *const of_input = gka_mma_input_name(input);
    double *const left = numbers(a, of_input),
                  *const right = numbers(probe(file, name, "b"), of_input),
                  *const sum = numbers(probe(file, name, "c"), "fp32"),
                  *const want = numbers(d, "fp32");
    void *const work = gka_alloc(
        gka_mma_left_size(&device, input, M, K) + gka_mma_right_size(&device, input, K, N), 1);
    int64_t count = 0;
    for (int64_t t = 0; t < tiles; t++)
        gka_mma(&device, input, M, N, K, (gka_matrix){left + t * M * K, K, 1},
                (gka_matrix){right + t * N * K, n_major ? 1 : N, n_major ? K : 1}, sum + t * M * N,
                N, work);
    for (int64_t i = 0; i < tiles * M * N; i++)
        if (!is_result(sum[i], d, i, want[i]) && count++ < 4)
            print_message("%s: result %lld is %a, not %a\n", name, (long long)i, want[i], sum[i]);
    *compared += tiles * M * N;
    gka_free(left), gka_free(right), gka_free(sum), gka_free(want), gka_free(work);
    return count;
}

/* Every set of a file. */
static void check_file(const char *path, int64_t at_least) {
    gka_file *const file = open_probe(path);
    int64_t compared = 0, differ = 0;
    for (size_t i = 0; i < gka_file_count(file); i++) {
        const gka_tensor *const d = gka_file_tensor(file, i);
        char name[256];
        snprintf(name, sizeof name, "%s", d->name);
        const size_t length = strlen(name) - 2;
        const bool n_major = !strcmp(name + length, ".d");
        if (!n_major && strcmp(name + length, ".o"))
            continue;
        name[length] = 0;
        differ += differing(file, name, d, n_major, &compared);
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

static void test_fp8_and_half_accumulators(void **state) {
    (void)state;
    check_file("units.safetensors", 20000);
}

static void test_x86(void **state) {
    (void)state;
    check_file("x86.safetensors", 6144);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shipped_probes),
        cmocka_unit_test(test_whole_range),
        cmocka_unit_test(test_fp8_and_half_accumulators),
        cmocka_unit_test(test_x86),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
