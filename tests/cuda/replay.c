/* replay.c - the kernels of src/cuda against their replay on the CPU: every output, every bit.
 *
 *   cuda_replay [CASES [FOLDER [SETTING]]]
 *
 * CASES: how many, or FIRST-LAST; FOLDER -: none; SETTING: fast or accurate alone.
 *
 * Runs CASES cases (default 24) over all generators, gates, shapes, ragged ends, grouped heads and
 * both forms on the GPU and on the CPU, and as many with the accurate kernels, and counts differing
 * elements; from case 104 on with cotangents of the final states; from case 136 on (to 183) V other
 * than D, fp16, packed sequences, and all of them at once; from case 184 on (to 207) one token from
 * states in the type of q; prints one line per case and a total for each. With FOLDER, keeps the
 * inputs and the GPU's outputs of the small cases there as safetensors, for the test that needs no
 * GPU. Exit 1 on any difference.
 */
#include "gka/replay.h"
#include "gka/cuda.h"
#include "gka/format.h"
#include "gka/io.h"

#include <cuda_runtime_api.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what, const char *why) {
    fprintf(stderr, "cuda_replay: %s: %s\n", what, why);
    exit(3);
}

static void cuda(cudaError_t code, const char *what) {
    if (code != cudaSuccess)
        die(what, cudaGetErrorString(code));
}

enum { OUTPUTS = 20 };

/* One output: where it lies on the device and on the host, and the replay's values. */
typedef struct output {
    char name[32];
    gka_dtype dtype;
    int rank;
    int64_t shape[4], count;
    void *device, *host;
    double *replayed;
} output;

typedef struct outputs {
    output item[OUTPUTS];
    int count;
} outputs;

static output *add(outputs *o, const char *name, gka_dtype dtype, int rank, int64_t s0, int64_t s1,
                   int64_t s2, int64_t s3) {
    output *const item = &o->item[o->count++];
    *item = (output){.dtype = dtype, .rank = rank, .shape = {s0, s1, s2, s3}};
    (void)snprintf(item->name, sizeof item->name, "%s", name);
    item->count = s0 * s1 * s2 * (rank == 4 ? s3 : 1);
    const size_t bytes = (size_t)item->count * gka_dtype_size(dtype);
    cuda(cudaMalloc(&item->device, bytes), name);
    cuda(cudaMemset(item->device, 0xee, bytes), name); /* what nobody writes is seen */
    item->host = malloc(bytes);
    item->replayed = calloc((size_t)item->count, sizeof *item->replayed);
    if (item->host == NULL || item->replayed == NULL)
        die(name, "out of memory");
    return item;
}

static char device_name[288];
static int64_t nans; /* elements that are NaN on both sides */

static int64_t compare(outputs *o) {
    int64_t differing = 0;
    for (int i = 0; i < o->count; i++) {
        output *const item = &o->item[i];
        const size_t size = gka_dtype_size(item->dtype);
        cuda(cudaMemcpy(item->host, item->device, (size_t)item->count * size,
                        cudaMemcpyDeviceToHost),
             item->name);
        unsigned char *const mine = malloc((size_t)item->count * size);
        if (mine == NULL)
            die(item->name, "out of memory");
        gka_encode_array(gka_format_of_dtype(item->dtype), GKA_NEAREST_EVEN, 0, 0,
                         (size_t)item->count, item->replayed, mine);
        double *const theirs = calloc((size_t)item->count, sizeof *theirs);
        if (theirs == NULL)
            die(item->name, "out of memory");
        gka_decode_array(gka_format_of_dtype(item->dtype), (size_t)item->count, item->host, theirs);
        int64_t here = 0, first = -1;
        for (int64_t j = 0; j < item->count; j++)
            if (theirs[j] != theirs[j] && item->replayed[j] != item->replayed[j])
                nans++; /* a NaN is a NaN: IEEE 754 leaves its bits open */
            else if (memcmp(mine + (size_t)j * size, (unsigned char *)item->host + (size_t)j * size,
                            size) != 0) {
                first = here == 0 ? j : first;
                here++;
            }
        if (here > 0)
            printf("    %-12s %lld of %lld differ, the first at %lld (replay %.9g)\n", item->name,
                   (long long)here, (long long)item->count, (long long)first,
                   item->replayed[first]);
        differing += here;
        free(theirs);
        free(mine);
    }
    return differing;
}

static void release(outputs *o) {
    for (int i = 0; i < o->count; i++) {
        cudaFree(o->item[i].device);
        free(o->item[i].host);
        free(o->item[i].replayed);
    }
}

