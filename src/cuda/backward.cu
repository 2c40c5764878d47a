/* backward.cu - every gradient of the layer on a GPU (NUMERICS 2 and 4).
 *
 *   gate, states           as in the forward
 *   grad_output_kernel     dq' = s U do, dalpha, the cotangent dx = alpha dq' of the solve
 *   solve_kernel           p = (H + lambda I)^-1 dx, with the saved f (forward.cu)
 *   weight_kernel          w_t = 2 a <p_t, x_t> / f_t and its sums
 *   suffix_kernel          what later chunks send back: N = -dL/dH and E = dL/dU / s before each
 * chunk grad_kernel            dk, dv, dg, dq of a chunk
 *
 * The same rules as in forward.cu hold: every output is a function of the inputs alone, and RULE
 * marks what the CPU replays. Rows are j where a token is a key, t where it is a query; M_tj is
 * nonzero for t >= j.
 *
 * dg_t = gamma_t (<A_t, H_{t-1}> + <E_t, U_{t-1}>) telescopes within a chunk: with <G_t, H_t> =
 * -p_t^T (H_t + lambda_t I) x_t, k_t^T A_t k_t = <k_t, dk^H_t>/2, s<q'_t do_t^T, U_t> = <q'_t,
 * dq'_t> and k_t^T E_t v_t = <v_t, dv_t>, dg_t = dg_{t+1} + <G_t, H_t> + <q'_t, dq'_t> - <k_t,
 * dk^H_t>/2 - <v_t, dv_t>, and at a chunk's end dg_{C+1} = <dL/dH_C, H_C> + <dL/dU_C, U_C>, so that
 * nothing piles up from chunk to chunk. <G_t, H_t> is formed by one more product with H (solve),
 * whose terms cancel against those of dk. Of the exact x it is -<p_t, q_t>; accurately that is
 * taken, and what x misses of it stays in dg where exp(g) is small.
 */
#include "cuda/kernels.cuh"
#include "cuda/tile.cuh"

#include "arith/pinned.h"

