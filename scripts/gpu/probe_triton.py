"""What Triton makes of sums, scans, exp and dot on a GPU, bit by bit.

    python3 probe_triton.py OUT.safetensors

With 4 warps, as the released kernels run (NUMERICS 5, steps 1, 3, 4):
  norm.D.{h,bf16,fp32}   h [n,D,D] bf16; sum(h*h) in bf16, and in fp32
  rows.CxD.{a,b,s,p}     a [n,C,D], b [n,D,D] bf16; row sums of a*dot(a,b) [n,C] and of
                         dot(a,a^T)*mask [n,C], mask lower triangular
  scan.N.{x,o}           inclusive sums of N numbers in fp32
  exp.{x,o}              exp in fp32 over the range of chunk sums, underflow included
  wgmma.TYPE.KIND.{a,b,c,o}   dot(a, b, c) over the whole range of exponents; encodings as int16/32
Inputs come from a fixed seed.
"""
import argparse

import torch
import triton
import triton.language as tl
from safetensors.torch import save_file

WARPS = 4


@triton.jit
def norm_kernel(h, o16, o32, D: tl.constexpr):
    i = tl.program_id(0)
    p = tl.make_block_ptr(h + i * D * D, (D, D), (D, 1), (0, 0), (D, D), (1, 0))
    tile = tl.load(p, boundary_check=(0, 1))
    tl.store(o16 + i, tl.sum(tile * tile))
    wide = tile.to(tl.float32)
    tl.store(o32 + i, tl.sum(wide * wide))


@triton.jit
def rows_kernel(a, b, s, p, C: tl.constexpr, D: tl.constexpr):
    i = tl.program_id(0)
    pa = tl.make_block_ptr(a + i * C * D, (C, D), (D, 1), (0, 0), (C, D), (1, 0))
    pb = tl.make_block_ptr(b + i * D * D, (D, D), (D, 1), (0, 0), (D, D), (1, 0))
    k = tl.load(pa, boundary_check=(0, 1))
    h = tl.load(pb, boundary_check=(0, 1))
    row = tl.arange(0, C)
    mask = tl.where(row[:, None] >= row[None, :], 1, 0).to(tl.float32)
    tl.store(s + i * C + row, tl.sum(k * tl.dot(k, h), axis=1))
    tl.store(p + i * C + row, tl.sum(tl.dot(k, tl.trans(k)) * mask, axis=1))


@triton.jit
def scan_kernel(x, o, N: tl.constexpr):
    at = tl.program_id(0) * N + tl.arange(0, N)
    tl.store(o + at, tl.cumsum(tl.load(x + at)))


@triton.jit
def exp_kernel(x, o, N: tl.constexpr):
    at = tl.program_id(0) * N + tl.arange(0, N)
    tl.store(o + at, tl.exp(tl.load(x + at)))


@triton.jit
def dot_kernel(a, b, c, o, K: tl.constexpr):
    i = tl.program_id(0)
    m = tl.arange(0, 64)
    k = tl.arange(0, K)
    left = tl.load(a + i * 64 * K + m[:, None] * K + k[None, :])
    right = tl.load(b + i * 64 * K + k[:, None] * 64 + m[None, :])
    at = i * 4096 + m[:, None] * 64 + m[None, :]
    tl.store(o + at, tl.dot(left, right, tl.load(c + at)))


def encodings(generator, count, exponent_bits, fraction_bits, center, spread, zeros):
    """Random finite numbers as integers: exponents within spread of center, some signed zeros."""
    def draw(n):
        return torch.randint(0, n, count, generator=generator, dtype=torch.int64)

    bias = 2 ** (exponent_bits - 1) - 1
    field = (center + bias - spread + draw(2 * spread + 1)).clamp(0, 2 * bias)
    value = field * 2**fraction_bits + draw(2**fraction_bits)
    value = torch.where(draw(1000) < int(1000 * zeros), torch.zeros_like(value), value)
    return value + draw(2) * 2 ** (exponent_bits + fraction_bits)


def as_floats(bits, dtype):
    if dtype == torch.float32:
        return torch.where(bits >= 2**31, bits - 2**32, bits).to(torch.int32).view(dtype)
    return torch.where(bits >= 2**15, bits - 2**16, bits).to(torch.int16).view(dtype)