/* A view's contiguous bytes on the device; NULL when absent. */
static void *upload(const gka_view *view) {
    if (view->data == NULL)
        return NULL;
    size_t count = 1;
    for (int i = 0; i < view->rank; i++)
        count *= (size_t)view->shape[i];
    void *device = NULL;
    cuda(cudaMalloc(&device, count * gka_dtype_size(view->dtype)), "input");
    cuda(
        cudaMemcpy(device, view->data, count * gka_dtype_size(view->dtype), cudaMemcpyHostToDevice),
        "input");
    return device;
}

static const int64_t *upload_bounds(const gka_problem *p) {
    if (p->cu_seqlens == NULL)
        return NULL;
    const size_t bytes = (size_t)(p->N + 1) * sizeof *p->cu_seqlens;
    void *device = NULL;
    cuda(cudaMalloc(&device, bytes), "bounds");
    cuda(cudaMemcpy(device, p->cu_seqlens, bytes, cudaMemcpyHostToDevice), "bounds");
    return device;
}

static void keep(const char *folder, int number, const gka_problem *problem, gka_form form,
                 bool accurate, outputs *o) {
    gka_tensor tensors[GKA_PROBLEM_TENSORS + OUTPUTS];
    size_t n = gka_problem_tensors(problem, tensors);
    for (int i = 0; i < o->count; i++) {
        gka_tensor *const t = &tensors[n++];
        *t = (gka_tensor){.name = o->item[i].name,
                          .dtype = o->item[i].dtype,
                          .rank = o->item[i].rank,
                          .data = o->item[i].host};
        memcpy(t->shape, o->item[i].shape, sizeof o->item[i].shape);
    }
    char path[512], ratio[40], scale[40], iterations[16];
    (void)snprintf(path, sizeof path, "%s/%s%03d.safetensors", folder,
                   accurate ? "accurate" : "case", number);
    (void)snprintf(ratio, sizeof ratio, "%.17g", problem->ridge_ratio);
    (void)snprintf(scale, sizeof scale, "%.17g", problem->scale);
    (void)snprintf(iterations, sizeof iterations, "%d", problem->num_iter);
    const gka_text_pair pairs[] = {
        {"ridge_ratio", ratio}, {"num_iter", iterations},      {"chunk_size", "64"},
        {"scale", scale},       {"form", gka_form_name(form)}, {"accurate", accurate ? "1" : "0"},
        {"source", device_name}};
    gka_error error = {0};
    if (gka_file_write(path, tensors, n, pairs, sizeof pairs / sizeof *pairs, &error) != GKA_OK)
        die(path, error.text);
}

/* One case: inputs on both sides, outputs of both. */
typedef struct kernel_case {
    gka_generator spec;
    gka_form form;
    bool accurate;
    gka_problem p;
    gka_cuda_layer layer;
    gka_cuda_gradient of_x, of_o;
    outputs o;
    gka_outputs replayed;
    double *x_low;
    int64_t bounds[8];
    bool half_states; /* one token, forward alone */
} kernel_case;

static unsigned char halved[2][2 * 4 * 128 * 256 * 2]; /* h0, u0 of such a case */

typedef struct case_shape {
    int64_t B, T, H, G, D, V;
    double a;
    int r;
} case_shape;

/* By turns: the first eight up to case 135, then the last six. */
static const case_shape shapes[] = {
    {1, 70, 2, 1, 64, 64, .02, 30},    {1, 100, 1, 1, 128, 128, .02, 30},
    {2, 256, 4, 2, 128, 128, .02, 30}, {1, 1024, 4, 4, 128, 128, .005, 60},
    {2, 333, 8, 8, 64, 64, .1, 15},    {1, 2048, 8, 2, 128, 128, .02, 30},
    {1, 1, 2, 2, 128, 128, .02, 30},   {1, 64, 2, 2, 64, 64, .02, 5},
    {1, 70, 2, 1, 64, 128, .02, 30},   {2, 130, 2, 2, 128, 64, .02, 30},
    {1, 200, 4, 2, 64, 256, .1, 15},   {2, 333, 2, 1, 128, 256, .02, 30},
    {1, 129, 2, 2, 128, 64, .005, 60}, {2, 64, 2, 2, 64, 128, .02, 5}};

enum { FIRST_SHAPES = 8, FINAL_FROM = 104, REST_FROM = 136, HALF_FROM = 184 };

