/* json.h - results as JSON, by jansson.
 *
 * Building: json_object_set_new and json_array_append_new take a NULL value or a NULL object and
 * say so by their result, so a document is built without looking and its success kept in one flag:
 * `good &= json_object_set_new(object, "rel_err", cli_json_real(x)) == 0;`
 */
#ifndef GKA_CLI_JSON_H
#define GKA_CLI_JSON_H

#include "cli/cli.h"

#include <jansson.h>

/* A number that reads back as the same double; "NaN", "Infinity" and "-Infinity" as strings. */
json_t *cli_json_real(double x);

/* An integer; a real above the largest int64. */
json_t *cli_json_count(uint64_t n);

/* A string; bytes that are not UTF-8 become '?'. */
json_t *cli_json_text(const char *text);

/* Writes root to path ("-": standard output) and releases it. root = NULL or good = false means
 * that memory ran out while it was built. Returns CLI_GOOD or prints and returns the exit code;
 * then nothing stands at path that was not there before. */
int cli_json_write(cli *c, json_t *root, bool good, const char *path);

#endif
