/* numbers.cpp - what takes arrays alone: rounding, formats, devices, comparison, solvers. */
#include "binding.h"

#include "gka/arith.h"
#include "gka/judge.h"
#include "gka/solve.h"

#include <cmath>

/* ---- rounding ------------------------------------------------------------------------------ */

/* A preset, or pPeE as an arithmetic has it. */
static gka_format format_named(const std::string &name) {
    const gka_format *const format = gka_format_find(name.c_str());
    gka_policy made;
    if (format != nullptr)
        return *format;
    if (name.find_first_of("-/") != std::string::npos || !gka_policy_find(name.c_str(), &made))
        fail(GKA_BAD_ARGUMENT,
             "no format '" + name + "'; a name of gka.formats or pPeE (p8e8 is bf16) was expected");
    return made.storage;
}

/* A tensor of any floating-point type as doubles. */
static Owned doubles_of(const gka_tensor &tensor) {
    const gka_format *const format = gka_format_of_dtype(tensor.dtype);
    if (format == nullptr)
        fail(GKA_BAD_ARGUMENT, std::string(tensor.name) + ": " + gka_dtype_name(tensor.dtype) +
                                   "; floating-point numbers were expected");
    const size_t count = static_cast<size_t>(gka_tensor_count(&tensor));
    Owned values(static_cast<double *>(room_for(count, sizeof(double))));
    gka_decode_array(format, count, tensor.data, values.memory);
    return values;
}

static nb::object round_to(nb::object x, const std::string &name, const std::string &mode,
                           uint64_t seed, uint64_t first) {
    nb::list list;
    list.append(x);
    const Tensors tensors("round", list, nb::dict());
    const gka_tensor &tensor = tensors.all()[0];
    const gka_block_format *const block = gka_block_format_find(name.c_str());
    const int rounding = gka_rounding_find(mode.c_str());
    if (rounding < 0)
        fail(GKA_BAD_ARGUMENT,
             "no mode '" + mode + "'; nearest, zero, up, down, odd or stochastic was expected");
    if (block != nullptr && rounding != GKA_NEAREST_EVEN)
        fail(GKA_BAD_ARGUMENT, name + " rounds to nearest; mode '" + mode + "' has no meaning");
    const gka_format format = block == nullptr ? format_named(name) : gka_format();
    Owned values = doubles_of(tensor);
    const size_t count = static_cast<size_t>(gka_tensor_count(&tensor));
    {
        nb::gil_scoped_release released;
        if (block != nullptr)
            gka_block_round(block, count, values.memory, values.memory, nullptr);
        else
            gka_round_array(&format, static_cast<gka_rounding>(rounding), seed, first, count,
                            values.memory, values.memory);
    }
    return array_of(GKA_F64, tensor.rank, tensor.shape, values.release());
}

/* ---- tables -------------------------------------------------------------------------------- */

static nb::list formats() {
    nb::list list;
    for (const gka_format *const *f = gka_format_presets(); *f != nullptr; f++) {
        nb::dict d;
        d["name"] = (*f)->name;
        d["bits"] = (*f)->bits;
        d["p"] = (*f)->p;
        d["emin"] = (*f)->emin;
        d["emax"] = (*f)->emax;
        d["max_finite"] = (*f)->max_finite;
        d["unit_roundoff"] = gka_format_unit_roundoff(*f);
        d["min_normal"] = gka_format_min_normal(*f);
        d["min_subnormal"] = gka_format_min_subnormal(*f);
        d["subnormals"] = (*f)->subnormals;
        d["overflow"] = gka_overflow_name((*f)->overflow);
        list.append(d);
    }
    return list;
}

static nb::list block_formats() {
    nb::list list;
    for (const gka_block_format *const *f = gka_block_format_presets(); *f != nullptr; f++) {
        nb::dict d;
        d["name"] = (*f)->name;
        d["element"] = (*f)->element->name;
        d["scale"] = (*f)->scale->name;
        d["block"] = (*f)->block;
        d["tensor_scale"] = (*f)->tensor_scale;
        d["bits"] = gka_block_bits(*f);
        list.append(d);
    }
    return list;
}

static nb::list devices() {
    nb::list list;
    for (const gka_device *const *d = gka_device_presets(); *d != nullptr; d++) {
        nb::dict one, inputs;
        for (int i = 0; i < GKA_MMA_INPUT_COUNT; i++) {
            const gka_tensor_core &core = (*d)->core[i];
            nb::dict input;
            if (core.group == 0)
                continue;
            input["group"] = core.group;
            input["fraction"] = core.fraction;
            input["floor"] = core.floor;
            input["apart"] = core.apart;
            input["flush"] = core.flush;
            inputs[gka_mma_input_name(static_cast<gka_mma_input>(i))] = input;
        }
        one["name"] = (*d)->name;
        one["binary32"] = (*d)->binary32;
        one["inputs"] = inputs;
        one["checked"] = (*d)->checked == nullptr ? nb::none() : nb::cast((*d)->checked);
        one["functions_measured"] = (*d)->functions_measured;
        list.append(one);
    }
    return list;
}

