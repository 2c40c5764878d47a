/* read.c - a golden's problem, references and tolerances. */
#include "golden/served.h"
#include "golden/spec.h"

#include "gka/format.h"
#include "io/bytes.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

/* ---- what it says of itself ---------------------------------------------------------------- */

static gka_status not_golden(const gka_file *golden, const char *what, gka_error *error) {
    return gka_fail(error, GKA_BAD_FILE, "%s: metadata %s; a file made by gka golden was expected",
                    gka_file_path(golden), what);
}

/* All of it, so that no reference, tolerance or parameter has changed since it was made. */
static gka_status check_hash(const gka_file *golden, gka_error *error) {
    char is[65];
    const char *const said = gka_file_metadata(golden, "sha256");
    if (said == NULL)
        return not_golden(golden, "'sha256' is missing", error);
    gka_golden_hash(golden, is);
    return strcmp(said, is) == 0
               ? GKA_OK
               : gka_fail(error, GKA_BAD_FILE,
                          "%s: hashes to %.12s...; %.12s... was expected: it was changed after it "
                          "was made",
                          gka_file_path(golden), is, said);
}

/* Format 1, of gka 0.1.0, had tolerances by another rule. */
static gka_status check_format(const gka_file *golden, gka_error *error) {
    const char *const format = gka_file_metadata(golden, "golden");
    if (format == NULL)
        return not_golden(golden, "'golden' is missing", error);
    return strcmp(format, gka_golden_version) == 0
               ? GKA_OK
               : gka_fail(error, GKA_BAD_FILE,
                          "%s: a golden of format %.20s; format %s was expected: gka golden makes "
                          "it again from its metadata 'spec'",
                          gka_file_path(golden), format, gka_golden_version);
}

/* {value, row}; null or absent: NaN. */
golden_error gka_golden_tolerance_read(const json_t *object) {
    const json_t *const value = json_object_get(object, "value"), *const row = json_object_get(
                                                                      object, "row");
    return (golden_error){json_is_number(value) ? json_number_value(value) : NAN,
                          json_is_number(row) ? json_number_value(row) : NAN};
}

static gka_status read_tolerances(golden_reference *r, gka_error *error) {
    const char *const text = gka_file_metadata(r->file, "tolerances");
    if (text == NULL)
        return not_golden(r->file, "'tolerances' is missing", error);
    json_error_t why = {0};
    json_t *const root = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    if (root == NULL && why.text[0] == '\0')
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory reading tolerances");
    gka_status status = GKA_OK;
    if (!json_is_object(root))
        status = not_golden(r->file, "'tolerances' is no JSON object", error);
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++) {
        const json_t *const one = json_object_get(root, gka_output_table[i].name);
        r->tolerance[i] = gka_golden_tolerance_read(one);
        const json_t *const exact = json_object_get(one, "exact");
        r->by_exact[i] = exact != NULL ? gka_golden_tolerance_read(exact) : r->tolerance[i];
        r->by_through[i] = gka_golden_tolerance_read(json_object_get(one, "through"));
        const char *const kernels = json_string_value(json_object_get(one, "panel_kernels"));
        r->panel[i] = kernels == NULL ? NULL : gka_panel_find(kernels);
        r->wanted |= (one != NULL ? 1u : 0u) << i;
    }
    json_decref(root);
    return status;
}

static gka_status load_reference(const golden_reference *r, int output, const char *suffix,
                                 double **values, gka_error *error) {
    char name[48];
    (void)snprintf(name, sizeof name, "%s%s", gka_output_table[output].name, suffix);
    const gka_tensor *const tensor = gka_file_find(r->file, name);
    const gka_status status = gka_file_readable(r->file, name, error);
    if (status != GKA_OK)
        return status;
    if (tensor == NULL)
        return gka_fail(error, GKA_BAD_FILE, "%s: tensor '%s' is missing", gka_file_path(r->file),
                        name);
    return gka_golden_load(&r->problem, r->file, tensor, output, false, values, error);
}

/* ---- all ----------------------------------------------------------------------------------- */

static bool has_through(const golden_reference *r, int output) {
    char name[48];
    (void)snprintf(name, sizeof name, "%s.through", gka_output_table[output].name);
    return gka_file_find(r->file, name) != NULL;
}

gka_status gka_golden_check(const gka_file *golden, gka_error *error) {
    const gka_status status = check_format(golden, error);
    return status == GKA_OK ? check_hash(golden, error) : status;
}

gka_status gka_golden_read(const gka_file *file, golden_reference *reference, gka_error *error) {
    *reference = (golden_reference){.file = file};
    const char *const stage = gka_file_metadata(file, "stage");
    reference->stage = stage != NULL && strcmp(stage, gka_golden_stage_name(GKA_STAGE_ALL)) != 0;
    gka_status status = gka_golden_check(file, error);
    if (status == GKA_OK && gka_golden_is_served(file))
        status = gka_fail(error, GKA_UNSUPPORTED,
                          "%s: a golden of a server, which is judged by (gka judge) and shown (gka "
                          "show) alone; one of the layer was expected",
                          gka_file_path(file));
    if (status == GKA_OK)
        status = read_tolerances(reference, error);
    if (status == GKA_OK)
        status = gka_problem_from_file(file, &reference->problem, NULL, error);
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++) {
        if (!(reference->wanted >> i & 1))
            continue;
        status = load_reference(reference, i, ".steps", &reference->steps.of[i], error);
        if (status == GKA_OK)
            status = load_reference(reference, i, ".exact", &reference->exact.of[i], error);
        if (status == GKA_OK && has_through(reference, i))
            status = load_reference(reference, i, ".through", &reference->through.of[i], error);
    }
    return status;
}

void gka_golden_reference_free(golden_reference *reference) {
    gka_golden_free(&reference->steps);
    gka_golden_free(&reference->exact);
    gka_golden_free(&reference->through);
    gka_problem_free(&reference->problem);
    *reference = (golden_reference){0};
}
