/* completion.c - gka completion: what a shell needs to complete the command, made from the tables
 * of options that the subcommands hand to cli_parse.
 *
 * Each subcommand is run with `describe` set, so that cli_parse hands its options to a writer
 * instead of reading the command line.
 */
#include "cli/cli.h"
#include "cli/private.h"

#include <string.h>

/* ---- words --------------------------------------------------------------------------------- */

/* Help as text of a zsh word: inside '...' and [...], where : ends a part. */
static void put_zsh(FILE *out, const char *text) {
    for (; *text != '\0'; text++)
        if (*text == '\'')
            fputs("'\\''", out);
        else if (strchr("[]:\\", *text) != NULL)
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
}

static void put_choices(FILE *out, const char *choices) {
    for (; *choices != '\0'; choices++)
        fputc(*choices == '|' ? ' ' : *choices, out);
}

static bool is_file(const cli_option *option) {
    return option->kind == CLI_IN || option->kind == CLI_OUT;
}

/* Whether the operand is one of some words, "bash|zsh". */
static bool is_choice(const cli_help *help) {
    return help->operands != NULL && strchr(help->operands, '|') != NULL &&
           strchr(help->operands, ' ') == NULL && strchr(help->operands, '[') == NULL;
}

static void put_commands(FILE *out) {
    const char *name, *summary;
    fputs("help", out);
    for (int i = 0; cli_command_name(i, &name, &summary); i++)
        fprintf(out, " %s", name);
}

/* ---- bash ---------------------------------------------------------------------------------- */

/* One case of the subcommand: its options, or the words of an option. */
static void describe_bash(cli *c, const cli_help *help) {
    FILE *const out = c->out;
    fprintf(out, "    %s)\n        case $option in\n", c->name);
    for (size_t i = 0; i < c->option_count; i++)
        if (c->options[i]->kind == CLI_CHOICE) {
            fprintf(out, "        --%s) words=\"", c->options[i]->name);
            put_choices(out, c->options[i]->choices);
            fputs("\" ;;\n", out);
        } else if (!is_file(c->options[i])) {
            fprintf(out, "        --%s) files= ;;\n", c->options[i]->name);
        }
    fputs("        '') words=\"--help", out);
    for (size_t i = 0; i < c->option_count; i++) {
        const cli_option *const option = c->options[i];
        const bool valued = option->kind != CLI_FLAG && option->bare == NULL;
        fprintf(out, " --%s%s", option->name, valued ? "=" : "");
    }
    if (is_choice(help)) {
        fputc(' ', out);
        put_choices(out, help->operands);
    }
    fprintf(out, "\"%s ;;\n        esac ;;\n",
            help->operands == NULL || is_choice(help) ? " files=" : "");
}

static const char bash_head[] =
    "# Completion of gka for bash, made by `gka completion bash`.\n"
    "_gka() {\n"
    "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
    "    local option= words= files=yes commands=\"";

static const char bash_body[] =
    "\"\n"
    "    COMPREPLY=()\n"
    "    # --name=value arrives as three words\n"
    "    if [[ $word == = ]]; then option=$before word=\n"
    "    elif [[ $before == = ]]; then option=${COMP_WORDS[COMP_CWORD-2]}\n"
    "    fi\n"
    "    if [[ $COMP_CWORD -eq 1 || ( $COMP_CWORD -eq 2 && $before == help ) ]]; then\n"
    "        COMPREPLY=($(compgen -W \"$commands\" -- \"$word\" || :))\n"
    "        return\n"
    "    fi\n"
    "    case ${COMP_WORDS[1]} in\n";

static const char bash_tail[] =
    "    esac\n"
    "    if [[ -n $words && ( -n $option || $word == -* || -z $files ) ]]; then\n"
    "        COMPREPLY=($(compgen -W \"$words\" -- \"$word\" || :))\n"
    "        [[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace 2>/dev/null || :\n"
    "    elif [[ -n $files ]]; then\n"
    "        compopt -o filenames 2>/dev/null || :\n"
    "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
    "    fi\n"
    "}\n"
    "complete -F _gka gka\n";

