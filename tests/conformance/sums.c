/* sums.c - the orders of summation of the room chunk against an H100: the Frobenius norm of a
 * state in bf16 and in binary32, row sums of tensor-core tiles, scans, as Triton compiles them for
 * 4 warps (scripts/gpu/probe_triton.py). No result differs.
 *
 * Who adds what is a matter of layout and the same here as in the released kernels. What is fused
 * is the compiler's choice per kernel: the probe's bf16 norm is a chain of fused multiply-adds,
 * where the released solver rounds every other product first (gka_norm_low); and the probe's tiles
 * of 32 rows have one warp to a row, as tiles of 64 have, where the solver has four. */
#include "probes.h"

#include "chunk/tile.h"
#include "gka/arith.h"

/* Tensor NAME.PART as numbers. */
static double *numbers(const gka_file *file, const char *name, const char *part) {
    const gka_tensor *const tensor = probe(file, name, part);
    double *const out = gka_alloc((size_t)gka_tensor_count(tensor), sizeof *out);
    assert_non_null(out);
    for (int64_t i = 0; i < gka_tensor_count(tensor); i++)
        out[i] =
            (double)f32_of(encoding_at(tensor, i) << 16 * (gka_dtype_size(tensor->dtype) == 2));
    return out;
}

static void assert_same(const char *what, int64_t i, double got, double want) {
    if (bits_of_f32((float)got) != bits_of_f32((float)want))
        fail_msg("%s: result %lld is %a, not %a", what, (long long)i, want, got);
}

/* ||H||_F^2 in bf16 in the order of gka_norm_low, every product but the first fused. */
static double fused_norm_bf16(int64_t D, const double *H) {
    const int64_t across = D / 8, down = 32 / across;
    double thread[128];
    for (int64_t t = 0; t < 128; t++) {
        double sum = 0;
        for (int64_t row = t / across; row < D; row += 4 * down) {
            const double *const a = H + row * D + t % across * 8;
            const bool first = row == t / across;
            sum = first ? gka_low_fma(false, a[0], a[0], bf16(a[1] * a[1]))
                        : gka_low_fma(false, a[0], a[0], sum);
            for (int64_t i = 1; i < 8; i++)
                sum = first && i == 1 ? sum : gka_low_fma(false, a[i], a[i], sum);
        }
        thread[t] = sum;
    }
    for (int64_t half = 16; half >= 1; half /= 2) /* within each warp, then the four warps */
        for (int64_t t = 0; t < 128; t++)
            if (t % 32 < half)
                thread[t] = bf16(thread[t] + thread[t + half]);
    return bf16(bf16(thread[0] + thread[64]) + bf16(thread[32] + thread[96]));
}

static void check_norm(const gka_file *file, int64_t D) {
    char name[32];
    snprintf(name, sizeof name, "norm.%d", (int)D);
    double *const h = numbers(file, name, "h"), *const low = numbers(file, name, "bf16");
    double *const wide = numbers(file, name, "fp32");
    const int64_t n = probe(file, name, "h")->shape[0];
    for (int64_t i = 0; i < n; i++) {
        const double *const H = h + i * D * D;
        assert_same(name, i, fused_norm_bf16(D, H), low[i]);
        assert_same(name, i, gka_dot_state(SUM_WARP, 4, D, H, H), wide[i]);
    }
    gka_free(h), gka_free(low), gka_free(wide);
}

static void test_norms(void **state) {
    (void)state;
    gka_file *const file = open_probe("sums.safetensors");
    check_norm(file, 64);
    check_norm(file, 128);
    gka_file_close(file);
}

