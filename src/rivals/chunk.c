/* chunk.c - linear attention, the delta rule and MesaNet by chunks of C tokens, with the roundings
 * that the Triton sources of flash-linear-attention 0.4.1 write down (their casts), each a point.
 *
 * Within a chunk G_i = g_1 + .. + g_i, M_ij = exp(G_i - G_j) for j <= i, else 0; S_0, H_0, U_0 the
 * states before it, n its tokens, b(.) rounding to bf16, h(.) to fp16, the type in which MesaNet's
 * kernels take q and k and keep H and U:
 *
 *   linear   y_j = b(beta_j v_j)
 *   delta    A_ij = beta_i M_ij <k_i, k_j> for j < i      T = (I + A)^-1, unit lower triangular
 *            u = b(b(T) b(beta v))      w = b(b(T) b(beta exp(G) k))      y = u - w b(S_0)
 *   both     o_i = s (exp(G_i) b(S_0)^T q_i + sum_j b(M_ij <q_i, k_j>) b(y_j))
 *            S <- exp(G_n) S + sum_j k_j b(exp(G_n - G_j) y_j)^T
 *   by       G_i of every channel d; B_ij(x) = sum_d x_d k_jd exp(G_id - G_jd) for M_ij <x, k_j>
 *   channel  o_i = s b(exp(G_i) q_i)^T b(S_0) + sum_j b(s B_ij(q_i)) b(y_j)
 *            S <- exp(G_n) S + sum_j b(exp(G_n - G_j) k_j) b(y_j)^T; T, u, w, y as above
 *   mesa     H_i y = sum_j h(M_ij beta_j <h(y), k_j>) k_j + h(exp(G_i) y)^T h(H_0), CG row by row
 *            o_i likewise from x, with b(M_ij beta_j <h(x), k_j>) v_j and h(U_0)
 *            H <- exp(G_n) H + sum_j h(exp(G_n - G_j) beta_j k_j) k_j^T, U with h(v_j)^T
 *
 * Gates by channel cannot be taken out of the sum over d, and exp(-G_j) alone overflows. As in
 * those kernels (and in binary64 too) a chunk is cut into blocks of 16 tokens: between two blocks
 * exp(G_i
 * - G_m) exp(G_m - G_j) is taken, m the first token of the later one, so that both factors are at
 * most 1 and the sum is a matrix product; within a block exp(G_i - G_j) itself.
 *
 * Which products are fused and the order of sums over a row: of mesa as the compiled kernels have
 * them (README.md); of the others as the sources are written, sum by sum, which nothing has shown
 * to matter (conformance/rivals_gpu).
 */
#include "rivals/rival.h"

#include "chunk/tile.h"
#include "problem/functions.h"

#include <stdatomic.h>

const char *gka_rival_point_name(gka_rival_point point) {
#define NAME(id, name, text) name,
    static const char *const names[] = {GKA_RIVAL_POINT_LIST(NAME)};
    return point >= 0 && point < GKA_RIVAL_POINT_COUNT ? names[point] : NULL;
}

const char *gka_rival_point_text(gka_rival_point point) {
#define TEXT(id, name, text) text,
    static const char *const texts[] = {GKA_RIVAL_POINT_LIST(TEXT)};
    return point >= 0 && point < GKA_RIVAL_POINT_COUNT ? texts[point] : NULL;
}

/* ---- one head ------------------------------------------------------------------------------ */

typedef struct tile {
    const gka_problem *problem;
    const gka_rival *rival;
    const gka_rival_profile *profile;
    gka_rival_outputs *out;
    const gka_device *exact64, *working;
    bool f32, fp16;                     /* elementwise work in binary32; the 16-bit type is fp16 */
    bool delta, channel, base2;         /* the delta rule; gates by channel; their G times log2 e */
    sum_order order;                    /* of sums over a row */
    int64_t n, h, D, V, C, first, rows; /* first token of the chunk in its sequence, tokens in it */
    gka_span span;
    double s;
    double *q, *k, *v, *beta, *G, *expG, *M; /* [C,D] [C,D] [C,V] [C] [C] [C] [C,C] */
    double *S, *H, *S0, *H0;                 /* [D,V] [D,D], and what products read of them */
    double *T, *score, *y, *yb, *a, *b, *o;  /* [C,C] [C,C] and [C,max(D,V)] */
    double *x, *r, *p, *w, *rho;             /* of the solve: [C,D], [C] */
    double *Gd, *expGd;                      /* [C,D]: G by channel */
    void *pack;
} tile;

