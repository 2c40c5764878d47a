"""gka_cuda.py - the kernels of src/cuda as PyTorch functions, by ctypes over gka/cuda.h.

    import gka_cuda
    lib = gka_cuda.Library("libgka_cuda.so")
    x, fro, o, h_final, u_final = lib.forward(q, k, v, alpha, g, ridge_ratio=.02, num_iter=30)

Tensors: q [B,T,H,D] bf16, k v [B,T,G,D] bf16, alpha [B,T,H] bf16 or None, g [B,T,H] fp32 (natural log) or None,
contiguous, on one device. Everything is queued on the current stream.
"""
import ctypes

import torch


class _Layer(ctypes.Structure):
    """gka_cuda_layer, field by field."""
    _fields_ = ([(n, ctypes.c_int64) for n in ("B", "T", "H", "G", "D")]
                + [("ridge_ratio", ctypes.c_double), ("scale", ctypes.c_double),
                   ("num_iter", ctypes.c_int), ("form", ctypes.c_int), ("accurate", ctypes.c_int)]
                + [(n, ctypes.c_void_p) for n in ("q", "k", "v", "alpha", "g", "h0", "u0",
                                                  "x", "x_low", "fro", "o", "h_final", "u_final")])


class _Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("text", ctypes.c_char * 512)]


class _Gradient(ctypes.Structure):
    """gka_cuda_gradient, field by field."""
    _fields_ = [(n, ctypes.c_void_p) for n in ("dout", "dx", "dq", "dk", "dv", "dalpha", "dg", "dh0", "du0", "dh_final", "du_final")]


FORMS = {"three-term": 0, "two-term": 1}  # gka_form of gka/problem.h


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
        self._workspace = None

    def _scratch(self, size, device):
        if self._workspace is None or self._workspace.numel() < size or self._workspace.device != device:
            self._workspace = torch.empty(size, dtype=torch.uint8, device=device)
        return self._workspace.data_ptr()

    def backward(self, q, k, v=None, alpha=None, g=None, h0=None, u0=None, *, x, fro, dout=None, dx=None, dh_final=None, du_final=None,
                 ridge_ratio=0.02, num_iter=30, scale=None, form="two-term", accurate=False):
        """dq dk dv dalpha dg dh0 du0 as a dictionary; accurate: x is the pair that forward gave."""
        x, x_low = x if accurate else (x, None)
        B, T, H, D = q.shape
        G = k.shape[2]
        new = lambda *shape, dtype: torch.empty(shape, dtype=dtype, device=q.device)
        out = dict(dq=torch.empty_like(q), dk=torch.empty_like(k),
                   dv=torch.empty_like(v) if dout is not None else None,
                   dalpha=new(B, T, H, dtype=q.dtype) if dout is not None else None,
                   dg=new(B, T, H, dtype=torch.float32) if g is not None else None,
                   dh0=new(B, H, D, D, dtype=torch.float32),
                   du0=new(B, H, D, D, dtype=torch.float32) if dout is not None else None)
        place = lambda t: None if t is None else t.data_ptr()
        layer = _Layer(B, T, H, G, D, ridge_ratio, D ** -0.5 if scale is None else scale, num_iter, FORMS[form], accurate,
                       *map(place, (q, k, v, alpha, g, h0, u0, x, x_low, fro, None, None, None)))
        gradient = _Gradient(place(dout), place(dx), *map(place, out.values()), place(dh_final), place(du_final))
        size = self._lib.gka_cuda_gradient_workspace_size(ctypes.byref(layer), ctypes.byref(gradient))
        error = _Error()
        stream = torch.cuda.current_stream(q.device).cuda_stream
        if self._lib.gka_cuda_backward(ctypes.byref(layer), ctypes.byref(gradient), self._scratch(size, q.device),
                                       size, stream, ctypes.byref(error)):
            raise RuntimeError(error.text.decode())
        return out

    def forward(self, q, k, v=None, alpha=None, g=None, h0=None, u0=None, *, ridge_ratio=0.02, num_iter=30,
                scale=None, form="two-term", accurate=False, states=True):
        """x, fro, o, h_final, u_final; accurate: x is the pair of its two bf16 parts."""
        B, T, H, D = q.shape
        new = lambda *shape, dtype: torch.empty(shape, dtype=dtype, device=q.device)
        x, fro = torch.empty_like(q), new(B, T, H, dtype=torch.float32)
        x_low = torch.empty_like(q) if accurate else None
        o = torch.empty_like(q) if v is not None else None
        h_final = new(B, H, D, D, dtype=torch.float32) if states else None
        u_final = new(B, H, D, D, dtype=torch.float32) if states and v is not None else None
        place = lambda t: None if t is None else t.data_ptr()
        layer = _Layer(B, T, H, k.shape[2], D, ridge_ratio, D ** -0.5 if scale is None else scale, num_iter,
                       FORMS[form], accurate,
                       *map(place, (q, k, v, alpha, g, h0, u0, x, x_low, fro, o, h_final, u_final)))
        size = self._lib.gka_cuda_workspace_size(ctypes.byref(layer))
        error = _Error()
        stream = torch.cuda.current_stream(q.device).cuda_stream
        if self._lib.gka_cuda_forward(ctypes.byref(layer), self._scratch(size, q.device), size, stream,
                                      ctypes.byref(error)):
            raise RuntimeError(error.text.decode())
        return (x, x_low) if accurate else x, fro, o, h_final, u_final

    def decode(self, q, k, v=None, alpha=None, g=None, h0=None, u0=None, *, ridge_ratio=0.02, num_iter=30, scale=None):
        """One token: x, fro, o, h_final, u_final."""
        B, _, H, D = q.shape
        new = lambda *shape, dtype: torch.empty(shape, dtype=dtype, device=q.device)
        x, fro = torch.empty_like(q), new(B, 1, H, dtype=torch.float32)
        o = torch.empty_like(q) if v is not None else None
        h_final = new(B, H, D, D, dtype=torch.float32)
        u_final = new(B, H, D, D, dtype=torch.float32) if v is not None else None
        place = lambda t: None if t is None else t.data_ptr()
        layer = _Layer(B, 1, H, k.shape[2], D, ridge_ratio, D ** -0.5 if scale is None else scale, num_iter, FORMS["two-term"],
                       0, *map(place, (q, k, v, alpha, g, h0, u0, x, None, fro, o, h_final, u_final)))
        error = _Error()
        if self._lib.gka_cuda_decode(ctypes.byref(layer), torch.cuda.current_stream(q.device).cuda_stream,
                                     ctypes.byref(error)):
            raise RuntimeError(error.text.decode())
        return x, fro, o, h_final, u_final


