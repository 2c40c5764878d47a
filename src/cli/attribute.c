/* attribute.c - gka attribute: what each rounding of the released kernels, or of repaired ones,
 * costs. */
#include "cli/json.h"
#include "cli/problem.h"
#include "gka/judge.h"

#include <math.h>
#include <string.h>

static const char notes[] =
    "Each named rounding of the released kernels is switched on alone in exact arithmetic (only),\n"
    "and off alone in the released arithmetic (without); the errors are ||out - steps||/||steps||\n"
    "over the tensor, steps the same r Chebyshev steps in binary64. Sorted by the error of x with\n"
    "that rounding only. --gradients adds dk of the solve (needs dx) and dalpha of the layer\n"
    "(needs do). NaN as a result is shown as such. The last line names, for each output, the\n"
    "rounding whose error alone is largest, and its share of the error of all.\n"
    "\n"
    "--set changes the arithmetic that is called released: POINT=exact, or a repair: form=,\n"
    "operand=bf16|split|tf32|fp16, store=1|2, handoff=1|2, margin=M, num_iter=N,\n"
    "KERNEL.num_warps=W\n"
    "(gka verify --help).\n"
    "\n"
    "JSON: {file, form, reference, points: [{point, text, only: {fro, x, o, ...}, without: "
    "{...}}],\n"
    "released: {...}}; NaN and Inf are strings.\n";

enum { FRO, X, O, DK, DALPHA, COLUMNS };
static const char *const column_names[COLUMNS] = {"fro", "x", "o", "solve.dk", "layer.dalpha"};

/* The errors of one run as JSON: of point i alone or left out, or (i < 0) all as released. */
static json_t *errors_json(const gka_attribution *a, int i, bool only, bool *good) {
    json_t *const object = json_object();
    for (int o = 0; o < COLUMNS; o++) {
        const double error = i < 0 ? a[o].released : only ? a[o].only[i] : a[o].without[i];
        if (a[o].defined)
            *good &= json_object_set_new(object, column_names[o], cli_json_real(error)) == 0;
    }
    return object;
}

static const char *const short_names[COLUMNS] = {"f", "x", "o", "dk", "dalpha"};

/* Errors of each point alone, of all but that point, or both side by side. */
static gka_status print(cli *c, const gka_attribution *a, const int *order, bool alone,
                        bool without) {
    static const char *const of[2][COLUMNS] = {
        {"f only", "x only", "o only", "dk only", "dalpha only"},
        {"f without", "x without", "o without", "dk without", "dalpha without"}};
    const char *headings[2 * COLUMNS + 1] = {"<rounding"};
    int columns = 1;
    for (int half = alone ? 0 : 1; half < (without ? 2 : 1); half++)
        for (int o = 0; o < COLUMNS; o++)
            if (a[o].defined)
                headings[columns++] = of[half][o];
    cli_table table;
    cli_table_start(&table, headings, columns);
    for (int i = 0; i < GKA_POINT_COUNT; i++) {
        cli_cell(&table, "%s", gka_point_name((gka_point)order[i]));
        for (int o = 0; alone && o < COLUMNS; o++)
            if (a[o].defined)
                cli_cell_real(&table, a[o].only[order[i]]);
        for (int o = 0; without && o < COLUMNS; o++)
            if (a[o].defined)
                cli_cell_real(&table, a[o].without[order[i]]);
    }
    cli_cell(&table, "(all as released)");
    for (int o = 0; alone && o < COLUMNS; o++)
        if (a[o].defined && without)
            cli_cell(&table, "-");
        else if (a[o].defined)
            cli_cell_real(&table, a[o].released);
    for (int o = 0; without && o < COLUMNS; o++)
        if (a[o].defined)
            cli_cell_real(&table, a[o].released);
    return cli_table_print(&table, c->out);
}

/* Both halves fit into 100 columns for three outputs. */
static gka_status print_all(cli *c, const gka_attribution *a, const int *order) {
    int outputs = 0;
    for (int o = 0; o < COLUMNS; o++)
        outputs += a[o].defined;
    if (outputs <= 3)
        return print(c, a, order, true, true);
    gka_status status = print(c, a, order, true, false);
    fputc('\n', c->out);
    return status == GKA_OK ? print(c, a, order, false, true) : status;
}

/* The point whose error alone is largest for output o. */
static int worst_of(const gka_attribution *a) {
    int worst = 0;
    for (int i = 1; i < GKA_POINT_COUNT; i++)
        if (a->only[i] > a->only[worst])
            worst = i;
    return worst;
}

/* "norm_reduce alone makes 99 % of f; operand_x alone makes 87 % of x, 97 % of o": who is to blame
 * for each output, and for what share of the error of all. */
static void blame(cli *c, const gka_attribution *a) {
    bool some = false;
    for (int i = 0; i < GKA_POINT_COUNT; i++) {
        bool named = false;
        for (int o = 0; o < COLUMNS; o++) {
            const double share = a[o].defined ? a[o].only[i] / a[o].released : 0;
            if (!(share > 0) || worst_of(&a[o]) != i)
                continue;
            if (!named)
                fprintf(c->out, "%s%s alone makes", some ? "; " : "\n",
                        gka_point_name((gka_point)i));
            fprintf(c->out, "%s %.0f %% of %s", named ? "," : "", 100 * share, short_names[o]);
            named = some = true;
        }
    }
    if (some)
        fputc('\n', c->out);
}

