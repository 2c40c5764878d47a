/* kernels.c - loops over the rounding core. Compiled once for each instruction set under the name
 * GKA_KERNELS; being integer code, all give the same bits. */
#include "format/kernels.h"

#include "format/philox_lanes.h"
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

/* ---- stochastic ---------------------------------------------------------------------------- */

enum { WORDS = 4 * GKA_PHILOX_LANES }; /* of the random stream at a time */

static void round_stochastic(const gka_format *format, uint64_t seed, uint64_t first, size_t n,
                             const double *x, double *out) {
    const gka_plan plan = gka_plan_of(format, GKA_STOCHASTIC);
    uint64_t bits[WORDS];
    for (size_t i = 0, skip = first % 4; i < n; skip = 0) {
        gka_philox_stream(seed, (first + i) / 4, bits);
        const size_t m = n - i < WORDS - skip ? n - i : WORDS - skip;
        for (size_t j = 0; j < m; j++, i++)
            out[i] = gka_round_planned(&plan, (gka_cut){x[i], 0, false}, bits[skip + j]);
    }
}

/* The pattern k < 2^31 of |x| rounded away from zero or not, made into that of x. */
GKA_INLINE uint32_t finished(const gka_packing *f, uint32_t k, uint32_t a, uint32_t sign) {
    const uint32_t over = sign != 0 ? f->over_minus : f->over_plus;
    const uint32_t beyond = a == GKA_INF32 ? f->inf : over;
    k = (int32_t)k > (int32_t)f->max ? beyond : k;
    k |= (int32_t)k > (int32_t)f->signed_max ? 0 : (sign >> 31) << f->width;
    k = (int32_t)a > (int32_t)GKA_INF32 ? f->nan : k;
    return k << f->padding;
}

/* gka_pack_planned in the stochastic mode. x lies m mod 2^wide of 2^wide above a number of the
 * format, so F = floor(2^64 (m mod 2^wide) / 2^wide): a shift to the left drops the bits above. */
GKA_INLINE uint32_t pack_any(const gka_packing *f, float x, uint64_t random) {
    const uint32_t u = gka_bits_f32(x), sign = u & GKA_SIGN32, a = u ^ sign;
    const int32_t field = (int32_t)(a >> 23), below = f->min_field - (field > 1 ? field : 1);
    const int32_t wide = f->drop + (below > 0 ? below : 0);
    const uint32_t hidden = field != 0 ? GKA_HIDDEN32 : 0;
    const uint32_t m = below > 0 ? (a & (GKA_HIDDEN32 - 1)) | hidden : a - f->bias;
    const int32_t left = wide < 1 ? 63 : wide < 64 ? 64 - wide : 0;
    const int32_t right = wide < 64 ? 0 : wide < 127 ? wide - 64 : 63;
    const uint64_t fraction = wide < 1 ? 0 : (uint64_t)m << (uint32_t)left >> (uint32_t)right;
    const uint32_t k = m >> (uint32_t)(wide < 25 ? wide : 25);
    return finished(f, k + (fraction + random < fraction ? 1 : 0), a, sign);
}

/* The same where the smallest exponents are a float's (bf16, tf32): wide = drop < 32 everywhere,
 * and F + random >= 2^64 exactly where the cut bits and the first `drop` ones of random carry. */
GKA_INLINE uint32_t pack_wide(const gka_packing *f, float x, uint32_t random) {
    const uint32_t u = gka_bits_f32(x), sign = u & GKA_SIGN32, a = u ^ sign;
    const uint32_t first = random >> 1 >> (uint32_t)(31 - f->drop);
    return finished(f, (a + first) >> (uint32_t)f->drop, a, sign);
}

GKA_INLINE void put(int bits, size_t i, uint32_t pattern, void *out) {
    if (bits == 8)
        ((uint8_t *)out)[i] = (uint8_t)pattern;
    else if (bits == 16)
        ((uint16_t *)out)[i] = (uint16_t)pattern;
    else
        ((uint32_t *)out)[i] = pattern;
}

GKA_INLINE void pack_words(const gka_packing *f, int width, size_t m, const float *x,
                           const uint64_t *bits, void *out) {
    for (size_t j = 0; j < m; j++)
        put(width, j, pack_any(f, x[j], bits[j]), out);
}

/* Blocks in which nothing is skipped are whole as a rule, and of a length that is known. */
GKA_INLINE void encode_words(const gka_packing *f, int width, uint64_t seed, uint64_t first,
                             size_t n, const float *x, void *out) {
    uint64_t bits[WORDS];
    for (size_t i = 0, skip = first % 4, m; i < n; i += m, skip = 0) {
        gka_philox_stream(seed, (first + i) / 4, bits);
        m = n - i < WORDS - skip ? n - i : WORDS - skip;
        char *const to = (char *)out + i * (size_t)(width / 8);
        if (m == WORDS)
            pack_words(f, width, WORDS, x + i, bits, to);
        else
            pack_words(f, width, m, x + i, bits + skip, to);
    }
}

GKA_INLINE void pack_uppers(const gka_packing *f, int width, size_t m, const float *x,
                            const uint32_t *bits, void *out) {
#pragma omp simd
    for (size_t j = 0; j < m; j++)
        put(width, j, pack_wide(f, x[j], bits[j]), out);
}

GKA_INLINE void encode_uppers(const gka_packing *f, int width, uint64_t seed, uint64_t first,
                              size_t n, const float *x, void *out) {
    uint32_t bits[WORDS];
    for (size_t i = 0, skip = first % 4, m; i < n; i += m, skip = 0) {
        gka_philox_uppers(seed, (first + i) / 4, bits);
        m = n - i < WORDS - skip ? n - i : WORDS - skip;
        char *const to = (char *)out + i * (size_t)(width / 8);
        if (m == WORDS)
            pack_uppers(f, width, WORDS, x + i, bits, to);
        else
            pack_uppers(f, width, m, x + i, bits + skip, to);
    }
}

static void encode_stochastic(const gka_format *format, uint64_t seed, uint64_t first, size_t n,
                              const float *x, void *out) {
    const gka_packing f = gka_packing_of(format, GKA_STOCHASTIC);
    const bool uppers = f.min_field == 1; /* the exponents of a float: pack_wide */
    if (gka_format_equal(format, &gka_bf16)) {
        const gka_packing bf16 = gka_packing_of(&gka_bf16, GKA_STOCHASTIC);
        encode_uppers(&bf16, 16, seed, first, n, x, out);
    } else if (uppers)
        encode_uppers(&f, format->bits, seed, first, n, x, out);
    else if (format->bits == 16)
        encode_words(&f, 16, seed, first, n, x, out);
    else if (format->bits == 8)
        encode_words(&f, 8, seed, first, n, x, out);
    else
        encode_words(&f, 32, seed, first, n, x, out);
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
    GKA_TEXT(GKA_KERNELS), round_f64,         round_f32,  encode_f64, encode_f32,
    round_stochastic,      encode_stochastic, decode_f64, decode_f32};