static void draw_spec(int number, bool accurate, const case_shape *shape, kernel_case *c) {
    *c = (kernel_case){.form = accurate || number / 8 % 2 == 0 ? GKA_TWO_TERM : GKA_THREE_TERM,
                       .accurate = accurate,
                       .spec = {.keys = (gka_keys)(number % 5),
                                .gate = (gka_gate)(number / 3 % 4),
                                .B = shape->B,
                                .T = shape->T,
                                .H = shape->H,
                                .G = shape->G,
                                .D = shape->D,
                                .V = shape->V,
                                .alpha = number % 7 != 6,
                                .h0 = number % 4 == 1,
                                .cotangents = true,
                                .final = number >= FINAL_FROM,
                                .dtype = GKA_BF16,
                                .ridge_ratio = shape->a,
                                .num_iter = shape->r,
                                .chunk_size = 64,
                                .seed = 1000 + (uint64_t)number}};
}

/* The cases from 136 on: what the first ones never have. By turns V other than D, fp16, packed
 * sequences (one of them empty, one of a single token, one that ends with a chunk), and all. */
static void draw_rest(int number, kernel_case *c) {
    const int what = number / 6 % 4;
    const bool wide = what == 0 || what == 3, fp16 = what == 1 || what == 3, packed = what >= 2;
    gka_generator *const spec = &c->spec;
    if (packed)
        spec->B = 1;
    if (!wide)
        spec->V = spec->D;
    spec->h0 = !packed && number % 4 < 2;
    spec->dtype = fp16 ? GKA_F16 : GKA_BF16;
    spec->final = !packed && number % 3 != 0;
    if (packed) {
        const int64_t T = spec->T, bounds[] = {0, 1, 1, 1 + (T > 66 ? 64 : 5), T - 2, T};
        memcpy(c->bounds, bounds, sizeof bounds);
    }
}

/* The cases from 184 on: one token from states in the type of q, V as the shape says or D; fp16
 * every other time. The accurate setting has no such kernel: its states are in fp32. */
static void draw_half(int number, kernel_case *c) {
    c->spec.T = 1;
    c->spec.h0 = c->spec.final = true;
    c->spec.dtype = number % 2 != 0 ? GKA_F16 : GKA_BF16;
    if (number / 6 % 2 != 0)
        c->spec.V = c->spec.D;
    c->half_states = !c->accurate;
}

/* A state's numbers rounded to the type of q. */
static void halve(const gka_problem *p, gka_view *state, unsigned char *bytes) {
    const int64_t rows = p->N * p->H * p->D, width = state->shape[3];
    const gka_format *const format = gka_format_of_dtype(p->q.dtype);
    double row[256];
    for (int64_t i = 0; i < rows; i++) {
        gka_view_row(state, i / p->D / p->H, i / p->D % p->H, i % p->D, width, row);
        gka_encode_array(format, GKA_NEAREST_EVEN, 0, 0, (size_t)width, row, bytes + i * width * 2);
    }
    state->data = bytes;
    state->dtype = p->q.dtype;
    for (int64_t i = 3, stride = 1; i >= 0; stride *= state->shape[i--])
        state->stride[i] = stride;
}

static void draw(int number, bool accurate, kernel_case *c) {
    gka_error error = {0};
    const int shape = number < REST_FROM ? number % FIRST_SHAPES : FIRST_SHAPES + number % 6;
    draw_spec(number, accurate, &shapes[shape], c);
    if (number >= HALF_FROM)
        draw_half(number, c);
    else if (number >= REST_FROM)
        draw_rest(number, c);
    if (gka_problem_generate(&c->spec, &c->p, &error) != GKA_OK)
        die("generate", error.text);
    if (c->bounds[1] != 0) {
        c->p.N = 5;
        c->p.cu_seqlens = c->bounds;
    }
    if (c->half_states) {
        halve(&c->p, &c->p.h0, halved[0]);
        halve(&c->p, &c->p.u0, halved[1]);
    }
}

static void upload_inputs(kernel_case *c) {
    const gka_problem *const p = &c->p;
    c->layer = (gka_cuda_layer){.B = p->B,
                                .T = p->T,
                                .H = p->H,
                                .G = p->G,
                                .D = p->D,
                                .V = p->V,
                                .N = p->N,
                                .ridge_ratio = p->ridge_ratio,
                                .scale = p->scale,
                                .num_iter = p->num_iter,
                                .form = c->form,
                                .accurate = c->accurate,
                                .fp16 = p->q.dtype == GKA_F16,
                                .half_states = c->half_states,
                                .q = upload(&p->q),
                                .k = upload(&p->k),
                                .v = upload(&p->v),
                                .alpha = upload(&p->alpha),
                                .g = upload(&p->g),
                                .h0 = upload(&p->h0),
                                .u0 = upload(&p->u0),
                                .cu_seqlens = upload_bounds(p)};
    c->of_x.dx = upload(&p->dx);
    c->of_o.dout = upload(&p->dout);
    c->of_x.dh_final = c->of_o.dh_final = upload(&p->dh_final);
    c->of_o.du_final = upload(&p->du_final);
}

