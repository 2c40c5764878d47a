/* against.c - gka judge, and gka verify --against: a candidate judged by a golden, or a folder of
 * candidates by a suite; tables, JSON, JUnit. */
#include "cli/against.h"
#include "cli/verdict.h"
#include "gka/format.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct request {
    cli *c;
    const cli_against *options;
    gka_golden_options how;
    bool *found;     /* of each map: a candidate has that tensor */
    char **required; /* names of --require, cut up */
    bool by_suite, failed;
    size_t judged; /* tensors, over all candidates */
    cli_json json;
    json_t *list;
    bool good;
    gka_output *junit;
} request;

/* ---- text ---------------------------------------------------------------------------------- */

/* What a row is judged against. */
static const char *against_text(const gka_golden_row *row, bool by_exact) {
    return row->by_through ? "through" : row->local ? "local" : by_exact ? "exact" : "steps";
}

static const char *verdict_text(const gka_golden_row *row) {
    if (row->tensor == NULL)
        return row->required ? "NO: missing" : "missing";
    return row->judged.ok == GKA_MEASURED ? "-" : row->judged.ok == GKA_PASS ? "yes" : "NO";
}

/* "[0,12,1,5]" */
static void print_place(char text[200], int rank, const int64_t *at) {
    int n = snprintf(text, 200, "[");
    for (int i = 0; i < rank; i++)
        n += snprintf(text + n, (size_t)(200 - n), "%s%lld", i == 0 ? "" : ",", (long long)at[i]);
    (void)snprintf(text + n, (size_t)(200 - n), "]");
}

static void print_mismatch(FILE *out, const char *which, const gka_golden_row *row,
                           const gka_mismatch *m) {
    char place[200];
    const int digits = gka_format_of_dtype(row->tensor->dtype)->bits / 4;
    print_place(place, m->at_rank, m->at);
    fprintf(out, "  %s %s%s: %.9g (0x%0*" PRIX64 "), %.9g (0x%0*" PRIX64 ") was expected\n", which,
            row->name, place, m->out, digits, m->out_bits, m->ref, digits, m->ref_bits);
}

/* Class i of the distances: "0: 10", "2..3: 1", "NaN: 2". */
static int put_distance(char *text, size_t room, int i, int64_t count) {
    const long long low = i == 0 ? 0 : 1LL << (i - 1), high = (1LL << i) - 1;
    if (i == GKA_DISTANCES - 1)
        return snprintf(text, room, "  NaN: %lld", (long long)count);
    if (i == GKA_DISTANCES - 2)
        return snprintf(text, room, "  %lld and more: %lld", low, (long long)count);
    if (i < 2)
        return snprintf(text, room, "  %d: %lld", i, (long long)count);
    return snprintf(text, room, "  %lld..%lld: %lld", low, high, (long long)count);
}

/* The classes that are not empty, in lines of at most CLI_WIDTH characters. */
static void print_distances(FILE *out, const gka_golden_row *row) {
    int used = fprintf(out, "  distances in steps of %s:", gka_dtype_name(row->tensor->dtype));
    for (int i = 0; i < GKA_DISTANCES; i++) {
        char text[80];
        if (row->judged.distances[i] == 0)
            continue;
        const int length = put_distance(text, sizeof text, i, row->judged.distances[i]);
        if (used + length > CLI_WIDTH)
            used = fprintf(out, "\n  ") - 1;
        fputs(text, out);
        used += length;
    }
    fputc('\n', out);
}

static int print_errors(const request *r, const gka_golden_verdict *v) {
    static const char *const headings[] = {"<tensor",   "<dtype", "error",     "<against",
                                           "tolerance", "row",    "tolerance", "<ok",
                                           "steps",     "local",  "inherited", "total"};
    cli_table table;
    cli_table_start(&table, headings, sizeof headings / sizeof *headings);
    for (size_t i = 0; i < v->row_count; i++) {
        const gka_golden_row *const row = &v->rows[i];
        const bool there = row->tensor != NULL;
        cli_cell(&table, "%s", row->name);
        cli_cell(&table, "%s", there ? gka_dtype_name(row->tensor->dtype) : "-");
        if (there)
            cli_cell_real(&table, row->judged.rel_err);
        else
            cli_cell(&table, "-");
        cli_cell(&table, "%s", there ? against_text(row, r->how.by_exact) : "-");
        cli_cell_real_or_dash(&table, row->tolerance);
        cli_cell_real_or_dash(&table, there ? row->row_error : NAN);
        cli_cell_real_or_dash(&table, row->row_tolerance);
        cli_cell(&table, "%s", verdict_text(row));
        cli_cell_real_or_dash(&table, there ? row->steps : NAN);
        cli_cell_real_or_dash(&table, there ? row->own : NAN);
        cli_cell_real_or_dash(&table, there ? row->inherited : NAN);
        cli_cell_real_or_dash(&table, there ? row->total : NAN);
    }
    return cli_table_print(&table, r->c->out) == GKA_OK ? CLI_GOOD : cli_out_of_memory(r->c);
}

