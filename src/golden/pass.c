/* pass.c - a kernel over a long sequence: windows from left to right for the forward
 * outputs, then from right to left for the gradients, each handed to what takes it (`sink`).
 *
 * What the sinks make of them: the steps values, the errors by which tolerances are made, a
 * kernel's own outputs. Symbols: window.h.
 */
#include "golden/window.h"

#include "gka/format.h"
#include "gka/layer.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 4096 };

/* ---- passes -------------------------------------------------------------------------------- */

typedef struct pass pass;

/* Takes the outputs (bits) of a window that lie in s->part. */
typedef gka_status window_sink(golden_stream *s, const pass *p, unsigned outputs, int64_t begin,
                               gka_error *error);

struct pass {
    const gka_problem *problem; /* its chunk size and num_iter */
    const gka_kernel *kernel;   /* NULL: the steps values themselves */
    unsigned outputs;
    unsigned wanted; /* of these, by what takes them */
    int64_t states;  /* where H and U before each window are put */
    window_sink *sink;
    golden_kind ends; /* where outputs at the ends go */
    const gka_progress *progress;
    double done, total; /* windows */
};

static gka_status step(golden_stream *s, pass *p, gka_error *error) {
    gka_golden_inputs_forget(s->inputs);
    p->done++;
    return gka_progress_report(p->progress, p->done, p->total)
               ? GKA_OK
               : gka_fail(error, GKA_INTERRUPTED, "interrupted");
}

static gka_status read_steps(golden_stream *s, unsigned outputs, int64_t begin, gka_error *error) {
    gka_status status = GKA_OK;
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++)
        if (outputs & GOLDEN_TOKENS & 1u << i)
            status = gka_golden_get_window(s, s->steps, i, begin, s->part.of[i], error);
    return status;
}

static bool by_chunks(const gka_kernel *kernel) {
    return kernel != NULL && kernel->engine == GKA_ENGINE_CHUNKS;
}

static bool computes(const pass *p) {
    return p->kernel != NULL;
}

/* The forward outputs of a window, from s->h and s->u on to those after it. */
static gka_status forward(golden_stream *s, const pass *p, int64_t begin, gka_error *error) {
    const gka_problem part = gka_golden_window_of(s, p->problem, begin, s->h, s->u, s->bytes);
    gka_outputs out;
    (void)gka_outputs_only(&s->part, p->outputs & GOLDEN_RIGHT, &out);
    out.h_final = s->h;
    out.u_final = part.V > 0 ? s->u : NULL;
    if (by_chunks(p->kernel))
        return gka_chunk_forward(&part, &p->kernel->profile, &out, NULL, NULL, error);
    const gka_layer_options options = gka_kernel_layer_options(p->kernel, p->problem);
    return gka_layer_forward(&part, &options, &out, NULL, error);
}

/* The gradients of a window, of the solve or of the layer; s->carry[0] goes on to what its left end
 * sends back: token by token the cotangents of its initial states. */
static gka_status backward(golden_stream *s, const pass *p, gka_of of, int64_t begin,
                           gka_error *error) {
    gka_problem part = gka_golden_window_of(s, p->problem, begin, s->h, s->u, s->bytes);
    const gka_chunk_carry carry = s->carry[0][of];
    gka_outputs out;
    if (!gka_outputs_only(&s->part, p->outputs & gka_of_outputs(of), &out))
        return GKA_OK;
    if (by_chunks(p->kernel)) {
        const gka_chunk_given given = {
            .at.x = s->part.x, .at.fro = s->part.fro, .carry = carry, .own = true};
        return gka_chunk_backward(&part, &p->kernel->profile, of, true, &given, &out, error);
    }
    const gka_layer_options options = gka_kernel_layer_options(p->kernel, p->problem);
    gka_gradients *const own = &out.gradient[of];
    double *const dh0 = own->dh0;
    own->dh0 = carry.E;
    own->du0 = of == GKA_OF_O ? carry.dU : NULL;
    part.dh_final = gka_golden_state_view(part.D, part.D, carry.E, s->bytes[3]);
    if (of == GKA_OF_O)
        part.du_final = gka_golden_state_view(part.D, part.V, carry.dU, s->bytes[4]);
    const gka_status status = gka_layer_gradient(&part, of, &options, &out, NULL, error);
    if (dh0 != NULL)
        memcpy(dh0, carry.E, (size_t)(part.D * part.D) * sizeof *carry.E);
    return status;
}

