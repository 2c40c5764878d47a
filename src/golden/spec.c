/* spec.c - what a golden is made of, key by key: one table for options, JSON, metadata. */
#include "golden/spec.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum kind {
    WORD,
    EXTENT,
    COUNT,
    REAL,
    FLAG,
    SEED,
    EDITS,
    LENGTHS,
    OUTPUTS,
    GIVEN,
    BLOCKS
} kind;

typedef struct word {
    const char *name;
    int value;
} word;

static const word keys_words[] = {
    {"iid", GKA_KEYS_IID},           {"powerlaw", GKA_KEYS_POWERLAW}, {"lowrank", GKA_KEYS_LOWRANK},
    {"repeat", GKA_KEYS_REPEAT},     {"recall", GKA_KEYS_RECALL},     {"mean", GKA_KEYS_MEAN},
    {"convsilu", GKA_KEYS_CONVSILU}, {"aligned", GKA_KEYS_ALIGNED},   {NULL, 0}};
static const word gate_words[] = {{"none", GKA_GATE_NONE},         {"slow", GKA_GATE_SLOW},
                                  {"released", GKA_GATE_RELEASED}, {"strong", GKA_GATE_STRONG},
                                  {"init", GKA_GATE_INIT},         {NULL, 0}};
static const word dtype_words[] = {
    {"bf16", GKA_BF16}, {"fp16", GKA_F16}, {"fp32", GKA_F32}, {NULL, 0}};
static const word oracle_words[] = {
    {"certified", GKA_ORACLE_CERTIFIED}, {"mpfr", GKA_ORACLE_MPFR}, {NULL, 0}};
static const word stage_words[] = {{"all", GKA_STAGE_ALL},
                                   {"solve", GKA_STAGE_SOLVE},
                                   {"output", GKA_STAGE_OUTPUT},
                                   {"dk", GKA_STAGE_DK},
                                   {"dg", GKA_STAGE_DG},
                                   {"decode", GKA_STAGE_DECODE},
                                   {NULL, 0}};
static const word given_words[] = {{"x", GKA_GIVEN_X},
                                   {"p", GKA_GIVEN_P},
                                   {"f", GKA_GIVEN_F},
                                   {"h_chunk", GKA_GIVEN_H_CHUNK},
                                   {NULL, 0}};
static const word emulate_words[] = {{"none", 0}, {"h100", 1}, {NULL, 0}};
static const word state_words[] = {{"fp32", GKA_STATE_FP32},
                                   {"bf16", GKA_STATE_BF16},
                                   {"fp16", GKA_STATE_FP16},
                                   {"mxfp8-e4m3", GKA_STATE_MXFP8},
                                   {"mxfp6-e2m3", GKA_STATE_MXFP6},
                                   {"mxfp4", GKA_STATE_MXFP4},
                                   {NULL, 0}};
static const word flag_words[] = {{"false", 0}, {"true", 1}, {NULL, 0}};

typedef struct key {
    const char *name;
    kind kind;
    size_t offset;
    const word *words;
    double low, high;
} key;

#define AT(member) offsetof(gka_golden_spec, member)
static const double LARGEST = 1 << 30;

static const key keys[] = {
    {"problem", WORD, AT(generator.keys), keys_words, 0, 0},
    {"gate", WORD, AT(generator.gate), gate_words, 0, 0},
    {"B", EXTENT, AT(generator.B), NULL, 1, LARGEST},
    {"T", EXTENT, AT(generator.T), NULL, 1, LARGEST},
    {"H", EXTENT, AT(generator.H), NULL, 1, LARGEST},
    {"G", EXTENT, AT(generator.G), NULL, 1, LARGEST},
    {"D", EXTENT, AT(generator.D), NULL, 1, LARGEST},
    {"V", EXTENT, AT(generator.V), NULL, 0, LARGEST},
    {"pairs", EXTENT, AT(generator.pairs), NULL, 0, LARGEST},
    {"dtype", WORD, AT(generator.dtype), dtype_words, 0, 0},
    {"chunk", EXTENT, AT(generator.chunk_size), NULL, 1, LARGEST},
    {"ridge", REAL, AT(generator.ridge_ratio), NULL, 0, 0},
    {"iters", COUNT, AT(generator.num_iter), NULL, 1, 1000000},
    {"scale", REAL, AT(generator.scale), NULL, 0, 0},
    {"seed", SEED, AT(generator.seed), NULL, 0, 0},
    {"h0", FLAG, AT(generator.h0), flag_words, 0, 0},
    {"alpha", FLAG, AT(generator.alpha), flag_words, 0, 0},
    {"plain", FLAG, AT(generator.plain), flag_words, 0, 0},
    {"final", FLAG, AT(generator.final), flag_words, 0, 0},
    {"edit", EDITS, 0, NULL, 0, 0},
    {"lengths", LENGTHS, 0, NULL, 0, 0},
    {"outputs", OUTPUTS, 0, NULL, 0, 0},
    {"emulate", FLAG, AT(emulate), emulate_words, 0, 0},
    {"lo", FLAG, AT(lo), flag_words, 0, 0},
    {"oracle", WORD, AT(oracle), oracle_words, 0, 0},
    {"stage", WORD, AT(stage), stage_words, 0, 0},
    {"given", GIVEN, AT(given), given_words, 0, 0},
    {"serving", FLAG, AT(serving), flag_words, 0, 0},
    {"prefill", EXTENT, AT(prefill), NULL, 0, LARGEST},
    {"h-type", WORD, AT(h_type), state_words, 0, 0},
    {"u-type", WORD, AT(u_type), state_words, 0, 0},
    {"lambda", REAL, AT(generator.lambda), NULL, 0, 0},
    {"operands", BLOCKS, AT(generator.operands), NULL, 0, 0},
};

