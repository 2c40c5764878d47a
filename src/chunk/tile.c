/* tile.c - the 16-bit types and the orders of summation (see tile.h and README.md). */
#include "chunk/tile.h"

/* ---- 16 bits ------------------------------------------------------------------------------- */

double gka_low_fma(bool fp16, double x, double y, double z) {
    return fp16 ? gka_fma_round(&gka_fp16, GKA_NEAREST_EVEN, x, y, z, 0)
                : gka_fma_round(&gka_bf16, GKA_NEAREST_EVEN, x, y, z, 0);
}

/* ---- sums ---------------------------------------------------------------------------------- */

/* One thread's chain over the columns first, first + 1, first + stride, ...: the compiler fuses
 * the first product with the rounded second one, then every further product. */
static inline double chain(bool f32, int64_t n, int64_t first, int64_t stride, const double *a,
                           const double *b) {
    double sum = fma_w(f32, a[first], b[first], w(f32, a[first + 1] * b[first + 1]));
    for (int64_t i = first + stride; i < n; i += stride) {
        sum = fma_w(f32, a[i], b[i], sum);
        sum = fma_w(f32, a[i + 1], b[i + 1], sum);
    }
    return sum;
}

/* v[0..m) added in pairs m/2 apart, then m/4, ...; m a power of two, or 0 and so the sum. */
static inline double butterfly(bool f32, int64_t m, double *v) {
    for (int64_t half = m / 2; half >= 1; half /= 2)
        for (int64_t i = 0; i < half; i++)
            v[i] = w(f32, v[i] + v[i + half]);
    return m > 0 ? v[0] : 0;
}

static double dot_in_order(bool f32, int64_t n, const double *a, const double *b) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum = fma_w(f32, a[i], b[i], sum);
    return sum;
}

static double sum_in_order(bool f32, int64_t n, const double *a) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum = w(f32, sum + a[i]);
    return sum;
}

/* Column warps of a tensor-core tile: one when four warps share 64 rows. */
static int64_t column_warps(int64_t rows, int64_t n) {
    return rows >= 64 ? 1 : n >= 32 ? 4 : n / 8;
}

double gka_row_dot(sum_order order, int64_t rows, int64_t n, const double *a, const double *b) {
    return gka_row_dot_shared(order, column_warps(rows, n), n, a, b);
}

double gka_row_dot_thread(sum_order order, int64_t n, const double *a, const double *b) {
    return order == SUM_WARP ? chain(true, n, 0, 2, a, b) : dot_in_order(order != SUM64, n, a, b);
}

/* Warp j of `warps` holds the columns first(j) = j * `apart`, then every `stride` on to `end`. */
static double row_by_warps(int64_t warps, int64_t apart, int64_t length, int64_t stride,
                           const double *a, const double *b) {
    double warp[8], quad[4];
    for (int64_t j = 0; j < warps; j++) {
        for (int64_t t = 0; t < 4; t++)
            quad[t] = chain(true, j * apart + length, j * apart + 2 * t, stride, a, b);
        warp[j] = butterfly(true, 4, quad);
    }
    return butterfly(true, warps, warp);
}

double gka_row_dot_shared(sum_order order, int64_t warps, int64_t n, const double *a,
                          const double *b) {
    return order == SUM_WARP ? row_by_warps(warps, 8, n - 8 * (warps - 1), 8 * warps, a, b)
                             : dot_in_order(order != SUM64, n, a, b);
}

double gka_row_dot_pieces(sum_order order, int64_t warps, int64_t n, const double *a,
                          const double *b) {
    return order == SUM_WARP ? row_by_warps(warps, n / warps, n / warps, 8, a, b)
                             : dot_in_order(order != SUM64, n, a, b);
}

double gka_row_sum(sum_order order, int64_t rows, int64_t n, const double *a) {
    const bool f32 = order != SUM64;
    if (order != SUM_WARP)
        return sum_in_order(f32, n, a);
    const int64_t warps = column_warps(rows, n);
    double warp[4], quad[4];
    for (int64_t j = 0; j < warps; j++) {
        for (int64_t t = 0; t < 4; t++) {
            double sum = 0;
            for (int64_t i = 8 * j + 2 * t; i < n; i += 8 * warps) {
                sum = i == 8 * j + 2 * t ? a[i] : w(f32, sum + a[i]);
                sum = w(f32, sum + a[i + 1]);
            }
            quad[t] = sum;
        }
        warp[j] = butterfly(f32, 4, quad);
    }
    return butterfly(f32, warps, warp);
}

