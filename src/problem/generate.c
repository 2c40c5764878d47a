/* generate.c - made-up problems: a function of the spec alone, bit for bit.
 *
 *   n(WHAT; i, j, k, l), u(..)   draws of draw.h; products and sums in double, in the order written
 *
 *   x          a key before normalisation, by head g:
 *     iid         x_d = n(K; b,t,g,d)
 *     powerlaw    x = sum_j (n(K; b,t,g,j)/j) P_j, P a random orthonormal basis of the head
 *     lowrank     x_d = sum_{j<8} n(MAP; 0,j,g,d) n(K; b,t,g,j) + 0.01 n(NOISE; b,t,g,d)
 *     repeat      x_d = n(MAP; 0,0,g,d) + 1e-3 n(K; b,t,g,d)
 *     recall      x_d = n(K; b,t,g,d) for the first `pairs` tokens, then 0: a question stores none
 *     aligned     x_d = n(K; b,t,g,d)/(d + 1)
 *     mean        x_d = m n(MAP; 0,0,g,d) + n(K; b,t,g,d), m = 1.33
 *     convsilu    x_d = silu(sum_{i<4} c_i (m n(MAP; 0,0,g,d) + n(K; b,t-i,g,d))), tokens before
 *                 the first left out; c_i = u(CONV; 0,i,g,d) - 1/2; silu(y) = y sigmoid(y)
 *
 *   q          before normalisation n(Q; b,t,h,d); recall: a stored key x of its head, uniformly
 *              among those stored so far, + 0.1 n(Q; b,t,h,d); mean, convsilu: as the keys, with
 *              n(Q; ..), n(MAP; 1,0,h,d), m = 1, u(CONV; 1,i,h,d)
 *
 *   k, q       x / (|x| + 1e-6)
 *
 *   beta       sigmoid(n(BETA; b,t,g,0)); k and v are multiplied by (beta + 1e-6)
 *
 *   v          n(V; b,t,g,d); mean, convsilu: as the keys, with n(V; ..), n(MAP; 2,0,g,d), m = 1/2,
 *              u(CONV; 2,i,g,d)
 *
 *   alpha      sigmoid(n(ALPHA; b,t,h,0))
 *
 *   g          -(c A) softplus(n(GATE; b,t,h,0) + ln(e^dt - 1)), A = 16 u(RATE; 0,0,h,0), c the
 *              gate's scale, dt = exp(ln 1e-3 + u(STEP; 0,0,h,0) (ln 1e-1 - ln 1e-3)); init: with
 *              (0.02 + 0.1 u(SPREAD; 0,0,h,0)) n(GATE; b,t,h,0) in the place of n(GATE; b,t,h,0)
 *
 *   do, dx     n(DOUT; b,t,h,d), n(DX; b,t,h,d)
 *
 *   dh_final, du_final   n(DH; n,i,h,j), n(DU; n,i,h,j)
 *
 *   h0, u0     sums over j < 2D of y y^T and y w^T, y the normalised n(H0; n,j,h,.) and
 *              w_d = n(U0; n,j,h,d)
 *
 * Everything is rounded once, to nearest even, when it is stored (q, k, v before that to the blocks
 * of `operands`); edit.c may change it then.
 */
#include "gka/problem.h"

#include "io/tensor.h"
#include "problem/check.h"
#include "problem/draw.h"
#include "problem/edit.h"
#include "problem/functions.h"
#include "problem/tensors.h"
#include "problem/vector.h"
#include "problem/view.h"

#include <math.h>
#include <string.h>

enum { RANK = 8 }; /* of lowrank */
enum { TAPS = 4 }; /* of convsilu's convolution */
static const double EPSILON = 1e-6;

/* In the order of the enums. */
static const char *const keys_names[GKA_KEYS_COUNT] = {"iid",    "powerlaw", "lowrank",  "repeat",
                                                       "recall", "mean",     "convsilu", "aligned"};
static const char *const gate_names[GKA_GATE_COUNT] = {"none", "slow", "released", "strong",
                                                       "init"};

