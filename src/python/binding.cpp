/* binding.cpp - the extension module: failures, buffers, arrays, signals. */
#include "binding.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <ctime>
#include <memory>
#include <thread>

/* ---- time --------------------------------------------------------------------------------- */

double seconds() {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/* ---- failures ------------------------------------------------------------------------------ */

void fail(gka_status status, const std::string &text) {
    throw Failure{status, text};
}

void check(gka_status status, const gka_error &error) {
    if (status != GKA_OK)
        fail(status, error.text[0] != '\0' ? error.text : gka_status_text(status));
}

/* gka._errors chooses the class. */
static void raise(const Failure &failure) {
    try {
        nb::object error = nb::module_::import_("gka._errors")
                               .attr("make")(static_cast<int>(failure.status), failure.text);
        PyErr_SetObject(reinterpret_cast<PyObject *>(Py_TYPE(error.ptr())), error.ptr());
    } catch (nb::python_error &python) {
        python.restore();
    }
}

/* ---- tensors ------------------------------------------------------------------------------- */

gka_dtype dtype_named(const std::string &name) {
    for (int i = 0; i < GKA_DTYPE_COUNT; i++)
        if (name == gka_dtype_name(static_cast<gka_dtype>(i)))
            return static_cast<gka_dtype>(i);
    fail(GKA_BAD_ARGUMENT, "no dtype '" + name + "'; F64, F32, BF16 or the like was expected");
}

static const char *text_of(nb::handle text) {
    const char *const bytes = PyUnicode_AsUTF8AndSize(text.ptr(), nullptr);
    if (bytes == nullptr)
        nb::raise_python_error();
    return bytes;
}

/* Name, dtype and shape of (name, dtype, shape, memory), read in place: a call makes nothing of
 * them. */
static gka_tensor tensor_of(nb::handle one) {
    nb::handle parts[4];
    gka_tensor tensor = {};
    if (!PyTuple_Check(one.ptr()) || PyTuple_Size(one.ptr()) != 4)
        throw nb::type_error("a tensor is (name, dtype, shape, memory)");
    for (int i = 0; i < 4; i++)
        parts[i] = PyTuple_GetItem(one.ptr(), i);
    tensor.name = text_of(parts[0]);
    tensor.dtype = dtype_named(text_of(parts[1]));
    if (!PyTuple_Check(parts[2].ptr()))
        throw nb::type_error("a shape is a tuple");
    const Py_ssize_t rank = PyTuple_Size(parts[2].ptr());
    if (rank > GKA_MAX_RANK)
        fail(GKA_BAD_ARGUMENT, std::string(tensor.name) + ": " + std::to_string(rank) +
                                   " axes; at most " + std::to_string(GKA_MAX_RANK) +
                                   " were expected");
    tensor.rank = static_cast<int>(rank);
    for (int i = 0; i < tensor.rank; i++) {
        tensor.shape[i] = PyLong_AsLongLong(PyTuple_GetItem(parts[2].ptr(), i));
        if (tensor.shape[i] == -1 && PyErr_Occurred())
            nb::raise_python_error();
    }
    return tensor;
}

Buffer::Buffer(nb::handle memory, const char *what, size_t size, bool writable) : held(false) {
    if (PyObject_GetBuffer(memory.ptr(), &view, writable ? PyBUF_WRITABLE : PyBUF_SIMPLE) != 0)
        nb::raise_python_error();
    held = true;
    if (static_cast<size_t>(view.len) != size) {
        const std::string line = std::string(what) + ": memory of " + std::to_string(view.len) +
                                 " bytes; " + std::to_string(size) + " were expected";
        PyBuffer_Release(&view);
        held = false;
        fail(GKA_BAD_ARGUMENT, line);
    }
}

Buffer::Buffer(Buffer &&other) noexcept : view(other.view), held(other.held) {
    other.held = false;
}

Buffer::~Buffer() {
    if (held)
        PyBuffer_Release(&view);
}

Pairs::Pairs(nb::dict metadata) {
    for (auto [key, value] : metadata)
        texts.emplace_back(nb::cast<std::string>(key), nb::cast<std::string>(value));
    for (const auto &text : texts)
        pairs.push_back({text.first.c_str(), text.second.c_str()});
}

Tensors::Tensors(const char *where, nb::list given, nb::dict metadata) {
    const size_t count = nb::len(given);
    names.reserve(count);
    buffers.reserve(count);
    tensors.reserve(count);
    for (nb::handle one : given) {
        gka_tensor tensor = tensor_of(one);
        int64_t bytes;
        names.push_back(nb::borrow(PyTuple_GetItem(one.ptr(), 0)));
        int64_t factors[GKA_MAX_RANK + 1] = {static_cast<int64_t>(gka_dtype_size(tensor.dtype))};
        for (int i = 0; i < tensor.rank; i++)
            factors[i + 1] = tensor.shape[i];
        if (!gka_product(tensor.rank + 1, factors, INT64_MAX, &bytes))
            fail(GKA_BAD_ARGUMENT, std::string(tensor.name) + ": a shape that no memory has");
        buffers.emplace_back(PyTuple_GetItem(one.ptr(), 3), tensor.name,
                             static_cast<size_t>(bytes));
        tensor.data = buffers.back().data();
        tensors.push_back(tensor);
    }
    const Pairs pairs(metadata);
    gka_error error = {};
    check(gka_file_from_tensors(where, tensors.data(), tensors.size(), pairs.data(), pairs.size(),
                                &handle, &error),
          error);
}

Tensors::~Tensors() {
    gka_file_close(handle);
}

Problem::Problem(const gka_file *file, bool heads_first) {
    gka_error error = {};
    gka_selection selection = {};
    selection.heads_first = heads_first;
    nb::gil_scoped_release released;
    const double begin = seconds();
    check(heads_first ? gka_problem_select(file, &selection, &value, nullptr, &error)
                      : gka_problem_from_file(file, &value, nullptr, &error),
          error);
    spent = seconds() - begin;
}

/* ---- arrays -------------------------------------------------------------------------------- */

void *room_for(size_t count, size_t size) {
    void *const memory = gka_alloc(count, size);
    if (memory == nullptr)
        fail(GKA_OUT_OF_MEMORY, "out of memory for a result");
    return memory;
}

/* What numpy calls a type, or the unsigned integer that stands for it. */
static const char *numpy_letters(gka_dtype dtype) {
    switch (dtype) {
    case GKA_F64: return "f8";
    case GKA_F32: return "f4";
    case GKA_F16: return "f2";
    case GKA_I64: return "i8";
    case GKA_I32: return "i4";
    case GKA_I16: return "i2";
    case GKA_I8: return "i1";
    case GKA_U64: return "u8";
    case GKA_U32: return "u4";
    case GKA_BOOL: return "?";
    default: return gka_dtype_size(dtype) == 2 ? "u2" : "u1";
    }
}

/* numpy's own object for it; looked up once. */
static nb::handle numpy_type(gka_dtype dtype) {
    static nb::handle known[GKA_DTYPE_COUNT];
    if (!known[dtype].is_valid())
        known[dtype] = nb::module_::import_("numpy").attr("dtype")(numpy_letters(dtype)).release();
    return known[dtype];
}

Array new_array(gka_dtype dtype, int rank, const int64_t *shape) {
    nb::object extents = nb::steal(PyTuple_New(rank));
    for (int i = 0; i < rank; i++)
        PyTuple_SetItem(extents.ptr(), i, PyLong_FromLongLong(shape[i]));
    static const nb::object &empty = *new nb::object(nb::module_::import_("numpy").attr("empty"));
    Array array = {empty(extents, numpy_type(dtype)), nullptr};
    Py_buffer view;
    if (PyObject_GetBuffer(array.object.ptr(), &view, PyBUF_WRITABLE) != 0)
        nb::raise_python_error();
    array.data = view.buf; /* the array holds it */
    PyBuffer_Release(&view);
    return array;
}

nb::object array_of(gka_dtype dtype, int rank, const int64_t *shape, void *memory) {
    const std::unique_ptr<void, void (*)(void *)> owner(memory, gka_free);
    size_t bytes = gka_dtype_size(dtype);
    for (int i = 0; i < rank; i++)
        bytes *= static_cast<size_t>(shape[i]);
    const Array array = new_array(dtype, rank, shape);
    if (bytes > 0)
        std::memcpy(array.data, memory, bytes);
    return array.object;
}

/* ---- signals and progress ------------------------------------------------------------------ */

/* SIGINT stops the library, and goes on to Python's own handler, which remembers it for the
 * interpreter. */
static std::atomic<int> watches;
static struct sigaction before;

static void on_interrupt(int number, siginfo_t *about, void *context) {
    gka_stop(true);
    if (before.sa_flags & SA_SIGINFO)
        before.sa_sigaction(number, about, context);
    else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
        before.sa_handler(number);
}

/* A call that begins while others are being stopped waits for them, with the GIL released: what was
 * asked of them was not asked of it. They end within .2 s; a call out of a progress callback would
 * wait for itself, so a second is the most. */
static void wait_for_a_stop() {
    for (int waited = 0; waited < 1000 && watches > 0 && gka_stopped(); waited++) {
        nb::gil_scoped_release others;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

/* Where Python does not handle SIGINT (SIG_DFL, SIG_IGN) it stays as it is. With the GIL. */
static void begin_watch() {
    if (watches++ > 0)
        return;
    struct sigaction ours = {};
    if (sigaction(SIGINT, nullptr, &before) != 0)
        return;
    if (!(before.sa_flags & SA_SIGINFO) &&
        (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN))
        return;
    ours.sa_sigaction = on_interrupt;
    ours.sa_flags = SA_SIGINFO | (before.sa_flags & (SA_RESTART | SA_ONSTACK));
    ours.sa_mask = before.sa_mask;
    (void)sigaction(SIGINT, &ours, nullptr);
}

static void end_watch() {
    struct sigaction now;
    if (--watches > 0)
        return;
    gka_stop(false);
    if (sigaction(SIGINT, nullptr, &now) == 0 && (now.sa_flags & SA_SIGINFO) &&
        now.sa_sigaction == on_interrupt)
        (void)sigaction(SIGINT, &before, nullptr);
}

/* A SIGINT that came before the watch (while the arrays were read) only Python's handler has seen.
 */
Watch::Watch(nb::object told) : callback(std::move(told)), reporter{report, this} {
    wait_for_a_stop();
    begin_watch();
    if (PyErr_CheckSignals() != 0) {
        end_watch();
        nb::raise_python_error();
    }
}

Watch::~Watch() {
    end_watch();
}

bool Watch::report(void *context, double done, double total) {
    Watch *const self = static_cast<Watch *>(context);
    return self->callback.is_none() || self->call(done, total);
}

bool Watch::call(double done, double total) {
    const double now = seconds();
    if (done < total && now - last < .1)
        return true;
    last = now;
    nb::gil_scoped_acquire held;
    if (raised != nullptr)
        return false;
    try {
        callback(done, total);
    } catch (...) {
        raised = std::current_exception();
    }
    return raised == nullptr;
}

void Watch::finish(gka_status status, const gka_error &error) {
    if (raised != nullptr)
        std::rethrow_exception(raised);
    if (gka_stopped() && PyErr_CheckSignals() != 0)
        nb::raise_python_error();
    check(status == GKA_OK && gka_stopped() ? GKA_INTERRUPTED : status, error);
}

/* ---- the module ---------------------------------------------------------------------------- */

static bool report_exception(const std::exception_ptr &pointer) {
    try {
        std::rethrow_exception(pointer);
    } catch (const Failure &failure) {
        raise(failure);
        return true;
    } catch (...) {
        return false;
    }
}

NB_MODULE(_gka, m) {
    nb::register_exception_translator([](const std::exception_ptr &pointer, void *) {
        if (!report_exception(pointer))
            std::rethrow_exception(pointer);
    });
    m.def("version", &gka_version);
    m.def("threads", &gka_threads);
    m.def("set_threads", [](int n) {
        if (n < 0)
            fail(GKA_BAD_ARGUMENT, "threads: " + std::to_string(n) + "; 0 or more was expected");
        gka_set_threads(n);
    });
    bind_numbers(m);
    bind_kernels(m);
    bind_files(m);
}
