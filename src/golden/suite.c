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

/* ---- the index ----------------------------------------------------------------------------- */

/* An entry is written once, when its golden has been made here. So a golden is kept where the index
 * speaks of it, with this spec and of this format, and its bytes hash to what is said there. */

/* The entry of that name, borrowed; NULL: none. */
static json_t *entry_of(const json_t *cases, const char *name) {
    size_t i;
    json_t *one;
    json_array_foreach(cases, i, one) {
        const char *const is = json_string_value(json_object_get(one, "name"));
        if (is != NULL && strcmp(is, name) == 0)
            return one;
    }
    return NULL;
}

static bool says(const json_t *entry, const char *key, const char *text) {
    const char *const is = json_string_value(json_object_get(entry, key));
    return is != NULL && strcmp(is, text) == 0;
}

/* What stands at path, by its entry. */
static gka_status look_at(const char *path, const json_t *entry, const char *spec,
                          gka_suite_state *state, gka_error *error) {
    char sha[SHA256_DIGEST_STRING_LENGTH];
    *state = GKA_SUITE_MISSING;
    if (access(path, F_OK) != 0)
        return GKA_OK;
    const gka_status status = hash_of_file(path, sha, error);
    json_t *const wanted = json_loads(spec, 0, NULL);
    if (status == GKA_OK && wanted == NULL)
        return no_memory(path, error);
    *state = entry == NULL                                         ? GKA_SUITE_UNLISTED
             : !says(entry, "golden", gka_golden_version)          ? GKA_SUITE_OTHER_FORMAT
             : !json_equal(json_object_get(entry, "spec"), wanted) ? GKA_SUITE_OTHER_SPEC
             : !says(entry, "sha256", sha)                         ? GKA_SUITE_DAMAGED
                                                                   : GKA_SUITE_KEPT;
    json_decref(wanted);
    return status;
}

static json_t *entry_json(const gka_suite_case *one, const char *path, const char *spec,
                          gka_error *error, gka_status *status) {
    gka_file *file = NULL;
    char sha[SHA256_DIGEST_STRING_LENGTH], name[96];
    *status = hash_of_file(path, sha, error);
    if (*status == GKA_OK)
        *status = gka_file_open(path, &file, error);
    if (*status != GKA_OK)
        return NULL;
    (void)snprintf(name, sizeof name, "%s.safetensors", one->name);
    json_t *const text = json_loads(spec, 0, NULL);
    json_t *const entry =
        text == NULL
            ? NULL
            : json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:o}", "name", one->name, "file", name, "sha256",
                        sha, "golden", gka_golden_version, "gka_version", gka_version(),
                        "inputs_sha256", gka_file_metadata(file, "inputs_sha256"), "spec", text);
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

/* The entries in the order of the suite's list. */
static gka_status write_index(const char *suite, const char *folder, const json_t *entries,
                              bool complete, gka_error *error) {
    json_t *const cases = json_array();
    bool good = cases != NULL;
    const gka_suite_case *one;
    for (size_t i = 0; (one = gka_suite_find(suite, i)) != NULL && good; i++) {
        json_t *const entry = entry_of(entries, one->name);
        good = entry == NULL || json_array_append(cases, entry) == 0;
    }
    json_t *const root = good ? json_pack("{s:s,s:s,s:b,s:O}", "suite", suite, "golden",
                                          gka_golden_version, "complete", complete, "cases", cases)
                              : NULL;
    char *const path = path_in(folder, "index.json", "");
    const gka_status status =
        root == NULL || path == NULL ? no_memory(folder, error) : write_json(path, root, error);
    json_decref(root);
    json_decref(cases);
    gka_free(path);
    return status;
}

/* The entries that stand in a folder; an empty list where there is no index, or none that can be
 * read: then nothing is known of what lies there. NULL where the index is another suite's. */
