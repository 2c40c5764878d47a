/* probe_x86.c - what this processor's bf16 products give, as a file for `gka devices --fit`.
 *
 *   cc -O2 -o probe_x86 scripts/cpu/probe_x86.c && ./probe_x86 OUT.safetensors
 *
 * Sets NAME.a [tiles,M,K], NAME.b [tiles,N,K] (BF16), NAME.c, NAME.d [tiles,M,N] (F32),
 * d = c + a b^T:
 *   vdpbf16ps  AVX512-BF16: K/2 instructions in the order of k, two products each
 *   tdpbf16ps  AMX: one instruction, K = 32, and .k64: two
 * A third of the tiles has operands of any bits, a third of sizes near one another, a third with
 * products and c about 2^-126, where results are flushed. Exit code 77: the processor has neither.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if !defined(__x86_64__) || !defined(__GNUC__)
int main(void) {
    fprintf(stderr, "probe_x86: not an x86 processor\n");
    return 77;
}
#else
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TILES = 96, ROWS = 16, COLUMNS = 16, MOST_K = 64, PAIRS = 2 };

typedef struct set {
    const char *name;
    int K;
    uint16_t a[TILES][ROWS][MOST_K], b[TILES][COLUMNS][MOST_K];
    float c[TILES][ROWS][COLUMNS], d[TILES][ROWS][COLUMNS];
} set;

/* ---- operands ------------------------------------------------------------------------------ */

static uint64_t state = 17;

/* Steele, Lea and Flood's SplitMix64 (2014). */
static uint32_t draw(void) {
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) >> 32);
}

static uint16_t operand(int kind) {
    const uint32_t r = draw();
    const uint32_t field = kind == 1 ? 124 + r % 7 : 60 + r % 9;
    return (uint16_t)(kind == 0 ? r : (r >> 16 & 0x807f) | field << 7);
}

