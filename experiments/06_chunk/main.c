/* main.c - what the chunk algorithm's size and its roundings do to f, x, o and the gradients.
 *
 * Four questions, one table each:
 *   size         errors against the exact answer for C = 16 .. 256, in exact64 and in the h100's
 *                arithmetic, both forms of the iteration
 *   without      the same heads with one rounding of the released kernels left out
 *   attribution  each rounding alone, and each left out, on files of the hardware (gka_attribute)
 *   stages       what the backward kernels lose by themselves: the exact formulas at the hardware's
 *                own x, f and p (local), beside the whole error (total)
 *
 * All errors are ||out - ref|| / ||ref||, over one head (size, without) or one file.
 */
#include "lab/cases.h"
#include "lab/dense.h"
#include "lab/lab.h"

#include "gka/io.h"
#include "gka/judge.h"
#include "gka/kernel.h"
#include "gka/oracle.h"
#include "gka/problem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SIZE, WITHOUT, ATTRIBUTION, STAGES };

static bool is(const char *a, const char *b) {
    return strcmp(a, b) == 0;
}

/* ---- heads made up ------------------------------------------------------------------------- */

/* Of lab_cases; the smaller sizes take the first ones. */
static const char *const kinds[] = {"slow", "powerlaw", "repeat_ungated_a005", "repeat",
                                    "slow_a005"};
enum { KINDS = sizeof kinds / sizeof *kinds };

typedef struct heads {
    gka_problem p;
    lab_layer exact, mine;
} heads;

static void heads_free(heads *s) {
    lab_layer_drop(&s->exact);
    lab_layer_drop(&s->mine);
    gka_problem_free(&s->p);
}

static gka_status heads_make(heads *s, const char *kind, int64_t count, uint64_t seed,
                             gka_error *error) {
    *s = (heads){0};
    gka_status status =
        lab_case_problem(&lab_cases[lab_case_find(kind)], count, seed, &s->p, error);
    if (status == GKA_OK)
        status = lab_layer_take(&s->p, &s->exact, error);
    if (status == GKA_OK)
        status = lab_layer_take(&s->p, &s->mine, error);
    return status == GKA_OK ? lab_layer_exact(&s->p, &s->exact, error) : status;
}

/* "f,x,o,dk,dalpha" of head h. */
static void head_errors(const heads *s, int64_t h, char text[128]) {
    const lab_layer *const m = &s->mine, *const e = &s->exact;
    (void)snprintf(
        text, 128, "%.4g,%.4g,%.4g,%.4g,%.4g", lab_head_error(&s->p, h, 1, m->fro, e->fro),
        lab_layer_error(&s->p, LAB_X, h, m, e), lab_layer_error(&s->p, LAB_O, h, m, e),
        lab_layer_error(&s->p, LAB_DK, h, m, e), lab_layer_error(&s->p, LAB_DALPHA, h, m, e));
}

/* ---- chunk size ---------------------------------------------------------------------------- */

static const int64_t sizes[] = {16, 32, 64, 128, 256};
enum { SIZES = sizeof sizes / sizeof *sizes };

static gka_status chunk_sizes(lab *l, const char *kind, int64_t count, gka_error *error) {
    heads s = {0};
    gka_status status = heads_make(&s, kind, count, l->seed, error);
    for (int form = GKA_THREE_TERM; form <= (int)GKA_TWO_TERM; form++)
        for (int c = 0; status == GKA_OK && c < SIZES; c++) {
            gka_profile profile;
            if (l->size == LAB_CLAIM && c != 0 && c != SIZES - 1)
                continue;
            status = lab_profile("h100", (gka_form)form, &profile, error);
            s.p.chunk_size = sizes[c];
            if (status == GKA_OK)
                status = lab_layer_emulated(&s.p, &profile, &s.mine, error);
            for (int64_t h = 0; status == GKA_OK && h < count; h++) {
                char errors[128];
                head_errors(&s, h, errors);
                lab_row(l, "%s,%s,%lld,%lld,%s", kind, gka_form_name((gka_form)form),
                        (long long)sizes[c], (long long)h, errors);
            }
        }
    heads_free(&s);
    return status;
}

