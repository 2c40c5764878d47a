"""bench_kernels.py - times of the kernels of src/cuda on this GPU, beside the machine's two ceilings.

    python3 bench_kernels.py libgka_cuda.so [--csv FILE] [--released MODULE [--pin]] [--serving SOURCES]
    python3 bench_kernels.py --compile PART/PARTS --released MODULE

CUDA events, medians of 20 after 3 warm-ups, queued behind each other so that no time of the host is in them; T = 4096, H = 16, D = 128, gated, r = 30; B = 1 and 4. With --released, the authors' own
package is timed in the same run, each row right after ours: MODULE is the importable name of its module with latent_chebyshev and
gka_chebyshev_gla (their gka_chebyshev_solve; flash-linear-attention must be importable too), as their autotuner leaves it, or with
--pin at num_warps 4 (dump_released.pin). Tuning takes minutes, nearly all of them compilation: --compile PART/PARTS only compiles its
part of every list into Triton's cache, for this problem and for train.py's, so that several such processes beside each other
shorten it. --serving: the authors' serving function for one token beside ours, SOURCES as in capture_kernels.py; both are captured
in a CUDA graph and replayed, as a server does, from states in fp32 and in bf16. The ceilings are measured here: a device-to-device copy (bytes read and written) and a bf16 matrix product.
"""
import argparse
import csv
import importlib
import os
import sys

import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import capture_kernels  # noqa: E402
import dump_released  # noqa: E402
import gka_cuda  # noqa: E402


