/* rivals_of.c - rivals_of FILE LAYER: o of a layer for the problem of a safetensors file, with the
 * gates by channel of its tensor gk, and its gradients where the file has a tensor `do`; in
 * binary64, one number a line: o [B,T,H,V], then dq dk dv dbeta dg dgk.
 */
#include "gka/rivals.h"

#include <stdio.h>

static int complain(const gka_error *error) {
    fprintf(stderr, "%s\n", error->text);
    return 2;
}

static void print(int64_t n, const double *x) {
    for (int64_t i = 0; i < n; i++)
        printf("%.17g\n", x[i]);
}

int main(int argc, char **argv) {
    gka_error error = {0};
    gka_file *file;
    gka_problem p;
    gka_rival rival;
    gka_policy fp64;
    if (argc != 3 || !gka_policy_find("fp64", &fp64))
        return 2;
    if (gka_file_open(argv[1], &file, &error) != GKA_OK ||
        gka_problem_from_file(file, &p, NULL, &error) != GKA_OK ||
        gka_rival_find(argv[2], &rival, &error) != GKA_OK)
        return complain(&error);
    if (gka_file_find(file, "gk") != NULL)
        rival.gk = gka_view_of(gka_file_find(file, "gk"));
    const int64_t rows = p.B * p.T * p.H, keys = p.B * p.T * p.G;
    const int64_t counts[] = {rows * p.V, rows * p.D, keys * p.D, keys * p.V,
                              rows,       rows,       rows * p.D};
    double *arrays[7];
    for (int i = 0; i < 7; i++)
        if ((arrays[i] = gka_alloc((size_t)counts[i], sizeof(double))) == NULL)
            return 2;
    gka_rival_outputs out = {.o = arrays[0],
                             .dq = arrays[1],
                             .dk = arrays[2],
                             .dv = arrays[3],
                             .dbeta = arrays[4],
                             .dg = arrays[5],
                             .dgk = arrays[6]};
    const bool gradient = p.dout.data != NULL;
    const gka_status status = gradient ? gka_rival_gradient(&p, &rival, &fp64, &out, NULL, &error)
                                       : gka_rival_forward(&p, &rival, &fp64, &out, NULL, &error);
    if (status != GKA_OK)
        return complain(&error);
    for (int i = 0; i < (gradient ? 7 : 1); i++)
        print(counts[i], arrays[i]);
    for (int i = 0; i < 7; i++)
        gka_free(arrays[i]);
    gka_problem_free(&p);
    gka_file_close(file);
    return 0;
}
