/* inputs.c - the inputs of a golden that is streamed. */
#include "golden/inputs.h"

#include "io/pages.h"
#include "problem/tensors.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Where the whole of each tensor lies in the spool. */
typedef struct places {
    gka_tensor tensors[PROBLEM_VIEWS]; /* of all tokens; name NULL: there is none so far */
    size_t at[PROBLEM_VIEWS];
    size_t end;
} places;

static size_t bytes_of(const gka_tensor *tensor) {
    return (size_t)gka_tensor_count(tensor) * gka_dtype_size(tensor->dtype);
}

/* The tensors of tokens from `begin` on of T at their places. */
static gka_status write_part(const golden_inputs *in, const gka_problem *part, int64_t begin,
                             int64_t T, places *p, gka_error *error) {
    gka_tensor tensors[GKA_PROBLEM_TENSORS];
    const size_t count = gka_problem_tensors(part, tensors);
    gka_status status = GKA_OK;
    for (size_t n = 0; n < count && status == GKA_OK; n++) {
        const gka_tensor *const tensor = &tensors[n];
        int i = 0;
        while (strcmp(gka_problem_views[i].name, tensor->name) != 0)
            i++;
        const bool tokens = gka_problem_views[i].letters[0] == 'B';
        if (p->tensors[i].name == NULL) {
            p->tensors[i] = *tensor;
            if (tokens)
                p->tensors[i].shape[1] = T;
            p->at[i] = p->end;
            p->end += (bytes_of(&p->tensors[i]) + 63) / 64 * 64;
        }
        const size_t row = tokens ? bytes_of(&p->tensors[i]) / (size_t)T : 0;
        status = gka_golden_spool_put_bytes(&in->spool, (int64_t)(p->at[i] + (size_t)begin * row),
                                            bytes_of(tensor), tensor->data, error);
    }
    return status;
}

/* The views of all tokens, now that everything is written. */
static gka_status map(golden_inputs *in, const places *p, gka_problem *problem, gka_error *error) {
    in->size = p->end;
    if (ftruncate(fileno(in->spool.file), (off_t)in->size) == 0)
        in->bytes = gka_pages_map(fileno(in->spool.file), in->size, true);
    if (in->bytes == NULL)
        return gka_fail(error, errno == ENOMEM ? GKA_OUT_OF_MEMORY : GKA_IO,
                        "the inputs' spool cannot be mapped: %s", strerror(errno));
    for (int i = 0; i < PROBLEM_VIEWS; i++) {
        gka_tensor tensor = p->tensors[i];
        *gka_problem_view(problem, i) = (gka_view){0};
        if (tensor.name == NULL)
            continue;
        tensor.data = (const char *)in->bytes + p->at[i];
        *gka_problem_view(problem, i) = gka_view_of(&tensor);
    }
    return GKA_OK;
}

gka_status gka_golden_inputs_make(const gka_generator *generator, int64_t window, const char *path,
                                  golden_inputs *inputs, gka_problem *problem, gka_error *error) {
    const int64_t T = generator->T;
    places p = {0};
    bool asymmetric = false;
    *inputs = (golden_inputs){0};
    *problem = (gka_problem){0};
    gka_status status = gka_golden_spool_open(path, &inputs->spool, error);
    for (int64_t begin = 0; begin < T && status == GKA_OK; begin += window) {
        const int64_t end = begin + window < T ? begin + window : T;
        gka_problem part;
        status = gka_problem_generate_tokens(generator, begin, end, &part, error);
        if (status != GKA_OK)
            break;
        status = write_part(inputs, &part, begin, T, &p, error);
        asymmetric = asymmetric || part.h0_asymmetric;
        *problem = part;
        gka_problem_free(&part);
    }
    problem->owned = NULL;
    problem->T = T;
    problem->h0_asymmetric = asymmetric;
    if (status == GKA_OK)
        status = map(inputs, &p, problem, error);
    if (status != GKA_OK)
        *problem = (gka_problem){0};
    return status;
}

void gka_golden_inputs_forget(const golden_inputs *inputs) {
    if (inputs->file != NULL)
        gka_file_forget(inputs->file);
    else if (inputs->bytes != NULL)
        gka_pages_forget(inputs->bytes, inputs->size);
}

void gka_golden_inputs_free(golden_inputs *inputs) {
    if (inputs->bytes != NULL)
        gka_pages_unmap(inputs->bytes, inputs->size);
    gka_golden_spool_close(&inputs->spool);
    *inputs = (golden_inputs){0};
}
