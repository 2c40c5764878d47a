/* json.c - results as JSON. */
#include "cli/json.h"
#include "cli/private.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* jansson's callbacks have no context, so this stands in the open; one command runs at a time. */
static atomic_bool starved;

static void *json_memory(size_t bytes) {
    void *const memory = gka_alloc(1, bytes);
    if (memory == NULL)
        atomic_store(&starved, true);
    return memory;
}

void cli_json_start(void) {
    atomic_store(&starved, false);
    json_set_alloc_funcs(json_memory, gka_free);
}

bool cli_json_starved(void) {
    return atomic_load(&starved);
}

json_t *cli_json_real(double x) {
    if (isnan(x))
        return json_string("NaN");
    if (isinf(x))
        return json_string(x > 0 ? "Infinity" : "-Infinity");
    return json_real(x);
}

json_t *cli_json_real_or_null(double x) {
    return isnan(x) ? json_null() : cli_json_real(x);
}

void cli_put(cli_builder *object, const char *key, json_t *value) {
    object->good &= json_object_set_new(object->value, key, value) == 0;
}

void cli_append(cli_builder *array, json_t *value) {
    array->good &= json_array_append_new(array->value, value) == 0;
}

json_t *cli_json_count(uint64_t n) {
    return n <= INT64_MAX ? json_integer((json_int_t)n) : json_real((double)n);
}

json_t *cli_json_text(const char *text) {
    json_t *const string = json_string(text);
    const char *byte = text;
    while (*byte != '\0' && (unsigned char)*byte < 0x80)
        byte++;
    /* What is ASCII throughout was refused for want of memory. */
    char *const copy = string != NULL || *byte == '\0' ? NULL : gka_strdup(text);
    if (copy == NULL)
        return string;
    for (char *c = copy; *c != '\0'; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    json_t *const plain = json_string(copy);
    gka_free(copy);
    return plain;
}

static bool dump(const json_t *root, FILE *stream) {
    return json_dumpf(root, stream, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) == 0 &&
           fputc('\n', stream) != EOF;
}

/* "schema": 1 as the first member of a report, or of each report in a list. */
static json_t *with_schema(json_t *report, bool *good) {
    if (json_is_array(report)) {
        size_t i;
        json_t *one;
        json_array_foreach(report, i, one) *good &=
            json_array_set_new(report, i, with_schema(json_incref(one), good)) == 0;
        return report;
    }
    if (!json_is_object(report))
        return report;
    json_t *const whole = json_object();
    *good &= json_object_set_new(whole, "schema", json_integer(CLI_SCHEMA)) == 0 &&
             json_object_update(whole, report) == 0;
    json_decref(report);
    return whole;
}

int cli_json_open(cli *c, const char *path, cli_json *json) {
    *json = (cli_json){.path = path};
    gka_error error = {0};
    if (path == NULL || cli_json_takes_stdout(json) ||
        gka_output_open(path, &json->output, &error) == GKA_OK)
        return CLI_GOOD;
    return cli_report(c, &error);
}

bool cli_is_stdout(const char *path) {
    return path != NULL && (strcmp(path, "-") == 0 || strcmp(path, "/dev/stdout") == 0);
}

bool cli_json_takes_stdout(const cli_json *json) {
    return cli_is_stdout(json->path);
}

void cli_json_abandon(cli_json *json) {
    if (json->output != NULL)
        gka_output_abandon(json->output);
    *json = (cli_json){0};
}

int cli_json_close(cli *c, cli_json *json, json_t *root, bool good) {
    FILE *const stream = json->output == NULL ? c->out : gka_output_stream(json->output);
    int code = CLI_GOOD;
    gka_error error = {0};
    root = with_schema(root, &good);
    /* A failed write is sticky: whoever closes or flushes finds it. */
    if (root == NULL || !good || (!dump(root, stream) && !ferror(stream)) || cli_json_starved())
        code = cli_out_of_memory(c);
    else if (json->output != NULL && gka_output_close(json->output, &error) != GKA_OK)
        code = cli_report(c, &error);
    if (code == CLI_GOOD || error.status != GKA_OK)
        json->output = NULL; /* closed */
    cli_json_abandon(json);
    json_decref(root);
    return code;
}
