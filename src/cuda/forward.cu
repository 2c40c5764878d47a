/* forward.cu - the layer's forward pass on a GPU: gates, states, solve, output.
 *
 * Every output is a function of the inputs alone: products run over ascending groups of 16
 * (tile.cuh), sums of binary32 in a written order, divide and square root are IEEE's, exp is
 * pinned.h's. Compiled with -fmad=false: fmaf() is a fused multiply-add and nothing else is. The
 * room chunk replays it bit by bit (profile gka-cuda); what is written here as RULE is what it
 * replays.
 *
 *   symbols   C = 64 tokens of a chunk, t row, j <= t; G_t chunk-local cumulative sum of g; M_tj =
 * exp(G_t - G_j); H_0, U_0 state before the chunk; f Frobenius norm; lambda = a f; two-term
 * Chebyshev (NUMERICS 3)
 */
#include "cuda/kernels.cuh"
#include "cuda/norm.cuh"
#include "cuda/tile.cuh"

#include "arith/pinned.h"

namespace gka {
namespace GKA_CUDA_ELEMENTS {

/* ---- gates --------------------------------------------------------------------------------- */

/* RULE G_t = G_{t-1} + g_t in binary32, from 0 at each chunk's start; 0 without gates. */
__global__ void gate_kernel(Shape s, const float *g, float *cumulative) {
    const int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x;
    if (i >= s.slots() * s.H)
        return;
    const int64_t h = i % s.H, place = i / s.H;
    const Chunk chunk = s.chunk(place % s.row_chunks(), place / s.row_chunks());
    const int64_t first = chunk.first * s.H + h;
    const int rows = chunk.rows;
    float gate[CHUNK], sum = 0.0f;
#pragma unroll
    for (int t = 0; t < CHUNK; t++) /* all under way at once */
        gate[t] = t < rows ? g[first + t * s.H] : 0.0f;
#pragma unroll
    for (int t = 0; t < CHUNK; t++)
        if (t < rows) {
            sum = sum + gate[t];
            cumulative[first + t * s.H] = sum;
        }
}

void launch_gates(Shape s, const float *g, float *cumulative, cudaStream_t stream) {
    const int64_t n = s.slots() * s.H;
    if (g != nullptr)
        gate_kernel<<<(unsigned)((n + 31) / 32), 32, 0, stream>>>(s, g, cumulative);
}

/* ---- states -------------------------------------------------------------------------------- */

/* RULE S <- S exp(G_C), then S += K^T bf16(v_j exp(G_C - G_j)) by the tensor core; the snapshot
 * before a chunk is bf16(S). One block owns a 64 x 64 tile of S and walks over the chunks. */
template <int D>
__global__ __launch_bounds__(128) void state_kernel(Shape s, const element *k,
                                                    const float *cumulative, StateArguments h_of,
                                                    StateArguments u_of) {
    __shared__ __align__(16) element k_data[CHUNK * 64], v_data[CHUNK * 64];
    const Tile<64> tk{k_data}, tv{v_data};
    constexpr int TILES = (D / 64) * (D / 64); /* of H; then those of U */
    const StateArguments &of = blockIdx.x < TILES ? h_of : u_of;
    const int tile = blockIdx.x < TILES ? blockIdx.x : blockIdx.x - TILES;
    const float *const initial = of.initial;
    float *const final_state = of.final_state;
    const int64_t width = of.width;
    const int across = (int)width / 64, row0 = tile / across * 64, col0 = tile % across * 64;
    const int64_t h = blockIdx.y, group = h / (s.H / s.Hkv);
    const Span span = s.span(blockIdx.z);
    const int warp = threadIdx.x >> 5;

    float c[1][8][4];
    clear(c);
    const int64_t state_at = (blockIdx.z * s.H + h) * D * width;
    if (initial != nullptr)
        for (int n = 0; n < 8; n++)
            for (int e = 0; e < 4; e++)
                c[0][n][e] = initial[state_at + (row0 + warp * 16 + fragment_row(e)) * width +
                                     col0 + n * 8 + fragment_col(e)];

    /* Each thread carries four lines of both operands, fetched one chunk ahead. */
    const int piece = threadIdx.x % 8, line = threadIdx.x / 8;
    uint4 key[4], value[4];
    float gate[4], last = 0.0f;
    const auto fetch = [&](int64_t chunk) {
        const int64_t first = span.first + chunk * CHUNK;
        const int rows = (int)min((int64_t)CHUNK, span.tokens - chunk * CHUNK);
        last = cumulative == nullptr ? 0.0f : cumulative[(first + rows - 1) * s.H + h];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int r = line + 16 * i;
            key[i] = value[i] = make_uint4(0, 0, 0, 0);
            gate[i] = last;
            if (r < rows) {
                const int64_t at = (first + r) * s.Hkv + group;
                key[i] = *reinterpret_cast<const uint4 *>(k + at * D + row0 + piece * 8);
                value[i] = *reinterpret_cast<const uint4 *>(of.v + at * width + col0 + piece * 8);
                if (cumulative != nullptr)
                    gate[i] = cumulative[(first + r) * s.H + h];
            }
        }
    };
    if (span.tokens > 0)
        fetch(0);
    for (int64_t chunk = 0; chunk < span.chunks(); chunk++) {
        keep_state(c, of.snapshot, of.snapshot_low, ((span.slot + chunk) * s.H + h) * D * width,
                   width, row0, col0);

        const float end = last;
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int r = line + 16 * i;
            if (cumulative != nullptr)
                weigh(value[i], gka_pinned_expf(end - gate[i]));
            *reinterpret_cast<uint4 *>(tk.at(r, piece * 8)) = key[i];
            *reinterpret_cast<uint4 *>(tv.at(r, piece * 8)) = value[i];
        }
        __syncthreads();
        if (chunk + 1 < span.chunks())
            fetch(chunk + 1);
        if (cumulative != nullptr) {
            const float decay = gka_pinned_expf(end);
            for (int n = 0; n < 8; n++)
                for (int e = 0; e < 4; e++)
                    c[0][n][e] = c[0][n][e] * decay;
        }
        multiply<1, 8, CHUNK, true, false>(c, tk, warp * 16, tv, 0);
    }
    if (final_state != nullptr)
        for (int n = 0; n < 8; n++)
            for (int e = 0; e < 4; e++)
                final_state[state_at + (row0 + warp * 16 + fragment_row(e)) * width + col0 + n * 8 +
                            fragment_col(e)] = c[0][n][e];
}

