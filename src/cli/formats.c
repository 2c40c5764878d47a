/* formats.c - gka formats: the number formats and the formats of blocks as two tables. */
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

/* Returns false when memory ends. */
static bool print_blocks(cli *c) {
    static const char *const rules[] = {
        [GKA_SCALE_OCP] = "OCP", [GKA_SCALE_UP] = "up", [GKA_SCALE_NEAREST] = "nearest"};
    static const char *const headings[] = {"<blocks", "<element",      "numbers",      "<scale",
                                           "<rule",   "<scale of all", "bits a number"};
    cli_table table;
    cli_table_start(&table, headings, sizeof headings / sizeof *headings);
    for (const gka_block_format *const *b = gka_block_format_presets(); *b != NULL; b++) {
        cli_cell(&table, "%s", (*b)->name);
        cli_cell(&table, "%s", (*b)->element->name);
        cli_cell(&table, "%d", (*b)->block);
        cli_cell(&table, "%s", (*b)->scale->name);
        cli_cell(&table, "%s", rules[(*b)->rule]);
        cli_cell(&table, "%s", (*b)->tensor_scale ? "fp32" : "-");
        cli_cell(&table, "%g", gka_block_bits(*b));
    }
    return cli_table_print(&table, c->out) == GKA_OK;
}

int cli_formats(cli *c) {
    static const cli_help help = {
        .notes =
            "A finite value is m 2^(e-p+1), |m| < 2^p, emin <= e <= emax. The unit roundoff is\n"
            "2^-p; max is the largest finite value, and overflow what rounding to nearest does\n"
            "beyond it.\n"
            "\n"
            "The numbers of a block share a scale: the smallest by which its largest number fits\n"
            "(up), the nearest to that, or the power of two that makes the largest number's\n"
            "exponent the element's (OCP). `gka solve --arith` takes BLOCKS-acc32, an emulation\n"
            "/states=BLOCKS: h100/states=mxfp8-e4m3.\n"};
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
    if (cli_table_print(&table, c->out) != GKA_OK)
        return cli_out_of_memory(c);
    fputc('\n', c->out);
    return print_blocks(c) ? CLI_GOOD : cli_out_of_memory(c);
}