static bool has(const tile *W, gka_rival_point point) {
    return W->profile->released >> point & 1u;
}

/* x in the working precision */
static double working(const tile *W, double x) {
    return w(W->f32, x);
}

static double low(const tile *W, gka_rival_point point, double x) {
    return has(W, point) ? low_of(W->fp16, x) : x;
}

static void low_all(const tile *W, gka_rival_point point, int64_t n, const double *x, double *out) {
    for (int64_t i = 0; i < n; i++)
        out[i] = low(W, point, x[i]);
}

static double exp_of(const tile *W, double x) {
    return has(W, GKA_RIVAL_POINT_EXP) ? gka_device_exp(W->profile->device, x)
                                       : working(W, gka_device_exp(W->exact64, x));
}

/* M [n,m] in memory and its transpose */
static gka_matrix plain(const double *M, int64_t m) {
    return (gka_matrix){M, (ptrdiff_t)m, 1};
}

static gka_matrix turned(const double *M, int64_t m) {
    return (gka_matrix){M, 1, (ptrdiff_t)m};
}

/* c += a b; both: the operands are numbers of the 16-bit type, fp16 or bf16 */
static void add_product_of(const tile *W, bool both, bool fp16, int64_t M, int64_t N, int64_t K,
                           gka_matrix a, gka_matrix b, double *c) {
    const bool core = both && has(W, GKA_RIVAL_POINT_TENSOR_CORE);
    const gka_mma_input input = !core ? GKA_MMA_WORKING : fp16 ? GKA_MMA_FP16 : GKA_MMA_BF16;
    gka_mma(core ? W->profile->device : W->working, input, M, N, K, a, b, c, N, W->pack);
}

static void add_product(const tile *W, bool both, int64_t M, int64_t N, int64_t K, gka_matrix a,
                        gka_matrix b, double *c) {
    add_product_of(W, both, W->fp16, M, N, K, a, b, c);
}

/* c = a b */
static void product(const tile *W, bool both, int64_t M, int64_t N, int64_t K, gka_matrix a,
                    gka_matrix b, double *c) {
    zero(c, M * N);
    add_product(W, both, M, N, K, a, b, c);
}

/* ---- gates and masks ----------------------------------------------------------------------- */

static double log_gate(const tile *W, int64_t t) {
    switch (W->rival->gating) {
    case GKA_GATING_FIXED: return gka_pinned_log(1 - ldexp(1, (int)-(5 + W->h)));
    case GKA_GATING_HEAD: return gka_problem_g(W->problem, W->span.b, t, W->h);
    default: return 0;
    }
}

/* The log gates of token t by channel; as gka_rival_forward, g in each where no gk is given. */
static void log_gates(const tile *W, int64_t t, double *out) {
    const gka_view *const gk = &W->rival->gk;
    if (gk->data != NULL)
        gka_view_row(gk, W->span.b, t, W->h, W->D, out);
    for (int64_t d = 0; d < W->D; d++)
        out[d] =
            working(W, gk->data != NULL ? out[d] : gka_problem_g(W->problem, W->span.b, t, W->h));
}

static double exp_by_channel(const tile *W, double x) {
    return W->base2 ? gka_device_exp2(W->profile->device, working(W, x)) : exp_of(W, working(W, x));
}

/* G of every channel from its log gates, and exp(G). A warp of the kernel holds two tokens: the sum
 * runs over pairs. */
static void sum_channels(tile *W) {
    const int64_t n = W->rows, D = W->D;
    const double unit = !W->base2 ? 1 : W->f32 ? 0x1.715476p0 : 0x1.71547652b82fep0; /* log2 e */
    for (int64_t d = 0; d < D; d++) {
        for (int64_t i = 0; i < n; i++)
            W->G[i] = W->Gd[i * D + d];
        for (int64_t i = 0; i < n; i += 2) {
            const double before = i > 0 ? W->G[i - 1] : 0;
            if (i + 1 < n)
                W->G[i + 1] = working(W, before + working(W, W->G[i] + W->G[i + 1]));
            W->G[i] = working(W, before + W->G[i]);
        }
        for (int64_t i = 0; i < n; i++)
            W->Gd[i * D + d] = working(W, unit * W->G[i]);
    }
    for (int64_t i = 0; i < n * D; i++)
        W->expGd[i] = exp_by_channel(W, W->Gd[i]);
}

