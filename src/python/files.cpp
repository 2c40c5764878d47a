/* files.cpp - safetensors files, made-up problems, goldens, verdicts. */
#include "binding.h"

#include "cli/verdict.h"
#include "gka/golden.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

/* ---- files --------------------------------------------------------------------------------- */

struct File {
    gka_file *handle = nullptr;
    explicit File(const std::string &path) {
        gka_error error = {};
        nb::gil_scoped_release released;
        check(gka_file_open(path.c_str(), &handle, &error), error);
    }
    ~File() { gka_file_close(handle); }
    File(const File &) = delete;
};

/* A tensor's bytes, copied: an array may outlive the file. */
static nb::tuple copied(const gka_tensor *tensor) {
    const size_t count = static_cast<size_t>(gka_tensor_count(tensor));
    void *const memory = room_for(count, gka_dtype_size(tensor->dtype));
    if (count > 0)
        std::memcpy(memory, tensor->data, count * gka_dtype_size(tensor->dtype));
    return nb::make_tuple(tensor->name, gka_dtype_name(tensor->dtype),
                          array_of(tensor->dtype, tensor->rank, tensor->shape, memory));
}

static nb::list tensors_of(const File &file) {
    nb::list list;
    for (size_t i = 0; i < gka_file_count(file.handle); i++) {
        const gka_tensor *const tensor = gka_file_tensor(file.handle, i);
        if (gka_dtype_size(tensor->dtype) > 0) /* F4, F6: no array has them */
            list.append(copied(tensor));
    }
    return list;
}

static nb::tuple tensor_called(const File &file, const std::string &name) {
    gka_error error = {};
    check(gka_file_readable(file.handle, name.c_str(), &error), error);
    const gka_tensor *const tensor = gka_file_find(file.handle, name.c_str());
    if (tensor == nullptr)
        fail(GKA_BAD_FILE,
             std::string(gka_file_path(file.handle)) + ": there is no tensor '" + name + "'");
    if (gka_dtype_size(tensor->dtype) == 0)
        fail(GKA_UNSUPPORTED, std::string(gka_file_path(file.handle)) + ": tensor '" + name +
                                  "': no array holds " + gka_dtype_name(tensor->dtype));
    return copied(tensor);
}

static std::vector<std::string> names_in(const File &file) {
    std::vector<std::string> names;
    for (size_t i = 0; i < gka_file_count(file.handle); i++)
        names.push_back(gka_file_tensor(file.handle, i)->name);
    return names;
}

static nb::dict metadata_of(const File &file) {
    nb::dict d;
    for (size_t i = 0; gka_file_pair(file.handle, i) != nullptr; i++) {
        const gka_text_pair *const pair = gka_file_pair(file.handle, i);
        d[pair->key] = pair->value;
    }
    return d;
}

static void save(const std::string &path, nb::list given, nb::dict metadata) {
    const Tensors tensors("save", given, nb::dict());
    const Pairs pairs(metadata);
    gka_error error = {};
    gka_status status;
    {
        nb::gil_scoped_release released;
        status = gka_file_write(path.c_str(), tensors.all().data(), tensors.all().size(),
                                pairs.data(), pairs.size(), &error);
    }
    check(status, error);
}

/* ---- problems ------------------------------------------------------------------------------ */

/* The tensors of a problem that owns them, copied, and its parameters. */
static nb::tuple tuple_of(const gka_problem &problem) {
    gka_tensor tensors[GKA_PROBLEM_TENSORS];
    const size_t count = gka_problem_tensors(&problem, tensors);
    nb::list list;
    nb::dict metadata;
    for (size_t i = 0; i < count; i++)
        list.append(copied(&tensors[i]));
    metadata["ridge_ratio"] = problem.ridge_ratio;
    metadata["num_iter"] = problem.num_iter;
    metadata["chunk_size"] = problem.chunk_size;
    metadata["scale"] = problem.scale;
    if (problem.lambda > 0)
        metadata["lam"] = problem.lambda;
    metadata["normalise"] = gka_normalise_name(problem.normalise);
    return nb::make_tuple(list, metadata);
}

static void set_spec(gka_golden_spec *spec, nb::dict keys) {
    gka_error error = {};
    gka_golden_spec_start(spec);
    for (auto [key, value] : keys)
        check(gka_golden_spec_set(spec, nb::cast<std::string>(key).c_str(),
                                  nb::cast<std::string>(value).c_str(), &error),
              error);
}

