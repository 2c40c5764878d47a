/* golden_stream.c - forward goldens of long sequences, by windows of tokens. */
#include "judge/golden_stream.h"

#include "gka/format.h"
#include "io/bytes.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_TOKENS = 1 << 14, WINDOW = 2048, BLOCK = 4096 };
#define BIT(id) (1u << JUDGE_##id)
static const unsigned TOKENS = BIT(X) | BIT(FRO) | BIT(O) | BIT(H_CHUNK);
static const unsigned FINAL = BIT(H_FINAL) | BIT(U_FINAL);

struct golden_stream {
    const gka_problem *problem;
    unsigned all, nonzero; /* bits of outputs; of these some element of the steps is not 0 */
    int64_t window;        /* a multiple of 128 and of the chunk size */
    FILE *exact[JUDGE_OUTPUTS], *steps[JUDGE_OUTPUTS]; /* of TOKENS, in this machine's order */
    golden_values exact_final, steps_final;            /* of FINAL */
    golden_values part, ref, local;                    /* of TOKENS, one window */
    double *U;                        /* [windows + 1, D, V]: U before each window */
    double *h, *u;                    /* a profile's states [D,D], [D,V] */
    unsigned char *h_bytes, *u_bytes; /* the same as views have them */
    double *d[JUDGE_OUTPUTS + 1], *r[JUDGE_OUTPUTS + 1]; /* [rows] ||out - ref||^2, ||ref||^2; the
                                                            last: o against its local value */
    gka_error *error;                                    /* of the oracle's window */
};

/* The smallest multiple of 128 and of the chunk size from WINDOW on. */
static int64_t window_of(int64_t chunk) {
    int64_t common = 128;
    while (common % chunk != 0)
        common += 128;
    return (WINDOW + common - 1) / common * common;
}

bool golden_streams(const gka_problem *p, unsigned wanted) {
    return (wanted & ~(TOKENS | FINAL)) == 0 && p->N == 1 && p->H == 1 && p->B == 1 &&
           p->cu_seqlens == NULL && p->T > LEAST_TOKENS && p->chunk_size <= WINDOW;
}

/* ---- spools -------------------------------------------------------------------------------- */

static gka_status put(FILE *spool, const double *values, int64_t count, gka_error *error) {
    return fwrite(values, sizeof *values, (size_t)count, spool) == (size_t)count
               ? GKA_OK
               : gka_fail(error, GKA_IO, "a spool cannot be written: %s", strerror(errno));
}

static gka_status get(FILE *spool, double *values, int64_t count, gka_error *error) {
    return fread(values, sizeof *values, (size_t)count, spool) == (size_t)count
               ? GKA_OK
               : gka_fail(error, GKA_IO, "a spool cannot be read: %s", strerror(errno));
}

/* ---- windows ------------------------------------------------------------------------------- */

static int64_t windows(const golden_stream *s) {
    return (s->problem->T + s->window - 1) / s->window;
}

static int64_t end_of(const golden_stream *s, int64_t begin) {
    return begin + s->window < s->problem->T ? begin + s->window : s->problem->T;
}

static gka_view state_view(int64_t D, int64_t columns, const double *state, unsigned char *bytes) {
    gka_store_doubles(bytes, (size_t)(D * columns), state);
    const gka_tensor tensor = {"", GKA_F64, 4, {1, 1, D, columns}, bytes};
    return gka_view_of(&tensor);
}

/* Tokens [begin, end) from the states h, u; the first window has the problem's own. */
static gka_problem part_of(const golden_stream *s, int64_t begin, int64_t C, const double *h,
                           const double *u) {
    const gka_problem *const p = s->problem;
    gka_problem part = gka_problem_tokens(p, begin, end_of(s, begin));
    part.chunk_size = C;
    part.h0 = begin == 0 ? p->h0 : state_view(p->D, p->D, h, s->h_bytes);
    if (p->V > 0)
        part.u0 = begin == 0 ? p->u0 : state_view(p->D, p->V, u, s->u_bytes);
    return part;
}