/* Each point with its sentence. */
static void explain(cli *c, const int *order) {
    fputc('\n', c->out);
    for (int i = 0; i < GKA_POINT_COUNT; i++)
        fprintf(c->out, "%-16s %s\n", gka_point_name((gka_point)order[i]),
                gka_point_text((gka_point)order[i]));
}

/* Points by the error of x that they make alone, largest first; NaN first of all. */
static void sort(int *order, const gka_attribution *x) {
    for (int i = 0; i < GKA_POINT_COUNT; i++) {
        int j = i;
        for (; j > 0; j--) {
            const double before = x->only[order[j - 1]], now = x->only[i];
            if (isnan(before) || (!isnan(now) && !(now > before)))
                break;
            order[j] = order[j - 1];
        }
        order[j] = i;
    }
}

static int write_json(cli *c, cli_json *json, const char *path, const char *form,
                      const gka_attribution *a, const int *order) {
    bool good = true;
    json_t *const root = json_object(), *const points = json_array();
    good &= json_object_set_new(root, "file", cli_json_text(path)) == 0;
    good &= json_object_set_new(root, "form", cli_json_text(form)) == 0;
    good &= json_object_set_new(root, "reference", cli_json_text("steps")) == 0;
    for (int i = 0; i < GKA_POINT_COUNT; i++) {
        const gka_point point = (gka_point)order[i];
        json_t *const row = json_object();
        good &= json_object_set_new(row, "point", cli_json_text(gka_point_name(point))) == 0;
        good &= json_object_set_new(row, "text", cli_json_text(gka_point_text(point))) == 0;
        good &= json_object_set_new(row, "only", errors_json(a, order[i], true, &good)) == 0;
        good &= json_object_set_new(row, "without", errors_json(a, order[i], false, &good)) == 0;
        good &= json_array_append_new(points, row) == 0;
    }
    good &= json_object_set_new(root, "points", points) == 0;
    good &= json_object_set_new(root, "released", errors_json(a, -1, false, &good)) == 0;
    return cli_json_close(c, json, root, good);
}

/* `profile`: the kernels with their repairs. */
static int attribute(cli *c, const gka_problem *p, const char *path, const gka_profile *profile,
                     bool gradients, bool explained, cli_json *json) {
    gka_error error = {0};
    const char *const form = gka_form_name(profile->form);
    const int steps = profile->num_iter > 0 ? profile->num_iter : p->num_iter;
    gka_attribution a[COLUMNS] = {0};
    int order[GKA_POINT_COUNT];
    cli_progress bar;
    const gka_progress progress = cli_progress_start(&bar, c, path);
    const gka_status status =
        gka_attribute(p, profile, column_names, gradients ? COLUMNS : DK, &progress, a, &error);
    cli_progress_end(&bar);
    if (status != GKA_OK)
        return cli_report(c, &error);
    sort(order, &a[X]);
    if (!cli_json_takes_stdout(json)) {
        cli_say(c->out, "%s: %s form, errors against %d exact steps\n\n", path, form, steps);
        if (print_all(c, a, order) != GKA_OK)
            return cli_out_of_memory(c);
        if (explained)
            explain(c, order);
        blame(c, a);
    }
    return json->path ? write_json(c, json, path, form, a, order) : CLI_GOOD;
}

int cli_attribute(cli *c) {
    static const cli_help help = {.operands = "[FILE]", .notes = notes, .least = 0, .most = 1};
    int form = GKA_THREE_TERM, code;
    bool gradients = false, explained = false;
    const char *path = NULL;
    cli_texts settings = {0};
    gka_kernel kernel;
    cli_problem p;
    cli_problem_start(&p);
    const cli_option options[] = {
        {.name = "form",
         .kind = CLI_CHOICE,
         .target = &form,
         .value = "FORM",
         .choices = CLI_FORMS,
         .help = "which form of the iteration: three-term (default), two-term, cg, cg-consistent"},
        {.name = "set",
         .kind = CLI_TEXTS,
         .target = &settings,
         .value = "SETTING",
         .help = "leave a rounding out of the released arithmetic, or repair it (below); may be "
                 "repeated"},
        {.name = "gradients",
         .kind = CLI_FLAG,
         .target = &gradients,
         .help = "also the errors of solve.dk and layer.dalpha"},
        {.name = "explain",
         .kind = CLI_FLAG,
         .target = &explained,
         .help = "what each rounding is, in a sentence"},
        {.name = "json",
         .kind = CLI_TEXT,
         .target = &path,
         .value = "OUT",
         .help = "the figures as JSON; - is standard output"},
        {.kind = CLI_GROUP, .group = p.options, .help = "Problem, without FILE:"},
        {.kind = CLI_END}};
    if (!cli_parse(c, &help, options, &code))
        return code;
    if (explained && path != NULL && strcmp(path, "-") == 0)
        return cli_fail(c, "--explain has no meaning with --json=-, which has every sentence");
    const char *const file = c->operand_count > 0 ? c->operands[0] : NULL;
    cli_json json = {0};
    code = cli_kernel(c, "h100", form, &settings, &kernel);
    if (code == CLI_GOOD && (kernel.decode || kernel.serving))
        code = cli_fail(c, "--set=%s: the chunk kernels are what is attributed",
                        kernel.decode ? "decode" : "serving");
    if (code == CLI_GOOD)
        code = cli_json_open(c, path, &json);
    if (code == CLI_GOOD)
        code = cli_problem_open(c, &p, file);
    if (code == CLI_GOOD)
        code = attribute(c, &p.problem, file == NULL ? "made up" : file, &kernel.profile, gradients,
                         explained, &json);
    cli_json_abandon(&json);
    cli_problem_close(&p);
    return code;
}
