"""gka_check.py - what `gka verify CANDIDATE --against GOLDEN` says, on a machine that has only Python and numpy or torch.

    python3 gka_check.py CANDIDATE GOLDEN [--map THEIRS=OURS] [--layout bhtd] [--reference exact]
                         [--gradients through] [--require NAME,..|all] [--json OUT]

    import gka_check                                    # from a test
    out = gka_check.call(kernel, "golden.safetensors", "cuda")   # {"x": ..., "o": ...}, on whatever device
    assert gka_check.passes(out, "golden.safetensors")

CANDIDATE and GOLDEN are safetensors files, or two folders: a candidate for every golden of that name. Exit code: 0 nothing
fails, 1 a tensor fails, 2 bad input, or nothing could be judged. check() gives a Row for each output of the golden; row.ok is
True, False, or None (the tensor is missing, or nothing here can judge it). passes() is that none is False, and prints all rows
where one is. It requires x and o, and, where the layer's inputs require gradients, every gradient of the golden; require="o",
or any names, asks for less. The golden says all that is needed: inputs, references, tolerances.

How a tensor is judged (gka/judge.h): error = ||out - ref|| / ||ref|| against NAME.steps, or, for an output that other outputs
of the candidate enter, against the exact formulas at those, whichever is nearer. Those formulas are in local() below. A solver
that converges, and so does not compute what num_iter Chebyshev steps do, is judged with --reference exact (reference="exact"):
by NAME.exact in place of NAME.steps.
"""
import argparse
import contextlib
import ctypes
import difflib
import hashlib
import inspect
import json
import math
import mmap
import os
import struct
import sys
import unittest

try:
    import numpy as xp
    NUMPY = True
except ImportError:
    import torch as xp
    NUMPY = False

INPUTS = "q k v alpha g h0 u0 do dx dh_final du_final cu_seqlens".split()
GIVEN = "given.x given.fro given.h_chunk given.solve.p given.layer.p".split()  # what a golden of one stage hands on
OUTPUTS = ("x fro h_chunk h_final u_final o solve.dq solve.dk solve.dg solve.dh0 "
           "layer.dq layer.dk layer.dv layer.dalpha layer.dg").split()
# output -> what its local judgement reads of the candidate
UPSTREAM = {"o": ["x"], "layer.dv": ["x"], "layer.dalpha": ["x"],
            "solve.dk": ["x", "fro", "solve.dq"], "solve.dg": ["x", "fro", "solve.dq"], "solve.dh0": ["x", "fro", "solve.dq"],
            "layer.dk": ["x", "fro", "layer.dq"], "layer.dg": ["x", "fro", "layer.dq"]}
WIDE = {"fro", "h_final", "u_final", "solve.dg", "solve.dh0", "layer.dg"}  # stored in F32 whatever the inputs' type
STATES = {"h_chunk", "h_final", "u_final", "solve.dh0"}  # all others are [B,T,H,..]
# dtype -> bytes, significant bits, least and largest exponent (2^emin the least normal number)
FORMATS = {"F64": (8, 53, -1022, 1023), "F32": (4, 24, -126, 127), "F16": (2, 11, -14, 15), "BF16": (2, 8, -126, 127),
           "F8_E4M3": (1, 4, -6, 8), "F8_E5M2": (1, 3, -14, 15)}
SIZES = {**{name: one[0] for name, one in FORMATS.items()}, "I64": 8, "I32": 4}


class Bad(ValueError):
    """Input that cannot be judged; one line."""


# ---- safetensors: 8 bytes length, a JSON header, the data ------------------------------------------------------------------

