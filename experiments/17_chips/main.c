/* main.c - one layer on several machines: what a matrix unit's rule, FP8 operands and the format of
 * the state cost.
 *
 *   units   sums of K products by each unit: bias, the mean of (d - exact)/sum |a b|, of products
 *           that are all positive, and rms, of (d - exact)/sum |a b| with random signs
 *   layer   ||out - exact||/||exact|| of x, o and dk of the solve, the released kernels on each
 *           NVIDIA device; "h100/tensor_core=exact": with products rounded once
 *   fp8     the same with the operands of every 16-bit product in FP8, by scales and promotion
 *   states  the same where nothing is rounded but H and U after each chunk of 64, by format
 *
 * --file FILE: another problem in the place of tests/data/real, at the size it has.
 */
#include "lab/cases.h"
#include "lab/lab.h"

#include "gka/io.h"
#include "gka/judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { UNITS, LAYER, FP8, STATES };

/* ---- units --------------------------------------------------------------------------------- */

enum { SIDE = 16 }; /* a tile has SIDE x SIDE sums */

/* apart: promoted every so many products by a binary32 add; 0: as the device has it */
static const struct sum {
    const char *device;
    gka_mma_input input;
    int apart;
} sums[] = {
    {"v100", GKA_MMA_FP16, 0},        {"t4", GKA_MMA_FP16, 0},     {"a100", GKA_MMA_BF16, 0},
    {"l40s", GKA_MMA_BF16, 0},        {"h100", GKA_MMA_BF16, 0},   {"b200", GKA_MMA_BF16, 0},
    {"mi100", GKA_MMA_BF16, 0},       {"mi250", GKA_MMA_BF16, 0},  {"mi300", GKA_MMA_BF16, 0},
    {"avx512-bf16", GKA_MMA_BF16, 0}, {"amx", GKA_MMA_BF16, 0},    {"ieee32", GKA_MMA_BF16, 0},
    {"a100", GKA_MMA_TF32, 0},        {"h100", GKA_MMA_TF32, 0},   {"h100-fp16", GKA_MMA_FP16, 0},
    {"l40s", GKA_MMA_E4M3, 0},        {"l40s", GKA_MMA_E4M3, 128}, {"h100", GKA_MMA_E4M3, 0},
    {"h100", GKA_MMA_E4M3, 128},      {"h100", GKA_MMA_E4M3, 32},  {"h100-mma", GKA_MMA_E4M3, 0},
    {"b200-mma", GKA_MMA_E4M3, 0},
};
enum { SUMS = sizeof sums / sizeof *sums };

/* K numbers of a format for each of SIDE rows: uniform in (0, 1), or in (-1, 1). */
static void draw(const gka_format *format, bool positive, uint64_t seed, int64_t K, double *a) {
    for (int64_t i = 0; i < SIDE * K; i++) {
        const double u = ldexp((double)(gka_round_random(seed, (uint64_t)i) >> 11), -53);
        a[i] = gka_round(format, GKA_NEAREST_EVEN, positive ? u : 2 * u - 1, 0);
    }
}

typedef struct figures {
    double bias, rms;
} figures;

