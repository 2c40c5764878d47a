/* main.c - a state kept in a short format for a long time.
 *
 *   drift   H and U from token to token in one format (computed in fp32, rounded once as they are
 *           stored), against binary64: error, signed error of the diagonal of H, and what a solve
 *           and an output read from them are worth
 *   decay   a state that nothing is added to: does it forget?
 *   gates   how slowly the gates of the released initialisation forget
 *   core    H by chunks on the tensor core of an H100, in rounded fp32, and by the one-token
 *           kernel, H = fma(H, gamma, bf16(k k^T)), against binary64
 *
 *   u  unit roundoff of the format, 2^-p: bf16 2^-8, fp16 2^-11, fp32 2^-24
 *   bias  mean over i of (H_ii - exact H_ii) / exact H_ii: truncation has a sign, rounding has none
 *
 * Keys are iid and normalised; bf16 numbers, like the values.
 */
#include "lab/dense.h"
#include "lab/lab.h"

#include "gka/arith.h"
#include "gka/problem.h"

#include <math.h>
#include <string.h>

enum { DRIFT, DECAY, GATES, CORE };

static const struct format {
    const char *name, *policy;
} formats[] = {{"bf16", "bf16-acc32"},
               {"bf16 toward zero", "bf16-acc32/zero"},
               {"bf16 stochastic", "bf16-acc32/stochastic"},
               {"fp16", "fp16-acc32"},
               {"mxfp8", "mxfp8-e4m3-acc32"},
               {"mxfp6", "mxfp6-e2m3-acc32"},
               {"mxfp4", "mxfp4-acc32"},
               {"nvfp4", "nvfp4-acc32"},
               {"e4m3 1x128", "e4m3-1x128-acc32"},
               {"fp32", "fp32"}};
enum { FORMATS = sizeof formats / sizeof *formats };

static const gka_gate gates[] = {GKA_GATE_NONE, GKA_GATE_SLOW, GKA_GATE_RELEASED};
enum { GATE_COUNT = sizeof gates / sizeof *gates, POINTS = 32 };

static int64_t tokens(const lab *l) {
    return lab_pick(l, 4096, 16384, 131072);
}

static int64_t width(const lab *l) {
    return lab_D(lab_pick(l, 16, 16, 32));
}

static int64_t head_count(const lab *l) {
    return lab_pick(l, 2, 3, 4);
}

static gka_status make(gka_problem *p, int64_t T, int64_t H, int64_t D, gka_gate gate,
                       uint64_t seed, gka_error *error) {
    const gka_generator spec = {.keys = lab_keys(GKA_KEYS_IID),
                                .gate = gate,
                                .B = 1,
                                .T = T,
                                .H = H,
                                .G = H,
                                .D = D,
                                .V = D,
                                .dtype = GKA_BF16,
                                .seed = seed};
    /* what does not depend on the keys has a size of its own */
    return D == lab_D(D) ? lab_generate(&spec, p, error) : gka_problem_generate(&spec, p, error);
}

/* t is looked at when it is a power of two of at least 16. */
static bool looked_at(int64_t t) {
    return t >= 16 && (t & (t - 1)) == 0;
}

/* ||M||_F over ||R||_F, ||M - R||_F / ||R||_F, and the bias of the diagonal. */
typedef struct look {
    int64_t t;
    double size, error, bias, U, x, o;
} look;

static void compare_states(int64_t D, const double *M, const double *R, look *at) {
    at->size = lab_norm(D * D, M) / lab_norm(D * D, R);
    at->error = lab_distance(D * D, M, R);
    at->bias = 0;
    for (int64_t i = 0; i < D; i++)
        at->bias += (M[i * D + i] / R[i * D + i] - 1) / (double)D;
}

/* ---- drift --------------------------------------------------------------------------------- */

typedef struct drift {
    const gka_problem *p;
    look looks[FORMATS][8][POINTS]; /* of every format and head */
    int counts[FORMATS][8];
    double *memory; /* of every worker: H U and exact ones [D,D], k v q x x' o o' [D] */
    size_t each;
} drift;

enum { MATRICES = 4, VECTORS = 7 };

/* o = U^T x */
static void output(int64_t D, const double *U, const double *x, double *o) {
    memset(o, 0, (size_t)D * sizeof *o);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++)
            o[j] += U[i * D + j] * x[i];
}

