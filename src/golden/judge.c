/* judge.c - a candidate's tensors judged by a golden (gka/golden.h, section 2). */
#include "golden/served.h"
#include "golden/stage.h"
#include "golden/stream.h"

#include "gka/format.h"
#include "io/bytes.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

typedef struct job {
    const gka_file *candidate;
    golden_reference golden; /* its problem is the verdict's */
    const gka_golden_options *options;
    gka_golden_verdict *verdict;
    gka_outputs out, local;
} job;

/* ---- tensors --------------------------------------------------------------------------------- */

const char *gka_golden_their_name(const gka_golden_options *options, const char *name) {
    for (size_t i = 0; i < options->map_count; i++)
        if (strcmp(options->ours[i], name) == 0)
            return options->theirs[i];
    return name;
}

/* NULL: there is none. Fails where it is there and cannot be read. */
static gka_status find_theirs(const job *j, const char *name, const gka_tensor **tensor,
                              gka_error *error) {
    *tensor = gka_file_find(j->candidate, gka_golden_their_name(j->options, name));
    return gka_file_readable(j->candidate, gka_golden_their_name(j->options, name), error);
}

bool gka_golden_required(const gka_golden_options *options, const char *name) {
    bool required = options->all_required;
    for (size_t i = 0; i < options->required_count; i++)
        required |= strcmp(options->required[i], name) == 0;
    return required;
}

/* The candidate's tensors into rows. */
static gka_status load_all(job *j, gka_error *error) {
    gka_golden_verdict *const v = j->verdict;
    gka_status status = GKA_OK;
    v->rows = gka_alloc(GKA_OUTPUTS, sizeof *v->rows);
    if (v->rows == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++) {
        if (!(j->golden.wanted >> i & 1))
            continue;
        gka_golden_row *const row = &v->rows[v->row_count++];
        const golden_error *const allowed =
            j->options->by_exact ? &j->golden.by_exact[i] : &j->golden.tolerance[i];
        *row =
            (gka_golden_row){.name = gka_output_table[i].name,
                             .required = gka_golden_required(j->options, gka_output_table[i].name),
                             .through = NAN,
                             .through_tolerance = NAN,
                             .tolerance = allowed->rel,
                             .row_tolerance = allowed->row};
        status = find_theirs(j, row->name, &row->tensor, error);
        if (status == GKA_OK && row->tensor == NULL)
            v->missing++;
        else if (status == GKA_OK)
            status = gka_golden_load(&v->problem, j->candidate, row->tensor, i,
                                     j->options->heads_first, &j->out.of[i], error);
    }
    if (status == GKA_OK && v->missing == v->row_count)
        return gka_fail(error, GKA_BAD_FILE,
                        "%s: nothing to judge; a tensor '%s' or another output of %s was expected",
                        gka_file_path(j->candidate), v->row_count > 0 ? v->rows[0].name : "x",
                        gka_file_path(j->golden.file));
    return status;
}

/* ---- at given tensors ---------------------------------------------------------------------- */

/* What the candidate hands on may be no output of the golden. */
static gka_status load_upstream(job *j, unsigned outputs, gka_error *error) {
    gka_status status = GKA_OK;
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++) {
        if (!(outputs >> i & 1) || j->out.of[i] != NULL)
            continue;
        const gka_tensor *tensor;
        status = find_theirs(j, gka_output_table[i].name, &tensor, error);
        if (status == GKA_OK && tensor == NULL)
            return gka_fail(error, GKA_BAD_FILE, "%s: tensor '%s', which is given, is missing",
                            gka_file_path(j->candidate), gka_output_table[i].name);
        if (status == GKA_OK)
            status = gka_golden_load(&j->verdict->problem, j->candidate, tensor, i,
                                     j->options->heads_first, &j->out.of[i], error);
    }
    return status;
}

