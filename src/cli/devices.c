/* devices.c - gka devices: the matrix units as a table; which of them, or which parameters, gave
 * the results of a probe file. */
#include "cli/cli.h"
#include "cli/json.h"
#include "gka/arith.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char notes[] =
    "A unit adds `group` products a step. E is the largest exponent among them and the "
    "accumulator,\n"
    "at least `floor`; `cut`: every term is cut to `bits` fractional bits below E, and the sum to "
    "the\n"
    "result. `exact`, `pairs`, `floored`, `chains`: gka/arith.h says what these are. `apart`: so "
    "many\n"
    "products are summed from zero and added to the accumulator in one rounding.\n"
    "\n"
    "--fit reads sets NAME.a [tiles,M,K], NAME.b [tiles,N,K], NAME.c and NAME.d [tiles,M,N] "
    "(without\n"
    "tiles: one), d = c + a b^T as hardware computed it (NAME.o in place of NAME.d: b is "
    "[tiles,K,N]).\n"
    "A search of parameters ends after --limit seconds for each set; then the nearest so far is "
    "named.\n"
    "Types BF16, F16, F8_E4M3, F8_E5M2, and F32 for tf32; c and d F32 or F16. Integer types hold\n"
    "encodings: --input says of what; of U8 it is e4m3 otherwise. Exit code 1: of some set neither "
    "a\n"
    "preset nor a parameter that was searched gives all bits.\n";

/* ---- the table ----------------------------------------------------------------------------- */

static const char *sum_name(gka_sum sum) {
    static const char *const names[GKA_SUM_COUNT] = {"cut", "exact", "pairs", "floored", "chains"};
    return names[sum];
}

static const char *result_name(gka_result result) {
    static const char *const names[GKA_RESULT_COUNT] = {"fp32", "fp32, 13 bits", "fp16"};
    return names[result];
}

/* What the columns have no room for. */
static void core_notes(const gka_tensor_core *core, char text[64]) {
    static const char *const orders[GKA_K_ORDER_COUNT] = {"", "pairs of k apart", "odd k first"};
    text[0] = 0;
    size_t at = (size_t)snprintf(text, 64, "%s", orders[core->order]);
    if (core->apart)
        at += (size_t)snprintf(text + at, 64 - at, "%sapart %d", at ? ", " : "", core->apart);
    if (core->flush)
        snprintf(text + at, 64 - at, "%sflushes", at ? ", " : "");
}

static int print_table(cli *c) {
    static const char *const headings[] = {"<device",    "<input",       "group",   "<sum",
                                           "bits",       "floor",        "<result", "<besides",
                                           "<functions", "<checked with"};
    cli_table table;
    cli_table_start(&table, headings, sizeof headings / sizeof *headings);
    for (const gka_device *const *d = gka_device_presets(); *d; d++) {
        bool first = true;
        for (gka_mma_input input = 0; input < GKA_MMA_INPUT_COUNT; input++) {
            const gka_tensor_core *const core = &(*d)->core[input];
            if (!core->group)
                continue;
            const bool has_bits = core->sum == GKA_SUM_CUT || core->sum == GKA_SUM_FLOORED;
            char besides[64];
            core_notes(core, besides);
            cli_cell(&table, "%s", first ? (*d)->name : "");
            cli_cell(&table, "%s", gka_mma_input_name(input));
            cli_cell(&table, "%d", core->group);
            cli_cell(&table, "%s", sum_name(core->sum));
            cli_cell(&table, has_bits ? "%d" : "-", core->fraction);
            cli_cell(&table, has_bits && core->floor > -1000 ? "%d" : "-", core->floor);
            cli_cell(&table, "%s", result_name(core->result));
            cli_cell(&table, "%s", besides[0] ? besides : "-");
            cli_cell(&table, "%s",
                     !first                     ? ""
                     : (*d)->functions_measured ? "measured"
                                                : "another's");
            cli_cell(&table, "%s",
                     !first          ? ""
                     : (*d)->checked ? (*d)->checked
                                     : "derived, unchecked");
            first = false;
        }
        if (!first)
            continue;
        static const char *const neutral[] = {"any", "-", "fused, in order", "-", "-"};
        cli_cell(&table, "%s", (*d)->name);
        for (size_t i = 0; i < sizeof neutral / sizeof *neutral; i++)
            cli_cell(&table, "%s", neutral[i]);
        cli_cell(&table, "%s", (*d)->binary32 ? "fp32" : "fp64");
        cli_cell(&table, "-");
        cli_cell(&table, "%s", (*d)->functions_measured ? "measured" : "another's");
        cli_cell(&table, "%s", (*d)->checked ? (*d)->checked : "derived, unchecked");
    }
    return cli_table_print(&table, c->out) == GKA_OK ? CLI_GOOD : cli_out_of_memory(c);
}

