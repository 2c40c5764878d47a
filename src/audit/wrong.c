/* wrong.c - the panel of known mistakes (gka/audit.h). A mistake is made in one of three
 * ways, everything else being exact:
 *
 *   in the problem     inputs or parameters are changed, the formulas are right
 *   upstream           x f and p are wrong, what follows from them is right (gka_golden_local)
 *   in the outputs     right values are changed
 */
#include "audit/audit.h"

#include "gka/arith.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- in the problem ------------------------------------------------------------------------ */

/* A copy of the problem, changed as the member says. */
static gka_status run_changed(const audit_case *c, const audit_member *m, gka_outputs *out,
                              char note[AUDIT_NOTE], gka_error *error) {
    audit_copy copy;
    gka_status status = gka_audit_copy_make(c->problem, &(audit_shape){0}, &copy, error);
    const bool applies = status == GKA_OK && m->change(c, m, &copy);
    if (applies) {
        gka_audit_seal(&copy);
        status = gka_audit_run_problem(c, &copy.problem, out, error);
    } else if (status == GKA_OK) {
        status = gka_audit_does_not_apply(note, m->unless);
    }
    gka_audit_copy_free(&copy);
    return status;
}

static bool exp2_gates(const audit_case *c, const audit_member *m, audit_copy *copy) {
    (void)m;
    const gka_problem *const p = c->problem;
    for (int64_t i = 0; copy->g != NULL && i < p->B * p->T * p->H; i++)
        copy->g[i] *= 0x1.62e42fefa39efp-1; /* 2^g = exp(g ln 2) */
    return copy->g != NULL;
}

/* G_t without g_t itself, within each chunk: the gates one token later, the first of a chunk 1. */
static bool exclusive_gates(const audit_case *c, const audit_member *m, audit_copy *copy) {
    (void)m;
    const gka_problem *const p = c->problem;
    for (int64_t n = 0; copy->g != NULL && n < p->N; n++) {
        const gka_span span = gka_problem_span(p, n);
        for (int64_t h = 0; h < p->H; h++)
            for (int64_t t = span.end - 1; t >= span.begin; t--) {
                double *const g = copy->g + (span.b * p->T + t) * p->H + h;
                *g = (t - span.begin) % p->chunk_size == 0 ? 0 : g[-p->H];
            }
    }
    return copy->g != NULL;
}

static bool iterations(const audit_case *c, const audit_member *m, audit_copy *copy) {
    copy->problem.num_iter = c->problem->num_iter + m->parameter;
    return true;
}

static bool scale_twice(const audit_case *c, const audit_member *m, audit_copy *copy) {
    (void)m;
    copy->problem.scale = c->problem->scale * c->problem->scale;
    return copy->v != NULL;
}

static bool without_states(const audit_case *c, const audit_member *m, audit_copy *copy) {
    (void)c, (void)m;
    const bool there = copy->h0 != NULL || copy->u0 != NULL;
    copy->problem.h0 = copy->problem.u0 = (gka_view){0};
    return there;
}

static bool without_ends(const audit_case *c, const audit_member *m, audit_copy *copy) {
    (void)c, (void)m;
    const bool there = copy->dh_final != NULL || copy->du_final != NULL;
    copy->problem.dh_final = copy->problem.du_final = (gka_view){0};
    return there;
}

/* 1/sqrt(|k|), |k| = beta for the unit keys of the layer; a zero key stays. */
static double beta_root(int64_t D, const double *k) {
    double square = 0;
    for (int64_t i = 0; i < D; i++)
        square += k[i] * k[i];
    return square > 0 ? 1 / sqrt(sqrt(square)) : 1;
}

static void scale_row(int64_t n, double factor, double *row) {
    for (int64_t i = 0; i < n; i++)
        row[i] *= factor;
}

/* The layer multiplies both k and v by beta, so H gains beta^2 k k^T and U beta^2 k v^T of unit
 * keys; whoever takes beta once (as MesaNet does) has beta k k^T and beta k v^T. */
static bool beta_once(const audit_case *c, const audit_member *m, audit_copy *copy) {
    (void)m;
    const gka_problem *const p = c->problem;
    const double unit = gka_format_unit_roundoff(gka_format_of_dtype(p->k.dtype)) + 1e-6;
    bool scaled = false; /* beyond the layer's eps and the rounding of k */
    for (int64_t i = 0; i < p->B * p->T * p->G; i++) {
        const double factor = beta_root(p->D, copy->k + i * p->D);
        scaled |= fabs(1 / (factor * factor) - 1) > unit;
        scale_row(p->D, factor, copy->k + i * p->D);
        if (copy->v != NULL)
            scale_row(p->V, factor, copy->v + i * p->V);
    }
    return scaled;
}

