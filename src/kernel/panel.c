/* panel.c - THE panel of right kernels (kernel/panel.h). */
#include "kernel/panel.h"

#include <math.h>
#include <string.h>

/* ---- the table ----------------------------------------------------------------------------- */

#define TAKES(...)   .takes = {__VA_ARGS__}
#define H100(when)   [GKA_PANEL_H100] = GKA_TAKES_##when
#define POINTS(when) [GKA_PANEL_POINTS] = GKA_TAKES_##when
#define FP32(when)   [GKA_PANEL_BINARY32] = GKA_TAKES_##when
#define MESA         [GKA_PANEL_MESA] = GKA_TAKES_ALL
#define CONVERGED    [GKA_PANEL_CONVERGED] = GKA_TAKES_ALL
#define CONVERGED32  [GKA_PANEL_CONVERGED32] = GKA_TAKES_ALL
#define RIDGE        .steps = GKA_STEPS_RIDGE
#define DIMENSION    .steps = GKA_STEPS_DIMENSION

#define BINARY32_STATES                                                                            \
    "h100/state_operand=exact/state_snapshot=exact/output_state=exact/grad_state=exact"
#define HANDOFFS "exact64/store_x=released/store_o=released/store_grad=released"

const gka_right_kernel gka_right_kernels[] = {
    {"steps", "steps", TAKES(H100(FLOOR), POINTS(FLOOR), FP32(FLOOR)),
     .what = "num_iter iterations in binary64, rounded once"},
    {"exact", "certified", .what = "the exact solution, rounded once",
     TAKES([GKA_PANEL_CONVERGED] = GKA_TAKES_FLOOR, [GKA_PANEL_CONVERGED32] = GKA_TAKES_FLOOR)},

    /* The released kernels. */
    {"h100", "h100", TAKES(H100(ALL)), .what = "the released kernels on an H100"},
    {"h100-c16", "h100", 16, TAKES(H100(ALL)), .what = "... in chunks of 16"},
    {"h100-c32", "h100", 32, TAKES(H100(ALL)), .what = "... in chunks of 32"},
    {"h100-c64", "h100", 64, TAKES(H100(ALL)), .what = "... in chunks of 64"},
    {"h100-c128", "h100", 128, TAKES(H100(ALL)), .what = "... in chunks of 128"},
    {"h100-c48", "h100", 48, .what = "... in chunks of 48"},
    {"h100-c80", "h100", 80, .what = "... in chunks of 80"},
    {"two-term", "h100/two-term", TAKES(H100(ALL)), .said = "two-term",
     .what = "... with the two-term form of the iteration"},
    {"h100-w1", "h100/num_warps=1", TAKES(H100(F)), .said = "1, 2 and 8 warps",
     .what = "... the solver by 1 warp, which takes f's sums in another order"},
    {"h100-w2", "h100/num_warps=2", TAKES(H100(F)), .what = "... the solver by 2 warps"},
    {"h100-w8", "h100/num_warps=8", TAKES(H100(F)), .what = "... the solver by 8 warps"},
    {"all-w1", "h100/all.num_warps=1", .what = "... every kernel by 1 warp that can be"},
    {"all-w8", "h100/all.num_warps=8", .what = "... every kernel by 8 warps that can be"},
    {"two-term-w8", "h100/two-term/num_warps=8", .what = "... by 8 warps in the two-term form"},
    {"a100", "a100", .what = "... with the tensor core of an A100"},
    {"a100-two-term", "a100/two-term", 32,
     .what = "... with that of an A100, two-term, in chunks of 32"},
    {"b200", "b200", .what = "... with the tensor core of a B200"},
    {"fp32-states", BINARY32_STATES, TAKES(H100(FEW)), .said = "binary32 states",
     .what = "... with chunk states kept and read in binary32"},
    {"cg-consistent", "h100/cg-consistent",
     .what = "... with as many steps of conjugate gradients"},
    {"fp32-norm", "h100/norm_square=exact/norm_reduce=exact", TAKES(H100(FEW)),
     .said = "binary32 norm", .what = "... with the norm of H squared and summed in binary32"},
    {"split", "h100/operand=split", .what = "... with x and its scores in two bf16 parts"},
    {"handoff-2", "h100/handoff=2", .what = "... q', dq' and dx handed on in two bf16 parts"},
    {"low-states", "h100/states=low",
     .what = "... with states carried from chunk to chunk in fp16"},
    {"decode", "h100/decode", TAKES(H100(TOKEN)), .what = "the released kernel for one token"},

    /* Our own. Its dg reads <p, q> for <p, (H + lambda) x>: good for an x that solves, which
     * neither a few steps give nor, with its residual, the three-term form (quick, ragged: layer.dg
     * of a row .32 off where the others have .1). */
    {"cuda", "cuda", .what = "the kernels of src/cuda"},

    /* Without a tensor core. */
    {"points", "ieee32/all=released", TAKES(POINTS(ALL), H100(FEW)),
     .said = "ieee32 with all points and none",
     .what = "every rounding point of the released kernels, without a tensor core"},
    {"points-c16", "ieee32/all=released", 16, TAKES(POINTS(ALL)), .what = "... in chunks of 16"},
    {"points-c32", "ieee32/all=released", 32, TAKES(POINTS(ALL)), .what = "... in chunks of 32"},
    {"points-c64", "ieee32/all=released", 64, TAKES(POINTS(ALL)), .what = "... in chunks of 64"},
    {"points-c128", "ieee32/all=released", 128, TAKES(POINTS(ALL)), .what = "... in chunks of 128"},
    {"points-two-term", "ieee32/all=released/two-term", TAKES(POINTS(ALL)), .said = "two-term",
     .what = "... with the two-term form"},
    {"tf32-weight", "ieee32/grad_weight=released", TAKES([GKA_PANEL_TF32] = GKA_TAKES_ALL),
     .what = "binary32 but for the operands that dg cuts to tf32"},
    {"ieee32", "ieee32", TAKES(FP32(ALL), H100(FEW)),
     .what = "binary32 with fused multiply-adds, no bf16 inside"},
    {"ieee32-c16", "ieee32", 16, TAKES(FP32(ALL)), .what = "... in chunks of 16"},
    {"ieee32-c32", "ieee32", 32, TAKES(FP32(ALL)), .what = "... in chunks of 32"},
    {"ieee32-c64", "ieee32", 64, TAKES(FP32(ALL)), .what = "... in chunks of 64"},
    {"ieee32-c128", "ieee32", 128, TAKES(FP32(ALL)), .what = "... in chunks of 128"},
    {"ieee32-c24", "ieee32", 24, .what = "... in chunks of 24"},
    {"ieee32-two-term", "ieee32/two-term", TAKES(FP32(ALL)), .said = "two-term",
     .what = "... with the two-term form"},
    {"tokens", "tokens/fp32", TAKES(FP32(ALL)),
     .said = "token by token without fused multiply-adds",
     .what = "the recurrence token by token in binary32, nothing fused"},
    {"tokens-fma", "tokens/fp32/fma", .what = "... fused"},
    {"tokens-pairwise", "tokens/fp32/pairwise", .what = "... sums by halves"},

    /* To the end. */
    {"cg-mix", HANDOFFS "/mix=released/cg", DIMENSION, TAKES(CONVERGED),
     .what = "conjugate gradients to the end in binary64; x, q', outputs rounded as released"},
    {"cg-handoffs", HANDOFFS "/cg", DIMENSION, TAKES(CONVERGED),
     .what = "... with q' rounded once"},
    {"two-term-end", "h100/two-term", RIDGE, TAKES(CONVERGED),
     .what = "the released kernels, two-term, until binary32 cannot tell one more step"},
    {"points-end", "ieee32/all=released/two-term", RIDGE, TAKES(CONVERGED),
     .what = "... without a tensor core"},
    {"ieee32-end", "ieee32/three-term", RIDGE, TAKES(CONVERGED32),
     .what = "binary32 until it cannot tell one more step"},
    {"ieee32-two-end", "ieee32/two-term", RIDGE, TAKES(CONVERGED32),
     .what = "... with the two-term form"},
    {"ieee32-cg", "ieee32/cg", DIMENSION, TAKES(CONVERGED32),
     .what = "conjugate gradients to the end in binary32"},

    /* Of a constant ridge. */
    {"mesa", "h100/mesa", TAKES(MESA), .what = "MesaNet's kernels on an H100"},
    {"mesa-c16", "h100/mesa", 16, TAKES(MESA), .what = "... in chunks of 16"},
    {"mesa-c32", "h100/mesa", 32, TAKES(MESA), .what = "... in chunks of 32"},
    {"mesa-c64", "h100/mesa", 64, TAKES(MESA), .what = "... in chunks of 64"},
    {"mesa-c128", "h100/mesa", 128, TAKES(MESA), .what = "... in chunks of 128"},
    {"mesa-b200", "b200/mesa", TAKES(MESA), .said = "a B200's",
     .what = "... with the tensor core of a B200"},
    {"mesa-ieee32", "ieee32/mesa", TAKES(MESA), .said = "binary32",
     .what = "binary32 with nothing in 16 bits but q and k"},
    {"mesa-end", "h100/mesa", DIMENSION, TAKES([GKA_PANEL_MESA_CONVERGED] = GKA_TAKES_ALL),
     .what = "MesaNet's kernels with more steps than conjugate gradients need"},
    {"mesa-ieee32-end", "ieee32/mesa", DIMENSION, TAKES([GKA_PANEL_MESA_CONVERGED] = GKA_TAKES_ALL),
     .what = "... in binary32"},
};

