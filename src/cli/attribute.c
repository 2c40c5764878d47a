/* attribute.c - gka attribute: what each rounding of the released kernels, or of repaired ones,
 * costs. */
#include "cli/json.h"
#include "cli/problem.h"
#include "gka/chunk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char notes[] =
    "Each named rounding of the released kernels is switched on alone in exact arithmetic (only),\n"
    "and off alone in the released arithmetic (without); the errors are ||out - steps||/||steps||\n"
    "over the tensor, steps the same r Chebyshev steps in binary64. Sorted by the error of x with\n"
    "that rounding only. --gradients adds dk of the solve (needs dx) and dalpha of the layer\n"
    "(needs do). NaN as a result is shown as such.\n"
    "\n"
    "--set changes the arithmetic that is called released: POINT=exact, or a repair: form=,\n"
    "operand=bf16|split|tf32|fp16, store=1|2, margin=M, num_iter=N (gka verify --help).\n"
    "\n"
    "JSON: {file, form, reference, points: [{point, text, only: {fro, x, o, ...}, without: "
    "{...}}],\n"
    "released: {...}}; NaN and Inf are strings.\n";

enum { FRO, X, O, DK, DALPHA, COLUMNS };
static const char *const column_names[COLUMNS] = {"fro", "x", "o", "solve.dk", "layer.dalpha"};

typedef struct tensors {
    double *data[COLUMNS];
    size_t count[COLUMNS];
} tensors;

typedef struct errors {
    double of[COLUMNS];
} errors;

static void drop(tensors *t) {
    for (int i = 0; i < COLUMNS; i++)
        gka_free(t->data[i]);
}

/* Arrays for what is wanted of the problem; false: out of memory. */
static bool take(const gka_problem *p, bool gradients, tensors *t) {
    const size_t rows = (size_t)(p->B * p->T * p->H), keys = (size_t)(p->B * p->T * p->G);
    const bool output = p->V > 0;
    *t = (tensors){.count = {rows, rows * (size_t)p->D, output ? rows * (size_t)p->V : 0,
                             gradients && p->dx.data ? keys * (size_t)p->D : 0,
                             gradients && output && p->dout.data ? rows : 0}};
    bool good = true;
    for (int i = 0; i < COLUMNS; i++)
        good &= t->count[i] == 0 || (t->data[i] = gka_alloc(t->count[i], sizeof(double))) != NULL;
    return good;
}

static gka_status run(const gka_problem *p, const gka_profile *profile, tensors *t,
                      gka_error *error) {
    gka_chunk out = {.fro = t->data[FRO], .x = t->data[X], .o = t->data[O]};
    gka_status status = gka_chunk_forward(p, profile, &out, NULL, NULL, error);
    const gka_chunk_given given = {.x = t->data[X], .fro = t->data[FRO]};
    gka_chunk dk = {.dk = t->data[DK]}, dalpha = {.dalpha = t->data[DALPHA]};
    if (status == GKA_OK && dk.dk)
        status = gka_chunk_backward(p, profile, GKA_CHUNK_SOLVE, true, &given, &dk, error);
    if (status == GKA_OK && dalpha.dalpha)
        status = gka_chunk_backward(p, profile, GKA_CHUNK_LAYER, true, &given, &dalpha, error);
    return status;
}

static double rel_err(size_t count, const double *out, const double *ref) {
    double error = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        error += (out[i] - ref[i]) * (out[i] - ref[i]);
        norm += ref[i] * ref[i];
    }
    return norm > 0 ? sqrt(error / norm) : sqrt(error);
}

static gka_status measure(const gka_problem *p, const gka_profile *profile, const tensors *steps,
                          tensors *out, errors *e, gka_error *error) {
    const gka_status status = run(p, profile, out, error);
    for (int i = 0; status == GKA_OK && i < COLUMNS; i++)
        e->of[i] = rel_err(out->count[i], out->data[i], steps->data[i]);
    return status;
}

static json_t *errors_json(const errors *e, const tensors *t, bool *good) {
    json_t *const object = json_object();
    for (int i = 0; i < COLUMNS; i++)
        if (t->count[i])
            *good &= json_object_set_new(object, column_names[i], cli_json_real(e->of[i])) == 0;
    return object;
}

static void cells(cli_table *table, const char *name, const tensors *t, const errors *only,
                  const errors *without) {
    cli_cell(table, "%s", name);
    for (int i = 0; i < COLUMNS; i++)
        if (t->count[i])
            only ? cli_cell_real(table, only->of[i]) : cli_cell(table, "-");
    for (int i = 0; i < COLUMNS; i++)
        if (t->count[i])
            cli_cell_real(table, without->of[i]);
}

