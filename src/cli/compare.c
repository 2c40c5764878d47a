/* compare.c - gka compare: the layers Gated KalmaNet is compared with, on one problem. */
#include "cli/json.h"
#include "cli/problem.h"
#include "gka/judge.h"
#include "gka/rivals.h"

#include <math.h>
#include <string.h>

static const char notes[] =
    "Computes o of every layer by its recurrence, in every arithmetic asked for, and compares it\n"
    "with the exact o of the same layer: a layer's error, not one layer's distance from another.\n"
    "\n"
    "  rel_err        ||o - exact|| / ||exact||; NaN or Inf where o has one; of gka in fp64 what\n"
    "                 num_iter steps leave\n"
    "  max_row_err    the same of the worst token and head\n"
    "  norm           the largest norm of the state: of S, of H (mesa, gka), of all keys and\n"
    "                 values so far (softmax); by chunks: at their ends alone\n"
    "  multiply-adds  a token and head, of the recurrence; softmax: at the average token\n"
    "  state          numbers kept from token to token; softmax: after the last one\n"
    "  bytes          state read and written once a token, in the arithmetic's type\n"
    "\n"
    "Layers: linear retnet mamba2 gla deltanet gdn kda mesa kla softmax gka, or all. Settings\n"
    "follow after slashes: mesa/ridge=1/num_iter=30/guard=1e-5, kla/noise=.01,\n"
    "softmax/sharpness=8. Every layer reads q, k, v and the scale; mamba2, gdn, mesa, kla and gka\n"
    "the gates g, gla and kda the gates by channel, tensor gk [B,T,H,D], or g in every channel\n"
    "where the file has none; mamba2, deltanet, gdn, kda, mesa and kla the write strengths beta\n"
    "(1 where there are none), which gka has folded into k and v; gka alpha and the ridge ratio.\n"
    "\n"
    "Arithmetics: those of gka solve, in which the recurrence runs token by token (mesa by CG,\n"
    "gka by Chebyshev steps, --iters of them); or a device, h100 or a100: the chunk form with the\n"
    "roundings of the released Triton kernels. Of gka these are the device's bits; of the others\n"
    "the casts that the sources write down, with sums in plain order. exact64: the chunk form\n"
    "without roundings. A layer without a chunk form has - there.\n"
    "\n"
    "Exit code: 0 measured, 2 usage or bad input, 3 internal.\n";

enum { MOST_LAYERS = 32, MOST_ARITHMETICS = 16, COLUMNS = 8 };

typedef struct request {
    cli *c;
    cli_problem given;
    gka_problem folded, normal; /* for gka; for the others: beta stays a tensor */
    bool owns;                  /* these two are copies */
    gka_rival rivals[MOST_LAYERS];
    const char *layers[MOST_LAYERS], *arithmetics[MOST_ARITHMETICS];
    int layer_count, arithmetic_count;
    double *exact, *o, *norm;
    cli_table table;
    gka_output *csv;
    cli_json json;
    cli_builder rows;
    gka_error refused; /* why the last combination that could not be run could not */
} request;

typedef struct figures {
    bool measured;
    double rel_err, max_row_err, norm;
    gka_rival_cost cost;
} figures;

/* ---- what is asked for --------------------------------------------------------------------- */

static const gka_device *device_of(const char *arithmetic) {
    const gka_device *const device = gka_device_find(arithmetic);
    const bool served = device != NULL && (strcmp(arithmetic, "exact64") == 0 ||
                                           (device->core[GKA_MMA_BF16].group > 0 &&
                                            device->checked != NULL && device->functions_measured));
    return served ? device : NULL;
}

/* "a,b,c", or of layers "all", cut up into names. */
static int cut(request *r, const char *option, char *text, const char **names, int most,
               int *count) {
    for (char *at = text; at != NULL;) {
        char *const comma = strchr(at, ',');
        if (comma != NULL)
            *comma = '\0';
        if (*count == most)
            return cli_fail(r->c, "--%s: at most %d names were expected", option, most);
        names[(*count)++] = at;
        at = comma == NULL ? NULL : comma + 1;
    }
    return CLI_GOOD;
}