/* What the cotangents of the final states send back. */
static void start_carry(golden_stream *s, const pass *p) {
    for (int of = GKA_OF_X; of <= GKA_OF_O; of++) {
        const gka_chunk_carry *const carry = &s->carry[0][of];
        if (by_chunks(p->kernel)) {
            gka_chunk_carry_start(p->problem, &p->kernel->profile, carry);
        } else if (computes(p)) {
            gka_problem_dh_final(p->problem, 0, 0, carry->E);
            gka_problem_du_final(p->problem, 0, 0, carry->dU);
        }
    }
}

/* From left to right. s->h and s->u are the profile's states and go on. */
static gka_status go_right(golden_stream *s, pass *p, gka_error *error) {
    const gka_problem *const problem = p->problem;
    const unsigned outputs = p->outputs & GOLDEN_RIGHT;
    const bool back = (p->outputs & (GOLDEN_LEFT | GOLDEN_LEFT_END)) != 0;
    gka_status status = GKA_OK;
    for (int64_t begin = 0; begin < problem->T && status == GKA_OK; begin += s->window) {
        if (!computes(p)) {
            status = read_steps(s, outputs, begin, error);
        } else {
            status = gka_golden_put_states(s, p->states, begin, error);
            if (status == GKA_OK)
                status = forward(s, p, begin, error);
            for (int i = GKA_OUT_X; i <= GKA_OUT_FRO && status == GKA_OK && back; i++)
                status = gka_golden_put_window(s, s->kept, i, begin, error);
        }
        if (status == GKA_OK)
            status = p->sink(s, p, outputs, begin, error);
        if (status == GKA_OK)
            status = step(s, p, error);
    }
    for (int i = 0; i < 2 && status == GKA_OK; i++) {
        const int output = i == 0 ? GKA_OUT_H_FINAL : GKA_OUT_U_FINAL;
        const double *const from = !computes(p) ? s->ends[GOLDEN_STEPS].of[output]
                                   : i == 0     ? s->h
                                                : s->u;
        if (p->outputs >> output & 1)
            memcpy(s->ends[p->ends].of[output], from,
                   (size_t)gka_output_count(problem, output) * sizeof *from);
    }
    return status;
}

/* The gradients of one window, at the kernel's own x and f. */
static gka_status gradients(golden_stream *s, const pass *p, int64_t begin, gka_error *error) {
    gka_status status = gka_golden_get_states(s, p->states, begin, error);
    for (int i = GKA_OUT_X; i <= GKA_OUT_FRO && status == GKA_OK; i++)
        status = gka_golden_get_window(s, s->kept, i, begin, s->part.of[i], error);
    for (int of = GKA_OF_X; of <= GKA_OF_O && status == GKA_OK; of++)
        status = backward(s, p, (gka_of)of, begin, error);
    return status;
}

/* From right to left. */
static gka_status go_left(golden_stream *s, pass *p, gka_error *error) {
    const unsigned outputs = p->outputs & GOLDEN_LEFT;
    gka_status status = GKA_OK;
    start_carry(s, p);
    for (int64_t i = gka_golden_windows(s) - 1; i >= 0 && status == GKA_OK; i--) {
        const int64_t begin = i * s->window;
        status = computes(p) ? gradients(s, p, begin, error)
                             : read_steps(s, outputs | GKA_BIT(X) | GKA_BIT(FRO), begin, error);
        if (status == GKA_OK)
            status = p->sink(s, p, outputs, begin, error);
        if (status == GKA_OK)
            status = step(s, p, error);
    }
    if (status == GKA_OK && p->outputs & GOLDEN_LEFT_END)
        memcpy(s->ends[p->ends].of[GKA_OUT_SOLVE_DH0],
               computes(p) ? s->part.of[GKA_OUT_SOLVE_DH0]
                           : s->ends[GOLDEN_STEPS].of[GKA_OUT_SOLVE_DH0],
               (size_t)gka_output_count(s->problem, GKA_OUT_SOLVE_DH0) * sizeof(double));
    return status;
}

