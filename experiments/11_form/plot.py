"""plot.py - error of dk, case by case and head by head, both forms, predicted and measured; and the gain."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402

LABELS = {"iid_gated": "iid, gated", "iid_ungated": "iid, no gate", "slow": "iid, slow gates", "strong": "iid, strong gates",
          "powerlaw": "power law", "lowrank": "low rank", "repeat": "one key", "repeat_ungated_a005": "one key, no gate,\na = .005",
          "slow_a005": "slow gates,\na = .005"}
KERNELS = [("measured", "released", style.RED, "o", "released kernels, H100", -.24),
           ("predicted", "three-term", style.ORANGE, "_", "three-term, predicted on the CPU", -.08),
           ("predicted", "two-term", style.SKY, "_", "two-term, predicted on the CPU", .08),
           ("measured", "ours two-term", style.BLUE, "s", "two-term, our kernels, H100", .24)]


def errors():
    rows = style.table("errors.csv")
    cases = [c for c in LABELS if any(r["case"] == c for r in rows)]
    figure, axes = plt.subplots(figsize=(9, 4.4))
    for source, kernel, colour, marker, label, shift in KERNELS:
        for i, case in enumerate(cases):
            values = sorted(r["dk"] for r in style.select(rows, case=case, source=source, kernel=kernel))
            if not values:
                continue
            middle = values[len(values) // 2] if len(values) % 2 else (values[len(values) // 2 - 1] * values[len(values) // 2]) ** .5
            axes.plot([i + shift] * 2, [values[0], values[-1]], color=colour, linewidth=1)
            axes.plot([i + shift], [middle], marker=marker, color=colour, markersize=10 if marker == "_" else 6,
                      markeredgewidth=2.5 if marker == "_" else 1, linestyle="", label=label if i == 0 else None)
    axes.axhline(1, **style.THEORY)
    axes.annotate("as wrong as dk = 0", (-.45, 1.1), fontsize=9)
    axes.set_yscale("log")
    axes.set_xticks(range(len(cases)), [LABELS[c] for c in cases], rotation=30, ha="right", fontsize=9)
    axes.set_ylabel("relative error of dk\n(median and range over heads)")
    axes.legend(loc="upper center", bbox_to_anchor=(.5, 1.19), ncol=2)
    axes.grid(axis="x", visible=False)
    style.save(figure, "dk.svg")


def gain():
    rows = style.table("gain.csv")
    figure, axes = plt.subplots()
    for a, colour, dash in ((.1, style.GREEN, "-"), (.02, style.RED, "-"), (.005, style.PINK, "-")):
        r = {.1: 15, .02: 30, .005: 60}[a]
        chosen = sorted(style.select(rows, a=a, r=float(r)), key=lambda row: row["h"])
        axes.plot([row["h"] for row in chosen], [row["gain"] for row in chosen], color=colour, linestyle=dash,
                  marker="o", markersize=3, label=f"three-term, a = {a:g}, r = {r}")
    floor = sorted(style.select(rows, a=.02, r=30.0), key=lambda row: row["h"])
    axes.plot([row["h"] for row in floor], [row["floor"] for row in floor], label="1/(h + λ): two-term with one rounded d", **style.THEORY)
    axes.set_yscale("log")
    axes.set_xlabel("eigenvalue h / f")
    axes.set_ylabel("gain of residual errors, × 1/f")
    axes.legend()
    style.save(figure, "gain.svg")


errors()
gain()