template <int D>
void launch_states(Shape s, const element *k, const float *cumulative, const StateArguments &h,
                   const StateArguments *u, cudaStream_t stream) {
    const dim3 grid((unsigned)((D / 64) * (D + (u != nullptr ? s.V : 0)) / 64), (unsigned)s.H,
                    (unsigned)s.N);
    state_kernel<D><<<grid, 128, 0, stream>>>(s, k, cumulative, h, u != nullptr ? *u : h);
}

/* ---- solve and output ---------------------------------------------------------------------- */

constexpr int THREADS = 256; /* 8 warps: 2 groups of 32 rows, 4 groups of D/4 columns */

/* Shared memory of one block. */
template <int D> struct Shared {
    element state[D * D];         /* H_0, then U_0 */
    element k[CHUNK * D];         /* K */
    element operand[CHUNK * D];   /* d (or x), then q' */
    element score[CHUNK * CHUNK]; /* bf16(S . M) */
    float mask[CHUNK * MASK];     /* M */
    float partial[4][CHUNK];      /* k_t^T H_0 k_t by column group */
    float eg[CHUNK];              /* exp(G_t) */
    float z[CHUNK];               /* 2 w_j + S_jj^2 */
    float fro[CHUNK];
    float warp_sum[THREADS / 32];
};

/* RULE f_t^2 = exp(2 G_t) ||H_0||^2 + sum_{j<=t} M_tj^2 (2 w_j + S_jj^2), which unrolls
 * f_t^2 = gamma_t^2 f_{t-1}^2 + 2 gamma_t k_t^T H_{t-1} k_t + |k_t|^4;  w_j = gamma_j k_j^T H_{j-1}
 * k_j = exp(G_j) k_j^T H_0 k_j + sum_{i<j} M_ji S_ji^2,  S = K K^T. All terms are >= 0: nothing
 * cancels. */