namespace gka {
namespace GKA_CUDA_ELEMENTS {

constexpr int THREADS = 256;

/* Sum of one value per thread over the D columns of a row: the four threads of a row by the
 * butterfly 1, 2, then the four column groups in order. partial: [4][CHUNK]. Call for each of the
 * thread's rows, then synchronise, then row_total. */
__device__ __forceinline__ void row_partial(float (*partial)[CHUNK], int warp, int row,
                                            float value) {
    value = value + __shfl_xor_sync(~0u, value, 1);
    value = value + __shfl_xor_sync(~0u, value, 2);
    if ((threadIdx.x & 3) == 0)
        partial[warp & 3][row] = value;
}

__device__ __forceinline__ float row_total(const float (*partial)[CHUNK], int row) {
    return ((partial[0][row] + partial[1][row]) + partial[2][row]) + partial[3][row];
}

/* M into shared memory, and exp(G_t). transposed: mask[j][t], else mask[t][j]. */
template <int WITH_THREADS>
__device__ void load_mask(Shape s, const float *cumulative, int64_t first, int64_t h, int rows,
                          bool transposed, float *mask, float *eg) {
    for (int i = threadIdx.x; i < CHUNK * CHUNK; i += WITH_THREADS) {
        const int t = i / CHUNK, j = i % CHUNK;
        float value = j <= t && t < rows ? 1.0f : 0.0f;
        if (cumulative != nullptr && j < t && t < rows)
            value = gka_pinned_expf(cumulative[(first + t) * s.H + h] -
                                    cumulative[(first + j) * s.H + h]);
        mask[transposed ? j * MASK + t : t * MASK + j] = value;
    }
    if (threadIdx.x < CHUNK)
        eg[threadIdx.x] = cumulative != nullptr && threadIdx.x < rows
                              ? gka_pinned_expf(cumulative[(first + threadIdx.x) * s.H + h])
                              : 1.0f;
}

/* score <- bf16((left right^T) . mask) */
template <int D>
__device__ __forceinline__ void masked_scores(Tile<D> left, Tile<D> right, const float *mask,
                                              Tile<CHUNK> score, int row0, int warp) {
    float d[2][2][4];
    clear(d);
    multiply<2, 2, D, false, true>(d, left, row0, right, (warp & 3) * 16);
    mask_scores(d, mask, score, row0, warp);
}

/* ---- dq', dalpha, dx ----------------------------------------------------------------------- */

template <int D, int W> struct OutputShared {
    element state[D * W], k[CHUNK * D], v[CHUNK * W], grad[CHUNK * W], score[CHUNK * CHUNK];
    float mask[CHUNK * MASK], eg[CHUNK], dalpha[4][CHUNK], along[4][CHUNK];
};

/* What a thread's part of dq' / s gives: dx and what is left of dq, and its part of dalpha and of
 * <q', dq'>. */
template <int D, int W, bool ACCURATE>
__device__ __forceinline__ void hand_on(Shape s, const GradArguments &a, OutputShared<D, W> &m,
                                        int64_t first, int64_t h, int rows, int row0, int col0,
                                        int warp, const float (&c)[2][D / 32][4]) {
    constexpr int NT = D / 32;
    for (int t = 0; t < 2; t++)
        for (int half = 0; half < 2; half++) {
            const int row = row0 + t * 16 + fragment_row(2 * half);
            const int64_t at = (first + row) * s.H + h;
            const bool inside = row < rows;
            const float alpha = !inside || a.alpha == nullptr ? 1.0f : to_float(a.alpha[at]);
            float dalpha = 0.0f, along = 0.0f;
            for (int n = 0; n < NT; n++) {
                const int col = col0 + n * 8 + fragment_col(0);
                float2 q = make_float2(0, 0), x = q;
                if (inside) {
                    q = to_floats(*reinterpret_cast<const element2 *>(a.q + at * D + col));
                    x = ACCURATE
                            ? join(a.x + at * D + col, a.x_low + at * D + col)
                            : to_floats(*reinterpret_cast<const element2 *>(a.x + at * D + col));
                }
                const float dq0 = a.scale * c[t][n][2 * half],
                            dq1 = a.scale * c[t][n][2 * half + 1];
                const float m0 = fmaf(alpha, x.x - q.x, q.x), m1 = fmaf(alpha, x.y - q.y, q.y);
                const float2 mixed = ACCURATE ? make_float2(two_parts(m0), two_parts(m1))
                                              : to_floats(to_elements(m0, m1));
                dalpha = fmaf(dq0, x.x - q.x, dalpha);
                dalpha = fmaf(dq1, x.y - q.y, dalpha);
                along = fmaf(dq0, mixed.x, along);
                along = fmaf(dq1, mixed.y, along);
                if (ACCURATE && inside) {
                    *reinterpret_cast<float2 *>(a.dx_single + at * D + col) =
                        make_float2(alpha * dq0, alpha * dq1);
                    *reinterpret_cast<float2 *>(a.rest_single + at * D + col) =
                        make_float2(fmaf(-alpha, dq0, dq0), fmaf(-alpha, dq1, dq1));
                } else if (inside) {
                    *reinterpret_cast<element2 *>(a.dx + at * D + col) =
                        to_elements(alpha * dq0, alpha * dq1);
                    *reinterpret_cast<element2 *>(a.rest + at * D + col) =
                        to_elements(fmaf(-alpha, dq0, dq0), fmaf(-alpha, dq1, dq1));
                }
            }
            row_partial(m.dalpha, warp, row, dalpha);
            row_partial(m.along, warp, row, along);
        }
}

/* RULE dq' = s (exp(G) (do U_0^T) + bf16((do V^T) . M) K), the second product added onto the first
 * by the tensor core; dalpha = bf16(<dq', x - q>); dx = bf16(alpha dq'); rest = bf16(fma(-alpha,
 * dq', dq')); along = <q', dq'> with q' = bf16(fma(alpha, x - q, q)). Columns of V ascend.
 * Accurately do U_0^T takes of each W columns the low part of U_0 first, x and q' are in two parts,
 * dx and rest in binary32. */
template <int D, int W, bool ACCURATE>
__global__ __launch_bounds__(THREADS) void grad_output_kernel(Shape s, GradArguments a) {
    extern __shared__ __align__(128) unsigned char memory[];
    OutputShared<D, W> &m = *reinterpret_cast<OutputShared<D, W> *>(memory);
    constexpr int NT = D / 32;
    const Tile<W> state{m.state}, tv{m.v}, grad{m.grad};
    const Tile<D> tk{m.k};
    const Tile<CHUNK> score{m.score};
    const Chunk chunk = s.chunk(blockIdx.x, blockIdx.z);
    if (chunk.rows == 0)
        return;
    const int64_t h = blockIdx.y, group = h / (s.H / s.Hkv), first = chunk.first;
    const int warp = threadIdx.x >> 5, row0 = (warp >> 2) * 32, col0 = (warp & 3) * (D / 4);
    const int rows = chunk.rows;

    const int64_t state_at = (chunk.slot * s.H + h) * D * s.V;
    load_tile<CHUNK, D, THREADS>(tk, a.k + (first * s.Hkv + group) * D, s.Hkv * D, rows);
    load_mask<THREADS>(s, a.cumulative, first, h, rows, false, m.mask, m.eg);
    float c[2][NT][4], d[2][2][4];
    clear(c);
    clear(d);
    for (int64_t col = 0; col < s.V; col += W) { /* W columns of V after another */
        if (col > 0)
            sync_tiles();
        load_tile<D, W, THREADS>(state, (ACCURATE ? a.u_low : a.u_chunk) + state_at + col, s.V, D);
        load_tile<CHUNK, W, THREADS>(tv, a.v + (first * s.Hkv + group) * s.V + col, s.Hkv * s.V,
                                     rows);
        load_tile<CHUNK, W, THREADS>(grad, a.dout + (first * s.H + h) * s.V + col, s.H * s.V, rows);
        sync_tiles();
        multiply<2, 2, W, false, true>(d, grad, row0, tv, (warp & 3) * 16);
        multiply<2, NT, W, false, true>(c, grad, row0, state, col0);
        if (ACCURATE) {
            sync_tiles();
            load_tile<D, W, THREADS>(state, a.u_chunk + state_at + col, s.V, D);
            sync_tiles();
            multiply<2, NT, W, false, true>(c, grad, row0, state, col0);
        }
    }
    mask_scores(d, m.mask, score, row0, warp);
    for (int t = 0; t < 2; t++)
        for (int n = 0; n < NT; n++)
            for (int e = 0; e < 4; e++)
                c[t][n][e] = c[t][n][e] * m.eg[row0 + t * 16 + fragment_row(e)];
    sync_tiles();
    multiply<2, NT, CHUNK, false, false>(c, score, row0, tk, col0);

    hand_on<D, W, ACCURATE>(s, a, m, first, h, rows, row0, col0, warp, c);
    sync_tiles();
    if (threadIdx.x < rows) {
        const int64_t at = (first + threadIdx.x) * s.H + h;
        if (a.dalpha != nullptr)
            a.dalpha[at] = to_element(row_total(m.dalpha, threadIdx.x));
        a.along[at] = row_total(m.along, threadIdx.x);
    }
}

/* ---- w and its sums ------------------------------------------------------------------------ */

/* Eight neighbours; low: the sum of their parts. */
__device__ __forceinline__ void load_eight(const element *high, const element *low,
                                           float (&to)[8]) {
    const uint4 parts[2] = {*reinterpret_cast<const uint4 *>(high),
                            low != nullptr ? *reinterpret_cast<const uint4 *>(low)
                                           : make_uint4(0, 0, 0, 0)};
    const element2 *const h = reinterpret_cast<const element2 *>(&parts[0]);
    const element2 *const l = reinterpret_cast<const element2 *>(&parts[1]);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float2 a = to_floats(h[i]), b = to_floats(l[i]);
        to[2 * i] = low != nullptr ? a.x + b.x : a.x;
        to[2 * i + 1] = low != nullptr ? a.y + b.y : a.y;
    }
}

/* RULE w_t = (2 a) <p_t, x_t> / f_t (0 where f = 0), the product by quarters of D in order and the
 * butterfly 1, 2; carry_j = sum_{t>=j} exp(G_t) M_tj w_t and beta = sum_t exp(G_t)^2 w_t / 2, t
 * ascending. One block a chunk. */
template <int D, bool ACCURATE>
__global__ __launch_bounds__(THREADS) void weight_kernel(Shape s, GradArguments a) {
    __shared__ float w[CHUNK], eg[CHUNK], gate[CHUNK];
    const Chunk chunk = s.chunk(blockIdx.x, blockIdx.z);
    if (chunk.rows == 0)
        return;
    const int64_t h = blockIdx.y, first = chunk.first;
    const int rows = chunk.rows;
    const int row = threadIdx.x / 4, quarter = threadIdx.x % 4;
    float sum = 0.0f;
    const int64_t at = (first + row) * s.H + h;
    if (row < rows)
#pragma unroll
        for (int i = 0; i < D / 4; i += 8) {
            const int64_t place = at * D + quarter * (D / 4) + i;
            float p[8], x[8];
            load_eight(a.p + place, ACCURATE ? a.p_low + place : nullptr, p);
            load_eight(a.x + place, ACCURATE ? a.x_low + place : nullptr, x);
#pragma unroll
            for (int e = 0; e < 8; e++)
                sum = fmaf(p[e], x[e], sum);
        }
    sum = sum + __shfl_xor_sync(~0u, sum, 1);
    sum = sum + __shfl_xor_sync(~0u, sum, 2);
    if (quarter == 0) {
        const float f = row < rows ? a.fro[at] : 0.0f;
        w[row] = f > 0.0f ? (2.0f * a.ridge_ratio) * sum / f : 0.0f;
        gate[row] = a.cumulative != nullptr && row < rows ? a.cumulative[at] : 0.0f;
        eg[row] = gka_pinned_expf(gate[row]);
        if (row < rows)
            a.w[at] = w[row];
    }
    __syncthreads();
    if (threadIdx.x < rows) {
        float carry = 0.0f;
        for (int t = threadIdx.x; t < rows; t++)
            carry = fmaf(eg[t] * gka_pinned_expf(gate[t] - gate[threadIdx.x]), w[t], carry);
        a.carry[(first + threadIdx.x) * s.H + h] = carry;
    }
    if (threadIdx.x == 0) {
        float beta = 0.0f;
        for (int t = 0; t < rows; t++)
            beta = fmaf(eg[t] * eg[t], 0.5f * w[t], beta);
        a.beta[chunk.slot * s.H + h] = beta;
    }
}

/* ---- what later chunks send back ----------------------------------------------------------- */

/* Eight neighbours of a row of both factors of a product: N: P and x exp(G), then K and k carry/2;
 * E: Q' and do exp(G). */
template <int D, bool NORMAL>
__device__ __forceinline__ void suffix_row(const GradArguments &a, int64_t V, int64_t query,
                                           int64_t key, int pass, int row, int col, uint4 (&xs)[1],
                                           uint4 (&ys)[1]) {
    uint4 &x = xs[0], &y = ys[0];
    const float eg = a.cumulative == nullptr ? 1.0f : gka_pinned_expf(a.cumulative[query]);
    if (NORMAL && pass == 0) {
        x = *reinterpret_cast<const uint4 *>(a.p + query * D + row);
        y = *reinterpret_cast<const uint4 *>(a.x + query * D + col);
        if (a.cumulative != nullptr)
            weigh(y, eg);
    } else if (NORMAL) {
        x = *reinterpret_cast<const uint4 *>(a.k + key * D + row);
        y = *reinterpret_cast<const uint4 *>(a.k + key * D + col);
        weigh(y, 0.5f * a.carry[query]);
    } else {
        const float alpha = a.alpha == nullptr ? 1.0f : to_float(a.alpha[query]);
        x = *reinterpret_cast<const uint4 *>(a.q + query * D + row);
        const uint4 solved = *reinterpret_cast<const uint4 *>(a.x + query * D + row);
        element2 *const q = reinterpret_cast<element2 *>(&x);
        const element2 *const v = reinterpret_cast<const element2 *>(&solved);
        for (int i = 0; i < 4; i++) {
            const float2 qf = to_floats(q[i]), xf = to_floats(v[i]);
            q[i] = to_elements(fmaf(alpha, xf.x - qf.x, qf.x), fmaf(alpha, xf.y - qf.y, qf.y));
        }
        y = *reinterpret_cast<const uint4 *>(a.dout + query * V + col);
        if (a.cumulative != nullptr)
            weigh(y, eg);
    }
}

/* Eight neighbours, and two of them. */
__device__ __forceinline__ uint4 eight(const element *from) {
    return *reinterpret_cast<const uint4 *>(from);
}
__device__ __forceinline__ element2 &pair_of(uint4 &numbers, int i) {
    return reinterpret_cast<element2 *>(&numbers)[i];
}

/* Two neighbours of q', kept in two parts; x in its parts. */
__device__ __forceinline__ float2 mixed_pair(float alpha, element2 query, element2 high,
                                             element2 low) {
    const float2 q = to_floats(query), h = to_floats(high), l = to_floats(low);
    return make_float2(two_parts(fmaf(alpha, (h.x + l.x) - q.x, q.x)),
                       two_parts(fmaf(alpha, (h.y + l.y) - q.y, q.y)));
}

/* The same in two parts: high and low of x in x[0], x[1], of y in y[0], y[1]. */
template <int D, bool NORMAL>
__device__ __forceinline__ void suffix_row(const GradArguments &a, int64_t V, int64_t query,
                                           int64_t key, int pass, int row, int col, uint4 (&x)[2],
                                           uint4 (&y)[2]) {
    const bool gated = a.cumulative != nullptr, keys = NORMAL && pass == 1;
    const float weight = keys    ? 0.5f * a.carry[query]
                         : gated ? gka_pinned_expf(a.cumulative[query])
                                 : 1.0f;
    const float alpha = a.alpha == nullptr ? 1.0f : to_float(a.alpha[query]);
    const int64_t own_row = query * D + row, own_col = query * D + col;
    uint4 solved_low, other = make_uint4(0, 0, 0, 0), other_low = other; /* y before its weight */
    if (keys) {
        x[0] = eight(a.k + key * D + row);
        other = eight(a.k + key * D + col);
    } else if (NORMAL) {
        x[0] = eight(a.p + own_row);
        x[1] = eight(a.p_low + own_row);
        other = eight(a.x + own_col);
        other_low = eight(a.x_low + own_col);
    } else {
        x[0] = eight(a.q + own_row);
        x[1] = eight(a.x + own_row);
        solved_low = eight(a.x_low + own_row);
        other = eight(a.dout + query * V + col);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (!NORMAL) {
            const float2 m =
                mixed_pair(alpha, pair_of(x[0], i), pair_of(x[1], i), pair_of(solved_low, i));
            pair_of(x[0], i) = to_elements(m.x, m.y);
            pair_of(x[1], i) = low_pair(m.x, m.y);
        }
        float2 v = to_floats(pair_of(other, i));
        if (NORMAL && !keys) {
            const float2 low = to_floats(pair_of(other_low, i));
            v = make_float2(v.x + low.x, v.y + low.y);
        }
        if (keys || gated)
            v = make_float2(two_parts(v.x * weight), two_parts(v.y * weight));
        pair_of(y[0], i) = to_elements(v.x, v.y);
        pair_of(y[1], i) = low_pair(v.x, v.y);
    }
}

/* RULE R <- fma(beta, H_0, R), N alone, and this thread's part of <R, H_0>: columns ascending
 * within a thread, then the butterfly 1..16, then warps in order. */
template <bool NORMAL>
__device__ __forceinline__ float add_and_weigh(float beta, const uint32_t (&state)[8][2],
                                               const uint32_t (&low)[8][2], bool two_parts,
                                               float (&c)[1][8][4]) {
    float sum = 0.0f;
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const auto number = [&](const uint32_t(&pair)[8][2]) {
                const float2 both = unpack(pair[n][e >> 1]);
                return e & 1 ? both.y : both.x;
            };
            const float value = two_parts ? number(state) + number(low) : number(state);
            if (NORMAL)
                c[0][n][e] = fmaf(beta, value, c[0][n][e]);
            sum = fmaf(c[0][n][e], value, sum);
        }
    return sum;
}

