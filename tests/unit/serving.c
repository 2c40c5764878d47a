/* serving.c - the one-token kernel's sums by every instruction set, against the twin that takes
 * them thread by thread: every bit, for every way in which a state lies in the threads. */
#include "test.h"

#include "serving_twin.h"

#include "chunk/chunk.h"
#include "gka/base.h"

#include <stdlib.h>

enum { MOST = 256 };

static double draw(uint64_t *at) {
    const uint64_t counter[4] = {(*at)++, 0, 0, 0}, key[2] = {16, 5};
    uint64_t bits[4];
    gka_philox(counter, key, bits);
    if (bits[2] % 61 == 0)
        return bits[2] % 2 ? 0 : -0.0;
    if (bits[2] % 67 == 0) /* subnormal products and numbers */
        return ldexp((double)(bits[0] >> 40), -149 + (int)(bits[1] % 40));
    return (double)(float)ldexp(2 * ((double)(bits[0] >> 11) * 0x1p-53) - 1, -(int)(bits[1] % 9));
}

typedef struct lab {
    double *A, *x, *y, *v;
    float *fA, *fx, *fy, *fv, *packed;
} lab;

static void draw_lab(lab *l, int64_t rows, int64_t columns) {
    uint64_t at = (uint64_t)(rows * 1000 + columns);
    for (int64_t i = 0; i < rows * columns; i++)
        l->fA[i] = (float)(l->A[i] = draw(&at));
    for (int64_t i = 0; i < MOST; i++) {
        l->fx[i] = (float)(l->x[i] = draw(&at));
        l->fv[i] = (float)(l->v[i] = draw(&at));
    }
}

static void same(const char *what, const serve_kernels *sums, int64_t n, const double *want,
                 const float *got) {
    for (int64_t i = 0; i < n; i++)
        if (bits_of_f32((float)want[i]) != bits_of_f32(got[i]))
            fail_msg("%s by %s: element %lld: %a, the twin has %a", what, sums->name, (long long)i,
                     (double)got[i], want[i]);
}

static void one_shape(const serve_kernels *sums, const serve_shape *shape, int64_t D, lab *l) {
    static const int64_t sizes[] = {64, 128, 256};
    for (int i = 0; i < 3; i++) {
        draw_lab(l, D, sizes[i]);
        twin_dot(shape, D, sizes[i], l->A, l->x, l->y);
        sums->pack(D, sizes[i], l->fA, l->packed);
        for (int backward = 0; backward < 2; backward++) {
            sums->dot(shape, D, sizes[i], backward, l->packed, l->fx, l->fy);
            same("A^T x", sums, sizes[i], l->y, l->fy);
        }
    }
    draw_lab(l, D, D);
    *l->fy = sums->norm(shape, D, l->fA);
    *l->y = twin_norm(shape, D, l->A);
    same("the norm", sums, 1, l->y, l->fy);
    for (int outer = 0; outer < 2; outer++)
        for (int64_t i = 0; i < D; i++) { /* row by row, as the states are advanced */
            twin_advance(outer, D, l->x[0], l->x[1 + i % 8], l->v, l->A + i * D);
            sums->advance(outer, D, l->fx[0], l->fx[1 + i % 8], l->fv, l->fA + i * D);
        }
    same("the states", sums, D * D, l->A, l->fA);
}

/* A step of the recurrence in binary64 numbers, as every other kernel here takes it. */
static void one_step(const serve_kernels *sums, lab *l) {
    draw_lab(l, MOST, MOST);
    const chebyshev_row c = {
        .lambda = (double)(float).37, .step = (double)(float)1.7, .omega = 1.25};
    const serve_step scalars = {(float)c.lambda, (float)c.step, (float)c.omega};
    double *const x = l->A, *const x_prev = l->A + MOST;
    float *const fx = l->fA, *const fx_prev = l->fA + MOST;
    sums->step(MOST, &scalars, l->fx, l->fv, fx, fx_prev);
    chebyshev_row_step(true, false, MOST, &c, l->x, l->v, x, x_prev);
    same("x", sums, MOST, x, fx);
    same("x before", sums, MOST, x_prev, fx_prev);
}

static void prop_every_table_has_the_bits_of_the_twin(void **state) {
    (void)state;
    const serve_kernels *tables[4];
    gka_serve_kernels_all(tables);
    lab l = {calloc(MOST * MOST, sizeof(double)), calloc(MOST, sizeof(double)),
             calloc(MOST, sizeof(double)),        calloc(MOST, sizeof(double)),
             calloc(MOST * MOST, sizeof(float)),  calloc(MOST, sizeof(float)),
             calloc(MOST, sizeof(float)),         calloc(MOST, sizeof(float)),
             calloc(MOST * MOST, sizeof(float))};
    for (int i = 0; tables[i]; i++) {
        int shapes = 0;
        for (int64_t D = 64; D <= 256; D *= 2)
            for (int64_t warps = 2; warps <= 8; warps *= 2)
                for (int64_t width = 4; width <= 8; width *= 2, shapes++) {
                    const serve_shape shape = {warps, width, D >= 32 * width ? 1 : 32 * width / D};
                    one_shape(tables[i], &shape, D, &l);
                }
        one_step(tables[i], &l);
        print_message("%s: %d shapes\n", tables[i]->name, shapes);
    }
    free(l.A), free(l.x), free(l.y), free(l.v);
    free(l.fA), free(l.fx), free(l.fy), free(l.fv), free(l.packed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prop_every_table_has_the_bits_of_the_twin),
    };
    return cmocka_run_group_tests_name("serving", tests, NULL, NULL);
}
