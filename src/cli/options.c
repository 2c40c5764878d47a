/* options.c - options and operands, by popt; every message names the option and what it wants. */
#include "cli/cli.h"
#include "cli/private.h"

#include <errno.h>
#include <math.h>
#include <popt.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is handed out -------------------------------------------------------------------- */

/* Memory of the call, freed when the subcommand has returned. */
struct cli_chunk {
    struct cli_chunk *next;
    void *memory;
};

void *cli_keep(cli *c, void *memory) {
    struct cli_chunk *const chunk = memory == NULL ? NULL : gka_alloc(1, sizeof *chunk);
    if (chunk == NULL) {
        gka_free(memory);
        return NULL;
    }
    *chunk = (struct cli_chunk){c->texts, memory};
    c->texts = chunk;
    return memory;
}

void cli_free_texts(cli *c) {
    while (c->texts != NULL) {
        struct cli_chunk *const chunk = c->texts;
        c->texts = chunk->next;
        gka_free(chunk->memory);
        gka_free(chunk);
    }
}

/* ---- popt's table -------------------------------------------------------------------------- */

typedef struct parser {
    cli *c;
    const cli_option **flat;  /* option number i; popt returns i + 1 */
    struct poptOption *table; /* popt's rows, group after group, the top one first */
    size_t flat_count, table_count;
} parser;

enum { HELP = 1 << 20 };

/* Rows and options of a table with its groups; each table needs one row to end it. */
static void count_rows(const cli_option *options, size_t *flat, size_t *table) {
    for (; options->kind != CLI_END; options++) {
        ++*table;
        if (options->kind == CLI_GROUP)
            count_rows(options->group, flat, table);
        else
            ++*flat;
    }
    ++*table;
}

static struct poptOption row_of(parser *p, const cli_option *option) {
    p->flat[p->flat_count++] = option;
    return (struct poptOption){.longName = option->name,
                               .shortName = option->letter,
                               .argInfo = option->kind == CLI_FLAG ? POPT_ARG_NONE
                                          : option->bare != NULL
                                              ? POPT_ARG_STRING | POPT_ARGFLAG_OPTIONAL
                                              : POPT_ARG_STRING,
                               .val = (int)p->flat_count,
                               .descrip = option->help,
                               .argDescrip = option->value ? option->value : option->choices};
}

/* The options of this table, then its groups; returns the first row. A row of
 * zeros ends each table. */
static struct poptOption *build(parser *p, const cli_option *options) {
    size_t rows = 0;
    while (options[rows].kind != CLI_END)
        rows++;
    struct poptOption *const table = p->table + p->table_count;
    p->table_count += rows + 1;
    for (size_t i = 0; i < rows; i++)
        table[i] = options[i].kind != CLI_GROUP
                       ? row_of(p, &options[i])
                       : (struct poptOption){.argInfo = POPT_ARG_INCLUDE_TABLE,
                                             .arg = build(p, options[i].group),
                                             .descrip = options[i].help};
    return table;
}

/* ---- values -------------------------------------------------------------------------------- */

/* Prints "--name: expected ..." */
static int expected(cli *c, const cli_option *option, const char *text, const char *what) {
    if (option->low < option->high && isfinite(option->high))
        return cli_fail(c, "--%s=%.80s: expected %s from %.10g to %.10g", option->name, text, what,
                        option->low, option->high);
    if (option->low < option->high)
        return cli_fail(c, "--%s=%.80s: expected %s, at least %.10g", option->name, text, what,
                        option->low);
    return cli_fail(c, "--%s=%.80s: expected %s", option->name, text, what);
}

static bool within(const cli_option *option, double x) {
    return !(option->low < option->high) || (x >= option->low && x <= option->high);
}

static int set_int(cli *c, const cli_option *option, const char *text) {
    char *end;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || !within(option, (double)value))
        return expected(c, option, text, "an integer");
    *(int64_t *)option->target = value;
    return CLI_GOOD;
}

static int set_real(cli *c, const cli_option *option, const char *text) {
    char *end;
    const double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value) || !within(option, value))
        return expected(c, option, text, "a number");
    *(double *)option->target = value;
    return CLI_GOOD;
}

