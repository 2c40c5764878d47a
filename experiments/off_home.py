"""off_home.py - every claim of experiments 02 to 13 on keys that its experiment did not choose.

    python3 experiments/off_home.py build/release/bin out/off_home [--size claim|quick|full] [--only 08]
                                    [--keys mean] [--gate released] [--expect experiments/off_home.csv]

runs the programs with --keys and --gate and writes out/off_home/off_home.csv: experiment, keys, gate, the
claim, whether its inequality holds there, and the numbers that were found. With --expect the column `holds`
is compared with that of an earlier table; a difference, or a claim that it lacks, is exit code 1. Experiments whose setting has no gate
(the paper's data, or gates of their own) run once for a kind of keys; `real`, the heads of a language model in
tests/data/real, are keys for those that take a file's. 07 (files of the hardware) and 10 (counts and times) do not
depend on keys.
"""
import argparse
import csv
import json
import os
import subprocess
import sys

KEYS = ("mean", "repeat", "aligned", "iid", "real")
GATES = ("released", "none")
NOT_REAL = ("03_kalman", "08_reversal")
PLAIN = ("02_gradient", "03_kalman", "04_conditioning", "05_precision", "08_reversal", "09_forgetting", "12_state")
GATED = ("06_chunk", "11_form", "13_repair")
COLUMNS = ("experiment", "keys", "gate", "claim", "verdict", "holds", "found")


def rows_of(folder, name, keys, gate):
    with open(os.path.join(folder, "verdict.json"), encoding="utf-8") as file:
        for claim in json.load(file)["claims"]:
            holds = "yes" if claim["holds"] else "no"
            yield (name, keys, gate, claim["claim"], claim["verdict"], holds, claim["found"])


def run(options, name, keys, gate):
    folder = os.path.join(options.out, f"{name}-{keys}-{gate}")
    command = [os.path.join(options.bin, "exp_" + name), "--size", options.size, "--keys", keys, "--out", folder]
    if gate != "-":
        command += ["--gate", gate]
    code = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
    if code > 1:
        sys.exit(f"off_home: {' '.join(command)}: exit code {code}")
    return list(rows_of(folder, name, keys, gate))


def differences(rows, path):
    def table(source):
        return {tuple(r[:4]): r[5] for r in source}
    with open(path, newline="", encoding="utf-8") as file:
        known = table([list(r) for r in csv.reader(file)][1:])
    return [(k, known.get(k, "not in the table"), holds) for k, holds in table(rows).items() if known.get(k) != holds]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("bin")
    parser.add_argument("out")
    parser.add_argument("--size", default="claim")
    parser.add_argument("--only", default="")
    parser.add_argument("--keys", choices=KEYS)
    parser.add_argument("--gate", choices=GATES)
    parser.add_argument("--expect")
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    rows = []
    for name in sorted(PLAIN + GATED):
        if not name.startswith(options.only):
            continue
        for keys in KEYS:
            if (keys == "real" and name in NOT_REAL) or (options.keys and keys != options.keys):
                continue
            for gate in ("-",) if name in PLAIN else GATES:
                if gate in ("-", options.gate or gate):
                    rows += run(options, name, keys, gate)
    with open(os.path.join(options.out, "off_home.csv"), "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    changed = differences(rows, options.expect) if options.expect else []
    for key, before, now in changed:
        print(f"off_home: {', '.join(key)}: held {before}, now {now}")
    return 1 if changed else 0


sys.exit(main())
