"""gka_cuda.py - the kernels of src/cuda for PyTorch: a custom operator with gradients, and the calls of gka/cuda.h by ctypes.

    from gka_cuda import gka_chebyshev_gla          # libgka_cuda.so is found by the loader, or by GKA_CUDA_LIBRARY
    q, k, v, alpha, g = layer_inputs()              # [B,T,H,D] bf16 three times, [B,T,H] bf16, [B,T,H] fp32 (natural log)
    o, h_final, u_final = gka_chebyshev_gla(q, k, v, alpha, g, scale=128 ** -.5, ridge_strength=.02, num_iter=30)
    o.backward(do)                                  # every gradient; accurate=True: right to one per cent (src/cuda/README.md)
    fast = torch.compile(gka_chebyshev_gla)         # one operator, gka::layer: compiles, captures and casts as PyTorch's own

Tensors: q [B,T,H,D], k [B,T,G,D], v [B,T,G,V], alpha [B,T,H] or None, all bf16 or all fp16; g [B,T,H] fp32 or None; states h
[B,H,D,D] and u [B,H,D,V] fp32; D 64 or 128, V 64, 128 or 256. Sequences packed along T (B = 1): cu_seqlens [N+1] int64, ascending
from 0 to T (not checked); states then have N in the place of B. decode also takes states in q's type. All contiguous, on one CUDA
device. Anything else raises TypeError or ValueError. Everything is queued on the current stream; scratch memory comes from PyTorch's allocator, so that a call can be captured in a CUDA graph. Under autocast q, k, v, alpha become bf16.
"""
import ctypes
import functools
import os
from typing import Optional

import torch
from torch import Tensor


class _Layer(ctypes.Structure):
    """gka_cuda_layer, field by field."""
    _fields_ = ([(n, ctypes.c_int64) for n in ("B", "T", "H", "G", "D", "V", "N")]
                + [("ridge_ratio", ctypes.c_double), ("scale", ctypes.c_double),
                   ("num_iter", ctypes.c_int), ("form", ctypes.c_int), ("accurate", ctypes.c_int), ("fp16", ctypes.c_int),
                   ("half_states", ctypes.c_int)]
                + [(n, ctypes.c_void_p) for n in ("q", "k", "v", "alpha", "g", "h0", "u0", "cu_seqlens", "state_indices",
                                                  "x", "x_low", "fro", "o", "h_final", "u_final")])


class _Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("text", ctypes.c_char * 512)]


class _Gradient(ctypes.Structure):
    """gka_cuda_gradient, field by field."""
    _fields_ = ([(n, ctypes.c_void_p) for n in ("dout", "dx", "dq", "dk", "dv", "dalpha", "dg", "dh0", "du0", "dh_final", "du_final")]
                + [(n, ctypes.c_int) for n in ("to_previous", "from_next", "part")])


FORMS = {"three-term": 0, "two-term": 1}  # gka_form of gka/problem.h
ALL, SOLVE, SUFFIX, REST = range(4)       # gka_cuda_part


def _check(what, **tensors):
    """name=(tensor, dtype, shape); a tensor that is None is not there."""
    device = None
    for name, (t, dtype, shape) in tensors.items():
        if t is None:
            continue
        if t.device.type != "cuda":
            raise ValueError(f"gka_cuda: {what}: {name} is on {t.device}, expected a CUDA device")
        device = device or t.device
        if t.device != device:
            raise ValueError(f"gka_cuda: {what}: {name} is on {t.device}, expected {device} as the others")
        if t.dtype != dtype:
            raise TypeError(f"gka_cuda: {what}: {name} is {t.dtype}, expected {dtype}")
        if tuple(t.shape) != tuple(shape):
            raise ValueError(f"gka_cuda: {what}: {name} is {list(t.shape)}, expected {list(shape)}")
        if not t.is_contiguous():
            raise ValueError(f"gka_cuda: {what}: {name} is not contiguous")


def _half(q):
    if q.dtype not in (torch.bfloat16, torch.float16):
        raise TypeError(f"gka_cuda: q is {q.dtype}, expected torch.bfloat16 or torch.float16")
    return q.dtype


