/* mma_general.h - the matrix product of any checked core, many columns at a time: included by
 * mma_kernels.c, for the cores that its 32-bit product does not serve.
 *
 * A lane is a column of C, all of it binary64 and 64-bit integers: products of two operands and
 * their scaling by a power of two are exact there (2 x 11 bits, exponents within 2^+-600). A lane
 * whose result this cannot settle is marked `slow`, and its whole sum is taken again by
 * tensor_core.c: infinities and NaN; sums of GKA_SUM_EXACT too near the middle of two results for
 * the 40 bits kept; results at the edge of what is flushed.
 */
#ifndef ARITH_MMA_GENERAL_H
#define ARITH_MMA_GENERAL_H

enum { FRACTION_OF_EXACT = 40 };

typedef struct lanes {
    float c[MMA_BLOCK];
    int32_t slow[MMA_BLOCK];
} lanes;

/* 2^n, -1022 <= n <= 1023 */
MMA_INLINE double power_of_two(int n) {
    return gka_double((uint64_t)(n + 1023) << 52);
}

/* x cut to its leading `p` bits: the low ones of the fraction become zero */
MMA_INLINE double leading(double x, int p) {
    return gka_double(gka_bits(x) & ~(uint64_t)0 << (53 - p));
}

/* The exponent of c's encoding; far below everything when c is zero, far above when it is infinite
 * or NaN. */
MMA_INLINE int exponent_of_c(float c, int smallest) {
    const int32_t bits = (int32_t)(gka_bits_f32(c) & 0x7fffffff);
    const int e = (bits >> 23) - 127;
    return bits == 0 ? -4000 : e == 128 ? 4000 : e < smallest ? smallest : e;
}

/* The exact integer T 2^scale, cut toward zero to p bits (at binary32's end to fewer). */
MMA_INLINE float cut_to_binary32(int64_t T, int scale, int p) {
    const int64_t sign = T >> 63, magnitude = (T ^ sign) - sign;
    const double whole = (double)magnitude; /* rounded to nearest: may be one step too large */
    const double toward = gka_double(gka_bits(whole) - ((int64_t)whole > magnitude));
    double value = leading(toward, p) * power_of_two(scale);
    if (value < 0x1p-126)
        value = trunc(value * 0x1p149) * 0x1p-149;
    value = value >= 0x1p128 ? (double)INFINITY : value;
    return (float)(sign && value > 0 ? -value : value);
}

MMA_INLINE float nearest_half(int64_t T, int scale) {
    const int64_t sign = T >> 63, magnitude = (T ^ sign) - sign;
    const double whole = (double)magnitude,
                 toward = gka_double(gka_bits(whole) - ((int64_t)whole > magnitude));
    /* to odd: T has at most 62 bits, fp16 11 */
    const double odd = gka_double(gka_bits(toward) | ((int64_t)toward != magnitude));
    const double r = gka_round_core(&gka_fp16, GKA_NEAREST_EVEN, odd * power_of_two(scale), 0);
    return (float)(sign && r > 0 ? -r : r);
}

/* The largest exponent of a group's products, by lane. */
MMA_INLINE void widest_products(int group, const int16_t *ea, const int16_t *eb, int32_t *widest) {
    for (int j = 0; j < MMA_BLOCK; j++)
        widest[j] = -16000;
    for (int k = 0; k < group; k++)
        for (int j = 0; j < MMA_BLOCK; j++) {
            const int32_t e = ea[k] + eb[k * MMA_BLOCK + j];
            widest[j] = e > widest[j] ? e : widest[j];
        }
}

/* sum[j] = the products cut to integers in units of 1 / scale[j]; lost[j], what was cut, as a
 * number that is 0 only if nothing was. */
