/* hopper.cu - the solve of forward.cu for compute capability 9.0, by warpgroup products.
 *
 * The same rules, so the same bits (wgmma adds 16 products to an accumulator as mma.sync does,
 * NUMERICS 6). What differs is where things live: one warpgroup owns the 64 tokens of a chunk, warp
 * w the rows 16 w .. 16 w + 15. H_0 and K stay in shared memory; d, r and x stay in registers, for
 * the fragment in which a product arrives is, rounded to bf16, the fragment in which the next one
 * takes its left operand. So an iteration writes no shared memory and waits for no other warp.
 *
 * Built where compute capability 9.0 is (-DGKA_CUDA_HOPPER=OFF: not). Two-term, D = 128: 255
 * registers, nothing spilled in the iteration.
 *
 * Registers of a thread, D = 128: r 64, x 64, d 32, the scores 16, one half of H d 32, the new d of
 * the first half 16.
 */
#include "cuda/kernels.cuh"
#include "cuda/norm.cuh"
#include "cuda/tile.cuh"

#include "arith/pinned.h"

namespace gka {
namespace GKA_CUDA_ELEMENTS {

namespace hopper {

constexpr int THREADS = 128; /* one warpgroup */

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/* ---- warpgroup products -------------------------------------------------------------------- */

/* Where a warpgroup's product finds B [16,64]: the 128-byte swizzle, 1024 bytes from one group of
 * eight rows to the next. The low half of that description for a tile, and the whole of it `offset`
 * bytes further on. */
__device__ __forceinline__ uint32_t place_of(const element *data) {
    const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(data));
    return __shfl_sync(~0u, (address & 0x3ffff) >> 4 | uint32_t{1} << 16, 0);
}
__device__ __forceinline__ uint64_t place_at(uint32_t tile, int offset) {
    return static_cast<uint64_t>(tile + offset / 16) | uint64_t{64} << 32 | uint64_t{1} << 62;
}

__device__ __forceinline__ void begin_products() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void end_products() {
    asm volatile("wgmma.commit_group.sync.aligned;\n"
                 "wgmma.wait_group.sync.aligned 0;" ::
                     : "memory");
}
/* Shared memory written by this thread can be read by the matrix unit, after a barrier. */
__device__ __forceinline__ void publish() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* c[64,64] += a[64,16] b[16,64]; TRANSPOSED: b's rows lie in memory along its 64 columns. */
template <bool TRANSPOSED>
__device__ __forceinline__ void product(float (&c)[8][4], const uint32_t (&a)[4], uint64_t b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32." GKA_CUDA_TYPE "." GKA_CUDA_TYPE " "
                 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
                 "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, "
                 "{%32,%33,%34,%35}, %36, 1, 1, 1, %37;"
                 : "+f"(c[0][0]), "+f"(c[0][1]), "+f"(c[0][2]), "+f"(c[0][3]), "+f"(c[1][0]),
                   "+f"(c[1][1]), "+f"(c[1][2]), "+f"(c[1][3]), "+f"(c[2][0]), "+f"(c[2][1]),
                   "+f"(c[2][2]), "+f"(c[2][3]), "+f"(c[3][0]), "+f"(c[3][1]), "+f"(c[3][2]),
                   "+f"(c[3][3]), "+f"(c[4][0]), "+f"(c[4][1]), "+f"(c[4][2]), "+f"(c[4][3]),
                   "+f"(c[5][0]), "+f"(c[5][1]), "+f"(c[5][2]), "+f"(c[5][3]), "+f"(c[6][0]),
                   "+f"(c[6][1]), "+f"(c[6][2]), "+f"(c[6][3]), "+f"(c[7][0]), "+f"(c[7][1]),
                   "+f"(c[7][2]), "+f"(c[7][3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(TRANSPOSED ? 1 : 0));
}

/* A left operand [64, 16 STEPS] in registers. */
template <int STEPS> struct Left {
    uint32_t step[STEPS][4];
    /* Two neighbours of 8-column tile n, row half. */
    __device__ __forceinline__ uint32_t &pair(int n, int half) {
        return step[n >> 1][(n & 1) * 2 + half];
    }
    __device__ __forceinline__ uint32_t pair(int n, int half) const {
        return step[n >> 1][(n & 1) * 2 + half];
    }
};

__device__ __forceinline__ uint32_t pack(float x, float y) {
    const element2 both = to_elements(x, y);
    return *reinterpret_cast<const uint32_t *>(&both);
}

/* c += y K^T, all 64 keys. */
template <int D>
__device__ __forceinline__ void add_scores(float (&c)[8][4], const Left<D / 16> &y, uint32_t k) {
    begin_products();
#pragma unroll
    for (int i = 0; i < D / 16; i++)
        product<false>(c, y.step[i], place_at(k, (i / 4) * (CHUNK * 128) + (i % 4) * 32));
    end_products();
}

/* c += y right, columns 64 half .. 64 half + 63 of right [16 STEPS, .], which has ROWS rows. */
template <int STEPS, int ROWS>
__device__ __forceinline__ void add_product(float (&c)[8][4], const Left<STEPS> &y, uint32_t right,
                                            int half) {
    begin_products();
#pragma unroll
    for (int i = 0; i < STEPS; i++)
        product<true>(c, y.step[i], place_at(right, half * (ROWS * 128) + i * (16 * 128)));
    end_products();
}

__device__ __forceinline__ void clear(float (&c)[8][4]) {
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            c[n][e] = 0.0f;
}

/* The tiles that products read, as place_of gives them. */
struct Places {
    uint32_t state, k;
};

/* ---- a chunk ------------------------------------------------------------------------------- */

template <int D> struct Shared {
    element state[D * D]; /* H_0, then U_0 */
    element k[CHUNK * D]; /* K, then V */
    element q[CHUNK * D]; /* q; then x and o on their way out */
    element
        scratch[CHUNK * 128]; /* K K^T in binary32; with q's place, accurately, U_0's high part */
    float mask[CHUNK * MASK]; /* M */
    float partial[4][CHUNK];  /* k_t^T H_0 k_t by column group */
    float eg[CHUNK], z[CHUNK], fro[CHUNK], warp_sum[8];
};

/* ||H_0||^2, each thread for two of forward.cu's 256. */
template <int D> __device__ __forceinline__ void add_squares(Shared<D> &m, Panels<D, D> state) {
    constexpr int SHARE = D * D / 256;
    float sum[2] = {0.0f, 0.0f};
#pragma unroll
    for (int i = 0; i < SHARE; i += 8)
#pragma unroll
        for (int turn = 0; turn < 2; turn++) {
            const int at = (threadIdx.x + turn * THREADS) * SHARE + i;
            const uint4 eight = *reinterpret_cast<const uint4 *>(state.at(at / D, at % D));
            const uint32_t pairs[4] = {eight.x, eight.y, eight.z, eight.w};
#pragma unroll
            for (int n = 0; n < 4; n++) {
                const float2 h = unpack(pairs[n]);
                sum[turn] = fmaf(h.x, h.x, sum[turn]);
                sum[turn] = fmaf(h.y, h.y, sum[turn]);
            }
        }
#pragma unroll
    for (int turn = 0; turn < 2; turn++) {
        for (int offset = 1; offset < 32; offset *= 2)
            sum[turn] = sum[turn] + __shfl_xor_sync(~0u, sum[turn], offset);
        if ((threadIdx.x & 31) == 0)
            m.warp_sum[turn * 4 + (threadIdx.x >> 5)] = sum[turn];
    }
}

/* RULE as in forward.cu: f of the 64 tokens. */
template <int D>
__device__ void norm(Shared<D> &m, Panels<D, D> state, Panels<CHUNK, D> tk, Places at, int warp) {
    constexpr int NT = D / 32; /* 8-column tiles of a column group */
    const int lane = threadIdx.x & 31, matrix = lane >> 3, line = lane & 7, row0 = warp * 16;
    add_squares<D>(m, state);
    Left<D / 16> k;
#pragma unroll
    for (int i = 0; i < D / 16; i++)
        ldmatrix(k.step[i], tk.at(row0 + (matrix & 1) * 8 + line, i * 16 + (matrix >> 1) * 8));
    float *const gram = reinterpret_cast<float *>(m.scratch);
    float c[8][4];
    clear(c);
    add_scores<D>(c, k, at.k);
    for (int n = 0; n < 8; n++)
        for (int e = 0; e < 4; e++)
            gram[gram_at(row0 + fragment_row(e), n * 8 + fragment_col(e))] = c[n][e];
#pragma unroll
    for (int part = 0; part < D / 64; part++) {
        clear(c);
        add_product<D / 16, D>(c, k, at.state, part);
#pragma unroll
        for (int n = 0; n < 8; n += NT)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float p = 0.0f;
#pragma unroll
                for (int i = n; i < n + NT; i++) {
                    const float2 key = unpack(k.pair(part * 8 + i, half));
                    p = fmaf(c[i][2 * half], key.x, p);
                    p = fmaf(c[i][2 * half + 1], key.y, p);
                }
                p = p + __shfl_xor_sync(~0u, p, 1);
                p = p + __shfl_xor_sync(~0u, p, 2);
                if ((lane & 3) == 0)
                    m.partial[(part * 8 + n) / NT][row0 + fragment_row(2 * half)] = p;
            }
    }
    __syncthreads();

    norm_rows(m, gram);
}

/* bf16(c . M), the left operand of the product with K or V. A warp's rows see no token after their
 * last one. */
template <int D>
__device__ __forceinline__ void mask_scores(const Shared<D> &m, const float (&c)[8][4], int row0,
                                            Left<4> &score) {
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const float2 mask = *reinterpret_cast<const float2 *>(
                &m.mask[(row0 + fragment_row(2 * half)) * MASK + n * 8 + fragment_col(0)]);
            score.pair(n, half) = pack(c[n][2 * half] * mask.x, c[n][2 * half + 1] * mask.y);
        }
}

/* The scalars of a thread's two rows, as RowScalars of forward.cu; two-term: sum is 2 sigma. */
struct Rows {
    float lambda[2], theta[2], weight[2], scale[2], sum[2], eg[2];
};

template <int D, Form FORM>
__device__ __forceinline__ void start_rows(const Shared<D> &m, int row0, float ridge_ratio,
                                           Rows &rows) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = row0 + fragment_row(2 * half);
        const float f = m.fro[row];
        rows.eg[half] = m.eg[row];
        rows.lambda[half] = ridge_ratio * f;
        if (FORM == Form::TwoTerm) {
            const float delta = 0.5f * f;
            rows.theta[half] = rows.lambda[half] + delta;
            rows.weight[half] = delta / rows.theta[half];
            rows.scale[half] = 1.0f / delta;
            rows.sum[half] = 2.0f * (rows.theta[half] * rows.scale[half]);
        } else {
            const float span = fmaf(2.0f, rows.lambda[half], f), rho = f / span * 0.5f;
            rows.theta[half] = 2.0f / span;
            rows.weight[half] = 2.0f;
            rows.scale[half] = rho * rho;
        }
    }
}

