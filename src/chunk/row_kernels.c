/* row_kernels.c - see row_kernels.h. Compiled once per instruction set; ROW_TABLE names the table.
 * Plain loops that the compiler makes lanes of.
 */
#include "chunk/row_kernels.h"

/* ---- rounding ------------------------------------------------------------------------------ */

GKA_INLINE double round_of(chunk_kind kind, double x) {
    switch (kind) {
    case CHUNK_BF16: return bf16(x);
    case CHUNK_SPLIT: {
        const double high = bf16(x);
        return isfinite(high) ? high + bf16(x - high) : high;
    }
    case CHUNK_FP16: return gka_round_core(&gka_fp16, GKA_NEAREST_EVEN, x, 0);
    case CHUNK_TF32: return gka_round_core(&gka_tf32, GKA_NEAREST_EVEN, x, 0);
    case CHUNK_TF32_CUT: return gka_cut_tf32(x);
    default: return x;
    }
}

/* bf16 is binary32 without its last 16 bits: half of their unit is added, less one where the bit
 * above is even; a carry goes into the exponent, up to infinity. */
GKA_INLINE float bf16_f32(float x) {
    const uint32_t bits = gka_bits_f32(x);
    const uint32_t near = (bits + 0x7fff + (bits >> 16 & 1)) & UINT32_C(0xffff0000);
    return gka_float((bits & INT32_MAX) > UINT32_C(0x7f800000) ? UINT32_C(0x7fc00000) : near);
}

/* The same of a binary32 number: x - bf16(x) and the sum of two parts are binary32 numbers, too. */
GKA_INLINE double round_of_f32(chunk_kind kind, double x) {
    const float value = (float)x;
    switch (kind) {
    case CHUNK_BF16: return (double)bf16_f32(value);
    case CHUNK_SPLIT: {
        const float high = bf16_f32(value), both = high + bf16_f32(value - high);
        return (double)(isfinite(high) ? both : high);
    }
    case CHUNK_FP16: return (double)gka_round_core_f32(&gka_fp16, GKA_NEAREST_EVEN, value);
    case CHUNK_TF32: return (double)gka_round_core_f32(&gka_tf32, GKA_NEAREST_EVEN, value);
    default: return round_of(kind, x);
    }
}

GKA_INLINE void round_to(bool f32, chunk_kind kind, int64_t n, const double *x, double *out) {
    for (int64_t i = 0; i < n; i++)
        out[i] = f32 ? round_of_f32(kind, x[i]) : round_of(kind, x[i]);
}

GKA_INLINE void round_kind(bool f32, chunk_kind kind, int64_t n, const double *x, double *out) {
    switch (kind) {
    case CHUNK_BF16: round_to(f32, CHUNK_BF16, n, x, out); break;
    case CHUNK_SPLIT: round_to(f32, CHUNK_SPLIT, n, x, out); break;
    case CHUNK_FP16: round_to(f32, CHUNK_FP16, n, x, out); break;
    case CHUNK_TF32: round_to(f32, CHUNK_TF32, n, x, out); break;
    case CHUNK_TF32_CUT: round_to(f32, CHUNK_TF32_CUT, n, x, out); break;
    default:
        if (x != out)
            memcpy(out, x, (size_t)n * sizeof *out);
    }
}

static void round_rows(bool f32, chunk_kind kind, int64_t n, const double *x, double *out) {
    if (f32)
        round_kind(true, kind, n, x, out);
    else
        round_kind(false, kind, n, x, out);
}

/* ---- arithmetic ---------------------------------------------------------------------------- */

static void scale(bool f32, int64_t n, double a, const double *x, double *out) {
    const float a32 = (float)a;
    if (f32)
        for (int64_t i = 0; i < n; i++)
            out[i] = (double)(a32 * (float)x[i]);
    else
        for (int64_t i = 0; i < n; i++)
            out[i] = a * x[i];
}

static void multiply(bool f32, int64_t n, const double *restrict b, double *restrict a) {
    if (f32)
        for (int64_t i = 0; i < n; i++)
            a[i] = (double)((float)a[i] * (float)b[i]);
    else
        for (int64_t i = 0; i < n; i++)
            a[i] *= b[i];
}

static void add(bool f32, int64_t n, const double *restrict d, double *restrict x) {
    if (f32)
        for (int64_t i = 0; i < n; i++)
            x[i] = (double)((float)x[i] + (float)d[i]);
    else
        for (int64_t i = 0; i < n; i++)
            x[i] += d[i];
}

static void fused(bool f32, int64_t n, double a, const double *x, const double *y, double *out) {
    if (f32)
        for (int64_t i = 0; i < n; i++)
            out[i] = (double)fmaf((float)a, (float)x[i], (float)y[i]);
    else
        for (int64_t i = 0; i < n; i++)
            out[i] = a * x[i] + y[i];
}

GKA_INLINE void three_term_f32(bool r_fused, int64_t n, const chebyshev_row *c,
                               const double *restrict y, const double *restrict q,
                               double *restrict x, double *restrict x_prev) {
    const float omega = (float)c->omega, lambda = (float)c->lambda, om1 = omega - 1;
    const float so = (float)c->step * omega;
    for (int64_t i = 0; i < n; i++) {
        const float now = (float)x[i], before = (float)x_prev[i];
        const float r = fmaf(lambda, now, (float)y[i]) - (float)q[i];
        const float grad = r_fused ? fmaf(so, r, before * om1) : fmaf(before, om1, so * r);
        x_prev[i] = x[i];
        x[i] = (double)fmaf(now, omega, -grad);
    }
}

static void three_term(bool f32, bool r_fused, int64_t n, const chebyshev_row *c,
                       const double *restrict y, const double *restrict q, double *restrict x,
                       double *restrict x_prev) {
    if (f32 && r_fused)
        three_term_f32(true, n, c, y, q, x, x_prev);
    else if (f32)
        three_term_f32(false, n, c, y, q, x, x_prev);
    else
        chebyshev_row_step_in(false, false, n, c, y, q, x, x_prev);
}

static void two_term(bool f32, int64_t n, double lambda, double keep, double gain,
                     const double *restrict y, double *restrict r, double *restrict d) {
    if (f32)
        for (int64_t i = 0; i < n; i++) {
            const float d_i = (float)d[i];
            const float r_i = (float)r[i] - fmaf((float)lambda, d_i, (float)y[i]);
            r[i] = (double)r_i;
            d[i] = (double)fmaf((float)keep, d_i, (float)gain * r_i);
        }
    else
        for (int64_t i = 0; i < n; i++) {
            r[i] -= lambda * d[i] + y[i];
            d[i] = keep * d[i] + gain * r[i];
        }
}

const row_kernels ROW_TABLE = {ROW_TABLE_NAME, round_rows, scale, multiply,
                               three_term,     two_term,   add,   fused};
