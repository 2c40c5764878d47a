/* golden_stream.c - goldens of long sequences, by windows of tokens.
 *
 *   pass       one profile over the sequence: windows from left to right for the forward outputs,
 *              then from right to left for the gradients, each handed to what takes it (`sink`)
 *   part       a window's outputs, and x and f of the forward pass where gradients read them
 *   states     H and U before each window, as a pass has left them
 *   values     U before each window by the recurrence over tokens (golden_local)
 *   kept       a profile's own outputs: x and f on the way left, all of what is emulated
 *   rows       sums of squares of each row, against the steps values and against local values
 */
#include "judge/golden_stream.h"

#include "gka/format.h"
#include "gka/layer.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 4096, STEPS = 0, LOCAL = 1 };
const golden_limits golden_limits_default = {.least = 1 << 14, .tokens = 2048};

#define BIT(id) (1u << JUDGE_##id)
static const unsigned RIGHT = BIT(X) | BIT(FRO) | BIT(O) | BIT(H_CHUNK), /* token outputs of */
    LEFT = BIT(SOLVE_DQ) | BIT(SOLVE_DK) | BIT(SOLVE_DG) | BIT(LAYER_DQ) | BIT(LAYER_DK) |
           BIT(LAYER_DV) | BIT(LAYER_DALPHA) | BIT(LAYER_DG),           /* each way */
    RIGHT_END = BIT(H_FINAL) | BIT(U_FINAL), LEFT_END = BIT(SOLVE_DH0); /* what is at the ends */

struct golden_stream {
    const gka_problem *problem;
    const golden_inputs *inputs;
    unsigned all, nonzero; /* bits of outputs; of these some element of the steps is not 0 */
    int64_t window, size;  /* size: doubles of H and U */
    golden_spool spool;
    int64_t exact[JUDGE_OUTPUTS], steps[JUDGE_OUTPUTS], kept[JUDGE_OUTPUTS]; /* places there */
    int64_t rows[2][JUDGE_OUTPUTS], states, exact_states, values, oracle;
    int64_t exact_chunk;         /* chunk size of exact_states */
    golden_values ends[3];       /* by golden_kind: outputs at the ends */
    golden_values part, local;   /* of a window; ends whole */
    double *ref;                 /* a window of one output */
    golden_sums *sums;           /* a window of rows */
    double *h, *u;               /* a profile's states [D,D], [D,V] */
    double most[JUDGE_OUTPUTS];  /* largest |steps| */
    gka_chunk_carry carry[2][2]; /* the pass's own and of its local values; solve, layer */
    unsigned char *bytes[5];     /* h, u, the U of local values, dh, du as views have them */
    gka_error *error;            /* of the oracle's window */
};

int64_t golden_window(const golden_limits *limits, int64_t chunk_size) {
    int64_t common = 128;
    while (common % chunk_size != 0)
        common += 128;
    return (limits->tokens + common - 1) / common * common;
}

bool golden_streams(const gka_problem *p, const golden_limits *limits) {
    return p->N == 1 && p->H == 1 && p->B == 1 && p->cu_seqlens == NULL && p->T > limits->least &&
           p->chunk_size <= golden_limits_default.tokens;
}

double golden_stream_bytes(const gka_problem *p, const golden_limits *limits) {
    const double W = (double)golden_window(limits, p->chunk_size), D = (double)p->D,
                 V = (double)p->V, states = W / (double)p->chunk_size * D * D;
    return 8 * (2 * W * (6 * D + 2 * V + 4) + 2 * states + W * fmax(D, V)) +
           32 * (sqrt(W) + 2) * D * (D + V) + (double)p->T;
}

/* ---- windows ------------------------------------------------------------------------------- */

static int64_t windows(const golden_stream *s) {
    return (s->problem->T + s->window - 1) / s->window;
}

static int64_t end_of(const golden_stream *s, int64_t begin) {
    return begin + s->window < s->problem->T ? begin + s->window : s->problem->T;
}

/* Elements of an output in n tokens. */
static int64_t count_in(const golden_stream *s, int output, int64_t n) {
    gka_problem part = *s->problem;
    part.T = n;
    return judge_count(&part, output);
}

static gka_status put_window(const golden_stream *s, const int64_t places[JUDGE_OUTPUTS],
                             int output, int64_t begin, gka_error *error) {
    return golden_spool_put(&s->spool, places[output] + count_in(s, output, begin),
                            count_in(s, output, end_of(s, begin) - begin), s->part.of[output],
                            error);
}

