/* judge.c - judging by a golden: what is right passes, each wrong kernel fails, places are told. */
#include "test.h"

#include "gka/golden.h"
#include "gka/kernel.h"
#include "gka/layer.h"
#include "golden/golden.h"
#include "io/bytes.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#define GOLDEN    "golden_judge.safetensors"
#define CANDIDATE "golden_candidate.safetensors"

/* Two sequences, two groups of two heads, a ragged end, initial states. */
static const char spec_text[] =
    "{\"B\": 2, \"T\": 40, \"H\": 4, \"G\": 2, \"D\": 32, \"V\": 16, \"chunk\": 32, "
    "\"gate\": \"slow\", \"h0\": true, \"emulate\": \"h100\"}";

static gka_file *golden;

static int make_golden(void **state) {
    (void)state;
    gka_golden_spec spec;
    gka_error error = {0};
    gka_golden_spec_start(&spec);
    return gka_golden_spec_read(&spec, spec_text, &error) != GKA_OK ||
           gka_golden_generate(&spec, NULL, GOLDEN, NULL, &error) != GKA_OK ||
           gka_file_open(GOLDEN, &golden, &error) != GKA_OK;
}

static int remove_golden(void **state) {
    (void)state;
    gka_file_close(golden);
    return unlink(GOLDEN);
}

/* ---- candidates ---------------------------------------------------------------------------- */

/* The emulated kernel's tensors; a test changes elements (bf16 or fp32) before it is judged. */
typedef struct candidate {
    gka_tensor tensors[GKA_OUTPUTS];
    unsigned char *bytes[GKA_OUTPUTS];
    char names[GKA_OUTPUTS][32];
} candidate;

static double get(const candidate *c, int output, int64_t i) {
    const size_t size = gka_dtype_size(c->tensors[output].dtype);
    return gka_decode(gka_format_of_dtype(c->tensors[output].dtype),
                      gka_load_le(c->bytes[output] + (size_t)i * size, size));
}

static void put_rounded(candidate *c, int output, int64_t i, double x, gka_rounding rounding) {
    const gka_format *const format = gka_format_of_dtype(c->tensors[output].dtype);
    const size_t size = gka_dtype_size(c->tensors[output].dtype);
    gka_store_le(c->bytes[output] + (size_t)i * size, size,
                 gka_encode(format, gka_round(format, rounding, x, 0)));
}

static void put(candidate *c, int output, int64_t i, double x) {
    put_rounded(c, output, i, x, GKA_NEAREST_EVEN);
}

/* A reference of the golden, as doubles, into the candidate. */
static void put_reference(candidate *c, int output, const char *suffix, gka_rounding rounding) {
    char name[40];
    (void)snprintf(name, sizeof name, "%s%s", gka_output_table[output].name, suffix);
    const gka_tensor *const from = gka_file_find(golden, name);
    assert_true(from != NULL && from->dtype == GKA_F64);
    for (int64_t i = 0; i < gka_tensor_count(from); i++)
        put_rounded(c, output, i,
                    gka_decode(gka_format_of_dtype(GKA_F64),
                               gka_load_le((const char *)from->data + 8 * i, 8)),
                    rounding);
}

static void start(candidate *c) {
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        c->bytes[i] = NULL;
        if (!gka_output_table[i].judged)
            continue;
        (void)snprintf(c->names[i], sizeof c->names[i], "%s.h100", gka_output_table[i].name);
        const gka_tensor *const tensor = gka_file_find(golden, c->names[i]);
        assert_non_null(tensor);
        const size_t size = (size_t)gka_tensor_count(tensor) * gka_dtype_size(tensor->dtype);
        c->tensors[i] = *tensor;
        c->tensors[i].name = gka_output_table[i].name;
        c->tensors[i].data = c->bytes[i] = gka_alloc(size, 1);
        assert_non_null(c->bytes[i]);
        memcpy(c->bytes[i], tensor->data, size);
    }
    /* The released dh0 has the wrong sign and lacks the ridge term (NUMERICS 5). */
    put_reference(c, GKA_OUT_SOLVE_DH0, ".steps", GKA_NEAREST_EVEN);
}

/* Judges the tensors whose bits are set in `present`. */
static gka_status judge(candidate *c, unsigned present, const gka_golden_options *options,
                        gka_golden_verdict *v, gka_file **file) {
    gka_tensor tensors[GKA_OUTPUTS];
    size_t count = 0;
    for (int i = 0; i < GKA_OUTPUTS; i++)
        if (present >> i & 1)
            tensors[count++] = c->tensors[i];
    gka_error error = {0};
    assert_int_equal(gka_file_write(CANDIDATE, tensors, count, NULL, 0, &error), GKA_OK);
    assert_int_equal(gka_file_open(CANDIDATE, file, &error), GKA_OK);
    const gka_status status = gka_golden_judge(*file, golden, options, v, &error);
    if (status == GKA_OK)
        assert_int_equal(v->row_count, GKA_JUDGED);
    return status;
}

