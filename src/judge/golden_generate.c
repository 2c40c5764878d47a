/* golden_generate.c - a golden from a spec or from a user's own inputs (gka/golden.h, section 1).
 */
#include "judge/golden.h"
#include "judge/golden_spec.h"
#include "judge/golden_stage.h"
#include "judge/golden_stream.h"

#include "gka/format.h"
#include "io/bytes.h"

#include <math.h>
#include <sha2.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MADE = 4 * JUDGE_OUTPUTS + GIVEN_TENSORS, TENSORS = GKA_PROBLEM_TENSORS + MADE, NAME = 32 };

/* Work done and to do, in units of a certified forward pass. */
typedef struct meter {
    const gka_progress *progress;
    double done, step, total; /* step: of what is under way */
} meter;

typedef struct job {
    const gka_golden_spec *spec;
    meter meter;
    gka_problem problem;
    int64_t bounds[GKA_GOLDEN_SEQUENCES + 1]; /* cu_seqlens of the problem */
    const gka_file *inputs;                   /* a user's; NULL: made up */
    const golden_limits *limits;
    golden_inputs streamed; /* where they are not in memory */
    unsigned wanted;
    unsigned given_bits; /* of gka_given, where a stage alone is asked for */
    golden_given given;
    golden_stream *stream; /* of a long sequence; NULL: all of it is in memory */
    golden_values exact, lo, steps, emulated;
    gka_oracle_report report;
    double proven[JUDGE_OUTPUTS]; /* largest proven error of a gradient's element before it was
                                     rounded, over the tensor's largest element */
    golden_error floor[JUDGE_OUTPUTS], stage[JUDGE_OUTPUTS];
    const char *profile[JUDGE_OUTPUTS]; /* of stage */
    unsigned open, bad;                 /* outputs whose stage is being found; not finite */
    char *metadata[8];
    gka_text_pair pairs[12];
    size_t pair_count;
} job;

static bool wants(const job *j, int output) {
    return (j->wanted >> output & 1) != 0;
}

/* ---- the problem --------------------------------------------------------------------------- */

static unsigned wanted_outputs(const gka_golden_spec *spec, unsigned given,
                               const gka_problem *problem) {
    unsigned wanted = 0;
    for (int i = 0; i < JUDGE_OUTPUTS && spec->stage != GKA_STAGE_ALL; i++)
        if (golden_stage_outputs(spec->stage) >> i & 1 && golden_possible(problem, i))
            wanted |= 1u << i;
    if (spec->stage != GKA_STAGE_ALL)
        return given & GKA_GIVEN_F ? wanted & ~(1u << JUDGE_FRO) : wanted;
    for (int i = 0; i < JUDGE_OUTPUTS; i++) {
        const judge_part part = judge_outputs[i].part;
        const bool asked = part == JUDGE_FORWARD  ? spec->forward
                           : part == JUDGE_STATES ? spec->states
                                                  : spec->backward;
        if (asked && golden_possible(problem, i))
            wanted |= 1u << i;
    }
    return wanted;
}

static bool may_stream(const job *j, const gka_problem *problem) {
    return j->spec->stage == GKA_STAGE_ALL && !j->spec->lo && j->spec->sequences == 0 &&
           j->spec->oracle == GKA_ORACLE_CERTIFIED && golden_streams(problem, j->limits);
}

/* Inputs, and five arrays of doubles for each output: exact, steps, emulated, two to judge with. Or
 * (golden_stream.h) what its windows take. */
static gka_status check_memory(const job *j, const gka_problem *p, const char *where,
                               gka_error *error) {
    const double B = (double)p->B, T = (double)p->T, H = (double)p->H, G = (double)p->G,
                 D = (double)p->D, V = (double)p->V, N = (double)p->N;
    const double chunks =
        B * ceil(T / (double)p->chunk_size) + (p->cu_seqlens != NULL || p->N != p->B ? N : 0);
    const double all =
        8 * 5 *
        (B * T * (H * (4 * D + V + 4) + G * (2 * D + V)) + H * D * (D * (chunks + 2 * N) + N * V));
    const double bytes = may_stream(j, p) ? golden_stream_bytes(p, j->limits) : all;
    const double there = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    if (bytes <= there)
        return GKA_OK;
    return gka_fail(error, where == NULL ? GKA_BAD_ARGUMENT : GKA_BAD_FILE,
                    "%s%sB T H G D V = %.0f %.0f %.0f %.0f %.0f %.0f: %.3g GB of memory needed; at "
                    "most %.3g GB was expected",
                    where == NULL ? "" : where, where == NULL ? "" : ": ", B, T, H, G, D, V,
                    bytes * 1e-9, there * 1e-9);
}

/* The generator makes one sequence; here it is cut up. */
static gka_status pack(job *j, gka_error *error) {
    const gka_golden_spec *const spec = j->spec;
    for (int i = 0; i < spec->sequences; i++)
        j->bounds[i + 1] = j->bounds[i] + spec->lengths[i];
    j->problem.N = spec->sequences;
    j->problem.cu_seqlens = j->bounds;
    return gka_problem_check(&j->problem, NULL, error);
}

static gka_status make_problem(job *j, const gka_file *inputs, const char *path, gka_error *error) {
    j->inputs = j->streamed.file = inputs;
    gka_status status;
    if (inputs != NULL) {
        status = gka_problem_from_file(inputs, &j->problem, NULL, error);
        return status == GKA_OK ? check_memory(j, &j->problem, gka_file_path(inputs), error)
                                : status;
    }
    const gka_generator g = golden_generator(j->spec);
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
                                 .chunk_size = g.chunk_size};
    status = check_memory(j, &extents, NULL, error);
    if (status == GKA_OK && may_stream(j, &extents))
        return golden_inputs_make(&g, golden_window(j->limits, g.chunk_size), path, &j->streamed,
                                  &j->problem, error);
    if (status == GKA_OK)
        status = gka_problem_generate(&g, &j->problem, error);
    return status == GKA_OK && j->spec->sequences > 0 ? pack(j, error) : status;
}

/* ---- how far --------------------------------------------------------------------------------- */

/* As measured at D = 128: a pass of gradients takes as long as four forward; a profile of the panel
 * 2.7 forward passes, and with gradients 14. */
