/* compare.c - one tensor against one reference, as a record (conventions: gka/judge.h).
 *
 * Sums of squares. Every x is scaled by a power of two, exactly, so that no square overflows and
 * none that counts underflows. The squares y^2 (1 + e), |e| <= u = 2^-53, are summed with
 * Neumaier's compensation (ZAMM 54, 1974): all terms are positive, so n of them give a sum right to
 * 2u + O(n u^2), and its square root to about u. d = out - ref is rounded once, u more for each
 * term. A quotient of two such norms is thus right to 8u for any n below 2^50.
 *
 *   out, ref   o r    stored element as the real number it denotes, reference
 *   d                 o - r
 */
#include "gka/format.h"
#include "gka/judge.h"
#include "io/bytes.h"
#include "problem/view.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* ---- norms --------------------------------------------------------------------------------- */

/* A sum of squares, (sum + lost) 4^exponent; every |x| in it is below limit = 2^exponent. */
typedef struct squares {
    double sum, lost;
    double limit, scale; /* 2^exponent (Inf for 1024), 2^-exponent */
    int exponent;
} squares;

/* Below 2^-1000 nothing needs a scale of its own: (2^-1074)^2 4^1000 is still a normal number. */
#define NO_SQUARES                                                                                 \
    { .limit = 0x1p-1000, .scale = 0x1p1000, .exponent = -1000 }

static void add_term(squares *s, double term) {
    const double sum = s->sum + term;
    s->lost += s->sum >= term ? (s->sum - sum) + term : (term - sum) + s->sum;
    s->sum = sum;
}

static void raise_exponent(squares *s, int exponent) {
    s->sum = ldexp(s->sum, 2 * (s->exponent - exponent));
    s->lost = ldexp(s->lost, 2 * (s->exponent - exponent));
    s->limit = ldexp(1, exponent);
    s->scale = ldexp(1, -exponent);
    s->exponent = exponent;
}

/* x finite */
static void add_square(squares *s, double x) {
    if (fabs(x) >= s->limit)
        raise_exponent(s, ilogb(x) + 1);
    const double y = x * s->scale;
    add_term(s, y * y);
}

/* ||x||_2^2 of two lists together */
static void merge_squares(squares *s, squares other) {
    if (other.exponent > s->exponent)
        raise_exponent(s, other.exponent);
    else
        raise_exponent(&other, s->exponent);
    add_term(s, other.sum);
    s->lost += other.lost;
}

static bool is_zero(const squares *s) {
    return !(s->sum > 0);
}

static double norm(const squares *s) {
    return ldexp(sqrt(s->sum + s->lost), s->exponent);
}

static double norm_quotient(const squares *a, const squares *b) {
    return ldexp(sqrt((a->sum + a->lost) / (b->sum + b->lost)), a->exponent - b->exponent);
}

/* What a row, or a tensor, adds up to. */
typedef struct errors {
    squares d, ref;
    bool nan, inf; /* ||d|| / ||ref|| is NaN, or else Inf */
} errors;

static const errors no_errors = {.d = NO_SQUARES, .ref = NO_SQUARES};

static void add_element(errors *e, double o, double r) {
    if (isnan(o) || !isfinite(r)) {
        e->nan = true;
    } else if (isinf(o)) {
        e->inf = true;
        add_square(&e->ref, r);
    } else {
        const double d = o - r;
        if (isfinite(d))
            add_square(&e->d, d);
        else /* beyond the largest double: d^2 = 4 (d/2)^2 */
            for (int i = 0; i < 4; i++)
                add_square(&e->d, .5 * o - .5 * r);
        add_square(&e->ref, r);
    }
}

static void merge_errors(errors *e, const errors *row) {
    merge_squares(&e->d, row->d);
    merge_squares(&e->ref, row->ref);
    e->nan |= row->nan;
    e->inf |= row->inf;
}

static double relative(const errors *e) {
    if (e->nan)
        return NAN;
    if (e->inf)
        return INFINITY;
    return is_zero(&e->ref) ? norm(&e->d) : norm_quotient(&e->d, &e->ref);
}

/* ---- encodings ----------------------------------------------------------------------------- */

enum { BLOCK = 256 };

typedef union packed {
    uint8_t u8[BLOCK];
    uint16_t u16[BLOCK];
    uint32_t u32[BLOCK];
    uint64_t u64[BLOCK];
} packed;

static void load(packed *to, const unsigned char *from, size_t size, int n) {
    for (int i = 0; i < n; i++)
        switch (size) {
        case 1: to->u8[i] = (uint8_t)gka_load_le(from + i, 1); break;
        case 2: to->u16[i] = (uint16_t)gka_load_le(from + 2 * i, 2); break;
        case 4: to->u32[i] = (uint32_t)gka_load_le(from + 4 * i, 4); break;
        default: to->u64[i] = gka_load_le(from + 8 * i, 8); break;
        }
}

static uint64_t pattern_of(const packed *patterns, size_t size, int i) {
    switch (size) {
    case 1: return patterns->u8[i];
    case 2: return patterns->u16[i];
    case 4: return patterns->u32[i];
    default: return patterns->u64[i];
    }
}

