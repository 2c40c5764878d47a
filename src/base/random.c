/* random.c - Philox4x64-10, by Random123. */
#include "gka/base.h"

/* Its 64-bit product: an instruction where it knows the machine, else, by this, plain C. */
#define R123_USE_MULHILO64_C99 1
#ifdef __wasm__ /* Random123 asks for a machine it knows; RISC-V is one without intrinsics */
#define __riscv
#endif
#include <Random123/philox.h>

void gka_philox(const uint64_t counter[4], const uint64_t key[2], uint64_t bits[4]) {
    const philox4x64_ctr_t c = {{counter[0], counter[1], counter[2], counter[3]}};
    const philox4x64_key_t k = {{key[0], key[1]}};
    const philox4x64_ctr_t r = philox4x64(c, k);
    for (int i = 0; i < 4; i++)
        bits[i] = r.v[i];
}