static const double GRADIENT = 4, PROFILE = 2.7, PROFILE_GRADIENTS = 14;

static bool has_gradients(const job *j) {
    return j->wanted >> JUDGE_SOLVE_DQ != 0;
}

static double profile_work(const job *j) {
    return has_gradients(j) ? PROFILE_GRADIENTS : PROFILE;
}

/* The chunk sizes of the panel beside the problem's own: 16, 32, 64, 128, up to the first that
 * holds the longest sequence, for all beyond give the same bits. Ends with 0. */
static const int64_t *panel_chunks(const gka_problem *problem, int64_t chunks[5]) {
    int64_t longest = 0;
    int n = 0;
    for (int64_t i = 0; i < problem->N; i++) {
        const gka_span span = gka_problem_span(problem, i);
        longest = span.end - span.begin > longest ? span.end - span.begin : longest;
    }
    for (int64_t C = 16; C <= 128; C *= 2) {
        if (C != problem->chunk_size)
            chunks[n++] = C;
        if (C >= longest)
            break;
    }
    chunks[n] = 0;
    return chunks;
}

/* Below this many pairs of token and head an error is the luck of a few roundings, and kernels that
 * sum alike have it alike (the relative spread of an error over n pairs is about 1/sqrt(2 n)). */
enum { FEW_PAIRS = 256 };

static bool few_pairs(const gka_problem *problem) {
    return problem->B * problem->T * problem->H < FEW_PAIRS;
}

static void start_meter(job *j) {
    int64_t chunks[5];
    int profiles = 2 + j->spec->emulate; /* the problem's own chunk size, and two-term */
    for (const int64_t *C = panel_chunks(&j->problem, chunks); *C != 0; C++)
        profiles++;
    const gka_dtype dtype = j->problem.q.dtype;
    profiles += few_pairs(&j->problem) && (dtype == GKA_BF16 || dtype == GKA_F16) ? 6 : 0;
    j->meter.total = 1 + (has_gradients(j) ? 2 * GRADIENT : 0) + profiles * profile_work(j);
}

static bool report_step(void *context, double done, double total) {
    const meter *const m = context;
    return gka_progress_report(m->progress, m->done + m->step * (total > 0 ? done / total : 1),
                               m->total);
}

/* For work that the meter does not count: it can be stopped, and nothing advances. */
static gka_progress only_stopped(job *j) {
    j->meter.step = 0;
    return (gka_progress){.report = report_step, .context = &j->meter};
}

static gka_status end_step(job *j, double step, gka_error *error) {
    j->meter.done += step;
    if (gka_progress_report(j->meter.progress, fmin(j->meter.done, j->meter.total), j->meter.total))
        return GKA_OK;
    return gka_fail(error, GKA_INTERRUPTED, "interrupted");
}

/* ---- references ---------------------------------------------------------------------------- */

static bool set_exact(const job *j, unsigned parts, const golden_values *values, gka_exact *out) {
    bool some = false;
    for (int i = 0; i < JUDGE_OUTPUTS; i++)
        if (wants(j, i) && parts >> judge_outputs[i].part & 1) {
            *judge_exact(out, i) = values->of[i];
            some = true;
        }
    return some;
}

static gka_gradient gradient_of(int output) {
    switch ((judge_output_id)output) {
    case JUDGE_SOLVE_DQ:
    case JUDGE_LAYER_DQ: return GKA_GRADIENT_DQ;
    case JUDGE_SOLVE_DK:
    case JUDGE_LAYER_DK: return GKA_GRADIENT_DK;
    case JUDGE_LAYER_DV: return GKA_GRADIENT_DV;
    case JUDGE_LAYER_DALPHA: return GKA_GRADIENT_DALPHA;
    case JUDGE_SOLVE_DG:
    case JUDGE_LAYER_DG: return GKA_GRADIENT_DG;
    case JUDGE_SOLVE_DH0: return GKA_GRADIENT_DH0;
    case JUDGE_X: return GKA_GRADIENT_X;
    case JUDGE_FRO: return GKA_GRADIENT_FRO;
    case JUDGE_O: return GKA_GRADIENT_O;
    default: return GKA_GRADIENTS;
    }
}

/* What a call for the gradients of a part proved of the outputs that it filled. */
static void note_proven(job *j, judge_part part, const gka_oracle_report *report) {
    for (int i = 0; i < JUDGE_OUTPUTS; i++) {
        const gka_gradient tensor = gradient_of(i);
        const bool own = judge_outputs[i].part == part || judge_outputs[i].part == JUDGE_FORWARD;
        if (wants(j, i) && own && tensor < GKA_GRADIENTS && report->largest[tensor] > 0)
            j->proven[i] = fmax(j->proven[i], report->bound[tensor] / report->largest[tensor]);
    }
}

static void add_report(gka_oracle_report *sum, const gka_oracle_report *one) {
    sum->solves += one->solves;
    sum->empty_states += one->empty_states;
    sum->recomputed += one->recomputed;
    sum->ties += one->ties;
    sum->zeros += one->zeros;
    sum->worst_bound = fmax(sum->worst_bound, one->worst_bound);
    sum->elements += one->elements;
    sum->elements_mpfr += one->elements_mpfr;
    sum->elements_undecided += one->elements_undecided;
}

static gka_status make_exact_stream(job *j, gka_error *error) {
    static const judge_part parts[] = {JUDGE_FORWARD, JUDGE_SOLVE, JUDGE_LAYER};
    const gka_progress progress = {.report = report_step, .context = &j->meter};
    gka_status status = GKA_OK;
    for (int i = 0; i < (has_gradients(j) ? 3 : 1) && status == GKA_OK; i++) {
        gka_oracle_report report = {0};
        j->meter.step = i == 0 ? 1 : GRADIENT;
        status = golden_stream_exact(j->stream, parts[i], j->wanted, &progress, &report, error);
        add_report(&j->report, &report);
        note_proven(j, parts[i], &report);
        if (status == GKA_OK)
            status = end_step(j, j->meter.step, error);
    }
    return status;
}