template <int D, bool GATED>
__device__ void norm(Shared<D> &m, Tile<D> state, Tile<D> tk, int row0, int col0, int warp) {
    constexpr int NT = D / 32; /* 8-column tiles of a warp */
    const int lane = threadIdx.x & 31;

    /* ||H_0||^2: thread i sums its D D / 256 consecutive elements in order, lanes by a butterfly
     * 1, 2, 4, 8, 16, warps in order. */
    constexpr int SHARE = D * D / THREADS;
    float sum = 0.0f;
    for (int i = 0; i < SHARE; i += 2) {
        const int at = threadIdx.x * SHARE + i;
        const float2 h = to_floats(*state.pair(at / D, at % D));
        sum = fmaf(h.x, h.x, sum);
        sum = fmaf(h.y, h.y, sum);
    }
    for (int offset = 1; offset < 32; offset *= 2)
        sum = sum + __shfl_xor_sync(~0u, sum, offset);
    if (lane == 0)
        m.warp_sum[threadIdx.x >> 5] = sum;

    /* k_t^T H_0 k_t: mma(K, H_0) . K; within a thread columns ascending, then the butterfly 1, 2
     * over the four threads of a row, then column groups in order. */
    float c[2][NT][4];
    clear(c);
    multiply<2, NT, D, false, false>(c, tk, row0, state, col0);
    for (int t = 0; t < 2; t++)
        for (int half = 0; half < 2; half++) {
            const int row = row0 + t * 16 + (lane >> 2) + half * 8;
            float p = 0.0f;
            for (int n = 0; n < NT; n++) {
                const float2 key = to_floats(*tk.pair(row, col0 + n * 8 + fragment_col(0)));
                p = fmaf(c[t][n][2 * half], key.x, p);
                p = fmaf(c[t][n][2 * half + 1], key.y, p);
            }
            p = p + __shfl_xor_sync(~0u, p, 1);
            p = p + __shfl_xor_sync(~0u, p, 2);
            if ((lane & 3) == 0)
                m.partial[warp & 3][row] = p;
        }

    /* S, in binary32, on the place of the operand and score tiles. */
    float *const gram = reinterpret_cast<float *>(m.operand);
    float d[2][2][4];
    clear(d);
    multiply<2, 2, D, false, true>(d, tk, row0, tk, (warp & 3) * 16);
    for (int t = 0; t < 2; t++)
        for (int n = 0; n < 2; n++)
            for (int e = 0; e < 4; e++)
                gram[gram_at(row0 + t * 16 + fragment_row(e),
                             (warp & 3) * 16 + n * 8 + fragment_col(e))] = d[t][n][e];
    sync_tiles();

    norm_rows(m, gram);
}

/* out = exp(G_t) (y state) + (bf16((y K^T) . M)) right, y the operand tile; the tensor core adds
 * the second product onto the first. Leaves the block synchronised. */
template <int D, bool GATED, int WR>
__device__ __forceinline__ void apply(Shared<D> &m, float (&c)[2][D / 32][4], Tile<D> y,
                                      Tile<D> state, Tile<D> tk, Tile<WR> right, int row0, int col0,
                                      int warp) {
    constexpr int NT = D / 32;
    const Tile<CHUNK> score{m.score};
    float d[2][2][4];
    clear(d);
    if (row0 > 0 || (warp & 3) < 2) /* rows 0..31 see no token after 31: their M is zero there */
        multiply<2, 2, D, false, true>(d, y, row0, tk, (warp & 3) * 16);
    mask_scores(d, m.mask, score, row0, warp);
    clear(c);
    multiply<2, NT, D, false, false>(c, y, row0, state, col0);
    if (GATED) {
#pragma unroll
        for (int t = 0; t < 2; t++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const float decay = m.eg[row0 + t * 16 + fragment_row(e)];
#pragma unroll
                for (int n = 0; n < NT; n++)
                    c[t][n][e] = c[t][n][e] * decay;
            }
    }
    sync_tiles();
    if (row0 > 0)
        multiply<2, NT, CHUNK, false, false>(c, score, row0, right, col0);
    else
        multiply<2, NT, CHUNK / 2, false, false>(c, score, row0, right, col0);
}

/* Fragments into a tile, rounded. */
template <int D, int NT>
__device__ __forceinline__ void put(Tile<D> tile, int row0, int col0, const float (&c)[2][NT][4]) {
#pragma unroll
    for (int t = 0; t < 2; t++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int e = 0; e < 4; e += 2)
                *tile.pair(row0 + t * 16 + fragment_row(e), col0 + n * 8 + fragment_col(e)) =
                    to_elements(c[t][n][e], c[t][n][e + 1]);
}

/* The low parts of fragments kept in two, into a tile. */
template <int D, int NT>
__device__ __forceinline__ void put_low(Tile<D> tile, int row0, int col0,
                                        const float (&c)[2][NT][4]) {
#pragma unroll
    for (int t = 0; t < 2; t++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int e = 0; e < 4; e += 2)
                *tile.pair(row0 + t * 16 + fragment_row(e), col0 + n * 8 + fragment_col(e)) =
                    low_pair(c[t][n][e], c[t][n][e + 1]);
}

/* Of the four rows of this thread: lambda and, two-term, theta, tau, 1/delta; three-term, the step,
 * omega, (rho/2)^2. */
struct RowScalars {
    float lambda[2][2], theta[2][2], weight[2][2], scale[2][2];
};

