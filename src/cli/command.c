/* command.c - the table of subcommands, and the command as a function. */
#include "cli/cli.h"
#include "cli/private.h"

#include <errno.h>
#include <locale.h>
#include <stdarg.h>
#include <string.h>

typedef struct command {
    const char *name;
    int (*run)(cli *c);
    const char *summary; /* one line */
} command;

static const command commands[] = {
    {"verify", cli_verify, "judge computed tensors against the exact answer for their inputs"},
    {"golden", cli_golden, "inputs, references and tolerances in one file, to test kernels by"},
    {"judge", cli_judge, "judge a kernel's tensors by a golden, or a folder of them by a suite"},
    {"show", cli_show, "what a golden holds, and where its tolerances come from"},
    {"audit", cli_audit, "does a golden tell right kernels from wrong ones?"},
    {"problem", cli_make, "projections of a model, or made-up keys, as a problem in a file"},
    {"solve", cli_solve, "solvers side by side at one token, in emulated arithmetics"},
    {"attribute", cli_attribute, "what each rounding of the released kernels costs, one by one"},
    {"condition", cli_condition,
     "is an error the kernel's, or the problem's; gradients of r steps"},
    {"compare", cli_compare,
     "the layers it is compared with: error, state and cost in any arithmetic"},
    {"spectrum", cli_spectrum, "eigenvalues against the interval the released solver assumes"},
    {"devices", cli_devices, "matrix units of chips as data; which of them computed a probe file"},
    {"formats", cli_formats, "number formats: precision, range, unit roundoff, overflow rule"},
    {"completion", cli_completion, "what bash or zsh needs to complete this command"},
    {NULL, NULL, NULL},
};

static void print_help(FILE *out) {
    fprintf(out,
            "gka %s - reference and numerics lab for Gated KalmaNet kernels\n\n"
            "Usage: gka COMMAND [OPTION...] [OPERAND...]\n\nCommands:\n",
            gka_version());
    for (int i = 0; commands[i].name != NULL; i++)
        fprintf(out, "  %-11s %s\n", commands[i].name, commands[i].summary);
    fputs(
        "\n`gka help COMMAND` says what a command takes; `gka --version` prints the version.\n"
        "\nExit code: 0 all within tolerance or merely measured; 1 something fails its tolerance;\n"
        "2 usage or bad input, with one line on stderr; 3 internal error or out of memory.\n",
        out);
}

int cli_fail(cli *c, const char *format, ...) {
    gka_error line = {0};
    va_list arguments;
    va_start(arguments, format);
    (void)gka_fail_list(&line, GKA_BAD_ARGUMENT, format, arguments);
    va_end(arguments);
    fprintf(c->err, "gka%s%s: %s\n", c->name == NULL ? "" : " ", c->name == NULL ? "" : c->name,
            line.text);
    return CLI_USAGE;
}

/* What the caller can mend is 2; what only this program's author can is 3. */
static int exit_code_of(gka_status status) {
    switch (status) {
    case GKA_OK: return CLI_GOOD;
    case GKA_BAD_ARGUMENT:
    case GKA_BAD_FILE:
    case GKA_IO:
    case GKA_NOT_POSITIVE_DEFINITE:
    case GKA_NO_CERTIFICATE:
    case GKA_UNSUPPORTED: return CLI_USAGE;
    case GKA_OUT_OF_MEMORY:
    case GKA_NOT_CONVERGED:
    case GKA_INTERRUPTED:
    case GKA_INTERNAL: break;
    }
    return CLI_INTERNAL;
}

int cli_report(cli *c, const gka_error *error) {
    (void)cli_fail(c, "%s", error->text[0] == '\0' ? gka_status_text(error->status) : error->text);
    return exit_code_of(error->status);
}

int cli_out_of_memory(cli *c) {
    (void)cli_fail(c, "%s", gka_status_text(GKA_OUT_OF_MEMORY));
    return CLI_INTERNAL;
}