static gka_status make_exact(job *j, gka_error *error) {
    if (j->stream != NULL)
        return make_exact_stream(j, error);
    const gka_oracle_options options = {.oracle = j->spec->oracle,
                                        .progress = {.report = report_step, .context = &j->meter}};
    const struct {
        unsigned parts;
        gka_cotangent cotangent;
    } rounds[] = {{1u << JUDGE_FORWARD | 1u << JUDGE_STATES, GKA_COTANGENT_X},
                  {1u << JUDGE_SOLVE, GKA_COTANGENT_X},
                  {1u << JUDGE_LAYER, GKA_COTANGENT_O}};
    gka_status status = golden_allocate(&j->problem, j->wanted, &j->exact, error);
    if (status == GKA_OK && j->spec->lo)
        status = golden_allocate(&j->problem, j->wanted, &j->lo, error);
    for (int i = 0; i < 3 && status == GKA_OK; i++) {
        gka_exact out = {0}, lo = {0};
        gka_oracle_report report = {0};
        if (!set_exact(j, rounds[i].parts, &j->exact, &out))
            continue;
        (void)set_exact(j, j->spec->lo ? rounds[i].parts : 0, &j->lo, &lo);
        gka_exact *const second = j->spec->lo ? &lo : NULL;
        j->meter.step = i == 0 ? 1 : GRADIENT;
        status = i == 0 ? gka_oracle_forward(&j->problem, &options, &out, second, &report, error)
                        : gka_oracle_gradient(&j->problem, rounds[i].cotangent, &options, &out,
                                              second, &report, error);
        add_report(&j->report, &report);
        note_proven(j, (judge_part[]){JUDGE_FORWARD, JUDGE_SOLVE, JUDGE_LAYER}[i], &report);
        if (status == GKA_OK)
            status = end_step(j, j->meter.step, error);
    }
    return status;
}

/* ---- tolerances ---------------------------------------------------------------------------- */

/* The upstream tensors of what is wanted, too. */
static unsigned with_upstream(const gka_problem *problem, unsigned wanted) {
    unsigned all = wanted;
    for (int i = 0; i < JUDGE_OUTPUTS; i++)
        if (wanted >> i & 1)
            for (int u = 0; u < JUDGE_OUTPUTS; u++)
                if (judge_outputs[i].upstream >> u & 1 && golden_possible(problem, u))
                    all |= 1u << u;
    return all;
}

/* The steps values rounded once to the stored types. */
static gka_status make_floor(job *j, unsigned all, const golden_values *steps, gka_error *error) {
    golden_values rounded = {0};
    const gka_progress progress = only_stopped(j);
    if (j->stream != NULL)
        return golden_stream_errors(j->stream, (golden_kernel){0}, &j->problem, j->wanted,
                                    &progress, j->floor, error);
    gka_status status = golden_allocate(&j->problem, all, &rounded, error);
    for (int i = 0; i < JUDGE_OUTPUTS && status == GKA_OK; i++)
        if (all >> i & 1)
            memcpy(rounded.of[i], steps->of[i],
                   (size_t)judge_count(&j->problem, i) * sizeof(double));
    if (status == GKA_OK) {
        golden_store(&j->problem, all, &rounded);
        status = golden_errors(&j->problem, j->wanted, &rounded, steps, j->floor, error);
    }
    golden_free(&rounded);
    return status;
}

/* The states before each chunk are others when chunks are. */
static unsigned independent_of_chunks(unsigned wanted) {
    return wanted & ~(1u << JUDGE_H_CHUNK);
}

/* Raises the stage errors of these outputs; where an error is not finite, `bad` is or-ed in. */
static void raise_to(job *j, unsigned wanted, const golden_error errors[JUDGE_OUTPUTS],
                     unsigned bad) {
    for (int i = 0; i < JUDGE_OUTPUTS; i++) {
        if (!(wanted >> i & 1))
            continue;
        if (isfinite(errors[i].rel) && isfinite(errors[i].row))
            j->stage[i] = (golden_error){fmax(j->stage[i].rel, errors[i].rel),
                                         fmax(j->stage[i].row, errors[i].row)};
        else
            j->bad |= bad << i;
    }
}

/* Raises the stage errors of the open outputs to those of this profile. At the problem's own chunk
 * size an error that is not finite is a bad sign; at another it is passed over. */
static gka_status raise_stage(job *j, const gka_problem *problem, const gka_profile *profile,
                              unsigned all, gka_error *error) {
    golden_error errors[JUDGE_OUTPUTS];
    golden_values values = {0};
    const bool own = problem->chunk_size == j->problem.chunk_size;
    const unsigned wanted = own ? j->open : independent_of_chunks(j->open);
    const gka_progress progress = {.report = report_step, .context = &j->meter};
    j->meter.step = profile_work(j);
    gka_status status = j->stream != NULL
                            ? golden_stream_errors(j->stream, (golden_kernel){.profile = profile},
                                                   problem, wanted, &progress, errors, error)
                            : golden_steps(problem, profile, own ? all : independent_of_chunks(all),
                                           &values, error);
    if (status == GKA_OK && j->stream == NULL) {
        golden_store(problem, all, &values);
        status = golden_errors(problem, wanted, &values, &j->steps, errors, error);
    }
    if (status == GKA_OK)
        raise_to(j, wanted, errors, own ? 1u : 0u);
    golden_free(&values);
    return status == GKA_OK ? end_step(j, profile_work(j), error) : status;
}

/* The recurrence token by token in binary32, nothing fused: what someone writes first. */
static gka_status raise_stage_by_tokens(job *j, unsigned all, gka_error *error) {
    const unsigned wanted = independent_of_chunks(j->open);
    golden_error errors[JUDGE_OUTPUTS];
    golden_values values = {0};
    const gka_progress progress = only_stopped(j);
    gka_status status =
        j->stream != NULL
            ? golden_stream_errors(j->stream, (golden_kernel){.policy = "fp32"}, &j->problem,
                                   wanted, &progress, errors, error)
            : golden_by_tokens(&j->problem, "fp32", independent_of_chunks(all), &values, error);
    if (status == GKA_OK && j->stream == NULL) {
        golden_store(&j->problem, independent_of_chunks(all), &values);
        status = golden_errors(&j->problem, wanted, &values, &j->steps, errors, error);
    }
    if (status == GKA_OK)
        raise_to(j, wanted, errors, 0);
    golden_free(&values);
    return status;
}

