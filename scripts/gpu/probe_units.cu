/* probe_units.cu - what the matrix unit of a Hopper GPU returns for FP8 operands and for fp16
 * accumulators: a file that `gka devices --fit` reads.
 *
 *   nvcc -O2 -gencode=arch=compute_90a,code=sm_90a -o probe_units probe_units.cu
 *   ./probe_units units.safetensors          # or ./probe_units few.safetensors 2: two tiles a set
 *
 * Each set INSTRUCTION.INPUT[.f16][.kK][.pP].CLASS holds, over its tiles, a [tiles,M,K] and
 * b [tiles,8,K] (n-major), c and d [tiles,M,8]. The result is d = c + a b^T as the instruction
 * computes it: `wgmma` m64n8k32 (fp16: k16), `mma` mma.sync m16n8k32 (fp16: k16), c inside the
 * instruction. `.f16`: c and d are fp16. `.kK.pP`: a chain of wgmma over K that begins at zero
 * every P products; what it gives is added to c in binary32, as Triton promotes FP8 sums.
 * A fixed stream of random numbers (splitmix64) makes the inputs, so two runs can be compared.
 */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#define CHECK(call)                                                                                \
    do {                                                                                           \
        const cudaError_t error_ = (call);                                                         \
        if (error_ != cudaSuccess) {                                                               \
            fprintf(stderr, "probe_units: line %d: %s\n", __LINE__, cudaGetErrorString(error_));   \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* ---- the instructions ---------------------------------------------------------------------- */

enum op {
    WGMMA_E4M3,
    WGMMA_E5M2,
    WGMMA_E4M3_F16,
    WGMMA_E5M2_F16,
    WGMMA_FP16_F16,
    MMA_E4M3,
    MMA_E5M2,
    MMA_E4M3_F16,
    MMA_E5M2_F16,
    MMA_FP16_F16,
    OPS
};

static bool is_wgmma(int op) {
    return op <= WGMMA_FP16_F16;
}

/* Accumulators of one thread: four floats, or two registers of two halves. With g = lane / 4,
 * t = lane % 4: rows g and g + 8 of 16, columns 2 t and 2 t + 1. */
template <int OP> struct unit {
    static constexpr bool wide = OP <= WGMMA_FP16_F16;
    static constexpr bool half = OP == WGMMA_E4M3_F16 || OP == WGMMA_E5M2_F16 ||
                                 OP == WGMMA_FP16_F16 || OP == MMA_E4M3_F16 || OP == MMA_E5M2_F16 ||
                                 OP == MMA_FP16_F16;
    static constexpr int registers = half ? 2 : 4;
};

#define WGMMA32(types)                                                                             \
    asm volatile("{.reg .pred p; setp.ne.b32 p, %9, 0;"                                            \
                 "wgmma.mma_async.sync.aligned." types                                             \
                 " {%0,%1,%2,%3}, {%4,%5,%6,%7}, %8, p, 1, 1;}"                                    \
                 : "+f"(f[0]), "+f"(f[1]), "+f"(f[2]), "+f"(f[3])                                  \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keep))
#define WGMMA16(types, transpose)                                                                  \
    asm volatile("{.reg .pred p; setp.ne.b32 p, %7, 0;"                                            \
                 "wgmma.mma_async.sync.aligned." types                                             \
                 " {%0,%1}, {%2,%3,%4,%5}, %6, p, 1, 1" transpose ";}"                             \
                 : "+r"(d[0]), "+r"(d[1])                                                          \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keep))
#define MMA32(types)                                                                               \
    asm volatile("mma.sync.aligned." types                                                         \
                 " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                          \
                 : "+f"(f[0]), "+f"(f[1]), "+f"(f[2]), "+f"(f[3])                                  \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))
#define MMA16(types)                                                                               \
    asm volatile("mma.sync.aligned." types " {%0,%1}, {%2,%3,%4,%5}, {%6,%7}, {%0,%1};"            \
                 : "+r"(d[0]), "+r"(d[1])                                                          \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))

template <int OP> __device__ void wgmma(uint32_t *d, const uint32_t *a, uint64_t b, int keep) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    float *const f = (float *)d;
    if (OP == WGMMA_E4M3)
        WGMMA32("m64n8k32.f32.e4m3.e4m3");
    if (OP == WGMMA_E5M2)
        WGMMA32("m64n8k32.f32.e5m2.e5m2");
    if (OP == WGMMA_E4M3_F16)
        WGMMA16("m64n8k32.f16.e4m3.e4m3", "");
    if (OP == WGMMA_E5M2_F16)
        WGMMA16("m64n8k32.f16.e5m2.e5m2", "");
    if (OP == WGMMA_FP16_F16)
        WGMMA16("m64n8k16.f16.f16.f16", ", 0");
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
#endif
}