/* r (two-term) or x_prev, x and the first operand, from q in the scratch tile or from rhs. */
template <int D, Form FORM>
__device__ __forceinline__ void
start_solve(const Rows &rows, Panels<CHUNK, D> q_tile, const float *rhs, int64_t stride, int inside,
            int row0, float (&r)[D / 8][4], float (&x)[D / 8][4], Left<D / 16> &y) {
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = row0 + fragment_row(2 * half), col = n * 8 + fragment_col(0),
                      e = 2 * half;
            float2 q = make_float2(0.0f, 0.0f);
            if (rhs == nullptr)
                q = to_floats(*q_tile.pair(row, col));
            else if (row < inside)
                q = *reinterpret_cast<const float2 *>(rhs + row * stride + col);
            if (!(rows.lambda[half] > 0.0f)) {
                r[n][e] = r[n][e + 1] = x[n][e] = x[n][e + 1] = 0.0f;
                y.pair(n, half) = pack(0.0f, 0.0f);
            } else if (FORM == Form::TwoTerm) {
                y.pair(n, half) = pack(q.x / rows.theta[half], q.y / rows.theta[half]);
                const float2 d = unpack(y.pair(n, half));
                r[n][e] = q.x;
                r[n][e + 1] = q.y;
                x[n][e] = d.x;
                x[n][e + 1] = d.y;
            } else {
                r[n][e] = r[n][e + 1] = 0.0f;
                x[n][e] = rows.theta[half] * q.x;
                x[n][e + 1] = rows.theta[half] * q.y;
                y.pair(n, half) = pack(x[n][e], x[n][e + 1]);
            }
        }
}

