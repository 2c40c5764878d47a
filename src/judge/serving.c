/* serving.c - what a server's kernels leave, against the exact layer and against their emulation.
 *
 * The exact values are those of the folded problem: o of all tokens and the last states from one
 * run of the oracle, the states between prefill and decode from a second one of the first tokens.
 */
#include "judge/outputs.h"
#include "judge/served.h"

#include "gka/format.h"
#include "problem/view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const gka_serving_names[] = {"prefill.o", "prefill.h", "prefill.u", "decode.o",
                                         "decode.h",  "decode.u",  NULL};

bool gka_file_is_served(const gka_file *file) {
    bool some = false;
    for (int i = 0; i < SERVED; i++)
        some = some || gka_file_find(file, gka_serving_names[i]) != NULL;
    return some;
}

enum { CUTS = 64 };

typedef struct serving_job {
    const gka_file *file;
    const gka_verify_options *options;
    gka_verification *v;
    gka_serving how;
    int64_t cuts[CUTS];  /* how.cut */
    int outputs[SERVED]; /* of each row */
    double *exact_of[SERVED], *emulated_of[SERVED];
} serving_job;

/* ---- the file ------------------------------------------------------------------------------ */

static bool is_known(const char *name) {
    for (const char *const *input = gka_problem_names; *input != NULL; input++)
        if (strcmp(*input, name) == 0)
            return true;
    for (int i = 0; i < SERVED; i++)
        if (strcmp(gka_serving_names[i], name) == 0)
            return true;
    return false;
}

static gka_status sort_tensors(serving_job *j, gka_error *error) {
    gka_verification *const v = j->v;
    const size_t count = gka_file_count(j->file), unread = gka_file_unread_count(j->file);
    v->rows = gka_alloc(SERVED, sizeof *v->rows);
    v->others = gka_alloc(count + unread, sizeof *v->others);
    if (v->rows == NULL || v->others == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory listing its tensors",
                        gka_file_path(j->file));
    for (int i = 0; i < SERVED; i++) {
        const gka_tensor *const tensor = gka_file_find(j->file, gka_serving_names[i]);
        if (tensor == NULL)
            continue;
        j->outputs[v->row_count] = i;
        v->rows[v->row_count++] =
            (gka_verdict_row){.tensor = tensor, .stated = NAN, .predicted = NAN};
    }
    for (size_t i = 0; i < count; i++)
        if (!is_known(gka_file_tensor(j->file, i)->name))
            v->others[v->other_count++] = gka_file_tensor(j->file, i);
    for (size_t i = 0; i < unread; i++) {
        const gka_tensor *const tensor = gka_file_unread(j->file, i);
        if (is_known(tensor->name))
            return gka_file_readable(j->file, tensor->name, error);
        v->others[v->other_count++] = tensor;
    }
    return GKA_OK;
}

/* How many tokens the prefill took: as stated; else none where only decode tensors are there, and
 * all where only those of the prefill are. */
static gka_status read_prefill(serving_job *j, const gka_file *source, gka_error *error) {
    const char *text = gka_file_metadata(j->file, "prefill");
    text = text != NULL ? text : gka_file_metadata(source, "prefill");
    const int64_t T = j->v->problem.T;
    bool prefilled = false, decoded = false;
    for (size_t i = 0; i < j->v->row_count; i++) {
        prefilled = prefilled || j->outputs[i] < SERVED_DECODE_O;
        decoded = decoded || j->outputs[i] >= SERVED_DECODE_O;
    }
    if (text == NULL && prefilled && decoded)
        return gka_fail(error, GKA_BAD_FILE,
                        "%s: metadata 'prefill' is missing: the number of tokens before decode was "
                        "expected",
                        gka_file_path(j->file));
    j->how.prefill = prefilled ? T : 0;
    if (text == NULL)
        return GKA_OK;
    char *end;
    const double stated = gka_parse_real(text, &end);
    if (end == text || *end != '\0' || !(stated >= 0 && stated <= (double)T) ||
        stated > floor(stated))
        return gka_fail(error, GKA_BAD_FILE,
                        "%s: metadata 'prefill' is %.40s: a whole number from 0 to T = %lld was "
                        "expected",
                        gka_file_path(j->file), text, (long long)T);
    j->how.prefill = (int64_t)stated;
    return GKA_OK;
}