def _sizes(q, k, v, cu_seqlens):
    """B T H G D V N"""
    if q.dim() != 4 or k.dim() != 4 or q.shape[0] * q.shape[1] * q.shape[2] == 0 or v is not None and v.dim() != 4:
        raise ValueError(f"gka_cuda: q is {list(q.shape)}, k {list(k.shape)}, expected [B,T,H,D] and [B,T,G,D]")
    B, T, H, D = q.shape
    return B, T, H, k.shape[2], D, D if v is None else v.shape[3], B if cu_seqlens is None else cu_seqlens.numel() - 1


def _inputs(q, k, v, alpha, g, h0, u0, cu_seqlens=None, states=None, of_states=torch.float32):
    """What _check takes; states: how many states there are, if not one a sequence; of_states: their type."""
    B, T, H, G, D, V, N = _sizes(q, k, v, cu_seqlens)
    half, single, N = _half(q), torch.float32, N if states is None else states
    return dict(q=(q, half, (B, T, H, D)), k=(k, half, (B, T, G, D)), v=(v, half, (B, T, G, V)), alpha=(alpha, half, (B, T, H)),
                g=(g, single, (B, T, H)), h0=(h0, of_states, (N, H, D, D)), u0=(u0, of_states, (N, H, D, V)),
                cu_seqlens=(cu_seqlens, torch.int64, (N + 1,)))


def _place(t):
    return None if t is None else t.data_ptr()


def _layer_of(q, k, v, numbers, tensors):
    """The C structure. numbers: ridge_ratio num_iter scale form accurate; tensors: by name."""
    cu_seqlens = tensors.get("cu_seqlens")
    out = _Layer(*_sizes(q, k, v, cu_seqlens), numbers["ridge_ratio"], q.shape[3] ** -.5 if numbers["scale"] is None else numbers["scale"],
                 numbers["num_iter"], FORMS[numbers["form"]], numbers["accurate"], q.dtype == torch.float16, numbers.get("half_states", False))
    for name, t in dict(tensors, q=q, k=k, v=v).items():
        setattr(out, name, _place(t))
    return out


