/* audit.c - both panels judged by one golden; a member's tensors as a file (gka/audit.h). */
#include "audit/audit.h"

#include "gka/format.h"
#include "io/bytes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- members ------------------------------------------------------------------------------- */

size_t gka_audit_panel_count(void) {
    return gka_right_kernel_count + gka_audit_wrong_count;
}

audit_member gka_audit_panel_at(size_t i) {
    return i < gka_right_kernel_count ? gka_audit_right(i)
                                      : gka_audit_wrong[i - gka_right_kernel_count];
}

size_t gka_audit_count(void) {
    return gka_audit_panel_count();
}

gka_audit_member gka_audit_member_at(size_t i) {
    return gka_audit_panel_at(i).is;
}

int gka_audit_find(const char *name) {
    for (size_t i = 0; i < gka_audit_panel_count(); i++)
        if (strcmp(gka_audit_panel_at(i).is.name, name) == 0)
            return (int)i;
    return -1;
}

/* ---- a case -------------------------------------------------------------------------------- */

typedef struct job {
    golden_reference golden;
    gka_outputs right; /* exact64, not rounded */
    audit_case subject;
    unsigned judged;         /* outputs with a tolerance and all their upstream tensors */
    int output[GKA_OUTPUTS]; /* of each tensor of the audit */
} job;

static gka_status open_case(job *j, const gka_file *golden, gka_error *error) {
    gka_status status = gka_golden_read(golden, &j->golden, error);
    if (status == GKA_OK && j->golden.stage)
        status =
            gka_fail(error, GKA_BAD_FILE, "%s: of one stage; a golden of all of them was expected",
                     gka_file_path(golden));
    const gka_problem *const problem = &j->golden.problem;
    if (status == GKA_OK && problem->lambda > 0)
        status = gka_fail(error, GKA_UNSUPPORTED,
                          "%s: a golden of MesaNet (lambda = %g): the members of an audit are "
                          "Gated KalmaNet's",
                          gka_file_path(golden), problem->lambda);
    unsigned wanted = j->golden.wanted | 1u << GKA_OUT_X | 1u << GKA_OUT_FRO;
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++) {
        const unsigned upstream = gka_output_table[i].upstream;
        if (!(j->golden.wanted >> i & 1))
            continue;
        if (!isnan(j->golden.tolerance[i].rel) && (upstream & ~j->golden.wanted) == 0)
            j->judged |= 1u << i;
        wanted |= upstream;
    }
    gka_profile exact64;
    if (status == GKA_OK)
        status = gka_profile_find("exact64", &exact64, error);
    if (status == GKA_OK)
        status = gka_golden_steps(problem, &exact64, wanted, &j->right, error);
    j->subject = (audit_case){problem, wanted, &j->right, &j->golden.exact};
    return status;
}

static void close_case(job *j) {
    gka_golden_free(&j->right);
    gka_golden_reference_free(&j->golden);
}

/* A mistake that moves no tensor by more than exact64's own rounding is none here (7.9e-14 is the
 * worst between two ways to compute the same; tests/conformance/chunk_layer.c). */
static bool changes_something(const job *j, const gka_outputs *out) {
    for (int i = 0; i < GKA_OUTPUTS; i++)
        if (j->golden.wanted >> i & 1 && out->of[i] != NULL &&
            !(gka_rel_err(gka_output_count(j->subject.problem, i), out->of[i], j->right.of[i]) <
              0x1p-40))
            return true;
    return false;
}

/* The member's tensors as stored; all NULL where it does not apply. */
static gka_status run_member(const job *j, const audit_member *m, gka_outputs *out,
                             char note[AUDIT_NOTE], gka_error *error) {
    gka_status status = m->run(&j->subject, m, out, note, error);
    bool some = false;
    for (int i = 0; i < GKA_OUTPUTS; i++)
        some |= j->golden.wanted >> i & 1 && out->of[i] != NULL;
    if (status == GKA_OK && some && !m->is.accept && !changes_something(j, out)) {
        gka_golden_free(out);
        (void)snprintf(note, AUDIT_NOTE, "changes nothing here");
        return GKA_OK;
    }
    if (!some)
        gka_golden_free(out);
    gka_golden_store(j->subject.problem, j->subject.wanted, out);
    return status;
}

/* ---- errors -------------------------------------------------------------------------------- */

static bool above(double error, double tolerance) {
    return !(error <= tolerance);
}