/* What a step needs of a row beside its elements. */
struct Step {
    float first, second; /* two-term: tau' tau, 2 tau' / delta; three-term: step omega, omega - 1 */
    float omega;
};

template <Form FORM> __device__ __forceinline__ Step next_step(Rows &rows, int half) {
    Step step;
    if (FORM == Form::TwoTerm) {
        const float tau = rows.weight[half], next = 1.0f / (rows.sum[half] - tau);
        step.first = next * tau;
        step.second = (2.0f * next) * rows.scale[half];
        step.omega = 0.0f;
        rows.weight[half] = next;
    } else {
        step.omega = 1.0f / fmaf(-rows.scale[half], rows.weight[half], 1.0f);
        step.first = rows.theta[half] * step.omega;
        step.second = step.omega - 1.0f;
        rows.weight[half] = step.omega;
    }
    return step;
}

/* RULE of forward.cu for two neighbours; c: H y there. Returns the new operand. */
template <Form FORM>
__device__ __forceinline__ uint32_t step_pair(float ridge, const Step &step, uint32_t operand,
                                              float2 q, float c0, float c1, float *r, float *x) {
    const bool empty = !(ridge > 0.0f);
    if (FORM == Form::TwoTerm) {
        const float2 d = unpack(operand);
        r[0] = r[0] - fmaf(ridge, d.x, c0);
        r[1] = r[1] - fmaf(ridge, d.y, c1);
        uint32_t out = pack(fmaf(step.first, d.x, step.second * r[0]),
                            fmaf(step.first, d.y, step.second * r[1]));
        if (empty)
            out = pack(0.0f, 0.0f);
        const float2 o = unpack(out);
        x[0] = x[0] + o.x;
        x[1] = x[1] + o.y;
        return out;
    }
    const float target[2] = {q.x, q.y}, c[2] = {c0, c1};
    float now[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const float residual = fmaf(ridge, x[i], c[i]) - target[i];
        const float grad = fmaf(step.first, residual, step.second * r[i]);
        now[i] = empty ? 0.0f : fmaf(step.omega, x[i], -grad);
        r[i] = x[i];
        x[i] = now[i];
    }
    return pack(now[0], now[1]);
}

