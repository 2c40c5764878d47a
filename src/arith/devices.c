/* devices.c - the devices as data: one row of numbers for each kind of input.
 *
 * What a row leaves out is 0, the rule of NVIDIA's bf16 products: cut toward zero, binary32, k
 * ascending, c inside (gka/arith.h). The floor of FP8 and of fp16 results cannot be seen where the
 * smallest exponents do not reach it; it is then that of the chip's other inputs.
 */
#include "arith/devices.h"

#include <stddef.h>

/* groups, fractional bits, floor */
#define CUT(g, f, e)                                                                               \
    { .group = (g), .fraction = (f), .floor = (e) }
#define CUT_TO(to, g, f, e)                                                                        \
    { .group = (g), .fraction = (f), .floor = (e), .result = (to) }
#define SHARED_FUNCTIONS .binary32 = true, .functions = GKA_FUNCTIONS_H100

/* ---- NVIDIA -------------------------------------------------------------------------------- */

static const gka_device v100 = {
    .name = "v100",
    SHARED_FUNCTIONS,
    .core = {[GKA_MMA_FP16] = CUT(4, 23, -1000)},
    .checked = "MATLAB-tensor-core's V100 vectors, exponents -16 .. 2: 0 of 5,000 differ",
};
static const gka_device v100_fp16 = {
    .name = "v100-fp16",
    SHARED_FUNCTIONS,
    .core = {[GKA_MMA_FP16] = CUT_TO(GKA_RESULT_FP16, 4, 23, -19)},
    .checked = "MATLAB-tensor-core's V100 vectors, exponents -16 .. 2: 0 of 5,000 differ",
};
/* m16n8k8, the only shape of fp16 on Turing */
static const gka_device t4 = {
    .name = "t4",
    SHARED_FUNCTIONS,
    .core = {[GKA_MMA_FP16] = CUT(8, 24, -132)},
    .checked = "MMA-Sim's own program (c785138), any bits: 0 of 2,304 differ",
};
/* The floor is open: -132 after MATLAB-tensor-core, -126 after MMA-Sim; nothing measured decides
 * it (NUMERICS 6 has the products that would). */
static const gka_device a100 = {
    .name = "a100",
    SHARED_FUNCTIONS,
    .core = {[GKA_MMA_BF16] = CUT(8, 24, -133),
             [GKA_MMA_FP16] = CUT(8, 24, -133),
             [GKA_MMA_TF32] = CUT(4, 24, -133)},
    .checked = "MATLAB-tensor-core's A100 vectors, exponents -16 .. 2: 0 of 15,000 differ",
};
static const gka_device a100_fp16 = {
    .name = "a100-fp16",
    SHARED_FUNCTIONS,
    .core = {[GKA_MMA_FP16] = CUT_TO(GKA_RESULT_FP16, 8, 24, -20)},
    .checked = "MATLAB-tensor-core's A100 vectors, exponents -16 .. 2: 0 of 5,000 differ",
};
static const gka_device l40s = {
    .name = "l40s",
    SHARED_FUNCTIONS,
    .core = {[GKA_MMA_BF16] = CUT(8, 24, -132),
             [GKA_MMA_FP16] = CUT(8, 24, -132),
             [GKA_MMA_TF32] = CUT(4, 24, -132),
             [GKA_MMA_E4M3] = CUT_TO(GKA_RESULT_E8M13, 16, 13, -132),
             [GKA_MMA_E5M2] = CUT_TO(GKA_RESULT_E8M13, 16, 13, -132)},
    .checked = "MATLAB-tensor-core's L40S vectors, exponents -16 .. 2: 0 of 25,000 differ",
};
#define HOPPER                                                                                     \
    [GKA_MMA_BF16] = CUT(16, 25, -133), [GKA_MMA_FP16] = CUT(16, 25, -133),                        \
    [GKA_MMA_TF32] = CUT(8, 25, -133)
#define HOPPER_WGMMA                                                                               \
    HOPPER, [GKA_MMA_E4M3] = CUT_TO(GKA_RESULT_E8M13, 32, 13, -133),                               \
            [GKA_MMA_E5M2] = CUT_TO(GKA_RESULT_E8M13, 32, 13, -133)
/* FP8 by mma.sync: the operands become fp16, two steps of 16 from zero, then c is added. */
#define BY_FP16                                                                                    \
    { 16, 25, -133, .order = GKA_K_PAIRS_APART, .apart = 32 }
