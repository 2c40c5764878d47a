/* candidate.c - any bytes as a candidate, judged by a golden (fuzz/golden.h).
 *
 * The first byte says how it is judged; the rest is the file. Beyond what the sanitizers see: a
 * refusal says why in one line, a verdict's counts fit its rows, and nothing stays allocated.
 */
#include "fuzz/golden.h"

static gka_golden_options options_of(unsigned char bits) {
    return (gka_golden_options){.heads_first = bits & 1,
                                .by_exact = bits >> 1 & 1,
                                .all_required = bits >> 2 & 1,
                                .gradients = (gka_gradient_kind)((bits >> 3 & 3) % 3),
                                .given = (bits >> 5 & 1) * GKA_GIVEN_X};
}

static void insist_on_counts(const gka_golden_verdict *v) {
    size_t missing = 0, judged = 0;
    for (size_t i = 0; i < v->row_count; i++) {
        missing += v->rows[i].tensor == NULL;
        judged += v->rows[i].tensor != NULL && v->rows[i].judged.ok != GKA_MEASURED;
    }
    insist(missing == v->missing && judged == v->judged);
    insist(v->missing + v->judged + v->unjudged == v->row_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static unsigned char bytes[4096];
    gka_error error = {0};
    gka_file *golden = NULL, *candidate = NULL;
    if (size == 0)
        return 0;
    const size_t length = fuzz_file(bytes, FUZZ_GOLDEN_HEADER, FUZZ_GOLDEN_DATA);
    insist(gka_file_from_memory("golden", bytes, length, &golden, &error) == GKA_OK);
    fuzz_put_hash(golden);
    gka_status status = gka_file_from_memory("fuzz", data + 1, size - 1, &candidate, &error);
    if (status == GKA_OK) {
        const gka_golden_options options = options_of(data[0]);
        gka_golden_verdict verdict;
        status = gka_golden_judge(candidate, golden, &options, &verdict, &error);
        if (status == GKA_OK)
            insist_on_counts(&verdict);
        gka_golden_verdict_free(&verdict);
    }
    if (status != GKA_OK)
        insist_on_a_line(status, &error);
    gka_file_close(candidate);
    gka_file_close(golden);
    insist(gka_alloc_live() == 0);
    return 0;
}
