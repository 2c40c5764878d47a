"""medians.py OUT - ridges.csv of the folder OUT, median over heads and lengths, as CSV on standard output: a row for
keys, rule and strength (a = 2^-strength). `python3 experiments/15_ridge/medians.py out/15_ridge > experiments/15_ridge/medians_full.csv`
made the table beside it, from `exp_15_ridge --size full`.
"""
import csv
import statistics
import sys

FIGURES = ("freedom", "kappa", "r", "o3", "o2", "dk3", "dk2", "recall")

with open(sys.argv[1] + "/ridges.csv", newline="", encoding="utf-8") as file:
    cases = {}
    for row in csv.DictReader(file):
        cases.setdefault((row["keys"], row["rule"], row["strength"]), []).append(row)
print("keys,rule,strength,systems," + ",".join(FIGURES))
for case, rows in cases.items():
    medians = (statistics.median(float(row[figure]) for row in rows) for figure in FIGURES)
    print(",".join([*case, str(len(rows)), *(f"{m:.4g}" for m in medians)]))
