/* profile.c - the rounding points and repairs by name, and the profiles. */
#include "gka/chunk.h"

#include "gka/arith.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const point_names[] = {
#define POINT_NAME(id, name, text) name,
    GKA_POINT_LIST(POINT_NAME)
#undef POINT_NAME
};

static const char *const point_texts[] = {
#define POINT_TEXT(id, name, text) text,
    GKA_POINT_LIST(POINT_TEXT)
#undef POINT_TEXT
};

static const char *const operand_names[] = {"bf16", "split", "tf32", "fp16", "scaled"};
static const char *const scales_names[GKA_SCALES_COUNT] = {"rows", "powers", "tile", "none"};

/* The kernels and the num_warps in their autotuners' lists, one bit each. */
static const struct {
    const char *name;
    unsigned warps;
} tuned[GKA_LAUNCHES] = {
    [GKA_LAUNCH_SOLVE] = {"solve", 1 | 2 | 4 | 8},
    [GKA_LAUNCH_SOLVE_DK] = {"solve_dk", 1 | 2 | 4 | 8},
    [GKA_LAUNCH_SOLVE_DH] = {"solve_dh", 1 | 2 | 4 | 8},
    [GKA_LAUNCH_STATES] = {"states", 1 | 2 | 4 | 8},
    [GKA_LAUNCH_OUTPUT] = {"output", 2 | 4 | 8},
    [GKA_LAUNCH_OUTPUT_BWD] = {"output_bwd", 2 | 4},
    [GKA_LAUNCH_GATES] = {"gates", 1 | 2 | 4 | 8},
    [GKA_LAUNCH_DECODE] = {"decode", 2 | 4 | 8},
};

static int find(const char *const *names, int count, const char *name) {
    for (int i = 0; i < count; i++)
        if (!strcmp(names[i], name))
            return i;
    return -1;
}

const char *gka_point_name(gka_point point) {
    return point_names[point];
}

const char *gka_point_text(gka_point point) {
    return point_texts[point];
}

int gka_point_find(const char *name) {
    return find(point_names, GKA_POINT_COUNT, name);
}

const char *gka_launch_name(gka_launch kernel) {
    return tuned[kernel].name;
}

const char *gka_operand_name(gka_operand operand) {
    return operand_names[operand];
}

int gka_operand_find(const char *name) {
    return find(operand_names, 4, name);
}

const char *gka_scales_name(gka_scales scales) {
    return scales_names[scales];
}

#define ALL_POINTS ((UINT32_C(1) << GKA_POINT_COUNT) - 1)

gka_status gka_profile_find(const char *name, gka_profile *profile, gka_error *error) {
    static const struct {
        const char *name;
        uint32_t released;
    } presets[] = {
        {"exact64", 0}, {"ieee32", UINT32_C(1) << GKA_POINT_ARITHMETIC}, {"h100", ALL_POINTS}};
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (!strcmp(presets[i].name, name)) {
            *profile = (gka_profile){.name = presets[i].name,
                                     .device = gka_device_find(name),
                                     .released = presets[i].released,
                                     .store = 1,
                                     .handoff = 1};
            return GKA_OK;
        }
    return gka_fail(error, GKA_BAD_ARGUMENT, "no profile '%s': expected exact64, ieee32 or h100",
                    name);
}

/* M, or 2^E */
static bool parse_margin(const char *text, double *margin) {
    char *end;
    if (text[0] == '2' && text[1] == '^') {
        text += 2;
        *margin = ldexp(1, (int)strtol(text, &end, 10));
    } else {
        *margin = gka_parse_real(text, &end);
    }
    return *end == '\0' && end != text && *margin >= 0 && *margin <= 1;
}

static bool parse_count(const char *text, int most, int *count) {
    char *end;
    const long number = strtol(text, &end, 10);
    *count = number > 0 && number <= most ? (int)number : 0;
    return *end == '\0' && *count > 0;
}

/* KERNEL.num_warps=W, all.num_warps=W; num_warps=W is the solver's. */
static bool set_warps(gka_profile *profile, const char *name, const char *value,
                      const char **expected) {
    const char *const dot = strchr(name, '.');
    const char *const setting = dot ? dot + 1 : name;
    const char *const kernel = dot ? name : "solve";
    const size_t length = dot ? (size_t)(dot - name) : strlen(kernel);
    int warps;
    *expected = "num_warps=W after '.'";
    if (strcmp(setting, "num_warps") != 0)
        return false;
    *expected = "one of the kernels solve, solve_dk, solve_dh, states, output, output_bwd, gates "
                "and decode, "
                "or all, before .num_warps";
    bool found = false;
    const bool all = length == 3 && !memcmp(kernel, "all", 3);
    const bool good = parse_count(value, 8, &warps) && (warps & (warps - 1)) == 0;
    for (int i = 0; i < GKA_LAUNCHES; i++) {
        if (!all && (strlen(tuned[i].name) != length || memcmp(tuned[i].name, kernel, length) != 0))
            continue;
        found = true;
        static const char *const lists[] = {"1, 2, 4 or 8", "2, 4 or 8", "2 or 4"};
        *expected = lists[tuned[i].warps & 1 ? 0 : tuned[i].warps & 8 ? 1 : 2];
        if (good && (tuned[i].warps & (unsigned)warps))
            profile->num_warps[i] = warps;
        else if (!all || !good)
            return false;
    }
    return found;
}

