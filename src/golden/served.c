/* served.c - goldens of a server: a prefill of the first tokens, then token after token from the
 * states that it left (gka/golden.h, section 1).
 *
 * The inputs are a server's: q, k before they are normalised, and beta. References are the layer's
 * at the numbers that these stand for. The panel are the authors' kernels, emulated with each
 * num_warps of the prefill's solve and of the one-token kernel.
 */
#include "golden/served.h"
#include "golden/spec.h"
#include "judge/served.h"

#include "gka/format.h"
#include "io/bytes.h"
#include "problem/view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { EXACT, STEPS, EMULATED, KINDS, PAIRS = 16, NAME = 24 };

static const char *const suffixes[KINDS] = {".exact", ".steps", ".h100"};
static const char *const panel[] = {
    "h100/serving", "h100/serving/solve.num_warps=1/decode.num_warps=2",
    "h100/serving/solve.num_warps=2/decode.num_warps=8", "h100/serving/solve.num_warps=8"};
enum { PANEL = sizeof panel / sizeof *panel };

typedef struct served_job {
    gka_golden_spec spec; /* resolved */
    const gka_progress *progress;
    double done;
    gka_problem problem;
    gka_serving how;
    double *of[KINDS][SERVED], *own[SERVED]; /* own: of a kernel of the panel */
    golden_error floor[SERVED], panel[SERVED], tolerance[SERVED], by_exact[SERVED];
    gka_oracle_report report;
    void *bytes[KINDS][SERVED];
    char names[KINDS][SERVED][NAME];
    char *texts[8];
    size_t text_count, pair_count;
    gka_text_pair pairs[PAIRS];
} served_job;

bool gka_golden_is_served(const gka_file *golden) {
    const char *const stage = gka_file_metadata(golden, "stage");
    return stage != NULL && strcmp(stage, "serving") == 0;
}

/* ---- the problem --------------------------------------------------------------------------- */

static gka_status check_spec(const gka_golden_spec *spec, gka_error *error) {
    const gka_generator *const g = &spec->generator;
    const struct {
        bool given;
        const char *key;
    } others[] = {{spec->stage != GKA_STAGE_ALL, "stage"},
                  {spec->given != 0, "given"},
                  {spec->lo, "lo"},
                  {spec->sequences > 0, "lengths"},
                  {g->final, "final"},
                  {g->plain, "plain"},
                  {!g->alpha, "alpha"},
                  {g->edits != 0, "edit"},
                  {g->dtype != GKA_BF16, "dtype"},
                  {g->lambda > 0, "lambda"},
                  {!spec->forward || !spec->states || !spec->backward, "outputs"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i].given)
            return gka_fail(error, GKA_BAD_ARGUMENT,
                            "serving: %s as it is by default was expected, in a golden of a server",
                            others[i].key);
    return GKA_OK;
}

static gka_status make_problem(served_job *j, const gka_file *inputs, gka_error *error) {
    if (inputs != NULL) {
        const gka_status status = gka_problem_from_file(inputs, &j->problem, NULL, error);
        if (status == GKA_OK && gka_file_metadata(inputs, "normalise") == NULL)
            j->problem.normalise = GKA_NORMALISE_UNIT; /* the kernels do, told or not */
        return status;
    }
    const gka_preparation prepare = {.normalise = GKA_NORMALISE_UNIT,
                                     .beta = true,
                                     .gate = -1,
                                     .dtype = -1,
                                     .seed = j->spec.generator.seed};
    gka_generator generator = gka_golden_generator(&j->spec);
    gka_problem plain = {0};
    generator.cotangents = false;
    if (generator.H % generator.G != 0)
        return gka_fail(error, GKA_BAD_ARGUMENT, "G is %lld: a divisor of H = %lld was expected",
                        (long long)generator.G, (long long)generator.H);
    gka_status status = gka_problem_generate(&generator, &plain, error);
    if (status == GKA_OK)
        status = gka_problem_prepare(&plain, &prepare, &j->problem, error);
    gka_problem_free(&plain);
    return status;
}