static int read_layers(request *r, char *text) {
    gka_error error = {0};
    if (strcmp(text, "all") == 0)
        while (gka_rival_word((size_t)r->layer_count) != NULL) {
            r->layers[r->layer_count] = gka_rival_word((size_t)r->layer_count);
            r->layer_count++;
        }
    else if (cut(r, "layers", text, r->layers, MOST_LAYERS, &r->layer_count) != CLI_GOOD)
        return CLI_USAGE;
    for (int i = 0; i < r->layer_count; i++)
        if (gka_rival_find(r->layers[i], &r->rivals[i], &error) != GKA_OK) {
            char hint[96];
            cli_nearest nearest = cli_nearest_to(r->layers[i]);
            for (size_t j = 0; gka_rival_word(j) != NULL; j++)
                cli_nearest_try(&nearest, gka_rival_word(j));
            return cli_fail(r->c, "--layers: %s%s", error.text, cli_nearest_hint(&nearest, hint));
        }
    return CLI_GOOD;
}

static int read_arithmetics(request *r, char *text) {
    gka_policy policy;
    const int code = cut(r, "arith", text, r->arithmetics, MOST_ARITHMETICS, &r->arithmetic_count);
    for (int i = 0; i < r->arithmetic_count && code == CLI_GOOD; i++)
        if (!gka_policy_find(r->arithmetics[i], &policy) && device_of(r->arithmetics[i]) == NULL)
            return cli_fail(
                r->c,
                "--arith: '%.60s': %san arithmetic as fp64, bf16-acc32 or fp32/fma, or h100 or "
                "exact64 was expected",
                r->arithmetics[i],
                gka_device_find(r->arithmetics[i]) != NULL
                    ? "a device whose products or functions were not measured; "
                    : "");
    return code;
}

/* Refuses what none of the layers, or none of the arithmetics, reads. */
static int refuse_unread(const request *r) {
    static const char *const steps[] = {"iters", NULL}, *const chunk[] = {"chunk", NULL},
                             *const gate[] = {"gate", NULL},
                             *const ridge[] = {"ridge", "lambda", NULL},
                             *const alpha[] = {"alpha", "no-alpha", NULL};
    bool iterates = false, ridged = false, gated = false, by_chunks = false;
    for (int i = 0; i < r->layer_count; i++) {
        const gka_rival *const rival = &r->rivals[i];
        const bool gka = rival->recurrence == GKA_RIVAL_GKA;
        ridged |= gka;
        iterates |= gka || (rival->recurrence == GKA_RIVAL_MESA && rival->num_iter == 0);
        gated |= gka || rival->gating == GKA_GATING_HEAD || rival->gating == GKA_GATING_CHANNEL;
    }
    for (int i = 0; i < r->arithmetic_count; i++)
        by_chunks |= device_of(r->arithmetics[i]) != NULL;
    int code = CLI_GOOD;
    if (!iterates)
        code =
            cli_refuse(r->c, "where no layer reads it; mesa without num_iter=N and gka do", steps);
    if (!ridged && code == CLI_GOOD)
        code = cli_refuse(r->c, "without the layer gka; mesa/ridge=X is that of mesa", ridge);
    if (!ridged && code == CLI_GOOD)
        code = cli_refuse(r->c, "without the layer gka", alpha);
    if (!gated && code == CLI_GOOD)
        code = cli_refuse(r->c, "where no layer reads the gates", gate);
    if (!by_chunks && code == CLI_GOOD)
        code = cli_refuse(r->c, "where no arithmetic works by chunks (a device, exact64)", chunk);
    return code;
}