static void load(tile *W) {
    const int64_t b = W->span.b, D = W->D, n = W->rows;
    const bool narrow = W->fp16 && has(W, GKA_RIVAL_POINT_ARITHMETIC);
    for (int64_t i = 0; i < n; i++) {
        const int64_t t = W->span.begin + W->first + i;
        gka_problem_q(W->problem, b, t, W->h, W->q + i * D);
        gka_problem_k(W->problem, b, t, W->h, W->k + i * D);
        gka_problem_v(W->problem, b, t, W->h, W->v + i * W->V);
        W->beta[i] = working(W, W->rival->writes ? gka_problem_beta(W->problem, b, t, W->h) : 1);
        W->G[i] = working(W, log_gate(W, t));
        if (W->channel)
            log_gates(W, t, W->Gd + i * D);
    }
    for (int64_t i = 0; i < n * D && narrow; i++) {
        W->q[i] = low_of(true, W->q[i]);
        W->k[i] = low_of(true, W->k[i]);
    }
    low_all(W, GKA_RIVAL_POINT_SNAPSHOT, D * W->V, W->S, W->S0);
    if (W->channel) {
        sum_channels(W);
        return;
    }
    gka_scan_sum(W->f32 ? SUM_WARP : SUM64, n, W->G, W->G);
    for (int64_t i = 0; i < n; i++)
        W->expG[i] = exp_of(W, W->G[i]);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            W->M[i * n + j] = j <= i ? exp_of(W, working(W, W->G[i] - W->G[j])) : 0;
}

/* exp(G_n - G_j) */
static double tail(const tile *W, int64_t j) {
    return exp_of(W, working(W, W->G[W->rows - 1] - W->G[j]));
}

/* S = exp(G_n) S + left^T right; left [n,D], right [n,m] */
static void carry(tile *W, bool both, int64_t m, double *S, const double *left,
                  const double *right) {
    const int64_t D = W->D, n = W->rows;
    const double decay = W->expG[n - 1];
    for (int64_t i = 0; i < D * m; i++)
        S[i] = working(W, S[i] * decay);
    add_product(W, both, D, m, n, turned(left, D), plain(right, m), S);
}

/* out_i += sum_j b(M_ij <rows_i, k_j>) y_j, y [n,m]. y_bf16: y are bf16 numbers, as the rows are */
static void add_scores(tile *W, int64_t m, const double *rows, const double *y, bool y_bf16,
                       double *out) {
    const int64_t D = W->D, n = W->rows;
    product(W, true, n, n, D, plain(rows, D), turned(W->k, D), W->score);
    for (int64_t i = 0; i < n * n; i++)
        W->score[i] = low(W, GKA_RIVAL_POINT_SCORE, working(W, W->score[i] * W->M[i]));
    product(W, y_bf16 && has(W, GKA_RIVAL_POINT_SCORE), n, m, n, plain(W->score, n), plain(y, m),
            W->b);
    for (int64_t i = 0; i < n * m; i++)
        out[i] = working(W, out[i] + W->b[i]);
}

/* o = s o */
static void put_o(tile *W, double s) {
    const int64_t n = W->rows, V = W->V;
    for (int64_t i = 0; i < n; i++) {
        const int64_t row =
            (W->span.b * W->problem->T + W->span.begin + W->first + i) * W->problem->H + W->h;
        for (int64_t j = 0; j < V && W->out->o != NULL; j++) {
            const double o = working(W, s * W->o[i * V + j]);
            W->out->o[row * V + j] = has(W, GKA_RIVAL_POINT_STORE_O) ? bf16(o) : o;
        }
        for (int64_t j = 0; j < W->D && W->out->x != NULL && W->x != NULL; j++)
            W->out->x[row * W->D + j] = low(W, GKA_RIVAL_POINT_STORE_O, W->x[i * W->D + j]);
    }
}

/* <x, y> over a row of D <= 128, padded with zeros to a power of two. first: before the iteration
 * the kernel holds eight neighbours in a thread, later two of every eight. */
static double row_dot(const tile *W, bool first, const double *x, const double *y) {
    if (W->order != SUM_WARP)
        return gka_row_dot(W->order, 64, W->D, x, y);
    double a[128] = {0}, b[128] = {0}, lane[16];
    int64_t n = 16;
    while (n < W->D)
        n *= 2;
    copy(a, x, W->D);
    copy(b, y, W->D);
    if (!first)
        return gka_row_dot(SUM_WARP, 64, n, a, b);
    for (int64_t i = 0; i < n / 8; i++)
        lane[i] = gka_row_dot_thread(SUM_WARP, 8, a + 8 * i, b + 8 * i);
    for (int64_t half = n / 16; half >= 1; half /= 2)
        for (int64_t i = 0; i < half; i++)
            lane[i] = working(W, lane[i] + lane[i + half]);
    return lane[0];
}

