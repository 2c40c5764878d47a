/* against.c - gka verify --against: a candidate judged by a golden; tables, JSON, JUnit. */
#include "cli/against.h"
#include "gka/format.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct request {
    cli *c;
    const cli_against *options;
    cli_json json;
    json_t *list;
    bool good;
    gka_output *junit;
} request;

/* ---- text ---------------------------------------------------------------------------------- */

static const char *verdict_text(const gka_golden_row *row) {
    if (row->tensor == NULL)
        return "missing";
    return row->judged.ok == GKA_MEASURED ? "-" : row->judged.ok == GKA_PASS ? "yes" : "NO";
}

/* "[0,12,1,5]" */
static void print_place(char text[200], const gka_mismatch *m) {
    int n = 0;
    for (int i = 0; i < m->at_rank; i++)
        n += snprintf(text + n, (size_t)(200 - n), "%s%lld", i == 0 ? "[" : ",",
                      (long long)m->at[i]);
    (void)snprintf(text + n, (size_t)(200 - n), "]");
}

static void print_mismatch(FILE *out, const char *which, const gka_golden_row *row,
                           const gka_mismatch *m) {
    char place[200];
    const int digits = gka_format_of_dtype(row->tensor->dtype)->bits / 4;
    print_place(place, m);
    fprintf(out, "  %s %s%s: %.9g (0x%0*" PRIX64 "), %.9g (0x%0*" PRIX64 ") was expected\n", which,
            row->name, place, m->out, digits, m->out_bits, m->ref, digits, m->ref_bits);
}

/* "0: 10, 1: 5, 2..3: 1, NaN: 2" */
static void print_distances(FILE *out, const gka_golden_row *row) {
    fprintf(out, "  distances in steps of %s:", gka_dtype_name(row->tensor->dtype));
    for (int i = 0; i < GKA_DISTANCES; i++) {
        const long long low = i == 0 ? 0 : 1LL << (i - 1), high = (1LL << i) - 1;
        if (row->judged.distances[i] == 0)
            continue;
        if (i == GKA_DISTANCES - 1)
            fprintf(out, "  NaN: %lld", (long long)row->judged.distances[i]);
        else if (i == GKA_DISTANCES - 2)
            fprintf(out, "  %lld and more: %lld", low, (long long)row->judged.distances[i]);
        else if (i < 2)
            fprintf(out, "  %d: %lld", i, (long long)row->judged.distances[i]);
        else
            fprintf(out, "  %lld..%lld: %lld", low, high, (long long)row->judged.distances[i]);
    }
    fputc('\n', out);
}

static void cell_or_dash(cli_table *table, double x) {
    if (isnan(x))
        cli_cell(table, "-");
    else
        cli_cell_real(table, x);
}

static int print_errors(cli *c, const gka_golden_verdict *v) {
    static const char *const headings[] = {"<tensor",   "<dtype", "error", "<against",
                                           "tolerance", "steps",  "local", "inherited",
                                           "total",     "<ok"};
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
        cli_cell(&table, "%s", !there ? "-" : row->local ? "local" : "steps");
        cell_or_dash(&table, row->tolerance);
        cell_or_dash(&table, there ? row->steps : NAN);
        cell_or_dash(&table, there ? row->own : NAN);
        cell_or_dash(&table, there ? row->inherited : NAN);
        cell_or_dash(&table, there ? row->total : NAN);
        cli_cell(&table, "%s", verdict_text(row));
    }
    return cli_table_print(&table, c->out) == GKA_OK ? CLI_GOOD : cli_out_of_memory(c);
}

static int print_words(cli *c, const gka_golden_verdict *v) {
    static const char *const headings[] = {"<tensor",    "FLA ratio", "<FLA < 0.005",
                                           "torch rtol", "with atol", "atol with rtol 0",
                                           "1 - cosine"};
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
    }
    return cli_table_print(&table, c->out) == GKA_OK ? CLI_GOOD : cli_out_of_memory(c);
}

static void print_notes(FILE *out, const gka_golden_verdict *v) {
    for (size_t i = 0; i < v->row_count; i++) {
        const gka_golden_row *const row = &v->rows[i];
        if (row->tensor == NULL)
            fprintf(out, "note: tensor '%s' is missing\n", row->name);
        else if (row->judged.ok == GKA_MEASURED && row->lacking != NULL)
            fprintf(out, "note: tensor '%s' cannot be judged without '%s'\n", row->name,
                    row->lacking);
        else if (isnan(row->tolerance))
            fprintf(out, "note: tensor '%s': right kernels are too far apart here to judge it\n",
                    row->name);
        if (row->tensor == NULL || row->judged.ok != GKA_FAIL)
            continue;
        fprintf(out,
                "%s: error %.3g > %.3g; %lld of %lld elements off by more than tolerance * "
                "rms\n",
                row->name, row->judged.rel_err, row->tolerance, (long long)row->mismatches,
                (long long)row->judged.count);
        if (row->mismatches > 0) {
            print_mismatch(out, "first", row, &row->first);
            print_mismatch(out, "worst", row, &row->worst);
        }
        print_distances(out, row);
    }
    fprintf(out, "%zu judged, %zu failed, %zu missing\n", v->judged, v->failed, v->missing);
}

