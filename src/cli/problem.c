/* problem.c - the problem a command works on. */
#include "cli/problem.h"

#include <fnmatch.h>
#include <math.h>
#include <string.h>

/* The words of the choices stand in the order of the library's enums. */
static const char keys[] = "iid|powerlaw|lowrank|repeat|recall|mean|convsilu|aligned";
static const char gates[] = "none|slow|released|strong|init";
static const char layouts[] = "bthd|bhtd";
static const char normalises[] = "none|unit|rounded";
static const char casts[] = "fp64|fp32|bf16|fp16";
static const gka_dtype cast_types[] = {GKA_F64, GKA_F32, GKA_BF16, GKA_F16};
static const char dtypes[] = "F64|F32|BF16|F16|F8_E4M3|F8_E5M2";

static const char *const extent_names[] = {"B", "T", "H", "G", "D", "V"};
static const char *const extent_help[] = {
    "B (1)",   "T (256)",       "H, query heads (1)", "key/value heads, a divisor of H (H)",
    "D (128)", "V, 0: no v (D)"};
enum { EXTENTS = 6, LARGEST = 1 << 30 };

/* What the layer does to projections. */
static void start_preparing(cli_problem *p) {
    cli_option *o = p->preparing;
    *o++ = (cli_option){"layout",
                        0,
                        CLI_CHOICE,
                        &p->layout,
                        .choices = layouts,
                        .help = "axes of its token tensors; [T,H,D] or "
                                "[H,T,D], and [T,D], too (bthd)"};
    *o++ = (cli_option){"conv",
                        0,
                        CLI_CHOICE,
                        &p->conv,
                        .choices = "silu",
                        .help = "the layer's convolution of 4, drawn, and SiLU"};
    *o++ = (cli_option){"normalise",
                        0,
                        CLI_CHOICE,
                        &p->normalise,
                        .choices = normalises,
                        .help = "q and k to length 1 (unit), or rounded as well; alone: unit",
                        .bare = "unit"};
    *o++ = (cli_option){"beta", 0, CLI_FLAG, &p->beta, .help = "draw beta, for k and v"};
    *o++ = (cli_option){"alpha", 0, CLI_FLAG, &p->alpha, .help = "draw alpha"};
    *o++ = (cli_option){"cotangents", 0, CLI_FLAG, &p->cotangents, .help = "draw do and dx"};
    *o++ = (cli_option){"cast",           0,
                        CLI_CHOICE,       &p->cast,
                        .choices = casts, .help = "round q k v alpha beta do dx to this type"};
    *o++ = (cli_option){"fold", 0, CLI_FLAG, &p->fold,
                        .help = "beta and normalise multiplied into q, k, v, in their type"};
    *o = (cli_option){.kind = CLI_END};
}

/* A number from 0 on. */
static cli_option real(const char *name, double *value, const char *letter, const char *help) {
    return (cli_option){name, 0, CLI_REAL, value, .value = letter, .help = help, .high = INFINITY};
}