/* A profile's window; the states after it are left in h, u. */
static gka_status run_window(golden_stream *s, const gka_profile *profile, int64_t C, int64_t begin,
                             gka_error *error) {
    const gka_problem part = part_of(s, begin, C, s->h, s->u);
    gka_chunk out = {.h_final = s->h, .u_final = s->problem->V > 0 ? s->u : NULL};
    for (int i = 0; i < JUDGE_OUTPUTS; i++)
        if ((TOKENS & s->all) >> i & 1 && (i != JUDGE_H_CHUNK || C == s->problem->chunk_size))
            *judge_chunk(&out, i) = s->part.of[i];
    return gka_chunk_forward(&part, profile, &out, NULL, NULL, error);
}

/* Elements of an output in a window of n tokens. */
static int64_t count_in(const golden_stream *s, int output, int64_t n) {
    gka_problem part = *s->problem;
    part.T = n;
    return judge_count(&part, output);
}

/* ---- opening ------------------------------------------------------------------------------- */

static gka_status no_memory(gka_error *error) {
    return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory for the windows of a golden");
}

static gka_status allocate_output(golden_stream *s, int i, gka_error *error) {
    const gka_problem *const p = s->problem;
    if (FINAL >> i & 1) {
        const size_t count = (size_t)judge_count(p, i);
        s->exact_final.of[i] = gka_alloc(count, sizeof(double));
        s->steps_final.of[i] = gka_alloc(count, sizeof(double));
        return s->exact_final.of[i] == NULL || s->steps_final.of[i] == NULL ? no_memory(error)
                                                                            : GKA_OK;
    }
    const size_t count = (size_t)count_in(s, i, s->window);
    const size_t rows = (size_t)(i == JUDGE_H_CHUNK ? gka_problem_chunks(p) : p->T);
    s->part.of[i] = gka_alloc(count, sizeof(double));
    s->ref.of[i] = gka_alloc(count, sizeof(double));
    s->d[i] = gka_alloc(rows, sizeof(double));
    s->r[i] = gka_alloc(rows, sizeof(double));
    bool good = s->part.of[i] != NULL && s->ref.of[i] != NULL && s->d[i] != NULL && s->r[i] != NULL;
    if (i == JUDGE_O) {
        s->d[JUDGE_OUTPUTS] = gka_alloc(rows, sizeof(double));
        s->r[JUDGE_OUTPUTS] = gka_alloc(rows, sizeof(double));
        good = good && s->d[JUDGE_OUTPUTS] != NULL && s->r[JUDGE_OUTPUTS] != NULL;
    }
    return good ? GKA_OK : no_memory(error);
}

gka_status golden_stream_open(const gka_problem *problem, unsigned all, const char *path,
                              golden_stream **stream, gka_error *error) {
    golden_stream *const s = *stream = gka_alloc(1, sizeof *s);
    if (s == NULL)
        return no_memory(error);
    const size_t D = (size_t)problem->D, V = (size_t)problem->V;
    s->problem = problem;
    s->all = all;
    s->window = window_of(problem->chunk_size);
    s->U = gka_alloc((size_t)windows(s) + 1, D * V * sizeof(double));
    s->h = gka_alloc(D * D, sizeof(double));
    s->u = gka_alloc(D * V, sizeof(double));
    s->h_bytes = gka_alloc(D * D, sizeof(double));
    s->u_bytes = gka_alloc(D * V, sizeof(double));
    if (s->U == NULL || s->h == NULL || s->u == NULL || s->h_bytes == NULL || s->u_bytes == NULL)
        return no_memory(error);
    gka_status status = GKA_OK;
    for (int i = 0; i < JUDGE_OUTPUTS && status == GKA_OK; i++) {
        if (!(all >> i & 1))
            continue;
        status = allocate_output(s, i, error);
        if (status == GKA_OK && TOKENS >> i & 1)
            status = gka_spool_open(path, &s->exact[i], error);
        if (status == GKA_OK && TOKENS >> i & 1)
            status = gka_spool_open(path, &s->steps[i], error);
    }
    return status;
}

