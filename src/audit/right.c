/* right.c - the panel of right kernels (kernel/panel.h) as members: every golden must let them
 * pass. */
#include "audit/audit.h"

#include "gka/arith.h"
#include "gka/replay.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- references ---------------------------------------------------------------------------- */

static gka_status run_steps(const audit_case *c, gka_outputs *out, gka_error *error) {
    return gka_audit_copy_right(c, c->wanted, out, error);
}

/* Whether r steps are the exact solution to within the rounding of the stored type; if not, exact
 * values and conjugate gradients, which are nearer, are right by another measure. */
static bool steps_converge(const audit_case *c, char note[AUDIT_NOTE]) {
    const double u = gka_format_unit_roundoff(gka_format_of_dtype(c->problem->q.dtype));
    static const int solved[] = {GKA_OUT_X, GKA_OUT_SOLVE_DQ, GKA_OUT_LAYER_DQ};
    for (size_t i = 0; i < sizeof solved / sizeof *solved; i++) {
        const int o = solved[i];
        if (c->exact->of[o] == NULL)
            continue;
        const double left =
            gka_rel_err(gka_output_count(c->problem, o), c->exact->of[o], c->right->of[o]);
        if (left <= u)
            continue;
        (void)gka_format_text(note, AUDIT_NOTE, "%d steps leave %.1e of %s, more than a rounding",
                              c->problem->num_iter, left, gka_output_table[o].name);
        return false;
    }
    return true;
}

static gka_status run_exact(const audit_case *c, gka_outputs *out, char note[AUDIT_NOTE],
                            gka_error *error) {
    if (!steps_converge(c, note))
        return GKA_OK;
    unsigned there = 0;
    for (int i = 0; i < GKA_OUTPUTS; i++)
        there |= (c->exact->of[i] != NULL ? 1u : 0u) << i;
    const audit_case exact = {c->problem, there, c->exact, c->exact};
    return gka_audit_copy_right(&exact, there, out, error);
}

/* ---- profiles ------------------------------------------------------------------------------ */

static bool sixteen_bits(const gka_problem *problem) {
    return problem->q.dtype == GKA_BF16 || problem->q.dtype == GKA_F16;
}

/* A sum of D products with elements of U may pass the largest binary32 number on its way, whatever
 * it comes to: which order of sums does is luck. */
static bool may_overflow(const audit_case *c) {
    const double *const u = c->right->of[GKA_OUT_U_FINAL];
    double most = 0;
    for (int64_t i = 0; u != NULL && i < gka_output_count(c->problem, GKA_OUT_U_FINAL); i++)
        most = fmax(most, fabs(u[i]));
    return (double)c->problem->D * most > FLT_MAX;
}

static bool all_finite(int64_t n, const double *values) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return false;
    return true;
}

/* NaN and Inf that the hardware gives (an empty state, the ungated backward of a ragged sequence)
 * are defects that are known; such a tensor gets no verdict. */
static void leave_out_nan(const audit_case *c, gka_outputs *out, char note[AUDIT_NOTE]) {
    int used = 0;
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        if (out->of[i] == NULL || all_finite(gka_output_count(c->problem, i), out->of[i]))
            continue;
        gka_free(out->of[i]);
        out->of[i] = NULL;
        if (used < AUDIT_NOTE)
            used += snprintf(note + used, (size_t)(AUDIT_NOTE - used), "%s%s",
                             used == 0 ? "not finite: " : " ", gka_output_table[i].name);
    }
}

static gka_status run_profile(const audit_case *c, const gka_right_kernel *right,
                              const gka_kernel *kernel, gka_outputs *out, char note[AUDIT_NOTE],
                              gka_error *error) {
    const gka_profile *const profile = &kernel->profile;
    gka_problem problem = *c->problem;
    if (right->chunk != 0)
        problem.chunk_size = right->chunk;
    gka_error why = {0};
    if (gka_kernel_check(kernel, &problem, &why) != GKA_OK)
        return gka_audit_does_not_apply(note, why.text);
    if (right->chunk == c->problem->chunk_size)
        return gka_audit_does_not_apply(note, "the golden's own chunk size");
    const bool rounds = (profile->released & ~(1u << GKA_POINT_ARITHMETIC)) != 0;
    if (rounds && !sixteen_bits(c->problem))
        return gka_audit_does_not_apply(note, "rounds to 16 bits; the inputs have more");
    if (profile->low_states && !profile->fp16)
        return gka_audit_does_not_apply(note, "states in bf16 are a mistake: see bf16");
    /* The states before each chunk are others when chunks are. */
    const unsigned wanted = right->chunk != 0 ? c->wanted & ~GKA_BIT(H_CHUNK) : c->wanted;
    const bool cg = profile->form == GKA_FORM_CG || profile->form == GKA_FORM_CG_CONSISTENT;
    if ((cg || right->steps != GKA_STEPS_ASKED) && !steps_converge(c, note))
        return GKA_OK;
    const gka_status status = gka_golden_steps(&problem, profile, wanted, out, error);
    if (status == GKA_OK && (rounds || may_overflow(c)))
        leave_out_nan(c, out, note);
    return status;
}