static gka_status unit_of(const struct sum *s, bool positive, int64_t K, int64_t tiles,
                          uint64_t seed, figures *out, gka_error *error) {
    static const char *const formats[GKA_MMA_INPUT_COUNT] = {"bf16", "fp16", "tf32",
                                                             "e4m3", "e5m2", "fp32"};
    gka_device device = *gka_device_find(s->device);
    if (s->apart)
        device.core[s->input].apart = s->apart;
    const gka_format *const format = gka_format_find(formats[s->input]);
    double *const a = gka_alloc((size_t)(2 * SIDE * K), sizeof *a), *const b = a + SIDE * K;
    void *const work = gka_alloc(gka_mma_left_size(&device, s->input, SIDE, K) +
                                     gka_mma_right_size(&device, s->input, K, SIDE),
                                 1);
    if (a == NULL || work == NULL) {
        gka_free(a), gka_free(work);
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
    }
    *out = (figures){0};
    for (int64_t t = 0; t < tiles; t++) {
        double d[SIDE * SIDE] = {0};
        draw(format, positive, seed + 2 * (uint64_t)t, K, a);
        draw(format, positive, seed + 2 * (uint64_t)t + 1, K, b);
        gka_mma(&device, s->input, SIDE, SIDE, K, (gka_matrix){a, (ptrdiff_t)K, 1},
                (gka_matrix){b, 1, (ptrdiff_t)K}, d, SIDE, work);
        for (int i = 0; i < SIDE * SIDE; i++) {
            double sum = 0, size = 0; /* products have at most 22 bits: exact to 2^-40 */
            for (int64_t k = 0; k < K; k++) {
                const double p = a[i / SIDE * K + k] * b[i % SIDE * K + k];
                sum += p;
                size += fabs(p);
            }
            const double e = (d[i] - sum) / size;
            out->bias += e / (double)(SIDE * SIDE * tiles);
            out->rms += e * e / (double)(SIDE * SIDE * tiles);
        }
    }
    out->rms = sqrt(out->rms);
    gka_free(a), gka_free(work);
    return GKA_OK;
}

static gka_status run_units(lab *l, gka_error *error) {
    if (!lab_unit(l, UNITS, "all"))
        return GKA_OK;
    const int64_t tiles = lab_pick(l, 1, 4, 16);
    gka_status status = GKA_OK;
    for (int i = 0; i < SUMS && status == GKA_OK; i++)
        for (int64_t K = 128; K <= 4096 && status == GKA_OK; K *= 32) {
            figures positive, mixed;
            status = unit_of(&sums[i], true, K, tiles, l->seed, &positive, error);
            if (status == GKA_OK)
                status = unit_of(&sums[i], false, K, tiles, l->seed, &mixed, error);
            if (status == GKA_OK)
                lab_row(l, "%s,%s,%d,%lld,%.4g,%.4g", sums[i].device,
                        gka_mma_input_name(sums[i].input), sums[i].apart, (long long)K,
                        positive.bias, mixed.rms);
        }
    return status == GKA_OK ? lab_unit_end(l, error) : status;
}

/* ---- the layer ----------------------------------------------------------------------------- */

static const char *const layer_kernels[] = {"h100/tensor_core=exact",
                                            "h100",
                                            "a100",
                                            "l40s",
                                            "b200",
                                            "h100/two-term/tensor_core=exact",
                                            "h100/two-term",
                                            "a100/two-term",
                                            "l40s/two-term",
                                            "b200/two-term",
                                            NULL};

static const char *const fp8_kernels[] = {"h100/two-term",
                                          "b200-mma/two-term/fp8",
                                          "l40s/two-term/fp8",
                                          "h100/two-term/fp8/promote=0",
                                          "h100/two-term/fp8/promote=128",
                                          "h100/two-term/fp8/promote=32",
                                          "h100/two-term/fp8/promote=32/scales=powers",
                                          "h100/two-term/fp8/promote=32/scales=tile",
                                          "h100/two-term/fp8/promote=32/scales=none",
                                          "h100/two-term/fp8=e5m2/promote=32",
                                          "h100/two-term/fp8=e5m2/promote=32/scales=none",
                                          "h100/fp8/promote=32",
                                          NULL};

/* states=pPeE: p bits of precision, E of exponent */
static const char *const state_kernels[] = {
    "exact64/states=fp16",       "exact64/states=bf16",       "exact64/states=p8e5",
    "exact64/states=p7e5",       "exact64/states=p6e5",       "exact64/states=p7e4",
    "exact64/states=e4m3",       "exact64/states=e4m3-1x128", "exact64/states=mxfp8-e4m3",
    "exact64/states=mxfp8-e5m2", "exact64/states=mxfp6-e2m3", "exact64/states=mxfp6-e3m2",
    "exact64/states=mxfp4",      "exact64/states=nvfp4",      NULL};

static const struct kind {
    const char *name;
    int keys; /* < 0: the file */
} kinds[] = {{"real", -1}, {"iid", GKA_KEYS_IID}, {"mean", GKA_KEYS_MEAN}};
enum { KINDS = sizeof kinds / sizeof *kinds };