static gka_status check_problem(const gka_problem *p, const gka_file *inputs, gka_error *error) {
    const char *const path = inputs == NULL ? "serving" : gka_file_path(inputs);
    const gka_view *const views[] = {&p->q, &p->k, &p->v};
    for (int i = 0; i < 3; i++)
        if (views[i]->data == NULL || views[i]->dtype != GKA_BF16)
            return gka_fail(error, GKA_BAD_FILE, "%s: q, k and v in BF16 were expected", path);
    if (p->cu_seqlens != NULL || p->dx.data != NULL || p->dout.data != NULL ||
        p->dh_final.data != NULL || p->du_final.data != NULL)
        return gka_fail(error, GKA_BAD_FILE, "%s: no cu_seqlens and no cotangents were expected",
                        path);
    return GKA_OK;
}

/* The prefill's tokens: as the spec says, else the file, else half of all. */
static gka_status find_prefill(served_job *j, const gka_file *inputs, gka_error *error) {
    const char *const text = inputs != NULL ? gka_file_metadata(inputs, "prefill") : NULL;
    const int64_t T = j->problem.T;
    if (j->spec.prefill < 0 && text != NULL) {
        const gka_status status = gka_golden_spec_set(&j->spec, "prefill", text, error);
        if (status != GKA_OK)
            return status;
    }
    if (j->spec.prefill < 0)
        j->spec.prefill = T / 2;
    if (j->spec.prefill > T)
        return gka_fail(error, GKA_BAD_ARGUMENT, "prefill is %lld: 0 to T = %lld was expected",
                        (long long)j->spec.prefill, (long long)T);
    j->how = (gka_serving){
        .prefill = j->spec.prefill, .h_type = j->spec.h_type, .u_type = j->spec.u_type};
    return GKA_OK;
}

/* An output without a row has neither references nor a tolerance. */
static bool wants(const served_job *j, int output) {
    const bool decoded = output >= SERVED_DECODE_O;
    return decoded ? j->how.prefill < j->problem.T : j->how.prefill > 0;
}

static int64_t shape_of(const served_job *j, int output, int64_t shape[4], int64_t *row) {
    const int row_rank = gka_served_shape(&j->problem, j->how.prefill, output, shape);
    *row = row_rank == 1 ? shape[3] : shape[2] * shape[3];
    return shape[0] * shape[1] * shape[2] * shape[3];
}

static gka_dtype state_dtype(gka_state_type type) {
    return type == GKA_STATE_BF16 ? GKA_BF16 : type == GKA_STATE_FP16 ? GKA_F16 : GKA_F32;
}

/* As the server stores it. */
static gka_dtype stored(const gka_serving *how, int output) {
    switch (output) {
    case SERVED_DECODE_H: return state_dtype(how->h_type);
    case SERVED_DECODE_U: return state_dtype(how->u_type);
    case SERVED_PREFILL_H:
    case SERVED_PREFILL_U: return GKA_F32;
    default: return GKA_BF16;
    }
}

static gka_status take_room(served_job *j, gka_error *error) {
    for (int output = 0; output < SERVED; output++) {
        int64_t shape[4], row;
        const size_t count = (size_t)shape_of(j, output, shape, &row);
        for (int kind = 0; kind < KINDS + 1 && wants(j, output); kind++) {
            double **const at = kind < KINDS ? &j->of[kind][output] : &j->own[output];
            *at = gka_alloc(count, sizeof **at);
            if (*at == NULL)
                return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory: a golden of a server");
        }
    }
    return GKA_OK;
}

/* ---- references and tolerances ------------------------------------------------------------- */

static gka_status end_step(served_job *j, gka_error *error) {
    j->done++;
    return gka_progress_report(j->progress, j->done, PANEL + 3)
               ? GKA_OK
               : gka_fail(error, GKA_INTERRUPTED, "interrupted");
}

static gka_status run_oracle(void *context, const gka_problem *problem, gka_outputs *out,
                             gka_error *error) {
    served_job *const j = context;
    const gka_oracle_options options = {.oracle = j->spec.oracle};
    return gka_oracle_forward(problem, &options, out, NULL, &j->report, error);
}

static gka_status run_steps(void *context, const gka_problem *problem, gka_outputs *out,
                            gka_error *error) {
    gka_profile exact64;
    const gka_status status = gka_profile_find("exact64", &exact64, error);
    (void)context;
    return status == GKA_OK ? gka_chunk_forward(problem, &exact64, out, NULL, NULL, error) : status;
}

