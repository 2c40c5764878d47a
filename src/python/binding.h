/* binding.h - what the files of the extension module share.
 *
 *   1  Failure                a gka_status with its line, as a C++ exception; check()
 *   2  Tensors                buffers of Python objects as a gka_file, nothing copied
 *   3  array_of               memory of ours as a numpy array
 *   4  Watch                  Ctrl-C and a caller's callback, while the GIL is released
 *
 * The module is private (gka._gka). Tensors travel as tuples (name, dtype, shape, memory): dtype is
 * safetensors' name, memory anything with the buffer protocol that holds the elements in order.
 */
#ifndef GKA_PYTHON_BINDING_H
#define GKA_PYTHON_BINDING_H

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "gka/base.h"
#include "gka/format.h"
#include "gka/io.h"
#include "gka/problem.h"

#include <exception>
#include <string>
#include <utility>
#include <vector>

namespace nb = nanobind;

/* ---- 1 failures ---------------------------------------------------------------------------- */

struct Failure {
    gka_status status;
    std::string text;
};

/* Throws what is not GKA_OK. */
void check(gka_status status, const gka_error &error);
[[noreturn]] void fail(gka_status status, const std::string &text);

/* ---- 2 tensors ----------------------------------------------------------------------------- */

gka_dtype dtype_named(const std::string &name);

/* One object's memory, held against being freed or resized as long as this lives. Made and
 * destroyed with the GIL. */
class Buffer {
  public:
    Buffer(nb::handle memory, const char *what, size_t size, bool writable = false);
    ~Buffer();
    Buffer(Buffer &&other) noexcept;
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
    void *data() const { return view.buf; }

  private:
    Py_buffer view;
    bool held;
};

class Tensors {
  public:
    Tensors(const char *where, nb::list tensors, nb::dict metadata);
    ~Tensors();
    Tensors(const Tensors &) = delete;
    const gka_file *file() const { return handle; }
    const std::vector<gka_tensor> &all() const { return tensors; }

  private:
    std::vector<nb::object> names; /* a tensor's name is the text of one of these */
    std::vector<Buffer> buffers;
    std::vector<gka_tensor> tensors;
    gka_file *handle = nullptr;
};

/* A problem over Tensors, or over an open file. */
class Problem {
  public:
    Problem(const gka_file *file, bool heads_first);
    ~Problem() { gka_problem_free(&value); }
    Problem(const Problem &) = delete;
    gka_problem value;
    double spent; /* seconds in the library, which reads and checks every element */
};

/* Metadata as texts that outlive a call. */
class Pairs {
  public:
    explicit Pairs(nb::dict metadata);
    const gka_text_pair *data() const { return pairs.data(); }
    size_t size() const { return pairs.size(); }

  private:
    std::vector<std::pair<std::string, std::string>> texts;
    std::vector<gka_text_pair> pairs;
};

/* ---- 3 arrays ------------------------------------------------------------------------------ */

/* gka_alloc that throws. */
void *room_for(size_t count, size_t size);

/* A new numpy array and its memory, not yet filled. */
struct Array {
    nb::object object;
    void *data;
};
Array new_array(gka_dtype dtype, int rank, const int64_t *shape);

/* Memory from gka_alloc as a numpy array that owns it. Types that numpy lacks are the unsigned
 * integers of their size. */
nb::object array_of(gka_dtype dtype, int rank, const int64_t *shape, void *memory);

/* Memory that is freed unless it was released into an array. */
struct Owned {
    double *memory;
    explicit Owned(double *m = nullptr) : memory(m) {}
    Owned(Owned &&other) noexcept : memory(other.memory) { other.memory = nullptr; }
    Owned(const Owned &) = delete;
    ~Owned() { gka_free(memory); }
    double *release() {
        double *const m = memory;
        memory = nullptr;
        return m;
    }
};

/* ---- 4 while the GIL is released ----------------------------------------------------------- */

/* Of a clock that does not go back. */
double seconds();

/* As long as it lives SIGINT stops the library (gka_stop), and finish() raises KeyboardInterrupt,
 * also after work that returns no status. callback: called with (done, total) at most ten times a
 * second, from whichever thread reports; what it raises stops the computation and is raised by
 * finish(). */
class Watch {
  public:
    explicit Watch(nb::object callback);
    ~Watch();
    Watch(const Watch &) = delete;
    const gka_progress *progress() const { return &reporter; }
    void finish(gka_status status, const gka_error &error);

  private:
    static bool report(void *context, double done, double total);
    bool call(double done, double total);
    nb::object callback;
    gka_progress reporter;
    double last = 0;
    std::exception_ptr raised;
};

/* ---- parts of the module ------------------------------------------------------------------- */

void bind_numbers(nb::module_ &m); /* round, formats, devices, compare, solve */
void bind_kernels(nb::module_ &m); /* run, spectrum, condition, attribute */
void bind_files(nb::module_ &m);   /* File, save, generate, golden, judge */

#endif
