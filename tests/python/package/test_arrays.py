"""Arrays of every kind and order; what is no array; memory that is changed or freed; errors; Ctrl-C."""
import ctypes
import functools
import gc
import inspect
import operator
import os
import re
import signal
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest

import gka
from gka import _gka
from gka._arrays import give, take

P = gka.problem(T=24, H=2, D=16, V=8, gate="slow", chunk=8, dtype="fp32")
T = P.to("numpy")
FULL = gka.exact(T["q"], T["k"], T["v"], T["alpha"], T["g"])


def again(**changes):
    return gka.exact(*(changes.get(name, T[name]) for name in ("q", "k", "v", "alpha", "g")))


@pytest.mark.parametrize("change", ["strided", "fortran", "big-endian", "read-only", "float64", "list", "offset", "reversed"])
def test_any_order_of_memory(change):
    q = T["q"]
    if change == "strided":
        wide = np.zeros((1, 24, 2, 32), np.float32)
        wide[..., ::2] = q
        q = wide[..., ::2]
    elif change == "fortran":
        q = np.asfortranarray(q)
    elif change == "big-endian":
        q = q.astype(">f4")
    elif change == "read-only":
        q = q.copy()
        q.setflags(write=False)
    elif change == "float64":
        q = q.astype(np.float64)
    elif change == "list":
        q = q.astype(np.float64).tolist()
    elif change == "offset":  # not aligned to its size
        memory = np.zeros(q.nbytes + 1, np.uint8)
        memory[1:] = np.frombuffer(q.tobytes(), np.uint8)
        q = memory[1:].view(np.float32).reshape(q.shape)
    elif change == "reversed":
        q = np.ascontiguousarray(q[:, ::-1])[:, ::-1]
    before = q if isinstance(q, list) else q.copy()
    assert again(q=q).o.tobytes() == FULL.o.tobytes()
    assert q == before if isinstance(q, list) else np.array_equal(q, before)


def test_what_is_contiguous_is_not_copied():
    raw = take("q", T["q"])
    assert np.shares_memory(raw[3], T["q"])
    problem = gka.Problem(T["q"], T["k"])
    assert np.shares_memory(problem.q, T["q"])
    assert not np.shares_memory(take("q", T["q"][:, ::2])[3], T["q"])


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    p = gka.problem(T=16, D=16, V=16, chunk=16)
    t = p.to("numpy")
    assert t["q"].dtype == ml_dtypes.bfloat16
    assert np.shares_memory(take("q", t["q"])[3], t["q"])
    a, b = gka.emulate("h100", p), gka.emulate("h100", t["q"], t["k"], t["v"], t["alpha"], t["g"], chunk_size=16)
    assert a.o.dtype == ml_dtypes.bfloat16 and a.o.tobytes() == b.o.tobytes()
    for dtype in ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2:
        q = t["q"].astype(dtype)
        assert np.array_equal(gka.exact(q, t["k"]).x, gka.exact(q.astype(np.float32), t["k"]).x)


def test_without_ml_dtypes(monkeypatch):
    pytest.importorskip("ml_dtypes")
    a = gka.emulate("h100", gka.problem(T=16, D=16, V=16, chunk=16)).o
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    b = gka.emulate("h100", gka.problem(T=16, D=16, V=16, chunk=16)).o
    assert b.dtype == np.float32 and np.array_equal(a.astype(np.float32), b)
    e4m3 = give("numpy", "F8_E4M3", np.array([0x38, 0xb8, 0x7e], np.uint8))
    assert e4m3.tolist() == [1, -1, 448]


def test_an_array_of_dlpack_alone():
    class Foreign:
        def __init__(self, a):
            self.a = a

        def __dlpack__(self, **more):
            return self.a.__dlpack__(**more)

        def __dlpack_device__(self):
            return self.a.__dlpack_device__()

    assert again(q=Foreign(T["q"])).o.tobytes() == FULL.o.tobytes()