static int print_words(cli *c, const gka_golden_verdict *v) {
    static const char *const headings[] = {"<tensor",    "FLA ratio", "<FLA < 0.005",
                                           "torch rtol", "with atol", "atol with rtol 0",
                                           "1 - cosine", "toward 0"};
    cli_table table;
    cli_table_start(&table, headings, sizeof headings / sizeof *headings);
    for (size_t i = 0; i < v->row_count; i++) {
        const gka_golden_row *const row = &v->rows[i];
        if (row->tensor == NULL)
            continue;
        cli_cell(&table, "%s", row->name);
        cli_cell_real(&table, row->fla_ratio);
        cli_cell(&table, "%s", row->fla_passes ? "passes" : "fails");
        cli_cell_real(&table, row->rtol);
        cli_cell_real(&table, row->atol);
        cli_cell_real(&table, row->atol_alone);
        cli_cell_real(&table, 1 - row->cosine);
        cli_cell(&table, "%.0f %%", 100 * row->toward_zero);
    }
    return cli_table_print(&table, c->out) == GKA_OK ? CLI_GOOD : cli_out_of_memory(c);
}

static void print_failure(FILE *out, const gka_golden_row *row) {
    if (isnan(row->tolerance))
        fprintf(out, "%s: error %.3g, without a tolerance\n", row->name, row->judged.rel_err);
    else
        fprintf(out,
                "%s: error %.3g %s %.3g; %lld of %lld elements off by more than tolerance * "
                "rms\n",
                row->name, row->judged.rel_err, row->judged.rel_err <= row->tolerance ? "<=" : ">",
                row->tolerance, (long long)row->mismatches, (long long)row->judged.count);
    if (row->row_error > row->row_tolerance) {
        char place[200];
        print_place(place, row->row_rank, row->row_at);
        fprintf(out, "  row %s%s: error %.3g > %.3g\n", row->name, place, row->row_error,
                row->row_tolerance);
    }
    if (row->mismatches > 0) {
        print_mismatch(out, "first", row, &row->first);
        print_mismatch(out, "worst", row, &row->worst);
    }
    print_distances(out, row);
}

static bool fails(const gka_golden_row *row) {
    return row->judged.ok == GKA_FAIL;
}

/* What the candidate calls the golden's tensor. */
static const char *their_name(const request *r, const char *ours) {
    for (size_t i = 0; i < r->how.map_count; i++)
        if (strcmp(r->how.ours[i], ours) == 0)
            return r->how.theirs[i];
    return ours;
}

static void print_failures(const request *r, FILE *out, const gka_golden_verdict *v) {
    bool converged = false;
    for (size_t i = 0; i < v->row_count; i++) {
        const gka_golden_row *const row = &v->rows[i];
        if (!fails(row))
            continue;
        if (row->tensor == NULL) {
            cli_say(out, "%s: required, and missing\n", their_name(r, row->name));
            continue;
        }
        print_failure(out, row);
        if (row->non_finite > 0)
            fprintf(out, "  %lld elements are NaN or infinite where the reference is finite\n",
                    (long long)row->non_finite);
        if (row->required && row->lacking != NULL)
            fprintf(out, "  required, and cannot be judged without '%s'\n", row->lacking);
        else if (row->required && isnan(row->tolerance))
            fputs("  required, and the golden has no tolerance: right kernels are too far apart\n",
                  out);
        if (row->too_narrow)
            cli_say(out,
                    "  %s does not hold these values: rounded to it the reference itself fails\n",
                    gka_dtype_name(row->tensor->dtype));
        if (row->other_passes)
            fprintf(out,
                    row->by_through
                        ? "  would pass as the implicit gradient: --gradients=implicit\n"
                        : "  would pass as the derivative of the num_iter steps, as by autograd "
                          "(error %.3g, tolerance %.3g): --gradients=through\n",
                    row->through, row->through_tolerance);
        if (row->turned)
            fprintf(out, "  its bytes fit as %s: %s\n",
                    r->how.heads_first ? "[B,T,H,..]" : "[B,H,T,..]",
                    "axes in another order, or a view stored without its strides");
        converged |= !r->how.by_exact && !row->local && row->total <= row->tolerance;
    }
    if (converged)
        fputs("note: as near as asked to the exact value, not to num_iter steps; a solver that "
              "converges: --reference=exact\n",
              out);
}

static bool is_input(const char *name) {
    for (const char *const *input = gka_problem_names; *input != NULL; input++)
        if (strcmp(*input, name) == 0)
            return true;
    return strncmp(name, "ref.", 4) == 0 || strncmp(name, "given.", 6) == 0;
}

/* A tensor of the candidate that nothing looks at may be one that was meant to be judged. */
static void note_unjudged(const request *r, FILE *out, const gka_file *file,
                          const gka_golden_verdict *v) {
    for (size_t i = 0; i < gka_file_count(file); i++) {
        const char *const name = gka_file_tensor(file, i)->name;
        bool known = is_input(name);
        cli_nearest nearest = cli_nearest_to(name);
        for (size_t j = 0; j < v->row_count && !known; j++) {
            known = v->rows[j].tensor != NULL && strcmp(v->rows[j].tensor->name, name) == 0;
            if (v->rows[j].tensor == NULL)
                cli_nearest_try(&nearest, their_name(r, v->rows[j].name));
        }
        char hint[96];
        if (!known)
            cli_say(out, "note: tensor '%s' is not judged%s\n", name,
                    cli_nearest_hint(&nearest, hint));
    }
}

static void note_unread(FILE *out, const gka_file *file) {
    for (size_t i = 0; i < gka_file_unread_count(file); i++)
        cli_say(out, "note: tensor '%s' is not judged: its type or rank cannot be read\n",
                gka_file_unread(file, i)->name);
}

/* The outputs without a verdict, each with the number of candidates. */
enum { NAMES = 32 }; /* of the layer and of a server: 21 */
typedef struct silence {
    const char *names[NAMES];
    size_t candidates[NAMES], count;
    bool missing; /* some are, and were not required */
} silence;