/* ---- a probe file -------------------------------------------------------------------------- */

typedef struct set {
    char name[256];
    gka_mma_input input;
    bool half; /* c and d are fp16 */
    int64_t tiles, M, N, K;
    ptrdiff_t row, column;       /* of b, as [K,N] */
    double *a, *b, *c, *d, *sum; /* sum: [M,N] */
    void *work;
} set;

static void free_set(set *s) {
    gka_free(s->a), gka_free(s->b), gka_free(s->c), gka_free(s->d), gka_free(s->sum);
    gka_free(s->work);
}

static const gka_format *format_of(const gka_tensor *t, gka_mma_input input) {
    static const char *const names[GKA_MMA_INPUT_COUNT] = {
        [GKA_MMA_BF16] = "bf16", [GKA_MMA_FP16] = "fp16", [GKA_MMA_TF32] = "tf32",
        [GKA_MMA_E4M3] = "e4m3", [GKA_MMA_E5M2] = "e5m2", [GKA_MMA_WORKING] = "fp32"};
    const gka_format *const own = gka_format_of_dtype(t->dtype);
    const gka_format *const format =
        input == GKA_MMA_TF32 || !own ? gka_format_find(names[input]) : own;
    return (size_t)format->bits == 8 * gka_dtype_size(t->dtype) ? format : NULL;
}

/* The numbers of a tensor; NULL when memory ends. */
static double *numbers(const gka_tensor *t, const gka_format *format) {
    const size_t count = (size_t)gka_tensor_count(t), size = gka_dtype_size(t->dtype);
    double *const out = gka_alloc(count, sizeof *out);
    for (size_t i = 0; out && i < count; i++) {
        const unsigned char *const at = (const unsigned char *)t->data + i * size;
        uint64_t bits = 0;
        for (size_t b = size; b-- > 0;)
            bits = bits << 8 | at[b];
        out[i] = gka_decode(format, bits);
    }
    return out;
}

static bool has_shape(const gka_tensor *t, int64_t tiles, int64_t rows, int64_t columns) {
    return (t->rank == 2 ? tiles == 1 : t->rank == 3 && t->shape[0] == tiles) &&
           t->shape[t->rank - 2] == rows && t->shape[t->rank - 1] == columns;
}

static int input_of(const gka_tensor *a, int asked) {
    if (asked >= 0)
        return asked;
    switch (a->dtype) {
    case GKA_BF16: return GKA_MMA_BF16;
    case GKA_F16: return GKA_MMA_FP16;
    case GKA_F32: return GKA_MMA_TF32;
    case GKA_F8_E5M2: return GKA_MMA_E5M2;
    case GKA_F8_E4M3:
    case GKA_U8: return GKA_MMA_E4M3;
    default: return -1;
    }
}

