"""gka - reference and numerics lab for Gated KalmaNet kernels.

    out = gka.exact(q, k, v, alpha, g)                 the exact x and o, correctly rounded
    out = gka.emulate("h100", q, k, v, alpha, g)       what an H100 would return, bit for bit
    print(gka.attribute(q, k, v=v, alpha=alpha, g=g))  which rounding is to blame
    print(gka.judge({"x": x, "o": o}, "golden.safetensors"))    is my kernel right

gka.torch.layer is the layer as a differentiable function of PyTorch; gka.check and the pytest fixture gka_golden run a kernel on
goldens. Nothing of the numerics is written in Python: everything calls the C library, whose headers (include/gka) say what each
name means."""
from . import _gka
from ._api import (Attribution, BlockFormat, Comparison, Condition, Device, Format, Outputs, Solution, Spectrum, Tensors, Verdict,
                   arithmetics, attribute, block_formats, compare, condition, devices, emulate, exact, filters, formats, golden,
                   goldens, gradients, judge, kalman, load, outputs, points, problem, round, save, solve, solvers, spectrum)
from ._errors import BadArgument, BadFile, Error, FileError, NumericalError, OutOfMemory, Unsupported
from ._problem import Problem

__version__: str = _gka.version()


def threads() -> int:
    """On how many threads the library works."""
    return _gka.threads()


def set_threads(n: int) -> None:
    """Works on n threads from now on; 0: as many as OMP_NUM_THREADS or the machine says. Not while a call runs."""
    _gka.set_threads(n)


__all__ = ["Attribution", "BadArgument", "BadFile", "BlockFormat", "Comparison", "Condition", "Device", "Error", "FileError",
           "Format", "NumericalError", "OutOfMemory", "Outputs", "Problem", "Solution", "Spectrum", "Tensors",
           "Unsupported", "Verdict", "arithmetics", "attribute", "block_formats", "compare", "condition",
           "devices", "emulate", "exact", "filters", "formats", "golden", "goldens", "gradients", "judge",
           "kalman", "load", "outputs", "points", "problem", "round", "save", "set_threads", "solve", "solvers",
           "spectrum", "threads"]
