"""split_sequence.py - the layer on one sequence that is split over several GPUs, beside the same on one GPU.

    torchrun --nproc-per-node 2 split_sequence.py [LIBRARY]                       # T = 262,144, equal parts: bits and times
    torchrun --nproc-per-node 2 split_sequence.py --T 8192 --H 2 --G 1 --D 64 --cuts 64 4096 8128 --runs 0 --keep FOLDER
    torchrun --nproc-per-node 2 split_sequence.py --backend gloo                  # where all processes share one GPU

Process i has tokens bounds[i] .. bounds[i+1], multiples of 64. In the forward it takes the states H and U from the process before,
runs ahead to its own final states (gka_cuda's final_states), hands them on, and then solves, so that only the states' short walk
waits for the neighbour. In the backward it solves, takes dL/dH and dL/dU from the process after it, runs them to its first token,
hands them on, and forms the other gradients. Nothing is added up across a cut: every output has the bits of one GPU, gates' gradients
too.

Process 0 then computes the whole sequence by itself. Printed for both settings of the kernels and for each of --cuts (N - 1 tokens
with commas between; without it equal parts): per output a digest (SHA-256 of the SHA-256 of its blocks of 64 tokens) of both, and
how many blocks differ; then medians of --runs runs after one, between barriers: one GPU, all GPUs, and the ideal, one GPU's time by
their number. Exit 1 if any block differs. --keep writes inputs and outputs of the split runs, for golden_cuda_replay FILE to replay
without a GPU. LIBRARY: libgka_cuda.so, else as gka_cuda.py finds it.
"""
import argparse
import concurrent.futures
import hashlib
import os
import sys
import time

import torch
import torch.distributed as dist

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gka_cuda  # noqa: E402

BLOCK = 64
BY_TOKEN = ("x", "x_low", "fro", "o", "layer.dq", "layer.dk", "layer.dv", "layer.dalpha", "layer.dg")