static void drift_of(void *context, int64_t item, int worker) {
    drift *const d = context;
    const gka_problem *const p = d->p;
    const int64_t format = item / p->H, h = item % p->H;
    const int64_t D = p->D;
    double *const H = d->memory + (size_t)worker * d->each, *const U = H + D * D,
                  *const exact_H = U + D * D, *const exact_U = exact_H + D * D,
                  *const k = exact_U + D * D, *const v = k + D, *const q = v + D, *const x = q + D,
                  *const exact_x = x + D, *const o = exact_x + D, *const exact_o = o + D;
    void *const scratch = exact_o + D;
    gka_arith A = lab_arith(formats[format].policy, 1 + (uint64_t)h);
    memset(H, 0, (size_t)(MATRICES * D * D) * sizeof *H);
    for (int64_t t = 0; t < p->T; t++) {
        const double gamma = exp(gka_problem_g(p, 0, t, h));
        gka_problem_k(p, 0, t, h, k);
        gka_problem_v(p, 0, t, h, v);
        gka_arith_rank1(&A, D, D, gamma, H, 1, k, k);
        gka_arith_rank1(&A, D, D, gamma, U, 1, k, v);
        for (int64_t i = 0; i < D; i++)
            for (int64_t j = 0; j < D; j++) {
                exact_H[i * D + j] = gamma * exact_H[i * D + j] + k[i] * k[j];
                exact_U[i * D + j] = gamma * exact_U[i * D + j] + k[i] * v[j];
            }
        if (!looked_at(t + 1))
            continue;
        look *const at = &d->looks[format][h][d->counts[format][h]++];
        at->t = t + 1;
        compare_states(D, H, exact_H, at);
        at->U = lab_distance(D * D, U, exact_U);
        gka_problem_q(p, 0, t, h, q);
        lab_exact(D, H, .02 * lab_norm(D * D, H), q, x, scratch);
        lab_exact(D, exact_H, .02 * lab_norm(D * D, exact_H), q, exact_x, scratch);
        output(D, U, x, o);
        output(D, exact_U, exact_x, exact_o);
        at->x = lab_distance(D, x, exact_x);
        at->o = lab_distance(D, o, exact_o);
    }
}

static gka_status run_drift(lab *l, gka_gate gate, gka_error *error) {
    const int64_t heads = head_count(l);
    gka_problem p = {0};
    drift *const d = gka_alloc(1, sizeof *d);
    gka_status status = d == NULL ? gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory")
                                  : make(&p, tokens(l), heads, width(l), gate, l->seed, error);
    if (status == GKA_OK) {
        const size_t D = (size_t)p.D;
        d->p = &p;
        d->each = MATRICES * D * D + VECTORS * D + (lab_exact_bytes(p.D) + 7) / 8;
        d->memory = gka_alloc((size_t)gka_threads() * d->each, sizeof(double));
        if (d->memory == NULL)
            status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
    }
    if (status == GKA_OK)
        gka_parallel(FORMATS * heads, drift_of, d);
    for (int f = 0; status == GKA_OK && f < FORMATS; f++)
        for (int64_t h = 0; h < heads; h++)
            for (int i = 0; i < d->counts[f][h]; i++) {
                const look *const at = &d->looks[f][h][i];
                lab_row(l, "%s,%s,%lld,%lld,%.5g,%.4g,%.4g,%.4g,%.4g,%.4g", gka_gate_name(gate),
                        formats[f].name, (long long)h, (long long)at->t, at->size, at->error,
                        at->bias, at->U, at->x, at->o);
            }
    if (d != NULL)
        gka_free(d->memory);
    gka_free(d);
    gka_problem_free(&p);
    return status;
}

/* ---- decay --------------------------------------------------------------------------------- */

enum { SLOWEST = 14, FASTEST = 5 };

/* 64 tokens of iid keys (D = 16), then 8 / (1 - gamma) tokens of nothing, gamma = 1 - 2^-k. */
static gka_status run_decay(lab *l, gka_error *error) {
    enum { D = 16, BURST = 64 };
    gka_problem p;
    gka_status status = make(&p, BURST, 1, D, GKA_GATE_NONE, l->seed, error);
    if (status != GKA_OK)
        return status;
    for (int f = 0; f < FORMATS; f++)
        for (int power = FASTEST; power <= (l->size == LAB_CLAIM ? 12 : SLOWEST); power++) {
            gka_arith A = lab_arith(formats[f].policy, (uint64_t)power);
            const double gamma = 1 - ldexp(1, -power);
            const int64_t after = INT64_C(8) << power;
            double H[D * D] = {0}, k[D], none[D] = {0};
            for (int64_t t = 0; t < BURST; t++) {
                gka_problem_k(&p, 0, t, 0, k);
                gka_arith_rank1(&A, D, D, 1, H, 1, k, k);
            }
            const double before = lab_norm(D * D, H);
            for (int64_t t = 1; t <= after; t++) {
                gka_arith_rank1(&A, D, D, gamma, H, 1, none, none);
                if (t % (after / 8) == 0)
                    lab_row(l, "%s,%d,%lld,%.5g,%.5g", formats[f].name, power, (long long)t,
                            lab_norm(D * D, H) / before, pow(gamma, (double)t));
            }
        }
    gka_problem_free(&p);
    return status;
}

