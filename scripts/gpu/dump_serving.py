"""dump_serving.py - runs the authors' serving functions on a problem's inputs and writes what `gka verify` judges.

    gka problem --beta --normalise PROBLEM... -o in.safetensors            # or any file with q k v [alpha g beta h0 u0]
    python3 dump_serving.py SOURCES in.safetensors -o out.safetensors --prefill 200
    gka verify --emulate=h100/serving out.safetensors

SOURCES is the folder that capture_kernels.py describes; a name of an importable module with gka_chebyshev_gla_prefill and
gka_chebyshev_gla_decode does too. The first P tokens (--prefill; all) go through one call of the first, the others one by one
through the second, from the states that the call before left. Written are the inputs and prefill.o prefill.h prefill.u, decode.o
decode.h decode.u, and the metadata, with prefill in it. A golden (gka golden --serving) says itself how many tokens are a prefill
and in which types the states are kept:

    python3 dump_serving.py SOURCES golden.safetensors -o candidate.safetensors && gka judge candidate.safetensors golden.safetensors

--cut C        a second call of the prefill begins at token C; the metadata says so (cuts), and PROBLEM's may
--h-type, --u-type  fp32, bf16 or fp16: of the states between the tokens (fp32)
--num-warps W  of every autotuned kernel that has it in its list, with num_stages 2 (4; 0: Triton's autotuner chooses)
--device       where it runs (cuda)
"""
import argparse
import importlib
import os
import sys

import safetensors
import safetensors.torch
import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import capture_kernels  # noqa: E402

INPUTS = ("q", "k", "v", "alpha", "g", "beta", "h0", "u0")
STATES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pin(warps):
    """One configuration for every autotuned kernel: num_warps as asked where it is in the list, num_stages 2, the largest tiles."""
    for tuner in capture_kernels.autotuned().values():
        some = [c for c in tuner.configs if c.num_warps == warps] or tuner.configs
        some = [c for c in some if c.num_stages == 2] or some
        tuner.configs = [max(some, key=lambda c: sum(v for v in c.kwargs.values() if isinstance(v, int)))]


def run(module, given, spec, args):
    """prefill.* and decode.* of the problem."""
    T = given["q"].shape[1]
    P = T if args.prefill is None else args.prefill
    B, H, D, V = given["q"].shape[0], given["q"].shape[2], given["q"].shape[3], given["v"].shape[3]
    zeros = lambda *shape: torch.zeros(*shape, device=given["q"].device)
    h, u, out, o = given.get("h0"), given.get("u0"), {}, []
    cuts = [0, *([args.cut] if args.cut else []), P]
    for begin, end in zip(cuts, cuts[1:]):
        if end > begin:
            part, h, u = capture_kernels.prefill(module, given, spec, slice(begin, end), h, u)
            o.append(part)
    if o:
        out.update({"prefill.o": torch.cat(o, 1), "prefill.h": h.clone(), "prefill.u": u.clone()})
    h, u = zeros(B, H, D, D) if h is None else h.clone(), zeros(B, H, D, V) if u is None else u.clone()
    h, u = h.to(STATES[args.h_type]), u.to(STATES[args.u_type])
    o = [capture_kernels.decode(module, given, spec, slice(t, t + 1), h, u) for t in range(P, T)]
    if o:
        out.update({"decode.o": torch.cat(o, 1), "decode.h": h, "decode.u": u})
    return P, out


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("sources")
    parser.add_argument("problem")
    parser.add_argument("-o", dest="out", required=True)
    parser.add_argument("--prefill", type=int)
    parser.add_argument("--cut", type=int)
    parser.add_argument("--h-type", choices=STATES)
    parser.add_argument("--u-type", choices=STATES)
    parser.add_argument("--num-warps", type=int, choices=(0, 1, 2, 4, 8), default=4)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args(arguments)
    with safetensors.safe_open(args.problem, "pt") as file:
        metadata, names = file.metadata() or {}, set(file.keys())
        tensors = {n: file.get_tensor(n) for n in INPUTS if n in names}
    if args.prefill is None and "prefill" in metadata:
        args.prefill = int(metadata["prefill"])
    if args.cut is None and "cuts" in metadata:
        args.cut = int(metadata["cuts"])
    args.h_type, args.u_type = (given or metadata.get(key, "fp32") for given, key in ((args.h_type, "h-type"), (args.u_type, "u-type")))
    missing = [n for n in ("q", "k", "v", "alpha") if n not in tensors]
    if missing:
        sys.exit(f"{args.problem}: tensor '{missing[0]}' is missing")
    T = tensors["q"].shape[1]
    for name, value in (("--prefill", args.prefill), ("--cut", args.cut)):
        if value is not None and not 0 <= value <= T:
            sys.exit(f"{name} {value}: a number from 0 to T = {T} was expected")
    if "cu_seqlens" in names:
        sys.exit(f"{args.problem}: packed sequences are not run here")
    if os.path.isdir(args.sources):
        _, module = capture_kernels.load(args.sources)
        if args.num_warps:
            pin(args.num_warps)
    else:
        module = importlib.import_module(args.sources)
    given = {n: t.to(args.device) for n, t in tensors.items()}
    D = given["q"].shape[3]
    spec = {"D": D, "a": float(metadata.get("ridge_ratio", .02)), "r": int(metadata.get("num_iter", 30))}
    if abs(float(metadata.get("scale", D ** -.5)) - D ** -.5) > 1e-6:
        sys.exit(f"{args.problem}: metadata 'scale' is {metadata['scale']}; D^-1/2 was expected")
    with torch.no_grad():
        P, out = run(module, given, spec, args)
    both = {n: t.contiguous().cpu() for n, t in {**tensors, **out}.items()}
    said = {n: m for n, m in metadata.items() if n not in ("cuts", "golden", "inputs_sha256", "oracle", "sha256", "spec", "stage", "tolerances")}
    said.update({"prefill": str(P), **({"cuts": str(args.cut)} if args.cut else {})})
    safetensors.torch.save_file(both, args.out, said)


if __name__ == "__main__":
    main()