static gka_status run(golden_stream *s, pass *p, gka_error *error) {
    const bool left = (p->outputs & (GOLDEN_LEFT | GOLDEN_LEFT_END)) != 0;
    p->total = (double)(gka_golden_windows(s) * (left ? 2 : 1));
    gka_status status = go_right(s, p, error);
    if (status == GKA_OK && left)
        status = go_left(s, p, error);
    return status;
}

/* ---- steps --------------------------------------------------------------------------------- */

bool gka_golden_stream_zero(const golden_stream *s, int output) {
    return !(s->nonzero >> output & 1);
}

static void look(golden_stream *s, int output, int64_t count, const double *values) {
    s->most[output] = gka_golden_most(count, values, s->most[output]);
    for (int64_t i = 0; i < count && gka_golden_stream_zero(s, output); i++)
        s->nonzero |= (values[i] < 0 || values[i] > 0 ? 1u : 0u) << output;
}

static gka_status take_steps(golden_stream *s, const pass *p, unsigned outputs, int64_t begin,
                             gka_error *error) {
    gka_status status = GKA_OK;
    (void)p;
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++) {
        if (!(outputs >> i & 1))
            continue;
        look(s, i, gka_golden_window_count(s, i, gka_golden_window_end(s, begin) - begin),
             s->part.of[i]);
        status = gka_golden_put_window(s, s->steps, i, begin, error);
    }
    return status;
}

/* U before each window by the recurrence over tokens. */
static gka_status make_values(golden_stream *s, gka_error *error) {
    const gka_problem *const p = s->problem;
    const int64_t DV = p->D * p->V;
    gka_status status = GKA_OK;
    for (int64_t begin = 0; begin < p->T && status == GKA_OK && DV > 0; begin += s->window) {
        const gka_problem part = gka_golden_window_of(s, p, begin, s->h, s->u, s->bytes);
        status = gka_golden_values_after(&part, s->u, error);
        if (status == GKA_OK)
            status = gka_golden_spool_put(&s->spool, s->values + (begin / s->window + 1) * DV, DV,
                                          s->u, error);
        gka_golden_inputs_forget(s->inputs);
    }
    return status;
}

gka_status gka_golden_stream_steps(golden_stream *s, const gka_progress *progress,
                                   gka_error *error) {
    gka_kernel steps;
    gka_status status = gka_kernel_find("steps", &steps, error);
    pass p = {.problem = s->problem,
              .kernel = &steps,
              .outputs = s->all,
              .states = s->exact_states,
              .sink = take_steps,
              .ends = GOLDEN_STEPS,
              .progress = progress};
    if (status == GKA_OK)
        status = make_values(s, error);
    if (status == GKA_OK)
        status = run(s, &p, error);
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++)
        if (s->all & GOLDEN_ENDS & 1u << i)
            look(s, i, gka_output_count(s->problem, i), s->ends[GOLDEN_STEPS].of[i]);
    return status;
}

/* ---- errors -------------------------------------------------------------------------------- */

static void store(const golden_stream *s, int output, int64_t count, double *values) {
    gka_round_array(gka_format_of_dtype(gka_output_dtype(s->problem, output)), GKA_NEAREST_EVEN, 0,
                    0, (size_t)count, values, values);
}

/* The sums of one output's rows in a window, to their place. */
static gka_status add_rows(golden_stream *s, int which, int output, int64_t begin,
                           const double *ref, gka_error *error) {
    const int64_t n = gka_golden_row_length(s->problem, output),
                  rows =
                      gka_golden_window_count(s, output, gka_golden_window_end(s, begin) - begin) /
                      n,
                  first = gka_golden_window_count(s, output, begin) / n;
    const double scale = gka_golden_scale(s->most[output]);
    for (int64_t i = 0; i < rows; i++)
        s->sums[i] = gka_golden_row_sums(n, scale, s->part.of[output] + i * n, ref + i * n);
    return gka_golden_spool_put_bytes(&s->spool, 8 * (s->rows[which][output] + 2 * first),
                                      (size_t)rows * sizeof *s->sums, s->sums, error);
}