/* ---- gates --------------------------------------------------------------------------------- */

static gka_status run_gates(lab *l, gka_error *error) {
    const int64_t T = 512, H = lab_pick(l, 64, 256, 1024);
    gka_status status = GKA_OK;
    for (int i = 1; status == GKA_OK && i < GATE_COUNT; i++) {
        gka_problem p;
        status = make(&p, T, H, 1, gates[i], l->seed, error);
        for (int64_t h = 0; status == GKA_OK && h < H; h++) {
            double bf16 = 0, fp16 = 0, mean = 0;
            for (int64_t t = 0; t < T; t++) {
                const double lost = -expm1(gka_problem_g(&p, 0, t, h));
                mean += lost / (double)T;
                bf16 += (lost < 0x1p-9) / (double)T;
                fp16 += (lost < 0x1p-12) / (double)T;
            }
            lab_row(l, "%s,%lld,%.4g,%.4g,%.4g", gka_gate_name(gates[i]), (long long)h, mean, bf16,
                    fp16);
        }
        if (status == GKA_OK)
            gka_problem_free(&p);
    }
    return status;
}

/* ---- the tensor core and the one-token kernel ---------------------------------------------- */

enum { CHUNK = 64 };
static const char *const cores[] = {"h100", "ieee32", "decode"};
enum { CORES = sizeof cores / sizeof *cores };

typedef struct core_run {
    const gka_problem *p;
    look looks[CORES][8][POINTS];
    int counts[CORES][8];
    double
        *memory; /* of every worker: H, exact H, outer [D,D]; K, its weighted copy [CHUNK,D]; G */
    size_t each;
    size_t bytes; /* of gka_mma, at the end of each */
} core_run;

/* H = exp(G_C) H + K^T (exp(G_C - G_j) k_j), the weighted keys rounded to bf16 (NUMERICS 5, 2). */
static void chunk_update(const gka_device *device, int64_t D, double *G, const double *K,
                         double *weighted, double *H, void *workspace) {
    const gka_format *const bf16 = gka_format_find("bf16");
    for (int j = 1; j < CHUNK; j++)
        G[j] = gka_device_working(device, G[j] + G[j - 1]);
    for (int j = 0; j < CHUNK; j++) {
        const double weight =
            gka_device_exp(device, gka_device_working(device, G[CHUNK - 1] - G[j]));
        for (int64_t i = 0; i < D; i++)
            weighted[j * D + i] = gka_device_working(device, K[j * D + i] * weight);
    }
    gka_round_array(bf16, GKA_NEAREST_EVEN, 0, 0, (size_t)(CHUNK * D), weighted, weighted);
    const double gamma = gka_device_exp(device, G[CHUNK - 1]);
    for (int64_t i = 0; i < D * D; i++)
        H[i] = gka_device_working(device, H[i] * gamma);
    const gka_matrix left = {.data = K, .row = 1, .column = (ptrdiff_t)D},
                     right = {.data = weighted, .row = (ptrdiff_t)D, .column = 1};
    gka_mma(device, GKA_MMA_BF16, D, D, CHUNK, left, right, H, D, workspace);
}

/* H = fma(H, gamma, bf16(k k^T)) */
static void decode_update(int64_t D, double gamma, const double *k, double *outer, double *H) {
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++)
            outer[i * D + j] = k[i] * k[j];
    gka_round_array(gka_format_find("bf16"), GKA_NEAREST_EVEN, 0, 0, (size_t)(D * D), outer, outer);
    for (int64_t i = 0; i < D * D; i++)
        H[i] = (double)fmaf((float)H[i], (float)gamma, (float)outer[i]);
}

