/* cases.c - see cases.h. */
#include "lab/cases.h"
#include "lab/dense.h"
#include "lab/lab.h"

#include "gka/oracle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const lab_case lab_cases[LAB_CASES] = {
    {"iid_gated", GKA_KEYS_IID, GKA_GATE_RELEASED, .02, 30},
    {"iid_ungated", GKA_KEYS_IID, GKA_GATE_NONE, .02, 30},
    {"slow", GKA_KEYS_IID, GKA_GATE_SLOW, .02, 30},
    {"strong", GKA_KEYS_IID, GKA_GATE_STRONG, .02, 30},
    {"powerlaw", GKA_KEYS_POWERLAW, GKA_GATE_RELEASED, .02, 30},
    {"lowrank", GKA_KEYS_LOWRANK, GKA_GATE_RELEASED, .02, 30},
    {"repeat", GKA_KEYS_REPEAT, GKA_GATE_RELEASED, .02, 30},
    {"repeat_ungated_a005", GKA_KEYS_REPEAT, GKA_GATE_NONE, .005, 60},
    {"slow_a005", GKA_KEYS_IID, GKA_GATE_SLOW, .005, 60},
};

int lab_case_find(const char *name) {
    int i = 0;
    while (strcmp(lab_cases[i].name, name) != 0)
        i++;
    return i;
}

bool lab_case_same(const lab_case *a, const lab_case *b) {
    return (lab_real() || lab_keys(a->keys) == lab_keys(b->keys)) &&
           lab_gate(a->gate) == lab_gate(b->gate) && a->a == b->a && a->r == b->r;
}

gka_status lab_case_problem(const lab_case *c, int64_t heads, uint64_t seed, gka_problem *problem,
                            gka_error *error) {
    const gka_generator spec = {.keys = lab_keys(c->keys),
                                .gate = lab_gate(c->gate),
                                .B = 1,
                                .T = lab_T(LAB_CASE_T),
                                .H = heads,
                                .G = heads,
                                .D = lab_D(LAB_CASE_D),
                                .V = lab_D(LAB_CASE_D),
                                .alpha = true,
                                .cotangents = true,
                                .dtype = GKA_BF16,
                                .ridge_ratio = c->a,
                                .num_iter = c->r,
                                .chunk_size = 64,
                                .seed = seed};
    return lab_generate(&spec, problem, error);
}

static int64_t width_of(const gka_problem *problem, int which) {
    return which == LAB_DALPHA ? 1 : problem->D;
}

gka_status lab_layer_take(const gka_problem *p, lab_layer *layer, gka_error *error) {
    const size_t rows = (size_t)(p->T * p->H), wide = rows * (size_t)p->D;
    *layer = (lab_layer){.memory = gka_alloc(5 * wide + 2 * rows, sizeof(double))};
    double *next = layer->memory;
    if (!next)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
    for (int i = 0; i < LAB_ERRORS; i++) {
        layer->of[i] = next;
        next += rows * (size_t)width_of(p, i);
    }
    layer->p = next;
    layer->fro = next + wide;
    return GKA_OK;
}

void lab_layer_drop(lab_layer *layer) {
    gka_free(layer->memory);
}

gka_status lab_layer_exact(const gka_problem *problem, lab_layer *out, gka_error *error) {
    const gka_oracle_options options = {.oracle = GKA_ORACLE_FP64};
    gka_outputs forward = {.x = out->of[LAB_X], .o = out->of[LAB_O], .fro = out->fro},
                solve = {.solve = {.dk = out->of[LAB_DK], .p = out->p}},
                layer = {.layer = {.dk = out->of[LAB_LAYER_DK], .dalpha = out->of[LAB_DALPHA]}};
    gka_status status = gka_oracle_forward(problem, &options, &forward, NULL, NULL, error);
    if (status == GKA_OK)
        status = gka_oracle_gradient(problem, GKA_OF_X, &options, &solve, NULL, NULL, error);
    if (status == GKA_OK)
        status = gka_oracle_gradient(problem, GKA_OF_O, &options, &layer, NULL, NULL, error);
    return status;
}