/* ---- comparison ---------------------------------------------------------------------------- */

static nb::dict compare(nb::object out, nb::object ref, int row_rank) {
    nb::list list;
    list.append(out);
    list.append(ref);
    const Tensors tensors("compare", list, nb::dict());
    const gka_tensor &a = tensors.all()[0], &b = tensors.all()[1];
    if (gka_format_of_dtype(a.dtype) == nullptr)
        fail(GKA_BAD_ARGUMENT, "out: floating-point numbers were expected");
    if (a.rank != b.rank || !std::equal(a.shape, a.shape + a.rank, b.shape))
        fail(GKA_BAD_ARGUMENT, "out and ref: one shape was expected");
    if (row_rank < 0 || row_rank > a.rank)
        fail(GKA_BAD_ARGUMENT, "row_rank: 0 to the number of axes was expected");
    const Owned values = doubles_of(b);
    gka_comparison c;
    {
        nb::gil_scoped_release released;
        gka_compare(&a, values.memory, row_rank, &c);
    }
    nb::dict d;
    nb::list at;
    for (int i = 0; i < c.at_rank; i++)
        at.append(c.at[i]);
    d["rel_err"] = c.rel_err;
    d["absolute"] = c.absolute;
    d["max_row_err"] = c.max_row_err;
    d["at"] = nb::tuple(at);
    d["max_ulp"] = c.max_ulp;
    d["non_finite"] = c.non_finite;
    d["equal"] = c.equal;
    d["count"] = c.count;
    d["bits_equal"] = c.bits_equal;
    return d;
}

/* ---- solvers ------------------------------------------------------------------------------- */

/* H [D,D] and q [D] are rounded to the arithmetic's storage first. */
static nb::dict solve(nb::object h, nb::object q, const std::string &method,
                      const std::string &arithmetic, int iterations, double lambda, double f,
                      uint64_t seed) {
    nb::list list;
    list.append(h);
    list.append(q);
    const Tensors tensors("solve", list, nb::dict());
    const gka_tensor &ht = tensors.all()[0], &qt = tensors.all()[1];
    const int64_t D = qt.rank == 1 ? qt.shape[0] : -1;
    gka_solver solver;
    gka_policy policy;
    gka_error error = {};
    if (D < 1 || ht.rank != 2 || ht.shape[0] != D || ht.shape[1] != D)
        fail(GKA_BAD_ARGUMENT, "H [D,D] and q [D] were expected");
    if (!gka_solver_find(method.c_str(), &solver))
        fail(GKA_BAD_ARGUMENT, "no solver '" + method + "'; gka.solvers has the names");
    if (!gka_policy_find(arithmetic.c_str(), &policy))
        fail(GKA_BAD_ARGUMENT, "no arithmetic '" + arithmetic + "'; gka.arithmetics has the names");
    if (iterations > GKA_MAX_ITERATIONS)
        fail(GKA_BAD_ARGUMENT, "iterations: at most 1000000 were expected");
    if (!(lambda >= 0) || std::isinf(lambda) || !(f >= 0) || std::isinf(f))
        fail(GKA_BAD_ARGUMENT, "lambda and f: finite numbers, 0 or more, were expected");
    policy.seed = seed;
    check(gka_policy_check(&policy, &error), error);
    if (iterations >= 0)
        solver.num_iter = iterations;
    const Owned H = doubles_of(ht), Q = doubles_of(qt);
    const size_t n = static_cast<size_t>(D), points = static_cast<size_t>(solver.num_iter) + 2;
    const Owned stored(static_cast<double *>(room_for(n * n + n, sizeof(double))));
    Owned x(static_cast<double *>(room_for(n, sizeof(double))));
    const size_t bytes = gka_solve_workspace(&solver, 1, D);
    const Owned workspace(
        static_cast<double *>(room_for(bytes / sizeof(double) + 1, sizeof(double))));
    std::vector<gka_trace_point> trace_points(points);
    gka_trace trace = {
        D, H.memory, lambda, f, Q.memory, nullptr, trace_points.data(), static_cast<int>(points),
        0};
    gka_outcome outcome = {};
    Watch watch{nb::none()};
    {
        nb::gil_scoped_release released;
        gka_arith A;
        gka_arith_start(&A, &policy, 0);
        gka_arith_store(&A, D * D, H.memory, stored.memory);
        gka_arith_store(&A, D, Q.memory, stored.memory + n * n);
        gka_system system = {};
        system.n = 1;
        system.D = D;
        system.H = stored.memory;
        system.lambda = &lambda;
        system.f = &f;
        const gka_observer observer = {gka_trace_observe, &trace};
        gka_solve(&A, &system, &solver, stored.memory + n * n, x.memory, &outcome, &observer,
                  workspace.memory);
    }
    watch.finish(GKA_OK, error);
    nb::list steps, residuals, etas;
    for (int i = 0; i < trace.count; i++) {
        steps.append(trace_points[static_cast<size_t>(i)].step);
        residuals.append(trace_points[static_cast<size_t>(i)].quality.residual);
        etas.append(trace_points[static_cast<size_t>(i)].quality.eta);
    }
    const gka_quality quality = gka_measure(D, H.memory, lambda, f, Q.memory, x.memory, nullptr);
    nb::dict d;
    d["x"] = array_of(GKA_F64, 1, &D, x.release());
    d["event"] = gka_event_name(outcome.event);
    d["step"] = outcome.step;
    d["residual"] = quality.residual;
    d["eta"] = quality.eta;
    d["steps"] = steps;
    d["residuals"] = residuals;
    d["etas"] = etas;
    return d;
}