/* Fills *s from the tensors beside `d`, whose name ends in .d or .o. Returns an exit code. */
static int read_set(cli *c, const gka_file *file, const gka_tensor *d, int asked, set *s) {
    const size_t length = strlen(d->name) - 2;
    const bool n_major = d->name[length + 1] == 'd';
    const gka_tensor *part[3];
    *s = (set){0};
    if (length >= sizeof s->name)
        return cli_fail(c, "%s: the name %.60s.. is too long", gka_file_path(file), d->name);
    memcpy(s->name, d->name, length);
    for (int i = 0; i < 3; i++) {
        char name[sizeof s->name + 2];
        snprintf(name, sizeof name, "%s.%c", s->name, "abc"[i]);
        part[i] = gka_file_find(file, name);
        if (!part[i] || part[i]->rank < 2 || part[i]->rank > 3)
            return cli_fail(c, "%s: %s: expected a tensor of two or three axes beside %s",
                            gka_file_path(file), name, d->name);
    }
    const gka_tensor *const a = part[0], *const b = part[1];
    s->tiles = a->rank == 3 ? a->shape[0] : 1;
    s->M = a->shape[a->rank - 2];
    s->K = a->shape[a->rank - 1];
    s->N = b->shape[b->rank - (n_major ? 2 : 1)];
    s->row = n_major ? 1 : (ptrdiff_t)s->N;
    s->column = n_major ? (ptrdiff_t)s->K : 1;
    if (!has_shape(b, s->tiles, n_major ? s->N : s->K, n_major ? s->K : s->N) ||
        !has_shape(part[2], s->tiles, s->M, s->N) || d->rank < 2 ||
        !has_shape(d, s->tiles, s->M, s->N))
        return cli_fail(c, "%s: %s: expected a [tiles,M,K], b [tiles,%s], c and %s [tiles,M,N]",
                        gka_file_path(file), s->name, n_major ? "N,K" : "K,N", n_major ? "d" : "o");
    const int input = input_of(a, asked);
    if (input < 0)
        return cli_fail(c, "%s: %s.a holds %s: --input=NAME says what these encode",
                        gka_file_path(file), s->name, gka_dtype_name(a->dtype));
    s->input = (gka_mma_input)input;
    s->half = d->dtype == GKA_F16;
    const gka_format *const in = format_of(a, s->input);
    const gka_format *const out = gka_format_find(s->half ? "fp16" : "fp32");
    if (!in || a->dtype != b->dtype || (size_t)out->bits != 8 * gka_dtype_size(d->dtype) ||
        part[2]->dtype != d->dtype)
        return cli_fail(
            c, "%s: %s: types %s, %s, %s, %s are not %s, c and d of one type F32 or F16",
            gka_file_path(file), s->name, gka_dtype_name(a->dtype), gka_dtype_name(b->dtype),
            gka_dtype_name(part[2]->dtype), gka_dtype_name(d->dtype), gka_mma_input_name(s->input));
    s->a = numbers(a, in);
    s->b = numbers(b, in);
    s->c = numbers(part[2], out);
    s->d = numbers(d, out);
    s->sum = gka_alloc((size_t)(s->M * s->N), sizeof *s->sum);
    /* a group of 1 takes the most room: a byte for each k beside what all take; padding to 64 */
    gka_device widest = *gka_device_find("ieee32");
    widest.core[s->input] = (gka_tensor_core){.group = 1, .order = GKA_K_PAIRS_APART};
    const int64_t K = (s->K + GKA_GROUP_MOST - 1) / GKA_GROUP_MOST * GKA_GROUP_MOST;
    s->work = gka_alloc(gka_mma_left_size(&widest, s->input, s->M, K) +
                            gka_mma_right_size(&widest, s->input, K, s->N) + 128,
                        1);
    return s->a && s->b && s->c && s->d && s->sum && s->work ? CLI_GOOD : cli_out_of_memory(c);
}

/* ---- counting ------------------------------------------------------------------------------ */

static bool same_number(double x, double y) {
    return isnan(x) ? isnan(y) : !isnan(y) && !(x < y || x > y) && !signbit(x) == !signbit(y);
}