/* In the first exchange a lane keeps its own product unrounded and receives the rounded one of the
 * lane half a warp away, so that the lower and the upper half end with different sums. Several
 * warps to a row: lane 0 stores, and every lane reads that. */
double gka_lane_dot_in(bool upper, sum_order order, int64_t n, const double *a, const double *b) {
    const bool f32 = order != SUM64;
    if (order != SUM_WARP)
        return dot_in_order(f32, n, a, b);
    double lane[16], warp[64];
    const int64_t width = n < 32 ? n : 32, half = width / 2;
    const int64_t kept = width < n || !upper ? 0 : half, sent = half - kept;
    int64_t warps = 0;
    for (int64_t i = 0; i < n; i += width) {
        for (int64_t t = i; t < i + half; t++)
            lane[t - i] = fma_w(f32, a[t + kept], b[t + kept], w(f32, a[t + sent] * b[t + sent]));
        warp[warps++] = butterfly(f32, half, lane);
    }
    return butterfly(f32, warps, warp);
}

double gka_lane_dot(sum_order order, int64_t n, const double *a, const double *b) {
    return gka_lane_dot_in(true, order, n, a, b);
}

double gka_lane_sum(sum_order order, int64_t warps, int64_t n, const double *a) {
    const bool f32 = order != SUM64;
    if (order != SUM_WARP)
        return sum_in_order(f32, n, a);
    double lane[32], warp[64];
    const int64_t width = n < 32 ? n : 32;
    int64_t count = 0;
    for (int64_t i = 0; i < n; i += width) {
        for (int64_t t = 0; t < width; t++) {
            const double value = i + t < n ? a[i + t] : 0;
            lane[t] = warps == 1 && i > 0 ? w(f32, lane[t] + value) : value;
        }
        if (warps > 1 || i + width >= n)
            warp[count++] = butterfly(f32, width, lane);
    }
    return butterfly(f32, count, warp);
}

double gka_pair_dot(sum_order order, int64_t warps, int64_t n, const double *a, const double *b) {
    double warp[8];
    if (order != SUM_WARP)
        return dot_in_order(order != SUM64, n, a, b);
    if (n > 2 * warps) { /* two registers to a thread: their sums, then the neighbour's */
        const int64_t half = n / 2;
        for (int64_t j = 0; j < warps; j++) {
            double lane[2];
            for (int64_t i = 2 * j; i < 2 * j + 2; i++)
                lane[i % 2] = fma_w(true, a[i], b[i], w(true, a[i + half] * b[i + half]));
            warp[j] = w(true, lane[0] + lane[1]);
        }
        return butterfly(true, warps, warp);
    }
    for (int64_t j = 0; j < n / 2; j++)
        warp[j] = fma_w(true, a[2 * j], b[2 * j], w(true, a[2 * j + 1] * b[2 * j + 1]));
    return butterfly(true, n / 2, warp);
}

/* Pairs of neighbouring registers a thread adds in order: the compiler fuses the even register's
 * product and rounds the odd one's first. */
static inline double pair_low(bool fp16, bool first, double sum, const double *a, const double *b) {
    const double odd = low_of(fp16, a[1] * b[1]);
    return first ? gka_low_fma(fp16, a[0], b[0], odd)
                 : low_of(fp16, gka_low_fma(fp16, a[0], b[0], sum) + odd);
}

static double lanes_low(bool fp16, int64_t width, double *lane) {
    for (int64_t half = width / 2; half >= 1; half /= 2)
        for (int64_t t = 0; t < half; t++)
            lane[t] = low_of(fp16, lane[t] + lane[t + half]);
    return lane[0];
}

/* A thread holds eight neighbouring columns of every 8th (D = 128, four warps) row: D / 8 threads
 * to a row. It adds in register order; then lanes 16, 8, 4, 2, 1 apart and warps .., 2, 1 apart are
 * added. */