MMA_INLINE void cut_products(int group, const float *a, const float *b, const double *scale,
                             int64_t *sum, double *lost) {
    for (int j = 0; j < MMA_BLOCK; j++) {
        sum[j] = 0;
        lost[j] = 0;
    }
    for (int k = 0; k < group; k++) {
        const double a_k = (double)a[k];
        for (int j = 0; j < MMA_BLOCK; j++) {
            const double p = a_k * (double)b[k * MMA_BLOCK + j] * scale[j];
            /* A slow lane's sum means nothing: it may have NaN in it, and it may wrap. */
            const int64_t t = fabs(p) < 0x1p62 ? (int64_t)p : 0;
            sum[j] = (int64_t)((uint64_t)sum[j] + (uint64_t)t);
            lost[j] += fabs(p - (double)t);
        }
    }
}

/* Which exponents a step may scale by. A lane beyond them is slow. */
MMA_INLINE bool in_reach(int E) {
    return E >= -700 && E <= 400;
}

static void general_cut(const gka_tensor_core *core, const float *a, const int16_t *ea,
                        const float *b, const int16_t *eb, lanes *l) {
    const int smallest = core->result == GKA_RESULT_FP16 ? -14 : -126;
    int32_t E[MMA_BLOCK];
    double scale[MMA_BLOCK], lost[MMA_BLOCK];
    int64_t T[MMA_BLOCK];
    widest_products(core->group, ea, eb, E);
    for (int j = 0; j < MMA_BLOCK; j++) {
        const int e_c = exponent_of_c(l->c[j], smallest);
        const bool none = E[j] < -4000 && e_c < -3000;
        E[j] = E[j] > e_c ? E[j] : e_c;
        E[j] = none ? 0 : E[j] > core->floor ? E[j] : core->floor;
        l->slow[j] |= !in_reach(E[j]);
        E[j] = in_reach(E[j]) ? E[j] : 0;
        scale[j] = power_of_two(core->fraction - E[j]);
    }
    cut_products(core->group, a, b, scale, T, lost);
    for (int j = 0; j < MMA_BLOCK; j++) {
        if (l->slow[j])
            continue;
        T[j] += (int64_t)((double)l->c[j] * scale[j]);
        const int unit = E[j] - core->fraction;
        l->c[j] = core->result == GKA_RESULT_FP16
                      ? nearest_half(T[j], unit)
                      : cut_to_binary32(T[j], unit, core->result == GKA_RESULT_FP32 ? 24 : 14);
    }
}

/* The sum is T or at most group + 1 units beside it, and exactly T if nothing was lost. */
static void general_exact(const gka_tensor_core *core, const float *a, const int16_t *ea,
                          const float *b, const int16_t *eb, lanes *l) {
    int32_t E[MMA_BLOCK];
    double scale[MMA_BLOCK], lost[MMA_BLOCK];
    int64_t T[MMA_BLOCK];
    widest_products(core->group, ea, eb, E);
    for (int j = 0; j < MMA_BLOCK; j++) {
        const int e_c = exponent_of_c(l->c[j], -126);
        const bool none = E[j] < -4000 && e_c < -3000;
        E[j] = E[j] > e_c ? E[j] : e_c;
        /* a sum of zeros is -0 if all are: left to the rule when c is */
        l->slow[j] |= none ? gka_bits_f32(l->c[j]) != 0 : !in_reach(E[j]);
        E[j] = in_reach(E[j]) ? E[j] : 0;
        scale[j] = power_of_two(FRACTION_OF_EXACT - E[j]);
    }
    cut_products(core->group, a, b, scale, T, lost);
    for (int j = 0; j < MMA_BLOCK; j++) {
        if (l->slow[j])
            continue;
        const double of_c = (double)l->c[j] * scale[j];
        const int64_t t = (int64_t)of_c;
        T[j] += t;
        const bool exact = !(lost[j] + fabs(of_c - (double)t) > 0);
        const int64_t beside = exact ? 0 : core->group + 2;
        const double unit = power_of_two(E[j] - FRACTION_OF_EXACT);
        const float low = (float)((double)(T[j] - beside) * unit);
        const float high = (float)((double)(T[j] + beside) * unit);
        const bool flushed = core->flush && !(fabsf(low) > 0x1p-126F) && (low < 0 || low > 0);
        l->slow[j] |=
            gka_bits_f32(low) != gka_bits_f32(high) || flushed || (!exact && !(low < 0 || low > 0));
        l->c[j] = low;
    }
}

