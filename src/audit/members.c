/* members.c - what the members of both panels are made of (audit.h). */
#include "audit/audit.h"

#include <stdio.h>
#include <string.h>

gka_status gka_audit_does_not_apply(char note[AUDIT_NOTE], const char *why) {
    (void)snprintf(note, AUDIT_NOTE, "%.*s", AUDIT_NOTE - 1, why);
    return GKA_OK;
}

gka_profile gka_audit_exact64(void) {
    gka_profile profile;
    (void)gka_profile_find("exact64", &profile, NULL);
    return profile;
}

/* out.of[i] of `which` as the right values are. */
gka_status gka_audit_copy_right(const audit_case *c, unsigned which, gka_outputs *out,
                                gka_error *error) {
    which &= c->wanted;
    const gka_status status = gka_golden_allocate(c->problem, which, out, error);
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++)
        if (which >> i & 1)
            memcpy(out->of[i], c->right->of[i],
                   (size_t)gka_output_count(c->problem, i) * sizeof *out->of[i]);
    return status;
}

/* Whatever is still missing, by the exact formulas at out's own x f and dq; what has no upstream
 * tensors, as it is right. */
gka_status gka_audit_follow(const audit_case *c, gka_outputs *out, gka_error *error) {
    unsigned missing = 0, local = 0;
    for (int i = 0; i < GKA_OUTPUTS; i++)
        if (c->wanted >> i & 1 && out->of[i] == NULL) {
            missing |= 1u << i;
            local |= gka_output_table[i].upstream != 0 ? 1u << i : 0;
        }
    gka_status status = gka_audit_copy_right(c, missing & ~local, out, error);
    gka_outputs given = {0};
    static const int upstream[] = {GKA_OUT_X, GKA_OUT_FRO, GKA_OUT_SOLVE_DQ, GKA_OUT_LAYER_DQ};
    for (size_t i = 0; i < sizeof upstream / sizeof *upstream; i++)
        given.of[upstream[i]] = out->of[upstream[i]];
    if (status == GKA_OK)
        status = gka_golden_local(c->problem, local, &given, out, error);
    return status;
}

/* Everything of a problem that differs from the case's in its inputs alone. */
gka_status gka_audit_run_problem(const audit_case *c, const gka_problem *problem, gka_outputs *out,
                                 gka_error *error) {
    const gka_profile profile = gka_audit_exact64();
    return gka_golden_steps(problem, &profile, c->wanted, out, error);
}