static gka_status local_at_given(job *j, gka_error *error) {
    const unsigned given = j->options->given;
    unsigned wanted = j->golden.wanted & gka_golden_given_decides(given);
    for (int i = 0; i < GKA_OUTPUTS; i++)
        if (j->out.of[i] == NULL)
            wanted &= ~(1u << i);
    if (wanted == 0)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "given: x, or x and p, and outputs that follow from them were expected");
    const gka_problem *const problem = &j->verdict->problem;
    const gka_file *const from = j->options->given_from;
    golden_given at = {0};
    gka_status status;
    if (from != NULL) {
        status = gka_golden_given_read(problem, given, wanted, from, false, &at, error);
    } else {
        status = load_upstream(j, gka_golden_given_outputs(given, wanted), error);
        if (status == GKA_OK)
            status = gka_golden_given_take(problem, given, wanted, &j->out, false, &at, error);
    }
    if (status == GKA_OK)
        status = gka_golden_allocate(problem, wanted, &j->local, error);
    if (status == GKA_OK)
        status = gka_golden_exact_at(problem, wanted, &at, NULL, &j->local, NULL, NULL, error);
    gka_golden_given_free(&at);
    return status;
}

/* ---- symmetric gradients ------------------------------------------------------------------- */

/* n matrices D x D. */
static bool are_symmetric(int64_t n, int64_t D, const double *a) {
    for (int64_t m = 0; m < n; m++, a += D * D)
        for (int64_t i = 0; i < D; i++)
            for (int64_t j = 0; j < i; j++)
                if (!(a[i * D + j] >= a[j * D + i] && a[i * D + j] <= a[j * D + i]))
                    return false;
    return true;
}

static void symmetrise(int64_t n, int64_t D, double *a) {
    for (int64_t m = 0; a != NULL && m < n; m++, a += D * D)
        for (int64_t i = 0; i < D; i++)
            for (int64_t j = 0; j < i; j++)
                a[i * D + j] = a[j * D + i] = a[i * D + j] / 2 + a[j * D + i] / 2;
}

/* The gradient by h0, of which the symmetric part alone is read: that part, or one that has it. */
static void meet_symmetric(job *j) {
    const int64_t D = j->verdict->problem.D;
    const int64_t n = gka_output_count(&j->verdict->problem, GKA_OUT_SOLVE_DH0) / (D * D);
    for (size_t i = 0; i < j->verdict->row_count; i++) {
        gka_golden_row *const row = &j->verdict->rows[i];
        if (row->tensor == NULL || gka_output_find(row->name) != GKA_OUT_SOLVE_DH0)
            continue;
        row->symmetric = are_symmetric(n, D, j->out.of[GKA_OUT_SOLVE_DH0]);
        if (row->symmetric) {
            symmetrise(n, D, j->golden.steps.of[GKA_OUT_SOLVE_DH0]);
            symmetrise(n, D, j->golden.exact.of[GKA_OUT_SOLVE_DH0]);
            symmetrise(n, D, j->golden.through.of[GKA_OUT_SOLVE_DH0]);
            symmetrise(n, D, j->local.of[GKA_OUT_SOLVE_DH0]);
        }
    }
}

/* ---- one tensor ---------------------------------------------------------------------------- */

/* The candidate's encodings in the golden's layout, as a tensor. */
static gka_status as_tensor(const golden_subject *o, gka_dtype dtype, unsigned char **bytes,
                            gka_tensor *tensor, gka_error *error) {
    const gka_format *const format = gka_format_of_dtype(dtype);
    const size_t size = gka_dtype_size(dtype);
    *bytes = gka_alloc((size_t)o->count, size);
    if (*bytes == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory judging '%s'", o->name);
    for (int64_t i = 0; i < o->count; i++)
        gka_store_le(*bytes + (size_t)i * size, size, gka_encode(format, o->out[i]));
    *tensor = (gka_tensor){.name = o->name, .dtype = dtype, .rank = o->rank, .data = *bytes};
    memcpy(tensor->shape, o->shape, sizeof tensor->shape);
    return GKA_OK;
}

static gka_mismatch mismatch_at(const gka_tensor *tensor, const gka_format *format, int64_t i,
                                double out, double ref) {
    gka_mismatch m = {.at_rank = tensor->rank, .out = out, .ref = ref};
    m.out_bits = gka_encode(format, out);
    m.ref_bits = gka_encode(format, gka_round(format, GKA_NEAREST_EVEN, ref, 0));
    for (int a = tensor->rank - 1; a >= 0; a--) {
        m.at[a] = i % tensor->shape[a];
        i /= tensor->shape[a];
    }
    return m;
}

static double rms(int64_t n, const double *a) {
    double most = 0, sum = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs(a[i]));
    for (int64_t i = 0; i < n && most > 0; i++)
        sum += (a[i] / most) * (a[i] / most);
    return n > 0 ? most * sqrt(sum / (double)n) : 0;
}