/* The place of a word in "first|second|third". */
static int set_choice(cli *c, const cli_option *option, const char *text) {
    cli_nearest nearest = cli_nearest_to(text);
    const char *word = option->choices;
    for (int place = 0;; place++) {
        const size_t letters = strcspn(word, "|");
        char name[sizeof nearest.name] = {0};
        memcpy(name, word, letters < sizeof name ? letters : sizeof name - 1);
        if (strcmp(name, text) == 0) {
            *(int *)option->target = place;
            return CLI_GOOD;
        }
        cli_nearest_try(&nearest, name);
        if (word[letters] == '\0')
            break;
        word += letters + 1;
    }
    char hint[96];
    return cli_fail(c, "--%s=%.80s: expected one of %s%s", option->name, text, option->choices,
                    cli_nearest_hint(&nearest, hint));
}

static int add_text(cli *c, cli_texts *texts, char *text) {
    /* There are never more values than arguments. */
    if (texts->text == NULL)
        texts->text = cli_keep(c, gka_alloc((size_t)c->argc, sizeof *texts->text));
    if (texts->text == NULL)
        return cli_out_of_memory(c);
    texts->text[texts->count++] = text;
    return CLI_GOOD;
}

static int set(cli *c, const cli_option *option, const char *given) {
    if (option->kind == CLI_FLAG) {
        if (option->target != NULL) /* NULL: cli_given is asked */
            *(bool *)option->target = true;
        return CLI_GOOD;
    }
    const bool bare = option->bare != NULL && (given == NULL || given[0] == '\0');
    char *const text = cli_keep(c, gka_strdup(bare ? option->bare : given));
    if (text == NULL)
        return cli_out_of_memory(c);
    switch (option->kind) {
    case CLI_TEXT:
    case CLI_IN:
    case CLI_OUT: *(const char **)option->target = text; return CLI_GOOD;
    case CLI_TEXTS: return add_text(c, option->target, text);
    case CLI_INT: return set_int(c, option, text);
    case CLI_REAL: return set_real(c, option, text);
    case CLI_CHOICE: return set_choice(c, option, text);
    case CLI_END:
    case CLI_FLAG:
    case CLI_GROUP: break;
    }
    return CLI_INTERNAL;
}

/* ---- the command line ---------------------------------------------------------------------- */

static int bad_option(parser *p, poptContext popt, int code) {
    const char *const word = poptBadOption(popt, POPT_BADOPTION_NOALIAS);
    const int length = (int)strcspn(word, "=");
    if (code == POPT_ERROR_NOARG)
        return cli_fail(p->c, "%.*s: expected a value", length, word);
    if (code == POPT_ERROR_UNWANTEDARG)
        return cli_fail(p->c, "%.*s takes no value", length, word);
    if (code != POPT_ERROR_BADOPT)
        return cli_fail(p->c, "%.*s: %s", length, word, poptStrerror(code));
    char name[80] = {0};
    const size_t dashes = strspn(word, "-");
    if (word[dashes] != '\0' && (size_t)length - dashes < sizeof name)
        memcpy(name, word + dashes, (size_t)length - dashes);
    cli_nearest nearest = cli_nearest_to(name);
    for (size_t i = 0; i < p->flat_count; i++)
        cli_nearest_try(&nearest, p->flat[i]->name);
    cli_nearest_try(&nearest, "help");
    if (nearest.name[0] == '\0')
        return cli_fail(p->c, "no option '%.*s'; `gka %s --help` lists the options",
                        length < 80 ? length : 80, word, p->c->name);
    return cli_fail(p->c, "no option '%.*s' (did you mean '--%s'?)", length < 80 ? length : 80,
                    word, nearest.name);
}

static void print_help(cli *c, const cli_help *help, poptContext popt) {
    fprintf(c->out, "gka %s - %s\n\n", c->name, c->summary);
    poptPrintHelp(popt, c->out, 0);
    if (help->notes != NULL)
        fprintf(c->out, "\n%s", help->notes);
}

static int take_operands(cli *c, const cli_help *help, poptContext popt) {
    const char **const given = poptGetArgs(popt);
    int count = 0;
    while (given != NULL && given[count] != NULL)
        count++;
    const char **const operands = cli_keep(c, gka_alloc((size_t)count + 1, sizeof *operands));
    if (operands == NULL)
        return cli_out_of_memory(c);
    for (int i = 0; i < count; i++)
        if ((operands[i] = cli_keep(c, gka_strdup(given[i]))) == NULL)
            return cli_out_of_memory(c);
    c->operands = operands;
    c->operand_count = count;
    if (count < help->least)
        return cli_fail(c, "expected %s; `gka %s --help` says more", help->operands, c->name);
    if (help->most >= 0 && count > help->most)
        return cli_fail(c, "'%.80s' is one operand too many; `gka %s --help` says more",
                        operands[help->most], c->name);
    return CLI_GOOD;
}