static void end(candidate *c, gka_golden_verdict *v, gka_file *file) {
    gka_golden_verdict_free(v);
    gka_file_close(file);
    for (int i = 0; i < GKA_OUTPUTS; i++)
        gka_free(c->bytes[i]);
    assert_int_equal(unlink(CANDIDATE), 0);
}

#define ALL gka_judged_outputs()

/* Rows are the judged outputs in the table's order. */
static int row_of(int output) {
    int row = 0;
    for (int i = 0; i < output; i++)
        row += gka_output_table[i].judged;
    return row;
}

/* ---- right --------------------------------------------------------------------------------- */

static void test_the_emulated_kernel_passes(void **state) {
    (void)state;
    candidate c;
    gka_golden_verdict v;
    gka_file *file;
    start(&c);
    assert_int_equal(judge(&c, ALL, NULL, &v, &file), GKA_OK);
    assert_int_equal(v.failed, 0);
    assert_int_equal(v.judged, GKA_JUDGED);
    assert_int_equal(v.missing, 0);
    const gka_golden_row *const dk = &v.rows[row_of(GKA_OUT_SOLVE_DK)];
    assert_true(dk->local == (dk->own < dk->steps) && dk->inherited > 0);
    for (size_t i = 0; i < v.row_count; i++) {
        int64_t sum = 0;
        for (int d = 0; d < GKA_DISTANCES; d++)
            sum += v.rows[i].judged.distances[d];
        assert_int_equal(sum, v.rows[i].judged.count);
        assert_true(v.rows[i].cosine > .99 && v.rows[i].cosine < 1 + 1e-12);
    }
    end(&c, &v, file);
}

/* Files of the hardware: all pass but dh0, whose sign is a defect of the released kernels. */
static void test_the_released_kernels_pass(void **state) {
    (void)state;
    static const char *const names[] = {"d64", "h0"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[256];
        (void)snprintf(path, sizeof path, "%s/h100/%s.safetensors", GKA_TEST_DATA, names[i]);
        gka_file *file = NULL, *made = NULL;
        gka_error error = {0};
        gka_golden_spec spec;
        gka_golden_spec_start(&spec);
        assert_int_equal(gka_file_open(path, &file, &error), GKA_OK);
        assert_int_equal(gka_golden_generate(&spec, file, CANDIDATE, NULL, &error), GKA_OK);
        assert_int_equal(gka_file_open(CANDIDATE, &made, &error), GKA_OK);
        gka_golden_verdict v;
        assert_int_equal(gka_golden_judge(file, made, NULL, &v, &error), GKA_OK);
        for (size_t r = 0; r < v.row_count; r++) {
            const bool dh0 = strcmp(v.rows[r].name, "solve.dh0") == 0;
            if (v.rows[r].tensor != NULL && (v.rows[r].judged.ok == GKA_FAIL) != dh0)
                fail_msg("%s: %s: %.3g, tolerance %.3g", names[i], v.rows[r].name,
                         v.rows[r].judged.rel_err, v.rows[r].tolerance);
        }
        assert_true(v.judged >= 8);
        gka_golden_verdict_free(&v);
        gka_file_close(made);
        gka_file_close(file);
        assert_int_equal(unlink(CANDIDATE), 0);
    }
}

/* ---- wrong --------------------------------------------------------------------------------- */

typedef void mutation(candidate *c, int output, int64_t i, double x);

static void zero(candidate *c, int output, int64_t i, double x) {
    (void)x;
    put(c, output, i, 0);
}
static void half(candidate *c, int output, int64_t i, double x) {
    put(c, output, i, x / 2);
}
static void minus(candidate *c, int output, int64_t i, double x) {
    put(c, output, i, -x);
}
static void not_a_number(candidate *c, int output, int64_t i, double x) {
    put(c, output, i, i == 5 ? NAN : x);
}
/* The second sequence, or its state, is never written. */
static void unwritten(candidate *c, int output, int64_t i, double x) {
    put(c, output, i, 2 * i >= gka_tensor_count(&c->tensors[output]) ? 0 : x);
}

