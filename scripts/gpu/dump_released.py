"""dump_released.py - runs the authors' released kernels on a golden's inputs, or on a suite's, and writes candidates.

    python3 dump_released.py MODULE GOLDEN -o CANDIDATE [--pin] [--chunk]

MODULE is the importable name of their gka_chebyshev_solve (github.com/awslabs/hybrid-model-factory, with flash-linear-attention
and Triton importable too). GOLDEN is a file or a folder made by gka golden; CANDIDATE then is one too. Written are x fro h_chunk
h_final u_final o, solve.dq dk dg dh0, layer.dq dk dv dalpha dg, those that the case has, under the names and in the types that
the kernels give, and judged on the spot by the package gka.

How they are called. x, fro, the states: one call of their forward. Gradients: PyTorch's autograd through their functions, the
cotangents dx and do. o: gka_chebyshev_gla; with u0 its two steps by hand, since it takes no initial state. Grouped heads: k and
v repeated, as their layer does. Packed sequences: one after the other. Cotangents of final states are not theirs to take:
such a case is skipped, and so is one whose inputs are not bf16.

--pin   num_warps 4, num_stages 2, the largest tiles, as tests/data/h100 was made; without it Triton's autotuner chooses, and
        which bits come out depends on that.
--chunk chunk_size as the golden says; without it cases with another than 64 are run with 64, the size they are released with
        (then h_chunk is not written). The output stage has 64 in any case.
"""
import argparse
import importlib
import os
import sys

import torch

import gka
from gka.check import Golden


def autotuners(package):
    """The autotuners of all kernels that are loaded, each once."""
    from triton.runtime.autotuner import Autotuner, Heuristics
    found = {}
    for module in [m for name, m in sys.modules.items() if name.startswith((package, "fla."))]:
        for kernel in list(vars(module).values()):
            while isinstance(kernel, (Autotuner, Heuristics)):
                if isinstance(kernel, Autotuner):
                    found[id(kernel)] = kernel
                kernel = kernel.fn
    return found.values()


def pin(package):
    """One configuration for every autotuned kernel that is loaded."""
    for tuner in autotuners(package):
        four = [c for c in tuner.configs if c.num_warps == 4] or tuner.configs
        right = [c for c in four if c.num_stages == 2] or four
        tuner.configs = [max(right, key=lambda c: sum(v for v in c.kwargs.values() if isinstance(v, int)))]


def spans(given):
    if "cu_seqlens" not in given:
        return [slice(None)]
    bounds = given["cu_seqlens"].tolist()
    return [slice(a, b) for a, b in zip(bounds, bounds[1:])]


