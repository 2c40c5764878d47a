/* kernels.c - the inner loops of the certified oracle, compiled once per instruction set.
 *
 *   H, U, R    matrices in strips of eight columns (kernels.h); a lane is a column, and what is
 *              summed over columns is kept for each of the eight (lanes.h: PARTS values)
 *   gamma      gh + gl
 *   s, rest    an anchored sum: s on the anchor's grid, rest below it (kernels.h)
 *   v          a bound of an anchored sum
 *
 * Derivation of every bound: src/oracle/README.md, section kernels.
 */
#include "oracle/kernels.h"
#include "oracle/bound.h"
#include "oracle/lanes.h"

#define TINY_SUM  0x1p-900 /* keeps anchors normal */
#define TINY_NORM 0x1p-500

/* ---- anchored sums ------------------------------------------------------------------------- */

typedef struct anchored {
    lanes anchor, s, rest;
} anchored;

GKA_INLINE anchored anchored_at(lanes v) {
    const lanes anchor = lanes_binade(v) * 6;
    return (anchored){anchor, anchor, lanes_all(0)};
}

/* + a b with a = a.hi + a.lo, b = b.hi + b.lo; a.lo b.lo is left out */
GKA_INLINE void anchored_add(anchored *sum, lanes_dd a, lanes_dd b) {
    const lanes s = lanes_fma(a.hi, b.hi, sum->s), part = s - sum->s;
    const lanes d = lanes_fma(a.hi, b.hi, -part);
    sum->rest += lanes_fma(a.hi, b.lo, lanes_fma(a.lo, b.hi, d));
    sum->s = s;
}

/* + a^2 with a = a.hi + a.lo; a.lo^2 is left out */
GKA_INLINE void anchored_add_square(anchored *sum, lanes_dd a) {
    const lanes s = lanes_fma(a.hi, a.hi, sum->s), part = s - sum->s;
    sum->rest += lanes_fma(a.hi + a.hi, a.lo, lanes_fma(a.hi, a.hi, -part));
    sum->s = s;
}

/* Moves what the rest has gathered onto the grid, exactly. */
GKA_INLINE void anchored_fold(anchored *sum) {
    const lanes s = sum->s + sum->rest;
    sum->rest -= s - sum->s;
    sum->s = s;
}

GKA_INLINE lanes_dd anchored_value(const anchored *sum) {
    return lanes_two_sum(sum->s - sum->anchor, sum->rest);
}

GKA_INLINE double sum_error(int64_t n) {
    return (GKA_SUM_ERROR * (double)n + 3) * (GKA_U2 * UP);
}

/* ---- small things -------------------------------------------------------------------------- */

/* Row 0 of column j, the first of LANES. */
GKA_INLINE double *strip(double *M, int64_t n, int64_t j) {
    return M + j / STRIP * n * (2 * STRIP) + j % STRIP;
}

GKA_INLINE const double *strip_const(const double *M, int64_t n, int64_t j) {
    return M + j / STRIP * n * (2 * STRIP) + j % STRIP;
}

GKA_INLINE lanes_dd load_dd(const double *p) {
    return (lanes_dd){lanes_load(p), lanes_load(p + STRIP)};
}

static double norm(int64_t n, const double *x) {
    lanes sum[PARTS] = {0};
    for (int64_t i = 0; i < n; i += STRIP)
        for (int p = 0; p < PARTS; p++) {
            const lanes y = lanes_load(x + i + p * LANES);
            sum[p] = lanes_fma(y, y, sum[p]);
        }
    return sqrt(strip_sum(sum)) * UP + TINY_NORM;
}

typedef struct strip_dd {
    lanes_dd part[PARTS];
} strip_dd;

/* The double-double sum of a strip's eight, first to last. */
GKA_INLINE dd strip_dd_sum(const strip_dd *x) {
    dd sum = {x->part[0].hi[0], x->part[0].lo[0]};
    for (int i = 1; i < STRIP; i++)
        sum = dd_add(sum, (dd){x->part[i / LANES].hi[i % LANES], x->part[i / LANES].lo[i % LANES]});
    return sum;
}

/* gamma m + a b; 13 u^2 |gamma m| + 3 u^2 |a b| */
GKA_INLINE lanes_dd next(lanes gh, lanes gl, lanes_dd m, lanes a, lanes b) {
    const lanes p = gh * m.hi, q = a * b;
    const lanes p_lo = lanes_fma(gl, m.hi, lanes_fma(gh, m.lo, lanes_fma(gh, m.hi, -p)));
    const lanes_dd s = lanes_two_sum(p, q);
    return lanes_fast_two_sum(s.hi, (p_lo + lanes_fma(a, b, -q)) + s.lo);
}

