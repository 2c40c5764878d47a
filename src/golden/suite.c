/* suite.c - a folder of goldens: made, gone on with, and read (gka/golden.h, section 3). */
#include "golden/golden.h"
#include "golden/spec.h"

#include <errno.h>
#include <math.h>
#include <sha2.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* FOLDER/FILE; gka_free'd by the caller, NULL: no memory */
static char *path_in(const char *folder, const char *file, const char *suffix) {
    const size_t size = strlen(folder) + strlen(file) + strlen(suffix) + 2;
    char *const path = gka_alloc(size, 1);
    if (path != NULL)
        (void)snprintf(path, size, "%s/%s%s", folder, file, suffix);
    return path;
}

static gka_status no_memory(const char *folder, gka_error *error) {
    return gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory", folder);
}

static gka_status hash_of_file(const char *path, char text[SHA256_DIGEST_STRING_LENGTH],
                               gka_error *error) {
    FILE *const file = fopen(path, "rb");
    unsigned char bytes[4096];
    SHA2_CTX context;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    if (file == NULL)
        return gka_fail(error, GKA_IO, "%s: cannot be opened: %s", path, strerror(errno));
    SHA256Init(&context);
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, file)) > 0;)
        SHA256Update(&context, bytes, n);
    const bool failed = ferror(file) != 0;
    (void)fclose(file);
    SHA256Final(digest, &context);
    gka_golden_digest_text(digest, text);
    return failed ? gka_fail(error, GKA_IO, "%s: cannot be read", path) : GKA_OK;
}

/* ---- one case ------------------------------------------------------------------------------ */

/* What a case costs: tokens and heads, times that of a token as it grows with D. */
static double work_of(const gka_golden_spec *spec) {
    const gka_generator g = gka_golden_generator(spec);
    const double D = (double)g.D;
    return (double)g.B * (double)g.T * (double)g.H * (D * D * D + 1e4);
}

/* Whether a golden of this spec by this version stands at path. */
static gka_status stands(const char *path, const gka_golden_spec *spec, bool *good,
                         gka_error *error) {
    gka_file *file = NULL;
    char *text = NULL;
    *good = false;
    if (access(path, F_OK) != 0)
        return GKA_OK;
    gka_status status = gka_golden_spec_text(spec, false, &text, error);
    if (status == GKA_OK)
        status = gka_file_open(path, &file, error);
    if (status == GKA_OK) {
        const char *const version = gka_file_metadata(file, "golden"),
                          *const gka = gka_file_metadata(file, "gka_version"),
                          *const made = gka_file_metadata(file, "spec");
        *good = version != NULL && strcmp(version, gka_golden_version) == 0 && gka != NULL &&
                strcmp(gka, gka_version()) == 0 && made != NULL && strcmp(made, text) == 0;
    }
    gka_file_close(file);
    gka_free(text);
    return status == GKA_BAD_FILE ? GKA_OK : status; /* not ours, or broken: made anew */
}

/* ---- the index ----------------------------------------------------------------------------- */

static json_t *entry_json(const gka_suite_case *one, const char *path, gka_error *error,
                          gka_status *status) {
    gka_file *file = NULL;
    char sha[SHA256_DIGEST_STRING_LENGTH], name[96];
    *status = hash_of_file(path, sha, error);
    if (*status == GKA_OK)
        *status = gka_file_open(path, &file, error);
    if (*status != GKA_OK)
        return NULL;
    (void)snprintf(name, sizeof name, "%s.safetensors", one->name);
    json_t *const spec = json_loads(gka_file_metadata(file, "spec"), 0, NULL);
    json_t *const entry =
        spec == NULL
            ? NULL
            : json_pack("{s:s,s:s,s:s,s:s,s:o}", "name", one->name, "file", name, "sha256", sha,
                        "inputs_sha256", gka_file_metadata(file, "inputs_sha256"), "spec", spec);
    gka_file_close(file);
    if (entry == NULL)
        *status = no_memory(path, error);
    return entry;
}