/* Largest difference between what exact64 gives with these chunk sizes and with C = 16, of x, o and
 * dk: the identities of NUMERICS 4 hold or they do not. */
static gka_status exact_sizes(lab *l, const char *kind, gka_error *error) {
    heads s = {0};
    gka_status status = heads_make(&s, kind, 1, l->seed, error);
    for (int c = 0; status == GKA_OK && c < SIZES; c++) {
        gka_profile profile;
        status = lab_profile("exact64", GKA_THREE_TERM, &profile, error);
        s.p.chunk_size = sizes[c];
        if (status == GKA_OK)
            status = lab_layer_emulated(&s.p, &profile, &s.mine, error);
        if (c == 0) { /* the first one is the reference of the others */
            const lab_layer first = s.mine;
            s.mine = s.exact;
            s.exact = first;
            continue;
        }
        char errors[128];
        head_errors(&s, 0, errors);
        if (status == GKA_OK)
            lab_row(l, "%s,exact64 against C = 16,%lld,0,%s", kind, (long long)sizes[c], errors);
    }
    heads_free(&s);
    return status;
}

/* ---- one rounding left out ----------------------------------------------------------------- */

static const struct variant {
    const char *name, *kernel;
    bool both; /* in both forms; else there is nothing of the iteration's rounding left in it */
} variants[] = {
    {"released", "h100", true},
    {"norm", "h100/norm_reduce=exact", true},
    {"operand", "h100/operand_x=exact", true},
    {"snapshot", "h100/state_snapshot=exact", true},
    {"storing x", "h100/store_x=exact", true},
    {"all but storing x", "h100/all=exact/store_x=released", false},
    {"all but snapshot", "h100/all=exact/state_snapshot=released", false},
};
enum { VARIANTS = sizeof variants / sizeof *variants };

static gka_status one_without(lab *l, const char *kind, int64_t count, gka_error *error) {
    heads s = {0};
    gka_status status = heads_make(&s, kind, count, l->seed, error);
    for (int form = GKA_THREE_TERM; form <= (int)GKA_TWO_TERM; form++)
        for (int i = 0; status == GKA_OK && i < VARIANTS; i++) {
            gka_profile profile;
            if (form == GKA_TWO_TERM && !variants[i].both)
                continue;
            status = lab_profile(variants[i].kernel, (gka_form)form, &profile, error);
            if (status == GKA_OK)
                status = lab_layer_emulated(&s.p, &profile, &s.mine, error);
            for (int64_t h = 0; status == GKA_OK && h < count; h++) {
                char errors[128];
                head_errors(&s, h, errors);
                lab_row(l, "%s,%s,%s,%lld,%s", kind, gka_form_name((gka_form)form),
                        variants[i].name, (long long)h, errors);
            }
        }
    heads_free(&s);
    return status;
}

/* ---- files of the hardware ----------------------------------------------------------------- */

static const struct file_of {
    const char *set, *name;
    bool quick; /* in the repository, and no gate that runs the tensor core into subnormals */
} files[] = {
    {"small", "slow", true},
    {"small", "iid_ungated", true},
    {"small", "d64", true},
    {"small", "ragged", true},
    {"small", "iid_gated", false},
    {"released/full", "powerlaw", false},
    {"released/full", "strong", false},
    {"released/full", "lowrank", false},
    {"released/full", "repeat", false},
    {"released/full", "ungated_long", false},
    {"released/full", "a01_r15", false},
    {"released/full", "a005_r60_c32", false},
    {"released/full", "repeat_a005", false},
};
enum { FILES = sizeof files / sizeof *files };

static bool place(const lab *l, const struct file_of *f, char path[LAB_PATH]) {
    const bool small = is(f->set, "small");
    return lab_h100_file(f->set, f->name, path) &&
           ((l->size == LAB_FULL && lab_at_home()) || (small && f->quick));
}

static const char *const tensors[] = {"fro",      "x",        "o",        "solve.dq",    "solve.dk",
                                      "layer.dq", "layer.dk", "layer.dv", "layer.dalpha"};
enum { TENSORS = sizeof tensors / sizeof *tensors };