static void core_of(void *context, int64_t item, int worker) {
    core_run *const r = context;
    const gka_problem *const p = r->p;
    const int64_t D = p->D, h = item / CORES;
    const int core = (int)(item % CORES);
    const bool decode = strcmp(cores[core], "decode") == 0;
    const gka_device *const device = gka_device_find(decode ? "h100" : cores[core]);
    double *const H = r->memory + (size_t)worker * r->each, *const exact = H + D * D,
                  *const outer = exact + D * D, *const K = outer + D * D,
                  *const weighted = K + CHUNK * D, *const G = weighted + CHUNK * D;
    void *const workspace = G + CHUNK;
    memset(H, 0, (size_t)(2 * D * D) * sizeof *H);
    for (int64_t t = 0; t < p->T; t++) {
        const int64_t j = t % CHUNK;
        const double g = gka_problem_g(p, 0, t, h);
        double *const k = K + j * D;
        gka_problem_k(p, 0, t, h, k);
        G[j] = g;
        (void)lab_accumulate(D, exp(g), k, exact);
        if (decode)
            decode_update(D, gka_device_exp(device, g), k, outer, H);
        else if (j == CHUNK - 1)
            chunk_update(device, D, G, K, weighted, H, workspace);
        if (!looked_at(t + 1) || t + 1 < CHUNK)
            continue;
        look *const at = &r->looks[core][h][r->counts[core][h]++];
        at->t = t + 1;
        compare_states(D, H, exact, at);
    }
}

static gka_status run_core(lab *l, gka_gate gate, gka_error *error) {
    const int64_t D = lab_D(lab_pick(l, 16, 32, 64)), heads = head_count(l);
    gka_problem p = {0};
    core_run *const r = gka_alloc(1, sizeof *r);
    gka_status status = r == NULL ? gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory")
                                  : make(&p, tokens(l), heads, D, gate, l->seed, error);
    if (status == GKA_OK) {
        const gka_device *const h100 = gka_device_find("h100"), *const ieee =
                                                                    gka_device_find("ieee32");
        size_t bytes = 0;
        for (int i = 0; i < 2; i++) {
            const gka_device *const device = i == 0 ? h100 : ieee;
            const size_t both = gka_mma_left_size(device, GKA_MMA_BF16, D, CHUNK) +
                                gka_mma_right_size(device, GKA_MMA_BF16, CHUNK, D);
            bytes = both > bytes ? both : bytes;
        }
        /* each worker's part, and its workspace of gka_mma, begin on 64 bytes */
        r->p = &p;
        r->each = ((size_t)(3 * D * D + 2 * CHUNK * D + CHUNK) + bytes / 8 + 8) / 8 * 8;
        r->memory = gka_alloc((size_t)gka_threads() * r->each, sizeof(double));
        if (r->memory == NULL)
            status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
    }
    if (status == GKA_OK)
        gka_parallel(CORES * heads, core_of, r);
    for (int c = 0; status == GKA_OK && c < CORES; c++)
        for (int64_t h = 0; h < heads; h++)
            for (int i = 0; i < r->counts[c][h]; i++) {
                const look *const at = &r->looks[c][h][i];
                lab_row(l, "%s,%s,%lld,%lld,%.4g,%.4g", gka_gate_name(gate), cores[c], (long long)h,
                        (long long)at->t, at->error, at->bias);
            }
    if (r != NULL)
        gka_free(r->memory);
    gka_free(r);
    gka_problem_free(&p);
    return status;
}

/* ---- all ----------------------------------------------------------------------------------- */

static gka_status unit(lab *l, int table, gka_gate gate, gka_error *error) {
    if (!lab_unit(l, table, "%s", gka_gate_name(gate)))
        return GKA_OK;
    const gka_status status = table == DRIFT   ? run_drift(l, gate, error)
                              : table == CORE  ? run_core(l, gate, error)
                              : table == DECAY ? run_decay(l, error)
                                               : run_gates(l, error);
    return status == GKA_OK ? lab_unit_end(l, error) : status;
}

static gka_status run(lab *l, gka_error *error) {
    static const double long_one = 20; /* a unit of every token against one of a few */
    l->units_total = 2 + 2 * GATE_COUNT * long_one;
    gka_status status = unit(l, DECAY, GKA_GATE_NONE, error);
    if (status == GKA_OK)
        status = unit(l, GATES, GKA_GATE_NONE, error);
    l->weight = long_one;
    for (int i = 0; status == GKA_OK && i < GATE_COUNT; i++) {
        status = unit(l, CORE, gates[i], error);
        if (status == GKA_OK)
            status = unit(l, DRIFT, gates[i], error);
    }
    return status;
}

/* ---- verdicts ------------------------------------------------------------------------------ */