/* ---- H and its norm ------------------------------------------------------------------------ */

static dd update_h(int64_t n, dd gamma, const double *k, double k_norm, double *norms, double *H,
                   double *error) {
    const lanes gh = lanes_all(gamma.hi), gl = lanes_all(gamma.lo);
    strip_dd total = {0};
    lanes bounds[PARTS] = {0};
    for (int64_t j = 0; j < n; j += LANES) {
        const int64_t part = j % STRIP / LANES;
        const lanes kj = lanes_load(k + j);
        const lanes column = gh * lanes_load(norms + j) + lanes_abs(kj) * k_norm;
        const lanes v = column * column * UP + TINY_SUM;
        double *row = strip(H, n, j);
        anchored sum = anchored_at(v);
        for (int64_t i = 0; i < n; i += STRIP) {
            for (int64_t r = 0; r < STRIP; r++, row += 2 * STRIP) {
                const lanes_dd h = next(gh, gl, load_dd(row), lanes_all(k[i + r]), kj);
                lanes_store(row, h.hi);
                lanes_store(row + STRIP, h.lo);
                anchored_add_square(&sum, h);
            }
            anchored_fold(&sum);
        }
        const lanes_dd squares = anchored_value(&sum);
        const lanes off = v * sum_error(n);
        lanes_store(norms + j, lanes_sqrt(lanes_abs(squares.hi) * UP + off) * UP);
        total.part[part] = lanes_dd_add(total.part[part], squares);
        bounds[part] += off;
    }
    const dd sum = strip_dd_sum(&total);
    *error = strip_sum(bounds) * UP + fabs(sum.hi) * (4 * GKA_U2) * (double)(n / STRIP + STRIP);
    return sum;
}

/* ---- Cholesky in binary64 ------------------------------------------------------------------ */

/* Strips of which `factor` makes eight rows at a time: as many as the registers hold. */
enum { TOGETHER = LANES == STRIP ? 2 : 1 };
/* Rows that `solve_upper` sums at a time. */
enum { ROWS = LANES == STRIP ? STRIP : 4 };

/* Row i of column j of a matrix of binary64. */
GKA_INLINE int64_t at(int64_t n, int64_t i, int64_t j) {
    return (j / STRIP * n + i) * STRIP + j % STRIP;
}

/* C = H[i0.., j..], eight rows of LANES columns. */
GKA_INLINE void block_load(int64_t n, const double *H, int64_t i0, int64_t j, lanes C[STRIP]) {
    const double *const row = strip_const(H, n, j) + i0 * (2 * STRIP);
    for (int r = 0; r < STRIP; r++)
        C[r] = lanes_load(row + r * (2 * STRIP));
}

/* C -= R[.., i0..]^T R[.., j..] over the rows above i0, for `count` strips from column j on. */
GKA_INLINE void block_subtract(int count, int64_t n, const double *R, int64_t i0, int64_t j,
                               lanes C[][STRIP]) {
    const double *left = R + at(n, 0, i0), *right = R + at(n, 0, j);
    for (int64_t k = 0; k < i0; k++, left += STRIP, right += STRIP)
        for (int c = 0; c < count; c++) {
            const lanes row = lanes_load(right + c * n * STRIP);
            for (int r = 0; r < STRIP; r++)
                C[c][r] = lanes_fnma(lanes_all(left[r]), row, C[c][r]);
        }
}

GKA_INLINE void block_store(int64_t n, double *R, int64_t i0, int64_t j, const lanes C[STRIP]) {
    for (int r = 0; r < STRIP; r++)
        lanes_store(R + at(n, i0 + r, j), C[r]);
}

/* Rows i0.. of `count` strips from column j on, right of the diagonal block D. */
GKA_INLINE void panels_factor(int count, int64_t n, const double *H, int64_t i0, int64_t j,
                              const double D[STRIP][STRIP], const double *inverse, double *R) {
    lanes C[TOGETHER][STRIP];
    for (int c = 0; c < count; c++)
        block_load(n, H, i0, j + c * STRIP, C[c]);
    block_subtract(count, n, R, i0, j, C);
    for (int c = 0; c < count; c++) {
        for (int r = 0; r < STRIP; r++) {
            C[c][r] = C[c][r] * inverse[i0 + r];
            for (int below = r + 1; below < STRIP; below++)
                C[c][below] = lanes_fnma(lanes_all(D[r][below]), C[c][r], C[c][below]);
        }
        block_store(n, R, i0, j + c * STRIP, (const lanes *)C[c]);
    }
}