void cli_problem_start(cli_problem *p) {
    *p = (cli_problem){.otherwise = GKA_KEYS_MEAN,
                       .keys = -1,
                       .gate = -1,
                       .dtype = -1,
                       .extents = {-1, -1, -1, -1, -1, -1},
                       .pairs = -1,
                       .seed = -1,
                       .num_iter = -1,
                       .chunk_size = -1,
                       .layout = -1,
                       .cast = -1,
                       .normalise = -1,
                       .conv = -1,
                       .ridge_ratio = NAN,
                       .lambda = NAN,
                       .scale = NAN};
    cli_option *o = p->options;
    *o++ = (cli_option){
        "problem",
        0,
        CLI_CHOICE,
        &p->keys,
        .value = "KEYS",
        .choices = keys,
        .help = "iid, powerlaw, lowrank, repeat, recall, mean, convsilu or aligned (mean)"};
    *o++ = (cli_option){
        "gate",
        0,
        CLI_CHOICE,
        &p->gate,
        .value = "GATE",
        .choices = gates,
        .help =
            "forgetting gates: none, slow, released, strong or init (released); with FILE drawn "
            "in the place of its own"};
    for (int i = 0; i < EXTENTS; i++)
        *o++ = (cli_option){
            extent_names[i], 0, CLI_INT, &p->extents[i], .value = "N", .help = extent_help[i],
            .high = LARGEST};
    *o++ = (cli_option){"dtype",
                        0,
                        CLI_CHOICE,
                        &p->dtype,
                        .value = "TYPE",
                        .choices = dtypes,
                        .help =
                            "of q k v alpha do dx: F64, F32, BF16, F16, F8_E4M3 or F8_E5M2 (BF16)"};
    *o++ = (cli_option){"pairs",        0,
                        CLI_INT,        &p->pairs,
                        .value = "N",   .help = "recall: tokens that store a pair (T/2)",
                        .high = LARGEST};
    *o++ = (cli_option){"plain", 0, CLI_FLAG, &p->plain, .help = "no beta, no alpha, no gate"};
    *o++ = (cli_option){"no-alpha", 0, CLI_FLAG, &p->no_alpha, .help = "alpha = 1"};
    *o++ = (cli_option){"h0", 0, CLI_FLAG, &p->h0, .help = "initial states"};
    *o++ = (cli_option){
        "seed", 0, CLI_INT, &p->seed, .value = "N", .help = "which draws (1)", .high = 0x1p53};
    *o++ = real("ridge", &p->ridge_ratio, "A", "a (0.02, or the file's)");
    *o++ = real("lambda", &p->lambda, "X", "a constant ridge, as MesaNet's (0, or the file's)");
    *o++ = (cli_option){"iters",      0,
                        CLI_INT,      &p->num_iter,
                        .value = "R", .help = "iterations (30, or the file's)",
                        .low = 1,     .high = GKA_MAX_ITERATIONS};
    *o++ = (cli_option){"chunk",      0,
                        CLI_INT,      &p->chunk_size,
                        .value = "C", .help = "C (64, or the file's)",
                        .low = 1,     .high = LARGEST};
    *o++ = (cli_option){
        "scale", 0, CLI_REAL, &p->scale, .value = "S", .help = "s (1/sqrt(D), or the file's)"};
    *o++ = (cli_option){.kind = CLI_GROUP,
                        .group = p->preparing,
                        .help = "Projections made into a problem, with FILE or FILE:PATTERN:"};
    *o = (cli_option){.kind = CLI_END};
    start_preparing(p);
}

static bool draws(const cli_problem *p) {
    return p->conv >= 0 || p->beta || p->alpha || p->gate > GKA_GATE_NONE || p->cotangents;
}

bool cli_problem_prepared(const cli_problem *p) {
    return draws(p) || p->gate >= 0 || p->layout >= 0 || p->normalise >= 0 || p->cast >= 0 ||
           p->fold;
}