static gka_status get_window(const golden_stream *s, const int64_t places[JUDGE_OUTPUTS],
                             int output, int64_t begin, double *values, gka_error *error) {
    return golden_spool_get(&s->spool, places[output] + count_in(s, output, begin),
                            count_in(s, output, end_of(s, begin) - begin), values, error);
}

/* ---- states -------------------------------------------------------------------------------- */

static gka_view state_view(int64_t D, int64_t columns, const double *state, unsigned char *bytes) {
    const int64_t shape[4] = {1, 1, D, columns};
    return gka_view_of_doubles(4, shape, state, bytes);
}

/* The window's tokens from the states h, u; the first window has the problem's own. */
static gka_problem part_of(const golden_stream *s, const gka_problem *p, int64_t begin,
                           const double *h, const double *u, unsigned char *const bytes[2]) {
    gka_problem part = gka_problem_tokens(p, begin, end_of(s, begin));
    part.h0 = begin == 0 ? p->h0 : state_view(p->D, p->D, h, bytes[0]);
    if (p->V > 0)
        part.u0 = begin == 0 ? p->u0 : state_view(p->D, p->V, u, bytes[1]);
    return part;
}

static gka_status put_states(const golden_stream *s, int64_t place, int64_t begin,
                             gka_error *error) {
    const int64_t D = s->problem->D, V = s->problem->V, at = place + begin / s->window * s->size;
    gka_status status = begin == 0 ? GKA_OK : golden_spool_put(&s->spool, at, D * D, s->h, error);
    if (status == GKA_OK && begin > 0 && V > 0)
        status = golden_spool_put(&s->spool, at + D * D, D * V, s->u, error);
    return status;
}

static gka_status get_states(const golden_stream *s, int64_t place, int64_t begin,
                             gka_error *error) {
    const int64_t D = s->problem->D, V = s->problem->V, at = place + begin / s->window * s->size;
    gka_status status = begin == 0 ? GKA_OK : golden_spool_get(&s->spool, at, D * D, s->h, error);
    if (status == GKA_OK && begin > 0 && V > 0)
        status = golden_spool_get(&s->spool, at + D * D, D * V, s->u, error);
    return status;
}

/* ---- opening ------------------------------------------------------------------------------- */

static gka_status no_memory(gka_error *error) {
    return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory for the windows of a golden");
}

static bool take(double **array, int64_t count) {
    *array = gka_alloc((size_t)count, sizeof **array);
    return *array != NULL;
}

static bool take_carry(const golden_stream *s, gka_chunk_carry *carry) {
    const int64_t D = s->problem->D, V = s->problem->V;
    carry->T = s->problem->T;
    return take(&carry->E, D * D) && take(&carry->Z, D * D) && take(&carry->dU, D * V);
}

static bool allocate(golden_stream *s) {
    const int64_t D = s->problem->D, V = s->problem->V;
    int64_t longest = D * V, rows = 0;
    bool good = take(&s->h, D * D) && take(&s->u, D * V);
    for (int i = 0; i < 4 && good; i++)
        good = take_carry(s, &s->carry[i / 2][i % 2]);
    for (int i = 0; i < 5 && good; i++) {
        s->bytes[i] = gka_alloc((size_t)(D * (i % 3 == 0 ? D : V)), sizeof(double));
        good = s->bytes[i] != NULL;
    }
    for (int i = 0; i < JUDGE_OUTPUTS && good; i++) {
        if (!(s->all >> i & 1))
            continue;
        const bool end = (RIGHT_END | LEFT_END) >> i & 1;
        const int64_t count = end ? judge_count(s->problem, i) : count_in(s, i, s->window),
                      n = count / golden_row_length(s->problem, i);
        longest = count > longest ? count : longest;
        rows = n > rows ? n : rows;
        good = take(&s->part.of[i], count) &&
               (judge_outputs[i].upstream == 0 || take(&s->local.of[i], count));
        for (int kind = 0; kind < 3 && end && good; kind++)
            good = take(&s->ends[kind].of[i], count);
    }
    s->sums = gka_alloc((size_t)rows, sizeof *s->sums);
    return good && take(&s->ref, longest) && s->sums != NULL;
}

