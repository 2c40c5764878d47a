/* file.c - a golden as a file: its tensors, its metadata, and their writing. */
#include "golden/spec.h"
#include "golden/way.h"

#include "gka/format.h"
#include "io/bytes.h"

#include <math.h>
#include <sha2.h>
#include <string.h>

enum { MADE = 5 * GKA_OUTPUTS + GIVEN_TENSORS, TENSORS = GKA_PROBLEM_TENSORS + MADE, NAME = 32 };

/* ---- metadata ------------------------------------------------------------------------------ */

typedef struct builder {
    json_t *value;
    bool good;
} builder;

static void put(builder *object, const char *key, json_t *value) {
    object->good &= json_object_set_new(object->value, key, value) == 0;
}

static json_t *real_or_null(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

/* Upwards to three digits: what is printed bounds what was measured. */
static json_t *rounded_up(double x) {
    if (!isfinite(x) || !(x > 0))
        return real_or_null(x);
    double unit = 1e-300;
    while (unit * 1000 <= x)
        unit *= 10;
    return json_real(ceil(x / unit) * unit);
}

/* The panel that made an output's tolerance, and in words which of its kernels took part. */
static json_t *panel_json(const golden_job *j, int output) {
    char text[300];
    int64_t chunks[5];
    const gka_panel *const panel = j->panel[output];
    int n = snprintf(text, sizeof text, "%s, the worst of C = %lld", panel->said,
                     (long long)j->problem.chunk_size);
    for (const int64_t *C = gka_panel_chunks(&j->problem, chunks); *C != 0; C++)
        n += snprintf(text + n, sizeof text - (size_t)n, " %lld", (long long)*C);
    for (size_t i = 0; i < gka_panel_row_count; i++) {
        const gka_right_kernel *const right = &gka_right_kernels[i];
        const gka_takes takes = gka_panel_takes(panel->kind, right, &j->problem);
        const bool said = right->takes[panel->kind] == GKA_TAKES_F ? output == GKA_OUT_FRO
                                                                   : takes == GKA_TAKES_ALL;
        if (said && right->said != NULL && strcmp(right->kernel, panel->kernel) != 0)
            n += snprintf(text + n, sizeof text - (size_t)n, ", %s", right->said);
    }
    return json_string(text);
}

/* {value, row} */
static json_t *pair_json(golden_error tolerance, bool *good) {
    builder o = {json_object(), true};
    put(&o, "value", real_or_null(tolerance.rel));
    put(&o, "row", real_or_null(tolerance.row));
    *good &= o.good;
    return o.value;
}

json_t *gka_golden_tolerance_json(golden_error tolerance, golden_error floor, golden_error panel,
                                  const char *judged, json_t *kernels, const golden_error *exact,
                                  bool *good) {
    builder o = {json_object(), true};
    put(&o, "value", real_or_null(tolerance.rel));
    put(&o, "row", real_or_null(tolerance.row));
    put(&o, "judged", json_string(judged));
    put(&o, "floor", rounded_up(floor.rel));
    put(&o, "panel", rounded_up(panel.rel));
    put(&o, "floor_row", rounded_up(floor.row));
    put(&o, "panel_row", rounded_up(panel.row));
    put(&o, "panel_kernels", kernels);
    put(&o, "rule", json_string("2^ceil(log2(max(2 floor, 2 panel, u))); null from 1/2 on"));
    if (exact != NULL)
        put(&o, "exact", pair_json(*exact, &o.good));
    *good &= o.good;
    return o.value;
}

static json_t *tolerances_json(const golden_job *j, bool *good) {
    builder all = {json_object(), true};
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        if (!golden_wants(j, i))
            continue;
        const bool local = j->spec->stage == GKA_STAGE_ALL && gka_output_table[i].upstream != 0;
        builder o = {NULL, true};
        o.value = gka_golden_tolerance_json(
            j->tolerance[i], j->floor[i], j->stage[i], local ? "local" : "steps", panel_json(j, i),
            gka_golden_whole_layer(j) ? &j->by_exact[i] : NULL, &o.good);
        if (j->through.of[i] != NULL)
            put(&o, "through", pair_json(j->by_through[i], &o.good));
        put(&all, gka_output_table[i].name, o.value);
        all.good &= o.good;
    }
    *good &= all.good;
    return all.value;
}