/* Bits of `outputs` are mutated together. */
static void check_mutation(mutation *mutate, unsigned outputs) {
    candidate c;
    gka_golden_verdict v;
    gka_file *file;
    start(&c);
    for (int o = 0; o < GKA_OUTPUTS; o++)
        for (int64_t i = 0; outputs >> o & 1 && i < gka_tensor_count(&c.tensors[o]); i++)
            mutate(&c, o, i, get(&c, o, i));
    assert_int_equal(judge(&c, ALL, NULL, &v, &file), GKA_OK);
    for (int o = 0; o < GKA_OUTPUTS; o++) {
        if (!(outputs >> o & 1))
            continue;
        const gka_golden_row *const row = &v.rows[row_of(o)];
        if (outputs >> o & 1 && (row->judged.ok != GKA_FAIL || row->mismatches == 0))
            fail_msg("%s: %.3g passes %.3g", row->name, row->judged.rel_err, row->tolerance);
    }
    end(&c, &v, file);
}

/* Tensors that others are judged by alone, then all others together. */
static void test_wrong_tensors_fail(void **state) {
    (void)state;
    static mutation *const mutations[] = {zero, half, minus, not_a_number, unwritten};
    unsigned upstream = 0;
    for (int o = 0; o < GKA_OUTPUTS; o++)
        upstream |= gka_output_table[o].upstream;
    for (size_t m = 0; m < sizeof mutations / sizeof *mutations; m++) {
        for (int o = 0; o < GKA_OUTPUTS; o++)
            if (upstream >> o & 1)
                check_mutation(mutations[m], 1u << o);
        check_mutation(mutations[m], ALL & ~upstream);
    }
}

static void test_a_mismatch_and_its_place(void **state) {
    (void)state;
    candidate c;
    gka_golden_verdict v;
    gka_file *file;
    start(&c);
    /* the first element and, worse, x[1,39,3,0] */
    put(&c, GKA_OUT_X, 0, 1e4);
    put(&c, GKA_OUT_X, ((40 + 39) * 4 + 3) * 32, -1e6);
    assert_int_equal(judge(&c, ALL, NULL, &v, &file), GKA_OK);
    const gka_golden_row *const x = &v.rows[row_of(GKA_OUT_X)];
    assert_int_equal(x->judged.ok, GKA_FAIL);
    assert_true(x->mismatches >= 2);
    static const int64_t first[] = {0, 0, 0, 0}, worst[] = {1, 39, 3, 0};
    assert_int_equal(x->first.at_rank, 4);
    assert_memory_equal(x->first.at, first, sizeof first);
    assert_memory_equal(x->worst.at, worst, sizeof worst);
    assert_int_equal(x->first.out_bits, 0x461C); /* bf16(1e4) = 9984 */
    assert_true(x->first.ref > -1e4 && x->first.ref < 9e3);
    assert_true(x->atol_alone > 9e5 && x->fla_ratio > 1 && !x->fla_passes);
    end(&c, &v, file);
}

/* ---- what is missing, names, layouts ------------------------------------------------------- */

static void test_missing_tensors(void **state) {
    (void)state;
    candidate c;
    gka_golden_verdict v;
    gka_file *file;
    start(&c);
    /* a dk without its x, and wrong: no verdict */
    for (int64_t i = 0; i < gka_tensor_count(&c.tensors[GKA_OUT_SOLVE_DK]); i++)
        put(&c, GKA_OUT_SOLVE_DK, i, 0);
    assert_int_equal(judge(&c, 1u << GKA_OUT_SOLVE_DK | 1u << GKA_OUT_FRO, NULL, &v, &file),
                     GKA_OK);
    assert_int_equal(v.missing, GKA_JUDGED - 2);
    assert_int_equal(v.rows[row_of(GKA_OUT_SOLVE_DK)].judged.ok, GKA_MEASURED);
    assert_non_null(v.rows[row_of(GKA_OUT_SOLVE_DK)].lacking);
    assert_int_equal(v.rows[row_of(GKA_OUT_FRO)].judged.ok, GKA_PASS);
    assert_null(v.rows[row_of(GKA_OUT_X)].tensor);
    end(&c, &v, file);

    start(&c);
    c.tensors[GKA_OUT_X].name = "y";
    assert_int_equal(judge(&c, 1u << GKA_OUT_X, NULL, &v, &file), GKA_BAD_FILE);
    end(&c, &v, file);
}

