/* block.c - blocks of numbers that share a scale.
 *
 *   m   the largest size in a block         s   its scale, a number of the scale format
 *   x_i = S s q_i, q_i a number of the element format, S the tensor's scale or 1
 */
#include "format/round.h"

static const gka_block_format formats[] = {
    {"mxfp8-e4m3", &gka_e4m3, &gka_e8m0, 32, GKA_SCALE_OCP, false},
    {"mxfp8-e5m2", &gka_e5m2, &gka_e8m0, 32, GKA_SCALE_OCP, false},
    {"mxfp6-e2m3", &gka_e2m3, &gka_e8m0, 32, GKA_SCALE_OCP, false},
    {"mxfp6-e3m2", &gka_e3m2, &gka_e8m0, 32, GKA_SCALE_OCP, false},
    {"mxfp4", &gka_e2m1, &gka_e8m0, 32, GKA_SCALE_OCP, false},
    {"nvfp4", &gka_e2m1, &gka_e4m3, 16, GKA_SCALE_NEAREST, true},
    {"e4m3-1x128", &gka_e4m3, &gka_fp32, 128, GKA_SCALE_UP, false},
};
enum { COUNT = sizeof formats / sizeof *formats };

const gka_block_format *const *gka_block_format_presets(void) {
    static const gka_block_format *const presets[COUNT + 1] = {
        &formats[0], &formats[1], &formats[2], &formats[3],
        &formats[4], &formats[5], &formats[6], NULL};
    return presets;
}

const gka_block_format *gka_block_format_find(const char *name) {
    for (int i = 0; i < COUNT; i++)
        if (!strcmp(formats[i].name, name))
            return &formats[i];
    return NULL;
}

double gka_block_bits(const gka_block_format *format) {
    return format->element->bits + (double)format->scale->bits / format->block;
}

/* The largest size; NaN when there is a NaN or an infinity. */
static double largest(size_t n, const double *x) {
    double m = 0;
    for (size_t i = 0; i < n; i++) {
        const double size = fabs(x[i]);
        if (!isfinite(size))
            return (double)NAN;
        m = size > m ? size : m;
    }
    return m;
}

static double smallest(const gka_format *f) {
    return gka_double(gka_power_bits(gka_quantum_exponent(f)));
}

/* The scale of a block whose largest size is m. */
static double scale_of(const gka_block_format *F, double m) {
    const gka_format *const scale = F->scale;
    double s = 0;
    if (m > 0)
        switch (F->rule) {
        case GKA_SCALE_OCP:
            s = gka_round_core(scale, GKA_TOWARD_ZERO, ldexp(1, ilogb(m) - F->element->emax), 0);
            break;
        case GKA_SCALE_UP:
            s = gka_round_exact(scale, GKA_UP, gka_exact_div(m, F->element->max_finite), 0);
            break;
        case GKA_SCALE_NEAREST:
            s = gka_round_exact(scale, GKA_NEAREST_EVEN, gka_exact_div(m, F->element->max_finite),
                                0);
            break;
        }
    return s > 0 ? s : smallest(scale);
}

/* a / b and a b in binary32, of binary32 numbers */
static double quotient(double a, double b) {
    return (double)((float)a / (float)b);
}

static double product(double a, double b) {
    return (double)((float)a * (float)b);
}

void gka_block_round(const gka_block_format *F, size_t n, const double *x, double *out,
                     double *scales) {
    double S = 1;
    if (F->tensor_scale) {
        const double M = largest(n, x);
        const double most = F->element->max_finite * F->scale->max_finite;
        S = M > 0 ? quotient(M, most) : isnan(M) ? M : 1;
        S = S > 0 || isnan(S) ? S : smallest(&gka_fp32); /* M / most underflows */
    }
    for (size_t at = 0, b = 0; at < n; at += (size_t)F->block, b++) {
        const size_t count = n - at < (size_t)F->block ? n - at : (size_t)F->block;
        const double m = quotient(largest(count, x + at), S), s = isnan(m) ? m : scale_of(F, m);
        if (scales)
            scales[b] = s;
        for (size_t i = 0; i < count; i++) {
            const double scaled = quotient(quotient(x[at + i], S), s);
            const double q = gka_round_core(F->element, GKA_NEAREST_EVEN, scaled, 0);
            out[at + i] = isnan(s) ? (double)NAN : product(product(q, s), S);
        }
    }
}