/* The least number of two decimal digits from x on, x > 0. */
static double two_digits_up(double x) {
    double up = isfinite(x) ? 0 : x;
    for (double y = x; up < x; y *= 1.01) {
        char text[32];
        (void)gka_format_text(text, sizeof text, "%.1e", y);
        up = gka_parse_real(text, NULL);
    }
    return up;
}

/* Of gradients: how many elements were rounded how, and what was known of them before. */
static void put_proof(const golden_job *j, builder *o) {
    builder bounds = {json_object(), true};
    for (int i = 0; i < GKA_OUTPUTS; i++)
        if (j->proven[i] > 0)
            put(&bounds, gka_output_table[i].name, real_or_null(two_digits_up(j->proven[i])));
    o->good &= bounds.good;
    put(o, "gradient_elements", json_integer(j->report.elements));
    put(o, "gradients_in_mpfr", json_integer(j->report.elements_mpfr));
    put(o, "gradients_undecided", json_integer(j->report.elements_undecided));
    put(o, "gradient_bounds", bounds.value);
}

static const char *proven_text(gka_oracle oracle) {
    return oracle == GKA_ORACLE_CERTIFIED ? "correctly rounded, proven"
                                          : "256 bits, rounded once; no proof";
}

/* "h_final[3]", "u_final.lo[0]": the first elements that stand without a proof. */
static json_t *unproven_json(const gka_oracle_report *report, bool *good) {
    json_t *const names = json_array();
    for (int i = 0; i < report->listed; i++) {
        const gka_oracle_unproven *const one = &report->unproven[i];
        char name[80];
        (void)snprintf(name, sizeof name, "%s%s[%lld]", one->tensor, one->second_word ? ".lo" : "",
                       (long long)one->at);
        *good &= json_array_append_new(names, json_string(name)) == 0;
    }
    return names;
}

json_t *gka_golden_oracle_json(gka_oracle oracle, const gka_oracle_report *report, bool *good) {
    builder o = {json_object(), true};
    put(&o, "oracle", json_string(gka_oracle_name(oracle)));
    put(&o, "token_solves", json_integer(report->solves));
    put(&o, "empty_states", json_integer(report->empty_states));
    put(&o, "in_mpfr", json_integer(report->recomputed));
    put(&o, "ties", json_integer(report->ties));
    put(&o, "exact_zeros", json_integer(report->zeros));
    char but[80];
    (void)snprintf(but, sizeof but, "%s but for %lld declared ties", proven_text(oracle),
                   (long long)report->declared);
    put(&o, "forward", json_string(report->declared > 0 ? but : proven_text(oracle)));
    if (report->listed > 0)
        put(&o, "unproven", unproven_json(report, &o.good));
    *good &= o.good;
    return o.value;
}

static json_t *oracle_json(const golden_job *j, bool *good) {
    const gka_oracle oracle = j->spec->oracle;
    const bool certified = oracle == GKA_ORACLE_CERTIFIED;
    const bool all = !certified || j->report.elements_undecided == 0;
    builder o = {NULL, true};
    o.value = gka_golden_oracle_json(oracle, &j->report, &o.good);
    put(&o, "gradients",
        json_string(all ? proven_text(oracle) : "correctly rounded, proven but for the undecided"));
    if (certified && j->report.elements > 0)
        put_proof(j, &o);
    *good &= o.good;
    return o.value;
}

/* Takes root. */
static gka_status add_json(golden_job *j, const char *key, json_t *root, bool good,
                           gka_error *error) {
    size_t i = 0;
    while (j->metadata[i] != NULL)
        i++;
    const gka_status status = gka_golden_dump(root, good, key, &j->metadata[i], error);
    if (status == GKA_OK)
        j->pairs[j->pair_count++] = (gka_text_pair){key, j->metadata[i]};
    return status;
}

/* ---- tensors ------------------------------------------------------------------------------- */

/* Which value of a golden a tensor is. */
typedef struct made {
    int output;
    golden_kind kind;
} made;

