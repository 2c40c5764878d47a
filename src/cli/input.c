/* input.c - opening what was named, or saying what was probably meant; profiles from options. */
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/private.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Names of the same directory that are near to path's last part. */
static cli_nearest nearest_file(const char *path) {
    const char *const slash = strrchr(path, '/');
    cli_nearest nearest = cli_nearest_to(slash == NULL ? path : slash + 1);
    char directory[1024] = ".";
    const size_t length = slash == NULL ? 1 : (size_t)(slash - path) + 1;
    if (slash != NULL && length < sizeof directory)
        memcpy(directory, path, length);
    directory[length < sizeof directory ? length : 0] = '\0';
    DIR *const entries = opendir(directory);
    for (const struct dirent *e; entries != NULL && (e = readdir(entries)) != NULL;)
        cli_nearest_try(&nearest, e->d_name);
    if (entries != NULL)
        (void)closedir(entries);
    return nearest;
}

bool cli_is_folder(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

/* ---- what is read must not be lost, nor what is written be written twice --------------------- */

static bool same(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* The folder that the path is in; whether that is there. */
static bool stat_folder_of(const char *path, struct stat *about) {
    char folder[4096];
    const char *const slash = strrchr(path, '/');
    const size_t length = slash == NULL ? 1 : (size_t)(slash - path) + 1;
    if (length >= sizeof folder)
        return false;
    memcpy(folder, slash == NULL ? "." : path, length);
    folder[length] = '\0';
    return stat(folder, about) == 0;
}

static const char *name_in_folder(const char *path) {
    const char *const slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

bool cli_cut_to_file(char *text) {
    const size_t length = strlen(text);
    for (char *colon; access(text, F_OK) != 0; *colon = '\0')
        if ((colon = strrchr(text, ':')) == NULL) {
            for (size_t i = 0; i < length; i++)
                if (text[i] == '\0')
                    text[i] = ':';
            return false;
        }
    return true;
}

bool cli_would_replace(const char *out, const char *in) {
    struct stat to, from;
    char path[4096];
    if (stat(out, &to) != 0 || !S_ISREG(to.st_mode) ||
        snprintf(path, sizeof path, "%s", in) >= (int)sizeof path || !cli_cut_to_file(path) ||
        stat(path, &from) != 0)
        return false;
    if (!S_ISDIR(from.st_mode))
        return same(&to, &from);
    const char *const name = name_in_folder(out), *const dot = strrchr(name, '.');
    return stat_folder_of(out, &to) && same(&to, &from) &&
           (strcmp(name, "index.json") == 0 || (dot != NULL && strcmp(dot, ".safetensors") == 0));
}

/* What is no file (a terminal, /dev/null) may be written twice, but for standard output. */
static bool both_written(const char *a, const char *b) {
    struct stat one, other;
    const bool is = stat(a, &one) == 0, is_other = stat(b, &other) == 0;
    if (cli_is_stdout(a) || cli_is_stdout(b))
        return cli_is_stdout(a) && cli_is_stdout(b);
    if (is || is_other)
        return is && is_other && S_ISREG(one.st_mode) && same(&one, &other);
    return strcmp(name_in_folder(a), name_in_folder(b)) == 0 && stat_folder_of(a, &one) &&
           stat_folder_of(b, &other) && same(&one, &other);
}

/* The option's path where it is of this kind and on the command line. */
static const char *path_of(const cli *c, size_t option, cli_kind kind) {
    return c->given[option] && c->options[option]->kind == kind
               ? *(const char **)c->options[option]->target
               : NULL;
}

/* No table replaces tensors: `--csv FILE` takes the file that another program means to be read. */
static int check_is_text(cli *c, const cli_option *option, const char *out) {
    gka_file *file;
    gka_error error = {0};
    const gka_status status = gka_file_open(out, &file, &error);
    if (status == GKA_OUT_OF_MEMORY)
        return cli_report(c, &error);
    if (status != GKA_OK)
        return CLI_GOOD;
    gka_file_close(file);
    return cli_fail(c, "--%s=%.200s: a file of tensors; a name for text was expected", option->name,
                    out);
}

int cli_check_files(cli *c) {
    for (size_t i = 0; i < c->option_count; i++) {
        const char *const out = path_of(c, i, CLI_OUT);
        if (out == NULL)
            continue;
        const cli_option *const option = c->options[i];
        bool input = false;
        for (int j = 0; j < c->operand_count; j++)
            input |= cli_would_replace(out, c->operands[j]);
        for (size_t j = 0; j < c->option_count; j++) {
            const char *const in = path_of(c, j, CLI_IN), *const other = path_of(c, j, CLI_OUT);
            input |= in != NULL && cli_would_replace(out, in);
            if (j < i && other != NULL && both_written(out, other))
                return cli_fail(c, "--%s and --%s: two different outputs were expected",
                                c->options[j]->name, option->name);
        }
        if (input && option->letter != 0)
            return cli_fail(c, "-%c %.200s: that is an input file", option->letter, out);
        if (input)
            return cli_fail(c, "--%s=%.200s: that is an input file", option->name, out);
        const int code = option->letter == 0 ? check_is_text(c, option, out) : CLI_GOOD;
        if (code != CLI_GOOD)
            return code;
    }
    return CLI_GOOD;
}

/* ---- opening ------------------------------------------------------------------------------- */

int cli_outcome(cli *c, gka_status status, const gka_error *error) {
    if (cli_json_starved())
        return cli_out_of_memory(c);
    return status == GKA_OK ? CLI_GOOD : cli_report(c, error);
}

int cli_open(cli *c, const char *path, gka_file **file) {
    gka_error error = {0};
    const gka_status status = gka_file_open(path, file, &error);
    gka_foreign foreign;
    if (status == GKA_BAD_FILE && gka_file_foreign(path, &foreign)) {
        const int code = cli_fail(c, "%s", error.text);
        fprintf(c->err, "It becomes one by\n\n%s", foreign.conversion);
        return code;
    }
    if (status != GKA_IO || access(path, F_OK) == 0 || errno != ENOENT) {
        const int code = cli_outcome(c, status, &error);
        if (code != CLI_GOOD && status == GKA_OK)
            gka_file_close(*file);
        return code;
    }
    const cli_nearest nearest = nearest_file(path);
    char hint[96];
    return cli_fail(c, "%s%s", error.text, cli_nearest_hint(&nearest, hint));
}

/* The first part of a kernel's name, or the one setting, that is not known: what was meant. */
static const char *setting_hint(const char *name, bool is_name, char hint[96]) {
    char word[GKA_KERNEL_NAME] = "";
    gka_kernel kernel;
    const char *part = name;
    for (const char *end = name + strcspn(name, "/"); is_name && *end == '/';) {
        part = end + 1;
        end = part + strcspn(part, "/");
        if ((size_t)(end - name) >= sizeof word)
            break;
        (void)snprintf(word, sizeof word, "%.*s", (int)(end - name), name);
        if (gka_kernel_find(word, &kernel, NULL) != GKA_OK)
            break;
    }
    (void)snprintf(word, sizeof word, "%.*s", (int)strcspn(part, "=/"), part);
    cli_nearest nearest = cli_nearest_to(word);
    for (size_t i = 0; gka_kernel_setting(i) != NULL; i++)
        cli_nearest_try(&nearest, gka_kernel_setting(i));
    for (int i = -1; i < GKA_LAUNCHES && strchr(word, '.') != NULL; i++) {
        char dotted[64];
        (void)snprintf(dotted, sizeof dotted, "%s.num_warps",
                       i < 0 ? "all" : gka_launch_name((gka_launch)i));
        cli_nearest_try(&nearest, dotted);
    }
    hint[0] = '\0'; /* a name that is there wants another value */
    return strcmp(nearest.name, word) == 0 ? hint : cli_nearest_hint(&nearest, hint);
}

int cli_kernel(cli *c, const char *name, int form, const cli_texts *settings, gka_kernel *kernel) {
    gka_error error = {0};
    char hint[96];
    gka_status status = gka_kernel_find(name, kernel, &error);
    if (status != GKA_OK && strchr(name, '/') == NULL) {
        cli_nearest nearest = cli_nearest_to(name);
        for (size_t i = 0; gka_kernel_word(i) != NULL; i++)
            cli_nearest_try(&nearest, gka_kernel_word(i));
        return cli_fail(c, "%s%s", error.text, cli_nearest_hint(&nearest, hint));
    }
    if (status != GKA_OK)
        return cli_fail(c, "%s%s", error.text, setting_hint(name, true, hint));
    if (form >= 0)
        status = gka_kernel_set(kernel, gka_form_name((gka_form)form), &error);
    for (size_t i = 0; i < settings->count && status == GKA_OK; i++) {
        const char *const text = settings->text[i];
        const size_t length = strcspn(text, "=");
        for (size_t j = 0; j < i; j++)
            if (strncmp(settings->text[j], text, length) == 0 &&
                strcspn(settings->text[j], "=") == length)
                return cli_fail(c, "--set %.*s: given twice", (int)length, text);
        status = gka_kernel_set(kernel, text, &error);
        if (status != GKA_OK)
            return cli_fail(c, "%s%s", error.text, setting_hint(text, false, hint));
    }
    return status == GKA_OK ? CLI_GOOD : cli_report(c, &error);
}

int cli_kernels_checked(cli *c, const gka_kernel *kernels, size_t count) {
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        const gka_device *const device = gka_kernel_unchecked(&kernels[i]);
        any |= device != NULL;
        if (device != NULL && !cli_given(c, "unchecked"))
            return cli_fail(c,
                            "%s: the rule of %s is derived from descriptions and unchecked: "
                            "--unchecked was expected with it",
                            kernels[i].name, device->name);
    }
    return any || !cli_given(c, "unchecked")
               ? CLI_GOOD
               : cli_fail(c, "--unchecked: an emulated device without a checked rule was expected");
}

int cli_oracle(cli *c, const char *name, gka_kernel *kernel) {
    gka_error error = {0};
    char hint[96];
    const gka_status status = gka_kernel_find(name, kernel, &error);
    if (status == GKA_OK && kernel->engine == GKA_ENGINE_ORACLE)
        return CLI_GOOD;
    if (strncmp(name, "mpfr/", 5) == 0)
        return cli_fail(c, "--oracle=%s", error.text);
    cli_nearest nearest = cli_nearest_to(name);
    for (int i = GKA_ORACLE_FP64; i <= GKA_ORACLE_MPFR; i++)
        cli_nearest_try(&nearest, gka_oracle_name((gka_oracle)i));
    return cli_fail(c, "--oracle=%.80s: expected certified, fp64, mpfr or mpfr/BITS%s", name,
                    cli_nearest_hint(&nearest, hint));
}