static double gamma_of(double g) {
    return isinf(g) ? 0 : gka_device_exp(gka_device_find("exact64"), g);
}

/* H_t = gamma_t (H_{t-1} + k_t k_t^T), U likewise: a token that is weighted by its own gate. */
static bool late_gate(const audit_case *c, const audit_member *m, audit_copy *copy) {
    (void)m;
    const gka_problem *const p = c->problem;
    if (copy->g == NULL || p->G != p->H)
        return false;
    for (int64_t i = 0; i < p->B * p->T * p->H; i++) {
        const double root = sqrt(gamma_of(copy->g[i]));
        scale_row(p->D, root, copy->k + i * p->D);
        if (copy->v != NULL)
            scale_row(p->V, root, copy->v + i * p->V);
    }
    return true;
}

/* q' = x + alpha (q - x) */
static bool alpha_swapped(const audit_case *c, const audit_member *m, audit_copy *copy) {
    (void)m;
    const gka_problem *const p = c->problem;
    for (int64_t i = 0; copy->alpha != NULL && i < p->B * p->T * p->H; i++)
        copy->alpha[i] = 1 - copy->alpha[i];
    return copy->alpha != NULL;
}

/* The layer hands over sigmoid(.); the kernel takes the sigmoid of that. */
static bool alpha_twice(const audit_case *c, const audit_member *m, audit_copy *copy) {
    (void)m;
    const gka_problem *const p = c->problem;
    for (int64_t i = 0; copy->alpha != NULL && i < p->B * p->T * p->H; i++)
        copy->alpha[i] = 1 / (1 + gamma_of(-copy->alpha[i]));
    return copy->alpha != NULL;
}

/* ---- other shapes -------------------------------------------------------------------------- */

/* dk, dv [tokens,H,width] of H query heads onto the G key/value heads they read. */
static void sum_heads(const gka_problem *p, const int64_t *group, int64_t width, const double *each,
                      double *sum) {
    const int64_t tokens = p->B * p->T;
    memset(sum, 0, (size_t)(tokens * p->G * width) * sizeof *sum);
    for (int64_t i = 0; i < tokens; i++)
        for (int64_t h = 0; h < p->H; h++)
            for (int64_t j = 0; j < width; j++)
                sum[(i * p->G + group[h]) * width + j] += each[(i * p->H + h) * width + j];
}

/* Query head h reads key/value head h mod G, not h / (H/G). */
static gka_status run_head_map(const audit_case *c, const audit_member *m, gka_outputs *out,
                               char note[AUDIT_NOTE], gka_error *error) {
    (void)m;
    const gka_problem *const p = c->problem;
    if (p->G == 1 || p->G == p->H)
        return gka_audit_does_not_apply(note, "no groups of heads that could be mixed up");
    int64_t *const group = gka_alloc((size_t)p->H, sizeof *group);
    for (int64_t h = 0; group != NULL && h < p->H; h++)
        group[h] = h % p->G;
    audit_copy copy = {0};
    gka_outputs each = {0};
    gka_status status = group == NULL
                            ? gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory for the heads")
                            : gka_audit_copy_make(p, &(audit_shape){.group = group}, &copy, error);
    const unsigned summed = GKA_BIT(SOLVE_DK) | GKA_BIT(LAYER_DK) | GKA_BIT(LAYER_DV);
    if (status == GKA_OK) {
        gka_audit_seal(&copy);
        status = gka_audit_run_problem(c, &copy.problem, &each, error);
    }
    if (status == GKA_OK)
        status = gka_golden_allocate(p, c->wanted & summed, out, error);
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++) {
        if (out->of[i] != NULL) {
            sum_heads(p, group, i == GKA_OUT_LAYER_DV ? p->V : p->D, each.of[i], out->of[i]);
        } else {
            out->of[i] = each.of[i];
            each.of[i] = NULL;
        }
    }
    gka_golden_free(&each);
    gka_audit_copy_free(&copy);
    gka_free(group);
    return status;
}

