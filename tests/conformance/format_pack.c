/* format_pack.c - packs the fp32 of standard input as FORMAT in MODE, to standard output.
 *
 *   conformance_format_pack FORMAT MODE < floats > patterns
 */
#include "gka/format.h"

#include <stdio.h>

int main(int argc, char **argv) {
    const gka_format *const f = argc == 3 ? gka_format_find(argv[1]) : NULL;
    const int mode = argc == 3 ? gka_rounding_find(argv[2]) : -1;
    if (f == NULL || mode < 0 || f->bits > 32) {
        fprintf(stderr, "usage: conformance_format_pack FORMAT MODE < floats > patterns\n");
        return 2;
    }
    enum { BLOCK = 4096 };
    static float x[BLOCK];
    static uint32_t packed[BLOCK];
    uint64_t first = 0;
    for (size_t n; (n = fread(x, sizeof x[0], BLOCK, stdin)) > 0; first += n) {
        gka_encode_array_f32(f, (gka_rounding)mode, 0, first, n, x, packed);
        const size_t bytes = (n * (size_t)f->bits + 7) / 8;
        if (fwrite(packed, 1, bytes, stdout) != bytes)
            return 3;
    }
    return ferror(stdin) || fflush(stdout) != 0 ? 3 : 0;
}