static const char *const outputs[] = {"x", "o", "solve.dk"};
enum { OUTPUTS = 3, MOST = 512, TOGETHER = 16 };

static gka_status made_up(const lab *l, int keys, gka_problem *p, gka_error *error) {
    const int64_t heads = lab_pick(l, 2, 4, 16);
    const gka_generator spec = {.keys = (gka_keys)keys,
                                .gate = lab_gate(GKA_GATE_RELEASED),
                                .B = 1,
                                .T = lab_pick(l, 128, 256, 1024),
                                .H = heads,
                                .G = heads,
                                .D = lab_pick(l, 64, 128, 128),
                                .V = lab_pick(l, 64, 128, 128),
                                .alpha = true,
                                .cotangents = true,
                                .dtype = GKA_BF16,
                                .seed = l->seed};
    return gka_problem_generate(&spec, p, error);
}

/* The bits that a number of a state takes; 64: not rounded. */
static double bits_of(const gka_profile *profile) {
    const gka_format *const f = profile->state_format;
    return profile->state_blocks ? gka_block_bits(profile->state_blocks)
           : f == NULL           ? 64
           : f->bits != 0        ? f->bits
                                 : f->p + ceil(log2(f->emax - f->emin + 3)); /* pPeE */
}

/* gka_kernel_find; a state's format may also be pPeE of gka_policy_find, which then lies in *own.
 */
static gka_status find_kernel(const char *name, gka_format *own, gka_kernel *kernel,
                              gka_error *error) {
    static const char before[] = "exact64/states=";
    const bool has_state = strncmp(name, before, strlen(before)) == 0;
    char policy_name[32];
    gka_policy policy;
    snprintf(policy_name, sizeof policy_name, "%s-acc32", has_state ? name + strlen(before) : "");
    if (policy_name[0] != 'p' || !gka_policy_find(policy_name, &policy))
        return gka_kernel_find(name, kernel, error);
    const gka_status status = gka_kernel_find("exact64", kernel, error);
    *own = policy.storage;
    kernel->profile.state_format = own;
    return status;
}

static gka_status rows(lab *l, const char *keys, const gka_problem *p, const char *const *names,
                       gka_error *error) {
    static double distance[MOST * TOGETHER * OUTPUTS], size[MOST * OUTPUTS];
    const size_t heads = (size_t)(p->N * p->H);
    gka_kernel kernels[TOGETHER];
    gka_format own[TOGETHER];
    size_t count = 0;
    gka_status status = GKA_OK;
    if (heads > MOST || p->T < 1)
        return gka_fail(error, GKA_BAD_FILE, "%zu heads: 1 to %d of some tokens were expected",
                        heads, MOST);
    for (; names[count] != NULL && status == GKA_OK; count++)
        status = find_kernel(names[count], &own[count], &kernels[count], error);
    const gka_prediction asked = {.oracle = GKA_ORACLE_FP64,
                                  .kernels = kernels,
                                  .kernel_count = count,
                                  .names = outputs,
                                  .name_count = OUTPUTS};
    if (status == GKA_OK)
        status = gka_predict(p, &asked, distance, size, error);
    for (size_t h = 0; h < heads && status == GKA_OK; h++)
        for (size_t k = 0; k < count; k++) {
            double e[OUTPUTS];
            for (size_t i = 0; i < OUTPUTS; i++)
                e[i] = distance[(h * count + k) * OUTPUTS + i] / size[h * OUTPUTS + i];
            lab_row(l, "%s,%s,%.4g,%zu,%.4g,%.4g,%.4g", keys, names[k],
                    bits_of(&kernels[k].profile), h, e[0], e[1], e[2]);
        }
    return status;
}