/* s: row sums of a (a b), p: of (a a^T) mask, mask lower triangular; a [C,D], b [D,D]. */
static void check_rows(const gka_file *file, int64_t C, int64_t D) {
    const gka_device *const h100 = gka_device_find("h100");
    char name[32];
    snprintf(name, sizeof name, "rows.%dx%d", (int)C, (int)D);
    double *const a = numbers(file, name, "a"), *const b = numbers(file, name, "b");
    double *const s = numbers(file, name, "s"), *const p = numbers(file, name, "p");
    const int64_t n = probe(file, name, "a")->shape[0];
    double *const product = gka_alloc((size_t)(C * D), sizeof *product);
    double *const square = gka_alloc((size_t)(C * C), sizeof *square);
    void *const work = gka_alloc(gka_mma_left_size(h100, GKA_MMA_BF16, C, D) +
                                     gka_mma_right_size(h100, GKA_MMA_BF16, D, D) +
                                     gka_mma_right_size(h100, GKA_MMA_BF16, D, C),
                                 1);
    for (int64_t i = 0; i < n; i++) {
        const double *const K = a + i * C * D;
        memset(product, 0, (size_t)(C * D) * sizeof *product);
        memset(square, 0, (size_t)(C * C) * sizeof *square);
        gka_mma(h100, GKA_MMA_BF16, C, D, D, (gka_matrix){K, D, 1},
                (gka_matrix){b + i * D * D, D, 1}, product, D, work);
        gka_mma(h100, GKA_MMA_BF16, C, C, D, (gka_matrix){K, D, 1}, (gka_matrix){K, 1, D}, square,
                C, work);
        for (int64_t t = 0; t < C; t++) {
            double mask[64];
            for (int64_t j = 0; j < C; j++)
                mask[j] = j <= t;
            assert_same(name, i * C + t, gka_row_dot(SUM_WARP, 64, D, K + t * D, product + t * D),
                        s[i * C + t]);
            assert_same(name, i * C + t, gka_row_dot(SUM_WARP, 64, C, square + t * C, mask),
                        p[i * C + t]);
        }
    }
    gka_free(a), gka_free(b), gka_free(s), gka_free(p);
    gka_free(product), gka_free(square), gka_free(work);
}

static void test_rows(void **state) {
    (void)state;
    gka_file *const file = open_probe("sums.safetensors");
    check_rows(file, 64, 128);
    check_rows(file, 64, 64);
    check_rows(file, 32, 128);
    check_rows(file, 32, 64);
    check_rows(file, 16, 64);
    gka_file_close(file);
}

static void test_scans(void **state) {
    (void)state;
    gka_file *const file = open_probe("sums.safetensors");
    for (int64_t N = 16; N <= 128; N *= 2) {
        char name[32];
        snprintf(name, sizeof name, "scan.%d", (int)N);
        double *const x = numbers(file, name, "x"), *const want = numbers(file, name, "o");
        const int64_t count = gka_tensor_count(probe(file, name, "x"));
        for (int64_t i = 0; i < count; i += N) {
            double out[128];
            gka_scan_sum(SUM_WARP, N, x + i, out);
            for (int64_t t = 0; t < N; t++)
                assert_same(name, i + t, out[t], want[i + t]);
        }
        gka_free(x), gka_free(want);
    }
    gka_file_close(file);
}

/* torch's sums of bf16 terms of wide range, 64 rows of each length (PyTorch 2.11, NVIDIA H200). */
static void test_torch(void **state) {
    (void)state;
    gka_error error = {0};
    gka_file *file = NULL;
    assert_int_equal(gka_file_open(GKA_TEST_DATA "/h200/torch_sums.safetensors", &file, &error),
                     GKA_OK);
    for (int64_t n = 32; n <= 256; n *= 2) {
        char name[32];
        snprintf(name, sizeof name, "%d", (int)n);
        double *const terms = numbers(file, name, "terms"), *const sum = numbers(file, name, "sum");
        for (int64_t i = 0; i < 64; i++)
            assert_same(name, i, gka_torch_sum(SUM_WARP, n, terms + i * n), sum[i]);
        gka_free(terms), gka_free(sum);
    }
    gka_file_close(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norms),
        cmocka_unit_test(test_torch),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_scans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
