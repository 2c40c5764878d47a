/* main.c - what the layer costs, against T, r, C and D.
 *
 * Multiply-adds of the forward pass are counted as they are computed (gka_chunk_report), memory is
 * what the workspace needs (gka_chunk_workspace), time is processor time of one thread. For whole
 * chunks the count per token, derived from the products of NUMERICS 4, is
 *
 *   solve    r (D^2 + 2 C D)          H_0 y; x K^T and scores times K
 *   norm     C D + C^2 + D^2          K K^T; M (.); K H_0
 *   state    D^2 + D V                H and U
 *   output   D V + C' D + C' V        q' U_0; q' K^T; scores times V; C' = C, on the h100 64
 *
 * Limits stated beside: the same products alone on this machine (`limit`, measured in the same
 * run), and on an H100 its data sheet's 495 T bf16 multiply-adds/s and 3.35 TB/s.
 */
#include "lab/cases.h"
#include "lab/lab.h"

#include "gka/chunk.h"
#include "gka/problem.h"

#include <math.h>
#include <string.h>
#include <time.h>

enum { TIME, MODEL };

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- counts by formula --------------------------------------------------------------------- */

/* Multiply-adds per token of the chunk algorithm, V = D; tile: C' above. */
static double by_chunks(double r, double C, double D, double tile) {
    return r * (D * D + 2 * C * D) + (C * D + C * C + D * D) + 2 * D * D + D * D + 2 * tile * D;
}

/* ... token by token: r products with H, the updates of H and U, the output. */
static double by_tokens(double r, double D) {
    return r * D * D + 3 * D * D;
}

/* ... softmax attention over T tokens, causal: q k^T and the weighted sum of v, T/2 on average. */
static double attention(double T, double D) {
    return T * D;
}

/* ---- measurements -------------------------------------------------------------------------- */

typedef struct setting {
    const char *axis, *profile;
    gka_form form;
    int64_t T, C, D;
    int r;
} setting;

/* Seconds per multiply-add of the device's matrix product alone, [C,D] x [D,D]. */
static gka_status product_rate(const gka_profile *profile, int64_t C, int64_t D, double *rate,
                               gka_error *error) {
    const gka_mma_input input =
        gka_profile_has(profile, GKA_POINT_OPERAND_X) ? GKA_MMA_BF16 : GKA_MMA_WORKING;
    const gka_device *const device = profile->device;
    const size_t n = (size_t)(2 * C * D + D * D);
    const size_t bytes =
        gka_mma_left_size(device, input, C, D) + gka_mma_right_size(device, input, D, D);
    double *const memory = gka_alloc(n, sizeof *memory);
    void *const workspace = gka_alloc(bytes, 1);
    gka_status status = GKA_OK;
    if (memory == NULL || workspace == NULL)
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
    for (size_t i = 0; status == GKA_OK && i < n; i++)
        memory[i] = 1 + (double)(i * 37 % 64) / 64; /* bf16 numbers, none zero */
    double best = INFINITY;
    for (int repeat = 0; status == GKA_OK && repeat < 5; repeat++) {
        const int times = (int)(INT64_C(8000000) / (C * D * D)) + 1;
        const double start = seconds();
        for (int i = 0; i < times; i++)
            gka_mma(device, input, C, D, D, (gka_matrix){memory, (ptrdiff_t)D, 1},
                    (gka_matrix){memory + C * D, (ptrdiff_t)D, 1}, memory + C * D + D * D, D,
                    workspace);
        best = fmin(best, (seconds() - start) / (double)times);
    }
    *rate = best / (double)(C * D * D);
    gka_free(workspace);
    gka_free(memory);
    return status;
}