/* ---- JSON ---------------------------------------------------------------------------------- */

typedef struct builder {
    json_t *value;
    bool good;
} builder;

static void put(builder *object, const char *key, json_t *value) {
    object->good &= json_object_set_new(object->value, key, value) == 0;
}

static json_t *real_or_null(double x) {
    return isnan(x) ? json_null() : cli_json_real(x);
}

static json_t *json_mismatch(const gka_golden_row *row, const gka_mismatch *m, bool *good) {
    builder o = {json_object(), true}, at = {json_array(), true};
    const int digits = gka_format_of_dtype(row->tensor->dtype)->bits / 4;
    char hex[24];
    for (int i = 0; i < m->at_rank; i++)
        at.good &= json_array_append_new(at.value, json_integer(m->at[i])) == 0;
    put(&o, "at", at.value);
    put(&o, "out", cli_json_real(m->out));
    put(&o, "expected", cli_json_real(m->ref));
    (void)snprintf(hex, sizeof hex, "0x%0*" PRIX64, digits, m->out_bits);
    put(&o, "out_hex", json_string(hex));
    (void)snprintf(hex, sizeof hex, "0x%0*" PRIX64, digits, m->ref_bits);
    put(&o, "expected_hex", json_string(hex));
    *good &= o.good && at.good;
    return o.value;
}

static json_t *json_row(const gka_golden_row *row, bool *good) {
    builder o = {json_object(), true};
    put(&o, "name", json_string(row->name));
    put(&o, "tolerance", real_or_null(row->tolerance));
    put(&o, "ok",
        row->tensor == NULL || row->judged.ok == GKA_MEASURED
            ? json_null()
            : json_boolean(row->judged.ok == GKA_PASS));
    put(&o, "missing", json_boolean(row->tensor == NULL));
    if (row->tensor != NULL) {
        builder distances = {json_array(), true};
        for (int i = 0; i < GKA_DISTANCES; i++)
            distances.good &=
                json_array_append_new(distances.value, json_integer(row->judged.distances[i])) == 0;
        put(&o, "dtype", json_string(gka_dtype_name(row->tensor->dtype)));
        put(&o, "against", json_string(row->local ? "local" : "steps"));
        put(&o, "lacking", row->lacking == NULL ? json_null() : json_string(row->lacking));
        put(&o, "error", cli_json_real(row->judged.rel_err));
        put(&o, "steps", cli_json_real(row->steps));
        put(&o, "local", real_or_null(row->own));
        put(&o, "inherited", real_or_null(row->inherited));
        put(&o, "total", cli_json_real(row->total));
        put(&o, "max_ulp", cli_json_count(row->judged.max_ulp));
        put(&o, "mismatches", json_integer(row->mismatches));
        if (row->mismatches > 0) {
            put(&o, "first", json_mismatch(row, &row->first, &o.good));
            put(&o, "worst", json_mismatch(row, &row->worst, &o.good));
        }
        put(&o, "distances", distances.value);
        put(&o, "fla_ratio", cli_json_real(row->fla_ratio));
        put(&o, "fla_passes", json_boolean(row->fla_passes));
        put(&o, "torch_rtol", cli_json_real(row->rtol));
        put(&o, "torch_atol", cli_json_real(row->atol));
        put(&o, "atol_at_rtol_0", cli_json_real(row->atol_alone));
        put(&o, "cosine", cli_json_real(row->cosine));
        o.good &= distances.good;
    }
    *good &= o.good;
    return o.value;
}

static void add_json(request *r, const char *path, const gka_golden_verdict *v) {
    builder o = {json_object(), true}, rows = {json_array(), true};
    for (size_t i = 0; i < v->row_count; i++)
        rows.good &= json_array_append_new(rows.value, json_row(&v->rows[i], &rows.good)) == 0;
    put(&o, "file", cli_json_text(path));
    put(&o, "against", cli_json_text(r->options->golden));
    put(&o, "tensors", rows.value);
    put(&o, "judged", json_integer((json_int_t)v->judged));
    put(&o, "failed", json_integer((json_int_t)v->failed));
    put(&o, "missing", json_integer((json_int_t)v->missing));
    r->good = r->good && o.good && rows.good;
    r->good &= json_array_append_new(r->list, o.value) == 0;
}

