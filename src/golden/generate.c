/* generate.c - a golden from a spec or from a user's own inputs (gka/golden.h, section 1).
 */
#include "golden/served.h"
#include "golden/spec.h"
#include "golden/way.h"

#include "gka/format.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the problem --------------------------------------------------------------------------- */

static unsigned wanted_outputs(const gka_golden_spec *spec, unsigned given,
                               const gka_problem *problem) {
    unsigned wanted = 0;
    for (int i = 0; i < GKA_OUTPUTS && spec->stage != GKA_STAGE_ALL; i++)
        if (gka_golden_stage_outputs(spec->stage) >> i & 1 && gka_golden_possible(problem, i))
            wanted |= 1u << i;
    if (spec->stage != GKA_STAGE_ALL)
        return given & GKA_GIVEN_F ? wanted & ~(1u << GKA_OUT_FRO) : wanted;
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        const gka_pass part = gka_output_table[i].pass;
        const bool asked = part == GKA_PASS_FORWARD  ? spec->forward
                           : part == GKA_PASS_STATES ? spec->states
                                                     : spec->backward;
        if (asked && gka_golden_possible(problem, i))
            wanted |= 1u << i;
    }
    return wanted;
}

/* How the values are made: what is long and has more than one window is streamed. */
static void choose_way(golden_job *j, const gka_problem *problem) {
    j->is_long = j->spec->stage == GKA_STAGE_ALL && !j->spec->lo && problem->lambda == 0 &&
                 j->spec->sequences == 0 && j->spec->oracle == GKA_ORACLE_CERTIFIED &&
                 gka_golden_streams(problem, j->limits);
    j->way = j->is_long && problem->T > gka_golden_window(j->limits, problem->chunk_size)
                 ? &gka_golden_many_windows
                 : &gka_golden_one_window;
}

static gka_status check_memory(const golden_job *j, const gka_problem *p, const char *where,
                               gka_error *error) {
    const double bytes = j->way->bytes(j, p);
    const double there = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    if (bytes <= there)
        return GKA_OK;
    return gka_fail(error, where == NULL ? GKA_BAD_ARGUMENT : GKA_BAD_FILE,
                    "%s%sB T H G D V = %.0f %.0f %.0f %.0f %.0f %.0f: %.3g GB of memory needed; at "
                    "most %.3g GB was expected",
                    where == NULL ? "" : where, where == NULL ? "" : ": ", (double)p->B,
                    (double)p->T, (double)p->H, (double)p->G, (double)p->D, (double)p->V,
                    bytes * 1e-9, there * 1e-9);
}

/* The generator makes one sequence; here it is cut up. */
static gka_status pack(golden_job *j, gka_error *error) {
    const gka_golden_spec *const spec = j->spec;
    for (int i = 0; i < spec->sequences; i++)
        j->bounds[i + 1] = j->bounds[i] + spec->lengths[i];
    j->problem.N = spec->sequences;
    j->problem.cu_seqlens = j->bounds;
    return gka_problem_check(&j->problem, NULL, error);
}

static gka_status make_problem(golden_job *j, const gka_file *inputs, const char *path,
                               gka_error *error) {
    j->inputs = j->streamed.file = inputs;
    gka_status status;
    if (inputs != NULL) {
        status = gka_problem_from_file(inputs, &j->problem, NULL, error);
        choose_way(j, &j->problem);
        return status == GKA_OK ? check_memory(j, &j->problem, gka_file_path(inputs), error)
                                : status;
    }
    const gka_generator g = gka_golden_generator(j->spec);
    if (g.H % g.G != 0)
        return gka_fail(error, GKA_BAD_ARGUMENT, "G is %lld: a divisor of H = %lld was expected",
                        (long long)g.G, (long long)g.H);
    if (j->spec->sequences > 0 && (g.B != 1 || g.h0 || g.final))
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "lengths: packed sequences: B = 1, no h0 and no final were expected");
    const gka_problem extents = {.B = g.B,
                                 .T = g.T,
                                 .H = g.H,
                                 .G = g.G,
                                 .D = g.D,
                                 .V = g.V,
                                 .N = j->spec->sequences > 0 ? j->spec->sequences : g.B,
                                 .lambda = g.lambda,
                                 .chunk_size = g.chunk_size};
    choose_way(j, &extents);
    status = check_memory(j, &extents, NULL, error);
    if (status == GKA_OK)
        status = j->way->inputs(j, &g, path, error);
    return status == GKA_OK && j->spec->sequences > 0 ? pack(j, error) : status;
}

