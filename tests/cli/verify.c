/* verify.c - gka verify in process: its JSON, what the files state, and every allocation failing.
 */
#include "command.h"

#include "gka/io.h"
#include "gka/judge.h"

#include <jansson.h>
#include <math.h>

#define JSON_FILE  "cli_verify.json"
#define SMALL_FILE "cli_verify.safetensors"

/* ---- running it ---------------------------------------------------------------------------- */

/* The JSON that `gka verify ARGUMENT... --json=-` prints. */
static json_t *figures(const char *first, const char *second) {
    result r = second == NULL ? RUN("gka", "verify", "--json=-", first)
                              : RUN("gka", "verify", "--json=-", first, second);
    assert_int_equal(r.code, 0);
    assert_string_equal(r.err, "");
    json_t *const root = json_loads(r.out, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    end(&r);
    return root;
}

static const json_t *tensor_of(const json_t *file, const char *name) {
    size_t i;
    const json_t *tensor;
    json_array_foreach(json_object_get(file, "tensors"), i,
                       tensor) if (strcmp(json_string_value(json_object_get(tensor, "name")),
                                          name) == 0) return tensor;
    fail_msg("no tensor %s", name);
    return NULL;
}

static double real_of(const json_t *object, const char *key) {
    const json_t *const value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

/* ---- the schema ---------------------------------------------------------------------------- */

static void test_json_of_one_file(void **state) {
    (void)state;
    const char *const path = GKA_TEST_DATA "/h100/iid_gated.safetensors";
    json_t *const root = figures(path, NULL);
    assert_string_equal(json_string_value(json_object_get(root, "file")), path);
    assert_string_equal(json_string_value(json_object_get(root, "oracle")), "certified");
    const json_t *const parameters = json_object_get(root, "parameters");
    assert_true(bits_of(real_of(parameters, "ridge_ratio")) == bits_of(.02));
    assert_true(bits_of(real_of(parameters, "scale")) == bits_of(0.08838834764831845));
    assert_int_equal(json_integer_value(json_object_get(parameters, "num_iter")), 30);
    assert_int_equal(json_integer_value(json_object_get(parameters, "chunk_size")), 64);
    assert_int_equal(json_array_size(json_object_get(root, "tensors")), 14);

    const json_t *const o = tensor_of(root, "o");
    assert_string_equal(json_string_value(json_object_get(o, "dtype")), "BF16");
    static const int shape[] = {1, 192, 1, 128};
    assert_int_equal(json_array_size(json_object_get(o, "shape")), 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(json_integer_value(json_array_get(json_object_get(o, "shape"), i)),
                         shape[i]);
    assert_int_equal(json_array_size(json_object_get(o, "at")), 3);
    assert_true(json_is_null(json_object_get(o, "ok")));
    assert_int_equal(json_integer_value(json_object_get(o, "nonfinite")), 0);
    assert_true(json_is_integer(json_object_get(o, "max_ulp")));
    assert_true(real_of(o, "max_row_err") > real_of(o, "rel_err"));
    json_decref(root);
}

static void test_json_of_two_files(void **state) {
    (void)state;
    json_t *const root =
        figures(GKA_TEST_DATA "/h100/d64.safetensors", GKA_TEST_DATA "/h100/decode.safetensors");
    assert_true(json_is_array(root));
    assert_int_equal(json_array_size(root), 2);
    const json_t *const second = json_array_get(root, 1);
    assert_string_equal(json_string_value(json_object_get(second, "file")),
                        GKA_TEST_DATA "/h100/decode.safetensors");
    json_decref(root);
}

static void test_json_verdicts_and_file(void **state) {
    (void)state;
    result r = RUN("gka", "verify", "--tolerance=x=1e-9", "--tolerance=fro=1", "--json=" JSON_FILE,
                   GKA_TEST_DATA "/h100/d64.safetensors");
    assert_int_equal(r.code, 1);
    assert_string_equal(r.err, "");
    assert_non_null(strstr(r.out, "NO\n"));
    json_t *const root = json_load_file(JSON_FILE, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    assert_true(json_is_false(json_object_get(tensor_of(root, "x"), "ok")));
    assert_true(json_is_true(json_object_get(tensor_of(root, "fro"), "ok")));
    assert_true(json_is_null(json_object_get(tensor_of(root, "o"), "ok")));
    json_decref(root);
    end(&r);
    assert_int_equal(unlink(JSON_FILE), 0);
}

/* ---- what the files state ------------------------------------------------------------------ */

/* Each file states the rel_err that an independent computation in fp64 found, which agrees with
 * the exact value to 1e-11 of its norm. By the triangle inequality the two rel_err differ by at
 * most 1e-11 (1 + rel_err). Returns how many figures the file states. */
static int check_stated(const char *path) {
    json_t *const root = figures(path, NULL);
    int count = 0;
    size_t i;
    const json_t *tensor;
    json_array_foreach(json_object_get(root, "tensors"), i, tensor) {
        if (json_is_null(json_object_get(tensor, "stated")))
            continue;
        const double stated = real_of(tensor, "stated"), ours = real_of(tensor, "rel_err");
        if (!(fabs(ours - stated) <= 1e-11 * (1 + stated)))
            fail_msg("%s: %s: %.17g, stated %.17g", path,
                     json_string_value(json_object_get(tensor, "name")), ours, stated);
        count++;
    }
    json_decref(root);
    return count;
}

static void test_stated_figures_agree(void **state) {
    (void)state;
    static const struct {
        const char *path;
        int figures;
    } files[] = {{GKA_TEST_DATA "/h100/iid_gated.safetensors", 13},
                 {GKA_TEST_DATA "/h100/iid_ungated.safetensors", 11},
                 {GKA_TEST_DATA "/h100/ragged.safetensors", 13},
                 {GKA_TEST_DATA "/h100/d64.safetensors", 13},
                 {GKA_TEST_DATA "/h100/slow.safetensors", 13},
                 {GKA_TEST_DATA "/h100/h0.safetensors", 0}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (!SANITIZED || i == 3)
            assert_int_equal(check_stated(files[i].path), files[i].figures);
}

/* The released dh0 is + sum exp(G_t) p_t x_t^T where the gradient begins with - (NUMERICS 5): the
 * difference is twice the reference, less the small ridge term that is missing. */
static void test_released_dh0_has_the_wrong_sign(void **state) {
    (void)state;
    json_t *const root = figures(GKA_TEST_DATA "/h100/h0.safetensors", NULL);
    const double rel_err = real_of(tensor_of(root, "solve.dh0"), "rel_err");
    assert_true(rel_err > 1.9 && rel_err < 2.1);
    json_decref(root);
}

/* ---- a small file of every kind of tensor -------------------------------------------------- */

enum { T = 3, H = 2, D = 4, V = 3 };

static double number(uint64_t tensor, uint64_t i) {
    uint64_t bits[4];
    gka_philox((const uint64_t[4]){tensor, i}, (const uint64_t[2]){11, 4}, bits);
    return ldexp((double)(bits[0] >> 11), -52) - 1;
}

/* Outputs are noise: their figures are large, which is no matter here. x holds a NaN and an Inf,
 * layer.dalpha an Inf. */
static void write_small_file(const char *path) {
    static double data[23][T * H * D * D];
    const gka_tensor tensors[] = {
        {"q", GKA_F64, 4, {1, T, H, D}, data[0]},
        {"k", GKA_F64, 4, {1, T, H, D}, data[1]},
        {"v", GKA_F64, 4, {1, T, H, V}, data[2]},
        {"alpha", GKA_F64, 3, {1, T, H}, data[3]},
        {"g", GKA_F64, 3, {1, T, H}, data[4]},
        {"h0", GKA_F64, 4, {1, H, D, D}, data[5]},
        {"u0", GKA_F64, 4, {1, H, D, V}, data[6]},
        {"do", GKA_F64, 4, {1, T, H, V}, data[7]},
        {"dx", GKA_F64, 4, {1, T, H, D}, data[8]},
        {"x", GKA_F64, 4, {1, T, H, D}, data[9]},
        {"fro", GKA_F64, 3, {1, T, H}, data[10]},
        {"h_chunk", GKA_F64, 5, {1, 2, H, D, D}, data[11]},
        {"h_final", GKA_F64, 4, {1, H, D, D}, data[12]},
        {"u_final", GKA_F64, 4, {1, H, D, V}, data[13]},
        {"o", GKA_F64, 4, {1, T, H, V}, data[14]},
        {"solve.dk", GKA_F64, 4, {1, T, H, D}, data[15]},
        {"solve.dh0", GKA_F64, 4, {1, H, D, D}, data[16]},
        {"layer.dv", GKA_F64, 4, {1, T, H, V}, data[17]},
        {"layer.dalpha", GKA_F64, 3, {1, T, H}, data[18]},
        {"layer.dg", GKA_F64, 3, {1, T, H}, data[19]},
        {"ref.x", GKA_F64, 4, {1, T, H, D}, data[20]},
        {"other", GKA_F64, 1, {3}, data[21]},
    };
    const gka_text_pair metadata[] = {
        {"chunk_size", "2"}, {"ridge_ratio", "0.02"}, {"rel_err_vs_fp64", "{\"x\": 1e-3}"}};
    for (uint64_t t = 0; t < sizeof tensors / sizeof *tensors; t++)
        for (uint64_t i = 0; i < sizeof data[0] / sizeof data[0][0]; i++)
            data[t][i] = number(t, i);
    for (int i = 0; i < T * H; i++) /* gates */
        data[4][i] = -fabs(data[4][i]);
    for (int i = 0; i < H * D * D; i++) /* h0: the identity, a little askew */
        data[5][i] = i % (D * D) % (D + 1) == 0 ? 1 : 1e-3 * data[5][i];
    data[9][3] = NAN;
    data[9][7] = -INFINITY;
    data[18][2] = INFINITY; /* layer.dalpha */
    assert_int_equal(
        gka_file_write(path, tensors, sizeof tensors / sizeof *tensors, metadata, 3, NULL), GKA_OK);
}

static void test_small_file(void **state) {
    (void)state;
    json_t *const root = figures(SMALL_FILE, NULL);
    assert_int_equal(json_array_size(json_object_get(root, "tensors")), 11);
    const json_t *const x = tensor_of(root, "x");
    assert_string_equal(json_string_value(json_object_get(x, "rel_err")), "NaN");
    assert_int_equal(json_integer_value(json_object_get(x, "nonfinite")), 2);
    assert_int_equal(json_integer_value(json_object_get(x, "nan")), 1);
    assert_int_equal(json_integer_value(json_object_get(x, "inf")), 1);
    const json_t *const dalpha = tensor_of(root, "layer.dalpha");
    assert_string_equal(json_string_value(json_object_get(dalpha, "rel_err")), "Infinity");
    assert_string_equal(json_string_value(json_object_get(dalpha, "max_row_err")), "Infinity");
    static const char *const said[] = {"metadata 'num_iter' is missing: 30 taken",
                                       "metadata 'scale' is missing: 0.5 taken",
                                       "h0 is not symmetric: (h0 + h0^T)/2 taken",
                                       "certified: worst proven bound ",
                                       "0 of 1 stated figures agree to two digits",
                                       "tensor 'other' is not judged",
                                       "measured, no verdict: "};
    const json_t *const notes = json_object_get(root, "notes");
    assert_int_equal(json_array_size(notes), sizeof said / sizeof *said);
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        if (strncmp(json_string_value(json_array_get(notes, i)), said[i], strlen(said[i])) != 0)
            fail_msg("note '%s'", json_string_value(json_array_get(notes, i)));
    json_decref(root);
}

/* H_1 = diag(-5, 1) + k k^T is indefinite: nothing can be proven, and fp64 solves it. */
static void test_without_a_certificate(void **state) {
    (void)state;
    const char *const path = "cli_verify_indefinite.safetensors";
    const double k[2] = {0, 1}, q[2] = {1, 1}, h0[4] = {-5, 0, 0, 1};
    const double f = sqrt(25 + 4), x[2] = {1 / (-5 + .02 * f), 1 / (2 + .02 * f)};
    const gka_tensor tensors[] = {{"q", GKA_F64, 4, {1, 1, 1, 2}, q},
                                  {"k", GKA_F64, 4, {1, 1, 1, 2}, k},
                                  {"h0", GKA_F64, 4, {1, 1, 2, 2}, h0},
                                  {"x", GKA_F64, 4, {1, 1, 1, 2}, x}};
    assert_int_equal(gka_file_write(path, tensors, 4, NULL, 0, NULL), GKA_OK);
    json_t *const root = figures(path, NULL);
    assert_string_equal(json_string_value(json_object_get(root, "oracle")), "fp64");
    /* x by hand: six roundings, and the oracle's own few, at kappa 3 */
    assert_true(real_of(tensor_of(root, "x"), "rel_err") <= 32 * 0x1p-53);
    const json_t *const notes = json_object_get(root, "notes");
    assert_string_equal(json_string_value(json_array_get(notes, json_array_size(notes) - 2)),
                        "no certificate for these inputs: oracle fp64 taken");
    json_decref(root);
    result r = RUN("gka", "verify", "--oracle=certified", path);
    assert_int_equal(r.code, 2);
    assert_non_null(strstr(r.err, path));
    end(&r);
    assert_int_equal(unlink(path), 0);
}

/* D = 1 without gates: x_t = q_t / (1.02 sum_(s <= t) k_s^2) of each of two heads, three tokens. */
static void write_scalars(const char *path, bool heads_first) {
    double q[6], k[6], x[6];
    for (int h = 0; h < 2; h++) {
        double sum = 0;
        for (int t = 0; t < 3; t++) {
            const int i = heads_first ? h * 3 + t : t * 2 + h;
            q[i] = number(1, (uint64_t)(h * 3 + t));
            k[i] = 1 + (h * 3 + t) / 8.;
            sum += k[i] * k[i];
            x[i] = q[i] / (1.02 * sum);
        }
    }
    const int64_t T_ = heads_first ? 2 : 3, H_ = heads_first ? 3 : 2;
    const gka_tensor tensors[] = {{"q", GKA_F64, 4, {1, T_, H_, 1}, q},
                                  {"k", GKA_F64, 4, {1, T_, H_, 1}, k},
                                  {"x", GKA_F64, 4, {1, T_, H_, 1}, x}};
    assert_int_equal(gka_file_write(path, tensors, 3, NULL, 0, NULL), GKA_OK);
}

/* A file that is right as [B,H,T,D] says so; one that is not says nothing but which axis is short.
 */
static void test_axes_in_another_order(void **state) {
    (void)state;
    const char *const path = "cli_verify_turned.safetensors";
    write_scalars(path, true);
    result r = RUN("gka", "verify", path);
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "the tensors fit as [B,H,T,..]"));
    end(&r);
    write_scalars(path, false);
    r = RUN("gka", "verify", path);
    assert_null(strstr(r.out, "[B,H,T,..]"));
    assert_null(strstr(r.out, "is less than"));
    end(&r);
    const double one[6] = {1, 1, 1, 1, 1, 1};
    const gka_tensor tensors[] = {{"q", GKA_F64, 4, {1, 2, 3, 1}, one},
                                  {"k", GKA_F64, 4, {1, 2, 3, 1}, one},
                                  {"x", GKA_F64, 4, {1, 2, 3, 1}, one}};
    assert_int_equal(gka_file_write(path, tensors, 3, NULL, 0, NULL), GKA_OK);
    r = RUN("gka", "verify", path);
    assert_null(strstr(r.out, "the tensors fit as"));
    assert_non_null(strstr(r.out, "T 2 is less than H 3: the axes are read as [B,T,H,..]"));
    end(&r);
    static const char *const others[] = {"condition", "spectrum"};
    for (int i = 0; i < 2; i++) {
        r = RUN("gka", others[i], path);
        assert_int_equal(r.code, 0);
        assert_ptr_equal(strstr(r.out, "note: T 2 is less than H 3"), r.out);
        end(&r);
    }
    write_scalars(path, true);
    fail_allocations(0, NULL, 10, ARGUMENTS("gka", "verify", path));
    assert_int_equal(unlink(path), 0);
}

/* NaN is within no tolerance. */
static void test_nan_fails(void **state) {
    (void)state;
    /* Nor is it right where no tolerance names its tensor and a verdict is asked for. */
    static const char *const tolerances[] = {"--tolerance=x=1e300", "--tolerance=fro=1e300"};
    for (int i = 0; i < 2; i++) {
        result r = RUN("gka", "verify", tolerances[i], SMALL_FILE);
        assert_int_equal(r.code, 1);
        end(&r);
    }
}

/* What the oracle says, written to a file in fp64 and in the other dtypes, passes: the figures are
 * those of one rounding. */
static void test_exact_output_passes_in_every_dtype(void **state) {
    (void)state;
    gka_file *file;
    gka_problem problem;
    assert_int_equal(gka_file_open(SMALL_FILE, &file, NULL), GKA_OK);
    assert_int_equal(gka_problem_from_file(file, &problem, NULL, NULL), GKA_OK);
    double x[T * H * D];
    gka_outputs exact = {.x = x};
    const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED};
    assert_int_equal(gka_oracle_forward(&problem, &options, &exact, NULL, NULL, NULL), GKA_OK);
    double norm = 0;
    for (int i = 0; i < T * H * D; i++)
        norm += x[i] * x[i];
    norm = sqrt(norm);
    static const gka_dtype dtypes[] = {GKA_F64, GKA_F32,     GKA_BF16,
                                       GKA_F16, GKA_F8_E4M3, GKA_F8_E5M2};
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        double packed[T * H * D];
        const gka_format *const format = gka_format_of_dtype(dtypes[i]);
        gka_encode_array(format, GKA_NEAREST_EVEN, 0, 0, T * H * D, x, packed);
        const gka_tensor tensor = {"x", dtypes[i], 4, {1, T, H, D}, packed};
        const char *const path = "cli_verify_x.safetensors";
        assert_int_equal(gka_file_write(path, &tensor, 1, NULL, 0, NULL), GKA_OK);
        result r = RUN("gka", "verify", "--inputs=" SMALL_FILE, "--json=-", path);
        assert_int_equal(r.code, 0);
        json_t *const root = json_loads(r.out, 0, NULL);
        const json_t *const row = tensor_of(root, "x");
        assert_true(json_is_true(json_object_get(row, "bits_equal")));
        assert_int_equal(json_integer_value(json_object_get(row, "max_ulp")), 0);
        /* each element is off by at most u of itself, or half the smallest subnormal */
        const double u = gka_format_unit_roundoff(format);
        const double tiny = .5 * gka_format_min_subnormal(format) * sqrt(T * H * D);
        assert_true(real_of(row, "rel_err") <= (u + tiny / norm) * (1 + 8 * 0x1p-53));
        json_decref(root);
        end(&r);
        assert_int_equal(unlink(path), 0);
    }
    gka_problem_free(&problem);
    gka_file_close(file);
}

/* Every output as the oracle computes it, through a file and back: each tensor finds its own
 * reference, shape and row (a swap of two would show), for packed sequences, grouped heads, V != D,
 * initial states and chunks that end inside a sequence. */
static void test_every_output_finds_its_reference(void **state) {
    (void)state;
    enum { T7 = 7, H4 = 4, G2 = 2, N3 = 3, CHUNKS = 2 + 0 + 2 };
    static double in[9][N3 * H4 * D * D + T7 * H4 * D], out[15][CHUNKS * H4 * D * D];
    for (uint64_t t = 0; t < 9; t++)
        for (uint64_t i = 0; i < sizeof in[0] / sizeof in[0][0]; i++)
            in[t][i] = number(t + 40, i);
    for (int i = 0; i < T7 * H4; i++)
        in[4][i] = -fabs(in[4][i]);
    for (int i = 0; i < N3 * H4 * D * D; i++) /* symmetric, positive definite */
        in[5][i] = i % (D * D) % (D + 1) == 0 ? 1 : .125;
    const int64_t bounds[N3 + 1] = {0, 3, 3, T7};
    const gka_tensor tensors[] = {
        {"q", GKA_F64, 4, {1, T7, H4, D}, in[0]},
        {"k", GKA_F64, 4, {1, T7, G2, D}, in[1]},
        {"v", GKA_F64, 4, {1, T7, G2, V}, in[2]},
        {"alpha", GKA_F64, 3, {1, T7, H4}, in[3]},
        {"g", GKA_F64, 3, {1, T7, H4}, in[4]},
        {"h0", GKA_F64, 4, {N3, H4, D, D}, in[5]},
        {"u0", GKA_F64, 4, {N3, H4, D, V}, in[6]},
        {"do", GKA_F64, 4, {1, T7, H4, V}, in[7]},
        {"dx", GKA_F64, 4, {1, T7, H4, D}, in[8]},
        {"cu_seqlens", GKA_I64, 1, {N3 + 1}, bounds},
        {"x", GKA_F64, 4, {1, T7, H4, D}, out[0]},
        {"fro", GKA_F64, 3, {1, T7, H4}, out[1]},
        {"h_chunk", GKA_F64, 5, {1, CHUNKS, H4, D, D}, out[2]},
        {"h_final", GKA_F64, 4, {N3, H4, D, D}, out[3]},
        {"u_final", GKA_F64, 4, {N3, H4, D, V}, out[4]},
        {"o", GKA_F64, 4, {1, T7, H4, V}, out[5]},
        {"solve.dq", GKA_F64, 4, {1, T7, H4, D}, out[6]},
        {"solve.dk", GKA_F64, 4, {1, T7, G2, D}, out[7]},
        {"solve.dg", GKA_F64, 3, {1, T7, H4}, out[8]},
        {"solve.dh0", GKA_F64, 4, {N3, H4, D, D}, out[9]},
        {"layer.dq", GKA_F64, 4, {1, T7, H4, D}, out[10]},
        {"layer.dk", GKA_F64, 4, {1, T7, G2, D}, out[11]},
        {"layer.dv", GKA_F64, 4, {1, T7, G2, V}, out[12]},
        {"layer.dalpha", GKA_F64, 3, {1, T7, H4}, out[13]},
        {"layer.dg", GKA_F64, 3, {1, T7, H4}, out[14]},
    };
    const gka_text_pair metadata[] = {{"chunk_size", "2"}};
    const char *const path = "cli_verify_all.safetensors";
    assert_int_equal(gka_file_write(path, tensors, 10, metadata, 1, NULL), GKA_OK);
    gka_file *file;
    gka_problem problem;
    assert_int_equal(gka_file_open(path, &file, NULL), GKA_OK);
    assert_int_equal(gka_problem_from_file(file, &problem, NULL, NULL), GKA_OK);
    gka_outputs forward = {.x = out[0],
                           .fro = out[1],
                           .h_chunk = out[2],
                           .h_final = out[3],
                           .u_final = out[4],
                           .o = out[5]};
    gka_outputs solve = {.solve = {.dq = out[6], .dk = out[7], .dg = out[8], .dh0 = out[9]}};
    gka_outputs layer = {
        .layer = {.dq = out[10], .dk = out[11], .dv = out[12], .dalpha = out[13], .dg = out[14]}};
    const gka_oracle_options options = {.oracle = GKA_ORACLE_CERTIFIED};
    assert_int_equal(gka_oracle_forward(&problem, &options, &forward, NULL, NULL, NULL), GKA_OK);
    assert_int_equal(gka_oracle_gradient(&problem, GKA_OF_X, &options, &solve, NULL, NULL, NULL),
                     GKA_OK);
    assert_int_equal(gka_oracle_gradient(&problem, GKA_OF_O, &options, &layer, NULL, NULL, NULL),
                     GKA_OK);
    gka_problem_free(&problem);
    gka_file_close(file);
    assert_int_equal(gka_file_write(path, tensors, 25, metadata, 1, NULL), GKA_OK);

    json_t *const root = figures(path, NULL);
    const json_t *const rows = json_object_get(root, "tensors");
    assert_int_equal(json_array_size(rows), 15);
    size_t i;
    const json_t *row;
    json_array_foreach(rows, i, row) {
        assert_string_equal(json_string_value(json_object_get(row, "name")), gka_verify_names[i]);
        if (!json_is_true(json_object_get(row, "bits_equal")))
            fail_msg("%s differs from itself", gka_verify_names[i]);
        assert_true(real_of(row, "rel_err") <= 0);
        assert_false(json_is_true(json_object_get(row, "absolute")));
    }
    json_decref(root);
    assert_int_equal(unlink(path), 0);
}

/* ---- no memory ----------------------------------------------------------------------------- */

static void test_every_allocation_may_fail(void **state) {
    (void)state;
    FAIL_EACH(NULL, "gka", "formats");
    FAIL_EACH(NULL, "gka", "devices");
    fail_allocations(1, NULL, INT64_MAX,
                     ARGUMENTS("gka", "devices", "--fit=" GKA_TEST_DATA "/probes/fit.safetensors"));
    fail_allocations(1, JSON_FILE, 24,
                     ARGUMENTS("gka", "devices", "--fit=" GKA_TEST_DATA "/probes/fit.safetensors",
                               "--json=" JSON_FILE));
    /* x holds NaN, so a call that asks for a verdict at all ends with 1. */
    fail_allocations(1, NULL, INT64_MAX,
                     ARGUMENTS("gka", "verify", "--show-ref", "--tolerance=fro=1e9", "--json=-",
                               "--inputs=.", SMALL_FILE));
    FAIL_EACH(NULL, "gka", "verify", SMALL_FILE, SMALL_FILE);
    FAIL_EACH(JSON_FILE, "gka", "verify", "--json=" JSON_FILE, SMALL_FILE);
}

static int set_up(void **state) {
    (void)state;
    write_small_file(SMALL_FILE);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    return unlink(SMALL_FILE);
}

int main(void) {
    gka_set_threads(1); /* so that allocation number n is always the same one */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_of_one_file),
        cmocka_unit_test(test_json_of_two_files),
        cmocka_unit_test(test_json_verdicts_and_file),
        cmocka_unit_test(test_stated_figures_agree),
        cmocka_unit_test(test_released_dh0_has_the_wrong_sign),
        cmocka_unit_test(test_small_file),
        cmocka_unit_test(test_without_a_certificate),
        cmocka_unit_test(test_axes_in_another_order),
        cmocka_unit_test(test_nan_fails),
        cmocka_unit_test(test_exact_output_passes_in_every_dtype),
        cmocka_unit_test(test_every_output_finds_its_reference),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("gka verify", tests, set_up, tear_down);
}
