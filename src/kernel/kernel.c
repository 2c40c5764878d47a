/* kernel.c - kernels by name, and the engine that each name runs. */
#include "gka/kernel.h"

#include "gka/replay.h"
#include "oracle/environment.h"
#include "problem/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names --------------------------------------------------------------------------------- */

static const char *const words[] = {"certified", "fp64", "mpfr", "steps", "exact64", "ieee32",
                                    "h100",      "a100", "l40s", "b200",  "cuda",    "tokens"};

const char *gka_kernel_word(size_t i) {
    return i < sizeof words / sizeof *words ? words[i] : NULL;
}

const char *gka_kernel_setting(size_t i) {
    static const char *const others[] = {
        "all",      "decode",    "fp8",     "form",    "handoff", "inputs",  "margin", "mesa",
        "num_iter", "num_warps", "operand", "promote", "scales",  "serving", "states", "store"};
    enum { OTHERS = sizeof others / sizeof *others };
    if (i < GKA_FORM_COUNT)
        return gka_form_name((gka_form)i);
    i -= GKA_FORM_COUNT;
    if (i < GKA_POINT_COUNT)
        return gka_point_name((gka_point)i);
    i -= GKA_POINT_COUNT;
    return i < OTHERS ? others[i] : NULL;
}

static gka_status no_kernel(const char *word, gka_error *error) {
    return gka_fail(error, GKA_BAD_ARGUMENT,
                    "no kernel '%s': certified, fp64, mpfr/BITS, steps, exact64, ieee32, h100, "
                    "another device that multiplies bf16 (gka devices), cuda or tokens/POLICY was "
                    "expected",
                    word);
}

const gka_device *gka_kernel_unchecked(const gka_kernel *kernel) {
    const gka_device *const device = kernel->profile.device;
    return kernel->engine == GKA_ENGINE_CHUNKS && !kernel->decode && !device->checked ? device
                                                                                      : NULL;
}

bool gka_kernel_borrows(const gka_kernel *kernel) {
    return kernel->engine == GKA_ENGINE_CHUNKS && !kernel->profile.device->functions_measured;
}

static gka_status set_precision(gka_kernel *kernel, const char *part, gka_error *error) {
    char *end;
    const long bits = strtol(part, &end, 10);
    if (end == part || *end != '\0' || bits < 53 || bits > 1 << 20)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "mpfr/%s: a number of bits from 53 to 1048576 was expected", part);
    kernel->precision = (int)bits;
    return GKA_OK;
}

static gka_status set_replay(gka_kernel *kernel, const char *part, gka_error *error) {
    const int form = gka_form_find(strncmp(part, "form=", 5) == 0 ? part + 5 : part);
    if (strcmp(part, "decode") == 0)
        kernel->decode = true;
    else if (form == GKA_THREE_TERM || form == GKA_TWO_TERM)
        kernel->form = (gka_form)form;
    else if (strcmp(part, "accurate") == 0)
        kernel->accurate = true;
    else
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "cuda/%s: three-term, two-term, accurate or decode was expected", part);
    return GKA_OK;
}

/* Points of the other layers' chunk forms (GKA_RIVAL_POINT_LIST). */
enum {
    NOT_MESA = 1 << GKA_RIVAL_POINT_OPERAND | 1 << GKA_RIVAL_POINT_INVERSE |
               1 << GKA_RIVAL_POINT_STORE_WU | 1 << GKA_RIVAL_POINT_NEW_VALUE |
               1 << GKA_RIVAL_POINT_OPERAND_Q | 1 << GKA_RIVAL_POINT_TF32
};

