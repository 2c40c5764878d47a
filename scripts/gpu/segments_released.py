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

import torch

import gka

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
    problem = gka.Problem.load(arguments.problem)
    missing = [name for name in ("q", "k", "g", "dx") if name not in problem]
    if missing:
        parser.error(f"{arguments.problem}: tensor '{missing[0]}' is missing")
    tensors, meta = problem.to("torch"), problem.parameters
    p = {name: tensors[name].cuda() for name in ("q", "k", "g", "dx")}
    out = run(arguments.module, p, arguments.segments, int(meta.get("num_iter", 30)), float(meta.get("ridge_ratio", .02)),
              int(meta.get("chunk_size", 64)))
    gka.save(arguments.output, {**p, **out}, meta)


if __name__ == "__main__":
    main()