static void add_silent(silence *s, const gka_golden_verdict *v) {
    for (size_t i = 0; i < v->row_count; i++) {
        const gka_golden_row *const row = &v->rows[i];
        const bool missing = row->tensor == NULL;
        size_t at = 0;
        if (missing ? row->required : row->judged.ok != GKA_MEASURED)
            continue;
        s->missing |= missing;
        while (at < s->count && strcmp(s->names[at], row->name) != 0)
            at++;
        if (at == NAMES)
            continue;
        s->names[at] = row->name;
        s->candidates[at]++;
        s->count += at == s->count;
    }
}

/* The last line: exit code 0 does not speak of these. */
static void print_silent(const request *r, FILE *out, const silence *s) {
    if (s->count == 0)
        return;
    fprintf(out, "no verdict on%s", r->by_suite ? " (in how many cases)" : "");
    for (size_t i = 0; i < s->count; i++) {
        cli_say(out, "%s %s", i == 0 ? ":" : ",", their_name(r, s->names[i]));
        if (r->by_suite)
            fprintf(out, " %zu", s->candidates[i]);
    }
    fprintf(out, "%s\n", s->missing ? "; what is missing fails with --require=NAME,..|all" : "");
}

static void print_notes(const request *r, const gka_file *file, const gka_golden_verdict *v) {
    FILE *const out = r->c->out;
    silence silent = {0};
    print_failures(r, out, v);
    note_unjudged(r, out, file, v);
    note_unread(out, file);
    for (size_t i = 0; i < v->row_count; i++) {
        const gka_golden_row *const row = &v->rows[i];
        if (row->tensor == NULL)
            continue;
        if (row->judged.ok == GKA_MEASURED && row->lacking != NULL)
            fprintf(out, "note: tensor '%s' cannot be judged without '%s'\n", row->name,
                    row->lacking);
        else if (row->judged.ok == GKA_MEASURED)
            fprintf(out,
                    "note: tensor '%s' is not judged: right kernels are too far apart here for a "
                    "tolerance\n",
                    row->name);
        if (row->symmetric)
            fprintf(out, "note: tensor '%s' is symmetric, so judged by the symmetric part\n",
                    row->name);
    }
    size_t required = 0; /* and missing, which no one has judged */
    for (size_t i = 0; i < v->row_count; i++)
        required += v->rows[i].tensor == NULL && v->rows[i].required;
    fprintf(out, "%zu judged, %zu failed", v->judged, v->failed);
    if (required > 0)
        fprintf(out, " (%zu required and missing)", required);
    fprintf(out, ", %zu missing, %zu not judged\n", v->missing, v->unjudged);
    add_silent(&silent, v);
    print_silent(r, out, &silent);
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static json_t *json_mismatch(const gka_golden_row *row, const gka_mismatch *m, bool *good) {
    cli_builder o = {json_object(), true}, at = {json_array(), true};
    const int digits = gka_format_of_dtype(row->tensor->dtype)->bits / 4;
    char hex[24];
    for (int i = 0; i < m->at_rank; i++)
        at.good &= json_array_append_new(at.value, json_integer(m->at[i])) == 0;
    cli_put(&o, "at", at.value);
    cli_put(&o, "out", cli_json_real(m->out));
    cli_put(&o, "expected", cli_json_real(m->ref));
    (void)snprintf(hex, sizeof hex, "0x%0*" PRIX64, digits, m->out_bits);
    cli_put(&o, "out_hex", json_string(hex));
    (void)snprintf(hex, sizeof hex, "0x%0*" PRIX64, digits, m->ref_bits);
    cli_put(&o, "expected_hex", json_string(hex));
    *good &= o.good && at.good;
    return o.value;
}

static json_t *json_row(const gka_golden_row *row, bool by_exact, bool *good) {
    cli_builder o = {json_object(), true};
    cli_put(&o, "name", json_string(row->name));
    cli_put(&o, "tolerance", cli_json_real_or_null(row->tolerance));
    cli_put(&o, "row_tolerance", cli_json_real_or_null(row->row_tolerance));
    cli_put(&o, "ok",
            row->judged.ok == GKA_MEASURED ? json_null()
                                           : json_boolean(row->judged.ok == GKA_PASS));
    cli_put(&o, "missing", json_boolean(row->tensor == NULL));
    cli_put(&o, "required", json_boolean(row->required));
    if (row->tensor != NULL) {
        cli_builder distances = {json_array(), true};
        for (int i = 0; i < GKA_DISTANCES; i++)
            distances.good &=
                json_array_append_new(distances.value, json_integer(row->judged.distances[i])) == 0;
        cli_put(&o, "dtype", json_string(gka_dtype_name(row->tensor->dtype)));
        cli_put(&o, "against", json_string(against_text(row, by_exact)));
        cli_put(&o, "lacking", row->lacking == NULL ? json_null() : json_string(row->lacking));
        cli_put(&o, "error", cli_json_real(row->judged.rel_err));
        cli_put(&o, "row_error", cli_json_real(row->row_error));
        cli_put(&o, "steps", cli_json_real(row->steps));
        cli_put(&o, "local", cli_json_real_or_null(row->own));
        cli_put(&o, "inherited", cli_json_real_or_null(row->inherited));
        cli_put(&o, "total", cli_json_real(row->total));
        cli_put(&o, "through", cli_json_real_or_null(row->through));
        cli_put(&o, "other_passes", json_boolean(row->other_passes));
        cli_put(&o, "max_ulp", cli_json_count(row->judged.max_ulp));
        cli_put(&o, "non_finite", json_integer(row->non_finite));
        cli_put(&o, "turned", json_boolean(row->turned));
        cli_put(&o, "mismatches", json_integer(row->mismatches));
        if (row->mismatches > 0) {
            cli_put(&o, "first", json_mismatch(row, &row->first, &o.good));
            cli_put(&o, "worst", json_mismatch(row, &row->worst, &o.good));
        }
        cli_put(&o, "distances", distances.value);
        cli_put(&o, "fla_ratio", cli_json_real(row->fla_ratio));
        cli_put(&o, "fla_passes", json_boolean(row->fla_passes));
        cli_put(&o, "torch_rtol", cli_json_real(row->rtol));
        cli_put(&o, "torch_atol", cli_json_real(row->atol));
        cli_put(&o, "atol_at_rtol_0", cli_json_real(row->atol_alone));
        cli_put(&o, "cosine", cli_json_real(row->cosine));
        cli_put(&o, "toward_zero", cli_json_real(row->toward_zero));
        o.good &= distances.good;
    }
    *good &= o.good;
    return o.value;
}

static void add_json(request *r, const char *path, const char *golden,
                     const gka_golden_verdict *v) {
    cli_builder o = {json_object(), true}, rows = {json_array(), true};
    for (size_t i = 0; i < v->row_count; i++)
        cli_append(&rows, json_row(&v->rows[i], r->how.by_exact, &rows.good));
    cli_put(&o, "file", cli_json_text(path));
    cli_put(&o, "against", cli_json_text(golden));
    cli_put(&o, "tensors", rows.value);
    cli_put(&o, "judged", json_integer((json_int_t)v->judged));
    cli_put(&o, "failed", json_integer((json_int_t)v->failed));
    cli_put(&o, "missing", json_integer((json_int_t)v->missing));
    cli_put(&o, "unjudged", json_integer((json_int_t)v->unjudged));
    r->good = r->good && o.good && rows.good;
    r->good &= json_array_append_new(r->list, o.value) == 0;
}

/* A candidate that a suite lacks. */
static void add_json_absent(request *r, const char *path, const char *golden) {
    cli_builder o = {json_object(), true};
    cli_put(&o, "file", cli_json_text(path));
    cli_put(&o, "against", cli_json_text(golden));
    cli_put(&o, "absent", json_true());
    cli_put(&o, "required", json_boolean(r->options->require != NULL));
    cli_put(&o, "failed", json_integer(r->options->require != NULL));
    r->good = r->good && o.good;
    r->good &= json_array_append_new(r->list, o.value) == 0;
}

/* ---- JUnit --------------------------------------------------------------------------------- */

/* Escaped first as on a terminal: XML has no control characters, and this file is UTF-8. */
static void put_xml(FILE *out, const char *foreign) {
    char plain[4 * 4096 + 1];
    const char *text = plain;
    cli_plain(plain, sizeof plain, foreign);
    for (; *text != '\0'; text++)
        switch (*text) {
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '&': fputs("&amp;", out); break;
        case '"': fputs("&quot;", out); break;
        default: fputc(*text, out); break;
        }
}

/* One suite for each candidate, one case for each tensor. */
static void add_junit(const request *r, const char *path, const gka_golden_verdict *v) {
    FILE *const out = gka_output_stream(r->junit);
    fputs("  <testsuite name=\"", out);
    put_xml(out, path);
    fprintf(out, "\" tests=\"%zu\" failures=\"%zu\" skipped=\"%zu\">\n", v->row_count, v->failed,
            v->row_count - v->judged);
    for (size_t i = 0; i < v->row_count; i++) {
        const gka_golden_row *const row = &v->rows[i];
        fprintf(out, "    <testcase classname=\"gka\" name=\"%s\"", row->name);
        if (row->tensor == NULL)
            fprintf(out, "><%s message=\"%s\"/></testcase>\n",
                    row->required ? "failure" : "skipped",
                    row->required ? "required, and missing" : "missing");
        else if (row->judged.ok == GKA_MEASURED)
            fprintf(out, "><skipped message=\"%s\"/></testcase>\n",
                    row->lacking != NULL ? "cannot be judged without its upstream tensors"
                                         : "no tolerance");
        else if (row->judged.ok == GKA_FAIL)
            fprintf(out,
                    "><failure message=\"error %.3g, tolerance %.3g; row error "
                    "%.3g, tolerance %.3g\"/></testcase>\n",
                    row->judged.rel_err, row->tolerance, row->row_error, row->row_tolerance);
        else
            fputs("/>\n", out);
    }
    fputs("  </testsuite>\n", out);
}

static void add_junit_absent(const request *r, const char *path) {
    FILE *const out = gka_output_stream(r->junit);
    const bool required = r->options->require != NULL;
    fputs("  <testsuite name=\"", out);
    put_xml(out, path);
    fprintf(out,
            "\" tests=\"1\" failures=\"%d\" skipped=\"%d\">\n"
            "    <testcase classname=\"gka\" name=\"file\"><%s message=\"%smissing\"/></testcase>\n"
            "  </testsuite>\n",
            required, !required, required ? "failure" : "skipped",
            required ? "required, and " : "");
}

/* ---- one candidate ------------------------------------------------------------------------- */

/* The verdict on one candidate, into the reports; v is the caller's to free, whatever comes. */
static int judge_file(request *r, const gka_file *golden, const char *path, gka_file **file,
                      gka_golden_verdict *v) {
    cli *const c = r->c;
    *v = (gka_golden_verdict){0};
    int code = cli_open(c, path, file);
    if (code != CLI_GOOD)
        return code;
    gka_error error = {0};
    const gka_status status = gka_golden_judge(*file, golden, &r->how, v, &error);
    code = cli_outcome(c, status, &error);
    for (size_t i = 0; i < r->how.map_count && code == CLI_GOOD; i++)
        r->found[i] |= gka_file_find(*file, r->how.theirs[i]) != NULL;
    if (code == CLI_GOOD && r->json.path != NULL)
        add_json(r, path, gka_file_path(golden), v);
    if (code == CLI_GOOD && r->junit != NULL)
        add_junit(r, path, v);
    return code;
}

static int print_verdict(const request *r, const gka_file *file, const gka_golden_verdict *v) {
    int code = print_errors(r, v);
    fputc('\n', r->c->out);
    if (code == CLI_GOOD)
        code = print_words(r->c, v);
    fputc('\n', r->c->out);
    print_notes(r, file, v);
    return code;
}

gka_status cli_verdict_texts(const gka_file *candidate, const gka_file *golden,
                             const gka_golden_options *options, const gka_golden_verdict *verdict,
                             char **text, char **json, gka_error *error) {
    size_t size = 0, json_size = 0;
    FILE *const out = open_memstream(text, &size), *const figures =
                                                       open_memstream(json, &json_size);
    cli c = {.name = "judge", .out = out, .err = out};
    request r = {.c = &c, .how = *options, .list = json_array(), .good = true};
    bool good = out != NULL && figures != NULL && r.list != NULL;
    const locale_t before = cli_plain_locale();
    if (good && print_verdict(&r, candidate, verdict) == CLI_GOOD)
        add_json(&r, gka_file_path(candidate), gka_file_path(golden), verdict);
    good =
        good && r.good &&
        json_dumpf(json_array_get(r.list, 0), figures, JSON_COMPACT | JSON_REAL_PRECISION(17)) == 0;
    cli_own_locale(before);
    json_decref(r.list);
    good = (out == NULL || fclose(out) == 0) && good;
    good = (figures == NULL || fclose(figures) == 0) && good;
    if (good)
        return GKA_OK;
    if (out != NULL)
        free(*text);
    if (figures != NULL)
        free(*json);
    *text = *json = NULL;
    return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory for the text of a verdict");
}

static int judge_one(request *r, const gka_file *golden, const char *path) {
    cli *const c = r->c;
    gka_file *file = NULL;
    gka_golden_verdict v;
    int code = judge_file(r, golden, path, &file, &v);
    r->failed |= v.failed > 0;
    r->judged += v.judged;
    if (code == CLI_GOOD && !cli_json_takes_stdout(&r->json)) {
        cli_say(c->out, "%s against %s\n\n", path, r->options->golden);
        code = print_verdict(r, file, &v);
    }
    gka_golden_verdict_free(&v);
    gka_file_close(file);
    return code;
}

/* ---- suites -------------------------------------------------------------------------------- */

/* What stands of a folder's verdict: the table of cases, notes on what fails, the sums. */
typedef struct summary {
    cli_table table;
    char *notes; /* memory stream */
    size_t notes_size;
    FILE *stream;
    size_t cases, judged, failed, missing, unjudged, absent;
    silence silent;
} summary;

/* The judged tensor with the largest error / tolerance; NULL: none is judged. */
static const gka_golden_row *worst_row(const gka_golden_verdict *v) {
    const gka_golden_row *worst = NULL;
    double most = -1;
    for (size_t i = 0; i < v->row_count; i++) {
        const gka_golden_row *const row = &v->rows[i];
        if (row->tensor == NULL || row->judged.ok == GKA_MEASURED)
            continue;
        const double share = isnan(row->row_tolerance) ? row->judged.rel_err / row->tolerance
                                                       : fmax(row->judged.rel_err / row->tolerance,
                                                              row->row_error / row->row_tolerance);
        if (isnan(share) || share > most) {
            most = isnan(share) ? INFINITY : share;
            worst = row;
        }
    }
    return worst;
}

static void add_case(summary *s, const char *name, const gka_golden_verdict *v) {
    const gka_golden_row *const worst = worst_row(v);
    cli_cell(&s->table, "%s", name);
    cli_cell(&s->table, "%zu", v->judged);
    cli_cell(&s->table, "%zu", v->failed);
    cli_cell(&s->table, "%zu", v->missing);
    cli_cell(&s->table, "%s", worst == NULL ? "-" : worst->name);
    cli_cell_real_or_dash(&s->table, worst == NULL ? NAN : worst->judged.rel_err);
    cli_cell_real_or_dash(&s->table, worst == NULL ? NAN : worst->tolerance);
    cli_cell(&s->table, "%s", v->judged == 0 ? "-" : v->failed > 0 ? "NO" : "yes");
    s->judged += v->judged;
    s->failed += v->failed;
    s->missing += v->missing;
    s->unjudged += v->unjudged;
    add_silent(&s->silent, v);
}

static void add_absent(const request *r, summary *s, const char *name) {
    cli_cell(&s->table, "%s", name);
    for (int i = 0; i < 6; i++)
        cli_cell(&s->table, "-");
    cli_cell(&s->table, "%s", r->options->require != NULL ? "NO: missing" : "missing");
    s->absent++;
}

/* What is to be said of a case beside its line in the table. */
static void note_case(const request *r, FILE *out, const char *name, const gka_file *file,
                      const gka_golden_verdict *v) {
    const long start = ftell(out);
    fputc('\n', out);
    cli_say(out, "%s:\n", name);
    const long heading = ftell(out);
    print_failures(r, out, v);
    note_unjudged(r, out, file, v);
    note_unread(out, file);
    if (ftell(out) == heading) /* nothing */
        (void)fseek(out, start, SEEK_SET);
}

static int judge_case(request *r, summary *s, const char *folder, const gka_suite_entry *entry) {
    cli *const c = r->c;
    const size_t size = strlen(folder) + strlen(r->options->golden) + strlen(entry->file) + 2;
    char *const path = gka_alloc(2 * size, 1);
    if (path == NULL)
        return cli_out_of_memory(c);
    char *const golden_path = path + size;
    (void)snprintf(path, size, "%s/%s", folder, entry->file);
    (void)snprintf(golden_path, size, "%s/%s", r->options->golden, entry->file);
    s->cases++;
    int code = CLI_GOOD;
    if (access(path, F_OK) != 0) {
        add_absent(r, s, entry->name);
        if (r->json.path != NULL)
            add_json_absent(r, path, golden_path);
        if (r->junit != NULL)
            add_junit_absent(r, path);
    } else {
        gka_file *golden = NULL, *file = NULL;
        gka_golden_verdict v = {0};
        gka_error error = {0};
        const gka_status status = gka_suite_check(r->options->golden, entry, &error);
        code = cli_outcome(c, status, &error);
        if (code == CLI_GOOD)
            code = cli_open(c, golden_path, &golden);
        if (code == CLI_GOOD)
            code = judge_file(r, golden, path, &file, &v);
        if (code == CLI_GOOD) {
            add_case(s, entry->name, &v);
            note_case(r, s->stream, entry->name, file, &v);
        }
        gka_golden_verdict_free(&v);
        gka_file_close(file);
        gka_file_close(golden);
    }
    gka_free(path);
    return code;
}

static int print_summary(const request *r, summary *s, const char *folder) {
    cli *const c = r->c;
    if (cli_json_takes_stdout(&r->json)) {
        cli_table_drop(&s->table);
        return CLI_GOOD;
    }
    cli_say(c->out, "%s against %s\n\n", folder, r->options->golden);
    const int code = cli_table_print(&s->table, c->out) == GKA_OK ? CLI_GOOD : cli_out_of_memory(c);
    (void)fwrite(s->notes, 1, s->notes_size, c->out);
    fprintf(
        c->out,
        "\n%zu cases, %zu of them missing; %zu tensors judged, %zu failed, %zu missing, %zu not "
        "judged\n",
        s->cases, s->absent, s->judged, s->failed, s->missing, s->unjudged);
    print_silent(r, c->out, &s->silent);
    return code;
}

/* A folder of candidates by a folder of goldens: files of the same names. */
static int judge_folder(request *r, const gka_suite *suite, const char *folder) {
    static const char *const headings[] = {"<case",  "judged", "failed",    "missing",
                                           "<worst", "error",  "tolerance", "<ok"};
    cli *const c = r->c;
    summary s = {0};
    cli_table_start(&s.table, headings, sizeof headings / sizeof *headings);
    s.stream = open_memstream(&s.notes, &s.notes_size);
    int code = s.stream == NULL ? cli_out_of_memory(c) : CLI_GOOD;
    for (size_t i = 0; i < suite->count && code == CLI_GOOD; i++)
        code = judge_case(r, &s, folder, &suite->entries[i]);
    if (s.stream != NULL && fclose(s.stream) != 0 && code == CLI_GOOD)
        code = cli_out_of_memory(c);
    if (code == CLI_GOOD && s.absent == s.cases)
        code = cli_fail(c, "%s: none of the %zu files of %s; %s or another was expected", folder,
                        s.cases, r->options->golden,
                        suite->count > 0 ? suite->entries[0].file : "one");
    if (code == CLI_GOOD)
        code = print_summary(r, &s, folder);
    else
        cli_table_drop(&s.table);
    r->failed |= s.failed > 0 || (s.absent > 0 && r->options->require != NULL);
    r->judged += s.judged;
    free(s.notes);
    return code;
}

/* ---- the command --------------------------------------------------------------------------- */

/* A line unless outputs of the layer or of a server have that name; what: where it was said. */
static int check_output(cli *c, const char *what, const char *said) {
    static const char *const *const lists[] = {gka_verify_names, gka_serving_names};
    cli_nearest nearest = cli_nearest_to(said);
    for (int i = 0; i < 2; i++)
        for (const char *const *name = lists[i]; *name != NULL; name++) {
            if (strcmp(*name, said) == 0)
                return CLI_GOOD;
            cli_nearest_try(&nearest, *name);
        }
    char hint[96];
    return cli_fail(c, "%s: no output has that name%s", what, cli_nearest_hint(&nearest, hint));
}

/* THEIRS=OURS, OURS an output of the golden */
static int parse_maps(cli *c, const cli_texts *texts, const char **theirs, const char **ours) {
    for (size_t i = 0; i < texts->count; i++) {
        char *const equals = strchr(texts->text[i], '=');
        if (equals == NULL)
            return cli_fail(c, "--map %.80s: THEIRS=OURS was expected", texts->text[i]);
        *equals = '\0';
        theirs[i] = texts->text[i];
        ours[i] = equals + 1;
        char what[200];
        (void)snprintf(what, sizeof what, "--map %.80s=%.80s", theirs[i], ours[i]);
        const int code = check_output(c, what, ours[i]);
        if (code != CLI_GOOD)
            return code;
        for (size_t j = 0; j < i; j++)
            if (strcmp(ours[j], ours[i]) == 0)
                return cli_fail(c, "--map %.80s=%.80s: %s is mapped twice", theirs[i], ours[i],
                                ours[i]);
    }
    return CLI_GOOD;
}

/* --require=NAME,..|all */
static int parse_required(request *r) {
    cli *const c = r->c;
    if (r->options->require == NULL)
        return CLI_GOOD;
    r->how.all_required = strcmp(r->options->require, "all") == 0;
    if (r->how.all_required)
        return CLI_GOOD;
    size_t count = 1;
    for (const char *at = r->options->require; *at != '\0'; at++)
        count += *at == ',';
    r->required = gka_alloc(count, sizeof *r->required);
    if (r->required == NULL)
        return cli_out_of_memory(c);
    const char *from = r->options->require;
    for (size_t i = 0; i < count; i++) {
        const size_t length = strcspn(from, ",");
        r->required[i] = gka_alloc(length + 1, 1);
        if (r->required[i] == NULL)
            return cli_out_of_memory(c);
        memcpy(r->required[i], from, length);
        r->required[i][length] = '\0';
        from += length + (from[length] != '\0');
        r->how.required_count = i + 1;
        char what[100];
        (void)snprintf(what, sizeof what, "--require '%.80s'", r->required[i]);
        const int code = check_output(c, what, r->required[i]);
        if (code != CLI_GOOD)
            return code;
    }
    r->how.required = (const char *const *)r->required;
    return CLI_GOOD;
}

static void free_required(request *r) {
    for (size_t i = 0; r->required != NULL && i < r->how.required_count; i++)
        gka_free(r->required[i]);
    gka_free(r->required);
}

/* A name that no candidate has was probably mistyped. */
static int check_maps(const request *r) {
    for (size_t i = 0; i < r->how.map_count; i++)
        if (!r->found[i])
            return cli_fail(r->c, "--map %.80s=%.80s: no candidate has a tensor '%.80s'",
                            r->how.theirs[i], r->how.ours[i], r->how.theirs[i]);
    return CLI_GOOD;
}

static int start(request *r, const char *json) {
    int code = cli_json_open(r->c, json, &r->json);
    gka_error error = {0};
    if (code == CLI_GOOD && r->options->junit != NULL) {
        if (gka_output_open(r->options->junit, &r->junit, &error) != GKA_OK)
            return cli_report(r->c, &error);
        fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n",
              gka_output_stream(r->junit));
    }
    r->list = json_array();
    r->good = r->list != NULL;
    return code;
}