/* The diagonal block at i0, also left in D; false: a pivot is not positive. */
GKA_INLINE bool diagonal_factor(int64_t n, const double *H, int64_t i0, double lambda, double *R,
                                double *inverse, double D[STRIP][STRIP]) {
    lanes C[PARTS][STRIP];
    for (int p = 0; p < PARTS; p++) {
        block_load(n, H, i0, i0 + p * LANES, C[p]);
        for (int lane = 0; lane < LANES; lane++)
            C[p][p * LANES + lane][lane] += lambda;
        block_subtract(1, n, R, i0, i0 + p * LANES, &C[p]);
    }
    for (int r = 0; r < STRIP; r++) {
        const double pivot = C[r / LANES][r][r % LANES];
        if (!(pivot > 0 && pivot <= 0x1p1000))
            return false;
        inverse[i0 + r] = 1 / sqrt(pivot);
        for (int p = 0; p < PARTS; p++) {
            C[p][r] = C[p][r] * inverse[i0 + r];
            memcpy(&D[r][p * LANES], &C[p][r], sizeof C[p][r]);
        }
        for (int below = r + 1; below < STRIP; below++)
            for (int p = 0; p < PARTS; p++)
                C[p][below] = lanes_fnma(lanes_all(D[r][below]), C[p][r], C[p][below]);
    }
    for (int p = 0; p < PARTS; p++)
        block_store(n, R, i0, i0 + p * LANES, (const lanes *)C[p]);
    return true;
}

static bool factor(int64_t n, const double *H, double lambda, double *R, double *inverse) {
    double D[STRIP][STRIP];
    for (int64_t i0 = 0; i0 < n; i0 += STRIP) {
        if (!diagonal_factor(n, H, i0, lambda, R, inverse, D))
            return false;
        const double(*const block)[STRIP] = (const double(*)[STRIP])D;
        int64_t j = i0 + STRIP;
        for (; j + (TOGETHER - 1) * STRIP < n; j += TOGETHER * STRIP)
            for (int p = 0; p < STRIP; p += LANES)
                panels_factor(TOGETHER, n, H, i0, j + p, block, inverse, R);
        for (; j < n; j += STRIP)
            for (int p = 0; p < STRIP; p += LANES)
                panels_factor(1, n, H, i0, j + p, block, inverse, R);
    }
    return true;
}

/* R^T y = b: block by block, each sum in four parts added in a fixed order. */
static void solve_lower(int64_t n, const double *R, const double *inverse, const double *b,
                        double *y) {
    for (int64_t i0 = 0; i0 < n; i0 += STRIP) {
        const double *row = R + i0 * n;
        lanes sum[PARTS];
        for (int p = 0; p < PARTS; p++) {
            lanes four[4] = {lanes_load(b + i0 + p * LANES)};
            for (int64_t k = 0; k < i0; k += 4)
                for (int f = 0; f < 4; f++)
                    four[f] = lanes_fnma(lanes_all(y[k + f]),
                                         lanes_load(row + (k + f) * STRIP + p * LANES), four[f]);
            sum[p] = (four[0] + four[2]) + (four[1] + four[3]);
        }
        row += i0 * STRIP;
        for (int r = 0; r < STRIP; r++, row += STRIP) {
            const double yr = sum[r / LANES][r % LANES] * inverse[i0 + r];
            y[i0 + r] = yr;
            for (int p = 0; p < PARTS; p++)
                sum[p] = lanes_fnma(lanes_all(yr), lanes_load(row + p * LANES), sum[p]);
        }
    }
}

/* R x = y */
static void solve_upper(int64_t n, const double *R, const double *inverse, double *x) {
    for (int64_t i0 = n - STRIP; i0 >= 0; i0 -= STRIP) {
        double sum[STRIP];
        for (int r = 0; r < STRIP; r += ROWS) {
            lanes part[ROWS][PARTS] = {{{0}}};
            for (int64_t j = i0 + STRIP; j < n; j += STRIP)
                for (int p = 0; p < PARTS; p++) {
                    const lanes xj = lanes_load(x + j + p * LANES);
                    const double *const row = R + at(n, i0 + r, j + p * LANES);
                    for (int s = 0; s < ROWS; s++)
                        part[s][p] = lanes_fma(lanes_load(row + s * STRIP), xj, part[s][p]);
                }
            for (int s = 0; s < ROWS; s++)
                sum[r + s] = x[i0 + r + s] - strip_sum(part[s]);
        }
        const double *const D = R + at(n, i0, i0);
        for (int r = STRIP - 1; r >= 0; r--) {
            const double xr = sum[r] * inverse[i0 + r];
            x[i0 + r] = xr;
            for (int above = 0; above < r; above++)
                sum[above] = fma(-D[above * STRIP + r], xr, sum[above]);
        }
    }
}