/* ---- gates by channel ----------------------------------------------------------------------- */

enum { BLOCK = 16 }; /* tokens */

/* x cut to a tf32 operand, where the device has such products and the point is on */
static double operand_of(const tile *W, double x) {
    return has(W, GKA_RIVAL_POINT_TF32) && W->profile->device->core[GKA_MMA_TF32].group > 0
               ? gka_cut_tf32(x)
               : x;
}

/* out [m,first] += sum_d x_id exp(G_id - G_(first)d) right_jd, for the m tokens i from `first` on.
 * The delta rule's kernel scales sums, linear attention's the operand. */
static void across(tile *W, int64_t first, int64_t m, const double *x, double s, double *out) {
    const int64_t D = W->D;
    const bool core = has(W, GKA_RIVAL_POINT_TENSOR_CORE) && has(W, GKA_RIVAL_POINT_TF32) &&
                      W->profile->device->core[GKA_MMA_TF32].group > 0;
    for (int64_t i = 0; i < m; i++)
        for (int64_t d = 0; d < D; d++) {
            const int64_t at = (first + i) * D + d;
            const double gate = exp_by_channel(W, W->Gd[at] - W->Gd[first * D + d]);
            W->a[i * D + d] = operand_of(W, working(W, s * working(W, x[at] * gate)));
        }
    gka_mma(core ? W->profile->device : W->working, core ? GKA_MMA_TF32 : GKA_MMA_WORKING, m, first,
            D, plain(W->a, D), turned(W->w, D), out, W->rows, W->pack);
}

/* M_ij and score_ij of two tokens of one block, each sum rounded as its kernel writes it */
static void within(tile *W, int64_t i, int64_t j) {
    const int64_t n = W->rows, D = W->D;
    const double *const q = W->q + i * D, *const k = W->k + i * D, *const key = W->k + j * D;
    double *const left = W->r, *const right = W->p, *const gated = W->a;
    for (int64_t d = 0; d < D; d++) {
        const double gate = exp_by_channel(W, W->Gd[i * D + d] - W->Gd[j * D + d]);
        gated[d] = working(W, key[d] * gate);
        left[d] = W->delta ? q[d] : working(W, q[d] * key[d]);
        right[d] = W->delta ? gated[d] : gate;
    }
    W->M[i * n + j] = working(W, W->s * row_dot(W, true, left, right));
    for (int64_t d = 0; d < D && W->delta; d++)
        left[d] = working(W, W->beta[i] * k[d]);
    W->score[i * n + j] = W->delta && j < i ? row_dot(W, true, left, gated) : 0;
}

/* M_ij = b(s B_ij(q_i)) for j <= i; of the delta rule A_ij = beta_i B_ij(k_i) for j < i in `score`.
 */
static void scores_by_channel(tile *W) {
    const int64_t n = W->rows, D = W->D;
    zero(W->M, n * n);
    zero(W->score, n * n);
    for (int64_t first = 0; first < n; first += BLOCK) {
        const int64_t m = n - first < BLOCK ? n - first : BLOCK;
        for (int64_t i = 0; i < first * D; i++)
            W->w[i] = operand_of(
                W, working(W, W->k[i] * exp_by_channel(W, W->Gd[first * D + i % D] - W->Gd[i])));
        across(W, first, m, W->q, W->delta ? 1 : W->s, W->M + first * n);
        if (W->delta)
            across(W, first, m, W->k, 1, W->score + first * n);
        for (int64_t i = first; i < first + m; i++) {
            for (int64_t j = 0; j < first; j++) {
                W->M[i * n + j] = working(W, (W->delta ? W->s : 1) * W->M[i * n + j]);
                W->score[i * n + j] = working(W, W->beta[i] * W->score[i * n + j]);
            }
            for (int64_t j = first; j <= i; j++)
                within(W, i, j);
        }
    }
    low_all(W, GKA_RIVAL_POINT_SCORE, n * n, W->M, W->M);
}

