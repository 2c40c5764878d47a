"""capture_rivals.py - runs the chunk kernels of flash-linear-attention 0.4.1 on small inputs, for conformance/rivals_gpu.

    python3 capture_rivals.py SOURCES -o OUT [--only WORD]

SOURCES is a folder with fla/ of the package fla-core, in which fla/__init__.py, fla/ops/__init__.py and
fla/modules/__init__.py have been emptied: the files called for here need Triton, torch and einops alone.

OUT/LAYER_NAME.safetensors: the inputs by gka's names (q k v g beta, gk; Lambda of MesaNet is `lamb` [H,D]), what the kernels
gave (o; of MesaNet also x, h_final, u_final) and the gradients dq dk dv dg dbeta dgk dlamb of <o, do>. Autotuned kernels run
with num_warps 4, num_stages 2 and the largest tiles.
"""
import argparse
import importlib
import json
import os
import sys

import numpy as np
import torch


def pin():
    """One configuration for every autotuned kernel that is loaded."""
    from triton.runtime.autotuner import Autotuner, Heuristics
    for module in [m for name, m in sys.modules.items() if name.startswith("fla.")]:
        for kernel in list(vars(module).values()):
            while isinstance(kernel, (Autotuner, Heuristics)):
                if isinstance(kernel, Autotuner):
                    four = [c for c in kernel.configs if c.num_warps == 4] or kernel.configs
                    right = [c for c in four if c.num_stages == 2] or four
                    kernel.configs = [max(right, key=lambda c: sum(v for v in c.kwargs.values() if isinstance(v, int)))]
                kernel = kernel.fn


def inputs(spec):
    random = np.random.RandomState(spec["seed"])
    T, H, D = spec["T"], spec["H"], spec["D"]
    drawn = lambda *shape: random.standard_normal(shape)
    unit = lambda a: a / np.sqrt((a * a).sum(-1, keepdims=True))
    common = drawn(1, 1, H, D) * spec.get("mean", 0)
    given = dict(q=unit(drawn(1, T, H, D)), k=unit(drawn(1, T, H, D) + common), v=drawn(1, T, H, D), do=drawn(1, T, H, D))
    given["g"] = -spec.get("gate", 1.0) * np.log1p(np.exp(drawn(1, T, H) - 4))
    given["beta"] = 1 / (1 + np.exp(-drawn(1, T, H)))
    given["gk"] = -spec.get("gate", 1.0) * np.log1p(np.exp(drawn(1, T, H, D) - 4))
    given["lamb"] = .25 + np.log1p(np.exp(drawn(H, D)))
    low = ("q", "k", "v", "do")
    return {n: torch.from_numpy(a).to(torch.float32).to(torch.bfloat16 if n in low else torch.float32).cuda() for n, a in given.items()}


def run(module, spec):
    given, layer = inputs(spec), spec["layer"]
    reads = dict(mesa=("q", "k", "v", "g", "beta", "lamb"), gdn=("q", "k", "v", "g", "beta"), mamba2=("q", "k", "v", "g"),
                 gla=("q", "k", "v", "gk"), kda=("q", "k", "v", "gk", "beta"))[layer]
    leaf = {n: given[n].clone().requires_grad_() for n in reads}
    out = {}
    if layer == "mesa":
        o, out["h_final"], out["u_final"] = module.chunk_mesa_net(*(leaf[n] for n in reads), output_final_state=True,
                                                                  max_CG_iteration=spec.get("r", 30))
        fixed = [given[n].to(torch.float16) if n in ("q", "k") else given[n] for n in reads]
        out["x"] = module.chunk_fwd_mesa_net_fwd(*fixed, None, spec.get("r", 30))[1]
    elif layer == "gdn":
        o, _ = module.chunk_gated_delta_rule(*(leaf[n] for n in reads), scale=1.0)
    elif layer == "mamba2":
        o, _ = module.chunk_simple_gla(leaf["q"], leaf["k"], leaf["v"], g=leaf["g"], scale=1.0)
    elif layer == "gla":
        o, _ = module.chunk_gla(leaf["q"], leaf["k"], leaf["v"], leaf["gk"], scale=1.0)
    else:
        o, _ = module.chunk_kda(leaf["q"], leaf["k"], leaf["v"], leaf["gk"], leaf["beta"], scale=1.0)
    out["o"] = o
    try:
        for n, gradient in zip(reads, torch.autograd.grad(o, [leaf[n] for n in reads], given["do"])):
            out["d" + n] = gradient
    except Exception as why:  # the forward stands
        print(spec["layer"], spec["name"], f"backward: {type(why).__name__}: {str(why)[:200]}", flush=True)
    torch.cuda.synchronize()
    return {n: given[n] for n in reads + ("do",)}, out


def save(path, tensors, metadata):
    names = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
    header, at, blobs = {"__metadata__": metadata}, 0, []
    for name, tensor in tensors.items():
        raw = tensor.detach().contiguous().cpu().view(torch.uint8).numpy().tobytes()
        header[name] = dict(dtype=names[tensor.dtype], shape=list(tensor.shape), data_offsets=[at, at + len(raw)])
        at += len(raw)
        blobs.append(raw)
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(blobs))


MODULES = dict(mesa="mesa_net.chunk", gdn="gated_delta_rule.chunk", mamba2="simple_gla.chunk", gla="gla.chunk", kda="kda.chunk")


def problems():
    p = lambda layer, name, **more: dict(dict(layer=layer, name=name, H=2), **more)
    found = [p("mesa", "d64", T=150, D=64, seed=1), p("mesa", "d128", T=100, D=128, seed=2, H=1),
             p("mesa", "mean", T=256, D=64, seed=3, mean=.2, gate=.1), p("mesa", "mean128", T=192, D=128, seed=4, H=1, mean=.2, gate=.1),
             p("mesa", "r5", T=64, D=64, seed=5, H=1, r=5), p("mesa", "d32", T=96, D=32, seed=6, H=1)]
    for layer in ("gdn", "mamba2", "gla", "kda"):
        found += [p(layer, "d64", T=150, D=64, seed=11), p(layer, "mean", T=192, D=64, seed=12, mean=.2, gate=.1, H=1)]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources")
    parser.add_argument("-o", "--output", required=True, metavar="OUT")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    sys.path.insert(0, options.sources)
    os.makedirs(options.output, exist_ok=True)
    import triton
    for spec in problems():
        name = f"{spec['layer']}_{spec['name']}"
        if options.only not in name:
            continue
        try:
            module = importlib.import_module("fla.ops." + MODULES[spec["layer"]])
            pin()
            given, out = run(module, spec)
        except Exception as why:
            print(f"{name}: {type(why).__name__}: {str(why)[:300]}", flush=True)
            continue
        metadata = dict(scale="1.0", num_iter=str(spec.get("r", 30)), chunk_size="64", spec=json.dumps(spec), torch=torch.__version__,
                        triton=triton.__version__, device=torch.cuda.get_device_name(), kernels="flash-linear-attention 0.4.1")
        save(os.path.join(options.output, name + ".safetensors"), {**given, **out}, metadata)
        print(name, {n: list(t.shape) for n, t in out.items()}, flush=True)


if __name__ == "__main__":
    main()