static gka_status judge_member(const job *j, const gka_outputs *out, gka_audit *audit,
                               gka_audit_row *row, gka_error *error) {
    golden_error errors[GKA_OUTPUTS];
    const gka_status status = gka_golden_errors(j->subject.problem, j->golden.wanted, out,
                                                &j->golden.steps, errors, error);
    row->good = row->member.accept;
    for (size_t t = 0; t < audit->tensor_count && status == GKA_OK; t++) {
        const int o = j->output[t];
        if (!(j->judged >> o & 1) || out->of[o] == NULL)
            continue;
        row->applies = true;
        const golden_error *const allowed = &j->golden.tolerance[o];
        const double by_row =
            isnan(allowed->row) ? 0 : errors[o].row * (allowed->rel / allowed->row);
        row->errors[t] =
            isnan(errors[o].rel) || isnan(errors[o].row) ? INFINITY : fmax(errors[o].rel, by_row);
        if (above(row->errors[t], audit->tensors[t].tolerance))
            row->good = !row->member.accept;
    }
    return status;
}

/* The names in the note of a kernel some of whose tensors are not finite. */
static int count_left_out(const char *note) {
    const size_t length = strlen(AUDIT_NOT_FINITE);
    int count = 0;
    if (strncmp(note, AUDIT_NOT_FINITE, length) == 0)
        for (const char *c = note + length; *c != '\0'; c++)
            count += *c == ' ';
    return count;
}

static unsigned judged_of(const job *j, const gka_outputs *out) {
    unsigned judged = 0;
    for (int i = 0; i < GKA_OUTPUTS; i++)
        judged |= out->of[i] != NULL ? j->judged & 1u << i : 0;
    return judged;
}

static gka_status run_row(const job *j, size_t i, gka_audit *audit, gka_error *error) {
    gka_audit_row *const row = &audit->rows[i];
    gka_outputs out = {0};
    const audit_member member = gka_audit_panel_at(i);
    gka_status status = run_member(j, &member, &out, row->note, error);
    bool some = false;
    for (int o = 0; o < GKA_OUTPUTS; o++)
        some |= out.of[o] != NULL;
    if (status == GKA_OK && some)
        status = judge_member(j, &out, audit, row, error);
    row->left_out = count_left_out(row->note);
    row->took_part = row->applies && row->member.accept &&
                     gka_audit_took_part(&j->golden, judged_of(j, &out), member.right);
    if (status == GKA_OK && some && !row->applies && row->note[0] == '\0')
        (void)snprintf(row->note, AUDIT_NOTE, "no tensor that is judged");
    gka_golden_free(&out);
    return status;
}

/* ---- margins ------------------------------------------------------------------------------- */

/* Largest accepted and smallest rejected error of one tensor. */
static void separate(gka_audit *audit, size_t t) {
    gka_audit_tensor *const tensor = &audit->tensors[t];
    for (size_t i = 0; i < audit->row_count; i++) {
        const gka_audit_row *const row = &audit->rows[i];
        const double e = row->errors[t];
        if (isnan(e))
            continue;
        if (row->member.accept && !(e <= tensor->accepted)) {
            tensor->accepted = e;
            tensor->accepted_by = (int)i;
        }
        if (!row->member.accept && above(e, tensor->tolerance) && !(e >= tensor->rejected)) {
            tensor->rejected = e;
            tensor->rejected_by = (int)i;
        }
    }
    tensor->margin = tensor->rejected / tensor->accepted;
}

/* The tensor that tells a mistake best; the one where a right kernel is nearest to failing. */
static void find_margin(const gka_audit *audit, gka_audit_row *row) {
    double *const found = row->member.accept ? &row->slack : &row->margin;
    for (size_t t = 0; t < audit->tensor_count; t++) {
        const gka_audit_tensor *const tensor = &audit->tensors[t];
        const double e = row->errors[t];
        if (isnan(e))
            continue;
        const double ratio = row->member.accept     ? tensor->tolerance / e
                             : tensor->accepted > 0 ? e / tensor->accepted
                             : e > 0                ? INFINITY
                                                    : 0;
        const bool better = row->member.accept ? !(ratio >= *found) : !(ratio <= *found);
        if (row->by >= 0 && !better)
            continue;
        *found = ratio;
        row->by = (int)t;
    }
}

static void count_members(gka_audit *audit) {
    audit->margin = NAN;
    for (size_t t = 0; t < audit->tensor_count; t++)
        separate(audit, t);
    for (size_t i = 0; i < audit->row_count; i++) {
        gka_audit_row *const row = &audit->rows[i];
        audit->left_out += (size_t)row->left_out;
        if (!row->applies)
            continue;
        find_margin(audit, row);
        *(row->member.accept ? &audit->accepts : &audit->rejects) += 1;
        *(row->member.accept ? &audit->accepted : &audit->rejected) += row->good;
        if (row->member.accept && !row->took_part) {
            audit->independents++;
            audit->independent += row->good;
        }
        if (!row->member.accept && !(row->margin >= audit->margin))
            audit->margin = row->margin;
    }
}

/* ---- audit --------------------------------------------------------------------------------- */