/* Whether a value is an option's word: the value itself was forgotten, and popt has eaten the next
 * option in its place. */
static bool is_option(const parser *p, const char *text) {
    for (size_t i = 0; text[0] == '-' && i < p->flat_count; i++) {
        const cli_option *const option = p->flat[i];
        const size_t length = strlen(option->name);
        if ((option->letter != 0 && text[1] == option->letter && text[2] == '\0') ||
            (text[1] == '-' && strncmp(text + 2, option->name, length) == 0 &&
             (text[2 + length] == '\0' || text[2 + length] == '=')))
            return true;
    }
    return false;
}

/* True: go on with the operands; false: *code is the answer. */
static bool take_options(parser *p, const cli_help *help, poptContext popt, int *code) {
    int number;
    *code = CLI_GOOD;
    while ((number = poptGetNextOpt(popt)) > 0) {
        if (number == HELP) {
            print_help(p->c, help, popt);
            return false;
        }
        const cli_option *const option = p->flat[number - 1];
        char *const text = poptGetOptArg(popt);
        const char *const value = text == NULL ? "" : text;
        *code = p->c->given[number - 1] && option->kind != CLI_TEXTS
                    ? cli_fail(p->c, "--%s: given twice", option->name)
                : is_option(p, value)
                    ? cli_fail(p->c, "--%s: expected a value before %.80s", option->name, value)
                    : set(p->c, option, value);
        p->c->given[number - 1] = true;
        free(text);
        if (*code != CLI_GOOD)
            return false;
    }
    if (number < -1)
        *code = bad_option(p, popt, number);
    return *code == CLI_GOOD;
}

bool cli_parse(cli *c, const cli_help *help, const cli_option *options, int *code) {
    size_t flat = 0, table = 0;
    count_rows(options, &flat, &table);
    parser p = {.c = c,
                .flat = cli_keep(c, gka_alloc(flat + 1, sizeof *p.flat)),
                .table = cli_keep(c, gka_alloc(table + 1, sizeof *p.table))};
    c->options = p.flat;
    c->given = cli_keep(c, gka_alloc(flat + 1, sizeof *c->given));
    const char **const argv = cli_keep(c, gka_alloc((size_t)c->argc + 1, sizeof *argv));
    const char *const operands = help->operands == NULL ? "" : help->operands;
    char *const title = cli_keep(c, gka_alloc(strlen(c->name) + 5, 1));
    char *const usage = cli_keep(c, gka_alloc(strlen(operands) + 13, 1));
    *code = CLI_INTERNAL;
    if (p.flat == NULL || p.table == NULL || c->given == NULL || argv == NULL || title == NULL ||
        usage == NULL) {
        (void)cli_out_of_memory(c);
        return false;
    }
    (void)sprintf(title, "gka %s", c->name);
    (void)sprintf(usage, "[OPTION...]%s%s", operands[0] == '\0' ? "" : " ", operands);
    argv[0] = title;
    for (int i = 1; i < c->argc; i++)
        argv[i] = c->argv[i];

    /* --help first, then the options. */
    p.table[0] = (struct poptOption){
        .longName = "help", .shortName = 'h', .val = HELP, .descrip = "print this text"};
    p.table_count = 1;
    (void)build(&p, options);
    c->option_count = p.flat_count;
    if (c->describe != NULL) {
        c->describe(c, help);
        *code = CLI_GOOD;
        return false;
    }
    const poptContext popt = poptGetContext(title, c->argc, argv, p.table, 0);
    if (popt == NULL) {
        (void)cli_out_of_memory(c);
        return false;
    }
    poptSetOtherOptionHelp(popt, usage);
    bool go_on = take_options(&p, help, popt, code);
    if (go_on) {
        *code = take_operands(c, help, popt);
        if (*code == CLI_GOOD)
            *code = cli_check_files(c);
        go_on = *code == CLI_GOOD;
    }
    (void)poptFreeContext(popt);
    return go_on;
}

/* ---- options without effect ---------------------------------------------------------------- */

bool cli_given(const cli *c, const char *name) {
    for (size_t i = 0; i < c->option_count; i++)
        if (c->given[i] && strcmp(c->options[i]->name, name) == 0)
            return true;
    return false;
}

static bool listed(const char *const *names, const char *name) {
    for (; *names != NULL; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

int cli_refuse(cli *c, const char *why, const char *const *names) {
    for (size_t i = 0; i < c->option_count; i++)
        if (c->given[i] && listed(names, c->options[i]->name))
            return cli_fail(c, "--%s has no meaning %s", c->options[i]->name, why);
    return CLI_GOOD;
}