static void test_names_and_heads_first(void **state) {
    (void)state;
    candidate c;
    gka_golden_verdict plain, turned;
    gka_file *file;
    start(&c);
    assert_int_equal(judge(&c, ALL, NULL, &plain, &file), GKA_OK);
    gka_file_close(file);
    for (int i = 0; i < GKA_OUTPUTS; i++) {
        gka_tensor *const t = &c.tensors[i];
        if (!gka_output_table[i].judged || strncmp(gka_output_table[i].shape, "BT", 2) != 0)
            continue;
        const gka_tensor from = *gka_file_find(golden, c.names[i]);
        const int64_t T = from.shape[1], H = from.shape[2], n = from.rank > 3 ? from.shape[3] : 1;
        const size_t size = gka_dtype_size(from.dtype) * (size_t)n;
        for (int64_t r = 0; r < from.shape[0] * T * H; r++) {
            const int64_t b = r / (T * H), s = r / H % T, h = r % H;
            memcpy(c.bytes[i] + (size_t)((b * H + h) * T + s) * size,
                   (const unsigned char *)from.data + (size_t)r * size, size);
        }
        t->shape[1] = H;
        t->shape[2] = T;
    }
    c.tensors[GKA_OUT_O].name = "attn_out";
    const char *const theirs[] = {"attn_out"}, *const ours[] = {"o"};
    const gka_golden_options options = {
        .theirs = theirs, .ours = ours, .map_count = 1, .heads_first = true};
    assert_int_equal(judge(&c, ALL, &options, &turned, &file), GKA_OK);
    for (size_t i = 0; i < plain.row_count; i++) {
        assert_true(bits_of(plain.rows[i].judged.rel_err) ==
                    bits_of(turned.rows[i].judged.rel_err));
        assert_true(bits_of(plain.rows[i].total) == bits_of(turned.rows[i].total));
    }
    gka_golden_verdict_free(&plain);
    end(&c, &turned, file);
}

/* Bytes of [B,H,T,D] under the shape [B,T,H,D]: wrong, and the row says what would be right. */
static void test_bytes_in_the_other_layout(void **state) {
    (void)state;
    candidate c;
    gka_golden_verdict v;
    gka_file *file;
    start(&c);
    const gka_tensor from = *gka_file_find(golden, c.names[GKA_OUT_X]);
    const int64_t T = from.shape[1], H = from.shape[2];
    const size_t size = gka_dtype_size(from.dtype) * (size_t)from.shape[3];
    for (int64_t r = 0; r < from.shape[0] * T * H; r++) {
        const int64_t b = r / (T * H), s = r / H % T, h = r % H;
        memcpy(c.bytes[GKA_OUT_X] + (size_t)((b * H + h) * T + s) * size,
               (const unsigned char *)from.data + (size_t)r * size, size);
    }
    put(&c, GKA_OUT_FRO, 0, 1e9); /* wrong by itself: no layout mends it */
    assert_int_equal(judge(&c, 1u << GKA_OUT_X | 1u << GKA_OUT_FRO, NULL, &v, &file), GKA_OK);
    assert_true(v.rows[GKA_OUT_X].judged.ok == GKA_FAIL && v.rows[GKA_OUT_X].turned);
    assert_true(v.rows[GKA_OUT_FRO].judged.ok == GKA_FAIL && !v.rows[GKA_OUT_FRO].turned);
    end(&c, &v, file);
}

/* NaN and Inf fail also where nothing else could be judged: o without the x that it came from, its
 * own value being too far off. Without them such a tensor has no verdict, and is counted. */
static void test_non_finite_fails_without_a_tolerance(void **state) {
    (void)state;
    static const double bad[] = {1e30, NAN, -INFINITY};
    for (int i = 0; i < 3; i++) {
        candidate c;
        gka_golden_verdict v;
        gka_file *file;
        start(&c);
        put(&c, GKA_OUT_O, 5, bad[i]);
        assert_int_equal(judge(&c, 1u << GKA_OUT_O, NULL, &v, &file), GKA_OK);
        const gka_golden_row *const o = &v.rows[GKA_OUT_O];
        assert_string_equal(o->lacking, "x");
        assert_int_equal(o->non_finite, i > 0);
        assert_true(o->judged.ok == (i > 0 ? GKA_FAIL : GKA_MEASURED));
        assert_int_equal(v.failed, i > 0);
        assert_int_equal(v.judged, i > 0);
        assert_int_equal(v.unjudged, i == 0);
        end(&c, &v, file);
    }
}

/* What is required fails where it is missing, and where it cannot be judged. */
static void test_required(void **state) {
    (void)state;
    static const char *const names[] = {"x", "o"};
    const gka_golden_options some = {.required = names, .required_count = 2},
                             all = {.all_required = true};
    candidate c;
    gka_golden_verdict v;
    gka_file *file;
    start(&c);
    assert_int_equal(judge(&c, 1u << GKA_OUT_X | 1u << GKA_OUT_FRO, &some, &v, &file), GKA_OK);
    assert_true(v.rows[row_of(GKA_OUT_O)].required &&
                v.rows[row_of(GKA_OUT_O)].judged.ok == GKA_FAIL);
    assert_true(!v.rows[row_of(GKA_OUT_LAYER_DK)].required &&
                v.rows[row_of(GKA_OUT_X)].judged.ok == GKA_PASS);
    assert_int_equal(v.failed, 1);
    end(&c, &v, file);

    start(&c);
    put(&c, GKA_OUT_O, 5, 1e30);
    assert_int_equal(judge(&c, 1u << GKA_OUT_O, &some, &v, &file), GKA_OK);
    assert_int_equal(v.failed, 2); /* x is missing, o cannot be judged without it */
    end(&c, &v, file);

    start(&c);
    assert_int_equal(judge(&c, ALL & ~(1u << GKA_OUT_LAYER_DV), &all, &v, &file), GKA_OK);
    assert_int_equal(v.failed, 1);
    assert_true(v.rows[row_of(GKA_OUT_LAYER_DV)].judged.ok == GKA_FAIL);
    end(&c, &v, file);
}

