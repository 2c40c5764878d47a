/* json.c - results as JSON. */
#include "cli/json.h"

#include <math.h>
#include <string.h>

json_t *cli_json_real(double x) {
    if (isnan(x))
        return json_string("NaN");
    if (isinf(x))
        return json_string(x > 0 ? "Infinity" : "-Infinity");
    return json_real(x);
}

json_t *cli_json_count(uint64_t n) {
    return n <= INT64_MAX ? json_integer((json_int_t)n) : json_real((double)n);
}

json_t *cli_json_text(const char *text) {
    json_t *const string = json_string(text);
    char *const copy = string != NULL ? NULL : gka_strdup(text);
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

static int write_file(cli *c, const json_t *root, const char *path) {
    gka_error error = {0};
    gka_output *output;
    if (gka_output_open(path, &output, &error) != GKA_OK)
        return cli_report(c, &error);
    FILE *const stream = gka_output_stream(output);
    if (!dump(root, stream) && !ferror(stream)) {
        gka_output_abandon(output);
        return cli_out_of_memory(c);
    }
    /* A failed write is sticky: closing finds it. */
    return gka_output_close(output, &error) == GKA_OK ? CLI_GOOD : cli_report(c, &error);
}

int cli_json_write(cli *c, json_t *root, bool good, const char *path) {
    int code = CLI_GOOD;
    if (root == NULL || !good)
        code = cli_out_of_memory(c);
    else if (strcmp(path, "-") != 0)
        code = write_file(c, root, path);
    else if (!dump(root, c->out) && !ferror(c->out))
        code = cli_out_of_memory(c);
    json_decref(root);
    return code;
}
