/* problem.c - the problem a command works on. */
#include "cli/problem.h"

#include <math.h>

/* The words of the choices stand in the order of the library's enums. */
static const char keys[] = "iid|powerlaw|lowrank|repeat|recall|mean|convsilu|aligned";
static const char gates[] = "none|slow|released|strong|init";
static const char dtypes[] = "F64|F32|BF16|F16|F8_E4M3|F8_E5M2";

static const char *const extent_names[] = {"B", "T", "H", "G", "D", "V"};
static const char *const extent_help[] = {
    "B (1)",   "T (256)",       "H, query heads (1)", "key/value heads, a divisor of H (H)",
    "D (128)", "V, 0: no v (D)"};
enum { EXTENTS = 6, LARGEST = 1 << 30 };

void cli_problem_start(cli_problem *p) {
    *p = (cli_problem){.keys = -1,
                       .gate = -1,
                       .dtype = -1,
                       .extents = {-1, -1, -1, -1, -1, -1},
                       .pairs = -1,
                       .seed = -1,
                       .num_iter = -1,
                       .chunk_size = -1,
                       .ridge_ratio = NAN,
                       .scale = NAN};
    cli_option *o = p->options;
    *o++ = (cli_option){"problem", 0, CLI_CHOICE, &p->keys, .choices = keys, .help = "keys (iid)"};
    *o++ = (cli_option){
        "gate", 0, CLI_CHOICE, &p->gate, .choices = gates, .help = "forgetting gates (released)"};
    for (int i = 0; i < EXTENTS; i++)
        *o++ = (cli_option){
            extent_names[i], 0, CLI_INT, &p->extents[i], .value = "N", .help = extent_help[i],
            .high = LARGEST};
    *o++ = (cli_option){"dtype",           0,
                        CLI_CHOICE,        &p->dtype,
                        .choices = dtypes, .help = "of q k v alpha do dx (BF16)"};
    *o++ = (cli_option){"pairs",        0,
                        CLI_INT,        &p->pairs,
                        .value = "N",   .help = "recall: tokens that store a pair (T/2)",
                        .high = LARGEST};
    *o++ = (cli_option){"plain", 0, CLI_FLAG, &p->plain, .help = "no beta, no alpha, no gate"};
    *o++ = (cli_option){"no-alpha", 0, CLI_FLAG, &p->no_alpha, .help = "alpha = 1"};
    *o++ = (cli_option){"h0", 0, CLI_FLAG, &p->h0, .help = "initial states"};
    *o++ = (cli_option){
        "seed", 0, CLI_INT, &p->seed, .value = "N", .help = "which draws (1)", .high = 0x1p53};
    *o++ = (cli_option){"ridge",         0,
                        CLI_REAL,        &p->ridge_ratio,
                        .value = "A",    .help = "a (0.02, or the file's)",
                        .high = INFINITY};
    *o++ = (cli_option){"iters",      0,
                        CLI_INT,      &p->num_iter,
                        .value = "R", .help = "iterations (30, or the file's)",
                        .low = 1,     .high = 1000000};
    *o++ = (cli_option){"chunk",      0,
                        CLI_INT,      &p->chunk_size,
                        .value = "C", .help = "C (64, or the file's)",
                        .low = 1,     .high = LARGEST};
    *o++ = (cli_option){
        "scale", 0, CLI_REAL, &p->scale, .value = "S", .help = "s (1/sqrt(D), or the file's)"};
    *o = (cli_option){.kind = CLI_END};
}

/* The name of an option that a file answers, given all the same; NULL: none. */
static const char *needless(const cli_problem *p) {
    const struct {
        bool given;
        const char *name;
    } options[] = {{p->keys >= 0, "problem"},
                   {p->gate >= 0, "gate"},
                   {p->dtype >= 0, "dtype"},
                   {p->pairs >= 0, "pairs"},
                   {p->plain, "plain"},
                   {p->no_alpha, "no-alpha"},
                   {p->h0, "h0"},
                   {p->seed >= 0, "seed"}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (options[i].given)
            return options[i].name;
    for (int i = 0; i < EXTENTS; i++)
        if (p->extents[i] >= 0)
            return extent_names[i];
    return NULL;
}

static int64_t given(int64_t n, int64_t otherwise) {
    return n >= 0 ? n : otherwise;
}

static int make_up(cli *c, cli_problem *p) {
    const int64_t H = given(p->extents[2], 1), T = given(p->extents[1], 256),
                  D = given(p->extents[4], 128);
    const gka_generator generator = {
        .keys = (gka_keys)given(p->keys, GKA_KEYS_IID),
        .gate = (gka_gate)given(p->gate, GKA_GATE_RELEASED),
        .B = given(p->extents[0], 1),
        .T = T,
        .H = H,
        .G = given(p->extents[3], H),
        .D = D,
        .V = given(p->extents[5], D),
        .pairs = given(p->pairs, 0),
        .plain = p->plain,
        .alpha = !p->no_alpha && !p->plain,
        .h0 = p->h0,
        .cotangents = true,
        .dtype = (gka_dtype)given(p->dtype, GKA_BF16),
        .seed = (uint64_t)given(p->seed, 1),
    };
    gka_error error = {0};
    const gka_status status = gka_problem_generate(&generator, &p->problem, &error);
    return status == GKA_OK ? CLI_GOOD : cli_report(c, &error);
}

static int read_file(cli *c, cli_problem *p, const char *path) {
    const char *const name = needless(p);
    if (name != NULL)
        return cli_fail(c, "--%s is for a problem that is made up, not for the file %.200s", name,
                        path);
    const int code = cli_open(c, path, &p->file);
    if (code != CLI_GOOD) {
        p->file = NULL;
        return code;
    }
    gka_error error = {0};
    return cli_outcome(c, gka_problem_from_file(p->file, &p->problem, &p->defaults, &error),
                       &error);
}

/* The parameters given in place of the file's, or of the defaults. */
static int set_parameters(cli *c, cli_problem *p, const char *path) {
    gka_problem *const q = &p->problem;
    if (!isnan(p->ridge_ratio))
        q->ridge_ratio = p->ridge_ratio;
    if (!isnan(p->scale))
        q->scale = p->scale;
    q->num_iter = (int)given(p->num_iter, q->num_iter);
    q->chunk_size = given(p->chunk_size, q->chunk_size);
    gka_error error = {0};
    const gka_status status = gka_problem_check(q, path, &error);
    return status == GKA_OK ? CLI_GOOD : cli_report(c, &error);
}

int cli_problem_open(cli *c, cli_problem *p, const char *path) {
    int code = path == NULL ? make_up(c, p) : read_file(c, p, path);
    if (code == CLI_GOOD)
        code = set_parameters(c, p, path);
    if (code != CLI_GOOD)
        cli_problem_close(p);
    return code;
}

bool cli_problem_changed(const cli_problem *p) {
    return !isnan(p->ridge_ratio) || !isnan(p->scale) || p->num_iter >= 0 || p->chunk_size >= 0;
}

void cli_problem_close(cli_problem *p) {
    gka_problem_free(&p->problem);
    if (p->file != NULL)
        gka_file_close(p->file);
    p->file = NULL;
}