enum { KEYS = sizeof keys / sizeof *keys };

void gka_golden_spec_start(gka_golden_spec *spec) {
    *spec = (gka_golden_spec){.generator = {.keys = GKA_KEYS_IID,
                                            .gate = GKA_GATE_RELEASED,
                                            .B = 1,
                                            .T = 256,
                                            .H = 1,
                                            .G = 0,
                                            .D = 128,
                                            .V = -1,
                                            .alpha = true,
                                            .cotangents = true,
                                            .dtype = GKA_BF16,
                                            .ridge_ratio = .02,
                                            .num_iter = 30,
                                            .chunk_size = 64,
                                            .seed = 1},
                              .forward = true,
                              .states = true,
                              .backward = true,
                              .prefill = -1,
                              .oracle = GKA_ORACLE_CERTIFIED};
}

gka_generator gka_golden_generator(const gka_golden_spec *spec) {
    gka_generator g = spec->generator;
    for (int i = 0; i < spec->sequences; i++)
        g.T = i == 0 ? spec->lengths[i] : g.T + spec->lengths[i];
    g.G = g.G == 0 ? g.H : g.G;
    g.V = g.V < 0 ? g.D : g.V;
    g.alpha = g.alpha && !g.plain;
    g.gate = g.plain ? GKA_GATE_NONE : g.gate;
    g.no_ridge = g.ridge_ratio == 0;
    g.scale = g.scale != 0 ? g.scale : 1 / sqrt((double)g.D);
    return g;
}

const char *gka_golden_stage_name(gka_golden_stage stage) {
    for (const word *w = stage_words; w->name != NULL; w++)
        if (w->value == (int)stage)
            return w->name;
    return NULL;
}

unsigned gka_golden_stage_given(gka_golden_stage stage, unsigned given) {
    if (given != 0)
        return given;
    switch (stage) {
    case GKA_STAGE_OUTPUT: return GKA_GIVEN_X;
    case GKA_STAGE_DK:
    case GKA_STAGE_DG: return GKA_GIVEN_X | GKA_GIVEN_P | GKA_GIVEN_F;
    default: return 0;
    }
}

/* ---- setting ------------------------------------------------------------------------------- */

/* "a, b or c" */
static void list_words(const word *words, char text[160]) {
    int n = 0;
    text[0] = '\0';
    for (int i = 0; words[i].name != NULL; i++)
        n += snprintf(text + n, (size_t)(160 - n), "%s%s",
                      i == 0                      ? ""
                      : words[i + 1].name == NULL ? " or "
                                                  : ", ",
                      words[i].name);
}

static gka_status set_word(const key *k, const char *text, int *value, gka_error *error) {
    for (const word *w = k->words; w->name != NULL; w++)
        if (strcmp(w->name, text) == 0) {
            *value = w->value;
            return GKA_OK;
        }
    char allowed[160];
    list_words(k->words, allowed);
    return gka_fail(error, GKA_BAD_ARGUMENT, "%s is '%.60s': %s was expected", k->name, text,
                    allowed);
}

