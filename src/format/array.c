/* array.c - arrays of numbers: which loop serves, and the stream of the stochastic mode. */
#include "format/kernels.h"
#include "format/round.h"

extern const gka_format_kernels gka_format_baseline;
#ifdef GKA_FORMAT_X86
extern const gka_format_kernels gka_format_avx2, gka_format_avx512;
#endif

const gka_format_kernels *gka_format_kernels_at(int i) {
    const gka_format_kernels *have[4] = {&gka_format_baseline, NULL, NULL, NULL};
#ifdef GKA_FORMAT_X86
    int n = 1;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        have[n++] = &gka_format_avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        have[n] = &gka_format_avx512;
#endif
    return i >= 0 && i < 4 ? have[i] : NULL;
}

static const gka_format_kernels *best(void) {
    const gka_format_kernels *kernels = gka_format_kernels_at(0);
    for (int i = 1; gka_format_kernels_at(i) != NULL; i++)
        kernels = gka_format_kernels_at(i);
    return kernels;
}

/* Elements handled at a time on the stack, where one pass is not enough. */
enum { BLOCK = 512 };

static size_t block_of(size_t n, size_t done) {
    return n - done < BLOCK ? n - done : BLOCK;
}

/* The random bits cost more than the memory: they are made by all threads. */
typedef struct encoding {
    const gka_format *format;
    uint64_t seed, first;
    size_t n;
    const float *x;
    char *out;
} encoding;
enum { PIECE = 1 << 14 };

static void encode_piece(void *context, int64_t index, int worker) {
    const encoding *const e = context;
    const size_t at = (size_t)index * PIECE, m = e->n - at < PIECE ? e->n - at : PIECE;
    (void)worker;
    best()->encode_stochastic(e->format, e->seed, e->first + at, m, e->x + at,
                              e->out + at * (size_t)e->format->bits / 8);
}

void gka_round_array(const gka_format *f, gka_rounding rounding, uint64_t seed, uint64_t first,
                     size_t n, const double *x, double *out) {
    if (rounding == GKA_STOCHASTIC)
        best()->round_stochastic(f, seed, first, n, x, out);
    else
        best()->round_f64(f, rounding, n, x, out);
}

void gka_round_array_f32(const gka_format *f, gka_rounding rounding, uint64_t seed, uint64_t first,
                         size_t n, const float *x, float *out) {
    if (rounding != GKA_STOCHASTIC && gka_fits_f32(f)) {
        best()->round_f32(f, rounding, n, x, out);
        return;
    }
    double block[BLOCK];
    for (size_t done = 0; done < n; done += BLOCK) {
        const size_t m = block_of(n, done);
        for (size_t i = 0; i < m; i++)
            block[i] = x[done + i];
        gka_round_array(f, rounding, seed, first + done, m, block, block);
        for (size_t i = 0; i < m; i++)
            out[done + i] = (float)block[i];
    }
}

/* Formats whose patterns are shorter than a byte, or not GKA_SPECIALS_BY_FIELD: one by one. */
static bool is_plain(const gka_format *f) {
    return f->bits >= 8 && f->specials == GKA_SPECIALS_BY_FIELD;
}

/* Pattern i of an array. */
static void put_pattern(int bits, size_t i, uint64_t pattern, void *out) {
    if (bits == 8)
        ((uint8_t *)out)[i] = (uint8_t)pattern;
    else if (bits == 16)
        ((uint16_t *)out)[i] = (uint16_t)pattern;
    else if (bits == 32)
        ((uint32_t *)out)[i] = (uint32_t)pattern;
    else if (bits == 64)
        ((uint64_t *)out)[i] = pattern;
    else
        for (int b = 0; b < bits; b++) {
            const size_t at = i * (size_t)bits + (size_t)b;
            uint8_t *const byte = (uint8_t *)out + at / 8;
            *byte = (uint8_t)((*byte & ((1u << at % 8) - 1)) | (pattern >> b & 1) << at % 8);
        }
}

static uint64_t get_pattern(int bits, size_t i, const void *in) {
    if (bits == 8)
        return ((const uint8_t *)in)[i];
    if (bits == 16)
        return ((const uint16_t *)in)[i];
    if (bits == 32)
        return ((const uint32_t *)in)[i];
    if (bits == 64)
        return ((const uint64_t *)in)[i];
    uint64_t pattern = 0;
    for (int b = 0; b < bits; b++) {
        const size_t at = i * (size_t)bits + (size_t)b;
        pattern |= (uint64_t)(((const uint8_t *)in)[at / 8] >> at % 8 & 1) << b;
    }
    return pattern;
}

void gka_encode_array(const gka_format *f, gka_rounding rounding, uint64_t seed, uint64_t first,
                      size_t n, const double *x, void *out) {
    if (!is_plain(f)) {
        for (size_t i = 0; i < n; i++) {
            double r;
            gka_round_array(f, rounding, seed, first + i, 1, x + i, &r);
            put_pattern(f->bits, i, gka_encode(f, r), out);
        }
        return;
    }
    const size_t size = (size_t)f->bits / 8;
    double block[BLOCK];
    for (size_t done = 0; done < n; done += BLOCK) {
        const size_t m = block_of(n, done);
        gka_round_array(f, rounding, seed, first + done, m, x + done, block);
        best()->encode_f64(f, m, block, (char *)out + done * size);
    }
}

void gka_encode_array_f32(const gka_format *f, gka_rounding rounding, uint64_t seed, uint64_t first,
                          size_t n, const float *x, void *out) {
    if (gka_fits_f32(f) && f->subnormals && f->bits <= 32 && is_plain(f)) {
        encoding whole = {f, seed, first, n, x, out};
        if (rounding != GKA_STOCHASTIC)
            best()->encode_f32(f, rounding, n, x, out);
        else if (n <= 2 * PIECE)
            best()->encode_stochastic(f, seed, first, n, x, out);
        else if (!gka_parallel((int64_t)((n + PIECE - 1) / PIECE), encode_piece, &whole))
            best()->encode_stochastic(f, seed, first, n, x, out); /* gka_stop: milliseconds more */
        return;
    }
    double block[BLOCK]; /* a multiple of 8: each begins at a byte of its own */
    for (size_t done = 0; done < n; done += BLOCK) {
        const size_t m = block_of(n, done);
        for (size_t i = 0; i < m; i++)
            block[i] = x[done + i];
        gka_encode_array(f, rounding, seed, first + done, m, block,
                         (char *)out + done / 8 * (size_t)f->bits);
    }
}

void gka_decode_array(const gka_format *f, size_t n, const void *patterns, double *out) {
    if (!is_plain(f)) {
        for (size_t i = 0; i < n; i++)
            out[i] = gka_decode(f, get_pattern(f->bits, i, patterns));
        return;
    }
    best()->decode_f64(f, n, patterns, out);
}

void gka_decode_array_f32(const gka_format *f, size_t n, const void *patterns, float *out) {
    if (gka_fits_f32(f) && f->bits <= 32 && is_plain(f)) {
        best()->decode_f32(f, n, patterns, out);
        return;
    }
    double block[BLOCK];
    for (size_t done = 0; done < n; done += BLOCK) {
        const size_t m = block_of(n, done);
        gka_decode_array(f, m, (const char *)patterns + done / 8 * (size_t)f->bits, block);
        for (size_t i = 0; i < m; i++)
            out[done + i] = (float)block[i];
    }
}