/* A state kept in a narrower type than the golden's kernels keep it in is judged by that type. */
static void test_narrower_stored_type(void **state) {
    (void)state;
    static const gka_dtype types[] = {GKA_BF16, GKA_F16};
    for (int i = 0; i < 2; i++)
        for (int wrong = 0; wrong < 2; wrong++) {
            candidate c;
            gka_golden_verdict v;
            gka_file *file;
            start(&c);
            c.tensors[GKA_OUT_H_FINAL].dtype = types[i];
            put_reference(&c, GKA_OUT_H_FINAL, ".exact", GKA_NEAREST_EVEN);
            for (int64_t n = 0; n < gka_tensor_count(&c.tensors[GKA_OUT_H_FINAL]) && wrong; n++)
                put(&c, GKA_OUT_H_FINAL, n, 1.03 * get(&c, GKA_OUT_H_FINAL, n));
            assert_int_equal(judge(&c, 1u << GKA_OUT_H_FINAL, NULL, &v, &file), GKA_OK);
            const gka_golden_row *const h = &v.rows[GKA_OUT_H_FINAL];
            assert_true(h->judged.ok == (wrong ? GKA_FAIL : GKA_PASS));
            assert_true(h->tolerance >= gka_format_unit_roundoff(gka_format_of_dtype(types[i])));
            end(&c, &v, file);
        }
}

/* By NAME.exact in place of NAME.steps: a solver that converges. */
static void test_by_exact(void **state) {
    (void)state;
    candidate c;
    gka_golden_verdict v;
    gka_file *file;
    const gka_golden_options options = {.by_exact = true};
    start(&c);
    put_reference(&c, GKA_OUT_FRO, ".exact", GKA_NEAREST_EVEN);
    put_reference(&c, GKA_OUT_X, ".exact", GKA_NEAREST_EVEN);
    for (int by_exact = 0; by_exact < 2; by_exact++) {
        assert_int_equal(judge(&c, ALL, by_exact ? &options : NULL, &v, &file), GKA_OK);
        const gka_golden_row *const x = &v.rows[row_of(GKA_OUT_X)], *const o =
                                                                        &v.rows[row_of(GKA_OUT_O)];
        assert_true(!x->local && bits_of(x->steps) != bits_of(x->total));
        assert_true(bits_of(x->judged.rel_err) == bits_of(by_exact ? x->total : x->steps));
        assert_true(o->local == (o->own < (by_exact ? o->total : o->steps)));
        assert_int_equal(v.failed, 0);
        if (by_exact)
            break;
        gka_golden_verdict_free(&v);
        gka_file_close(file);
    }
    end(&c, &v, file);
}

/* layer.dq of binary32 as differentiating the steps gives it, by a kernel whose steps PyTorch's
 * autograd would differentiate too; times `factor`. */
static void put_autograd(const gka_problem *problem, double factor, float *dq) {
    gka_kernel kernel;
    gka_outputs values = {.of = {0}};
    const int64_t count = gka_output_count(problem, GKA_OUT_LAYER_DQ);
    assert_int_equal(gka_kernel_find("tokens/fp32", &kernel, NULL), GKA_OK);
    gka_layer_options options = gka_kernel_layer_options(&kernel, problem);
    options.through = true;
    assert_int_equal(gka_golden_allocate(problem, GKA_BIT(LAYER_DQ), &values, NULL), GKA_OK);
    assert_int_equal(gka_layer_gradient(problem, GKA_OF_O, &options, &values, NULL, NULL), GKA_OK);
    for (int64_t i = 0; i < count; i++)
        dq[i] = (float)(factor * values.of[GKA_OUT_LAYER_DQ][i]);
    gka_golden_free(&values);
}

enum { MOST_DQ = 64 * 32 };

