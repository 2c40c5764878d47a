/* kernels.cpp - what takes a whole problem: kernels by name, spectrum, condition, attribution. */
#include "binding.h"

#include "cli/verdict.h"
#include "gka/condition.h"
#include "gka/judge.h"
#include "gka/kernel.h"

#include <algorithm>
#include <cstdlib>
#include <memory>

/* ---- a kernel ------------------------------------------------------------------------------ */

static gka_kernel kernel_named(const std::string &name) {
    gka_kernel kernel;
    gka_error error = {};
    check(gka_kernel_find(name.c_str(), &kernel, &error), error);
    return kernel;
}

static int output_named(const std::string &name) {
    const int id = gka_output_find(name.c_str());
    if (id < 0)
        fail(GKA_BAD_ARGUMENT, "no output is called '" + name + "'");
    return id;
}

static nb::dict report_of(const gka_oracle_report &r) {
    static const char *const names[] = {
        "solves", "empty_states", "recomputed", "ties",          "declared",
        "zeros",  "worst_bound",  "elements",   "elements_mpfr", "elements_undecided"};
    const nb::object values[] = {nb::cast(r.solves),        nb::cast(r.empty_states),
                                 nb::cast(r.recomputed),    nb::cast(r.ties),
                                 nb::cast(r.declared),      nb::cast(r.zeros),
                                 nb::cast(r.worst_bound),   nb::cast(r.elements),
                                 nb::cast(r.elements_mpfr), nb::cast(r.elements_undecided)};
    static nb::handle
        keys[sizeof names / sizeof *names]; /* made once, for every call has a report */
    nb::dict d;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!keys[i].is_valid())
            keys[i] = nb::str(names[i]).release();
        d[keys[i]] = values[i];
    }
    return d;
}

/* Upstream tensors x, fro, h_chunk, solve.p, layer.p in F64, as doubles of the host. */
static void read_given(const Tensors &given, const gka_problem *problem, gka_outputs *at,
                       std::vector<Owned> *memory) {
    for (const gka_tensor &tensor : given.all()) {
        const int id = output_named(tensor.name);
        const gka_format *const format = gka_format_of_dtype(tensor.dtype);
        if (format == nullptr || gka_tensor_count(&tensor) != gka_output_count(problem, id))
            fail(GKA_BAD_ARGUMENT, std::string("given ") + tensor.name + ": another shape or type");
        const size_t count = static_cast<size_t>(gka_tensor_count(&tensor));
        memory->emplace_back(static_cast<double *>(room_for(count, sizeof(double))));
        gka_decode_array(format, count, tensor.data, memory->back().memory);
        at->of[id] = memory->back().memory;
    }
}

/* One output: the array that is returned, and the doubles that the library fills, which are the
 * array's own unless it is stored in a narrower type. */
struct Result {
    int id;
    gka_dtype dtype;
    int64_t count;
    Array array;
    Owned wide;
    double *values;

    Result(const gka_problem *problem, int output, bool stored)
        : id(output), dtype(stored ? gka_output_dtype(problem, output) : GKA_F64),
          count(gka_output_count(problem, output)) {
        int64_t shape[GKA_MAX_RANK];
        const int rank = gka_output_shape(problem, output, shape);
        array = new_array(dtype, rank, shape);
        if (dtype != GKA_F64)
            wide.memory =
                static_cast<double *>(room_for(static_cast<size_t>(count), sizeof(double)));
        values = dtype == GKA_F64 ? static_cast<double *>(array.data) : wide.memory;
    }

    nb::tuple tuple() const {
        if (dtype != GKA_F64)
            gka_store_array(dtype, static_cast<size_t>(count), values, array.data);
        return nb::make_tuple(gka_output_table[id].name, gka_dtype_name(dtype), array.object);
    }
};