/* "mesa": as released on a device, only binary32 on ieee32, exact on exact64. */
static gka_status set_mesa(gka_kernel *kernel, const char *part, gka_error *error) {
    const char *const value = strchr(part, '=');
    const bool exact = value != NULL && strcmp(value, "=exact") == 0;
    if (!kernel->mesa) {
        const char *const before = strchr(kernel->name, '/');
        if (before != NULL && (strncmp(before, "/num_iter=", 10) != 0 || strchr(before + 1, '/')))
            return gka_fail(error, GKA_BAD_ARGUMENT,
                            "%.80s/mesa: before mesa the device alone, or DEVICE/num_iter=N, was "
                            "expected",
                            kernel->name);
        const gka_device *const device = kernel->profile.device;
        kernel->mesa = true;
        kernel->mesa_points = device->core[GKA_MMA_BF16].group > 0 ? GKA_RIVAL_RELEASED
                              : device->binary32 ? 1u << GKA_RIVAL_POINT_ARITHMETIC
                                                 : 0;
        return GKA_OK;
    }
    for (int i = 0; i < GKA_RIVAL_POINT_COUNT && value != NULL; i++) {
        const char *const name = gka_rival_point_name((gka_rival_point)i);
        if (strlen(name) != (size_t)(value - part) || strncmp(name, part, strlen(name)) != 0)
            continue;
        if ((NOT_MESA >> i & 1) != 0)
            return gka_fail(error, GKA_BAD_ARGUMENT, "mesa/%.60s: MesaNet has no such point", part);
        if (!exact && strcmp(value, "=released") != 0)
            break;
        kernel->mesa_points &= ~(1u << i);
        kernel->mesa_points |= exact ? 0 : 1u << i;
        return GKA_OK;
    }
    return gka_fail(
        error, GKA_BAD_ARGUMENT,
        "mesa/%.60s: a rounding point of gka/rivals.h, NAME=exact or NAME=released, was "
        "expected",
        part);
}

static gka_status set_profile(gka_kernel *kernel, const char *part, gka_error *error) {
    const int form = gka_form_find(part);
    if (kernel->mesa || strcmp(part, "mesa") == 0)
        return set_mesa(kernel, part, error);
    if (strcmp(part, "decode") == 0)
        kernel->decode = true;
    else if (strcmp(part, "serving") == 0)
        kernel->serving = true;
    else if (form >= 0)
        kernel->profile.form = (gka_form)form;
    else
        return gka_profile_set(&kernel->profile, part, error);
    return GKA_OK;
}

/* Whether the name has that part already, whatever stands after its "=". */
static bool has_part(const gka_kernel *kernel, const char *part) {
    const size_t length = strcspn(part, "=");
    for (const char *at = strchr(kernel->name, '/'); at != NULL; at = strchr(at, '/')) {
        at++;
        if (strcspn(at, "=/") == length && strncmp(at, part, length) == 0)
            return true;
    }
    return false;
}

gka_status gka_kernel_set(gka_kernel *kernel, const char *part, gka_error *error) {
    gka_kernel changed = *kernel;
    gka_status status;
    if (part[0] == '\0')
        status =
            gka_fail(error, GKA_BAD_ARGUMENT, "%.100s/: a part after '/' is empty", kernel->name);
    else if (has_part(kernel, part))
        status = gka_fail(error, GKA_BAD_ARGUMENT, "%.100s: %.*s given twice", kernel->name,
                          (int)strcspn(part, "="), part);
    else if (kernel->engine == GKA_ENGINE_CHUNKS)
        status = set_profile(&changed, part, error);
    else if (kernel->engine == GKA_ENGINE_REPLAY)
        status = set_replay(&changed, part, error);
    else if (kernel->engine == GKA_ENGINE_ORACLE && kernel->oracle == GKA_ORACLE_MPFR)
        status = set_precision(&changed, part, error);
    else
        status = gka_fail(error, GKA_BAD_ARGUMENT, "%s/%s: nothing more was expected", kernel->name,
                          part);
    const size_t length = strlen(changed.name);
    if (status == GKA_OK && length + 1 + strlen(part) >= sizeof changed.name)
        status = gka_fail(error, GKA_BAD_ARGUMENT, "%s/%s: a shorter name was expected",
                          changed.name, part);
    if (status != GKA_OK)
        return status;
    (void)snprintf(changed.name + length, sizeof changed.name - length, "/%s", part);
    *kernel = changed;
    return GKA_OK;
}