bool gka_served_cuts(const char *text, int room, int64_t *cut, gka_serving *how) {
    how->cut = cut;
    for (const char *at = text;; at++) {
        char *end;
        const long long token = strtoll(at, &end, 10),
                        before = how->cuts > 0 ? cut[how->cuts - 1] : 0;
        if (end == at || (*end != ',' && *end != '\0') || how->cuts == room || token <= before ||
            token >= how->prefill)
            return false;
        cut[how->cuts++] = token;
        if (*end == '\0')
            return true;
        at = end;
    }
}

static gka_status read_cuts(serving_job *j, const gka_file *source, gka_error *error) {
    const char *text = gka_file_metadata(j->file, "cuts");
    text = text != NULL ? text : gka_file_metadata(source, "cuts");
    const bool packed = j->v->problem.cu_seqlens != NULL;
    if (text == NULL || (!packed && gka_served_cuts(text, CUTS, j->cuts, &j->how)))
        return GKA_OK;
    return gka_fail(error, GKA_BAD_FILE,
                    "%s: metadata 'cuts' is %.40s: at most %d increasing tokens between 0 and "
                    "prefill = %lld were expected%s",
                    gka_file_path(j->file), text, CUTS, (long long)j->how.prefill,
                    packed ? ", and no packed sequences" : "");
}

int gka_served_shape(const gka_problem *problem, int64_t prefill, int output, int64_t shape[4]) {
    const gka_problem *const p = problem;
    const bool o = output == SERVED_PREFILL_O || output == SERVED_DECODE_O;
    shape[0] = o ? p->B : p->N;
    shape[1] = !o ? p->H : output == SERVED_PREFILL_O ? prefill : p->T - prefill;
    shape[2] = o ? p->H : p->D;
    shape[3] = output == SERVED_PREFILL_H || output == SERVED_DECODE_H ? p->D : p->V;
    return o ? 1 : 2;
}

static gka_status state_type(const serving_job *j, const char *name, gka_state_type *type,
                             gka_error *error) {
    const gka_tensor *const tensor = gka_file_find(j->file, name);
    *type = GKA_STATE_FP32;
    if (tensor == NULL || tensor->dtype == GKA_F32)
        return GKA_OK;
    *type = tensor->dtype == GKA_BF16 ? GKA_STATE_BF16 : GKA_STATE_FP16;
    if (tensor->dtype == GKA_BF16 || tensor->dtype == GKA_F16)
        return GKA_OK;
    return gka_fail(error, GKA_BAD_FILE, "%s: tensor '%s': dtype %s; F32, BF16 or F16 was expected",
                    gka_file_path(j->file), name, gka_dtype_name(tensor->dtype));
}

static gka_status check_tensors(serving_job *j, gka_error *error) {
    const char *const path = gka_file_path(j->file);
    if (j->v->problem.V == 0)
        return gka_fail(error, GKA_BAD_FILE, "%s: tensor 'v' is missing", path);
    for (size_t i = 0; i < j->v->row_count; i++) {
        const gka_tensor *const tensor = j->v->rows[i].tensor;
        const int output = j->outputs[i];
        int64_t shape[4];
        (void)gka_served_shape(&j->v->problem, j->how.prefill, output, shape);
        bool same = tensor->rank == 4;
        for (int a = 0; same && a < 4; a++)
            same = tensor->shape[a] == shape[a];
        if (!gka_dtype_is_float(tensor->dtype))
            return gka_fail(error, GKA_BAD_FILE,
                            "%s: tensor '%s': dtype %s; a floating-point type was expected", path,
                            tensor->name, gka_dtype_name(tensor->dtype));
        if (!same)
            return gka_fail(error, GKA_BAD_FILE,
                            "%s: tensor '%s': shape [%lld,%lld,%lld,%lld] was expected", path,
                            tensor->name, (long long)shape[0], (long long)shape[1],
                            (long long)shape[2], (long long)shape[3]);
    }
    const gka_status status = state_type(j, "decode.h", &j->how.h_type, error);
    return status == GKA_OK ? state_type(j, "decode.u", &j->how.u_type, error) : status;
}

