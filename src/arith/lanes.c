/* lanes.c - matrix times vector where no constant policy serves: any order, any mode, fused or not,
 * with the formats as plans (format/round.h) and a lane for each of 16 rows. Compiled once for each
 * instruction set.
 *
 *   s + v   with both of at most 50 bits: t = s + v to nearest, and its error e = (s + v) - t is a
 *           double. To nearest even t may be rounded again where s and v have at most 25 bits;
 *           otherwise t is made odd first (round.h). A random number needs the sum itself: where e
 *           is not 0, which is rare, the lane is computed exactly by itself.
 */
#include "arith/lanes.h"

#include "arith/scalar.h"
#include "format/philox_lanes.h"

enum { LANES = GKA_PHILOX_LANES, DEPTH = 64, PARTIALS = 64 };

/* ---- random numbers ------------------------------------------------------------------------ */

/* Position at + i stride of the stream for lane i; stride is a multiple of 4, so that all lanes
 * read the same word of their blocks. */
typedef struct source {
    uint64_t seed, at, stride;
    bool has; /* words are those of at's block */
    uint64_t words[4][LANES];
} source;

static const uint64_t *next(const gka_policy *P, source *s) {
    if (P->rounding != GKA_STOCHASTIC)
        return NULL;
    if (!s->has || s->at % 4 == 0) {
        uint64_t block[LANES];
        for (int i = 0; i < LANES; i++)
            block[i] = (s->at + (uint64_t)i * s->stride) / 4;
        gka_philox_lanes(s->seed, block, s->words);
        s->has = true;
    }
    return s->words[s->at++ % 4];
}

/* ---- rounding ------------------------------------------------------------------------------ */

/* gka_round_planned in the stochastic mode without branches, for formats with subnormals: x lies
 * m mod 2^wide of 2^wide above a number of the format, m its significand. */
GKA_INLINE double round_random(const gka_plan *plan, double x, uint64_t random) {
    const uint64_t u = gka_bits(x), sign = u & GKA_SIGN, a = u ^ sign;
    const int64_t field = (int64_t)(a >> 52);
    const int64_t below = plan->min_field - (field > 1 ? field : 1);
    const int64_t wide = plan->drop + (below > 0 ? below : 0);
    const uint64_t m = (a & (GKA_HIDDEN - 1)) | (field != 0 ? GKA_HIDDEN : 0);
    const uint64_t left = (uint64_t)(wide < 64 ? 64 - wide : 0);
    const uint64_t right = (uint64_t)(wide < 64 ? 0 : wide < 127 ? wide - 64 : 63);
    const uint64_t fraction = m << left >> right, sum = fraction + random;
    const uint64_t carry = ((fraction & random) | ((fraction | random) & ~sum)) >> 63;
    const uint64_t s = (uint64_t)(wide < 52 ? wide : 52), base = a >> s << s;
    const uint64_t ulp = (((a >> s) + 1) << s) - base;
    uint64_t r = wide > 52 ? carry * plan->quantum : base + (carry != 0 ? ulp : 0);
    const uint64_t over = sign != 0 ? plan->over_minus : plan->over_plus;
    const uint64_t beyond = a == GKA_INF ? plan->inf : over;
    r = (int64_t)r > (int64_t)plan->max ? beyond : r;
    r |= (int64_t)r > (int64_t)GKA_INF ? 0 : sign;
    return gka_double((int64_t)a > (int64_t)GKA_INF ? GKA_NAN : r);
}

/* v rounded, lane by lane */
GKA_INLINE void fit(gka_rounding mode, const gka_plan *plan, const uint64_t *random,
                    double v[LANES]) {
    gka_plan own = *plan;
    own.mode = mode;
    for (int i = 0; i < LANES; i++)
        v[i] = mode == GKA_STOCHASTIC ? round_random(&own, v[i], random[i])
                                      : gka_round_planned(&own, (gka_cut){v[i], 0, false}, 0);
}

/* A lane of a sum whose error is not 0. */
static __attribute__((noinline)) double exact_sum(const gka_policy *P, double s, double v,
                                                  uint64_t random) {
    return gka_round_exact(&P->accumulator, GKA_STOCHASTIC, gka_exact_add(s, v), random);
}

