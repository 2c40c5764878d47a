/* make.c - gka problem: projections of a model, or made-up keys, as a problem in a file. */
#include "cli/problem.h"

#include <string.h>

static const char notes[] =
    "FILE holds tensors q, k and perhaps v, alpha, g, beta, ... of shapes [B,T,H,D], [T,H,D] or\n"
    "[T,D] (--layout=bhtd: heads before tokens), in F32, F16, BF16 or F64; FILE:PREFIX those "
    "whose\n"
    "names begin with PREFIX, FILE:NAME one tensor, taken for keys and queries; * and ? in them\n"
    "stand for several, each of which is written into the folder OUT. The options below\n"
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

typedef struct making {
    const char *out, *source;
    bool folder;
    char **written; /* in a folder, by this call */
    size_t count, room;
} making;

/* OUT/NAME.safetensors for FOLDER/NAME.safetensors:PREFIX, the prefix behind the name. */
static int place_in_folder(cli *c, making *m, const cli_problem *p, char path[1024]) {
    const char *const label = p->label, *const file = gka_file_path(p->file);
    const char *const slash = strrchr(file, '/'), *const name = slash == NULL ? file : slash + 1;
    const char *const dot = strrchr(name, '.');
    const size_t length = dot == NULL || dot == name ? strlen(name) : (size_t)(dot - name);
    char prefix[128] = "";
    if (strlen(label) > strlen(file) && label[strlen(file)] == ':')
        (void)snprintf(prefix, sizeof prefix, ".%s", label + strlen(file) + 1);
    for (char *at = prefix; *at != '\0'; at++)
        *at = *at == '/' ? '-' : *at;
    while (prefix[0] != '\0' && prefix[strlen(prefix) - 1] == '.')
        prefix[strlen(prefix) - 1] = '\0';
    const int n = snprintf(path, 1024, "%s/%.*s%s.safetensors", m->out, (int)length, name, prefix);
    if (n < 0 || n >= 1024)
        return cli_fail(c, "-o %.200s: the path is too long", m->out);
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->written[i], path) == 0)
            return cli_fail(c, "%s: a second problem would be written to %.300s", label, path);
    if (m->count == m->room) {
        const size_t room = 2 * m->room + 16;
        char **const more = cli_keep(c, gka_alloc(room, sizeof *more));
        if (more == NULL)
            return cli_out_of_memory(c);
        if (m->count > 0)
            memcpy(more, m->written, m->count * sizeof *more);
        m->written = more;
        m->room = room;
    }
    m->written[m->count] = cli_keep(c, gka_strdup(path));
    return m->written[m->count++] != NULL ? CLI_GOOD : cli_out_of_memory(c);
}

static int write_problem(cli *c, cli_problem *p, void *context) {
    making *const m = context;
    char path[1024];
    int code = CLI_GOOD;
    if (m->folder)
        code = place_in_folder(c, m, p, path);
    const char *const out = m->folder ? path : m->out;
    for (int i = 0; i < c->operand_count && m->folder && code == CLI_GOOD; i++)
        if (cli_would_replace(out, c->operands[i]))
            code = cli_fail(c, "-o %.200s: that is an input file", out);
    if (code != CLI_GOOD)
        return code;
    gka_error error = {0};
    const gka_text_pair more[] = {{"source", m->folder ? p->label : m->source}};
    const gka_status status = gka_problem_write(&p->problem, more, 1, out, &error);
    if (status != GKA_OK)
        return cli_report(c, &error);
    const gka_problem *const q = &p->problem;
    cli_say(c->out, "%s: B %lld, T %lld, H %lld, G %lld, D %lld, V %lld, %s%s\n", out,
            (long long)q->B, (long long)q->T, (long long)q->H, (long long)q->G, (long long)q->D,
            (long long)q->V, gka_dtype_name(q->q.dtype),
            gka_problem_is_folded(q) ? "" : "; not folded");
    return CLI_GOOD;
}

int cli_make(cli *c) {
    static const cli_help help = {
        .operands = "[FILE[:PATTERN]...]", .notes = notes, .least = 0, .most = -1};
    making m = {0};
    int code;
    cli_problem p;
    cli_problem_start(&p);
    p.as_it_is = true;
    p.several = " (-o with a folder that exists takes several)";
    const cli_option options[] = {
        {"output", 'o', CLI_OUT, &m.out, .value = "OUT",
         .help = "the file that is written; a folder: a file there for each problem"},
        {.kind = CLI_GROUP, .group = p.options, .help = "Problem, without FILE:"},
        {.kind = CLI_END}};
    if (!cli_parse(c, &help, options, &code))
        return code;
    if (m.out == NULL)
        return cli_fail(c, "-o OUT was expected");
    m.folder = c->operand_count > 0 && cli_is_folder(m.out);
    if (!m.folder && m.out[0] != '\0' && m.out[strlen(m.out) - 1] == '/')
        return cli_fail(c, "-o %.200s: a folder that exists was expected", m.out);
    if (c->operand_count > 1 && !m.folder)
        return cli_fail(c, "-o %.200s: a folder was expected, for several files", m.out);
    if (m.folder) {
        for (int i = 0; i < c->operand_count && code == CLI_GOOD; i++)
            code = cli_problem_each(c, &p, c->operands[i], write_problem, &m);
        return code;
    }
    const char *const file = c->operand_count > 0 ? c->operands[0] : NULL;
    m.source = file == NULL ? "made up by gka problem" : file;
    code = cli_problem_open(c, &p, file);
    if (code == CLI_GOOD)
        code = write_problem(c, &p, &m);
    cli_problem_close(&p);
    return code;
}