static gka_status set_integer(const key *k, const char *text, int64_t *value, gka_error *error) {
    char *end;
    *value = strtoll(text, &end, 10);
    if (end != text && *end == '\0' && (double)*value >= k->low && (double)*value <= k->high)
        return GKA_OK;
    return gka_fail(error, GKA_BAD_ARGUMENT,
                    "%s is '%.60s': an integer from %.0f to %.0f was "
                    "expected",
                    k->name, text, k->low, k->high);
}

static gka_status set_seed(const key *k, const char *text, uint64_t *value, gka_error *error) {
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    if (end != text && *end == '\0' && errno == 0 && strchr(text, '-') == NULL)
        return GKA_OK;
    return gka_fail(error, GKA_BAD_ARGUMENT,
                    "%s is '%.60s': an integer from 0 to 18446744073709551615 was expected",
                    k->name, text);
}

static gka_status set_real(const key *k, const char *text, double *value, gka_error *error) {
    const bool zero = strcmp(k->name, "scale") != 0;
    char *end;
    *value = gka_parse_real(text, &end);
    if (end != text && *end == '\0' && isfinite(*value) && (*value > 0 || (zero && *value == 0)))
        return GKA_OK;
    return gka_fail(error, GKA_BAD_ARGUMENT, "%s is '%.60s': a finite number %s 0 was expected",
                    k->name, text, zero ? ">=" : ">");
}

/* "forward,backward,states" in any order */
static gka_status set_outputs(gka_golden_spec *spec, const char *text, gka_error *error) {
    spec->forward = spec->states = spec->backward = false;
    for (const char *part = text;; part++) {
        const size_t length = strcspn(part, ",");
        bool *const flag = length == 7 && strncmp(part, "forward", 7) == 0    ? &spec->forward
                           : length == 6 && strncmp(part, "states", 6) == 0   ? &spec->states
                           : length == 8 && strncmp(part, "backward", 8) == 0 ? &spec->backward
                                                                              : NULL;
        if (flag == NULL)
            return gka_fail(error, GKA_BAD_ARGUMENT,
                            "outputs is '%.60s': some of forward, states and backward, separated "
                            "by commas, was expected",
                            text);
        *flag = true;
        part += length;
        if (*part == '\0')
            return GKA_OK;
    }
}

/* "none", or names separated by commas */
static gka_status set_edits(gka_golden_spec *spec, const char *text, gka_error *error) {
    spec->generator.edits = 0;
    if (strcmp(text, "none") == 0)
        return GKA_OK;
    for (const char *part = text;; part++) {
        const size_t length = strcspn(part, ",");
        char name[32] = {0};
        if (length < sizeof name)
            memcpy(name, part, length);
        const int edit = gka_edit_find(name);
        if (edit < 0) {
            char allowed[300] = "none";
            for (int i = 0, n = 4; i < GKA_EDIT_COUNT; i++)
                n += snprintf(allowed + n, sizeof allowed - (size_t)n, ", %s",
                              gka_edit_name((gka_edit)i));
            return gka_fail(error, GKA_BAD_ARGUMENT,
                            "edit is '%.60s': of %s, separated by commas, was expected", text,
                            allowed);
        }
        spec->generator.edits |= 1u << edit;
        part += length;
        if (*part == '\0')
            return GKA_OK;
    }
}

gka_status gka_given_read(const char *text, unsigned *given, gka_error *error) {
    *given = 0;
    if (strcmp(text, "none") == 0)
        return GKA_OK;
    for (const char *part = text;; part++) {
        const size_t length = strcspn(part, ",");
        const word *w = given_words;
        while (w->name != NULL &&
               (strlen(w->name) != length || strncmp(w->name, part, length) != 0))
            w++;
        if (w->name == NULL)
            return gka_fail(error, GKA_BAD_ARGUMENT,
                            "given is '%.60s': none, or of x, p, f and h_chunk, separated by "
                            "commas, was expected",
                            text);
        *given |= (unsigned)w->value;
        part += length;
        if (*part == '\0')
            return GKA_OK;
    }
}

/* "none", or a format of blocks */
static gka_status set_operands(const char *text, const gka_block_format **operands,
                               gka_error *error) {
    *operands = gka_block_format_find(text);
    if (*operands != NULL || strcmp(text, "none") == 0)
        return GKA_OK;
    return gka_fail(error, GKA_BAD_ARGUMENT,
                    "operands is '%.60s': none or a format of blocks (gka formats) was expected",
                    text);
}

