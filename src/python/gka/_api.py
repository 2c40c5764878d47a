"""The functions of the package. Shapes and letters are those of gka.Problem."""
from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import _gka
from ._arrays import give, kind_of, take
from ._problem import INPUTS, KEYS, Problem, as_problem

Progress = Callable[[float, float], Any] | bool | None


class Outputs(dict[str, Any]):
    """Arrays by name: out["layer.dk"], out.o, out.layer.dk. `report`: "seconds" that the library took and, of an oracle, what it
    met on the way (gka_oracle_report of include/gka/oracle.h) in "forward", "solve" and "layer"."""

    report: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        inside = Outputs({key.removeprefix(name + "."): value for key, value in self.items() if key.startswith(name + ".")})
        if not inside:
            raise AttributeError(f"no output '{name}': {' '.join(self)}")
        return inside


def _told(progress: Progress, label: str) -> Any:
    """The callback for the library; True: a tqdm bar where that is installed."""
    if progress is None or progress is False:
        return None
    if callable(progress):
        return progress
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    bar = tqdm(desc=label, leave=False)

    def tell(done: float, total: float) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return tell


def _run(kernel: str, problem: Problem, outputs: Iterable[str], stored: bool | list[str], given: Mapping[str, Any] | None,
         progress: Progress) -> Outputs:
    upstream = None if given is None else [take(name, np.asarray(value) if kind_of(value) == "numpy" else value)
                                           for name, value in given.items()]
    names = list(outputs)
    as_stored = stored if isinstance(stored, list) else names if stored else []
    tensors, report = _gka.run(kernel, *problem._arguments(), names, upstream, as_stored, _told(progress, kernel))
    out = Outputs()
    for name, dtype, array in tensors:
        if problem._heads_first and name.rpartition(".")[2] in _TOKENS:
            array = array.swapaxes(1, 2)
        out[name] = give(problem._kind, dtype, array, problem._like)
    out.report = report
    return out


_TOKENS = {"x", "fro", "o", "lambda", "kappa", "g_cumsum", "dq", "dk", "dv", "dalpha", "dg", "p", "dg_h", "dg_u"}
_GRADIENTS = ("dq", "dk", "dv", "dalpha", "dg", "dh0", "du0")


def outputs(kernel: str, problem: Problem) -> list[str]:
    """The names of all outputs that a kernel has and the problem the inputs for. gka.BadArgument for a kernel that is none."""
    return _gka.outputs_of(kernel, *problem._arguments())


def exact(q: Any, k: Any = None, v: Any = None, alpha: Any = None, g: Any = None, *, outputs: Sequence[str] | None = None,
          oracle: str = "certified", given: Mapping[str, Any] | None = None, progress: Progress = None,
          **more: Any) -> Outputs:
    """The layer's exact outputs, correctly rounded to binary64.

    q k v alpha g and further tensors and parameters (h0=, ridge_ratio=, layout=, ...) are those of gka.Problem, or q is one.
    outputs: names of include/gka/problem.h, section 8 (x fro o h_final u_final h_chunk lambda kappa, and with cotangents
    solve.dq .. layer.dg); by default x, fro and, where there is a v, o. oracle: "certified" (double-double with a proven bound,
    MPFR where that is too coarse), "fp64" (LAPACK; fast, error about kappa n 2^-53) or "mpfr", "mpfr/BITS". given: upstream
    tensors, as for gka.gradients. progress, here and elsewhere: called with (done, total) at most ten times a second, True: a
    bar of tqdm where that is installed; of an emulation it hears at the end. Ctrl-C ends any call within .2 s.

    Returns Outputs of float64 arrays of the kind of q, in its layout; .report has the bound and the counts of the proof.
    Raises gka.BadFile for tensors that are no problem, gka.NumericalError for a state that is singular.
    Source: include/gka/oracle.h; NUMERICS.md 1."""
    problem = as_problem(q, k, dict(v=v, alpha=alpha, g=g, **more))
    if outputs is None:
        outputs = ("x", "fro", "o") if "v" in problem else ("x", "fro")
    return _run(oracle, problem, outputs, False, given, progress)


