#!/usr/bin/env python3
"""afternoon.py BIN [CORES...]: what four hours of 2, 64 and 1024 cores compute, from rates measured here.

BIN is the folder of gka. Each unit is run once by one thread, and its processor time is what counts; a busy machine
makes it longer, never shorter. A core computes (4 h - t) / (t + o) units of t seconds: the last one may be cut off by
the end, and o = .7 ms is what handing out a unit takes where nobody else asks (`mpirun -n 2 bench_ranks`). Units that
ranks hand out do not wait for each other, so N cores compute N times that, as long as rank 0 can answer: 2 us of its
processor a unit (`mpirun -n 64 bench_ranks`).
"""
import os
import resource
import subprocess
import sys
import tempfile

HOURS, HANDING_OUT, RANK_0 = 4, 7e-4, 2e-6
UNITS = [  # what a unit is, its command, how many of it one run is worth
    ("head [512, 64] emulated as the H100 has it, x, o, dk, dalpha", "verify --emulate=h100 --T=512 --D=64", 1),
    ("the same, [512, 128]", "verify --emulate=h100 --T=512 --D=128", 1),
    ("head [512, 64], each rounding by itself, with gradients", "attribute --gradients --T=512 --D=64", 1),
    ("head [512, 64], kernel's error or the problem's (a quarter is run)", "condition --emulate=h100 --T=128 --D=64",
     1 / 4),
    ("golden of 256 tokens, D = 128, all outputs", "golden --T=256 --D=128 -o golden.safetensors", 1),
]


def processor_seconds(command, folder):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def units(cores, t):
    each = (HOURS * 3600 - t) / (t + HANDING_OUT)
    return min(cores * each, HOURS * 3600 / RANK_0)


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 2
    gka = os.path.join(os.path.abspath(sys.argv[1]), "gka")
    all_cores = [int(n) for n in sys.argv[2:]] or [2, 64, 1024]
    print("| a unit | its processor time, s | " + " | ".join(f"{n} cores" for n in all_cores) + " |")
    print("|---|---|" + "---|" * len(all_cores))
    with tempfile.TemporaryDirectory() as folder:
        for what, command, share in UNITS:
            t = processor_seconds([gka, *command.split()], folder) / share
            counts = " | ".join(f"{units(n, t):,.0f}" for n in all_cores)
            print(f"| {what} | {t:.2f} | {counts} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