@pytest.mark.parametrize("wrong", [np.zeros((1, 24, 2, 16), complex), np.array([["a"]]), object(), "text", np.array([None]),
                                   np.zeros(3, np.longdouble)])
def test_what_holds_no_numbers(wrong):
    with pytest.raises((TypeError, ValueError)):
        again(q=wrong)


@pytest.mark.parametrize("name,wrong,line", [
    ("q", np.zeros((1, 24, 2, 15), np.float32), r"tensor 'k': shape"),
    ("k", np.zeros((1, 24, 16), np.float32), r"tensor 'k'"),
    ("q", np.full((1, 24, 2, 16), np.nan, np.float32), r"tensor 'q'.*nan"),
    ("g", np.ones((1, 24, 2), np.float32), r"tensor 'g'"),
    ("q", np.zeros((1,) * 9), r"9 axes"),
    ("q", np.zeros((1, 24, 2, 16), np.int32), r"tensor 'q'.*I32"),
])
def test_the_librarys_line(name, wrong, line):
    with pytest.raises(gka.Error, match="(?i)" + line) as error:
        again(**{name: wrong})
    assert "\n" not in str(error.value) and error.value.status in ("BAD_FILE", "BAD_ARGUMENT")
    assert isinstance(error.value, ValueError)


def test_errors_have_their_classes(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        gka.load(tmp_path / "none")
    with pytest.raises(gka.Unsupported, match="multiple of 16"):
        gka.emulate("h100", gka.problem(T=4, D=8, V=8))
    assert issubclass(gka.Unsupported, NotImplementedError) and issubclass(gka.OutOfMemory, MemoryError)
    with pytest.raises(gka.NumericalError):
        gka.exact(T["q"], T["k"] * 0 + 1, ridge_ratio=0.0, outputs=["x"])
    with pytest.raises(gka.BadArgument, match="needs 'do'"):
        gka.exact(T["q"], T["k"], T["v"], outputs=["layer.dq"])
    with pytest.raises(gka.BadArgument, match="no output is called 'y'"):
        gka.exact(T["q"], T["k"], outputs=["y"])
    with pytest.raises(TypeError):
        gka.exact(T["q"])
    with pytest.raises(TypeError):
        gka.exact(P, T["k"])
    with pytest.raises(gka.BadArgument, match="gate"):
        gka.problem(gate="barn")
    with pytest.raises(gka.BadArgument):
        gka.set_threads(-1)


def test_nothing_in_it():
    empty = np.zeros((1, 0, 2, 16), np.float32)
    out = gka.exact(empty, empty, np.zeros((1, 0, 2, 8), np.float32), outputs=["x", "o", "h_final"])
    assert out.x.shape == (1, 0, 2, 16) and out.o.shape == (1, 0, 2, 8) and not out.h_final.any()
    assert gka.round(np.zeros(0), "bf16").shape == (0,)
    assert gka.exact(np.zeros((0, 3, 1, 4), np.float32), np.zeros((0, 3, 1, 4), np.float32)).x.shape == (0, 3, 1, 4)
    with pytest.raises(gka.BadFile, match="V = 0"):
        gka.exact(T["q"], T["k"], np.zeros((1, 24, 2, 0), np.float32), outputs=["x"])


def test_kalman_takes_any_array():
    k, q, gates = T["k"][0, :, 0], T["q"][0, :, 0], np.linspace(.5, 1, 24)
    assert not k.flags.c_contiguous
    x = gka.kalman(k, q, lam=.5, gates=gates)
    frozen = q.copy()
    frozen.setflags(write=False)
    wide = np.zeros(48)
    wide[::2] = gates
    for other in (dict(k=k.astype(">f4")), dict(k=np.asfortranarray(k)), dict(q=frozen), dict(q=q.astype(np.float64).tolist()),
                  dict(gates=wide[::2]), dict(gates=gates[::-1].copy()[::-1]), dict(k=np.ascontiguousarray(k[::-1])[::-1])):
        assert gka.kalman(**{**dict(k=k, q=q, gates=gates, lam=.5), **other}).tobytes() == x.tobytes(), other
    assert gka.kalman(k[:0], q[:0], lam=.5).shape == (0, 16)
    for wrong in (dict(k=k[:3]), dict(q=q[:, :3]), dict(k=k[:, :0], q=q[:, :0]), dict(k=3.0), dict(k=k[0]), dict(gates=gates[:3]),
                  dict(gates=gates - 1), dict(gates=gates * np.nan), dict(lam=0.0), dict(form="none"), dict(arithmetic="none")):
        with pytest.raises(gka.BadArgument):
            gka.kalman(**{**dict(k=k, q=q, gates=gates, lam=.5), **wrong})


def test_nothing_leaks():
    array = T["q"].copy()
    held, count = weakref.ref(array), sys.getrefcount(array)
    for _ in range(3):
        again(q=array)
        for wrong in dict(ridge_ratio=-1.0), dict(outputs=["y"]), dict(oracle="none"):
            with pytest.raises(gka.Error):
                gka.exact(array, T["k"], **wrong)
    assert sys.getrefcount(array) == count
    out = again(q=array)
    del array
    gc.collect()
    assert held() is None
    o = out.o
    del out
    gc.collect()
    assert o.tobytes() == FULL.o.tobytes()  # results own their memory
    problem = gka.Problem(T["q"].copy(), T["k"].copy())
    x = problem.q
    del problem
    gc.collect()
    assert np.array_equal(x, T["q"])


def test_a_bytearray_is_held_while_it_is_read():
    """Memory that its owner resizes or drops while a call runs: the owner is told no, the result is right."""
    memory = bytearray(T["q"].tobytes())
    raw = [("q", "F32", T["q"].shape, memory)] + [take(name, T[name]) for name in ("k", "v", "alpha", "g")]
    results, seen = [], []

    def tell(done, total):
        try:
            memory.extend(b"more")
            seen.append("resized")
        except BufferError:
            seen.append("held")
        raw.clear()

    out, _ = _gka.run("mpfr", list(raw), {}, False, ["x"], None, [], tell)
    results.append(out[0][2])
    assert set(seen) == {"held"}
    memory.extend(b"now")
    assert results[0].tobytes() == FULL.x.tobytes()
    with pytest.raises(gka.BadArgument, match="bytes; 3072 were expected"):
        _gka.run("fp64", [("q", "F32", T["q"].shape, memory), take("k", T["k"])], {}, False, ["x"], None, [], None)
    with pytest.raises(gka.BadArgument, match="a shape that no memory has"):
        _gka.run("fp64", [("q", "F32", (1 << 62, 1 << 62, 1, 1), memory)], {}, False, ["x"], None, [], None)
    with pytest.raises(gka.BadArgument, match="no dtype"):
        _gka.run("fp64", [("q", "F33", (1,), memory)], {}, False, ["x"], None, [], None)


def test_the_gil_is_released():
    slow = gka.problem(T=160, H=1, D=64, V=16)
    ticks = []
    stop = threading.Event()

    def count():
        while not stop.is_set():
            ticks.append(time.monotonic())
            time.sleep(.001)

    thread = threading.Thread(target=count)
    thread.start()
    begin = time.monotonic()
    gka.exact(slow, oracle="mpfr", outputs=["x"])
    end = time.monotonic()
    stop.set()
    thread.join()
    assert sum(begin < t < end for t in ticks) > 5


class Foreign:
    """An array that speaks DLPack and nothing else, on a device of a made-up number."""

    def __init__(self, array, device):
        self.array, self.device = array, device

    def __dlpack_device__(self):
        return self.device, 0

    def __dlpack__(self, **how):
        assert self.device == 1
        return self.array.__dlpack__(**how)


def test_dlpack():
    assert again(q=Foreign(T["q"], 1)).o.tobytes() == FULL.o.tobytes()
    for device, name in (2, "CUDA"), (10, "ROCm"), (99, "device"):
        with pytest.raises(TypeError, match=f"^q: Foreign on a {name}.*expected$"):
            again(q=Foreign(T["q"], device))


def test_jax():
    jax = pytest.importorskip("jax")
    given = [jax.numpy.asarray(T[name]) for name in ("q", "k", "v", "alpha", "g")]
    out = gka.emulate("tokens/fp32", *given)
    assert type(out.o) is type(given[0]) and np.asarray(out.o).tobytes() == gka.emulate("tokens/fp32", P).o.tobytes()
    assert gka.emulate("h100", gka.Problem(*(x.astype(jax.numpy.bfloat16) for x in given[:4]), given[4], chunk_size=16).replace(
        v=None)).x.dtype == jax.numpy.bfloat16


def test_calls_from_several_threads():
    results = [None] * 4

    def work(i):
        results[i] = again().o

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(one.tobytes() == FULL.o.tobytes() for one in results)


def test_progress_is_told_and_may_stop(tmp_path):
    seen = []
    gka.exact(P, progress=lambda done, total: seen.append((done, total)))
    assert seen and seen[-1][0] == seen[-1][1]

    for kernel in "h100", "tokens/bf16":
        seen.clear()
        gka.emulate(kernel, gka.problem(T=32, D=16, V=16, chunk=16, dtype="bf16"),
                    progress=lambda done, total: seen.append((done, total)))
        assert seen and seen[-1][0] == seen[-1][1]

    class Enough(Exception):
        pass

    def stop(done, total):
        raise Enough

    with pytest.raises(Enough):
        gka.exact(P, progress=stop)
    with pytest.raises(Enough):
        gka.golden(tmp_path / "golden", P, progress=stop)
    assert list(tmp_path.iterdir()) == []
    assert gka.exact(P, progress=True).o.tobytes() == FULL.o.tobytes()


SOON = .4 * (20 if "libasan" in os.environ.get("LD_PRELOAD", "") else 1)


def interrupted(call):
    """Ctrl-C while a call runs: it raises KeyboardInterrupt within .2 s on each of two threads (of processor time, which a busy
    machine does not stretch; under AddressSanitizer twenty times as long, as in tests/unit/stop.c)."""
    handler, rang = signal.getsignal(signal.SIGINT), []

    def ring():
        rang.append(time.process_time())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(.1, ring)
    with pytest.raises(KeyboardInterrupt):
        timer.start()  # which a busy machine may keep until the clock has rung
        call()
    assert time.process_time() - rang[0] < SOON
    assert signal.getsignal(signal.SIGINT) is handler
    timer.join()


LONG = gka.problem(T=4000, D=64, V=64, H=2, dtype="bf16")


@pytest.mark.parametrize("kernel", ["mpfr/4000", "certified", "h100", "cuda", "tokens/bf16", "steps"])
def test_ctrl_c(kernel):
    interrupted(lambda: gka.emulate(kernel, LONG, outputs=["x", "layer.dk"]))
    assert again().o.tobytes() == FULL.o.tobytes()


def test_ctrl_c_before_the_library_is_at_work():
    """While a call reads its tensors only Python's handler sees the signal, and remembers it. Between the two calls below the
    interpreter, which would raise at once, has no turn."""
    ring = functools.partial(ctypes.pythonapi.PyErr_SetInterruptEx, int(signal.SIGINT))
    run = functools.partial(_gka.run, "certified", *LONG._arguments(), ["layer.dk"], None, [], None)
    begin = time.process_time()
    with pytest.raises(KeyboardInterrupt):
        list(map(operator.methodcaller("__call__"), [ring, run]))
    assert time.process_time() - begin < SOON
    assert again().o.tobytes() == FULL.o.tobytes()


def test_ctrl_c_elsewhere(tmp_path):
    interrupted(lambda: gka.spectrum(LONG))
    interrupted(lambda: gka.attribute(LONG))
    interrupted(lambda: gka.condition(LONG))
    interrupted(lambda: gka.golden(tmp_path / "golden", LONG))
    interrupted(lambda: gka.golden(tmp_path / "suite", suite="kernel"))
    left = {path.name for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".safetensors"}
    assert left <= {".lock"}  # of a folder that is not complete: other processes may be at work in it
    H = np.eye(200)
    interrupted(lambda: gka.kalman(np.ones((4000, 200)), np.ones((4000, 200)), lam=1.0, arithmetic="bf16"))
    interrupted(lambda: gka.solve(H, H[0], method="gradient", iterations=10 ** 6, arithmetic="bf16-acc32"))
    assert again().o.tobytes() == FULL.o.tobytes()


def test_ctrl_c_of_the_command(tmp_path):
    program = os.path.join(os.path.dirname(os.path.abspath(gka.__file__)), "bin", "gka")
    child = subprocess.Popen([program, "golden", "--T=20000", "--emulate=h100", "-o", tmp_path / "golden"])
    time.sleep(.5)
    begin = time.monotonic()
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=60) == -signal.SIGINT and time.monotonic() - begin < 5
    assert list(tmp_path.iterdir()) == []


