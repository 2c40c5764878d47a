/* probe.cu - what the matrix units and the approximate functions of a GPU return, bit by bit.
 *
 *   nvcc -O2 -gencode=arch=compute_90a,code=sm_90a -o probe probe.cu   # another than Hopper:
 * -arch=native mkdir out && ./probe out && gzip -n out/binades.d8      # or ./probe out 2: two
 * tiles a set
 *
 * Writes, little-endian:
 *   DIR/units.safetensors   products, for `gka devices --fit`: each set
 *                    INSTRUCTION.INPUT[.f16|.short][.kK][.pP].CLASS holds, over its tiles,
 *                    a [tiles,M,K] and b [tiles,8,K] (n-major), c and d [tiles,M,8], and
 *                    d = c + a b^T is what the instruction computes, c inside it (units.cuh).
 *                    `.f16`: c and d are fp16. `.kK.pP`: a chain of wgmma over K that begins at
 *                    zero every P products; what it gives is added to c in binary32, as Triton
 *                    promotes FP8 sums. tf32 is the upper 19 bits of an F32.
 *   DIR/binades.d8   whole binades of the special function unit: for each run of binades.txt
 *                    its 2^23 results as differences of neighbouring encodings, one int8 each (the
 *                    first is 0); a run is refused when a difference does not fit.
 *   DIR/binades.txt  a line per run: function, first input encoding, first output encoding.
 *   DIR/samples.bin  random inputs over the whole range: for each function of samples.txt
 *                    uint32 x[n], (div: uint32 y[n],) uint32 out[n].
 *   DIR/samples.txt  a line per function: name, operands, n.
 * A fixed stream of random numbers (splitmix64) makes the inputs, so two runs can be compared.
 */
#include "units.cuh"

#include <string>
#include <vector>

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

/* ---- operands of products ------------------------------------------------------------------ */

static int bias_of(const format &f) {
    return (1 << (f.exponent_bits - 1)) - 1;
}

/* A number of exponent `center` and up to `spread` beside it; below the smallest exponent it is
 * subnormal, above the largest it is the largest. */
static uint32_t number(const format &f, int center, int spread, bool positive) {
    const int bias = bias_of(f), top = f.exponent_bits == 4 ? 15 : 2 * bias; /* e4m3 has no Inf */
    int field = center + (int)between(-spread, spread) + bias;
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
    return (sign << (f.exponent_bits + f.fraction_bits) | (uint32_t)field << f.fraction_bits |
            fraction)
           << f.unread_bits;
}

enum class_of_inputs { ANY, RANGE, NEAR, SUBNORMAL, FLOOR, LARGE, SPARSE, POSITIVE, CLASSES };
static const char *const classes[] = {"any",   "range", "near",   "subnormal",
                                      "floor", "large", "sparse", "positive"};

enum { LOWEST = -133 }; /* exponents of products about the smallest that a sum can show */

/* An element of an operand. Where an exponent has 8 bits, products reach the ends of binary32
 * before operands do: what matters is then the sum of two exponents. */
static uint32_t operand(int kind, const format &f, int tile, bool right) {
    const int bias = bias_of(f);
    const bool wide = f.exponent_bits == 8;
    switch (kind) {
    case ANY: return (uint32_t)draw() >> f.unread_bits << f.unread_bits;
    case RANGE: return number(f, 0, bias + f.fraction_bits, false);
    case NEAR: return number(f, 0, tile % 4, false);
    case SUBNORMAL: {
        const int left = -(tile * 7 % (bias + 8));
        return !wide ? number(f, 1 - bias, f.fraction_bits, false)
                     : number(f, right ? LOWEST - left + tile % 33 - 16 : left, 6, false);
    }
    case FLOOR: /* a product here and there */
        return draw() % 24 ? 0
               : wide      ? number(f, LOWEST / 2, 9, false)
                           : number(f, 1 - bias, 2, false);
    case LARGE: {
        const int left = 32 + tile * 5 % 95;
        return wide ? number(f, right ? 126 - left - tile % 3 : left, 2, tile % 2)
                    : number(f, bias, 1, tile % 2);
    }
    case SPARSE:
        if (draw() % 4) /* a signed zero */
            return (uint32_t)(draw() & 1) << (f.exponent_bits + f.fraction_bits + f.unread_bits);
        return number(f, 0, 5, false);
    default: return number(f, 0, 2, true);
    }
}

/* c, of fp16 or binary32, where the products of such operands are */
static uint32_t accumulator(int kind, const format &f, const format &input, int tile) {
    const int bias = bias_of(f);
    const bool wide = input.exponent_bits == 8;
    switch (kind) {
    case NEAR: return number(f, tile % 61 - 30, 4, false);
    case SUBNORMAL:
        return wide ? number(f, -130 + tile * 5 % 33 - 16, 4, false)
                    : number(f, tile % 2 ? -14 : -28, 8, false);
    case FLOOR: return number(f, f.bytes == 4 ? -126 - tile % 26 : -14 - tile % 11, 3, false);
    case LARGE: return number(f, bias - tile % 3, 1, tile % 2);
    case POSITIVE: return number(f, (int)between(-6, 6), 0, true);
    default: return operand(kind, f, tile, false);
    }
}

