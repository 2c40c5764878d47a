/* oracle_ref.c - the fp64 oracle against the ref.* tensors of the H100 files: an independent
 * computation in binary64, by PyTorch's autograd through its own solve.
 *
 *   conformance_oracle_ref [FILE...]    prints one line per tensor; no FILE: the two in tests/data
 */
#include "test.h"

#include "gka/oracle.h"

#include <math.h>
#include <stdlib.h>

/* Both sides are within about n kappa u of the exact value (src/oracle/fp64.c: 3D + 6t + .. below
 * 3000 for these files, kappa <= 51, u = 1.1e-16: 1.7e-11 at worst, and sums of many independent
 * roundings come out far below that). */
static const double TOLERANCE = 1e-11;

static double rel_err(int64_t n, const double *x, const double *ref) {
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        difference += (x[i] - ref[i]) * (x[i] - ref[i]);
        norm += ref[i] * ref[i];
    }
    return sqrt(difference / norm);
}

/* The members of gka_outputs that have a tensor ref.* in the files. */
typedef struct row {
    const char *name;
    size_t member;
} row;

static const row forward_rows[] = {{"ref.x", offsetof(gka_outputs, x)},
                                   {"ref.fro", offsetof(gka_outputs, fro)},
                                   {"ref.o", offsetof(gka_outputs, o)},
                                   {"ref.h_final", offsetof(gka_outputs, h_final)},
                                   {"ref.u_final", offsetof(gka_outputs, u_final)},
                                   {NULL, 0}};
static const row solve_rows[] = {{"ref.solve.dq", offsetof(gka_outputs, solve.dq)},
                                 {"ref.solve.dk", offsetof(gka_outputs, solve.dk)},
                                 {"ref.solve.dg", offsetof(gka_outputs, solve.dg)},
                                 {NULL, 0}};
static const row layer_rows[] = {{"ref.layer.dq", offsetof(gka_outputs, layer.dq)},
                                 {"ref.layer.dk", offsetof(gka_outputs, layer.dk)},
                                 {"ref.layer.dv", offsetof(gka_outputs, layer.dv)},
                                 {"ref.layer.dalpha", offsetof(gka_outputs, layer.dalpha)},
                                 {"ref.layer.dg", offsetof(gka_outputs, layer.dg)},
                                 {NULL, 0}};

static int agree(const gka_file *file, const gka_problem *problem, const row *rows,
                 const gka_of *cotangent) {
    gka_outputs out = {0};
    double *memory[8] = {NULL};
    int count = 0, compared = 0;
    for (; rows[count].name != NULL; count++) {
        const gka_tensor *const ref = gka_file_find(file, rows[count].name);
        assert_non_null(ref);
        assert_int_equal(ref->dtype, GKA_F64);
        memory[count] = gka_alloc((size_t)gka_tensor_count(ref), sizeof(double));
        assert_non_null(memory[count]);
        memcpy((char *)&out + rows[count].member, &memory[count], sizeof memory[count]);
    }
    const gka_oracle_options options = {.oracle = GKA_ORACLE_FP64};
    gka_error error = {0};
    const gka_status status =
        cotangent == NULL
            ? gka_oracle_forward(problem, &options, &out, NULL, NULL, &error)
            : gka_oracle_gradient(problem, *cotangent, &options, &out, NULL, NULL, &error);
    if (status != GKA_OK)
        fail_msg("%s", error.text);
    for (int i = 0; i < count; i++) {
        const gka_tensor *const ref = gka_file_find(file, rows[i].name);
        const int64_t n = gka_tensor_count(ref);
        double *const values = gka_alloc((size_t)n, sizeof *values);
        assert_non_null(values);
        memcpy(values, ref->data, (size_t)n * sizeof *values);
        const double error_of_x = rel_err(n, memory[i], values);
        print_message("  %-18s %.2e\n", rows[i].name, error_of_x);
        compared += error_of_x <= TOLERANCE;
        gka_free(values);
        gka_free(memory[i]);
    }
    return count - compared;
}

static void file_agrees(const char *path) {
    gka_file *file;
    gka_problem problem;
    gka_error error = {0};
    if (gka_file_open(path, &file, &error) != GKA_OK ||
        gka_problem_from_file(file, &problem, NULL, &error) != GKA_OK)
        fail_msg("%s", error.text);
    print_message("%s\n", path);
    const gka_of x = GKA_OF_X, o = GKA_OF_O;
    const int failures = agree(file, &problem, forward_rows, NULL) +
                         agree(file, &problem, solve_rows, &x) +
                         agree(file, &problem, layer_rows, &o);
    gka_problem_free(&problem);
    gka_file_close(file);
    assert_int_equal(failures, 0);
}

static const char *const *paths;

static void test_agrees_with_ref(void **state) {
    (void)state;
    for (int i = 0; paths[i] != NULL; i++)
        file_agrees(paths[i]);
}

int main(int argc, char **argv) {
    static const char *const shipped[] = {GKA_TEST_DATA "/h100/d64.safetensors",
                                          GKA_TEST_DATA "/h100/iid_gated.safetensors", NULL};
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_agrees_with_ref)};
    paths = argc > 1 ? (const char *const *)(argv + 1) : shipped;
    return cmocka_run_group_tests_name("oracle_ref", tests, NULL, NULL);
}