template <int D, Form FORM>
__device__ __forceinline__ void start_rows(const Shared<D> &m, int row0, float ridge_ratio,
                                           RowScalars &rows) {
#pragma unroll
    for (int t = 0; t < 2; t++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const float f = m.fro[row0 + t * 16 + fragment_row(2 * half)];
            rows.lambda[t][half] = ridge_ratio * f;
            if (FORM == Form::TwoTerm) {
                /* theta = lambda + f/2, delta = f/2, sigma = theta/delta, tau = 1/sigma */
                const float delta = 0.5f * f;
                rows.theta[t][half] = rows.lambda[t][half] + delta;
                rows.weight[t][half] = delta / rows.theta[t][half]; /* tau */
                rows.scale[t][half] = 1.0f / delta;
            } else {
                const float span = fmaf(2.0f, rows.lambda[t][half], f), rho = f / span * 0.5f;
                rows.theta[t][half] = 2.0f / span; /* step */
                rows.weight[t][half] = 2.0f;       /* omega */
                rows.scale[t][half] = rho * rho;
            }
        }
}

/* r (two-term) or x_prev (three-term), and x, from q in the operand tile, or from rhs, row t of the
 * chunk at t * stride. f = 0: nothing was stored, x = 0. */
template <int D, int NT, Form FORM>
__device__ __forceinline__ void start_solve(const RowScalars &rows, Tile<D> operand,
                                            const float *rhs, int64_t stride, int inside, int row0,
                                            int col0, float (&r)[2][NT][4], float (&x)[2][NT][4]) {
#pragma unroll
    for (int t = 0; t < 2; t++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int e = 0; e < 4; e += 2) {
                const int row = row0 + t * 16 + fragment_row(e), half = e >> 1;
                element2 *const place = operand.pair(row, col0 + n * 8 + fragment_col(e));
                float2 q = to_floats(*place);
                if (rhs != nullptr)
                    q = row < inside ? *reinterpret_cast<const float2 *>(rhs + row * stride + col0 +
                                                                         n * 8 + fragment_col(e))
                                     : make_float2(0.0f, 0.0f);
                const bool empty = !(rows.lambda[t][half] > 0.0f);
                if (FORM == Form::TwoTerm) {
                    const float tt = rows.theta[t][half];
                    const element2 d =
                        to_elements(empty ? 0.0f : q.x / tt, empty ? 0.0f : q.y / tt);
                    r[t][n][e] = empty ? 0.0f : q.x;
                    r[t][n][e + 1] = empty ? 0.0f : q.y;
                    const float2 d2 = to_floats(d);
                    x[t][n][e] = d2.x;
                    x[t][n][e + 1] = d2.y;
                    *place = d;
                } else {
                    r[t][n][e] = r[t][n][e + 1] = 0.0f;
                    x[t][n][e] = empty ? 0.0f : rows.theta[t][half] * q.x;
                    x[t][n][e + 1] = empty ? 0.0f : rows.theta[t][half] * q.y;
                    *place = to_elements(x[t][n][e], x[t][n][e + 1]);
                }
            }
}

/* RULE r <- r - fma(lambda, d, H d);  tau' = 1/fma(2, sigma, -tau);
 * d <- bf16(fma(tau' tau, d, (2 tau' / delta) r));  x <- x + d. c: H d, then the new d, which is
 * kept there until every warp has read the old operand. */
template <int D, int NT>
__device__ __forceinline__ void two_term_row(RowScalars &rows, int t, int half, int row, int col0,
                                             Tile<D> operand, float (&c)[2][NT][4],
                                             float (&r)[2][NT][4], float (&x)[2][NT][4]) {
    const float ridge = rows.lambda[t][half];
    const bool empty = !(ridge > 0.0f);
    const float tau = rows.weight[t][half],
                sigma2 = 2.0f * (rows.theta[t][half] * rows.scale[t][half]);
    const float next = 1.0f / (sigma2 - tau);
    const float keep = next * tau, add = (2.0f * next) * rows.scale[t][half];
    rows.weight[t][half] = next;
#pragma unroll
    for (int n = 0; n < NT; n++) {
        element2 *const place = operand.pair(row, col0 + n * 8 + fragment_col(0));
        const float2 d = to_floats(*place);
        float *const rr = &r[t][n][2 * half], *const xx = &x[t][n][2 * half];
        const float *const cc = &c[t][n][2 * half];
        rr[0] = rr[0] - fmaf(ridge, d.x, cc[0]);
        rr[1] = rr[1] - fmaf(ridge, d.y, cc[1]);
        element2 out = to_elements(fmaf(keep, d.x, add * rr[0]), fmaf(keep, d.y, add * rr[1]));
        if (empty)
            out = to_elements(0.0f, 0.0f);
        const float2 o = to_floats(out);
        xx[0] = xx[0] + o.x;
        xx[1] = xx[1] + o.y;
        c[t][n][2 * half] = o.x;
        c[t][n][2 * half + 1] = o.y;
    }
}

/* RULE omega = 1/(1 - (rho/2)^2 omega); grad = fma(step omega, (fma(lambda, x, H x) - q), (omega -
 * 1) x_prev); x <- fma(omega, x, -grad). c: H x, then x. */
