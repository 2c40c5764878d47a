"""layer_torch.py - the layer as a PyTorch loop over tokens, one precision above its inputs: a kernel to try
the package on.

    python3 -m gka.check GOLDENS layer_torch:layer --autograd --device cpu        (in tests/python/package)

x is the r-step Chebyshev iteration, and so is its derivative, by implicit differentiation. `wrong` makes a mistake, to see it
caught.
"""
import torch


def solve(H, q, f, a, r):
    """r steps for (H + a f I) x = q; H [..,D,D], q [..,D], f [..]; f = 0: x = 0."""
    empty = f == 0
    lam, f = (a * f)[..., None], torch.where(empty, torch.ones_like(f), f)[..., None]
    step, quarter = 2 / (f + 2 * lam), (f / (f + 2 * lam) / 2) ** 2
    x, previous, omega = step * q, torch.zeros_like(q), 2.0
    for _ in range(r):
        omega = 1 / (1 - quarter * omega)
        Hx = (H @ x[..., None])[..., 0]
        x, previous = x - step * omega * (Hx + lam * x - q) + (omega - 1) * (x - previous), x
    return torch.where(empty[..., None], torch.zeros_like(x), x)


def implicit(H, q, a, r):
    """The same with the derivative by implicit differentiation: x = H^-1 q has dx = H^-1 (dq - dH x)."""
    f = torch.where((H == 0).all(-1).all(-1), torch.zeros_like(H[..., 0, 0]), H.square().sum((-2, -1)).clamp_min(1e-38).sqrt())
    with torch.no_grad():
        x = solve(H, q, f, a, r)
    residual = q - (H @ x[..., None])[..., 0] - (a * f)[..., None] * x
    return Correction.apply(H.detach(), f.detach(), residual, x, a, r), f


class Correction(torch.autograd.Function):
    """x, whose derivative is that of x + (H + a f I)^-1 residual."""

    @staticmethod
    def forward(ctx, H, f, residual, x, a, r):
        ctx.save_for_backward(H, f)
        ctx.a, ctx.r = a, r
        return x.clone()

    @staticmethod
    def backward(ctx, dx):
        H, f = ctx.saved_tensors
        return None, None, solve(H, dx, f, ctx.a, ctx.r), None, None, None


def layer(q, k, ridge_ratio, num_iter, chunk_size, scale, v=None, alpha=None, g=None, h0=None, u0=None, cu_seqlens=None,
          wrong=None):
    """x fro o h_chunk h_final u_final; q [B,T,H,D], k v [B,T,G,..], alpha g [B,T,H] (gka/problem.h)."""
    if cu_seqlens is not None:
        return packed(cu_seqlens.tolist(), q, k, v, alpha, g, ridge_ratio, num_iter, chunk_size, scale, wrong)
    B, T, heads, D = q.shape
    type_ = q.dtype
    wide = lambda t: None if t is None else t.to(torch.float64 if type_ == torch.float32 else torch.float32)
    q, k, v, alpha, g, h0, u0 = (wide(t) for t in (q, k, v, alpha, g, h0, u0))
    k = k.repeat_interleave(heads // k.shape[2], 2)
    V = 0 if v is None else v.shape[3]
    v = None if v is None else v.repeat_interleave(heads // v.shape[2], 2)
    H = q.new_zeros(B, heads, D, D) if h0 is None else h0
    U = q.new_zeros(B, heads, D, V) if u0 is None else u0
    xs, fs, os, before = [], [], [], []
    for t in range(T):
        if t % chunk_size == 0:
            before.append(H)
        gamma = 1 if g is None else torch.exp(g[:, t] * (0.6931471805599453 if wrong == "exp2" else 1))[..., None, None]
        H = gamma * H + k[:, t, :, :, None] * k[:, t, :, None]
        x, f = implicit(H, q[:, t], ridge_ratio, num_iter)
        xs.append(x)
        fs.append(f)
        if v is not None:
            U = gamma * U + k[:, t, :, :, None] * v[:, t, :, None]
            mixed = x if alpha is None else q[:, t] + alpha[:, t, :, None] * (x - q[:, t])
            os.append(scale * (U.mT @ mixed[..., None])[..., 0])
    out = {"x": torch.stack(xs, 1), "fro": torch.stack(fs, 1), "h_chunk": torch.stack(before, 1), "h_final": H}
    if v is not None:
        out.update(o=torch.stack(os, 1), u_final=U)
    return {name: t.to(type_ if name in ("x", "o", "h_chunk") else torch.float32) for name, t in out.items()}


def packed(bounds, q, k, v, alpha, g, *rest):
    """Sequence by sequence; states [N,H,..]."""
    cut = lambda t, n: None if t is None else t[:, bounds[n]:bounds[n + 1]]
    parts, (a, r, C, s, wrong), states = [], rest, {"h_final": [], "u_final": []}
    for n in range(len(bounds) - 1):
        if bounds[n] == bounds[n + 1]:
            states["h_final"].append(q.new_zeros(1, *q.shape[2:], q.shape[3], dtype=torch.float32))
            if v is not None:
                states["u_final"].append(q.new_zeros(1, *q.shape[2:], v.shape[3], dtype=torch.float32))
            continue
        parts.append(layer(cut(q, n), cut(k, n), a, r, C, s, *(cut(t, n) for t in (v, alpha, g)), wrong=wrong))
        for name in states:
            states[name] += [parts[-1].pop(name)] if name in parts[-1] else []
    out = {name: torch.cat([part[name] for part in parts], 1) for name in parts[0]}
    return {**out, **{name: torch.cat(some) for name, some in states.items() if some}}


def exp2(**inputs):
    """The decay taken to base 2: as if a natural-log gate were a log2 gate."""
    return layer(**inputs, wrong="exp2")