/* The place of an encoding among all, in order of value: sign and magnitude to a signed integer. */
static int64_t place(uint64_t pattern, int bits) {
    const uint64_t sign = UINT64_C(1) << (bits - 1);
    const int64_t magnitude = (int64_t)(pattern & (sign - 1));
    return (pattern & sign) != 0 ? -magnitude : magnitude;
}

static uint64_t steps_between(uint64_t a, uint64_t b, int bits) {
    const int64_t p = place(a, bits), q = place(b, bits);
    return p > q ? (uint64_t)p - (uint64_t)q : (uint64_t)q - (uint64_t)p;
}

/* 0, 1, 2..3, 4..7, ... */
static int distance_bin(uint64_t steps) {
    int bin = 0;
    for (; steps > 0 && bin < GKA_DISTANCES - 2; steps >>= 1)
        bin++;
    return bin;
}

/* ---- the comparison ------------------------------------------------------------------------ */

static void count_element(gka_comparison *c, double o, double r, uint64_t o_bits, uint64_t r_bits,
                          int bits) {
    c->nan_out += isnan(o) != 0;
    c->inf_out += isinf(o) != 0;
    c->nan_ref += isnan(r) != 0;
    c->inf_ref += isinf(r) != 0;
    c->non_finite += !isfinite(o) && isfinite(r);
    if (isnan(o) || isnan(r)) {
        c->equal += isnan(o) && isnan(r);
        c->distances[GKA_DISTANCES - 1]++;
        return;
    }
    c->equal += o_bits == r_bits;
    const uint64_t steps = steps_between(o_bits, r_bits, bits);
    if (steps > c->max_ulp)
        c->max_ulp = steps;
    c->distances[distance_bin(steps)]++;
}

/* NaN is the worst, then Inf. */
static bool is_worse(double a, double b) {
    return !isnan(b) && (isnan(a) || a > b);
}

static void end_row(gka_comparison *c, errors *total, const errors *row, int64_t number,
                    int64_t *worst) {
    merge_errors(total, row);
    const double error = relative(row);
    if (*worst >= 0 && !is_worse(error, c->max_row_err))
        return;
    c->max_row_err = error;
    *worst = number;
}

/* The index of row number n over the leading axes. */
static void set_place(gka_comparison *c, const gka_tensor *out, int axes, int64_t n) {
    c->at_rank = axes;
    for (int i = axes - 1; i >= 0; i--) {
        c->at[i] = n % out->shape[i];
        n /= out->shape[i];
    }
}

void gka_compare(const gka_tensor *out, const double *ref, int row_rank,
                 gka_comparison *comparison) {
    const gka_format *const format = gka_format_of_dtype(out->dtype);
    assert(gka_dtype_is_float(out->dtype) && row_rank >= 0 && row_rank <= out->rank);
    const size_t size = gka_dtype_size(out->dtype);
    int64_t row_length = 1;
    for (int i = out->rank - row_rank; i < out->rank; i++)
        row_length *= out->shape[i];

    gka_comparison *const c = comparison;
    *c = (gka_comparison){.count = gka_tensor_count(out), .ok = GKA_MEASURED};
    errors total = no_errors, row = no_errors;
    int64_t worst = -1, in_row = 0, rows = 0;
    for (int64_t begin = 0; begin < c->count; begin += BLOCK) {
        const int n = (int)(c->count - begin < BLOCK ? c->count - begin : BLOCK);
        packed stored, rounded;
        double o[BLOCK];
        load(&stored, (const unsigned char *)out->data + (size_t)begin * size, size, n);
        gka_decode_array(format, (size_t)n, &stored, o);
        gka_encode_array(format, GKA_NEAREST_EVEN, 0, 0, (size_t)n, ref + begin, &rounded);
        for (int i = 0; i < n; i++) {
            const double r = ref[begin + i];
            count_element(c, o[i], r, pattern_of(&stored, size, i), pattern_of(&rounded, size, i),
                          format->bits);
            add_element(&row, o[i], r);
            if (++in_row == row_length) {
                end_row(c, &total, &row, rows++, &worst);
                row = no_errors;
                in_row = 0;
            }
        }
    }
    c->rel_err = relative(&total);
    c->absolute = !total.nan && is_zero(&total.ref);
    c->bits_equal = c->equal == c->count;
    if (worst >= 0)
        set_place(c, out, out->rank - row_rank, worst);
}

double gka_rel_err(int64_t n, const double *out, const double *ref) {
    /* Scaled by the largest finite number, so that no square overflows. */
    double most = 0, d = 0, s = 0;
    for (int64_t i = 0; i < n; i++) {
        const double size = fmax(fabs(out[i]), fabs(ref[i]));
        if (isfinite(size) && size > most)
            most = size;
    }
    if (!(most > 0))
        most = 1;
    for (int64_t i = 0; i < n; i++) {
        const double e = out[i] / most - ref[i] / most, r = ref[i] / most;
        d += e * e;
        s += r * r;
    }
    return s > 0 ? sqrt(d / s) : isnan(s) ? NAN : sqrt(d) * most;
}
