"""train.py - trains small models with several kernels of the layer side by side, and measures what each makes of a gradient.

    python3 train.py SOURCES -o OUT --task recall [--kernels released,two-term,exact,linear] [--seeds 8] [--steps 2000] ...

SOURCES is a folder with
    fla/                 flash-linear-attention 0.4.1 (PyPI fla-core; fla/ops/__init__.py emptied)
    chebyshev/           training/.../gated_kalmanet/ops/chebyshev of github.com/awslabs/hybrid-model-factory, commit 04b6242
Kernels:
    released    the authors' Triton kernels, num_warps 4, num_stages 2 (dump_released.pin)
    autotuned   the same as their autotuner leaves them; not in a call with released or two-term, which are pinned
    cuda, cuda/three-term, cuda/accurate
                the kernels of src/cuda (gka_cuda.py; the library: GKA_CUDA_LIBRARY), fast two-term where nothing is said
    cuda/pairs  the same, but dg is summed over pairs of tokens in binary32, from the same x and p
    cuda/dg, cuda/accurate/dg
                fast with dg of accurate, accurate with dg of fast
    emulated    the released kernels' arithmetic on the CPU (gka.torch.layer, kernel h100): slow
    two-term    the same with the loop of the solve replaced by the two-term form (NUMERICS 3), nothing else
    exact       the same bf16 inputs, all in fp32, the solve to convergence; gradients by implicit differentiation and autograd
    linear      no solve: linear attention, the released kernels with num_iter 0
    decode      to run with, not to train: the released one-token kernel token by token, H in fp32, U in bf16

Everything outside the layer's kernel (projections, convolution of 4 and SiLU, normalisation, gates, gated output norm, MLP,
optimiser) is fp32 and the same for all. All runs of a call (kernels x seeds) are one batch of models: parameters are
[run, ...]. A seed's parameters at the start and its data are the same for every kernel.

OUT/NAME.{log,gradients,keys,final,serve}.csv, NAME = task_aRIDGE; a call whose NAME.final.csv exists does nothing. With --resume
a call that --deadline ends leaves NAME.state, with which the same call goes on, to the numbers that one long call gives.
    log         loss, accuracy (or the fraction of variance left), gradient norm, non-finite steps, along training
    gradients   per run, step, kernel and group of parameters, over --minibatches batches: mean squared norm of the exact
                gradient (grad2), of the kernel's error (err2), of the error's mean (bias2, unbiased), of the sampling noise
                (noise2), and the cosine
    keys        per run, step, layer and head: kappa of H_T + lambda, its share of (a + 1)/a, degrees of freedom, alpha, decay
    final       loss and accuracy on fresh data
    serve       the same with another kernel than the one trained with
and OUT/NAME.trained/*.safetensors: the layers' inputs and real cotangents of one sequence (exact gradients), with what the
kernels made of them on this GPU (*.released.safetensors, *.two-term.safetensors), for gka verify.
"""
import argparse
import csv
import importlib
import math
import os
import re
import shutil
import sys
import tempfile
import time

import safetensors.torch
import torch

try:
    import triton
    import triton.language as tl
except ImportError:  # exact and emulated need none
    triton = None

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import dump_released  # noqa: E402
import gka_cuda  # noqa: E402

CHUNK = 64


def save(path, tensors, metadata):
    safetensors.torch.save_file({name: t.detach().contiguous().cpu() for name, t in tensors.items()}, path, metadata)


# ---- the released kernels, and their two-term form -----------------------------------------------

LOOP = re.compile(r"    x_prev = tl\.zeros_like\(q\)\.to\(tl\.float32\)\n    x = stepsize \* q\.to\(tl\.float32\)\n.*?"
                  r"        x = omega \* x - grad_and_x_prev\n", re.S)
TWO_TERM = """\
    delta = 0.5 * fro
    theta = ridge_ratio * fro + delta
    sigma = theta / delta
    tau = delta / theta
    r = q.to(tl.float32)
    d = (r / theta).to(k.dtype)
    x = d.to(tl.float32)
    for _ in range(num_iter):
        y = tl.dot(d, h_kk){scale} + tl.dot((tl.dot(d, tl.trans(k)) * mask).to(k.dtype), k)
        tau_next = 1.0 / (2.0 * sigma - tau)
        r = r - (ridge_strength * d.to(tl.float32) + y)
        d = (tau_next * tau * d.to(tl.float32) + (2.0 * tau_next / delta) * r).to(k.dtype)
        x = x + d.to(tl.float32)
        tau = tau_next
"""


def two_term(sources):
    """A copy of the package chebyshev, named chebyshev_two_term, in a folder of its own: only the two loops differ."""
    folder = tempfile.mkdtemp()
    target = os.path.join(folder, "chebyshev_two_term")
    shutil.copytree(os.path.join(sources, "chebyshev"), target)
    path = os.path.join(target, "chebyshev_iteration.py")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    found = LOOP.findall(text)
    if len(found) != 2:
        sys.exit(f"train: {path}: {len(found)} loops of the fro kernels, expected 2: is it commit 04b6242?")
    for loop, scale in zip(found, ("", " * exp_gkk")):
        if ("exp_gkk" in loop) != bool(scale):
            sys.exit(f"train: {path}: the kernels are not in the order of commit 04b6242")
        text = text.replace(loop, TWO_TERM.format(scale=scale))
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    sys.path.insert(0, folder)