static gka_status old_entries(const char *suite, const char *folder, json_t **entries,
                              gka_error *error) {
    *entries = NULL;
    char *const path = path_in(folder, "index.json", "");
    if (path == NULL)
        return no_memory(folder, error);
    json_t *const root = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    json_t *const cases = json_object_get(root, "cases");
    const char *const is = json_string_value(json_object_get(root, "suite"));
    gka_status status = GKA_OK;
    if (is != NULL && strcmp(is, suite) != 0)
        status = gka_fail(error, GKA_BAD_FILE,
                          "%s: the index of suite '%.60s'; a folder of suite '%s', or a new one, "
                          "was expected",
                          path, is, suite);
    else if ((*entries = json_is_array(cases) ? json_incref(cases) : json_array()) == NULL)
        status = no_memory(folder, error);
    json_decref(root);
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

/* One case of a suite under way. */
typedef struct maker {
    const char *suite, *folder;
    json_t *entries;
    gka_suite_report *report;
    meter *meter;     /* NULL: nothing is made, only looked at */
    gka_share *share; /* byte 0 is held by who changes the index; a unit is a case */
    gka_error *error; /* of a unit */
    gka_status status;
} maker;

/* What other processes have written since. */
static gka_status read_again(maker *m, gka_error *error) {
    json_decref(m->entries);
    return old_entries(m->suite, m->folder, &m->entries, error);
}

static gka_status add_entry(maker *m, const gka_suite_case *one, json_t *entry, gka_error *error) {
    gka_status status = read_again(m, error);
    if (status != GKA_OK)
        return status;
    json_t *const old = entry_of(m->entries, one->name);
    const bool good = old != NULL
                          ? json_object_clear(old) == 0 && json_object_update(old, entry) == 0
                          : json_array_append(m->entries, entry) == 0;
    return good ? write_index(m->suite, m->folder, m->entries, false, error)
                : no_memory(m->folder, error);
}

static gka_status make_golden(maker *m, const gka_suite_case *one, const gka_golden_spec *spec,
                              const char *text, const char *path, gka_error *error) {
    const gka_progress progress = {.report = report_case, .context = m->meter};
    gka_status status = gka_golden_generate(spec, NULL, path, &progress, error);
    json_t *const entry = status == GKA_OK ? entry_json(one, path, text, error, &status) : NULL;
    if (status != GKA_OK)
        return status;
    (void)gka_share_take(m->share, true);
    status = add_entry(m, one, entry, error);
    gka_share_leave(m->share);
    json_decref(entry);
    return status;
}

static gka_status do_case(maker *m, const gka_suite_case *one, gka_error *error) {
    gka_golden_spec spec;
    gka_suite_state state = GKA_SUITE_MISSING;
    char *text = NULL, *const path = path_in(m->folder, one->name, ".safetensors");
    gka_status status = path == NULL ? no_memory(m->folder, error) : spec_of(one, &spec, error);
    if (status == GKA_OK)
        status = gka_golden_spec_text(&spec, false, &text, error);
    if (status == GKA_OK)
        status = look_at(path, entry_of(m->entries, one->name), text, &state, error);
    if (status == GKA_OK && m->report->tell != NULL)
        m->report->tell(m->report->context, one->name, state);
    const bool there = state == GKA_SUITE_KEPT;
    if (status == GKA_OK && m->meter != NULL) {
        m->meter->step = work_of(&spec);
        if (!there)
            status = make_golden(m, one, &spec, text, path, error);
        m->meter->done += m->meter->step;
    }
    if (status == GKA_OK) {
        m->report->made += !there;
        m->report->kept += there;
    }
    gka_free(text);
    gka_free(path);
    return status;
}

static gka_status no_suite(const char *suite, gka_error *error) {
    return gka_suite_find(suite, 0) != NULL
               ? GKA_OK
               : gka_fail(error, GKA_BAD_ARGUMENT,
                          "no suite '%.60s': quick, kernel or edge was expected", suite);
}

static gka_status each_case(maker *m, gka_error *error) {
    const gka_suite_case *one;
    gka_status status = GKA_OK;
    m->report->made = m->report->kept = 0;
    for (size_t i = 0; (one = gka_suite_find(m->suite, i)) != NULL && status == GKA_OK; i++)
        status = do_case(m, one, error);
    return status;
}

/* Case i, which may be there by now. */
static bool share_case(void *context, int64_t i) {
    maker *const m = context;
    m->status = read_again(m, m->error);
    if (m->status == GKA_OK)
        m->status = do_case(m, gka_suite_find(m->suite, (size_t)i), m->error);
    return m->status == GKA_OK;
}

static bool still_wanted(void *context) {
    const maker *const m = context;
    return gka_progress_report(m->meter->progress, m->meter->done, m->meter->total);
}

static gka_status share_cases(maker *m, gka_error *error) {
    int64_t count = 0;
    while (gka_suite_find(m->suite, (size_t)count) != NULL)
        count++;
    m->report->made = m->report->kept = 0;
    m->error = error;
    m->status = GKA_OK;
    const gka_status status = gka_share_units(m->share, count, share_case, still_wanted, m);
    return m->status != GKA_OK         ? m->status
           : status == GKA_INTERRUPTED ? gka_fail(error, GKA_INTERRUPTED, "interrupted")
           : status != GKA_OK          ? no_memory(m->folder, error)
                                       : GKA_OK;
}

/* The whole index, as it is once every case is there: none where somebody changed it meanwhile. */
static gka_status complete_index(maker *m, gka_error *error) {
    const gka_suite_case *one;
    (void)gka_share_take(m->share, true);
    gka_status status = read_again(m, error);
    for (size_t i = 0; (one = gka_suite_find(m->suite, i)) != NULL && status == GKA_OK; i++)
        if (entry_of(m->entries, one->name) == NULL)
            status =
                gka_fail(error, GKA_BAD_FILE,
                         "%s/index.json: was changed meanwhile and lacks case '%s'; gka golden "
                         "--suite=%s goes on with it",
                         m->folder, one->name, m->suite);
    if (status == GKA_OK)
        status = write_index(m->suite, m->folder, m->entries, true, error);
    gka_share_leave(m->share);
    return status;
}

/* All of a suite in a folder that is there. */
static gka_status fill_folder(maker *m, gka_error *error) {
    gka_status status = gka_share_open(m->folder, &m->share, error);
    if (status == GKA_OK)
        status = share_cases(m, error);
    if (status == GKA_OK)
        status = complete_index(m, error);
    gka_share_close(m->share);
    return status;
}

static gka_status make_folder(const char *folder, gka_error *error) {
    struct stat is;
    if (mkdir(folder, 0777) == 0)
        return GKA_OK;
    if (errno != EEXIST)
        return gka_fail(error, GKA_IO, "%s: cannot be made: %s", folder, strerror(errno));
    return stat(folder, &is) == 0 && S_ISDIR(is.st_mode)
               ? GKA_OK
               : gka_fail(error, GKA_IO, "%s: a folder, or the name of a new one, was expected",
                          folder);
}

gka_status gka_suite_generate(const char *suite, const char *folder, const gka_progress *progress,
                              gka_suite_report *report, gka_error *error) {
    gka_suite_report own = {0};
    meter work = {.progress = progress};
    maker m = {
        .suite = suite, .folder = folder, .report = report == NULL ? &own : report, .meter = &work};
    const gka_suite_case *one;
    gka_status status = no_suite(suite, error);
    for (size_t i = 0; (one = gka_suite_find(suite, i)) != NULL && status == GKA_OK; i++) {
        gka_golden_spec spec;
        status = spec_of(one, &spec, error);
        work.total += work_of(&spec);
    }
    if (status == GKA_OK)
        status = make_folder(folder, error);
    if (status == GKA_OK)
        status = fill_folder(&m, error);
    json_decref(m.entries);
    return status;
}

gka_status gka_suite_examine(const char *suite, const char *folder, gka_suite_report *report,
                             gka_error *error) {
    maker m = {.suite = suite, .folder = folder, .report = report};
    gka_status status = no_suite(suite, error);
    if (status == GKA_OK)
        status = old_entries(suite, folder, &m.entries, error);
    if (status == GKA_OK)
        status = each_case(&m, error);
    json_decref(m.entries);
    return status;
}

const char *gka_suite_state_text(gka_suite_state state) {
    static const char *const text[] = {[GKA_SUITE_KEPT] = "as the index has it",
                                       [GKA_SUITE_MISSING] = "missing",
                                       [GKA_SUITE_UNLISTED] = "not in the index",
                                       [GKA_SUITE_OTHER_FORMAT] = "of another format",
                                       [GKA_SUITE_OTHER_SPEC] = "of another spec",
                                       [GKA_SUITE_DAMAGED] =
                                           "not the bytes that the index speaks of"};
    return text[state];
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
    if (!says(root, "golden", gka_golden_version))
        return bad_index(path, "goldens of another format", error);
    if (!json_is_true(json_object_get(root, "complete")))
        return gka_fail(
            error, GKA_BAD_FILE,
            "%s: a suite whose making was interrupted; gka golden --suite=%.20s goes on "
            "with it",
            path,
            json_is_string(json_object_get(root, "suite"))
                ? json_string_value(json_object_get(root, "suite"))
                : "NAME");
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