def gradients(q: Any, k: Any = None, v: Any = None, alpha: Any = None, g: Any = None, *, do: Any = None, dx: Any = None,
              of: str | None = None, kernel: str = "certified", wanted: Sequence[str] | None = None,
              given: Mapping[str, Any] | None = None, progress: Progress = None, **more: Any) -> Outputs:
    """Gradients of <o, do> (of="o", what there is a do for) or of <x, dx> (of="x"), by any kernel.

    wanted: any of dq dk dv dalpha dg dh0 du0; by default those of the tensors that are there. dq [B,T,H,D], dk [B,T,G,D],
    dv [B,T,G,V], dalpha dg [B,T,H], dh0 [N,H,D,D], du0 [N,H,D,V]. kernel: "certified" (float64 results, correctly rounded), or
    a name that gka.emulate takes: then results have the types that the kernel stores. given: upstream tensors x, fro, solve.p
    or layer.p to take the gradients at (certified and profiles).

    gka.BadArgument for a gradient whose inputs are not there, gka.Unsupported for one that the kernel lacks. Source:
    include/gka/oracle.h, section 4; include/gka/kernel.h; NUMERICS.md 2."""
    problem = as_problem(q, k, dict(v=v, alpha=alpha, g=g, do=do, dx=dx, **more))
    if of is None:
        of = "o" if "do" in problem else "x"
    if of not in ("o", "x"):
        raise ValueError(f"of={of!r}; 'o' or 'x' was expected")
    part = "layer" if of == "o" else "solve"
    if wanted is None:
        there = [name for name in _GRADIENTS if name[1:] in problem]
        wanted = [name for name in there if of == "o" or name in ("dq", "dk", "dg", "dh0")]
        has = _gka.outputs_of(kernel, *problem._arguments())
        wanted = [name for name in wanted if f"{part}.{name}" in has]
    stored = kernel.partition("/")[0] not in ("certified", "fp64", "mpfr")
    out = _run(kernel, problem, [f"{part}.{name}" for name in wanted], stored, given, progress)
    plain = Outputs({name.partition(".")[2]: value for name, value in out.items()})
    plain.report = out.report
    return plain


def emulate(kernel: str, q: Any, k: Any = None, v: Any = None, alpha: Any = None, g: Any = None, *,
            outputs: Sequence[str] | None = None, stored: bool = True, given: Mapping[str, Any] | None = None,
            progress: Progress = None, **more: Any) -> Outputs:
    """What a kernel would return, bit for bit, computed on the CPU.

    kernel: a name of include/gka/kernel.h: "h100", "h100/two-term", "h100/norm_reduce=exact", "a100", "cuda", "steps",
    "tokens/bf16-acc32", ...; tensors and parameters as gka.exact takes them. outputs: by default x, fro and, where there is a
    v, o. Results have the types in which the kernel stores them (bfloat16 and float32 for h100; numpy needs ml_dtypes for
    bfloat16, and gets float32 of the same values without it), or float64 with stored=False. given: upstream tensors, as for
    gka.gradients.

    Raises gka.BadArgument for a kernel that is none, gka.Unsupported for a problem that the device cannot run (the h100 wants
    bfloat16 inputs and multiples of 16). Source: include/gka/kernel.h, include/gka/chunk.h; NUMERICS.md 4 to 6."""
    problem = as_problem(q, k, dict(v=v, alpha=alpha, g=g, **more))
    if outputs is None:
        outputs = ("x", "fro", "o") if "v" in problem else ("x", "fro")
        if "lam" in problem.parameters:  # MesaNet's kernels have no norm
            outputs = [name for name in outputs if name in _gka.outputs_of(kernel, *problem._arguments())]
    return _run(kernel, problem, outputs, stored, given, progress)


# ---- problems ---------------------------------------------------------------------------------------------------------------

def _keys(given: Mapping[str, Any]) -> dict[str, str]:
    """Python values as the texts that gka_golden_spec_set reads."""
    def text(value: Any) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, (list, tuple)):
            return ",".join(map(str, value)) or "none"
        return repr(float(value)) if isinstance(value, float) else str(value)
    return {KEYS.get(name, name).replace("_", "-"): text(value) for name, value in given.items()}