def load(sources, kernels):
    """The authors' modules by kernel, those that `kernels` asks for."""
    tuned = "autotuned" in kernels
    if not tuned and not {"released", "two-term", "linear", "decode"} & kernels:
        return {}
    for name in ("fla", "chebyshev"):
        if not os.path.isdir(os.path.join(sources, name)):
            sys.exit(f"train: {sources}: no folder {name}; python3 train.py --help says what to fetch")
    sys.path.insert(0, sources)
    two_term(sources)
    modules = {name: importlib.import_module(f"{package}.gka_chebyshev_solve")
               for name, package in (("released", "chebyshev"), ("two-term", "chebyshev_two_term"))}
    if tuned:
        return {"autotuned": modules["released"]}
    for package in ("chebyshev", "chebyshev_two_term"):
        dump_released.pin(package)
    return modules


# ---- exact ---------------------------------------------------------------------------------------

if triton is not None:
    @triton.jit
    def solve_kernel(q_ptr, k_ptr, h_ptr, m_ptr, e_ptr, f_ptr, x_ptr, ridge: tl.constexpr, iterations: tl.constexpr,
                     C: tl.constexpr, D: tl.constexpr, precision: tl.constexpr):
        """Two-term Chebyshev steps in fp32, products in three tf32 parts: one program for a chunk of C tokens of a head."""
        n = tl.program_id(0).to(tl.int64)
        rows, columns = tl.arange(0, C), tl.arange(0, D)
        tile = n * C * D + rows[:, None] * D + columns[None, :]
        r, k = tl.load(q_ptr + tile), tl.load(k_ptr + tile)
        h = tl.load(h_ptr + n * D * D + columns[:, None] * D + columns[None, :])
        m = tl.load(m_ptr + n * C * C + rows[:, None] * C + rows[None, :])
        e = tl.load(e_ptr + n * C + rows)[:, None]
        f = tl.load(f_ptr + n * C + rows)[:, None]
        delta = 0.5 * f
        theta = ridge * f + delta
        sigma, tau = theta / delta, delta / theta
        d = r / theta
        x = d
        for _ in range(iterations):
            s = tl.dot(d, tl.trans(k), input_precision=precision) * m
            y = tl.dot(d, h, input_precision=precision) * e + tl.dot(s, k, input_precision=precision)
            after = 1.0 / (2.0 * sigma - tau)
            r = r - (ridge * f * d + y)
            d = after * tau * d + (2.0 * after / delta) * r
            x += d
            tau = after
        tl.store(x_ptr + tile, x)


def converged(ridge):
    """Steps after which the residual is below 1e-7 of what it was."""
    return math.ceil(math.acosh(2e7) / math.acosh(1 + 2 * ridge))


def solve(q, k, h, m, e, f, ridge):
    """x of (H_t + ridge f_t) x_t = q_t; q k [n,C,D], h [n,D,D], m [n,C,C], e f [n,C], fp32 on a GPU, any on a CPU."""
    if q.is_cuda:
        x = torch.empty_like(q)
        solve_kernel[(q.shape[0],)](q.contiguous(), k.contiguous(), h.contiguous(), m.contiguous(), e.contiguous(), f.contiguous(), x,
                                    ridge, converged(ridge), q.shape[1], q.shape[2], "tf32x3", num_warps=4)
        return x
    return cholesky(q, k, h, m, e, f, ridge)


def cholesky(q, k, h, m, e, f, ridge):
    """The same by Cholesky in fp64, every H_t formed."""
    q, k, h, m, e, f = (t.double() for t in (q, k, h, m, e, f))
    states = e[..., None, None] * h[:, None] + torch.einsum("ntj,nja,njb->ntab", m, k, k)
    states = states + (ridge * f)[..., None, None] * torch.eye(q.shape[-1], device=q.device, dtype=q.dtype)
    x = torch.cholesky_solve(q[..., None], torch.linalg.cholesky(states))[..., 0]
    return x


class ExactSolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, h, m, e, f, ridge):
        x = solve(q, k, h, m, e, f, ridge).to(q.dtype)
        ctx.save_for_backward(k, h, m, e, f, x)
        ctx.ridge = ridge
        return x

    @staticmethod
    def backward(ctx, dx):
        k, h, m, e, f, x = ctx.saved_tensors
        p = solve(dx, k, h, m, e, f, ctx.ridge).to(x.dtype)
        return *solve_gradients(p, k, h, m, e, x, ctx.ridge), None


def solve_gradients(p, k, h, m, e, x, ridge):
    """dq dk dh dm de df from x and p = dq"""
    pk, xk = p @ k.mT, x @ k.mT
    dk = -((m * xk).mT @ p + (m * pk).mT @ x)
    dh = -(e[..., None] * p).mT @ x
    return p, dk, dh, -pk * xk, -(x * (p @ h)).sum(-1), -ridge * (p * x).sum(-1)


class GivenSolve(torch.autograd.Function):
    """x as a kernel gave it, and p as its backward gives it: backward(dx), by chunks as x is."""
    @staticmethod
    def forward(ctx, q, k, h, m, e, f, ridge, x, backward):
        ctx.save_for_backward(k, h, m, e, x)
        ctx.ridge, ctx.solve = ridge, backward
        return x.clone()

    @staticmethod
    def backward(ctx, dx):
        return *solve_gradients(ctx.solve(dx), *ctx.saved_tensors, ctx.ridge), None, None, None


class Bf16(torch.autograd.Function):
    """Rounded to bf16, the gradient left alone."""
    @staticmethod
    def forward(ctx, t):
        return t.bfloat16().to(t.dtype)

    @staticmethod
    def backward(ctx, d):
        return d


captured = None  # a list: exact() puts its tensors here, gradients kept