/* ---- how far --------------------------------------------------------------------------------- */

/* As measured at D = 128: a pass of gradients takes as long as four forward; a profile of the panel
 * 2.7 forward passes, and with gradients 14. */
static const double GRADIENT = 4, PROFILE = 2.7, PROFILE_GRADIENTS = 14;

static bool has_gradients(const golden_job *j) {
    return j->wanted >> GKA_OUT_SOLVE_DQ != 0;
}

static double profile_work(const golden_job *j) {
    return has_gradients(j) ? PROFILE_GRADIENTS : PROFILE;
}

/* The first panel, if the problem can run it. */
static void start_meter(golden_job *j) {
    const gka_panel_kind kind = gka_panels_of(&j->problem)->kind;
    int profiles = j->spec->emulate;
    for (size_t i = 0; i < gka_panel_row_count; i++) {
        const gka_right_kernel *const right = &gka_right_kernels[i];
        profiles += gka_panel_takes(kind, right, &j->problem) == GKA_TAKES_ALL &&
                    right->takes[kind] != GKA_TAKES_TOKEN &&
                    strncmp(right->kernel, "tokens", 6) != 0;
    }
    j->meter.total = 1 + (has_gradients(j) ? 2 * GRADIENT : 0) + profiles * profile_work(j);
}

static bool report_step(void *context, double done, double total) {
    const golden_meter *const m = context;
    return gka_progress_report(m->progress, m->done + m->step * (total > 0 ? done / total : 1),
                               m->total);
}

/* For work that the meter does not count: it can be stopped, and nothing advances. */
static gka_progress only_stopped(golden_job *j) {
    j->meter.step = 0;
    return (gka_progress){.report = report_step, .context = &j->meter};
}

static gka_status end_step(golden_job *j, double step, gka_error *error) {
    j->meter.done += step;
    if (gka_progress_report(j->meter.progress, fmin(j->meter.done, j->meter.total), j->meter.total))
        return GKA_OK;
    return gka_fail(error, GKA_INTERRUPTED, "interrupted");
}

/* ---- references ---------------------------------------------------------------------------- */

/* What a call for the gradients of a part proved of the outputs that it filled. */
static void note_proven(golden_job *j, gka_pass pass, const gka_oracle_report *report) {
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        const gka_pass own = gka_output_table[i].pass;
        if (golden_wants(j, i) && (own == pass || own == GKA_PASS_FORWARD) &&
            report->largest[i] > 0)
            j->proven[i] = fmax(j->proven[i], report->bound[i] / report->largest[i]);
    }
}

static void add_report(gka_oracle_report *sum, const gka_oracle_report *one) {
    sum->solves += one->solves;
    sum->empty_states += one->empty_states;
    sum->recomputed += one->recomputed;
    sum->ties += one->ties;
    sum->declared += one->declared;
    sum->zeros += one->zeros;
    sum->worst_bound = fmax(sum->worst_bound, one->worst_bound);
    sum->elements += one->elements;
    sum->elements_mpfr += one->elements_mpfr;
    sum->elements_undecided += one->elements_undecided;
    for (int i = 0; i < one->listed && sum->listed < GKA_ORACLE_LISTED; i++)
        sum->unproven[sum->listed++] = one->unproven[i];
}

static gka_status make_exact(golden_job *j, gka_error *error) {
    static const gka_pass passes[] = {GKA_PASS_FORWARD, GKA_PASS_SOLVE, GKA_PASS_LAYER};
    const gka_progress progress = {.report = report_step, .context = &j->meter};
    gka_status status = GKA_OK;
    for (int i = 0; i < (has_gradients(j) ? 3 : 1) && status == GKA_OK; i++) {
        gka_oracle_report report = {0};
        j->meter.step = i == 0 ? 1 : GRADIENT;
        status = j->way->exact(j, passes[i], &progress, &report, error);
        add_report(&j->report, &report);
        note_proven(j, passes[i], &report);
        if (status == GKA_OK)
            status = end_step(j, j->meter.step, error);
    }
    return status;
}