/* Cuts the spool into arrays; what is never written takes no room on the disk. */
static void place(golden_stream *s) {
    const int64_t D = s->problem->D, V = s->problem->V, n = windows(s) + 1;
    for (int i = 0; i < JUDGE_OUTPUTS; i++) {
        if (!((s->all & (RIGHT | LEFT)) >> i & 1))
            continue;
        const int64_t count = judge_count(s->problem, i);
        int64_t *const places[] = {&s->exact[i], &s->steps[i], &s->kept[i]};
        for (int k = 0; k < 3; k++)
            *places[k] = golden_spool_take(&s->spool, count);
        for (int k = 0; k < 2; k++)
            s->rows[k][i] =
                golden_spool_take(&s->spool, 2 * count / golden_row_length(s->problem, i));
    }
    s->size = D * D + D * V;
    s->states = golden_spool_take(&s->spool, n * s->size);
    s->exact_states = golden_spool_take(&s->spool, n * s->size);
    s->values = golden_spool_take(&s->spool, n * D * V);
    s->oracle = s->spool.taken; /* the last: how much a state takes is the oracle's to say */
}

gka_status golden_stream_open(const gka_problem *problem, const golden_inputs *inputs, unsigned all,
                              const golden_limits *limits, const char *path, golden_stream **stream,
                              gka_error *error) {
    golden_stream *const s = *stream = gka_alloc(1, sizeof *s);
    if (s == NULL)
        return no_memory(error);
    s->problem = problem;
    s->inputs = inputs;
    s->all = all;
    if ((all & (LEFT | LEFT_END)) != 0)
        s->all |= BIT(X) | BIT(FRO);
    s->window = golden_window(limits, problem->chunk_size);
    if (!allocate(s))
        return no_memory(error);
    const gka_status status = golden_spool_open(path, &s->spool, error);
    if (status == GKA_OK)
        place(s);
    return status;
}

void golden_stream_close(golden_stream *s) {
    if (s == NULL)
        return;
    golden_spool_close(&s->spool);
    for (int kind = 0; kind < 3; kind++)
        golden_free(&s->ends[kind]);
    golden_free(&s->part);
    golden_free(&s->local);
    for (int i = 0; i < 4; i++) {
        const gka_chunk_carry *const c = &s->carry[i / 2][i % 2];
        gka_free(c->E);
        gka_free(c->Z);
        gka_free(c->dU);
    }
    for (int i = 0; i < 5; i++)
        gka_free(s->bytes[i]);
    gka_free(s->ref);
    gka_free(s->sums);
    gka_free(s->h);
    gka_free(s->u);
    gka_free(s);
}

/* ---- exact --------------------------------------------------------------------------------- */

/* What the oracle's callbacks are told. */
typedef struct exact_pass {
    golden_stream *stream;
    unsigned outputs; /* of tokens */
    gka_error *error;
} exact_pass;

static bool exact_window(void *context, int64_t begin, int64_t end) {
    const exact_pass *const pass = context;
    const golden_stream *const s = pass->stream;
    gka_status status = GKA_OK;
    (void)end;
    for (int i = 0; i < JUDGE_OUTPUTS && status == GKA_OK; i++)
        if (pass->outputs >> i & 1)
            status = put_window(s, s->exact, i, begin, pass->error);
    golden_inputs_forget(s->inputs);
    return status == GKA_OK;
}

static int64_t oracle_state(const golden_stream *s, int64_t window, size_t size) {
    return 8 * s->oracle + window * (int64_t)size;
}

static bool keep_state(void *context, int64_t window, const void *state, size_t size) {
    const exact_pass *const pass = context;
    const golden_stream *const s = pass->stream;
    golden_inputs_forget(s->inputs);
    return golden_spool_put_bytes(&s->spool, oracle_state(s, window, size), size, state,
                                  pass->error) == GKA_OK;
}

static bool fetch_state(void *context, int64_t window, void *state, size_t size) {
    const exact_pass *const pass = context;
    const golden_stream *const s = pass->stream;
    return golden_spool_get_bytes(&s->spool, oracle_state(s, window, size), size, state,
                                  pass->error) == GKA_OK;
}

gka_status golden_stream_exact(golden_stream *s, judge_part part, unsigned wanted,
                               const gka_progress *progress, gka_oracle_report *report,
                               gka_error *error) {
    gka_error why = {0};
    gka_exact out = {0};
    unsigned outputs = 0;
    for (int i = 0; i < JUDGE_OUTPUTS; i++) {
        const judge_part own =
            judge_outputs[i].part == JUDGE_STATES ? JUDGE_FORWARD : judge_outputs[i].part;
        if (!(wanted >> i & 1) || own != part)
            continue;
        outputs |= 1u << i;
        *judge_exact(&out, i) =
            (RIGHT | LEFT) >> i & 1 ? s->part.of[i] : s->ends[GOLDEN_EXACT].of[i];
    }
    if (outputs == 0)
        return GKA_OK;
    exact_pass pass = {s, outputs & (RIGHT | LEFT), &why};
    const gka_oracle_window window = {.tokens = s->window,
                                      .full = exact_window,
                                      .keep = keep_state,
                                      .fetch = fetch_state,
                                      .context = &pass};
    const gka_oracle_options options = {
        .oracle = GKA_ORACLE_CERTIFIED, .progress = *progress, .window = &window};
    const gka_status status =
        part == JUDGE_FORWARD
            ? gka_oracle_forward(s->problem, &options, &out, NULL, report, error)
            : gka_oracle_gradient(s->problem,
                                  part == JUDGE_SOLVE ? GKA_COTANGENT_X : GKA_COTANGENT_O, &options,
                                  &out, NULL, report, error);
    golden_inputs_forget(s->inputs);
    return why.status == GKA_OK ? status : gka_fail(error, why.status, "%s", why.text);
}