def exact(q, k, v, alpha, g, ridge, scale, given=None):
    """o [B,T,H,D]. given: x [B,T,H,D] and the function that makes p of dx, in the place of the exact solve."""
    B, T, H, D = q.shape
    if captured is not None:
        q, k, v, alpha = (Bf16.apply(t) for t in (q, k, v, alpha))
        inputs = dict(q=q, k=k, v=v, alpha=alpha, g=g)
    by_chunk = lambda t: t.transpose(1, 2).reshape(B * H, T // CHUNK, CHUNK, *t.shape[3:])
    q, k, v, alpha, g = (by_chunk(t) for t in ((q, k, v, alpha, g) if captured is not None else
                                              (*(Bf16.apply(t) for t in (q, k, v, alpha)), g)))
    G = g.cumsum(-1)
    causal = torch.ones(CHUNK, CHUNK, dtype=torch.bool, device=q.device).tril()
    m = (G[..., :, None] - G[..., None, :]).masked_fill(~causal, -math.inf).exp()
    e, last = G.exp(), G[..., -1:]
    decayed = (k * (last - G).exp()[..., None]).mT
    h_own, u_own = decayed @ k, decayed @ v
    h, u = [torch.zeros_like(h_own[:, 0])], [torch.zeros_like(u_own[:, 0])]
    for i in range(T // CHUNK - 1):
        keep = last[:, i].exp()[..., None]
        h.append(keep * h[-1] + h_own[:, i])
        u.append(keep * u[-1] + u_own[:, i])
    h, u = torch.stack(h, 1), torch.stack(u, 1)
    kk = k @ k.mT
    f2 = (e * (h * h).sum((-1, -2))[..., None] + 2 * (m @ (k * (k @ h)).sum(-1, keepdim=True))[..., 0]) * e \
        + ((m @ (kk * kk)) * m).sum(-1)
    flat = lambda t: t.flatten(0, 1)
    back = lambda t: t.view(B, H, T, D).transpose(1, 2)
    flat_inputs = [flat(t) for t in (q, k, h, m, e, f2.sqrt())]
    if given is None:
        x = ExactSolve.apply(*flat_inputs, ridge).view_as(q)
    else:
        chunks = lambda t: flat(by_chunk(t.float()))
        x = GivenSolve.apply(*flat_inputs, ridge, chunks(given[0]), lambda dx: chunks(given[1](back(dx)))).view_as(q)
    mixed = q + alpha[..., None] * (x - q)
    o = back(scale * (e[..., None] * (mixed @ u) + ((mixed @ k.mT) * m) @ v))
    if captured is not None:
        x.retain_grad()
        o.retain_grad()
        captured.append(dict(inputs, x=x, o=o, back=back))
    return o


# ---- kernels by name -----------------------------------------------------------------------------

OURS = {"cuda": {}, "cuda/three-term": {"form": "three-term"}, "cuda/accurate": {"accurate": True}}
MIXED = {"cuda/pairs", "cuda/dg", "cuda/accurate/dg"}


class Mixed(torch.autograd.Function):
    """The kernels of src/cuda with dg from elsewhere (MIXED)."""
    @staticmethod
    def forward(ctx, q, k, v, alpha, g, name, numbers):
        ctx.accurate, ctx.name, ctx.numbers = name == "cuda/accurate/dg", name, numbers
        x, fro, o, _, _ = gka_cuda.library().forward(q, k, v, alpha, g, states=False, accurate=ctx.accurate, **numbers)
        ctx.save_for_backward(q, k, v, alpha, g, fro, *(x if ctx.accurate else (x,)))
        return o

    @staticmethod
    def backward(ctx, do):
        *given, fro, x = ctx.saved_tensors if not ctx.accurate else (*ctx.saved_tensors[:6], ctx.saved_tensors[6:])
        do, lib, numbers = do.contiguous(), gka_cuda.library(), ctx.numbers
        d = lib.backward(*given, x=x, fro=fro, dout=do, accurate=ctx.accurate, **numbers)
        if ctx.name == "cuda/pairs":
            d["dg"] = Mixed.by_pairs(*given, x, fro, do, numbers)
        else:
            other = dict(numbers, accurate=not ctx.accurate)
            x, fro, *_ = lib.forward(*given, states=False, **other)
            d["dg"] = lib.backward(*given, x=x, fro=fro, dout=do, **other)["dg"]
        return *(d[n] for n in ("dq", "dk", "dv", "dalpha", "dg")), None, None

    @staticmethod
    def by_pairs(q, k, v, alpha, g, x, fro, do, numbers):
        solved = lambda dx: gka_cuda.library().backward(q, k, g=g, x=x, fro=fro, dx=dx.to(q.dtype).contiguous(), **numbers)["dq"]
        with torch.enable_grad():
            g = g.detach().requires_grad_()
            o = exact(*(t.float() for t in (q, k, v, alpha)), g, numbers["ridge_ratio"], numbers["scale"], (x, solved))
        return torch.autograd.grad(o, g, do.float())[0]


class Kernels:
    def __init__(self, modules, ridge, iterations, D):
        self.modules, self.ridge, self.iterations, self.scale = modules, ridge, iterations, D ** -.5

    def __call__(self, name, q, k, v, alpha, g):
        """o, fp32; q k v [B,T,H,D], alpha g [B,T,H]"""
        if name == "exact":
            return exact(q, k, v, alpha, g, self.ridge, self.scale)
        q, k, v, alpha = (t.bfloat16().contiguous() for t in (q, k, v, alpha))
        g = g.contiguous()
        if name == "decode":
            return self.decode(q, k, v, alpha, g)
        if name in OURS:
            return gka_cuda.gka_chebyshev_gla(q, k, v, alpha, g, scale=self.scale, ridge_strength=self.ridge, num_iter=self.iterations,
                                              **OURS[name])[0].float()
        if name in MIXED:
            numbers = dict(ridge_ratio=self.ridge, num_iter=self.iterations, scale=self.scale)
            return Mixed.apply(q, k, v, alpha, g, name, numbers).float()
        if name == "emulated":
            import gka.torch
            return gka.torch.layer(q, k, v, alpha, g, kernel="h100", ridge_ratio=self.ridge, num_iter=self.iterations,
                                   scale=self.scale).float()
        module = self.modules["released" if name == "linear" else name]
        o, _, _ = module.gka_chebyshev_gla(q, k, v, alpha, g, g, self.scale, ridge_strength=self.ridge,
                                           num_iter=0 if name == "linear" else self.iterations, chunk_size=CHUNK)
        return o.float()

    def decode(self, q, k, v, alpha, g):
        B, T, H, D = q.shape
        h, u, out = torch.zeros(B, H, D, D, device=q.device), torch.zeros(B, H, D, D, device=q.device), []
        at = lambda t, i: t[:, i:i + 1].contiguous()
        for i in range(T):
            o, h, u = self.modules["released"].torch_decoding_one_step(
                *(at(t, i) for t in (q, k, v, alpha, g, g)), self.scale, self.ridge, "chebyshev", self.iterations, h, u)
            u = u.bfloat16().float()
            out.append(o)
        return torch.cat(out, 1).float()


# ---- the model, a batch of them ------------------------------------------------------------------

class Sizes:
    def __init__(self, task, d=128, heads=2, layers=2, mlp=256):
        self.d, self.heads, self.layers, self.mlp, self.D = d, heads, layers, mlp, d // heads
        self.inputs, self.outputs, self.embeds = task.inputs, task.outputs, task.discrete


GROUPS = {"embed": "embed", "head": "head", "q": "qk", "k": "qk", "cq": "qk", "ck": "qk", "v": "v", "cv": "v", "a": "gates",
          "b": "gates", "b_bias": "gates", "alpha": "gates", "alpha_bias": "gates", "A_log": "gates", "dt": "gates",
          "gate": "out", "o": "out", "o_norm": "out", "norm": "mlp", "norm2": "mlp", "up": "mlp", "down": "mlp"}


def initial(sizes, seed):
    """The released layer's initialisation: PyTorch's for linear maps and convolutions, gates as gka.py has them."""
    random = torch.Generator().manual_seed(1000 + seed)
    uniform = lambda shape, low, high: torch.rand(shape, generator=random) * (high - low) + low
    linear = lambda i, o: uniform((i, o), -i ** -.5, i ** -.5)
    d, H = sizes.d, sizes.heads
    p = {"embed": torch.randn(sizes.inputs, d, generator=random) * (.5 if sizes.embeds else sizes.inputs ** -.5)}
    for n in range(sizes.layers):
        dt = torch.exp(uniform((H,), math.log(.001), math.log(.1))).clamp(min=1e-4)
        layer = {"norm": torch.ones(d), "q": linear(d, d), "k": linear(d, d), "v": linear(d, d), "a": linear(d, H), "b": linear(d, H),
                 "b_bias": uniform((H,), -d ** -.5, d ** -.5), "alpha": linear(d, H), "alpha_bias": uniform((H,), -d ** -.5, d ** -.5),
                 "A_log": torch.log(uniform((H,), 0, 16)), "dt": dt + torch.log(-torch.expm1(-dt)),
                 "cq": uniform((4, d), -.5, .5), "ck": uniform((4, d), -.5, .5), "cv": uniform((4, d), -.5, .5),
                 "gate": linear(d, d), "o_norm": torch.ones(sizes.D), "o": linear(d, d),
                 "norm2": torch.ones(d), "up": linear(d, sizes.mlp), "down": linear(sizes.mlp, d)}
        p.update({f"{n}.{name}": t for name, t in layer.items()})
    p["norm"], p["head"] = torch.ones(d), linear(d, sizes.outputs)
    return p


def rms(x):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


def convolve(z, c):
    """Causal, of 4, each channel by itself; z [R,B,T,d], c [R,4,d]"""
    padded = torch.nn.functional.pad(z, (0, 0, 3, 0))
    T = z.shape[2]
    return torch.nn.functional.silu(sum(padded[:, :, 3 - i:3 - i + T] * c[:, i, None, None] for i in range(4)))


def layer(sizes, p, n, x, plan, kernels):
    """plan: [(first run, run after the last, kernel)]; x [R,B,T,d]"""
    R, B, T, d = x.shape
    H, D = sizes.heads, sizes.D
    P = lambda name: p[f"{n}.{name}"]
    linear = lambda t, w: torch.bmm(t.reshape(R, B * T, -1), w).view(R, B, T, -1)
    h = rms(x) * P("norm")[:, None, None]
    q, k, v = (convolve(linear(h, P(name)), P("c" + name)).view(R, B, T, H, D) for name in "qkv")
    q, k = (t / (torch.linalg.vector_norm(t, dim=-1, keepdim=True) + 1e-6) for t in (q, k))
    beta = (linear(h, P("b")) + P("b_bias")[:, None, None]).sigmoid() + 1e-6
    alpha = (linear(h, P("alpha")) + P("alpha_bias")[:, None, None]).sigmoid()
    g = -P("A_log").exp()[:, None, None] * torch.nn.functional.softplus(linear(h, P("a")) + P("dt")[:, None, None])
    k, v = beta[..., None] * k, beta[..., None] * v
    parts = []
    for first, after, name in plan:
        flat = [t[first:after].flatten(0, 1) for t in (q, k, v, alpha, g)]
        parts.append(kernels(name, *flat).reshape(after - first, B, T, H, D))
    o = torch.cat(parts) if len(parts) > 1 else parts[0]
    o = rms(o) * P("o_norm")[:, None, None, None] * torch.nn.functional.silu(linear(h, P("gate"))).view(R, B, T, H, D)
    x = x + linear(o.reshape(R, B, T, d), P("o"))
    h = rms(x) * P("norm2")[:, None, None]
    return x + linear(torch.nn.functional.silu(linear(h, P("up"))), P("down")), (k, alpha, g)


def model(sizes, p, inputs, plan, kernels, keys=None):
    """inputs: [R,B,T] tokens or [R,B,T,inputs] vectors"""
    if sizes.embeds:
        R = inputs.shape[0]
        x = torch.gather(p["embed"], 1, inputs.reshape(R, -1, 1).expand(-1, -1, sizes.d)).view(*inputs.shape, sizes.d)
    else:
        R = inputs.shape[0]
        x = torch.bmm(inputs.reshape(R, -1, inputs.shape[-1]), p["embed"]).view(*inputs.shape[:-1], sizes.d)
    for n in range(sizes.layers):
        x, seen = layer(sizes, p, n, x, plan, kernels)
        if keys is not None:
            keys.append(seen)
    x = rms(x) * p["norm"][:, None, None]
    return torch.bmm(x.flatten(1, 2), p["head"]).view(*x.shape[:3], -1)


# ---- tasks ---------------------------------------------------------------------------------------

class Recall:
    """pairs key value key value .., then keys alone: at each of those its value is asked for. Key tokens 0 .. 255, values 256 .. 511."""
    discrete, inputs, outputs = True, 512, 256

    def __init__(self, options):
        self.pairs, self.T = options.pairs, options.length

    def batch(self, seeds, B, random, device):
        n, asked = self.pairs, self.T - 2 * self.pairs
        keys = torch.rand(seeds, B, 256, generator=random, device=device).argsort(-1)[..., :n]
        values = torch.randint(256, (seeds, B, n), generator=random, device=device)
        which = torch.randint(n, (seeds, B, asked), generator=random, device=device)
        stored = torch.stack((keys, values + 256), -1).flatten(-2)
        return torch.cat((stored, keys.gather(-1, which)), -1), values.gather(-1, which)

    def loss(self, out, target):
        """per run: loss, accuracy"""
        return of_classes(out[:, :, 2 * self.pairs:], target)


def of_classes(out, target):
    R = out.shape[0]
    each = torch.nn.functional.cross_entropy(out.flatten(0, -2), target.flatten(), reduction="none").view(R, -1)
    return each.mean(1), (out.argmax(-1) == target).flatten(1).float().mean(1)


class Copy:
    """n random tokens of 256, a mark, the first n - 1 of them again: there each of the n is the next one. n = --length / 2."""
    discrete, inputs, outputs = True, 257, 256

    def __init__(self, options):
        self.n, self.T = options.length // 2, options.length

    def batch(self, seeds, B, random, device):
        tokens = torch.randint(256, (seeds, B, self.n), generator=random, device=device)
        mark = torch.full_like(tokens[..., :1], 256)
        return torch.cat((tokens, mark, tokens[..., :-1]), -1), tokens

    def loss(self, out, target):
        """per run: loss, accuracy"""
        return of_classes(out[:, :, self.n:], target)


class Regression:
    """x_1 y_1 x_2 y_2 .., y = w x + .1 noise, w and x ~ N(0, I) of 16 (w / 4): at each x its y is asked for."""
    discrete, inputs, outputs, dim, noise = False, 19, 1, 16, .1

    def __init__(self, options):
        self.T = options.length

    def batch(self, seeds, B, random, device):
        n = self.T // 2
        x = torch.randn(seeds, B, n, self.dim, generator=random, device=device)
        w = torch.randn(seeds, B, self.dim, 1, generator=random, device=device) / 4
        y = x @ w + self.noise * torch.randn(seeds, B, n, 1, generator=random, device=device)
        one, zero = torch.ones_like(y), torch.zeros_like(y)
        at_x = torch.cat((x, zero, one, zero), -1)
        at_y = torch.cat((torch.zeros_like(x), y, zero, one), -1)
        return torch.stack((at_x, at_y), 3).flatten(2, 3), y[..., 0]

    def loss(self, out, target):
        error = (out[:, :, 0::2, 0] - target).square().flatten(1).mean(1)
        return error, error / target.square().flatten(1).mean(1)

    def best(self, inputs, target):
        """The mean square error of the ridge regression that knows noise and prior, in fp64, per seed."""
        x, y = inputs[:, :, 0::2, :self.dim].double(), target.double()
        a = torch.einsum("sbna,sbnc->sbnac", x, x).cumsum(2) - torch.einsum("sbna,sbnc->sbnac", x, x)
        b = (x * y[..., None]).cumsum(2) - x * y[..., None]
        a = a + 16 * self.noise ** 2 * torch.eye(self.dim, device=x.device, dtype=x.dtype)
        w = torch.linalg.solve(a, b)
        return ((w * x).sum(-1) - y).square().flatten(1).mean(1)


class Bytes:
    """The next byte of a text (--text FILE); the last tenth is kept for the end."""
    discrete, inputs, outputs = True, 256, 256

    def __init__(self, options):
        self.T = options.length
        with open(options.text, "rb") as file:
            self.text = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8).long()
        self.fresh = False

    def batch(self, seeds, B, random, device):
        cut = len(self.text) * 9 // 10
        low, high = (cut, len(self.text) - self.T - 1) if self.fresh else (0, cut - self.T - 1)
        at = torch.randint(low, high, (seeds, B, 1), generator=random, device=device)
        text = self.text.to(device)[at + torch.arange(self.T + 1, device=device)]
        return text[..., :-1], text[..., 1:]

    def loss(self, out, target):
        return of_classes(out, target)


TASKS = {"recall": Recall, "copy": Copy, "regression": Regression, "bytes": Bytes}

# ---- training ------------------------------------------------------------------------------------


class Study:
    def __init__(self, options, modules):
        self.o, self.device = options, options.device
        self.task = TASKS[options.task](options)
        self.sizes = Sizes(self.task)
        self.names, self.S = options.kernels.split(","), options.seeds
        rates = [float(r) for r in options.lr.split(",")]
        self.trained = [(name, rate) for name in self.names for rate in rates]
        self.R = len(self.trained) * self.S
        self.kernels = Kernels(modules, options.ridge, options.iters, self.sizes.D)
        self.plan = []
        for i, (name, _) in enumerate(self.trained):
            if self.plan and self.plan[-1][2] == name:
                self.plan[-1] = (self.plan[-1][0], (i + 1) * self.S, name)
            else:
                self.plan.append((i * self.S, (i + 1) * self.S, name))
        seeds = [initial(self.sizes, options.first + s) for s in range(self.S)]
        self.p = {n: torch.stack([s[n] for s in seeds]).repeat(len(self.trained), *[1] * seeds[0][n].dim()).to(self.device).requires_grad_()
                  for n in seeds[0]}
        self.m = {n: torch.zeros_like(t) for n, t in self.p.items()}
        self.v = {n: torch.zeros_like(t) for n, t in self.p.items()}
        self.rate = torch.tensor([r for _, r in self.trained for _ in range(self.S)], device=self.device)
        self.skipped = torch.zeros(self.R, device=self.device)
        self.random = torch.Generator(options.data_from or self.device)
        self.name = f"{options.task}_a{options.ridge:g}" + options.suffix
        self.tables = {}

    def row(self, table, heading, *values):
        rows = self.tables.setdefault(table, [heading.split()])
        digits = 7 if table == "log" else 4
        rows.append([f"{v:.{digits}g}" if isinstance(v, float) else v for v in values])

    def write(self, *tables):
        """All tables, or those named."""
        for table in tables or sorted(self.tables, key=lambda t: t == "final"):
            path = os.path.join(self.o.output, f"{self.name}.{table}.csv")
            with open(path + ".part", "w", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerows(self.tables[table])
            os.replace(path + ".part", path)

    def batch(self, number):
        self.random.manual_seed(number + 10 ** 11 * self.o.first)
        drawn = self.task.batch(self.S, self.o.batch, self.random, self.random.device)
        inputs, target = (t.to(self.device) for t in drawn)
        repeat = lambda t: t.repeat(len(self.trained), *[1] * (t.dim() - 1))
        return repeat(inputs), repeat(target)

    def who(self, r):
        name, rate = self.trained[r // self.S]
        return [name, f"{rate:g}", r % self.S]

    def gradients(self, p, inputs, target, plan):
        loss, accuracy = self.task.loss(model(self.sizes, p, inputs, plan, self.kernels), target)
        return loss.detach(), accuracy, torch.autograd.grad(loss.sum(), list(p.values()))

    def step(self, number):
        o = self.o
        loss, accuracy, grads = self.gradients(self.p, *self.batch(number), self.plan)
        norm = sum(g.flatten(1).square().sum(1) for g in grads).sqrt()
        finite = torch.isfinite(norm) & torch.isfinite(loss)
        self.skipped += (~finite).float()
        factor = torch.where(finite, (1 / norm.clamp(min=1e-12)).clamp(max=1), 0)
        warm = min(1, (number + 1) / o.warmup)
        rate = self.rate * warm * (.55 + .45 * math.cos(math.pi * number / o.steps)) * finite
        shape = lambda t, like: t.view(-1, *[1] * (like.dim() - 1))
        one, two = 1 - .9 ** (number + 1), 1 - .95 ** (number + 1)
        with torch.no_grad():
            for (n, p), g in zip(self.p.items(), grads):
                g = torch.where(shape(finite, g), g * shape(factor, g), 0)
                self.m[n].lerp_(g, .1)
                self.v[n].lerp_(g * g, .05)
                p -= shape(rate, g) * (self.m[n] / one) / ((self.v[n] / two).sqrt() + 1e-8)
        return loss, accuracy, norm

    def parts(self):
        """Slices of at most as many runs as the exact kernel has room for."""
        return [(i, min(i + 8, self.R)) for i in range(0, self.R, 8)]

    def measure(self, step):
        M, judged = self.o.minibatches, [n for n in self.o.judged.split(",") if n]
        groups = {}
        for n in self.p:
            groups.setdefault(GROUPS[n.split(".")[-1]], []).append(n)
        groups["all"] = list(self.p)
        for first, after in self.parts():
            p = {n: t.detach()[first:after].requires_grad_() for n, t in self.p.items()}
            dot = lambda a, b: {n: (a[n] * b[n]).flatten(1).sum(1).double() for n in p}
            add = lambda a, b: b if a is None else {n: a[n] + b[n] for n in b}
            mean, g2 = None, None
            sums = {x: [None] * 4 for x in judged}  # error, error^2, <x, exact>, x^2
            for i in range(M):
                inputs, target = (t[first:after] for t in self.batch(10 ** 9 + step * 100 + i))
                every = lambda name: dict(zip(p, self.gradients(p, inputs, target, [(0, after - first, name)])[2]))
                e = every("exact")
                mean, g2 = add(mean, e), add(g2, dot(e, e))
                for x in judged:
                    g = every(x)
                    d = {n: g[n] - e[n] for n in g}
                    for at, t in enumerate((d, dot(d, d), dot(g, e), dot(g, g))):
                        sums[x][at] = add(sums[x][at], t)
            mean2 = {n: t / M ** 2 for n, t in dot(mean, mean).items()}
            bias2 = {x: {n: t / M ** 2 for n, t in dot(sums[x][0], sums[x][0]).items()} for x in judged}
            total = lambda table, names: sum(table[n] for n in names).tolist()
            for group, names in groups.items():
                G2, MEAN2 = total(g2, names), total(mean2, names)
                for x in judged:
                    E2, XE, X2, B2 = total(sums[x][1], names), total(sums[x][2], names), total(sums[x][3], names), total(bias2[x], names)
                    for r in range(after - first):
                        grad2, err2 = G2[r] / M, E2[r] / M
                        noise2 = (grad2 - MEAN2[r]) * M / (M - 1)
                        spread2 = (err2 - B2[r]) * M / (M - 1)
                        self.row("gradients", "kernel rate seed step judged group grad2 err2 bias2 noise2 cosine", *self.who(first + r), step, x,
                                 group, grad2, err2, B2[r] - spread2 / M, noise2, XE[r] / max((X2[r] * G2[r]) ** .5, 1e-300))

    @torch.no_grad()
    def conditions(self, step):
        """kappa and degrees of freedom at the last token of one sequence."""
        inputs, _ = self.batch(10 ** 9 + step * 100)
        seen, a = [], self.o.ridge
        model(self.sizes, self.p, inputs[:, :1], self.plan, self.kernels, seen)
        for n, (k, alpha, g) in enumerate(seen):
            k, left = Bf16.apply(k)[:, 0].double(), (g[:, 0].double().sum(1, keepdim=True) - g[:, 0].double().cumsum(1)).exp()
            state = torch.einsum("rth,rtha,rthb->rhab", left, k, k).cpu()
            f = state.flatten(2).norm(dim=-1)
            values = torch.linalg.eigvalsh(torch.nan_to_num(state)).clamp(min=0)
            lam = a * f
            kappa = (values[..., -1] + lam) / (values[..., 0] + lam)
            freedom = (values / (values + lam[..., None])).sum(-1)
            unit = (k / k.norm(dim=-1, keepdim=True)).mean(1).norm(dim=-1).tolist()
            mean_alpha, mean_g = alpha[:, 0].mean(1).tolist(), g[:, 0].mean(1).tolist()
            for r in range(self.R):
                for h in range(self.sizes.heads):
                    self.row("keys", "kernel rate seed step layer head kappa share freedom mean_key alpha g", *self.who(r), step, n, h,
                             float(kappa[r, h]), float(kappa[r, h] * a / (1 + a)), float(freedom[r, h]), unit[r][h], mean_alpha[r][h], mean_g[r][h])

    def keep(self, step, r):
        """The layers' inputs and cotangents of one sequence of run r, and what the kernels make of them here."""
        global captured
        captured = []
        p = {n: t.detach()[r:r + 1].requires_grad_() for n, t in self.p.items()}
        inputs, target = (t[r:r + 1, :1] for t in self.batch(2 * 10 ** 9 + step))
        loss, _ = self.task.loss(model(self.sizes, p, inputs, [(0, 1, "exact")], self.kernels), target)
        loss.sum().backward()
        folder = os.path.join(self.o.output, self.name + ".trained")
        os.makedirs(folder, exist_ok=True)
        kernel, _, seed = self.who(r)
        for n, c in enumerate(captured):
            # the loss of one sequence is a mean over its tokens: cotangents are scaled to the size 1 by a power of two
            do, dx = c["o"].grad, c["back"](c["x"].grad)
            do, dx = (t * 2.0 ** -round(math.log2(max(float(t.square().mean().sqrt()), 1e-30))) for t in (do, dx))
            given = {name: c[name].detach().bfloat16().contiguous() for name in ("q", "k", "v", "alpha")}
            given.update(g=c["g"].detach().contiguous(), do=do.bfloat16().contiguous(), dx=dx.bfloat16().contiguous())
            numbers = dict(ridge_ratio=repr(self.o.ridge), num_iter=str(self.o.iters), chunk_size=str(CHUNK), scale=repr(self.kernels.scale),
                           source=f"scripts/gpu/train.py, {self.name}, trained with {kernel}, seed {seed}, step {step}, layer {n}")
            stem = os.path.join(folder, f"{kernel}_{seed}_{step}_{n}")
            save(stem + ".safetensors", given, numbers)
            for name in self.o.judged.split(","):
                if name in self.kernels.modules:
                    one = dict(given, ridge_ratio=self.o.ridge, num_iter=self.o.iters, scale=self.kernels.scale)
                    out = dump_released.released(self.kernels.modules[name], one, given["dx"], given["do"], CHUNK, True)
                    out = {i: t for i, t in out.items() if i not in ("h_chunk", "h_final", "u_final")}
                    save(f"{stem}.{name}.safetensors", out, numbers)
        captured = None

    @torch.no_grad()
    def final(self, steps):
        """Fresh data: every run with its own kernel, and with each of the others."""
        if hasattr(self.task, "fresh"):
            self.task.fresh = True
        for served in ["own"] + [n for n in self.o.served.split(",") if n]:
            plan = self.plan if served == "own" else [(0, self.R, served)]
            loss, accuracy, rounds = 0, 0, 4
            for i in range(rounds):
                inputs, target = self.batch(3 * 10 ** 9 + i)
                parts = [(first, after) for first, after in self.parts()] if served == "exact" else [(0, self.R)]
                out = []
                for first, after in parts:
                    part = {n: t[first:after] for n, t in self.p.items()}
                    inner = plan if len(parts) == 1 else [(0, after - first, served)]
                    out.append(self.task.loss(model(self.sizes, part, inputs[first:after], inner, self.kernels), target[first:after]))
                loss = loss + torch.cat([x for x, _ in out]) / rounds
                accuracy = accuracy + torch.cat([y for _, y in out]) / rounds
                if served == "own" and i == 0 and hasattr(self.task, "best"):
                    self.best = self.task.best(inputs[:self.S], target[:self.S]).tolist()
            loss, accuracy, skipped = loss.tolist(), accuracy.tolist(), self.skipped.tolist()
            for r in range(self.R):
                if served == "own":
                    best = [self.best[r % self.S]] if hasattr(self.task, "best") else [""]
                    self.row("final", "kernel rate seed steps loss accuracy nonfinite_steps best", *self.who(r), steps, loss[r], accuracy[r], int(skipped[r]), *best)
                else:
                    self.row("serve", "kernel rate seed served loss accuracy", *self.who(r), served, loss[r], accuracy[r])

    def state(self, number=None):
        """Writes all that the next step depends on, or (number None) reads it back: the step to go on from, 0 without a file."""
        path = os.path.join(self.o.output, self.name + ".state")
        if number is not None:
            torch.save((number, self.p, self.m, self.v, self.skipped, self.tables), path + ".part")
            os.replace(path + ".part", path)
        elif self.o.resume and os.path.exists(path):
            number, p, self.m, self.v, self.skipped, self.tables = torch.load(path, self.device)
            self.p = {n: t.detach().requires_grad_() for n, t in p.items()}
        return number or 0

    def train(self):
        o, began = self.o, time.time()
        looks = [int(s) for s in o.looks.split(",") if s] if o.looks else []
        kept = [int(r) for r in o.keep.split(",") if r] if o.keep else []
        for number in range(self.state(), o.steps + 1):
            if time.time() - began > o.deadline and number < o.steps:
                print(f"train: {self.name}: {o.deadline} s are over at step {number}", flush=True)
                if o.resume:
                    self.state(number)
                    self.write("log")
                    return
                for r in kept:
                    self.keep(number, r)
                break
            if number in looks:
                self.measure(number)
                self.conditions(number)
            if number in (0, o.steps) and kept:
                for r in kept:
                    if number or r == kept[0]:
                        self.keep(number, r)
            if number == o.steps:
                break
            loss, accuracy, norm = self.step(number)
            if number % o.every == 0 or number == o.steps - 1:
                columns = zip(loss.tolist(), accuracy.tolist(), norm.tolist(), self.skipped.tolist())
                for r, (a, b, c, d) in enumerate(columns):
                    self.row("log", "kernel rate seed step loss accuracy norm nonfinite_steps", *self.who(r), number, a, b, c, int(d))
                if number % (o.every * 5) == 0:
                    print(f"{self.name} {number} {time.time() - began:.1f} s, loss " + " ".join(f"{v:.3f}" for v in loss.tolist()), flush=True)
        self.final(number)
        self.write()
        print(f"{self.name} done, {time.time() - began:.1f} s", flush=True)


def check_exact(device):
    """The exact solve beside Cholesky in fp64, on random keys; printed, and an exit if it is not fp32's own error."""
    torch.manual_seed(0)
    worst = 0
    for ridge in (.02, .005):
        n, C, D = 8, CHUNK, 64
        k = torch.nn.functional.normalize(torch.randn(n, C, D, device=device) + 1, dim=-1)
        old = torch.nn.functional.normalize(torch.randn(n, 128, D, device=device) + 1, dim=-1)
        h, e = old.mT @ old, torch.exp(-torch.rand(n, C, device=device).cumsum(-1) * .05)
        m = (e[:, :, None] / e[:, None, :]).tril()
        states = e[..., None, None].double() * h[:, None].double() + torch.einsum("ntj,nja,njb->ntab", m.double(), k.double(), k.double())
        f, q = states.flatten(2).norm(dim=-1).float(), torch.randn(n, C, D, device=device)
        x, y = solve(q, k, h, m, e, f, ridge).double(), cholesky(q, k, h, m, e, f, ridge)
        error = float((x - y).norm() / y.norm())
        print(f"exact solve, a = {ridge}: {error:.1e} from Cholesky in fp64", flush=True)
        worst = max(worst, error)
    if not worst < 2e-5:
        sys.exit("train: the exact solve is not exact")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--kernels", default="released,two-term,exact,linear")
    parser.add_argument("--judged", default="released,two-term", help="kernels whose gradients are compared with the exact ones")
    parser.add_argument("--served", default="released,two-term,exact,decode")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first", type=int, default=0, help="the first seed: that of the tables' seed 0")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", default="2e-3", help="one, or several to choose from")
    parser.add_argument("--ridge", type=float, default=.02)
    parser.add_argument("--iters", type=int, default=30)
    parser.add_argument("--pairs", type=int, default=64, help="of recall")
    parser.add_argument("--length", type=int, default=256, help="tokens of a sequence, a multiple of 64")
    parser.add_argument("--text", help="of bytes")
    parser.add_argument("--looks", default="0,10,50,100,200,500,1000,1500,2000", help="steps at which gradients are compared")
    parser.add_argument("--minibatches", type=int, default=6)
    parser.add_argument("--keep", default="", help="numbers of runs whose layers are kept as files")
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--deadline", type=float, default=540, help="seconds")
    parser.add_argument("--resume", action="store_true", help="leave NAME.state at the deadline, and go on from it")
    parser.add_argument("--suffix", default="")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--data-from", help="the device whose generator draws the data, so that runs on two devices see the same")
    options = parser.parse_args()
    kernels = set(",".join((options.kernels, options.judged, options.served)).split(","))
    if options.length % CHUNK or options.task == "recall" and not 0 < 2 * options.pairs < options.length:
        parser.error(f"--length {options.length}: a multiple of {CHUNK}, more than twice --pairs, was expected")
    if "autotuned" in kernels and {"released", "two-term", "linear", "decode"} & kernels:
        parser.error("autotuned: not in a call with released, two-term, linear or decode (--kernels, --judged, --served)")
    os.makedirs(options.output, exist_ok=True)
    torch.backends.cuda.matmul.allow_tf32 = False
    study = Study(options, load(options.sources, kernels))
    if os.path.exists(os.path.join(options.output, study.name + ".final.csv")):
        print(f"{study.name}: done already")
        return
    check_exact(options.device)
    study.train()
    for tuner in dump_released.autotuners("chebyshev") if "autotuned" in kernels else []:
        for chosen in tuner.cache.values():
            print(f"{tuner.base_fn.__name__}: {chosen}", flush=True)


if __name__ == "__main__":
    main()
