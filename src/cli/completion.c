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
    fprintf(out, "\"%s ;;\n        esac ;;\n", help->operands == NULL ? " files=" : "");
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
    "        COMPREPLY=($(compgen -f -- \"$word\" || :))\n"
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
    fprintf(out, "%s ;;\n", help->operands == NULL ? "" : " \\\n            '*:file:_files'");
}

static const char zsh_head[] = "#compdef gka\n"
                               "# Completion of gka for zsh, made by `gka completion zsh`.\n"
                               "if (( CURRENT == 2 )); then\n"
                               "    local -a commands=(\n";

static const char zsh_middle[] = "    )\n"
                                 "    _describe command commands\n"
                                 "    return\n"
                                 "fi\n"
                                 "local name=$words[2]\n"
                                 "shift words\n"
                                 "(( CURRENT-- ))\n"
                                 "case $name in\n";

/* ---- command ------------------------------------------------------------------------------- */

static void write_bash(cli *c) {
    fputs(bash_head, c->out);
    put_commands(c->out);
    fputs(bash_body, c->out);
    cli_describe_all(c, describe_bash);
    fputs("    help) ;;\n", c->out);
    fputs(bash_tail, c->out);
}

static void write_zsh(cli *c) {
    const char *name, *summary;
    fputs(zsh_head, c->out);
    for (int i = 0; cli_command_name(i, &name, &summary); i++) {
        fprintf(c->out, "        '%s:", name);
        put_zsh(c->out, summary);
        fputs("'\n", c->out);
    }
    fputs(zsh_middle, c->out);
    cli_describe_all(c, describe_zsh);
    fputs("esac\n", c->out);
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
        write_bash(c);
    else if (strcmp(c->operands[0], shells[1]) == 0)
        write_zsh(c);
    else
        return cli_fail(c, "'%.80s': expected bash or zsh", c->operands[0]);
    return CLI_GOOD;
}
