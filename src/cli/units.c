/* units.c - a command on many files, shared among processes (units.h). */
#include "cli/units.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct sharing {
    cli *c;
    cli_units *units;
    json_t *key; /* of the command line */
    int code;
} sharing;

double cli_json_number(const json_t *value) {
    const char *const text = json_string_value(value);
    if (text == NULL)
        return json_number_value(value);
    return strcmp(text, "NaN") == 0 ? NAN : text[0] == '-' ? -INFINITY : INFINITY;
}

/* mpirun and srun number their processes in the environment; -1: nobody has. */
static int rank_of_process(void) {
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK",
                                        "SLURM_PROCID"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *const text = getenv(names[i]);
        if (text != NULL)
            return atoi(text);
    }
    return -1;
}

/* FOLDER/NUMBER.json; kept by the call. */
static char *path_of(const sharing *s, int64_t i) {
    const size_t size = strlen(s->units->folder) + 32;
    char *const path = cli_keep(s->c, gka_alloc(size, 1));
    if (path != NULL)
        (void)snprintf(path, size, "%s/%lld.json", s->units->folder, (long long)i);
    return path;
}

/* What a record is of: version, command line, and of the file its place, size and time. */
static json_t *key_of(const sharing *s, int64_t i) {
    const char *const path = s->units->path(s->units->context, i);
    struct stat is = {0};
    if (path != NULL)
        (void)stat(path, &is);
    return json_pack("{s:O,s:o,s:I,s:I,s:I}", "command", s->key, "file",
                     path == NULL ? json_null() : cli_json_text(path), "size",
                     (json_int_t)is.st_size, "seconds", (json_int_t)is.st_mtim.tv_sec,
                     "nanoseconds", (json_int_t)is.st_mtim.tv_nsec);
}

/* The record that lies there with this key (a new reference); NULL: none does. */
static json_t *read_record(const char *path, const json_t *key) {
    json_t *const root = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    json_t *const record = json_object_get(root, "record");
    json_t *const good =
        record != NULL && json_equal(json_object_get(root, "of"), key) ? json_incref(record) : NULL;
    json_decref(root);
    return good;
}

static int write_record(cli *c, const char *path, json_t *key, json_t *record) {
    cli_json json;
    const int code = cli_json_open(c, path, &json);
    json_t *const root = json_pack("{s:O,s:O}", "of", key, "record", record);
    if (code == CLI_GOOD)
        return cli_json_close(c, &json, root, true);
    json_decref(root);
    return code;
}

static bool share_unit(void *context, int64_t i) {
    sharing *const s = context;
    char *const path = path_of(s, i);
    json_t *const key = key_of(s, i);
    json_t *record = NULL;
    s->code = path == NULL || key == NULL ? cli_out_of_memory(s->c) : CLI_GOOD;
    if (s->code == CLI_GOOD && (record = read_record(path, key)) == NULL) {
        s->code = s->units->make(s->c, s->units->context, i, &record);
        if (s->code == CLI_GOOD)
            s->code = write_record(s->c, path, key, record);
    }
    json_decref(record);
    json_decref(key);
    return s->code == CLI_GOOD;
}

static int use_records(sharing *s) {
    int code = CLI_GOOD;
    for (int64_t i = 0; i < s->units->count && code == CLI_GOOD; i++) {
        char *const path = path_of(s, i);
        json_t *const key = key_of(s, i);
        json_t *const record = path == NULL || key == NULL ? NULL : read_record(path, key);
        code = path == NULL || key == NULL ? cli_out_of_memory(s->c)
               : record == NULL            ? cli_fail(s->c,
                                                      "%s: was changed meanwhile; its file, or the "
                                                                 "folder --units, was expected to stay",
                                                      path)
                                           : s->units->use(s->c, s->units->context, i, record);
        json_decref(record);
        json_decref(key);
    }
    return code;
}

static json_t *command_line(const cli *c) {
    json_t *const words = json_pack("[s]", gka_version());
    bool good = words != NULL;
    for (int i = 0; i < c->argc && good; i++)
        good = json_array_append_new(words, cli_json_text(c->argv[i])) == 0;
    if (good)
        return words;
    json_decref(words);
    return NULL;
}

int cli_units_run(cli *c, cli_units *units) {
    gka_share *share = NULL;
    gka_error error = {0};
    sharing s = {.c = c, .units = units};
    if (!cli_is_folder(units->folder) && mkdir(units->folder, 0777) != 0 &&
        !cli_is_folder(units->folder))
        return cli_fail(c, "--units=%.200s: a folder, or the name of a new one, was expected",
                        units->folder);
    s.key = command_line(c);
    int code = s.key == NULL
                   ? cli_out_of_memory(c)
                   : cli_outcome(c, gka_share_open(units->folder, &share, &error), &error);
    if (code == CLI_GOOD) {
        const int rank = rank_of_process();
        units->silent = rank > 0 || (rank < 0 && !gka_share_take(share, false));
        const gka_status status = gka_share_units(share, units->count, share_unit, NULL, &s);
        code = s.code != CLI_GOOD            ? s.code
               : status == GKA_OUT_OF_MEMORY ? cli_out_of_memory(c)
               : status == GKA_OK            ? CLI_GOOD
                                             : cli_fail(c, "interrupted");
    }
    if (code == CLI_GOOD && !units->silent)
        code = use_records(&s);
    gka_share_close(share);
    json_decref(s.key);
    return code;
}