def median_ms(call, runs=20):
    """Of the device alone: all runs wait behind a pause, so that the host, which is ahead then, is not timed."""
    for _ in range(3):
        call()
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(runs)]
    torch.cuda.synchronize()
    torch.cuda._sleep(40_000_000)
    for begin, end in events:
        begin.record()
        call()
        end.record()
    torch.cuda.synchronize()
    return sorted(begin.elapsed_time(end) for begin, end in events)[runs // 2]


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


def of_released(module, problem, dout, r):
    """The authors' four calls on a problem, by the rows' names."""
    k, q, v, alpha, g = (problem[i] for i in (1, 0, 2, 3, 4))
    leaves = [t.detach().clone().requires_grad_() for t in problem]
    scale = q.shape[-1] ** -.5
    x_out = module.latent_chebyshev(leaves[1], leaves[0], .02, r, "chebyshev", True, leaves[4], 64)[0]
    o_out = module.gka_chebyshev_gla(*leaves, leaves[4], scale)[0]
    return {"solve forward": lambda: module.latent_chebyshev(k, q, .02, r, "chebyshev", True, g, 64),
            "layer forward": lambda: module.gka_chebyshev_gla(q, k, v, alpha, g, g, scale),
            "solve backward": lambda: torch.autograd.grad(x_out, [leaves[i] for i in (0, 1, 4)], dout, retain_graph=True),
            "layer backward": lambda: torch.autograd.grad(o_out, leaves, dout, retain_graph=True)}


def compile_part(module, part, parts):
    """Every autotuned kernel in its configurations part, part + parts, .. of its list."""
    for tuner in dump_released.autotuners(module.__name__.split(".")[0]):
        tuner.configs = tuner.configs[part::parts] or tuner.configs[:1]
    for shape in (dict(B=1), dict(B=64, T=256, H=2, D=64)):
        given = problem(**shape)
        for call in of_released(module, given, torch.randn_like(given[0]), 30).values():
            call()
    torch.cuda.synchronize()


def rows_of(lib, given, dout):
    """(name, how, call) of our kernels."""
    q, k, v, alpha, g = given
    x, fro, *_ = lib.forward(q, k, None, None, g)
    pair = lib.forward(q, k, None, None, g, accurate=True)[0]
    hows = {"": {}, "three-term": {"form": "three-term"}, "accurate": {"accurate": True}, "r = 20": {"num_iter": 20}}
    for name, back in (("solve forward", 0), ("layer forward", 0), ("solve backward", 1), ("layer backward", 1)):
        tensors = (q, k, None, None, g) if name.startswith("solve") else given
        for how, options in hows.items():
            if back:
                options = dict(options, x=pair if how == "accurate" else x, fro=fro, **{"dx" if name.startswith("solve") else "dout": dout})
            yield name, how, lambda f=lib.backward if back else lib.forward, t=tensors, o=options: f(*t, **o)


def graphed(call):
    """The call as a CUDA graph's replay."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def decode_rows(lib, bandwidth, serving, B=256, H=16, D=128):
    """One token for B sequences, their states changed in place; the limit: both states read once and written once."""
    q, k, v, alpha, g = problem(B, T=1, H=H, D=D)
    random = torch.randn(B, H, D, D, device="cuda") * .1
    singles = [random @ random.mT, torch.randn(B, H, D, D, device="cuda")]
    places = torch.randperm(B, device="cuda")
    bounds = torch.arange(B + 1, device="cuda")
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        states, slots = [t.to(dtype) for t in singles], places.int()
        ours = median_ms(graphed(lambda: lib.decode(q, k, v, alpha, g, *states, state_indices=slots)))
        limit = 4 * states[0].numel() * states[0].element_size() / bandwidth * 1e3
        line = f"decode, {B} sequences, states in {name}: {ours:.3f} ms, {ours / limit:.2f} of the {limit:.3f} ms that their bytes need"
        yield [B, "decode", name, f"{ours:.4f}", "bytes", f"{limit:.4f}", f"{ours / limit:.3f}"]
        if serving is not None:
            states = [t.to(dtype) for t in singles]
            line_of = lambda t: t.transpose(0, 1).contiguous()  # [1,B,..]: one token of each sequence, packed
            packed = dict(q=line_of(q), k=line_of(k), v=line_of(v), alpha=line_of(alpha), g=line_of(g))
            theirs = median_ms(graphed(lambda: serving.gka_chebyshev_gla_decode(
                **packed, gk=packed["g"], beta=None, gla_scale=D ** -.5, ridge_ratio=.02, num_iter=30, h_kk=states[0], h_kv=states[1],
                cu_seqlens=bounds, ssm_state_indices=places)))
            line += f"; the authors' {theirs:.3f} ms, ratio {ours / theirs:.2f}"
            yield [B, "decode", name, f"{ours:.4f}", "serving", f"{theirs:.4f}", f"{ours / theirs:.3f}"]
        print(line, flush=True)


def load_serving(sources):
    """Their package is called gka, as ours is: ours, whose users here have it already, makes room."""
    for name in [m for m in sys.modules if m.split(".")[0] == "gka"]:
        del sys.modules[name]
    return capture_kernels.load(sources)[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", nargs="?")
    parser.add_argument("--released", metavar="MODULE")
    parser.add_argument("--pin", action="store_true")
    parser.add_argument("--compile", metavar="PART/PARTS")
    parser.add_argument("--csv", metavar="FILE")
    parser.add_argument("--serving", metavar="SOURCES")
    parser.add_argument("--decode", action="store_true", help="the rows of one token alone")
    arguments = parser.parse_args()
    released = importlib.import_module(arguments.released) if arguments.released else None
    if arguments.compile and released:
        compile_part(released, *map(int, arguments.compile.split("/")))
        return
    if not arguments.library:
        parser.error("a library was expected")
    lib, configuration = gka_cuda.Library(arguments.library), "pinned" if arguments.pin else "autotuned"
    if arguments.pin and released:
        dump_released.pin(arguments.released.split(".")[0])

    a = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    b = torch.empty_like(a)
    bandwidth = 2 * a.numel() / median_ms(lambda: b.copy_(a)) * 1e3
    m = torch.randn(8192, 8192, device="cuda").bfloat16()
    rate = 8192 ** 3 / median_ms(lambda: m @ m) * 1e3
    del a, b, m
    print(f"{torch.cuda.get_device_name()}: copy {bandwidth / 1e12:.2f} TB/s, bf16 product {rate / 1e12:.0f} T multiply-adds/s")

    table = [["B", "row", "ours", "ms", "released", "released_ms", "ratio"]]
    for B in () if arguments.decode else (1, 4):
        given = problem(B)
        (_, T, H, D), r = given[0].shape, 30
        dout = torch.randn_like(given[0])
        theirs = of_released(released, given, dout, r) if released else {}
        # The solve's floor: (r + 1) products with H_0 (D D) and with K, K^T (2 C D) a token; q, k, x once and the snapshots twice.
        tokens = B * T * H
        products = tokens * (r + 1) * (D * D + 2 * 64 * D)
        moved = tokens * (3 * D * 2 + 2 * D * D * 2 / 64)
        print(f"B = {B}, T = {T}, H = {H}, D = {D}: the forward solve needs at least {products / rate * 1e3:.2f} ms of products, "
              f"{moved / bandwidth * 1e3:.3f} ms of bytes: products bind")
        for name, how, call in rows_of(lib, given, dout):
            ours = median_ms(call)
            line, row = f"  {name + (', ' + how if how else ''):<27} {ours:7.3f} ms", [B, name, how or "fast", f"{ours:.4f}", "", "", ""]
            if theirs:
                other = median_ms(theirs[name])
                line += f"   released ({configuration}) {other:7.3f} ms   ratio {ours / other:.2f}"
                row[4:] = configuration, f"{other:.4f}", f"{ours / other:.3f}"
            table.append(row)
            print(line, flush=True)
    serving = load_serving(arguments.serving) if arguments.serving else None
    table += decode_rows(lib, bandwidth, serving)
    if arguments.csv:
        with open(arguments.csv, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(table)


if __name__ == "__main__":
    main()