/* "none", or integers separated by commas */
static gka_status set_lengths(gka_golden_spec *spec, const char *text, gka_error *error) {
    spec->sequences = 0;
    if (strcmp(text, "none") == 0)
        return GKA_OK;
    const char *part = text;
    int64_t sum = 0;
    while (spec->sequences < GKA_GOLDEN_SEQUENCES) {
        char *end;
        const long long length = strtoll(part, &end, 10);
        if (end == part || length < 0 || (double)length > LARGEST || (*end != '\0' && *end != ','))
            break;
        spec->lengths[spec->sequences++] = length;
        sum += length;
        if (*end == '\0' && sum >= 1 && (double)sum <= LARGEST)
            return GKA_OK;
        if (*end == '\0') /* T, which the spec has too */
            return gka_fail(error, GKA_BAD_ARGUMENT,
                            "lengths is '%.60s': %lld tokens in all; 1 to %.0f were expected", text,
                            (long long)sum, LARGEST);
        part = end + 1;
    }
    spec->sequences = 0;
    return gka_fail(error, GKA_BAD_ARGUMENT,
                    "lengths is '%.60s': none or at most %d integers from 0 to %.0f, separated by "
                    "commas, was expected",
                    text, GKA_GOLDEN_SEQUENCES, LARGEST);
}

static gka_status unknown(const char *name, gka_error *error) {
    char text[300];
    int n = 0;
    for (int i = 0; i < KEYS; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, " %s", keys[i].name);
    return gka_fail(error, GKA_BAD_ARGUMENT, "no key '%.60s': one of%s was expected", name, text);
}

gka_status gka_golden_spec_set(gka_golden_spec *spec, const char *name, const char *text,
                               gka_error *error) {
    const key *k = keys;
    while (k < keys + KEYS && strcmp(k->name, name) != 0)
        k++;
    if (k == keys + KEYS)
        return unknown(name, error);
    void *const member = (char *)spec + k->offset;
    int number = 0;
    int64_t integer = 0;
    gka_status status = GKA_OK;
    switch (k->kind) {
    case WORD: return set_word(k, text, member, error);
    case EXTENT: return set_integer(k, text, member, error);
    case REAL: return set_real(k, text, member, error);
    case SEED: return set_seed(k, text, member, error);
    case EDITS: return set_edits(spec, text, error);
    case GIVEN: return gka_given_read(text, member, error);
    case LENGTHS: return set_lengths(spec, text, error);
    case OUTPUTS: return set_outputs(spec, text, error);
    case COUNT:
        status = set_integer(k, text, &integer, error);
        *(int *)member = (int)integer;
        return status;
    case BLOCKS: return set_operands(text, &spec->generator.operands, error);
    case FLAG:
        status = set_word(k, text, &number, error);
        *(bool *)member = number != 0;
        return status;
    }
    return status;
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static gka_status set_json(gka_golden_spec *spec, const char *name, const json_t *value,
                           gka_error *error) {
    char text[64];
    switch (json_typeof(value)) {
    case JSON_STRING: return gka_golden_spec_set(spec, name, json_string_value(value), error);
    case JSON_TRUE: return gka_golden_spec_set(spec, name, "true", error);
    case JSON_FALSE: return gka_golden_spec_set(spec, name, "false", error);
    case JSON_INTEGER:
        (void)snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
        return gka_golden_spec_set(spec, name, text, error);
    case JSON_REAL:
        (void)gka_format_text(text, sizeof text, "%.17g", json_real_value(value));
        return gka_golden_spec_set(spec, name, text, error);
    default: break;
    }
    return gka_fail(error, GKA_BAD_ARGUMENT,
                    "%.60s: a string, a number, true or false was expected", name);
}

gka_status gka_golden_spec_read(gka_golden_spec *spec, const char *json, gka_error *error) {
    json_error_t why = {0};
    json_t *const root = json_loads(json, JSON_REJECT_DUPLICATES, &why);
    if (root == NULL && why.text[0] == '\0')
        return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory reading a spec");
    if (!json_is_object(root)) {
        json_decref(root);
        if (why.line < 0)
            return gka_fail(error, GKA_BAD_ARGUMENT, "a JSON object was expected");
        return gka_fail(error, GKA_BAD_ARGUMENT, "line %d: %.100s; a JSON object was expected",
                        why.line, root == NULL ? why.text : "not an object");
    }
    gka_status status = GKA_OK;
    const char *name;
    json_t *value;
    json_object_foreach(root, name, value) if (status == GKA_OK) status =
        set_json(spec, name, value, error);
    json_decref(root);
    return status;
}

static const char *word_of(const word *words, int value) {
    for (; words->name != NULL; words++)
        if (words->value == value)
            return words->name;
    return "?";
}

static json_t *edits_json(const gka_golden_spec *spec) {
    char text[300] = "none";
    for (int i = 0, n = 0; i < GKA_EDIT_COUNT; i++)
        if (spec->generator.edits >> i & 1)
            n += snprintf(text + n, sizeof text - (size_t)n, "%s%s", n == 0 ? "" : ",",
                          gka_edit_name((gka_edit)i));
    return json_string(text);
}

static json_t *given_json(const gka_golden_spec *spec) {
    char text[32] = "none";
    int n = 0;
    for (const word *w = given_words; w->name != NULL; w++)
        if (spec->given & (unsigned)w->value)
            n += snprintf(text + n, sizeof text - (size_t)n, "%s%s", n == 0 ? "" : ",", w->name);
    return json_string(text);
}

static json_t *lengths_json(const gka_golden_spec *spec) {
    char text[GKA_GOLDEN_SEQUENCES * 12] = "none";
    for (int i = 0, n = 0; i < spec->sequences; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s%lld", n == 0 ? "" : ",",
                      (long long)spec->lengths[i]);
    return json_string(text);
}

static json_t *json_of(const key *k, const gka_golden_spec *spec) {
    const void *const member = (const char *)spec + k->offset;
    char text[32];
    switch (k->kind) {
    case WORD: return json_string(word_of(k->words, *(const int *)member));
    case EXTENT: return json_integer(*(const int64_t *)member);
    case COUNT: return json_integer(*(const int *)member);
    case REAL: return json_real(*(const double *)member);
    case SEED:
        if (*(const uint64_t *)member <= INT64_MAX)
            return json_integer((json_int_t) * (const uint64_t *)member);
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)*(const uint64_t *)member);
        return json_string(text);
    case FLAG:
        if (k->words == emulate_words)
            return json_string(word_of(k->words, *(const bool *)member));
        return json_boolean(*(const bool *)member);
    case EDITS: return edits_json(spec);
    case GIVEN: return given_json(spec);
    case BLOCKS: return json_string(spec->generator.operands->name);
    case LENGTHS: return lengths_json(spec);
    case OUTPUTS:
        (void)snprintf(text, sizeof text, "%s%s%s", spec->forward ? ",forward" : "",
                       spec->states ? ",states" : "", spec->backward ? ",backward" : "");
        return json_string(text[0] == ',' ? text + 1 : text);
    }
    return NULL;
}

