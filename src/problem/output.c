/* output.c - the table of outputs, and their shapes. The one place that lists them. */
#include "gka/problem.h"

#include <string.h>

/* A local judgement of a gradient reads x, f and p; solve.dq is p, layer.dq gives it. */
#define AT_X     GKA_BIT(X)
#define AT_SOLVE (GKA_BIT(X) | GKA_BIT(FRO) | GKA_BIT(SOLVE_DQ))
#define AT_LAYER (GKA_BIT(X) | GKA_BIT(FRO) | GKA_BIT(LAYER_DQ))

/* name, pass, shape, row, wide, judged, upstream */
const gka_output gka_output_table[GKA_OUTPUTS] = {
    [GKA_OUT_X] = {"x", GKA_PASS_FORWARD, "BTHD", 1, false, true, 0},
    [GKA_OUT_FRO] = {"fro", GKA_PASS_FORWARD, "BTH", 0, true, true, 0},
    [GKA_OUT_H_CHUNK] = {"h_chunk", GKA_PASS_STATES, "BCHDD", 2, false, true, 0},
    [GKA_OUT_H_FINAL] = {"h_final", GKA_PASS_STATES, "NHDD", 2, true, true, 0},
    [GKA_OUT_U_FINAL] = {"u_final", GKA_PASS_STATES, "NHDV", 2, true, true, 0},
    [GKA_OUT_O] = {"o", GKA_PASS_FORWARD, "BTHV", 1, false, true, AT_X},
    [GKA_OUT_LAMBDA] = {"lambda", GKA_PASS_FORWARD, "BTH", 0, true, false, 0},
    [GKA_OUT_KAPPA] = {"kappa", GKA_PASS_FORWARD, "BTH", 0, true, false, 0},
    [GKA_OUT_G_CUMSUM] = {"g_cumsum", GKA_PASS_FORWARD, "BTH", 0, true, false, 0},
    [GKA_OUT_U_CHUNK] = {"u_chunk", GKA_PASS_STATES, "BCHDV", 2, false, false, 0},
    [GKA_OUT_SOLVE_DQ] = {"solve.dq", GKA_PASS_SOLVE, "BTHD", 1, false, true, 0},
    [GKA_OUT_SOLVE_DK] = {"solve.dk", GKA_PASS_SOLVE, "BTGD", 1, false, true, AT_SOLVE},
    [GKA_OUT_SOLVE_DV] = {"solve.dv", GKA_PASS_SOLVE, "BTGV", 1, false, false, 0},
    [GKA_OUT_SOLVE_DALPHA] = {"solve.dalpha", GKA_PASS_SOLVE, "BTH", 0, false, false, 0},
    [GKA_OUT_SOLVE_DG] = {"solve.dg", GKA_PASS_SOLVE, "BTH", 0, true, true, AT_SOLVE},
    [GKA_OUT_SOLVE_DH0] = {"solve.dh0", GKA_PASS_SOLVE, "NHDD", 2, true, true, AT_SOLVE},
    [GKA_OUT_SOLVE_DU0] = {"solve.du0", GKA_PASS_SOLVE, "NHDV", 2, true, false, 0},
    [GKA_OUT_SOLVE_P] = {"solve.p", GKA_PASS_SOLVE, "BTHD", 1, false, false, 0},
    [GKA_OUT_SOLVE_DG_H] = {"solve.dg_h", GKA_PASS_SOLVE, "BTH", 0, true, false, 0},
    [GKA_OUT_SOLVE_DG_U] = {"solve.dg_u", GKA_PASS_SOLVE, "BTH", 0, true, false, 0},
    [GKA_OUT_LAYER_DQ] = {"layer.dq", GKA_PASS_LAYER, "BTHD", 1, false, true, 0},
    [GKA_OUT_LAYER_DK] = {"layer.dk", GKA_PASS_LAYER, "BTGD", 1, false, true, AT_LAYER},
    [GKA_OUT_LAYER_DV] = {"layer.dv", GKA_PASS_LAYER, "BTGV", 1, false, true, AT_X},
    [GKA_OUT_LAYER_DALPHA] = {"layer.dalpha", GKA_PASS_LAYER, "BTH", 0, false, true, AT_X},
    [GKA_OUT_LAYER_DG] = {"layer.dg", GKA_PASS_LAYER, "BTH", 0, true, true, AT_LAYER},
    [GKA_OUT_LAYER_DH0] = {"layer.dh0", GKA_PASS_LAYER, "NHDD", 2, true, false, 0},
    [GKA_OUT_LAYER_DU0] = {"layer.du0", GKA_PASS_LAYER, "NHDV", 2, true, false, 0},
    [GKA_OUT_LAYER_P] = {"layer.p", GKA_PASS_LAYER, "BTHD", 1, false, false, 0},
    [GKA_OUT_LAYER_DG_H] = {"layer.dg_h", GKA_PASS_LAYER, "BTH", 0, true, false, 0},
    [GKA_OUT_LAYER_DG_U] = {"layer.dg_u", GKA_PASS_LAYER, "BTH", 0, true, false, 0},
};

