"""plot.py - share of identical bits, tensor by tensor; how far the others are; errors predicted and measured."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402

EMULATIONS = [("whole", style.BLUE, "s", "whole"), ("IEEE functions", style.SKY, "^", "correctly rounded functions"),
              ("exact sums", style.GREEN, "D", "exact sums, no tensor core"), ("neither", style.ORANGE, "v", "neither"),
              ("seven roundings", style.PINK, "P", "seven bf16 roundings, else binary64"),
              ("five roundings", style.BLACK, "x", "without the two of the norm")]
TENSORS = ["g_cumsum", "fro", "h_chunk", "h_final", "u_final", "x", "o", "solve.dq", "solve.dk", "solve.dg", "layer.dq", "layer.dk",
           "layer.dv", "layer.dalpha", "layer.dg"]


def released(rows):
    return [r for r in rows if r["set"] != "twoterm"]


def identical():
    rows = released(style.table("identical.csv"))
    tensors = [t for t in TENSORS if any(r["tensor"] == t for r in rows)]
    figure, axes = plt.subplots(figsize=(8, 5.6))
    shown = [e for e in EMULATIONS if e[0] != "five roundings"]
    for j, (emulation, colour, marker, label) in enumerate(shown):
        for i, tensor in enumerate(tensors):
            values = sorted(100 * r["share"] for r in style.select(rows, emulation=emulation, tensor=tensor))
            if not values:
                continue
            at = i + .15 * (j - (len(shown) - 1) / 2)
            axes.plot([values[0], values[-1]], [at] * 2, color=colour, linewidth=1)
            axes.plot([values[len(values) // 2]], [at], marker=marker, color=colour, markersize=5.5, linestyle="",
                      label=label if tensor == "x" else None)
    axes.set_yticks(range(len(tensors)), tensors)
    axes.set_ylim(len(tensors) - .4, -.6)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("elements identical with the hardware, % (median and range over files)")
    axes.grid(axis="y", visible=False)
    axes.legend(loc="lower center", bbox_to_anchor=(.45, 1), ncol=2)
    style.save(figure, "identical.svg")


def distances():
    rows = released(style.table("distances.csv"))
    shown = ("x", "o", "solve.dk")
    figure, all_axes = plt.subplots(1, 3, figsize=(10, 3.6), sharey=True)
    bins = [0.0] + [2.0 ** i for i in range(16)]
    ticks = {0: "0", 1: "1", 4: "8", 7: "64", 10: "512", 13: "2$^{12}$", 16: "2$^{15}$"}
    files = {r["file"] for r in rows if r["emulation"] == "neither"}
    for axes, tensor in zip(all_axes, shown):
        for emulation, colour, marker, label in (("whole", style.BLUE, "s", "whole emulation"), ("neither", style.ORANGE, "v", "without core and functions"),
                                                 ("exact", style.BLACK, "o", "exact answer, rounded")):
            chosen = [r for r in style.select(rows, emulation=emulation, tensor=tensor) if r["file"] in files and r["steps"] in bins]
            total = sum(r["count"] for r in chosen)
            share = [100 * sum(r["count"] for r in chosen if r["steps"] == b) / total for b in bins]
            seen = [(i, s) for i, s in enumerate(share) if s > 0]
            axes.plot([i for i, _ in seen], [s for _, s in seen], color=colour, marker=marker, label=label,
                      markersize=9 if emulation == "whole" else 5, linestyle="-" if emulation != "exact" else ":")
        axes.set_yscale("log")
        axes.set_ylim(3e-4, 200)
        axes.set_xticks(list(ticks), list(ticks.values()), fontsize=9)
        axes.set_title(tensor, fontsize=11)
    all_axes[0].set_ylabel("elements, %")
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="upper center", ncol=3)
    figure.supxlabel("distance from the hardware, bf16 steps (bins 0, 1, 2..3, 4..7, ...)", fontsize=11)
    figure.tight_layout(rect=(0, 0, 1, .93))
    style.save(figure, "distances.svg")


def predicted():
    rows = style.select(released(style.table("identical.csv")), tensor="solve.dk")
    figure, axes = plt.subplots(figsize=(5.6, 4.4))
    seen = [r["error"] for r in rows if r["set"] != "decode"]
    ends = [min(seen) / 2, max(seen) * 2]
    axes.plot(ends, ends, label="as measured", **style.THEORY)
    for emulation, colour, marker, label in EMULATIONS:
        if emulation in ("IEEE functions", "exact sums"):
            continue
        chosen = [r for r in style.select(rows, emulation=emulation) if r["set"] != "decode"]
        axes.plot([r["error"] for r in chosen], [r["predicted"] for r in chosen], linestyle="", marker=marker, color=colour,
                  markerfacecolor="none", markersize=8 if emulation == "whole" else 6, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("relative error of solve.dk, measured on the H100")
    axes.set_ylabel("the same, of the emulation")
    axes.legend(loc="upper left", fontsize=8)
    style.save(figure, "predicted.svg")


identical()
distances()
predicted()
