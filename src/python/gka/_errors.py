"""Failures of the C library as exceptions. Each carries the library's line, which says what, where and what was expected."""
from __future__ import annotations

NAMES = ("OK", "BAD_ARGUMENT", "BAD_FILE", "IO", "OUT_OF_MEMORY", "NOT_POSITIVE_DEFINITE", "NOT_CONVERGED", "NO_CERTIFICATE",
         "UNSUPPORTED", "INTERRUPTED", "INTERNAL")


class Error(Exception):
    """A call of the library that failed; `status` is the name of its gka_status (include/gka/base.h) without GKA_."""

    status = "INTERNAL"


class BadArgument(Error, ValueError):
    """An argument, or a tensor, is outside its documented range."""


class BadFile(Error, ValueError):
    """A file, or the tensors of a problem, do not hold what was expected."""


class FileError(Error, OSError):
    """A file could not be read or written."""


class OutOfMemory(Error, MemoryError):
    """No memory is left."""


class Unsupported(Error, NotImplementedError):
    """The kernel, device or build cannot do this."""


class NumericalError(Error, ArithmeticError):
    """A matrix is not positive definite, an iteration did not converge, or no error bound could be proven."""


CLASSES = {"BAD_ARGUMENT": BadArgument, "BAD_FILE": BadFile, "IO": FileError, "OUT_OF_MEMORY": OutOfMemory,
           "UNSUPPORTED": Unsupported, "NOT_POSITIVE_DEFINITE": NumericalError, "NOT_CONVERGED": NumericalError,
           "NO_CERTIFICATE": NumericalError}


def make(status: int, text: str) -> BaseException:
    """The exception for a gka_status; the extension module calls this."""
    name = NAMES[status] if 0 <= status < len(NAMES) else "INTERNAL"
    if name == "INTERRUPTED":
        return KeyboardInterrupt(text)
    error = CLASSES.get(name, Error)(text)
    error.status = name
    return error