static gka_status run_layer(lab *l, int table, const struct kind *kind, gka_error *error) {
    const char *const *const names = table == LAYER ? layer_kernels
                                     : table == FP8 ? fp8_kernels
                                                    : state_kernels;
    gka_file *file = NULL;
    gka_problem p = {0};
    gka_status status = GKA_OK;
    if (!lab_unit(l, table, "%s-%s", kind->name, kind->keys < 0 && l->file != NULL ? l->file : ""))
        return GKA_OK;
    if (kind->keys < 0) {
        status = gka_file_open(
            l->file != NULL ? l->file : GKA_TEST_DATA "/real/smollm2_rope_released.safetensors",
            &file, error);
        if (status == GKA_OK)
            status = gka_problem_from_file(file, &p, NULL, error);
    } else {
        status = made_up(l, kind->keys, &p, error);
    }
    if (status == GKA_OK)
        status = rows(l, kind->name, &p, names, error);
    gka_problem_free(&p);
    gka_file_close(file);
    return status == GKA_OK ? lab_unit_end(l, error) : status;
}

/* At the smallest size the last kind of keys is left out of FP8 and states. */
static int kinds_of(const lab *l, int table) {
    return table > LAYER && l->size == LAB_CLAIM ? KINDS - 1 : KINDS;
}

static gka_status run(lab *l, gka_error *error) {
    l->units_total = 1 + kinds_of(l, LAYER) + 2 * kinds_of(l, FP8);
    gka_status status = run_units(l, error);
    for (int table = LAYER; table <= STATES; table++)
        for (int k = 0; k < kinds_of(l, table) && status == GKA_OK; k++)
            status = run_layer(l, table, &kinds[k], error);
    return status;
}

/* ---- verdicts ------------------------------------------------------------------------------ */

static double bias(lab *l, const char *device, const char *input, int apart) {
    return lab_stats_of(l, UNITS, "bias", "device=%s,input=%s,apart=%d,K=4096", device, input,
                        apart)
        .median;
}

/* The median over heads of an output's error; keys NULL: of the kind where it is largest. */
static double median(lab *l, int table, const char *column, const char *keys, const char *kernel) {
    if (keys != NULL)
        return lab_stats_of(l, table, column, "keys=%s,kernel=%s", keys, kernel).median;
    double worst = 0;
    for (int k = 0; k < KINDS; k++)
        worst = fmax(worst, median(l, table, column, kinds[k].name, kernel));
    return worst;
}

static void judge_units(lab *l) {
    const double a100 = bias(l, "a100", "bf16", 0), h100 = bias(l, "h100", "bf16", 0),
                 mi300 = bias(l, "mi300", "bf16", 0), x86 = bias(l, "avx512-bf16", "bf16", 0),
                 fp8 = bias(l, "h100", "e4m3", 0), promoted = bias(l, "h100", "e4m3", 128);
    lab_claim(l, "Long sums of bf16 products come out too small because bf16 is short", LAB_REFUTED,
              a100 < -2e-5 && a100 > -5e-5 && h100 < -7e-6 && h100 > -3e-5 && fabs(mi300) < 1e-6 &&
                  fabs(x86) < 1e-6 && fp8 < -.02 && promoted < -2e-4 && promoted > -2e-3,
              "bias of sums of 4096 positive products: A100 %.1e, H100 %.1e, MI300 %.1e, x86 %.1e: "
              "it is the unit's cutting; H100 in e4m3 %.1e, promoted every 128 %.1e",
              a100, h100, mi300, x86, fp8, promoted);
}

static void judge_layer(lab *l) {
    static const char *const devices[] = {"h100", "a100", "l40s", "b200"};
    static const char *const columns[] = {"x", "o", "dk"};
    double most = 0;
    for (int d = 0; d < 4; d++)
        for (int form = 0; form < 2; form++)
            for (int c = 0; c < 3; c++)
                for (int k = 0; k < KINDS; k++) {
                    char name[64];
                    snprintf(name, sizeof name, "%s%s", devices[d], form ? "/two-term" : "");
                    const char *const exact =
                        form ? "h100/two-term/tensor_core=exact" : "h100/tensor_core=exact";
                    const double with = median(l, LAYER, columns[c], kinds[k].name, name),
                                 without = median(l, LAYER, columns[c], kinds[k].name, exact);
                    most = fmax(most, fabs(with / without - 1));
                }
    lab_claim(l, "The units' cutting, and so the chip, matters for the layer", LAB_REFUTED,
              most < .25,
              "median errors of x, o and dk on an A100, L40S, H100 and B200 are within %.1f %% of "
              "those with products rounded once; o of the real heads %.4f (three-term), %.4f "
              "(two-term) on an H100, %.4f and %.4f on an A100",
              100 * most, median(l, LAYER, "o", "real", "h100"),
              median(l, LAYER, "o", "real", "h100/two-term"), median(l, LAYER, "o", "real", "a100"),
              median(l, LAYER, "o", "real", "a100/two-term"));
}