void golden_stream_close(golden_stream *s) {
    if (s == NULL)
        return;
    for (int i = 0; i < JUDGE_OUTPUTS; i++) {
        if (s->exact[i] != NULL)
            (void)fclose(s->exact[i]);
        if (s->steps[i] != NULL)
            (void)fclose(s->steps[i]);
    }
    for (int i = 0; i <= JUDGE_OUTPUTS; i++) {
        gka_free(s->d[i]);
        gka_free(s->r[i]);
    }
    golden_free(&s->exact_final);
    golden_free(&s->steps_final);
    golden_free(&s->part);
    golden_free(&s->ref);
    golden_free(&s->local);
    gka_free(s->U);
    gka_free(s->h);
    gka_free(s->u);
    gka_free(s->h_bytes);
    gka_free(s->u_bytes);
    gka_free(s);
}

/* ---- exact --------------------------------------------------------------------------------- */

static bool spool_exact(void *context, int64_t begin, int64_t end) {
    golden_stream *const s = context;
    gka_status status = GKA_OK;
    for (int i = 0; i < JUDGE_OUTPUTS && status == GKA_OK; i++)
        if (s->exact[i] != NULL)
            status = put(s->exact[i], s->part.of[i], count_in(s, i, end - begin), s->error);
    return status == GKA_OK;
}

gka_status golden_stream_exact(golden_stream *s, const gka_progress *progress,
                               gka_oracle_report *report, gka_error *error) {
    gka_error why = {0};
    gka_exact out = {0};
    const gka_oracle_window window = {.tokens = s->window, .full = spool_exact, .context = s};
    const gka_oracle_options options = {
        .oracle = GKA_ORACLE_CERTIFIED, .progress = *progress, .window = &window};
    s->error = &why;
    for (int i = 0; i < JUDGE_OUTPUTS; i++)
        if (s->all >> i & 1)
            *judge_exact(&out, i) = FINAL >> i & 1 ? s->exact_final.of[i] : s->part.of[i];
    const gka_status status = gka_oracle_forward(s->problem, &options, &out, NULL, report, error);
    return why.status == GKA_OK ? status : gka_fail(error, why.status, "%s", why.text);
}

/* ---- steps --------------------------------------------------------------------------------- */

bool golden_stream_zero(const golden_stream *s, int output) {
    return !(s->nonzero >> output & 1);
}

static void look(golden_stream *s, int output, int64_t count, const double *values) {
    for (int64_t i = 0; i < count && golden_stream_zero(s, output); i++)
        s->nonzero |= (values[i] < 0 || values[i] > 0 ? 1u : 0u) << output;
}

gka_status golden_stream_steps(golden_stream *s, gka_error *error) {
    const gka_problem *const p = s->problem;
    const size_t state = (size_t)(p->D * p->V);
    gka_profile exact64;
    gka_status status = gka_profile_find("exact64", &exact64, error);
    gka_problem_u0(p, 0, 0, s->U);
    for (int64_t begin = 0; begin < p->T && status == GKA_OK; begin += s->window) {
        status = run_window(s, &exact64, p->chunk_size, begin, error);
        for (int i = 0; i < JUDGE_OUTPUTS && status == GKA_OK; i++) {
            const int64_t count = count_in(s, i, end_of(s, begin) - begin);
            if (s->steps[i] == NULL)
                continue;
            look(s, i, count, s->part.of[i]);
            status = put(s->steps[i], s->part.of[i], count, error);
        }
        memcpy(s->U + (size_t)(begin / s->window + 1) * state, s->u, state * sizeof(double));
    }
    for (int i = 0; i < 2 && status == GKA_OK; i++) {
        const int output = i == 0 ? JUDGE_H_FINAL : JUDGE_U_FINAL;
        const double *const from = i == 0 ? s->h : s->u;
        if (!(s->all >> output & 1))
            continue;
        look(s, output, judge_count(p, output), from);
        memcpy(s->steps_final.of[output], from, (size_t)judge_count(p, output) * sizeof(double));
    }
    return status;
}

