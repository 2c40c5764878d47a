/* main.c - gka-sweep: a grid of made-up problems and kernels, one row for each pair.
 *
 *   gka-sweep SPEC.json [--out DIR]        mpirun -n N gka-sweep SPEC.json [--out DIR]
 *
 * SPEC is one object. Each of its keys is one of a golden's (gka/golden.h) that says how a problem
 * is made up, or "kernel"; its value is one value or a list. A unit is one choice of every key but
 * kernel, so that the exact values, which cost most, are computed once for all kernels.
 */
#include "lab/lab.h"

#include "gka/golden.h"
#include "gka/judge.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* A key of SPEC, and the option of `gka verify` that says the same; a column of the table. */
static const char *const keys[] = {"problem", "gate",  "B",     "T",     "H",     "G",
                                   "D",       "V",     "pairs", "dtype", "ridge", "h0",
                                   "iters",   "chunk", "scale", "seed"};
enum { KEYS = sizeof keys / sizeof *keys, KERNELS = 64, VALUE = 64, COMMAND = 640 };

#define HEADING                                                                                    \
    "problem,gate,B,T,H,G,D,V,pairs,dtype,ridge,h0,iters,chunk,scale,seed,kernel,x,fro,o,"         \
    "solve.dq,solve.dk,solve.dg,layer.dq,layer.dk,layer.dv,layer.dalpha,layer.dg,command"

static const char *const names[] = {"x",        "fro",          "o",        "solve.dq",
                                    "solve.dk", "solve.dg",     "layer.dq", "layer.dk",
                                    "layer.dv", "layer.dalpha", "layer.dg"};
enum { NAMES = sizeof names / sizeof *names };

/* ---- the grid ------------------------------------------------------------------------------ */

/* SPEC, read once. A key that it lacks has the one value of gka_golden_spec_start. */
typedef struct grid {
    json_t *spec;
    size_t count[KEYS]; /* values of each key; 1 where SPEC lacks it */
    gka_kernel kernels[KERNELS];
    size_t kernel_count;
} grid;

static const json_t *value_of(const json_t *given, size_t i) {
    return json_is_array(given) ? json_array_get(given, i) : given;
}

static size_t values_in(const json_t *given) {
    return json_is_array(given) ? json_array_size(given) : 1;
}

