"""Derive the coefficient tables of the special function unit from a GPU's own results.

    python3 fit_functions.py DIR > ../../src/arith/sfu_table.h     # DIR holds probe.cu's output
    python3 fit_functions.py DIR --sums > ../../tests/data/probes/binades.txt

The unit is a quadratic interpolator (Oberman and Siu, ARITH 2005). With X the 17 bits of the
argument below the segment's index, a result's significand is

    floor((c0 2^15 + bias + c1 X + 2 c2 S(X)) / 2^17),    S(X) = X^2 / 2^19 without the partial
                                                          products below column 19

c0 in quarters, c1 and c2/2 in units in the last place of the result. For each segment, every
(c1, c2) near the least-squares parabola is tried; it is kept when the 2^16 or 2^17 results of the
segment leave an interval for c0 2^15 + bias. Exactly one pair remains everywhere, and one bias per
function serves all its segments. --sums prints a CRC-32 of each segment's results as the hardware
gave them, against which the tests judge the model.
"""
import argparse
import gzip
import zlib

import numpy as np

N = 1 << 23
# function of the unit: runs of binades.txt, bits of the index, bias, encoding at significand 2^23
FUNCTIONS = {
    "ex2": ([("ex2.approx.ftz.f32", 0x3F800000)], 6, 24456, 0x40000000),
    "rcp": ([("rcp.approx.ftz.f32", 0x3F800000)], 7, 8092, 0x3F000000),
    "sqrt": ([("sqrt.approx.ftz.f32", 0x3F800000), ("sqrt.approx.ftz.f32", 0x40000000)],
             6, -1, 0x3F800000),
    "rsqrt": ([("rsqrt.approx.ftz.f32", 0x3F800000), ("rsqrt.approx.ftz.f32", 0x40000000)],
              6, -1, 0x3F000000),
}


def read_runs(directory):
    """{(function, first input): 2^23 result encodings}"""
    data = gzip.open(f"{directory}/binades.d8.gz").read()
    runs = {}
    for i, line in enumerate(open(f"{directory}/binades.txt")):
        name, first, out = line.split()
        delta = np.frombuffer(data, np.int8, N, i * N)
        runs[name, int(first, 16)] = int(out, 16) + np.cumsum(delta, dtype=np.int64)
    return runs


def squarer(X):
    total = np.zeros_like(X)
    for i in range(17):
        row = (2 * (X >> (i + 1) << (i + 1)) + (1 << i)) << i
        total += (X >> i & 1) * (row >> 19)
    return total


def fit_segment(X, S, y):
    """The one (c1, c2) and the interval of c0 2^15 + bias that give y for every X."""
    c2_near, c1_near, _ = np.polyfit(X / 2.0**17, (y - y[-1]).astype(float), 2)
    found = []
    for c2 in range(round(2 * c2_near) - 3, round(2 * c2_near) + 4):
        for c1 in range(round(c1_near) - 3, round(c1_near) + 4):
            rest = (y << 17) - c1 * X - 2 * c2 * S
            low, high = int(rest.max()), int(rest.min()) + (1 << 17)
            if low < high:
                found.append((c1, c2, low, high))
    assert len(found) == 1, found
    return found[0]


def fit(results, bits, bias):
    length = N >> bits
    X = np.arange(length, dtype=np.int64) << (bits - 6)
    S = squarer(X)
    rows = []
    for s in range(1 << bits):
        y = results[s * length:(s + 1) * length]
        # 1/1 is 1, one step above the significands of its segment: no point of the parabola
        keep = y < 1 << 24
        c1, c2, low, high = fit_segment(X[keep], S[keep], y[keep])
        c0 = -((bias - low) >> 15)
        assert low <= (c0 << 15) + bias < high
        rows.append((c0, c1, c2))
    return rows


def print_table(runs):
    print("/* sfu_table.h - coefficients of the special function unit of an H100, segment by segment.\n"
          " * Derived by scripts/gpu/fit_functions.py from the unit's own results; see there and sfu.c. */")
    print("#ifndef ARITH_SFU_TABLE_H\n#define ARITH_SFU_TABLE_H\n\n#include <stdint.h>\n")
    print("/* clang-format off */")
    print("typedef struct sfu_segment {\n    int32_t c0, c1, c2;\n} sfu_segment;")
    for name, (keys, bits, bias, base) in FUNCTIONS.items():
        rows = []
        for key in keys:
            rows += fit(runs[key] - base + (1 << 23), bits, bias)
        print(f"\nenum {{ sfu_{name}_bias = {bias} }};")
        print(f"static const sfu_segment sfu_{name}_segments[{len(rows)}] = {{")
        for i in range(0, len(rows), 4):
            print("    " + " ".join("{%d, %d, %d}," % row for row in rows[i:i + 4]))
        print("};")
    print("/* clang-format on */\n\n#endif")


def print_sums(runs):
    for (name, first), results in runs.items():
        sums = [zlib.crc32(results[i:i + (1 << 17)].astype("<u4").tobytes())
                for i in range(0, N, 1 << 17)]
        print(f"{name} {first:08x} " + " ".join(f"{s:08x}" for s in sums))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("--sums", action="store_true")
    options = parser.parse_args()
    (print_sums if options.sums else print_table)(read_runs(options.folder))
