/* stream.c - goldens of long sequences, by windows of tokens: opening, exact values,
 * writing.
 */
#include "golden/window.h"

#include "gka/format.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 4096 };
const golden_limits gka_golden_limits_default = {.least = 1 << 14, .tokens = 2048};

int64_t gka_golden_window(const golden_limits *limits, int64_t chunk_size) {
    int64_t common = 128;
    while (common % chunk_size != 0)
        common += 128;
    return (limits->tokens + common - 1) / common * common;
}

bool gka_golden_streams(const gka_problem *p, const golden_limits *limits) {
    return p->N == 1 && p->H == 1 && p->B == 1 && p->cu_seqlens == NULL && p->T > limits->least &&
           p->chunk_size <= gka_golden_limits_default.tokens;
}

double gka_golden_stream_bytes(const gka_problem *p, const golden_limits *limits) {
    const double W = (double)gka_golden_window(limits, p->chunk_size), D = (double)p->D,
                 V = (double)p->V;
    const double lane = 8 * W * (7 * D + 4 * V + 9) + 16 * (W / (double)p->chunk_size) * D * D,
                 oracle = 32 * (sqrt(W) + 2) * D * (D + V) + 16 * W * (D + V) + (double)p->T +
                          450 * D * (D + 2 * V);
    return lane + fmax(oracle, (gka_threads() - 1) * lane);
}

/* ---- windows ------------------------------------------------------------------------------- */

int64_t gka_golden_windows(const golden_stream *s) {
    return (s->problem->T + s->window - 1) / s->window;
}

int64_t gka_golden_window_end(const golden_stream *s, int64_t begin) {
    return begin + s->window < s->problem->T ? begin + s->window : s->problem->T;
}

/* Elements of an output in n tokens. */
int64_t gka_golden_window_count(const golden_stream *s, int output, int64_t n) {
    gka_problem part = *s->problem;
    part.T = n;
    return gka_output_count(&part, output);
}

/* Where a window's values of an output lie, and how many they are. */
static int64_t window_at(const golden_stream *s, const int64_t places[GKA_OUTPUTS], int output,
                         int64_t begin, int64_t *count) {
    *count = gka_golden_window_count(s, output, gka_golden_window_end(s, begin) - begin);
    return places[output] + gka_golden_window_count(s, output, begin);
}

gka_status gka_golden_put_window(const golden_stream *s, const int64_t places[GKA_OUTPUTS],
                                 int output, int64_t begin, gka_error *error) {
    int64_t count;
    const int64_t at = window_at(s, places, output, begin, &count);
    return gka_golden_spool_put(&s->spool, at, count, s->part.of[output], error);
}

gka_status gka_golden_get_window(const golden_stream *s, const int64_t places[GKA_OUTPUTS],
                                 int output, int64_t begin, double *values, gka_error *error) {
    int64_t count;
    const int64_t at = window_at(s, places, output, begin, &count);
    return gka_golden_spool_get(&s->spool, at, count, values, error);
}

/* ---- states -------------------------------------------------------------------------------- */

gka_view gka_golden_state_view(int64_t D, int64_t columns, const double *state,
                               unsigned char *bytes) {
    const int64_t shape[4] = {1, 1, D, columns};
    return gka_view_of_doubles(4, shape, state, bytes);
}

/* The window's tokens from the states h, u; the first window has the problem's own. */
gka_problem gka_golden_window_of(const golden_stream *s, const gka_problem *p, int64_t begin,
                                 const double *h, const double *u, unsigned char *const bytes[2]) {
    gka_problem part = gka_problem_tokens(p, begin, gka_golden_window_end(s, begin));
    part.h0 = begin == 0 ? p->h0 : gka_golden_state_view(p->D, p->D, h, bytes[0]);
    if (p->V > 0)
        part.u0 = begin == 0 ? p->u0 : gka_golden_state_view(p->D, p->V, u, bytes[1]);
    return part;
}

/* s->h and s->u, to their place before a window (of all but the first) or from there. */
static gka_status move_states(const golden_stream *s, int64_t place, int64_t begin, bool put,
                              gka_error *error) {
    const int64_t D = s->problem->D, V = s->problem->V, at = place + begin / s->window * s->size;
    double *const states[] = {s->h, s->u};
    const int64_t places[] = {at, at + D * D}, counts[] = {D * D, D * V};
    gka_status status = GKA_OK;
    for (int i = 0; i < 2 && begin > 0 && counts[i] > 0 && status == GKA_OK; i++)
        status = put ? gka_golden_spool_put(&s->spool, places[i], counts[i], states[i], error)
                     : gka_golden_spool_get(&s->spool, places[i], counts[i], states[i], error);
    return status;
}

gka_status gka_golden_put_states(const golden_stream *s, int64_t place, int64_t begin,
                                 gka_error *error) {
    return move_states(s, place, begin, true, error);
}

