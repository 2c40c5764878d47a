/* configuration.c - which configuration of the autotuned kernels gives a file's bits.
 *
 * Stage by stage, since each stage's bits depend on few kernels: x, f, the solves' dq and dk on the
 * solver's num_warps; the gradients of the gates on those of gates, solve_dk and output_bwd too.
 */
#include "judge/outputs.h"

#include "gka/format.h"
#include "problem/view.h"

#include <string.h>

/* Every output that the search compares, and where each lies. */
typedef struct search {
    const gka_file *file;
    const gka_problem *problem;
    gka_outputs out, first; /* the candidate's; room for x, fro and p of the best solver */
    gka_configuration *found;
    int tied[4], ties; /* the solver's warps that give its outputs as well as any */
} search;

static const gka_tensor *stored(const search *s, gka_output_id o) {
    return gka_file_find(s->file, gka_output_table[o].name);
}

/* Runs the candidate and counts over the outputs of `wanted`. */
static gka_status count(search *s, const gka_profile *profile, unsigned wanted,
                        const gka_outputs *given, int64_t *different, gka_error *error) {
    gka_kernel kernel;
    gka_status status = gka_kernel_find("h100", &kernel, error);
    gka_outputs some = {0};
    kernel.profile = *profile;
    for (int o = 0; o < GKA_OUTPUTS; o++)
        some.of[o] = wanted >> o & 1u ? s->out.of[o] : NULL;
    if (status == GKA_OK)
        status = gka_kernel_run(&kernel, s->problem, given, &some, NULL, NULL, error);
    *different = 0;
    s->found->tried++;
    for (int o = 0; o < GKA_OUTPUTS && status == GKA_OK; o++)
        if (wanted >> o & 1u) {
            int64_t at = 0;
            const int64_t here =
                gka_judge_differing(stored(s, (gka_output_id)o), s->out.of[o], &at);
            if (*different == 0 && here > 0) {
                s->found->name = gka_output_table[o].name;
                s->found->at = at;
            }
            *different += here;
        }
    return status;
}

static const int solver_warps[] = {4, 8, 2, 1}, later_warps[] = {4, 8, 2, 1}, gate_warps[] = {4, 1},
                 output_warps[] = {4, 2};
enum { SOLVERS = 4, LATER = 4, GATES = 2, OUTPUTS_BWD = 2 };

static gka_status best_solver(search *s, unsigned wanted, gka_profile *best, gka_error *error) {
    gka_status status = GKA_OK;
    gka_profile profile = *best;
    int64_t least = -1;
    for (int i = 0; i < SOLVERS && status == GKA_OK; i++) {
        const char *const name = s->found->name;
        int64_t at = s->found->at, different;
        profile.num_warps[GKA_LAUNCH_SOLVE] = solver_warps[i];
        status = count(s, &profile, wanted, NULL, &different, error);
        const bool better = status == GKA_OK && (least < 0 || different < least);
        if (better)
            s->ties = 0;
        if (better || (status == GKA_OK && different == least))
            s->tied[s->ties++] = solver_warps[i];
        if (better) {
            least = different;
            *best = profile;
        } else {
            s->found->name = name;
            s->found->at = at;
            s->found->alike += different == 0 && least == 0;
        }
    }
    s->found->different = least;
    return status;
}

static gka_status best_gates(search *s, unsigned wanted, gka_profile *best, gka_error *error) {
    gka_status status = GKA_OK;
    gka_profile profile = *best;
    const bool layer = wanted >> GKA_OUT_LAYER_DG & 1u;
    const gka_outputs *const given = &s->first;
    int64_t least = -1;
    for (int i = 0; i < GATES * LATER * (layer ? OUTPUTS_BWD : 1) && status == GKA_OK; i++) {
        const char *const name = s->found->name;
        const int64_t at = s->found->at;
        int64_t different;
        profile.num_warps[GKA_LAUNCH_SOLVE_DK] = later_warps[i % LATER];
        profile.num_warps[GKA_LAUNCH_GATES] = gate_warps[i / LATER % GATES];
        profile.num_warps[GKA_LAUNCH_OUTPUT_BWD] = output_warps[i / LATER / GATES];
        status = count(s, &profile, wanted, given, &different, error);
        if (status == GKA_OK && (least < 0 || different < least)) {
            least = different;
            *best = profile;
            s->found->alike_gates = 0;
        } else {
            s->found->name = name;
            s->found->at = at;
            s->found->alike_gates += different == 0;
        }
    }
    s->found->different += least > 0 ? least : 0;
    return status;
}