def problem(keys: str = "iid", **spec: Any) -> Problem:
    """A made-up problem: a function of its spec alone, the same bytes on any machine.

    keys: iid powerlaw lowrank repeat recall mean convsilu aligned. spec: gate="released" ("none", "slow", ...), B T H G D V,
    dtype="bf16", lengths=[..] of packed sequences, chunk ridge iters scale seed pairs h0 alpha plain final edit; the keys of
    `gka golden --spec`. gka.BadArgument names a key that is none and the allowed values. Source: include/gka/problem.h, section
    4; golden.h."""
    made, parameters = _gka.generate(_keys({"problem": keys, **spec}))
    raw = [(*one[:2], one[2].shape, one[2]) for one in made]
    if spec.get("lengths"):
        bounds = np.concatenate([[0], np.cumsum(spec["lengths"])]).astype(np.int64)
        raw.append(("cu_seqlens", "I64", bounds.shape, bounds))
    return Problem._of(raw, parameters)


# ---- numbers ----------------------------------------------------------------------------------------------------------------

def round(x: Any, format: str, mode: str = "nearest", *, seed: int = 0, first: int = 0) -> Any:
    """x rounded once to a number format, as float64 of x's kind and shape.

    format: a name of gka.formats ("bf16", "e4m3", ...), pPeE (p8e8 is bf16: P bits of precision, E of exponent), or a name of
    gka.block_formats ("mxfp4", "nvfp4", ...: blocks of consecutive elements share a scale; to nearest). mode: nearest (even), zero, up, down, odd, stochastic; the last reads random bits
    number first, first + 1, ... of the seed's stream. gka.BadArgument for a name that is none. Source: include/gka/format.h."""
    raw = take("x", x if kind_of(x) != "numpy" or hasattr(x, "dtype") else np.asarray(x, dtype=np.float64))
    return give(kind_of(x), "F64", _gka.round(raw, format, mode, seed, first), x if kind_of(x) == "torch" else None)


class Format(NamedTuple):
    """A number format: m 2^(e-p+1), |m| < 2^p, emin <= e <= emax, at most max_finite."""
    name: str
    bits: int
    p: int
    emin: int
    emax: int
    max_finite: float
    unit_roundoff: float
    min_normal: float
    min_subnormal: float
    subnormals: bool
    overflow: str


class BlockFormat(NamedTuple):
    """Blocks of numbers that share a scale; bits: what a number takes, its share of the scale included."""
    name: str
    element: str
    scale: str
    block: int
    tensor_scale: bool
    bits: float


class Device(NamedTuple):
    """A machine whose matrix products are emulated. inputs: of each type of operand, how its unit sums (include/gka/arith.h);
    checked: what the rule was checked with outside this project, None: derived from others' descriptions."""
    name: str
    binary32: bool
    inputs: dict[str, dict[str, Any]]
    checked: str | None
    functions_measured: bool