class Library:
    def __init__(self, path="libgka_cuda.so"):
        self._lib = ctypes.CDLL(path)
        self._lib.gka_cuda_workspace_size.restype = ctypes.c_size_t
        self._lib.gka_cuda_workspace_size.argtypes = [ctypes.POINTER(_Layer)]
        self._lib.gka_cuda_forward.argtypes = [ctypes.POINTER(_Layer), ctypes.c_void_p, ctypes.c_size_t,
                                               ctypes.c_void_p, ctypes.POINTER(_Error)]
        self._lib.gka_cuda_gradient_workspace_size.restype = ctypes.c_size_t
        self._lib.gka_cuda_gradient_workspace_size.argtypes = [ctypes.POINTER(_Layer), ctypes.POINTER(_Gradient)]
        self._lib.gka_cuda_backward.argtypes = [ctypes.POINTER(_Layer), ctypes.POINTER(_Gradient), ctypes.c_void_p,
                                                ctypes.c_size_t, ctypes.c_void_p, ctypes.POINTER(_Error)]
        self._lib.gka_cuda_decode.argtypes = [ctypes.POINTER(_Layer), ctypes.c_void_p, ctypes.POINTER(_Error)]

    def _scratch(self, layer, like):
        return torch.empty(self._lib.gka_cuda_workspace_size(ctypes.byref(layer)), dtype=torch.uint8, device=like.device)

    def _run(self, function, scratch, *structures, held=()):
        """Queued on the current stream of the device. held: tensors that the structures point to and that must live until here."""
        error = _Error()
        with torch.cuda.device(scratch.device):
            stream = torch.cuda.current_stream(scratch.device).cuda_stream
            if function(*map(ctypes.byref, structures), scratch.data_ptr(), scratch.numel(), stream, ctypes.byref(error)):
                raise RuntimeError(error.text.decode())

    def backward(self, *tensors, **named):
        """dq dk dv dalpha dg dh0 du0 as a dictionary; the arguments are those of backward_in_parts."""
        out, run = self.backward_in_parts(*tensors, **named)
        run(ALL)
        return out

    def backward_in_parts(self, q, k, v=None, alpha=None, g=None, h0=None, u0=None, *, x, fro, dout=None, dx=None, dh_final=None,
                          du_final=None, cu_seqlens=None, ridge_ratio=0.02, num_iter=30, scale=None, form="two-term", accurate=False,
                          to_previous=False, from_next=False):
        """The dictionary of backward, not filled yet, and run(part), which queues a part of the work: ALL; or SOLVE, SUFFIX and REST in
        this order (gka/cuda.h). accurate: x is the pair that forward gave. to_previous, from_next: tokens of a longer sequence, whose
        dh0 and du0 are the dh_final and du_final of the tokens before."""
        x, x_low = x if accurate else (x, None)
        B, T, H, _, D, V, N = _sizes(q, k, v, cu_seqlens)
        single, layer = torch.float32, dout is not None
        _check("backward", **_inputs(q, k, v, alpha, g, h0, u0, cu_seqlens), x=(x, q.dtype, q.shape), x_low=(x_low, q.dtype, q.shape),
               fro=(fro, single, (B, T, H)), dout=(dout, q.dtype, (B, T, H, V)), dx=(dx, q.dtype, q.shape),
               dh_final=(dh_final, single, (N, H, D, D)), du_final=(du_final, single, (N, H, D, V)))
        new = lambda *shape, dtype=single: torch.empty(shape, dtype=dtype, device=q.device)
        out = dict(dq=torch.empty_like(q), dk=torch.empty_like(k), dv=torch.empty_like(v) if layer else None,
                   dalpha=new(B, T, H, dtype=q.dtype) if layer else None, dg=new(B, T, H) if g is not None else None,
                   dh0=new(N, H, D, D), du0=new(N, H, D, V) if layer else None)
        c = _layer_of(q, k, v, dict(ridge_ratio=ridge_ratio, num_iter=num_iter, scale=scale, form=form, accurate=accurate),
                      dict(alpha=alpha, g=g, h0=h0, u0=u0, cu_seqlens=cu_seqlens, x=x, x_low=x_low, fro=fro))
        gradient = _Gradient(_place(dout), _place(dx), *map(_place, out.values()), _place(dh_final), _place(du_final), to_previous, from_next)
        scratch = torch.empty(self._lib.gka_cuda_gradient_workspace_size(ctypes.byref(c), ctypes.byref(gradient)), dtype=torch.uint8,
                              device=q.device)
        held = (q, k, v, alpha, g, h0, u0, cu_seqlens, x, x_low, fro, dout, dx, dh_final, du_final)

        def run(part):
            gradient.part = part
            self._run(self._lib.gka_cuda_backward, scratch, c, gradient, held=held)
        return out, run

    def final_states(self, q, k, v, g=None, h0=None, u0=None, scale=None):
        """h_final and u_final alone, for a few per cent of forward's time."""
        _check("final_states", **_inputs(q, k, v, None, g, h0, u0))
        B, _, H, _, D, V, N = _sizes(q, k, v, None)
        states = [torch.empty((N, H, D, n), dtype=torch.float32, device=q.device) for n in (D, V)]
        c = _layer_of(q, k, v, dict(ridge_ratio=1, num_iter=1, scale=scale, form="two-term", accurate=False),
                      dict(g=g, h0=h0, u0=u0, h_final=states[0], u_final=states[1]))
        self._run(self._lib.gka_cuda_forward, self._scratch(c, q), c)
        return states

    def forward(self, q, k, v=None, alpha=None, g=None, h0=None, u0=None, *, cu_seqlens=None, ridge_ratio=0.02, num_iter=30,
                scale=None, form="two-term", accurate=False, states=True):
        """x, fro, o, h_final, u_final; accurate: x is the pair of its two parts."""
        _check("forward", **_inputs(q, k, v, alpha, g, h0, u0, cu_seqlens))
        B, T, H, _, D, V, N = _sizes(q, k, v, cu_seqlens)
        new = lambda *shape, dtype=torch.float32: torch.empty(shape, dtype=dtype, device=q.device)
        x, x_low, fro = torch.empty_like(q), torch.empty_like(q) if accurate else None, new(B, T, H)
        o = new(B, T, H, V, dtype=q.dtype) if v is not None else None
        h_final = new(N, H, D, D) if states else None
        u_final = new(N, H, D, V) if states and v is not None else None
        c = _layer_of(q, k, v, dict(ridge_ratio=ridge_ratio, num_iter=num_iter, scale=scale, form=form, accurate=accurate),
                      dict(alpha=alpha, g=g, h0=h0, u0=u0, cu_seqlens=cu_seqlens, x=x, x_low=x_low, fro=fro, o=o, h_final=h_final,
                           u_final=u_final))
        self._run(self._lib.gka_cuda_forward, self._scratch(c, q), c)
        return (x, x_low) if accurate else x, fro, o, h_final, u_final

    def decode(self, q, k, v=None, alpha=None, g=None, h0=None, u0=None, *, state_indices=None, ridge_ratio=0.02, num_iter=30, scale=None):
        """One token: x, fro, o, h_final, u_final. With state_indices [B] int32 the states are those of h0 and u0 at these places, and
        are changed there; a sequence whose place is negative is left alone. The states are fp32, or all of q's type if h0 is."""
        there, of_states = state_indices is not None, torch.float32 if h0 is None else h0.dtype
        if of_states not in (torch.float32, q.dtype):
            raise TypeError(f"gka_cuda: decode: h0 is {of_states}, expected torch.float32 or {q.dtype}")
        _check("decode", **_inputs(q, k, v, alpha, g, h0, u0, states=h0.shape[0] if there else None, of_states=of_states),
               state_indices=(state_indices, torch.int32, (q.shape[0],)))
        B, _, H, _, D, V, _ = _sizes(q, k, v, None)
        new = lambda *shape, dtype=torch.float32: torch.empty(shape, dtype=dtype, device=q.device)
        x, fro, o = torch.empty_like(q), new(B, 1, H), new(B, 1, H, V, dtype=q.dtype) if v is not None else None
        h_final = h0 if there else new(B, H, D, D, dtype=of_states)
        u_final = None if v is None else u0 if there else new(B, H, D, V, dtype=of_states)
        c = _layer_of(q, k, v, dict(ridge_ratio=ridge_ratio, num_iter=num_iter, scale=scale, form="two-term", accurate=False,
                                    half_states=of_states != torch.float32),
                      dict(alpha=alpha, g=g, h0=h0, u0=u0, state_indices=state_indices, x=x, fro=fro, o=o, h_final=h_final, u_final=u_final))
        error = _Error()
        with torch.cuda.device(q.device):
            if self._lib.gka_cuda_decode(ctypes.byref(c), torch.cuda.current_stream(q.device).cuda_stream, ctypes.byref(error)):
                raise RuntimeError(error.text.decode())
        return x, fro, o, h_final, u_final


