/* golden.c - a stranger's program: makes a golden, then judges by it what a kernel gave. The kernel
 * here is a copier of the golden's own r-step values, right but for what `mistake` makes of dk. */
#include <gka/golden.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 16 };

/* The candidate: every tensor NAME.steps of the golden as NAME. */
static gka_status run_kernel(const gka_file *golden, bool mistake, const char *path,
                             gka_error *error) {
    gka_tensor tensors[MOST];
    size_t count = 0;
    void *zeros = NULL;
    for (const char *const *name = gka_verify_names; *name != NULL; name++) {
        char steps[64];
        snprintf(steps, sizeof steps, "%s.steps", *name);
        const gka_tensor *const tensor = gka_file_find(golden, steps);
        if (tensor == NULL)
            continue;
        tensors[count] = *tensor;
        tensors[count].name = *name;
        if (mistake && strcmp(*name, "solve.dk") == 0)
            tensors[count].data = zeros =
                calloc((size_t)gka_tensor_count(tensor), gka_dtype_size(tensor->dtype));
        count++;
    }
    const gka_status status = gka_file_write(path, tensors, count, NULL, 0, error);
    free(zeros);
    return status;
}

static gka_status judge(const gka_file *golden, bool mistake, gka_error *error) {
    gka_file *file = NULL;
    gka_golden_verdict verdict = {0};
    gka_status status = run_kernel(golden, mistake, "candidate.safetensors", error);
    if (status == GKA_OK)
        status = gka_file_open("candidate.safetensors", &file, error);
    if (status == GKA_OK)
        status = gka_golden_judge(file, golden, NULL, &verdict, error);
    if (status == GKA_OK)
        printf("%zu judged, %zu failed", verdict.judged, verdict.failed);
    for (size_t i = 0; i < verdict.row_count; i++)
        if (verdict.rows[i].judged.ok == GKA_FAIL)
            printf(": %s, %.0f%% off", verdict.rows[i].name, 100 * verdict.rows[i].judged.rel_err);
    puts("");
    gka_golden_verdict_free(&verdict);
    gka_file_close(file);
    return status;
}

int main(void) {
    gka_golden_spec spec;
    gka_file *golden = NULL;
    gka_error error = {0};
    gka_golden_spec_start(&spec);
    gka_status status =
        gka_golden_spec_read(&spec, "{\"T\": 24, \"D\": 16, \"V\": 16, \"chunk\": 16}", &error);
    if (status == GKA_OK)
        status = gka_golden_generate(&spec, NULL, "golden.safetensors", NULL, &error);
    if (status == GKA_OK)
        status = gka_file_open("golden.safetensors", &golden, &error);
    for (int mistake = 0; mistake <= 1 && status == GKA_OK; mistake++)
        status = judge(golden, mistake, &error);
    gka_file_close(golden);
    if (status != GKA_OK)
        fprintf(stderr, "%s\n", error.text);
    return status == GKA_OK ? 0 : 1;
}
