/* user.c - a stranger's program: the installed headers and library, and one fact of each of a few
 * rooms. */
#include <gka/base.h>
#include <gka/format.h>
#include <gka/io.h>
#include <gka/judge.h>
#include <gka/oracle.h>
#include <gka/problem.h>

#include <stdio.h>

/* H = 1 k k^T = 4, f = 4, lambda = .5 f = 2: x = q / 6 */
int main(void) {
    double q = 3, k = 2, x = 0;
    gka_problem problem = {.B = 1,
                           .T = 1,
                           .H = 1,
                           .G = 1,
                           .D = 1,
                           .N = 1,
                           .ridge_ratio = .5,
                           .scale = 1,
                           .num_iter = 1,
                           .chunk_size = 64};
    static const int64_t shape[4] = {1, 1, 1, 1};
    problem.q = gka_view_of_doubles(4, shape, &q, &q);
    problem.k = gka_view_of_doubles(4, shape, &k, &k);
    gka_outputs exact = {.x = &x};
    const gka_oracle_options options = {.oracle = GKA_ORACLE_MPFR};
    gka_error error = {0};
    if (gka_oracle_forward(&problem, &options, &exact, NULL, NULL, &error) != GKA_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    unsigned char bytes[8];
    gka_store_doubles(bytes, 1, &x);
    const gka_tensor out = {"x", GKA_F64, 4, {1, 1, 1, 1}, bytes};
    gka_comparison comparison;
    gka_compare(&out, &(double){.5}, 1, &comparison);
    printf("gka %s: x = %g, %s\n", gka_version(), x, gka_format_find("bf16")->name);
    return comparison.bits_equal ? 0 : 1;
}