/* ---- zsh ----------------------------------------------------------------------------------- */

static void describe_zsh(cli *c, const cli_help *help) {
    FILE *const out = c->out;
    fprintf(out, "    %s)\n        _arguments '(-h --help)'{-h,--help}'[print the help]'", c->name);
    for (size_t i = 0; i < c->option_count; i++) {
        const cli_option *const option = c->options[i];
        fprintf(out, " \\\n            '%s--%s%s[", option->kind == CLI_TEXTS ? "*" : "",
                option->name,
                option->kind == CLI_FLAG ? ""
                : option->bare == NULL   ? "="
                                         : "=-");
        put_zsh(out, option->help);
        fputc(']', out);
        if (option->kind != CLI_FLAG) {
            fputs(option->bare == NULL ? ":" : "::", out);
            put_zsh(out, option->value != NULL ? option->value : option->name);
            fputc(':', out);
            if (option->kind == CLI_CHOICE) {
                fputc('(', out);
                put_choices(out, option->choices);
                fputc(')', out);
            } else if (is_file(option)) {
                fputs("_files", out);
            }
        }
        fputc('\'', out);
    }
    if (is_choice(help)) {
        fputs(" \\\n            '1:word:(", out);
        put_choices(out, help->operands);
        fputs(")'", out);
    } else if (help->operands != NULL) {
        fputs(" \\\n            '*:file:_files'", out);
    }
    fputs(" ;;\n", out);
}

static const char zsh_head[] = "#compdef gka\n"
                               "# Completion of gka for zsh, made by `gka completion zsh`.\n"
                               "local -a commands=(\n";

static const char zsh_middle[] =
    ")\n"
    "if (( CURRENT == 2 )) || [[ $CURRENT -eq 3 && $words[2] == help ]]; then\n"
    "    _describe command commands\n"
    "    return\n"
    "fi\n"
    "local name=$words[2]\n"
    "shift words\n"
    "(( CURRENT-- ))\n"
    "case $name in\n";

/* ---- command ------------------------------------------------------------------------------- */

static int write_bash(cli *c) {
    fputs(bash_head, c->out);
    put_commands(c->out);
    fputs(bash_body, c->out);
    const int code = cli_describe_all(c, describe_bash);
    fputs("    help) ;;\n", c->out);
    fputs(bash_tail, c->out);
    return code;
}

static int write_zsh(cli *c) {
    const char *name, *summary;
    fputs(zsh_head, c->out);
    for (int i = 0; cli_command_name(i, &name, &summary); i++) {
        fprintf(c->out, "    '%s:", name);
        put_zsh(c->out, summary);
        fputs("'\n", c->out);
    }
    fputs(zsh_middle, c->out);
    const int code = cli_describe_all(c, describe_zsh);
    fputs("esac\n", c->out);
    return code;
}

int cli_completion(cli *c) {
    static const char *const shells[] = {"bash", "zsh"};
    static const cli_option options[] = {{.kind = CLI_END}};
    static const cli_help help = {
        .operands = "bash|zsh",
        .notes = "cmake --install puts both where the shells look. By hand:\n"
                 "  bash   source <(gka completion bash)\n"
                 "  zsh    gka completion zsh >DIRECTORY/_gka, with DIRECTORY in $fpath\n",
        .least = 1,
        .most = 1};
    int code;
    if (!cli_parse(c, &help, options, &code))
        return code;
    if (strcmp(c->operands[0], shells[0]) == 0)
        return write_bash(c);
    if (strcmp(c->operands[0], shells[1]) == 0)
        return write_zsh(c);
    return cli_fail(c, "'%.80s': expected bash or zsh", c->operands[0]);
}