static int finish(request *r) {
    int code = CLI_GOOD;
    gka_error error = {0};
    if (r->junit != NULL) {
        fputs("</testsuites>\n", gka_output_stream(r->junit));
        if (gka_output_close(r->junit, &error) != GKA_OK)
            code = cli_report(r->c, &error);
        r->junit = NULL;
    }
    if (r->json.path == NULL)
        return code;
    json_t *const root = json_array_size(r->list) == 1 && !r->by_suite
                             ? json_incref(json_array_get(r->list, 0))
                             : r->list;
    if (root != r->list)
        json_decref(r->list);
    r->list = NULL;
    const int written = cli_json_close(r->c, &r->json, root, r->good);
    return code != CLI_GOOD ? code : written;
}

static int judge_by_suite(request *r) {
    cli *const c = r->c;
    gka_suite suite;
    gka_error error = {0};
    const gka_status status = gka_suite_read(r->options->golden, &suite, &error);
    int code = cli_outcome(c, status, &error);
    for (int i = 0; i < c->operand_count && code == CLI_GOOD; i++) {
        if (i > 0 && !cli_json_takes_stdout(&r->json))
            fputc('\n', c->out);
        code = cli_is_folder(c->operands[i])
                   ? judge_folder(r, &suite, c->operands[i])
                   : cli_fail(c, "%s: a folder was expected, for %s is one", c->operands[i],
                              r->options->golden);
    }
    gka_suite_free(&suite);
    return code;
}