/* f alone, by the h100 with two and eight warps: the error of a norm is that of a few sums, one for
 * each chunk and head, and these take them in other orders. f needs no iterations. */
static gka_status raise_fro_by_warps(job *j, const gka_profile *h100, gka_error *error) {
    static const char *const settings[] = {"num_warps=2", "num_warps=8"};
    const unsigned fro = 1u << JUDGE_FRO;
    const gka_progress progress = only_stopped(j);
    gka_problem problem = j->problem;
    problem.num_iter = 0;
    gka_status status = GKA_OK;
    for (size_t i = 0; i < sizeof settings / sizeof *settings && status == GKA_OK; i++) {
        gka_profile profile = *h100;
        golden_values values = {0};
        golden_error errors[JUDGE_OUTPUTS];
        status = gka_profile_set(&profile, settings[i], error);
        if (status == GKA_OK && j->stream != NULL)
            status = golden_stream_errors(j->stream, (golden_kernel){.profile = &profile}, &problem,
                                          fro, &progress, errors, error);
        else if (status == GKA_OK)
            status = golden_steps(&problem, &profile, fro, &values, error);
        if (status == GKA_OK && j->stream == NULL)
            status = golden_errors(&problem, fro, &values, &j->steps, errors, error);
        if (status == GKA_OK)
            raise_to(j, fro, errors, 0);
        golden_free(&values);
    }
    return status;
}

/* x f and h_final of one token by the kernel that the released code has for it. */
static gka_status raise_stage_by_decode(job *j, const gka_profile *profile, gka_error *error) {
    const unsigned wanted = j->open & (1u << JUDGE_X | 1u << JUDGE_FRO | 1u << JUDGE_H_FINAL);
    golden_error errors[JUDGE_OUTPUTS];
    golden_values values = {0};
    gka_error why = {0};
    gka_status status = golden_allocate(&j->problem, wanted, &values, error);
    gka_chunk one = {
        .x = values.of[JUDGE_X], .fro = values.of[JUDGE_FRO], .h_final = values.of[JUDGE_H_FINAL]};
    bool runs = true;
    if (status == GKA_OK) {
        status = gka_chunk_decode(&j->problem, profile, &one, &why);
        runs = status == GKA_OK;
        status = status == GKA_OUT_OF_MEMORY ? gka_fail(error, status, "%s", why.text) : GKA_OK;
    }
    if (status == GKA_OK && runs) {
        golden_store(&j->problem, wanted, &values);
        status = golden_errors(&j->problem, wanted, &values, &j->steps, errors, error);
        if (status == GKA_OK)
            raise_to(j, wanted, errors, 0);
    }
    golden_free(&values);
    return status;
}

static bool one_token_each(const gka_problem *problem) {
    for (int64_t n = 0; n < problem->N; n++) {
        const gka_span span = gka_problem_span(problem, n);
        if (span.end - span.begin != 1)
            return false;
    }
    return true;
}

/* The h100 with other sums and with parts of it in binary32, and binary32. */
static gka_status raise_stage_by_others(job *j, const gka_profile *h100, unsigned all,
                                        gka_error *error) {
    static const char *const others[][5] = {{NULL, "num_warps=2"},
                                            {NULL, "num_warps=8"},
                                            {NULL, "state_operand=exact", "state_snapshot=exact",
                                             "output_state=exact", "grad_state=exact"},
                                            {NULL, "norm_square=exact", "norm_reduce=exact"},
                                            {"ieee32"},
                                            {"ieee32"}};
    gka_status status = GKA_OK;
    for (size_t i = 0; i < sizeof others / sizeof *others && status == GKA_OK; i++) {
        gka_profile profile = *h100;
        if (others[i][0] != NULL)
            status = gka_profile_find(others[i][0], &profile, error);
        for (int n = 1; n < 5 && others[i][n] != NULL && status == GKA_OK; n++)
            status = gka_profile_set(&profile, others[i][n], error);
        if (i + 1 == sizeof others / sizeof *others) { /* its rounding points, its type */
            profile.released = h100->released;
            profile.fp16 = h100->fp16;
        }
        if (status == GKA_OK)
            status = gka_profile_set(&profile, "h0_sign=exact", error);
        if (status == GKA_OK)
            status = raise_stage(j, &j->problem, &profile, all, error);
    }
    return status;
}

static bool is_h100(const char *panel) {
    return strncmp(panel, "h100", 4) == 0;
}

/* A panel of kernels that are right: this profile at the spec's chunk size and at others, and with
 * the two-term form of the same polynomial. */
static gka_status raise_stage_by_panel(job *j, gka_profile profile, unsigned all, const char *name,
                                       gka_error *error) {
    gka_problem problem = j->problem;
    j->bad = 0;
    for (int i = 0; i < JUDGE_OUTPUTS; i++)
        if (j->open >> i & 1) {
            j->stage[i] = (golden_error){0, 0};
            j->profile[i] = name;
        }
    gka_status status = raise_stage(j, &problem, &profile, all, error);
    int64_t chunks[5];
    for (const int64_t *C = panel_chunks(&j->problem, chunks); *C != 0 && status == GKA_OK; C++) {
        problem.chunk_size = *C;
        status = raise_stage(j, &problem, &profile, all, error);
    }
    problem.chunk_size = j->problem.chunk_size;
    if (status == GKA_OK && is_h100(name) && one_token_each(&problem))
        status = raise_stage_by_decode(j, &profile, error);
    profile.form = GKA_TWO_TERM;
    if (status == GKA_OK)
        status = raise_stage(j, &problem, &profile, all, error);
    profile.form = GKA_THREE_TERM;
    const bool h100 = is_h100(name);
    if (status == GKA_OK && h100 && j->open >> JUDGE_FRO & 1)
        status = raise_fro_by_warps(j, &profile, error);
    if (status == GKA_OK && h100 && few_pairs(&problem))
        status = raise_stage_by_others(j, &profile, all, error);
    if (status == GKA_OK && strcmp(name, "ieee32") == 0)
        status = raise_stage_by_tokens(j, all, error);
    for (int i = 0; i < JUDGE_OUTPUTS; i++)
        if (j->bad >> i & 1)
            j->stage[i] = (golden_error){NAN, NAN};
    j->open = j->bad;
    return status;
}