/* The first word alone. */
static gka_status find_word(const char *word, gka_kernel *kernel, gka_error *error) {
    const int oracle = gka_oracle_find(word);
    const gka_device *const device = gka_device_find(word);
    *kernel = (gka_kernel){.engine = GKA_ENGINE_CHUNKS};
    (void)snprintf(kernel->name, sizeof kernel->name, "%s", word);
    if (oracle >= 0) {
        kernel->engine = GKA_ENGINE_ORACLE;
        kernel->oracle = (gka_oracle)oracle;
        return GKA_OK;
    }
    if (strcmp(word, "cuda") == 0 || strcmp(word, "gka-cuda") == 0) {
        kernel->engine = GKA_ENGINE_REPLAY;
        kernel->form = GKA_TWO_TERM;
        return GKA_OK;
    }
    if (strcmp(word, "steps") == 0)
        return gka_profile_find("exact64", &kernel->profile, error);
    if (gka_profile_find(word, &kernel->profile, NULL) == GKA_OK)
        return GKA_OK;
    if (device == NULL || device->core[GKA_MMA_BF16].group == 0)
        return no_kernel(word, error);
    const gka_status status = gka_profile_find("h100", &kernel->profile, error);
    kernel->profile.device = device;
    return status;
}

static gka_status find_tokens(const char *policy, gka_kernel *kernel, gka_error *error) {
    *kernel = (gka_kernel){.engine = GKA_ENGINE_TOKENS};
    if (strlen(policy) + sizeof "tokens/" > sizeof kernel->name ||
        !gka_policy_find(policy, &kernel->policy))
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "tokens/%.60s: an arithmetic as fp32 or fp32/fma was expected", policy);
    (void)snprintf(kernel->name, sizeof kernel->name, "tokens/%s", policy);
    return gka_policy_check(&kernel->policy, error);
}

gka_status gka_kernel_find(const char *name, gka_kernel *kernel, gka_error *error) {
    char text[GKA_KERNEL_NAME];
    if (strncmp(name, "tokens/", 7) == 0)
        return find_tokens(name + 7, kernel, error);
    if (strlen(name) >= sizeof text)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "no kernel '%.60s...': a shorter name was expected", name);
    memcpy(text, name, strlen(name) + 1);
    char *part = strchr(text, '/');
    if (part != NULL)
        *part++ = '\0';
    gka_status status = find_word(text, kernel, error);
    while (part != NULL && status == GKA_OK) {
        char *const next = strchr(part, '/');
        if (next != NULL)
            *next = '\0';
        status = gka_kernel_set(kernel, part, error);
        part = next == NULL ? NULL : next + 1;
    }
    return status;
}

/* ---- MesaNet ------------------------------------------------------------------------------- */

static gka_rival mesa_of(const gka_problem *problem) {
    gka_rival rival;
    (void)gka_rival_find("mesa", &rival, NULL);
    rival.ridge = problem->lambda;
    return rival;
}

static gka_status check_mesa(const gka_kernel *kernel, const gka_problem *problem,
                             gka_error *error) {
    const gka_rival rival = mesa_of(problem);
    const gka_rival_profile profile = {kernel->profile.device, kernel->mesa_points};
    if (!(problem->lambda > 0))
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "%s: a problem with a constant ridge, lambda, was expected", kernel->name);
    if (problem->alpha.data != NULL)
        return gka_fail(error, GKA_BAD_ARGUMENT, "%s: a problem without alpha was expected",
                        kernel->name);
    return kernel->mesa ? gka_rival_chunk_check(problem, &rival, &profile, error)
                        : gka_rival_check(&rival, problem, error);
}