static bool is_golden(const gka_file *file) {
    return gka_file_metadata(file, "golden") != NULL;
}

/* The last operand is no golden: was the first meant? */
static int check_order(cli *c, const gka_file *golden) {
    gka_file *first = NULL;
    gka_error error = {0};
    const bool turned = c->operand_count > 0 && !is_golden(golden) &&
                        gka_file_open(c->operands[0], &first, &error) == GKA_OK && is_golden(first);
    gka_file_close(first);
    return turned ? cli_fail(c, "%s is no golden, but %s is one: %s", gka_file_path(golden),
                             c->operands[0],
                             cli_given(c, "against") ? "--against names the golden"
                                                     : "the golden comes last")
                  : CLI_GOOD;
}

static int judge_by_golden(request *r) {
    cli *const c = r->c;
    gka_file *golden = NULL;
    int code = cli_open(c, r->options->golden, &golden);
    if (code == CLI_GOOD)
        code = check_order(c, golden);
    for (int i = 0; i < c->operand_count && code == CLI_GOOD; i++) {
        if (i > 0 && !cli_json_takes_stdout(&r->json))
            fputc('\n', c->out);
        code = judge_one(r, golden, c->operands[i]);
    }
    gka_file_close(golden);
    return code;
}

/* --given and --given-from; the file stays open. */
static int read_given(request *r, gka_file **from) {
    cli *const c = r->c;
    gka_error error = {0};
    if (r->options->given == NULL)
        return r->options->given_from == NULL ? CLI_GOOD
                                              : cli_fail(c, "--given-from needs --given=LIST");
    if (gka_given_read(r->options->given, &r->how.given, &error) != GKA_OK)
        return cli_report(c, &error);
    if (r->by_suite && r->options->given_from != NULL)
        return cli_fail(c, "--given-from has no meaning for a suite");
    const int code =
        r->options->given_from == NULL ? CLI_GOOD : cli_open(c, r->options->given_from, from);
    r->how.given_from = *from;
    return code;
}

