/* rivals_gpu.c - the chunk forms of gka/rivals.h against the forward kernels of
 * flash-linear-attention 0.4.1 on an H200 (scripts/gpu/capture_rivals.py): MesaNet, the delta rule
 * and linear attention, each with a gate of the token and with gates by channel. No number differs,
 * but 85 of one file (src/rivals/README.md).
 *
 * The files of tests/data/h200/rivals, or those of the folder GKA_RIVALS.
 */
#include "probes.h"

#include "gka/rivals.h"

#include <math.h>
#include <stdlib.h>

static double *numbers(const gka_tensor *tensor) {
    return numbers_in(tensor, gka_format_of_dtype(tensor->dtype));
}

/* How many of the tensor's numbers are others than ours, rounded to its type; *distance relative.
 */
static int64_t differing(const gka_tensor *tensor, const double *own, double *distance) {
    const gka_format *const format = gka_format_of_dtype(tensor->dtype);
    double *const theirs = numbers(tensor), off = 0, size = 0;
    int64_t count = 0;
    for (int64_t i = 0; i < gka_tensor_count(tensor); i++) {
        count += bits_of(gka_round(format, GKA_NEAREST_EVEN, own[i], 0)) != bits_of(theirs[i]);
        off += (own[i] - theirs[i]) * (own[i] - theirs[i]);
        size += theirs[i] * theirs[i];
    }
    *distance = sqrt(off / size);
    gka_free(theirs);
    return count;
}

/* The two of a file; returns how many of o (and x) differ. */
static int64_t compare(const char *path, const char *name, double *distance) {
    gka_file *file = NULL;
    gka_problem p;
    gka_rival rival;
    gka_error error = {0};
    double of_x = 0;
    if (gka_file_open(path, &file, &error) != GKA_OK ||
        gka_problem_from_file(file, &p, NULL, &error) != GKA_OK ||
        gka_rival_find(name, &rival, &error) != GKA_OK)
        fail_msg("%s", error.text);
    const gka_tensor *const x = gka_file_find(file, "x"), *const o = gka_file_find(file, "o"),
                            *const lambda = gka_file_find(file, "lamb");
    double *const diagonal = lambda != NULL ? numbers(lambda) : NULL;
    rival.diagonal = diagonal;
    const gka_tensor *const gk = gka_file_find(file, "gk");
    if (gk != NULL)
        rival.gk = gka_view_of(gk);
    gka_rival_outputs out = {.o = gka_alloc((size_t)gka_tensor_count(o), sizeof(double)),
                             .x = gka_alloc((size_t)gka_tensor_count(o), sizeof(double))};
    const gka_rival_profile profile = {gka_device_find("h100"), GKA_RIVAL_RELEASED};
    if (gka_rival_chunk(&p, &rival, &profile, &out, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
    const int64_t of_o = differing(o, out.o, distance);
    const int64_t differ = of_o + (x != NULL ? differing(x, out.x, &of_x) : 0);
    print_message("%s: %s: of %lld numbers of o%s %lld differ, by %.1e\n", path, name,
                  (long long)gka_tensor_count(o), x != NULL ? " and as many of x" : "",
                  (long long)differ, fmax(*distance, of_x));
    gka_free(diagonal);
    gka_free(out.o);
    gka_free(out.x);
    gka_problem_free(&p);
    gka_file_close(file);
    return differ;
}

static const char *folder(char text[512]) {
    const char *const all = getenv("GKA_RIVALS");
    (void)snprintf(text, 512, "%s", all != NULL ? all : GKA_TEST_DATA "/h200/rivals");
    return text;
}

static void test_every_bit(void **state) {
    (void)state;
    static const char *const files[][2] = {
        {"mesa_d64", "mesa"}, {"mesa_mean128", "mesa"}, {"mesa_r5", "mesa"},
        {"mesa_d32", "mesa"}, {"gdn_d64", "gdn"},       {"mamba2_mean", "mamba2"},
        {"gla_mean", "gla"},  {"kda_d64", "kda"},       {"kda_mean", "kda"}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char at[512], path[600];
        double distance;
        (void)snprintf(path, sizeof path, "%s/%s.safetensors", folder(at), files[i][0]);
        const bool open = strcmp(files[i][0], "kda_mean") == 0;
        assert_true(compare(path, files[i][1], &distance) <= (open ? 85 : 0));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_bit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