static gka_status attribute(lab *l, const struct file_of *f, const char *path, gka_form form,
                            gka_error *error) {
    gka_file *file = NULL;
    gka_problem p = {0};
    gka_profile profile;
    gka_attribution a[TENSORS];
    gka_status status = gka_file_open(path, &file, error);
    if (status == GKA_OK)
        status = gka_problem_from_file(file, &p, NULL, error);
    if (status == GKA_OK)
        status = lab_profile("h100", form, &profile, error);
    if (status == GKA_OK)
        status = gka_attribute(&p, &profile, tensors, TENSORS, NULL, a, error);
    for (int t = 0; status == GKA_OK && t < TENSORS; t++)
        for (int i = 0; a[t].defined && i < GKA_POINT_COUNT; i++)
            lab_row(l, "%s,%s,%s,%s,%.4g,%.4g,%.4g", f->name, gka_form_name(form), tensors[t],
                    gka_point_name((gka_point)i), a[t].only[i], a[t].without[i], a[t].released);
    gka_problem_free(&p);
    gka_file_close(file);
    return status;
}

/* A tensor of the file as doubles; NULL: not there, or no memory. */
static double *load(const gka_file *file, const char *name) {
    const gka_tensor *const t = gka_file_find(file, name);
    double *const values =
        t == NULL ? NULL : gka_alloc((size_t)gka_tensor_count(t), sizeof *values);
    if (values != NULL) {
        const gka_tensor flat = {
            .dtype = t->dtype, .rank = 4, .shape = {1, 1, 1, gka_tensor_count(t)}, .data = t->data};
        const gka_view view = gka_view_of(&flat);
        gka_view_row(&view, 0, 0, 0, flat.shape[3], values);
    }
    return values;
}

static void stage_row(lab *l, const struct file_of *f, const gka_file *file, const char *name,
                      const double *exact, const double *local) {
    const gka_tensor *const t = gka_file_find(file, name);
    gka_comparison total, stage;
    if (t == NULL)
        return;
    gka_compare(t, exact, 1, &total);
    gka_compare(t, local, 1, &stage);
    lab_row(l, "%s,%s,%.4g,%.4g", f->name, name, total.rel_err, stage.rel_err);
}

/* Exact backward formulas at the hardware's own x, f and p (of the solve p is solve.dq). */
static gka_status stages(lab *l, const struct file_of *f, const char *path, gka_error *error) {
    gka_file *file = NULL;
    gka_problem p = {0};
    gka_profile exact;
    gka_status status = gka_file_open(path, &file, error);
    if (status != GKA_OK)
        return status;
    double *const x = load(file, "x"), *const fro = load(file, "fro"),
                  *const dq = load(file, "solve.dq");
    double *memory = NULL;
    status = gka_problem_from_file(file, &p, NULL, error);
    const size_t wide = (size_t)(p.B * p.T * p.H * p.D);
    if (status == GKA_OK)
        memory = gka_alloc(4 * wide, sizeof *memory);
    if (status == GKA_OK && (memory == NULL || x == NULL || fro == NULL || dq == NULL))
        status =
            gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory, or no x, fro, solve.dq", path);
    if (status == GKA_OK)
        status = gka_profile_find("exact64", &exact, error);
    if (status == GKA_OK) {
        double *const dk = memory, *const dv = memory + wide, *const dk_local = memory + 2 * wide,
                      *const dv_local = memory + 3 * wide;
        const gka_oracle_options options = {.oracle = GKA_ORACLE_FP64};
        const gka_chunk_given own = {.at.x = x, .at.fro = fro, .at.p = dq},
                              own_x = {.at.x = x, .at.fro = fro};
        gka_outputs solve = {.solve.dk = dk}, layer = {.layer.dv = dv};
        gka_outputs solve_local = {.solve.dk = dk_local}, layer_local = {.layer.dv = dv_local};
        status = gka_oracle_gradient(&p, GKA_OF_X, &options, &solve, NULL, NULL, error);
        if (status == GKA_OK)
            status = gka_oracle_gradient(&p, GKA_OF_O, &options, &layer, NULL, NULL, error);
        if (status == GKA_OK)
            status = gka_chunk_backward(&p, &exact, GKA_OF_X, true, &own, &solve_local, error);
        if (status == GKA_OK)
            status = gka_chunk_backward(&p, &exact, GKA_OF_O, true, &own_x, &layer_local, error);
        if (status == GKA_OK) {
            stage_row(l, f, file, "solve.dk", dk, dk_local);
            stage_row(l, f, file, "layer.dv", dv, dv_local);
        }
    }
    gka_free(memory);
    gka_free(x);
    gka_free(fro);
    gka_free(dq);
    gka_problem_free(&p);
    gka_file_close(file);
    return status;
}