int cli_verify_against(cli *c, const cli_against *options, const char *json) {
    request r = {.c = c, .options = options};
    const char **const theirs = gka_alloc(options->maps.count, sizeof *theirs);
    const char **const ours = gka_alloc(options->maps.count, sizeof *ours);
    r.found = gka_alloc(options->maps.count, sizeof *r.found);
    int code = theirs == NULL || ours == NULL || r.found == NULL
                   ? cli_out_of_memory(c)
                   : parse_maps(c, &options->maps, theirs, ours);
    r.by_suite = cli_is_folder(options->golden);
    r.how = (gka_golden_options){.theirs = theirs,
                                 .ours = ours,
                                 .map_count = options->maps.count,
                                 .heads_first = options->layout == 1,
                                 .gradients = (gka_gradient_kind)options->gradients,
                                 .by_exact = options->reference > 0};
    gka_file *given_from = NULL;
    if (code == CLI_GOOD)
        code = parse_required(&r);
    if (code == CLI_GOOD)
        code = read_given(&r, &given_from);
    if (code == CLI_GOOD)
        code = start(&r, json);
    if (code == CLI_GOOD)
        code = r.by_suite ? judge_by_suite(&r) : judge_by_golden(&r);
    if (code == CLI_GOOD)
        code = check_maps(&r);
    if (code == CLI_GOOD && r.judged == 0 && !r.failed)
        code = cli_fail(c,
                        "%s: nothing was judged: a tensor with a tolerance there, and those that "
                        "it follows from, were expected",
                        options->golden);
    if (code == CLI_GOOD)
        code = finish(&r);
    json_decref(r.list);
    cli_json_abandon(&r.json);
    gka_output_abandon(r.junit);
    gka_file_close(given_from);
    gka_free(theirs);
    gka_free(ours);
    gka_free(r.found);
    free_required(&r);
    return code != CLI_GOOD ? code : r.failed ? CLI_FAILS : CLI_GOOD;
}