/* ---- other kernels ------------------------------------------------------------------------- */

/* By tokens, by the replay, by the kernel for one token: what it has of the wanted outputs. */
static gka_status run_kernel(const audit_case *c, const gka_kernel *kernel, gka_outputs *out,
                             char note[AUDIT_NOTE], gka_error *error) {
    gka_error why = {0};
    if (gka_kernel_check(kernel, c->problem, &why) != GKA_OK)
        return gka_audit_does_not_apply(note, why.text);
    const gka_status status = gka_golden_run(c->problem, kernel, c->wanted, out, error);
    if (status == GKA_OK)
        leave_out_nan(c, out, note);
    return status;
}

/* The kernels of src/cuda, as a CPU replays them bit for bit, in their default form. Their dg reads
 * <p, q> for <p, (H + lambda) x>: good for an x that solves, which neither a few steps give nor,
 * with its residual, the three-term form (quick, ragged: layer.dg of a row .32 off where the others
 * have .1). They have no cotangents of the final states. */
static gka_status run_cuda(const audit_case *c, const gka_kernel *kernel, gka_outputs *out,
                           char note[AUDIT_NOTE], gka_error *error) {
    const gka_problem *const p = c->problem;
    if (p->dh_final.data != NULL || p->du_final.data != NULL)
        return gka_audit_does_not_apply(note, "src/cuda reads no cotangents of the final states");
    if (!steps_converge(c, note))
        return GKA_OK;
    if (p->T != 1)
        return run_kernel(c, kernel, out, note, error);
    audit_case one = *c;
    one.wanted &= GKA_BIT(X) | GKA_BIT(FRO) | GKA_BIT(O) | GKA_BIT(H_FINAL) | GKA_BIT(U_FINAL);
    return run_kernel(&one, kernel, out, note, error);
}

/* The released kernel for one token. */
static gka_status run_decode(const audit_case *c, const gka_kernel *kernel, gka_outputs *out,
                             char note[AUDIT_NOTE], gka_error *error) {
    for (int64_t n = 0; n < c->problem->N; n++) {
        const gka_span span = gka_problem_span(c->problem, n);
        if (span.end - span.begin != 1)
            return gka_audit_does_not_apply(note, "more than one token, or none");
    }
    return run_kernel(c, kernel, out, note, error);
}

/* ---- the panel ----------------------------------------------------------------------------- */

gka_status gka_audit_run_right(const audit_case *c, const audit_member *m, gka_outputs *out,
                               char note[AUDIT_NOTE], gka_error *error) {
    const gka_right_kernel *const right = m->right;
    gka_kernel kernel;
    gka_error why = {0};
    const gka_status status = gka_right_kernel_find(NULL, right, c->problem, &kernel, &why);
    if (status == GKA_UNSUPPORTED)
        return gka_audit_does_not_apply(note, why.text);
    if (status != GKA_OK)
        return gka_fail(error, status, "%s", why.text);
    if (strcmp(right->kernel, "steps") == 0)
        return run_steps(c, out, error);
    switch (kernel.engine) {
    case GKA_ENGINE_ORACLE: return run_exact(c, out, note, error);
    case GKA_ENGINE_TOKENS: return run_kernel(c, &kernel, out, note, error);
    case GKA_ENGINE_REPLAY: return run_cuda(c, &kernel, out, note, error);
    case GKA_ENGINE_CHUNKS: break;
    }
    return kernel.decode ? run_decode(c, &kernel, out, note, error)
                         : run_profile(c, right, &kernel, out, note, error);
}

audit_member gka_audit_right(size_t i) {
    const gka_right_kernel *const right = &gka_right_kernels[i];
    return (audit_member){
        .is = {right->name, right->what, true}, .run = gka_audit_run_right, .right = right};
}

/* Below the tolerance of a judged output lies a panel; in which of its tolerances does the kernel
 * take part? */
bool gka_audit_took_part(const golden_reference *golden, unsigned judged,
                         const gka_right_kernel *right) {
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        const gka_panel *const panel = golden->panel[i];
        if (!(judged >> i & 1))
            continue;
        const gka_takes takes =
            panel == NULL ? GKA_TAKES_ALL : gka_panel_takes(panel->kind, right, &golden->problem);
        const bool also =
            panel == gka_panel_overflow && right->takes[GKA_PANEL_TF32] == GKA_TAKES_ALL;
        if (also || (takes == GKA_TAKES_F ? i == GKA_OUT_FRO : takes != GKA_TAKES_NO))
            return true;
    }
    return false;
}