/* c = H y, columns 64 part .. 64 part + 63; score: bf16((y K^T) . M). */
template <int D, bool GATED>
__device__ __forceinline__ void apply_half(Places at, const Rows &rows, const Left<D / 16> &y,
                                           const Left<4> &score, int part, float (&c)[8][4]) {
    clear(c);
    add_product<D / 16, D>(c, y, at.state, part);
    if (GATED) {
#pragma unroll
        for (int n = 0; n < 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                c[n][e] = c[n][e] * rows.eg[e >> 1];
    }
    add_product<4, CHUNK>(c, score, at.k, part);
}

/* One step for all 64 tokens: scores, then H y and what is added to it, half by half. */
template <int D, bool GATED, Form FORM>
__device__ __forceinline__ void iterate(const Shared<D> &m, Places at, Rows &rows,
                                        Panels<CHUNK, D> q_tile, int row0, float (&r)[D / 8][4],
                                        float (&x)[D / 8][4], Left<D / 16> &y) {
    asm volatile("" : "+r"(at.state), "+r"(at.k)); /* offsets are added here, not kept */
    int q_row = row0;
    if (FORM == Form::ThreeTerm)
        asm volatile("" : "+r"(q_row)); /* nor are the places of q */
    float c[8][4];
    Left<4> score;
    clear(c);
    add_scores<D>(c, y, at.k);
    mask_scores<D>(m, c, row0, score);
    const Step steps[2] = {next_step<FORM>(rows, 0), next_step<FORM>(rows, 1)};
    uint32_t kept[D / 64 == 2 ? 16 : 1];
#pragma unroll
    for (int part = 0; part < D / 64; part++) {
        apply_half<D, GATED>(at, rows, y, score, part, c);
#pragma unroll
        for (int n = 0; n < 8; n++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int tile = part * 8 + n;
                float2 q = make_float2(0.0f, 0.0f);
                if (FORM == Form::ThreeTerm)
                    q = to_floats(
                        *q_tile.pair(q_row + fragment_row(2 * half), tile * 8 + fragment_col(0)));
                const uint32_t out = step_pair<FORM>(
                    rows.lambda[half], steps[half], y.pair(tile, half), q, c[n][2 * half],
                    c[n][2 * half + 1], &r[tile][2 * half], &x[tile][2 * half]);
                /* The first half's operand is read until the second half's product is there. */
                if (part + 1 < D / 64)
                    kept[n * 2 + half] = out;
                else
                    y.pair(tile, half) = out;
            }
    }
    if (D / 64 == 2) {
#pragma unroll
        for (int n = 0; n < 8; n++)
#pragma unroll
            for (int half = 0; half < 2; half++)
                y.pair(n, half) = kept[n * 2 + half];
    }
}

/* RULE as in forward.cu: <p, (H + lambda I) x> of the 64 tokens; y: p as stored. */
template <int D, bool GATED>
__device__ __forceinline__ void store_energy(Shape s, const SolveArguments &a, const Shared<D> &m,
                                             Places at, const Rows &rows, const Left<D / 16> &y,
                                             const Chunk &chunk, int64_t h, int row0) {
    constexpr int NT = D / 32; /* 8-column tiles of a column group */
    float c[8][4], total[2] = {0.0f, 0.0f};
    Left<4> score;
    clear(c);
    add_scores<D>(c, y, at.k);
    mask_scores<D>(m, c, row0, score);
#pragma unroll
    for (int part = 0; part < D / 64; part++) {
        apply_half<D, GATED>(at, rows, y, score, part, c);
#pragma unroll
        for (int n = 0; n < 8; n += NT)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int row = row0 + fragment_row(2 * half);
                const int64_t own = ((chunk.first + row) * s.H + h) * D;
                float sum = 0.0f;
#pragma unroll
                for (int i = n; i < n + NT; i++) {
                    const int tile = part * 8 + i;
                    const float2 p = unpack(y.pair(tile, half));
                    float2 x = make_float2(0.0f, 0.0f);
                    if (row < chunk.rows)
                        x = to_floats(*reinterpret_cast<const element2 *>(
                            a.forward_x + own + tile * 8 + fragment_col(0)));
                    sum = fmaf(fmaf(rows.lambda[half], p.x, c[i][2 * half]), x.x, sum);
                    sum = fmaf(fmaf(rows.lambda[half], p.y, c[i][2 * half + 1]), x.y, sum);
                }
                sum = sum + __shfl_xor_sync(~0u, sum, 1);
                sum = sum + __shfl_xor_sync(~0u, sum, 2);
                total[half] = part + n == 0 ? sum : total[half] + sum;
            }
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = row0 + fragment_row(2 * half);
        if ((threadIdx.x & 3) == 0 && row < chunk.rows)
            a.energy[(chunk.first + row) * s.H + h] = total[half];
    }
}