static gka_status write_json(const char *path, const json_t *root, gka_error *error) {
    gka_output *output;
    gka_status status = gka_output_open(path, &output, error);
    if (status != GKA_OK)
        return status;
    const size_t flags = JSON_INDENT(2) | JSON_REAL_PRECISION(17);
    FILE *const stream = gka_output_stream(output);
    if (json_dumpf(root, stream, flags) != 0 && !ferror(stream)) {
        gka_output_abandon(output);
        return no_memory(path, error);
    }
    (void)fputc('\n', stream);
    return gka_output_close(output, error);
}

static gka_status write_index(const char *suite, const char *folder, gka_error *error) {
    gka_status status = GKA_OK;
    json_t *const cases = json_array();
    const gka_suite_case *one;
    for (size_t i = 0; (one = gka_suite_find(suite, i)) != NULL && status == GKA_OK; i++) {
        char *const path = path_in(folder, one->name, ".safetensors");
        json_t *const entry = path == NULL ? NULL : entry_json(one, path, error, &status);
        if (path == NULL || (entry != NULL && json_array_append_new(cases, entry) != 0))
            status = no_memory(folder, error);
        gka_free(path);
    }
    json_t *const root = status == GKA_OK ? json_pack("{s:s,s:s,s:s,s:O}", "suite", suite, "golden",
                                                      gka_golden_version, "gka_version",
                                                      gka_version(), "cases", cases)
                                          : NULL;
    char *const path = path_in(folder, "index.json", "");
    if (status == GKA_OK)
        status =
            root == NULL || path == NULL ? no_memory(folder, error) : write_json(path, root, error);
    json_decref(root);
    json_decref(cases);
    gka_free(path);
    return status;
}

/* ---- a suite ------------------------------------------------------------------------------- */

typedef struct meter {
    const gka_progress *progress;
    double done, step, total;
} meter;

static bool report_case(void *context, double done, double total) {
    const meter *const m = context;
    return gka_progress_report(m->progress, m->done + m->step * (total > 0 ? done / total : 1),
                               m->total);
}

static gka_status spec_of(const gka_suite_case *one, gka_golden_spec *spec, gka_error *error) {
    gka_golden_spec_start(spec);
    return gka_golden_spec_read(spec, one->spec, error);
}

static gka_status make_case(const char *folder, const gka_suite_case *one, meter *m,
                            gka_suite_report *report, gka_error *error) {
    gka_golden_spec spec;
    bool there = false;
    char *const path = path_in(folder, one->name, ".safetensors");
    gka_status status = path == NULL ? no_memory(folder, error) : spec_of(one, &spec, error);
    if (status == GKA_OK)
        status = stands(path, &spec, &there, error);
    if (status == GKA_OK) {
        const gka_progress progress = {.report = report_case, .context = m};
        m->step = work_of(&spec);
        if (!there)
            status = gka_golden_generate(&spec, NULL, path, &progress, error);
        m->done += m->step;
    }
    if (status == GKA_OK) {
        report->made += !there;
        report->kept += there;
    }
    gka_free(path);
    return status;
}

gka_status gka_suite_generate(const char *suite, const char *folder, const gka_progress *progress,
                              gka_suite_report *report, gka_error *error) {
    gka_suite_report own;
    gka_suite_report *const sum = report == NULL ? &own : report;
    meter m = {.progress = progress};
    const gka_suite_case *one;
    gka_status status = GKA_OK;
    *sum = (gka_suite_report){0};
    if (gka_suite_find(suite, 0) == NULL)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "no suite '%.60s': quick, kernel or edge was expected", suite);
    for (size_t i = 0; (one = gka_suite_find(suite, i)) != NULL && status == GKA_OK; i++) {
        gka_golden_spec spec;
        status = spec_of(one, &spec, error);
        m.total += work_of(&spec);
    }
    if (status == GKA_OK && mkdir(folder, 0777) != 0 && errno != EEXIST)
        status = gka_fail(error, GKA_IO, "%s: cannot be made: %s", folder, strerror(errno));
    for (size_t i = 0; (one = gka_suite_find(suite, i)) != NULL && status == GKA_OK; i++)
        status = make_case(folder, one, &m, sum, error);
    return status == GKA_OK ? write_index(suite, folder, error) : status;
}

