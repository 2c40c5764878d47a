"""Choose from the probes' output what the tests keep.

    python3 select_probes.py DIR ../../tests/data/probes     # DIR: output of probe, probe_triton.py
    python3 select_probes.py DIR OTHER --all                 # everything, for GKA_PROBES=OTHER

functions.safetensors   FUNCTION.{x,[y,]o}: the 64 specials and about every 32nd other sample of each
                        function; exp.{x,o} every 16th of Triton's; encodings as U32
products.safetensors    wgmma.TYPE.KIND.{a,b,c,o}: one of Triton's four tiles of each set
units.safetensors       INSTRUCTION.INPUT...{a,b,c,d} of probe: 16 rows of two tiles of each set
sums.safetensors        norm.*, rows.*, scan.* of Triton's: 6 states at either end of the range,
                        2 tiles, 16 scans
"""
import argparse
import json
import os
import struct
import sys

import numpy as np

NAMES = {np.dtype("<u2"): "U16", np.dtype("<u4"): "U32"}


def write(path, tensors):
    header, at = {}, 0
    for name, t in tensors.items():
        header[name] = {"dtype": NAMES[t.dtype], "shape": list(t.shape),
                        "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            file.write(t.tobytes())


def read(path):
    data = open(path, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    width = {"I16": "<u2", "BF16": "<u2", "I32": "<u4", "F32": "<u4"}
    return {name: np.frombuffer(data, width[v["dtype"]], int(np.prod(v["shape"])),
                                8 + size + v["data_offsets"][0]).reshape(v["shape"])
            for name, v in header.items()}


def functions(directory, triton, every):
    out, at = {}, 0
    data = np.fromfile(f"{directory}/samples.bin", "<u4")
    for line in open(f"{directory}/samples.txt"):
        name, operands, n = line.split()
        keep = np.r_[0:64, 64:int(n) - 3:32]
        keep[64:] += np.arange(len(keep) - 64) % 4  # the samples cycle through kinds by four
        if every:
            keep = np.arange(int(n))
        for operand in ("xo", "xyo")[int(operands) - 1]:
            out[f"{name}.{operand}"] = data[at:at + int(n)][keep]
            at += int(n)
    for operand in "xo":
        out[f"exp.{operand}"] = triton[f"exp.{operand}"][::1 if every else 16]
    return out


def products(triton, every):
    return {name: t if every else t[:1] for name, t in triton.items() if name.startswith("wgmma")}


def sums(triton, every):
    out = {}
    for name, t in triton.items():
        kind = name.split(".")[0]
        if kind == "norm" and not every:
            t = np.concatenate([t[:3], t[-3:]])
        if kind in ("rows", "scan") and not every:
            t = t[:{"rows": 2, "scan": 16}[kind]]
        if kind in ("norm", "rows", "scan"):
            out[name] = t
    return out


def units(path, target, every):
    """The file itself, or its head: 16 rows of a, c, d and all of b, of two tiles of a set."""
    data = open(path, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    out, kept, at = {"__metadata__": header.pop("__metadata__")}, [], 0
    for name, v in header.items():
        width = {"F8_E4M3": 1, "F8_E5M2": 1, "F16": 2, "BF16": 2, "F32": 4}[v["dtype"]]
        begin, end = (8 + size + offset for offset in v["data_offsets"])
        t = np.frombuffer(data[begin:end], "u1").reshape(*v["shape"][:2], v["shape"][2] * width)
        if not every:
            t = t[:2, :16]
        kept.append(t.tobytes())
        out[name] = {"dtype": v["dtype"], "shape": [*t.shape[:2], v["shape"][2]],
                     "data_offsets": [at, at + t.size]}
        at += t.size
    text = json.dumps(out, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(target, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(kept))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="DIR")
    parser.add_argument("target", metavar="OTHER")
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    source, target, every = options.source, options.target, options.all
    if os.path.exists(f"{source}/units.safetensors"):
        units(f"{source}/units.safetensors", f"{target}/units.safetensors", every)
        if not os.path.exists(f"{source}/triton.safetensors"):
            sys.exit()
    outputs = read(f"{source}/triton.safetensors")
    write(f"{target}/functions.safetensors", functions(source, outputs, every))
    write(f"{target}/products.safetensors", products(outputs, every))
    write(f"{target}/sums.safetensors", sums(outputs, every))