/* ---- gka judge ----------------------------------------------------------------------------- */

static const char judge_notes[] =
    "Each output in CANDIDATE, a safetensors file, is judged by the tolerance that GOLDEN has\n"
    "for it. `gka golden` makes goldens and `gka show GOLDEN` prints one. The columns:\n"
    "\n"
    "  error      rel_err against NAME.steps, or against what the exact formulas make of the\n"
    "             candidate's own upstream tensors (x fro, solve.dq or layer.dq), whichever\n"
    "             is nearer\n"
    "  row        the largest error of a row, of a row's norm or of the mean one, with its\n"
    "             tolerance\n"
    "  inherited  how far the upstream tensors alone have moved the exact formulas' value\n"
    "  total      rel_err against NAME.exact\n"
    "\n"
    "and, against NAME.steps, in the words of other tests: flash-linear-attention's ratio; the\n"
    "smallest atol that torch.testing.assert_close passes with its own rtol for the type; the\n"
    "cosine; and, of the elements that differ, the share nearer to 0 than the reference: half\n"
    "of them where a kernel rounds to nearest, all where it cuts off. What fails is shown at\n"
    "its first and worst element, in decimal and in hex.\n"
    "\n"
    "Where GOLDEN is a folder (gka golden --suite), CANDIDATE is a folder of candidates of the\n"
    "same names, judged case by case; what it lacks is named. With --require a case without\n"
    "a candidate fails, too.\n"
    "\n"
    "NAME.steps is num_iter Chebyshev steps: a solver that converges (CG, Cholesky) is judged\n"
    "with --reference=exact, by NAME.exact in its place. A solve.dh0 that is symmetric is\n"
    "judged by the symmetric part of the reference.\n"
    "\n"
    "JSON: for one CANDIDATE an object {file, against, tensors, judged, failed, missing}, for\n"
    "several a list of them. A tensor's `distances` are how many elements lie 0, 1, 2..3,\n"
    "4..7, ... steps of the stored format from the reference, the last two 2^15 and more, and\n"
    "NaN. With --json=- no table is printed.\n"
    "\n"
    "An output without a verdict (the candidate lacks it, or the golden has no tolerance) is\n"
    "named in the last line; --require=NAME,..|all makes a failure of it.\n"
    "\n"
    "Exit code: 0 nothing fails, 1 a tensor fails, 2 usage or bad input, 3 internal.\n";

int cli_judge(cli *c) {
    cli_against against = {0};
    const char *json = NULL;
    static const cli_help help = {
        .operands = "CANDIDATE... GOLDEN", .notes = judge_notes, .least = 2, .most = -1};
    const cli_option options[] = {
        {"json", 0, CLI_OUT, &json, .value = "OUT", .help = "write the figures as JSON"},
        CLI_AGAINST_OPTIONS(against),
        {"layout", 0, CLI_CHOICE, &against.layout, .choices = "bthd|bhtd",
         .help = "axes of the candidate's token tensors (bthd)"},
        {.kind = CLI_END}};
    int code;
    if (!cli_parse(c, &help, options, &code))
        return code;
    against.golden = c->operands[--c->operand_count];
    return cli_verify_against(c, &against, json);
}