template <int D, int NT>
__device__ __forceinline__ void three_term_row(RowScalars &rows, int t, int half, int col0,
                                               bool inside, const element *q, float (&c)[2][NT][4],
                                               float (&r)[2][NT][4], float (&x)[2][NT][4]) {
    const float ridge = rows.lambda[t][half];
    const bool empty = !(ridge > 0.0f);
    const float omega = 1.0f / fmaf(-rows.scale[t][half], rows.weight[t][half], 1.0f);
    const float so = rows.theta[t][half] * omega, back = omega - 1.0f;
    rows.weight[t][half] = omega;
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int col = col0 + n * 8 + fragment_col(i), e = 2 * half + i;
            const float target = inside ? to_float(q[col]) : 0.0f;
            const float residual = fmaf(ridge, x[t][n][e], c[t][n][e]) - target;
            const float grad = fmaf(so, residual, back * r[t][n][e]);
            const float now = empty ? 0.0f : fmaf(omega, x[t][n][e], -grad);
            r[t][n][e] = x[t][n][e];
            x[t][n][e] = now;
            c[t][n][e] = now;
        }
}

/* Columns col .. col + W - 1 of o = bf16(s c), out through a tile. */
template <int W>
__device__ __forceinline__ void store_output(Shape s, const SolveArguments &a, Tile<W> tile,
                                             const Chunk &chunk, int64_t h, int64_t col, int row0,
                                             int col0, const float (&c)[2][W / 32][4]) {
    sync_tiles();
    for (int t = 0; t < 2; t++)
        for (int n = 0; n < W / 32; n++)
            for (int e = 0; e < 4; e += 2)
                *tile.pair(row0 + t * 16 + fragment_row(e), col0 + n * 8 + fragment_col(e)) =
                    to_elements(a.output_scale * c[t][n][e], a.output_scale * c[t][n][e + 1]);
    sync_tiles();
    store_tile<CHUNK, W, THREADS>(tile, a.o + (chunk.first * s.H + h) * s.V + col, s.H * s.V,
                                  chunk.rows);
}

/* Row t times exp(G_t). */
template <int D, int NT>
__device__ __forceinline__ void decay_rows(const Shared<D> &m, int row0, float (&c)[2][NT][4]) {
    for (int t = 0; t < 2; t++)
        for (int e = 0; e < 4; e++)
            for (int n = 0; n < NT; n++)
                c[t][n][e] = c[t][n][e] * m.eg[row0 + t * 16 + fragment_row(e)];
}

/* The output stage, in the tiles of the solve, W columns of V after another: operand holds x as
 * stored. */
template <int D, int W>
__device__ __forceinline__ void output_rows(Shape s, const SolveArguments &a, Shared<D> &m,
                                            Tile<D> tk, Tile<D> operand, const Chunk &chunk,
                                            int64_t h, int64_t group) {
    const Tile<W> state{m.state}, values{m.k};
    const int warp = threadIdx.x >> 5, row0 = (warp >> 2) * 32, col0 = (warp & 3) * (W / 4);
    /* RULE q' = bf16(fma(alpha, x - q, q)) with x as stored; o = bf16(s (exp(G) (q' U_0) + bf16((q'
     * K^T) . M) V)) */
    sync_tiles();
    for (int i = threadIdx.x; i < CHUNK * D / 2; i += THREADS) {
        const int row = i / (D / 2), col = i % (D / 2) * 2;
        if (row < chunk.rows) {
            const int64_t at = (chunk.first + row) * s.H + h;
            const float alpha = a.alpha == nullptr ? 1.0f : to_float(a.alpha[at]);
            const float2 q = to_floats(*reinterpret_cast<const element2 *>(a.q + at * D + col));
            const float2 v = to_floats(*operand.pair(row, col));
            *operand.pair(row, col) =
                to_elements(fmaf(alpha, v.x - q.x, q.x), fmaf(alpha, v.y - q.y, q.y));
        }
    }
    sync_tiles();
    float c[2][W / 32][4], d[2][2][4];
    const Tile<CHUNK> score{m.score};
    clear(d);
    multiply<2, 2, D, false, true>(d, operand, row0, tk, (warp & 3) * 16);
    mask_scores(d, m.mask, score, row0, warp);
    const int64_t state_at = (chunk.slot * s.H + h) * D * s.V;
    for (int64_t col = 0; col < s.V; col += W) {
        sync_tiles();
        load_tile<D, W, THREADS>(state, a.u_chunk + state_at + col, s.V, D);
        load_tile<CHUNK, W, THREADS>(values, a.v + (chunk.first * s.Hkv + group) * s.V + col,
                                     s.Hkv * s.V, chunk.rows);
        sync_tiles();
        clear(c);
        multiply<2, W / 32, D, false, false>(c, operand, row0, state, col0);
        decay_rows(m, row0, c);
        multiply<2, W / 32, CHUNK, false, false>(c, score, row0, values, col0);
        store_output<W>(s, a, values, chunk, h, col, row0, col0, c);
    }
}