/* The pairs of a state [D,width] that this thread's fragments of a 64 x 64 tile lie on. */
__device__ __forceinline__ void fetch_state(const element *state, int64_t state_at, int64_t width,
                                            int row0, int col0, uint32_t (&to)[8][2]) {
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int half = 0; half < 2; half++)
            to[n][half] = *reinterpret_cast<const uint32_t *>(
                state + state_at +
                (row0 + (threadIdx.x >> 5) * 16 + fragment_row(2 * half)) * width + col0 + n * 8 +
                fragment_col(0));
}

/* A block's sum of one value a thread: the butterfly 1..16, then the four warps in order. */
__device__ __forceinline__ void store_sum(float sum, float *warp_sum, float *to) {
    for (int offset = 1; offset < 32; offset *= 2)
        sum = sum + __shfl_xor_sync(~0u, sum, offset);
    if ((threadIdx.x & 31) == 0)
        warp_sum[threadIdx.x >> 5] = sum;
    __syncthreads();
    if (threadIdx.x == 0)
        *to = ((warp_sum[0] + warp_sum[1]) + warp_sum[2]) + warp_sum[3];
}

/* RULE what R starts from: N = -(dh_final + its transpose)/2, E = du_final/s; and <R, final state>
 * as in add_and_weigh. Of a segment that goes on: R as the next one left it, and its final state as
 * the next one's first snapshot, so that the cut is not seen. */