/* A panel of profiles; what they come to is the stage error of the outputs that those before it
 * left open. */
typedef struct panel {
    const char *said, *profile, *settings[3];
} panel;

/* What a kernel's own roundings come to. bf16: the h100's. What it cannot run, and outputs where it
 * gives NaN (an empty state; the ungated dk of a ragged end): binary32 with every rounding point of
 * the kernels. fp16: the same, every point rounding to fp16, and with the norm in binary32 where it
 * overflows in fp16; and where more overflows, 2^-3 of what
 * bf16 comes to, for to first order an error is linear in the unit roundoff, 2^-11 in place of
 * 2^-8, but for operands cut to tf32, which has 2^-10 in both. fp32: binary32, by chunks and token
 * by token. With the right sign of dh0 and dh_final, which the released kernels do not have
 * (NUMERICS 5): read their way, a dh_final would make every gradient wrong. */
static const panel panels_bf16[] = {{"h100", "h100", {NULL}},
                                    {"ieee32, all=released", "ieee32", {"all=released"}},
                                    {NULL, NULL, {NULL}}};
static const panel panels_fp16[] = {
    {"h100, inputs=fp16", "h100", {"inputs=fp16"}},
    {"h100, inputs=fp16, norm_square=exact, norm_reduce=exact",
     "h100",
     {"inputs=fp16", "norm_square=exact", "norm_reduce=exact"}},
    {"ieee32, all=released, inputs=fp16", "ieee32", {"all=released", "inputs=fp16"}},
    {NULL, NULL, {NULL}}};
static const panel panels_fp32[] = {{"ieee32", "ieee32", {NULL}}, {NULL, NULL, {NULL}}};
static const panel overflow_bf16 = {
    "2^-3 of ieee32, all=released, grad_weight=exact; ieee32, grad_weight=released",
    "ieee32",
    {"all=released", "grad_weight=exact"}};

static gka_status find_profile(const panel *of, gka_profile *profile, gka_error *error) {
    gka_status status = gka_profile_find(of->profile, profile, error);
    for (size_t i = 0; i < sizeof of->settings / sizeof *of->settings; i++)
        if (of->settings[i] != NULL && status == GKA_OK)
            status = gka_profile_set(profile, of->settings[i], error);
    return status == GKA_OK ? gka_profile_set(profile, "h0_sign=exact", error) : status;
}

static gka_status make_stage_of_overflow(job *j, unsigned all, gka_error *error) {
    static const panel tf32 = {"", "ieee32", {"grad_weight=released"}};
    const unsigned open = j->open;
    gka_profile profile;
    gka_status status = find_profile(&overflow_bf16, &profile, error);
    if (status == GKA_OK)
        status = raise_stage_by_panel(j, profile, all, overflow_bf16.said, error);
    for (int i = 0; i < JUDGE_OUTPUTS; i++)
        if (open >> i & 1)
            j->stage[i] = (golden_error){0x1p-3 * j->stage[i].rel, 0x1p-3 * j->stage[i].row};
    j->open = open;
    if (status == GKA_OK)
        status = find_profile(&tf32, &profile, error);
    return status == GKA_OK ? raise_stage(j, &j->problem, &profile, all, error) : status;
}

static gka_status make_stage(job *j, unsigned all, gka_error *error) {
    const gka_dtype dtype = j->problem.q.dtype;
    const bool fp16 = dtype == GKA_F16, fp32 = dtype == GKA_F32 || dtype == GKA_F64;
    gka_status status = GKA_OK;
    j->open = j->wanted;
    for (const panel *of = fp16   ? panels_fp16
                           : fp32 ? panels_fp32
                                  : panels_bf16;
         of->said != NULL && j->open != 0 && status == GKA_OK; of++) {
        gka_profile profile;
        status = find_profile(of, &profile, error);
        if (status == GKA_OK && gka_chunk_check(&j->problem, &profile, NULL) == GKA_OK)
            status = raise_stage_by_panel(j, profile, all, of->said, error);
    }
    return status == GKA_OK && fp16 && j->open != 0 ? make_stage_of_overflow(j, all, error)
                                                    : status;
}

/* NAME.h100: the released kernels' own bits. */
static gka_status emulate(job *j, gka_error *error) {
    gka_profile profile;
    gka_status status = gka_profile_find("h100", &profile, error);
    const gka_progress progress = {.report = report_step, .context = &j->meter};
    j->meter.step = profile_work(j);
    if (status == GKA_OK && j->stream != NULL)
        status = golden_stream_emulate(j->stream, &profile, &progress, error);
    else if (status == GKA_OK)
        status = golden_steps(&j->problem, &profile, j->wanted, &j->emulated, error);
    return status == GKA_OK ? end_step(j, profile_work(j), error) : status;
}

static bool all_zero(int64_t n, const double *values) {
    for (int64_t i = 0; i < n; i++)
        if (values[i] < 0 || values[i] > 0)
            return false;
    return true;
}

/* What one rounding to the stored type may do; nothing to a tensor that is zero. */
static double least_tolerance(const job *j, int output) {
    const bool zero = j->stream != NULL
                          ? golden_stream_zero(j->stream, output)
                          : all_zero(judge_count(&j->problem, output), j->steps.of[output]);
    return zero ? 0x1p-52
                : gka_format_unit_roundoff(gka_format_of_dtype(judge_dtype(&j->problem, output)));
}

/* 2^ceil(log2(max(2 floor, 2 stage, least))); NaN where nothing can be told. */
static double tolerance_of(double floor, double stage, double least) {
    const double most = fmax(2 * fmax(floor, stage), least);
    if (!isfinite(floor) || !isfinite(stage))
        return NAN;
    int exponent;
    const double fraction = frexp(most, &exponent); /* [1/2, 1) */
    const double value = ldexp(1, fraction > .5 ? exponent : exponent - 1);
    return value < .5 ? value : NAN;
}