/* ---- output -------------------------------------------------------------------------------- */

/* Rounded fragments out through the scratch tile; a barrier before and after. */
template <int D>
__device__ __forceinline__ void store_rows(Panels<CHUNK, D> tile, const Left<D / 16> &rounded,
                                           int row0, element *to, int64_t stride, int rows) {
    __syncthreads();
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
        for (int half = 0; half < 2; half++)
            *reinterpret_cast<uint32_t *>(tile.pair(
                row0 + fragment_row(2 * half), n * 8 + fragment_col(0))) = rounded.pair(n, half);
    __syncthreads();
    store_tile<CHUNK, D, THREADS>(tile, to, stride, rows);
}

/* The bf16 values of fragments, or the low parts of fragments kept in two. */
template <int D>
__device__ __forceinline__ void round_rows(const float (&x)[D / 8][4], bool low,
                                           Left<D / 16> &rounded) {
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const float a = x[n][2 * half], b = x[n][2 * half + 1];
            rounded.pair(n, half) = low ? pack(low_part(a), low_part(b)) : pack(a, b);
        }
}

/* eg and M of a chunk; z holds its G on the way. Leaves the block synchronised but for M. */
template <int D, bool GATED>
__device__ __forceinline__ void load_gates(Shape s, const SolveArguments &a, Shared<D> &m,
                                           int64_t first, int64_t h, int rows) {
    if (threadIdx.x < CHUNK) {
        const int row = threadIdx.x;
        m.z[row] = GATED && row < rows ? a.cumulative[(first + row) * s.H + h] : 0.0f;
        m.eg[row] = GATED && row < rows ? gka_pinned_expf(m.z[row]) : 1.0f;
    }
    __syncthreads();
#pragma unroll 4
    for (int i = threadIdx.x; i < CHUNK * CHUNK; i += THREADS) {
        const int t = i / CHUNK, j = i % CHUNK;
        float value = j <= t && t < rows ? 1.0f : 0.0f;
        if (GATED && j < t && t < rows)
            value = gka_pinned_expf(m.z[t] - m.z[j]);
        m.mask[t * MASK + j] = value;
    }
}