template <int D, bool NORMAL, bool ACCURATE>
__device__ __forceinline__ void start_suffix(const GradArguments &a, int64_t width, int64_t head,
                                             int tile, float *warp_sum, float (&c)[1][8][4]) {
    const int across = (int)width / 64, row0 = tile / across * 64 + (threadIdx.x >> 5) * 16,
              col0 = tile % across * 64;
    const float *const cotangent = (NORMAL ? a.dh_final : a.du_final) + head * D * width;
    const float *const end = (NORMAL ? a.h_end : a.u_end) + head * D * width;
    float sum = 0.0f;
    for (int n = 0; n < 8; n++)
        for (int e = 0; e < 4; e++) {
            const int row = row0 + fragment_row(e), col = col0 + n * 8 + fragment_col(e);
            const float here = cotangent[row * width + col];
            float state = end[row * width + col];
            if (a.from_next) {
                c[0][n][e] = NORMAL ? -here : here;
                state = ACCURATE && !NORMAL ? two_parts(state) : to_float(to_element(state));
            } else {
                c[0][n][e] = NORMAL ? -0.5f * (here + cotangent[col * D + row]) : here / a.scale;
            }
            sum = fmaf(c[0][n][e], state, sum);
        }
    store_sum(sum, warp_sum, (NORMAL ? a.n_end : a.e_end) + head * (D / 64) * across + tile);
}

/* RULE, chunks from the last to the first, R the 64 x 64 tile of a block:
 *   N: R <- R exp(G_C); R += P^T bf16(x exp(G_t)); R += K^T bf16(k carry/2); R <- fma(beta, H_0, R)
 *   E: R <- R exp(G_C); R += Q'^T bf16(do exp(G_t))
 * The snapshot of chunk c is bf16(R) before its update: what comes from later chunks. inner[c] =
 * <R, H_0> after it. Accurately P, Q', the weighted rows and the snapshots are in two parts: high
 * by low, low by high, high by high (K: high by low, high by high). */
template <int D, bool NORMAL, bool ACCURATE>
__device__ __forceinline__ void suffix(Shape s, const GradArguments &a, int tile, element *memory,
                                       float *warp_sum) {
    constexpr int PARTS = ACCURATE ? 2 : 1, PASSES = NORMAL ? 2 : 1;
    constexpr bool LOW = ACCURATE && !NORMAL; /* U stands in two parts */
    const element *const state = NORMAL ? a.h_chunk : a.u_chunk;
    element *const snapshot = NORMAL ? a.n_chunk : a.e_chunk;
    element *const snapshot_low = !ACCURATE ? nullptr : NORMAL ? a.n_low : a.e_low;
    float *const inner = NORMAL ? a.n_inner : a.e_inner, *first_state = NORMAL ? a.dh0 : a.du0;
    const Tile<64> left{memory}, right{memory + CHUNK * 64},
        left_low{memory + (2 * PARTS - 2) * CHUNK * 64},
        right_low{memory + (2 * PARTS - 1) * CHUNK * 64};
    const int64_t width = NORMAL ? D : s.V;
    const int across = (int)width / 64, row0 = tile / across * 64, col0 = tile % across * 64;
    const int64_t h = blockIdx.y, group = h / (s.H / s.Hkv), head = blockIdx.z * s.H + h;
    const Span span = s.span(blockIdx.z);
    const int warp = threadIdx.x >> 5, piece = threadIdx.x % 8, line = threadIdx.x / 8;

    float c[1][8][4];
    clear(c);
    if ((NORMAL ? a.dh_final : a.du_final) != nullptr)
        start_suffix<D, NORMAL, ACCURATE>(a, width, head, tile, warp_sum, c);
    for (int64_t chunk = span.chunks() - 1; chunk >= 0; chunk--) {
        const int64_t at = (span.slot + chunk) * s.H + h, state_at = at * D * width;
        const int rows = (int)min((int64_t)CHUNK, span.tokens - chunk * CHUNK);
        const int64_t first = span.first + chunk * CHUNK;
        const float last =
            a.cumulative == nullptr ? 0.0f : a.cumulative[(first + rows - 1) * s.H + h];
        uint32_t at_start[8][2], low_at_start[8][2] = {};
        fetch_state(state, state_at, width, row0, col0, at_start);
        if (LOW)
            fetch_state(a.u_low, state_at, width, row0, col0, low_at_start);
        keep_state(c, snapshot, snapshot_low, state_at, width, row0, col0);
        const float decay = gka_pinned_expf(last);
        if (a.cumulative != nullptr)
            for (int n = 0; n < 8; n++)
                for (int e = 0; e < 4; e++)
                    c[0][n][e] = c[0][n][e] * decay;
#pragma unroll
        for (int pass = 0; pass < PASSES; pass++) {
            uint4 x[4][PARTS], y[4][PARTS];
#pragma unroll
            for (int i = 0; i < 4; i++) { /* four rows a thread, all under way at once */
                const int r = line + 16 * i;
                const int64_t query = (first + r) * s.H + h, key = (first + r) * s.Hkv + group;
                for (int part = 0; part < PARTS; part++)
                    x[i][part] = y[i][part] = make_uint4(0, 0, 0, 0);
                if (r < rows)
                    suffix_row<D, NORMAL>(a, s.V, query, key, pass, row0 + piece * 8,
                                          col0 + piece * 8, x[i], y[i]);
            }
            __syncthreads();
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int r = line + 16 * i;
                *reinterpret_cast<uint4 *>(left.at(r, piece * 8)) = x[i][0];
                *reinterpret_cast<uint4 *>(right.at(r, piece * 8)) = y[i][0];
                if (ACCURATE) {
                    *reinterpret_cast<uint4 *>(left_low.at(r, piece * 8)) = x[i][PARTS - 1];
                    *reinterpret_cast<uint4 *>(right_low.at(r, piece * 8)) = y[i][PARTS - 1];
                }
            }
            __syncthreads();
            if (ACCURATE)
                multiply<1, 8, CHUNK, true, false>(c, left, warp * 16, right_low, 0);
            if (ACCURATE && !(NORMAL && pass == 1))
                multiply<1, 8, CHUNK, true, false>(c, left_low, warp * 16, right, 0);
            multiply<1, 8, CHUNK, true, false>(c, left, warp * 16, right, 0);
        }
        store_sum(add_and_weigh<NORMAL>(NORMAL ? a.beta[at] : 0.0f, at_start, low_at_start, LOW, c),
                  warp_sum, inner + at * (D / 64) * across + tile);
    }
    const float factor = NORMAL ? -1.0f : a.to_previous ? 1.0f : a.scale;
    if (first_state != nullptr)
        for (int n = 0; n < 8; n++)
            for (int e = 0; e < 4; e++)
                first_state[head * D * width + (row0 + warp * 16 + fragment_row(e)) * width + col0 +
                            n * 8 + fragment_col(e)] = factor * c[0][n][e];
}

/* The tiles of N, then those of E: one walks beside the other. */
template <int D, bool ACCURATE>
__global__ __launch_bounds__(128, 4) void suffix_kernel(Shape s, GradArguments a) {
    __shared__ __align__(16) element memory[(ACCURATE ? 4 : 2) * CHUNK * 64];
    __shared__ float warp_sum[4];
    constexpr int TILES = (D / 64) * (D / 64);
    if (blockIdx.x < TILES)
        suffix<D, true, ACCURATE>(s, a, blockIdx.x, memory, warp_sum);
    else
        suffix<D, false, ACCURATE>(s, a, blockIdx.x - TILES, memory, warp_sum);
}

/* ---- dk, dv, dg, dq ------------------------------------------------------------------------ */

/* V never takes more of it than D does: it comes in columns of W <= D. */
template <int D> struct GradShared {
    element state[D * D], k[CHUNK * D], left[CHUNK * D], right[CHUNK * D], score[CHUNK * CHUNK];
    float mask[CHUNK * MASK]; /* M^T: [j][t] */
    float eg[CHUNK], w[CHUNK], local[CHUNK], partial[4][CHUNK];
};