def draw(args, begin, end):
    """q k v alpha g dout of tokens begin .. end - 1: each block of 64 has a seed of its own."""
    def block(number):
        random = torch.Generator("cuda").manual_seed(number)
        normal = lambda *shape: torch.randn(1, BLOCK, *shape, generator=random, device="cuda")
        unit = lambda t: t / (t.norm(dim=-1, keepdim=True) + 1e-6)
        beta = torch.sigmoid(normal(args.G, 1))
        half = [unit(normal(args.H, args.D)), beta * unit(normal(args.G, args.D)), beta * normal(args.G, args.D),
                torch.sigmoid(normal(args.H)), normal(args.H, args.D)]
        return [t.bfloat16() for t in half], -.05 * normal(args.H).abs()
    blocks = [block(n) for n in range(begin // BLOCK, end // BLOCK)]
    q, k, v, alpha, dout = (torch.cat(parts, 1) for parts in zip(*(half for half, _ in blocks)))
    return q, k, v, alpha, torch.cat([g for _, g in blocks], 1), dout


class Line:
    """The processes in a row: states to the next, cotangents to the previous one."""

    def __init__(self, backend):
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        self.direct = backend == "nccl"
        self.control = dist.new_group(backend="gloo")

    def send(self, tensors, to):
        for t in tensors:
            dist.send(t if self.direct else t.cpu(), to)

    def receive(self, tensors, source):
        for t in tensors:
            here = t if self.direct else torch.empty_like(t, device="cpu")
            dist.recv(here, source)
            if here is not t:
                t.copy_(here)
        return tensors


def run_forward(lib, line, given, how):
    """x fro o h_final u_final of this process's tokens, and the states they start from."""
    q, k, v, alpha, g, _ = given
    states = (None, None)
    if line is not None and line.rank > 0:
        shape = (1, q.shape[2], q.shape[3])
        states = line.receive([torch.empty(*shape, n, device="cuda") for n in (q.shape[3], v.shape[3])], line.rank - 1)
    if line is not None and line.rank + 1 < line.count:
        line.send(lib.final_states(q, k, v, g, *states), line.rank + 1)
    return lib.forward(q, k, v, alpha, g, *states, **how), states


def run_backward(lib, line, given, states, x, fro, how):
    """dq dk dv dalpha dg dh0 du0 of this process's tokens; on all but the first the last two are what was handed on."""
    *inputs, dout = given
    first, last = line is None or line.rank == 0, line is None or line.rank + 1 == line.count
    later = {} if last else dict(zip(("dh_final", "du_final"), (torch.empty(1, *inputs[0].shape[2:], n, device="cuda")
                                                                 for n in (inputs[0].shape[3], inputs[2].shape[3]))))
    out, run = lib.backward_in_parts(*inputs, *states, x=x, fro=fro, dout=dout, to_previous=not first, from_next=not last, **later, **how)
    run(gka_cuda.SOLVE)
    if not last:
        line.receive(list(later.values()), line.rank + 1)
    run(gka_cuda.SUFFIX)
    if not first:
        line.send([out["dh0"], out["du0"]], line.rank - 1)
    run(gka_cuda.REST)
    return out


def run_layer(lib, line, given, how):
    """Every output by the name that goldens have."""
    (x, fro, o, h_final, u_final), states = run_forward(lib, line, given, how)
    grads = run_backward(lib, line, given, states, x, fro, how)
    out = dict(zip(("x", "x_low"), x)) if how["accurate"] else {"x": x}
    return dict(out, fro=fro, o=o, h_final=h_final, u_final=u_final, **{f"layer.{n}": t for n, t in grads.items()})


def digests(out, line):
    """name -> the digests of an output's blocks; a state, which one process has, is one block."""
    first, last = line is None or line.rank == 0, line is None or line.rank + 1 == line.count
    found = {}
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        for name, t in out.items():
            if name not in BY_TOKEN and not (last if name.endswith("final") else first):
                continue
            host = t.contiguous().view(torch.uint8).cpu().numpy().reshape(t.shape[1] // BLOCK if name in BY_TOKEN else 1, -1)
            found[name] = list(threads.map(lambda row: hashlib.sha256(row).digest(), host))
    return found


def compare(whole, parts):
    """Prints a line for each output; whether all are the same."""
    same = True
    for name, blocks in whole.items():
        theirs = [digest for part in parts for digest in part.get(name, [])]
        differing = sum(a != b for a, b in zip(blocks, theirs)) + abs(len(blocks) - len(theirs))
        short = [hashlib.sha256(b"".join(d)).hexdigest()[:16] for d in (blocks, theirs)]
        print(f"  {name:<13} one GPU {short[0]}  split {short[1]}  {differing} of {len(blocks)} blocks differ", flush=True)
        same = same and differing == 0
    return same


def median(line, runs, call):
    """Milliseconds from barrier to barrier; of process 0 alone where line is None."""
    times = []
    for _ in range(runs + 1):
        torch.cuda.synchronize()
        if line is not None:
            dist.barrier(line.control)
        begin = time.perf_counter()
        call()
        torch.cuda.synchronize()
        if line is not None:
            dist.barrier(line.control)
        times.append((time.perf_counter() - begin) * 1e3)
    return sorted(times[1:])[runs // 2]


def keep(args, line, bounds, given, out, how):
    """Inputs and outputs of the split run into one file, as cuda_replay keeps them."""
    import safetensors.torch
    names = ("q", "k", "v", "alpha", "g", "do")
    mine = {n: t.cpu() for n, t in {**dict(zip(names, given)), **out}.items()}
    parts = [None] * line.count if line.rank == 0 else None
    dist.gather_object(mine, parts, 0, line.control)
    if line.rank:
        return
    both = {n: torch.cat([p[n] for p in parts], 1) for n in mine if n in names or n in BY_TOKEN}
    both.update({n: parts[-1][n] for n in ("h_final", "u_final")}, **{"layer.dh0": parts[0]["layer.dh0"]})
    number = lambda x: repr(float(x))
    name = f"{'accurate' if how['accurate'] else 'split'}_{'_'.join(map(str, bounds[1:-1]))}.safetensors"
    safetensors.torch.save_file({n: t.contiguous() for n, t in both.items()}, os.path.join(args.keep, name), {
        "ridge_ratio": number(.02), "num_iter": "30", "chunk_size": "64", "scale": number(args.D ** -.5), "form": "two-term",
        "accurate": str(int(how["accurate"])), "source": f"src/cuda on {line.count} of {torch.cuda.get_device_name()}"})


def one_case(args, lib, line, bounds, how):
    given = draw(args, *bounds[line.rank:line.rank + 2])
    out = run_layer(lib, line, given, how)
    parts = [None] * line.count if line.rank == 0 else None
    dist.gather_object(digests(out, line), parts, 0, line.control)
    if args.keep:
        keep(args, line, bounds, given, out, how)
    del out
    times, same = {}, True
    if args.runs:
        (x, fro, *_), states = run_forward(lib, line, given, how)
        times["forward"] = [median(line, args.runs, lambda: run_forward(lib, line, given, how))]
        times["backward"] = [median(line, args.runs, lambda: run_backward(lib, line, given, states, x, fro, how))]
        del x, fro
    if line.rank == 0:
        print(f"{'accurate' if how['accurate'] else 'fast'}, T = {args.T}, H = {args.H}, G = {args.G}, D = {args.D}, cut at "
              f"{', '.join(map(str, bounds[1:-1]))}", flush=True)
        given = draw(args, 0, args.T)
        same = compare(digests(run_layer(lib, None, given, how), None), parts)
        if args.runs:
            (x, fro, *_), _ = run_forward(lib, None, given, how)
            times["forward"].append(median(None, args.runs, lambda: run_forward(lib, None, given, how)))
            times["backward"].append(median(None, args.runs, lambda: run_backward(lib, None, given, (None, None), x, fro, how)))
            for name, (split, one) in times.items():
                print(f"  {name:<9} one GPU {one:8.2f} ms, split in {line.count} {split:8.2f} ms ({one / split:.2f} times as fast), ideal "
                      f"{one / line.count:8.2f} ms", flush=True)
    dist.barrier(line.control)
    return same


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", nargs="?", default=os.environ.get("GKA_CUDA_LIBRARY", "libgka_cuda.so"))
    parser.add_argument("--backend", choices=("nccl", "gloo"), default="nccl")
    parser.add_argument("--T", type=int, default=262144)
    parser.add_argument("--H", type=int, default=16)
    parser.add_argument("--G", type=int)
    parser.add_argument("--D", type=int, default=128)
    parser.add_argument("--cuts", nargs="+", metavar="TOKEN[,TOKEN..]")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--keep", metavar="FOLDER")
    args = parser.parse_args()
    args.G = args.G or args.H
    rank, count = (int(os.environ.get(name, one)) for name, one in (("RANK", 0), ("WORLD_SIZE", 1)))
    equal = ",".join(str(args.T * i // count // BLOCK * BLOCK) for i in range(1, count))
    cuts = [[0, *map(int, filter(None, c.split(","))), args.T] for c in args.cuts or [equal]]
    for bounds in cuts:
        if len(bounds) != count + 1 or any(b % BLOCK for b in bounds) or any(b <= a for a, b in zip(bounds, bounds[1:])):
            parser.error(f"tokens {bounds[1:-1]} of {args.T}: {count - 1} ascending multiples of {BLOCK} were expected, T one too")
    if args.backend == "nccl" and torch.cuda.device_count() < count:
        parser.error(f"{count} processes and {torch.cuda.device_count()} GPUs: one each was expected (--backend gloo: they share)")
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank)) % torch.cuda.device_count())
    dist.init_process_group(args.backend)
    line, lib = Line(args.backend), gka_cuda.Library(args.library)
    if rank == 0:
        print(f"{count} processes, {args.backend}, {torch.cuda.device_count()} of {torch.cuda.get_device_name()}"
              + ("" if args.backend == "nccl" else ": their times say nothing of several GPUs"), flush=True)
    same = [one_case(args, lib, line, bounds, dict(accurate=accurate)) for accurate in (False, True) for bounds in cuts]
    dist.destroy_process_group()
    sys.exit(0 if all(same) else 1)


if __name__ == "__main__":
    main()