static const gka_device h100 = {
    .name = "h100",
    .binary32 = true,
    .core = {HOPPER_WGMMA},
    .functions = GKA_FUNCTIONS_H100,
    .checked = "our H100 runs, whole range: 0 of 1,425,408 differ; FP8 as h200",
    .functions_measured = true,
};
static const gka_device h200 = {
    .name = "h200",
    SHARED_FUNCTIONS,
    .core = {HOPPER_WGMMA},
    .checked = "our H200 runs, FP8 by wgmma, whole range: 0 of 409,600 differ; the rest as h100",
};
static const gka_device h100_mma = {
    .name = "h100-mma",
    SHARED_FUNCTIONS,
    .core = {HOPPER, [GKA_MMA_E4M3] = BY_FP16, [GKA_MMA_E5M2] = BY_FP16},
    .checked = "our H200 runs, FP8 by mma.sync, whole range: 0 of 159,744 differ",
};
static const gka_device h100_fp16 = {
    .name = "h100-fp16",
    SHARED_FUNCTIONS,
    .core = {[GKA_MMA_FP16] = CUT_TO(GKA_RESULT_FP16, 16, 25, -133),
             [GKA_MMA_E4M3] = CUT_TO(GKA_RESULT_FP16, 32, 13, -133),
             [GKA_MMA_E5M2] = CUT_TO(GKA_RESULT_FP16, 32, 13, -133)},
    .checked = "our H200 runs, wgmma and fp16 by mma.sync, whole range: 0 of 368,640 differ",
};
static const gka_device h100_mma_fp16 = {
    .name = "h100-mma-fp16",
    SHARED_FUNCTIONS,
    .core = {[GKA_MMA_E4M3] = {.group = 16,
                               .fraction = 25,
                               .floor = -133,
                               .result = GKA_RESULT_FP16,
                               .order = GKA_K_PAIRS_APART,
                               .apart = 32},
             [GKA_MMA_E5M2] = {.group = 16,
                               .fraction = 25,
                               .floor = -133,
                               .result = GKA_RESULT_FP16,
                               .order = GKA_K_PAIRS_APART,
                               .apart = 32}},
    .checked = "our H200 runs, whole range: 0 of 147,456 differ",
};
static const gka_device b200 = {
    .name = "b200",
    SHARED_FUNCTIONS,
    .core = {HOPPER},
    .checked =
        "MATLAB-tensor-core's B200 vectors, mma.sync, exponents -16 .. 2: 0 of 15,000 differ",
};
static const gka_device b200_mma = {
    .name = "b200-mma",
    SHARED_FUNCTIONS,
    .core = {HOPPER, [GKA_MMA_E4M3] = BY_FP16, [GKA_MMA_E5M2] = BY_FP16},
    .checked =
        "MATLAB-tensor-core's B200 vectors, mma.sync, exponents -16 .. 2: 0 of 10,000 differ",
};
static const gka_device gka_cuda = {
    .name = "gka-cuda",
    .binary32 = true,
    .core = {HOPPER_WGMMA},
    .functions = GKA_FUNCTIONS_PINNED,
    .checked = "as h100; its functions are the project's own",
    .functions_measured = true,
};

/* ---- AMD, x86 ------------------------------------------------------------------------------ */

/* After MATLAB-tensor-core and MMA-Sim's 735c9b7. Its c785138 adds pairs instead, as the mi250
 * does: 304 of 2,304 results in bf16 and 64 in fp16 are then others. */
static const gka_device mi100 = {
    .name = "mi100",
    .binary32 = true,
    .core = {[GKA_MMA_BF16] = {.group = 2, .sum = GKA_SUM_EXACT},
             [GKA_MMA_FP16] = {.group = 4, .sum = GKA_SUM_EXACT}},
    .functions = GKA_FUNCTIONS_BINARY32,
};
/* bf16: the _1k instructions */
static const gka_device mi250 = {
    .name = "mi250",
    .binary32 = true,
    .core = {[GKA_MMA_BF16] = {.group = 4, .sum = GKA_SUM_PAIRS, .flush = true},
             [GKA_MMA_FP16] = {.group = 4, .sum = GKA_SUM_PAIRS, .flush = true}},
    .functions = GKA_FUNCTIONS_BINARY32,
    .checked = "MMA-Sim's own program (c785138), any bits: 0 of 4,608 differ",
};
/* tf32: the xf32 instructions. Of operands of any bits 197 of 1,536 in bf16 and tf32 differ from
 * the program: it says nothing of an infinite accumulator and products beyond 2^128. */
static const gka_device mi300 = {
    .name = "mi300",
    .binary32 = true,
    .core = {[GKA_MMA_BF16] = {.group = 8, .fraction = 24, .floor = -1000, .sum = GKA_SUM_FLOORED},
             [GKA_MMA_FP16] = {.group = 8, .fraction = 24, .floor = -1000, .sum = GKA_SUM_FLOORED},
             [GKA_MMA_TF32] = {.group = 4, .fraction = 24, .floor = -1000, .sum = GKA_SUM_FLOORED}},
    .functions = GKA_FUNCTIONS_BINARY32,
    .checked = "MMA-Sim's own program (c785138), exponents -18 .. 18: 0 of 4,608 differ",
};
static const gka_device avx512_bf16 = {
    .name = "avx512-bf16",
    .binary32 = true,
    .core = {[GKA_MMA_BF16] =
                 {.group = 1, .sum = GKA_SUM_EXACT, .order = GKA_K_ODD_FIRST, .flush = true}},
    .functions = GKA_FUNCTIONS_BINARY32,
    .checked = "our runs of vdpbf16ps, Zen 4 and Xeon: 0 of 12,024,576 differ",
};
/* TDPBF16PS */
static const gka_device amx = {
    .name = "amx",
    .binary32 = true,
    .core = {[GKA_MMA_BF16] = {.group = 32, .sum = GKA_SUM_CHAINS, .flush = true}},
    .functions = GKA_FUNCTIONS_BINARY32,
    .checked = "our runs of TDPBF16PS on a Xeon (model 207): 0 of 49,152 differ",
};

/* ---- neutral ------------------------------------------------------------------------------- */

static const gka_device ieee32 = {
    .name = "ieee32",
    .binary32 = true,
    .functions = GKA_FUNCTIONS_BINARY32,
    .checked = "IEEE 754",
    .functions_measured = true,
};
static const gka_device exact64 = {
    .name = "exact64",
    .binary32 = false,
    .functions = GKA_FUNCTIONS_BINARY64,
    .checked = "IEEE 754",
    .functions_measured = true,
};

const gka_device *const gka_device_table[] = {
    &v100,     &v100_fp16, &t4,       &a100,      &a100_fp16,     &l40s,
    &h100,     &h200,      &h100_mma, &h100_fp16, &h100_mma_fp16, &b200,
    &b200_mma, &mi100,     &mi250,    &mi300,     &avx512_bf16,   &amx,
    &gka_cuda, &ieee32,    &exact64,  NULL};