static nb::tuple run(const std::string &name, nb::list tensors, nb::dict metadata, bool heads_first,
                     const std::vector<std::string> &wanted, std::optional<nb::list> upstream,
                     const std::vector<std::string> &stored, nb::object callback) {
    const gka_kernel kernel = kernel_named(name);
    const Tensors inputs("the problem", tensors, metadata);
    const Problem problem(inputs.file(), heads_first);
    gka_outputs out = {}, at = {};
    std::vector<Owned> memory;
    std::vector<Result> results;
    results.reserve(wanted.size());
    for (const std::string &one : wanted) {
        const int id = output_named(one);
        const char *const lacking = gka_output_lacks(&problem.value, id);
        if (lacking != nullptr)
            fail(GKA_BAD_ARGUMENT, one + " needs '" + lacking + "', which the problem lacks");
        if (out.of[id] != nullptr)
            continue;
        const bool as_stored = std::find(stored.begin(), stored.end(), one) != stored.end();
        results.emplace_back(&problem.value, id, as_stored);
        out.of[id] = results.back().values;
    }
    if (upstream)
        read_given(Tensors("given", *upstream, nb::dict()), &problem.value, &at, &memory);
    gka_kernel_report report = {};
    gka_error error = {};
    gka_status status;
    Watch watch(callback);
    double spent = 0;
    {
        nb::gil_scoped_release released;
        const double begin = seconds();
        status = gka_kernel_check(&kernel, &problem.value, &error);
        if (status == GKA_OK)
            status = gka_kernel_run(&kernel, &problem.value, upstream ? &at : nullptr, &out,
                                    &report, watch.progress(), &error);
        spent = seconds() - begin;
    }
    watch.finish(status, error);
    nb::list list;
    for (const Result &result : results)
        list.append(result.tuple());
    nb::dict passes;
    passes["seconds"] = problem.spent + spent;
    if (kernel.engine == GKA_ENGINE_ORACLE) {
        if (gka_outputs_set(&out) & gka_forward_outputs())
            passes["forward"] = report_of(report.forward);
        if (gka_outputs_set(&out) & gka_of_outputs(GKA_OF_X))
            passes["solve"] = report_of(report.solve);
        if (gka_outputs_set(&out) & gka_of_outputs(GKA_OF_O))
            passes["layer"] = report_of(report.layer);
    }
    return nb::make_tuple(list, passes);
}

/* The outputs that a kernel has and the problem the inputs for, of those that are judged. */
static std::vector<std::string> outputs_of(const std::string &name, nb::list tensors,
                                           nb::dict metadata, bool heads_first) {
    const gka_kernel kernel = kernel_named(name);
    const Tensors inputs("the problem", tensors, metadata);
    const Problem problem(inputs.file(), heads_first);
    std::vector<std::string> names;
    for (int id = 0; id < GKA_OUTPUTS; id++)
        if (gka_kernel_outputs(&kernel) >> id & 1 &&
            gka_output_lacks(&problem.value, id) == nullptr)
            names.push_back(gka_output_table[id].name);
    return names;
}

/* ---- spectrum ------------------------------------------------------------------------------ */

static nb::tuple spectrum(nb::list tensors, nb::dict metadata, bool heads_first) {
    const Tensors inputs("the problem", tensors, metadata);
    const Problem problem(inputs.file(), heads_first);
    const gka_problem &p = problem.value;
    const int64_t shape[] = {p.B, p.T, p.H};
    const size_t count = static_cast<size_t>(p.B * p.T * p.H);
    Owned largest(static_cast<double *>(room_for(count, sizeof(double)))),
        fro(static_cast<double *>(room_for(count, sizeof(double))));
    gka_error error = {};
    gka_status status;
    Watch watch{nb::none()};
    {
        nb::gil_scoped_release released;
        status = gka_chunk_spectrum(&p, largest.memory, fro.memory, &error);
    }
    watch.finish(status, error);
    return nb::make_tuple(array_of(GKA_F64, 3, shape, largest.release()),
                          array_of(GKA_F64, 3, shape, fro.release()));
}

