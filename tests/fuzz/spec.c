/* spec.c - any text as the spec of a golden.
 *
 * Beyond what the sanitizers see: a refusal says why in one line; what is accepted is written as
 * JSON that is accepted again, and as the same.
 */
#include "fuzz/target.h"

#include "gka/golden.h"
#include "golden/spec.h"

/* Owned. */
static char *written(const gka_golden_spec *spec) {
    gka_error error = {0};
    char *text = NULL;
    insist(gka_golden_spec_text(spec, false, &text, &error) == GKA_OK);
    return text;
}

static void insist_on_a_way_back(const gka_golden_spec *spec) {
    gka_golden_spec again;
    gka_error error = {0};
    char *const first = written(spec);
    gka_golden_spec_start(&again);
    insist(gka_golden_spec_read(&again, first, &error) == GKA_OK);
    char *const second = written(&again);
    insist(strcmp(first, second) == 0);
    gka_free(first);
    gka_free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gka_golden_spec spec;
    gka_error error = {0};
    char *const text = malloc(size + 1);
    insist(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    gka_golden_spec_start(&spec);
    const gka_status status = gka_golden_spec_read(&spec, text, &error);
    if (status == GKA_OK) {
        insist_on_a_way_back(&spec);
    } else {
        insist(status == GKA_BAD_ARGUMENT);
        insist_on_a_line(status, &error);
    }
    free(text);
    insist(gka_alloc_live() == 0);
    return 0;
}
