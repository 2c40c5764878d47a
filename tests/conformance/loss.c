/* loss.c - what the kernels lose, predicted: the error of the key gradient that the emulation makes
 * from the inputs alone is, within 5 %, the error of the tensors that the hardware wrote.
 *
 * tests/data/h100 always; every file of released/{small,full} and twoterm where the environment
 * variable GKA_H100_DATA names the folder that holds them. The errors of x, o and dalpha are shown
 * beside it. Exact values: oracle fp64.
 */
#include "test.h"

#include "gka/judge.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>

enum { COLUMNS = 5 };
static const char *const tensors[COLUMNS] = {"x", "o", "solve.dk", "layer.dk", "layer.dalpha"};

static const gka_verdict_row *row_of(const gka_verification *v, const char *name) {
    for (size_t i = 0; i < v->row_count; i++)
        if (!strcmp(v->rows[i].tensor->name, name))
            return &v->rows[i];
    return NULL;
}

/* Judges `outputs`, computed from `inputs`, and says what was predicted. */
static void predict(const char *name, const char *inputs, const char *outputs, gka_form form) {
    gka_file *in = NULL, *out = NULL;
    gka_error error = {0};
    gka_verification v = {0};
    gka_kernel kernel;
    assert_int_equal(gka_kernel_find("h100", &kernel, &error), GKA_OK);
    kernel.profile.form = form;
    assert_int_equal(gka_file_open(inputs, &in, &error), GKA_OK);
    assert_int_equal(gka_file_open(outputs, &out, &error), GKA_OK);
    const gka_verify_options options = {
        .oracle = GKA_ORACLE_FP64, .inputs = in, .emulate = &kernel};
    if (gka_verify(out, &options, &v, &error) != GKA_OK)
        fail_msg("%s", error.text);
    char line[256];
    int n = snprintf(line, sizeof line, "%-13s %-10s", name, gka_form_name(form));
    for (int i = 0; i < COLUMNS; i++) {
        const gka_verdict_row *const row = row_of(&v, tensors[i]);
        n += row ? snprintf(line + n, sizeof line - (size_t)n, "  %9.3e %9.3e",
                            row->comparison.rel_err, row->predicted)
                 : snprintf(line + n, sizeof line - (size_t)n, "  %9s %9s", "-", "-");
    }
    print_message("%s\n", line);
    const gka_verdict_row *const dk = row_of(&v, "solve.dk");
    assert_non_null(dk);
    assert_true(fabs(dk->predicted - dk->comparison.rel_err) <= .05 * dk->comparison.rel_err);
    gka_verification_free(&v);
    gka_file_close(out);
    gka_file_close(in);
}

static void heading(void) {
    char line[256];
    int n = snprintf(line, sizeof line, "%-24s", "measured, predicted");
    for (int i = 0; i < COLUMNS; i++)
        n += snprintf(line + n, sizeof line - (size_t)n, "  %-19s", tensors[i]);
    print_message("%s\n", line);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Every file of outputs/ that has a solve.dk, in the order of names; its inputs are in the first of
 * `inputs` that has a file of that name. Returns how many there were. */
static int predict_all(const char *outputs, const char *const inputs[2], gka_form form) {
    char *names[64] = {0};
    size_t count = 0;
    DIR *const folder = opendir(outputs);
    assert_non_null(folder);
    for (const struct dirent *e; (e = readdir(folder)) != NULL;)
        if (strstr(e->d_name, ".safetensors") && strcmp(e->d_name, "decode.safetensors") != 0) {
            assert_true(count < 64);
            names[count] = strdup(e->d_name);
            assert_non_null(names[count++]);
        }
    closedir(folder);
    qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++) {
        char out[1024], in[1024];
        snprintf(out, sizeof out, "%s/%s", outputs, names[i]);
        for (int j = 0; j < 2; j++) {
            snprintf(in, sizeof in, "%s/%s", inputs[j], names[i]);
            FILE *const file = fopen(in, "rb");
            if (file) {
                fclose(file);
                break;
            }
        }
        *strstr(names[i], ".safetensors") = '\0';
        predict(names[i], in, out, form);
        free(names[i]);
    }
    return (int)count;
}

static void test_small_set(void **state) {
    (void)state;
    const char *const folder = GKA_TEST_DATA "/h100", *const inputs[2] = {folder, folder};
    heading();
    assert_true(predict_all(folder, inputs, GKA_THREE_TERM) >= 6);
    assert_true(predict_all(GKA_TEST_DATA "/h100/twoterm", inputs, GKA_TWO_TERM) >= 2);
}

static void test_all_files(void **state) {
    (void)state;
    const char *const data = getenv("GKA_H100_DATA");
    if (!data) {
        print_message("GKA_H100_DATA is not set: the longer set is not predicted\n");
        skip();
    }
    char small[512], full[512], two[512];
    snprintf(small, sizeof small, "%s/released/small", data);
    snprintf(full, sizeof full, "%s/released/full", data);
    snprintf(two, sizeof two, "%s/twoterm", data);
    const char *const inputs[2] = {small, full};
    heading();
    assert_true(predict_all(small, inputs, GKA_THREE_TERM) >= 6);
    assert_true(predict_all(full, inputs, GKA_THREE_TERM) >= 12);
    assert_true(predict_all(two, inputs, GKA_TWO_TERM) >= 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_set),
        cmocka_unit_test(test_all_files),
    };
    return cmocka_run_group_tests_name("loss", tests, NULL, NULL);
}