/* The two forms of the problem. */
static int take_problem(request *r, const char *operand) {
    cli *const c = r->c;
    gka_error error = {0};
    int code = cli_problem_open(c, &r->given, operand);
    if (code != CLI_GOOD)
        return code;
    const gka_problem *const p = &r->given.problem;
    r->folded = r->normal = *p;
    if (!gka_problem_is_folded(p)) {
        gka_problem without = *p;
        without.beta = (gka_view){0};
        r->owns = true;
        r->folded = r->normal = (gka_problem){0};
        code = cli_outcome(c, gka_problem_fold(p, p->q.dtype, &r->folded, &error), &error);
        if (code == CLI_GOOD)
            code =
                cli_outcome(c, gka_problem_fold(&without, p->q.dtype, &r->normal, &error), &error);
        r->normal.beta = p->beta;
    }
    const gka_tensor *const gk = r->given.file != NULL ? gka_file_find(r->given.file, "gk") : NULL;
    for (int i = 0; i < r->layer_count && code == CLI_GOOD; i++) {
        if (gk != NULL)
            r->rivals[i].gk = gka_view_of(gk);
        const bool gka = r->rivals[i].recurrence == GKA_RIVAL_GKA;
        if (gka_rival_check(&r->rivals[i], gka ? &r->folded : &r->normal, &error) != GKA_OK)
            code = cli_fail(c, "%s: %s", r->given.label, error.text);
    }
    return code;
}

/* ---- one layer in one arithmetic ----------------------------------------------------------- */

static gka_status run_kernel(const request *r, const char *name, const gka_progress *progress,
                             gka_error *error) {
    gka_kernel kernel;
    gka_outputs outputs = {.o = r->o, .fro = r->norm};
    gka_status status = gka_kernel_find(name, &kernel, error);
    if (status == GKA_OK)
        status = gka_kernel_check(&kernel, &r->folded, error);
    if (status == GKA_OK)
        status = gka_kernel_run(&kernel, &r->folded, NULL, &outputs, NULL, progress, error);
    return status;
}

static gka_status compute(const request *r, int layer, const char *arithmetic,
                          const gka_progress *progress, gka_error *error) {
    const gka_rival *const rival = &r->rivals[layer];
    const bool gka = rival->recurrence == GKA_RIVAL_GKA;
    gka_rival_outputs out = {.o = r->o, .norm = r->norm};
    gka_policy policy;
    if (gka_policy_find(arithmetic, &policy))
        return gka_rival_forward(gka ? &r->folded : &r->normal, rival, &policy, &out, progress,
                                 error);
    if (gka)
        return run_kernel(r, arithmetic, progress, error);
    const gka_rival_profile profile = {device_of(arithmetic),
                                       strcmp(arithmetic, "exact64") == 0 ? 0 : GKA_RIVAL_RELEASED};
    return gka_rival_chunk(&r->normal, rival, &profile, &out, progress, error);
}

/* Bytes of a number of state. */
static double width_of(const char *arithmetic) {
    gka_policy policy;
    if (!gka_policy_find(arithmetic, &policy))
        return strcmp(arithmetic, "exact64") == 0 ? 8 : 4;
    return policy.blocks != NULL ? NAN : policy.storage.bits > 0 ? policy.storage.bits / 8.0 : NAN;
}

static figures measure(const request *r, int layer, const char *arithmetic) {
    const gka_problem *const p = &r->normal;
    const int64_t rows = p->B * p->T * p->H;
    figures f = {.measured = true,
                 .rel_err = gka_rel_err(rows * p->V, r->o, r->exact),
                 .cost = gka_rival_cost_of(&r->rivals[layer], p, width_of(arithmetic))};
    for (int64_t i = 0; i < rows; i++) {
        const double off = gka_rel_err(p->V, r->o + i * p->V, r->exact + i * p->V);
        f.max_row_err = isnan(off) || off > f.max_row_err ? off : f.max_row_err;
        f.norm = fmax(f.norm, r->norm[i]);
    }
    return f;
}

/* ---- what is written ----------------------------------------------------------------------- */