formats: dict[str, Format] = {one["name"]: Format(**one) for one in _gka.formats()}
block_formats: dict[str, BlockFormat] = {one["name"]: BlockFormat(**one) for one in _gka.block_formats()}
devices: dict[str, Device] = {one["name"]: Device(**one) for one in _gka.devices()}
solvers: list[str] = _gka.solvers()
filters: list[str] = _gka.filters()
arithmetics: list[str] = _gka.arithmetics()
points: dict[str, str] = _gka.points()


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One tensor against a reference, by the conventions at the head of include/gka/judge.h."""
    rel_err: float
    absolute: bool
    max_row_err: float
    at: tuple[int, ...]
    max_ulp: int
    non_finite: int
    equal: int
    count: int
    bits_equal: bool


def compare(out: Any, ref: Any, *, row_rank: int = 1) -> Comparison:
    """||out - ref|| / ||ref||, the worst row, the largest distance in steps of out's own type, and how many elements are ref
    rounded once. row_rank: how many trailing axes make a row. Shapes must be equal: gka.BadArgument. Source:
    include/gka/judge.h."""
    return Comparison(**_gka.compare(take("out", out), take("ref", ref), min(row_rank, len(np.shape(out)))))


class Solution(NamedTuple):
    """x [D] float64; event: ran, stopped, breakdown or non-finite, at `step`; residual ||q - (H + lam I) x|| / ||q|| and eta,
    the backward error, in binary64 with H and q as given; after each of `steps`: residuals, etas."""
    x: Any
    event: str
    step: int
    residual: float
    eta: float
    steps: list[int]
    residuals: list[float]
    etas: list[float]


def solve(H: Any, q: Any, *, ridge_ratio: float = .02, lam: float | None = None, method: str = "chebyshev",
          arithmetic: str = "fp64", iterations: int | None = None, seed: int = 0) -> Solution:
    """(H + lam I) x = q, H [D,D] symmetric, q [D], by a solver in an emulated arithmetic; H and q are rounded to its storage
    first. lam: by default ridge_ratio ||H||_F, as in the layer. The solver takes the spectrum to lie in [lam, ||H||_F + lam].

    method: a name of gka.solvers; arithmetic: NAME[/MODE][/fma][/ORDER], NAME of gka.arithmetics or pPeE; iterations: by
    default 30 (Cholesky: 5 steps of refinement). seed: of stochastic rounding. Divergence and overflow are results, not errors;
    gka.BadArgument for other names and shapes. Source: include/gka/solve.h, include/gka/arith.h, section 1; NUMERICS.md 3, 7."""
    h, b = take("H", H), take("q", q)
    kind = kind_of(q)
    f = float(np.linalg.norm(np.asarray(_gka.round(h, "fp64", "nearest", 0, 0))))
    result = _gka.solve(h, b, method, arithmetic, -1 if iterations is None else iterations,
                        ridge_ratio * f if lam is None else lam, f, seed)
    result["x"] = give(kind, "F64", result["x"], q if kind == "torch" else None)
    return Solution(**result)


def kalman(k: Any, q: Any, *, lam: float, gates: Any = None, form: str = "kalman", arithmetic: str = "fp64",
           seed: int = 0) -> Any:
    """x_t = (H_t + lam_t I)^-1 q_t for every token, by a Kalman filter in an emulated arithmetic: one update for each key, no
    iteration. k q [T,D], gates [T] in (0, 1] (1 where absent); H_t = gates_t H_(t-1) + k_t k_t^T, lam_t = gates_t lam_(t-1),
    lam_(-1) = lam: a constant ridge that is forgotten, not the layer's. Returns x [T,D], float64 of q's kind.

    form: a name of gka.filters; arithmetic, seed as in gka.solve. gka.BadArgument for other shapes, names, lam <= 0. Source:
    include/gka/solve.h; NUMERICS.md 7."""
    keys = take("k", k)
    weights = take("gates", np.ones(keys[2][:1]) if gates is None else gates)
    x = _gka.kalman(keys, take("q", q), weights, form, arithmetic, lam, seed)
    return give(kind_of(q), "F64", x, q if kind_of(q) == "torch" else None)


# ---- looking at a problem ---------------------------------------------------------------------------------------------------

class Spectrum(NamedTuple):
    """largest [B,T,H]: the largest eigenvalue of each H_t, from below; fro [B,T,H]: ||H_t||_F. At `tokens`, [N,H,places] each:
    f, the smallest and largest eigenvalue at the state's ends, kappa of H_t + lambda_t I, its share of the bound (a + 1)/a,
    the effective rank, the degrees of freedom of the regression, the length of the mean key (gka_conditioning)."""
    largest: Any
    fro: Any
    tokens: list[int]
    conditioning: dict[str, Any]


def spectrum(q: Any, k: Any = None, *, tokens: Sequence[int] | None = None, **more: Any) -> Spectrum:
    """How the states of a problem are conditioned, in binary64. tokens: after how many tokens of each sequence to look
    (increasing); by default 1, 2, 4, ... and the last. gka.BadArgument for tokens that do not increase, gka.BadFile for tensors
    that are no problem. Source: include/gka/chunk.h, section 8."""
    problem = as_problem(q, k, more)
    arguments = problem._arguments()
    largest, fro = _gka.spectrum(*arguments)
    if tokens is None:
        T = largest.shape[1]
        tokens = sorted({1 << i for i in range(T.bit_length()) if 1 << i <= T} | ({T} if T else set()))
    places = list(tokens)
    return Spectrum(largest, fro, places, _gka.conditioning(*arguments, places))


class Condition(list[dict[str, Any]]):
    """One row for each tensor: name, dtype, error, floor (what storing right values costs), typical and worst (what roundings
    of the inputs cost), ratio = error / max(floor, typical), and a word: stable, ill-conditioned, unstable, non-finite. `of` has
    kappa by each input. str() is a table."""

    def __str__(self) -> str:
        lines = [f"{'tensor':<13} {'error':>9} {'floor':>9} {'typical':>9} {'ratio':>9}  verdict"]
        lines += [f"{row['name']:<13} {row['error']:9.2e} {row['floor']:9.2e} {row['typical']:9.2e} {row['ratio']:9.2e}  "
                  f"{row['word']}" for row in self]
        return "\n".join(lines)


def condition(q: Any, k: Any = None, *, outputs: Mapping[str, Any] | None = None, emulate: str = "h100",
              names: Sequence[str] = (), progress: Progress = None, **more: Any) -> Condition:
    """Is an error the kernel's, or the problem's? outputs: a kernel's tensors by name (x o solve.dq .. layer.dg); without them
    what the profile `emulate` makes. names: these alone. gka.BadArgument for a name that is none, gka.BadFile for tensors of
    other shapes, gka.Unsupported for a problem that the profile cannot run. Source: include/gka/condition.h."""
    problem = as_problem(q, k, more)
    judged = None if outputs is None else [take(name, value) for name, value in outputs.items()]
    return Condition(_gka.condition(*problem._arguments(), judged, emulate, list(names), _told(progress, "condition")))


class Attribution(dict[str, dict[str, Any]]):
    """Of each output: released (the error of all roundings), only {point: its error alone}, without {point: the error of all
    but it}; ||out - steps|| / ||steps||. blame(output) is the point whose error alone is largest. str() is what
    `gka attribute` prints of them."""

    text: str

    def blame(self, output: str) -> str:
        only: dict[str, float] = self[output]["only"]
        return max(only, key=lambda point: -1.0 if only[point] != only[point] else only[point])

    def __str__(self) -> str:
        return self.text if self else "nothing is attributed"


def attribute(q: Any, k: Any = None, *, kernel: str = "h100", outputs: Sequence[str] = ("fro", "x", "o"),
              progress: Progress = None, **more: Any) -> Attribution:
    """Which rounding of the released kernels is to blame: each is switched on alone, and off alone. outputs: names of
    include/gka/judge.h, section 2. kernel: "h100" or a variant of it ("h100/two-term"); it is run about 50 times. gka.points says
    what each rounding is. gka.BadArgument for another kernel or output, gka.Unsupported for a problem that it cannot run. Source:
    include/gka/judge.h, section 3."""
    problem = as_problem(q, k, more)
    figures, text = _gka.attribute(kernel, *problem._arguments(), list(outputs), _told(progress, "attribute"))
    result = Attribution(figures)
    result.text = text
    return result


# ---- files ------------------------------------------------------------------------------------------------------------------

class Tensors(dict[str, Any]):
    """Arrays of a file by name, and its metadata (texts)."""
    metadata: dict[str, str]


def load(path: str | os.PathLike[str], kind: str = "numpy") -> Tensors:
    """All tensors of a safetensors file, as arrays of a kind ("numpy", "torch", "jax") with memory of their own. gka.FileError,
    gka.BadFile. Source: include/gka/io.h."""
    file = _gka.File(os.fspath(path))
    tensors = Tensors({name: give(kind, dtype, array) for name, dtype, array in file.tensors()})
    tensors.metadata = file.metadata()
    return tensors


def save(path: str | os.PathLike[str], tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """A safetensors file, which has this name once it is complete. tensors: arrays of any kind by name; metadata: texts.
    gka.FileError where it cannot be written. Source: include/gka/io.h."""
    _gka.save(os.fspath(path), [take(name, value) for name, value in tensors.items()],
              {str(key): str(value) for key, value in (metadata or {}).items()})


# ---- goldens ----------------------------------------------------------------------------------------------------------------

def golden(path: str | os.PathLike[str], problem: Problem | None = None, *, suite: str | None = None, progress: Progress = None,
           **spec: Any) -> list[str]:
    """Makes the golden of a spec, of a problem, or a folder with a whole suite ("quick", "kernel", "edge"); what a suite has
    already is kept. Returns the paths. spec: the keys of gka.problem, and outputs emulate lo oracle stage given lengths, and
    serving=True with prefill h_type u_type for a golden of a server. The same spec has the same bytes everywhere. gka.BadArgument, gka.FileError. Source: include/gka/golden.h."""
    path = os.fspath(path)
    if suite is not None:
        if problem is not None or spec:
            raise TypeError("golden: suite= stands alone")
        _gka.suite(suite, path, _told(progress, suite))
        return goldens(path)
    if "keys" in spec:
        spec["problem"] = spec.pop("keys")
    raw, metadata = (problem._raw, problem._metadata()) if problem is not None else (None, {})
    _gka.golden(path, _keys(spec), raw, metadata, _told(progress, "golden"))
    return [path]


def goldens(path: str | os.PathLike[str]) -> list[str]:
    """The files of a suite's folder in its order; of a golden, itself."""
    path = os.fspath(path)
    return [os.path.join(path, file) for _, file in _gka.suite_cases(path)] if os.path.isdir(path) else [path]