/* A place for an output on both sides. */
#define BOTH(on_gpu, on_cpu, ...)                                                                  \
    do {                                                                                           \
        output *const both = add(&c->o, __VA_ARGS__);                                              \
        (on_gpu) = both->device;                                                                   \
        (on_cpu) = both->replayed;                                                                 \
    } while (0)

static void place_outputs(kernel_case *c) {
    const int64_t B = c->p.B, T = c->p.T, H = c->p.H, G = c->p.G, D = c->p.D, V = c->p.V,
                  N = c->p.N;
    const gka_dtype half = c->p.q.dtype;
    const bool gated = c->p.g.data != NULL;
    gka_outputs *const r = &c->replayed;
    BOTH(c->layer.x, r->x, "x", half, 4, B, T, H, D);
    if (c->accurate)
        BOTH(c->layer.x_low, c->x_low, "x_low", half, 4, B, T, H, D);
    BOTH(c->layer.fro, r->fro, "fro", GKA_F32, 3, B, T, H, 1);
    BOTH(c->layer.o, r->o, "o", half, 4, B, T, H, V);
    const gka_dtype of_states = c->half_states ? half : GKA_F32;
    BOTH(c->layer.h_final, r->h_final, "h_final", of_states, 4, N, H, D, D);
    BOTH(c->layer.u_final, r->u_final, "u_final", of_states, 4, N, H, D, V);
    if (c->half_states)
        return;
    BOTH(c->of_x.dq, r->solve.dq, "solve.dq", half, 4, B, T, H, D);
    BOTH(c->of_x.dk, r->solve.dk, "solve.dk", half, 4, B, T, G, D);
    if (gated)
        BOTH(c->of_x.dg, r->solve.dg, "solve.dg", GKA_F32, 3, B, T, H, 1);
    if (c->p.h0.data != NULL)
        BOTH(c->of_x.dh0, r->solve.dh0, "solve.dh0", GKA_F32, 4, N, H, D, D);
    BOTH(c->of_o.dq, r->layer.dq, "layer.dq", half, 4, B, T, H, D);
    BOTH(c->of_o.dk, r->layer.dk, "layer.dk", half, 4, B, T, G, D);
    BOTH(c->of_o.dv, r->layer.dv, "layer.dv", half, 4, B, T, G, V);
    if (c->p.alpha.data != NULL)
        BOTH(c->of_o.dalpha, r->layer.dalpha, "layer.dalpha", half, 3, B, T, H, 1);
    if (gated)
        BOTH(c->of_o.dg, r->layer.dg, "layer.dg", GKA_F32, 3, B, T, H, 1);
}

/* T = 1: the one-token kernel writes x fro o and the states. */
static void run_kernels(kernel_case *c) {
    gka_error error = {0};
    size_t size = gka_cuda_workspace_size(&c->layer);
    const size_t more = gka_cuda_gradient_workspace_size(&c->layer, &c->of_o);
    size = size > more ? size : more;
    void *workspace = NULL;
    cuda(cudaMalloc(&workspace, size), "workspace");
    gka_status status = c->p.T == 1 && !c->accurate
                            ? gka_cuda_decode(&c->layer, NULL, &error)
                            : gka_cuda_forward(&c->layer, workspace, size, NULL, &error);
    if (status == GKA_OK && !c->half_states)
        status = gka_cuda_backward(&c->layer, &c->of_x, workspace, size, NULL, &error);
    if (status == GKA_OK && !c->half_states)
        status = gka_cuda_backward(&c->layer, &c->of_o, workspace, size, NULL, &error);
    if (status != GKA_OK)
        die("kernel", error.text);
    cuda(cudaDeviceSynchronize(), "kernel");
    cudaFree(workspace);
}

/* What a number leaves when it is rounded; infinity nothing. */
static double left_of(gka_dtype dtype, double x) {
    const double high = gka_round(gka_format_of_dtype(dtype), GKA_NEAREST_EVEN, x, 0);
    return high - high == 0 ? x - high : 0;
}