/* own[output], rounded as the server keeps it. */
static void store_own(served_job *j, int output, int64_t count) {
    double *const own = j->own[output];
    const gka_state_type type = output == SERVED_DECODE_H   ? j->how.h_type
                                : output == SERVED_DECODE_U ? j->how.u_type
                                                            : GKA_STATE_FP32;
    const gka_block_format *const blocks = gka_block_format_find(gka_state_name(type));
    if (blocks != NULL)
        gka_block_round(blocks, (size_t)count, own, own, NULL);
    gka_round_array(gka_format_of_dtype(stored(&j->how, output)), GKA_NEAREST_EVEN, 0, 0,
                    (size_t)count, own, own);
}

/* own, rounded to the types that are stored, against a reference. */
static void raise_by(served_job *j, int kind, golden_error most[SERVED]) {
    for (int output = 0; output < SERVED; output++) {
        if (!wants(j, output))
            continue;
        int64_t shape[4], row;
        const int64_t count = shape_of(j, output, shape, &row);
        double *const own = j->own[output];
        const double *const ref = j->of[kind][output];
        store_own(j, output, count);
        const golden_error e = gka_golden_error_in(
            count / row, row, own, ref, gka_golden_scale(gka_golden_most(count, ref, 0)), NULL);
        const bool worse = isnan(e.rel) || isnan(e.row);
        most[output].rel = worse ? NAN : fmax(most[output].rel, e.rel);
        most[output].row = worse ? NAN : fmax(most[output].row, e.row);
    }
}

static void take_own(served_job *j, int kind) {
    for (int output = 0; output < SERVED; output++) {
        int64_t shape[4], row;
        if (wants(j, output))
            memcpy(j->own[output], j->of[kind][output],
                   (size_t)shape_of(j, output, shape, &row) * sizeof(double));
    }
}

static gka_status raise_by_kernel(served_job *j, const char *name, int steps, int kind,
                                  golden_error most[SERVED], gka_error *error) {
    gka_kernel kernel;
    gka_status status = gka_kernel_find(name, &kernel, error);
    if (steps > 0)
        kernel.profile.num_iter = steps;
    if (status == GKA_OK)
        status = gka_served_emulate(&j->problem, &kernel.profile, &j->how, j->own, error);
    if (status == GKA_OK)
        raise_by(j, kind, most);
    return status == GKA_OK ? end_step(j, error) : status;
}

/* By solvers that converge: the kernels with as many steps as bf16 can tell apart, which o is. */
static gka_status make_by_exact(served_job *j, golden_error most[SERVED], gka_error *error) {
    const double r = gka_steps_to(j->problem.ridge_ratio, 0x1p-12);
    take_own(j, EXACT);
    raise_by(j, EXACT, most);
    if (!(r <= GKA_MAX_ITERATIONS)) {
        for (int output = 0; output < SERVED; output++)
            most[output] = (golden_error){NAN, NAN};
        return end_step(j, error);
    }
    return raise_by_kernel(j, panel[0], (int)r, EXACT, most, error);
}

static gka_status make_values(served_job *j, gka_error *error) {
    golden_error to_exact[SERVED] = {{0, 0}};
    gka_status status =
        gka_served_layer(&j->problem, j->how.prefill, j->of[EXACT], run_oracle, j, error);
    if (status == GKA_OK)
        status = end_step(j, error);
    if (status == GKA_OK)
        status = gka_served_layer(&j->problem, j->how.prefill, j->of[STEPS], run_steps, j, error);
    if (status == GKA_OK)
        status = end_step(j, error);
    if (status == GKA_OK) {
        take_own(j, STEPS);
        raise_by(j, STEPS, j->floor);
    }
    for (int i = 0; i < PANEL && status == GKA_OK; i++) {
        status = raise_by_kernel(j, panel[i], 0, STEPS, j->panel, error);
        for (int output = 0; i == 0 && output < SERVED && status == GKA_OK; output++) {
            double *const own = j->own[output];
            j->own[output] = j->of[EMULATED][output];
            j->of[EMULATED][output] = own;
        }
    }
    if (status == GKA_OK)
        status = make_by_exact(j, to_exact, error);
    for (int output = 0; output < SERVED && status == GKA_OK; output++) {
        const double u = gka_format_unit_roundoff(gka_format_of_dtype(stored(&j->how, output)));
        j->tolerance[output] = gka_golden_tolerance_of(j->floor[output], j->panel[output], u);
        j->by_exact[output] = gka_golden_tolerance_of(to_exact[output], (golden_error){0, 0}, u);
    }
    return status;
}