class Verdict:
    """What `gka judge` says of a candidate. ok: True, or False where a tensor fails, or None where nothing could be judged;
    rows: one dictionary for each output of the golden, as in the command's JSON (name ok error tolerance row_error against
    total missing required mismatches ...); judged, failed, missing, unjudged: counts. str() is the command's table, bool() is
    ok is True."""

    def __init__(self, golden: str, text: str, figures: str) -> None:
        said = json.loads(figures)
        self.golden, self.text = golden, text
        self.rows: list[dict[str, Any]] = [{key: _real(value) if key not in _TEXTS else value for key, value in row.items()}
                                           for row in said["tensors"]]
        self.judged, self.failed, self.missing, self.unjudged = (int(said[key]) for key in
                                                                 ("judged", "failed", "missing", "unjudged"))
        self.ok: bool | None = False if self.failed else True if self.judged else None

    def __getitem__(self, name: str) -> dict[str, Any]:
        for row in self.rows:
            if row["name"] == name:
                return row
        raise KeyError(name)

    def __bool__(self) -> bool:
        return self.ok is True

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return (f"gka.Verdict({self.golden}: {self.judged} judged, {self.failed} failed, {self.missing} missing, "
                f"{self.unjudged} not judged)")


_TEXTS = {"name", "dtype", "against", "lacking"}