/* The row of layer.dq, stored in this type and judged by the golden `by`. */
static gka_golden_row judge_dq(const gka_file *by, gka_gradient_kind gradients, double factor,
                               gka_dtype type) {
    const gka_format *const format = gka_format_of_dtype(type);
    const size_t size = gka_dtype_size(type);
    unsigned char bytes[MOST_DQ * sizeof(float)];
    float dq[MOST_DQ];
    gka_golden_verdict v;
    gka_file *file;
    gka_error error = {0};
    golden_reference reference;
    assert_int_equal(gka_golden_read(by, &reference, &error), GKA_OK);
    const int64_t T = reference.problem.T, D = reference.problem.D;
    assert_true(gka_output_count(&reference.problem, GKA_OUT_LAYER_DQ) <= MOST_DQ);
    put_autograd(&reference.problem, factor, dq);
    for (int64_t i = 0; i < T * D; i++)
        gka_store_le(bytes + (size_t)i * size, size,
                     gka_encode(format, gka_round(format, GKA_NEAREST_EVEN, dq[i], 0)));
    const gka_tensor tensor = {"layer.dq", type, 4, {1, T, 1, D}, bytes};
    assert_int_equal(gka_file_write(CANDIDATE, &tensor, 1, NULL, 0, &error), GKA_OK);
    assert_int_equal(gka_file_open(CANDIDATE, &file, &error), GKA_OK);
    const gka_golden_options options = {.gradients = gradients};
    assert_int_equal(gka_golden_judge(file, by, &options, &v, &error), GKA_OK);
    gka_golden_row row = {0};
    for (size_t i = 0; i < v.row_count; i++)
        if (v.rows[i].tensor != NULL)
            row = v.rows[i];
    assert_string_equal(row.name, "layer.dq");
    assert_int_equal(v.failed, row.judged.ok == GKA_FAIL);
    gka_golden_verdict_free(&v);
    gka_golden_reference_free(&reference);
    gka_file_close(file);
    assert_int_equal(unlink(CANDIDATE), 0);
    return row;
}

static gka_file *make_for_dq(const char *text) {
    gka_golden_spec spec;
    gka_error error = {0};
    gka_file *by;
    gka_golden_spec_start(&spec);
    assert_int_equal(gka_golden_spec_read(&spec, text, &error), GKA_OK);
    assert_int_equal(gka_golden_generate(&spec, NULL, "golden_dq.safetensors", NULL, &error),
                     GKA_OK);
    assert_int_equal(gka_file_open("golden_dq.safetensors", &by, &error), GKA_OK);
    return by;
}

/* dq of the steps is that of the implicit gradient in real numbers; in binary32 the token whose
 * cotangent lies along its own key loses more (NUMERICS 3). NaN does not pass by that, nor a
 * mistake of 2^-10 on this golden, of kappa at most 51: the tolerance grows with kappa.
 * Stored in bf16, it may lose what bf16 loses. */
static void test_dq_by_autograd(void **state) {
    (void)state;
    gka_file *const by = make_for_dq("{\"T\": 12, \"D\": 16, \"V\": 16, \"chunk\": 16, "
                                     "\"dtype\": \"fp32\", \"gate\": \"slow\"}");
    gka_golden_row row = judge_dq(by, GKA_GRADIENTS_IMPLICIT, 1, GKA_F32);
    assert_true(row.judged.ok == GKA_FAIL && row.row_error > row.row_tolerance);
    assert_true(row.other_passes && !row.by_through);
    const double allowed = row.row_tolerance;
    row = judge_dq(by, GKA_GRADIENTS_THROUGH, 1, GKA_F32);
    assert_true(row.judged.ok == GKA_PASS && row.by_through && row.row_tolerance > allowed);
    row = judge_dq(by, GKA_GRADIENTS_AUTO, 1, GKA_F32);
    assert_true(row.judged.ok == GKA_PASS && row.by_through);
    row = judge_dq(by, GKA_GRADIENTS_THROUGH, 1 + 0x1p-10, GKA_F32);
    assert_true(row.judged.ok == GKA_FAIL && !row.other_passes);
    row = judge_dq(by, GKA_GRADIENTS_THROUGH, NAN, GKA_F32);
    assert_true(row.judged.ok == GKA_FAIL && row.non_finite > 0);
    row = judge_dq(by, GKA_GRADIENTS_THROUGH, 1, GKA_BF16);
    assert_true(row.judged.ok == GKA_PASS && row.by_through);
    assert_true(row.tolerance >= gka_format_unit_roundoff(gka_format_of_dtype(GKA_BF16)));
    row = judge_dq(by, GKA_GRADIENTS_THROUGH, 1.03, GKA_BF16);
    assert_true(row.judged.ok == GKA_FAIL);
    gka_file_close(by);
    assert_int_equal(unlink("golden_dq.safetensors"), 0);
}