/* ---- values -------------------------------------------------------------------------------- */

static gka_status take(const serving_job *j, double **values, int64_t count, gka_error *error) {
    *values = gka_alloc((size_t)count, sizeof **values);
    return *values != NULL
               ? GKA_OK
               : gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory", gka_file_path(j->file));
}

static void free_job(serving_job *j) {
    for (int i = 0; i < SERVED; i++) {
        gka_free(j->exact_of[i]);
        gka_free(j->emulated_of[i]);
    }
}

static gka_status allocate(serving_job *j, gka_error *error) {
    gka_status status = GKA_OK;
    for (size_t i = 0; i < j->v->row_count && status == GKA_OK; i++) {
        const int64_t count = gka_tensor_count(j->v->rows[i].tensor);
        status = take(j, &j->exact_of[j->outputs[i]], count, error);
        if (status == GKA_OK && j->options->emulate != NULL)
            status = take(j, &j->emulated_of[j->outputs[i]], count, error);
    }
    return status;
}

/* Tokens [from, to) of every batch row of o [B,T,H,V]. */
static void cut_tokens(const gka_problem *p, const double *o, int64_t from, int64_t to,
                       double *out) {
    const size_t row = (size_t)(p->H * p->V);
    for (int64_t b = 0; b < p->B && out != NULL && to > from; b++)
        memcpy(out + (size_t)(b * (to - from)) * row, o + (size_t)(b * p->T + from) * row,
               (size_t)(to - from) * row * sizeof *o);
}

gka_status gka_served_layer(const gka_problem *problem, int64_t prefill, double *const of[SERVED],
                            gka_served_run *run, void *context, gka_error *error) {
    const gka_problem *const p = problem;
    gka_problem folded = {0};
    gka_outputs whole = {.h_final = of[SERVED_DECODE_H], .u_final = of[SERVED_DECODE_U]},
                first = {.h_final = of[SERVED_PREFILL_H], .u_final = of[SERVED_PREFILL_U]};
    gka_status status = gka_problem_fold(p, GKA_F64, &folded, error);
    if (status == GKA_OK && (first.h_final != NULL || first.u_final != NULL)) {
        gka_problem piece = folded;
        if (prefill < p->T) { /* which packed sequences are not */
            piece = gka_problem_tokens(&folded, 0, prefill);
            piece.h0 = folded.h0;
            piece.u0 = folded.u0;
        }
        status = run(context, &piece, &first, error);
    }
    if (status == GKA_OK && (of[SERVED_PREFILL_O] != NULL || of[SERVED_DECODE_O] != NULL)) {
        whole.o = gka_alloc((size_t)(p->B * p->T * p->H * p->V), sizeof(double));
        if (whole.o == NULL)
            status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory: o of a server");
    }
    if (status == GKA_OK && (whole.o != NULL || whole.h_final != NULL || whole.u_final != NULL))
        status = run(context, &folded, &whole, error);
    if (status == GKA_OK && whole.o != NULL) {
        cut_tokens(p, whole.o, 0, prefill, of[SERVED_PREFILL_O]);
        cut_tokens(p, whole.o, prefill, p->T, of[SERVED_DECODE_O]);
    }
    gka_free(whole.o);
    gka_problem_free(&folded);
    return status;
}

static gka_status run_oracle(void *context, const gka_problem *problem, gka_outputs *out,
                             gka_error *error) {
    serving_job *const j = context;
    const gka_oracle_options options = {.oracle = j->options->oracle,
                                        .progress = j->options->progress};
    gka_error why = {0};
    const gka_status status =
        gka_oracle_forward(problem, &options, out, NULL, &j->v->forward, &why);
    return status == GKA_OK ? GKA_OK
                            : gka_fail(error, status, "%s: %s", gka_file_path(j->file),
                                       why.text[0] != '\0' ? why.text : gka_status_text(status));
}

