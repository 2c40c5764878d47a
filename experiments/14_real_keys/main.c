/* main.c - keys of a language model: how their states are conditioned, what the kernels lose on
 * them, head by head, and which made-up keys behave alike.
 *
 *   share     kappa(H_T + lambda I) over its bound (a + 1)/a; share_open: without gates
 *   rank      (tr H)^2/||H||_F^2
 *   freedom   tr H (H + lambda I)^-1, degrees of freedom of D = 64
 *   mean      length of the mean of the unit keys
 *   o3 o2 ..  ||out - exact||/||exact|| of o, of dk of the solve and of dalpha in the released
 *             (three-term) and in the two-term form, emulated; gain: the least of their ratios
 *
 * --file FILE: another problem in the place of tests/data/real, at the size it has.
 */
#include "lab/cases.h"
#include "lab/lab.h"

#include "gka/io.h"
#include "gka/judge.h"

#include <math.h>

enum { HEADS };

static const char *const outputs[] = {"o", "solve.dk", "layer.dalpha"};
enum { OUTPUTS = 3, FORMS = 2 };

/* keys < 0: the file */
static const struct kind {
    const char *name;
    int keys;
} kinds[] = {
    {"real", -1}, {"iid", GKA_KEYS_IID}, {"mean", GKA_KEYS_MEAN}, {"convsilu", GKA_KEYS_CONVSILU}};
enum { KINDS = sizeof kinds / sizeof *kinds };

enum { MOST = 1024 };

/* The least of what the two-term form gains, over the outputs. */
static double gain(double e[FORMS][OUTPUTS]) {
    double least = INFINITY;
    for (int i = 0; i < OUTPUTS; i++)
        least = fmin(least, e[0][i] / e[1][i]);
    return least;
}

static gka_status rows(lab *l, const char *name, const gka_problem *p, gka_error *error) {
    static gka_conditioning c[MOST], open[MOST];
    static double distance[MOST * FORMS * OUTPUTS], size[MOST * OUTPUTS];
    const int64_t heads = p->N * p->H;
    if (heads > MOST || p->T < 1)
        return gka_fail(error, GKA_BAD_FILE,
                        "%lld heads of %lld tokens: 1 to %d of some were "
                        "expected",
                        (long long)heads, (long long)p->T, MOST);
    gka_problem ungated = *p;
    ungated.g = (gka_view){0};
    gka_kernel kernels[FORMS];
    gka_status status = gka_kernel_find("h100", &kernels[0], error);
    if (status == GKA_OK)
        status = gka_kernel_find("h100/two-term", &kernels[1], error);
    const gka_prediction asked = {.oracle = GKA_ORACLE_FP64,
                                  .kernels = kernels,
                                  .kernel_count = FORMS,
                                  .names = outputs,
                                  .name_count = OUTPUTS};
    if (status == GKA_OK)
        status = gka_chunk_conditioning(p, 1, &p->T, c, error);
    if (status == GKA_OK)
        status = gka_chunk_conditioning(&ungated, 1, &p->T, open, error);
    if (status == GKA_OK)
        status = gka_predict(p, &asked, distance, size, error);
    for (int64_t h = 0; h < heads && status == GKA_OK; h++) {
        double e[FORMS][OUTPUTS];
        for (int f = 0; f < FORMS; f++)
            for (int i = 0; i < OUTPUTS; i++)
                e[f][i] = distance[(h * FORMS + f) * OUTPUTS + i] / size[h * OUTPUTS + i];
        lab_row(
            l, "%s,%lld,%lld,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g",
            name, (long long)h, (long long)p->T, c[h].kappa, c[h].share, c[h].rank, c[h].freedom,
            c[h].mean, open[h].share, open[h].freedom, e[0][0], e[1][0], e[0][1], e[1][1], e[0][2],
            e[1][2], gain(e));
    }
    return status;
}

