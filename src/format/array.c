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

static void stochastic(const gka_format *format, uint64_t seed, uint64_t first, size_t n,
                       const double *x, double *out) {
    const gka_format f = *format;
    uint64_t bits[4];
    for (size_t i = 0; i < n; i++) {
        const uint64_t word = (first + i) % 4;
        if (i == 0 || word == 0)
            gka_round_random_block(seed, (first + i) / 4, bits);
        out[i] = gka_round_core(&f, GKA_STOCHASTIC, x[i], bits[word]);
    }
}

void gka_round_array(const gka_format *f, gka_rounding rounding, uint64_t seed, uint64_t first,
                     size_t n, const double *x, double *out) {
    if (rounding == GKA_STOCHASTIC)
        stochastic(f, seed, first, n, x, out);
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

void gka_encode_array(const gka_format *f, gka_rounding rounding, uint64_t seed, uint64_t first,
                      size_t n, const double *x, void *out) {
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
    if (rounding != GKA_STOCHASTIC && gka_fits_f32(f) && f->subnormals && f->bits <= 32) {
        best()->encode_f32(f, rounding, n, x, out);
        return;
    }
    const size_t size = (size_t)f->bits / 8;
    double block[BLOCK];
    for (size_t done = 0; done < n; done += BLOCK) {
        const size_t m = block_of(n, done);
        for (size_t i = 0; i < m; i++)
            block[i] = x[done + i];
        gka_encode_array(f, rounding, seed, first + done, m, block, (char *)out + done * size);
    }
}

void gka_decode_array(const gka_format *f, size_t n, const void *patterns, double *out) {
    best()->decode_f64(f, n, patterns, out);
}

void gka_decode_array_f32(const gka_format *f, size_t n, const void *patterns, float *out) {
    if (gka_fits_f32(f) && f->bits <= 32) {
        best()->decode_f32(f, n, patterns, out);
        return;
    }
    const size_t size = (size_t)f->bits / 8;
    double block[BLOCK];
    for (size_t done = 0; done < n; done += BLOCK) {
        const size_t m = block_of(n, done);
        gka_decode_array(f, m, (const char *)patterns + done * size, block);
        for (size_t i = 0; i < m; i++)
            out[done + i] = (float)block[i];
    }
}