/* Rows past the end of a sequence are read as they lie in memory: the tokens that follow. */
static gka_status run_ragged_mask(const audit_case *c, const audit_member *m, gka_outputs *out,
                                  char note[AUDIT_NOTE], gka_error *error) {
    (void)m;
    const gka_problem *const p = c->problem;
    const int64_t C = gka_problem_chunk_size(p), all = p->B * p->T;
    int64_t tokens = 0;
    for (int64_t n = 0; n < p->N; n++) {
        const gka_span span = gka_problem_span(p, n);
        tokens += (span.end - span.begin + C - 1) / C * C;
    }
    if (tokens == all)
        return gka_audit_does_not_apply(note, "no sequence ends inside a chunk");
    int64_t *const from = gka_alloc((size_t)tokens, sizeof *from), *const bounds =
                                                                       gka_alloc((size_t)p->N + 1,
                                                                                 sizeof *bounds);
    audit_copy copy = {0};
    gka_outputs longer = {0};
    gka_status status = from == NULL || bounds == NULL
                            ? gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory for longer rows")
                            : GKA_OK;
    if (status == GKA_OK) {
        int64_t used = 0;
        for (int64_t n = 0; n < p->N; n++) {
            const gka_span span = gka_problem_span(p, n);
            const int64_t length = (span.end - span.begin + C - 1) / C * C;
            bounds[n] = used;
            for (int64_t i = 0; i < length; i++)
                from[used++] = (span.b * p->T + span.begin + i) % all;
        }
        bounds[p->N] = used;
        status = gka_audit_copy_make(
            p, &(audit_shape){.tokens = tokens, .N = p->N, .from = from, .bounds = bounds}, &copy,
            error);
    }
    if (status == GKA_OK) {
        gka_audit_seal(&copy);
        status = gka_audit_run_problem(c, &copy.problem, &longer, error);
    }
    if (status == GKA_OK)
        status = gka_golden_allocate(p, c->wanted, out, error);
    for (int o = 0; o < GKA_OUTPUTS && status == GKA_OK; o++) {
        if (!(c->wanted >> o & 1))
            continue;
        if (!gka_judge_has_tokens(o)) { /* states: as many, in the same order */
            memcpy(out->of[o], longer.of[o], (size_t)gka_output_count(p, o) * sizeof *out->of[o]);
            continue;
        }
        const int64_t row = gka_output_count(p, o) / all;
        for (int64_t n = 0; n < p->N; n++) {
            const gka_span span = gka_problem_span(p, n);
            memcpy(out->of[o] + (span.b * p->T + span.begin) * row, longer.of[o] + bounds[n] * row,
                   (size_t)((span.end - span.begin) * row) * sizeof *out->of[o]);
        }
    }
    gka_golden_free(&longer);
    gka_audit_copy_free(&copy);
    gka_free(bounds);
    gka_free(from);
    return status;
}

/* A sequence begins with what the one before it left in the states. */
static gka_status run_leak(const audit_case *c, const audit_member *m, gka_outputs *out,
                           char note[AUDIT_NOTE], gka_error *error) {
    (void)m;
    const gka_problem *const p = c->problem;
    if (p->N < 2)
        return gka_audit_does_not_apply(note, "one sequence");
    const size_t h_size = (size_t)(p->H * p->D * p->D), u_size = (size_t)(p->H * p->D * p->V);
    double *const H = gka_alloc((size_t)p->N * h_size, sizeof *H), *const U = gka_alloc(
                                                                       (size_t)p->N * u_size,
                                                                       sizeof *U);
    audit_copy copy = {0};
    gka_status status = H == NULL || U == NULL
                            ? gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory for the states")
                            : gka_audit_states(p, NULL, AUDIT_CARRY_LEAK, NULL, NULL, H, U, error);
    if (status == GKA_OK)
        status = gka_audit_copy_make(p, &(audit_shape){.states = true}, &copy, error);
    if (status == GKA_OK) {
        const size_t later = (size_t)p->N - 1;
        memcpy(copy.h0 + h_size, H, later * h_size * sizeof *H);
        if (copy.u0 != NULL)
            memcpy(copy.u0 + u_size, U, later * u_size * sizeof *U);
        gka_audit_seal(&copy);
        status = gka_audit_run_problem(c, &copy.problem, out, error);
    }
    gka_audit_copy_free(&copy);
    gka_free(U);
    gka_free(H);
    return status;
}

/* ---- chunks -------------------------------------------------------------------------------- */

/* Every chunk as a sequence of its own that begins with the state before it, so that any of these
 * states can be wrong, and no gradient passes from one chunk to another. */
typedef struct split {
    audit_pieces pieces;
    double *h_final, *u_final; /* of the sequences, as the recurrence ended */
    audit_copy copy;
    gka_outputs values;
} split;

