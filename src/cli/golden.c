/* golden.c - gka golden: inputs, references and tolerances in one file. */
#include "gka/golden.h"
#include "cli/audit.h"
#include "cli/private.h"
#include "cli/show.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Options that are keys of the spec, as gka_golden_spec_set has them. */
static const struct {
    const char *name, *value, *help;
} keys[] = {
    {"problem", "NAME",
     "keys: iid, powerlaw, lowrank, repeat, recall, mean, convsilu or aligned (iid)"},
    {"gate", "NAME", "none, slow, released, strong or init (released)"},
    {"B", "N", "batch (1)"},
    {"T", "N", "tokens (256)"},
    {"H", "N", "query heads (1)"},
    {"G", "N", "key/value heads, a divisor of H (H)"},
    {"D", "N", "key size (128)"},
    {"V", "N", "value size, 0: no v (D)"},
    {"pairs", "N", "recall: tokens that store a pair (T/2)"},
    {"dtype", "NAME", "of the inputs: bf16, fp16 or fp32 (bf16)"},
    {"chunk", "N", "chunk size C (64)"},
    {"ridge", "A", "ridge ratio a (0.02)"},
    {"lambda", "X", "a constant ridge: a golden of MesaNet, x and o (0: a f)"},
    {"iters", "R", "iterations r (30)"},
    {"scale", "S", "output scale s (1/sqrt(D))"},
    {"seed", "N", "which draws (1)"},
    {"operands", "NAME", "q, k, v in a format of blocks, mxfp8-e4m3; see gka formats (none)"},
    {"edit", "LIST", "what is done to the inputs then; see below (none)"},
    {"lengths", "LIST", "of sequences packed along T, 17,0,5 (none)"},
    {"outputs", "LIST", "of forward, backward, states (all)"},
    {"oracle", "NAME", "of NAME.exact: certified or mpfr (certified)"},
    {"stage", "NAME", "one stage alone: solve, output, dk, dg or decode; see below (all)"},
    {"given", "LIST", "what the stage is handed, of x, p, f, h_chunk (what it needs)"},
    {"prefill", "P", "with --serving: tokens of the prefill (T/2)"},
    {"h-type", "NAME",
     "with --serving: the server keeps H in fp32, bf16, fp16, mxfp8-e4m3, .. (fp32)"},
    {"u-type", "NAME", "with --serving: ... and U (fp32)"},
    {"emulate", "NAME", "h100: the emulated kernel's outputs too, as NAME.h100 (none)"},
};

/* Flags that set a key. */
static const struct {
    const char *name, *key, *text, *help;
} flags[] = {
    {"gated", "gate", "released", "--gate=released"},
    {"ungated", "gate", "none", "--gate=none"},
    {"h0", "h0", "true", "initial states h0, u0"},
    {"final", "final", "true", "cotangents of the final states, dh_final and du_final"},
    {"alpha", "alpha", "true", "a tensor alpha (yes)"},
    {"no-alpha", "alpha", "false", "alpha = 1"},
    {"plain", "plain", "true", "no beta, no alpha, no gate"},
    {"serving", "serving", "true", "of a server: a prefill, then token after token; see below"},
    {"lo", "lo", "true", "second words: NAME.exact.lo = fp64(exact - NAME.exact)"},
};

enum { KEYS = sizeof keys / sizeof *keys, FLAGS = sizeof flags / sizeof *flags };

#define EDIT_LINE(id, name, text) "  " name ": " text "\n"