/* fp8, scales and promote, as set_repair. */
static bool set_eight_bits(gka_profile *profile, const char *name, const char *value,
                           const char **expected) {
    if (!strcmp(name, "fp8")) {
        *expected = "fp8=e4m3 or fp8=e5m2";
        const int input = gka_mma_input_find(value);
        profile->fp8 = (gka_mma_input)input;
        if (input != GKA_MMA_E4M3 && input != GKA_MMA_E5M2)
            return false;
        profile->promote = profile->device->core[input].apart ? 0 : 128;
        return true;
    }
    *expected = "fp8 before it";
    if (profile->fp8 == 0)
        return false;
    if (!strcmp(name, "scales")) {
        *expected = "rows, powers, tile or none";
        const int scales = find(scales_names, GKA_SCALES_COUNT, value);
        profile->scales = (gka_scales)scales;
        return scales >= 0;
    }
    *expected = "0, or a number of products up to 65536";
    profile->promote = 0;
    return !strcmp(value, "0") || parse_count(value, 1 << 16, &profile->promote);
}

/* A short format by its name, e4m3 or p6e5; of those that have an exponent range to scale into. */
static bool find_scaled(const char *name, gka_format *format) {
    char mixed[32];
    gka_policy policy;
    (void)snprintf(mixed, sizeof mixed, "%.20s-mixed", name);
    if (strlen(name) > 20 || !gka_policy_find(mixed, &policy) || policy.operand.p > 11)
        return false;
    *format = policy.operand;
    return true;
}

/* Whether `value` is one for the repair `name`; expected: NULL when there is no such repair. */
static bool set_repair(gka_profile *profile, const char *name, const char *value,
                       const char **expected) {
    *expected = NULL;
    if (!strcmp(name, "form")) {
        *expected = "three-term, two-term, cg or cg-consistent";
        const int form = gka_form_find(value);
        profile->form = (gka_form)form;
        return form >= 0;
    }
    if (!strcmp(name, "operand")) {
        *expected =
            "bf16, split, tf32, fp16, or with a scale e4m3, e5m2 or pPeE of at most 11 bits";
        const int operand = gka_operand_find(value);
        profile->operand = operand >= 0 ? (gka_operand)operand : GKA_OPERAND_SCALED;
        return operand >= 0 || find_scaled(value, &profile->scaled);
    }
    if (!strcmp(name, "store")) {
        *expected = "1 or 2";
        return parse_count(value, 2, &profile->store);
    }
    if (!strcmp(name, "handoff")) {
        *expected = "1 or 2";
        return parse_count(value, 2, &profile->handoff);
    }
    if (!strcmp(name, "num_iter")) {
        *expected = "a whole number from 1 to 1000000";
        return parse_count(value, GKA_MAX_ITERATIONS, &profile->num_iter);
    }
    if (!strcmp(name, "num_warps") || strchr(name, '.'))
        return set_warps(profile, name, value, expected);
    if (!strcmp(name, "inputs")) {
        *expected = "bf16 or fp16";
        profile->fp16 = !strcmp(value, "fp16");
        return profile->fp16 || !strcmp(value, "bf16");
    }
    if (!strcmp(name, "states")) {
        *expected = "working, low, or a format of gka formats";
        profile->low_states = !strcmp(value, "low");
        profile->state_format = gka_format_find(value);
        profile->state_blocks = gka_block_format_find(value);
        return profile->low_states || profile->state_format || profile->state_blocks ||
               !strcmp(value, "working");
    }
    if (!strcmp(name, "fp8") || !strcmp(name, "scales") || !strcmp(name, "promote"))
        return set_eight_bits(profile, name, value, expected);
    if (!strcmp(name, "margin")) {
        *expected = "a number from 0 to 1, or 2^-6";
        return parse_margin(value, &profile->margin);
    }
    return false;
}

gka_status gka_profile_set(gka_profile *profile, const char *setting, gka_error *error) {
    if (!strcmp(setting, "fp8"))
        setting = "fp8=e4m3";
    const char *const equals = strchr(setting, '=');
    char name[32] = {0};
    if (!equals || (size_t)(equals - setting) >= sizeof name)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "'%s': expected POINT=exact or POINT=released, or a form as two-term",
                        setting);
    memcpy(name, setting, (size_t)(equals - setting));
    gka_profile changed = *profile;
    const char *expected;
    if (set_repair(&changed, name, equals + 1, &expected)) {
        *profile = changed;
        return GKA_OK;
    }
    if (expected)
        return gka_fail(error, GKA_BAD_ARGUMENT, "'%s': expected %s", setting, expected);
    const int point = gka_point_find(name);
    if (point < 0 && strcmp(name, "all") != 0)
        return gka_fail(error, GKA_BAD_ARGUMENT, "no rounding point or repair '%s'", name);
    const bool released = !strcmp(equals + 1, "released");
    if (!released && strcmp(equals + 1, "exact") != 0)
        return gka_fail(error, GKA_BAD_ARGUMENT, "'%s': expected exact or released after '='",
                        setting);
    const uint32_t bits = point < 0 ? ALL_POINTS : UINT32_C(1) << point;
    profile->released = released ? profile->released | bits : profile->released & ~bits;
    return GKA_OK;
}
