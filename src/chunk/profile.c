/* profile.c - the rounding points by name, and the profiles. */
#include "gka/chunk.h"

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

static const char *const form_names[] = {"three-term", "two-term"};

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

const char *gka_form_name(gka_form form) {
    return form_names[form];
}

int gka_form_find(const char *name) {
    return find(form_names, 2, name);
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
            *profile = (gka_profile){presets[i].name, gka_device_find(name), GKA_THREE_TERM,
                                     presets[i].released};
            return GKA_OK;
        }
    return gka_fail(error, GKA_BAD_ARGUMENT, "no profile '%s': expected exact64, ieee32 or h100",
                    name);
}

gka_status gka_profile_set(gka_profile *profile, const char *setting, gka_error *error) {
    const char *const equals = strchr(setting, '=');
    char name[32] = {0};
    if (!equals || (size_t)(equals - setting) >= sizeof name)
        return gka_fail(error, GKA_BAD_ARGUMENT, "'%s': expected POINT=exact or POINT=released",
                        setting);
    memcpy(name, setting, (size_t)(equals - setting));
    const bool released = !strcmp(equals + 1, "released");
    if (!released && strcmp(equals + 1, "exact") != 0)
        return gka_fail(error, GKA_BAD_ARGUMENT, "'%s': expected exact or released after '='",
                        setting);
    const int point = gka_point_find(name);
    if (point < 0 && strcmp(name, "all") != 0)
        return gka_fail(error, GKA_BAD_ARGUMENT, "no rounding point '%s'", name);
    const uint32_t bits = point < 0 ? ALL_POINTS : UINT32_C(1) << point;
    profile->released = released ? profile->released | bits : profile->released & ~bits;
    return GKA_OK;
}