/* ---- tolerances ---------------------------------------------------------------------------- */

/* The upstream tensors of what is wanted, too. */
static unsigned with_upstream(const gka_problem *problem, unsigned wanted) {
    unsigned all = wanted;
    for (int i = 0; i < GKA_OUTPUTS; i++)
        if (wanted >> i & 1)
            for (int u = 0; u < GKA_OUTPUTS; u++)
                if (gka_output_table[i].upstream >> u & 1 && gka_golden_possible(problem, u))
                    all |= 1u << u;
    return all;
}

/* The steps values rounded once to the stored types. */
static gka_status make_floor(golden_job *j, unsigned all, gka_error *error) {
    const gka_progress progress = only_stopped(j);
    return j->way->errors(j, 0, NULL, &j->problem, all, j->wanted, &progress, j->floor, error);
}

/* Raises the stage errors of these outputs; where an error is not finite, `bad` is or-ed in. */
static void raise_to(golden_job *j, unsigned wanted, const golden_error errors[GKA_OUTPUTS],
                     unsigned bad) {
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        if (!(wanted >> i & 1))
            continue;
        if (isfinite(errors[i].rel) && isfinite(errors[i].row))
            j->stage[i] = (golden_error){fmax(j->stage[i].rel, errors[i].rel),
                                         fmax(j->stage[i].row, errors[i].row)};
        else
            j->bad |= bad << i;
    }
}

/* One kernel of a panel: what it is run for, and what its outputs are worth. */
typedef struct golden_member {
    gka_kernel kernel;
    gka_problem problem;       /* at its chunk size and with its number of steps */
    unsigned all, wanted, bad; /* bad: or-ed in where an error is not finite */
    double work, share;        /* on the meter; how much of it is done */
    golden_error errors[GKA_OUTPUTS];
    gka_status status;
    gka_error error;
} golden_member;

typedef struct golden_panel_run {
    golden_job *job;
    golden_member *members;
    pthread_mutex_t lock; /* of the meter */
} golden_panel_run;

typedef struct golden_member_progress {
    golden_panel_run *run;
    golden_member *member;
} golden_member_progress;

/* f alone: the error of a norm is that of a few sums, one for each chunk and head, and kernels that
 * take them in other orders have others. f needs no iterations. Else all open outputs: of chunks as
 * long as the problem's own an error that is not finite is a bad sign; else it is passed over.
 * False: there is nothing to do. */
static bool plan_member(const golden_job *j, gka_takes takes, unsigned all, golden_member *m) {
    const gka_kernel *const kernel = &m->kernel;
    const unsigned fro = 1u << GKA_OUT_FRO;
    const bool chunks = kernel->engine == GKA_ENGINE_CHUNKS && !kernel->decode,
               own = m->problem.chunk_size == j->problem.chunk_size;
    if (kernel->decode && gka_kernel_check(kernel, &m->problem, NULL) != GKA_OK)
        return false;
    if (takes == GKA_TAKES_F) {
        m->problem.chunk_size = j->problem.chunk_size;
        m->problem.num_iter = 0;
        m->all = m->wanted = fro;
        return j->open & fro;
    }
    m->wanted = j->open & gka_kernel_outputs(kernel);
    if (!own)
        m->wanted &=
            ~GKA_BIT(H_CHUNK); /* the states before each chunk are others when chunks are */
    m->all = kernel->decode ? m->wanted : all;
    m->bad = chunks && own ? 1u : 0u;
    m->work = chunks ? profile_work(j) : 0;
    return true;
}

static bool report_member(void *context, double done, double total) {
    const golden_member_progress *const p = context;
    golden_meter *const meter = &p->run->job->meter;
    golden_member *const m = p->member;
    const double share = total > 0 ? done / total : 1;
    pthread_mutex_lock(&p->run->lock);
    meter->done += m->work * (share - m->share);
    m->share = share;
    const bool go_on =
        gka_progress_report(meter->progress, fmin(meter->done, meter->total), meter->total);
    pthread_mutex_unlock(&p->run->lock);
    return go_on;
}

