"""capture_kernels.py - runs the authors' kernels in every configuration that their autotuners may pick, on small inputs.

    python3 capture_kernels.py SOURCES -o OUT [--only WORD] [--workers N]
    python3 capture_kernels.py --count FOLDER..    prints, kernel by kernel, what the files of earlier runs hold (no GPU)

SOURCES is a folder with
    fla/                 flash-linear-attention 0.4.1 (its two __init__.py above ops/common emptied: fla/ and fla/ops/)
    chebyshev/           training/.../gated_kalmanet/ops/chebyshev of github.com/awslabs/hybrid-model-factory, commit 04b6242
    gka/                 vllm-inference/src/primed_vllm/gka of the same commit
The serving kernels import a few helpers from vLLM; flash-linear-attention's take their place.

OUT/train_*.safetensors and OUT/serve_*.safetensors hold, for one problem each, the inputs, the outputs with every kernel at
its default (num_warps 4, num_stages 2, the largest tiles), and, as NAME.1, NAME.2, .., each further value that an output
takes under another configuration. Metadata `configurations` is JSON: kernel -> configuration -> {output: number}; 0 is the
default's value; a text in place of that says why the configuration did not run. Metadata `lists` counts each kernel's list;
`runs` says the same for gka, one line for what differs: "solve.num_warps=2 gates.num_warps=1|x=1,fro=2".
OUT/dalpha.safetensors: torch's sum over the last axis, bf16, for many numbers of rows (inputs: see `dalpha`).
"""
import argparse
import hashlib
import importlib
import json
import multiprocessing
import os
import sys
import time
import types

import numpy as np


# ---- sources ------------------------------------------------------------------------------------

def load(sources):
    sys.path.insert(0, sources)
    import torch  # noqa: F401
    import triton
    import triton.language as tl
    import triton.language.extra.libdevice as libdevice

    def stub(name, **values):
        module = types.ModuleType(name)
        module.__dict__.update(values)
        sys.modules[name] = module
        return module

    train = importlib.import_module("chebyshev.gka_chebyshev_solve")
    cumsum, index, op, utils = (importlib.import_module(f"fla.{m}") for m in ("ops.utils.cumsum", "ops.utils.index", "ops.utils.op", "utils"))
    for name in ("vllm", "vllm.model_executor", "vllm.model_executor.layers", "vllm.model_executor.layers.fla",
                 "vllm.model_executor.layers.fla.ops"):
        stub(name, __path__=[])
    stub("vllm.triton_utils", tl=tl, triton=triton, tldevice=libdevice)
    base = "vllm.model_executor.layers.fla.ops"
    stub(base + ".cumsum", chunk_local_cumsum=cumsum.chunk_local_cumsum)
    stub(base + ".index", prepare_chunk_indices=index.prepare_chunk_indices, prepare_chunk_offsets=index.prepare_chunk_offsets)
    stub(base + ".op", exp=op.exp)
    stub(base + ".utils", input_guard=utils.input_guard)
    serve = importlib.import_module("gka.gka_forward")
    return train, serve


def autotuned():
    """{kernel: its Autotuner}, each with the full list of configurations in .all"""
    from triton.runtime.autotuner import Autotuner, Heuristics
    found = {}
    for name, module in list(sys.modules.items()):
        if not name.startswith(("fla.ops.common", "fla.ops.utils.cumsum", "chebyshev", "gka")):
            continue
        for value in list(vars(module).values()):
            tuner = value
            while isinstance(tuner, Heuristics):
                tuner = tuner.fn
            if isinstance(tuner, Autotuner):
                inner = tuner.fn
                while not hasattr(inner, "__name__"):
                    inner = inner.fn
                if not hasattr(tuner, "all"):
                    tuner.all = list(tuner.configs)
                found[inner.__name__] = tuner
    return found


def text(config):
    parts = [f"{n}={v}" for n, v in sorted(config.kwargs.items())]
    return ",".join(parts + [f"num_warps={config.num_warps}", f"num_stages={config.num_stages}"])


def default(configs):
    four = [c for c in configs if c.num_warps == 4] or configs
    right = [c for c in four if c.num_stages == 2] or four
    return max(right, key=lambda c: sum(v for v in c.kwargs.values() if isinstance(v, int)))