/* The output stage, accurate: x comes in two parts, as fragments, and is overwritten by q'. */
template <int D, int W>
__device__ __forceinline__ void
output_rows_accurate(Shape s, const SolveArguments &a, Shared<D> &m, Tile<D> tk, Tile<D> operand,
                     const Chunk &chunk, int64_t h, int64_t group, float (&x)[2][D / 32][4]) {
    constexpr int NT = D / 32;
    const Tile<W> state{m.state}, values{m.k};
    const int warp = threadIdx.x >> 5, row0 = (warp >> 2) * 32, own0 = (warp & 3) * (D / 4),
              col0 = (warp & 3) * (W / 4);
    /* RULE q' = fma(alpha, x - q, q) in two parts; scores from its low, then its high part; q' U_0:
     * high by low, low by high, high by high. */
    for (int t = 0; t < 2; t++)
        for (int e = 0; e < 4; e += 2) {
            const int row = row0 + t * 16 + fragment_row(e);
            const int64_t at = (chunk.first + row) * s.H + h;
            const float alpha =
                row >= chunk.rows || a.alpha == nullptr ? 1.0f : to_float(a.alpha[at]);
            for (int n = 0; n < NT; n++) {
                float2 q = make_float2(0.0f, 0.0f);
                if (row < chunk.rows)
                    q = to_floats(*reinterpret_cast<const element2 *>(a.q + at * D + own0 + n * 8 +
                                                                      fragment_col(e)));
                x[t][n][e] = two_parts(fmaf(alpha, x[t][n][e] - q.x, q.x));
                x[t][n][e + 1] = two_parts(fmaf(alpha, x[t][n][e + 1] - q.y, q.y));
            }
        }
    float c[2][W / 32][4], d[2][2][4];
    const Tile<CHUNK> score{m.score};
    sync_tiles();
    put_low<D, NT>(operand, row0, own0, x);
    sync_tiles();
    clear(d);
    multiply<2, 2, D, false, true>(d, operand, row0, tk, (warp & 3) * 16);
    sync_tiles();
    put<D, NT>(operand, row0, own0, x);
    sync_tiles();
    multiply<2, 2, D, false, true>(d, operand, row0, tk, (warp & 3) * 16);
    mask_scores(d, m.mask, score, row0, warp);
    const int64_t state_at = (chunk.slot * s.H + h) * D * s.V;
    for (int64_t col = 0; col < s.V; col += W) {
        sync_tiles();
        load_tile<D, W, THREADS>(state, a.u_low + state_at + col, s.V, D);
        sync_tiles();
        clear(c);
        multiply<2, W / 32, D, false, false>(c, operand, row0, state, col0);
        sync_tiles();
        put_low<D, NT>(operand, row0, own0, x);
        load_tile<D, W, THREADS>(state, a.u_chunk + state_at + col, s.V, D);
        load_tile<CHUNK, W, THREADS>(values, a.v + (chunk.first * s.Hkv + group) * s.V + col,
                                     s.Hkv * s.V, chunk.rows);
        sync_tiles();
        multiply<2, W / 32, D, false, false>(c, operand, row0, state, col0);
        sync_tiles();
        put<D, NT>(operand, row0, own0, x);
        sync_tiles();
        multiply<2, W / 32, D, false, false>(c, operand, row0, state, col0);
        decay_rows(m, row0, c);
        multiply<2, W / 32, CHUNK, false, false>(c, score, row0, values, col0);
        store_output<W>(s, a, values, chunk, h, col, row0, col0, c);
    }
}

/* x and f out, through the operand tile; accurately x is what is kept of it. */
template <int D, bool ACCURATE>
__device__ __forceinline__ void store_solution(Shape s, const SolveArguments &a, Shared<D> &m,
                                               Tile<D> operand, int64_t first, int64_t h, int rows,
                                               int row0, int col0, float (&x)[2][D / 32][4]) {
    constexpr int NT = D / 32;
    if (ACCURATE)
        for (int t = 0; t < 2; t++)
            for (int n = 0; n < NT; n++)
                for (int e = 0; e < 4; e++)
                    x[t][n][e] = two_parts(x[t][n][e]);
    put<D, NT>(operand, row0, col0, x);
    if (!a.load_fro && threadIdx.x < rows)
        a.fro[(first + threadIdx.x) * s.H + h] = m.fro[threadIdx.x];
    sync_tiles();
    store_tile<CHUNK, D, THREADS>(operand, a.x + (first * s.H + h) * D, s.H * D, rows);
    if (ACCURATE) {
        sync_tiles();
        put_low<D, NT>(operand, row0, col0, x);
        sync_tiles();
        store_tile<CHUNK, D, THREADS>(operand, a.x_low + (first * s.H + h) * D, s.H * D, rows);
    }
}

