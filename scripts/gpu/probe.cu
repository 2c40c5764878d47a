/* probe.cu - what the approximate functions and the tensor core of a GPU return, bit by bit.
 *
 *   nvcc -O2 -arch=sm_90 -o probe probe.cu && ./probe DIR && gzip -n DIR/binades.d8
 *
 * Writes, little-endian:
 *   DIR/binades.d8   whole binades of the special function unit: for each run of binades.txt
 *                    its 2^23 results as differences of neighbouring encodings, one int8 each (the
 *                    first is 0); a run is refused when a difference does not fit.
 *   DIR/binades.txt  a line per run: function, first input encoding, first output encoding.
 *   DIR/samples.bin  random inputs over the whole range: for each function of samples.txt
 *                    uint32 x[n], (div: uint32 y[n],) uint32 out[n].
 *   DIR/samples.txt  a line per function: name, operands, n.
 *   DIR/mma.bin      mma.sync D = A B + C: for each line of mma.txt, tiles of
 *                    A[16][K] B[K][8] (uint16, tf32: uint32) C[16][8] D[16][8] (uint32).
 *   DIR/mma.txt      a line per set: type, K, class of inputs, tiles, offset in bytes.
 * A fixed stream of random numbers (splitmix64) makes the inputs, so two runs can be compared.
 */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#define CHECK(call)                                                                                \
    do {                                                                                           \
        const cudaError_t error_ = (call);                                                         \
        if (error_ != cudaSuccess) {                                                               \
            fprintf(stderr, "probe: line %d: %s\n", __LINE__, cudaGetErrorString(error_));         \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* ---- the functions ------------------------------------------------------------------------- */

enum function { EX2_FTZ, EX2, RCP, SQRT, RSQRT, DIV };
static const char *const names[] = {"ex2.approx.ftz.f32",   "ex2.approx.f32",
                                    "rcp.approx.ftz.f32",   "sqrt.approx.ftz.f32",
                                    "rsqrt.approx.ftz.f32", "div.full.f32"};

__device__ uint32_t apply(int f, uint32_t x, uint32_t y) {
    float a = __uint_as_float(x), b = __uint_as_float(y), o = 0;
    switch (f) {
    case EX2_FTZ: asm volatile("ex2.approx.ftz.f32 %0, %1;" : "=f"(o) : "f"(a)); break;
    case EX2: asm volatile("ex2.approx.f32 %0, %1;" : "=f"(o) : "f"(a)); break;
    case RCP: asm volatile("rcp.approx.ftz.f32 %0, %1;" : "=f"(o) : "f"(a)); break;
    case SQRT: asm volatile("sqrt.approx.ftz.f32 %0, %1;" : "=f"(o) : "f"(a)); break;
    case RSQRT: asm volatile("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(o) : "f"(a)); break;
    case DIV: asm volatile("div.full.f32 %0, %1, %2;" : "=f"(o) : "f"(a), "f"(b)); break;
    }
    return __float_as_uint(o);
}

/* x = NULL: the encodings first, first + 1, ... */
__global__ void apply_all(int f, uint32_t first, const uint32_t *x, const uint32_t *y,
                          uint32_t *out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        out[i] = apply(f, x ? x[i] : first + (uint32_t)i, y ? y[i] : 0);
}

/* ---- files --------------------------------------------------------------------------------- */

static const char *directory;

static FILE *create(const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *const file = fopen(path, "wb");
    if (!file) {
        perror(path);
        exit(1);
    }
    return file;
}

static void put(FILE *file, const void *data, size_t size) {
    if (fwrite(data, 1, size, file) != size) {
        perror("probe: write");
        exit(1);
    }
}

static void finish(FILE *file) {
    if (fclose(file)) {
        perror("probe: close");
        exit(1);
    }
}

static uint64_t state = 1;
static uint64_t draw() { /* splitmix64 */
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static uint32_t below(uint32_t n) {
    return (uint32_t)((draw() >> 32) * n >> 32);
}
static uint32_t between(int low, int high) {
    return (uint32_t)(low + (int)below((uint32_t)(high - low + 1)));
}

/* ---- whole binades ------------------------------------------------------------------------- */

static void binades() {
    static const struct {
        int f;
        uint32_t first;
    } runs[] = {
        {EX2_FTZ, 0x3f800000}, /* [1, 2) */
        {EX2_FTZ, 0x3f000000}, /* [1/2, 1) */
        {EX2_FTZ, 0xbf800000}, /* (-2, -1] */
        {EX2_FTZ, 0xbf000000}, /* (-1, -1/2] */
        {RCP, 0x3f800000},     /* [1, 2) */
        {SQRT, 0x3f800000},    /* [1, 2) */
        {SQRT, 0x40000000},    /* [2, 4) */
        {RSQRT, 0x3f800000},   {RSQRT, 0x40000000},
    };
    const int n = 1 << 23;
    FILE *const text = create("binades.txt"), *const file = create("binades.d8");
    uint32_t *device;
    CHECK(cudaMalloc(&device, n * 4));
    std::vector<uint32_t> out(n);
    std::vector<int8_t> delta(n);
    for (const auto &run : runs) {
        apply_all<<<n / 256, 256>>>(run.f, run.first, NULL, NULL, device, n);
        CHECK(cudaGetLastError());
        CHECK(cudaMemcpy(out.data(), device, n * 4, cudaMemcpyDeviceToHost));
        for (int i = 1; i < n; i++) {
            const int64_t d = (int64_t)out[i] - (int64_t)out[i - 1];
            if (d < -128 || d > 127) {
                fprintf(stderr, "probe: %s at %08x: a step of %lld\n", names[run.f],
                        run.first + (uint32_t)i, (long long)d);
                exit(1);
            }
            delta[i] = (int8_t)d;
        }
        delta[0] = 0;
        fprintf(text, "%s %08x %08x\n", names[run.f], run.first, out[0]);
        put(file, delta.data(), n);
    }
    CHECK(cudaFree(device));
    finish(text);
    finish(file);
}

/* ---- samples over the whole range ---------------------------------------------------------- */

/* A binary32 with a uniform exponent in [low, high] (of 2), random sign and fraction. */
static uint32_t magnitude(int low, int high) {
    return (uint32_t)(draw() & 0x807fffff) | (between(low, high) + 127) << 23;
}

static void samples() {
    const int n = 1 << 17;
    FILE *const text = create("samples.txt"), *const file = create("samples.bin");
    uint32_t *device;
    CHECK(cudaMalloc(&device, 3 * n * 4));
    std::vector<uint32_t> x(n), y(n), out(n);
    for (int f = EX2_FTZ; f <= DIV; f++) {
        for (int i = 0; i < n; i++) {
            y[i] = 0;
            if (i < 64) { /* specials */
                static const uint32_t special[] = {0,          0x80000000, 0x7f800000, 0xff800000,
                                                   0x7fc00000, 0x7f800001, 1,          0x80000001,
                                                   0x7fffff,   0x807fffff, 0x800000,   0x80800000,
                                                   0x7f7fffff, 0xff7fffff, 0x3f800000, 0xbf800000};
                x[i] = special[i % 16];
                y[i] = special[(i * 5 + i / 16) % 16];
            } else if (i % 4 == 0) { /* any bits */
                x[i] = (uint32_t)draw();
                y[i] = (uint32_t)draw();
            } else if (f <= EX2) { /* every magnitude that matters, denser near underflow */
                x[i] = i % 4 == 1 ? magnitude(-30, 7) : 0xc2e00000 + below(0x00500000);
            } else if (f < DIV) {
                x[i] = magnitude(-126, 127) & 0x7fffffff;
            } else if (i % 4 == 1) {
                x[i] = magnitude(-126, 127);
                y[i] = magnitude(-126, 127);
            } else { /* as the solver divides: 2/y, f/y with y near f, 1/y */
                y[i] = magnitude(-20, 20) & 0x7fffffff;
                float value, ratio = 1.0f / (1.0f + (float)below(1 << 20) * 0x1p-21f);
                memcpy(&value, &y[i], 4);
                value *= ratio;
                memcpy(&x[i], &value, 4);
                if (i % 8 == 2)
                    x[i] = 0x40000000;
                if (i % 8 == 6)
                    x[i] = 0x3f800000;
            }
        }
        CHECK(cudaMemcpy(device, x.data(), n * 4, cudaMemcpyHostToDevice));
        CHECK(cudaMemcpy(device + n, y.data(), n * 4, cudaMemcpyHostToDevice));
        apply_all<<<n / 256, 256>>>(f, 0, device, device + n, device + 2 * n, n);
        CHECK(cudaGetLastError());
        CHECK(cudaMemcpy(out.data(), device + 2 * n, n * 4, cudaMemcpyDeviceToHost));
        fprintf(text, "%s %d %d\n", names[f], f == DIV ? 2 : 1, n);
        put(file, x.data(), n * 4);
        if (f == DIV)
            put(file, y.data(), n * 4);
        put(file, out.data(), n * 4);
    }
    CHECK(cudaFree(device));
    finish(text);
    finish(file);
}

/* ---- tensor core --------------------------------------------------------------------------- */

enum type { BF16_K16, BF16_K8, FP16_K16, FP16_K8, TF32_K8, TF32_K4, TYPES };
static const struct {
    const char *name;
    int K, bytes, exponent_bits, fraction_bits; /* tf32: the upper 19 bits of a word */
} types[] = {{"bf16", 16, 2, 8, 7}, {"bf16", 8, 2, 8, 7},  {"fp16", 16, 2, 5, 10},
             {"fp16", 8, 2, 5, 10}, {"tf32", 8, 4, 8, 10}, {"tf32", 4, 4, 8, 10}};

/* One warp, one tile. Fragments of mma.m16n8kK (PTX ISA, "Matrix fragments"): with g = lane / 4,
 * t = lane % 4, a 32-bit register holds w = 4 / bytes neighbours along k. Rows g and g + 8 of A. */
template <int K, int BYTES>
__device__ void load(const uint8_t *a, const uint8_t *b, uint32_t *ra, uint32_t *rb) {
    const int g = threadIdx.x / 4, t = threadIdx.x % 4, w = 4 / BYTES;
    const int halves = K / (4 * w); /* registers along k: 1 or 2 */
    for (int h = 0; h < halves; h++)
        for (int r = 0; r < 2; r++) {
            uint32_t word = 0;
            for (int i = 0; i < w; i++) {
                const int k = h * 4 * w + t * w + i;
                uint32_t element = 0;
                memcpy(&element, a + ((g + 8 * r) * K + k) * BYTES, BYTES);
                word |= element << (i * 8 * BYTES % 32);
            }
            ra[h * 2 + r] = word;
        }
    for (int h = 0; h < halves; h++) {
        uint32_t word = 0;
        for (int i = 0; i < w; i++) {
            const int k = h * 4 * w + t * w + i;
            uint32_t element = 0;
            memcpy(&element, b + (k * 8 + g) * BYTES, BYTES);
            word |= element << (i * 8 * BYTES % 32);
        }
        rb[h] = word;
    }
}

#define MMA_LONG(shape)                                                                            \
    asm volatile("mma.sync.aligned." shape " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "              \
                 "{%0,%1,%2,%3};"                                                                  \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                  \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
#define MMA_SHORT(shape)                                                                           \
    asm volatile("mma.sync.aligned." shape " {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"         \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                  \
                 : "r"(a[0]), "r"(a[1]), "r"(b[0]))

template <int TYPE, int K, int BYTES> __global__ void mma(uint8_t *tiles, int tile_bytes) {
    uint8_t *const base = tiles + (size_t)blockIdx.x * tile_bytes;
    uint32_t a[4], b[2];
    load<K, BYTES>(base, base + 16 * K * BYTES, a, b);
    float *const c = (float *)(base + 24 * K * BYTES), *const out = c + 128;
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    float d[4] = {c[g * 8 + 2 * t], c[g * 8 + 2 * t + 1], c[(g + 8) * 8 + 2 * t],
                  c[(g + 8) * 8 + 2 * t + 1]};
    if (TYPE == BF16_K16)
        MMA_LONG("m16n8k16.row.col.f32.bf16.bf16.f32");
    if (TYPE == BF16_K8)
        MMA_SHORT("m16n8k8.row.col.f32.bf16.bf16.f32");
    if (TYPE == FP16_K16)
        MMA_LONG("m16n8k16.row.col.f32.f16.f16.f32");
    if (TYPE == FP16_K8)
        MMA_SHORT("m16n8k8.row.col.f32.f16.f16.f32");
    if (TYPE == TF32_K8)
        MMA_LONG("m16n8k8.row.col.f32.tf32.tf32.f32");
    if (TYPE == TF32_K4)
        MMA_SHORT("m16n8k4.row.col.f32.tf32.tf32.f32");
    out[g * 8 + 2 * t] = d[0];
    out[g * 8 + 2 * t + 1] = d[1];
    out[(g + 8) * 8 + 2 * t] = d[2];
    out[(g + 8) * 8 + 2 * t + 1] = d[3];
}

enum class_of_inputs { ANY_BITS, WHOLE_RANGE, NEAR, TINY, HUGE_VALUES, SPARSE, CLASSES };
static const char *const classes[] = {"any", "range", "near", "tiny", "huge", "sparse"};

/* The encoding of a random operand whose exponent lies about `center`, within `spread`. */
static uint32_t operand(int type, int center, int spread) {
    const int bits = types[type].exponent_bits, fraction = types[type].fraction_bits;
    const int bias = (1 << (bits - 1)) - 1;
    int field = center + (int)between(-spread, spread) + bias;
    field = field < 0 ? 0 : field > 2 * bias ? 2 * bias : field;
    const uint32_t r = (uint32_t)draw();
    uint32_t x =
        (r >> 31) << (bits + fraction) | (uint32_t)field << fraction | (r & ((1u << fraction) - 1));
    if (r >> 24 & 1) /* few significant bits, so that cancellations are exact */
        x &= ~((1u << (fraction - 2)) - 1);
    return type >= TF32_K8 ? x << 13 : x;
}

static void fill_tile(int type, int kind, int tile, uint8_t *out) {
    const int K = types[type].K, bytes = types[type].bytes;
    const int bias = (1 << (types[type].exponent_bits - 1)) - 1;
    static const int scales[CLASSES][3] = {/* centers of a and b relative to the bias, spread */
                                           {0, 0, 0},  {0, 0, 999}, {0, 0, 3},
                                           {-1, 0, 0}, {1, 0, 0},   {0, 0, 9}};
    int a_center = 0, b_center = 0, spread = scales[kind][2], c_center = 0, c_spread = 4;
    if (kind == WHOLE_RANGE)
        spread = bias, c_spread = 126;
    if (kind == NEAR) { /* tile by tile another distance of c */
        spread = tile % 4 * 2;
        c_center = tile % 61 - 30;
    }
    if (kind == TINY) { /* sums about the smallest exponents */
        a_center = -(int)below((uint32_t)bias + 8);
        b_center = (bias < 127 ? -bias : -133 - a_center) + (int)between(-16, 16);
        c_center = (bias < 127 ? a_center + b_center : -130) + (int)between(-16, 16);
        spread = 6;
    }
    if (kind == HUGE_VALUES) {
        a_center = (int)between(bias / 4, bias);
        b_center = (bias < 127 ? bias : 126 - a_center) - (int)below(3);
        c_center = bias < 127 ? 127 - (int)below(2) : 126;
        spread = c_spread = 2;
    }
    for (int i = 0; i < 24 * K; i++) {
        uint32_t x = operand(type, i < 16 * K ? a_center : b_center, spread);
        if (kind == ANY_BITS)
            x = (uint32_t)draw() & (bytes == 2 ? 0xffff : 0xffffe000);
        if (kind == SPARSE && draw() % 4)
            x &= bytes == 2 ? 0x8000 : 0x80000000; /* a signed zero */
        if (bytes == 2)
            memcpy(out + 2 * i, &x, 2);
        else
            memcpy(out + 4 * i, &x, 4);
    }
    for (int i = 0; i < 128; i++) {
        int field = c_center + (int)between(-c_spread, c_spread) + 127;
        field = field < 0 ? 0 : field > 254 ? 254 : field;
        uint32_t x = (uint32_t)(draw() & 0x807fffff) | (uint32_t)field << 23;
        if (kind == ANY_BITS)
            x = (uint32_t)draw();
        if (kind == SPARSE && draw() % 2)
            x &= 0x80000000;
        if (i % 8 == 7)
            x = kind == SPARSE ? 0x80000000 : 0;
        memcpy(out + 24 * K * bytes + 4 * i, &x, 4);
    }
}

static void launch(int type, uint8_t *tiles, int count, int tile_bytes) {
    switch (type) {
    case BF16_K16: mma<BF16_K16, 16, 2><<<count, 32>>>(tiles, tile_bytes); break;
    case BF16_K8: mma<BF16_K8, 8, 2><<<count, 32>>>(tiles, tile_bytes); break;
    case FP16_K16: mma<FP16_K16, 16, 2><<<count, 32>>>(tiles, tile_bytes); break;
    case FP16_K8: mma<FP16_K8, 8, 2><<<count, 32>>>(tiles, tile_bytes); break;
    case TF32_K8: mma<TF32_K8, 8, 4><<<count, 32>>>(tiles, tile_bytes); break;
    case TF32_K4: mma<TF32_K4, 4, 4><<<count, 32>>>(tiles, tile_bytes); break;
    }
    CHECK(cudaGetLastError());
}

static void products() {
    const int count = 256;
    FILE *const text = create("mma.txt"), *const file = create("mma.bin");
    size_t offset = 0;
    for (int type = 0; type < TYPES; type++) {
        const int tile_bytes = 24 * types[type].K * types[type].bytes + 1024;
        std::vector<uint8_t> tiles((size_t)count * tile_bytes);
        uint8_t *device;
        CHECK(cudaMalloc(&device, tiles.size()));
        for (int kind = 0; kind < CLASSES; kind++) {
            for (int i = 0; i < count; i++)
                fill_tile(type, kind, i, &tiles[(size_t)i * tile_bytes]);
            CHECK(cudaMemcpy(device, tiles.data(), tiles.size(), cudaMemcpyHostToDevice));
            launch(type, device, count, tile_bytes);
            CHECK(cudaMemcpy(tiles.data(), device, tiles.size(), cudaMemcpyDeviceToHost));
            fprintf(text, "%s %d %s %d %zu\n", types[type].name, types[type].K, classes[kind],
                    count, offset);
            put(file, tiles.data(), tiles.size());
            offset += tiles.size();
        }
        CHECK(cudaFree(device));
    }
    finish(text);
    finish(file);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: probe DIRECTORY\n");
        return 2;
    }
    directory = argv[1];
    binades();
    samples();
    products();
    cudaDeviceProp properties;
    CHECK(cudaGetDeviceProperties(&properties, 0));
    printf("%s, compute capability %d.%d\n", properties.name, properties.major, properties.minor);
    return 0;
}
