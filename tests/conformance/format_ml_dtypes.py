"""Nearest-even packing agrees with numpy's fp16 and with ml_dtypes.

usage: format_ml_dtypes.py PACK    (PACK: the program conformance_format_pack)

Every upper half of an fp32 with lower halves about the ties of each format, and random floats.
NaN must meet NaN; all else must be equal bit for bit. Formats shorter than a byte are packed. Exit status 77: a package is missing.
"""

import subprocess
import sys

try:
    import ml_dtypes
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)


def inputs():
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    lower = [0, 1, 0x0FFF, 0x1000, 0x1001, 0x7FFF, 0x8000, 0x8001, 0xEFFF, 0xF000, 0xFFFF]
    some = np.random.Generator(np.random.Philox(1)).integers(0, 1 << 32, 1 << 20, dtype=np.uint32)
    return np.concatenate([upper | np.uint32(low) for low in lower] + [some]).view(np.float32)


def pack(program, name, x, pattern):
    run = subprocess.run([program, name, "nearest"], input=x.tobytes(), stdout=subprocess.PIPE)
    if run.returncode != 0:
        sys.exit(f"{program} {name} nearest: exit status {run.returncode}")
    return np.frombuffer(run.stdout, pattern)


def unpacked(packed, bits, count):
    """Patterns of 4 or 6 bits, one a byte."""
    if bits is None:
        return packed
    stream = np.unpackbits(packed, bitorder="little")[: count * bits].reshape(count, bits)
    return np.packbits(stream, axis=1, bitorder="little").reshape(count)


def main(program):
    # name, the other's type, patterns, and the largest value where ours saturates
    rows = [
        ("bf16", ml_dtypes.bfloat16, np.uint16, None),
        ("fp16", np.float16, np.uint16, None),
        ("e4m3-ieee", ml_dtypes.float8_e4m3fn, np.uint8, None),
        ("e5m2-ieee", ml_dtypes.float8_e5m2, np.uint8, None),
        ("e4m3", ml_dtypes.float8_e4m3fn, np.uint8, 448),
        ("e5m2", ml_dtypes.float8_e5m2, np.uint8, 57344),
        ("e3m4", ml_dtypes.float8_e3m4, np.uint8, None),
        ("e4m3fnuz", ml_dtypes.float8_e4m3fnuz, np.uint8, 240),
        ("e5m2fnuz", ml_dtypes.float8_e5m2fnuz, np.uint8, 57344),
        ("e2m3", ml_dtypes.float6_e2m3fn, np.uint8, 7.5),
        ("e3m2", ml_dtypes.float6_e3m2fn, np.uint8, 28),
        ("e2m1", ml_dtypes.float4_e2m1fn, np.uint8, 6),
        ("e8m0", ml_dtypes.float8_e8m0fnu, np.uint8, 2.0**127),
    ]
    bits = {"e2m1": 4, "e2m3": 6, "e3m2": 6}
    x = inputs()
    failed = False
    for name, other, pattern, largest in rows:
        ours = unpacked(pack(program, name, x, pattern), bits.get(name), x.size)
        with np.errstate(all="ignore"):
            y = x if largest is None else np.clip(x, -largest, largest)
            theirs = y.astype(other)
            both_nan = np.isnan(theirs) & np.isnan(ours.view(other))
        if name in ("e2m1", "e2m3", "e3m2"):  # NaN is -0 here, a zero of the other sign there
            both_nan |= np.isnan(x)
        if name == "e8m0":  # 0.6.0 gives 2^-126 for subnormal floats just above 2^-127
            both_nan |= (x > 0) & (x < 2.0**-126)
        bad = np.flatnonzero((theirs.view(pattern) != ours) & ~both_nan)
        print(f"{name}: {x.size} floats, {bad.size} differ from {other.__name__}")
        for i in bad[:3]:
            print(f"  {x.view(np.uint32)[i]:08x}: {ours[i]:x}, theirs {theirs.view(pattern)[i]:x}")
        failed |= bad.size > 0 or ours.size != x.size
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