static gka_status take_room(search *s, unsigned have, gka_error *error) {
    const gka_problem *const p = s->problem;
    const size_t rows = (size_t)(p->B * p->T * p->H), D = (size_t)p->D;
    bool good = true;
    for (int o = 0; o < GKA_OUTPUTS; o++)
        if (have >> o & 1u) {
            const int64_t n = gka_tensor_count(stored(s, (gka_output_id)o));
            good = (s->out.of[o] = gka_alloc((size_t)n, sizeof(double))) != NULL && good;
        }
    double **const more[] = {&s->first.x, &s->first.solve.p, &s->first.layer.p};
    for (int i = 0; i < 3; i++)
        good = (*more[i] = gka_alloc(rows * D, sizeof(double))) != NULL && good;
    good = (s->first.fro = gka_alloc(rows, sizeof(double))) != NULL && good;
    return good ? GKA_OK : gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory: configurations");
}

static void give_room(search *s) {
    for (int o = 0; o < GKA_OUTPUTS; o++)
        gka_free(s->out.of[o]);
    gka_free(s->first.x), gka_free(s->first.fro);
    gka_free(s->first.solve.p), gka_free(s->first.layer.p);
}

/* The upstream tensors of the best solver, at which the gates' gradients are tried. */
static gka_status upstream(search *s, const gka_profile *best, unsigned gates, gka_error *error) {
    gka_kernel kernel;
    gka_status status = gka_kernel_find("h100", &kernel, error);
    gka_outputs some = {.x = s->first.x, .fro = s->first.fro};
    kernel.profile = *best;
    if (gates >> GKA_OUT_SOLVE_DG & 1u)
        some.solve.p = s->first.solve.p;
    if (gates >> GKA_OUT_LAYER_DG & 1u)
        some.layer.p = s->first.layer.p;
    if (status == GKA_OK)
        status = gka_kernel_run(&kernel, s->problem, NULL, &some, NULL, NULL, error);
    return status;
}

/* Solvers that agree in their own outputs may not in the gradients of the gates, which read p
 * before it is rounded: each of them, until one has every element. */
static gka_status best_of_ties(search *s, unsigned gates, gka_profile *best, gka_error *error) {
    const gka_configuration before = *s->found;
    const gka_profile start = *best;
    gka_configuration least = before;
    gka_status status = GKA_OK;
    for (int i = 0; i < s->ties && status == GKA_OK; i++) {
        gka_profile profile = start;
        const int tried = s->found->tried;
        *s->found = before;
        s->found->tried = tried;
        profile.num_warps[GKA_LAUNCH_SOLVE] = s->tied[i];
        status = upstream(s, &profile, gates, error);
        if (status == GKA_OK)
            status = best_gates(s, gates, &profile, error);
        if (i == 0 || s->found->different < least.different) {
            least = *s->found;
            *best = profile;
        }
        least.tried = s->found->tried;
        if (least.different == before.different)
            break;
    }
    *s->found = least;
    return status;
}

gka_status gka_configuration_find(const gka_file *file, const gka_problem *problem,
                                  gka_profile *profile, gka_configuration *found,
                                  gka_error *error) {
    search s = {.file = file, .problem = problem, .found = found};
    unsigned have = 0;
    *found = (gka_configuration){0};
    profile->fp16 = problem->q.dtype == GKA_F16;
    for (int o = 0; o < GKA_OUTPUTS; o++) {
        const gka_tensor *const tensor = stored(&s, (gka_output_id)o);
        if (gka_output_table[o].judged && tensor && gka_dtype_is_float(tensor->dtype) &&
            gka_format_of_dtype(tensor->dtype)->p <= 24)
            have |= 1u << o;
    }
    const unsigned gates = have & (1u << GKA_OUT_SOLVE_DG | 1u << GKA_OUT_LAYER_DG);
    const unsigned solver = have & ~gates;
    /* Lists of the kernels in turn: solve; gates, states (two), output, output_bwd (two); solve_dk.
     */
    found->known = 16.0 * 48 * 48 * 3 * 6 * 6 * (problem->g.data ? 16.0 * 4 : 16.0 * 16);
    gka_status status = take_room(&s, have, error);
    s.tied[s.ties++] = solver_warps[0];
    if (status == GKA_OK && solver)
        status = best_solver(&s, solver, profile, error);
    if (status == GKA_OK && gates)
        status = best_of_ties(&s, gates, profile, error);
    give_room(&s);
    return status;
}