static nb::dict conditioning(nb::list tensors, nb::dict metadata, bool heads_first,
                             const std::vector<int64_t> &tokens) {
    static const struct {
        const char *name;
        double gka_conditioning::*member;
    } columns[] = {{"f", &gka_conditioning::f},
                   {"smallest", &gka_conditioning::smallest},
                   {"largest", &gka_conditioning::largest},
                   {"kappa", &gka_conditioning::kappa},
                   {"share", &gka_conditioning::share},
                   {"rank", &gka_conditioning::rank},
                   {"freedom", &gka_conditioning::freedom},
                   {"mean", &gka_conditioning::mean}};
    const Tensors inputs("the problem", tensors, metadata);
    const Problem problem(inputs.file(), heads_first);
    const int64_t places = static_cast<int64_t>(tokens.size());
    const int64_t shape[] = {problem.value.N, problem.value.H, places};
    const size_t count = static_cast<size_t>(shape[0] * shape[1] * shape[2]);
    for (size_t i = 0; i < tokens.size(); i++)
        if (tokens[i] < 1 || (i > 0 && tokens[i] <= tokens[i - 1]))
            fail(GKA_BAD_ARGUMENT, "tokens: increasing numbers from 1 on were expected");
    std::vector<gka_conditioning> all(count);
    gka_error error = {};
    gka_status status;
    Watch watch{nb::none()};
    {
        nb::gil_scoped_release released;
        status = gka_chunk_conditioning(&problem.value, places, tokens.data(), all.data(), &error);
    }
    watch.finish(status, error);
    nb::dict result;
    for (const auto &column : columns) {
        double *const values = static_cast<double *>(room_for(count, sizeof(double)));
        for (size_t i = 0; i < count; i++)
            values[i] = all[i].*column.member;
        result[column.name] = array_of(GKA_F64, 3, shape, values);
    }
    return result;
}

/* ---- condition ----------------------------------------------------------------------------- */

static nb::dict row_of(const gka_condition_row &row) {
    nb::dict d, of;
    d["name"] = row.name;
    d["dtype"] = gka_dtype_name(row.dtype);
    d["error"] = row.error;
    d["floor"] = row.floor;
    d["typical"] = row.typical;
    d["ratio"] = row.ratio;
    d["worst"] = row.worst;
    d["by"] = gka_input_name(row.by);
    d["worst_ratio"] = row.worst_ratio;
    d["word"] = gka_stability_name(row.word);
    for (int i = 0; i < GKA_INPUTS; i++) {
        nb::dict one;
        one["unit"] = row.of[i].unit;
        one["kappa"] = row.of[i].kappa;
        one["typical"] = row.of[i].typical;
        one["products"] = row.of[i].products;
        of[gka_input_name(static_cast<gka_input>(i))] = one;
    }
    d["of"] = of;
    return d;
}

/* outputs: the tensors that are judged; None: what the kernel `emulate` makes. */
static nb::list condition(nb::list tensors, nb::dict metadata, bool heads_first,
                          std::optional<nb::list> outputs, const std::string &emulate,
                          const std::vector<std::string> &names, nb::object callback) {
    const Tensors inputs("the problem", tensors, metadata);
    const Problem problem(inputs.file(), heads_first);
    gka_kernel kernel = {};
    gka_condition_options options = {};
    std::optional<Tensors> judged;
    std::vector<const char *> wanted;
    for (const std::string &name : names)
        wanted.push_back(name.c_str());
    options.names = wanted.data();
    options.name_count = wanted.size();
    if (outputs) {
        judged.emplace("the outputs", *outputs, nb::dict());
        options.outputs = judged->file();
    } else {
        kernel = kernel_named(emulate);
        options.emulate = &kernel;
    }
    gka_condition_row rows[GKA_CONDITION_ROWS];
    size_t count = 0;
    gka_error error = {};
    gka_status status;
    Watch watch(callback);
    options.progress = *watch.progress();
    {
        nb::gil_scoped_release released;
        status = gka_condition(&problem.value, &options, rows, &count, &error);
    }
    watch.finish(status, error);
    nb::list list;
    for (size_t i = 0; i < count; i++)
        list.append(row_of(rows[i]));
    return list;
}