class File:
    """metadata: strings; tensors: name -> (dtype, shape, bytes)."""

    def __init__(self, path):
        self.path, self.tensors, self.begins = path, {}, {}
        try:
            with open(path, "rb") as file:
                data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
            start = 8 + struct.unpack("<Q", data[:8])[0]
            header = json.loads(bytes(data[8:start]).decode())
            self.metadata = header.pop("__metadata__", {})
            for name, t in header.items():
                (begin, end), shape = t["data_offsets"], tuple(t["shape"])
                size = math.prod(shape) * SIZES.get(t["dtype"], 0)
                if not 0 <= begin <= end <= len(data) - start or (size and size != end - begin):
                    raise ValueError(f"tensor '{name}' lies at bytes {begin} to {end} of {len(data) - start}; cut short?")
                self.tensors[name] = (t["dtype"], shape, data[start + begin:start + end])
                self.begins[name] = (begin, end)
        except OSError as error:
            raise Bad(f"{path}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
            raise Bad(f"{path}: not a safetensors file: {error}") from None

    def values(self, name):
        """A tensor as float64."""
        dtype, shape, data = self.tensors[name]
        if math.prod(shape) == 0:
            return xp.zeros(shape, dtype=xp.float64)
        if dtype.startswith("F8"):
            return xp.asarray([byte_value(dtype, byte) for byte in range(256)], dtype=xp.float64)[list(data)].reshape(shape)
        if NUMPY:
            a = xp.frombuffer(data, {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4"}[dtype])
            if dtype == "BF16":  # the upper half of a binary32
                a = (a.astype("<u4") << 16).view("<f4")
            return a.astype(float).reshape(shape)
        return xp.frombuffer(data, dtype=torch_dtype(xp, dtype)).to(xp.float64).reshape(shape)


def byte_value(dtype, byte):
    """What an 8-bit encoding means: e4m3 has no infinities and one NaN of each sign, e5m2 is as IEEE 754 has it."""
    _, p, emin, emax = FORMATS[dtype]
    exponent, fraction = (byte & 127) >> p - 1, byte & (1 << p - 1) - 1
    if byte & 127 == 127 or (dtype == "F8_E5M2" and exponent == 31 and fraction):
        return math.nan
    size = math.inf if dtype == "F8_E5M2" and exponent == 31 else \
        math.ldexp(fraction, emin - p + 1) if exponent == 0 else \
        math.ldexp((1 << p - 1) + fraction, emin + exponent - 1 - p + 1)
    return -size if byte & 128 else size


def rounded(a, dtype):
    """Each number rounded to nearest even to the type."""
    _, p, emin, emax = FORMATS[dtype]
    if dtype == "F64":
        return a
    exponent = xp.frexp(abs(a))[1] - 1
    exponent = xp.where(exponent < emin, xp.full_like(exponent, emin), exponent) - p + 1
    unit = xp.ldexp(xp.ones_like(a), exponent)
    near = (xp.rint(a / unit) if NUMPY else xp.round(a / unit)) * unit
    most = math.ldexp(2 - 2.0 ** (1 - p), emax) if dtype != "F8_E4M3" else 448.0
    return xp.where(abs(near) > most, xp.copysign(xp.full_like(a, math.inf), a), near)


def tolerance_of(floor, u):
    """2^ceil(log2(max(2 floor, u))), None from 1/2 on: the golden's rule."""
    value = max(2 * floor, u)
    if not value < math.inf:
        return None
    m, e = math.frexp(value)
    value = math.ldexp(1, e if m > .5 else e - 1)
    return value if value < .5 else None


def torch_dtype(torch, dtype):
    names = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
             "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
    return getattr(torch, names[dtype])


class Tensors:
    """The same face over a dictionary of torch tensors or numpy arrays."""
    path = "candidate"
    dtypes = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3",
              "float8_e5m2": "F8_E5M2"}

    def __init__(self, tensors):
        self.given = {name: t.detach() if hasattr(t, "detach") else t for name, t in tensors.items() if t is not None}
        self.differentiable = any(getattr(t, "requires_grad", False) for t in tensors.values())
        self.tensors = {name: (self.dtypes.get(str(t.dtype).split(".")[-1], str(t.dtype)), tuple(t.shape), None)
                        for name, t in self.given.items()}

    def values(self, name):
        t = self.given[name]
        if hasattr(t, "cpu"):
            t = t.double().cpu()
            return t.numpy() if NUMPY else t
        return t.astype(float) if NUMPY else xp.tensor(t.astype(float).tolist(), dtype=xp.float64)


# ---- the exact formulas at the candidate's tensors (NUMERICS 2, by chunks as in NUMERICS 4) --------------------------------

class Problem:
    """Inputs of a golden: one head of one sequence at a time, from `head`."""

    def __init__(self, file):
        self.file = file
        number = lambda key: json.loads(file.metadata[key])
        self.a, self.s, self.C = number("ridge_ratio"), number("scale"), number("chunk_size")
        self.input = {name: file.values(name) for name in INPUTS if name in file.tensors}
        self.B, self.T, self.H, self.D = self.input["q"].shape
        self.G = self.input["k"].shape[2]
        self.spans = [(b, 0, self.T) for b in range(self.B)]
        if "cu_seqlens" in self.input:
            bounds = [int(x) for x in self.input["cu_seqlens"]]
            self.spans = [(0, begin, end) for begin, end in zip(bounds, bounds[1:])]

    def tiles(self, g, begin, end):
        """Chunks of C tokens, cut where a gate is zero (g = -inf): (first, end, forgets what was before)."""
        zero = [t for t in range(begin, end) if g is not None and float(g[t - begin]) == -math.inf]
        starts = sorted(set(range(begin, end, self.C)) | set(zero))
        return [(t, u, t in zero) for t, u in zip(starts, starts[1:] + [end])]


class Tile:
    """Gates of n tokens: e_t = exp(G_t), M_tj = exp(G_t - G_j) for j <= t, tail_j = exp(G_n - G_j)."""

    def __init__(self, g, restart):
        n = len(g)
        G = xp.zeros((n,), dtype=xp.float64) + g
        if restart:
            G[0] = 0
        G = xp.cumsum(G, 0)
        self.e = xp.exp(G)[:, None]
        self.M = xp.tril(xp.exp(-abs(G[:, None] - G[None, :])))
        self.tail = xp.exp(G[n - 1] - G)[:, None]
        self.decay = xp.exp(G[n - 1])


def output_stage(s, tiles, q, k, v, do, U, dU):
    """q' [T,D] -> o; with do the cotangents of q', k, v and of the gates too; dU: that of the final state. tiles: (first, end,
    restart, Tile)."""
    o, dq, dk, dv, dg = (xp.zeros_like(like) for like in (v, q, k, v, q[:, 0]))
    states = []
    for t, u, restart, c in tiles:
        U = U * 0 if restart else U
        states.append(U)
        o[t:u] = s * (c.e * (q[t:u] @ U) + (c.M * (q[t:u] @ k[t:u].T)) @ v[t:u])
        U = c.decay * U + (c.tail * k[t:u]).T @ v[t:u]
    after = U  # the state behind the tile
    for (t, u, restart, c), U in zip(reversed(tiles), reversed(states)):
        if do is None:
            break
        Q, K, V, dO = q[t:u], k[t:u], v[t:u], s * do[t:u]
        dq[t:u] = c.e * (dO @ U.T) + (c.M * (dO @ V.T)) @ K
        dk[t:u] = c.tail * (V @ dU.T) + (c.M * (dO @ V.T)).T @ Q
        dv[t:u] = c.tail * (K @ dU) + (c.M * (Q @ K.T)).T @ dO
        suffix(dg, t, u, (Q * dq[t:u]).sum(1) - (K * dk[t:u]).sum(1), (dU * after).sum(), restart)
        dU = c.decay * dU + (c.e * Q).T @ dO
        dU, after = dU * 0 if restart else dU, U
    return o, dq, dk, dv, dg


def solve_stage(a, tiles, k, x, f, p, H, dH):
    """dk, dg, dh0 of the solve at x, f, p: dH_t = -p_t x_t^T - (w_t/2) H_t, w_t = 2 a <p_t,x_t>/f_t; dH: of the final state."""
    dk, dg, states = xp.zeros_like(k), xp.zeros_like(f), []
    for t, u, restart, c in tiles:
        H = H * 0 if restart else H
        states.append(H)
        H = c.decay * H + (c.tail * k[t:u]).T @ k[t:u]
    E, Z, after = -dH, H * 0, H
    for (t, u, restart, c), H in zip(reversed(tiles), reversed(states)):
        K, X, P, F = k[t:u], x[t:u], p[t:u], f[t:u]
        apx = a * (P * X).sum(1)
        w = (2 * apx / xp.where(F == 0, xp.ones_like(F), F) * (F != 0))[:, None]
        we = c.M.T @ (w * c.e)  # sum_{t >= j} M_tj w_t exp(G_t)
        dk[t:u] = -(c.tail * (K @ (E + E.T)) + (c.M.T * (K @ X.T)) @ P + (c.M.T * (K @ P.T)) @ X
                    + we * (K @ H) + ((c.M.T @ (w * c.M)) * (K @ K.T)) @ K + c.tail * (K @ Z))
        HX = c.e * (X @ H) + (c.M * (X @ K.T)) @ K
        suffix(dg, t, u, -(P * HX).sum(1) - apx * F - (K * dk[t:u]).sum(1) / 2, -((E + Z / 2) * after).sum(), restart)
        E = c.decay * E + (c.e * P).T @ X
        Z = c.decay * Z + (c.e * c.e * w).sum() * H + (we * K).T @ K
        E, Z, after = (E * 0, Z * 0, H) if restart else (E, Z, H)
    return dk, dg, -E - Z / 2


def suffix(dg, t, u, parts, later, restart):
    """dg_i = later + sum_{j >= i} parts_j; nothing passes a gate that is zero."""
    sums = xp.cumsum(parts, 0)
    dg[t:u] = later + sums[u - t - 1] - sums + parts
    if restart:
        dg[t] = 0


def local(problem, out, wanted):
    """name -> value of each wanted output that has upstream tensors, all of them in out."""
    names = [name for name in wanted if name in UPSTREAM and all(u in out for u in UPSTREAM[name])]
    given, B, T, H, D = problem.input, problem.B, problem.T, problem.H, problem.D
    shape = {"dk": (B, T, problem.G, D), "dg": (B, T, H), "dalpha": (B, T, H), "dh0": (len(problem.spans), H, D, D)}
    if "v" in given:
        shape["o"] = (B, T, H, given["v"].shape[3])
        shape["dv"] = tuple(given["v"].shape)
    result = {name: xp.zeros(shape[name.split(".")[-1]], dtype=xp.float64) for name in names}

    def put(name, at, value):
        if name in result:
            result[name][at] += value

    for n, (b, begin, end) in enumerate(problem.spans):
        for h in range(H):
            span, j = slice(begin, end), h // (H // problem.G)
            at, key = (b, span, h), (b, span, j)
            take = lambda name, index: given[name][index] if name in given else None
            state = lambda name, columns: given[name][n, h] if name in given else xp.zeros((D, columns), dtype=xp.float64)
            q, k, v, do, alpha, g = (take(name, i) for name, i in
                                     (("q", at), ("k", key), ("v", key), ("do", at), ("alpha", at), ("g", at)))
            if end == begin:
                continue
            x, f = (out[name][at] if name in out else None for name in ("x", "fro"))
            gates = q[:, 0] * 0 if g is None else g
            tiles = [(t - begin, u - begin, r, Tile(gates[t - begin:u - begin], r)) for t, u, r in problem.tiles(g, begin, end)]
            mix = 1 if alpha is None else alpha[:, None]
            H0 = state("h0", D)
            H0, dH = (H0 + H0.T) / 2, state("dh_final", D)
            if v is not None and x is not None:
                U0, dU = state("u0", v.shape[1]), state("du_final", v.shape[1])
                o, dq, dk, dv, dg = output_stage(problem.s, tiles, q + mix * (x - q), k, v, do, U0, dU)
                put("o", at, o)
                put("layer.dv", key, dv)
                put("layer.dalpha", at, (dq * (x - q)).sum(1))
                if "layer.dk" in result or "layer.dg" in result:
                    p = out["layer.dq"][at] - (1 - mix) * dq
                    more_dk, more_dg, _ = solve_stage(problem.a, tiles, k, x, f, p, H0, dH)
                    put("layer.dk", key, dk + more_dk)
                    put("layer.dg", at, dg + more_dg)
            if any(name.startswith("solve.") for name in result):
                dk, dg, dh0 = solve_stage(problem.a, tiles, k, x, f, out["solve.dq"][at], H0, dH)
                put("solve.dk", key, dk)
                put("solve.dg", at, dg)
                put("solve.dh0", (n, h), dh0)
    return result


# ---- one tensor ------------------------------------------------------------------------------------------------------------

def norm(a):
    """||a||_2, scaled by a power of two so that no square overflows."""
    most = float(abs(a).max()) if math.prod(a.shape) else 0.0
    if not 0 < most < math.inf:
        return 0.0 if most == 0 else math.nan
    unit = 2.0 ** min(math.frexp(most)[1], 1000)
    return unit * math.sqrt(float(((a / unit) ** 2).sum()))


def relative(out, ref):
    """||out - ref|| / ||ref||, with the conventions of gka/judge.h for NaN, Inf and ref = 0."""
    if bool(xp.isnan(out).any()) or not bool(xp.isfinite(ref).all()):
        return math.nan
    if not bool(xp.isfinite(out).all()):
        return math.inf
    d, size = norm(out - ref), norm(ref)
    return d / size if size > 0 else d


def encoding(x, dtype):
    """The bits of x rounded to nearest even to the type, in hex."""
    size, p, emin, emax = FORMATS[dtype]
    bits = 8 * size
    sign = (1 << bits - 1) if math.copysign(1, x) < 0 else 0
    infinity = (emax - emin + 2) << p - 1
    if math.isnan(x):
        place = infinity | 1 << p - 2
        sign = 0
    elif math.isinf(x):
        place = infinity
    elif x == 0:
        place = 0
    else:  # significand in units of the last place; a carry walks into the exponent by itself
        e = max(math.frexp(abs(x))[1] - 1, emin)
        place = min((e - emin << p - 1) + round(math.ldexp(abs(x), p - 1 - e)), infinity)
    return f"0x{sign | place:0{bits // 4}X}"


def row_error(out, ref, axes):
    """The largest over rows (the last `axes` axes) of |out - ref| / max(|ref|, root mean square of |ref| over all rows)."""
    size = math.prod(ref.shape[ref.ndim - axes:])
    if ref.size == 0 if NUMPY else ref.numel() == 0:
        return 0.0
    a, b = out.reshape(-1, size), ref.reshape(-1, size)
    finite = xp.where(xp.isfinite(b), abs(b), xp.zeros_like(b))
    scale = float(finite.max()) or 1.0
    d, r = (((a / scale - b / scale) ** 2).sum(1), ((b / scale) ** 2).sum(1))
    mean = float(r.sum()) / len(r)
    most = xp.where(r > mean, r, xp.full_like(r, mean))
    e = d if mean == 0 else d / most
    return math.nan if bool(xp.isnan(e).any()) else math.sqrt(float(e.max()))


class Row:
    """name; ok; dtype, against ('steps', 'exact' or 'local'), error, tolerance (of the stored type), steps, local, inherited, total
    (None: not known); lacking (an upstream tensor that was not there); required (it fails where there is no verdict); turned (it
    fails, and its bytes would pass in the other layout); non_finite (elements that are NaN or Inf where the reference is finite:
    it fails); mismatches, and the first and worst of them: dicts with at, out, expected, out_hex, expected_hex. An element is a
    mismatch where |out - ref| > tolerance * rms(ref), or it is not finite."""

    def __init__(self, name, tolerances, reference, stored, required):
        self.name, self.ok, self.missing = name, None, True
        self.tolerance, self.row_tolerance = tolerances[reference]
        self._through = tolerances["through"]
        self.required = required
        self._stored = stored  # the type in which the golden's kernels store it
        if required:
            self.ok = False

    def __repr__(self):
        return json.dumps(self.figures())

    def figures(self):
        return plain({key: value for key, value in self.__dict__.items() if not key.startswith("_")})

    def judge(self, out, dtype, steps, exact, own, through, lacking, reference, heads_first, gradients):
        self.missing, self.dtype, self.lacking, self.turned = False, dtype, lacking, False
        self.through, self.other_passes = None, False
        self.steps, self.total = relative(out, steps), relative(out, exact)
        self.local = self.inherited = None
        self.error, self.against, ref = self.steps, "steps", steps
        if reference == "exact":
            self.error, self.against, ref = self.total, "exact", exact
        whole = ref
        self.non_finite = int((~xp.isfinite(out) & xp.isfinite(whole)).sum())
        self.know_stored_type(dtype, whole)
        if own is not None:
            self.local, self.inherited = relative(out, own), relative(own, ref)
            if self.local < self.error or math.isnan(self.error):
                self.error, self.against, ref = self.local, "local", own
        self.row_error = row_error(out, ref, self.axes(out))
        good = self.near(self.error, self.row_error) and self.non_finite == 0
        if through is not None and reference == "steps":
            good = self.try_through(out, through, good, gradients)
            ref = through if self.against == "through" else ref
        known = self.tolerance is not None and lacking is None
        self.ok = True if good else False if known or self.non_finite or (self.required and lacking) else None
        self.look(out, ref)
        if self.ok is False and self.name not in STATES and min(out.shape[1:3]) > 1:
            B, T, H = out.shape[:3]
            rest = out.shape[3:]
            other = out.swapaxes(1, 2).reshape(B, T, H, *rest) if heads_first else out.reshape(B, H, T, *rest).swapaxes(1, 2)
            self.turned = self.near(relative(other, whole), row_error(other, whole, self.axes(out)))

    def try_through(self, out, through, good, gradients):
        """The derivative of the steps in place of the implicit gradient, where it is asked for or, by auto, alone passes."""
        self.through = relative(out, through)
        by_row, (value, row) = row_error(out, through, self.axes(out)), self._through
        finite = not bool((~xp.isfinite(out) & xp.isfinite(through)).any())
        passes = finite and value is not None and self.through <= value and (row is None or by_row <= row)
        if gradients == "through" or (gradients == "auto" and passes and not good):
            self.error, self.against, self.row_error, self.lacking = self.through, "through", by_row, None
            self.tolerance, self.row_tolerance = value, row
            self.other_passes = good and not passes
            return passes
        self.other_passes = passes and not good
        return good

    def axes(self, out):
        """How many trailing axes make a row."""
        return {"h_chunk": 2, "fro": 0}.get(self.name, 2 if self.name in STATES else out.ndim == 4)

    def near(self, error, by_row):
        return (self.tolerance is not None and error <= self.tolerance and
                (self.row_tolerance is None or by_row <= self.row_tolerance))

    def know_stored_type(self, dtype, steps):
        """Where the candidate stores a narrower type than the golden's kernels, rounding to it counts."""
        u = lambda name: 2.0 ** -FORMATS[name][1]
        if self.tolerance is None or u(dtype) <= u(self._stored) or not norm(steps) > 0:
            return
        near = rounded(steps, dtype)
        by_all, by_row = (tolerance_of(e, u(dtype)) for e in (relative(near, steps), row_error(near, steps, self.axes(steps))))
        self.tolerance = None if by_all is None else max(self.tolerance, by_all)
        self.row_tolerance = None if None in (by_row, self.row_tolerance) else max(self.row_tolerance, by_row)

    def look(self, out, ref):
        count = math.prod(out.shape)
        rms = norm(ref) / math.sqrt(count) if count else 0
        limit = math.inf if self.tolerance is None else self.tolerance * rms
        d = abs(out - ref).reshape(-1)
        d = xp.where(xp.isnan(d), xp.full_like(d, math.inf), d)
        bad = ~(d <= limit) | ~xp.isfinite(d)
        self.mismatches = int(bad.sum())
        if self.mismatches:
            first, worst = int(xp.where(bad)[0][0]), int(d.argmax())
            self.first, self.worst = (self.mismatch(out, ref, i) for i in (first, worst))

    def mismatch(self, out, ref, i):
        at, rest = [], i
        for n in reversed(out.shape):
            at.insert(0, rest % n)
            rest //= n
        o, r = float(out.reshape(-1)[i]), float(ref.reshape(-1)[i])
        return {"at": at, "out": o, "expected": r, "out_hex": encoding(o, self.dtype), "expected_hex": encoding(r, self.dtype)}


def plain(x):
    """For JSON, which has neither NaN nor Inf: those as strings."""
    if isinstance(x, dict):
        return {key: plain(value) for key, value in x.items()}
    return str(x) if isinstance(x, float) and not math.isfinite(x) else x


# ---- files, folders --------------------------------------------------------------------------------------------------------

def open_golden(path):
    golden = File(path)
    try:
        tolerances = json.loads(golden.metadata["tolerances"])
        said = golden.metadata["sha256"]
        golden.metadata["golden"]
    except KeyError as missing:
        raise Bad(f"{path}: metadata {missing} is missing; a file made by gka golden was expected") from None
    if golden.metadata["golden"] != "2":
        raise Bad(f"{path}: a golden of format {golden.metadata['golden'][:20]}; format 2 was expected: gka golden makes it again "
                  "from its metadata 'spec'")
    is_ = hashlib.sha256()  # of everything but itself: metadata and tensors in the file's order
    for key, value in golden.metadata.items():
        if key != "sha256":
            is_.update(f"{key} {len(value.encode())}\n{value}\n".encode())
    for name, (dtype, shape, data) in sorted(golden.tensors.items(), key=lambda one: golden.begins[one[0]]):
        is_.update(f"{name} {dtype} [{','.join(map(str, shape))}]\n".encode())
        is_.update(data)
    if is_.hexdigest() != said:
        raise Bad(f"{path}: hashes to {is_.hexdigest()[:12]}...; {said[:12]}... was expected: it was changed after it was made")
    pair = lambda one: (one["value"], one.get("row"))
    return golden, {name: {"steps": pair(one), "exact": pair(one.get("exact", one)), "through": pair(one.get("through", one))}
                    for name, one in tolerances.items()}


def meant(name, names):
    name = name.lower()
    near = [one for one in names if one.split(".")[-1] == name] or difflib.get_close_matches(name, names, 1)
    return f" (did you mean '{near[0]}'?)" if near else ""


def unjudged(file, golden, names=None):
    """The tensors that check() passes over: neither outputs of the golden nor, as far as can be said, meant to be."""
    there = [*open_golden(golden)[1], *(names or {}), *INPUTS]
    return [name for name in file.tensors if name not in there and not name.startswith(("ref.", "given."))]


def needed(require, names):
    """The outputs among `names` that must be judged: require is None, "all", or names (a list, or text with commas)."""
    if require is None:
        return set()
    if require == "all":
        return set(names)
    require = [name for name in require.split(",") if name] if isinstance(require, str) else list(require)
    for name in require:
        if name not in OUTPUTS:
            raise Bad(f"require {name}: no output has that name{meant(name, OUTPUTS)}")
    return set(require)


def expected_of(out, golden, differentiable=None):
    """What a test requires by default: x and o, and where the layer's inputs require gradients every gradient of the golden."""
    names = open_golden(golden)[1]
    if differentiable is None:
        differentiable = Tensors(out).differentiable if isinstance(out, dict) else False
    return [name for name in names if name in ("x", "o") or (differentiable and "." in name)]


def check(candidate, golden, names=None, heads_first=False, reference="steps", require=None, gradients="implicit"):
    """Rows of a candidate (a path, or a dictionary of tensors) judged by the golden file of that path. names: {their name: the
    golden's}; heads_first: the candidate's token tensors are [B,H,T,..]; reference: steps, or exact for a solver that converges;
    gradients: implicit, through (of the steps themselves, as autograd gives them) or auto (either); require: outputs that fail where they are missing or cannot be judged ("all", or names; one that the golden lacks is passed
    over). A dictionary may hold outputs alone; what else a file holds is passed over (unjudged())."""
    file = Tensors(candidate) if isinstance(candidate, dict) else File(candidate)
    judge_by, (golden_file, tolerances) = reference, open_golden(golden)
    theirs = {ours: their for their, ours in (names or {}).items()}
    for name in file.tensors if isinstance(candidate, dict) else []:
        if name not in OUTPUTS and name not in (names or {}):
            raise Bad(f"no output is called '{name}'{meant(name, OUTPUTS)}: {' '.join(OUTPUTS)}")
    out, dtypes = {}, {}
    for name in (n for n in OUTPUTS if n in tolerances):
        their = theirs.get(name, name)
        if their not in file.tensors:
            continue
        dtype, shape, _ = file.tensors[their]
        expected = golden_file.tensors[name + ".steps"][1]
        other = expected if name in STATES else expected[:1] + (expected[2], expected[1]) + expected[3:]
        turn = heads_first and name not in STATES
        if turn:
            expected, other = other, expected
        if dtype not in FORMATS or shape != expected:
            hint = f"; --layout {'bthd' if turn else 'bhtd'}?" if dtype in FORMATS and shape == other else ""
            raise Bad(f"{file.path}: tensor '{their}': {dtype} {list(shape)}; floating-point numbers {list(expected)} were "
                      f"expected{hint}")
        value = file.values(their)
        out[name], dtypes[name] = value.swapaxes(1, 2) if turn else value, dtype
    if not out:
        raise Bad(f"{file.path}: nothing to judge; a tensor '{next((n for n in OUTPUTS if n in tolerances), 'x')}' or another "
                  f"output of {golden} was expected")
    with xp.errstate(all="ignore") if NUMPY else contextlib.nullcontext():
        stage = golden_file.metadata.get("stage", "all") != "all"  # of one stage: judged as it stands
        own = {} if stage else local(Problem(golden_file), out, list(out))
        rows, required, inputs_dtype = [], needed(require, tolerances), golden_file.tensors["q"][0]
        for name in (n for n in OUTPUTS if n in tolerances):
            wide = name in WIDE and inputs_dtype != "F64"
            rows.append(Row(name, tolerances[name], reference, "F32" if wide else inputs_dtype, name in required))
            if name in out:
                lacking = [u for u in UPSTREAM.get(name, []) if u not in out and not stage]
                refs = [golden_file.values(name + ".steps"), golden_file.values(name + ".exact"), own.get(name),
                        golden_file.values(name + ".through") if name + ".through" in golden_file.tensors else None]
                if name == "solve.dh0" and bool((out[name] == out[name].swapaxes(2, 3)).all()):
                    refs = [None if r is None else (r + r.swapaxes(2, 3)) / 2 for r in refs]
                rows[-1].judge(out[name], dtypes[name], *refs, lacking[-1] if lacking else None, judge_by, heads_first,
                               gradients)
    return rows


def passes(candidate, golden, require=None, **how):
    """Whether no tensor fails; otherwise says which, and where. require: as in check(); by default expected_of(). Where nothing
    could be judged there is no verdict, and Bad is raised."""
    rows = check(candidate, golden, require=expected_of(candidate, golden) if require is None else require, **how)
    failed = any(row.ok is False for row in rows)
    if failed:
        print(golden)
        show(rows)
    elif not any(row.ok for row in rows):
        raise Bad(f"{golden}: nothing was judged: no tensor of the candidate has a tolerance there")
    count_unjudged(rows, golden)
    return not failed


def count_unjudged(rows, golden):
    names = [row.name for row in rows if row.ok is None]
    if names:
        print(f"{golden}: {len(names)} of {len(rows)} outputs not judged: {' '.join(names)}")


def inputs(golden, device="cpu", cotangents=False):
    """What a kernel is called with: torch tensors q k [v alpha g h0 u0 cu_seqlens] as stored, those that the golden has, and
    the numbers ridge_ratio, num_iter, chunk_size, scale; with cotangents also do dx dh_final du_final. For a golden of one stage
    `given` too, a dictionary with any of x fro h_chunk solve.p layer.p."""
    import torch
    file, _ = open_golden(golden)
    result = {name: json.loads(file.metadata[name]) for name in ("ridge_ratio", "num_iter", "chunk_size", "scale")}

    def tensor(name):
        dtype, shape, data = file.tensors[name]
        return torch.frombuffer(data, dtype=torch_dtype(torch, dtype)).reshape(shape).to(device)

    result.update((name, tensor(name)) for name in INPUTS if name in file.tensors and (cotangents or not name.startswith("d")))
    given = {name[6:]: tensor(name) for name in GIVEN if name in file.tensors}
    return {**result, "given": given} if given else result


def suits(function, given):
    """NotImplementedError where a function does not take what there is, or needs what there is not."""
    parameters = inspect.signature(function).parameters
    if not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        for name in given:
            if name not in parameters:
                raise NotImplementedError(f"the function takes no '{name}'")
    for name, one in parameters.items():
        if one.default is one.empty and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY) and name not in given:
            raise NotImplementedError(f"the function needs '{name}', which the golden has not")


def call(function, golden, device="cpu"):
    """What a layer gives for a golden's inputs. Where it does not take them (packed sequences, initial states, a gate), or
    raises NotImplementedError, the test is skipped: unittest.SkipTest, which pytest knows."""
    given = inputs(golden, device)
    try:
        suits(function, given)
        return function(**given)
    except NotImplementedError as why:
        raise unittest.SkipTest(f"{golden}: {why}") from None


def save(path, tensors, metadata=None):
    """torch tensors as a safetensors file, which has this name once it is complete."""
    header, parts, at = {"__metadata__": dict(metadata or {})}, [], 0
    names = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32"}
    for name, t in tensors.items():
        t = t.detach().cpu().contiguous()
        data = ctypes.string_at(t.data_ptr(), t.numel() * t.element_size()) if t.numel() else b""
        header[name] = {"dtype": names[str(t.dtype).split(".")[-1]], "shape": list(t.shape), "data_offsets": [at, at + len(data)]}
        parts.append(data)
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path + ".tmp", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(parts))
    os.replace(path + ".tmp", path)