gka_status lab_layer_emulated(const gka_problem *problem, const gka_profile *profile,
                              lab_layer *out, gka_error *error) {
    gka_outputs forward = {.x = out->of[LAB_X], .o = out->of[LAB_O], .fro = out->fro},
                solve = {.solve = {.dk = out->of[LAB_DK], .p = out->p}},
                layer = {.layer = {.dk = out->of[LAB_LAYER_DK], .dalpha = out->of[LAB_DALPHA]}};
    const gka_chunk_given given = {.at.x = forward.x, .at.fro = forward.fro, .own = true};
    gka_status status = gka_chunk_forward(problem, profile, &forward, NULL, NULL, error);
    if (status == GKA_OK)
        status = gka_chunk_backward(problem, profile, GKA_OF_X, true, &given, &solve, error);
    if (status == GKA_OK)
        status = gka_chunk_backward(problem, profile, GKA_OF_O, true, &given, &layer, error);
    return status;
}

/* Two parts: bf16(x) + bf16(x - bf16(x)). */
static void store(const gka_format *bf16, int parts, size_t count, const double *x, double *out) {
    gka_round_array(bf16, GKA_NEAREST_EVEN, 0, 0, count, x, out);
    for (size_t i = 0; parts == 2 && i < count; i++) {
        double low = x[i] - out[i];
        gka_round_array(bf16, GKA_NEAREST_EVEN, 0, 0, 1, &low, &low);
        out[i] += low;
    }
}

gka_status lab_layer_stored(const gka_problem *problem, const lab_layer *exact, int parts,
                            lab_layer *out, gka_error *error) {
    const size_t wide = (size_t)(problem->T * problem->H * problem->D);
    const gka_format *const bf16 = gka_format_find("bf16");
    gka_profile profile;
    gka_outputs back = {.solve.dk = out->of[LAB_DK]};
    const gka_chunk_given given = {.at.x = out->of[LAB_X], .at.fro = exact->fro, .at.p = out->p};
    store(bf16, parts, wide, exact->of[LAB_X], out->of[LAB_X]);
    store(bf16, parts, wide, exact->p, out->p);
    const gka_status status = gka_profile_find("exact64", &profile, error);
    return status == GKA_OK
               ? gka_chunk_backward(problem, &profile, GKA_OF_X, true, &given, &back, error)
               : status;
}

double lab_layer_error(const gka_problem *p, int which, int64_t h, const lab_layer *out,
                       const lab_layer *exact) {
    return lab_head_error(p, h, width_of(p, which), out->of[which], exact->of[which]);
}

gka_status lab_head_keys(const lab *l, int keys, int64_t heads, gka_file **file,
                         gka_problem *problem, gka_error *error) {
    if (keys < 0) {
        const char *const path =
            l->file != NULL ? l->file : GKA_TEST_DATA "/real/smollm2_rope_released.safetensors";
        const gka_status status = gka_file_open(path, file, error);
        return status == GKA_OK ? gka_problem_from_file(*file, problem, NULL, error) : status;
    }
    const gka_generator spec = {.keys = (gka_keys)keys,
                                .gate = GKA_GATE_RELEASED,
                                .B = 1,
                                .T = lab_pick(l, 256, 256, 512),
                                .H = heads,
                                .G = heads,
                                .D = 64,
                                .V = 64,
                                .alpha = true,
                                .cotangents = true,
                                .dtype = GKA_BF16,
                                .seed = l->seed};
    return gka_problem_generate(&spec, problem, error);
}

gka_status lab_profile(const char *name, gka_form form, gka_profile *profile, gka_error *error) {
    gka_kernel kernel = {0};
    const gka_status status = gka_kernel_find(name, &kernel, error);
    *profile = kernel.profile;
    profile->form = form;
    return status;
}

bool lab_h100_file(const char *set, const char *name, char path[LAB_PATH]) {
    const char *const longer = getenv("GKA_H100_DATA");
    if (strcmp(set, "small") == 0) {
        (void)snprintf(path, LAB_PATH, GKA_TEST_DATA "/h100/%s.safetensors", name);
        return true;
    }
    if (longer == NULL || *longer == '\0')
        return false;
    (void)snprintf(path, LAB_PATH, "%s/%s/%s.safetensors", longer, set, name);
    return true;
}