static gka_status run_mesa(const gka_kernel *kernel, const gka_problem *problem,
                           gka_outputs *outputs, const gka_progress *progress, gka_error *error) {
    gka_rival rival = mesa_of(problem);
    const gka_rival_profile profile = {kernel->profile.device, kernel->mesa_points};
    gka_rival_outputs out = {.x = outputs->x, .o = outputs->o};
    const gka_status status = check_mesa(kernel, problem, error);
    if (status != GKA_OK)
        return status;
    if (gka_outputs_set(outputs) & ~(GKA_BIT(X) | GKA_BIT(O)))
        return gka_fail(error, GKA_UNSUPPORTED, "kernel %s, with a constant ridge: x and o alone",
                        kernel->name);
    if (!kernel->mesa)
        return gka_rival_forward(problem, &rival, &kernel->policy, &out, progress, error);
    rival.num_iter = kernel->profile.num_iter;
    return gka_rival_chunk(problem, &rival, &profile, &out, progress, error);
}

/* ---- what it can --------------------------------------------------------------------------- */

unsigned gka_kernel_outputs(const gka_kernel *kernel) {
    const unsigned both = gka_of_outputs(GKA_OF_X) | gka_of_outputs(GKA_OF_O),
                   halves = GKA_BIT(SOLVE_DG_H) | GKA_BIT(SOLVE_DG_U) | GKA_BIT(LAYER_DG_H) |
                            GKA_BIT(LAYER_DG_U),
                   zeros = GKA_BIT(SOLVE_DV) | GKA_BIT(SOLVE_DALPHA) | GKA_BIT(SOLVE_DU0),
                   states = GKA_BIT(H_FINAL) | GKA_BIT(U_FINAL),
                   forward = GKA_BIT(X) | GKA_BIT(FRO) | GKA_BIT(O) | states;
    switch (kernel->engine) {
    case GKA_ENGINE_ORACLE: return (gka_forward_outputs() & ~GKA_BIT(G_CUMSUM)) | both;
    case GKA_ENGINE_TOKENS: return forward | GKA_BIT(LAMBDA) | (both & ~halves & ~zeros);
    case GKA_ENGINE_CHUNKS:
        return kernel->mesa      ? GKA_BIT(X) | GKA_BIT(O)
               : kernel->serving ? 0
               : kernel->decode  ? GKA_BIT(X) | GKA_BIT(FRO) | GKA_BIT(H_FINAL)
                                 : forward | GKA_BIT(H_CHUNK) | GKA_BIT(G_CUMSUM) |
                                      (both & ~halves & ~(zeros & ~GKA_BIT(SOLVE_DU0)));
    case GKA_ENGINE_REPLAY:
        return kernel->decode
                   ? forward
                   : forward | GKA_BIT(H_CHUNK) | (both & ~halves & ~zeros & ~GKA_BIT(LAYER_DU0));
    }
    return 0;
}

gka_status gka_kernel_check(const gka_kernel *kernel, const gka_problem *problem,
                            gka_error *error) {
    gka_problem copy = *problem;
    gka_status status = gka_problem_check_numbers(problem, NULL, error);
    if (status != GKA_OK)
        return status;
    if (kernel->mesa || (kernel->engine == GKA_ENGINE_TOKENS && problem->lambda > 0))
        return check_mesa(kernel, problem, error);
    if (kernel->engine == GKA_ENGINE_CHUNKS || kernel->engine == GKA_ENGINE_REPLAY)
        status = gka_problem_check_kalmanet(problem, error);
    if (status != GKA_OK)
        return status;
    switch (kernel->engine) {
    case GKA_ENGINE_ORACLE: status = gka_environment_check(error); break;
    case GKA_ENGINE_TOKENS: status = gka_policy_check(&kernel->policy, error); break;
    case GKA_ENGINE_CHUNKS:
        return kernel->decode ? gka_chunk_decode_check(problem, &kernel->profile, error)
                              : gka_chunk_check(problem, &kernel->profile, error);
    case GKA_ENGINE_REPLAY:
        return kernel->decode ? gka_replay_decode_check(problem, error)
                              : gka_replay_check(problem, kernel->form, kernel->accurate, error);
    }
    if (status == GKA_OK)
        status = gka_problem_check_folded(problem, error);
    return status == GKA_OK ? gka_problem_check(&copy, NULL, error) : status;
}

