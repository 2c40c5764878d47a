"""python -m gka.check GOLDENS MODULE:FUNCTION - runs a kernel of yours on goldens, and judges what it gives.

GOLDENS is a file made by `gka golden`, or a folder made by `gka golden --suite`. FUNCTION is called with keyword arguments:

    q k [v alpha g h0 u0 cu_seqlens]         tensors in the golden's types and layouts (gka.Problem); those that the golden has,
                                             no others: PyTorch's on the device, or numpy's where there is no PyTorch
    ridge_ratio num_iter chunk_size scale    numbers; lam of a golden of MesaNet (gka golden --lambda)
    given                                    of a golden of one stage only: a dictionary, any of x fro h_chunk solve.p layer.p

It returns a dictionary with any of the golden's outputs by name (x fro o h_chunk h_final u_final, gradients solve.* layer.*), or
a tuple, or one tensor, whose names --outputs says in order. A function that takes `cotangents` is also given those, a
dictionary with any of do dx dh_final du_final: so one that computes its own gradients does. With --autograd the gradients come
from PyTorch: of <o, do> (+ the final states' cotangents) as layer.*, of <x, dx> (+ that of h_final) as solve.*.

Exit code: 0 nothing fails, 1 a tensor fails or FUNCTION raises, 2 bad input, nothing could be run, or what a case gave cannot be
judged. A case that FUNCTION refuses by NotImplementedError, or whose arguments are not those it takes, is skipped.
"""
from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from . import _gka
from ._api import Verdict, goldens, judge, save
from ._arrays import give
from ._errors import Error
from ._problem import INPUTS, stated

LEAVES = {"q": "dq", "k": "dk", "v": "dv", "alpha": "dalpha", "g": "dg", "h0": "dh0"}
SOLVE = ("dq", "dk", "dg", "dh0")  # solve.* has these, layer.* all but dh0
Layer = Callable[..., Any]


class Skip(Exception):
    """The function does not take what a golden has, and why."""


def framework() -> str:
    """"torch" where PyTorch can be imported, else "numpy"."""
    try:
        import torch  # noqa: F401
    except ImportError:
        return "numpy"
    return "torch"


def device_of(kind: str) -> str:
    """"cuda" where PyTorch has one, else "cpu"."""
    if kind == "torch":
        import torch
        if torch.cuda.is_available():
            return "cuda"
    return "cpu"