/* Members and numbers of a container are the same pointers. */
_Static_assert(sizeof(gka_outputs) == GKA_OUTPUTS * sizeof(double *), "a member without a number");
#define AT(member, id)                                                                             \
    _Static_assert(offsetof(gka_outputs, member) == GKA_OUT_##id * sizeof(double *), #member)
AT(x, X);
AT(o, O);
AT(u_chunk, U_CHUNK);
AT(solve.dq, SOLVE_DQ);
AT(solve.p, SOLVE_P);
AT(layer.dq, LAYER_DQ);
AT(layer.dg_u, LAYER_DG_U);

int gka_output_find(const char *name) {
    for (int i = 0; i < GKA_OUTPUTS; i++)
        if (strcmp(gka_output_table[i].name, name) == 0)
            return i;
    return -1;
}

const char *gka_output_lacks(const gka_problem *problem, int output) {
    const gka_output *const o = &gka_output_table[output];
    const bool needs_v = o->pass == GKA_PASS_LAYER || strchr(o->shape, 'V') != NULL;
    if (needs_v && problem->v.data == NULL)
        return "v";
    if (o->pass == GKA_PASS_SOLVE && problem->dx.data == NULL)
        return "dx";
    if (o->pass == GKA_PASS_LAYER && problem->dout.data == NULL)
        return "do";
    return NULL;
}

/* ---- shapes -------------------------------------------------------------------------------- */

/* Packed sequences: the chunks of one after those of the other. Rows of a batch: as many each. */
int64_t gka_problem_chunks(const gka_problem *problem) {
    if (problem->N == 0)
        return 0;
    if (problem->cu_seqlens == NULL)
        return gka_problem_span_chunks(problem, 0);
    int64_t chunks = 0;
    for (int64_t n = 0; n < problem->N; n++)
        chunks += gka_problem_span_chunks(problem, n);
    return chunks;
}

static int64_t extent(const gka_problem *problem, char letter) {
    switch (letter) {
    case 'B': return problem->B;
    case 'T': return problem->T;
    case 'H': return problem->H;
    case 'G': return problem->G;
    case 'D': return problem->D;
    case 'V': return problem->V;
    case 'N': return problem->N;
    default: return gka_problem_chunks(problem);
    }
}

int gka_output_shape(const gka_problem *problem, int output, int64_t shape[GKA_MAX_RANK]) {
    const char *const letters = gka_output_table[output].shape;
    const int rank = (int)strlen(letters);
    for (int i = 0; i < rank; i++)
        shape[i] = extent(problem, letters[i]);
    return rank;
}

int64_t gka_output_count(const gka_problem *problem, int output) {
    int64_t shape[GKA_MAX_RANK], count = 1;
    const int rank = gka_output_shape(problem, output, shape);
    for (int i = 0; i < rank; i++)
        count *= shape[i];
    return count;
}

gka_dtype gka_output_dtype(const gka_problem *problem, int output) {
    if (problem->q.dtype == GKA_F64)
        return GKA_F64;
    return gka_output_table[output].wide ? GKA_F32 : problem->q.dtype;
}

/* ---- sets ---------------------------------------------------------------------------------- */

unsigned gka_pass_outputs(gka_pass pass) {
    unsigned set = 0;
    for (int i = 0; i < GKA_OUTPUTS; i++)
        set |= gka_output_table[i].pass == pass ? 1u << i : 0;
    return set;
}

unsigned gka_forward_outputs(void) {
    return gka_pass_outputs(GKA_PASS_FORWARD) | gka_pass_outputs(GKA_PASS_STATES);
}

unsigned gka_judged_outputs(void) {
    unsigned set = 0;
    for (int i = 0; i < GKA_OUTPUTS; i++)
        set |= gka_output_table[i].judged ? 1u << i : 0;
    return set;
}

unsigned gka_of_outputs(gka_of of) {
    return gka_pass_outputs(of == GKA_OF_X ? GKA_PASS_SOLVE : GKA_PASS_LAYER);
}

unsigned gka_outputs_set(const gka_outputs *outputs) {
    unsigned set = 0;
    for (int i = 0; i < GKA_OUTPUTS; i++)
        set |= outputs->of[i] != NULL ? 1u << i : 0;
    return set;
}

bool gka_outputs_only(const gka_outputs *all, unsigned set, gka_outputs *some) {
    bool any = false;
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        some->of[i] = set >> i & 1 ? all->of[i] : NULL;
        any |= some->of[i] != NULL;
    }
    return any;
}
