"""The inputs of the layer and its parameters."""
from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from . import _gka
from ._arrays import Raw, give, kind_of, take

INPUTS = tuple(_gka.input_names())
_GIVEN = ("q", "k", "v", "alpha", "g", "beta", "h0", "u0", "do", "dx", "dh_final", "du_final", "cu_seqlens")
KEYS = {"lam": "lambda"}  # a parameter's key in a file, where Python cannot have that word
PARAMETERS = ("ridge_ratio", "num_iter", "chunk_size", "scale", "normalise", "lam")


class Problem:
    """The layer's tensors (include/gka/problem.h, section 2) and parameters. Letters: B batch, T tokens, H query heads, G
    key/value heads (H a multiple of G), D key size, V value size, N sequences (B, or those packed along T).

        q [B,T,H,D]    k [B,T,G,D]    v [B,T,G,V]    alpha [B,T,H] (1 where absent)
        g [B,T,H]      natural logarithms of the gates, <= 0, -inf allowed (absent: no gate)
        beta [B,T,H], normalise    a problem that is not folded yet: fold()
        h0 [N,H,D,D]   u0 [N,H,D,V]    initial states (absent: 0)
        do [B,T,H,V]   dx [B,T,H,D]    cotangents of o and of x
        dh_final [N,H,D,D]   du_final [N,H,D,V]    cotangents of the final states
        cu_seqlens [N+1]     int64 bounds of packed sequences; then B = 1

    With layout="bhtd" the token tensors are [B,H,T,..]. Parameters: ridge_ratio a (.02), num_iter r (30), chunk_size C (64),
    scale s (D**-.5), normalise ("none", "unit", "rounded"), lam (0; above 0 it is the ridge of every token in place of a ||H||, as
    in MesaNet: for oracles, "h100/mesa" and "tokens/POLICY").

    The arrays are numpy's, ml_dtypes', PyTorch's and JAX's (those of a GPU are copied to the host), or any with DLPack on the
    host. Contiguous ones on a CPU are not copied: the problem sees later changes of them. What a call with this problem returns
    is of the kind of q.

    TypeError for what holds no numbers; gka.BadFile, when it is used, for shapes that do not agree, NaN, a gate above 1."""

    def __init__(self, q: Any, k: Any, v: Any = None, alpha: Any = None, g: Any = None, *, beta: Any = None, h0: Any = None,
                 u0: Any = None, do: Any = None, dx: Any = None, dh_final: Any = None, du_final: Any = None,
                 cu_seqlens: Any = None, ridge_ratio: float | None = None, num_iter: int | None = None,
                 chunk_size: int | None = None, scale: float | None = None, normalise: str | None = None,
                 lam: float | None = None, layout: str = "bthd") -> None:
        given = (q, k, v, alpha, g, beta, h0, u0, do, dx, dh_final, du_final, cu_seqlens)
        if layout not in ("bthd", "bhtd"):
            raise ValueError(f"layout {layout!r}; 'bthd' or 'bhtd' was expected")
        self._kind, self._like, self._heads_first = kind_of(q), q, layout == "bhtd"
        self._raw: list[Raw] = [take(name, x) for name, x in zip(_GIVEN, given) if x is not None]
        self.parameters: dict[str, Any] = {}
        for name, value in zip(PARAMETERS, (ridge_ratio, num_iter, chunk_size, scale, normalise, lam)):
            if value is not None:
                self.parameters[name] = _number(name, value)

    @classmethod
    def _of(cls, raw: list[Raw], parameters: dict[str, Any], kind: str = "numpy") -> Problem:
        problem = cls.__new__(cls)
        problem._kind, problem._like, problem._heads_first = kind, None, False
        problem._raw, problem.parameters = list(raw), dict(parameters)
        return problem

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Problem:
        """The inputs in a safetensors file: a problem, a golden, or what a kernel wrote beside its outputs. gka.FileError,
        gka.BadFile."""
        file = _gka.File(os.fspath(path))
        said, there = file.metadata(), set(file.names())
        parameters = stated(said)
        made = [file.tensor(name) for name in INPUTS if name in there]
        return cls._of([(*one[:2], one[2].shape, one[2]) for one in made], parameters)

    def save(self, path: str | os.PathLike[str]) -> None:
        """As a safetensors file, which every `gka` command reads. Nothing stands at path before it is complete."""
        if self._heads_first:
            raise ValueError("save: a problem of layout 'bthd' was expected")
        _gka.save(os.fspath(path), self._raw, self._metadata())

    def fold(self, dtype: str = "F64") -> Problem:
        """beta and normalise multiplied into q, k, v (gka_problem_fold), rounded once to dtype: F64 for exact answers, BF16 for
        a training kernel. The result has its own memory."""
        made, parameters = _gka.fold(self._raw, self._metadata(), dtype)
        return self._of([(*one[:2], one[2].shape, one[2]) for one in made], parameters, self._kind)

    def replace(self, **changes: Any) -> Problem:
        """A copy with other tensors or parameters; None takes one away."""
        problem = self._of(self._raw, self.parameters, self._kind)
        problem._like, problem._heads_first = self._like, self._heads_first
        for name, value in changes.items():
            if name in PARAMETERS:
                problem.parameters.pop(name, None)
                if value is not None:
                    problem.parameters[name] = _number(name, value)
            elif name in INPUTS:
                raw = [one for one in problem._raw if one[0] != name]
                problem._raw = raw if value is None else raw + [take(name, value)]
            else:
                raise TypeError(f"replace: no tensor and no parameter is called '{name}'")
        return problem

    def to(self, kind: str) -> dict[str, Any]:
        """The tensors by name as arrays of "numpy", "torch" or "jax", which share the memory where the kind has the type."""
        if kind not in ("numpy", "torch", "jax"):
            raise ValueError(f"kind {kind!r}; 'numpy', 'torch' or 'jax' was expected")
        return {name: give(kind, dtype, memory.reshape(shape)) for name, dtype, shape, memory in self._raw}

    def __getattr__(self, name: str) -> Any:
        if name in INPUTS:
            for one in self._raw:
                if one[0] == name:
                    return give(self._kind, one[1], one[3].reshape(one[2]), self._like)
            return None
        raise AttributeError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(name for name, *_ in self._raw)

    def __contains__(self, name: object) -> bool:
        for one in self._raw:
            if one[0] == name:
                return True
        return False

    def __repr__(self) -> str:
        tensors = ", ".join(f"{name} {dtype} {list(shape)}" for name, dtype, shape, _ in self._raw)
        return f"gka.Problem({tensors}; {', '.join(f'{key}={value}' for key, value in self.parameters.items())})"

    def _metadata(self) -> dict[str, str]:
        return {KEYS.get(name, name): value if isinstance(value, str) else repr(value) for name, value in self.parameters.items()}

    def _arguments(self) -> tuple[list[Raw], dict[str, str], bool]:
        return self._raw, self._metadata(), self._heads_first


def stated(metadata: dict[str, str]) -> dict[str, Any]:
    """The parameters in a file's metadata."""
    keys = {name: KEYS.get(name, name) for name in PARAMETERS}
    return {name: metadata[key] if name == "normalise" else json.loads(metadata[key]) for name, key in keys.items() if key in metadata}


def _number(name: str, value: Any) -> Any:
    if name == "normalise":
        return str(value)
    return int(value) if name in ("num_iter", "chunk_size") else float(value)


def as_problem(q: Any, k: Any, arguments: dict[str, Any]) -> Problem:
    """What a call was given: a Problem in the place of q, with changes, or the tensors themselves."""
    if isinstance(q, Problem):
        changes = {name: value for name, value in arguments.items() if value is not None}
        changes.pop("layout", None)
        if k is not None:
            raise TypeError("a Problem, or q and k, was expected")
        return q.replace(**changes) if changes else q
    if k is None:
        raise TypeError("q and k, or a gka.Problem, was expected")
    if arguments.get("layout") is None:
        arguments = {name: value for name, value in arguments.items() if name != "layout"}
    return Problem(q, k, **arguments)