static gka_status measure(lab *l, const setting *s, int repeats, gka_error *error) {
    const gka_generator spec = {.keys = GKA_KEYS_IID,
                                .gate = GKA_GATE_SLOW,
                                .B = 1,
                                .T = s->T,
                                .H = 1,
                                .G = 1,
                                .D = s->D,
                                .V = s->D,
                                .alpha = true,
                                .dtype = GKA_BF16,
                                .num_iter = s->r,
                                .chunk_size = s->C,
                                .seed = l->seed};
    gka_problem p = {0};
    gka_profile profile;
    gka_chunk_report report = {0};
    double *x = NULL;
    void *workspace = NULL;
    gka_status status = gka_problem_generate(&spec, &p, error);
    if (status == GKA_OK)
        status = lab_profile(s->profile, s->form, &profile, error);
    if (status != GKA_OK)
        goto done;
    const double tile = strcmp(s->profile, "h100") == 0 ? 64 : (double)s->C;
    const double formula = by_chunks(s->r, (double)s->C, (double)s->D, tile) * (double)s->T;
    const size_t bytes = gka_chunk_workspace(&p, &profile, 1);
    x = gka_alloc((size_t)(s->T * s->D) * 2, sizeof *x);
    workspace = gka_alloc(bytes, 1);
    if (x == NULL || workspace == NULL) {
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
        goto done;
    }
    double best = INFINITY, rate = 0;
    for (int i = 0; status == GKA_OK && i < repeats; i++) {
        gka_outputs out = {.x = x, .o = x + s->T * s->D};
        const double start = seconds();
        status = gka_chunk_forward(&p, &profile, &out, workspace, &report, error);
        best = fmin(best, seconds() - start);
    }
    if (status == GKA_OK)
        status = product_rate(&profile, s->C, s->D, &rate, error);
    if (status == GKA_OK)
        lab_row(l, "%s,%s,%s,%lld,%d,%lld,%lld,%.4g,%.10g,%.12g,%zu,%.4g", s->axis, s->profile,
                gka_form_name(s->form), (long long)s->T, s->r, (long long)s->C, (long long)s->D,
                best, (double)report.multiply_adds, (double)report.multiply_adds / formula, bytes,
                rate * (double)report.multiply_adds);
done:
    gka_free(workspace);
    gka_free(x);
    gka_problem_free(&p);
    return status;
}

/* ---- all ----------------------------------------------------------------------------------- */

static const char *const profiles[] = {"exact64", "h100"};

static gka_status unit(lab *l, const setting *s, int repeats, gka_error *error) {
    if (!lab_unit(l, TIME, "%s-%s-%d-%lld-%d-%lld-%lld", s->axis, s->profile, (int)s->form,
                  (long long)s->T, s->r, (long long)s->C, (long long)s->D))
        return GKA_OK;
    const gka_status status = measure(l, s, repeats, error);
    return status == GKA_OK ? lab_unit_end(l, error) : status;
}

static int64_t longest(const lab *l) {
    return lab_pick(l, 4096, 131072, 131072);
}

static gka_status along_T(lab *l, const char *profile, int64_t D, gka_error *error) {
    gka_status status = GKA_OK;
    for (int64_t T = 1024; status == GKA_OK && T <= longest(l); T *= l->size == LAB_QUICK ? 4 : 2) {
        const int64_t last = longest(l);
        const setting s = {"T", profile, GKA_TWO_TERM, T, 32, D, 30};
        status = unit(l, &s, T < last / 4 ? 3 : 1, error);
        /* the quick steps of 4 end below the longest sequence */
        if (l->size == LAB_QUICK && T < last && T * 4 > last && status == GKA_OK) {
            const setting end = {"T", profile, GKA_TWO_TERM, last, 32, D, 30};
            status = unit(l, &end, 1, error);
        }
    }
    return status;
}

static gka_status along_rest(lab *l, const char *profile, int64_t D, gka_error *error) {
    const int64_t T = lab_pick(l, 1024, 2048, 16384);
    gka_status status = GKA_OK;
    for (int form = GKA_THREE_TERM; form <= (int)GKA_TWO_TERM; form++)
        for (int r = 0; status == GKA_OK && r <= 60; r += 15) {
            const setting s = {"r", profile, (gka_form)form, T, 32, D, r == 0 ? 1 : r};
            status = unit(l, &s, 5, error);
        }
    for (int64_t C = 16; status == GKA_OK && C <= 256; C *= 2) {
        const setting s = {"C", profile, GKA_TWO_TERM, T, C, D, 30};
        status = unit(l, &s, 3, error);
    }
    for (int64_t width = 16; status == GKA_OK && width <= 128; width *= 2) {
        const setting s = {"D", profile, GKA_TWO_TERM, T / 2, 64, width, 30};
        status = unit(l, &s, 3, error);
    }
    return status;
}