/* Where kappa is about 1000 autograd loses 2^-12 of all of dq, and the tolerance is above twice
 * that (NUMERICS 3): a mistake of 9e-4 fails by default, and would pass by --gradients=through. */
static void test_dq_of_a_large_kappa(void **state) {
    (void)state;
    gka_file *const by = make_for_dq("{\"T\": 64, \"D\": 32, \"V\": 32, \"dtype\": \"fp32\", "
                                     "\"ridge\": 0.001, \"iters\": 60, \"problem\": \"mean\"}");
    gka_golden_row row = judge_dq(by, GKA_GRADIENTS_IMPLICIT, 1, GKA_F32);
    assert_true(row.judged.ok == GKA_FAIL && row.other_passes);
    assert_true(row.tolerance <= 0x1p-15 && row.through_tolerance <= 0x1p-10);
    assert_true(row.through > row.through_tolerance / 8); /* no looser than what is lost */
    row = judge_dq(by, GKA_GRADIENTS_IMPLICIT, 1 + 9e-4, GKA_F32);
    assert_true(row.judged.ok == GKA_FAIL && row.other_passes);
    row = judge_dq(by, GKA_GRADIENTS_THROUGH, 1 + 0x1p-9, GKA_F32);
    assert_true(row.judged.ok == GKA_FAIL);
    gka_file_close(by);
    assert_int_equal(unlink("golden_dq.safetensors"), 0);
}

/* Cutting off is within the tolerance, and shows in the share of elements nearer to zero. */
static void test_cut_off_not_rounded(void **state) {
    (void)state;
    candidate c;
    gka_golden_verdict v;
    gka_file *file;
    start(&c);
    put_reference(&c, GKA_OUT_X, ".steps", GKA_TOWARD_ZERO);
    put_reference(&c, GKA_OUT_SOLVE_DQ, ".steps", GKA_NEAREST_EVEN);
    assert_int_equal(judge(&c, ALL, NULL, &v, &file), GKA_OK);
    assert_int_equal(v.rows[row_of(GKA_OUT_X)].judged.ok, GKA_PASS);
    assert_true(v.rows[row_of(GKA_OUT_X)].toward_zero >= 1);
    const double share =
        v.rows[row_of(GKA_OUT_SOLVE_DQ)].toward_zero; /* 4 of the binomial's sigmas */
    assert_true(fabs(share - .5) < 2 / sqrt((double)v.rows[row_of(GKA_OUT_SOLVE_DQ)].judged.count));
    end(&c, &v, file);
}

/* h0 is taken as its symmetric part: the gradient's symmetric part is the gradient, too. */
static void test_a_symmetric_dh0(void **state) {
    (void)state;
    candidate c;
    gka_golden_verdict v;
    gka_file *file;
    start(&c);
    const gka_tensor *const dh0 = &c.tensors[GKA_OUT_SOLVE_DH0];
    const int64_t D = dh0->shape[dh0->rank - 1], count = gka_tensor_count(dh0);
    double change = 0;
    for (int64_t i = 0; i < count; i++) {
        const int64_t row = i % (D * D) / D, column = i % D, other = i + (column - row) * (D - 1);
        if (column <= row)
            continue;
        const double a = get(&c, GKA_OUT_SOLVE_DH0, i), b = get(&c, GKA_OUT_SOLVE_DH0, other);
        change += (a - b) * (a - b);
        put(&c, GKA_OUT_SOLVE_DH0, i, (a + b) / 2);
        put(&c, GKA_OUT_SOLVE_DH0, other, (a + b) / 2);
    }
    assert_true(change > 1);
    assert_int_equal(judge(&c, ALL, NULL, &v, &file), GKA_OK);
    assert_true(v.rows[row_of(GKA_OUT_SOLVE_DH0)].symmetric);
    assert_int_equal(v.rows[row_of(GKA_OUT_SOLVE_DH0)].judged.ok, GKA_PASS);
    assert_true(v.rows[row_of(GKA_OUT_SOLVE_DH0)].judged.rel_err < 1e-6);
    gka_golden_verdict_free(&v);
    gka_file_close(file);
    put(&c, GKA_OUT_SOLVE_DH0, 1, 1.0001 * get(&c, GKA_OUT_SOLVE_DH0, 1));
    assert_int_equal(judge(&c, ALL, NULL, &v, &file), GKA_OK);
    assert_false(v.rows[row_of(GKA_OUT_SOLVE_DH0)].symmetric);
    assert_int_equal(v.rows[row_of(GKA_OUT_SOLVE_DH0)].judged.ok, GKA_FAIL);
    end(&c, &v, file);
}

