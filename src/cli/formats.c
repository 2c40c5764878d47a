/* formats.c - gka formats: the number formats as a table. */
#include "cli/cli.h"
#include "gka/format.h"

static const char *overflow_text(gka_overflow overflow) {
    switch (overflow) {
    case GKA_OVERFLOW_IEEE: return "to Inf";
    case GKA_OVERFLOW_SATURATE: return "to max";
    case GKA_OVERFLOW_NAN: return "to NaN";
    }
    return "?";
}

int cli_formats(cli *c) {
    static const cli_help help = {
        .notes =
            "A finite value is m 2^(e-p+1), |m| < 2^p, emin <= e <= emax. The unit roundoff is\n"
            "2^-p; max is the largest finite value, and overflow what rounding to nearest does\n"
            "beyond it.\n"};
    static const cli_option options[] = {{.kind = CLI_END}};
    int code;
    if (!cli_parse(c, &help, options, &code))
        return code;

    static const char *const headings[] = {"<format",       "bits",     "p",   "emin",
                                           "emax",          "roundoff", "max", "min normal",
                                           "min subnormal", "<overflow"};
    cli_table table;
    cli_table_start(&table, headings, sizeof headings / sizeof *headings);
    for (const gka_format *const *f = gka_format_presets(); *f != NULL; f++) {
        cli_cell(&table, "%s", (*f)->name);
        if ((*f)->bits == 0)
            cli_cell(&table, "-");
        else
            cli_cell(&table, "%d", (*f)->bits);
        cli_cell(&table, "%d", (*f)->p);
        cli_cell(&table, "%d", (*f)->emin);
        cli_cell(&table, "%d", (*f)->emax);
        cli_cell(&table, "2^%d", -(*f)->p);
        cli_cell(&table, "%.10g", (*f)->max_finite);
        cli_cell(&table, "%.6g", gka_format_min_normal(*f));
        if ((*f)->subnormals)
            cli_cell(&table, "%.6g", gka_format_min_subnormal(*f));
        else
            cli_cell(&table, "none");
        cli_cell(&table, "%s", overflow_text((*f)->overflow));
    }
    return cli_table_print(&table, c->out) == GKA_OK ? CLI_GOOD : cli_out_of_memory(c);
}