def pin(chosen):
    """chosen: {kernel: text of a configuration}; the others at their default"""
    for name, tuner in autotuned().items():
        config = next((c for c in tuner.all if text(c) == chosen.get(name)), None) or default(tuner.all)
        tuner.configs = [config]
        tuner.cache = {}


# ---- inputs -------------------------------------------------------------------------------------

def rows(random, *shape):
    return random.standard_normal(shape)


def tensors(spec):
    """numpy float64 inputs of a problem, before they are rounded to their types"""
    random = np.random.RandomState(spec["seed"])
    B, T, H, G, D = spec.get("B", 1), spec["T"], spec["H"], spec.get("G", spec["H"]), spec["D"]
    unit = lambda a: a / np.sqrt((a * a).sum(-1, keepdims=True))
    q, k = rows(random, B, T, H, D), rows(random, B, T, G, D)
    if spec["kind"] == "train":
        q, k = unit(q), unit(k)
        beta = 1 / (1 + np.exp(-rows(random, B, T, G)))
        k = k * beta[..., None]
    given = dict(q=q, k=k, v=rows(random, B, T, G, D), alpha=1 / (1 + np.exp(-rows(random, B, T, H))))
    if spec.get("gated", True):
        head = np.array([spec.get("gate", 1.0) * (8.0 if h % 2 else 1.0) for h in range(H)])
        given["g"] = -head * np.log1p(np.exp(rows(random, B, T, H) - 4))
    if spec["kind"] == "train":
        given.update(do=rows(random, B, T, H, D), dx=rows(random, B, T, H, D))
    elif spec.get("beta", True):
        given["beta"] = 1 / (1 + np.exp(-rows(random, B, T, H)))
    if spec.get("states"):
        N = spec.get("N", B)
        a = rows(random, N, H, 2 * D, D) * .3
        given["h0"] = np.einsum("nhij,nhik->nhjk", a, a)
        given["u0"] = rows(random, N, H, D, D)
    return given


def to_device(spec):
    import torch
    low = torch.float16 if spec.get("dtype") == "fp16" else torch.bfloat16
    kind = lambda n: torch.float32 if n in ("g", "h0", "u0") else low
    return {n: torch.from_numpy(a).to(torch.float32).to(kind(n)).cuda() for n, a in tensors(spec).items()}


# ---- the two sides ------------------------------------------------------------------------------

def run_train(module, spec):
    import torch
    given = to_device(spec)
    inside = sys.modules["chebyshev.chebyshev_iteration"]
    C, a, r, s = spec.get("C", 64), spec.get("a", .02), spec.get("r", 30), spec["D"] ** -.5
    leaves = {n: given[n].clone().requires_grad_() for n in ("q", "k", "v", "alpha", "g") if n in given}
    q, k, g = leaves["q"], leaves["k"], leaves.get("g")
    out = {}
    with torch.no_grad():
        G = None if g is None else inside.chunk_local_cumsum(g, chunk_size=C)
        fro = torch.empty(q.shape[:3], dtype=torch.float32, device="cuda")
        x, fro, _, final = inside.chebyshev_iteration_forward_triton(
            k, q, G, fro, num_iter=r, ridge_ratio=a, chunk_size=C, load_fro=0, output_final_state=True)
        out.update(x=x, fro=fro, h_final=final)
    x, _ = module.ChebyshevIteration.apply(k, q, g, r, a, not spec.get("fixed_lambda"), None, C)
    wanted = [n for n in ("q", "k", "g") if n in leaves]
    grads = torch.autograd.grad(x, [leaves[n] for n in wanted], given["dx"], allow_unused=True)
    out.update((f"solve.d{n}", t) for n, t in zip(wanted, grads) if t is not None)
    if not spec.get("fixed_lambda"):
        o, _, u_final = module.gka_chebyshev_gla(q, k, leaves["v"], leaves["alpha"], g, g, s, ridge_strength=a, num_iter=r, chunk_size=C)
        out.update(o=o, u_final=u_final)
        wanted = [n for n in ("q", "k", "v", "alpha", "g") if n in leaves]
        grads = torch.autograd.grad(o, [leaves[n] for n in wanted], given["do"], allow_unused=True)
        out.update((f"layer.d{n}", t) for n, t in zip(wanted, grads) if t is not None)
    return given, {n: t.detach() for n, t in out.items()}