gka_status gka_served_emulate(const gka_problem *problem, const gka_profile *profile,
                              const gka_serving *how, double *const of[SERVED], gka_error *error) {
    const gka_served out = {.prefill_o = of[SERVED_PREFILL_O],
                            .prefill_h = of[SERVED_PREFILL_H],
                            .prefill_u = of[SERVED_PREFILL_U],
                            .decode_o = of[SERVED_DECODE_O],
                            .decode_h = of[SERVED_DECODE_H],
                            .decode_u = of[SERVED_DECODE_U]};
    return gka_chunk_serve(problem, profile, how, &out, error);
}

static gka_status emulate(serving_job *j, gka_error *error) {
    const gka_kernel *const kernel = j->options->emulate;
    if (kernel == NULL)
        return GKA_OK;
    if (!kernel->serving)
        return gka_fail(error, GKA_UNSUPPORTED,
                        "%s: outputs of a server: the kernel h100/serving was expected, not %s",
                        gka_file_path(j->file), kernel->name);
    return gka_served_emulate(&j->v->problem, &kernel->profile, &j->how, j->emulated_of, error);
}

static void compare(serving_job *j) {
    for (size_t i = 0; i < j->v->row_count; i++) {
        gka_verdict_row *const row = &j->v->rows[i];
        const int output = j->outputs[i];
        int64_t shape[4];
        const int row_rank = gka_served_shape(&j->v->problem, j->how.prefill, output, shape);
        gka_compare(row->tensor, j->exact_of[output], row_rank, &row->comparison);
        row->comparison.ok = gka_judge_verdict(j->options, row->tensor->name, &row->comparison);
        if (j->options->emulate == NULL)
            continue;
        gka_compare(row->tensor, j->emulated_of[output], row_rank, &row->emulated);
        row->predicted =
            gka_rel_err(gka_tensor_count(row->tensor), j->emulated_of[output], j->exact_of[output]);
    }
}

/* The problem, how it was served, and room for the emulated values. */
static gka_status read_job(serving_job *j, const gka_file *source, gka_error *error) {
    gka_verification *const v = j->v;
    gka_status status = sort_tensors(j, error);
    if (status == GKA_OK)
        status = gka_problem_from_file(source, &v->problem, &v->defaults, error);
    if (status == GKA_OK && gka_file_metadata(source, "normalise") == NULL)
        v->problem.normalise = GKA_NORMALISE_UNIT; /* the kernels do, told or not */
    if (status == GKA_OK)
        status = read_prefill(j, source, error);
    if (status == GKA_OK)
        status = read_cuts(j, source, error);
    if (status == GKA_OK)
        status = check_tensors(j, error);
    return status == GKA_OK ? allocate(j, error) : status;
}

gka_status gka_judge_served(const gka_file *file, const gka_verify_options *options,
                            gka_verification *verification, gka_error *error) {
    serving_job j = {.file = file, .options = options, .v = verification};
    const gka_file *const source = options->inputs != NULL ? options->inputs : file;
    gka_status status = read_job(&j, source, error);
    if (status == GKA_OK)
        status = gka_served_layer(&verification->problem, j.how.prefill, j.exact_of, run_oracle, &j,
                                  error);
    if (status == GKA_OK)
        status = emulate(&j, error);
    if (status == GKA_OK)
        compare(&j);
    free_job(&j);
    return status;
}

/* ---- configurations ------------------------------------------------------------------------ */

/* Elements of the outputs [from, to) that the candidate does not give; the first of them noted
 * where it is a better one. */
static int64_t differing(const serving_job *j, int from, int to, gka_configuration *found) {
    int64_t different = 0;
    for (size_t i = 0; i < j->v->row_count; i++) {
        const gka_tensor *const tensor = j->v->rows[i].tensor;
        int64_t at;
        if (j->outputs[i] < from || j->outputs[i] >= to)
            continue;
        const int64_t here = gka_judge_differing(tensor, j->emulated_of[j->outputs[i]], &at);
        if (different == 0 && here > 0) {
            found->name = tensor->name;
            found->at = at;
        }
        different += here;
    }
    return different;
}