/* ---- all ----------------------------------------------------------------------------------- */

static int64_t head_count(const lab *l) {
    return lab_many(l, 2, 4, 24);
}

/* The rows of a kind before this one that is the same problem. */
static bool again(lab *l, int table, int i) {
    for (int j = 0; j < i; j++)
        if (lab_case_same(&lab_cases[lab_case_find(kinds[j])],
                          &lab_cases[lab_case_find(kinds[i])]) &&
            lab_again(l, table, kinds[i], "case=%s", kinds[j]))
            return true;
    return false;
}

static gka_status run_heads(lab *l, gka_error *error) {
    gka_status status = GKA_OK;
    for (int i = 0; status == GKA_OK && i < KINDS; i++) {
        /* claim: one kind; quick: chunk sizes of two, roundings of three */
        const bool claim = l->size == LAB_CLAIM;
        if ((claim ? i == 0 : l->size == LAB_FULL || i < 2) && lab_unit(l, SIZE, "%s", kinds[i])) {
            const bool have = again(l, SIZE, i);
            if (!have)
                status = chunk_sizes(l, kinds[i], head_count(l), error);
            if (status == GKA_OK && !have)
                status = exact_sizes(l, kinds[i], error);
            if (status == GKA_OK)
                status = lab_unit_end(l, error);
        }
        if (status == GKA_OK && (claim ? i == 0 : l->size == LAB_FULL || i < 3) &&
            lab_unit(l, WITHOUT, "%s", kinds[i])) {
            if (!again(l, WITHOUT, i))
                status = one_without(l, kinds[i], head_count(l), error);
            if (status == GKA_OK)
                status = lab_unit_end(l, error);
        }
    }
    return status;
}

static gka_status run_files(lab *l, gka_error *error) {
    gka_status status = GKA_OK;
    for (int i = 0; status == GKA_OK && i < FILES; i++) {
        char path[LAB_PATH];
        if (!place(l, &files[i], path))
            continue;
        for (int form = GKA_THREE_TERM; status == GKA_OK && form <= (int)GKA_TWO_TERM; form++) {
            /* claim: one file, one form; quick: two files, one of them in both forms */
            if ((l->size == LAB_CLAIM && (i != 1 || form > 0)) ||
                (l->size == LAB_QUICK && (i > 1 || (i > 0 && form > 0))))
                continue;
            if (!lab_unit(l, ATTRIBUTION, "%s-%d", files[i].name, form))
                continue;
            status = attribute(l, &files[i], path, (gka_form)form, error);
            if (status == GKA_OK)
                status = lab_unit_end(l, error);
        }
        if (status == GKA_OK && lab_unit(l, STAGES, "%s", files[i].name)) {
            status = stages(l, &files[i], path, error);
            if (status == GKA_OK)
                status = lab_unit_end(l, error);
        }
    }
    return status;
}

static gka_status run(lab *l, gka_error *error) {
    char path[LAB_PATH];
    l->units_total = l->size == LAB_CLAIM ? 7 : l->size == LAB_QUICK ? 12 : 2 * KINDS;
    for (int i = 0; l->size == LAB_FULL && i < FILES; i++)
        l->units_total += place(l, &files[i], path) ? 3 : 0;
    const gka_status status = run_files(l, error);
    return status == GKA_OK ? run_heads(l, error) : status;
}

/* ---- verdicts ------------------------------------------------------------------------------ */

/* The kinds that a table has at this size. */
static bool has_kind(lab *l, int table, const char *name) {
    return lab_stats_of(l, table, "x", "case=%s", name).count > 0;
}