/* ---- errors -------------------------------------------------------------------------------- */

/* ||out - ref||^2 and ||ref||^2 of each of `rows` rows of n. */
static void add_rows(int64_t rows, int64_t n, const double *out, const double *ref, double *d,
                     double *r) {
    for (int64_t i = 0; i < rows; i++) {
        d[i] = r[i] = 0;
        for (int64_t j = i * n; j < (i + 1) * n; j++) {
            d[i] += (out[j] - ref[j]) * (out[j] - ref[j]);
            r[i] += ref[j] * ref[j];
        }
    }
}

static golden_error whole(int64_t rows, const double *d, const double *r) {
    double D = 0, R = 0, most = 0;
    for (int64_t i = 0; i < rows; i++) {
        D += d[i];
        R += r[i];
    }
    const double mean = R / (double)rows;
    for (int64_t i = 0; i < rows; i++) {
        const double size = fmax(mean, r[i]), e = size > 0 ? d[i] / size : d[i];
        most = e > most || isnan(e) ? e : most;
        if (isnan(most))
            break;
    }
    return (golden_error){R > 0 ? sqrt(D / R) : sqrt(D), sqrt(most)};
}

/* One window's rows of every output, against the steps values and o against its local value. */
static gka_status compare_window(golden_stream *s, int64_t begin, unsigned wanted,
                                 gka_error *error) {
    const gka_problem *const p = s->problem;
    const int64_t n = end_of(s, begin) - begin, D = p->D, V = p->V, C = p->chunk_size;
    if (wanted & BIT(X))
        add_rows(n, D, s->part.of[JUDGE_X], s->ref.of[JUDGE_X], s->d[JUDGE_X] + begin,
                 s->r[JUDGE_X] + begin);
    if (wanted & BIT(FRO))
        add_rows(n, 1, s->part.of[JUDGE_FRO], s->ref.of[JUDGE_FRO], s->d[JUDGE_FRO] + begin,
                 s->r[JUDGE_FRO] + begin);
    if (wanted & BIT(H_CHUNK))
        add_rows((n + C - 1) / C, D * D, s->part.of[JUDGE_H_CHUNK], s->ref.of[JUDGE_H_CHUNK],
                 s->d[JUDGE_H_CHUNK] + begin / C, s->r[JUDGE_H_CHUNK] + begin / C);
    if (!(wanted & BIT(O)))
        return GKA_OK;
    add_rows(n, V, s->part.of[JUDGE_O], s->ref.of[JUDGE_O], s->d[JUDGE_O] + begin,
             s->r[JUDGE_O] + begin);
    const gka_problem part =
        part_of(s, begin, C, s->h, s->U + (size_t)(begin / s->window) * (size_t)(D * V));
    golden_free(&s->local);
    const gka_status status = golden_local(&part, BIT(O), &s->part, &s->local, error);
    if (status == GKA_OK)
        add_rows(n, V, s->part.of[JUDGE_O], s->local.of[JUDGE_O], s->d[JUDGE_OUTPUTS] + begin,
                 s->r[JUDGE_OUTPUTS] + begin);
    return status;
}

static void store(const golden_stream *s, int output, int64_t count, double *values) {
    gka_round_array(gka_format_of_dtype(judge_dtype(s->problem, output)), GKA_NEAREST_EVEN, 0, 0,
                    (size_t)count, values, values);
}