gka_status gka_golden_get_states(const golden_stream *s, int64_t place, int64_t begin,
                                 gka_error *error) {
    return move_states(s, place, begin, false, error);
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
    for (int i = 0; i < GKA_OUTPUTS && good; i++) {
        if (!(s->all >> i & 1))
            continue;
        const bool end = GOLDEN_ENDS >> i & 1;
        const int64_t count = end ? gka_output_count(s->problem, i)
                                  : gka_golden_window_count(s, i, s->window),
                      n = count / gka_golden_row_length(s->problem, i);
        longest = count > longest ? count : longest;
        rows = n > rows ? n : rows;
        good = take(&s->part.of[i], count) &&
               (gka_output_table[i].upstream == 0 || take(&s->local.of[i], count));
        for (int kind = 0; kind < 3 && end && good; kind++)
            good = take(&s->ends[kind].of[i], count);
    }
    s->sums = gka_alloc((size_t)rows, sizeof *s->sums);
    return good && take(&s->ref, longest) && s->sums != NULL;
}

/* The arrays of a lane, whose spool is taken up to them. */
static void place_lane(golden_stream *s) {
    const int64_t n = gka_golden_windows(s) + 1;
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        if (!((s->all & GOLDEN_TOKENS) >> i & 1))
            continue;
        const int64_t count = gka_output_count(s->problem, i);
        s->kept[i] = gka_golden_spool_take(&s->spool, count);
        for (int k = 0; k < 2; k++)
            s->rows[k][i] =
                gka_golden_spool_take(&s->spool, 2 * count / gka_golden_row_length(s->problem, i));
    }
    s->states = gka_golden_spool_take(&s->spool, n * s->size);
    s->other_states = gka_golden_spool_take(&s->spool, n * s->size);
}

/* Cuts the spool into arrays; what is never written takes no room on the disk. */
static void place(golden_stream *s) {
    const int64_t D = s->problem->D, V = s->problem->V, n = gka_golden_windows(s) + 1;
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        if (!((s->all & GOLDEN_TOKENS) >> i & 1))
            continue;
        s->exact[i] = gka_golden_spool_take(&s->spool, gka_output_count(s->problem, i));
        s->steps[i] = gka_golden_spool_take(&s->spool, gka_output_count(s->problem, i));
    }
    s->size = D * D + D * V;
    s->exact_states = gka_golden_spool_take(&s->spool, n * s->size);
    s->values = gka_golden_spool_take(&s->spool, n * D * V);
    const int64_t before = s->spool.taken;
    place_lane(s);
    s->lane = s->spool.taken;
    s->lane_size = s->lane - before;
    (void)gka_golden_spool_take(&s->spool, (s->workers - 1) * s->lane_size);
    s->oracle = s->spool.taken; /* the last: how much a state takes is the oracle's to say */
}

gka_status gka_golden_stream_open(const gka_problem *problem, const golden_inputs *inputs,
                                  unsigned all, const golden_limits *limits, const char *path,
                                  golden_stream **stream, gka_error *error) {
    golden_stream *const s = *stream = gka_alloc(1, sizeof *s);
    if (s == NULL)
        return no_memory(error);
    s->problem = problem;
    s->inputs = inputs;
    s->all = all;
    if ((all & (GOLDEN_LEFT | GOLDEN_LEFT_END)) != 0)
        s->all |= GKA_BIT(X) | GKA_BIT(FRO);
    s->window = gka_golden_window(limits, problem->chunk_size);
    s->workers = gka_threads();
    s->lanes = gka_alloc((size_t)s->workers, sizeof *s->lanes);
    if (s->lanes == NULL || !allocate(s))
        return no_memory(error);
    s->lanes[0] = s;
    const gka_status status = gka_golden_spool_open(path, &s->spool, error);
    if (status == GKA_OK)
        place(s);
    return status;
}

/* What a kernel changes is a lane's own; the spool's file and what lies there is shared. */
gka_status gka_golden_stream_lane(golden_stream *s, int worker, golden_stream **lane,
                                  gka_error *error) {
    if (s->lanes[worker] == NULL) {
        golden_stream *const l = s->lanes[worker] = gka_alloc(1, sizeof *l);
        if (l == NULL)
            return no_memory(error);
        l->problem = s->problem;
        l->inputs = s->inputs;
        l->all = s->all;
        l->window = s->window;
        l->size = s->size;
        l->exact_states = s->exact_states;
        l->values = s->values;
        memcpy(l->steps, s->steps, sizeof s->steps);
        memcpy(l->most, s->most, sizeof s->most);
        if (!allocate(l)) {
            gka_golden_stream_close(l);
            s->lanes[worker] = NULL;
            return no_memory(error);
        }
        for (int i = 0; i < GKA_OUTPUTS; i++)
            if (s->all & GOLDEN_ENDS & 1u << i)
                memcpy(l->ends[GOLDEN_STEPS].of[i], s->ends[GOLDEN_STEPS].of[i],
                       (size_t)gka_output_count(s->problem, i) * sizeof(double));
        l->spool = (golden_spool){s->spool.file, s->lane + (worker - 1) * s->lane_size};
        place_lane(l);
    }
    *lane = s->lanes[worker];
    return GKA_OK;
}