/* A full disk or a closed pipe shows here at the latest. */
static int flushed(cli *c, int code) {
    if (fflush(c->out) == 0 && !ferror(c->out))
        return code;
    const int number = errno;
    const int failed = cli_fail(c, "cannot write to standard output: %s",
                                number == 0 ? "write error" : strerror(number));
    return code > failed ? code : failed;
}

static int no_such_command(cli *c, const char *word) {
    cli_nearest nearest = cli_nearest_to(word);
    for (int i = 0; commands[i].name != NULL; i++)
        cli_nearest_try(&nearest, commands[i].name);
    cli_nearest_try(&nearest, "help");
    char hint[96];
    return cli_fail(c, "no command '%.80s'%s; `gka --help` lists the commands", word,
                    cli_nearest_hint(&nearest, hint));
}

/* Runs a subcommand; argv[0] is its name. */
static int run(const command *what, cli *c, int argc, const char *const *argv) {
    c->name = what->name;
    c->summary = what->summary;
    c->argc = argc;
    c->argv = argv;
    const int code = what->run(c);
    cli_free_texts(c);
    return code;
}

bool cli_command_name(int i, const char **name, const char **summary) {
    *name = commands[i].name;
    *summary = commands[i].summary;
    return commands[i].name != NULL;
}

int cli_describe_all(cli *c, void (*describe)(cli *c, const cli_help *help)) {
    int worst = CLI_GOOD;
    for (int i = 0; commands[i].name != NULL; i++) {
        cli each = {.out = c->out, .err = c->err, .describe = describe};
        const int code = run(&commands[i], &each, 1, &commands[i].name);
        worst = code > worst ? code : worst;
    }
    return worst;
}

static const command *find(const char *word) {
    for (int i = 0; commands[i].name != NULL; i++)
        if (strcmp(word, commands[i].name) == 0)
            return &commands[i];
    return NULL;
}

/* gka help COMMAND is gka COMMAND --help; gka help help is gka help. */
static int help_on(cli *c, int argc, const char *const *argv) {
    if (argc > 3)
        return cli_fail(c, "'%.80s' is one word too many after help", argv[3]);
    if (strcmp(argv[2], "help") == 0) {
        print_help(c->out);
        return CLI_GOOD;
    }
    const command *const what = find(argv[2]);
    const char *const help[] = {argv[2], "--help"};
    return what == NULL ? no_such_command(c, argv[2]) : run(what, c, 2, help);
}

static int dispatch(cli *c, int argc, const char *const *argv) {
    if (argc < 2)
        return cli_fail(c, "no command given; `gka --help` lists the commands");
    const char *const word = argv[1];
    const bool explain = strcmp(word, "help") == 0;
    const bool help = strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
    const bool version = strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0;
    if ((help || version) && argc > 2)
        return cli_fail(c, "%s takes nothing after it", word);
    if (help || (explain && argc == 2))
        print_help(c->out);
    else if (explain)
        return help_on(c, argc, argv);
    else if (version)
        fprintf(c->out, "gka %s\n", gka_version());
    else if (word[0] == '-')
        return cli_fail(c, "no option '%.80s' before a command; `gka --help` lists both", word);
    else if (find(word) == NULL)
        return no_such_command(c, word);
    else
        return run(find(word), c, argc - 1, argv + 1);
    return CLI_GOOD;
}

locale_t cli_plain_locale(void) {
    const locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return plain == (locale_t)0 ? plain : uselocale(plain);
}

void cli_own_locale(locale_t before) {
    const locale_t plain = before == (locale_t)0 ? before : uselocale(before);
    if (plain != (locale_t)0 && plain != LC_GLOBAL_LOCALE)
        freelocale(plain);
}

int gka_command(int argc, const char *const *argv, FILE *out, FILE *err) {
    cli c = {.out = out, .err = err};
    cli_json_start();
    const locale_t before = cli_plain_locale();
    const int code = flushed(&c, dispatch(&c, argc, argv));
    cli_own_locale(before);
    return code;
}
