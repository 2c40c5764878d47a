/* segments.c - one sequence in several pieces, as several devices compute it.
 *
 * Symbols: segment i holds tokens bounds[i] .. bounds[i+1]; h_i, u_i the states before it, G_i the
 * sum of its gates; A_i, E_i the cotangents of the states before it, A_n = dh_final, E_n =
 * du_final.
 *
 *   relay   h_{i+1} = H at the end of segment i run from h_i
 *           A_i     = dh0 of segment i run with A_{i+1}
 *   scan    h_{i+1} = H at the end of segment i run from 0 + exp(G_i) h_i
 *           A_i     = dh0 of segment i run with 0          + exp(G_i) A_{i+1}
 */
#include "chunk/chunk.h"

/* ---- what a run holds ---------------------------------------------------------------------- */

typedef struct segmented {
    const gka_problem *problem;
    const gka_profile *profile;
    chunk_plan plan;
    gka_of of;
    bool bp_lambda;
    gka_segments how;
    int64_t count;
    const int64_t *bounds;
    gka_outputs *out;
    gka_outputs part; /* of one segment */
    double *zeros;    /* x, f, p of a segment without a solve: [longest segment, max(D,1)] a head */
    double *h, *u;    /* [count + 1][N,H,D,D], [N,H,D,V]: h_i, u_i */
    double *A, *E;    /* the same: A_i, E_i */
    unsigned char *bytes[4]; /* h0, u0, dh_final, du_final of a segment as a view has them */
    uint16_t nothing;        /* a zero in bf16 */
    gka_error *error;
} segmented;

static size_t h_size(const segmented *s) {
    return (size_t)(s->problem->N * s->problem->H * s->problem->D * s->problem->D);
}

static size_t u_size(const segmented *s) {
    return (size_t)(s->problem->N * s->problem->H * s->problem->D * s->problem->V);
}

/* ---- views --------------------------------------------------------------------------------- */

/* A state [N,H,D,columns] as a view of `bytes`. */
static gka_view state_view(const segmented *s, int64_t columns, const double *state,
                           unsigned char *bytes) {
    const gka_problem *const p = s->problem;
    return gka_view_of_doubles(4, (const int64_t[]){p->N, p->H, p->D, columns}, state, bytes);
}

/* The view's shape, every element zero. */
static gka_view no_cotangent(const segmented *s, const gka_view *view) {
    gka_view none = *view;
    if (view->data == NULL)
        return none;
    none.data = &s->nothing;
    none.dtype = GKA_BF16;
    memset(none.stride, 0, sizeof none.stride);
    return none;
}

/* Segment i from h_i, u_i; with cotangents A, E of its final states where they are not NULL. */
static gka_problem segment(const segmented *s, int64_t i, const double *h, const double *u,
                           const double *A, const double *E) {
    gka_problem part = gka_problem_tokens(s->problem, s->bounds[i], s->bounds[i + 1]);
    const int64_t D = part.D, V = part.V;
    if (h)
        part.h0 = state_view(s, D, h, s->bytes[0]);
    if (u && V > 0)
        part.u0 = state_view(s, V, u, s->bytes[1]);
    if (A)
        part.dh_final = state_view(s, D, A, s->bytes[2]);
    if (E && V > 0)
        part.du_final = state_view(s, V, E, s->bytes[3]);
    return part;
}

/* ---- rows ---------------------------------------------------------------------------------- */

/* The token tensors: member, width of a row in elements, whether parts of it are rounded when they
 * are added. */
typedef struct rows {
    double *to, *from;
    int64_t width;
    bool stored;
} rows;

enum { TENSORS = 10 };

static void token_tensors(const segmented *s, rows all[TENSORS]) {
    const gka_problem *const p = s->problem;
    const gka_outputs *const o = s->out, *const f = &s->part;
    const gka_gradients *const to = &o->gradient[s->of], *const from = &f->gradient[s->of];
    const int64_t HD = p->H * p->D, HV = p->H * p->V;
    const rows list[TENSORS] = {
        {o->x, f->x, HD, false},
        {o->fro, f->fro, p->H, false},
        {o->g_cumsum, f->g_cumsum, p->H, false},
        {o->o, f->o, HV, false},
        {to->p, from->p, HD, false},
        {to->dq, from->dq, HD, false},
        {to->dalpha, from->dalpha, p->H, false},
        {to->dk, from->dk, p->G * p->D, true},
        {to->dv, from->dv, p->G * p->V, true},
        {to->dg, from->dg, p->H, false},
    };
    memcpy(all, list, sizeof list);
}

