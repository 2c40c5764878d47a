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

/* Values that go through one chain of operations side by side: a chain waits for its own results.
 */
enum { SIDE = 4, SIDE_ROWS = SIDE > PARTS ? SIDE / PARTS : 1, BESIDE = SIDE_ROWS * PARTS };

/* m <- gamma m + a b, BESIDE times; 13 u^2 |gamma m| + 3 u^2 |a b| */
GKA_INLINE void next(lanes gh, lanes gl, lanes_dd m[BESIDE], const lanes a[BESIDE],
                     const lanes b[BESIDE]) {
    lanes p[BESIDE], q[BESIDE], lo[BESIDE], s[BESIDE], t[BESIDE];
    for (int i = 0; i < BESIDE; i++)
        q[i] = a[i] * b[i];
    for (int i = 0; i < BESIDE; i++)
        p[i] = gh * m[i].hi;
    for (int i = 0; i < BESIDE; i++)
        lo[i] = lanes_fma(gh, m[i].hi, -p[i]);
    for (int i = 0; i < BESIDE; i++)
        s[i] = p[i] + q[i];
    for (int i = 0; i < BESIDE; i++)
        lo[i] = lanes_fma(gh, m[i].lo, lo[i]);
    for (int i = 0; i < BESIDE; i++)
        t[i] = s[i] - p[i];
    for (int i = 0; i < BESIDE; i++)
        lo[i] = lanes_fma(gl, m[i].hi, lo[i]);
    for (int i = 0; i < BESIDE; i++)
        p[i] = p[i] - (s[i] - t[i]);
    for (int i = 0; i < BESIDE; i++)
        lo[i] = lo[i] + lanes_fma(a[i], b[i], -q[i]);
    for (int i = 0; i < BESIDE; i++)
        p[i] = p[i] + (q[i] - t[i]);
    for (int i = 0; i < BESIDE; i++)
        lo[i] = lo[i] + p[i];
    for (int i = 0; i < BESIDE; i++)
        m[i] = lanes_fast_two_sum(s[i], lo[i]);
}

/* ---- H and its norm ------------------------------------------------------------------------ */

/* Where value s of BESIDE, or of more rows, lies from the first. */
GKA_INLINE int64_t beside(int s) {
    return s / PARTS * (2 * STRIP) + s % PARTS * LANES;
}

/* SIDE_ROWS rows of a strip, from `from` to `to` and h, as `next` leaves them. */
GKA_INLINE void rows_of_next(lanes gh, lanes gl, const double *a, const lanes b[PARTS],
                             const double *from, double *to, lanes_dd h[BESIDE]) {
    lanes left[BESIDE], right[BESIDE];
    for (int i = 0; i < BESIDE; i++) {
        h[i] = load_dd(from + beside(i));
        left[i] = lanes_all(a[i / PARTS]);
        right[i] = b[i % PARTS];
    }
    next(gh, gl, h, left, right);
    for (int i = 0; i < BESIDE; i++)
        store_dd(to + beside(i), h[i]);
}

/* Eight rows of H's strip from k's first row on, and their squares. */
GKA_INLINE void rows_next(lanes gh, lanes gl, const double *k, const lanes kj[PARTS],
                          const double *from, double *to, anchored sum[PARTS]) {
    for (int64_t r = 0; r < STRIP; r += SIDE_ROWS) {
        lanes_dd h[BESIDE];
        rows_of_next(gh, gl, k + r, kj, from + r * (2 * STRIP), to + r * (2 * STRIP), h);
        for (int i = 0; i < BESIDE; i++)
            anchored_add_square(&sum[i % PARTS], h[i]);
    }
}

/* The same eight rows where H is symmetric and `mirror` has been done: its eight rows are these
 * columns. LANES rows of LANES columns at a time. */