def test_files(tmp_path):
    a = {"f": np.arange(6, dtype=np.float32).reshape(2, 3), "i": np.arange(3), "none": np.zeros((0, 2))}
    gka.save(tmp_path / "file", a, {"who": "me"})
    b = gka.load(tmp_path / "file")
    assert b.metadata == {"who": "me"} and all(np.array_equal(a[n], b[n]) and a[n].dtype == b[n].dtype for n in a)
    safetensors = pytest.importorskip("safetensors.numpy")
    theirs = safetensors.load_file(tmp_path / "file")
    assert all(np.array_equal(a[n], theirs[n]) for n in a)
    with pytest.raises(gka.FileError):
        gka.save(tmp_path / "no" / "file", a)
    with pytest.raises(TypeError, match="^c: "):
        gka.save(tmp_path / "file", {"c": np.zeros(2, complex)})
    assert gka.load(tmp_path / "file").metadata == {"who": "me"}


def test_names_are_complete():
    """Every public function says what it takes and returns, what it raises, and which header holds the rule; every class what
    it is; every parameter stands in the text."""
    assert sorted(gka.__all__) == sorted(set(gka.__all__))
    for name in gka.__all__:
        one = getattr(gka, name)
        if not callable(one):
            continue
        assert one.__doc__ and not one.__doc__.startswith(name + "("), name
        if inspect.isfunction(one) and name not in ("threads", "set_threads"):
            for parameter in inspect.signature(one).parameters.values():
                said = parameter.kind is parameter.VAR_KEYWORD or re.search(rf"\b{parameter.name}\b", one.__doc__)
                assert said or parameter.name in SHARED, (name, parameter.name)
            assert "Source" in one.__doc__ or name in ("goldens", "outputs"), name
            assert re.search(r"gka\.\w*(Error|Argument|File|Unsupported)", one.__doc__) or name in ("goldens",), name


SHARED = {"q", "k", "v", "alpha", "g", "do", "dx", "problem", "progress", "path"}  # said once, in gka.Problem and gka


def test_the_stub_has_every_function():
    import ast

    with open(os.path.join(os.path.dirname(gka.__file__), "_gka.pyi")) as file:
        tree = ast.parse(file.read())
    said = {one.name for one in tree.body if isinstance(one, (ast.FunctionDef, ast.ClassDef))}
    assert said == {name for name in dir(_gka) if not name.startswith("_")}
    file_said = {one.name for node in tree.body if isinstance(node, ast.ClassDef) for one in node.body
                 if isinstance(one, ast.FunctionDef)}
    assert file_said - {"__init__"} == {name for name in dir(_gka.File) if not name.startswith("_")}