def prefill(module, given, spec, span, h0, u0, bounds=None):
    import torch
    cut = lambda n: given[n][:, span].clone().contiguous() if n in given else None
    g = cut("g")
    return module.gka_chebyshev_gla_prefill(
        q=cut("q"), k=cut("k"), v=cut("v"), alpha=cut("alpha"), g=g, gk=g, beta=cut("beta"), gla_scale=spec["D"] ** -.5,
        ridge_ratio=spec.get("a", .02), num_iter=spec.get("r", 30), h_kk_initial=h0, h_kv_initial=u0,
        cu_seqlens=None if bounds is None else torch.tensor(bounds, dtype=torch.int64, device="cuda"))


def decode(module, given, spec, at, h, u, bounds=None, slots=None):
    import torch
    cut = lambda n: given[n][:, at].clone().contiguous() if n in given else None
    g = cut("g")
    integers = lambda a: None if a is None else torch.tensor(a, dtype=torch.int64, device="cuda")
    o, _, _ = module.gka_chebyshev_gla_decode(
        q=cut("q"), k=cut("k"), v=cut("v"), alpha=cut("alpha"), g=g, gk=g, beta=cut("beta"), gla_scale=spec["D"] ** -.5,
        ridge_ratio=spec.get("a", .02), num_iter=spec.get("r", 30), h_kk=h, h_kv=u, cu_seqlens=integers(bounds),
        ssm_state_indices=integers(slots))
    return o