static gka_status start_record(job *j, gka_audit *audit, gka_error *error) {
    audit->tensors = gka_alloc(GKA_OUTPUTS, sizeof *audit->tensors);
    audit->rows = gka_alloc(gka_audit_panel_count(), sizeof *audit->rows);
    if (audit->tensors == NULL || audit->rows == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory for an audit");
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        if (!(j->golden.wanted >> i & 1))
            continue;
        j->output[audit->tensor_count] = i;
        audit->tensors[audit->tensor_count++] =
            (gka_audit_tensor){.name = gka_output_table[i].name,
                               .tolerance = j->golden.tolerance[i].rel,
                               .accepted = NAN,
                               .rejected = NAN,
                               .accepted_by = -1,
                               .rejected_by = -1,
                               .margin = NAN};
    }
    for (; audit->row_count < gka_audit_panel_count(); audit->row_count++) {
        gka_audit_row *const row = &audit->rows[audit->row_count];
        *row = (gka_audit_row){
            .member = gka_audit_member_at(audit->row_count), .slack = NAN, .margin = NAN, .by = -1};
        row->errors = gka_alloc(audit->tensor_count, sizeof *row->errors);
        if (row->errors == NULL)
            return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory for an audit");
        for (size_t t = 0; t < audit->tensor_count; t++)
            row->errors[t] = NAN;
    }
    return GKA_OK;
}

gka_status gka_golden_audit(const gka_file *golden, const gka_progress *progress, gka_audit *audit,
                            gka_error *error) {
    *audit = (gka_audit){0};
    job j = {0};
    gka_status status = open_case(&j, golden, error);
    if (status == GKA_OK)
        status = start_record(&j, audit, error);
    for (size_t i = 0; i < audit->row_count && status == GKA_OK; i++) {
        status = run_row(&j, i, audit, error);
        if (status == GKA_OK &&
            !gka_progress_report(progress, (double)(i + 1), (double)audit->row_count))
            status = gka_fail(error, GKA_INTERRUPTED, "interrupted");
    }
    if (status == GKA_OK)
        count_members(audit);
    close_case(&j);
    return status;
}

void gka_audit_free(gka_audit *audit) {
    for (size_t i = 0; i < audit->row_count; i++)
        gka_free(audit->rows[i].errors);
    gka_free(audit->rows);
    gka_free(audit->tensors);
    *audit = (gka_audit){0};
}

/* ---- a member's file ----------------------------------------------------------------------- */

static gka_status encode(const gka_problem *problem, int output, const double *values,
                         gka_tensor *tensor, gka_error *error) {
    const gka_dtype dtype = gka_output_dtype(problem, output);
    const size_t count = (size_t)gka_output_count(problem, output), size = gka_dtype_size(dtype);
    unsigned char *const bytes = gka_alloc(count, size);
    if (bytes == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory storing '%s'",
                        gka_output_table[output].name);
    for (size_t i = 0; i < count; i++)
        gka_store_le(bytes + i * size, size, gka_encode(gka_format_of_dtype(dtype), values[i]));
    *tensor = (gka_tensor){.name = gka_output_table[output].name, .dtype = dtype, .data = bytes};
    tensor->rank = gka_output_shape(problem, output, tensor->shape);
    return GKA_OK;
}

static gka_status write_values(const job *j, const gka_outputs *values, const char *member,
                               const char *path, gka_error *error) {
    gka_tensor tensors[GKA_OUTPUTS] = {0};
    size_t count = 0;
    gka_status status = GKA_OK;
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++)
        if (j->golden.wanted >> i & 1 && values->of[i] != NULL)
            status = encode(j->subject.problem, i, values->of[i], &tensors[count++], error);
    const gka_text_pair said[] = {{"audit", member}};
    if (status == GKA_OK)
        status = gka_file_write(path, tensors, count, said, 1, error);
    for (size_t i = 0; i < count; i++)
        gka_free((void *)(uintptr_t)tensors[i].data);
    return status;
}

gka_status gka_golden_audit_write(const gka_file *golden, const char *member, const char *path,
                                  gka_error *error) {
    const int i = gka_audit_find(member);
    if (i < 0)
        return gka_fail(error, GKA_BAD_ARGUMENT, "no member '%s' in the panels", member);
    job j = {0};
    char note[AUDIT_NOTE] = "";
    gka_outputs out = {0};
    const audit_member panel_member = gka_audit_panel_at((size_t)i);
    gka_status status = open_case(&j, golden, error);
    if (status == GKA_OK)
        status = run_member(&j, &panel_member, &out, note, error);
    bool some = false;
    for (int o = 0; o < GKA_OUTPUTS; o++)
        some |= out.of[o] != NULL;
    if (status == GKA_OK && !some)
        status = gka_fail(error, GKA_UNSUPPORTED, "%s does not apply to %s: %s", member,
                          gka_file_path(golden), note);
    if (status == GKA_OK)
        status = write_values(&j, &out, member, path, error);
    gka_golden_free(&out);
    close_case(&j);
    return status;
}