@functools.lru_cache(1)
def library():
    return Library(os.environ.get("GKA_CUDA_LIBRARY", "libgka_cuda.so"))


# ---- the operator --------------------------------------------------------------------------------

@torch.library.custom_op("gka::layer", mutates_args=(), device_types="cuda")
def _layer(q: Tensor, k: Tensor, v: Tensor, alpha: Optional[Tensor], g: Optional[Tensor], h0: Optional[Tensor], u0: Optional[Tensor],
           cu_seqlens: Optional[Tensor], ridge_ratio: float, num_iter: int, scale: float, form: str,
           accurate: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """o, h_final, u_final, and what the backward needs: x, its low part ([0] where there is none) and fro."""
    x, fro, o, h_final, u_final = library().forward(q, k, v, alpha, g, h0, u0, cu_seqlens=cu_seqlens, ridge_ratio=ridge_ratio,
                                                    num_iter=num_iter, scale=scale, form=form, accurate=accurate)
    x, x_low = x if accurate else (x, q.new_empty(0))
    return o, h_final, u_final, x, x_low, fro


@_layer.register_fake
def _(q, k, v, alpha, g, h0, u0, cu_seqlens, ridge_ratio, num_iter, scale, form, accurate):
    B, T, H, _, D, V, N = _sizes(q, k, v, cu_seqlens)
    single = lambda *shape: q.new_empty(shape, dtype=torch.float32)
    return (q.new_empty((B, T, H, V)), single(N, H, D, D), single(N, H, D, V), torch.empty_like(q),
            torch.empty_like(q) if accurate else q.new_empty(0), single(B, T, H))


GRADIENTS = ("dq", "dk", "dv", "dalpha", "dg", "dh0", "du0")


@torch.library.custom_op("gka::layer_backward", mutates_args=(), device_types="cuda")
def _layer_backward(q: Tensor, k: Tensor, v: Tensor, alpha: Optional[Tensor], g: Optional[Tensor], h0: Optional[Tensor],
                    u0: Optional[Tensor], cu_seqlens: Optional[Tensor], x: Tensor, x_low: Tensor, fro: Tensor, dout: Tensor, dh_final: Optional[Tensor],
                    du_final: Optional[Tensor], ridge_ratio: float, num_iter: int, scale: float, form: str,
                    accurate: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """dq dk dv dalpha dg dh0 du0; dg is [0] without g."""
    d = library().backward(q, k, v, alpha, g, h0, u0, x=(x, x_low) if accurate else x, fro=fro, dout=dout, dh_final=dh_final,
                           du_final=du_final, cu_seqlens=cu_seqlens, ridge_ratio=ridge_ratio, num_iter=num_iter, scale=scale, form=form,
                           accurate=accurate)
    return tuple(q.new_empty(0, dtype=torch.float32) if d[n] is None else d[n] for n in GRADIENTS)


@_layer_backward.register_fake
def _(q, k, v, alpha, g, h0, u0, cu_seqlens, x, x_low, fro, dout, dh_final, du_final, ridge_ratio, num_iter, scale, form, accurate):
    B, T, H, _, D, V, N = _sizes(q, k, v, cu_seqlens)
    single = lambda *shape: q.new_empty(shape, dtype=torch.float32)
    return (torch.empty_like(q), torch.empty_like(k), torch.empty_like(v), q.new_empty((B, T, H)),
            single(0) if g is None else single(B, T, H), single(N, H, D, D), single(N, H, D, V))


def _remember(ctx, inputs, output):
    _, _, _, x, x_low, fro = output
    ctx.save_for_backward(*inputs[:8], x, x_low, fro)
    ctx.how = inputs[8:]
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(x, x_low, fro)


def _differentiate(ctx, do, dh_final, du_final, *_):
    inputs, rest = ctx.saved_tensors[:8], ctx.saved_tensors[8:]
    dense = lambda t: None if t is None else t.contiguous()
    q, v = inputs[0], inputs[2]
    do = q.new_zeros((*q.shape[:3], v.shape[3])) if do is None else do.contiguous()
    grads = torch.ops.gka.layer_backward(*inputs, *rest, do, dense(dh_final), dense(du_final), *ctx.how)
    return *(d if t is not None else None for t, d in zip(inputs, grads)), *[None] * (1 + len(ctx.how))


_layer.register_autograd(_differentiate, setup_context=_remember)


def gka_chebyshev_gla(q, k, v, alpha, g, gla_g=None, scale=None, ridge_strength=0.02, num_iter=30, h0=None, u0=None, *,
                      cu_seqlens=None, form="two-term", accurate=False):
    """o, h_final, u_final of the layer, differentiable in every tensor. The arguments are those of the released function of this
    name; its second gate must be the first one or None. Grouped heads: k, v may have fewer heads than q."""
    if gla_g is not None and gla_g is not g:
        raise ValueError("gka_cuda: a second gate of its own is not computed; expected g or None")
    if form not in FORMS:
        raise ValueError(f"gka_cuda: form {form!r}, expected one of {', '.join(FORMS)}")
    if torch.is_autocast_enabled("cuda"):
        q, k, v = q.bfloat16(), k.bfloat16(), v.bfloat16()
        alpha, g = None if alpha is None else alpha.bfloat16(), None if g is None else g.float()
    scale = q.shape[-1] ** -.5 if scale is None else scale
    o, h_final, u_final, *_ = torch.ops.gka.layer(q, k, v, alpha, g, h0, u0, cu_seqlens, ridge_strength, num_iter, scale, form, accurate)
    return o, h_final, u_final


# ---- goldens -------------------------------------------------------------------------------------

# The last axes of tensors by their sizes' letters.
AXES = dict(q="D", k="D", v="V", dx="D", do="V", h0="DD", u0="DV", dh_final="DD", du_final="DV", x="D", o="V", h_final="DD", u_final="DV",
            dq="D", dk="D", dv="V", dh0="DD", du0="DV")


def _resized(name, t, sizes):
    """The tensor with its last axes of these sizes: zeros added behind, or what is behind cut off."""
    letters = AXES.get(name.split(".")[-1], "")
    if t is None or not letters:
        return t
    here = t.shape[-len(letters):]
    return torch.nn.functional.pad(t, [n for size, letter in reversed(list(zip(here, letters))) for n in (0, sizes[letter] - size)]).contiguous()


def kernels(*, ridge_ratio, num_iter, chunk_size, scale, cotangents, cu_seqlens=None, **given):
    """For gka.check: `python3 -m gka.check GOLDEN gka_cuda:kernels`, libgka_cuda.so found by the loader (LD_LIBRARY_PATH). given: q k
    [v alpha g h0 u0]. Zeros behind a row of q, k or v change nothing of what comes before them, so smaller D and V are run as the next
    ones that there are."""
    own = {"D": given["q"].shape[-1], "V": 64 if given.get("v") is None else given["v"].shape[-1]}
    sizes = {letter: next((n for n in (64, 128, 256)[:most] if n >= own[letter]), None) for letter, most in (("D", 2), ("V", 3))}
    if given["q"].dtype not in (torch.bfloat16, torch.float16) or None in sizes.values():
        raise NotImplementedError("bf16 or fp16, D up to 128, V up to 256")
    tensors = {n: _resized(n, t, sizes) for n, t in given.items()}
    cotangents = {n: _resized(n, t, sizes) for n, t in cotangents.items()}
    lib, how = library(), dict(ridge_ratio=ridge_ratio, num_iter=num_iter, scale=scale, cu_seqlens=cu_seqlens)
    x, fro, o, h_final, u_final = lib.forward(**tensors, **how)
    out = {"x": x, "fro": fro, "o": o, "h_final": h_final, "u_final": u_final}
    finals = {n: cotangents[n] for n in ("dh_final", "du_final") if n in cotangents}
    if "dx" in cotangents:
        grads = lib.backward(**tensors, x=x, fro=fro, dx=cotangents["dx"], dh_final=finals.get("dh_final"), **how)
        if "dh_final" in finals and cu_seqlens is None:  # the kernels take its symmetric part; the rest goes through the gates alone
            odd = (finals["dh_final"] - finals["dh_final"].mT) / 2
            grads["dh0"] += odd if given.get("g") is None else given["g"].sum(1).exp()[..., None, None] * odd
        out.update({f"solve.{n}": grads[n] for n in ("dq", "dk", "dg", "dh0") if n != "dh0" or given.get("h0") is not None})
    if "do" in cotangents:
        grads = lib.backward(**tensors, x=x, fro=fro, dout=cotangents["do"], **finals, **how)
        out.update({f"layer.{n}": grads[n] for n in ("dq", "dk", "dv", "dalpha", "dg") if n != "dalpha" or given.get("alpha") is not None})
    return {name: _resized(name, t, own) for name, t in out.items() if t is not None}
