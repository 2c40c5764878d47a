/* audit.c - gka golden --audit: does a golden, or a suite of them, tell right from wrong? */
#include "cli/audit.h"

#include "cli/units.h"
#include "gka/audit.h"
#include "gka/problem.h"

#include <math.h>
#include <string.h>

/* ---- tables -------------------------------------------------------------------------------- */

static void cell_margin(cli_table *table, double margin) {
    if (isnan(margin))
        cli_cell(table, "-");
    else if (isinf(margin))
        cli_cell(table, "Inf");
    else
        cli_cell(table, margin < 100 ? "%.2f" : "%.0f", margin);
}

static const char *name_of(const gka_audit *audit, int row) {
    return row < 0 ? "-" : audit->rows[row].member.name;
}

static gka_status print_tensors(FILE *out, const gka_audit *audit) {
    static const char *const headings[] = {
        "<tensor", "tolerance", "largest accepted", "<by", "smallest rejected", "<by", "margin"};
    cli_table table;
    cli_table_start(&table, headings, sizeof headings / sizeof *headings);
    for (size_t t = 0; t < audit->tensor_count; t++) {
        const gka_audit_tensor *const tensor = &audit->tensors[t];
        cli_cell(&table, "%s", tensor->name);
        cli_cell_real_or_dash(&table, tensor->tolerance);
        cli_cell_real_or_dash(&table, tensor->accepted);
        cli_cell(&table, "%s", name_of(audit, tensor->accepted_by));
        cli_cell_real_or_dash(&table, tensor->rejected);
        cli_cell(&table, "%s", name_of(audit, tensor->rejected_by));
        cell_margin(&table, tensor->margin);
    }
    return cli_table_print(&table, out);
}

static const char *verdict_of(const gka_audit_row *row) {
    if (!row->applies)
        return "-";
    if (row->member.accept)
        return row->good ? "passes" : "FAILS";
    return row->good ? "caught" : "PASSES";
}

/* Whether a right kernel took part in making the tolerances. */
static const char *part_of(const gka_audit_row *row) {
    if (!row->applies || !row->member.accept)
        return "-";
    return row->took_part ? "made" : "independent";
}

/* The member, what became of it, and the tensor that says so. */
static gka_status print_members(FILE *out, const gka_audit *audit) {
    static const char *const headings[] = {"<panel",    "<member", "<tolerances",
                                           "<verdict",  "<tensor", "error",
                                           "tolerance", "slack",   "margin"};
    cli_table table;
    cli_table_start(&table, headings, sizeof headings / sizeof *headings);
    for (size_t i = 0; i < audit->row_count; i++) {
        const gka_audit_row *const row = &audit->rows[i];
        cli_cell(&table, "%s", row->member.accept ? "accept" : "reject");
        cli_cell(&table, "%s", row->member.name);
        cli_cell(&table, "%s", part_of(row));
        cli_cell(&table, "%s", verdict_of(row));
        cli_cell(&table, "%s", row->by < 0 ? "-" : audit->tensors[row->by].name);
        cli_cell_real_or_dash(&table, row->by < 0 ? NAN : row->errors[row->by]);
        cli_cell_real_or_dash(&table, row->by < 0 ? NAN : audit->tensors[row->by].tolerance);
        cell_margin(&table, row->slack);
        cell_margin(&table, row->margin);
    }
    return cli_table_print(&table, out);
}

/* What is to be said of some of the members: why one has no verdict, or is right. */
static gka_status print_notes(FILE *out, const gka_audit *audit) {
    static const char *const headings[] = {"<panel", "<member", "<note"};
    cli_table table;
    cli_table_start(&table, headings, sizeof headings / sizeof *headings);
    for (size_t i = 0; i < audit->row_count; i++) {
        const gka_audit_row *const row = &audit->rows[i];
        if (row->note[0] == '\0')
            continue;
        cli_cell(&table, "%s", row->member.accept ? "accept" : "reject");
        cli_cell(&table, "%s", row->member.name);
        cli_cell(&table, "%s", row->note);
    }
    if (table.count == 0) {
        cli_table_drop(&table);
        return GKA_OK;
    }
    fputc('\n', out);
    return cli_table_print(&table, out);
}

