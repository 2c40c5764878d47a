/* read.c - a golden's problem, references and tolerances. */
#include "golden/stage.h"

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

static gka_status check_hash(const gka_file *golden, gka_error *error) {
    gka_tensor tensors[GKA_PROBLEM_TENSORS + GIVEN_TENSORS];
    size_t count = 0;
    for (const char *const *name = gka_problem_names; *name != NULL; name++) {
        const gka_tensor *const tensor = gka_file_find(golden, *name);
        if (tensor != NULL)
            tensors[count++] = *tensor;
    }
    for (int i = 0; i < GIVEN_TENSORS; i++) {
        const gka_tensor *const tensor = gka_file_find(golden, gka_golden_given_tensors[i].name);
        if (tensor != NULL)
            tensors[count++] = *tensor;
    }
    char is[65];
    gka_golden_hash_inputs(tensors, count, NULL, is);
    const char *const said = gka_file_metadata(golden, "inputs_sha256");
    if (said != NULL && strcmp(said, is) == 0)
        return GKA_OK;
    return gka_fail(error, GKA_BAD_FILE, "%s: its inputs hash to %.12s...; %.12s... was expected",
                    gka_file_path(golden), is, said == NULL ? "inputs_sha256" : said);
}

static gka_status read_tolerances(golden_reference *r, gka_error *error) {
    const char *const text = gka_file_metadata(r->file, "tolerances");
    if (text == NULL || gka_file_metadata(r->file, "golden") == NULL)
        return not_golden(r->file, "'golden' or 'tolerances' is missing", error);
    json_error_t why = {0};
    json_t *const root = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    if (root == NULL && why.text[0] == '\0')
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory reading tolerances");
    gka_status status = GKA_OK;
    if (!json_is_object(root))
        status = not_golden(r->file, "'tolerances' is no JSON object", error);
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++) {
        const json_t *const one = json_object_get(root, gka_output_table[i].name);
        const json_t *const value = json_object_get(one, "value"), *const row =
                                                                       json_object_get(one, "row");
        r->tolerance[i].rel = json_is_number(value) ? json_number_value(value) : NAN;
        r->tolerance[i].row = json_is_number(row) ? json_number_value(row) : NAN;
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
    if (tensor == NULL)
        return gka_fail(error, GKA_BAD_FILE, "%s: tensor '%s' is missing", gka_file_path(r->file),
                        name);
    return gka_golden_load(&r->problem, r->file, tensor, output, false, values, error);
}

/* ---- all ----------------------------------------------------------------------------------- */

gka_status gka_golden_read(const gka_file *file, golden_reference *reference, gka_error *error) {
    *reference = (golden_reference){.file = file};
    const char *const stage = gka_file_metadata(file, "stage");
    reference->stage = stage != NULL && strcmp(stage, gka_golden_stage_name(GKA_STAGE_ALL)) != 0;
    gka_status status = read_tolerances(reference, error);
    if (status == GKA_OK)
        status = check_hash(file, error);
    if (status == GKA_OK)
        status = gka_problem_from_file(file, &reference->problem, NULL, error);
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++) {
        if (!(reference->wanted >> i & 1))
            continue;
        status = load_reference(reference, i, ".steps", &reference->steps.of[i], error);
        if (status == GKA_OK)
            status = load_reference(reference, i, ".exact", &reference->exact.of[i], error);
    }
    return status;
}

void gka_golden_reference_free(golden_reference *reference) {
    gka_golden_free(&reference->steps);
    gka_golden_free(&reference->exact);
    gka_problem_free(&reference->problem);
    *reference = (golden_reference){0};
}