static void solve(int64_t n, const double *R, const double *inverse, const double *b, double *x) {
    solve_lower(n, R, inverse, b, x);
    solve_upper(n, R, inverse, x);
}

/* ---- refinement ---------------------------------------------------------------------------- */

static void correct(int64_t n, const double *d, double *x, double *x_lo) {
    for (int64_t i = 0; i < n; i += LANES) {
        const lanes_dd s = lanes_two_sum(lanes_load(x + i), lanes_load(d + i));
        const lanes_dd y = lanes_fast_two_sum(s.hi, s.lo + lanes_load(x_lo + i));
        lanes_store(x + i, y.hi);
        lanes_store(x_lo + i, y.lo);
    }
}

/* LANES columns of two strips or of one: sum += M^T x. */
GKA_INLINE void product(int count, int64_t n, const double *M, const double *x, const double *x_lo,
                        anchored sum[]) {
    for (int64_t i = 0; i < n; i += STRIP) {
        for (int64_t r = i; r < i + STRIP; r++) {
            const lanes_dd xr = {lanes_all(x[r]), lanes_all(x_lo[r])};
            for (int c = 0; c < count; c++)
                anchored_add(&sum[c], load_dd(M + (c * n + r) * (2 * STRIP)), xr);
        }
        for (int c = 0; c < count; c++)
            anchored_fold(&sum[c]);
    }
}

/* q - lambda x - (H x), the last an anchored sum */
GKA_INLINE lanes assemble(lanes q, dd lambda, lanes_dd x, const anchored *Hx) {
    const lanes lh = lanes_all(lambda.hi), ll = lanes_all(lambda.lo);
    const lanes_dd a = lanes_two_sum(q, -(Hx->s - Hx->anchor)), p = lanes_two_prod(lh, x.hi);
    const lanes_dd c = lanes_two_sum(a.hi, -p.hi);
    const lanes p_lo = lanes_fma(ll, x.hi, lanes_fma(lh, x.lo, p.lo));
    return c.hi + (((c.lo + a.lo) - p_lo) - Hx->rest);
}

GKA_INLINE lanes residual_panels(int count, int64_t n, int64_t j, const double *H,
                                 const double *norms, dd lambda, const double *q, const double *x,
                                 const double *x_lo, double x_norm, double *r) {
    anchored sum[2];
    lanes squares = lanes_all(0);
    for (int c = 0; c < count; c++)
        sum[c] = anchored_at(lanes_load(norms + j + c * STRIP) * (x_norm * UP) + TINY_SUM);
    product(count, n, strip_const(H, n, j), x, x_lo, sum);
    for (int c = 0; c < count; c++) {
        const int64_t i = j + c * STRIP;
        const lanes rj = assemble(lanes_load(q + i), lambda,
                                  (lanes_dd){lanes_load(x + i), lanes_load(x_lo + i)}, &sum[c]);
        lanes_store(r + i, rj);
        squares = lanes_fma(rj, rj, squares);
    }
    return squares;
}

static double residual(int64_t n, const double *H, const double *norms, dd lambda, const double *q,
                       const double *x, const double *x_lo, double *r, double *x_norm) {
    lanes squares[PARTS] = {0};
    *x_norm = norm(n, x);
    for (int p = 0; p < PARTS; p++) {
        int64_t j = p * LANES;
        for (; j + STRIP < n; j += 2 * STRIP)
            squares[p] += residual_panels(2, n, j, H, norms, lambda, q, x, x_lo, *x_norm, r);
        if (j < n)
            squares[p] += residual_panels(1, n, j, H, norms, lambda, q, x, x_lo, *x_norm, r);
    }
    return sqrt(strip_sum(squares)) * UP + TINY_NORM;
}

/* ---- U and o ------------------------------------------------------------------------------- */

