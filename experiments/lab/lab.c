/* lab.c - what the experiments share (see lab.h). */
#include "lab/lab.h"
#include "lab/ranks.h"

#include "gka/format.h"
#include "gka/io.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <popt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { TEXT = 512 };

#define REAL_KEYS GKA_TEST_DATA "/real/smollm2_rope_released.safetensors"

typedef struct text {
    char *bytes;
    size_t length, room;
} text;

struct lab_state {
    text table[LAB_TABLES]; /* the rows of the finished units, in order */
    text unit;              /* the rows of the unit at work */
    int unit_table;
    char part[TEXT]; /* its file */
    text claims;     /* JSON objects, comma separated */
    bool failed;     /* an allocation */
    bool claim_failed;
    char build[24]; /* of the program that runs: see build_of */
    double units_done, units_kept, started, shown;
    int64_t units_seen; /* asked for by run, in order */
    bool sharing;       /* other processes compute some of them */
};

static volatile sig_atomic_t interrupted;

static void leave(int number) {
    gka_output_abandon_all();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

/* The first signal ends the unit at work, and what is finished is kept. A second one ends the
 * process; half-written files go with it. */
static void interrupt(int number) {
    if (!interrupted) {
        static const char note[] = "\nends after the unit at work; Ctrl-C again ends at once\n";
        (void)!write(STDERR_FILENO, note, sizeof note - 1);
        interrupted = 1;
        return;
    }
    leave(number);
}

/* What else ends a process leaves no half-written file either. A write beyond a limit on sizes
 * fails with a reason. */
static void end_tidily(void) {
    static const int signals[] = {SIGHUP, SIGQUIT, SIGPIPE, SIGXCPU, SIGBUS, SIGABRT};
    struct sigaction action = {.sa_handler = leave}, given;
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (sigaction(signals[i], NULL, &given) == 0 && given.sa_handler == SIG_DFL)
            (void)sigaction(signals[i], &action, NULL);
    (void)signal(SIGXFSZ, SIG_IGN);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- growing texts ------------------------------------------------------------------------- */

static void text_append(lab *l, text *t, const char *bytes, size_t length) {
    if (t->length + length + 1 > t->room) {
        const size_t room = 2 * (t->length + length) + 256;
        char *const grown = gka_alloc(room, 1);
        if (grown == NULL) {
            l->state->failed = true;
            return;
        }
        if (t->length > 0)
            memcpy(grown, t->bytes, t->length);
        gka_free(t->bytes);
        t->bytes = grown;
        t->room = room;
    }
    memcpy(t->bytes + t->length, bytes, length);
    t->length += length;
    t->bytes[t->length] = '\0';
}

static void text_format(lab *l, text *t, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void text_format(lab *l, text *t, const char *format, ...) {
    char line[4 * TEXT];
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof line)
        l->state->failed = true;
    else
        text_append(l, t, line, (size_t)length);
}

static void text_free(text *t) {
    gka_free(t->bytes);
    *t = (text){0};
}

/* One line on stderr, of the first process alone: what is wrong here is wrong in all of them. */
static void complain(const lab_experiment *e, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void complain(const lab_experiment *e, const char *format, ...) {
    char line[4 * TEXT];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (lab_rank() == 0)
        fprintf(stderr, "%s%s: %s\n", e->program == NULL ? "exp_" : "",
                e->program == NULL ? e->name : e->program, line);
}

/* ---- files --------------------------------------------------------------------------------- */

static gka_status make_folder(const char *path, gka_error *error) {
    char partial[TEXT];
    for (const char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
        const size_t length = slash == NULL ? strlen(path) : (size_t)(slash - path);
        if (length >= sizeof partial)
            return gka_fail(error, GKA_IO, "%s: path too long", path);
        memcpy(partial, path, length);
        partial[length] = '\0';
        if (mkdir(partial, 0777) != 0 && errno != EEXIST)
            return gka_fail(error, GKA_IO, "%s: %s", partial, strerror(errno));
        if (slash == NULL)
            return GKA_OK;
    }
}

/* path to `file` in the experiment's folder; false when too long. */
static bool place(const lab *l, char path[TEXT], const char *file) {
    const int length = snprintf(path, TEXT, "%s/%s", l->out, file);
    return length > 0 && length < TEXT;
}

static gka_status write_whole(const char *path, const char *head, const char *bytes, size_t length,
                              gka_error *error) {
    gka_output *output = NULL;
    const gka_status status = gka_output_open(path, &output, error);
    if (status != GKA_OK)
        return status;
    FILE *const stream = gka_output_stream(output);
    if (head != NULL)
        fprintf(stream, "%s\n", head);
    if (length > 0)
        fwrite(bytes, 1, length, stream);
    return gka_output_close(output, error);
}

static bool read_whole(lab *l, const char *path, text *into) {
    FILE *const file = fopen(path, "rb");
    if (file == NULL)
        return false;
    char buffer[4096];
    size_t n;
    while ((n = fread(buffer, 1, sizeof buffer, file)) > 0)
        text_append(l, into, buffer, n);
    const bool good = !ferror(file);
    fclose(file);
    return good;
}

/* ---- units --------------------------------------------------------------------------------- */

static const char *const size_names[] = {"claim", "quick", "full"};

static uint64_t hashed(uint64_t hash, unsigned char byte) {
    return (hash ^ byte) * UINT64_C(1099511628211);
}

uint64_t lab_hash(uint64_t hash, const char *key) {
    for (; *key != '\0'; key++)
        hash = hashed(hash, (unsigned char)*key);
    return hash;
}

/* A finished unit is worth what the program that computed it is: its file is named after the FNV-1a
 * hash of the program's own bytes, so that a changed one computes it again. Where a program cannot
 * read itself, all builds of a version share a name. */
static void build_of(char name[24]) {
    uint64_t hash = LAB_HASH;
    FILE *const self = fopen("/proc/self/exe", "rb");
    if (self == NULL) {
        (void)snprintf(name, 24, "%.23s", gka_version());
        return;
    }
    unsigned char bytes[4096];
    size_t n;
    while ((n = fread(bytes, 1, sizeof bytes, self)) > 0)
        for (size_t i = 0; i < n; i++)
            hash = hashed(hash, bytes[i]);
    fclose(self);
    (void)snprintf(name, 24, "%016llx", (unsigned long long)hash);
}

/* Says so where units lie that another build has left. */
static void look_for_other_builds(const lab *l, const char *folder) {
    DIR *const parts = opendir(folder);
    int64_t others = 0;
    for (const struct dirent *e; parts != NULL && (e = readdir(parts)) != NULL;)
        others += strncmp(e->d_name, "full-", 5) == 0 && strstr(e->d_name, l->state->build) == NULL;
    if (parts != NULL)
        closedir(parts);
    if (others > 0)
        complain(l->experiment, "%lld units in %s are of another build and are not used",
                 (long long)others, folder);
}

/* ---- off home ground ----------------------------------------------------------------------- */

static int other_keys = -1, other_gate = -1;
static bool keys_are_real; /* --keys real */

gka_keys lab_keys(gka_keys home) {
    return other_keys < 0 ? home : (gka_keys)other_keys;
}

gka_gate lab_gate(gka_gate home) {
    return other_gate < 0 ? home : (gka_gate)other_gate;
}

enum { MOST_D = 128 }; /* of a file; experiments have room for it */

/* Keys of a file: q, k [count,T,D] and v [count,T,V] of its heads. */
static struct heads {
    const char *path; /* NULL: there is none */
    int64_t count, T, D, V;
    double *q, *k, *v;
} real;

bool lab_real(void) {
    return real.path != NULL;
}

bool lab_at_home(void) {
    return other_keys < 0 && other_gate < 0 && !lab_real();
}

int64_t lab_many(const lab *l, int64_t claim, int64_t quick, int64_t full) {
    const int64_t quarter = full / 4 > quick ? full / 4 : quick;
    return lab_pick(l, claim, quick, lab_at_home() ? full : quarter);
}

int64_t lab_D(int64_t home) {
    return lab_real() ? real.D : home;
}

int64_t lab_T(int64_t home) {
    return lab_real() && real.T < home ? real.T : home;
}

static gka_status read_heads(const char *path, gka_error *error) {
    gka_file *file = NULL;
    gka_problem p = {0};
    gka_status status = gka_file_open(path, &file, error);
    if (status == GKA_OK)
        status = gka_problem_from_file(file, &p, NULL, error);
    if (status == GKA_OK &&
        (p.cu_seqlens != NULL || !gka_problem_is_folded(&p) || p.B < 1 || p.T < 1 || p.H < 1 ||
         p.v.data == NULL || p.D > MOST_D || p.V > MOST_D))
        status = gka_fail(error, GKA_BAD_FILE,
                          "%s: folded sequences of one length with v, D and V at most %d, were "
                          "expected",
                          path, MOST_D);
    const int64_t count = p.B * p.H, D = p.D, V = p.V;
    if (status == GKA_OK) {
        const size_t rows = (size_t)(count * p.T);
        real = (struct heads){path,
                              count,
                              p.T,
                              D,
                              V,
                              gka_alloc(rows * (size_t)D, sizeof(double)),
                              gka_alloc(rows * (size_t)D, sizeof(double)),
                              gka_alloc(rows * (size_t)V, sizeof(double))};
        if (real.q == NULL || real.k == NULL || real.v == NULL)
            status = gka_fail(error, GKA_OUT_OF_MEMORY, "out of memory");
    }
    for (int64_t i = 0; i < count && status == GKA_OK; i++)
        for (int64_t t = 0; t < p.T; t++) {
            gka_problem_q(&p, i / p.H, t, i % p.H, real.q + (i * p.T + t) * D);
            gka_problem_k(&p, i / p.H, t, i % p.H, real.k + (i * p.T + t) * D);
            gka_problem_v(&p, i / p.H, t, i % p.H, real.v + (i * p.T + t) * V);
        }
    gka_problem_free(&p);
    gka_file_close(file);
    return status;
}

static void drop_heads(void) {
    gka_free(real.q);
    gka_free(real.k);
    gka_free(real.v);
    real = (struct heads){0};
}

/* Writes one row of a tensor [B,T,H,n] that the generator has made; `unit`: at length 1. */
static void put_row(const gka_view *view, int64_t b, int64_t t, int64_t h, int64_t n, bool unit,
                    const double *x) {
    double row[MOST_D], square = 0;
    for (int64_t i = 0; i < n; i++)
        square += x[i] * x[i];
    for (int64_t i = 0; i < n; i++)
        row[i] = unit && square > 0 ? x[i] / sqrt(square) : x[i];
    char *const at = (char *)(void *)(uintptr_t)view->data; /* the problem's own memory */
    const int64_t first = b * view->stride[0] + t * view->stride[1] + h * view->stride[2];
    gka_store_array(view->dtype, (size_t)n, row, at + (size_t)first * gka_dtype_size(view->dtype));
}

gka_status lab_generate(const gka_generator *generator, gka_problem *p, gka_error *error) {
    const gka_status status = gka_problem_generate(generator, p, error);
    if (status != GKA_OK || !lab_real())
        return status;
    if (p->D != real.D || (p->V > 0 && p->V != real.V)) {
        gka_problem_free(p);
        return gka_fail(error, GKA_BAD_FILE, "%s: D = %lld, V = %lld: %lld and %lld were expected",
                        real.path, (long long)real.D, (long long)real.V, (long long)generator->D,
                        (long long)generator->V);
    }
    for (int64_t b = 0; b < p->B; b++)
        for (int64_t h = 0; h < p->H; h++) {
            const int64_t head =
                (int64_t)((uint64_t)(b * p->H + h) + generator->seed - 1) % real.count * real.T;
            for (int64_t t = 0; t < p->T; t++) {
                const int64_t at = head + t % real.T;
                put_row(&p->q, b, t, h, p->D, false, real.q + at * p->D);
                if (h < p->G)
                    put_row(&p->k, b, t, h, p->D, generator->plain, real.k + at * p->D);
                if (h < p->G && p->V > 0)
                    put_row(&p->v, b, t, h, p->V, false, real.v + at * p->V);
            }
        }
    return GKA_OK;
}

/* " --keys mean --gate released", or nothing */
enum { GROUND = 64 };
static void ground(char out[GROUND]) {
    (void)snprintf(out, GROUND, "%s%s%s%s", other_keys < 0 && !keys_are_real ? "" : " --keys ",
                   keys_are_real    ? "real"
                   : other_keys < 0 ? ""
                                    : gka_keys_name((gka_keys)other_keys),
                   other_gate < 0 ? "" : " --gate ",
                   other_gate < 0 ? "" : gka_gate_name((gka_gate)other_gate));
}

bool lab_unit(lab *l, int table, const char *key, ...) {
    struct lab_state *const s = l->state;
    char name[TEXT / 2], file[TEXT];
    va_list arguments;
    va_start(arguments, key);
    (void)vsnprintf(name, sizeof name, key, arguments);
    va_end(arguments);
    for (char *c = name; *c != '\0'; c++)
        if (*c == '/' || *c == ' ')
            *c = '_';
    s->unit_table = table;
    s->unit.length = 0;
    s->part[0] = '\0';
    if (l->size != LAB_FULL && lab_ranks() == 1)
        return true;      /* small: always computed afresh */
    if (!lab_at_home()) { /* units of other keys are other units */
        char other[GROUND];
        ground(other);
        for (char *c = other; *c != '\0'; c++)
            *c = *c == ' ' ? '_' : *c;
        const size_t length = strlen(name);
        (void)snprintf(name + length, sizeof name - length, "%.48s", other);
        if (lab_real() && !keys_are_real)
            (void)snprintf(name + strlen(name), sizeof name - strlen(name), "_%.60s",
                           strrchr(real.path, '/') != NULL ? strrchr(real.path, '/') + 1
                                                           : real.path);
    }
    (void)snprintf(file, sizeof file, ".parts/%s-%s-%llu-%d-%s", size_names[l->size], s->build,
                   (unsigned long long)l->seed, table, name);
    if (!place(l, s->part, file)) {
        s->failed = true;
        return true;
    }
    const int64_t number = s->units_seen++;
    const bool kept = access(s->part, R_OK) == 0;
    if (!kept && (!s->sharing || lab_ranks_mine(number)))
        return true;
    s->units_done += l->weight;
    if (s->sharing) /* gathered at the end */
        return false;
    s->units_kept += l->weight;
    if (!read_whole(l, s->part, &s->table[table]))
        s->failed = true;
    return false;
}

void lab_row(lab *l, const char *row, ...) {
    char line[2 * TEXT];
    va_list arguments;
    va_start(arguments, row);
    const int length = vsnprintf(line, sizeof line - 1, row, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof line - 1) {
        l->state->failed = true;
        return;
    }
    line[length] = '\n';
    text_append(l, &l->state->unit, line, (size_t)length + 1);
}

gka_status lab_unit_end(lab *l, gka_error *error) {
    struct lab_state *const s = l->state;
    if (s->failed)
        return gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory", l->experiment->name);
    if (s->part[0] != '\0') {
        const gka_status status = write_whole(s->part, NULL, s->unit.bytes, s->unit.length, error);
        if (status != GKA_OK)
            return status;
    }
    if (s->unit.length > 0)
        text_append(l, &s->table[s->unit_table], s->unit.bytes, s->unit.length);
    s->units_done += l->weight;
    const double time = now();
    if (isatty(STDERR_FILENO) && lab_rank() == 0 && l->units_total > 0 && time - s->shown > 0.2) {
        /* what an earlier run kept took no time */
        const double left = fmax(l->units_total - s->units_done, 0),
                     each = (time - s->started) / (s->units_done - s->units_kept);
        s->shown = time;
        fprintf(stderr, "\r%-16s %3.0f %%  %6.0f s left ", l->experiment->name,
                100 * (1 - left / l->units_total), left * each);
    }
    if (interrupted)
        return gka_fail(error, GKA_INTERRUPTED,
                        l->size == LAB_FULL ? "interrupted; finished units are kept"
                                            : "interrupted; finished units are kept with --size "
                                              "full");
    return GKA_OK;
}

/* ---- numbers from the tables --------------------------------------------------------------- */

/* The number of the column `name` (length n) in a heading, -1 when there is none. */
static int column_of(const char *heading, const char *name, size_t n) {
    int column = 0;
    for (const char *start = heading;; start++, column++) {
        const char *const end = strchr(start, ',');
        const size_t length = end == NULL ? strlen(start) : (size_t)(end - start);
        if (length == n && memcmp(start, name, n) == 0)
            return column;
        if (end == NULL)
            return -1;
        start = end;
    }
}

static const char *field_of(const char *row, int column, size_t *length) {
    while (column-- > 0) {
        row += strcspn(row, ",\n");
        if (*row != ',')
            return NULL;
        row++;
    }
    *length = strcspn(row, ",\n");
    return row;
}

static bool row_matches(const char *heading, const char *row, const char *where) {
    while (*where != '\0') {
        const size_t name = strcspn(where, "="), value = strcspn(where + name, ",") - 1;
        size_t length = 0;
        const int column = column_of(heading, where, name);
        const char *const field = column < 0 ? NULL : field_of(row, column, &length);
        if (field == NULL || length != value || memcmp(field, where + name + 1, length) != 0)
            return false;
        where += name + 1 + value;
        if (*where == ',')
            where++;
    }
    return true;
}

bool lab_again(lab *l, int table, const char *value, const char *where, ...) {
    char condition[TEXT];
    va_list arguments;
    va_start(arguments, where);
    (void)vsnprintf(condition, sizeof condition, where, arguments);
    va_end(arguments);
    const char *const heading = l->experiment->tables[table].heading,
                      *row = l->state->table[table].bytes;
    const int column = column_of(heading, condition, strcspn(condition, "="));
    bool found = false;
    for (; row != NULL && *row != '\0'; row = strchr(row, '\n') + 1) {
        size_t length;
        const char *const field = column < 0 ? NULL : field_of(row, column, &length);
        if (field == NULL || !row_matches(heading, row, condition))
            continue;
        const char *const after = field + length;
        lab_row(l, "%.*s%s%.*s", (int)(field - row), row, value, (int)strcspn(after, "\n"), after);
        found = true;
    }
    return found;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double lab_median(int64_t count, double *values) {
    qsort(values, (size_t)count, sizeof *values, by_value);
    if (count == 0)
        return NAN;
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

lab_stats lab_stats_of(lab *l, int table, const char *column, const char *where, ...) {
    char condition[TEXT];
    va_list arguments;
    va_start(arguments, where);
    (void)vsnprintf(condition, sizeof condition, where, arguments);
    va_end(arguments);

    lab_stats stats = {.min = NAN, .median = NAN, .max = NAN, .mean = NAN};
    const char *const heading = l->experiment->tables[table].heading;
    const text *const rows = &l->state->table[table];
    const int wanted = column_of(heading, column, strlen(column));
    int64_t lines = 0;
    for (size_t i = 0; i < rows->length; i++)
        lines += rows->bytes[i] == '\n';
    double *const values = gka_alloc((size_t)lines, sizeof *values);
    if (values == NULL || wanted < 0) {
        l->state->failed = true;
        gka_free(values);
        return stats;
    }
    double sum = 0;
    for (const char *row = rows->bytes; row != NULL && *row != '\0'; row = strchr(row, '\n') + 1) {
        size_t length;
        const char *const field = field_of(row, wanted, &length);
        if (field == NULL || !row_matches(heading, row, condition))
            continue;
        const double value = strtod(field, NULL);
        if (!isfinite(value)) {
            stats.nonfinite++;
            continue;
        }
        values[stats.count++] = value;
        sum += value;
    }
    if (stats.count > 0) {
        stats.median = lab_median(stats.count, values);
        stats.min = values[0];
        stats.max = values[stats.count - 1];
        stats.mean = sum / (double)stats.count;
    }
    gka_free(values);
    return stats;
}

/* ---- verdicts ------------------------------------------------------------------------------ */

static const char *const verdict_names[] = {"reproduced", "refuted", "qualified"};

static void append_json_string(lab *l, text *t, const char *s) {
    text_append(l, t, "\"", 1);
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\')
            text_append(l, t, "\\", 1);
        text_append(l, t, (unsigned char)*s < 0x20 ? " " : s, 1);
    }
    text_append(l, t, "\"", 1);
}

void lab_claim(lab *l, const char *claim, lab_verdict verdict, bool holds, const char *found, ...) {
    char line[4 * TEXT];
    va_list arguments;
    va_start(arguments, found);
    (void)vsnprintf(line, sizeof line, found, arguments);
    va_end(arguments);
    printf("%s: %s%s\n  claim  %s\n  found  %s\n", l->experiment->name, verdict_names[verdict],
           holds ? "" : "  ** its inequality does not hold here **", claim, line);
    struct lab_state *const s = l->state;
    text_format(l, &s->claims, "%s\n    {\"verdict\": \"%s\", \"holds\": %s, \"claim\": ",
                s->claims.length > 0 ? "," : "", verdict_names[verdict], holds ? "true" : "false");
    append_json_string(l, &s->claims, claim);
    text_format(l, &s->claims, ", \"found\": ");
    append_json_string(l, &s->claims, line);
    text_format(l, &s->claims, "}");
    s->claim_failed |= !holds;
}

static gka_status write_verdict(lab *l, gka_error *error) {
    struct lab_state *const s = l->state;
    char path[TEXT], other[GROUND], command[3 * TEXT];
    text json = {0};
    ground(other);
    (void)snprintf(command, sizeof command, "exp_%s --size %s --seed %llu%s%s%s",
                   l->experiment->name, size_names[l->size], (unsigned long long)l->seed, other,
                   l->file != NULL ? " --file " : "", l->file != NULL ? l->file : "");
    text_format(l, &json, "{\n  \"name\": \"%s\",\n  \"question\": ", l->experiment->name);
    append_json_string(l, &json, l->experiment->question);
    text_format(l, &json, ",\n  \"command\": ");
    append_json_string(l, &json, command);
    text_format(l, &json, ",\n  \"version\": \"%s\",\n  \"claims\": [", gka_version());
    if (s->claims.length > 0)
        text_append(l, &json, s->claims.bytes, s->claims.length);
    text_format(l, &json, "\n  ]\n}\n");
    gka_status status = GKA_OK;
    if (s->failed || !place(l, path, "verdict.json"))
        status = gka_fail(error, GKA_OUT_OF_MEMORY, "%s: out of memory", l->experiment->name);
    else
        status = write_whole(path, NULL, json.bytes, json.length, error);
    text_free(&json);
    return status;
}

/* As of gka: 2 is what the caller can mend, 3 what only the program's author can. */
static int exit_code_of(gka_status status) {
    switch (status) {
    case GKA_OK: return 0;
    case GKA_BAD_ARGUMENT:
    case GKA_BAD_FILE:
    case GKA_IO:
    case GKA_NOT_POSITIVE_DEFINITE:
    case GKA_NO_CERTIFICATE:
    case GKA_UNSUPPORTED: return 2;
    case GKA_OUT_OF_MEMORY:
    case GKA_NOT_CONVERGED:
    case GKA_INTERRUPTED:
    case GKA_INTERNAL: break;
    }
    return 3;
}

/* ---- main ---------------------------------------------------------------------------------- */

/* Every process computes its units and keeps them in files; then the first one goes on, reads what
 * lies there and computes what does not: a unit that failed is tried once more, and its failure is
 * then that of the whole. `status`: what this process has met before, which no second try mends. */
static gka_status share(lab *l, gka_status status, gka_error *error) {
    struct lab_state *const s = l->state;
    const gka_status given = status;
    s->sharing = true;
    if (status == GKA_OK)
        status = l->experiment->run(l, error);
    s->sharing = false;
    if (status != GKA_OK && status != GKA_INTERRUPTED && s->units_seen > 0)
        fprintf(stderr, "%s: process %d: %s; once more at the end\n", l->experiment->name,
                lab_rank(), error->text);
    if (lab_ranks_meet(status == GKA_INTERRUPTED))
        return gka_fail(error, GKA_INTERRUPTED, "interrupted; finished units are kept");
    for (int i = 0; i < LAB_TABLES; i++)
        s->table[i].length = 0;
    s->units_done = s->units_kept = 0;
    return given;
}

static gka_status prepare(lab *l, gka_error *error) {
    char path[TEXT];
    if (!place(l, path, ".parts"))
        return gka_fail(error, GKA_BAD_ARGUMENT, "--out: path too long");
    const gka_status status = make_folder(path, error);
    if (status == GKA_OK && (l->size == LAB_FULL || lab_ranks() > 1)) {
        build_of(l->state->build);
        look_for_other_builds(l, path);
    }
    return status;
}

static gka_status run(lab *l, gka_status status, gka_error *error) {
    const lab_experiment *const e = l->experiment;
    char path[TEXT];
    if (status == GKA_OK)
        status = prepare(l, error);
    if (lab_ranks() > 1)
        status = share(l, status, error);
    if (lab_rank() > 0)
        return status;
    if (status == GKA_OK)
        status = e->run(l, error);
    for (int i = 0; status == GKA_OK && i < LAB_TABLES && e->tables[i].file != NULL; i++) {
        const text *const rows = &l->state->table[i];
        if (!place(l, path, e->tables[i].file))
            return gka_fail(error, GKA_BAD_ARGUMENT, "--out: path too long");
        status = write_whole(path, e->tables[i].heading, rows->bytes, rows->length, error);
    }
    if (status == GKA_OK)
        status = e->judge(l, error);
    if (status == GKA_OK && l->state->claims.length > 0)
        status = write_verdict(l, error);
    return status;
}

/* The words of the command line; text is popt's memory. */
enum { SIZE = 1, SEED, DATA, KEYS, GATE, OUT, OPTIONS };
typedef struct words {
    char *text[OPTIONS];
    long long seed;
    bool given[OPTIONS];
    lab_size size;
} words;

static const char *const option_names[] = {"", "size", "seed", "file", "keys", "gate", "out"};

/* Each option once. */
static bool take_words(poptContext context, const lab_experiment *e, words *w) {
    int code;
    while ((code = poptGetNextOpt(context)) > 0) {
        char *const value = poptGetOptArg(context);
        if (w->given[code]) {
            free(value);
            complain(e, "--%s: given twice", option_names[code]);
            return false;
        }
        w->given[code] = true;
        w->text[code] = value;
    }
    if (code < -1) {
        complain(e, "%s: %s", poptBadOption(context, POPT_BADOPTION_NOALIAS), poptStrerror(code));
        return false;
    }
    const char *const extra = poptGetArg(context);
    if (extra != NULL)
        complain(e, "'%s': no operands are expected", extra);
    return extra == NULL;
}

/* What has no effect for this experiment is refused. */
static bool has_effect(const lab_experiment *e, const words *w) {
    const bool refused[OPTIONS] = {[SEED] = (e->refuses & LAB_NO_SEED) != 0,
                                   [DATA] = e->file == LAB_NO_FILE,
                                   [KEYS] = (e->refuses & LAB_NO_KEYS) != 0 &&
                                            !(keys_are_real && e->file >= LAB_FILE_IS_KEYS),
                                   [GATE] = (e->refuses & LAB_NO_GATE) != 0};
    for (int i = 1; i < OPTIONS; i++)
        if (w->given[i] && refused[i]) {
            complain(e, "--%s has no meaning for this experiment", option_names[i]);
            return false;
        }
    if (keys_are_real && e->file < LAB_FILE_IS_KEYS) {
        complain(e, "--keys real has no meaning for this experiment");
        return false;
    }
    if (w->given[DATA] && e->file == LAB_FILE_IS_KEYS && w->given[KEYS]) {
        complain(e, "--keys has no meaning with --file, whose keys are taken");
        return false;
    }
    return true;
}

static bool read_words(const lab_experiment *e, words *w) {
    const char *const size = w->text[SIZE], *const keys = w->text[KEYS];
    int number = 0;
    while (number < 3 && size != NULL && strcmp(size, size_names[number]) != 0)
        number++;
    w->size = size == NULL ? LAB_QUICK : (lab_size)number;
    char *end = NULL;
    errno = 0;
    w->seed = w->given[SEED] ? strtoll(w->text[SEED], &end, 10) : 1;
    keys_are_real = keys != NULL && strcmp(keys, "real") == 0;
    if (w->given[OUT] && w->text[OUT][0] == '\0')
        complain(e, "--out: a folder was expected");
    else if (number == 3)
        complain(e, "--size %s: expected claim, quick or full", size);
    else if (w->given[SEED] && (errno != 0 || end == w->text[SEED] || *end != '\0' || w->seed < 0))
        complain(e, "--seed %s: a whole number from 0 on was expected", w->text[SEED]);
    else if (keys != NULL && !keys_are_real && (other_keys = gka_keys_find(keys)) < 0)
        complain(e, "--keys %s: expected iid, powerlaw, lowrank, repeat, mean ...", keys);
    else if (w->given[GATE] && (other_gate = gka_gate_find(w->text[GATE])) < 0)
        complain(e, "--gate %s: expected none, slow, released, strong or init", w->text[GATE]);
    else
        return has_effect(e, w);
    return false;
}

int lab_main(int argc, char **argv, const lab_experiment *experiment) {
    char folder[TEXT];
    const struct poptOption options[] = {
        {"size", 0, POPT_ARG_STRING, NULL, SIZE, "claim, quick or full (default quick)", "SIZE"},
        {"seed", 0, POPT_ARG_STRING, NULL, SEED, "the first seed (default 1)", "N"},
        {"file", 0, POPT_ARG_STRING, NULL, DATA, "a safetensors file to look at too", "FILE"},
        {"keys", 0, POPT_ARG_STRING, NULL, KEYS, "off home ground: every key of this kind", "KIND"},
        {"gate", 0, POPT_ARG_STRING, NULL, GATE, "off home ground: every gate of this kind",
         "KIND"},
        {"out", 0, POPT_ARG_STRING, NULL, OUT, "folder for tables and verdict", "DIR"},
        POPT_AUTOHELP POPT_TABLEEND};
    /* popt hands out what it was given; it does not write to argv. */
    const char **const given = (const char **)(void *)argv;
    poptContext context = poptGetContext(experiment->name, argc, given, options, 0);
    if (!gka_streams_hold())
        return 3;
    lab_ranks_start();
    int result = 2;
    words w = {.text = {NULL}};
    lab l = {.experiment = experiment, .weight = 1};
    struct lab_state state = {0};
    gka_error error = {0};
    l.state = &state;
    if (!take_words(context, experiment, &w) || !read_words(experiment, &w))
        goto done;
    const char *const data = w.text[DATA], *const out = w.text[OUT];
    l.size = w.size;
    l.seed = (uint64_t)w.seed;
    l.file = data;
    l.out = out;
    if (out == NULL) {
        (void)snprintf(folder, sizeof folder, "out/%s", experiment->name);
        l.out = folder;
    }
    struct sigaction action = {.sa_handler = interrupt};
    sigfillset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    end_tidily();
    state.started = now();
    const char *const taken = keys_are_real                                          ? REAL_KEYS
                              : data != NULL && experiment->file == LAB_FILE_IS_KEYS ? data
                                                                                     : NULL;
    gka_status status = taken != NULL ? read_heads(taken, &error) : GKA_OK;
    if (status == GKA_OK || lab_ranks() > 1)
        status = run(&l, status, &error);
    if (isatty(STDERR_FILENO) && state.shown > 0)
        fprintf(stderr, "\r%60s\r", "");
    if (status != GKA_OK) {
        complain(experiment, "%s", error.text[0] != '\0' ? error.text : gka_status_text(status));
        result = exit_code_of(status);
    } else {
        result = state.claim_failed ? 1 : 0;
    }
done:
    lab_ranks_end();
    drop_heads();
    for (int i = 0; i < LAB_TABLES; i++)
        text_free(&state.table[i]);
    text_free(&state.unit);
    text_free(&state.claims);
    poptFreeContext(context);
    for (int i = 0; i < OPTIONS; i++)
        free(w.text[i]);
    return result;
}