/* q' from x, in its place; low: its low part, accurately. */
template <int D, bool ACCURATE>
__device__ __forceinline__ void mix_rows(Shape s, const SolveArguments &a, const Chunk &chunk,
                                         int64_t h, int row0, float (&x)[D / 8][4],
                                         Left<D / 16> &high, Left<D / 16> &low) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = row0 + fragment_row(2 * half);
        const int64_t token = (chunk.first + row) * s.H + h;
        const bool inside = row < chunk.rows;
        const float alpha = !inside || a.alpha == nullptr ? 1.0f : to_float(a.alpha[token]);
#pragma unroll
        for (int n = 0; n < D / 8; n++) {
            float2 q = make_float2(0.0f, 0.0f);
            if (inside)
                q = to_floats(
                    *reinterpret_cast<const element2 *>(a.q + token * D + n * 8 + fragment_col(0)));
            float *const y = &x[n][2 * half];
            y[0] = fmaf(alpha, y[0] - q.x, q.x);
            y[1] = fmaf(alpha, y[1] - q.y, q.y);
            if (ACCURATE) {
                y[0] = two_parts(y[0]);
                y[1] = two_parts(y[1]);
            }
        }
    }
    round_rows<D>(x, false, high);
    if (ACCURATE)
        round_rows<D>(x, true, low);
}