enum { OF_MESANET = 9 };
const size_t gka_panel_row_count = sizeof gka_right_kernels / sizeof *gka_right_kernels;
const size_t gka_right_kernel_count =
    sizeof gka_right_kernels / sizeof *gka_right_kernels - OF_MESANET;

/* ---- panels -------------------------------------------------------------------------------- */

#define POINTS_KERNEL "ieee32/all=released"

static const gka_panel bf16[] = {{"h100", GKA_PANEL_H100, "h100", {NULL}},
                                 {"ieee32, all=released", GKA_PANEL_POINTS, POINTS_KERNEL, {NULL}},
                                 {NULL, GKA_PANEL_KINDS, NULL, {NULL}}};
static const gka_panel fp16[] = {
    {"h100, inputs=fp16", GKA_PANEL_H100, "h100", {NULL}},
    {"h100, inputs=fp16, norm_square=exact, norm_reduce=exact",
     GKA_PANEL_H100,
     "h100",
     {"norm_square=exact", "norm_reduce=exact"}},
    {"ieee32, all=released, inputs=fp16", GKA_PANEL_POINTS, POINTS_KERNEL, {NULL}},
    {NULL, GKA_PANEL_KINDS, NULL, {NULL}}};
static const gka_panel fp32[] = {{"ieee32", GKA_PANEL_BINARY32, "ieee32", {NULL}},
                                 {NULL, GKA_PANEL_KINDS, NULL, {NULL}}};

