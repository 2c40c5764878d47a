/* input.c - opening what was named, or saying what was probably meant; profiles from options. */
#include "cli/cli.h"
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
    if (status == GKA_OK && form >= 0)
        status = gka_kernel_set(kernel, gka_form_name((gka_form)form), &error);
    for (size_t i = 0; i < settings->count && status == GKA_OK; i++)
        status = gka_kernel_set(kernel, settings->text[i], &error);
    return status == GKA_OK ? CLI_GOOD : cli_report(c, &error);
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