static void put_row(request *r, int layer, const char *arithmetic, const figures *f) {
    const double values[] = {f->rel_err,    f->max_row_err, f->norm, f->cost.multiply_adds,
                             f->cost.state, f->cost.bytes};
    static const char *const names[] = {"rel_err",       "max_row_err", "norm",
                                        "multiply_adds", "state",       "bytes"};
    cli_builder row = {json_object(), true};
    cli_put(&row, "layer", cli_json_text(r->layers[layer]));
    cli_put(&row, "arith", cli_json_text(arithmetic));
    cli_cell(&r->table, "%s", r->layers[layer]);
    cli_cell(&r->table, "%s", arithmetic);
    if (r->csv != NULL)
        fprintf(gka_output_stream(r->csv), "%s,%s", r->layers[layer], arithmetic);
    for (int i = 0; i < 6; i++) {
        const bool there = i > 2 || f->measured;
        cli_put(&row, names[i], there ? cli_json_real(values[i]) : json_null());
        if (i > 2)
            cli_cell_number(&r->table, "%.0f", values[i]);
        else if (there)
            cli_cell_real(&r->table, values[i]);
        else
            cli_cell(&r->table, "-");
        if (r->csv != NULL)
            fprintf(gka_output_stream(r->csv), there ? ",%.9g" : ",", values[i]);
    }
    if (r->csv != NULL)
        fputc('\n', gka_output_stream(r->csv));
    r->rows.good = r->rows.good && row.good;
    cli_append(&r->rows, row.value);
}

static int measure_all(request *r) {
    cli_progress bar;
    int code = CLI_GOOD;
    for (int i = 0; i < r->layer_count && code == CLI_GOOD; i++) {
        const gka_rival *const rival = &r->rivals[i];
        const bool gka = rival->recurrence == GKA_RIVAL_GKA;
        gka_rival_outputs out = {.o = r->exact};
        gka_error error = {0};
        const gka_progress progress = cli_progress_start(&bar, r->c, r->layers[i]);
        code = cli_outcome(
            r->c, gka_rival_exact(gka ? &r->folded : &r->normal, rival, 0, &out, &progress, &error),
            &error);
        for (int j = 0; j < r->arithmetic_count && code == CLI_GOOD; j++) {
            error = (gka_error){0};
            const gka_status status = compute(r, i, r->arithmetics[j], &progress, &error);
            figures f = {.cost = gka_rival_cost_of(rival, &r->normal, width_of(r->arithmetics[j]))};
            if (status == GKA_OK)
                f = measure(r, i, r->arithmetics[j]);
            else if (status == GKA_UNSUPPORTED)
                r->refused = error;
            else
                code = cli_outcome(r->c, status, &error);
            if (code == CLI_GOOD)
                put_row(r, i, r->arithmetics[j], &f);
        }
        cli_progress_end(&bar);
    }
    return code;
}

static int print(request *r) {
    const gka_problem *const p = &r->normal;
    cli *const c = r->c;
    if (cli_json_takes_stdout(&r->json))
        return CLI_GOOD;
    cli_say(c->out, "%s: B %lld, T %lld, H %lld, D %lld, V %lld; num_iter %d, chunk_size %lld\n\n",
            r->given.label, (long long)p->B, (long long)p->T, (long long)p->H, (long long)p->D,
            (long long)p->V, p->num_iter, (long long)p->chunk_size);
    const gka_status status = cli_table_print(&r->table, c->out);
    if (status != GKA_OK)
        return cli_out_of_memory(c);
    if (r->refused.text[0] != '\0') {
        fputc('\n', c->out);
        cli_say(c->out, "note: -: %s\n", r->refused.text);
    }
    bool channels = false;
    for (int i = 0; i < r->layer_count; i++)
        channels |= r->rivals[i].gating == GKA_GATING_CHANNEL && r->rivals[i].gk.data == NULL;
    if (channels)
        fprintf(c->out, "%snote: no tensor gk: gates by channel are g in every channel\n",
                r->refused.text[0] != '\0' ? "" : "\n");
    return CLI_GOOD;
}

static int close_outputs(request *r, int code) {
    gka_error error = {0};
    if (code == CLI_GOOD && r->csv != NULL) {
        gka_output *const csv = r->csv;
        r->csv = NULL;
        if (gka_output_close(csv, &error) != GKA_OK)
            code = cli_report(r->c, &error);
    }
    if (code == CLI_GOOD && r->json.path != NULL) {
        cli_builder root = {json_object(), r->rows.good};
        cli_put(&root, "file", cli_json_text(r->given.label));
        cli_put(&root, "rows", r->rows.value);
        r->rows.value = NULL;
        code = cli_json_close(r->c, &r->json, root.value, root.good);
    }
    json_decref(r->rows.value);
    if (r->csv != NULL)
        gka_output_abandon(r->csv);
    cli_json_abandon(&r->json);
    return code;
}