/* Copies the rows of segment i to where they belong, or adds those of dk, dv, dg. */
static void keep(const segmented *s, int64_t i, bool add) {
    rows all[TENSORS];
    token_tensors(s, all);
    const int64_t begin = s->bounds[i], length = s->bounds[i + 1] - begin;
    for (int a = add ? TENSORS - 3 : 0; a < TENSORS; a++)
        for (int64_t b = 0; all[a].to && all[a].from && b < s->problem->B; b++) {
            double *const to = all[a].to + (b * s->problem->T + begin) * all[a].width;
            const double *const from = all[a].from + b * length * all[a].width;
            for (int64_t j = 0; j < length * all[a].width; j++) {
                const double sum = add ? w(s->plan.f32, to[j] + from[j]) : from[j];
                to[j] = add && all[a].stored ? chunk_low(&s->plan, GKA_POINT_STORE_GRAD, sum) : sum;
            }
        }
}

/* ---- the scan ------------------------------------------------------------------------------ */

/* exp(G_i) of sequence and head */
static double decay_of(const segmented *s, int64_t i, int64_t n, int64_t h) {
    double sum = 0;
    for (int64_t t = s->bounds[i]; t < s->bounds[i + 1]; t++)
        sum += gka_problem_g(s->problem, n, t, h);
    return w(s->plan.f32, gka_device_exp(s->plan.exact, w(s->plan.f32, sum)));
}

/* to = local + exp(G_i) from, states of `columns` columns; to may be local */
static void scan(const segmented *s, int64_t i, int64_t columns, const double *local,
                 const double *from, double *to) {
    const gka_problem *const p = s->problem;
    const int64_t size = p->D * columns;
    for (int64_t head = 0; head < p->N * p->H; head++) {
        const double decay = decay_of(s, i, head / p->H, head % p->H);
        for (int64_t j = head * size; j < (head + 1) * size; j++)
            to[j] = w(s->plan.f32, local[j] + w(s->plan.f32, decay * from[j]));
    }
}

/* ---- passes -------------------------------------------------------------------------------- */

/* h_{i+1}, u_{i+1}. The scan's first run solves nothing: one iteration stands for none. */
static gka_status states_after(segmented *s, int64_t i) {
    const size_t H = h_size(s), U = u_size(s);
    double *const h = s->h + (size_t)i * H, *const u = s->u + (size_t)i * U;
    gka_outputs final = {.h_final = h + H, .u_final = s->problem->V > 0 ? u + U : NULL};
    const bool relay = s->how == GKA_SEGMENTS_RELAY;
    gka_problem part = segment(s, i, relay ? h : NULL, relay ? u : NULL, NULL, NULL);
    part.num_iter = 1;
    const gka_status status = gka_chunk_forward(&part, s->profile, &final, NULL, NULL, s->error);
    if (status == GKA_OK && !relay) {
        scan(s, i, part.D, h + H, h, h + H);
        scan(s, i, part.V, u + U, u, u + U);
    }
    return status;
}

/* The kernel that takes the cotangent of a local state to its keys keeps fp32 operands. */
static gka_profile keeps_fp32(const gka_profile *profile) {
    gka_profile wide = *profile;
    wide.released &= ~(1u << GKA_POINT_GRAD_STATE | 1u << GKA_POINT_GRAD_OPERAND |
                       1u << GKA_POINT_GRAD_DOT | 1u << GKA_POINT_STATE_SNAPSHOT);
    return wide;
}

/* Segment i forward and backward; A_i, E_i. */
static gka_status gradients_of(segmented *s, int64_t i) {
    const size_t H = h_size(s), U = u_size(s);
    double *const h = s->h + (size_t)i * H, *const u = s->u + (size_t)i * U,
                  *const A = s->A + (size_t)i * H, *const E = s->E + (size_t)i * U;
    const bool relay = s->how == GKA_SEGMENTS_RELAY;
    gka_gradients *const own = &s->part.gradient[s->of];
    own->dh0 = A;
    own->du0 = E;
    gka_problem part = relay ? segment(s, i, h, u, A + H, E + U) : segment(s, i, h, u, NULL, NULL);
    gka_status status =
        gka_chunk_backward(&part, s->profile, s->of, s->bp_lambda, NULL, &s->part, s->error);
    if (status != GKA_OK)
        return status;
    keep(s, i, false);
    if (relay)
        return GKA_OK;
    scan(s, i, part.D, A, A + H, A);
    scan(s, i, part.V, E, E + U, E);
    part = segment(s, i, h, u, A + H, E + U);
    part.dx = no_cotangent(s, &part.dx);
    part.dout = no_cotangent(s, &part.dout);
    const gka_chunk_given given = {.at.x = s->part.x, .at.fro = s->part.fro, .at.p = s->zeros};
    gka_outputs through = {0};
    through.gradient[s->of] = (gka_gradients){.dk = own->dk, .dv = own->dv, .dg = own->dg};
    const gka_profile wide = keeps_fp32(s->profile);
    status = gka_chunk_backward(&part, &wide, s->of, s->bp_lambda, &given, &through, s->error);
    if (status == GKA_OK)
        keep(s, i, true);
    return status;
}

/* ---- memory -------------------------------------------------------------------------------- */

static bool take(double **array, size_t count) {
    *array = gka_alloc(count, sizeof **array);
    return *array != NULL;
}