template <int OP> __device__ void mma(uint32_t *d, const uint32_t *a, uint32_t b0, uint32_t b1) {
    float *const f = (float *)d;
    if (OP == MMA_E4M3)
        MMA32("m16n8k32.row.col.f32.e4m3.e4m3.f32");
    if (OP == MMA_E5M2)
        MMA32("m16n8k32.row.col.f32.e5m2.e5m2.f32");
    if (OP == MMA_E4M3_F16)
        MMA16("m16n8k32.row.col.f16.e4m3.e4m3.f16");
    if (OP == MMA_E5M2_F16)
        MMA16("m16n8k32.row.col.f16.e5m2.e5m2.f16");
    if (OP == MMA_FP16_F16)
        MMA16("m16n8k16.row.col.f16.f16.f16.f16");
}

/* The shared-memory matrix of wgmma: 8 columns of 32 bytes, as two core matrices of 8 x 16 bytes,
 * not swizzled; address and distances in units of 16 bytes. */
__device__ uint64_t descriptor(const void *shared) {
    const uint64_t at = (uint64_t)__cvta_generic_to_shared(shared) & 0x3ffff;
    return at >> 4 | (uint64_t)(128 >> 4) << 16 | (uint64_t)(256 >> 4) << 32;
}

/* One tile a block: rows of `steps` times 32 bytes. promote: steps after which the accumulator
 * begins anew and is added to the sum; 0: c begins it. */
template <int OP>
__global__ void tile(int steps, int promote, const uint8_t *a_all, const uint8_t *b_all,
                     const uint32_t *c_all, uint32_t *d_all) {
    typedef unit<OP> U;
    const int M = U::wide ? 64 : 16, row_bytes = 32 * steps;
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const uint8_t *const a = a_all + (size_t)blockIdx.x * M * row_bytes;
    const uint8_t *const b = b_all + (size_t)blockIdx.x * 8 * row_bytes;
    const size_t words = U::half ? M * 8 / 2 : M * 8;
    const uint32_t *const c = c_all + blockIdx.x * words;
    uint32_t *const out = d_all + blockIdx.x * words;
    __shared__ __align__(128) uint8_t packed[256];

    uint32_t sum[4] = {0, 0, 0, 0}, d[4];
    int where[4]; /* words of c and d */
    for (int i = 0; i < U::registers; i++) {
        const int row = warp * 16 + g + 8 * (U::half ? i : i / 2);
        where[i] = U::half ? row * 4 + t : row * 8 + 2 * t + i % 2;
        sum[i] = c[where[i]];
    }
    for (int i = 0; i < 4; i++)
        d[i] = promote ? 0 : sum[i];
    for (int s = 0; s < steps; s++) {
        uint32_t ra[4];
        for (int i = 0; i < 4; i++)
            memcpy(&ra[i],
                   a + (warp * 16 + g + 8 * (i % 2)) * row_bytes + 32 * s + 16 * (i / 2) + 4 * t,
                   4);
        if (U::wide) {
            __syncthreads();
            for (int i = threadIdx.x; i < 256; i += blockDim.x)
                packed[i % 32 / 16 * 128 + i / 32 * 16 + i % 16] =
                    b[i / 32 * row_bytes + 32 * s + i % 32];
            asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
            __syncthreads();
            wgmma<OP>(d, ra, descriptor(packed), 1);
        } else {
            uint32_t rb[2];
            for (int i = 0; i < 2; i++)
                memcpy(&rb[i], b + g * row_bytes + 32 * s + 16 * i + 4 * t, 4);
            mma<OP>(d, ra, rb[0], rb[1]);
        }
        if (promote && (s + 1) % promote == 0)
            for (int i = 0; i < 4; i++) { /* binary32 accumulators alone */
                sum[i] = __float_as_uint(__fadd_rn(__uint_as_float(sum[i]), __uint_as_float(d[i])));
                d[i] = 0;
            }
    }
    for (int i = 0; i < U::registers; i++)
        out[where[i]] = promote ? sum[i] : d[i];
}