static gka_status split_states(const audit_case *c, audit_carry carry, split *s, gka_error *error) {
    const gka_problem *const p = c->problem;
    const size_t N = (size_t)(p->N * p->H);
    s->h_final = gka_alloc(N * (size_t)(p->D * p->D), sizeof *s->h_final);
    s->u_final = gka_alloc(N * (size_t)(p->D * p->V), sizeof *s->u_final);
    if (s->h_final == NULL || s->u_final == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory for the states");
    return gka_audit_states(p, &s->pieces, carry, s->copy.h0, s->copy.u0, s->h_final, s->u_final,
                            error);
}

static gka_status split_start(const audit_case *c, audit_carry carry, split *s, gka_error *error) {
    const gka_problem *const p = c->problem;
    gka_status status = gka_audit_pieces_make(p, &s->pieces, error);
    if (status == GKA_OK)
        status = gka_audit_copy_make(p,
                                     &(audit_shape){.tokens = p->B * p->T,
                                                    .N = s->pieces.count,
                                                    .bounds = s->pieces.bounds,
                                                    .states = true},
                                     &s->copy, error);
    return status == GKA_OK ? split_states(c, carry, s, error) : status;
}

static gka_status split_run(const audit_case *c, split *s, gka_error *error) {
    const audit_pieces *const pieces = &s->pieces;
    for (int64_t i = 0; i < pieces->count; i++) /* the last piece of a sequence has its end */
        if (i + 1 == pieces->count || pieces->sequence[i + 1] != pieces->sequence[i])
            gka_audit_copy_ends(c->problem, pieces->sequence[i], i, &s->copy);
    gka_audit_seal(&s->copy);
    const gka_profile profile = gka_audit_exact64();
    return gka_golden_steps(&s->copy.problem, &profile, c->wanted, &s->values, error);
}

/* out.of[i] of `which` from the split run: the tokens are the same. */
static void split_give(split *s, unsigned which, gka_outputs *out) {
    for (int i = 0; i < GKA_OUTPUTS; i++)
        if (which >> i & 1 && s->values.of[i] != NULL) {
            out->of[i] = s->values.of[i];
            s->values.of[i] = NULL;
        }
}

static void split_end(split *s) {
    gka_golden_free(&s->values);
    gka_audit_copy_free(&s->copy);
    gka_audit_pieces_free(&s->pieces);
    gka_free(s->h_final);
    gka_free(s->u_final);
}

static bool one_chunk_each(const gka_problem *p) {
    for (int64_t n = 0; n < p->N; n++) {
        const gka_span span = gka_problem_span(p, n);
        if (span.end - span.begin > p->chunk_size)
            return false;
    }
    return true;
}

/* What the solver and the output stage make of the state they read. */
static const unsigned reads_states =
    GKA_BIT(X) | GKA_BIT(FRO) | GKA_BIT(O) | GKA_BIT(SOLVE_DQ) | GKA_BIT(LAYER_DQ);

/* The state before chunk c - 1 where that before c belongs. */
static void shift_states(int64_t pieces, const int64_t *sequence, size_t size, double *S) {
    for (int64_t i = pieces - 1; i > 0; i--)
        if (sequence[i] == sequence[i - 1])
            memcpy(S + (size_t)i * size, S + (size_t)(i - 1) * size, size * sizeof *S);
}

static gka_status run_chunk_state(const audit_case *c, const audit_member *m, gka_outputs *out,
                                  char note[AUDIT_NOTE], gka_error *error) {
    (void)m;
    const gka_problem *const p = c->problem;
    if (one_chunk_each(p))
        return gka_audit_does_not_apply(note, "no sequence is longer than a chunk");
    split s = {0};
    gka_status status = split_start(c, AUDIT_CARRY_RIGHT, &s, error);
    if (status == GKA_OK) {
        shift_states(s.pieces.count, s.pieces.sequence, (size_t)(p->H * p->D * p->D), s.copy.h0);
        if (s.copy.u0 != NULL)
            shift_states(s.pieces.count, s.pieces.sequence, (size_t)(p->H * p->D * p->V),
                         s.copy.u0);
        status = split_run(c, &s, error);
    }
    if (status == GKA_OK) {
        split_give(&s, reads_states, out);
        status = gka_audit_follow(c, out, error);
    }
    split_end(&s);
    return status;
}

static void take_states(const audit_case *c, int output, const double *S, gka_outputs *out) {
    if (c->wanted >> output & 1)
        memcpy(out->of[output], S, (size_t)gka_output_count(c->problem, output) * sizeof *S);
}

/* States are carried from chunk to chunk with 2^g, within a chunk exp(g) is right. */
static gka_status run_state_exp2(const audit_case *c, const audit_member *m, gka_outputs *out,
                                 char note[AUDIT_NOTE], gka_error *error) {
    (void)m;
    if (c->problem->g.data == NULL)
        return gka_audit_does_not_apply(note, "no gates");
    split s = {0};
    gka_status status = split_start(c, AUDIT_CARRY_EXP2, &s, error);
    if (status == GKA_OK)
        status = gka_golden_allocate(
            c->problem, c->wanted & (GKA_BIT(H_CHUNK) | GKA_BIT(H_FINAL) | GKA_BIT(U_FINAL)), out,
            error);
    if (status == GKA_OK) {
        take_states(c, GKA_OUT_H_CHUNK, s.copy.h0, out);
        take_states(c, GKA_OUT_H_FINAL, s.h_final, out);
        take_states(c, GKA_OUT_U_FINAL, s.u_final, out);
        status = split_run(c, &s, error);
    }
    if (status == GKA_OK) {
        split_give(&s, reads_states, out);
        status = gka_audit_follow(c, out, error);
    }
    split_end(&s);
    return status;
}

/* Backward, what later chunks send back through the state is dropped. */
static gka_status run_chunk_gradient(const audit_case *c, const audit_member *m, gka_outputs *out,
                                     char note[AUDIT_NOTE], gka_error *error) {
    (void)m;
    const gka_problem *const p = c->problem;
    const unsigned lost = GKA_BIT(SOLVE_DK) | GKA_BIT(SOLVE_DG) | GKA_BIT(LAYER_DK) |
                          GKA_BIT(LAYER_DV) | GKA_BIT(LAYER_DG),
                   dh0 = GKA_BIT(SOLVE_DH0);
    if (one_chunk_each(p))
        return gka_audit_does_not_apply(note, "no sequence is longer than a chunk");
    if ((c->wanted & (lost | dh0)) == 0)
        return gka_audit_does_not_apply(note, "no gradients");
    split s = {0};
    gka_status status = split_start(c, AUDIT_CARRY_RIGHT, &s, error);
    if (status == GKA_OK)
        status = split_run(c, &s, error);
    if (status == GKA_OK) {
        split_give(&s, lost, out);
        status = gka_audit_copy_right(c, c->wanted & ~lost, out, error);
    }
    for (int64_t i = 0;
         status == GKA_OK && out->of[GKA_OUT_SOLVE_DH0] != NULL && i < s.pieces.count; i++)
        if (i == 0 || s.pieces.sequence[i] != s.pieces.sequence[i - 1]) {
            const size_t size = (size_t)(p->H * p->D * p->D);
            memcpy(out->of[GKA_OUT_SOLVE_DH0] + (size_t)s.pieces.sequence[i] * size,
                   s.values.of[GKA_OUT_SOLVE_DH0] + (size_t)i * size, size * sizeof(double));
        }
    split_end(&s);
    return status;
}

/* ---- upstream ------------------------------------------------------------------------------ */

/* The iteration as the paper's Algorithm 1 prints it. */
static gka_status run_omega(const audit_case *c, const audit_member *m, gka_outputs *out,
                            char note[AUDIT_NOTE], gka_error *error) {
    (void)m, (void)note;
    gka_profile profile = gka_audit_exact64();
    profile.form = GKA_FORM_MISPRINTED;
    return gka_golden_steps(c->problem, &profile, c->wanted, out, error);
}

/* f of the token before; a sequence's first token has its own. */
static void make_stale(const gka_problem *p, const double *fro, double *stale) {
    for (int64_t n = 0; n < p->N; n++) {
        const gka_span span = gka_problem_span(p, n);
        for (int64_t t = span.begin; t < span.end; t++)
            for (int64_t h = 0; h < p->H; h++) {
                const int64_t i = (span.b * p->T + t) * p->H + h;
                stale[i] = fro[t > span.begin ? i - p->H : i];
            }
    }
}

/* x solves for q with the given f: the p of a cotangent q. */
static gka_status solve_with(const audit_case *c, const double *fro, double *x, gka_error *error) {
    gka_problem problem = *c->problem;
    const gka_profile profile = gka_audit_exact64();
    problem.dx = problem.q;
    gka_outputs out = {.solve.p = x};
    const gka_chunk_given given = {.at.x = c->right->of[GKA_OUT_X], .at.fro = fro};
    return gka_chunk_backward(&problem, &profile, GKA_OF_X, true, &given, &out, error);
}

/* The gradients of `of` at the given x and f, p computed there. */
static gka_status gradients(const audit_case *c, gka_of of, bool bp_lambda,
                            const gka_chunk_given *given, gka_outputs *out, gka_error *error) {
    const gka_profile profile = gka_audit_exact64();
    const unsigned which = gka_of_outputs(of) & c->wanted;
    gka_outputs arrays;
    gka_status status = gka_golden_allocate(c->problem, which, out, error);
    return status == GKA_OK && gka_outputs_only(out, which, &arrays)
               ? gka_chunk_backward(c->problem, &profile, of, bp_lambda, given, &arrays, error)
               : status;
}

/* tr H_t: the sum of the eigenvalues where their norm is meant. */
static gka_status make_trace(const gka_problem *p, double *trace, gka_error *error) {
    double *const k = gka_alloc((size_t)(p->D + p->D * p->D), sizeof *k), *const H = k + p->D;
    if (k == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory for the traces");
    for (int64_t i = 0; i < p->N * p->H; i++) {
        const int64_t n = i / p->H, h = i % p->H;
        const gka_span span = gka_problem_span(p, n);
        double sum = 0;
        gka_problem_h0(p, n, h, H);
        for (int64_t d = 0; d < p->D; d++)
            sum += H[d * p->D + d];
        for (int64_t t = span.begin; t < span.end; t++) {
            gka_problem_k(p, span.b, t, h, k);
            sum *= p->g.data == NULL ? 1 : gamma_of(gka_problem_g(p, span.b, t, h));
            for (int64_t d = 0; d < p->D; d++)
                sum += k[d] * k[d];
            trace[(span.b * p->T + t) * p->H + h] = sum;
        }
    }
    gka_free(k);
    return GKA_OK;
}

enum { F_STALE = 1, F_TRACE = 2, F_STORED_RIGHT = 4 };

/* Another number for f: in lambda, in the steps of the iteration, in the ridge's gradient. */
static gka_status run_other_f(const audit_case *c, const audit_member *m, gka_outputs *out,
                              char note[AUDIT_NOTE], gka_error *error) {
    (void)note;
    const double *const right = c->right->of[GKA_OUT_FRO];
    gka_status status = gka_golden_allocate(c->problem, GKA_BIT(X) | GKA_BIT(FRO), out, error);
    double *const fro = out->of[GKA_OUT_FRO];
    if (status == GKA_OK && m->parameter & F_STALE)
        make_stale(c->problem, right, fro);
    else if (status == GKA_OK)
        status = make_trace(c->problem, fro, error);
    if (status == GKA_OK)
        status = solve_with(c, fro, out->of[GKA_OUT_X], error);
    const gka_chunk_given given = {.at.x = out->of[GKA_OUT_X], .at.fro = fro};
    if (status == GKA_OK)
        status = gradients(c, GKA_OF_X, true, &given, out, error);
    if (status == GKA_OK)
        status = gradients(c, GKA_OF_O, true, &given, out, error);
    if (status == GKA_OK && m->parameter & F_STORED_RIGHT)
        memcpy(fro, right, (size_t)gka_output_count(c->problem, GKA_OUT_FRO) * sizeof *fro);
    return status == GKA_OK ? gka_audit_follow(c, out, error) : status;
}

/* The gate decays U alone: H, f and the solve forget nothing. */
static gka_status run_ungated_h(const audit_case *c, const audit_member *m, gka_outputs *out,
                                char note[AUDIT_NOTE], gka_error *error) {
    (void)m;
    if (c->problem->g.data == NULL)
        return gka_audit_does_not_apply(note, "no gates");
    gka_problem ungated = *c->problem;
    ungated.g = (gka_view){0};
    const gka_profile profile = gka_audit_exact64();
    const unsigned of_h =
        GKA_BIT(X) | GKA_BIT(FRO) | GKA_BIT(H_CHUNK) | GKA_BIT(H_FINAL) | GKA_BIT(SOLVE_DQ);
    const gka_status status = gka_golden_steps(&ungated, &profile, c->wanted & of_h, out, error);
    return status == GKA_OK ? gka_audit_follow(c, out, error) : status;
}

static gka_status run_ridge(const audit_case *c, const audit_member *m, gka_outputs *out,
                            char note[AUDIT_NOTE], gka_error *error) {
    (void)m;
    if ((c->wanted & (GKA_BIT(SOLVE_DK) | GKA_BIT(LAYER_DK))) == 0)
        return gka_audit_does_not_apply(note, "no gradients");
    const gka_chunk_given given = {.at.x = c->right->of[GKA_OUT_X],
                                   .at.fro = c->right->of[GKA_OUT_FRO]};
    gka_status status = gradients(c, GKA_OF_X, false, &given, out, error);
    if (status == GKA_OK)
        status = gradients(c, GKA_OF_O, false, &given, out, error);
    return status == GKA_OK ? gka_audit_follow(c, out, error) : status;
}

/* An arithmetic too coarse for the inputs; `unless`: for inputs of type `parameter`. */
static gka_status run_coarse(const audit_case *c, const audit_member *m, gka_outputs *out,
                             char note[AUDIT_NOTE], gka_error *error) {
    if (m->unless != NULL && c->problem->q.dtype != (gka_dtype)m->parameter)
        return gka_audit_does_not_apply(note, m->unless);
    gka_kernel kernel;
    const gka_status status = gka_kernel_find(m->kernel, &kernel, error);
    return status == GKA_OK ? gka_golden_run(c->problem, &kernel, c->wanted, out, error) : status;
}

/* The output stage reads U_t the wrong way round: o = s U_t q'. The same as keys for values and
 * values for keys there. */
static gka_status run_transposed(const audit_case *c, const audit_member *m, gka_outputs *out,
                                 char note[AUDIT_NOTE], gka_error *error) {
    (void)m;
    const gka_problem *const p = c->problem;
    const int64_t D = p->D, V = p->V;
    if (p->v.data == NULL || D != V)
        return gka_audit_does_not_apply(note, V == 0 ? "no v, so no state U"
                                                     : "V is not D: it would not fit");
    if ((c->wanted & (GKA_BIT(O) | GKA_BIT(U_FINAL))) == 0)
        return gka_audit_does_not_apply(note, "neither o nor u_final");
    gka_problem turned = *p;
    turned.k = p->v;
    turned.v = p->k;
    turned.u0.stride[2] = p->u0.stride[3];
    turned.u0.stride[3] = p->u0.stride[2];
    const gka_outputs x = {.of[GKA_OUT_X] = c->right->of[GKA_OUT_X]};
    gka_status status = gka_audit_copy_right(c, c->wanted & ~GKA_BIT(O), out, error);
    if (status == GKA_OK)
        status = gka_golden_local(&turned, c->wanted & GKA_BIT(O), &x, out, error);
    double *const U = out->of[GKA_OUT_U_FINAL];
    for (int64_t n = 0; status == GKA_OK && U != NULL && n < p->N * p->H; n++)
        for (int64_t i = 0; i < D; i++)
            for (int64_t j = 0; j < i; j++) {
                double *const a = U + n * D * D + i * D + j, *const b = U + n * D * D + j * D + i;
                const double t = *a;
                *a = *b;
                *b = t;
            }
    return status;
}

/* ---- in the outputs ------------------------------------------------------------------------ */

/* The outputs in `parameter` times `factor`. */
static gka_status run_multiplied(const audit_case *c, const audit_member *m, gka_outputs *out,
                                 char note[AUDIT_NOTE], gka_error *error) {
    const unsigned which = c->wanted & (unsigned)m->parameter;
    if (which == 0)
        return gka_audit_does_not_apply(note, "no such tensor");
    const gka_status status = gka_audit_copy_right(c, c->wanted, out, error);
    for (int o = 0; o < GKA_OUTPUTS && status == GKA_OK; o++)
        if (which >> o & 1)
            scale_row(gka_output_count(c->problem, o), m->factor, out->of[o]);
    return status;
}

/* dg of a chunk as a reverse cumulative sum that leaves out the token's own term: dg of the token
 * after it, and 0 at the chunk's end. */
static gka_status run_exclusive_dg(const audit_case *c, const audit_member *m, gka_outputs *out,
                                   char note[AUDIT_NOTE], gka_error *error) {
    (void)m;
    const gka_problem *const p = c->problem;
    const unsigned which = c->wanted & (GKA_BIT(SOLVE_DG) | GKA_BIT(LAYER_DG));
    if (which == 0)
        return gka_audit_does_not_apply(note, "no such tensor");
    const gka_status status = gka_audit_copy_right(c, c->wanted, out, error);
    for (int o = 0; o < GKA_OUTPUTS && status == GKA_OK; o++)
        for (int64_t n = 0; which >> o & 1 && n < p->N; n++) {
            const gka_span span = gka_problem_span(p, n);
            for (int64_t t = span.begin; t < span.end; t++) {
                double *const dg = out->of[o] + (span.b * p->T + t) * p->H;
                const bool ends = t + 1 == span.end || (t + 1 - span.begin) % p->chunk_size == 0;
                for (int64_t h = 0; h < p->H; h++)
                    dg[h] = ends ? 0 : dg[h + p->H];
            }
        }
    return status;
}

/* layer.dq = p: what reaches q past the solve, (1 - alpha) dq', is lost. */
static gka_status run_direct_lost(const audit_case *c, const audit_member *m, gka_outputs *out,
                                  char note[AUDIT_NOTE], gka_error *error) {
    (void)m;
    if ((c->wanted & GKA_BIT(LAYER_DQ)) == 0)
        return gka_audit_does_not_apply(note, "no such tensor");
    const gka_status status = gka_audit_copy_right(c, c->wanted, out, error);
    return status == GKA_OK ? gka_golden_layer_p(c->problem, c->right->of[GKA_OUT_LAYER_DQ],
                                                 out->of[GKA_OUT_LAYER_DQ], error)
                            : status;
}

/* ---- the panel ----------------------------------------------------------------------------- */

#define WRONG(name, what) .is = {name, what, false}

enum { DK = GKA_BIT(SOLVE_DK) | GKA_BIT(LAYER_DK) };

const audit_member gka_audit_wrong[] = {
    {WRONG("exp2", "gamma = 2^g, the gate being a natural logarithm"), run_changed,
     .change = exp2_gates, .unless = "no gates"},
    {WRONG("state_exp2", "... only where states pass from chunk to chunk"), run_state_exp2},
    {WRONG("exclusive_gate", "the cumulative gate of a chunk leaves out the token's own"),
     run_changed, .change = exclusive_gates, .unless = "no gates"},
    {WRONG("ungated_h", "the gate decays U and not H"), run_ungated_h},
    {WRONG("late_gate", "a token is decayed by its own gate"), run_changed, .change = late_gate,
     .unless = "no gates, or one for several heads of a key"},
    {WRONG("omega0", "omega_0 = 0, as Algorithm 1 is misprinted"), run_omega},
    {WRONG("r_minus_1", "one iteration too few"), run_changed, .change = iterations, .unless = "",
     .parameter = -1},
    {WRONG("r_plus_1", "one iteration too many"), run_changed, .change = iterations, .unless = "",
     .parameter = 1},
    {WRONG("stale_f", "f of the token before: lambda, step and ridge gradient"), run_other_f,
     .parameter = F_STALE},
    {WRONG("stale_ridge", "... while the f that is stored is right"), run_other_f,
     .parameter = F_STALE | F_STORED_RIGHT},
    {WRONG("trace", "lambda = a tr H, the norm that is stored being right"), run_other_f,
     .parameter = F_TRACE | F_STORED_RIGHT},
    {WRONG("chunk_state", "chunks read the state before the previous chunk"), run_chunk_state},
    {WRONG("ragged_mask", "rows past the end of a sequence are not masked"), run_ragged_mask},
    {WRONG("leak", "a sequence begins with the final states of the one before"), run_leak},
    {WRONG("h0_ignored", "initial states are not read"), run_changed, .change = without_states,
     .unless = "no initial states"},
    {WRONG("head_map", "query head h reads key/value head h mod G"), run_head_map},
    {WRONG("beta_once", "H gains beta k k^T of the unit key, not beta^2; U likewise"), run_changed,
     .change = beta_once, .unless = "every key has length 1: no beta"},
    {WRONG("transposed", "the output stage reads U_t transposed"), run_transposed},
    {WRONG("scale_twice", "o and its gradients are scaled twice"), run_changed,
     .change = scale_twice, .unless = "no v, so no output o"},
    {WRONG("alpha_swapped", "q' = x + alpha (q - x)"), run_changed, .change = alpha_swapped,
     .unless = "no alpha"},
    {WRONG("alpha_twice", "alpha goes through the sigmoid a second time"), run_changed,
     .change = alpha_twice, .unless = "no alpha"},
    {WRONG("bf16", "sums, states and iterates in bf16"), run_coarse, .kernel = "tokens/bf16"},
    {WRONG("fp16", "sums, states and iterates in fp16"), run_coarse, .kernel = "tokens/fp16",
     .parameter = GKA_F16, .unless = "not the inputs' type: see bf16"},
    {WRONG("tf32", "operands of products in tf32, a framework's default for binary32"), run_coarse,
     .kernel = "tokens/tf32-mixed", .parameter = GKA_F32, .unless = "16 bits fit into tf32"},
    {WRONG("ridge", "the ridge is not differentiated"), run_ridge},
    {WRONG("exclusive_dg", "the reverse cumulative sum of dg leaves out the token's own"),
     run_exclusive_dg},
    {WRONG("direct_lost", "dq lacks what passes by the solve, (1 - alpha) dq'"), run_direct_lost},
    {WRONG("final_gradient", "the cotangents of the final states are not read"), run_changed,
     .change = without_ends, .unless = "final states have no cotangents"},
    {WRONG("chunk_gradient", "what later chunks send back through the state is dropped"),
     run_chunk_gradient},
    {WRONG("dh0_sign", "dh0 has the opposite sign"), run_multiplied,
     .parameter = GKA_BIT(SOLVE_DH0), .factor = -1},
    {WRONG("dk_zero", "dk = 0"), run_multiplied, .parameter = DK, .factor = 0},
    {WRONG("dk_half", "dk/2"), run_multiplied, .parameter = DK, .factor = .5},
    {WRONG("dk_minus", "-dk"), run_multiplied, .parameter = DK, .factor = -1},
};

const size_t gka_audit_wrong_count = sizeof gka_audit_wrong / sizeof *gka_audit_wrong;
