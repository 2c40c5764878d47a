/* gka/kernel.h - a kernel is whoever computes the layer, asked for by name.
 *
 *   1  gka_kernel             a name made into a value
 *   2  gka_kernel_outputs     which outputs it gives
 *   3  gka_kernel_check       which problems it can run
 *   4  gka_kernel_run         what it computes
 *
 * Names are a word and then, after slashes, what is different:
 *
 *   certified  fp64  mpfr  mpfr/BITS   the oracles (gka/oracle.h)
 *   steps                              num_iter Chebyshev steps in binary64, nothing rounded
 *   exact64  ieee32  h100              profiles of the chunk algorithm (gka/chunk.h)
 *   a100  l40s  b200  mi300 ...        the h100's kernels on another device that multiplies bf16;
 *                                      `gka devices` says whose functions it then has
 *     /two-term                        the form of the iteration
 *     /SETTING=VALUE                   as gka_profile_set: h100/norm_reduce=exact/num_warps=8
 *     /KERNEL.num_warps=W              of one of several kernels (gka_launch); all.num_warps=W
 *     /fp8  /fp8=e5m2                  products of 16-bit operands in FP8 with scales, where the
 *                                      device has a unit for it: h100/fp8/scales=powers/promote=64
 *     /decode                          one token by the one-token kernel
 *     /serving                         a server's prefill and decode (gka/judge.h, section 2)
 *     /mesa                            MesaNet's chunk kernels (gka/rivals.h): x and o of a problem
 *                                      with a constant ridge; before it /num_iter=N alone, after
 *                                      it /POINT=exact or =released
 *   tokens/POLICY                      the recurrence token by token (gka/layer.h), as
 *                                      tokens/fp32/fma; with a constant ridge MesaNet's, by
 *                                      conjugate gradients
 *   cuda  cuda/three-term  cuda/decode the kernels of src/cuda, replayed (gka/replay.h); two-term
 *     /accurate                        two bf16 parts where the solve's result is used again
 */
#ifndef GKA_KERNEL_H
#define GKA_KERNEL_H

#include "gka/base.h"
#include "gka/chunk.h"
#include "gka/layer.h"
#include "gka/oracle.h"
#include "gka/problem.h"
#include "gka/rivals.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1 by name ----------------------------------------------------------------------------- */

typedef enum gka_engine {
    GKA_ENGINE_ORACLE,
    GKA_ENGINE_CHUNKS,
    GKA_ENGINE_TOKENS,
    GKA_ENGINE_REPLAY
} gka_engine;

enum { GKA_KERNEL_NAME = 192 };

typedef struct gka_kernel {
    char name[GKA_KERNEL_NAME]; /* as it was asked for */
    gka_engine engine;
    bool decode;  /* chunks, replay: by the kernel for one token */
    bool serving; /* chunks: a server's kernels; no output of the table is theirs */
    bool mesa;    /* chunks: MesaNet's, with these rounding points (gka_rival_profile) */
    uint32_t mesa_points;
    gka_oracle oracle;   /* oracle */
    int precision;       /* oracle mpfr: bits */
    gka_profile profile; /* chunks */
    gka_policy policy;   /* tokens */
    gka_form form;       /* replay */
    bool accurate;       /* replay */
} gka_kernel;

/* GKA_BAD_ARGUMENT with a line that lists what is expected. */
GKA_API gka_status gka_kernel_find(const char *name, gka_kernel *kernel, gka_error *error);
/* One part more: what may stand between slashes. A part that the name has is refused. */
GKA_API gka_status gka_kernel_set(gka_kernel *kernel, const char *part, gka_error *error);
/* The device whose products are emulated by a rule that nothing outside this project has been
 * compared with (gka_device.checked), or NULL. */
GKA_API const gka_device *gka_kernel_unchecked(const gka_kernel *kernel);
/* Whether exp, division and root are not this device's own but those of the one they were measured
 * on (gka_device.functions_measured). */
GKA_API bool gka_kernel_borrows(const gka_kernel *kernel);
/* First words of names, for lists and for the nearest one; NULL past the last. */
GKA_API const char *gka_kernel_word(size_t i);
/* What gka_kernel_set takes of kernels that work in chunks, up to its "=": forms, rounding points
 * and the rest; NULL past the last. */
GKA_API const char *gka_kernel_setting(size_t i);
/* What tokens/POLICY asks of gka/layer.h: num_iter Chebyshev steps in that arithmetic. */
GKA_API gka_layer_options gka_kernel_layer_options(const gka_kernel *kernel,
                                                   const gka_problem *problem);

/* ---- 2 outputs ----------------------------------------------------------------------------- */

/* Bits of the outputs that the kernel has at all (a problem may lack their inputs). */
GKA_API unsigned gka_kernel_outputs(const gka_kernel *kernel);

/* ---- 3 problems ---------------------------------------------------------------------------- */

/* GKA_OK, or GKA_UNSUPPORTED or GKA_BAD_ARGUMENT with the reason: extents, chunk size, ridge and
 * sequences that no problem may have, a beta or a normalise that is not folded in, and what this
 * kernel does not run (types, sizes, more than one token for /decode). For oracles and
 * tokens/POLICY, which take any problem, also every value of every tensor, as gka_problem_check. */
GKA_API gka_status gka_kernel_check(const gka_kernel *kernel, const gka_problem *problem,
                                    gka_error *error);

/* ---- 4 run --------------------------------------------------------------------------------- */

/* What the oracles report of each of their passes; zeros for one that was not run. */
typedef struct gka_kernel_report {
    gka_oracle_report forward, solve, layer;
} gka_kernel_report;

/* Fills the outputs that are not NULL, all passes in one call. given: the upstream tensors x, fro,
 * h_chunk, solve.p and layer.p at which gradients are taken; NULL: the kernel's own. The certified
 * oracle takes them all, the chunks all but h_chunk, other kernels none (GKA_UNSUPPORTED). Without
 * x and fro among the outputs each pass of gradients computes them again. GKA_UNSUPPORTED for an
 * output that the kernel does not have. report and progress may be NULL. */
GKA_API gka_status gka_kernel_run(const gka_kernel *kernel, const gka_problem *problem,
                                  const gka_outputs *given, gka_outputs *outputs,
                                  gka_kernel_report *report, const gka_progress *progress,
                                  gka_error *error);

#ifdef __cplusplus
}
#endif
#endif