static gka_status make_tolerances(job *j, gka_error *error) {
    const unsigned all =
        with_upstream(&j->problem, j->wanted) | golden_given_outputs(j->given_bits, j->wanted);
    const gka_progress progress = only_stopped(j);
    gka_profile exact64;
    gka_status status = gka_profile_find("exact64", &exact64, error);
    if (status == GKA_OK)
        status = j->stream != NULL ? golden_stream_steps(j->stream, &progress, error)
                                   : golden_steps(&j->problem, &exact64, all, &j->steps, error);
    if (status == GKA_OK)
        status = make_floor(j, all, &j->steps, error);
    if (status == GKA_OK)
        status = make_stage(j, all, error);
    if (status == GKA_OK && j->spec->emulate)
        status = emulate(j, error);
    return status;
}

/* ---- one stage ----------------------------------------------------------------------------- */

/* What the stage is handed, and its references there. Only a solve iterates: what the other stages
 * should give is exact. */
static gka_status make_stage_references(job *j, gka_error *error) {
    const gka_golden_stage stage = j->spec->stage;
    gka_oracle_report reports[2] = {{0}, {0}};
    gka_status status;
    if (j->inputs != NULL)
        status = golden_given_read(&j->problem, j->given_bits, j->wanted, j->inputs, false,
                                   &j->given, error);
    else
        status = golden_given_take(&j->problem, j->given_bits, j->wanted, &j->steps, true,
                                   &j->given, error);
    if (status == GKA_OK)
        status = golden_allocate(&j->problem, j->wanted, &j->exact, error);
    if (status == GKA_OK && j->spec->lo)
        status = golden_allocate(&j->problem, j->wanted, &j->lo, error);
    const gka_progress progress = {.report = report_step, .context = &j->meter};
    j->meter.step = 2 * GRADIENT;
    if (status == GKA_OK)
        status = golden_exact_at(&j->problem, j->wanted, &j->given, &progress, &j->exact,
                                 j->spec->lo ? &j->lo : NULL, reports, error);
    for (int i = 0; i < 2; i++) {
        add_report(&j->report, &reports[i]);
        note_proven(j, i == 0 ? JUDGE_SOLVE : JUDGE_LAYER, &reports[i]);
    }
    if (status == GKA_OK && stage == GKA_STAGE_SOLVE && j->given_bits != 0)
        status = golden_steps_at(&j->problem, j->wanted, &j->given, &j->steps, error);
    for (int i = 0; i < JUDGE_OUTPUTS && status == GKA_OK && stage != GKA_STAGE_SOLVE; i++)
        if (wants(j, i))
            memcpy(j->steps.of[i], j->exact.of[i],
                   (size_t)judge_count(&j->problem, i) * sizeof(double));
    return status;
}

/* Decode is the layer itself, one token of it; so it has the forward pass's proof. */
static bool whole_layer(const job *j) {
    return j->spec->stage == GKA_STAGE_ALL || j->spec->stage == GKA_STAGE_DECODE;
}

/* ---- metadata ------------------------------------------------------------------------------ */

typedef struct builder {
    json_t *value;
    bool good;
} builder;

static void put(builder *object, const char *key, json_t *value) {
    object->good &= json_object_set_new(object->value, key, value) == 0;
}