/* ---- passes -------------------------------------------------------------------------------- */

typedef struct pass pass;

/* Takes the outputs (bits) of a window that lie in s->part. */
typedef gka_status window_sink(golden_stream *s, const pass *p, unsigned outputs, int64_t begin,
                               gka_error *error);

struct pass {
    const gka_problem *problem; /* its chunk size and num_iter */
    golden_kernel kernel;       /* none: the steps values themselves */
    unsigned outputs;
    unsigned wanted; /* of these, by what takes them */
    int64_t states;  /* where H and U before each window are put */
    window_sink *sink;
    golden_kind ends; /* where outputs at the ends go */
    const gka_progress *progress;
    double done, total; /* windows */
};

static gka_status step(golden_stream *s, pass *p, gka_error *error) {
    golden_inputs_forget(s->inputs);
    p->done++;
    return gka_progress_report(p->progress, p->done, p->total)
               ? GKA_OK
               : gka_fail(error, GKA_INTERRUPTED, "interrupted");
}

/* Members of a result that are window outputs of one part; whether there are any. */
static bool set_members(const golden_stream *s, unsigned outputs, judge_part part, gka_chunk *out) {
    bool some = false;
    for (int i = 0; i < JUDGE_OUTPUTS; i++)
        if (outputs >> i & 1 && judge_outputs[i].part == part) {
            *judge_chunk(out, i) = s->part.of[i];
            some = true;
        }
    return some;
}

static gka_status read_steps(golden_stream *s, unsigned outputs, int64_t begin, gka_error *error) {
    gka_status status = GKA_OK;
    for (int i = 0; i < JUDGE_OUTPUTS && status == GKA_OK; i++)
        if (outputs & (RIGHT | LEFT) & 1u << i)
            status = get_window(s, s->steps, i, begin, s->part.of[i], error);
    return status;
}

static bool computes(const pass *p) {
    return p->kernel.profile != NULL || p->kernel.policy != NULL;
}

/* The forward outputs of a window, from s->h and s->u on to those after it. */
static gka_status forward(golden_stream *s, const pass *p, int64_t begin, gka_error *error) {
    const gka_problem part = part_of(s, p->problem, begin, s->h, s->u, s->bytes);
    gka_chunk out = {.h_final = s->h, .u_final = part.V > 0 ? s->u : NULL};
    (void)set_members(s, p->outputs & RIGHT, JUDGE_FORWARD, &out);
    (void)set_members(s, p->outputs & RIGHT, JUDGE_STATES, &out);
    if (p->kernel.profile != NULL)
        return gka_chunk_forward(&part, p->kernel.profile, &out, NULL, NULL, error);
    const gka_layer_options options = golden_by_tokens_options(p->problem, p->kernel.policy);
    gka_layer tokens = {
        .x = out.x, .fro = out.fro, .o = out.o, .h_final = out.h_final, .u_final = out.u_final};
    return gka_layer_forward(&part, &options, &tokens, NULL, error);
}

/* The gradients of a window, of the solve or of the layer; s->carry[0] goes on to what its left end
 * sends back: token by token the cotangents of its initial states. */