/* H and U of exact64 before each window at another chunk size: states alone, one iteration. */
static gka_status make_other_states(golden_stream *s, const gka_problem *problem,
                                    gka_error *error) {
    gka_problem p = *problem;
    gka_profile exact64;
    p.num_iter = 1;
    gka_status status = gka_profile_find("exact64", &exact64, error);
    for (int64_t begin = 0; begin < p.T && status == GKA_OK; begin += s->window) {
        const gka_problem part = gka_golden_window_of(s, &p, begin, s->h, s->u, s->bytes);
        gka_outputs out = {.h_final = s->h, .u_final = p.V > 0 ? s->u : NULL};
        status = gka_golden_put_states(s, s->other_states, begin, error);
        if (status == GKA_OK)
            status = gka_chunk_forward(&part, &exact64, &out, NULL, NULL, error);
        gka_golden_inputs_forget(s->inputs);
    }
    s->other_chunk = status == GKA_OK ? p.chunk_size : 0;
    return status;
}

/* Local values of a window's outputs, at what is in s->part. */
static gka_status make_local(golden_stream *s, const pass *p, unsigned outputs, int64_t begin,
                             gka_error *error) {
    const int64_t D = p->problem->D, V = p->problem->V;
    gka_status status = GKA_OK;
    /* On the way right s->h and s->u are the pass's own, and nothing but U by tokens is needed. */
    const bool left = (outputs & (GOLDEN_LEFT | GOLDEN_LEFT_END)) != 0;
    if (left)
        status = gka_golden_get_states(
            s, p->problem->chunk_size == s->problem->chunk_size ? s->exact_states : s->other_states,
            begin, error);
    const gka_problem part =
        left ? gka_golden_window_of(s, p->problem, begin, s->h, s->u, s->bytes)
             : gka_problem_tokens(p->problem, begin, gka_golden_window_end(s, begin));
    gka_problem by_tokens = part;
    if (status == GKA_OK && V > 0 && begin > 0)
        status = gka_golden_spool_get(&s->spool, s->values + begin / s->window * D * V, D * V,
                                      s->ref, error);
    by_tokens.u0 = begin == 0 ? p->problem->u0
                   : V > 0    ? gka_golden_state_view(D, V, s->ref, s->bytes[2])
                              : (gka_view){0};
    const golden_piece piece = {&part, &by_tokens, s->carry[1][0], s->carry[1][1]};
    return status == GKA_OK ? gka_golden_local_of(&piece, outputs, &s->part, &s->local, error)
                            : status;
}

static gka_status take_errors(golden_stream *s, const pass *p, unsigned outputs, int64_t begin,
                              gka_error *error) {
    const bool left = (outputs & GOLDEN_LEFT) != 0;
    const unsigned stored = left ? outputs | GKA_BIT(X) | GKA_BIT(FRO) : outputs,
                   wanted = p->wanted & (left ? GOLDEN_LEFT | GOLDEN_LEFT_END : GOLDEN_RIGHT);
    for (int i = 0; i < GKA_OUTPUTS; i++)
        if (stored >> i & 1)
            store(s, i, gka_golden_window_count(s, i, gka_golden_window_end(s, begin) - begin),
                  s->part.of[i]);
    gka_status status = make_local(s, p, wanted, begin, error);
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++) {
        if (!(wanted & GOLDEN_TOKENS & 1u << i))
            continue;
        status = gka_golden_get_window(s, s->steps, i, begin, s->ref, error);
        if (status == GKA_OK)
            status = add_rows(s, GOLDEN_AT_STEPS, i, begin, s->ref, error);
        if (status == GKA_OK && gka_output_table[i].upstream != 0)
            status = add_rows(s, GOLDEN_AT_LOCAL, i, begin, s->local.of[i], error);
    }
    return status;
}

/* All rows in their order: adds them up, or (most not NULL) finds the worst of those that add up to
 * `all`. */
static gka_status all_rows(golden_stream *s, int which, int output, golden_sums *all, double *most,
                           gka_error *error) {
    const int64_t rows =
        gka_output_count(s->problem, output) / gka_golden_row_length(s->problem, output);
    const double scale = gka_golden_scale(s->most[output]);
    golden_sums block[BLOCK];
    gka_status status = GKA_OK;
    for (int64_t i = 0; i < rows && status == GKA_OK; i += BLOCK) {
        const int64_t n = rows - i < BLOCK ? rows - i : BLOCK;
        status = gka_golden_spool_get_bytes(&s->spool, 8 * (s->rows[which][output] + 2 * i),
                                            (size_t)n * sizeof *block, block, error);
        for (int64_t j = 0; j < n && status == GKA_OK; j++)
            if (most == NULL)
                gka_golden_add_row(all, block[j]);
            else
                (void)gka_golden_worse_row(*all, rows, scale, block[j], most);
    }
    return status;
}