static gka_status run(lab *l, gka_error *error) {
    const int64_t D = lab_pick(l, 16, 32, 128);
    gka_status status = GKA_OK;
    gka_set_threads(1);
    l->units_total = 1 + 2 * (lab_pick(l, 3, 5, 8) + 19);
    for (int i = 0; status == GKA_OK && i < 2; i++) {
        status = along_T(l, profiles[i], D, error);
        if (status == GKA_OK)
            status = along_rest(l, profiles[i], D, error);
    }
    if (status == GKA_OK && lab_unit(l, MODEL, "model")) {
        for (int power = 8; power <= 17; power++) {
            const double T = ldexp(1, power);
            lab_row(l, "%g,%.8g,%.8g,%.8g,%.8g", T, by_chunks(30, 64, 128, 64), by_tokens(30, 128),
                    by_chunks(0, 64, 128, 64), attention(T, 128));
        }
        status = lab_unit_end(l, error);
    }
    return status;
}

/* ---- verdicts ------------------------------------------------------------------------------ */

static lab_stats at(lab *l, const char *column, const char *axis, const char *profile,
                    const char *which, int64_t value) {
    return lab_stats_of(l, TIME, column, "axis=%s,profile=%s,form=two-term,%s=%lld", axis, profile,
                        which, (long long)value);
}

static void judge_tokens(lab *l, bool timed) {
    const int64_t T = longest(l), D = lab_pick(l, 16, 32, 128);
    double slope[2], low_slope = INFINITY, high_slope = -INFINITY;
    bool same_count = true, same_memory = true;
    for (int i = 0; i < 2; i++) {
        const double first = at(l, "seconds", "T", profiles[i], "T", 1024).median,
                     last = at(l, "seconds", "T", profiles[i], "T", T).median;
        slope[i] = log(last / first) / log((double)T / 1024);
        low_slope = fmin(low_slope, slope[i]);
        high_slope = fmax(high_slope, slope[i]);
        const double few = at(l, "counted", "T", profiles[i], "T", 1024).median,
                     many = at(l, "counted", "T", profiles[i], "T", T).median;
        const lab_stats bytes =
            lab_stats_of(l, TIME, "workspace", "axis=T,profile=%s", profiles[i]);
        same_count &= !(fabs(many / few - (double)T / 1024) > 1e-12 * (double)T);
        same_memory &= !(bytes.max > bytes.min);
    }
    lab_claim(l, "Linear in T", LAB_REPRODUCED,
              same_count && (!timed || (low_slope > .75 && high_slope < 1.25)),
              "multiply-adds counted from T = 1024 to %lld (C = 32, D = %lld, r = 30): exactly "
              "proportional; processor time grows as T^%.3f (exact64) and T^%.3f (h100); accepted "
              ".75 .. 1.25, judged at full size alone",
              (long long)T, (long long)D, slope[0], slope[1]);
    const double exact = lab_stats_of(l, TIME, "workspace", "axis=T,profile=exact64").median,
                 h100 = lab_stats_of(l, TIME, "workspace", "axis=T,profile=h100").median;
    lab_claim(l, "Constant memory", LAB_REPRODUCED, same_memory && exact > 0 && h100 > 0,
              "workspace of the forward pass at every T from 1024 to %lld: exact64 %.0f kB, h100 "
              "%.0f kB; inputs and outputs, %lld bytes a token in bf16, are the caller's",
              (long long)T, exact / 1024, h100 / 1024, (long long)(5 * 2 * D));
    const lab_stats over = lab_stats_of(l, TIME, "over", "");
    lab_claim(l, "The multiply-adds are those of the formulas", LAB_REPRODUCED,
              over.count > 20 && fabs(over.min - 1) < 1e-9 && fabs(over.max - 1) < 1e-9,
              "r (D^2 + 2 C D) + norm, states and output (main.c): counted over formula %.10f .. "
              "%.10f in %lld settings of T, r, C, D",
              over.min, over.max, (long long)over.count);
}