/* Keys of a server stand in its own goldens alone, those that came later where they say something:
 * so the bytes of goldens without them stay. */
static bool is_said(const key *k, const gka_golden_spec *spec, bool own_inputs) {
    if (k->offset == AT(generator.lambda))
        return !own_inputs && spec->generator.lambda > 0;
    if (k->kind == BLOCKS)
        return !own_inputs && spec->generator.operands != NULL;
    return (!own_inputs || k->kind == OUTPUTS || k->offset >= AT(emulate)) &&
           (spec->serving || k->offset < AT(serving));
}

static json_t *golden_spec_json(const gka_golden_spec *spec, bool own_inputs, bool *good) {
    gka_golden_spec resolved = *spec;
    resolved.generator = gka_golden_generator(spec);
    resolved.given = gka_golden_stage_given(spec->stage, spec->given);
    json_t *const object = json_object();
    for (int i = 0; i < KEYS; i++)
        if (is_said(&keys[i], spec, own_inputs))
            *good &= json_object_set_new(object, keys[i].name, json_of(&keys[i], &resolved)) == 0;
    return object;
}

gka_status gka_golden_dump(json_t *root, bool good, const char *what, char **text,
                           gka_error *error) {
    const size_t flags = JSON_COMPACT | JSON_REAL_PRECISION(17) | JSON_SORT_KEYS | JSON_ENCODE_ANY;
    const size_t size = root == NULL || !good ? 0 : json_dumpb(root, NULL, 0, flags);
    *text = size == 0 ? NULL : gka_alloc(size + 1, 1);
    const bool written = *text != NULL && json_dumpb(root, *text, size, flags) == size;
    json_decref(root);
    if (written)
        return GKA_OK;
    gka_free(*text);
    *text = NULL;
    return gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory writing metadata '%s'", what);
}

gka_status gka_golden_spec_text(const gka_golden_spec *spec, bool own_inputs, char **text,
                                gka_error *error) {
    bool good = true;
    json_t *const root = golden_spec_json(spec, own_inputs, &good);
    return gka_golden_dump(root, good, "spec", text, error);
}
