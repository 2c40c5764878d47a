/* tensors.c - the problem's tensors as a table. */
#include "problem/tensors.h"

#define AT(member) offsetof(gka_problem, member)

const problem_tensor gka_problem_views[PROBLEM_VIEWS] = {
    {"q", AT(q), "BTHD", false},
    {"k", AT(k), "BTGD", false},
    {"v", AT(v), "BTGV", true},
    {"alpha", AT(alpha), "BTH", false},
    {"g", AT(g), "BTH", false},
    {"beta", AT(beta), "BTH", false},
    {"h0", AT(h0), "NHDD", false},
    {"u0", AT(u0), "NHDV", true},
    {"do", AT(dout), "BTHV", true},
    {"dx", AT(dx), "BTHD", false},
    {"dh_final", AT(dh_final), "NHDD", false},
    {"du_final", AT(du_final), "NHDV", true},
};

const char *const gka_problem_names[GKA_PROBLEM_TENSORS + 1] = {
    "q",  "k",  "v",  "alpha",    "g",        "beta",       "h0",
    "u0", "do", "dx", "dh_final", "du_final", "cu_seqlens", NULL};

const gka_view *gka_problem_view_const(const gka_problem *problem, int i) {
    return (const gka_view *)(const void *)((const char *)problem + gka_problem_views[i].offset);
}

gka_view *gka_problem_view(gka_problem *problem, int i) {
    return (gka_view *)(void *)((char *)problem + gka_problem_views[i].offset);
}

int gka_problem_extents(const gka_problem *problem, const char *letters, int64_t shape[4]) {
    int rank = 0;
    for (; letters[rank] != '\0'; rank++)
        switch (letters[rank]) {
        case 'B': shape[rank] = problem->B; break;
        case 'T': shape[rank] = problem->T; break;
        case 'H': shape[rank] = problem->H; break;
        case 'G': shape[rank] = problem->G; break;
        case 'N': shape[rank] = problem->N; break;
        case 'V': shape[rank] = problem->V; break;
        default: shape[rank] = problem->D;
        }
    return rank;
}