static lab_stats drift_at(lab *l, const char *column, const char *gate, const char *format,
                          int64_t t) {
    return lab_stats_of(l, DRIFT, column, "gate=%s,format=%s,t=%lld", gate, format, (long long)t);
}

static lab_stats core_at(lab *l, const char *column, const char *gate, const char *core,
                         int64_t t) {
    return lab_stats_of(l, CORE, column, "gate=%s,core=%s,t=%lld", gate, core, (long long)t);
}

/* The first t looked at where the median error of H exceeds `most`; NaN: none. */
static double first_beyond(lab *l, const char *gate, const char *format, double most) {
    for (int64_t t = 16; t <= tokens(l); t *= 2)
        if (drift_at(l, "error", gate, format, t).median > most)
            return (double)t;
    return NAN;
}

static void judge_drift(lab *l) {
    const int64_t T = tokens(l);
    const lab_stats size = drift_at(l, "size", "none", "bf16", T),
                    x = drift_at(l, "x", "none", "bf16", T),
                    half = drift_at(l, "size", "none", "fp16", T);
    const double bf16 = first_beyond(l, "none", "bf16", .03),
                 fp16 = first_beyond(l, "none", "fp16", .03);
    lab_claim(l,
              "Without a gate a state in 16 bits stagnates: small k k^T are rounded away beside a "
              "large H, after a time of the size 1/u",
              LAB_REPRODUCED, size.max < .7 && x.min > .3 && fp16 >= 4 * bf16 && fp16 <= 16 * bf16,
              "at t = %lld ||H|| in bf16 is %.2f .. %.2f of what it should be (fp16 %.2f .. %.2f) "
              "and x is off by %.2f .. %.2f; the error of H exceeds .03 at t = %g in bf16 and at "
              "%g in fp16 (u falls by 8); %lld heads",
              (long long)T, size.min, size.max, half.min, half.max, x.min, x.max, bf16, fp16,
              (long long)size.count);

    const lab_stats nearest = drift_at(l, "error", "none", "bf16", T),
                    stochastic = drift_at(l, "error", "none", "bf16 stochastic", T),
                    zero = drift_at(l, "error", "none", "bf16 toward zero", T);
    const double u = 0x1p-8, root = sqrt((double)T) * u;
    lab_claim(l,
              "Errors grow like t u when rounding has a sign, like sqrt(t) u when it has none: "
              "stochastic rounding keeps the sum that rounding to nearest loses",
              LAB_REPRODUCED,
              stochastic.max < root && stochastic.max < nearest.min / 4 && zero.min > nearest.max,
              "error of H in bf16 at t = %lld, no gate: stochastic %.3f .. %.3f (sqrt(t) u = "
              "%.2f), nearest %.2f .. %.2f, toward zero %.2f .. %.2f (t u = %.0f, and nothing can "
              "lose more than all); %lld heads",
              (long long)T, stochastic.min, stochastic.max, root, nearest.min, nearest.max,
              zero.min, zero.max, (double)T * u, (long long)zero.count);

    const lab_stats early = drift_at(l, "error", "released", "bf16", 256),
                    late = drift_at(l, "error", "released", "bf16", T),
                    late_x = drift_at(l, "x", "released", "bf16", T);
    lab_claim(l, "With gates of the released initialisation a bf16 state does not drift",
              LAB_QUALIFIED, late.median < 3 * early.median && late.max < .1,
              "heads that forget: error of H %.4f .. %.4f at t = 256, %.4f .. %.4f at %lld, of x "
              "%.3f .. %.3f (%lld heads); but not those of the next verdict",
              early.min, early.max, late.min, late.max, (long long)T, late_x.min, late_x.max,
              (long long)late.count);
}

/* Largest and smallest size left of what should be exact, for gamma = 1 - 2^-power. */
static lab_stats decayed(lab *l, const char *format, int power) {
    return lab_stats_of(l, DECAY, "size", "format=%s,power=%d,t=%lld", format, power, 8LL << power);
}