/* Columns col .. col + W - 1 of o, from q' and the masked scores. */
template <int D, int W, bool ACCURATE>
__device__ __forceinline__ void output_columns(Shape s, const SolveArguments &a, Shared<D> &m,
                                               Places at, const Chunk &chunk, int64_t h, int row0,
                                               int64_t col, const Left<D / 16> &high,
                                               const Left<D / 16> &low, const Left<4> &score) {
    const Panels<D, W> state{m.state}, more{m.q};
    const Panels<CHUNK, W> values{m.k}, tile{m.q};
    const int64_t state_at = (chunk.slot * s.H + h) * D * s.V + col, group = h / (s.H / s.Hkv);
    __syncthreads(); /* nobody reads what stood in the tiles any more */
    load_tile<D, W, THREADS>(state, (ACCURATE ? a.u_low : a.u_chunk) + state_at, s.V, D);
    if (ACCURATE)
        load_tile<D, W, THREADS>(more, a.u_chunk + state_at, s.V, D);
    load_tile<CHUNK, W, THREADS>(values, a.v + (chunk.first * s.Hkv + group) * s.V + col,
                                 s.Hkv * s.V, chunk.rows);
    tiles_loaded();
    publish();
    __syncthreads();
    float out[W / 64][8][4];
#pragma unroll
    for (int part = 0; part < W / 64; part++) {
        clear(out[part]);
        add_product<D / 16, D>(out[part], high, at.state, part);
        if (ACCURATE) {
            add_product<D / 16, D>(out[part], low, place_of(m.q), part);
            add_product<D / 16, D>(out[part], high, place_of(m.q), part);
        }
    }
    const float eg[2] = {m.eg[row0 + fragment_row(0)], m.eg[row0 + fragment_row(2)]};
    Left<W / 16> rounded;
#pragma unroll
    for (int part = 0; part < W / 64; part++) {
#pragma unroll
        for (int n = 0; n < 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                out[part][n][e] = out[part][n][e] * eg[e >> 1];
        add_product<4, CHUNK>(out[part], score, at.k, part);
#pragma unroll
        for (int n = 0; n < 8; n++)
#pragma unroll
            for (int half = 0; half < 2; half++)
                rounded.pair(part * 8 + n, half) =
                    pack(a.output_scale * out[part][n][2 * half],
                         a.output_scale * out[part][n][2 * half + 1]);
    }
    store_rows<W>(tile, rounded, row0, a.o + (chunk.first * s.H + h) * s.V + col, s.H * s.V,
                  chunk.rows);
}

/* RULE of output_rows and output_rows_accurate in forward.cu; x as stored, overwritten by q'. */
template <int D, int W, bool ACCURATE>
__device__ __forceinline__ void output_rows(Shape s, const SolveArguments &a, Shared<D> &m,
                                            Places at, const Chunk &chunk, int64_t h, int row0,
                                            float (&x)[D / 8][4]) {
    Left<D / 16> high, low;
    mix_rows<D, ACCURATE>(s, a, chunk, h, row0, x, high, low);
    float c[8][4];
    Left<4> score;
    clear(c);
    if (ACCURATE)
        add_scores<D>(c, low, at.k);
    add_scores<D>(c, high, at.k);
    mask_scores<D>(m, c, row0, score);
#pragma unroll 1
    for (int64_t col = 0; col < s.V; col += W)
        output_columns<D, W, ACCURATE>(s, a, m, at, chunk, h, row0, col, high, low, score);
}

#endif

template <int D, bool GATED, Form FORM, bool ACCURATE>
__global__ __launch_bounds__(THREADS, 2) void solve_kernel(Shape s, SolveArguments a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    extern __shared__ __align__(1024) unsigned char memory[];
    Shared<D> &m = *reinterpret_cast<Shared<D> *>(memory);
    const Panels<D, D> state{m.state};
    const Panels<CHUNK, D> tk{m.k}, tile{m.q};
    const Chunk chunk = s.chunk(blockIdx.x, blockIdx.z);
    if (chunk.rows == 0)
        return;
    const int64_t h = blockIdx.y, group = h / (s.H / s.Hkv);
    const int warp = threadIdx.x >> 5, row0 = warp * 16, rows = chunk.rows;
    const int64_t first = chunk.first, own = (first * s.H + h) * D;
    const int64_t state_at = (chunk.slot * s.H + h) * D * D;

    load_tile<D, D, THREADS>(state, a.h_chunk + state_at, D, D);
    load_tile<CHUNK, D, THREADS>(tk, a.k + (first * s.Hkv + group) * D, s.Hkv * D, rows);
    const float *const rhs = ACCURATE && a.rhs != nullptr ? a.rhs + own : nullptr;
    if (rhs == nullptr)
        load_tile<CHUNK, D, THREADS>(tile, a.q + own, s.H * D, rows);
    if (a.load_fro && threadIdx.x < CHUNK)
        m.fro[threadIdx.x] = threadIdx.x < rows ? a.fro[(first + threadIdx.x) * s.H + h] : 0.0f;
    load_gates<D, GATED>(s, a, m, first, h, rows);
    tiles_loaded();
    publish();
    __syncthreads();
    const Places at{place_of(m.state), place_of(m.k)};
    if (!a.load_fro)
        norm<D>(m, state, tk, at, warp);
    __syncthreads();

    Rows scalars;
    start_rows<D, FORM>(m, row0, a.ridge_ratio, scalars);
    float r[D / 8][4], x[D / 8][4];
    Left<D / 16> y;
    start_solve<D, FORM>(scalars, tile, rhs, s.H * D, rows, row0, r, x, y);
    for (int iteration = 0; iteration < a.num_iter; iteration++)
        iterate<D, GATED, FORM>(m, at, scalars, tile, row0, r, x, y);

    if (ACCURATE) {
#pragma unroll
        for (int n = 0; n < D / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                x[n][e] = two_parts(x[n][e]);
        round_rows<D>(x, true, y);
        store_rows<D>(tile, y, row0, a.x_low + own, s.H * D, rows);
    }
    round_rows<D>(x, false, y);
    store_rows<D>(tile, y, row0, a.x + own, s.H * D, rows);
    if (!a.load_fro && threadIdx.x < rows)
        a.fro[(first + threadIdx.x) * s.H + h] = m.fro[threadIdx.x];
    if (!ACCURATE && a.energy != nullptr)
        store_energy<D, GATED>(s, a, m, at, scalars, y, chunk, h, row0);
    if (ACCURATE || a.o == nullptr) /* output_kernel goes on */
        return;
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const float2 stored = unpack(y.pair(n, half));
            x[n][2 * half] = stored.x;
            x[n][2 * half + 1] = stored.y;
        }
    output_rows<D, D, false>(s, a, m, at, chunk, h, row0, x);
#endif
}

/* The output stage from x as it was stored, W columns of V after another: of the accurate setting,
 * whose code in one kernel with the solve drove the iteration's out of the instruction cache, and
 * where V is smaller than D. */
template <int D, int W, bool GATED, bool ACCURATE>
__global__ __launch_bounds__(THREADS, 2) void output_kernel(Shape s, SolveArguments a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    extern __shared__ __align__(1024) unsigned char memory[];
    Shared<D> &m = *reinterpret_cast<Shared<D> *>(memory);
    const Panels<CHUNK, D> tk{m.k};
    const Chunk chunk = s.chunk(blockIdx.x, blockIdx.z);
    if (chunk.rows == 0)
        return;
    const int64_t h = blockIdx.y, group = h / (s.H / s.Hkv), first = chunk.first;
    const int row0 = (threadIdx.x >> 5) * 16, rows = chunk.rows;
    load_tile<CHUNK, D, THREADS>(tk, a.k + (first * s.Hkv + group) * D, s.Hkv * D, rows);
    load_gates<D, GATED>(s, a, m, first, h, rows);
    float x[D / 8][4];
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = row0 + fragment_row(2 * half);
            const int64_t place = ((first + row) * s.H + h) * D + n * 8 + fragment_col(0);
            float2 kept = make_float2(0.0f, 0.0f);
            if (row < rows)
                kept = ACCURATE ? join(a.x + place, a.x_low + place)
                                : to_floats(*reinterpret_cast<const element2 *>(a.x + place));
            x[n][2 * half] = kept.x;
            x[n][2 * half + 1] = kept.y;
        }
    tiles_loaded();
    publish();
    __syncthreads();
    const Places at{place_of(m.state), place_of(m.k)};
    output_rows<D, W, ACCURATE>(s, a, m, at, chunk, h, row0, x);
#endif
}