static nb::tuple generate(nb::dict keys) {
    gka_golden_spec spec;
    set_spec(&spec, keys);
    const gka_generator generator = gka_golden_generator(&spec);
    gka_problem problem = {};
    gka_error error = {};
    gka_status status;
    Watch watch{nb::none()};
    {
        nb::gil_scoped_release released;
        status = gka_problem_generate(&generator, &problem, &error);
    }
    const std::unique_ptr<gka_problem, void (*)(gka_problem *)> owner(&problem, gka_problem_free);
    watch.finish(status, error);
    return tuple_of(problem);
}

static nb::tuple fold(nb::list tensors, nb::dict metadata, const std::string &dtype) {
    const Tensors inputs("the problem", tensors, metadata);
    const Problem from(inputs.file(), false);
    const gka_dtype to = dtype_named(dtype);
    gka_problem problem;
    gka_error error = {};
    gka_status status;
    {
        nb::gil_scoped_release released;
        status = gka_problem_fold(&from.value, to, &problem, &error);
    }
    check(status, error);
    const std::unique_ptr<gka_problem, void (*)(gka_problem *)> owner(&problem, gka_problem_free);
    return tuple_of(problem);
}

/* ---- goldens ------------------------------------------------------------------------------- */

/* inputs: tensors and metadata whose golden is made; None: of the spec. */
static void golden(const std::string &path, nb::dict keys, std::optional<nb::list> tensors,
                   nb::dict metadata, nb::object callback) {
    gka_golden_spec spec;
    set_spec(&spec, keys);
    std::optional<Tensors> inputs;
    if (tensors)
        inputs.emplace("the problem", *tensors, metadata);
    gka_error error = {};
    gka_status status;
    Watch watch(callback);
    {
        nb::gil_scoped_release released;
        status = gka_golden_generate(&spec, inputs ? inputs->file() : nullptr, path.c_str(),
                                     watch.progress(), &error);
    }
    watch.finish(status, error);
}

static nb::tuple suite(const std::string &name, const std::string &folder, nb::object callback) {
    gka_suite_report report = {};
    gka_error error = {};
    gka_status status;
    Watch watch(callback);
    {
        nb::gil_scoped_release released;
        status =
            gka_suite_generate(name.c_str(), folder.c_str(), watch.progress(), &report, &error);
    }
    watch.finish(status, error);
    return nb::make_tuple(report.made, report.kept);
}

/* (name, file, whether it is the one the index speaks of) of each case of a folder. */
static nb::list suite_cases(const std::string &folder) {
    gka_suite suite = {};
    gka_error error = {};
    const gka_status status = gka_suite_read(folder.c_str(), &suite, &error);
    const std::unique_ptr<gka_suite, void (*)(gka_suite *)> owner(&suite, gka_suite_free);
    check(status, error);
    nb::list list;
    for (size_t i = 0; i < suite.count; i++)
        list.append(nb::make_tuple(suite.entries[i].name, suite.entries[i].file));
    return list;
}

static void suite_check(const std::string &folder, const std::string &name) {
    gka_suite suite = {};
    gka_error error = {};
    gka_status status = gka_suite_read(folder.c_str(), &suite, &error);
    const std::unique_ptr<gka_suite, void (*)(gka_suite *)> owner(&suite, gka_suite_free);
    for (size_t i = 0; i < suite.count && status == GKA_OK; i++)
        if (name == suite.entries[i].name)
            status = gka_suite_check(folder.c_str(), &suite.entries[i], &error);
    check(status, error);
}

/* ---- verdicts ------------------------------------------------------------------------------ */

struct Judging {
    std::vector<std::string> theirs, ours, required;
    std::vector<const char *> their_names, our_names, required_names;
    gka_golden_options options = {};
};