/* s = C[s + v]; v is a product, rounded or exact. `wide`: v has up to 50 bits. */
GKA_INLINE void add(const gka_policy *P, gka_rounding mode, bool wide, const gka_plan *plan,
                    const uint64_t *random, double s[LANES], const double v[LANES]) {
    double t[LANES];
    uint64_t inexact = 0;
    for (int i = 0; i < LANES; i++) {
        t[i] = mode == GKA_NEAREST_EVEN && !wide ? s[i] + v[i] : gka_odd_add(s[i], v[i]);
        if (mode == GKA_STOCHASTIC) {
            const uint64_t a = gka_bits(s[i]), b = gka_bits(v[i]);
            const bool swap = (int64_t)(a & ~GKA_SIGN) < (int64_t)(b & ~GKA_SIGN);
            const double large = gka_double(swap ? b : a), small = gka_double(swap ? a : b);
            t[i] = large + small;
            inexact |= gka_bits(small - (t[i] - large)) << 1;
        }
        if (mode == GKA_DOWN) {
            const uint64_t plus_zeros = gka_bits(s[i]) | gka_bits(v[i]);
            const uint64_t zero = plus_zeros != 0 ? GKA_SIGN : 0;
            t[i] = gka_double(gka_bits(t[i]) << 1 == 0 ? zero : gka_bits(t[i]));
        }
    }
    fit(mode, plan, random, t);
    for (int i = 0; mode == GKA_STOCHASTIC && inexact != 0 && i < LANES; i++)
        t[i] = exact_sum(P, s[i], v[i], random[i]);
    memcpy(s, t, sizeof t);
}

/* One of each for every mode. */
typedef void fit_lanes(const gka_plan *plan, const uint64_t *random, double v[LANES]);
typedef void add_lanes(const gka_policy *P, bool wide, const gka_plan *plan, const uint64_t *random,
                       double s[LANES], const double v[LANES]);

