"""segments_released.py - the released sequence-parallel gradients, on one GPU.

    python3 segments_released.py PROBLEM -o OUT --module PACKAGE [--segments N]

Needs the authors' package: PACKAGE is the importable name of its folder ops/chebyshev (flash-linear-attention must be importable
too). PROBLEM is a safetensors file with q k g dx and the parameters (any golden). The tokens are cut into N segments of whole
chunks (2). Each one's local state is made by their compute_kk_final_with_gating, handed on by the formula of their state
passing, forward h = local + exp(sum g) h and its reverse (the gate's part negated, as theirs), and every segment is solved by
their ChebyshevIteration from the state it was handed. OUT gets PROBLEM's inputs and x, solve.dq, solve.dk, solve.dg:

    gka verify OUT                        says how far they are from the exact gradients
"""
import argparse
import importlib
import json
import os
import struct
import sys

import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gka_check  # noqa: E402

DTYPES = {torch.bfloat16: "BF16", torch.float32: "F32", torch.float16: "F16", torch.float64: "F64"}


def write(path, tensors, metadata):
    header, data, at = {"__metadata__": metadata}, [], 0
    for name, t in tensors.items():
        raw = bytes(t.detach().cpu().contiguous().view(torch.uint8).numpy().reshape(-1))
        header[name] = {"dtype": DTYPES[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + len(raw)]}
        data.append(raw)
        at += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path + ".part", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(data))
    os.replace(path + ".part", path)


class HandOn(torch.autograd.Function):
    """after = local + exp(total) before. In reverse the cotangent comes with its sign changed (their backward kernel of the
    solve leaves the minus out, that of the local state puts it in again), so that of the gate is negated here."""

    @staticmethod
    def forward(ctx, local, total, before):
        ctx.save_for_backward(total, before)
        return local + torch.exp(total)[:, :, None, None] * before

    @staticmethod
    def backward(ctx, grad):
        total, before = ctx.saved_tensors
        decay = torch.exp(total)
        return grad, -decay * (before * grad).sum(dim=(2, 3)), decay[:, :, None, None] * grad


def run(ops, p, count, r, a, C):
    solve = importlib.import_module(ops + ".chebyshev_iteration").ChebyshevIteration.apply
    local_state = importlib.import_module(ops + ".chunk_dk_backward_gating_sp").compute_kk_final_with_gating
    q, k, g = (p[name].clone().requires_grad_() for name in "qkg")
    B, T, H, D = q.shape
    chunks = -(-T // C)
    bounds = [min(T, round(i * chunks / count) * C) for i in range(count + 1)]
    before = torch.zeros(B, H, D, D, device=q.device)
    xs = []
    for i in range(count):
        part = slice(bounds[i], bounds[i + 1])
        xs.append(solve(k[:, part], q[:, part], g[:, part], r, a, True, before, C)[0])
        if i + 1 < count:
            before = HandOn.apply(local_state(k[:, part], g[:, part], C).float(), g[:, part].sum(dim=1), before)
    x = torch.cat(xs, dim=1)
    x.backward(p["dx"])
    return {"x": x, "solve.dq": q.grad, "solve.dk": k.grad, "solve.dg": g.grad}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--module", required=True)
    parser.add_argument("--segments", type=int, default=2)
    arguments = parser.parse_args()
    file = gka_check.File(arguments.problem)
    missing = [name for name in ("q", "k", "g", "dx") if name not in file.tensors]
    if missing:
        parser.error(f"{arguments.problem}: tensor '{missing[0]}' is missing")
    p = {}
    for name in ("q", "k", "g", "dx"):
        dtype, shape, data = file.tensors[name]
        p[name] = torch.frombuffer(data, dtype=gka_check.torch_dtype(torch, dtype)).reshape(shape).clone().cuda()
    meta = {key: file.metadata[key] for key in ("ridge_ratio", "num_iter", "chunk_size", "scale") if key in file.metadata}
    out = run(arguments.module, p, arguments.segments, int(meta.get("num_iter", 30)), float(meta.get("ridge_ratio", .02)),
              int(meta.get("chunk_size", 64)))
    write(arguments.output, {**p, **out}, meta)


if __name__ == "__main__":
    main()