static void mix(int64_t n, double alpha, const double *q, const double *x, const double *x_lo,
                double *y, double *y_lo) {
    const lanes a = lanes_all(alpha);
    for (int64_t i = 0; i < n; i += LANES) {
        const lanes qi = lanes_load(q + i);
        const lanes_dd t = lanes_two_sum(lanes_load(x + i), -qi);
        const lanes_dd d = lanes_fast_two_sum(t.hi, t.lo + lanes_load(x_lo + i));
        const lanes_dd p = lanes_two_prod(a, d.hi), s = lanes_two_sum(qi, p.hi);
        const lanes_dd yi = lanes_fast_two_sum(s.hi, s.lo + lanes_fma(a, d.lo, p.lo));
        lanes_store(y + i, yi.hi);
        lanes_store(y_lo + i, yi.lo);
    }
}

GKA_INLINE void update_u_any(bool apply, int64_t n, int64_t m, dd gamma, const double *k,
                             double k_norm, const double *v, double *norms, double *U,
                             const double *y, const double *y_lo, double y_norm, double scale,
                             double *o, double *o_lo) {
    const lanes gh = lanes_all(gamma.hi), gl = lanes_all(gamma.lo);
    for (int64_t j = 0; j < m; j += LANES) {
        const lanes vj = lanes_load(v + j);
        const lanes column = gh * lanes_load(norms + j) + lanes_abs(vj) * k_norm;
        double *row = strip(U, n, j);
        anchored sum = anchored_at(column * (y_norm * UP) + TINY_SUM);
        lanes squares = lanes_all(0);
        for (int64_t i = 0; i < n; i += STRIP) {
            for (int64_t r = i; r < i + STRIP; r++, row += 2 * STRIP) {
                const lanes_dd u = next(gh, gl, load_dd(row), lanes_all(k[r]), vj);
                lanes_store(row, u.hi);
                lanes_store(row + STRIP, u.lo);
                squares = lanes_fma(u.hi, u.hi, squares);
                if (apply)
                    anchored_add(&sum, u, (lanes_dd){lanes_all(y[r]), lanes_all(y_lo[r])});
            }
            if (apply)
                anchored_fold(&sum);
        }
        lanes_store(norms + j, lanes_sqrt(squares) * UP + TINY_NORM);
        if (apply) {
            const lanes_dd uy = anchored_value(&sum), p = lanes_two_prod(uy.hi, lanes_all(scale));
            const lanes_dd oj = lanes_fast_two_sum(p.hi, lanes_fma(uy.lo, lanes_all(scale), p.lo));
            lanes_store(o + j, oj.hi);
            lanes_store(o_lo + j, oj.lo);
        }
    }
}

static void update_u(int64_t n, int64_t m, dd gamma, const double *k, double k_norm,
                     const double *v, double *norms, double *U) {
    update_u_any(false, n, m, gamma, k, k_norm, v, norms, U, NULL, NULL, 0, 0, NULL, NULL);
}

static void update_u_apply(int64_t n, int64_t m, dd gamma, const double *k, double k_norm,
                           const double *v, double *norms, double *U, const double *y,
                           const double *y_lo, double y_norm, double scale, double *o,
                           double *o_lo) {
    update_u_any(true, n, m, gamma, k, k_norm, v, norms, U, y, y_lo, y_norm, scale, o, o_lo);
}

/* ---- gradients ----------------------------------------------------------------------------- */

GKA_INLINE void store_dd(double *p, lanes_dd x) {
    lanes_store(p, x.hi);
    lanes_store(p + STRIP, x.lo);
}

GKA_INLINE lanes_dd all_dd(double hi, double lo) {
    return (lanes_dd){lanes_all(hi), lanes_all(lo)};
}

GKA_INLINE lanes_dd pair_dd(const double *hi, const double *lo) {
    return (lanes_dd){lanes_load(hi), lanes_load(lo)};
}

static void rank_one(int64_t n, int64_t m, dd gamma, const double *a, const double *a_lo,
                     const double *b, const double *b_lo, double *M) {
    const lanes_dd g = all_dd(gamma.hi, gamma.lo);
    for (int64_t j = 0; j < m; j += LANES) {
        const lanes_dd bj = pair_dd(b + j, b_lo + j);
        double *row = strip(M, n, j);
        for (int64_t i = 0; i < n; i++, row += 2 * STRIP)
            store_dd(row, lanes_dd_add(lanes_dd_mul(g, load_dd(row)),
                                       lanes_dd_mul(all_dd(a[i], a_lo[i]), bj)));
    }
}