#define MODE(mode)                                                                                 \
    static void fit_##mode(const gka_plan *plan, const uint64_t *random, double v[LANES]) {        \
        fit(GKA_##mode, plan, random, v);                                                          \
    }                                                                                              \
    static void add_##mode(const gka_policy *P, bool wide, const gka_plan *plan,                   \
                           const uint64_t *random, double s[LANES], const double v[LANES]) {       \
        if (GKA_##mode == GKA_NEAREST_EVEN && !wide)                                               \
            add(P, GKA_##mode, false, plan, random, s, v);                                         \
        else                                                                                       \
            add(P, GKA_##mode, true, plan, random, s, v);                                          \
    }
MODE(NEAREST_EVEN)
MODE(TOWARD_ZERO)
MODE(UP)
MODE(DOWN)
MODE(TO_ODD)
MODE(STOCHASTIC)
#undef MODE

static fit_lanes *const fits[] = {[GKA_NEAREST_EVEN] = fit_NEAREST_EVEN,
                                  [GKA_TOWARD_ZERO] = fit_TOWARD_ZERO,
                                  [GKA_UP] = fit_UP,
                                  [GKA_DOWN] = fit_DOWN,
                                  [GKA_TO_ODD] = fit_TO_ODD,
                                  [GKA_STOCHASTIC] = fit_STOCHASTIC};
static add_lanes *const adds[] = {[GKA_NEAREST_EVEN] = add_NEAREST_EVEN,
                                  [GKA_TOWARD_ZERO] = add_TOWARD_ZERO,
                                  [GKA_UP] = add_UP,
                                  [GKA_DOWN] = add_DOWN,
                                  [GKA_TO_ODD] = add_TO_ODD,
                                  [GKA_STOCHASTIC] = add_STOCHASTIC};

/* ---- sums ---------------------------------------------------------------------------------- */

/* What a row needs to be rounded. */
typedef struct plans {
    gka_plan operand, product, sum, storage;
    bool rounds_operand, rounds_storage;
    fit_lanes *fit;
    add_lanes *add;
} plans;

/* The rows of a group and where they read the stream. */
typedef struct group {
    int64_t rows, m;
    const double *M, *x;
    int64_t row, column;
    uint64_t b_at; /* of the random numbers of x as an operand */
    source left, product, sum, blocks;
    double a[DEPTH][LANES], b[DEPTH]; /* columns j0 .. j0 + depth, as operands */
} group;

static void load(const gka_policy *P, const plans *R, group *g, int64_t j0) {
    const int64_t depth = g->m - j0 < DEPTH ? g->m - j0 : DEPTH;
    for (int64_t i = 0; i < g->rows; i++)
        for (int64_t j = 0; j < depth; j++)
            g->a[j][i] = g->M[i * g->row + (j0 + j) * g->column];
    for (int64_t j = 0; j < depth; j++) {
        g->b[j] = arith_operand(P, g->x[j0 + j], g->b_at + (uint64_t)(j0 + j));
        if (R->rounds_operand)
            R->fit(&R->operand, next(P, &g->left), g->a[j]);
    }
}

/* v = P[a_j b_j], or exact */
static void multiply(const gka_policy *P, bool exact, const plans *R, group *g, int64_t j,
                     double v[LANES]) {
    if (j % DEPTH == 0)
        load(P, R, g, j);
    for (int i = 0; i < LANES; i++)
        v[i] = g->a[j % DEPTH][i] * g->b[j % DEPTH];
    if (!exact)
        R->fit(&R->product, next(P, &g->product), v);
}

static void in_order(const gka_policy *P, const plans *R, group *g, double total[LANES]) {
    const bool blocks = P->order == GKA_BLOCKS;
    double s[LANES] = {0};
    for (int64_t j = 0; j < g->m; j++) {
        double v[LANES];
        multiply(P, P->fused, R, g, j, v);
        R->add(P, P->fused, &R->sum, next(P, &g->sum), s, v);
        if (blocks && ((j + 1) % P->block == 0 || j + 1 == g->m)) {
            R->add(P, false, &R->sum, next(P, &g->blocks), total, s);
            memset(s, 0, sizeof s);
        }
    }
    if (!blocks)
        memcpy(total, s, sizeof s);
}

/* As in kernels.c: complete subtrees are merged as a binary counter carries. */
static void in_pairs(const gka_policy *P, const plans *R, group *g, double total[LANES]) {
    double partial[PARTIALS][LANES];
    int64_t depth = 0;
    for (int64_t j = 0; j < g->m; j++) {
        multiply(P, false, R, g, j, partial[depth++]);
        for (int64_t full = j; full & 1; full >>= 1, depth--)
            R->add(P, false, &R->sum, next(P, &g->sum), partial[depth - 2], partial[depth - 1]);
    }
    for (; depth > 1; depth--)
        R->add(P, false, &R->sum, next(P, &g->sum), partial[depth - 2], partial[depth - 1]);
    if (depth > 0)
        memcpy(total, partial[0], sizeof partial[0]);
}

/* ---- bf16 in binary32 ---------------------------------------------------------------------- */

/* bf16(x), where that may be computed in binary32 (arith_carried_by_float). By itself, so that it
 * becomes vectors. */
static __attribute__((noinline)) void fit_carried(float x[LANES]) {
    for (int i = 0; i < LANES; i++)
        x[i] = gka_round_core_f32(&gka_bf16, GKA_NEAREST_EVEN, x[i]);
}

static void add_carried(float s[LANES], const float v[LANES]) {
    for (int i = 0; i < LANES; i++)
        s[i] += v[i];
    fit_carried(s);
}

/* in_pairs */
static void pairs_carried(const group *g, double total[LANES]) {
    float partial[PARTIALS][LANES] = {{0}}, a[DEPTH][LANES] = {{0}};
    int64_t depth = 0;
    for (int64_t j = 0; j < g->m; j++) {
        const int64_t columns = g->m - j < DEPTH ? g->m - j : DEPTH;
        for (int64_t i = 0; j % DEPTH == 0 && i < g->rows; i++)
            for (int64_t k = 0; k < columns; k++)
                a[k][i] = (float)g->M[i * g->row + (j + k) * g->column];
        const float b = (float)g->x[j];
        for (int i = 0; i < LANES; i++)
            partial[depth][i] = a[j % DEPTH][i] * b;
        fit_carried(partial[depth++]);
        for (int64_t full = j; full & 1; full >>= 1, depth--)
            add_carried(partial[depth - 2], partial[depth - 1]);
    }
    for (; depth > 1; depth--)
        add_carried(partial[depth - 2], partial[depth - 1]);
    for (int i = 0; i < LANES && depth > 0; i++)
        total[i] = (double)partial[0][i];
}

void ARITH_LANES(const gka_policy *P, uint64_t at, int64_t n, int64_t m, const double *M,
                 int64_t row, int64_t column, const double *x, double *y) {
    const uint64_t stride = 4 * (uint64_t)m + 4, length = (uint64_t)m, seed = P->seed;
    const plans R = {gka_plan_of(&P->operand, P->rounding),
                     gka_plan_of(&P->product, P->rounding),
                     gka_plan_of(&P->accumulator, P->rounding),
                     gka_plan_of(&P->storage, P->rounding),
                     !arith_same_format(&P->storage, &P->operand),
                     !arith_same_format(&P->storage, &P->accumulator),
                     fits[P->rounding],
                     adds[P->rounding]};
    for (int64_t i = 0; i < n; i += LANES) {
        const uint64_t base = at + (uint64_t)i * stride;
        group g = {.rows = n - i < LANES ? n - i : LANES,
                   .m = m,
                   .M = M + i * row,
                   .x = x,
                   .row = row,
                   .column = column,
                   .b_at = at + (uint64_t)n * stride,
                   .left = {.seed = seed, .at = base + 3 * length + 1, .stride = stride},
                   .product = {.seed = seed, .at = base, .stride = stride},
                   .sum = {.seed = seed, .at = base + length, .stride = stride},
                   .blocks = {.seed = seed, .at = base + 2 * length, .stride = stride}};
        source store = {.seed = seed, .at = base + 3 * length, .stride = stride};
        double total[LANES] = {0};
        if (P->order == GKA_PAIRWISE && arith_carried_by_float(P))
            pairs_carried(&g, total);
        else if (P->order == GKA_PAIRWISE)
            in_pairs(P, &R, &g, total);
        else
            in_order(P, &R, &g, total);
        if (R.rounds_storage)
            R.fit(&R.storage, next(P, &store), total);
        memcpy(y + i, total, (size_t)g.rows * sizeof *y);
    }
}
