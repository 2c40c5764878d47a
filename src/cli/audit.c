/* audit.c - gka golden --audit: does a golden, or a suite of them, tell right from wrong? */
#include "cli/audit.h"

#include "cli/json.h"
#include "gka/audit.h"

#include <math.h>
#include <string.h>

/* ---- tables -------------------------------------------------------------------------------- */

static void cell_or_dash(cli_table *table, double x) {
    if (isnan(x))
        cli_cell(table, "-");
    else
        cli_cell_real(table, x);
}

static void cell_margin(cli_table *table, double margin) {
    if (isnan(margin))
        cli_cell(table, "-");
    else if (isinf(margin))
        cli_cell(table, "Inf");
    else
        cli_cell(table, margin < 100 ? "%.2f" : "%.0f", margin);
}

static const char *name_of(const gka_audit *audit, int row) {
    return row < 0 ? "-" : audit->rows[row].member->name;
}

static gka_status print_tensors(FILE *out, const gka_audit *audit) {
    static const char *const headings[] = {
        "<tensor", "tolerance", "largest accepted", "<by", "smallest rejected", "<by", "margin"};
    cli_table table;
    cli_table_start(&table, headings, sizeof headings / sizeof *headings);
    for (size_t t = 0; t < audit->tensor_count; t++) {
        const gka_audit_tensor *const tensor = &audit->tensors[t];
        cli_cell(&table, "%s", tensor->name);
        cell_or_dash(&table, tensor->tolerance);
        cell_or_dash(&table, tensor->accepted);
        cli_cell(&table, "%s", name_of(audit, tensor->accepted_by));
        cell_or_dash(&table, tensor->rejected);
        cli_cell(&table, "%s", name_of(audit, tensor->rejected_by));
        cell_margin(&table, tensor->margin);
    }
    return cli_table_print(&table, out);
}

static const char *verdict_of(const gka_audit_row *row) {
    if (!row->applies)
        return "-";
    if (row->member->accept)
        return row->good ? "passes" : "FAILS";
    return row->good ? "caught" : "PASSES";
}

/* The member, what became of it, and the tensor that says so. */
static gka_status print_members(FILE *out, const gka_audit *audit) {
    static const char *const headings[] = {"<panel", "<member",   "<verdict", "<tensor",
                                           "error",  "tolerance", "margin",   "<note"};
    cli_table table;
    cli_table_start(&table, headings, sizeof headings / sizeof *headings);
    for (size_t i = 0; i < audit->row_count; i++) {
        const gka_audit_row *const row = &audit->rows[i];
        cli_cell(&table, "%s", row->member->accept ? "accept" : "reject");
        cli_cell(&table, "%s", row->member->name);
        cli_cell(&table, "%s", verdict_of(row));
        cli_cell(&table, "%s", row->by < 0 ? "-" : audit->tensors[row->by].name);
        cell_or_dash(&table, row->by < 0 ? NAN : row->errors[row->by]);
        cell_or_dash(&table, row->by < 0 ? NAN : audit->tensors[row->by].tolerance);
        cell_margin(&table, row->margin);
        cli_cell(&table, "%s", row->note[0] == '\0' ? "" : row->note);
    }
    return cli_table_print(&table, out);
}

static bool not_told_apart(const gka_audit_row *row) {
    return row->applies && !row->member->accept && !(row->margin >= GKA_AUDIT_MARGIN);
}