static void launch(int op, int tiles, int steps, int promote, const uint8_t *a, const uint8_t *b,
                   const uint32_t *c, uint32_t *d) {
    const int threads = is_wgmma(op) ? 128 : 32;
    switch (op) {
#define CASE(OP)                                                                                   \
    case OP: tile<OP><<<tiles, threads>>>(steps, promote, a, b, c, d); break;
        CASE(WGMMA_E4M3)
        CASE(WGMMA_E5M2)
        CASE(WGMMA_E4M3_F16)
        CASE(WGMMA_E5M2_F16)
        CASE(WGMMA_FP16_F16)
        CASE(MMA_E4M3)
        CASE(MMA_E5M2)
        CASE(MMA_E4M3_F16)
        CASE(MMA_E5M2_F16)
        CASE(MMA_FP16_F16)
#undef CASE
    }
    CHECK(cudaGetLastError());
    CHECK(cudaDeviceSynchronize());
}

/* ---- inputs -------------------------------------------------------------------------------- */

static uint64_t state = 1;
static uint64_t draw() { /* splitmix64 */
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static int between(int low, int high) {
    return low + (int)((draw() >> 32) * (uint64_t)(high - low + 1) >> 32);
}

/* sign, exponent field, fraction */
struct format {
    const char *dtype;
    int bytes, exponent_bits, fraction_bits;
};
static const format e4m3 = {"F8_E4M3", 1, 4, 3}, e5m2 = {"F8_E5M2", 1, 5, 2},
                    fp16 = {"F16", 2, 5, 10}, fp32 = {"F32", 4, 8, 23};

static const struct {
    const char *name;
    format input;
    bool half;
} ops[OPS] = {{"wgmma.e4m3", e4m3, false},    {"wgmma.e5m2", e5m2, false},
              {"wgmma.e4m3.f16", e4m3, true}, {"wgmma.e5m2.f16", e5m2, true},
              {"wgmma.fp16.f16", fp16, true}, {"mma.e4m3", e4m3, false},
              {"mma.e5m2", e5m2, false},      {"mma.e4m3.f16", e4m3, true},
              {"mma.e5m2.f16", e5m2, true},   {"mma.fp16.f16", fp16, true}};

/* A number of exponent `center` and up to `spread` beside it; below the smallest exponent it is
 * subnormal, above the largest it is the largest. */
static uint32_t number(const format &f, int center, int spread, bool positive) {
    const int bias = (1 << (f.exponent_bits - 1)) - 1;
    const int top = f.exponent_bits == 4 ? 15 : 2 * bias; /* e4m3 has no Inf */
    int field = center + between(-spread, spread) + bias;
    const int below = field < 1 ? 1 - field : 0;
    field = field > top ? top : field;
    const uint32_t r = (uint32_t)draw(), ones = (1u << f.fraction_bits) - 1;
    uint32_t fraction = r & ones;
    if (r >> 29 == 0) /* few significant bits, so that sums cancel exactly */
        fraction &= ~(ones >> 2);
    if (below)
        fraction = below > 31 ? 0 : (fraction | ones + 1) >> below, field = 0;
    if (f.exponent_bits == 4 && field == 15 && fraction == 7)
        fraction = 6;
    const uint32_t sign = positive ? 0 : r >> 28 & 1;
    return sign << (f.exponent_bits + f.fraction_bits) | (uint32_t)field << f.fraction_bits |
           fraction;
}

enum class_of_inputs { ANY, RANGE, NEAR, SUBNORMAL, FLOOR, LARGE, SPARSE, POSITIVE, CLASSES };
static const char *const classes[] = {"any",   "range", "near",   "subnormal",
                                      "floor", "large", "sparse", "positive"};

static uint32_t element(int kind, const format &f, int tile, bool accumulator) {
    const int bias = (1 << (f.exponent_bits - 1)) - 1, center = tile % 61 - 30;
    switch (kind) {
    case ANY: return (uint32_t)draw();
    case RANGE: return number(f, 0, bias + f.fraction_bits, false);
    case NEAR: return accumulator ? number(f, center, 4, false) : number(f, 0, tile % 4, false);
    case SUBNORMAL:
        return accumulator ? number(f, tile % 2 ? -14 : -28, 8, false)
                           : number(f, 1 - bias, f.fraction_bits, false);
    case FLOOR: /* a product here and there; c at the bottom of its range */
        if (accumulator)
            return number(f, f.bytes == 4 ? -126 - tile % 26 : -14 - tile % 11, 3, false);
        return draw() % 24 ? 0 : number(f, 1 - bias, 2, false);
    case LARGE:
        return accumulator ? number(f, bias - tile % 3, 1, tile % 2) : number(f, bias, 1, tile % 2);
    case SPARSE:
        if (draw() % 4)
            return draw() & 1 ? 0 : 1u << (f.exponent_bits + f.fraction_bits);
        return number(f, 0, 5, false);
    default: return accumulator ? number(f, between(-6, 6), 0, true) : number(f, 0, 2, true);
    }
}

static std::vector<uint8_t> fill(int kind, const format &f, int tiles, size_t per_tile,
                                 bool accumulator) {
    std::vector<uint8_t> data(tiles * per_tile * f.bytes);
    for (size_t i = 0; i < tiles * per_tile; i++) {
        const uint32_t x = element(kind, f, (int)(i / per_tile), accumulator);
        memcpy(&data[i * f.bytes], &x, f.bytes); /* little-endian */
    }
    return data;
}

/* ---- the file ------------------------------------------------------------------------------ */

static std::string header;
static std::vector<uint8_t> body;

static void put(const std::string &name, const format &f, int tiles, int rows, int columns,
                const std::vector<uint8_t> &data) {
    char text[512];
    snprintf(text, sizeof text,
             ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%d,%d,%d],\"data_offsets\":[%zu,%zu]}",
             name.c_str(), f.dtype, tiles, rows, columns, body.size(), body.size() + data.size());
    header += text;
    body.insert(body.end(), data.begin(), data.end());
}