/* o = s b(exp(G) q) b(S_0) + M b(y), and the state after the chunk; y as new_values leaves them */
static void chunk_by_channel(tile *W) {
    const int64_t n = W->rows, D = W->D, V = W->V;
    const bool value = has(W, GKA_RIVAL_POINT_NEW_VALUE);
    double *const last = W->expGd + (n - 1) * D;
    for (int64_t i = 0; i < n * D; i++)
        W->r[i] = low(W, GKA_RIVAL_POINT_OPERAND_Q, working(W, W->q[i] * W->expGd[i]));
    product(W, has(W, GKA_RIVAL_POINT_OPERAND_Q) && has(W, GKA_RIVAL_POINT_SNAPSHOT), n, V, D,
            plain(W->r, D), plain(W->S0, V), W->o);
    for (int64_t i = 0; i < n * V; i++)
        W->o[i] = working(W, W->s * W->o[i]);
    add_product(W, value && has(W, GKA_RIVAL_POINT_SCORE), n, V, n, plain(W->M, n), plain(W->yb, V),
                W->o);
    for (int64_t i = 0; i < n * D; i++)
        W->r[i] =
            low(W, GKA_RIVAL_POINT_STATE_OPERAND,
                working(W, W->k[i] * exp_by_channel(W, W->Gd[(n - 1) * D + i % D] - W->Gd[i])));
    for (int64_t i = 0; i < D * V; i++)
        W->S[i] = working(W, W->S[i] * last[i / V]);
    add_product(W, value && has(W, GKA_RIVAL_POINT_STATE_OPERAND), D, V, n, turned(W->r, D),
                plain(W->yb, V), W->S);
    put_o(W, 1);
}

/* ---- the delta rule and linear attention ---------------------------------------------------- */

/* T = (I + A)^-1 row by row: T_i = e_i - sum_(m<i) A_im T_m */
static void invert(tile *W) {
    const int64_t n = W->rows;
    double *const A = W->score, *const T = W->T;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = i == j ? 1 : 0;
            for (int64_t m = j; m < i; m++)
                sum = W->f32 ? (double)fmaf((float)-A[i * n + m], (float)T[m * n + j], (float)sum)
                             : sum - A[i * n + m] * T[m * n + j];
            T[i * n + j] = sum;
        }
    low_all(W, GKA_RIVAL_POINT_INVERSE, n * n, T, T);
}

/* A in `score` */
static void scores_of_keys(tile *W) {
    const int64_t n = W->rows, D = W->D;
    product(W, true, n, n, D, plain(W->k, D), turned(W->k, D), W->score);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            W->score[i * n + j] =
                j < i ? working(W, W->beta[i] * working(W, W->score[i * n + j] * W->M[i * n + j]))
                      : 0;
}

/* y = u - w S_0 */
static void new_values(tile *W) {
    const int64_t n = W->rows, D = W->D, V = W->V;
    const bool both = has(W, GKA_RIVAL_POINT_INVERSE) && has(W, GKA_RIVAL_POINT_OPERAND);
    if (!W->channel)
        scores_of_keys(W);
    invert(W);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < V; j++)
            W->a[i * V + j] =
                low(W, GKA_RIVAL_POINT_OPERAND, working(W, W->beta[i] * W->v[i * V + j]));
    product(W, both, n, V, n, plain(W->T, n), plain(W->a, V), W->y);
    low_all(W, GKA_RIVAL_POINT_STORE_WU, n * V, W->y, W->y);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < D; j++)
            W->a[i * D + j] = low(W, GKA_RIVAL_POINT_OPERAND,
                                  working(W, (W->channel ? W->expGd[i * D + j] : W->expG[i]) *
                                                 working(W, W->beta[i] * W->k[i * D + j])));
    product(W, both, n, D, n, plain(W->T, n), plain(W->a, D), W->b);
    low_all(W, GKA_RIVAL_POINT_STORE_WU, n * D, W->b, W->b);
    product(W, has(W, GKA_RIVAL_POINT_STORE_WU) && has(W, GKA_RIVAL_POINT_SNAPSHOT), n, V, D,
            plain(W->b, D), plain(W->S0, V), W->a);
    for (int64_t i = 0; i < n * V; i++)
        W->y[i] = working(W, W->y[i] - W->a[i]);
}