static const gka_panel mesa[] = {{"h100/mesa", GKA_PANEL_MESA, "h100/mesa", {NULL}},
                                 {NULL, GKA_PANEL_KINDS, NULL, {NULL}}};

/* In bf16: what overflows is fp16. */
const gka_panel gka_panel_overflow[2] = {
    {"2^-3 of ieee32, all=released, grad_weight=exact; ieee32, grad_weight=released",
     GKA_PANEL_POINTS,
     POINTS_KERNEL,
     {"grad_weight=exact", "inputs=bf16"}},
    {"", GKA_PANEL_TF32, "ieee32/grad_weight=released", {"inputs=bf16"}}};

const gka_panel *gka_panels_of(const gka_problem *problem) {
    const gka_dtype dtype = problem->q.dtype;
    if (problem->lambda > 0)
        return mesa;
    return dtype == GKA_F16 ? fp16 : dtype == GKA_F32 || dtype == GKA_F64 ? fp32 : bf16;
}

const gka_panel *gka_panel_find(const char *panel_kernels) {
    static const gka_panel *const all[] = {bf16, fp16, fp32, mesa};
    const char *const end = strstr(panel_kernels, ", the worst of ");
    const size_t length = end == NULL ? 0 : (size_t)(end - panel_kernels);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (const gka_panel *p = all[i]; p->kernel != NULL; p++)
            if (strlen(p->said) == length && strncmp(p->said, panel_kernels, length) == 0)
                return p;
    const char *const said = gka_panel_overflow[0].said;
    return strlen(said) == length && strncmp(said, panel_kernels, length) == 0 ? gka_panel_overflow
                                                                               : NULL;
}