static void run_member(void *context, int64_t i, int worker) {
    golden_panel_run *const run = context;
    golden_job *const j = run->job;
    golden_member *const m = &run->members[i];
    golden_member_progress to = {run, m};
    const gka_progress progress = {.report = report_member, .context = &to};
    m->status = j->way->errors(j, worker, &m->kernel, &m->problem, m->all, m->wanted, &progress,
                               m->errors, &m->error);
    if (m->status == GKA_OK && !report_member(&to, 1, 1))
        m->status = gka_fail(&m->error, GKA_INTERRUPTED, "interrupted");
}

/* Side by side, or each by itself; the first that failed says why. */
static gka_status run_members(golden_job *j, golden_member *members, int64_t count,
                              gka_error *error) {
    golden_panel_run run = {.job = j, .members = members};
    bool all = true;
    pthread_mutex_init(&run.lock, NULL);
    if (j->way->side_by_side)
        all = gka_parallel(count, run_member, &run);
    for (int64_t i = 0; i < count && !j->way->side_by_side; i++) {
        run_member(&run, i, 0);
        if (members[i].status != GKA_OK)
            count = i + 1;
    }
    pthread_mutex_destroy(&run.lock);
    for (int64_t i = 0; i < count; i++)
        if (members[i].status != GKA_OK)
            return gka_fail(error, members[i].status, "%s", members[i].error.text);
    for (int64_t i = 0; i < count && all; i++)
        raise_to(j, members[i].wanted, members[i].errors, members[i].bad);
    return all ? GKA_OK : gka_fail(error, GKA_INTERRUPTED, "interrupted");
}

/* Raises the errors of the open outputs to those of a panel's kernels. */
static gka_status raise_by_panel(golden_job *j, const gka_panel *panel, unsigned all,
                                 gka_error *error) {
    golden_member *const members = gka_alloc(gka_panel_row_count, sizeof *members);
    int64_t count = 0;
    if (members == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory for a panel");
    gka_status status = GKA_OK;
    for (size_t i = 0; i < gka_panel_row_count && status == GKA_OK; i++) {
        const gka_right_kernel *const right = &gka_right_kernels[i];
        const gka_takes takes = gka_panel_takes(panel->kind, right, &j->problem);
        golden_member *const m = &members[count];
        if (takes != GKA_TAKES_ALL && takes != GKA_TAKES_F)
            continue;
        *m = (golden_member){.problem = j->problem};
        status = gka_right_kernel_find(panel, right, &m->problem, &m->kernel, error);
        if (right->chunk != 0)
            m->problem.chunk_size = right->chunk;
        count += status == GKA_OK && plan_member(j, takes, all, m);
    }
    if (status == GKA_OK)
        status = run_members(j, members, count, error);
    gka_free(members);
    return status;
}

/* The open outputs' stage errors; those that are not finite at the problem's own chunk size stay
 * open. */
static gka_status make_stage_by_panel(golden_job *j, const gka_panel *panel, unsigned all,
                                      gka_error *error) {
    j->bad = 0;
    for (int i = 0; i < GKA_OUTPUTS; i++)
        if (j->open >> i & 1) {
            j->stage[i] = (golden_error){0, 0};
            j->panel[i] = panel;
        }
    const gka_status status = raise_by_panel(j, panel, all, error);
    for (int i = 0; i < GKA_OUTPUTS; i++)
        if (j->bad >> i & 1)
            j->stage[i] = (golden_error){NAN, NAN};
    j->open = j->bad;
    return status;
}

/* Panels of kernels that are right (kernel/panel.h). */
static gka_status make_stage_of_overflow(golden_job *j, unsigned all, gka_error *error) {
    const unsigned open = j->open;
    gka_status status = make_stage_by_panel(j, &gka_panel_overflow[0], all, error);
    for (int i = 0; i < GKA_OUTPUTS; i++)
        if (open >> i & 1)
            j->stage[i] = (golden_error){0x1p-3 * j->stage[i].rel, 0x1p-3 * j->stage[i].row};
    j->open = open;
    return status == GKA_OK ? raise_by_panel(j, &gka_panel_overflow[1], all, error) : status;
}

static gka_status make_stage(golden_job *j, unsigned all, gka_error *error) {
    const gka_dtype dtype = j->problem.q.dtype;
    gka_status status = GKA_OK;
    j->open = j->wanted;
    for (const gka_panel *panel = gka_panels_of(&j->problem);
         panel->kernel != NULL && j->open != 0 && status == GKA_OK; panel++) {
        gka_kernel kernel;
        status = gka_right_kernel_find(panel, NULL, &j->problem, &kernel, error);
        if (status == GKA_OK && gka_kernel_check(&kernel, &j->problem, NULL) == GKA_OK)
            status = make_stage_by_panel(j, panel, all, error);
    }
    return status == GKA_OK && dtype == GKA_F16 && j->open != 0
               ? make_stage_of_overflow(j, all, error)
               : status;
}

/* NAME.h100: the released kernels' own bits. */
static gka_status emulate(golden_job *j, gka_error *error) {
    gka_kernel h100;
    gka_status status = gka_kernel_find("h100", &h100, error);
    const gka_progress progress = {.report = report_step, .context = &j->meter};
    j->meter.step = profile_work(j);
    if (status == GKA_OK)
        status = j->way->emulate(j, &h100, &progress, error);
    return status == GKA_OK ? end_step(j, profile_work(j), error) : status;
}

static gka_status make_tolerances(golden_job *j, gka_error *error) {
    const unsigned all =
        with_upstream(&j->problem, j->wanted) | gka_golden_given_outputs(j->given_bits, j->wanted);
    const gka_progress progress = only_stopped(j);
    gka_status status = j->way->steps(j, all, &progress, error);
    if (status == GKA_OK)
        status = make_floor(j, all, error);
    if (status == GKA_OK)
        status = make_stage(j, all, error);
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++) {
        const double least = golden_wants(j, i) ? gka_golden_least_tolerance(j, i) : NAN;
        j->tolerance[i] = gka_golden_tolerance_of(j->floor[i], j->stage[i], least);
    }
    if (status == GKA_OK && gka_golden_whole_layer(j))
        status = gka_golden_tolerances_of_exact(j, all, error);
    if (status == GKA_OK)
        status = gka_golden_make_through(j, error);
    if (status == GKA_OK && j->spec->emulate)
        status = emulate(j, error);
    return status;
}