static void chunk_of_state(tile *W) {
    const int64_t n = W->rows, V = W->V;
    if (W->channel)
        scores_by_channel(W);
    if (W->delta) {
        new_values(W);
    } else {
        for (int64_t i = 0; i < n * V; i++)
            W->y[i] = low(W, GKA_RIVAL_POINT_OPERAND, working(W, W->beta[i / V] * W->v[i]));
    }
    low_all(W, GKA_RIVAL_POINT_NEW_VALUE, n * V, W->y, W->yb);
    if (W->channel) {
        chunk_by_channel(W);
        return;
    }
    product(W, has(W, GKA_RIVAL_POINT_SNAPSHOT), n, V, W->D, plain(W->q, W->D), plain(W->S0, V),
            W->o);
    for (int64_t i = 0; i < n * V; i++)
        W->o[i] = working(W, W->expG[i / V] * W->o[i]);
    add_scores(W, V, W->q, W->yb, has(W, GKA_RIVAL_POINT_NEW_VALUE), W->o);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < V; j++)
            W->yb[i * V + j] =
                low(W, GKA_RIVAL_POINT_STATE_OPERAND, working(W, W->y[i * V + j] * tail(W, i)));
    carry(W, has(W, GKA_RIVAL_POINT_STATE_OPERAND), V, W->S, W->k, W->yb);
    put_o(W, W->s);
}

/* ---- MesaNet -------------------------------------------------------------------------------- */

/* out = states after each token applied to the rows (H, or when they are read U); y [n,m] what k_j
 * is paired with */
static void apply(tile *W, bool read, int64_t m, const double *S0, const double *rows,
                  const double *y, double *out) {
    const int64_t n = W->rows, D = W->D;
    const gka_rival_point rounds = read ? GKA_RIVAL_POINT_READ_X : GKA_RIVAL_POINT_OPERAND_X;
    const bool rounded = has(W, GKA_RIVAL_POINT_SCORE);
    for (int64_t i = 0; i < n * D; i++) {
        W->a[i] = low(W, rounds, rows[i]);
        W->y[i] = low(W, rounds, working(W, rows[i] * W->expG[i / D]));
    }
    product(W, has(W, rounds), n, n, D, plain(W->a, D), turned(W->k, D), W->score);
    for (int64_t i = 0; i < n * n; i++) {
        const double score = working(W, W->score[i] * W->M[i]);
        W->score[i] = rounded ? low_of(!read, score) : score;
    }
    zero(out, n * m);
    add_product_of(W, rounded, !read, n, m, n, plain(W->score, n), plain(y, m), out);
    add_product(W, has(W, rounds) && has(W, GKA_RIVAL_POINT_SNAPSHOT), n, m, D, plain(W->y, D),
                plain(S0, m), out);
}

static double quotient(const tile *W, double x, double y) {
    return W->f32 ? gka_device_div(W->profile->device, x, y) : x / y;
}

/* One step for row i, w = (H + Lambda) p. Without a guard a row ends where its residual, of which
 * rho is the square, has fallen by the working precision. */
static void step(tile *W, int64_t i, double guard, double end) {
    const int64_t D = W->D;
    double *const p = W->p + i * D, *const r = W->r + i * D, *const x = W->x + i * D;
    const double *const Hp = W->w + i * D;
    const double pw = row_dot(W, false, p, Hp), rho = W->rho[i];
    if (!(guard > 0) && (!(rho > end) || !(pw > 0)))
        return;
    const double alpha = quotient(W, rho, working(W, pw + guard));
    for (int64_t d = 0; d < D; d++) {
        x[d] = fma_w(W->f32, alpha, p[d], x[d]);
        r[d] = fma_w(W->f32, -alpha, Hp[d], r[d]);
    }
    W->rho[i] = row_dot(W, false, r, r);
    const double turn = quotient(W, W->rho[i], working(W, rho + guard));
    for (int64_t d = 0; d < D; d++)
        p[d] = fma_w(W->f32, turn, p[d], r[d]);
}

static void chunk_of_mesa(tile *W) {
    const int64_t n = W->rows, D = W->D, V = W->V;
    const gka_rival *const rival = W->rival;
    const int steps = rival->num_iter > 0 ? rival->num_iter : W->problem->num_iter;
    const double guard = working(W, has(W, GKA_RIVAL_POINT_GUARD) ? 1e-5 : rival->guard);
    const double u = W->f32 ? 0x1p-24 : 0x1p-53;
    low_all(W, GKA_RIVAL_POINT_SNAPSHOT, D * D, W->H, W->H0);
    for (int64_t i = 0; i < n * n; i++)
        W->M[i] = working(W, W->M[i] * W->beta[i % n]);
    zero(W->x, n * D);
    copy(W->r, W->q, n * D);
    copy(W->p, W->q, n * D);
    for (int64_t i = 0; i < n; i++)
        W->T[i] = W->rho[i] = row_dot(W, true, W->q + i * D, W->q + i * D);
    for (int it = 0; it < steps; it++) {
        apply(W, false, D, W->H0, W->p, W->k, W->w);
        for (int64_t i = 0; i < n * D; i++) {
            const double ridge =
                rival->diagonal != NULL ? rival->diagonal[W->h * D + i % D] : rival->ridge;
            W->w[i] = fma_w(W->f32, working(W, ridge), W->p[i], W->w[i]);
        }
        for (int64_t i = 0; i < n; i++)
            step(W, i, guard, u * u * W->T[i]);
    }
    apply(W, true, V, W->S0, W->x, W->v, W->o);
    for (int64_t i = 0; i < n; i++)
        for (int64_t d = 0; d < D; d++)
            W->a[i * D + d] =
                low(W, GKA_RIVAL_POINT_STATE_OPERAND,
                    working(W, W->beta[i] * working(W, W->k[i * D + d] * tail(W, i))));
    const bool both = has(W, GKA_RIVAL_POINT_STATE_OPERAND);
    low_all(W, GKA_RIVAL_POINT_STATE_OPERAND, n * V, W->v, W->b);
    carry(W, both, D, W->H, W->a, W->k);
    carry(W, both, V, W->S, W->a, W->b);
    put_o(W, W->s);
}