/* ---- attribution --------------------------------------------------------------------------- */

/* The figures by output, and the tables that `gka attribute` prints of them. */
static nb::tuple attribute(const std::string &name, nb::list tensors, nb::dict metadata,
                           bool heads_first, const std::vector<std::string> &names,
                           nb::object callback) {
    const gka_kernel kernel = kernel_named(name);
    if (kernel.engine != GKA_ENGINE_CHUNKS || kernel.decode)
        fail(GKA_BAD_ARGUMENT, name + ": h100, or a variant of it, was expected");
    const Tensors inputs("the problem", tensors, metadata);
    const Problem problem(inputs.file(), heads_first);
    std::vector<const char *> wanted;
    for (const std::string &one : names)
        if (std::find(wanted.begin(), wanted.end(), one) == wanted.end())
            wanted.push_back(one.c_str());
    std::vector<gka_attribution> all(wanted.size());
    gka_error error = {};
    gka_status status;
    char *text = nullptr;
    Watch watch(callback);
    {
        nb::gil_scoped_release released;
        status = gka_attribute(&problem.value, &kernel.profile, wanted.data(), wanted.size(),
                               watch.progress(), all.data(), &error);
        if (status == GKA_OK)
            status = cli_attribution_text(wanted.data(), all.data(), all.size(), &text, &error);
    }
    const std::unique_ptr<char, void (*)(void *)> table(text, std::free);
    watch.finish(status, error);
    nb::dict result;
    for (size_t i = 0; i < all.size(); i++) {
        if (!all[i].defined)
            continue;
        nb::dict only, without, one;
        for (int p = 0; p < GKA_POINT_COUNT; p++) {
            const char *const point = gka_point_name(static_cast<gka_point>(p));
            only[point] = all[i].only[p];
            without[point] = all[i].without[p];
        }
        one["released"] = all[i].released;
        one["only"] = only;
        one["without"] = without;
        result[wanted[i]] = one;
    }
    return nb::make_tuple(result, text);
}

/* ---- the module ---------------------------------------------------------------------------- */

void bind_kernels(nb::module_ &m) {
    m.def("run", &run, nb::arg("kernel"), nb::arg("tensors"), nb::arg("metadata"),
          nb::arg("heads_first"), nb::arg("outputs"), nb::arg("given").none(), nb::arg("stored"),
          nb::arg("progress").none());
    m.def("outputs_of", &outputs_of, nb::arg("kernel"), nb::arg("tensors"), nb::arg("metadata"),
          nb::arg("heads_first"));
    m.def("spectrum", &spectrum, nb::arg("tensors"), nb::arg("metadata"), nb::arg("heads_first"));
    m.def("conditioning", &conditioning, nb::arg("tensors"), nb::arg("metadata"),
          nb::arg("heads_first"), nb::arg("tokens"));
    m.def("condition", &condition, nb::arg("tensors"), nb::arg("metadata"), nb::arg("heads_first"),
          nb::arg("outputs").none(), nb::arg("emulate"), nb::arg("names"),
          nb::arg("progress").none());
    m.def("attribute", &attribute, nb::arg("kernel"), nb::arg("tensors"), nb::arg("metadata"),
          nb::arg("heads_first"), nb::arg("outputs"), nb::arg("progress").none());
    m.def("kernel_words", [] {
        std::vector<std::string> words;
        for (size_t i = 0; gka_kernel_word(i) != nullptr; i++)
            words.push_back(gka_kernel_word(i));
        return words;
    });
    m.def("points", [] {
        nb::dict points;
        for (int p = 0; p < GKA_POINT_COUNT; p++)
            points[gka_point_name(static_cast<gka_point>(p))] =
                gka_point_text(static_cast<gka_point>(p));
        return points;
    });
}