/* The name of an option that a file answers, given all the same; NULL: none. */
static const char *needless(const cli_problem *p) {
    const struct {
        bool given;
        const char *name;
    } options[] = {{p->keys >= 0, "problem"},          {p->dtype >= 0, "dtype"},
                   {p->pairs >= 0, "pairs"},           {p->plain, "plain"},
                   {p->no_alpha, "no-alpha"},          {p->h0, "h0"},
                   {p->seed >= 0 && !draws(p), "seed"}};
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
    static const char *const of_plain[] = {"gate", "no-alpha", NULL};
    if (p->plain && cli_refuse(c, "with --plain, which says it", of_plain) != CLI_GOOD)
        return CLI_USAGE;
    if (p->pairs >= 0 && p->keys != GKA_KEYS_RECALL)
        return cli_fail(c, "--pairs has no meaning but with --problem=recall");
    const int64_t H = given(p->extents[2], 1), T = given(p->extents[1], 256),
                  D = given(p->extents[4], 128);
    const gka_generator generator = {
        .keys = (gka_keys)given(p->keys, p->otherwise),
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

static int check_made_up(cli *c, const cli_problem *p) {
    const struct {
        bool given;
        const char *name;
    } options[] = {{p->layout >= 0, "layout"},       {p->conv >= 0, "conv"}, {p->beta, "beta"},
                   {p->normalise >= 0, "normalise"}, {p->alpha, "alpha"},    {p->cast >= 0, "cast"},
                   {p->cotangents, "cotangents"},    {p->fold, "fold"}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (options[i].given)
            return cli_fail(c, "--%s: a FILE was expected with it", options[i].name);
    return CLI_GOOD;
}

/* The parameters given in place of the file's, or of the defaults. */
static int set_parameters(cli *c, cli_problem *p, const char *path) {
    gka_problem *const q = &p->problem;
    if (!isnan(p->ridge_ratio))
        q->ridge_ratio = p->ridge_ratio;
    if (!isnan(p->lambda))
        q->lambda = p->lambda;
    if (!isnan(p->scale))
        q->scale = p->scale;
    q->num_iter = (int)given(p->num_iter, q->num_iter);
    q->chunk_size = given(p->chunk_size, q->chunk_size);
    gka_error error = {0};
    const gka_status status = gka_problem_check(q, path, &error);
    return status == GKA_OK ? CLI_GOOD : cli_report(c, &error);
}

/* ---- what an operand names ----------------------------------------------------------------- */

/* FILE or FILE:PATTERN; the longest FILE that is there. pattern: NULL, or within operand. */
static const char *pattern_of(const char *operand, char path[1024]) {
    (void)snprintf(path, 1024, "%s", operand);
    const bool there = cli_cut_to_file(path);
    const char *const rest = operand + strlen(path);
    return there && *rest == ':' ? rest + 1 : NULL;
}

/* Whether tensor i's name is Pk of a prefix P that the pattern matches, with a Pq. */
static bool is_prefix(const gka_file *file, const char *name, const char *pattern,
                      char prefix[256]) {
    const size_t length = strlen(name);
    if (length < 1 || length > 255 || name[length - 1] != 'k')
        return false;
    memcpy(prefix, name, length + 1);
    prefix[length - 1] = 'q';
    const bool both = gka_file_find(file, prefix) != NULL;
    prefix[length - 1] = '\0';
    return both && fnmatch(pattern, prefix, 0) == 0;
}

/* The problem of the selection, prepared as the options say. */
static int take(cli *c, cli_problem *p, const gka_selection *selection) {
    gka_error error = {0};
    gka_problem source = {0};
    int code = cli_outcome(c, gka_problem_select(p->file, selection, &source, &p->defaults, &error),
                           &error);
    if (code != CLI_GOOD)
        return code;
    gka_status status = GKA_OK;
    const gka_preparation how = {.conv = p->conv >= 0,
                                 .normalise = p->normalise,
                                 .beta = p->beta,
                                 .alpha = p->alpha,
                                 .gate = p->gate,
                                 .cotangents = p->cotangents,
                                 .fold = p->fold,
                                 .dtype = p->cast >= 0 ? (int)cast_types[p->cast] : -1,
                                 .seed = (uint64_t)given(p->seed, 1)};
    if (p->fold && gka_problem_is_folded(&source) && p->normalise <= 0 && !p->beta) {
        code = cli_fail(c, "%s: --fold: there is neither a beta nor a normalise to fold", p->label);
    } else if (cli_problem_prepared(p)) {
        status = gka_problem_prepare(&source, &how, &p->problem, &error);
        gka_problem_free(&source);
    } else {
        p->problem = source;
        source = (gka_problem){0};
    }
    if (status == GKA_OK && code == CLI_GOOD && !p->as_it_is &&
        !gka_problem_is_folded(&p->problem)) {
        gka_problem folded;
        status = gka_problem_fold(&p->problem, p->cast >= 0 ? cast_types[p->cast] : GKA_F64,
                                  &folded, &error);
        gka_problem_free(&p->problem);
        p->problem = folded;
    }
    gka_problem_free(&source);
    if (status != GKA_OK)
        code =
            cli_fail(c, "%s: %s", p->label, error.text) == CLI_USAGE && status == GKA_OUT_OF_MEMORY
                ? CLI_INTERNAL
                : CLI_USAGE;
    return code == CLI_GOOD ? set_parameters(c, p, p->label) : code;
}

static int visit_one(cli *c, cli_problem *p, const gka_selection *selection,
                     cli_problem_visit *visit, void *context) {
    int code = take(c, p, selection);
    if (code == CLI_GOOD)
        code = visit(c, p, context);
    gka_problem_free(&p->problem);
    return code;
}

/* Every problem that the pattern names. */
static int visit_matches(cli *c, cli_problem *p, const char *path, const char *pattern,
                         cli_problem_visit *visit, void *context) {
    const size_t count = gka_file_count(p->file);
    bool some = false;
    for (int alone = 0; alone < 2 && !some; alone++)
        for (size_t i = 0; i < count; i++) {
            char prefix[256];
            const char *const name = gka_file_tensor(p->file, i)->name;
            if (alone ? fnmatch(pattern, name, 0) != 0 : !is_prefix(p->file, name, pattern, prefix))
                continue;
            some = true;
            (void)snprintf(p->label, sizeof p->label, "%.200s:%.100s", path, alone ? name : prefix);
            const gka_selection selection = {.prefix = alone ? NULL : prefix,
                                             .keys = alone ? name : NULL,
                                             .heads_first = p->layout == 1};
            const int code = visit_one(c, p, &selection, visit, context);
            if (code != CLI_GOOD)
                return code;
        }
    return some ? CLI_GOOD
                : cli_fail(c, "%.200s: no tensor, and no pair of tensors q and k, matches '%.100s'",
                           path, pattern);
}

int cli_problem_each(cli *c, cli_problem *p, const char *operand, cli_problem_visit *visit,
                     void *context) {
    if (operand == NULL) {
        (void)snprintf(p->label, sizeof p->label, "made up");
        int code = check_made_up(c, p);
        if (code == CLI_GOOD)
            code = make_up(c, p);
        if (code == CLI_GOOD)
            code = set_parameters(c, p, NULL);
        if (code == CLI_GOOD)
            code = visit(c, p, context);
        if (!p->keep)
            cli_problem_close(p);
        return code;
    }
    const char *const name = needless(p);
    if (name != NULL)
        return cli_fail(c, "--%s is for a problem that is made up, not for the file %.200s", name,
                        operand);
    char path[1024];
    const char *const pattern = pattern_of(operand, path);
    (void)snprintf(p->label, sizeof p->label, "%.300s", operand);
    int code = cli_open(c, path, &p->file);
    if (code != CLI_GOOD) {
        p->file = NULL;
        return code;
    }
    const gka_selection whole = {.heads_first = p->layout == 1};
    code = pattern != NULL
               ? visit_matches(c, p, path, pattern, visit, context)
               : visit_one(c, p, cli_problem_prepared(p) ? &whole : NULL, visit, context);
    if (!p->keep)
        cli_problem_close(p);
    return code;
}

/* Keeps what the visit sees: it is closed by the caller. */
static int keep_it(cli *c, cli_problem *p, void *context) {
    gka_problem *const kept = context;
    if (p->keep)
        return cli_fail(c, "%s: that is a second problem; one was expected%s", p->label,
                        p->several == NULL ? "" : p->several);
    *kept = p->problem;
    p->problem = (gka_problem){0};
    p->keep = true;
    return CLI_GOOD;
}

int cli_problem_open(cli *c, cli_problem *p, const char *operand) {
    gka_problem kept = {0};
    p->keep = false;
    const int code = cli_problem_each(c, p, operand, keep_it, &kept);
    p->keep = false;
    gka_problem_free(&p->problem);
    p->problem = kept;
    if (code != CLI_GOOD)
        cli_problem_close(p);
    return code;
}

bool cli_problem_given(const cli_problem *p) {
    return needless(p) != NULL || p->seed >= 0 || cli_problem_prepared(p) || cli_problem_changed(p);
}

bool cli_problem_changed(const cli_problem *p) {
    return !isnan(p->ridge_ratio) || !isnan(p->lambda) || !isnan(p->scale) || p->num_iter >= 0 ||
           p->chunk_size >= 0;
}

void cli_problem_close(cli_problem *p) {
    gka_problem_free(&p->problem);
    if (p->file != NULL)
        gka_file_close(p->file);
    p->file = NULL;
}

const char *cli_ridge(const gka_problem *p, char text[80]) {
    const int n = snprintf(text, 80, "ridge_ratio %g", p->ridge_ratio);
    if (p->lambda > 0)
        (void)snprintf(text + n, (size_t)(80 - n), ", lambda %g", p->lambda);
    return text;
}

bool cli_layout_in_doubt(const gka_problem *p, char line[96]) {
    (void)snprintf(line, 96, "T %lld is less than H %lld: the axes are read as [B,T,H,..]",
                   (long long)p->T, (long long)p->H);
    return p->T > 1 && p->T < p->H && p->G == p->H && p->cu_seqlens == NULL;
}

void cli_tell_layout(cli *c, const gka_problem *p) {
    char line[96];
    if (cli_layout_in_doubt(p, line))
        fprintf(c->out, "note: %s\n", line);
}
