/* safetensors.c - any bytes as a safetensors file, and as a problem.
 *
 * Beyond what the sanitizers see: a refusal says why in one line, an accepted file can be read
 * through, an accepted problem is accepted again, and nothing stays allocated.
 */
#include "fuzz/target.h"

#include "gka/problem.h"

#include <math.h>

static void insist_on_a_file_s_line(gka_status status, const gka_error *error) {
    insist(status == GKA_BAD_FILE && strncmp(error->text, "fuzz: ", 6) == 0);
    insist_on_a_line(status, error);
}

static void read_file(const gka_file *file, const uint8_t *data, size_t size) {
    const uint8_t *place = data;
    for (size_t i = 0; i < gka_file_count(file); i++) {
        const gka_tensor *const tensor = gka_file_tensor(file, i);
        const size_t bytes = (size_t)gka_tensor_count(tensor) * gka_dtype_size(tensor->dtype);
        const uint8_t *const begin = tensor->data;
        insist(begin >= place && bytes <= (size_t)(data + size - begin));
        place = begin + bytes;
        insist(gka_file_find(file, tensor->name) == tensor);
    }
}

/* Every token, which a small file has few of unless they are empty. */
static void read_problem(const gka_problem *p) {
    double *const x = gka_alloc((size_t)(p->D > p->V ? p->D : p->V), sizeof *x);
    if (p->H == 0 || p->B == 0 || x == NULL) {
        gka_free(x);
        return;
    }
    for (int64_t n = 0; n < p->N && p->T > 0; n++) {
        const gka_span span = gka_problem_span(p, n);
        insist(span.b < p->B && 0 <= span.begin && span.begin <= span.end && span.end <= p->T);
        for (int64_t t = span.begin; t < span.end; t++)
            for (int64_t h = 0; h < p->H; h++) {
                gka_problem_q(p, span.b, t, h, x);
                gka_problem_k(p, span.b, t, h, x);
                gka_problem_v(p, span.b, t, h, x);
                gka_problem_dx(p, span.b, t, h, x);
                gka_problem_dout(p, span.b, t, h, x);
                insist(isfinite(gka_problem_alpha(p, span.b, t, h)));
                insist(gka_problem_g(p, span.b, t, h) <= 0);
            }
    }
    gka_free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gka_error error = {0};
    gka_file *file;
    gka_status status = gka_file_from_memory("fuzz", data, size, &file, &error);
    if (status != GKA_OK) {
        insist_on_a_file_s_line(status, &error);
    } else {
        gka_problem problem;
        read_file(file, data, size);
        status = gka_problem_from_file(file, &problem, NULL, &error);
        if (status != GKA_OK) {
            insist_on_a_file_s_line(status, &error);
        } else {
            insist(gka_problem_check(&problem, "fuzz", &error) == GKA_OK);
            read_problem(&problem);
            gka_problem_free(&problem);
        }
        gka_file_close(file);
    }
    insist(gka_alloc_live() == 0);
    return 0;
}