/* How many results of every `stride`-th tile a core gets wrong; stops beyond `most`. */
static int64_t differing(set *s, const gka_tensor_core *core, int64_t stride, int64_t rows,
                         int64_t most) {
    gka_device device = *gka_device_find("ieee32");
    device.core[s->input] = *core;
    int64_t count = 0;
    for (int64_t t = 0; t < s->tiles && count <= most; t += stride) {
        const double *const a = s->a + t * s->M * s->K, *const b = s->b + t * s->N * s->K;
        memcpy(s->sum, s->c + t * s->M * s->N, (size_t)(rows * s->N) * sizeof *s->sum);
        gka_mma(&device, s->input, rows, s->N, s->K, (gka_matrix){a, (ptrdiff_t)s->K, 1},
                (gka_matrix){b, s->row, s->column}, s->sum, (ptrdiff_t)s->N, s->work);
        for (int64_t i = 0; i < rows * s->N; i++)
            count += !same_number(s->sum[i], s->d[t * s->M * s->N + i]);
    }
    return count;
}

typedef struct found {
    const char *device; /* NULL: parameters alone */
    gka_tensor_core core;
    int64_t differ; /* of all results; -1: nothing was tried */
    int64_t sample; /* of a sample of them */
} found;

/* Tries a core: first on a sample of about 128 results, then, if it is not worse there than the
 * best one, on all. */
static void try_core(set *s, const char *device, gka_tensor_core core, found *best) {
    if ((core.result == GKA_RESULT_FP16) != s->half || best->differ == 0)
        return;
    gka_device own = *gka_device_find("ieee32");
    own.core[s->input] = core;
    if (gka_device_check(&own, NULL) != GKA_OK)
        return;
    const int64_t rows = s->M < 32 / s->N + 1 ? s->M : 32 / s->N + 1;
    const int64_t tiles = 128 / (rows * s->N) + 3, stride = (s->tiles + tiles - 1) / tiles;
    const int64_t results = s->tiles * s->M * s->N;
    const bool first = best->differ < 0;
    const int64_t sample = differing(s, &core, stride, rows, first ? results : best->sample);
    if (!first && sample > best->sample)
        return;
    const int64_t differ = differing(s, &core, 1, s->M, first ? results : best->differ);
    if (first || differ < best->differ)
        *best = (found){device, core, differ, sample};
}

/* Sums that a program promotes: every multiple of 32 products that divides K. */
static void try_promoted(set *s, const char *device, gka_tensor_core core, found *best) {
    try_core(s, device, core, best);
    for (int64_t apart = 32; apart <= s->K && core.group && !core.apart; apart += 32)
        if (s->K % apart == 0 && apart % core.group == 0) {
            gka_tensor_core promoted = core;
            promoted.apart = (int)apart;
            try_core(s, device, promoted, best);
        }
}

static void try_presets(set *s, found *best) {
    for (const gka_device *const *d = gka_device_presets(); *d; d++)
        if ((*d)->core[s->input].group)
            try_promoted(s, (*d)->name, (*d)->core[s->input], best);
}

/* The names of all presets that differ from the results as seldom as the best does. */
static void name_presets(set *s, const found *best, char names[256]) {
    size_t at = 0;
    names[0] = 0;
    for (const gka_device *const *d = gka_device_presets(); *d; d++) {
        found own = {.differ = -1};
        if ((*d)->core[s->input].group)
            try_promoted(s, (*d)->name, (*d)->core[s->input], &own);
        if (own.differ == best->differ && own.core.apart == best->core.apart && at < 200)
            at += (size_t)snprintf(names + at, 256 - at, "%s%s", at ? " " : "", (*d)->name);
    }
    if (best->core.apart)
        snprintf(names + at, 256 - at, ", apart %d", best->core.apart);
}