/* Shared<D> without its code, which only one architecture has. */
template <int D>
constexpr int SHARED = D *D * 2 + 2 * CHUNK *D * 2 + CHUNK * 128 * 2 + CHUNK *MASK * 4 +
                       4 * CHUNK * 4 + 3 * CHUNK * 4 + 8 * 4;

template <int D, class Kernel>
static cudaError_t queue(Kernel kernel, Shape s, const SolveArguments &a, cudaStream_t stream) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, SHARED<D>);
    if (error != cudaSuccess)
        return error;
    const dim3 grid((unsigned)s.row_chunks(), (unsigned)s.H, (unsigned)s.B);
    kernel<<<grid, THREADS, SHARED<D>, stream>>>(s, a);
    return cudaGetLastError();
}

template <int D, bool GATED, Form FORM, bool ACCURATE>
static cudaError_t launch_as(Shape s, SolveArguments a, cudaStream_t stream) {
    const bool narrow = s.V < D, apart = a.o != nullptr && (ACCURATE || narrow);
    SolveArguments solve = a;
    if (apart)
        solve.o = nullptr;
    const cudaError_t error = queue<D>(solve_kernel<D, GATED, FORM, ACCURATE>, s, solve, stream);
    if (error != cudaSuccess || !apart)
        return error;
    if (narrow)
        return queue<D>(output_kernel<D, 64, GATED, ACCURATE>, s, a, stream);
    return queue<D>(output_kernel<D, D, GATED, true>, s, a, stream);
}

} // namespace hopper

template <int D>
cudaError_t launch_solve_hopper(Shape s, Form form, bool accurate, const SolveArguments &a,
                                cudaStream_t stream) {
    using hopper::launch_as;
    const bool gated = a.cumulative != nullptr;
    if (accurate)
        return gated ? launch_as<D, true, Form::TwoTerm, true>(s, a, stream)
                     : launch_as<D, false, Form::TwoTerm, true>(s, a, stream);
    if (form == Form::TwoTerm)
        return gated ? launch_as<D, true, Form::TwoTerm, false>(s, a, stream)
                     : launch_as<D, false, Form::TwoTerm, false>(s, a, stream);
    return gated ? launch_as<D, true, Form::ThreeTerm, false>(s, a, stream)
                 : launch_as<D, false, Form::ThreeTerm, false>(s, a, stream);
}

template cudaError_t launch_solve_hopper<64>(Shape, Form, bool, const SolveArguments &,
                                             cudaStream_t);
template cudaError_t launch_solve_hopper<128>(Shape, Form, bool, const SolveArguments &,
                                              cudaStream_t);

} // namespace GKA_CUDA_ELEMENTS
} // namespace gka