/* ---- all heads ----------------------------------------------------------------------------- */

static size_t layout(tile *W, unsigned char *base) {
    const int64_t D = W->D, V = W->V, C = W->C, widest = D > V ? D : V;
    const int64_t most = ((C > widest ? C : widest) + 15) / 16 * 16;
    const bool mesa = W->rival->recurrence == GKA_RIVAL_MESA;
    struct {
        double **place;
        int64_t count;
    } const arrays[] = {{&W->q, C * D},
                        {&W->k, C * D},
                        {&W->v, C * V},
                        {&W->beta, C},
                        {&W->G, C},
                        {&W->expG, C},
                        {&W->M, C * C},
                        {&W->S, D * V},
                        {&W->S0, D * V},
                        {&W->H, mesa ? D * D : 0},
                        {&W->H0, mesa ? D * D : 0},
                        {&W->T, C * C},
                        {&W->score, C * C},
                        {&W->y, C * widest},
                        {&W->yb, C * widest},
                        {&W->a, C * widest},
                        {&W->b, C * widest},
                        {&W->o, C * V},
                        {&W->x, C * D},
                        {&W->r, C * D},
                        {&W->p, C * D},
                        {&W->w, C * D},
                        {&W->rho, C},
                        {&W->Gd, W->channel ? C * D : 0},
                        {&W->expGd, W->channel ? C * D : 0}};
    size_t at = 0;
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        if (base != NULL)
            *arrays[i].place = (double *)(void *)(base + at);
        at += ((size_t)arrays[i].count * sizeof(double) + 63) / 64 * 64;
    }
    W->pack = base == NULL ? NULL : base + at;
    const gka_device *const devices[] = {W->exact64, W->profile->device};
    size_t pack = 0;
    const gka_mma_input inputs[] = {GKA_MMA_WORKING, GKA_MMA_BF16, GKA_MMA_FP16, GKA_MMA_TF32};
    for (int i = 0; i < 4; i++) {
        const gka_device *const device = devices[i > 0];
        const size_t left = gka_mma_left_size(device, inputs[i], most, most),
                     right = gka_mma_right_size(device, inputs[i], most, most);
        pack = left + right + 128 > pack ? left + right + 128 : pack;
    }
    return at + (pack + 63) / 64 * 64;
}

typedef struct job {
    tile pattern;
    unsigned char *memory;
    size_t stride;
    const gka_progress *progress;
    int64_t done;
    atomic_bool stop;
} job;

static double norm_of(const tile *W) {
    const bool mesa = W->rival->recurrence == GKA_RIVAL_MESA;
    const double *const S = mesa ? W->H : W->S;
    double sum = 0;
    for (int64_t i = 0; i < W->D * (mesa ? W->D : W->V); i++)
        sum += S[i] * S[i];
    return sqrt(sum);
}