def goldens(path):
    """The files of a suite's folder, as its index.json has them; of a golden, itself."""
    if not os.path.isdir(path):
        return [path]
    try:
        with open(os.path.join(path, "index.json")) as file:
            index = json.load(file)
        cases = [(os.path.join(path, case["file"]), case["sha256"]) for case in index["cases"]]
        if not index["complete"]:
            raise Bad(f"{path}: a suite whose making was interrupted; gka golden --suite={index['suite']} goes on with it")
    except Bad:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Bad(f"{path}: a folder made by gka golden --suite was expected: {error}") from None
    for name, sha256 in cases:
        with open(name, "rb") as file:
            if hashlib.sha256(file.read()).hexdigest() != sha256:
                raise Bad(f"{name}: not the file that {path}/index.json speaks of")
    return [name for name, _ in cases]


def pairs(candidate, golden):
    """(candidate, golden) files of two files or two folders; a case that the folder of candidates lacks is passed over."""
    if not os.path.isdir(golden):
        return [(candidate, golden)]
    if not os.path.isdir(candidate):
        raise Bad(f"{candidate}: a folder was expected, as {golden} is one")
    both = [(os.path.join(candidate, os.path.basename(name)), name) for name in goldens(golden)]
    there = [pair for pair in both if os.path.exists(pair[0])]
    if not there:
        raise Bad(f"{candidate}: none of the {len(both)} files of {golden}")
    for one, _ in both:
        if not os.path.exists(one):
            print(f"{one}: missing")
    return there