static bool take_all(segmented *s) {
    const gka_problem *const p = s->problem;
    int64_t longest = 0;
    for (int64_t i = 0; i < s->count; i++)
        if (s->bounds[i + 1] - s->bounds[i] > longest)
            longest = s->bounds[i + 1] - s->bounds[i];
    const size_t tokens = (size_t)(p->B * longest), heads = tokens * (size_t)p->H,
                 keys = tokens * (size_t)p->G, D = (size_t)p->D, V = (size_t)p->V,
                 states = (size_t)s->count + 1;
    gka_outputs *const f = &s->part;
    gka_gradients *const g = &f->gradient[s->of];
    bool good = take(&f->x, heads * D) && take(&f->fro, heads) && take(&f->g_cumsum, heads) &&
                take(&f->o, heads * V) && take(&g->p, heads * D) && take(&g->dq, heads * D) &&
                take(&g->dalpha, heads) && take(&g->dk, keys * D) && take(&g->dv, keys * V) &&
                take(&g->dg, heads) && take(&s->zeros, heads * D) &&
                take(&s->h, states * h_size(s)) && take(&s->u, states * u_size(s)) &&
                take(&s->A, states * h_size(s)) && take(&s->E, states * u_size(s));
    for (int i = 0; i < 4; i++) {
        s->bytes[i] = gka_alloc(i % 2 == 0 ? h_size(s) : u_size(s), 8);
        good = good && s->bytes[i];
    }
    return good;
}

static void give_back(segmented *s) {
    const gka_outputs *const f = &s->part;
    const gka_gradients *const g = &f->gradient[s->of];
    double *const arrays[] = {f->x,  f->fro, f->g_cumsum, f->o, g->p, g->dq, g->dalpha, g->dk,
                              g->dv, g->dg,  s->zeros,    s->h, s->u, s->A,  s->E};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        gka_free(arrays[i]);
    for (int i = 0; i < 4; i++)
        gka_free(s->bytes[i]);
}

static void copy(size_t count, const double *from, double *to) {
    if (to)
        memcpy(to, from, count * sizeof *to);
}

/* The ends: h_0, u_0 and A_n, E_n. */
static void start(segmented *s) {
    const gka_problem *const p = s->problem;
    const size_t last = (size_t)s->count;
    for (int64_t head = 0; head < p->N * p->H; head++) {
        const int64_t n = head / p->H, h = head % p->H;
        gka_chunk_initial_state(&s->plan, n, h, s->h + head * p->D * p->D);
        gka_problem_dh_final(p, n, h, s->A + last * h_size(s) + (size_t)(head * p->D * p->D));
        if (p->V > 0)
            gka_problem_u0(p, n, h, s->u + head * p->D * p->V);
        if (p->V > 0 && s->of == GKA_OF_O)
            gka_problem_du_final(p, n, h, s->E + last * u_size(s) + (size_t)(head * p->D * p->V));
    }
}

static gka_status check(const segmented *s) {
    if (s->problem->cu_seqlens)
        return gka_fail(s->error, GKA_UNSUPPORTED, "packed sequences are not cut into segments");
    bool good = s->count >= 1 && s->bounds[0] == 0 && s->bounds[s->count] == s->problem->T;
    for (int64_t i = 0; good && i < s->count; i++)
        good = s->bounds[i] <= s->bounds[i + 1];
    return good ? GKA_OK
                : gka_fail(s->error, GKA_BAD_ARGUMENT,
                           "segments: bounds from 0 to T = %lld that do not decrease were expected",
                           (long long)s->problem->T);
}

gka_status gka_chunk_by_segments(const gka_problem *problem, const gka_profile *profile, gka_of of,
                                 bool bp_lambda, gka_segments how, int64_t count,
                                 const int64_t *bounds, gka_outputs *out, gka_error *error) {
    segmented s = {.problem = problem,
                   .profile = profile,
                   .of = of,
                   .bp_lambda = bp_lambda,
                   .how = how,
                   .count = count,
                   .bounds = bounds,
                   .out = out,
                   .error = error};
    gka_status status = check(&s);
    if (status != GKA_OK)
        return status;
    gka_chunk_plan_init(&s.plan, problem, profile);
    if (!take_all(&s)) {
        status =
            gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory: %lld segments", (long long)count);
    } else {
        start(&s);
        for (int64_t i = 0; status == GKA_OK && i < count; i++)
            status = states_after(&s, i);
        for (int64_t i = count - 1; status == GKA_OK && i >= 0; i--)
            status = gradients_of(&s, i);
    }
    if (status == GKA_OK) {
        copy(h_size(&s), s.h + (size_t)count * h_size(&s), out->h_final);
        copy(u_size(&s), s.u + (size_t)count * u_size(&s), out->u_final);
        copy(h_size(&s), s.A, out->gradient[of].dh0);
        copy(u_size(&s), s.E, out->gradient[of].du0);
    }
    give_back(&s);
    return status;
}