GKA_INLINE void rows_mirror(const double *mirror, double *row, anchored sum[PARTS]) {
    for (int p = 0; p < PARTS; p++)
        for (int part = 0; part < PARTS; part++) {
            const double *const from = mirror + p * LANES * (2 * STRIP) + part * LANES;
            double *const to = row + part * LANES * (2 * STRIP) + p * LANES;
            lanes hi[LANES], lo[LANES];
            for (int r = 0; r < LANES; r++) {
                hi[r] = lanes_load(from + r * (2 * STRIP));
                lo[r] = lanes_load(from + r * (2 * STRIP) + STRIP);
            }
            lanes_transpose(hi);
            lanes_transpose(lo);
            for (int r = 0; r < LANES; r++) {
                lanes_store(to + r * (2 * STRIP), hi[r]);
                lanes_store(to + r * (2 * STRIP) + STRIP, lo[r]);
                anchored_add_square(&sum[p], (lanes_dd){hi[r], lo[r]});
            }
        }
}

static dd update_h(int64_t n, dd gamma, const double *k, double k_norm, double *norms,
                   const double *before, double *H, double *error) {
    const lanes gh = lanes_all(gamma.hi), gl = lanes_all(gamma.lo);
    strip_dd total = {0};
    lanes bounds[PARTS] = {0};
    for (int64_t j = 0; j < n; j += STRIP) {
        lanes kj[PARTS], v[PARTS];
        anchored sum[PARTS];
        const double *const from = strip_const(before, n, j);
        double *const to = strip(H, n, j);
        for (int p = 0; p < PARTS; p++) {
            const int64_t at_p = j + p * LANES;
            kj[p] = lanes_load(k + at_p);
            const lanes column = gh * lanes_load(norms + at_p) + lanes_abs(kj[p]) * k_norm;
            v[p] = column * column * UP + TINY_SUM;
            sum[p] = anchored_at(v[p]);
        }
        for (int64_t i = 0; i < n; i += STRIP) {
            if (i < j)
                rows_mirror(strip(H, n, i) + j * (2 * STRIP), to + i * (2 * STRIP), sum);
            else
                rows_next(gh, gl, k + i, kj, from + i * (2 * STRIP), to + i * (2 * STRIP), sum);
            for (int p = 0; p < PARTS; p++)
                anchored_fold(&sum[p]);
        }
        for (int p = 0; p < PARTS; p++) {
            const lanes_dd squares = anchored_value(&sum[p]);
            const lanes off = v[p] * sum_error(n);
            lanes_store(norms + j + p * LANES, lanes_sqrt(lanes_abs(squares.hi) * UP + off) * UP);
            total.part[p] = lanes_dd_add(total.part[p], squares);
            bounds[p] += off;
        }
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

/* `count` strips: sum += M^T x. */
GKA_INLINE void product(int count, int64_t n, const double *M, const double *x, const double *x_lo,
                        anchored sum[][PARTS]) {
    for (int64_t i = 0; i < n; i += STRIP) {
        for (int64_t r = i; r < i + STRIP; r++) {
            const lanes_dd xr = {lanes_all(x[r]), lanes_all(x_lo[r])};
            for (int c = 0; c < count; c++)
                for (int p = 0; p < PARTS; p++)
                    anchored_add(&sum[c][p], load_dd(M + (c * n + r) * (2 * STRIP) + p * LANES),
                                 xr);
        }
        for (int c = 0; c < count; c++)
            for (int p = 0; p < PARTS; p++)
                anchored_fold(&sum[c][p]);
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

/* `count` strips from column j on. */
GKA_INLINE void residual_panels(int count, int64_t n, int64_t j, const double *H,
                                const double *norms, dd lambda, const double *q, const double *x,
                                const double *x_lo, double x_norm, double *r,
                                lanes squares[PARTS]) {
    anchored sum[TOGETHER][PARTS];
    for (int c = 0; c < count; c++)
        for (int p = 0; p < PARTS; p++)
            sum[c][p] = anchored_at(lanes_load(norms + j + c * STRIP + p * LANES) * (x_norm * UP) +
                                    TINY_SUM);
    product(count, n, strip_const(H, n, j), x, x_lo, sum);
    for (int c = 0; c < count; c++)
        for (int p = 0; p < PARTS; p++) {
            const int64_t i = j + c * STRIP + p * LANES;
            const lanes rj =
                assemble(lanes_load(q + i), lambda,
                         (lanes_dd){lanes_load(x + i), lanes_load(x_lo + i)}, &sum[c][p]);
            lanes_store(r + i, rj);
            squares[p] = lanes_fma(rj, rj, squares[p]);
        }
}

static double residual(int64_t n, const double *H, const double *norms, dd lambda, const double *q,
                       const double *x, const double *x_lo, double *r, double *x_norm) {
    lanes squares[PARTS] = {0};
    int64_t j = 0;
    *x_norm = norm(n, x);
    for (; j + (TOGETHER - 1) * STRIP < n; j += TOGETHER * STRIP)
        residual_panels(TOGETHER, n, j, H, norms, lambda, q, x, x_lo, *x_norm, r, squares);
    for (; j < n; j += STRIP)
        residual_panels(1, n, j, H, norms, lambda, q, x, x_lo, *x_norm, r, squares);
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
                             double k_norm, const double *v, double *norms, const double *before,
                             double *U, const double *y, const double *y_lo, double y_norm,
                             double scale, double *o, double *o_lo) {
    const lanes gh = lanes_all(gamma.hi), gl = lanes_all(gamma.lo);
    for (int64_t j = 0; j < m; j += STRIP) {
        lanes vj[PARTS], squares[PARTS] = {0};
        anchored sum[PARTS];
        const double *const from = strip_const(before, n, j);
        double *const to = strip(U, n, j);
        for (int p = 0; p < PARTS; p++) {
            vj[p] = lanes_load(v + j + p * LANES);
            const lanes column = gh * lanes_load(norms + j + p * LANES) + lanes_abs(vj[p]) * k_norm;
            sum[p] = anchored_at(column * (y_norm * UP) + TINY_SUM);
        }
        for (int64_t i = 0; i < n; i += STRIP) {
            for (int64_t r = i; r < i + STRIP; r += SIDE_ROWS) {
                lanes_dd u[BESIDE];
                rows_of_next(gh, gl, k + r, vj, from + r * (2 * STRIP), to + r * (2 * STRIP), u);
                for (int s = 0; s < BESIDE; s++)
                    squares[s % PARTS] = lanes_fma(u[s].hi, u[s].hi, squares[s % PARTS]);
                for (int s = 0; s < BESIDE && apply; s++)
                    anchored_add(&sum[s % PARTS], u[s],
                                 all_dd(y[r + s / PARTS], y_lo[r + s / PARTS]));
            }
            for (int p = 0; p < PARTS && apply; p++)
                anchored_fold(&sum[p]);
        }
        for (int p = 0; p < PARTS; p++) {
            const int64_t column = j + p * LANES;
            lanes_store(norms + column, lanes_sqrt(squares[p]) * UP + TINY_NORM);
            if (apply) {
                const lanes_dd uy = anchored_value(&sum[p]);
                const lanes_dd s = lanes_two_prod(uy.hi, lanes_all(scale));
                const lanes_dd o_j =
                    lanes_fast_two_sum(s.hi, lanes_fma(uy.lo, lanes_all(scale), s.lo));
                lanes_store(o + column, o_j.hi);
                lanes_store(o_lo + column, o_j.lo);
            }
        }
    }
}

static void update_u(int64_t n, int64_t m, dd gamma, const double *k, double k_norm,
                     const double *v, double *norms, const double *before, double *U) {
    update_u_any(false, n, m, gamma, k, k_norm, v, norms, before, U, NULL, NULL, 0, 0, NULL, NULL);
}

static void update_u_apply(int64_t n, int64_t m, dd gamma, const double *k, double k_norm,
                           const double *v, double *norms, double *U, const double *y,
                           const double *y_lo, double y_norm, double scale, double *o,
                           double *o_lo) {
    update_u_any(true, n, m, gamma, k, k_norm, v, norms, U, U, y, y_lo, y_norm, scale, o, o_lo);
}

/* ---- gradients ----------------------------------------------------------------------------- */

/* x <- x + y, BESIDE times: lanes_dd_add of each, step by step. */
GKA_INLINE void sums_add(lanes_dd x[BESIDE], const lanes_dd y[BESIDE]) {
    lanes_dd s[BESIDE], t[BESIDE];
    for (int i = 0; i < BESIDE; i++)
        s[i] = lanes_two_sum(x[i].hi, y[i].hi);
    for (int i = 0; i < BESIDE; i++)
        t[i] = lanes_two_sum(x[i].lo, y[i].lo);
    for (int i = 0; i < BESIDE; i++)
        s[i] = lanes_fast_two_sum(s[i].hi, s[i].lo + t[i].hi);
    for (int i = 0; i < BESIDE; i++)
        x[i] = lanes_fast_two_sum(s[i].hi, t[i].lo + s[i].lo);
}

static void rank_one(int64_t n, int64_t m, dd gamma, const double *a, const double *a_lo,
                     const double *b, const double *b_lo, double *M) {
    const lanes_dd g = all_dd(gamma.hi, gamma.lo);
    for (int64_t j = 0; j < m; j += STRIP) {
        double *row = strip(M, n, j);
        for (int64_t i = 0; i < n; i += SIDE_ROWS, row += SIDE_ROWS * (2 * STRIP)) {
            lanes_dd x[BESIDE], y[BESIDE];
            for (int s = 0; s < BESIDE; s++) {
                const int64_t from = i + s / PARTS, to = j + s % PARTS * LANES;
                x[s] = lanes_dd_mul(g, load_dd(row + beside(s)));
                y[s] = lanes_dd_mul(all_dd(a[from], a_lo[from]), pair_dd(b + to, b_lo + to));
            }
            sums_add(x, y);
            for (int s = 0; s < BESIDE; s++)
                store_dd(row + beside(s), x[s]);
        }
    }
}

static void add_scaled(int64_t n, int64_t m, dd c, const double *H, double *M) {
    const lanes_dd cc = all_dd(c.hi, c.lo);
    for (int64_t i = 0; i < 2 * n * m; i += SIDE_ROWS * (2 * STRIP)) {
        lanes_dd x[BESIDE], y[BESIDE];
        for (int s = 0; s < BESIDE; s++) {
            x[s] = load_dd(M + i + beside(s));
            y[s] = lanes_dd_mul(cc, load_dd(H + i + beside(s)));
        }
        sums_add(x, y);
        for (int s = 0; s < BESIDE; s++)
            store_dd(M + i + beside(s), x[s]);
    }
}

/* `count` values of columns, that is count / PARTS strips: sum += M^T x */
GKA_INLINE void columns_of(int count, int64_t n, const double *M, const double *x,
                           const double *x_lo, double *y, double *y_lo) {
    lanes_dd sum[BESIDE] = {{{0}, {0}}}, product[BESIDE] = {{{0}, {0}}};
    for (int64_t i = 0; i < n; i++) {
        for (int s = 0; s < count; s++)
            product[s] =
                lanes_dd_mul(load_dd(M + (s / PARTS * n + i) * (2 * STRIP) + s % PARTS * LANES),
                             all_dd(x[i], x_lo[i]));
        sums_add(sum, product);
    }
    for (int s = 0; s < count; s++) {
        lanes_store(y + s * LANES, sum[s].hi);
        lanes_store(y_lo + s * LANES, sum[s].lo);
    }
}

static void columns(int64_t n, int64_t m, const double *M, const double *x, const double *x_lo,
                    double *y, double *y_lo) {
    int64_t j = 0;
    for (; j + BESIDE * LANES <= m; j += BESIDE * LANES)
        columns_of(BESIDE, n, strip_const(M, n, j), x, x_lo, y + j, y_lo + j);
    for (; j < m; j += STRIP)
        columns_of(PARTS, n, strip_const(M, n, j), x, x_lo, y + j, y_lo + j);
}

/* The sums of M x over the columns of each lane, SIDE_ROWS rows of them. */
GKA_INLINE void rows_of(int64_t n, int64_t m, const double *M, const double *x, const double *x_lo,
                        lanes_dd sum[BESIDE]) {
    for (int s = 0; s < BESIDE; s++)
        sum[s] = all_dd(0, 0);
    for (int64_t j = 0; j < m; j += STRIP, M += n * (2 * STRIP)) {
        lanes_dd product[BESIDE];
        for (int s = 0; s < BESIDE; s++) {
            const int64_t column = j + s % PARTS * LANES;
            product[s] = lanes_dd_mul(load_dd(M + beside(s)), pair_dd(x + column, x_lo + column));
        }
        sums_add(sum, product);
    }
}

/* LANES rows at a time: a lane is a column in the sums, and then a row. */
static void rows(int64_t n, int64_t m, const double *M, const double *x, const double *x_lo,
                 double *y, double *y_lo) {
    enum { BLOCK = LANES > SIDE_ROWS ? LANES : SIDE_ROWS };
    for (int64_t i = 0; i < n; i += BLOCK) {
        lanes hi[PARTS][BLOCK], lo[PARTS][BLOCK];
        for (int r = 0; r < BLOCK; r += SIDE_ROWS) {
            lanes_dd sum[BESIDE];
            rows_of(n, m, M + (i + r) * (2 * STRIP), x, x_lo, sum);
            for (int s = 0; s < BESIDE; s++) {
                hi[s % PARTS][r + s / PARTS] = sum[s].hi;
                lo[s % PARTS][r + s / PARTS] = sum[s].lo;
            }
        }
        for (int r = 0; r < BLOCK; r += LANES) {
            lanes_dd total = all_dd(0, 0);
            for (int p = 0; p < PARTS; p++) {
                lanes_transpose(hi[p] + r);
                lanes_transpose(lo[p] + r);
                for (int c = 0; c < LANES; c++) {
                    const lanes_dd next_column = {hi[p][r + c], lo[p][r + c]};
                    total = p + c == 0 ? next_column : lanes_dd_add(total, next_column);
                }
            }
            lanes_store(y + i + r, total.hi);
            lanes_store(y_lo + i + r, total.lo);
        }
    }
}

/* Four rows of sums, whatever the instruction set: the result depends on their order. */
static dd inner(int64_t n, int64_t m, const double *A, const double *B) {
    enum { ROWS_OF_SUMS = 4, SUMS = ROWS_OF_SUMS * PARTS };
    lanes_dd sum[SUMS] = {{{0}, {0}}};
    for (int64_t i = 0; i < 2 * n * m; i += ROWS_OF_SUMS * (2 * STRIP))
        for (int g = 0; g < SUMS; g += BESIDE) {
            lanes_dd product[BESIDE];
            for (int s = 0; s < BESIDE; s++)
                product[s] =
                    lanes_dd_mul(load_dd(A + i + beside(g + s)), load_dd(B + i + beside(g + s)));
            sums_add(sum + g, product);
        }
    strip_dd total;
    for (int p = 0; p < PARTS; p++)
        total.part[p] = lanes_dd_add(lanes_dd_add(sum[p], sum[p + PARTS]),
                                     lanes_dd_add(sum[p + 2 * PARTS], sum[p + 3 * PARTS]));
    return strip_dd_sum(&total);
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