static gka_status print(cli *c, const tensors *t, const int *order, const errors *only,
                        const errors *without, const errors *released) {
    const char *headings[2 * COLUMNS + 1] = {"<rounding"};
    static const char *const of[2][COLUMNS] = {
        {"f only", "x only", "o only", "dk only", "dalpha only"},
        {"f without", "x without", "o without", "dk without", "dalpha without"}};
    int columns = 1;
    for (int half = 0; half < 2; half++)
        for (int i = 0; i < COLUMNS; i++)
            if (t->count[i])
                headings[columns++] = of[half][i];
    cli_table table;
    cli_table_start(&table, headings, columns);
    for (int i = 0; i < GKA_POINT_COUNT; i++)
        cells(&table, gka_point_name((gka_point)order[i]), t, &only[order[i]], &without[order[i]]);
    cells(&table, "(all as released)", t, NULL, released);
    return cli_table_print(&table, c->out);
}

/* Points by the error of x that they make alone, largest first; NaN first of all. */
static void sort(int *order, const errors *only) {
    for (int i = 0; i < GKA_POINT_COUNT; i++) {
        int j = i;
        for (; j > 0; j--) {
            const double before = only[order[j - 1]].of[X], now = only[i].of[X];
            if (isnan(before) || (!isnan(now) && !(now > before)))
                break;
            order[j] = order[j - 1];
        }
        order[j] = i;
    }
}

/* `profile`: the kernels with their repairs. The steps they are compared with take the same form,
 * margin and number of iterations. */
static int attribute(cli *c, const gka_problem *p, const char *path, gka_profile profile,
                     bool gradients, cli_json *json) {
    gka_error error = {0};
    gka_profile exact = profile;
    tensors steps = {0}, out = {0};
    errors only[GKA_POINT_COUNT], without[GKA_POINT_COUNT], released;
    int order[GKA_POINT_COUNT], code;
    const char *const form = gka_form_name(profile.form);
    const int steps_taken = profile.num_iter > 0 ? profile.num_iter : p->num_iter;
    exact.device = gka_device_find("exact64");
    exact.released = 0;
    if (!take(p, gradients, &steps) || !take(p, gradients, &out)) {
        code = cli_out_of_memory(c);
        goto done;
    }
    gka_status status = gka_chunk_check(p, &profile, &error);
    if (status == GKA_OK)
        status = run(p, &exact, &steps, &error);
    if (status == GKA_OK)
        status = measure(p, &profile, &steps, &out, &released, &error);
    const uint32_t all = profile.released;
    cli_progress bar;
    const gka_progress progress = cli_progress_start(&bar, c, path);
    for (int i = 0; status == GKA_OK && i < GKA_POINT_COUNT; i++) {
        profile.released = UINT32_C(1) << i;
        status = measure(p, &profile, &steps, &out, &only[i], &error);
        profile.released = all & ~(UINT32_C(1) << i);
        if (status == GKA_OK)
            status = measure(p, &profile, &steps, &out, &without[i], &error);
        (void)gka_progress_report(&progress, i + 1, GKA_POINT_COUNT);
    }
    cli_progress_end(&bar);
    if (status != GKA_OK) {
        code = cli_report(c, &error);
        goto done;
    }
    sort(order, only);
    code = CLI_GOOD;
    if (!cli_json_takes_stdout(json)) {
        fprintf(c->out, "%s: %s form, errors against %d exact steps\n\n", path, form, steps_taken);
        if (print(c, &steps, order, only, without, &released) != GKA_OK) {
            code = cli_out_of_memory(c);
            goto done;
        }
    }
    if (json->path) {
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
            good &= json_object_set_new(row, "only", errors_json(&only[point], &steps, &good)) == 0;
            good &= json_object_set_new(row, "without",
                                        errors_json(&without[point], &steps, &good)) == 0;
            good &= json_array_append_new(points, row) == 0;
        }
        good &= json_object_set_new(root, "points", points) == 0;
        good &= json_object_set_new(root, "released", errors_json(&released, &steps, &good)) == 0;
        code = cli_json_close(c, json, root, good);
    }
done:
    drop(&steps);
    drop(&out);
    return code;
}

int cli_attribute(cli *c) {
    static const cli_help help = {.operands = "[FILE]", .notes = notes, .least = 0, .most = 1};
    int form = GKA_THREE_TERM, code;
    bool gradients = false;
    const char *path = NULL;
    cli_texts settings = {0};
    gka_profile profile;
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
        {.name = "json",
         .kind = CLI_TEXT,
         .target = &path,
         .value = "OUT",
         .help = "the figures as JSON; - is standard output"},
        {.kind = CLI_GROUP, .group = p.options, .help = "Problem, without FILE:"},
        {.kind = CLI_END}};
    if (!cli_parse(c, &help, options, &code))
        return code;
    const char *const file = c->operand_count > 0 ? c->operands[0] : NULL;
    cli_json json = {0};
    code = cli_profile(c, "h100", form, &settings, &profile);
    if (code == CLI_GOOD)
        code = cli_json_open(c, path, &json);
    if (code == CLI_GOOD)
        code = cli_problem_open(c, &p, file);
    if (code == CLI_GOOD)
        code = attribute(c, &p.problem, file == NULL ? "made up" : file, profile, gradients, &json);
    cli_json_abandon(&json);
    cli_problem_close(&p);
    return code;
}