static const char notes[] =
    "A golden holds the inputs in the kernel's dtype and, for each output NAME (x fro o; h_chunk\n"
    "h_final u_final; solve.{dq dk dg dh0}, layer.{dq dk dv dalpha dg}):\n"
    "\n"
    "  NAME.exact  F64, the exact value rounded once: judges the method. The rounding is proven\n"
    "  NAME.steps  F64, r iterations in binary64: judges an implementation\n"
    "  NAME.h100   with --emulate=h100: the bits of the released kernels\n"
    "\n"
    "Metadata: parameters, the complete spec, the version, a SHA-256 of the inputs, and a "
    "tolerance\n"
    "for each output with its derivation. The same spec gives the same bytes.\n"
    "\n"
    "--spec takes the same keys as a JSON object, {\"T\": 512, \"gate\": \"slow\", \"h0\": true};\n"
    "options given as well count more. --input takes a file's own q k [v alpha g h0 u0 do dx\n"
    "dh_final du_final cu_seqlens] and parameters in place of made-up ones.\n"
    "\n"
    "--stage makes a golden of one stage, so that a kernel is tested without those before it. "
    "What\n"
    "it is handed is in the file as given.x, given.fro, given.h_chunk, given.solve.p, "
    "given.layer.p\n"
    "(with --input the file's own x, fro, h_chunk, solve.dq, and layer.p or what layer.dq says of\n"
    "it), and NAME.exact is exact for that:\n"
    "\n"
    "  solve   given nothing, or of f and h_chunk    x fro solve.dq\n"
    "  output  given x                               o layer.dalpha layer.dv\n"
    "  dk      given x and p, perhaps f, h_chunk     solve.dk solve.dh0 layer.dk\n"
    "  dg      the same                              solve.dg layer.dg\n"
    "  decode  one token (T = 1) from h0             x fro h_final u_final o\n"
    "\n"
    "Goldens of one head and more than 16384 tokens are streamed to the disk, in memory that does "
    "not\n"
    "grow with T; files without a name beside the output take about as much again as it does.\n"

    "\n"
    "--serving makes a golden of a server: the inputs before q and k are normalised, beta, and "
    "the\n"
    "references of prefill.o prefill.h prefill.u (the first P tokens by chunks) and of decode.o\n"
    "decode.h decode.u (the others, one by one from those states). D and V are 64, 128 or 256.\n"
    "scripts/gpu/dump_serving.py runs the authors' functions on it.\n"
    "\n"
    "--suite writes a folder of goldens with an index.json: quick (every feature, small; some\n"
    "seconds), kernel (D 64 and 128, T up to 4096; some minutes) or edge (inputs at the corners).\n"
    "What stands there already by the same version is kept, so what was interrupted goes on.\n"
    "\n"
    "--audit=GOLDEN is `gka audit GOLDEN`, --show=GOLDEN is `gka show GOLDEN`; their --help says\n"
    "what they print.\n"
    "\n"
    "--edit changes made-up inputs:\n"
    "\n" GKA_EDIT_LIST(EDIT_LINE);

typedef struct request {
    const char *spec, *input, *output, *suite;
    const char *text[KEYS];
    bool flag[FLAGS];
    bool check;
} request;

static int read_text(cli *c, const char *path, char **text) {
    enum { MOST = 1 << 20 };
    FILE *const file = fopen(path, "r");
    if (file == NULL)
        return cli_fail(c, "%s: cannot be opened: %s; a file with a JSON object was expected", path,
                        strerror(errno));
    *text = gka_alloc(MOST + 1, 1);
    const size_t size = *text == NULL ? 0 : fread(*text, 1, MOST, file);
    const bool failed = ferror(file) != 0, whole = fgetc(file) == EOF;
    (void)fclose(file);
    if (*text == NULL)
        return cli_out_of_memory(c);
    (*text)[size] = '\0';
    const size_t length = strlen(*text);
    return failed   ? cli_fail(c, "%s: cannot be read", path)
           : !whole ? cli_fail(c, "%s: more than %d bytes; a JSON object was expected", path, MOST)
           : length < size
               ? cli_fail(c, "%s: byte %zu is NUL; a JSON object was expected", path, length)
               : CLI_GOOD;
}

static int read_spec(cli *c, const char *path, gka_golden_spec *spec) {
    char *text = NULL;
    int code = read_text(c, path, &text);
    if (code == CLI_GOOD) {
        gka_error error = {0}, line = {0};
        const gka_status status = gka_golden_spec_read(spec, text, &error);
        if (status != GKA_OK)
            (void)gka_fail(&line, status, "%s: %s", path, error.text);
        code = cli_outcome(c, status, &line);
    }
    gka_free(text);
    return code;
}

/* With an input file, what makes tensors up is a mistake. */
static bool makes_up(const char *name) {
    return strcmp(name, "outputs") != 0 && strcmp(name, "oracle") != 0 &&
           strcmp(name, "emulate") != 0 && strcmp(name, "lo") != 0 && strcmp(name, "stage") != 0 &&
           strcmp(name, "given") != 0 && strcmp(name, "serving") != 0 &&
           strcmp(name, "prefill") != 0 && strcmp(name, "h-type") != 0 &&
           strcmp(name, "u-type") != 0;
}

static int set_key(cli *c, const request *r, gka_golden_spec *spec, const char *option,
                   const char *key, const char *text) {
    if (r->input != NULL && makes_up(key))
        return cli_fail(c, "--%s is for inputs that are made up, not for the file %.200s", option,
                        r->input);
    gka_error error = {0};
    const gka_status status = gka_golden_spec_set(spec, key, text, &error);
    return status == GKA_OK ? CLI_GOOD : cli_report(c, &error);
}