def _real(value: Any) -> Any:
    return {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}.get(value, value) \
        if isinstance(value, str) else value


def judge(candidate: Mapping[str, Any] | str | os.PathLike[str], golden: str | os.PathLike[str], *,
          require: str | Sequence[str] | None = None, reference: str = "steps", gradients: str = "implicit",
          names: Mapping[str, str] | None = None, layout: str = "bthd") -> Verdict:
    """A kernel's tensors by a golden: what `gka judge CANDIDATE GOLDEN` says.

    candidate: arrays by name (x fro o h_chunk h_final u_final solve.* layer.*; of a server prefill.* decode.*), or a
    safetensors file. require: outputs that fail where they are missing or cannot be judged ("all", "x,o" or a list; one that
    the golden lacks is passed over). reference: "steps", or "exact" for a solver that converges; gradients: "implicit",
    "through" (of the steps themselves, as autograd gives them) or "auto". names: {the candidate's name: the golden's}; layout
    "bhtd": token tensors are [B,H,T,..].

    gka.BadArgument for an array that no output is called by, gka.BadFile for another shape, a file that is no golden or was
    changed after it was made. Source: include/gka/golden.h, section 2."""
    names = dict(names or {})
    require = "" if require is None else require if isinstance(require, str) else ",".join(require)
    known = _gka.judged_names()
    for name in [*(require.split(",") if require not in ("", "all") else []), *names.values()]:
        if name and name not in known:
            raise _bad_name(f"no output has that name: '{name}'", name, known)
    if layout not in ("bthd", "bhtd"):
        raise ValueError(f"layout {layout!r}; 'bthd' or 'bhtd' was expected")
    said: Any
    if isinstance(candidate, Mapping):
        for name in candidate:
            if name not in known and name not in names and name not in INPUTS:
                raise _bad_name(f"no output is called '{name}'", name, known)
        said = [take(name, value) for name, value in candidate.items() if value is not None]
    else:
        said = _gka.File(os.fspath(candidate))
    return Verdict(os.fspath(golden), *_gka.judge(said, _gka.File(os.fspath(golden)), names, require, reference, gradients,
                                                  layout == "bhtd"))


def _bad_name(text: str, name: str, known: list[str]) -> Exception:
    import difflib

    from ._errors import BadArgument
    near = [one for one in known if one.partition(".")[2] == name] or difflib.get_close_matches(name, known, 1)
    return BadArgument(text + (f" (did you mean '{near[0]}'?)" if near else f": {' '.join(known)}"))