static void add_scaled(int64_t n, int64_t m, dd c, const double *H, double *M) {
    const lanes_dd cc = all_dd(c.hi, c.lo);
    for (int64_t i = 0; i < 2 * n * m; i += 2 * STRIP)
        for (int64_t j = i; j < i + STRIP; j += LANES)
            store_dd(M + j, lanes_dd_add(load_dd(M + j), lanes_dd_mul(cc, load_dd(H + j))));
}

static void columns(int64_t n, int64_t m, const double *M, const double *x, const double *x_lo,
                    double *y, double *y_lo) {
    for (int64_t j = 0; j < m; j += LANES) {
        const double *row = strip_const(M, n, j);
        lanes_dd sum = all_dd(0, 0);
        for (int64_t i = 0; i < n; i++, row += 2 * STRIP)
            sum = lanes_dd_add(sum, lanes_dd_mul(load_dd(row), all_dd(x[i], x_lo[i])));
        lanes_store(y + j, sum.hi);
        lanes_store(y_lo + j, sum.lo);
    }
}

static void rows(int64_t n, int64_t m, const double *M, const double *x, const double *x_lo,
                 double *y, double *y_lo) {
    for (int64_t i = 0; i < n; i++) {
        strip_dd sum = {0};
        for (int64_t j = 0; j < m; j += STRIP)
            for (int p = 0; p < PARTS; p++) {
                const int64_t column = j + p * LANES;
                const double *const row = strip_const(M, n, column) + i * (2 * STRIP);
                sum.part[p] = lanes_dd_add(
                    sum.part[p], lanes_dd_mul(load_dd(row), pair_dd(x + column, x_lo + column)));
            }
        const dd total = strip_dd_sum(&sum);
        y[i] = total.hi;
        y_lo[i] = total.lo;
    }
}

static dd inner(int64_t n, int64_t m, const double *A, const double *B) {
    strip_dd sum = {0};
    for (int64_t i = 0; i < 2 * n * m; i += 2 * STRIP)
        for (int p = 0; p < PARTS; p++)
            sum.part[p] = lanes_dd_add(
                sum.part[p], lanes_dd_mul(load_dd(A + i + p * LANES), load_dd(B + i + p * LANES)));
    return strip_dd_sum(&sum);
}

/* A sum of n m/8 squares a lane is off by at most (n m/8 + 8) 2^-53 of itself, its root by half; lo
 * words by 2^-53. */
static double size(int64_t n, int64_t m, const double *M) {
    lanes sum[PARTS] = {0}, any[PARTS] = {0};
    for (int64_t i = 0; i < 2 * n * m; i += 2 * STRIP)
        for (int p = 0; p < PARTS; p++) {
            const lanes y = lanes_load(M + i + p * LANES);
            sum[p] = lanes_fma(y, y, sum[p]);
            any[p] += lanes_abs(y);
        }
    if (strip_sum(any) == 0)
        return 0;
    return sqrt(strip_sum(sum)) * (UP + (double)(n * m) * 0x1p-53) + TINY_NORM;
}

/* ---- rounding ------------------------------------------------------------------------------ */

/* Ziv's test: both ends of the interval round alike, and rounding is monotone. The half width is
 * widened by more than the rounding of lo - e and lo + e. */
static int64_t round_all(int64_t n, const double *x, const double *x_lo, const double *error,
                         int error_step, double *out) {
    int64_t undecided = 0;
    for (int64_t i = 0; i < n; i++) {
        const double e = error[i * error_step] * UP + fabs(x_lo[i]) * 0x1p-51 + 0x1p-1073;
        const double below = x[i] + (x_lo[i] - e), above = x[i] + (x_lo[i] + e);
        out[i] = below + 0.0;
        undecided += !(below == above && fabs(below) <= 0x1.fffffffffffffp1023);
    }
    return undecided;
}

#ifndef GKA_KERNELS
#define GKA_KERNELS      gka_kernels_baseline
#define GKA_KERNELS_NAME "baseline"
#endif
extern const gka_kernels GKA_KERNELS;
const gka_kernels GKA_KERNELS = {
    .name = GKA_KERNELS_NAME,
    .update_h = update_h,
    .factor = factor,
    .solve = solve,
    .correct = correct,
    .residual = residual,
    .norm = norm,
    .mix = mix,
    .update_u = update_u,
    .update_u_apply = update_u_apply,
    .rank_one = rank_one,
    .add_scaled = add_scaled,
    .columns = columns,
    .rows = rows,
    .inner = inner,
    .size = size,
    .round = round_all,
};