void gka_golden_stream_close(golden_stream *s) {
    if (s == NULL)
        return;
    for (int i = 1; i < s->workers && s->lanes != NULL; i++)
        if (s->lanes[i] != NULL) {
            s->lanes[i]->spool = (golden_spool){0};
            gka_golden_stream_close(s->lanes[i]);
        }
    gka_free(s->lanes);
    gka_golden_spool_close(&s->spool);
    for (int kind = 0; kind < 3; kind++)
        gka_golden_free(&s->ends[kind]);
    gka_golden_free(&s->part);
    gka_golden_free(&s->local);
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
    for (int i = 0; i < GKA_OUTPUTS && status == GKA_OK; i++)
        if (pass->outputs >> i & 1)
            status = gka_golden_put_window(s, s->exact, i, begin, pass->error);
    gka_golden_inputs_forget(s->inputs);
    return status == GKA_OK;
}

static int64_t oracle_state(const golden_stream *s, int64_t window, size_t size) {
    return 8 * s->oracle + window * (int64_t)size;
}

static bool keep_state(void *context, int64_t window, const void *state, size_t size) {
    const exact_pass *const pass = context;
    const golden_stream *const s = pass->stream;
    gka_golden_inputs_forget(s->inputs);
    return gka_golden_spool_put_bytes(&s->spool, oracle_state(s, window, size), size, state,
                                      pass->error) == GKA_OK;
}

static bool fetch_state(void *context, int64_t window, void *state, size_t size) {
    const exact_pass *const pass = context;
    const golden_stream *const s = pass->stream;
    return gka_golden_spool_get_bytes(&s->spool, oracle_state(s, window, size), size, state,
                                      pass->error) == GKA_OK;
}

static void passed_window(void *context) {
    const exact_pass *const pass = context;
    gka_golden_inputs_forget(pass->stream->inputs);
}

gka_status gka_golden_stream_exact(golden_stream *s, gka_pass part, unsigned wanted,
                                   const gka_progress *progress, gka_oracle_report *report,
                                   gka_error *error) {
    gka_error why = {0};
    gka_outputs out = {0};
    unsigned outputs = 0;
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        const gka_pass own = gka_output_table[i].pass == GKA_PASS_STATES ? GKA_PASS_FORWARD
                                                                         : gka_output_table[i].pass;
        if (!(wanted >> i & 1) || own != part)
            continue;
        outputs |= 1u << i;
        out.of[i] = GOLDEN_TOKENS >> i & 1 ? s->part.of[i] : s->ends[GOLDEN_EXACT].of[i];
    }
    if (outputs == 0)
        return GKA_OK;
    exact_pass pass = {s, outputs & GOLDEN_TOKENS, &why};
    const gka_oracle_window window = {.tokens = s->window,
                                      .full = exact_window,
                                      .keep = keep_state,
                                      .fetch = fetch_state,
                                      .passed = passed_window,
                                      .context = &pass};
    const gka_oracle_options options = {
        .oracle = GKA_ORACLE_CERTIFIED, .progress = *progress, .window = &window};
    const gka_status status =
        part == GKA_PASS_FORWARD
            ? gka_oracle_forward(s->problem, &options, &out, NULL, report, error)
            : gka_oracle_gradient(s->problem, part == GKA_PASS_SOLVE ? GKA_OF_X : GKA_OF_O,
                                  &options, &out, NULL, report, error);
    gka_golden_inputs_forget(s->inputs);
    return why.status == GKA_OK ? status : gka_fail(error, why.status, "%s", why.text);
}

/* ---- writing ------------------------------------------------------------------------------- */

gka_status gka_golden_stream_give(golden_stream *s, int output, golden_kind kind, golden_take *give,
                                  void *to, gka_error *error) {
    const int64_t count = gka_output_count(s->problem, output);
    const int64_t *const places[] = {s->exact, s->steps, s->kept};
    const bool spooled = GOLDEN_TOKENS >> output & 1;
    const gka_dtype dtype =
        kind == GOLDEN_EMULATED ? gka_output_dtype(s->problem, output) : GKA_F64;
    gka_status status = GKA_OK;
    for (int64_t i = 0; i < count && status == GKA_OK; i += BLOCK) {
        const int64_t n = count - i < BLOCK ? count - i : BLOCK;
        double block[BLOCK];
        unsigned char bytes[8 * BLOCK];
        if (spooled)
            status = gka_golden_spool_get(&s->spool, places[kind][output] + i, n, block, error);
        else
            memcpy(block, s->ends[kind].of[output] + i, (size_t)n * sizeof *block);
        if (status != GKA_OK)
            return status;
        gka_store_array(dtype, (size_t)n, block, bytes);
        status = give(to, bytes, (size_t)n * gka_dtype_size(dtype), error);
    }
    return status;
}