static int find(const char *const *names, int count, const char *name) {
    for (int i = 0; i < count; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return -1;
}

const char *gka_keys_name(gka_keys keys) {
    return (unsigned)keys < GKA_KEYS_COUNT ? keys_names[keys] : NULL;
}

int gka_keys_find(const char *name) {
    return find(keys_names, GKA_KEYS_COUNT, name);
}

const char *gka_gate_name(gka_gate gate) {
    return (unsigned)gate < GKA_GATE_COUNT ? gate_names[gate] : NULL;
}

int gka_gate_find(const char *name) {
    return find(gate_names, GKA_GATE_COUNT, name);
}

static double gate_scale(gka_gate gate) {
    return gate == GKA_GATE_SLOW ? 0.01 : gate == GKA_GATE_STRONG ? 20 : 1;
}

/* ---- what is made, and where --------------------------------------------------------------- */

/* The tensors as bytes to write; NULL: not made. */
typedef struct target {
    unsigned char *q, *k, *v, *alpha, *g, *h0, *u0, *dout, *dx, *dh_final, *du_final;
} target;

/* The three that a layer projects and convolves; the numbers are MAP's and CONV's first index. */
typedef enum stream { KEYS, QUERIES, VALUES, STREAMS } stream;
static const double mean_of[STREAMS] = {1.33, 1, .5};
static const gka_draw draw_of[STREAMS] = {GKA_DRAW_K, GKA_DRAW_Q, GKA_DRAW_V};

typedef struct maker {
    const gka_generator *spec;
    int64_t begin, tokens; /* which are made, of each batch row */
    int64_t pairs;         /* recall */
    double *map[STREAMS];  /* what belongs to a head: map_rows(spec, stream) vectors for each */
    double *rate, *step;   /* [H]: c A and ln(e^dt - 1) */
    double *spread;        /* [H]: what the gate's normal number is multiplied by */
    double *work;          /* [threads, work_size] */
    size_t work_size;
    target to;
} maker;

/* n doubles, rounded once, as elements first .. first + n - 1 of a stored tensor. */
static void store(unsigned char *tensor, gka_dtype dtype, int64_t first, int64_t n,
                  const double *x) {
    gka_store_array(dtype, (size_t)n, x, tensor + (size_t)first * gka_dtype_size(dtype));
}

/* A row of q, k or v. */
static void store_row(const maker *m, unsigned char *tensor, int64_t row, int64_t n, double *x) {
    if (m->spec->operands != NULL)
        gka_block_round(m->spec->operands, (size_t)n, x, x, NULL);
    store(tensor, m->spec->dtype, row * n, n, x);
}

/* ---- vectors ------------------------------------------------------------------------------- */

static void normals(const maker *m, gka_draw what, int64_t i0, int64_t i1, int64_t i2, int64_t n,
                    double *x) {
    for (int64_t d = 0; d < n; d++)
        x[d] = gka_draw_normal(m->spec->seed, what, i0, i1, i2, d);
}

static void normalise(int64_t n, double *x) {
    const double size = sqrt(vector_dot(n, x, x)) + EPSILON;
    for (int64_t i = 0; i < n; i++)
        x[i] /= size;
}

/* ---- what belongs to a head ---------------------------------------------------------------- */

/* Keys: the basis of powerlaw, the map of lowrank, the one key of repeat. All: the mean, then the
 * taps. */
static int64_t map_rows(const gka_generator *spec, stream which) {
    switch (spec->keys) {
    case GKA_KEYS_POWERLAW: return which == KEYS ? spec->D : 0;
    case GKA_KEYS_LOWRANK: return which == KEYS ? RANK : 0;
    case GKA_KEYS_REPEAT: return which == KEYS ? 1 : 0;
    case GKA_KEYS_MEAN: return 1;
    case GKA_KEYS_CONVSILU: return 1 + TAPS;
    default: return 0;
    }
}

static int64_t heads_of(const gka_generator *spec, stream which) {
    return which == QUERIES ? spec->H : spec->G;
}

static int64_t size_of(const gka_generator *spec, stream which) {
    return which == VALUES ? spec->V : spec->D;
}

static double *map_of(const maker *m, stream which, int64_t head) {
    return m->map[which] + head * map_rows(m->spec, which) * size_of(m->spec, which);
}

static void make_map(const maker *m, stream which, int64_t head) {
    const int64_t n = size_of(m->spec, which), rows = map_rows(m->spec, which);
    double *const map = map_of(m, which, head);
    const bool taps = m->spec->keys == GKA_KEYS_CONVSILU;
    for (int64_t i = 0; i < (taps ? 1 : rows); i++)
        normals(m, GKA_DRAW_MAP, which, i, head, n, map + i * n);
    for (int64_t i = 0; taps && i < TAPS; i++)
        for (int64_t d = 0; d < n; d++)
            map[(1 + i) * n + d] =
                gka_draw_uniform(m->spec->seed, GKA_DRAW_CONV, which, i, head, d) - 0.5;
    if (m->spec->keys == GKA_KEYS_POWERLAW)
        gka_make_basis(n, map);
}

/* Head i of keys, then of queries, then of values. */
static void make_maps(void *context, int64_t i, int worker) {
    (void)worker;
    const maker *const m = context;
    int which = KEYS;
    for (; i >= heads_of(m->spec, (stream)which); which++)
        i -= heads_of(m->spec, (stream)which);
    if (map_rows(m->spec, (stream)which) > 0)
        make_map(m, (stream)which, i);
}

static void make_gate(const maker *m) {
    const uint64_t seed = m->spec->seed;
    const double least = gka_pinned_log(1e-3), most = gka_pinned_log(1e-1);
    for (int64_t h = 0; h < m->spec->H; h++) {
        const double dt = gka_pinned_exp(least + gka_draw_uniform(seed, GKA_DRAW_STEP, 0, 0, h, 0) *
                                                     (most - least));
        m->step[h] = gka_pinned_softplus_inverse(dt);
        m->spread[h] = m->spec->gate == GKA_GATE_INIT
                           ? 0.02 + 0.1 * gka_draw_uniform(seed, GKA_DRAW_SPREAD, 0, 0, h, 0)
                           : 1;
        m->rate[h] =
            gate_scale(m->spec->gate) * (16 * gka_draw_uniform(seed, GKA_DRAW_RATE, 0, 0, h, 0));
    }
}

/* ---- what belongs to a token --------------------------------------------------------------- */

/* A row about the mean of its head: mean_of M + n. */
static void make_mean(const maker *m, stream which, int64_t b, int64_t t, int64_t head, double *x) {
    const int64_t n = size_of(m->spec, which);
    const double *const mean = map_of(m, which, head);
    for (int64_t d = 0; d < n; d++)
        x[d] = mean_of[which] * mean[d] +
               gka_draw_normal(m->spec->seed, draw_of[which], b, t, head, d);
}

/* silu(sum_i c_i x_{t-i}), x as in make_mean. */
static void make_convsilu(const maker *m, stream which, int64_t b, int64_t t, int64_t head,
                          double *x) {
    const int64_t n = size_of(m->spec, which);
    const double *const mean = map_of(m, which, head), *const taps = mean + n;
    for (int64_t d = 0; d < n; d++) {
        double y = 0;
        for (int64_t i = 0; i < TAPS && i <= t; i++)
            y += taps[i * n + d] *
                 (mean_of[which] * mean[d] +
                  gka_draw_normal(m->spec->seed, draw_of[which], b, t - i, head, d));
        x[d] = y * gka_pinned_sigmoid(y);
    }
}

/* A row of the kinds that treat keys, queries and values alike; false for the other kinds. */
static bool make_stream(const maker *m, stream which, int64_t b, int64_t t, int64_t head,
                        double *x) {
    if (m->spec->keys == GKA_KEYS_MEAN)
        make_mean(m, which, b, t, head, x);
    else if (m->spec->keys == GKA_KEYS_CONVSILU)
        make_convsilu(m, which, b, t, head, x);
    else
        return false;
    return true;
}

/* A key before normalisation. */
static void make_key(const maker *m, int64_t b, int64_t t, int64_t g, double *x) {
    const uint64_t seed = m->spec->seed;
    const int64_t D = m->spec->D;
    const double *const map = map_of(m, KEYS, g);
    switch (m->spec->keys) {
    case GKA_KEYS_IID: normals(m, GKA_DRAW_K, b, t, g, D, x); break;
    case GKA_KEYS_POWERLAW:
        memset(x, 0, (size_t)D * sizeof *x);
        for (int64_t j = 0; j < D; j++)
            vector_add_scaled(D, gka_draw_normal(seed, GKA_DRAW_K, b, t, g, j) / (double)(j + 1),
                              map + j * D, x);
        break;
    case GKA_KEYS_LOWRANK:
        memset(x, 0, (size_t)D * sizeof *x);
        for (int64_t j = 0; j < RANK; j++)
            vector_add_scaled(D, gka_draw_normal(seed, GKA_DRAW_K, b, t, g, j), map + j * D, x);
        for (int64_t d = 0; d < D; d++)
            x[d] += 0.01 * gka_draw_normal(seed, GKA_DRAW_NOISE, b, t, g, d);
        break;
    case GKA_KEYS_REPEAT:
        for (int64_t d = 0; d < D; d++)
            x[d] = map[d] + 1e-3 * gka_draw_normal(seed, GKA_DRAW_K, b, t, g, d);
        break;
    case GKA_KEYS_RECALL:
        if (t < m->pairs)
            normals(m, GKA_DRAW_K, b, t, g, D, x);
        else
            memset(x, 0, (size_t)D * sizeof *x);
        break;
    case GKA_KEYS_ALIGNED:
        for (int64_t d = 0; d < D; d++)
            x[d] = gka_draw_normal(seed, GKA_DRAW_K, b, t, g, d) / (double)(d + 1);
        break;
    case GKA_KEYS_MEAN:
    case GKA_KEYS_CONVSILU: (void)make_stream(m, KEYS, b, t, g, x); break;
    }
}

static void make_query(const maker *m, int64_t b, int64_t t, int64_t h, double *x) {
    const gka_generator *const spec = m->spec;
    const int64_t stored = t < m->pairs ? t + 1 : m->pairs;
    if (make_stream(m, QUERIES, b, t, h, x))
        return;
    if (spec->keys != GKA_KEYS_RECALL || stored == 0) {
        normals(m, GKA_DRAW_Q, b, t, h, spec->D, x);
        return;
    }
    const double u = gka_draw_uniform(spec->seed, GKA_DRAW_CHOICE, b, t, h, 0);
    const int64_t asked = (int64_t)(u * (double)stored);
    make_key(m, b, asked < stored ? asked : stored - 1, h / (spec->H / spec->G), x);
    for (int64_t d = 0; d < spec->D; d++)
        x[d] += 0.1 * gka_draw_normal(spec->seed, GKA_DRAW_Q, b, t, h, d);
}

/* Token i of those that are made: token t of batch row b. */
typedef struct place {
    int64_t i, b, t;
} place;

/* One row per head of one tensor, drawn and stored. */
static void make_normal_rows(const maker *m, gka_draw what, unsigned char *tensor, place at,
                             int64_t n, double *x) {
    for (int64_t h = 0; tensor != NULL && h < m->spec->H; h++) {
        normals(m, what, at.b, at.t, h, n, x);
        store(tensor, m->spec->dtype, (at.i * m->spec->H + h) * n, n, x);
    }
}

static void make_keys_and_values(const maker *m, place at, double *x) {
    const gka_generator *const spec = m->spec;
    const int64_t b = at.b, t = at.t;
    for (int64_t g = 0; g < spec->G; g++) {
        const int64_t row = at.i * spec->G + g;
        const double beta =
            spec->plain
                ? 1
                : gka_pinned_sigmoid(gka_draw_normal(spec->seed, GKA_DRAW_BETA, b, t, g, 0)) +
                      EPSILON;
        make_key(m, b, t, g, x);
        normalise(spec->D, x);
        vector_scale(spec->D, beta, x);
        store_row(m, m->to.k, row, spec->D, x);
        if (m->to.v == NULL)
            continue;
        if (!make_stream(m, VALUES, b, t, g, x))
            normals(m, GKA_DRAW_V, b, t, g, spec->V, x);
        vector_scale(spec->V, beta, x);
        store_row(m, m->to.v, row, spec->V, x);
    }
}

static void make_token(void *context, int64_t i, int worker) {
    const maker *const m = context;
    const gka_generator *const spec = m->spec;
    double *const x = m->work + (size_t)worker * m->work_size;
    const int64_t b = i / m->tokens, t = m->begin + i % m->tokens;
    const place at = {i, b, t};
    make_keys_and_values(m, at, x);
    for (int64_t h = 0; h < spec->H; h++) {
        const int64_t row = i * spec->H + h;
        make_query(m, b, t, h, x);
        normalise(spec->D, x);
        store_row(m, m->to.q, row, spec->D, x);
        if (m->to.alpha != NULL) {
            x[0] = gka_pinned_sigmoid(gka_draw_normal(spec->seed, GKA_DRAW_ALPHA, b, t, h, 0));
            store(m->to.alpha, spec->dtype, row, 1, x);
        }
        if (m->to.g != NULL) {
            x[0] = -m->rate[h] *
                   gka_pinned_softplus(m->spread[h] *
                                           gka_draw_normal(spec->seed, GKA_DRAW_GATE, b, t, h, 0) +
                                       m->step[h]);
            store(m->to.g, GKA_F32, row, 1, x);
        }
    }
    make_normal_rows(m, GKA_DRAW_DOUT, m->to.dout, at, spec->V, x);
    make_normal_rows(m, GKA_DRAW_DX, m->to.dx, at, spec->D, x);
}

/* ---- initial states ------------------------------------------------------------------------ */

/* sum_j y_j z_j^T over j < 2D, y_j of length D, z_j = y_j or a value; x [rows + columns + D
 * columns] */
static void make_state(const maker *m, unsigned char *tensor, int64_t n, int64_t h, bool values,
                       double *x) {
    const gka_generator *const spec = m->spec;
    const int64_t D = spec->D, columns = values ? spec->V : D;
    double *const y = x, *const w = y + D, *const sum = w + columns;
    memset(sum, 0, (size_t)(D * columns) * sizeof *sum);
    for (int64_t j = 0; j < 2 * D; j++) {
        normals(m, GKA_DRAW_H0, n, j, h, D, y);
        normalise(D, y);
        if (values)
            normals(m, GKA_DRAW_U0, n, j, h, columns, w);
        for (int64_t i = 0; i < D; i++)
            vector_add_scaled(columns, y[i], values ? w : y, sum + i * columns);
    }
    store(tensor, GKA_F32, (n * spec->H + h) * D * columns, D * columns, sum);
}

static void make_states(void *context, int64_t i, int worker) {
    const maker *const m = context;
    double *const x = m->work + (size_t)worker * m->work_size;
    const gka_generator *const spec = m->spec;
    const int64_t n = i / spec->H, h = i % spec->H;
    if (m->to.h0 != NULL)
        make_state(m, m->to.h0, n, h, false, x);
    if (m->to.u0 != NULL)
        make_state(m, m->to.u0, n, h, true, x);
    for (int64_t j = 0; m->to.dh_final != NULL && j < spec->D; j++) {
        normals(m, GKA_DRAW_DH, n, j, h, spec->D, x);
        store(m->to.dh_final, GKA_F32, (i * spec->D + j) * spec->D, spec->D, x);
        normals(m, GKA_DRAW_DU, n, j, h, spec->V, x);
        if (m->to.du_final != NULL)
            store(m->to.du_final, GKA_F32, (i * spec->D + j) * spec->V, spec->V, x);
    }
}

/* ---- storage ------------------------------------------------------------------------------- */

typedef struct part {
    bool wanted;
    gka_dtype dtype;
    int rank;
    int64_t shape[4];
    gka_view *view;
    unsigned char **bytes;
} part;

/* One block for all tensors, each at a multiple of 64 bytes. */
static gka_status allocate(part *parts, size_t count, gka_problem *problem, gka_error *error) {
    size_t total = 0, bytes[PROBLEM_VIEWS];
    for (size_t i = 0; i < count; i++) {
        gka_tensor tensor = {"", parts[i].dtype, parts[i].rank, {0}, NULL};
        memcpy(tensor.shape, parts[i].shape, sizeof parts[i].shape);
        bytes[i] = 0;
        if (!parts[i].wanted)
            continue;
        if (!gka_tensor_bytes(&tensor, &bytes[i]) || bytes[i] > SIZE_MAX / 2 - 64 - total)
            return gka_fail(error, GKA_BAD_ARGUMENT, "the tensors would not fit in memory");
        bytes[i] = bytes[i] / 64 * 64 + 64;
        total += bytes[i];
    }
    unsigned char *block = gka_alloc(total, 1);
    if (block == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory: the tensors take %zu bytes",
                        total);
    problem->owned = block;
    for (size_t i = 0; i < count; i++) {
        if (!parts[i].wanted)
            continue;
        gka_tensor tensor = {"", parts[i].dtype, parts[i].rank, {0}, block};
        memcpy(tensor.shape, parts[i].shape, sizeof parts[i].shape);
        *parts[i].view = gka_view_of(&tensor);
        *parts[i].bytes = block;
        block += bytes[i];
    }
    return GKA_OK;
}

static gka_status allocate_tensors(const maker *m, gka_problem *p, target *to, gka_error *error) {
    const gka_generator *const s = m->spec;
    const int64_t T = m->tokens;
    const bool values = s->V > 0, gated = s->gate != GKA_GATE_NONE && !s->plain,
               first = s->h0 && m->begin == 0, last = s->final && m->begin + T == s->T;
    part parts[] = {
        {true, s->dtype, 4, {s->B, T, s->H, s->D}, &p->q, &to->q},
        {true, s->dtype, 4, {s->B, T, s->G, s->D}, &p->k, &to->k},
        {values, s->dtype, 4, {s->B, T, s->G, s->V}, &p->v, &to->v},
        {s->alpha && !s->plain, s->dtype, 3, {s->B, T, s->H}, &p->alpha, &to->alpha},
        {gated, GKA_F32, 3, {s->B, T, s->H}, &p->g, &to->g},
        {first, GKA_F32, 4, {s->B, s->H, s->D, s->D}, &p->h0, &to->h0},
        {first && values, GKA_F32, 4, {s->B, s->H, s->D, s->V}, &p->u0, &to->u0},
        {s->cotangents && values, s->dtype, 4, {s->B, T, s->H, s->V}, &p->dout, &to->dout},
        {s->cotangents, s->dtype, 4, {s->B, T, s->H, s->D}, &p->dx, &to->dx},
        {last, GKA_F32, 4, {s->B, s->H, s->D, s->D}, &p->dh_final, &to->dh_final},
        {last && values, GKA_F32, 4, {s->B, s->H, s->D, s->V}, &p->du_final, &to->du_final},
    };
    return allocate(parts, sizeof parts / sizeof parts[0], p, error);
}

/* Doubles: whether a b c of them can be asked for at all, and how many that is. */
static bool product(int64_t a, int64_t b, int64_t c, size_t *count) {
    const gka_tensor tensor = {"", GKA_F64, 3, {a, b, c}, NULL};
    size_t bytes;
    const bool good = gka_tensor_bytes(&tensor, &bytes);
    *count = good ? bytes / sizeof(double) : 0;
    return good;
}

static gka_status allocate_work(maker *m, gka_error *error) {
    const gka_generator *const s = m->spec;
    const int64_t longest = s->D > s->V ? s->D : s->V;
    size_t map[STREAMS], state, row;
    bool good = product(1, 2, longest, &row) && product(1, s->h0 ? s->D : 0, longest, &state);
    for (int i = 0; i < STREAMS; i++)
        good = good && product(heads_of(s, (stream)i), map_rows(s, (stream)i),
                               size_of(s, (stream)i), &map[i]);
    if (!good)
        return gka_fail(error, GKA_BAD_ARGUMENT, "the tensors would not fit in memory");
    m->work_size = row + state;
    for (int i = 0; i < STREAMS; i++)
        good = (m->map[i] = gka_alloc(map[i], sizeof *m->map[i])) != NULL && good;
    m->rate = gka_alloc((size_t)s->H, sizeof *m->rate);
    m->step = gka_alloc((size_t)s->H, sizeof *m->step);
    m->spread = gka_alloc((size_t)s->H, sizeof *m->spread);
    m->work = gka_alloc((size_t)gka_threads(), m->work_size * sizeof *m->work);
    if (!good || m->rate == NULL || m->step == NULL || m->spread == NULL || m->work == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory making a problem");
    return GKA_OK;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static gka_status check_spec(const gka_generator *s, gka_error *error) {
    if (gka_keys_name(s->keys) == NULL || gka_gate_name(s->gate) == NULL)
        return gka_fail(error, GKA_BAD_ARGUMENT, "generator: no such kind of keys or gate");
    if (!gka_dtype_is_float(s->dtype))
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "generator: dtype %s; a floating-point type was expected",
                        gka_dtype_name(s->dtype));
    if (s->pairs < 0 || s->pairs > s->T)
        return gka_fail(error, GKA_BAD_ARGUMENT,
                        "generator: %lld pairs; 0 to T = %lld were expected", (long long)s->pairs,
                        (long long)s->T);
    return GKA_OK;
}

/* The key to which the edit one-key sets all: that of token 0, made again where that is not among
 * the tokens made. */
static gka_status make_first_key(const maker *m, gka_problem *first, gka_error *error) {
    if (!(m->spec->edits >> GKA_EDIT_ONE_KEY & 1) || m->begin == 0)
        return GKA_OK;
    gka_generator spec = *m->spec;
    spec.edits = 0;
    spec.h0 = spec.final = spec.cotangents = false;
    return gka_problem_generate_tokens(&spec, 0, 1, first, error);
}

static gka_status edit(const maker *m, gka_problem *problem, gka_error *error) {
    gka_problem first = {0};
    gka_status status = make_first_key(m, &first, error);
    if (status == GKA_OK)
        status = gka_problem_edit(m->spec, m->begin, first.k.data != NULL ? &first.k : &problem->k,
                                  problem, error);
    gka_problem_free(&first);
    return status;
}

static gka_status make(maker *m, gka_problem *problem, gka_error *error) {
    const gka_generator *const s = m->spec;
    gka_status status = allocate_work(m, error);
    if (status == GKA_OK)
        status = allocate_tensors(m, problem, &m->to, error);
    if (status != GKA_OK || s->B == 0 || s->H == 0)
        return status;
    if (m->tokens > 0) {
        if (map_rows(s, KEYS) > 0)
            gka_parallel(s->G + s->H + s->G, make_maps, m);
        make_gate(m);
        gka_parallel(s->B * m->tokens, make_token, m);
    }
    if (m->to.h0 != NULL || m->to.dh_final != NULL)
        gka_parallel(s->B * s->H, make_states, m);
    if (gka_stopped())
        return gka_fail(error, GKA_INTERRUPTED, "interrupted");
    status = edit(m, problem, error);
    return status == GKA_OK ? gka_problem_check(problem, NULL, error) : status;
}

gka_status gka_problem_generate_tokens(const gka_generator *generator, int64_t begin, int64_t end,
                                       gka_problem *problem, gka_error *error) {
    const gka_generator *const s = generator;
    *problem = (gka_problem){
        .B = s->B,
        .T = s->T,
        .H = s->H,
        .G = s->G,
        .D = s->D,
        .V = s->V,
        .N = s->B,
        .ridge_ratio = s->ridge_ratio != 0 || s->no_ridge ? s->ridge_ratio : 0.02,
        .lambda = s->lambda,
        .scale = s->scale != 0 ? s->scale
                 : s->D > 0    ? 1 / sqrt((double)s->D)
                               : 1,
        .num_iter = s->num_iter != 0 ? s->num_iter : 30,
        .chunk_size = s->chunk_size != 0 ? s->chunk_size : 64,
    };
    maker m = {.spec = s,
               .begin = begin,
               .tokens = end - begin,
               .pairs = s->pairs != 0 ? s->pairs : s->T / 2};
    gka_status status = gka_problem_check_numbers(problem, NULL, error);
    if (status == GKA_OK)
        status = check_spec(s, error);
    if (status == GKA_OK && !(0 <= begin && begin <= end && end <= s->T))
        status = gka_fail(error, GKA_BAD_ARGUMENT,
                          "generator: tokens %lld to %lld; some of 0 to T = %lld were expected",
                          (long long)begin, (long long)end, (long long)s->T);
    problem->T = m.tokens;
    if (status == GKA_OK)
        status = make(&m, problem, error);
    for (int i = 0; i < STREAMS; i++)
        gka_free(m.map[i]);
    gka_free(m.spread);
    gka_free(m.rate);
    gka_free(m.step);
    gka_free(m.work);
    if (status != GKA_OK)
        gka_problem_free(problem);
    return status;
}

gka_status gka_problem_generate(const gka_generator *generator, gka_problem *problem,
                                gka_error *error) {
    return gka_problem_generate_tokens(generator, 0, generator->T, problem, error);
}