class Golden:
    """One golden, to run a layer on. name: of its file; outputs: the names of those that it has."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.name = os.path.basename(self.path).removesuffix(".safetensors")
        self._file = _gka.File(self.path)
        self._metadata = self._file.metadata()
        if "tolerances" not in self._metadata:
            self._file.check_golden()
        self._tolerances = json.loads(self._metadata["tolerances"])
        self.outputs: list[str] = [name for name in _gka.judged_names() if name in self._tolerances]

    def __repr__(self) -> str:
        return f"<golden {self.name}>"

    def inputs(self, kind: str = "torch", device: str = "cpu", cotangents: bool = False) -> dict[str, Any]:
        """What a layer is called with (see the head of this module); with cotangents also do dx dh_final du_final."""
        result = stated(self._metadata)
        result.pop("normalise", None)
        given = {}
        for name in self._file.names():
            wanted = name in INPUTS and (cotangents or not name.startswith("d"))
            if wanted or name.startswith("given."):
                _, dtype, array = self._file.tensor(name)
                one = give(kind, dtype, array)
                one = one.to(device) if kind == "torch" else one
                if wanted:
                    result[name] = one
                else:
                    given[name.removeprefix("given.")] = one
        return {**result, "given": given} if given else result

    def call(self, layer: Layer, *, kind: str | None = None, device: str | None = None, autograd: bool = False,
             outputs: Sequence[str] = ("o",)) -> dict[str, Any]:
        """{name: tensor}: what the layer gives for the golden's inputs, with autograd its gradients too. Skip where it does not
        take them; what the layer raises goes through."""
        kind = kind or framework()
        given = self.inputs(kind, device or device_of(kind), cotangents=True)
        cotangents = {name: given.pop(name) for name in ("do", "dx", "dh_final", "du_final") if name in given}
        if "cotangents" in inspect.signature(layer).parameters:
            given["cotangents"] = cotangents
        suits(layer, given)
        leaves = {name: given[name].requires_grad_() for name in LEAVES if name in given} if autograd else {}
        try:
            out = named(layer(**given), outputs)
        except NotImplementedError as why:
            raise Skip(str(why)) from None
        if autograd:
            dh = (out.get("h_final"), cotangents.get("dh_final"))
            out.update(_gradients(leaves, "solve", [(out.get("x"), cotangents.get("dx")), dh]))
            out.update(_gradients(leaves, "layer", [(out.get("o"), cotangents.get("do")), dh,
                                                    (out.get("u_final"), cotangents.get("du_final"))]))
        return {name: one.detach() if hasattr(one, "detach") else one for name, one in out.items()}  # numpy's have none

    def _tolerance(self, name: str, exact: bool) -> float | None:
        one = self._tolerances[name]
        return ((one.get("exact") or {}) if exact else one).get("value")

    def judge(self, out: Mapping[str, Any], *, require: str | Sequence[str] | None = None, differentiable: bool = False,
              **how: Any) -> Verdict:
        """The verdict; by default x and o are required and, with differentiable, every gradient, as far as the golden has a
        tolerance for them. how: reference, gradients, names, layout of gka.judge."""
        if require is None:
            require = [name for name in self.outputs if (name in ("x", "o") or (differentiable and "." in name))
                       and self._tolerance(name, how.get("reference") == "exact") is not None]
        return judge(out, self.path, require=require, **how)


def suits(layer: Layer, given: Mapping[str, Any]) -> None:
    """Skip where a function does not take what there is, or needs what there is not."""
    parameters = inspect.signature(layer).parameters
    if not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        for name in given:
            if name not in parameters:
                raise Skip(f"the function takes no '{name}'")
    for name, one in parameters.items():
        if one.default is one.empty and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY) and name not in given:
            raise Skip(f"the function needs '{name}', which the golden has not")


def named(result: Any, outputs: Sequence[str]) -> dict[str, Any]:
    """What a layer returned, by name; an empty name is passed over."""
    if isinstance(result, Mapping):
        return {name: one for name, one in result.items() if one is not None}
    result = result if isinstance(result, (tuple, list)) else (result,)
    if len(result) != len(outputs):
        raise ValueError(f"{len(result)} tensors returned, {len(outputs)} names in --outputs")
    return {name: one for name, one in zip(outputs, result) if one is not None and name}


def _gradients(leaves: Mapping[str, Any], part: str, pairs: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    import torch
    there = [(o, c) for o, c in pairs if o is not None and c is not None and o.requires_grad]
    if not there:
        return {}
    names = [name for name in leaves if (name != "h0" if part == "layer" else LEAVES[name] in SOLVE)]
    grads = torch.autograd.grad([o for o, _ in there], [leaves[n] for n in names], [c.to(o.dtype) for o, c in there],
                                retain_graph=True, allow_unused=True)
    return {f"{part}.{LEAVES[n]}": grad for n, grad in zip(names, grads) if grad is not None}


def find(name: str) -> Layer:
    """MODULE:FUNCTION; the current folder counts, too."""
    module, _, function = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Layer = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{name}: {error}; MODULE:FUNCTION was expected") from None
    if not callable(found):
        raise ValueError(f"{name}: '{function}' cannot be called; MODULE:FUNCTION was expected")
    return found


def _one(layer: Layer, path: str, options: argparse.Namespace, folder: bool) -> Verdict:
    golden = Golden(path)
    out = golden.call(layer, kind=options.framework, device=options.device, autograd=options.autograd,
                      outputs=options.outputs.split(","))
    if options.output:
        save(os.path.join(options.output, os.path.basename(path)) if folder else options.output, out)
    return golden.judge(out, require=options.require, differentiable=options.autograd, reference=options.reference,
                        gradients=options.gradients)


def _run(options: argparse.Namespace) -> int:
    if not os.path.exists(options.goldens):
        raise ValueError(f"{options.goldens}: no such golden and no such folder (gka golden --suite quick -o {options.goldens})")
    layer, paths, folder = find(options.function), goldens(options.goldens), os.path.isdir(options.goldens)
    if options.output and folder:
        os.makedirs(options.output, exist_ok=True)
    ran = failed = bad = unjudged = 0
    for path in paths:
        print(path, flush=True)  # first of all: a kernel may take the process with it
        try:
            verdict = _one(layer, path, options, folder)
        except Skip as why:
            print(f"  skipped: {why}")
            continue
        except (Error, ValueError, TypeError) as why:
            if not isinstance(why, Error) and traceback.extract_tb(why.__traceback__)[-1].filename not in _OURS:
                failed, ran = _raised(why, failed, ran)
                continue
            print(f"  NO: {why}")  # what it gave cannot be judged
            bad += 1
            continue
        except Exception as why:  # whatever a kernel may raise: the others are judged all the same
            failed, ran = _raised(why, failed, ran)
            continue
        print(verdict.text)
        ran, failed, unjudged = ran + 1, failed + (verdict.ok is False), unjudged + verdict.unjudged
        if verdict.ok is None:
            print("  NO: nothing was judged: a tensor with a tolerance, and those that it follows from, were expected")
            bad, ran = bad + 1, ran - 1
    print(f"{ran + bad} of {len(paths)} goldens run, {failed} fail, {bad} cannot be judged; {unjudged} outputs not judged")
    return 2 if ran == 0 or bad else 1 if failed else 0


def _raised(why: BaseException, failed: int, ran: int) -> tuple[int, int]:
    traceback.print_exc()
    print(f"  NO: {type(why).__name__}: {why}")
    return failed + 1, ran + 1


_OURS = {os.path.join(os.path.dirname(os.path.abspath(__file__)), name) for name in
         ("check.py", "_api.py", "_arrays.py", "_problem.py")} | {__file__}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m gka.check", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("goldens", metavar="GOLDENS")
    parser.add_argument("function", metavar="MODULE:FUNCTION")
    parser.add_argument("-o", "--output", metavar="CANDIDATE", help="keep the tensors: a file, or a folder for a suite")
    parser.add_argument("--framework", choices=["torch", "numpy", "jax"], default=framework(), help="of the tensors")
    parser.add_argument("--device", help="of PyTorch's tensors (cuda where there is one)")
    parser.add_argument("--autograd", action="store_true", help="gradients by PyTorch's autograd")
    parser.add_argument("--outputs", default="o", help="names of a tuple's tensors, in order (o); an empty name: not judged")
    parser.add_argument("--reference", choices=["steps", "exact"], default="steps", help="exact: for a solver that converges")
    parser.add_argument("--gradients", choices=["implicit", "through", "auto"], default="implicit",
                        help="through: of the num_iter steps themselves, as autograd gives them")
    parser.add_argument("--require", metavar="NAME,..|all",
                        help="outputs that fail where they are missing (x and o; with --autograd every gradient of the golden)")
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except (Error, ValueError) as error:
        print(f"gka.check: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