static void do_head(void *context, int64_t item, int worker) {
    job *const J = context;
    tile W = J->pattern;
    const gka_problem *const P = W.problem;
    const bool mesa = W.rival->recurrence == GKA_RIVAL_MESA;
    if (atomic_load(&J->stop))
        return;
    (void)layout(&W, J->memory + (size_t)worker * J->stride);
    W.h = item % P->H;
    W.span = gka_problem_span(P, item / P->H);
    zero(W.S, W.D * W.V);
    if (mesa)
        zero(W.H, W.D * W.D);
    else
        W.x = NULL;
    const int64_t length = W.span.end - W.span.begin;
    for (W.first = 0; W.first < length && !gka_stopped(); W.first += W.C) {
        W.rows = length - W.first < W.C ? length - W.first : W.C;
        load(&W);
        if (mesa)
            chunk_of_mesa(&W);
        else
            chunk_of_state(&W);
        for (int64_t i = 0; i < W.rows && W.out->norm != NULL; i++) {
            const int64_t t = W.span.begin + W.first + i;
            W.out->norm[(W.span.b * P->T + t) * P->H + W.h] =
                i == W.rows - 1 ? norm_of(&W) : (double)NAN;
        }
    }
#pragma omp critical(gka_outputs)
    {
        J->done++;
        if (!gka_progress_report(J->progress, (double)J->done, (double)(P->N * P->H)))
            atomic_store(&J->stop, true);
    }
}

gka_status gka_rival_chunk_check(const gka_problem *problem, const gka_rival *rival,
                                 const gka_rival_profile *profile, gka_error *error) {
    gka_status status = gka_rival_check(rival, problem, error);
    if (status == GKA_OK)
        status = gka_device_check(profile->device, error);
    if (status != GKA_OK)
        return status;
    if (rival->recurrence == GKA_RIVAL_SOFTMAX || rival->recurrence == GKA_RIVAL_GKA ||
        rival->recurrence == GKA_RIVAL_KALMAN)
        return gka_fail(error, GKA_UNSUPPORTED, "%s has no chunk form here", rival->name);
    const bool rounds = profile->released & ~(1u << GKA_RIVAL_POINT_ARITHMETIC);
    const gka_view *const views[] = {&problem->q, &problem->k, &problem->v};
    for (int i = 0; i < 3 && rounds; i++)
        if (views[i]->dtype != GKA_BF16)
            return gka_fail(error, GKA_UNSUPPORTED,
                            "%s by chunks on %s: q, k, v of BF16 were "
                            "expected, not %s",
                            rival->name, profile->device->name, gka_dtype_name(views[i]->dtype));
    const bool mesa = rival->recurrence == GKA_RIVAL_MESA;
    const gka_tensor_core *const core = profile->device->core;
    const bool no_bf16 = core[GKA_MMA_BF16].group == 0,
               no_fp16 = mesa && core[GKA_MMA_FP16].group == 0;
    if ((profile->released >> GKA_RIVAL_POINT_TENSOR_CORE & 1u) != 0 && (no_bf16 || no_fp16))
        return gka_fail(error, GKA_UNSUPPORTED, "%s has no matrix unit for %s%s%s",
                        profile->device->name, no_bf16 ? "bf16" : "",
                        no_bf16 && no_fp16 ? " and " : "", no_fp16 ? "fp16" : "");
    return GKA_OK;
}

gka_status gka_rival_chunk(const gka_problem *problem, const gka_rival *rival,
                           const gka_rival_profile *profile, gka_rival_outputs *out,
                           const gka_progress *progress, gka_error *error) {
    const gka_status status = gka_rival_chunk_check(problem, rival, profile, error);
    if (status != GKA_OK || problem->N == 0 || problem->H == 0)
        return status;
    job J = {.pattern = {.problem = problem,
                         .rival = rival,
                         .profile = profile,
                         .out = out,
                         .exact64 = gka_device_find("exact64"),
                         .D = problem->D,
                         .V = problem->V,
                         .C = gka_problem_chunk_size(problem)},
             .progress = progress};
    tile *const W = &J.pattern;
    W->f32 = profile->device->binary32 && has(W, GKA_RIVAL_POINT_ARITHMETIC);
    W->fp16 = rival->recurrence == GKA_RIVAL_MESA;
    W->delta = rival->recurrence == GKA_RIVAL_DELTA;
    W->channel = rival->gating == GKA_GATING_CHANNEL;
    W->base2 = W->channel && W->delta && has(W, GKA_RIVAL_POINT_EXP);
    W->order = !W->f32 ? SUM64 : W->D > 128 ? SUM32 : SUM_WARP;
    W->working = W->f32 ? gka_device_find("ieee32") : W->exact64;
    W->s = working(W, problem->scale);
    J.stride = layout(W, NULL);
    J.memory = gka_alloc((size_t)gka_threads(), J.stride);
    if (J.memory == NULL)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory: %d workers of %zu bytes",
                        gka_threads(), J.stride);
    const bool all = gka_parallel(problem->N * problem->H, do_head, &J);
    gka_free(J.memory);
    return atomic_load(&J.stop) || !all ? gka_fail(error, GKA_INTERRUPTED, "interrupted") : GKA_OK;
}