static double seconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Groups, bits, results and orders; floors of the one that is nearest. False: the time was up. */
static bool search(set *s, double limit, found *best) {
    const double end = seconds() + limit;
    for (gka_sum sum = 0; sum < GKA_SUM_COUNT; sum++)
        for (int group = 1; group <= GKA_GROUP_MOST; group *= 2)
            for (int bits = 10; bits <= 36; bits++)
                for (gka_result result = 0; result < GKA_RESULT_COUNT; result++)
                    for (gka_k_order order = 0; order < GKA_K_ORDER_COUNT; order++)
                        for (int flush = 0; flush < 2; flush++) {
                            const bool has_bits = sum == GKA_SUM_CUT || sum == GKA_SUM_FLOORED;
                            if (seconds() > end)
                                return false;
                            if (best->differ == 0 || (!has_bits && bits > 10))
                                continue;
                            try_promoted(s, NULL,
                                         (gka_tensor_core){.group = group,
                                                           .fraction = has_bits ? bits : 0,
                                                           .floor = has_bits ? -133 : 0,
                                                           .sum = sum,
                                                           .result = result,
                                                           .order = order,
                                                           .flush = flush != 0},
                                         best);
                        }
    const gka_tensor_core nearest = best->core;
    for (int floor = -160; floor <= 0 && best->differ > 0; floor++) {
        gka_tensor_core core = nearest;
        core.floor = floor;
        if (seconds() > end)
            return false;
        try_core(s, NULL, core, best);
    }
    return true;
}

/* ---- --fit --------------------------------------------------------------------------------- */

static void describe(const gka_tensor_core *core, char text[256]) {
    char besides[64];
    core_notes(core, besides);
    snprintf(text, 256, "group %d, %s, %d bits, floor %d, %s%s%s", core->group, sum_name(core->sum),
             core->fraction, core->floor, result_name(core->result), besides[0] ? ", " : "",
             besides);
}

/* What is reported: a row for each set, as a table and as JSON. */
typedef struct fitting {
    cli *c;
    double limit;
    cli_table table;
    cli_builder sets; /* value NULL: no JSON is asked for */
    bool all;         /* of every set something gives all bits */
} fitting;

static void add_json(fitting *f, const set *s, const found *preset, const char *presets,
                     const found *best, const char *parameters, bool whole) {
    cli_builder o = {json_object(), true};
    cli_put(&o, "name", cli_json_text(s->name));
    cli_put(&o, "input", cli_json_text(gka_mma_input_name(s->input)));
    cli_put(&o, "K", json_integer(s->K));
    cli_put(&o, "results", json_integer(s->tiles * s->M * s->N));
    cli_put(&o, "presets", preset->differ < 0 ? json_null() : cli_json_text(presets));
    cli_put(&o, "presets_differ", preset->differ < 0 ? json_null() : json_integer(preset->differ));
    cli_put(&o, "parameters", parameters ? cli_json_text(parameters) : json_null());
    cli_put(&o, "parameters_differ", parameters ? json_integer(best->differ) : json_null());
    cli_put(&o, "search_ended", json_boolean(whole));
    f->sets.good &= o.good;
    cli_append(&f->sets, o.value);
}

static void fit_set(fitting *f, set *s) {
    found best = {.differ = -1}, preset;
    cli_table *const table = &f->table;
    try_presets(s, &best);
    preset = best;
    const bool whole = best.differ == 0 || search(s, f->limit, &best);
    const bool more = best.differ != preset.differ;
    char presets[256] = "none", parameters[256] = "-";
    if (preset.differ >= 0)
        name_presets(s, &preset, presets);
    if (more)
        describe(&best.core, parameters);
    cli_cell(table, "%s", s->name);
    cli_cell(table, "%s", gka_mma_input_name(s->input));
    cli_cell(table, "%lld", (long long)s->K);
    cli_cell(table, "%lld", (long long)(s->tiles * s->M * s->N));
    cli_cell(table, "%s", presets);
    cli_cell(table, preset.differ < 0 ? "-" : "%lld", (long long)preset.differ);
    cli_cell(table, whole ? "%s" : "%s (the time was up)", parameters);
    cli_cell(table, more ? "%lld" : "-", (long long)best.differ);
    if (f->sets.value != NULL)
        add_json(f, s, &preset, presets, &best, more ? parameters : NULL, whole);
    f->all &= best.differ == 0;
}