double gka_dot_low(bool fp16, int64_t D, int64_t warps, const double *A, const double *B) {
    const int64_t across = D / 8 < 32 ? D / 8 : 32, down = 32 / across, step = warps * down;
    double warp[8], lane[32];
    for (int64_t j = 0; j < warps; j++) {
        for (int64_t t = 0; t < 32; t++) {
            bool first = true;
            lane[t] = 0;
            for (int64_t row = j * down + t / across; row < D; row += step)
                for (int64_t column = t % across * 8; column < D; column += across * 8)
                    for (int64_t i = row * D + column; i < row * D + column + 8; i += 2) {
                        lane[t] = pair_low(fp16, first, lane[t], A + i, B + i);
                        first = false;
                    }
        }
        warp[j] = lanes_low(fp16, 32, lane);
    }
    return lanes_low(fp16, warps, warp);
}

double gka_norm_low(bool fp16, int64_t D, int warps, const double *H) {
    return gka_dot_low(fp16, D, warps, H, H);
}

double gka_dot_state(sum_order order, int64_t warps, int64_t D, const double *A, const double *B) {
    const bool f32 = order != SUM64;
    if (order != SUM_WARP || D < 32)
        return dot_in_order(f32, D * D, A, B);
    const int64_t across = D / 8 < 32 ? D / 8 : 32, down = 32 / across, step = warps * down;
    double warp[8], lane[32];
    for (int64_t j = 0; j < warps; j++) {
        for (int64_t t = 0; t < 32; t++) {
            bool first = true;
            lane[t] = 0;
            for (int64_t row = j * down + t / across; row < D; row += step)
                for (int64_t column = t % across * 8; column < D; column += across * 8)
                    for (int64_t i = row * D + column; i < row * D + column + 8; i += 2) {
                        lane[t] =
                            fma_w(true, A[i], B[i], first ? w(true, A[i + 1] * B[i + 1]) : lane[t]);
                        if (!first)
                            lane[t] = fma_w(true, A[i + 1], B[i + 1], lane[t]);
                        first = false;
                    }
        }
        warp[j] = butterfly(true, 32, lane);
    }
    return butterfly(true, warps, warp);
}

double gka_row_dot_low(bool fp16, int64_t n, const double *a, const double *b) {
    const int64_t across = n / 8 < 32 ? n / 8 : 32;
    double lane[32];
    for (int64_t t = 0; t < across; t++) {
        bool first = true;
        lane[t] = 0;
        for (int64_t column = t * 8; column < n; column += across * 8)
            for (int64_t i = column; i < column + 8; i += 2) {
                lane[t] = pair_low(fp16, first, lane[t], a + i, b + i);
                first = false;
            }
    }
    return lanes_low(fp16, across, lane);
}

double gka_column_sum(sum_order order, int64_t n, const double *a, int64_t stride) {
    const bool f32 = order != SUM64;
    double sum = 0, warp[4], lane[8];
    if (order != SUM_WARP) {
        for (int64_t i = 0; i < n; i++)
            sum = w(f32, sum + a[i * stride]);
        return sum;
    }
    const int64_t warps = n >= 64 ? 4 : 1, height = warps == 4 ? 16 : n;
    for (int64_t j = 0; j < warps; j++) {
        for (int64_t t = 0; t < 8; t++) {
            bool first = true;
            sum = 0;
            for (int64_t block = j * height; block < n; block += warps * height)
                for (int64_t i = block + t; i < block + height; i += 8) {
                    sum = first ? a[i * stride] : w(f32, sum + a[i * stride]);
                    first = false;
                }
            lane[t] = sum;
        }
        warp[j] = butterfly(f32, 8, lane);
    }
    return butterfly(f32, warps, warp);
}

/* Adds element (i, j) of A . B, which lies at a[j n + i]: a product that may lie above the diagonal
 * is rounded, since it is selected; where the compiler, which does not know the warp, sees that it
 * cannot, it is fused. It knows of rows and columns by eights. */