/* Whether an option that is a key of the spec is given. */
static bool given(const request *r, const char *key) {
    for (int i = 0; i < KEYS; i++)
        if (strcmp(keys[i].name, key) == 0)
            return r->text[i] != NULL;
    return false;
}

static int build_spec(cli *c, const request *r, gka_golden_spec *spec) {
    gka_golden_spec_start(spec);
    static const char *const of_plain[] = {"gate", "gated", "ungated", "alpha", "no-alpha", NULL};
    if (cli_given(c, "plain") && cli_refuse(c, "with --plain, which says it", of_plain) != CLI_GOOD)
        return CLI_USAGE;
    if (cli_given(c, "gate") + cli_given(c, "gated") + cli_given(c, "ungated") > 1)
        return cli_fail(c, "--gate, --gated and --ungated say one thing: one of them was expected");
    if (cli_given(c, "alpha") && cli_given(c, "no-alpha"))
        return cli_fail(c, "--alpha and --no-alpha: one of them was expected");
    if (given(r, "T") && given(r, "lengths"))
        return cli_fail(c, "--T has no meaning with --lengths, whose sum it is");
    int code = r->spec == NULL ? CLI_GOOD : read_spec(c, r->spec, spec);
    for (int i = 0; i < FLAGS && code == CLI_GOOD; i++)
        if (r->flag[i])
            code = set_key(c, r, spec, flags[i].name, flags[i].key, flags[i].text);
    for (int i = 0; i < KEYS && code == CLI_GOOD; i++)
        if (r->text[i] != NULL)
            code = set_key(c, r, spec, keys[i].name, keys[i].name, r->text[i]);
    if (code == CLI_GOOD && given(r, "pairs") && spec->generator.keys != GKA_KEYS_RECALL)
        return cli_fail(c, "--pairs has no meaning but with --problem=recall");
    return code;
}

static int generate(cli *c, const request *r, const gka_golden_spec *spec) {
    gka_file *inputs = NULL;
    int code = r->input == NULL ? CLI_GOOD : cli_open(c, r->input, &inputs);
    if (code == CLI_GOOD) {
        cli_progress bar;
        const gka_progress progress = cli_progress_start(&bar, c, r->output);
        gka_error error = {0};
        const gka_status status = gka_golden_generate(spec, inputs, r->output, &progress, &error);
        cli_progress_end(&bar);
        code = cli_outcome(c, status, &error);
        gka_file_close(inputs);
    }
    return code;
}

/* Says of a case whatever is not as the index has it; that a new one is missing goes without
 * saying where a bar is shown.
 */
static void tell_state(void *context, const char *name, gka_suite_state state) {
    if (state != GKA_SUITE_KEPT && state != GKA_SUITE_MISSING)
        fprintf(((cli *)context)->out, "%s: %s: made anew\n", name, gka_suite_state_text(state));
}

static void tell_each(void *context, const char *name, gka_suite_state state) {
    FILE *const out = ((cli *)context)->out;
    tell_state(context, name, state);
    if (state == GKA_SUITE_MISSING)
        fprintf(out, "%s: being made\n", name);
    (void)fflush(out);
}

static void tell_examined(void *context, const char *name, gka_suite_state state) {
    if (state != GKA_SUITE_KEPT)
        fprintf(((cli *)context)->out, "%s: %s\n", name, gka_suite_state_text(state));
}

/* --check: what --suite would make anew, and nothing is written. */
static int check_suite(cli *c, const request *r, gka_suite_report *report) {
    gka_error error = {0};
    report->tell = tell_examined;
    const int code = cli_outcome(c, gka_suite_examine(r->suite, r->output, report, &error), &error);
    if (code != CLI_GOOD)
        return code;
    if (report->made > 0)
        return cli_fail(c, "%s: %zu of %zu goldens are not as the index has them", r->output,
                        report->made, report->made + report->kept);
    fprintf(c->out, "%s: all %zu goldens are as the index has them\n", r->output, report->kept);
    return CLI_GOOD;
}

/* The first option given that says what a golden is to hold; NULL: none. */
static const char *says(const request *r) {
    for (int i = 0; i < KEYS; i++)
        if (r->text[i] != NULL)
            return keys[i].name;
    for (int i = 0; i < FLAGS; i++)
        if (r->flag[i])
            return flags[i].name;
    return r->spec != NULL ? "spec" : r->input != NULL ? "input" : NULL;
}