/* ---- engines ------------------------------------------------------------------------------- */

/* What gradients of x or of o start from. */
static gka_upstream upstream_of(const gka_outputs *given, gka_of of) {
    return (gka_upstream){
        .x = given->x, .p = given->gradient[of].p, .fro = given->fro, .h_chunk = given->h_chunk};
}

static gka_status run_oracle(const gka_kernel *kernel, const gka_problem *problem,
                             const gka_outputs *given, gka_outputs *outputs,
                             gka_kernel_report *report, const gka_progress *progress,
                             gka_error *error) {
    gka_oracle_options options = {.oracle = kernel->oracle, .precision = kernel->precision};
    gka_oracle_report *const passes[] = {&report->solve, &report->layer};
    gka_outputs some;
    gka_status status = GKA_OK;
    if (progress != NULL)
        options.progress = *progress;
    if (gka_outputs_only(outputs, gka_forward_outputs(), &some))
        status = gka_oracle_forward(problem, &options, &some, NULL, &report->forward, error);
    for (int of = GKA_OF_X; of <= GKA_OF_O && status == GKA_OK; of++) {
        gka_upstream at = {0};
        if (!gka_outputs_only(outputs, gka_of_outputs((gka_of)of), &some))
            continue;
        if (given != NULL) {
            at = upstream_of(given, (gka_of)of);
            options.given = &at;
        }
        status = gka_oracle_gradient(problem, (gka_of)of, &options, &some, NULL, passes[of], error);
    }
    return status;
}

static gka_status run_chunks(const gka_kernel *kernel, const gka_problem *problem,
                             const gka_outputs *given, gka_outputs *outputs, gka_error *error) {
    gka_outputs some;
    gka_status status = GKA_OK;
    if (kernel->decode)
        return gka_chunk_decode(problem, &kernel->profile, outputs, error);
    if (gka_outputs_only(outputs, gka_forward_outputs(), &some))
        status = gka_chunk_forward(problem, &kernel->profile, &some, NULL, NULL, error);
    /* The backward passes read x and f; where the forward pass has left both, those. */
    const bool own = given == NULL && outputs->x != NULL && outputs->fro != NULL;
    for (int of = GKA_OF_X; of <= GKA_OF_O && status == GKA_OK; of++) {
        gka_chunk_given at = {.own = own};
        if (own)
            at.at = (gka_upstream){.x = outputs->x, .fro = outputs->fro};
        else if (given != NULL)
            at.at = upstream_of(given, (gka_of)of);
        if (gka_outputs_only(outputs, gka_of_outputs((gka_of)of), &some))
            status =
                gka_chunk_backward(problem, &kernel->profile, (gka_of)of, true, &at, &some, error);
    }
    return status;
}

gka_layer_options gka_kernel_layer_options(const gka_kernel *kernel, const gka_problem *problem) {
    gka_layer_options options = {.policy = kernel->policy};
    (void)gka_solver_find("chebyshev", &options.solver);
    options.solver.num_iter = problem->num_iter;
    return options;
}

static gka_status run_tokens(const gka_kernel *kernel, const gka_problem *problem,
                             gka_outputs *outputs, const gka_progress *progress, gka_error *error) {
    gka_layer_options options = gka_kernel_layer_options(kernel, problem);
    gka_outputs some;
    gka_status status = GKA_OK;
    if (progress != NULL)
        options.progress = *progress;
    if (gka_outputs_only(outputs, gka_forward_outputs(), &some))
        status = gka_layer_forward(problem, &options, &some, NULL, error);
    for (int of = GKA_OF_X; of <= GKA_OF_O && status == GKA_OK; of++)
        if (gka_outputs_only(outputs, gka_of_outputs((gka_of)of), &some))
            status = gka_layer_gradient(problem, (gka_of)of, &options, &some, NULL, error);
    return status;
}

