/* kernels.c - loops over the rounding core. Compiled once for each instruction set under the name
 * GKA_KERNELS; being integer code, all give the same bits. */
#include "format/kernels.h"

#include "format/round.h"

#ifndef GKA_KERNELS
#error "GKA_KERNELS names this variant's table"
#endif
#define GKA_TEXT_(x) #x
#define GKA_TEXT(x)  GKA_TEXT_(x)

extern const gka_format_kernels GKA_KERNELS;

/* ---- rounding ------------------------------------------------------------------------------ */

GKA_INLINE void round_loop(const gka_format *f, gka_rounding mode, size_t n, const double *x,
                           double *out) {
    const gka_plan plan = gka_plan_of(f, mode);
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = gka_round_planned(&plan, (gka_cut){x[i], 0, false}, 0);
}

static void round_f64(const gka_format *format, gka_rounding mode, size_t n, const double *x,
                      double *out) {
    const gka_format f = *format;
    switch (mode) {
    case GKA_NEAREST_EVEN: round_loop(&f, GKA_NEAREST_EVEN, n, x, out); return;
    case GKA_TOWARD_ZERO: round_loop(&f, GKA_TOWARD_ZERO, n, x, out); return;
    case GKA_UP: round_loop(&f, GKA_UP, n, x, out); return;
    case GKA_DOWN: round_loop(&f, GKA_DOWN, n, x, out); return;
    case GKA_TO_ODD: round_loop(&f, GKA_TO_ODD, n, x, out); return;
    case GKA_STOCHASTIC: return;
    }
}

GKA_INLINE void round_loop_f32(const gka_format *f, gka_rounding mode, size_t n, const float *x,
                               float *out) {
    const gka_plan_f32 plan = gka_plan_of_f32(f, mode);
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = gka_round_planned_f32(&plan, x[i]);
}

static void round_f32(const gka_format *format, gka_rounding mode, size_t n, const float *x,
                      float *out) {
    const gka_format f = *format;
    switch (mode) {
    case GKA_NEAREST_EVEN: round_loop_f32(&f, GKA_NEAREST_EVEN, n, x, out); return;
    case GKA_TOWARD_ZERO: round_loop_f32(&f, GKA_TOWARD_ZERO, n, x, out); return;
    case GKA_UP: round_loop_f32(&f, GKA_UP, n, x, out); return;
    case GKA_DOWN: round_loop_f32(&f, GKA_DOWN, n, x, out); return;
    case GKA_TO_ODD: round_loop_f32(&f, GKA_TO_ODD, n, x, out); return;
    case GKA_STOCHASTIC: return;
    }
}

/* ---- packing ------------------------------------------------------------------------------- */

GKA_INLINE void encode8(const gka_format *f, size_t n, const double *x, uint8_t *out) {
    const gka_layout layout = gka_layout_of(f);
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)gka_encode_planned(&layout, x[i]);
}

GKA_INLINE void encode16(const gka_format *f, size_t n, const double *x, uint16_t *out) {
    const gka_layout layout = gka_layout_of(f);
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = (uint16_t)gka_encode_planned(&layout, x[i]);
}

GKA_INLINE void encode32(const gka_format *f, size_t n, const double *x, uint32_t *out) {
    const gka_layout layout = gka_layout_of(f);
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = (uint32_t)gka_encode_planned(&layout, x[i]);
}

GKA_INLINE void encode64(const gka_format *f, size_t n, const double *x, uint64_t *out) {
    const gka_layout layout = gka_layout_of(f);
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = gka_encode_planned(&layout, x[i]);
}

static void encode_f64(const gka_format *format, size_t n, const double *x, void *out) {
    const gka_format f = *format;
    switch (f.bits) {
    case 8: encode8(&f, n, x, out); return;
    case 16: encode16(&f, n, x, out); return;
    case 32: encode32(&f, n, x, out); return;
    case 64: encode64(&f, n, x, out); return;
    }
}

/* ---- rounding and packing floats ----------------------------------------------------------- */

GKA_INLINE void pack8(const gka_format *f, gka_rounding mode, size_t n, const float *x,
                      uint8_t *out) {
    const gka_packing packing = gka_packing_of(f, mode);
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)gka_pack_planned(&packing, x[i]);
}

GKA_INLINE void pack16(const gka_format *f, gka_rounding mode, size_t n, const float *x,
                       uint16_t *out) {
    const gka_packing packing = gka_packing_of(f, mode);
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = (uint16_t)gka_pack_planned(&packing, x[i]);
}

GKA_INLINE void pack32(const gka_format *f, gka_rounding mode, size_t n, const float *x,
                       uint32_t *out) {
    const gka_packing packing = gka_packing_of(f, mode);
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = gka_pack_planned(&packing, x[i]);
}

GKA_INLINE void pack(const gka_format *f, gka_rounding mode, size_t n, const float *x, void *out) {
    switch (f->bits) {
    case 8: pack8(f, mode, n, x, out); return;
    case 16: pack16(f, mode, n, x, out); return;
    case 32: pack32(f, mode, n, x, out); return;
    }
}

static void encode_f32(const gka_format *format, gka_rounding mode, size_t n, const float *x,
                       void *out) {
    const gka_format f = *format;
    switch (mode) {
    case GKA_NEAREST_EVEN:
        if (gka_format_equal(&f, &gka_bf16)) /* the conversion every kernel ends with */
            pack(&gka_bf16, GKA_NEAREST_EVEN, n, x, out);
        else
            pack(&f, GKA_NEAREST_EVEN, n, x, out);
        return;
    case GKA_TOWARD_ZERO: pack(&f, GKA_TOWARD_ZERO, n, x, out); return;
    case GKA_UP: pack(&f, GKA_UP, n, x, out); return;
    case GKA_DOWN: pack(&f, GKA_DOWN, n, x, out); return;
    case GKA_TO_ODD: pack(&f, GKA_TO_ODD, n, x, out); return;
    case GKA_STOCHASTIC: return;
    }
}

/* ---- unpacking ----------------------------------------------------------------------------- */

static void decode_f64(const gka_format *format, size_t n, const void *patterns, double *out) {
    const gka_layout f = gka_layout_of(format);
    const uint8_t *const p8 = patterns;
    const uint16_t *const p16 = patterns;
    const uint32_t *const p32 = patterns;
    const uint64_t *const p64 = patterns;
    switch (format->bits) {
    case 8:
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            out[i] = gka_decode_planned(&f, p8[i]);
        return;
    case 16:
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            out[i] = gka_decode_planned(&f, p16[i]);
        return;
    case 32:
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            out[i] = gka_decode_planned(&f, p32[i]);
        return;
    case 64:
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            out[i] = gka_decode_planned(&f, p64[i]);
        return;
    }
}

static void decode_f32(const gka_format *format, size_t n, const void *patterns, float *out) {
    const gka_layout_f32 f = gka_layout_of_f32(format);
    const uint8_t *const p8 = patterns;
    const uint16_t *const p16 = patterns;
    const uint32_t *const p32 = patterns;
    switch (format->bits) {
    case 8:
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            out[i] = gka_decode_planned_f32(&f, p8[i]);
        return;
    case 16:
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            out[i] = gka_decode_planned_f32(&f, p16[i]);
        return;
    case 32:
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            out[i] = gka_decode_planned_f32(&f, p32[i]);
        return;
    }
}

const gka_format_kernels GKA_KERNELS = {
    GKA_TEXT(GKA_KERNELS), round_f64, round_f32, encode_f64, encode_f32, decode_f64, decode_f32};