static void general_floored(const gka_tensor_core *core, const float *a, const int16_t *ea,
                            const float *b, const int16_t *eb, lanes *l) {
    int32_t E[MMA_BLOCK];
    double scale[MMA_BLOCK], lost[MMA_BLOCK];
    int64_t T[MMA_BLOCK];
    widest_products(core->group, ea, eb, E);
    for (int j = 0; j < MMA_BLOCK; j++) {
        const bool none = E[j] < -4000;
        l->slow[j] |= E[j] > 126; /* a product of 2^128 counts as infinite */
        E[j] = E[j] > core->floor ? E[j] : core->floor;
        E[j] = none && E[j] < -700 ? -700 : E[j]; /* as good as any below c's exponents */
        l->slow[j] |= !in_reach(E[j]);
        E[j] = in_reach(E[j]) ? E[j] : 0;
        scale[j] = power_of_two(core->fraction - E[j]);
    }
    cut_products(core->group, a, b, scale, T, lost);
    for (int j = 0; j < MMA_BLOCK; j++) {
        const int e_c = exponent_of_c(l->c[j], -126);
        l->slow[j] |= e_c > 1000;
        if (l->slow[j])
            continue;
        const int E2 = E[j] > e_c ? E[j] : e_c;
        const double sum = (double)T[j] * power_of_two(E[j] - core->fraction);
        const double of_products = floor(sum * power_of_two(31 - E2));
        const double of_c = floor((double)l->c[j] * power_of_two(24 - E2));
        l->c[j] = (float)((of_products + of_c * 128) * power_of_two(E2 - 31));
    }
}

MMA_INLINE float flushed_lane(bool flush, float x) {
    return flush && fabsf(x) < 0x1p-126F ? x * 0.0F : x;
}

/* Binary32 throughout; a NaN or an infinity leaves the lane to the rule. */
static void general_pairs(const gka_tensor_core *core, const float *a, const float *b, lanes *l) {
    float p[GKA_GROUP_MOST][MMA_BLOCK];
    for (int k = 0; k < core->group; k++)
        for (int j = 0; j < MMA_BLOCK; j++)
            p[k][j] = flushed_lane(core->flush, a[k] * b[k * MMA_BLOCK + j] + 0.0F);
    for (int apart = 1; apart < core->group; apart *= 2)
        for (int k = 0; k < core->group; k += 2 * apart)
            for (int j = 0; j < MMA_BLOCK; j++)
                p[k][j] = flushed_lane(core->flush, p[k][j] + p[k + apart][j]);
    for (int j = 0; j < MMA_BLOCK; j++) {
        l->c[j] += p[0][j];
        l->slow[j] |= !(fabsf(l->c[j]) <= FLT_MAX);
    }
}

static void general_chains(const gka_tensor_core *core, const float *a, const float *b, lanes *l) {
    float chain[2][MMA_BLOCK] = {{0}};
    for (int k = 0; k < core->group; k++)
        for (int j = 0; j < MMA_BLOCK; j++) {
            const float x = fmaf(a[k], b[k * MMA_BLOCK + j], chain[k % 2][j]);
            /* at the edge it matters what was rounded away */
            l->slow[j] |= core->flush && fabsf(x) <= 0x1p-126F && fabsf(x) > 0;
            chain[k % 2][j] = x;
        }
    for (int j = 0; j < MMA_BLOCK; j++) {
        l->c[j] += flushed_lane(core->flush, chain[0][j] + chain[1][j]);
        l->slow[j] |= !(fabsf(l->c[j]) <= FLT_MAX);
    }
}