static gka_status run_replay(const gka_kernel *kernel, const gka_problem *problem,
                             gka_outputs *outputs, gka_error *error) {
    const unsigned both = gka_of_outputs(GKA_OF_X) | gka_of_outputs(GKA_OF_O);
    const bool gradients = (gka_outputs_set(outputs) & both) != 0;
    gka_outputs forward, some;
    if (kernel->decode)
        return gka_replay_decode(problem, outputs, error);
    const bool any = gka_outputs_only(outputs, gka_forward_outputs(), &forward);
    double *x = NULL, *fro = NULL;
    if (gradients && forward.x == NULL)
        forward.x = x = gka_alloc((size_t)gka_output_count(problem, GKA_OUT_X), sizeof *x);
    if (gradients && forward.fro == NULL)
        forward.fro = fro = gka_alloc((size_t)gka_output_count(problem, GKA_OUT_FRO), sizeof *fro);
    gka_status status = GKA_OK;
    if (gradients && (forward.x == NULL || forward.fro == NULL))
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory for x and f");
    if (status == GKA_OK && (any || gradients))
        status = gka_replay_forward(problem, kernel->form, kernel->accurate, &forward, error);
    for (int of = GKA_OF_X; of <= GKA_OF_O && status == GKA_OK; of++)
        if (gka_outputs_only(outputs, gka_of_outputs((gka_of)of), &some))
            status = gka_replay_backward(problem, kernel->form, kernel->accurate, (gka_of)of,
                                         forward.x, forward.fro, &some, error);
    gka_free(x);
    gka_free(fro);
    return status;
}

/* An engine that says nothing on its way reports its end. */
static gka_status ended(gka_status status, const gka_progress *progress, gka_error *error) {
    if (status == GKA_OK && !gka_progress_report(progress, 1, 1))
        return gka_fail(error, GKA_INTERRUPTED, "interrupted");
    return status;
}

gka_status gka_kernel_run(const gka_kernel *kernel, const gka_problem *problem,
                          const gka_outputs *given, gka_outputs *outputs, gka_kernel_report *report,
                          const gka_progress *progress, gka_error *error) {
    gka_kernel_report own = {0};
    const unsigned more = gka_outputs_set(outputs) & ~gka_kernel_outputs(kernel);
    if (report != NULL)
        *report = own;
    for (int i = 0; i < GKA_OUTPUTS; i++)
        if (more >> i & 1)
            return gka_fail(error, GKA_UNSUPPORTED, "kernel %s gives no '%s'", kernel->name,
                            gka_output_table[i].name);
    if (given != NULL && kernel->engine != GKA_ENGINE_CHUNKS && kernel->engine != GKA_ENGINE_ORACLE)
        return gka_fail(error, GKA_UNSUPPORTED, "kernel %s takes no given tensors", kernel->name);
    if (kernel->mesa || (kernel->engine == GKA_ENGINE_TOKENS && problem->lambda > 0))
        return run_mesa(kernel, problem, outputs, progress, error);
    switch (kernel->engine) {
    case GKA_ENGINE_ORACLE:
        return run_oracle(kernel, problem, given, outputs, report != NULL ? report : &own, progress,
                          error);
    case GKA_ENGINE_CHUNKS:
        return ended(run_chunks(kernel, problem, given, outputs, error), progress, error);
    case GKA_ENGINE_TOKENS: return run_tokens(kernel, problem, outputs, progress, error);
    case GKA_ENGINE_REPLAY:
        return ended(run_replay(kernel, problem, outputs, error), progress, error);
    }
    return gka_fail(error, GKA_INTERNAL, "kernel %s: no engine", kernel->name);
}
