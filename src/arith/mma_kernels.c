/* mma_kernels.c - the matrix product over packed operands, many columns at a time. Compiled once
 * per instruction set; MMA_TABLE names the table.
 *
 * The rule is that of tensor_core.c. Here a lane is one column of C, and for a group of products
 * a_k b_k with accumulator c
 *
 *   E      max of e_a + e_b (the packed exponents), e_c and the floor
 *   T      sum over k of trunc(a_k b_k 2^(F-E)) + trunc(c 2^(F-E)), in 32-bit integers
 *   c  <-  T 2^(E-F), truncated to binary32, or to 13 fractional bits
 *
 * a_k b_k is exact in binary32 (2 x 11 bits at most) unless it is below 2^-126, and 2^(F-E) only
 * moves its exponent, so that a conversion to integer is the rule's truncation. |a_k b_k| <
 * 2^(E+2), so that a group of them stays below group 2^(F+2), which must not be beyond 2^31
 * (is_fast says which cores qualify; the others go by mma_general.h). Some lanes are marked in the
 * sign of `slow`, and their whole sum is taken again by tensor_core.c: E outside [E_LOW, E_HIGH],
 * where 2^(F-E) or the result might leave the normal numbers (this includes all infinities and
 * NaN), and T beyond 31 bits. A group without products leaves c as it is, unless some of c's bits
 * lie below 2^(E-F) (keeps_c).
 */
#include "arith/mma_kernels.h"
#include "arith/tensor_core.h"
#include "format/round.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define MMA_INLINE static inline __attribute__((always_inline, unused))

/* ---- vectors ------------------------------------------------------------------------------- */

#if defined(__AVX512BW__)
#include <immintrin.h>
enum { LANES = 16 };
#elif defined(__AVX2__)
#include <immintrin.h>
enum { LANES = 8 };
#else
#if defined(__wasm_simd128__)
#include <wasm_simd128.h>
#endif
enum { LANES = 4 };
#endif
enum { PARTS = MMA_BLOCK / LANES, HALVES = MMA_BLOCK / (2 * LANES), LANES64 = LANES / 2 };

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef double vd __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef uint32_t vu __attribute__((vector_size(4 * LANES)));
typedef int16_t vs __attribute__((vector_size(4 * LANES)));
typedef int16_t vs_half __attribute__((vector_size(2 * LANES)));

MMA_INLINE vf load_f(const float *at) {
    vf v;
    memcpy(&v, at, sizeof v);
    return v;
}

MMA_INLINE vd load_d(const double *at) {
    vd v;
    memcpy(&v, at, sizeof v);
    return v;
}

MMA_INLINE vs load_s(const int16_t *at) {
    vs v;
    memcpy(&v, at, sizeof v);
    return v;
}

MMA_INLINE void store_f(float *at, vf v) {
    memcpy(at, &v, sizeof v);
}

MMA_INLINE void store_d(double *at, vd v) {
    memcpy(at, &v, sizeof v);
}

MMA_INLINE void store_s(int16_t *at, vs v) {
    memcpy(at, &v, sizeof v);
}

MMA_INLINE void store_i(int32_t *at, vi v) {
    memcpy(at, &v, sizeof v);
}