def plain_text(text):
    """A name or a path from outside as one line that commands no terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def show(rows):
    number = lambda x: "-" if x is None else f"{x:.2e}"
    word = {True: "yes", False: "NO", None: "-"}
    print(f"{'tensor':<13} {'dtype':<5} {'error':>9} {'against':<7} {'tolerance':>9} {'total':>9}  ok")
    for r in rows:
        if r.missing:
            print(f"{r.name:<13} {'-':<5} {'-':>9} {'-':<7} {number(r.tolerance):>9} {'-':>9}  "
                  f"{'NO: missing, and required' if r.required else 'missing'}")
            continue
        print(f"{r.name:<13} {r.dtype:<5} {number(r.error):>9} {r.against:<7} {number(r.tolerance):>9} {number(r.total):>9}  "
              f"{word[r.ok]}")
        if r.ok is None or (r.ok is False and r.required and r.lacking):
            print(f"  cannot be judged without '{r.lacking}'" if r.lacking else
                  "  not judged: right kernels are too far apart here for a tolerance")
        if r.ok is False and r.non_finite:
            print(f"  {r.non_finite} elements are NaN or infinite where the reference is finite")
        if r.ok is False and r.other_passes:
            print("  right as the implicit gradient: --gradients implicit" if r.against == "through" else
                  "  right as the derivative of the num_iter steps, which is what autograd gives "
                  f"(error {r.through:.3g}): --gradients through")
        if r.ok is False and r.turned:
            print("  its bytes fit in the other of the layouts [B,T,H,..] and [B,H,T,..]")
        for which in ("first", "worst") if r.ok is False and r.mismatches else ():
            m = getattr(r, which)
            print(f"  {which} {r.name}{m['at']}: {m['out']:.9g} ({m['out_hex']}), {m['expected']:.9g} ({m['expected_hex']}) "
                  "was expected")
    if any(r.ok is False and not r.missing and r.against == "steps" and r.tolerance is not None and r.total <= r.tolerance
           for r in rows):
        print("as near as asked to the exact value, not to num_iter steps; a solver that converges: --reference exact")


def read_map(texts):
    names = {}
    for text in texts:
        their, equals, ours = text.partition("=")
        if not equals:
            raise Bad(f"--map {text}: THEIRS=OURS was expected")
        if ours not in OUTPUTS:
            raise Bad(f"--map {text}: no output has that name{meant(ours, OUTPUTS)}")
        if their in names or ours in names.values():
            raise Bad(f"--map {text}: {'that tensor' if their in names else ours} is mapped twice")
        names[their] = ours
    return names


def run(options):
    names, found, failed, judged, files = read_map(options.map), set(), False, False, []
    needed(options.require, ())
    for candidate, golden in pairs(options.candidate, options.golden):
        rows = check(candidate, golden, names, options.layout == "bhtd", options.reference, options.require,
                     options.gradients)
        failed |= any(row.ok is False for row in rows)
        judged |= any(row.ok is not None for row in rows)
        files.append({"schema": 1, "file": candidate, "against": golden, "tensors": [row.figures() for row in rows]})
        print(f"{plain_text(candidate)} against {plain_text(golden)}")
        show(rows)
        file = File(candidate)
        found.update(file.tensors)
        for name in unjudged(file, golden, names):
            print(f"tensor '{plain_text(name)}' is not judged{meant(name, [row.name for row in rows if row.missing])}")
    for their, ours in names.items():
        if their not in found:
            raise Bad(f"--map {their}={ours}: no candidate has a tensor '{their}'{meant(their, found)}")
    if not judged:
        raise Bad(f"{options.golden}: nothing was judged: no tensor of the candidate has a tolerance there")
    if options.json:
        try:
            with open(options.json, "w") as file:
                json.dump(files, file, indent=1)
        except OSError as error:
            raise Bad(f"{options.json}: cannot be written: {error.strerror}") from None
    return 1 if failed else 0


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("candidate")
    parser.add_argument("golden")
    parser.add_argument("--map", action="append", default=[], metavar="THEIRS=OURS")
    parser.add_argument("--layout", choices=["bthd", "bhtd"], default="bthd")
    parser.add_argument("--reference", choices=["steps", "exact"], default="steps")
    parser.add_argument("--gradients", choices=["implicit", "through", "auto"], default="implicit",
                        help="through: of the steps themselves, as autograd gives them")
    parser.add_argument("--require", metavar="NAME,..|all", help="outputs that must be there and be judged")
    parser.add_argument("--json", metavar="OUT", help="all figures")
    try:
        return run(parser.parse_args(arguments))
    except Bad as error:
        print(f"gka_check: {plain_text(str(error))}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # who reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)