/* ---- one stage ----------------------------------------------------------------------------- */

/* What the stage is handed, and its references there. Only a solve iterates: what the other stages
 * should give is exact. */
static gka_status make_stage_references(golden_job *j, gka_error *error) {
    const gka_golden_stage stage = j->spec->stage;
    gka_oracle_report reports[2] = {{0}, {0}};
    gka_status status;
    if (j->inputs != NULL)
        status = gka_golden_given_read(&j->problem, j->given_bits, j->wanted, j->inputs, false,
                                       &j->given, error);
    else
        status = gka_golden_given_take(&j->problem, j->given_bits, j->wanted, &j->steps, true,
                                       &j->given, error);
    if (status == GKA_OK)
        status = gka_golden_allocate(&j->problem, j->wanted, &j->exact, error);
    if (status == GKA_OK && j->spec->lo)
        status = gka_golden_allocate(&j->problem, j->wanted, &j->lo, error);
    const gka_progress progress = {.report = report_step, .context = &j->meter};
    j->meter.step = 2 * GRADIENT;
    if (status == GKA_OK)
        status = gka_golden_exact_at(&j->problem, j->wanted, &j->given, &progress, &j->exact,
                                     j->spec->lo ? &j->lo : NULL, reports, error);
    for (int i = 0; i < 2; i++) {
        add_report(&j->report, &reports[i]);
        note_proven(j, i == 0 ? GKA_PASS_SOLVE : GKA_PASS_LAYER, &reports[i]);
    }
    if (status == GKA_OK && stage == GKA_STAGE_SOLVE && j->given_bits != 0)
        status = gka_golden_steps_at(&j->problem, j->wanted, &j->given, &j->steps, error);
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK && stage != GKA_STAGE_SOLVE; i++)
        if (golden_wants(j, i))
            memcpy(j->steps.of[i], j->exact.of[i],
                   (size_t)gka_output_count(&j->problem, i) * sizeof(double));
    return status;
}