MMA_INLINE vf float_of(vi bits) {
    vf v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

MMA_INLINE vi bits_of(vf v) {
    vi bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

MMA_INLINE vi widened(const int16_t *at) {
#if defined(__wasm_simd128__)
    return (vi)wasm_i32x4_load16x4(at);
#else
    vs_half v;
    memcpy(&v, at, sizeof v);
    return __builtin_convertvector(v, vi);
#endif
}

MMA_INLINE vi select_i(vi mask, vi a, vi b) {
    return (mask & a) | (~mask & b);
}

#if defined(__AVX512BW__)
MMA_INLINE vs max_s(vs a, vs b) {
    return (vs)_mm512_max_epi16((__m512i)a, (__m512i)b);
}
MMA_INLINE vi max_i(vi a, vi b) {
    return (vi)_mm512_max_epi32((__m512i)a, (__m512i)b);
}
MMA_INLINE vi truncated(vf x) {
    return (vi)_mm512_cvttps_epi32((__m512)x);
}
MMA_INLINE vf fused_f(vf a, vf b, vf c) {
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
MMA_INLINE vd fused_d(vd a, vd b, vd c) {
    return (vd)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
#elif defined(__AVX2__)
MMA_INLINE vs max_s(vs a, vs b) {
    return (vs)_mm256_max_epi16((__m256i)a, (__m256i)b);
}
MMA_INLINE vi max_i(vi a, vi b) {
    return (vi)_mm256_max_epi32((__m256i)a, (__m256i)b);
}
MMA_INLINE vi truncated(vf x) {
    return (vi)_mm256_cvttps_epi32((__m256)x);
}
MMA_INLINE vf fused_f(vf a, vf b, vf c) {
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
MMA_INLINE vd fused_d(vd a, vd b, vd c) {
    return (vd)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
#else
MMA_INLINE vs max_s(vs a, vs b) {
    const vs greater = a > b;
    return (greater & a) | (~greater & b);
}
MMA_INLINE vi max_i(vi a, vi b) {
    return select_i(a > b, a, b);
}
/* In WebAssembly a conversion that overflows would have to be kept from trapping, lane by lane;
 * what it gives then is of no account (slow). */
MMA_INLINE vi truncated(vf x) {
#if defined(__wasm_simd128__)
    return (vi)wasm_i32x4_trunc_sat_f32x4((v128_t)x);
#else
    return __builtin_convertvector(x, vi);
#endif
}
MMA_INLINE vf fused_f(vf a, vf b, vf c) {
#if defined(__wasm_simd128__)
    return gka_fmaf_four(a, b, c); /* browser/fma.h, which is included before every file */
#else
    for (int l = 0; l < LANES; l++)
        c[l] = fmaf(a[l], b[l], c[l]);
    return c;
#endif
}
MMA_INLINE vd fused_d(vd a, vd b, vd c) {
#if defined(__wasm_simd128__)
    return gka_fma_two(a, b, c);
#else
    for (int l = 0; l < LANES64; l++)
        c[l] = fma(a[l], b[l], c[l]);
    return c;
#endif
}
#endif

/* T truncated toward zero to binary32; marks lanes it cannot do (|T| near 2^31). */
MMA_INLINE vf float_toward_zero(vi T, vi *slow) {
#if defined(__AVX512BW__)
    (void)slow;
    return (vf)_mm512_cvt_roundepi32_ps((__m512i)T, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
#else
    const vi sign = T >> 31;
    const vi magnitude = (vi)((vu)(T ^ sign) - (vu)sign);
    *slow |= (vi)(0x7fffff7f - (vu)magnitude);
    const vf near = __builtin_convertvector(magnitude, vf);
    const vi too_large = truncated(near) > magnitude; /* -1: one encoding less */
    return float_of((bits_of(near) + too_large) | (T & INT32_MIN));
#endif
}

/* ---- tensor core --------------------------------------------------------------------------- */

enum { E_LOW = -90, E_HIGH = 120 };

/* 2^n in every lane, n an exponent of normal numbers */
MMA_INLINE vf power(vi n) {
    return float_of((vi)((vu)(n + 127) << 23));
}

/* Rows of C that advance together: with 32 registers two, so that one waits while the other works.
 */
enum { CORE_ROWS = LANES == 16 ? 2 : 1 };

/* What a step needs to know of a core, as constants where it is called with constants. */
typedef struct step_of {
    int group, fraction, floor;
    bool keeps_c; /* a group without products leaves c as it is */
    bool short_result;
} step_of;

/* One group of `rows` rows against a block of columns. a and ea: rows are `stride` apart. */
MMA_INLINE void group_step(int rows, const step_of *S, int64_t stride, const float *a,
                           const int16_t *ea, const float *b, const int16_t *eb, vf c[][PARTS],
                           vi slow[][PARTS]) {
    const int group = S->group, fraction = S->fraction;
    int16_t widest[CORE_ROWS][MMA_BLOCK];
    for (int r = 0; r < rows; r++) {
        vs top[HALVES];
        for (int h = 0; h < HALVES; h++)
            top[h] = load_s(eb + h * 2 * LANES) + ea[r * stride];
        for (int k = 1; k < group; k++)
            for (int h = 0; h < HALVES; h++)
                top[h] =
                    max_s(top[h], load_s(eb + k * MMA_BLOCK + h * 2 * LANES) + ea[r * stride + k]);
        for (int h = 0; h < HALVES; h++)
            store_s(widest[r] + h * 2 * LANES, top[h]);
    }

    vi E[CORE_ROWS][PARTS], none[CORE_ROWS][PARTS];
    vu T[CORE_ROWS][PARTS]; /* wraps in slow lanes only */
    vf scale[CORE_ROWS][PARTS];
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < PARTS; p++) {
            const vi products = widened(widest[r] + p * LANES);
            none[r][p] = (products - MMA_ZERO / 2) >> 31;
            /* a subnormal c is below E_LOW anyway */
            const vi e_c = (bits_of(c[r][p]) >> 23 & 0xff) - 127;
            E[r][p] = max_i(max_i(products, e_c), (vi){0} + S->floor);
            if (!S->keeps_c) { /* only where c is zero too is there nothing to do */
                none[r][p] &= ((bits_of(c[r][p]) & INT32_MAX) - 1) >> 31;
                E[r][p] = select_i(none[r][p], (vi){0}, E[r][p]);
            }
            slow[r][p] |= (E_HIGH - E[r][p]) | ((E[r][p] - E_LOW) & ~none[r][p]);
            scale[r][p] = power(fraction - E[r][p]);
            T[r][p] = (vu){0};
        }
    for (int k = 0; k < group; k++)
        for (int p = 0; p < PARTS; p++) {
            const vf b_k = load_f(b + k * MMA_BLOCK + p * LANES);
            for (int r = 0; r < rows; r++)
                T[r][p] += (vu)truncated(b_k * a[r * stride + k] * scale[r][p]);
        }
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < PARTS; p++) {
            const vi of_c = truncated(c[r][p] * scale[r][p]), before = (vi)T[r][p];
            const vi sum = (vi)(T[r][p] + (vu)of_c);
            slow[r][p] |= (before ^ sum) & ~(before ^ of_c); /* the sign is wrong: overflow */
            vf result = float_toward_zero(sum, &slow[r][p]) * power(E[r][p] - fraction);
            if (S->short_result)
                result = float_of(bits_of(result) & ~((1 << (23 - 13)) - 1));
            c[r][p] = float_of(select_i(none[r][p], bits_of(c[r][p] + 0.0f), bits_of(result)));
        }
}

/* c[column] again, from the start, by the rule itself. */
static void redo(const gka_tensor_core *core, gka_mma_input input, int64_t K, const float *a,
                 const float *b, int column, float *c) {
    *c = gka_tensor_core_dot(core, input, K, a, b + column, MMA_BLOCK, *c);
}

/* Whether the sign of a lane is set. */
MMA_INLINE bool any_negative(vi v) {
    int32_t lanes[LANES], all = 0;
    store_i(lanes, v);
    for (int l = 0; l < LANES; l++)
        all |= lanes[l];
    return all < 0;
}

/* The sums kept apart are added to c, to nearest, and begin anew. */
MMA_INLINE void close_sums(int rows, vf total[][PARTS], vf c[][PARTS], vi slow[][PARTS]) {
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < PARTS; p++) {
            total[r][p] += c[r][p];
            slow[r][p] |= 254 - (bits_of(total[r][p]) >> 23 & 0xff);
            c[r][p] = (vf){0};
        }
}

/* `rows` rows of C from row i on against a block of columns, of which n are there. */
MMA_INLINE void rows_core(const gka_tensor_core *core, const step_of *S, gka_mma_input input,
                          int rows, const mma_packed *left, const mma_packed *right, int64_t i,
                          int64_t block, int n, double *out, int64_t ldc) {
    const int group = S->group;
    const float *const a = left->f32 + i * left->K;
    const int16_t *const ea = left->e + i * left->K;
    const float *const b = right->f32 + block * right->K * MMA_BLOCK;
    const int16_t *const eb = right->e + block * right->K * MMA_BLOCK;
    const uint8_t *const in_rows = left->flags + i * left->groups;
    const uint8_t *const in_block = right->flags + block * right->groups;
    const int64_t apart = core->apart ? core->apart / group : INT64_MAX;

    float start[CORE_ROWS][MMA_BLOCK] = {{0}};
    vf c[CORE_ROWS][PARTS], total[CORE_ROWS][PARTS];
    vi slow[CORE_ROWS][PARTS];
    for (int r = 0; r < rows; r++) {
        for (int j = 0; j < n; j++)
            start[r][j] = (float)out[r * ldc + j];
        for (int p = 0; p < PARTS; p++) {
            total[r][p] = load_f(start[r] + p * LANES);
            c[r][p] = core->apart ? (vf){0} : total[r][p];
            slow[r][p] = 254 - (bits_of(total[r][p]) >> 23 & 0xff); /* < 0: infinity or NaN */
        }
    }
    int64_t open = 0; /* groups in the sum that is kept apart */
    for (int64_t g = 0; g < left->groups; g++) {
        int in_row = 0;
        for (int r = 0; r < rows; r++)
            in_row |= in_rows[r * left->groups + g];
        if (!S->keeps_c || in_row & in_block[g] & MMA_HAS_NUMBER ||
            (in_row | in_block[g]) & MMA_HAS_SPECIAL)
            group_step(rows, S, left->K, a + g * group, ea + g * group, b + g * group * MMA_BLOCK,
                       eb + g * group * MMA_BLOCK, c, slow);
        else
            for (int r = 0; r < rows; r++)
                for (int p = 0; p < PARTS; p++)
                    c[r][p] += 0.0f; /* -0 becomes +0 */
        if (++open == apart) {
            close_sums(rows, total, c, slow);
            open = 0;
        }
    }
    if (core->apart && open)
        close_sums(rows, total, c, slow);
    for (int r = 0; r < rows; r++) {
        float end[MMA_BLOCK];
        int32_t again[MMA_BLOCK];
        vi any = slow[r][0];
        for (int p = 0; p < PARTS; p++) {
            store_f(end + p * LANES, core->apart ? total[r][p] : c[r][p]);
            store_i(again + p * LANES, slow[r][p]);
            any |= slow[r][p];
        }
        if (any_negative(any))
            for (int j = 0; j < n; j++)
                if (again[j] < 0) {
                    end[j] = start[r][j];
                    redo(core, input, left->K, a + r * left->K, b, j, &end[j]);
                }
        for (int j = 0; j < n; j++)
            out[r * ldc + j] = (double)end[j];
    }
}

/* ---- fused multiply-adds, k ascending ------------------------------------------------------ */

/* Rows that advance together: twelve sums, more than a multiply-add's latency asks for. */
enum { ROWS = 12 / PARTS };

/* Below, a number minus a zero vector is the number in every lane, the sign of zero kept. */

MMA_INLINE void rows_f32(int rows, int64_t K, const float *a, const float *b, int n, double *out,
                         int64_t ldc) {
    float edge[MMA_BLOCK] = {0};
    vf c[ROWS][PARTS];
    for (int r = 0; r < rows; r++) {
        for (int j = 0; j < n; j++)
            edge[j] = (float)out[r * ldc + j];
        for (int p = 0; p < PARTS; p++)
            c[r][p] = load_f(edge + p * LANES);
    }
    for (int64_t k = 0; k < K; k++)
        for (int r = 0; r < rows; r++)
            for (int p = 0; p < PARTS; p++)
                c[r][p] =
                    fused_f(a[r * K + k] - (vf){0}, load_f(b + k * MMA_BLOCK + p * LANES), c[r][p]);
    for (int r = 0; r < rows; r++) {
        for (int p = 0; p < PARTS; p++)
            store_f(edge + p * LANES, c[r][p]);
        for (int j = 0; j < n; j++)
            out[r * ldc + j] = (double)edge[j];
    }
}

/* half a block of columns */
MMA_INLINE void rows_f64(int rows, int64_t K, const double *a, const double *b, int n, double *out,
                         int64_t ldc) {
    double edge[MMA_BLOCK / 2] = {0};
    vd c[ROWS][PARTS];
    for (int r = 0; r < rows; r++) {
        for (int j = 0; j < n; j++)
            edge[j] = out[r * ldc + j];
        for (int p = 0; p < PARTS; p++)
            c[r][p] = load_d(edge + p * LANES64);
    }
    for (int64_t k = 0; k < K; k++)
        for (int r = 0; r < rows; r++)
            for (int p = 0; p < PARTS; p++)
                c[r][p] = fused_d(a[r * K + k] - (vd){0}, load_d(b + k * MMA_BLOCK + p * LANES64),
                                  c[r][p]);
    for (int r = 0; r < rows; r++) {
        for (int p = 0; p < PARTS; p++)
            store_d(edge + p * LANES64, c[r][p]);
        for (int j = 0; j < n; j++)
            out[r * ldc + j] = edge[j];
    }
}

static void working_f32(int64_t M, int n, int64_t K, const float *a, const float *b, double *c,
                        int64_t ldc) {
    int64_t i = 0;
    for (; i + ROWS <= M; i += ROWS)
        rows_f32(ROWS, K, a + i * K, b, n, c + i * ldc, ldc);
    for (; i < M; i++)
        rows_f32(1, K, a + i * K, b, n, c + i * ldc, ldc);
}

static void working_f64(int64_t M, int n, int64_t K, const double *a, const double *b, double *c,
                        int64_t ldc) {
    for (int half = 0; half < n; half += MMA_BLOCK / 2) {
        const int columns = n - half < MMA_BLOCK / 2 ? n - half : MMA_BLOCK / 2;
        int64_t i = 0;
        for (; i + ROWS <= M; i += ROWS)
            rows_f64(ROWS, K, a + i * K, b + half, columns, c + i * ldc + half, ldc);
        for (; i < M; i++)
            rows_f64(1, K, a + i * K, b + half, columns, c + i * ldc + half, ldc);
    }
}

/* ---- product ------------------------------------------------------------------------------- */

#include "arith/mma_general.h"

/* Whether no bit of a binary32 number lies below 2^(E - fraction): not for E = e_c, and not for
 * E = floor. */
static bool keeps_c(const gka_tensor_core *core) {
    return core->result == GKA_RESULT_FP32 && core->fraction >= 23 &&
           core->floor <= core->fraction - 149;
}

/* Whether the product in 32 bits serves a core. */
static bool is_fast(const gka_tensor_core *core) {
    return core->sum == GKA_SUM_CUT && core->result != GKA_RESULT_FP16 && !core->flush &&
           core->fraction <= 29 && (int64_t)core->group << (core->fraction + 2) <= INT64_C(1) << 31;
}

MMA_INLINE void core_rows(const gka_tensor_core *core, step_of S, gka_mma_input input, int64_t M,
                          int n, const mma_packed *left, const mma_packed *right, int64_t block,
                          double *c, int64_t ldc) {
    int64_t i = 0;
    for (; i + CORE_ROWS <= M; i += CORE_ROWS)
        rows_core(core, &S, input, CORE_ROWS, left, right, i, block, n, c + i * ldc, ldc);
    for (; i < M; i++)
        rows_core(core, &S, input, 1, left, right, i, block, n, c + i * ldc, ldc);
}

static void core_block(const gka_tensor_core *core, gka_mma_input input, int64_t M, int n,
                       const mma_packed *left, const mma_packed *right, int64_t block, double *c,
                       int64_t ldc) {
    const bool keeps = keeps_c(core), is_short = core->result == GKA_RESULT_E8M13;
    const int g = core->group, f = core->fraction, floor_ = core->floor;
    if (!is_fast(core))
        for (int64_t i = 0; i < M; i++)
            general_row(core, input, left, right, i, block, n, c + i * ldc);
    else if (g == 16 && keeps)
        core_rows(core, (step_of){16, f, floor_, true, false}, input, M, n, left, right, block, c,
                  ldc);
    else if (g == 8 && keeps)
        core_rows(core, (step_of){8, f, floor_, true, false}, input, M, n, left, right, block, c,
                  ldc);
    else if (g == 32 && is_short)
        core_rows(core, (step_of){32, f, floor_, false, true}, input, M, n, left, right, block, c,
                  ldc);
    else
        core_rows(core, (step_of){g, f, floor_, keeps, is_short}, input, M, n, left, right, block,
                  c, ldc);
}

static void product(const gka_device *device, gka_mma_input input, int64_t M, int64_t N, int64_t K,
                    const mma_packed *left, const mma_packed *right, double *c, int64_t ldc) {
    const gka_tensor_core *const core = &device->core[input];
    for (int64_t j = 0, block = 0; j < N; j += MMA_BLOCK, block++) {
        const int n = N - j < MMA_BLOCK ? (int)(N - j) : MMA_BLOCK;
        if (!device->binary32)
            working_f64(M, n, K, left->f64, right->f64 + block * K * MMA_BLOCK, c + j, ldc);
        else if (core->group == 0)
            working_f32(M, n, K, left->f32, right->f32 + block * K * MMA_BLOCK, c + j, ldc);
        else
            core_block(core, input, M, n, left, right, block, c + j, ldc);
    }
}

/* ---- packing ------------------------------------------------------------------------------- */

/* The exponents of n numbers; a subnormal of the input format has its smallest exponent. */
static void exponents(gka_mma_input input, int64_t n, const float *x, int16_t *e) {
    const int smallest = gka_mma_input_format(input).emin;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        const int field = (int)(bits >> 23 & 0xff);
        int exponent = field - 127;
        exponent = exponent < smallest ? smallest : exponent;
        exponent = bits << 1 == 0 ? MMA_ZERO : exponent;
        e[i] = (int16_t)(field == 0xff ? MMA_SPECIAL : exponent);
    }
}

static uint8_t flags_of(int64_t n, const int16_t *e) {
    int16_t top = MMA_ZERO;
    for (int64_t i = 0; i < n; i++)
        top = e[i] > top ? e[i] : top;
    return (uint8_t)((top > MMA_ZERO ? MMA_HAS_NUMBER : 0) |
                     (top == MMA_SPECIAL ? MMA_HAS_SPECIAL : 0));
}

/* n numbers `stride` apart, to out[0], out[to], ... */
MMA_INLINE void gather_f32(int64_t n, const double *x, int64_t stride, float *out, int64_t to) {
    if (stride == 1 && to == 1)
        for (int64_t i = 0; i < n; i++)
            out[i] = (float)x[i];
    else
        for (int64_t i = 0; i < n; i++)
            out[i * to] = (float)x[i * stride];
}

MMA_INLINE void gather_f64(int64_t n, const double *x, int64_t stride, double *out, int64_t to) {
    for (int64_t i = 0; i < n; i++)
        out[i * to] = x[i * stride];
}

/* What a matrix unit does with n packed numbers that are `step` apart, k = 0 .. n: it takes them in
 * its own order, and may flush subnormal ones. from: what stood there, in the order of k. */
static void as_the_unit(const gka_tensor_core *core, gka_mma_input input, int64_t n, int64_t step,
                        float *x) {
    if (core->order != GKA_K_ASCENDING) {
        enum { MOST = 32 };
        float from[MOST];
        const int64_t block = core->order == GKA_K_PAIRS_APART ? MOST : 2;
        for (int64_t k = 0; k < n; k += block) {
            for (int64_t i = 0; i < block; i++)
                from[i] = x[(k + i) * step];
            for (int64_t i = 0; i < block; i++)
                x[(k + i) * step] = from[gka_k_at(core->order, i)];
        }
    }
    if (core->flush) {
        const float normal = ldexpf(1, gka_mma_input_format(input).emin);
        for (int64_t k = 0; k < n; k++)
            x[k * step] = gka_flushed_input(core, normal, x[k * step]);
    }
}

static void pack_left(const gka_device *device, gka_mma_input input, int64_t M, int64_t K,
                      gka_matrix a, const mma_packed *left) {
    const int group = device->core[input].group;
    for (int64_t i = 0; i < M; i++) {
        const double *const row = a.data + i * a.row;
        if (!device->binary32) {
            gather_f64(K, row, a.column, left->f64 + i * K, 1);
            continue;
        }
        float *const out = left->f32 + i * left->K;
        gather_f32(K, row, a.column, out, 1);
        for (int64_t k = K; k < left->K; k++)
            out[k] = 0;
        if (!group)
            continue;
        as_the_unit(&device->core[input], input, left->K, 1, out);
        int16_t *const e = left->e + i * left->K;
        exponents(input, left->K, out, e);
        for (int64_t g = 0; g < left->groups; g++)
            left->flags[i * left->groups + g] = flags_of(group, e + g * group);
    }
}

static void pack_right(const gka_device *device, gka_mma_input input, int64_t K, int64_t N,
                       gka_matrix b, const mma_packed *right) {
    const int group = device->core[input].group;
    for (int64_t j = 0, block = 0; j < N; j += MMA_BLOCK, block++) {
        const int64_t n = N - j < MMA_BLOCK ? N - j : MMA_BLOCK, at = block * right->K * MMA_BLOCK;
        const double *const data = b.data + j * b.column;
        if (!device->binary32) {
            memset(right->f64 + at, 0, (size_t)right->K * MMA_BLOCK * sizeof(double));
            for (int64_t k = 0; k < K; k++)
                gather_f64(n, data + k * b.row, b.column, right->f64 + at + k * MMA_BLOCK, 1);
            continue;
        }
        float *const out = right->f32 + at;
        memset(out, 0, (size_t)right->K * MMA_BLOCK * sizeof *out);
        if (b.row == 1) /* a transpose: read it along k */
            for (int64_t l = 0; l < n; l++)
                gather_f32(K, data + l * b.column, 1, out + l, MMA_BLOCK);
        else
            for (int64_t k = 0; k < K; k++)
                gather_f32(n, data + k * b.row, b.column, out + k * MMA_BLOCK, 1);
        if (!group)
            continue;
        const bool plain = device->core[input].order == GKA_K_ASCENDING;
        for (int64_t l = 0; l < n && !(plain && !device->core[input].flush); l++)
            as_the_unit(&device->core[input], input, right->K, MMA_BLOCK, out + l);
        int16_t *const e = right->e + at;
        exponents(input, right->K * MMA_BLOCK, out, e);
        for (int64_t g = 0; g < right->groups; g++)
            right->flags[block * right->groups + g] =
                flags_of(group * MMA_BLOCK, e + g * group * MMA_BLOCK);
    }
}

extern const mma_kernels MMA_TABLE;
const mma_kernels MMA_TABLE = {MMA_TABLE_NAME, pack_left, pack_right, product};
