/* make.c - gka problem: projections of a model, or made-up keys, as a problem in a file. */
#include "cli/problem.h"

#include <string.h>
#include <sys/stat.h>

static const char notes[] =
    "FILE holds tensors q, k and perhaps v, alpha, g, beta, ... of shapes [B,T,H,D], [T,H,D] or\n"
    "[T,D] (--layout=bhtd: heads before tokens), in F32, F16, BF16 or F64; FILE:PREFIX those "
    "whose\n"
    "names begin with PREFIX, FILE:NAME one tensor, taken for keys and queries. The options below\n"
    "do, in this order, what the layer does to its projections, and draw what a dump lacks:\n"
    "\n"
    "  --conv=silu       q, k, v: a causal convolution of 4 with drawn taps, then SiLU\n"
    "  --normalise       q, k to length 1; =rounded: rounded to their type as well\n"
    "  --beta            drawn; multiplies k and v as beta + 1e-6\n"
    "  --alpha, --gate, --cotangents   alpha, g, do and dx drawn in the place of the file's\n"
    "  --cast            the type of the result (that of q)\n"
    "  --fold            beta and the normalisation multiplied into q, k, v; without it they stay\n"
    "                    in the file as tensor beta and metadata normalise\n"
    "\n"
    "Numbers are computed in binary64 and rounded once. Drawn numbers are a function of --seed, "
    "so\n"
    "the same command gives the same bytes. Without FILE the problem is made up.\n"
    "\n"
    "Exit code: 0 written, 2 usage or bad input, 3 internal.\n";

static bool same_file(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int cli_make(cli *c) {
    static const cli_help help = {
        .operands = "[FILE[:PATTERN]]", .notes = notes, .least = 0, .most = 1};
    const char *out = NULL;
    int code;
    cli_problem p;
    cli_problem_start(&p);
    p.as_it_is = true;
    const cli_option options[] = {
        {"output", 'o', CLI_TEXT, &out, .value = "OUT", .help = "the file that is written"},
        {.kind = CLI_GROUP, .group = p.options, .help = "Problem, without FILE:"},
        {.kind = CLI_END}};
    if (!cli_parse(c, &help, options, &code))
        return code;
    if (out == NULL)
        return cli_fail(c, "-o OUT was expected");
    const char *const file = c->operand_count > 0 ? c->operands[0] : NULL;
    code = cli_problem_open(c, &p, file);
    if (code == CLI_GOOD && p.file != NULL && same_file(out, gka_file_path(p.file)))
        code = cli_fail(c, "-o %.200s: that is the input file", out);
    if (code == CLI_GOOD) {
        gka_error error = {0};
        const gka_text_pair more[] = {{"source", file == NULL ? "made up by gka problem" : file}};
        const gka_status status = gka_problem_write(&p.problem, more, 1, out, &error);
        code = status == GKA_OK ? CLI_GOOD : cli_report(c, &error);
    }
    if (code == CLI_GOOD) {
        const gka_problem *const q = &p.problem;
        fprintf(c->out, "%s: B %lld, T %lld, H %lld, G %lld, D %lld, V %lld, %s%s\n", out,
                (long long)q->B, (long long)q->T, (long long)q->H, (long long)q->G, (long long)q->D,
                (long long)q->V, gka_dtype_name(q->q.dtype),
                gka_problem_is_folded(q) ? "" : "; not folded");
    }
    cli_problem_close(&p);
    return code;
}