static double add_selected(gka_triangle s, int64_t i, int64_t j, double sum) {
    const int64_t least = i / 8 % 2 + i / (16 * s.down) * 2 * s.down; /* of i / 8 */
    const int64_t most = j / 8 / s.across * s.across + s.across - 1;  /* of j / 8 */
    const double a = s.a[j * s.n + i], b = s.b[j * s.n + i];
    if (least > most)
        return fma_w(true, a, b, sum);
    return j <= i ? w(true, sum + w(true, a * b)) : sum;
}

double gka_triangle_row(sum_order order, gka_triangle s, int64_t i) {
    double warp[8], quad[4], sum = 0;
    for (int64_t j = 0; j <= i && order != SUM_WARP; j++)
        sum = fma_w(order != SUM64, s.a[j * s.n + i], s.b[j * s.n + i], sum);
    if (order != SUM_WARP)
        return sum;
    for (int64_t v = 0; v < s.across; v++) {
        for (int64_t t = 0; t < 4; t++) {
            const int64_t first = 8 * v + 2 * t; /* the next is rounded, this one fused with it */
            quad[t] = add_selected(s, i, first, add_selected(s, i, first + 1, 0));
            for (int64_t j = first + 8 * s.across; j < s.n; j += 8 * s.across)
                quad[t] = add_selected(s, i, j + 1, add_selected(s, i, j, quad[t]));
        }
        warp[v] = butterfly(true, 4, quad);
    }
    return butterfly(true, s.across, warp);
}

double gka_triangle_column(sum_order order, gka_triangle s, int64_t j) {
    double warp[8], lane[8], sum = 0;
    for (int64_t i = j; i < s.n && order != SUM_WARP; i++)
        sum = fma_w(order != SUM64, s.a[j * s.n + i], s.b[j * s.n + i], sum);
    if (order != SUM_WARP)
        return sum;
    for (int64_t v = 0; v < s.down; v++) {
        for (int64_t t = 0; t < 8; t++) {
            lane[t] = 0;
            for (int64_t block = 16 * v; block < s.n; block += 16 * s.down)
                for (int64_t i = block + t; i < block + 16; i += 8)
                    lane[t] = add_selected(s, i, j, lane[t]);
        }
        warp[v] = butterfly(true, 8, lane);
    }
    return butterfly(true, s.down, warp);
}

double gka_column_products(sum_order order, int64_t warps, int64_t n, const double *a,
                           const double *b, int64_t stride) {
    const bool f32 = order != SUM64;
    double sum = 0, warp[4], lane[8];
    if (order != SUM_WARP) {
        for (int64_t i = 0; i < n; i++)
            sum = fma_w(f32, a[i * stride], b[i * stride], sum);
        return sum;
    }
    const int64_t height = n >= 64 ? 16 : n;
    warps = n >= 64 ? warps : 1;
    for (int64_t j = 0; j < warps; j++) {
        for (int64_t t = 0; t < 8; t++) {
            const int64_t own = (j * height + t) * stride, next = own + 8 * stride;
            sum = fma_w(f32, a[own], b[own], w(f32, a[next] * b[next]));
            for (int64_t i = t + 16; i < height; i += 8)
                sum = fma_w(f32, a[(j * height + i) * stride], b[(j * height + i) * stride], sum);
            for (int64_t block = (j + warps) * height; block < n; block += warps * height)
                for (int64_t i = block + t; i < block + height; i += 8)
                    sum = fma_w(f32, a[i * stride], b[i * stride], sum);
            lane[t] = sum;
        }
        warp[j] = butterfly(f32, 8, lane);
    }
    return butterfly(f32, warps, warp);
}