/* RULE <p, (H + lambda I) x> of a token: fma(lambda, p, H p) by x, H p as an iteration forms it
 * from p as stored, which solved holds; columns as in norm. */
template <int D, bool GATED>
__device__ __forceinline__ void store_energy(Shape s, const SolveArguments &a, Shared<D> &m,
                                             const RowScalars &scalars, Tile<D> state, Tile<D> tk,
                                             Tile<D> solved, int64_t first, int64_t h, int rows,
                                             int row0, int col0, int warp) {
    constexpr int NT = D / 32;
    float c[2][NT][4];
    apply<D, GATED, D>(m, c, solved, state, tk, tk, row0, col0, warp);
    for (int t = 0; t < 2; t++)
        for (int half = 0; half < 2; half++) {
            const int row = row0 + t * 16 + fragment_row(2 * half);
            const int64_t own = ((first + row) * s.H + h) * D;
            const float ridge = scalars.lambda[t][half];
            float sum = 0.0f;
            for (int n = 0; n < NT && row < rows; n++) {
                const int col = col0 + n * 8 + fragment_col(0);
                const float2 p = to_floats(*solved.pair(row, col)),
                             x = to_floats(
                                 *reinterpret_cast<const element2 *>(a.forward_x + own + col));
                sum = fmaf(fmaf(ridge, p.x, c[t][n][2 * half]), x.x, sum);
                sum = fmaf(fmaf(ridge, p.y, c[t][n][2 * half + 1]), x.y, sum);
            }
            __syncwarp();
            sum = sum + __shfl_xor_sync(~0u, sum, 1);
            sum = sum + __shfl_xor_sync(~0u, sum, 2);
            if ((threadIdx.x & 3) == 0)
                m.partial[warp & 3][row] = sum;
        }
    __syncthreads();
    if (threadIdx.x < rows)
        a.energy[(first + threadIdx.x) * s.H + h] =
            ((m.partial[0][threadIdx.x] + m.partial[1][threadIdx.x]) + m.partial[2][threadIdx.x]) +
            m.partial[3][threadIdx.x];
}

/* W: columns of V at a time, of the output stage. */
template <int D, int W, bool GATED, Form FORM, bool ACCURATE>
__global__ __launch_bounds__(THREADS, 2) void solve_kernel(Shape s, SolveArguments a) {
    extern __shared__ __align__(128) unsigned char memory[];
    Shared<D> &m = *reinterpret_cast<Shared<D> *>(memory);
    constexpr int NT = D / 32;
    const Tile<D> state{m.state}, tk{m.k}, operand{m.operand};
    const Chunk chunk = s.chunk(blockIdx.x, blockIdx.z);
    if (chunk.rows == 0)
        return;
    const int64_t h = blockIdx.y, group = h / (s.H / s.Hkv), first = chunk.first;
    const int warp = threadIdx.x >> 5, row0 = (warp >> 2) * 32, col0 = (warp & 3) * (D / 4);
    const int rows = chunk.rows;
    const int64_t state_at = (chunk.slot * s.H + h) * D * D;

    load_tile<D, D, THREADS>(state, a.h_chunk + state_at, D, D);
    load_tile<CHUNK, D, THREADS>(tk, a.k + (first * s.Hkv + group) * D, s.Hkv * D, rows);
    if (threadIdx.x < CHUNK) {
        const int row = threadIdx.x;
        m.eg[row] =
            GATED && row < rows ? gka_pinned_expf(a.cumulative[(first + row) * s.H + h]) : 1.0f;
        if (a.load_fro)
            m.fro[row] = row < rows ? a.fro[(first + row) * s.H + h] : 0.0f;
    }
    for (int i = threadIdx.x; i < CHUNK * CHUNK; i += THREADS) {
        const int t = i / CHUNK, j = i % CHUNK;
        float value = j <= t && t < rows ? 1.0f : 0.0f;
        if (GATED && j < t && t < rows)
            value = gka_pinned_expf(a.cumulative[(first + t) * s.H + h] -
                                    a.cumulative[(first + j) * s.H + h]);
        m.mask[t * MASK + j] = value;
    }
    sync_tiles();
    if (!a.load_fro)
        norm<D, GATED>(m, state, tk, row0, col0, warp);
    sync_tiles();

    /* q into the operand tile, then into registers. */
    const float *const rhs = ACCURATE && a.rhs != nullptr ? a.rhs + (first * s.H + h) * D : nullptr;
    if (rhs == nullptr)
        load_tile<CHUNK, D, THREADS>(operand, a.q + (first * s.H + h) * D, s.H * D, rows);
    sync_tiles();

    RowScalars scalars;
    start_rows<D, FORM>(m, row0, a.ridge_ratio, scalars);
    float r[2][NT][4], x[2][NT][4];
    start_solve<D, NT, FORM>(scalars, operand, rhs, s.H * D, rows, row0, col0, r, x);
    sync_tiles();

    for (int iteration = 0; iteration < a.num_iter; iteration++) {
        float c[2][NT][4];
        apply<D, GATED, D>(m, c, operand, state, tk, tk, row0, col0, warp);
#pragma unroll
        for (int t = 0; t < 2; t++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int row = row0 + t * 16 + (threadIdx.x & 31) / 4 + half * 8;
                if (FORM == Form::TwoTerm)
                    two_term_row<D, NT>(scalars, t, half, row, col0, operand, c, r, x);
                else
                    three_term_row<D, NT>(scalars, t, half, col0, row < rows,
                                          a.q + ((first + row) * s.H + h) * D, c, r, x);
            }
        sync_tiles();
        put<D, NT>(operand, row0, col0, c);
        sync_tiles();
    }

    store_solution<D, ACCURATE>(s, a, m, operand, first, h, rows, row0, col0, x);
    if (!ACCURATE && a.energy != nullptr)
        store_energy<D, GATED>(s, a, m, scalars, state, tk, operand, first, h, rows, row0, col0,
                               warp);
    if (ACCURATE && a.o != nullptr)
        output_rows_accurate<D, W>(s, a, m, tk, operand, chunk, h, group, x);
    else if (a.o != nullptr)
        output_rows<D, W>(s, a, m, tk, operand, chunk, h, group);
}