static json_t *real_or_null(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

/* Upwards to three digits: what is printed bounds what was measured. */
static json_t *rounded_up(double x) {
    if (!isfinite(x) || !(x > 0))
        return real_or_null(x);
    double unit = 1e-300;
    while (unit * 1000 <= x)
        unit *= 10;
    return json_real(ceil(x / unit) * unit);
}

static json_t *profile_json(const job *j, int output) {
    char text[300];
    int64_t chunks[5];
    int n = snprintf(text, sizeof text, "%s, the worst of C = %lld", j->profile[output],
                     (long long)j->problem.chunk_size);
    for (const int64_t *C = panel_chunks(&j->problem, chunks); *C != 0; C++)
        n += snprintf(text + n, sizeof text - (size_t)n, " %lld", (long long)*C);
    const bool h100 = is_h100(j->profile[output]);
    (void)snprintf(text + n, sizeof text - (size_t)n, ", two-term%s%s%s",
                   strcmp(j->profile[output], "ieee32") == 0
                       ? ", token by token without fused multiply-adds"
                       : "",
                   h100 && output == JUDGE_FRO ? ", 2 and 8 warps" : "",
                   h100 && few_pairs(&j->problem)
                       ? ", binary32 states, binary32 norm, ieee32 with all points and none"
                       : "");
    return json_string(text);
}

static json_t *tolerances_json(const job *j, bool *good) {
    builder all = {json_object(), true};
    for (int i = 0; i < JUDGE_OUTPUTS; i++) {
        if (!wants(j, i))
            continue;
        builder o = {json_object(), true};
        const golden_error floor = j->floor[i], stage = j->stage[i];
        const double least = least_tolerance(j, i);
        put(&o, "value", real_or_null(tolerance_of(floor.rel, stage.rel, least)));
        put(&o, "row", real_or_null(tolerance_of(floor.row, stage.row, least)));
        const bool local = j->spec->stage == GKA_STAGE_ALL && judge_outputs[i].upstream != 0;
        put(&o, "judged", json_string(local ? "local" : "steps"));
        put(&o, "floor", rounded_up(floor.rel));
        put(&o, "stage", rounded_up(stage.rel));
        put(&o, "floor_row", rounded_up(floor.row));
        put(&o, "stage_row", rounded_up(stage.row));
        put(&o, "stage_profile", profile_json(j, i));
        put(&o, "rule", json_string("2^ceil(log2(max(2 floor, 2 stage, u))); null from 1/2 on"));
        put(&all, judge_outputs[i].name, o.value);
        all.good &= o.good;
    }
    *good &= all.good;
    return all.value;
}

/* The least number of two decimal digits from x on, x > 0. */
static double two_digits_up(double x) {
    double up = isfinite(x) ? 0 : x;
    for (double y = x; up < x; y *= 1.01) {
        char text[32];
        (void)snprintf(text, sizeof text, "%.1e", y);
        up = strtod(text, NULL);
    }
    return up;
}

/* Of gradients: how many elements were rounded how, and what was known of them before. */
static void put_proof(const job *j, builder *o) {
    builder bounds = {json_object(), true};
    for (int i = 0; i < JUDGE_OUTPUTS; i++)
        if (j->proven[i] > 0)
            put(&bounds, judge_outputs[i].name, real_or_null(two_digits_up(j->proven[i])));
    o->good &= bounds.good;
    put(o, "gradient_elements", json_integer(j->report.elements));
    put(o, "gradients_in_mpfr", json_integer(j->report.elements_mpfr));
    put(o, "gradients_undecided", json_integer(j->report.elements_undecided));
    put(o, "gradient_bounds", bounds.value);
}

static json_t *oracle_json(const job *j, bool *good) {
    builder o = {json_object(), true};
    put(&o, "oracle", json_string(gka_oracle_name(j->spec->oracle)));
    put(&o, "token_solves", json_integer(j->report.solves));
    put(&o, "empty_states", json_integer(j->report.empty_states));
    put(&o, "in_mpfr", json_integer(j->report.recomputed));
    put(&o, "ties", json_integer(j->report.ties));
    put(&o, "exact_zeros", json_integer(j->report.zeros));
    const bool certified = j->spec->oracle == GKA_ORACLE_CERTIFIED;
    const char *const proven =
        certified ? "correctly rounded, proven" : "256 bits, rounded once; no proof";
    const bool all = !certified || j->report.elements_undecided == 0;
    put(&o, "forward", json_string(proven));
    put(&o, "gradients",
        json_string(all ? proven : "correctly rounded, proven but for the undecided"));
    if (certified && j->report.elements > 0)
        put_proof(j, &o);
    *good &= o.good;
    return o.value;
}

/* Takes root. */
static gka_status add_json(job *j, const char *key, json_t *root, bool good, gka_error *error) {
    size_t i = 0;
    while (j->metadata[i] != NULL)
        i++;
    const gka_status status = golden_dump(root, good, key, &j->metadata[i], error);
    if (status == GKA_OK)
        j->pairs[j->pair_count++] = (gka_text_pair){key, j->metadata[i]};
    return status;
}

/* ---- tensors ------------------------------------------------------------------------------- */

/* All that is written: inputs first, then by output. */
typedef struct list {
    gka_tensor tensors[TENSORS];
    char names[MADE][NAME];
    size_t count, inputs, named;
    int64_t *bounds; /* cu_seqlens, little-endian */
    void *bytes[MADE];
} list;

/* A tensor of an output's shape, called name + suffix; values NULL: they are streamed. */
static gka_status add_tensor(list *l, const gka_problem *problem, int output, const char *base,
                             const char *suffix, gka_dtype dtype, const double *values,
                             gka_error *error) {
    const size_t count = (size_t)judge_count(problem, output);
    char *const name = l->names[l->named];
    unsigned char *const bytes = gka_alloc(values == NULL ? 0 : count, gka_dtype_size(dtype));
    (void)snprintf(name, NAME, "%s%s", base, suffix);
    if (bytes == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory storing '%s'", name);
    if (values != NULL)
        gka_store_array(dtype, count, values, bytes);
    l->bytes[l->named++] = bytes;
    gka_tensor *const tensor = &l->tensors[l->count++];
    *tensor = (gka_tensor){.name = name, .dtype = dtype, .data = bytes};
    tensor->rank = judge_shape(problem, output, tensor->shape);
    return GKA_OK;
}

static gka_status add_inputs(list *l, const gka_problem *problem, gka_error *error) {
    l->count = l->inputs = gka_problem_tensors(problem, l->tensors);
    if (problem->cu_seqlens == NULL)
        return GKA_OK;
    l->bounds = gka_alloc((size_t)problem->N + 1, sizeof *l->bounds);
    if (l->bounds == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory storing 'cu_seqlens'");
    for (int64_t i = 0; i <= problem->N; i++)
        gka_store_le(l->bounds + i, 8, (uint64_t)problem->cu_seqlens[i]);
    l->tensors[l->count - 1].data = l->bounds;
    return GKA_OK;
}

/* What is given counts as an input. */
static gka_status add_given(list *l, const job *j, gka_error *error) {
    gka_status status = GKA_OK;
    for (int i = 0; i < GIVEN_TENSORS && status == GKA_OK; i++)
        if (j->given.of[i] != NULL)
            status = add_tensor(l, &j->problem, golden_given_tensors[i].output,
                                golden_given_tensors[i].name, "", j->given.dtype[i], j->given.of[i],
                                error);
    l->inputs = l->count;
    return status;
}

static gka_status list_tensors(const job *j, list *l, gka_error *error) {
    gka_status status = add_inputs(l, &j->problem, error);
    if (status == GKA_OK)
        status = add_given(l, j, error);
    for (int i = 0; i < JUDGE_OUTPUTS && status == GKA_OK; i++) {
        const gka_problem *const p = &j->problem;
        const char *const name = judge_outputs[i].name;
        if (!wants(j, i))
            continue;
        status = add_tensor(l, p, i, name, ".exact", GKA_F64, j->exact.of[i], error);
        if (status == GKA_OK && j->spec->lo)
            status = add_tensor(l, p, i, name, ".exact.lo", GKA_F64, j->lo.of[i], error);
        if (status == GKA_OK)
            status = add_tensor(l, p, i, name, ".steps", GKA_F64, j->steps.of[i], error);
        if (status == GKA_OK && j->spec->emulate)
            status =
                add_tensor(l, p, i, name, ".h100", judge_dtype(p, i), j->emulated.of[i], error);
    }
    return status;
}

static void free_list(list *l) {
    for (size_t i = 0; i < l->named; i++)
        gka_free(l->bytes[i]);
    gka_free(l->bounds);
}

const char *const golden_version = "1";

void golden_digest_text(const unsigned char digest[32], char text[65]) {
    for (int i = 0; i < 32; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

/* How much of an input is looked at before its pages are let go of. */
enum { MUCH = 1 << 22 };

void golden_hash_inputs(const gka_tensor *tensors, size_t count, const golden_inputs *inputs,
                        char text[65]) {
    SHA2_CTX context;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256Init(&context);
    for (size_t i = 0; i < count; i++) {
        const gka_tensor *const t = &tensors[i];
        char line[256];
        int n = snprintf(line, sizeof line, "%s %s [", t->name, gka_dtype_name(t->dtype));
        for (int a = 0; a < t->rank; a++)
            n += snprintf(line + n, sizeof line - (size_t)n, "%s%lld", a == 0 ? "" : ",",
                          (long long)t->shape[a]);
        n += snprintf(line + n, sizeof line - (size_t)n, "]\n");
        SHA256Update(&context, (const uint8_t *)line, (size_t)n);
        const size_t size = (size_t)gka_tensor_count(t) * gka_dtype_size(t->dtype);
        for (size_t at = 0; at < size; at += MUCH) {
            SHA256Update(&context, (const uint8_t *)t->data + at,
                         size - at < MUCH ? size - at : MUCH);
            if (inputs != NULL)
                golden_inputs_forget(inputs);
        }
    }
    SHA256Final(digest, &context);
    golden_digest_text(digest, text);
}

/* ---- all ----------------------------------------------------------------------------------- */

static gka_status describe(job *j, const list *l, char hash[65], gka_error *error) {
    golden_hash_inputs(l->tensors, l->inputs, j->stream != NULL ? &j->streamed : NULL, hash);
    const gka_problem *const p = &j->problem;
    bool good = true;
    j->pairs[j->pair_count++] = (gka_text_pair){"golden", golden_version};
    j->pairs[j->pair_count++] = (gka_text_pair){"gka_version", gka_version()};
    j->pairs[j->pair_count++] = (gka_text_pair){"inputs_sha256", hash};
    j->pairs[j->pair_count++] = (gka_text_pair){"stage", gka_golden_stage_name(j->spec->stage)};
    gka_status status = golden_spec_text(j->spec, j->inputs != NULL, &j->metadata[0], error);
    if (status == GKA_OK)
        j->pairs[j->pair_count++] = (gka_text_pair){"spec", j->metadata[0]};
    if (status == GKA_OK) {
        json_t *const tolerances = tolerances_json(j, &good);
        status = add_json(j, "tolerances", tolerances, good, error);
    }
    if (status == GKA_OK) {
        json_t *const oracle = oracle_json(j, &good);
        status = add_json(j, "oracle", oracle, good, error);
    }
    const struct {
        const char *key;
        json_t *value;
    } parameters[] = {{"ridge_ratio", json_real(p->ridge_ratio)},
                      {"num_iter", json_integer(p->num_iter)},
                      {"chunk_size", json_integer(p->chunk_size)},
                      {"scale", json_real(p->scale)}};
    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++)
        if (status == GKA_OK)
            status = add_json(j, parameters[i].key, parameters[i].value, true, error);
        else
            json_decref(parameters[i].value);
    return status;
}

static gka_status check_emulation(const job *j, gka_error *error) {
    if (j->spec->stage != GKA_STAGE_ALL)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "emulate is 'h100': none was expected for a stage");
    gka_profile h100;
    gka_status status = gka_profile_find("h100", &h100, error);
    if (status == GKA_OK)
        status = gka_chunk_check(&j->problem, &h100, error);
    return status;
}

/* Inputs, then each output as list_tensors has them. */
static gka_status write_stream(const job *j, const list *l, const char *path, gka_error *error) {
    gka_writer *writer;
    const int kinds = j->spec->emulate ? 3 : 2;
    gka_status status =
        gka_writer_open(path, l->tensors, l->count, j->pairs, j->pair_count, &writer, error);
    for (size_t i = 0; i < l->inputs && status == GKA_OK; i++) {
        const gka_tensor *const t = &l->tensors[i];
        const size_t size = (size_t)gka_tensor_count(t) * gka_dtype_size(t->dtype);
        for (size_t at = 0; at < size && status == GKA_OK; at += MUCH) {
            status = gka_writer_append(writer, (const char *)t->data + at,
                                       size - at < MUCH ? size - at : MUCH, error);
            golden_inputs_forget(&j->streamed);
        }
    }
    for (int i = 0; i < JUDGE_OUTPUTS; i++)
        for (int kind = 0; kind < kinds && wants(j, i) && status == GKA_OK; kind++)
            status = golden_stream_write(j->stream, i, (golden_kind)kind, writer, error);
    if (status == GKA_OK)
        return gka_writer_close(writer, error);
    gka_writer_abandon(writer);
    return status;
}

static gka_status open_stream(job *j, const char *path, gka_error *error) {
    if (!may_stream(j, &j->problem))
        return GKA_OK;
    return golden_stream_open(&j->problem, &j->streamed, with_upstream(&j->problem, j->wanted),
                              j->limits, path, &j->stream, error);
}

gka_status gka_golden_generate(const gka_golden_spec *spec, const gka_file *inputs,
                               const char *path, const gka_progress *progress, gka_error *error) {
    return golden_generate(spec, inputs, &golden_limits_default, path, progress, error);
}

gka_status golden_generate(const gka_golden_spec *spec, const gka_file *inputs,
                           const golden_limits *limits, const char *path,
                           const gka_progress *progress, gka_error *error) {
    job j = {.spec = spec, .limits = limits, .meter = {.progress = progress}};
    j.given_bits = golden_stage_given(spec->stage, spec->given);
    char hash[65];
    list *const l = gka_alloc(1, sizeof *l);
    gka_status status = l == NULL ? gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory")
                                  : make_problem(&j, inputs, path, error);
    if (status == GKA_OK)
        status = golden_stage_check(spec->stage, j.given_bits, &j.problem, error);
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
        status = open_stream(&j, path, error);
    if (status == GKA_OK && whole_layer(&j))
        status = make_exact(&j, error);
    if (status == GKA_OK)
        status = make_tolerances(&j, error);
    if (status == GKA_OK && !whole_layer(&j))
        status = make_stage_references(&j, error);
    if (status == GKA_OK)
        status = list_tensors(&j, l, error);
    if (status == GKA_OK)
        status = describe(&j, l, hash, error);
    if (status == GKA_OK)
        status = j.stream != NULL
                     ? write_stream(&j, l, path, error)
                     : gka_file_write(path, l->tensors, l->count, j.pairs, j.pair_count, error);
    golden_stream_close(j.stream);
    if (l != NULL)
        free_list(l);
    gka_free(l);
    for (size_t i = 0; i < sizeof j.metadata / sizeof *j.metadata; i++)
        gka_free(j.metadata[i]);
    golden_free(&j.exact);
    golden_free(&j.lo);
    golden_free(&j.steps);
    golden_free(&j.emulated);
    golden_given_free(&j.given);
    gka_problem_free(&j.problem);
    golden_inputs_free(&j.streamed);
    return status;
}
