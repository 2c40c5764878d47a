"""Arrays of numpy, ml_dtypes, PyTorch, JAX and whatever speaks DLPack, as memory for the library, and back again.

The library reads contiguous row-major elements in the host's byte order. Arrays that are so on a CPU are handed over without a
copy; others (strided, big-endian, on a GPU) are copied once. A tensor travels as (name, dtype, shape, memory), dtype by the name
that safetensors has for it.
"""
from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray

Raw = tuple[str, str, tuple[int, ...], Any]

_NUMPY = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3",
          "float8_e5m2": "F8_E5M2", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint64": "U64",
          "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL"}
_TORCH = {name: dtype for name, dtype in _NUMPY.items()}
_BACK = {dtype: name for name, dtype in _NUMPY.items()}
_HOST = (1, 3, 11)  # of DLPack: CPU, and memory of the host that CUDA or ROCm has pinned
_DEVICES = {2: "CUDA device", 4: "OpenCL device", 7: "Vulkan device", 8: "Metal device", 10: "ROCm device", 13: "CUDA device",
            14: "oneAPI device"}
_RAW: dict[str, Any] = {"BF16": np.dtype("u2"), "F8_E4M3": np.dtype("u1"), "F8_E5M2": np.dtype("u1")}  # types that numpy itself lacks


_KINDS = {"torch": "torch", "jax": "jax", "jaxlib": "jax"}


def kind_of(x: Any) -> str:
    """"torch", "jax" or "numpy": whose arrays a caller of x gets back."""
    return "numpy" if type(x) is ndarray else _KINDS.get(type(x).__module__.partition(".")[0], "numpy")


def _bad(name: str, what: str) -> TypeError:
    return TypeError(f"{name}: {what}; an array of floating-point numbers (integers for cu_seqlens) was expected")


def _take_torch(name: str, x: Any) -> Raw:
    import torch
    t = x.detach()
    if t.layout != torch.strided:
        raise _bad(name, f"a tensor of layout {t.layout}")
    t = t.cpu().contiguous()
    if t.is_neg():
        t = t.resolve_neg()
    dtype = _TORCH.get(str(t.dtype).removeprefix("torch."))
    if dtype is None:
        raise _bad(name, str(t.dtype))
    shape = tuple(t.shape)
    if dtype in _RAW:
        t = t.view(torch.int16 if dtype == "BF16" else torch.uint8)
    return name, dtype, shape, t.numpy()


_DTYPES: dict[Any, str] = {np.dtype(name): dtype for name, dtype in _NUMPY.items() if dtype not in _RAW}  # in the host's order


def take(name: str, x: Any) -> Raw:
    """One array for the library: (name, dtype, shape, memory). TypeError for what holds no numbers that it knows."""
    if type(x) is ndarray and x.flags.c_contiguous:  # the short way, for these are most
        dtype = _DTYPES.get(x.dtype)
        if dtype is None and x.dtype.isnative and x.dtype.name in _NUMPY:
            dtype = _DTYPES[x.dtype] = _NUMPY[x.dtype.name]
        if dtype is not None:
            return name, dtype, x.shape, x.view(_RAW[dtype]) if dtype in _RAW else x
    if kind_of(x) == "torch":
        return _take_torch(name, x)
    if not isinstance(x, np.ndarray):
        if kind_of(x) == "numpy" and hasattr(x, "__dlpack_device__"):
            device = int(x.__dlpack_device__()[0])
            if device not in _HOST:
                raise _bad(name, f"{type(x).__name__} on a {_DEVICES.get(device, 'device')} (DLPack device {device}), which is not "
                                 "copied to the host by itself")
        if hasattr(x, "__dlpack__") and kind_of(x) == "numpy" and not hasattr(x, "__array__"):
            x = np.from_dlpack(x)
        else:
            x = np.asarray(x)
    dtype = _NUMPY.get(x.dtype.name)
    if dtype is None:
        raise _bad(name, f"{type(x).__name__} of {x.dtype}")
    if not x.dtype.isnative:
        x = x.astype(x.dtype.newbyteorder("="))
    shape = x.shape
    a = np.ascontiguousarray(x)
    if dtype in _RAW:
        a = a.view(_RAW[dtype])
    return name, dtype, shape, a


def _ml_dtype(dtype: str) -> Any:
    try:
        import ml_dtypes
    except ImportError:
        return None
    return np.dtype(getattr(ml_dtypes, _BACK[dtype]))


def give(kind: str, dtype: str, a: Any, like: Any = None) -> Any:
    """An array of the library as one of `kind`, without a copy where the kind has the type. Without ml_dtypes numpy has no
    bfloat16 and no float8: these numbers come as float32, which holds them exactly."""
    if kind == "torch":
        import torch
        t = torch.from_numpy(a)
        if dtype in _RAW:
            t = (t.view(torch.int16) if dtype == "BF16" else t).view(getattr(torch, _BACK[dtype]))
        return t if like is None or like.device.type == "cpu" else t.to(like.device)
    if dtype in _RAW:
        ml_dtype = _ml_dtype(dtype)
        a = a.view(ml_dtype) if ml_dtype is not None else _as_float32(dtype, a)
    if kind == "jax":
        import jax.numpy as jnp
        return jnp.asarray(a)
    return a


def _as_float32(dtype: str, a: Any) -> Any:
    if dtype == "BF16":
        return (a.astype(np.uint32) << 16).view(np.float32)
    from . import _gka
    return np.asarray(_gka.round((dtype, dtype, a.shape, a), "fp64", "nearest", 0, 0), dtype=np.float32)