/* All that is written: inputs first, then by output, where made[i] says what tensor i is. */
typedef struct list {
    gka_tensor tensors[TENSORS];
    made made[TENSORS];
    char names[MADE][NAME];
    size_t count, inputs, named;
    int64_t *bounds; /* cu_seqlens, little-endian */
    void *bytes[GIVEN_TENSORS];
} list;

/* A tensor of an output's shape, called name + suffix; its data is yet to come. */
static gka_tensor *add_tensor(list *l, const gka_problem *problem, int output, const char *base,
                              const char *suffix, gka_dtype dtype) {
    char *const name = l->names[l->named++];
    gka_tensor *const tensor = &l->tensors[l->count++];
    (void)snprintf(name, NAME, "%s%s", base, suffix);
    *tensor = (gka_tensor){.name = name, .dtype = dtype};
    tensor->rank = gka_output_shape(problem, output, tensor->shape);
    return tensor;
}

/* NAME.exact and so on. */
static void add_value(list *l, const gka_problem *problem, int output, golden_kind kind) {
    static const char *const suffixes[] = {[GOLDEN_EXACT] = ".exact",
                                           [GOLDEN_STEPS] = ".steps",
                                           [GOLDEN_EMULATED] = ".h100",
                                           [GOLDEN_LO] = ".exact.lo",
                                           [GOLDEN_THROUGH] = ".through"};
    l->made[l->count] = (made){output, kind};
    (void)add_tensor(l, problem, output, gka_output_table[output].name, suffixes[kind],
                     kind == GOLDEN_EMULATED ? gka_output_dtype(problem, output) : GKA_F64);
}

static gka_status add_inputs(list *l, const gka_problem *problem, gka_error *error) {
    l->count = l->inputs = gka_problem_tensors(problem, l->tensors);
    if (problem->cu_seqlens == NULL)
        return GKA_OK;
    l->bounds = gka_alloc((size_t)problem->N + 1, sizeof *l->bounds);
    if (l->bounds == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory storing 'cu_seqlens'");
    for (int64_t i = 0; i <= problem->N; i++)
        gka_store_le(l->bounds + i, 8, (uint64_t)problem->cu_seqlens[i]);
    l->tensors[l->count - 1].data = l->bounds;
    return GKA_OK;
}

/* What is given counts as an input. */
static gka_status add_given(list *l, const golden_job *j, gka_error *error) {
    for (int i = 0; i < GIVEN_TENSORS; i++) {
        const golden_given_tensor *const given = &gka_golden_given_tensors[i];
        if (j->given.of[i] == NULL)
            continue;
        const size_t count = (size_t)gka_output_count(&j->problem, given->output);
        gka_tensor *const tensor =
            add_tensor(l, &j->problem, given->output, given->name, "", j->given.dtype[i]);
        l->bytes[i] = gka_alloc(count, gka_dtype_size(tensor->dtype));
        if (l->bytes[i] == NULL)
            return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory storing '%s'", tensor->name);
        gka_store_array(tensor->dtype, count, j->given.of[i], l->bytes[i]);
        tensor->data = l->bytes[i];
    }
    l->inputs = l->count;
    return GKA_OK;
}

static gka_status list_tensors(const golden_job *j, list *l, gka_error *error) {
    const gka_problem *const p = &j->problem;
    gka_status status = add_inputs(l, p, error);
    if (status == GKA_OK)
        status = add_given(l, j, error);
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        if (!golden_wants(j, i))
            continue;
        add_value(l, p, i, GOLDEN_EXACT);
        if (j->spec->lo)
            add_value(l, p, i, GOLDEN_LO);
        add_value(l, p, i, GOLDEN_STEPS);
        if (j->through.of[i] != NULL)
            add_value(l, p, i, GOLDEN_THROUGH);
        if (j->spec->emulate)
            add_value(l, p, i, GOLDEN_EMULATED);
    }
    return status;
}

static void free_list(list *l) {
    for (size_t i = 0; i < GIVEN_TENSORS; i++)
        gka_free(l->bytes[i]);
    gka_free(l->bounds);
}

const char *const gka_golden_version = "2";

