/* format_segments.h - rounding of all floats, as a list of breakpoints.
 *
 * Rounding is monotone, so over the floats of one sign a format and a mode are known from where
 * the result changes: at each value of the format, just after it, and at the middle of two. These
 * places are computed here from the definition of the values, in MPFR, and each interval between
 * two of them has one result. That makes it possible to compare every float there is. */
#ifndef GKA_FORMAT_SEGMENTS_H
#define GKA_FORMAT_SEGMENTS_H

#include "format_twin.h"

#include "format/kernels.h"

#include <inttypes.h>
#include <stdlib.h>

/* Magnitudes with bits first .. (the next one's first) - 1 round to the magnitude `value`. */
typedef struct segment {
    uint32_t first;
    float value;      /* with its sign; NaN is the canonical one */
    uint32_t pattern; /* its encoding */
} segment;

typedef struct segments {
    size_t count;
    segment *list;
} segments;

enum { MAGNITUDE_INF = 0x7f800000 };

/* The value number k of a format from 0 up, straight from {p, emin}: k counts fractions within
 * exponent fields, field 0 being subnormal. */
static inline void twin_value(mpfr_t v, const gka_format *f, uint64_t k) {
    const uint64_t per_field = UINT64_C(1) << (f->p - 1);
    const uint64_t field = k / per_field, fraction = k % per_field;
    const long e = f->emin - f->p + 1 + (field > 0 ? (long)field - 1 : 0);
    mpfr_set_ui_2exp(v, fraction + (field > 0 ? per_field : 0), e, MPFR_RNDN);
}

/* How many positive values a format has: the number k of its largest one. */
static inline uint64_t twin_count(const gka_format *f) {
    const uint64_t per_field = UINT64_C(1) << (f->p - 1);
    int e;
    const double m = frexp(f->max_finite, &e); /* m 2^e, 1/2 <= m < 1 */
    return (uint64_t)(e - 1 - f->emin) * per_field + (uint64_t)ldexp(m, f->p);
}

static inline uint32_t float_bits_below(const mpfr_t v) { /* the largest float <= v */
    return bits_of_f32(mpfr_get_flt(v, MPFR_RNDD));
}

static inline void segments_add(segments *s, uint32_t first, float value, uint32_t pattern) {
    while (s->count > 0 && s->list[s->count - 1].first >= first)
        s->count--;
    if (s->count % 4096 == 0) {
        s->list = realloc(s->list, (s->count + 4096) * sizeof *s->list);
        assert_non_null(s->list);
    }
    s->list[s->count++] = (segment){first, value, pattern};
}

static inline void segments_free(segments *s) {
    free(s->list);
    *s = (segments){0};
}

/* The segment in which a magnitude lies. */
static inline size_t segments_at(const segments *s, uint32_t magnitude) {
    size_t low = 0, high = s->count;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (s->list[middle].first <= magnitude)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* What the format does with the float magnitudes of one sign. width: bits of exponent field. */
static inline segments segments_of(const gka_format *f, gka_rounding mode, bool negative, int width,
                                   int padding) {
    segments s = {0};
    const uint64_t count = twin_count(f);
    const bool has_inf = f->overflow == GKA_OVERFLOW_IEEE || f->p == 3;
    const uint64_t inf_code = ((UINT64_C(1) << width) - 1) << (f->p - 1);
    const uint64_t nan_code =
        has_inf ? inf_code + (UINT64_C(1) << (f->p - 2)) : (UINT64_C(1) << (width + f->p - 1)) - 1;
    const uint32_t sign = negative ? UINT32_C(1) << (f->bits - 1) : 0;
    const bool away = mode == (negative ? GKA_DOWN : GKA_UP);
    const bool inward = mode == GKA_TOWARD_ZERO || mode == (negative ? GKA_UP : GKA_DOWN);
    const float unit = negative ? -1.0F : 1.0F;
    mpfr_t low, high, middle;
    mpfr_inits2(300, low, high, middle, (mpfr_ptr)0);

    /* what Inf is, and what overflow is */
    float inf = unit * INFINITY, over = inf;
    uint64_t inf_is = inf_code, over_is = inf_code;
    if (f->overflow == GKA_OVERFLOW_SATURATE)
        inf = over = unit * (float)f->max_finite, inf_is = over_is = count;
    if (f->overflow == GKA_OVERFLOW_NAN)
        inf = over = NAN, inf_is = over_is = nan_code;
    if (inward || mode == GKA_TO_ODD)
        over = unit * (float)f->max_finite, over_is = count;

    for (uint64_t k = 0; k <= count; k++) {
        twin_value(low, f, k);
        twin_value(high, f, k + 1);
        const float v = unit * mpfr_get_flt(low, MPFR_RNDN);
        const float w = k < count ? unit * mpfr_get_flt(high, MPFR_RNDN) : over;
        const uint64_t w_is = k < count ? k + 1 : over_is;
        const uint32_t v_pattern = (uint32_t)(k << padding) | sign;
        const uint32_t w_pattern = (uint32_t)(w_is << padding) | (isnan(w) ? 0 : sign);
        segments_add(&s, float_bits_below(low), v, v_pattern);
        const uint32_t after = float_bits_below(low) + 1;
        if (away || (mode == GKA_TO_ODD && k % 2 == 0))
            segments_add(&s, after, w, w_pattern);
        if (mode == GKA_NEAREST_EVEN) {
            mpfr_add(middle, low, high, MPFR_RNDN);
            mpfr_div_2ui(middle, middle, 1, MPFR_RNDN);
            const uint32_t m = float_bits_below(middle);
            const bool tie = mpfr_cmp_d(middle, (double)mpfr_get_flt(middle, MPFR_RNDD)) == 0;
            segments_add(&s, tie && k % 2 == 1 ? m : m + 1, w, w_pattern);
        }
    }
    segments_add(&s, MAGNITUDE_INF, inf, (uint32_t)(inf_is << padding) | (isnan(inf) ? 0 : sign));
    segments_add(&s, MAGNITUDE_INF + 1, NAN, (uint32_t)(nan_code << padding));
    mpfr_clears(low, high, middle, (mpfr_ptr)0);
    return s;
}

/* The formats of the exhaustive tests: name, bits of exponent field, zeros at the end of a word. */
typedef struct exhaustive_format {
    const char *name;
    int width, padding;
} exhaustive_format;

static const exhaustive_format exhaustive_formats[] = {
    {"bf16", 8, 0}, {"fp16", 5, 0},      {"tf32", 8, 13},    {"e4m3", 4, 0},
    {"e5m2", 5, 0}, {"e4m3-ieee", 4, 0}, {"e5m2-ieee", 5, 0}};
enum { EXHAUSTIVE_FORMATS = sizeof exhaustive_formats / sizeof exhaustive_formats[0] };

/* ---- every way to round a block of floats -------------------------------------------------- */

enum { FLOATS = 1 << 12 };

typedef struct float_block {
    size_t n;
    float x[FLOATS], want[FLOATS], got[FLOATS];
    uint32_t want_pattern[FLOATS];
    double x64[FLOATS], want64[FLOATS], got64[FLOATS];
    uint32_t got_pattern[FLOATS], packed[FLOATS]; /* as elements of f->bits / 8 bytes */
} float_block;

/* Adds the floats of magnitudes first .. first + n - 1 of one sign. */
static inline void block_floats(float_block *b, bool negative, uint32_t first, size_t n) {
    assert_true(b->n + n <= FLOATS);
    const uint32_t sign = negative ? UINT32_C(1) << 31 : 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = (first + (uint32_t)i) | sign;
        memcpy(&b->x[b->n + i], &bits, sizeof bits);
        b->x64[b->n + i] = (double)b->x[b->n + i];
    }
    b->n += n;
}