/* A suite says all keys itself. */
static int make_suite(cli *c, const request *r) {
    if (says(r) != NULL)
        return cli_fail(c, "--%s has no meaning with --suite", says(r));
    gka_suite_report report = {.context = c};
    gka_error error = {0};
    if (r->check)
        return check_suite(c, r, &report);
    cli_progress bar;
    const gka_progress progress = cli_progress_start(&bar, c, r->output);
    report.tell = progress.report == NULL ? tell_each : tell_state;
    static char words[400];
    (void)snprintf(words, sizeof words,
                   "gka golden: interrupted; what %.200s/index.json has is kept, and the same "
                   "command goes on\n",
                   r->output);
    cli_last_words = words;
    const gka_status status = gka_suite_generate(r->suite, r->output, &progress, &report, &error);
    cli_last_words = NULL;
    cli_progress_end(&bar);
    const int code = cli_outcome(c, status, &error);
    if (code == CLI_GOOD)
        cli_say(c->out, "%s: %zu goldens made, %zu kept\n", r->output, report.made, report.kept);
    return code;
}

/* The old spellings of gka show and gka audit. */
static int look_at(cli *c, const request *r, const char *shown, const cli_audit_request *audit) {
    const char *const needless = says(r) != NULL    ? says(r)
                                 : r->suite != NULL ? "suite"
                                 : shown == NULL    ? NULL
                                 : audit->path      ? "audit"
                                 : audit->write     ? "write"
                                 : audit->json      ? "json"
                                 : r->output        ? "output"
                                                    : NULL;
    if (needless != NULL)
        return cli_fail(c, "--%s has no meaning with --%s", needless, shown ? "show" : "audit");
    return shown != NULL ? cli_show_golden(c, shown) : cli_audit_golden(c, audit);
}

int cli_golden(cli *c) {
    request r = {0};
    cli_audit_request audit = {0};
    cli_option options[KEYS + FLAGS + 10];
    const char *shown = NULL;
    int n = 0, code;
    options[n++] =
        (cli_option){"output",        'o',
                     CLI_OUT,         &r.output,
                     .value = "FILE", .help = "the golden (or a suite's folder) to write"};
    options[n++] =
        (cli_option){"suite",         0,
                     CLI_TEXT,        &r.suite,
                     .value = "NAME", .help = "a folder of goldens: quick, kernel or edge"};
    options[n++] = (cli_option){"check", 0, CLI_FLAG, &r.check,
                                .help = "with --suite: tell what is not as its index has it, and "
                                        "write nothing"};
    options[n++] =
        (cli_option){"spec", 0, CLI_IN, &r.spec, .value = "FILE", .help = "keys as a JSON object"};
    options[n++] =
        (cli_option){"input", 0, CLI_IN, &r.input, .value = "FILE", .help = "inputs of one's own"};
    for (int i = 0; i < KEYS; i++)
        options[n++] = (cli_option){
            keys[i].name, 0, CLI_TEXT, &r.text[i], .value = keys[i].value, .help = keys[i].help};
    for (int i = 0; i < FLAGS; i++)
        options[n++] = (cli_option){flags[i].name, 0, CLI_FLAG, &r.flag[i], .help = flags[i].help};
    options[n++] = (cli_option){
        "audit",
        0,
        CLI_IN,
        &audit.path,
        .value = "GOLDEN",
        .help = "right kernels and known mistakes judged by it, or by a suite's folder"};
    options[n++] =
        (cli_option){"write",           0,
                     CLI_TEXT,          &audit.write,
                     .value = "MEMBER", .help = "with --audit: its tensors, as a candidate, to -o"};
    options[n++] =
        (cli_option){"json",          0,
                     CLI_OUT,         &audit.json,
                     .value = "FILE", .help = "with --audit: the report as JSON, - for stdout"};
    options[n++] = (cli_option){"show",
                                0,
                                CLI_IN,
                                &shown,
                                .value = "GOLDEN",
                                .help = "print what it holds and where its tolerances come from"};
    options[n] = (cli_option){.kind = CLI_END};
    const cli_help help = {.notes = notes, .least = 0, .most = 0};
    if (!cli_parse(c, &help, options, &code))
        return code;
    audit.output = r.output;
    if (shown != NULL || audit.path != NULL)
        return look_at(c, &r, shown, &audit);
    if (audit.write != NULL || audit.json != NULL)
        return cli_fail(c, "--%s needs --audit=GOLDEN", audit.write != NULL ? "write" : "json");
    if (r.output == NULL)
        return cli_fail(c, "expected -o FILE; `gka golden --help` says more");
    if (r.suite != NULL)
        return make_suite(c, &r);
    if (r.check)
        return cli_fail(c, "--check has no meaning without --suite");
    gka_golden_spec spec;
    code = build_spec(c, &r, &spec);
    return code == CLI_GOOD ? generate(c, &r, &spec) : code;
}