template <int D, int W, bool GATED, Form FORM, bool ACCURATE>
static cudaError_t launch_solve_by(Shape s, const SolveArguments &a, cudaStream_t stream) {
    const auto kernel = solve_kernel<D, W, GATED, FORM, ACCURATE>;
    const int bytes = sizeof(Shared<D>);
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (error != cudaSuccess)
        return error;
    const dim3 grid((unsigned)s.row_chunks(), (unsigned)s.H, (unsigned)s.B);
    kernel<<<grid, THREADS, bytes, stream>>>(s, a);
    return cudaGetLastError();
}

template <int D, bool GATED, Form FORM, bool ACCURATE>
static cudaError_t launch_solve_as(Shape s, const SolveArguments &a, cudaStream_t stream) {
    return s.V < D && a.o != nullptr ? launch_solve_by<D, 64, GATED, FORM, ACCURATE>(s, a, stream)
                                     : launch_solve_by<D, D, GATED, FORM, ACCURATE>(s, a, stream);
}

#ifdef GKA_CUDA_HOPPER
static bool on_hopper() {
    int device = 0, major = 0;
    return cudaGetDevice(&device) == cudaSuccess &&
           cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) ==
               cudaSuccess &&
           major == 9;
}
#endif

template <int D>
cudaError_t launch_solve(Shape s, Form form, bool accurate, const SolveArguments &a,
                         cudaStream_t stream) {
    const bool gated = a.cumulative != nullptr;
#ifdef GKA_CUDA_HOPPER
    if (on_hopper())
        return launch_solve_hopper<D>(s, form, accurate, a, stream);
#endif
    if (accurate)
        return gated ? launch_solve_as<D, true, Form::TwoTerm, true>(s, a, stream)
                     : launch_solve_as<D, false, Form::TwoTerm, true>(s, a, stream);
    if (form == Form::TwoTerm)
        return gated ? launch_solve_as<D, true, Form::TwoTerm, false>(s, a, stream)
                     : launch_solve_as<D, false, Form::TwoTerm, false>(s, a, stream);
    return gated ? launch_solve_as<D, true, Form::ThreeTerm, false>(s, a, stream)
                 : launch_solve_as<D, false, Form::ThreeTerm, false>(s, a, stream);
}

template void launch_states<64>(Shape, const element *, const float *, const StateArguments &,
                                const StateArguments *, cudaStream_t);
template void launch_states<128>(Shape, const element *, const float *, const StateArguments &,
                                 const StateArguments *, cudaStream_t);
template cudaError_t launch_solve<64>(Shape, Form, bool, const SolveArguments &, cudaStream_t);
template cudaError_t launch_solve<128>(Shape, Form, bool, const SolveArguments &, cudaStream_t);

} // namespace GKA_CUDA_ELEMENTS
} // namespace gka
