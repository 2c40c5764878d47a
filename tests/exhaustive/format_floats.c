/* format_floats.c - all 2^32 floats to bf16, fp16, tf32, e4m3, e5m2 and the other overflow rules of
 * the last two, in every deterministic mode, every bit compared: rounding to floats and from
 * doubles, packing from both, by the loops in use on this processor; one block of 4096 in 16 by
 * the loops of the other instruction sets and by gka_round as well.
 *
 *   exhaustive_format_floats [STATE [FORMAT...]]
 *
 * STATE (format_floats.state) lists what has passed: one line for each format and sign. A
 * second run does what is not listed; delete the file to begin again. */
#include "format_segments.h"

#include <time.h>

enum { MODES = GKA_TO_ODD + 1 }; /* the deterministic ones, GKA_NEAREST_EVEN first */

static const char *state_name = "format_floats.state";
static char **wanted; /* names of formats, up to a NULL; all of them if there are none */

static bool is_wanted(const char *format) {
    for (char **name = wanted; *name != NULL; name++)
        if (strcmp(*name, format) == 0)
            return true;
    return *wanted == NULL;
}

static bool has_passed(const char *line) {
    FILE *const file = fopen(state_name, "r");
    bool found = false;
    char text[256];
    while (file != NULL && !found && fgets(text, sizeof text, file) != NULL)
        found = strncmp(text, line, strlen(line)) == 0;
    if (file != NULL)
        fclose(file);
    return found;
}

static void note_passed(const char *line, double seconds) {
    FILE *const file = fopen(state_name, "a");
    assert_non_null(file);
    fprintf(file, "%s 2147483648 floats, 5 modes, %.1f s of CPU\n", line, seconds);
    assert_int_equal(fclose(file), 0);
    printf("%s passed, %.1f s\n", line, seconds);
    fflush(stdout);
}

static void all_floats(exhaustive_format e, bool negative) {
    static float_block block;
    const gka_format *const f = gka_format_find(e.name);
    segments s[MODES];
    for (int mode = 0; mode < MODES; mode++)
        s[mode] = segments_of(f, (gka_rounding)mode, negative, e.width, e.padding);
    for (uint32_t first = 0; first < UINT32_C(1) << 31; first += FLOATS) {
        block.n = 0;
        block_floats(&block, negative, first, FLOATS);
        for (int mode = 0; mode < MODES; mode++) {
            block_want(&block, &s[mode], first, 0, FLOATS);
            block_check(&block, f, (gka_rounding)mode, first / FLOATS % 16 == 0);
        }
    }
    for (int mode = 0; mode < MODES; mode++)
        segments_free(&s[mode]);
}

static void exh_all_floats(void **state) {
    (void)state;
    for (int i = 0; i < EXHAUSTIVE_FORMATS; i++)
        for (int negative = 0; negative <= 1; negative++) {
            const char *const name = exhaustive_formats[i].name;
            char line[64];
            snprintf(line, sizeof line, "%s %s", name, negative ? "-" : "+");
            if (!is_wanted(name) || has_passed(line))
                continue;
            const clock_t start = clock();
            all_floats(exhaustive_formats[i], negative);
            note_passed(line, (double)(clock() - start) / CLOCKS_PER_SEC);
        }
}

int main(int argc, char **argv) {
    if (argc > 1)
        state_name = argv[1];
    wanted = argc > 2 ? argv + 2 : argv + argc;
    const struct CMUnitTest tests[] = {cmocka_unit_test(exh_all_floats)};
    return cmocka_run_group_tests_name("format_floats", tests, NULL, NULL);
}