/* ---- JUnit --------------------------------------------------------------------------------- */

static void put_xml(FILE *out, const char *text) {
    for (; *text != '\0'; text++)
        switch (*text) {
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '&': fputs("&amp;", out); break;
        case '"': fputs("&quot;", out); break;
        default: fputc((unsigned char)*text < 32 ? '?' : *text, out); break;
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
        if (row->tensor == NULL || row->judged.ok == GKA_MEASURED)
            fprintf(out, "><skipped message=\"%s\"/></testcase>\n",
                    row->tensor == NULL ? "missing" : "no tolerance");
        else if (row->judged.ok == GKA_FAIL)
            fprintf(out, "><failure message=\"error %.3g, tolerance %.3g\"/></testcase>\n",
                    row->judged.rel_err, row->tolerance);
        else
            fputs("/>\n", out);
    }
    fputs("  </testsuite>\n", out);
}

/* ---- the command --------------------------------------------------------------------------- */

static int judge_one(request *r, const gka_file *golden, const char *path,
                     const gka_golden_options *options, bool *failed) {
    cli *const c = r->c;
    gka_file *file = NULL;
    int code = cli_open(c, path, &file);
    if (code != CLI_GOOD)
        return code;
    gka_golden_verdict v;
    gka_error error = {0};
    const gka_status status = gka_golden_judge(file, golden, options, &v, &error);
    code = cli_outcome(c, status, &error);
    if (code == CLI_GOOD) {
        *failed |= v.failed > 0;
        if (!cli_json_takes_stdout(&r->json)) {
            fprintf(c->out, "%s against %s\n\n", path, r->options->golden);
            code = print_errors(c, &v);
            fputc('\n', c->out);
            if (code == CLI_GOOD)
                code = print_words(c, &v);
            fputc('\n', c->out);
            print_notes(c->out, &v);
        }
        if (r->json.path != NULL)
            add_json(r, path, &v);
        if (r->junit != NULL)
            add_junit(r, path, &v);
    }
    gka_golden_verdict_free(&v);
    gka_file_close(file);
    return code;
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
        cli_nearest nearest = cli_nearest_to(ours[i]);
        bool known = false;
        for (const char *const *name = gka_verify_names; *name != NULL; name++) {
            known |= strcmp(*name, ours[i]) == 0;
            cli_nearest_try(&nearest, *name);
        }
        char hint[96];
        if (!known)
            return cli_fail(c, "--map %.80s=%.80s: no output has that name%s", theirs[i], ours[i],
                            cli_nearest_hint(&nearest, hint));
    }
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
    json_t *const root =
        json_array_size(r->list) == 1 ? json_incref(json_array_get(r->list, 0)) : r->list;
    if (root != r->list)
        json_decref(r->list);
    r->list = NULL;
    const int written = cli_json_close(r->c, &r->json, root, r->good);
    return code != CLI_GOOD ? code : written;
}

int cli_verify_against(cli *c, const cli_against *options, const char *json) {
    request r = {.c = c, .options = options};
    gka_file *golden = NULL;
    bool failed = false;
    const char **const theirs = gka_alloc(options->maps.count, sizeof *theirs);
    const char **const ours = gka_alloc(options->maps.count, sizeof *ours);
    int code = theirs == NULL || ours == NULL ? cli_out_of_memory(c)
                                              : parse_maps(c, &options->maps, theirs, ours);
    const gka_golden_options how = {.theirs = theirs,
                                    .ours = ours,
                                    .map_count = options->maps.count,
                                    .heads_first = options->layout == 1};
    if (code == CLI_GOOD)
        code = cli_open(c, options->golden, &golden);
    if (code == CLI_GOOD)
        code = start(&r, json);
    for (int i = 0; i < c->operand_count && code == CLI_GOOD; i++) {
        if (i > 0 && !cli_json_takes_stdout(&r.json))
            fputc('\n', c->out);
        code = judge_one(&r, golden, c->operands[i], &how, &failed);
    }
    if (code == CLI_GOOD)
        code = finish(&r);
    json_decref(r.list);
    cli_json_abandon(&r.json);
    gka_output_abandon(r.junit);
    gka_file_close(golden);
    gka_free(theirs);
    gka_free(ours);
    return code != CLI_GOOD ? code : failed ? CLI_FAILS : CLI_GOOD;
}