static void look_at_elements(gka_golden_row *row, const gka_tensor *tensor, int64_t n,
                             const double *out, const double *ref) {
    const gka_format *const format = gka_format_of_dtype(tensor->dtype);
    const double limit = isnan(row->tolerance) ? INFINITY : row->tolerance * rms(n, ref);
    double worst = -1;
    for (int64_t i = 0; i < n; i++) {
        const double d = fabs(out[i] - ref[i]), size = isnan(d) ? INFINITY : d;
        if (size <= limit && isfinite(size))
            continue;
        if (row->mismatches++ == 0)
            row->first = mismatch_at(tensor, format, i, out[i], ref[i]);
        if (size > worst) {
            worst = size;
            row->worst = mismatch_at(tensor, format, i, out[i], ref[i]);
        }
    }
}

/* torch.testing.assert_close's own rtol for the type. */
static double torch_rtol(gka_dtype dtype) {
    return dtype == GKA_F64 ? 1e-7 : dtype == GKA_F32 ? 1.3e-6 : dtype == GKA_F16 ? 1e-3 : 1.6e-2;
}

/* error: rel_err against ref. */
static void other_words(gka_golden_row *row, gka_dtype dtype, int64_t n, const double *out,
                        const double *ref, double error) {
    double most = 0, dot = 0;
    const double scale = rms(n, ref), length = rms(n, out);
    int64_t differ = 0, nearer = 0;
    row->rtol = torch_rtol(dtype);
    row->fla_ratio = 0;
    for (int64_t i = 0; i < n; i++) {
        const double d = fabs(out[i] - ref[i]);
        most = isnan(d) || isnan(most) ? NAN : fmax(most, d);
        row->atol =
            isnan(d) || isnan(row->atol) ? NAN : fmax(row->atol, d - row->rtol * fabs(ref[i]));
        differ += d > 0;
        nearer += d > 0 && fabs(out[i]) < fabs(ref[i]);
        if (scale > 0 && length > 0)
            dot += out[i] / length * (ref[i] / scale);
    }
    row->atol_alone = most;
    row->toward_zero = differ > 0 ? (double)nearer / (double)differ : .5;
    row->cosine = n > 0 ? dot / (double)n : 0;
    row->fla_ratio = scale > 0 ? error * scale / (scale + 1e-8) : most / 1e-8;
    row->fla_passes = most <= 1e-6 || row->fla_ratio < .005;
}

/* rel and row error of the subject against ref. */
static golden_error error_of(const golden_subject *o, const double *out, const double *ref,
                             int64_t *worst) {
    int64_t n = 1;
    for (int i = o->rank - o->row_rank; i < o->rank; i++)
        n *= o->shape[i];
    return gka_golden_error_in(n > 0 ? o->count / n : 0, n, out, ref,
                               gka_golden_scale(gka_golden_most(o->count, ref, 0)), worst);
}

static void find_row_error(const golden_subject *o, const double *ref, gka_golden_row *row) {
    int64_t number = 0;
    row->row_rank = o->rank - o->row_rank;
    row->row_error = error_of(o, o->out, ref, &number).row;
    for (int a = row->row_rank - 1; a >= 0; a--) {
        row->row_at[a] = o->shape[a] > 0 ? number % o->shape[a] : 0;
        number /= o->shape[a] > 0 ? o->shape[a] : 1;
    }
}