/* part <- the profile's window, or the steps values themselves, as stored; ref <- the steps. */
static gka_status fill_window(golden_stream *s, const gka_profile *profile, int64_t C,
                              int64_t begin, gka_error *error) {
    const int64_t n = end_of(s, begin) - begin;
    gka_status status = profile == NULL ? GKA_OK : run_window(s, profile, C, begin, error);
    for (int i = 0; i < JUDGE_OUTPUTS && status == GKA_OK; i++) {
        const int64_t count = count_in(s, i, n);
        if (s->steps[i] == NULL)
            continue;
        status = get(s->steps[i], s->ref.of[i], count, error);
        if (profile == NULL)
            memcpy(s->part.of[i], s->ref.of[i], (size_t)count * sizeof(double));
        if (status == GKA_OK)
            store(s, i, count, s->part.of[i]);
    }
    return status;
}

static void final_error(golden_stream *s, const gka_profile *profile, int output, double *own,
                        golden_error *error) {
    const int64_t count = judge_count(s->problem, output);
    const double *const ref = s->steps_final.of[output];
    if (profile == NULL)
        memcpy(own, ref, (size_t)count * sizeof *own);
    store(s, output, count, own);
    error->rel = gka_rel_err(count, own, ref);
    error->row = golden_row_error(s->problem, output, own, ref, NULL);
}

gka_status golden_stream_errors(golden_stream *s, const gka_profile *profile, int64_t C,
                                unsigned wanted, golden_error errors[JUDGE_OUTPUTS],
                                gka_error *error) {
    const gka_problem *const p = s->problem;
    gka_status status = GKA_OK;
    for (int i = 0; i < JUDGE_OUTPUTS; i++) {
        errors[i] = (golden_error){NAN, NAN};
        if (s->steps[i] != NULL)
            rewind(s->steps[i]);
    }
    for (int64_t begin = 0; begin < p->T && status == GKA_OK; begin += s->window) {
        status = fill_window(s, profile, C, begin, error);
        /* The states are the profile's own and go on; the comparison has its own U. */
        if (status == GKA_OK)
            status = compare_window(s, begin, wanted, error);
    }
    for (int i = 0; i < JUDGE_OUTPUTS && status == GKA_OK; i++)
        if ((wanted & TOKENS) >> i & 1)
            errors[i] = whole(i == JUDGE_H_CHUNK ? gka_problem_chunks(p) : p->T, s->d[i], s->r[i]);
    if (status == GKA_OK && wanted & BIT(O)) {
        const golden_error local = whole(p->T, s->d[JUDGE_OUTPUTS], s->r[JUDGE_OUTPUTS]);
        if (local.rel < errors[JUDGE_O].rel || isnan(errors[JUDGE_O].rel))
            errors[JUDGE_O] = local;
    }
    if (status == GKA_OK && wanted & BIT(H_FINAL))
        final_error(s, profile, JUDGE_H_FINAL, s->h, &errors[JUDGE_H_FINAL]);
    if (status == GKA_OK && wanted & BIT(U_FINAL))
        final_error(s, profile, JUDGE_U_FINAL, s->u, &errors[JUDGE_U_FINAL]);
    return status;
}

/* ---- writing ------------------------------------------------------------------------------- */

static gka_status append(gka_writer *writer, const double *values, int64_t count,
                         gka_error *error) {
    unsigned char bytes[8 * BLOCK];
    gka_store_doubles(bytes, (size_t)count, values);
    return gka_writer_append(writer, bytes, 8 * (size_t)count, error);
}

gka_status golden_stream_write(golden_stream *s, int output, bool steps, gka_writer *writer,
                               gka_error *error) {
    const int64_t count = judge_count(s->problem, output);
    FILE *const spool = steps ? s->steps[output] : s->exact[output];
    const double *const final = steps ? s->steps_final.of[output] : s->exact_final.of[output];
    gka_status status = GKA_OK;
    if (spool != NULL)
        rewind(spool);
    for (int64_t i = 0; i < count && status == GKA_OK; i += BLOCK) {
        const int64_t n = count - i < BLOCK ? count - i : BLOCK;
        double block[BLOCK];
        if (spool != NULL)
            status = get(spool, block, n, error);
        else
            memcpy(block, final + i, (size_t)n * sizeof *block);
        if (status == GKA_OK)
            status = append(writer, block, n, error);
    }
    return status;
}
