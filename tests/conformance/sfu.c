/* sfu.c - the special function unit against an H100: every result of nine binades, samples of the
 * whole range, and what Triton makes of exp, sqrt and divide. No result differs. */
#include "probes.h"

#include "arith/sfu.h"
#include "gka/arith.h"

/* ---- the functions by PTX name ------------------------------------------------------------- */

static uint32_t apply(const char *name, uint32_t x, uint32_t y) {
    if (!strcmp(name, "ex2.approx.ftz.f32"))
        return gka_sfu_ex2(x);
    if (!strcmp(name, "ex2.approx.f32"))
        return bits_of_f32(gka_ptx_ex2(f32_of(x)));
    if (!strcmp(name, "rcp.approx.ftz.f32"))
        return gka_sfu_rcp(x);
    if (!strcmp(name, "sqrt.approx.ftz.f32"))
        return gka_sfu_sqrt(x);
    if (!strcmp(name, "rsqrt.approx.ftz.f32"))
        return gka_sfu_rsqrt(x);
    if (!strcmp(name, "div.full.f32"))
        return bits_of_f32(gka_ptx_div_full(f32_of(x), f32_of(y)));
    fail_msg("no function %s", name);
    return 0;
}

/* ---- whole binades ------------------------------------------------------------------------- */

static uint32_t crc_table[256];

static void crc_init(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ UINT32_C(0xedb88320) : c >> 1;
        crc_table[i] = c;
    }
}

/* CRC-32 of the results for 2^17 inputs from first on, little-endian. */
static uint32_t crc_of_segment(const char *name, uint32_t first) {
    uint32_t crc = UINT32_MAX;
    for (uint32_t i = 0; i < 1 << 17; i++) {
        const uint32_t out = apply(name, first + i, 0);
        for (int b = 0; b < 32; b += 8)
            crc = crc >> 8 ^ crc_table[(crc ^ out >> b) & 0xff];
    }
    return ~crc;
}

static void exh_binades(void **state) {
    (void)state;
    crc_init();
    FILE *const file = fopen(GKA_TEST_DATA "/probes/binades.txt", "r");
    assert_non_null(file);
    char name[64];
    uint32_t first, want;
    int segments = 0;
    while (fscanf(file, "%63s %x", name, &first) == 2)
        for (uint32_t s = 0; s < 64; s++) {
            assert_int_equal(fscanf(file, "%x", &want), 1);
            const uint32_t at = first + (s << 17);
            if (crc_of_segment(name, at) != want)
                fail_msg("%s differs among the 2^17 inputs from %08x on", name, at);
            segments++;
        }
    fclose(file);
    assert_int_equal(segments, 9 * 64);
}

/* ---- samples ------------------------------------------------------------------------------- */

static void test_samples(void **state) {
    (void)state;
    static const char *const names[] = {"ex2.approx.ftz.f32",   "ex2.approx.f32",
                                        "rcp.approx.ftz.f32",   "sqrt.approx.ftz.f32",
                                        "rsqrt.approx.ftz.f32", "div.full.f32"};
    gka_file *const file = open_probe("functions.safetensors");
    for (size_t f = 0; f < sizeof names / sizeof *names; f++) {
        const gka_tensor *const x = probe(file, names[f], "x"), *const o =
                                                                    probe(file, names[f], "o");
        const gka_tensor *const y = f == 5 ? probe(file, names[f], "y") : x;
        assert_true(gka_tensor_count(x) >= 4096);
        for (int64_t i = 0; i < gka_tensor_count(x); i++) {
            const uint32_t got = apply(names[f], encoding_at(x, i), encoding_at(y, i));
            if (got != encoding_at(o, i))
                fail_msg("%s(%08x, %08x) is %08x, not %08x", names[f], encoding_at(x, i),
                         encoding_at(y, i), encoding_at(o, i), got);
        }
    }
    gka_file_close(file);
}

/* ---- through the device, as Triton compiles them ------------------------------------------- */

static double on_device(const char *name, double x, double y) {
    const gka_device *const h100 = gka_device_find("h100");
    if (!strcmp(name, "exp"))
        return gka_device_exp(h100, x);
    return !strcmp(name, "sqrt") ? gka_device_sqrt(h100, x) : gka_device_div(h100, x, y);
}

static void check_device(const gka_file *file, const char *name) {
    const gka_tensor *const x = probe(file, name, "x"), *const o = probe(file, name, "o");
    const gka_tensor *const y = !strcmp(name, "div") ? probe(file, name, "y") : x;
    assert_true(gka_tensor_count(x) >= 4096);
    for (int64_t i = 0; i < gka_tensor_count(x); i++) {
        const double got =
            on_device(name, (double)f32_of(encoding_at(x, i)), (double)f32_of(encoding_at(y, i)));
        assert_int_equal(bits_of_f32((float)got), encoding_at(o, i));
    }
}

static void test_triton_functions(void **state) {
    (void)state;
    gka_file *const shipped = open_probe("sfu.safetensors");
    check_device(shipped, "exp");
    check_device(shipped, "sqrt");
    check_device(shipped, "div");
    gka_file_close(shipped);
    gka_file *const wide = open_probe("functions.safetensors");
    check_device(wide, "exp");
    gka_file_close(wide);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_triton_functions),
        cmocka_unit_test(exh_binades),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