/* Every set of the file. Returns an exit code. */
static int fit_file(fitting *f, const gka_file *file, int input) {
    int code = CLI_GOOD, sets = 0;
    for (size_t i = 0; i < gka_file_count(file) && code == CLI_GOOD; i++) {
        const gka_tensor *const d = gka_file_tensor(file, i);
        const size_t length = strlen(d->name);
        if (length < 3 || d->name[length - 2] != '.' || !strchr("do", d->name[length - 1]))
            continue;
        set s;
        code = read_set(f->c, file, d, input, &s);
        if (code == CLI_GOOD)
            fit_set(f, &s);
        free_set(&s);
        sets++;
    }
    return code == CLI_GOOD && sets == 0
               ? cli_fail(f->c, "%s: no tensor NAME.d or NAME.o: expected sets a, b, c, d",
                          gka_file_path(file))
               : code;
}

static int fit(cli *c, const char *path, int input, double limit, const char *json_path) {
    static const char *const headings[] = {"<set",     "<input", "K",           "results",
                                           "<presets", "differ", "<parameters", "differ"};
    gka_error error = {0};
    gka_file *file;
    cli_json json;
    if (gka_file_open(path, &file, &error) != GKA_OK)
        return cli_report(c, &error);
    fitting f = {.c = c, .limit = limit, .all = true};
    int code = cli_json_open(c, json_path, &json);
    if (code != CLI_GOOD) {
        gka_file_close(file);
        return code;
    }
    if (json_path != NULL) {
        f.sets = (cli_builder){json_array(), true};
        code = f.sets.value == NULL ? cli_out_of_memory(c) : CLI_GOOD;
    }
    cli_table_start(&f.table, headings, sizeof headings / sizeof *headings);
    if (code == CLI_GOOD)
        code = fit_file(&f, file, input);
    gka_file_close(file);
    if (code != CLI_GOOD || cli_json_takes_stdout(&json))
        cli_table_drop(&f.table);
    else if (cli_table_print(&f.table, c->out) != GKA_OK)
        code = cli_out_of_memory(c);
    if (code == CLI_GOOD && json_path != NULL) {
        cli_builder o = {json_object(), f.sets.good};
        cli_put(&o, "file", cli_json_text(path));
        cli_put(&o, "sets", json_incref(f.sets.value));
        code = cli_json_close(c, &json, o.value, o.good);
    }
    json_decref(f.sets.value);
    cli_json_abandon(&json);
    return code != CLI_GOOD ? code : f.all ? CLI_GOOD : CLI_FAILS;
}

int cli_devices(cli *c) {
    static const cli_help help = {.notes = notes};
    const char *path = NULL, *json = NULL;
    int input = -1;
    double limit = 60;
    const cli_option options[] = {
        {.name = "fit",
         .kind = CLI_IN,
         .target = &path,
         .value = "FILE",
         .help = "which device, or which parameters, gave the results in FILE"},
        {.name = "input",
         .kind = CLI_CHOICE,
         .target = &input,
         .choices = "bf16|fp16|tf32|e4m3|e5m2",
         .help = "what the integers of FILE encode"},
        {.name = "limit",
         .kind = CLI_REAL,
         .target = &limit,
         .value = "SECONDS",
         .low = 1e-3,
         .high = 1e6,
         .help = "how long parameters are searched for a set (60)"},
        {.name = "json",
         .kind = CLI_OUT,
         .target = &json,
         .value = "OUT",
         .help = "with --fit: the rows as JSON; - is standard output"},
        {.kind = CLI_END}};
    int code;
    if (!cli_parse(c, &help, options, &code))
        return code;
    static const char *const of_fit[] = {"input", "limit", "json", NULL};
    for (const char *const *name = of_fit; !path && *name; name++)
        if (cli_given(c, *name))
            return cli_fail(c, "--%s is of --fit alone", *name);
    return path ? fit(c, path, input, limit, json) : print_table(c);
}