static gka_status backward(golden_stream *s, const pass *p, bool layer, int64_t begin,
                           gka_error *error) {
    gka_problem part = part_of(s, p->problem, begin, s->h, s->u, s->bytes);
    const gka_chunk_carry carry = s->carry[0][layer];
    gka_chunk out = {0};
    if (!set_members(s, p->outputs, layer ? JUDGE_LAYER : JUDGE_SOLVE, &out))
        return GKA_OK;
    if (p->kernel.profile != NULL) {
        const gka_chunk_given given = {
            .x = s->part.of[JUDGE_X], .fro = s->part.of[JUDGE_FRO], .carry = carry};
        return gka_chunk_backward(&part, p->kernel.profile,
                                  layer ? GKA_CHUNK_LAYER : GKA_CHUNK_SOLVE, true, &given, &out,
                                  error);
    }
    const gka_layer_options options = golden_by_tokens_options(p->problem, p->kernel.policy);
    gka_layer tokens = {.dq = out.dq,
                        .dk = out.dk,
                        .dv = out.dv,
                        .dalpha = out.dalpha,
                        .dg = out.dg,
                        .dh0 = carry.E,
                        .du0 = layer ? carry.dU : NULL};
    part.dh_final = state_view(part.D, part.D, carry.E, s->bytes[3]);
    if (layer)
        part.du_final = state_view(part.D, part.V, carry.dU, s->bytes[4]);
    const gka_status status = gka_layer_gradient(&part, layer ? GKA_LAYER_OF_O : GKA_LAYER_OF_X,
                                                 &options, &tokens, NULL, error);
    if (out.dh0 != NULL)
        memcpy(out.dh0, carry.E, (size_t)(part.D * part.D) * sizeof *carry.E);
    return status;
}

/* What the cotangents of the final states send back. */
static void start_carry(golden_stream *s, const pass *p) {
    for (int layer = 0; layer < 2; layer++) {
        const gka_chunk_carry *const carry = &s->carry[0][layer];
        if (p->kernel.profile != NULL) {
            gka_chunk_carry_start(p->problem, p->kernel.profile, carry);
        } else if (p->kernel.policy != NULL) {
            gka_problem_dh_final(p->problem, 0, 0, carry->E);
            gka_problem_du_final(p->problem, 0, 0, carry->dU);
        }
    }
}

/* From left to right. s->h and s->u are the profile's states and go on. */
static gka_status go_right(golden_stream *s, pass *p, gka_error *error) {
    const gka_problem *const problem = p->problem;
    const unsigned outputs = p->outputs & RIGHT;
    const bool back = (p->outputs & (LEFT | LEFT_END)) != 0;
    gka_status status = GKA_OK;
    for (int64_t begin = 0; begin < problem->T && status == GKA_OK; begin += s->window) {
        if (!computes(p)) {
            status = read_steps(s, outputs, begin, error);
        } else {
            status = put_states(s, p->states, begin, error);
            if (status == GKA_OK)
                status = forward(s, p, begin, error);
            for (int i = JUDGE_X; i <= JUDGE_FRO && status == GKA_OK && back; i++)
                status = put_window(s, s->kept, i, begin, error);
        }
        if (status == GKA_OK)
            status = p->sink(s, p, outputs, begin, error);
        if (status == GKA_OK)
            status = step(s, p, error);
    }
    for (int i = 0; i < 2 && status == GKA_OK; i++) {
        const int output = i == 0 ? JUDGE_H_FINAL : JUDGE_U_FINAL;
        const double *const from = !computes(p) ? s->ends[GOLDEN_STEPS].of[output]
                                   : i == 0     ? s->h
                                                : s->u;
        if (p->outputs >> output & 1)
            memcpy(s->ends[p->ends].of[output], from,
                   (size_t)judge_count(problem, output) * sizeof *from);
    }
    return status;
}

/* The gradients of one window, at the kernel's own x and f. */
static gka_status gradients(golden_stream *s, const pass *p, int64_t begin, gka_error *error) {
    gka_status status = get_states(s, p->states, begin, error);
    for (int i = JUDGE_X; i <= JUDGE_FRO && status == GKA_OK; i++)
        status = get_window(s, s->kept, i, begin, s->part.of[i], error);
    for (int layer = 0; layer < 2 && status == GKA_OK; layer++)
        status = backward(s, p, layer == 1, begin, error);
    return status;
}

/* From right to left. */
static gka_status go_left(golden_stream *s, pass *p, gka_error *error) {
    const unsigned outputs = p->outputs & LEFT;
    gka_status status = GKA_OK;
    start_carry(s, p);
    for (int64_t i = windows(s) - 1; i >= 0 && status == GKA_OK; i--) {
        const int64_t begin = i * s->window;
        status = computes(p) ? gradients(s, p, begin, error)
                             : read_steps(s, outputs | BIT(X) | BIT(FRO), begin, error);
        if (status == GKA_OK)
            status = p->sink(s, p, outputs, begin, error);
        if (status == GKA_OK)
            status = step(s, p, error);
    }
    if (status == GKA_OK && p->outputs & LEFT_END)
        memcpy(s->ends[p->ends].of[JUDGE_SOLVE_DH0],
               computes(p) ? s->part.of[JUDGE_SOLVE_DH0]
                           : s->ends[GOLDEN_STEPS].of[JUDGE_SOLVE_DH0],
               (size_t)judge_count(s->problem, JUDGE_SOLVE_DH0) * sizeof(double));
    return status;
}