/* ---- the file ------------------------------------------------------------------------------ */

static gka_status add_text(served_job *j, const char *key, json_t *root, bool good,
                           gka_error *error) {
    char **const text = &j->texts[j->text_count++];
    const gka_status status = gka_golden_dump(root, good, key, text, error);
    if (status == GKA_OK)
        j->pairs[j->pair_count++] = (gka_text_pair){key, *text};
    return status;
}

static void add_pair(served_job *j, const char *key, const char *value) {
    j->pairs[j->pair_count++] = (gka_text_pair){key, value};
}

static json_t *tolerances_json(const served_job *j, bool *good) {
    json_t *const all = json_object();
    for (int output = 0; output < SERVED; output++) {
        if (!wants(j, output))
            continue;
        json_t *const kernels = json_string("h100/serving, the worst of solve.num_warps = 4 1 2 8, "
                                            "decode.num_warps = 4 2 8");
        json_t *const one =
            gka_golden_tolerance_json(j->tolerance[output], j->floor[output], j->panel[output],
                                      "steps", kernels, &j->by_exact[output], good);
        *good &= json_object_set_new(all, gka_serving_names[output], one) == 0;
    }
    return all;
}

static gka_status describe(served_job *j, const gka_file *inputs, const char *hash,
                           gka_error *error) {
    const gka_problem *const p = &j->problem;
    bool good = true;
    add_pair(j, "golden", gka_golden_version);
    add_pair(j, "inputs_sha256", hash);
    add_pair(j, "stage", "serving");
    char **const spec = &j->texts[j->text_count++];
    gka_status status = gka_golden_spec_text(&j->spec, inputs != NULL, spec, error);
    if (status == GKA_OK)
        add_pair(j, "spec", *spec);
    add_pair(j, "normalise", gka_normalise_name(p->normalise));
    add_pair(j, "h-type", gka_state_name(j->how.h_type));
    add_pair(j, "u-type", gka_state_name(j->how.u_type));
    json_t *const tolerances = tolerances_json(j, &good);
    const struct {
        const char *key;
        json_t *value;
    } texts[] = {{"tolerances", tolerances},
                 {"oracle", gka_golden_oracle_json(j->spec.oracle, &j->report, &good)},
                 {"ridge_ratio", json_real(p->ridge_ratio)},
                 {"num_iter", json_integer(p->num_iter)},
                 {"chunk_size", json_integer(p->chunk_size)},
                 {"scale", json_real(p->scale)},
                 {"prefill", json_integer(j->how.prefill)}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (status == GKA_OK)
            status = add_text(j, texts[i].key, texts[i].value, good, error);
        else
            json_decref(texts[i].value);
    return status;
}

/* The inputs, then of each output its references. */
static gka_status list_tensors(served_job *j, gka_tensor *tensors, size_t *count, size_t *inputs,
                               gka_error *error) {
    *count = *inputs = gka_problem_tensors(&j->problem, tensors);
    for (int output = 0; output < SERVED; output++)
        for (int kind = 0; kind < (j->spec.emulate ? KINDS : EMULATED) && wants(j, output);
             kind++) {
            gka_tensor *const t = &tensors[(*count)++];
            char *const name = j->names[kind][output];
            int64_t row;
            (void)snprintf(name, NAME, "%s%s", gka_serving_names[output], suffixes[kind]);
            *t = (gka_tensor){.name = name,
                              .dtype = kind == EMULATED ? stored(&j->how, output) : GKA_F64,
                              .rank = 4};
            const size_t n = (size_t)shape_of(j, output, t->shape, &row);
            j->bytes[kind][output] = gka_alloc(n, gka_dtype_size(t->dtype));
            if (j->bytes[kind][output] == NULL)
                return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory storing '%s'", name);
            gka_store_array(t->dtype, n, j->of[kind][output], j->bytes[kind][output]);
            t->data = j->bytes[kind][output];
        }
    return GKA_OK;
}

static gka_status write_file(served_job *j, const gka_file *inputs, const char *path,
                             gka_error *error) {
    gka_tensor tensors[GKA_PROBLEM_TENSORS + KINDS * SERVED];
    size_t count, given;
    char of_inputs[65], of_all[65];
    const golden_inputs none = {0};
    gka_status status = list_tensors(j, tensors, &count, &given, error);
    if (status != GKA_OK)
        return status;
    gka_golden_hash_inputs(tensors, given, &none, of_inputs);
    status = describe(j, inputs, of_inputs, error);
    if (status != GKA_OK)
        return status;
    gka_golden_hash_all(j->pairs, j->pair_count, tensors, count, of_all);
    add_pair(j, "sha256", of_all);
    return gka_file_write(path, tensors, count, j->pairs, j->pair_count, error);
}

gka_status gka_golden_generate_served(const gka_golden_spec *spec, const gka_file *inputs,
                                      const char *path, const gka_progress *progress,
                                      gka_error *error) {
    served_job j = {.spec = *spec, .progress = progress};
    gka_status status = check_spec(spec, error);
    if (status == GKA_OK)
        status = make_problem(&j, inputs, error);
    if (status == GKA_OK)
        status = check_problem(&j.problem, inputs, error);
    if (status == GKA_OK)
        status = find_prefill(&j, inputs, error);
    if (status == GKA_OK)
        status = take_room(&j, error);
    if (status == GKA_OK)
        status = make_values(&j, error);
    if (status == GKA_OK)
        status = write_file(&j, inputs, path, error);
    for (int output = 0; output < SERVED; output++) {
        for (int kind = 0; kind < KINDS; kind++) {
            gka_free(j.of[kind][output]);
            gka_free(j.bytes[kind][output]);
        }
        gka_free(j.own[output]);
    }
    for (size_t i = 0; i < j.text_count; i++)
        gka_free(j.texts[i]);
    gka_problem_free(&j.problem);
    return status;
}

/* ---- judging ------------------------------------------------------------------------------- */

typedef struct judge_job {
    const gka_file *candidate, *golden;
    const gka_golden_options *options;
    gka_golden_verdict *verdict;
    gka_serving how;
} judge_job;

static gka_status no_golden(const gka_file *golden, const char *what, gka_error *error) {
    return gka_fail(error, GKA_BAD_FILE, "%s: metadata '%s': one of gka golden was expected",
                    gka_file_path(golden), what);
}

static gka_status read_how(judge_job *j, gka_error *error) {
    static const char *const keys[] = {"prefill", "h-type", "u-type"};
    gka_golden_spec spec;
    gka_golden_spec_start(&spec);
    for (int i = 0; i < 3; i++) {
        const char *const text = gka_file_metadata(j->golden, keys[i]);
        if (text == NULL || gka_golden_spec_set(&spec, keys[i], text, error) != GKA_OK ||
            spec.prefill > j->verdict->problem.T)
            return no_golden(j->golden, keys[i], error);
    }
    j->how = (gka_serving){.prefill = spec.prefill, .h_type = spec.h_type, .u_type = spec.u_type};
    return GKA_OK;
}

/* The values of a tensor of that shape. */
static gka_status load(const gka_file *file, const char *name, const int64_t shape[4],
                       double **values, gka_error *error) {
    const gka_tensor *const tensor = gka_file_find(file, name);
    bool same = tensor != NULL && tensor->rank == 4 && gka_dtype_is_float(tensor->dtype);
    for (int a = 0; a < 4 && same; a++)
        same = tensor->shape[a] == shape[a];
    if (!same)
        return gka_fail(
            error, GKA_BAD_FILE,
            "%s: tensor '%s': floating-point numbers of shape [%lld,%lld,%lld,%lld] were expected",
            gka_file_path(file), name, (long long)shape[0], (long long)shape[1],
            (long long)shape[2], (long long)shape[3]);
    const gka_format *const format = gka_format_of_dtype(tensor->dtype);
    const size_t size = gka_dtype_size(tensor->dtype);
    const int64_t count = gka_tensor_count(tensor);
    *values = gka_alloc((size_t)count, sizeof **values);
    if (*values == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory reading '%s'",
                        gka_file_path(file), name);
    for (int64_t i = 0; i < count; i++)
        (*values)[i] =
            gka_decode(format, gka_load_le((const char *)tensor->data + (size_t)i * size, size));
    return GKA_OK;
}

static gka_status judge_output(judge_job *j, int output, gka_golden_row *row, gka_error *error) {
    const char *const name = gka_serving_names[output];
    double *out = NULL, *of[EMULATED] = {NULL};
    golden_subject o = {.name = name,
                        .rank = 4,
                        .dtype = stored(&j->how, output),
                        .has_tokens = output == SERVED_PREFILL_O || output == SERVED_DECODE_O};
    o.row_rank = gka_served_shape(&j->verdict->problem, j->how.prefill, output, o.shape);
    o.count = o.shape[0] * o.shape[1] * o.shape[2] * o.shape[3];
    gka_status status = load(j->candidate, row->tensor->name, o.shape, &out, error);
    for (int kind = 0; kind < EMULATED && status == GKA_OK; kind++) {
        char reference[NAME];
        (void)snprintf(reference, sizeof reference, "%s%s", name, suffixes[kind]);
        status = load(j->golden, reference, o.shape, &of[kind], error);
    }
    o.out = out;
    o.exact = of[EXACT];
    o.steps = of[STEPS];
    if (status == GKA_OK)
        status = gka_golden_judge_row(j->options, &o, j->verdict, row, error);
    gka_free(out);
    gka_free(of[EXACT]);
    gka_free(of[STEPS]);
    return status;
}

/* A row for each output that the golden has a tolerance of, with the candidate's tensor. */
static gka_status list_rows(judge_job *j, int outputs[SERVED], gka_error *error) {
    gka_golden_verdict *const v = j->verdict;
    const char *const text = gka_file_metadata(j->golden, "tolerances");
    json_t *const root = text == NULL ? NULL : json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    gka_status status = GKA_OK;
    if (!json_is_object(root))
        status = no_golden(j->golden, "tolerances", error);
    for (int output = 0; output < SERVED && status == GKA_OK; output++) {
        const char *const name = gka_serving_names[output], *const theirs = gka_golden_their_name(
                                                                j->options, name);
        const json_t *const one = json_object_get(root, name);
        if (one == NULL)
            continue;
        const golden_error allowed =
            gka_golden_tolerance_read(j->options->by_exact ? json_object_get(one, "exact") : one);
        gka_golden_row *const row = &v->rows[v->row_count];
        outputs[v->row_count++] = output;
        *row = (gka_golden_row){.name = name,
                                .tensor = gka_file_find(j->candidate, theirs),
                                .required = gka_golden_required(j->options, name),
                                .through = NAN,
                                .tolerance = allowed.rel,
                                .row_tolerance = allowed.row};
        v->missing += row->tensor == NULL;
        status = gka_file_readable(j->candidate, theirs, error);
    }
    json_decref(root);
    if (status == GKA_OK && v->missing == v->row_count)
        status =
            gka_fail(error, GKA_BAD_FILE,
                     "%s: nothing to judge; a tensor 'prefill.o' or another output of a server "
                     "was expected",
                     gka_file_path(j->candidate));
    return status;
}

gka_status gka_golden_judge_served(const gka_file *candidate, const gka_file *golden,
                                   const gka_golden_options *options, gka_golden_verdict *verdict,
                                   gka_error *error) {
    judge_job j = {
        .candidate = candidate, .golden = golden, .options = options, .verdict = verdict};
    int outputs[SERVED];
    gka_status status = gka_golden_check(golden, error);
    if (status == GKA_OK && (options->given != 0 || options->heads_first))
        status = gka_fail(error, GKA_BAD_ARGUMENT,
                          "%s is of a server: nothing given, and tensors [B,T,H,..], were expected",
                          gka_file_path(golden));
    if (status == GKA_OK)
        status = gka_problem_from_file(golden, &verdict->problem, NULL, error);
    if (status == GKA_OK)
        status = read_how(&j, error);
    verdict->rows = gka_alloc(SERVED, sizeof *verdict->rows);
    if (status == GKA_OK && verdict->rows == NULL)
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
    if (status == GKA_OK)
        status = list_rows(&j, outputs, error);
    for (size_t i = 0; i < verdict->row_count && status == GKA_OK; i++) {
        gka_golden_row *const row = &verdict->rows[i];
        if (row->tensor != NULL) {
            status = judge_output(&j, outputs[i], row, error);
        } else if (row->required) {
            row->judged.ok = GKA_FAIL;
            verdict->failed++;
        }
    }
    return status;
}