static float accumulator(int kind) {
    const uint32_t r = draw(), field = kind == 1 ? 120 + r / 16 % 16 : r / 16 % 6;
    const uint32_t bits = kind == 0 ? r : (r & 0x807fffff) | field << 23;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void fill(set *s, const char *name, int K) {
    s->name = name;
    s->K = K;
    for (int t = 0; t < TILES; t++)
        for (int i = 0; i < ROWS; i++) {
            for (int k = 0; k < K; k++) {
                s->a[t][i][k] = operand(t % 3);
                s->b[t][i][k] = operand(t % 3);
            }
            for (int j = 0; j < COLUMNS; j++)
                s->c[t][i][j] = accumulator(t % 3);
        }
}

/* ---- instructions -------------------------------------------------------------------------- */

/* The pairs that the 16 lanes multiply at step k of row i. Apart from by_vector, because clang 18
 * at -O3 cannot select an instruction that puts 16-bit numbers together in a function for
 * AVX512-BF16 and ends. */
static __attribute__((noinline)) void lanes(const set *s, int t, int i, int k, uint16_t *left,
                                            uint16_t *right) {
    for (int j = 0; j < COLUMNS; j++)
        for (int p = 0; p < PAIRS; p++) {
            left[2 * j + p] = s->a[t][i][k + p];
            right[2 * j + p] = s->b[t][j][k + p];
        }
}

__attribute__((target("avx512f,avx512bf16"))) static void by_vector(set *s) {
    for (int t = 0; t < TILES; t++)
        for (int i = 0; i < ROWS; i++) {
            __m512 sum = _mm512_loadu_ps(s->c[t][i]);
            for (int k = 0; k < s->K; k += PAIRS) {
                uint16_t left[2 * COLUMNS], right[2 * COLUMNS];
                lanes(s, t, i, k, left, right);
                sum = _mm512_dpbf16_ps(sum, (__m512bh)_mm512_loadu_si512(left),
                                       (__m512bh)_mm512_loadu_si512(right));
            }
            _mm512_storeu_ps(s->d[t][i], sum);
        }
}

/* Linux gives the tile registers to who asks for them. */
static int has_tiles(void) {
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    unsigned eax = 7, ebx, ecx = 0, edx;
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return (edx >> 22 & 1) != 0 && (edx >> 24 & 1) != 0 &&
           syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

/* Intel's layout of the 64 bytes of LDTILECFG, palette 1. */
typedef struct tile_shapes {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} tile_shapes;

__attribute__((target("amx-tile,amx-bf16"))) static void by_tiles(set *s) {
    enum { DEPTH = 32, BYTES = 64 };
    tile_shapes shapes = {.palette = 1};
    for (int i = 0; i < 3; i++) {
        shapes.bytes[i] = BYTES;
        shapes.rows[i] = 16;
    }
    _tile_loadconfig(&shapes);
    for (int t = 0; t < TILES; t++) {
        _tile_loadd(0, s->c[t], BYTES);
        for (int from = 0; from < s->K; from += DEPTH) {
            uint16_t left[ROWS][DEPTH], right[DEPTH / 2][2 * COLUMNS]; /* b in pairs of k */
            for (int i = 0; i < ROWS; i++)
                for (int k = 0; k < DEPTH; k++) {
                    left[i][k] = s->a[t][i][from + k];
                    right[k / 2][2 * i + k % 2] = s->b[t][i][from + k];
                }
            _tile_loadd(1, left, BYTES);
            _tile_loadd(2, right, BYTES);
            _tile_dpbf16ps(0, 1, 2);
        }
        _tile_stored(0, s->d[t], BYTES);
    }
    _tile_release();
}

/* ---- the file ------------------------------------------------------------------------------ */

static size_t add_tensor(char *header, size_t room, const set *s, char part, const size_t shape[3],
                         size_t size, size_t *at) {
    const size_t length = strlen(header), bytes = shape[0] * shape[1] * shape[2] * size;
    snprintf(header + length, room - length,
             "%s\"%s.%c\":{\"dtype\":\"%s\",\"shape\":[%zu,%zu,%zu],\"data_offsets\":[%zu,%zu]}",
             length > 1 ? "," : "", s->name, part, size == 2 ? "BF16" : "F32", shape[0], shape[1],
             shape[2], *at, *at + bytes);
    *at += bytes;
    return bytes;
}

static void describe(char *header, size_t room, const set *s, size_t *at) {
    const size_t K = (size_t)s->K;
    add_tensor(header, room, s, 'a', (const size_t[3]){TILES, ROWS, K}, 2, at);
    add_tensor(header, room, s, 'b', (const size_t[3]){TILES, COLUMNS, K}, 2, at);
    add_tensor(header, room, s, 'c', (const size_t[3]){TILES, ROWS, COLUMNS}, 4, at);
    add_tensor(header, room, s, 'd', (const size_t[3]){TILES, ROWS, COLUMNS}, 4, at);
}

static void write_set(const set *s, FILE *file) {
    const size_t K = (size_t)s->K;
    for (int t = 0; t < TILES; t++)
        for (int i = 0; i < ROWS; i++)
            fwrite(s->a[t][i], 2, K, file);
    for (int t = 0; t < TILES; t++)
        for (int i = 0; i < COLUMNS; i++)
            fwrite(s->b[t][i], 2, K, file);
    fwrite(s->c, sizeof s->c, 1, file);
    fwrite(s->d, sizeof s->d, 1, file);
}

static int write_file(const char *path, const set *sets, int count) {
    static char header[4096] = "{";
    size_t at = 0;
    for (int i = 0; i < count; i++)
        describe(header, sizeof header - 16, &sets[i], &at);
    strcat(header, "}");
    while (strlen(header) % 8 != 0)
        strcat(header, " ");
    const uint64_t length = strlen(header);
    FILE *const file = fopen(path, "wb");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    fwrite(&length, sizeof length, 1, file);
    fwrite(header, length, 1, file);
    for (int i = 0; i < count; i++)
        write_set(&sets[i], file);
    const int failed = ferror(file);
    if (fclose(file) != 0 || failed) {
        fprintf(stderr, "probe_x86: %s: not written\n", path);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv) {
    static set sets[3];
    int count = 0;
    if (argc != 2) {
        fprintf(stderr, "usage: probe_x86 OUT.safetensors\n");
        return 2;
    }
    if (__builtin_cpu_supports("avx512bf16")) {
        fill(&sets[count], "vdpbf16ps", 16);
        by_vector(&sets[count++]);
    }
    if (has_tiles()) {
        fill(&sets[count], "tdpbf16ps", 32);
        by_tiles(&sets[count++]);
        fill(&sets[count], "tdpbf16ps.k64", 64);
        by_tiles(&sets[count++]);
    }
    if (count == 0) {
        fprintf(stderr, "probe_x86: this processor has neither AVX512-BF16 nor AMX\n");
        return 77;
    }
    return write_file(argv[1], sets, count);
}
#endif