/* What the rule of tolerances (gka/golden.h) gives for the type in which the candidate stores the
 * output, where that is narrower than the golden's: the floor is what the reference rounded to it
 * comes to. Where that leaves no tolerance the golden's own stands: what its type cannot hold is no
 * rounding. *holds: not so. */
static gka_status know_stored_type(const golden_subject *o, gka_dtype dtype, const double *ref,
                                   golden_error *allowed, bool *holds, gka_error *error) {
    const gka_format *const theirs = gka_format_of_dtype(dtype);
    const gka_format *const ours = gka_format_of_dtype(o->dtype);
    if (isnan(allowed->rel) || gka_format_unit_roundoff(theirs) <= gka_format_unit_roundoff(ours))
        return GKA_OK;
    const size_t count = (size_t)o->count;
    if (!(gka_golden_most(o->count, ref, 0) > 0)) /* zero is zero in every type */
        return GKA_OK;
    double *const rounded = gka_alloc(count, sizeof *rounded);
    if (rounded == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory judging '%s'", o->name);
    gka_round_array(theirs, GKA_NEAREST_EVEN, 0, 0, count, ref, rounded);
    const golden_error floor = error_of(o, rounded, ref, NULL);
    const golden_error wider = gka_golden_tolerance_at_least(
        *allowed,
        gka_golden_tolerance_of(floor, (golden_error){0, 0}, gka_format_unit_roundoff(theirs)));
    *holds = !isnan(wider.rel);
    if (*holds)
        *allowed = wider;
    gka_free(rounded);
    return GKA_OK;
}

static bool is_near(double error, double row_error, golden_error allowed) {
    return error <= allowed.rel && (isnan(allowed.row) || row_error <= allowed.row);
}

/* Whether the file's bytes, read in the other of the layouts [B,T,H,..] and [B,H,T,..], are near
 * enough to ref: a view was stored without its strides, or its axes have the wrong names. */
static gka_status try_turned(const gka_golden_options *options, const golden_subject *o,
                             const double *ref, gka_golden_row *row, gka_error *error) {
    const int64_t *const shape = o->shape;
    if (!o->has_tokens || shape[1] < 2 || shape[2] < 2)
        return GKA_OK;
    const int64_t each = o->rank > 3 ? shape[3] : 1, T = shape[1], H = shape[2];
    double *const other = gka_alloc((size_t)o->count, sizeof *other);
    if (other == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory judging '%s'", row->name);
    for (int64_t i = 0; i < o->count; i++) {
        /* Element i of the file is out[i] if its rows are [B,T,H], out[turned] if [B,H,T]. */
        const int64_t r = i / each, b = r / (H * T), h = r / T % H, t = r % T;
        const int64_t turned = ((b * T + t) * H + h) * each + i % each;
        if (options->heads_first)
            other[i] = o->out[turned];
        else
            other[turned] = o->out[i];
    }
    const golden_error e = error_of(o, other, ref, NULL);
    row->turned = is_near(e.rel, e.row, (golden_error){row->tolerance, row->row_tolerance});
    gka_free(other);
    return GKA_OK;
}

/* The derivative of the steps in place of the implicit gradient, where it is asked for or, by
 * AUTO, where it alone would pass; else whether it would. allowed: the tolerance against it; good:
 * what the implicit one comes to. */
static bool try_through(const gka_golden_options *options, const golden_subject *o,
                        const gka_tensor *tensor, golden_error allowed, gka_golden_row *row,
                        bool good) {
    const double *const through = o->through;
    const gka_gradient_kind kind = options->gradients;
    if (through == NULL || options->by_exact || options->given != 0)
        return good;
    gka_comparison c;
    gka_compare(tensor, through, o->row_rank, &c);
    gka_golden_row by = *row;
    find_row_error(o, through, &by);
    const bool passes = is_near(c.rel_err, by.row_error, allowed) && c.non_finite == 0;
    row->through = c.rel_err;
    row->through_tolerance = allowed.rel;
    row->by_through =
        kind == GKA_GRADIENTS_THROUGH || (kind == GKA_GRADIENTS_AUTO && !good && passes);
    row->other_passes = row->by_through ? !passes && good : !good && passes;
    if (!row->by_through)
        return good;
    by.through = row->through;
    by.through_tolerance = row->through_tolerance;
    by.by_through = true;
    by.other_passes = row->other_passes;
    by.judged = c;
    by.local = false;
    by.lacking = NULL;
    by.non_finite = c.non_finite;
    by.tolerance = allowed.rel;
    by.row_tolerance = allowed.row;
    *row = by;
    return passes;
}

/* What the figures of a row come to, and the sums. */
static void decide(gka_golden_verdict *v, gka_golden_row *row, bool good) {
    const bool known = !isnan(row->tolerance) && row->lacking == NULL;
    if (good || known || row->non_finite > 0 || row->required) {
        row->judged.ok = good ? GKA_PASS : GKA_FAIL;
        v->judged++;
        v->failed += !good;
    } else {
        v->unjudged++;
    }
}

gka_status gka_golden_judge_row(const gka_golden_options *options, const golden_subject *o,
                                gka_golden_verdict *verdict, gka_golden_row *row,
                                gka_error *error) {
    const double *const ref = options->by_exact ? o->exact : o->steps, *const local = o->local;
    gka_tensor tensor;
    unsigned char *bytes;
    golden_error allowed = {row->tolerance, row->row_tolerance}, by_through = o->by_through;
    bool holds = true, holds_through = true;
    gka_status status = know_stored_type(o, row->tensor->dtype, ref, &allowed, &holds, error);
    if (status == GKA_OK && o->through != NULL)
        status =
            know_stored_type(o, row->tensor->dtype, o->through, &by_through, &holds_through, error);
    row->too_narrow = !holds;
    row->tolerance = allowed.rel;
    row->row_tolerance = allowed.row;
    if (status == GKA_OK)
        status = as_tensor(o, row->tensor->dtype, &bytes, &tensor, error);
    if (status != GKA_OK)
        return status;
    gka_comparison c;
    gka_compare(&tensor, o->exact, o->row_rank, &c);
    row->total = c.rel_err;
    gka_compare(&tensor, o->steps, o->row_rank, &row->judged);
    row->steps = row->judged.rel_err;
    if (options->by_exact)
        row->judged = c;
    row->non_finite = row->judged.non_finite;
    const double whole = row->judged.rel_err;
    row->own = row->inherited = NAN;
    if (local != NULL) {
        gka_compare(&tensor, local, o->row_rank, &c);
        row->own = c.rel_err;
        row->inherited = gka_rel_err(o->count, local, ref);
        row->local = options->given != 0 || row->own < whole || isnan(whole);
        if (row->local)
            row->judged = c;
    }
    find_row_error(o, row->local ? local : ref, row);
    const bool good = is_near(row->judged.rel_err, row->row_error, allowed) && row->non_finite == 0;
    decide(verdict, row, try_through(options, o, &tensor, by_through, row, good));
    look_at_elements(row, &tensor, o->count, o->out,
                     row->by_through ? o->through
                     : row->local    ? local
                                     : ref);
    other_words(row, tensor.dtype, o->count, o->out, ref, whole);
    gka_free(bytes);
    return row->judged.ok == GKA_FAIL ? try_turned(options, o, ref, row, error) : GKA_OK;
}

/* dq that misses its tolerance: the derivative of the steps is the same number, but differentiating
 * them rounds more (NUMERICS 3), and the tolerance that covers it is made here (references.c). */
static gka_status differentiate_steps(const job *j, int output, golden_subject *o,
                                      gka_error *error) {
    const gka_problem *const problem = &j->verdict->problem;
    const golden_error known = j->golden.tolerance[output];
    const bool differs = output == GKA_OUT_SOLVE_DQ || output == GKA_OUT_LAYER_DQ;
    golden_error most[GKA_OUTPUTS];
    if (!differs || problem->q.dtype != GKA_F32 || j->golden.stage || j->options->by_exact ||
        j->options->given != 0 || gka_golden_streams(problem, &gka_golden_limits_default))
        return GKA_OK;
    const golden_error e = error_of(o, o->out, o->steps, NULL);
    if (is_near(e.rel, e.row, known))
        return GKA_OK;
    const gka_outputs through = j->golden.steps;
    const gka_status status =
        gka_golden_through_errors(problem, 1u << output, &through, most, error);
    if (status != GKA_OK)
        return status;
    o->through = o->steps;
    o->by_through = gka_golden_tolerance_at_least(
        known, gka_golden_tolerance_of(most[output], (golden_error){0, 0}, known.rel));
    return GKA_OK;
}

static gka_status judge(job *j, int output, gka_golden_row *row, gka_error *error) {
    const gka_problem *const problem = &j->verdict->problem;
    const gka_output *const table = &gka_output_table[output];
    golden_subject o = {.name = table->name,
                        .row_rank = table->row_rank,
                        .count = gka_output_count(problem, output),
                        .dtype = gka_output_dtype(problem, output),
                        .has_tokens = gka_judge_has_tokens(output),
                        .out = j->out.of[output],
                        .steps = j->golden.steps.of[output],
                        .exact = j->golden.exact.of[output],
                        .through = j->golden.through.of[output],
                        .local = j->local.of[output],
                        .by_through = j->golden.by_through[output]};
    o.rank = gka_output_shape(problem, output, o.shape);
    for (int u = 0; u < GKA_OUTPUTS && o.local == NULL && !j->golden.stage; u++) {
        /* Where x alone is given, what wants p too has nothing to be judged by. */
        const bool given = j->options->given != 0 ? u <= GKA_OUT_FRO : j->out.of[u] != NULL;
        if (table->upstream >> u & 1 && !given)
            row->lacking = gka_output_table[u].name;
    }
    const gka_status status = differentiate_steps(j, output, &o, error);
    return status == GKA_OK ? gka_golden_judge_row(j->options, &o, j->verdict, row, error) : status;
}

/* ---- all ----------------------------------------------------------------------------------- */

gka_status gka_golden_judge(const gka_file *candidate, const gka_file *golden,
                            const gka_golden_options *options, gka_golden_verdict *verdict,
                            gka_error *error) {
    *verdict = (gka_golden_verdict){0};
    static const gka_golden_options none = {0};
    job j = {
        .candidate = candidate, .options = options == NULL ? &none : options, .verdict = verdict};
    if (gka_golden_is_served(golden))
        return gka_golden_judge_served(candidate, golden, j.options, verdict, error);
    gka_status status = gka_golden_read(golden, &j.golden, error);
    verdict->problem = j.golden.problem;
    if (status == GKA_OK)
        status = load_all(&j, error);
    if (status == GKA_OK && j.options->given != 0 && j.golden.stage)
        status = gka_fail(error, GKA_BAD_ARGUMENT,
                          "given: %s is of one stage, which has what it is given",
                          gka_file_path(golden));
    else if (status == GKA_OK && j.options->given != 0)
        status = local_at_given(&j, error);
    else if (status == GKA_OK && !j.golden.stage)
        status = gka_golden_local(&verdict->problem, j.golden.wanted, &j.out, &j.local, error);
    if (status == GKA_OK)
        meet_symmetric(&j);
    for (size_t i = 0; i < verdict->row_count && status == GKA_OK; i++) {
        gka_golden_row *const row = &verdict->rows[i];
        if (row->tensor != NULL)
            status = judge(&j, gka_output_find(row->name), row, error);
        else if (row->required)
            row->judged.ok = GKA_FAIL, verdict->failed++;
    }
    gka_golden_free(&j.out);
    gka_golden_free(&j.local);
    j.golden.problem = (gka_problem){0}; /* the verdict's now */
    gka_golden_reference_free(&j.golden);
    return status;
}

void gka_golden_verdict_free(gka_golden_verdict *verdict) {
    gka_problem_free(&verdict->problem);
    gka_free(verdict->rows);
    *verdict = (gka_golden_verdict){0};
}