/* A value as the text of an option; false: it is neither a word nor a number nor true, false. */
static bool text_of(const json_t *value, char text[VALUE]) {
    int length = -1;
    if (json_is_string(value))
        length = snprintf(text, VALUE, "%s", json_string_value(value));
    else if (json_is_integer(value))
        length = snprintf(text, VALUE, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        length = snprintf(text, VALUE, "%.17g", json_real_value(value));
    else if (json_is_boolean(value))
        length = snprintf(text, VALUE, "%s", json_is_true(value) ? "true" : "false");
    return length >= 0 && length < VALUE && strpbrk(text, ",\" \n") == NULL;
}

static int key_of(const char *name) {
    for (int i = 0; i < KEYS; i++)
        if (strcmp(keys[i], name) == 0)
            return i;
    return -1;
}

static gka_status read_kernels(const char *path, grid *g, gka_error *error) {
    const json_t *const given = json_object_get(g->spec, "kernel");
    if (given == NULL || values_in(given) == 0)
        return gka_fail(error, GKA_BAD_FILE, "%s: expected \"kernel\": a name or a list", path);
    if (values_in(given) > KERNELS)
        return gka_fail(error, GKA_BAD_FILE, "%s: kernel: at most %d names were expected", path,
                        KERNELS);
    for (; g->kernel_count < values_in(given); g->kernel_count++) {
        char name[VALUE];
        if (!text_of(value_of(given, g->kernel_count), name))
            return gka_fail(error, GKA_BAD_FILE, "%s: kernel: expected names", path);
        const gka_status status = gka_kernel_find(name, &g->kernels[g->kernel_count], error);
        const gka_device *const device =
            status == GKA_OK ? gka_kernel_unchecked(&g->kernels[g->kernel_count]) : NULL;
        if (device != NULL)
            return gka_fail(error, GKA_UNSUPPORTED,
                            "kernel %s: the rule of %s was compared with nothing outside this "
                            "project (gka devices)",
                            name, device->name);
        if (status != GKA_OK)
            return status;
    }
    return GKA_OK;
}

static gka_status read_grid(const char *path, grid *g, gka_error *error) {
    json_error_t where;
    *g = (grid){.spec = json_load_file(path, JSON_REJECT_DUPLICATES, &where)};
    if (g->spec == NULL)
        return where.line < 1
                   ? gka_fail(error, GKA_BAD_FILE,
                              "%s: cannot be read; a JSON object "
                              "was expected",
                              path)
                   : gka_fail(error, GKA_BAD_FILE, "%s: line %d: %s", path, where.line, where.text);
    if (!json_is_object(g->spec))
        return gka_fail(error, GKA_BAD_FILE, "%s: expected one object", path);
    for (int i = 0; i < KEYS; i++)
        g->count[i] = 1;
    const char *name;
    json_t *given;
    json_object_foreach(g->spec, name, given) {
        const int key = key_of(name);
        if (strcmp(name, "kernel") == 0)
            continue;
        if (key < 0)
            return gka_fail(error, GKA_BAD_FILE,
                            "%s: no key '%.40s'; kernel, problem, gate, B, T, H, G, D, V, pairs, "
                            "dtype, ridge, h0, iters, chunk, scale and seed are known",
                            path, name);
        g->count[key] = values_in(given);
    }
    return read_kernels(path, g, error);
}

/* Which value each key has in unit number `unit`: the last key counts fastest. */
static void choose(const grid *g, size_t unit, size_t place[KEYS]) {
    for (int i = KEYS - 1; i >= 0; i--) {
        place[i] = unit % g->count[i];
        unit /= g->count[i];
    }
}

/* The generator of a unit, the first columns of its rows, and the options that make the same
 * problem with `gka verify`. */
static gka_status unit_of(const grid *g, const char *path, const size_t place[KEYS],
                          gka_generator *generator, char columns[COMMAND], char options[COMMAND],
                          gka_error *error) {
    gka_golden_spec spec;
    gka_status status = GKA_OK;
    gka_golden_spec_start(&spec);
    for (int i = 0; i < KEYS && status == GKA_OK; i++) {
        const json_t *const given = json_object_get(g->spec, keys[i]);
        char text[VALUE] = "";
        if (given != NULL && !text_of(value_of(given, place[i]), text))
            return gka_fail(error, GKA_BAD_FILE, "%s: %s: expected words or numbers", path,
                            keys[i]);
        if (given != NULL)
            status = gka_golden_spec_set(&spec, keys[i], text, error);
    }
    if (status != GKA_OK)
        return status;
    *generator = gka_golden_generator(&spec);
    const gka_generator *const m = generator;
    (void)snprintf(
        columns, COMMAND, "%s,%s,%lld,%lld,%lld,%lld,%lld,%lld,%lld,%s,%.17g,%s,%d,%lld,%.17g,%llu",
        gka_keys_name(m->keys), gka_gate_name(m->gate), (long long)m->B, (long long)m->T,
        (long long)m->H, (long long)m->G, (long long)m->D, (long long)m->V, (long long)m->pairs,
        gka_dtype_name(m->dtype), m->ridge_ratio, m->h0 ? "true" : "false", m->num_iter,
        (long long)m->chunk_size, m->scale, (unsigned long long)m->seed);
    (void)snprintf(options, COMMAND,
                   "--problem=%s --gate=%s --B=%lld --T=%lld --H=%lld --G=%lld --D=%lld --V=%lld "
                   "--dtype=%s --ridge=%.17g --iters=%d --chunk=%lld --scale=%.17g --seed=%llu",
                   gka_keys_name(m->keys), gka_gate_name(m->gate), (long long)m->B, (long long)m->T,
                   (long long)m->H, (long long)m->G, (long long)m->D, (long long)m->V,
                   gka_dtype_name(m->dtype), m->ridge_ratio, m->num_iter, (long long)m->chunk_size,
                   m->scale, (unsigned long long)m->seed);
    const size_t used = strlen(options);
    (void)snprintf(options + used, COMMAND - used, "%s%s", m->h0 ? " --h0" : "",
                   m->pairs > 0 ? " --pairs=" : "");
    if (m->pairs > 0)
        (void)snprintf(options + strlen(options), COMMAND - strlen(options), "%lld",
                       (long long)m->pairs);
    return GKA_OK;
}

/* ---- a unit -------------------------------------------------------------------------------- */

/* The median over heads of the error of an output, as `gka verify` prints it; NaN: none has one.
 * distance: of the first head; errors: room for one number of each head. */
static double median(const double *distance, const double *size, size_t heads, size_t kernels,
                     double *errors) {
    int64_t n = 0;
    for (size_t head = 0; head < heads; head++) {
        const double d = distance[head * kernels * NAMES], all = size[head * NAMES];
        const double e = all > 0 ? d / all : d;
        if (!isnan(e))
            errors[n++] = e;
    }
    return lab_median(n, errors);
}

static gka_status compute(lab *l, const grid *g, const gka_generator *generator,
                          const char *columns, const char *options, gka_error *error) {
    gka_problem problem = {0};
    gka_status status = gka_problem_generate(generator, &problem, error);
    const size_t heads = (size_t)(generator->B * generator->H), kernels = g->kernel_count;
    double *const distance = gka_alloc(heads * kernels * NAMES, sizeof *distance);
    double *const size = gka_alloc(heads * NAMES, sizeof *size);
    double *const errors = gka_alloc(heads, sizeof *errors);
    if (status == GKA_OK && (distance == NULL || size == NULL || errors == NULL))
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
    for (size_t k = 0; k < kernels && status == GKA_OK; k++)
        status = gka_kernel_check(&g->kernels[k], &problem, error);
    if (status == GKA_OK)
        status = gka_predict(&problem,
                             &(gka_prediction){.oracle = GKA_ORACLE_CERTIFIED,
                                               .kernels = g->kernels,
                                               .kernel_count = kernels,
                                               .names = names,
                                               .name_count = NAMES},
                             distance, size, error);
    for (size_t k = 0; k < kernels && status == GKA_OK; k++) {
        char figures[VALUE * NAMES] = "";
        for (size_t i = 0; i < NAMES; i++) {
            const double e = median(distance + k * NAMES + i, size + i, heads, kernels, errors);
            const size_t used = strlen(figures);
            if (isnan(e))
                (void)snprintf(figures + used, sizeof figures - used, ",");
            else
                (void)snprintf(figures + used, sizeof figures - used, ",%.6e", e);
        }
        lab_row(l, "%s,%s%s,gka verify --emulate=%s %s", columns, g->kernels[k].name, figures,
                g->kernels[k].name, options);
    }
    gka_free(distance);
    gka_free(size);
    gka_free(errors);
    gka_problem_free(&problem);
    return status;
}

static gka_status run(lab *l, gka_error *error) {
    grid g;
    gka_status status = read_grid(l->file, &g, error);
    size_t units = 1;
    for (int i = 0; i < KEYS && status == GKA_OK; i++)
        if (g.count[i] > 0 && __builtin_mul_overflow(units, g.count[i], &units))
            status = gka_fail(error, GKA_BAD_FILE, "%s: the grid is too large", l->file);
        else if (g.count[i] == 0)
            status = gka_fail(error, GKA_BAD_FILE, "%s: %s: the list is empty", l->file, keys[i]);
    l->units_total = (double)units;
    size_t place[KEYS];
    char columns[COMMAND], options[COMMAND];
    gka_generator generator;
    for (size_t unit = 0; unit < units && status == GKA_OK; unit++) { /* before the first is run */
        choose(&g, unit, place);
        status = unit_of(&g, l->file, place, &generator, columns, options, error);
    }
    for (size_t unit = 0; unit < units && status == GKA_OK; unit++) {
        choose(&g, unit, place);
        status = unit_of(&g, l->file, place, &generator, columns, options, error);
        /* a unit is known by what it computes, so that a longer list finds what is there */
        uint64_t key = lab_hash(LAB_HASH, columns);
        for (size_t k = 0; k < g.kernel_count; k++)
            key = lab_hash(lab_hash(key, ","), g.kernels[k].name);
        if (lab_unit(l, 0, "%016llx", (unsigned long long)key)) {
            status = compute(l, &g, &generator, columns, options, error);
            if (status == GKA_OK)
                status = lab_unit_end(l, error);
        }
    }
    json_decref(g.spec);
    return status;
}

static gka_status judge(lab *l, gka_error *error) {
    (void)l;
    (void)error;
    return GKA_OK;
}

static const lab_experiment experiment = {
    .name = "sweep",
    .program = "gka-sweep",
    .question = "What does each kernel lose, over a grid of problems?",
    .tables = {{"table.csv", HEADING}},
    .run = run,
    .judge = judge,
    .file = LAB_FILE_IS_OWN,
};

static const char help[] =
    "gka-sweep - a grid of made-up problems and kernels as one table\n\n"
    "Usage: gka-sweep SPEC.json [--out DIR]        (DIR: out/sweep)\n"
    "       mpirun -n N gka-sweep SPEC.json [--out DIR]\n\n"
    "SPEC.json is an object. Its keys: \"kernel\", and problem, gate, B, T, H, G, D, V, pairs, "
    "dtype,\n"
    "ridge, h0, iters, chunk, scale, seed; the value of each is one value or a list. "
    "DIR/table.csv\n"
    "has a row for each choice of values and each kernel: the median over heads of each output's\n"
    "error, and the command that prints x, o, solve.dk and layer.dalpha again. Finished units are "
    "kept in DIR/.parts: the same "
    "command,\n"
    "with any number of processes, goes on where one was stopped. Exit codes as for gka.\n";

static int refuse(const char *what, const char *word) {
    fprintf(stderr, "gka-sweep: %s%s; gka-sweep --help says more\n", what, word);
    return 2;
}

/* SPEC is the operand of a command line; the lab calls it --file. */
int main(int argc, char **argv) {
    static char size[] = "--size", full[] = "full", file[] = "--file", out[] = "--out";
    char *spec = NULL, *folder = NULL;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(help, stdout);
            return 0;
        } else if (folder != NULL && strncmp(argv[i], out, 5) == 0) {
            return refuse("--out: given twice", "");
        } else if (strcmp(argv[i], out) == 0 && i + 1 < argc) {
            folder = argv[++i];
        } else if (strncmp(argv[i], "--out=", 6) == 0) {
            folder = argv[i] + 6;
        } else if (strcmp(argv[i], out) == 0) {
            return refuse("--out: a folder was expected", "");
        } else if (argv[i][0] == '-') {
            return refuse("no option ", argv[i]);
        } else if (spec != NULL) {
            return refuse("one operand too many: ", argv[i]);
        } else {
            spec = argv[i];
        }
    if (folder != NULL && folder[0] == '\0')
        return refuse("--out: a folder was expected", "");
    if (spec == NULL)
        return refuse("expected SPEC.json", "");
    char *words[] = {argv[0], size, full, file, spec, out, folder, NULL};
    return lab_main(folder == NULL ? 5 : 7, words, &experiment);
}