const int64_t *gka_panel_chunks(const gka_problem *problem, int64_t chunks[5]) {
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

static bool lists_chunk(const gka_problem *problem, int64_t C) {
    int64_t chunks[5];
    for (const int64_t *one = gka_panel_chunks(problem, chunks); *one != 0; one++)
        if (*one == C)
            return true;
    return false;
}

bool gka_panel_few_pairs(const gka_problem *problem) {
    return problem->B * problem->T * problem->H < 256;
}

static bool one_token_each(const gka_problem *problem) {
    for (int64_t n = 0; n < problem->N; n++) {
        const gka_span span = gka_problem_span(problem, n);
        if (span.end - span.begin != 1)
            return false;
    }
    return true;
}

gka_takes gka_panel_takes(gka_panel_kind kind, const gka_right_kernel *right,
                          const gka_problem *problem) {
    const gka_takes takes = right->takes[kind];
    const bool few = gka_panel_few_pairs(problem);
    if (right->chunk != 0 && !lists_chunk(problem, right->chunk))
        return GKA_TAKES_NO;
    switch (takes) {
    case GKA_TAKES_NO:
    case GKA_TAKES_FLOOR:
    case GKA_TAKES_ALL: return takes;
    case GKA_TAKES_F: return few ? GKA_TAKES_ALL : GKA_TAKES_F;
    case GKA_TAKES_FEW: return few ? GKA_TAKES_ALL : GKA_TAKES_NO;
    case GKA_TAKES_TOKEN: return one_token_each(problem) ? GKA_TAKES_ALL : GKA_TAKES_NO;
    }
    return GKA_TAKES_NO;
}

/* ---- a row as a kernel --------------------------------------------------------------------- */

/* T_n(cosh t) = cosh(n t), and a rounding of acosh does not matter, since one more or less step is
 * as right. */
double gka_steps_to(double a, double u) {
    return a > 0 ? ceil(acosh(1 / u) / acosh(1 + 2 * a)) - 1 : INFINITY;
}

static gka_status set_steps(gka_right_steps steps, const gka_problem *problem, gka_profile *profile,
                            gka_error *error) {
    enum { MOST = 1000 };
    const double least = gka_steps_to(problem->ridge_ratio, 0x1p-24);
    if (steps == GKA_STEPS_RIDGE && !(least <= MOST))
        return gka_fail(error, GKA_UNSUPPORTED, "more than %d steps would be needed", MOST);
    if (steps == GKA_STEPS_RIDGE)
        profile->num_iter = (int)fmax(least, 1);
    if (steps == GKA_STEPS_DIMENSION)
        profile->num_iter = (int)fmin(8 * (double)problem->D + 64, 1 << 20);
    return GKA_OK;
}

gka_status gka_right_kernel_find(const gka_panel *panel, const gka_right_kernel *right,
                                 const gka_problem *problem, gka_kernel *kernel, gka_error *error) {
    static const double no_gate = -104; /* exp of it is 0 in binary32, subnormals included */
    gka_status status =
        gka_kernel_find(right != NULL ? right->kernel : panel->kernel, kernel, error);
    if (status != GKA_OK || kernel->engine != GKA_ENGINE_CHUNKS)
        return status;
    status = gka_profile_set(&kernel->profile, "h0_sign=exact", error);
    kernel->profile.fp16 = problem->q.dtype == GKA_F16;
    kernel->profile.least_gate = no_gate;
    for (int i = 0; i < 2 && panel != NULL && panel->settings[i] != NULL && status == GKA_OK; i++)
        status = gka_profile_set(&kernel->profile, panel->settings[i], error);
    return status == GKA_OK && right != NULL
               ? set_steps(right->steps, problem, &kernel->profile, error)
               : status;
}