/* The best num_warps of one kernel of `count` in a list, by the outputs [from, to). */
static gka_status best_warps(serving_job *j, gka_launch kernel, int count, const int *list,
                             int from, int to, gka_profile *best, int64_t *least,
                             gka_configuration *found, gka_error *error) {
    gka_problem problem = j->v->problem;
    if (to <= SERVED_DECODE_O && j->how.prefill < problem.T) { /* nothing of the tokens after it */
        problem = gka_problem_tokens(&j->v->problem, 0, j->how.prefill);
        problem.h0 = j->v->problem.h0;
        problem.u0 = j->v->problem.u0;
    }
    gka_profile profile = *best;
    gka_status status = GKA_OK;
    for (int i = 0; i < count && status == GKA_OK; i++) {
        gka_configuration at = *found;
        profile.num_warps[kernel] = list[i];
        found->tried++;
        status = gka_served_emulate(&problem, &profile, &j->how, j->emulated_of, error);
        if (status != GKA_OK)
            break;
        const int64_t different = differing(j, from, to, &at);
        if (*least < 0 || different < *least) {
            *least = different;
            *best = profile;
            found->name = at.name;
            found->at = at.at;
        } else {
            found->alike += different == 0;
        }
    }
    return status;
}

gka_status gka_configuration_find_served(const gka_file *file, const gka_file *inputs,
                                         gka_profile *profile, gka_configuration *found,
                                         gka_error *error) {
    static const int solve[] = {4, 8, 2, 1}, output[] = {4, 2}, decode[] = {4, 8, 2};
    const gka_kernel kernel = {.serving = true};
    const gka_verify_options options = {.emulate = &kernel};
    gka_verification v = {0};
    serving_job j = {.file = file, .options = &options, .v = &v};
    gka_configuration of_decode = {0};
    int64_t least = -1, least_decode = -1;
    bool decoded = false, prefilled = false;
    *found = (gka_configuration){.known = 1};
    gka_status status = read_job(&j, inputs != NULL ? inputs : file, error);
    profile->fp16 = v.problem.q.dtype == GKA_F16;
    for (size_t i = 0; i < v.row_count; i++) {
        decoded = decoded || j.outputs[i] >= SERVED_DECODE_O;
        prefilled = prefilled || j.outputs[i] < SERVED_DECODE_O;
    }
    /* Lists of the kernels: H, solve, U, output and the sums of gates; decode. */
    if (prefilled)
        found->known *= 18.0 * 16 * 36 * 36 * (v.problem.g.data != NULL ? 4 : 1);
    if (decoded)
        found->known *= 12;
    /* By num_warps of output alone those with two warps and D >= 128 differ (and the widest BV). */
    const int outputs = v.problem.D >= 128 ? 2 : 1;
    for (int o = 0; o < outputs && prefilled && least != 0 && status == GKA_OK; o++) {
        gka_profile tried = *profile;
        const int64_t before = least;
        tried.num_warps[GKA_LAUNCH_OUTPUT] = output[o];
        status = best_warps(&j, GKA_LAUNCH_SOLVE, 4, solve, SERVED_PREFILL_O, SERVED_DECODE_O,
                            &tried, &least, found, error);
        if (least != before)
            *profile = tried;
    }
    if (status == GKA_OK && decoded)
        status = best_warps(&j, GKA_LAUNCH_DECODE, 3, decode, SERVED_DECODE_O, SERVED, profile,
                            &least_decode, &of_decode, error);
    if (least <= 0) {
        found->name = of_decode.name;
        found->at = of_decode.at;
    }
    found->tried += of_decode.tried;
    found->alike_gates = of_decode.alike;
    found->different = (least > 0 ? least : 0) + (least_decode > 0 ? least_decode : 0);
    free_job(&j);
    gka_verification_free(&v);
    return status;
}