def main(path):
    assert torch.cuda.is_available()
    g = torch.Generator().manual_seed(1)
    out = {}

    for D in (64, 128):
        n = 32
        h = torch.randn(n, D, D, generator=g) * 2.0 ** torch.randint(-6, 3, (n, 1, 1), generator=g)
        h[n // 2:] *= torch.rand(n - n // 2, D, D, generator=g) ** 4
        h = h.to(torch.bfloat16).cuda()
        o16 = torch.empty(n, dtype=torch.bfloat16, device="cuda")
        o32 = torch.empty(n, dtype=torch.float32, device="cuda")
        norm_kernel[(n,)](h, o16, o32, D, num_warps=WARPS, num_stages=2)
        out |= {f"norm.{D}.h": h, f"norm.{D}.bf16": o16, f"norm.{D}.fp32": o32}

    for C, D in ((64, 128), (64, 64), (32, 128), (32, 64), (16, 64)):
        n = 8
        a = torch.randn(n, C, D, generator=g).to(torch.bfloat16).cuda()
        b = torch.randn(n, D, D, generator=g).to(torch.bfloat16).cuda()
        s = torch.empty(n, C, dtype=torch.float32, device="cuda")
        p = torch.empty(n, C, dtype=torch.float32, device="cuda")
        rows_kernel[(n,)](a, b, s, p, C, D, num_warps=WARPS, num_stages=2)
        out |= {f"rows.{C}x{D}.{name}": t for name, t in zip("absp", (a, b, s, p))}

    for N in (16, 32, 64, 128):
        x = torch.randn(64, N, generator=g).cuda()
        o = torch.empty_like(x)
        scan_kernel[(64,)](x, o, N, num_warps=WARPS)
        out |= {f"scan.{N}.x": x, f"scan.{N}.o": o}

    x = torch.cat([-torch.rand(65536, generator=g) * 110, -torch.rand(65536, generator=g) * 20,
                   -torch.rand(65536, generator=g) * 2.0 ** -torch.randint(0, 30, (65536,), generator=g),
                   80 + torch.rand(65536, generator=g) * 30]).cuda()
    o = torch.empty_like(x)
    exp_kernel[(x.numel() // 1024,)](x, o, 1024, num_warps=WARPS)
    out |= {"exp.x": x, "exp.o": o}

    formats = {"bf16": (torch.bfloat16, 8, 7), "fp16": (torch.float16, 5, 10)}
    kinds = {"range": (0, 0, 0, 127, 126, 0.0), "near": (0, 0, 0, 3, 4, 0.0),
             "tiny": (-60, -74, -134, 8, 12, 0.1), "huge": (62, 64, 126, 2, 1, 0.1),
             "sparse": (0, 0, 0, 9, 9, 0.8)}
    for name, (dtype, bits, fraction) in formats.items():
        for kind, (ca, cb, cc, spread, c_spread, zeros) in kinds.items():
            if name == "fp16":
                ca, cb, cc = ca // 6, cb // 6, cc // 6
            n, K = 4, 32
            a = encodings(g, (n, 64, K), bits, fraction, ca, spread, zeros)
            b = encodings(g, (n, K, 64), bits, fraction, cb, spread, zeros)
            c = encodings(g, (n, 64, 64), 8, 23, cc, c_spread, zeros)
            a, b = as_floats(a, dtype).cuda(), as_floats(b, dtype).cuda()
            c = as_floats(c, torch.float32).cuda()
            o = torch.empty_like(c)
            kernel = dot_kernel[(n,)](a, b, c, o, K, num_warps=WARPS)
            assert "wgmma" in kernel.asm["ptx"]
            key = f"wgmma.{name}.{kind}"
            out |= {f"{key}.a": a.view(torch.int16), f"{key}.b": b.view(torch.int16),
                    f"{key}.c": c.view(torch.int32), f"{key}.o": o.view(torch.int32)}

    meta = {"device": torch.cuda.get_device_name(), "torch": torch.__version__,
            "triton": triton.__version__, "num_warps": str(WARPS)}
    save_file({k: v.cpu().contiguous() for k, v in out.items()}, path, metadata=meta)
    print(meta)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", metavar="OUT.safetensors")
    main(parser.parse_args().output)