def run_serve(module, spec):
    import torch
    types_ = dict(fp32=torch.float32, bf16=torch.bfloat16, fp16=torch.float16)
    given, out = to_device(spec), {}
    h0, u0 = given.get("h0"), given.get("u0")
    T, P = spec["T"], spec.get("prefill", spec["T"])
    if "bounds" in spec:  # packed sequences, each from its own state
        o, h, u = prefill(module, given, spec, slice(0, T), h0, u0, spec["bounds"])
        out.update({"prefill.o": o, "prefill.h": h, "prefill.u": u})
    elif "slots" in spec:  # a batch of sequences, one token each, several times, states in place in slots
        N = len(spec["slots"])
        h, u = (torch.zeros_like(t).index_copy(0, torch.tensor(spec["slots"], device="cuda"), t) for t in (h0, u0))
        steps = [decode(module, given, spec, slice(i * N, i * N + N), h, u, spec.get("decode_bounds", list(range(N + 1))), spec["slots"])
                 for i in range(T // N)]
        out.update({"decode.o": torch.cat(steps, 1), "decode.h": h[spec["slots"]], "decode.u": u[spec["slots"]]})
    else:
        cuts = [0, *spec.get("cuts", []), P]
        h, u, o = h0, u0, []
        for begin, end in zip(cuts, cuts[1:]):
            if end > begin:
                part, h, u = prefill(module, given, spec, slice(begin, end), h, u)
                o.append(part)
        if o:
            out.update({"prefill.o": torch.cat(o, 1), "prefill.h": h, "prefill.u": u})
        if P < T:
            h = h.clone().to(types_[spec.get("h_type", "fp32")])
            u = u.clone().to(types_[spec.get("u_type", "fp32")])
            keep = spec.get("keep")  # (every, how many): tokens kept of a long run
            o = []
            for t in range(P, T):
                part = decode(module, given, spec, slice(t, t + 1), h, u)
                if keep is None or (t - P) % keep[0] < keep[1]:
                    o.append(part)
            out.update({"decode.o": torch.cat(o, 1), "decode.h": h, "decode.u": u})
    return given, out


# ---- captures -----------------------------------------------------------------------------------

def pack(tensor):
    import torch
    names = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
    array = tensor.detach().contiguous().cpu()
    raw = array.view(torch.uint8).numpy().tobytes() if array.numel() else b""
    return names[tensor.dtype], list(tensor.shape), raw


def one(task):
    """Runs one problem in one choice of configurations: {output: packed tensor}, or the reason why not."""
    sources, spec, chosen, with_inputs = task
    start = time.time()
    try:
        train, serve = load_once(sources)
        pin(chosen)
        given, out = (run_train if spec["kind"] == "train" else run_serve)(train if spec["kind"] == "train" else serve, spec)
        import torch
        torch.cuda.synchronize()
        result = {n: pack(t) for n, t in out.items()}
        if with_inputs:
            result = ({n: pack(t) for n, t in given.items()}, result)
        return spec["name"], chosen, result, time.time() - start
    except Exception as why:
        return spec["name"], chosen, f"{type(why).__name__}: {str(why).splitlines()[0] if str(why) else ''}"[:200], time.time() - start


def load_once(sources, cache={}):
    if not cache:
        cache["modules"] = load(sources)
    return cache["modules"]


def save(path, tensors, metadata):
    header, at, blobs = {"__metadata__": metadata}, 0, []
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = dict(dtype=dtype, shape=shape, data_offsets=[at, at + len(raw)])
        at += len(raw)
        blobs.append(raw)
    text_ = json.dumps(header).encode()
    text_ += b" " * (-len(text_) % 8)
    with open(path, "wb") as file:
        file.write(len(text_).to_bytes(8, "little") + text_ + b"".join(blobs))


TRAIN = ["chebyshev_iteration_fro_gating_forward_kernel", "chebyshev_iteration_fro_forward_kernel", "chunk_bwd_dk_gating_kernel_forloop",
         "chunk_bwd_dk_kernel", "chunk_bwd_dk_kernel_forloop", "chunk_dh_kk_to_dk_gating_kernel", "chunk_dh_kk_to_dk_kernel",
         "chunk_fwd_kernel_h", "chunk_bwd_kernel_dh", "chunk_fwd_kernel_o", "chunk_bwd_kernel_dqkwg", "chunk_bwd_kernel_dv",
         "chunk_local_cumsum_scalar_kernel"]
SERVE = ["chunk_fwd_h_kk_gqa_kernel", "chebyshev_iteration_fro_gating_gqa_forward_kernel", "chunk_simple_gla_gqa_fwd_kernel_h",
         "chunk_fwd_kernel_o_gqa", "chebyshev_iteration_gqa_fwd_kernel", "chunk_local_cumsum_scalar_kernel"]


def right(kernel, configs, random, spec):
    """One of the list at random, but for those that Triton 3.6 compiles wrong (experiments/REPORTS.md, 8)."""
    wrong = kernel == "chunk_fwd_kernel_o_gqa" and spec["D"] == 64
    return (chosen := [c for c in configs if not (wrong and c.startswith("BK=64,BV=32,num_warps=4"))])[random.randint(len(chosen))]


def used(kernel, spec):
    """Whether the problem runs the kernel at all."""
    gated, fixed = spec.get("gated", True), spec.get("fixed_lambda", False)
    if kernel.startswith("chunk_dh_kk") or kernel.startswith("chunk_bwd_dk_"):
        return ("gating" in kernel) == gated and kernel.startswith("chunk_dh_kk") == fixed
    if spec["kind"] == "train" and kernel.startswith("chebyshev"):
        return ("gating" in kernel) == gated
    return gated or "cumsum" not in kernel


def problems():
    t = lambda name, **more: dict(kind="train", name="train_" + name, **more)
    s = lambda name, **more: dict(kind="serve", name="serve_" + name, G=2, H=4, **more)
    every = dict(every=True)
    return [
        t("d64", D=64, T=320, H=2, seed=1, gate=.3, **every), t("d64_ungated", D=64, T=256, H=2, gated=False, seed=2, **every),
        t("d128", D=128, T=256, H=2, seed=3, gate=.3, **every), t("d128_ungated", D=128, T=192, H=2, gated=False, seed=4, **every),
        t("d64_small", D=64, T=150, H=1, seed=5, gate=.3, small=True), t("d64_ungated_small", D=64, T=128, H=1, gated=False, seed=6, small=True),
        t("d128_small", D=128, T=150, H=1, seed=7, gate=.3, small=True), t("d128_ungated_small", D=128, T=128, H=1, gated=False, seed=8, small=True),
        t("c32", D=64, T=160, H=2, C=32, seed=9, small=True), t("c32_d128", D=128, T=96, H=2, C=32, seed=10, small=True),
        t("c16", D=64, T=80, H=1, C=16, seed=11, small=True),
        t("fixed", D=64, T=160, H=1, seed=12, fixed_lambda=True, small=True), t("fixed_ungated", D=64, T=128, H=1, gated=False, seed=13, fixed_lambda=True, small=True),
        t("fixed_d128", D=128, T=160, H=1, seed=16, fixed_lambda=True, small=True),
        t("fixed_ungated_d128", D=128, T=128, H=1, gated=False, seed=17, fixed_lambda=True, small=True),
        t("t1", D=64, T=1, H=2, seed=18), t("t17", D=128, T=17, H=1, seed=19),
        t("fp16", D=64, T=160, H=2, seed=14, dtype="fp16"), t("fp16_ungated", D=128, T=128, H=1, gated=False, seed=15, dtype="fp16"),
        t("slow768", D=128, T=768, H=1, seed=92003, gate=.01), t("slow768_d64", D=64, T=768, H=1, seed=92004, gate=.01),
        s("d64", D=64, T=200, prefill=168, seed=21, **every), s("d128", D=128, T=200, prefill=168, seed=22, **every),
        s("a01", D=128, T=296, prefill=200, seed=23, a=.1, r=15), s("states", D=64, T=150, prefill=130, seed=24, states=True),
        s("cut64", D=64, T=200, seed=25, cuts=[128]), s("cut100", D=64, T=200, seed=25, cuts=[100]), s("cut0", D=64, T=200, seed=25),
        s("packed", D=64, T=200, seed=26, states=True, N=4, bounds=[0, 70, 70, 133, 200]),
        s("packed_d128", D=128, T=200, seed=34, states=True, N=4, bounds=[0, 64, 64, 164, 200]),
        s("slots01", D=128, T=16, seed=35, states=True, N=2, slots=[0, 1]), s("slots10", D=128, T=16, seed=35, states=True, N=2, slots=[1, 0]),
        s("cut64_d128", D=128, T=200, seed=36, cuts=[64]), s("cut90_d128", D=128, T=200, seed=36, cuts=[90]), s("cut0_d128", D=128, T=200, seed=36),
        s("t2", D=64, T=2, prefill=1, seed=37), s("t17", D=128, T=18, prefill=17, seed=38),
        s("slots012", D=64, T=15, seed=27, states=True, N=3, slots=[0, 1, 2]), s("slots201", D=64, T=15, seed=27, states=True, N=3, slots=[2, 0, 1]),
        s("ungated", D=64, T=150, prefill=130, seed=28, gated=False), s("plain", D=64, T=150, prefill=130, seed=29, beta=False),
        s("t10", D=64, T=12, prefill=10, seed=30), s("t30", D=128, T=32, prefill=30, seed=31),
        s("r1", D=64, T=80, prefill=70, seed=32, r=1), s("u_bf16", D=128, T=264, prefill=200, seed=33, u_type="bf16"),
        t("mix_d64", D=64, T=200, H=2, seed=51, gate=.3, a=.05, r=12, mixed=8), t("mix_d128", D=128, T=150, H=1, B=2, seed=52, gate=.02, a=.1, r=15, mixed=8),
        t("mix_ungated", D=64, T=192, H=2, gated=False, seed=53, a=.01, r=40, mixed=8), t("mix_ungated_d128", D=128, T=128, H=2, gated=False, seed=54, a=.04, r=20, mixed=8),
        t("mix_fp16", D=64, T=160, H=2, seed=55, dtype="fp16", mixed=8), t("mix_fp16_d128", D=128, T=128, H=1, seed=56, dtype="fp16", mixed=8),
        t("mix_c32", D=64, T=100, H=1, C=32, seed=57, mixed=8), t("mix_c32_d128", D=128, T=96, H=1, C=32, seed=58, mixed=8), t("mix_c16", D=64, T=80, H=1, C=16, seed=59, mixed=8),
        t("mix_fixed", D=64, T=160, H=2, seed=60, a=.05, r=12, fixed_lambda=True, mixed=8, each="dh_kk_to_dk_gating"),
        t("mix_fixed_d128", D=128, T=192, H=1, seed=61, gate=.1, fixed_lambda=True, mixed=8, each="dh_kk_to_dk_gating"),
        t("mix_fixed_ungated", D=64, T=96, H=1, gated=False, seed=63, fixed_lambda=True, each="dh_kk_to_dk_kernel"),
        t("mix_fixed_ungated_d128", D=128, T=96, H=1, gated=False, seed=64, fixed_lambda=True, each="dh_kk_to_dk_kernel"),
        s("mix_every", D=128, T=150, prefill=130, seed=87, every=True),
        t("mix_fixed_c32", D=64, T=96, H=1, C=32, seed=62, fixed_lambda=True, each="dh_kk_to_dk_gating"),
        s("mix_d64", D=64, T=200, prefill=168, seed=71, a=.05, r=12, mixed=8), s("mix_d128", D=128, T=200, prefill=168, seed=72, a=.1, r=15, mixed=8),
        s("mix_ungated", D=64, T=150, prefill=130, seed=73, gated=False, mixed=8), s("mix_ungated_d128", D=128, T=150, prefill=130, seed=74, gated=False, mixed=8),
        s("mix_states", D=128, T=150, prefill=130, seed=75, states=True, mixed=8), s("mix_states_d64", D=64, T=150, prefill=100, seed=76, states=True, mixed=8),
        s("mix_packed", D=64, T=200, seed=77, states=True, N=3, bounds=[0, 70, 133, 200], mixed=8), s("mix_packed_d128", D=128, T=200, seed=78, states=True, N=3, bounds=[0, 64, 164, 200], mixed=8),
        s("mix_plain", D=128, T=150, prefill=130, seed=79, beta=False, mixed=8), s("mix_t30", D=64, T=36, prefill=30, seed=80, mixed=8),
        s("mix_fp16", D=64, T=150, prefill=130, seed=81, dtype="fp16", mixed=8), s("mix_fp16_d128", D=128, T=150, prefill=130, seed=82, dtype="fp16", mixed=8),
        s("mix_cut90", D=128, T=200, seed=83, cuts=[90], mixed=8), s("mix_u_bf16", D=128, T=160, prefill=100, seed=84, u_type="bf16", mixed=8),
        dict(s("mix_mha", D=64, T=150, prefill=130, seed=85, mixed=8), G=4), dict(s("mix_one", D=128, T=150, prefill=130, seed=86, mixed=8), G=1, H=1),
        *[s(f"long_{h}_{u}", D=128, T=4096 + 64, prefill=64, seed=40, h_type=h, u_type=u, keep=[512, 16])
          for h, u in (("fp32", "fp32"), ("fp32", "bf16"), ("bf16", "fp32"), ("bf16", "bf16"), ("fp16", "fp16"))],
    ]


def dalpha(path):
    """alpha's gradient of y = alpha c with cotangent d: torch's sum over D of bf16(d c), for n rows; d, c from RandomState(n D)."""
    import torch
    out = {}
    for D in (32, 64, 128, 256):
        for n in [*range(1, 18), 24, 31, 32, 33, 48, 63, 64, 65, 96, 100, 127, 128, 150, 192, 255, 256, 257, 320, 384, 511, 512, 513, 640, 767,
                  768, 769, 1000, 1023, 1024, 1025, 1536, 2048, 3000, 4096, 6144, 8192]:
            random = np.random.RandomState(n * D % 65521)
            c, d = (torch.from_numpy(random.standard_normal((1, n, 1, D)).astype(np.float32)).cuda().bfloat16() for _ in range(2))
            alpha = torch.ones((1, n, 1), dtype=torch.bfloat16, device="cuda", requires_grad=True)
            (alpha[..., None] * c).backward(d)
            out[f"{D}.{n}"] = pack(alpha.grad.reshape(n))
    save(path, out, dict(torch=torch.__version__))


def count(folders):
    """How long each kernel's list is; how many of it ran alone at D = 64 and at 128; how many ended otherwise there and have not
    run elsewhere; how many different sets of bits its runs left at most in one file; mixed choices that ran."""
    lists, ran, failed, bits, mixed = {}, {}, {}, {}, 0
    for path in sorted(os.path.join(f, n) for f in folders for n in os.listdir(f) if n.endswith(".safetensors")):
        with open(path, "rb") as file:
            metadata = json.loads(file.read(int.from_bytes(file.read(8), "little"))).get("__metadata__", {})
        if "configurations" not in metadata:
            continue
        lists.update(json.loads(metadata["lists"]))
        D, here = json.loads(metadata["spec"])["D"], {}
        for key, outcome in json.loads(metadata["configurations"]).items():
            key = json.loads(key)
            mixed += len(key) > 1 and not isinstance(outcome, str)
            for kernel, config in key.items() if len(key) == 1 else ():
                (failed if isinstance(outcome, str) else ran).setdefault((kernel, D), set()).add(config)
                here.setdefault(kernel, {json.dumps({})}).update([] if isinstance(outcome, str) else [json.dumps(outcome)])
        for kernel, different in here.items():
            bits[kernel, D] = max(bits.get((kernel, D), 0), len(different))
    print(f"{'kernel':50} {'list':>4}  {'ran at 64':>9} {'not':>3} {'bits':>4}  {'ran at 128':>10} {'not':>3} {'bits':>4}")
    for kernel in TRAIN + [k for k in SERVE if k not in TRAIN]:
        ok, bad = ([table.get((kernel, D), set()) for D in (64, 128)] for table in (ran, failed))
        if ok[0] or ok[1]:
            print(f"{kernel:50} {lists[kernel]:4}  {len(ok[0]):9} {len(bad[0] - ok[0]):3} {bits.get((kernel, 64), 0):4}"
                  f"  {len(ok[1]):10} {len(bad[1] - ok[1]):3} {bits.get((kernel, 128), 0):4}")
    print(f"mixed choices, one configuration for each kernel: {mixed}")


def main():
    if sys.argv[1:2] == ["--count"]:
        return count(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--deadline", type=float, default=500, help="seconds after which no further result is waited for")
    options = parser.parse_args()
    os.makedirs(options.output, exist_ok=True)
    start = time.time()
    multiprocessing.set_start_method("spawn")
    with multiprocessing.Pool(options.workers) as pool:
        chosen = [p for p in problems() if options.only in p["name"]]
        specs = {p["name"]: p for p in chosen}
        lists = pool.apply(kernel_lists, (options.sources,))
        first, later = [], []
        for spec in chosen:
            first.append((options.sources, spec, {}, True))
            kernels = TRAIN if spec["kind"] == "train" else SERVE
            if spec.get("every") or spec.get("small"):
                for kernel in [k for k in kernels if used(k, spec)]:
                    for config in lists[kernel]:
                        if spec.get("small") and "num_stages=2" not in config and "num_stages=3" not in config:
                            continue
                        if spec.get("small") and kernel in ("chunk_fwd_kernel_h", "chunk_bwd_kernel_dh"):
                            continue
                        later.append((options.sources, spec, {kernel: config}, False))
            for config in [c for kernel in kernels if spec.get("each", " ") in kernel for c in lists[kernel]]:
                later.append((options.sources, spec, {next(k for k in kernels if spec["each"] in k): config}, False))
            random = np.random.RandomState(spec["seed"])
            for _ in range(spec.get("mixed", 6 if spec.get("every") else 0)):  # a configuration of each kernel at random
                later.append((options.sources, spec, {k: right(k, lists[k], random, spec) for k in kernels}, False))
        order = lambda t: (not t[1].get("every"), "num_warps=1" not in json.dumps(t[2]))
        results, again = {}, []

        def collect(pool, tasks):
            pending, done = pool.imap_unordered(one, tasks), 0
            for _ in range(len(tasks)):
                try:
                    name, configuration, result, seconds = pending.next(timeout=max(1, options.deadline - (time.time() - start)))
                except multiprocessing.TimeoutError:
                    print("out of time", flush=True)
                    break
                done += 1
                if isinstance(result, str) and "CUDA error" in result and pool is not fresh:
                    again.append((options.sources, specs[name], configuration, not configuration))
                    continue
                results.setdefault(name, []).append((configuration, result))
                if isinstance(result, str) or seconds > 60:
                    print(name, configuration, result if isinstance(result, str) else f"{seconds:.0f} s", flush=True)
            print(f"{done} done, {time.time() - start:.0f} s", flush=True)

        fresh = None
        for tasks in (first, sorted(later, key=order)):
            collect(pool, tasks)
        pool.terminate()
    if again:  # an error of CUDA takes its process with it: what came after it is run again, each in a process of its own
        with multiprocessing.Pool(options.workers, maxtasksperchild=1) as fresh:
            collect(fresh, again)
            fresh.terminate()
    for name, runs in results.items():
        write(options.output, specs[name], lists, runs)
    dalpha(os.path.join(options.output, "dalpha.safetensors"))
    print(f"{time.time() - start:.0f} s")


def write(folder, spec, lists, runs):
    base = next((r for c, r in runs if not c), None)
    if base is None or isinstance(base, str):
        print(spec["name"], "default failed:", base)
        return
    given, out = base
    stored, seen, table = {**given, **out}, {n: {hashlib.sha256(raw).hexdigest(): 0} for n, (_, _, raw) in out.items()}, {}
    for configuration, result in runs:
        if not configuration:
            continue
        key = json.dumps(configuration, sort_keys=True)
        if isinstance(result, str):
            table[key] = result
            continue
        numbers = {}
        for n, packed in result.items():
            digest = hashlib.sha256(packed[2]).hexdigest()
            if digest not in seen[n]:
                seen[n][digest] = len(seen[n])
                stored[f"{n}.{seen[n][digest]}"] = packed
            if seen[n][digest]:
                numbers[n] = seen[n][digest]
        table[key] = numbers
    import torch
    import triton
    metadata = dict(spec=json.dumps(spec), configurations=json.dumps(table), lists=json.dumps({k: len(v) for k, v in lists.items()}),
                    ridge_ratio=repr(spec.get("a", .02)), num_iter=str(spec.get("r", 30)), chunk_size=str(spec.get("C", 64)),
                    scale=repr(spec["D"] ** -.5), torch=torch.__version__, triton=triton.__version__, device=torch.cuda.get_device_name(),
                    kernels="awslabs/hybrid-model-factory 04b6242, flash-linear-attention 0.4.1")
    if spec["kind"] == "train":
        metadata["runs"] = lines_of(spec, table)
    if "cuts" in spec:
        metadata["cuts"] = ",".join(map(str, spec["cuts"]))
    if "bounds" in spec:
        stored["cu_seqlens"] = "I64", [len(spec["bounds"])], np.array(spec["bounds"], "<i8").tobytes()
    if spec["kind"] == "serve":
        metadata["prefill"] = str(spec.get("prefill", 0 if "slots" in spec else spec["T"]))
    save(os.path.join(folder, spec["name"] + ".safetensors"), stored, metadata)


# the kernels whose num_warps changes bits, by gka's names; the others stand for nothing
NAMES = {"chebyshev_iteration_fro_gating_forward_kernel": "solve", "chebyshev_iteration_fro_forward_kernel": "solve",
         "chunk_bwd_dk_gating_kernel_forloop": "solve_dk", "chunk_dh_kk_to_dk_gating_kernel": "solve_dh", "chunk_local_cumsum_scalar_kernel": "gates",
         "chunk_bwd_kernel_dqkwg": "output_bwd"}


def lines_of(spec, table):
    """The lines of `runs`, without doubles."""
    gated, lines = spec.get("gated", True), ["|"]
    for key, numbers in table.items():
        settings = []
        for kernel, config in json.loads(key).items():
            warps = config.split("num_warps=")[1][0]
            if kernel in NAMES and warps != "4" and (("gating" in kernel) == gated or "chebyshev" not in kernel and gated):
                settings.append(f"{NAMES[kernel]}.num_warps={warps}")
        if not isinstance(numbers, str):
            lines.append(" ".join(sorted(settings)) + "|" + ",".join(f"{n}={i}" for n, i in numbers.items()))
    return "\n".join(dict.fromkeys(lines))


def kernel_lists(sources):
    load_once(sources)
    return {name: [text(c) for c in tuner.all] for name, tuner in autotuned().items()}


if __name__ == "__main__":
    main()