static void write(const char *path) {
    while ((header.size() + 1) % 8)
        header += ' ';
    header += '}';
    const uint64_t size = header.size();
    FILE *const file = fopen(path, "wb");
    if (!file || fwrite(&size, 1, 8, file) != 8 || fwrite(header.data(), 1, size, file) != size ||
        fwrite(body.data(), 1, body.size(), file) != body.size() || fclose(file)) {
        perror(path);
        exit(1);
    }
}

template <class T> static T *on_device(const std::vector<uint8_t> &data) {
    void *at;
    CHECK(cudaMalloc(&at, data.size()));
    CHECK(cudaMemcpy(at, data.data(), data.size(), cudaMemcpyHostToDevice));
    return (T *)at;
}

static void probe(int op, int kind, int tiles, int steps, int promote) {
    const int M = is_wgmma(op) ? 64 : 16;
    const format &in = ops[op].input, &out = ops[op].half ? fp16 : fp32;
    const int K = 32 * steps / in.bytes;
    const std::vector<uint8_t> a = fill(kind, in, tiles, (size_t)M * K, false);
    const std::vector<uint8_t> b = fill(kind, in, tiles, (size_t)8 * K, false);
    const std::vector<uint8_t> c = fill(kind, out, tiles, (size_t)M * 8, true);
    std::vector<uint8_t> d(c.size(), 0xa5);
    uint8_t *const da = on_device<uint8_t>(a), *const db = on_device<uint8_t>(b);
    uint32_t *const dc = on_device<uint32_t>(c), *const dd = on_device<uint32_t>(d);
    launch(op, tiles, steps, promote, da, db, dc, dd);
    CHECK(cudaMemcpy(d.data(), dd, d.size(), cudaMemcpyDeviceToHost));
    for (void *const memory : {(void *)da, (void *)db, (void *)dc, (void *)dd})
        CHECK(cudaFree(memory));
    std::string name = ops[op].name;
    if (steps > 1)
        name += ".k" + std::to_string(K);
    if (promote)
        name += ".p" + std::to_string(32 * promote / in.bytes);
    name += std::string(".") + classes[kind];
    put(name + ".a", in, tiles, M, K, a);
    put(name + ".b", in, tiles, 8, K, b);
    put(name + ".c", out, tiles, M, 8, c);
    put(name + ".d", out, tiles, M, 8, d);
}

int main(int argc, char **argv) {
    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: probe_units FILE [TILES]\n");
        return 2;
    }
    const int most = argc == 3 ? atoi(argv[2]) : 24;
    cudaDeviceProp properties;
    CHECK(cudaGetDeviceProperties(&properties, 0));
    header = std::string("{\"__metadata__\":{\"device\":\"") + properties.name +
             "\",\"made_by\":\"probe_units.cu\"}";
    for (int op = 0; op < OPS; op++)
        for (int kind = 0; kind < CLASSES; kind++)
            probe(op, kind, is_wgmma(op) ? most : 3 * most, 1, 0);
    static const int chains[][2] = {{2, 2}, {4, 4}, {4, 2}, {4, 0}}; /* steps, promote */
    for (int op = WGMMA_E4M3; op <= WGMMA_E5M2; op++)
        for (int i = 0; i < 4; i++)
            for (int kind = RANGE; kind < CLASSES; kind += 2)
                probe(op, kind, most / 2 + 1, chains[i][0], chains[i][1]);
    for (int kind = RANGE; kind < CLASSES; kind += 2)
        probe(MMA_E4M3, kind, most, 2, 0);
    write(argv[1]);
    printf("%s, compute capability %d.%d: %zu bytes\n", properties.name, properties.major,
           properties.minor, body.size());
    return 0;
}