static gka_status run(golden_stream *s, pass *p, gka_error *error) {
    const bool left = (p->outputs & (LEFT | LEFT_END)) != 0;
    p->total = (double)(windows(s) * (left ? 2 : 1));
    gka_status status = go_right(s, p, error);
    if (status == GKA_OK && left)
        status = go_left(s, p, error);
    return status;
}

/* ---- steps --------------------------------------------------------------------------------- */

bool golden_stream_zero(const golden_stream *s, int output) {
    return !(s->nonzero >> output & 1);
}

static void look(golden_stream *s, int output, int64_t count, const double *values) {
    s->most[output] = golden_most(count, values, s->most[output]);
    for (int64_t i = 0; i < count && golden_stream_zero(s, output); i++)
        s->nonzero |= (values[i] < 0 || values[i] > 0 ? 1u : 0u) << output;
}

static gka_status take_steps(golden_stream *s, const pass *p, unsigned outputs, int64_t begin,
                             gka_error *error) {
    gka_status status = GKA_OK;
    (void)p;
    for (int i = 0; i < JUDGE_OUTPUTS && status == GKA_OK; i++) {
        if (!(outputs >> i & 1))
            continue;
        look(s, i, count_in(s, i, end_of(s, begin) - begin), s->part.of[i]);
        status = put_window(s, s->steps, i, begin, error);
    }
    return status;
}

/* U before each window by the recurrence over tokens. */
static gka_status make_values(golden_stream *s, gka_error *error) {
    const gka_problem *const p = s->problem;
    const int64_t DV = p->D * p->V;
    gka_status status = GKA_OK;
    for (int64_t begin = 0; begin < p->T && status == GKA_OK && DV > 0; begin += s->window) {
        const gka_problem part = part_of(s, p, begin, s->h, s->u, s->bytes);
        status = golden_values_after(&part, s->u, error);
        if (status == GKA_OK)
            status = golden_spool_put(&s->spool, s->values + (begin / s->window + 1) * DV, DV, s->u,
                                      error);
        golden_inputs_forget(s->inputs);
    }
    return status;
}

gka_status golden_stream_steps(golden_stream *s, const gka_progress *progress, gka_error *error) {
    gka_profile exact64;
    gka_status status = gka_profile_find("exact64", &exact64, error);
    pass p = {.problem = s->problem,
              .kernel = {.profile = &exact64},
              .outputs = s->all,
              .states = s->exact_states,
              .sink = take_steps,
              .ends = GOLDEN_STEPS,
              .progress = progress};
    s->exact_chunk = s->problem->chunk_size;
    if (status == GKA_OK)
        status = make_values(s, error);
    if (status == GKA_OK)
        status = run(s, &p, error);
    for (int i = 0; i < JUDGE_OUTPUTS && status == GKA_OK; i++)
        if (s->all & (RIGHT_END | LEFT_END) & 1u << i)
            look(s, i, judge_count(s->problem, i), s->ends[GOLDEN_STEPS].of[i]);
    return status;
}

/* ---- errors -------------------------------------------------------------------------------- */

static void store(const golden_stream *s, int output, int64_t count, double *values) {
    gka_round_array(gka_format_of_dtype(judge_dtype(s->problem, output)), GKA_NEAREST_EVEN, 0, 0,
                    (size_t)count, values, values);
}

/* The sums of one output's rows in a window, to their place. */
static gka_status add_rows(golden_stream *s, int which, int output, int64_t begin,
                           const double *ref, gka_error *error) {
    const int64_t n = golden_row_length(s->problem, output),
                  rows = count_in(s, output, end_of(s, begin) - begin) / n,
                  first = count_in(s, output, begin) / n;
    const double scale = golden_scale(s->most[output]);
    for (int64_t i = 0; i < rows; i++)
        s->sums[i] = golden_row_sums(n, scale, s->part.of[output] + i * n, ref + i * n);
    return golden_spool_put_bytes(&s->spool, 8 * (s->rows[which][output] + 2 * first),
                                  (size_t)rows * sizeof *s->sums, s->sums, error);
}

