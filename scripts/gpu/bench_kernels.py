"""bench_kernels.py - times of the kernels of src/cuda on this GPU, beside the machine's two ceilings.

    python3 bench_kernels.py libgka_cuda.so [--released MODULE]

CUDA events, medians of 20 after 3 warm-ups, T = 4096, H = 16, D = 128, gated, r = 30; B = 1 and 4. With --released, the authors' own
package is timed in the same run: MODULE is the importable name of its module with latent_chebyshev and gka_chebyshev_gla
(their gka_chebyshev_solve; flash-linear-attention must be importable too). Pin its autotuner to num_warps = 4 yourself if the first
call takes too long. The ceilings are measured here: a device-to-device copy (bytes read and written) and a bf16 matrix product.
"""
import argparse
import importlib
import os
import sys

import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gka_cuda  # noqa: E402


def median_ms(call, runs=20):
    for _ in range(3):
        call()
    times = []
    for _ in range(runs):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        call()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return sorted(times)[runs // 2]


def problem(B, T=4096, H=16, D=128):
    torch.manual_seed(B)
    draw = lambda *shape: torch.randn(*shape, device="cuda")
    unit = lambda x: x / (x.norm(dim=-1, keepdim=True) + 1e-6)
    beta = torch.sigmoid(draw(B, T, H, 1)) + 1e-6
    q, k, v = unit(draw(B, T, H, D)), beta * unit(draw(B, T, H, D)), beta * draw(B, T, H, D)
    alpha = torch.sigmoid(draw(B, T, H))
    dt = torch.exp(torch.rand(H, device="cuda") * 4.6 - 6.9)
    g = -16 * torch.rand(H, device="cuda") * torch.nn.functional.softplus(draw(B, T, H) + torch.log(torch.expm1(dt)))
    return [t.bfloat16() for t in (q, k, v, alpha)] + [g]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library")
    parser.add_argument("--released", metavar="MODULE")
    arguments = parser.parse_args()
    lib = gka_cuda.Library(arguments.library)
    released = importlib.import_module(arguments.released) if arguments.released else None

    a = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    b = torch.empty_like(a)
    bandwidth = 2 * a.numel() / median_ms(lambda: b.copy_(a)) * 1e3
    m = torch.randn(8192, 8192, device="cuda").bfloat16()
    rate = 8192 ** 3 / median_ms(lambda: m @ m) * 1e3
    del a, b, m
    print(f"{torch.cuda.get_device_name()}: copy {bandwidth / 1e12:.2f} TB/s, bf16 product {rate / 1e12:.0f} T multiply-adds/s")

    for B in (1, 4):
        q, k, v, alpha, g = problem(B)
        T, H, D, r = q.shape[1], q.shape[2], q.shape[3], 30
        dout = torch.randn_like(q)
        x, fro, *_ = lib.forward(q, k, None, None, g)
        pair = lib.forward(q, k, None, None, g, accurate=True)[0]
        rows = [("solve forward", lambda: lib.forward(q, k, None, None, g)),
                ("solve forward, three-term", lambda: lib.forward(q, k, None, None, g, form="three-term")),
                ("solve forward, accurate", lambda: lib.forward(q, k, None, None, g, accurate=True)),
                ("layer forward", lambda: lib.forward(q, k, v, alpha, g)),
                ("layer forward, accurate", lambda: lib.forward(q, k, v, alpha, g, accurate=True)),
                ("solve backward", lambda: lib.backward(q, k, None, None, g, x=x, fro=fro, dx=dout)),
                ("solve backward, accurate", lambda: lib.backward(q, k, None, None, g, x=pair, fro=fro, dx=dout, accurate=True)),
                ("layer backward", lambda: lib.backward(q, k, v, alpha, g, x=x, fro=fro, dout=dout)),
                ("layer backward, accurate", lambda: lib.backward(q, k, v, alpha, g, x=pair, fro=fro, dout=dout, accurate=True))]
        theirs = {}
        if released is not None:
            leaves = [t.detach().clone().requires_grad_() for t in (q, k, v, alpha, g)]
            solve = lambda: released.latent_chebyshev(leaves[1], leaves[0], .02, r, "chebyshev", True, leaves[4], 64)[0]
            layer = lambda: released.gka_chebyshev_gla(*leaves, leaves[4], D ** -.5)[0]
            x_out, o_out = solve(), layer()
            theirs = {"solve forward": lambda: released.latent_chebyshev(k, q, .02, r, "chebyshev", True, g, 64),
                      "layer forward": lambda: released.gka_chebyshev_gla(q, k, v, alpha, g, g, D ** -.5),
                      "solve backward": lambda: torch.autograd.grad(x_out, [leaves[i] for i in (0, 1, 4)], dout, retain_graph=True),
                      "layer backward": lambda: torch.autograd.grad(o_out, leaves, dout, retain_graph=True)}
        # The solve's floor: (r + 1) products with H_0 (D D) and with K, K^T (2 C D) a token; q, k, x once and the snapshots twice.
        tokens = B * T * H
        products = tokens * (r + 1) * (D * D + 2 * 64 * D)
        moved = tokens * (3 * D * 2 + 2 * D * D * 2 / 64)
        print(f"B = {B}, T = {T}, H = {H}, D = {D}: the forward solve needs at least {products / rate * 1e3:.2f} ms of products, "
              f"{moved / bandwidth * 1e3:.3f} ms of bytes: products bind")
        for name, call in rows:
            ours = median_ms(call)
            line = f"  {name:<27} {ours:7.3f} ms"
            if name.split(",")[0] in theirs:
                other = median_ms(theirs[name.split(",")[0]])
                line += f"   released {other:7.3f} ms   ratio {ours / other:.2f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