static void judge_iterations(lab *l, bool timed) {
    double linear = 1, three = 0;
    bool affine = true;
    for (int i = 0; i < 2; i++) {
        const double t15 = at(l, "seconds", "r", profiles[i], "r", 15).median,
                     t30 = at(l, "seconds", "r", profiles[i], "r", 30).median,
                     t60 = at(l, "seconds", "r", profiles[i], "r", 60).median,
                     n15 = at(l, "counted", "r", profiles[i], "r", 15).median,
                     n30 = at(l, "counted", "r", profiles[i], "r", 30).median,
                     n60 = at(l, "counted", "r", profiles[i], "r", 60).median,
                     ratio = (t60 - t30) / (t30 - t15) / 2;
        linear = fmax(linear, fmax(ratio, 1 / ratio));
        affine &= !(fabs((n60 - n30) - 2 * (n30 - n15)) > 0);
        three =
            fmax(three, t30 / lab_stats_of(l, TIME, "seconds",
                                           "axis=r,profile=%s,form=three-term,r=30", profiles[i])
                                  .median);
        affine &= !(fabs(n30 - lab_stats_of(l, TIME, "counted",
                                            "axis=r,profile=%s,form=three-term,r=30", profiles[i])
                                   .median) > 0);
    }
    lab_claim(l, "Linear in r; the two-term form costs no more products than the three-term form",
              LAB_REPRODUCED, affine && (!timed || (linear < 2 && three < 1.5)),
              "counts are exactly affine in r and the same in both forms; time of iterations 31 to "
              "60 over twice that of 16 to 30: within a factor of %.2f of 1; two-term over "
              "three-term at r = 30: at most %.2f (accepted: 2 and 1.5, judged at full size "
              "alone)",
              linear, three);
}

static void judge_chunks(lab *l, bool timed) {
    const int64_t D = lab_pick(l, 16, 32, 128);
    const double small = at(l, "counted", "C", "h100", "C", 16).median,
                 large = at(l, "counted", "C", "h100", "C", 256).median,
                 time_small = at(l, "seconds", "C", "h100", "C", 16).median,
                 time_large = at(l, "seconds", "C", "h100", "C", 256).median;
    const double crossing = by_chunks(30, 64, 128, 64) / 128;
    lab_claim(l, "Larger chunks cost more multiply-adds, D^2 + 2 C D for each iteration and token",
              LAB_REPRODUCED, large > small && (!timed || time_large > time_small / 2),
              "D = %lld: C = 256 has %.2f times the multiply-adds of C = 16 and takes %.2f times "
              "as long. At C = 64, D = 128, r = 30 a token costs %.3g multiply-adds, as much as "
              "softmax attention over %.0f tokens, half of it for reading keys instead of H_t",
              (long long)D, large / small, time_large / time_small, by_chunks(30, 64, 128, 64),
              crossing);
    const lab_stats share = lab_stats_of(l, TIME, "limit", "axis=D,profile=h100,D=128"),
                    took = lab_stats_of(l, TIME, "seconds", "axis=D,profile=h100,D=128");
    lab_claim(l, "The products are what is left to do: time against the same products alone",
              LAB_QUALIFIED, share.count == 1 && (!timed || share.median < 1.5 * took.median),
              "h100 at D = 128, C = 64: the products alone would take %.0f %% of the time. On an "
              "H100, B = 4, T = 4096, H = 16, D = 128 they are %.3g multiply-adds, %.2f ms at the "
              "data sheet's 495 T/s; reading q, k, v and writing o once takes %.3f ms at 3.35 TB/s",
              100 * share.median / took.median, by_chunks(30, 64, 128, 64) * 4 * 4096 * 16,
              by_chunks(30, 64, 128, 64) * 4 * 4096 * 16 / 495e12 * 1e3,
              4.0 * 4096 * 16 * 128 * 4 * 2 / 3.35e12 * 1e3);
}

static gka_status judge(lab *l, gka_error *error) {
    (void)error;
    /* Counts decide. Times of parts of a second tell as much of what else the machine does: they
     * are shown, and judged at full size alone. */
    const bool timed = l->size == LAB_FULL;
    judge_tokens(l, timed);
    judge_iterations(l, timed);
    judge_chunks(l, timed);
    return GKA_OK;
}

int main(int argc, char **argv) {
    static const lab_experiment experiment = {
        .name = "10_cost",
        .question = "What does the layer cost against T, r, C and D?",
        .tables = {{"time.csv", "axis,profile,form,T,r,C,D,seconds,counted,over,workspace,limit"},
                   {"model.csv", "T,chunks,tokens,no_solve,attention"}},
        .run = run,
        .judge = judge,
        .refuses = LAB_NO_KEYS | LAB_NO_GATE};
    return lab_main(argc, argv, &experiment);
}