static void judge_fp8(lab *l) {
    const char *const promoted = "h100/two-term/fp8/promote=32";
    const double bf16 = median(l, FP8, "o", "real", "h100/two-term"),
                 wide = median(l, FP8, "o", "real", "b200-mma/two-term/fp8"),
                 never = median(l, FP8, "o", "real", "h100/two-term/fp8/promote=0"),
                 often = median(l, FP8, "o", "real", promoted),
                 none = median(l, FP8, "o", "real", "h100/two-term/fp8/promote=32/scales=none"),
                 e5m2 = median(l, FP8, "o", "real", "h100/two-term/fp8=e5m2/promote=32"),
                 three = median(l, FP8, "o", "real", "h100/fp8/promote=32");
    lab_claim(
        l, "The chunk form survives FP8 operands and a sum of 13 bits", LAB_QUALIFIED,
        fabs(never / wide - 1) < .2 && fabs(often / wide - 1) < .2 && often > 4 * bf16 &&
            often < 24 * bf16 && e5m2 > 1.3 * often && none > 1.1 * often && three > 1,
        "median o of the real heads, two-term: bf16 %.3f, e4m3 with sums of 25 bits %.3f, of 13 "
        "bits %.3f, of 13 promoted every 32 %.3f: the sum costs nothing, the operands lose what "
        "their 4 bits say. Without scales %.3f, in e5m2 %.3f; three-term %.2f, nothing is left",
        bf16, wide, never, often, none, e5m2, three);
}

static void judge_states(lab *l) {
    double bits = 64, best8 = INFINITY;
    const char *cheapest = "none";
    for (const char *const *k = state_kernels; *k; k++) {
        const double b = lab_stats_of(l, STATES, "bits", "kernel=%s", *k).median,
                     o = median(l, STATES, "o", NULL, *k);
        best8 = b < 9 ? fmin(best8, o) : best8;
        if (o <= .01 && b < bits) {
            bits = b;
            cheapest = strchr(*k, '=') + 1;
        }
    }
    lab_claim(
        l, "A state in eight bits, with scales, keeps o right to one per cent", LAB_REFUTED,
        bits > 9 && best8 > .02,
        "median error of o where the state alone is rounded, on the worst kind of keys: bf16 "
        "%.4f, fp16 %.5f, e4m3 in blocks of 128 with fp32 scales %.3f, mxfp8-e4m3 %.3f, nvfp4 "
        "%.2f; the cheapest of fourteen formats that does is %s, %g bits",
        median(l, STATES, "o", NULL, "exact64/states=bf16"),
        median(l, STATES, "o", NULL, "exact64/states=fp16"),
        median(l, STATES, "o", NULL, "exact64/states=e4m3-1x128"),
        median(l, STATES, "o", NULL, "exact64/states=mxfp8-e4m3"),
        median(l, STATES, "o", NULL, "exact64/states=nvfp4"), cheapest, bits);
}

static gka_status judge(lab *l, gka_error *error) {
    (void)error;
    judge_units(l);
    judge_layer(l);
    judge_fp8(l);
    judge_states(l);
    return GKA_OK;
}

int main(int argc, char **argv) {
    static const lab_experiment experiment = {
        .name = "17_chips",
        .question = "one layer on several machines: units, FP8, formats of the state",
        .tables = {{"units.csv", "device,input,apart,K,bias,rms"},
                   {"layer.csv", "keys,kernel,bits,head,x,o,dk"},
                   {"fp8.csv", "keys,kernel,bits,head,x,o,dk"},
                   {"states.csv", "keys,kernel,bits,head,x,o,dk"},
                   {NULL, NULL}},
        .run = run,
        .judge = judge,
        .refuses = LAB_NO_KEYS,
        .file = LAB_FILE_IS_OWN};
    return lab_main(argc, argv, &experiment);
}