/* k, q [T,D] and gates [T] are rounded to the arithmetic's storage first; x [T,D]. */
static nb::object kalman(nb::object k, nb::object q, nb::object gates, const std::string &form,
                         const std::string &arithmetic, double lambda, uint64_t seed) {
    nb::list list;
    for (const nb::object &one : {k, q, gates})
        list.append(one);
    const Tensors tensors("kalman", list, nb::dict());
    const gka_tensor &kt = tensors.all()[0], &qt = tensors.all()[1], &gt = tensors.all()[2];
    const int which = gka_kalman_find(form.c_str());
    gka_policy policy;
    gka_error error = {};
    if (kt.rank != 2 || qt.rank != 2 || !std::equal(kt.shape, kt.shape + 2, qt.shape) ||
        kt.shape[1] < 1 || gt.rank != 1 || gt.shape[0] != kt.shape[0])
        fail(GKA_BAD_ARGUMENT, "k and q [T,D] and gates [T] were expected");
    if (which < 0)
        fail(GKA_BAD_ARGUMENT, "no filter '" + form + "'; gka.filters has the names");
    if (!gka_policy_find(arithmetic.c_str(), &policy))
        fail(GKA_BAD_ARGUMENT, "no arithmetic '" + arithmetic + "'; gka.arithmetics has the names");
    if (!(lambda > 0) || std::isinf(lambda))
        fail(GKA_BAD_ARGUMENT, "lam: a finite number above 0 was expected");
    policy.seed = seed;
    check(gka_policy_check(&policy, &error), error);
    const Owned K = doubles_of(kt), Q = doubles_of(qt), G = doubles_of(gt);
    const int64_t T = kt.shape[0], D = kt.shape[1];
    for (int64_t t = 0; t < T; t++)
        if (!(G.memory[t] > 0 && G.memory[t] <= 1))
            fail(GKA_BAD_ARGUMENT, "gates: numbers above 0, at most 1, were expected");
    const gka_kalman_form filter = static_cast<gka_kalman_form>(which);
    Owned x(static_cast<double *>(room_for(static_cast<size_t>(T * D), sizeof(double))));
    const Owned memory(static_cast<double *>(
        room_for(gka_kalman_workspace(filter, D, 0) / sizeof(double) + 1, sizeof(double))));
    Watch watch{nb::none()};
    {
        nb::gil_scoped_release released;
        gka_arith A;
        gka_kalman state;
        gka_arith_start(&A, &policy, 0);
        gka_arith_store(&A, T * D, K.memory, K.memory);
        gka_arith_store(&A, T * D, Q.memory, Q.memory);
        gka_kalman_start(&A, &state, filter, D, 0, lambda, memory.memory);
        for (int64_t t = 0; t < T && !gka_stopped(); t++) {
            gka_kalman_step(&A, &state, K.memory + t * D, nullptr, G.memory[t]);
            (void)gka_kalman_solve(&A, &state, Q.memory + t * D, x.memory + t * D);
        }
    }
    watch.finish(GKA_OK, error);
    return array_of(GKA_F64, 2, kt.shape, x.release());
}

static std::vector<std::string> texts(const char *const *names) {
    std::vector<std::string> all;
    for (; *names != nullptr; names++)
        all.push_back(*names);
    return all;
}

/* ---- the module ---------------------------------------------------------------------------- */

void bind_numbers(nb::module_ &m) {
    m.def("round", &round_to, nb::arg("x"), nb::arg("format"), nb::arg("mode"), nb::arg("seed"),
          nb::arg("first"));
    m.def("formats", &formats);
    m.def("block_formats", &block_formats);
    m.def("devices", &devices);
    m.def("compare", &compare, nb::arg("out"), nb::arg("ref"), nb::arg("row_rank"));
    m.def("solve", &solve, nb::arg("H"), nb::arg("q"), nb::arg("method"), nb::arg("arithmetic"),
          nb::arg("iterations"), nb::arg("lam"), nb::arg("f"), nb::arg("seed"));
    m.def("kalman", &kalman, nb::arg("k"), nb::arg("q"), nb::arg("gates"), nb::arg("form"),
          nb::arg("arithmetic"), nb::arg("lam"), nb::arg("seed"));
    m.def("filters", [] {
        std::vector<std::string> all;
        for (int i = 0; i < GKA_KALMAN_FORM_COUNT; i++)
            all.push_back(gka_kalman_name(static_cast<gka_kalman_form>(i)));
        return all;
    });
    m.def("solvers", [] { return texts(gka_solver_names()); });
    m.def("arithmetics", [] { return texts(gka_policy_names()); });
}