/* bf16((K K^T) . W), W_ji = sum_{t >= i, j} (M_tj w_t) M_ti */
template <int D>
__device__ __forceinline__ void ridge_scores(const GradShared<D> &m, Tile<D> tk, Tile<CHUNK> score,
                                             int row0, int warp, int rows) {
    float d[2][2][4];
    clear(d);
    multiply<2, 2, D, false, true>(d, tk, row0, tk, (warp & 3) * 16);
    /* The thread's four rows j and four columns i of W at once; a term counts from max(i, j) on. */
    int j[2][2], i[2][2];
#pragma unroll
    for (int t = 0; t < 2; t++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            j[t][e] = row0 + t * 16 + fragment_row(2 * e);
            i[t][e] = (warp & 3) * 16 + t * 8 + fragment_col(e);
        }
    float weight[2][2][4] = {};
#pragma unroll 2
    for (int u = max(j[0][0], i[0][0]); u < rows; u++) {
        float of_j[2][2];
#pragma unroll
        for (int t = 0; t < 2; t++)
#pragma unroll
            for (int half = 0; half < 2; half++)
                of_j[t][half] = u >= j[t][half] ? m.mask[j[t][half] * MASK + u] * m.w[u] : 0.0f;
#pragma unroll
        for (int n = 0; n < 2; n++)
#pragma unroll
            for (int odd = 0; odd < 2; odd++) {
                const float of_i = m.mask[i[n][odd] * MASK + u];
                if (u >= i[n][odd])
#pragma unroll
                    for (int t = 0; t < 2; t++)
#pragma unroll
                        for (int half = 0; half < 2; half++)
                            weight[t][n][2 * half + odd] =
                                fmaf(of_j[t][half], of_i, weight[t][n][2 * half + odd]);
            }
    }
#pragma unroll
    for (int t = 0; t < 2; t++)
#pragma unroll
        for (int n = 0; n < 2; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                *score.at(j[t][e >> 1], i[n][e & 1]) = to_element(d[t][n][e] * weight[t][n][e]);
}

/* c = dk^H: minus what was added up and fma(exp(G_C - G_j), K N + K N^T); half of <dk^H, k> out of
 * dg's term of the token. */
template <int D>
__device__ __forceinline__ void
close_keys(GradShared<D> &m, Tile<D> tk, int row0, int col0, int warp, const float (&decay)[2][2],
           const float (&more)[2][D / 32][4], float (&c)[2][D / 32][4]) {
    constexpr int NT = D / 32;
    for (int t = 0; t < 2; t++)
        for (int half = 0; half < 2; half++) {
            const int row = row0 + t * 16 + fragment_row(2 * half);
            float along = 0.0f;
            for (int n = 0; n < NT; n++) {
                const float2 key = to_floats(*tk.pair(row, col0 + n * 8 + fragment_col(0)));
                for (int i = 0; i < 2; i++) {
                    const int e = 2 * half + i;
                    c[t][n][e] = -fmaf(decay[t][half], more[t][n][e], c[t][n][e]);
                    along = fmaf(c[t][n][e], i == 0 ? key.x : key.y, along);
                }
            }
            row_partial(m.partial, warp, row, along);
        }
    sync_tiles();
    if (threadIdx.x < CHUNK)
        m.local[threadIdx.x] = -0.5f * row_total(m.partial, threadIdx.x);
}

/* dq = rest + p (or p alone), and <p_t, (H_t + lambda_t I) x_t> out of dg's term of the token: as
 * the solve has left it, accurately as <p_t, q_t>; right: P. */
template <int D, bool ACCURATE>
__device__ __forceinline__ void direct(Shape s, const GradArguments &a, GradShared<D> &m,
                                       Tile<D> right, int64_t first, int64_t h, int rows, int row0,
                                       int col0, int warp) {
    constexpr int NT = D / 32;
    float kept[2][2];
    for (int t = 0; t < 2; t++)
        for (int half = 0; half < 2; half++) {
            const int row = row0 + t * 16 + fragment_row(2 * half);
            const int64_t at = (first + row) * s.H + h;
            float along = 0.0f;
            for (int n = 0; n < NT; n++) {
                const int col = col0 + n * 8 + fragment_col(0);
                if (row < rows) {
                    const float2 p = ACCURATE ? join(right.at(row, col), a.p_low + at * D + col)
                                              : to_floats(*right.pair(row, col));
                    if (ACCURATE) {
                        const float2 q =
                            to_floats(*reinterpret_cast<const element2 *>(a.q + at * D + col));
                        along = fmaf(p.x, q.x, along);
                        along = fmaf(p.y, q.y, along);
                    }
                    if (ACCURATE && a.rest_single != nullptr) {
                        const float2 r =
                            *reinterpret_cast<const float2 *>(a.rest_single + at * D + col);
                        *reinterpret_cast<element2 *>(a.dq + at * D + col) =
                            to_elements(r.x + p.x, r.y + p.y);
                    } else if (a.rest != nullptr) {
                        const float2 r =
                            to_floats(*reinterpret_cast<const element2 *>(a.rest + at * D + col));
                        *reinterpret_cast<element2 *>(a.dq + at * D + col) =
                            to_elements(r.x + p.x, r.y + p.y);
                    }
                }
            }
            if (ACCURATE) {
                __syncwarp();
                along = along + __shfl_xor_sync(~0u, along, 1);
                along = along + __shfl_xor_sync(~0u, along, 2);
            }
            kept[t][half] = along; /* kept until every thread has read m.partial */
        }
    sync_tiles();
    if (ACCURATE) {
        for (int t = 0; t < 2; t++)
            for (int half = 0; half < 2; half++)
                if ((threadIdx.x & 3) == 0)
                    m.partial[warp & 3][row0 + t * 16 + fragment_row(2 * half)] = kept[t][half];
        sync_tiles();
        if (threadIdx.x < CHUNK)
            m.local[threadIdx.x] = m.local[threadIdx.x] - row_total(m.partial, threadIdx.x);
        sync_tiles();
    } else if (a.energy != nullptr && threadIdx.x < rows) {
        m.local[threadIdx.x] = m.local[threadIdx.x] - a.energy[(first + threadIdx.x) * s.H + h];
    }
}

/* Q' into out, from x. */
template <int D>
__device__ __forceinline__ void mix_tile(Shape s, const GradArguments &a, Tile<D> solved,
                                         Tile<D> out, int64_t first, int64_t h, int rows) {
    for (int i = threadIdx.x; i < CHUNK * D / 8; i += THREADS) {
        const int row = i / (D / 8), col = i % (D / 8) * 8;
        uint4 mixed = make_uint4(0, 0, 0, 0);
        if (row < rows) {
            const int64_t at = (first + row) * s.H + h;
            const float alpha = a.alpha == nullptr ? 1.0f : to_float(a.alpha[at]);
            uint4 q8 = eight(a.q + at * D + col), x8 = eight(solved.at(row, col));
#pragma unroll
            for (int n = 0; n < 4; n++) {
                const float2 q = to_floats(pair_of(q8, n)), x = to_floats(pair_of(x8, n));
                pair_of(mixed, n) =
                    to_elements(fmaf(alpha, x.x - q.x, q.x), fmaf(alpha, x.y - q.y, q.y));
            }
        }
        *reinterpret_cast<uint4 *>(out.at(row, col)) = mixed;
    }
}

/* A part of Q', kept in two, into out. */
template <int D, bool LOW>
__device__ __forceinline__ void mix_part(Shape s, const GradArguments &a, Tile<D> out,
                                         int64_t first, int64_t h, int rows) {
    for (int i = threadIdx.x; i < CHUNK * D / 8; i += THREADS) {
        const int row = i / (D / 8), col = i % (D / 8) * 8;
        uint4 mixed = make_uint4(0, 0, 0, 0);
        if (row < rows) {
            const int64_t at = (first + row) * s.H + h;
            const float alpha = a.alpha == nullptr ? 1.0f : to_float(a.alpha[at]);
            uint4 q8 = eight(a.q + at * D + col), high = eight(a.x + at * D + col),
                  low = eight(a.x_low + at * D + col);
#pragma unroll
            for (int n = 0; n < 4; n++) {
                const float2 m =
                    mixed_pair(alpha, pair_of(q8, n), pair_of(high, n), pair_of(low, n));
                pair_of(mixed, n) = LOW ? low_pair(m.x, m.y) : to_elements(m.x, m.y);
            }
        }
        *reinterpret_cast<uint4 *>(out.at(row, col)) = mixed;
    }
}

/* Columns col .. col + W - 1 of dv = s fma(exp(G_C - G_j), K E, dv), stored; <v, dv> of them out of
 * dg's term of the token. values: V. */
template <int D, int W>
__device__ __forceinline__ void
close_values(Shape s, const GradArguments &a, GradShared<D> &m, Tile<W> values, int64_t first,
             int64_t h, int64_t col, int rows, int row0, int col0, int warp,
             const float (&decay)[2][2], const float (&more)[2][W / 32][4],
             float (&dv)[2][W / 32][4]) {
    for (int t = 0; t < 2; t++)
        for (int half = 0; half < 2; half++) {
            const int row = row0 + t * 16 + fragment_row(2 * half);
            float along = 0.0f;
            for (int n = 0; n < W / 32; n++) {
                const float2 value = to_floats(*values.pair(row, col0 + n * 8 + fragment_col(0)));
                for (int i = 0; i < 2; i++) {
                    const int e = 2 * half + i;
                    dv[t][n][e] = a.scale * fmaf(decay[t][half], more[t][n][e], dv[t][n][e]);
                    along = fmaf(dv[t][n][e], i == 0 ? value.x : value.y, along);
                }
                if (row < rows)
                    *reinterpret_cast<element2 *>(a.dv + ((first + row) * s.H + h) * s.V + col +
                                                  col0 + n * 8 + fragment_col(0)) =
                        to_elements(dv[t][n][2 * half], dv[t][n][2 * half + 1]);
            }
            row_partial(m.partial, warp, row, along);
        }
    sync_tiles();
    if (threadIdx.x < rows)
        m.local[threadIdx.x] = m.local[threadIdx.x] - row_total(m.partial, threadIdx.x);
}

/* bf16((K Q'^T) . M^T) into the score tile, Q' into right; fast, left holds X. Accurately the low
 * part of Q' comes before its high one. */
template <int D, bool ACCURATE>
__device__ __forceinline__ void value_scores(Shape s, const GradArguments &a, GradShared<D> &m,
                                             int64_t first, int64_t h, int rows, int row0,
                                             int warp) {
    const Tile<D> tk{m.k}, left{m.left}, right{m.right};
    float d[2][2][4];
    clear(d);
    if (ACCURATE) {
        mix_part<D, true>(s, a, right, first, h, rows);
        sync_tiles();
        multiply<2, 2, D, false, true>(d, tk, row0, right, (warp & 3) * 16);
        sync_tiles();
        mix_part<D, false>(s, a, right, first, h, rows);
    } else {
        mix_tile<D>(s, a, left, right, first, h, rows);
    }
    sync_tiles();
    multiply<2, 2, D, false, true>(d, tk, row0, right, (warp & 3) * 16);
    mask_scores(d, m.mask, Tile<CHUNK>{m.score}, row0, warp);
}

/* What later chunks and this one send back through U: dv, its terms of dg, and dk^U added to c. W
 * columns of V after another; MANY: there may be several. */
template <int D, int W, bool MANY, bool ACCURATE>
__device__ __forceinline__ void
through_values(Shape s, const GradArguments &a, GradShared<D> &m, const Chunk &chunk, int64_t h,
               int64_t group, const float (&decay)[2][2], float (&c)[2][D / 32][4]) {
    constexpr int NT = D / 32;
    const Tile<D> tk{m.k}, right{m.right};
    const Tile<W> state{m.state}, values{m.k}, grad{m.left};
    const Tile<CHUNK> score{m.score};
    const int64_t first = chunk.first, state_at = (chunk.slot * s.H + h) * D * s.V;
    const int rows = chunk.rows, warp = threadIdx.x >> 5, row0 = (warp >> 2) * 32,
              own0 = (warp & 3) * (D / 4), col0 = (warp & 3) * (W / 4);
    const auto load_state = [&](bool low, int64_t col) {
        load_tile<D, W, THREADS>(state, (low ? a.e_low : a.e_chunk) + state_at + col, s.V, D);
    };
    load_state(ACCURATE, 0);
    value_scores<D, ACCURATE>(s, a, m, first, h, rows, row0, warp);
    float d[2][2][4];
    float back[2][NT][4]; /* V E^T */
    clear(d);
    clear(back);
    for (int64_t col = 0; col == 0 || (MANY && col < s.V); col += W) {
        /* dv: grad = do, state = E */
        float dv[2][W / 32][4], more[2][W / 32][4];
        clear(dv);
        clear(more);
        if (MANY && col > 0) {
            load_tile<CHUNK, D, THREADS>(tk, a.k + (first * s.Hkv + group) * D, s.Hkv * D, rows);
            load_state(ACCURATE, col);
        }
        load_tile<CHUNK, W, THREADS>(grad, a.dout + (first * s.H + h) * s.V + col, s.H * s.V, rows);
        sync_tiles();
        if (ACCURATE) {
            multiply<2, W / 32, D, false, false>(more, tk, row0, state, col0);
            sync_tiles();
            load_state(false, col);
            sync_tiles();
        }
        multiply<2, W / 32, CHUNK, false, false>(dv, score, row0, grad, col0);
        multiply<2, W / 32, D, false, false>(more, tk, row0, state, col0);
        sync_tiles();
        /* V in the place of K */
        load_tile<CHUNK, W, THREADS>(values, a.v + (first * s.Hkv + group) * s.V + col, s.Hkv * s.V,
                                     rows);
        if (ACCURATE)
            load_state(true, col);
        sync_tiles();
        close_values<D, W>(s, a, m, values, first, h, col, rows, row0, col0, warp, decay, more, dv);
        multiply<2, 2, W, false, true>(d, values, row0, grad, (warp & 3) * 16);
        multiply<2, NT, W, false, true>(back, values, row0, state, own0);
        if (ACCURATE) {
            sync_tiles();
            load_state(false, col);
            sync_tiles();
            multiply<2, NT, W, false, true>(back, values, row0, state, own0);
        }
        sync_tiles();
    }
    if (threadIdx.x < rows)
        m.local[threadIdx.x] = m.local[threadIdx.x] + a.along[(first + threadIdx.x) * s.H + h];
    /* dk^U */
    mask_scores(d, m.mask, score, row0, warp);
    float own[2][NT][4];
    clear(own);
    if (ACCURATE) {
        mix_part<D, true>(s, a, right, first, h, rows);
        sync_tiles();
        multiply<2, NT, CHUNK, false, false>(own, score, row0, right, own0);
        sync_tiles();
        mix_part<D, false>(s, a, right, first, h, rows);
    }
    sync_tiles();
    multiply<2, NT, CHUNK, false, false>(own, score, row0, right, own0);
    for (int t = 0; t < 2; t++)
        for (int n = 0; n < NT; n++)
            for (int e = 0; e < 4; e++)
                c[t][n][e] =
                    c[t][n][e] + a.scale * fmaf(decay[t][e >> 1], back[t][n][e], own[t][n][e]);
}

/* RULE dg, from the chunk's last token to its first: <., H> and <., U> of the next chunk or of the
 * final states (0 without their cotangents), tiles in order, then one term a token. */
template <int D>
__device__ __forceinline__ void gate_gradient(Shape s, const GradArguments &a, const float *local,
                                              const Chunk &chunk, int64_t h, bool layer) {
    const int64_t at = chunk.last ? chunk.sequence * s.H + h : (chunk.slot + 1) * s.H + h;
    const int of_h = (D / 64) * (D / 64), of_u = (D / 64) * (int)(s.V / 64);
    const float *const of_n = (chunk.last ? a.n_end : a.n_inner) + at * of_h;
    const float *const of_e = (chunk.last ? a.e_end : a.e_inner) + at * of_u;
    float normal = 0.0f, linear = 0.0f;
    for (int i = 0; i < of_h && !(chunk.last && a.dh_final == nullptr); i++)
        normal = normal + of_n[i];
    for (int i = 0; layer && i < of_u && !(chunk.last && a.du_final == nullptr); i++)
        linear = linear + of_e[i];
    float sum = fmaf(a.scale, linear, -normal);
    for (int t = chunk.rows - 1; t >= 0; t--) {
        sum = sum + local[t];
        a.dg[(chunk.first + t) * s.H + h] = sum;
    }
}

/* Fragments into rows of [B,T,H,D], rounded. */
template <int D>
__device__ __forceinline__ void store_keys(Shape s, element *to, int rows, int row0, int col0,
                                           const float (&c)[2][D / 32][4]) {
    for (int t = 0; t < 2; t++)
        for (int n = 0; n < D / 32; n++)
            for (int e = 0; e < 4; e += 2) {
                const int row = row0 + t * 16 + fragment_row(e);
                if (row < rows)
                    *reinterpret_cast<element2 *>(to + row * s.H * D + col0 + n * 8 +
                                                  fragment_col(e)) =
                        to_elements(c[t][n][e], c[t][n][e + 1]);
            }
}

/* c += bf16((K X^T) . M^T) P + bf16((K P^T) . M^T) X, X and P in two parts; left and right hold the
 * low parts before and the high ones after. */
template <int D>
__device__ __forceinline__ void pairs_accurate(const GradArguments &a, GradShared<D> &m,
                                               int64_t own, int64_t stride, int rows, int row0,
                                               int col0, int warp, float (&c)[2][D / 32][4]) {
    constexpr int NT = D / 32;
    const Tile<D> tk{m.k}, left{m.left}, right{m.right};
    const Tile<CHUNK> score{m.score};
    const auto load = [&](Tile<D> tile, const element *from) {
        sync_tiles();
        load_tile<CHUNK, D, THREADS>(tile, from + own, stride, rows);
    };
    float of_x[2][2][4], of_p[2][2][4];
    clear(of_x);
    clear(of_p);
    multiply<2, 2, D, false, true>(of_x, tk, row0, left, (warp & 3) * 16);
    multiply<2, 2, D, false, true>(of_p, tk, row0, right, (warp & 3) * 16);
    load(left, a.x);
    load_tile<CHUNK, D, THREADS>(right, a.p + own, stride, rows);
    sync_tiles();
    multiply<2, 2, D, false, true>(of_x, tk, row0, left, (warp & 3) * 16);
    multiply<2, 2, D, false, true>(of_p, tk, row0, right, (warp & 3) * 16);
    mask_scores(of_x, m.mask, score, row0, warp);
    load(right, a.p_low);
    sync_tiles();
    multiply<2, NT, CHUNK, false, false>(c, score, row0, right, col0);
    load(right, a.p);
    sync_tiles();
    multiply<2, NT, CHUNK, false, false>(c, score, row0, right, col0);
    load(left, a.x_low);
    mask_scores(of_p, m.mask, score, row0, warp);
    sync_tiles();
    multiply<2, NT, CHUNK, false, false>(c, score, row0, left, col0);
    load(left, a.x);
    sync_tiles();
    multiply<2, NT, CHUNK, false, false>(c, score, row0, left, col0);
}

/* RULE, rows j:
 *   dk^H = -( bf16((K X^T) . M^T) P + bf16((K P^T) . M^T) X + bf16((K K^T) . W) K, added up by the
 * tensor core, then fma(carry_j, K H_0), then fma(exp(G_C - G_j), K N + K N^T) ),  W_ji = sum_{t >=
 * i, j} (M_tj w_t) M_ti dk^U = s fma(exp(G_C - G_j), V E^T, bf16((V do^T) . M^T) Q'),  dk =
 * bf16(dk^H + dk^U) dv   = bf16(s fma(exp(G_C - G_j), K E, bf16((K Q'^T) . M^T) do))
 * Accurately X, P, Q', N and E stand in two parts, the low one before the high one in every product
 * (N: low, its transpose, high, its transpose). */
template <int D, int W, bool MANY, bool ACCURATE>
__global__ __launch_bounds__(THREADS, 2) void grad_kernel(Shape s, GradArguments a) {
    extern __shared__ __align__(128) unsigned char memory[];
    GradShared<D> &m = *reinterpret_cast<GradShared<D> *>(memory);
    constexpr int NT = D / 32;
    const Tile<D> state{m.state}, tk{m.k}, left{m.left}, right{m.right};
    const Tile<CHUNK> score{m.score};
    const Chunk chunk = s.chunk(blockIdx.x, blockIdx.z);
    if (chunk.rows == 0)
        return;
    const int64_t h = blockIdx.y, group = h / (s.H / s.Hkv), first = chunk.first;
    const int warp = threadIdx.x >> 5, row0 = (warp >> 2) * 32, col0 = (warp & 3) * (D / 4),
              rows = chunk.rows;
    const int64_t state_at = (chunk.slot * s.H + h) * D * D;
    const float last = a.cumulative == nullptr ? 0.0f : a.cumulative[(first + rows - 1) * s.H + h];

    load_tile<D, D, THREADS>(state, a.h_chunk + state_at, D, D);
    load_tile<CHUNK, D, THREADS>(tk, a.k + (first * s.Hkv + group) * D, s.Hkv * D, rows);
    const int64_t own = (first * s.H + h) * D;
    load_tile<CHUNK, D, THREADS>(left, (ACCURATE ? a.x_low : a.x) + own, s.H * D, rows);
    load_tile<CHUNK, D, THREADS>(right, (ACCURATE ? a.p_low : a.p) + own, s.H * D, rows);
    load_mask<THREADS>(s, a.cumulative, first, h, rows, true, m.mask, m.eg);
    if (threadIdx.x < CHUNK)
        m.w[threadIdx.x] = threadIdx.x < rows ? a.w[(first + threadIdx.x) * s.H + h] : 0.0f;
    sync_tiles();

    /* Per row of the thread: carry_j and exp(G_C - G_j). */
    float carry[2][2], decay[2][2];
    for (int t = 0; t < 2; t++)
        for (int half = 0; half < 2; half++) {
            const int row = row0 + t * 16 + fragment_row(2 * half);
            const int64_t at = (first + row) * s.H + h;
            carry[t][half] = row < rows ? a.carry[at] : 0.0f;
            decay[t][half] = row < rows && a.cumulative != nullptr
                                 ? gka_pinned_expf(last - a.cumulative[at])
                                 : 1.0f;
        }

    float c[2][NT][4], more[2][NT][4];
    clear(c);
    if (ACCURATE) {
        pairs_accurate<D>(a, m, own, s.H * D, rows, row0, col0, warp, c);
    } else {
        masked_scores<D>(tk, left, m.mask, score, row0, warp);
        sync_tiles();
        multiply<2, NT, CHUNK, false, false>(c, score, row0, right, col0);
        sync_tiles();
        masked_scores<D>(tk, right, m.mask, score, row0, warp);
        sync_tiles();
        multiply<2, NT, CHUNK, false, false>(c, score, row0, left, col0);
    }
    sync_tiles();
    ridge_scores<D>(m, tk, score, row0, warp, rows);
    sync_tiles();
    multiply<2, NT, CHUNK, false, false>(c, score, row0, tk, col0);
    clear(more);
    multiply<2, NT, D, false, true>(more, tk, row0, state, col0);
    for (int t = 0; t < 2; t++)
        for (int n = 0; n < NT; n++)
            for (int e = 0; e < 4; e++)
                c[t][n][e] = fmaf(carry[t][e >> 1], more[t][n][e], c[t][n][e]);
    sync_tiles();
    clear(more);
    for (int part = ACCURATE ? 0 : 1; part < 2; part++) { /* K N + K N^T, the low part first */
        if (part == 1 && ACCURATE)
            sync_tiles();
        load_tile<D, D, THREADS>(state, (part == 0 ? a.n_low : a.n_chunk) + state_at, D, D);
        sync_tiles();
        multiply<2, NT, D, false, false>(more, tk, row0, state, col0);
        multiply<2, NT, D, false, true>(more, tk, row0, state, col0);
    }
    close_keys<D>(m, tk, row0, col0, warp, decay, more, c);
    direct<D, ACCURATE>(s, a, m, right, first, h, rows, row0, col0, warp);

    if (a.dout != nullptr)
        through_values<D, W, MANY, ACCURATE>(s, a, m, chunk, h, group, decay, c);
    store_keys<D>(s, a.dk + own, rows, row0, col0, c);
    sync_tiles();
    if (a.dg != nullptr && threadIdx.x == 0)
        gate_gradient<D>(s, a, m.local, chunk, h, a.dout != nullptr);
}

/* ---- grouped heads ------------------------------------------------------------------------- */

/* RULE binary32 sum over the query heads of a group in order, rounded to bf16. */
__global__ void group_kernel(Shape s, int64_t D, const element *by_head, element *out) {
    const int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x;
    if (i >= s.B * s.T * s.Hkv * D)
        return;
    const int64_t per = s.H / s.Hkv, d = i % D, group = i / D % s.Hkv, token = i / D / s.Hkv;
    const element *const from = by_head + (token * s.H + group * per) * D + d;
    float sum = to_float(from[0]);
    for (int64_t j = 1; j < per; j++)
        sum = sum + to_float(from[j * D]);
    out[i] = to_element(sum);
}

void launch_group(Shape s, int64_t D, const element *by_head, element *out, cudaStream_t stream) {
    const int64_t n = s.B * s.T * s.Hkv * D;
    group_kernel<<<(unsigned)((n + 255) / 256), 256, 0, stream>>>(s, D, by_head, out);
}

/* ---- launches ------------------------------------------------------------------------------ */

template <typename Kernel> static cudaError_t allow(Kernel kernel, size_t bytes) {
    return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
}

template <int D, int W, bool ACCURATE>
static cudaError_t launch_grad_output_by(Shape s, const GradArguments &a, cudaStream_t stream) {
    const auto kernel = grad_output_kernel<D, W, ACCURATE>;
    const cudaError_t error = allow(kernel, sizeof(OutputShared<D, W>));
    if (error != cudaSuccess)
        return error;
    const dim3 grid((unsigned)s.row_chunks(), (unsigned)s.H, (unsigned)s.B);
    kernel<<<grid, THREADS, sizeof(OutputShared<D, W>), stream>>>(s, a);
    return cudaGetLastError();
}

template <int D>
cudaError_t launch_grad_output(Shape s, bool accurate, const GradArguments &a,
                               cudaStream_t stream) {
    if (s.V < D)
        return accurate ? launch_grad_output_by<D, 64, true>(s, a, stream)
                        : launch_grad_output_by<D, 64, false>(s, a, stream);
    return accurate ? launch_grad_output_by<D, D, true>(s, a, stream)
                    : launch_grad_output_by<D, D, false>(s, a, stream);
}

template <int D, int W, bool MANY, bool ACCURATE>
static cudaError_t launch_grad_by(Shape s, const GradArguments &a, cudaStream_t stream) {
    const auto kernel = grad_kernel<D, W, MANY, ACCURATE>;
    const cudaError_t error = allow(kernel, sizeof(GradShared<D>));
    if (error != cudaSuccess)
        return error;
    const dim3 grid((unsigned)s.row_chunks(), (unsigned)s.H, (unsigned)s.B);
    kernel<<<grid, THREADS, sizeof(GradShared<D>), stream>>>(s, a);
    return cudaGetLastError();
}

template <int D>
void launch_weights(Shape s, bool accurate, const GradArguments &a, cudaStream_t stream) {
    const auto kernel = accurate ? weight_kernel<D, true> : weight_kernel<D, false>;
    const dim3 chunks((unsigned)s.row_chunks(), (unsigned)s.H, (unsigned)s.B);
    kernel<<<chunks, THREADS, 0, stream>>>(s, a);
}

template <int D>
void launch_suffix(Shape s, bool accurate, const GradArguments &a, cudaStream_t stream) {
    const auto kernel = accurate ? suffix_kernel<D, true> : suffix_kernel<D, false>;
    const dim3 tiles((unsigned)((D / 64) * ((D + (a.dout != nullptr ? s.V : 0)) / 64)),
                     (unsigned)s.H, (unsigned)s.N);
    kernel<<<tiles, 128, 0, stream>>>(s, a);
}

template <int D, bool ACCURATE>
static cudaError_t launch_grads_as(Shape s, const GradArguments &a, cudaStream_t stream) {
    if (a.dout == nullptr || s.V == D)
        return launch_grad_by<D, D, false, ACCURATE>(s, a, stream);
    return s.V < D ? launch_grad_by<D, 64, false, ACCURATE>(s, a, stream)
                   : launch_grad_by<D, D, true, ACCURATE>(s, a, stream);
}

template <int D>
cudaError_t launch_grads(Shape s, bool accurate, const GradArguments &a, cudaStream_t stream) {
    return accurate ? launch_grads_as<D, true>(s, a, stream)
                    : launch_grads_as<D, false>(s, a, stream);
}

template cudaError_t launch_grad_output<64>(Shape, bool, const GradArguments &, cudaStream_t);
template cudaError_t launch_grad_output<128>(Shape, bool, const GradArguments &, cudaStream_t);
template void launch_weights<64>(Shape, bool, const GradArguments &, cudaStream_t);
template void launch_weights<128>(Shape, bool, const GradArguments &, cudaStream_t);
template void launch_suffix<64>(Shape, bool, const GradArguments &, cudaStream_t);
template void launch_suffix<128>(Shape, bool, const GradArguments &, cudaStream_t);
template cudaError_t launch_grads<64>(Shape, bool, const GradArguments &, cudaStream_t);
template cudaError_t launch_grads<128>(Shape, bool, const GradArguments &, cudaStream_t);

} // namespace GKA_CUDA_ELEMENTS
} // namespace gka