static void print_summary(FILE *out, const gka_audit *audit) {
    fprintf(out, "%zu of %zu right kernels pass, %zu of %zu mistakes are caught\n", audit->accepted,
            audit->accepts, audit->rejected, audit->rejects);
    for (size_t i = 0; i < audit->row_count; i++)
        if (not_told_apart(&audit->rows[i]))
            fprintf(out, "cannot tell apart: %s (%s): margin %.2f\n", audit->rows[i].member->name,
                    audit->rows[i].member->what, audit->rows[i].margin);
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

static json_t *name_or_null(const gka_audit *audit, int row) {
    return row < 0 ? json_null() : json_string(audit->rows[row].member->name);
}

static json_t *json_tensor(const gka_audit *audit, const gka_audit_tensor *tensor, bool *good) {
    builder o = {json_object(), true};
    put(&o, "name", json_string(tensor->name));
    put(&o, "tolerance", real_or_null(tensor->tolerance));
    put(&o, "accepted", real_or_null(tensor->accepted));
    put(&o, "accepted_by", name_or_null(audit, tensor->accepted_by));
    put(&o, "rejected", real_or_null(tensor->rejected));
    put(&o, "rejected_by", name_or_null(audit, tensor->rejected_by));
    put(&o, "margin", real_or_null(tensor->margin));
    *good &= o.good;
    return o.value;
}

static json_t *json_member(const gka_audit *audit, const gka_audit_row *row, bool *good) {
    builder o = {json_object(), true}, errors = {json_object(), true};
    put(&o, "name", json_string(row->member->name));
    put(&o, "what", json_string(row->member->what));
    put(&o, "panel", json_string(row->member->accept ? "accept" : "reject"));
    put(&o, "applies", json_boolean(row->applies));
    put(&o, "note", cli_json_text(row->note));
    put(&o, "good", row->applies ? json_boolean(row->good) : json_null());
    put(&o, "margin", real_or_null(row->margin));
    put(&o, "by", row->by < 0 ? json_null() : json_string(audit->tensors[row->by].name));
    for (size_t t = 0; t < audit->tensor_count; t++)
        put(&errors, audit->tensors[t].name, real_or_null(row->errors[t]));
    put(&o, "errors", errors.value);
    *good &= o.good && errors.good;
    return o.value;
}

static json_t *json_audit(const char *path, const gka_audit *audit, bool *good) {
    builder o = {json_object(), true};
    json_t *const tensors = json_array(), *const members = json_array();
    for (size_t t = 0; t < audit->tensor_count; t++)
        o.good &=
            json_array_append_new(tensors, json_tensor(audit, &audit->tensors[t], &o.good)) == 0;
    for (size_t i = 0; i < audit->row_count; i++)
        o.good &= json_array_append_new(members, json_member(audit, &audit->rows[i], &o.good)) == 0;
    put(&o, "file", cli_json_text(path));
    put(&o, "tensors", tensors);
    put(&o, "members", members);
    put(&o, "accepts", json_integer((json_int_t)audit->accepts));
    put(&o, "accepted", json_integer((json_int_t)audit->accepted));
    put(&o, "rejects", json_integer((json_int_t)audit->rejects));
    put(&o, "rejected", json_integer((json_int_t)audit->rejected));
    put(&o, "margin", real_or_null(audit->margin));
    *good &= o.good;
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

static int audit_golden(cli *c, const cli_audit_request *r) {
    cli_json json;
    gka_audit audit;
    int code = cli_json_open(c, r->json, &json);
    if (code != CLI_GOOD)
        return code;
    code = audit_file(c, r->path, &audit);
    if (code == CLI_GOOD && !cli_json_takes_stdout(&json)) {
        const bool printed = print_tensors(c->out, &audit) == GKA_OK &&
                             (fputc('\n', c->out), print_members(c->out, &audit) == GKA_OK);
        if (printed)
            print_summary(c->out, &audit);
        else
            code = cli_out_of_memory(c);
    }
    bool good = true;
    if (code == CLI_GOOD && r->json != NULL) {
        json_t *const root = json_audit(r->path, &audit, &good);
        code = cli_json_close(c, &json, root, good);
    }
    if (code == CLI_GOOD && audit.accepted < audit.accepts)
        code = CLI_FAILS;
    cli_json_abandon(&json);
    gka_audit_free(&audit);
    return code;
}

/* ---- a member's file ----------------------------------------------------------------------- */

static int write_member(cli *c, const cli_audit_request *r) {
    if (gka_audit_find(r->write) < 0) {
        cli_nearest nearest = cli_nearest_to(r->write);
        char hint[96];
        for (size_t i = 0; i < gka_audit_count(); i++)
            cli_nearest_try(&nearest, gka_audit_member_at(i)->name);
        return cli_fail(c, "--write: no member '%.60s' in the panels%s", r->write,
                        cli_nearest_hint(&nearest, hint));
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

int cli_audit(cli *c, const cli_audit_request *request) {
    if (request->write != NULL)
        return write_member(c, request);
    if (request->output != NULL)
        return cli_fail(c, "-o with --audit: expected --write=MEMBER too");
    return audit_golden(c, request);
}