static void run_replay(kernel_case *c) {
    gka_error error = {0};
    gka_outputs *const r = &c->replayed, forward = *r, dx = {.solve = r->solve},
                       dout = {.layer = r->layer};
    forward.solve = dout.solve;
    forward.layer = dx.layer;
    const bool decode = c->p.T == 1 && !c->accurate;
    gka_status status = decode ? gka_replay_decode(&c->p, &forward, &error)
                               : gka_replay_forward(&c->p, c->form, c->accurate, &forward, &error);
    if (status == GKA_OK && !c->half_states)
        status =
            gka_replay_backward(&c->p, c->form, c->accurate, GKA_OF_X, r->x, r->fro, &dx, &error);
    if (status == GKA_OK && !c->half_states)
        status =
            gka_replay_backward(&c->p, c->form, c->accurate, GKA_OF_O, r->x, r->fro, &dout, &error);
    if (status != GKA_OK)
        die("replay", error.text);
    const int64_t count = c->p.B * c->p.T * c->p.H * c->p.D;
    for (int64_t i = 0; c->accurate && i < count; i++)
        c->x_low[i] = left_of(c->p.q.dtype, r->x[i]);
}

static void drop(kernel_case *c) {
    release(&c->o);
    const gka_cuda_layer *const l = &c->layer;
    const void *const inputs[] = {l->q,
                                  l->k,
                                  l->v,
                                  l->alpha,
                                  l->g,
                                  l->h0,
                                  l->u0,
                                  c->of_o.dout,
                                  c->of_x.dx,
                                  c->of_o.dh_final,
                                  c->of_o.du_final,
                                  l->cu_seqlens};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++)
        cudaFree((void *)(uintptr_t)inputs[i]);
    gka_problem_free(&c->p);
}

/* Cases of the fast or of the accurate kernels; what differs. */
static int64_t run_cases(int from, int to, bool accurate, const char *folder) {
    int64_t elements = 0, differing = 0;
    nans = 0;
    for (int number = from; number < to; number++) {
        kernel_case c;
        draw(number, accurate, &c);
        upload_inputs(&c);
        place_outputs(&c);
        run_kernels(&c);
        run_replay(&c);
        const gka_problem *const p = &c.p;
        const int64_t here = compare(&c.o);
        int64_t count = 0;
        for (int i = 0; i < c.o.count; i++)
            count += c.o.item[i].count;
        printf(
            "%3d  %-8s %-8s %-10s %s B %lld N %lld T %-5lld H %lld G %lld D %-3lld V %-3lld a %-5g "
            "r %-2d  %9lld elements, %lld differ\n",
            number, gka_keys_name(c.spec.keys), gka_gate_name(c.spec.gate),
            accurate ? "accurate" : gka_form_name(c.form), c.layer.fp16 ? "fp16" : "bf16",
            (long long)p->B, (long long)p->N, (long long)p->T, (long long)p->H, (long long)p->G,
            (long long)p->D, (long long)p->V, p->ridge_ratio, p->num_iter, (long long)count,
            (long long)here);
        fflush(stdout);
        elements += count;
        differing += here;
        if (folder != NULL && (number < 24 || number >= FINAL_FROM) && count < 150000)
            keep(folder, number, p, c.form, accurate, &c.o);
        drop(&c);
    }
    printf("%s: %d cases, %lld elements (%lld NaN on both sides), %lld differ\n",
           accurate ? "accurate" : "fast", to - from, (long long)elements, (long long)nans,
           (long long)differing);
    return differing;
}

int main(int argc, char **argv) {
    int from = 0, to = 23;
    if (argc > 1 && sscanf(argv[1], "%d-%d", &from, &to) != 2) {
        from = 0;
        to = atoi(argv[1]) - 1;
    }
    const char *const folder = argc > 2 && strcmp(argv[2], "-") != 0 ? argv[2] : NULL;
    const char *const setting = argc > 3 ? argv[3] : "";
    int device = 0;
    struct cudaDeviceProp properties;
    cuda(cudaGetDevice(&device), "device");
    cuda(cudaGetDeviceProperties(&properties, device), "device");
    printf("%s, compute capability %d.%d\n", properties.name, properties.major, properties.minor);

    (void)snprintf(device_name, sizeof device_name, "src/cuda on %s", properties.name);
    int64_t differing = 0;
    if (strcmp(setting, "accurate") != 0)
        differing += run_cases(from, to + 1, false, folder);
    if (strcmp(setting, "fast") != 0)
        differing += run_cases(from, to + 1, true, folder);
    return differing == 0 ? 0 : 1;
}
