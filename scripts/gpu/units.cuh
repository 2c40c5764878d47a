/* units.cuh - the instructions of NVIDIA's matrix units, as one kernel: d = c + a b^T of tiles.
 *
 * probe.cu asks them for the products of random numbers, tests/cuda/products.cu for those of the
 * layer. `wgmma` is m64n8kK of Hopper, `mma` mma.sync m16n8kK; an instruction takes 32 bytes of a
 * row of a and b, the short ones of mma.sync 16. With -gencode=arch=compute_90a,code=sm_90a all of
 * them are there, with another -arch those that it has.
 */
#ifndef GKA_UNITS_CUH
#define GKA_UNITS_CUH

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define CHECK(call)                                                                                \
    do {                                                                                           \
        const cudaError_t error_ = (call);                                                         \
        if (error_ != cudaSuccess) {                                                               \
            fprintf(stderr, "%s, line %d: %s\n", __FILE__, __LINE__, cudaGetErrorString(error_));  \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* An element: sign, exponent, fraction, then bits that are not read. */
struct format {
    const char *dtype;
    int bytes, exponent_bits, fraction_bits, unread_bits;
};
static const format of_e4m3 = {"F8_E4M3", 1, 4, 3, 0}, of_e5m2 = {"F8_E5M2", 1, 5, 2, 0},
                    of_fp16 = {"F16", 2, 5, 10, 0}, of_bf16 = {"BF16", 2, 8, 7, 0},
                    of_tf32 = {"F32", 4, 8, 10, 13}, of_fp32 = {"F32", 4, 8, 23, 0};

/* What an instruction is to this file: its name in a probe file, its operands, how it is written
 * (below) with which types, and the compute capability from which it is there. */
#define GKA_UNITS(X)                                                                               \
    X(WGMMA_BF16, "wgmma.bf16", bf16, WGMMA32_16, "m64n8k16.f32.bf16.bf16", 90)                    \
    X(WGMMA_FP16, "wgmma.fp16", fp16, WGMMA32_16, "m64n8k16.f32.f16.f16", 90)                      \
    X(WGMMA_TF32, "wgmma.tf32", tf32, WGMMA32, "m64n8k8.f32.tf32.tf32", 90)                        \
    X(WGMMA_E4M3, "wgmma.e4m3", e4m3, WGMMA32, "m64n8k32.f32.e4m3.e4m3", 90)                       \
    X(WGMMA_E5M2, "wgmma.e5m2", e5m2, WGMMA32, "m64n8k32.f32.e5m2.e5m2", 90)                       \
    X(WGMMA_FP16_F16, "wgmma.fp16.f16", fp16, WGMMA16_16, "m64n8k16.f16.f16.f16", 90)              \
    X(WGMMA_E4M3_F16, "wgmma.e4m3.f16", e4m3, WGMMA16, "m64n8k32.f16.e4m3.e4m3", 90)               \
    X(WGMMA_E5M2_F16, "wgmma.e5m2.f16", e5m2, WGMMA16, "m64n8k32.f16.e5m2.e5m2", 90)               \
    X(MMA_BF16, "mma.bf16", bf16, MMA32, "m16n8k16.row.col.f32.bf16.bf16.f32", 80)                 \
    X(MMA_FP16, "mma.fp16", fp16, MMA32, "m16n8k16.row.col.f32.f16.f16.f32", 80)                   \
    X(MMA_TF32, "mma.tf32", tf32, MMA32, "m16n8k8.row.col.f32.tf32.tf32.f32", 80)                  \
    X(MMA_E4M3, "mma.e4m3", e4m3, MMA32, "m16n8k32.row.col.f32.e4m3.e4m3.f32", 89)                 \
    X(MMA_E5M2, "mma.e5m2", e5m2, MMA32, "m16n8k32.row.col.f32.e5m2.e5m2.f32", 89)                 \
    X(MMA_FP16_F16, "mma.fp16.f16", fp16, MMA16, "m16n8k16.row.col.f16.f16.f16.f16", 80)           \
    X(MMA_E4M3_F16, "mma.e4m3.f16", e4m3, MMA16, "m16n8k32.row.col.f16.e4m3.e4m3.f16", 89)         \
    X(MMA_E5M2_F16, "mma.e5m2.f16", e5m2, MMA16, "m16n8k32.row.col.f16.e5m2.e5m2.f16", 89)         \
    X(MMA_BF16_K8, "mma.bf16.short", bf16, MMA32_SHORT, "m16n8k8.row.col.f32.bf16.bf16.f32", 80)   \
    X(MMA_FP16_K8, "mma.fp16.short", fp16, MMA32_SHORT, "m16n8k8.row.col.f32.f16.f16.f32", 75)     \
    X(MMA_TF32_K4, "mma.tf32.short", tf32, MMA32_SHORT, "m16n8k4.row.col.f32.tf32.tf32.f32", 80)

/* wgmma or mma; the width of c and d; _16: of 16-bit operands, which say how b lies. */
enum form { WGMMA32, WGMMA32_16, WGMMA16, WGMMA16_16, MMA32, MMA16, MMA32_SHORT };

#define NAME_OF(op, name, input, form, types, since) op,
enum op { GKA_UNITS(NAME_OF) OPS };
#undef NAME_OF

struct unit {
    const char *name;
    const format *input;
    form form;
    int since;
    __host__ __device__ constexpr bool wide() const { return form <= WGMMA16_16; } /* wgmma */
    __host__ __device__ constexpr bool half() const {
        return form == WGMMA16 || form == WGMMA16_16 || form == MMA16;
    }
    __host__ __device__ constexpr int rows() const { return wide() ? 64 : 16; } /* of a tile */
    __host__ __device__ constexpr int bytes() const {
        return form == MMA32_SHORT ? 16 : 32;
    } /* of a row, at a time */
};

#define ROW(op, name, input, form, types, since) {name, &of_##input, form, since},
static constexpr unit units[OPS] = {GKA_UNITS(ROW)};
#undef ROW

/* ---- the instructions ---------------------------------------------------------------------- */

/* The accumulators of one thread are four floats f, or two registers d of two halves: with
 * g = lane / 4 and t = lane % 4, rows g and g + 8 of 16, columns 2 t and 2 t + 1. */
#define RUN_WGMMA32_(types, last)                                                                  \
    asm volatile("{.reg .pred p; setp.ne.b32 p, 1, 0; wgmma.mma_async.sync.aligned." types         \
                 " {%0,%1,%2,%3}, {%4,%5,%6,%7}, %8, p, 1, 1" last ";}"                            \
                 : "+f"(f[0]), "+f"(f[1]), "+f"(f[2]), "+f"(f[3])                                  \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(shared))
#define RUN_WGMMA16_(types, last)                                                                  \
    asm volatile("{.reg .pred p; setp.ne.b32 p, 1, 0; wgmma.mma_async.sync.aligned." types         \
                 " {%0,%1}, {%2,%3,%4,%5}, %6, p, 1, 1" last ";}"                                  \
                 : "+r"(d[0]), "+r"(d[1])                                                          \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(shared))
#define RUN_WGMMA32(types)    RUN_WGMMA32_(types, "")
#define RUN_WGMMA32_16(types) RUN_WGMMA32_(types, ", 0")
#define RUN_WGMMA16(types)    RUN_WGMMA16_(types, "")
#define RUN_WGMMA16_16(types) RUN_WGMMA16_(types, ", 0")
#define RUN_MMA32(types)                                                                           \
    asm volatile("mma.sync.aligned." types                                                         \
                 " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                          \
                 : "+f"(f[0]), "+f"(f[1]), "+f"(f[2]), "+f"(f[3])                                  \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
#define RUN_MMA16(types)                                                                           \
    asm volatile("mma.sync.aligned." types " {%0,%1}, {%2,%3,%4,%5}, {%6,%7}, {%0,%1};"            \
                 : "+r"(d[0]), "+r"(d[1])                                                          \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
#define RUN_MMA32_SHORT(types)                                                                     \
    asm volatile("mma.sync.aligned." types " {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"         \
                 : "+f"(f[0]), "+f"(f[1]), "+f"(f[2]), "+f"(f[3])                                  \
                 : "r"(a[0]), "r"(a[1]), "r"(b[0]))

/* Whether this architecture has an instruction; wgmma is there for sm_90a alone. */
static __device__ constexpr bool is_there(int op) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    return op < OPS;
#elif defined(__CUDA_ARCH__)
    return !units[op].wide() && units[op].since * 10 <= __CUDA_ARCH__;
#else
    return op < 0;
#endif
}

/* d += a b^T. b: the registers of mma, or the descriptor of wgmma's matrix in shared memory. */
template <int OP>
__device__ void multiply_add(uint32_t *d, const uint32_t *a, const uint32_t *b, uint64_t shared) {
    float *const f = (float *)d;
    if constexpr (units[OP].wide())
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#define RUN(op, name, input, form, types, since)                                                   \
    if constexpr (OP == op)                                                                        \
        RUN_##form(types);
    GKA_UNITS(RUN)
#undef RUN
    if constexpr (units[OP].wide()) {
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    }
}

/* The shared-memory matrix of wgmma: 8 columns of 32 bytes, as two core matrices of 8 x 16 bytes,
 * not swizzled; address and distances in units of 16 bytes. */
__device__ inline uint64_t descriptor(const void *shared) {
    const uint64_t at = (uint64_t)__cvta_generic_to_shared(shared) & 0x3ffff;
    return at >> 4 | (uint64_t)(128 >> 4) << 16 | (uint64_t)(256 >> 4) << 32;
}

/* One tile a block: rows of `steps` instructions. promote: steps after which the accumulator begins
 * anew at zero and what it was is added to the sum, in binary32; 0: c begins it. */
template <int OP>
__global__ void tile(int steps, int promote, const uint8_t *a_all, const uint8_t *b_all,
                     const uint32_t *c_all, uint32_t *d_all) {
    if constexpr (!is_there(OP)) {
        __trap(); /* compiled for another architecture than the GPU's */
    } else {
        constexpr bool half = units[OP].half();
        constexpr int M = units[OP].rows(), bytes = units[OP].bytes(), registers = half ? 2 : 4;
        const int row_bytes = bytes * steps, words = half ? M * 8 / 2 : M * 8;
        const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
        const uint8_t *const a = a_all + (size_t)blockIdx.x * M * row_bytes;
        const uint8_t *const b = b_all + (size_t)blockIdx.x * 8 * row_bytes;
        const uint32_t *const c = c_all + (size_t)blockIdx.x * words;
        uint32_t *const out = d_all + (size_t)blockIdx.x * words;
        __shared__ __align__(128) uint8_t packed[256];

        uint32_t sum[4] = {0, 0, 0, 0}, d[4];
        int where[4]; /* words of c and d */
        for (int i = 0; i < registers; i++) {
            const int row = warp * 16 + g + 8 * (half ? i : i / 2);
            where[i] = half ? row * 4 + t : row * 8 + 2 * t + i % 2;
            sum[i] = c[where[i]];
        }
        for (int i = 0; i < 4; i++)
            d[i] = promote ? 0 : sum[i];
        for (int s = 0; s < steps; s++) {
            uint32_t ra[4], rb[2];
            for (int i = 0; i < bytes / 8; i++)
                memcpy(&ra[i],
                       a + (warp * 16 + g + 8 * (i % 2)) * row_bytes + bytes * s + 16 * (i / 2) +
                           4 * t,
                       4);
            for (int i = 0; i < bytes / 16; i++)
                memcpy(&rb[i], b + g * row_bytes + bytes * s + 16 * i + 4 * t, 4);
            if constexpr (units[OP].wide()) {
                __syncthreads();
                for (int i = threadIdx.x; i < 256; i += blockDim.x)
                    packed[i % 32 / 16 * 128 + i / 32 * 16 + i % 16] =
                        b[i / 32 * row_bytes + 32 * s + i % 32];
                asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
                __syncthreads();
            }
            multiply_add<OP>(d, ra, rb, descriptor(packed));
            if (promote && ((s + 1) % promote == 0 || s + 1 == steps))
                for (int i = 0; i < 4; i++) {
                    sum[i] =
                        __float_as_uint(__fadd_rn(__uint_as_float(sum[i]), __uint_as_float(d[i])));
                    d[i] = 0;
                }
        }
        for (int i = 0; i < registers; i++)
            out[where[i]] = promote ? sum[i] : d[i];
    }
}

/* d = c + a b^T of `tiles` tiles: a [tiles,rows,K], b [tiles,8,K], c and d [tiles,rows,8], all on
 * the device; K is `steps` instructions. */
static void launch(int op, int tiles, int steps, int promote, const uint8_t *a, const uint8_t *b,
                   const uint32_t *c, uint32_t *d) {
    switch (op) {
#define CASE(op, name, input, form, types, since)                                                  \
    case op: tile<op><<<tiles, units[op].wide() ? 128 : 32>>>(steps, promote, a, b, c, d); break;
        GKA_UNITS(CASE)
#undef CASE
    }
    CHECK(cudaGetLastError());
}

/* Whether a GPU of this compute capability (major * 10 + minor) runs an instruction. */
static inline bool has_unit(int capability, int op) {
    return units[op].wide() ? capability == 90 : capability >= units[op].since;
}

#endif