def kernels(q, k, v=None, alpha=None, g=None, h0=None, u0=None, *, ridge_ratio, num_iter, chunk_size, scale, cotangents,
            cu_seqlens=None):
    """For gka.check: `python3 -m gka.check GOLDEN gka_cuda:kernels`, libgka_cuda.so found by the loader (LD_LIBRARY_PATH)."""
    if cu_seqlens is not None or q.dtype != torch.bfloat16 or q.shape[-1] not in (64, 128) or v is not None and v.shape[-1] != q.shape[-1]:
        raise NotImplementedError("bf16, D = V = 64 or 128, not packed")
    lib, how = Library(), dict(ridge_ratio=ridge_ratio, num_iter=num_iter, scale=scale)
    x, fro, o, h_final, u_final = lib.forward(q, k, v, alpha, g, h0, u0, **how)
    out = {"x": x, "fro": fro, "o": o, "h_final": h_final, "u_final": u_final}
    if "dx" in cotangents:
        grads = lib.backward(q, k, v, alpha, g, h0, u0, x=x, fro=fro, dx=cotangents["dx"], dh_final=cotangents.get("dh_final"), **how)
        out.update({f"solve.{n}": grads[n] for n in ("dq", "dk", "dg", "dh0") if n != "dh0" or h0 is not None})
    if "do" in cotangents:
        grads = lib.backward(q, k, v, alpha, g, h0, u0, x=x, fro=fro, dout=cotangents["do"], dh_final=cotangents.get("dh_final"),
                             du_final=cotangents.get("du_final"), **how)
        out.update({f"layer.{n}": grads[n] for n in ("dq", "dk", "dv", "dalpha", "dg") if n != "dalpha" or alpha is not None})
    return {name: t for name, t in out.items() if t is not None}