static void read_options(Judging *j, nb::dict names, const std::string &require,
                         const std::string &reference, const std::string &gradients,
                         bool heads_first) {
    static const char *const kinds[] = {"implicit", "through", "auto"};
    for (auto [their, our] : names) {
        j->theirs.push_back(nb::cast<std::string>(their));
        j->ours.push_back(nb::cast<std::string>(our));
    }
    for (size_t from = 0; !require.empty() && from <= require.size();) {
        const size_t to = std::min(require.find(',', from), require.size());
        if (to > from)
            j->required.push_back(require.substr(from, to - from));
        from = to + 1;
    }
    if (require == "all")
        j->required.clear();
    for (const std::string &name : j->theirs)
        j->their_names.push_back(name.c_str());
    for (const std::string &name : j->ours)
        j->our_names.push_back(name.c_str());
    for (const std::string &name : j->required)
        j->required_names.push_back(name.c_str());
    int kind = 0;
    while (kind < 3 && gradients != kinds[kind])
        kind++;
    if (kind == 3)
        fail(GKA_BAD_ARGUMENT,
             "gradients: '" + gradients + "'; implicit, through or auto was expected");
    if (reference != "steps" && reference != "exact")
        fail(GKA_BAD_ARGUMENT, "reference: '" + reference + "'; steps or exact was expected");
    j->options.theirs = j->their_names.data();
    j->options.ours = j->our_names.data();
    j->options.map_count = j->theirs.size();
    j->options.heads_first = heads_first;
    j->options.gradients = static_cast<gka_gradient_kind>(kind);
    j->options.required = j->required_names.data();
    j->options.required_count = j->required.size();
    j->options.all_required = require == "all";
    j->options.by_exact = reference == "exact";
}

/* The table of `gka judge` and its JSON. The candidate is tensors, or an open file. */
static nb::tuple judge(nb::object candidate, const File &golden, nb::dict names,
                       const std::string &require, const std::string &reference,
                       const std::string &gradients, bool heads_first) {
    std::optional<Tensors> tensors;
    const gka_file *file;
    if (nb::isinstance<File>(candidate)) {
        file = nb::cast<const File &>(candidate).handle;
    } else {
        tensors.emplace("the candidate", nb::cast<nb::list>(candidate), nb::dict());
        file = tensors->file();
    }
    Judging j;
    read_options(&j, names, require, reference, gradients, heads_first);
    gka_golden_verdict verdict = {};
    gka_error error = {};
    gka_status status;
    char *text = nullptr, *json = nullptr;
    Watch watch{nb::none()};
    {
        nb::gil_scoped_release released;
        status = gka_golden_judge(file, golden.handle, &j.options, &verdict, &error);
        if (status == GKA_OK)
            status =
                cli_verdict_texts(file, golden.handle, &j.options, &verdict, &text, &json, &error);
    }
    const std::unique_ptr<gka_golden_verdict, void (*)(gka_golden_verdict *)> owner(
        &verdict, gka_golden_verdict_free);
    const std::unique_ptr<char, void (*)(void *)> table(text, std::free), figures(json, std::free);
    watch.finish(status, error);
    return nb::make_tuple(text, json);
}

/* ---- the module ---------------------------------------------------------------------------- */

static std::vector<std::string> names_of(std::initializer_list<const char *const *> lists) {
    std::vector<std::string> all;
    for (const char *const *names : lists)
        for (; *names != nullptr; names++)
            all.push_back(*names);
    return all;
}

void bind_files(nb::module_ &m) {
    nb::class_<File>(m, "File")
        .def(nb::init<const std::string &>(), nb::arg("path"))
        .def("tensors", &tensors_of)
        .def("tensor", &tensor_called, nb::arg("name"))
        .def("names", &names_in)
        .def("metadata", &metadata_of)
        .def("check_golden", [](const File &file) {
            gka_error error = {};
            gka_status status;
            {
                nb::gil_scoped_release released;
                status = gka_golden_check(file.handle, &error);
            }
            check(status, error);
        });
    m.def("save", &save, nb::arg("path"), nb::arg("tensors"), nb::arg("metadata"));
    m.def("generate", &generate, nb::arg("keys"));
    m.def("fold", &fold, nb::arg("tensors"), nb::arg("metadata"), nb::arg("dtype"));
    m.def("golden", &golden, nb::arg("path"), nb::arg("keys"), nb::arg("tensors").none(),
          nb::arg("metadata"), nb::arg("progress").none());
    m.def("suite", &suite, nb::arg("name"), nb::arg("folder"), nb::arg("progress").none());
    m.def("suite_cases", &suite_cases, nb::arg("folder"));
    m.def("suite_check", &suite_check, nb::arg("folder"), nb::arg("name"));
    m.def("judge", &judge, nb::arg("candidate"), nb::arg("golden"), nb::arg("names"),
          nb::arg("require"), nb::arg("reference"), nb::arg("gradients"), nb::arg("heads_first"));
    m.def("judged_names", [] { return names_of({gka_verify_names, gka_serving_names}); });
    m.def("input_names", [] { return names_of({gka_problem_names}); });
}
