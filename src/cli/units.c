/* units.c - a command on many files, shared among processes (units.h). */
#include "cli/units.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct sharing {
    cli *c;
    cli_units *units;
    json_t *command; /* its words */
    gka_progress progress;
    int64_t done; /* units that this process has seen made */
} sharing;

double cli_json_number(const json_t *value) {
    const char *const text = json_string_value(value);
    if (text == NULL)
        return json_number_value(value);
    return strcmp(text, "NaN") == 0 ? NAN : text[0] == '-' ? -INFINITY : INFINITY;
}

bool cli_json_is_number(const json_t *value) {
    const char *const text = json_string_value(value);
    return json_is_number(value) ||
           (text != NULL && (strcmp(text, "NaN") == 0 || strcmp(text, "Infinity") == 0 ||
                             strcmp(text, "-Infinity") == 0));
}

bool cli_json_numbers(const json_t *array) {
    bool good = json_is_array(array);
    for (size_t i = 0; i < json_array_size(array) && good; i++)
        good = cli_json_is_number(json_array_get(array, i));
    return good;
}

/* Whether a launcher certainly started this process beside one that prints: rank and size stand in
 * the environment. */
static bool is_silent(void) {
    static const char *const names[][2] = {{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
                                           {"PMI_RANK", "PMI_SIZE"},
                                           {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *const rank = getenv(names[i][0]), *const size = getenv(names[i][1]);
        if (rank != NULL && size != NULL)
            return atoi(rank) > 0 && atoi(size) > 1;
    }
    return false;
}

/* FOLDER/NUMBER.json; kept by the call. */
static char *path_of(const sharing *s, int64_t i) {
    const size_t size = strlen(s->units->folder) + 32;
    char *const path = cli_keep(s->c, gka_alloc(size, 1));
    if (path != NULL)
        (void)snprintf(path, size, "%s/%lld.json", s->units->folder, (long long)i);
    return path;
}

/* [path, device, inode, size, seconds, nanoseconds]; numbers of 0: no such file. */
static json_t *identity(const char *path) {
    struct stat is = {0};
    (void)stat(path, &is);
    return json_pack("[o,I,I,I,I,I]", cli_json_text(path), (json_int_t)is.st_dev,
                     (json_int_t)is.st_ino, (json_int_t)is.st_size, (json_int_t)is.st_mtim.tv_sec,
                     (json_int_t)is.st_mtim.tv_nsec);
}

/* What a record is of: the command, the program, and each file that is read. */
static json_t *key_of(const sharing *s, int64_t i) {
    cli_builder files = {json_array(), true};
    const char *path;
    cli_append(&files, identity("/proc/self/exe"));
    for (int k = 0; (path = s->units->path(s->units->context, i, k)) != NULL; k++)
        cli_append(&files, identity(path));
    json_t *const key = json_pack("{s:O,s:o}", "command", s->command, "files", files.value);
    if (files.good)
        return key;
    json_decref(key);
    return NULL;
}

/* A text that depends on all of a record (FNV-1a, 64 bits), so that a changed digit is found. */
static json_t *check_of(const json_t *record) {
    char *const text = json_dumps(record, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    uint64_t hash = 0xcbf29ce484222325;
    char hex[17];
    if (text == NULL)
        return NULL;
    for (const char *c = text; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
    gka_free(text);
    (void)snprintf(hex, sizeof hex, "%016llx", (unsigned long long)hash);
    return json_string(hex);
}

/* The record that lies there with this key (a new reference); NULL: none does. */
static json_t *read_record(const char *path, const json_t *key) {
    json_t *const root = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    json_t *const record = json_object_get(root, "record");
    json_t *const check = record == NULL ? NULL : check_of(record);
    json_t *const good = check != NULL && json_equal(json_object_get(root, "check"), check) &&
                                 json_equal(json_object_get(root, "of"), key)
                             ? json_incref(record)
                             : NULL;
    json_decref(check);
    json_decref(root);
    return good;
}

static int write_record(cli *c, const char *path, json_t *key, json_t *record) {
    cli_json json;
    const int code = cli_json_open(c, path, &json);
    json_t *const root =
        json_pack("{s:O,s:o,s:O}", "of", key, "check", check_of(record), "record", record);
    if (code == CLI_GOOD)
        return cli_json_close(c, &json, root, true);
    json_decref(root);
    return code;
}

/* What fails is left to use_units, which says so as one process alone does. */
static bool share_unit(void *context, int64_t i) {
    sharing *const s = context;
    char *const path = path_of(s, i);
    json_t *const key = key_of(s, i);
    json_t *record = path == NULL || key == NULL ? NULL : read_record(path, key);
    if (path != NULL && key != NULL && record == NULL &&
        s->units->make(s->c, s->units->context, i, &record) == CLI_GOOD)
        (void)write_record(s->c, path, key, record);
    json_decref(record);
    json_decref(key);
    (void)gka_progress_report(&s->progress, (double)++s->done, (double)s->units->count);
    return true;
}

static int use_units(const sharing *s) {
    int code = CLI_GOOD;
    for (int64_t i = 0; i < s->units->count && code == CLI_GOOD; i++) {
        char *const path = path_of(s, i);
        json_t *const key = key_of(s, i);
        json_t *const record = path == NULL || key == NULL ? NULL : read_record(path, key);
        code = record == NULL ? CLI_UNUSABLE : s->units->use(s->c, s->units->context, i, record);
        if (code == CLI_UNUSABLE)
            code = s->units->alone(s->c, s->units->context, i);
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

/* FOLDER/command.json is the first one's; the others' command must be the same. */
static int own_folder(const sharing *s, gka_share *share) {
    const size_t size = strlen(s->units->folder) + 32;
    char *const path = cli_keep(s->c, gka_alloc(size, 1));
    int code = CLI_GOOD;
    if (path == NULL)
        return cli_out_of_memory(s->c);
    (void)snprintf(path, size, "%s/command.json", s->units->folder);
    (void)gka_share_take(share, true);
    if (access(path, F_OK) != 0) {
        cli_json json;
        code = cli_json_open(s->c, path, &json);
        if (code == CLI_GOOD)
            code = cli_json_close(s->c, &json, json_incref(s->command), true);
    } else {
        json_t *const owner = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
        if (!json_equal(owner, s->command))
            code = cli_fail(s->c,
                            "--units=%.200s: belongs to another command (command.json in it); "
                            "another folder was expected",
                            s->units->folder);
        json_decref(owner);
    }
    gka_share_leave(share);
    return code;
}

/* Makes what records are missing; all that is printed about it is printed when they are used. */
static int make_units(sharing *s, gka_share *share) {
    FILE *const err = s->c->err, *const nowhere = fopen("/dev/null", "w");
    if (nowhere == NULL)
        return cli_fail(s->c, "/dev/null: cannot be opened");
    cli_progress bar;
    if (!is_silent())
        s->progress = cli_progress_start(&bar, s->c, s->units->folder);
    s->c->err = nowhere;
    const gka_status status = gka_share_units(share, s->units->count, share_unit, NULL, s);
    s->c->err = err;
    if (!is_silent())
        cli_progress_end(&bar);
    (void)fclose(nowhere);
    return status == GKA_OK ? CLI_GOOD : cli_out_of_memory(s->c);
}

static int share_units(cli *c, cli_units *units) {
    gka_share *share = NULL;
    gka_error error = {0};
    sharing s = {.c = c, .units = units};
    const bool there = cli_is_folder(units->folder) || mkdir(units->folder, 0777) == 0;
    const int number = errno;
    if (!there && !cli_is_folder(units->folder))
        return cli_fail(c, "--units=%.200s: a folder, or the name of a new one, was expected (%s)",
                        units->folder, strerror(number));
    s.command = command_line(c);
    int code = s.command == NULL
                   ? cli_out_of_memory(c)
                   : cli_outcome(c, gka_share_open(units->folder, &share, &error), &error);
    if (code == CLI_GOOD)
        code = own_folder(&s, share);
    if (code == CLI_GOOD)
        code = make_units(&s, share);
    gka_share_close(share);
    units->silent = is_silent();
    if (code == CLI_GOOD && !units->silent)
        code = use_units(&s);
    json_decref(s.command);
    return code;
}

int cli_units_run(cli *c, cli_units *units) {
    int code = CLI_GOOD;
    if (units->folder != NULL)
        return share_units(c, units);
    for (int64_t i = 0; i < units->count && code == CLI_GOOD; i++)
        code = units->alone(c, units->context, i);
    return code;
}