static int open_outputs(request *r, const char *csv, const char *json) {
    gka_error error = {0};
    const int code = cli_json_open(r->c, json, &r->json);
    if (code != CLI_GOOD || csv == NULL)
        return code;
    if (gka_output_open(csv, &r->csv, &error) != GKA_OK)
        return cli_report(r->c, &error);
    fputs("layer,arith,rel_err,max_row_err,norm,multiply_adds,state,bytes\n",
          gka_output_stream(r->csv));
    return CLI_GOOD;
}

static int run(request *r, const char *csv, const char *json) {
    static const char *const headings[COLUMNS] = {
        "<layer", "<arith", "rel_err", "max_row_err", "norm", "multiply-adds", "state", "bytes"};
    const gka_problem *p;
    int code = take_problem(r, r->c->operand_count > 0 ? r->c->operands[0] : NULL);
    if (code == CLI_GOOD)
        code = open_outputs(r, csv, json);
    p = &r->normal;
    if (code == CLI_GOOD) {
        const size_t rows = (size_t)(p->B * p->T * p->H);
        r->exact = gka_alloc(rows * (size_t)p->V, sizeof *r->exact);
        r->o = gka_alloc(rows * (size_t)p->V, sizeof *r->o);
        r->norm = gka_alloc(rows, sizeof *r->norm);
        if (r->exact == NULL || r->o == NULL || r->norm == NULL)
            code = cli_out_of_memory(r->c);
    }
    cli_table_start(&r->table, headings, COLUMNS);
    r->rows = (cli_builder){json_array(), true};
    if (code == CLI_GOOD)
        code = measure_all(r);
    if (code == CLI_GOOD)
        code = print(r);
    else
        cli_table_drop(&r->table);
    code = close_outputs(r, code);
    gka_free(r->exact);
    gka_free(r->o);
    gka_free(r->norm);
    if (r->owns) {
        gka_problem_free(&r->folded);
        gka_problem_free(&r->normal);
    }
    cli_problem_close(&r->given);
    return code;
}

int cli_compare(cli *c) {
    request r = {.c = c};
    cli_texts layers = {0}, arithmetics = {0};
    const char *csv = NULL, *json = NULL;
    char usual_layers[] = "linear,mamba2,gdn,mesa,softmax,gka", usual[] = "fp64,bf16-acc32,h100";
    static const cli_help help = {.operands = "[FILE[:PATTERN]]", .notes = notes, .most = 1};
    cli_problem_start(&r.given);
    r.given.as_it_is = true;
    const cli_option options[] = {
        {"layers", 0, CLI_TEXTS, &layers, .value = "NAME[,NAME]",
         .help = "linear,mamba2,gdn,mesa,softmax,gka; or all"},
        {"arith", 0, CLI_TEXTS, &arithmetics, .value = "NAME[,NAME]",
         .help = "fp64,bf16-acc32,h100"},
        {"csv", 0, CLI_OUT, &csv, .value = "OUT", .help = "write the rows as CSV"},
        {"json", 0, CLI_OUT, &json, .value = "OUT", .help = "write the rows as JSON"},
        {.kind = CLI_GROUP, .group = r.given.options, .help = "Problem, without FILE:"},
        {.kind = CLI_END}};
    int code;
    if (!cli_parse(c, &help, options, &code))
        return code;
    code = read_layers(&r, layers.count > 0 ? layers.text[layers.count - 1] : usual_layers);
    if (code == CLI_GOOD)
        code = read_arithmetics(&r, arithmetics.count > 0 ? arithmetics.text[arithmetics.count - 1]
                                                          : usual);
    if (code == CLI_GOOD)
        code = refuse_unread(&r);
    return code == CLI_GOOD ? run(&r, csv, json) : code;
}