/* What is wanted of the block's floats from number `at`, of magnitudes first and up. */
static inline void block_want(float_block *b, const segments *s, uint32_t first, size_t at,
                              size_t n) {
    size_t j = segments_at(s, first);
    for (size_t i = 0; i < n; j++) {
        const uint64_t next = j + 1 < s->count ? s->list[j + 1].first : UINT64_C(1) << 31;
        const size_t end = next - first < n ? (size_t)(next - first) : n;
        const segment here = s->list[j];
        for (; i < end; i++) {
            b->want[at + i] = here.value;
            b->want64[at + i] = (double)here.value;
            b->want_pattern[at + i] = here.pattern;
        }
    }
}

static inline void block_add(float_block *b, const segments *s, bool negative, uint32_t first,
                             size_t n) {
    block_floats(b, negative, first, n);
    block_want(b, s, first, b->n - n, n);
}

static inline void block_pack(float_block *b, int bits) {
    uint8_t *const p8 = (uint8_t *)b->packed;
    uint16_t *const p16 = (uint16_t *)b->packed;
    for (size_t i = 0; i < b->n; i++) {
        if (bits == 8)
            p8[i] = (uint8_t)b->want_pattern[i];
        else if (bits == 16)
            p16[i] = (uint16_t)b->want_pattern[i];
        else
            b->packed[i] = b->want_pattern[i];
    }
}

static inline void block_same(const float_block *b, const gka_format *f, gka_rounding mode,
                              const char *way, const void *got, const void *want, size_t size) {
    if (memcmp(got, want, b->n * size) == 0)
        return;
    size_t i = 0;
    while (memcmp((const char *)got + i * size, (const char *)want + i * size, size) == 0)
        i++;
    uint64_t g = 0, w = 0;
    memcpy(&g, (const char *)got + i * size, size);
    memcpy(&w, (const char *)want + i * size, size);
    fail_msg("%s %s %s: float %08" PRIx32 " gives %" PRIx64 ", expected %" PRIx64, f->name,
             gka_rounding_name(mode), way, bits_of_f32(b->x[i]), g, w);
}

static inline void block_check_loops(float_block *b, const gka_format *f, gka_rounding mode,
                                     const gka_format_kernels *k) {
    const size_t size = (size_t)f->bits / 8;
    k->round_f32(f, mode, b->n, b->x, b->got);
    block_same(b, f, mode, k->name, b->got, b->want, sizeof b->got[0]);
    k->encode_f32(f, mode, b->n, b->x, b->got_pattern);
    block_same(b, f, mode, k->name, b->got_pattern, b->packed, size);
    k->round_f64(f, mode, b->n, b->x64, b->got64);
    block_same(b, f, mode, k->name, b->got64, b->want64, sizeof b->got64[0]);
    k->encode_f64(f, b->n, b->got64, b->got_pattern);
    block_same(b, f, mode, k->name, b->got_pattern, b->packed, size);
}

/* Rounds and encodes the block, by the loops in use on this processor or in every way that the
 * library has, and compares every bit. */
static inline void block_check(float_block *b, const gka_format *f, gka_rounding mode,
                               bool every_way) {
    block_pack(b, f->bits);
    int variant = 0;
    while (!every_way && gka_format_kernels_at(variant + 1) != NULL)
        variant++;
    for (; gka_format_kernels_at(variant) != NULL; variant++)
        block_check_loops(b, f, mode, gka_format_kernels_at(variant));
    if (!every_way)
        return;
    for (size_t i = 0; i < b->n; i++)
        b->got64[i] = gka_round(f, mode, b->x64[i], 0);
    block_same(b, f, mode, "gka_round", b->got64, b->want64, sizeof b->got64[0]);
}

#endif