/* H and U of exact64 before each window at another chunk size: states alone, one iteration. */
static gka_status make_exact_states(golden_stream *s, const gka_problem *problem,
                                    gka_error *error) {
    gka_problem p = *problem;
    gka_profile exact64;
    p.num_iter = 1;
    gka_status status = gka_profile_find("exact64", &exact64, error);
    for (int64_t begin = 0; begin < p.T && status == GKA_OK; begin += s->window) {
        const gka_problem part = part_of(s, &p, begin, s->h, s->u, s->bytes);
        gka_chunk out = {.h_final = s->h, .u_final = p.V > 0 ? s->u : NULL};
        status = put_states(s, s->exact_states, begin, error);
        if (status == GKA_OK)
            status = gka_chunk_forward(&part, &exact64, &out, NULL, NULL, error);
        golden_inputs_forget(s->inputs);
    }
    s->exact_chunk = p.chunk_size;
    return status;
}

/* Local values of a window's outputs, at what is in s->part. */
static gka_status make_local(golden_stream *s, const pass *p, unsigned outputs, int64_t begin,
                             gka_error *error) {
    const int64_t D = p->problem->D, V = p->problem->V;
    gka_status status = GKA_OK;
    /* On the way right s->h and s->u are the pass's own, and nothing but U by tokens is needed. */
    const bool left = (outputs & (LEFT | LEFT_END)) != 0;
    if (left)
        status = get_states(s, s->exact_states, begin, error);
    const gka_problem part = left ? part_of(s, p->problem, begin, s->h, s->u, s->bytes)
                                  : gka_problem_tokens(p->problem, begin, end_of(s, begin));
    gka_problem by_tokens = part;
    if (status == GKA_OK && V > 0 && begin > 0)
        status = golden_spool_get(&s->spool, s->values + begin / s->window * D * V, D * V, s->ref,
                                  error);
    by_tokens.u0 = begin == 0 ? p->problem->u0
                   : V > 0    ? state_view(D, V, s->ref, s->bytes[2])
                              : (gka_view){0};
    const golden_piece piece = {&part, &by_tokens, s->carry[1][0], s->carry[1][1]};
    return status == GKA_OK ? golden_local_of(&piece, outputs, &s->part, &s->local, error) : status;
}

static gka_status take_errors(golden_stream *s, const pass *p, unsigned outputs, int64_t begin,
                              gka_error *error) {
    const bool left = (outputs & LEFT) != 0;
    const unsigned stored = left ? outputs | BIT(X) | BIT(FRO) : outputs,
                   wanted = p->wanted & (left ? LEFT | LEFT_END : RIGHT);
    for (int i = 0; i < JUDGE_OUTPUTS; i++)
        if (stored >> i & 1)
            store(s, i, count_in(s, i, end_of(s, begin) - begin), s->part.of[i]);
    gka_status status = make_local(s, p, wanted, begin, error);
    for (int i = 0; i < JUDGE_OUTPUTS && status == GKA_OK; i++) {
        if (!(wanted & (RIGHT | LEFT) & 1u << i))
            continue;
        status = get_window(s, s->steps, i, begin, s->ref, error);
        if (status == GKA_OK)
            status = add_rows(s, STEPS, i, begin, s->ref, error);
        if (status == GKA_OK && judge_outputs[i].upstream != 0)
            status = add_rows(s, LOCAL, i, begin, s->local.of[i], error);
    }
    return status;
}

/* All rows in their order: adds them up, or (most not NULL) finds the worst of those that add up to
 * `all`. */
static gka_status all_rows(golden_stream *s, int which, int output, golden_sums *all, double *most,
                           gka_error *error) {
    const int64_t rows = judge_count(s->problem, output) / golden_row_length(s->problem, output);
    const double scale = golden_scale(s->most[output]);
    golden_sums block[BLOCK];
    gka_status status = GKA_OK;
    for (int64_t i = 0; i < rows && status == GKA_OK; i += BLOCK) {
        const int64_t n = rows - i < BLOCK ? rows - i : BLOCK;
        status = golden_spool_get_bytes(&s->spool, 8 * (s->rows[which][output] + 2 * i),
                                        (size_t)n * sizeof *block, block, error);
        for (int64_t j = 0; j < n && status == GKA_OK; j++)
            if (most == NULL)
                golden_add_row(all, block[j]);
            else
                (void)golden_worse_row(*all, rows, scale, block[j], most);
    }
    return status;
}

static gka_status total(golden_stream *s, int which, int output, golden_error *e,
                        gka_error *error) {
    golden_sums all = {0, 0};
    e->row = -1;
    gka_status status = all_rows(s, which, output, &all, NULL, error);
    if (status == GKA_OK)
        status = all_rows(s, which, output, &all, &e->row, error);
    e->rel = golden_rel(all, golden_scale(s->most[output]));
    return status;
}

