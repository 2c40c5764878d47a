/* products.cu - the command gka, with the products of the h100's matrix unit computed by a GPU:
 *
 *   cuda_products verify --emulate=h100/two-term/fp8 FILE
 *
 * Linked with -Wl,--wrap=gka_mma_packed. Every product is computed by the emulation too; the
 * command goes on with the GPU's, and the last line says how many results differed (exit code 1).
 * What is printed is therefore the layer with the hardware's products; roundings, scales and
 * functions are the emulation's.
 */
#include "../../scripts/gpu/units.cuh"

extern "C" {
#include "arith/mma_kernels.h"
#include "cli/cli.h"
#include "gka/format.h"

void __real_gka_mma_packed(const gka_device *device, gka_mma_input input, int64_t M, int64_t N,
                           int64_t K, const void *left, const void *right, double *c, int64_t ldc);
void __wrap_gka_mma_packed(const gka_device *device, gka_mma_input input, int64_t M, int64_t N,
                           int64_t K, const void *left, const void *right, double *c, int64_t ldc);
}

#include <atomic>
#include <cmath>
#include <vector>

static const int instruction_of[] = {WGMMA_BF16, WGMMA_FP16, WGMMA_TF32, WGMMA_E4M3, WGMMA_E5M2};
static const char *const formats[] = {"bf16", "fp16", "tf32", "e4m3", "e5m2"};
enum { INPUTS = 5, ROWS = 64, COLUMNS = 8 };

static std::atomic<int64_t> products[INPUTS], results[INPUTS], differing[INPUTS];

/* Memory of the GPU for one thread, as large as it has had to be. */
struct room {
    uint8_t *at = nullptr;
    size_t size = 0;
    uint8_t *of(size_t wanted) {
        if (wanted > size) {
            CHECK(cudaFree(at));
            CHECK(cudaMalloc(&at, wanted));
            size = wanted;
        }
        return at;
    }
};
static thread_local room rooms[4];

static uint8_t *on_device(int part, const void *data, size_t size) {
    uint8_t *const at = rooms[part].of(size);
    CHECK(cudaMemcpy(at, data, size, cudaMemcpyHostToDevice));
    return at;
}

static int64_t up(int64_t n, int64_t unit) {
    return (n + unit - 1) / unit * unit;
}

/* Lines of K numbers, padded with zeros to k of them and to whole tiles of `unit` lines. */
static std::vector<uint8_t> encoded(int input, int64_t lines, int64_t unit, int64_t K, int64_t k,
                                    int64_t (*at)(const mma_packed &, int64_t, int64_t),
                                    const mma_packed &packed) {
    const gka_format *const format = gka_format_find(formats[input]);
    const size_t bytes = (size_t)units[instruction_of[input]].input->bytes;
    std::vector<uint8_t> out((size_t)(up(lines, unit) * k) * bytes);
    for (int64_t i = 0; i < lines; i++)
        for (int64_t j = 0; j < K; j++) {
            const uint64_t pattern = gka_encode(format, (double)packed.f32[at(packed, i, j)]);
            memcpy(&out[(size_t)(i * k + j) * bytes], &pattern, bytes); /* little-endian */
        }
    return out;
}

static int64_t in_row(const mma_packed &a, int64_t i, int64_t k) {
    return i * a.K + k;
}

static int64_t in_block(const mma_packed &b, int64_t j, int64_t k) {
    return (j / MMA_BLOCK * b.K + k) * MMA_BLOCK + j % MMA_BLOCK;
}

/* d [M,N] = c + a b, a and b packed for the h100, by the instruction. A tile is ROWS rows of a, all
 * of them, beside COLUMNS columns of b. */
static void by_gpu(int input, int promote, int64_t M, int64_t N, int64_t K, const mma_packed &a,
                   const mma_packed &b, const double *c, int64_t ldc, float *d) {
    const int op = instruction_of[input];
    const int64_t step = 32 / units[op].input->bytes, k = up(K, step);
    const int64_t down = up(M, ROWS) / ROWS, across = up(N, COLUMNS) / COLUMNS;
    const int64_t left_size = ROWS * k * units[op].input->bytes,
                  right_size = left_size / ROWS * COLUMNS;
    const std::vector<uint8_t> rows = encoded(input, M, ROWS, K, k, in_row, a),
                               columns = encoded(input, N, COLUMNS, K, k, in_block, b);
    std::vector<uint8_t> left, right;
    std::vector<float> sum((size_t)(down * across * ROWS * COLUMNS));
    const auto where = [&](int64_t i, int64_t j) {
        return (size_t)(((i / ROWS * across + j / COLUMNS) * ROWS + i % ROWS) * COLUMNS +
                        j % COLUMNS);
    };
    for (int64_t t = 0; t < down * across; t++) {
        const auto row = rows.begin() + t / across * left_size,
                   column = columns.begin() + t % across * right_size;
        left.insert(left.end(), row, row + left_size);
        right.insert(right.end(), column, column + right_size);
    }
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < N; j++)
            sum[where(i, j)] = (float)c[i * ldc + j];
    const size_t size = sum.size() * sizeof(float);
    uint8_t *const result = rooms[3].of(size);
    launch(op, (int)(down * across), (int)(k / step), (int)(promote / step),
           on_device(0, left.data(), left.size()), on_device(1, right.data(), right.size()),
           (uint32_t *)on_device(2, sum.data(), size), (uint32_t *)result);
    CHECK(cudaMemcpy(sum.data(), result, size, cudaMemcpyDeviceToHost));
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < N; j++)
            d[i * N + j] = sum[where(i, j)];
}

void __wrap_gka_mma_packed(const gka_device *device, gka_mma_input input, int64_t M, int64_t N,
                           int64_t K, const void *left, const void *right, double *c, int64_t ldc) {
    if (strcmp(device->name, "h100") || (int)input >= INPUTS || M * N * K == 0) {
        __real_gka_mma_packed(device, input, M, N, K, left, right, c, ldc);
        return;
    }
    const mma_packed a = gka_mma_left_layout(device, input, M, K, (void *)left);
    const mma_packed b = gka_mma_right_layout(device, input, K, N, (void *)right);
    std::vector<float> d((size_t)(M * N));
    by_gpu(input, device->core[input].apart, M, N, K, a, b, c, ldc, d.data());
    __real_gka_mma_packed(device, input, M, N, K, left, right, c, ldc);
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < N; j++) {
            const float rule = (float)c[i * ldc + j], gpu = d[(size_t)(i * N + j)];
            differing[input] += std::isnan(rule) ? !std::isnan(gpu) : memcmp(&rule, &gpu, 4) != 0;
            c[i * ldc + j] = (double)gpu;
        }
    products[input]++;
    results[input] += M * N;
}

int main(int argc, char **argv) {
    int code = gka_command(argc, (const char *const *)argv, stdout, stderr);
    for (int i = 0; i < INPUTS; i++)
        if (products[i]) {
            printf("%s: %lld products by wgmma, %lld results, %lld differ\n", formats[i],
                   (long long)products[i], (long long)results[i], (long long)differing[i]);
            code = code == 0 && differing[i] ? 1 : code;
        }
    return code;
}