static void judge_forgetting(lab *l) {
    const int slowest = l->size == LAB_CLAIM ? 12 : SLOWEST;
    double least16 = INFINITY, least_fp16 = INFINITY, worst_stochastic = 0, worst_fp32 = 0;
    for (int power = FASTEST; power <= slowest; power++) {
        const double should = pow(1 - ldexp(1, -power), ldexp(8, power));
        if (power >= 9)
            least16 = fmin(least16, decayed(l, "bf16", power).min);
        if (power >= 12)
            least_fp16 = fmin(least_fp16, decayed(l, "fp16", power).min);
        worst_stochastic =
            fmax(worst_stochastic, fabs(decayed(l, "bf16 stochastic", power).median / should - 1));
        worst_fp32 = fmax(worst_fp32, fabs(decayed(l, "fp32", power).median / should - 1));
    }
    const double before = decayed(l, "bf16", 8).median, fp16_10 = decayed(l, "fp16", 11).median;
    const lab_stats released = lab_stats_of(l, GATES, "bf16", "gate=released"),
                    slow = lab_stats_of(l, GATES, "bf16", "gate=slow");
    lab_claim(l,
              "Below 1 - gamma = 2^-9 a state in bf16, rounded to nearest, never forgets (fp16: "
              "2^-12)",
              LAB_REPRODUCED,
              least16 > .99 && least_fp16 > .99 && worst_stochastic < .3 && worst_fp32 < .01,
              "after 8/(1 - gamma) tokens of nothing, where exp(-8) = .0003 should be left: bf16 "
              "at 2^-9 .. 2^-%d %.2f, fp16 from 2^-12 %.2f; one step before, at 2^-8 and 2^-11, "
              "they forget too fast (%.1e, %.1e). Stochastic rounding is right to %.0f %%, fp32 to "
              "%.1g %%. Of the tokens of %lld heads %.1f %% have such a gate under the released "
              "initialisation, %.0f %% when slowed a hundred times",
              slowest, least16, least_fp16, before, fp16_10, 100 * worst_stochastic,
              100 * worst_fp32, (long long)released.count, 100 * released.mean, 100 * slow.mean);
}

static void judge_core(lab *l) {
    const int64_t T = tokens(l);
    const lab_stats now = core_at(l, "bias", "none", "h100", T),
                    before = core_at(l, "bias", "none", "h100", T / 4),
                    nearest = core_at(l, "bias", "none", "ieee32", T);
    lab_claim(l,
              "The tensor core truncates: the state of the chunk kernel loses size, in proportion "
              "to t",
              LAB_REPRODUCED,
              now.max < 0 && now.median / before.median > 3 && now.median / before.median < 8 &&
                  fabs(now.median) > 3 * fmax(fabs(nearest.min), fabs(nearest.max)),
              "no gate, signed relative error of the diagonal of H at t = %lld: %.2e .. %.2e, "
              "%.3f t u (u = 2^-24), %.1f times that at t/4; in fp32 rounded to nearest %.1e .. "
              "%.1e; %lld heads",
              (long long)T, now.min, now.max, now.median / ((double)T * 0x1p-24),
              now.median / before.median, nearest.min, nearest.max, (long long)now.count);

    const lab_stats first = core_at(l, "error", "none", "decode", 256),
                    last = core_at(l, "error", "none", "decode", T),
                    bias = core_at(l, "bias", "none", "decode", T),
                    gated = core_at(l, "error", "released", "decode", T),
                    prefill = core_at(l, "error", "released", "h100", T);
    lab_claim(l, "The one-token kernel, which rounds k k^T to bf16, drifts away over many tokens",
              LAB_REFUTED,
              last.max < first.min && gated.median < 2 * prefill.median && bias.min > 0,
              "its error of H falls, from %.1e .. %.1e at t = 256 to %.1e .. %.1e at %lld (no "
              "gate), to a bias of +%.1e; with released gates it is %.1e .. %.1e, that of the "
              "chunk kernel %.1e .. %.1e (%lld heads)",
              first.min, first.max, last.min, last.max, (long long)T, bias.median, gated.min,
              gated.max, prefill.min, prefill.max, (long long)last.count);
}

static gka_status judge(lab *l, gka_error *error) {
    (void)error;
    judge_drift(l);
    judge_forgetting(l);
    judge_core(l);
    return GKA_OK;
}

int main(int argc, char **argv) {
    static const lab_experiment experiment = {
        .name = "12_state",
        .question = "What becomes of a state that is kept in a short format for a long time?",
        .tables = {{"drift.csv", "gate,format,head,t,size,error,bias,U,x,o"},
                   {"decay.csv", "format,power,t,size,exact"},
                   {"gates.csv", "gate,head,mean,bf16,fp16"},
                   {"core.csv", "gate,core,head,t,error,bias"}},
        .run = run,
        .judge = judge,
        .refuses = LAB_NO_GATE,
        .file = LAB_FILE_IS_KEYS};
    return lab_main(argc, argv, &experiment);
}