static lab_stats without(lab *l, const char *column, const char *kind, const char *form,
                         const char *variant) {
    return lab_stats_of(l, WITHOUT, column, "case=%s,form=%s,without=%s", kind, form, variant);
}

/* What a wider sum of the norm divides the median error by. */
static double norm_ratio(lab *l, const char *column, const char *kind, const char *form) {
    return without(l, column, kind, form, "released").median /
           without(l, column, kind, form, "norm").median;
}

static double larger_ratio(double a, double b) {
    return fmax(a / b, b / a);
}

static void judge_sizes(lab *l) {
    const char *const exact = "kernel=exact64 against C = 16";
    const lab_stats x = lab_stats_of(l, SIZE, "x", "%s", exact),
                    o = lab_stats_of(l, SIZE, "o", "%s", exact),
                    dk = lab_stats_of(l, SIZE, "dk", "%s", exact);
    const double worst = fmax(x.max, fmax(o.max, dk.max));
    lab_claim(l, "In exact arithmetic the chunk size changes nothing (NUMERICS 4)", LAB_REPRODUCED,
              x.count > 0 && worst < 1e-12,
              "x, o and dk in binary64, C = 32 .. 256 against C = 16, T = 256: relative difference "
              "at most %.1e over %lld heads and sizes",
              worst, (long long)x.count);

    double least_x = INFINITY, most_dk = 0, least_f = INFINITY;
    for (int i = 0; i < KINDS; i++)
        for (int form = GKA_THREE_TERM; form <= (int)GKA_TWO_TERM; form++) {
            const char *const name = gka_form_name((gka_form)form);
#define AT(column, C)                                                                              \
    lab_stats_of(l, SIZE, column, "case=%s,kernel=%s,C=%d", kinds[i], name, C).median
            if (!has_kind(l, SIZE, kinds[i]))
                continue;
            least_x = fmin(least_x, AT("x", 16) / AT("x", 256));
            least_f = fmin(least_f, AT("f", 16) / AT("f", 256));
            most_dk = fmax(most_dk, larger_ratio(AT("dk", 16), AT("dk", 256)));
#undef AT
        }
    lab_claim(l,
              "A smaller chunk costs f and x, whose state is rounded at its start, and leaves dk, "
              "which the iteration loses, as it is",
              LAB_REPRODUCED, least_x > 1.2 && least_f > 2 && most_dk < 1.6,
              "median error over %lld heads at C = 16 over that at C = 256, least of all kinds of "
              "keys and both forms: f %.1f, x %.2f; of dk within a factor of %.2f",
              (long long)head_count(l), least_f, least_x, most_dk);
}