/* One row of 320 off by a sixteenth of itself: little over the tensor, and seen. */
static void test_one_row(void **state) {
    (void)state;
    candidate c;
    gka_golden_verdict v;
    gka_file *file;
    enum { ROW = (1 * 40 + 33) * 4 + 2, V = 16 }; /* [1,33,2] of [2,40,4] */
    start(&c);
    for (int64_t i = ROW * V; i < (ROW + 1) * V; i++)
        put(&c, GKA_OUT_O, i, get(&c, GKA_OUT_O, i) * 1.0625);
    assert_int_equal(judge(&c, ALL, NULL, &v, &file), GKA_OK);
    assert_int_equal(v.failed, 1);
    const gka_golden_row *const o = &v.rows[row_of(GKA_OUT_O)];
    assert_string_equal(o->name, "o");
    assert_int_equal(o->judged.ok, GKA_FAIL);
    assert_true(o->judged.rel_err <= o->tolerance && o->row_error > o->row_tolerance);
    assert_int_equal(o->row_rank, 3);
    assert_true(o->row_at[0] == 1 && o->row_at[1] == 33 && o->row_at[2] == 2);
    end(&c, &v, file);
}

/* One byte of an input, of a tolerance or of a reference that is another than it was. */
static void test_changed_golden(void **state) {
    (void)state;
    static const char tolerance[] = "\\\"value\\\":";
    enum { WORD = sizeof tolerance - 1, PLACES = 3 };
    for (int place = 0; place < PLACES; place++) {
        FILE *const from = fopen(GOLDEN, "rb"), *const to =
                                                    fopen("golden_changed.safetensors", "wb");
        assert_true(from != NULL && to != NULL);
        assert_int_equal(fseek(from, 0, SEEK_END), 0);
        const long size = ftell(from);
        char *const bytes = gka_alloc((size_t)size, 1);
        rewind(from);
        assert_true(bytes != NULL && fread(bytes, 1, (size_t)size, from) == (size_t)size);
        const long header = (long)gka_load_le(bytes, 8);
        long at = place == 0 ? header + 8 + 100 : size - 1;
        for (long i = 8; i < header && place == 1 && at == size - 1; i++)
            if (memcmp(bytes + i, tolerance, WORD) == 0)
                at = i + WORD;
        assert_true(place != 1 || at < header);
        bytes[at] = (char)(bytes[at] ^ 1); /* of a digit: another digit */
        assert_true(fwrite(bytes, 1, (size_t)size, to) == (size_t)size);
        assert_int_equal(fclose(from) + fclose(to), 0);
        gka_free(bytes);
        gka_file *changed = NULL;
        gka_error error = {0};
        gka_golden_verdict v;
        assert_int_equal(gka_file_open("golden_changed.safetensors", &changed, &error), GKA_OK);
        assert_int_equal(gka_golden_judge(golden, changed, NULL, &v, &error), GKA_BAD_FILE);
        assert_non_null(strstr(error.text, "it was changed after it was made"));
        gka_golden_verdict_free(&v);
        gka_file_close(changed);
        assert_int_equal(unlink("golden_changed.safetensors"), 0);
    }
}

static gka_status judge_once(void *file) {
    gka_golden_verdict v;
    const gka_status status = gka_golden_judge(file, golden, NULL, &v, NULL);
    gka_golden_verdict_free(&v);
    return status;
}

static void test_survives_failing_allocations(void **state) {
    (void)state;
    candidate c;
    gka_golden_verdict v;
    gka_file *file;
    start(&c);
    assert_int_equal(judge(&c, ALL, NULL, &v, &file), GKA_OK);
    gka_set_threads(1);
    (void)some_allocations_fail(judge_once, file, false, 4);
    gka_set_threads(0);
    end(&c, &v, file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_emulated_kernel_passes),
        cmocka_unit_test(test_the_released_kernels_pass),
        cmocka_unit_test(test_wrong_tensors_fail),
        cmocka_unit_test(test_a_mismatch_and_its_place),
        cmocka_unit_test(test_missing_tensors),
        cmocka_unit_test(test_names_and_heads_first),
        cmocka_unit_test(test_bytes_in_the_other_layout),
        cmocka_unit_test(test_non_finite_fails_without_a_tolerance),
        cmocka_unit_test(test_required),
        cmocka_unit_test(test_narrower_stored_type),
        cmocka_unit_test(test_by_exact),
        cmocka_unit_test(test_dq_by_autograd),
        cmocka_unit_test(test_dq_of_a_large_kappa),
        cmocka_unit_test(test_cut_off_not_rounded),
        cmocka_unit_test(test_a_symmetric_dh0),
        cmocka_unit_test(test_one_row),
        cmocka_unit_test(test_changed_golden),
        cmocka_unit_test(test_survives_failing_allocations),
    };
    return cmocka_run_group_tests_name("judge", tests, make_golden, remove_golden);
}