static gka_status error_of(golden_stream *s, int output, golden_error *e, gka_error *error) {
    golden_error local;
    if ((RIGHT_END | LEFT_END) >> output & 1) {
        double *const own = s->ends[GOLDEN_EMULATED].of[output];
        store(s, output, judge_count(s->problem, output), own);
        *e = golden_error_of(s->problem, output, own, s->ends[GOLDEN_STEPS].of[output],
                             judge_outputs[output].upstream != 0 ? s->local.of[output] : NULL);
        return GKA_OK;
    }
    gka_status status = total(s, STEPS, output, e, error);
    if (status != GKA_OK || judge_outputs[output].upstream == 0)
        return status;
    status = total(s, LOCAL, output, &local, error);
    *e = golden_nearer(*e, local);
    return status;
}

gka_status golden_stream_errors(golden_stream *s, golden_kernel kernel, const gka_problem *problem,
                                unsigned wanted, const gka_progress *progress,
                                golden_error errors[JUDGE_OUTPUTS], gka_error *error) {
    unsigned outputs = s->all;
    if (problem->chunk_size != s->problem->chunk_size || kernel.policy != NULL)
        outputs &= ~BIT(H_CHUNK);
    if ((wanted & ~RIGHT & ~RIGHT_END) == 0)
        outputs &= RIGHT | RIGHT_END;
    pass p = {.problem = problem,
              .kernel = kernel,
              .outputs = outputs,
              .wanted = wanted,
              .states = s->states,
              .sink = take_errors,
              .ends = GOLDEN_EMULATED,
              .progress = progress};
    gka_profile exact64;
    gka_status status = gka_profile_find("exact64", &exact64, error);
    for (int layer = 0; layer < 2 && status == GKA_OK; layer++)
        gka_chunk_carry_start(problem, &exact64, &s->carry[1][layer]);
    if (status == GKA_OK && (outputs & LEFT) != 0 && problem->chunk_size != s->exact_chunk)
        status = make_exact_states(s, problem, error);
    if (status == GKA_OK)
        status = run(s, &p, error);
    for (int i = 0; i < JUDGE_OUTPUTS; i++) {
        errors[i] = (golden_error){NAN, NAN};
        if (status == GKA_OK && (wanted & outputs) >> i & 1)
            status = error_of(s, i, &errors[i], error);
    }
    return status;
}

/* ---- what is emulated ---------------------------------------------------------------------- */

static gka_status take_own(golden_stream *s, const pass *p, unsigned outputs, int64_t begin,
                           gka_error *error) {
    gka_status status = GKA_OK;
    (void)p;
    for (int i = 0; i < JUDGE_OUTPUTS && status == GKA_OK; i++)
        if (outputs >> i & 1)
            status = put_window(s, s->kept, i, begin, error);
    return status;
}

gka_status golden_stream_emulate(golden_stream *s, const gka_profile *profile,
                                 const gka_progress *progress, gka_error *error) {
    pass p = {.problem = s->problem,
              .kernel = {.profile = profile},
              .outputs = s->all,
              .states = s->states,
              .sink = take_own,
              .ends = GOLDEN_EMULATED,
              .progress = progress};
    return run(s, &p, error);
}

/* ---- writing ------------------------------------------------------------------------------- */

gka_status golden_stream_write(golden_stream *s, int output, golden_kind kind, gka_writer *writer,
                               gka_error *error) {
    const int64_t count = judge_count(s->problem, output);
    const int64_t *const places[] = {s->exact, s->steps, s->kept};
    const bool spooled = (RIGHT | LEFT) >> output & 1;
    const gka_dtype dtype = kind == GOLDEN_EMULATED ? judge_dtype(s->problem, output) : GKA_F64;
    gka_status status = GKA_OK;
    for (int64_t i = 0; i < count && status == GKA_OK; i += BLOCK) {
        const int64_t n = count - i < BLOCK ? count - i : BLOCK;
        double block[BLOCK];
        unsigned char bytes[8 * BLOCK];
        if (spooled)
            status = golden_spool_get(&s->spool, places[kind][output] + i, n, block, error);
        else
            memcpy(block, s->ends[kind].of[output] + i, (size_t)n * sizeof *block);
        if (status != GKA_OK)
            return status;
        golden_encode(dtype, (size_t)n, block, bytes);
        status = gka_writer_append(writer, bytes, (size_t)n * gka_dtype_size(dtype), error);
    }
    return status;
}