/* ---- hashes -------------------------------------------------------------------------------- */

void gka_golden_digest_text(const unsigned char digest[32], char text[65]) {
    for (int i = 0; i < 32; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

/* How much is looked at before pages are let go of. */
enum { MUCH = 1 << 22 };

static gka_status take_hash(void *to, const void *bytes, size_t size, gka_error *error) {
    (void)error;
    SHA256Update(to, bytes, size);
    return GKA_OK;
}

static gka_status take_file(void *to, const void *bytes, size_t size, gka_error *error) {
    return gka_writer_append(to, bytes, size, error);
}

/* "NAME DTYPE [d0,d1,...]" and the end of the line */
static void hash_heading(SHA2_CTX *context, const gka_tensor *t) {
    char line[256];
    int n = snprintf(line, sizeof line, " %s [", gka_dtype_name(t->dtype));
    for (int a = 0; a < t->rank; a++)
        n += snprintf(line + n, sizeof line - (size_t)n, "%s%lld", a == 0 ? "" : ",",
                      (long long)t->shape[a]);
    n += snprintf(line + n, sizeof line - (size_t)n, "]\n");
    SHA256Update(context, (const uint8_t *)t->name, strlen(t->name));
    SHA256Update(context, (const uint8_t *)line, (size_t)n);
}

/* "KEY LENGTH", the value, an end of line */
static void hash_pair(SHA2_CTX *context, const gka_text_pair *pair) {
    char line[32];
    const size_t length = strlen(pair->value);
    const int n = snprintf(line, sizeof line, " %zu\n", length);
    SHA256Update(context, (const uint8_t *)pair->key, strlen(pair->key));
    SHA256Update(context, (const uint8_t *)line, (size_t)n);
    SHA256Update(context, (const uint8_t *)pair->value, length);
    SHA256Update(context, (const uint8_t *)"\n", 1);
}

static void end_hash(SHA2_CTX *context, char text[65]) {
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256Final(digest, context);
    gka_golden_digest_text(digest, text);
}

/* A tensor's data in portions; inputs: where they lie, NULL: in memory. */
static gka_status give_data(const gka_tensor *t, const golden_inputs *inputs, golden_take *give,
                            void *to, gka_error *error) {
    const size_t size = (size_t)gka_tensor_count(t) * gka_dtype_size(t->dtype);
    gka_status status = GKA_OK;
    for (size_t at = 0; at < size && status == GKA_OK; at += MUCH) {
        status = give(to, (const char *)t->data + at, size - at < MUCH ? size - at : MUCH, error);
        if (inputs != NULL)
            gka_golden_inputs_forget(inputs);
    }
    return status;
}

void gka_golden_hash_inputs(const gka_tensor *tensors, size_t count, const golden_inputs *inputs,
                            char text[65]) {
    SHA2_CTX context;
    SHA256Init(&context);
    for (size_t i = 0; i < count; i++) {
        hash_heading(&context, &tensors[i]);
        (void)give_data(&tensors[i], inputs, take_hash, &context, NULL);
    }
    end_hash(&context, text);
}

void gka_golden_hash_all(const gka_text_pair *pairs, size_t pair_count, const gka_tensor *tensors,
                         size_t count, char text[65]) {
    SHA2_CTX context;
    SHA256Init(&context);
    for (size_t i = 0; i < pair_count; i++)
        hash_pair(&context, &pairs[i]);
    for (size_t i = 0; i < count; i++) {
        hash_heading(&context, &tensors[i]);
        (void)give_data(&tensors[i], NULL, take_hash, &context, NULL);
    }
    end_hash(&context, text);
}

void gka_golden_hash(const gka_file *file, char text[65]) {
    SHA2_CTX context;
    const gka_text_pair *pair;
    SHA256Init(&context);
    for (size_t i = 0; (pair = gka_file_pair(file, i)) != NULL; i++)
        if (strcmp(pair->key, "sha256") != 0)
            hash_pair(&context, pair);
    for (size_t i = 0; i < gka_file_count(file); i++) {
        const gka_tensor *const t = gka_file_tensor(file, i);
        hash_heading(&context, t);
        (void)give_data(t, NULL, take_hash, &context, NULL);
        gka_file_forget(file);
    }
    end_hash(&context, text);
}

/* ---- all ----------------------------------------------------------------------------------- */

static gka_status describe(golden_job *j, const list *l, char hash[65], gka_error *error) {
    gka_golden_hash_inputs(l->tensors, l->inputs, &j->streamed, hash);
    const gka_problem *const p = &j->problem;
    bool good = true;
    j->pairs[j->pair_count++] = (gka_text_pair){"golden", gka_golden_version};
    j->pairs[j->pair_count++] = (gka_text_pair){"inputs_sha256", hash};
    j->pairs[j->pair_count++] = (gka_text_pair){"stage", gka_golden_stage_name(j->spec->stage)};
    gka_status status = gka_golden_spec_text(j->spec, j->inputs != NULL, &j->metadata[0], error);
    if (status == GKA_OK)
        j->pairs[j->pair_count++] = (gka_text_pair){"spec", j->metadata[0]};
    if (status == GKA_OK) {
        json_t *const tolerances = tolerances_json(j, &good);
        status = add_json(j, "tolerances", tolerances, good, error);
    }
    if (status == GKA_OK) {
        json_t *const oracle = oracle_json(j, &good);
        status = add_json(j, "oracle", oracle, good, error);
    }
    const struct {
        const char *key;
        json_t *value;
    } parameters[] = {{"ridge_ratio", json_real(p->ridge_ratio)},
                      {"num_iter", json_integer(p->num_iter)},
                      {"chunk_size", json_integer(p->chunk_size)},
                      {"scale", json_real(p->scale)},
                      {"lambda", p->lambda > 0 ? json_real(p->lambda) : NULL}};
    const size_t count = sizeof parameters / sizeof *parameters - (p->lambda > 0 ? 0 : 1);
    for (size_t i = 0; i < count; i++)
        if (status == GKA_OK)
            status = add_json(j, parameters[i].key, parameters[i].value, true, error);
        else
            json_decref(parameters[i].value);
    return status;
}

/* All data in the order of the list: inputs, then each output. before(to, tensor), if there is one,
 * comes before a tensor's data. */
static gka_status give_all(const golden_job *j, const list *l,
                           void (*before)(SHA2_CTX *, const gka_tensor *), golden_take *give,
                           void *to, gka_error *error) {
    gka_status status = GKA_OK;
    for (size_t t = 0; t < l->count && status == GKA_OK; t++) {
        if (before != NULL)
            before(to, &l->tensors[t]);
        status = t < l->inputs
                     ? give_data(&l->tensors[t], &j->streamed, give, to, error)
                     : j->way->give(j, l->made[t].output, l->made[t].kind, give, to, error);
    }
    return status;
}

/* The last pair of the metadata: the hash of all else. */
static gka_status sign(golden_job *j, const list *l, char hash[65], gka_error *error) {
    SHA2_CTX context;
    SHA256Init(&context);
    for (size_t i = 0; i < j->pair_count; i++)
        hash_pair(&context, &j->pairs[i]);
    const gka_status status = give_all(j, l, hash_heading, take_hash, &context, error);
    end_hash(&context, hash);
    j->pairs[j->pair_count++] = (gka_text_pair){"sha256", hash};
    return status;
}

gka_status gka_golden_job_write(golden_job *j, const char *path, gka_error *error) {
    char inputs[65], all[65];
    gka_writer *writer = NULL;
    list *const l = gka_alloc(1, sizeof *l);
    if (l == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
    gka_status status = list_tensors(j, l, error);
    if (status == GKA_OK)
        status = describe(j, l, inputs, error);
    if (status == GKA_OK)
        status = sign(j, l, all, error);
    if (status == GKA_OK)
        status =
            gka_writer_open(path, l->tensors, l->count, j->pairs, j->pair_count, &writer, error);
    if (status == GKA_OK)
        status = give_all(j, l, NULL, take_file, writer, error);
    if (status == GKA_OK)
        status = gka_writer_close(writer, error);
    else
        gka_writer_abandon(writer);
    free_list(l);
    gka_free(l);
    return status;
}