def released(module, given, dx, do, chunk, own_chunk):
    """The outputs of one sequence, or of a batch of them. given: q k [v alpha g h0 u0] and the numbers."""
    names = [n for n in ("q", "k", "v", "alpha", "g", "h0") if n in given]
    leaves = {n: given[n].detach().clone().requires_grad_() for n in names}
    q, h0, u0, g = leaves["q"], leaves.get("h0"), given.get("u0"), leaves.get("g")
    heads = q.shape[2]
    repeat = lambda t: t if t is None or t.shape[2] == heads else t.repeat_interleave(heads // t.shape[2], 2)
    k, v = repeat(leaves["k"]), repeat(leaves.get("v"))
    alpha = leaves.get("alpha")
    alpha = torch.ones_like(q[..., 0]) if alpha is None else alpha
    a, r, s = given["ridge_ratio"], given["num_iter"], given["scale"]
    solver = module.ChebyshevIteration
    inside = sys.modules[solver.__module__]

    out = {}
    with torch.no_grad():
        G = None if g is None else inside.chunk_local_cumsum(g, chunk_size=chunk)
        fro = torch.empty(q.shape[:3], dtype=torch.float32, device=q.device)
        x, fro, states, final = inside.chebyshev_iteration_forward_triton(
            k, q, G, fro, num_iter=r, ridge_ratio=a, chunk_size=chunk, load_fro=0, output_final_state=True, h0=h0)
        out.update(x=x, fro=fro, h_final=final)
        if own_chunk:
            out["h_chunk"] = states

    x, _ = solver.apply(k, q, g, r, a, True, h0, chunk)
    if dx is not None:
        wanted = [n for n in ("q", "k", "g", "h0") if n in leaves]
        grads = torch.autograd.grad(x, [leaves[n] for n in wanted], dx, retain_graph=True, allow_unused=True)
        out.update((f"solve.d{n}", grad) for n, grad in zip(wanted, grads) if grad is not None)
    if v is not None:
        if h0 is None and u0 is None:
            o, _, u_final = module.gka_chebyshev_gla(q, k, v, alpha, g, g, s, ridge_strength=a, num_iter=r, chunk_size=chunk)
        else:
            mixed = q + alpha[..., None] * (x - q)
            o, u_final = module.chunk_simple_gla(q=mixed, k=k, v=v, scale=s, g=g, initial_state=u0, output_final_state=True)
        out.update(o=o, u_final=u_final)
        if do is not None:
            wanted = [n for n in ("q", "k", "v", "alpha", "g") if n in leaves]
            grads = torch.autograd.grad(o, [leaves[n] for n in wanted], do, allow_unused=True)
            out.update((f"layer.d{n}", grad) for n, grad in zip(wanted, grads) if grad is not None)
    return {name: t.detach() for name, t in out.items()}


def run(module, golden, device, chunk_as_said):
    given = Golden(golden).inputs("torch", device, cotangents=True)
    if given["q"].dtype != torch.bfloat16:
        raise NotImplementedError(f"inputs are {given['q'].dtype}; the released kernels take bf16")
    if "dh_final" in given or "du_final" in given:
        raise NotImplementedError("the released kernels take no cotangents of final states")
    own = chunk_as_said or given["chunk_size"] == 64
    chunk, parts = given["chunk_size"] if own else 64, []
    cut = lambda name, span: given[name][:, span] if name in given else None
    for span in spans(given):
        one = {n: t[:, span] if torch.is_tensor(t) and n not in ("h0", "u0") else t for n, t in given.items() if n != "cu_seqlens"}
        if one["q"].shape[1] == 0:
            raise NotImplementedError("an empty sequence")
        parts.append(released(module, one, cut("dx", span), cut("do", span), chunk, own))
    by_sequence = ("h_final", "u_final", "solve.dh0")
    return {n: torch.cat([p[n] for p in parts], 0 if n in by_sequence else 1) if len(parts) > 1 else parts[0][n] for n in parts[0]}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module")
    parser.add_argument("golden")
    parser.add_argument("-o", "--output", required=True, metavar="CANDIDATE")
    parser.add_argument("--pin", action="store_true")
    parser.add_argument("--chunk", action="store_true")
    parser.add_argument("--device", default="cuda", help=argparse.SUPPRESS)  # a test without a GPU has a stand-in for MODULE
    options = parser.parse_args(arguments)
    try:
        module = importlib.import_module(options.module)
    except ImportError as error:
        print(f"dump_released: {options.module}: {error}", file=sys.stderr)
        return 2
    if options.pin:
        pin(options.module.split(".")[0])
    folder = os.path.isdir(options.golden)
    if folder:
        os.makedirs(options.output, exist_ok=True)
    versions = {name: getattr(sys.modules.get(name), "__version__", "none") for name in ("torch", "triton", "fla")}
    versions.update(device=torch.cuda.get_device_name() if options.device == "cuda" else options.device,
                    source="output of the released GKA kernels",
                    configurations="num_warps 4, num_stages 2, largest tiles" if options.pin else "autotuned")
    written = failed = 0
    try:
        goldens = gka.goldens(options.golden)
        for golden in goldens:
            try:
                out = run(module, golden, options.device, options.chunk)
            except Exception as why:  # what a kernel cannot run it says in many ways; the other cases go on
                print(f"{golden}: skipped: {type(why).__name__}: {str(why).splitlines()[0] if str(why) else ''}", flush=True)
                continue
            gka.save(os.path.join(options.output, os.path.basename(golden)) if folder else options.output, out, versions)
            verdict = gka.judge(out, golden)
            print(f"{golden}\n\n{verdict}", flush=True)
            written, failed = written + 1, failed + (verdict.ok is False)
    except gka.Error as error:
        print(f"dump_released: {error}", file=sys.stderr)
        return 2
    print(f"{written} of {len(goldens)} written, in {failed} of them a tensor fails")
    return 2 if written == 0 else 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