double gka_tile_dot(sum_order order, int64_t warps, int64_t rows, int64_t columns, const double *A,
                    const double *B, int64_t ld) {
    const bool f32 = order != SUM64;
    double sum = 0, warp[4], lane[32];
    if (order != SUM_WARP || rows != 64) {
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < columns; j++)
                sum = fma_w(f32, A[i * ld + j], B[i * ld + j], sum);
        return sum;
    }
    for (int64_t j = 0; j < warps; j++) {
        for (int64_t t = 0; t < 32; t++) {
            bool first = true;
            for (int64_t row = 16 * j + t / 4; row < rows; row += 16 * warps)
                for (int64_t column = t % 4 * 2; column < columns; column += 8)
                    for (int64_t i = row * ld + column, half = 0; half < 2; half++, i += 8 * ld) {
                        sum = fma_w(f32, A[i], B[i], first ? w(f32, A[i + 1] * B[i + 1]) : sum);
                        sum = first ? sum : fma_w(f32, A[i + 1], B[i + 1], sum);
                        first = false;
                    }
            lane[t] = sum;
        }
        warp[j] = butterfly(f32, 32, lane);
    }
    return butterfly(f32, warps, warp);
}

double gka_block_dot(sum_order order, int64_t warps, int64_t rows, int64_t columns, const double *A,
                     const double *B, int64_t ld) {
    const bool f32 = order != SUM64;
    double sum = 0, total = 0, warp[4], lane[32];
    if (order != SUM_WARP || rows != 64 || columns % 64 != 0) {
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < columns; j++)
                sum = fma_w(f32, A[i * ld + j], B[i * ld + j], sum);
        return sum;
    }
    for (int64_t from = 0; from < columns; from += 64) {
        for (int64_t j = 0; j < warps; j++) {
            for (int64_t t = 0; t < 32; t++) {
                for (int64_t row = 2 * j + t / 16; row < 64; row += 2 * warps)
                    for (int64_t i = 0; i < 4; i++) {
                        const int64_t at = row * ld + from + t % 16 * 4 + i;
                        if (row < 2 * warps && i == 0)
                            sum = fma_w(f32, A[at], B[at], w(f32, A[at + 1] * B[at + 1]));
                        else if (row >= 2 * warps || i > 1)
                            sum = fma_w(f32, A[at], B[at], sum);
                    }
                lane[t] = sum;
            }
            warp[j] = butterfly(f32, 32, lane);
        }
        total = w(f32, total + butterfly(f32, warps, warp));
    }
    return total;
}

double gka_cut_tf32(double x) {
    uint64_t bits;
    if (fabs(x) < 0x1p-126) /* subnormal in tf32: quantum 2^-136 */
        return copysign(trunc(fabs(x) * 0x1p136) * 0x1p-136, x);
    memcpy(&bits, &x, sizeof bits);
    bits &= ~((UINT64_C(1) << 42) - 1);
    memcpy(&x, &bits, sizeof x);
    return x;
}

double gka_torch_sum(sum_order order, int64_t n, const double *a) {
    const bool f32 = order != SUM64;
    if (order != SUM_WARP)
        return sum_in_order(f32, n, a);
    const int64_t each = n >= 128 ? 8 : 1;
    const int64_t width = n / each < 32 ? n / each : 32;
    double lane[32];
    for (int64_t t = 0; t < width; t++) {
        double part[8] = {0};
        for (int64_t i = t * each; i < n; i += width * each)
            for (int64_t j = 0; j < each; j++)
                part[j] = w(f32, part[j] + a[i + j]);
        lane[t] = part[0];
        for (int64_t j = 1; j < each; j++)
            lane[t] = w(f32, lane[t] + part[j]);
    }
    return butterfly(f32, width, lane);
}

void gka_scan_sum(sum_order order, int64_t n, const double *a, double *out) {
    const bool f32 = order != SUM64;
    if (order != SUM_WARP) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            out[i] = sum = w(f32, sum + a[i]);
        return;
    }
    double before = 0;
    for (int64_t i = 0; i < n; i += 32) {
        double lane[32], next[32];
        const int64_t m = n - i < 32 ? n - i : 32;
        for (int64_t t = 0; t < m; t++)
            lane[t] = a[i + t];
        for (int64_t distance = 1; distance < 32; distance *= 2) {
            for (int64_t t = 0; t < m; t++)
                next[t] = t >= distance ? w(f32, lane[t] + lane[t - distance]) : lane[t];
            memcpy(lane, next, sizeof lane);
        }
        for (int64_t t = 0; t < m; t++)
            out[i + t] = i ? w(f32, before + lane[t]) : lane[t];
        before = out[i + m - 1];
    }
}