static gka_status run(lab *l, gka_error *error) {
    l->units_total = KINDS;
    for (int i = 0; i < KINDS; i++) {
        const struct kind *const k = &kinds[i];
        if (!lab_unit(l, HEADS, "%d-%s", i, k->keys < 0 && l->file != NULL ? l->file : ""))
            continue;
        gka_file *file = NULL;
        gka_problem p = {0};
        gka_status status = lab_head_keys(l, k->keys, lab_pick(l, 4, 8, 45), &file, &p, error);
        if (status == GKA_OK)
            status = rows(l, k->name, &p, error);
        gka_problem_free(&p);
        gka_file_close(file);
        if (status == GKA_OK)
            status = lab_unit_end(l, error);
        if (status != GKA_OK)
            return status;
    }
    return GKA_OK;
}

static double median(lab *l, const char *column, const char *name) {
    return lab_stats_of(l, HEADS, column, "keys=%s", name).median;
}

static gka_status judge(lab *l, gka_error *error) {
    (void)error;
    const double real3 = median(l, "o3", "real"), real2 = median(l, "o2", "real"),
                 iid3 = median(l, "o3", "iid"), mean3 = median(l, "o3", "mean"),
                 conv3 = median(l, "o3", "convsilu");
    lab_claim(l, "Keys of a language model are as easy as independent ones", LAB_REFUTED,
              real3 > 1.5 * iid3 && median(l, "share_open", "real") > .9 &&
                  median(l, "freedom_open", "real") < .5 * median(l, "freedom_open", "iid"),
              "o three-term %.3f (iid %.3f); without gates kappa is %.3f of its bound (iid %.3f) "
              "and %.1f of 64 degrees of freedom are left (iid %.1f)",
              real3, iid3, median(l, "share_open", "real"), median(l, "share_open", "iid"),
              median(l, "freedom_open", "real"), median(l, "freedom_open", "iid"));
    const lab_stats three = lab_stats_of(l, HEADS, "o3", "keys=real"),
                    worst = lab_stats_of(l, HEADS, "gain", "");
    lab_claim(l, "The two-term form is better on every head, real or made up, in o, dk and dalpha",
              LAB_REPRODUCED, worst.min > 1,
              "o of the real heads %.3f [largest %.3f] -> %.3f; the least gain of any head and "
              "output %.2f",
              real3, three.max, real2, worst.min);
    lab_claim(l, "A common direction in the keys is enough to make keys behave as real ones do",
              LAB_REPRODUCED,
              mean3 > 1.5 * iid3 && conv3 > 1.2 * iid3 && median(l, "share_open", "mean") > .8 &&
                  median(l, "share_open", "convsilu") > .8,
              "o three-term: mean %.3f, convsilu %.3f, real %.3f, iid %.3f; kappa over its bound "
              "without gates: %.3f, %.3f, %.3f, %.3f; mean unit key %.2f, %.2f, %.2f, %.2f",
              mean3, conv3, real3, iid3, median(l, "share_open", "mean"),
              median(l, "share_open", "convsilu"), median(l, "share_open", "real"),
              median(l, "share_open", "iid"), median(l, "mean", "mean"),
              median(l, "mean", "convsilu"), median(l, "mean", "real"), median(l, "mean", "iid"));
    return GKA_OK;
}

int main(int argc, char **argv) {
    static const lab_experiment experiment = {
        .name = "14_real_keys",
        .question = "keys of a language model: conditioning and losses, head by head",
        .tables = {{"heads.csv", "keys,head,T,kappa,share,rank,freedom,mean,share_open,"
                                 "freedom_open,o3,o2,dk3,dk2,dalpha3,dalpha2,gain"},
                   {NULL, NULL}},
        .run = run,
        .judge = judge,
        .refuses = LAB_NO_KEYS | LAB_NO_GATE,
        .file = LAB_FILE_IS_OWN};
    return lab_main(argc, argv, &experiment);
}