static bool not_told_apart(const gka_audit_row *row) {
    return row->applies && !row->member.accept && !(row->margin >= GKA_AUDIT_MARGIN);
}

/* Whether the words of a note, after its first, have that one. */
static bool has_word(const char *note, const char *word) {
    const size_t length = strlen(word);
    while ((note = strchr(note, ' ')) != NULL) {
        note++;
        if (strncmp(note, word, length) == 0 && (note[length] == ' ' || note[length] == '\0'))
            return true;
    }
    return false;
}

/* The tensors that right kernels make not finite, each name once. */
static void print_left_out(FILE *out, const char *of, const gka_audit *audit) {
    size_t kernels = 0;
    if (audit->left_out == 0)
        return;
    for (size_t i = 0; i < audit->row_count; i++)
        kernels += audit->rows[i].left_out > 0;
    cli_put_plain(out, of);
    fprintf(out, "not judged: %zu tensors of %zu right kernels are not finite:", audit->left_out,
            kernels);
    for (size_t t = 0; t < audit->tensor_count; t++) {
        const char *const name = audit->tensors[t].name;
        bool found = false;
        for (size_t i = 0; i < audit->row_count && !found; i++)
            found = audit->rows[i].left_out > 0 && has_word(audit->rows[i].note, name);
        if (found)
            fprintf(out, " %s", name);
    }
    fputc('\n', out);
}