static gka_status total(golden_stream *s, int which, int output, golden_error *e,
                        gka_error *error) {
    golden_sums all = {0, 0};
    e->row = -1;
    gka_status status = all_rows(s, which, output, &all, NULL, error);
    if (status == GKA_OK)
        status = all_rows(s, which, output, &all, &e->row, error);
    e->rel = gka_golden_rel(all, gka_golden_scale(s->most[output]));
    return status;
}

static gka_status error_of(golden_stream *s, int output, golden_error *e, gka_error *error) {
    golden_error local;
    if (GOLDEN_ENDS >> output & 1) {
        double *const own = s->ends[GOLDEN_EMULATED].of[output];
        store(s, output, gka_output_count(s->problem, output), own);
        *e = gka_golden_error_of(s->problem, output, own, s->ends[GOLDEN_STEPS].of[output],
                                 gka_output_table[output].upstream != 0 ? s->local.of[output]
                                                                        : NULL);
        return GKA_OK;
    }
    gka_status status = total(s, GOLDEN_AT_STEPS, output, e, error);
    if (status != GKA_OK || gka_output_table[output].upstream == 0)
        return status;
    status = total(s, GOLDEN_AT_LOCAL, output, &local, error);
    *e = gka_golden_nearer(*e, local);
    return status;
}

gka_status gka_golden_stream_errors(golden_stream *stream, int worker, const gka_kernel *kernel,
                                    const gka_problem *problem, unsigned wanted,
                                    const gka_progress *progress, golden_error errors[GKA_OUTPUTS],
                                    gka_error *error) {
    golden_stream *s;
    gka_status status = gka_golden_stream_lane(stream, worker, &s, error);
    if (status != GKA_OK)
        return status;
    unsigned outputs = s->all;
    if (problem->chunk_size != s->problem->chunk_size || (kernel != NULL && !by_chunks(kernel)))
        outputs &= ~GKA_BIT(H_CHUNK);
    if ((wanted & ~GOLDEN_RIGHT & ~GOLDEN_RIGHT_END) == 0)
        outputs &= GOLDEN_RIGHT | GOLDEN_RIGHT_END;
    pass p = {.problem = problem,
              .kernel = kernel,
              .outputs = outputs,
              .wanted = wanted,
              .states = s->states,
              .sink = take_errors,
              .ends = GOLDEN_EMULATED,
              .progress = progress};
    gka_profile exact64;
    status = gka_profile_find("exact64", &exact64, error);
    for (int of = GKA_OF_X; of <= GKA_OF_O && status == GKA_OK; of++)
        gka_chunk_carry_start(problem, &exact64, &s->carry[1][of]);
    if (status == GKA_OK && (outputs & GOLDEN_LEFT) != 0 &&
        problem->chunk_size != s->problem->chunk_size && problem->chunk_size != s->other_chunk)
        status = make_other_states(s, problem, error);
    if (status == GKA_OK)
        status = run(s, &p, error);
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        errors[i] = (golden_error){NAN, NAN};
        if (status == GKA_OK && (wanted & outputs) >> i & 1)
            status = error_of(s, i, &errors[i], error);
    }
    return status;
}

/* ---- what is emulated ---------------------------------------------------------------------- */

static gka_status take_own(golden_stream *s, const pass *p, unsigned outputs, int64_t begin,
                           gka_error *error) {
    gka_status status = GKA_OK;
    (void)p;
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++)
        if (outputs >> i & 1)
            status = gka_golden_put_window(s, s->kept, i, begin, error);
    return status;
}

gka_status gka_golden_stream_emulate(golden_stream *s, const gka_kernel *kernel,
                                     const gka_progress *progress, gka_error *error) {
    pass p = {.problem = s->problem,
              .kernel = kernel,
              .outputs = s->all,
              .states = s->states,
              .sink = take_own,
              .ends = GOLDEN_EMULATED,
              .progress = progress};
    return run(s, &p, error);
}