static void judge_roundings(lab *l) {
    double least = INFINITY, near = 0, norm_dk = 0, norm_f = INFINITY, norm_o = 0;
    double small_dk = NAN, small_o = NAN;
    int64_t heads_seen = 0;
    for (int i = 0; i < KINDS; i++) {
        const char *const k = kinds[i];
        if (!has_kind(l, WITHOUT, k))
            continue;
        const lab_stats released = without(l, "dk", k, "three-term", "released"),
                        operand = without(l, "dk", k, "three-term", "operand"),
                        two = without(l, "dk", k, "two-term", "released");
        heads_seen += released.count;
        least = fmin(least, released.median / operand.median);
        near = fmax(near, larger_ratio(operand.median, two.median));
        for (int form = GKA_THREE_TERM; form <= (int)GKA_TWO_TERM; form++) {
            const char *const name = gka_form_name((gka_form)form);
            const double f = norm_ratio(l, "f", k, name), o = norm_ratio(l, "o", k, name),
                         dk = norm_ratio(l, "dk", k, name);
            norm_f = fmin(norm_f, f);
            if (is(k, "repeat_ungated_a005")) {
                small_o = fmax(small_o, o);
                small_dk = fmax(small_dk, dk);
            } else {
                norm_dk = fmax(norm_dk, fmax(dk, 1 / dk));
                norm_o = fmax(norm_o, fmax(o, 1 / o));
            }
        }
    }
    lab_claim(l,
              "One rounding makes the loss of dk in the three-term form: that of the operand x of "
              "the products",
              LAB_REPRODUCED, least > 3 && near < 1.5,
              "without it the median error of dk falls by a factor of at least %.1f and is that of "
              "the two-term form, all roundings on, within a factor of %.2f (%lld heads)",
              least, near, (long long)heads_seen);
    char small[160] = "that case was not run";
    if (!isnan(small_o))
        snprintf(small, sizeof small, "o falls by a factor of up to %.1f, dk by up to %.2f",
                 small_o, small_dk);
    lab_claim(l,
              "The precision of the norm alone changes dk by nothing; it matters for o only where "
              "a is small (NUMERICS 9)",
              LAB_QUALIFIED, norm_f > 3 && norm_dk < 1.25 && norm_o < 1.25 && !(small_o < 1.5),
              "medians over heads, summed in fp32 instead: the error of f falls by a factor of at "
              "least %.1f; dk moves by at most %.2f, o by at most %.2f. One key repeated without a "
              "gate, a = .005: %s",
              norm_f, norm_dk, norm_o, small);
    const lab_stats stored = lab_stats_of(l, WITHOUT, "dk", "without=all but storing x"),
                    snapshot = lab_stats_of(l, WITHOUT, "dk", "without=all but snapshot");
    lab_claim(l, "Storing x and p in bf16 costs dk .01 to .08, a bf16 state alone .01 (NUMERICS 9)",
              LAB_QUALIFIED, stored.median > .005 && stored.median < .08 && snapshot.median < .01,
              "all else exact, median [least .. largest] of %lld heads: storing %.3f [%.3f .. "
              "%.2f], the snapshot of the state %.4f [%.4f .. %.3f]",
              (long long)stored.count, stored.median, stored.min, stored.max, snapshot.median,
              snapshot.min, snapshot.max);
}

static void judge_files(lab *l) {
    const lab_stats total = lab_stats_of(l, STAGES, "total", "tensor=solve.dk"),
                    local = lab_stats_of(l, STAGES, "local", "tensor=solve.dk"),
                    dv = lab_stats_of(l, STAGES, "local", "tensor=layer.dv");
    lab_claim(l,
              "The backward kernels are faithful: the loss of dk is born in the solve (NUMERICS 9)",
              LAB_REPRODUCED, local.count > 0 && local.max < .01 && total.median > 5 * local.median,
              "the exact formulas at the H100's own x, f and p: solve.dk off by %.4f .. %.4f in "
              "%lld files, where it is off by %.2f .. %.2f in all; layer.dv %.4f .. %.4f (NUMERICS "
              "says .003 to .008)",
              local.min, local.max, (long long)local.count, total.min, total.max, dv.min, dv.max);
    const lab_stats f = lab_stats_of(l, ATTRIBUTION, "released",
                                     "form=three-term,tensor=fro,point=norm_reduce"),
                    wider = lab_stats_of(l, ATTRIBUTION, "without",
                                         "form=three-term,tensor=fro,point=norm_reduce");
    lab_claim(l, "Summing the norm in fp32 takes the error of f from 1e-2 to 1e-4 (NUMERICS 5, 9)",
              LAB_REPRODUCED, wider.max < 1e-3 && wider.median < f.median / 3,
              "released %.1e .. %.1e, with a wider sum %.1e .. %.1e (%lld files)", f.min, f.max,
              wider.min, wider.max, (long long)f.count);
}

static gka_status judge(lab *l, gka_error *error) {
    (void)error;
    judge_sizes(l);
    judge_roundings(l);
    judge_files(l);
    return GKA_OK;
}

int main(int argc, char **argv) {
    static const lab_experiment experiment = {
        .name = "06_chunk",
        .question = "What do the chunk size and each rounding of the released kernels cost?",
        .tables = {{"size.csv", "case,kernel,C,head,f,x,o,dk,dalpha"},
                   {"without.csv", "case,form,without,head,f,x,o,dk,dalpha"},
                   {"attribution.csv", "file,form,tensor,point,only,without,released"},
                   {"stages.csv", "file,tensor,total,local"}},
        .run = run,
        .judge = judge,
        .file = LAB_FILE_IS_KEYS};
    return lab_main(argc, argv, &experiment);
}