static void print_summary(FILE *out, const gka_audit *audit) {
    print_left_out(out, "", audit);
    fprintf(out,
            "%zu of %zu right kernels pass (%zu of %zu took no part in making the tolerances), "
            "%zu of %zu mistakes are caught\n",
            audit->accepted, audit->accepts, audit->independent, audit->independents,
            audit->rejected, audit->rejects);
    for (size_t i = 0; i < audit->row_count; i++)
        if (not_told_apart(&audit->rows[i]))
            fprintf(out, "cannot tell apart: %s (%s): margin %.2f\n", audit->rows[i].member.name,
                    audit->rows[i].member.what, audit->rows[i].margin);
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static json_t *name_or_null(const gka_audit *audit, int row) {
    return row < 0 ? json_null() : json_string(audit->rows[row].member.name);
}

static json_t *json_tensor(const gka_audit *audit, const gka_audit_tensor *tensor, bool *good) {
    cli_builder o = {json_object(), true};
    cli_put(&o, "name", json_string(tensor->name));
    cli_put(&o, "tolerance", cli_json_real_or_null(tensor->tolerance));
    cli_put(&o, "accepted", cli_json_real_or_null(tensor->accepted));
    cli_put(&o, "accepted_by", name_or_null(audit, tensor->accepted_by));
    cli_put(&o, "rejected", cli_json_real_or_null(tensor->rejected));
    cli_put(&o, "rejected_by", name_or_null(audit, tensor->rejected_by));
    cli_put(&o, "margin", cli_json_real_or_null(tensor->margin));
    *good &= o.good;
    return o.value;
}

static json_t *json_member(const gka_audit *audit, const gka_audit_row *row, bool *good) {
    cli_builder o = {json_object(), true}, errors = {json_object(), true};
    cli_put(&o, "name", json_string(row->member.name));
    cli_put(&o, "what", json_string(row->member.what));
    cli_put(&o, "panel", json_string(row->member.accept ? "accept" : "reject"));
    cli_put(&o, "applies", json_boolean(row->applies));
    cli_put(&o, "note", cli_json_text(row->note));
    if (row->member.accept)
        cli_put(&o, "left_out", json_integer(row->left_out));
    cli_put(&o, "good", row->applies ? json_boolean(row->good) : json_null());
    if (row->member.accept)
        cli_put(&o, "took_part", row->applies ? json_boolean(row->took_part) : json_null());
    cli_put(&o, "slack", cli_json_real_or_null(row->slack));
    cli_put(&o, "margin", cli_json_real_or_null(row->margin));
    cli_put(&o, "by", row->by < 0 ? json_null() : json_string(audit->tensors[row->by].name));
    for (size_t t = 0; t < audit->tensor_count; t++)
        cli_put(&errors, audit->tensors[t].name, cli_json_real_or_null(row->errors[t]));
    cli_put(&o, "errors", errors.value);
    *good &= o.good && errors.good;
    return o.value;
}

static json_t *json_audit(const char *path, const gka_audit *audit, bool *good) {
    cli_builder o = {json_object(), true}, tensors = {json_array(), true},
                members = {json_array(), true};
    for (size_t t = 0; t < audit->tensor_count; t++)
        cli_append(&tensors, json_tensor(audit, &audit->tensors[t], good));
    for (size_t i = 0; i < audit->row_count; i++)
        cli_append(&members, json_member(audit, &audit->rows[i], good));
    cli_put(&o, "file", cli_json_text(path));
    cli_put(&o, "tensors", tensors.value);
    cli_put(&o, "members", members.value);
    cli_put(&o, "accepts", json_integer((json_int_t)audit->accepts));
    cli_put(&o, "accepted", json_integer((json_int_t)audit->accepted));
    cli_put(&o, "independents", json_integer((json_int_t)audit->independents));
    cli_put(&o, "independent", json_integer((json_int_t)audit->independent));
    cli_put(&o, "left_out", json_integer((json_int_t)audit->left_out));
    cli_put(&o, "rejects", json_integer((json_int_t)audit->rejects));
    cli_put(&o, "rejected", json_integer((json_int_t)audit->rejected));
    cli_put(&o, "margin", cli_json_real_or_null(audit->margin));
    *good &= o.good && tensors.good && members.good;
    return o.value;
}

/* ---- one golden ---------------------------------------------------------------------------- */

static int audit_file(cli *c, const char *path, gka_audit *audit) {
    gka_file *golden = NULL;
    int code = cli_open(c, path, &golden);
    *audit = (gka_audit){0};
    if (code != CLI_GOOD)
        return code;
    cli_progress bar;
    const gka_progress progress = cli_progress_start(&bar, c, path);
    gka_error error = {0};
    const gka_status status = gka_golden_audit(golden, &progress, audit, &error);
    cli_progress_end(&bar);
    code = cli_outcome(c, status, &error);
    gka_file_close(golden);
    return code;
}

static int audit_golden(cli *c, const cli_audit_request *r, cli_json *json) {
    gka_audit audit;
    int code = audit_file(c, r->path, &audit);
    if (code == CLI_GOOD && !cli_json_takes_stdout(json)) {
        const bool printed = print_tensors(c->out, &audit) == GKA_OK &&
                             (fputc('\n', c->out), print_members(c->out, &audit) == GKA_OK) &&
                             print_notes(c->out, &audit) == GKA_OK;
        if (printed)
            print_summary(c->out, &audit);
        else
            code = cli_out_of_memory(c);
    }
    bool good = true;
    if (code == CLI_GOOD && r->json != NULL) {
        json_t *const root = json_audit(r->path, &audit, &good);
        code = cli_json_close(c, json, root, good);
    }
    if (code == CLI_GOOD && audit.accepted < audit.accepts)
        code = CLI_FAILS;
    gka_audit_free(&audit);
    return code;
}

/* ---- a suite ------------------------------------------------------------------------------- */

/* What became of a mistake in all cases. */
typedef struct mistake {
    gka_audit_member member;
    size_t applies, caught;
    int best; /* the case with the largest margin; -1: none */
    double margin;
} mistake;

typedef struct audits {
    const gka_suite *suite;
    const char *folder;
    gka_audit *of; /* each case */
    char **paths;  /* of their goldens, and of the index */
    bool silent;   /* another process prints */
    mistake *mistakes;
    size_t mistake_count, caught, accepts, accepted, independents, independent;
} audits;

static void add_case(audits *a, size_t i) {
    const gka_audit *const audit = &a->of[i];
    a->accepts += audit->accepts;
    a->accepted += audit->accepted;
    a->independents += audit->independents;
    a->independent += audit->independent;
    for (size_t m = 0; m < audit->row_count; m++) {
        const gka_audit_row *const row = &audit->rows[m];
        mistake *const mine = &a->mistakes[m];
        mine->member = row->member;
        if (!row->applies || row->member.accept)
            continue;
        mine->applies++;
        mine->caught += row->good;
        if (mine->best < 0 || row->margin > mine->margin) {
            mine->best = (int)i;
            mine->margin = row->margin;
        }
    }
}

static gka_status print_cases(FILE *out, const audits *a) {
    static const char *const headings[] = {"<case", "<right kernels", "<mistakes caught", "margin",
                                           "<cannot tell apart"};
    cli_table table;
    cli_table_start(&table, headings, sizeof headings / sizeof *headings);
    for (size_t i = 0; i < a->suite->count; i++) {
        const gka_audit *const audit = &a->of[i];
        char names[240] = "";
        size_t used = 0;
        for (size_t m = 0; m < audit->row_count && used < sizeof names; m++)
            if (not_told_apart(&audit->rows[m]))
                used += (size_t)snprintf(names + used, sizeof names - used, "%s%s",
                                         used == 0 ? "" : " ", audit->rows[m].member.name);
        cli_cell(&table, "%s", a->suite->entries[i].name);
        cli_cell(&table, "%zu of %zu", audit->accepted, audit->accepts);
        cli_cell(&table, "%zu of %zu", audit->rejected, audit->rejects);
        cell_margin(&table, audit->margin);
        cli_cell(&table, "%s", names);
    }
    return cli_table_print(&table, out);
}

static gka_status print_mistakes(FILE *out, const audits *a) {
    static const char *const headings[] = {"<mistake", "<caught in", "<best case", "<tensor",
                                           "error",    "tolerance",  "margin",     "<what it is"};
    cli_table table;
    cli_table_start(&table, headings, sizeof headings / sizeof *headings);
    for (size_t m = 0; m < a->mistake_count; m++) {
        const mistake *const mine = &a->mistakes[m];
        if (mine->member.accept)
            continue;
        const gka_audit *const audit = mine->best < 0 ? NULL : &a->of[mine->best];
        const int by = audit == NULL ? -1 : audit->rows[m].by;
        cli_cell(&table, "%s", mine->member.name);
        cli_cell(&table, "%zu of %zu", mine->caught, mine->applies);
        cli_cell(&table, "%s", audit == NULL ? "-" : a->suite->entries[mine->best].name);
        cli_cell(&table, "%s", by < 0 ? "-" : audit->tensors[by].name);
        cli_cell_real_or_dash(&table, by < 0 ? NAN : audit->rows[m].errors[by]);
        cli_cell_real_or_dash(&table, by < 0 ? NAN : audit->tensors[by].tolerance);
        cell_margin(&table, mine->margin);
        cli_cell(&table, "%s", mine->member.what);
    }
    return cli_table_print(&table, out);
}

/* Right kernels that are left out or fail, mistakes that no case catches. */
static void print_failures(FILE *out, const audits *a) {
    for (size_t i = 0; i < a->suite->count; i++) {
        char of[80];
        (void)snprintf(of, sizeof of, "%.60s: ", a->suite->entries[i].name);
        print_left_out(out, of, &a->of[i]);
    }
    for (size_t i = 0; i < a->suite->count; i++)
        for (size_t m = 0; m < a->of[i].row_count; m++) {
            const gka_audit_row *const row = &a->of[i].rows[m];
            if (row->member.accept && row->applies && !row->good)
                cli_say(out, "%s: %s fails: %s %.3g > %.3g\n", a->suite->entries[i].name,
                        row->member.name, a->of[i].tensors[row->by].name, row->errors[row->by],
                        a->of[i].tensors[row->by].tolerance);
        }
    for (size_t m = 0; m < a->mistake_count; m++)
        if (!a->mistakes[m].member.accept && a->mistakes[m].caught == 0)
            fprintf(out,
                    a->mistakes[m].applies > 0 ? "no case catches %s\n" : "%s applies to no case\n",
                    a->mistakes[m].member.name);
    size_t mistakes = 0;
    for (size_t m = 0; m < a->mistake_count; m++)
        mistakes += !a->mistakes[m].member.accept;
    fprintf(out,
            "%zu case%s: %zu of %zu right kernels pass (%zu of %zu took no part in making the "
            "tolerances), %zu of %zu mistakes are caught\n",
            a->suite->count, a->suite->count == 1 ? "" : "s", a->accepted, a->accepts,
            a->independent, a->independents, a->caught, mistakes);
}

static json_t *json_mistake(const audits *a, const mistake *mine, bool *good) {
    cli_builder o = {json_object(), true};
    cli_put(&o, "name", json_string(mine->member.name));
    cli_put(&o, "what", json_string(mine->member.what));
    cli_put(&o, "applies", json_integer((json_int_t)mine->applies));
    cli_put(&o, "caught", json_integer((json_int_t)mine->caught));
    cli_put(&o, "best",
            mine->best < 0 ? json_null() : cli_json_text(a->suite->entries[mine->best].name));
    cli_put(&o, "margin", cli_json_real_or_null(mine->margin));
    *good &= o.good;
    return o.value;
}

static json_t *json_suite(const char *path, const audits *a, bool *good) {
    cli_builder o = {json_object(), true}, cases = {json_array(), true},
                mistakes = {json_array(), true};
    for (size_t i = 0; i < a->suite->count; i++)
        cli_append(&cases, json_audit(a->suite->entries[i].name, &a->of[i], good));
    for (size_t m = 0; m < a->mistake_count; m++)
        if (!a->mistakes[m].member.accept)
            cli_append(&mistakes, json_mistake(a, &a->mistakes[m], good));
    cli_put(&o, "suite", cli_json_text(path));
    cli_put(&o, "cases", cases.value);
    cli_put(&o, "accepts", json_integer((json_int_t)a->accepts));
    cli_put(&o, "accepted", json_integer((json_int_t)a->accepted));
    cli_put(&o, "independents", json_integer((json_int_t)a->independents));
    cli_put(&o, "independent", json_integer((json_int_t)a->independent));
    cli_put(&o, "mistakes", mistakes.value);
    *good &= o.good && cases.good && mistakes.good;
    return o.value;
}

static int audit_case(cli *c, const audits *a, size_t i) {
    const gka_suite_entry *const entry = &a->suite->entries[i];
    gka_error error = {0};
    const gka_status status = gka_suite_check(a->folder, entry, &error);
    if (status != GKA_OK)
        return cli_outcome(c, status, &error);
    return audit_file(c, a->paths[i], &a->of[i]);
}

/* ---- several processes ---------------------------------------------------------------------- */

/* All of an audit but what the panels say of themselves. */
static json_t *record_of(const gka_audit *audit, bool *good) {
    cli_builder o = {json_object(), true}, tensors = {json_array(), true},
                rows = {json_array(), true};
    for (size_t t = 0; t < audit->tensor_count; t++) {
        const gka_audit_tensor *const is = &audit->tensors[t];
        cli_append(&tensors,
                   json_pack("[s,o,o,o,i,i,o]", is->name, cli_json_real(is->tolerance),
                             cli_json_real(is->accepted), cli_json_real(is->rejected),
                             is->accepted_by, is->rejected_by, cli_json_real(is->margin)));
    }
    for (size_t i = 0; i < audit->row_count; i++) {
        const gka_audit_row *const is = &audit->rows[i];
        cli_builder errors = {json_array(), true};
        for (size_t t = 0; t < audit->tensor_count; t++)
            cli_append(&errors, cli_json_real(is->errors[t]));
        cli_append(&rows,
                   json_pack("[b,b,b,i,i,o,o,o,o]", is->applies, is->good, is->took_part,
                             is->left_out, is->by, cli_json_real(is->slack),
                             cli_json_real(is->margin), cli_json_text(is->note), errors.value));
        rows.good &= errors.good;
    }
    const size_t counts[] = {audit->accepts,     audit->accepted, audit->independents,
                             audit->independent, audit->left_out, audit->rejects,
                             audit->rejected};
    cli_builder numbers = {json_array(), true};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        cli_append(&numbers, json_integer((json_int_t)counts[i]));
    cli_put(&o, "tensors", tensors.value);
    cli_put(&o, "rows", rows.value);
    cli_put(&o, "counts", numbers.value);
    cli_put(&o, "margin", cli_json_real(audit->margin));
    *good &= o.good && tensors.good && rows.good && numbers.good;
    return o.value;
}

/* The library's own text, which stays. */
static const char *output_name(const char *name) {
    for (int i = 0; i < GKA_OUTPUTS; i++)
        if (strcmp(gka_output_table[i].name, name) == 0)
            return gka_output_table[i].name;
    return NULL;
}

static bool read_row(json_t *is, size_t number, size_t tensors, gka_audit_row *row) {
    json_t *slack, *margin, *errors;
    const char *text;
    int applies, good, took_part, left_out, by;
    if (json_unpack_ex(is, NULL, JSON_STRICT, "[b,b,b,i,i,o,o,s,o]", &applies, &good, &took_part,
                       &left_out, &by, &slack, &margin, &text, &errors) != 0 ||
        !cli_json_is_number(slack) || !cli_json_is_number(margin) || !cli_json_numbers(errors) ||
        json_array_size(errors) != tensors || by < -1 || by >= (int)tensors ||
        (by < 0 && applies && !good))
        return false;
    *row = (gka_audit_row){.member = gka_audit_member_at(number),
                           .applies = applies != 0,
                           .good = good != 0,
                           .took_part = took_part != 0,
                           .left_out = left_out,
                           .by = by,
                           .slack = cli_json_number(slack),
                           .margin = cli_json_number(margin),
                           .errors = gka_alloc(tensors, sizeof(double))};
    (void)snprintf(row->note, sizeof row->note, "%s", text);
    for (size_t t = 0; t < tensors && row->errors != NULL; t++)
        row->errors[t] = cli_json_number(json_array_get(errors, t));
    return row->errors != NULL;
}

static bool read_tensor(json_t *is, size_t rows, gka_audit_tensor *tensor) {
    const char *name;
    json_t *tolerance, *accepted, *rejected, *margin;
    int accepted_by, rejected_by;
    if (json_unpack_ex(is, NULL, JSON_STRICT, "[s,o,o,o,i,i,o]", &name, &tolerance, &accepted,
                       &rejected, &accepted_by, &rejected_by, &margin) != 0 ||
        output_name(name) == NULL || !cli_json_is_number(tolerance) ||
        !cli_json_is_number(accepted) || !cli_json_is_number(rejected) ||
        !cli_json_is_number(margin) || accepted_by < -1 || accepted_by >= (int)rows ||
        rejected_by < -1 || rejected_by >= (int)rows)
        return false;
    *tensor = (gka_audit_tensor){.name = output_name(name),
                                 .tolerance = cli_json_number(tolerance),
                                 .accepted = cli_json_number(accepted),
                                 .rejected = cli_json_number(rejected),
                                 .accepted_by = accepted_by,
                                 .rejected_by = rejected_by,
                                 .margin = cli_json_number(margin)};
    return true;
}

/* False: not what record_of makes, or no memory. */
static bool read_record(json_t *record, gka_audit *audit) {
    json_t *tensors, *rows, *counts, *margin;
    size_t *const to[] = {&audit->accepts,     &audit->accepted, &audit->independents,
                          &audit->independent, &audit->left_out, &audit->rejects,
                          &audit->rejected};
    const size_t numbers = sizeof to / sizeof *to;
    if (json_unpack_ex(record, NULL, JSON_STRICT, "{s:o,s:o,s:o,s:o}", "tensors", &tensors, "rows",
                       &rows, "counts", &counts, "margin", &margin) != 0 ||
        !json_is_array(tensors) || json_array_size(tensors) > GKA_OUTPUTS || !json_is_array(rows) ||
        json_array_size(rows) > gka_audit_count() || !cli_json_numbers(counts) ||
        json_array_size(counts) != numbers)
        return false;
    *audit = (gka_audit){.margin = cli_json_number(margin)};
    audit->tensors = gka_alloc(json_array_size(tensors), sizeof *audit->tensors);
    audit->rows = gka_alloc(json_array_size(rows), sizeof *audit->rows);
    bool good = audit->tensors != NULL && audit->rows != NULL;
    for (size_t t = 0; t < json_array_size(tensors) && good; t++)
        good = read_tensor(json_array_get(tensors, t), json_array_size(rows),
                           &audit->tensors[audit->tensor_count++]);
    for (size_t i = 0; i < json_array_size(rows) && good; i++)
        good = read_row(json_array_get(rows, i), i, audit->tensor_count,
                        &audit->rows[audit->row_count++]);
    for (size_t i = 0; i < numbers; i++)
        *to[i] = (size_t)json_integer_value(json_array_get(counts, i));
    return good;
}

static const char *path_of(void *context, int64_t i, int k) {
    const audits *const a = context;
    return k == 0 ? a->paths[i] : k == 1 ? a->paths[a->suite->count] : NULL;
}

static int audit_unit(cli *c, void *context, int64_t i) {
    audits *const a = context;
    const int code = audit_case(c, a, (size_t)i);
    if (code == CLI_GOOD)
        add_case(a, (size_t)i);
    return code;
}

static int make_unit(cli *c, void *context, int64_t i, json_t **record) {
    audits *const a = context;
    bool good = true;
    int code = audit_case(c, a, (size_t)i);
    if (code == CLI_GOOD) {
        *record = record_of(&a->of[i], &good);
        code = good ? CLI_GOOD : cli_out_of_memory(c);
    }
    gka_audit_free(&a->of[i]);
    a->of[i] = (gka_audit){0};
    return code;
}

static int use_unit(cli *c, void *context, int64_t i, json_t *record) {
    audits *const a = context;
    (void)c;
    if (read_record(record, &a->of[i])) {
        add_case(a, (size_t)i);
        return CLI_GOOD;
    }
    gka_audit_free(&a->of[i]);
    a->of[i] = (gka_audit){0};
    return CLI_UNUSABLE;
}

static int audit_cases(cli *c, const cli_audit_request *r, audits *a) {
    for (size_t i = 0; i <= a->suite->count; i++) {
        const char *const file = i < a->suite->count ? a->suite->entries[i].file : "index.json";
        const size_t size = strlen(r->path) + strlen(file) + 2;
        a->paths[i] = cli_keep(c, gka_alloc(size, 1));
        if (a->paths[i] == NULL)
            return cli_out_of_memory(c);
        (void)snprintf(a->paths[i], size, "%s/%s", r->path, file);
    }
    cli_units units = {.folder = r->units,
                       .count = (int64_t)a->suite->count,
                       .path = path_of,
                       .alone = audit_unit,
                       .make = make_unit,
                       .use = use_unit,
                       .context = a};
    const int code = cli_units_run(c, &units);
    a->silent = units.silent;
    return code;
}

static int report_suite(cli *c, const cli_audit_request *r, audits *a, cli_json *json) {
    size_t missed = 0;
    for (size_t m = 0; m < a->mistake_count; m++)
        if (!a->mistakes[m].member.accept)
            *(a->mistakes[m].caught > 0 ? &a->caught : &missed) += 1;
    if (!cli_json_takes_stdout(json)) {
        if (print_cases(c->out, a) != GKA_OK || (fputc('\n', c->out), false) ||
            print_mistakes(c->out, a) != GKA_OK)
            return cli_out_of_memory(c);
        print_failures(c->out, a);
    }
    int code = CLI_GOOD;
    bool good = true;
    if (r->json != NULL) {
        json_t *const root = json_suite(r->path, a, &good);
        code = cli_json_close(c, json, root, good);
    }
    return code != CLI_GOOD ? code : missed > 0 || a->accepted < a->accepts ? CLI_FAILS : CLI_GOOD;
}

static int audit_suite(cli *c, const cli_audit_request *r, cli_json *json) {
    gka_suite suite;
    gka_error error = {0};
    int code = cli_outcome(c, gka_suite_read(r->path, &suite, &error), &error);
    audits a = {.suite = &suite, .folder = r->path, .mistake_count = gka_audit_count()};
    if (code == CLI_GOOD) {
        a.of = gka_alloc(suite.count, sizeof *a.of);
        a.mistakes = gka_alloc(a.mistake_count, sizeof *a.mistakes);
        a.paths = gka_alloc(suite.count + 1, sizeof *a.paths);
        if (a.of == NULL || a.mistakes == NULL || a.paths == NULL)
            code = cli_out_of_memory(c);
    }
    for (size_t m = 0; m < a.mistake_count && code == CLI_GOOD; m++)
        a.mistakes[m] = (mistake){.member = gka_audit_member_at(m), .best = -1, .margin = NAN};
    if (code == CLI_GOOD)
        code = audit_cases(c, r, &a);
    if (code == CLI_GOOD && !a.silent)
        code = report_suite(c, r, &a, json);
    for (size_t i = 0; a.of != NULL && i < suite.count; i++)
        gka_audit_free(&a.of[i]);
    gka_free(a.of);
    gka_free(a.mistakes);
    gka_free(a.paths);
    gka_suite_free(&suite);
    return code;
}

/* ---- a member's file ----------------------------------------------------------------------- */

static int write_member(cli *c, const cli_audit_request *r) {
    if (gka_audit_find(r->write) < 0) {
        cli_nearest nearest = cli_nearest_to(r->write);
        char hint[96];
        for (size_t i = 0; i < gka_audit_count(); i++)
            cli_nearest_try(&nearest, gka_audit_member_at(i).name);
        return cli_fail(c,
                        "--write: no member '%.60s' in the panels%s; `gka audit %.200s` lists them",
                        r->write, cli_nearest_hint(&nearest, hint), r->path);
    }
    if (r->output == NULL)
        return cli_fail(c, "--write: expected -o FILE too");
    gka_file *golden = NULL;
    int code = cli_open(c, r->path, &golden);
    if (code == CLI_GOOD) {
        gka_error error = {0};
        const gka_status status = gka_golden_audit_write(golden, r->write, r->output, &error);
        code = cli_outcome(c, status, &error);
        gka_file_close(golden);
    }
    return code;
}

int cli_audit_golden(cli *c, const cli_audit_request *request) {
    if (request->write != NULL)
        return request->units != NULL || request->json != NULL
                   ? cli_fail(c, "--%s has no meaning with --write",
                              request->units != NULL ? "units" : "json")
                   : write_member(c, request);
    if (request->units != NULL && !cli_is_folder(request->path))
        return cli_fail(c, "--units: a suite's folder was expected with it");
    if (request->output != NULL)
        return cli_fail(c, "-o: expected --write=MEMBER too");
    cli_json json;
    int code = cli_json_open(c, request->json, &json);
    if (code == CLI_GOOD)
        code = cli_is_folder(request->path) ? audit_suite(c, request, &json)
                                            : audit_golden(c, request, &json);
    cli_json_abandon(&json);
    return code;
}

static const char notes[] =
    "Judges two panels of kernels by GOLDEN, or by each golden of a suite's folder: kernels\n"
    "that are right (emulations that differ in their roundings and in the order of their sums)\n"
    "and kernels with one mistake each, else exact.\n"
    "\n"
    "For each tensor it prints the largest error accepted and the smallest error rejected.\n"
    "\n"
    "  slack   of a right kernel: tolerance / error, where that is smallest; below 1 it fails\n"
    "  margin  of a mistake: error / the largest error of a right kernel, where that is largest;\n"
    "          of a tensor: smallest rejected / largest accepted\n"
    "\n"
    "What a golden cannot tell apart (a margin below 3) is named. --write=MEMBER writes the\n"
    "tensors of one member as a candidate, for `gka judge`.\n"
    "\n"
    "Exit code: 0 the panels are told apart; 1 a right kernel fails or, for a suite, no case\n"
    "catches a mistake; 2 usage or bad input; 3 internal.\n";

int cli_audit(cli *c) {
    cli_audit_request request = {0};
    static const cli_help help = {.operands = "GOLDEN", .notes = notes, .least = 1, .most = 1};
    const cli_option options[] = {{"write", 0, CLI_TEXT, &request.write, .value = "MEMBER",
                                   .help = "write its tensors, as a candidate, to -o"},
                                  {"output", 'o', CLI_OUT, &request.output, .value = "FILE",
                                   .help = "with --write: the candidate to write"},
                                  {"json", 0, CLI_OUT, &request.json, .value = "FILE",
                                   .help = "the report as JSON, - for stdout"},
                                  CLI_UNITS(request.units),
                                  {.kind = CLI_END}};
    int code;
    if (!cli_parse(c, &help, options, &code))
        return code;
    request.path = c->operands[0];
    return cli_audit_golden(c, &request);
}