/* ---- reading ------------------------------------------------------------------------------- */

static char *text_of(const json_t *object, const char *key) {
    const char *const text = json_string_value(json_object_get(object, key));
    return text == NULL ? NULL : gka_strdup(text);
}

static gka_status bad_index(const char *path, const char *what, gka_error *error) {
    return gka_fail(error, GKA_BAD_FILE, "%s: %.100s; the index of a suite was expected", path,
                    what);
}

static gka_status read_entries(const char *path, const json_t *root, gka_suite *suite,
                               gka_error *error) {
    const json_t *const cases = json_object_get(root, "cases");
    if (!json_is_array(cases))
        return bad_index(path, "no array 'cases'", error);
    suite->entries = gka_alloc(json_array_size(cases), sizeof *suite->entries);
    if (suite->entries == NULL)
        return no_memory(path, error);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *const one = json_array_get(cases, i);
        static const char *const keys[] = {"name", "file", "sha256"};
        for (int k = 0; k < 3; k++) {
            const char *const text = json_string_value(json_object_get(one, keys[k]));
            if (text == NULL || (k == 1 && strchr(text, '/') != NULL))
                return bad_index(path, "a case without name, file or sha256", error);
        }
        gka_suite_entry *const entry = &suite->entries[suite->count++];
        *entry =
            (gka_suite_entry){text_of(one, "name"), text_of(one, "file"), text_of(one, "sha256")};
        if (entry->name == NULL || entry->file == NULL || entry->sha256 == NULL)
            return no_memory(path, error);
    }
    return GKA_OK;
}

gka_status gka_suite_read(const char *folder, gka_suite *suite, gka_error *error) {
    *suite = (gka_suite){0};
    char *const path = path_in(folder, "index.json", "");
    if (path == NULL)
        return no_memory(folder, error);
    gka_status status;
    json_error_t why = {0};
    FILE *const file = fopen(path, "rb");
    json_t *const root = file == NULL ? NULL : json_loadf(file, JSON_REJECT_DUPLICATES, &why);
    if (file == NULL)
        status = gka_fail(error, GKA_IO,
                          "%s: cannot be opened: %s; a folder made by gka golden --suite was "
                          "expected",
                          path, strerror(errno));
    else if (root == NULL && why.text[0] == '\0')
        status = no_memory(folder, error);
    else if (root == NULL)
        status = bad_index(path, why.text, error);
    else
        status = read_entries(path, root, suite, error);
    if (file != NULL)
        (void)fclose(file);
    json_decref(root);
    gka_free(path);
    return status;
}

void gka_suite_free(gka_suite *suite) {
    for (size_t i = 0; i < suite->count; i++) {
        gka_free(suite->entries[i].name);
        gka_free(suite->entries[i].file);
        gka_free(suite->entries[i].sha256);
    }
    gka_free(suite->entries);
    *suite = (gka_suite){0};
}

gka_status gka_suite_check(const char *folder, const gka_suite_entry *entry, gka_error *error) {
    char is[SHA256_DIGEST_STRING_LENGTH];
    char *const path = path_in(folder, entry->file, "");
    gka_status status = path == NULL ? no_memory(folder, error) : hash_of_file(path, is, error);
    if (status == GKA_OK && strcmp(is, entry->sha256) != 0)
        status = gka_fail(error, GKA_BAD_FILE, "%s: hashes to %.12s...; %.12s... was expected",
                          path, is, entry->sha256);
    gka_free(path);
    return status;
}
