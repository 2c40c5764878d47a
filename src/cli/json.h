/* json.h - results as JSON, by jansson.
 *
 * Building: json_object_set_new and json_array_append_new take a NULL value or a NULL object and
 * say so by their result, so a document is built without looking and its success kept in one flag:
 *     cli_builder o = {json_object(), true};
 *     cli_put(&o, "rel_err", cli_json_real(x));
 */
#ifndef GKA_CLI_JSON_H
#define GKA_CLI_JSON_H

#include "cli/cli.h"

#include <jansson.h>

/* The number of the reports' form, the member "schema" of each: a member is added without a change
 * of it, not taken away or given another meaning. src/cli/NAME.schema.json says what each holds. */
enum { CLI_SCHEMA = 1 };

/* A number that reads back as the same double; "NaN", "Infinity" and "-Infinity" as strings. */
json_t *cli_json_real(double x);

/* ... NaN as null: there is none. */
json_t *cli_json_real_or_null(double x);

/* An integer; a real above the largest int64. */
json_t *cli_json_count(uint64_t n);

/* A string; bytes that are not UTF-8 become '?'. */
json_t *cli_json_text(const char *text);

/* An object or an array being built; good until an allocation fails. Both take the value. */
typedef struct cli_builder {
    json_t *value;
    bool good;
} cli_builder;
void cli_put(cli_builder *object, const char *key, json_t *value);
void cli_append(cli_builder *array, json_t *value);

/* Where a document goes. Opened before long work begins, so that a path that cannot be written is
 * found at once; nothing stands at path until cli_json_close. */
typedef struct cli_json {
    const char *path;   /* NULL: none was asked for; "-": standard output */
    gka_output *output; /* NULL for standard output */
} cli_json;

/* path may be NULL. Returns CLI_GOOD or prints and returns the exit code. */
int cli_json_open(cli *c, const char *path, cli_json *json);

/* True of "-" and /dev/stdout; NULL is not. */
bool cli_is_stdout(const char *path);

/* True when standard output is the document's, and tables must stay away. */
bool cli_json_takes_stdout(const cli_json *json);

/* Writes root, a report or a list of reports, with "schema" first, and puts the file in place. root
 * = NULL or good = false means that memory ran out while it was built. Releases root and json
 * whatever happens. Returns CLI_GOOD or prints and returns the exit code; then nothing stands at
 * path that was not there before. */
int cli_json_close(cli *c, cli_json *json, json_t *root, bool good);

/* Gives up: nothing is written. Harmless after cli_json_close. */
void cli_json_abandon(cli_json *json);

#endif