/* ---- products ------------------------------------------------------------------------------ */

static std::string header;
static std::vector<uint8_t> body;

static void add(const std::string &name, const format &f, int tiles, int rows, int columns,
                const std::vector<uint8_t> &data) {
    char text[512];
    snprintf(text, sizeof text,
             ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%d,%d,%d],\"data_offsets\":[%zu,%zu]}",
             name.c_str(), f.dtype, tiles, rows, columns, body.size(), body.size() + data.size());
    header += text;
    body.insert(body.end(), data.begin(), data.end());
}

template <class T> static T *on_device(const std::vector<uint8_t> &data) {
    void *at;
    CHECK(cudaMalloc(&at, data.size()));
    CHECK(cudaMemcpy(at, data.data(), data.size(), cudaMemcpyHostToDevice));
    return (T *)at;
}

/* One set: `tiles` tiles of chains of `steps` instructions, promoted every `promote` of them. */
static void products_of(int op, int kind, int tiles, int steps, int promote) {
    const unit &u = units[op];
    const format &in = *u.input, &out = u.half() ? of_fp16 : of_fp32;
    const int M = u.rows(), step = u.bytes() / in.bytes, K = step * steps;
    std::vector<uint8_t> data[4]; /* a, b, c, d */
    const int rows[4] = {M, 8, M, M}, columns[4] = {K, K, 8, 8};
    for (int part = 0; part < 4; part++) {
        const format &f = part < 2 ? in : out;
        const int count = rows[part] * columns[part];
        data[part].resize((size_t)tiles * count * f.bytes);
        for (int i = 0; i < tiles * count && part < 3; i++) {
            const uint32_t x = part < 2 ? operand(kind, in, i / count, part)
                                        : accumulator(kind, out, in, i / count);
            memcpy(&data[part][(size_t)i * f.bytes], &x, f.bytes); /* little-endian */
        }
    }
    uint8_t *const a = on_device<uint8_t>(data[0]), *const b = on_device<uint8_t>(data[1]);
    uint32_t *const c = on_device<uint32_t>(data[2]), *const d = on_device<uint32_t>(data[3]);
    launch(op, tiles, steps, promote, a, b, c, d);
    CHECK(cudaMemcpy(data[3].data(), d, data[3].size(), cudaMemcpyDeviceToHost));
    for (void *const memory : {(void *)a, (void *)b, (void *)c, (void *)d})
        CHECK(cudaFree(memory));
    std::string name = u.name;
    if (steps > 1)
        name += ".k" + std::to_string(K);
    if (promote)
        name += ".p" + std::to_string(step * promote);
    name += std::string(".") + classes[kind];
    for (int part = 0; part < 4; part++)
        add(name + "." + "abcd"[part], part < 2 ? in : out, tiles, rows[part], columns[part],
            data[part]);
}

static void products(const cudaDeviceProp &gpu, int most) {
    const int capability = gpu.major * 10 + gpu.minor;
    header =
        std::string("{\"__metadata__\":{\"device\":\"") + gpu.name + "\",\"made_by\":\"probe.cu\"}";
    for (int op = 0; op < OPS; op++)
        for (int kind = 0; kind < CLASSES && has_unit(capability, op); kind++)
            products_of(op, kind, units[op].wide() ? most : 3 * most, 1, 0);
    static const int chains[][2] = {{2, 2}, {4, 4}, {4, 2}, {4, 0}}; /* steps, promote */
    for (int op : {WGMMA_E4M3, WGMMA_E5M2, MMA_E4M3})
        for (int i = op == MMA_E4M3 ? 3 : 0; i < 4 && has_unit(capability, op); i++)
            for (int kind = RANGE; kind < CLASSES; kind += 2)
                products_of(op, kind, most / 2 + 1, chains[i][0], chains[i][1]);
    while ((header.size() + 1) % 8)
        header += ' ';
    header += '}';
    const uint64_t size = header.size();
    FILE *const file = create("units.safetensors");
    put(file, &size, 8);
    put(file, header.data(), size);
    put(file, body.data(), body.size());
    finish(file);
}

int main(int argc, char **argv) {
    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: probe DIRECTORY [TILES]\n");
        return 2;
    }
    directory = argv[1];
    cudaDeviceProp gpu;
    CHECK(cudaGetDeviceProperties(&gpu, 0));
    binades();
    samples();
    products(gpu, argc == 3 ? atoi(argv[2]) : 24);
    printf("%s, compute capability %d.%d: %zu bytes of products\n", gpu.name, gpu.major, gpu.minor,
           body.size());
    return 0;
}