/* ---- all ----------------------------------------------------------------------------------- */

/* A golden of MesaNet, whose ridge is constant: x and o. */
static gka_status check_lambda(const golden_job *j, gka_error *error) {
    const gka_golden_spec *const spec = j->spec;
    const gka_problem *const p = &j->problem;
    if (p->lambda == 0)
        return GKA_OK;
    if (spec->stage != GKA_STAGE_ALL || spec->emulate || !spec->forward)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "lambda: a golden of MesaNet has x and o: no stage, no emulate and outputs "
                        "with forward were expected");
    gka_kernel kernel;
    const gka_status status = gka_kernel_find("h100/mesa", &kernel, error);
    return status == GKA_OK ? gka_kernel_check(&kernel, p, error) : status;
}

static gka_status check_emulation(const golden_job *j, gka_error *error) {
    if (j->spec->stage != GKA_STAGE_ALL)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "emulate is 'h100': none was expected for a stage");
    gka_kernel h100;
    const gka_status status = gka_kernel_find("h100", &h100, error);
    return status == GKA_OK ? gka_kernel_check(&h100, &j->problem, error) : status;
}

gka_status gka_golden_generate(const gka_golden_spec *spec, const gka_file *inputs,
                               const char *path, const gka_progress *progress, gka_error *error) {
    if (spec->serving)
        return gka_golden_generate_served(spec, inputs, path, progress, error);
    if (spec->prefill >= 0 || spec->h_type != GKA_STATE_FP32 || spec->u_type != GKA_STATE_FP32)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "%s: a golden of a server (serving) was expected with it",
                        spec->prefill >= 0               ? "prefill"
                        : spec->h_type != GKA_STATE_FP32 ? "h-type"
                                                         : "u-type");
    return gka_golden_generate_within(spec, inputs, &gka_golden_limits_default, path, progress,
                                      error);
}

gka_status gka_golden_generate_within(const gka_golden_spec *spec, const gka_file *inputs,
                                      const golden_limits *limits, const char *path,
                                      const gka_progress *progress, gka_error *error) {
    golden_job j = {.spec = spec, .limits = limits, .meter = {.progress = progress}};
    j.given_bits = gka_golden_stage_given(spec->stage, spec->given);
    gka_status status = make_problem(&j, inputs, path, error);
    if (status == GKA_OK)
        status = gka_golden_stage_check(spec->stage, j.given_bits, &j.problem, error);
    if (status == GKA_OK)
        status = check_lambda(&j, error);
    if (status == GKA_OK && spec->emulate)
        status = check_emulation(&j, error);
    if (status == GKA_OK) {
        j.wanted = wanted_outputs(spec, j.given_bits, &j.problem);
        if (j.wanted == 0)
            status = gka_fail(error, GKA_BAD_ARGUMENT,
                              "outputs: the inputs have none of them; v, do or dx was expected");
    }
    if (status == GKA_OK)
        start_meter(&j);
    if (status == GKA_OK)
        status = j.way->open(&j, with_upstream(&j.problem, j.wanted), path, error);
    if (status == GKA_OK && gka_golden_whole_layer(&j))
        status = make_exact(&j, error);
    if (status == GKA_OK)
        status = make_tolerances(&j, error);
    if (status == GKA_OK && !gka_golden_whole_layer(&j))
        status = make_stage_references(&j, error);
    if (status == GKA_OK)
        status = gka_golden_job_write(&j, path, error);
    gka_golden_stream_close(j.stream);
    for (size_t i = 0; i < sizeof j.metadata / sizeof *j.metadata; i++)
        gka_free(j.metadata[i]);
    gka_golden_free(&j.exact);
    gka_golden_free(&j.lo);
    gka_golden_free(&j.steps);
    gka_golden_free(&j.emulated);
    gka_golden_free(&j.through);
    gka_golden_given_free(&j.given);
    gka_problem_free(&j.problem);
    gka_golden_inputs_free(&j.streamed);
    return status;
}