/* One product: a fused multiply-add of binary32. */
static void general_fused(const gka_tensor_core *core, const float *a, const float *b, lanes *l) {
    for (int j = 0; j < MMA_BLOCK; j++) {
        const float x = fmaf(*a, b[j], l->c[j]);
        /* at the edge it matters what was rounded away */
        l->slow[j] |=
            (core->flush && fabsf(x) <= 0x1p-126F && fabsf(x) > 0) | !(fabsf(x) <= FLT_MAX);
        l->c[j] = x;
    }
}

static void general_step(const gka_tensor_core *core, const float *a, const int16_t *ea,
                         const float *b, const int16_t *eb, lanes *l) {
    const float normal = core->result == GKA_RESULT_FP16 ? 0x1p-14F : 0x1p-126F;
    for (int j = 0; j < MMA_BLOCK && core->flush; j++)
        l->c[j] = gka_flushed_input(core, normal, l->c[j]);
    switch (core->sum) {
    case GKA_SUM_EXACT:
        if (core->group == 1)
            general_fused(core, a, b, l);
        else
            general_exact(core, a, ea, b, eb, l);
        break;
    case GKA_SUM_FLOORED: general_floored(core, a, ea, b, eb, l); break;
    case GKA_SUM_PAIRS: general_pairs(core, a, b, l); break;
    case GKA_SUM_CHAINS: general_chains(core, a, b, l); break;
    default: general_cut(core, a, ea, b, eb, l);
    }
    for (int j = 0; j < MMA_BLOCK && core->flush; j++)
        l->c[j] = fabsf(l->c[j]) < normal ? l->c[j] * 0.0F : l->c[j];
}

/* One row of C against a block of columns, of which n are there. */
static void general_row(const gka_tensor_core *core, gka_mma_input input, const mma_packed *left,
                        const mma_packed *right, int64_t i, int64_t block, int n, double *out) {
    const float *const a = left->f32 + i * left->K;
    const int16_t *const ea = left->e + i * left->K;
    const float *const b = right->f32 + block * right->K * MMA_BLOCK;
    const int16_t *const eb = right->e + block * right->K * MMA_BLOCK;
    lanes l = {{0}, {0}};
    float start[MMA_BLOCK] = {0}, total[MMA_BLOCK];
    for (int j = 0; j < n; j++)
        start[j] = (float)out[j];
    memcpy(total, start, sizeof total);
    if (!core->apart)
        memcpy(l.c, start, sizeof start);
    for (int64_t k = 0; k < left->K; k += core->group) {
        const int group_flags = left->flags[i * left->groups + k / core->group] |
                                right->flags[block * right->groups + k / core->group];
        if (group_flags & MMA_HAS_SPECIAL)
            for (int j = 0; j < MMA_BLOCK; j++)
                l.slow[j] = 1;
        general_step(core, a + k, ea + k, b + k * MMA_BLOCK, eb + k * MMA_BLOCK, &l);
        const int64_t done = k + core->group;
        if (core->apart && (done % core->apart == 0 || done == left->K))
            for (int j = 0; j < MMA_BLOCK; j++) {
                total[j] = core->result == GKA_RESULT_FP16
                               ? (float)gka_round_core(&gka_fp16, GKA_NEAREST_EVEN,
                                                       (double)total[j] + (double)l.c[j], 0)
                               : total[j] + l.c[j];
                l.slow[j] |= !(fabsf(total[j]) <= FLT_MAX);
                l.c[j] = 0;
            }
    }
    for (int j = 0; j < n; j++) {
        float end = core->apart ? total[j] : l.c[j];
        if (l.slow[j] || !(fabsf(start[j]) <= FLT_MAX)) {
            end = start[j];
            redo(core, input, left->K, a, b, j, &end);
        }
        out[j] = (double)end;
    }
}

#endif
